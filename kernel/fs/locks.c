// SPDX-License-Identifier: BSD-2-Clause
// locks.c: advisory locks: flock(2), POSIX record locks and open-file-description locks (fcntl(2)).
//
// Three kinds, told apart by their owner:
//     POSIX   the file table of the process; gone when the process closes any descriptor of the file
//     OFD     the open file; gone with its last descriptor; conflicts with POSIX locks
//     flock   the open file, whole file; a world of its own
// An inode that was ever locked has a context: both lists sorted by nothing in particular (there are
// few), one wait queue that every unlock wakes. Setting a lock first looks for a conflict, then cuts
// what the owner had in that range and adds the new piece, joined with equal neighbours. The pieces that
// a cut needs are allocated before anything changes.
//
// Deadlock (EDEADLK) is looked for among waiting POSIX locks only, as on Linux: each waiter is entered
// with its owner and the owner that it waits for; a chain that leads back to oneself is a circle.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

enum { F_RDLCK = 0, F_WRLCK = 1, F_UNLCK = 2 };
enum {
    F_GETLK = 5,
    F_SETLK = 6,
    F_SETLKW = 7,
    F_OFD_GETLK = 36,
    F_OFD_SETLK = 37,
    F_OFD_SETLKW = 38
};
enum { LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8 };
#define MAX_CHAIN 64  // waiters that the search for a deadlock follows

struct flock_user {
    s16 type, whence;
    s32 pad0;
    s64 start, len;
    s32 pid, pad1;
};

struct file_lock {
    struct list link;  // [context lock]
    const void *owner;
    bool ofd, write;
    s32 pid;
    u64 start, end;  // both inclusive
};

struct file_lock_context {
    struct spinlock lock;
    struct list ranges;  // [lock] POSIX and OFD
    struct list whole;   // [lock] flock
    struct wait_queue wait;
    struct inode *inode;
    struct list all_link;  // [all_lock]
};
static struct spinlock all_lock;
static struct list all_contexts = LIST_INIT(all_contexts);  // [all_lock] for /proc/locks

struct lock_waiter {
    struct list link;  // [waiters_lock]
    const void *owner, *blocked_on;
};
static struct spinlock waiters_lock;
static struct list waiters = LIST_INIT(waiters);

static struct file_lock_context *context_of(struct inode *inode)
{
    struct file_lock_context *c = atomic_load(&inode->locks);
    if (c)
        return c;
    c = kzalloc(sizeof(*c));
    if (!c)
        return NULL;
    list_init(&c->ranges);
    list_init(&c->whole);
    wait_queue_init(&c->wait);
    c->inode = inode;
    struct file_lock_context *expected = NULL;
    if (!atomic_cmpxchg(&inode->locks, &expected, c)) {
        kfree(c);
        return expected;
    }
    spin_lock(&all_lock);
    list_push_back(&all_contexts, &c->all_link);
    spin_unlock(&all_lock);
    return c;
}

static struct file_lock *find_conflict(struct list *locks, const struct file_lock *want)
{
    list_for_each_entry (struct file_lock, l, locks, link) {
        if (l->owner != want->owner && l->start <= want->end && want->start <= l->end &&
            (l->write || want->write))
            return l;
    }
    return NULL;
}

// ------------------------------------------------------------------------------- record locks

// Removes [start, end] from what owner holds; a lock that is cut in two uses *spare. [lock]
static void cut_range(struct list *locks, const void *owner, u64 start, u64 end,
                      struct file_lock **spare)
{
    list_for_each_safe (pos, locks) {
        struct file_lock *l = list_entry(pos, struct file_lock, link);
        if (l->owner != owner || l->start > end || l->end < start)
            continue;
        if (l->start < start && l->end > end) {
            struct file_lock *tail = *spare;
            *spare = NULL;
            *tail = *l;
            tail->start = end + 1;
            l->end = start - 1;
            list_push_back(locks, &tail->link);
            return;
        }
        if (l->start < start) {
            l->end = start - 1;
        } else if (l->end > end) {
            l->start = end + 1;
        } else {
            list_remove(&l->link);
            kfree(l);
        }
    }
}

// Adds a lock, joined with the owner's equal neighbours. [lock]
static void add_range(struct list *locks, struct file_lock *new)
{
    list_for_each_safe (pos, locks) {
        struct file_lock *l = list_entry(pos, struct file_lock, link);
        if (l->owner != new->owner || l->write != new->write)
            continue;
        bool touches = (l->end != UINT64_MAX && l->end + 1 == new->start) ||
                       (new->end != UINT64_MAX &&new->end + 1 == l->start);
        if (!touches)
            continue;
        new->start = MIN(new->start, l->start);
        new->end = MAX(new->end, l->end);
        list_remove(&l->link);
        kfree(l);
    }
    list_push_back(locks, &new->link);
}

// Would waiting for blocked_on close a circle? Enters the waiter if not.
static int wait_enter(struct lock_waiter *w)
{
    int err = 0;
    spin_lock(&waiters_lock);
    const void *owner = w->blocked_on;
    for (int i = 0; i < MAX_CHAIN && owner && !err; i++) {
        const void *next = NULL;
        list_for_each_entry (struct lock_waiter, other, &waiters, link) {
            if (other->owner == owner) {
                next = other->blocked_on;
                break;
            }
        }
        if (next == w->owner)
            err = -EDEADLK;
        owner = next;
    }
    if (!err)
        list_push_back(&waiters, &w->link);
    spin_unlock(&waiters_lock);
    return err;
}

static void wait_leave(struct lock_waiter *w)
{
    spin_lock(&waiters_lock);
    list_remove(&w->link);
    spin_unlock(&waiters_lock);
}

// One attempt. new and spare are used up (set to NULL) as needed. => 0, -EAGAIN with *blocker
static int try_range(struct file_lock_context *c, const struct file_lock *want, bool unlock,
                     struct file_lock **new, struct file_lock **spare, const void **blocker)
{
    spin_lock(&c->lock);
    struct file_lock *conflict = unlock ? NULL : find_conflict(&c->ranges, want);
    if (conflict) {
        *blocker = conflict->ofd ? NULL : conflict->owner;
        spin_unlock(&c->lock);
        return -EAGAIN;
    }
    cut_range(&c->ranges, want->owner, want->start, want->end, spare);
    if (!unlock) {
        **new = *want;
        add_range(&c->ranges, *new);
        *new = NULL;
    }
    spin_unlock(&c->lock);
    wait_wake(&c->wait, INT32_MAX, 0);
    return 0;
}

static int wait_range(struct file_lock_context *c, const struct file_lock *want,
                      struct file_lock **new, struct file_lock **spare, const void *blocker)
{
    struct waiter w;
    int err;
    waiter_init(&w);
    for (;;) {
        struct lock_waiter lw = {.owner = want->owner, .blocked_on = blocker};
        err = want->ofd ? 0 : wait_enter(&lw);
        if (err)
            return err;
        wait_prepare(&c->wait, &w, WAIT_INTERRUPTIBLE);
        err = try_range(c, want, false, new, spare, &blocker);
        if (err == -EAGAIN)
            err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER) ? -ERESTARTSYS : -EAGAIN;
        wait_finish(&c->wait, &w);
        if (!want->ofd)
            wait_leave(&lw);
        if (err != -EAGAIN)
            return err;
    }
}

static long set_range(struct file *f, struct file_lock *want, bool unlock, bool wait)
{
    struct file_lock_context *c = context_of(f->inode);
    struct file_lock *new = kmalloc(sizeof(*new)), *spare = kmalloc(sizeof(*spare));
    const void *blocker = NULL;
    long err = c && new &&spare ? 0 : -ENOLCK;
    if (!err) {
        f->fmode |= FMODE_LOCKED;
        err = try_range(c, want, unlock, &new, &spare, &blocker);
        if (err == -EAGAIN && wait)
            err = wait_range(c, want, &new, &spare, blocker);
    }
    kfree(new);
    kfree(spare);
    return err;
}

static long get_range(struct file *f, struct flock_user *u, const struct file_lock *want)
{
    struct file_lock_context *c = f->inode->locks;
    u->type = F_UNLCK;
    if (!c)
        return 0;
    spin_lock(&c->lock);
    struct file_lock *l = find_conflict(&c->ranges, want);
    if (l) {
        u->type = l->write ? F_WRLCK : F_RDLCK;
        u->whence = SEEK_SET;
        u->start = (s64)l->start;
        u->len = l->end >= INT64_MAX ? 0 : (s64)(l->end - l->start + 1);
        u->pid = l->ofd ? -1 : l->pid;
    }
    spin_unlock(&c->lock);
    return 0;
}

static int range_from_user(struct file *f, const struct flock_user *u, struct file_lock *want)
{
    s64 base = u->whence == SEEK_SET   ? 0
               : u->whence == SEEK_CUR ? f->pos
                                       : (s64)inode_size(f->inode);
    s64 start, last;
    if (u->whence < SEEK_SET || u->whence > SEEK_END)
        return -EINVAL;
    if (__builtin_add_overflow(base, u->start, &start))
        return -EOVERFLOW;
    if (start < 0)
        return -EINVAL;
    if (u->len == 0) {
        last = INT64_MAX;
    } else if (u->len > 0) {
        if (__builtin_add_overflow(start, u->len - 1, &last))
            return -EOVERFLOW;
    } else {
        last = start - 1;
        if (__builtin_add_overflow(start, u->len, &start) || start < 0)
            return -EINVAL;
    }
    want->start = (u64)start;
    want->end = (u64)last;
    return 0;
}

long locks_fcntl(int fd, struct file *f, u32 cmd, uptr_t arg)
{
    struct flock_user u;
    bool ofd = cmd >= F_OFD_GETLK, get = cmd == F_GETLK || cmd == F_OFD_GETLK;
    if (copy_from_user(&u, arg, sizeof(u)))
        return -EFAULT;
    if (!f->inode)
        return -EBADF;
    if (u.type < F_RDLCK || u.type > F_UNLCK || (get && u.type == F_UNLCK) || (ofd && u.pid))
        return -EINVAL;
    struct file_lock want = {
        .owner = ofd ? (const void *)f : current->files,
        .ofd = ofd,
        .write = u.type == F_WRLCK,
        .pid = current->process->pid,
    };
    long err = range_from_user(f, &u, &want);
    if (err)
        return err;
    if (get) {
        err = get_range(f, &u, &want);
        return err ? err : copy_to_user(arg, &u, sizeof(u));
    }
    if ((u.type == F_RDLCK && !(f->fmode & FMODE_READ)) ||
        (u.type == F_WRLCK && !(f->fmode & FMODE_WRITE)))
        return -EBADF;
    return set_range(f, &want, u.type == F_UNLCK, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
}

// ------------------------------------------------------------------------------- flock

// [lock]
static struct file_lock *whole_of(struct file_lock_context *c, const struct file *f)
{
    list_for_each_entry (struct file_lock, l, &c->whole, link) {
        if (l->owner == f)
            return l;
    }
    return NULL;
}

// Drops or changes what f holds. A change of kind gives the old lock up first, as flock(2) says.
static int try_whole(struct file_lock_context *c, struct file *f, struct file_lock **new,
                     bool write)
{
    spin_lock(&c->lock);
    struct file_lock *mine = whole_of(c, f);
    int err = 0;
    if (mine && (!*new || mine->write != write)) {
        list_remove(&mine->link);
        kfree(mine);
        mine = NULL;
    }
    if (*new && !mine) {
        **new = (struct file_lock){
            .owner = f, .write = write, .end = UINT64_MAX, .pid = current->process->pid};
        if (find_conflict(&c->whole, *new)) {
            err = -EAGAIN;
        } else {
            list_push_back(&c->whole, &(*new)->link);
            *new = NULL;
        }
    }
    spin_unlock(&c->lock);
    wait_wake(&c->wait, INT32_MAX, 0);
    return err;
}

static long flock_file(struct file *f, u32 operation)
{
    bool unlock = operation & LOCK_UN;
    struct file_lock_context *c = context_of(f->inode);
    struct file_lock *new = unlock ? NULL : kmalloc(sizeof(*new));
    long err = c && (new || unlock) ? 0 : -ENOLCK;
    struct waiter w;
    waiter_init(&w);
    f->fmode |= FMODE_LOCKED;
    while (!err) {
        wait_prepare(&c->wait, &w, WAIT_INTERRUPTIBLE);
        err = try_whole(c, f, &new, operation & LOCK_EX);
        bool again = err == -EAGAIN && !(operation & LOCK_NB);
        if (again)
            err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        wait_finish(&c->wait, &w);
        if (!again)
            break;
    }
    kfree(new);
    return err;
}

long sys_flock(int fd, u32 operation)
{
    u32 kind = operation & ~(u32)LOCK_NB;
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long err = f.file->inode ? flock_file(f.file, operation) : -EBADF;
    fd_put(f);
    return err;
}

// ------------------------------------------------------------------------------- ends

static void drop_owner(struct inode *inode, const void *owner, bool whole)
{
    struct file_lock_context *c = inode ? inode->locks : NULL;
    if (!c)
        return;
    spin_lock(&c->lock);
    struct file_lock *none = NULL;
    cut_range(&c->ranges, owner, 0, UINT64_MAX, &none);
    struct file_lock *mine = whole ? whole_of(c, owner) : NULL;
    if (mine) {
        list_remove(&mine->link);
        kfree(mine);
    }
    spin_unlock(&c->lock);
    wait_wake(&c->wait, INT32_MAX, 0);
}

void locks_file_closed(struct file *f, const struct file_table *owner)
{
    drop_owner(f->inode, owner, false);
}

void locks_file_released(struct file *f) { drop_owner(f->inode, f, true); }

void locks_inode_gone(struct inode *inode)
{
    struct file_lock_context *c = inode->locks;
    KASSERT(list_empty(&c->whole));
    spin_lock(&all_lock);
    list_remove(&c->all_link);
    spin_unlock(&all_lock);
    for (struct list *l; (l = list_pop_front(&c->ranges));)
        kfree(list_entry(l, struct file_lock, link));
    kfree(c);
}

#define LOCK_LINE_MAX 128  // of a line of /proc/locks: six numbers of at most 20 digits, and words

static void show_list(struct seq_buf *out, const struct file_lock_context *c,
                      const struct list *locks, u32 *number)
{
    const struct inode *inode = c->inode;
    for (const struct list *at = locks->next; at != locks; at = at->next) {
        const struct file_lock *l = list_entry(at, struct file_lock, link);
        if (seq_room(out) < LOCK_LINE_MAX)
            return;
        const char *kind = locks == &c->whole ? "FLOCK " : l->ofd ? "OFDLCK" : "POSIX ";
        seq_printf(out, "%u: %s ADVISORY  %s %d %02x:%02x:%llu %llu ", ++*number, kind,
                   l->write ? "WRITE" : "READ ", l->ofd ? -1 : l->pid, DEV_MAJOR(inode->sb->dev),
                   DEV_MINOR(inode->sb->dev), (unsigned long long)inode->ino,
                   (unsigned long long)l->start);
        if (l->end >= INT64_MAX)
            seq_printf(out, "EOF\n");
        else
            seq_printf(out, "%llu\n", (unsigned long long)l->end);
    }
}

static size_t count_locks_locked(void)
{
    size_t n = 0;
    list_for_each_entry (struct file_lock_context, c, &all_contexts, all_link) {
        spin_lock(&c->lock);
        for (const struct list *at = c->ranges.next; at != &c->ranges; at = at->next)
            n++;
        for (const struct list *at = c->whole.next; at != &c->whole; at = at->next)
            n++;
        spin_unlock(&c->lock);
    }
    return n;
}

// Room is made with no lock held, until what was counted fits; a lock that comes after the count is
// shown to the next reader, as the buffer may not grow under a spinlock.
void locks_show(struct seq_buf *out)
{
    u32 number = 0;
    size_t n;
    for (;;) {
        spin_lock(&all_lock);
        n = count_locks_locked();
        if (seq_room(out) >= n * LOCK_LINE_MAX)
            break;
        spin_unlock(&all_lock);
        if (!seq_reserve(out, n * LOCK_LINE_MAX))
            return;
    }
    list_for_each_entry (struct file_lock_context, c, &all_contexts, all_link) {
        spin_lock(&c->lock);
        show_list(out, c, &c->ranges, &number);
        show_list(out, c, &c->whole, &number);
        spin_unlock(&c->lock);
    }
    spin_unlock(&all_lock);
}
