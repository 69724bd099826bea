// SPDX-License-Identifier: BSD-2-Clause
// sigreturn.S: where signal handlers return to (signal.c). Unwinders know it by these two instructions; the frame
// record that the kernel lays out leads them to the interrupted code.

    .text
    .balign 16
    .globl __kernel_rt_sigreturn
    .type __kernel_rt_sigreturn, @function
__kernel_rt_sigreturn:
    mov x8, #139
    svc #0
    .size __kernel_rt_sigreturn, . - __kernel_rt_sigreturn

    .section .note.GNU-stack, "", @progbits
