// SPDX-License-Identifier: BSD-2-Clause
// net.h: what the socket tests share. Sources: socket(7), unix(7), ip(7), tcp(7), udp(7), and the pages of the calls.
#ifndef GUEST_NET_H
#define GUEST_NET_H

#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

static inline int poll_events(int fd, int wanted)
{
    struct pollfd p = {fd, (short)wanted, 0};
    return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

static inline int wait_events(int fd, int wanted, int ms)
{
    struct pollfd p = {fd, (short)wanted, 0};
    return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

static inline int int_option(int fd, int level, int name)
{
    int value = -12345;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len) != 0)
        return -1000 - errno;
    return value;
}

static inline int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

// 127.0.0.1 or ::1, whichever family is.
static inline socklen_t loopback(struct sockaddr_storage *to, int family, int port)
{
    memset(to, 0, sizeof *to);
    if (family == AF_INET6) {
        struct sockaddr_in6 *six = (void *)to;
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        six->sin6_addr = in6addr_loopback;
        return sizeof *six;
    }
    struct sockaddr_in *four = (void *)to;
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof *four;
}

static inline int port_of(const struct sockaddr_storage *name)
{
    return ntohs(name->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)name)->sin6_port
                                             : ((const struct sockaddr_in *)name)->sin_port);
}

// A listening or bound socket on a free port of the loopback interface; *name is where.
static inline int bound(int family, int type, struct sockaddr_storage *name, socklen_t *len)
{
    int fd = socket(family, type, 0);
    *len = loopback(name, family, 0);
    if (fd < 0 || bind(fd, (void *)name, *len) || getsockname(fd, (void *)name, len))
        FAIL("cannot bind: %s", errno_name(errno)), harness_leave();
    return fd;
}

struct tcp_pair {
    int listener, client, server;
    struct sockaddr_storage name;
    socklen_t len;
};

static inline struct tcp_pair tcp_connected(int family)
{
    struct tcp_pair p;
    p.listener = bound(family, SOCK_STREAM, &p.name, &p.len);
    REQUIRE_OK(listen(p.listener, 8));
    REQUIRE_OK(p.client = socket(family, SOCK_STREAM, 0));
    REQUIRE_OK(connect(p.client, (void *)&p.name, p.len));
    REQUIRE_OK(p.server = accept(p.listener, NULL, NULL));
    return p;
}

static inline void tcp_close(struct tcp_pair *p)
{
    close(p->client), close(p->server), close(p->listener);
}

// At most 8 descriptors, with one byte.
static inline ssize_t send_fds(int to, const int *fds, int n, int flags)
{
    char space[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec iov = {(char *)"F", 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = space,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    return sendmsg(to, &m, flags);
}

// => number of descriptors got
static inline int receive_fds(int from, int *fds, int room, int flags, int *out_flags)
{
    char space[CMSG_SPACE(8 * sizeof(int))] = {0}, byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = space,
                       .msg_controllen = room ? CMSG_LEN(room * sizeof(int)) : 0};
    if (recvmsg(from, &m, flags) != 1)
        return -1;
    *out_flags = m.msg_flags;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS)
        return 0;
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(c), n * sizeof(int));
    return n;
}

#endif
