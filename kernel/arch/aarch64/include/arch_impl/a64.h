// SPDX-License-Identifier: BSD-2-Clause
// a64.h: the names of the Arm Architecture Reference Manual (DDI 0487): fields of system registers and
// exception classes. Assembly may include it.
#pragma once

#define SPSR_EL0T 0x0
#define SPSR_EL1H_MASKED 0x3c5  // EL1 on its own stack, D A I F masked
#define PSTATE_MODE_MASK 0x1f   // with the bit that says AArch32
#define PSTATE_DAIF 0x3c0
#define PSTATE_NZCV 0xf0000000
#define PSTATE_BTYPE 0xc00
#define PSTATE_BTYPE_CALL 0x800  // behind a BLR
#define PSTATE_SS 0x200000

// SCTLR_EL1 (D24.2.174). The bits that are 1 on a CPU without the feature that gives them a meaning.
#define SCTLR_RES1 0x30d00800
#define SCTLR_M 0x1
#define SCTLR_C 0x4
#define SCTLR_SA 0x8
#define SCTLR_SA0 0x10
#define SCTLR_I 0x1000
#define SCTLR_DZE 0x4000
#define SCTLR_UCT 0x8000
#define SCTLR_NTWI 0x10000
#define SCTLR_NTWE 0x40000
#define SCTLR_ENDB 0x2000
#define SCTLR_SPAN 0x800000
#define SCTLR_UCI 0x4000000
#define SCTLR_ENDA 0x8000000
#define SCTLR_BT0 0x800000000ul  // programs: PACIASP is a landing pad of calls alone
#define SCTLR_ENIB 0x40000000
#define SCTLR_ENIA 0x80000000ul
#define SCTLR_KERNEL                                                                           \
    (SCTLR_RES1 | SCTLR_M | SCTLR_C | SCTLR_SA | SCTLR_SA0 | SCTLR_I | SCTLR_DZE | SCTLR_UCT | \
     SCTLR_NTWI | SCTLR_NTWE | SCTLR_UCI)

// TCR_EL1: 48-bit addresses in both halves, 4 KiB granule, tables in inner-shareable write-back memory, the top byte of
// user addresses ignored as on Linux. The size of physical addresses and the flag updates are added at run time.
#define TCR_T0SZ_T1SZ (16 | 16 << 16)
#define TCR_CACHED (0x1 << 8 | 0x1 << 10 | 0x3 << 12 | 0x1 << 24 | 0x1 << 26 | 0x3 << 28)
#define TCR_TG1_4K (0x2 << 30)
#define TCR_IPS_SHIFT 32
#define TCR_TBI0 (1 << 37)
#define TCR_HA (1 << 39)
#define TCR_HD (1 << 40)

// MAIR_EL1: attribute 0 write-back memory, 1 device registers (nGnRE), 2 memory without caches.
#define MAIR_KERNEL 0x4404ff

#define CPACR_FPEN (3 << 20)
#define CNTKCTL_EL0VCTEN 2
#define MDSCR_TDCC (1 << 12)

// Exception classes: ESR_ELx bits 31 to 26.
#define EC_UNKNOWN 0x00
#define EC_WFX 0x01
#define EC_FP_ACCESS 0x07
#define EC_BTI 0x0d
#define EC_ILLEGAL_STATE 0x0e
#define EC_SVC64 0x15
#define EC_SYSREG 0x18
#define EC_SVE_ACCESS 0x19
#define EC_PAC_FAIL 0x1c
#define EC_SME_ACCESS 0x1d
#define EC_INSTR_ABORT_EL0 0x20
#define EC_INSTR_ABORT_EL1 0x21
#define EC_PC_ALIGNMENT 0x22
#define EC_DATA_ABORT_EL0 0x24
#define EC_DATA_ABORT_EL1 0x25
#define EC_SP_ALIGNMENT 0x26
#define EC_MOPS 0x27
#define EC_FP_EXCEPTION 0x2c
#define EC_SERROR 0x2f
#define EC_BREAKPOINT_EL0 0x30
#define EC_STEP_EL0 0x32
#define EC_WATCHPOINT_EL0 0x34
#define EC_BRK 0x3c

#define ESR_EC(esr) ((unsigned)((esr) >> 26) & 0x3f)
#define ESR_WNR 0x40  // of a data abort: a write
#define ESR_CM 0x100  // ... by cache maintenance, which needs no right to write
#define ESR_FAULT_MASK 0x3f

#ifndef __ASSEMBLER__
#define sysreg_read(name)                                               \
    ({                                                                  \
        unsigned long value_;                                           \
        __asm__ volatile("mrs %0, " #name : "=r"(value_) : : "memory"); \
        value_;                                                         \
    })
#define sysreg_write(name, value) \
    __asm__ volatile("msr " #name ", %x0" : : "rZ"((unsigned long)(value)) : "memory")
#define isb() __asm__ volatile("isb" ::: "memory")
#define dsb(domain) __asm__ volatile("dsb " #domain ::: "memory")
#endif
