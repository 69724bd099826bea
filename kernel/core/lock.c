// SPDX-License-Identifier: BSD-2-Clause
// lock.c: the slow paths of the spinlock, the mutex and the read-write lock.
//
// A lock that is held for a microsecond is waited for by spinning, for about as long as that; only
// then does the thread sleep. Sleepers stand in a queue. Whoever releases a contended lock leaves it
// free and wakes the first sleeper (or all readers at the head of the queue), which then tries for
// itself: a thread that runs may take the lock in the meantime, so that the lock does not lie idle
// while a sleeper finds its way back to a CPU. A sleeper that has waited for longer than PATIENCE_NS
// is not passed over any more: the lock is handed over to it, taken on its behalf, so nobody starves.
//
// Invariants
//   1. The queue, turn and the bits that say "somebody waits" change under wait_lock only; a sleeper
//      looks at the lock under wait_lock before it sleeps, so no release is missed.
//   2. mutex: state 2 while the queue may be not empty.
//   3. rwlock: RWLOCK_WAITERS is set exactly while the queue is not empty. It sends new readers
//      behind the queue; a writer that runs may still take a free lock.
//   4. A sleeper's stack frame is touched under wait_lock only, and the sleeper leaves its wait with
//      wait_lock held.
//
// Lock order: wait_lock is innermost but for the scheduler's locks (thread_wake).
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/time.h"
#include "core/wait.h"

void spin_lock_slow(struct spinlock *lock)
{
    do {
        while (spin_is_locked(lock))
            cpu_relax_poll();
    } while (!spin_trylock(lock));
}

enum { SPIN_TURNS = 64 };
#define PATIENCE_NS (2 * NSEC_PER_MSEC)

enum turn {
    TURN_WAIT,   // asleep, or about to be
    TURN_TRY,    // woken: look at the lock
    TURN_OWNER,  // the lock has been handed over
};

struct lock_sleeper {
    struct list link;  // [wait_lock]
    struct thread *thread;
    u64 since_ns;
    bool writer;
    u32 turn;  // atomic; enum turn
};

static struct lock_sleeper *first_sleeper(struct list *queue)
{
    return list_empty(queue) ? NULL : list_first(queue, struct lock_sleeper, link);
}

// Sleeps until it is the sleeper's turn. => wait_lock is held, before and after.
static void sleep_for_turn(struct spinlock *wait_lock, struct lock_sleeper *me)
{
    atomic_store(&me->turn, TURN_WAIT);
    spin_unlock(wait_lock);
    while (atomic_load(&me->turn) == TURN_WAIT) {
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        if (atomic_load(&me->turn) != TURN_WAIT) {
            thread_sleep_cancel();
            break;
        }
        thread_block(WAIT_UNINTERRUPTIBLE, NEVER);
    }
    spin_lock(wait_lock);
}

// => wait_lock is held.
static void give_turn(struct lock_sleeper *s, enum turn turn)
{
    bool asleep = atomic_load_relaxed(&s->turn) == TURN_WAIT;
    atomic_store(&s->turn, turn);
    if (asleep && s->thread != current_thread())
        thread_wake(s->thread);
}

static bool out_of_patience(const struct lock_sleeper *s)
{
    return ktime_ns() - s->since_ns > PATIENCE_NS;
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
    atomic_store_relaxed(&m->owner, current_thread());
    return true;
}

static bool mutex_spin(struct mutex *m)
{
    for (int i = 0; n_cpus > 1 && i < SPIN_TURNS; i++) {
        if (atomic_load_relaxed(&m->state) == 0 && mutex_trylock(m))
            return true;
        cpu_relax_poll();
    }
    return false;
}

void mutex_lock(struct mutex *m)
{
    if (likely(mutex_trylock(m)))
        return;
    KASSERT(atomic_load_relaxed(&m->owner) != current_thread());
    if (mutex_spin(m))
        return;
    struct lock_sleeper me = {.thread = current_thread(), .since_ns = ktime_ns()};
    spin_lock(&m->wait_lock);
    list_push_back(&m->waiters, &me.link);
    while (me.turn != TURN_OWNER) {
        if (atomic_xchg(&m->state, 2) == 0) {
            list_remove(&me.link);
            break;
        }
        sleep_for_turn(&m->wait_lock, &me);
    }
    if (list_empty(&m->waiters))
        atomic_store(&m->state, 1);
    atomic_store_relaxed(&m->owner, current_thread());
    spin_unlock(&m->wait_lock);
}

void mutex_unlock(struct mutex *m)
{
    u32 held = 1;
    atomic_store_relaxed(&m->owner, NULL);
    if (likely(atomic_cmpxchg(&m->state, &held, 0)))
        return;
    spin_lock(&m->wait_lock);
    struct lock_sleeper *s = first_sleeper(&m->waiters);
    if (s && out_of_patience(s)) {  // the state stays 2
        list_remove(&s->link);
        give_turn(s, TURN_OWNER);
    } else {
        atomic_store(&m->state, 0);
        if (s)
            give_turn(s, TURN_TRY);
    }
    spin_unlock(&m->wait_lock);
}

void rwlock_init(struct rwlock *l)
{
    l->state = 0;
    spin_init(&l->wait_lock);
    list_init(&l->waiters);
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

// Takes a free lock, past those who wait.
static bool write_past_queue(struct rwlock *l)
{
    u32 s = atomic_load_relaxed(&l->state);
    while (!(s & ~RWLOCK_WAITERS)) {
        if (atomic_cmpxchg(&l->state, &s, s | RWLOCK_WRITER))
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

// Takes the lock for s, which stands in the queue behind readers at most, and takes s out of the
// queue; false if the lock's state does not allow it. => wait_lock is held.
static bool take_from_queue(struct rwlock *l, struct lock_sleeper *s)
{
    u32 more = s->link.next == &l->waiters && s->link.prev == &l->waiters ? 0 : RWLOCK_WAITERS;
    u32 state = atomic_load(&l->state), next;
    do {
        u32 holders = state & ~RWLOCK_WAITERS;
        if (s->writer ? holders : holders & RWLOCK_WRITER)
            return false;
        next = (s->writer ? RWLOCK_WRITER : holders + 1) | more;
    } while (!atomic_cmpxchg(&l->state, &state, next));
    list_remove(&s->link);
    return true;
}

// Gives the sleepers at the head of the queue their turn: one writer, or the readers before the
// first writer. => wait_lock is held.
static void wake_head(struct rwlock *l)
{
    struct lock_sleeper *s = first_sleeper(&l->waiters);
    if (!s)
        return;
    bool hand_over = out_of_patience(s), writer = s->writer;
    struct list *next;
    for (struct list *at = &s->link; at != &l->waiters; at = next) {
        s = container_of(at, struct lock_sleeper, link);
        next = at->next;
        if (s->writer != writer)
            return;
        if (!hand_over)
            give_turn(s, TURN_TRY);
        else if (take_from_queue(l, s))
            give_turn(s, TURN_OWNER);
        else
            return;
        if (writer)
            return;
    }
}

static void rwlock_slow(struct rwlock *l, bool writer)
{
    for (int i = 0; n_cpus > 1 && i < SPIN_TURNS; i++) {
        if (writer ? write_past_queue(l) : rwlock_try_read(l))
            return;
        cpu_relax_poll();
    }
    struct lock_sleeper me = {.thread = current_thread(), .since_ns = ktime_ns(), .writer = writer};
    spin_lock(&l->wait_lock);
    bool may_try = list_empty(&l->waiters);
    list_push_back(&l->waiters, &me.link);
    // From here on a release leads to rwlock_wake; one that came before is seen below.
    atomic_fetch_or(&l->state, RWLOCK_WAITERS);
    while (me.turn != TURN_OWNER && !(may_try && take_from_queue(l, &me))) {
        sleep_for_turn(&l->wait_lock, &me);
        may_try = true;
    }
    // Readers that came behind this one need not wait for its release.
    struct lock_sleeper *next = first_sleeper(&l->waiters);
    if (!writer && next && !next->writer)
        wake_head(l);
    spin_unlock(&l->wait_lock);
}

void rwlock_read_slow(struct rwlock *l) { rwlock_slow(l, false); }

void rwlock_write_slow(struct rwlock *l) { rwlock_slow(l, true); }

void rwlock_wake(struct rwlock *l)
{
    spin_lock(&l->wait_lock);
    wake_head(l);
    spin_unlock(&l->wait_lock);
}
