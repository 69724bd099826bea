// SPDX-License-Identifier: BSD-2-Clause
// irq.c: what an interrupt does once the platform has told which one it is.
#include "arch/regs.h"
#include "core/cpu.h"
#include "core/irq.h"
#include "core/time.h"

static struct irq_line {
    void (*handler)(void *);  // atomic: set last
    void *arg;
    u64 count;  // atomic
} lines[IRQ_LINES];

int irq_set_handler(unsigned line, void (*handler)(void *), void *arg)
{
    if (line >= IRQ_LINES)
        return -EINVAL;
    if (lines[line].handler)
        return -EBUSY;
    lines[line].arg = arg;
    atomic_store(&lines[line].handler, handler);
    return 0;
}

u64 irq_count(unsigned line)
{
    return line < IRQ_LINES ? atomic_load_relaxed(&lines[line].count) : 0;
}

bool irq_device(unsigned line)
{
    void (*handler)(void *) = line < IRQ_LINES ? atomic_load(&lines[line].handler) : NULL;
    if (!handler)
        return false;
    atomic_add(&lines[line].count, 1);
    handler(lines[line].arg);
    return true;
}

DEFINE_PERCPU(bool, interrupted_user);

void irq_timer(const struct regs *r)
{
    percpu(interrupted_user) = regs_from_user(r) && !arch_regs_fresh(r);
    timer_interrupt();
}

void irq_cross_call(void) { cross_poll(); }
