// SPDX-License-Identifier: BSD-2-Clause
// A server with the socket calls of nginx and redis-server: a master that binds and forks two workers, which share the listeners by
// EPOLLEXCLUSIVE, edge-triggered; channels between them that pass descriptors; a connection to an upstream over AF_UNIX; sendfile
// behind a header with TCP_CORK; a child that saves while the parent serves; lingering close. net_load's `server` drives it.
//
//   server PORT               line commands, each with one answer that begins with a line
//     PING                    PONG
//     WHO                     worker's pid and the peer's address
//     ECHO n, n bytes         n, the bytes
//     FILE n                  n, so many bytes of the sequence i * 37 >> 4
//     UP n                    the same, from the other worker through AF_UNIX
//     PASS                    the other worker's pid, which has the connection from then on
//     SAVE                    what the child has said
//     INFO                    MemAvailable in kB, sockets of TCP in use, state of this connection by TCP_INFO
//     BYE                     the server closes
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, LINE = 128, FILE_BYTES = 4 << 20 };
enum kind { LISTENER, CLIENT, UPSTREAM, SERVING, CHANNEL, SAVED };

struct conn {
    enum kind kind;
    int fd;
    struct conn *other;  // CLIENT <-> UPSTREAM, or SAVED -> CLIENT
    char line[LINE];     // the command so far
    size_t line_len;
    char *out;  // bytes to be sent
    size_t out_len, out_at;
    off_t file_at, file_end;
    size_t body_left;  // bytes of ECHO that are still to come
    char *body;
    size_t body_len;
    int closing;
};

static int ep, n_listeners, listeners[3], file_fd, self, channel[WORKERS], upstream_fd[WORKERS];
static struct sockaddr_un upstream_name[WORKERS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}
#define MUST(call)  \
    if ((call) < 0) \
    die(#call)

static void set(int fd, int level, int name, int value)
{
    MUST(setsockopt(fd, level, name, &value, sizeof value));
}

static struct conn *watch(enum kind kind, int fd, unsigned events)
{
    struct conn *c = calloc(1, sizeof *c);
    c->kind = kind;
    c->fd = fd;
    struct epoll_event e = {.events = events, .data.ptr = c};
    MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    return c;
}

static void end(struct conn *c)
{
    if (c->fd < 0)
        return;
    epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
    close(c->fd);
    c->fd = -1;
    if (c->other && c->kind == CLIENT)
        c->other->other = NULL;
    free(c->out), free(c->body);
    c->out = c->body = NULL;  // the struct stays: events of this round may still name it
}

// ---- output: what does not go at once waits for EPOLLOUT

static void flush(struct conn *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            end(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    free(c->out);
    c->out = NULL;
    c->out_at = c->out_len = 0;
    while (c->file_at < c->file_end) {
        ssize_t n = sendfile(c->fd, file_fd, &c->file_at, (size_t)(c->file_end - c->file_at));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c);
            return;
        }
        if (c->file_at == c->file_end)
            set(c->fd, IPPROTO_TCP, TCP_CORK, 0);
    }
    if (c->closing == 1) {
        shutdown(c->fd, SHUT_WR);
        c->closing = 2;
    }
}

static void put(struct conn *c, const void *head, size_t head_len, const void *body, size_t len)
{
    size_t sent = 0;
    if (c->out_len == 0 && c->file_at == c->file_end) {
        struct iovec iov[2] = {{(void *)head, head_len}, {(void *)body, len}};
        ssize_t n = writev(c->fd, iov, len ? 2 : 1);
        if (n < 0 && errno != EAGAIN) {
            end(c);
            return;
        }
        sent = n < 0 ? 0 : (size_t)n;
    }
    if (sent == head_len + len)
        return;
    c->out = realloc(c->out, c->out_len + head_len + len - sent);
    if (sent < head_len) {
        memcpy(c->out + c->out_len, (const char *)head + sent, head_len - sent);
        c->out_len += head_len - sent;
        sent = head_len;
    }
    memcpy(c->out + c->out_len, (const char *)body + (sent - head_len), len - (sent - head_len));
    c->out_len += len - (sent - head_len);
}

static void say(struct conn *c, const char *text) { put(c, text, strlen(text), "", 0); }

// ---- commands

static long field(const char *path, const char *name)
{
    char line[256];
    long value = -1;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            value = atol(line + strlen(name));
    if (f)
        fclose(f);
    return value;
}

static void who(struct conn *c)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    char text[64] = "?", line[128];
    MUST(getpeername(c->fd, (void *)&a, &len));
    if (a.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, text, sizeof text);
    else
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, text, sizeof text);
    snprintf(line, sizeof line, "%d %s\n", getpid(), text);
    say(c, line);
}

static void info(struct conn *c)
{
    struct tcp_info t;
    socklen_t len = sizeof t;
    char line[128];
    MUST(getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    snprintf(line, sizeof line, "%ld %ld %d\n", field("/proc/meminfo", "MemAvailable:"),
             field("/proc/net/sockstat", "TCP: inuse "), t.tcpi_state);
    say(c, line);
}

// As nginx hands things to its processes: a struct and a descriptor.
static void pass(struct conn *c)
{
    char space[CMSG_SPACE(sizeof(int))] = {0}, what = 'p';
    struct iovec iov = {&what, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &c->fd, sizeof(int));
    MUST(sendmsg(channel[self], &m, 0));
    end(c);
}

static void take(int fd)
{
    char space[CMSG_SPACE(sizeof(int))], what, line[32];
    struct iovec iov = {&what, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    while (recvmsg(fd, &m, 0) == 1) {
        int got;
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
        struct conn *c = watch(CLIENT, got, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        snprintf(line, sizeof line, "%d\n", getpid());
        say(c, line);
        m.msg_controllen = sizeof space;
    }
}

static void ask_upstream(struct conn *c, const char *n)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    MUST(fd);
    if (connect(fd, (void *)&upstream_name[!self], sizeof upstream_name[0]) && errno != EINPROGRESS)
        die("connect to upstream");
    struct conn *u = watch(UPSTREAM, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    u->other = c;
    c->other = u;
    u->out = strdup(n);
    u->out = realloc(u->out, strlen(n) + 2);
    strcat(u->out, "\n");
    u->out_len = strlen(u->out);
}

// As redis saves: the child has all there is at this moment, and a pipe to say how it went.
static void save(struct conn *c)
{
    int fds[2];
    MUST(pipe2(fds, O_NONBLOCK | O_CLOEXEC));
    pid_t child = fork();
    MUST(child);
    if (child == 0) {
        char text[32];
        int n = snprintf(text, sizeof text, "saved by %d\n", getppid());
        _exit(write(fds[1], text, (size_t)n) == n ? 0 : 1);
    }
    close(fds[1]);
    watch(SAVED, fds[0], EPOLLIN)->other = c;
}

static void saved(struct conn *s)
{
    char text[64];
    int status;
    ssize_t n = read(s->fd, text, sizeof text - 1);
    if (n < 0)
        return;
    text[n] = 0;
    if (s->other->fd >= 0 && n)
        say(s->other, text);
    end(s);
    while (waitpid(-1, &status, WNOHANG) > 0)
        ;
}

static void command(struct conn *c)
{
    char head[32];
    const char *n = strchr(c->line, ' ') ? strchr(c->line, ' ') + 1 : "0";
    size_t count = strtoul(n, NULL, 10);
    int len = snprintf(head, sizeof head, "%zu\n", count);
    if (!strcmp(c->line, "PING"))
        say(c, "PONG\n");
    else if (!strcmp(c->line, "WHO"))
        who(c);
    else if (!strcmp(c->line, "INFO"))
        info(c);
    else if (!strcmp(c->line, "PASS"))
        pass(c);
    else if (!strcmp(c->line, "SAVE"))
        save(c);
    else if (!strncmp(c->line, "UP ", 3))
        put(c, head, (size_t)len, "", 0), ask_upstream(c, n);
    else if (!strncmp(c->line, "ECHO ", 5))
        c->body_left = count, c->body = malloc(count + 1), c->body_len = 0;
    else if (!strncmp(c->line, "FILE ", 5) && count <= FILE_BYTES) {
        set(c->fd, IPPROTO_TCP, TCP_CORK, 1);
        put(c, head, (size_t)len, "", 0);
        c->file_at = 0, c->file_end = (off_t)count;
        flush(c);
    } else if (!strcmp(c->line, "BYE")) {
        say(c, "BYE\n");
        c->closing = 1;
        flush(c);
    } else {
        say(c, "what?\n");
    }
}

static void input(struct conn *c, const char *at, size_t n)
{
    while (n && c->fd >= 0) {
        if (c->body_left) {
            size_t part = n < c->body_left ? n : c->body_left;
            memcpy(c->body + c->body_len, at, part);
            c->body_len += part, c->body_left -= part, at += part, n -= part;
            if (!c->body_left) {
                char head[32];
                int len = snprintf(head, sizeof head, "%zu\n", c->body_len);
                put(c, head, (size_t)len, c->body, c->body_len);
                free(c->body);
                c->body = NULL;
            }
            continue;
        }
        char byte = *at++;
        n--;
        if (byte != '\n' && c->line_len < LINE - 1) {
            c->line[c->line_len++] = byte;
            continue;
        }
        c->line[c->line_len] = 0;
        c->line_len = 0;
        command(c);
    }
}

// ---- events

static void client(struct conn *c, unsigned events)
{
    static char block[65536];
    if (events & EPOLLOUT)
        flush(c);
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return;
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, block, sizeof block, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c);
            return;
        }
        if (!c->closing)
            input(c, block, (size_t)n);
    }
}

static void upstream(struct conn *u, unsigned events)
{
    static char block[65536];
    int error = 0;
    socklen_t len = sizeof error;
    MUST(getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &len));
    if (error || !u->other) {
        end(u);
        return;
    }
    if (events & EPOLLOUT)
        flush(u);
    for (ssize_t n; u->fd >= 0;) {
        n = read(u->fd, block, sizeof block);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n > 0 && u->other) {
            put(u->other, block, (size_t)n, "", 0);
            continue;
        }
        if (u->other)
            u->other->other = NULL;
        end(u);
    }
}

// The other worker asks for bytes.
static void serve(struct conn *s, unsigned events)
{
    char block[64];
    if (events & EPOLLOUT)
        flush(s);
    ssize_t n = s->fd < 0 || s->file_end ? 0 : read(s->fd, block, sizeof block - 1);
    if (n <= 0) {
        if (s->fd >= 0 && s->file_end && s->file_at == s->file_end)
            end(s);
        return;
    }
    block[n] = 0;
    s->file_end = atol(block);
    while (s->fd >= 0 && s->file_at < s->file_end) {
        n = sendfile(s->fd, file_fd, &s->file_at, (size_t)(s->file_end - s->file_at));
        if (n < 0 && errno == EAGAIN)
            return;
    }
    end(s);
}

static void accept_all(struct conn *l)
{
    int fd;
    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (l->fd == upstream_fd[self]) {
            watch(SERVING, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
            continue;
        }
        set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 300);
        set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 100);
        set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
        watch(CLIENT, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EMFILE && errno != ENFILE &&
        errno != ENOBUFS && errno != ENOMEM)
        die("accept4");
}

static void work(int number)
{
    self = number;
    MUST(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    MUST(ep = epoll_create(512));
    for (int i = 0; i < n_listeners; i++)
        watch(LISTENER, listeners[i], EPOLLIN | EPOLLEXCLUSIVE);
    watch(LISTENER, upstream_fd[self], EPOLLIN);
    watch(CHANNEL, channel[self], EPOLLIN | EPOLLRDHUP);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(ep, events, 64, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (c->fd < 0)
                continue;
            switch (c->kind) {
            case LISTENER: accept_all(c); break;
            case CLIENT: client(c, events[i].events); break;
            case UPSTREAM: upstream(c, events[i].events); break;
            case SERVING: serve(c, events[i].events); break;
            case CHANNEL: take(c->fd); break;
            case SAVED: saved(c); break;
            }
        }
    }
}

// ---- the master

static void listen_on(int family, int port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0 && family == AF_INET6)
        return;
    MUST(fd);
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    MUST(ioctl(fd, FIONBIO, &on));
    MUST(family == AF_INET6 ? bind(fd, (void *)&six, sizeof six)
                            : bind(fd, (void *)&four, sizeof four));
    MUST(listen(fd, 511));
    listeners[n_listeners++] = fd;
}

static void make_file(void)
{
    static char block[65536];
    MUST(file_fd = open("/tmp", O_TMPFILE | O_RDWR, 0600));
    for (size_t at = 0; at < FILE_BYTES; at += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (char)((at + i) * 37 >> 4);
        MUST(write(file_fd, block, sizeof block));
    }
}

static void make_channels(void)
{
    int on = 1;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
    for (int i = 0; i < WORKERS; i++) {
        MUST(ioctl(channel[i], FIONBIO, &on));
        MUST(fcntl(channel[i], F_SETFD, FD_CLOEXEC));
        upstream_name[i].sun_family = AF_UNIX;
        snprintf(upstream_name[i].sun_path + 1, sizeof upstream_name[i].sun_path - 1,
                 "upstream-%d-%d", getpid(), i);
        MUST(upstream_fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        MUST(bind(upstream_fd[i], (void *)&upstream_name[i], sizeof upstream_name[i]));
        MUST(listen(upstream_fd[i], 64));
    }
}

static volatile sig_atomic_t ended, stopping;
static void on_signal(int number)
{
    if (number == SIGCHLD)
        ended = 1;
    else
        stopping = 1;
}

int main(int argc, char **argv)
{
    sigset_t all, none;
    pid_t workers[WORKERS];
    struct sigaction action = {.sa_handler = on_signal};
    int port = argc > 1 ? atoi(argv[1]) : 8080, status;
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all), sigemptyset(&none);
    sigaction(SIGCHLD, &action, NULL), sigaction(SIGTERM, &action, NULL);
    make_file();
    listen_on(AF_INET, port);
    listen_on(AF_INET6, port);
    make_channels();
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; i < WORKERS; i++) {
        MUST(workers[i] = fork());
        if (workers[i] == 0) {
            signal(SIGTERM, SIG_DFL), signal(SIGCHLD, SIG_DFL);
            sigprocmask(SIG_SETMASK, &none, NULL);
            work(i);
        }
    }
    printf("serving\n");
    fflush(stdout);
    while (!stopping && !ended)
        sigsuspend(&none);
    for (int i = 0; i < WORKERS; i++)
        kill(workers[i], SIGTERM);
    for (int i = 0; i < WORKERS; i++)
        waitpid(workers[i], &status, 0);
    return ended && !stopping ? 1 : 0;
}
