// SPDX-License-Identifier: BSD-2-Clause
// none.c: the socket calls of the kernel without a network. It answers as a Linux into which no address family has been
// built: no socket can be made, and no descriptor is one.
#include "fs/vfs.h"

#define AF_MAX 46
#define SOCK_MAX 11
#define SOCK_TYPE_MASK 15

long sys_socket(int family, int type)
{
    if (type & ~(SOCK_TYPE_MASK | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    return (u32)family < AF_MAX && (type & SOCK_TYPE_MASK) >= SOCK_MAX ? -EINVAL : -EAFNOSUPPORT;
}

// Every call but these two begins with a descriptor.
long sys_bind(int fd)
{
    struct fd f = fd_get(fd);
    fd_put(f);
    return f.file ? -ENOTSOCK : -EBADF;
}

#define AS_SOCKET __attribute__((alias("sys_socket")))
#define AS_BIND __attribute__((alias("sys_bind")))
long sys_socketpair(int family, int type) AS_SOCKET;
long sys_listen(int fd) AS_BIND;
long sys_accept(int fd) AS_BIND;
long sys_accept4(int fd) AS_BIND;
long sys_connect(int fd) AS_BIND;
long sys_getsockname(int fd) AS_BIND;
long sys_getpeername(int fd) AS_BIND;
long sys_shutdown(int fd) AS_BIND;
long sys_getsockopt(int fd) AS_BIND;
long sys_setsockopt(int fd) AS_BIND;
long sys_sendto(int fd) AS_BIND;
long sys_recvfrom(int fd) AS_BIND;
long sys_sendmsg(int fd) AS_BIND;
long sys_recvmsg(int fd) AS_BIND;
long sys_sendmmsg(int fd) AS_BIND;
long sys_recvmmsg(int fd) AS_BIND;
