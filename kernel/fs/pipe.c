// SPDX-License-Identifier: BSD-2-Clause
// pipe.c: pipes and FIFOs (pipe(7), fifo(7)).
//
//            tail                head
//              v                   v
//     [ ][ ][page 300..900][page 0..120][ ][ ] ...      n_slots, 16 at first
//
// A ring of slots, each a piece of a page. A write of at most PIPE_BUF (a page) is appended to the last
// slot if it fits there whole, else it gets a slot of its own, so it is never cut or mixed with another:
// that is all that its atomicity takes. splice moves slots between pipes and shares their pages (tee).
//
// Sleeping readers and writers are exclusive: one wake-up wakes one of them, and whoever leaves with
// something left over wakes the next. The mutex is given up before sleeping; the condition is tested
// again between queueing and sleeping, so no wake-up is lost.
#include "fs/pipe_internal.h"

#define PIPE_SLOTS 16
#define PIPE_MAX_BYTES (1u << 20)  // /proc/sys/fs/pipe-max-size
#define PIPE_ALL_EVENTS (POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP)

#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032

u32 pipe_max_bytes = PIPE_MAX_BYTES;  // set through /proc/sys/fs/pipe-max-size

static const struct file_ops pipe_ops;

// ---- slots and pages

struct page *pipe_page_get(struct pipe *p)
{
    for (int i = 0; i < 2; i++) {
        struct page *page = p->spare[i];
        if (page) {
            p->spare[i] = NULL;
            return page;
        }
    }
    return page_alloc(0, PAGE_USER);
}

void pipe_page_put(struct pipe *p, struct page *page)
{
    if (atomic_load_relaxed(&page->refcount) == 1) {
        for (int i = 0; i < 2; i++) {
            if (!p->spare[i]) {
                p->spare[i] = page;
                return;
            }
        }
    }
    page_put(page);
}

void pipe_push(struct pipe *p, struct page *page, u32 offset, u32 len, u32 flags)
{
    p->bufs[p->head & (p->n_slots - 1)] =
        (struct pipe_buf){.page = page, .offset = offset, .len = len, .flags = flags};
    atomic_store(&p->head, p->head + 1);
}

static inline void pop_slot(struct pipe *p, struct pipe_buf *buf)
{
    // Only a page that was the pipe's own from the start is kept: others belong to files.
    struct page *page = buf->page;
    if (likely(!p->spare[0] && (buf->flags & PIPE_BUF_MERGE) &&
               atomic_load_relaxed(&page->refcount) == 1))
        p->spare[0] = page;
    else if (buf->flags & PIPE_BUF_MERGE)
        pipe_page_put(p, page);
    else
        page_put(page);
    buf->page = NULL;
    atomic_store(&p->tail, p->tail + 1);
}

void pipe_pop(struct pipe *p) { pop_slot(p, pipe_first(p)); }

static struct pipe *pipe_create(void)
{
    struct pipe *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->n_slots = PIPE_SLOTS;
    p->bufs = kzalloc(PIPE_SLOTS * sizeof(struct pipe_buf));
    if (!p->bufs) {
        kfree(p);
        return NULL;
    }
    mutex_init(&p->mutex);
    wait_queue_init(&p->read_wait);
    wait_queue_init(&p->write_wait);
    async_queue_init(&p->async);
    return p;
}

static void pipe_destroy(struct pipe *p)
{
    while (!pipe_empty(p))
        pipe_pop(p);
    for (int i = 0; i < 2; i++) {
        if (p->spare[i])
            page_put(p->spare[i]);
    }
    kfree(p->bufs);
    kfree(p);
}

// ---- waiting

void pipe_wake_readers(struct pipe *p)
{
    if (wait_has_waiters(&p->read_wait))
        wait_wake(&p->read_wait, 1, POLLIN | POLLRDNORM);
    async_notify(&p->async, POLLIN | POLLRDNORM);
}

void pipe_wake_writers(struct pipe *p)
{
    if (wait_has_waiters(&p->write_wait))
        wait_wake(&p->write_wait, 1, POLLOUT | POLLWRNORM);
    async_notify(&p->async, POLLOUT | POLLWRNORM);
}

static bool readable_or_ended(struct pipe *p)
{
    return !pipe_empty(p) || !atomic_load(&p->writers);
}
static bool writable_or_ended(struct pipe *p) { return !pipe_full(p) || !atomic_load(&p->readers); }

static int pipe_wait(struct pipe *p, struct wait_queue *q, bool (*ready)(struct pipe *))
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    w.exclusive = true;
    mutex_unlock(&p->mutex);
    for (;;) {
        wait_prepare(q, &w, WAIT_INTERRUPTIBLE);
        if (ready(p))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err || ready(p))
            break;
    }
    wait_finish(q, &w);
    // A wake-up that came with the signal was meant for somebody: pass it on.
    if (err && ready(p) && wait_has_waiters(q))
        wait_wake(q, 1, 0);
    mutex_lock(&p->mutex);
    return err;
}

int pipe_wait_readable(struct pipe *p) { return pipe_wait(p, &p->read_wait, readable_or_ended); }
int pipe_wait_writable(struct pipe *p) { return pipe_wait(p, &p->write_wait, writable_or_ended); }

void pipe_raise_sigpipe(void)
{
    struct siginfo info = {.signo = SIGPIPE, .code = SI_USER};
    info.rt.pid = current->process->pid;
    info.rt.uid = current->process->uid;
    signal_send_thread(current, &info);
}

// ---- read and write

// Takes bytes from the first slot. => bytes or -EFAULT; *done when the read is complete.
static ssize_t take_slot(struct pipe *p, struct uio *to, bool *done)
{
    struct pipe_buf *buf = pipe_first(p);
    size_t want = MIN((size_t)buf->len, uio_remaining(to));
    ssize_t n = uio_copy_to(to, (char *)page_address(buf->page) + buf->offset, want);
    if (n < 0)
        return n;
    buf->offset += (u32)n;
    buf->len -= (u32)n;
    if (buf->flags & PIPE_BUF_PACKET) {
        buf->len = 0;  // what did not fit is lost, as with datagrams
        *done = true;
    }
    if (buf->len == 0)
        pop_slot(p, buf);
    return n;
}

static ssize_t pipe_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct pipe *p = f->data;
    ssize_t total = 0;
    bool done = false, wake_writers = false, waited = false;
    if (uio_remaining(to) == 0)
        return 0;
    mutex_lock_quick(&p->mutex);
    while (!done && uio_remaining(to)) {
        if (!pipe_empty(p)) {
            bool was_full = pipe_full(p);
            ssize_t n = take_slot(p, to, &done);
            if (n < 0) {
                total = total ? total : n;
                break;
            }
            total += n;
            wake_writers |= was_full && !pipe_full(p);
            continue;
        }
        if (total || !p->writers)
            break;
        if ((f->flags & O_NONBLOCK) || (to->flags & RWF_NOWAIT)) {
            total = -EAGAIN;
            break;
        }
        waited = true;
        int err = pipe_wait_readable(p);
        if (err) {
            total = err;
            break;
        }
    }
    bool more = waited && !pipe_empty(p);  // the wake-up was this reader's: hand it on
    mutex_unlock_quick(&p->mutex);
    if (wake_writers)
        pipe_wake_writers(p);
    if (more)
        pipe_wake_readers(p);
    return total;
}

// A small read that the first slot holds whole, from a pipe in which no writer waits for room.
static ssize_t pipe_read_user(struct file *f, uptr_t to, size_t len)
{
    struct pipe *p = f->data;
    bool done = false;
    if (pipe_empty(p))
        return read_by_uio(f, to, len);
    mutex_lock_quick(&p->mutex);
    if (likely(!pipe_empty(p) && !pipe_full(p))) {
        struct pipe_buf *buf = pipe_first(p);
        if (likely(len && buf->len >= len && !(buf->flags & PIPE_BUF_PACKET)) &&
            likely(!copy_to_user(to, (char *)page_address(buf->page) + buf->offset, len))) {
            buf->offset += (u32)len;
            buf->len -= (u32)len;
            if (buf->len == 0)
                pop_slot(p, buf);
            done = true;
        }
    }
    mutex_unlock_quick(&p->mutex);
    return likely(done) ? (ssize_t)len : read_by_uio(f, to, len);
}

// Appends to the last slot if all of the odd bytes fit there. => bytes, 0 if not, -EFAULT
static ssize_t append_to_last(struct pipe *p, struct uio *from)
{
    size_t odd = uio_remaining(from) & (PAGE_SIZE - 1);
    if (odd == 0 || pipe_empty(p))
        return 0;
    struct pipe_buf *buf = &p->bufs[(p->head - 1) & (p->n_slots - 1)];
    if (!(buf->flags & PIPE_BUF_MERGE) || (buf->flags & PIPE_BUF_PACKET) ||
        buf->offset + buf->len + odd > PAGE_SIZE)
        return 0;
    ssize_t n = uio_copy_from(from, (char *)page_address(buf->page) + buf->offset + buf->len, odd);
    if (n != (ssize_t)odd)
        return -EFAULT;
    buf->len += (u32)n;
    return n;
}

// As on Linux, a page that cannot be filled as far as it was to be is not sent.
static ssize_t fill_slot(struct pipe *p, struct uio *from, u32 flags)
{
    size_t wanted = MIN(PAGE_SIZE, uio_remaining(from));
    struct page *page = pipe_page_get(p);
    if (!page)
        return -ENOMEM;
    if (uio_copy_from(from, page_address(page), wanted) != (ssize_t)wanted) {
        pipe_page_put(p, page);
        return -EFAULT;
    }
    pipe_push(p, page, 0, (u32)wanted, flags);
    return (ssize_t)wanted;
}

static ssize_t pipe_write(struct file *f, struct uio *from, loff_t *pos)
{
    struct pipe *p = f->data;
    ssize_t total = 0;
    int err = 0;
    bool waited = false;
    u32 flags = PIPE_BUF_MERGE | (f->flags & O_DIRECT ? PIPE_BUF_PACKET : 0);
    if (uio_remaining(from) == 0)
        return 0;
    mutex_lock_quick(&p->mutex);
    if (p->readers && !(flags & PIPE_BUF_PACKET)) {
        total = append_to_last(p, from);
        if (total < 0) {
            err = (int)total;
            total = 0;
        }
    }
    while (!err && uio_remaining(from)) {
        if (!p->readers) {
            err = -EPIPE;
        } else if (!pipe_full(p)) {
            ssize_t n = fill_slot(p, from, flags);
            if (n < 0)
                err = (int)n;
            else
                total += n;
        } else if ((f->flags & O_NONBLOCK) || (from->flags & RWF_NOWAIT)) {
            err = -EAGAIN;
        } else {
            waited = true;
            pipe_wake_readers(p);
            err = pipe_wait_writable(p);
        }
    }
    bool room = waited && !pipe_full(p);
    mutex_unlock_quick(&p->mutex);
    if (total)
        pipe_wake_readers(p);
    if (room)
        pipe_wake_writers(p);
    if (err == -EPIPE && !total)
        pipe_raise_sigpipe();
    return total ? total : err;
}

// A write of less than a page to an empty pipe.
static ssize_t pipe_write_user(struct file *f, uptr_t from, size_t len)
{
    struct pipe *p = f->data;
    bool done = false;
    mutex_lock_quick(&p->mutex);
    if (likely(pipe_empty(p) && p->readers && p->spare[0] && len - 1 < PAGE_SIZE - 1 &&
               !(f->flags & O_DIRECT)) &&
        likely(!copy_from_user(page_address(p->spare[0]), from, len))) {
        pipe_push(p, p->spare[0], 0, (u32)len, PIPE_BUF_MERGE);
        p->spare[0] = NULL;
        done = true;
    }
    mutex_unlock_quick(&p->mutex);
    if (unlikely(!done))
        return write_by_uio(f, from, len);
    pipe_wake_readers(p);
    return (ssize_t)len;
}

// ---- the other operations

static u32 pipe_poll(struct file *f, struct poll_table *pt)
{
    struct pipe *p = f->data;
    u32 events = 0;
    if (f->fmode & FMODE_READ)
        poll_wait(pt, f, &p->read_wait);
    if (f->fmode & FMODE_WRITE)
        poll_wait(pt, f, &p->write_wait);
    if (f->fmode & FMODE_READ) {
        if (!pipe_empty(p))
            events |= POLLIN | POLLRDNORM;
        // A FIFO's first reader has not been hung up on: f->pos is the number of writers then.
        if (!atomic_load(&p->writers) && f->pos != (loff_t)p->writer_opens)
            events |= POLLHUP;
    }
    if (f->fmode & FMODE_WRITE) {
        if (!pipe_full(p))
            events |= POLLOUT | POLLWRNORM;
        if (!atomic_load(&p->readers))
            events |= POLLERR;
    }
    return events;
}

static __cold long pipe_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct pipe *p = f->data;
    u32 bytes = 0;
    if (cmd != FIONREAD)
        return -ENOTTY;
    mutex_lock(&p->mutex);
    for (u32 i = p->tail; i != p->head; i++)
        bytes += p->bufs[i & (p->n_slots - 1)].len;
    mutex_unlock(&p->mutex);
    return put_user_u32(arg, bytes);
}

static long pipe_set_size(struct pipe *p, unsigned long bytes)
{
    if (bytes > BIT(31))
        return -EINVAL;
    u32 slots = 1;
    while ((u64)slots * PAGE_SIZE < bytes)
        slots *= 2;
    if (bytes == 0)
        return -EINVAL;
    if (slots > p->n_slots && slots * PAGE_SIZE > pipe_max_bytes && !capable(CAP_SYS_RESOURCE))
        return -EPERM;
    if (slots < pipe_used(p))
        return -EBUSY;
    struct pipe_buf *bufs = kzalloc(slots * sizeof(*bufs));
    if (!bufs)
        return -ENOMEM;
    u32 used = pipe_used(p);
    for (u32 i = 0; i < used; i++)
        bufs[i] = p->bufs[(p->tail + i) & (p->n_slots - 1)];
    kfree(p->bufs);
    p->bufs = bufs;
    p->tail = 0;
    p->head = used;
    p->n_slots = slots;
    return (long)(slots * PAGE_SIZE);
}

static __cold long pipe_fcntl(struct file *f, unsigned cmd, unsigned long arg)
{
    struct pipe *p = f->data;
    long result;
    mutex_lock(&p->mutex);
    if (cmd == F_SETPIPE_SZ)
        result = pipe_set_size(p, arg);
    else if (cmd == F_GETPIPE_SZ)
        result = (long)(p->n_slots * PAGE_SIZE);
    else
        result = -EINVAL;
    bool room = !pipe_full(p);
    mutex_unlock(&p->mutex);
    if (cmd == F_SETPIPE_SZ && room)
        pipe_wake_writers(p);
    return result;
}

// Counts an end in. => holds the mutex
static void pipe_attach(struct pipe *p, struct file *f)
{
    f->data = p;
    p->n_files++;
    if (f->fmode & FMODE_READ) {
        p->readers++;
        p->reader_opens++;
    }
    if (f->fmode & FMODE_WRITE) {
        p->writers++;
        p->writer_opens++;
    }
    f->pos = f->fmode & FMODE_READ && p->writers == 0 ? (loff_t)p->writer_opens : -1;
}

static void pipe_detach(struct pipe *p, struct file *f)
{
    struct mutex *guard = f->inode ? &f->inode->lock : NULL;  // of inode->special.pipe
    if (guard)
        mutex_lock(guard);
    mutex_lock(&p->mutex);
    if (f->fmode & FMODE_READ)
        p->readers--;
    if (f->fmode & FMODE_WRITE)
        p->writers--;
    bool last = --p->n_files == 0;
    bool half_open = !p->readers != !p->writers;
    mutex_unlock(&p->mutex);
    if (last && guard)
        f->inode->special.pipe = NULL;
    if (guard)
        mutex_unlock(guard);
    if (last) {
        pipe_destroy(p);
    } else if (half_open) {
        wait_wake(&p->read_wait, INT32_MAX, PIPE_ALL_EVENTS);
        wait_wake(&p->write_wait, INT32_MAX, PIPE_ALL_EVENTS);
        async_notify(&p->async, POLLIN);
        async_notify(&p->async, POLLOUT);
    }
}

static struct async_queue *pipe_async(struct file *f) { return &((struct pipe *)f->data)->async; }

static void pipe_release(struct file *f) { pipe_detach(f->data, f); }

// A second open of an end through /proc/PID/fd/N: another file on the same pipe.
static struct file *pipe_reopen(struct file *f, unsigned flags)
{
    struct pipe *p = f->data;
    struct file *again = file_alloc(&pipe_ops, flags, p);
    if (IS_ERR(again))
        return again;
    file_set_stream(again);
    again->ino = f->ino;
    mutex_lock(&p->mutex);
    pipe_attach(p, again);
    mutex_unlock(&p->mutex);
    return again;
}

static const struct file_ops pipe_ops = {
    .name = "pipe",
    .type = S_IFIFO,
    .reopen = pipe_reopen,
    .read = pipe_read,
    .write = pipe_write,
    .read_user = pipe_read_user,
    .write_user = pipe_write_user,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .fcntl = pipe_fcntl,
    .async = pipe_async,
    .release = pipe_release,
};

struct pipe *pipe_of(const struct file *f)
{
    return f->ops == &pipe_ops || f->ops == &fifo_file_ops ? f->data : NULL;
}

// ---- pipe2(2)

static int pipe_files(struct file *ends[2], unsigned flags)
{
    struct pipe *p = pipe_create();
    if (!p)
        return -ENOMEM;
    ends[0] = file_alloc(&pipe_ops, O_RDONLY | (flags & ~O_DIRECT), p);
    if (IS_ERR(ends[0])) {
        pipe_destroy(p);
        return (int)PTR_ERR(ends[0]);
    }
    file_set_stream(ends[0]);
    pipe_attach(p, ends[0]);
    ends[0]->pos = -1;  // its writer is about to be there
    ends[1] = file_alloc(&pipe_ops, O_WRONLY | flags, p);
    if (IS_ERR(ends[1])) {
        file_put(ends[0]);
        return (int)PTR_ERR(ends[1]);
    }
    file_set_stream(ends[1]);
    ends[1]->ino = ends[0]->ino;
    pipe_attach(p, ends[1]);
    return 0;
}

long sys_pipe2(uptr_t fds, unsigned flags)
{
    struct file *ends[2] = {NULL, NULL};
    s32 numbers[2];
    if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    int err = pipe_files(ends, flags);
    if (err)
        return err;
    numbers[0] = fd_alloc(flags);
    if (numbers[0] < 0) {
        err = numbers[0];
        goto no_first;
    }
    numbers[1] = fd_alloc(flags);
    if (numbers[1] < 0) {
        err = numbers[1];
        goto no_second;
    }
    if (copy_to_user(fds, numbers, sizeof(numbers))) {
        err = -EFAULT;
        fd_cancel(numbers[1]);
        goto no_second;
    }
    fd_install(numbers[0], ends[0]);
    fd_install(numbers[1], ends[1]);
    return 0;
no_second:
    fd_cancel(numbers[0]);
no_first:
    file_put(ends[0]);
    file_put(ends[1]);
    return err;
}

long sys_pipe(uptr_t fds) { return sys_pipe2(fds, 0); }

// ---- FIFOs

static int fifo_wait_partner(struct pipe *p, u32 *opens, u32 before)
{
    struct wait_queue *q = opens == &p->writer_opens ? &p->read_wait : &p->write_wait;
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(q, &w, WAIT_INTERRUPTIBLE);
        if (atomic_load(opens) != before)
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(q, &w);
    return err;
}

// fifo(7): each side waits for the other, unless it is O_NONBLOCK (a writer then fails) or O_RDWR.
static int fifo_open(struct inode *inode, struct file *f)
{
    mutex_lock(&inode->lock);
    struct pipe *p = inode->special.pipe;
    if (!p)
        p = inode->special.pipe = pipe_create();
    if (!p) {
        mutex_unlock(&inode->lock);
        return -ENOMEM;
    }
    unsigned mode = f->fmode & (FMODE_READ | FMODE_WRITE);
    mutex_lock(&p->mutex);
    if (mode == FMODE_WRITE && (f->flags & O_NONBLOCK) && !p->readers) {
        bool unused = p->n_files == 0;
        mutex_unlock(&p->mutex);
        if (unused) {
            inode->special.pipe = NULL;
            pipe_destroy(p);
        }
        mutex_unlock(&inode->lock);
        return -ENXIO;
    }
    pipe_attach(p, f);
    file_set_stream(f);
    u32 before_writers = p->writer_opens, before_readers = p->reader_opens;
    bool alone = mode == FMODE_READ ? !p->writers : !p->readers;
    mutex_unlock(&p->mutex);
    mutex_unlock(&inode->lock);
    wait_wake(&p->read_wait, INT32_MAX, 0);
    wait_wake(&p->write_wait, INT32_MAX, 0);
    if (!alone || (f->flags & O_NONBLOCK))
        return 0;
    int err = mode == FMODE_READ ? fifo_wait_partner(p, &p->writer_opens, before_writers)
                                 : fifo_wait_partner(p, &p->reader_opens, before_readers);
    if (err)
        pipe_detach(p, f);
    else
        f->pos = -1;  // it has had a writer: the end of the last one is a hang-up
    return err;
}

const struct file_ops fifo_file_ops = {
    .name = "fifo",
    .type = S_IFIFO,
    .open = fifo_open,
    .read = pipe_read,
    .write = pipe_write,
    .read_user = pipe_read_user,
    .write_user = pipe_write_user,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .fcntl = pipe_fcntl,
    .async = pipe_async,
    .release = pipe_release,
};
