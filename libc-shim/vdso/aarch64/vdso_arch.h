// SPDX-License-Identifier: BSD-2-Clause
// vdso_arch.h: what vdso.c needs of aarch64.
#pragma once

#include "core/base.h"

#define VDSO_NAME(name) __kernel_##name
#define VDSO_ALIAS(name) _Static_assert(1, "no names without the prefix")
#define VDSO_HAS_CHACHA 1

#define VDSO_NR_clock_gettime 113
#define VDSO_NR_clock_getres 114
#define VDSO_NR_gettimeofday 169
#define VDSO_NR_getrandom 278

// ISB keeps the counter from being read ahead of the loads before it.
static __always_inline u64 vdso_counter(void)
{
    u64 count;
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count) : : "memory");
    return count;
}

static __always_inline void vdso_read_barrier(void) { __asm__ volatile("dmb ishld" ::: "memory"); }

static __always_inline long vdso_syscall3(long nr, long a, long b, long c)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

static __always_inline long vdso_syscall2(long nr, long a, long b)
{
    return vdso_syscall3(nr, a, b, 0);
}

// n > 0 blocks of ChaCha20 with this key, a 64-bit block number and nonce 0. => the next block number
// Called by hand: chacha20.S changes only these registers, flags, x30 and vector registers, of which there are
// none in C code here, so the caller needs no more stack to keep its own.
static __always_inline u64 vdso_chacha20(void *out, const u32 *key, u64 counter, size_t n)
{
    register void *x0 __asm__("x0") = out;
    register const u32 *x1 __asm__("x1") = key;
    register u64 x2 __asm__("x2") = counter;
    register size_t x3 __asm__("x3") = n;
    __asm__ volatile("bl vdso_chacha20"
                     : "+r"(x0), "+r"(x2), "+r"(x3)
                     : "r"(x1)
                     : "x4", "x5", "x30", "memory", "cc");
    return x2;
}
