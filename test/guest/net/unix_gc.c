// SPDX-License-Identifier: BSD-2-Clause
// AF_UNIX sockets in flight that only keep each other: freed, as unix(7) does not say but Linux does; and those that somebody
// can still get at, never. Whether one is freed is seen by a witness: the write end of a pipe that travels in the same queue.
#include "net.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../stress/counters.h"

static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

struct witness {
    int read_end, write_end;
};

static struct witness witness_new(void)
{
    int fds[2];
    REQUIRE_OK(pipe(fds));
    return (struct witness){fds[0], fds[1]};
}

// Linux collects in the background.
static void check_freed(struct witness *w)
{
    CHECK_EQ(wait_events(w->read_end, POLLIN, 10000), POLLHUP);
    close(w->read_end);
}

static void two(int type, int *fds) { REQUIRE_OK(socketpair(AF_UNIX, type, 0, fds)); }

static int get_one(int from, int flags)
{
    int fds[8], out_flags;
    int n = receive_fds(from, fds, 8, flags | MSG_DONTWAIT, &out_flags);
    if (n != 1) {
        FAIL("%d descriptors (%s), want one", n, errno_name(errno));
        harness_leave();
    }
    return fds[0];
}

// Ends a socket, which is when garbage is looked for; twice, and with time for a background to do it.
static void look_for_garbage(void)
{
    for (int i = 0; i < 2; i++) {
        int fds[2];
        two(SOCK_DGRAM, fds);
        close(fds[0]), close(fds[1]);
        sleep_ns(5 * MS);
    }
}

// A ring of n sockets, each in the queue of the next, the witness in the first one's; then nobody has any of them.
static void make_ring(int type, int n, struct witness *w)
{
    int first[2], last;
    two(type, first);
    REQUIRE_OK(last = dup(first[0]));
    CHECK_EQ(send_fds(first[1], &w->write_end, 1, 0), 1);
    close(w->write_end);
    for (int i = 1; i < n; i++) {
        int next[2];
        two(type, next);
        CHECK_EQ(send_fds(next[1], &last, 1, 0), 1);
        close(last), close(next[1]);
        last = next[0];
    }
    CHECK_EQ(send_fds(first[1], &last, 1, 0), 1);
    close(last), close(first[0]), close(first[1]);
}

TEST(rings_are_freed)
{
    static const int sizes[] = {1, 2, 3, 50, 700};
    for (size_t t = 0; t < COUNT(types); t++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct witness w = witness_new();
            make_ring(types[t], sizes[i], &w);
            check_freed(&w);
        }
    }
}

// Each socket of some is in the queue of each other, and of itself.
TEST(a_knot_is_freed)
{
    enum { N = 5 };
    int fds[N][2];
    struct witness w = witness_new();
    for (int i = 0; i < N; i++)
        two(SOCK_STREAM, fds[i]);
    for (int i = 0; i < N; i++) {
        int all[8];
        for (int k = 0; k < N; k++)
            all[k] = fds[k][0];
        all[N] = w.write_end;
        CHECK_EQ(send_fds(fds[i][1], all, N + 1, 0), 1);
    }
    close(w.write_end);
    for (int i = 0; i < N; i++)
        close(fds[i][0]);
    for (int i = 0; i < N; i++)
        close(fds[i][1]);
    check_freed(&w);
}

// The other end of a socket that was garbage is told of its end, and not that bytes were lost.
TEST(the_other_end_is_told)
{
    int fds[2];
    char c;
    two(SOCK_STREAM, fds);
    CHECK_EQ(send_fds(fds[1], fds, 1, 0), 1);
    close(fds[0]);
    look_for_garbage();
    CHECK_EQ(wait_events(fds[1], POLLIN, 10000) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
    CHECK_EQ(int_option(fds[1], SOL_SOCKET, SO_ERROR), 0);
    CHECK_EQ(read(fds[1], &c, 1), 0);
    CHECK_ERRNO(send(fds[1], &c, 1, MSG_NOSIGNAL), EPIPE);
    close(fds[1]);
}

static int listener_on(struct sockaddr_un *name, socklen_t *len, int type)
{
    int fd;
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    *len = sizeof *name;
    REQUIRE_OK(fd = socket(AF_UNIX, type, 0));
    REQUIRE_OK(bind(fd, (void *)name, sizeof name->sun_family));
    REQUIRE_OK(getsockname(fd, (void *)name, len));
    REQUIRE_OK(listen(fd, 5));
    return fd;
}

// The only number of a listener is in the queue of a connection that it has not accepted.
TEST(listeners_are_freed_with_their_queue)
{
    for (size_t t = 0; t < COUNT(types); t += 2) {
        struct sockaddr_un name;
        socklen_t len;
        struct witness w = witness_new();
        int listener = listener_on(&name, &len, types[t]), client;
        REQUIRE_OK(client = socket(AF_UNIX, types[t], 0));
        REQUIRE_OK(connect(client, (void *)&name, len));
        int both[2] = {listener, w.write_end};
        CHECK_EQ(send_fds(client, both, 2, 0), 1);
        close(w.write_end), close(listener);
        close(client);
        check_freed(&w);
        REQUIRE_OK(client = socket(AF_UNIX, types[t], 0));
        CHECK_ERRNO(connect(client, (void *)&name, len), ECONNREFUSED);
        close(client);
    }
}

// A client of a listener that was garbage, whose connection waited to be accepted.
TEST(a_client_of_a_freed_listener_is_told)
{
    struct sockaddr_un name;
    socklen_t len;
    int listener = listener_on(&name, &len, SOCK_STREAM), clients[2];
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(clients[i] = socket(AF_UNIX, SOCK_STREAM, 0));
        REQUIRE_OK(connect(clients[i], (void *)&name, len));
    }
    CHECK_EQ(send_fds(clients[0], &listener, 1, 0), 1);
    close(listener);
    close(clients[0]);
    CHECK_EQ(wait_events(clients[1], POLLIN, 10000) & (POLLIN | POLLHUP), POLLIN | POLLHUP);
    CHECK_EQ(int_option(clients[1], SOL_SOCKET, SO_ERROR), ECONNRESET);
    close(clients[1]);
}

// ---- what must stay

TEST(what_is_held_stays)
{
    int a[2], b[2], got;
    char c = 0;
    for (size_t t = 0; t < COUNT(types); t++) {
        two(types[t], a), two(types[t], b);
        CHECK_EQ(send_fds(a[1], &b[0], 1, 0), 1);  // b's number is in a's queue, a's in b's
        CHECK_EQ(send_fds(b[1], &a[0], 1, 0), 1);
        CHECK_EQ(write(b[1], "x", 1), 1);
        close(b[0]), close(b[1]);
        look_for_garbage();
        int other = get_one(a[0], MSG_PEEK);
        close(other);
        got = get_one(a[0], 0);
        close(a[0]);  // now a is held by the queue of what we got
        look_for_garbage();
        int again = get_one(got, 0);
        CHECK_EQ(read(got, &c, 1), 1);
        CHECK_EQ(c, 'x');
        CHECK_EQ(write(a[1], "y", 1), 1);
        CHECK_EQ(read(again, &c, 1), 1);
        CHECK_EQ(c, 'y');
        close(got), close(again), close(a[1]);
    }
}

// Through several queues, the last of which holds a ring and hangs on one that is held.
TEST(what_hangs_on_something_held_stays)
{
    enum { DEEP = 40 };
    struct witness w = witness_new();
    int first[2], last[2], inner;
    two(SOCK_STREAM, last);
    CHECK_EQ(send_fds(last[1], &w.write_end, 1, 0), 1);
    CHECK_EQ(send_fds(last[1], &last[0], 1, 0), 1);  // in its own queue too
    close(w.write_end), close(last[1]);
    inner = last[0];
    for (int i = 0; i < DEEP; i++) {
        two(SOCK_DGRAM, first);
        CHECK_EQ(send_fds(first[1], &inner, 1, 0), 1);
        close(inner), close(first[1]);
        inner = first[0];
    }
    look_for_garbage();
    for (int i = 0; i < DEEP; i++) {
        int next = get_one(inner, 0);
        close(inner);
        inner = next;
    }
    CHECK_EQ(poll_events(w.read_end, POLLIN), 0);
    int written = get_one(inner, 0);
    CHECK_EQ(write(written, "z", 1), 1);
    char c;
    CHECK_EQ(read(w.read_end, &c, 1), 1);
    close(written), close(inner);
    look_for_garbage();
    check_freed(&w);
}

TEST(what_a_held_listener_has_not_accepted_stays)
{
    struct sockaddr_un name;
    socklen_t len;
    int listener = listener_on(&name, &len, SOCK_STREAM), client, inner[2], server;
    char c = 0;
    two(SOCK_STREAM, inner);
    REQUIRE_OK(client = socket(AF_UNIX, SOCK_STREAM, 0));
    REQUIRE_OK(connect(client, (void *)&name, len));
    CHECK_EQ(write(inner[1], "q", 1), 1);
    CHECK_EQ(send_fds(client, inner, 1, 0), 1);
    close(inner[0]), close(inner[1]);
    look_for_garbage();
    REQUIRE_OK(server = accept(listener, NULL, NULL));
    int got = get_one(server, 0);
    CHECK_EQ(read(got, &c, 1), 1);
    CHECK_EQ(c, 'q');
    close(got), close(server), close(client), close(listener);
}

// ---- how many

static void *fill_until_refused(int *n)
{
    int fds[2];
    two(SOCK_STREAM, fds);
    for (*n = 0; *n < 1000; ++*n) {
        if (send_fds(fds[1], fds, 1, MSG_DONTWAIT) < 0)
            break;
    }
    int error = errno;
    for (int i = 0; i < *n; i++)
        close(get_one(fds[0], 0));
    CHECK_EQ(error, ETOOMANYREFS);
    CHECK_EQ(send_fds(fds[1], fds, 1, MSG_DONTWAIT), 1);  // there is room again
    close(fds[0]), close(fds[1]);
    return NULL;
}

// RLIMIT_NOFILE bounds what a user has in flight, unless it has privileges; what was garbage does not count.
TEST(the_number_in_flight_is_limited)
{
    int status = -1;
    pid_t child = fork();
    REQUIRE_OK(child);
    if (child == 0) {
        int n = 0;
        struct rlimit limit = {40, 40};
        alarm(30);
        if (setrlimit(RLIMIT_NOFILE, &limit) || (getuid() == 0 && setresuid(54321, 54321, 54321)))
            _exit(77);
        fill_until_refused(&n);
        if (n != 41)
            FAIL("%d are in flight, want 41", n);
        for (int i = 0; i < 100; i++) {
            struct witness w = witness_new();
            make_ring(types[i % 3], 3, &w);
            check_freed(&w);
        }
        _exit(harness_failed() ? 1 : 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

// ---- nothing is left

static long sockets_open(void)
{
    static char text[1 << 18];
    long n = 0;
    slurp("/proc/net/unix", text, sizeof text);
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n++;
    return n;
}

static void some_garbage(int round)
{
    struct witness w = witness_new();
    make_ring(types[round % 3], 1 + round % 7, &w);
    check_freed(&w);
}

TEST_LIMIT(nothing_is_left, 60)
{
    struct counters before, after;
    int rounds = harness_rounds(2000);
    if (!in_lethe())
        rounds = 20;  // the counters of a host are everybody's
    for (int i = 0; i < 20; i++)
        some_garbage(i);
    settle();
    long sockets = in_lethe() ? sockets_open() : 0;
    read_counters(&before);
    for (int i = 0; i < rounds; i++)
        some_garbage(i);
    settle();
    read_counters(&after);
    compare_counters(&before, &after, 128);
    if (in_lethe())
        CHECK_EQ(sockets_open(), sockets);
}

// ---- while others do the same

static int race_rounds;
static volatile bool racing;

// Rings, all the time: collections run.
static void *make_garbage(void *argument)
{
    long id = (long)argument;
    for (int i = 0; racing; i++) {
        struct witness w = witness_new();
        make_ring(types[(i + id) % 3], 1 + i % 5, &w);
        if (i % 8 == 0)
            check_freed(&w);
        else
            close(w.read_end);
    }
    return NULL;
}

// A socket with a byte in its queue goes from hand to hand: in flight only, peeked at, received, through listeners.
static void *pass_around(void *argument)
{
    struct sockaddr_un name;
    socklen_t len;
    int type = types[(long)argument % 3], mail[2], thing[2], other[2];
    char c = 0;
    int listener = listener_on(&name, &len, SOCK_STREAM);
    two(type, mail), two(type, thing), two(type, other);
    int held = thing[0];
    for (int i = 0; i < race_rounds; i++) {
        CHECK_EQ(send_fds(mail[1], &held, 1, 0), 1);
        CHECK_EQ(write(thing[1], "t", 1), 1);
        close(held);
        if (i % 3 == 0) {  // its mailbox is in flight too, in a ring with itself, until looked at
            CHECK_EQ(send_fds(other[1], &mail[0], 1, 0), 1);
            close(mail[0]);
            int peeked = get_one(other[0], MSG_PEEK);
            held = get_one(peeked, MSG_PEEK);
            CHECK_EQ(send_fds(thing[1], &peeked, 1, 0), 1);  // behind the byte
            close(get_one(other[0], 0));
            close(peeked);
            CHECK_EQ(read(held, &c, 1), 1);
            mail[0] = get_one(held, 0);
            close(get_one(mail[0], 0));
        } else if (i % 3 == 1) {
            int client = socket(AF_UNIX, SOCK_STREAM, 0), server;
            REQUIRE_OK(connect(client, (void *)&name, len));
            held = get_one(mail[0], 0);
            CHECK_EQ(send_fds(client, &held, 1, 0), 1);
            close(held);
            REQUIRE_OK(server = accept(listener, NULL, NULL));
            close(client);
            held = get_one(server, 0);
            close(server);
            CHECK_EQ(read(held, &c, 1), 1);
        } else {
            held = get_one(mail[0], 0);
            CHECK_EQ(read(held, &c, 1), 1);
        }
        CHECK_EQ(c, 't');
        c = 0;
        if (harness_failed())
            break;
    }
    close(held), close(thing[1]), close(listener);
    for (int i = 0; i < 2; i++)
        close(mail[i]), close(other[i]);
    return NULL;
}

static void *race_body(void *argument)
{
    long id = (long)argument;
    return id % 2 ? make_garbage(argument) : pass_around((void *)(id / 2));
}

static void *race_end(void *argument)
{
    pass_around(argument);
    racing = false;
    return NULL;
}

static void *race(void *argument) { return argument ? race_body(argument) : race_end(argument); }

TEST_LIMIT(collections_and_traffic, 60)
{
    race_rounds = harness_rounds(4000);
    racing = true;
    run_threads(6, race);
}
