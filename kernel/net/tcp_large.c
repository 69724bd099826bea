// SPDX-License-Identifier: BSD-2-Clause
// tcp_large.c: segments longer than a frame, for devices that cut them (TSO): what a connection sends goes through lwIP in pieces of
// ten frames.
//
// lwIP makes segments of pcb->mss bytes, and its window of congestion is never less than one of them. So a connection over such a
// device has ten times the other end's maximum segment size there (the initial window of RFC 6928); wire_mss keeps the true one.
// The device cuts by the interface's MTU, so this is only for those whose segments are as long as that allows.
//
// IP would cut what is longer than the MTU into fragments. The interface has a larger MTU, and so has the destination in IPv6's
// cache, from the moment that the segment is complete (net_large_begin, of lwIP's hook) until IP has let it pass and hands it to the
// interface (net_large_end).
//
// All runs under the stack's lock.
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/ip.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "net/device.h"
#include "net/tcp_internal.h"

#define FRAMES 10u
#define OPTION_BYTES(pcb) ((pcb)->flags & TF_TIMESTAMP ? 12u : 0u)

void tcp_large_segments(struct tcp_sock *t)
{
    struct tcp_pcb *pcb = t->pcb;
    bool six = IP_IS_V6_VAL(pcb->remote_ip);
    t->wire_mss = pcb->mss;
    t->device = NULL;
    struct netif *netif = pcb->netif_idx != NETIF_NO_INDEX
                              ? netif_get_by_index(pcb->netif_idx)
                              : ip_route(&pcb->local_ip, &pcb->remote_ip);
    if (!netif || netif == &t->i.stack->loopback)
        return;
    struct net_device *d = netif->state;
    u32 headers = (six ? IP6_HLEN : IP_HLEN) + TCP_HLEN, options = OPTION_BYTES(pcb);
    if (!(d->offloads & (six ? NET_TSO6 : NET_TSO4)) || pcb->mss + headers != d->mtu)
        return;
    u32 n = MIN(FRAMES, (d->send_most - headers - options) / (pcb->mss - options));
    t->device = d;
    pcb->mss = (u16)(n * (pcb->mss - options) + options);
    pcb->cwnd = MAX(pcb->cwnd, (tcpwnd_size_t)pcb->mss);
}

// The path MTU that IPv6 keeps for a destination. => NULL: none yet
static u16_t *path_mtu(const struct tcp_pcb *pcb)
{
    for (int i = 0; i < LWIP_ND6_NUM_DESTINATIONS; i++) {
        if (ip6_addr_eq(ip_2_ip6(&pcb->remote_ip), &destination_cache[i].destination_addr))
            return &destination_cache[i].pmtu;
    }
    return NULL;
}

void net_large_begin(const struct tcp_sock *t, const struct tcp_pcb *pcb)
{
    struct net_device *d = t->device;
    net_large_end(d);
    u16_t *path = IP_IS_V6_VAL(pcb->remote_ip) ? path_mtu(pcb) : NULL;
    if (path && *path < d->mtu)
        return;  // narrower on its way than here: IP cuts
    d->wide = (struct wide_mtu){true, d->netif.mtu, d->netif.mtu6, path ? *path : 0, path};
    d->netif.mtu = d->netif.mtu6 = d->send_most;
    if (path)
        *path = d->send_most;
}

void net_large_end(struct net_device *d)
{
    if (likely(!d->wide.on))
        return;
    d->wide.on = false;
    d->netif.mtu = d->wide.mtu;
    d->netif.mtu6 = d->wide.mtu6;
    if (d->wide.path)
        *d->wide.path = d->wide.path_mtu;
}
