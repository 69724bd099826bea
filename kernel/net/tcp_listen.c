// SPDX-License-Identifier: BSD-2-Clause
// tcp_listen.c: listening TCP sockets (listen(2), accept(2)).
//
// Listeners with SO_REUSEPORT on one address are a group: they are a ring by group_link and share one pcb, whose argument is one
// of them. A new connection goes to the member that its sender's address chooses, or to the next that has room.
//
// A connection counts against its listener's backlog from the moment that it is complete until it is accepted. Half-open ones are
// lwIP's: it drops a SYN when as many wait as its own (at most 255), which is kept at the room that all members have.
//
// With TCP_DEFER_ACCEPT a connection waits in `deferred` until something comes, or time is up.
//
// Everything static here runs with the stack's lock held.
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "net/tcp_internal.h"

#define PENDING_MAX 255u

#define for_each_member(m, first)                                         \
    for (struct tcp_sock *m = (first), *m##_start = NULL; m != m##_start; \
         m##_start = (first), m = list_entry(m->group_link.next, struct tcp_sock, group_link))

static u32 room_of(const struct tcp_sock *l)
{
    return l->backlog + 1 - MIN(l->n_accept, l->backlog + 1);
}

static void update_room(struct tcp_sock *l)
{
    u32 room = 0;
    for_each_member(m, l) room += room_of(m);
    if (l->pcb)
        ((struct tcp_pcb_listen *)l->pcb)->backlog = (u8)MIN(room, PENDING_MAX);
}

static struct tcp_sock *choose_member(struct tcp_sock *l, const struct tcp_pcb *pcb)
{
    u32 n = 0;
    for_each_member(m, l) n++;
    if (n == 1)
        return l;
    for (u32 skip = inet_flow_hash(&pcb->remote_ip, pcb->remote_port) % n; skip; skip--)
        l = list_entry(l->group_link.next, struct tcp_sock, group_link);
    for_each_member(m, l)
    {
        if (room_of(m))
            return m;
    }
    return l;
}

static void inherit(struct tcp_sock *t, const struct tcp_sock *l)
{
    struct socket *s = &t->i.s;
    const struct socket *ls = &l->i.s;
    s->send_buffer = ls->send_buffer;
    s->receive_buffer = ls->receive_buffer;
    s->keep_alive = ls->keep_alive;
    s->linger_s = ls->linger_s;
    s->reuse_addr = ls->reuse_addr;
    s->reuse_port = ls->reuse_port;
    s->oob_inline = ls->oob_inline;
    s->priority = ls->priority;
    s->mark = ls->mark;
    s->own_pid = ls->own_pid;
    s->own_uid = ls->own_uid;
    s->own_gid = ls->own_gid;
    t->i.v6_only = l->i.v6_only;
    t->i.tos = l->i.tos;
    t->i.ttl = l->i.ttl;
    t->i.bound_index = l->i.bound_index;
    t->no_delay = l->no_delay;
    t->cork = l->cork;
    t->keep_idle_s = l->keep_idle_s;
    t->keep_interval_s = l->keep_interval_s;
    t->keep_count = l->keep_count;
    t->user_timeout_ms = l->user_timeout_ms;
}

static void deliver(struct tcp_sock *l, struct tcp_sock *t)
{
    list_push_back(&l->accept_queue, &t->accept_link);
    socket_wake_readers(&l->i.s);
}

// Something has come for a connection that waited for it, or its time is up. [stack lock]
void tcp_undefer(struct tcp_sock *t)
{
    struct tcp_sock *l = t->deferred_by;
    t->deferred_by = NULL;
    list_remove_init(&t->accept_link);
    deliver(l, t);
}

// A connection that waited for its first bytes has ended. [stack lock]
void tcp_drop_deferred(struct tcp_sock *t)
{
    struct tcp_sock *l = t->deferred_by;
    t->deferred_by = NULL;
    list_remove_init(&t->accept_link);
    l->n_accept--;
    update_room(l);
    socket_put(&t->i.s);
}

// A connection is complete. Its own copy of the argument is from the time of the SYN: the listener's is the one that counts.
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    if (!pcb || !pcb->listener || !pcb->listener->callback_arg)
        return ERR_VAL;
    if (net_memory_short())
        tcp_flows_forget_waiting();
    struct tcp_sock *l = choose_member(pcb->listener->callback_arg, pcb);
    struct tcp_sock *t = net_memory_short() ? NULL : tcp_new_sock(l->i.s.family);
    if (!t)
        return ERR_MEM;
    pcb->listener = NULL;
    inherit(t, l);
    t->i.local = pcb->local_ip;
    t->i.remote = pcb->remote_ip;
    t->i.local_port = pcb->local_port;
    t->i.remote_port = pcb->remote_port;
    t->state = TCP_CONNECTED;
    l->n_accept++;
    if (l->defer_s) {
        t->deferred_by = l;
        t->deferred_until_ms = sys_now() + l->defer_s * 1000;
        list_push_back(&l->deferred, &t->accept_link);
    }
    tcp_attach(t, pcb);
    update_room(l);
    tcp_direct_join(t);
    if (!t->deferred_by)
        deliver(l, t);
    return ERR_OK;
}

// => NULL: nobody listens there whose group t may join
static struct tcp_sock *find_group(const struct tcp_sock *t)
{
    if (!t->i.s.reuse_port)
        return NULL;
    list_for_each_entry (struct inet_sock, i, inet_port_bucket(SOCK_STREAM, t->i.local_port),
                         port_link) {
        if (i != &t->i && i->local_port == t->i.local_port && i->s.listening && i->s.reuse_port &&
            i->s.family == t->i.s.family && i->v6_only == t->i.v6_only &&
            i->bound_index == t->i.bound_index && ip_addr_eq(&i->local, &t->i.local))
            return tcp_of(&i->s);
    }
    return NULL;
}

static int new_listener(struct tcp_sock *t)
{
    err_t err;
    struct tcp_pcb *pcb = tcp_new_pcb(t);
    if (IS_ERR(pcb))
        return (int)PTR_ERR(pcb);
    struct tcp_pcb *l = tcp_listen_with_backlog_and_err(pcb, 1, &err);
    if (!l || err != ERR_OK) {
        tcp_abort(pcb);
        return inet_error(err);
    }
    t->pcb = l;
    tcp_arg(l, t);
    tcp_accept(l, on_accept);
    return 0;
}

static int start_listening(struct tcp_sock *t)
{
    struct tcp_sock *group = find_group(t);
    if (group) {
        t->pcb = group->pcb;
        list_push_back(&group->group_link, &t->group_link);
    } else {
        int err = new_listener(t);
        if (err)
            return err;
    }
    t->state = TCP_LISTENING;
    t->i.s.listening = true;
    tcp_push_options(t);
    return 0;
}

// backlog: as many connections, and one more as on Linux, wait to be accepted; further SYNs are dropped.
int tcp_listen_socket(struct socket *s, int backlog)
{
    struct tcp_sock *t = tcp_of(s);
    int err = 0;
    net_lock(t->i.stack);
    t->backlog = (u32)MAX(backlog, 0);
    if (t->state == TCP_FRESH) {
        if (!t->i.port_held)
            err = inet_port_take(&t->i, &t->i.local, 0);
        if (!err)
            err = start_listening(t);
    } else if (t->state != TCP_LISTENING) {
        err = -EINVAL;
    }
    if (!err)
        update_room(t);
    net_unlock(t->i.stack);
    return err;
}

static bool acceptable(void *arg)
{
    struct tcp_sock *t = arg;
    return !list_empty(&t->accept_queue) || t->state != TCP_LISTENING;
}

struct socket *tcp_accept_socket(struct socket *s, bool nonblock)
{
    struct tcp_sock *l = tcp_of(s);
    u64 deadline_ns = socket_deadline(s->receive_timeout_ns);
    for (;;) {
        struct tcp_sock *t = NULL;
        net_lock(l->i.stack);
        bool listening = l->state == TCP_LISTENING;
        if (listening && !list_empty(&l->accept_queue)) {
            t = list_first(&l->accept_queue, struct tcp_sock, accept_link);
            list_remove_init(&t->accept_link);
            l->n_accept--;
            update_room(l);
        }
        net_unlock(l->i.stack);
        if (t)
            return &t->i.s;
        if (!listening)
            return ERR_PTR(-EINVAL);
        int err = nonblock ? -EAGAIN : socket_wait(&s->read_wait, acceptable, l, deadline_ns);
        if (err)
            return ERR_PTR(err);
    }
}

static void turn_away(struct list *queue)
{
    struct list *at;
    while ((at = list_pop_front(queue))) {
        struct tcp_sock *c = list_entry(at, struct tcp_sock, accept_link);
        list_init(&c->accept_link);
        c->deferred_by = NULL;
        c->state = TCP_ENDED;
        tcp_detach(c);
        tcp_abort_connection(c);
        socket_put(&c->i.s);
    }
}

static void forget_listener(struct tcp_pcb *pcb, void *listener)
{
    if (pcb->listener == listener)
        pcb->listener = NULL;
}

static void close_pcb(struct tcp_pcb *pcb)
{
    tcp_arg(pcb, NULL);
    if (((struct tcp_pcb_listen *)pcb)
            ->accepts_pending)  // half open: lwIP looks for them in one bucket only
        tcp_flows_each(forget_listener, pcb);
    tcp_close(pcb);
}

// A listener stops; those who have come to it are turned away. The last of a group takes the pcb with it. [stack lock]
void tcp_stop_listening(struct tcp_sock *t)
{
    struct tcp_sock *next = list_entry(t->group_link.next, struct tcp_sock, group_link);
    struct tcp_pcb *pcb = t->pcb;
    list_remove_init(&t->group_link);
    t->pcb = NULL;
    t->state = TCP_FRESH;
    t->i.s.listening = false;
    turn_away(&t->accept_queue);
    turn_away(&t->deferred);
    t->n_accept = 0;
    if (next == t) {
        close_pcb(pcb);
        return;
    }
    tcp_arg(pcb, next);
    update_room(next);
}
