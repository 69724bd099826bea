// SPDX-License-Identifier: BSD-2-Clause
// socket.c: sockets as files, and the calls that make, name and connect them (socket(2) ... shutdown(2)).
#include "net/socket.h"

#include <string.h>

#include "core/log.h"
#include "fs/special_internal.h"

#define SIOCOUTQ 0x5411
#define SIOCATMARK 0x8905
#define SIOCGSTAMP 0x8906

extern const struct net_family *const net_families_start[], *const net_families_end[];

static struct spinlock all_lock;
static struct list all_sockets = LIST_INIT(all_sockets);  // [all_lock] by all_link
static u32 n_sockets;                                     // [all_lock]

void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int protocol)
{
    const struct process *p = current->process;
    memset(s, 0, sizeof(*s));
    s->refcount = 1;
    s->ops = ops;
    s->family = (u16)family;
    s->type = (u8)type;
    s->protocol = (u16)protocol;
    wait_queue_init(&s->read_wait);
    wait_queue_init(&s->write_wait);
    async_queue_init(&s->async);
    s->receive_timeout_ns = s->send_timeout_ns = NEVER;
    s->receive_buffer = s->send_buffer = SOCKET_BUFFER_DEFAULT;
    s->receive_low = 1;
    s->linger_s = -1;
    if (p) {
        s->own_pid = p->pid;
        s->own_uid = p->euid;
        s->own_gid = p->egid;
    }
    spin_lock(&all_lock);
    list_push_back(&all_sockets, &s->all_link);
    n_sockets++;
    spin_unlock(&all_lock);
}

void socket_gone(struct socket *s)
{
    spin_lock(&all_lock);
    list_remove(&s->all_link);
    n_sockets--;
    spin_unlock(&all_lock);
    s->ops->destroy(s);
}

// ---- tables of sockets

// => false: the last reference is gone, and socket_gone waits for the lock
static bool get_unless_gone(struct socket *s)
{
    u32 n = atomic_load(&s->refcount);
    while (n && !atomic_cmpxchg(&s->refcount, &n, n + 1)) {
    }
    return n != 0;
}

static bool is_kind(const struct socket *s, u16 family, u8 type)
{
    return (!family || s->family == family) && (!type || s->type == type);
}

struct socket **socket_gather(u16 family, u8 type, u32 *n)
{
    u32 room = READ_ONCE(n_sockets) + 16;
    struct socket **list = kmalloc(room * sizeof(*list));
    *n = 0;
    if (!list)
        return NULL;
    spin_lock(&all_lock);
    list_for_each_entry (struct socket, s, &all_sockets, all_link) {
        if (*n < room && is_kind(s, family, type) && get_unless_gone(s))
            list[(*n)++] = s;
    }
    spin_unlock(&all_lock);
    return list;
}

void socket_gather_free(struct socket **list, u32 n)
{
    while (n)
        socket_put(list[--n]);
    kfree(list);
}

u32 socket_count(u16 family, u8 type)
{
    u32 n = 0;
    spin_lock(&all_lock);
    list_for_each_entry (struct socket, s, &all_sockets, all_link)
        n += s->ino && is_kind(s, family, type);
    spin_unlock(&all_lock);
    return n;
}

// ---- waiting and waking

void socket_wake(struct socket *s, struct wait_queue *q, u32 events)
{
    wait_wake(q, 1, events);
    async_notify(&s->async, events);
}

void socket_wake_all(struct socket *s)
{
    const u32 events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLHUP | POLLRDHUP | POLLERR;
    wait_wake(&s->read_wait, INT32_MAX, events);
    wait_wake(&s->write_wait, INT32_MAX, events);
    async_notify(&s->async, POLLIN);
    async_notify(&s->async, POLLOUT);
}

u64 socket_deadline(u64 timeout_ns)
{
    return likely(timeout_ns == NEVER) ? NEVER : ktime_ns() + timeout_ns;
}

int socket_wait(struct wait_queue *q, bool (*ready)(void *arg), void *arg, u64 deadline_ns)
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    w.exclusive = true;
    for (;;) {
        wait_prepare(q, &w, WAIT_INTERRUPTIBLE);
        if (ready(arg))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, deadline_ns);
        if (err)
            break;
    }
    wait_finish(q, &w);
    if (likely(!err))
        return 0;
    // A wake-up that came with the signal was meant for somebody: pass it on.
    if (ready(arg) && wait_has_waiters(q))
        wait_wake(q, 1, SOCKET_HAND_ON);
    if (err == -ETIMEDOUT)
        return -EAGAIN;
    return deadline_ns == NEVER ? err : -EINTR;
}

// ---- the file

static ssize_t socket_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct socket *s = f->data;
    struct message m = {.uio = to, .flags = f->flags & O_NONBLOCK ? MSG_DONTWAIT : 0};
    // A read of nothing takes no datagram (read(2) differs from recv(2) here).
    return unlikely(uio_remaining(to) == 0) ? 0 : s->ops->receive(s, &m);
}

static ssize_t socket_write(struct file *f, struct uio *from, loff_t *pos)
{
    struct message m = {.uio = from, .flags = f->flags & O_NONBLOCK ? MSG_DONTWAIT : 0};
    if (f->data && ((struct socket *)f->data)->type == SOCK_SEQPACKET)
        m.flags |= MSG_EOR;
    return socket_send(f->data, &m);
}

static u32 socket_poll(struct file *f, struct poll_table *pt)
{
    struct socket *s = f->data;
    poll_wait(pt, f, &s->read_wait);
    poll_wait(pt, f, &s->write_wait);
    return s->ops->poll(s);
}

static long socket_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct socket *s = f->data;
    return s->ops->ioctl ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;
}

static struct async_queue *socket_async(struct file *f)
{
    return &((struct socket *)f->data)->async;
}

static void socket_release(struct file *f)
{
    struct socket *s = f->data;
    WRITE_ONCE(s->ino, 0);
    s->ops->close(s);
    socket_put(s);
}

const struct file_ops socket_file_ops = {
    .name = "socket",
    .type = S_IFSOCK,
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .async = socket_async,
    .release = socket_release,
};

// Takes over the socket's reference, on error too. => file or ERR_PTR(-ENFILE, -ENOMEM)
static struct file *socket_file(struct socket *s, unsigned flags)
{
    struct file *f = file_alloc(&socket_file_ops, O_RDWR | (flags & O_NONBLOCK), s);
    if (IS_ERR(f)) {
        s->ops->close(s);
        socket_put(s);
        return f;
    }
    file_set_stream(f);
    WRITE_ONCE(s->ino, f->ino);
    return f;
}

struct socket *socket_from_fd(int fd, struct fd *f)
{
    *f = fd_get_quick(fd);
    if (unlikely(!f->file))
        return ERR_PTR(-EBADF);
    struct socket *s = socket_of(f->file);
    if (unlikely(!s)) {
        fd_put(*f);
        return ERR_PTR(-ENOTSOCK);
    }
    return s;
}

// ---- addresses

int sock_addr_from_user(struct sock_addr *addr, uptr_t user, u32 len)
{
    if (len > sizeof(*addr))
        return -EINVAL;
    addr->family = AF_UNSPEC;
    if (len && copy_from_user(addr, user, len))
        return -EFAULT;
    return (int)len;
}

int sock_addr_to_user(const struct sock_addr *addr, u32 len, uptr_t user, uptr_t user_len)
{
    u32 room;
    if (get_user_u32(&room, user_len))
        return -EFAULT;
    if ((s32)room < 0)
        return -EINVAL;
    room = MIN(room, len);
    if (room && copy_to_user(user, addr, room))
        return -EFAULT;
    return put_user_u32(user_len, len);
}

// ---- socket(2), socketpair(2)

static const struct net_family *find_family(int family)
{
    for (const struct net_family *const *f = net_families_start; f < net_families_end; f++) {
        if ((*f)->family == family)
            return *f;
    }
    return NULL;
}

// => 0 and *type without the flags, or what socket(2) says before it looks at the protocol
static int check_kind(int family, int *type, unsigned *flags)
{
    *flags = (unsigned)*type & ~SOCK_TYPE_MASK;
    *type &= SOCK_TYPE_MASK;
    if (*flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (family < 0 || family >= AF_MAX)
        return -EAFNOSUPPORT;
    return *type >= SOCK_MAX ? -EINVAL : 0;
}

long sys_socket(int family, int type, int protocol)
{
    unsigned flags;
    int err = check_kind(family, &type, &flags);
    if (err)
        return err;
    const struct net_family *net = find_family(family);
    if (!net)
        return -EAFNOSUPPORT;
    struct socket *s = net->create(type, protocol);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct file *f = socket_file(s, flags);
    if (IS_ERR(f))
        return PTR_ERR(f);
    int fd = fd_new(f, flags);
    if (fd < 0)
        file_put(f);
    return fd;
}

static int pair_files(const struct net_family *net, int type, int protocol, unsigned flags,
                      struct file *ends[2])
{
    struct socket *a = net->create(type, protocol);
    if (IS_ERR(a))
        return (int)PTR_ERR(a);
    struct socket *b = net->create(type, protocol);
    int err = IS_ERR(b) ? (int)PTR_ERR(b) : net->pair ? net->pair(a, b) : -EOPNOTSUPP;
    if (err) {
        a->ops->close(a);
        socket_put(a);
        if (!IS_ERR(b)) {
            b->ops->close(b);
            socket_put(b);
        }
        return err;
    }
    ends[0] = socket_file(a, flags);
    ends[1] = socket_file(b, flags);
    for (int i = 0; i < 2; i++) {
        if (IS_ERR(ends[i])) {
            err = (int)PTR_ERR(ends[i]);
            if (!IS_ERR(ends[!i]))
                file_put(ends[!i]);
            return err;
        }
    }
    return 0;
}

long sys_socketpair(int family, int type, int protocol, uptr_t fds)
{
    struct file *ends[2];
    s32 numbers[2] = {-1, -1};
    unsigned flags;
    int err = check_kind(family, &type, &flags);
    if (err)
        return err;
    const struct net_family *net = find_family(family);
    if (!net)
        return -EAFNOSUPPORT;
    numbers[0] = fd_alloc(flags);
    if (numbers[0] < 0)
        return numbers[0];
    numbers[1] = fd_alloc(flags);
    err = numbers[1] < 0 ? numbers[1] : 0;
    if (!err && copy_to_user(fds, numbers, sizeof(numbers)))
        err = -EFAULT;
    if (!err)
        err = pair_files(net, type, protocol, flags, ends);
    for (int i = 0; i < 2; i++) {
        if (!err)
            fd_install(numbers[i], ends[i]);
        else if (numbers[i] >= 0)
            fd_cancel(numbers[i]);
    }
    return err;
}

// ---- bind(2) ... shutdown(2)

long sys_bind(int fd, uptr_t user, int len)
{
    struct sock_addr addr;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int err = len < 0 ? -EINVAL : sock_addr_from_user(&addr, user, (u32)len);
    if (err >= 0)
        err = s->ops->bind ? s->ops->bind(s, &addr, (u32)len) : -EOPNOTSUPP;
    fd_put(f);
    return err;
}

long sys_listen(int fd, int backlog)
{
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    if ((unsigned)backlog > SOMAXCONN_DEFAULT)
        backlog = SOMAXCONN_DEFAULT;
    int err = s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP;
    fd_put(f);
    return err;
}

// With the number reserved first, so that a connection is not taken in vain.
static long accept_on(struct socket *s, bool nonblock, uptr_t user, uptr_t user_len, unsigned flags)
{
    struct sock_addr addr;
    if (!s->ops->accept)
        return -EOPNOTSUPP;
    int fd = fd_alloc(flags);
    if (fd < 0)
        return fd;
    struct socket *new = s->ops->accept(s, nonblock);
    if (IS_ERR(new)) {
        fd_cancel(fd);
        return PTR_ERR(new);
    }
    struct file *file = socket_file(new, flags);
    int err = IS_ERR(file) ? (int)PTR_ERR(file) : 0;
    if (!err && user) {
        int len = new->ops->getname(new, &addr, NAME_ACCEPTED);
        if (len < 0) {  // gone already
            addr.family = new->family;
            len = sizeof(addr.family);
        }
        err = sock_addr_to_user(&addr, (u32)len, user, user_len);
        if (err)
            file_put(file);
    }
    if (err) {
        fd_cancel(fd);
        return err;
    }
    fd_install(fd, file);
    return fd;
}

long sys_accept4(int fd, uptr_t user, uptr_t user_len, int flags)
{
    struct fd f = fd_get_quick(fd);
    if (!f.file)
        return -EBADF;
    struct socket *s = socket_of(f.file);
    long result;
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        result = -EINVAL;
    else if (!s)
        result = -ENOTSOCK;
    else
        result = accept_on(s, f.file->flags & O_NONBLOCK, user, user_len, (unsigned)flags);
    fd_put(f);
    return result;
}

long sys_accept(int fd, uptr_t user, uptr_t user_len) { return sys_accept4(fd, user, user_len, 0); }

long sys_connect(int fd, uptr_t user, int len)
{
    struct sock_addr addr;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int err = len < 0 ? -EINVAL : sock_addr_from_user(&addr, user, (u32)len);
    if (err >= 0) {
        if (len < (int)sizeof(addr.family))
            err = -EINVAL;
        else
            err = s->ops->connect ? s->ops->connect(s, &addr, (u32)len, f.file->flags & O_NONBLOCK)
                                  : -EOPNOTSUPP;
    }
    fd_put(f);
    return err;
}

static long get_name(int fd, uptr_t user, uptr_t user_len, enum socket_name which)
{
    struct sock_addr addr;
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int len = s->ops->getname(s, &addr, which);
    int err = len < 0 ? len : sock_addr_to_user(&addr, (u32)len, user, user_len);
    fd_put(f);
    return err;
}

long sys_getsockname(int fd, uptr_t user, uptr_t user_len)
{
    return get_name(fd, user, user_len, NAME_OWN);
}
long sys_getpeername(int fd, uptr_t user, uptr_t user_len)
{
    return get_name(fd, user, user_len, NAME_PEER);
}

long sys_shutdown(int fd, int how)
{
    struct fd f;
    struct socket *s = socket_from_fd(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int err = how < SHUT_RD || how > SHUT_RDWR ? -EINVAL
              : s->ops->shutdown               ? s->ops->shutdown(s, (u32)how + 1)
                                               : -EOPNOTSUPP;
    fd_put(f);
    return err;
}
