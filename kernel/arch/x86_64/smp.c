// SPDX-License-Identifier: BSD-2-Clause
// smp.c: starting the other CPUs with INIT and start-up interrupts (Intel SDM vol. 3A, 9.4.4).
//
// One at a time: the new CPU takes its stack and its area from ap_start_stack and ap_start_cpu
// (boot.S) and clears the latter, after which the next one may be started.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch/smp.h"
#include "arch_impl/boot.h"
#include "core/time.h"
#include "platform/x86_64/apic.h"

static bool wait_taken(u64 ns)
{
    u64 end = ktime_ns() + ns;
    while (atomic_load(&ap_start_cpu)) {
        if (ktime_ns() > end)
            return false;
        cpu_relax_poll();
    }
    return true;
}

// The manual wants 10 ms after INIT and 200 us between two start-up interrupts; a virtual CPU needs
// no time to come out of reset, but its thread may wait long on a busy host: with five machines of four
// CPUs on two cores, 150 ms were too short once in 150 boots.
static bool start(u32 hw_id)
{
    apic_send_init(hw_id);
    if (!x86_features.hypervisor)
        wait_taken(10 * NSEC_PER_MSEC);
    apic_send_startup(hw_id, X86_AP_START_PAGE >> PAGE_SHIFT);
    if (wait_taken(x86_features.hypervisor ? 50 * NSEC_PER_MSEC : 200 * NSEC_PER_USEC))
        return true;
    apic_send_startup(hw_id, X86_AP_START_PAGE >> PAGE_SHIFT);
    return wait_taken(x86_features.hypervisor ? 20 * NSEC_PER_SEC : 100 * NSEC_PER_MSEC);
}

int arch_cpu_start(struct cpu *cpu, void *stack_top)
{
    ap_start_stack = stack_top;
    atomic_store(&ap_start_cpu, cpu);
    memcpy(phys_to_virt(X86_AP_START_PAGE), ap_trampoline, ap_trampoline_end - ap_trampoline);
    x86_identity_map(X86_AP_START_PAGE, true);
    bool started = start(cpu->hw_id);
    if (!started)
        apic_send_init(cpu->hw_id);  // it waits for ever: what it would run is taken away here
    x86_identity_map(X86_AP_START_PAGE, false);
    return started ? 0 : -EIO;
}
