// SPDX-License-Identifier: BSD-2-Clause
// Fills the queue of a listener and the table of ports, each with the errno of Linux; then goes on as if nothing had been.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MANY = 40000 };
static int fds[MANY];
static struct sockaddr_in at = {.sin_family = AF_INET};

static int fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int listener(int backlog)
{
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_port = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)&at, len) || listen(fd, backlog) || getsockname(fd, (void *)&at, &len))
        return -1;
    return fd;
}

// Connections are made until one must wait; when one has been accepted, that one gets through.
static int full_queue(void)
{
    int l = listener(1), n = 0, waits = 0;
    for (; n < 8 && !waits; n++) {
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct pollfd p = {fds[n], POLLOUT, 0};
        waits = connect(fds[n], (void *)&at, sizeof at) && errno == EINPROGRESS &&
                poll(&p, 1, 300) == 0;
    }
    if (l < 0 || !waits)
        return fail("no connection has to wait");
    struct pollfd p = {fds[n - 1], POLLOUT, 0};
    if (accept(l, NULL, NULL) < 0 || poll(&p, 1, 20000) != 1 || p.revents != POLLOUT)
        return fail("the one that waited gets no connection");
    return 0;
}

static int full_table(void)
{
    struct rlimit limit = {MANY + 100, MANY + 100};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int n = 0, l = listener(5);
    setrlimit(RLIMIT_NOFILE, &limit);
    for (; n < MANY; n++) {
        fds[n] = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fds[n], (void *)&any, sizeof any))
            break;
    }
    if (l < 0 || n == MANY || errno != EADDRINUSE)
        return fail("the ports do not come to an end");
    if (!connect(fds[n], (void *)&at, sizeof at) || errno != EADDRNOTAVAIL)
        return fail("connect without a port");
    close(fds[n - 1]);
    return connect(fds[n], (void *)&at, sizeof at) ? fail("connect with a port") : 0;
}

int main(void)
{
    if (full_queue() || full_table())
        return 1;
    puts("goes on");
    return 0;
}
