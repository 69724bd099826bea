// SPDX-License-Identifier: BSD-2-Clause
// Descriptors and data: read, write and their vectored and positioned forms on every kind of descriptor, seeking,
// sparse files, dup, fcntl, pipes, eventfd, locks. Sources: read(2), write(2), readv(2), lseek(2), dup(2),
// fcntl(2), pipe(7), eventfd(2).
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

TEST(positions)
{
    int fd = new_file("f", 0, 0);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    char text[16];
    CHECK_EQ(read(fd, text, 4), 0);  // at the end
    CHECK_EQ(lseek(fd, 3, SEEK_SET), 3);
    CHECK_EQ(read(fd, text, 4), 4);
    CHECK(memcmp(text, "3456", 4) == 0);
    CHECK_EQ(lseek(fd, -2, SEEK_CUR), 5);
    CHECK_EQ(pread(fd, text, 4, 1), 4);  // leaves the position alone
    CHECK(memcmp(text, "1234", 4) == 0);
    CHECK_EQ(pwrite(fd, "AB", 2, 0), 2);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5);
    CHECK_EQ(lseek(fd, -1, SEEK_END), 9);
    CHECK_EQ(read(fd, text, 16), 1);
    CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERRNO(lseek(fd, 0, 99), EINVAL);
    CHECK_ERRNO(pread(fd, text, 1, -1), EINVAL);
    CHECK_ERRNO(pwrite(fd, text, 1, -1), EINVAL);
    CHECK_EQ(read(fd, text, 0), 0);
    CHECK_EQ(write(fd, text, 0), 0);
    CHECK_ERRNO(lseek(9999, 0, SEEK_SET), EBADF);
    close(fd);
    unlink("f");
}

TEST(bad_descriptors_and_pointers)
{
    char text[4];
    int fd = new_file("f", PAGE, 1);
    CHECK_ERRNO(read(9999, text, 1), EBADF);
    CHECK_ERRNO(write(-1, text, 1), EBADF);
    CHECK_ERRNO(close(9999), EBADF);
    CHECK_ERRNO(pread(fd, (void *)8, 1, 0), EFAULT);
    CHECK_ERRNO(pwrite(fd, (void *)8, 1, 0), EFAULT);
    CHECK_ERRNO(pread(fd, (void *)0xffff888000000000, 1, 0), EFAULT);
    CHECK_ERRNO(pread(fd, text, (size_t)-1, 0), EFAULT);  // the range leaves user space
    CHECK_EQ(read(fd, (void *)8, 0), 0);
    int dir = open(".", O_RDONLY);
    CHECK_ERRNO(read(dir, text, 1), EISDIR);
    CHECK_ERRNO(pread(dir, text, 1, 0), EISDIR);
    close(dir), close(fd);
    unlink("f");
}

TEST(a_buffer_that_ends_early_transfers_a_part)
{
    int fd = new_file("f", 2 * PAGE, 'a');
    char *p = map_anon(2 * PAGE);
    REQUIRE_OK(munmap(p + PAGE, PAGE));
    ssize_t n = pread(fd, p + PAGE - 10, 100, 0);
    CHECK(n == 10 || (n == -1 && errno == EFAULT));
    CHECK_BYTES(p + PAGE - 10, 'a', 10);
    n = pwrite(fd, p + PAGE - 10, 100, 5);
    CHECK(n == 10 || (n == -1 && errno == EFAULT));
    munmap(p, PAGE);
    close(fd);
    unlink("f");
}

TEST(holes_read_as_zeros)
{
    int fd = new_file("f", 0, 0);
    REQUIRE(pwrite(fd, "x", 1, 10 * PAGE) == 1);
    char page[PAGE];
    CHECK_EQ(pread(fd, page, PAGE, 3 * PAGE), PAGE);
    CHECK_BYTES(page, 0, PAGE);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 10 * PAGE + 1);
    CHECK_RANGE(st.st_blocks * 512, 1, 4 * PAGE);  // the hole takes no room
    CHECK_EQ(lseek(fd, 0, SEEK_DATA), 10 * PAGE);
    CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
    CHECK_EQ(lseek(fd, 10 * PAGE, SEEK_HOLE), 10 * PAGE + 1);
    CHECK_ERRNO(lseek(fd, 11 * PAGE, SEEK_DATA), ENXIO);
    CHECK_ERRNO(lseek(fd, 11 * PAGE, SEEK_HOLE), ENXIO);
    CHECK_OK(ftruncate(fd, 1ul << 33));  // 8 GiB of nothing
    CHECK_EQ(pread(fd, page, PAGE, 1ul << 32), PAGE);
    CHECK_BYTES(page, 0, PAGE);
    close(fd);
    unlink("f");
}

TEST(overwrite_and_extend)
{
    int fd = new_file("f", 0, 0);
    char block[1000], back[5000];
    for (int i = 0; i < 5; i++) {
        memset(block, 'a' + i, sizeof block);
        CHECK_EQ(pwrite(fd, block, sizeof block, i * 1000), 1000);
    }
    CHECK_EQ(pread(fd, back, 5000, 0), 5000);
    for (int i = 0; i < 5; i++)
        CHECK_BYTES(back + i * 1000, 'a' + i, 1000);
    CHECK_EQ(pread(fd, back, 5000, 4500), 500);
    close(fd);
    unlink("f");
}

// ---- vectors on every kind of descriptor ----

static void check_vectors(int writer, int reader, const char *kind, bool seekable)
{
    struct iovec out[4] = {{"one", 3}, {"", 0}, {"-two-", 5}, {"three", 5}};
    char a[4], b[6], c[10];
    struct iovec in[3] = {{a, 4}, {b, 5}, {c, 4}};
    ssize_t n = writev(writer, out, 4);
    if (n != 13)
        FAIL("writev on %s gives %zd %s, want 13", kind, n, errno_name(errno));
    if (seekable)
        CHECK_EQ(lseek(reader, 0, SEEK_SET), 0);
    n = readv(reader, in, 3);
    if (n != 13 || memcmp(a, "one-", 4) != 0 || memcmp(b, "two-t", 5) != 0 ||
        memcmp(c, "hree", 4) != 0)
        FAIL("readv on %s gives %zd: %.4s %.5s %.4s", kind, n, a, b, c);
    if (seekable) {
        CHECK_EQ(pwritev(writer, out, 4, 100), 13);
        CHECK_EQ(preadv(reader, in, 3, 100), 13);
        CHECK(memcmp(a, "one-", 4) == 0 && memcmp(c, "hree", 4) == 0);
        CHECK_ERRNO(preadv(reader, in, 3, -2), EINVAL);
    } else {
        CHECK_ERRNO(pwritev(writer, out, 4, 100), ESPIPE);
        CHECK_ERRNO(preadv(reader, in, 3, 100), ESPIPE);
        CHECK_ERRNO(pread(reader, a, 1, 0), ESPIPE);
        CHECK_ERRNO(pwrite(writer, a, 1, 0), ESPIPE);
        CHECK_ERRNO(lseek(reader, 0, SEEK_SET), ESPIPE);
    }
    CHECK_ERRNO(writev(writer, out, -1), EINVAL);
    CHECK_ERRNO(writev(writer, out, IOV_MAX + 1), EINVAL);
    CHECK_EQ(writev(writer, out, 0), 0);
    CHECK_ERRNO(writev(writer, (void *)8, 2), EFAULT);
    struct iovec bad[2] = {{"x", 1}, {"y", (size_t)-1}};
    CHECK_ERRNO(writev(writer, bad, 2), EINVAL);  // a length that is negative as ssize_t
}

TEST(vectors_on_files_and_pipes)
{
    int fd = new_file("f", 0, 0);
    check_vectors(fd, fd, "a file", true);
    close(fd);
    unlink("f");
    fd = new_memfd(0);
    check_vectors(fd, fd, "a memfd", true);
    close(fd);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    check_vectors(fds[1], fds[0], "a pipe", false);
    close(fds[0]), close(fds[1]);
}

TEST(vectors_on_devices)
{
    struct iovec out[2] = {{"ab", 2}, {"cde", 3}};
    char a[3] = "xx", b[4] = "yyy";
    struct iovec in[2] = {{a, 2}, {b, 3}};
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR),
        full = open("/dev/full", O_RDWR);
    CHECK_EQ(writev(null, out, 2), 5);
    CHECK_EQ(readv(null, in, 2), 0);
    CHECK_EQ(writev(zero, out, 2), 5);
    CHECK_EQ(readv(zero, in, 2), 5);
    CHECK(a[0] == 0 && a[1] == 0 && b[0] == 0 && b[2] == 0);
    CHECK_ERRNO(writev(full, out, 2), ENOSPC);
    CHECK_EQ(readv(full, in, 2), 5);
    close(null), close(zero), close(full);
    int event = eventfd(0, 0);
    uint64_t one = 1, got = 0;
    struct iovec halves[2] = {{&one, 8}, {&one, 0}};
    CHECK_EQ(writev(event, halves, 2), 8);
    struct iovec whole = {&got, 8};
    CHECK_EQ(readv(event, &whole, 1), 8);
    CHECK_EQ(got, 1);
    close(event);
}

TEST(writev_on_the_console)
{
    // A kernel that dropped the first vector printed only newlines. The driver looks for this line.
    struct iovec out[3] = {{"note file/writev", 16}, {"_on_the_console: ", 17}, {"whole\n", 6}};
    CHECK_EQ(writev(STDOUT_FILENO, out, 3), 39);
}

TEST(preadv2_flags)
{
    int fd = new_file("f", 0, 0);
    char a[4];
    struct iovec in = {a, 4}, out = {"wxyz", 4};
    CHECK_EQ(syscall(SYS_pwritev2, fd, &out, 1, -1L, -1L, 0), 4);  // -1: at the position
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 4);
    CHECK_EQ(syscall(SYS_preadv2, fd, &in, 1, 0L, 0L, 0), 4);
    CHECK_ERRNO(syscall(SYS_preadv2, fd, &in, 1, 0L, 0L, 0x10000), EOPNOTSUPP);
    CHECK_EQ(syscall(SYS_pwritev2, fd, &out, 1, 0L, 0L, 0x10 /* RWF_APPEND */), 4);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 8);
    close(fd);
    unlink("f");
}

// ---- the descriptor table ----

TEST(dup_shares_the_position)
{
    int fd = new_file("f", PAGE, 1), copy = dup(fd);
    REQUIRE(copy > fd);
    CHECK_EQ(lseek(fd, 100, SEEK_SET), 100);
    CHECK_EQ(lseek(copy, 0, SEEK_CUR), 100);
    CHECK_EQ(dup2(fd, fd), fd);
    CHECK_EQ(dup2(fd, 77), 77);
    CHECK_EQ(dup2(copy, 77), 77);  // closes what was there
    CHECK_EQ(lseek(77, 0, SEEK_CUR), 100);
    CHECK_EQ(fcntl(77, F_GETFD), 0);
    CHECK_EQ(dup3(fd, 78, O_CLOEXEC), 78);
    CHECK_EQ(fcntl(78, F_GETFD), FD_CLOEXEC);
    CHECK_ERRNO(dup3(fd, fd, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_dup3, fd, 79, 0x8), EINVAL);
    CHECK_ERRNO(dup2(9999, 80), EBADF);
    CHECK_ERRNO(dup2(fd, -1), EBADF);
    CHECK_ERRNO(dup(9999), EBADF);
    CHECK_OK(close(fd));
    CHECK_EQ(lseek(copy, 0, SEEK_CUR), 100);
    close(copy), close(77), close(78);
    unlink("f");
}

TEST(lowest_free_number)
{
    int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY),
        c = open("/dev/null", O_RDONLY);
    CHECK(a < b && b < c);
    close(b);
    CHECK_EQ(open("/dev/null", O_RDONLY), b);
    int high = fcntl(a, F_DUPFD, 200);
    CHECK_EQ(high, 200);
    CHECK_EQ(fcntl(a, F_DUPFD_CLOEXEC, 200), 201);
    CHECK_EQ(fcntl(201, F_GETFD), FD_CLOEXEC);
    CHECK_ERRNO(fcntl(a, F_DUPFD, -1), EINVAL);
    CHECK_ERRNO(fcntl(a, F_DUPFD, 1 << 30), EINVAL);
    close(a), close(b), close(c), close(200), close(201);
}

TEST(fcntl_flags)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_OK(fcntl(fd, F_SETFD, 0));
    CHECK_EQ(fcntl(fd, F_GETFD), 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR);
    CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK | O_WRONLY));  // the access mode cannot change
    CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(fcntl(fd, 9999), EINVAL);
    CHECK_ERRNO(fcntl(9999, F_GETFD), EBADF);
    close(fd);
    CHECK_ERRNO(fcntl(fd, F_GETFD), EBADF);
}

TEST(descriptor_limit)
{
    struct rlimit old, limit;
    REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &old));
    limit = old;
    limit.rlim_cur = 64;
    REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &limit));
    int opened[64], n = 0;
    while (n < 64 && (opened[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    CHECK_EQ(errno, EMFILE);
    CHECK(n > 0 && n < 64 && opened[n - 1] == 63);
    int fds[2];
    CHECK_ERRNO(pipe(fds), EMFILE);
    CHECK_ERRNO(dup(0), EMFILE);
    CHECK_ERRNO(dup2(0, 64), EBADF);
    CHECK_ERRNO(eventfd(0, 0), EMFILE);
    while (n > 0)
        close(opened[--n]);
    REQUIRE_OK(setrlimit(RLIMIT_NOFILE, &old));
}

TEST(close_range_closes)
{
    int base = fcntl(0, F_DUPFD, 300);
    REQUIRE(base == 300);
    CHECK_EQ(fcntl(0, F_DUPFD, 305), 305);
    CHECK_OK(syscall(436, 300, 400, 4 /* CLOEXEC */));
    CHECK_EQ(fcntl(300, F_GETFD), FD_CLOEXEC);
    CHECK_OK(syscall(436, 300, 400, 0));
    CHECK_ERRNO(fcntl(300, F_GETFD), EBADF);
    CHECK_ERRNO(fcntl(305, F_GETFD), EBADF);
    CHECK_ERRNO(syscall(436, 400, 300, 0), EINVAL);
    CHECK_ERRNO(syscall(436, 300, 400, 0x100), EINVAL);
}

// ---- pipes ----

TEST(pipe_carries_bytes_in_order)
{
    int fds[2];
    REQUIRE_OK(pipe2(fds, O_CLOEXEC));
    CHECK_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_ERRNO(pipe2(fds, 0x100), EINVAL);
    CHECK_EQ(write(fds[1], "abc", 3), 3);
    CHECK_EQ(write(fds[1], "def", 3), 3);
    int waiting = 0;
    CHECK_OK(ioctl(fds[0], FIONREAD, &waiting));
    CHECK_EQ(waiting, 6);
    char text[8];
    CHECK_EQ(read(fds[0], text, 4), 4);
    CHECK_EQ(read(fds[0], text + 4, 4), 2);
    CHECK(memcmp(text, "abcdef", 6) == 0);
    CHECK_ERRNO(write(fds[0], "x", 1), EBADF);
    CHECK_ERRNO(read(fds[1], text, 1), EBADF);
    close(fds[1]);
    CHECK_EQ(read(fds[0], text, 1), 0);
    close(fds[0]);
    CHECK_ERRNO(syscall(SYS_pipe2, (void *)8, 0), EFAULT);
}

TEST(pipe_capacity)
{
    int fds[2];
    REQUIRE_OK(pipe2(fds, O_NONBLOCK));
    char text[PAGE];
    memset(text, 'p', sizeof text);
    CHECK_ERRNO(read(fds[0], text, 1), EAGAIN);
    CHECK_EQ(fcntl(fds[0], F_GETPIPE_SZ), 65536);
    size_t filled = 0;
    ssize_t n;
    while ((n = write(fds[1], text, sizeof text)) > 0)
        filled += (size_t)n;
    CHECK_EQ(filled, 65536);
    CHECK_EQ(errno, EAGAIN);
    struct pollfd poller = {fds[1], POLLOUT, 0};
    CHECK_EQ(poll(&poller, 1, 0), 0);
    CHECK_EQ(read(fds[0], text, PAGE), PAGE);
    CHECK_EQ(poll(&poller, 1, 0), 1);
    while (read(fds[0], text, PAGE) > 0) {
    }
    CHECK(fcntl(fds[0], F_SETPIPE_SZ, 4096) >= 4096);
    CHECK_EQ(fcntl(fds[0], F_GETPIPE_SZ), 4096);
    close(fds[0]), close(fds[1]);
}

struct pipe_job {
    int fd;
    char letter;
};

static void *write_lines(void *argument)
{
    struct pipe_job *job = argument;
    char line[256];
    memset(line, job->letter, sizeof line);
    for (int i = 0; i < 400; i++)
        if (write(job->fd, line, sizeof line) != sizeof line)
            FAIL("a short write of PIPE_BUF or less");
    return NULL;
}

TEST(pipe_writes_are_atomic)
{
    int fds[2];
    REQUIRE_OK(pipe(fds));
    pthread_t ids[4];
    struct pipe_job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct pipe_job){fds[1], (char)('a' + i)};
        REQUIRE(pthread_create(&ids[i], NULL, write_lines, &jobs[i]) == 0);
    }
    int counts[4] = {0};
    for (int i = 0; i < 1600; i++) {
        char line[256];
        size_t got = 0;
        while (got < sizeof line) {
            ssize_t n = read(fds[0], line + got, sizeof line - got);
            REQUIRE(n > 0);
            got += (size_t)n;
        }
        REQUIRE(line[0] >= 'a' && line[0] <= 'd');
        counts[line[0] - 'a']++;
        CHECK_BYTES(line, line[0], sizeof line);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        CHECK_EQ(counts[i], 400);
    }
    close(fds[0]), close(fds[1]);
}

static void *write_much(void *argument)
{
    char *block = malloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        block[i] = (char)(i * 7 + (i >> 8));
    CHECK_EQ(write(*(int *)argument, block, 1 << 20), 1 << 20);  // blocks until all of it went
    close(*(int *)argument);
    free(block);
    return NULL;
}

TEST(pipe_megabyte_through_a_blocking_pipe)
{
    int fds[2];
    REQUIRE_OK(pipe(fds));
    pthread_t id;
    REQUIRE(pthread_create(&id, NULL, write_much, &fds[1]) == 0);
    size_t total = 0;
    unsigned char block[5000];
    ssize_t n;
    bool ok = true;
    while ((n = read(fds[0], block, sizeof block)) > 0)
        for (ssize_t i = 0; i < n; i++, total++)
            ok = ok && block[i] == (unsigned char)(total * 7 + (total >> 8));
    CHECK(ok);
    CHECK_EQ(total, 1 << 20);
    pthread_join(id, NULL);
    close(fds[0]);
}

// ---- eventfd ----

TEST(eventfd_adds_up)
{
    int fd = eventfd(5, EFD_NONBLOCK | EFD_CLOEXEC);
    REQUIRE(fd >= 0);
    uint64_t value = 0;
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, 5);
    CHECK_ERRNO(read(fd, &value, 8), EAGAIN);
    value = 3;
    CHECK_EQ(write(fd, &value, 8), 8);
    CHECK_EQ(write(fd, &value, 8), 8);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, 6);
    value = ~0ull;
    CHECK_ERRNO(write(fd, &value, 8), EINVAL);
    value = ~0ull - 1;
    CHECK_EQ(write(fd, &value, 8), 8);
    value = 1;
    CHECK_ERRNO(write(fd, &value, 8), EAGAIN);  // full
    struct pollfd poller = {fd, POLLIN | POLLOUT, 0};
    CHECK_EQ(poll(&poller, 1, 0), 1);
    CHECK_EQ(poller.revents, POLLIN);
    CHECK_ERRNO(read(fd, &value, 4), EINVAL);
    CHECK_ERRNO(write(fd, &value, 4), EINVAL);
    close(fd);
    fd = eventfd(3, EFD_SEMAPHORE);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(read(fd, &value, 8), 8);
        CHECK_EQ(value, 1);
    }
    close(fd);
    CHECK_ERRNO(eventfd(0, 0x100), EINVAL);
}

static void *post_event(void *argument)
{
    uint64_t one = 1;
    sleep_ns(20 * MS);
    CHECK_EQ(write(*(int *)argument, &one, 8), 8);
    return NULL;
}

TEST(eventfd_blocks_until_posted)
{
    int fd = eventfd(0, 0);
    pthread_t id;
    uint64_t value = 0;
    REQUIRE(pthread_create(&id, NULL, post_event, &fd) == 0);
    CHECK_EQ(read(fd, &value, 8), 8);
    CHECK_EQ(value, 1);
    pthread_join(id, NULL);
    close(fd);
}

// ---- whole-file calls ----

TEST(sendfile_and_copy_file_range)
{
    int from = new_file("from", 3 * PAGE, 'a'), to = new_file("to", 0, 0);
    off_t at = PAGE;
    CHECK_EQ(sendfile(to, from, &at, PAGE + 10), PAGE + 10);
    CHECK_EQ(at, 2 * PAGE + 10);
    char page[PAGE];
    CHECK_EQ(pread(to, page, PAGE, 0), PAGE);
    CHECK_BYTES(page, 'b', PAGE);
    long in = 0, out = 0;
    long n = syscall(SYS_copy_file_range, from, &in, to, &out, 100, 0);
    CHECK(n == 100 || (n == -1 && (errno == ENOSYS || errno == EXDEV || errno == EINVAL)));
    CHECK_ERRNO(sendfile(to, 9999, NULL, 1), EBADF);
    close(from), close(to);
    unlink("from"), unlink("to");
}

TEST(sync_calls)
{
    int fd = new_file("f", PAGE, 1), fds[2];
    CHECK_OK(fsync(fd));
    CHECK_OK(fdatasync(fd));
    CHECK_OK(syscall(SYS_sync_file_range, fd, 0, PAGE, 0));
    CHECK_ERRNO(fsync(9999), EBADF);
    REQUIRE_OK(pipe(fds));
    CHECK_ERRNO(fsync(fds[0]), EINVAL);
    close(fds[0]), close(fds[1]), close(fd);
    unlink("f");
}

TEST(flock_excludes)
{
    int a = new_file("f", 0, 0), b = open("f", O_RDWR);
    CHECK_OK(flock(a, LOCK_EX));
    CHECK_ERRNO(flock(b, LOCK_EX | LOCK_NB), EAGAIN);
    CHECK_ERRNO(flock(b, LOCK_SH | LOCK_NB), EAGAIN);
    CHECK_OK(flock(a, LOCK_SH));
    CHECK_OK(flock(b, LOCK_SH | LOCK_NB));
    CHECK_OK(flock(a, LOCK_UN));
    CHECK_OK(flock(b, LOCK_EX | LOCK_NB));
    close(b);  // closing gives it up
    CHECK_OK(flock(a, LOCK_EX | LOCK_NB));
    CHECK_ERRNO(flock(a, 77), EINVAL);
    close(a);
    unlink("f");
}

TEST(record_locks_of_one_process)
{
    int fd = new_file("f", PAGE, 1);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    CHECK_OK(fcntl(fd, F_SETLK, &lock));
    lock.l_type = F_RDLCK;
    CHECK_OK(fcntl(fd, F_GETLK, &lock));
    CHECK_EQ(lock.l_type, F_UNLCK);  // one's own locks are no obstacle
    lock.l_type = 99;
    CHECK_ERRNO(fcntl(fd, F_SETLK, &lock), EINVAL);
    close(fd);
    unlink("f");
}

TEST(fadvise_and_readahead)
{
    int fd = new_file("f", PAGE, 1), fds[2];
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), 0);
    CHECK_EQ(posix_fadvise(fd, 0, 0, 99), EINVAL);
    REQUIRE_OK(pipe(fds));
    CHECK_EQ(posix_fadvise(fds[0], 0, 0, 0), ESPIPE);
    close(fd), close(fds[0]), close(fds[1]);
    unlink("f");
}

TEST(console_descriptors)
{
    for (int fd = 0; fd < 3; fd++) {
        CHECK(fcntl(fd, F_GETFD) >= 0);
        CHECK(fcntl(fd, F_GETFL) >= 0);
        struct stat st;
        CHECK_OK(fstat(fd, &st));
    }
    struct {
        unsigned short row, col, x, y;
    } size;
    int result = ioctl(1, TIOCGWINSZ, &size);
    CHECK(result == 0 || errno == ENOTTY);
    int fd = new_file("f", 0, 0);
    CHECK_ERRNO(ioctl(fd, TIOCGWINSZ, &size), ENOTTY);
    CHECK_EQ(isatty(fd), 0);
    CHECK_ERRNO(ioctl(9999, TIOCGWINSZ, &size), EBADF);
    close(fd);
    unlink("f");
}
