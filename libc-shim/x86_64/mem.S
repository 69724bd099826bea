// SPDX-License-Identifier: BSD-2-Clause
// mem.S: memcpy, memmove and memset for x86-64.
//
// Short blocks go by overlapping 8-byte (4, 2, 1) moves from both ends, middle ones by an unrolled
// loop of 8-byte moves. From REP_MIN bytes on, a CPU with fast string instructions gets `rep`
// (mem_fast_rep, set by the kernel: under an emulator every turn of a rep costs an instruction).
#define REP_MIN 512

    .text
    .globl memcpy, memmove, memset

    .p2align 4
    .type memcpy, @function
memcpy:
    movq %rdi, %rax
    cmpq $16, %rdx
    jb copy_below_16
    cmpq $REP_MIN, %rdx
    jae copy_long
// 8-byte moves, forward; the last 8 bytes are read before anything is written over them only by
// memmove's backward path, so this one is for disjoint blocks and for to < from.
copy_forward:
    movq -8(%rsi,%rdx), %r9
    leaq -8(%rdi,%rdx), %r10        // where the last 8 bytes go
    subq $32, %rdx
    jb 2f
1:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq 16(%rsi), %rcx
    movq 24(%rsi), %r8
    movq %rcx, 16(%rdi)
    movq %r8, 24(%rdi)
    addq $32, %rsi
    addq $32, %rdi
    subq $32, %rdx
    jae 1b
2:  addq $32, %rdx                  // 0..31 left; the last 8 are in r9
    cmpq $8, %rdx
    jbe 4f
3:  movq (%rsi), %rcx
    movq %rcx, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
    cmpq $8, %rdx
    ja 3b
4:  movq %r9, (%r10)
    ret
copy_long:
    cmpb $0, mem_fast_rep(%rip)
    je copy_forward
    movq %rdx, %rcx
    rep movsb
    ret
// All bytes are read before any is written: serves memmove as well.
copy_below_16:
    cmpq $8, %rdx
    jb 1f
    movq (%rsi), %rcx
    movq -8(%rsi,%rdx), %r8
    movq %rcx, (%rdi)
    movq %r8, -8(%rdi,%rdx)
    ret
1:  cmpq $4, %rdx
    jb 2f
    movl (%rsi), %ecx
    movl -4(%rsi,%rdx), %r8d
    movl %ecx, (%rdi)
    movl %r8d, -4(%rdi,%rdx)
    ret
2:  testq %rdx, %rdx
    je 3f
    movzbl (%rsi), %ecx
    movzbl -1(%rsi,%rdx), %r8d
    shrq $1, %rdx
    movzbl (%rsi,%rdx), %r9d
    leaq (%rdi,%rdx), %r10
    jnc 4f                          // 2 bytes: the middle one is the last one
    movb %r8b, (%r10,%rdx)
    movb %r9b, (%r10)
    movb %cl, (%rdi)
    ret
4:  movb %cl, (%rdi)
    movb %r8b, (%r10)
3:  ret
    .size memcpy, . - memcpy

    .p2align 4
    .type memmove, @function
memmove:
    movq %rdi, %rax
    cmpq $16, %rdx
    jb copy_below_16
    movq %rdi, %rcx
    subq %rsi, %rcx
    cmpq %rdx, %rcx                 // to - from < n, unsigned: the end of from would be overwritten
    jb 1f
    cmpq $REP_MIN, %rdx
    jae copy_long
    jmp copy_forward
1:  movq (%rsi), %r9                // backward
2:  movq -8(%rsi,%rdx), %rcx
    movq %rcx, -8(%rdi,%rdx)
    subq $8, %rdx
    cmpq $8, %rdx
    ja 2b
    movq %r9, (%rdi)
    ret
    .size memmove, . - memmove

    .p2align 4
    .type memset, @function
memset:
    movq %rdi, %rax
    movzbl %sil, %esi
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rsi
    cmpq $8, %rdx
    jb 5f
    cmpq $REP_MIN, %rdx
    jae 4f
1:  movq %rsi, -8(%rdi,%rdx)
    subq $32, %rdx
    jb 3f
2:  movq %rsi, (%rdi)
    movq %rsi, 8(%rdi)
    movq %rsi, 16(%rdi)
    movq %rsi, 24(%rdi)
    addq $32, %rdi
    subq $32, %rdx
    jae 2b
3:  addq $24, %rdx                  // left - 8; the last 8 bytes are written
    jle 7f
6:  movq %rsi, (%rdi)
    addq $8, %rdi
    subq $8, %rdx
    ja 6b
7:  ret
4:  cmpb $0, mem_fast_rep(%rip)
    je 1b
    movq %rax, %r8
    movq %rdx, %rcx
    movl %esi, %eax
    rep stosb
    movq %r8, %rax
    ret
5:  cmpq $4, %rdx
    jb 8f
    movl %esi, (%rdi)
    movl %esi, -4(%rdi,%rdx)
    ret
8:  testq %rdx, %rdx
    je 9f
    movb %sil, (%rdi)
    movb %sil, -1(%rdi,%rdx)
    shrq $1, %rdx
    movb %sil, (%rdi,%rdx)
9:  ret
    .size memset, . - memset

    .section .bss.mem_fast_rep, "aw", @nobits
    .globl mem_fast_rep
mem_fast_rep:
    .skip 1
    .section .note.GNU-stack, "", @progbits
