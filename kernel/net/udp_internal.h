// SPDX-License-Identifier: BSD-2-Clause
// udp_internal.h: what udp.c, udp_options.c and udp_error.c share (essay in udp.c).
#pragma once

#include "net/inet.h"

struct udp_pcb;
struct pbuf;

struct datagram {
    struct list link;
    struct pbuf *p;
    ip_addr_t from, to;
    u16 from_port;
    u8 ifindex;
    u8 ttl, tos;
    u32 size;     // charged
    u64 time_ns;  // CLOCK_REALTIME; 0: nobody has asked for it
};

struct udp_membership {
    struct list link;
    ip_addr_t group;
    u32 index;  // of the interface
};

struct udp_sock {
    struct inet_sock i;   // first
    struct udp_pcb *pcb;  // fixed until close
    struct mutex read_mutex;
    struct list queue;  // [stack lock] struct datagram
    u32 queued_size;    // [stack lock]
    u64 n_dropped;      // [stack lock]
    // What comes with a datagram as control data.
    bool pkt_info, pkt_info6, receive_ttl, receive_tos, timestamp, timestamp_ns;
    bool address_bound;       // [stack lock] by bind(2), not by connect(2)
    bool receive_errors;      // IP_RECVERR: errors are queued
    struct list errors;       // [stack lock] struct udp_error
    u32 n_errors;             // [stack lock]
    struct list memberships;  // [stack lock] struct udp_membership
    u8 multicast_ttl;
    bool multicast_loop, multicast_all;
    u32 multicast_index;  // where to send groups' datagrams; 0: as the routes say
    u8 mtu_discover;
};

static inline struct udp_sock *udp_of(struct socket *s) { return (struct udp_sock *)s; }

// udp_options.c
int udp_set_option(struct socket *s, int level, int name, const void *value, u32 len);
int udp_get_option(struct socket *s, int level, int name, void *value, u32 *len);
bool udp_is_member(const struct udp_sock *u, const ip_addr_t *group, u32 index);  // [stack lock]
void udp_leave_all(struct udp_sock *u);                                           // [stack lock]
// Gives the receiver what he has asked for with a datagram.
void udp_put_control(struct udp_sock *u, struct message *m, const struct datagram *d);
// udp_error.c
ssize_t udp_receive_error(struct udp_sock *u, struct message *m);
void udp_drop_errors(struct udp_sock *u);  // [stack lock]
