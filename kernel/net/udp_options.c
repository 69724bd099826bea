// SPDX-License-Identifier: BSD-2-Clause
// udp_options.c: the options of UDP sockets: what travels with a datagram, groups (ip(7), ipv6(7), socket(7)).
#include <string.h>

#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "lwip/udp.h"
#include "net/interface.h"
#include "net/udp_internal.h"

#define MEMBERSHIPS_MAX 64

enum {  // user ABI: SOL_IP
    IP_PKTINFO = 8,
    IP_MTU_DISCOVER = 10,
    IP_RECVERR = 11,
    IP_RECVTTL = 12,
    IP_RECVTOS = 13,
    IP_MTU = 14,
    IP_MULTICAST_IF = 32,
    IP_MULTICAST_TTL = 33,
    IP_MULTICAST_LOOP = 34,
    IP_ADD_MEMBERSHIP = 35,
    IP_DROP_MEMBERSHIP = 36,
    MCAST_JOIN_GROUP = 42,
    MCAST_LEAVE_GROUP = 45,
    IP_MULTICAST_ALL = 49,
};
enum { IP_TOS_MESSAGE = 1, IP_TTL_MESSAGE = 2 };
enum {  // SOL_IPV6
    IPV6_MULTICAST_IF = 17,
    IPV6_MULTICAST_HOPS = 18,
    IPV6_MULTICAST_LOOP = 19,
    IPV6_JOIN_GROUP = 20,
    IPV6_LEAVE_GROUP = 21,
    IPV6_MTU_DISCOVER = 23,
    IPV6_MTU = 24,
    IPV6_RECVERR = 25,
    IPV6_MULTICAST_ALL = 29,
    IPV6_RECVPKTINFO = 49,
    IPV6_PKTINFO = 50,
    IPV6_RECVHOPLIMIT = 51,
    IPV6_HOPLIMIT = 52,
    IPV6_RECVTCLASS = 66,
    IPV6_TCLASS = 67,
};
enum { SO_TIMESTAMP = 29, SO_TIMESTAMPNS = 35, SO_TIMESTAMP_NEW = 63, SO_TIMESTAMPNS_NEW = 64 };
enum { PMTUDISC_DONT = 0, PMTUDISC_DO = 2, PMTUDISC_OMIT = 5 };

struct in_pktinfo {  // user ABI
    s32 ifindex;
    u32 spec_dst, addr;
};
struct in6_pktinfo {
    u8 addr[16];
    s32 ifindex;
};
struct ip_mreqn {
    u32 group, address;
    s32 ifindex;
};
struct ipv6_mreq {
    u8 group[16];
    s32 ifindex;
};
struct group_req {
    u32 ifindex, pad;
    struct sock_addr group;
};

// ---- what comes with a datagram

void udp_put_control(struct udp_sock *u, struct message *m, const struct datagram *d)
{
    s32 ttl = d->ttl, tos = d->tos;
    bool six = u->i.s.family == AF_INET6;
    if (u->timestamp && d->time_ns) {
        u64 stamp[2] = {d->time_ns / NSEC_PER_SEC, d->time_ns % NSEC_PER_SEC};
        if (!u->timestamp_ns)
            stamp[1] /= NSEC_PER_USEC;
        message_put_control(m, SOL_SOCKET, u->timestamp_ns ? SO_TIMESTAMPNS : SO_TIMESTAMP, stamp,
                            sizeof(stamp));
    }
    if (u->pkt_info && IP_IS_V4(&d->to)) {
        struct in_pktinfo info = {.ifindex = d->ifindex, .addr = ip_addr_get_ip4_u32(&d->to)};
        info.spec_dst = info.addr;
        message_put_control(m, SOL_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (u->pkt_info6 && six) {
        struct sock_addr name;
        struct in6_pktinfo info = {.ifindex = d->ifindex};
        inet_addr_out(&u->i, &d->to, 0, &name);
        memcpy(info.addr, ((struct sockaddr_in6 *)&name)->addr, sizeof(info.addr));
        message_put_control(m, SOL_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    if (u->receive_ttl)
        message_put_control(m, six ? SOL_IPV6 : SOL_IP, six ? IPV6_HOPLIMIT : IP_TTL_MESSAGE, &ttl,
                            sizeof(ttl));
    if (u->receive_tos && six)
        message_put_control(m, SOL_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
    else if (u->receive_tos)
        message_put_control(m, SOL_IP, IP_TOS_MESSAGE, &d->tos, sizeof(d->tos));
}

// ---- groups

bool udp_is_member(const struct udp_sock *u, const ip_addr_t *group, u32 index)
{
    list_for_each_entry (struct udp_membership, m, &u->memberships, link) {
        if (m->index == index && ip_addr_eq(&m->group, group))
            return true;
    }
    return false;
}

// [stack lock]
static err_t tell_router(const struct udp_membership *m, bool join)
{
    struct netif *netif = interface_netif(m->index);
    if (!netif)
        return ERR_IF;
    if (IP_IS_V4_VAL(m->group))
        return join ? igmp_joingroup_netif(netif, ip_2_ip4(&m->group))
                    : igmp_leavegroup_netif(netif, ip_2_ip4(&m->group));
    return join ? mld6_joingroup_netif(netif, ip_2_ip6(&m->group))
                : mld6_leavegroup_netif(netif, ip_2_ip6(&m->group));
}

static void leave(struct udp_membership *m)
{
    tell_router(m, false);
    list_remove(&m->link);
    kfree(m);
}

void udp_leave_all(struct udp_sock *u)
{
    while (!list_empty(&u->memberships))
        leave(list_first(&u->memberships, struct udp_membership, link));
}

// The interface that is meant: by number, by its address, or where groups are routed. [stack lock]
static u32 find_interface(s32 ifindex, u32 address, const ip_addr_t *group)
{
    struct netif *netif = NULL;
    if (ifindex)
        return interface_netif((u32)ifindex) && ifindex > 0 ? (u32)ifindex : 0;
    if (address) {
        NETIF_FOREACH(netif)
        {
            if (netif_ip4_addr(netif)->addr == address)
                return netif_get_index(netif);
        }
        return 0;
    }
    ip_addr_t any;
    ip_addr_set_any(IP_IS_V6(group), &any);
    netif = ip_route(&any, group);
    if (!netif)
        netif = netif_default ? netif_default : &net_stack_here()->loopback;
    return netif_get_index(netif);
}

static int join(struct udp_sock *u, const ip_addr_t *group, u32 index)
{
    u32 n = 0;
    list_for_each_entry (struct udp_membership, m, &u->memberships, link)
        n++;
    if (n >= MEMBERSHIPS_MAX)
        return -ENOBUFS;
    struct udp_membership *m = kmalloc(sizeof(*m));
    if (!m)
        return -ENOBUFS;
    m->group = *group;
    m->index = index;
    list_init(&m->link);
    if (IP_IS_V6(group))
        ip6_addr_assign_zone(ip_2_ip6(&m->group), IP6_MULTICAST, interface_netif(index));
    if (tell_router(m, true) != ERR_OK) {
        kfree(m);
        return -ENODEV;
    }
    list_push_back(&u->memberships, &m->link);
    return 0;
}

static int change_membership(struct udp_sock *u, ip_addr_t *group, s32 ifindex, u32 address,
                             bool joins)
{
    int err = joins ? 0 : -EADDRNOTAVAIL;
    if (!ip_addr_ismulticast(group))
        return -EINVAL;
    net_lock(u->i.stack);
    u32 index = find_interface(ifindex, address, group);
    if (IP_IS_V6(group) && index)
        ip6_addr_assign_zone(ip_2_ip6(group), IP6_MULTICAST, interface_netif(index));
    if (!index) {
        err = joins || ifindex ? -ENODEV : -EADDRNOTAVAIL;
    } else if (joins) {
        err = udp_is_member(u, group, index) ? -EADDRINUSE : join(u, group, index);
    } else {
        list_for_each_entry (struct udp_membership, m, &u->memberships, link) {
            if (m->index == index && ip_addr_eq(&m->group, group)) {
                leave(m);
                err = 0;
                break;
            }
        }
    }
    net_unlock(u->i.stack);
    return err;
}

static int membership4(struct udp_sock *u, const void *value, u32 len, bool joins)
{
    struct ip_mreqn r = {0};
    ip_addr_t group;
    if (len < 8)
        return -EINVAL;
    memcpy(&r, value, MIN(len, (u32)sizeof(r)));
    if (len < sizeof(r))
        r.ifindex = 0;
    ip_addr_set_ip4_u32_val(group, r.group);
    return change_membership(u, &group, r.ifindex, r.address, joins);
}

static int membership6(struct udp_sock *u, const void *value, u32 len, bool joins)
{
    struct ipv6_mreq r;
    ip_addr_t group;
    if (len < sizeof(r))
        return -EINVAL;
    memcpy(&r, value, sizeof(r));
    ip_addr_set_any(true, &group);
    memcpy(ip_2_ip6(&group)->addr, r.group, sizeof(r.group));
    return change_membership(u, &group, r.ifindex, 0, joins);
}

// The form that knows no family.
static int membership(struct udp_sock *u, const void *value, u32 len, bool joins)
{
    struct group_req r;
    ip_addr_t group;
    u16 port;
    if (len < sizeof(r))
        return -EINVAL;
    memcpy(&r, value, sizeof(r));
    int err = inet_addr_in(&u->i, &r.group, sizeof(r.group), &group, &port);
    return err ? err : change_membership(u, &group, (s32)r.ifindex, 0, joins);
}

// IP_MULTICAST_IF takes an address, or a whole ip_mreqn.
static int set_multicast_if4(struct udp_sock *u, const void *value, u32 len)
{
    struct ip_mreqn r = {0};
    ip_addr_t any;
    if (len < 4)
        return -EINVAL;
    if (len >= 8)
        memcpy(&r, value, MIN(len, (u32)sizeof(r)));
    else
        memcpy(&r.address, value, sizeof(r.address));
    if (!r.ifindex && !r.address) {
        u->multicast_index = 0;
        return 0;
    }
    ip_addr_set_any(false, &any);
    net_lock(u->i.stack);
    u32 index = find_interface(r.ifindex, r.address, &any);
    net_unlock(u->i.stack);
    if (!index)
        return r.ifindex ? -ENODEV : -EADDRNOTAVAIL;
    u->multicast_index = index;
    return 0;
}

// ---- the table of what is a plain flag

static bool *flag_of(struct udp_sock *u, int level, int name)
{
    if (level == SOL_IP) {
        switch (name) {
        case IP_PKTINFO: return &u->pkt_info;
        case IP_RECVERR: return &u->receive_errors;
        case IP_RECVTTL: return &u->receive_ttl;
        case IP_RECVTOS: return &u->receive_tos;
        case IP_MULTICAST_LOOP: return &u->multicast_loop;
        case IP_MULTICAST_ALL: return &u->multicast_all;
        }
    } else if (level == SOL_IPV6 && u->i.s.family == AF_INET6) {
        switch (name) {
        case IPV6_RECVPKTINFO: return &u->pkt_info6;
        case IPV6_RECVERR: return &u->receive_errors;
        case IPV6_RECVHOPLIMIT: return &u->receive_ttl;
        case IPV6_RECVTCLASS: return &u->receive_tos;
        case IPV6_MULTICAST_LOOP: return &u->multicast_loop;
        case IPV6_MULTICAST_ALL: return &u->multicast_all;
        }
    }
    return NULL;
}

static int set_flag(struct udp_sock *u, bool *flag, const void *value, u32 len)
{
    int n, err = option_int(value, len, &n);
    if (err)
        return err;
    *flag = n != 0;
    if (flag == &u->receive_errors && !n) {
        net_lock(u->i.stack);
        udp_drop_errors(u);
        net_unlock(u->i.stack);
    }
    return 0;
}

static int set_timestamp(struct udp_sock *u, int name, const void *value, u32 len)
{
    int n;
    if (len < sizeof(n))
        return -EINVAL;
    memcpy(&n, value, sizeof(n));
    u->timestamp = n != 0;
    u->timestamp_ns = n && (name == SO_TIMESTAMPNS || name == SO_TIMESTAMPNS_NEW);
    return 0;
}

static int set_ttl(u8 *ttl, const void *value, u32 len, int least)
{
    int n, err = option_int(value, len, &n);
    if (err || n < -1 || n > 255)
        return -EINVAL;
    *ttl = n < least ? 1 : (u8)n;  // -1: the default
    return 0;
}

static int set_mtu_discover(struct udp_sock *u, const void *value, u32 len)
{
    int n, err = option_int(value, len, &n);
    if (err || n < PMTUDISC_DONT || n > PMTUDISC_OMIT)
        return -EINVAL;
    u->mtu_discover = (u8)n;
    return 0;
}

static int set_multicast(struct udp_sock *u, int name, const void *value, u32 len)
{
    switch (name) {
    case IP_MULTICAST_IF: return set_multicast_if4(u, value, len);
    case IP_MULTICAST_TTL: return set_ttl(&u->multicast_ttl, value, len, 0);
    case IP_ADD_MEMBERSHIP:
    case IP_DROP_MEMBERSHIP: return membership4(u, value, len, name == IP_ADD_MEMBERSHIP);
    case MCAST_JOIN_GROUP:
    case MCAST_LEAVE_GROUP: return membership(u, value, len, name == MCAST_JOIN_GROUP);
    case IP_MTU_DISCOVER: return set_mtu_discover(u, value, len);
    default: return -ENOPROTOOPT;
    }
}

static int set_multicast6(struct udp_sock *u, int name, const void *value, u32 len)
{
    int n, err = option_int(value, len, &n);
    switch (name) {
    case IPV6_MULTICAST_IF:
        if (err || len < sizeof(n))
            return -EINVAL;
        net_lock(u->i.stack);
        err = n && !(n > 0 && interface_netif((u32)n)) ? -ENODEV : 0;
        net_unlock(u->i.stack);
        if (!err)
            u->multicast_index = (u32)n;
        return err;
    case IPV6_MULTICAST_HOPS: return set_ttl(&u->multicast_ttl, value, len, 0);
    case IPV6_JOIN_GROUP:
    case IPV6_LEAVE_GROUP: return membership6(u, value, len, name == IPV6_JOIN_GROUP);
    case MCAST_JOIN_GROUP:
    case MCAST_LEAVE_GROUP: return membership(u, value, len, name == MCAST_JOIN_GROUP);
    case IPV6_MTU_DISCOVER: return set_mtu_discover(u, value, len);
    default: return -ENOPROTOOPT;
    }
}

int udp_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    struct udp_sock *u = udp_of(s);
    int err = -ENOPROTOOPT;
    bool *flag = flag_of(u, level, name);
    if (flag)
        return set_flag(u, flag, value, len);
    if (level == SOL_SOCKET && (name == SO_TIMESTAMP || name == SO_TIMESTAMPNS ||
                                name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW))
        return set_timestamp(u, name, value, len);
    if (level == SOL_IP)
        err = set_multicast(u, name, value, len);
    else if (level == SOL_IPV6 && s->family == AF_INET6)
        err = set_multicast6(u, name, value, len);
    return err == -ENOPROTOOPT ? inet_set_option(s, level, name, value, len) : err;
}

// ---- getting

static int get_multicast_if(struct udp_sock *u, void *value, u32 *len)
{
    u32 address = 0;
    net_lock(u->i.stack);
    const struct netif *netif = interface_netif(u->multicast_index);
    if (netif)
        address = netif_ip4_addr(netif)->addr;
    net_unlock(u->i.stack);
    *len = MIN(*len, (u32)sizeof(address));
    memcpy(value, &address, *len);
    return 0;
}

int udp_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    struct udp_sock *u = udp_of(s);
    const bool *flag = flag_of(u, level, name);
    bool six = level == SOL_IPV6 && s->family == AF_INET6;
    if (flag)
        return option_put_int(*flag, value, len);
    if (level == SOL_SOCKET && (name == SO_TIMESTAMP || name == SO_TIMESTAMP_NEW))
        return option_put_int(u->timestamp && !u->timestamp_ns, value, len);
    if (level == SOL_SOCKET && (name == SO_TIMESTAMPNS || name == SO_TIMESTAMPNS_NEW))
        return option_put_int(u->timestamp_ns, value, len);
    if (level == SOL_IP && name == IP_MULTICAST_IF)
        return get_multicast_if(u, value, len);
    if (six && name == IPV6_MULTICAST_IF)
        return option_put_int((int)u->multicast_index, value, len);
    if ((level == SOL_IP && name == IP_MULTICAST_TTL) || (six && name == IPV6_MULTICAST_HOPS))
        return option_put_int(u->multicast_ttl, value, len);
    if ((level == SOL_IP && name == IP_MTU_DISCOVER) || (six && name == IPV6_MTU_DISCOVER))
        return option_put_int(u->mtu_discover, value, len);
    return inet_get_option(s, level, name, value, len);
}
