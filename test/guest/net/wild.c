// SPDX-License-Identifier: BSD-2-Clause
// Wild arguments to every socket call, at chosen places with Linux's errno and at random; and ports until there are none.
#include "net.h"

#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

// An address that nothing has; the compiler is not to know.
static void *volatile nowhere = (void *)1;
#define BAD nowhere

static struct mmsghdr bad_messages(void)
{
    return (struct mmsghdr){.msg_hdr = {.msg_iov = BAD, .msg_iovlen = 1}};
}

TEST(descriptors_that_are_no_sockets)
{
    int file = open("/proc/self/exe", O_RDONLY), closed = 9999;
    struct sockaddr_storage a = {.ss_family = AF_INET};
    socklen_t len = sizeof a;
    char c = 0;
    for (int i = 0; i < 2; i++) {
        int fd = i ? file : closed, want = i ? ENOTSOCK : EBADF;
        CHECK_ERRNO(bind(fd, (void *)&a, len), want);
        CHECK_ERRNO(listen(fd, 1), want);
        CHECK_ERRNO(accept(fd, NULL, NULL), want);
        CHECK_ERRNO(connect(fd, (void *)&a, len), want);
        CHECK_ERRNO(getsockname(fd, (void *)&a, &len), want);
        CHECK_ERRNO(getpeername(fd, (void *)&a, &len), want);
        CHECK_ERRNO(send(fd, &c, 1, 0), want);
        CHECK_ERRNO(recv(fd, &c, 1, 0), want);
        CHECK_ERRNO(shutdown(fd, SHUT_RD), want);
        CHECK_ERRNO(set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1), want);
        CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &c, &len), want);
    }
    close(file);
}

TEST(numbers_that_name_nothing)
{
    int fd[2];
    CHECK_ERRNO(socket(9999, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, 15, 0), EINVAL);
    CHECK_ERRNO(socket(AF_INET, 0x100000, 0), EINVAL);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, -1), EINVAL);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
    CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, fd), EOPNOTSUPP);
    CHECK_ERRNO(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD), EFAULT);
    REQUIRE_OK(fd[0] = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_ERRNO(shutdown(fd[0], 99), EINVAL);
    CHECK_ERRNO(shutdown(fd[0], -1), EINVAL);
    CHECK_ERRNO(shutdown(fd[0], SHUT_RDWR), ENOTCONN);
    CHECK_ERRNO(accept(fd[0], NULL, NULL), EINVAL);
    CHECK_ERRNO(accept4(fd[0], NULL, NULL, 1), EINVAL);
    CHECK_ERRNO(getpeername(fd[0], NULL, NULL), ENOTCONN);
    CHECK_ERRNO(set_int(fd[0], 12345, 1, 1), ENOPROTOOPT);
    CHECK_ERRNO(set_int(fd[0], SOL_SOCKET, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(set_int(fd[0], IPPROTO_IP, 9999, 1), ENOPROTOOPT);
    close(fd[0]);
}

TEST(addresses_that_point_nowhere)
{
    struct sockaddr_storage a = {.ss_family = AF_INET};
    socklen_t len = sizeof(struct sockaddr_in), negative = (socklen_t)-1;
    struct mmsghdr m = bad_messages();
    int fd, value = 1;
    REQUIRE_OK(fd = socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_ERRNO(bind(fd, BAD, len), EFAULT);
    CHECK_ERRNO(bind(fd, (void *)&a, (socklen_t)-1), EINVAL);
    CHECK_ERRNO(bind(fd, (void *)&a, 1000), EINVAL);
    CHECK_ERRNO(bind(fd, (void *)&a, 3), EINVAL);
    CHECK_ERRNO(connect(fd, BAD, len), EFAULT);
    CHECK_ERRNO(connect(fd, (void *)&a, 1), EINVAL);
    CHECK_ERRNO(getsockname(fd, BAD, &len), EFAULT);
    CHECK_ERRNO(getsockname(fd, (void *)&a, BAD), EFAULT);
    CHECK_ERRNO(getsockname(fd, (void *)&a, &negative), EINVAL);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, BAD, 4), EFAULT);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, 3), EINVAL);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, (socklen_t)-1), EINVAL);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, BAD), EFAULT);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &negative), EINVAL);
    CHECK_ERRNO(syscall(SYS_sendmsg, fd, BAD, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_recvmsg, fd, BAD, MSG_DONTWAIT), EFAULT);
    CHECK_ERRNO(syscall(SYS_sendmsg, fd, &m.msg_hdr, 0), EFAULT);
    m.msg_hdr.msg_iovlen = 5000;
    CHECK_ERRNO(syscall(SYS_sendmsg, fd, &m.msg_hdr, 0), EMSGSIZE);
    CHECK_ERRNO(syscall(SYS_recvmmsg, fd, BAD, 1, MSG_DONTWAIT, NULL), EFAULT);
    CHECK_ERRNO(sendto(fd, "x", 1, 0, BAD, len), EFAULT);
    close(fd);
}

// ---- at random

struct dice {
    unsigned long state;
    int fd[24];
    char block[512];
};

static unsigned roll(struct dice *d, unsigned n)
{
    d->state = d->state * 6364136223846793005ul + 1442695040888963407ul;
    return (unsigned)(d->state >> 33) % n;
}

static long any(struct dice *d)
{
    switch (roll(d, 8)) {
    case 0: return 0;
    case 1: return -1;
    case 2: return (long)(roll(d, 0x7fffffff)) << roll(d, 32);
    case 3: return 0x7fffffffffff000;
    case 4: return 1L << roll(d, 63);
    default: return roll(d, 128);
    }
}

static long pointer(struct dice *d)
{
    return roll(d, 4) ? (long)(d->block + roll(d, sizeof d->block - 128)) : any(d);
}

// What sets filters of the whole host, where there are such things, is left alone.
static int option_name(struct dice *d)
{
    int name = (int)roll(d, 80);
    return name >= 64 ? name + 10000 : name;
}

static void random_call(struct dice *d)
{
    static const int levels[] = {SOL_SOCKET,   IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP,
                                 IPPROTO_IPV6, 270,        7777};
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK},
                     types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    unsigned slot = roll(d, 24);
    int fd = d->fd[slot], level = levels[roll(d, 7)];
    for (unsigned i = 0; i < 24; i++)
        d->block[roll(d, sizeof d->block)] = (char)roll(d, 256);
    if (roll(d, 2))
        *(unsigned short *)(d->block + roll(d, 64) * 2) = (unsigned short)families[roll(d, 4)];
    switch (roll(d, 16)) {
    case 0:
        close(fd);
        d->fd[slot] = socket(families[roll(d, 4)], types[roll(d, 3)] | SOCK_NONBLOCK, 0);
        break;
    case 1: syscall(SYS_bind, fd, pointer(d), any(d)); break;
    case 2: syscall(SYS_listen, fd, any(d)); break;
    case 3: close((int)syscall(SYS_accept4, fd, pointer(d), pointer(d), SOCK_NONBLOCK)); break;
    case 4: syscall(SYS_connect, fd, pointer(d), any(d)); break;
    case 5: syscall(SYS_getsockname, fd, pointer(d), pointer(d)); break;
    case 6: syscall(SYS_getpeername, fd, pointer(d), pointer(d)); break;
    case 7:
        syscall(SYS_sendto, fd, pointer(d), any(d), any(d) | MSG_DONTWAIT | MSG_NOSIGNAL,
                pointer(d), any(d));
        break;
    case 8:
        syscall(SYS_recvfrom, fd, pointer(d), any(d), any(d) | MSG_DONTWAIT, pointer(d),
                pointer(d));
        break;
    case 9: syscall(SYS_sendmsg, fd, pointer(d), any(d) | MSG_DONTWAIT | MSG_NOSIGNAL); break;
    case 10: syscall(SYS_recvmsg, fd, pointer(d), any(d) | MSG_DONTWAIT); break;
    case 11: syscall(SYS_shutdown, fd, any(d)); break;
    case 12: syscall(SYS_setsockopt, fd, level, option_name(d), pointer(d), any(d)); break;
    case 13: syscall(SYS_getsockopt, fd, level, option_name(d), pointer(d), pointer(d)); break;
    case 14:
        syscall(SYS_sendmmsg, fd, pointer(d), roll(d, 4), any(d) | MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    default: syscall(SYS_recvmmsg, fd, pointer(d), roll(d, 4), any(d) | MSG_DONTWAIT, 0); break;
    }
}

static void random_calls(unsigned long seed)
{
    struct dice d = {.state = seed};
    alarm(60);
    for (unsigned i = 0; i < 24; i++)
        d.fd[i] = -1;
    for (int i = 0; i < 20000; i++)
        random_call(&d);
    _exit(0);
}

// The calls may do what they like to a child that nobody needs; the sockets of others work on.
TEST(calls_at_random)
{
    struct tcp_pair p = tcp_connected(AF_INET);
    char c;
    for (unsigned long seed = 1; seed <= 4; seed++) {
        int status = -1;
        pid_t child = fork();
        REQUIRE_OK(child);
        if (child == 0)
            random_calls(seed);
        CHECK_EQ(waitpid(child, &status, 0), child);
        // It may hurt itself, when a result is put where it stands; it must not hang.
        CHECK(WIFEXITED(status) || WTERMSIG(status) != SIGALRM);
    }
    CHECK_EQ(write(p.client, "x", 1), 1);
    CHECK_EQ(read(p.server, &c, 1), 1);
    tcp_close(&p);
}

// ---- a full table of ports

TEST(ports_come_to_an_end)
{
    enum { MORE_THAN_THERE_ARE = 65536 };
    struct rlimit limit;
    struct sockaddr_storage at;
    socklen_t len = loopback(&at, AF_INET, 0);
    int *fd = calloc(MORE_THAN_THERE_ARE, sizeof *fd), n = 0, error = 0;
    REQUIRE_OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_max =
        limit.rlim_max < MORE_THAN_THERE_ARE + 100 ? MORE_THAN_THERE_ARE + 100 : limit.rlim_max;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        SKIP("too few descriptors");
    for (; n < MORE_THAN_THERE_ARE; n++) {
        REQUIRE_OK(fd[n] = socket(AF_INET, SOCK_STREAM, 0));
        if (bind(fd[n], (void *)&at, len)) {
            error = errno;
            break;
        }
    }
    CHECK_EQ(error, EADDRINUSE);
    CHECK_RANGE(n, 20000, 65000);
    CHECK_ERRNO(connect(fd[n], (void *)&at, len), EADDRNOTAVAIL);
    // One that comes free is found.
    close(fd[n / 2]);
    CHECK_OK(bind(fd[n], (void *)&at, len));
    for (int i = 0; i <= n; i++) {
        if (i != n / 2)
            close(fd[i]);
    }
    free(fd);
}

// A port that waits after a connection's end serves again for the same peer on this machine, a second later.
TEST(time_wait_makes_room)
{
    struct tcp_pair p;
    struct sockaddr_storage own;
    socklen_t len = loopback(&own, AF_INET, 0);
    char c;
    p.listener = bound(AF_INET, SOCK_STREAM, &p.name, &p.len);
    REQUIRE_OK(listen(p.listener, 8));
    REQUIRE_OK(p.client = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(set_int(p.client, SOL_SOCKET, SO_REUSEADDR, 1));
    REQUIRE_OK(bind(p.client, (void *)&own, len));
    REQUIRE_OK(getsockname(p.client, (void *)&own, &len));
    REQUIRE_OK(connect(p.client, (void *)&p.name, p.len));
    REQUIRE_OK(p.server = accept(p.listener, NULL, NULL));
    close(p.client);
    CHECK_EQ(read(p.server, &c, 1), 0);
    close(p.server);
    sleep_ns(2200 * MS);
    REQUIRE_OK(p.client = socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(set_int(p.client, SOL_SOCKET, SO_REUSEADDR, 1));
    CHECK_OK(bind(p.client, (void *)&own, len));
    CHECK_OK(connect(p.client, (void *)&p.name, p.len));
    close(p.client);
    close(p.listener);
}
