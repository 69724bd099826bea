// SPDX-License-Identifier: BSD-2-Clause
// smp.c: starting the other CPUs through PSCI (DEN 0022).
#include "arch/smp.h"
#include "arch/mmu.h"
#include "platform/aarch64/platform_a64.h"

extern char secondary_entry[];

// The new CPU begins in boot.S with its MMU and caches off; what it reads there without them must be in memory.
int arch_cpu_start(struct cpu *cpu, void *stack_top)
{
    cpu->kernel_stack_top = (uintptr_t)stack_top;
    __asm__ volatile("dsb ish" ::: "memory");
    return psci_cpu_on(cpu->hw_id, virt_to_phys(secondary_entry), (u64)cpu) ? -EIO : 0;
}
