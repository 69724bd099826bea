// SPDX-License-Identifier: BSD-2-Clause
// clocks.h: clock ids (clock_gettime(2)) and the CPU-time clocks, for task/ and timerfd.
#pragma once

#include "core/base.h"

enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_PROCESS_CPUTIME_ID = 2,
    CLOCK_THREAD_CPUTIME_ID = 3,
    CLOCK_MONOTONIC_RAW = 4,
    CLOCK_REALTIME_COARSE = 5,
    CLOCK_MONOTONIC_COARSE = 6,
    CLOCK_BOOTTIME = 7,
    CLOCK_REALTIME_ALARM = 8,
    CLOCK_BOOTTIME_ALARM = 9,
    CLOCK_TAI = 11,
};

static inline bool clock_can_be_set(int clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI;
}

// => 0, -EINVAL: no such clock
int clock_read(int clock, u64 *ns);
// The monotonic deadline of an absolute time on a clock that is not a CPU-time clock.
u64 clock_deadline(int clock, u64 ns);

enum { CPUCLOCK_PROF = 0, CPUCLOCK_VIRT = 1, CPUCLOCK_SCHED = 2 };
struct thread;
struct process;
struct cpu_clock {
    struct thread *thread;    // referenced, or NULL
    struct process *process;  // referenced, or NULL
    int which;                // CPUCLOCK_*: user and system, user, exact
};
// Resolves a CPU-time clock id. => 0, -EINVAL. cpu_clock_put gives the references back.
int cpu_clock_get(int clock, struct cpu_clock *c);
void cpu_clock_put(struct cpu_clock *c);
u64 cpu_clock_read(const struct cpu_clock *c);
