// SPDX-License-Identifier: BSD-2-Clause
// interface.h: the network interfaces as programs see them: netlink, ioctls, /proc/net and /sys/class/net tell all the same.
#pragma once

#include "net/stack.h"

#define INTERFACE_NAME_MAX 16  // IFNAMSIZ
#define INTERFACE_ADDRESSES6 LWIP_IPV6_NUM_ADDRESSES

enum {  // user ABI: netdevice(7)
    IFF_UP = 1,
    IFF_BROADCAST = 2,
    IFF_LOOPBACK = 8,
    IFF_RUNNING = 0x40,
    IFF_MULTICAST = 0x1000,
    IFF_LOWER_UP = 0x10000,
};
enum { ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772 };
enum { RT_SCOPE_UNIVERSE = 0, RT_SCOPE_LINK = 253, RT_SCOPE_HOST = 254 };

struct interface_address6 {
    u8 address[16];
    u8 prefix;
    u8 scope;  // RT_SCOPE_*
    bool tentative;
    bool fixed;  // given for good; else a router gave it for some time
};

// A copy, taken at one moment.
struct interface {
    u32 index;  // from 1 on, as lwIP counts
    char name[INTERFACE_NAME_MAX];
    u32 flags;  // IFF_*
    u32 mtu;
    u16 type;  // ARPHRD_*
    u8 mac[6];
    u8 prefix;                                 // of the IPv4 address
    bool leased;                               // the IPv4 address comes from DHCP
    u32 address, netmask, broadcast, gateway;  // network order; 0: none
    u32 n_address6;
    struct interface_address6 address6[INTERFACE_ADDRESSES6];
    struct interface_counters counters;
};

// The interface with a number. Starts the stack if nobody has. => false: there is none
bool interface_get(u32 index, struct interface *out);
// => its number, 0: none
u32 interface_find(const char *name);
// lwIP's own, with its lock held. => NULL: none
static inline struct netif *interface_netif(u32 index)
{
    return index && index < 256 ? netif_get_by_index((u8)index) : NULL;
}
// netdevice(7): SIOCGIFCONF and its kin, for sockets of every family. => -ENOTTY: not one of them
long interface_ioctl(unsigned cmd, uptr_t arg);
// rtnetlink.c: addresses or the link have changed: those who listen on netlink sockets are told.
void rtnetlink_notify(u32 index);
