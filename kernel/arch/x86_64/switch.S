// SPDX-License-Identifier: BSD-2-Clause
// switch.S: from one kernel stack to another, and the first step of a new thread.

#include "asm_offsets.h"

    .section .text.switch, "ax", @progbits

// struct thread *switch_stacks(u64 *save_sp, u64 load_sp, struct thread *from)
// Returns on the other stack, with the `from` of the caller there: who ran before.
    .balign 16
    .globl switch_stacks
    .type switch_stacks, @function
switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    movq %rdx, %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

// The first return of switch_stacks on a new stack comes to one of these two; rax = who ran before.
// Kernel thread: rbx = function, r12 = its argument.
    .balign 16
    .globl start_kernel_thread
    .type start_kernel_thread, @function
start_kernel_thread:
    movq %rax, %rdi
    call sched_first_run
    movq %r12, %rdi
    call *%rbx
    ud2                             // kernel threads end by thread_exit()

// User thread: rsp = its struct regs.
    .balign 16
    .globl start_user_thread
    .type start_user_thread, @function
start_user_thread:
    movq %rax, %rdi
    call sched_first_run
    jmp return_from_trap

    .section .note.GNU-stack, "", @progbits
