// SPDX-License-Identifier: BSD-2-Clause
// asm_offsets.c: structure offsets for boot.S and entry.S. Compiled to asm_offsets.h, never linked.
#include "mk/asm_offsets.h"

#include "arch/regs.h"
#include "core/cpu.h"
#include "syscall/syscall.h"
#include "task/thread.h"

#undef current  // a member of struct cpu here

void asm_offsets(void)
{
    ASM_OFFSET(CPU_CURRENT, struct cpu, current);
    ASM_OFFSET(CPU_KERNEL_STACK_TOP, struct cpu, kernel_stack_top);
    ASM_OFFSET(CPU_SYSCALL_COUNTS, struct cpu, syscall_counts);
    ASM_OFFSET(THREAD_WORK, struct thread, work);
    ASM_OFFSET(REGS_PC, struct regs, pc);
    ASM_OFFSET(REGS_ORIG_X0, struct regs, orig_x0);
    ASM_OFFSET(REGS_SYSCALL_NR, struct regs, syscall_nr);
    ASM_CONST(REGS_SIZE, sizeof(struct regs));
    ASM_CONST(N_SYSCALLS, SYSCALL_COUNT);
}
