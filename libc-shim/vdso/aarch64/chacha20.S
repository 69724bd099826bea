// SPDX-License-Identifier: BSD-2-Clause
// chacha20.S: ChaCha20 (RFC 8439, 2.3; with the 64-bit block number of the original) in AdvSIMD, one row
// of the state in each of four registers. No stack at all, and nothing of the key left in registers.
//
// In: x0 = out, x1 = key, x2 = block number, x3 = number of blocks. Out: x2 = the next block number.
// Changes x0, x2 to x5, flags and v0 to v7, v16 to v18 (all of them caller-saved).

    .macro ADD_XOR_ROTATE a, b, d, bits     // a += b; d = rotate(d ^ a, bits)
    add \a\().4s, \a\().4s, \b\().4s
    .if \bits == 16
    eor \d\().16b, \d\().16b, \a\().16b
    rev32 \d\().8h, \d\().8h
    .else
    eor v16.16b, \d\().16b, \a\().16b
    shl \d\().4s, v16.4s, #\bits
    sri \d\().4s, v16.4s, #(32 - \bits)
    .endif
    .endm

    .macro ROUND                            // the four columns at once
    ADD_XOR_ROTATE v0, v1, v3, 16
    ADD_XOR_ROTATE v2, v3, v1, 12
    ADD_XOR_ROTATE v0, v1, v3, 8
    ADD_XOR_ROTATE v2, v3, v1, 7
    .endm

    .text
    .balign 16
constants: .ascii "expand 32-byte k"

    .globl vdso_chacha20
    .hidden vdso_chacha20
    .type vdso_chacha20, @function
vdso_chacha20:
    .cfi_startproc
    adr x4, constants
    ld1 {v4.4s}, [x4]
    ld1 {v5.16b, v6.16b}, [x1]
    movi v7.4s, #0
    mov v7.d[0], x2
1:  mov v0.16b, v4.16b
    mov v1.16b, v5.16b
    mov v2.16b, v6.16b
    mov v3.16b, v7.16b
    mov w5, #10
2:  ROUND
    ext v1.16b, v1.16b, v1.16b, #4          // diagonals into columns
    ext v2.16b, v2.16b, v2.16b, #8
    ext v3.16b, v3.16b, v3.16b, #12
    ROUND
    ext v1.16b, v1.16b, v1.16b, #12
    ext v2.16b, v2.16b, v2.16b, #8
    ext v3.16b, v3.16b, v3.16b, #4
    subs w5, w5, #1
    b.ne 2b
    add v0.4s, v0.4s, v4.4s
    add v1.4s, v1.4s, v5.4s
    add v2.4s, v2.4s, v6.4s
    add v3.4s, v3.4s, v7.4s
    st1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0], #64
    add x2, x2, #1
    mov v7.d[0], x2
    subs x3, x3, #1
    b.ne 1b
    .irp r, 0, 1, 2, 3, 5, 6, 16
    movi v\r\().4s, #0
    .endr
    ret
    .cfi_endproc
    .size vdso_chacha20, . - vdso_chacha20

    .section .note.GNU-stack, "", @progbits
