// SPDX-License-Identifier: BSD-2-Clause
// Files from several threads at once: descriptors that other threads close and replace, names that move under a
// walk, watches on files that go away. Fixed amounts of work; whatever a race may answer, it is one of Linux's errors,
// no data is lost or mixed, and nothing is left behind.
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum { THREADS = 4, LOW_FD = 100, N_FDS = 12, RECORD = 64 };

// A call that may fail, but only with these errors (0 ends the list).
static bool fails_only_with(long result, const char *call, const int *errors)
{
    if (result != -1)
        return true;
    for (; *errors; errors++)
        if (errno == *errors)
            return false;
    FAIL("%s fails with %s", call, errno_name(errno));
    return false;
}
#define MAY_FAIL(call, ...) fails_only_with((long)(call), #call, (const int[]){__VA_ARGS__, 0})

static int count_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static bool all_same(const char *bytes, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (bytes[i] != bytes[0])
            return false;
    return true;
}

// ---- one window of numbers, which everybody opens, replaces, reads and closes ----

static void *use_descriptors(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument * 31 + 5;
    char name[8], bytes[RECORD];
    for (int i = 0; i < harness_rounds(10000); i++) {
        int fd = LOW_FD + (int)(next_random(&seed) % N_FDS),
            other = LOW_FD + (int)(next_random(&seed) % N_FDS);
        int mine;
        switch (next_random(&seed) % 8) {
        case 0:
        case 1:
            snprintf(name, sizeof name, "f%u", next_random(&seed) % 4);
            REQUIRE_OK(mine = open(name, O_RDONLY));
            MAY_FAIL(dup2(mine, fd), EBUSY, EBADF);
            close(mine);
            break;
        case 2: MAY_FAIL(close(fd), EBADF); break;
        case 3:
        case 4:
            if (MAY_FAIL(pread(fd, bytes, sizeof bytes, RECORD * (next_random(&seed) % 8)),
                         EBADF) &&
                !all_same(bytes, sizeof bytes))
                FAIL("a read mixes two files");
            break;
        case 5: MAY_FAIL(dup3(fd, other, O_CLOEXEC), EBADF, EINVAL, EBUSY); break;
        case 6:
            mine = fcntl(fd, F_DUPFD, LOW_FD + N_FDS);
            if (MAY_FAIL(mine, EBADF)) {
                if (MAY_FAIL(pread(mine, bytes, sizeof bytes, 0), EBADF) &&
                    !all_same(bytes, sizeof bytes))
                    FAIL("a read mixes two files");
                CHECK_OK(close(mine));
            }
            break;
        case 7:
            MAY_FAIL(fcntl(fd, F_SETFD, FD_CLOEXEC), EBADF);
            if (next_random(&seed) % 16 == 0)
                CHECK_OK(syscall(SYS_close_range, LOW_FD + 2, LOW_FD + 5, 0));
            break;
        }
    }
    return NULL;
}

TEST_LIMIT(descriptors_replaced_by_others, 60)
{
    char name[8], bytes[RECORD * 8];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "f%d", i);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        memset(bytes, 'a' + i, sizeof bytes);
        CHECK_EQ(write(fd, bytes, sizeof bytes), sizeof bytes);
        close(fd);
    }
    int before = count_open();
    run_threads(THREADS, use_descriptors);
    syscall(SYS_close_range, LOW_FD, LOW_FD + N_FDS - 1, 0);
    CHECK_EQ(count_open(), before);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "f%d", i);
        CHECK_OK(unlink(name));
    }
}

// ---- one open file, one position ----

static int shared_fd;
static unsigned char seen[1024];

static void *read_records(void *argument)
{
    unsigned record[RECORD / sizeof(unsigned)];
    ssize_t n;
    (void)argument;
    while ((n = read(shared_fd, record, RECORD)) > 0) {
        if (n != RECORD || record[0] >= sizeof seen ||
            record[RECORD / sizeof(unsigned) - 1] != ~record[0])
            FAIL("%zd bytes that begin with %u are no record", n, record[0]);
        else if (__atomic_add_fetch(&seen[record[0]], 1, __ATOMIC_RELAXED) != 1)
            FAIL("record %u was read twice", record[0]);
    }
    CHECK_EQ(n, 0);
    return NULL;
}

static void *append_records(void *argument)
{
    unsigned record[RECORD / sizeof(unsigned)] = {0};
    for (unsigned i = 0; i < sizeof seen / THREADS; i++) {
        record[0] = i * THREADS + (unsigned)(uintptr_t)argument;
        record[RECORD / sizeof(unsigned) - 1] = ~record[0];
        int fd = i % 2 ? shared_fd : open("log", O_WRONLY | O_APPEND);
        CHECK_EQ(write(fd, record, RECORD), RECORD);
        if (fd != shared_fd)
            close(fd);
    }
    return NULL;
}

TEST_LIMIT(appends_and_reads_by_all, 60)
{
    REQUIRE_OK(shared_fd = open("log", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600));
    run_threads(THREADS, append_records);
    CHECK_EQ(lseek(shared_fd, 0, SEEK_END), sizeof seen * RECORD);
    CHECK_EQ(lseek(shared_fd, 0, SEEK_SET), 0);
    memset(seen, 0, sizeof seen);
    run_threads(THREADS, read_records);
    CHECK_BYTES(seen, 1, sizeof seen);
    close(shared_fd);
    unlink("log");
}

// ---- names ----

static void make_path(char *path, unsigned *seed)
{
    unsigned depth = next_random(seed) % 3 + 1;
    *path = '\0';
    strcpy(path, "tree");
    while (depth--)
        sprintf(path + strlen(path), "/%c", 'a' + (int)(next_random(seed) % 3));
}

static void *move_names(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument * 101 + 7;
    char a[64], b[64];
    struct stat st;
    int here = open(".", O_RDONLY);
    for (int i = 0; i < harness_rounds(8000); i++) {
        make_path(a, &seed);
        make_path(b, &seed);
        int fd;
        if (i % 64 == 0)
            syncfs(here);  // a kernel built with VERIFY=1 looks at its tree of names
        switch (next_random(&seed) % 9) {
        case 0:
        case 1: MAY_FAIL(mkdir(a, 0700), EEXIST, ENOENT, ENOTDIR); break;
        case 2:
            fd = open(a, O_RDWR | O_CREAT, 0600);
            if (MAY_FAIL(fd, ENOENT, ENOTDIR, EISDIR))
                close(fd);
            break;
        case 3: MAY_FAIL(unlink(a), ENOENT, ENOTDIR, EISDIR, EPERM); break;
        case 4: MAY_FAIL(rmdir(a), ENOENT, ENOTDIR, ENOTEMPTY); break;
        case 5:
        case 6: MAY_FAIL(rename(a, b), ENOENT, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL, EEXIST); break;
        case 7:
            MAY_FAIL(syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2), ENOENT, ENOTDIR, EINVAL,
                     ENOTEMPTY);
            break;
        case 8:
            if (MAY_FAIL(lstat(a, &st), ENOENT, ENOTDIR) && st.st_nlink > 64)
                FAIL("%s has %lu links", a, (unsigned long)st.st_nlink);
            MAY_FAIL(link(a, b), ENOENT, ENOTDIR, EEXIST, EPERM);
            break;
        }
    }
    close(here);
    return NULL;
}

// Removes what is below a directory and checks its count of links on the way.
static int remove_below(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    struct stat st;
    char below[2048];
    unsigned n_dirs = 0;
    int n = 0;
    REQUIRE(d != NULL);
    while ((e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%.30s", path, e->d_name);
        REQUIRE_OK(lstat(below, &st));
        CHECK_EQ(e->d_ino, st.st_ino);
        if (S_ISDIR(st.st_mode))
            n_dirs++;
    }
    REQUIRE_OK(stat(path, &st));
    CHECK_EQ(st.st_nlink, 2 + n_dirs);
    rewinddir(d);
    while ((e = readdir(d))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%.30s", path, e->d_name);
        n++;
        if (e->d_type == DT_DIR) {
            n += remove_below(below);
            CHECK_OK(rmdir(below));
        } else {
            CHECK_OK(unlink(below));
        }
    }
    closedir(d);
    return n;
}

TEST_LIMIT(names_moved_under_a_walk, 60)
{
    REQUIRE_OK(mkdir("tree", 0700));
    run_threads(THREADS, move_names);
    remove_below("tree");
    CHECK_OK(rmdir("tree"));
}

static volatile int stop;

static void *look_at_target(void *argument)
{
    struct stat st;
    char bytes[8];
    if ((intptr_t)argument == 0) {
        for (int i = 0; i < harness_rounds(2800); i++) {
            int fd = open("new", O_WRONLY | O_CREAT | O_EXCL, 0600);
            REQUIRE(fd >= 0);
            CHECK_EQ(write(fd, "whole!!", 8), 8);
            close(fd);
            CHECK_OK(rename("new", "target"));
        }
        stop = 1;
        return NULL;
    }
    while (!stop) {
        int fd = open("target", O_RDONLY);
        if (fd < 0) {
            FAIL("the target of a rename is missing: %s", errno_name(errno));
            break;
        }
        if (read(fd, bytes, sizeof bytes) != 8 || strcmp(bytes, "whole!!") != 0)
            FAIL("the target of a rename is not whole");
        close(fd);
        CHECK_OK(lstat("target", &st));
    }
    return NULL;
}

TEST_LIMIT(rename_over_is_one_step, 60)
{
    int fd = open("target", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_EQ(write(fd, "whole!!", 8), 8);
    close(fd);
    stop = 0;
    run_threads(THREADS, look_at_target);
    CHECK_OK(unlink("target"));
}

static void *list_names(void *argument)
{
    char name[32];
    if ((intptr_t)argument < 2) {
        for (int i = 0; i < harness_rounds(2400); i++) {
            snprintf(name, sizeof name, "list/t%ld-%d", (long)(intptr_t)argument, i % 7);
            int fd = open(name, O_WRONLY | O_CREAT, 0600);
            if (MAY_FAIL(fd, EEXIST))
                close(fd);
            CHECK_OK(unlink(name));
        }
        __atomic_add_fetch(&stop, 1, __ATOMIC_RELEASE);
        return NULL;
    }
    while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) < 2) {
        DIR *d = opendir("list");
        unsigned found = 0, n = 0;
        for (struct dirent *e; (e = readdir(d));) {
            unsigned k;
            if (sscanf(e->d_name, "stays%u", &k) == 1) {
                found |= 1u << k;
                n++;
            }
        }
        closedir(d);
        if (found != 0xfffff || n != 20)
            FAIL("a listing shows %u of 20 names that stay (%#x)", n, found);
    }
    return NULL;
}

TEST_LIMIT(listing_while_names_come_and_go, 60)
{
    char name[32];
    REQUIRE_OK(mkdir("list", 0700));
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "list/stays%d", i);
        int fd = open(name, O_WRONLY | O_CREAT, 0600);
        close(fd);
    }
    stop = 0;
    run_threads(THREADS, list_names);
    CHECK_EQ(remove_below("list"), 20);
    CHECK_OK(rmdir("list"));
}

// ---- watches on files that go ----

static int ep_fd;

static void *watch_and_close(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument * 17 + 3;
    struct epoll_event ev[8];
    uint64_t value = 1;
    int fds[2];
    for (int i = 0; i < harness_rounds(8000); i++) {
        int fd = LOW_FD + (int)(next_random(&seed) % N_FDS), mine;
        ev[0] = (struct epoll_event){.events = EPOLLIN | (next_random(&seed) % 2 ? EPOLLET : 0) |
                                               (next_random(&seed) % 4 ? 0 : EPOLLONESHOT),
                                     .data.fd = fd};
        switch (next_random(&seed) % 9) {
        case 0:
            REQUIRE_OK(mine = eventfd(0, EFD_NONBLOCK));
            MAY_FAIL(dup2(mine, fd), EBUSY, EBADF);
            close(mine);
            break;
        case 1:
            REQUIRE_OK(pipe2(fds, O_NONBLOCK));
            MAY_FAIL(dup2(fds[0], fd), EBUSY, EBADF);
            MAY_FAIL(write(fds[1], "x", 1), EPIPE);
            close(fds[0]);
            close(fds[1]);
            break;
        case 2: MAY_FAIL(close(fd), EBADF); break;
        case 3:
        case 4: MAY_FAIL(epoll_ctl(ep_fd, EPOLL_CTL_ADD, fd, ev), EEXIST, EBADF); break;
        case 5: MAY_FAIL(epoll_ctl(ep_fd, EPOLL_CTL_MOD, fd, ev), ENOENT, EBADF); break;
        case 6: MAY_FAIL(epoll_ctl(ep_fd, EPOLL_CTL_DEL, fd, NULL), ENOENT, EBADF); break;
        case 7: MAY_FAIL(write(fd, &value, 8), EBADF, EAGAIN); break;
        case 8:
            MAY_FAIL(epoll_wait(ep_fd, ev, 8, (int)(next_random(&seed) % 2)), EINTR);
            if (MAY_FAIL(read(fd, &value, 8), EBADF, EAGAIN))
                value = 1;
            break;
        }
    }
    return NULL;
}

TEST_LIMIT(watches_on_files_that_go, 60)
{
    signal(SIGPIPE, SIG_IGN);
    int before = count_open();
    struct epoll_event ev[64];
    REQUIRE_OK(ep_fd = epoll_create1(EPOLL_CLOEXEC));
    run_threads(THREADS, watch_and_close);
    syscall(SYS_close_range, LOW_FD, LOW_FD + N_FDS - 1, 0);
    CHECK_EQ(epoll_wait(ep_fd, ev, 64, 0), 0);  // every watch went with its file
    close(ep_fd);
    CHECK_EQ(count_open(), before);
}

// epolls in epolls, made and closed by everybody
static void *nest_watches(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument * 19 + 11;
    struct epoll_event ev = {.events = EPOLLIN};
    uint64_t value = 1;
    for (int i = 0; i < harness_rounds(4000); i++) {
        int fd = LOW_FD + (int)(next_random(&seed) % 6),
            other = LOW_FD + (int)(next_random(&seed) % 6), mine;
        switch (next_random(&seed) % 6) {
        case 0:
            REQUIRE_OK(mine = next_random(&seed) % 3 ? epoll_create1(0) : eventfd(0, EFD_NONBLOCK));
            MAY_FAIL(dup2(mine, fd), EBUSY, EBADF);
            close(mine);
            break;
        case 1:
        case 2:
            MAY_FAIL(epoll_ctl(fd, EPOLL_CTL_ADD, other, &ev), EEXIST, EBADF, EINVAL, ELOOP);
            break;
        case 3: MAY_FAIL(epoll_wait(fd, &ev, 1, 0), EBADF, EINVAL, EINTR); break;
        case 4: MAY_FAIL(write(fd, &value, 8), EBADF, EINVAL, EAGAIN); break;
        case 5: {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            MAY_FAIL(poll(&p, 1, 0), EINTR);
            if (next_random(&seed) % 4 == 0)
                MAY_FAIL(close(fd), EBADF);
            break;
        }
        }
        ev.events = EPOLLIN;
    }
    return NULL;
}

TEST_LIMIT(watches_of_watches, 60)
{
    int before = count_open();
    run_threads(THREADS, nest_watches);
    syscall(SYS_close_range, LOW_FD, LOW_FD + N_FDS - 1, 0);
    CHECK_EQ(count_open(), before);
}

// ---- one pipe, many ends ----

static int pipe_fds[2];
static unsigned long pipe_sum;

static void *through_a_pipe(void *argument)
{
    unsigned record[RECORD / sizeof(unsigned)];
    unsigned me = (unsigned)(uintptr_t)argument;
    if (me % 2 == 0) {
        int fd = dup(pipe_fds[1]);
        for (unsigned i = 0; i < 1000; i++) {
            for (unsigned k = 0; k < COUNT(record); k++)
                record[k] = i;
            CHECK_EQ(write(fd, record, RECORD), RECORD);
        }
        close(fd);
        if (__atomic_add_fetch(&stop, 1, __ATOMIC_ACQ_REL) == 2)
            close(pipe_fds[1]);
        return NULL;
    }
    for (;;) {
        struct pollfd p = {.fd = pipe_fds[0], .events = POLLIN};
        if (me == 3)
            CHECK_EQ(poll(&p, 1, -1), 1);
        ssize_t n = read(pipe_fds[0], record, RECORD);
        if (n == 0)
            return NULL;
        if (n != RECORD) {
            FAIL("a record of %zd bytes", n);
            return NULL;
        }
        for (unsigned k = 1; k < COUNT(record); k++)
            if (record[k] != record[0])
                FAIL("a record is mixed: %u and %u", record[0], record[k]);
        __atomic_add_fetch(&pipe_sum, record[0], __ATOMIC_RELAXED);
    }
}

TEST_LIMIT(records_through_one_pipe, 60)
{
    REQUIRE_OK(pipe(pipe_fds));
    stop = 0;
    pipe_sum = 0;
    run_threads(THREADS, through_a_pipe);
    CHECK_EQ(pipe_sum, 2ul * 1000 * 999 / 2);
    close(pipe_fds[0]);
}

// ---- one file that grows, shrinks and gets holes, a stripe for each thread ----

static void *use_stripe(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument, seed = me * 41 + 1;
    static unsigned char held[THREADS][64];
    char page[PAGE];
    memset(held[me], 0, sizeof held[me]);
    for (int i = 0; i < harness_rounds(2800); i++) {
        unsigned k = next_random(&seed) % 64;
        off_t at = (off_t)((k * THREADS + me) * PAGE);
        int value = (int)(next_random(&seed) % 255 + 1);
        switch (next_random(&seed) % 4) {
        case 0:
        case 1:
            memset(page, value, PAGE);
            CHECK_EQ(pwrite(shared_fd, page, PAGE, at), PAGE);
            held[me][k] = (unsigned char)value;
            break;
        case 2:
            CHECK_OK(fallocate(shared_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE));
            held[me][k] = 0;
            break;
        case 3:
            memset(page, 0x5a, PAGE);
            CHECK_EQ(pread(shared_fd, page, PAGE, at), PAGE);
            CHECK_BYTES(page, held[me][k], PAGE);
            break;
        }
        if (me == 0 && i % 64 == 0)
            CHECK_OK(ftruncate(shared_fd, (off_t)((64 * THREADS + (i & 64)) * PAGE)));
    }
    return NULL;
}

TEST_LIMIT(stripes_of_one_file, 60)
{
    REQUIRE_OK(shared_fd = open("stripes", O_RDWR | O_CREAT | O_TRUNC, 0600));
    REQUIRE_OK(ftruncate(shared_fd, 64 * THREADS * PAGE));
    run_threads(THREADS, use_stripe);
    close(shared_fd);
    unlink("stripes");
}
