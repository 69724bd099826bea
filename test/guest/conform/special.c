// SPDX-License-Identifier: BSD-2-Clause
// Special files that the other areas do not reach: FIFOs, packet pipes, splice, tee, vmsplice, signalfd,
// pidfds, inotify, the terminal, and what /proc and /sys say about descriptors, threads and knobs.
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>

static short revents_of(int fd, short events)
{
    struct pollfd p = {fd, events, 0};
    return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

// ---- flags that must have an effect

TEST(o_direct_where_it_means_something)
{
    int fd, fds[2];
    CHECK_ERRNO(open("/dev/null", O_RDWR | O_DIRECT), EINVAL);
    CHECK_ERRNO(open("/proc/self/maps", O_RDONLY | O_DIRECT), EINVAL);
    CHECK_ERRNO(open(".", O_RDONLY | O_DIRECT), EINVAL);
    REQUIRE_OK(fd = eventfd(0, 0));
    CHECK_ERRNO(fcntl(fd, F_SETFL, O_DIRECT), EINVAL);
    close(fd);
    REQUIRE_OK(pipe(fds));
    CHECK_OK(fcntl(fds[1], F_SETFL, O_DIRECT));  // packets
    CHECK(fcntl(fds[1], F_GETFL) & O_DIRECT);
    close(fds[0]), close(fds[1]);
}

static volatile int sigio_fd, sigio_code, sigio_seen;
static void on_sigio(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    sigio_fd = info->si_fd;
    sigio_code = info->si_code;
    sigio_seen++;
}

TEST(o_async_sends_a_signal)
{
    int fds[2], fd, on = 1, off = 0;
    char c;
    struct sigaction action = {.sa_sigaction = on_sigio, .sa_flags = SA_SIGINFO}, old, old_rt;
    REQUIRE_OK(sigaction(SIGIO, &action, &old));
    REQUIRE_OK(sigaction(SIGRTMIN + 3, &action, &old_rt));
    REQUIRE_OK(pipe2(fds, O_NONBLOCK));
    sigio_seen = 0;
    CHECK_OK(fcntl(fds[0], F_SETOWN, getpid()));
    CHECK_EQ(write(fds[1], "a", 1), 1);
    CHECK_EQ(sigio_seen, 0);
    CHECK_OK(fcntl(fds[0], F_SETFL, O_NONBLOCK | O_ASYNC));
    CHECK(fcntl(fds[0], F_GETFL) & O_ASYNC);
    CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(write(fds[1], "a", 1), 1);
    CHECK_EQ(sigio_seen, 1);
    CHECK_OK(fcntl(fds[0], F_SETSIG, SIGRTMIN + 3));
    CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(write(fds[1], "b", 1), 1);
    CHECK_EQ(sigio_seen, 2);
    CHECK_EQ(sigio_fd, fds[0]);
    CHECK_EQ(sigio_code, POLL_IN);
    CHECK_OK(ioctl(fds[0], FIOASYNC, &off));
    CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(write(fds[1], "c", 1), 1);
    CHECK_EQ(sigio_seen, 2);
    CHECK_OK(ioctl(fds[0], FIOASYNC, &on));
    close(fds[0]), close(fds[1]);
    REQUIRE_OK(fd = eventfd(0, 0));  // a file that has no such news
    CHECK_ERRNO(ioctl(fd, FIOASYNC, &on), ENOTTY);
    CHECK_OK(fcntl(fd, F_SETFL, O_ASYNC));
    CHECK(!(fcntl(fd, F_GETFL) & O_ASYNC));
    close(fd);
    sigaction(SIGIO, &old, NULL);
    sigaction(SIGRTMIN + 3, &old_rt, NULL);
}

TEST(o_noatime_leaves_the_time)
{
    struct stat st;
    char c;
    int fd = new_file("times", 1, 1);
    struct timespec old[2] = {{1000, 0}, {2000, 0}};  // relatime would update this one
    CHECK_OK(futimens(fd, old));
    close(fd);
    REQUIRE_OK(fd = open("times", O_RDONLY | O_NOATIME));
    CHECK_EQ(read(fd, &c, 1), 1);
    CHECK_OK(fstat(fd, &st));
    CHECK_EQ(st.st_atime, 1000);
    close(fd);
    unlink("times");
}

TEST(inotify_access_and_unlinked_files)
{
    char events[512], c;
    int in, fd;
    REQUIRE_OK(in = inotify_init1(IN_NONBLOCK));
    REQUIRE_OK(mkdir("watched", 0700));
    close(new_file("watched/f", 10, 1));
    CHECK_OK(inotify_add_watch(in, "watched", IN_ACCESS | IN_MODIFY | IN_EXCL_UNLINK));
    REQUIRE_OK(fd = open("watched/f", O_RDWR));
    CHECK_EQ(read(fd, &c, 1), 1);
    CHECK(read(in, events, sizeof events) > 0);
    CHECK_EQ(((struct inotify_event *)events)->mask, IN_ACCESS);
    CHECK_STR(((struct inotify_event *)events)->name, "f");
    CHECK_OK(unlink("watched/f"));
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_ERRNO(read(in, events, sizeof events), EAGAIN);
    close(fd), close(in);
    rmdir("watched");
}

// ---- pipes

TEST(packet_pipe_keeps_writes_apart)
{
    int fds[2];
    char text[16];
    if (pipe2(fds, O_DIRECT | O_NONBLOCK) != 0) {
        CHECK_EQ(errno, EINVAL);
        return;
    }
    CHECK_EQ(write(fds[1], "one", 3), 3);
    CHECK_EQ(write(fds[1], "three", 5), 5);
    CHECK_EQ(read(fds[0], text, sizeof text), 3);
    CHECK_EQ(read(fds[0], text, 2), 2);  // the rest of the packet is lost
    CHECK_ERRNO(read(fds[0], text, sizeof text), EAGAIN);
    close(fds[0]), close(fds[1]);
}

// Bytes go through a pipe whole and in order, whatever way and from whatever address each piece goes in and out:
// small pieces take quick paths, and what these cannot do falls back on the long ones.
TEST(pipe_pieces_of_every_size)
{
    int p[2];
    static unsigned char in[3 * PAGE], out[3 * PAGE];
    unsigned seed = 7, next_in = 0, next_out = 0;
    REQUIRE_OK(pipe2(p, O_NONBLOCK));
    for (int round = 0; round < 2000; round++) {
        size_t n = next_random(&seed) % (round % 3 ? 40 : 2 * PAGE), at = next_random(&seed) % PAGE;
        for (size_t i = 0; i < n; i++)
            in[at + i] = (unsigned char)((next_in + i) * 7);
        struct iovec v[2] = {{in + at, n / 3}, {in + at + n / 3, n - n / 3}};
        ssize_t sent = round & 1 ? write(p[1], in + at, n) : writev(p[1], v, 2);
        if (sent < 0 && errno == EAGAIN)
            sent = 0;
        REQUIRE(sent >= 0 && (size_t)sent <= n);
        next_in += (unsigned)sent;
        n = next_random(&seed) % (round % 5 ? 40 : 2 * PAGE);
        struct iovec w[2] = {{out + at, n / 2}, {out + at + n / 2, n - n / 2}};
        ssize_t got = round & 2 ? read(p[0], out + at, n) : readv(p[0], w, 2);
        if (got < 0 && errno == EAGAIN)
            got = 0;
        REQUIRE(got >= 0 && (size_t)got <= n);
        for (ssize_t i = 0; i < got; i++)
            REQUIRE(out[at + i] == (unsigned char)((next_out + i) * 7));
        next_out += (unsigned)got;
        CHECK_ERRNO(read(p[0], (void *)8, n + 1), next_in == next_out ? EAGAIN : EFAULT);
        int left = -1;
        CHECK_OK(ioctl(p[0], FIONREAD, &left));
        REQUIRE(left == (int)(next_in - next_out));
    }
    CHECK_EQ(read(p[0], out, 0), 0);
    while (read(p[0], out, sizeof out) > 0) {
    }
    CHECK_ERRNO(write(p[1], (void *)8, 5), EFAULT);
    CHECK_ERRNO(write(p[0], in, 1), EBADF);
    CHECK_ERRNO(read(p[1], in, 1), EBADF);
    close(p[0]), close(p[1]);
}

// An eventfd's eight bytes may lie anywhere, across two pages too. A read may ask for more and may be in pieces; each
// piece of a vector that is written counts by itself. (Until Linux 6.9 a write might be longer than eight bytes.)
TEST(eventfd_at_any_address)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    static unsigned char page[2 * PAGE] __attribute__((aligned(4096)));
    REQUIRE(fd >= 0);
    for (unsigned i = 0; i < 16; i++) {
        unsigned char *at = page + PAGE - 8 + i;
        uint64_t value = 0x0102030405060708 + i, got = 0;
        memcpy(at, &value, 8);
        CHECK_EQ(write(fd, at, 8), 8);
        memset(at, 0, 8);
        CHECK_EQ(read(fd, at, 8 + i), 8);
        memcpy(&got, at, 8);
        CHECK_EQ(got, value);
        CHECK_ERRNO(read(fd, at, 8), EAGAIN);
        CHECK_ERRNO(read(fd, at, 7), EINVAL);
        CHECK_ERRNO(write(fd, at, 7), EINVAL);
        struct iovec v[2] = {{at, 3}, {at + 3, 5}}, w[2] = {{at, 8}, {at, 8}};
        CHECK_ERRNO(writev(fd, v, 2), EINVAL);
        CHECK_EQ(writev(fd, w, 2), 16);
        memset(at, 0, 8);
        CHECK_EQ(readv(fd, v, 2), 8);
        memcpy(&got, at, 8);
        CHECK_EQ(got, 2 * value);
    }
    CHECK_ERRNO(write(fd, (void *)8, 8), EFAULT);
    CHECK_ERRNO(write(fd, (void *)UINTPTR_MAX, 8), EFAULT);
    uint64_t most = UINT64_MAX - 1, none = UINT64_MAX;
    CHECK_ERRNO(write(fd, &none, 8), EINVAL);
    CHECK_EQ(write(fd, &most, 8), 8);
    CHECK_ERRNO(write(fd, &(uint64_t){1}, 8), EAGAIN);
    CHECK_EQ(write(fd, &(uint64_t){0}, 8), 8);
    close(fd);
}

TEST(pipe_hang_up)
{
    int fds[2];
    char c;
    REQUIRE_OK(pipe(fds));
    CHECK_EQ(revents_of(fds[0], POLLIN), 0);
    CHECK_EQ(revents_of(fds[1], POLLOUT), POLLOUT);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    close(fds[1]);
    CHECK_EQ(revents_of(fds[0], POLLIN), POLLIN | POLLHUP);
    CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(revents_of(fds[0], POLLIN), POLLHUP);
    CHECK_EQ(read(fds[0], &c, 1), 0);
    close(fds[0]);

    REQUIRE_OK(pipe(fds));
    close(fds[0]);
    CHECK_EQ(revents_of(fds[1], POLLOUT), POLLOUT | POLLERR);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(fds[1], "x", 1), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    close(fds[1]);
}

TEST(pipe_through_proc)
{
    int fds[2];
    char path[64], text[64];
    REQUIRE_OK(pipe(fds));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[1]);
    ssize_t n = readlink(path, text, sizeof text - 1);
    REQUIRE(n > 0);
    text[n] = 0;
    CHECK(strncmp(text, "pipe:[", 6) == 0);
    int again = open(path, O_WRONLY);
    REQUIRE(again >= 0);
    CHECK_EQ(write(again, "hi", 2), 2);
    close(fds[1]);
    CHECK_EQ(read(fds[0], text, 8), 2);
    CHECK_EQ(revents_of(fds[0], POLLIN), 0);  // the second writer is still there
    close(again);
    CHECK_EQ(read(fds[0], text, 8), 0);
    close(fds[0]);
}

static void *open_and_write(void *path)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0) {
        CHECK_EQ(write(fd, "through", 7), 7);
        close(fd);
    }
    return NULL;
}

TEST(fifo_opens_meet)
{
    char text[16];
    pthread_t id;
    unlink("fifo");
    REQUIRE_OK(mkfifo("fifo", 0600));
    CHECK_ERRNO(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    int reader = open("fifo", O_RDONLY | O_NONBLOCK);
    REQUIRE(reader >= 0);
    CHECK_EQ(read(reader, text, 1), 0);       // no writer yet
    CHECK_EQ(revents_of(reader, POLLIN), 0);  // and no hang-up either
    int writer = open("fifo", O_WRONLY | O_NONBLOCK);
    REQUIRE(writer >= 0);
    CHECK_ERRNO(read(reader, text, 1), EAGAIN);
    close(writer);
    CHECK_EQ(revents_of(reader, POLLIN), POLLHUP);
    close(reader);

    REQUIRE(pthread_create(&id, NULL, open_and_write, "fifo") == 0);
    reader = open("fifo", O_RDONLY);  // waits for the writer, or the writer for us
    REQUIRE(reader >= 0);
    CHECK_EQ(read(reader, text, sizeof text), 7);
    CHECK_EQ(read(reader, text, sizeof text), 0);
    pthread_join(id, NULL);
    close(reader);

    int both = open("fifo", O_RDWR);
    REQUIRE(both >= 0);
    CHECK_EQ(write(both, "ab", 2), 2);
    CHECK_EQ(read(both, text, 2), 2);
    close(both);
    unlink("fifo");
}

// ---- splice

TEST(splice_file_pipe_file)
{
    int fds[2], from = new_file("from", 3 * PAGE, 'a'), to = new_file("to", 0, 0);
    char a[3 * PAGE], b[3 * PAGE];
    REQUIRE_OK(pipe(fds));
    REQUIRE_OK(lseek(from, 0, SEEK_SET));
    loff_t off = 100;
    CHECK_EQ(splice(from, &off, fds[1], NULL, 2 * PAGE, 0), 2 * PAGE);
    CHECK_EQ(off, 100 + 2 * PAGE);
    CHECK_EQ(lseek(from, 0, SEEK_CUR), 0);
    CHECK_EQ(splice(fds[0], NULL, to, NULL, 3 * PAGE, 0), 2 * PAGE);
    CHECK_EQ(lseek(to, 0, SEEK_CUR), 2 * PAGE);
    CHECK_EQ(pread(from, a, 2 * PAGE, 100), 2 * PAGE);
    CHECK_EQ(pread(to, b, 3 * PAGE, 0), 2 * PAGE);
    CHECK(memcmp(a, b, 2 * PAGE) == 0);
    CHECK_ERRNO(splice(from, NULL, to, NULL, 10, 0), EINVAL);
    CHECK_ERRNO(splice(fds[0], &off, to, NULL, 10, 0), ESPIPE);
    CHECK_ERRNO(splice(fds[1], NULL, to, NULL, 10, 0), EBADF);
    CHECK_ERRNO(splice(fds[0], NULL, to, NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_EQ(lseek(from, 0, SEEK_END), 3 * PAGE);
    CHECK_EQ(splice(from, NULL, fds[1], NULL, 10, 0), 0);  // end of file
    close(fds[1]);
    CHECK_EQ(splice(fds[0], NULL, to, NULL, 10, 0), 0);
    close(fds[0]), close(from), close(to);
    unlink("from"), unlink("to");
}

TEST(tee_shares_and_vmsplice_fills)
{
    int a[2], b[2];
    char text[64] = {0};
    REQUIRE_OK(pipe(a));
    REQUIRE_OK(pipe(b));
    char hello[] = "hello ";
    struct iovec iov[2] = {{hello, 6}, {"world", 5}};
    CHECK_EQ(vmsplice(a[1], iov, 2, 0), 11);
    CHECK_EQ(tee(a[0], b[1], 5, 0), 5);
    CHECK_EQ(tee(a[0], b[1], 100, 0), 11);
    CHECK_EQ(write(a[1], "!", 1), 1);  // must not show in the copy
    CHECK_EQ(read(b[0], text, sizeof text), 16);
    CHECK(memcmp(text, "hellohello world", 16) == 0);
    CHECK_EQ(splice(a[0], NULL, b[1], NULL, 3, 0), 3);
    CHECK_EQ(read(a[0], text, sizeof text), 9);
    CHECK(memcmp(text, "lo world!", 9) == 0);
    CHECK_EQ(read(b[0], text, sizeof text), 3);
    CHECK(memcmp(text, "hel", 3) == 0);
    CHECK_ERRNO(tee(a[0], a[1], 1, SPLICE_F_NONBLOCK), EINVAL);
    close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

// ---- signalfd

TEST(signalfd_reads_instead_of_delivering)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, &old);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    REQUIRE(fd >= 0);
    struct signalfd_siginfo info[4];
    CHECK_ERRNO(read(fd, info, sizeof info), EAGAIN);
    CHECK_ERRNO(read(fd, info, 8), EINVAL);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    REQUIRE_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
    CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
    CHECK_OK(kill(getpid(), SIGUSR1));
    CHECK_EQ(epoll_wait(epoll, &event, 1, 1000), 1);
    union sigval value = {.sival_int = 77};
    CHECK_OK(sigqueue(getpid(), SIGRTMIN + 1, value));
    CHECK_OK(sigqueue(getpid(), SIGRTMIN + 1, value));
    CHECK_EQ(revents_of(fd, POLLIN), POLLIN);
    CHECK_EQ(read(fd, info, sizeof info), 3 * sizeof info[0]);
    CHECK_EQ(info[0].ssi_signo, SIGUSR1);
    CHECK_EQ(info[0].ssi_pid, getpid());
    CHECK_EQ(info[0].ssi_code, SI_USER);
    CHECK_EQ(info[1].ssi_signo, SIGRTMIN + 1);
    CHECK_EQ(info[2].ssi_int, 77);
    CHECK_EQ(revents_of(fd, POLLIN), 0);
    close(fd), close(epoll);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

// ---- pidfd

TEST(pidfd_of_self)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    REQUIRE(pidfd >= 0);
    CHECK_EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(revents_of(pidfd, POLLIN), 0);
    CHECK_ERRNO(syscall(SYS_pidfd_open, 0, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_open, getpid(), 1), EINVAL);
    CHECK_ERRNO(syscall(SYS_pidfd_open, 4000000, 0), ESRCH);
    int event = eventfd(3, 0);
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, event, 0);
    REQUIRE(copy >= 0);
    uint64_t value = 0;
    CHECK_EQ(read(copy, &value, 8), 8);
    CHECK_EQ(value, 3);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, pidfd, 9999, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_pidfd_getfd, event, 0, 0), EBADF);
    close(pidfd), close(event), close(copy);
}

// ---- inotify

static size_t next_event(int fd, char *buf, size_t size)
{
    ssize_t n = read(fd, buf, size);
    return n < 0 ? 0 : (size_t)n;
}

TEST(inotify_tells_what_happens)
{
    char buf[4096];
    struct inotify_event *e = (void *)buf;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        SKIP("no inotify");
    rmdir("watched");
    REQUIRE_OK(mkdir("watched", 0700));
    int wd = inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVED_TO);
    REQUIRE(wd > 0);
    CHECK_EQ(inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE | IN_CLOSE_WRITE), wd);
    CHECK_EQ(next_event(fd, buf, sizeof buf), 0);
    int file = open("watched/one", O_CREAT | O_WRONLY, 0600);
    REQUIRE(file >= 0);
    CHECK_ERRNO(read(fd, buf, 16), EINVAL);
    CHECK_EQ(revents_of(fd, POLLIN), POLLIN);
    int waiting = 0;
    CHECK_OK(ioctl(fd, FIONREAD, &waiting));
    CHECK_EQ(waiting, 32);
    CHECK_EQ(next_event(fd, buf, sizeof buf), 32);
    CHECK_EQ(e->mask, IN_CREATE);
    CHECK_EQ(e->wd, wd);
    CHECK_STR(e->name, "one");
    CHECK_EQ(write(file, "x", 1), 1);
    close(file);
    CHECK_EQ(next_event(fd, buf, sizeof buf), 32);
    CHECK_EQ(e->mask, IN_CLOSE_WRITE);
    unlink("watched/one");
    CHECK_EQ(next_event(fd, buf, sizeof buf), 32);
    CHECK_EQ(e->mask, IN_DELETE);
    CHECK_OK(inotify_rm_watch(fd, wd));
    CHECK_EQ(next_event(fd, buf, sizeof buf), 16);
    CHECK_EQ(e->mask, IN_IGNORED);
    CHECK_ERRNO(inotify_rm_watch(fd, wd), EINVAL);
    CHECK_ERRNO(inotify_add_watch(fd, "no-such-thing", IN_CREATE), ENOENT);
    CHECK_ERRNO(inotify_add_watch(fd, "watched", 0), EINVAL);
    close(fd);
    rmdir("watched");
}

// ---- /proc

TEST(fdinfo_and_links)
{
    char path[64], text[1024];
    struct {
        const char *name;
        int fd;
        const char *text;
    } files[] = {
        {"anon_inode:[eventfd]", eventfd(7, 0), "eventfd-count:                7"},
        {"anon_inode:[timerfd]", timerfd_create(CLOCK_MONOTONIC, 0), "clockid: 1"},
        {"anon_inode:[eventpoll]", epoll_create1(EPOLL_CLOEXEC), "flags:\t02000002"},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", files[i].fd);
        ssize_t n = readlink(path, text, sizeof text - 1);
        REQUIRE(n > 0);
        text[n] = 0;
        CHECK_STR(text, files[i].name);
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", files[i].fd);
        slurp(path, text, sizeof text);
        CHECK(strncmp(text, "pos:\t0\n", 7) == 0);
        if (!strstr(text, files[i].text))
            FAIL("%s has no \"%s\": %s", path, files[i].text, text);
        close(files[i].fd);
        CHECK_ERRNO(open(path, O_RDONLY), ENOENT);
    }
}

static void *name_and_wait(void *stop)
{
    pthread_setname_np(pthread_self(), "other-thread");
    while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE))
        sleep_ns(1 * MS);
    return NULL;
}

#include <dirent.h>

TEST(task_directory)
{
    int stop = 0, seen = 0;
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, name_and_wait, &stop) == 0);
    for (int tries = 0; tries < 1000 && !seen; tries++) {
        DIR *d = opendir("/proc/self/task");
        REQUIRE(d != NULL);
        int entries = 0;
        for (struct dirent *e; (e = readdir(d));) {
            char path[300];
            if (e->d_name[0] == '.')
                continue;
            entries++;
            CHECK_EQ(e->d_type, DT_DIR);
            snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
            seen |= reads_as(path, "other-thread\n");
        }
        closedir(d);
        CHECK(entries >= 2);
        sleep_ns(1 * MS);
    }
    CHECK(seen);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(id, NULL);
}

TEST(stat_has_52_fields)
{
    char text[2048], *p;
    slurp("/proc/self/stat", text, sizeof text);
    p = strrchr(text, ')');
    REQUIRE(p != NULL);
    int fields = 2;
    for (char *word = strtok(p + 1, " \n"); word; word = strtok(NULL, " \n"))
        fields++;
    CHECK_EQ(fields, 52);
}

TEST(proc_lists_this_process)
{
    bool self = false, one = false;
    DIR *d = opendir("/proc");
    REQUIRE(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        self |= atoi(e->d_name) == getpid();
        one |= strcmp(e->d_name, "1") == 0;
    }
    closedir(d);
    CHECK(self && one);
    CHECK(in_lethe() ? reads_as("/proc/1/comm", "lethe\n") : true);
    // The kernel without a network shows no control groups, and says so.
    if (in_lethe())
        CHECK_EQ(access("/proc/self/cgroup", F_OK), access("/sys/fs/cgroup/cpu.max", F_OK));
}

static void check_numbers_of(const char *path)
{
    DIR *d = opendir(path);
    struct stat st, dir;
    REQUIRE(d != NULL);
    REQUIRE_OK(fstat(dirfd(d), &dir));
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != dir.st_dev)
            continue;  // gone, or something is mounted there
        if (e->d_ino != st.st_ino)
            FAIL("%s/%s is number %lu in the listing, %lu for stat", path, e->d_name,
                 (unsigned long)e->d_ino, (unsigned long)st.st_ino);
    }
    closedir(d);
}

TEST(listed_numbers_are_those_of_stat)
{
    static const char *const paths[] = {
        "/proc/self",   "/proc/self/fd",       "/proc/self/fdinfo",       "/proc/self/task",
        "/proc/sys/vm", "/sys/devices/system", "/sys/devices/system/cpu", "/dev"};
    for (size_t i = 0; i < COUNT(paths); i++)
        check_numbers_of(paths[i]);
}

TEST(thread_names_and_scores_can_be_written)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", my_tid());
    int fd = open(path, O_RDWR);
    REQUIRE(fd >= 0);
    CHECK_EQ(write(fd, "a-very-long-thread-name", 23), 23);
    close(fd);
    CHECK(reads_as(path, "a-very-long-thr\n"));
    fd = open("/proc/self/oom_score_adj", O_RDWR);
    REQUIRE(fd >= 0);
    CHECK_EQ(write(fd, "17", 2), 2);
    CHECK(reads_as("/proc/self/oom_score_adj", "17\n"));
    CHECK_ERRNO(write(fd, "1001", 4), EINVAL);
    CHECK_ERRNO(write(fd, "x", 1), EINVAL);
    close(fd);
}

TEST(reads_of_own_memory)
{
    char secret[32] = "found through /proc/self/mem", copy[32];
    int fd = open("/proc/self/mem", O_RDONLY);
    REQUIRE(fd >= 0);
    CHECK_EQ(pread(fd, copy, 32, (off_t)(uintptr_t)secret), 32);
    CHECK(memcmp(secret, copy, 32) == 0);
    CHECK_ERRNO(pread(fd, copy, 32, 8), EIO);
    close(fd);
}

TEST(pagemap_knows_what_is_present)
{
    char *p = map_anon(4 * PAGE);
    uint64_t entry[4];
    madvise(p, 4 * PAGE, MADV_NOHUGEPAGE);
    p[2 * PAGE] = 1;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    REQUIRE(fd >= 0);
    CHECK_EQ(pread(fd, entry, 32, (off_t)((uintptr_t)p / PAGE * 8)), 32);
    CHECK_EQ(entry[0] >> 63, 0);
    CHECK_EQ(entry[2] >> 63, 1);
    CHECK_ERRNO(pread(fd, entry, 7, 0), EINVAL);
    close(fd);
    munmap(p, 4 * PAGE);
}

// ---- the terminal

TEST(terminal_settings)
{
    struct termios t, saved;
    if (tcgetattr(0, &saved) != 0)
        SKIP("standard input is no terminal");
    CHECK_OK(tcflush(0, TCIFLUSH));  // the end of file of a test's empty input
    t = saved;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    CHECK_OK(tcsetattr(0, TCSANOW, &t));
    struct termios now;
    CHECK_OK(tcgetattr(0, &now));
    CHECK_EQ(now.c_lflag & (ICANON | ECHO), 0);
    char c;
    uint64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(read(0, &c, 1), 0);  // nobody types: the tenth of a second runs out
    CHECK_RANGE(now_ns(CLOCK_MONOTONIC) - before, 90 * MS, 2000 * MS);
    CHECK_EQ(revents_of(0, POLLIN | POLLOUT), POLLOUT);
    CHECK_OK(tcsetattr(0, TCSANOW, &saved));
    struct winsize size;
    CHECK_OK(ioctl(0, TIOCGWINSZ, &size));
    int waiting = -1;
    CHECK_OK(ioctl(0, FIONREAD, &waiting));
    CHECK_EQ(waiting, 0);
}

TEST(dev_names)
{
    struct stat st;
    char text[64];
    REQUIRE_OK(stat("/dev/null", &st));
    CHECK(S_ISCHR(st.st_mode));
    CHECK_EQ(st.st_rdev, 0x103);
    CHECK_EQ(st.st_mode & 0777, 0666);
    ssize_t n = readlink("/dev/fd", text, sizeof text);
    CHECK(n == 13 && memcmp(text, "/proc/self/fd", 13) == 0);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    snprintf(text, sizeof text, "/dev/fd/%d", fds[1]);
    int fd = open(text, O_WRONLY);
    CHECK(fd >= 0);
    close(fd), close(fds[0]), close(fds[1]);
    fd = open("/dev/shm/special-test", O_CREAT | O_RDWR | O_EXCL, 0600);
    CHECK(fd >= 0);
    close(fd);
    unlink("/dev/shm/special-test");
    fd = open("/dev/zero", O_RDWR);
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    REQUIRE(p != MAP_FAILED);
    CHECK_BYTES(p, 0, 2 * PAGE);
    p[PAGE] = 5;
    CHECK_EQ(p[PAGE], 5);
    munmap(p, 2 * PAGE);
    p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(p != MAP_FAILED);
    p[1] = 7;
    CHECK_EQ(p[1], 7);
    munmap(p, PAGE);
    close(fd);
}

// ---- signals by pidfd

static volatile sig_atomic_t pidfd_signals;
static void count_signal(int signal) { (void)signal, pidfd_signals++; }

TEST(pidfd_self_takes_signals)
{
    enum { SELF = -10000, SELF_GROUP = -10001, SEND = 424 };
    if (syscall(SEND, SELF, 0, NULL, 0) != 0 && errno == EBADF && !in_lethe())
        SKIP("a Linux before 6.14");
    struct sigaction act = {.sa_handler = count_signal}, old;
    REQUIRE_OK(sigaction(SIGUSR2, &act, &old));
    pidfd_signals = 0;
    CHECK_OK(syscall(SEND, SELF, SIGUSR2, NULL, 0));
    CHECK_OK(syscall(SEND, SELF_GROUP, SIGUSR2, NULL, 0));
    CHECK_OK(syscall(SEND, SELF_GROUP, SIGUSR2, NULL, 1 /* THREAD */));
    CHECK_OK(syscall(SEND, SELF, SIGUSR2, NULL, 2 /* THREAD_GROUP */));
    CHECK_EQ(pidfd_signals, 4);
    CHECK_ERRNO(syscall(SEND, SELF, SIGUSR2, NULL, 3), EINVAL);
    CHECK_ERRNO(syscall(SEND, SELF, SIGUSR2, NULL, 8), EINVAL);
    CHECK_ERRNO(syscall(SEND, SELF, 99, NULL, 0), EINVAL);
    CHECK_ERRNO(syscall(SEND, -10002, SIGUSR2, NULL, 0), EBADF);
    int fd = (int)syscall(434 /* pidfd_open */, getpid(), 0);
    REQUIRE(fd >= 0);
    CHECK_OK(syscall(SEND, fd, SIGUSR2, NULL, 1));
    CHECK_OK(syscall(SEND, fd, SIGUSR2, NULL, 2));
    CHECK_EQ(pidfd_signals, 6);
    close(fd);
    sigaction(SIGUSR2, &old, NULL);
}
