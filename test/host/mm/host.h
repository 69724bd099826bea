// SPDX-License-Identifier: BSD-2-Clause
// host.h: the machine below the memory core when it runs as an ordinary Linux process: fake RAM, CPUs
// that take turns, and a TLB for each CPU that really holds stale translations.
#pragma once

#include "core/base.h"
#include "mm/mm.h"

#define FAKE_CPUS 3

void host_boot(size_t ram_bytes);  // RAM with a hole and a root image; page_alloc_init, mm_init
void host_set_cpu(unsigned cpu);
extern struct mm *host_mm;     // current_mm()
void host_run(struct mm *mm);  // this CPU runs a thread of mm (NULL: idle)

// A user access through TLB and page tables, faults included. => signal number, 0 when done
int user_write(vaddr_t va, u32 value);
int user_read(vaddr_t va, u32 *value);
extern int host_last_code;  // si_code of the last signal
void host_settle(void);     // all caches drained, so that counters can be compared
extern bool host_oom;       // the last fault ran out of memory
extern u64 host_rlimits[16];

// watch.c: [start, start + n pages) of all address spaces, and what has to hold after each operation.
#ifdef FAKE_BROADCAST
void host_watch(vaddr_t start, unsigned n);
void host_watch_check(void);
void host_watch_end(const struct arch_mm *am);
#else
static inline void host_watch(vaddr_t start, unsigned n) {}
static inline void host_watch_check(void) {}
static inline void host_watch_end(const struct arch_mm *am) {}
#endif

// Before every spinlock is taken (include/core/lock.h); NULL: nothing.
extern void (*host_before_lock)(void);
// Hooks for it: another CPU empties all CPUs' caches; other CPUs do at random what they may do then. What they hold
// is theirs and is looked at when they give it back.
void host_drain_elsewhere(void);
void host_others_act(void);
extern u64 host_others_seed;
void host_others_stop(void);  // they give everything back

static inline u64 rnd(u64 *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
