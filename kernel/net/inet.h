// SPDX-License-Identifier: BSD-2-Clause
// inet.h: what TCP and UDP sockets share: addresses, ports, options of IP.
#pragma once

#include "lwip/ip_addr.h"
#include "net/socket.h"
#include "net/stack.h"

#define PORT_FIRST_FREE 1024u  // net.ipv4.ip_unprivileged_port_start
#define PORT_RANGE_FIRST 32768u
#define PORT_RANGE_LAST 60999u

struct sockaddr_in {  // user ABI; port and address in network order
    u16 family;
    u16 port;
    u32 addr;
    u8 zero[8];
};
struct sockaddr_in6 {
    u16 family;
    u16 port;
    u32 flow_info;
    u8 addr[16];
    u32 scope_id;
};

struct inet_sock {
    struct socket s;  // first
    struct net_stack *stack;
    ip_addr_t local, remote;      // [stack lock]
    u16 local_port, remote_port;  // [stack lock] host order; 0: none
    bool v6_only;
    bool port_held;         // [stack lock] linked into the table of ports
    bool port_chosen;       // by the kernel, not by bind
    struct list port_link;  // [stack lock]
    u8 tos, ttl;
    bool free_bind, no_port_yet;  // IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT
    u32 bound_index;              // SO_BINDTODEVICE; 0: none
};

static inline struct inet_sock *inet_of(struct socket *s) { return (struct inet_sock *)s; }
static inline u16 net16(u16 x) { return __builtin_bswap16(x); }
static inline u32 net32(u32 x) { return __builtin_bswap32(x); }

void inet_init(struct inet_sock *i, const struct socket_ops *ops, int family, int type,
               int protocol);
// A user address in lwIP's form. => 0, -EINVAL, -EAFNOSUPPORT
int inet_addr_in(const struct inet_sock *i, const struct sock_addr *addr, u32 len, ip_addr_t *ip,
                 u16 *port);
// The other way; => its length.
int inet_addr_out(const struct inet_sock *i, const ip_addr_t *ip, u16 port, struct sock_addr *addr);
// Whether the address is one of this machine (or none in particular). => [stack lock]
bool inet_is_local(const struct inet_sock *i, const ip_addr_t *ip);
// Takes the port (0: any free one) for ip. => 0, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES. [stack lock]
int inet_port_take(struct inet_sock *i, const ip_addr_t *ip, u16 port);
void inet_port_release(struct inet_sock *i);  // [stack lock]
// The address that lwIP is to bind to: any of both families, when v6_only is off.
ip_addr_t inet_bind_address(const struct inet_sock *i, const ip_addr_t *ip);
int inet_getname(struct socket *s, struct sock_addr *addr, enum socket_name which);
int inet_error(s8 err);  // lwIP's err_t as a negative errno
// Options of SOL_IP and SOL_IPV6 that all have. => as socket_ops
int inet_set_option(struct socket *s, int level, int name, const void *value, u32 len);
int inet_get_option(struct socket *s, int level, int name, void *value, u32 *len);
int option_int(const void *value, u32 len, int *out);  // -EINVAL when too short; a byte will do
int option_put_int(int number, void *value, u32 *len);
// The interface that leads to ip, by its own network or a router. => NULL: none. [stack lock]
struct netif *inet_route(const ip_addr_t *from, const ip_addr_t *ip);
// Whether a connection to ip has a way. => 0, -ENETUNREACH, -EINVAL: an address of one link, which is not said. [stack lock]
int inet_route_check(const struct inet_sock *i, const ip_addr_t *ip);
long inet_ioctl(struct socket *s, unsigned cmd, uptr_t arg);

// The sockets of a type (SOCK_*) that may hold a port, by port_link; others are among them. [stack lock]
struct list *inet_port_bucket(int type, u16 port);
u32 inet_flow_hash(const ip_addr_t *from, u16 port);

// An ICMP error about a packet that has left this machine.
struct net_icmp_error {
    ip_addr_t from, local, remote;  // who complains; the packet's addresses
    u16 local_port, remote_port;
    u8 type, code;
    bool hard;
    u8 error;  // errno
    u32 info;  // ee_info: the MTU
};
void udp_icmp_error(const struct net_icmp_error *e);  // [stack lock]
void tcp_icmp_error(const struct net_icmp_error *e);  // [stack lock]

// tcp.c, udp.c. => ERR_PTR(-ENOMEM, ...)
struct socket *tcp_create(int family);
struct socket *udp_create(int family);
// tcp_flows.c. [stack lock]
int tcp_flows_init(void);   // => 0, -ENOMEM
bool tcp_flows_tick(void);  // every TCP_TMR_INTERVAL. => false: no connection is left
void tcp_flows_address_gone(const ip_addr_t *old);    // ends the connections from it
void tcp_flows_send(void);                            // the device has room again (tcp.c)
void tcp_direct_count(struct interface_counters *c);  // adds what all CPUs have sent past lwIP
struct net_device;
void net_large_end(struct net_device *d);  // tcp_large.c. [stack lock]
// A line of /proc/net/tcp and its kin; the addresses are the inet_sock's.
struct inet_row {
    bool shown;
    u8 state, timer;  // TCP_* of Linux
    u32 tx_queue, rx_queue, retransmits, drops;
};
void tcp_fill_row(struct socket *s, struct inet_row *row);  // [stack lock]
void udp_fill_row(struct socket *s, struct inet_row *row);  // [stack lock]
u32 tcp_time_wait_count(void);
u32 tcp_established_count(void);
// Whether no connection from a local port to this peer is in the way. One in TIME-WAIT for a second or more is ended when the peer
// is this machine (Linux's default, net.ipv4.tcp_tw_reuse = 2). [stack lock]
bool tcp_way_is_free(const ip_addr_t *remote, u16 remote_port, u16 local_port);
// Whether a connection in TIME-WAIT keeps this local port from who binds to it; reuse: he and the connection had SO_REUSEADDR. [stack lock]
bool tcp_port_waits(u16 port, bool reuse);
// tcp_cookie.c: SYN cookies sent, and acknowledgements that were one or only looked like it; SYNs that found the queue full
struct tcp_cookie_counts {
    u64 sent, received, failed, overflows;
};
void tcp_cookie_counts(struct tcp_cookie_counts *out);
bool tcp_cookie_number(
    u32 *number);  // => true: a connection that is just being made begins with it. [stack lock]
