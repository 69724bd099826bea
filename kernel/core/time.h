// SPDX-License-Identifier: BSD-2-Clause
// time.h: clocks and timers. All times are nanoseconds in u64; deadlines are on the monotonic clock.
//
// The platform chooses one counter (TSC, CNTVCT, pvclock) and gives its rate; core/time.c turns it
// into time with one multiplication and keeps the page that the vDSO reads (struct vdso_data).
#pragma once

#include "core/list.h"
#include "core/rbtree.h"

#define NSEC_PER_SEC 1000000000ul
#define NSEC_PER_USEC 1000ul
#define NSEC_PER_MSEC 1000000ul

// The page shared read-only with every process; offsets are known to libc-shim/vdso.
//
// The vDSO reads time as 64.64 fixed-point seconds, which needs no division:
//     now = base[clock] + (count - base_count) * rate,  nanoseconds = (fraction * 10^9) >> 64
// vdso_time_read() below is that reader; the kernel uses the same one, so that a clock never seems to
// run backwards between the vDSO and a system call.
struct vdso_time {
    u64 sec, frac;  // frac in 2^-64 seconds
};
enum vdso_clock { VDSO_MONOTONIC, VDSO_REALTIME, VDSO_BOOTTIME };
struct vdso_data {
    u32 seq;                   // odd while being changed, and for good while mode is 0
    u32 mode;                  // 0: no user-readable counter, make the system call; 1: TSC / CNTVCT
    u64 base_count;            // counter value at base[]
    u64 rate;                  // 2^64 / counter rate in Hz
    struct vdso_time base[3];  // by enum vdso_clock
    u64 boot_offset;        // CLOCK_BOOTTIME - CLOCK_MONOTONIC, ns; in base[VDSO_BOOTTIME] already
    u64 random_generation;  // atomic: counts reseedings (core/random.c); 0: not seeded yet
};
// Rounds up, so that vdso_time_from_ns and vdso_time_read give back exactly ns.
static inline struct vdso_time vdso_time_from_ns(u64 ns)
{
    u64 sec = ns / NSEC_PER_SEC, rest = ns - sec * NSEC_PER_SEC;
    // rest * 2^64 / 10^9 in two steps of 32 bits.
    u64 high = (rest << 32) / NSEC_PER_SEC, left = (rest << 32) % NSEC_PER_SEC;
    u64 low = ((left << 32) + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
    return (struct vdso_time){sec, (high << 32) + low};
}
// The time `delta` counts after *base: whole seconds in *sec, => the nanoseconds below a second.
static inline u64 vdso_time_read(const struct vdso_time *base, u64 rate, u64 delta, u64 *sec)
{
    unsigned __int128 t = (unsigned __int128)base->sec << 64 | base->frac;
    t += (unsigned __int128)delta * rate;
    *sec = (u64)(t >> 64);
    return (u64)(((unsigned __int128)(u64)t * NSEC_PER_SEC) >> 64);
}
extern struct vdso_data *vdso_data;  // page aligned, its own page

u64 ktime_ns(void);              // CLOCK_MONOTONIC
u64 ktime_real_ns(void);         // CLOCK_REALTIME
void ktime_set_real_ns(u64 ns);  // clock_settime, settimeofday
// Called by the platform: the counter runs at hz now (may be called again with a better value;
// time stays continuous). real_ns: wall clock from the RTC, or 0.
void clock_set_rate(u64 hz);
void clock_set_real(u64 real_ns);
void clock_set_user_readable(bool yes);

// One-shot timers, kept per CPU in a deadline-ordered tree; the callback runs on that CPU in
// interrupt context (it may take spinlocks, wake threads and arm timers, not sleep).
struct timer {
    struct rb_node node;
    u64 deadline_ns;
    void (*fn)(struct timer *t);
    u32 cpu;     // where it is queued
    u8 queued;   // [that CPU's timer lock]
    u8 running;  // [that CPU's timer lock]
};
void timer_init(struct timer *t, void (*fn)(struct timer *t));
void timer_arm(struct timer *t,
               u64 deadline_ns);     // (re)arms on this CPU; a past deadline fires soon
bool timer_cancel(struct timer *t);  // true if it was queued; waits while it runs elsewhere
u64 timer_next_deadline(void);       // of this CPU, NEVER if none
void timer_interrupt(void);          // from the clock-event interrupt: runs what is due
void time_init(void);
