// SPDX-License-Identifier: BSD-2-Clause
// Threads: clone, clone3, set_tid_address, thread-local storage, robust lists, exits.
// Sources: clone(2), set_tid_address(2), get_robust_list(2), pthreads(7).
#include "harness.h"

#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>

#define THREAD_FLAGS \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define STACK_SIZE 65536

static long futex(volatile void *word, int op, unsigned value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

// Waits until *word is no longer value, at most two seconds.
static void wait_while(volatile int *word, int value)
{
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + 5 * SEC;
    while (*word == value && now_ns(CLOCK_MONOTONIC) < deadline) {
        struct timespec limit = {0, 50000000};
        futex(word, FUTEX_WAIT, (unsigned)value, &limit);
    }
}

struct raw_thread {
    volatile int tid_slot;    // CLONE_PARENT_SETTID, CLONE_CHILD_CLEARTID
    volatile int child_slot;  // CLONE_CHILD_SETTID
    volatile int seen_tid, seen_pid;
    char *stack;
};

// Runs without thread-local storage of its own: raw system calls only.
static int raw_body(void *argument)
{
    struct raw_thread *thread = argument;
    long tid, pid;
#if defined __x86_64__
    __asm__ volatile("syscall" : "=a"(tid) : "a"(SYS_gettid) : "rcx", "r11", "memory");
    __asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_getpid) : "rcx", "r11", "memory");
#else
    tid = syscall(SYS_gettid);
    pid = syscall(SYS_getpid);
#endif
    thread->seen_tid = (int)tid;
    thread->seen_pid = (int)pid;
    return 0;
}

TEST(clone_gives_a_thread_of_this_process)
{
    struct raw_thread thread = {.stack = map_anon(STACK_SIZE), .tid_slot = -1};
    int tid = clone(raw_body, thread.stack + STACK_SIZE,
                    THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                    &thread, &thread.tid_slot, NULL, &thread.tid_slot);
    REQUIRE(tid > 0);
    wait_while(&thread.tid_slot, tid);
    CHECK_EQ(thread.tid_slot, 0);  // cleared and woken at the end
    CHECK_EQ(thread.seen_tid, tid);
    CHECK_EQ(thread.seen_pid, getpid());
    CHECK(tid != getpid());
    munmap(thread.stack, STACK_SIZE);
}

TEST(clone_errors)
{
    char *stack = map_anon(STACK_SIZE);
    long sp = (long)(stack + STACK_SIZE);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD, sp, 0, 0, 0), EINVAL);  // needs SIGHAND
    CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, sp, 0, 0, 0), EINVAL);  // needs VM
    CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND, sp, 0, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, sp, 0, 0, 0), EINVAL);
#if defined __x86_64__
    // Not an address that the FS base can hold: loading it would fault in the kernel.
    CHECK_ERRNO(syscall(SYS_clone, THREAD_FLAGS | CLONE_SETTLS, sp, 0, 0, 1ull << 63), EPERM);
    CHECK_ERRNO(syscall(SYS_clone, THREAD_FLAGS | CLONE_SETTLS, sp, 0, 0, 1ull << 47), EPERM);
#endif
    munmap(stack, STACK_SIZE);
}

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        set_tid_size, cgroup;
};

TEST(clone3_errors)
{
    struct clone3_args args = {.flags = THREAD_FLAGS, .exit_signal = 0};
    CHECK_ERRNO(syscall(435, &args, 63), EINVAL);  // smaller than version 0
    CHECK_ERRNO(syscall(435, &args, PAGE + 1), E2BIG);
    CHECK_ERRNO(syscall(435, (void *)8, 64), EFAULT);
    args.flags = CLONE_THREAD;
    CHECK_ERRNO(syscall(435, &args, sizeof args), EINVAL);
    args.flags = THREAD_FLAGS;
    args.stack = PAGE;  // without a size
    CHECK_ERRNO(syscall(435, &args, sizeof args), EINVAL);
    args.stack = 0, args.stack_size = PAGE;  // without an address
    CHECK_ERRNO(syscall(435, &args, sizeof args), EINVAL);
    args = (struct clone3_args){.flags = THREAD_FLAGS, .exit_signal = SIGCHLD};  // not for a thread
    CHECK_ERRNO(syscall(435, &args, sizeof args), EINVAL);
    args = (struct clone3_args){.flags = 1ull << 40};
    CHECK_ERRNO(syscall(435, &args, sizeof args), EINVAL);
    struct {
        struct clone3_args args;
        uint64_t more[2];
    } big = {.args = {.flags = THREAD_FLAGS}};
    big.more[1] = 1;  // unknown field that is not zero
    CHECK_ERRNO(syscall(435, &big, sizeof big), E2BIG);
}

static __thread int tls_word = 42;
static __thread char tls_zero[2000];
static __thread char tls_aligned[64] __attribute__((aligned(64))) = {1};

static void *check_tls(void *argument)
{
    bool ok = tls_word == 42 && (uintptr_t)tls_aligned % 64 == 0 && tls_aligned[0] == 1;
    for (size_t i = 0; i < sizeof tls_zero; i++)
        ok = ok && tls_zero[i] == 0;
    tls_word = my_tid();
    memset(tls_zero, 9, sizeof tls_zero);
    for (int i = 0; i < 20; i++) {
        sched_yield();
        ok = ok && tls_word == my_tid();
    }
    *(bool *)argument = ok;
    return NULL;
}

TEST(tls_of_each_thread_is_its_own)
{
    enum { N = 8 };
    pthread_t ids[N];
    bool ok[N] = {false};
    tls_word = 1;
    memset(tls_zero, 0x7f, sizeof tls_zero);
    for (int i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, check_tls, &ok[i]) == 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(pthread_join(ids[i], NULL), 0);
        CHECK(ok[i]);
    }
    CHECK_EQ(tls_word, 1);
    CHECK_BYTES(tls_zero, 0x7f, sizeof tls_zero);
    tls_word = 42;
}

static void *count_up(void *argument)
{
    __atomic_add_fetch((int *)argument, 1, __ATOMIC_SEQ_CST);
    return argument;
}

TEST(create_and_join_many)
{
    int count = 0;
    for (int i = 0; i < 300; i++) {
        pthread_t id;
        void *result = NULL;
        REQUIRE(pthread_create(&id, NULL, count_up, &count) == 0);
        CHECK_EQ(pthread_join(id, &result), 0);
        CHECK(result == &count);
    }
    CHECK_EQ(count, 300);
}

TEST(many_threads_at_once)
{
    enum { N = 100 };
    pthread_t ids[N];
    int count = 0, made = 0;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    for (; made < N; made++)
        if (pthread_create(&ids[made], &attr, count_up, &count) != 0)
            break;
    CHECK_EQ(made, N);
    for (int i = 0; i < made; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(count, made);
}

TEST(detached_threads_end_by_themselves)
{
    int count = 0;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 50; i++) {
        pthread_t id;
        REQUIRE(pthread_create(&id, &attr, count_up, &count) == 0);
    }
    for (int i = 0; i < 500 && __atomic_load_n(&count, __ATOMIC_SEQ_CST) < 50; i++)
        sleep_ns(10 * MS);
    CHECK_EQ(count, 50);
    sleep_ns(20 * MS);
}

static void *hold_cpu(void *argument)
{
    while (!__atomic_load_n((int *)argument, __ATOMIC_RELAXED)) {
    }
    return NULL;
}

TEST(threads_are_preempted)
{
    // More spinning threads than CPUs: the main thread must still come through.
    enum { N = 8 };
    pthread_t ids[N];
    int stop = 0;
    for (int i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, hold_cpu, &stop) == 0);
    sleep_ns(50 * MS);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < N; i++)
        pthread_join(ids[i], NULL);
}

static sem_t ping, pong;

static void *answer(void *argument)
{
    for (int i = 0; i < *(int *)argument; i++) {
        while (sem_wait(&ping) != 0) {
        }
        sem_post(&pong);
    }
    return NULL;
}

TEST(semaphore_ping_pong)
{
    int rounds = 2000;
    pthread_t id;
    sem_init(&ping, 0, 0), sem_init(&pong, 0, 0);
    REQUIRE(pthread_create(&id, NULL, answer, &rounds) == 0);
    for (int i = 0; i < rounds; i++) {
        sem_post(&ping);
        while (sem_wait(&pong) != 0) {
        }
    }
    pthread_join(id, NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long guarded;

static void *add_under_lock(void *argument)
{
    for (int i = 0; i < *(int *)argument; i++) {
        pthread_mutex_lock(&lock);
        guarded++;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

TEST(mutex_under_contention)
{
    enum { N = 6 };
    pthread_t ids[N];
    int rounds = 5000;
    guarded = 0;
    for (int i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, add_under_lock, &rounds) == 0);
    for (int i = 0; i < N; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(guarded, N * rounds);
}

static int turn;

static void *take_turns(void *argument)
{
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn % 4 != me)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

TEST(condition_variables_pass_the_turn)
{
    pthread_t ids[4];
    turn = 0;
    for (intptr_t i = 0; i < 4; i++)
        REQUIRE(pthread_create(&ids[i], NULL, take_turns, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(turn, 800);
}

TEST(condition_wait_times_out)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += 30000000;
    if (deadline.tv_nsec >= 1000000000)
        deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    pthread_mutex_lock(&lock);
    CHECK_EQ(pthread_cond_timedwait(&changed, &lock, &deadline), ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 25 * MS);
}

static pthread_barrier_t barrier;

static void *meet(void *argument)
{
    for (int i = 0; i < 50; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_add_fetch((int *)argument, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

TEST(barrier_rounds)
{
    pthread_t ids[5];
    int serial = 0;
    pthread_barrier_init(&barrier, NULL, 5);
    for (int i = 0; i < 5; i++)
        REQUIRE(pthread_create(&ids[i], NULL, meet, &serial) == 0);
    for (int i = 0; i < 5; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(serial, 50);
    pthread_barrier_destroy(&barrier);
}

TEST(rwlocks_and_once)
{
    pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
    CHECK_EQ(pthread_rwlock_rdlock(&rw), 0);
    CHECK_EQ(pthread_rwlock_rdlock(&rw), 0);
    CHECK_EQ(pthread_rwlock_trywrlock(&rw), EBUSY);
    pthread_rwlock_unlock(&rw), pthread_rwlock_unlock(&rw);
    CHECK_EQ(pthread_rwlock_wrlock(&rw), 0);
    CHECK_EQ(pthread_rwlock_tryrdlock(&rw), EBUSY);
    pthread_rwlock_unlock(&rw);
}

static pthread_mutex_t robust;

static void *die_holding(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&robust);
    return NULL;
}

TEST(robust_mutex_tells_of_a_dead_owner)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    REQUIRE(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
    pthread_mutex_init(&robust, &attr);
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, die_holding, NULL) == 0);
    pthread_join(id, NULL);
    CHECK_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_consistent(&robust), 0);
    CHECK_EQ(pthread_mutex_unlock(&robust), 0);
    CHECK_EQ(pthread_mutex_lock(&robust), 0);
    pthread_mutex_unlock(&robust);
}

static void *wait_for_robust(void *argument)
{
    *(int *)argument = pthread_mutex_lock(&robust);
    return NULL;
}

static void *die_holding_slowly(void *argument)
{
    pthread_mutex_lock(&robust);
    __atomic_store_n((int *)argument, 1, __ATOMIC_SEQ_CST);
    sleep_ns(50 * MS);
    return NULL;
}

TEST(robust_mutex_wakes_a_waiter)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    pthread_t owner, waiter;
    int held = 0, result = -1;
    REQUIRE(pthread_create(&owner, NULL, die_holding_slowly, &held) == 0);
    while (!__atomic_load_n(&held, __ATOMIC_SEQ_CST))
        sched_yield();
    REQUIRE(pthread_create(&waiter, NULL, wait_for_robust, &result) == 0);
    pthread_join(owner, NULL);
    pthread_join(waiter, NULL);
    CHECK_EQ(result, EOWNERDEAD);
}

TEST(robust_list_calls)
{
    struct {
        void *next;
        long offset;
        void *pending;
    } head = {&head, 0, NULL};
    void *old = NULL, *got = NULL;
    size_t len = 0, old_len = 0;
    CHECK_OK(syscall(SYS_get_robust_list, 0, &old, &old_len));
    CHECK_OK(syscall(SYS_set_robust_list, &head, sizeof head));
    CHECK_OK(syscall(SYS_get_robust_list, 0, &got, &len));
    CHECK_EQ(got, &head);
    CHECK_EQ(len, sizeof head);
    CHECK_ERRNO(syscall(SYS_set_robust_list, &head, 5), EINVAL);
    CHECK_ERRNO(syscall(SYS_get_robust_list, 0x3fffffff, &got, &len), ESRCH);
    CHECK_OK(syscall(SYS_set_robust_list, old, sizeof head));
}

TEST(set_tid_address_answers_the_tid)
{
    static int slot;
    CHECK_EQ(syscall(SYS_set_tid_address, &slot), my_tid());
    CHECK_EQ(my_tid(), getpid());  // the main thread
}

static void *exit_early(void *argument)
{
    (void)argument;
    pthread_exit((void *)77);
}

TEST(pthread_exit_hands_its_value_over)
{
    pthread_t id;
    void *value = NULL;
    REQUIRE(pthread_create(&id, NULL, exit_early, NULL) == 0);
    pthread_join(id, &value);
    CHECK_EQ(value, 77);
}

static void *sleep_long(void *argument)
{
    (void)argument;
    for (;;)
        sleep(100);
    return NULL;
}

TEST(cancellation_interrupts_a_sleep)
{
    pthread_t id;
    void *value = NULL;
    REQUIRE(pthread_create(&id, NULL, sleep_long, NULL) == 0);
    sleep_ns(10 * MS);
    CHECK_EQ(pthread_cancel(id), 0);
    CHECK_EQ(pthread_join(id, &value), 0);
    CHECK(value == PTHREAD_CANCELED);
}

TEST(stacks_of_ended_threads_are_reusable)
{
    // Create and join with stacks that are unmapped at the end: nothing may add up.
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 4 * HUGE);
    int count = 0;
    for (int i = 0; i < 100; i++) {
        pthread_t id;
        REQUIRE(pthread_create(&id, &attr, count_up, &count) == 0);
        pthread_join(id, NULL);
    }
    CHECK_EQ(count, 100);
}

// One thread stores, the other sees it: ordinary memory ordering across CPUs, and page faults on
// the same fresh pages from all sides.
static char *shared_pages;

static void *touch_all(void *argument)
{
    size_t me = (size_t)(uintptr_t)argument;
    for (size_t i = 0; i < 512; i++)
        __atomic_add_fetch(&((int *)(shared_pages + i * PAGE))[me], 1, __ATOMIC_SEQ_CST);
    return NULL;
}

TEST(parallel_faults_on_the_same_pages)
{
    for (int round = 0; round < 10; round++) {
        shared_pages = map_anon(512 * PAGE);
        pthread_t ids[4];
        for (uintptr_t i = 0; i < 4; i++)
            REQUIRE(pthread_create(&ids[i], NULL, touch_all, (void *)i) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(ids[i], NULL);
        for (size_t i = 0; i < 512; i++)
            for (size_t j = 0; j < 4; j++)
                if (((int *)(shared_pages + i * PAGE))[j] != 1) {
                    FAIL("page %zu lost the store of thread %zu", i, j);
                    i = 512;
                    break;
                }
        munmap(shared_pages, 512 * PAGE);
    }
}

TEST(membarrier_query_and_private)
{
    long mask = syscall(SYS_membarrier, 0, 0, 0);
    if (mask == -1 && errno == ENOSYS)
        SKIP("no membarrier here");
    CHECK(mask > 0);
    if (mask & 8) {
        CHECK_OK(syscall(SYS_membarrier, 16, 0, 0));  // REGISTER_PRIVATE_EXPEDITED
        CHECK_OK(syscall(SYS_membarrier, 8, 0, 0));
    }
    CHECK_ERRNO(syscall(SYS_membarrier, 1 << 20, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_membarrier, 0, 0x40, 0), EINVAL);
}
