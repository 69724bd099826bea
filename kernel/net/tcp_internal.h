// SPDX-License-Identifier: BSD-2-Clause
// tcp_internal.h: what tcp.c and tcp_options.c share (essay in tcp.c).
#pragma once

#include "net/inet.h"

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
    u8 n_silent_reads;  // a hint: so often was everything read and nothing sent since
    u8 keep_count;
    u32 keep_idle_s, keep_interval_s;
    u32 window;           // [stack lock] receive window that it has been given
    u32 n_retransmitted;  // [stack lock] segments
    struct mutex read_mutex, write_mutex;
    struct pbuf *rx, *rx_last;  // [stack lock to change; read_mutex to remove]
    u32 rx_offset;              // [read_mutex] bytes taken of the first
    u32 rx_bytes;               // [stack lock to change]
    struct list chunks;         // [stack lock] struct tx_chunk
    struct tx_chunk *filling;   // [stack lock] a writer copies into it
    u32 tx_bytes;               // [stack lock to change]
    struct list accept_queue;   // [stack lock] struct tcp_sock, by accept_link
    u32 n_accept;               // [stack lock]
    struct list accept_link;
};

static inline struct tcp_sock *tcp_of(struct socket *s) { return (struct tcp_sock *)s; }

void tcp_stop_listening(struct tcp_sock *t);
int tcp_disconnect(struct tcp_sock *t);  // connect(2) to AF_UNSPEC
void tcp_apply_options(struct tcp_sock *t);
// tcp_options.c
int tcp_set_option(struct socket *s, int level, int name, const void *value, u32 len);
int tcp_get_option(struct socket *s, int level, int name, void *value, u32 *len);
long tcp_ioctl(struct socket *s, unsigned cmd, uptr_t arg);
