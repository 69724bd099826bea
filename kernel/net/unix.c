// SPDX-License-Identifier: BSD-2-Clause
// unix.c: AF_UNIX sockets (unix(7)): connecting, accepting, ending.
//
//   stream, seqpacket      A.peer ──> B, B.peer ──> A; what A sends is in B.queue
//   datagram               A.peer ──> B (where to send by default); anybody sends into B.queue
//   listener               L.queue holds the accepting ends, already connected to their clients
//
// A queue is a list of packets, one for each write or piece of a large one. Readers go one at a time (read_mutex), so that
// bytes are copied to user memory without a spinlock: only the holder of read_mutex removes from the queue.
//
// Invariants
//   I1  A connected stream's peer does not change until its own close; a closed socket's state is UNIX_CLOSED and its queue
//       takes nothing more.
//   I2  peer and waits_for hold references, and both are dropped at close: two ends do not keep each other.
//   I3  queued_size is the sum of the sizes of the packets in the queue. A stream's sender stops at its send_buffer, a
//       datagram's at UNIX_DGRAM_QUEUE packets: memory is bounded by the number of sockets.
//
//   I4  A stream that is fresh becomes connected or a listener once: state_lock decides between threads that try both, or two peers.
//
// Locks: read_mutex or write_mutex -> names_lock (mutex) -> lock of one socket, or of a listener and then of the new end -> state_lock.
// Two sockets' locks are otherwise never held together, except by unix_pair on sockets that nobody else knows.
#include "net/unix_internal.h"

#include <string.h>

#include "net/interface.h"

#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411

enum { SO_PASSCRED = 16, SO_PEERCRED = 17, SO_PEERSEC = 31 };

static struct spinlock state_lock;

static struct unix_sock *unix_new(int type)
{
    struct unix_sock *u = kzalloc(sizeof(*u));
    if (!u)
        return NULL;
    socket_init(&u->s, &unix_ops, AF_UNIX, type, 0);
    list_init(&u->queue);
    list_init(&u->accept_link);
    list_init(&u->name_link);
    list_init(&u->room_waiters);
    list_init(&u->room_link);
    list_init(&u->flight_link);
    mutex_init(&u->read_mutex);
    mutex_init(&u->write_mutex);
    return u;
}

static struct socket *unix_create(int type, int protocol)
{
    if (protocol && protocol != AF_UNIX)
        return ERR_PTR(-EPROTONOSUPPORT);
    if (type == SOCK_RAW)
        type = SOCK_DGRAM;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    struct unix_sock *u = unix_new(type);
    return u ? &u->s : ERR_PTR(-ENOMEM);
}

static struct unix_cred cred_of(const struct socket *s)
{
    return (struct unix_cred){s->own_pid, s->own_uid, s->own_gid};
}

static void link_pair(struct unix_sock *a, struct unix_sock *b)
{
    socket_get(&a->s);
    socket_get(&b->s);
    a->peer = b;
    b->peer = a;
    a->state = b->state = UNIX_CONNECTED;
    a->peer_cred = cred_of(&b->s);
    b->peer_cred = cred_of(&a->s);
}

static int unix_pair(struct socket *a, struct socket *b)
{
    link_pair(unix_of(a), unix_of(b));
    return 0;
}

// ---- listen, accept

static int unix_listen(struct socket *s, int backlog)
{
    struct unix_sock *u = unix_of(s);
    const struct process *p = current->process;
    if (s->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    struct unix_addr *a = unix_addr_of(u);
    if (!a)
        return -EINVAL;
    unix_addr_put(a);
    int err = 0;
    spin_lock(&u->lock);
    spin_lock(&state_lock);
    if (u->state == UNIX_FRESH || u->state == UNIX_LISTENING) {
        u->state = UNIX_LISTENING;
        s->listening = true;
        u->backlog = (u32)backlog;
        s->own_pid = p->pid;
        s->own_uid = p->euid;
        s->own_gid = p->egid;
    } else {
        err = -EINVAL;
    }
    spin_unlock(&state_lock);
    spin_unlock(&u->lock);
    if (!err)
        unix_wake_senders(u);
    return err;
}

static bool acceptable(void *arg)
{
    struct unix_sock *u = arg;
    return !list_empty(&u->queue) || !socket_may(&u->s, SHUTDOWN_RCV);
}

static struct socket *unix_accept(struct socket *s, bool nonblock)
{
    struct unix_sock *u = unix_of(s);
    u64 deadline_ns = socket_deadline(s->receive_timeout_ns);
    if (s->type == SOCK_DGRAM)
        return ERR_PTR(-EOPNOTSUPP);
    for (;;) {
        spin_lock(&u->lock);
        bool listening = u->state == UNIX_LISTENING;
        struct list *first = listening ? list_pop_front(&u->queue) : NULL;
        if (first)
            u->n_queued--;
        spin_unlock(&u->lock);
        if (first) {
            unix_wake_senders(u);
            struct unix_sock *new = list_entry(first, struct unix_sock, accept_link);
            list_init(&new->accept_link);
            return &new->s;
        }
        if (!listening || !socket_may(s, SHUTDOWN_RCV))
            return ERR_PTR(-EINVAL);
        int err = nonblock ? -EAGAIN : socket_wait(&s->read_wait, acceptable, u, deadline_ns);
        if (err)
            return ERR_PTR(err);
    }
}

// ---- connect

static bool backlog_has_room(void *arg)
{
    struct unix_sock *l = arg;
    return l->state != UNIX_LISTENING || l->n_queued <= l->backlog;
}

// Puts the accepting end into the listener's queue. => 0, -EAGAIN (full), -ECONNREFUSED, -EISCONN, -EINVAL
static int queue_connection(struct unix_sock *u, struct unix_sock *listener, struct unix_sock *end)
{
    int err = 0;
    spin_lock(&listener->lock);
    spin_lock(&state_lock);
    if (listener->state != UNIX_LISTENING || !socket_may(&listener->s, SHUTDOWN_RCV))
        err = -ECONNREFUSED;
    else if (listener->n_queued > listener->backlog)
        err = -EAGAIN;
    else if (u->state != UNIX_FRESH)
        err = u->state == UNIX_CONNECTED ? -EISCONN : -EINVAL;
    if (!err) {
        end->s.own_pid = listener->s.own_pid;
        end->s.own_uid = listener->s.own_uid;
        end->s.own_gid = listener->s.own_gid;
        link_pair(u, end);
        list_push_back(&listener->queue, &end->accept_link);
        listener->n_queued++;
    }
    spin_unlock(&state_lock);
    spin_unlock(&listener->lock);
    return err;
}

static int connect_stream(struct unix_sock *u, const struct sock_addr *addr, u32 len, bool nonblock)
{
    u64 deadline_ns = socket_deadline(u->s.send_timeout_ns);
    const struct process *p = current->process;
    struct unix_sock *end = unix_new(u->s.type);
    if (!end)
        return -ENOMEM;
    int err;
    u->s.own_pid = p->pid;
    u->s.own_uid = p->euid;
    u->s.own_gid = p->egid;
    for (;;) {
        struct unix_sock *listener = unix_find(addr, len, u->s.type);
        if (IS_ERR(listener)) {
            err = (int)PTR_ERR(listener);
            break;
        }
        end->addr = unix_addr_of(listener);
        end->s.pass_cred = listener->s.pass_cred;
        err = queue_connection(u, listener, end);
        if (err == -EAGAIN && !nonblock) {
            // The listener wakes its senders when one has been accepted.
            err = socket_wait(&listener->s.write_wait, backlog_has_room, listener, deadline_ns);
            if (!err)
                err = -EAGAIN;
            else
                nonblock = true;
        }
        if (!err)
            socket_wake_readers(&listener->s);
        socket_put(&listener->s);
        if (err != -EAGAIN || nonblock)
            break;
        unix_addr_put(end->addr);
        end->addr = NULL;
    }
    if (err)
        socket_put(&end->s);
    return err;
}

// From now on datagrams go to this peer (referenced, taken over), or to none.
static void set_dgram_peer(struct unix_sock *u, struct unix_sock *peer)
{
    unix_stop_waiting(u);
    spin_lock(&u->lock);
    struct unix_sock *old = u->peer;
    u->peer = peer;
    u->state = peer ? UNIX_CONNECTED : UNIX_FRESH;
    if (peer)
        u->peer_cred = cred_of(&peer->s);
    spin_unlock(&u->lock);
    if (old)
        socket_put(&old->s);
}

static int connect_dgram(struct unix_sock *u, const struct sock_addr *addr, u32 len)
{
    int err = u->s.pass_cred ? unix_autobind(u) : 0;
    if (err)
        return err;
    struct unix_sock *peer = unix_find(addr, len, SOCK_DGRAM);
    if (IS_ERR(peer))
        return (int)PTR_ERR(peer);
    struct unix_sock *his = READ_ONCE(peer->peer);
    if (his && his != u) {
        socket_put(&peer->s);
        return -EPERM;
    }
    set_dgram_peer(u, peer);
    return 0;
}

static int unix_connect(struct socket *s, const struct sock_addr *addr, u32 len, bool nonblock)
{
    struct unix_sock *u = unix_of(s);
    if (s->type == SOCK_DGRAM) {
        if (addr->family == AF_UNSPEC) {
            set_dgram_peer(u, NULL);
            return 0;
        }
        return connect_dgram(u, addr, len);
    }
    if (addr->family != AF_UNIX)
        return -EINVAL;
    if (s->pass_cred) {
        int err = unix_autobind(u);
        if (err)
            return err;
    }
    return connect_stream(u, addr, len, nonblock);
}

// ---- the end

// What is still in the queue of a socket that is going away.
static bool drain(struct unix_sock *u, bool was_listening)
{
    struct list gone = LIST_INIT(gone);
    spin_lock(&u->lock);
    bool unread = !list_empty(&u->queue);
    list_splice_back(&gone, &u->queue);
    u->n_queued = u->queued_size = u->queued_bytes = 0;
    spin_unlock(&u->lock);
    struct list *at;
    while ((at = list_pop_front(&gone))) {
        if (was_listening) {
            struct unix_sock *end = list_entry(at, struct unix_sock, accept_link);
            list_init(&end->accept_link);
            atomic_store(&end->s.error, ECONNRESET);  // tells unix_close that it was never accepted
            end->s.ops->close(&end->s);
            socket_put(&end->s);
        } else {
            unix_packet_free(list_entry(at, struct unix_packet, link));
        }
    }
    return unread;
}

static void unix_close(struct socket *s)
{
    struct unix_sock *u = unix_of(s);
    unix_unbind(u);
    unix_stop_waiting(u);
    spin_lock(&u->lock);
    struct unix_sock *peer = u->peer;
    bool was_listening = u->state == UNIX_LISTENING;
    u->state = UNIX_CLOSED;
    u->peer = NULL;
    atomic_store(&s->shutdown, SHUTDOWN_BOTH);
    spin_unlock(&u->lock);
    bool unread = drain(u, was_listening) || atomic_load(&s->error) == ECONNRESET;
    if (peer) {
        if (s->type != SOCK_DGRAM) {
            atomic_fetch_or(&peer->s.shutdown, SHUTDOWN_BOTH);
            if (unread)
                atomic_store(&peer->s.error, ECONNRESET);
            socket_wake_all(&peer->s);
        }
        socket_put(&peer->s);
    }
    unix_wake_senders(u);
    unix_collect();
}

static void unix_destroy(struct socket *s)
{
    struct unix_sock *u = unix_of(s);
    if (u->addr)
        unix_addr_put(u->addr);
    kfree(u);
}

static int unix_shutdown(struct socket *s, u32 bits)
{
    struct unix_sock *u = unix_of(s);
    atomic_fetch_or(&s->shutdown, bits);
    spin_lock(&u->lock);
    struct unix_sock *peer = s->type == SOCK_DGRAM ? NULL : u->peer;
    spin_unlock(&u->lock);
    if (peer) {  // fixed: its reference stays with u
        u32 his =
            (bits & SHUTDOWN_RCV ? SHUTDOWN_SND : 0) | (bits & SHUTDOWN_SND ? SHUTDOWN_RCV : 0);
        atomic_fetch_or(&peer->s.shutdown, his);
        socket_wake_all(&peer->s);
    }
    socket_wake_all(s);
    return 0;
}

// ---- questions

static u32 unix_poll(struct socket *s)
{
    struct unix_sock *u = unix_of(s);
    u32 events = 0, shutdown = atomic_load(&s->shutdown);
    if (atomic_load(&s->error))
        events |= POLLERR;
    if (shutdown == SHUTDOWN_BOTH)
        events |= POLLHUP;
    if (shutdown & SHUTDOWN_RCV)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (!list_empty(&u->queue))
        events |= POLLIN | POLLRDNORM;
    if (u->state == UNIX_FRESH && s->type != SOCK_DGRAM)
        events |= POLLHUP;
    if (unix_writable(u))
        events |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return events;
}

static int unix_getname(struct socket *s, struct sock_addr *addr, enum socket_name which)
{
    struct unix_sock *u = unix_of(s);
    if (which != NAME_OWN) {
        spin_lock(&u->lock);
        u = u->peer;
        if (u)
            socket_get(&u->s);
        spin_unlock(&unix_of(s)->lock);
        if (!u)
            return -ENOTCONN;
    }
    struct unix_addr *a = unix_addr_of(u);
    int len = sizeof(addr->family);
    addr->family = AF_UNIX;
    if (a) {
        len = (int)a->len;
        memcpy(addr, &a->name, a->len);
        unix_addr_put(a);
    }
    if (which != NAME_OWN)
        socket_put(&u->s);
    return len;
}

static long unix_ioctl(struct socket *s, unsigned cmd, uptr_t arg)
{
    struct unix_sock *u = unix_of(s);
    u32 bytes = 0;
    if (cmd != SIOCINQ && cmd != SIOCOUTQ)
        return interface_ioctl(cmd, arg);
    if (u->state == UNIX_LISTENING)
        return -EINVAL;
    spin_lock(&u->lock);
    struct unix_sock *peer = u->peer;
    if (cmd == SIOCINQ && !unix_is_packet(u))
        bytes = u->queued_bytes;
    else if (cmd == SIOCINQ && !list_empty(&u->queue))
        bytes = list_first(&u->queue, struct unix_packet, link)->len;
    else if (cmd == SIOCOUTQ && peer)
        bytes = peer->queued_size;
    spin_unlock(&u->lock);
    return put_user_u32(arg, bytes) ? -EFAULT : 0;
}

static int unix_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    s32 on;
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (name != SO_PASSCRED)
        return -ENOPROTOOPT;
    if (len < sizeof(on))
        return -EINVAL;
    memcpy(&on, value, sizeof(on));
    s->pass_cred = on != 0;
    return 0;
}

static int unix_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    struct unix_sock *u = unix_of(s);
    if (level != SOL_SOCKET)
        return -EOPNOTSUPP;
    if (name == SO_PASSCRED) {
        s32 on = s->pass_cred;
        memcpy(value, &on, sizeof(on));
        *len = MIN(*len, (u32)sizeof(on));
        return 0;
    }
    if (name != SO_PEERCRED)
        return -ENOPROTOOPT;
    struct unix_cred cred = {0, UINT32_MAX, UINT32_MAX};
    if (u->state == UNIX_CONNECTED)
        cred = u->peer_cred;
    else if (u->state == UNIX_LISTENING)
        cred = cred_of(s);
    memcpy(value, &cred, sizeof(cred));
    *len = MIN(*len, (u32)sizeof(cred));
    return 0;
}

const struct socket_ops unix_ops = {
    .bind = unix_bind,
    .listen = unix_listen,
    .accept = unix_accept,
    .connect = unix_connect,
    .getname = unix_getname,
    .shutdown = unix_shutdown,
    .send = unix_send,
    .receive = unix_receive,
    .poll = unix_poll,
    .ioctl = unix_ioctl,
    .set_option = unix_set_option,
    .get_option = unix_get_option,
    .close = unix_close,
    .destroy = unix_destroy,
};

static const struct net_family unix_family = {
    .family = AF_UNIX, .create = unix_create, .pair = unix_pair};
NET_FAMILY(unix_family);
