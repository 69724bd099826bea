// SPDX-License-Identifier: BSD-2-Clause
// tcp_direct.c: two TCP sockets of this machine that are connected to each other are joined: what one sends goes into the
// other's receive queue, without segments.
//
//   write ─copy─> pbuf ──(peer's rx_lock)──> peer->rx ─copy─> read
//   FIN, RST, keepalive ─────────────> lwIP, as ever
//
// The handshake and the end of a connection are lwIP's: both pcbs live, in their states, and know of no data. As what is sent
// directly has arrived when send returns, a FIN or RST that follows through lwIP comes behind it. When one end goes (it is closed, or its
// pcb ends), the two part, and what the other still sends takes the usual way, at whose end lwIP answers with a reset.
//
// Invariants
//   D1  a->peer == b exactly when b->peer == a, seen under the stack's lock; both have a pcb, connected to the other's. Who
//       sends or makes room holds its own peer_lock meanwhile, so the two cannot part, nor the peer end, under it.
//   D2  rx_direct of the bytes in rx came directly. They lie before those of segments, for only after parting do these come;
//       lwIP's window does not count them.
//   D3  tx_direct is what lies in the peer's rx beyond its receive buffer: Linux would have it in the sender's queue. It stops the
//       sender at its send buffer, so both buffers bound what is queued. While it is not 0, or memory was short, the
//       peer's rx_full says that its reader has to tell.
//
// No lock is taken that another connection takes, but for the handshake and the end.
//
// Lock order: stack lock -> peer_lock -> the peer's rx_lock (and a socket's own, for its reader) -> wait queues.
//
// Rejected: shortening the way through lwIP (its checks, headers and acknowledgements are most of the cost), and joining at
// connect(2) without a handshake (a listener's queue, its limits and its resets would have to be written twice).
#include <string.h>

#include "core/cpu.h"
#include "core/platform.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "net/tcp_internal.h"

#define SMALL_BYTES 128  // messages up to this are collected in one buffer
#define BUFFER_OVERHEAD 64
#define SMALL_BUFFER (512 - BUFFER_OVERHEAD)
#define LARGE_BUFFER (32768 - BUFFER_OVERHEAD)
#define LEAST_BUFFER (4096 - BUFFER_OVERHEAD)
#define NEAR_FRONT \
    8  // lwIP moves the pcb of each segment to the front: the other end of a new connection is there

// The word direct=off of the kernel's command line sends all through lwIP, for its tests.
static bool is_off(void)
{
    static u8 answer;  // 0: not asked yet
    char text[8];
    if (!answer)
        answer = cmdline_get("direct", text, sizeof(text)) && !strcmp(text, "off") ? 2 : 1;
    return answer == 2;
}

// [stack lock]
static void set_peer(struct tcp_sock *t, struct tcp_sock *peer)
{
    spin_lock(&t->peer_lock);
    t->peer = peer;
    spin_unlock(&t->peer_lock);
}

void tcp_direct_join(struct tcp_sock *t)
{
    const struct tcp_pcb *pcb = t->pcb;
    int looked = 0;
    if (is_off())
        return;
    for (struct tcp_pcb *other = tcp_active_pcbs; other && looked < NEAR_FRONT;
         other = other->next, looked++) {
        struct tcp_sock *peer = tcp_ext_arg_get(other, 0);
        if (other->remote_port != pcb->local_port || other->local_port != pcb->remote_port ||
            !ip_addr_eq(&other->remote_ip, &pcb->local_ip) ||
            !ip_addr_eq(&other->local_ip, &pcb->remote_ip))
            continue;
        // Bytes already on their way would be overtaken.
        if (peer && peer != t && !peer->peer && other->state == ESTABLISHED &&
            peer->state == TCP_CONNECTED && !peer->tx_bytes && !peer->rx_bytes) {
            set_peer(t, peer);
            set_peer(peer, t);
        }
        return;
    }
}

void tcp_direct_part(struct tcp_sock *t)
{
    struct tcp_sock *peer = t->peer;
    if (!peer)
        return;
    set_peer(t, NULL);
    set_peer(peer, NULL);
    for (int i = 0; i < 2; i++) {
        struct tcp_sock *end = i ? peer : t;
        spin_lock(&end->rx_lock);
        end->tx_direct = end->rx_room = 0;
        end->rx_full = false;
        spin_unlock(&end->rx_lock);
    }
    socket_wake_writers(&peer->i.s);
}

// What was sent is a frame of the loopback interface for each piece, without headers: by CPU, so that none waits for another.
struct direct_count {
    u64 frames, bytes;
};
static DEFINE_PERCPU(struct direct_count, direct_count);

void tcp_direct_count(struct interface_counters *c)
{
    for (u32 i = 0; i < n_cpus; i++) {
        const struct direct_count *n = percpu_ptr_of(cpus[i], direct_count);
        c->rx_frames += n->frames;
        c->tx_frames += n->frames;
        c->rx_bytes += n->bytes;
        c->tx_bytes += n->bytes;
    }
}

// Behind what the peer has. [its rx_lock]
static void append(struct tcp_sock *peer, struct pbuf *p)
{
    if (peer->rx)
        peer->rx_last->next = p;
    else
        peer->rx = p;
    peer->rx_last = p;
    peer->rx_room = 0;
}

// What lies beyond the peer's receive buffer. [its rx_lock]
static void count_excess(struct tcp_sock *t, struct tcp_sock *peer)
{
    u32 buffer = peer->i.s.receive_buffer, queued = peer->rx_direct;
    t->tx_direct = queued > buffer ? queued - buffer : 0;
    peer->rx_full = t->tx_direct != 0 || t->tx_blocked;
}

// n bytes have come to the peer. [its rx_lock]
static void arrived(struct tcp_sock *t, struct tcp_sock *peer, u32 n)
{
    peer->rx_bytes += n;
    peer->rx_direct += n;
    count_excess(t, peer);
    percpu(direct_count).frames++;
    percpu(direct_count).bytes += n;
}

// No memory: like a full buffer as long as the peer has something to read, which frees some. [its rx_lock]
static int no_memory(struct tcp_sock *t, struct tcp_sock *peer)
{
    t->tx_blocked = peer->rx_full = peer->rx_bytes != 0;
    return t->tx_blocked ? -EAGAIN : -ENOBUFS;
}

// The peer, which stays until send_end. => NULL: parted
static struct tcp_sock *send_begin(struct tcp_sock *t)
{
    spin_lock(&t->peer_lock);
    struct tcp_sock *peer = t->peer;
    if (!peer) {
        spin_unlock(&t->peer_lock);
        return NULL;
    }
    spin_lock(&peer->rx_lock);
    return peer;
}

static void send_end(struct tcp_sock *t, struct tcp_sock *peer)
{
    spin_unlock(&peer->rx_lock);
    bool deferred = peer->deferred_by != NULL;
    socket_wake_readers(&peer->i.s);
    spin_unlock(&t->peer_lock);
    if (likely(!deferred))
        return;
    net_lock(t->i.stack);
    if (t->peer && t->peer->deferred_by)
        tcp_undefer(t->peer);
    net_unlock(t->i.stack);
}

static int append_small(struct tcp_sock *t, struct tcp_sock *peer, const u8 *bytes, u32 n)
{
    if (peer->rx_room < n) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, SMALL_BUFFER, PBUF_RAM);
        if (!p)
            return no_memory(t, peer);
        p->len = p->tot_len = 0;
        append(peer, p);
        peer->rx_room = SMALL_BUFFER;
    }
    struct pbuf *last = peer->rx_last;
    memcpy((u8 *)last->payload + last->len, bytes, n);
    last->len += (u16)n;
    peer->rx_room -= n;
    arrived(t, peer, n);
    return 0;
}

static ssize_t send_small(struct tcp_sock *t, struct message *m, u32 n)
{
    u8 bytes[SMALL_BYTES];
    ssize_t copied = uio_copy_from(m->uio, bytes, n);
    int err = -EAGAIN;  // parted meanwhile: by segments then
    if (copied <= 0)
        return copied;
    struct tcp_sock *peer = send_begin(t);
    if (peer) {
        err = socket_may(&peer->i.s, SHUTDOWN_RCV) ? append_small(t, peer, bytes, (u32)copied) : 0;
        send_end(t, peer);
    }
    return err ? err : copied;
}

static ssize_t send_large(struct tcp_sock *t, struct message *m, size_t n)
{
    n = MIN(n, (size_t)LARGE_BUFFER);
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16)n, PBUF_RAM);
    if (!p && n > LEAST_BUFFER) {
        n = LEAST_BUFFER;
        p = pbuf_alloc(PBUF_RAW, (u16)n, PBUF_RAM);
    }
    ssize_t copied = p ? uio_copy_from(m->uio, p->payload, n) : 0;
    int err = copied < 0 ? (int)copied : p ? 0 : -ENOBUFS;
    struct tcp_sock *peer = send_begin(t);
    if (!peer)
        err = -EAGAIN;
    else if (!p)
        err = no_memory(t, peer);
    if (!err && copied && socket_may(&peer->i.s, SHUTDOWN_RCV)) {
        p->len = p->tot_len = (u16)copied;
        append(peer, p);
        arrived(t, peer, (u32)copied);
        p = NULL;
    }
    if (peer)
        send_end(t, peer);
    if (p)
        pbuf_free(p);
    return err ? err : copied;
}

ssize_t tcp_direct_send(struct tcp_sock *t, struct message *m)
{
    struct uio before = *m->uio;
    size_t n = uio_remaining(m->uio);
    ssize_t sent = n <= SMALL_BYTES ? send_small(t, m, (u32)n) : send_large(t, m, n);
    t->n_silent_reads = 0;
    if (sent < 0)
        *m->uio = before;
    return sent;
}

u32 tcp_direct_taken(struct tcp_sock *t, u32 n)
{
    u32 direct = MIN(n, t->rx_direct);
    t->rx_direct -= direct;
    return n - direct;
}

void tcp_direct_has_room(struct tcp_sock *t)
{
    spin_lock(&t->peer_lock);
    struct tcp_sock *peer = t->peer;
    if (peer) {
        spin_lock(&t->rx_lock);
        bool was_full = peer->tx_blocked || !tcp_room_to_tell(peer);
        peer->tx_blocked = false;
        count_excess(peer, t);
        spin_unlock(&t->rx_lock);
        if (was_full && tcp_room_to_tell(peer))
            socket_wake_writers(&peer->i.s);
    }
    spin_unlock(&t->peer_lock);
}

bool tcp_direct_keep(struct tcp_sock *t, struct pbuf *p)
{
    if (p != t->rx_last || !t->peer || t->rx_room + p->len != SMALL_BUFFER)
        return false;
    t->rx_room = SMALL_BUFFER;
    p->len = p->tot_len = 0;
    return true;
}
