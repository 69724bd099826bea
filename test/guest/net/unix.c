// SPDX-License-Identifier: BSD-2-Clause
// AF_UNIX: streams, datagrams, sequenced packets, names, descriptors and credentials that travel.
#include "net.h"

static int pair[2];

static void open_pair(int type) { REQUIRE_OK(socketpair(AF_UNIX, type, 0, pair)); }
static void close_pair(void) { close(pair[0]), close(pair[1]); }

static socklen_t path_name(struct sockaddr_un *to, const char *path)
{
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    strcpy(to->sun_path, path);
    return sizeof *to;
}

static socklen_t abstract_name(struct sockaddr_un *to, const char *name)
{
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    snprintf(to->sun_path + 1, sizeof to->sun_path - 1, "%s-%d", name, getpid());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(to->sun_path + 1));
}

TEST(kinds_of_sockets)
{
    int fd, fds[2];
    CHECK_ERRNO(socket(AF_UNIX, 77, 0), EINVAL);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 5), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
    CHECK_ERRNO(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, fds), EOPNOTSUPP);
    CHECK_ERRNO(socketpair(AF_UNIX, SOCK_STREAM, 0, (void *)8), EFAULT);
    REQUIRE_OK(fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_DOMAIN), AF_UNIX);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_PROTOCOL), 0);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
    CHECK_EQ(int_option(fd, SOL_SOCKET, SO_ERROR), 0);
    close(fd);
    struct stat st;
    open_pair(SOCK_STREAM);
    CHECK_OK(fstat(pair[0], &st));
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_ERRNO(lseek(pair[0], 0, SEEK_SET), ESPIPE);
    char c;
    CHECK_ERRNO(pread(pair[0], &c, 1, 0), ESPIPE);
    char link[64], name[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", pair[0]);
    ssize_t n = readlink(link, name, sizeof name - 1);
    REQUIRE(n > 0);
    name[n] = 0;
    CHECK(strncmp(name, "socket:[", 8) == 0);
    close_pair();
}

TEST(calls_on_what_is_no_socket)
{
    struct sockaddr_un name;
    socklen_t len = path_name(&name, "x");
    char c = 0;
    int fd = open("/dev/null", O_RDWR), value = 0;
    socklen_t value_len = sizeof value;
    CHECK_ERRNO(bind(fd, (void *)&name, len), ENOTSOCK);
    CHECK_ERRNO(connect(fd, (void *)&name, len), ENOTSOCK);
    CHECK_ERRNO(listen(fd, 1), ENOTSOCK);
    CHECK_ERRNO(accept(fd, NULL, NULL), ENOTSOCK);
    CHECK_ERRNO(send(fd, &c, 1, 0), ENOTSOCK);
    CHECK_ERRNO(recv(fd, &c, 1, 0), ENOTSOCK);
    CHECK_ERRNO(shutdown(fd, SHUT_RD), ENOTSOCK);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &value_len), ENOTSOCK);
    CHECK_ERRNO(getsockname(fd, (void *)&name, &len), ENOTSOCK);
    close(fd);
    CHECK_ERRNO(bind(999, (void *)&name, len), EBADF);
    CHECK_ERRNO(send(999, &c, 1, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_accept4, 999, NULL, NULL, 0x7f), EBADF);
}

TEST(stream_moves_bytes)
{
    char out[8000], in[9000];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 7);
    open_pair(SOCK_STREAM);
    CHECK_EQ(write(pair[0], out, 3000), 3000);
    CHECK_EQ(write(pair[0], out + 3000, 5000), 5000);
    CHECK_EQ(read(pair[1], in, 10), 10);
    CHECK_EQ(read(pair[1], in + 10, sizeof in - 10), 7990);
    CHECK(memcmp(in, out, sizeof out) == 0);
    CHECK_ERRNO(recv(pair[1], in, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(send(pair[1], "abc", 3, MSG_NOSIGNAL), 3);
    int n = 0;
    CHECK_OK(ioctl(pair[0], FIONREAD, &n));
    CHECK_EQ(n, 3);
    CHECK_EQ(recv(pair[0], in, 2, MSG_PEEK), 2);
    CHECK_EQ(recv(pair[0], in, 9, MSG_PEEK), 3);
    CHECK_EQ(read(pair[0], in, 9), 3);
    CHECK(memcmp(in, "abc", 3) == 0);
    CHECK_EQ(write(pair[0], out, 0), 0);
    CHECK_EQ(read(pair[1], in, 0), 0);
    CHECK_ERRNO(write(pair[0], (void *)8, 4), EFAULT);
    struct iovec iov[3] = {{out, 3}, {out + 3, 0}, {out + 3, 5}};
    CHECK_EQ(writev(pair[0], iov, 3), 8);
    iov[0] = (struct iovec){in, 1}, iov[1] = (struct iovec){in + 1, 99};
    CHECK_EQ(readv(pair[1], iov, 2), 8);
    CHECK(memcmp(in, out, 8) == 0);
    close_pair();
}

static void *slow_writer(void *argument)
{
    (void)argument;
    for (int i = 0; i < 4; i++) {
        sleep_ns(10 * MS);
        CHECK_EQ(write(pair[0], "0123456789", 10), 10);
    }
    return NULL;
}

TEST(waiting_for_all)
{
    char in[64];
    pthread_t thread;
    open_pair(SOCK_STREAM);
    REQUIRE(pthread_create(&thread, NULL, slow_writer, NULL) == 0);
    CHECK_EQ(recv(pair[1], in, 35, MSG_WAITALL), 35);
    CHECK_EQ(recv(pair[1], in, 35, 0), 5);
    pthread_join(thread, NULL);
    CHECK_OK(set_int(pair[1], SOL_SOCKET, SO_RCVLOWAT, 15));
    REQUIRE(pthread_create(&thread, NULL, slow_writer, NULL) == 0);
    CHECK_EQ(recv(pair[1], in, 35, 0), 20);
    pthread_join(thread, NULL);
    close_pair();
}

TEST(stream_end_and_shutdown)
{
    char in[16];
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigaction(SIGPIPE, &ignore, &old);
    open_pair(SOCK_STREAM);
    CHECK_EQ(poll_events(pair[0], POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
    CHECK_EQ(write(pair[0], "last", 4), 4);
    CHECK_OK(shutdown(pair[0], SHUT_WR));
    CHECK_ERRNO(write(pair[0], "x", 1), EPIPE);
    CHECK_EQ(poll_events(pair[1], POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
    CHECK_EQ(read(pair[1], in, 16), 4);
    CHECK_EQ(read(pair[1], in, 16), 0);
    CHECK_EQ(write(pair[1], "back", 4), 4);
    CHECK_EQ(read(pair[0], in, 16), 4);
    CHECK_OK(shutdown(pair[0], SHUT_RD));
    CHECK_EQ(read(pair[0], in, 16), 0);
    CHECK_ERRNO(write(pair[1], "x", 1), EPIPE);
    CHECK_EQ(poll_events(pair[0], POLLIN | POLLOUT), POLLIN | POLLOUT | POLLHUP);
    CHECK_ERRNO(shutdown(pair[0], 3), EINVAL);
    close_pair();
    open_pair(SOCK_STREAM);
    close(pair[1]);
    CHECK_EQ(poll_events(pair[0], POLLIN | POLLOUT | POLLRDHUP),
             POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    CHECK_EQ(read(pair[0], in, 16), 0);
    CHECK_ERRNO(write(pair[0], "x", 1), EPIPE);
    close(pair[0]);
    open_pair(SOCK_STREAM);
    CHECK_EQ(write(pair[0], "unread", 6), 6);
    close(pair[1]);  // with unread bytes: a reset
    CHECK_EQ(int_option(pair[0], SOL_SOCKET, SO_ERROR), ECONNRESET);
    CHECK_EQ(read(pair[0], in, 16), 0);
    close(pair[0]);
    sigaction(SIGPIPE, &old, NULL);
}

static volatile sig_atomic_t n_sigpipe;
static void on_sigpipe(int signal) { (void)signal, n_sigpipe++; }

TEST(sigpipe_and_msg_nosignal)
{
    struct sigaction action = {.sa_handler = on_sigpipe}, old;
    sigaction(SIGPIPE, &action, &old);
    open_pair(SOCK_STREAM);
    close(pair[1]);
    n_sigpipe = 0;
    CHECK_ERRNO(send(pair[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(n_sigpipe, 0);
    CHECK_ERRNO(send(pair[0], "x", 1, 0), EPIPE);
    CHECK_EQ(n_sigpipe, 1);
    CHECK_ERRNO(write(pair[0], "x", 1), EPIPE);
    CHECK_EQ(n_sigpipe, 2);
    close(pair[0]);
    sigaction(SIGPIPE, &old, NULL);
}

TEST(full_buffer_and_backpressure)
{
    static char block[4096];
    open_pair(SOCK_STREAM);
    CHECK_OK(set_int(pair[0], SOL_SOCKET, SO_SNDBUF, 30000));
    CHECK_EQ(int_option(pair[0], SOL_SOCKET, SO_SNDBUF), 60000);
    CHECK_OK(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    long total = 0, n;
    while ((n = write(pair[0], block, sizeof block)) > 0)
        total += n;
    CHECK_EQ(errno, EAGAIN);
    CHECK_RANGE(total, 16000, 70000);
    CHECK_EQ(poll_events(pair[0], POLLOUT), 0);
    CHECK_EQ(poll_events(pair[1], POLLIN), POLLIN);
    while (total > 0 && (n = read(pair[1], block, sizeof block)) > 0)
        total -= n;
    CHECK_EQ(total, 0);
    CHECK_EQ(poll_events(pair[0], POLLOUT), POLLOUT);
    CHECK_EQ(write(pair[0], block, 1), 1);
    close_pair();
}

TEST(datagrams)
{
    char in[64];
    open_pair(SOCK_DGRAM);
    CHECK_EQ(write(pair[0], "one", 3), 3);
    CHECK_EQ(write(pair[0], "", 0), 0);
    CHECK_EQ(send(pair[0], "three", 5, 0), 5);
    CHECK_EQ(recv(pair[1], in, 2, 0), 2);  // the rest is lost
    CHECK_EQ(recv(pair[1], in, 64, 0), 0);
    CHECK_EQ(recv(pair[1], in, 2, MSG_PEEK | MSG_TRUNC), 5);
    struct iovec iov = {in, 3};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    CHECK_EQ(recvmsg(pair[1], &m, 0), 3);
    CHECK_EQ(m.msg_flags, MSG_TRUNC);
    CHECK_EQ(m.msg_namelen, 0);
    CHECK_ERRNO(recv(pair[1], in, 1, MSG_DONTWAIT), EAGAIN);
    int big = 300000;
    char *block = calloc(1, (size_t)big);
    CHECK_ERRNO(send(pair[0], block, (size_t)big, 0), EMSGSIZE);
    free(block);
    close(pair[1]);
    CHECK_ERRNO(send(pair[0], "x", 1, 0), ECONNREFUSED);
    CHECK_ERRNO(send(pair[0], "x", 1, 0), ENOTCONN);
    close(pair[0]);
}

TEST(datagram_queue_is_bounded)
{
    open_pair(SOCK_DGRAM);
    CHECK_OK(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    int sent = 0;
    char c = 0;
    while (sent < 1000000 && send(pair[0], &c, 1, 0) == 1)
        sent++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_RANGE(sent, 2, 999999);
    CHECK_EQ(read(pair[1], &c, 1), 1);
    while (recv(pair[1], &c, 1, MSG_DONTWAIT) == 1)
        ;
    CHECK_EQ(poll_events(pair[0], POLLOUT), POLLOUT);
    CHECK_EQ(send(pair[0], &c, 1, 0), 1);
    close_pair();
}

TEST(sequenced_packets)
{
    char in[16];
    open_pair(SOCK_SEQPACKET);
    CHECK_EQ(write(pair[0], "abcdef", 6), 6);
    CHECK_EQ(write(pair[0], "g", 1), 1);
    struct iovec iov = {in, 4};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    CHECK_EQ(recvmsg(pair[1], &m, 0), 4);
    CHECK(m.msg_flags & MSG_TRUNC);
    CHECK_EQ(recv(pair[1], in, 16, 0), 1);
    close(pair[0]);
    CHECK_EQ(recv(pair[1], in, 16, 0), 0);
    CHECK_ERRNO(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(pair[1]);
}

TEST(names_in_the_file_system)
{
    struct sockaddr_un name, seen;
    socklen_t len = path_name(&name, "sock"), seen_len = sizeof seen;
    struct stat st;
    int listener, client, server;
    REQUIRE_OK(listener = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_ERRNO(listen(listener, 5), EINVAL);
    CHECK_OK(bind(listener, (void *)&name, len));
    CHECK_ERRNO(bind(listener, (void *)&name, len), EADDRINUSE);
    path_name(&seen, "second");
    CHECK_ERRNO(bind(listener, (void *)&seen, len), EINVAL);
    CHECK_ERRNO(stat("second", &st), ENOENT);
    CHECK_OK(stat("sock", &st));
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_ERRNO(open("sock", O_RDWR), ENXIO);
    REQUIRE_OK(client = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_ERRNO(bind(client, (void *)&name, len), EADDRINUSE);
    CHECK_EQ(poll_events(client, POLLIN | POLLOUT), POLLOUT | POLLHUP);
    CHECK_ERRNO(connect(client, (void *)&name, len), ECONNREFUSED);  // nobody listens
    CHECK_OK(listen(listener, 5));
    CHECK_EQ(int_option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    CHECK_EQ(poll_events(listener, POLLIN), 0);
    CHECK_OK(connect(client, (void *)&name, len));
    CHECK_ERRNO(connect(client, (void *)&name, len), EISCONN);
    CHECK_EQ(write(client, "early", 5), 5);  // before it is accepted
    CHECK_EQ(poll_events(listener, POLLIN), POLLIN);
    REQUIRE_OK(server = accept4(listener, (void *)&seen, &seen_len, SOCK_CLOEXEC));
    CHECK_EQ(seen_len, sizeof(sa_family_t));
    CHECK_EQ(fcntl(server, F_GETFD), FD_CLOEXEC);
    char in[8];
    CHECK_EQ(read(server, in, 8), 5);
    seen_len = sizeof seen;
    CHECK_OK(getsockname(server, (void *)&seen, &seen_len));
    CHECK_EQ(seen_len, offsetof(struct sockaddr_un, sun_path) + 5);
    CHECK_STR(seen.sun_path, "sock");
    seen_len = 4;
    CHECK_OK(getpeername(client, (void *)&seen, &seen_len));
    CHECK_EQ(seen_len, offsetof(struct sockaddr_un, sun_path) + 5);
    CHECK_ERRNO(syscall(SYS_accept4, listener, NULL, NULL, 0x7f), EINVAL);
    CHECK_OK(fcntl(listener, F_SETFL, O_NONBLOCK));
    CHECK_ERRNO(accept(listener, NULL, NULL), EAGAIN);
    CHECK_ERRNO(accept(client, NULL, NULL), EINVAL);
    close(server), close(client), close(listener);
    REQUIRE_OK(client = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(client, (void *)&name, len), ECONNREFUSED);  // the node is still there
    CHECK_OK(unlink("sock"));
    CHECK_ERRNO(connect(client, (void *)&name, len), ENOENT);
    close(new_file("plain", 1, 1));
    path_name(&name, "plain");
    CHECK_ERRNO(connect(client, (void *)&name, len), ECONNREFUSED);
    unlink("plain");
    CHECK_ERRNO(connect(client, (void *)&name, 2), EINVAL);
    name.sun_family = AF_INET;
    CHECK_ERRNO(connect(client, (void *)&name, len), EINVAL);
    CHECK_ERRNO(connect(client, (void *)&name, 4000), EINVAL);
    CHECK_ERRNO(connect(client, (void *)16, 20), EFAULT);
    close(client);
}

TEST(abstract_names)
{
    struct sockaddr_un name, seen;
    socklen_t len = abstract_name(&name, "lethe-test"), seen_len = sizeof seen;
    int a, b;
    char in[8];
    REQUIRE_OK(a = socket(AF_UNIX, SOCK_DGRAM, 0));
    REQUIRE_OK(b = socket(AF_UNIX, SOCK_DGRAM, 0));
    CHECK_OK(bind(a, (void *)&name, len));
    CHECK_ERRNO(bind(b, (void *)&name, len), EADDRINUSE);
    CHECK_OK(bind(b, (void *)&name, sizeof(sa_family_t)));  // any name
    CHECK_OK(getsockname(b, (void *)&seen, &seen_len));
    CHECK_EQ(seen_len, sizeof(sa_family_t) + 6);
    CHECK_EQ(seen.sun_path[0], 0);
    CHECK_EQ(sendto(b, "hi", 2, 0, (void *)&name, len), 2);
    struct sockaddr_un from;
    socklen_t from_len = sizeof from;
    CHECK_EQ(recvfrom(a, in, 8, 0, (void *)&from, &from_len), 2);
    CHECK_EQ(from_len, seen_len);
    CHECK(memcmp(&from, &seen, seen_len) == 0);
    CHECK_ERRNO(sendto(a, "x", 1, 0, (void *)&name, 1), EINVAL);
    CHECK_OK(connect(b, (void *)&name, len));
    CHECK_EQ(write(b, "yo", 2), 2);
    CHECK_EQ(read(a, in, 8), 2);
    CHECK_ERRNO(write(a, "x", 1), ENOTCONN);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK_OK(connect(b, &none, sizeof none));
    CHECK_ERRNO(write(b, "x", 1), ENOTCONN);
    int stream;
    REQUIRE_OK(stream = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_ERRNO(connect(stream, (void *)&name, len), ECONNREFUSED);  // another name space
    close(stream), close(a);
    CHECK_ERRNO(sendto(b, "x", 1, 0, (void *)&name, len), ECONNREFUSED);
    close(b);
}

TEST(backlog_is_kept)
{
    struct sockaddr_un name;
    socklen_t len = abstract_name(&name, "backlog");
    int listener, fds[8], n = 0;
    REQUIRE_OK(listener = socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_OK(bind(listener, (void *)&name, len));
    CHECK_OK(listen(listener, 2));
    for (; n < 8; n++) {
        REQUIRE_OK(fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (connect(fds[n], (void *)&name, len))
            break;
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(n, 3);
    close(listener);
    char c;
    CHECK_ERRNO(read(fds[0], &c, 1), ECONNRESET);
    for (int i = 0; i <= n && i < 8; i++)
        close(fds[i]);
}

TEST(descriptors_travel)
{
    int pipe_fds[2], got[8], flags;
    char in[8];
    open_pair(SOCK_STREAM);
    REQUIRE_OK(pipe(pipe_fds));
    CHECK_EQ(send_fds(pair[0], pipe_fds, 2, 0), 1);
    close(pipe_fds[0]), close(pipe_fds[1]);
    CHECK_EQ(receive_fds(pair[1], got, 8, MSG_CMSG_CLOEXEC, &flags), 2);
    CHECK_EQ(flags & ~MSG_CMSG_CLOEXEC, 0);
    CHECK_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(write(got[1], "through", 7), 7);
    CHECK_EQ(read(got[0], in, 8), 7);
    CHECK_EQ(send_fds(pair[0], got, 2, 0), 1);  // room for one
    int one[8];
    CHECK_EQ(receive_fds(pair[1], one, 1, 0, &flags), 1);
    CHECK(flags & MSG_CTRUNC);
    CHECK_EQ(fcntl(one[0], F_GETFD), 0);
    close(one[0]);
    CHECK_EQ(send_fds(pair[0], got, 1, 0), 1);  // looked at, and then taken as plain bytes
    CHECK_EQ(receive_fds(pair[1], one, 4, MSG_PEEK, &flags), 1);
    close(one[0]);
    CHECK_EQ(read(pair[1], in, 8), 1);
    int bad = 9999;
    CHECK_ERRNO(send_fds(pair[0], &bad, 1, 0), EBADF);
    CHECK_EQ(send_fds(pair[0], got, 1, 0), 1);  // never received
    close(got[0]), close(got[1]);
    close_pair();
}

// Several control messages with descriptors in one call arrive as one.
TEST(descriptors_in_several_messages_add_up)
{
    int pipe_fds[2], got[8], flags, bad = 9999;
    char space[2 * CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {(char *)"F", 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    open_pair(SOCK_STREAM);
    REQUIRE_OK(pipe(pipe_fds));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    for (int i = 0; i < 2; i++, c = CMSG_NXTHDR(&m, c)) {
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pipe_fds[i], sizeof(int));
    }
    CHECK_EQ(sendmsg(pair[0], &m, 0), 1);
    CHECK_EQ(receive_fds(pair[1], got, 8, 0, &flags), 2);
    CHECK_EQ(write(got[1], "x", 1), 1);
    CHECK_EQ(read(pipe_fds[0], &bad, 1), 1);
    bad = 9999;
    memcpy(CMSG_DATA(CMSG_NXTHDR(&m, CMSG_FIRSTHDR(&m))), &bad, sizeof(int));
    CHECK_ERRNO(sendmsg(pair[0], &m, 0), EBADF);
    close(got[0]), close(got[1]), close(pipe_fds[0]), close(pipe_fds[1]);
    close_pair();
}

TEST(a_read_ends_behind_descriptors)
{
    int got[8], flags;
    char in[16];
    open_pair(SOCK_STREAM);
    CHECK_EQ(write(pair[0], "ab", 2), 2);
    CHECK_EQ(send_fds(pair[0], pair, 1, 0), 1);
    CHECK_EQ(write(pair[0], "cd", 2), 2);
    CHECK_EQ(read(pair[1], in, 16), 3);  // ends behind the descriptors, which a plain read drops
    CHECK_EQ(read(pair[1], in, 16), 2);
    CHECK_EQ(send_fds(pair[0], pair, 1, 0), 1);
    CHECK_EQ(write(pair[0], "cd", 2), 2);
    CHECK_EQ(receive_fds(pair[1], got, 4, 0, &flags), 1);
    close(got[0]);
    CHECK_EQ(read(pair[1], in, 16), 2);
    close_pair();
}

// A chain of sockets, each inside the next one's queue: closing the last frees all, without a deep stack.
TEST(nested_descriptors_are_freed)
{
    int inner[2], outer[2];
    REQUIRE_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, inner));
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, outer));
        CHECK_EQ(send_fds(outer[0], inner, 2, 0), 1);
        close(inner[0]), close(inner[1]);
        inner[0] = outer[0], inner[1] = outer[1];
    }
    close(inner[0]), close(inner[1]);
}

TEST(credentials)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    open_pair(SOCK_STREAM);
    CHECK_OK(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
    CHECK_EQ(cred.pid, getpid());
    CHECK_EQ(cred.uid, getuid());
    CHECK_OK(set_int(pair[1], SOL_SOCKET, SO_PASSCRED, 1));
    CHECK_EQ(int_option(pair[1], SOL_SOCKET, SO_PASSCRED), 1);
    CHECK_EQ(write(pair[0], "x", 1), 1);
    char space[CMSG_SPACE(sizeof cred)], byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    CHECK_EQ(recvmsg(pair[1], &m, 0), 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    REQUIRE(c != NULL);
    CHECK_EQ(c->cmsg_type, SCM_CREDENTIALS);
    CHECK_EQ(c->cmsg_len, CMSG_LEN(sizeof cred));
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    CHECK_EQ(cred.pid, getpid());
    close_pair();
}

TEST(timeouts)
{
    struct timeval tv = {0, 30000}, got;
    socklen_t len = sizeof got;
    char c;
    open_pair(SOCK_STREAM);
    CHECK_OK(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    CHECK_OK(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &got, &len));
    CHECK_EQ(len, sizeof got);
    CHECK_RANGE(got.tv_usec, 27000, 33000);  // Linux counts in ticks
    uint64_t begin = now_ns(CLOCK_MONOTONIC);
    CHECK_ERRNO(read(pair[0], &c, 1), EAGAIN);
    CHECK(now_ns(CLOCK_MONOTONIC) - begin >= 25 * MS);
    tv.tv_usec = 1000000;
    CHECK_ERRNO(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM);
    CHECK_ERRNO(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, 3), EINVAL);
    close_pair();
}

TEST(edge_triggered_epoll)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET}, got[4];
    char c;
    int ep;
    open_pair(SOCK_STREAM);
    REQUIRE_OK(ep = epoll_create1(0));
    CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &ev));
    CHECK_EQ(epoll_wait(ep, got, 4, 0), 1);
    CHECK_EQ(got[0].events, EPOLLOUT);
    CHECK_EQ(epoll_wait(ep, got, 4, 0), 0);
    CHECK_EQ(write(pair[1], "ab", 2), 2);
    CHECK_EQ(epoll_wait(ep, got, 4, 1000), 1);
    CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT);
    CHECK_EQ(read(pair[0], &c, 1), 1);
    CHECK_EQ(epoll_wait(ep, got, 4, 0), 0);
    CHECK_EQ(write(pair[1], "c", 1), 1);  // each arrival is an edge
    CHECK_EQ(epoll_wait(ep, got, 4, 1000), 1);
    close(pair[1]);
    CHECK_EQ(epoll_wait(ep, got, 4, 1000), 1);
    CHECK_EQ(got[0].events, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
    close(ep), close(pair[0]);
}

#define MANY 4
#define EACH 3000
static void *many_writer(void *argument)
{
    long id = (long)argument;
    for (int i = 0; i < EACH; i++)
        CHECK_EQ(write(pair[0], &id, sizeof id), (long)sizeof id);
    return NULL;
}

TEST_LIMIT(several_writers_and_readers, 30)
{
    long counts[MANY] = {0}, id;
    pthread_t threads[MANY];
    open_pair(SOCK_STREAM);
    for (long i = 0; i < MANY; i++)
        REQUIRE(pthread_create(&threads[i], NULL, many_writer, (void *)i) == 0);
    for (int i = 0; i < MANY * EACH; i++) {
        REQUIRE(recv(pair[1], &id, sizeof id, MSG_WAITALL) == sizeof id);
        REQUIRE(id >= 0 && id < MANY);
        counts[id]++;
    }
    for (int i = 0; i < MANY; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(counts[i], EACH);
    }
    close_pair();
}

static void *big_writer(void *argument)
{
    size_t len = (size_t)argument;
    unsigned char *block = malloc(len);
    for (size_t i = 0; i < len; i++)
        block[i] = (unsigned char)(i * 31 >> 3);
    CHECK_EQ(write(pair[0], block, len), (long)len);
    close(pair[0]);
    free(block);
    return NULL;
}

TEST_LIMIT(a_large_write, 30)
{
    const size_t len = 3 << 20;
    pthread_t thread;
    unsigned char in[5000];
    size_t total = 0, bad = 0;
    ssize_t n;
    open_pair(SOCK_STREAM);
    REQUIRE(pthread_create(&thread, NULL, big_writer, (void *)len) == 0);
    while ((n = read(pair[1], in, sizeof in)) > 0) {
        for (ssize_t i = 0; i < n; i++, total++)
            bad += in[i] != (unsigned char)(total * 31 >> 3);
    }
    CHECK_EQ(total, len);
    CHECK_EQ(bad, 0);
    pthread_join(thread, NULL);
    close(pair[1]);
}

TEST(many_messages_in_one_call)
{
    char in[3][8];
    struct iovec iov[3];
    struct mmsghdr m[3];
    memset(m, 0, sizeof m);
    open_pair(SOCK_DGRAM);
    for (int i = 0; i < 3; i++) {
        iov[i] = (struct iovec){(char *)"abc", (size_t)i + 1};
        m[i].msg_hdr.msg_iov = &iov[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK_EQ(sendmmsg(pair[0], m, 3, 0), 3);
    CHECK_EQ(m[2].msg_len, 3);
    for (int i = 0; i < 3; i++)
        iov[i] = (struct iovec){in[i], 8};
    CHECK_EQ(recvmmsg(pair[1], m, 2, 0, NULL), 2);
    CHECK_EQ(m[0].msg_len, 1);
    CHECK_EQ(m[1].msg_len, 2);
    CHECK_EQ(recvmmsg(pair[1], m, 3, MSG_WAITFORONE, NULL), 1);
    struct timespec bad = {-1, 0};
    CHECK_ERRNO(recvmmsg(pair[1], m, 1, 0, &bad), EINVAL);
    CHECK_ERRNO(recvmmsg(pair[1], m, 1, MSG_DONTWAIT, NULL), EAGAIN);
    close_pair();
}

TEST(wild_pointers)
{
    struct msghdr m = {0};
    struct iovec iov = {(void *)8, 10};
    open_pair(SOCK_STREAM);
    CHECK_ERRNO(syscall(SYS_sendmsg, pair[0], 8, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_recvmsg, pair[0], 8, 0), EFAULT);
    m.msg_iov = &iov;
    m.msg_iovlen = 5000;
    CHECK_ERRNO(syscall(SYS_sendmsg, pair[0], &m, 0), EMSGSIZE);
    m.msg_iovlen = 1;
    CHECK_ERRNO(syscall(SYS_sendmsg, pair[0], &m, 0), EFAULT);
    m.msg_iov = (void *)16;
    CHECK_ERRNO(syscall(SYS_sendmsg, pair[0], &m, 0), EFAULT);
    CHECK_EQ(write(pair[0], "keep", 4), 4);
    CHECK_ERRNO(read(pair[1], (void *)8, 4), EFAULT);
    char in[4];
    CHECK_EQ(read(pair[1], in, 4), 4);  // it was not lost
    CHECK_ERRNO(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, (void *)8, 4), EFAULT);
    CHECK_ERRNO(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, in, 3), EINVAL);
    CHECK_ERRNO(setsockopt(pair[0], SOL_SOCKET, 4711, in, 4), ENOPROTOOPT);
    CHECK_ERRNO(setsockopt(pair[0], 4711, 1, in, 4), EOPNOTSUPP);
    close_pair();
}

// ---- two threads on one socket

static struct {
    struct sockaddr_un names[2];
    socklen_t lens[2];
    pthread_barrier_t barrier;
    int fd, rounds, results[2];
} twice;

static void *connect_too(void *argument)
{
    long id = (long)argument;
    for (int i = 0; i < twice.rounds; i++) {
        pthread_barrier_wait(&twice.barrier);
        int failed = connect(twice.fd, (void *)&twice.names[id], twice.lens[id]);
        twice.results[id] = failed ? errno : 0;
        pthread_barrier_wait(&twice.barrier);
    }
    return NULL;
}

// One of two connects to different listeners wins, and the other listener gets nobody.
TEST_LIMIT(two_connects_at_once, 30)
{
    int listeners[2];
    pthread_t threads[2];
    twice.rounds = harness_rounds(4000);
    REQUIRE(pthread_barrier_init(&twice.barrier, NULL, 3) == 0);
    for (int i = 0; i < 2; i++) {
        twice.lens[i] = abstract_name(&twice.names[i], i ? "twice-1" : "twice-0");
        REQUIRE_OK(listeners[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        CHECK_OK(bind(listeners[i], (void *)&twice.names[i], twice.lens[i]));
        CHECK_OK(listen(listeners[i], 4));
    }
    for (long i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, connect_too, (void *)i) == 0);
    for (int i = 0; i < twice.rounds; i++) {
        twice.fd = socket(AF_UNIX, SOCK_STREAM, 0);
        pthread_barrier_wait(&twice.barrier);
        pthread_barrier_wait(&twice.barrier);
        int winner = twice.results[0] != 0, server;
        CHECK_EQ(twice.results[winner], 0);
        CHECK_EQ(twice.results[!winner], EISCONN);
        CHECK_ERRNO(accept(listeners[!winner], NULL, NULL), EAGAIN);
        CHECK_OK(server = accept(listeners[winner], NULL, NULL));
        close(server), close(twice.fd);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL), close(listeners[i]);
    pthread_barrier_destroy(&twice.barrier);
}
