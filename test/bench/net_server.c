// SPDX-License-Identifier: BSD-2-Clause
// The server of the network rows: one thread, epoll. By port, from 7000 on:
//
//	+0 echo (TCP and UDP)   +1 sends 64 KiB blocks until the other end closes   +2 reads to the end and answers one byte
//	+3 accepts and closes   +4 commands: m: net_mark is called, and one byte answers; q: the program ends
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BASE = 7000,
    ECHO = 0,
    SOURCE,
    SINK,
    ACCEPT,
    COMMAND,
    KINDS,
    UDP = 8,
    LISTENER = 16,
    EVENTS = 64
};

static int ep;
static char block[65536];

// The plugin counts here (count_plugin.c).
__attribute__((noinline)) void net_mark(void) { __asm__ volatile("" ::: "memory"); }

static void watch(int fd, int kind, unsigned events)
{
    struct epoll_event event = {.events = events,
                                .data.u64 = (unsigned long)kind << 32 | (unsigned)fd};

    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

static void open_port(int type, int kind, int offset)
{
    int fd = socket(AF_INET, type, 0), on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(BASE + offset)};

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) ||
        (type == SOCK_STREAM && listen(fd, 128))) {
        perror("net_server");
        exit(1);
    }
    watch(fd, kind, EPOLLIN);
}

static void command(int fd)
{
    char c;

    if (read(fd, &c, 1) != 1) {
        close(fd);
        return;
    }
    if (c == 'q')
        exit(0);
    net_mark();
    write(fd, &c, 1);
}

static void serve(int fd, int kind)
{
    ssize_t n;
    struct sockaddr_in from;
    socklen_t len = sizeof from;

    switch (kind) {
    case ECHO:
        n = read(fd, block, sizeof block);
        if (n <= 0 || write(fd, block, (size_t)n) != n)
            close(fd);
        break;
    case SOURCE:
        if (write(fd, block, sizeof block) <= 0)
            close(fd);
        break;
    case SINK:
        n = read(fd, block, sizeof block);
        if (n <= 0) {
            write(fd, "e", 1);
            close(fd);
        }
        break;
    case COMMAND: command(fd); break;
    case UDP:
        n = recvfrom(fd, block, sizeof block, 0, (struct sockaddr *)&from, &len);
        if (n >= 0)
            sendto(fd, block, (size_t)n, 0, (struct sockaddr *)&from, len);
        break;
    default: {
        int on = 1, connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        kind &= ~LISTENER;
        if (kind == ACCEPT) {
            close(connection);
            break;
        }
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(connection, kind, kind == SOURCE ? EPOLLOUT : EPOLLIN);
    }
    }
}

int main(void)
{
    struct epoll_event events[EVENTS];

    ep = epoll_create1(0);
    memset(block, 'x', sizeof block);
    for (int kind = 0; kind < KINDS; kind++)
        open_port(SOCK_STREAM, kind | LISTENER, kind);
    open_port(SOCK_DGRAM, UDP, 0);
    puts("serving");
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            serve((int)(unsigned)events[i].data.u64, (int)(events[i].data.u64 >> 32));
    }
}
