// SPDX-License-Identifier: BSD-2-Clause
// head.S: the PE headers, the entry, and the way down to where PVH begins.
#define PE_MACHINE 0x8664
#include "boot/efi/head.inc"

    .text
    .globl efi_main
efi_main:                           // RCX: image, RDX: system table
    movq %rcx, %rdi
    movq %rdx, %rsi
    subq $8, %rsp
    call efi_main_c
    addq $8, %rsp
    ret

// Copied to a page of its own below 4 GiB. RDI: entry of the kernel, RSI: start information. Leaves long mode: 32-bit flat
// segments, paging off, EBX = start information.
    .globl descend, descend_end
descend:
    cli
    movl %edi, %ebp
    movl %esi, %ebx
    leaq descend_end(%rip), %rsp    // the rest of the page is its stack
    andq $-4096, %rsp
    addq $4096, %rsp
    leaq gdt(%rip), %rax
    movq %rax, gdt_pointer + 2(%rip)
    lgdt gdt_pointer(%rip)
    leaq 1f(%rip), %rax
    pushq $0x08
    pushq %rax
    lretq
    .code32
1:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movl %cr0, %eax
    andl $0x7fffffff, %eax          // paging off: out of long mode
    movl %eax, %cr0
    movl $0xc0000080, %ecx          // EFER
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    movl %eax, %cr4
    movl $0x11, %eax                // PE, ET
    movl %eax, %cr0
    jmp *%ebp
    .code64
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .quad 0
descend_end:
    .section .note.GNU-stack, "", @progbits
