// SPDX-License-Identifier: BSD-2-Clause
// The host's side of the network rows: does one kind of work with a server in a guest and prints microseconds an operation.
//
//	net_client echo PORT CONNECTIONS ROUNDS     64 bytes there and back
//	net_client http PORT CONNECTIONS ROUNDS     GET with keep-alive
//	net_client down PORT 1 MEGABYTES            net_client up PORT 1 MEGABYTES
//	net_client connect PORT 1 ROUNDS            a connection that the server closes
//	net_client udp PORT 1 ROUNDS
//	net_client command PORT 1 1 WORD            sends WORD and waits for one byte or the end
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, MEGABYTE = 1 << 20 };

static struct sockaddr_in server = {.sin_family = AF_INET};
static char block[65536];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int dial(int type)
{
    int fd = socket(AF_INET, type, 0), on = 1;
    struct timeval limit = {.tv_sec = 60};

    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

// Sends the request and reads a whole answer. => its length
static size_t first_answer(int fd, const char *request, size_t len, int http)
{
    size_t got = 0, want = http ? sizeof block - 1 : len;

    if (write(fd, request, len) != (ssize_t)len)
        die("write");
    while (got < want) {
        ssize_t n = read(fd, block + got, sizeof block - 1 - got);
        if (n <= 0)
            die("read");
        got += (size_t)n;
        block[got] = '\0';
        char *end = http ? strstr(block, "\r\n\r\n") : NULL,
             *length = end ? strstr(block, "Content-Length: ") : NULL;
        if (length)
            want = (size_t)(end + 4 - block) + strtoul(length + 16, NULL, 10);
    }
    return got;
}

// Keeps one request under way on each connection.
static void rounds(int n_connections, long n, const char *request, size_t len, int http)
{
    struct pollfd fds[CONNECTIONS_MAX];
    size_t got[CONNECTIONS_MAX] = {0}, answer = 0;
    long sent = 0, done = 0;

    for (int i = 0; i < n_connections; i++) {
        fds[i] = (struct pollfd){dial(SOCK_STREAM), POLLIN, 0};
        answer = first_answer(fds[i].fd, request, len, http);
    }
    double start = now_us();
    for (int i = 0; i < n_connections && sent < n; i++, sent++)
        write(fds[i].fd, request, len);
    while (done < n) {
        if (poll(fds, (nfds_t)n_connections, 60000) <= 0)
            die("poll");
        for (int i = 0; i < n_connections; i++) {
            ssize_t m = fds[i].revents ? read(fds[i].fd, block, sizeof block) : 0;
            if (fds[i].revents && m <= 0)
                die("read");
            got[i] += (size_t)m;
            if (got[i] < answer)
                continue;
            got[i] = 0;
            done++;
            if (sent < n) {
                write(fds[i].fd, request, len);
                sent++;
            }
        }
    }
    printf("%.2f\n", (now_us() - start) / (double)n);
}

static void stream(int up, long megabytes)
{
    int fd = dial(SOCK_STREAM);
    double start = now_us();

    for (long left = megabytes * MEGABYTE; left > 0;) {
        ssize_t n = up ? write(fd, block, sizeof block) : read(fd, block, sizeof block);
        if (n <= 0)
            die("stream");
        left -= n;
    }
    if (up && (shutdown(fd, SHUT_WR) || read(fd, block, 1) != 1))
        die("stream");
    printf("%.2f\n", (now_us() - start) / (double)megabytes);
}

static void connections(long n)
{
    double start = now_us();

    for (long i = 0; i < n; i++) {
        int fd = dial(SOCK_STREAM);
        if (read(fd, block, 1) != 0)
            die("read");
        close(fd);
    }
    printf("%.2f\n", (now_us() - start) / (double)n);
}

static void datagrams(long n)
{
    int fd = dial(SOCK_DGRAM);
    double start = now_us();

    for (long i = 0; i < n; i++) {
        struct pollfd p = {fd, POLLIN, 0};
        do
            send(fd, block, 64, 0);
        while (poll(&p, 1, 1000) == 0);  // lost: again
        recv(fd, block, sizeof block, 0);
    }
    printf("%.2f\n", (now_us() - start) / (double)n);
}

int main(int argc, char **argv)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: guest\r\n\r\n";
    const char *kind = argv[1];

    if (argc < 5)
        return 2;
    server.sin_port = htons((unsigned short)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int n_connections = atoi(argv[3]);
    long n = atol(argv[4]);
    if (!strcmp(kind, "echo"))
        rounds(n_connections, n, block, 64, 0);
    else if (!strcmp(kind, "http"))
        rounds(n_connections, n, get, sizeof get - 1, 1);
    else if (!strcmp(kind, "down") || !strcmp(kind, "up"))
        stream(kind[0] == 'u', n);
    else if (!strcmp(kind, "connect"))
        connections(n);
    else if (!strcmp(kind, "udp"))
        datagrams(n);
    else if (!strcmp(kind, "command") && argc > 5) {
        int fd = dial(SOCK_STREAM);
        write(fd, argv[5], strlen(argv[5]));
        read(fd, block, 1);
    } else
        return 2;
    return 0;
}
