// SPDX-License-Identifier: BSD-2-Clause
// aio.c: asynchronous I/O as the kernel has it (io_setup(2), io_submit(2), io_getevents(2), io_cancel(2)).
//
// A context is a ring of events in memory that the program maps, and the address of that mapping is its name. Programs
// may take events out of the ring themselves (libaio does), so the kernel reads `head` anew each time and believes
// nothing else that it finds there.
//
//     page 0: | header, 32 bytes | event 0 | event 1 | ...   page 1: | event 127 | ...
//     tail: where the kernel puts the next one     head: the oldest that nobody took     head == tail: empty
//
// Reads, writes and syncs are done by io_submit itself, as Linux does them for files in its cache. A poll waits: its
// waiters stay on the file's queues, and the first that hears something hands the request over to one kernel thread,
// which asks the file once more, as no queue's caller may.
//
// I1  A context ends when its ring is mapped nowhere any more (munmap, exec, exit) or with io_destroy. Its memory stays
//     for the requests in flight: each holds a reference. The ring is not inherited by fork, so it has one address space.
// I2  A poll that is `busy` is on the list of work or in the thread's hands. Nobody but the thread ends it.
// I3  Requests in flight and events in the ring together are fewer than the ring's places: an event always finds one.
//
// Lock order: mm->lock -> ctx->lock -> work.lock; a file's wait queue -> work.lock; ctx->reading before mm->lock.
#include <stdio.h>

#include "fs/calls.h"
#include "fs/proc_internal.h"
#include "fs/special_internal.h"
#include "fs/vfs_internal.h"
#include "mm/mm.h"
#include "mm/mman.h"
#include "mm/syscalls.h"
#include "task/signal.h"

#define RING_MAGIC 0xa10a10a1u
#define MOST_EVENTS (0x10000000u / sizeof(struct event))
#define POLL_QUEUES 4  // that one file names: a terminal or a pipe opened both ways has two

enum command { PREAD = 0, PWRITE = 1, FSYNC = 2, FDSYNC = 3, POLL = 5, PREADV = 7, PWRITEV = 8 };
#define FLAG_RESFD 1u
#define FLAG_IOPRIO 2u

struct iocb {  // user ABI
    u64 data;
    u32 key;
    s32 rw_flags;
    u16 opcode;
    s16 priority;
    s32 fd;
    u64 buf, nbytes;
    s64 offset;
    u64 reserved;
    u32 flags;
    s32 resfd;
};
_Static_assert(sizeof(struct iocb) == 64, "struct iocb has 64 bytes");

struct event {  // user ABI: struct io_event
    u64 data, iocb;
    s64 result, result2;
};

struct ring {  // user ABI
    u32 id, n_events, head, tail;
    u32 magic, compat_features, incompat_features, header_bytes;
};
_Static_assert(sizeof(struct ring) == sizeof(struct event), "the header takes an event's place");
#define EVENTS_PER_PAGE (PAGE_SIZE / sizeof(struct event))

struct context {
    struct vm_object object;  // the ring; holds one reference to the context
    u32 refcount;             // atomic
    u32 n_asked;              // as io_setup was asked: what counts against aio-max-nr
    u32 n_events;             // places in the ring
    struct spinlock lock;
    bool dead;               // [lock]
    u32 tail;                // [lock to change]
    u32 in_flight;           // [lock to change]
    struct list polls;       // [lock] those that io_cancel can find
    struct wait_queue wait;  // for events, for the end of the last request
    struct mutex reading;    // one at a time takes events out
    u32 n_pages;
    struct page *pages[];
};

struct request {
    struct context *ctx;
    struct file *file;
    struct file *eventfd;  // NULL: none
    u64 iocb, data;
};

struct poll_waiter {
    struct waiter waiter;
    struct wait_queue *queue;
    struct poll_request *request;
};

struct poll_request {
    struct request r;
    u32 events;
    bool busy;              // [work.lock] I2
    bool cancelled;         // atomic
    struct list link;       // [ctx->lock] in ctx->polls, or empty
    struct list work_link;  // [work.lock]
    struct poll_table table;
    u32 n_waiters;
    bool too_many;
    struct poll_waiter waiters[POLL_QUEUES];
};

static struct {
    struct spinlock lock;
    struct list polls;      // [lock] handed over
    struct thread *thread;  // made with the first poll
    struct mutex making;
} work = {.polls = LIST_INIT(work.polls), .making = MUTEX_INIT(work.making)};

static struct {
    struct spinlock lock;
    u64 n, max;  // [lock] /proc/sys/fs/aio-nr, aio-max-nr
} limit = {.max = 65536};

// ---- the ring

static struct ring *ring_of(const struct context *ctx) { return page_address(ctx->pages[0]); }

// The header is in the place of an event, so event i lies in place i + 1.
static struct event *event_at(const struct context *ctx, u32 i)
{
    struct event *page = page_address(ctx->pages[(i + 1) / EVENTS_PER_PAGE]);
    return &page[(i + 1) % EVENTS_PER_PAGE];
}

static u32 head_of(const struct context *ctx)
{
    return atomic_load(&ring_of(ctx)->head) % ctx->n_events;
}

static u32 events_between(const struct context *ctx, u32 head, u32 tail)
{
    return tail >= head ? tail - head : tail + ctx->n_events - head;
}

static bool ring_empty(const struct context *ctx)
{
    return head_of(ctx) == atomic_load(&ctx->tail);
}

static void context_put(struct context *ctx)
{
    if (atomic_sub(&ctx->refcount, 1))
        return;
    for (u32 i = 0; i < ctx->n_pages; i++)
        page_put(ctx->pages[i]);
    kfree(ctx);
}

// I3. => false: the ring would be full
static bool request_begin(struct context *ctx)
{
    spin_lock(&ctx->lock);
    u32 in_ring = events_between(ctx, head_of(ctx), ctx->tail);
    bool fits = !ctx->dead && ctx->in_flight + in_ring < ctx->n_events - 1;
    if (fits) {
        ctx->in_flight++;
        atomic_add(&ctx->refcount, 1);
    }
    spin_unlock(&ctx->lock);
    return fits;
}

// Ends a request, with an event or, when it never began, without. Its files and its context are given back.
static void request_end(struct request *r, bool tell, s64 result)
{
    struct context *ctx = r->ctx;
    spin_lock(&ctx->lock);
    if (tell) {
        *event_at(ctx, ctx->tail) = (struct event){r->data, r->iocb, result, 0};
        atomic_store(&ctx->tail, (ctx->tail + 1) % ctx->n_events);
        atomic_store(&ring_of(ctx)->tail, ctx->tail);
    }
    ctx->in_flight--;
    spin_unlock(&ctx->lock);
    if (r->eventfd) {
        if (tell)
            eventfd_signal(r->eventfd);
        file_put(r->eventfd);
    }
    if (r->file)
        file_put(r->file);
    if (wait_has_waiters(&ctx->wait))
        wait_wake(&ctx->wait, INT32_MAX, 0);
    context_put(ctx);
}

// ---- polls

static void hand_over(struct poll_request *p)
{
    spin_lock(&work.lock);
    bool first = !p->busy;
    if (first) {
        p->busy = true;
        list_push_back(&work.polls, &p->work_link);
    }
    spin_unlock(&work.lock);
    if (first)
        thread_wake(work.thread);
}

static bool poll_woken(struct waiter *w, u32 events)
{
    struct poll_request *p = container_of(w, struct poll_waiter, waiter)->request;
    if (events && !(events & p->events))
        return false;
    hand_over(p);
    return true;
}

static void poll_queue(struct poll_table *table, struct file *f, struct wait_queue *q)
{
    struct poll_request *p = container_of(table, struct poll_request, table);
    if (p->n_waiters == POLL_QUEUES) {
        p->too_many = true;
        return;
    }
    struct poll_waiter *w = &p->waiters[p->n_waiters++];
    waiter_init(&w->waiter);
    w->waiter.wake = poll_woken;
    w->queue = q;
    w->request = p;
    wait_add(q, &w->waiter);
}

static void poll_leave_queues(struct poll_request *p)
{
    for (u32 i = 0; i < p->n_waiters; i++)
        wait_remove(p->waiters[i].queue, &p->waiters[i].waiter);
}

static u32 poll_ask(struct poll_request *p)
{
    return p->r.file->ops->poll(p->r.file, NULL) & p->events;
}

// => the thread's hands are free of p: it ended, or waits again
static void poll_serve(struct poll_request *p)
{
    u32 ready = 0;
    if (!atomic_load(&p->cancelled) && !(ready = poll_ask(p))) {
        spin_lock(&work.lock);
        p->busy = false;
        spin_unlock(&work.lock);
        // What came after the question and before this found it busy: so once more.
        ready = poll_ask(p);
        if (!ready && !atomic_load(&p->cancelled))
            return;
        spin_lock(&work.lock);
        bool again = p->busy;
        p->busy = true;
        spin_unlock(&work.lock);
        if (again)
            return;
    }
    poll_leave_queues(p);
    spin_lock(&p->r.ctx->lock);
    list_remove_init(&p->link);
    spin_unlock(&p->r.ctx->lock);
    request_end(&p->r, true, ready);
    kfree(p);
}

static void worker_main(void *arg)
{
    for (;;) {
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        spin_lock(&work.lock);
        struct list *first = list_empty(&work.polls) ? NULL : list_pop_front(&work.polls);
        spin_unlock(&work.lock);
        if (!first)
            thread_block(WAIT_UNINTERRUPTIBLE, NEVER);
        thread_sleep_cancel();
        if (first)
            poll_serve(list_entry(first, struct poll_request, work_link));
        sched_point();
    }
}

// => false: there is no thread and none can be made
static bool worker_get(void)
{
    mutex_lock(&work.making);
    if (!work.thread) {
        struct thread *t = kthread_create("aio", worker_main, NULL, -1);
        work.thread = IS_ERR(t) ? NULL : t;
    }
    bool there = work.thread != NULL;
    mutex_unlock(&work.making);
    return there;
}

// The thread looks at each new poll once: what came while it was set up is not missed.
static void poll_start(struct poll_request *p)
{
    struct context *ctx = p->r.ctx;
    spin_lock(&ctx->lock);
    list_push_back(&ctx->polls, &p->link);
    if (ctx->dead)
        atomic_store(&p->cancelled, true);
    p->busy = false;
    hand_over(p);
    spin_unlock(&ctx->lock);
}

// => 0: *result is the event's; 1: it waits, and *r belongs to it; -EINVAL, -ENOMEM, -EAGAIN
static int submit_poll(struct request *r, const struct iocb *io, s64 *result)
{
    if (io->buf != (u16)io->buf || io->offset || io->nbytes || io->rw_flags)
        return -EINVAL;
    u32 events = (u32)io->buf | POLLERR | POLLHUP;
    if (!r->file->ops->poll) {
        *result = events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
        return *result ? 0 : -EINVAL;
    }
    struct poll_request *p = worker_get() ? kzalloc(sizeof(*p)) : NULL;
    if (!p)
        return -ENOMEM;
    p->r = *r;
    p->events = events;
    p->busy = true;
    p->table.add = poll_queue;
    *result = p->r.file->ops->poll(p->r.file, &p->table) & events;
    if (!*result && p->n_waiters && !p->too_many) {
        poll_start(p);
        return 1;
    }
    poll_leave_queues(p);
    int err = *result ? 0 : -EINVAL;
    kfree(p);
    return err;
}

// ---- reads, writes, syncs

static int check_priority(const struct iocb *io)
{
    int class = io->priority >> 13, level = io->priority & 7;
    if (!(io->flags & FLAG_IOPRIO))
        return 0;
    if (class == 1 && !capable_sys_nice() && !capable_sys_admin())
        return -EPERM;
    return class < 0 || class > 3 || (class == 0 && level) ? -EINVAL : 0;
}

// => bytes, or an errno of the call itself
static ssize_t import(const struct iocb *io, struct uio *u, struct uio_vec *v)
{
    v->big = NULL;
    if (io->opcode == PREADV || io->opcode == PWRITEV)
        return uio_init_vec(u, v, io->buf, io->nbytes);
    if (io->nbytes > USER_END || io->buf > USER_END - io->nbytes)
        return -EFAULT;
    uio_init_user(u, io->buf, MIN(io->nbytes, (u64)MAX_RW_COUNT));
    return (ssize_t)u->remaining;
}

static int submit_rw(struct file *f, const struct iocb *io, bool write, s64 *result)
{
    struct uio u;
    struct uio_vec v;
    int err = check_priority(io);
    if (!err)
        err = rw_check_flags(f, (u32)io->rw_flags);
    if (!err && !(f->fmode & (write ? FMODE_WRITE : FMODE_READ)))
        err = -EBADF;
    ssize_t (*move)(struct file *, struct uio *, loff_t *) = write ? f->ops->write : f->ops->read;
    if (!err && !move)
        err = -EINVAL;
    if (err)
        return err;
    ssize_t n = import(io, &u, &v);
    if (n >= 0 && (io->offset < 0 || (s64)((u64)io->offset + (u64)n) < 0))
        n = -EINVAL;
    if (n >= 0) {
        loff_t pos = io->offset;
        u.flags = (u32)io->rw_flags;
        *result = move(f, &u, &pos);
        if (*result <= -ERESTARTSYS && *result >= -ERESTART_RESTARTBLOCK)
            *result = -EINTR;
    }
    uio_vec_free(&v);
    return n < 0 ? (int)n : 0;
}

static int submit_sync(struct file *f, const struct iocb *io, s64 *result)
{
    if (io->buf || io->offset || io->nbytes || io->rw_flags || !f->ops->fsync)
        return -EINVAL;
    *result = f->ops->fsync(f, io->opcode == FDSYNC);
    return 0;
}

// ---- io_submit

static int submit_request(struct request *r, const struct iocb *io, s64 *result)
{
    r->file = fd_get_file(io->fd);
    if (!r->file)
        return -EBADF;
    if (io->flags & FLAG_RESFD) {
        struct file *e = eventfd_get_file(io->resfd);
        if (IS_ERR(e))
            return (int)PTR_ERR(e);
        r->eventfd = e;
    }
    if (put_user_u32(r->iocb + offsetof(struct iocb, key), 0))
        return -EFAULT;
    switch (io->opcode) {
    case PREAD:
    case PREADV: return submit_rw(r->file, io, false, result);
    case PWRITE:
    case PWRITEV: return submit_rw(r->file, io, true, result);
    case FSYNC:
    case FDSYNC: return submit_sync(r->file, io, result);
    case POLL: return submit_poll(r, io, result);
    }
    return -EINVAL;
}

static int submit_one(struct context *ctx, u64 iocb)
{
    struct iocb io;
    s64 result = 0;
    if (copy_from_user(&io, iocb, sizeof(io)))
        return -EFAULT;
    if (io.reserved || (s64)io.nbytes < 0)
        return -EINVAL;
    if (!request_begin(ctx))
        return -EAGAIN;
    struct request r = {.ctx = ctx, .iocb = iocb, .data = io.data};
    int err = submit_request(&r, &io, &result);
    if (err <= 0)
        request_end(&r, err == 0, result);
    return MIN(err, 0);
}

static bool is_ring(const struct vm_object *obj);

// The context that has its ring at this address of the caller's. => referenced by its object, or NULL
static struct context *context_get(u64 id)
{
    struct vm_object *obj = mm_find_object(current->mm, id, is_ring);
    return obj ? container_of(obj, struct context, object) : NULL;
}

static void context_done(struct context *ctx) { vm_object_put(&ctx->object); }

// => how many were taken; the error of the first one if none was: -EINVAL, -EFAULT, -EAGAIN, -EBADF, -EPERM, -EOPNOTSUPP
long sys_io_submit(u64 id, long n, uptr_t iocbs)
{
    struct context *ctx = n < 0 ? NULL : context_get(id);
    if (!ctx)
        return -EINVAL;
    long done = 0;
    int err = 0;
    n = MIN(n, (long)ctx->n_events);
    while (done < n && !err) {
        u64 iocb;
        err = copy_from_user(&iocb, iocbs + (u64)done * sizeof(iocb), sizeof(iocb))
                  ? -EFAULT
                  : submit_one(ctx, iocb);
        done += !err;
        sched_point();
    }
    context_done(ctx);
    return done ? done : err;
}

// The event still comes, by the ring: the third argument is of the past. => -EINPROGRESS: it will; -EINVAL, -EFAULT
long sys_io_cancel(u64 id, uptr_t iocb, uptr_t result)
{
    u32 key;
    if (get_user_u32(&key, iocb + offsetof(struct iocb, key)))
        return -EFAULT;
    struct context *ctx = key ? NULL : context_get(id);
    long err = -EINVAL;
    if (!ctx)
        return err;
    spin_lock(&ctx->lock);
    list_for_each_entry (struct poll_request, p, &ctx->polls, link) {
        if (p->r.iocb == iocb) {
            list_remove_init(&p->link);
            atomic_store_seq(&p->cancelled, true);
            hand_over(p);
            err = -EINPROGRESS;
            break;
        }
    }
    spin_unlock(&ctx->lock);
    context_done(ctx);
    return err;
}

// ---- io_getevents

// Hands over what the ring has, *done events being there already. => 0, -EFAULT
static int take_events(struct context *ctx, uptr_t to, long n, long *done)
{
    int err = 0;
    mutex_lock(&ctx->reading);
    u32 head = head_of(ctx), tail = atomic_load(&ctx->tail);
    while (*done < n && head != tail && !err) {
        struct event e = *event_at(ctx, head);
        if (copy_to_user(to + (u64)*done * sizeof(e), &e, sizeof(e))) {
            err = -EFAULT;
        } else {
            head = (head + 1) % ctx->n_events;
            ++*done;
        }
    }
    if (!err)
        atomic_store(&ring_of(ctx)->head, head);
    mutex_unlock(&ctx->reading);
    return err;
}

static long wait_events(struct context *ctx, long min, long n, uptr_t to, u64 deadline_ns)
{
    struct waiter w;
    long done = 0;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        err = take_events(ctx, to, n, &done);
        if (!err && atomic_load(&ctx->dead))
            err = -EINVAL;
        if (err || done >= min || deadline_ns == 0)
            break;
        wait_prepare(&ctx->wait, &w, WAIT_INTERRUPTIBLE);
        if (ring_empty(ctx) && !atomic_load(&ctx->dead))
            err = wait_sleep(&w, WAIT_INTERRUPTIBLE, deadline_ns);
        wait_finish(&ctx->wait, &w);
        if (err) {
            err = take_events(ctx, to, n, &done);  // one last look
            break;
        }
    }
    return done ? done : err;
}

// Nothing is refused, as on Linux, where a negative time is one that does not come. => 0, -EFAULT
static int read_timeout(uptr_t timeout, u64 *deadline_ns)
{
    struct timespec_user ts;
    *deadline_ns = NEVER;
    if (!timeout)
        return 0;
    if (copy_from_user(&ts, timeout, sizeof(ts)))
        return -EFAULT;
    if (ts.sec < -INT32_MAX || ts.sec > INT32_MAX || ts.nsec < -INT32_MAX || ts.nsec > INT32_MAX)
        return 0;
    s64 ns = ts.sec * (s64)NSEC_PER_SEC + ts.nsec;
    if (ns >= 0)
        *deadline_ns = ns ? ktime_ns() + (u64)ns : 0;
    return 0;
}

static long get_events(u64 id, long min, long n, uptr_t events, u64 deadline_ns)
{
    struct context *ctx = context_get(id);
    if (!ctx)
        return -EINVAL;
    long done = min < 0 || min > n ? -EINVAL : wait_events(ctx, min, n, events, deadline_ns);
    context_done(ctx);
    return done;
}

// => events stored, fewer than min only after the time or a signal; -EINVAL, -EFAULT, -EINTR
long sys_io_getevents(u64 id, long min, long n, uptr_t events, uptr_t timeout)
{
    u64 deadline_ns;
    int err = read_timeout(timeout, &deadline_ns);
    long done = err ? err : get_events(id, min, n, events, deadline_ns);
    return !done && thread_signal_pending() ? -EINTR : done;
}

long sys_io_pgetevents(u64 id, long min, long n, uptr_t events, uptr_t timeout, uptr_t sig)
{
    struct {
        u64 mask, size;
    } arg = {0, 0};
    u64 deadline_ns;
    int err = read_timeout(timeout, &deadline_ns);
    if (!err && sig && copy_from_user(&arg, sig, sizeof(arg)))
        err = -EFAULT;
    if (!err)
        err = signal_mask_enter(arg.mask, arg.size);
    if (err)
        return err;
    long done = get_events(id, min, n, events, deadline_ns);
    bool interrupted = thread_signal_pending();
    if (interrupted && !done)
        done = -ERESTARTNOHAND;
    signal_mask_leave(arg.mask, interrupted ? -EINTR : 0);
    return done;
}

// ---- the life of a context

// No request can begin any more, and every poll is cancelled. => false: it was dead already
static bool context_kill(struct context *ctx)
{
    spin_lock(&ctx->lock);
    bool first = !ctx->dead;
    atomic_store(&ctx->dead, true);
    while (!list_empty(&ctx->polls)) {
        struct poll_request *p = list_first(&ctx->polls, struct poll_request, link);
        list_remove_init(&p->link);
        atomic_store_seq(&p->cancelled, true);
        hand_over(p);
    }
    spin_unlock(&ctx->lock);
    if (first) {
        spin_lock(&limit.lock);
        limit.n -= ctx->n_asked;
        spin_unlock(&limit.lock);
        wait_wake(&ctx->wait, INT32_MAX, 0);
    }
    return first;
}

// The ring is mapped nowhere any more and nobody is in a call with it.
static void ring_release(struct vm_object *obj)
{
    struct context *ctx = container_of(obj, struct context, object);
    context_kill(ctx);
    context_put(ctx);
}

static void ring_describe(struct vm_object *obj, char *buf, size_t size, u64 *ino)
{
    snprintf(buf, size, "/[aio] (deleted)");
    *ino = 1;
}

static const struct vm_object_ops ring_ops = {.release = ring_release, .describe = ring_describe};

static bool is_ring(const struct vm_object *obj) { return obj->ops == &ring_ops; }

// => a context whose ring has its pages and header; NULL: no memory
static struct context *context_new(u32 n_asked, u32 n_places)
{
    u32 n_pages = (u32)DIV_ROUND_UP((n_places + 3) * sizeof(struct event), PAGE_SIZE);
    struct context *ctx = kzalloc(sizeof(*ctx) + n_pages * sizeof(ctx->pages[0]));
    if (!ctx)
        return NULL;
    vm_object_init(&ctx->object, &ring_ops, VMO_ANON, n_pages * PAGE_SIZE);
    list_init(&ctx->polls);
    wait_queue_init(&ctx->wait);
    mutex_init(&ctx->reading);
    ctx->refcount = 1;
    ctx->n_asked = n_asked;
    ctx->n_events = n_pages * EVENTS_PER_PAGE - 1;
    ctx->dead = true;  // until it counts against the limit
    for (u32 i = 0; i < n_pages; i++, ctx->n_pages++) {
        struct page *p = vm_object_get_page(&ctx->object, i, true);
        if (IS_ERR(p)) {
            vm_object_put(&ctx->object);
            return NULL;
        }
        ctx->pages[i] = p;
    }
    *ring_of(ctx) = (struct ring){.id = UINT32_MAX,
                                  .n_events = ctx->n_events,
                                  .magic = RING_MAGIC,
                                  .compat_features = 1,
                                  .header_bytes = sizeof(struct ring)};
    return ctx;
}

// => false: aio-max-nr is reached
static bool context_count(struct context *ctx)
{
    spin_lock(&limit.lock);
    bool fits = ctx->n_asked <= limit.max && limit.n <= limit.max - ctx->n_asked;
    if (fits) {
        limit.n += ctx->n_asked;
        ctx->dead = false;
    }
    spin_unlock(&limit.lock);
    return fits;
}

// => 0 and the ring's address in *id; -EINVAL, -EAGAIN (aio-max-nr), -ENOMEM, -EFAULT
long sys_io_setup(u32 n_asked, uptr_t id)
{
    u64 old;
    if (copy_from_user(&old, id, sizeof(old)))
        return -EFAULT;
    u32 n_places = MAX(n_asked, n_cpus * 4) * 2;  // the product may wrap, as it does on Linux
    if (old || !n_asked || n_places > MOST_EVENTS)
        return -EINVAL;
    if (!n_places || n_asked > limit.max)
        return -EAGAIN;
    struct context *ctx = context_new(n_asked, n_places);
    if (!ctx)
        return -ENOMEM;
    long at = -EAGAIN;
    size_t size = ctx->n_pages * PAGE_SIZE;
    if (context_count(ctx))
        at = mm_attach_object(current->mm, 0, size, PROT_READ | PROT_WRITE, true, false,
                              &ctx->object);
    context_done(ctx);
    if (at < 0)
        return at;
    sys_madvise((vaddr_t)at, size, MADV_DONTFORK);
    u64 name = (u64)at;
    if (copy_to_user(id, &name, sizeof(name))) {
        sys_io_destroy(name);
        return -EFAULT;
    }
    return 0;
}

// Cancels what can be cancelled and waits for the rest. => 0, -EINVAL
long sys_io_destroy(u64 id)
{
    struct waiter w;
    struct context *ctx = context_get(id);
    if (!ctx)
        return -EINVAL;
    if (!context_kill(ctx)) {
        context_done(ctx);
        return -EINVAL;
    }
    struct vm_object *mapped = mm_detach_object(current->mm, id, is_ring);
    if (mapped)
        vm_object_put(mapped);
    waiter_init(&w);
    wait_prepare(&ctx->wait, &w, WAIT_UNINTERRUPTIBLE);
    while (atomic_load(&ctx->in_flight)) {
        wait_sleep(&w, WAIT_UNINTERRUPTIBLE, NEVER);
        wait_prepare(&ctx->wait, &w, WAIT_UNINTERRUPTIBLE);
    }
    wait_finish(&ctx->wait, &w);
    context_done(ctx);
    return 0;
}

// ---- /proc/sys/fs

static ssize_t write_max(u64 arg, const char *data, size_t len)
{
    u64 value;
    if (!parse_u64(data, &value))
        return -EINVAL;
    limit.max = value;
    return (ssize_t)len;
}

static const struct gen_ops nr_ops = {.show = show_u64},
                            max_ops = {.show = show_u64, .write = write_max};

const struct gen_entry aio_sysctl_entries[] = {
    GEN_FILE_ARG("aio-max-nr", 0644, &max_ops, &limit.max),
    GEN_FILE_ARG("aio-nr", 0444, &nr_ops, &limit.n),
    GEN_END,
};
