// SPDX-License-Identifier: BSD-2-Clause
// time.c: the clocks, from one counter.
//
// A clock is a base (64.64 fixed-point seconds) plus the counts since base_count times the rate
// (core/time.h). Base, count and rate lie in the page that the vDSO reads, under its sequence
// number: odd while they change, and for good while programs cannot read the counter. The kernel's
// own readers have a sequence number of their own.
//
// A better rate, or a new time of day, first moves all bases up to the present count, so that no
// clock jumps or goes back on account of it. A reader whose counter is a little behind base_count
// (another CPU took the base) gets the base.
#include "core/atomic.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/time.h"
#include "core/time_read.h"

static union {
    struct vdso_data data;
    char page[PAGE_SIZE];
} clock_page __attribute__((section(".bss_page_aligned"), aligned(4096)));
struct vdso_data *vdso_data = &clock_page.data;
#define clock (clock_page.data)

static struct spinlock clock_lock = SPINLOCK_INIT;  // writers
u32 ktime_seq;

static u64 counts_since_base(void)
{
    u64 count = arch_counter() - clock.base_count;
    return unlikely((s64)count < 0) ? 0 : count;
}

// A function of its own, called last, so that the readers below need no stack frame.
static __noinline u64 read_while_changing(enum vdso_clock which)
{
    struct ktime t;
    while (!ktime_try_read(&clock, &clock.base[which], &t))
        cpu_relax_poll();
    return t.sec * NSEC_PER_SEC + t.nsec;
}

static __always_inline u64 read_ns(enum vdso_clock which)
{
    struct ktime t;
    if (unlikely(!ktime_try_read(&clock, &clock.base[which], &t)))
        return read_while_changing(which);
    return t.sec * NSEC_PER_SEC + t.nsec;
}

u64 ktime_ns(void) { return read_ns(VDSO_MONOTONIC); }

u64 ktime_real_ns(void) { return read_ns(VDSO_REALTIME); }

// Opens the page for changes, with the bases moved to the present.
static void change_begin(void)
{
    spin_lock(&clock_lock);
    atomic_store_relaxed(&ktime_seq, ktime_seq + 1);
    atomic_store_relaxed(&clock.seq, clock.seq | 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    u64 since = counts_since_base();
    clock.base_count += since;
    for (int i = 0; i < 3; i++) {
        unsigned __int128 t = (unsigned __int128)clock.base[i].sec << 64 | clock.base[i].frac;
        t += (unsigned __int128)since * clock.rate;
        clock.base[i] = (struct vdso_time){(u64)(t >> 64), (u64)t};
    }
}

static void change_end(void)
{
    if (clock.mode)
        atomic_store(&clock.seq, clock.seq + 1);
    atomic_store(&ktime_seq, ktime_seq + 1);
    spin_unlock(&clock_lock);
}

void clock_set_rate(u64 hz)
{
    change_begin();
    clock.rate = UINT64_MAX / hz;
    change_end();
}

void clock_set_real(u64 real_ns)
{
    change_begin();
    clock.base[VDSO_REALTIME] = vdso_time_from_ns(real_ns);
    change_end();
}

void ktime_set_real_ns(u64 ns) { clock_set_real(ns); }

void clock_set_user_readable(bool yes)
{
    change_begin();
    clock.mode = yes;
    change_end();
}

void time_init(void)
{
    clock.base_count = arch_counter();
    clock.seq = 1;
}
