// SPDX-License-Identifier: BSD-2-Clause
// boot.h: what boot.S, cpu.c, mmu.c and smp.c share while the machine comes up.
#pragma once

#include "core/base.h"

// Final page tables of the kernel half; before it, everything below 4 MiB is mapped with all rights.
void x86_mmu_init(void);
// Identity map for starting CPUs: code_page (below 2 MiB) is readable and executable while on.
void x86_identity_map(phys_t code_page, bool on);
// Where other CPUs start in real mode; kept out of the allocator.
#define X86_AP_START_PAGE 0x8000ul

extern char ap_trampoline[], ap_trampoline_end[];
extern void *ap_start_stack;
extern struct cpu *ap_start_cpu;
