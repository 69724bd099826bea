// SPDX-License-Identifier: BSD-2-Clause
// tcp_options.c: the options of SOL_TCP (tcp(7)) and the ioctls of TCP sockets.
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "net/tcp_internal.h"

#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411
#define SIOCATMARK 0x8905
#define SIOCOUTQNSD 0x894b

enum {  // user ABI
    TCP_NODELAY = 1,
    TCP_MAXSEG = 2,
    TCP_CORK = 3,
    TCP_KEEPIDLE = 4,
    TCP_KEEPINTVL = 5,
    TCP_KEEPCNT = 6,
    TCP_INFO = 11,
    TCP_SYNCNT = 7,
    TCP_DEFER_ACCEPT = 9,
    TCP_QUICKACK = 12,
    TCP_CONGESTION = 13,
    TCP_USER_TIMEOUT = 18,
    TCP_FASTOPEN = 23,
    TCP_FASTOPEN_CONNECT = 30,
    TCP_ULP = 31,
};

struct tcp_info {  // user ABI, its first 104 bytes
    u8 state, ca_state, retransmits, probes, backoff, options, scales, app_limited;
    u32 rto, ato, snd_mss, rcv_mss;
    u32 unacked, sacked, lost, retrans, fackets;
    u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    u32 rcv_rtt, rcv_space, total_retrans;
};
_Static_assert(sizeof(struct tcp_info) == 104, "struct tcp_info of linux/tcp.h");

// TCP_CONGESTION: there is one algorithm.
static int set_congestion(const void *value, u32 len)
{
    char name[16] = "";
    if (len < 1)
        return -EINVAL;
    memcpy(name, value, MIN(len, (u32)sizeof(name) - 1));
    return strcmp(name, "reno") ? -ENOENT : 0;
}

// The seconds of TCP_DEFER_ACCEPT become a number of retransmissions that double, as on Linux: 1, 3, 7, 15 ...
static u32 defer_seconds(int wanted)
{
    u32 seconds = wanted > 0;
    while (seconds < (u32)MAX(wanted, 0) && seconds < 127)
        seconds = seconds * 2 + 1;
    return seconds;
}

// An acknowledgement that waits goes now, if it is wanted quick.
static void set_quick_ack(struct tcp_sock *t, bool quick)
{
    net_lock(t->i.stack);
    t->slow_ack = !quick;
    if (quick && t->pcb && t->state == TCP_CONNECTED && (t->pcb->flags & TF_ACK_DELAY)) {
        tcp_ack_now(t->pcb);
        tcp_output(t->pcb);
    }
    net_unlock(t->i.stack);
}

static int set_patience(struct tcp_sock *t, int name, int n)
{
    if (name == TCP_SYNCNT) {
        if (n < 1 || n > 127)
            return -EINVAL;
        t->syn_retries = (u8)n;
        return 0;
    }
    if (n < 0)
        return -EINVAL;
    t->user_timeout_ms = (u32)n;
    net_lock(t->i.stack);
    if (t->pcb && t->state != TCP_LISTENING)
        tcp_set_poll(t);
    net_unlock(t->i.stack);
    return 0;
}

int tcp_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    struct tcp_sock *t = tcp_of(s);
    int n;
    if (level != SOL_TCP)
        return inet_set_option(s, level, name, value, len);
    if (name == TCP_CONGESTION)
        return set_congestion(value, len);
    if (name == TCP_ULP)
        return -ENOENT;  // no protocol above TCP is the kernel's
    if (len < sizeof(n))
        return -EINVAL;
    memcpy(&n, value, sizeof(n));
    switch (name) {
    case TCP_SYNCNT:
    case TCP_USER_TIMEOUT: return set_patience(t, name, n);
    case TCP_DEFER_ACCEPT: t->defer_s = defer_seconds(n); return 0;
    case TCP_QUICKACK: set_quick_ack(t, n & 1); return 0;
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT: return -EOPNOTSUPP;
    case TCP_NODELAY: t->no_delay = n != 0; break;
    case TCP_CORK: t->cork = n != 0; break;
    case TCP_KEEPIDLE:
        if (n < 1 || n > 32767)
            return -EINVAL;
        t->keep_idle_s = (u32)n;
        break;
    case TCP_KEEPINTVL:
        if (n < 1 || n > 32767)
            return -EINVAL;
        t->keep_interval_s = (u32)n;
        break;
    case TCP_KEEPCNT:
        if (n < 1 || n > 127)
            return -EINVAL;
        t->keep_count = (u8)n;
        break;
    default: return -ENOPROTOOPT;
    }
    tcp_apply_options(t);
    return 0;
}

// The states of Linux (include/net/tcp_states.h) from lwIP's.
static u8 state_of(const struct tcp_sock *t)
{
    static const u8 states[] = {
        [CLOSED] = 7,      [LISTEN] = 10,    [SYN_SENT] = 2,   [SYN_RCVD] = 3,
        [ESTABLISHED] = 1, [FIN_WAIT_1] = 4, [FIN_WAIT_2] = 5, [CLOSE_WAIT] = 8,
        [CLOSING] = 11,    [LAST_ACK] = 9,   [TIME_WAIT] = 6};
    return t->pcb ? states[t->pcb->state] : 7;
}

void tcp_fill_row(struct socket *s, struct inet_row *row)
{
    const struct tcp_sock *t = tcp_of(s);
    const struct tcp_pcb *pcb = t->state == TCP_LISTENING ? NULL : t->pcb;
    *row = (struct inet_row){.shown = t->pcb != NULL, .state = state_of(t)};
    if (t->state == TCP_LISTENING) {
        row->rx_queue = t->n_accept;
    } else if (pcb) {
        row->tx_queue = tcp_queued(t);
        row->rx_queue = t->rx_bytes;
        row->retransmits = pcb->nrtx;
        row->timer = pcb->unacked ? 1 : pcb->state == TIME_WAIT ? 3 : 0;
    }
}

struct tcp_counts {
    u32 established, waiting;
};

static void count_one(struct tcp_pcb *pcb, void *counts)
{
    struct tcp_counts *c = counts;
    c->established += pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT;
    c->waiting += pcb->state == TIME_WAIT;
}

static struct tcp_counts count_pcbs(void)
{
    struct net_stack *st = net_stack_here();
    struct tcp_counts c = {0};
    net_lock(st);
    tcp_flows_each(count_one, &c);
    net_unlock(st);
    return c;
}

u32 tcp_time_wait_count(void) { return count_pcbs().waiting; }
u32 tcp_established_count(void) { return count_pcbs().established; }

static void fill_info(struct tcp_sock *t, struct tcp_info *info)
{
    memset(info, 0, sizeof(*info));
    net_lock(t->i.stack);
    info->state = state_of(t);
    const struct tcp_pcb *pcb = t->state == TCP_LISTENING ? NULL : t->pcb;
    if (pcb) {
        const u32 tick_us = TCP_SLOW_INTERVAL * 1000;
        info->retransmits = pcb->nrtx;
        info->options = (pcb->flags & TF_TIMESTAMP ? 1 : 0) | (pcb->flags & TF_SACK ? 2 : 0) |
                        (pcb->flags & TF_WND_SCALE ? 4 : 0);
        info->scales = (u8)(pcb->snd_scale | pcb->rcv_scale << 4);
        info->rto = (u32)pcb->rto * tick_us;
        info->snd_mss = info->rcv_mss = info->advmss = t->wire_mss;
        info->unacked = pcb->snd_queuelen;
        info->rtt = (u32)(pcb->sa >> 3) * tick_us;
        info->rttvar = (u32)(pcb->sv >> 2) * tick_us;
        info->snd_ssthresh = pcb->ssthresh / MAX(t->wire_mss, 1u);
        info->snd_cwnd = pcb->cwnd / MAX(t->wire_mss, 1u);
        info->rcv_space = pcb->rcv_wnd;
        info->total_retrans = t->n_retransmitted;
    } else if (t->state == TCP_LISTENING) {
        info->unacked = t->n_accept;  // as Linux: the length and the limit of the accept queue
        info->sacked = t->backlog;
    }
    net_unlock(t->i.stack);
}

int tcp_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    struct tcp_sock *t = tcp_of(s);
    if (level != SOL_TCP)
        return inet_get_option(s, level, name, value, len);
    switch (name) {
    case TCP_NODELAY: return option_put_int(t->no_delay, value, len);
    case TCP_CORK: return option_put_int(t->cork, value, len);
    case TCP_KEEPIDLE: return option_put_int((int)t->keep_idle_s, value, len);
    case TCP_KEEPINTVL: return option_put_int((int)t->keep_interval_s, value, len);
    case TCP_SYNCNT: return option_put_int(t->syn_retries, value, len);
    case TCP_USER_TIMEOUT: return option_put_int((int)t->user_timeout_ms, value, len);
    case TCP_DEFER_ACCEPT: return option_put_int((int)t->defer_s, value, len);
    case TCP_QUICKACK: return option_put_int(!t->slow_ack, value, len);
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT: return option_put_int(0, value, len);
    case TCP_KEEPCNT: return option_put_int(t->keep_count, value, len);
    case TCP_MAXSEG: {
        net_lock(t->i.stack);
        int mss = t->pcb && t->state != TCP_LISTENING ? t->wire_mss : 536;
        net_unlock(t->i.stack);
        return option_put_int(mss, value, len);
    }
    case TCP_INFO: {
        struct tcp_info info;
        fill_info(t, &info);
        *len = MIN(*len, (u32)sizeof(info));
        memcpy(value, &info, *len);
        return 0;
    }
    case TCP_CONGESTION: {
        static const char reno[16] = "reno";
        *len = MIN(*len, (u32)sizeof(reno));
        memcpy(value, reno, *len);
        return 0;
    }
    default: return -ENOPROTOOPT;
    }
}

long tcp_ioctl(struct socket *s, unsigned cmd, uptr_t arg)
{
    const struct tcp_sock *t = tcp_of(s);
    if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCATMARK && cmd != SIOCOUTQNSD)
        return inet_ioctl(s, cmd, arg);
    if (t->state == TCP_LISTENING && cmd != SIOCATMARK)
        return -EINVAL;
    u32 n = 0;
    net_lock(t->i.stack);
    if (cmd == SIOCINQ)
        n = t->rx_bytes;
    else if (cmd == SIOCOUTQ)
        n = tcp_queued(t);
    else if (cmd == SIOCOUTQNSD && t->pcb)
        n = t->pcb->snd_lbb - t->pcb->snd_nxt;
    net_unlock(t->i.stack);
    return put_user_u32(arg, n) ? -EFAULT : 0;
}
