// SPDX-License-Identifier: BSD-2-Clause
// tcp_direct.c: two TCP sockets of this machine that are connected to each other are joined: what one sends goes into the
// other's receive queue, without segments.
//
//   write ─copy─> pbuf ──(stack lock)──> peer->rx ─copy─> read
//   FIN, RST, keepalive ─────────────> lwIP, as ever
//
// The handshake and the end of a connection are lwIP's: both pcbs live, in their states, and know of no data. As what is sent
// directly has arrived when send returns, a FIN or RST that follows through lwIP comes behind it. When one end goes (it is closed, or its
// pcb ends), the two part, and what the other still sends takes the usual way, at whose end lwIP answers with a reset.
//
// Invariants
//   D1  a->peer == b exactly when b->peer == a; both have a pcb, connected to the other's. [stack lock]
//   D2  rx_direct of the bytes in rx came directly. They lie before those of segments, for only after parting do these come;
//       lwIP's window does not count them.
//   D3  tx_direct is what lies in the peer's rx beyond its receive buffer: Linux would have it in the sender's queue. It stops the
//       sender at its send buffer, so both buffers bound what is queued.
//
// Rejected: shortening the way through lwIP (its checks, headers and acknowledgements are most of the cost), and joining at
// connect(2) without a handshake (a listener's queue, its limits and its resets would have to be written twice).
#include <string.h>

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
            t->peer = peer;
            peer->peer = t;
        }
        return;
    }
}

void tcp_direct_part(struct tcp_sock *t)
{
    struct tcp_sock *peer = t->peer;
    if (!peer)
        return;
    t->peer = peer->peer = NULL;
    t->tx_direct = peer->tx_direct = 0;
    t->rx_room = peer->rx_room = 0;
    socket_wake_writers(&peer->i.s);
}

// Behind what the peer has. [stack lock]
static void append(struct tcp_sock *peer, struct pbuf *p)
{
    if (peer->rx)
        peer->rx_last->next = p;
    else
        peer->rx = p;
    peer->rx_last = p;
    peer->rx_room = 0;
}

// What lies beyond the peer's receive buffer. [stack lock]
static void count_excess(struct tcp_sock *t)
{
    u32 buffer = t->peer->i.s.receive_buffer, queued = t->peer->rx_direct;
    t->tx_direct = queued > buffer ? queued - buffer : 0;
}

// n bytes have come to the peer. [stack lock]
static void arrived(struct tcp_sock *t, u32 n)
{
    struct tcp_sock *peer = t->peer;
    peer->rx_bytes += n;
    peer->rx_direct += n;
    count_excess(t);
    if (unlikely(peer->deferred_by))
        tcp_undefer(peer);
    socket_wake_readers(&peer->i.s);
}

// No memory: like a full buffer as long as the peer has something to read, which frees some. [stack lock]
static int no_memory(struct tcp_sock *t)
{
    t->tx_blocked = t->peer->rx_bytes != 0;
    return t->tx_blocked ? -EAGAIN : -ENOBUFS;
}

static int append_small(struct tcp_sock *t, const u8 *bytes, u32 n)
{
    struct tcp_sock *peer = t->peer;
    if (peer->rx_room < n) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, SMALL_BUFFER, PBUF_RAM);
        if (!p)
            return no_memory(t);
        p->len = p->tot_len = 0;
        append(peer, p);
        peer->rx_room = SMALL_BUFFER;
    }
    struct pbuf *last = peer->rx_last;
    memcpy((u8 *)last->payload + last->len, bytes, n);
    last->len += (u16)n;
    peer->rx_room -= n;
    arrived(t, n);
    return 0;
}

static ssize_t send_small(struct tcp_sock *t, struct message *m, u32 n)
{
    u8 bytes[SMALL_BYTES];
    ssize_t copied = uio_copy_from(m->uio, bytes, n);
    int err = -EAGAIN;  // parted meanwhile: by segments then
    if (copied <= 0)
        return copied;
    net_lock(t->i.stack);
    if (t->peer)
        err = socket_may(&t->peer->i.s, SHUTDOWN_RCV) ? append_small(t, bytes, (u32)copied) : 0;
    net_unlock(t->i.stack);
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
    net_lock(t->i.stack);
    if (!t->peer)
        err = -EAGAIN;
    else if (!p)
        err = no_memory(t);
    if (!err && copied && socket_may(&t->peer->i.s, SHUTDOWN_RCV)) {
        p->len = p->tot_len = (u16)copied;
        append(t->peer, p);
        arrived(t, (u32)copied);
        p = NULL;
    }
    net_unlock(t->i.stack);
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
    struct tcp_sock *peer = t->peer;
    t->rx_direct -= direct;
    if (peer && (peer->tx_direct || peer->tx_blocked)) {
        bool was_full = peer->tx_blocked || !tcp_room_to_tell(peer);
        count_excess(peer);
        peer->tx_blocked = false;
        if (was_full && tcp_room_to_tell(peer))
            socket_wake_writers(&peer->i.s);
    }
    return n - direct;
}

bool tcp_direct_keep(struct tcp_sock *t, struct pbuf *p)
{
    if (p != t->rx_last || !t->peer || t->rx_room + p->len != SMALL_BUFFER)
        return false;
    t->rx_room = SMALL_BUFFER;
    p->len = p->tot_len = 0;
    return true;
}
