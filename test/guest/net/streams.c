// SPDX-License-Identifier: BSD-2-Clause
// Long TCP streams over the loopback interface: nothing is lost, nothing is sent twice, and no timer is needed for it to go on.
#include "net.h"

#include <netinet/tcp.h>
#include <sys/wait.h>

struct stream {
    int from, to;
    size_t write_size, read_size;
    long total;
    bool polls;  // the reader waits in poll and reads without blocking
};

static void *stream_writer(void *argument)
{
    const struct stream *s = argument;
    char *block = malloc(s->write_size);
    long done = 0;
    for (size_t i = 0; i < s->write_size; i++)
        block[i] = (char)(i * 13 >> 3);
    while (done < s->total) {
        size_t at = (size_t)done % s->write_size;
        ssize_t n = write(s->from, block + at, s->write_size - at);
        if (n <= 0) {
            FAIL("write: %s", errno_name(errno));
            break;
        }
        done += n;
    }
    free(block);
    return NULL;
}

static unsigned retransmitted(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? 99999u : info.tcpi_total_retrans;
}

static void stream(struct stream *s)
{
    pthread_t thread;
    char *block = malloc(s->read_size);
    long done = 0, bad = 0;
    if (s->polls)
        CHECK_OK(fcntl(s->to, F_SETFL, O_NONBLOCK));
    REQUIRE(pthread_create(&thread, NULL, stream_writer, s) == 0);
    while (done < s->total) {
        if (s->polls && wait_events(s->to, POLLIN, 20000) != POLLIN)
            break;
        ssize_t n = read(s->to, block, s->read_size);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i += 61)
            bad += block[i] != (char)((size_t)(done + i) % s->write_size * 13 >> 3);
        done += n;
    }
    pthread_join(thread, NULL);
    CHECK(done >= s->total);
    CHECK_EQ(bad, 0);
    // Linux sends a few segments again when the host is busy. What a window too large made was four a megabyte and more.
    CHECK(retransmitted(s->from) <= 2 + (s->total >> 20));
    CHECK(retransmitted(s->to) <= 2 + (s->total >> 20));
    free(block);
}

TEST_LIMIT(a_stream_is_sent_once, 60)
{
    for (int family = AF_INET; family; family = family == AF_INET ? AF_INET6 : 0) {
        struct tcp_pair p = tcp_connected(family);
        stream(&(struct stream){p.client, p.server, 65536, 65536, 50l << 20, false});
        stream(&(struct stream){p.server, p.client, 65536, 8000, 10l << 20, true});
        tcp_close(&p);
    }
}

// Of every size of writes and reads.
TEST_LIMIT(a_stream_of_any_pieces_is_sent_once, 60)
{
    static const int sizes[] = {100, 1460, 15000, 16000, 17000, 40000, 300000};
    for (unsigned w = 0; w < sizeof sizes / sizeof *sizes; w++) {
        for (unsigned r = 0; r < sizeof sizes / sizeof *sizes; r += 2) {
            struct tcp_pair p = tcp_connected(AF_INET);
            stream(&(struct stream){p.client, p.server, (size_t)sizes[w], (size_t)sizes[r],
                                    sizes[w] * 100l < 1l << 20 ? sizes[w] * 100l : 1l << 20,
                                    r == 2});
            tcp_close(&p);
        }
    }
}

static pid_t start_server(const struct sockaddr_storage *name, socklen_t len)
{
    int ready[2];
    char c = 0;
    REQUIRE_OK(pipe(ready));
    pid_t pid = fork();
    if (pid == 0) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        set_int(listener, SOL_SOCKET, SO_REUSEADDR, 1);
        if (bind(listener, (const void *)name, len) || listen(listener, 8))
            _exit(1);
        write(ready[1], "r", 1);
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            while (read(fd, &c, 1) == 1)
                write(fd, &c, 1);
        }
    }
    close(ready[1]);
    CHECK_EQ(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return pid;
}

TEST(a_server_that_is_killed_comes_back_on_its_port)
{
    struct sockaddr_storage name;
    socklen_t len;
    int probe = bound(AF_INET, SOCK_STREAM, &name, &len), status;
    close(probe);
    for (int round = 0; round < 3; round++) {
        char c = 'a';
        pid_t server = start_server(&name, len);
        int client = socket(AF_INET, SOCK_STREAM, 0);
        CHECK_OK(connect(client, (void *)&name, len));
        CHECK_EQ(write(client, &c, 1), 1);
        CHECK_EQ(read(client, &c, 1), 1);
        CHECK_OK(kill(server, SIGKILL));
        CHECK_EQ(read(client, &c, 1), 0);
        CHECK_EQ(waitpid(server, &status, 0), server);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(client);
    }
}

struct end {
    int fd;
    unsigned seed, bad;
    long total;
};

static void *send_any_pieces(void *argument)
{
    struct end *e = argument;
    unsigned char block[5000];
    for (long done = 0; done < e->total;) {
        size_t n = next_random(&e->seed) % (next_random(&e->seed) % 4 ? 60 : sizeof block) + 1;
        for (size_t i = 0; i < n; i++)
            block[i] = (unsigned char)((done + (long)i) * 7 >> 2);
        if ((long)n > e->total - done)
            n = (size_t)(e->total - done);
        ssize_t sent = send(e->fd, block, n, next_random(&e->seed) % 8 ? 0 : MSG_MORE);
        if (sent <= 0)
            break;
        done += sent;
    }
    CHECK_OK(shutdown(e->fd, SHUT_WR));
    return NULL;
}

static void *receive_any_pieces(void *argument)
{
    struct end *e = argument;
    unsigned char block[9000], peeked[9000];
    for (long done = 0;;) {
        size_t want = next_random(&e->seed) % sizeof block + 1;
        ssize_t before = next_random(&e->seed) % 4 ? 0 : recv(e->fd, peeked, want, MSG_PEEK);
        ssize_t n = recv(e->fd, block, want, next_random(&e->seed) % 8 ? 0 : MSG_WAITALL);
        if (n <= 0) {
            CHECK_EQ(n, 0);
            CHECK_EQ(done, e->total);
            return NULL;
        }
        if (before > 0)
            e->bad += n < before || memcmp(block, peeked, (size_t)before) != 0;
        for (ssize_t i = 0; i < n; i++)
            e->bad += block[i] != (unsigned char)((done + i) * 7 >> 2);
        done += n;
    }
}

TEST_LIMIT(both_directions_at_once_in_any_pieces, 60)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    pthread_t threads[4];
    struct end ends[4] = {{p.client, 1, 0, 2 << 20},
                          {p.client, 2, 0, 2 << 20},
                          {p.server, 3, 0, 2 << 20},
                          {p.server, 4, 0, 2 << 20}};
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&threads[i], NULL, i % 2 ? receive_any_pieces : send_any_pieces,
                               &ends[i]) == 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(ends[i].bad, 0);
    }
    tcp_close(&p);
}

TEST(what_was_sent_before_the_end_is_read_before_the_end)
{
    char in[300];
    for (int reset = 0; reset < 2; reset++) {
        struct tcp_pair p = tcp_connected(AF_INET);
        struct linger hard = {1, 0};
        CHECK_OK(set_int(p.client, IPPROTO_TCP, TCP_NODELAY, 1));
        CHECK_EQ(write(p.client, "one", 3), 3);
        CHECK_EQ(send(p.client, "two", 3, MSG_MORE), 3);
        CHECK_EQ(write(p.client, "three", 5), 5);
        sleep_ns(20 * MS);
        if (reset)
            CHECK_OK(setsockopt(p.client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
        close(p.client);
        CHECK_EQ(wait_events(p.server, POLLIN | POLLRDHUP, 2000) & (POLLIN | POLLRDHUP),
                 POLLIN | POLLRDHUP);
        CHECK_EQ(read(p.server, in, 5), 5);
        CHECK_EQ(read(p.server, in + 5, sizeof in), 6);
        CHECK(memcmp(in, "onetwothree", 11) == 0);
        if (reset)
            CHECK_ERRNO(read(p.server, in, 1), ECONNRESET);
        else
            CHECK_EQ(read(p.server, in, 1), 0);
        close(p.server), close(p.listener);
    }
}

TEST(who_has_gone_answers_with_a_reset)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char c = 'c';
    CHECK_EQ(write(p.client, &c, 1), 1);
    CHECK_EQ(read(p.server, &c, 1), 1);
    close(p.server);
    CHECK_EQ(wait_events(p.client, POLLIN, 2000), POLLIN);
    CHECK_EQ(read(p.client, &c, 1), 0);
    CHECK_EQ(write(p.client, &c, 1), 1);
    CHECK_EQ(wait_events(p.client, 0, 2000), POLLERR | POLLHUP);
    CHECK_ERRNO(send(p.client, &c, 1, MSG_NOSIGNAL), EPIPE);
    close(p.client), close(p.listener);
}

TEST(one_way_stays_open_when_the_other_is_shut)
{
    struct tcp_pair p = tcp_connected(AF_INET6);
    char in[8];
    CHECK_EQ(write(p.client, "request", 7), 7);
    CHECK_OK(shutdown(p.client, SHUT_WR));
    CHECK_ERRNO(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(read(p.server, in, 8), 7);
    CHECK_EQ(read(p.server, in, 8), 0);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(write(p.server, "answer", 6), 6);
        CHECK_EQ(recv(p.client, in, 6, MSG_WAITALL), 6);
    }
    close(p.server);
    CHECK_EQ(read(p.client, in, 8), 0);
    close(p.client), close(p.listener);
}

// A full connection: what is queued is known, the writer waits, and room is told when a third of the buffer is free.
TEST(a_full_connection_tells_of_room)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    static char block[1 << 16];
    int queued = 0;
    long total = 0;
    ssize_t n;
    CHECK_OK(fcntl(p.client, F_SETFL, O_NONBLOCK));
    for (int idle = 0; idle < 3;) {
        if ((n = write(p.client, block, sizeof block)) > 0)
            total += n;
        else
            idle++, sleep_ns(20 * MS);
        REQUIRE(total < 64 << 20);
    }
    CHECK_OK(ioctl(p.client, TIOCOUTQ, &queued));
    CHECK(queued > 0 && queued < total);
    CHECK_EQ(poll_events(p.client, POLLOUT), 0);
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
    CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, p.client, &event));
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    while (total > 0 && (n = read(p.server, block, sizeof block)) > 0)
        total -= n;
    CHECK_EQ(total, 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 2000), 1);
    CHECK_EQ(event.events, EPOLLOUT);
    CHECK_OK(ioctl(p.client, TIOCOUTQ, &queued));
    CHECK_EQ(queued, 0);
    close(ep);
    tcp_close(&p);
}

// A sender may begin with one segment and wait for its acknowledgement: it must not be left to a timer.
TEST_LIMIT(what_is_read_is_acknowledged_at_once, 30)
{
    enum { N = 16 };
    int late = 0;
    for (int i = 0; i < N; i++) {
        struct tcp_pair p = tcp_connected(AF_INET);
        char block[1000] = "first";
        int queued = 1, waited = 0;
        CHECK_EQ(write(p.client, block, sizeof block), sizeof block);
        CHECK_EQ(recv(p.server, block, sizeof block, MSG_WAITALL), sizeof block);
        for (; waited < 1000; waited++) {
            CHECK_OK(ioctl(p.client, TIOCOUTQ, &queued));
            if (!queued)
                break;
            sleep_ns(MS);
        }
        late += waited > 50;
        CHECK_EQ(queued, 0);
        tcp_close(&p);
    }
    CHECK(late < N / 2);
}

// ---- several connections at once, each with its own bytes; the end comes behind the last of them

enum { PAIRS = 4, ENDS = 60, END_BYTES = 20000 };

static void *end_writer(void *argument)
{
    const int *fds = argument;
    char block[END_BYTES];
    for (int i = 0; i < END_BYTES; i++)
        block[i] = (char)(fds[0] + i * 7);
    for (int at = 0, step = 1; at < END_BYTES; step = step * 3 % 4001 + 1) {
        ssize_t n =
            write(fds[0], block + at, (size_t)(END_BYTES - at < step ? END_BYTES - at : step));
        if (n <= 0)
            return (void *)1;
        at += (int)n;
    }
    return (void *)(long)(shutdown(fds[0], SHUT_WR) != 0);
}

static void *end_pairs(void *argument)
{
    long bad = 0;
    for (int round = 0; round < ENDS; round++) {
        struct tcp_pair p = tcp_connected(AF_INET);
        int fds[2] = {p.client, p.server};
        pthread_t writer;
        void *failed;
        if (pthread_create(&writer, NULL, end_writer, fds))
            return (void *)-1;
        char block[3000];
        int got = 0;
        ssize_t n;
        while ((n = read(fds[1], block, sizeof block)) > 0) {
            for (ssize_t i = 0; i < n; i++)
                bad += block[i] != (char)(fds[0] + (got + (int)i) * 7);
            got += (int)n;
        }
        pthread_join(writer, &failed);
        bad += got != END_BYTES || n != 0 || failed;
        tcp_close(&p);
    }
    return (void *)bad;
}

TEST_LIMIT(the_end_comes_behind_the_last_byte, 60)
{
    pthread_t threads[PAIRS];
    for (int i = 0; i < PAIRS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, end_pairs, NULL) == 0);
    for (int i = 0; i < PAIRS; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        CHECK_EQ((long)bad, 0);
    }
}
