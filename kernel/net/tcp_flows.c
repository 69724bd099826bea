// SPDX-License-Identifier: BSD-2-Clause
// tcp_flows.c: how a connection is found among many.
//
// lwIP walks one list of connections for each segment, and another of those in TIME-WAIT. Here both are cut into buckets by a
// hash of the connection; tcp_active_pcbs and tcp_tw_pcbs, lwIP's two heads, stand for one bucket at a time:
//
//     bucket 0   [active][waiting]
//     bucket 1   [active][waiting] <──selected──> tcp_active_pcbs, tcp_tw_pcbs
//     ...
//
// So a segment meets only the few connections of its bucket, however many there are.
//
// Invariants
//   F1  A pcb with both addresses is in the bucket of its hash. The hash is the same from both ends' view when the addresses are
//       the same, so that both ends of a connection of this machine with itself are in one bucket (tcp_direct.c).
//   F2  Whatever makes lwIP look at its lists selects the bucket first: each segment (a raw pcb that sees it before
//       TCP does, after reassembly), each call for a pcb, each turn of the timers.
//   F3  The bucket behind the last stays empty: it is for those calls to lwIP that are not about a connection.
//
// All runs under the stack's lock.
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/raw.h"
#include "net/tcp_internal.h"

#define N_BUCKETS 1024u
#define NO_BUCKET N_BUCKETS

static struct {
    struct tcp_pcb *active, *waiting;
} buckets[N_BUCKETS + 1];
static u32 selected = NO_BUCKET;
static u32 secret;  // so that nobody can choose ports that all fall into one bucket

static u32 bucket_of(const ip_addr_t *remote, u32 port_a, u32 port_b)
{
    u32 h = secret ^ (port_a < port_b ? port_a << 16 | port_b : port_b << 16 | port_a);
    if (IP_IS_V6(remote)) {
        const u32_t *word = ip_2_ip6(remote)->addr;
        h ^= word[0] ^ word[1] * 3 ^ word[2] * 5 ^ word[3] * 7;
    } else {
        h ^= ip_2_ip4(remote)->addr;
    }
    h *= 0x9e3779b1u;
    h ^= h >> 15;
    h *= 0x85ebca77u;
    return h >> 22;
}
_Static_assert(N_BUCKETS == 1u << 10, "the shift in bucket_of");

static inline void select_bucket(u32 n)
{
    if (n == selected)
        return;
    buckets[selected].active = tcp_active_pcbs;
    buckets[selected].waiting = tcp_tw_pcbs;
    tcp_active_pcbs = buckets[n].active;
    tcp_tw_pcbs = buckets[n].waiting;
    selected = n;
}

void tcp_flow_select(const ip_addr_t *remote, u16 local_port, u16 remote_port)
{
    select_bucket(bucket_of(remote, local_port, remote_port));
}

void tcp_flow_use(const struct tcp_pcb *pcb)
{
    tcp_flow_select(&pcb->remote_ip, pcb->local_port, pcb->remote_port);
}

// Sees each TCP segment before lwIP's TCP. => 1: it is taken
static u8_t before_tcp(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    u16 ports[2];
    u16 at = (u16)ip_current_header_tot_len();
    if (likely(p->len >= at + sizeof(ports)))
        memcpy(ports, (const u8 *)p->payload + at, sizeof(ports));
    else if (pbuf_copy_partial(p, ports, sizeof(ports), at) != sizeof(ports))
        return 0;
    select_bucket(bucket_of(ip_current_src_addr(), lwip_ntohs(ports[0]), lwip_ntohs(ports[1])));
    return tcp_cookie_input(p);
}

int tcp_flows_init(void)
{
    struct raw_pcb *raw = raw_new_ip_type(IPADDR_TYPE_ANY, IP_PROTO_TCP);
    if (!raw)
        return -ENOMEM;
    secret = net_random();
    raw_recv(raw, before_tcp, NULL);
    return 0;
}

void tcp_flows_each(void (*visit)(struct tcp_pcb *pcb, void *arg), void *arg)
{
    u32 before = selected;
    for (u32 i = 0; i < N_BUCKETS; i++) {
        select_bucket(i);
        for (struct tcp_pcb *pcb = tcp_active_pcbs, *next; pcb; pcb = next) {
            next = pcb->next;
            visit(pcb, arg);
        }
        for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb; pcb = next) {
            next = pcb->next;
            visit(pcb, arg);
        }
    }
    select_bucket(before);
}

// Runs one of lwIP's timers over all buckets. lwIP counts these calls in a byte and passes over a pcb that it has seen at the same
// count: it gets an odd number of them each time, so that no bucket meets its old count for good. => whether any has a pcb
static bool run_timer(void (*timer)(void))
{
    u32 ticks = tcp_ticks, turned = ticks, turns = 0;
    select_bucket(NO_BUCKET);
    for (u32 i = 0; i < N_BUCKETS; i++) {
        if (!buckets[i].active && !buckets[i].waiting)
            continue;
        select_bucket(i);
        tcp_ticks = ticks;
        timer();
        turned = tcp_ticks;
        turns++;
    }
    select_bucket(NO_BUCKET);
    if (turns % 2 == 0) {
        tcp_ticks = ticks;
        timer();
        turned = tcp_ticks;
    }
    tcp_ticks = turned;
    return turns != 0;
}

bool tcp_flows_tick(void)
{
    static bool slow;
    bool any = run_timer(tcp_fasttmr);
    slow = !slow;
    if (slow)
        any = run_timer(tcp_slowtmr);
    return any;
}

void tcp_flows_forget_waiting(void)
{
    u32 before = selected;
    for (u32 i = 0; i < N_BUCKETS; i++) {
        if (i == before)
            continue;  // somebody may stand in it
        select_bucket(i);
        while (tcp_tw_pcbs)
            tcp_abort(tcp_tw_pcbs);
    }
    select_bucket(before);
}

void tcp_flows_address_gone(const ip_addr_t *old)
{
    u32 before = selected;
    for (u32 i = 0; i < N_BUCKETS; i++) {
        select_bucket(i);
        tcp_netif_ip_addr_changed(old, IP_ANY_TYPE);
    }
    select_bucket(before);
}
