// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/cpu.h: the CPU-local area behind TPIDR_EL1, interrupt mask, virtual counter, and
// what this CPU can do.
#pragma once

#include "arch_impl/a64.h"

#include "core/base.h"

struct cpu;
struct thread;

// What the ID registers said on the boot CPU; the others are taken to be equal.
struct a64_features {
    bool pan;               // privileged accesses to user memory can be forbidden
    bool hw_access;         // the CPU sets the accessed flag of entries
    bool hw_dirty;          // and the dirty flag
    bool pac_address;       // pointer authentication: of addresses
    bool pac_generic;       // and of data (PACGA)
    bool bti;               // branch target identification
    bool rndr;              // random numbers (FEAT_RNG)
    bool code_needs_clean;  // instruction fetches do not see data caches (CTR_EL0.IDC is 0)
    bool code_needs_inval;  // instruction caches hold on to old contents (CTR_EL0.DIC is 0)
    bool zva;               // DC ZVA clears zva_bytes at once
    u32 zva_bytes;
    u32 dcache_line, icache_line;  // smallest, in bytes
    u64 hwcap, hwcap2;
};
extern struct a64_features a64_features;

// One line in the log, for loglevel=7: which of the features the boot CPU has that decide between two ways.
void a64_log_features(void);

// The register changes only when a thread moves to another CPU, which is in a call. The operand makes the compiler read
// it again after each, as it must read memory again.
static inline struct cpu *this_cpu(void)
{
    register unsigned long sp __asm__("sp");
    struct cpu *cpu;
    __asm__("mrs %0, tpidr_el1" : "=r"(cpu) : "Q"(*(const unsigned long *)sp));
    return cpu;
}

// The second word of struct cpu. It is the same for a thread wherever it runs, so the compiler may keep it.
static inline struct thread *arch_current_thread(void)
{
    struct thread *thread;
    __asm__("mrs %0, tpidr_el1\n\tldr %0, [%0, #8]" : "=r"(thread));
    return thread;
}

static inline void arch_cpu_relax(void) { __asm__ volatile("yield" ::: "memory"); }
// What is pending is taken at the ISB at the latest.
static inline void arch_irq_enable(void)
{
    __asm__ volatile("msr daifclr, #2\n\tisb" ::: "memory");
}
static inline void arch_irq_disable(void) { __asm__ volatile("msr daifset, #2" ::: "memory"); }
// A masked interrupt ends WFI too, so none is lost between the two.
static inline void arch_idle_wait(void)
{
    __asm__ volatile("dsb sy\n\twfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
}
void arch_wait_cross(void);  // platform/aarch64/gic.c: by the priority mask

// The barrier keeps the reading behind what the program (or another CPU, that told us) did before.
static inline u64 arch_counter(void)
{
    u64 count;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
    return count;
}

void arch_clear_page(void *page);  // page.S
void arch_copy_page(void *to, const void *from);

static inline u64 arch_sum_blocks(const void *from, size_t n, u64 sum)
{
    u64 a, b;
    __asm__("cmn xzr, xzr\n"  // no carry
            "1: ldp %3, %4, [%1], #16\n\tadcs %0, %0, %3\n\tadcs %0, %0, %4\n\t"
            "ldp %3, %4, [%1], #16\n\tadcs %0, %0, %3\n\tadcs %0, %0, %4\n\t"
            "ldp %3, %4, [%1], #16\n\tadcs %0, %0, %3\n\tadcs %0, %0, %4\n\t"
            "ldp %3, %4, [%1], #16\n\tadcs %0, %0, %3\n\tadcs %0, %0, %4\n\t"
            "sub %2, %2, #1\n\tcbnz %2, 1b\n\t"
            "adcs %0, %0, xzr\n\tadc %0, %0, xzr"
            : "+&r"(sum), "+&r"(from), "+&r"(n), "=&r"(a), "=&r"(b)
            :
            : "cc", "memory");
    return sum;
}

// Makes instruction fetches see what was written to [start, start + len), on all CPUs.
void a64_sync_code(const void *start, size_t len);
