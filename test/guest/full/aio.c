// SPDX-License-Identifier: BSD-2-Clause
// Asynchronous I/O. Sources: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2), linux/aio_abi.h.
#include "harness.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define RING_MAGIC 0xa10a10a1u
struct ring {
    unsigned id, nr, head, tail, magic, compat, incompat, header;
};

static long setup(unsigned n, aio_context_t *id) { return syscall(SYS_io_setup, n, id); }
static long destroy(aio_context_t id) { return syscall(SYS_io_destroy, id); }
static long submit(aio_context_t id, long n, struct iocb **list)
{
    return syscall(SYS_io_submit, id, n, list);
}
static long submit_one(aio_context_t id, struct iocb *io) { return submit(id, 1, &io); }
static long events(aio_context_t id, long min, long n, struct io_event *to, struct timespec *ts)
{
    return syscall(SYS_io_getevents, id, min, n, to, ts);
}

static aio_context_t new_context(unsigned n)
{
    aio_context_t id = 0;
    REQUIRE_OK(setup(n, &id));
    return id;
}

static struct iocb request(int op, int fd, void *buf, size_t len, long offset)
{
    return (struct iocb){.aio_lio_opcode = op,
                         .aio_fildes = fd,
                         .aio_buf = (uintptr_t)buf,
                         .aio_nbytes = len,
                         .aio_offset = offset,
                         .aio_data = 0x1122334455667788};
}

// The event of one request that must come.
static struct io_event one_event(aio_context_t id)
{
    struct io_event e = {0};
    CHECK_EQ(events(id, 1, 1, &e, NULL), 1);
    return e;
}

static long long result_of(aio_context_t id, struct iocb *io)
{
    CHECK_EQ(submit_one(id, io), 1);
    struct io_event e = one_event(id);
    CHECK_EQ(e.obj, (uintptr_t)io);
    CHECK_EQ(e.data, io->aio_data);
    CHECK_EQ(e.res2, 0);
    return e.res;
}

static bool nothing_there(aio_context_t id)
{
    struct io_event e;
    struct timespec none = {0, 0};
    return events(id, 0, 1, &e, &none) == 0;
}

TEST(setup_and_its_errors)
{
    aio_context_t id = 0, other = 1;
    CHECK_ERRNO(setup(0, &id), EINVAL);
    CHECK_ERRNO(setup(4, &other), EINVAL);
    CHECK_ERRNO(setup(4, NULL), EFAULT);
    CHECK_ERRNO(setup(0, (void *)8), EFAULT);
    CHECK_ERRNO(setup(0xffffffff, &id), EINVAL);
    CHECK_ERRNO(setup(0x80000000, &id), EAGAIN);
    CHECK_ERRNO(setup(4200000, &id), EINVAL);  // more than 2^28 bytes of events, twice
    CHECK_ERRNO(setup(4000000, &id), EAGAIN);  // more than aio-max-nr
    CHECK_EQ(id, 0);
    REQUIRE_OK(setup(4, &id));
    CHECK(id % PAGE == 0 && id != 0);
    CHECK_OK(destroy(id));
    CHECK_ERRNO(destroy(id), EINVAL);
    CHECK_ERRNO(destroy(0), EINVAL);
    CHECK_ERRNO(destroy((uintptr_t)map_anon(PAGE)), EINVAL);
}

TEST(the_ring_that_is_mapped)
{
    struct vma v;
    aio_context_t id = new_context(100);
    struct ring *ring = (void *)(uintptr_t)id;
    CHECK_EQ(ring->magic, RING_MAGIC);
    CHECK_EQ(ring->compat, 1);
    CHECK_EQ(ring->incompat, 0);
    CHECK_EQ(ring->header, 32);
    CHECK_EQ(ring->head, 0);
    CHECK_EQ(ring->tail, 0);
    REQUIRE(vma_at(ring, &v));
    CHECK_EQ(ring->nr, (v.end - v.start) / 32 - 1);
    CHECK_RANGE(ring->nr, 202, 1000000);
    CHECK_STR(v.name, "/[aio] (deleted)");
    CHECK_STR(v.perms, "rw-s");
    // An event taken from the ring by the program itself, as libaio does it.
    int fd = new_file("aio", PAGE, 'a');
    char c;
    struct iocb io = request(IOCB_CMD_PREAD, fd, &c, 1, 0);
    CHECK_EQ(submit_one(id, &io), 1);
    CHECK_EQ(__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE), 1);
    const struct io_event *e = (void *)(ring + 1);
    CHECK_EQ(e->obj, (uintptr_t)&io);
    CHECK_EQ(e->data, io.aio_data);
    CHECK_EQ(e->res, 1);
    ring->head = 1;
    CHECK(nothing_there(id));
    CHECK_OK(destroy(id));
    CHECK(!vma_at(ring, &v));
    close(fd), unlink("aio");
}

TEST(reads_and_writes)
{
    aio_context_t id = new_context(8);
    char out[100], in[100] = {0};
    int fd = open("aio", O_CREAT | O_RDWR | O_TRUNC, 0600);
    memset(out, 'x', sizeof(out));
    struct iocb io = request(IOCB_CMD_PWRITE, fd, out, sizeof(out), 50);
    CHECK_EQ(result_of(id, &io), 100);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 150);
    io = request(IOCB_CMD_PREAD, fd, in, sizeof(in), 100);
    CHECK_EQ(result_of(id, &io), 50);
    CHECK_BYTES(in, 'x', 50);
    CHECK_EQ(in[50], 0);
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 150);  // the file's own position is left alone
    struct iovec v[2] = {{in, 10}, {in + 20, 10}};
    memset(in, 0, sizeof(in));
    io = request(IOCB_CMD_PREADV, fd, v, 2, 45);
    CHECK_EQ(result_of(id, &io), 20);
    CHECK_EQ(in[4], 0);
    CHECK_EQ(in[5], 'x');
    CHECK_EQ(in[15], 0);
    CHECK_EQ(in[29], 'x');
    io = request(IOCB_CMD_PWRITEV, fd, v, 2, 150);
    CHECK_EQ(result_of(id, &io), 20);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 170);
    io = request(IOCB_CMD_PWRITE, fd, out, 10, 0);
    io.aio_rw_flags = RWF_APPEND;
    CHECK_EQ(result_of(id, &io), 10);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 180);
    io = request(IOCB_CMD_PREAD, fd, in, 10, 1000);
    CHECK_EQ(result_of(id, &io), 0);
    io = request(IOCB_CMD_PREAD, fd, (void *)8, 10,
                 100);  // found out while it is done: in the event
    CHECK_EQ(result_of(id, &io), -EFAULT);
    io = request(IOCB_CMD_FSYNC, fd, NULL, 0, 0);
    CHECK_EQ(result_of(id, &io), 0);
    io = request(IOCB_CMD_FDSYNC, fd, NULL, 0, 0);
    CHECK_EQ(result_of(id, &io), 0);
    close(fd), unlink("aio");
    CHECK_OK(destroy(id));
}

TEST(a_pipe_has_no_offset)
{
    aio_context_t id = new_context(8);
    int p[2];
    char c[4] = "abc";
    REQUIRE_OK(pipe2(p, O_NONBLOCK));
    struct iocb io = request(IOCB_CMD_PWRITE, p[1], c, 3, 77);
    CHECK_EQ(result_of(id, &io), 3);
    memset(c, 0, sizeof(c));
    io = request(IOCB_CMD_PREAD, p[0], c, 4, 0);
    CHECK_EQ(result_of(id, &io), 3);
    CHECK_STR(c, "abc");
    CHECK_EQ(result_of(id, &io), -EAGAIN);
    close(p[0]), close(p[1]);
    CHECK_OK(destroy(id));
}

TEST(submit_errors)
{
    aio_context_t id = new_context(8);
    char c;
    int fd = new_file("aio", PAGE, 'a'), only = open("aio", O_WRONLY), path = open("aio", O_PATH);
    int pipe_fds[2], event = eventfd(0, 0);
    REQUIRE_OK(pipe(pipe_fds));
    struct iocb good = request(IOCB_CMD_PREAD, fd, &c, 1, 0), io = good,
                *list[3] = {&good, &io, &good};
    CHECK_EQ(submit(id, 0, list), 0);
    CHECK_ERRNO(submit(id, -1, list), EINVAL);
    CHECK_ERRNO(submit(id + PAGE, 1, list), EINVAL);
    CHECK_ERRNO(submit(id + 8, 1, list), EINVAL);
    CHECK_ERRNO(submit(0, 0, list), EINVAL);
    CHECK_ERRNO(submit(id, 1, NULL), EFAULT);
    CHECK_ERRNO(submit_one(id, NULL), EFAULT);
#define REFUSED(error, ...)                      \
    do {                                         \
        io = good;                               \
        __VA_ARGS__;                             \
        CHECK_ERRNO(submit_one(id, &io), error); \
    } while (0)
    REFUSED(EINVAL, io.aio_reserved2 = 1);
    REFUSED(EINVAL, io.aio_nbytes = -1ull);
    REFUSED(EINVAL, io.aio_reserved2 = 1; io.aio_fildes = 999);
    REFUSED(EBADF, io.aio_fildes = 999);
    REFUSED(EBADF, io.aio_fildes = path);
    REFUSED(EBADF, io.aio_fildes = only);
    REFUSED(EBADF, io.aio_fildes = 999; io.aio_lio_opcode = 77);
    REFUSED(EBADF, io.aio_lio_opcode = IOCB_CMD_PWRITE; io.aio_fildes = pipe_fds[0]);
    for (int op = 0; op < 100; op++)
        if (op == 4 || op == 6 || op > 8)
            REFUSED(EINVAL, io.aio_lio_opcode = op);
    REFUSED(EBADF, io.aio_flags = IOCB_FLAG_RESFD; io.aio_resfd = 999);
    REFUSED(EINVAL, io.aio_flags = IOCB_FLAG_RESFD; io.aio_resfd = fd);
    REFUSED(EINVAL, io.aio_flags = IOCB_FLAG_RESFD; io.aio_resfd = fd; io.aio_lio_opcode = 77);
    REFUSED(EOPNOTSUPP, io.aio_rw_flags = 0x40000000);
    REFUSED(EOPNOTSUPP, io.aio_rw_flags = 0x40000000; io.aio_fildes = only);
    REFUSED(EINVAL, io.aio_offset = -1);
    REFUSED(EINVAL, io.aio_offset = INT64_MAX);
    REFUSED(EFAULT, io.aio_buf = -PAGE);
    REFUSED(EFAULT, io.aio_buf = -PAGE; io.aio_offset = -1);
    REFUSED(EINVAL, io.aio_lio_opcode = IOCB_CMD_PREADV; io.aio_nbytes = 1025);
    REFUSED(EFAULT, io.aio_lio_opcode = IOCB_CMD_PREADV; io.aio_buf = 8);
    REFUSED(EINVAL, io.aio_flags = IOCB_FLAG_IOPRIO; io.aio_reqprio = 4 << 13);
    REFUSED(EINVAL, io.aio_fildes = event; io.aio_lio_opcode = IOCB_CMD_FSYNC);
    REFUSED(EINVAL, io.aio_lio_opcode = IOCB_CMD_FSYNC);
    REFUSED(EINVAL, io.aio_lio_opcode = IOCB_CMD_POLL);
    REFUSED(EINVAL, io = request(IOCB_CMD_POLL, pipe_fds[0], (void *)0x10001, 0, 0));
    REFUSED(EINVAL, io = request(IOCB_CMD_FSYNC, pipe_fds[0], NULL, 0, 0));
    CHECK(nothing_there(id));
    // The requests before a bad one count.
    io = good, io.aio_fildes = 999;
    CHECK_EQ(submit(id, 3, list), 1);
    CHECK_EQ(one_event(id).obj, (uintptr_t)&good);
    list[1] = NULL;
    CHECK_EQ(submit(id, 3, list), 1);
    one_event(id);
    good.aio_key = 77;
    CHECK_EQ(submit_one(id, &good), 1);
    CHECK_EQ(good.aio_key, 0);
    CHECK_OK(destroy(id));
    CHECK_ERRNO(submit_one(id, &good), EINVAL);
    close(fd), close(only), close(path), close(event), close(pipe_fds[0]), close(pipe_fds[1]);
    unlink("aio");
}

TEST(a_full_ring_takes_no_more)
{
    aio_context_t id = new_context(4);
    struct ring *ring = (void *)(uintptr_t)id;
    int fd = new_file("aio", PAGE, 'a');
    char c;
    struct iocb io = request(IOCB_CMD_PREAD, fd, &c, 1, 0), *same[64];
    struct io_event e[64];
    for (unsigned i = 0; i < COUNT(same); i++)
        same[i] = &io;
    unsigned n = 0;
    for (int tries = 0; tries < 100000 && submit_one(id, &io) == 1; tries++)
        n++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_RANGE(n, 4, ring->nr - 1);
    unsigned taken = 0;
    for (long got; taken < n && (got = events(id, 1, 64, e, NULL)) > 0;)
        taken += got;
    CHECK_EQ(taken, n);
    CHECK(nothing_there(id));
    // Round and round the ring, its end being no bound.
    for (int i = 0; i < 50; i++) {
        long done = submit(id, 64, same);
        CHECK_RANGE(done, 1, 64);
        CHECK_EQ(events(id, done, 64, e, NULL), done);
        for (long k = 0; k < done; k++)
            if (e[k].res != 1 || e[k].obj != (uintptr_t)&io)
                FAIL("event %ld of %ld is %lld", k, done, (long long)e[k].res);
    }
    CHECK_OK(destroy(id));
    close(fd), unlink("aio");
}

TEST(getevents_and_its_errors)
{
    aio_context_t id = new_context(8);
    struct io_event e[4];
    struct timespec none = {0, 0}, soon = {0, 20 * MS}, odd = {0, 30 * MS};
    CHECK_ERRNO(events(0, 0, 0, e, &none), EINVAL);
    CHECK_ERRNO(events(id, -1, 1, e, &none), EINVAL);
    CHECK_ERRNO(events(id, 2, 1, e, &none), EINVAL);
    CHECK_ERRNO(events(id, 0, -1, e, &none), EINVAL);
    CHECK_ERRNO(events(id, 0, 1, e, (void *)8), EFAULT);
    CHECK_EQ(events(id, 0, 0, NULL, NULL), 0);
    CHECK_EQ(events(id, 0, 4, NULL, NULL), 0);
    uint64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_EQ(events(id, 1, 4, e, &soon), 0);
    CHECK(now_ns(CLOCK_MONOTONIC) - before >= 20 * MS);
    int fd = new_file("aio", PAGE, 'a');
    char c;
    struct iocb io = request(IOCB_CMD_PREAD, fd, &c, 1, 0), *two[2] = {&io, &io};
    CHECK_EQ(submit(id, 2, two), 2);
    CHECK_ERRNO(events(id, 1, 1, (void *)8, NULL), EFAULT);
    CHECK_EQ(events(id, 4, 4, e, &odd), 2);  // what is there when the time has come
    CHECK(nothing_there(id));
    CHECK_OK(destroy(id));
    close(fd), unlink("aio");
}

static void note_signal(int number) { (void)number; }

static void *interrupt(void *arg)
{
    sleep_ns(30 * MS);
    for (int i = 0; i < 200; i++) {
        if (__atomic_load_n((int *)arg, __ATOMIC_ACQUIRE))
            break;
        kill(getpid(), SIGUSR1);
        sleep_ns(50 * MS);
    }
    return NULL;
}

// Signals come again until the call is over, so that none can come too early.
TEST(signals_end_the_waiting)
{
    aio_context_t id = new_context(8);
    struct io_event e;
    int over = 0;
    pthread_t thread;
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t set, empty;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigemptyset(&empty);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, interrupt, &over);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    CHECK_ERRNO(events(id, 1, 1, &e, NULL), EINTR);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct {
        void *mask;
        size_t size;
    } sig = {&empty, 8};
    CHECK_ERRNO(syscall(SYS_io_pgetevents, id, 1, 1, &e, NULL, &sig), EINTR);
    sig.size = 4;
    struct timespec none = {0, 0};
    CHECK_ERRNO(syscall(SYS_io_pgetevents, id, 0, 1, &e, &none, &sig), EINVAL);
    CHECK_ERRNO(syscall(SYS_io_pgetevents, id, 0, 1, &e, &none, 8), EFAULT);
    sig.mask = NULL;
    CHECK_EQ(syscall(SYS_io_pgetevents, id, 0, 1, &e, &none, &sig), 0);
    CHECK_EQ(syscall(SYS_io_pgetevents, id, 0, 1, &e, &none, NULL), 0);
    __atomic_store_n(&over, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    CHECK_OK(destroy(id));
    signal(SIGUSR1, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

TEST(eventfd_tells)
{
    aio_context_t id = new_context(8);
    int fd = new_file("aio", PAGE, 'a'), event = eventfd(0, EFD_NONBLOCK);
    char c;
    uint64_t count = 0;
    struct iocb io = request(IOCB_CMD_PREAD, fd, &c, 1, 0), *three[3] = {&io, &io, &io};
    io.aio_flags = IOCB_FLAG_RESFD;
    io.aio_resfd = event;
    CHECK_EQ(submit(id, 3, three), 3);
    CHECK_EQ(read(event, &count, 8), 8);
    CHECK_EQ(count, 3);
    io.aio_offset = -1;  // refused: no event and no count
    CHECK_ERRNO(submit_one(id, &io), EINVAL);
    CHECK_ERRNO(read(event, &count, 8), EAGAIN);
    CHECK_OK(destroy(id));
    close(fd), close(event), unlink("aio");
}

TEST(polls_wait)
{
    aio_context_t id = new_context(8);
    int p[2], event = eventfd(0, 0);
    uint64_t count = 0;
    REQUIRE_OK(pipe(p));
    struct iocb io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
    io.aio_flags = IOCB_FLAG_RESFD;
    io.aio_resfd = event;
    for (int i = 0; i < 20; i++) {
        char c;
        CHECK_EQ(submit_one(id, &io), 1);
        CHECK(nothing_there(id));
        CHECK_EQ(write(p[1], "x", 1), 1);
        CHECK_EQ(read(event, &count, 8), 8);
        CHECK_EQ(count, 1);
        struct io_event e = one_event(id);
        CHECK_EQ(e.obj, (uintptr_t)&io);
        CHECK(e.res & POLLIN);  // Linux tells all that the wake-up said
        CHECK_EQ(read(p[0], &c, 1), 1);
    }
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK_EQ(result_of(id, &io), POLLIN);  // ready at once
    io = request(IOCB_CMD_POLL, p[1], (void *)(POLLOUT | POLLIN), 0, 0);
    CHECK_EQ(result_of(id, &io), POLLOUT);
    char c;
    CHECK_EQ(read(p[0], &c, 1), 1);
    io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
    CHECK_EQ(submit_one(id, &io), 1);
    close(p[1]);
    CHECK_EQ(one_event(id).res, POLLHUP);  // asked for or not
    close(p[0]), close(event);
    CHECK_OK(destroy(id));
}

// The file stays for the request, whatever becomes of the descriptor; an eventfd that tells of itself.
TEST(polls_hold_their_file)
{
    aio_context_t id = new_context(8);
    int p[2], event = eventfd(0, 0);
    REQUIRE_OK(pipe(p));
    struct iocb io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
    CHECK_EQ(submit_one(id, &io), 1);
    close(p[0]);
    CHECK_EQ(write(p[1], "x", 1), 1);
    CHECK(one_event(id).res & POLLIN);
    struct iocb self = request(IOCB_CMD_POLL, event, (void *)POLLIN, 0, 0);
    self.aio_flags = IOCB_FLAG_RESFD;
    self.aio_resfd = event;
    CHECK_EQ(submit_one(id, &self), 1);
    CHECK_EQ(eventfd_write(event, 5), 0);
    CHECK(one_event(id).res & POLLIN);
    eventfd_t count = 0;
    for (int i = 0; i < 1000 && count != 6; i++) {  // the event comes before the count
        eventfd_t more = 0;
        CHECK_EQ(eventfd_read(event, &more), 0);
        count += more;
    }
    CHECK_EQ(count, 6);
    close(event), close(p[1]);
    CHECK_OK(destroy(id));
}

static long cancel(aio_context_t id, struct iocb *io)
{
    struct io_event unused;
    return syscall(SYS_io_cancel, id, io, &unused);
}

TEST(cancelling)
{
    aio_context_t id = new_context(8);
    int p[2];
    REQUIRE_OK(pipe(p));
    struct iocb io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0), other = io;
    CHECK_EQ(submit_one(id, &io), 1);
    CHECK_ERRNO(cancel(id, &other), EINVAL);
    CHECK_ERRNO(cancel(id, NULL), EFAULT);
    CHECK_ERRNO(cancel(id + PAGE, &io), EINVAL);
    io.aio_key = 1;
    CHECK_ERRNO(cancel(id, &io), EINVAL);
    io.aio_key = 0;
    CHECK_ERRNO(cancel(id, &io), EINPROGRESS);
    struct io_event e = one_event(id);
    CHECK_EQ(e.obj, (uintptr_t)&io);
    CHECK_EQ(e.res, 0);
    CHECK_ERRNO(cancel(id, &io), EINVAL);
    CHECK_OK(destroy(id));
    close(p[0]), close(p[1]);
}

// What a context holds is given back: the writer hears that nobody reads.
static void expect_broken_pipe(int fd)
{
    struct pollfd f = {fd, 0, 0};
    CHECK_EQ(poll(&f, 1, 20000), 1);
    CHECK(f.revents & POLLERR);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(fd, "x", 1), EPIPE);
}

TEST(the_end_of_a_context_cancels)
{
    aio_context_t id = new_context(8);
    int p[2];
    REQUIRE_OK(pipe(p));
    struct iocb io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
    CHECK_EQ(submit_one(id, &io), 1);
    close(p[0]);
    CHECK_OK(destroy(id));
    expect_broken_pipe(p[1]);
    close(p[1]);
}

static void *wait_for_one(void *arg)
{
    struct io_event e;
    long n = events(*(aio_context_t *)arg, 1, 1, &e, NULL);
    return (void *)(n < 0 ? (long)-errno : n);
}

TEST(destroy_wakes_who_waits)
{
    aio_context_t id = new_context(8);
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, wait_for_one, &id);
    sleep_ns(20 * MS);  // destroyed before the call or in it: the same answer
    CHECK_OK(destroy(id));
    pthread_join(thread, &result);
    CHECK_EQ((long)result, -EINVAL);
}

// A child has no context, and a parent that dies gives up what it had.
TEST(fork_and_exit)
{
    int p[2], status = 0;
    REQUIRE_OK(pipe(p));
    aio_context_t mine = new_context(4);
    pid_t child = fork();
    REQUIRE_OK(child);
    if (!child) {
        struct iocb io = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
        aio_context_t id = 0;
        if (submit_one(mine, &io) != -1 || errno != EINVAL || destroy(mine) != -1)
            _exit(1);
        _exit(setup(4, &id) == 0 && submit_one(id, &io) == 1 ? 0 : 2);
    }
    close(p[0]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    expect_broken_pipe(p[1]);
    close(p[1]);
    CHECK_OK(destroy(mine));
}

TEST(limits_in_proc)
{
    char text[32];
    slurp("/proc/sys/fs/aio-nr", text, sizeof(text));
    unsigned long before = strtoul(text, NULL, 10);
    slurp("/proc/sys/fs/aio-max-nr", text, sizeof(text));
    CHECK(strtoul(text, NULL, 10) >= 65536);
    aio_context_t id = new_context(1000);
    slurp("/proc/sys/fs/aio-nr", text, sizeof(text));
    CHECK(strtoul(text, NULL, 10) >= before + 1000);
    CHECK_OK(destroy(id));
    if (!in_lethe())
        SKIP("others use this host");
    slurp("/proc/sys/fs/aio-nr", text, sizeof(text));
    CHECK_EQ(strtoul(text, NULL, 10), before);
}

static void *submit_and_take(void *arg)
{
    aio_context_t id = *(aio_context_t *)arg;
    char c;
    int fd = open("aio", O_RDONLY), p[2];
    CHECK_OK(pipe(p));
    for (int i = 0; i < harness_rounds(2000); i++) {
        struct iocb read_one = request(IOCB_CMD_PREAD, fd, &c, 1, 0);
        struct iocb wait_one = request(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
        struct iocb *both[2] = {&read_one, &wait_one};
        struct io_event e[2];
        CHECK_EQ(submit(id, 2, both), 2);
        if (i % 2)
            CHECK_ERRNO(cancel(id, &wait_one), EINPROGRESS);
        else
            CHECK_EQ(write(p[1], "x", 1), 1);
        for (long n = 0; n < 2 && !harness_failed();)
            n += events(id, 1, 2 - n, e, NULL);
        if (i % 2 == 0)
            CHECK_EQ(read(p[0], &c, 1), 1);
    }
    close(fd), close(p[0]), close(p[1]);
    return NULL;
}

static void *own_context(void *arg)
{
    (void)arg;
    aio_context_t id = new_context(64);
    submit_and_take(&id);
    CHECK_OK(destroy(id));
    return NULL;
}

TEST_LIMIT(many_threads, 60)
{
    close(new_file("aio", PAGE, 'a'));
    run_threads(4, own_context);
    unlink("aio");
}
