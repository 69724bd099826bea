// SPDX-License-Identifier: BSD-2-Clause
// Bad pointers and wild lengths to every call that takes a pointer: EFAULT, as Linux answers, and nothing else
// happens. The calls that would end the process, or harm a host when they are run there by root, are left out;
// the programs in ../hostile do what cannot be done in one surviving process.
#include "harness.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

// Stand-ins in the table, replaced before the call.
#define BAD 0x7bad000000000001ul       // the bad pointer under test
#define GOOD 0x7bad000000000002ul      // a page of zeros
#define FILE_FD 0x7bad000000000003ul   // a file of two pages open for reading and writing
#define PIPE_IN 0x7bad000000000004ul   // reading end of a pipe with data in it
#define PIPE_OUT 0x7bad000000000005ul  // writing end with room
#define EPOLL_FD 0x7bad000000000006ul  // an epoll with an event ready
#define EVENT_FD 0x7bad000000000007ul  // an eventfd with a count
#define TIMER_FD 0x7bad000000000008ul
#define PATH 0x7bad000000000009ul  // the name of that file
#define HERE ((unsigned long)AT_FDCWD)

struct attempt {
    const char *name;
    long number;
    unsigned long arguments[6];
    int wanted;  // 0: EFAULT
};

#define A(name, ...)                         \
    {                                        \
#name, SYS_##name, {__VA_ARGS__ }, 0 \
    }

static const struct attempt attempts[] = {
    A(read, FILE_FD, BAD, 100),
    A(write, FILE_FD, BAD, 100),
    A(read, PIPE_IN, BAD, 1),
    A(write, PIPE_OUT, BAD, 1),
    A(read, EVENT_FD, BAD, 8),
    A(write, EVENT_FD, BAD, 8),
    A(pread64, FILE_FD, BAD, 100, 0),
    A(pwrite64, FILE_FD, BAD, 100, 0),
    A(readv, FILE_FD, BAD, 1),
    A(writev, FILE_FD, BAD, 1),
    A(preadv, FILE_FD, BAD, 1, 0),
    A(pwritev, FILE_FD, BAD, 1, 0),
    A(openat, HERE, BAD, O_RDONLY),
    A(newfstatat, HERE, BAD, GOOD, 0),
    A(newfstatat, HERE, PATH, BAD, 0),
    A(fstat, FILE_FD, BAD),
    A(statx, HERE, BAD, 0, 0x7ff, GOOD),
    A(statx, HERE, PATH, 0, 0x7ff, BAD),
    A(faccessat, HERE, BAD, 0),
    A(readlinkat, HERE, BAD, GOOD, 100),
    A(mkdirat, HERE, BAD, 0700),
    A(unlinkat, HERE, BAD, 0),
    A(renameat2, HERE, BAD, HERE, PATH, 0),
    A(renameat2, HERE, PATH, HERE, BAD, 0),
    A(linkat, HERE, BAD, HERE, PATH, 0),
    A(linkat, HERE, PATH, HERE, BAD, 0),
    A(symlinkat, BAD, HERE, PATH),
    A(symlinkat, PATH, HERE, BAD),
    A(fchmodat, HERE, BAD, 0600),
    A(fchownat, HERE, BAD, -1, -1, 0),
    A(utimensat, HERE, BAD, GOOD, 0),
    A(utimensat, HERE, PATH, BAD, 0),
    A(truncate, BAD, 0),
    A(chdir, BAD),
    A(getcwd, BAD, 4096),
    A(statfs, BAD, GOOD),
    A(statfs, PATH, BAD),
    A(fstatfs, FILE_FD, BAD),
    A(pipe2, BAD, 0),
    A(ioctl, FILE_FD, 0x541b /* FIONREAD */, BAD),
    A(fcntl, FILE_FD, F_GETLK, BAD),
    A(fcntl, FILE_FD, F_SETLK, BAD),
    A(sendfile, PIPE_OUT, FILE_FD, BAD, 1),
    A(memfd_create, BAD, 0),
    A(epoll_ctl, EPOLL_FD, EPOLL_CTL_ADD, PIPE_IN, BAD),
    A(epoll_pwait, EPOLL_FD, BAD, 1, 0, 0, 8),
    A(ppoll, BAD, 1, 0, 0, 8),
    A(ppoll, GOOD, 0, BAD, 0, 8),
    A(ppoll, GOOD, 0, GOOD, BAD, 8),
    A(pselect6, 64, BAD, 0, 0, GOOD, 0),
    A(pselect6, 0, 0, 0, 0, BAD, 0),
    A(timerfd_settime, TIMER_FD, 0, BAD, 0),
    A(timerfd_gettime, TIMER_FD, BAD),
    A(signalfd4, -1, BAD, 8, 0),
    A(mincore, GOOD, 4096, BAD),
    A(futex, BAD, 0 /* WAIT */, 0, 0, 0, 0),
    A(futex, GOOD, 0, 0, BAD, 0, 0),
    A(nanosleep, BAD, 0),
    A(clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, 0),
    A(clock_gettime, CLOCK_MONOTONIC, BAD),
    A(clock_getres, CLOCK_MONOTONIC, BAD),
    A(gettimeofday, BAD, 0),
    A(times, BAD),
    A(getitimer, 0, BAD),
    A(setitimer, ITIMER_VIRTUAL, BAD, 0),
    A(timer_create, CLOCK_MONOTONIC, BAD, GOOD),
    A(timer_create, CLOCK_MONOTONIC, 0, BAD),
    A(rt_sigaction, SIGUSR2, BAD, 0, 8),
    A(rt_sigaction, SIGUSR2, 0, BAD, 8),
    A(rt_sigprocmask, SIG_BLOCK, BAD, 0, 8),
    A(rt_sigprocmask, SIG_BLOCK, 0, BAD, 8),
    A(rt_sigpending, BAD, 8),
    A(rt_sigtimedwait, BAD, 0, GOOD, 8),
    A(rt_sigtimedwait, GOOD, 0, BAD, 8),
    A(sigaltstack, BAD, 0),
    A(sigaltstack, 0, BAD),
    A(rt_sigsuspend, BAD, 8),
    A(sched_getaffinity, 0, 128, BAD),
    A(sched_setaffinity, 0, 128, BAD),
    A(sched_getparam, 0, BAD),
    A(sched_setscheduler, 0, 0, BAD),
    A(sched_rr_get_interval, 0, BAD),
    A(getcpu, BAD, 0, 0),
    A(getcpu, 0, BAD, 0),
    A(prlimit64, 0, RLIMIT_CORE, BAD, 0),
    A(prlimit64, 0, RLIMIT_CORE, 0, BAD),
    A(getrlimit, RLIMIT_CORE, BAD),
    A(getrusage, 0, BAD),
    A(uname, BAD),
    A(sysinfo, BAD),
    A(getrandom, BAD, 100, 0),
    A(getresuid, BAD, GOOD, GOOD),
    A(capget, BAD, 0),
    A(prctl, 15 /* SET_NAME */, BAD),
    A(prctl, 16 /* GET_NAME */, BAD),
    A(get_robust_list, 0, BAD, GOOD),
    A(clone3, BAD, 88),
#if defined __x86_64__
    A(open, BAD, O_RDONLY),
    A(stat, BAD, GOOD),
    A(stat, PATH, BAD),
    A(lstat, BAD, GOOD),
    A(access, BAD, 0),
    A(pipe, BAD),
    A(select, 64, BAD, 0, 0, GOOD),
    A(poll, BAD, 1, 0),
    A(epoll_wait, EPOLL_FD, BAD, 1, 0),
    A(rename, BAD, PATH),
    A(mkdir, BAD, 0700),
    A(rmdir, BAD),
    A(creat, BAD, 0600),
    A(link, BAD, PATH),
    A(unlink, BAD),
    A(symlink, PATH, BAD),
    A(readlink, BAD, GOOD, 10),
    A(chmod, BAD, 0600),
    A(chown, BAD, -1, -1),
    A(time, BAD),
    A(utimes, BAD, GOOD),
    A(arch_prctl, 0x1003, BAD),
#endif
};

struct stand_ins {
    unsigned long bad, good, path;
    int file, pipe_in, pipe_out, epoll, event, timer;
};

static unsigned long replace(unsigned long argument, const struct stand_ins *s)
{
    switch (argument) {
    case BAD: return s->bad;
    case GOOD: return s->good;
    case PATH: return s->path;
    case FILE_FD: return (unsigned long)s->file;
    case PIPE_IN: return (unsigned long)s->pipe_in;
    case PIPE_OUT: return (unsigned long)s->pipe_out;
    case EPOLL_FD: return (unsigned long)s->epoll;
    case EVENT_FD: return (unsigned long)s->event;
    case TIMER_FD: return (unsigned long)s->timer;
    default: return argument;
    }
}

static void try_all(struct stand_ins *s, const char *kind)
{
    for (size_t i = 0; i < COUNT(attempts); i++) {
        const struct attempt *attempt = &attempts[i];
        unsigned long a[6];
        for (int j = 0; j < 6; j++)
            a[j] = replace(attempt->arguments[j], s);
        memset((void *)s->good, 0, PAGE);
        lseek(s->file, 0, SEEK_SET);
        CHECK_EQ(write(s->event, &(uint64_t){1}, 8),
                 8);  // a failed read takes the count, on Linux too
        errno = 0;
        long result = syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        int wanted = attempt->wanted ? attempt->wanted : EFAULT;
        if (result != -1 || errno != wanted)
            FAIL("%s (attempt %zu) with %s: %ld %s, want %s", attempt->name, i, kind, result,
                 errno_name(errno), errno_name(wanted));
    }
}

TEST(bad_pointers_are_efault)
{
    int fds[2], full[2];
    REQUIRE_OK(pipe(fds));
    REQUIRE_OK(pipe(full));
    REQUIRE(write(fds[1], "data", 4) == 4);
    struct stand_ins s = {
        .good = (unsigned long)map_anon(PAGE),
        .path = (unsigned long)"hostile-file",
        .file = new_file("hostile-file", 2 * PAGE, 1),
        .pipe_in = fds[0],
        .pipe_out = full[1],
        .epoll = epoll_create1(0),
        .event = eventfd(1, EFD_NONBLOCK),
        .timer = timerfd_create(CLOCK_MONOTONIC, 0),
    };
    struct epoll_event event = {.events = EPOLLIN};
    REQUIRE_OK(epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.event, &event));
    char *hole = map_hole(2 * PAGE),
         *none = map_with(2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    struct {
        unsigned long pointer;
        const char *kind;
    } bad[] = {
        {8, "a pointer into page 0"},
        {(unsigned long)hole, "an unmapped pointer"},
        {(unsigned long)none, "a PROT_NONE pointer"},
        {0xffff888000000000, "a pointer into the direct map"},
        {0xffffffff80000000, "a pointer into the kernel"},
        {0xffffffff80100000, "a pointer into the kernel's text"},
        {0x8000000000000000, "a pointer that is not canonical"},
        {0x00007ffffffff000, "the first address after user space"},
        {0xffffffffffffff00, "a pointer at the very end"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        s.bad = bad[i].pointer;
        try_all(&s, bad[i].kind);
    }
    close(fds[0]), close(fds[1]), close(full[0]), close(full[1]);
    close(s.file), close(s.epoll), close(s.event), close(s.timer);
    munmap((void *)s.good, PAGE), munmap(none, 2 * PAGE);
    unlink("hostile-file");
}

TEST(strings_that_run_off_the_end)
{
    char *p = map_anon(2 * PAGE);
    REQUIRE_OK(munmap(p + PAGE, PAGE));
    memset(p, 'a', PAGE);
    CHECK_ERRNO(open(p + PAGE - 10, O_RDONLY), EFAULT);  // no terminator before the hole
    p[PAGE - 1] = 0;
    CHECK_ERRNO(open(p + PAGE - 10, O_RDONLY), ENOENT);
    CHECK_ERRNO(open(p, O_RDONLY), ENAMETOOLONG);
    munmap(p, PAGE);
}

TEST(results_that_run_off_the_end)
{
    char *p = map_anon(2 * PAGE);
    REQUIRE_OK(munmap(p + PAGE, PAGE));
    CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p + PAGE - 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_uname, p + PAGE - 100), EFAULT);
    CHECK_ERRNO(syscall(SYS_sysinfo, p + PAGE - 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_newfstatat, AT_FDCWD, ".", p + PAGE - 8, 0), EFAULT);
    CHECK_EQ(syscall(SYS_getrandom, p + PAGE - 8, 8, 0), 8);
    CHECK_EQ(syscall(SYS_getrandom, p + PAGE - 300, 1 << 20, 0), 300);  // what there was room for
    munmap(p, PAGE);
}

TEST(wild_lengths)
{
    int fd = new_file("f", PAGE, 1), fds[2];
    REQUIRE_OK(pipe2(fds, O_NONBLOCK));
    static char buffer[2 * PAGE];
    static const size_t lengths[] = {(size_t)-1, (size_t)1 << 63, (size_t)1 << 48,
                                     0x7fffffffffffffff};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        CHECK_ERRNO(syscall(SYS_read, fd, buffer, lengths[i]), EFAULT);
        CHECK_ERRNO(syscall(SYS_pread64, fd, buffer, lengths[i], 0), EFAULT);
        CHECK_ERRNO(syscall(SYS_write, fds[1], buffer, lengths[i]), EFAULT);
    }
    // A length inside user space but past the mapping: a short read of what is there.
    CHECK_EQ(pread(fd, buffer, 1ul << 30, 0), PAGE);
    CHECK_ERRNO(syscall(SYS_writev, fd, buffer, 0xffffffff), EINVAL);
    CHECK_ERRNO(syscall(SYS_ppoll, buffer, 0x7fffffff, buffer, NULL, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_getgroups, -1, buffer), EINVAL);
    CHECK_ERRNO(syscall(SYS_getdents64, fd, buffer, -1), ENOTDIR);
    CHECK_ERRNO(syscall(SYS_fallocate, fd, 0, 0x7fffffffffffffff, 1), EFBIG);
    CHECK_ERRNO(syscall(SYS_lseek, fd, 0x7fffffffffffffff, SEEK_END), EINVAL);
    CHECK_ERRNO(syscall(SYS_pwrite64, fd, buffer, 1, 0x7fffffffffffffff), EINVAL);
    CHECK_ERRNO(syscall(SYS_pread64, fd, buffer, 1, 0x7fffffffffffffff), EINVAL);
    CHECK_ERRNO(syscall(SYS_lseek, fd, 0x7fffffffffffffff, SEEK_CUR), EINVAL);
    CHECK_EQ(syscall(SYS_pread64, fd, buffer, 100, 0x7fffffffffffff00), 0);
    close(fd), close(fds[0]), close(fds[1]);
    unlink("f");
}

TEST(iovec_totals)
{
    int fd = new_file("f", PAGE, 1);
    static char buffer[64];
    struct iovec vector[2] = {{buffer, 0x7fffffffffffffff}, {buffer, 0x7fffffffffffffff}};
    lseek(fd, 0, SEEK_SET);
    ssize_t n = readv(fd, vector, 2);
    CHECK(n == -1 && (errno == EFAULT || errno == EINVAL));
    vector[0] = (struct iovec){(void *)0xffff888000000000,
                               0};  // length 0: Linux 6.4 and later look at the pointer
    vector[1] = (struct iovec){buffer, 8};
    n = readv(fd, vector, 2);
    CHECK(n == 8 || (n == -1 && errno == EFAULT));
    close(fd);
    unlink("f");
}

TEST(memory_calls_with_wild_ranges)
{
    static const unsigned long addresses[] = {0,
                                              PAGE,
                                              USER_TOP - PAGE,
                                              USER_TOP,
                                              USER_TOP + PAGE,
                                              1ul << 63,
                                              0xffff888000000000,
                                              0xffffffff80000000,
                                              -PAGE,
                                              ~0ul};
    static const unsigned long lengths[] = {PAGE,      1ul << 30, 1ul << 46, USER_TOP + PAGE,
                                            1ul << 49, 1ul << 63, -PAGE,     ~0ul};
    for (size_t i = 0; i < COUNT(addresses); i++)
        for (size_t j = 0; j < COUNT(lengths); j++) {
            unsigned long a = addresses[i], n = lengths[j];
            if (a < USER_TOP && n < USER_TOP)
                continue;  // would hit this program's own memory
            static const long calls[] = {SYS_munmap, SYS_mprotect, SYS_madvise,
                                         SYS_msync,  SYS_mincore,  SYS_mlock};
            for (size_t c = 0; c < COUNT(calls); c++) {
                static unsigned char out[64];
                unsigned long third = calls[c] == SYS_mincore   ? (unsigned long)out
                                      : calls[c] == SYS_madvise ? 0
                                                                : 1;
                errno = 0;
                long result = syscall(calls[c], a, n, third);
                if (result != -1 && !(result == 0 && n + (a & (PAGE - 1)) + PAGE - 1 < n))
                    FAIL("call %ld of %#lx+%#lx gives %ld", calls[c], a, n, result);
            }
            CHECK_EQ(syscall(SYS_mremap, a, n, PAGE, 1, 0) == -1, 1);
            CHECK_EQ(syscall(SYS_mmap, a & -PAGE, n, 1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                             0) == -1,
                     1);
        }
}

TEST(every_unused_argument_combination_of_futex)
{
    static int word;
    struct timespec zero = {0, 0};
    for (int op = 0; op < 256; op++) {
        int command = op & 127;
        if (command == 6 || command == 7 || command == 8 || command == 11 || command == 12 ||
            command == 13)
            continue;  // the PI commands leave ownership behind
        syscall(SYS_futex, &word, op, 1, &zero, &word, 0);
        syscall(SYS_futex, (void *)0xffff888000000000, op, 1, &zero, (void *)8, ~0u);
    }
    word = 0;
}

TEST(descriptors_of_all_values)
{
    static const int numbers[] = {-1, -2, -100, 1 << 20, 0x7fffffff, (int)0x80000000, 9999};
    char buffer[64];
    for (size_t i = 0; i < COUNT(numbers); i++) {
        int fd = numbers[i];
        CHECK_ERRNO(read(fd, buffer, 1), EBADF);
        CHECK_ERRNO(write(fd, buffer, 1), EBADF);
        CHECK_ERRNO(close(fd), EBADF);
        CHECK_ERRNO(dup(fd), EBADF);
        CHECK_ERRNO(fcntl(fd, F_GETFD), EBADF);
        CHECK_ERRNO(lseek(fd, 0, SEEK_SET), EBADF);
        CHECK_ERRNO(ftruncate(fd, 0), EBADF);
        CHECK_ERRNO(fsync(fd), EBADF);
        CHECK_ERRNO(syscall(SYS_getdents64, fd, buffer, 64), EBADF);
        CHECK_ERRNO(syscall(SYS_epoll_ctl, fd, 1, 0, buffer), EBADF);
        CHECK_ERRNO(syscall(SYS_ioctl, fd, 0x5413, buffer), EBADF);
    }
}
