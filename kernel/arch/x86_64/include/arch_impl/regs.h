// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/regs.h: the registers as the entry code saves them, in Linux's pt_regs order.
//
// From user mode the last word ends exactly at the top of the kernel stack, because the CPU itself
// (or the SYSCALL entry in its place) pushes ss, rsp, rflags, cs and rip there. See docs/entry.md.
#pragma once

#include "arch_impl/x86.h"

struct regs {
    u64 r15, r14, r13, r12, rbp, rbx;  // kept by called functions: pushed last
    u64 r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    u64 orig_rax;  // system call number; -1: the entry was no system call
    u64 rip, cs, rflags, rsp, ss;
};
_Static_assert(sizeof(struct regs) == 168, "the size is known to entry.S");

static inline long regs_syscall_nr(const struct regs *r) { return (long)r->orig_rax; }
static inline void regs_set_syscall_nr(struct regs *r, long nr) { r->orig_rax = (u64)nr; }

static inline long regs_arg(const struct regs *r, int i)
{
    switch (i) {
    case 0: return (long)r->rdi;
    case 1: return (long)r->rsi;
    case 2: return (long)r->rdx;
    case 3: return (long)r->r10;
    case 4: return (long)r->r8;
    default: return (long)r->r9;
    }
}
static inline void regs_set_arg(struct regs *r, int i, long value)
{
    switch (i) {
    case 0: r->rdi = (u64)value; break;
    case 1: r->rsi = (u64)value; break;
    case 2: r->rdx = (u64)value; break;
    case 3: r->r10 = (u64)value; break;
    case 4: r->r8 = (u64)value; break;
    default: r->r9 = (u64)value; break;
    }
}

static inline long regs_result(const struct regs *r) { return (long)r->rax; }
static inline void regs_set_result(struct regs *r, long value) { r->rax = (u64)value; }
static inline u64 regs_pc(const struct regs *r) { return r->rip; }
// => pc is canonical: IRETQ to anything else would fault in the kernel.
static inline void regs_set_pc(struct regs *r, u64 pc) { r->rip = pc; }
static inline u64 regs_sp(const struct regs *r) { return r->rsp; }
static inline void regs_set_sp(struct regs *r, u64 sp) { r->rsp = sp; }
static inline bool regs_from_user(const struct regs *r) { return (r->cs & 3) != 0; }

// Back to the SYSCALL instruction (two bytes) with its number; the arguments are still in place.
static inline void regs_restart_syscall(struct regs *r)
{
    r->rax = r->orig_rax;
    r->rip -= 2;
}

// Which column of syscall/calls.def is ours.
#define ARCH_SYSCALL_NR(x86_64, arm64) (x86_64)
