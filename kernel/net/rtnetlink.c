// SPDX-License-Identifier: BSD-2-Clause
// rtnetlink.c: NETLINK_ROUTE: links, addresses, routes and neighbours to read (rtnetlink(7)), and news of changes.
//
// Nothing can be set: the addresses are the tool's to give and the router's to tell. What would change something is refused as on a
// Linux whose driver cannot do it (EOPNOTSUPP), or before that for want of CAP_NET_ADMIN (EPERM).
#include <string.h>

#include "lwip/etharp.h"
#include "lwip/ip.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "lwip/priv/nd6_priv.h"
#include "net/inet.h"
#include "net/interface.h"
#include "net/netlink.h"

#define CAP_NET_ADMIN 12
#define TX_QUEUE_LEN 1000
#define STATS_NUMBERS 24  // numbers in struct rtnl_link_stats64
#define FOREVER UINT32_MAX

enum {  // user ABI: RTM_*
    RTM_NEWLINK = 16,
    RTM_GETLINK = 18,
    RTM_NEWADDR = 20,
    RTM_GETADDR = 22,
    RTM_NEWROUTE = 24,
    RTM_GETROUTE = 26,
    RTM_NEWNEIGH = 28,
    RTM_GETNEIGH = 30,
    RTM_MAX = 123,
    RTM_KIND_GET = 2,  // of the two lowest bits
};
enum {
    IFLA_ADDRESS = 1,
    IFLA_BROADCAST = 2,
    IFLA_IFNAME = 3,
    IFLA_MTU = 4,
    IFLA_QDISC = 6,
    IFLA_STATS = 7,
    IFLA_TXQLEN = 13,
    IFLA_OPERSTATE = 16,
    IFLA_LINKMODE = 17,
    IFLA_STATS64 = 23,
    IFLA_GROUP = 27,
    IFLA_PROMISCUITY = 30,
    IFLA_NUM_TX_QUEUES = 31,
    IFLA_NUM_RX_QUEUES = 32,
    IFLA_CARRIER = 33,
};
enum { IFA_ADDRESS = 1, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO = 6, IFA_FLAGS = 8 };
enum { IFA_F_TENTATIVE = 0x40, IFA_F_PERMANENT = 0x80 };
enum { RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE = 15 };
enum { RT_TABLE_MAIN = 254, RT_TABLE_LOCAL = 255 };
enum { RTPROT_KERNEL = 2, RTPROT_BOOT = 3, RTPROT_RA = 9, RTPROT_DHCP = 16 };
enum { RTN_UNICAST = 1, RTN_LOCAL = 2, RTN_BROADCAST = 3 };
enum { NDA_DST = 1, NDA_LLADDR = 2 };
enum { NUD_REACHABLE = 2, NUD_STALE = 4, NUD_DELAY = 8, NUD_PROBE = 0x10 };
enum { OPERSTATE_UNKNOWN = 0, OPERSTATE_DOWN = 2, OPERSTATE_UP = 6 };
enum { GROUP_LINK = 1, GROUP_IPV4_ADDRESS = 5, GROUP_IPV6_ADDRESS = 9 };

struct link_message {  // user ABI: struct ifinfomsg
    u8 family, pad;
    u16 type;
    s32 index;
    u32 flags, change;
};
struct address_message {  // struct ifaddrmsg
    u8 family, prefix, flags, scope;
    u32 index;
};
struct route_message {  // struct rtmsg
    u8 family, dst_len, src_len, tos, table, protocol, scope, type;
    u32 flags;
};
struct neighbour_message {  // struct ndmsg
    u8 family, pad1;
    u16 pad2;
    s32 index;
    u16 state;
    u8 flags, type;
};

static u8 family_of(const struct nl_header *h)
{
    return h->len > sizeof(*h) ? *(const u8 *)(h + 1) : 0;
}

static bool wants(const struct nl_header *h, u8 family)
{
    return family_of(h) == AF_UNSPEC || family_of(h) == family;
}

static u16 multi(const struct nl_header *h)
{
    return h && (h->flags & NLM_F_DUMP) ? NLM_F_MULTI : 0;
}

// ---- links

static void put_stats(struct nl_writer *w, const struct interface_counters *c)
{
    u64 wide[STATS_NUMBERS] = {c->rx_frames,  c->tx_frames,  c->rx_bytes,    c->tx_bytes, 0, 0,
                               c->rx_dropped, c->tx_dropped, c->rx_multicast};
    u32 narrow[STATS_NUMBERS];
    for (int i = 0; i < STATS_NUMBERS; i++)
        narrow[i] = (u32)wide[i];
    nl_put(w, IFLA_STATS64, wide, sizeof(wide));
    nl_put(w, IFLA_STATS, narrow, sizeof(narrow));
}

static void put_link(const struct nl_header *h, const struct interface *i, struct seq_buf *out)
{
    u8 broadcast[6];
    struct link_message body = {
        .type = i->type, .index = (s32)i->index, .flags = i->flags, .change = 0};
    bool loopback = i->flags & IFF_LOOPBACK, up = i->flags & IFF_LOWER_UP;
    struct nl_writer w = nl_begin(out, h, RTM_NEWLINK, multi(h), &body, sizeof(body));
    memset(broadcast, loopback ? 0 : 0xff, sizeof(broadcast));
    nl_put_text(&w, IFLA_IFNAME, i->name);
    nl_put_u32(&w, IFLA_TXQLEN, TX_QUEUE_LEN);
    nl_put_u8(&w, IFLA_OPERSTATE,
              loopback ? OPERSTATE_UNKNOWN
              : up     ? OPERSTATE_UP
                       : OPERSTATE_DOWN);
    nl_put_u8(&w, IFLA_LINKMODE, 0);
    nl_put_u32(&w, IFLA_MTU, i->mtu);
    nl_put_u32(&w, IFLA_GROUP, 0);
    nl_put_u32(&w, IFLA_PROMISCUITY, 0);
    nl_put_u32(&w, IFLA_NUM_TX_QUEUES, 1);
    nl_put_u32(&w, IFLA_NUM_RX_QUEUES, 1);
    nl_put_u8(&w, IFLA_CARRIER, up);
    nl_put_text(&w, IFLA_QDISC, "noqueue");
    nl_put(&w, IFLA_ADDRESS, i->mac, sizeof(i->mac));
    nl_put(&w, IFLA_BROADCAST, broadcast, sizeof(broadcast));
    put_stats(&w, &i->counters);
    nl_end(&w);
}

static int get_links(const struct nl_header *h, struct seq_buf *out)
{
    struct interface i;
    if (h->flags & NLM_F_DUMP) {
        for (u32 index = 1; interface_get(index, &i); index++)
            put_link(h, &i, out);
        return 0;
    }
    struct link_message body;
    if (h->len < sizeof(*h) + sizeof(body))
        return -EINVAL;
    memcpy(&body, h + 1, sizeof(body));
    u32 index = (u32)body.index;
    if (body.index <= 0) {
        char name[INTERFACE_NAME_MAX] = "";
        size_t len;
        const char *given = nl_find(h, sizeof(body), IFLA_IFNAME, &len);
        if (body.index < 0 || !given)
            return -EINVAL;
        memcpy(name, given, MIN(len, sizeof(name) - 1));
        index = interface_find(name);
    }
    if (!interface_get(index, &i))
        return -ENODEV;
    put_link(h, &i, out);
    return 0;
}

// ---- addresses

static void end_address(struct nl_writer *w, const struct address_message *body)
{
    u32 times[4] = {FOREVER, FOREVER, 0, 0};
    nl_put_u32(w, IFA_FLAGS, body->flags);
    nl_put(w, IFA_CACHEINFO, times, sizeof(times));
    nl_end(w);
}

static void put_address4(const struct nl_header *h, const struct interface *i, struct seq_buf *out)
{
    struct address_message body = {.family = AF_INET,
                                   .prefix = i->prefix,
                                   .flags = IFA_F_PERMANENT,
                                   .scope =
                                       i->flags & IFF_LOOPBACK ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
                                   .index = i->index};
    struct nl_writer w = nl_begin(out, h, RTM_NEWADDR, multi(h), &body, sizeof(body));
    nl_put_u32(&w, IFA_ADDRESS, i->address);
    nl_put_u32(&w, IFA_LOCAL, i->address);
    if (i->broadcast)
        nl_put_u32(&w, IFA_BROADCAST, i->broadcast);
    nl_put_text(&w, IFA_LABEL, i->name);
    end_address(&w, &body);
}

static void put_addresses6(const struct nl_header *h, const struct interface *i,
                           struct seq_buf *out)
{
    for (u32 n = 0; n < i->n_address6; n++) {
        const struct interface_address6 *a = &i->address6[n];
        struct address_message body = {
            .family = AF_INET6,
            .prefix = a->prefix,
            .flags = (u8)((a->tentative ? IFA_F_TENTATIVE : 0) | (a->fixed ? IFA_F_PERMANENT : 0)),
            .scope = a->scope,
            .index = i->index};
        struct nl_writer w = nl_begin(out, h, RTM_NEWADDR, multi(h), &body, sizeof(body));
        nl_put(&w, IFA_ADDRESS, a->address, sizeof(a->address));
        end_address(&w, &body);
    }
}

static int get_addresses(const struct nl_header *h, struct seq_buf *out)
{
    struct interface i;
    if (!(h->flags & NLM_F_DUMP))
        return -EOPNOTSUPP;
    for (u32 index = 1; interface_get(index, &i); index++) {
        if (wants(h, AF_INET) && i.address)
            put_address4(h, &i, out);
    }
    for (u32 index = 1; interface_get(index, &i); index++) {
        if (wants(h, AF_INET6))
            put_addresses6(h, &i, out);
    }
    return 0;
}

// ---- routes

struct route {
    struct route_message m;
    u32 index;
    const void *dst, *gateway, *source;  // NULL: none
};

static void put_route(const struct nl_header *h, const struct route *r, struct seq_buf *out)
{
    size_t len = r->m.family == AF_INET ? 4 : 16;
    struct nl_writer w = nl_begin(out, h, RTM_NEWROUTE, multi(h), &r->m, sizeof(r->m));
    nl_put_u32(&w, RTA_TABLE, r->m.table);
    if (r->dst)
        nl_put(&w, RTA_DST, r->dst, len);
    if (r->m.family == AF_INET6)
        nl_put_u32(&w, RTA_PRIORITY, r->m.table == RT_TABLE_LOCAL ? 0 : r->gateway ? 1024 : 256);
    if (r->source)
        nl_put(&w, RTA_PREFSRC, r->source, len);
    if (r->gateway)
        nl_put(&w, RTA_GATEWAY, r->gateway, len);
    nl_put_u32(&w, RTA_OIF, r->index);
    nl_end(&w);
}

static void put_route4(const struct nl_header *h, const struct interface *i, u32 dst, u8 bits,
                       u8 table, u8 type, u8 scope, struct seq_buf *out)
{
    struct route r = {.m = {.family = AF_INET,
                            .dst_len = bits,
                            .table = table,
                            .protocol = RTPROT_KERNEL,
                            .scope = scope,
                            .type = type},
                      .index = i->index,
                      .dst = &dst,
                      .source = &i->address};
    put_route(h, &r, out);
}

static void put_routes4(const struct nl_header *h, const struct interface *i, struct seq_buf *out)
{
    bool loopback = i->flags & IFF_LOOPBACK;
    if (!i->address)
        return;
    if (i->gateway) {
        struct route r = {.m = {.family = AF_INET,
                                .table = RT_TABLE_MAIN,
                                .protocol = i->leased ? RTPROT_DHCP : RTPROT_BOOT,
                                .type = RTN_UNICAST},
                          .index = i->index,
                          .gateway = &i->gateway};
        put_route(h, &r, out);
    }
    put_route4(h, i, i->address & i->netmask, i->prefix, loopback ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
               loopback ? RTN_LOCAL : RTN_UNICAST, loopback ? RT_SCOPE_HOST : RT_SCOPE_LINK, out);
    put_route4(h, i, i->address, 32, RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_HOST, out);
    if (i->broadcast)
        put_route4(h, i, i->broadcast, 32, RT_TABLE_LOCAL, RTN_BROADCAST, RT_SCOPE_LINK, out);
}

static void put_route6(const struct nl_header *h, u32 index, const void *dst, u8 bits, u8 table,
                       u8 type, const void *gateway, struct seq_buf *out)
{
    struct route r = {.m = {.family = AF_INET6,
                            .dst_len = bits,
                            .table = table,
                            .protocol = gateway ? RTPROT_RA : RTPROT_KERNEL,
                            .type = type},
                      .index = index,
                      .dst = dst,
                      .gateway = gateway};
    put_route(h, &r, out);
}

static void put_routes6(const struct nl_header *h, const struct interface *i, struct seq_buf *out)
{
    for (u32 n = 0; n < i->n_address6; n++) {
        const struct interface_address6 *a = &i->address6[n];
        u8 net[16] = {0};
        memcpy(net, a->address, a->prefix / 8);
        if (a->prefix < 128)
            put_route6(h, i->index, net, a->prefix, RT_TABLE_MAIN, RTN_UNICAST, NULL, out);
        put_route6(h, i->index, a->address, 128, RT_TABLE_LOCAL, RTN_LOCAL, NULL, out);
    }
}

// The routers that have told of themselves.
static void put_routers6(const struct nl_header *h, struct seq_buf *out)
{
    struct net_stack *st = net_stack_here();
    for (u32 n = 0; n < LWIP_ND6_NUM_ROUTERS; n++) {
        u8 gateway[16];
        u32 index = 0;
        net_lock(st);
        const struct nd6_neighbor_cache_entry *e = default_router_list[n].neighbor_entry;
        if (e && e->netif) {
            index = netif_get_index(e->netif);
            memcpy(gateway, e->next_hop_address.addr, sizeof(gateway));
        }
        net_unlock(st);
        if (index)
            put_route6(h, index, NULL, 0, RT_TABLE_MAIN, RTN_UNICAST, gateway, out);
    }
}

// "ip route get": how this machine would reach an address.
static int get_route_to(const struct nl_header *h, struct seq_buf *out)
{
    struct net_stack *st = net_stack_here();
    struct interface i;
    ip_addr_t to = {0}, from = {0};
    struct route_message body;
    size_t len, want;
    if (h->len < sizeof(*h) + sizeof(body))
        return -EINVAL;
    memcpy(&body, h + 1, sizeof(body));
    want = body.family == AF_INET6 ? 16 : 4;
    const void *dst = nl_find(h, sizeof(body), RTA_DST, &len);
    if (body.family != AF_INET && body.family != AF_INET6)
        return -EOPNOTSUPP;
    if (!dst || len < want || net_stack_start(st))
        return -EINVAL;
    ip_addr_set_any(body.family == AF_INET6, &to);
    ip_addr_set_any(body.family == AF_INET6, &from);
    memcpy(&to, dst, want);
    net_lock(st);
    struct netif *netif = inet_route(&from, &to);
    u32 index = netif ? netif_get_index(netif) : 0;
    const ip_addr_t *own = netif ? ip_netif_get_local_ip(netif, &to) : NULL;
    if (own)
        from = *own;
    net_unlock(st);
    if (!interface_get(index, &i))
        return -ENETUNREACH;
    bool direct = body.family == AF_INET6 || !((ip_addr_get_ip4_u32(&to) ^ i.address) & i.netmask);
    struct route r = {.m = {.family = body.family,
                            .dst_len = (u8)(want * 8),
                            .table = RT_TABLE_MAIN,
                            .type = i.flags & IFF_LOOPBACK ? RTN_LOCAL : RTN_UNICAST},
                      .index = index,
                      .dst = dst,
                      .gateway = direct ? NULL : &i.gateway,
                      .source = own ? (const void *)&from : NULL};
    put_route(h, &r, out);
    return 0;
}

static int get_routes(const struct nl_header *h, struct seq_buf *out)
{
    struct interface i;
    if (!(h->flags & NLM_F_DUMP))
        return get_route_to(h, out);
    for (u32 index = 1; wants(h, AF_INET) && interface_get(index, &i); index++)
        put_routes4(h, &i, out);
    for (u32 index = 1; wants(h, AF_INET6) && interface_get(index, &i); index++)
        put_routes6(h, &i, out);
    if (wants(h, AF_INET6))
        put_routers6(h, out);
    return 0;
}

// ---- neighbours

static void put_neighbour(const struct nl_header *h, u8 family, u32 index, u16 state,
                          const void *ip, const void *mac, struct seq_buf *out)
{
    struct neighbour_message body = {
        .family = family, .index = (s32)index, .state = state, .type = RTN_UNICAST};
    struct nl_writer w = nl_begin(out, h, RTM_NEWNEIGH, multi(h), &body, sizeof(body));
    nl_put(&w, NDA_DST, ip, family == AF_INET ? 4 : 16);
    nl_put(&w, NDA_LLADDR, mac, 6);
    nl_end(&w);
}

static void put_arp(const struct nl_header *h, size_t n, struct seq_buf *out)
{
    struct net_stack *st = net_stack_here();
    ip4_addr_t *ip, ip_copy;
    struct netif *netif;
    struct eth_addr *mac, mac_copy;
    u32 index = 0;
    net_lock(st);
    if (etharp_get_entry(n, &ip, &netif, &mac)) {
        ip_copy = *ip;
        mac_copy = *mac;
        index = netif_get_index(netif);
    }
    net_unlock(st);
    if (index)
        put_neighbour(h, AF_INET, index, NUD_REACHABLE, &ip_copy, &mac_copy, out);
}

static void put_nd6(const struct nl_header *h, size_t n, struct seq_buf *out)
{
    static const u8 states[] = {[ND6_REACHABLE] = NUD_REACHABLE,
                                [ND6_STALE] = NUD_STALE,
                                [ND6_DELAY] = NUD_DELAY,
                                [ND6_PROBE] = NUD_PROBE};
    struct net_stack *st = net_stack_here();
    net_lock(st);
    struct nd6_neighbor_cache_entry e = neighbor_cache[n];
    net_unlock(st);
    if (e.netif && e.state >= ND6_REACHABLE && e.state <= ND6_PROBE)
        put_neighbour(h, AF_INET6, netif_get_index(e.netif), states[e.state],
                      e.next_hop_address.addr, e.lladdr, out);
}

static int get_neighbours(const struct nl_header *h, struct seq_buf *out)
{
    if (!(h->flags & NLM_F_DUMP))
        return -EOPNOTSUPP;
    if (net_stack_start(net_stack_here()))
        return -ENOMEM;
    for (size_t n = 0; wants(h, AF_INET) && n < ARP_TABLE_SIZE; n++)
        put_arp(h, n, out);
    for (size_t n = 0; wants(h, AF_INET6) && n < LWIP_ND6_NUM_NEIGHBORS; n++)
        put_nd6(h, n, out);
    return 0;
}

// ---- all of them

int rtnetlink_request(const struct nl_header *h, struct seq_buf *out)
{
    if (h->type > RTM_MAX)
        return -EOPNOTSUPP;
    if (h->len <= sizeof(*h))
        return 0;
    if ((h->type & 3) != RTM_KIND_GET)
        return capable(CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
    switch (h->type) {
    case RTM_GETLINK: return get_links(h, out);
    case RTM_GETADDR: return get_addresses(h, out);
    case RTM_GETROUTE: return get_routes(h, out);
    case RTM_GETNEIGH: return get_neighbours(h, out);
    default: return -EOPNOTSUPP;
    }
}

void rtnetlink_notify(u32 index)
{
    struct interface i;
    struct seq_buf out;
    if (!netlink_has_listeners() || !interface_get(index, &i))
        return;
    seq_init(&out);
    put_link(NULL, &i, &out);
    netlink_multicast(GROUP_LINK, &out);
    out.len = 0;
    if (i.address)
        put_address4(NULL, &i, &out);
    netlink_multicast(GROUP_IPV4_ADDRESS, &out);
    out.len = 0;
    put_addresses6(NULL, &i, &out);
    netlink_multicast(GROUP_IPV6_ADDRESS, &out);
    seq_free(&out);
}
