// SPDX-License-Identifier: BSD-2-Clause
// boot.S: from the Image entry to C (Linux Documentation/arch/arm64/booting.rst).
//
// The loader puts the image at a multiple of 2 MiB and enters with the MMU off at EL1 or EL2, x0 = device tree.
// From EL2 we drop to EL1. The kernel fits in its first 2 MiB, which one table of 4 KiB pages maps with the final
// rights, at its link address and in the direct map alike:
//
//   boot_root  [0..255]  direct map  -> boot_direct_l2 -> boot_direct_l1 -> boot_image_l0   (no execute)
//              [511]     -> boot_high_l2 [510] -> boot_image_l1 [0] -> boot_image_l0 (text guarded, where the CPU has BTI)
//                           [0..509] device windows
//   boot_id_root                     -> boot_id_l2: identity map of the GiB around the kernel, read and execute,
//                                       in TTBR0 while the MMU is turned on
//
// mmu.c fills in the rest of RAM. With the MMU off, accesses go past the caches: the tables' lines are thrown out of
// them before and after they are written. kernel_main(device tree) runs on boot_stack.

#include "arch_impl/a64.h"
#include "asm_offsets.h"

#define TABLE 3
#define PAGE 3
#define BLOCK 1
#define SHARED (3 << 8)
#define RO (1 << 7)
#define AF (1 << 10)
#define GUARDED (1 << 50)            // indirect branches end at landing pads only
#define DBM (1 << 51)
#define PXN (1 << 53)
#define UXN (1 << 54)
#define DIRTY (1 << 55)
#define TABLE_PXN (1 << 59)
#define PAGE_RX (PAGE | SHARED | AF | RO | UXN)
#define PAGE_R (PAGE_RX | PXN)
#define PAGE_RW (PAGE | SHARED | AF | UXN | PXN | DBM | DIRTY)

    .section .text.boot, "ax", @progbits
    .globl image_header
image_header:
    b boot_entry
    .long 0
    .quad 0                         // offset from a multiple of 2 MiB
    .quad kernel_size               // memory that the image needs, what is not in the file included
    .quad 0xa                       // little endian, 4 KiB pages, anywhere in memory
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

// In: x0, x1 = [start, end). Drops the lines of the range from the caches.
drop_lines:
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4            // log2 of the smallest line in words
    mov x3, #4
    lsl x3, x3, x2
1:  dc ivac, x0
    add x0, x0, x3
    cmp x0, x1
    b.lo 1b
    dsb sy
    ret

// \table[(\va >> \shift) & 511] = \entry; a0 and a1 are changed
.macro SET_ENTRY table, va, shift, entry
    ubfx x0, \va, #\shift, #9
    str \entry, [\table, x0, lsl #3]
.endm

boot_entry:
    mov x20, x0
    bl to_el1
    adrp x21, kernel_start          // as long as the MMU is off, PC-relative addresses are physical
    adrp x0, boot_tables
    adrp x1, boot_tables_end
    bl drop_lines
    adrp x0, boot_tables
    adrp x1, boot_tables_end
1:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.lo 1b

    adrp x1, boot_image_l0
    mov x2, x1
    mov x3, x21
    add x4, x21, #0x200000
    adrp x5, rodata_start
    adrp x6, data_start
    ldr x7, =PAGE_RX
    mrs x8, id_aa64pfr1_el1
    ubfx x8, x8, #0, #4             // BTI
    cbz x8, 1f
    orr x7, x7, #GUARDED
1:
    ldr x8, =PAGE_R
    ldr x9, =PAGE_RW
2:  cmp x3, x5
    csel x10, x7, x8, lo
    cmp x3, x6
    csel x10, x10, x9, lo
    orr x10, x10, x3
    str x10, [x2], #8
    add x3, x3, #0x1000
    cmp x3, x4
    b.lo 2b

    orr x1, x1, #TABLE              // boot_image_l0
    adrp x2, boot_image_l1
    str x1, [x2]
    orr x2, x2, #TABLE
    adrp x3, boot_high_l2
    str x2, [x3, #510 * 8]
    orr x3, x3, #TABLE
    adrp x4, boot_root
    str x3, [x4, #511 * 8]
    orr x1, x1, #TABLE_PXN
    adrp x5, boot_direct_l1
    SET_ENTRY x5, x21, 21, x1
    orr x5, x5, #TABLE
    adrp x6, boot_direct_l2
    SET_ENTRY x6, x21, 30, x5
    orr x6, x6, #TABLE
    SET_ENTRY x4, x21, 39, x6

    and x1, x21, #~((1 << 30) - 1)
    ldr x2, =BLOCK | SHARED | AF | RO | UXN
    orr x1, x1, x2
    adrp x2, boot_id_l2
    SET_ENTRY x2, x21, 30, x1
    orr x2, x2, #TABLE
    adrp x3, boot_id_root
    SET_ENTRY x3, x21, 39, x2

    dsb sy
    adrp x0, boot_tables
    adrp x1, boot_tables_end
    bl drop_lines
    bl enable_mmu
    ldr x1, =boot_high
    br x1

boot_high:
    hint #38                        // BTI JC: reached by a branch through a register
    ldr x1, =bss_start
    ldr x2, =bss_end
1:  stp xzr, xzr, [x1], #16
    cmp x1, x2
    b.lo 1b
    ldr x1, =kernel_image_phys
    str x21, [x1]
    ldr x1, =boot_cpu               // the CPU-local area; its first word is its own address
    str x1, [x1]
    msr tpidr_el1, x1
    ldr x1, =vectors
    msr vbar_el1, x1
    isb
    ldr x1, =boot_stack_top
    mov sp, x1
    mov x29, xzr                    // ends a backtrace
    mov x30, xzr
    mov x0, x20
    b kernel_main

// Other CPUs: PSCI starts them here like the first one, x0 = their struct cpu, whose kernel_stack_top is set.
    .globl secondary_entry
secondary_entry:
    mov x20, x0
    bl to_el1
    bl enable_mmu
    ldr x1, =secondary_high
    br x1
secondary_high:
    hint #38
    msr tpidr_el1, x20
    ldr x1, =vectors
    msr vbar_el1, x1
    isb
    ldr x1, [x20, #CPU_KERNEL_STACK_TOP]
    mov sp, x1
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    b smp_cpu_main

// Returns to the caller at EL1, interrupts masked, MMU off.
to_el1:
    msr daifset, #0xf
    mrs x1, currentel
    cmp x1, #2 << 2
    b.eq 1f
    ldr x1, =SCTLR_RES1
    msr sctlr_el1, x1
    isb
    ret
// EL2: it gives everything to EL1 and is never entered again.
1:  mov x1, #1 << 31                // HCR_EL2: EL1 is AArch64; pointer authentication does not trap
    orr x1, x1, #3 << 40
    msr hcr_el2, x1
    isb
    mov x1, #3                      // physical counter and timer
    msr cnthctl_el2, x1
    msr cntvoff_el2, xzr
    mov x1, #0x33ff                 // CPTR_EL2: FPSIMD does not trap
    msr cptr_el2, x1
    msr hstr_el2, xzr
    msr vttbr_el2, xzr
    mrs x1, midr_el1
    msr vpidr_el2, x1
    mrs x1, mpidr_el1
    msr vmpidr_el2, x1
    mrs x1, id_aa64mmfr0_el1
    ubfx x1, x1, #56, #4            // fine-grained traps
    cbz x1, 2f
    msr s3_4_c1_c1_4, xzr           // HFGRTR_EL2
    msr s3_4_c1_c1_5, xzr           // HFGWTR_EL2
    msr s3_4_c1_c1_6, xzr           // HFGITR_EL2
2:  mrs x1, id_aa64pfr0_el1
    ubfx x1, x1, #24, #4            // registers of a GICv3
    cbz x1, 3f
    mov x1, #0x9                    // ICC_SRE_EL2: use them, and let EL1 do so
    msr s3_4_c12_c9_5, x1
    isb
    msr s3_4_c12_c11_0, xzr         // ICH_HCR_EL2
3:  ldr x1, =SCTLR_RES1
    msr sctlr_el1, x1
    mov x1, #SPSR_EL1H_MASKED
    msr spsr_el2, x1
    msr elr_el2, x30
    eret

enable_mmu:
    ldr x1, =MAIR_KERNEL
    msr mair_el1, x1
    ldr x1, =TCR_T0SZ_T1SZ | TCR_CACHED | TCR_TG1_4K | TCR_TBI0
    mrs x2, id_aa64mmfr0_el1
    and x2, x2, #0xf                // physical address size; more than 48 bits needs other tables
    mov x3, #5
    cmp x2, x3
    csel x2, x2, x3, lo
    orr x1, x1, x2, lsl #TCR_IPS_SHIFT
    mrs x2, id_aa64mmfr1_el1
    ands x3, x2, #0xf
    b.eq 1f
    orr x1, x1, #TCR_HA
    cmp x3, #1
    b.eq 1f
    orr x1, x1, #TCR_HD
1:  msr tcr_el1, x1
    adrp x1, boot_id_root
    msr ttbr0_el1, x1
    adrp x1, boot_root
    msr ttbr1_el1, x1
    mov x1, #CPACR_FPEN
    msr cpacr_el1, x1
    mov x1, #CNTKCTL_EL0VCTEN
    msr cntkctl_el1, x1
    mov x1, #MDSCR_TDCC
    msr mdscr_el1, x1
    isb
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    ldr x1, =SCTLR_KERNEL
    ubfx x2, x2, #20, #4
    cbz x2, 2f
    bic x1, x1, #SCTLR_SPAN         // PAN is set on every exception
2:  msr sctlr_el1, x1
    isb
    ret

    .section .bss.percpu_head, "aw", @nobits
    .balign 64
    .globl boot_cpu
boot_cpu:
    .skip 128                       // struct cpu; checked in cpu.c

    .section .bss_boot, "aw", @nobits
    .balign 4096
    .globl boot_root, boot_high_l2, boot_direct_l2, boot_direct_l1, boot_stack_top
boot_tables:
boot_root: .skip 4096
boot_high_l2: .skip 4096
boot_image_l1: .skip 4096
boot_image_l0: .skip 4096
boot_direct_l2: .skip 4096
boot_direct_l1: .skip 4096
boot_id_root: .skip 4096
boot_id_l2: .skip 4096
boot_tables_end:
    .skip 16384
boot_stack_top:

    .section .note.GNU-stack, "", @progbits
