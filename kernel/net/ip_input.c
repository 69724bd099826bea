// SPDX-License-Identifier: BSD-2-Clause
// ip_input.c: what we look at in a packet before lwIP does (its hooks for IP input): addresses of the loopback network, and
// ICMP errors, which lwIP counts and forgets but sockets want to hear of.
//
// Everything here runs with the stack's lock held.
#include <string.h>

#include "lwip/icmp.h"
#include "lwip/icmp6.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "net/inet.h"

#define LOOPBACK_NET 127u
#define ICMP_HEADER 8u
#define INNER_MAX (60u + 8u)  // the longest IPv4 header, and the ports behind it

static bool in_loopback_net(u32 address) { return (address & 0xff) == LOOPBACK_NET; }

// All of 127/8 is this machine. lwIP takes what is for an interface's address, so the loopback interface has the one that a packet
// is for while that packet is taken in; net_loopback_restore sets it right afterwards.
static void accept_loopback(struct netif *lo, u32 dest)
{
    u32 own =
        in_loopback_net(dest) && dest != PP_HTONL(0x7fffffff) ? dest : PP_HTONL(IPADDR_LOOPBACK);
    ip_2_ip4(&lo->ip_addr)->addr = own;
}

void net_loopback_restore(struct net_stack *st)
{
    ip_2_ip4(&st->loopback.ip_addr)->addr = PP_HTONL(IPADDR_LOOPBACK);
}

static void count_loopback(struct net_stack *st, const struct pbuf *p)
{
    struct interface_counters *c = &st->loopback_counters;
    c->rx_frames = ++c->tx_frames;
    c->rx_bytes = c->tx_bytes += p->tot_len;
}

// ---- ICMP

// What Linux makes of the codes of "destination unreachable"; hard: also without IP_RECVERR.
static const struct {
    u8 error;
    bool hard;
} unreachable4[] =
    {
        {ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},  {ECONNREFUSED, true},
        {EMSGSIZE, false},     {EOPNOTSUPP, false},   {ENETUNREACH, true},  {EHOSTDOWN, true},
        {ENONET, true},        {ENETUNREACH, true},   {EHOSTUNREACH, true}, {ENETUNREACH, false},
        {EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
},
  unreachable6[] = {
      {ENETUNREACH, false}, {EACCES, true}, {EHOSTUNREACH, true}, {EHOSTUNREACH, false},
      {ECONNREFUSED, true}, {EACCES, true}, {EACCES, true},
};

static void tell_sockets(struct net_icmp_error *e, u8 protocol, const u8 ports[4])
{
    e->local_port = (u16)(ports[0] << 8 | ports[1]);
    e->remote_port = (u16)(ports[2] << 8 | ports[3]);
    if (protocol == IP_PROTO_UDP)
        udp_icmp_error(e);
    else if (protocol == IP_PROTO_TCP)
        tcp_icmp_error(e);
}

// => false: not an error that sockets hear of
static bool classify4(struct net_icmp_error *e, const u8 *icmp)
{
    e->type = icmp[0];
    e->code = icmp[1];
    switch (e->type) {
    case ICMP_DUR:
        if (e->code >= ARRAY_SIZE(unreachable4))
            return false;
        e->error = unreachable4[e->code].error;
        e->hard = unreachable4[e->code].hard;
        e->info = e->code == ICMP_DUR_FRAG ? (u32)(icmp[6] << 8 | icmp[7]) : 0;
        return true;
    case ICMP_TE: e->error = EHOSTUNREACH; return true;
    case ICMP_PP:
        e->error = EPROTO;
        e->hard = true;
        return true;
    default: return false;
    }
}

// An ICMP message; its IPv4 header has `header` bytes.
static void look_at_icmp4(struct pbuf *p, u16 header)
{
    u8 buf[ICMP_HEADER + INNER_MAX];
    struct net_icmp_error e = {.error = 0};
    struct ip_hdr outer, inner;
    u16 got = pbuf_copy_partial(p, buf, sizeof(buf), header);
    if (got < ICMP_HEADER + IP_HLEN + 8 || !classify4(&e, buf))
        return;
    memcpy(&outer, p->payload, sizeof(outer));
    memcpy(&inner, buf + ICMP_HEADER, sizeof(inner));
    u32 inner_header = IPH_HL_BYTES(&inner);
    if (IPH_V(&inner) != 4 || inner_header < IP_HLEN || got < ICMP_HEADER + inner_header + 8 ||
        (IPH_OFFSET(&inner) & PP_HTONS(IP_OFFMASK)))
        return;
    ip_addr_set_ip4_u32(&e.from, outer.src.addr);
    ip_addr_set_ip4_u32(&e.local, inner.src.addr);
    ip_addr_set_ip4_u32(&e.remote, inner.dest.addr);
    tell_sockets(&e, IPH_PROTO(&inner), buf + ICMP_HEADER + inner_header);
}

static bool classify6(struct net_icmp_error *e, const u8 *icmp)
{
    e->type = icmp[0];
    e->code = icmp[1];
    switch (e->type) {
    case ICMP6_TYPE_DUR:
        e->error = e->code < ARRAY_SIZE(unreachable6) ? unreachable6[e->code].error : EPROTO;
        e->hard = e->code >= ARRAY_SIZE(unreachable6) || unreachable6[e->code].hard;
        return true;
    case ICMP6_TYPE_PTB:
        e->error = EMSGSIZE;
        e->info = (u32)icmp[4] << 24 | (u32)icmp[5] << 16 | (u32)icmp[6] << 8 | icmp[7];
        return true;
    case ICMP6_TYPE_TE: e->error = EHOSTUNREACH; return true;
    case ICMP6_TYPE_PP:
        e->error = EPROTO;
        e->hard = true;
        return true;
    default: return false;
    }
}

static void look_at_icmp6(struct pbuf *p)
{
    u8 buf[ICMP_HEADER + IP6_HLEN + 8];
    struct net_icmp_error e = {.error = 0};
    struct ip6_hdr outer, inner;
    ip6_addr_t address;
    if (pbuf_copy_partial(p, buf, sizeof(buf), IP6_HLEN) < sizeof(buf) || !classify6(&e, buf))
        return;
    memcpy(&outer, p->payload, sizeof(outer));
    memcpy(&inner, buf + ICMP_HEADER, sizeof(inner));
    ip6_addr_copy_from_packed(address, outer.src);
    ip_addr_copy_from_ip6(e.from, address);
    ip6_addr_copy_from_packed(address, inner.src);
    ip_addr_copy_from_ip6(e.local, address);
    ip6_addr_copy_from_packed(address, inner.dest);
    ip_addr_copy_from_ip6(e.remote, address);
    tell_sockets(&e, IP6H_NEXTH(&inner), buf + ICMP_HEADER + IP6_HLEN);
}

// A damaged message is lwIP's to count. Those of the loopback interface carry no checksums.
static bool intact4(struct pbuf *p, u16 header, const struct netif *inp)
{
    if (inp == &net_stack_here()->loopback)
        return true;
    if (pbuf_remove_header(p, header))
        return false;
    bool intact = inet_chksum_pbuf(p) == 0;
    pbuf_add_header(p, header);
    return intact;
}

static bool intact6(struct pbuf *p, const struct netif *inp)
{
    struct ip6_hdr h;
    ip6_addr_t src, dest;
    if (inp == &net_stack_here()->loopback)
        return true;
    memcpy(&h, p->payload, sizeof(h));
    ip6_addr_copy_from_packed(src, h.src);
    ip6_addr_copy_from_packed(dest, h.dest);
    if (pbuf_remove_header(p, IP6_HLEN))
        return false;
    bool intact = ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, &src, &dest) == 0;
    pbuf_add_header(p, IP6_HLEN);
    return intact;
}

// ---- the hooks. => true: eaten

int net_ip4_input(struct pbuf *p, struct netif *inp)
{
    struct net_stack *st = net_stack_here();
    struct ip_hdr h;
    if (p->len < IP_HLEN)
        return 0;
    memcpy(&h, p->payload, sizeof(h));
    if (inp == &st->loopback) {
        count_loopback(st, p);
        accept_loopback(inp, h.dest.addr);
    } else if (in_loopback_net(h.dest.addr)) {  // does not come over a wire
        pbuf_free(p);
        return 1;
    }
    u16 header = IPH_HL_BYTES(&h);
    if (unlikely(IPH_PROTO(&h) == IP_PROTO_ICMP) && IPH_V(&h) == 4 && header >= IP_HLEN &&
        lwip_ntohs(IPH_LEN(&h)) == p->tot_len && intact4(p, header, inp))
        look_at_icmp4(p, header);
    return 0;
}

int net_ip6_input(struct pbuf *p, struct netif *inp)
{
    struct net_stack *st = net_stack_here();
    if (inp == &st->loopback)
        count_loopback(st, p);
    if (p->len < IP6_HLEN)
        return 0;
    if (unlikely(IP6H_NEXTH((struct ip6_hdr *)p->payload) == IP6_NEXTH_ICMP6) &&
        p->tot_len == IP6_HLEN + IP6H_PLEN((struct ip6_hdr *)p->payload) && intact6(p, inp))
        look_at_icmp6(p);
    return 0;
}
