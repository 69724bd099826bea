// SPDX-License-Identifier: BSD-2-Clause
// socket.h: what a socket is, whatever its address family.
//
//   file ──data──> struct socket ──ops──> family (unix.c, tcp.c, udp.c, netlink.c)
//                     │  read_wait, write_wait: sleepers, pollers, epoll
//                     └─ the options of SOL_SOCKET
//
// The core (socket.c, message.c, sockopt.c) makes the calls out of system calls: descriptors, user memory, time-outs,
// generic options. A family implements struct socket_ops on kernel memory and never sees a descriptor.
//
// A socket is counted: one reference is the file's, others are the family's own. close() is called once, when the file goes;
// destroy() when nobody knows the socket any more.
#pragma once

#include "core/time.h"
#include "core/wait.h"
#include "fs/vfs.h"

enum {
    AF_UNSPEC = 0,
    AF_UNIX = 1,
    AF_INET = 2,
    AF_INET6 = 10,
    AF_NETLINK = 16,
    AF_PACKET = 17,
    AF_MAX = 46
};
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5, SOCK_MAX = 11 };
#define SOCK_TYPE_MASK 15

enum msg_flags {  // user ABI, send(2) and recv(2)
    MSG_OOB = 1,
    MSG_PEEK = 2,
    MSG_DONTROUTE = 4,
    MSG_CTRUNC = 8,
    MSG_TRUNC = 0x20,
    MSG_DONTWAIT = 0x40,
    MSG_EOR = 0x80,
    MSG_WAITALL = 0x100,
    MSG_CONFIRM = 0x800,
    MSG_ERRQUEUE = 0x2000,
    MSG_NOSIGNAL = 0x4000,
    MSG_MORE = 0x8000,
    MSG_WAITFORONE = 0x10000,
    MSG_ZEROCOPY = 0x4000000,
    MSG_FASTOPEN = 0x20000000,
    MSG_CMSG_CLOEXEC = 0x40000000,
};

enum { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 };
enum { SHUTDOWN_RCV = 1, SHUTDOWN_SND = 2, SHUTDOWN_BOTH = 3 };  // bits of socket->shutdown

enum { SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6, SOL_UDP = 17, SOL_IPV6 = 41 };
enum { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2 };

// Any address, as sockaddr_storage.
struct sock_addr {
    u16 family;
    u8 data[126];
};
_Static_assert(sizeof(struct sock_addr) == 128, "as struct sockaddr_storage");

struct cmsg_header {  // user ABI: struct cmsghdr
    u64 len;
    s32 level, type;
};
#define CMSG_ALIGN(len) ALIGN_UP((size_t)(len), sizeof(u64))

// One message on its way in or out.
struct message {
    struct uio *uio;
    struct sock_addr *
        addr;  // sending: where to, NULL for none; receiving: where it came from goes here, or NULL
    u32 addr_len;
    u32 flags;      // MSG_* that the caller gave, MSG_DONTWAIT for O_NONBLOCK too
    u32 out_flags;  // MSG_* to tell the receiver
    u8 *control;    // sending: a copy of the control data
    size_t control_len;
    uptr_t user_control;  // receiving: where control data goes
    size_t control_room;  // bytes left there
    size_t control_used;
};
// The next control message that is whole. at: 0 at first. => NULL at the end; *bad: one does not fit its buffer
struct cmsg_header *message_next_control(const struct message *m, size_t *at, bool *bad);
// Gives the receiver one; what does not fit is cut (MSG_CTRUNC).
void message_put_control(struct message *m, int level, int type, const void *data, size_t len);

struct socket;

// NAME_ACCEPTED: the peer's, of a connection just accepted, even if it has ended meanwhile.
enum socket_name { NAME_OWN, NAME_PEER, NAME_ACCEPTED };

struct socket_ops {
    int (*bind)(struct socket *s, const struct sock_addr *addr, u32 len);
    int (*listen)(struct socket *s, int backlog);
    // Waits for a connection unless nonblock. => a socket with one reference
    struct socket *(*accept)(struct socket *s, bool nonblock);
    int (*connect)(struct socket *s, const struct sock_addr *addr, u32 len, bool nonblock);
    // => length of the address put into *addr, or -ENOTCONN
    int (*getname)(struct socket *s, struct sock_addr *addr, enum socket_name which);
    int (*shutdown)(struct socket *s, u32 bits);  // SHUTDOWN_*
    ssize_t (*send)(struct socket *s, struct message *m);
    ssize_t (*receive)(struct socket *s, struct message *m);
    u32 (*poll)(struct socket *s);  // POLL* bits now
    long (*ioctl)(struct socket *s, unsigned cmd, uptr_t arg);
    // Options of other levels than SOL_SOCKET, and those of SOL_SOCKET that the core does not know.
    int (*set_option)(struct socket *s, int level, int name, const void *value, u32 len);
    int (*get_option)(struct socket *s, int level, int name, void *value, u32 *len);
    // An option of SOL_SOCKET has been changed. May be NULL.
    void (*option_changed)(struct socket *s);
    void (*close)(struct socket *s);    // the file is gone
    void (*destroy)(struct socket *s);  // frees it
};

struct socket {
    u32 refcount;  // atomic
    u16 family;
    u8 type;      // SOCK_*
    u8 shutdown;  // atomic: SHUTDOWN_*
    u16 protocol;
    bool listening;  // SO_ACCEPTCONN
    s32 error;       // atomic: a pending error, positive; reported once
    const struct socket_ops *ops;
    struct wait_queue read_wait, write_wait;
    struct async_queue async;
    // SOL_SOCKET
    u64 receive_timeout_ns, send_timeout_ns;  // NEVER: none
    u32 receive_buffer, send_buffer;          // bytes, as getsockopt tells them
    u32 receive_low;                          // SO_RCVLOWAT
    s32 linger_s;                             // -1: SO_LINGER is off
    // oob_inline, priority and mark have no effect: urgent bytes are always in line, and there are neither queues nor routes by mark.
    bool reuse_addr, reuse_port, keep_alive, broadcast, pass_cred, oob_inline;
    s32 priority;
    u32 mark;
    struct list all_link;  // in the list of all sockets
    u64 ino;               // its file's, 0: it has none
    s32 own_pid;           // who made it: SO_PEERCRED of the other end
    u32 own_uid, own_gid;
};

#define SOCKET_BUFFER_DEFAULT 212992u  // net.core.rmem_default
#define SOCKET_BUFFER_MAX 212992u      // net.core.rmem_max; set values are doubled, as on Linux
#define SOMAXCONN_DEFAULT 4096
#define SOCKET_CONTROL_MAX 20480  // net.core.optmem_max

// A family says which sockets it makes. => a socket with one reference, or ERR_PTR(-ESOCKTNOSUPPORT, -EPROTONOSUPPORT, ...)
struct net_family {
    u16 family;
    struct socket *(*create)(int type, int protocol);
    // Connects two new sockets. NULL: -EOPNOTSUPP
    int (*pair)(struct socket *a, struct socket *b);
};
// The table is made at link time: each family puts a pointer there.
#define NET_FAMILY(f)                                        \
    static const struct net_family *const f##_entry __unused \
        __attribute__((used, section(".net_families"))) = &(f)

void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type,
                 int protocol);
static inline void socket_get(struct socket *s) { atomic_add(&s->refcount, 1); }
void socket_gone(struct socket *s);  // the last reference is
static inline void socket_put(struct socket *s)
{
    if (atomic_sub(&s->refcount, 1) == 0)
        socket_gone(s);
}
// References to all sockets of a family and type (0: any), for tables. => an array to be freed, NULL: no memory
struct socket **socket_gather(u16 family, u8 type, u32 *n);
void socket_gather_free(struct socket **list, u32 n);
u32 socket_count(u16 family, u8 type);  // of those that have a file
extern const struct file_ops socket_file_ops;
static inline struct socket *socket_of(const struct file *f)  // NULL: not a socket
{
    return f->ops == &socket_file_ops ? f->data : NULL;
}

// A pending error, taken. => 0 or a negative errno
static inline int socket_take_error(struct socket *s)
{
    return likely(!atomic_load_relaxed(&s->error)) ? 0 : -atomic_xchg(&s->error, 0);
}
static inline bool socket_may(const struct socket *s, u32 bit)  // not shut down for it
{
    return !(atomic_load(&s->shutdown) & bit);
}

// Events of wait_wake that hand a wake-up on to another sleeper: no news for pollers, whose edges it must not make.
#define SOCKET_HAND_ON POLLNVAL

// The state has changed. => any context; events are POLL* bits
void socket_wake(struct socket *s, struct wait_queue *q, u32 events);
static inline void socket_wake_readers(struct socket *s)
{
    if (wait_has_waiters(&s->read_wait) || unlikely(!list_empty(&s->async.files)))
        socket_wake(s, &s->read_wait, POLLIN | POLLRDNORM);
}
static inline void socket_wake_writers(struct socket *s)
{
    if (wait_has_waiters(&s->write_wait) || unlikely(!list_empty(&s->async.files)))
        socket_wake(s, &s->write_wait, POLLOUT | POLLWRNORM | POLLWRBAND);
}
void socket_wake_all(struct socket *s);  // a hang-up, an error

// Waits until ready(arg); the deadline is computed once from a time-out by socket_deadline().
// => 0, -EAGAIN (time is up), -ERESTARTSYS or -EINTR (a signal; -EINTR when there is a time-out: signal(7))
int socket_wait(struct wait_queue *q, bool (*ready)(void *arg), void *arg, u64 deadline_ns);
u64 socket_deadline(u64 timeout_ns);

// Copies an address in or out of user memory. In: => length or -EINVAL, -EFAULT
int sock_addr_from_user(struct sock_addr *addr, uptr_t user, u32 len);
int sock_addr_to_user(const struct sock_addr *addr, u32 len, uptr_t user, uptr_t user_len);

ssize_t socket_send(struct socket *s, struct message *m);  // with SIGPIPE
// The socket of a descriptor. => ERR_PTR(-EBADF, -ENOTSOCK)
struct socket *socket_from_fd(int fd, struct fd *f);
