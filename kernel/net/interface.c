// SPDX-License-Identifier: BSD-2-Clause
// interface.c: what is known of the network interfaces, and the ioctls that ask for it (netdevice(7)).
#include "net/interface.h"

#include <stdio.h>
#include <string.h>

#include "fs/special_internal.h"
#include "net/device.h"
#include "net/inet.h"

#define CAP_NET_ADMIN 12
#define TX_QUEUE_LEN 1000

enum {  // user ABI
    SIOCGIFNAME = 0x8910,
    SIOCGIFCONF = 0x8912,
    SIOCGIFFLAGS = 0x8913,
    SIOCSIFFLAGS = 0x8914,
    SIOCGIFADDR = 0x8915,
    SIOCSIFADDR = 0x8916,
    SIOCGIFDSTADDR = 0x8917,
    SIOCSIFDSTADDR = 0x8918,
    SIOCGIFBRDADDR = 0x8919,
    SIOCSIFBRDADDR = 0x891a,
    SIOCGIFNETMASK = 0x891b,
    SIOCSIFNETMASK = 0x891c,
    SIOCGIFMETRIC = 0x891d,
    SIOCSIFMETRIC = 0x891e,
    SIOCGIFMTU = 0x8921,
    SIOCSIFMTU = 0x8922,
    SIOCSIFNAME = 0x8923,
    SIOCSIFHWADDR = 0x8924,
    SIOCGIFHWADDR = 0x8927,
    SIOCGIFINDEX = 0x8933,
    SIOCSIFHWBROADCAST = 0x8937,
    SIOCGIFTXQLEN = 0x8942,
    SIOCSIFTXQLEN = 0x8943,
    SIOCGIFMAP = 0x8970,
    SIOCADDRT = 0x890b,
    SIOCDELRT = 0x890c,
    SIOCDARP = 0x8953,
    SIOCSARP = 0x8955,
};

struct ifreq {  // user ABI
    char name[INTERFACE_NAME_MAX];
    union {
        struct sockaddr_in addr;
        struct {
            u16 family;
            u8 data[22];
        } hw;
        s16 flags;
        s32 number;
        u8 pad[24];
    };
};
_Static_assert(sizeof(struct ifreq) == 40, "struct ifreq of net/if.h");

struct ifconf {  // user ABI
    s32 len;
    s32 pad;
    u64 buf;
};

// ---- what is known

static u8 prefix_of(u32 netmask) { return (u8)__builtin_popcount(netmask); }

static void fill_addresses6(const struct netif *netif, struct interface *out)
{
    for (int i = 0; i < INTERFACE_ADDRESSES6; i++) {
        u8 state = netif_ip6_addr_state(netif, i);
        if (ip6_addr_isinvalid(state))
            continue;
        const ip6_addr_t *ip = netif_ip6_addr(netif, i);
        struct interface_address6 *a = &out->address6[out->n_address6++];
        memcpy(a->address, ip->addr, sizeof(a->address));
        a->prefix = ip6_addr_isloopback(ip) ? 128 : 64;
        a->scope = ip6_addr_isloopback(ip)    ? RT_SCOPE_HOST
                   : ip6_addr_islinklocal(ip) ? RT_SCOPE_LINK
                                              : RT_SCOPE_UNIVERSE;
        a->tentative = ip6_addr_istentative(state);
        a->fixed = netif_ip6_addr_isstatic(netif, i);
    }
}

static void fill_device(const struct net_device *d, struct interface *out)
{
    snprintf(out->name, sizeof(out->name), "eth%u", d->index);
    out->flags = IFF_BROADCAST | IFF_MULTICAST;
    out->type = ARPHRD_ETHER;
    memcpy(out->mac, d->mac, sizeof(out->mac));
    out->leased = d->dhcp;
    out->counters = d->counters;
}

// [stack lock]
static void fill(struct net_stack *st, struct netif *netif, struct interface *out)
{
    memset(out, 0, sizeof(*out));
    out->index = netif_get_index(netif);
    out->mtu = netif->mtu;
    if (netif == &st->loopback) {
        strlcpy(out->name, "lo", sizeof(out->name));
        out->flags = IFF_LOOPBACK;
        out->type = ARPHRD_LOOPBACK;
        out->counters = st->loopback_counters;
        tcp_direct_count(&out->counters);
    } else {
        fill_device(netif->state, out);
        out->gateway = netif_ip4_gw(netif)->addr;
    }
    if (netif_is_up(netif))
        out->flags |= IFF_UP;
    if (netif_is_link_up(netif))
        out->flags |= IFF_RUNNING | IFF_LOWER_UP;
    out->address = netif_ip4_addr(netif)->addr;
    if (out->address) {
        out->netmask = netif_ip4_netmask(netif)->addr;
        out->prefix = prefix_of(out->netmask);
        if (out->flags & IFF_BROADCAST)
            out->broadcast = out->address | ~out->netmask;
    }
    fill_addresses6(netif, out);
}

bool interface_get(u32 index, struct interface *out)
{
    struct net_stack *st = net_stack_here();
    if (net_stack_start(st))
        return false;
    net_lock(st);
    struct netif *netif = interface_netif(index);
    if (netif)
        fill(st, netif, out);
    net_unlock(st);
    return netif != NULL;
}

u32 interface_find(const char *name)
{
    struct interface i;
    for (u32 index = 1; interface_get(index, &i); index++) {
        if (!strcmp(i.name, name))
            return index;
    }
    return 0;
}

// ---- the ioctls

static void put_addr(struct ifreq *r, u32 addr)
{
    memset(&r->addr, 0, sizeof(r->addr));
    r->addr.family = AF_INET;
    r->addr.addr = addr;
}

// The list of those that have an IPv4 address; as many as there is room for.
static long get_conf(uptr_t arg)
{
    struct ifconf conf;
    struct interface i;
    s32 used = 0;
    if (copy_from_user(&conf, arg, sizeof(conf)))
        return -EFAULT;
    for (u32 index = 1; interface_get(index, &i); index++) {
        struct ifreq r = {.name = ""};
        if (!i.address)
            continue;
        if (conf.buf && conf.len - used < (s32)sizeof(r))
            break;
        strlcpy(r.name, i.name, sizeof(r.name));
        put_addr(&r, i.address);
        if (conf.buf && copy_to_user(conf.buf + (u32)used, &r, sizeof(r)))
            return -EFAULT;
        used += (s32)sizeof(r);
    }
    return put_user_u32(arg, (u32)used) ? -EFAULT : 0;
}

static bool is_set(unsigned cmd)
{
    switch (cmd) {
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFNAME:
    case SIOCSIFHWADDR:
    case SIOCSIFHWBROADCAST:
    case SIOCSIFTXQLEN:
    case SIOCADDRT:
    case SIOCDELRT:
    case SIOCSARP:
    case SIOCDARP: return true;
    default: return false;
    }
}

static int answer(unsigned cmd, const struct interface *i, struct ifreq *r)
{
    switch (cmd) {
    case SIOCGIFFLAGS: r->flags = (s16)i->flags; return 0;
    case SIOCGIFINDEX: r->number = (s32)i->index; return 0;
    case SIOCGIFMETRIC: r->number = 0; return 0;
    case SIOCGIFMTU: r->number = (s32)i->mtu; return 0;
    case SIOCGIFTXQLEN: r->number = TX_QUEUE_LEN; return 0;
    case SIOCGIFMAP: memset(r->pad, 0, sizeof(r->pad)); return 0;
    case SIOCGIFHWADDR:
        memset(&r->hw, 0, 16);  // a struct sockaddr
        r->hw.family = i->type;
        memcpy(r->hw.data, i->mac, sizeof(i->mac));
        return 0;
    }
    if (!i->address)
        return -EADDRNOTAVAIL;
    switch (cmd) {
    case SIOCGIFBRDADDR: put_addr(r, i->broadcast); return 0;
    case SIOCGIFNETMASK: put_addr(r, i->netmask); return 0;
    default: put_addr(r, i->address); return 0;  // SIOCGIFADDR, SIOCGIFDSTADDR
    }
}

// The machine's configuration is the tool's (ip= and its kin), so what would change it is refused.
long interface_ioctl(unsigned cmd, uptr_t arg)
{
    struct ifreq r;
    struct interface i;
    if (is_set(cmd))
        return capable(CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
    switch (cmd) {
    case SIOCGIFCONF: return get_conf(arg);
    case SIOCGIFNAME:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN:
    case SIOCGIFMAP: break;
    default: return -ENOTTY;
    }
    if (copy_from_user(&r, arg, sizeof(r)))
        return -EFAULT;
    if (cmd == SIOCGIFNAME) {
        if (!interface_get((u32)r.number, &i))
            return -ENODEV;
        memcpy(r.name, i.name, sizeof(r.name));
    } else {
        r.name[sizeof(r.name) - 1] = '\0';
        if (!interface_get(interface_find(r.name), &i))
            return -ENODEV;
        int err = answer(cmd, &i, &r);
        if (err)
            return err;
    }
    return copy_to_user(arg, &r, sizeof(r)) ? -EFAULT : 0;
}
