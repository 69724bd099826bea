// SPDX-License-Identifier: BSD-2-Clause
// vdso_arch.h: what vdso.c needs of x86-64.
#pragma once

#include "core/base.h"

#define VDSO_NAME(name) __vdso_##name
#define VDSO_ALIAS(name) \
    extern __typeof__(__vdso_##name) name __attribute__((weak, alias("__vdso_" #name)))
#define VDSO_HAS_TIME 1
#define VDSO_HAS_CHACHA 1

#define VDSO_NR_gettimeofday 96
#define VDSO_NR_time 201
#define VDSO_NR_clock_gettime 228
#define VDSO_NR_clock_getres 229
#define VDSO_NR_getrandom 318

// LFENCE keeps RDTSC from running ahead of the loads before it; so does RDTSCP, but not every CPU
// has that, and it would write a register for nothing.
static __always_inline u64 vdso_counter(void)
{
    u64 low, high;  // RDTSC clears the upper halves
    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | high << 32;
}

// Loads are not reordered with loads.
static __always_inline void vdso_read_barrier(void) { barrier(); }

static __always_inline long vdso_syscall2(long nr, long a, long b)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

static __always_inline long vdso_syscall3(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

// n > 0 blocks of ChaCha20 with this key, a 64-bit block number and nonce 0. => the next block number
// Called by hand: chacha20.S changes only these registers (and vector registers, of which there are
// none in C code here), so the caller needs no stack to keep its own.
static __always_inline u64 vdso_chacha20(void *out, const u32 *key, u64 counter, size_t n)
{
    u64 next;
    __asm__ volatile("call vdso_chacha20"
                     : "=a"(next), "+D"(out), "+d"(counter), "+c"(n)
                     : "S"(key)
                     : "memory", "cc");
    return next;
}
