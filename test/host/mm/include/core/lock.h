// SPDX-License-Identifier: BSD-2-Clause
// core/lock.h of the host library: the kernel's, with a hook before every spinlock is taken. There the host plays what other CPUs
// may do while this one waits: a waiting CPU serves their cross-calls, so whatever was read before may be stale.
#pragma once

#define spin_lock spin_lock_at_once
#include_next "core/lock.h"
#undef spin_lock

extern void (*host_before_lock)(void);

static inline void spin_lock(struct spinlock *lock)
{
    if (unlikely(host_before_lock != NULL))
        host_before_lock();
    spin_lock_at_once(lock);
}
