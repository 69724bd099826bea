// SPDX-License-Identifier: BSD-2-Clause
// vdso.c: the clock functions that run in user mode, vdso(7); the same source for each architecture.
//
// The kernel maps struct vdso_data (core/time.h) read-only in the page before this code. A reader
// takes the sequence number, the fields and the counter, and starts again if the number has moved.
// Without a counter that user code may read the number stays odd: then, as in the moment of a
// change, every function makes the system call.
//
// Callers are exacting. Go calls on stacks with as little as 104 bytes left, so the build fails when
// a function may take more than 64 bytes (vdso.mk), and nothing here may use vector registers, write
// to memory of its own, or need a relocation. Clocks that the kernel alone can read (CPU time,
// alarms, unknown numbers) are the system call's to answer or refuse.
#include "core/time.h"
#include "vdso_arch.h"

struct vdso_timespec {
    s64 tv_sec, tv_nsec;
};
struct vdso_timeval {
    s64 tv_sec, tv_usec;
};
struct vdso_timezone {
    s32 minuteswest, dsttime;
};

enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_MONOTONIC_RAW = 4,
    CLOCK_REALTIME_COARSE = 5,
    CLOCK_MONOTONIC_COARSE = 6,
    CLOCK_BOOTTIME = 7,
    CLOCK_TAI = 11,
};
#define MONOTONIC_CLOCKS \
    (BIT(CLOCK_MONOTONIC) | BIT(CLOCK_MONOTONIC_RAW) | BIT(CLOCK_MONOTONIC_COARSE))
// International atomic time is set to UTC until somebody sets its offset, as on a fresh Linux.
#define REALTIME_CLOCKS (BIT(CLOCK_REALTIME) | BIT(CLOCK_REALTIME_COARSE) | BIT(CLOCK_TAI))

// The page in front of the image; the linker script places it.
extern struct vdso_data vdso_page __attribute__((visibility("hidden")));

// Seconds and nanoseconds of a clock. => false: make the system call (no counter for user mode, or
// the page is being changed right now, or another CPU's counter was a hair ahead when it was)
static __always_inline bool read_clock(enum vdso_clock clock, u64 *sec, u64 *ns)
{
    const struct vdso_data *d = &vdso_page;  // not a const object: the kernel changes it
    u32 seq;
    do {
        seq = __atomic_load_n(&d->seq, __ATOMIC_ACQUIRE);
        if (unlikely(seq & 1))
            return false;
        s64 delta = (s64)(vdso_counter() - d->base_count);
        if (unlikely(delta < 0))
            return false;
        *ns = vdso_time_read(&d->base[clock], d->rate, (u64)delta, sec);
        vdso_read_barrier();
    } while (unlikely(seq != READ_ONCE(d->seq)));
    return true;
}

static __always_inline bool read_timespec(enum vdso_clock clock, struct vdso_timespec *ts)
{
    u64 sec, ns;
    if (unlikely(!read_clock(clock, &sec, &ns)))
        return false;
    ts->tv_sec = (s64)sec;
    ts->tv_nsec = (s64)ns;
    return true;
}

int VDSO_NAME(clock_gettime)(int clock, struct vdso_timespec *ts);
int VDSO_NAME(gettimeofday)(struct vdso_timeval *tv, struct vdso_timezone *tz);
int VDSO_NAME(clock_getres)(int clock, struct vdso_timespec *res);
// Linux has the names without prefix too.
VDSO_ALIAS(clock_gettime);
VDSO_ALIAS(gettimeofday);
VDSO_ALIAS(clock_getres);

int VDSO_NAME(clock_gettime)(int clock, struct vdso_timespec *ts)
{
    bool done = false;
    if (likely(clock == CLOCK_MONOTONIC))
        done = read_timespec(VDSO_MONOTONIC, ts);
    else if ((u32)clock > CLOCK_TAI)
        done = false;
    else if (REALTIME_CLOCKS >> clock & 1)
        done = read_timespec(VDSO_REALTIME, ts);
    else if (MONOTONIC_CLOCKS >> clock & 1)
        done = read_timespec(VDSO_MONOTONIC, ts);
    else if (clock == CLOCK_BOOTTIME)
        done = read_timespec(VDSO_BOOTTIME, ts);
    if (likely(done))
        return 0;
    return (int)vdso_syscall2(VDSO_NR_clock_gettime, clock, (long)ts);
}

int VDSO_NAME(gettimeofday)(struct vdso_timeval *tv, struct vdso_timezone *tz)
{
    u64 sec, ns;
    if (unlikely(!read_clock(VDSO_REALTIME, &sec, &ns)))
        return (int)vdso_syscall2(VDSO_NR_gettimeofday, (long)tv, (long)tz);
    if (likely(tv != NULL)) {
        tv->tv_sec = (s64)sec;
        tv->tv_usec = (s64)((u32)ns / 1000);
    }
    if (tz)
        *tz = (struct vdso_timezone){0, 0};
    return 0;
}

int VDSO_NAME(clock_getres)(int clock, struct vdso_timespec *res)
{
    return (int)vdso_syscall2(VDSO_NR_clock_getres, clock, (long)res);
}

#ifdef VDSO_HAS_TIME
s64 VDSO_NAME(time)(s64 *out);
VDSO_ALIAS(time);

s64 VDSO_NAME(time)(s64 *out)
{
    u64 sec, ns;
    if (unlikely(!read_clock(VDSO_REALTIME, &sec, &ns)))
        return vdso_syscall2(VDSO_NR_time, (long)out, 0);
    if (out)
        *out = (s64)sec;
    return (s64)sec;
}
#endif
