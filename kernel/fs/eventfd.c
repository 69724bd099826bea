// SPDX-License-Identifier: BSD-2-Clause
// eventfd.c: eventfd(2), a 64-bit counter as a file: write adds, read takes (all, or one by one in
// semaphore mode). A write always wakes, even when the counter was not zero, so that edge-triggered
// watches see each one.
#include "fs/special_internal.h"

#define EFD_SEMAPHORE 1u

struct eventfd {
    struct spinlock lock;
    bool semaphore;
    u64 count;               // [lock] at most COUNT_MAX
    struct wait_queue wait;  // readers, writers and pollers
};

#define COUNT_MAX (UINT64_MAX - 1)  // the largest value a write may reach

static __always_inline bool eventfd_take(struct eventfd *e, u64 *value)
{
    spin_lock(&e->lock);
    bool got = e->count != 0;
    if (got) {
        *value = e->semaphore ? 1 : e->count;
        e->count -= *value;
    }
    spin_unlock(&e->lock);
    return got;
}

static __always_inline bool eventfd_add(struct eventfd *e, u64 value)
{
    spin_lock(&e->lock);
    bool fits = value <= COUNT_MAX - e->count;
    if (fits)
        e->count += value;
    spin_unlock(&e->lock);
    return fits;
}

// Sleeps until the counter can be taken from (value NULL: asks nothing) or added to.
static __noinline int eventfd_wait(struct eventfd *e, u64 *take, u64 add)
{
    struct waiter w;
    int err;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&e->wait, &w, WAIT_INTERRUPTIBLE);
        if (take ? eventfd_take(e, take) : eventfd_add(e, add)) {
            err = 0;
            break;
        }
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(&e->wait, &w);
    return err;
}

// Takes the counter, sleeping for it if need be, and wakes writers. => 0, -EAGAIN, -ERESTARTSYS
static __always_inline int eventfd_get(struct file *f, u64 *value)
{
    struct eventfd *e = f->data;
    if (unlikely(!eventfd_take(e, value))) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = eventfd_wait(e, value, 0);
        if (err)
            return err;
    }
    if (unlikely(wait_has_waiters(&e->wait)))
        wait_wake(&e->wait, 1, POLLOUT | POLLWRNORM);
    return 0;
}

// Adds to the counter, sleeping for room if need be, and wakes readers. => 0, -EINVAL, -EAGAIN, -ERESTARTSYS
static __always_inline int eventfd_put(struct file *f, u64 value)
{
    struct eventfd *e = f->data;
    if (unlikely(value == UINT64_MAX))
        return -EINVAL;
    if (unlikely(!eventfd_add(e, value))) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = eventfd_wait(e, NULL, value);
        if (err)
            return err;
    }
    if (unlikely(wait_has_waiters(&e->wait)))
        wait_wake(&e->wait, 1, POLLIN | POLLRDNORM);
    return 0;
}

static __cold ssize_t eventfd_read(struct file *f, struct uio *to, loff_t *pos)
{
    u64 value;
    if (uio_remaining(to) < sizeof(value))
        return -EINVAL;
    int err = eventfd_get(f, &value);
    return err ? err : uio_copy_to(to, &value, sizeof(value));
}

// Each piece of a vector is a write of its own.
static __cold ssize_t eventfd_write(struct file *f, struct uio *from, loff_t *pos)
{
    ssize_t done = 0;
    do {
        u64 value;
        ssize_t n =
            from->len == sizeof(value) ? uio_copy_from(from, &value, sizeof(value)) : -EINVAL;
        if (n >= 0)
            n = n < (ssize_t)sizeof(value) ? -EFAULT : eventfd_put(f, value);
        if (n < 0)
            return done ? done : n;
        done += sizeof(value);
    } while (uio_remaining(from));
    return done;
}

static ssize_t eventfd_read_user(struct file *f, uptr_t to, size_t len)
{
    u64 value;
    if (unlikely(len < sizeof(value)))
        return -EINVAL;
    int err = eventfd_get(f, &value);
    return err ? err : put_user_bytes8(to, value) ? -EFAULT : (ssize_t)sizeof(value);
}

static ssize_t eventfd_write_user(struct file *f, uptr_t from, size_t len)
{
    u64 value;
    if (unlikely(len != sizeof(value)))
        return -EINVAL;
    if (unlikely(get_user_bytes8(&value, from)))
        return -EFAULT;
    int err = eventfd_put(f, value);
    return err ? err : (ssize_t)sizeof(value);
}

static u32 eventfd_poll(struct file *f, struct poll_table *pt)
{
    struct eventfd *e = f->data;
    poll_wait(pt, f, &e->wait);
    u64 count = atomic_load(&e->count);
    u32 events = 0;
    if (count > 0)
        events |= POLLIN | POLLRDNORM;
    if (count < COUNT_MAX)
        events |= POLLOUT | POLLWRNORM;
    return events;
}

static void eventfd_show(struct file *f, struct seq_buf *out)
{
    struct eventfd *e = f->data;
    seq_printf(out, "eventfd-count: %16llx\neventfd-semaphore: %d\n",
               (unsigned long long)atomic_load(&e->count), e->semaphore);
}

static void eventfd_release(struct file *f) { kfree(f->data); }

static const struct file_ops eventfd_ops = {
    .name = "anon_inode:[eventfd]",
    .read = eventfd_read,
    .write = eventfd_write,
    .read_user = eventfd_read_user,
    .write_user = eventfd_write_user,
    .poll = eventfd_poll,
    .show_fdinfo = eventfd_show,
    .release = eventfd_release,
};

struct file *eventfd_get_file(int fd)
{
    struct file *f = fd_get_file(fd);
    if (!f)
        return ERR_PTR(-EBADF);
    if (f->ops == &eventfd_ops)
        return f;
    file_put(f);
    return ERR_PTR(-EINVAL);
}

void eventfd_signal(struct file *f)
{
    struct eventfd *e = f->data;
    eventfd_add(e, 1);
    if (wait_has_waiters(&e->wait))
        wait_wake(&e->wait, 1, POLLIN | POLLRDNORM);
}

long sys_eventfd2(unsigned initial, unsigned flags)
{
    if (flags & ~(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE))
        return -EINVAL;
    struct eventfd *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    wait_queue_init(&e->wait);
    e->count = initial;
    e->semaphore = flags & EFD_SEMAPHORE;
    return anon_fd(&eventfd_ops, e, O_RDWR | (flags & (O_CLOEXEC | O_NONBLOCK)));
}

long sys_eventfd(unsigned initial) { return sys_eventfd2(initial, 0); }
