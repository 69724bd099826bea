// SPDX-License-Identifier: BSD-2-Clause
// udp_error.c: ICMP errors that reach UDP sockets (udp(7), ip(7) IP_RECVERR).
//
// An error belongs to the sockets that may have sent the datagram it quotes. A hard one is told to a connected socket by its next call;
// with IP_RECVERR every error is, and queued with all that is known of it. The datagram itself is not given back.
#include <string.h>

#include "net/udp_internal.h"

#define ERRORS_MAX 16  // a socket's queue

enum { IP_RECVERR = 11, IPV6_RECVERR = 25 };
enum { ORIGIN_ICMP = 2, ORIGIN_ICMP6 = 3 };

struct udp_error {
    struct list link;
    struct net_icmp_error e;
};

struct
    extended_error {  // user ABI: struct sock_extended_err, and the address of who has complained
    u32 error;
    u8 origin, type, code, pad;
    u32 info, data;
    struct sock_addr offender;
};

static void queue_error(struct udp_sock *u, const struct net_icmp_error *e)
{
    struct udp_error *q = u->n_errors < ERRORS_MAX ? kmalloc(sizeof(*q)) : NULL;
    if (!q)
        return;
    q->e = *e;
    list_push_back(&u->errors, &q->link);
    u->n_errors++;
}

static bool may_have_sent(const struct udp_sock *u, const struct net_icmp_error *e)
{
    const struct inet_sock *i = &u->i;
    if (i->local_port != e->local_port ||
        (!ip_addr_isany(&i->local) && !ip_addr_eq(&i->local, &e->local)))
        return false;
    return !i->remote_port ||
           (i->remote_port == e->remote_port && ip_addr_eq(&i->remote, &e->remote));
}

void udp_icmp_error(const struct net_icmp_error *e)
{
    list_for_each_entry (struct inet_sock, i, inet_port_bucket(SOCK_DGRAM, e->local_port),
                         port_link) {
        struct udp_sock *u = udp_of(&i->s);
        if (!may_have_sent(u, e) || (!u->receive_errors && !(e->hard && i->remote_port)))
            continue;
        if (u->receive_errors)
            queue_error(u, e);
        atomic_store(&i->s.error, e->error);
        socket_wake_all(&i->s);
    }
}

void udp_drop_errors(struct udp_sock *u)
{
    struct list *at;
    while ((at = list_pop_front(&u->errors)))
        kfree(list_entry(at, struct udp_error, link));
    u->n_errors = 0;
}

// recvmsg(2) with MSG_ERRQUEUE: => 0, -EAGAIN: the queue is empty
ssize_t udp_receive_error(struct udp_sock *u, struct message *m)
{
    struct extended_error x;
    net_lock(u->i.stack);
    struct list *at = list_pop_front(&u->errors);
    if (at) {
        u->n_errors--;
        s32 next =
            list_empty(&u->errors) ? 0 : list_first(&u->errors, struct udp_error, link)->e.error;
        atomic_store(&u->i.s.error, next);
    }
    net_unlock(u->i.stack);
    if (!at)
        return -EAGAIN;
    struct udp_error *q = list_entry(at, struct udp_error, link);
    bool six = u->i.s.family == AF_INET6;
    memset(&x, 0, sizeof(x));
    x.error = q->e.error;
    x.origin = IP_IS_V6_VAL(q->e.remote) ? ORIGIN_ICMP6 : ORIGIN_ICMP;
    x.type = q->e.type;
    x.code = q->e.code;
    x.info = q->e.info;
    int len = inet_addr_out(&u->i, &q->e.from, 0, &x.offender);
    if (m->addr)
        m->addr_len = (u32)inet_addr_out(&u->i, &q->e.remote, q->e.remote_port, m->addr);
    message_put_control(m, six ? SOL_IPV6 : SOL_IP, six ? IPV6_RECVERR : IP_RECVERR, &x,
                        offsetof(struct extended_error, offender) + (size_t)len);
    m->out_flags |= MSG_ERRQUEUE;
    kfree(q);
    return 0;
}
