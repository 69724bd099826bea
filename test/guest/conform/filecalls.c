// SPDX-License-Identifier: BSD-2-Clause
// File calls that no other file here covers: locks of open files, leases, directory positions, events of inotify(7) that come seldom,
// timers that hear of a set clock. Sources: fcntl(2), flock(2), readdir(3), telldir(3), inotify(7), timerfd_create(2), statfs(2).
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

static struct flock lock_of(short type, long start, long len)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
}

static int ofd(int fd, short type, long start, long len)
{
    struct flock l = lock_of(type, start, len);
    return fcntl(fd, F_OFD_SETLK, &l);
}

TEST(locks_of_open_files)
{
    int a = open("locked", O_CREAT | O_RDWR, 0600), b = open("locked", O_RDWR), c = dup(a);
    CHECK_OK(ofd(a, F_WRLCK, 0, 10));
    CHECK_OK(ofd(c, F_WRLCK, 5, 10));  // the same open file
    CHECK_ERRNO(ofd(b, F_RDLCK, 14, 1), EAGAIN);
    CHECK_OK(ofd(b, F_WRLCK, 15, 0));
    struct flock l = lock_of(F_WRLCK, 0, 1);
    CHECK_OK(fcntl(b, F_OFD_GETLK, &l));
    CHECK_EQ(l.l_type, F_WRLCK);
    CHECK_EQ(l.l_start, 0);
    CHECK_EQ(l.l_len, 15);
    CHECK_EQ(l.l_pid, -1);  // no process owns it
    l = lock_of(F_WRLCK, 0, 1);
    CHECK_ERRNO(fcntl(b, F_SETLK, &l), EAGAIN);  // those of processes are in the way too
    l = lock_of(F_WRLCK, 0, 1), l.l_pid = 1;
    CHECK_ERRNO(fcntl(a, F_OFD_SETLK, &l), EINVAL);
    close(a);
    CHECK_ERRNO(ofd(b, F_RDLCK, 0, 1), EAGAIN);
    close(c);  // the last descriptor
    CHECK_OK(ofd(b, F_RDLCK, 0, 1));
    int only = open("locked", O_RDONLY);
    CHECK_ERRNO(ofd(only, F_WRLCK, 0, 1), EBADF);
    CHECK_ERRNO(ofd(only, 77, 0, 1), EINVAL);
    CHECK_ERRNO(ofd(only, F_RDLCK, -1, 1), EINVAL);
    CHECK_ERRNO(ofd(only, F_RDLCK, LONG_MAX, 2), EOVERFLOW);
    CHECK_ERRNO(fcntl(only, F_OFD_SETLK, 8), EFAULT);
    close(only), close(b), unlink("locked");
}

// A child inherits flock(2)'s locks and those of open files, but not those of its parent as a process.
TEST(locks_and_fork)
{
    int fd = open("locked", O_CREAT | O_RDWR, 0600), status = -1;
    struct flock l = lock_of(F_WRLCK, 0, 1);
    CHECK_OK(fcntl(fd, F_SETLK, &l));
    CHECK_OK(flock(fd, LOCK_EX));
    CHECK_OK(ofd(fd, F_WRLCK, 100, 1));
    pid_t child = fork();
    REQUIRE_OK(child);
    if (!child) {
        int other = open("locked", O_RDWR);
        l = lock_of(F_WRLCK, 0, 1);
        bool right = fcntl(fd, F_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_pid == getppid() &&
                     flock(fd, LOCK_EX | LOCK_NB) == 0 && flock(other, LOCK_SH | LOCK_NB) == -1 &&
                     errno == EWOULDBLOCK && ofd(fd, F_WRLCK, 100, 1) == 0;
        _exit(!right);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_ERRNO(flock(fd, 77), EINVAL);
    CHECK_ERRNO(flock(999, LOCK_EX), EBADF);
    close(fd), unlink("locked");
}

TEST(leases)
{
    int fd = open("leased", O_CREAT | O_RDWR, 0600), p[2];
    REQUIRE_OK(pipe(p));
    if (in_lethe()) {  // refused
        CHECK_ERRNO(fcntl(fd, F_SETLEASE, F_WRLCK), EINVAL);
    } else {
        CHECK_OK(fcntl(fd, F_SETLEASE, F_WRLCK));
        CHECK_OK(fcntl(fd, F_SETLEASE, F_UNLCK));
    }
    CHECK_ERRNO(fcntl(fd, F_SETLEASE, 77), EINVAL);
    CHECK_ERRNO(fcntl(p[0], F_SETLEASE, F_RDLCK), EINVAL);
    CHECK_ERRNO(fcntl(999, F_SETLEASE, F_RDLCK), EBADF);
    close(fd), close(p[0]), close(p[1]), unlink("leased");
}

// A place in a directory stays where it was while other names come and go.
TEST(directory_positions)
{
    char name[32];
    enum { N = 200 };
    REQUIRE_OK(mkdir("many", 0755));
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "many/%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    DIR *d = opendir("many");
    REQUIRE(d != NULL);
    long place = 0;
    char next[256] = "";
    bool rest[N] = {false};
    int n = 0;
    for (struct dirent *e; (e = readdir(d)); n++) {
        if (n == N / 2)
            place = telldir(d);
        if (n > N / 2 && e->d_name[0] != '.') {
            if (!next[0])
                snprintf(next, sizeof(next), "%s", e->d_name);
            rest[atoi(e->d_name)] = true;
        }
    }
    CHECK_EQ(n, N + 2);
    for (int i = 0; i < N; i++) {  // half of those before the place go, and new ones come
        snprintf(name, sizeof(name), "many/%d", i);
        if (!rest[i] && i % 2)
            unlink(name);
    }
    close(open("many/1000", O_CREAT | O_WRONLY, 0600));
    seekdir(d, place);
    bool first = true;
    for (struct dirent *e; (e = readdir(d)); first = false) {
        if (first)
            CHECK_STR(e->d_name, next);
        int i = atoi(e->d_name);
        if (i < N && e->d_name[0] != '.' && !rest[i])
            FAIL("%s lay before the place", e->d_name);
        if (i < N)
            rest[i] = false;
    }
    for (int i = 0; i < N; i++)
        if (rest[i])
            FAIL("%d is not found again", i);
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(name, sizeof(name), "many/%.20s", e->d_name);
        unlink(name);
    }
    closedir(d);
    CHECK_OK(rmdir("many"));
}

// Both events come in one read: 16 bytes each.
TEST(inotify_of_a_mount_that_goes)
{
    struct inotify_event e[4] = {0};
    REQUIRE_OK(mkdir("mnt", 0755));
    if (mount("none", "mnt", "tmpfs", 0, NULL) != 0)
        SKIP("may not mount");
    close(open("mnt/file", O_CREAT | O_WRONLY, 0600));
    int fd = inotify_init1(IN_NONBLOCK), w = inotify_add_watch(fd, "mnt", IN_CREATE);
    REQUIRE_OK(w);
    CHECK_OK(umount("mnt"));
    CHECK_EQ(read(fd, e, sizeof(e)), 32);
    CHECK_EQ(e[0].wd, w);
    CHECK_EQ(e[0].mask, IN_UNMOUNT | IN_ISDIR);
    CHECK_EQ(e[0].len, 0);
    CHECK_EQ(e[1].wd, w);
    CHECK_EQ(e[1].mask, IN_IGNORED);
    CHECK_ERRNO(inotify_rm_watch(fd, w), EINVAL);
    close(fd), rmdir("mnt");
}

TEST(inotify_queues_end_somewhere)
{
    char buffer[65536] __attribute__((aligned(8)));
    int fd = inotify_init1(IN_NONBLOCK), w = inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE);
    REQUIRE_OK(w);
    for (int i = 0; i < 9000; i++) {  // two events each, and no two in a row are the same
        close(open("x", O_CREAT | O_WRONLY, 0600));
        unlink("x");
    }
    long n = 0;
    int overflows = 0;
    for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
        for (ssize_t at = 0; at < got; n++) {
            const struct inotify_event *e = (void *)(buffer + at);
            if (e->mask == IN_Q_OVERFLOW) {
                overflows++;
                CHECK_EQ(e->wd, -1);
            }
            at += (ssize_t)(sizeof(*e) + e->len);
        }
    }
    CHECK_EQ(overflows, 1);
    CHECK_EQ(n, 16384 + 1);  // max_queued_events
    close(fd);
}

TEST(timerfd_and_a_clock_that_is_set)
{
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    struct itimerspec far = {.it_value = {.tv_sec = 4000000000}};
    CHECK_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME | 2 /* CANCEL_ON_SET */, &far, NULL));
    uint64_t n;
    CHECK_ERRNO(read(fd, &n, 8), EAGAIN);
    if (in_lethe()) {  // the host's clock is not ours to set
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        CHECK_OK(clock_settime(CLOCK_REALTIME, &now));
        CHECK_ERRNO(read(fd, &n, 8), ECANCELED);
    }
    CHECK_ERRNO(timerfd_settime(fd, 4, &far, NULL), EINVAL);
    close(fd);
}

TEST(statfs_of_file_systems)
{
    struct statfs fs;
    static const struct {
        const char *path;
        long magic;
    } known[] = {{"/proc", 0x9fa0}, {"/sys", 0x62656572}, {"/dev/shm", 0x01021994}};
    for (unsigned i = 0; i < COUNT(known); i++) {
        CHECK_OK(statfs(known[i].path, &fs));
        CHECK_EQ(fs.f_type, known[i].magic);
        CHECK_EQ(fs.f_namelen, 255);
        CHECK_EQ(fs.f_bsize, 4096);
    }
    CHECK(fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree);
    int p[2];
    REQUIRE_OK(pipe(p));
    CHECK_OK(fstatfs(p[0], &fs));
    CHECK_ERRNO(statfs("missing", &fs), ENOENT);
    CHECK_ERRNO(syscall(SYS_statfs, "/", 8), EFAULT);
    CHECK_ERRNO(fstatfs(999, &fs), EBADF);
    close(p[0]), close(p[1]);
}
