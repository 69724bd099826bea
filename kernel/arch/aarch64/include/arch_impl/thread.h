// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/thread.h: what a thread keeps for the CPU while it does not run.
#pragma once

#include "core/base.h"

struct fpsimd_state;

// Keys of pointer authentication (pauth.c).
struct a64_pac {
    u64 set;      // number of this set of keys; 0: none yet
    u64 key[10];  // as the registers: low and high half of APIA, APIB, APDA, APDB, APGA
    u32 off;      // PR_PAC_AP?KEY bits of those that do nothing in this thread
};

struct arch_thread {
    u64 sp;                       // kernel stack pointer while switched out
    u64 stack_top;                // where entries from user mode start to push
    u64 tls;                      // TPIDR_EL0; current in the register while it runs
    struct fpsimd_state *vector;  // vector state while switched out; NULL: a kernel thread
    u32 vector_cpu;               // the CPU whose registers may still hold it (fpsimd.c), or NO_CPU
    bool regs_replaced;           // struct regs was made anew: its x0 stands (sigreturn, exec)
    u64 fault_addr, fault_esr;    // of the last fault: for the signal frame; esr 0: none
    struct a64_pac pac;           // in the registers too while it runs
    u64 fault_sum;                // of registers at the last page fault (arch_regs_fresh)
};
