// SPDX-License-Identifier: BSD-2-Clause
// arch/thread.h (contract 5 of 8): what a thread carries for the CPU, and switching between threads.
//
// struct arch_thread is defined by arch_impl/thread.h: saved kernel stack pointer, user TLS base,
// vector state (XSAVE area or FPSIMD), allocated on creation of a user thread.
#pragma once

#include "core/base.h"

#include "arch_impl/thread.h"

struct thread;
struct regs;

// A kernel stack for a new thread that will start in entry(arg) in kernel mode.
void arch_thread_init_kernel(struct arch_thread *at, void *stack_top, void (*entry)(void *),
                             void *arg);
// A new user thread: starts by returning to user mode with the registers *r (copied to the top of
// the stack, where regs_of(thread) then points). => -ENOMEM (vector state).
int arch_thread_init_user(struct arch_thread *at, void *stack_top, const struct regs *r);
// Copies vector state and TLS from the running thread (clone, fork).
void arch_thread_copy_state(struct arch_thread *to, struct thread *from_current);
void arch_thread_free(struct arch_thread *at);
// Fresh vector state and TLS for execve.
void arch_thread_reset(struct arch_thread *at);
// Registers for the first entry to a program (SysV ABI process entry / AAPCS64).
void arch_regs_exec(struct regs *r, vaddr_t entry, vaddr_t sp);
// Options of prctl(2) that only some architectures have. => -EINVAL: not one. Weak.
long arch_prctl_option(int option, u64 a2, u64 a3, u64 a4, u64 a5) __weak;
// CLONE_SETTLS, ARCH_SET_FS. => 0, -EPERM: not an address that the register can hold
int arch_set_tls(struct thread *t, u64 tls);
u64 arch_get_tls(struct thread *t);

// Switches kernel stacks; saves and loads TLS and vector state as needed. Returns in the context of
// `to`; returns the thread that ran before on this CPU (for the caller to finish its switch-out).
struct thread *arch_switch(struct thread *from, struct thread *to);

// What the start stubs of both kinds of new thread call first, on the new stack, interrupts off,
// with what arch_switch would have returned (the thread that ran before): finishes that switch.
void sched_first_run(struct thread *prev);
