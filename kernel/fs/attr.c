// SPDX-License-Identifier: BSD-2-Clause
// attr.c: changing what is known about a file: mode, owner, times, size, allocation.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define UTIME_NOW 0x3fffffffu
#define UTIME_OMIT 0x3ffffffeu

// Generated files and read-only mounts keep what they have.
static int may_change(const struct inode *inode)
{
    if (inode->sb->flags & SB_RDONLY)
        return -EROFS;
    if (inode->flags & (I_IMMUTABLE | I_APPEND_ONLY))
        return -EPERM;
    return 0;
}

// Applies fn to what a path or (with AT_EMPTY_PATH) a descriptor names.
typedef int (*change_fn)(struct inode *inode, const void *arg);

static long change_dentry(struct dentry *d, change_fn fn, const void *arg)
{
    struct inode *inode = d->inode;
    mutex_lock(&inode->lock);
    int err = may_change(inode);
    if (!err)
        err = fn(inode, arg);
    if (!err)
        inode_changed(inode);
    mutex_unlock(&inode->lock);
    if (!err)
        fs_notify(d, IN_ATTRIB);
    return err;
}

static long change_at(int dfd, uptr_t path, unsigned lookup, change_fn fn, const void *arg)
{
    struct dentry *d;
    int err = vfs_lookup_user(dfd, path, lookup, &d);
    if (err)
        return err;
    long ret = change_dentry(d, fn, arg);
    dentry_put(d);
    return ret;
}

static long change_fd(int fd, change_fn fn, const void *arg)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    struct dentry *d = file_dentry(f.file);
    fd_put(f);
    if (IS_ERR(d))
        return PTR_ERR(d);
    long ret = change_dentry(d, fn, arg);
    dentry_put(d);
    return ret;
}

// ------------------------------------------------------------------------------- chmod

static int change_mode(struct inode *inode, const void *arg)
{
    u32 mode = *(const u32 *)arg & 07777;
    if (!inode_owner_or_capable(inode))
        return -EPERM;
    if (S_ISLNK(inode->mode))
        return -EOPNOTSUPP;
    if ((inode->seals & F_SEAL_EXEC) && ((inode->mode ^ mode) & 0111))
        return -EPERM;
    if ((mode & S_ISGID) && !fs_in_group(inode->gid) && !fs_capable(CAP_FSETID))
        mode &= ~S_ISGID;
    inode->mode = (inode->mode & S_IFMT) | mode;
    inode_touch_ctime(inode);
    return 0;
}

long sys_fchmodat2(int dfd, uptr_t path, u32 mode, u32 flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_at(dfd, path,
                     (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
                         (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0),
                     change_mode, &mode);
}
long sys_fchmodat(int dfd, uptr_t path, u32 mode) { return sys_fchmodat2(dfd, path, mode, 0); }
long sys_chmod(uptr_t path, u32 mode) { return sys_fchmodat2(AT_FDCWD, path, mode, 0); }
long sys_fchmod(int fd, u32 mode) { return change_fd(fd, change_mode, &mode); }

// ------------------------------------------------------------------------------- chown

struct new_owner {
    u32 uid, gid;  // -1: stays
};

static int change_owner(struct inode *inode, const void *arg)
{
    const struct new_owner *o = arg;
    const struct process *p = current->process;
    if (o->uid != UINT32_MAX && !fs_capable(CAP_CHOWN) &&
        !(p->fsuid == inode->uid && o->uid == inode->uid))
        return -EPERM;
    if (o->gid != UINT32_MAX && !fs_capable(CAP_CHOWN) &&
        !(p->fsuid == inode->uid && (fs_in_group(o->gid) || o->gid == inode->gid)))
        return -EPERM;
    if (o->uid != UINT32_MAX)
        inode->uid = o->uid;
    if (o->gid != UINT32_MAX)
        inode->gid = o->gid;
    if (!S_ISDIR(inode->mode)) {
        // A new owner must not inherit the old one's set-user-ID program, whoever asks (chown(2)).
        inode->mode &= ~S_ISUID;
        if (inode->mode & 010)
            inode->mode &= ~S_ISGID;
    }
    inode_touch_ctime(inode);
    return 0;
}

long sys_fchownat(int dfd, uptr_t path, u32 uid, u32 gid, int flags)
{
    struct new_owner o = {uid, gid};
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return change_at(dfd, path,
                     (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
                         (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0),
                     change_owner, &o);
}
long sys_chown(uptr_t path, u32 uid, u32 gid) { return sys_fchownat(AT_FDCWD, path, uid, gid, 0); }
long sys_lchown(uptr_t path, u32 uid, u32 gid)
{
    return sys_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}
long sys_fchown(int fd, u32 uid, u32 gid)
{
    struct new_owner o = {uid, gid};
    return change_fd(fd, change_owner, &o);
}

// ------------------------------------------------------------------------------- times

struct new_times {
    u64 atime_ns, mtime_ns;
    bool set_atime, set_mtime;
    bool both_now;  // allowed to anybody who may write
};

static int change_times(struct inode *inode, const void *arg)
{
    const struct new_times *t = arg;
    if (!t->set_atime && !t->set_mtime)
        return 0;
    if (!inode_owner_or_capable(inode)) {
        if (!t->both_now)
            return -EPERM;
        int err = inode_permission(inode, MAY_WRITE);
        if (err)
            return err;
    }
    if (t->set_atime)
        inode->atime_ns = t->atime_ns;
    if (t->set_mtime)
        inode->mtime_ns = t->mtime_ns;
    inode_touch_ctime(inode);
    return 0;
}

struct timespec_user {
    s64 sec;
    s64 nsec;
};

static u64 time_to_ns(s64 sec, u64 nsec)
{
    // Times before 1970 and after 2554 do not fit; tmpfs clamps to its range as well.
    if (sec < 0)
        return 0;
    if ((u64)sec > UINT64_MAX / NSEC_PER_SEC - 1)
        return UINT64_MAX;
    return (u64)sec * NSEC_PER_SEC + nsec;
}

static int times_from(struct new_times *t, const struct timespec_user ts[2])
{
    u64 now = now_ns();
    for (int i = 0; i < 2; i++) {
        u64 nsec = (u64)ts[i].nsec;
        if (nsec != UTIME_NOW && nsec != UTIME_OMIT && nsec >= NSEC_PER_SEC)
            return -EINVAL;
        u64 ns = nsec == UTIME_NOW ? now : time_to_ns(ts[i].sec, nsec);
        *(i ? &t->mtime_ns : &t->atime_ns) = ns;
        *(i ? &t->set_mtime : &t->set_atime) = nsec != UTIME_OMIT;
    }
    t->both_now = ts[0].nsec == UTIME_NOW && ts[1].nsec == UTIME_NOW;
    return 0;
}

static const struct timespec_user both_now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};

static long set_times(int dfd, uptr_t path, const struct timespec_user ts[2], int flags)
{
    struct new_times t;
    int err = times_from(&t, ts);
    if (err)
        return err;
    if (!path && dfd != AT_FDCWD)  // futimens(3)
        return flags & ~AT_EMPTY_PATH ? -EINVAL : change_fd(dfd, change_times, &t);
    return change_at(dfd, path,
                     (flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) |
                         (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0),
                     change_times, &t);
}

long sys_utimensat(int dfd, uptr_t path, uptr_t times, int flags)
{
    struct timespec_user ts[2];
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    if (!times)
        return set_times(dfd, path, both_now, flags);
    if (copy_from_user(ts, times, sizeof(ts)))
        return -EFAULT;
    if (ts[0].nsec == UTIME_OMIT && ts[1].nsec == UTIME_OMIT)
        return 0;
    return set_times(dfd, path, ts, flags);
}

long sys_futimesat(int dfd, uptr_t path, uptr_t times)
{
    struct timespec_user ts[2];  // the user's are microseconds
    if (!times)
        return set_times(dfd, path, both_now, 0);
    if (copy_from_user(ts, times, sizeof(ts)))
        return -EFAULT;
    for (int i = 0; i < 2; i++) {
        if (ts[i].nsec < 0 || ts[i].nsec >= 1000000)
            return -EINVAL;
        ts[i].nsec *= 1000;
    }
    return set_times(dfd, path, ts, 0);
}
long sys_utimes(uptr_t path, uptr_t times) { return sys_futimesat(AT_FDCWD, path, times); }

long sys_utime(uptr_t path, uptr_t times)
{
    s64 sec[2];
    if (!times)
        return set_times(AT_FDCWD, path, both_now, 0);
    if (copy_from_user(sec, times, sizeof(sec)))
        return -EFAULT;
    struct timespec_user ts[2] = {{sec[0], 0}, {sec[1], 0}};
    return set_times(AT_FDCWD, path, ts, 0);
}

// ------------------------------------------------------------------------------- size

#define RLIMIT_FSIZE 1

int size_allowed(struct inode *inode, u64 size)
{
    const struct process *p = current->process;
    u64 old = inode_size(inode);
    if (p && size > old && size > p->rlimits[RLIMIT_FSIZE].cur) {
        signal_send_thread(current, &(struct siginfo){.signo = SIGXFSZ, .code = SI_KERNEL});
        return -EFBIG;
    }
    if ((size < old && (inode->seals & F_SEAL_SHRINK)) ||
        (size > old && (inode->seals & F_SEAL_GROW)))
        return -EPERM;
    return 0;
}

int do_truncate(struct inode *inode, u64 size)
{
    if (!S_ISREG(inode->mode) || !(inode->flags & I_HAS_OBJECT))
        return S_ISREG(inode->mode) ? 0 : -EINVAL;  // a generated file: O_TRUNC means nothing
    mutex_lock(&inode->lock);
    int err = size_allowed(inode, size);
    if (!err && inode->ops && inode->ops->set_size)
        err = inode->ops->set_size(inode, size);
    else if (!err)
        err = vm_object_truncate(&inode->file.object, size);
    if (!err) {
        inode_kill_privs_locked(inode);
        inode_touch_mtime(inode);
        inode_recharge(inode);
    }
    mutex_unlock(&inode->lock);
    return err;
}

long sys_truncate(uptr_t path, loff_t size)
{
    struct dentry *d;
    if (size < 0)
        return -EINVAL;
    int err = vfs_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW, &d);
    if (err)
        return err;
    struct inode *inode = d->inode;
    if (S_ISDIR(inode->mode))
        err = -EISDIR;
    else if (!S_ISREG(inode->mode))
        err = -EINVAL;
    else
        err = inode_permission(inode, MAY_WRITE);
    if (!err && (inode->flags & (I_APPEND_ONLY | I_IMMUTABLE)))
        err = -EPERM;
    if (!err)
        err = inode_get_write(inode);
    if (!err) {
        err = do_truncate(inode, size);
        inode_put_write(inode);
    }
    if (!err)
        fs_notify(d, IN_MODIFY);
    dentry_put(d);
    return err;
}

long sys_ftruncate(int fd, loff_t size)
{
    if (size < 0)
        return -EINVAL;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long err;
    struct inode *inode = f.file->inode;
    if (!inode || !S_ISREG(inode->mode) || !(f.file->fmode & FMODE_WRITE))
        err = -EINVAL;
    else if (inode->flags & I_APPEND_ONLY)
        err = -EPERM;
    else
        err = do_truncate(inode, size);
    if (!err)
        fs_notify(f.file->dentry, IN_MODIFY);
    fd_put(f);
    return err;
}

// ------------------------------------------------------------------------------- fallocate

#define FALLOC_KEEP_SIZE 1
#define FALLOC_PUNCH_HOLE 2
#define FALLOC_COLLAPSE_RANGE 8
#define FALLOC_ZERO_RANGE 16
#define FALLOC_INSERT_RANGE 32
#define FALLOC_UNSHARE_RANGE 64

static bool page_is_missing(struct inode *inode, u64 index)
{
    struct page *p = vm_object_find(&inode->file.object, index);
    if (p)
        page_put(p);
    return !p && (index >= inode->file.image_pages || rootfs_page_is_hole(inode, index));
}

// Allocates a zeroed page for each one that [first, end) lacks. => -ENOSPC, -EINTR (some may be in the chain)
static int gather_pages(struct inode *inode, u64 first, u64 end, struct page_chain *chain)
{
    struct superblock *sb = inode->sb;
    u64 here = READ_ONCE(inode->file.object.n_pages) + inode->file.image_pages;
    u64 least = end - first > here ? end - first - here : 0, free = page_free_count();
    // What can never be had is refused before everybody else runs short of memory.
    if (least > free && least - free > page_reclaim(least - free))
        return -ENOSPC;
    for (u64 index = first; index < end; index++) {
        if (page_is_missing(inode, index)) {
            bool room = !sb->max_pages || READ_ONCE(sb->n_pages) + chain->n < sb->max_pages;
            struct page *p = room ? page_alloc(0, PAGE_ZERO | PAGE_USER) : NULL;
            if (!p)
                return -ENOSPC;
            page_chain_push(chain, p);
        }
        if (index % 16 == 0) {
            sched_point();
            if (thread_signal_pending())
                return -EINTR;
        }
    }
    return 0;
}

// Makes every page of the range exist, or none: they are allocated first. Only when the tree of pages itself gets no
// memory, those inserted so far stay. [inode->lock]
static int allocate_range(struct inode *inode, u64 start, u64 end_byte)
{
    struct page_chain chain = {0};
    u64 first = page_index(start), end = DIV_ROUND_UP(end_byte, PAGE_SIZE);
    int err = gather_pages(inode, first, end, &chain);
    for (u64 index = first; !err && index < end && chain.n; index++) {
        if (index % 16 == 0)
            sched_point();
        if (!page_is_missing(inode, index))
            continue;
        struct page *p = page_chain_pop(&chain);
        p->flags |= PG_DIRTY;
        err = vm_object_insert(&inode->file.object, index, p);
        if (err)
            page_put(p);
        if (err == -EEXIST)  // a mapping was touched meanwhile
            err = 0;
    }
    if (chain.n)
        page_free_chain(&chain);
    return err;
}

// Bytes that the image still shows must be hidden by zeros; the rest becomes a hole. [inode->lock]
static int punch_range(struct inode *inode, u64 start, u64 end)
{
    struct vm_object *obj = &inode->file.object;
    u64 image_end = MIN(MIN(end, inode->file.image_pages * PAGE_SIZE), obj->size_bytes);
    while (start < image_end) {
        size_t off = start % PAGE_SIZE, n = MIN(PAGE_SIZE - off, image_end - start);
        struct page *p = vm_object_find(obj, page_index(start));
        if (!p && rootfs_page_is_hole(inode, page_index(start))) {
            start += n;
            continue;
        }
        if (p)
            page_put(p);
        p = vm_object_get_page(obj, page_index(start), true);
        if (IS_ERR(p))
            return (int)PTR_ERR(p);
        memset((char *)page_address(p) + off, 0, n);
        p->flags |= PG_DIRTY;
        page_put(p);
        start += n;
        sched_point();
    }
    return start < end ? vm_object_punch(obj, start, end) : 0;
}

static int fallocate_locked(struct inode *inode, int mode, u64 offset, u64 len)
{
    u64 end = offset + len, size = inode->file.object.size_bytes;
    if (mode & FALLOC_PUNCH_HOLE) {
        if (inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
            return -EPERM;
        return punch_range(inode, offset, end);
    }
    if (!(mode & FALLOC_KEEP_SIZE) && end > size) {
        int err = size_allowed(inode, end);
        if (err)
            return err;
    }
    int err = 0;
    if (mode & FALLOC_ZERO_RANGE)
        err = punch_range(inode, offset, MIN(end, size));
    if (!err)
        err = allocate_range(inode, offset, end);
    if (!err && !(mode & FALLOC_KEEP_SIZE) && end > size)
        err = vm_object_truncate(&inode->file.object, end);
    return err;
}

long regular_fallocate(struct file *f, int mode, loff_t offset, loff_t len)
{
    struct inode *inode = f->inode;
    mutex_lock(&inode->lock);
    long err = fallocate_locked(inode, mode, offset, len);
    if (!err) {
        inode_kill_privs_locked(inode);
        inode_touch_mtime(inode);
    }
    inode_recharge(inode);
    mutex_unlock(&inode->lock);
    return err;
}

static long fallocate_check(struct file *f, int mode, loff_t offset, loff_t len)
{
    const int known = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_COLLAPSE_RANGE |
                      FALLOC_ZERO_RANGE | FALLOC_INSERT_RANGE | FALLOC_UNSHARE_RANGE;
    if (offset < 0 || len <= 0)
        return -EINVAL;
    if (mode & ~known)
        return -EOPNOTSUPP;
    if ((mode & FALLOC_PUNCH_HOLE) && mode != (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!(f->fmode & FMODE_WRITE))
        return -EBADF;
    if ((mode & ~FALLOC_KEEP_SIZE) && (f->flags & O_APPEND))
        return -EPERM;
    if (!f->inode || S_ISFIFO(f->inode->mode))
        return -ESPIPE;
    if (S_ISDIR(f->inode->mode))
        return -EISDIR;
    if (!S_ISREG(f->inode->mode))
        return -ENODEV;
    if (offset + len < offset)
        return -EFBIG;
    if (!f->ops->fallocate ||
        (mode & (FALLOC_COLLAPSE_RANGE | FALLOC_INSERT_RANGE | FALLOC_UNSHARE_RANGE)))
        return -EOPNOTSUPP;
    // tmpfs and memfd have none of it, as on Linux
    if ((mode & FALLOC_ZERO_RANGE) && (f->inode->file.object.flags & VMO_ANON))
        return -EOPNOTSUPP;
    return 0;
}

// Partial: FALLOC_FL_COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE are refused with EOPNOTSUPP.
long sys_fallocate(int fd, int mode, loff_t offset, loff_t len)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long err = fallocate_check(f.file, mode, offset, len);
    if (!err)
        err = f.file->ops->fallocate(f.file, mode, offset, len);
    if (!err)
        fs_notify(f.file->dentry, IN_MODIFY);
    fd_put(f);
    return err;
}
