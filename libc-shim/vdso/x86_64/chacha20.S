// SPDX-License-Identifier: BSD-2-Clause
// chacha20.S: ChaCha20 (RFC 8439, 2.3; with the 64-bit block number of the original) in SSE2, one row
// of the state in each of four registers. No stack at all, and nothing of the key left in registers.
//
// u64 vdso_chacha20(void *out, const u32 *key, u64 counter, size_t n)

    .macro ADD_XOR_ROTATE a, b, d, bits     // a += b; d = rotate(d ^ a, bits)
    paddd \b, \a
    pxor \a, \d
    .if \bits == 16
    pshuflw $0xb1, \d, \d
    pshufhw $0xb1, \d, \d
    .else
    movdqa \d, %xmm8
    pslld $\bits, \d
    psrld $(32 - \bits), %xmm8
    por %xmm8, \d
    .endif
    .endm

    .macro ROUND                            // the four columns at once
    ADD_XOR_ROTATE %xmm0, %xmm1, %xmm3, 16
    ADD_XOR_ROTATE %xmm2, %xmm3, %xmm1, 12
    ADD_XOR_ROTATE %xmm0, %xmm1, %xmm3, 8
    ADD_XOR_ROTATE %xmm2, %xmm3, %xmm1, 7
    .endm

    .section .rodata.chacha, "a"
    .balign 16
constants: .ascii "expand 32-byte k"
one:       .quad 1, 0

    .text
    .balign 16
    .globl vdso_chacha20
    .hidden vdso_chacha20
    .type vdso_chacha20, @function
vdso_chacha20:
    .cfi_startproc
    movdqa constants(%rip), %xmm4
    movdqu (%rsi), %xmm5
    movdqu 16(%rsi), %xmm6
    movq %rdx, %xmm7
    leaq (%rdx,%rcx), %rax
1:  movdqa %xmm4, %xmm0
    movdqa %xmm5, %xmm1
    movdqa %xmm6, %xmm2
    movdqa %xmm7, %xmm3
    movl $10, %edx
2:  ROUND
    pshufd $0x39, %xmm1, %xmm1              // diagonals into columns
    pshufd $0x4e, %xmm2, %xmm2
    pshufd $0x93, %xmm3, %xmm3
    ROUND
    pshufd $0x93, %xmm1, %xmm1
    pshufd $0x4e, %xmm2, %xmm2
    pshufd $0x39, %xmm3, %xmm3
    decl %edx
    jnz 2b
    paddd %xmm4, %xmm0
    paddd %xmm5, %xmm1
    paddd %xmm6, %xmm2
    paddd %xmm7, %xmm3
    movdqu %xmm0, (%rdi)
    movdqu %xmm1, 16(%rdi)
    movdqu %xmm2, 32(%rdi)
    movdqu %xmm3, 48(%rdi)
    paddq one(%rip), %xmm7
    addq $64, %rdi
    decq %rcx
    jnz 1b
    .irp r, 0, 1, 2, 3, 5, 6, 8
    pxor %xmm\r, %xmm\r
    .endr
    ret
    .cfi_endproc
    .size vdso_chacha20, . - vdso_chacha20

    .section .note.GNU-stack, "", @progbits
