// SPDX-License-Identifier: BSD-2-Clause
// entry.h: the boundary between user and kernel mode, as the rest of kernel/arch/x86_64 sees it.
#pragma once

#include "arch/regs.h"
#include "core/cpu.h"

struct thread;

// Boot CPU, once, before the first exception can be handled: the interrupt descriptor table, the
// choice of vector-state instructions, SMAP patching, and all of entry_init_cpu.
// => GS base points at boot_cpu, x86_features is known, CR4 has what it will have.
void entry_init_early(struct cpu *boot_cpu);
// Each further CPU, on itself: GDT and TSS, IDT, SYSCALL registers, vector state.
void entry_init_cpu(struct cpu *cpu);

// gdt.c
void gdt_init_cpu(struct cpu *cpu);
void gdt_set_kernel_stack(u64 top);  // of the thread that runs now: rsp0
// idt.c
void idt_init(void);
void idt_load(void);
// fpu.c
void fpu_init(void);
void fpu_init_cpu(void);
void fpu_switch(struct thread *from, struct thread *to);

// Prints registers on the console, for panics.
void x86_show_regs(const struct regs *r);

// uaccess.S: vector state straight to and from user memory. => 0, -EFAULT
int xsave_user(uintptr_t area, u64 mask);
int xrstor_user(uintptr_t area, u64 mask);
int fxsave_user(uintptr_t area);
int fxrstor_user(uintptr_t area);
