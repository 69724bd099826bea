// SPDX-License-Identifier: BSD-2-Clause
// Many connections: they fit, cost bounded memory, and do not slow the others.
#include "net.h"

#include <netinet/tcp.h>
#include <sys/resource.h>

enum { MANY = 10000 };

static long available_kb(void)
{
    char line[128];
    long kb = -1;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

// So many connections of the process with itself as it may have, at most MANY.
static int how_many(void)
{
    struct rlimit limit, more;
    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    more.rlim_cur = more.rlim_max = 2 * MANY + 100;
    if (limit.rlim_max >= more.rlim_max)
        more.rlim_max = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        return MANY;
    limit.rlim_cur = limit.rlim_max;
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    return (int)limit.rlim_max / 2 - 50;
}

// One round trip by epoll with whatever else is in ep.
static void round_trip(int ep, int client, int server)
{
    struct epoll_event event;
    char c = 'r';
    CHECK_EQ(write(client, &c, 1), 1);
    CHECK_EQ(epoll_wait(ep, &event, 1, 5000), 1);
    CHECK_EQ(event.data.fd, server);
    CHECK_EQ(read(server, &c, 1), 1);
    CHECK_EQ(write(server, &c, 1), 1);
    CHECK_EQ(read(client, &c, 1), 1);
}

TEST_LIMIT(ten_thousand_connections, 100)
{
    static int clients[MANY], servers[MANY];
    struct sockaddr_storage name;
    socklen_t len;
    int listener = bound(AF_INET, SOCK_STREAM, &name, &len), ep = epoll_create1(0), made = 0;
    int wanted = how_many();
    long before = available_kb();
    CHECK_OK(listen(listener, 64));
    for (; made < wanted; made++) {
        struct epoll_event event = {.events = EPOLLIN};
        clients[made] = socket(AF_INET, SOCK_STREAM, 0);
        if (clients[made] < 0 || connect(clients[made], (void *)&name, len)) {
            FAIL("connection %d: %s", made, errno_name(errno));
            break;
        }
        servers[made] = event.data.fd = accept(listener, NULL, NULL);
        if (servers[made] < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, servers[made], &event)) {
            FAIL("connection %d: %s", made, errno_name(errno));
            break;
        }
    }
    CHECK_EQ(made, wanted);
    CHECK(before - available_kb() < 150 * 1024);  // 7 KiB a socket
    for (int i = 0; i < made; i += 7)
        round_trip(ep, clients[i], servers[i]);
    for (int i = 0; i < made; i++)
        close(clients[i]);
    struct epoll_event ends[64];
    for (int left = made, n; left; left -= n) {
        if ((n = epoll_wait(ep, ends, 64, 5000)) <= 0) {
            FAIL("%d ends are not told", left);
            break;
        }
        for (int i = 0; i < n; i++) {
            char c;
            CHECK_EQ(read(ends[i].data.fd, &c, 1), 0);
            close(ends[i].data.fd);
        }
    }
    close(ep), close(listener);
}

// Those who never read: each holds no more than its buffers.
TEST_LIMIT(slow_readers_cost_bounded_memory, 60)
{
    enum { N = 20 };
    static char block[1 << 16];
    struct tcp_pair pairs[N];
    long before = available_kb(), total = 0;
    for (int i = 0; i < N; i++) {
        ssize_t n;
        pairs[i] = tcp_connected(AF_INET);
        CHECK_OK(set_int(pairs[i].client, SOL_SOCKET, SO_SNDBUF, 65536));
        CHECK_OK(fcntl(pairs[i].client, F_SETFL, O_NONBLOCK));
        for (int idle = 0; idle < 2;) {
            if ((n = write(pairs[i].client, block, i % 2 ? sizeof block : 100)) > 0)
                total += n;
            else
                idle++, sleep_ns(2 * MS);
        }
    }
    CHECK(total > N * 65536);
    CHECK(before - available_kb() < N * 16 * 1024);
    for (int i = 0; i < N; i++)
        tcp_close(&pairs[i]);
}
