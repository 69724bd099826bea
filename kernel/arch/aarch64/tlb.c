// SPDX-License-Identifier: BSD-2-Clause
// tlb.c: switching between address spaces, and flushing their translations, on all CPUs by the one that changed them.
#include "a64_internal.h"
#include "arch/mmu.h"
#include "core/cpu.h"

static inline void load_root(phys_t root, u64 number)
{
    sysreg_write(ttbr0_el1, root | number << 48);
    isb();
}

void asid_flush_this_cpu(void)
{
    __asm__ volatile("dsb nshst\n\ttlbi vmalle1\n\tdsb nsh\n\tisb" ::: "memory");
}

void asid_fence(void) { dsb(ish); }

void arch_mm_switch(struct arch_mm *am)
{
    if (am)
        load_root(am->root, asid_enter(&am->asid));
    else
        a64_unload_user();
}

// ---------------------------------------------------------------- flushing

// Who has to be told of entries that were changed (invariant A4 of asid.c), and under which number.
static enum reach { NOBODY, THIS_CPU, ALL_CPUS } reach_of(const struct arch_mm *am, u64 *number)
{
    dsb(ish);  // not ishst, which an emulator takes for no fence against the loads that follow
    *number = (atomic_load(&am->asid.tag) & ASID_NUMBER_MASK) << 48;
    cpumask_t cpus = atomic_load(&am->asid.cpus);
    if (!cpus)
        return NOBODY;
    return cpus == (cpumask_t)1 << this_cpu()->id ? THIS_CPU : ALL_CPUS;
}

// What user mode does next begins with an exception return, and what the kernel does for it with a fault: no ISB.
void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end)
{
    u64 number;
    enum reach reach = reach_of(am, &number);
    u64 at = number | start >> PAGE_SHIFT, stop = number | end >> PAGE_SHIFT;
    if (reach == THIS_CPU) {
        for (; at < stop; at++)
            __asm__ volatile("tlbi vae1, %0" : : "r"(at) : "memory");
        dsb(nsh);
    } else if (reach == ALL_CPUS) {
        for (; at < stop; at++)
            __asm__ volatile("tlbi vae1is, %0" : : "r"(at) : "memory");
        dsb(ish);
    }
}

void arch_tlb_flush_mm(struct arch_mm *am)
{
    u64 number;
    enum reach reach = reach_of(am, &number);
    if (reach == THIS_CPU)
        __asm__ volatile("tlbi aside1, %0\n\tdsb nsh" : : "r"(number) : "memory");
    else if (reach == ALL_CPUS)
        __asm__ volatile("tlbi aside1is, %0\n\tdsb ish" : : "r"(number) : "memory");
}
