// SPDX-License-Identifier: BSD-2-Clause
// unix_data.c: sending and receiving on AF_UNIX sockets.
#include "net/unix_internal.h"

#include <string.h>

// A large write of a stream goes in pieces: each with its header takes whole frames, eight of them at most.
#define PIECE_MAX ((u32)(8 * PAGE_SIZE - sizeof(struct unix_packet)))
#define SEND_FLAGS_REFUSED (MSG_OOB | MSG_FASTOPEN | MSG_ZEROCOPY)

static struct spinlock room_lock;

// ---- packets

void unix_packet_free(struct unix_packet *p)
{
    if (unlikely(p->fds != NULL))
        unix_fds_drop(p->fds);
    if (unlikely(p->from != NULL))
        unix_addr_put(p->from);
    kfree(p);
}

// len bytes of the message in a packet. => ERR_PTR(-ENOBUFS, -EFAULT)
static struct unix_packet *packet_new(struct message *m, u32 len)
{
    struct unix_packet *p = kmalloc(sizeof(*p) + len);
    if (!p)
        return ERR_PTR(-ENOBUFS);
    p->len = len;
    p->taken = 0;
    p->size = len + (u32)sizeof(*p);
    p->has_cred = false;
    p->fds = NULL;
    p->from = NULL;
    if (len && uio_copy_from(m->uio, p->data, len) != (ssize_t)len) {
        kfree(p);
        return ERR_PTR(-EFAULT);
    }
    return p;
}

// The last steps of a send. => 0, -EPIPE (a stream's end), -ECONNREFUSED (gone), -EAGAIN (a datagram queue is full)
static int push(struct unix_sock *to, struct unix_packet *p, bool dgram)
{
    int err = 0;
    spin_lock(&to->lock);
    if (unlikely(to->state == UNIX_CLOSED)) {
        err = dgram ? -ECONNREFUSED : -EPIPE;
    } else if (unlikely(!socket_may(&to->s, SHUTDOWN_RCV))) {
        err = -EPIPE;
    } else if (unlikely(dgram && to->n_queued > UNIX_DGRAM_QUEUE)) {
        err = -EAGAIN;
    } else {
        list_push_back(&to->queue, &p->link);
        to->n_queued++;
        to->queued_size += p->size;
        to->queued_bytes += p->len;
    }
    spin_unlock(&to->lock);
    if (likely(!err))
        socket_wake_readers(&to->s);
    return err;
}

// ---- who waits for room

void unix_stop_waiting(struct unix_sock *u)
{
    spin_lock(&room_lock);
    struct unix_sock *old = u->waits_for;
    if (old)
        list_remove_init(&u->room_link);
    u->waits_for = NULL;
    spin_unlock(&room_lock);
    if (old)
        socket_put(&old->s);
}

// From now on u is told when the queue of to has room.
static void wait_for_room(struct unix_sock *u, struct unix_sock *to)
{
    struct unix_sock *old = NULL;
    spin_lock(&room_lock);
    if (u->waits_for != to) {
        old = u->waits_for;
        if (old)
            list_remove(&u->room_link);
        socket_get(&to->s);
        u->waits_for = to;
        list_push_back(&to->room_waiters, &u->room_link);
    }
    spin_unlock(&room_lock);
    if (old)
        socket_put(&old->s);
}

void unix_wake_senders(struct unix_sock *u)
{
    if (wait_has_waiters(&u->s.write_wait) && u->s.listening)
        wait_wake(&u->s.write_wait, INT32_MAX, POLLOUT);
    for (;;) {
        atomic_fence();
        if (likely(list_empty(&u->room_waiters)))
            return;
        spin_lock(&room_lock);
        struct list *first = list_pop_front(&u->room_waiters);
        struct unix_sock *waiter = first ? list_entry(first, struct unix_sock, room_link) : NULL;
        if (waiter) {
            list_init(&waiter->room_link);
            waiter->waits_for = NULL;
            socket_get(&waiter->s);
        }
        spin_unlock(&room_lock);
        if (!waiter)
            return;
        socket_wake_writers(&waiter->s);
        socket_put(&waiter->s);
        socket_put(&u->s);  // the reference that waits_for was
    }
}

static bool dgram_full(const struct unix_sock *to)
{
    return atomic_load(&to->n_queued) > UNIX_DGRAM_QUEUE && to->state != UNIX_CLOSED;
}

static bool stream_full(const struct unix_sock *u, const struct unix_sock *peer)
{
    return atomic_load(&peer->queued_size) >= u->s.send_buffer;
}

bool unix_writable(struct unix_sock *u)
{
    bool yes = true;
    spin_lock(&u->lock);
    struct unix_sock *peer = u->peer;
    if (peer)
        socket_get(&peer->s);
    spin_unlock(&u->lock);
    if (!peer)
        return u->state != UNIX_LISTENING;
    if (u->s.type != SOCK_DGRAM) {
        yes = atomic_load(&peer->queued_size) * 4ull <= u->s.send_buffer;
    } else if (READ_ONCE(peer->peer) != u && dgram_full(peer)) {
        wait_for_room(u, peer);
        atomic_fence();
        yes = !dgram_full(peer);
    }
    socket_put(&peer->s);
    return yes;
}

// ---- streams and sequenced packets: the peer is fixed

struct stream_writer {
    struct unix_sock *u, *peer;
};

static bool stream_room(void *arg)
{
    struct stream_writer *w = arg;
    return !stream_full(w->u, w->peer) || !socket_may(&w->u->s, SHUTDOWN_SND) ||
           !socket_may(&w->peer->s, SHUTDOWN_RCV) || atomic_load(&w->u->s.error);
}

// Sends one piece, waiting for room. => 0, -errno
static int send_piece(struct stream_writer *w, struct message *m, u32 len, struct unix_fds **fds,
                      const struct unix_cred *cred, bool has_cred, u64 deadline_ns)
{
    struct unix_sock *u = w->u;
    while (unlikely(stream_full(u, w->peer))) {
        if (!socket_may(&u->s, SHUTDOWN_SND) || !socket_may(&w->peer->s, SHUTDOWN_RCV))
            return -EPIPE;
        int err = m->flags & MSG_DONTWAIT
                      ? -EAGAIN
                      : socket_wait(&u->s.write_wait, stream_room, w, deadline_ns);
        if (!err)
            err = socket_take_error(&u->s);
        if (err)
            return err;
    }
    if (unlikely(!socket_may(&u->s, SHUTDOWN_SND)))
        return -EPIPE;
    struct unix_packet *p = packet_new(m, len);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    if (unlikely(has_cred || u->s.pass_cred || w->peer->s.pass_cred)) {
        p->cred = *cred;
        p->has_cred = true;
    }
    p->fds = *fds;
    *fds = NULL;
    int err = push(w->peer, p, false);
    if (err)
        unix_packet_free(p);
    return err;
}

static ssize_t send_connected(struct unix_sock *u, struct message *m, struct unix_fds **fds,
                              const struct unix_cred *cred, bool has_cred)
{
    struct stream_writer w = {u, u->peer};
    u64 deadline_ns = socket_deadline(u->s.send_timeout_ns);
    size_t total = uio_remaining(m->uio), done = 0;
    bool packet = unix_is_packet(u);
    if (u->state != UNIX_CONNECTED || !w.peer)
        return socket_may(&u->s, SHUTDOWN_SND) ? -ENOTCONN : -EPIPE;
    if (m->addr && m->addr_len && !packet)
        return -EISCONN;
    int err = socket_take_error(&u->s);
    if (err)
        return err;
    if (packet) {
        if (total > u->s.send_buffer - 32)
            return -EMSGSIZE;
        err = send_piece(&w, m, (u32)total, fds, cred, has_cred, deadline_ns);
        return err ? err : (ssize_t)total;
    }
    if (total == 0)
        return socket_may(&u->s, SHUTDOWN_SND) ? 0 : -EPIPE;
    bool large =
        total >
        PIECE_MAX;  // pieces of two writers must not mix more than they do on Linux: not at all here
    if (large)
        mutex_lock(&u->write_mutex);
    while (!err && done < total) {
        u32 len = (u32)MIN(total - done, (size_t)PIECE_MAX);
        err = send_piece(&w, m, len, fds, cred, has_cred, deadline_ns);
        if (!err)
            done += len;
        if (large)
            sched_point();
    }
    if (large)
        mutex_unlock(&u->write_mutex);
    return done ? (ssize_t)done : err;
}

// ---- datagrams

// Where a datagram goes, referenced.
static struct unix_sock *dgram_target(struct unix_sock *u, const struct message *m)
{
    if (m->addr && m->addr_len)
        return unix_find(m->addr, m->addr_len, SOCK_DGRAM);
    spin_lock(&u->lock);
    struct unix_sock *to = u->peer;
    if (to)
        socket_get(&to->s);
    spin_unlock(&u->lock);
    return to ? to : ERR_PTR(-ENOTCONN);
}

struct dgram_writer {
    struct unix_sock *u, *to;
};

static bool dgram_room(void *arg)
{
    struct dgram_writer *w = arg;
    if (!dgram_full(w->to) || !socket_may(&w->u->s, SHUTDOWN_SND))
        return true;
    wait_for_room(w->u, w->to);
    atomic_fence();
    return !dgram_full(w->to);
}

// The connected peer is gone: the next datagram finds no peer.
static void forget_peer(struct unix_sock *u, struct unix_sock *to)
{
    spin_lock(&u->lock);
    bool was = u->peer == to;
    if (was) {
        u->peer = NULL;
        u->state = UNIX_FRESH;
    }
    spin_unlock(&u->lock);
    if (was)
        socket_put(&to->s);
}

static int push_datagram(struct unix_sock *u, struct unix_sock *to, struct unix_packet *p,
                         u32 flags)
{
    struct dgram_writer w = {u, to};
    u64 deadline_ns = socket_deadline(u->s.send_timeout_ns);
    struct unix_sock *his = READ_ONCE(to->peer);
    if (his && his != u)
        return -EPERM;
    for (;;) {
        int err = push(to, p, true);
        if (err == -ECONNREFUSED)
            forget_peer(u, to);
        if (err != -EAGAIN || (flags & MSG_DONTWAIT))
            return err;
        err = socket_wait(&u->s.write_wait, dgram_room, &w, deadline_ns);
        if (!err && !socket_may(&u->s, SHUTDOWN_SND))
            err = -EPIPE;
        if (err)
            return err;
    }
}

static ssize_t send_datagram(struct unix_sock *u, struct message *m, struct unix_fds **fds,
                             const struct unix_cred *cred, bool has_cred)
{
    size_t len = uio_remaining(m->uio);
    int err = socket_take_error(&u->s);
    if (!err && u->s.pass_cred)
        err = unix_autobind(u);
    if (err)
        return err;
    if (len > u->s.send_buffer - 32)
        return -EMSGSIZE;
    if (!socket_may(&u->s, SHUTDOWN_SND))
        return -EPIPE;
    struct unix_sock *to = dgram_target(u, m);
    if (IS_ERR(to))
        return PTR_ERR(to);
    struct unix_packet *p = packet_new(m, (u32)len);
    err = IS_ERR(p) ? (int)PTR_ERR(p) : 0;
    if (!err) {
        p->from = unix_addr_of(u);
        p->fds = *fds;
        *fds = NULL;
        if (has_cred || u->s.pass_cred || to->s.pass_cred) {
            p->cred = *cred;
            p->has_cred = true;
        }
        err = push_datagram(u, to, p, m->flags);
        if (err)
            unix_packet_free(p);
    }
    socket_put(&to->s);
    return err ? err : (ssize_t)len;
}

ssize_t unix_send(struct socket *s, struct message *m)
{
    struct unix_sock *u = unix_of(s);
    struct unix_fds *fds = NULL;
    struct unix_cred cred;
    bool has_cred = false;
    if (m->flags & SEND_FLAGS_REFUSED)
        return -EOPNOTSUPP;
    // Only a stream's peer stays.
    if (unlikely(m->control_len || s->pass_cred || s->type == SOCK_DGRAM ||
                 (u->peer && u->peer->s.pass_cred))) {
        int err = unix_scm_load(m, &fds, &cred, &has_cred);
        if (err)
            return err;
    }
    ssize_t n = s->type == SOCK_DGRAM ? send_datagram(u, m, &fds, &cred, has_cred)
                                      : send_connected(u, m, &fds, &cred, has_cred);
    if (fds)
        unix_fds_drop(fds);
    return n;
}

// ---- receiving

static bool readable(void *arg)
{
    struct unix_sock *u = arg;
    return !list_empty(&u->queue) || !socket_may(&u->s, SHUTDOWN_RCV) || atomic_load(&u->s.error);
}

// The packet behind `at` (NULL: the first). => Only the holder of read_mutex may use it.
static struct unix_packet *next_packet(struct unix_sock *u, struct unix_packet *at)
{
    spin_lock(&u->lock);
    struct list *next = at ? at->link.next : u->queue.next;
    struct unix_packet *p = next == &u->queue ? NULL : list_entry(next, struct unix_packet, link);
    spin_unlock(&u->lock);
    return p;
}

static void remove_packet(struct unix_sock *u, struct unix_packet *p)
{
    spin_lock(&u->lock);
    if (likely(u->n_queued)) {  // not drained by a shutdown meanwhile
        list_remove(&p->link);
        u->n_queued--;
        u->queued_size -= p->size;
        u->queued_bytes -= p->len - p->taken;
    }
    spin_unlock(&u->lock);
}

// After the queue of u has become shorter: the stream's other end, or those who wait for room.
static void tell_senders(struct unix_sock *u)
{
    if (u->s.type == SOCK_DGRAM) {
        if (u->n_queued == UNIX_DGRAM_QUEUE || !list_empty(&u->room_waiters))
            unix_wake_senders(u);
        return;
    }
    struct unix_sock *peer = u->peer;
    if (peer && wait_has_waiters(&peer->s.write_wait) &&
        atomic_load(&u->queued_size) * 4ull <= peer->s.send_buffer)
        socket_wake_writers(&peer->s);
}

// Waits for the first packet with read_mutex held, giving it up meanwhile.
// => the packet, NULL (end of the stream), ERR_PTR
static struct unix_packet *first_packet(struct unix_sock *u, u32 flags, u64 deadline_ns)
{
    for (;;) {
        struct unix_packet *p = next_packet(u, NULL);
        if (likely(p != NULL))
            return p;
        int err = socket_take_error(&u->s);
        if (err)
            return ERR_PTR(err);
        if (!socket_may(&u->s, SHUTDOWN_RCV))
            return NULL;
        if (u->state != UNIX_CONNECTED && u->s.type != SOCK_DGRAM)
            return ERR_PTR(u->s.type == SOCK_STREAM ? -EINVAL : -ENOTCONN);
        if (flags & MSG_DONTWAIT)
            return ERR_PTR(-EAGAIN);
        mutex_unlock_quick(&u->read_mutex);
        err = socket_wait(&u->s.read_wait, readable, u, deadline_ns);
        mutex_lock_quick(&u->read_mutex);
        if (err)
            return ERR_PTR(err);
    }
}

static void give_cred(const struct unix_sock *u, struct message *m, const struct unix_packet *p)
{
    static const struct unix_cred unknown = {0, 65534, 65534};
    if (u->s.pass_cred)
        message_put_control(m, SOL_SOCKET, SCM_CREDENTIALS, p->has_cred ? &p->cred : &unknown,
                            sizeof(struct unix_cred));
}

static void give_fds(struct message *m, struct unix_packet *p, bool peek)
{
    if (!p->fds)
        return;
    struct unix_fds *fds = peek ? unix_fds_copy(p->fds) : p->fds;
    if (!peek)
        p->fds = NULL;
    if (fds)
        unix_scm_deliver(m, fds);
    else
        m->out_flags |= MSG_CTRUNC;
}

static void give_name(struct message *m, const struct unix_addr *a)
{
    if (!m->addr)
        return;
    m->addr_len = 0;
    if (a) {
        memcpy(m->addr, &a->name, a->len);
        m->addr_len = a->len;
    }
}

static ssize_t receive_packet(struct unix_sock *u, struct message *m)
{
    bool peek = m->flags & MSG_PEEK;
    u64 deadline_ns = socket_deadline(u->s.receive_timeout_ns);
    m->addr_len = 0;
    mutex_lock_quick(&u->read_mutex);
    struct unix_packet *p = first_packet(u, m->flags, deadline_ns);
    if (!p || IS_ERR(p)) {
        mutex_unlock_quick(&u->read_mutex);
        // A datagram socket that is shut down for reading has no end of file to wait for: 0 as well.
        return p ? PTR_ERR(p) : 0;
    }
    u32 n = (u32)MIN((size_t)p->len, uio_remaining(m->uio));
    ssize_t result = n && uio_copy_to(m->uio, p->data, n) != (ssize_t)n ? -EFAULT : (ssize_t)n;
    if (n < p->len)
        m->out_flags |= MSG_TRUNC;
    if (u->s.type == SOCK_SEQPACKET)
        m->out_flags |= MSG_EOR;
    if (result >= 0 && (m->flags & MSG_TRUNC))
        result = p->len;
    if (!peek)
        remove_packet(u, p);
    if (result >= 0) {
        give_name(m, p->from);
        give_cred(u, m, p);
        give_fds(m, p, peek);
    }
    mutex_unlock_quick(&u->read_mutex);
    if (!peek) {
        tell_senders(u);
        unix_packet_free(p);
    }
    return result;
}

// Whether bytes of two packets may be read in one call: not with different credentials that are asked for. (Behind descriptors
// a read ends, too.)
static bool same_source(const struct unix_sock *u, const struct unix_packet *a,
                        const struct unix_packet *b)
{
    return !u->s.pass_cred || (a->has_cred == b->has_cred &&
                               (!a->has_cred || !memcmp(&a->cred, &b->cred, sizeof(a->cred))));
}

// Takes what it can from one packet. => bytes, -EFAULT; *whole: all of the rest of it
static ssize_t take(struct unix_sock *u, struct message *m, struct unix_packet *p, bool *whole)
{
    u32 rest = p->len - p->taken, want = (u32)MIN((size_t)rest, uio_remaining(m->uio));
    ssize_t n = uio_copy_to(m->uio, p->data + p->taken, want);
    *whole = n == (ssize_t)rest;
    if (n <= 0 || (m->flags & MSG_PEEK))
        return n;
    if (*whole) {
        remove_packet(u, p);
        p->taken = p->len;
        return n;
    }
    spin_lock(&u->lock);
    p->taken += (u32)n;
    u->queued_bytes -= (u32)n;
    spin_unlock(&u->lock);
    return n;
}

static ssize_t receive_stream(struct unix_sock *u, struct message *m)
{
    bool peek = m->flags & MSG_PEEK, waits = m->flags & MSG_WAITALL && !(m->flags & MSG_DONTWAIT);
    u64 deadline_ns = socket_deadline(u->s.receive_timeout_ns);
    ssize_t total = 0, n = 0;
    u32 target = waits ? UINT32_MAX : MAX(u->s.receive_low, 1u);
    struct unix_packet *last = NULL, *p;
    struct unix_packet first = {.len = 0};  // what the bytes so far came with
    m->addr_len = 0;
    mutex_lock_quick(&u->read_mutex);
    while (uio_remaining(m->uio)) {
        p = peek && last ? next_packet(u, last) : next_packet(u, NULL);
        if (!p &&
            (total >= (ssize_t)target || (total && (m->flags & MSG_DONTWAIT)) || (peek && total)))
            break;
        if (!p) {
            p = first_packet(u, m->flags, deadline_ns);
            n = IS_ERR(p) ? PTR_ERR(p) : 0;
            if (!p || IS_ERR(p))
                break;
        }
        if (total && !same_source(u, &first, p))
            break;
        if (!total) {
            first = *p;
            give_cred(u, m, p);
        }
        bool whole, has_fds = p->fds != NULL;
        n = take(u, m, p, &whole);
        if (n < 0)
            break;
        total += n;
        last = p;
        give_fds(m, p, peek);
        if (whole && !peek) {
            tell_senders(u);
            unix_packet_free(p);
        }
        if (!whole || has_fds)
            break;
    }
    bool more = !list_empty(&u->queue);
    mutex_unlock_quick(&u->read_mutex);
    if (more && wait_has_waiters(&u->s.read_wait))
        wait_wake(&u->s.read_wait, 1,
                  SOCKET_HAND_ON);  // another reader, whose wake-up this one may have used
    return total ? total : n;
}

ssize_t unix_receive(struct socket *s, struct message *m)
{
    struct unix_sock *u = unix_of(s);
    if (m->flags & (MSG_OOB | MSG_ERRQUEUE))
        return m->flags & MSG_OOB ? -EOPNOTSUPP : -EAGAIN;
    if (unix_is_packet(u)) {
        if (s->type == SOCK_SEQPACKET && u->state != UNIX_CONNECTED)
            return -ENOTCONN;
        return receive_packet(u, m);
    }
    if (u->state != UNIX_CONNECTED)
        return -EINVAL;
    return receive_stream(u, m);
}
