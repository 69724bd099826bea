// SPDX-License-Identifier: BSD-2-Clause
// poll, ppoll, select, pselect6 and epoll. Sources: poll(2), select(2), epoll(7), epoll_ctl(2), epoll_wait(2).
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>

static int pipe_fds[2];

static void open_pipe(void) { REQUIRE_OK(pipe2(pipe_fds, O_NONBLOCK)); }

static void close_pipe(void) { close(pipe_fds[0]), close(pipe_fds[1]); }

static int events_of(int fd, int wanted)
{
    struct pollfd poller = {fd, (short)wanted, -1};
    int n = poll(&poller, 1, 0);
    CHECK_EQ(n, poller.revents != 0);
    return poller.revents;
}

TEST(poll_events_of_a_pipe)
{
    open_pipe();
    CHECK_EQ(events_of(pipe_fds[0], POLLIN | POLLOUT), 0);
    CHECK_EQ(events_of(pipe_fds[1], POLLIN | POLLOUT), POLLOUT);
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
    CHECK_EQ(events_of(pipe_fds[0], POLLIN), POLLIN);
    CHECK_EQ(events_of(pipe_fds[0], POLLRDNORM), POLLRDNORM);
    CHECK_EQ(events_of(pipe_fds[0], 0), 0);
    close(pipe_fds[1]);
    CHECK_EQ(events_of(pipe_fds[0], POLLIN), POLLIN | POLLHUP);
    CHECK_EQ(events_of(pipe_fds[0], 0), POLLHUP);
    close(pipe_fds[0]);
    open_pipe();
    close(pipe_fds[0]);
    CHECK_EQ(events_of(pipe_fds[1], POLLOUT), POLLOUT | POLLERR);
    close(pipe_fds[1]);
}

TEST(poll_of_other_things)
{
    CHECK_EQ(events_of(9999, POLLIN), POLLNVAL);
    CHECK_EQ(events_of(-1, POLLIN), 0);
    int null = open("/dev/null", O_RDWR);
    CHECK_EQ(events_of(null, POLLIN | POLLOUT), POLLIN | POLLOUT);
    close(null);
    int fd = new_file("f", 0, 0);
    CHECK_EQ(events_of(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);  // files are always ready
    close(fd);
    unlink("f");
}

TEST(poll_errors)
{
    struct pollfd poller = {0, 0, 0};
    CHECK_ERRNO(syscall(SYS_ppoll, (void *)8, 1, NULL, NULL, 8), EFAULT);
    struct timespec bad = {0, 1000000000};
    CHECK_ERRNO(syscall(SYS_ppoll, &poller, 1, &bad, NULL, 8), EINVAL);
    struct rlimit limit;
    REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
    CHECK_ERRNO(poll(&poller, limit.rlim_cur + 1, 0), EINVAL);
    uint64_t set = 0;
    CHECK_ERRNO(syscall(SYS_ppoll, &poller, 1, NULL, &set, 4), EINVAL);
}

TEST(poll_many)
{
    enum { N = 300 };
    struct pollfd pollers[N];
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = eventfd(i % 7 == 0, EFD_NONBLOCK);
        REQUIRE(fds[i] >= 0);
        pollers[i] = (struct pollfd){fds[i], POLLIN, 0};
    }
    CHECK_EQ(poll(pollers, N, 1000), 43);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(pollers[i].revents, i % 7 == 0 ? POLLIN : 0);
        close(fds[i]);
    }
}

static void *write_soon(void *argument)
{
    sleep_ns(30 * MS);
    CHECK_EQ(write(*(int *)argument, "x", 1), 1);
    return NULL;
}

TEST(poll_wakes_up)
{
    open_pipe();
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, write_soon, &pipe_fds[1]) == 0);
    struct pollfd poller = {pipe_fds[0], POLLIN, 0};
    CHECK_EQ(poll(&poller, 1, 20000), 1);
    CHECK_EQ(poller.revents, POLLIN);
    pthread_join(id, NULL);
    close_pipe();
}

static volatile int signalled;

static void on_signal(int signal) { signalled = signal; }

TEST(ppoll_swaps_the_mask)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t blocked, none;
    sigemptyset(&none), sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signalled = 0;
    raise(SIGUSR1);
    CHECK_EQ(signalled, 0);
    struct timespec second = {5, 0};
    CHECK_ERRNO(ppoll(NULL, 0, &second, &none), EINTR);
    CHECK_EQ(signalled, SIGUSR1);
    signalled = 0;
    raise(SIGUSR1);
    CHECK_EQ(signalled, 0);  // blocked again
    CHECK_ERRNO(pselect(0, NULL, NULL, NULL, &second, &none), EINTR);
    CHECK_EQ(signalled, SIGUSR1);
    signalled = 0;
    raise(SIGUSR1);
    int epoll = epoll_create1(0);
    struct epoll_event event;
    CHECK_ERRNO(epoll_pwait(epoll, &event, 1, 5000, &none), EINTR);
    CHECK_EQ(signalled, SIGUSR1);
    close(epoll);
}

TEST(select_sets)
{
    open_pipe();
    fd_set in, out, error;
    struct timeval zero = {0, 0};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&error);
    FD_SET(pipe_fds[0], &in);
    FD_SET(pipe_fds[1], &out);
    int n = (pipe_fds[0] > pipe_fds[1] ? pipe_fds[0] : pipe_fds[1]) + 1;
    CHECK_EQ(select(n, &in, &out, &error, &zero), 1);
    CHECK(!FD_ISSET(pipe_fds[0], &in) && FD_ISSET(pipe_fds[1], &out));
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
    FD_SET(pipe_fds[0], &in);
    CHECK_EQ(select(n, &in, NULL, NULL, &zero), 1);
    CHECK(FD_ISSET(pipe_fds[0], &in));
    FD_ZERO(&in);
    FD_SET(40, &in);  // not open
    CHECK_ERRNO(select(41, &in, NULL, NULL, &zero), EBADF);
    CHECK_ERRNO(select(-1, NULL, NULL, NULL, &zero), EINVAL);
    CHECK_ERRNO(syscall(SYS_pselect6, 0, NULL, NULL, NULL, (struct timespec[]){{0, -1}}, NULL),
                EINVAL);
    CHECK_ERRNO(syscall(SYS_pselect6, 8, (void *)8, NULL, NULL, NULL, NULL), EFAULT);
    close_pipe();
}

TEST(select_leaves_the_time_that_was_left)
{
    open_pipe();
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
    fd_set in;
    FD_ZERO(&in);
    FD_SET(pipe_fds[0], &in);
#ifdef SYS_select
    struct timeval limit = {100, 0};
    CHECK_EQ(syscall(SYS_select, pipe_fds[0] + 1, &in, NULL, NULL, &limit), 1);
    CHECK_RANGE(limit.tv_sec, 50, 100);
#endif
    close_pipe();
}

// ---- epoll ----

static int new_epoll(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    REQUIRE(epoll >= 0);
    return epoll;
}

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    REQUIRE_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static void modify(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    REQUIRE_OK(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
}

static int ready(int epoll, struct epoll_event *event)
{
    memset(event, 0, sizeof *event);
    return epoll_wait(epoll, event, 1, 0);
}

TEST(epoll_errors)
{
    int epoll = new_epoll(), fd = eventfd(0, 0);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_ERRNO(epoll_create1(1), EINVAL);
#ifdef SYS_epoll_create
    CHECK_ERRNO(syscall(SYS_epoll_create, 0), EINVAL);
    int old = (int)syscall(SYS_epoll_create, 1);
    CHECK(old >= 0);
    close(old);
#endif
    CHECK_ERRNO(epoll_ctl(epoll, 99, fd, &event), EINVAL);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event), ENOENT);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event), ENOENT);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event), EINVAL);
    CHECK_ERRNO(epoll_ctl(9999, EPOLL_CTL_ADD, fd, &event), EBADF);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, 9999, &event), EBADF);
    CHECK_ERRNO(epoll_ctl(fd, EPOLL_CTL_ADD, epoll, &event), EINVAL);
    CHECK_ERRNO(syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, (void *)8), EFAULT);
    int file = new_file("f", 0, 0);
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event), EPERM);
    close(file);
    unlink("f");
    CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), EEXIST);
    CHECK_ERRNO(epoll_wait(epoll, &event, 0, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(epoll, &event, -1, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(fd, &event, 1, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(9999, &event, 1, 0), EBADF);
    uint64_t one = 1;
    CHECK_EQ(write(fd, &one, 8), 8);
    CHECK_ERRNO(epoll_pwait(epoll, (void *)8, 1, 0, NULL), EFAULT);
    close(fd), close(epoll);
}

TEST(epoll_level_triggered)
{
    open_pipe();
    int epoll = new_epoll();
    struct epoll_event event;
    add(epoll, pipe_fds[0], EPOLLIN, 0x1122334455667788);
    CHECK_EQ(ready(epoll, &event), 0);
    CHECK_EQ(write(pipe_fds[1], "ab", 2), 2);
    for (int i = 0; i < 3; i++) {  // again and again until it is read
        CHECK_EQ(ready(epoll, &event), 1);
        CHECK_EQ(event.events, EPOLLIN);
        CHECK_EQ(event.data.u64, 0x1122334455667788);
    }
    char c;
    CHECK_EQ(read(pipe_fds[0], &c, 1), 1);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(read(pipe_fds[0], &c, 1), 1);
    CHECK_EQ(ready(epoll, &event), 0);
    close(pipe_fds[1]);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(event.events, EPOLLHUP);
    close(pipe_fds[0]);
    CHECK_EQ(ready(epoll, &event), 0);  // a closed descriptor leaves the set
    close(epoll);
}

TEST(epoll_edge_triggered)
{
    open_pipe();
    int epoll = new_epoll();
    struct epoll_event event;
    add(epoll, pipe_fds[0], EPOLLIN | EPOLLET, 1);
    CHECK_EQ(write(pipe_fds[1], "a", 1), 1);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(ready(epoll, &event), 0);  // once
    CHECK_EQ(write(pipe_fds[1], "b", 1), 1);
    CHECK_EQ(ready(epoll, &event), 1);  // a new edge
    char text[4];
    CHECK_EQ(read(pipe_fds[0], text, 1), 1);
    CHECK_EQ(ready(epoll, &event), 0);  // what remains makes no edge
    modify(epoll, pipe_fds[0], EPOLLIN | EPOLLET, 2);
    CHECK_EQ(ready(epoll, &event), 1);  // arming again reports the state
    CHECK_EQ(event.data.u64, 2);
    close_pipe();
    close(epoll);
}

TEST(epoll_edge_of_adding_something_ready)
{
    int fd = eventfd(1, EFD_NONBLOCK), epoll = new_epoll();
    struct epoll_event event;
    add(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, 9);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(event.events, EPOLLIN | EPOLLOUT);
    CHECK_EQ(ready(epoll, &event), 0);
    close(fd), close(epoll);
}

TEST(epoll_oneshot)
{
    open_pipe();
    int epoll = new_epoll();
    struct epoll_event event;
    add(epoll, pipe_fds[0], EPOLLIN | EPOLLONESHOT, 1);
    CHECK_EQ(write(pipe_fds[1], "a", 1), 1);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(ready(epoll, &event), 0);
    CHECK_EQ(write(pipe_fds[1], "a", 1), 1);
    CHECK_EQ(ready(epoll, &event), 0);  // disarmed
    modify(epoll, pipe_fds[0], EPOLLIN | EPOLLONESHOT, 1);
    CHECK_EQ(ready(epoll, &event), 1);
    close_pipe();
    close(epoll);
}

TEST(epoll_mod_and_del)
{
    open_pipe();
    int epoll = new_epoll();
    struct epoll_event event;
    add(epoll, pipe_fds[1], EPOLLIN, 1);
    CHECK_EQ(ready(epoll, &event), 0);
    modify(epoll, pipe_fds[1], EPOLLOUT, 7);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(event.events, EPOLLOUT);
    CHECK_EQ(event.data.u64, 7);
    modify(epoll, pipe_fds[1], 0, 8);  // errors and hang-ups only
    CHECK_EQ(ready(epoll, &event), 0);
    close(pipe_fds[0]);
    CHECK_EQ(ready(epoll, &event), 1);
    CHECK_EQ(event.events, EPOLLERR);
    CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_DEL, pipe_fds[1], NULL));
    CHECK_EQ(ready(epoll, &event), 0);
    close(pipe_fds[1]), close(epoll);
}

TEST(epoll_follows_the_open_file_not_the_number)
{
    open_pipe();
    int epoll = new_epoll(), copy = dup(pipe_fds[0]);
    struct epoll_event event;
    add(epoll, pipe_fds[0], EPOLLIN, 1);
    add(epoll, copy, EPOLLIN, 2);  // the same file by another number
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
    struct epoll_event two[2];
    CHECK_EQ(epoll_wait(epoll, two, 2, 0), 2);
    close(pipe_fds[0]);
    CHECK_EQ(epoll_wait(epoll, two, 2, 0), 2);  // the file is still open through the copy
    close(copy);
    CHECK_EQ(ready(epoll, &event), 0);
    close(pipe_fds[1]), close(epoll);
}

TEST(epoll_nested)
{
    open_pipe();
    int inner = new_epoll(), outer = new_epoll();
    struct epoll_event event;
    add(inner, pipe_fds[0], EPOLLIN, 1);
    add(outer, inner, EPOLLIN, 2);
    CHECK_EQ(ready(outer, &event), 0);
    CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
    CHECK_EQ(ready(outer, &event), 1);
    CHECK_EQ(event.data.u64, 2);
    struct pollfd poller = {outer, POLLIN, 0};
    CHECK_EQ(poll(&poller, 1, 0), 1);
    struct epoll_event loop = {.events = EPOLLIN};
    CHECK_ERRNO(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &loop), ELOOP);
    close_pipe();
    close(inner), close(outer);
}

TEST(epoll_is_fair)
{
    enum { N = 20 };
    int fds[N], epoll = new_epoll(), seen[N] = {0};
    for (int i = 0; i < N; i++) {
        fds[i] = eventfd(1, 0);
        add(epoll, fds[i], EPOLLIN, (uint64_t)i);
    }
    struct epoll_event events[4];
    for (int round = 0; round < N; round++) {
        int n = epoll_wait(epoll, events, 4, 0);
        CHECK_EQ(n, 4);
        for (int i = 0; i < n; i++)
            seen[events[i].data.u64]++;
    }
    for (int i = 0; i < N; i++) {
        CHECK(seen[i] > 0);  // four at a time, and everybody had a turn
        close(fds[i]);
    }
    close(epoll);
}

TEST(epoll_wakes_a_sleeper)
{
    open_pipe();
    int epoll = new_epoll();
    struct epoll_event event;
    add(epoll, pipe_fds[0], EPOLLIN | EPOLLET, 3);
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, write_soon, &pipe_fds[1]) == 0);
    CHECK_EQ(epoll_wait(epoll, &event, 1, 20000), 1);
    CHECK_EQ(event.data.u64, 3);
    pthread_join(id, NULL);
    close_pipe();
    close(epoll);
}

static int shared_epoll, late_fd;

static void *add_later(void *argument)
{
    (void)argument;
    sleep_ns(30 * MS);
    add(shared_epoll, late_fd, EPOLLIN, 5);
    return NULL;
}

TEST(epoll_sees_what_is_added_while_it_waits)
{
    shared_epoll = new_epoll();
    late_fd = eventfd(1, 0);
    pthread_t id;
    struct epoll_event event;
    REQUIRE(pthread_create(&id, NULL, add_later, NULL) == 0);
    CHECK_EQ(epoll_wait(shared_epoll, &event, 1, 20000), 1);
    CHECK_EQ(event.data.u64, 5);
    pthread_join(id, NULL);
    close(late_fd), close(shared_epoll);
}

static void *delete_later(void *argument)
{
    sleep_ns(30 * MS);
    CHECK_OK(epoll_ctl(shared_epoll, EPOLL_CTL_DEL, *(int *)argument, NULL));
    uint64_t one = 1;
    CHECK_EQ(write(*(int *)argument, &one, 8), 8);  // must not wake the waiter
    return NULL;
}

TEST(epoll_delete_while_another_waits)
{
    shared_epoll = new_epoll();
    int fd = eventfd(0, 0);
    add(shared_epoll, fd, EPOLLIN, 1);
    pthread_t id;
    struct epoll_event event;
    REQUIRE(pthread_create(&id, NULL, delete_later, &fd) == 0);
    CHECK_EQ(epoll_wait(shared_epoll, &event, 1, 200), 0);
    pthread_join(id, NULL);
    close(fd), close(shared_epoll);
}

static volatile int served, stop_serving;

static void *serve(void *argument)
{
    int fd = *(int *)argument;
    struct epoll_event event;
    while (!stop_serving) {
        if (epoll_wait(shared_epoll, &event, 1, 20) != 1)
            continue;
        uint64_t value;
        if (read(fd, &value, 8) == 8)
            __atomic_add_fetch(&served, (int)value, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

TEST(epoll_many_threads_one_set)
{
    enum { N = 4, ROUNDS = 2000 };
    shared_epoll = new_epoll();
    int fd = eventfd(0, EFD_NONBLOCK);
    add(shared_epoll, fd, EPOLLIN | EPOLLET, 1);
    served = stop_serving = 0;
    pthread_t ids[N];
    for (int i = 0; i < N; i++)
        REQUIRE(pthread_create(&ids[i], NULL, serve, &fd) == 0);
    uint64_t one = 1;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(write(fd, &one, 8), 8);
        if (i % 16 == 0)
            sched_yield();
    }
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    while (served < ROUNDS && now_ns(CLOCK_MONOTONIC) - start < 15 * SEC)
        sleep_ns(MS);
    CHECK_EQ(served, ROUNDS);  // no event got lost
    stop_serving = 1;
    for (int i = 0; i < N; i++)
        pthread_join(ids[i], NULL);
    close(fd), close(shared_epoll);
}

TEST(epoll_pwait2_takes_nanoseconds)
{
    int epoll = new_epoll();
    struct epoll_event event;
    struct timespec limit = {0, 10000000};
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    long n = syscall(441, epoll, &event, 1, &limit, NULL, 0);
    if (n == -1 && errno == ENOSYS)
        SKIP("no epoll_pwait2 here");
    CHECK_EQ(n, 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - start >= 10 * MS);
    close(epoll);
}

TEST(epoll_exclusive_rules)
{
    int epoll = new_epoll(), fd = eventfd(0, 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event), EINVAL);
    close(fd);
    fd = eventfd(0, 0);
    event.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    CHECK_ERRNO(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), EINVAL);
    close(fd), close(epoll);
}
