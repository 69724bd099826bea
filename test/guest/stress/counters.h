// SPDX-License-Identifier: BSD-2-Clause
// What the kernel counts of memory, read from /proc: for tests that must leave every counter where it was.
#ifndef GUEST_STRESS_COUNTERS_H
#define GUEST_STRESS_COUNTERS_H

#include "harness.h"

enum counter {
    FREE_KB,       // meminfo MemFree
    SLAB_KB,       // kernel objects
    TABLES_KB,     // page tables of all programs
    ANON_KB,       // AnonPages
    MAPPED_KB,     // Mapped
    SHMEM_KB,      // Shmem
    CACHED_KB,     // page cache with Shmem
    LOCKED_KB,     // Mlocked
    HUGE_KB,       // AnonHugePages
    COMMITTED_KB,  // Committed_AS
    FIRST_OF_PROGRAM,
    PROGRAM_KB = FIRST_OF_PROGRAM,  // VmSize
    PROGRAM_PTE,                    // VmPTE
    PROGRAM_LCK,                    // VmLck
    AREAS,                          // lines of its maps
    THREADS,
    DESCRIPTORS,
    N_COUNTERS
};

struct counters {
    long value[N_COUNTERS];
};

void read_counters(struct counters *out);

// Waits until the free memory stands still (threads that have just ended give theirs back a moment later).
void settle(void);

// A failure for each counter that has moved from `before` to `after` by more than it may: free memory that fell, use
// that rose. slack_kb: what caches of the CPUs and half-empty slabs may hold, whatever the number of rounds.
void compare_counters(const struct counters *before, const struct counters *after, long slack_kb);

// A failure unless three quarters of the free memory can still be had as pages of 2 MiB.
void check_fragmentation(void);

#endif
