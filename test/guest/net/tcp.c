// SPDX-License-Identifier: BSD-2-Clause
// TCP over the loopback interface, IPv4 and IPv6.
#include "net.h"

#include <netinet/tcp.h>
#include <sys/sendfile.h>

TEST(kinds_of_internet_sockets)
{
    int fd;
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_EQ(poll_events(fd, POLLIN | POLLOUT), POLLOUT | POLLHUP);
    char c;
    CHECK_ERRNO(recv(fd, &c, 1, 0), ENOTCONN);
    CHECK_ERRNO(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
    CHECK_ERRNO(shutdown(fd, SHUT_RDWR), ENOTCONN);
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    CHECK_ERRNO(getpeername(fd, (void *)&name, &len), ENOTCONN);
    CHECK_OK(getsockname(fd, (void *)&name, &len));
    CHECK_EQ(len, sizeof(struct sockaddr_in));
    CHECK_EQ(port_of(&name), 0);
    close(fd);
}

static void both_ways(int family)
{
    struct tcp_pair p = tcp_connected(family);
    struct sockaddr_storage a, b;
    socklen_t a_len = sizeof a, b_len = sizeof b;
    char in[32];
    CHECK_EQ(write(p.client, "ping", 4), 4);
    CHECK_EQ(read(p.server, in, 32), 4);
    CHECK_EQ(write(p.server, "pong!", 5), 5);
    CHECK_EQ(recv(p.client, in, 32, MSG_PEEK), 5);
    CHECK_EQ(recv(p.client, in, 3, 0), 3);
    CHECK_EQ(recv(p.client, in, 32, 0), 2);
    CHECK(memcmp(in, "g!", 2) == 0);
    CHECK_ERRNO(recv(p.client, in, 32, MSG_DONTWAIT), EAGAIN);
    CHECK_OK(getpeername(p.client, (void *)&a, &a_len));
    CHECK_EQ(a_len, p.len);
    CHECK(memcmp(&a, &p.name, a_len) == 0);
    CHECK_OK(getsockname(p.client, (void *)&a, &a_len));
    CHECK_OK(getpeername(p.server, (void *)&b, &b_len));
    CHECK(a_len == b_len && memcmp(&a, &b, a_len) == 0);
    CHECK_OK(getsockname(p.server, (void *)&b, &b_len));
    CHECK(memcmp(&b, &p.name, b_len) == 0);
    tcp_close(&p);
}

TEST(both_ways_over_ipv4) { both_ways(AF_INET); }
TEST(both_ways_over_ipv6) { both_ways(AF_INET6); }

TEST(a_listener_for_both_families)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    struct sockaddr_storage to, seen;
    socklen_t len = sizeof any, seen_len = sizeof seen;
    int listener, client, server;
    REQUIRE_OK(listener = socket(AF_INET6, SOCK_STREAM, 0));
    CHECK_OK(set_int(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0));
    CHECK_OK(bind(listener, (void *)&any, sizeof any));
    CHECK_OK(getsockname(listener, (void *)&any, &len));
    CHECK_OK(listen(listener, 4));
    loopback(&to, AF_INET, ntohs(any.sin6_port));
    REQUIRE_OK(client = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(connect(client, (void *)&to, sizeof(struct sockaddr_in)));
    REQUIRE_OK(server = accept(listener, (void *)&seen, &seen_len));
    CHECK_EQ(seen_len, sizeof any);
    CHECK_EQ(seen.ss_family, AF_INET6);
    CHECK(IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)&seen)->sin6_addr));
    close(server), close(client);
    int other;
    REQUIRE_OK(other = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(bind(other, (void *)&to, sizeof(struct sockaddr_in)), EADDRINUSE);
    close(other), close(listener);
    REQUIRE_OK(listener = socket(AF_INET6, SOCK_STREAM, 0));
    CHECK_OK(set_int(listener, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    any.sin6_port = 0;
    CHECK_OK(bind(listener, (void *)&any, sizeof any));
    CHECK_OK(getsockname(listener, (void *)&any, &len));
    CHECK_OK(listen(listener, 4));
    CHECK_ERRNO(set_int(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
    loopback(&to, AF_INET, ntohs(any.sin6_port));
    REQUIRE_OK(client = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(client, (void *)&to, sizeof(struct sockaddr_in)), ECONNREFUSED);
    close(client), close(listener);
}

TEST(ports_and_addresses)
{
    struct sockaddr_storage name, other;
    socklen_t len;
    int a = bound(AF_INET, SOCK_STREAM, &name, &len), b;
    CHECK_RANGE(port_of(&name), 1024, 65535);
    CHECK_ERRNO(bind(a, (void *)&name, len), EINVAL);
    REQUIRE_OK(b = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(bind(b, (void *)&name, len), EADDRINUSE);
    CHECK_ERRNO(bind(b, (void *)&name, 3), EINVAL);
    other = name;
    ((struct sockaddr_in *)&other)->sin_addr.s_addr = htonl(0x01020304);
    CHECK_ERRNO(bind(b, (void *)&other, len), EADDRNOTAVAIL);
    other.ss_family = AF_INET6;
    CHECK_ERRNO(bind(b, (void *)&other, len), EAFNOSUPPORT);
    CHECK_OK(set_int(a, SOL_SOCKET, SO_REUSEADDR, 1));
    CHECK_ERRNO(bind(b, (void *)&name, len), EADDRINUSE);
    CHECK_OK(set_int(b, SOL_SOCKET, SO_REUSEADDR, 1));
    CHECK_OK(listen(a, 1));
    CHECK_ERRNO(bind(b, (void *)&name, len), EADDRINUSE);  // one listens
    close(a);
    CHECK_OK(bind(b, (void *)&name, len));
    close(b);
    a = bound(AF_INET, SOCK_STREAM, &name, &len);
    CHECK_ERRNO(bind(a, (void *)8, len), EFAULT);
    close(a);
}

TEST(connecting_without_waiting)
{
    struct sockaddr_storage name;
    socklen_t len;
    int listener = bound(AF_INET, SOCK_STREAM, &name, &len), fd, server;
    CHECK_OK(listen(listener, 4));
    CHECK_EQ(int_option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CHECK_ERRNO(connect(fd, (void *)&name, len), EINPROGRESS);
    CHECK_EQ(wait_events(fd, POLLOUT, 5000), POLLOUT);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_ERROR), 0);
    CHECK_OK(connect(fd, (void *)&name, len));
    CHECK_ERRNO(connect(fd, (void *)&name, len), EISCONN);
    CHECK_EQ(wait_events(listener, POLLIN, 5000), POLLIN);
    REQUIRE_OK(server = accept(listener, NULL, NULL));
    close(server), close(fd), close(listener);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CHECK_ERRNO(connect(fd, (void *)&name, len), EINPROGRESS);
    CHECK_EQ(wait_events(fd, POLLOUT, 5000) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_ERROR), 0);
    close(fd);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(fd, (void *)&name, len), ECONNREFUSED);
    CHECK_ERRNO(connect(fd, (void *)&name, 4), EINVAL);
    name.ss_family = 99;
    CHECK_ERRNO(connect(fd, (void *)&name, len), EAFNOSUPPORT);
    close(fd);
}

TEST(end_of_stream_and_half_close)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char in[16];
    CHECK_EQ(poll_events(p.client, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
    CHECK_EQ(write(p.client, "bye", 3), 3);
    CHECK_OK(shutdown(p.client, SHUT_WR));
    CHECK_ERRNO(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(wait_events(p.server, POLLRDHUP, 5000), POLLRDHUP);
    CHECK_EQ(poll_events(p.server, POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(read(p.server, in, 16), 3);
    CHECK_EQ(read(p.server, in, 16), 0);
    CHECK_EQ(read(p.server, in, 16), 0);
    CHECK_EQ(write(p.server, "still", 5), 5);
    CHECK_EQ(read(p.client, in, 16), 5);
    close(p.server);
    CHECK_EQ(wait_events(p.client, POLLIN, 5000), POLLIN | POLLHUP);
    CHECK_EQ(read(p.client, in, 16), 0);
    close(p.client), close(p.listener);
}

TEST(resets)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char in[16];
    struct linger now = {1, 0};
    CHECK_OK(setsockopt(p.server, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(p.server);  // a reset
    CHECK_EQ(wait_events(p.client, POLLIN, 5000), POLLIN | POLLERR | POLLHUP);
    CHECK_ERRNO(read(p.client, in, 16), ECONNRESET);
    CHECK_EQ(read(p.client, in, 16), 0);
    CHECK_ERRNO(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(p.client), close(p.listener);
    p = tcp_connected(AF_INET);
    CHECK_EQ(write(p.client, "unread", 6), 6);
    CHECK_EQ(wait_events(p.server, POLLIN, 5000), POLLIN);
    close(p.server);  // with unread bytes: a reset too
    CHECK_EQ(wait_events(p.client, POLLIN, 5000), POLLIN | POLLERR | POLLHUP);
    CHECK_EQ(int_option(p.client, SOL_SOCKET, SO_ERROR), ECONNRESET);
    close(p.client), close(p.listener);
    p = tcp_connected(AF_INET);
    close(p.server);
    CHECK_EQ(wait_events(p.client, POLLIN, 5000), POLLIN);
    CHECK_EQ(send(p.client, "x", 1, MSG_NOSIGNAL), 1);  // answered by a reset
    CHECK_EQ(wait_events(p.client, POLLHUP, 5000) & POLLHUP, POLLHUP);
    CHECK_ERRNO(send(p.client, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(p.client), close(p.listener);
}

TEST(a_listener_that_goes_resets_those_who_wait)
{
    struct sockaddr_storage name;
    socklen_t len;
    char c;
    int listener = bound(AF_INET, SOCK_STREAM, &name, &len), fd;
    CHECK_OK(listen(listener, 4));
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(connect(fd, (void *)&name, len));
    close(listener);
    CHECK_EQ(wait_events(fd, POLLIN, 5000) & POLLHUP, POLLHUP);
    CHECK_ERRNO(read(fd, &c, 1), ECONNRESET);
    close(fd);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(fd, (void *)&name, len), ECONNREFUSED);
    close(fd);
}

TEST(options_of_servers)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    int fd = p.client;
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_OK(set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15));
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 3));
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 3);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 4));
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    CHECK_ERRNO(set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 0), EINVAL);
    CHECK_ERRNO(set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 40000), EINVAL);
    CHECK_ERRNO(set_int(fd, IPPROTO_TCP, 4711, 1), ENOPROTOOPT);
    CHECK_EQ(int_option(fd, IPPROTO_TCP, 4711), -1000 - ENOPROTOOPT);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_CORK, 1));
    CHECK_EQ(int_option(fd, IPPROTO_TCP, TCP_CORK), 1);
    CHECK_OK(set_int(fd, IPPROTO_TCP, TCP_CORK, 0));
    CHECK_OK(set_int(fd, IPPROTO_IP, IP_TOS, 0x10));
    CHECK_EQ(int_option(fd, IPPROTO_IP, IP_TOS), 0x10);
    CHECK_OK(set_int(fd, IPPROTO_IP, IP_TTL, 33));
    CHECK_EQ(int_option(fd, IPPROTO_IP, IP_TTL), 33);
    CHECK_ERRNO(set_int(fd, IPPROTO_IP, IP_TTL, 300), EINVAL);
    struct linger l = {1, 7};
    socklen_t len = sizeof l;
    CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    l.l_linger = 0;
    CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    CHECK_EQ(l.l_linger, 7);
    struct tcp_info info;
    len = sizeof info;
    CHECK_OK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    CHECK(len >= 104);
    CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
    CHECK_OK(set_int(fd, SOL_SOCKET, SO_RCVBUF, 20000));
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_RCVBUF), 40000);
    CHECK_ERRNO(set_int(fd, SOL_SOCKET, SO_TYPE, 1), ENOPROTOOPT);
    CHECK_ERRNO(set_int(fd, SOL_SOCKET, SO_ERROR, 1), ENOPROTOOPT);
    tcp_close(&p);
}

static int bulk_from, bulk_len = 4 << 20;
static void *bulk_writer(void *argument)
{
    (void)argument;
    unsigned char block[10007];
    for (int done = 0; done < bulk_len;) {
        int n = bulk_len - done < (int)sizeof block ? bulk_len - done : (int)sizeof block;
        for (int i = 0; i < n; i++)
            block[i] = (unsigned char)((done + i) * 37 >> 4);
        ssize_t sent = write(bulk_from, block, (size_t)n);
        if (sent <= 0) {
            FAIL("write: %s", errno_name(errno));
            break;
        }
        done += (int)sent;
    }
    CHECK_OK(shutdown(bulk_from, SHUT_WR));
    return NULL;
}

static void bulk(int from, int to, size_t piece)
{
    pthread_t thread;
    unsigned char *in = malloc(piece);
    int total = 0, bad = 0;
    ssize_t n;
    bulk_from = from;
    REQUIRE(pthread_create(&thread, NULL, bulk_writer, NULL) == 0);
    while ((n = read(to, in, piece)) > 0) {
        for (ssize_t i = 0; i < n; i++, total++)
            bad += in[i] != (unsigned char)(total * 37 >> 4);
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(total, bulk_len);
    CHECK_EQ(bad, 0);
    pthread_join(thread, NULL);
    free(in);
}

TEST_LIMIT(much_data, 60)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    bulk(p.client, p.server, 65536);
    tcp_close(&p);
    p = tcp_connected(AF_INET6);
    bulk(p.server, p.client, 777);
    tcp_close(&p);
}

TEST_LIMIT(slow_reader_stops_the_writer, 30)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    static char block[65536];
    long total = 0, n;
    CHECK_OK(fcntl(p.client, F_SETFL, O_NONBLOCK));
    for (int idle = 0; idle < 3;) {
        n = write(p.client, block, sizeof block);
        if (n > 0) {
            total += n;
            idle = 0;
        } else {
            CHECK_EQ(errno, EAGAIN);
            idle++;
            sleep_ns(20 * MS);
        }
        REQUIRE(total < 64 << 20);
    }
    CHECK_EQ(poll_events(p.client, POLLOUT), 0);
    long seen = 0;
    while (seen < total && (n = read(p.server, block, sizeof block)) > 0)
        seen += n;
    CHECK_EQ(seen, total);
    CHECK_EQ(wait_events(p.client, POLLOUT, 5000), POLLOUT);
    tcp_close(&p);
}

TEST(edge_triggered_epoll_on_tcp)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET}, got[4];
    char c;
    int ep;
    REQUIRE_OK(ep = epoll_create1(0));
    CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, p.server, &ev));
    CHECK_EQ(epoll_wait(ep, got, 4, 0), 1);
    CHECK_EQ(got[0].events, EPOLLOUT);
    CHECK_EQ(write(p.client, "ab", 2), 2);
    CHECK_EQ(epoll_wait(ep, got, 4, 5000), 1);
    CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT);
    CHECK_EQ(read(p.server, &c, 1), 1);
    CHECK_EQ(epoll_wait(ep, got, 4, 0), 0);
    CHECK_EQ(write(p.client, "c", 1), 1);
    CHECK_EQ(epoll_wait(ep, got, 4, 5000), 1);
    close(p.client);
    CHECK_EQ(epoll_wait(ep, got, 4, 5000), 1);
    CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    close(ep), close(p.server), close(p.listener);
}

TEST(sendfile_and_splice)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char in[4096];
    int fds[2], fd = new_file("data", 10000, 'q');
    off_t at = 5000;
    CHECK_EQ(sendfile(p.client, fd, &at, 3000), 3000);
    CHECK_EQ(at, 8000);
    CHECK_EQ(recv(p.server, in, 3000, MSG_WAITALL), 3000);
    close(fd), unlink("data");
    REQUIRE_OK(pipe(fds));
    CHECK_EQ(write(fds[1], "through a pipe", 14), 14);
    CHECK_EQ(splice(fds[0], NULL, p.client, NULL, 100, 0), 14);
    CHECK_EQ(splice(p.server, NULL, fds[1], NULL, 100, 0), 14);
    CHECK_EQ(read(fds[0], in, 100), 14);
    CHECK(memcmp(in, "through a pipe", 14) == 0);
    close(fds[0]), close(fds[1]);
    tcp_close(&p);
}

static int echo_listener;
static void *echo_server(void *argument)
{
    (void)argument;
    int ep = epoll_create1(0), open = 0, done = 0;
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = echo_listener}, got[16];
    CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, echo_listener, &ev));
    while (!done || open) {
        int n = epoll_wait(ep, got, 16, 10000);
        if (n <= 0) {
            FAIL("epoll_wait gives %d", n);
            break;
        }
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            char block[512];
            if (fd == echo_listener) {
                ev.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev));
                open++;
                continue;
            }
            ssize_t len = read(fd, block, sizeof block);
            if (len > 0 && block[0] == 'Q')
                done = 1;
            if (len <= 0 || write(fd, block, (size_t)len) != len) {
                close(fd);
                open--;
            }
        }
    }
    close(ep);
    return NULL;
}

static struct sockaddr_storage echo_name;
static socklen_t echo_len;
static void *echo_client(void *argument)
{
    long id = (long)argument;
    for (int round = 0; round < 10; round++) {
        char out[100], in[100];
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        memset(out, 'a' + (int)id, sizeof out);
        if (connect(fd, (void *)&echo_name, echo_len)) {
            FAIL("connect: %s", errno_name(errno));
            close(fd);
            break;
        }
        for (int i = 0; i < 20; i++) {
            CHECK_EQ(write(fd, out, sizeof out), 100);
            CHECK_EQ(recv(fd, in, sizeof in, MSG_WAITALL), 100);
            CHECK(memcmp(in, out, sizeof in) == 0);
        }
        close(fd);
    }
    return NULL;
}

TEST_LIMIT(many_connections_to_an_epoll_server, 60)
{
    pthread_t server, clients[8];
    char c = 'Q';
    echo_listener = bound(AF_INET, SOCK_STREAM, &echo_name, &echo_len);
    CHECK_OK(listen(echo_listener, 64));
    REQUIRE(pthread_create(&server, NULL, echo_server, NULL) == 0);
    for (long i = 0; i < 8; i++)
        REQUIRE(pthread_create(&clients[i], NULL, echo_client, (void *)i) == 0);
    for (int i = 0; i < 8; i++)
        pthread_join(clients[i], NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_OK(connect(fd, (void *)&echo_name, echo_len));
    CHECK_EQ(write(fd, &c, 1), 1);
    CHECK_EQ(read(fd, &c, 1), 1);
    close(fd);
    pthread_join(server, NULL);
    close(echo_listener);
}

static void *late_accepter(void *argument)
{
    (void)argument;
    int fd = accept(echo_listener, NULL, NULL);
    CHECK(fd >= 0);
    close(fd);
    return NULL;
}

TEST(a_thread_waits_in_accept)
{
    pthread_t thread;
    echo_listener = bound(AF_INET, SOCK_STREAM, &echo_name, &echo_len);
    CHECK_OK(listen(echo_listener, 4));
    REQUIRE(pthread_create(&thread, NULL, late_accepter, NULL) == 0);
    sleep_ns(20 * MS);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_OK(connect(fd, (void *)&echo_name, echo_len));
    pthread_join(thread, NULL);
    char c;
    CHECK_EQ(read(fd, &c, 1), 0);
    close(fd);
    struct timeval tv = {0, 20000};
    CHECK_OK(setsockopt(echo_listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    CHECK_ERRNO(accept(echo_listener, NULL, NULL), EAGAIN);
    close(echo_listener);
}

TEST(the_same_port_again)
{
    struct sockaddr_storage name;
    socklen_t len;
    int listener = bound(AF_INET, SOCK_STREAM, &name, &len);
    CHECK_OK(set_int(listener, SOL_SOCKET, SO_REUSEADDR, 1));
    for (int round = 0; round < 3; round++) {
        char c;
        CHECK_OK(listen(listener, 4));
        int client = socket(AF_INET, SOCK_STREAM, 0), server;
        CHECK_OK(connect(client, (void *)&name, len));
        REQUIRE_OK(server = accept(listener, NULL, NULL));
        close(listener), close(server);  // the server ends first: TIME-WAIT on its port
        CHECK_EQ(read(client, &c, 1), 0);
        close(client);
        REQUIRE_OK(listener = socket(AF_INET, SOCK_STREAM, 0));
        CHECK_OK(set_int(listener, SOL_SOCKET, SO_REUSEADDR, 1));
        CHECK_OK(bind(listener, (void *)&name, len));
    }
    close(listener);
}

// A port in TIME-WAIT is free for a listener only when he and the connection that ended there both wanted to share it.
TEST(a_port_in_time_wait)
{
    for (int shared = 0; shared < 2; shared++) {
        struct tcp_pair p;
        char c;
        int again;
        p.listener = socket(AF_INET, SOCK_STREAM, 0);
        p.len = loopback(&p.name, AF_INET, 0);
        CHECK_OK(set_int(p.listener, SOL_SOCKET, SO_REUSEADDR, shared));
        REQUIRE_OK(bind(p.listener, (void *)&p.name, p.len));
        REQUIRE_OK(getsockname(p.listener, (void *)&p.name, &p.len));
        REQUIRE_OK(listen(p.listener, 8));
        REQUIRE_OK(p.client = socket(AF_INET, SOCK_STREAM, 0));
        REQUIRE_OK(connect(p.client, (void *)&p.name, p.len));
        REQUIRE_OK(p.server = accept(p.listener, NULL, NULL));
        close(p.listener);
        close(p.server);  // the first to close waits
        CHECK_EQ(read(p.client, &c, 1), 0);
        close(p.client);
        REQUIRE_OK(again = socket(AF_INET, SOCK_STREAM, 0));
        CHECK_ERRNO(bind(again, (void *)&p.name, p.len), EADDRINUSE);
        CHECK_OK(set_int(again, SOL_SOCKET, SO_REUSEADDR, 1));
        if (shared)
            CHECK_OK(bind(again, (void *)&p.name, p.len));
        else
            CHECK_ERRNO(bind(again, (void *)&p.name, p.len), EADDRINUSE);
        close(again);
    }
}
