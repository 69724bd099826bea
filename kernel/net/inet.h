// SPDX-License-Identifier: BSD-2-Clause
// inet.h: what TCP and UDP sockets share: addresses, ports, options of IP.
#pragma once

#include "lwip/ip_addr.h"
#include "net/socket.h"
#include "net/stack.h"

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
};

static inline struct inet_sock *inet_of(struct socket *s) { return (struct inet_sock *)s; }
static inline u16 net16(u16 x) { return __builtin_bswap16(x); }

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
// A route to ip, or -ENETUNREACH. [stack lock]
int inet_route_check(const struct inet_sock *i, const ip_addr_t *ip);
long inet_ioctl(struct socket *s, unsigned cmd, uptr_t arg);

// tcp.c, udp.c. => ERR_PTR(-ENOMEM, ...)
struct socket *tcp_create(int family);
struct socket *udp_create(int family);
// tcp_flows.c. [stack lock]
int tcp_flows_init(void);   // => 0, -ENOMEM
bool tcp_flows_tick(void);  // every TCP_TMR_INTERVAL. => false: no connection is left
void tcp_flows_address_gone(const ip_addr_t *old);  // ends the connections from it
void tcp_flows_send(void);                          // the device has room again (tcp.c)
// Whether a connection in TIME-WAIT has this local port. [stack lock]
bool tcp_port_waits(u16 port);
