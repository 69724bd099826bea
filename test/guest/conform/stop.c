// SPDX-License-Identifier: BSD-2-Clause
// Stopping and continuing a process, and what that does to its waiting calls. Each test forks a child and plays the
// shell. Sources: signal(7), "Interruption of system calls"; waitpid(2); restart_syscall(2).
#include "harness.h"

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

#define LONG_ENOUGH (40 * MS)  // for the child to be in its call

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int exit_status_of(pid_t child)
{
    int status;
    return waitpid(child, &status, 0) == child ? exit_code(status) : -1;
}

// Returns the exit code when the child has ended already: a loaded machine may be that slow. Else -1.
static int stop_and_continue(pid_t child)
{
    int status;
    REQUIRE_OK(kill(child, SIGSTOP));
    REQUIRE(waitpid(child, &status, WUNTRACED) == child);
    if (!WIFSTOPPED(status))
        return exit_code(status);
    CHECK_EQ(WSTOPSIG(status), SIGSTOP);
    sleep_ns(LONG_ENOUGH);
    REQUIRE_OK(kill(child, SIGCONT));
    REQUIRE(waitpid(child, &status, WCONTINUED) == child);
    CHECK(WIFCONTINUED(status));
    sleep_ns(LONG_ENOUGH);
    return -1;
}

// The child runs one waiting call of 300 ms, is stopped twice meanwhile, and must not notice.
static void is_not_disturbed(const char *name, bool (*call)(void))
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        bool right = call();
        _exit(!right ? 2 : now_ns(CLOCK_MONOTONIC) - start < 300 * MS ? 3 : 0);
    }
    sleep_ns(LONG_ENOUGH);
    int status = stop_and_continue(child);
    if (status == -1)
        status = stop_and_continue(child);
    if (status == -1)
        status = exit_status_of(child);
    if (status != 0)
        FAIL("%s: exit status %d, want 0 (2: its result, 3: too short)", name, status);
}

static const struct timespec wait_time = {0, 300 * MS};

static bool wait_on_futex(void)
{
    int word = 0;
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &wait_time, NULL, 0) == -1 &&
           errno == ETIMEDOUT;
}

static bool wait_until_futex(void)
{
    struct timespec deadline;
    int word = 0;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    uint64_t ns = (uint64_t)deadline.tv_nsec + 300 * MS;
    deadline = (struct timespec){deadline.tv_sec + (time_t)(ns / SEC), (long)(ns % SEC)};
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &deadline, NULL, ~0u) == -1 &&
           errno == ETIMEDOUT;
}

static bool sleep_300(void) { return syscall(SYS_nanosleep, &wait_time, NULL) == 0; }

static bool poll_300(void) { return poll(NULL, 0, 300) == 0; }

static bool nobody_called;

static void never_called(int signal)
{
    (void)signal;
    nobody_called = false;
}

static bool sleep_through_ignored_signals(void)
{
    nobody_called = true;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, never_called);
    for (int i = 0; i < 3; i++)
        kill(getpid(), SIGUSR1);
    return sleep_300() && nobody_called;
}

TEST(waiting_calls_survive_stops)
{
    is_not_disturbed("futex with a relative timeout", wait_on_futex);
    is_not_disturbed("futex with an absolute timeout", wait_until_futex);
    is_not_disturbed("nanosleep", sleep_300);
    is_not_disturbed("poll", poll_300);
    is_not_disturbed("nanosleep with ignored signals", sleep_through_ignored_signals);
}

static volatile int *counter;  // shared with the child

static void *count_up(void *argument)
{
    for (;;)
        __atomic_add_fetch(&counter[(uintptr_t)argument * 16], 1, __ATOMIC_RELAXED);
    return NULL;
}

// Creates threads without end: one that is born while its process stops must stop too.
static void *create_threads(void *argument)
{
    (void)argument;
    for (;;) {
        pthread_t id;
        if (pthread_create(&id, NULL, (void *(*)(void *))(void *)my_tid, NULL) == 0)
            pthread_join(id, NULL);
        __atomic_add_fetch(&counter[48], 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

TEST(a_stop_stops_all_threads)
{
    counter =
        (volatile int *)map_with(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        pthread_t id;
        for (uintptr_t i = 0; i < 3; i++)
            pthread_create(&id, NULL, count_up, (void *)i);
        create_threads(NULL);
    }
    for (int round = 0; round < 10; round++) {
        int status, before[4];
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < 4; i++)
            before[i] = counter[i * 16];
        while ((counter[0] == before[0] || counter[48] == before[3]) &&
               now_ns(CLOCK_MONOTONIC) - start < 10 * SEC)
            sleep_ns(MS);
        REQUIRE_OK(kill(child, SIGSTOP));
        REQUIRE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        for (int i = 0; i < 4; i++)
            before[i] = counter[i * 16];
        sleep_ns(5 * MS);
        for (int i = 0; i < 4; i++)
            CHECK_EQ(counter[i * 16], before[i]);
        REQUIRE_OK(kill(child, SIGCONT));
        REQUIRE(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
    }
    kill(child, SIGKILL);
    CHECK_EQ(exit_status_of(child), 1000 + SIGKILL);
}

TEST(a_stopped_process_can_be_killed)
{
    for (int sig = SIGKILL; sig; sig = sig == SIGKILL ? SIGTERM : 0) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0)
            for (;;)
                pause();
        int status;
        REQUIRE_OK(kill(child, SIGSTOP));
        REQUIRE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        REQUIRE_OK(kill(child, sig));
        if (sig != SIGKILL) {
            sleep_ns(60 * MS);
            CHECK_EQ(waitpid(child, &status, WNOHANG), 0);  // it waits for SIGCONT
            REQUIRE_OK(kill(child, SIGCONT));
        }
        CHECK_EQ(exit_status_of(child), 1000 + sig);
    }
}

// ---- signals for a process whose threads come and go

static volatile int handled, leave_now;

static void count_handled(int signal)
{
    (void)signal;
    __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static void *leave_when_told(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&leave_now, __ATOMIC_SEQ_CST)) {
    }
    return NULL;
}

static void *sleep_until_handled(void *argument)
{
    (void)argument;
    for (int i = 0; i < 50 && !handled; i++)
        sleep_ns(SEC / 10);  // a signal that wakes nobody would be seen that late
    return NULL;
}

TEST(a_signal_outlives_the_thread_that_was_to_take_it)
{
    struct sigaction action = {.sa_handler = count_handled};
    REQUIRE_OK(sigaction(SIGUSR1, &action, NULL));
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    uint64_t worst = 0;
    for (int round = 0; round < 60; round++) {
        pthread_t leaver, sleeper;
        handled = leave_now = 0;
        REQUIRE(pthread_create(&leaver, NULL, leave_when_told, NULL) == 0);
        REQUIRE(pthread_create(&sleeper, NULL, sleep_until_handled, NULL) == 0);
        pthread_sigmask(SIG_BLOCK, &usr1, NULL);
        uint64_t start = now_ns(CLOCK_MONOTONIC);
        if (round & 1)
            sched_yield();
        __atomic_store_n(&leave_now, 1, __ATOMIC_SEQ_CST);
        for (volatile int i = 0; i < round * 50; i++) {
        }
        REQUIRE_OK(kill(getpid(), SIGUSR1));
        while (!handled && now_ns(CLOCK_MONOTONIC) - start < 4 * SEC)
            sched_yield();
        uint64_t took = now_ns(CLOCK_MONOTONIC) - start;
        worst = took > worst ? took : worst;
        CHECK_EQ(handled, 1);
        pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
        pthread_join(leaver, NULL);
        pthread_kill(sleeper, SIGUSR1);
        pthread_join(sleeper, NULL);
    }
    harness_note("the latest signal took %llu us", (unsigned long long)worst / 1000);
}
