// SPDX-License-Identifier: BSD-2-Clause
// arch/regs.h (contract 4 of 8): the saved user registers.
//
// struct regs is what the entry code saves at the top of the kernel stack, defined by
// kernel/arch/<arch>/include/arch_impl/regs.h with these accessors:
//     long regs_syscall_nr(r)     -1 when the entry was no system call (or it must not restart)
//     void regs_set_syscall_nr(r, nr)
//     long regs_arg(r, i), void regs_set_arg(r, i, value)  i = 0..5
//     long regs_result(r), void regs_set_result(r, value)
//     u64 regs_pc(r), void regs_set_pc(r, pc), u64 regs_sp(r), void regs_set_sp(r, sp)
//     bool regs_from_user(r)
//     bool arch_regs_fresh(r)        the program has run no instruction since the kernel last let it go, as far as can
//                                    be told: the interrupt has been waiting for the kernel to finish
//     void regs_restart_syscall(r)   back to the system-call instruction with its number and arguments
//     ARCH_SYSCALL_NR(x86_64, arm64)  picks its own number from syscall/calls.def
#pragma once

#include "core/base.h"

#include "arch_impl/regs.h"

// Implemented above the architecture, called by its entry code, interrupts off:
// A page fault; access is FAULT_* (mm/mm.h). user: from user mode. Kernel-mode faults on user
// addresses inside arch/uaccess code come here too; false means "not resolved: use the fixup".
bool trap_page_fault(struct regs *r, vaddr_t addr, unsigned access, bool user);
// The program touched a page whose protection key it has no right to: SIGSEGV, SEGV_PKUERR.
void trap_key_fault(vaddr_t addr);
// A synchronous CPU exception of user code that becomes a signal (SIGFPE, SIGILL, SIGTRAP, …).
void trap_user_exception(struct regs *r, int sig, int code, vaddr_t addr, int trap_nr, u64 error);
// Work before going back to user mode: signals, rescheduling, exit. Called when thread->work != 0.
void return_to_user_work(struct regs *r);
// Interrupt entry points.
bool arch_regs_fresh(const struct regs *r);
void irq_timer(const struct regs *r);  // clock event: timers, then scheduler tick
void irq_cross_call(void);             // inter-processor interrupt
bool irq_device(unsigned line);        // false: nobody handles this line
// After an interrupt that came from user mode or a resched point has been served.
// System-call slow path (tracing): same contract as the fast one.
long syscall_traced(struct regs *r);
// An unknown or unimplemented number.
long syscall_unknown(struct regs *r);
