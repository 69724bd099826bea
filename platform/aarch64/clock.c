// SPDX-License-Identifier: BSD-2-Clause
// clock.c: the generic timer (DDI 0487, D12): the virtual counter, which the hardware names the rate of, and its
// comparator as clock event; the time of day from a PL031, or as the boot loader took it from the firmware.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch/smp.h"
#include "core/log.h"
#include "core/time.h"
#include "core/wait.h"
#include "platform/aarch64/platform_a64.h"

#define TIMER_ENABLE 1

static u64 ticks_mult;  // ticks = ns * mult >> 32

void clock_init(void)
{
    u64 hz = sysreg_read(cntfrq_el0);
    if (!hz)
        hz = machine.timer_hz;
    if (!hz)
        noboot("neither the CPU nor the firmware tells how fast the timer runs");
    ticks_mult = (hz << 32) / NSEC_PER_SEC;
    clock_set_rate(hz);
    clock_set_user_readable(true);
    if (machine.boot_time_s)
        clock_set_real(machine.boot_time_s * NSEC_PER_SEC +
                       (arch_counter() - machine.boot_time_ticks) / hz * NSEC_PER_SEC);
    else if (machine.rtc.size)
        clock_set_real(mmio_read32(arch_map_device(machine.rtc.base, PAGE_SIZE), 0) * NSEC_PER_SEC);
}

void clock_init_cpu(void) { sysreg_write(cntv_ctl_el0, 0); }

void arch_clockevent_set(u64 deadline_ns)
{
    if (deadline_ns == NEVER) {
        sysreg_write(cntv_ctl_el0, 0);
        return;
    }
    u64 now = ktime_ns();
    u64 delta = deadline_ns > now ? MIN(deadline_ns - now, 3600 * NSEC_PER_SEC) : 0;
    u64 ticks = (u64)((unsigned __int128)delta * ticks_mult >> 32) + 1;
    sysreg_write(cntv_cval_el0, arch_counter() + ticks);
    sysreg_write(cntv_ctl_el0, TIMER_ENABLE);
    isb();
}
