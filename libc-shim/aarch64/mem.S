// SPDX-License-Identifier: BSD-2-Clause
// mem.S: memcpy, memmove and memset for aarch64, without vector registers: those hold a program's values.
//
// From 16 bytes on, pairs of registers go forward; the last 16 bytes are read first and written last, so that no tail
// is left over. That also serves overlapping blocks whose target lies below the source.

    .text
    .globl memcpy, memmove, memset

    .balign 16
    .type memmove, @function
memmove:
    sub x3, x0, x1
    cmp x3, x2
    b.lo copy_backward

    .type memcpy, @function
memcpy:
    cmp x2, #16
    b.lo copy_below_16
    add x4, x1, x2
    add x5, x0, x2
    mov x3, x0
    ldp x6, x7, [x4, #-16]
    subs x2, x2, #32
    b.lo 2f
1:  ldp x8, x9, [x1]
    ldp x10, x11, [x1, #16]
    stp x8, x9, [x3]
    stp x10, x11, [x3, #16]
    add x1, x1, #32
    add x3, x3, #32
    subs x2, x2, #32
    b.hs 1b
2:  add x2, x2, #32                 // 0..31 left; the last 16 are in x6 and x7
    cmp x2, #16
    b.ls 3f
    ldp x8, x9, [x1]
    stp x8, x9, [x3]
3:  stp x6, x7, [x5, #-16]
    ret

// All bytes are read before any is written: serves memmove as well.
copy_below_16:
    add x4, x1, x2
    add x5, x0, x2
    tbz x2, #3, 1f
    ldr x6, [x1]
    ldr x7, [x4, #-8]
    str x6, [x0]
    str x7, [x5, #-8]
    ret
1:  tbz x2, #2, 2f
    ldr w6, [x1]
    ldr w7, [x4, #-4]
    str w6, [x0]
    str w7, [x5, #-4]
    ret
2:  tbz x2, #1, 3f
    ldrh w6, [x1]
    ldrh w7, [x4, #-2]
    strh w6, [x0]
    strh w7, [x5, #-2]
    ret
3:  cbz x2, 4f
    ldrb w6, [x1]
    strb w6, [x0]
4:  ret

copy_backward:
    cmp x2, #16
    b.lo copy_below_16
    add x4, x1, x2
    add x5, x0, x2
    ldp x6, x7, [x1]                // the first 16 are written last
1:  cmp x2, #16
    b.ls 2f
    ldp x8, x9, [x4, #-16]!
    stp x8, x9, [x5, #-16]!
    sub x2, x2, #16
    b 1b
2:  stp x6, x7, [x0]
    ret

    .balign 16
    .type memset, @function
memset:
    and x1, x1, #0xff
    mov x3, #0x0101010101010101
    mul x1, x1, x3
    add x4, x0, x2
    cmp x2, #16
    b.lo 3f
    mov x3, x0
    subs x2, x2, #64
    b.lo 2f
1:  stp x1, x1, [x3]
    stp x1, x1, [x3, #16]
    stp x1, x1, [x3, #32]
    stp x1, x1, [x3, #48]
    add x3, x3, #64
    subs x2, x2, #64
    b.hs 1b
2:  adds x2, x2, #48                // 16 and more left: pairs; the last one may overlap
    b.lt 22f
21: stp x1, x1, [x3], #16
    subs x2, x2, #16
    b.ge 21b
22: stp x1, x1, [x4, #-16]
    ret
3:  tbz x2, #3, 4f
    str x1, [x0]
    str x1, [x4, #-8]
    ret
4:  tbz x2, #2, 5f
    str w1, [x0]
    str w1, [x4, #-4]
    ret
5:  tbz x2, #1, 6f
    strh w1, [x0]
    strh w1, [x4, #-2]
    ret
6:  cbz x2, 7f
    strb w1, [x0]
7:  ret

    .section .note.GNU-stack, "", @progbits
