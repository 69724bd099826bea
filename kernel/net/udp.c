// SPDX-License-Identifier: BSD-2-Clause
// udp.c: UDP sockets over lwIP's callback interface (udp(7)).
//
// Invariants
//   I1  The queue holds datagrams as they came, at most receive_buffer bytes of memory; what comes beyond that is dropped and
//       counted, as UDP may.
//   I2  Only the holder of read_mutex takes a datagram from the queue, so that it is copied out without the stack's lock.
//
// Locks: read_mutex -> stack lock.
#include <string.h>

#include "lwip/ip.h"
#include "lwip/icmp.h"
#include "lwip/icmp6.h"
#include "lwip/stats.h"
#include "lwip/udp.h"
#include "net/interface.h"
#include "net/udp_internal.h"

#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411
#define UDP_MAX_PAYLOAD (65535 - 8)
#define SEND_FLAGS_REFUSED (MSG_OOB | MSG_FASTOPEN)

enum { IP_TOS = 1, IP_TTL = 2, IP_PKTINFO = 8 };
enum { IPV6_PKTINFO = 50, IPV6_HOPLIMIT = 52, IPV6_TCLASS = 67 };
enum { PMTUDISC_DO = 2, PMTUDISC_PROBE = 3 };

struct in_pktinfo {  // user ABI
    s32 ifindex;
    u32 spec_dst, addr;
};
struct in6_pktinfo {
    u8 addr[16];
    s32 ifindex;
};

static const struct socket_ops udp_ops;

static void datagram_free(struct datagram *d)
{
    pbuf_free(d->p);
    kfree(d);
}

// ---- arrival, with the stack's lock held

// How well a datagram fits a socket. => 0: not at all
static int fitness(const struct inet_sock *i, const ip_addr_t *to, const ip_addr_t *from, u16 port,
                   u32 index)
{
    int score = i->s.family == AF_INET ? 2 : 1;
    if (IP_IS_V4(to) ? i->v6_only : i->s.family == AF_INET)
        return 0;
    if (!ip_addr_isany(&i->local)) {
        if (!ip_addr_eq(&i->local, to))
            return 0;
        score += 4;
    } else if (IP_IS_V4_VAL(i->local) && i->s.family == AF_INET6 && !IP_IS_V4(to)) {
        return 0;
    }
    if (i->remote_port) {
        if (i->remote_port != port || !ip_addr_eq(&i->remote, from))
            return 0;
        score += 4;
    }
    if (i->bound_index) {
        if (i->bound_index != index)
            return 0;
        score += 4;
    }
    return score;
}

// The socket that a datagram is for: the one that fits best, the latest of equals; among those with SO_REUSEPORT its sender
// decides. => NULL: none
static struct udp_sock *find_receiver(u16 local_port, const ip_addr_t *from, u16 port, u32 index)
{
    const ip_addr_t *to = ip_current_dest_addr();
    struct list *bucket = inet_port_bucket(SOCK_DGRAM, local_port);
    struct inet_sock *best = NULL;
    int best_score = 0;
    u32 n = 0;
    list_for_each_entry (struct inet_sock, i, bucket, port_link) {
        int score = i->local_port == local_port ? fitness(i, to, from, port, index) : 0;
        if (score == 0 || score < best_score)
            continue;
        n = score == best_score ? n + 1 : 1;
        best = i;
        best_score = score;
    }
    if (n < 2 || !best->s.reuse_port)
        return best ? udp_of(&best->s) : NULL;
    u32 which = inet_flow_hash(from, port) % n;
    list_for_each_entry (struct inet_sock, i, bucket, port_link) {
        if (i->local_port == local_port && fitness(i, to, from, port, index) == best_score &&
            which-- == 0)
            return udp_of(&i->s);
    }
    return udp_of(&best->s);
}

static void take_in(struct udp_sock *u, struct pbuf *p, const ip_addr_t *from, u16 port)
{
    u32 size = p->tot_len + (u32)sizeof(struct datagram) + (u32)sizeof(struct pbuf);
    struct datagram *d = NULL;
    bool wanted = socket_may(&u->i.s, SHUTDOWN_RCV);
    if (wanted && u->queued_size + size <= u->i.s.receive_buffer && !net_memory_short())
        d = kmalloc(sizeof(*d));
    if (!d) {
        u->n_dropped++;
        u->i.stack->udp_drops += wanted;
        pbuf_free(p);
        return;
    }
    d->p = p;
    d->from = *from;
    d->from_port = port;
    d->to = *ip_current_dest_addr();
    d->ifindex = netif_get_index(ip_current_input_netif());
    d->ttl = ip_current_is_v6() ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
    d->tos = ip_current_is_v6() ? (u8)IP6H_TC(ip6_current_header()) : IPH_TOS(ip4_current_header());
    d->time_ns = u->timestamp ? ktime_real_ns() : 0;
    d->size = size;
    list_push_back(&u->queue, &d->link);
    u->queued_size += size;
    socket_wake_readers(&u->i.s);
}

// Whether the socket, on whose port a datagram for many has come, is one of them.
static bool hears_group(const struct udp_sock *u, const ip_addr_t *from, u16 port, u32 index)
{
    const ip_addr_t *to = ip_current_dest_addr();
    if (u->i.remote_port && (u->i.remote_port != port || !ip_addr_eq(&u->i.remote, from)))
        return false;
    if (u->i.bound_index && u->i.bound_index != index)
        return false;
    return !ip_addr_ismulticast(to) || u->multicast_all || udp_is_member(u, to, index);
}

// Called by lwIP with the first socket on a datagram's port, or with each of them when it is for many.
static void on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                    u16_t port)
{
    struct udp_sock *u = arg;
    struct netif *inp = ip_current_input_netif();
    u32 index = netif_get_index(inp);
    if (ip_addr_ismulticast(ip_current_dest_addr()) ||
        ip_addr_isbroadcast(ip_current_dest_addr(), inp)) {
        if (!hears_group(u, from, port, index)) {
            pbuf_free(p);
            return;
        }
    } else {
        u = find_receiver(pcb->local_port, from, port, index);
        if (!u) {
            MIB2_STATS_INC(mib2.udpnoports);
            pbuf_header_force(p, (s16_t)(ip_current_header_tot_len() + UDP_HLEN));
            icmp_port_unreach(ip_current_is_v6(), p);
            pbuf_free(p);
            return;
        }
    }
    take_in(u, p, from, port);
}

struct socket *udp_create(int family)
{
    struct udp_sock *u = kzalloc(sizeof(*u));
    if (!u)
        return ERR_PTR(-ENOMEM);
    inet_init(&u->i, &udp_ops, family, SOCK_DGRAM, IP_PROTO_UDP);
    mutex_init(&u->read_mutex);
    list_init(&u->queue);
    list_init(&u->errors);
    list_init(&u->memberships);
    u->multicast_ttl = 1;
    u->multicast_loop = u->multicast_all = true;
    u->mtu_discover = 1;  // IP_PMTUDISC_WANT
    net_lock(u->i.stack);
    u->pcb = udp_new_ip_type(family == AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
    if (u->pcb) {
        ip_set_option(u->pcb, SOF_REUSEADDR);
        udp_recv(u->pcb, on_recv, u);
    }
    net_unlock(u->i.stack);
    if (!u->pcb) {
        socket_put(&u->i.s);
        return ERR_PTR(-ENOBUFS);
    }
    return &u->i.s;
}

// ---- names

// [stack lock]
static int bind_locked(struct udp_sock *u, const ip_addr_t *ip, u16 port)
{
    int err = inet_port_take(&u->i, ip, port);
    if (err)
        return err;
    ip_addr_t at = inet_bind_address(&u->i, ip);
    err = inet_error(udp_bind(u->pcb, &at, u->i.local_port));
    if (err) {
        inet_port_release(&u->i);
        u->i.local_port = 0;
    }
    return err;
}

static int udp_bind_socket(struct socket *s, const struct sock_addr *addr, u32 len)
{
    struct udp_sock *u = udp_of(s);
    ip_addr_t ip;
    u16 port;
    int err = inet_addr_in(&u->i, addr, len, &ip, &port);
    if (err)
        return err;
    net_lock(u->i.stack);
    err = u->i.port_held ? -EINVAL : bind_locked(u, &ip, port);
    if (!err)
        u->address_bound = !ip_addr_isany(&ip);
    net_unlock(u->i.stack);
    return err;
}

static int autobind(struct udp_sock *u)
{
    ip_addr_t any = u->i.local;
    return u->i.port_held ? 0 : bind_locked(u, &any, 0);
}

static void disconnect(struct udp_sock *u)
{
    u->i.remote_port = 0;
    ip_addr_set_any(u->i.s.family == AF_INET6, &u->i.remote);
    if (!u->address_bound)
        ip_addr_set_any(u->i.s.family == AF_INET6, &u->i.local);
}

static void this_host(ip_addr_t *ip)
{
    if (!ip_addr_isany(ip))
        return;
    if (IP_IS_V4(ip))
        ip_addr_set_loopback(false, ip);
    else
        ip_addr_set_loopback(true, ip);
}

// An address of one link, and nothing says which.
static bool needs_interface(const struct udp_sock *u, const ip_addr_t *ip)
{
    return IP_IS_V6(ip) && !u->i.bound_index && !ip6_addr_has_zone(ip_2_ip6(ip)) &&
           (ip6_addr_islinklocal(ip_2_ip6(ip)) ||
            (ip6_addr_ismulticast_linklocal(ip_2_ip6(ip)) && !u->multicast_index));
}

static int udp_connect_socket(struct socket *s, const struct sock_addr *addr, u32 len,
                              bool nonblock)
{
    struct udp_sock *u = udp_of(s);
    ip_addr_t ip;
    u16 port = 0;
    int err = 0;
    bool leave = addr->family == AF_UNSPEC;
    if (!leave)
        err = inet_addr_in(&u->i, addr, len, &ip, &port);
    if (err)
        return err;
    net_lock(u->i.stack);
    if (leave) {
        disconnect(u);
    } else {
        this_host(&ip);
        struct netif *netif = u->i.bound_index ? interface_netif(u->i.bound_index)
                              : ip_addr_ismulticast(&ip) && u->multicast_index
                                  ? interface_netif(u->multicast_index)
                                  : inet_route(&u->i.local, &ip);
        err = needs_interface(u, &ip)                                ? -EINVAL
              : !netif                                               ? -ENETUNREACH
              : ip_addr_isbroadcast(&ip, netif) && !u->i.s.broadcast ? -EACCES
                                                                     : autobind(u);
        if (!err) {
            u->i.remote = ip;
            u->i.remote_port = port;
            if (ip_addr_isany(&u->i.local)) {  // what getsockname tells from now on
                const ip_addr_t *own = ip_netif_get_local_ip(netif, &ip);
                if (own)
                    u->i.local = *own;
            }
        }
    }
    net_unlock(u->i.stack);
    return err;
}

// ---- sending

struct udp_target {
    ip_addr_t to, from;
    u16 port;
    bool from_given;
    u32 index;     // of the interface, when it is given
    s16 ttl, tos;  // -1: the socket's
};

static int load_int(const struct cmsg_header *c, s32 least, s16 *out)
{
    s32 n;
    if (c->len != sizeof(*c) + sizeof(n))
        return -EINVAL;
    memcpy(&n, c + 1, sizeof(n));
    if (n < least || n > 255)
        return -EINVAL;
    *out = (s16)n;
    return 0;
}

static int load_control4(const struct cmsg_header *c, struct udp_target *target)
{
    struct in_pktinfo info;
    switch (c->type) {
    case IP_PKTINFO:
        if (c->len != sizeof(*c) + sizeof(info))
            return -EINVAL;
        memcpy(&info, c + 1, sizeof(info));
        ip_addr_set_ip4_u32(&target->from, info.spec_dst);
        target->from_given = info.spec_dst != 0;
        target->index = (u32)info.ifindex;
        return 0;
    case IP_TTL: return load_int(c, 1, &target->ttl);
    case IP_TOS:
        if (c->len != sizeof(*c) + 1)
            return load_int(c, 0, &target->tos);
        target->tos = *(const u8 *)(c + 1);
        return 0;
    default: return -EINVAL;
    }
}

static int load_control6(const struct cmsg_header *c, struct udp_target *target)
{
    struct in6_pktinfo info;
    ip6_addr_t six;
    switch (c->type) {
    case IPV6_PKTINFO:
        if (c->len < sizeof(*c) + sizeof(info))
            return -EINVAL;
        memcpy(&info, c + 1, sizeof(info));
        target->index = (u32)info.ifindex;
        memcpy(six.addr, info.addr, sizeof(six.addr));
        ip6_addr_clear_zone(&six);
        ip_addr_copy_from_ip6(target->from, six);
        target->from_given = !ip6_addr_isany(&six);
        return 0;
    case IPV6_HOPLIMIT: return load_int(c, -1, &target->ttl);
    case IPV6_TCLASS: return load_int(c, -1, &target->tos);
    default: return -EINVAL;
    }
}

// What goes with one datagram only (ip(7), ipv6(7)). Levels that are another family's are skipped, as on Linux; extension headers
// (RFC 3542) and UDP_SEGMENT are refused.
static int load_control(const struct message *m, struct udp_target *target)
{
    size_t at = 0;
    bool bad;
    int err = 0;
    struct cmsg_header *c;
    while (!err && (c = message_next_control(m, &at, &bad))) {
        if (c->level == SOL_IP && IP_IS_V4(&target->to))
            err = load_control4(c, target);
        else if (c->level == SOL_IPV6 && (!IP_IS_V4(&target->to) || c->type == IPV6_PKTINFO))
            err = load_control6(c, target);
        else if (c->level == SOL_UDP ||
                 (c->level == SOL_SOCKET && c->type != SCM_RIGHTS && c->type != SCM_CREDENTIALS))
            err = -EINVAL;
    }
    return err ? err : bad ? -EINVAL : 0;
}

static int find_target(struct udp_sock *u, const struct message *m, struct udp_target *target)
{
    target->from_given = false;
    target->index = 0;
    target->ttl = target->tos = -1;
    if (m->addr) {
        int err = inet_addr_in(&u->i, m->addr, m->addr_len, &target->to, &target->port);
        if (err)
            return err;
        if (target->port == 0)
            return -EINVAL;
    } else {
        if (!u->i.remote_port)
            return -EDESTADDRREQ;
        target->to = u->i.remote;
        target->port = u->i.remote_port;
    }
    this_host(&target->to);
    return load_control(m, target);
}

// [stack lock]
static int send_locked(struct udp_sock *u, const struct udp_target *t, struct pbuf *p)
{
    struct udp_pcb *pcb = u->pcb;
    const struct inet_sock *i = &u->i;
    const ip_addr_t *from = t->from_given ? &t->from : &u->i.local;
    int err = autobind(u);
    if (err)
        return err;
    bool group = ip_addr_ismulticast(&t->to);
    u32 index = t->index         ? t->index
                : i->bound_index ? i->bound_index
                : group          ? u->multicast_index
                                 : 0;
    struct netif *netif = index ? interface_netif(index) : inet_route(from, &t->to);
    if (!netif)
        return index ? -ENODEV : -ENETUNREACH;
    if ((u->mtu_discover == PMTUDISC_DO || u->mtu_discover == PMTUDISC_PROBE) &&
        p->tot_len + UDP_HLEN + (IP_IS_V4(&t->to) ? IP_HLEN : IP6_HLEN) > netif->mtu)
        return -EMSGSIZE;
    if (ip_addr_isbroadcast(&t->to, netif)) {
        if (!u->i.s.broadcast)
            return -EACCES;
        ip_set_option(pcb, SOF_BROADCAST);
    }
    pcb->ttl = t->ttl >= 0 ? (u8)t->ttl : u->i.ttl;
    pcb->tos = t->tos >= 0 ? (u8)t->tos : u->i.tos;
    udp_set_multicast_ttl(pcb, t->ttl >= 0 ? (u8)t->ttl : u->multicast_ttl);
    if (u->multicast_loop && netif != &i->stack->loopback)  // there it comes back anyway
        udp_set_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
    else
        udp_clear_flags(pcb, UDP_FLAGS_MULTICAST_LOOP);
    if (t->from_given ||
        (!ip_addr_isany(from) && !ip_addr_ismulticast(from) && IP_IS_V4(from) == IP_IS_V4(&t->to)))
        return inet_error(udp_sendto_if_src(pcb, p, &t->to, t->port, netif, from));
    return inet_error(udp_sendto_if(pcb, p, &t->to, t->port, netif));
}

static ssize_t udp_send_message(struct socket *s, struct message *m)
{
    struct udp_sock *u = udp_of(s);
    struct udp_target target;
    size_t len = uio_remaining(m->uio);
    if (m->flags & SEND_FLAGS_REFUSED)
        return -EOPNOTSUPP;
    if (len > UDP_MAX_PAYLOAD - (s->family == AF_INET ? 20u : 0u))
        return -EMSGSIZE;
    int err = socket_take_error(s);
    if (!err && !socket_may(s, SHUTDOWN_SND))
        err = -EPIPE;
    if (!err)
        err = find_target(u, m, &target);
    if (err)
        return err;
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
    if (!p)
        return -ENOBUFS;
    if (len && uio_copy_from(m->uio, p->payload, len) != (ssize_t)len)
        err = -EFAULT;
    net_lock(u->i.stack);
    if (!err)
        err = send_locked(u, &target, p);
    pbuf_free(p);
    net_unlock(u->i.stack);
    return err ? err : (ssize_t)len;
}

// ---- receiving

static bool readable(void *arg)
{
    struct udp_sock *u = arg;
    return !list_empty(&u->queue) || atomic_load(&u->i.s.error) ||
           !socket_may(&u->i.s, SHUTDOWN_RCV);
}

static ssize_t copy_out(const struct datagram *d, struct message *m)
{
    ssize_t total = 0;
    for (const struct pbuf *p = d->p; p && uio_remaining(m->uio); p = p->next) {
        size_t n = MIN((size_t)p->len, uio_remaining(m->uio));
        if (n && uio_copy_to(m->uio, p->payload, n) != (ssize_t)n)
            return -EFAULT;
        total += (ssize_t)n;
    }
    return total;
}

// The first datagram, waiting for it. => NULL: shut down. [read_mutex, given up while waiting]
static struct datagram *first_datagram(struct udp_sock *u, u32 flags, u64 deadline_ns)
{
    for (;;) {
        net_lock(u->i.stack);
        struct datagram *d =
            list_empty(&u->queue) ? NULL : list_first(&u->queue, struct datagram, link);
        net_unlock(u->i.stack);
        if (d)
            return d;
        int err = socket_take_error(&u->i.s);
        if (err)
            return ERR_PTR(err);
        if (!socket_may(&u->i.s, SHUTDOWN_RCV))
            return NULL;
        if (flags & MSG_DONTWAIT)
            return ERR_PTR(-EAGAIN);
        mutex_unlock_quick(&u->read_mutex);
        err = socket_wait(&u->i.s.read_wait, readable, u, deadline_ns);
        mutex_lock_quick(&u->read_mutex);
        if (err)
            return ERR_PTR(err);
    }
}

static ssize_t udp_receive_message(struct socket *s, struct message *m)
{
    struct udp_sock *u = udp_of(s);
    u64 deadline_ns = socket_deadline(s->receive_timeout_ns);
    m->addr_len = 0;
    if (m->flags & MSG_OOB)
        return -EINVAL;
    if (m->flags & MSG_ERRQUEUE)
        return udp_receive_error(u, m);
    mutex_lock_quick(&u->read_mutex);
    struct datagram *d = first_datagram(u, m->flags, deadline_ns);
    if (!d || IS_ERR(d)) {
        mutex_unlock_quick(&u->read_mutex);
        return d ? PTR_ERR(d) : 0;
    }
    ssize_t n = copy_out(d, m);
    if (n >= 0) {
        if (n < d->p->tot_len)
            m->out_flags |= MSG_TRUNC;
        if (m->flags & MSG_TRUNC)
            n = d->p->tot_len;
        if (m->addr)
            m->addr_len = (u32)inet_addr_out(&u->i, &d->from, d->from_port, m->addr);
        udp_put_control(u, m, d);
    }
    bool peek = m->flags & MSG_PEEK;
    net_lock(u->i.stack);
    if (!peek) {
        list_remove(&d->link);
        u->queued_size -= d->size;
    }
    bool more = !list_empty(&u->queue);
    if (!peek)
        datagram_free(d);
    net_unlock(u->i.stack);
    mutex_unlock_quick(&u->read_mutex);
    if (more && wait_has_waiters(&s->read_wait))
        wait_wake(&s->read_wait, 1, SOCKET_HAND_ON);
    return n;
}

// ---- the rest

static int udp_shutdown_socket(struct socket *s, u32 bits)
{
    if (!inet_of(s)->remote_port)
        return -ENOTCONN;
    atomic_fetch_or(&s->shutdown, bits);
    socket_wake_all(s);
    return 0;
}

static u32 udp_poll_socket(struct socket *s)
{
    u32 events = POLLOUT | POLLWRNORM | POLLWRBAND, shutdown = atomic_load(&s->shutdown);
    if (atomic_load(&s->error) || !list_empty(&udp_of(s)->errors))
        events |= POLLERR;
    if (shutdown & SHUTDOWN_RCV)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (shutdown == SHUTDOWN_BOTH)
        events |= POLLHUP;
    if (!list_empty(&udp_of(s)->queue))
        events |= POLLIN | POLLRDNORM;
    return events;
}

static long udp_ioctl(struct socket *s, unsigned cmd, uptr_t arg)
{
    struct udp_sock *u = udp_of(s);
    u32 n = 0;
    if (cmd != SIOCINQ && cmd != SIOCOUTQ)
        return inet_ioctl(s, cmd, arg);
    net_lock(u->i.stack);
    if (cmd == SIOCINQ && !list_empty(&u->queue))
        n = list_first(&u->queue, struct datagram, link)->p->tot_len;
    net_unlock(u->i.stack);
    return put_user_u32(arg, n) ? -EFAULT : 0;
}

void udp_fill_row(struct socket *s, struct inet_row *row)
{
    const struct udp_sock *u = udp_of(s);
    *row = (struct inet_row){.shown = u->i.port_held,
                             .state = u->i.remote_port ? 1 : 7,
                             .rx_queue = u->queued_size,
                             .drops = (u32)u->n_dropped};
}

static void udp_close_socket(struct socket *s)
{
    struct udp_sock *u = udp_of(s);
    struct list *at;
    net_lock(u->i.stack);
    inet_port_release(&u->i);
    udp_remove(u->pcb);
    u->pcb = NULL;
    while ((at = list_pop_front(&u->queue)))
        datagram_free(list_entry(at, struct datagram, link));
    udp_leave_all(u);
    udp_drop_errors(u);
    net_unlock(u->i.stack);
}

static void udp_destroy(struct socket *s) { kfree(s); }

static const struct socket_ops udp_ops = {
    .bind = udp_bind_socket,
    .connect = udp_connect_socket,
    .getname = inet_getname,
    .shutdown = udp_shutdown_socket,
    .send = udp_send_message,
    .receive = udp_receive_message,
    .poll = udp_poll_socket,
    .ioctl = udp_ioctl,
    .set_option = udp_set_option,
    .get_option = udp_get_option,
    .close = udp_close_socket,
    .destroy = udp_destroy,
};
