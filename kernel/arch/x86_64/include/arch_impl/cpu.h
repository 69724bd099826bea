// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/cpu.h: the CPU-local area behind GS, interrupt flag, time stamp counter, and
// what this CPU can do.
#pragma once

#include "arch_impl/x86.h"

struct cpu;
struct thread;

// What CPUID said on the boot CPU; the others are taken to be equal.
struct x86_features {
    bool pdpe1gb, pge, smep, smap, umip, fsgsbase, invpcid, rdtscp, pku;
    bool xsave, xsaveopt, xsavec;
    bool x2apic, tsc_deadline, invariant_tsc, arat;
    bool rdrand, rdseed;
    bool fast_rep;     // rep stosb/movsb is the fastest way to clear and copy a page
    bool hypervisor;   // runs under one
    bool tcg;          // QEMU's emulator: each turn of a rep costs an instruction
    bool kvm;          // KVM's paravirtual interface is there
    u32 kvm_features;  // CPUID 0x40000001 EAX
    u32 max_leaf, max_ext_leaf, hv_max_leaf;
    u32 family, model, stepping;
    u32 leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx;
};
extern struct x86_features x86_features;

// The CPU-local area: GS base points at struct cpu, whose first word is its own address and whose
// second is the current thread. Reads through GS are ordinary memory reads to the compiler, so they
// are repeated after every call (a call may move the thread to another CPU).
#if defined(__SEG_GS) && !defined(__cppcheck__)
static inline struct cpu *this_cpu(void) { return *(struct cpu * __seg_gs *)0; }
#else
static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(cpu));
    return cpu;
}
#endif

// The second word. It is the same for a thread wherever it runs, so the compiler may keep it.
static inline struct thread *arch_current_thread(void)
{
    struct thread *thread;
    __asm__("movq %%gs:8, %0" : "=r"(thread));
    return thread;
}

static inline void arch_cpu_relax(void) { __asm__ volatile("pause" ::: "memory"); }
static inline void arch_irq_enable(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void arch_irq_disable(void) { __asm__ volatile("cli" ::: "memory"); }
// sti holds interrupts back for one more instruction, so none is lost between it and hlt.
static inline void arch_idle_wait(void) { __asm__ volatile("sti; hlt; cli" ::: "memory"); }

// CR8, the task priority, holds back every vector below class 15, VEC_CROSS's (SDM vol. 3A, 10.8.3).
static inline void arch_wait_cross(void)
{
    __asm__ volatile("movq %0, %%cr8; sti; hlt; cli; movq %1, %%cr8"
                     :
                     : "r"(14ul), "r"(0ul)
                     : "memory");
}

// The fence keeps the reading behind what the program (or another CPU, that told us) did before.
static inline u64 arch_counter(void)
{
    u32 low, high;
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | (u64)high << 32;
}

// cpu.c picks by x86_features.fast_rep; both are in string.S.
void arch_clear_page(void *page);
void arch_copy_page(void *to, const void *from);

static inline u64 arch_sum_blocks(const void *from, size_t n, u64 sum)
{
    __asm__("clc\n"
            "1: adc (%1), %0\n\tadc 8(%1), %0\n\tadc 16(%1), %0\n\tadc 24(%1), %0\n\t"
            "adc 32(%1), %0\n\tadc 40(%1), %0\n\tadc 48(%1), %0\n\tadc 56(%1), %0\n\t"
            "lea 64(%1), %1\n\tdec %2\n\tjnz 1b\n\t"  // these leave the carry alone
            "adc $0, %0\n\tadc $0, %0"
            : "+&r"(sum), "+&r"(from), "+&r"(n)
            :
            : "cc", "memory");
    return sum;
}
