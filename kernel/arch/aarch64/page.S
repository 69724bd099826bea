// SPDX-License-Identifier: BSD-2-Clause
// page.S: clearing and copying 4 KiB pages, and making instruction fetches see what was written.

    .text
    .balign 16
    .globl arch_clear_page
    .type arch_clear_page, @function
arch_clear_page:
    add x3, x0, #4096
    mrs x1, dczid_el0
    tbnz x1, #4, 2f                 // DC ZVA is forbidden
    mov x2, #4
    lsl x2, x2, x1                  // bits 3 to 0: log2 of the block in words; a shift takes the lowest six
    cmp x2, #512
    b.hi 1f
3:  .rept 8                         // blocks are 64 bytes on nearly all CPUs
    dc zva, x0
    add x0, x0, x2
    .endr
    cmp x0, x3
    b.lo 3b
    ret
1:  dc zva, x0
    add x0, x0, x2
    cmp x0, x3
    b.lo 1b
    ret
2:  stp xzr, xzr, [x0]
    stp xzr, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    add x0, x0, #64
    cmp x0, x3
    b.lo 2b
    ret

    .balign 16
    .globl arch_copy_page
    .type arch_copy_page, @function
arch_copy_page:
    add x2, x0, #4096
1:  ldp x4, x5, [x1]
    ldp x6, x7, [x1, #16]
    ldp x8, x9, [x1, #32]
    ldp x10, x11, [x1, #48]
    stp x4, x5, [x0]
    stp x6, x7, [x0, #16]
    stp x8, x9, [x0, #32]
    stp x10, x11, [x0, #48]
    add x1, x1, #64
    add x0, x0, #64
    cmp x0, x2
    b.lo 1b
    ret

// void a64_sync_code(const void *start, size_t len): data caches to the point of unification, then instruction
// caches (DDI 0487, B2.4.4). Lines are at least 16 bytes; start and len are multiples of every line's length.
    .balign 16
    .globl a64_sync_code
    .type a64_sync_code, @function
a64_sync_code:
    mrs x2, ctr_el0
    mov x3, #4
    ubfx x4, x2, #16, #4
    lsl x4, x3, x4
    and x5, x2, #0xf
    lsl x5, x3, x5
    add x1, x0, x1
    mov x6, x0
1:  dc cvau, x6
    add x6, x6, x4
    cmp x6, x1
    b.lo 1b
    dsb ish
2:  ic ivau, x0
    add x0, x0, x5
    cmp x0, x1
    b.lo 2b
    dsb ish
    isb
    ret

    .section .note.GNU-stack, "", @progbits
