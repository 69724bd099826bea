// SPDX-License-Identifier: BSD-2-Clause
// Threads, locks, condition variables, semaphores, short-lived threads and signals to random threads, all at once.
// The amount of work is fixed, not the time, so that an emulated machine does the same as a fast one.
#include "harness.h"

#include <math.h>
#include <sched.h>
#include <semaphore.h>

enum { WORKERS = 8, OPERATIONS = 1200, SLOTS = 16 };

struct worker {
    pthread_t id;
    int number;
    unsigned seed;
    long added, posted, taken, started, sent;
    double sum;
};

static struct worker workers[WORKERS];
static volatile int alive[WORKERS];
static pthread_mutex_t locks[SLOTS], alive_lock = PTHREAD_MUTEX_INITIALIZER;
static long totals[SLOTS];
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_filled = PTHREAD_COND_INITIALIZER;
static long queued, put, got;
static sem_t tokens;
static volatile long handled;
static __thread volatile int in_handler, my_number = -1;

// Uses the stack, the vector unit and thread-local storage, and leaves errno alone.
static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    int saved = errno;
    volatile double value = signal * 1.5;
    volatile char room[600];
    memset((char *)room, signal, sizeof room);
    in_handler++;
    if (value != signal * 1.5 || room[599] != (char)signal || my_number < 0)
        FAIL("the handler of signal %d finds a broken world", signal);
    in_handler--;
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
    errno = saved;
}

static void *short_life(void *argument)
{
    my_number = 100;
    struct timespec moment = {0, 1000};
    nanosleep(&moment, NULL);
    __atomic_add_fetch((long *)argument, 1, __ATOMIC_SEQ_CST);
    return argument;
}

static void signal_somebody(struct worker *me)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGURG};
    int target = (int)(next_random(&me->seed) % WORKERS);
    unsigned pick = next_random(&me->seed) % 4;
    pthread_mutex_lock(&alive_lock);
    if (alive[target]) {
        int signal = pick < 3 ? signals[pick] : SIGRTMIN + 5;
        int error = pthread_kill(workers[target].id, signal);
        if (error && error != EAGAIN)
            FAIL("pthread_kill gives %s", errno_name(error));
        me->sent += error == 0;
    }
    pthread_mutex_unlock(&alive_lock);
}

static void put_or_take(struct worker *me)
{
    pthread_mutex_lock(&queue_lock);
    if (queued < 20) {
        queued++, put++;
        pthread_cond_signal(&queue_filled);
    } else {
        queued--, got++;
    }
    pthread_mutex_unlock(&queue_lock);
    (void)me;
}

static void wait_for_queue(void)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 2000000;
    if (deadline.tv_nsec >= 1000000000)
        deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    pthread_mutex_lock(&queue_lock);
    while (queued == 0)
        if (pthread_cond_timedwait(&queue_filled, &queue_lock, &deadline) == ETIMEDOUT)
            break;
    if (queued > 0)
        queued--, got++;
    pthread_mutex_unlock(&queue_lock);
}

static void one_operation(struct worker *me, int i)
{
    unsigned choice = next_random(&me->seed) % 16;
    if (choice < 4) {
        unsigned slot = next_random(&me->seed) % SLOTS;
        pthread_mutex_lock(&locks[slot]);
        long before = totals[slot];
        if (choice == 0)
            sched_yield();  // hold it while others run
        totals[slot] = before + 1;
        pthread_mutex_unlock(&locks[slot]);
        me->added++;
    } else if (choice < 6) {
        put_or_take(me);
    } else if (choice < 7) {
        wait_for_queue();
    } else if (choice < 9) {
        sem_post(&tokens);
        me->posted++;
    } else if (choice < 11) {
        me->taken += sem_trywait(&tokens) == 0;
    } else if (choice < 14) {
        signal_somebody(me);
    } else if (choice < 15) {
        struct timespec moment = {0, (long)(next_random(&me->seed) % 30000)};
        nanosleep(&moment, NULL);
    } else if (i % 4 == 0) {
        pthread_t child;
        long done = 0;
        if (pthread_create(&child, NULL, short_life, &done) == 0) {
            void *result = NULL;
            pthread_join(child, &result);
            if (done != 1 || result != &done)
                FAIL("a short-lived thread did not do its work");
            me->started++;
        } else {
            FAIL("pthread_create fails");
        }
    }
    me->sum += sqrt((double)(i * me->number + 1));  // vector state that signals must not disturb
}

static void *work(void *argument)
{
    struct worker *me = argument;
    my_number = me->number;
    pthread_mutex_lock(&alive_lock);
    me->id = pthread_self();  // pthread_create may store it only later
    alive[me->number] = 1;
    pthread_mutex_unlock(&alive_lock);
    for (int i = 0; i < OPERATIONS; i++) {
        one_operation(me, i);
        if (my_number != me->number || in_handler) {
            FAIL("thread-local storage of worker %d broke", me->number);
            break;
        }
    }
    pthread_mutex_lock(&alive_lock);
    alive[me->number] = 0;
    pthread_mutex_unlock(&alive_lock);
    return me;
}

TEST_LIMIT(threads_locks_and_signals, 120)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGURG};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT(signals); i++)
        sigaction(signals[i], &action, NULL);
    sigaction(SIGRTMIN + 5, &action, NULL);
    handled = queued = put = got = 0;
    memset(totals, 0, sizeof totals);
    sem_init(&tokens, 0, 0);
    for (int i = 0; i < SLOTS; i++)
        pthread_mutex_init(&locks[i], NULL);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.number = i, .seed = (unsigned)(i * 7919 + 17)};
        REQUIRE(pthread_create(&workers[i].id, NULL, work, &workers[i]) == 0);
    }
    long added = 0, posted = 0, taken = 0, sent = 0, total = 0;
    for (int i = 0; i < WORKERS; i++) {
        void *result = NULL;
        pthread_join(workers[i].id, &result);
        CHECK(result == &workers[i]);
        added += workers[i].added, posted += workers[i].posted;
        taken += workers[i].taken, sent += workers[i].sent;
        double sum = 0;
        for (int j = 0; j < OPERATIONS; j++)
            sum += sqrt((double)(j * i + 1));
        CHECK(sum == workers[i].sum);
    }
    for (int i = 0; i < SLOTS; i++)
        total += totals[i];
    CHECK_EQ(total, added);
    CHECK_EQ(put - got, queued);
    int left = -1;
    sem_getvalue(&tokens, &left);
    CHECK_EQ(posted - taken, left);
    CHECK(handled > 0 && handled <= sent);
    harness_note("%ld signals sent, %ld handled", sent, handled);
}

// Signals sent as fast as possible to a thread that allocates, frees and computes: what preemption of a
// garbage-collected program looks like.
static volatile int stop_storm;
static __thread volatile long storm_hits;

static void on_storm(int signal)
{
    (void)signal;
    storm_hits++;
}

static void *be_stormed(void *argument)
{
    unsigned char *blocks[64] = {NULL};
    unsigned seed = 5;
    long rounds = 0;
    while (!stop_storm) {
        unsigned slot = next_random(&seed) % 64;
        size_t size = next_random(&seed) % 3000 + 1;
        if (blocks[slot]) {
            size_t old = *(size_t *)blocks[slot];
            for (size_t i = sizeof old; i < old; i++)
                if (blocks[slot][i] != (unsigned char)slot) {
                    FAIL("a block of the heap changed under signals");
                    stop_storm = 1;
                    break;
                }
            free(blocks[slot]);
        }
        size += sizeof size;
        blocks[slot] = malloc(size);
        memset(blocks[slot], (int)slot, size);
        *(size_t *)blocks[slot] = size;
        rounds++;
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    *(long *)argument = rounds;
    return NULL;
}

TEST_LIMIT(signal_storm, 60)
{
    struct sigaction action = {.sa_handler = on_storm, .sa_flags = SA_RESTART};
    sigaction(SIGURG, &action, NULL);
    long rounds[3] = {0};
    pthread_t ids[3];
    stop_storm = 0;
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&ids[i], NULL, be_stormed, &rounds[i]) == 0);
    for (int i = 0; i < 4000 && !stop_storm; i++) {
        CHECK_EQ(pthread_kill(ids[i % 3], SIGURG), 0);
        if (i % 64 == 0)
            sleep_ns(MS / 5);
    }
    stop_storm = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(ids[i], NULL);
        CHECK(rounds[i] > 0);
    }
}

// A tree of threads, each making two more: creation and exit from many sides at once.
static long tree_count;

static void *grow_tree(void *argument)
{
    intptr_t depth = (intptr_t)argument;
    __atomic_add_fetch(&tree_count, 1, __ATOMIC_SEQ_CST);
    pthread_t children[2];
    for (int i = 0; depth > 0 && i < 2; i++)
        if (pthread_create(&children[i], NULL, grow_tree, (void *)(depth - 1)) != 0) {
            FAIL("pthread_create fails at depth %ld", (long)depth);
            return NULL;
        }
    for (int i = 0; depth > 0 && i < 2; i++)
        pthread_join(children[i], NULL);
    return NULL;
}

TEST_LIMIT(thread_tree, 60)
{
    for (int round = 0; round < 3; round++) {
        tree_count = 0;
        grow_tree((void *)5);
        CHECK_EQ(tree_count, 63);
    }
}
