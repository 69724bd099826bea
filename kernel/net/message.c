// SPDX-License-Identifier: BSD-2-Clause
// message.c: send(2) and recv(2) with all their relatives, and control data (cmsg(3)).
#include "net/socket.h"

#include <string.h>

#include "fs/pipe_internal.h"

#define MMSG_MAX 1024  // UIO_MAXIOV

struct user_msghdr {  // user ABI: struct msghdr
    u64 name;
    s32 name_len;
    u32 pad;
    u64 iov;
    u64 n_iov;
    u64 control;
    u64 control_len;
    u32 flags;
    u32 pad2;
};

struct user_mmsghdr {
    struct user_msghdr header;
    u32 len;
    u32 pad;
};

// ---- control data

struct cmsg_header *message_next_control(const struct message *m, size_t *at, bool *bad)
{
    *bad = false;
    if (m->control_len < sizeof(struct cmsg_header) ||
        *at > m->control_len - sizeof(struct cmsg_header))
        return NULL;
    struct cmsg_header *c = (struct cmsg_header *)(m->control + *at);
    if (c->len < sizeof(*c) || c->len > m->control_len - *at) {
        *bad = true;
        return NULL;
    }
    *at += CMSG_ALIGN(c->len);
    return c;
}

void message_put_control(struct message *m, int level, int type, const void *data, size_t len)
{
    struct cmsg_header c = {.len = sizeof(c) + len, .level = level, .type = type};
    if (m->control_room < sizeof(c)) {
        m->out_flags |= MSG_CTRUNC;
        return;
    }
    if (c.len > m->control_room) {
        m->out_flags |= MSG_CTRUNC;
        c.len = m->control_room;
    }
    if (copy_to_user(m->user_control, &c, sizeof(c)) ||
        copy_to_user(m->user_control + sizeof(c), data, c.len - sizeof(c))) {
        m->out_flags |= MSG_CTRUNC;
        return;
    }
    size_t taken = MIN(CMSG_ALIGN(c.len), m->control_room);
    m->user_control += taken;
    m->control_room -= taken;
    m->control_used += taken;
}

// ---- sending

ssize_t socket_send(struct socket *s, struct message *m)
{
    ssize_t n = s->ops->send(s, m);
    if (unlikely(n == -EPIPE) && !(m->flags & MSG_NOSIGNAL) && s->type != SOCK_DGRAM)
        pipe_raise_sigpipe();
    return n;
}

long sys_sendto(int fd, uptr_t buf, size_t len, u32 flags, uptr_t user, int addr_len)
{
    struct sock_addr addr;
    struct uio u;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    len = MIN(len, (size_t)MAX_RW_COUNT);
    uio_init_user(&u, buf, len);
    struct message m = {.uio = &u, .flags = flags};
    ssize_t n = 0;
    if (unlikely(buf > USER_END - len)) {
        n = -EFAULT;
    } else if (user) {
        n = addr_len < 0 ? -EINVAL : sock_addr_from_user(&addr, user, (u32)addr_len);
        m.addr = &addr;
        m.addr_len = (u32)addr_len;
    }
    if (n >= 0) {
        if (f.file->flags & O_NONBLOCK)
            m.flags |= MSG_DONTWAIT;
        n = socket_send(s, &m);
    }
    fd_put(f);
    return n;
}

static int load_control(struct message *m, const struct user_msghdr *h)
{
    if (!h->control || !h->control_len)
        return 0;
    if (h->control_len > SOCKET_CONTROL_MAX)
        return -ENOBUFS;
    m->control = kmalloc(h->control_len);
    if (!m->control)
        return -ENOBUFS;
    m->control_len = h->control_len;
    return copy_from_user(m->control, h->control, h->control_len);
}

// name: too long ones are cut, as Linux does for sendmsg and recvmsg only.
static int load_header(struct user_msghdr *h, uptr_t user)
{
    if (copy_from_user(h, user, sizeof(*h)))
        return -EFAULT;
    if (!h->name)
        h->name_len = 0;
    if (h->name_len < 0)
        return -EINVAL;
    h->name_len = MIN(h->name_len, (s32)sizeof(struct sock_addr));
    return h->n_iov > UIO_MAXIOV ? -EMSGSIZE : 0;
}

static ssize_t send_one(struct socket *s, const struct file *file, uptr_t user, u32 flags)
{
    struct user_msghdr h;
    struct sock_addr addr;
    struct uio u;
    struct uio_vec vec = {.big = NULL};
    struct message m = {.uio = &u, .flags = flags};
    ssize_t n = load_header(&h, user);
    if (!n && h.name_len) {
        n = sock_addr_from_user(&addr, h.name, (u32)h.name_len);
        m.addr = &addr;
        m.addr_len = (u32)h.name_len;
    }
    if (n >= 0)
        n = load_control(&m, &h);
    if (n >= 0)
        n = uio_init_vec(&u, &vec, h.iov, h.n_iov);
    if (n >= 0) {
        if (file->flags & O_NONBLOCK)
            m.flags |= MSG_DONTWAIT;
        n = socket_send(s, &m);
    }
    uio_vec_free(&vec);
    kfree(m.control);
    return n;
}

long sys_sendmsg(int fd, uptr_t user, u32 flags)
{
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    ssize_t n = send_one(s, f.file, user, flags);
    fd_put(f);
    return n;
}

long sys_sendmmsg(int fd, uptr_t user, u32 count, u32 flags)
{
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    ssize_t err = 0;
    u32 done = 0;
    for (count = MIN(count, (u32)MMSG_MAX); done < count; done++) {
        uptr_t at = user + done * sizeof(struct user_mmsghdr);
        err = send_one(s, f.file, at, flags);
        if (err >= 0 && put_user_u32(at + offsetof(struct user_mmsghdr, len), (u32)err))
            err = -EFAULT;
        if (err < 0)
            break;
        sched_point();
    }
    fd_put(f);
    return done ? (long)done : err;
}

// ---- receiving

long sys_recvfrom(int fd, uptr_t buf, size_t len, u32 flags, uptr_t user, uptr_t user_len)
{
    struct sock_addr addr;
    struct uio u;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    len = MIN(len, (size_t)MAX_RW_COUNT);
    uio_init_user(&u, buf, len);
    struct message m = {.uio = &u, .flags = flags, .addr = user ? &addr : NULL};
    if (f.file->flags & O_NONBLOCK)
        m.flags |= MSG_DONTWAIT;
    ssize_t n = unlikely(buf > USER_END - len) ? -EFAULT : s->ops->receive(s, &m);
    if (n >= 0 && user) {
        int err = sock_addr_to_user(&addr, m.addr_len, user, user_len);
        if (err)
            n = err;
    }
    fd_put(f);
    return n;
}

static int store_header(uptr_t user, const struct user_msghdr *h, const struct message *m)
{
    const struct sock_addr *addr = m->addr;
    if (h->name) {
        u32 n = MIN((u32)h->name_len, m->addr_len);
        if ((n && copy_to_user(h->name, addr, n)) ||
            put_user_u32(user + offsetof(struct user_msghdr, name_len), m->addr_len))
            return -EFAULT;
    }
    u32 flags = m->out_flags | (m->flags & MSG_CMSG_CLOEXEC);
    if (put_user_u32(user + offsetof(struct user_msghdr, flags), flags))
        return -EFAULT;
    return put_user_u64(user + offsetof(struct user_msghdr, control_len), m->control_used);
}

static ssize_t receive_one(struct socket *s, const struct file *file, uptr_t user, u32 flags)
{
    struct user_msghdr h;
    struct sock_addr addr;
    struct uio u;
    struct uio_vec vec = {.big = NULL};
    struct message m = {.uio = &u, .flags = flags};
    ssize_t n = load_header(&h, user);
    if (!n)
        n = uio_init_vec(&u, &vec, h.iov, h.n_iov);
    if (n >= 0) {
        m.addr = h.name ? &addr : NULL;
        if (h.control) {
            m.user_control = h.control;
            m.control_room = MIN(h.control_len, (u64)INT32_MAX);
        }
        if (file->flags & O_NONBLOCK)
            m.flags |= MSG_DONTWAIT;
        n = s->ops->receive(s, &m);
    }
    if (n >= 0 && store_header(user, &h, &m))
        n = -EFAULT;
    uio_vec_free(&vec);
    return n;
}

long sys_recvmsg(int fd, uptr_t user, u32 flags)
{
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    ssize_t n = receive_one(s, f.file, user, flags);
    fd_put(f);
    return n;
}

// recvmmsg(2): the time-out is looked at between two messages only, as on Linux.
static long receive_many(struct socket *s, const struct file *file, uptr_t user, u32 count,
                         u32 flags, u64 deadline_ns)
{
    ssize_t err = socket_take_error(s);
    u32 done = 0;
    for (count = MIN(count, (u32)MMSG_MAX); !err && done < count;) {
        uptr_t at = user + done * sizeof(struct user_mmsghdr);
        err = receive_one(s, file, at, flags & ~MSG_WAITFORONE);
        if (err >= 0)
            err = put_user_u32(at + offsetof(struct user_mmsghdr, len), (u32)err);
        if (err < 0)
            break;
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline_ns != NEVER && (deadline_ns == 0 || ktime_ns() >= deadline_ns))
            break;
        sched_point();
    }
    if (done && err < 0 && err != -EAGAIN && err > -ERESTARTSYS)
        atomic_store(&s->error, (s32)-err);  // told by the next call
    return done ? (long)done : err;
}

long sys_recvmmsg(int fd, uptr_t user, u32 count, u32 flags, uptr_t timeout)
{
    u64 deadline_ns;
    struct fd f;
    int err = deadline_from_user(timeout, &deadline_ns);
    if (err)
        return err;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long n = receive_many(s, f.file, user, count, flags, deadline_ns);
    fd_put(f);
    if (n > 0 && timeout && deadline_ns != NEVER) {
        u64 now = ktime_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
        struct timespec_user ts = {left / NSEC_PER_SEC, left % NSEC_PER_SEC};
        if (copy_to_user(timeout, &ts, sizeof(ts)))
            return -EFAULT;
    }
    return n;
}
