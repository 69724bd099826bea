// SPDX-License-Identifier: BSD-2-Clause
// arch/cpu.h (contract 1 of 8): the CPU itself: local data, interrupts, barriers, counter, features.
//
// kernel/arch/<arch>/include/arch_impl/cpu.h supplies the inline primitives:
//     struct cpu *this_cpu(void)            the CPU-local area (GS base, TPIDR_EL1)
//     struct thread *arch_current_thread(void)  this_cpu()->current; the compiler may keep it over calls
//     void arch_cpu_relax(void)             pause, yield
//     void arch_irq_enable(void), arch_irq_disable(void)
//     void arch_idle_wait(void)             opens interrupts and waits for one, atomically, then
//                                           closes them (sti; hlt; cli / wfi)
//     void arch_wait_cross(void)            the same, but only for a cross-call: other interrupts
//                                           stay pending
//     u64 arch_counter(void)                TSC, CNTVCT
//     void arch_clear_page(void *page)      4 KiB, the fastest clear that this CPU really has
//     void arch_copy_page(void *to, const void *from)
//     u64 arch_sum_blocks(const void *from, size_t n, u64 sum)   adds n > 0 blocks of 64 bytes to sum as 64-bit
//                                           words; a carry goes in again at the bottom
#pragma once

#include "core/base.h"

#include "arch_impl/cpu.h"

struct cpu;

void arch_init_early(struct cpu *boot_cpu);  // before anything else: tables, traps, features
void arch_init_cpu(struct cpu *cpu);         // on each CPU, boot CPU included
void arch_clear_pages(void *start, size_t n_pages);
// What the program learns in the auxiliary vector (getauxval(3)).
u64 arch_hwcap(void);
u64 arch_hwcap2(void);
const char *arch_platform_name(void);  // AT_PLATFORM, uname machine
// Hardware random number; false if the CPU has none or it failed.
bool arch_random_u64(u64 *out);
// Prints a symbolised backtrace of the caller (kernel stack) on the console.
void arch_backtrace(void);
// Lines for /proc/cpuinfo about one CPU, as Linux words them. => bytes written to buf.
size_t arch_cpuinfo(char *buf, size_t size, u32 cpu);

// One cache as seen from a CPU; all CPUs are alike. (arch/<arch>/cache.c)
struct arch_cache {
    u8 level, type;  // type 1 data, 2 instruction, 3 unified
    u16 ways;
    u32 line_bytes, sets, size_bytes;
};
bool arch_cpu_cache(u32 index, struct arch_cache *out);  // false: no cache of that index
const char *arch_clock_name(void);  // as Linux names it: "tsc", "kvm-clock", "arch_sys_counter"
