// SPDX-License-Identifier: BSD-2-Clause
// readv, writev and their relatives on the descriptors that file.c leaves out: a call with several vectors does the
// work of one with a single buffer, whatever lies behind the descriptor. Source: readv(2).
#include "harness.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

// A file that keeps still, in vectors of odd sizes and in one piece.
static void same_in_pieces(const char *path)
{
    char whole[600] = "", pieces[600] = "";
    int fd = open(path, O_RDONLY);
    REQUIRE(fd >= 0);
    ssize_t len = read(fd, whole, 300);
    REQUIRE(len > 0);
    struct iovec in[5] = {
        {pieces, 1}, {pieces + 1, 0}, {pieces + 1, 2}, {pieces + 3, 97}, {pieces + 100, 200}};
    REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
    ssize_t n = readv(fd, in, 5);
    if (n != len || memcmp(whole, pieces, (size_t)len) != 0)
        FAIL("readv of %s gives %zd, read %zd", path, n, len);
    memset(pieces, 0, sizeof pieces);
    n = preadv(fd, in, 5, 0);
    if (n != len || memcmp(whole, pieces, (size_t)len) != 0)
        FAIL("preadv of %s gives %zd, read %zd", path, n, len);
    struct iovec out = {whole, 1};
    CHECK_ERRNO(writev(fd, &out, 1), EBADF);
    close(fd);
}

TEST(files_of_the_kernel)
{
    same_in_pieces("/proc/version");
    same_in_pieces("/proc/self/cmdline");
    same_in_pieces("/proc/self/maps");
    same_in_pieces("/sys/kernel/mm/transparent_hugepage/enabled");
    same_in_pieces("/proc/self/exe");
}

TEST(a_link_of_pipes_with_names)
{
    REQUIRE_OK(mkfifo("fifo", 0600));
    int fd = open("fifo", O_RDWR);
    REQUIRE(fd >= 0);
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
    char a[3], b[3];
    struct iovec in[2] = {{a, 3}, {b, 3}};
    CHECK_EQ(writev(fd, out, 3), 6);
    CHECK_EQ(readv(fd, in, 2), 6);
    CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "def", 3) == 0);
    CHECK_ERRNO(preadv(fd, in, 2, 0), ESPIPE);
    close(fd);
    unlink("fifo");
}

// A packet is what one writev carries, and one readv takes it, in pieces.
TEST(packets)
{
    int fds[2];
    REQUIRE_OK(pipe2(fds, O_DIRECT));
    struct iovec out[2] = {{"one", 3}, {"two", 3}};
    char a[4], b[60];
    struct iovec in[2] = {{a, 4}, {b, 60}};
    CHECK_EQ(writev(fds[1], out, 2), 6);
    CHECK_EQ(writev(fds[1], out, 1), 3);
    CHECK_EQ(readv(fds[0], in, 2), 6);
    CHECK(memcmp(a, "onet", 4) == 0 && memcmp(b, "wo", 2) == 0);
    CHECK_EQ(readv(fds[0], in, 2), 3);
    CHECK(memcmp(a, "one", 3) == 0);
    close(fds[0]), close(fds[1]);
}

TEST(events)
{
    struct iovec nothing = {NULL, 0};
    uint64_t word = 0;
    struct iovec whole[2] = {{&word, 8}, {&word, 0}}, small = {&word, 4};

    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    REQUIRE(timer >= 0);
    CHECK_ERRNO(readv(timer, whole, 2), EAGAIN);
    CHECK_ERRNO(readv(timer, &small, 1), EINVAL);
    CHECK_ERRNO(writev(timer, whole, 1), EINVAL);
    struct itimerspec at = {.it_value.tv_nsec = 1};
    REQUIRE_OK(timerfd_settime(timer, 0, &at, NULL));
    sleep_ns(2 * MS);
    CHECK_EQ(readv(timer, whole, 2), 8);
    CHECK_EQ(word, 1);
    close(timer);

    int event = eventfd(3, EFD_NONBLOCK);
    uint32_t half[2] = {9, 9};
    struct iovec halves[2] = {{&half[0], 4}, {&half[1], 4}};
    CHECK_EQ(readv(event, halves, 2), 8);  // one read of eight bytes, put into two places
    CHECK(half[0] == 3 && half[1] == 0);
    CHECK_ERRNO(readv(event, &small, 1), EINVAL);
    close(event);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_NONBLOCK);
    REQUIRE(signals >= 0);
    struct signalfd_siginfo info[2];
    struct iovec both[2] = {{&info[0], sizeof info[0]}, {&info[1], sizeof info[1]}};
    CHECK_ERRNO(readv(signals, both, 2), EAGAIN);
    raise(SIGUSR2);
    CHECK_EQ(readv(signals, both, 2), (ssize_t)sizeof info[0]);
    CHECK_EQ(info[0].ssi_signo, SIGUSR2);
    CHECK_ERRNO(writev(signals, both, 1), EINVAL);
    close(signals);

    int watch = inotify_init1(IN_NONBLOCK);
    REQUIRE(watch >= 0 && inotify_add_watch(watch, ".", IN_CREATE) >= 0);
    close(open("new", O_CREAT | O_RDWR, 0600));
    char room[2][256];
    struct iovec rooms[2] = {{room[0], 256}, {room[1], 256}};
    CHECK_EQ(readv(watch, rooms, 2), (ssize_t)sizeof(struct inotify_event) + 16);
    CHECK_ERRNO(readv(watch, rooms, 2), EAGAIN);
    close(watch);
    unlink("new");

    int set_of = epoll_create1(0);
    CHECK_ERRNO(readv(set_of, whole, 1), EINVAL);
    CHECK_ERRNO(writev(set_of, whole, 1), EINVAL);
    CHECK_ERRNO(readv(set_of, &nothing, 1), EINVAL);
    close(set_of);
}

TEST(what_cannot_be_read_or_written)
{
    char byte;
    struct iovec one = {&byte, 1};
    int dir = open(".", O_RDONLY), path = open(".", O_PATH);
    CHECK_ERRNO(readv(dir, &one, 1), EISDIR);
    CHECK_ERRNO(writev(dir, &one, 1), EBADF);
    CHECK_ERRNO(readv(path, &one, 1), EBADF);
    CHECK_ERRNO(preadv(path, &one, 1, 0), EBADF);
    close(dir), close(path);
    close(new_file("f", 1, 7));
    int in = open("f", O_RDONLY), out = open("f", O_WRONLY);
    CHECK_ERRNO(writev(in, &one, 1), EBADF);
    CHECK_ERRNO(pwritev(in, &one, 1, 0), EBADF);
    CHECK_ERRNO(readv(out, &one, 1), EBADF);
    CHECK_ERRNO(preadv(out, &one, 1, 0), EBADF);
    CHECK_EQ(readv(in, &one, 1), 1);
    CHECK_EQ(byte, 7);
    CHECK_EQ(readv(in, &one, 1), 0);  // the end
    close(in), close(out);
    CHECK_ERRNO(readv(in, &one, 1), EBADF);
    unlink("f");
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    REQUIRE(pidfd >= 0);
    CHECK_ERRNO(readv(pidfd, &one, 1), EINVAL);
    CHECK_ERRNO(writev(pidfd, &one, 1), EINVAL);
    close(pidfd);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    CHECK_ERRNO(readv(fds[1], &one, 1), EBADF);
    CHECK_ERRNO(writev(fds[0], &one, 1), EBADF);
    close(fds[1]);
    CHECK_EQ(readv(fds[0], &one, 1), 0);
    close(fds[0]);
}

TEST(random_devices)
{
    static const char *const names[] = {"/dev/random", "/dev/urandom"};
    for (size_t i = 0; i < COUNT(names); i++) {
        unsigned char a[64] = {0}, b[64] = {0};
        struct iovec in[3] = {{a, 64}, {NULL, 0}, {b, 64}};
        int fd = open(names[i], O_RDONLY);
        REQUIRE(fd >= 0);
        CHECK_EQ(readv(fd, in, 3), 128);
        int bits = 0;
        for (size_t j = 0; j < 64; j++)
            bits += __builtin_popcount(a[j]) + __builtin_popcount(b[j]);
        CHECK_RANGE(bits, 350, 680);  // of 1024, about half
        close(fd);
    }
}

// The vectors before the one that cannot be reached are done, but for a pipe: a page of it is filled as a whole.
TEST(a_vector_that_ends_early)
{
    int fds[2];
    REQUIRE_OK(pipe(fds));
    char *hole = map_hole(PAGE), a[4];
    struct iovec out[3] = {{"abcd", 4}, {hole, 4}, {"efgh", 4}};
    CHECK_ERRNO(writev(fds[1], out, 3), EFAULT);
    struct iovec in[2] = {{a, 4}, {hole, 4}};
    CHECK_EQ(write(fds[1], "ijkl", 4), 4);
    CHECK_EQ(readv(fds[0], in, 2), 4);
    CHECK(memcmp(a, "ijkl", 4) == 0);
    close(fds[0]), close(fds[1]);
    int fd = new_memfd(0);
    CHECK_EQ(pwritev(fd, out, 3, 10), 4);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 14);
    REQUIRE_OK(ftruncate(fd, 20));
    CHECK_EQ(preadv(fd, in, 2, 10), 4);
    CHECK(memcmp(a, "abcd", 4) == 0);
    close(fd);
}
