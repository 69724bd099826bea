// SPDX-License-Identifier: BSD-2-Clause
// debug.c: the boot word debug=..., with which tests make the kernel fail on purpose:
//
//   panic         at the end of bring-up, on the boot CPU
//   panic-cpu     on the last CPU
//   panic-later   in a timer interrupt, a quarter of a second later, while the program runs
//   fault         a read of an address that is not mapped
//   jump          a call of an address where no function begins (where the CPU can tell)
#include <string.h>

#include "core/cpu.h"
#include "core/kmain.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"

#define LATER_NS (250 * NSEC_PER_MSEC)

// Not inlined, and not the last thing that its caller does: it must show in the backtrace.
static __noinline void debug_panic_inner(void *how) { panic("asked for by debug=%s", (char *)how); }

static void panic_later(struct timer *t)
{
    static char how[] = "panic-later";
    debug_panic_inner(how);
}

static __noinline u64 debug_fault(void) { return *(volatile u64 *)0xffffdead00000000; }

void arch_debug_jump(void) __weak;

void debug_init(void)
{
    static struct timer timer;
    char how[16];
    if (!cmdline_get("debug", how, sizeof(how)))
        return;
    if (!strcmp(how, "panic")) {
        debug_panic_inner(how);
    } else if (!strcmp(how, "panic-cpu")) {
        cross_run(BIT(n_cpus - 1), debug_panic_inner, how);
    } else if (!strcmp(how, "panic-later")) {
        timer_init(&timer, panic_later);
        timer_arm(&timer, ktime_ns() + LATER_NS);
    } else if (!strcmp(how, "fault")) {
        log_error("debug: read %#lx", (unsigned long)debug_fault());
    } else if (!strcmp(how, "jump") && arch_debug_jump) {
        arch_debug_jump();
        log_error("debug: the jump was not noticed");
    } else {
        log_warn("debug=%s means nothing", how);
    }
}
