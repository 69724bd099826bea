// SPDX-License-Identifier: BSD-2-Clause
// The CPU that the test pretends to run on.
#pragma once

#include <string.h>

#include "core/base.h"

struct cpu;
#ifndef FAKE_CPU_STORAGE
#define FAKE_CPU_STORAGE  // or __thread: each host thread on a CPU of its own
#endif
extern FAKE_CPU_STORAGE struct cpu *fake_cpu;
static inline struct cpu *this_cpu(void) { return fake_cpu; }
#define arch_current_thread() (this_cpu()->current)
static inline void arch_cpu_relax(void) {}
static inline u64 arch_counter(void) { return 0; }
static inline void arch_clear_page(void *page) { memset(page, 0, 4096); }
static inline void arch_copy_page(void *to, const void *from) { memcpy(to, from, 4096); }
static inline u64 arch_sum_blocks(const void *from, size_t n, u64 sum)
{
    const u8 *p = from;
    for (const u8 *end = p + n * 64; p != end; p += 8) {
        u64 word;
        memcpy(&word, p, 8);
        sum += word;
        sum += sum < word;
    }
    return sum;
}
