// SPDX-License-Identifier: BSD-2-Clause
// device.h: a network interface with a driver below it (platform/virtio/virtio_net.c).
//
// The driver calls net_device_add when it has found its device, and net_kick from its interrupt. The stack's thread calls
// poll, which hands frames to net_device_receive and says net_device_received behind the last. send is called with the stack's lock held, from any thread.
#pragma once

#include "net/stack.h"

#define NET_FRAME_MAX 1514  // bytes of an Ethernet frame with 1500 of payload
#define HELD_FLOWS 4        // of which segments are joined at the same time

struct net_device_ops {
    // Takes in up to `budget` frames. => true: there may be more; else the device's interrupt is on again
    bool (*poll)(struct net_device *d, u32 budget);
    // Sends a frame, copying it. => 0, -ENOBUFS when the device has no room
    int (*send)(struct net_device *d, struct pbuf *frame);
    void (*flush)(struct net_device
                      *d);  // the lock is about to be given up: tells the device of what was sent
    bool (*link_up)(struct net_device *d);
};

// The driver sees to the checksums of TCP in what is sent; cuts segments that are longer than a frame.
enum { NET_CSUM_OUT = 1, NET_TSO4 = 2, NET_TSO6 = 4 };

// Segments of one flow that have come one behind the other (coalesce.c).
struct held_frame {
    struct pbuf *first, *last;
    bool six;
    u16 headers;  // bytes before the data of the first
    u32 n, data;  // segments; bytes in them
    u32 next_seq;
};

// What was changed for a segment that the device is to cut (tcp_large.c).
struct wide_mtu {
    bool on;
    u16 mtu, mtu6, path_mtu;
    u16 *path;
};

struct net_device {
    const struct net_device_ops *ops;
    u8 mac[6];
    u16 mtu;
    u32 offloads;   // NET_*
    u16 send_most;  // bytes of an IP packet that it cuts
    // Of the stack:
    struct net_device *next;
    struct net_stack *stack;
    struct netif netif;  // [stack lock]
    ip_addr_t address;   // [stack lock] its IPv4 address, to see that it changes
    u32 index;           // eth0, eth1, ...
    bool dhcp;           // asks for its address
    bool waits;          // counted in stack->n_configuring
    bool changed;        // [stack lock] address or link: net_devices_settle has to look
    u64 give_up_ns;      // when the wait for an address ends
    struct interface_counters counters;  // [stack lock]
    struct held_frame held[HELD_FLOWS];  // [stack lock]
    u32 n_held;                          // [stack lock] 0 when the lock is free
    struct wide_mtu wide;                // [stack lock]
};

int net_device_add(struct net_device *d);
// coalesce.c. A frame has come; takes over p. checked: its TCP or UDP checksum is good; more: another one is there already. Behind
// the last, before the lock is given up: net_device_received. => the stack's lock is held
void net_device_receive(struct net_device *d, struct pbuf *p, bool checked, bool more);
void net_device_received(struct net_device *d);
void net_device_deliver(struct net_device *d, struct pbuf *p, bool checked);  // to the stack
// After send has failed for want of room: there is some. => the stack's lock is held
void net_device_has_room(struct net_device *d);
// link_up says something else now. => the stack's lock is held
void net_device_link_changed(struct net_device *d);
// Of the stack's thread.
bool net_devices_poll(struct net_stack *st);  // => true: not all could be taken in
void net_devices_settle(
    struct net_stack *st);  // after a change of addresses: /etc/resolv.conf, those who wait
// The program is about to start: waits a moment for addresses that are on their way.
void net_wait_configured(void);
