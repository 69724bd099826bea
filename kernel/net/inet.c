// SPDX-License-Identifier: BSD-2-Clause
// inet.c: AF_INET and AF_INET6: which sockets there are, their addresses, their ports.
//
// Ports are given out here and not by lwIP, so that the rules are Linux's (bind(2), socket(7) SO_REUSEADDR): one table for TCP,
// one for UDP, of the sockets that hold a port, by its number. lwIP is told to believe us (SOF_REUSEADDR on each pcb).
#include "net/inet.h"

#include <string.h>

#include "core/log.h"
#include "core/random.h"
#include "lwip/ip.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "lwip/nd6.h"
#include "net/interface.h"

enum {
    IPPROTO_IP = 0,
    IPPROTO_TCP = 6,
    IPPROTO_UDP = 17,
    IPPROTO_MAX = 263
};  // up to IPPROTO_MPTCP, 262
#define CAP_NET_BIND_SERVICE 10
#define CAP_NET_RAW 13
#define PORT_BUCKETS 256

enum { IP_TOS = 1, IP_TTL = 2, IP_MTU = 14, IP_FREEBIND = 15, IP_BIND_ADDRESS_NO_PORT = 24 };
enum {
    IPV6_UNICAST_HOPS = 16,
    IPV6_MTU = 24,
    IPV6_V6ONLY = 26,
    IPV6_TCLASS = 67,
    IPV6_FREEBIND = 78
};
enum { SO_BINDTODEVICE = 25 };

static struct list ports[2][PORT_BUCKETS];  // [stack lock] TCP, UDP; zeroed until first used

// ---- the families

static struct socket *create(int family, int type, int protocol)
{
    if (protocol < 0 || protocol >= IPPROTO_MAX)
        return ERR_PTR(-EINVAL);
    if (type == SOCK_RAW)
        return ERR_PTR(capable(CAP_NET_RAW) ? -EPROTONOSUPPORT : -EPERM);
    if (type != SOCK_STREAM && type != SOCK_DGRAM)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    if (protocol && protocol != (type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP))
        return ERR_PTR(-EPROTONOSUPPORT);
    int err = net_stack_start(net_stack_here());
    if (err)
        return ERR_PTR(err);
    return type == SOCK_STREAM ? tcp_create(family) : udp_create(family);
}

static struct socket *create4(int type, int protocol) { return create(AF_INET, type, protocol); }
static struct socket *create6(int type, int protocol) { return create(AF_INET6, type, protocol); }

static const struct net_family inet_family = {.family = AF_INET, .create = create4};
static const struct net_family inet6_family = {.family = AF_INET6, .create = create6};
NET_FAMILY(inet_family);
NET_FAMILY(inet6_family);

void inet_init(struct inet_sock *i, const struct socket_ops *ops, int family, int type,
               int protocol)
{
    socket_init(&i->s, ops, family, type, protocol);
    i->stack = net_stack_here();
    i->ttl = 64;
    list_init(&i->port_link);
    if (family == AF_INET6) {
        ip_addr_set_any(true, &i->local);
        ip_addr_set_any(true, &i->remote);
    } else {
        ip_addr_set_any(false, &i->local);
        ip_addr_set_any(false, &i->remote);
    }
}

// ---- addresses

static int addr_in4(const struct sock_addr *addr, u32 len, ip_addr_t *ip, u16 *port)
{
    struct sockaddr_in in;
    if (len < sizeof(in))
        return -EINVAL;
    memcpy(&in, addr, sizeof(in));
    ip_addr_set_ip4_u32(ip, in.addr);
    *port = net16(in.port);
    return 0;
}

int inet_addr_in(const struct inet_sock *i, const struct sock_addr *addr, u32 len, ip_addr_t *ip,
                 u16 *port)
{
    struct sockaddr_in6 in;
    if (i->s.family == AF_INET) {
        if (addr->family != AF_INET)
            return len < sizeof(struct sockaddr_in) ? -EINVAL : -EAFNOSUPPORT;
        return addr_in4(addr, len, ip, port);
    }
    if (addr->family == AF_INET && !i->v6_only && i->s.type == SOCK_DGRAM)
        return addr_in4(addr, len, ip, port);
    if (len < sizeof(in) - sizeof(in.scope_id))
        return -EINVAL;
    if (addr->family != AF_INET6)
        return -EAFNOSUPPORT;
    memcpy(&in, addr, MIN(len, (u32)sizeof(in)));
    if (len < sizeof(in))
        in.scope_id = 0;
    *port = net16(in.port);
    ip6_addr_t six;
    memcpy(six.addr, in.addr, sizeof(in.addr));
    ip6_addr_clear_zone(&six);
    if (ip6_addr_isipv4mappedipv6(&six)) {
        ip_addr_set_ip4_u32(ip, six.addr[3]);
        return 0;
    }
    if (ip6_addr_islinklocal(&six) && in.scope_id && in.scope_id < 256)
        ip6_addr_set_zone(&six, (u8)in.scope_id);
    ip_addr_copy_from_ip6(*ip, six);
    return 0;
}

int inet_addr_out(const struct inet_sock *i, const ip_addr_t *ip, u16 port, struct sock_addr *addr)
{
    if (i->s.family == AF_INET) {
        struct sockaddr_in in = {.family = AF_INET, .port = net16(port)};
        if (IP_IS_V4(ip))
            in.addr = ip_addr_get_ip4_u32(ip);
        memcpy(addr, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in = {.family = AF_INET6, .port = net16(port)};
    if (IP_IS_V4_VAL(*ip)) {
        u32 four = ip_addr_get_ip4_u32(ip);
        in.addr[10] = in.addr[11] = 0xff;
        memcpy(in.addr + 12, &four, sizeof(four));
    } else {
        memcpy(in.addr, ip_2_ip6(ip)->addr, sizeof(in.addr));
        if (ip6_addr_islinklocal(ip_2_ip6(ip)))
            in.scope_id = ip6_addr_zone(ip_2_ip6(ip));
    }
    memcpy(addr, &in, sizeof(in));
    return sizeof(in);
}

int inet_getname(struct socket *s, struct sock_addr *addr, enum socket_name which)
{
    struct inet_sock *i = inet_of(s);
    bool peer = which != NAME_OWN;
    net_lock(i->stack);
    ip_addr_t ip = peer ? i->remote : i->local;
    u16 port = peer ? i->remote_port : i->local_port;
    net_unlock(i->stack);
    if (peer && !port)
        return -ENOTCONN;
    return inet_addr_out(i, &ip, port, addr);
}

bool inet_is_local(const struct inet_sock *i, const ip_addr_t *ip)
{
    if (ip_addr_isany(ip) || (IP_IS_V4(ip) && ip4_addr_isloopback(ip_2_ip4(ip))))
        return true;
    struct netif *netif;
    NETIF_FOREACH(netif)
    {
        if (IP_IS_V4(ip) && ip4_addr_eq(netif_ip4_addr(netif), ip_2_ip4(ip)))
            return true;
        if (IP_IS_V6(ip) && netif_get_ip6_addr_match(netif, ip_2_ip6(ip)) >= 0)
            return true;
    }
    return false;
}

ip_addr_t inet_bind_address(const struct inet_sock *i, const ip_addr_t *ip)
{
    if (i->s.family == AF_INET6 && !i->v6_only && IP_IS_V6(ip) && ip_addr_isany(ip))
        return *IP_ANY_TYPE;
    return *ip;
}

static bool is_direct6(const struct netif *netif, const ip6_addr_t *ip)
{
    for (s8 n = 0; n < LWIP_IPV6_NUM_ADDRESSES; n++) {
        if (ip6_addr_isvalid(netif_ip6_addr_state(netif, n)) && netif_ip6_addr_isstatic(netif, n) &&
            ip6_addr_net_eq(ip, netif_ip6_addr(netif, n)))
            return true;
    }
    return netif_get_ip6_addr_match((struct netif *)netif, ip) >= 0;
}

// lwIP's last resort is its default interface, even for what no router there would take: that is no route.
struct netif *inet_route(const ip_addr_t *from, const ip_addr_t *ip)
{
    struct netif *netif = ip_route(from, ip);
    if (!netif || netif == &net_stack_here()->loopback || ip_addr_ismulticast(ip))
        return netif;
    if (IP_IS_V4(ip)) {
        bool direct =
            ip4_addr_net_eq(ip_2_ip4(ip), netif_ip4_addr(netif), netif_ip4_netmask(netif)) ||
            ip_addr_isbroadcast(ip, netif);
        return direct || !ip4_addr_isany(netif_ip4_gw(netif)) ? netif : NULL;
    }
    bool scoped = ip6_addr_has_scope(ip_2_ip6(ip), IP6_UNKNOWN);
    return scoped || is_direct6(netif, ip_2_ip6(ip)) || nd6_find_route(ip_2_ip6(ip)) ? netif : NULL;
}

int inet_route_check(const struct inet_sock *i, const ip_addr_t *ip)
{
    if (IP_IS_V6(ip) && ip6_addr_islinklocal(ip_2_ip6(ip)) && !ip6_addr_has_zone(ip_2_ip6(ip)) &&
        !i->bound_index)
        return -EINVAL;
    const struct netif *netif = inet_route(&i->local, ip);
    return netif && !ip_addr_isbroadcast(ip, netif) ? 0 : -ENETUNREACH;
}

int inet_error(s8 err)
{
    switch (err) {
    case ERR_OK: return 0;
    case ERR_MEM:
    case ERR_BUF: return -ENOBUFS;
    case ERR_RTE: return -ENETUNREACH;
    case ERR_USE: return -EADDRINUSE;
    case ERR_TIMEOUT: return -ETIMEDOUT;
    case ERR_ISCONN: return -EISCONN;
    case ERR_CONN: return -ENOTCONN;
    case ERR_RST: return -ECONNRESET;
    case ERR_ABRT: return -ECONNABORTED;
    case ERR_INPROGRESS: return -EINPROGRESS;
    case ERR_ALREADY: return -EALREADY;
    case ERR_VAL:
    case ERR_ARG: return -EINVAL;
    default: return -EIO;
    }
}

// ---- ports

struct list *inet_port_bucket(int type, u16 port)
{
    struct list *bucket = &ports[type == SOCK_DGRAM][port % PORT_BUCKETS];
    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static struct list *bucket_of(const struct inet_sock *i, u16 port)
{
    return inet_port_bucket(i->s.type, port);
}

// Spreads senders over the sockets of an SO_REUSEPORT group.
u32 inet_flow_hash(const ip_addr_t *from, u16 port)
{
    u32 h = port * 0x9e3779b1u;
    const u32 *words = IP_IS_V6(from) ? ip_2_ip6(from)->addr : &ip_2_ip4(from)->addr;
    for (int i = 0; i < (IP_IS_V6(from) ? 4 : 1); i++)
        h = (h ^ words[i]) * 0x85ebca6bu;
    return h ^ h >> 15;
}

// Whether two bound addresses can mean the same packet.
static bool overlap(const struct inet_sock *a, const ip_addr_t *ip_a, const struct inet_sock *b,
                    const ip_addr_t *ip_b)
{
    bool any_a = ip_addr_isany(ip_a), any_b = ip_addr_isany(ip_b);
    bool six_a = IP_IS_V6_VAL(*ip_a), six_b = IP_IS_V6_VAL(*ip_b);
    if (six_a == six_b)
        return any_a || any_b || ip_addr_eq(ip_a, ip_b);
    // Of different families only "any IPv6" meets IPv4, unless it is for IPv6 only.
    return six_a ? any_a && !a->v6_only : any_b && !b->v6_only;
}

static bool conflict(const struct inet_sock *i, const ip_addr_t *ip, u16 port)
{
    const struct socket *s = &i->s;
    list_for_each_entry (struct inet_sock, o, bucket_of(i, port), port_link) {
        if (o->local_port != port || o == i || !overlap(i, ip, o, &o->local))
            continue;
        if (i->bound_index && o->bound_index && i->bound_index != o->bound_index)
            continue;
        if (s->reuse_port && o->s.reuse_port && s->own_uid == o->s.own_uid)
            continue;
        if (!s->reuse_addr || !o->s.reuse_addr || o->s.listening)
            return true;
    }
    return s->type == SOCK_STREAM && tcp_port_waits(port, s->reuse_addr);
}

static bool port_unused(const struct inet_sock *i, u16 port)
{
    list_for_each_entry (struct inet_sock, o, bucket_of(i, port), port_link) {
        if (o->local_port == port)
            return false;
    }
    return true;
}

// A free port for a socket that does not care.
static u16 choose_port(const struct inet_sock *i)
{
    const u32 n = PORT_RANGE_LAST - PORT_RANGE_FIRST + 1;
    const bool connects = i->s.type == SOCK_STREAM && i->remote_port;
    static u32 next;
    u32 at = (next ? next : net_random()) % n;
    for (u32 k = 0; k < n; k++, at = (at + 1) % n) {
        u16 port = (u16)(PORT_RANGE_FIRST + at);
        if (port_unused(i, port) &&
            (!connects || tcp_way_is_free(&i->remote, i->remote_port, port))) {
            next = at + 1;
            return port;
        }
    }
    static bool told;
    if (!told)
        log_error(
            "network: all %u ports for sockets without one of their own are taken: bind and connect fail until one is free",
            n);
    told = true;
    return 0;
}

int inet_port_take(struct inet_sock *i, const ip_addr_t *ip, u16 port)
{
    if (!i->free_bind && !inet_is_local(i, ip) && !ip_addr_ismulticast(ip) &&
        !(IP_IS_V4(ip) && ip_2_ip4(ip)->addr == IPADDR_BROADCAST))
        return -EADDRNOTAVAIL;
    if (port && port < PORT_FIRST_FREE && !capable(CAP_NET_BIND_SERVICE))
        return -EACCES;
    i->port_chosen = port == 0;
    if (!port)
        port = choose_port(i);
    else if (conflict(i, ip, port))
        return -EADDRINUSE;
    if (!port)
        return -EADDRINUSE;
    i->local = *ip;
    i->local_port = port;
    i->port_held = true;
    list_push_back(bucket_of(i, port), &i->port_link);
    return 0;
}

void inet_port_release(struct inet_sock *i)
{
    if (i->port_held)
        list_remove_init(&i->port_link);
    i->port_held = false;
}

// ---- options

int option_int(const void *value, u32 len, int *out)
{
    if (len >= sizeof(int))
        memcpy(out, value, sizeof(int));
    else if (len >= 1)
        *out = *(const u8 *)value;
    else
        return -EINVAL;
    return 0;
}

int option_put_int(int number, void *value, u32 *len)
{
    if (*len > 0 && *len < sizeof(number) && number >= 0 && number <= 255)
        *len = 1;
    else
        *len = MIN(*len, (u32)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

// SO_BINDTODEVICE: the name of an interface; an empty one undoes it.
static int set_device(struct inet_sock *i, const void *value, u32 len)
{
    char name[INTERFACE_NAME_MAX] = "";
    u32 index = 0;
    memcpy(name, value, MIN(len, (u32)sizeof(name) - 1));
    if (i->bound_index && !capable(CAP_NET_RAW))
        return -EPERM;
    if (name[0] && !(index = interface_find(name)))
        return -ENODEV;
    i->bound_index = index;
    return 0;
}

static int get_device(const struct inet_sock *i, void *value, u32 *len)
{
    struct interface found;
    if (!interface_get(i->bound_index, &found)) {
        *len = 0;
        return 0;
    }
    if (*len < sizeof(found.name))
        return -EINVAL;
    *len = (u32)strlen(found.name) + 1;
    memcpy(value, found.name, *len);
    return 0;
}

// IP_MTU: of the way to the peer.
static int get_mtu(const struct inet_sock *i, void *value, u32 *len)
{
    if (!i->remote_port)
        return -ENOTCONN;
    net_lock(i->stack);
    const struct netif *netif = ip_route(&i->local, &i->remote);
    int mtu = netif ? netif->mtu : 1500;
    net_unlock(i->stack);
    return option_put_int(mtu, value, len);
}

static int set_ip(struct inet_sock *i, int name, const void *value, u32 len)
{
    int n, err = option_int(value, len, &n);
    if (name == IP_FREEBIND || name == IP_BIND_ADDRESS_NO_PORT) {
        if (!err)
            *(name == IP_FREEBIND ? &i->free_bind : &i->no_port_yet) = n != 0;
        return err;
    }
    if (name != IP_TOS && name != IP_TTL)
        return -ENOPROTOOPT;
    if (err)
        return err;
    if (name == IP_TOS) {
        i->tos = (u8)n;
    } else {
        if (n != -1 && (n < 1 || n > 255))
            return -EINVAL;
        i->ttl = n == -1 ? 64 : (u8)n;
    }
    return 0;
}

static int set_ipv6(struct inet_sock *i, int name, const void *value, u32 len)
{
    int n, err = option_int(value, len, &n);
    if (name == IPV6_FREEBIND && !err) {
        i->free_bind = n != 0;
        return 0;
    }
    if (name != IPV6_V6ONLY && name != IPV6_UNICAST_HOPS && name != IPV6_TCLASS)
        return -ENOPROTOOPT;
    if (err || len < sizeof(n))
        return -EINVAL;
    switch (name) {
    case IPV6_V6ONLY:
        if (i->local_port)
            return -EINVAL;
        i->v6_only = n != 0;
        return 0;
    case IPV6_UNICAST_HOPS:
        if (n < -1 || n > 255)
            return -EINVAL;
        i->ttl = n == -1 ? 64 : (u8)n;
        return 0;
    default:
        if (n < -1 || n > 255)
            return -EINVAL;
        i->tos = n == -1 ? 0 : (u8)n;
        return 0;
    }
}

int inet_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
        return set_device(inet_of(s), value, len);
    if (level == SOL_IP)
        return set_ip(inet_of(s), name, value, len);
    if (level == SOL_IPV6 && s->family == AF_INET6)
        return set_ipv6(inet_of(s), name, value, len);
    return -ENOPROTOOPT;
}

int inet_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    const struct inet_sock *i = inet_of(s);
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
        return get_device(i, value, len);
    if (level == SOL_IP && name == IP_FREEBIND)
        return option_put_int(i->free_bind, value, len);
    if (level == SOL_IP && name == IP_BIND_ADDRESS_NO_PORT)
        return option_put_int(i->no_port_yet, value, len);
    if (level == SOL_IP && name == IP_MTU)
        return get_mtu(i, value, len);
    if (level == SOL_IP && name == IP_TOS)
        return option_put_int(i->tos, value, len);
    if (level == SOL_IP && name == IP_TTL)
        return option_put_int(i->ttl, value, len);
    if (level != SOL_IPV6 || s->family != AF_INET6)
        return -ENOPROTOOPT;
    switch (name) {
    case IPV6_V6ONLY: return option_put_int(i->v6_only, value, len);
    case IPV6_UNICAST_HOPS: return option_put_int(i->ttl, value, len);
    case IPV6_TCLASS: return option_put_int(i->tos, value, len);
    case IPV6_FREEBIND: return option_put_int(i->free_bind, value, len);
    case IPV6_MTU: return get_mtu(i, value, len);
    default: return -ENOPROTOOPT;
    }
}

long inet_ioctl(struct socket *s, unsigned cmd, uptr_t arg) { return interface_ioctl(cmd, arg); }
