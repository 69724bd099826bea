// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/regs.h: the registers as the entry code saves them, the first part in Linux's
// user_pt_regs order.
//
// From user mode its end is the top of the thread's kernel stack: SP_EL1 stands there whenever a program runs.
#pragma once

#include "arch_impl/a64.h"

#include "core/base.h"

struct regs {
    u64 x[31];
    u64 sp, pc, pstate;
    // System call: the first argument, which the result replaces. Interrupt: where the last system call let the program
    // go, or -1 when something else came since.
    u64 orig_x0;
    s64 syscall_nr;  // -1: the entry was no system call
};
_Static_assert(sizeof(struct regs) == 288, "the size is known to entry.S, and a multiple of 16");

static inline long regs_syscall_nr(const struct regs *r) { return r->syscall_nr; }
static inline void regs_set_syscall_nr(struct regs *r, long nr) { r->syscall_nr = nr; }

static inline long regs_arg(const struct regs *r, int i)
{
    return (long)(i == 0 ? r->orig_x0 : r->x[i]);
}
static inline void regs_set_arg(struct regs *r, int i, long value)
{
    r->x[i] = (u64)value;
    if (i == 0)
        r->orig_x0 = (u64)value;
}

static inline long regs_result(const struct regs *r) { return (long)r->x[0]; }
static inline void regs_set_result(struct regs *r, long value) { r->x[0] = (u64)value; }
static inline u64 regs_pc(const struct regs *r) { return r->pc; }
static inline void regs_set_pc(struct regs *r, u64 pc) { r->pc = pc; }
static inline u64 regs_sp(const struct regs *r) { return r->sp; }
static inline void regs_set_sp(struct regs *r, u64 sp) { r->sp = sp; }
static inline bool regs_from_user(const struct regs *r)
{
    return (r->pstate & PSTATE_MODE_MASK) == SPSR_EL0T;
}

// Back to the SVC instruction with its number; the other arguments are still in place.
static inline void regs_restart_syscall(struct regs *r)
{
    r->x[0] = r->orig_x0;
    r->x[8] = (u64)r->syscall_nr;
    r->pc -= 4;
}

// Which column of syscall/calls.def is ours.
#define ARCH_SYSCALL_NR(x86_64, arm64) (arm64)
