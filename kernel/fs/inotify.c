// SPDX-License-Identifier: BSD-2-Clause
// inotify.c: inotify(7).
//
//     struct inotify --- watches ---> struct watch <--- inode->watches (struct watch_list)
//           |                             wd, mask
//           +-- events (queue, read by the program)
//
// The VFS calls inotify_event only for an inode that has watches, so files that nobody watches pay one
// test of a pointer. One mutex guards all links between inodes and watches: events are rare.
#include "fs/special_internal.h"

#define IN_Q_OVERFLOW 0x4000u
#define IN_IGNORED 0x8000u
#define IN_ONLYDIR 0x01000000u
#define IN_DONT_FOLLOW 0x02000000u
#define IN_EXCL_UNLINK 0x04000000u
#define IN_MASK_CREATE 0x10000000u
#define IN_MASK_ADD 0x20000000u
#define IN_ONESHOT 0x80000000u
#define IN_ALL_EVENTS 0xfffu
#define IN_KNOWN                                                                                  \
    (IN_ALL_EVENTS | IN_UNMOUNT | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | \
     IN_MASK_ADD | IN_ONESHOT)

#define MAX_QUEUED 16384u  // /proc/sys/fs/inotify/max_queued_events of Linux

struct inotify {
    struct spinlock lock;
    struct list events;   // [lock]
    u32 n_events;         // [lock]
    struct list watches;  // [watch_mutex]
    s32 last_wd;          // [watch_mutex]
    struct wait_queue wait;
};

struct watch {
    s32 wd;
    u32 mask;
    struct inotify *owner;
    struct inode *inode;
    struct list owner_link, inode_link;  // [watch_mutex]
};

struct watch_list {  // behind inode->watches
    struct list head;
};

struct event_header {  // user ABI: struct inotify_event
    s32 wd;
    u32 mask, cookie, len;
};

struct event {
    struct list link;
    struct event_header header;
    char name[];
};

static struct mutex watch_mutex = MUTEX_INIT(watch_mutex);

// ---- the queue

static bool same_event(const struct event *a, const struct event_header *b, const char *name)
{
    return a->header.wd == b->wd && a->header.mask == b->mask && a->header.cookie == b->cookie &&
           a->header.len == b->len && (!b->len || strcmp(a->name, name) == 0);
}

static struct event *event_new(const struct event_header *h, const char *name)
{
    struct event *e = kzalloc(sizeof(*e) + h->len);
    if (!e)
        return NULL;
    e->header = *h;
    if (h->len)
        memcpy(e->name, name, strlen(name));
    return e;
}

// Adds an event, unless it repeats the last one that has not been read.
static void queue_event(struct inotify *in, s32 wd, u32 mask, u32 cookie, const char *name)
{
    struct event_header h = {.wd = wd, .mask = mask, .cookie = cookie};
    if (name)
        h.len = (u32)ALIGN_UP(strlen(name) + 1, sizeof(struct event_header));
    struct event *e = event_new(&h, name);
    spin_lock(&in->lock);
    bool repeated = !list_empty(&in->events) &&
                    same_event(list_entry(in->events.prev, struct event, link), &h, name);
    if (e && !repeated && in->n_events <= MAX_QUEUED) {
        if (in->n_events == MAX_QUEUED)
            e->header = (struct event_header){.wd = -1, .mask = IN_Q_OVERFLOW};
        list_push_back(&in->events, &e->link);
        in->n_events++;
        e = NULL;
    }
    spin_unlock(&in->lock);
    kfree(e);
    if (wait_has_waiters(&in->wait))
        wait_wake(&in->wait, 1, POLLIN | POLLRDNORM);
}

// ---- watches, watch_mutex held

static struct watch_list *list_of(struct inode *inode) { return inode->watches; }

static void watch_end(struct watch *w, bool tell)
{
    struct watch_list *l = list_of(w->inode);
    list_remove(&w->owner_link);
    list_remove(&w->inode_link);
    if (list_empty(&l->head)) {
        w->inode->watches = NULL;
        kfree(l);
    }
    if (tell)
        queue_event(w->owner, w->wd, IN_IGNORED, 0, NULL);
    kfree(w);
}

static struct watch *find_by_inode(struct inotify *in, struct inode *inode)
{
    if (!inode->watches)
        return NULL;
    list_for_each_entry (struct watch, w, &list_of(inode)->head, inode_link) {
        if (w->owner == in)
            return w;
    }
    return NULL;
}

static struct watch *find_by_wd(struct inotify *in, s32 wd)
{
    list_for_each_entry (struct watch, w, &in->watches, owner_link) {
        if (w->wd == wd)
            return w;
    }
    return NULL;
}

static struct watch *watch_new(struct inotify *in, struct inode *inode, u32 mask)
{
    struct watch *w = kzalloc(sizeof(*w));
    if (!w)
        return NULL;
    if (!inode->watches) {
        struct watch_list *l = kmalloc(sizeof(*l));
        if (!l) {
            kfree(w);
            return NULL;
        }
        list_init(&l->head);
        inode->watches = l;
    }
    w->wd = ++in->last_wd;
    w->mask = mask;
    w->owner = in;
    w->inode = inode;
    list_push_back(&in->watches, &w->owner_link);
    list_push_back(&list_of(inode)->head, &w->inode_link);
    return w;
}

// ---- what the VFS calls

void inotify_event(struct inode *inode, u32 mask, u32 cookie, const char *name)
{
    mutex_lock(&watch_mutex);
    if (inode->watches) {
        list_for_each_safe (link, &list_of(inode)->head) {
            struct watch *w = list_entry(link, struct watch, inode_link);
            bool last = link_next == &list_of(inode)->head;
            // What happens to a file by its descriptor after its name is gone.
            bool unwanted = (w->mask & IN_EXCL_UNLINK) && (mask & IN_NO_NAME) &&
                            !(mask & (IN_DELETE | IN_MOVED_FROM));
            if ((w->mask & mask & (IN_ALL_EVENTS | IN_UNMOUNT)) && !unwanted) {
                queue_event(w->owner, w->wd, mask & ~(u32)IN_NO_NAME, cookie, name);
                if (w->mask & IN_ONESHOT)
                    watch_end(w, true);
            }
            if (last)
                break;  // the list itself may be gone
        }
    }
    mutex_unlock(&watch_mutex);
}

void inotify_inode_gone(struct inode *inode)
{
    mutex_lock(&watch_mutex);
    while (inode->watches) {
        struct watch *w = list_first(&list_of(inode)->head, struct watch, inode_link);
        if (inode->sb->flags & SB_DETACHED)
            queue_event(w->owner, w->wd, IN_UNMOUNT | (S_ISDIR(inode->mode) ? IN_ISDIR : 0), 0,
                        NULL);
        watch_end(w, true);
    }
    mutex_unlock(&watch_mutex);
}

// ---- the file

static int wait_for_event(struct inotify *in)
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&in->wait, &w, WAIT_INTERRUPTIBLE);
        if (!list_empty(&in->events))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(&in->wait, &w);
    return err;
}

// The first event if it fits in room bytes, taken off. NULL: none, or too large (*too_large)
static struct event *take_event(struct inotify *in, size_t room, bool *too_large)
{
    struct event *e = NULL;
    spin_lock(&in->lock);
    if (!list_empty(&in->events)) {
        e = list_first(&in->events, struct event, link);
        *too_large = sizeof(e->header) + e->header.len > room;
        if (*too_large) {
            e = NULL;
        } else {
            list_remove(&e->link);
            in->n_events--;
        }
    }
    spin_unlock(&in->lock);
    return e;
}

static ssize_t inotify_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct inotify *in = f->data;
    ssize_t total = 0;
    for (;;) {
        bool too_large = false;
        struct event *e = take_event(in, uio_remaining(to), &too_large);
        if (e) {
            size_t len = sizeof(e->header) + e->header.len;
            ssize_t n = uio_copy_to(to, &e->header, len);
            kfree(e);
            if (n < (ssize_t)len)
                return total ? total : -EFAULT;
            total += n;
            continue;
        }
        if (total)
            return total;
        if (too_large)
            return -EINVAL;
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_for_event(in);
        if (err)
            return err;
    }
}

static u32 inotify_poll(struct file *f, struct poll_table *pt)
{
    struct inotify *in = f->data;
    poll_wait(pt, f, &in->wait);
    return list_empty(&in->events) ? 0 : POLLIN | POLLRDNORM;
}

static long inotify_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct inotify *in = f->data;
    u32 bytes = 0;
    if (cmd != FIONREAD)
        return -ENOTTY;
    spin_lock(&in->lock);
    list_for_each_entry (struct event, e, &in->events, link)
        bytes += (u32)sizeof(e->header) + e->header.len;
    spin_unlock(&in->lock);
    return put_user_u32(arg, bytes);
}

static void inotify_show(struct file *f, struct seq_buf *out)
{
    struct inotify *in = f->data;
    mutex_lock(&watch_mutex);
    list_for_each_entry (struct watch, w, &in->watches, owner_link) {
        seq_printf(out, "inotify wd:%x ino:%llx sdev:%x mask:%x ignored_mask:0\n", (u32)w->wd,
                   (unsigned long long)w->inode->ino, w->inode->sb ? w->inode->sb->dev : 0,
                   w->mask & IN_ALL_EVENTS);
    }
    mutex_unlock(&watch_mutex);
}

static void inotify_release(struct file *f)
{
    struct inotify *in = f->data;
    mutex_lock(&watch_mutex);
    while (!list_empty(&in->watches))
        watch_end(list_first(&in->watches, struct watch, owner_link), false);
    mutex_unlock(&watch_mutex);
    struct list *link;
    while ((link = list_pop_front(&in->events)))
        kfree(list_entry(link, struct event, link));
    kfree(in);
}

static const struct file_ops inotify_ops = {
    .name = "anon_inode:inotify",
    .read = inotify_read,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .show_fdinfo = inotify_show,
    .release = inotify_release,
};

// ---- the calls

long sys_inotify_init1(unsigned flags)
{
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct inotify *in = kzalloc(sizeof(*in));
    if (!in)
        return -ENOMEM;
    list_init(&in->events);
    list_init(&in->watches);
    wait_queue_init(&in->wait);
    return anon_fd(&inotify_ops, in, O_RDONLY | flags);
}

long sys_inotify_init(void) { return sys_inotify_init1(0); }

// Makes or changes the watch of in on inode. => its number, -EEXIST, -ENOMEM
static long watch_inode(struct inotify *in, struct inode *inode, u32 mask)
{
    u32 kept = mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_ONESHOT | IN_EXCL_UNLINK);
    mutex_lock(&watch_mutex);
    struct watch *w = find_by_inode(in, inode);
    long result = -EEXIST;
    if (!w) {
        w = watch_new(in, inode, kept | IN_UNMOUNT);
        result = w ? w->wd : -ENOMEM;
    } else if (!(mask & IN_MASK_CREATE)) {
        w->mask = mask & IN_MASK_ADD ? w->mask | kept : kept | IN_UNMOUNT;
        result = w->wd;
    }
    mutex_unlock(&watch_mutex);
    return result;
}

static struct inotify *inotify_of(struct fd f)
{
    return f.file && f.file->ops == &inotify_ops ? f.file->data : NULL;
}

long sys_inotify_add_watch(int fd, uptr_t path, u32 mask)
{
    if (!(mask & IN_KNOWN) || (mask & ~(IN_KNOWN | IN_ISDIR)) ||
        (mask & (IN_MASK_ADD | IN_MASK_CREATE)) == (IN_MASK_ADD | IN_MASK_CREATE))
        return -EINVAL;
    struct fd f = fd_get(fd);
    struct inotify *in = inotify_of(f);
    struct dentry *d;
    long result = !f.file ? -EBADF : in ? 0 : -EINVAL;
    if (!result) {
        unsigned flags = (mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW) |
                         (mask & IN_ONLYDIR ? LOOKUP_DIRECTORY : 0);
        result = vfs_lookup_user(AT_FDCWD, path, flags, &d);
    }
    if (!result) {
        result = inode_permission(d->inode, MAY_READ);
        if (!result)
            result = watch_inode(in, d->inode, mask);
        dentry_put(d);
    }
    fd_put(f);
    return result;
}

long sys_inotify_rm_watch(int fd, s32 wd)
{
    struct fd f = fd_get(fd);
    struct inotify *in = inotify_of(f);
    long result = !f.file ? -EBADF : -EINVAL;
    if (in) {
        mutex_lock(&watch_mutex);
        struct watch *w = find_by_wd(in, wd);
        if (w) {
            watch_end(w, true);
            result = 0;
        }
        mutex_unlock(&watch_mutex);
    }
    fd_put(f);
    return result;
}
