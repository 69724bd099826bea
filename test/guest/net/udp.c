// SPDX-License-Identifier: BSD-2-Clause
// UDP over the loopback interface, IPv4 and IPv6.
#include "net.h"

static void echo(int family)
{
    struct sockaddr_storage name, from;
    socklen_t len, from_len = sizeof from;
    char in[32];
    int a = bound(family, SOCK_DGRAM, &name, &len), b;
    REQUIRE_OK(b = socket(family, SOCK_DGRAM, 0));
    CHECK_EQ(poll_events(b, POLLIN | POLLOUT), POLLOUT);
    CHECK_ERRNO(send(b, "x", 1, 0), EDESTADDRREQ);
    CHECK_EQ(sendto(b, "hello", 5, 0, (void *)&name, len), 5);
    CHECK_EQ(wait_events(a, POLLIN, 5000), POLLIN);
    int n = 0;
    CHECK_OK(ioctl(a, FIONREAD, &n));
    CHECK_EQ(n, 5);
    CHECK_EQ(recvfrom(a, in, 32, MSG_PEEK, (void *)&from, &from_len), 5);
    CHECK_EQ(from_len, len);
    CHECK_EQ(from.ss_family, family);
    CHECK_EQ(recvfrom(a, in, 2, MSG_TRUNC, NULL, NULL), 5);
    CHECK_EQ(poll_events(a, POLLIN), 0);
    CHECK_EQ(sendto(a, "", 0, 0, (void *)&from, from_len), 0);
    CHECK_EQ(recv(b, in, 32, 0), 0);
    CHECK_OK(connect(b, (void *)&name, len));
    CHECK_OK(getpeername(b, (void *)&from, &from_len));
    CHECK(memcmp(&from, &name, len) == 0);
    CHECK_EQ(write(b, "12", 2), 2);
    CHECK_EQ(read(a, in, 32), 2);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK_OK(connect(b, &none, sizeof none));
    CHECK_ERRNO(getpeername(b, (void *)&from, &from_len), ENOTCONN);
    CHECK_ERRNO(recv(b, in, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(listen(b, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(b, NULL, NULL), EOPNOTSUPP);
    close(a), close(b);
}

TEST(datagrams_over_ipv4) { echo(AF_INET); }
TEST(datagrams_over_ipv6) { echo(AF_INET6); }

// What connect(2) chose is given up with the connection; what bind(2) chose stays. getaddrinfo(3) sorts by it.
TEST(own_address_goes_with_the_connection)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9)}, own;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9)};
    socklen_t len = sizeof(own);
    int s = socket(AF_INET6, SOCK_DGRAM, 0);
    six.sin6_addr = in6addr_loopback;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_OK(connect(s, (void *)&six, sizeof(six)));
    CHECK_OK(getsockname(s, (void *)&own, &len));
    CHECK(IN6_IS_ADDR_LOOPBACK(&own.sin6_addr));
    CHECK_OK(connect(s, &none, sizeof(none)));
    CHECK_OK(getsockname(s, (void *)&own, &len));
    CHECK(IN6_IS_ADDR_UNSPECIFIED(&own.sin6_addr));
    CHECK_OK(connect(s, (void *)&four, sizeof(four)));
    CHECK_OK(getsockname(s, (void *)&own, &len));
    CHECK(IN6_IS_ADDR_V4MAPPED(&own.sin6_addr));
    close(s);
    s = socket(AF_INET6, SOCK_DGRAM, 0);
    six.sin6_port = 0;
    CHECK_OK(bind(s, (void *)&six, sizeof(six)));
    six.sin6_port = htons(9);
    CHECK_OK(connect(s, (void *)&six, sizeof(six)));
    CHECK_OK(connect(s, &none, sizeof(none)));
    CHECK_OK(getsockname(s, (void *)&own, &len));
    CHECK(IN6_IS_ADDR_LOOPBACK(&own.sin6_addr));
    close(s);
}

TEST(sizes)
{
    struct sockaddr_storage name;
    socklen_t len;
    static char out[70000], in[70000];
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 3);
    CHECK_EQ(sendto(a, out, 60000, 0, (void *)&name, len), 60000);
    CHECK_EQ(recv(a, in, sizeof in, 0), 60000);
    CHECK(memcmp(in, out, 60000) == 0);
    CHECK_EQ(sendto(a, out, 65507, 0, (void *)&name, len), 65507);
    CHECK_EQ(recv(a, in, sizeof in, 0), 65507);
    CHECK_ERRNO(sendto(a, out, 65508, 0, (void *)&name, len), EMSGSIZE);
    struct iovec iov = {in, 10};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    CHECK_EQ(sendto(a, out, 20, 0, (void *)&name, len), 20);
    CHECK_EQ(recvmsg(a, &m, 0), 10);
    CHECK_EQ(m.msg_flags, MSG_TRUNC);
    close(a);
}

TEST(a_full_queue_drops)
{
    struct sockaddr_storage name;
    socklen_t len;
    static char block[1000];
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len), got = 0;
    CHECK_OK(set_int(a, SOL_SOCKET, SO_RCVBUF, 20000));
    for (int i = 0; i < 500; i++)
        CHECK_EQ(sendto(a, block, sizeof block, 0, (void *)&name, len), 1000);
    while (recv(a, block, sizeof block, MSG_DONTWAIT) > 0)
        got++;
    CHECK_RANGE(got, 5, 100);
    close(a);
}

TEST(a_connected_socket_hears_its_peer_only)
{
    struct sockaddr_storage name_a, name_b, name_c;
    socklen_t len;
    char in[8];
    int a = bound(AF_INET, SOCK_DGRAM, &name_a, &len),
        b = bound(AF_INET, SOCK_DGRAM, &name_b, &len),
        c = bound(AF_INET, SOCK_DGRAM, &name_c, &len);
    CHECK_OK(connect(a, (void *)&name_b, len));
    CHECK_EQ(sendto(c, "no", 2, 0, (void *)&name_a, len), 2);
    CHECK_EQ(sendto(b, "yes", 3, 0, (void *)&name_a, len), 3);
    CHECK_EQ(recv(a, in, 8, 0), 3);
    CHECK_ERRNO(recv(a, in, 8, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(sendto(a, "c", 1, 0, (void *)&name_c, len), 1);  // another address may still be named
    CHECK_EQ(recv(c, in, 8, 0), 1);
    close(a), close(b), close(c);
}

TEST(where_a_datagram_was_sent_to)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_storage to;
    socklen_t len = sizeof any;
    int a;
    REQUIRE_OK(a = socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_OK(bind(a, (void *)&any, sizeof any));
    CHECK_OK(getsockname(a, (void *)&any, &len));
    CHECK_OK(set_int(a, IPPROTO_IP, IP_PKTINFO, 1));
    loopback(&to, AF_INET, ntohs(any.sin_port));
    CHECK_EQ(sendto(a, "x", 1, 0, (void *)&to, sizeof any), 1);
    char space[256], byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    CHECK_EQ(recvmsg(a, &m, 0), 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    REQUIRE(c != NULL);
    CHECK_EQ(c->cmsg_type, IP_PKTINFO);
    CHECK_EQ(((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(((struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex, 1);
    close(a);
}

TEST(timeouts_and_broadcast)
{
    struct sockaddr_storage name;
    socklen_t len;
    char c;
    int a = bound(AF_INET, SOCK_DGRAM, &name, &len);
    struct timeval tv = {0, 20000};
    CHECK_OK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    CHECK_ERRNO(recv(a, &c, 1, 0), EAGAIN);
    CHECK_EQ(int_option(a, SOL_SOCKET, SO_BROADCAST), 0);
    CHECK_OK(set_int(a, SOL_SOCKET, SO_BROADCAST, 1));
    CHECK_EQ(int_option(a, SOL_SOCKET, SO_BROADCAST), 1);
    CHECK_ERRNO(shutdown(a, SHUT_RDWR), ENOTCONN);
    CHECK_ERRNO(sendto(a, "x", 1, 0, (void *)&name, 5), EINVAL);
    close(a);
}

// One datagram with one piece of control data.
static ssize_t send_with(int fd, const struct sockaddr_storage *to, socklen_t len, int level,
                         int type, const void *data, size_t size)
{
    _Alignas(struct cmsghdr) char space[64] = {0};
    struct iovec iov = {"x", 1};
    struct msghdr m = {.msg_name = (void *)to,
                       .msg_namelen = len,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = space,
                       .msg_controllen = CMSG_SPACE(size)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    return sendmsg(fd, &m, 0);
}

// The next datagram's control data of a type; of its first byte, or the whole number. => -1: there is none
static int received_with(int fd, int level, int type)
{
    _Alignas(struct cmsghdr) char space[256];
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(fd, &m, MSG_DONTWAIT) != 1)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        int n = *CMSG_DATA(c);
        if (c->cmsg_level == level && c->cmsg_type == type) {
            if (c->cmsg_len == CMSG_LEN(sizeof n))
                memcpy(&n, CMSG_DATA(c), sizeof n);
            return n;
        }
    }
    return -1;
}

// What QUIC servers mark their packets with: hops and traffic class of one datagram, without a change of the socket's.
TEST(hops_and_class_of_one_datagram)
{
    static const struct {
        int family, level, ttl, tos, receive_ttl, receive_tos, least;
    } kinds[] = {{AF_INET, IPPROTO_IP, IP_TTL, IP_TOS, IP_RECVTTL, IP_RECVTOS, 1},
                 {AF_INET6, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_RECVHOPLIMIT,
                  IPV6_RECVTCLASS, -1}};
    for (int k = 0; k < 2; k++) {
        struct sockaddr_storage to;
        socklen_t len;
        int a = bound(kinds[k].family, SOCK_DGRAM, &to, &len), level = kinds[k].level, n = 0;
        uint8_t byte = 2;
        CHECK_OK(set_int(a, level, kinds[k].receive_ttl, 1));
        CHECK_OK(set_int(a, level, kinds[k].receive_tos, 1));
        n = 7;
        CHECK_EQ(send_with(a, &to, len, level, kinds[k].ttl, &n, sizeof n), 1);
        CHECK_EQ(received_with(a, level, kinds[k].ttl), 7);
        n = 2;
        CHECK_EQ(send_with(a, &to, len, level, kinds[k].tos, &n, sizeof n), 1);
        CHECK_EQ(received_with(a, level, kinds[k].tos), 2);
        CHECK_EQ(sendto(a, "y", 1, 0, (void *)&to, len), 1);
        CHECK_EQ(received_with(a, level, kinds[k].ttl), 64);
        CHECK_EQ(send_with(a, &to, len, level, kinds[k].tos, &byte, 1), k ? -1 : 1);
        CHECK_EQ(received_with(a, level, kinds[k].tos), k ? -1 : 2);
        // Wrong numbers, wrong sizes, unknown types; another family's level is skipped.
        n = 256;
        CHECK_ERRNO(send_with(a, &to, len, level, kinds[k].ttl, &n, sizeof n), EINVAL);
        CHECK_ERRNO(send_with(a, &to, len, level, kinds[k].tos, &n, sizeof n), EINVAL);
        n = kinds[k].least - 1;
        CHECK_ERRNO(send_with(a, &to, len, level, kinds[k].ttl, &n, sizeof n), EINVAL);
        CHECK_ERRNO(send_with(a, &to, len, level, kinds[k].ttl, &n, 2), EINVAL);
        CHECK_ERRNO(send_with(a, &to, len, level, 999, &n, sizeof n), EINVAL);
        CHECK_ERRNO(send_with(a, &to, len, SOL_SOCKET, 999, &n, sizeof n), EINVAL);
        CHECK_EQ(send_with(a, &to, len, k ? IPPROTO_IP : IPPROTO_TCP, 999, &n, sizeof n), 1);
        CHECK_EQ(send_with(a, &to, len, 12345, 1, &n, sizeof n), 1);
        close(a);
    }
}

// An address of one link, and nothing says which link.
TEST(connecting_without_an_interface)
{
    struct sockaddr_in6 link = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    int udp = socket(AF_INET6, SOCK_DGRAM, 0), tcp = socket(AF_INET6, SOCK_STREAM, 0);
    inet_pton(AF_INET6, "fe80::1", &link.sin6_addr);
    CHECK_ERRNO(connect(udp, (void *)&link, sizeof link), EINVAL);
    CHECK_ERRNO(connect(tcp, (void *)&link, sizeof link), EINVAL);
    close(udp), close(tcp);
}
