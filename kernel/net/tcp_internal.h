// SPDX-License-Identifier: BSD-2-Clause
// tcp_internal.h: what tcp.c and tcp_options.c share (essay in tcp.c).
#pragma once

#include "net/inet.h"

struct net_device;
struct tcp_pcb;
struct pbuf;

struct tx_chunk {
    struct list link;  // [stack lock]
    u32 room;          // bytes of data
    u32 filled;  // [stack lock to change] of them handed to lwIP; behind them only the writer works
    u32 acked;   // [stack lock]
    bool linked;  // [write_mutex] in the list
    u8 data[];
};

enum tcp_sock_state { TCP_FRESH, TCP_LISTENING, TCP_CONNECTING, TCP_CONNECTED, TCP_ENDED };

struct tcp_sock {
    struct inet_sock i;   // first
    struct tcp_pcb *pcb;  // [stack lock]
    u8 state;             // [stack lock to change] enum tcp_sock_state
    bool rx_fin;          // [stack lock] the other end has closed
    bool fin_sent;        // [stack lock]
    bool tx_blocked;      // [stack lock] lwIP has no room until something is acknowledged
    bool connect_untold;  // connect has not told its result yet
    bool no_delay, cork;
    bool slow_ack;      // TCP_QUICKACK has been turned off
    u8 n_silent_reads;  // a hint: so often was everything read and nothing sent since
    u8 keep_count;
    u32 keep_idle_s, keep_interval_s;
    u32 window;           // [stack lock] receive window that it has been given
    u32 n_retransmitted;  // [stack lock] segments
    u16 wire_mss;  // [stack lock] of what comes to the wire: the pcb's own may be longer (tcp_large.c)
    struct net_device *device;  // [stack lock] that cuts its segments; NULL: none
    struct mutex read_mutex, write_mutex;
    struct spinlock rx_lock;    // what lies before the reader
    struct pbuf *rx, *rx_last;  // [rx_lock to change; read_mutex to remove]
    u32 rx_offset;              // [read_mutex] bytes taken of the first
    u32 rx_bytes;               // [rx_lock to change]
    u32 rx_untold;   // [read_mutex] bytes of segments that were read and lwIP has not been told of
    bool ack_waits;  // a hint: lwIP holds an acknowledgement back
    struct list chunks;         // [stack lock] struct tx_chunk
    struct tx_chunk *filling;   // [stack lock] a writer copies into it
    u32 tx_bytes;               // [stack lock to change]
    struct spinlock peer_lock;  // keeps the peer
    struct tcp_sock *peer;     // [stack lock and peer_lock to change] joined with it (tcp_direct.c)
    u32 tx_direct;             // [peer's rx_lock to change]
    u32 rx_direct;             // [rx_lock]
    u32 rx_room;               // [rx_lock] bytes behind the last of rx for small messages
    bool rx_full;              // [rx_lock] the peer waits for room
    struct list accept_queue;  // [stack lock] struct tcp_sock, by accept_link
    u32 n_accept;              // [stack lock]
    struct list accept_link;
    // Listeners (tcp_listen.c); all [stack lock]
    u32 backlog;
    struct list group_link;        // ring of those that share the pcb
    struct list deferred;          // struct tcp_sock, by accept_link: nothing has come for them yet
    u32 defer_s;                   // TCP_DEFER_ACCEPT
    struct tcp_sock *deferred_by;  // in whose list of those this is
    u32 deferred_until_ms;
    // Ends of patience, looked at twice a second (tcp.c, on_poll)
    u32 user_timeout_ms;    // TCP_USER_TIMEOUT; 0: none
    u8 syn_retries;         // TCP_SYNCNT
    u32 poll_ack, poll_ms;  // [stack lock] the last acknowledgement, and when it was news
};

static inline struct tcp_sock *tcp_of(struct socket *s) { return (struct tcp_sock *)s; }

// What is sent and not yet taken in by the other end.
static inline u32 tcp_queued(const struct tcp_sock *t) { return t->tx_bytes + t->tx_direct; }
// As Linux: writable for pollers from a third of the buffer free.
static inline bool tcp_room_to_tell(const struct tcp_sock *t)
{
    return tcp_queued(t) <= t->i.s.send_buffer / 3 * 2;
}

// tcp_direct.c; join and part under the stack lock.
// A connection has been made: joined with its other end, when that is a socket of this machine.
void tcp_direct_join(struct tcp_sock *t);
void tcp_direct_part(struct tcp_sock *t);
// Sends a piece to the peer. => bytes; -EAGAIN: no room, or parted meanwhile; -EFAULT, -ENOBUFS. [write_mutex; without the stack lock]
ssize_t tcp_direct_send(struct tcp_sock *t, struct message *m);
// The reader has taken n bytes. => how many of them came in segments. [rx_lock]
u32 tcp_direct_taken(struct tcp_sock *t, u32 n);
// The reader has made room for a peer that waits for it (rx_full).
void tcp_direct_has_room(struct tcp_sock *t);
// p, all read, is about to be freed. => true: kept, empty, for the next small message. [rx_lock]
bool tcp_direct_keep(struct tcp_sock *t, struct pbuf *p);

// tcp_flows.c, under the stack lock. Before lwIP is called for a pcb that is connected, or about to be.
void tcp_flow_use(const struct tcp_pcb *pcb);
void tcp_flow_select(const ip_addr_t *remote, u16 local_port, u16 remote_port);
// Every connection, those in TIME-WAIT too; visit may end the pcb it is given.
void tcp_flows_each(void (*visit)(struct tcp_pcb *pcb, void *arg), void *arg);
void tcp_flows_forget_waiting(void);  // memory is short: ends connections in TIME-WAIT

// tcp_large.c, under the stack lock. The connection begins: how long its segments are.
void tcp_large_segments(struct tcp_sock *t);
// A segment that t's device is to cut goes to IP.
void net_large_begin(const struct tcp_sock *t, const struct tcp_pcb *pcb);

// tcp_cookie.c
// Sees each segment before lwIP; the bucket of its connection is selected. => true: it has been taken. [stack lock]
bool tcp_cookie_input(struct pbuf *p);
// tcp_listen.c
int tcp_listen_socket(struct socket *s, int backlog);
struct socket *tcp_accept_socket(struct socket *s, bool nonblock);
void tcp_stop_listening(struct tcp_sock *t);  // [stack lock]
void tcp_undefer(struct tcp_sock *t);         // [stack lock]
void tcp_drop_deferred(struct tcp_sock *t);   // [stack lock]
// tcp.c
void tcp_abort_connection(struct tcp_sock *t);  // [stack lock]
struct tcp_sock *tcp_new_sock(int family);
struct tcp_pcb *tcp_new_pcb(struct tcp_sock *t);
void tcp_attach(struct tcp_sock *t, struct tcp_pcb *pcb);
void tcp_detach(struct tcp_sock *t);
void tcp_set_poll(struct tcp_sock *t);      // after a change of what ends patience. [stack lock]
void tcp_push_options(struct tcp_sock *t);  // to the pcb. [stack lock]
int tcp_disconnect(struct tcp_sock *t);     // connect(2) to AF_UNSPEC
void tcp_apply_options(struct tcp_sock *t);
// tcp_options.c
int tcp_set_option(struct socket *s, int level, int name, const void *value, u32 len);
int tcp_get_option(struct socket *s, int level, int name, void *value, u32 *len);
long tcp_ioctl(struct socket *s, unsigned cmd, uptr_t arg);
