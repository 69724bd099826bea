// SPDX-License-Identifier: BSD-2-Clause
// netlink.c: AF_NETLINK sockets (netlink(7)); only NETLINK_ROUTE is there.
//
//   send ──> request, one after another ──> rtnetlink_request ──> datagrams in the own queue ──> recv
//   a change of addresses ──> netlink_multicast ──> datagrams in the queues of those who joined its group
//
// A dump is made whole when it is asked for: a machine has a handful of interfaces. It is cut into datagrams of at most
// DATAGRAM_MAX bytes, what receivers expect, between messages.
//
// Invariants
//   I1  A socket is in the table exactly while it has a port, which no other has.
//   I2  A queue's datagrams are charged to receive_buffer; beyond it an answer is lost and the receiver told (ENOBUFS).
//
// Locks: table_lock -> lock of a socket.
#include "net/netlink.h"

#include <string.h>

#include "core/random.h"
#include "net/interface.h"

#define DATAGRAM_MAX 3776
#define REQUEST_MAX 65536
#define CAP_NET_ADMIN 12
#define SOL_NETLINK 270
#define GROUPS_MAX 64
#define SIOCINQ 0x541b

enum { SO_PASSCRED = 16 };
enum {  // options of SOL_NETLINK
    NETLINK_ADD_MEMBERSHIP = 1,
    NETLINK_DROP_MEMBERSHIP = 2,
    NETLINK_PKTINFO = 3,
    NETLINK_BROADCAST_ERROR = 4,
    NETLINK_NO_ENOBUFS = 5,
    NETLINK_LIST_MEMBERSHIPS = 9,
    NETLINK_CAP_ACK = 10,
    NETLINK_EXT_ACK = 11,
    NETLINK_GET_STRICT_CHK = 12,
};

struct sockaddr_nl {  // user ABI
    u16 family;
    u16 pad;
    u32 port, groups;
};

struct nl_datagram {
    struct list link;
    u32 len;
    u32 from, group;
    s32 pid;  // of who has sent it, for SCM_CREDENTIALS; 0: the kernel
    u32 uid, gid;
    u8 data[];
};

struct nl_sock {
    struct socket s;  // first
    struct spinlock lock;
    struct list queue;       // [lock] struct nl_datagram
    u32 queued_size;         // [lock]
    struct list table_link;  // [table_lock]
    u32 port;                // [table_lock to change] 0: none yet
    u32 peer, peer_groups;   // connect(2); 0: the kernel
    u64 groups;              // [table_lock] bit n: group n + 1
    bool packet_info, no_enobufs, capped_acks, extended_acks, strict, broadcast_errors;
    struct mutex read_mutex;
};

static struct spinlock table_lock;
static struct list table = LIST_INIT(table);  // [table_lock]
static u32 n_members;                         // [table_lock] sockets with groups
static const struct socket_ops netlink_ops;

static struct nl_sock *nl_of(struct socket *s) { return (struct nl_sock *)s; }

// ---- writing messages

struct nl_writer nl_begin(struct seq_buf *out, const struct nl_header *request, u16 type, u16 flags,
                          const void *body, size_t len)
{
    static const u8 zeros[4];
    struct nl_writer w = {out, out->len};
    struct nl_header h = {.type = type, .flags = flags};
    if (request) {
        h.seq = request->seq;
        h.port = request->port;
    }
    seq_write(out, &h, sizeof(h));
    seq_write(out, body, len);
    seq_write(out, zeros, NL_ALIGN(len) - len);
    return w;
}

void nl_put(struct nl_writer *w, u16 type, const void *data, size_t len)
{
    static const u8 zeros[4];
    struct nl_attr a = {(u16)(sizeof(a) + len), type};
    seq_write(w->out, &a, sizeof(a));
    seq_write(w->out, data, len);
    seq_write(w->out, zeros, NL_ALIGN(len) - len);
}

void nl_put_text(struct nl_writer *w, u16 type, const char *text)
{
    nl_put(w, type, text, strlen(text) + 1);
}

size_t nl_nest(struct nl_writer *w, u16 type)
{
    size_t at = w->out->len;
    nl_put(w, type, NULL, 0);
    return at;
}

void nl_nest_end(struct nl_writer *w, size_t nest)
{
    if (!w->out->failed)
        ((struct nl_attr *)(w->out->data + nest))->len = (u16)(w->out->len - nest);
}

void nl_end(struct nl_writer *w)
{
    if (!w->out->failed)
        ((struct nl_header *)(w->out->data + w->at))->len = (u32)(w->out->len - w->at);
}

const void *nl_find(const struct nl_header *h, size_t fixed, u16 type, size_t *len)
{
    size_t at = sizeof(*h) + NL_ALIGN(fixed);
    while (at + sizeof(struct nl_attr) <= h->len) {
        const struct nl_attr *a = (const void *)((const u8 *)h + at);
        if (a->len < sizeof(*a) || a->len > h->len - at)
            break;
        if ((a->type & 0x3fff) == type) {
            *len = a->len - sizeof(*a);
            return a + 1;
        }
        at += NL_ALIGN(a->len);
    }
    return NULL;
}

// ---- queues

// => 0, -ENOBUFS: told to the receiver at its next call
static int enqueue(struct nl_sock *n, const void *data, size_t len, u32 from, u32 group)
{
    const struct process *p = from ? current->process : NULL;
    u32 size = (u32)(len + sizeof(struct nl_datagram));
    struct nl_datagram *d = kmalloc(size);
    int err = d ? 0 : -ENOBUFS;
    if (d) {
        *d = (struct nl_datagram){.len = (u32)len, .from = from, .group = group};
        if (p) {
            d->pid = p->pid;
            d->uid = p->uid;
            d->gid = p->gid;
        }
        memcpy(d->data, data, len);
        list_init(&d->link);
    }
    spin_lock(&n->lock);
    if (!err && n->queued_size && n->queued_size + size > n->s.receive_buffer)
        err = -ENOBUFS;
    if (!err) {
        list_push_back(&n->queue, &d->link);
        n->queued_size += size;
    } else if (!n->no_enobufs) {
        atomic_store(&n->s.error, ENOBUFS);
    }
    spin_unlock(&n->lock);
    if (err)
        kfree(d);
    socket_wake_readers(&n->s);
    return err;
}

// The messages in out, as few datagrams as fit them.
static void enqueue_messages(struct nl_sock *n, const struct seq_buf *out, u32 group)
{
    size_t first = 0, at = 0;
    while (at < out->len) {
        const struct nl_header *h = (const void *)(out->data + at);
        if (at > first && at + h->len - first > DATAGRAM_MAX) {
            enqueue(n, out->data + first, at - first, 0, group);
            first = at;
        }
        at += NL_ALIGN(h->len);
    }
    if (at > first)
        enqueue(n, out->data + first, at - first, 0, group);
}

bool netlink_has_listeners(void) { return READ_ONCE(n_members) != 0; }

void netlink_multicast(u32 group, const struct seq_buf *out)
{
    if (out->failed)
        return;
    spin_lock(&table_lock);
    list_for_each_entry (struct nl_sock, n, &table, table_link) {
        if (n->groups & BIT(group - 1))
            enqueue_messages(n, out, group);
    }
    spin_unlock(&table_lock);
}

// ---- ports

// [table_lock]
static struct nl_sock *find_port(u32 port)
{
    list_for_each_entry (struct nl_sock, n, &table, table_link) {
        if (n->port == port)
            return n;
    }
    return NULL;
}

// Takes a port: the process's number, or one that nobody else can have. [table_lock]
static void choose_port(struct nl_sock *n)
{
    u32 port = (u32)current->process->pid;
    while (find_port(port))
        random_bytes(&port, sizeof(port)), port |= BIT(31);
    n->port = port;
    list_push_back(&table, &n->table_link);
}

static void autobind(struct nl_sock *n)
{
    spin_lock(&table_lock);
    if (!n->port)
        choose_port(n);
    spin_unlock(&table_lock);
}

// [table_lock]
static void set_groups(struct nl_sock *n, u64 groups)
{
    n_members += (groups != 0) - (n->groups != 0);
    n->groups = groups;
}

// ---- the calls

static struct socket *netlink_create(int type, int protocol)
{
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    if (protocol != NETLINK_ROUTE)
        return ERR_PTR(-EPROTONOSUPPORT);
    struct nl_sock *n = kzalloc(sizeof(*n));
    if (!n)
        return ERR_PTR(-ENOMEM);
    socket_init(&n->s, &netlink_ops, AF_NETLINK, type, protocol);
    list_init(&n->queue);
    list_init(&n->table_link);
    mutex_init(&n->read_mutex);
    return &n->s;
}

static int nl_addr_in(const struct sock_addr *addr, u32 len, struct sockaddr_nl *out)
{
    if (len < sizeof(*out))
        return -EINVAL;
    memcpy(out, addr, sizeof(*out));
    return out->family == AF_NETLINK ? 0 : -EINVAL;
}

static int netlink_bind(struct socket *s, const struct sock_addr *addr, u32 len)
{
    struct nl_sock *n = nl_of(s);
    struct sockaddr_nl a;
    int err = nl_addr_in(addr, len, &a);
    if (err)
        return err;
    spin_lock(&table_lock);
    if (n->port) {
        err = a.port == n->port ? 0 : -EINVAL;
    } else if (!a.port) {
        choose_port(n);
    } else if (find_port(a.port)) {
        err = -EADDRINUSE;
    } else {
        n->port = a.port;
        list_push_back(&table, &n->table_link);
    }
    if (!err)
        set_groups(n, (n->groups & ~(u64)UINT32_MAX) | a.groups);
    spin_unlock(&table_lock);
    return err;
}

static int netlink_connect(struct socket *s, const struct sock_addr *addr, u32 len, bool nonblock)
{
    struct nl_sock *n = nl_of(s);
    struct sockaddr_nl a;
    if (addr->family == AF_UNSPEC) {
        n->peer = n->peer_groups = 0;
        return 0;
    }
    int err = nl_addr_in(addr, len, &a);
    if (err)
        return err;
    if ((a.port || a.groups) && !capable(CAP_NET_ADMIN))
        return -EPERM;
    autobind(n);
    n->peer = a.port;
    n->peer_groups = a.groups;
    return 0;
}

static int netlink_getname(struct socket *s, struct sock_addr *addr, enum socket_name which)
{
    const struct nl_sock *n = nl_of(s);
    struct sockaddr_nl a = {.family = AF_NETLINK};
    if (which == NAME_OWN) {
        a.port = n->port;
        a.groups = (u32)n->groups;
    } else {
        a.port = n->peer;
        a.groups = n->peer_groups;
    }
    memcpy(addr, &a, sizeof(a));
    return sizeof(a);
}

// NLMSG_ERROR, which is an acknowledgement when err is 0.
static void put_error(const struct nl_sock *n, const struct nl_header *h, int err,
                      struct seq_buf *out)
{
    bool capped = n->capped_acks || !err;
    struct {
        s32 error;
        struct nl_header request;
    } body = {err, *h};
    struct nl_writer w =
        nl_begin(out, h, NLMSG_ERROR, capped ? NLM_F_CAPPED : 0, &body, sizeof(body));
    if (!capped && h->len > sizeof(*h)) {
        static const u8 zeros[4];
        seq_write(out, h + 1, h->len - sizeof(*h));
        seq_write(out, zeros, NL_ALIGN(h->len) - h->len);
    }
    nl_end(&w);
    if (!out->failed)
        ((struct nl_header *)(out->data + w.at))->port = n->port;
}

static void put_done(const struct nl_header *h, struct seq_buf *out)
{
    s32 zero = 0;
    struct nl_writer w = nl_begin(out, h, NLMSG_DONE, NLM_F_MULTI, &zero, sizeof(zero));
    nl_end(&w);
}

// The answers carry the port of who has asked, whatever the request says.
static void serve(struct nl_sock *n, struct nl_header *h)
{
    struct seq_buf out;
    bool dump = false;
    int err = 0;
    seq_init(&out);
    u32 told = h->port;
    h->port = n->port;
    if ((h->flags & NLM_F_REQUEST) && h->type >= NLMSG_MIN_TYPE) {
        dump = (h->flags & NLM_F_DUMP) != 0;
        err = rtnetlink_request(h, &out);
    }
    if (!err && out.failed)
        err = -ENOBUFS;
    if (!err)
        enqueue_messages(n, &out, 0);
    seq_free(&out);
    if (!err && dump)
        put_done(h, &out);
    h->port = told;
    if (err || ((h->flags & NLM_F_ACK) && !dump))
        put_error(n, h, err, &out);
    if (!out.failed)
        enqueue_messages(n, &out, 0);
    seq_free(&out);
}

// Several requests may travel in one datagram; what is no whole message ends it silently, as on Linux.
static void serve_all(struct nl_sock *n, u8 *data, size_t len)
{
    size_t at = 0;
    while (len - at >= sizeof(struct nl_header)) {
        struct nl_header *h = (struct nl_header *)(data + at);
        if (h->len < sizeof(*h) || h->len > len - at)
            break;
        size_t step = MIN(NL_ALIGN(h->len), len - at);
        serve(n, h);
        at += step;
        sched_point();
    }
}

// To another socket. => 0, -ECONNREFUSED, -EPERM
static int send_to_port(const struct nl_sock *n, u32 port, const void *data, size_t len)
{
    int err = 0;
    if (!capable(CAP_NET_ADMIN))
        return -EPERM;
    spin_lock(&table_lock);
    struct nl_sock *to = find_port(port);
    if (to)
        socket_get(&to->s);
    spin_unlock(&table_lock);
    if (!to)
        return -ECONNREFUSED;
    err = enqueue(to, data, len, n->port, 0) ? -EAGAIN : 0;
    socket_put(&to->s);
    return err;
}

static ssize_t netlink_send(struct socket *s, struct message *m)
{
    struct nl_sock *n = nl_of(s);
    size_t len = uio_remaining(m->uio);
    u32 port = n->peer, groups = n->peer_groups;
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (len == 0)
        return -ENODATA;
    if (m->addr && m->addr_len) {
        struct sockaddr_nl a;
        int err = nl_addr_in(m->addr, m->addr_len, &a);
        if (err)
            return err;
        if ((a.port || a.groups) && !capable(CAP_NET_ADMIN))
            return -EPERM;
        port = a.port;
        groups = a.groups;
    }
    if (len > REQUEST_MAX || len > s->send_buffer - 32)
        return -EMSGSIZE;
    autobind(n);
    u8 *data = kmalloc(NL_ALIGN(len));
    if (!data)
        return -ENOBUFS;
    ssize_t err = uio_copy_from(m->uio, data, len) == (ssize_t)len ? 0 : -EFAULT;
    if (!err && groups)
        err = -EOPNOTSUPP;  // programs do not tell each other of the kernel's changes here
    else if (!err && port)
        err = send_to_port(n, port, data, len);
    else if (!err)
        serve_all(n, data, len);
    kfree(data);
    return err ? err : (ssize_t)len;
}

static bool readable(void *arg)
{
    struct nl_sock *n = arg;
    return !list_empty(&n->queue) || atomic_load(&n->s.error);
}

// [read_mutex, given up while waiting]
static struct nl_datagram *first_datagram(struct nl_sock *n, u32 flags, u64 deadline_ns)
{
    for (;;) {
        spin_lock(&n->lock);
        struct nl_datagram *d =
            list_empty(&n->queue) ? NULL : list_first(&n->queue, struct nl_datagram, link);
        spin_unlock(&n->lock);
        int err = socket_take_error(&n->s);
        if (err)
            return ERR_PTR(err);
        if (d)
            return d;
        if (flags & MSG_DONTWAIT)
            return ERR_PTR(-EAGAIN);
        mutex_unlock(&n->read_mutex);
        err = socket_wait(&n->s.read_wait, readable, n, deadline_ns);
        mutex_lock(&n->read_mutex);
        if (err)
            return ERR_PTR(err);
    }
}

static void give_control(const struct nl_sock *n, const struct nl_datagram *d, struct message *m)
{
    if (n->packet_info)
        message_put_control(m, SOL_NETLINK, NETLINK_PKTINFO, &d->group, sizeof(d->group));
    if (n->s.pass_cred) {
        u32 cred[3] = {(u32)d->pid, d->uid, d->gid};
        message_put_control(m, SOL_SOCKET, SCM_CREDENTIALS, cred, sizeof(cred));
    }
}

static ssize_t netlink_receive(struct socket *s, struct message *m)
{
    struct nl_sock *n = nl_of(s);
    u64 deadline_ns = socket_deadline(s->receive_timeout_ns);
    m->addr_len = 0;
    if (m->flags & (MSG_OOB | MSG_ERRQUEUE))
        return -EOPNOTSUPP;
    mutex_lock(&n->read_mutex);
    struct nl_datagram *d = first_datagram(n, m->flags, deadline_ns);
    if (IS_ERR(d)) {
        mutex_unlock(&n->read_mutex);
        return PTR_ERR(d);
    }
    size_t wanted = MIN((size_t)d->len, uio_remaining(m->uio));
    ssize_t result = uio_copy_to(m->uio, d->data, wanted);
    if (wanted && result != (ssize_t)wanted)
        result = -EFAULT;
    if (result >= 0) {
        if (wanted < d->len)
            m->out_flags |= MSG_TRUNC;
        if (m->flags & MSG_TRUNC)
            result = d->len;
        if (m->addr) {
            struct sockaddr_nl a = {AF_NETLINK, 0, d->from,
                                    d->group ? (u32)BIT((d->group - 1) % 32) : 0};
            memcpy(m->addr, &a, sizeof(a));
            m->addr_len = sizeof(a);
        }
        give_control(n, d, m);
    }
    if (!(m->flags & MSG_PEEK)) {
        spin_lock(&n->lock);
        list_remove(&d->link);
        n->queued_size -= d->len + (u32)sizeof(*d);
        spin_unlock(&n->lock);
        kfree(d);
    }
    mutex_unlock(&n->read_mutex);
    return result;
}

static u32 netlink_poll(struct socket *s)
{
    u32 events = POLLOUT | POLLWRNORM | POLLWRBAND;
    if (atomic_load(&s->error))
        events |= POLLERR;
    if (!list_empty(&nl_of(s)->queue))
        events |= POLLIN | POLLRDNORM;
    return events;
}

static long netlink_ioctl(struct socket *s, unsigned cmd, uptr_t arg)
{
    return interface_ioctl(cmd, arg);
}

// ---- options

static bool *option_flag(struct nl_sock *n, int name)
{
    switch (name) {
    case NETLINK_PKTINFO: return &n->packet_info;
    case NETLINK_BROADCAST_ERROR: return &n->broadcast_errors;
    case NETLINK_NO_ENOBUFS: return &n->no_enobufs;
    case NETLINK_CAP_ACK: return &n->capped_acks;
    case NETLINK_EXT_ACK: return &n->extended_acks;
    case NETLINK_GET_STRICT_CHK: return &n->strict;
    default: return NULL;
    }
}

static int netlink_set_option(struct socket *s, int level, int name, const void *value, u32 len)
{
    struct nl_sock *n = nl_of(s);
    s32 number;
    if (level == SOL_SOCKET && name != SO_PASSCRED)
        return -ENOPROTOOPT;
    if (level != SOL_SOCKET && level != SOL_NETLINK)
        return -ENOPROTOOPT;
    if (len < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    if (level == SOL_SOCKET) {
        s->pass_cred = number != 0;
        return 0;
    }
    if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP) {
        if (number < 1 || number > GROUPS_MAX)
            return -EINVAL;
        autobind(n);
        spin_lock(&table_lock);
        u64 bit = BIT(number - 1);
        set_groups(n, name == NETLINK_ADD_MEMBERSHIP ? n->groups | bit : n->groups & ~bit);
        spin_unlock(&table_lock);
        return 0;
    }
    bool *flag = option_flag(n, name);
    if (!flag)
        return -ENOPROTOOPT;
    *flag = number != 0;
    return 0;
}

static int netlink_get_option(struct socket *s, int level, int name, void *value, u32 *len)
{
    struct nl_sock *n = nl_of(s);
    s32 number;
    if (level == SOL_NETLINK && name == NETLINK_LIST_MEMBERSHIPS) {
        u32 groups[2] = {(u32)n->groups, (u32)(n->groups >> 32)};
        memcpy(value, groups, MIN(*len & ~3u, (u32)sizeof(groups)));
        *len = sizeof(groups);
        return 0;
    }
    if (level == SOL_SOCKET && name == SO_PASSCRED) {
        number = s->pass_cred;
    } else {
        const bool *flag = level == SOL_NETLINK ? option_flag(n, name) : NULL;
        if (!flag)
            return -ENOPROTOOPT;
        if (*len < sizeof(number))
            return -EINVAL;
        number = *flag;
    }
    *len = MIN(*len, (u32)sizeof(number));
    memcpy(value, &number, *len);
    return 0;
}

// ---- the end

static void netlink_close(struct socket *s)
{
    struct nl_sock *n = nl_of(s);
    spin_lock(&table_lock);
    set_groups(n, 0);
    if (n->port)
        list_remove_init(&n->table_link);
    spin_unlock(&table_lock);
}

static void netlink_destroy(struct socket *s)
{
    struct nl_sock *n = nl_of(s);
    struct list *at;
    while ((at = list_pop_front(&n->queue)))
        kfree(list_entry(at, struct nl_datagram, link));
    kfree(n);
}

static const struct socket_ops netlink_ops = {
    .bind = netlink_bind,
    .connect = netlink_connect,
    .getname = netlink_getname,
    .send = netlink_send,
    .receive = netlink_receive,
    .poll = netlink_poll,
    .ioctl = netlink_ioctl,
    .set_option = netlink_set_option,
    .get_option = netlink_get_option,
    .close = netlink_close,
    .destroy = netlink_destroy,
};

static const struct net_family netlink_family = {.family = AF_NETLINK, .create = netlink_create};
NET_FAMILY(netlink_family);
