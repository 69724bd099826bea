// SPDX-License-Identifier: BSD-2-Clause
// log.c: messages on the console, lines on the control channel, and the ways in which the kernel ends.
#include <stdio.h>
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"

#define LINE_MAX 512

int log_level = LOG_ERROR;

static struct spinlock console_lock = SPINLOCK_INIT;  // keeps lines whole
static u32 dying;  // atomic: a CPU is in panic; nobody else may print or end the machine

__weak void console_log(const char *text, size_t len) { platform_console_write(text, len); }

static void write_locked(const char *text, size_t len)
{
    u32 last = atomic_load_relaxed(&dying);
    while (last && last != this_cpu()->id + 1)  // another CPU ends the machine
        arch_cpu_relax();
    if (!last)
        spin_lock(&console_lock);
    console_log(text, len);
    if (!last)
        spin_unlock(&console_lock);
}

void klog_line(int level, const char *fmt, ...)
{
    char line[LINE_MAX];
    u64 us = ktime_ns() / NSEC_PER_USEC;
    int n = scnprintf(line, sizeof(line), "[%5lu.%06lu] ", us / 1000000, us % 1000000);
    va_list args;
    va_start(args, fmt);
    int m = vsnprintf(line + n, sizeof(line) - n, fmt, args);
    va_end(args);
    n = MIN(n + m, LINE_MAX - 2);
    line[n++] = '\n';
    write_locked(line, n);
}

void kprintf(const char *fmt, ...)
{
    char text[LINE_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    write_locked(text, MIN(n, LINE_MAX - 1));
}

static bool control_vline(const char *what, const char *fmt, va_list args)
{
    char line[LINE_MAX];
    int n = scnprintf(line, sizeof(line), "%s", what);
    n += vsnprintf(line + n, sizeof(line) - n, fmt, args);
    n = MIN(n, LINE_MAX - 2);
    for (int i = 0; i < n; i++) {
        if (line[i] == '\n')
            line[i] = ' ';
    }
    line[n++] = '\n';
    return platform_control_write(line, n);
}

bool control_line(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool told = control_vline("", fmt, args);
    va_end(args);
    return told;
}

static cpumask_t other_cpus(void) { return cpus_online() & ~BIT(this_cpu()->id); }

void machine_end(void) { platform_power_off(); }

// The first CPU to come here goes on; the others wait for it to end the machine.
static void become_last_cpu(void)
{
    u32 me = this_cpu()->id + 1, nobody = 0;
    if (!atomic_cmpxchg(&dying, &nobody, me) && nobody != me) {
        for (;;)
            arch_cpu_relax();
    }
    cross_send(other_cpus(), CROSS_STOP);
}

void panic(const char *fmt, ...)
{
    static u32 depth;
    char text[256];
    va_list args;

    arch_irq_disable();
    become_last_cpu();
    if (depth++ > 1)  // the panic itself has failed twice
        platform_power_off();
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (depth == 1) {
        control_line("panic %s", text);
        kprintf("\nkernel panic on CPU %u: %s\n", this_cpu()->id, text);
        arch_backtrace();
    }
    if (platform_panicked)
        platform_panicked();
    machine_end();
}

void noboot(const char *fmt, ...)
{
    char text[256];
    va_list args;

    arch_irq_disable();
    become_last_cpu();
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (!control_line("noboot %s", text))
        kprintf("cannot start: %s\n", text);
    machine_end();
}
