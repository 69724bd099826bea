// SPDX-License-Identifier: BSD-2-Clause
// Tries kernel/core/lock.c with host threads in the place of CPUs and kernel threads: that two never
// hold a lock that excludes the other, that no wake-up is lost, and that nobody waits for ever while
// others take the lock again and again.
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/cpu.h"
#include "core/lock.h"
#include "core/time.h"
#include "core/wait.h"

enum { THREADS = 6 };

// A thread as lock.c sees it: something that sleeps and is woken.
struct thread {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool asleep;  // [lock] or about to be
    unsigned seed;
    long reads, writes;
};

static struct thread threads[THREADS];
__thread struct cpu *fake_cpu;
u32 n_cpus = 2;

u64 ktime_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

void cross_poll(void) {}

void panic(const char *format, ...)
{
    fprintf(stderr, "panic: %s\n", format);
    abort();
}

void thread_sleep_prepare(enum wait_mode mode)
{
    (void)mode;
    pthread_mutex_lock(&fake_cpu->current->lock);
    fake_cpu->current->asleep = true;
    pthread_mutex_unlock(&fake_cpu->current->lock);
}

void thread_sleep_cancel(void)
{
    pthread_mutex_lock(&fake_cpu->current->lock);
    fake_cpu->current->asleep = false;
    pthread_mutex_unlock(&fake_cpu->current->lock);
}

int thread_block(enum wait_mode mode, u64 deadline_ns)
{
    (void)mode, (void)deadline_ns;
    pthread_mutex_lock(&fake_cpu->current->lock);
    while (fake_cpu->current->asleep)
        pthread_cond_wait(&fake_cpu->current->woken, &fake_cpu->current->lock);
    pthread_mutex_unlock(&fake_cpu->current->lock);
    return 0;
}

bool thread_wake(struct thread *t)
{
    pthread_mutex_lock(&t->lock);
    bool slept = t->asleep;
    t->asleep = false;
    pthread_cond_signal(&t->woken);
    pthread_mutex_unlock(&t->lock);
    return slept;
}

// ---------------------------------------------------------------- the tests

static struct mutex mutex;
static struct rwlock rwlock;
static long counter, rounds;
static u32 inside;  // atomic: readers, or WRITER
#define WRITER 0x10000u

static void die(const char *what)
{
    fprintf(stderr, "lock_test: %s\n", what);
    exit(1);
}

static void linger(struct thread *me)
{
    me->seed = me->seed * 1664525u + 1013904223u;
    if ((me->seed >> 20) % 64 == 0)
        usleep((me->seed >> 8) % 60);
    else if ((me->seed >> 20) % 8 == 0)
        sched_yield();
}

static void *with_mutex(void *argument)
{
    struct cpu cpu = {.current = argument};
    fake_cpu = &cpu;
    for (long i = 0; i < rounds; i++) {
        mutex_lock(&mutex);
        if (__atomic_fetch_add(&inside, WRITER, __ATOMIC_RELAXED) != 0)
            die("two hold the mutex");
        counter++;  // plain: ThreadSanitizer checks that the lock orders it
        linger(fake_cpu->current);
        __atomic_fetch_sub(&inside, WRITER, __ATOMIC_RELAXED);
        mutex_unlock(&mutex);
    }
    return NULL;
}

static void read_once(struct thread *me)
{
    rwlock_read(&rwlock);
    if (__atomic_fetch_add(&inside, 1, __ATOMIC_RELAXED) >= WRITER)
        die("a reader beside a writer");
    me->reads += counter >= 0;
    linger(me);
    __atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
    rwlock_read_done(&rwlock);
}

static void write_once(struct thread *me, bool downgrade)
{
    rwlock_write(&rwlock);
    if (__atomic_fetch_add(&inside, WRITER, __ATOMIC_RELAXED) != 0)
        die("a writer beside another holder");
    counter++;
    me->writes++;
    linger(me);
    if (!downgrade) {
        __atomic_fetch_sub(&inside, WRITER, __ATOMIC_RELAXED);
        rwlock_write_done(&rwlock);
        return;
    }
    long seen = counter;
    __atomic_fetch_sub(&inside, WRITER - 1, __ATOMIC_RELAXED);
    rwlock_downgrade(&rwlock);
    linger(me);
    if (counter != seen)
        die("a writer came in during a downgrade");
    __atomic_fetch_sub(&inside, 1, __ATOMIC_RELAXED);
    rwlock_read_done(&rwlock);
}

static void *with_rwlock(void *argument)
{
    struct thread *me = argument;
    struct cpu cpu = {.current = me};
    fake_cpu = &cpu;
    for (long i = 0; i < rounds; i++) {
        me->seed = me->seed * 1664525u + 1013904223u;
        unsigned pick = (me->seed >> 16) % 8;
        if (pick < 5)
            read_once(me);
        else
            write_once(me, pick == 7);
    }
    return NULL;
}

// One thread asks now and then for what all the others take without a pause.
static u32 stop;
static bool rare_writes;

static void *take_without_pause(void *argument)
{
    struct cpu cpu = {.current = argument};
    fake_cpu = &cpu;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        if (rare_writes)
            read_once(fake_cpu->current);
        else
            write_once(fake_cpu->current, false);
    }
    return NULL;
}

static void *ask_now_and_then(void *argument)
{
    struct cpu cpu = {.current = argument};
    fake_cpu = &cpu;
    for (int i = 0; i < 30; i++) {
        if (rare_writes)
            write_once(fake_cpu->current, false);
        else
            read_once(fake_cpu->current);
        usleep(200);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void run(void *(*one)(void *), void *(*other)(void *))
{
    for (int i = 0; i < THREADS; i++) {
        threads[i].seed = (unsigned)i * 7919 + 1;
        if (pthread_create(&threads[i].id, NULL, i ? other : one, &threads[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
}

int main(int argc, char **argv)
{
    rounds = argc > 1 ? atol(argv[1]) : 500;
    alarm(600);  // a lost wake-up ends here
    for (int i = 0; i < THREADS; i++) {
        pthread_mutex_init(&threads[i].lock, NULL);
        pthread_cond_init(&threads[i].woken, NULL);
    }
    mutex_init(&mutex);
    run(with_mutex, with_mutex);
    if (counter != rounds * THREADS || mutex.state != 0)
        die("the mutex lost a round, or is not free at the end");
    counter = 0;
    rwlock_init(&rwlock);
    run(with_rwlock, with_rwlock);
    long reads = 0, writes = 0;
    for (int i = 0; i < THREADS; i++)
        reads += threads[i].reads, writes += threads[i].writes;
    if (reads + writes != rounds * THREADS || counter != writes || rwlock.state != 0)
        die("the read-write lock lost a round, or is not free at the end");
    for (int kind = 0; kind < 2; kind++) {
        stop = 0, rare_writes = kind;
        run(ask_now_and_then, take_without_pause);
    }
    if (rwlock.state != 0 || !list_empty(&rwlock.waiters))
        die("somebody is left in the queue");
    return 0;
}
