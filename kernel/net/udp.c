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
#include "lwip/udp.h"
#include "net/inet.h"

#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411
#define UDP_MAX_PAYLOAD (65535 - 8)
#define SEND_FLAGS_REFUSED (MSG_OOB | MSG_FASTOPEN | MSG_ZEROCOPY)

enum { IP_PKTINFO = 8, IP_RECVTTL = 12, IP_RECVTOS = 13, IPV6_RECVPKTINFO = 49, IPV6_PKTINFO = 50 };

struct datagram {
    struct list link;
    struct pbuf *p;
    ip_addr_t from, to;
    u16 from_port;
    u8 ifindex;
    u32 size;  // charged
};

struct udp_sock {
    struct inet_sock i;   // first
    struct udp_pcb *pcb;  // fixed until close
    struct mutex read_mutex;
    struct list queue;  // [stack lock] struct datagram
    u32 queued_size;    // [stack lock]
    u64 n_dropped;      // [stack lock]
    bool pkt_info;
};

struct in_pktinfo {  // user ABI
    s32 ifindex;
    u32 spec_dst, addr;
};
struct in6_pktinfo {
    u8 addr[16];
    s32 ifindex;
};

static struct udp_sock *udp_of(struct socket *s) { return (struct udp_sock *)s; }
static const struct socket_ops udp_ops;

static void datagram_free(struct datagram *d)
{
    pbuf_free(d->p);
    kfree(d);
}

// A datagram has come. [stack lock]
static void on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                    u16_t port)
{
    struct udp_sock *u = arg;
    u32 size = p->tot_len + (u32)sizeof(struct datagram) + (u32)sizeof(struct pbuf);
    struct datagram *d = NULL;
    bool wanted =
        socket_may(&u->i.s, SHUTDOWN_RCV) &&
        (!u->i.remote_port || (u->i.remote_port == port && ip_addr_eq(&u->i.remote, from)));
    if (wanted && u->queued_size + size <= u->i.s.receive_buffer && !net_memory_short())
        d = kmalloc(sizeof(*d));
    if (!d) {
        u->n_dropped++;
        pbuf_free(p);
        return;
    }
    d->p = p;
    d->from = *from;
    d->from_port = port;
    d->to = *ip_current_dest_addr();
    d->ifindex = netif_get_index(ip_current_input_netif());
    d->size = size;
    list_push_back(&u->queue, &d->link);
    u->queued_size += size;
    socket_wake_readers(&u->i.s);
}

struct socket *udp_create(int family)
{
    struct udp_sock *u = kzalloc(sizeof(*u));
    if (!u)
        return ERR_PTR(-ENOMEM);
    inet_init(&u->i, &udp_ops, family, SOCK_DGRAM, IP_PROTO_UDP);
    mutex_init(&u->read_mutex);
    list_init(&u->queue);
    net_lock(u->i.stack);
    u->pcb = udp_new_ip_type(family == AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
    if (u->pcb) {
        ip_set_option(u->pcb, SOF_REUSEADDR);
        udp_recv(u->pcb, on_recv, u);
    }
    net_unlock(u->i.stack);
    if (!u->pcb) {
        kfree(u);
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
        struct netif *netif = ip_route(&u->i.local, &ip);
        err = netif ? autobind(u) : -ENETUNREACH;
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
};

static int load_control(const struct message *m, struct udp_target *target)
{
    size_t at = 0;
    bool bad;
    struct cmsg_header *c;
    while ((c = message_next_control(m, &at, &bad))) {
        if (c->level == SOL_IP && c->type == IP_PKTINFO &&
            c->len >= sizeof(*c) + sizeof(struct in_pktinfo)) {
            struct in_pktinfo info;
            memcpy(&info, c + 1, sizeof(info));
            ip_addr_set_ip4_u32(&target->from, info.spec_dst);
            target->from_given = info.spec_dst != 0;
        } else if (c->level == SOL_IPV6 && c->type == IPV6_PKTINFO &&
                   c->len >= sizeof(*c) + sizeof(struct in6_pktinfo)) {
            ip6_addr_t six;
            memcpy(six.addr, c + 1, sizeof(six.addr));
            ip6_addr_clear_zone(&six);
            ip_addr_copy_from_ip6(target->from, six);
            target->from_given = !ip6_addr_isany(&six);
        } else if (c->level != SOL_SOCKET) {
            return -EINVAL;
        }
    }
    return bad ? -EINVAL : 0;
}

static int find_target(struct udp_sock *u, const struct message *m, struct udp_target *target)
{
    target->from_given = false;
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
    const ip_addr_t *from = t->from_given ? &t->from : &u->i.local;
    int err = autobind(u);
    if (err)
        return err;
    struct netif *netif = ip_route(from, &t->to);
    if (!netif)
        return -ENETUNREACH;
    if (ip_addr_isbroadcast(&t->to, netif)) {
        if (!u->i.s.broadcast)
            return -EACCES;
        ip_set_option(pcb, SOF_BROADCAST);
    }
    pcb->ttl = u->i.ttl;
    pcb->tos = u->i.tos;
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

static void give_info(struct udp_sock *u, struct message *m, const struct datagram *d)
{
    if (!u->pkt_info)
        return;
    if (IP_IS_V4(&d->to) && u->i.s.family == AF_INET) {
        struct in_pktinfo info = {.ifindex = d->ifindex, .addr = ip_addr_get_ip4_u32(&d->to)};
        info.spec_dst = info.addr;
        message_put_control(m, SOL_IP, IP_PKTINFO, &info, sizeof(info));
    } else if (u->i.s.family == AF_INET6) {
        struct sock_addr name;
        struct in6_pktinfo info = {.ifindex = d->ifindex};
        inet_addr_out(&u->i, &d->to, 0, &name);
        memcpy(info.addr, ((struct sockaddr_in6 *)&name)->addr, sizeof(info.addr));
        message_put_control(m, SOL_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
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
    if (m->flags & (MSG_OOB | MSG_ERRQUEUE))
        return m->flags & MSG_OOB ? -EINVAL : -EAGAIN;
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
        give_info(u, m, d);
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
    if (atomic_load(&s->error))
        events |= POLLERR;
    if (shutdown & SHUTDOWN_RCV)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (shutdown == SHUTDOWN_BOTH)
        events |= POLLHUP;
    if (!list_empty(&udp_of(s)->queue))
        events |= POLLIN | POLLRDNORM;
    return events;
}

static int udp_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    int n;
    if ((level == SOL_IP && name == IP_PKTINFO) ||
        (level == SOL_IPV6 && name == IPV6_RECVPKTINFO)) {
        int err = option_int(value, len, &n);
        if (!err)
            udp_of(s)->pkt_info = n != 0;
        return err;
    }
    return inet_set_option(s, level, name, value, len);
}

static int udp_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    if ((level == SOL_IP && name == IP_PKTINFO) || (level == SOL_IPV6 && name == IPV6_RECVPKTINFO))
        return option_put_int(udp_of(s)->pkt_info, value, len);
    return inet_get_option(s, level, name, value, len);
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
