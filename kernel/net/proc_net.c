// SPDX-License-Identifier: BSD-2-Clause
// proc_net.c: /proc/net, which is /proc/PID/net (proc(5)): interfaces, tables and counters in the forms that programs parse.
//
// Tables of sockets are made in two steps, so that no lock is held while text is written: references to the sockets of a kind are
// gathered (socket_gather), then each is asked for its row.
//
// Counters are lwIP's: those of TCP and UDP hold both families.
#include <stdio.h>
#include <string.h>

#include "fs/special_internal.h"
#include "lwip/etharp.h"
#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/stats.h"
#include "net/inet.h"
#include "net/interface.h"
#include "net/unix_internal.h"

// Not empty: the rows of /proc/net exist (fs/proc_internal.h).
const char proc_net_name[] = "net";

#define ROUTE_UP 1u
#define ROUTE_GATEWAY 2u

// ---- interfaces

static unsigned long long number(u64 n) { return n; }

static int show_dev(struct seq_buf *out, u64 arg)
{
    struct interface i;
    seq_printf(out, "Inter-|   Receive                                                |  Transmit\n"
                    " face |bytes    packets errs drop fifo frame compressed multicast|"
                    "bytes    packets errs drop fifo colls carrier compressed\n");
    for (u32 index = 1; interface_get(index, &i); index++) {
        const struct interface_counters *c = &i.counters;
        seq_printf(
            out,
            "%6s: %7llu %7llu %4u %4llu %4u %5u %10u %9llu %8llu %7llu %4u %4llu %4u %5u %7u %10u\n",
            i.name, number(c->rx_bytes), number(c->rx_frames), 0, number(c->rx_dropped), 0, 0, 0,
            number(c->rx_multicast), number(c->tx_bytes), number(c->tx_frames), 0,
            number(c->tx_dropped), 0, 0, 0, 0);
    }
    return 0;
}

static void put_route4(struct seq_buf *out, const char *name, u32 dst, u32 gateway, u32 mask)
{
    char line[128];
    snprintf(line, sizeof(line), "%s\t%08X\t%08X\t%04X\t0\t0\t0\t%08X\t0\t0\t0", name, dst, gateway,
             gateway ? ROUTE_UP | ROUTE_GATEWAY : ROUTE_UP, mask);
    seq_printf(out, "%-127s\n", line);
}

static int show_route(struct seq_buf *out, u64 arg)
{
    struct interface i;
    seq_printf(
        out, "%-127s\n",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    for (u32 index = 1; interface_get(index, &i); index++) {
        if ((i.flags & IFF_LOOPBACK) || !i.address)
            continue;
        if (i.gateway)
            put_route4(out, i.name, 0, i.gateway, 0);
        put_route4(out, i.name, i.address & i.netmask, 0, i.netmask);
    }
    return 0;
}

static void put_hex(struct seq_buf *out, const u8 *bytes, u32 n)
{
    for (u32 i = 0; i < n; i++)
        seq_printf(out, "%02x", bytes[i]);
}

static int show_if_inet6(struct seq_buf *out, u64 arg)
{
    // The scopes as Linux writes them here: host 0x10, link 0x20; flags: permanent 0x80, tentative 0x40.
    struct interface i;
    for (u32 index = 1; interface_get(index, &i); index++) {
        for (u32 n = 0; n < i.n_address6; n++) {
            const struct interface_address6 *a = &i.address6[n];
            u32 scope = a->scope == RT_SCOPE_HOST ? 0x10 : a->scope == RT_SCOPE_LINK ? 0x20 : 0;
            put_hex(out, a->address, sizeof(a->address));
            seq_printf(out, " %02x %02x %02x %02x %8s\n", i.index, a->prefix, scope,
                       (a->fixed ? 0x80u : 0) | (a->tentative ? 0x40u : 0), i.name);
        }
    }
    return 0;
}

static void put_route6(struct seq_buf *out, const u8 net[16], u32 bits, const u8 gateway[16],
                       u32 flags, const char *name)
{
    static const u8 none[16];
    put_hex(out, net, 16);
    seq_printf(out, " %02x ", bits);
    put_hex(out, none, 16);
    seq_printf(out, " 00 ");
    put_hex(out, gateway ? gateway : none, 16);
    seq_printf(out, " %08x 00000001 00000000 %08x %8s\n", gateway ? 1024u : 256u, flags, name);
}

static int show_ipv6_route(struct seq_buf *out, u64 arg)
{
    const u32 local = 0x80200000;
    struct interface i;
    for (u32 index = 1; interface_get(index, &i); index++) {
        for (u32 n = 0; n < i.n_address6; n++) {
            const struct interface_address6 *a = &i.address6[n];
            u8 net[16] = {0};
            memcpy(net, a->address, a->prefix / 8);
            if (a->prefix < 128)
                put_route6(out, net, a->prefix, NULL, ROUTE_UP, i.name);
            put_route6(out, a->address, 128, NULL, local | ROUTE_UP, "lo");
        }
    }
    return 0;
}

static void put_arp(struct seq_buf *out, size_t n)
{
    struct net_stack *st = net_stack_here();
    struct interface i;
    ip4_addr_t *ip, ip_copy = {0};
    struct netif *netif;
    struct eth_addr *mac, m = {{0}};
    u32 index = 0;
    net_lock(st);
    if (etharp_get_entry(n, &ip, &netif, &mac)) {
        ip_copy = *ip;
        m = *mac;
        index = netif_get_index(netif);
    }
    net_unlock(st);
    if (!interface_get(index, &i))
        return;
    char text[20];
    ip4addr_ntoa_r(&ip_copy, text, sizeof(text));
    seq_printf(out, "%-16s 0x1         0x2         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
               text, m.addr[0], m.addr[1], m.addr[2], m.addr[3], m.addr[4], m.addr[5], i.name);
}

static int show_arp(struct seq_buf *out, u64 arg)
{
    seq_printf(out,
               "IP address       HW type     Flags       HW address            Mask     Device\n");
    for (size_t n = 0; n < ARP_TABLE_SIZE; n++)
        put_arp(out, n);
    return 0;
}

// ---- groups

#define GROUPS_SHOWN 64

static u32 gather_groups4(u32 index, u32 groups[GROUPS_SHOWN], u32 users[GROUPS_SHOWN])
{
    struct net_stack *st = net_stack_here();
    u32 n = 0;
    net_lock(st);
    const struct netif *netif = interface_netif(index);
    for (struct igmp_group *g = netif ? netif_igmp_data(netif) : NULL; g && n < GROUPS_SHOWN;
         g = g->next) {
        groups[n] = g->group_address.addr;
        users[n++] = g->use;
    }
    net_unlock(st);
    return n;
}

static int show_igmp(struct seq_buf *out, u64 arg)
{
    struct interface i;
    seq_printf(out, "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    for (u32 index = 1; interface_get(index, &i); index++) {
        u32 groups[GROUPS_SHOWN], users[GROUPS_SHOWN];
        u32 n = gather_groups4(index, groups, users);
        seq_printf(out, "%d\t%-10s: %5u %7s\n", i.index, i.name, n, "V2");
        for (u32 k = 0; k < n; k++)
            seq_printf(out, "\t\t\t\t%08X %5u 0:00000000\t\t0\n", groups[k], users[k]);
    }
    return 0;
}

static u32 gather_groups6(u32 index, u8 groups[][16], u32 users[GROUPS_SHOWN])
{
    struct net_stack *st = net_stack_here();
    u32 n = 0;
    net_lock(st);
    const struct netif *netif = interface_netif(index);
    for (struct mld_group *g = netif ? netif_mld6_data(netif) : NULL; g && n < GROUPS_SHOWN;
         g = g->next) {
        memcpy(groups[n], g->group_address.addr, 16);
        users[n++] = g->use;
    }
    net_unlock(st);
    return n;
}

static int show_igmp6(struct seq_buf *out, u64 arg)
{
    struct interface i;
    for (u32 index = 1; interface_get(index, &i); index++) {
        u8 groups[GROUPS_SHOWN][16];
        u32 users[GROUPS_SHOWN], n = gather_groups6(index, groups, users);
        for (u32 k = 0; k < n; k++) {
            seq_printf(out, "%-4d %-15s ", i.index, i.name);
            put_hex(out, groups[k], 16);
            seq_printf(out, " %5u 00000004 0\n", users[k]);
        }
    }
    return 0;
}

// ---- counters

static int show_snmp(struct seq_buf *out, u64 arg)
{
    struct net_stack *st = net_stack_here();
    net_lock(st);
    struct stats_mib2 m = lwip_stats.mib2;
    u64 drops = st->udp_drops;
    net_unlock(st);
    u32 established = tcp_established_count();
    seq_printf(
        out,
        "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards "
        "InDelivers OutRequests OutDiscards OutNoRoutes ReasmReqds ReasmOKs ReasmFails FragOKs FragFails "
        "FragCreates\nIp: 2 64 %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u\n",
        m.ipinreceives, m.ipinhdrerrors, m.ipinaddrerrors, m.ipforwdatagrams, m.ipinunknownprotos,
        m.ipindiscards, m.ipindelivers, m.ipoutrequests, m.ipoutdiscards, m.ipoutnoroutes,
        m.ipreasmreqds, m.ipreasmoks, m.ipreasmfails, m.ipfragoks, m.ipfragfails, m.ipfragcreates);
    seq_printf(
        out,
        "Icmp: InMsgs InErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps "
        "OutMsgs OutErrors OutDestUnreachs OutTimeExcds OutEchos OutEchoReps\n"
        "Icmp: %u %u %u %u %u %u %u %u %u %u %u %u %u %u %u\n",
        m.icmpinmsgs, m.icmpinerrors, m.icmpindestunreachs, m.icmpintimeexcds, m.icmpinparmprobs,
        m.icmpinsrcquenchs, m.icmpinredirects, m.icmpinechos, m.icmpinechoreps, m.icmpoutmsgs,
        m.icmpouterrors, m.icmpoutdestunreachs, m.icmpouttimeexcds, m.icmpoutechos,
        m.icmpoutechoreps);
    seq_printf(
        out,
        "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab "
        "InSegs OutSegs RetransSegs InErrs OutRsts\nTcp: 4 250 64000 -1 %u %u %u %u %u %u %u %u %u %u\n",
        m.tcpactiveopens, m.tcppassiveopens, m.tcpattemptfails, m.tcpestabresets, established,
        m.tcpinsegs, m.tcpoutsegs, m.tcpretranssegs, m.tcpinerrs, m.tcpoutrsts);
    seq_printf(
        out,
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: %u %u %llu %u %llu\n",
        m.udpindatagrams, m.udpnoports, number(m.udpinerrors + drops), m.udpoutdatagrams,
        number(drops));
    return 0;
}

static int show_netstat(struct seq_buf *out, u64 arg)
{
    struct interface i;
    u64 in = 0, sent = 0, multicast = 0;
    for (u32 index = 1; interface_get(index, &i); index++) {
        in += i.counters.rx_bytes;
        sent += i.counters.tx_bytes;
        multicast += i.counters.rx_multicast;
    }
    struct tcp_cookie_counts c;
    tcp_cookie_counts(&c);
    seq_printf(
        out,
        "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops\n"
        "TcpExt: %llu %llu %llu %llu %llu\n",
        number(c.sent), number(c.received), number(c.failed), number(c.overflows),
        number(c.overflows));
    seq_printf(out, "IpExt: InMcastPkts InOctets OutOctets\nIpExt: %llu %llu %llu\n",
               number(multicast), number(in), number(sent));
    return 0;
}

static int show_sockstat(struct seq_buf *out, u64 arg)
{
    u32 tcp = socket_count(AF_INET, SOCK_STREAM), udp = socket_count(AF_INET, SOCK_DGRAM);
    u32 pages = (u32)(net_memory_bytes() / PAGE_SIZE);
    seq_printf(
        out,
        "sockets: used %u\nTCP: inuse %u orphan 0 tw %u alloc %u mem %u\nUDP: inuse %u mem 0\n",
        socket_count(0, 0), tcp, tcp_time_wait_count(), tcp, pages, udp);
    return 0;
}

static int show_sockstat6(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "TCP6: inuse %u\nUDP6: inuse %u\n", socket_count(AF_INET6, SOCK_STREAM),
               socket_count(AF_INET6, SOCK_DGRAM));
    return 0;
}

// One thread takes in all frames; they are shown with the first CPU.
static int show_softnet(struct seq_buf *out, u64 arg)
{
    struct interface i;
    u64 frames = 0;
    for (u32 index = 1; interface_get(index, &i); index++)
        frames += i.counters.rx_frames;
    for (u32 cpu = 0; cpu < n_cpus; cpu++) {
        seq_printf(out, "%08x", cpu ? 0 : (u32)frames);
        for (int k = 1; k < 12; k++)
            seq_printf(out, " 00000000");
        seq_printf(out, " %08x 00000000 00000000\n", cpu);
    }
    return 0;
}

// ---- sockets

// Eight hexadecimal digits for each 32-bit word, in the machine's byte order, as Linux.
static void put_address(struct seq_buf *out, int family, const ip_addr_t *ip, u16 port)
{
    u32 words[4] = {0};
    if (IP_IS_V6_VAL(*ip)) {
        memcpy(words, ip_2_ip6(ip)->addr, sizeof(words));
    } else if (family == AF_INET6) {
        words[2] = ip_addr_isany(ip) ? 0 : net32(0xffff);
        words[3] = ip_addr_get_ip4_u32(ip);
    } else {
        words[0] = ip_addr_get_ip4_u32(ip);
    }
    for (int i = 0; i < (family == AF_INET6 ? 4 : 1); i++)
        seq_printf(out, "%08X", words[i]);
    seq_printf(out, ":%04X", port);
}

static void put_inet_row(struct seq_buf *out, u32 row, struct socket *s)
{
    struct inet_row r;
    struct inet_sock *i = inet_of(s);
    net_lock(i->stack);
    ip_addr_t local = i->local, remote = i->remote;
    u16 local_port = i->local_port, remote_port = i->remote_port;
    if (s->type == SOCK_STREAM)
        tcp_fill_row(s, &r);
    else
        udp_fill_row(s, &r);
    net_unlock(i->stack);
    if (!r.shown)
        return;
    seq_printf(out, "%*u: ", s->type == SOCK_STREAM ? 4 : 5, row);
    put_address(out, s->family, &local, local_port);
    seq_printf(out, " ");
    put_address(out, s->family, &remote, remote_port);
    seq_printf(out, " %02X %08X:%08X %02X:%08X %08X %5u %8d %llu %u 0000000000000000", r.state,
               r.tx_queue, r.rx_queue, r.timer, 0, r.retransmits, s->own_uid, 0,
               number(READ_ONCE(s->ino)), s->refcount - 1);
    if (s->type == SOCK_STREAM)
        seq_printf(out, " %u 0 0 %u -1\n", 100, 10);
    else
        seq_printf(out, " %u\n", r.drops);
}

// arg: family | type << 8
static int show_inet(struct seq_buf *out, u64 arg)
{
    bool six = (arg & 0xff) == AF_INET6, tcp = arg >> 8 == SOCK_STREAM;
    u32 n;
    struct socket **list = socket_gather((u16)(arg & 0xff), (u8)(arg >> 8), &n);
    if (!list)
        return -ENOMEM;
    seq_printf(
        out,
        "  sl  local_address %srem%s_address%s   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode%s\n",
        six ? "                        " : "", six ? "ote" : "",
        six ? "                       " : "", tcp ? "" : " ref pointer drops");
    for (u32 i = 0; i < n; i++)
        put_inet_row(out, i, list[i]);
    socket_gather_free(list, n);
    return 0;
}

static int show_unix(struct seq_buf *out, u64 arg)
{
    u32 n;
    struct socket **list = socket_gather(AF_UNIX, 0, &n);
    if (!list)
        return -ENOMEM;
    seq_printf(out, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    for (u32 i = 0; i < n; i++) {
        struct unix_sock *u = unix_of(list[i]);
        struct unix_addr *a = unix_addr_of(u);
        bool listening = u->state == UNIX_LISTENING;
        seq_printf(out, "%016x: %08X %08X %08X %04X %02X %5llu", 0, u->s.refcount - 1, 0,
                   listening ? 0x10000u : 0, u->s.type, u->state == UNIX_CONNECTED ? 3u : 1u,
                   number(READ_ONCE(u->s.ino)));
        if (a && a->len > sizeof(u16)) {
            seq_printf(out, " ");
            for (u32 k = 0;
                 k < a->len - sizeof(u16) && (k == 0 || a->name.path[k] || !a->name.path[0]); k++)
                seq_printf(out, "%c", a->name.path[k] ? a->name.path[k] : '@');
        }
        seq_printf(out, "\n");
        if (a)
            unix_addr_put(a);
    }
    socket_gather_free(list, n);
    return 0;
}

// ---- the table

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(arp_ops, .show = show_arp);
OPS(dev_ops, .show = show_dev);
OPS(if_inet6_ops, .show = show_if_inet6);
OPS(igmp_ops, .show = show_igmp);
OPS(igmp6_ops, .show = show_igmp6);
OPS(ipv6_route_ops, .show = show_ipv6_route);
OPS(netstat_ops, .show = show_netstat);
OPS(route_ops, .show = show_route);
OPS(snmp_ops, .show = show_snmp);
OPS(sockstat_ops, .show = show_sockstat);
OPS(sockstat6_ops, .show = show_sockstat6);
OPS(softnet_ops, .show = show_softnet);
OPS(inet_ops, .show = show_inet);
OPS(unix_ops_file, .show = show_unix);
#define SOCKETS(name, family, type) GEN_FILE_ARG(name, 0444, &inet_ops, (family) | (type) << 8)

const struct gen_entry proc_net_entries[] = {
    GEN_FILE("arp", 0444, &arp_ops),
    GEN_FILE("dev", 0444, &dev_ops),
    GEN_FILE("if_inet6", 0444, &if_inet6_ops),
    GEN_FILE("igmp", 0444, &igmp_ops),
    GEN_FILE("igmp6", 0444, &igmp6_ops),
    GEN_FILE("ipv6_route", 0444, &ipv6_route_ops),
    GEN_FILE("netstat", 0444, &netstat_ops),
    GEN_FILE("route", 0444, &route_ops),
    GEN_FILE("snmp", 0444, &snmp_ops),
    GEN_FILE("sockstat", 0444, &sockstat_ops),
    GEN_FILE("sockstat6", 0444, &sockstat6_ops),
    GEN_FILE("softnet_stat", 0444, &softnet_ops),
    SOCKETS("tcp", AF_INET, SOCK_STREAM),
    SOCKETS("tcp6", AF_INET6, SOCK_STREAM),
    SOCKETS("udp", AF_INET, SOCK_DGRAM),
    SOCKETS("udp6", AF_INET6, SOCK_DGRAM),
    GEN_FILE("unix", 0444, &unix_ops_file),
    GEN_END,
};
