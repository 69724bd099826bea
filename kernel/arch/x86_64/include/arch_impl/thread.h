// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/thread.h: what a thread keeps for the CPU while it does not run.
#pragma once

#include "core/base.h"

struct xsave_area;

struct arch_thread {
    u64 sp;                     // kernel stack pointer while switched out
    u64 stack_top;              // where entries from user mode start to push
    u64 fs_base, gs_base;       // of user mode; current in the registers while it runs
    struct xsave_area *vector;  // vector state while switched out; NULL: a kernel thread
    u32 vector_cpu;             // the CPU whose registers may still hold it (fpu.c), or NO_CPU
    bool regs_replaced;         // struct regs was made anew: its rax stands (sigreturn, exec)
    bool cpuid_faults;          // ARCH_SET_CPUID
    u64 trap_nr, trap_error, trap_addr;  // of the last fault: for the signal frame
    u64 trap_sum;                        // of registers at the last page fault (arch_regs_fresh)
};
