// SPDX-License-Identifier: BSD-2-Clause
// head.S: the PE headers, and the way to where an arm64 Image begins (Linux Documentation/arch/arm64/booting.rst).
#define PE_MACHINE 0xaa64
#include "boot/efi/head.inc"

    .text
// void clean_to_memory(start, end): the lines of the range go to memory, where they are seen with the MMU off.
    .globl clean_to_memory
clean_to_memory:
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4            // log2 of the smallest line in words
    mov x3, #4
    lsl x3, x3, x2
    sub x2, x3, #1
    bic x0, x0, x2
1:  dc civac, x0
    add x0, x0, x3
    cmp x0, x1
    b.lo 1b
    dsb sy
    ret

// void enter_kernel(entry, tree): MMU and data cache off at the exception level that we are at, x0 = tree, x1 to x3 = 0.
    .globl enter_kernel
enter_kernel:
    msr daifset, #0xf
    mov x4, x0
    mov x0, x1
    mrs x5, CurrentEL
    cmp x5, #8
    b.eq 2f
    mrs x6, sctlr_el1
    bic x6, x6, #1
    bic x6, x6, #4
    msr sctlr_el1, x6
    b 3f
2:  mrs x6, sctlr_el2
    bic x6, x6, #1
    bic x6, x6, #4
    msr sctlr_el2, x6
3:  isb
    ic iallu
    dsb sy
    isb
    mov x1, xzr
    mov x2, xzr
    mov x3, xzr
    br x4
    .section .note.GNU-stack, "", @progbits
