// SPDX-License-Identifier: BSD-2-Clause
// epoll.c: epoll(7).
//
//   struct epoll ── items (tree by file, fd) ──> struct ep_item ── waits[] ──> the file's wait queues
//        │                                          │    └── file_link: file->epoll_links
//        └── ready (list) ──────────────────────────┘
//
// A watch puts one waiter with a callback on each wait queue that the file's poll operation names, once,
// when it is added. From then on a watch that nothing happens to costs nothing: when the file wakes its
// queue, the callback links the item into the ready list and wakes one thread in epoll_wait.
//
// epoll_wait goes through the items that are in the ready list when it comes, and asks each file for its
// present state (poll without registering). An edge-triggered or one-shot item leaves the list first, until
// its callback runs again. A level-triggered one stays, at the end, to be asked again next time; it leaves
// when it turns out to have no events. So the cost follows what happens, not the number of watches.
//
// Why no wake-up is lost: an item that leaves the ready list (under ep->lock) is asked after that. An event
// after that moment links it again; one before it is seen by the question.
//
// Invariants
//   I1  item->ready_link is linked exactly when the item is in ep->ready. Anybody adds to the list; only the
//       holder of ep->mutex takes from it.
//   I2  An item lives as long as its file: the last file_put removes it before the file's release.
//   I3  Each item and the epoll file itself hold one reference on ep.
//
// Locks, outermost first: nest_mutex, ep->mutex (outer epoll before the nested one), then under a
// file's wait-queue lock: ep->lock, then nothing. file->epoll_lock is innermost of its own line.
// Nesting is at most EP_MAX_DEPTH deep and never circular (nest_mutex guards the check), so both the
// mutex order and the recursion are bounded.
#include "core/rbtree.h"
#include "fs/special_internal.h"

#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3

#define EPOLLEXCLUSIVE (1u << 28)
#define EPOLLWAKEUP (1u << 29)
#define EPOLLONESHOT (1u << 30)
#define EPOLLET (1u << 31)
#define EP_PRIVATE (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET)
#define EP_ALWAYS (POLLERR | POLLHUP)
#define EP_EXCLUSIVE_OK                                                               \
    (POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | EP_ALWAYS | EPOLLWAKEUP | EPOLLET | \
     EPOLLEXCLUSIVE)

#define EP_MAX_DEPTH 5  // levels of epoll in epoll, as Linux
#define EP_MAX_EVENTS (INT32_MAX / (int)sizeof(struct epoll_event))
#define EP_INLINE_WAITS 2  // most files have one queue, pipes and sockets at most two

struct epoll_event {  // user ABI
    u32 events;
    u64 data;
} ARCH_EPOLL_EVENT_PACKED;

struct epoll {
    struct mutex mutex;
    struct rb_root items;  // [mutex]
    u32 refcount;          // atomic
    struct spinlock lock;
    struct list ready;       // [lock] items that may have events
    struct wait_queue wait;  // threads in epoll_wait
    struct wait_queue poll;  // pollers of the epoll file itself
    struct file *file;       // [nest_mutex] its own; NULL once released
};

struct ep_wait {
    struct waiter waiter;
    struct wait_queue *queue;  // NULL: unused
    struct ep_item *item;
    struct ep_wait *next;  // beyond the inline ones
};

struct ep_item {
    struct rb_node node;     // [ep->mutex]
    struct list ready_link;  // [ep->lock]
    struct list file_link;   // [file->epoll_lock]
    struct epoll *ep;
    struct file *file;
    int fd;
    u32 events;      // [ep->mutex to change] what is asked; only EP_PRIVATE left: disabled
    u64 data;        // [ep->mutex]
    bool dying;      // [file->epoll_lock] its file is being released
    bool no_memory;  // a wait could not be registered
    u8 n_waits;
    struct ep_wait waits[EP_INLINE_WAITS];
    struct ep_wait *more_waits;
};

struct ep_poll_table {
    struct poll_table table;
    struct ep_item *item;
};

static struct mutex nest_mutex = MUTEX_INIT(nest_mutex);
static const struct file_ops epoll_ops;

static bool is_epoll(const struct file *f) { return f->ops == &epoll_ops; }

static void ep_put(struct epoll *ep)
{
    if (atomic_sub(&ep->refcount, 1) == 0)
        kfree(ep);
}

// The file of an item has news. Runs under the lock of the file's wait queue, in any context.
static bool ep_callback(struct waiter *w, u32 events)
{
    struct ep_wait *wait = container_of(w, struct ep_wait, waiter);
    struct ep_item *item = wait->item;
    struct epoll *ep = item->ep;
    u32 asked = READ_ONCE(item->events);
    if (!(asked & ~EP_PRIVATE))
        return false;  // one-shot, already shot
    if (events && !(events & asked))
        return false;
    spin_lock(&ep->lock);
    if (list_empty(&item->ready_link))
        list_push_back(&ep->ready, &item->ready_link);
    spin_unlock(&ep->lock);
    bool woke = wait_has_waiters(&ep->wait);
    if (woke)
        wait_wake(&ep->wait, 1, POLLIN);
    if (wait_has_waiters(&ep->poll)) {
        wait_wake(&ep->poll, 1, POLLIN | POLLRDNORM);
        woke = true;
    }
    // An exclusive watch takes the wake-up away from the others only if somebody here is awake now.
    return (asked & EPOLLEXCLUSIVE) && woke;
}

static void ep_wait_start(struct ep_wait *wait, struct ep_item *item, struct wait_queue *q)
{
    waiter_init(&wait->waiter);
    wait->waiter.wake = ep_callback;
    wait->waiter.exclusive = item->events & EPOLLEXCLUSIVE;
    wait->item = item;
    wait->queue = q;
    wait_add(q, &wait->waiter);
}

static void ep_register(struct poll_table *pt, struct file *f, struct wait_queue *q)
{
    struct ep_item *item = container_of(pt, struct ep_poll_table, table)->item;
    if (item->n_waits < EP_INLINE_WAITS) {
        ep_wait_start(&item->waits[item->n_waits++], item, q);
        return;
    }
    struct ep_wait *wait = kzalloc(sizeof(*wait));
    if (!wait) {
        item->no_memory = true;
        return;
    }
    wait->next = item->more_waits;
    item->more_waits = wait;
    ep_wait_start(wait, item, q);
}

// After this no callback of the item runs or will run.
static void ep_unregister(struct ep_item *item)
{
    for (int i = 0; i < item->n_waits; i++)
        wait_remove(item->waits[i].queue, &item->waits[i].waiter);
    item->n_waits = 0;
    while (item->more_waits) {
        struct ep_wait *wait = item->more_waits;
        item->more_waits = wait->next;
        wait_remove(wait->queue, &wait->waiter);
        kfree(wait);
    }
}

static u32 ep_item_poll(struct ep_item *item, struct poll_table *pt)
{
    struct file *f = item->file;
    u32 state = f->ops->poll ? f->ops->poll(f, pt) : 0;
    return state & item->events;
}

static int ep_key_compare(const struct ep_item *item, const struct file *f, int fd)
{
    if (item->file != f)
        return f < item->file ? -1 : 1;
    return fd - item->fd;
}

static struct ep_item *ep_find(struct epoll *ep, const struct file *f, int fd)
{
    struct rb_node *n = ep->items.node;
    while (n) {
        struct ep_item *item = container_of(n, struct ep_item, node);
        int c = ep_key_compare(item, f, fd);
        if (c == 0)
            return item;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

static void ep_tree_insert(struct epoll *ep, struct ep_item *item)
{
    struct rb_node **link = &ep->items.node, *parent = NULL;
    while (*link) {
        parent = *link;
        struct ep_item *at = container_of(parent, struct ep_item, node);
        link = ep_key_compare(at, item->file, item->fd) < 0 ? &parent->left : &parent->right;
    }
    rb_link_node(&item->node, parent, link);
    rb_insert_fixup(&ep->items, &item->node, NULL);
}

// Takes an item out and frees it. => Caller holds ep->mutex. force: called by the file's release,
// which alone may remove a dying item. False: left for that release.
static bool ep_remove(struct epoll *ep, struct ep_item *item, bool force)
{
    struct file *f = item->file;
    ep_unregister(item);
    spin_lock(&f->epoll_lock);
    if (item->dying && !force) {
        spin_unlock(&f->epoll_lock);
        return false;
    }
    list_remove(&item->file_link);
    spin_unlock(&f->epoll_lock);
    rb_erase(&ep->items, &item->node, NULL);
    spin_lock(&ep->lock);
    if (!list_empty(&item->ready_link))
        list_remove(&item->ready_link);
    spin_unlock(&ep->lock);
    kfree(item);
    ep_put(ep);
    return true;
}

// The last reference of a watched file is gone: its watches end. => Before the file's own release.
void epoll_file_released(struct file *f)
{
    for (;;) {
        spin_lock(&f->epoll_lock);
        if (list_empty(&f->epoll_links)) {
            spin_unlock(&f->epoll_lock);
            return;
        }
        struct ep_item *item = list_first(&f->epoll_links, struct ep_item, file_link);
        struct epoll *ep = item->ep;
        item->dying = true;  // from here on only this function frees it
        atomic_add(&ep->refcount, 1);
        spin_unlock(&f->epoll_lock);
        mutex_lock(&ep->mutex);
        ep_remove(ep, item, true);
        mutex_unlock(&ep->mutex);
        ep_put(ep);
    }
}

// ---- nesting

// Depth of the tree of epolls below ep, or more than EP_MAX_DEPTH when ep reaches `target`.
static int ep_depth_below(struct epoll *ep, const struct epoll *target, int level)
{
    if (ep == target || level > EP_MAX_DEPTH)
        return EP_MAX_DEPTH + 1;
    int deepest = 1;
    mutex_lock(&ep->mutex);
    for (struct rb_node *n = rb_first(&ep->items); n; n = rb_next(n)) {
        struct ep_item *item = container_of(n, struct ep_item, node);
        if (is_epoll(item->file))
            deepest = MAX(deepest, 1 + ep_depth_below(item->file->data, target, level + 1));
        if (deepest > EP_MAX_DEPTH)
            break;
    }
    mutex_unlock(&ep->mutex);
    return deepest;
}

// How many levels of epolls watch this one, itself included.
static int ep_depth_above(struct epoll *ep, int level)
{
    int deepest = 1;
    if (level > EP_MAX_DEPTH || !ep->file)
        return level;
    spin_lock(&ep->file->epoll_lock);
    list_for_each_entry (struct ep_item, item, &ep->file->epoll_links, file_link)
        deepest = MAX(deepest, 1 + ep_depth_above(item->ep, level + 1));
    spin_unlock(&ep->file->epoll_lock);
    return deepest;
}

// May `inner` be watched by ep? => Caller holds nest_mutex and no ep->mutex. 0 or -ELOOP.
static int ep_check_nesting(struct epoll *ep, struct epoll *inner)
{
    int below = ep_depth_below(inner, ep, 1);
    if (below > EP_MAX_DEPTH || below + ep_depth_above(ep, 1) > EP_MAX_DEPTH)
        return -ELOOP;
    return 0;
}

// ---- epoll_ctl(2)

// Links an item that has events now, and wakes who waits for some.
static void ep_make_ready(struct epoll *ep, struct ep_item *item)
{
    spin_lock(&ep->lock);
    if (list_empty(&item->ready_link))
        list_push_back(&ep->ready, &item->ready_link);
    spin_unlock(&ep->lock);
    if (wait_has_waiters(&ep->wait))
        wait_wake(&ep->wait, 1, POLLIN);
}

// The same for those that poll the epoll file: with no ep->mutex held, because a poller above
// takes its own and then ours.
static void ep_notify_pollers(struct epoll *ep)
{
    if (wait_has_waiters(&ep->poll))
        wait_wake(&ep->poll, 1, POLLIN | POLLRDNORM);
}

static int ep_add(struct epoll *ep, struct file *f, int fd, const struct epoll_event *ev)
{
    struct ep_item *item = kzalloc(sizeof(*item));
    if (!item)
        return -ENOMEM;
    list_init(&item->ready_link);
    item->ep = ep;
    item->file = f;
    item->fd = fd;
    item->events = ev->events | EP_ALWAYS;
    item->data = ev->data;
    spin_lock(&f->epoll_lock);
    list_push_back(&f->epoll_links, &item->file_link);
    spin_unlock(&f->epoll_lock);
    ep_tree_insert(ep, item);
    atomic_add(&ep->refcount, 1);

    struct ep_poll_table pt = {.table.add = ep_register, .item = item};
    u32 state = ep_item_poll(item, &pt.table);
    if (item->no_memory) {
        ep_remove(ep, item, false);
        return -ENOMEM;
    }
    if (state)
        ep_make_ready(ep, item);
    return 0;
}

static int ep_modify(struct epoll *ep, struct ep_item *item, const struct epoll_event *ev)
{
    if (item->events & EPOLLEXCLUSIVE)
        return -EINVAL;
    item->data = ev->data;
    // A callback that ran with the old mask may have ignored what the new one wants: the mask is stored before the
    // question below.
    atomic_store_seq(&item->events, ev->events | EP_ALWAYS);
    if (ep_item_poll(item, NULL))
        ep_make_ready(ep, item);
    return 0;
}

static int ep_ctl_locked(struct epoll *ep, int op, struct file *f, int fd,
                         const struct epoll_event *ev)
{
    struct ep_item *item = ep_find(ep, f, fd);
    switch (op) {
    case EPOLL_CTL_ADD: return item ? -EEXIST : ep_add(ep, f, fd, ev);
    case EPOLL_CTL_DEL:
        if (!item)
            return -ENOENT;
        ep_remove(ep, item, false);
        return 0;
    case EPOLL_CTL_MOD: return item ? ep_modify(ep, item, ev) : -ENOENT;
    default: return -EINVAL;
    }
}

static int ep_ctl(struct file *epf, int op, struct file *f, int fd, const struct epoll_event *ev)
{
    if (!f->ops->poll)
        return -EPERM;
    if (f == epf || !is_epoll(epf))
        return -EINVAL;
    if (op != EPOLL_CTL_DEL && (ev->events & EPOLLEXCLUSIVE)) {
        if (op == EPOLL_CTL_MOD || is_epoll(f) || (ev->events & ~EP_EXCLUSIVE_OK))
            return -EINVAL;
    }
    struct epoll *ep = epf->data;
    bool nested = op == EPOLL_CTL_ADD && is_epoll(f);
    int err = 0;
    if (nested) {
        mutex_lock(&nest_mutex);
        err = ep_check_nesting(ep, f->data);
    }
    if (!err) {
        mutex_lock(&ep->mutex);
        err = ep_ctl_locked(ep, op, f, fd, ev);
        mutex_unlock(&ep->mutex);
    }
    if (nested)
        mutex_unlock(&nest_mutex);
    if (!err && op != EPOLL_CTL_DEL && !list_empty(&ep->ready))
        ep_notify_pollers(ep);
    return err;
}

__cold long sys_epoll_ctl(int epfd, int op, int fd, uptr_t event)
{
    struct epoll_event ev = {0};
    if (op != EPOLL_CTL_DEL && copy_from_user(&ev, event, sizeof(ev)))
        return -EFAULT;
    struct fd ep = fd_get(epfd);
    if (!ep.file)
        return -EBADF;
    struct fd f = fd_get(fd);
    int err = f.file ? ep_ctl(ep.file, op, f.file, fd, &ev) : -EBADF;
    fd_put(f);
    fd_put(ep);
    return err;
}

// ---- epoll_wait(2)

static bool stays_ready(const struct ep_item *item)
{
    return !(item->events & (EPOLLET | EPOLLONESHOT));
}

// The first ready item: one that stays goes to the end of the list, any other out of it.
// => Caller holds ep->mutex; NULL: none.
static inline struct ep_item *ep_next_ready(struct epoll *ep)
{
    if (list_empty(&ep->ready))
        return NULL;
    // Nobody else takes from the list, so its first item may be looked at without the lock.
    struct ep_item *item = list_first(&ep->ready, struct ep_item, ready_link);
    if (stays_ready(item) && READ_ONCE(item->ready_link.next) == &ep->ready)
        return item;  // first and last
    spin_lock(&ep->lock);
    if (stays_ready(item)) {
        if (item->ready_link.next != &ep->ready) {
            list_remove(&item->ready_link);
            list_push_back(&ep->ready, &item->ready_link);
        }
    } else {
        list_remove_init(&item->ready_link);
    }
    spin_unlock(&ep->lock);
    return item;
}

static void ep_leave_ready(struct epoll *ep, struct ep_item *item)
{
    spin_lock(&ep->lock);
    list_remove_init(&item->ready_link);
    spin_unlock(&ep->lock);
}

static void ep_rejoin_ready(struct epoll *ep, struct ep_item *item)
{
    spin_lock(&ep->lock);
    if (list_empty(&item->ready_link))
        list_push_back(&ep->ready, &item->ready_link);
    spin_unlock(&ep->lock);
}

// What an item of ep_next_ready has to tell. One that stays and has nothing leaves the list and is asked once
// more, because its callback did nothing while it was linked.
static inline u32 ep_ask_ready(struct epoll *ep, struct ep_item *item)
{
    u32 state = ep_item_poll(item, NULL);
    if (likely(state) || !stays_ready(item))
        return state;
    ep_leave_ready(ep, item);
    state = ep_item_poll(item, NULL);
    if (state)
        ep_rejoin_ready(ep, item);
    return state;
}

static inline bool put_event(uptr_t to, u32 state, u64 data)
{
    return put_user_u32(to + offsetof(struct epoll_event, events), state) == 0 &&
           put_user_u64(to + offsetof(struct epoll_event, data), data) == 0;
}

// Reports up to max ready items. => their number, -EFAULT; 0 when the ready list held none in truth.
static inline long ep_send_events(struct epoll *ep, uptr_t events, int max)
{
    long n = 0;
    struct ep_item *item;
    mutex_lock_quick(&ep->mutex);
    // Where this round ends: what is behind came later, or is there again.
    struct list *last = list_empty(&ep->ready) ? NULL : READ_ONCE(ep->ready.prev);
    while (last && n < max && (item = ep_next_ready(ep))) {
        u32 state = ep_ask_ready(ep, item);
        if (state && unlikely(!put_event(events, state, item->data))) {
            ep_rejoin_ready(ep, item);
            if (n == 0)
                n = -EFAULT;
            break;
        }
        if (state) {
            events += sizeof(struct epoll_event);
            n++;
            if (item->events & EPOLLONESHOT)
                item->events &= EP_PRIVATE;
        }
        if (&item->ready_link == last)
            break;
    }
    mutex_unlock_quick(&ep->mutex);
    if (!list_empty(&ep->ready) && wait_has_waiters(&ep->wait))
        wait_wake(&ep->wait, 1, POLLIN);
    return n;
}

// Nothing was ready: sleeps until something is. As ep_wait.
static __noinline long ep_wait_slow(struct epoll *ep, uptr_t events, int max, u64 deadline_ns)
{
    struct waiter w;
    int err = 0;
    for (;;) {
        if (err || deadline_ns == 0)
            return err == -ETIMEDOUT ? 0 : err ? -EINTR : 0;
        waiter_init(&w);
        w.exclusive = true;
        wait_prepare(&ep->wait, &w, WAIT_INTERRUPTIBLE);
        if (list_empty(&ep->ready))
            err = wait_sleep(&w, WAIT_INTERRUPTIBLE, deadline_ns);
        wait_finish(&ep->wait, &w);
        if (!list_empty(&ep->ready)) {
            long n = ep_send_events(ep, events, max);
            if (n)
                return n;
        }
    }
}

// An ending of ep_wait_fd that calls nothing is the common one: it stays in the caller's frame.
struct ep_timeout {
    bool is_ms;
    u64 value;  // milliseconds as epoll_wait(2) takes them, or a deadline: NEVER waits for ever, 0 does not wait
};

static __noinline long ep_wait_else(struct file *f, uptr_t events, int max,
                                    struct ep_timeout timeout)
{
    if (!is_epoll(f))
        return f->fmode & FMODE_PATH ? -EBADF : -EINVAL;
    return ep_wait_slow(f->data, events, max,
                        timeout.is_ms ? deadline_from_ms((int)timeout.value) : timeout.value);
}

static __always_inline long ep_wait_file(struct file *f, uptr_t events, int max,
                                         struct ep_timeout timeout)
{
    long n = 0;
    if (likely(is_epoll(f)) && likely(!list_empty(&((struct epoll *)f->data)->ready)))
        n = ep_send_events(f->data, events, max);
    return likely(n) ? n : ep_wait_else(f, events, max, timeout);
}

static __noinline long ep_wait_shared(int epfd, uptr_t events, int max, struct ep_timeout timeout)
{
    struct file *f = fd_get_shared(epfd).file;
    if (!f)
        return -EBADF;
    long n = ep_wait_file(f, events, max, timeout);
    file_put(f);
    return n;
}

static __always_inline long ep_wait_fd(int epfd, uptr_t events, int max, struct ep_timeout timeout)
{
    if (unlikely(max <= 0 || max > EP_MAX_EVENTS))
        return -EINVAL;
    if (unlikely(events > USER_END - (u64)max * sizeof(struct epoll_event)))
        return -EFAULT;
    const struct file_table *t = current->files;
    if (unlikely(files_are_shared(t)))
        return ep_wait_shared(epfd, events, max, timeout);
    struct file *f = fd_borrow(t, epfd);
    return likely(f) ? ep_wait_file(f, events, max, timeout) : -EBADF;
}

long sys_epoll_wait(int epfd, uptr_t events, int max, int timeout_ms)
{
    return ep_wait_fd(epfd, events, max, (struct ep_timeout){true, (u64)timeout_ms});
}

static __noinline long epoll_wait_masked(int epfd, uptr_t events, int max, int timeout_ms,
                                         uptr_t sigmask, size_t size)
{
    int err = signal_mask_enter(sigmask, size);
    if (err)
        return err;
    return signal_mask_leave(sigmask, sys_epoll_wait(epfd, events, max, timeout_ms));
}

long sys_epoll_pwait(int epfd, uptr_t events, int max, int timeout_ms, uptr_t sigmask, size_t size)
{
    if (unlikely(sigmask))
        return epoll_wait_masked(epfd, events, max, timeout_ms, sigmask, size);
    return ep_wait_fd(epfd, events, max, (struct ep_timeout){true, (u64)timeout_ms});
}

long sys_epoll_pwait2(int epfd, uptr_t events, int max, uptr_t timeout, uptr_t sigmask, size_t size)
{
    u64 deadline_ns;
    int err = deadline_from_user(timeout, &deadline_ns);
    if (!err)
        err = signal_mask_enter(sigmask, size);
    if (err)
        return err;
    return signal_mask_leave(
        sigmask, ep_wait_fd(epfd, events, max, (struct ep_timeout){false, deadline_ns}));
}

// ---- the epoll file itself

// Readable when some item truly has events; items that have none leave the ready list.
static u32 epoll_poll(struct file *f, struct poll_table *pt)
{
    struct epoll *ep = f->data;
    u32 events = 0;
    struct ep_item *item;
    poll_wait(pt, f, &ep->poll);
    if (list_empty(&ep->ready))
        return 0;
    mutex_lock(&ep->mutex);
    struct list *last = list_empty(&ep->ready) ? NULL : READ_ONCE(ep->ready.prev);
    while (last && !events && (item = ep_next_ready(ep))) {
        if (ep_ask_ready(ep, item)) {
            ep_rejoin_ready(ep, item);
            events = POLLIN | POLLRDNORM;
        }
        if (&item->ready_link == last)
            break;
    }
    mutex_unlock(&ep->mutex);
    return events;
}

static void epoll_show(struct file *f, struct seq_buf *out)
{
    struct epoll *ep = f->data;
    mutex_lock(&ep->mutex);
    for (struct rb_node *n = rb_first(&ep->items); n; n = rb_next(n)) {
        struct ep_item *item = container_of(n, struct ep_item, node);
        u32 dev;
        u64 ino;
        file_identity(item->file, &dev, &ino);
        seq_printf(out, "tfd: %8d events: %8x data: %16llx  pos:%lli ino:%llx sdev:%x\n", item->fd,
                   item->events, (unsigned long long)item->data, (long long)item->file->pos,
                   (unsigned long long)ino, dev);
    }
    mutex_unlock(&ep->mutex);
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->data;
    mutex_lock(&nest_mutex);
    ep->file = NULL;
    mutex_unlock(&nest_mutex);
    mutex_lock(&ep->mutex);
    // Items of files that are going away at this moment stay for epoll_file_released.
    for (struct rb_node *n = rb_first(&ep->items), *next; n; n = next) {
        next = rb_next(n);
        ep_remove(ep, container_of(n, struct ep_item, node), false);
    }
    mutex_unlock(&ep->mutex);
    ep_put(ep);
}

static const struct file_ops epoll_ops = {
    .name = "anon_inode:[eventpoll]",
    .poll = epoll_poll,
    .show_fdinfo = epoll_show,
    .release = epoll_release,
};

long sys_epoll_create1(int flags)
{
    if (flags & ~O_CLOEXEC)
        return -EINVAL;
    struct epoll *ep = kzalloc(sizeof(*ep));
    if (!ep)
        return -ENOMEM;
    mutex_init(&ep->mutex);
    list_init(&ep->ready);
    wait_queue_init(&ep->wait);
    wait_queue_init(&ep->poll);
    ep->refcount = 1;
    struct file *f = file_alloc(&epoll_ops, O_RDWR | (flags & O_CLOEXEC), ep);
    if (IS_ERR(f)) {
        kfree(ep);
        return PTR_ERR(f);
    }
    file_set_stream(f);
    ep->file = f;
    int fd = fd_new(f, flags);
    if (fd < 0)
        file_put(f);
    return fd;
}

long sys_epoll_create(int size) { return size <= 0 ? -EINVAL : sys_epoll_create1(0); }
