// SPDX-License-Identifier: BSD-2-Clause
// lock.c: the slow paths of the spinlock, the mutex and the read-write lock.
//
// Sleepers of the mutex and the read-write lock stand in a queue, first come first served. Whoever
// releases a contended lock hands it over: it changes the state on behalf of the first sleeper (or
// of all readers at the head of the queue), marks it granted and wakes it. So a woken thread owns
// the lock, and nobody can starve.
//
//   mutex    state 0 --lock--> 1 --a sleeper queues--> 2 --unlock: handed over--> 1 or 2
//   rwlock   state n readers, or RWLOCK_WRITER; RWLOCK_WAITERS is set while the queue is not empty,
//            which sends every new reader to the slow path, and there behind the waiting writer
//
// Lock order: wait_lock is innermost but for the scheduler's locks (thread_wake).
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/wait.h"

void spin_lock_slow(struct spinlock *lock)
{
    do {
        while (spin_is_locked(lock))
            cpu_relax_poll();
    } while (!spin_trylock(lock));
}

struct lock_sleeper {
    struct list link;       // [wait_lock]
    struct thread *thread;
    bool writer;
    u32 granted;            // atomic
};

// => Does not hold wait_lock; me is in the queue, or granted already.
static void sleep_until_granted(struct spinlock *wait_lock, struct lock_sleeper *me)
{
    while (!atomic_load(&me->granted)) {
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        if (atomic_load(&me->granted)) {
            thread_sleep_cancel();
            break;
        }
        thread_block(WAIT_UNINTERRUPTIBLE, NEVER);
    }
    // The granter works on *me until it releases wait_lock.
    spin_lock(wait_lock);
    spin_unlock(wait_lock);
}

// => wait_lock is held: it keeps the sleeper's stack frame alive.
static void grant(struct lock_sleeper *s)
{
    list_remove(&s->link);
    atomic_store(&s->granted, 1);
    if (s->thread != current_thread())
        thread_wake(s->thread);
}

void mutex_init(struct mutex *m)
{
    m->state = 0;
    spin_init(&m->wait_lock);
    list_init(&m->waiters);
    m->owner = NULL;
}

bool mutex_trylock(struct mutex *m)
{
    u32 free = 0;
    if (!atomic_cmpxchg(&m->state, &free, 1))
        return false;
    m->owner = current_thread();
    return true;
}

void mutex_lock(struct mutex *m)
{
    if (likely(mutex_trylock(m)))
        return;
    KASSERT(m->owner != current_thread());
    spin_lock(&m->wait_lock);
    if (atomic_xchg(&m->state, 2) == 0) {  // released meanwhile; then the queue is empty
        atomic_store(&m->state, 1);
        spin_unlock(&m->wait_lock);
    } else {
        struct lock_sleeper me = {.thread = current_thread(), .writer = true};
        list_push_back(&m->waiters, &me.link);
        spin_unlock(&m->wait_lock);
        sleep_until_granted(&m->wait_lock, &me);
    }
    m->owner = current_thread();
}

void mutex_unlock(struct mutex *m)
{
    u32 held = 1;
    m->owner = NULL;
    if (likely(atomic_cmpxchg(&m->state, &held, 0)))
        return;
    spin_lock(&m->wait_lock);
    if (list_empty(&m->waiters)) {
        atomic_store(&m->state, 0);
    } else {
        struct lock_sleeper *s = list_first(&m->waiters, struct lock_sleeper, link);
        bool more = s->link.next != &m->waiters;
        atomic_store(&m->state, more ? 2 : 1);
        grant(s);
    }
    spin_unlock(&m->wait_lock);
}

void rwlock_init(struct rwlock *l)
{
    l->state = 0;
    spin_init(&l->wait_lock);
    list_init(&l->waiters);
    l->writer = NULL;
}

bool rwlock_try_read(struct rwlock *l)
{
    u32 s = atomic_load_relaxed(&l->state);
    while (!(s & (RWLOCK_WRITER | RWLOCK_WAITERS))) {
        if (atomic_cmpxchg(&l->state, &s, s + 1))
            return true;
    }
    return false;
}

bool rwlock_try_write(struct rwlock *l)
{
    u32 s = 0;
    return atomic_cmpxchg(&l->state, &s, RWLOCK_WRITER);
}

bool rwlock_is_write_locked(const struct rwlock *l)
{
    return (atomic_load_relaxed(&l->state) & RWLOCK_WRITER) != 0;
}

// Hands the lock to whoever stands first in the queue, if its state allows: one writer, or all
// readers up to the next writer. => wait_lock is held.
static void rwlock_hand_over(struct rwlock *l)
{
    while (!list_empty(&l->waiters)) {
        struct lock_sleeper *s = list_first(&l->waiters, struct lock_sleeper, link);
        u32 more = s->link.next != &l->waiters ? RWLOCK_WAITERS : 0;
        u32 state = atomic_load(&l->state);
        u32 next;
        do {
            if (state & RWLOCK_WRITER)
                return;
            if (s->writer && (state & ~RWLOCK_WAITERS))
                return;
            next = (s->writer ? RWLOCK_WRITER : (state & ~RWLOCK_WAITERS) + 1) | more;
        } while (!atomic_cmpxchg(&l->state, &state, next));
        bool writer = s->writer;
        grant(s);
        if (writer)
            return;
    }
}

static void rwlock_slow(struct rwlock *l, bool writer)
{
    struct lock_sleeper me = {.thread = current_thread(), .writer = writer};
    spin_lock(&l->wait_lock);
    list_push_back(&l->waiters, &me.link);
    // From here on a release leads to rwlock_wake; one that came before is seen by hand_over.
    atomic_fetch_or(&l->state, RWLOCK_WAITERS);
    rwlock_hand_over(l);
    spin_unlock(&l->wait_lock);
    sleep_until_granted(&l->wait_lock, &me);
}

void rwlock_read_slow(struct rwlock *l)
{
    if (!rwlock_try_read(l))
        rwlock_slow(l, false);
}

void rwlock_write_slow(struct rwlock *l)
{
    if (!rwlock_try_write(l))
        rwlock_slow(l, true);
}

void rwlock_wake(struct rwlock *l)
{
    spin_lock(&l->wait_lock);
    rwlock_hand_over(l);
    spin_unlock(&l->wait_lock);
}
