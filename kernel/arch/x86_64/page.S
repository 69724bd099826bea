// SPDX-License-Identifier: BSD-2-Clause
// page.S: clearing and copying 4 KiB pages.
//
// With fast string instructions: rep. Without them (old CPUs, and emulators, where every turn of a
// rep costs an instruction): vector stores. The vector registers hold the state of the thread that
// runs, so the ones used here are put back; %ymm only when the kernel has turned AVX on.
// page_method: 0 SSE2, 1 AVX, 2 rep; set by cpu.c.

    .text
    .globl arch_clear_page, arch_copy_page, page_method

    .p2align 4
    .type arch_clear_page, @function
arch_clear_page:
    cmpb $1, page_method(%rip)
    ja 2f
    leaq 4096(%rdi), %rax
    je 3f
    subq $24, %rsp
    movups %xmm0, (%rsp)
    xorps %xmm0, %xmm0
1:  i = 0
    .rept 32
    movaps %xmm0, i(%rdi)
    i = i + 16
    .endr
    addq $512, %rdi
    cmpq %rax, %rdi
    jb 1b
    movups (%rsp), %xmm0
    addq $24, %rsp
    ret
2:  movl $4096, %ecx
    xorl %eax, %eax
    rep stosb
    ret
3:  subq $40, %rsp
    vmovups %ymm0, (%rsp)
    vxorps %ymm0, %ymm0, %ymm0
4:  i = 0
    .rept 32
    vmovaps %ymm0, i(%rdi)
    i = i + 32
    .endr
    addq $1024, %rdi
    cmpq %rax, %rdi
    jb 4b
    vmovups (%rsp), %ymm0
    addq $40, %rsp
    ret
    .size arch_clear_page, . - arch_clear_page

    .p2align 4
    .type arch_copy_page, @function
arch_copy_page:
    cmpb $1, page_method(%rip)
    ja 2f
    leaq 4096(%rdi), %rax
    je 3f
    subq $40, %rsp
    movups %xmm0, (%rsp)
    movups %xmm1, 16(%rsp)
1:  i = 0
    .rept 16
    movaps i(%rsi), %xmm0
    movaps i + 16(%rsi), %xmm1
    movaps %xmm0, i(%rdi)
    movaps %xmm1, i + 16(%rdi)
    i = i + 32
    .endr
    addq $512, %rsi
    addq $512, %rdi
    cmpq %rax, %rdi
    jb 1b
    movups (%rsp), %xmm0
    movups 16(%rsp), %xmm1
    addq $40, %rsp
    ret
2:  movl $4096, %ecx
    rep movsb
    ret
3:  subq $72, %rsp
    vmovups %ymm0, (%rsp)
    vmovups %ymm1, 32(%rsp)
4:  i = 0
    .rept 16
    vmovaps i(%rsi), %ymm0
    vmovaps i + 32(%rsi), %ymm1
    vmovaps %ymm0, i(%rdi)
    vmovaps %ymm1, i + 32(%rdi)
    i = i + 64
    .endr
    addq $1024, %rsi
    addq $1024, %rdi
    cmpq %rax, %rdi
    jb 4b
    vmovups (%rsp), %ymm0
    vmovups 32(%rsp), %ymm1
    addq $72, %rsp
    ret
    .size arch_copy_page, . - arch_copy_page

    .section .bss.page_method, "aw", @nobits
page_method:
    .skip 1
    .section .note.GNU-stack, "", @progbits
