// SPDX-License-Identifier: BSD-2-Clause
// Long TCP streams over the loopback interface: nothing is lost, nothing is sent twice, and no timer is needed for it to go on.
#include "net.h"

#include <netinet/tcp.h>

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
    CHECK_EQ(retransmitted(s->from), 0);
    CHECK_EQ(retransmitted(s->to), 0);
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
