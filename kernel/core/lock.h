// SPDX-License-Identifier: BSD-2-Clause
// lock.h: spinlocks, and the sleeping mutex and read-write lock.
//
// The kernel runs with interrupts off (see core/wait.h), so no lock has an interrupt-saving form.
// A CPU that spins keeps serving cross-calls of other CPUs (cpu_relax_poll), so that a holder that
// waits for every CPU's TLB flush cannot deadlock with a spinner.
#pragma once

#include "core/atomic.h"
#include "core/list.h"

struct thread;

struct spinlock {
    u32 locked;  // atomic: 0 free, 1 held
};
#define SPINLOCK_INIT \
    {                 \
        0             \
    }

void spin_lock_slow(struct spinlock *lock);

static inline void spin_init(struct spinlock *lock) { lock->locked = 0; }
static inline bool spin_trylock(struct spinlock *lock)
{
    return __atomic_exchange_n(&lock->locked, 1, __ATOMIC_ACQUIRE) == 0;
}
static inline void spin_lock(struct spinlock *lock)
{
    if (unlikely(!spin_trylock(lock)))
        spin_lock_slow(lock);
}
static inline void spin_unlock(struct spinlock *lock)
{
    __atomic_store_n(&lock->locked, 0, __ATOMIC_RELEASE);
}
static inline bool spin_is_locked(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->locked, __ATOMIC_RELAXED) != 0;
}

// Sleeping mutual exclusion. A sleeper is passed over for some milliseconds at most.
struct mutex {
    u32 state;  // atomic: 0 free, 1 held, 2 held with sleepers
    struct spinlock wait_lock;
    struct list waiters;
    struct thread *owner;
};
#define MUTEX_INIT(m)                     \
    {                                     \
        .waiters = LIST_INIT((m).waiters) \
    }
void mutex_init(struct mutex *m);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

// Sleeping read-write lock; nobody is starved: once a thread waits, new readers queue behind it, and
// writers pass it for some milliseconds at most.
// A thread must not take it for reading twice.
struct rwlock {
    u32 state;  // atomic: number of readers, or RWLOCK_WRITER, plus RWLOCK_WAITERS
    struct spinlock wait_lock;
    struct list waiters;
};
#define RWLOCK_WRITER 0x80000000u
#define RWLOCK_WAITERS 0x40000000u
#define RWLOCK_INIT(l)                    \
    {                                     \
        .waiters = LIST_INIT((l).waiters) \
    }
void rwlock_init(struct rwlock *l);
void rwlock_read_slow(struct rwlock *l);
void rwlock_write_slow(struct rwlock *l);
void rwlock_wake(struct rwlock *l);
bool rwlock_try_read(struct rwlock *l);
bool rwlock_try_write(struct rwlock *l);
bool rwlock_is_write_locked(const struct rwlock *l);

static inline void rwlock_read(struct rwlock *l)
{
    u32 s = __atomic_load_n(&l->state, __ATOMIC_RELAXED);
    if (unlikely(s & (RWLOCK_WRITER | RWLOCK_WAITERS)) ||
        unlikely(!__atomic_compare_exchange_n(&l->state, &s, s + 1, false, __ATOMIC_ACQUIRE,
                                              __ATOMIC_RELAXED)))
        rwlock_read_slow(l);
}
static inline void rwlock_read_done(struct rwlock *l)
{
    u32 s = __atomic_sub_fetch(&l->state, 1, __ATOMIC_RELEASE);
    if (unlikely(s == RWLOCK_WAITERS))
        rwlock_wake(l);
}
static inline void rwlock_write(struct rwlock *l)
{
    u32 s = 0;
    if (unlikely(!__atomic_compare_exchange_n(&l->state, &s, RWLOCK_WRITER, false, __ATOMIC_ACQUIRE,
                                              __ATOMIC_RELAXED)))
        rwlock_write_slow(l);
}
static inline void rwlock_write_done(struct rwlock *l)
{
    u32 s = __atomic_and_fetch(&l->state, ~RWLOCK_WRITER, __ATOMIC_RELEASE);
    if (unlikely(s & RWLOCK_WAITERS))
        rwlock_wake(l);
}
// Turns a held write lock into a read lock without letting a writer in between.
static inline void rwlock_downgrade(struct rwlock *l)
{
    __atomic_add_fetch(&l->state, 1u - RWLOCK_WRITER, __ATOMIC_ACQ_REL);
    if (unlikely(__atomic_load_n(&l->state, __ATOMIC_RELAXED) & RWLOCK_WAITERS))
        rwlock_wake(l);
}
