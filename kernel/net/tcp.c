// SPDX-License-Identifier: BSD-2-Clause
// tcp.c: TCP sockets over lwIP's callback interface (tcp(7)).
//
//   write ─copy─> tx chunks ─tcp_write (by reference)─> lwIP ─sent()─> chunk given back when acknowledged
//   lwIP ─recv()─> rx (chain of pbufs) ─copy─> read ─tcp_recved─> the window opens again
//   lwIP ─accepted()─> accept_queue ─> accept
//
// Two sockets of this machine that are connected to each other do without the segments in between (tcp_direct.c).
//
// Bytes are copied once each way, outside the stack's lock: a writer fills a chunk that nobody else touches, a reader walks
// pbufs that only it removes.
//
// Invariants
//   I1  pcb is valid exactly while it is not NULL: lwIP's "destroy" callback clears it, whatever ends the connection. The pcb
//       holds a reference on its socket from the moment that the callbacks are set until then.
//   I2  tx_bytes is the number of bytes handed to lwIP and not yet acknowledged: the chunks hold exactly these, in order, each
//       from `acked` to `filled`. A chunk is freed only when lwIP has no segment left that points into it.
//   I3  What a connection may receive is bounded by its window (receive_buffer), what it may have queued by send_buffer.
//   I4  A connection that is not accepted yet counts against its listener's backlog; beyond that a SYN is dropped (tcp_listen.c).
//
//   I5  What the reader has before it is rx_lock's alone: reading takes the stack's lock only when lwIP has something to do, an eighth
//       of the window to open or an acknowledgement to send. The end of a stream (rx_fin) is set behind its last byte.
//
// Locks: read_mutex or write_mutex -> stack lock -> peer_lock -> the peer's rx_lock. Callbacks run under the stack lock.
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "net/inet.h"
#include "net/tcp_internal.h"

#define CHUNK_SMALL (2048 - sizeof(struct tx_chunk))
#define CHUNK_LARGE (4 * PAGE_SIZE - sizeof(struct tx_chunk))
#define SYN_RETRIES 6                                // net.ipv4.tcp_syn_retries
#define REUSE_TICKS (1000u / TCP_SLOW_INTERVAL + 1)  // of TIME-WAIT
#define WINDOW_LEAST 65535u                          // what a SYN has announced
#define SOF_USER_REUSES \
    0x80u               // of a pcb's so_options, beside lwIP's: SO_REUSEADDR, also after the socket
#define SILENT_READS 2  // so many, and the reader is one that does not answer

static const struct socket_ops tcp_ops;

// ---- objects

struct tcp_sock *tcp_new_sock(int family)
{
    struct tcp_sock *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    inet_init(&t->i, &tcp_ops, family, SOCK_STREAM, IP_PROTO_TCP);
    list_init(&t->chunks);
    list_init(&t->accept_queue);
    list_init(&t->accept_link);
    list_init(&t->group_link);
    list_init(&t->deferred);
    mutex_init(&t->read_mutex);
    mutex_init(&t->write_mutex);
    t->n_silent_reads = SILENT_READS;  // a sender may begin with one segment and wait
    t->keep_idle_s = 7200;
    t->keep_interval_s = 75;
    t->keep_count = 9;
    t->syn_retries = SYN_RETRIES;
    return t;
}

struct socket *tcp_create(int family)
{
    if (net_memory_short()) {
        struct net_stack *st = net_stack_here();
        net_lock(st);
        tcp_flows_forget_waiting();
        net_unlock(st);
        if (net_memory_short())
            return ERR_PTR(-ENOBUFS);
    }
    struct tcp_sock *t = tcp_new_sock(family);
    return t ? &t->i.s : ERR_PTR(-ENOMEM);
}

static void drop_rx(struct tcp_sock *t)
{
    spin_lock(&t->rx_lock);
    struct pbuf *p = t->rx;
    t->rx = NULL;
    t->rx_bytes = t->rx_direct = t->rx_room = 0;
    spin_unlock(&t->rx_lock);
    if (p)
        pbuf_free(p);
}

static void drop_chunks(struct tcp_sock *t)
{
    struct list *at;
    while ((at = list_pop_front(&t->chunks))) {
        if (list_entry(at, struct tx_chunk, link) != t->filling)  // its writer frees it
            kfree(list_entry(at, struct tx_chunk, link));
    }
    t->tx_bytes = 0;
}

static void tcp_destroy(struct socket *s)
{
    struct tcp_sock *t = tcp_of(s);
    drop_rx(t);
    drop_chunks(t);
    kfree(t);
}

// ---- callbacks of lwIP, under the stack's lock

// The pcb is gone.
static void on_destroy(u8_t id, void *data)
{
    struct tcp_sock *t = data;
    if (!t)
        return;
    tcp_direct_part(t);
    t->pcb = NULL;
    drop_chunks(t);
    socket_put(&t->i.s);
}
static const struct tcp_ext_arg_callbacks pcb_callbacks = {.destroy = on_destroy};

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct tcp_sock *t = arg;
    struct socket *s = &t->i.s;
    if (unlikely(t->deferred_by))
        tcp_undefer(t);
    if (!p) {
        t->rx_fin = true;
        if (wait_has_waiters(&s->read_wait))
            wait_wake(&s->read_wait, INT32_MAX,
                      POLLIN | POLLRDNORM | POLLRDHUP | (t->fin_sent ? POLLHUP : 0));
        if (t->fin_sent)
            socket_wake_all(s);
        async_notify(&s->async, POLLIN);
        return ERR_OK;
    }
    if (unlikely(!socket_may(s, SHUTDOWN_RCV))) {
        tcp_recved(pcb, p->tot_len);
        pbuf_free(p);
        return ERR_OK;
    }
    // Several frames in one (coalesce.c, or the device): as each second one, they are acknowledged at once (RFC 5681, 4.2).
    if (p->tot_len > t->wire_mss && (pcb->flags & TF_ACK_DELAY))
        tcp_ack_now(pcb);
    t->ack_waits = pcb->flags & TF_ACK_DELAY;
    struct pbuf *last = p;
    while (last->next)
        last = last->next;
    spin_lock(&t->rx_lock);
    t->rx_bytes += p->tot_len;
    if (t->rx)
        t->rx_last->next = p;
    else
        t->rx = p;
    t->rx_last = last;
    t->rx_room = 0;
    spin_unlock(&t->rx_lock);
    socket_wake_readers(s);
    return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
    struct tcp_sock *t = arg;
    u32 left = len;
    t->tx_bytes -= len;
    t->tx_blocked = false;
    while (left) {
        struct tx_chunk *c = list_first(&t->chunks, struct tx_chunk, link);
        u32 n = MIN(left, c->filled - c->acked);
        c->acked += n;
        left -= n;
        if (c->acked < c->filled || c == t->filling)
            break;  // nothing is left of len, or the writer is at work in the last chunk
        if (list_entry(t->chunks.prev, struct tx_chunk, link) == c && c->room <= CHUNK_SMALL) {
            c->filled = c->acked = 0;  // kept for the next write
            break;
        }
        list_remove(&c->link);
        kfree(c);
    }
    if (tcp_room_to_tell(t) || t->fin_sent)
        socket_wake_writers(&t->i.s);
    return ERR_OK;
}

// lwIP is about to send a segment (hooks.h): counts those that have been sent before, prepares for those that the device cuts. => where the next option goes
u32_t *net_tcp_segment_out(const struct pbuf *p, const struct tcp_hdr *header,
                           const struct tcp_pcb *pcb, u32_t *options)
{
    struct tcp_sock *t = pcb && pcb->state != LISTEN ? tcp_ext_arg_get(pcb, 0) : NULL;
    if (t && TCP_SEQ_LT(lwip_ntohl(header->seqno), pcb->snd_nxt) &&
        p->tot_len > TCPH_HDRLEN_BYTES(header))
        t->n_retransmitted++;
    if (t && t->device && p->tot_len > t->wire_mss + TCP_HLEN)
        net_large_begin(t, pcb);
    return options;
}

// The connection has ended with an error; lwIP frees the pcb.
static void on_error(void *arg, err_t err)
{
    struct tcp_sock *t = arg;
    struct socket *s = &t->i.s;
    if (err == ERR_RST)
        atomic_store(&s->error, t->state == TCP_CONNECTING ? ECONNREFUSED
                                : t->rx_fin                ? EPIPE
                                                           : ECONNRESET);
    else if (err == ERR_ABRT)
        atomic_store(&s->error, ETIMEDOUT);
    if (err == ERR_CLSD)
        t->rx_fin = true;
    t->state = TCP_ENDED;
    atomic_store(&s->shutdown, SHUTDOWN_BOTH);
    if (t->deferred_by)
        tcp_drop_deferred(t);
    else
        socket_wake_all(s);
}

// Twice a second for connections whose patience has an end of its own. => ERR_ABRT: the pcb is gone
static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
    struct tcp_sock *t = arg;
    u32 now = sys_now();
    if (t->deferred_by && (s32)(now - t->deferred_until_ms) >= 0)
        tcp_undefer(t);
    if (t->state != TCP_CONNECTING && (!t->tx_bytes || pcb->lastack != t->poll_ack)) {
        t->poll_ack = pcb->lastack;
        t->poll_ms = now;
    }
    bool late = t->user_timeout_ms && now - t->poll_ms >= t->user_timeout_ms;
    if (!late && (t->state != TCP_CONNECTING || pcb->nrtx <= t->syn_retries))
        return ERR_OK;
    tcp_err(pcb, NULL);
    on_error(t, ERR_ABRT);
    tcp_abort(pcb);
    return ERR_ABRT;
}

void tcp_set_poll(struct tcp_sock *t)
{
    bool wanted = t->state == TCP_CONNECTING || t->user_timeout_ms || t->deferred_by;
    t->poll_ms = sys_now();
    t->poll_ack = t->pcb->lastack;
    tcp_poll(t->pcb, wanted ? on_poll : NULL, 1);
}

// An ICMP error ends an attempt to connect (tcp(7)); an established connection goes on trying.
void tcp_icmp_error(const struct net_icmp_error *e)
{
    list_for_each_entry (struct inet_sock, i, inet_port_bucket(SOCK_STREAM, e->local_port),
                         port_link) {
        struct tcp_sock *t = tcp_of(&i->s);
        if (i->local_port != e->local_port || i->remote_port != e->remote_port ||
            t->state != TCP_CONNECTING || !t->pcb || !ip_addr_eq(&i->remote, &e->remote))
            continue;
        struct tcp_pcb *pcb = t->pcb;
        tcp_err(pcb, NULL);
        on_error(t, ERR_CONN);
        atomic_store(&i->s.error, e->error);
        tcp_flow_use(pcb);
        tcp_abandon(pcb, 0);
        return;
    }
}

// What the connection may receive: its buffer, within what the other end understands. At least what a SYN has announced.
static u32 window_wanted(const struct tcp_sock *t)
{
    return MIN(MAX(t->i.s.receive_buffer, WINDOW_LEAST), (u32)TCP_WND_MAX(t->pcb));
}

// The connection begins, and the other end knows of the window only what the SYN could say. lwIP has noted that it announced
// its own largest one, and would keep to that: the sender would send what there is no room for.
static void set_window(struct tcp_sock *t)
{
    struct tcp_pcb *pcb = t->pcb;
    tcp_large_segments(t);
    t->window = window_wanted(t);
    pcb->rcv_wnd = pcb->rcv_ann_wnd = t->window;
    pcb->rcv_ann_right_edge = pcb->rcv_nxt + WINDOW_LEAST;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct tcp_sock *t = arg;
    t->state = TCP_CONNECTED;
    set_window(t);
    t->i.local = pcb->local_ip;
    tcp_set_poll(t);
    socket_wake_all(&t->i.s);
    return ERR_OK;
}

void tcp_push_options(struct tcp_sock *t)
{
    struct tcp_pcb *pcb = t->pcb;
    struct socket *s = &t->i.s;
    if (!pcb)
        return;
    pcb->ttl = t->i.ttl;
    pcb->tos = t->i.tos;
    if (s->reuse_addr)
        ip_set_option(pcb, SOF_USER_REUSES);
    else
        ip_reset_option(pcb, SOF_USER_REUSES);
    pcb->netif_idx = (u8)t->i.bound_index;
    if (t->state == TCP_LISTENING)
        return;
    if (t->no_delay)
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
    pcb->keep_idle = t->keep_idle_s * 1000;
    pcb->keep_intvl = t->keep_interval_s * 1000;
    pcb->keep_cnt = t->keep_count;
    if (s->keep_alive)
        ip_set_option(pcb, SOF_KEEPALIVE);
    else
        ip_reset_option(pcb, SOF_KEEPALIVE);
}

// The pcb becomes the socket's: callbacks, options, its window. [stack lock]
void tcp_attach(struct tcp_sock *t, struct tcp_pcb *pcb)
{
    t->pcb = pcb;
    t->wire_mss = pcb->mss;
    socket_get(&t->i.s);
    tcp_ext_arg_set_callbacks(pcb, 0, &pcb_callbacks);
    tcp_ext_arg_set(pcb, 0, t);
    tcp_arg(pcb, t);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    if (t->state == TCP_CONNECTED)
        set_window(t);
    tcp_set_poll(t);
    tcp_push_options(t);
}

// Nobody will ask any more: what is queued still goes out. [stack lock]
void tcp_detach(struct tcp_sock *t)
{
    struct tcp_pcb *pcb = t->pcb;
    if (!pcb)
        return;
    tcp_err(pcb, NULL);
    tcp_recv(pcb, NULL);
}

// ---- bind

struct waiting_port {
    u16 port;
    bool reuse, found;
};

static void look_for_port(struct tcp_pcb *pcb, void *arg)
{
    struct waiting_port *w = arg;
    if (pcb->state == TIME_WAIT && pcb->local_port == w->port &&
        !(w->reuse && ip_get_option(pcb, SOF_USER_REUSES)))
        w->found = true;
}

bool tcp_port_waits(u16 port, bool reuse)
{
    struct waiting_port w = {.port = port, .reuse = reuse};
    tcp_flows_each(look_for_port, &w);
    return w.found;
}

static void send_rest(struct tcp_pcb *pcb, void *unused)
{
    if (pcb->state != TIME_WAIT && pcb->unsent)
        tcp_output(pcb);
}

void tcp_flows_send(void) { tcp_flows_each(send_rest, NULL); }

static int tcp_bind_socket(struct socket *s, const struct sock_addr *addr, u32 len)
{
    struct tcp_sock *t = tcp_of(s);
    ip_addr_t ip;
    u16 port;
    int err = inet_addr_in(&t->i, addr, len, &ip, &port);
    if (err)
        return err;
    if (ip_addr_ismulticast(&ip))
        return -EADDRNOTAVAIL;
    net_lock(t->i.stack);
    if (t->state != TCP_FRESH || t->i.port_held)
        err = -EINVAL;
    else if (t->i.no_port_yet && !port && inet_is_local(&t->i, &ip))
        t->i.local = ip;
    else
        err = inet_port_take(&t->i, &ip, port);
    net_unlock(t->i.stack);
    return err;
}

// A pcb bound to what the socket is bound to. => ERR_PTR(-ENOBUFS, ...). [stack lock]
struct tcp_pcb *tcp_new_pcb(struct tcp_sock *t)
{
    ip_addr_t ip = inet_bind_address(&t->i, &t->i.local);
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&ip));
    if (!pcb)
        return ERR_PTR(-ENOBUFS);
    ip_set_option(pcb, SOF_REUSEADDR);
    err_t err = tcp_bind(pcb, &ip, t->i.local_port);
    if (err != ERR_OK) {
        tcp_abort(pcb);
        return ERR_PTR(inet_error(err));
    }
    return pcb;
}

// ---- connect

bool tcp_way_is_free(const ip_addr_t *remote, u16 remote_port, u16 local_port)
{
    struct tcp_pcb *lists[] = {NULL, NULL};
    tcp_flow_select(remote, local_port, remote_port);
    lists[0] = tcp_active_pcbs;
    lists[1] = tcp_tw_pcbs;
    for (int waits = 0; waits < 2; waits++) {
        for (struct tcp_pcb *pcb = lists[waits], *next; pcb; pcb = next) {
            next = pcb->next;
            if (pcb->local_port != local_port || pcb->remote_port != remote_port ||
                !ip_addr_eq(&pcb->remote_ip, remote))
                continue;
            if (!waits || !(ip_addr_isloopback(remote) || ip_addr_eq(&pcb->local_ip, remote)) ||
                tcp_ticks - pcb->tmr < REUSE_TICKS)
                return false;
            tcp_abort(pcb);
        }
    }
    return true;
}

// [stack lock]
static int start_connecting(struct tcp_sock *t, const ip_addr_t *ip, u16 port)
{
    struct inet_sock *i = &t->i;
    int err = 0;
    if (IP_IS_V4(ip) && IP_IS_V6(&i->local) && ip_addr_isany(&i->local))
        ip_addr_set_any(false, &i->local);
    else if (IP_IS_V4(ip) != IP_IS_V4(&i->local))
        return -ENETUNREACH;
    err = inet_route_check(i, ip);
    if (err)
        return err;
    i->remote = *ip;
    i->remote_port = port;
    if (!i->port_held)
        err = inet_port_take(i, &i->local, 0);
    else if (!tcp_way_is_free(ip, port, i->local_port))
        err = -EADDRNOTAVAIL;
    struct tcp_pcb *pcb = err ? ERR_PTR(err) : tcp_new_pcb(t);
    if (IS_ERR(pcb)) {
        i->remote_port = 0;
        return PTR_ERR(pcb) == -EADDRINUSE ? -EADDRNOTAVAIL : (int)PTR_ERR(pcb);
    }
    t->state = TCP_CONNECTING;
    tcp_attach(t, pcb);
    tcp_flow_select(ip, i->local_port, port);
    err_t e = tcp_connect(pcb, ip, port, on_connected);
    if (e != ERR_OK) {
        t->state = TCP_FRESH;
        i->remote_port = 0;
        tcp_err(pcb, NULL);
        tcp_abort(pcb);
        return e == ERR_USE ? -EADDRNOTAVAIL : inet_error(e);
    }
    i->local = pcb->local_ip;
    t->connect_untold = true;
    return 0;
}

static bool connect_done(void *arg)
{
    struct tcp_sock *t = arg;
    return t->state != TCP_CONNECTING;
}

// The end of an attempt, told once. => 0, -EISCONN, or the error
static int connect_result(struct tcp_sock *t)
{
    if (t->state == TCP_CONNECTED) {
        bool untold = t->connect_untold;
        t->connect_untold = false;
        return untold ? 0 : -EISCONN;
    }
    int err = socket_take_error(&t->i.s);
    t->connect_untold = false;
    // After a failure the socket can be used again, as on Linux.
    net_lock(t->i.stack);
    if (!t->pcb && t->state == TCP_ENDED && !t->rx_fin) {
        t->state = TCP_FRESH;
        atomic_store(&t->i.s.shutdown, 0);
        t->i.remote_port = 0;
        if (t->i.port_chosen)
            inet_port_release(&t->i);
        ip_addr_set_any(t->i.s.family == AF_INET6, &t->i.local);
    }
    net_unlock(t->i.stack);
    return err ? err : -ECONNABORTED;
}

static int tcp_connect_socket(struct socket *s, const struct sock_addr *addr, u32 len,
                              bool nonblock)
{
    struct tcp_sock *t = tcp_of(s);
    ip_addr_t ip;
    u16 port;
    int err = 0;
    if (addr->family == AF_UNSPEC)
        return tcp_disconnect(t);
    err = inet_addr_in(&t->i, addr, len, &ip, &port);
    if (err)
        return err;
    if (ip_addr_isany(&ip)) {  // this host
        if (IP_IS_V4(&ip))
            ip_addr_set_loopback(false, &ip);
        else
            ip_addr_set_loopback(true, &ip);
    }
    if (ip_addr_ismulticast(&ip))
        return -ENETUNREACH;
    net_lock(t->i.stack);
    u8 before = t->state;
    if (before == TCP_FRESH)
        err = start_connecting(t, &ip, port);
    net_unlock(t->i.stack);
    if (err)
        return err;
    if (before == TCP_LISTENING)
        return -EISCONN;
    if (before == TCP_CONNECTING && t->state == TCP_CONNECTING && nonblock)
        return -EALREADY;
    if (before == TCP_FRESH && nonblock)
        return -EINPROGRESS;
    if (before == TCP_ENDED && !t->connect_untold)
        return -EISCONN;
    err = socket_wait(&s->write_wait, connect_done, t, socket_deadline(s->send_timeout_ns));
    if (err)
        return err == -EAGAIN ? -EINPROGRESS : err;
    return connect_result(t);
}

// ---- sending

static bool has_room(void *arg)
{
    struct tcp_sock *t = arg;
    return t->state != TCP_CONNECTED || !t->pcb || !socket_may(&t->i.s, SHUTDOWN_SND) ||
           (tcp_queued(t) < t->i.s.send_buffer && !t->tx_blocked) || atomic_load(&t->i.s.error);
}

// Whether the socket may send now. => 0, -EAGAIN: full, or the error
static int may_send(struct tcp_sock *t)
{
    struct socket *s = &t->i.s;
    if (unlikely(atomic_load(&s->error)))
        return socket_take_error(s);
    if (unlikely(!socket_may(s, SHUTDOWN_SND)) || t->state == TCP_ENDED)
        return -EPIPE;
    if (t->state == TCP_FRESH || t->state == TCP_LISTENING)
        return -EPIPE;
    if (t->state == TCP_CONNECTING)
        return -EAGAIN;
    return tcp_queued(t) < s->send_buffer && !t->tx_blocked ? 0 : -EAGAIN;
}

static bool send_wakes(void *arg)
{
    struct tcp_sock *t = arg;
    return t->state == TCP_CONNECTING ? false : has_room(t);
}

// A chunk with room for the writer alone, at most `want` of it used. => NULL: no memory. [write_mutex]
static struct tx_chunk *take_chunk(struct tcp_sock *t, size_t want)
{
    net_lock(t->i.stack);
    struct tx_chunk *c =
        list_empty(&t->chunks) ? NULL : list_entry(t->chunks.prev, struct tx_chunk, link);
    if (c && c->filled < c->room && (want <= c->room - c->filled || c->room - c->filled > 512))
        t->filling = c;
    else
        c = NULL;
    net_unlock(t->i.stack);
    if (c)
        return c;
    u32 room = want <= CHUNK_SMALL ? CHUNK_SMALL : CHUNK_LARGE;
    c = kmalloc(sizeof(*c) + room);
    if (!c)
        return NULL;
    c->room = room;
    c->filled = c->acked = 0;
    c->linked = false;
    return c;
}

// Hands n bytes behind c->filled to lwIP. => 0, -EAGAIN: not now, -errno. [stack lock, write_mutex]
static int hand_over(struct tcp_sock *t, struct tx_chunk *c, u32 n, bool push)
{
    if (!t->pcb || t->state != TCP_CONNECTED)
        return -EPIPE;
    err_t err = tcp_write(t->pcb, c->data + c->filled, (u16)n, push ? 0 : TCP_WRITE_FLAG_MORE);
    if (err == ERR_MEM) {
        t->tx_blocked = t->tx_bytes != 0;
        return t->tx_bytes ? -EAGAIN : -ENOBUFS;
    }
    if (err != ERR_OK)
        return inet_error(err);
    if (!c->linked) {
        list_push_back(&t->chunks, &c->link);
        c->linked = true;
    }
    c->filled += n;
    t->tx_bytes += n;
    return 0;
}

// The writer is done with the chunk. [stack lock]
static void release_chunk(struct tcp_sock *t, struct tx_chunk *c)
{
    bool was_mine = t->filling == c;
    t->filling = NULL;
    if (!c->linked) {
        kfree(c);
    } else if (was_mine && !t->pcb) {  // drop_chunks left it to us
        kfree(c);
    } else if (c->acked == c->filled) {
        c->filled = c->acked = 0;
        if (c->room > CHUNK_SMALL) {
            list_remove(&c->link);
            kfree(c);
        }
    }
}

// Copies and queues up to what a chunk takes. => bytes, -errno. [write_mutex]
static ssize_t send_some(struct tcp_sock *t, struct message *m, bool more_flag)
{
    struct socket *s = &t->i.s;
    size_t room = s->send_buffer - MIN(t->tx_bytes, s->send_buffer);
    size_t want = MIN(uio_remaining(m->uio), MAX(room, 1ul));
    struct tx_chunk *c = take_chunk(t, want);
    if (!c)
        return -ENOBUFS;
    u32 n = (u32)MIN(want, (size_t)(c->room - c->filled));
    struct uio before = *m->uio;
    ssize_t copied = uio_copy_from(m->uio, c->data + c->filled, n);
    bool last = uio_remaining(m->uio) == 0;
    t->n_silent_reads = 0;
    net_lock(t->i.stack);
    int err = copied <= 0 ? (int)copied : hand_over(t, c, (u32)copied, last && !more_flag);
    if (!err && !(t->cork || more_flag) &&
        (last || t->tx_bytes >= s->send_buffer || t->pcb->unsent))
        tcp_output(t->pcb);
    else if (!err && t->pcb->unsent && t->pcb->unsent->next)
        tcp_output(t->pcb);
    release_chunk(t, c);
    net_unlock(t->i.stack);
    if (err)
        *m->uio = before;
    return err ? err : copied;
}

static ssize_t tcp_send_message(struct socket *s, struct message *m)
{
    struct tcp_sock *t = tcp_of(s);
    u64 deadline_ns = socket_deadline(s->send_timeout_ns);
    size_t total = 0;
    ssize_t err = 0;
    if (m->flags & (MSG_OOB | MSG_FASTOPEN))
        return -EOPNOTSUPP;
    mutex_lock_quick(&t->write_mutex);
    do {
        err = may_send(t);
        if (err == -EAGAIN && !(m->flags & MSG_DONTWAIT)) {
            mutex_unlock_quick(&t->write_mutex);
            err = socket_wait(&s->write_wait, send_wakes, t, deadline_ns);
            mutex_lock_quick(&t->write_mutex);
            if (err)
                break;
            continue;
        }
        if (err || !uio_remaining(m->uio))
            break;
        err = t->peer ? tcp_direct_send(t, m) : send_some(t, m, m->flags & MSG_MORE);
        if (err == -EAGAIN)
            continue;
        if (err < 0)
            break;
        total += (size_t)err;
        err = 0;
        if (uio_remaining(m->uio))
            sched_point();
    } while (uio_remaining(m->uio) || (err == 0 && !total));
    mutex_unlock_quick(&t->write_mutex);
    return total ? (ssize_t)total : err;
}

// ---- receiving

static bool has_input(void *arg)
{
    struct tcp_sock *t = arg;
    return t->rx_bytes || t->rx_fin || t->state == TCP_ENDED || atomic_load(&t->i.s.error) ||
           !socket_may(&t->i.s, SHUTDOWN_RCV);
}

// Why there is nothing to read: 0 is the end of the stream. => 1: wait
static int no_input(struct tcp_sock *t)
{
    struct socket *s = &t->i.s;
    int err = socket_take_error(s);
    if (err)
        return err;
    if (t->rx_fin || t->state == TCP_ENDED || !socket_may(s, SHUTDOWN_RCV))
        return 0;
    return t->state == TCP_FRESH || t->state == TCP_LISTENING ? -ENOTCONN : 1;
}

// Copies up to `available` bytes that lie in rx to the reader. => bytes, -EFAULT. [read_mutex]
static ssize_t copy_out(struct pbuf *p, u32 offset, u32 available, struct uio *to)
{
    ssize_t total = 0;
    while (available && uio_remaining(to)) {
        u32 n = (u32)MIN((size_t)MIN(p->len - offset, available), uio_remaining(to));
        ssize_t moved = n ? uio_copy_to(to, (char *)p->payload + offset, n) : 0;
        if (moved < 0)
            return total ? total : moved;
        total += moved;
        if ((u32)moved < n)
            break;
        available -= n;
        offset += n;
        if (offset == p->len && available) {
            p = p->next;
            offset = 0;
        }
    }
    return total;
}

// Takes n bytes off rx. => pbufs that are to be freed, each by itself. [rx_lock, read_mutex]
static struct pbuf *take_off(struct tcp_sock *t, u32 n)
{
    struct pbuf *done = NULL, **end = &done;
    t->rx_bytes -= n;
    while (n) {
        struct pbuf *p = t->rx;
        u32 here = MIN(n, (u32)p->len - t->rx_offset);
        n -= here;
        t->rx_offset += here;
        if (t->rx_offset < p->len)
            break;
        t->rx_offset = 0;
        if (!n && tcp_direct_keep(t, p))
            break;
        t->rx = p->next;
        *end = p;
        end = &p->next;
    }
    while (t->rx && t->rx->len == 0 && t->rx->next) {  // empty ones do not stay in front
        *end = t->rx;
        end = &t->rx->next;
        t->rx = t->rx->next;
    }
    *end = NULL;
    return done;
}

// Tells lwIP what was read of segments: the window opens again. [stack lock, read_mutex]
static void open_window(struct tcp_sock *t)
{
    u32 left = t->rx_untold;
    t->rx_untold = 0;
    for (; t->pcb && left; left -= MIN(left, 0xffffu))
        tcp_recved(t->pcb, (u16)MIN(left, 0xffffu));
}

// n bytes have been read. => true: all is read. [read_mutex]
static bool consume(struct tcp_sock *t, u32 n)
{
    spin_lock(&t->rx_lock);
    struct pbuf *done = take_off(t, n);
    t->rx_untold += tcp_direct_taken(t, n);
    bool all = t->rx_bytes == 0, peer_waits = t->rx_full;
    spin_unlock(&t->rx_lock);
    for (struct pbuf *p = done, *next; p; p = next) {
        next = p->next;
        p->next = NULL;
        p->tot_len = p->len;
        pbuf_free(p);
    }
    if (peer_waits)
        tcp_direct_has_room(t);
    return all;
}

// The reader has read something, and perhaps everything. The window opens by an eighth at a time. Who answers soon has the
// acknowledgement travel with the answer; who only reads acknowledges at once, or the sender's small rest (Nagle's rule) or small buffer
// would wait for a timer. The stack's lock is taken only when lwIP has something to do. [read_mutex]
static void tell_stack(struct tcp_sock *t, bool all)
{
    bool window = t->rx_untold && t->rx_untold >= t->window / 8, ack = false;
    if (all && t->n_silent_reads < SILENT_READS)
        t->n_silent_reads++;
    else if (all)
        ack = t->ack_waits;
    if (!window && !ack)
        return;
    net_lock(t->i.stack);
    open_window(t);
    if (ack && t->pcb && (t->pcb->flags & TF_ACK_DELAY)) {
        tcp_ack_now(t->pcb);
        tcp_output(t->pcb);
    }
    t->ack_waits = t->pcb && (t->pcb->flags & TF_ACK_DELAY);
    net_unlock(t->i.stack);
}

static ssize_t receive_now(struct tcp_sock *t, struct message *m)
{
    spin_lock(&t->rx_lock);
    struct pbuf *p = t->rx;
    u32 available = t->rx_bytes, offset = t->rx_offset;
    spin_unlock(&t->rx_lock);
    if (!available)
        return 0;
    ssize_t n;
    if (unlikely(m->flags & MSG_TRUNC)) {  // thrown away, as tcp(7) says
        n = (ssize_t)MIN((size_t)available, uio_remaining(m->uio));
        uio_advance(m->uio, MIN((size_t)n, m->uio->len));
    } else {
        n = copy_out(p, offset, available, m->uio);
    }
    if (n > 0 && !(m->flags & MSG_PEEK))
        tell_stack(t, consume(t, (u32)n));
    return n;
}

// The reader waits and has not answered: an acknowledgement that waits for an answer to travel with goes now.
// Else a sender that waits for it with a small rest (Nagle's rule) waits for a timer.
static void acknowledge(struct tcp_sock *t)
{
    if (!t->ack_waits)
        return;
    net_lock(t->i.stack);
    t->ack_waits = false;
    if (t->pcb && t->state == TCP_CONNECTED && (t->pcb->flags & TF_ACK_DELAY)) {
        tcp_ack_now(t->pcb);
        tcp_output(t->pcb);
    }
    net_unlock(t->i.stack);
}

static ssize_t tcp_receive_message(struct socket *s, struct message *m)
{
    struct tcp_sock *t = tcp_of(s);
    u64 deadline_ns = socket_deadline(s->receive_timeout_ns);
    bool waits = (m->flags & MSG_WAITALL) && !(m->flags & (MSG_DONTWAIT | MSG_PEEK));
    size_t target = waits ? SIZE_MAX : MIN((size_t)s->receive_low, uio_remaining(m->uio));
    ssize_t total = 0, n = 0;
    m->addr_len = 0;
    if (m->flags & (MSG_OOB | MSG_ERRQUEUE))
        return m->flags & MSG_OOB ? -EINVAL : -EAGAIN;
    mutex_lock_quick(&t->read_mutex);
    while (uio_remaining(m->uio)) {
        n = receive_now(t, m);
        if (n < 0)
            break;
        total += n;
        if (n && (m->flags & MSG_PEEK))
            break;
        if (n)
            continue;
        if (total && ((size_t)total >= target || (m->flags & MSG_DONTWAIT)))
            break;
        n = no_input(t);
        if (n == 0 && atomic_load(&t->rx_bytes))
            continue;  // came before the end did, behind our back
        if (n <= 0)
            break;
        acknowledge(t);
        n = m->flags & MSG_DONTWAIT ? -EAGAIN : 0;
        if (!n) {
            mutex_unlock_quick(&t->read_mutex);
            n = socket_wait(&s->read_wait, has_input, t, deadline_ns);
            mutex_lock_quick(&t->read_mutex);
        }
        if (n)
            break;
    }
    bool more = t->rx_bytes != 0;
    mutex_unlock_quick(&t->read_mutex);
    if (more && wait_has_waiters(&s->read_wait))
        wait_wake(&s->read_wait, 1, SOCKET_HAND_ON);
    return total ? total : n;
}

// ---- shutdown and close

static int tcp_shutdown_socket(struct socket *s, u32 bits)
{
    struct tcp_sock *t = tcp_of(s);
    int err = 0;
    mutex_lock(&t->write_mutex);
    net_lock(t->i.stack);
    if (t->state == TCP_LISTENING && (bits & SHUTDOWN_RCV)) {
        tcp_stop_listening(t);
    } else if (t->state != TCP_CONNECTED) {
        err = -ENOTCONN;
    } else {
        atomic_fetch_or(&s->shutdown, bits);
        if ((bits & SHUTDOWN_SND) && !t->fin_sent && t->pcb) {
            t->fin_sent = true;
            tcp_flow_use(t->pcb);
            tcp_shutdown(t->pcb, 0, 1);
        }
    }
    net_unlock(t->i.stack);
    mutex_unlock(&t->write_mutex);
    if (!err)
        socket_wake_all(s);
    return err;
}

// With a reset. [stack lock]
void tcp_abort_connection(struct tcp_sock *t)
{
    if (t->pcb) {
        tcp_flow_use(t->pcb);
        tcp_abort(t->pcb);
    }
}

int tcp_disconnect(struct tcp_sock *t)
{
    mutex_lock(&t->read_mutex);
    net_lock(t->i.stack);
    if (t->state == TCP_LISTENING) {
        tcp_stop_listening(t);
    } else if (t->pcb) {
        tcp_detach(t);
        tcp_abort_connection(t);
    }
    t->state = TCP_FRESH;
    t->rx_fin = t->fin_sent = false;
    drop_rx(t);
    t->rx_offset = 0;
    atomic_store(&t->i.s.shutdown, 0);
    t->i.remote_port = 0;
    if (t->i.port_chosen) {
        inet_port_release(&t->i);
        t->i.local_port = 0;
    }
    t->rx_untold = 0;
    net_unlock(t->i.stack);
    mutex_unlock(&t->read_mutex);
    socket_wake_all(&t->i.s);
    return 0;
}

static bool all_acknowledged(void *arg)
{
    struct tcp_sock *t = arg;
    return !t->pcb || (t->tx_bytes == 0 && t->pcb->state != FIN_WAIT_1 &&
                       t->pcb->state != LAST_ACK && t->pcb->state != CLOSING);
}

// [stack lock]
static void close_connection(struct tcp_sock *t)
{
    struct tcp_pcb *pcb = t->pcb;
    tcp_direct_part(t);
    bool unread = t->rx_bytes != 0;
    tcp_detach(t);
    tcp_flow_use(pcb);
    if (t->state == TCP_CONNECTING || unread || t->i.s.linger_s == 0) {
        tcp_abort(pcb);  // a reset: the other end learns that bytes were lost
        return;
    }
    pcb->rcv_wnd =
        TCP_WND_MAX(pcb);  // all has been read: lwIP takes another window for unread bytes
    if (tcp_close(pcb) != ERR_OK)
        tcp_abort(pcb);
}

static void tcp_close_socket(struct socket *s)
{
    struct tcp_sock *t = tcp_of(s);
    struct net_stack *st = t->i.stack;
    net_lock(st);
    inet_port_release(&t->i);
    if (t->state == TCP_LISTENING)
        tcp_stop_listening(t);
    else if (t->pcb)
        close_connection(t);
    drop_rx(t);
    bool lingers = t->pcb && s->linger_s > 0;
    net_unlock(st);
    if (lingers)
        socket_wait(&s->write_wait, all_acknowledged, t,
                    ktime_ns() + (u64)s->linger_s * NSEC_PER_SEC);
}

// ---- questions

static u32 tcp_poll_socket(struct socket *s)
{
    const struct tcp_sock *t = tcp_of(s);
    u32 events = 0, shutdown = atomic_load(&s->shutdown);
    if (t->state == TCP_LISTENING)
        return list_empty(&t->accept_queue) ? 0 : POLLIN | POLLRDNORM;
    if (atomic_load(&s->error))
        events |= POLLERR;
    if (t->state == TCP_FRESH)
        return events | POLLOUT | POLLWRNORM | POLLHUP;
    if (t->state == TCP_CONNECTING)
        return events;
    bool end = t->rx_fin || t->state == TCP_ENDED || (shutdown & SHUTDOWN_RCV);
    if (t->state == TCP_ENDED || (end && (t->fin_sent || (shutdown & SHUTDOWN_SND))))
        events |= POLLHUP;
    if (end)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (t->rx_bytes >= s->receive_low)
        events |= POLLIN | POLLRDNORM;
    if (t->state == TCP_ENDED || (shutdown & SHUTDOWN_SND) ||
        (tcp_room_to_tell(t) && !t->tx_blocked))
        events |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return events;
}

static void tcp_option_changed(struct socket *s)
{
    struct tcp_sock *t = tcp_of(s);
    net_lock(t->i.stack);
    tcp_push_options(t);
    if (t->pcb && t->state == TCP_CONNECTED &&
        window_wanted(t) > t->window) {  // a window never shrinks
        t->pcb->rcv_wnd += window_wanted(t) - t->window;
        t->window = window_wanted(t);
    }
    if (tcp_room_to_tell(t))
        socket_wake_writers(s);
    net_unlock(t->i.stack);
}

static int tcp_getname(struct socket *s, struct sock_addr *addr, enum socket_name which)
{
    if (which == NAME_PEER && tcp_of(s)->state != TCP_CONNECTED)
        return -ENOTCONN;
    return inet_getname(s, addr, which);
}

void tcp_apply_options(struct tcp_sock *t)
{
    net_lock(t->i.stack);
    tcp_push_options(t);
    if (!t->cork && t->pcb && t->state == TCP_CONNECTED)
        tcp_output(t->pcb);
    net_unlock(t->i.stack);
}

static const struct socket_ops tcp_ops = {
    .bind = tcp_bind_socket,
    .listen = tcp_listen_socket,
    .accept = tcp_accept_socket,
    .connect = tcp_connect_socket,
    .getname = tcp_getname,
    .shutdown = tcp_shutdown_socket,
    .send = tcp_send_message,
    .receive = tcp_receive_message,
    .poll = tcp_poll_socket,
    .ioctl = tcp_ioctl,
    .set_option = tcp_set_option,
    .get_option = tcp_get_option,
    .option_changed = tcp_option_changed,
    .close = tcp_close_socket,
    .destroy = tcp_destroy,
};
