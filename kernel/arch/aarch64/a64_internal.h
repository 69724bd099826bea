// SPDX-License-Identifier: BSD-2-Clause
// a64_internal.h: what the files of kernel/arch/aarch64 share.
#pragma once

#include "arch/regs.h"
#include "core/cpu.h"

struct thread;

#define NO_CPU UINT32_MAX

// The vector state of a thread, as a signal frame has it.
struct fpsimd_state {
    u64 v[32][2];
    u32 fpsr, fpcr;
} __aligned(16);
_Static_assert(offsetof(struct fpsimd_state, fpsr) == 512, "known to entry.S");

// fpsimd.c
struct fpsimd_state *fpsimd_alloc(void);  // initial state; NULL: no memory
void fpsimd_free(struct fpsimd_state *state);
void fpsimd_switch(struct thread *from, struct thread *to);
void fpsimd_copy_current(struct fpsimd_state *to);
void fpsimd_set_current(const struct fpsimd_state *from);  // NULL: the initial state

// mmu.c: no program loaded; the identity map of boot.S goes.
void a64_mmu_init(void);
// pauth.c
struct a64_pac;
void a64_pac_init_cpu(void);
void a64_pac_new(struct a64_pac *pac);         // fresh keys, all enabled
void a64_pac_load(const struct a64_pac *pac);  // into this CPU's registers
void a64_unload_user(void);                    // no user half on this CPU
// trap.c: of each CPU: system calls go through the tracer, or straight.
void a64_set_vectors(void);
void a64_show_regs(const struct regs *r);

// idreg.c
void a64_detect(struct a64_features *f);
// An instruction of a program that the CPU refused: reads of ID registers are answered. => false: it stays refused
bool a64_emulate(struct regs *r);
size_t a64_hwcap_names(char *buf, size_t size);  // as /proc/cpuinfo has them
