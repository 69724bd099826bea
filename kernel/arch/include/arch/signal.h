// SPDX-License-Identifier: BSD-2-Clause
// arch/signal.h (contract 7 of 8): the signal frame on the user stack.
#pragma once

#include "task/signal.h"

struct regs;

// Pushes the Linux rt_sigframe (siginfo, ucontext with general and vector state, restorer) and
// makes *r enter the handler. on_altstack: start at sp_top of the alternate stack.
// => 0, -EFAULT (the frame does not fit: the caller raises SIGSEGV).
int arch_signal_deliver(struct regs *r, const struct siginfo *info, const struct sigaction *action,
                        u64 old_mask, vaddr_t altstack_top, const struct stack_user *uc_stack);
// rt_sigreturn(2): takes registers, vector state, mask and alternate stack back from the frame.
// => 0 with *mask and *stack set, -EFAULT (bad frame: the caller raises SIGSEGV).
int arch_signal_return(struct regs *r, u64 *mask, struct stack_user *stack);
// Bytes that a signal frame needs at most on this CPU (AT_MINSIGSTKSZ).
size_t arch_signal_min_stack(void);
