// SPDX-License-Identifier: BSD-2-Clause
// An echo server for many connections, with one thread and epoll.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64

static int listen_on(int port)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&any, sizeof any) || listen(fd, 128)) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void echo(int fd)
{
    char block[16384];
    ssize_t n = read(fd, block, sizeof block);

    for (ssize_t sent = 0, m; n > 0 && sent < n; sent += m) {
        m = write(fd, block + sent, n - sent);
        if (m <= 0) {
            n = 0;
            break;
        }
    }
    if (n <= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7000;
    int listener = listen_on(port), ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];

    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    printf("echoing on port %d\n", port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) {
                echo(events[i].data.fd);
                continue;
            }
            event.data.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (event.data.fd >= 0)
                epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}
