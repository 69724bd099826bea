// SPDX-License-Identifier: BSD-2-Clause
// Options of sockets that servers set, groups, and ICMP errors. Sources: socket(7), ip(7), ipv6(7), tcp(7), udp(7).
#include "net.h"

#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>

#ifndef SO_REUSEPORT
#define SO_REUSEPORT 15
#endif

static int listener_at(int family, struct sockaddr_storage *name, socklen_t *len, int backlog)
{
    int fd;
    REQUIRE_OK(fd = socket(family, SOCK_STREAM, 0));
    CHECK_OK(set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    REQUIRE_OK(bind(fd, (void *)name, *len));
    REQUIRE_OK(listen(fd, backlog));
    REQUIRE_OK(getsockname(fd, (void *)name, len));
    return fd;
}

static int connected_to(const struct sockaddr_storage *name, socklen_t len)
{
    int fd;
    REQUIRE_OK(fd = socket(name->ss_family, SOCK_STREAM, 0));
    REQUIRE_OK(connect(fd, (const void *)name, len));
    return fd;
}

TEST(listeners_share_a_port)
{
    enum { LISTENERS = 4, CLIENTS = 64 };
    struct sockaddr_storage name;
    socklen_t len = loopback(&name, AF_INET, 0);
    int fd[LISTENERS], clients[CLIENTS], got[LISTENERS] = {0}, busy = 0, total = 0;
    for (int i = 0; i < LISTENERS; i++) {
        fd[i] = listener_at(AF_INET, &name, &len, 128);
        CHECK_OK(fcntl(fd[i], F_SETFL, O_NONBLOCK));
    }
    int other = socket(AF_INET, SOCK_STREAM, 0);  // without the option: the port is taken
    CHECK_ERRNO(bind(other, (void *)&name, len), EADDRINUSE);
    close(other);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = connected_to(&name, len);
    for (int i = 0; i < LISTENERS; i++) {
        for (int c; (c = accept(fd[i], NULL, NULL)) >= 0; close(c))
            got[i]++;
        total += got[i];
        busy += got[i] > 0;
    }
    CHECK_EQ(total, CLIENTS);
    CHECK_RANGE(busy, 2, LISTENERS);
    // The first goes, and its share goes to the others.
    close(fd[0]);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        clients[i] = connected_to(&name, len);
    }
    total = 0;
    for (int i = 1; i < LISTENERS; i++) {
        for (int c; (c = accept(fd[i], NULL, NULL)) >= 0; close(c))
            total++;
        close(fd[i]);
    }
    CHECK_EQ(total, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
    other = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(other, (void *)&name, len), ECONNREFUSED);
    close(other);
}

TEST(datagram_sockets_share_a_port)
{
    struct sockaddr_storage name, from;
    socklen_t len = loopback(&name, AF_INET, 0);
    int fd[3], got[3] = {0}, total = 0;
    char c;
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
        CHECK_OK(set_int(fd[i], SOL_SOCKET, SO_REUSEPORT, 1));
        REQUIRE_OK(bind(fd[i], (void *)&name, len));
        REQUIRE_OK(getsockname(fd[i], (void *)&name, &len));
    }
    for (int i = 0; i < 60; i++) {
        int s = bound(AF_INET, SOCK_DGRAM, &from, &len);
        CHECK_EQ(sendto(s, "x", 1, 0, (void *)&name, len), 1);
        CHECK_EQ(sendto(s, "y", 1, 0, (void *)&name, len),
                 1);  // the same sender: the same receiver
        close(s);
    }
    for (int i = 0; i < 3; i++) {
        while (recv(fd[i], &c, 1, 0) == 1)
            got[i]++;
        CHECK_EQ(got[i] % 2, 0);
        total += got[i];
        close(fd[i]);
    }
    CHECK_EQ(total, 120);
    CHECK(got[0] < 120 && got[1] < 120 && got[2] < 120);
}

TEST(more_connections_wait_than_255)
{
    enum { MANY = 400 };
    struct sockaddr_storage name;
    socklen_t len;
    static int fd[MANY];
    int l = bound(AF_INET, SOCK_STREAM, &name, &len), got = 0;
    REQUIRE_OK(listen(l, MANY));
    for (int i = 0; i < MANY; i++)
        fd[i] = connected_to(&name, len);
    CHECK_OK(fcntl(l, F_SETFL, O_NONBLOCK));
    for (int c; (c = accept(l, NULL, NULL)) >= 0; close(c))
        got++;
    CHECK_EQ(got, MANY);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
    close(l);
}

TEST(a_full_backlog_makes_others_wait)
{
    struct sockaddr_storage name;
    socklen_t len;
    int l = bound(AF_INET, SOCK_STREAM, &name, &len), fd[3], c;
    REQUIRE_OK(listen(l, 1));
    fd[0] = connected_to(&name, len);
    fd[1] = connected_to(&name, len);
    REQUIRE_OK(fd[2] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CHECK_ERRNO(connect(fd[2], (void *)&name, len), EINPROGRESS);
    CHECK_EQ(wait_events(fd[2], POLLOUT, 200), 0);
    REQUIRE_OK(c = accept(l, NULL, NULL));  // room again: the SYN that is sent again finds it
    CHECK_EQ(wait_events(fd[2], POLLOUT, 10000), POLLOUT);
    CHECK_EQ(int_option(fd[2], SOL_SOCKET, SO_ERROR), 0);
    close(c), close(l);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

TEST(accept_may_wait_for_bytes)
{
    struct sockaddr_storage name;
    socklen_t len;
    char buf[8];
    int l = bound(AF_INET, SOCK_STREAM, &name, &len), c, s;
    CHECK_EQ(int_option(l, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
    CHECK_OK(set_int(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5));
    CHECK_EQ(int_option(l, IPPROTO_TCP, TCP_DEFER_ACCEPT), 7);
    REQUIRE_OK(listen(l, 8));
    c = connected_to(&name, len);
    CHECK_EQ(wait_events(l, POLLIN, 100), 0);
    CHECK_EQ(write(c, "hello", 5), 5);
    CHECK_EQ(wait_events(l, POLLIN, 5000), POLLIN);
    REQUIRE_OK(s = accept(l, NULL, NULL));
    CHECK_EQ(recv(s, buf, sizeof buf, MSG_DONTWAIT), 5);
    close(c), close(s);
    c = connected_to(&name, len);  // one that waits when the listener goes
    close(l), close(c);
}

TEST(tcp_options_are_kept)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char name[16] = "";
    socklen_t len = sizeof name;
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    CHECK_OK(set_int(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000));
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
    CHECK_ERRNO(set_int(p.client, IPPROTO_TCP, TCP_USER_TIMEOUT, -1), EINVAL);
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_SYNCNT), 6);
    CHECK_OK(set_int(p.client, IPPROTO_TCP, TCP_SYNCNT, 3));
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_SYNCNT), 3);
    CHECK_ERRNO(set_int(p.client, IPPROTO_TCP, TCP_SYNCNT, 0), EINVAL);
    CHECK_ERRNO(set_int(p.client, IPPROTO_TCP, TCP_SYNCNT, 128), EINVAL);
    CHECK_OK(set_int(p.client, IPPROTO_TCP, TCP_QUICKACK, 1));
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_QUICKACK), 1);
    CHECK_OK(set_int(p.client, IPPROTO_TCP, TCP_QUICKACK, 0));
    CHECK_EQ(int_option(p.client, IPPROTO_TCP, TCP_QUICKACK), 0);
    CHECK_OK(getsockopt(p.client, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    CHECK_EQ(len, 16);
    CHECK_OK(setsockopt(p.client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    CHECK_ERRNO(setsockopt(p.client, IPPROTO_TCP, TCP_CONGESTION, "no-such", 7), ENOENT);
    CHECK_ERRNO(set_int(p.client, IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
    tcp_close(&p);
}

TEST(socket_options_are_kept)
{
    int fd;
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    static const int flags[] = {SO_REUSEPORT, SO_OOBINLINE, SO_KEEPALIVE, SO_BROADCAST,
                                SO_REUSEADDR};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        CHECK_EQ(int_option(fd, SOL_SOCKET, flags[i]), 0);
        CHECK_OK(set_int(fd, SOL_SOCKET, flags[i], 5));
        CHECK_EQ(int_option(fd, SOL_SOCKET, flags[i]), 1);
    }
    CHECK_OK(set_int(fd, SOL_SOCKET, SO_PRIORITY, 6));
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_PRIORITY), 6);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_MARK), 0);
    CHECK_OK(set_int(fd, IPPROTO_IP, IP_FREEBIND, 1));
    CHECK_EQ(int_option(fd, IPPROTO_IP, IP_FREEBIND), 1);
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000211)};
    CHECK_OK(bind(fd, (void *)&far, sizeof far));
    close(fd);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(bind(fd, (void *)&far, sizeof far), EADDRNOTAVAIL);
    close(fd);
    REQUIRE_OK(fd = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_ERRNO(set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1), EOPNOTSUPP);
    close(fd);
}

TEST(a_port_may_be_chosen_late)
{
    struct sockaddr_storage name, own;
    socklen_t len;
    int l = bound(AF_INET, SOCK_STREAM, &name, &len), fd;
    REQUIRE_OK(listen(l, 4));
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
    loopback(&own, AF_INET, 0);
    CHECK_OK(bind(fd, (void *)&own, len));
    CHECK_OK(getsockname(fd, (void *)&own, &len));
    CHECK_EQ(port_of(&own), 0);
    CHECK_OK(connect(fd, (void *)&name, len));
    CHECK_OK(getsockname(fd, (void *)&own, &len));
    CHECK(port_of(&own) != 0);
    CHECK_EQ(int_option(fd, IPPROTO_IP, IP_MTU) >= 1500, 1);
    close(fd), close(l);
}

TEST(sockets_are_bound_to_interfaces)
{
    char name[IFNAMSIZ] = "";
    socklen_t len = sizeof name;
    struct sockaddr_storage at;
    int a = bound(AF_INET, SOCK_DGRAM, &at, &len), b;
    REQUIRE_OK(b = socket(AF_INET, SOCK_DGRAM, 0));
    len = sizeof name;
    CHECK_OK(getsockopt(b, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    CHECK_EQ(len, 0);
    CHECK_OK(setsockopt(b, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    len = sizeof name;
    CHECK_OK(getsockopt(b, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    CHECK_EQ(len, 3);
    CHECK(!strcmp(name, "lo"));
    CHECK_EQ(sendto(b, "x", 1, 0, (void *)&at, sizeof(struct sockaddr_in)), 1);
    CHECK_EQ(recv(a, name, 1, 0), 1);
    CHECK_ERRNO(setsockopt(b, SOL_SOCKET, SO_BINDTODEVICE, "no-such", 8), ENODEV);
    close(a), close(b);
}

// ---- what comes with a datagram

static const struct cmsghdr *control_of(int fd, int level, int type, char *space, size_t size,
                                        int flags, ssize_t wanted)
{
    static char byte[16];
    struct iovec v = {byte, sizeof byte};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = size};
    CHECK_EQ(recvmsg(fd, &m, flags), wanted);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == level && c->cmsg_type == type)
            return c;
    }
    FAIL("no control message of level %d, type %d", level, type);
    return NULL;
}

TEST(datagrams_carry_times_and_headers)
{
    struct sockaddr_storage at;
    socklen_t len;
    char space[512];
    const struct cmsghdr *c;
    int a = bound(AF_INET, SOCK_DGRAM, &at, &len), b = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_OK(set_int(a, SOL_SOCKET, SO_TIMESTAMPNS, 1));
    CHECK_EQ(int_option(a, SOL_SOCKET, SO_TIMESTAMPNS), 1);
    CHECK_OK(set_int(a, IPPROTO_IP, IP_RECVTTL, 1));
    CHECK_OK(set_int(a, IPPROTO_IP, IP_RECVTOS, 1));
    CHECK_OK(set_int(b, IPPROTO_IP, IP_TTL, 33));
    CHECK_OK(set_int(b, IPPROTO_IP, IP_TOS, 0x10));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(sendto(b, "x", 1, 0, (void *)&at, len), 1);
    struct timespec now, then;
    clock_gettime(CLOCK_REALTIME, &now);
    REQUIRE((c = control_of(a, SOL_SOCKET, SO_TIMESTAMPNS, space, sizeof space, 0, 1)) != NULL);
    memcpy(&then, CMSG_DATA(c), sizeof then);
    CHECK_RANGE(then.tv_sec, now.tv_sec - 5, now.tv_sec);
    REQUIRE((c = control_of(a, IPPROTO_IP, IP_TTL, space, sizeof space, 0, 1)) != NULL);
    CHECK_EQ(*(int *)CMSG_DATA(c), 33);
    REQUIRE((c = control_of(a, IPPROTO_IP, IP_TOS, space, sizeof space, 0, 1)) != NULL);
    CHECK_EQ(*CMSG_DATA(c), 0x10);
    close(a), close(b);
}

// ---- ICMP

TEST(a_closed_port_is_told_to_connected_sockets)
{
    for (int six = 0; six < 2; six++) {
        struct sockaddr_storage at;
        socklen_t len;
        char c;
        int family = six ? AF_INET6 : AF_INET, a = bound(family, SOCK_DGRAM, &at, &len), b;
        close(a);
        REQUIRE_OK(b = socket(family, SOCK_DGRAM, 0));
        CHECK_OK(connect(b, (void *)&at, len));
        CHECK_EQ(send(b, "x", 1, 0), 1);
        CHECK(wait_events(b, POLLIN, 2000) & POLLERR);
        CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), ECONNREFUSED);
        CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), EAGAIN);
        CHECK_EQ(send(b, "x", 1, 0), 1);
        CHECK(wait_events(b, POLLIN, 2000) & POLLERR);
        CHECK_ERRNO(send(b, "x", 1, 0), ECONNREFUSED);
        close(b);
        REQUIRE_OK(b = socket(family, SOCK_DGRAM, 0));  // not connected: not told
        CHECK_EQ(sendto(b, "x", 1, 0, (void *)&at, len), 1);
        CHECK_EQ(wait_events(b, POLLIN, 50), 0);
        close(b);
    }
}

TEST(errors_are_queued_when_asked_for)
{
    struct sockaddr_storage at;
    socklen_t len;
    char space[512], c;
    int a = bound(AF_INET, SOCK_DGRAM, &at, &len), b;
    close(a);
    REQUIRE_OK(b = socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_OK(set_int(b, IPPROTO_IP, IP_RECVERR, 1));
    CHECK_EQ(int_option(b, IPPROTO_IP, IP_RECVERR), 1);
    CHECK_ERRNO(recv(b, &c, 1, MSG_ERRQUEUE | MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(sendto(b, "", 0, 0, (void *)&at, len), 0);
    CHECK(wait_events(b, POLLIN, 2000) & POLLERR);
    const struct cmsghdr *m =
        control_of(b, IPPROTO_IP, IP_RECVERR, space, sizeof space, MSG_ERRQUEUE, 0);
    REQUIRE(m != NULL);
    const struct sock_extended_err *e = (void *)CMSG_DATA(m);
    CHECK_EQ(e->ee_errno, ECONNREFUSED);
    CHECK_EQ(e->ee_origin, SO_EE_ORIGIN_ICMP);
    CHECK_EQ(e->ee_type, ICMP_DEST_UNREACH);
    CHECK_EQ(e->ee_code, ICMP_PORT_UNREACH);
    CHECK_EQ(((struct sockaddr_in *)SO_EE_OFFENDER(e))->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_ERRNO(recv(b, &c, 1, MSG_ERRQUEUE | MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(poll_events(b, POLLIN), 0);
    close(b);
}

// ---- the loopback network

TEST(the_whole_loopback_network_is_here)
{
    struct sockaddr_in two = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)}, from;
    socklen_t len = sizeof two;
    char c;
    int l, fd, s;
    REQUIRE_OK(l = socket(AF_INET, SOCK_STREAM, 0));
    REQUIRE_OK(bind(l, (void *)&two, sizeof two));
    REQUIRE_OK(listen(l, 4));
    CHECK_OK(getsockname(l, (void *)&two, &len));
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    REQUIRE_OK(connect(fd, (void *)&two, sizeof two));
    REQUIRE_OK(s = accept(l, (void *)&from, &len));
    CHECK_EQ(ntohl(from.sin_addr.s_addr), 0x7f000001);
    CHECK_EQ(write(s, "x", 1), 1);
    CHECK_EQ(read(fd, &c, 1), 1);
    close(fd), close(s);
    two.sin_addr.s_addr = htonl(0x7f010203);
    REQUIRE_OK(fd = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(fd, (void *)&two, sizeof two), ECONNREFUSED);
    close(fd), close(l);
    int a = socket(AF_INET, SOCK_DGRAM, 0);
    two.sin_port = 0;
    REQUIRE_OK(bind(a, (void *)&two, sizeof two));
    CHECK_OK(getsockname(a, (void *)&two, &len));
    CHECK_EQ(sendto(a, "y", 1, 0, (void *)&two, sizeof two), 1);
    CHECK_EQ(recvfrom(a, &c, 1, 0, (void *)&from, &len), 1);
    CHECK_EQ(ntohl(from.sin_addr.s_addr), 0x7f010203);
    close(a);
}

// ---- groups

static int group_socket(const struct sockaddr_in *group)
{
    int fd;
    REQUIRE_OK(fd = socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_OK(set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    REQUIRE_OK(bind(fd, (const void *)group, sizeof *group));
    return fd;
}

TEST(groups_of_ipv4)
{
    struct sockaddr_in group = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xe0004d4d)};
    struct ip_mreqn m = {group.sin_addr, {htonl(INADDR_LOOPBACK)}, 0};
    socklen_t len = sizeof group;
    char c;
    int a = group_socket(&group), b, s;
    CHECK_OK(getsockname(a, (void *)&group, &len));
    b = group_socket(&group);
    CHECK_OK(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 8));
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 8), EADDRINUSE);
    CHECK_OK(set_int(b, IPPROTO_IP, IP_MULTICAST_ALL, 0));  // not a member: hears nothing
    REQUIRE_OK(s = socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_EQ(int_option(s, IPPROTO_IP, IP_MULTICAST_TTL), 1);
    CHECK_EQ(int_option(s, IPPROTO_IP, IP_MULTICAST_LOOP), 1);
    CHECK_OK(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof m));
    CHECK_OK(set_int(s, IPPROTO_IP, IP_MULTICAST_TTL, 3));
    CHECK_EQ(sendto(s, "x", 1, 0, (void *)&group, sizeof group), 1);
    CHECK_EQ(wait_events(a, POLLIN, 2000), POLLIN);
    CHECK_EQ(recv(a, &c, 1, MSG_DONTWAIT), 1);
    CHECK_ERRNO(recv(b, &c, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_OK(setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    CHECK_EQ(sendto(s, "y", 1, 0, (void *)&group, sizeof group), 1);
    CHECK_EQ(wait_events(a, POLLIN, 2000), POLLIN);
    CHECK_EQ(wait_events(b, POLLIN, 2000), POLLIN);
    CHECK_EQ(recv(a, &c, 1, MSG_DONTWAIT), 1);
    CHECK_ERRNO(recv(a, &c, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_OK(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, 8));
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, 8), EADDRNOTAVAIL);
    m.imr_multiaddr.s_addr = htonl(0x0a000001);
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m), EINVAL);
    m.imr_multiaddr = group.sin_addr, m.imr_ifindex = 99999;
    CHECK_ERRNO(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m), ENODEV);
    close(a), close(b), close(s);
}

// An interface that carries groups. => 0: there is none
static unsigned group_interface(void)
{
    unsigned found = 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct if_nameindex *list = if_nameindex();
    for (struct if_nameindex *i = list; i && i->if_index && !found; i++) {
        struct ifreq r;
        snprintf(r.ifr_name, sizeof r.ifr_name, "%s", i->if_name);
        if (ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & IFF_MULTICAST) &&
            (r.ifr_flags & IFF_RUNNING))
            found = i->if_index;
    }
    if_freenameindex(list);
    close(fd);
    return found;
}

TEST(groups_of_ipv6)
{
    unsigned index = group_interface();
    if (!index)
        SKIP("no interface carries groups");
    struct sockaddr_in6 group = {.sin6_family = AF_INET6, .sin6_scope_id = index};
    struct ipv6_mreq m = {.ipv6mr_interface = index};
    socklen_t len = sizeof group;
    char c;
    int a, s;
    inet_pton(AF_INET6, "ff02::4d4d", &group.sin6_addr);
    m.ipv6mr_multiaddr = group.sin6_addr;
    REQUIRE_OK(a = socket(AF_INET6, SOCK_DGRAM, 0));
    REQUIRE_OK(bind(a, (void *)&(struct sockaddr_in6){.sin6_family = AF_INET6}, sizeof group));
    struct sockaddr_in6 own;
    CHECK_OK(getsockname(a, (void *)&own, &len));
    group.sin6_port = own.sin6_port;
    CHECK_OK(setsockopt(a, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    REQUIRE_OK(s = socket(AF_INET6, SOCK_DGRAM, 0));
    CHECK_OK(set_int(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index));
    CHECK_EQ(int_option(s, IPPROTO_IPV6, IPV6_MULTICAST_IF), (int)index);
    CHECK_OK(set_int(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 2));
    CHECK_EQ(int_option(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 2);
    CHECK_ERRNO(set_int(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, 99999), ENODEV);
    // The interface's own address may still be on trial.
    for (int tries = 0; sendto(s, "x", 1, 0, (void *)&group, sizeof group) != 1 && tries < 50;
         tries++)
        usleep(100000);
    CHECK_EQ(wait_events(a, POLLIN, 2000), POLLIN);
    CHECK_EQ(recv(a, &c, 1, MSG_DONTWAIT), 1);
    CHECK_OK(setsockopt(a, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    close(a), close(s);
}

// ---- a port with several sockets

TEST(a_connected_socket_is_found_before_its_server)
{
    struct sockaddr_storage at, mine;
    socklen_t len = loopback(&at, AF_INET, 0);
    char c;
    int server, child, client = bound(AF_INET, SOCK_DGRAM, &mine, &len),
                       other = socket(AF_INET, SOCK_DGRAM, 0);
    REQUIRE_OK(server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    CHECK_OK(set_int(server, SOL_SOCKET, SO_REUSEADDR, 1));
    REQUIRE_OK(bind(server, (void *)&at, len));
    REQUIRE_OK(getsockname(server, (void *)&at, &len));
    REQUIRE_OK(child = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    CHECK_OK(set_int(child, SOL_SOCKET, SO_REUSEADDR, 1));
    REQUIRE_OK(bind(child, (void *)&at, len));
    CHECK_OK(connect(child, (void *)&mine, len));
    CHECK_EQ(sendto(client, "a", 1, 0, (void *)&at, len), 1);
    CHECK_EQ(sendto(other, "b", 1, 0, (void *)&at, len), 1);
    CHECK_EQ(recv(child, &c, 1, 0), 1);
    CHECK_EQ(c, 'a');
    CHECK_EQ(recv(server, &c, 1, 0), 1);
    CHECK_EQ(c, 'b');
    CHECK_ERRNO(recv(child, &c, 1, 0), EAGAIN);
    close(server), close(child), close(client), close(other);
}
