// SPDX-License-Identifier: BSD-2-Clause
// unix_gc.c: descriptors in flight (sent by SCM_RIGHTS and not yet received): their number, and sockets that keep each other.
//
// A message in a queue holds its descriptors' files. A socket whose file is held by nothing but messages can only be had back
// by receiving one of them, and when each of those lies in the queue of such a socket too, nobody ever will:
//
//     A.queue: [ fd of B ]      B.queue: [ fd of A ]      and no program has A or B open
//
// Such sockets are found by counting, as in any collector for reference counts that has to deal with cycles:
//   1  candidates are sockets in flight whose file has no reference but those of messages;
//   2  from each candidate's count, those references are taken away that lie in queues of candidates;
//   3  what has some left is held from outside: so are all that its queue leads to;
//   4  the rest is garbage: the messages with descriptors are taken out of its queues and freed, and with them the files.
// A listener's queue stands for the queues of the connections in it that nobody has accepted.
//
// Invariants
//   I1  A message's descriptors are counted in flight before it is in a queue and until they have left it: what is on its way
//       to a queue, or from one to a program, looks as if held from outside.
//   I2  A file held by messages alone gets another holder only under flight_lock (unix_fds_land, unix_fds_peek). So a candidate
//       stays one during a collection, nobody takes from its queue meanwhile, and it is not freed.
//   I3  u is in `flying` exactly while u->in_flight > 0; u->in_flight never exceeds the references of its file.
//
// When: at the end of any AF_UNIX socket while one is in flight, and when so many are that it might be garbage that keeps them.
// (A program may give up a cycle with a close(2) that ends no socket, the last number of one in flight: as on Linux, the next end of
// another, or the next message, finds it.) With many in flight a thread of its own does it, once for many ends.
//
// Locks: flight_lock (mutex) -> lock of a socket -> lock of a connection in its queue.
#include "net/unix_internal.h"

#define RLIMIT_NOFILE 7
#define FEW_FLYING 256     // so many are looked through by whoever closes a socket
#define COLLECT_FROM 1024  // in flight, and twice what the last collection left: another is due
#define COLLECT_PAUSE_NS 5000000ull  // between two collections of the thread

struct flight_user {   // descriptors in flight that a user has sent
    struct list link;  // [flight_lock]
    u32 uid, n;        // [flight_lock]
};

static struct mutex flight_lock = MUTEX_INIT(flight_lock);
static struct list users = LIST_INIT(users);    // [flight_lock]
static struct list flying = LIST_INIT(flying);  // [flight_lock] sockets, by flight_link
static u32 n_flying;                            // [flight_lock to change]
static u32 collect_at = COLLECT_FROM;           // [flight_lock to change]

static struct mutex collecting = MUTEX_INIT(collecting);
static u32 wanted;                // atomic: a collection is due
static struct thread *collector;  // the thread, once there is one
static u32 pausing;               // atomic: it looks at `wanted` soon by itself

enum gc_state { GC_NONE, GC_CANDIDATE };

static struct unix_sock *unix_in(const struct file *f)
{
    struct socket *s = socket_of(f);
    return s && s->ops == &unix_ops ? unix_of(s) : NULL;
}

// ---- in flight

// => NULL: no memory. [flight_lock]
static struct flight_user *user_get(u32 uid)
{
    list_for_each_entry (struct flight_user, u, &users, link) {
        if (u->uid == uid)
            return u;
    }
    struct flight_user *u = kzalloc(sizeof(*u));
    if (u) {
        u->uid = uid;
        list_push_back(&users, &u->link);
    }
    return u;
}

static void user_put(struct flight_user *u, u32 n)
{
    u->n -= n;
    if (u->n == 0) {
        list_remove(&u->link);
        kfree(u);
    }
}

static bool too_many(const struct flight_user *u)
{
    return u->n > current->process->rlimits[RLIMIT_NOFILE].cur && !capable(CAP_SYS_RESOURCE) &&
           !capable(CAP_SYS_ADMIN);
}

int unix_fds_launch(struct unix_fds *fds)
{
    mutex_lock(&flight_lock);
    struct flight_user *user = user_get(current->process->uid);
    int err = !user ? -ENOMEM : too_many(user) ? -ETOOMANYREFS : 0;
    if (!err) {
        user->n += fds->n;
        fds->user = user;
        for (u32 i = 0; i < fds->n; i++) {
            struct unix_sock *u = unix_in(fds->files[i]);
            if (u && u->in_flight++ == 0) {
                u->file = fds->files[i];
                list_push_back(&flying, &u->flight_link);
                n_flying++;
            }
        }
    }
    bool due = err == -ETOOMANYREFS || n_flying >= collect_at;
    mutex_unlock(&flight_lock);
    if (unlikely(due))
        unix_collect();
    return err;
}

void unix_fds_land(struct unix_fds *fds)
{
    if (!fds->user)
        return;
    mutex_lock(&flight_lock);
    user_put(fds->user, fds->n);
    fds->user = NULL;
    for (u32 i = 0; i < fds->n; i++) {
        struct unix_sock *u = unix_in(fds->files[i]);
        if (u && --u->in_flight == 0) {
            list_remove_init(&u->flight_link);
            n_flying--;
        }
    }
    mutex_unlock(&flight_lock);
}

void unix_fds_peek(const struct unix_fds *fds, struct unix_fds *copy)
{
    mutex_lock(&flight_lock);
    for (copy->n = 0; copy->n < fds->n; copy->n++) {
        copy->files[copy->n] = fds->files[copy->n];
        file_get(copy->files[copy->n]);
    }
    mutex_unlock(&flight_lock);
}

// ---- the collection

// What is done with each candidate that a message in a candidate's queue holds.
typedef void visit_fn(struct unix_sock *child, struct list *reached);

static void take_away(struct unix_sock *child, struct list *reached) { child->gc_refs--; }

static void mark_reached(struct unix_sock *child, struct list *reached)
{
    if (child->gc_state == GC_CANDIDATE) {
        child->gc_state = GC_NONE;
        list_remove(&child->gc_link);
        list_push_back(reached, &child->gc_link);
    }
}

static void visit_files(const struct unix_fds *fds, visit_fn *visit, struct list *reached)
{
    for (u32 i = 0; i < fds->n; i++) {
        struct unix_sock *child = unix_in(fds->files[i]);
        if (child && child->gc_state == GC_CANDIDATE)
            visit(child, reached);
    }
}

// The messages of a socket that nobody reads: they may get more at the end, no fewer (I2). The lock is given up between two.
static void visit_queue(struct unix_sock *u, visit_fn *visit, struct list *reached)
{
    spin_lock(&u->lock);
    for (struct list *at = u->queue.next; at != &u->queue; at = at->next) {
        const struct unix_packet *p = list_entry(at, struct unix_packet, link);
        if (p->fds)
            visit_files(p->fds, visit, reached);
        spin_unlock(&u->lock);
        sched_point();
        spin_lock(&u->lock);
    }
    spin_unlock(&u->lock);
}

// The connection behind `at` (NULL: the first) in a listener's queue. => NULL: the end
static struct unix_sock *next_waiting(struct unix_sock *listener, struct unix_sock *at)
{
    spin_lock(&listener->lock);
    struct list *next = at ? at->accept_link.next : listener->queue.next;
    spin_unlock(&listener->lock);
    return next == &listener->queue ? NULL : list_entry(next, struct unix_sock, accept_link);
}

static void visit_children(struct unix_sock *u, visit_fn *visit, struct list *reached)
{
    if (u->state != UNIX_LISTENING) {
        visit_queue(u, visit, reached);
        return;
    }
    for (struct unix_sock *c = next_waiting(u, NULL); c; c = next_waiting(u, c))
        visit_queue(c, visit, reached);
}

static void take_messages(struct unix_sock *u, struct list *out)
{
    spin_lock(&u->lock);
    list_for_each_safe (at, &u->queue) {
        struct unix_packet *p = list_entry(at, struct unix_packet, link);
        if (!p->fds)
            continue;
        list_remove(at);
        u->n_queued--;
        u->queued_size -= p->size;
        u->queued_bytes -= p->len - p->taken;
        list_push_back(out, at);
    }
    spin_unlock(&u->lock);
}

// Steps 1 to 4. out: the messages of sockets that are garbage. [flight_lock]
static void find_garbage(struct list *out)
{
    struct list candidates = LIST_INIT(candidates), reached = LIST_INIT(reached);
    list_for_each_entry (struct unix_sock, u, &flying, flight_link) {
        if (atomic_load(&u->file->refcount) == u->in_flight) {
            u->gc_state = GC_CANDIDATE;
            u->gc_refs = u->in_flight;
            list_push_back(&candidates, &u->gc_link);
        }
        sched_point();
    }
    list_for_each_entry (struct unix_sock, u, &candidates, gc_link)
        visit_children(u, take_away, NULL);
    list_for_each_safe (at, &candidates) {
        struct unix_sock *u = list_entry(at, struct unix_sock, gc_link);
        if (u->gc_refs)
            mark_reached(u, &reached);
    }
    list_for_each_entry (struct unix_sock, u, &reached, gc_link)
        visit_children(u, mark_reached, &reached);  // which makes the list longer
    list_for_each_entry (struct unix_sock, u, &candidates, gc_link) {
        u->gc_state = GC_NONE;
        if (u->state != UNIX_LISTENING)
            take_messages(u, out);
        else
            for (struct unix_sock *c = next_waiting(u, NULL); c; c = next_waiting(u, c))
                take_messages(c, out);
    }
}

static void collect_once(void)
{
    struct list garbage = LIST_INIT(garbage);
    struct list *at;
    mutex_lock(&flight_lock);
    find_garbage(&garbage);
    u32 n_before = n_flying;
    mutex_unlock(&flight_lock);
    while ((at = list_pop_front(&garbage))) {
        unix_packet_free(list_entry(at, struct unix_packet, link));
        sched_point();
    }
    mutex_lock(&flight_lock);
    collect_at = MAX(2 * MIN(n_flying, n_before), (u32)COLLECT_FROM);
    mutex_unlock(&flight_lock);
}

// One at a time; who finds another at it leaves it to him.
static void collect_now(void)
{
    while (atomic_load(&wanted) && mutex_trylock(&collecting)) {
        while (atomic_xchg(&wanted, 0))
            collect_once();
        mutex_unlock(&collecting);
        atomic_fence();  // who found it held has set `wanted` before
    }
}

static void collector_main(void *arg)
{
    for (;;) {
        collect_now();
        atomic_store_seq(&pausing, 1);
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        thread_block(WAIT_UNINTERRUPTIBLE, ktime_ns() + COLLECT_PAUSE_NS);
        atomic_store_seq(&pausing, 0);
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        atomic_fence();
        if (!atomic_load(&wanted))
            thread_block(WAIT_UNINTERRUPTIBLE, NEVER);
        thread_sleep_cancel();
    }
}

// The thread, made on first use. => NULL: cannot be made
static struct thread *collector_get(void)
{
    static struct mutex making = MUTEX_INIT(making);
    mutex_lock(&making);
    if (!collector) {
        struct thread *t = kthread_create("unix-gc", collector_main, NULL, -1);
        collector = IS_ERR(t) ? NULL : t;
    }
    struct thread *t = collector;
    mutex_unlock(&making);
    return t;
}

void unix_collect(void)
{
    if (likely(!atomic_load(&n_flying)))
        return;
    atomic_store_seq(&wanted, 1);
    struct thread *t = atomic_load(&n_flying) > FEW_FLYING ? collector_get() : NULL;
    if (!t)
        collect_now();
    else if (!atomic_load(&pausing))
        thread_wake(t);
}
