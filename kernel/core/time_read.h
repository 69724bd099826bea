// SPDX-License-Identifier: BSD-2-Clause
// time_read.h: the kernel's reader of the clocks as an inline function, for those that count
// instructions. Everybody else calls ktime_ns().
#pragma once

#include "core/cpu.h"
#include "core/time.h"

struct ktime {
    u64 sec, nsec;
};
// The reader of *base, one of d->base[]. => false: the clock is being changed
extern u32 ktime_seq;  // atomic: odd while *vdso_data changes
static __always_inline bool ktime_try_read(const struct vdso_data *d, const struct vdso_time *base,
                                           struct ktime *t)
{
    u32 seq = __atomic_load_n(&ktime_seq, __ATOMIC_ACQUIRE);
    if (unlikely(seq & 1))
        return false;
    u64 since = arch_counter() - d->base_count;
    if (unlikely((s64)since < 0))  // this CPU's counter is a little behind the one that set it
        since = 0;
    t->nsec = vdso_time_read(base, d->rate, since, &t->sec);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return likely(__atomic_load_n(&ktime_seq, __ATOMIC_RELAXED) == seq);
}
