// SPDX-License-Identifier: BSD-2-Clause
// wait.h: how kernel code waits. Declared here for every layer, implemented by task/sched.c.
//
// Kernel code runs with interrupts off from entry to exit. A thread gives its CPU away only in
// wait_sleep(), thread_yield() and sched_point(); interrupts are taken only there, in the idle loop
// and in user mode.
#pragma once

#include "core/list.h"
#include "core/lock.h"

struct thread;

#define NEVER UINT64_MAX  // a deadline that does not come

// A queue of sleepers (or of callbacks: poll and epoll).
struct wait_queue {
    struct spinlock lock;
    struct list head;  // [lock] of struct waiter
};
#define WAIT_QUEUE_INIT(q)          \
    {                               \
        .head = LIST_INIT((q).head) \
    }

struct waiter {
    struct list link;       // [queue lock]; empty when not queued
    struct thread *thread;  // who sleeps
    // Called under the queue lock by wait_wake; true when this waiter consumed the wake-up
    // (counts against the number of exclusive waiters to wake). NULL: wake the thread.
    bool (*wake)(struct waiter *w, u32 events);
    bool exclusive;
};

void wait_queue_init(struct wait_queue *q);
void waiter_init(struct waiter *w);  // for the current thread

enum wait_mode {
    WAIT_UNINTERRUPTIBLE = 0,
    WAIT_INTERRUPTIBLE = 1,  // any deliverable signal ends the wait
    WAIT_KILLABLE = 2,       // only a fatal one does
};

// The waiting pattern. The condition is tested between prepare and sleep, so no wake-up is lost:
//     for (;;) {
//         wait_prepare(&q, &w, mode);
//         if (condition) { err = 0; break; }
//         if ((err = wait_sleep(&w, mode, deadline_ns))) break;
//     }
//     wait_finish(&q, &w);
void wait_prepare(struct wait_queue *q, struct waiter *w, enum wait_mode mode);
// Puts the waiter on the queue without changing the thread's state (callbacks; several queues). What the caller
// looks at next is not older than its place in the queue.
void wait_add(struct wait_queue *q, struct waiter *w);
void wait_remove(struct wait_queue *q, struct waiter *w);
// => 0 when woken (look at the condition again), -ETIMEDOUT after deadline_ns (monotonic,
//    ktime_ns()), -ERESTARTSYS when a signal ends the wait. Holds no spinlock.
int wait_sleep(struct waiter *w, enum wait_mode mode, u64 deadline_ns);
void wait_finish(struct wait_queue *q, struct waiter *w);

// Wakes every non-exclusive waiter and at most n_exclusive exclusive ones; events are POLL* bits
// for callbacks (0 for plain wake-ups). => Any context; takes the queue lock.
void wait_wake(struct wait_queue *q, int n_exclusive, u32 events);
static inline bool wait_has_waiters(struct wait_queue *q)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&q->head.next, __ATOMIC_RELAXED) != &q->head;
}

// Lower level, for locks, futexes and epoll: mark the current thread as about to sleep, re-check,
// then block; a thread_wake between the two makes block return at once.
void thread_sleep_prepare(enum wait_mode mode);
int thread_block(enum wait_mode mode, u64 deadline_ns);  // results as wait_sleep
void thread_sleep_cancel(void);
bool thread_wake(struct thread *t);  // true if it slept; any context

void thread_yield(void);
bool sched_needed(void);  // another thread wants this CPU, or an interrupt may be waiting
void sched_point_slow(void);
// A resched point: opens interrupts for a moment and gives the CPU away if somebody should run.
// => Holds no spinlock. Cheap enough for every 100 us of work.
void sched_point(void);
// True when the current thread should give up long work: a fatal signal waits for it.
bool thread_kill_pending(void);
bool thread_signal_pending(void);

// Kernel threads (the reaper, page zeroing, network): fn(arg) runs on its own stack.
// cpu < 0: any CPU. => ERR_PTR(-ENOMEM).
struct thread *kthread_create(const char *name, void (*fn)(void *arg), void *arg, int cpu);
