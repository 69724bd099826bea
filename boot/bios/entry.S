// SPDX-License-Identifier: BSD-2-Clause
// entry.S: from the MBR to C, and from C to the BIOS and back. Everything of the loader lies below 64 KiB, so that real mode
// reaches it with segment 0 and one set of addresses serves both modes.
#define CODE32 0x08
#define DATA32 0x10
#define CODE16 0x18
#define DATA16 0x20

    .section .entry, "awx", @progbits
    .code16
    .globl stage2
stage2:
    cli
    movb %dl, drive
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE32, $1f
    .code32
1:  call load_segments
    movl $stack_top, %esp
    cld
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    movzbl drive, %eax
    pushl %eax
    call bios_main
1:  hlt
    jmp 1b

load_segments:
    movl $DATA32, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    ret

// void bios_call(unsigned char number, struct bios_regs *regs)
    .globl bios_call
bios_call:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    movb 20(%esp), %al
    movb %al, 3f + 1                // the number of the INT below
    movl 24(%esp), %esi
    movl %esi, caller_regs
    movl %esp, caller_stack
    movl $regs, %edi
    movl $7, %ecx
    rep movsl
    lidt real_idt
    ljmp $CODE16, $1f
    .code16
1:  movw $DATA16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $0, $2f
2:  xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movw $0x7c00, %sp
    movl regs, %eax
    movl regs + 4, %ebx
    movl regs + 8, %ecx
    movl regs + 12, %edx
    movl regs + 16, %esi
    movl regs + 20, %edi
    sti
3:  int $0
    cli
    pushfl
    pushw $0
    popw %ds
    movl %eax, regs
    movl %ebx, regs + 4
    movl %ecx, regs + 8
    movl %edx, regs + 12
    movl %esi, regs + 16
    movl %edi, regs + 20
    popl regs + 24
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE32, $4f
    .code32
4:  movl $DATA32, %eax
    movl %eax, %ss
    movl caller_stack, %esp
    call load_segments
    cld
    movl $regs, %esi
    movl caller_regs, %edi
    movl $7, %ecx
    rep movsl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

// void enter_kernel(uint32_t entry, const void *start_info)
    .globl enter_kernel
enter_kernel:
    movl 8(%esp), %ebx
    jmp *4(%esp)

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff        // CODE32
    .quad 0x00cf93000000ffff        // DATA32
    .quad 0x00009b000000ffff        // CODE16
    .quad 0x000093000000ffff        // DATA16
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
real_idt:
    .word 0x3ff
    .long 0
drive:  .byte 0

    .section .bss, "aw", @nobits
    .balign 16
regs:   .skip 28
caller_regs: .skip 4
caller_stack: .skip 4
    .balign 16
stack:  .skip 4096
stack_top:
    .section .note.GNU-stack, "", @progbits
