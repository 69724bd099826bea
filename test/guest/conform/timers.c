// SPDX-License-Identifier: BSD-2-Clause
// Clocks, sleeps, interval timers, POSIX timers, timerfd. Bounds below are exact (never early); bounds above are
// wide, because the machine may be an emulated one under load. Sources: clock_gettime(2), nanosleep(2),
// clock_nanosleep(2), setitimer(2), timer_create(2), timerfd_create(2), time(7).
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>

#define LATE (20 * SEC)  // nothing may be that late

static uint64_t raw_now(clockid_t clock)
{
    struct timespec now = {0, 0};
    syscall(SYS_clock_gettime, clock, &now);
    return (uint64_t)now.tv_sec * SEC + (uint64_t)now.tv_nsec;
}

static const struct {
    clockid_t id;
    const char *name;
} clocks[] = {
    {CLOCK_REALTIME, "REALTIME"},
    {CLOCK_MONOTONIC, "MONOTONIC"},
    {CLOCK_MONOTONIC_RAW, "MONOTONIC_RAW"},
    {CLOCK_REALTIME_COARSE, "REALTIME_COARSE"},
    {CLOCK_MONOTONIC_COARSE, "MONOTONIC_COARSE"},
    {CLOCK_BOOTTIME, "BOOTTIME"},
    {11, "TAI"},
};

TEST(library_and_system_call_agree)
{
    for (size_t i = 0; i < COUNT(clocks); i++) {
        bool coarse =
            clocks[i].id == CLOCK_REALTIME_COARSE || clocks[i].id == CLOCK_MONOTONIC_COARSE;
        for (int round = 0; round < 50; round++) {
            uint64_t a = raw_now(clocks[i].id), b = now_ns(clocks[i].id), c = raw_now(clocks[i].id);
            if (a > b || b > c || c - a > LATE) {
                FAIL("clock %s: call %llu, library %llu, call %llu", clocks[i].name,
                     (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
                break;
            }
            if (coarse && b > now_ns(clocks[i].id == CLOCK_REALTIME_COARSE ? CLOCK_REALTIME
                                                                           : CLOCK_MONOTONIC))
                FAIL("clock %s is ahead of the fine one", clocks[i].name);
        }
    }
}

TEST(clocks_of_time_spent)
{
    uint64_t process = now_ns(CLOCK_PROCESS_CPUTIME_ID), thread = now_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK(process > 0 && thread > 0);
    volatile unsigned long x = 0;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    while (now_ns(CLOCK_MONOTONIC) - start < 60 * MS)
        for (int i = 0; i < 1000; i++)
            x += (unsigned long)i;
    uint64_t process_after = now_ns(CLOCK_PROCESS_CPUTIME_ID),
             thread_after = now_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK(thread_after > thread &&
          thread_after - thread <= now_ns(CLOCK_MONOTONIC) - start + 5 * MS);
    CHECK(process_after - process + 5 * MS >= thread_after - thread);
    thread = now_ns(CLOCK_THREAD_CPUTIME_ID);
    sleep_ns(100 * MS);
    CHECK(now_ns(CLOCK_THREAD_CPUTIME_ID) - thread < 60 * MS);  // a sleep costs no CPU
}

TEST(clock_errors)
{
    struct timespec now;
    CHECK_ERRNO(syscall(SYS_clock_gettime, 99, &now), EINVAL);
    CHECK_ERRNO(syscall(SYS_clock_gettime, 12, &now), EINVAL);
    CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (void *)8), EFAULT);
    CHECK_ERRNO(syscall(SYS_clock_getres, 99, &now), EINVAL);
    CHECK_OK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, NULL));
    CHECK_OK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &now));
    CHECK_EQ(now.tv_sec, 0);
    CHECK_RANGE(now.tv_nsec, 1, 20000000);
    CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &now), EINVAL);
    struct timespec bad = {0, 1000000000};
    CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad), EINVAL);
}

TEST(realtime_is_plausible)
{
    struct timeval tv;
    struct timespec now;
    REQUIRE_OK(gettimeofday(&tv, NULL));
    REQUIRE_OK(clock_gettime(CLOCK_REALTIME, &now));
    CHECK(now.tv_sec > 1577836800 && now.tv_sec < 7258118400);  // 2020 to 2200
    CHECK_RANGE(now.tv_sec - tv.tv_sec, 0, 20);
    CHECK_RANGE(tv.tv_usec, 0, 999999);
    CHECK_RANGE(time(NULL) - tv.tv_sec, -1, 20);  // it may read the coarse clock
#ifdef SYS_time
    CHECK_RANGE(syscall(SYS_time, NULL) - tv.tv_sec, -1, 20);  // it reads the coarse clock
#endif
}

TEST(monotonic_never_goes_back)
{
    uint64_t last = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 50000; i++) {
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        if (now < last) {
            FAIL("went back by %llu ns", (unsigned long long)(last - now));
            break;
        }
        last = now;
    }
}

// Each clock must not go back for anyone, whichever way it is read: every reading is compared with the newest
// that any thread had when it began. The threads move from one CPU to the next as they go.
static const clockid_t shared_clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME};
static uint64_t newest[COUNT(shared_clocks)];
static volatile int stop;

static uint64_t read_some_way(clockid_t clock, unsigned way)
{
    struct timeval tv;
    if (way % 3 == 0)
        return raw_now(clock);
    if (way % 3 == 1 || clock != CLOCK_REALTIME)
        return now_ns(clock);
    gettimeofday(&tv, NULL);
    return (uint64_t)tv.tv_sec * SEC + (uint64_t)tv.tv_usec * 1000 + 999;
}

static void *watch_clocks(void *argument)
{
    unsigned number = (unsigned)(uintptr_t)argument, n_cpus = cpu_count();
    for (unsigned i = number; !stop; i++) {
        if (i % 4096 == 0) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET((i / 4096 + number) % n_cpus, &set);
            sched_setaffinity(0, sizeof set, &set);
        }
        unsigned which = i % COUNT(shared_clocks);
        uint64_t *last = &newest[which], before = __atomic_load_n(last, __ATOMIC_SEQ_CST);
        uint64_t now = read_some_way(shared_clocks[which], i / 7);
        if (now < before) {
            FAIL("clock %d went back by %llu ns, read in way %u", shared_clocks[which],
                 (unsigned long long)(before - now), i / 7 % 3);
            break;
        }
        if (shared_clocks[which] == CLOCK_REALTIME)
            now = now / 1000 * 1000;  // gettimeofday's resolution
        while (before < now && !__atomic_compare_exchange_n(last, &before, now, false,
                                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
    }
    return NULL;
}

TEST(clocks_across_cpus)
{
    pthread_t ids[8];
    memset(newest, 0, sizeof newest);
    stop = 0;
    for (uintptr_t i = 0; i < COUNT(ids); i++)
        REQUIRE(pthread_create(&ids[i], NULL, watch_clocks, (void *)(i * 1000)) == 0);
    sleep_ns(1500 * MS);  // long enough for the emulator's clock to be trimmed once, see apic.c
    stop = 1;
    for (size_t i = 0; i < COUNT(ids); i++)
        pthread_join(ids[i], NULL);
}

TEST(monotonic_advances_with_realtime)
{
    uint64_t m = now_ns(CLOCK_MONOTONIC), r = now_ns(CLOCK_REALTIME), b = now_ns(CLOCK_BOOTTIME);
    sleep_ns(100 * MS);
    int64_t dm = (int64_t)(now_ns(CLOCK_MONOTONIC) - m), dr = (int64_t)(now_ns(CLOCK_REALTIME) - r);
    int64_t db = (int64_t)(now_ns(CLOCK_BOOTTIME) - b);
    CHECK_RANGE(dr - dm, -(int64_t)(50 * MS), (int64_t)SEC);
    CHECK_RANGE(db - dm, -(int64_t)(50 * MS), (int64_t)SEC);
}

TEST(nanosleep_is_never_early)
{
    static const long lengths[] = {0, 1, 20000, 1000000, 30000000};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct timespec wanted = {0, lengths[i]};
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        CHECK_OK(nanosleep(&wanted, NULL));
        CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, lengths[i], LATE);
    }
    struct timespec bad = {0, 1000000000};
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    bad = (struct timespec){0, -1};
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    bad = (struct timespec){-1, 0};
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_nanosleep, (void *)8, NULL), EFAULT);
}

TEST(short_sleeps_are_short)
{
    // Go's monitor sleeps 20 us at a time: a timer tick of 4 ms would show here.
    uint64_t best = ~0ull;
    for (int i = 0; i < 100; i++) {
        struct timespec wanted = {0, 20000};
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        nanosleep(&wanted, NULL);
        uint64_t took = now_ns(CLOCK_MONOTONIC) - start;
        best = took < best ? took : best;
    }
    CHECK_RANGE(best, 20000, 2 * MS);
}

TEST(clock_nanosleep_absolute)
{
    static const clockid_t ids[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (size_t i = 0; i < COUNT(ids); i++) {
        uint64_t deadline = now_ns(ids[i]) + 20 * MS;
        struct timespec when = {(time_t)(deadline / SEC), (long)(deadline % SEC)};
        CHECK_EQ(clock_nanosleep(ids[i], TIMER_ABSTIME, &when, NULL), 0);
        CHECK_RANGE(now_ns(ids[i]) - deadline, 0, LATE);
        CHECK_EQ(clock_nanosleep(ids[i], TIMER_ABSTIME, &when, NULL), 0);  // past: at once
    }
    struct timespec when = {0, 1};
    CHECK_EQ(syscall(SYS_clock_nanosleep, 99, 0, &when, NULL) == -1 ? errno : 0, EINVAL);
    CHECK_EQ(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &when, NULL) == -1 ? errno
                                                                                         : 0,
             EOPNOTSUPP);
    CHECK_EQ(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (void *)8, NULL) == -1 ? errno : 0,
             EFAULT);
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &when, NULL), 0);
}

static volatile int alarms;
static siginfo_t alarm_info;

static void on_alarm(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    alarm_info = *info;
    __atomic_add_fetch(&alarms, 1, __ATOMIC_SEQ_CST);
}

static void install(int signal)
{
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    REQUIRE_OK(sigaction(signal, &action, NULL));
    alarms = 0;
}

static void wait_for_alarms(int count)
{
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    while (alarms < count && now_ns(CLOCK_MONOTONIC) - start < LATE)
        sleep_ns(MS);
}

TEST(setitimer_real)
{
    install(SIGALRM);  // from here on this test has no time limit of its own
    struct itimerval timer = {.it_value = {0, 20000}}, old;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    REQUIRE_OK(setitimer(ITIMER_REAL, &timer, NULL));
    REQUIRE_OK(getitimer(ITIMER_REAL, &old));
    CHECK_RANGE(old.it_value.tv_usec, 0, 20000);
    wait_for_alarms(1);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, LATE);
    CHECK_EQ(alarms, 1);
    CHECK_EQ(alarm_info.si_code, SI_KERNEL);
    REQUIRE_OK(getitimer(ITIMER_REAL, &old));
    CHECK_EQ(old.it_value.tv_sec + old.it_value.tv_usec, 0);
    timer = (struct itimerval){{0, 5000}, {0, 5000}};  // periodic
    REQUIRE_OK(setitimer(ITIMER_REAL, &timer, NULL));
    wait_for_alarms(5);
    CHECK(alarms >= 5);
    timer = (struct itimerval){{0, 0}, {0, 0}};
    REQUIRE_OK(setitimer(ITIMER_REAL, &timer, &old));
    CHECK_EQ(old.it_interval.tv_usec, 5000);
    int count = alarms;
    sleep_ns(30 * MS);
    CHECK_EQ(alarms, count);
    CHECK_ERRNO(setitimer(9, &timer, NULL), EINVAL);
    timer.it_value.tv_usec = 1000000;
    CHECK_ERRNO(setitimer(ITIMER_REAL, &timer, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_setitimer, ITIMER_REAL, (void *)8, NULL), EFAULT);
#ifdef SYS_alarm
    CHECK_EQ(syscall(SYS_alarm, 100), 0);
    CHECK_RANGE(syscall(SYS_alarm, 0), 99, 100);
#endif
}

static void burn(uint64_t ns)
{
    uint64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID), wall = now_ns(CLOCK_MONOTONIC);
    volatile unsigned x = 0;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) - start < ns && now_ns(CLOCK_MONOTONIC) - wall < LATE)
        x++;
}

TEST(setitimer_prof_and_virtual)
{
    static const struct {
        int which, signal;
    } kinds[] = {{ITIMER_PROF, SIGPROF}, {ITIMER_VIRTUAL, SIGVTALRM}};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        install(kinds[i].signal);
        struct itimerval timer = {{0, 10000}, {0, 10000}};
        REQUIRE_OK(setitimer(kinds[i].which, &timer, NULL));
        burn(200 * MS);
        for (int round = 0; round < 10000 && alarms < 2; round++)  // user time may grow slowly
            for (volatile int x = 0; x < 10000; x++) {
            }
        timer = (struct itimerval){{0, 0}, {0, 0}};
        REQUIRE_OK(setitimer(kinds[i].which, &timer, NULL));
        CHECK(alarms >= 2);
        int count = alarms;
        burn(30 * MS);
        CHECK_EQ(alarms, count);
    }
}

struct raw_event {  // struct sigevent as the kernel reads it
    union sigval value;
    int signal, notify;
    int tid;
    char rest[44];
};

static int make_timer(clockid_t clock, struct raw_event *event, int *id)
{
    return (int)syscall(SYS_timer_create, clock, event, id);
}

TEST(timer_create_signals_the_process)
{
    install(SIGRTMIN + 4);
    struct raw_event event = {
        .value.sival_int = 321, .signal = SIGRTMIN + 4, .notify = SIGEV_SIGNAL};
    int id = -1;
    REQUIRE_OK(make_timer(CLOCK_MONOTONIC, &event, &id));
    struct itimerspec when = {.it_value = {0, 10000000}}, now;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    REQUIRE_OK(syscall(SYS_timer_settime, id, 0, &when, NULL));
    REQUIRE_OK(syscall(SYS_timer_gettime, id, &now));
    CHECK_RANGE(now.it_value.tv_nsec, 0, 10000000);
    wait_for_alarms(1);
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10 * MS);
    CHECK_EQ(alarms, 1);
    CHECK_EQ(alarm_info.si_code, SI_TIMER);
    CHECK_EQ(alarm_info.si_value.sival_int, 321);
    REQUIRE_OK(syscall(SYS_timer_gettime, id, &now));
    CHECK_EQ(now.it_value.tv_sec + now.it_value.tv_nsec, 0);
    CHECK_OK(syscall(SYS_timer_delete, id));
    CHECK_ERRNO(syscall(SYS_timer_delete, id), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_settime, id, 0, &when, NULL), EINVAL);
}

TEST(timer_create_periodic_and_overrun)
{
    install(SIGRTMIN + 4);
    struct raw_event event = {.signal = SIGRTMIN + 4, .notify = SIGEV_SIGNAL};
    int id = -1;
    REQUIRE_OK(make_timer(CLOCK_MONOTONIC, &event, &id));
    struct itimerspec when = {{0, 2000000}, {0, 2000000}}, old;
    REQUIRE_OK(syscall(SYS_timer_settime, id, 0, &when, NULL));
    wait_for_alarms(5);
    CHECK(alarms >= 5);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    sigprocmask(SIG_BLOCK, &set, NULL);
    alarms = 0;
    sleep_ns(50 * MS);
    siginfo_t info;
    CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 4);  // one signal stands for many
    CHECK(info.si_overrun >= 5);
    CHECK(syscall(SYS_timer_getoverrun, id) >= 5);
    when = (struct itimerspec){{0, 0}, {0, 0}};
    REQUIRE_OK(syscall(SYS_timer_settime, id, 0, &when, &old));
    CHECK_EQ(old.it_interval.tv_nsec, 2000000);
    CHECK_OK(syscall(SYS_timer_delete, id));
}

static __thread int alarms_of_thread;
static volatile int target_alarms, target_tid;

static void on_thread_alarm(int signal)
{
    (void)signal;
    alarms_of_thread++;
}

static void *be_target(void *argument)
{
    (void)argument;
    __atomic_store_n(&target_tid, my_tid(), __ATOMIC_SEQ_CST);
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    while (alarms_of_thread < 3 && now_ns(CLOCK_MONOTONIC) - start < LATE)
        sleep_ns(MS);
    target_alarms = alarms_of_thread;
    return NULL;
}

TEST(timer_create_signals_one_thread)
{
    struct sigaction action = {.sa_handler = on_thread_alarm, .sa_flags = SA_RESTART};
    REQUIRE_OK(sigaction(SIGPROF, &action, NULL));
    pthread_t thread;
    target_tid = target_alarms = alarms_of_thread = 0;
    REQUIRE(pthread_create(&thread, NULL, be_target, NULL) == 0);
    while (!__atomic_load_n(&target_tid, __ATOMIC_SEQ_CST))
        sched_yield();
    struct raw_event event = {
        .signal = SIGPROF, .notify = 4 /* SIGEV_THREAD_ID */, .tid = target_tid};
    int id = -1;
    REQUIRE_OK(make_timer(CLOCK_MONOTONIC, &event, &id));
    struct itimerspec when = {{0, 5000000}, {0, 5000000}};
    REQUIRE_OK(syscall(SYS_timer_settime, id, 0, &when, NULL));
    pthread_join(thread, NULL);
    CHECK_OK(syscall(SYS_timer_delete, id));
    CHECK(target_alarms >= 3);
    CHECK_EQ(alarms_of_thread, 0);
    event.tid = 0x3ffffff0;
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, &event, &id), EINVAL);
}

TEST(timer_on_thread_cpu_time)
{
    install(SIGPROF);
    struct raw_event event = {.signal = SIGPROF, .notify = 4, .tid = my_tid()};
    int id = -1;
    REQUIRE_OK(make_timer(CLOCK_THREAD_CPUTIME_ID, &event, &id));
    struct itimerspec when = {{0, 10000000}, {0, 10000000}};
    REQUIRE_OK(syscall(SYS_timer_settime, id, 0, &when, NULL));
    burn(150 * MS);
    CHECK(alarms >= 2);
    CHECK_OK(syscall(SYS_timer_delete, id));
}

TEST(timer_none_and_absolute)
{
    struct raw_event event = {.notify = SIGEV_NONE};
    int id = -1;
    REQUIRE_OK(make_timer(CLOCK_MONOTONIC, &event, &id));
    uint64_t deadline = now_ns(CLOCK_MONOTONIC) + 10 * SEC;
    struct itimerspec when = {.it_value = {(time_t)(deadline / SEC), (long)(deadline % SEC)}}, now;
    REQUIRE_OK(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &when, NULL));
    REQUIRE_OK(syscall(SYS_timer_gettime, id, &now));
    CHECK_RANGE(now.it_value.tv_sec, 1, 10);
    CHECK_OK(syscall(SYS_timer_delete, id));
    CHECK_ERRNO(make_timer(99, &event, &id), EINVAL);
    event.notify = 77;
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, &event, &id), EINVAL);
    event = (struct raw_event){.notify = SIGEV_SIGNAL, .signal = 99};
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, &event, &id), EINVAL);
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, (void *)8, &id), EFAULT);
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, NULL, (void *)8), EFAULT);
}

TEST(timers_count_as_queued_signals)
{
    struct raw_event event = {.signal = SIGRTMIN + 4, .notify = SIGEV_SIGNAL};
    struct rlimit old, none;
    int id = -1;
    REQUIRE_OK(getrlimit(RLIMIT_SIGPENDING, &old));
    none = (struct rlimit){0, old.rlim_max};
    REQUIRE_OK(setrlimit(RLIMIT_SIGPENDING, &none));
    CHECK_ERRNO(make_timer(CLOCK_MONOTONIC, &event, &id), EAGAIN);
    REQUIRE_OK(setrlimit(RLIMIT_SIGPENDING, &old));
    for (int i = 0; i < 200; i++) {  // deleting gives the place back
        REQUIRE_OK(make_timer(CLOCK_MONOTONIC, &event, &id));
        REQUIRE_OK(syscall(SYS_timer_delete, id));
    }
}

TEST(timerfd_counts_expirations)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    REQUIRE(fd >= 0);
    uint64_t count;
    CHECK_ERRNO(read(fd, &count, 8), EAGAIN);
    struct itimerspec when = {{0, 3000000}, {0, 3000000}}, now;
    CHECK_OK(timerfd_settime(fd, 0, &when, NULL));
    struct pollfd poller = {fd, POLLIN, 0};
    CHECK_EQ(poll(&poller, 1, 20000), 1);
    CHECK_EQ(poller.revents, POLLIN);
    sleep_ns(30 * MS);
    CHECK_EQ(read(fd, &count, 8), 8);
    CHECK_RANGE(count, 10, 1 << 20);
    CHECK_ERRNO(read(fd, &count, 4), EINVAL);
    CHECK_OK(timerfd_gettime(fd, &now));
    CHECK_EQ(now.it_interval.tv_nsec, 3000000);
    when = (struct itimerspec){{0, 0}, {0, 0}};
    CHECK_OK(timerfd_settime(fd, 0, &when, &now));
    sleep_ns(10 * MS);
    CHECK_ERRNO(read(fd, &count, 8), EAGAIN);
    CHECK_ERRNO(write(fd, &count, 8), EINVAL);
    close(fd);
}

TEST(timerfd_blocking_and_absolute)
{
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    REQUIRE(fd >= 0);
    uint64_t deadline = now_ns(CLOCK_REALTIME) + 30 * MS, count = 0;
    struct itimerspec when = {.it_value = {(time_t)(deadline / SEC), (long)(deadline % SEC)}};
    CHECK_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
    CHECK_EQ(read(fd, &count, 8), 8);
    CHECK_EQ(count, 1);
    CHECK(now_ns(CLOCK_REALTIME) >= deadline);
    close(fd);
    CHECK_ERRNO(timerfd_create(99, 0), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 0x10), EINVAL);
    CHECK_ERRNO(timerfd_settime(0, 0, &when, NULL), EINVAL);
    CHECK_ERRNO(timerfd_settime(9999, 0, &when, NULL), EBADF);
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    when.it_value.tv_nsec = 1000000000;
    CHECK_ERRNO(timerfd_settime(fd, 0, &when, NULL), EINVAL);
    CHECK_ERRNO(timerfd_settime(fd, 0x10, &when, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_timerfd_settime, fd, 0, (void *)8, NULL), EFAULT);
    close(fd);
}

TEST(poll_family_timeouts)
{
    int epoll = epoll_create1(0);
    struct epoll_event event;
    struct timespec wait_time = {0, 20000000};
    struct timeval select_time = {0, 20000};
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(poll(NULL, 0, 20), 0);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, LATE);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(epoll_wait(epoll, &event, 1, 20), 0);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, LATE);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(ppoll(NULL, 0, &wait_time, NULL), 0);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, LATE);
    start = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(select(0, NULL, NULL, NULL, &select_time), 0);
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - start, 20 * MS, LATE);
    CHECK_EQ(poll(NULL, 0, 0), 0);
    CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
    close(epoll);
}

static void *sleeper(void *argument)
{
    uint64_t ns = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < 10; i++) {
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        sleep_ns(ns);
        if (now_ns(CLOCK_MONOTONIC) - start < ns)
            FAIL("a sleep of %llu ns was early", (unsigned long long)ns);
    }
    return NULL;
}

TEST(many_sleepers)
{
    enum { N = 40 };
    pthread_t ids[N];
    for (uintptr_t i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, sleeper, (void *)((i + 1) * 300000)) == 0);
    for (int i = 0; i < N; i++)
        pthread_join(ids[i], NULL);
}

TEST(times_and_getrusage_count_time)
{
    struct tms tms;
    struct rusage usage;
    CHECK(times(&tms) != (clock_t)-1);
    REQUIRE_OK(getrusage(RUSAGE_SELF, &usage));
    uint64_t before = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    burn(80 * MS);
    REQUIRE_OK(getrusage(RUSAGE_SELF, &usage));
    uint64_t after = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    CHECK(after - before >= 40000);
    CHECK_OK(getrusage(RUSAGE_THREAD, &usage));
    CHECK_OK(getrusage(RUSAGE_CHILDREN, &usage));
    CHECK_ERRNO(syscall(SYS_getrusage, 77, &usage), EINVAL);
    CHECK_ERRNO(syscall(SYS_getrusage, RUSAGE_SELF, (void *)8), EFAULT);
    CHECK(usage.ru_maxrss >= 0);
}

// ---- setting the clock: only in the guest, whose clock is its own

static void set_clock_forward(int64_t ns)
{
    uint64_t to = now_ns(CLOCK_REALTIME) + (uint64_t)ns;
    struct timespec at = {(time_t)(to / SEC), (long)(to % SEC)};
    CHECK_OK(clock_settime(CLOCK_REALTIME, &at));
}

static struct timespec real_after(uint64_t ns)
{
    uint64_t at = now_ns(CLOCK_REALTIME) + ns;
    return (struct timespec){(time_t)(at / SEC), (long)(at % SEC)};
}

static volatile int woken_by_clock, waiters_ready;

static void *sleep_until_real(void *argument)
{
    struct timespec when = *(struct timespec *)argument;
    __atomic_add_fetch(&waiters_ready, 1, __ATOMIC_SEQ_CST);
    CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, NULL), 0);
    CHECK(now_ns(CLOCK_REALTIME) >= (uint64_t)when.tv_sec * SEC);
    __atomic_add_fetch(&woken_by_clock, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *wait_until_real(void *argument)
{
    struct timespec when = *(struct timespec *)argument;
    int word = 0;
    __atomic_add_fetch(&waiters_ready, 1, __ATOMIC_SEQ_CST);
    CHECK_ERRNO(syscall(SYS_futex, &word, 9 | 128 | 256 /* WAIT_BITSET, private, real time */, 0,
                        &when, NULL, ~0u),
                ETIMEDOUT);
    __atomic_add_fetch(&woken_by_clock, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *sleep_relative(void *argument)
{
    (void)argument;
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    struct timespec length = {0, 400 * MS};
    __atomic_add_fetch(&waiters_ready, 1, __ATOMIC_SEQ_CST);
    CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, 0, &length, NULL), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 400 * MS);  // relative: the clock has no say
    return NULL;
}

TEST(setting_the_clock_moves_those_who_wait_for_a_time_of_day)
{
    if (!in_lethe())
        SKIP("it would set the clock of the host");
    uint64_t began = now_ns(CLOCK_MONOTONIC);
    install(SIGRTMIN + 4);
    struct timespec hour = real_after(3600 * SEC);
    struct raw_event event = {.signal = SIGRTMIN + 4, .notify = SIGEV_SIGNAL};
    struct itimerspec when = {.it_value = hour}, left;
    int absolute, relative, fd = timerfd_create(CLOCK_REALTIME, 0);
    REQUIRE_OK(make_timer(CLOCK_REALTIME, &event, &absolute));
    REQUIRE_OK(syscall(SYS_timer_settime, absolute, TIMER_ABSTIME, &when, NULL));
    REQUIRE_OK(make_timer(CLOCK_REALTIME, &event, &relative));
    left = (struct itimerspec){.it_value = {3600, 0}};
    REQUIRE_OK(syscall(SYS_timer_settime, relative, 0, &left, NULL));
    REQUIRE_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
    pthread_t ids[3];
    woken_by_clock = waiters_ready = 0;
    REQUIRE(pthread_create(&ids[0], NULL, sleep_until_real, &hour) == 0);
    REQUIRE(pthread_create(&ids[1], NULL, wait_until_real, &hour) == 0);
    REQUIRE(pthread_create(&ids[2], NULL, sleep_relative, NULL) == 0);
    while (waiters_ready < 3)
        sched_yield();
    sleep_ns(30 * MS);
    set_clock_forward(1800 * SEC);  // half the way: nobody may come
    sleep_ns(50 * MS);
    CHECK_EQ(woken_by_clock + alarms, 0);
    REQUIRE_OK(syscall(SYS_timer_gettime, absolute, &left));
    CHECK_RANGE(left.it_value.tv_sec, 1700, 1800);
    REQUIRE_OK(syscall(SYS_timer_gettime, relative, &left));
    CHECK_RANGE(left.it_value.tv_sec, 3500, 3600);
    set_clock_forward(-600 * (int64_t)SEC);
    REQUIRE_OK(syscall(SYS_timer_gettime, absolute, &left));
    CHECK_RANGE(left.it_value.tv_sec, 2300, 2400);
    set_clock_forward(2401 * SEC);
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    CHECK_EQ(woken_by_clock, 2);
    wait_for_alarms(1);
    CHECK_EQ(alarms, 1);
    uint64_t count = 0;
    CHECK_EQ(read(fd, &count, 8), 8);
    CHECK_EQ(count, 1);
    close(fd);
    CHECK_OK(syscall(SYS_timer_delete, absolute));
    CHECK_OK(syscall(SYS_timer_delete, relative));
    set_clock_forward(-3600 * (int64_t)SEC - (int64_t)SEC);
    CHECK(now_ns(CLOCK_MONOTONIC) - began < 60 * SEC);  // the monotonic clock has not jumped
}
