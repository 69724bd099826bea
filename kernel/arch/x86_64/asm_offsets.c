// SPDX-License-Identifier: BSD-2-Clause
// asm_offsets.c: structure offsets for entry.S and switch.S. Compiled to asm_offsets.h, never linked.
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
    ASM_OFFSET(CPU_SCRATCH, struct cpu, scratch);
    ASM_OFFSET(CPU_SYSCALL_COUNTS, struct cpu, syscall_counts);
    ASM_OFFSET(THREAD_WORK, struct thread, work);
    ASM_OFFSET(REGS_R15, struct regs, r15);
    ASM_OFFSET(REGS_R11, struct regs, r11);
    ASM_OFFSET(REGS_R10, struct regs, r10);
    ASM_OFFSET(REGS_R9, struct regs, r9);
    ASM_OFFSET(REGS_R8, struct regs, r8);
    ASM_OFFSET(REGS_RAX, struct regs, rax);
    ASM_OFFSET(REGS_RCX, struct regs, rcx);
    ASM_OFFSET(REGS_RDX, struct regs, rdx);
    ASM_OFFSET(REGS_RSI, struct regs, rsi);
    ASM_OFFSET(REGS_RDI, struct regs, rdi);
    ASM_OFFSET(REGS_ORIG_RAX, struct regs, orig_rax);
    ASM_OFFSET(REGS_RIP, struct regs, rip);
    ASM_OFFSET(REGS_CS, struct regs, cs);
    ASM_OFFSET(REGS_RFLAGS, struct regs, rflags);
    ASM_OFFSET(REGS_RSP, struct regs, rsp);
    ASM_CONST(REGS_SIZE, sizeof(struct regs));
    ASM_CONST(N_SYSCALLS, SYSCALL_COUNT);
}
