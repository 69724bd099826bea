// SPDX-License-Identifier: BSD-2-Clause
// futex(2) by itself: wait, wake, bitset, requeue, timeouts, errors.
#include "harness.h"

#include <linux/futex.h>
#include <sched.h>

static long futex(volatile int *word, int op, int value, const void *timeout, volatile int *word2,
                  unsigned value3)
{
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

struct waiter {
    pthread_t id;
    volatile int *word;
    int op, value;
    unsigned bitset;
    const struct timespec *timeout;
    long result;
    int error;
    volatile int asleep_soon;
};

static void *wait_body(void *argument)
{
    struct waiter *waiter = argument;
    __atomic_store_n(&waiter->asleep_soon, 1, __ATOMIC_SEQ_CST);
    errno = 0;
    waiter->result =
        futex(waiter->word, waiter->op, waiter->value, waiter->timeout, NULL, waiter->bitset);
    waiter->error = errno;
    return NULL;
}

static void start_waiter(struct waiter *waiter)
{
    REQUIRE(pthread_create(&waiter->id, NULL, wait_body, waiter) == 0);
    while (!__atomic_load_n(&waiter->asleep_soon, __ATOMIC_SEQ_CST))
        sched_yield();
    sleep_ns(20 * MS);
}

// Wakes until somebody was there: a waiter may not be asleep yet on a loaded machine.
static long wake_surely(volatile int *word, int op, int count, unsigned bitset)
{
    for (int i = 0; i < 500; i++) {
        long n = futex(word, op, count, NULL, NULL, bitset);
        if (n != 0)
            return n;
        sleep_ns(5 * MS);
    }
    return 0;
}

TEST(wait_with_another_value_is_eagain)
{
    volatile int word = 5;
    CHECK_ERRNO(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), EAGAIN);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 4, NULL, NULL, 1), EAGAIN);
}

TEST(wake_with_nobody_there_is_zero)
{
    volatile int word = 0;
    CHECK_EQ(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
    CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0), 0);
}

TEST(errors)
{
    volatile int words[4] = {0};
    volatile int *unaligned = (volatile int *)((char *)words + 1);
    CHECK_ERRNO(futex(unaligned, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(unaligned, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
    CHECK_ERRNO(futex((int *)map_hole(PAGE), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex((int *)0xffff800000000000, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex((int *)0xffff800000000000, FUTEX_WAKE_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex((int *)8, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(words, 99, 0, NULL, NULL, 0), ENOSYS);
    CHECK_ERRNO(futex(words, FUTEX_WAIT_PRIVATE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0),
                ENOSYS);  // it is relative
    CHECK_ERRNO(futex(words, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0),
                EINVAL);  // an empty bitset
    CHECK_ERRNO(futex(words, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0), EINVAL);
    struct timespec bad = {0, 1000000000}, negative = {-1, 0};
    CHECK_ERRNO(futex(words, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(words, FUTEX_WAIT_PRIVATE, 0, &negative, NULL, 0), EINVAL);
    CHECK_ERRNO(futex(words, FUTEX_WAIT_PRIVATE, 0, (void *)8, NULL, 0), EFAULT);
    CHECK_ERRNO(futex(words, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, words + 1, 7), EAGAIN);
}

TEST(private_futex_on_unmapped_memory_wakes_nobody)
{
    // A private futex is a number to the kernel: waking needs no page behind it.
    CHECK_EQ(futex((int *)map_hole(PAGE), FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
    CHECK_ERRNO(futex((int *)map_hole(PAGE), FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
}

TEST(relative_timeout)
{
    volatile int word = 0;
    struct timespec short_time = {0, 20000000};
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &short_time, NULL, 0), ETIMEDOUT);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, 5 * SEC);
    struct timespec zero = {0, 0};
    CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &zero, NULL, 0), ETIMEDOUT);
}

TEST(absolute_timeouts_of_both_clocks)
{
    volatile int word = 0;
    static const struct {
        clockid_t clock;
        int flag;
    } kinds[] = {{CLOCK_MONOTONIC, 0}, {CLOCK_REALTIME, FUTEX_CLOCK_REALTIME}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        int op = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | kinds[i].flag;
        uint64_t deadline = now_ns(kinds[i].clock) + 20 * MS;
        struct timespec when = {(time_t)(deadline / SEC), (long)(deadline % SEC)};
        CHECK_ERRNO(futex(&word, op, 0, &when, NULL, ~0u), ETIMEDOUT);
        CHECK(now_ns(kinds[i].clock) >= deadline);
        CHECK_ERRNO(futex(&word, op, 0, &when, NULL, ~0u), ETIMEDOUT);  // long past: at once
    }
}

TEST(wake_wakes)
{
    volatile int word = 0;
    struct waiter waiter = {.word = &word, .op = FUTEX_WAIT_PRIVATE};
    start_waiter(&waiter);
    word = 1;
    CHECK_EQ(wake_surely(&word, FUTEX_WAKE_PRIVATE, 1, 0), 1);
    pthread_join(waiter.id, NULL);
    CHECK_EQ(waiter.result, 0);
}

TEST(wake_counts)
{
    enum { N = 6 };
    volatile int word = 0;
    struct waiter waiters[N];
    for (int i = 0; i < N; i++) {
        waiters[i] = (struct waiter){.word = &word, .op = FUTEX_WAIT_PRIVATE};
        start_waiter(&waiters[i]);
    }
    sleep_ns(50 * MS);
    CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), N - 2);
    CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0), 0);
    for (int i = 0; i < N; i++) {
        pthread_join(waiters[i].id, NULL);
        CHECK_EQ(waiters[i].result, 0);
    }
}

TEST(private_and_shared_do_not_meet)
{
    volatile int word = 0;
    struct timespec limit = {0, 150000000};
    struct waiter waiter = {.word = &word, .op = FUTEX_WAIT_PRIVATE, .timeout = &limit};
    start_waiter(&waiter);
    CHECK_EQ(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
    pthread_join(waiter.id, NULL);
    CHECK_EQ(waiter.error, ETIMEDOUT);
}

TEST(bitset_selects)
{
    volatile int word = 0;
    struct waiter a = {.word = &word, .op = FUTEX_WAIT_BITSET_PRIVATE, .bitset = 1};
    struct waiter b = {.word = &word, .op = FUTEX_WAIT_BITSET_PRIVATE, .bitset = 2};
    start_waiter(&a), start_waiter(&b);
    CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 4), 0);
    CHECK_EQ(wake_surely(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, 2), 1);
    pthread_join(b.id, NULL);
    CHECK_EQ(wake_surely(&word, FUTEX_WAKE_PRIVATE, 10, 0), 1);
    pthread_join(a.id, NULL);
}

TEST(requeue_moves_waiters)
{
    enum { N = 4 };
    volatile int from = 0, to = 0;
    struct waiter waiters[N];
    for (int i = 0; i < N; i++) {
        waiters[i] = (struct waiter){.word = &from, .op = FUTEX_WAIT_PRIVATE};
        start_waiter(&waiters[i]);
    }
    sleep_ns(50 * MS);
    CHECK_ERRNO(futex(&from, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &to, 9), EAGAIN);
    CHECK_EQ(futex(&from, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &to, 0), 3);  // woken and moved
    CHECK_EQ(futex(&to, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
    CHECK_EQ(futex(&from, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &to, 0), 1);
    CHECK_EQ(futex(&from, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
    CHECK_EQ(futex(&to, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
    for (int i = 0; i < N; i++) {
        pthread_join(waiters[i].id, NULL);
        CHECK_EQ(waiters[i].result, 0);
    }
}

TEST(wake_op)
{
    volatile int a = 0, b = 5;
    // b = b + 1, and wake on b if its old value was 5
    unsigned op = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 5);
    CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, op), 0);
    CHECK_EQ(b, 6);
    op = FUTEX_OP(FUTEX_OP_SET, 100, FUTEX_OP_CMP_GT, 0);
    CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, op), 0);
    CHECK_EQ(b, 100);
    struct waiter waiter = {.word = &b, .op = FUTEX_WAIT_PRIVATE, .value = 100};
    start_waiter(&waiter);
    sleep_ns(30 * MS);
    op = FUTEX_OP(FUTEX_OP_OR, 3, FUTEX_OP_CMP_EQ, 100);
    CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, op), 1);
    CHECK_EQ(b, 103);
    pthread_join(waiter.id, NULL);
}

static void on_signal(int signal) { (void)signal; }

static void interrupt_wait(int flags, const struct timespec *timeout, long result, int error)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    volatile int word = 0;
    struct waiter waiter = {.word = &word, .op = FUTEX_WAIT_PRIVATE, .timeout = timeout};
    start_waiter(&waiter);
    sleep_ns(30 * MS);
    pthread_kill(waiter.id, SIGUSR1);
    sleep_ns(60 * MS);
    futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    pthread_join(waiter.id, NULL);
    CHECK_EQ(waiter.result, result);
    CHECK_EQ(waiter.error, error);
}

TEST(a_signal_interrupts_a_wait)
{
    struct timespec limit = {3, 0};
    interrupt_wait(0, NULL, -1, EINTR);
    interrupt_wait(SA_RESTART, NULL, 0, 0);  // restarted, then woken
    interrupt_wait(0, &limit, -1, EINTR);
}

TEST(shared_futex_in_shared_memory)
{
    // The same word of one memory object through two mappings.
    int fd = new_memfd(PAGE);
    int *a = (int *)map_with(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    int *b = (int *)map_with(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    struct waiter waiter = {.word = a, .op = FUTEX_WAIT};
    start_waiter(&waiter);
    CHECK_EQ(wake_surely(b, FUTEX_WAKE, 1, 0), 1);
    pthread_join(waiter.id, NULL);
    CHECK_EQ(waiter.result, 0);
    munmap(a, PAGE), munmap(b, PAGE);
    close(fd);
}

struct pair {
    volatile int a, b;
    int rounds;
};

static void *echo(void *argument)
{
    struct pair *pair = argument;
    for (int i = 1; i <= pair->rounds; i++) {
        int seen;
        while ((seen = __atomic_load_n(&pair->a, __ATOMIC_SEQ_CST)) != i)
            futex(&pair->a, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        __atomic_store_n(&pair->b, i, __ATOMIC_SEQ_CST);
        futex(&pair->b, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    return NULL;
}

TEST(no_wakeup_is_lost)
{
    struct pair pair = {.rounds = 5000};
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, echo, &pair) == 0);
    for (int i = 1; i <= pair.rounds; i++) {
        __atomic_store_n(&pair.a, i, __ATOMIC_SEQ_CST);
        futex(&pair.a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        int seen;
        while ((seen = __atomic_load_n(&pair.b, __ATOMIC_SEQ_CST)) != i)
            futex(&pair.b, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
    pthread_join(id, NULL);
}

static volatile int gate;

static void *through_gate(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&gate, __ATOMIC_SEQ_CST))
        futex(&gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

TEST(broadcast_to_many)
{
    enum { N = 50 };
    pthread_t ids[N];
    gate = 0;
    for (int i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, through_gate, NULL) == 0);
    sleep_ns(30 * MS);
    __atomic_store_n(&gate, 1, __ATOMIC_SEQ_CST);
    CHECK(futex(&gate, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0) >= 0);
    for (int i = 0; i < N; i++)
        pthread_join(ids[i], NULL);
}

TEST(priority_inheritance_works_or_is_enosys)
{
    volatile int word = 0;
    long result = futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    if (result == -1) {
        CHECK_EQ(errno, ENOSYS);
        return;
    }
    CHECK_EQ(word & FUTEX_TID_MASK, my_tid());
    CHECK_OK(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    CHECK_EQ(word, 0);
}

TEST(waitv_works_or_is_enosys)
{
    struct {
        uint64_t value, address;
        uint32_t flags, reserved;
    } entry = {1, 0, 2 | 128, 0};
    volatile unsigned word = 0;
    entry.address = (uintptr_t)&word;
    long result = syscall(449, &entry, 1, 0, NULL, CLOCK_MONOTONIC);
    CHECK_EQ(result, -1);
    CHECK(errno == EAGAIN || errno == ENOSYS);
}
