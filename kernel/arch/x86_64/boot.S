// SPDX-License-Identifier: BSD-2-Clause
// boot.S: from the PVH entry to C.
//
// PVH (Xen "PVH boot ABI", docs/misc/pvh.pandoc) enters in 32-bit protected mode with flat segments,
// paging off, interrupts off and the physical address of struct hvm_start_info in EBX. The kernel
// lies at its load address. We build the first page tables, one page of each level:
//
//   boot_root (level 3)   [0]   -> direct    identity map, until mmu.c takes it away
//                         [256] -> direct    (no execute) the direct map
//                         [511] -> high
//   direct (level 2)      [0]   -> first_gib
//   high (level 2)        [510] -> first_gib  KERNEL_IMAGE_BASE
//   first_gib (level 1)   [0], [1]            two 2 MiB pages, all rights
//
// mmu.c then replaces [0] and [1] by tables of 4 KiB pages with the rights of each section and
// fills in the rest of RAM. kernel_main(start_info) runs on boot_stack.

#include "arch_impl/x86.h"

#define PHYS(symbol) ((symbol) - 0xffffffff80000000)
#define P 0x1
#define RW 0x2
#define A 0x20
#define PS 0x80

    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                  // name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad PHYS(pvh_entry)

    .section .text.boot, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cld
    movl $PHYS(boot_first_gib) + P + RW + A, %eax
    movl %eax, PHYS(boot_direct)
    movl %eax, PHYS(boot_high) + 510 * 8
    movl $P + RW + PS + A + 0x40, PHYS(boot_first_gib)
    movl $0x200000 + P + RW + PS + A + 0x40, PHYS(boot_first_gib) + 8
    movl $PHYS(boot_direct) + P + RW + A, %eax
    movl %eax, PHYS(boot_root)
    movl %eax, PHYS(boot_root) + 256 * 8
    movl $0x80000000, PHYS(boot_root) + 256 * 8 + 4
    movl $PHYS(boot_high) + P + RW + A, PHYS(boot_root) + 511 * 8

    movl $CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
    movl %eax, %cr4
    movl $PHYS(boot_root), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl $EFER_LME | EFER_NXE | EFER_SCE, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG, %eax
    movl %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $SEL_KERNEL_CS, $PHYS(1f)

    .code64
1:  movq $2f, %rax
    jmpq *%rax
2:  movl $SEL_KERNEL_DS, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $MSR_GS_BASE, %ecx         // the CPU-local area; its first word is its own address
    movq $boot_cpu, %rax
    movq %rax, (%rax)
    movl $0xffffffff, %edx
    wrmsr
    movq $boot_stack_top, %rsp
    xorl %ebp, %ebp                 // ends a backtrace
    movl %ebx, %edi
    pushq %rbp
    jmp kernel_main

// ---- Other CPUs. smp.c copies [ap_trampoline, ap_trampoline_end) to a page below 1 MiB, which is
// identity-mapped and executable meanwhile, and sends its number as the start-up vector: the CPU
// begins there in real mode with CS = page >> 4. It goes to long mode in one step.
    .code16
    .globl ap_trampoline, ap_trampoline_end
ap_trampoline:
    cli
    movw %cs, %ax
    movw %ax, %ds
    movl $CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT, %eax
    movl %eax, %cr4
    movl $PHYS(boot_root), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl $EFER_LME | EFER_NXE | EFER_SCE, %eax
    xorl %edx, %edx
    wrmsr
    lgdtl ap_gdt_pointer - ap_trampoline
    movl $CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG, %eax
    movl %eax, %cr0
    ljmpl $SEL_KERNEL_CS, $PHYS(ap_long_mode)
    .balign 4
ap_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
ap_trampoline_end:

    .code64
ap_long_mode:
    movq $1f, %rax
    jmpq *%rax
1:  movl $SEL_KERNEL_DS, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl $MSR_GS_BASE, %ecx
    movq ap_start_cpu(%rip), %rax
    movq %rax, %rdi
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    movq ap_start_stack(%rip), %rsp
    movq $0, ap_start_cpu(%rip)
    xorl %ebp, %ebp
    pushq %rbp
    jmp smp_cpu_main

    .section .rodata.boot, "a", @progbits
    .balign 8
boot_gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff        // SEL_KERNEL_CS: 64-bit code
    .quad 0x00cf93000000ffff        // SEL_KERNEL_DS
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)

    .section .bss.percpu_head, "aw", @nobits
    .balign 64
    .globl boot_cpu
boot_cpu:
    .skip 128                       // struct cpu; checked in cpu.c

    .section .bss.ap_start, "aw", @nobits
    .balign 8
    .globl ap_start_stack, ap_start_cpu
ap_start_stack: .skip 8
ap_start_cpu:   .skip 8

    .section .bss_page_aligned, "aw", @nobits
    .balign 4096
    .globl boot_root, boot_direct, boot_high, boot_first_gib, boot_stack_top
boot_root: .skip 4096
boot_direct:    .skip 4096
boot_high:     .skip 4096
boot_first_gib: .skip 4096
boot_stack: .skip 16384
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
