// SPDX-License-Identifier: BSD-2-Clause
// file.c: open files: their memory, opening by path (open(2)), and the interfaces for mm and exec.
//
// The memory of a struct file is never given to anything else: freed ones wait in lists of their own.
// So a descriptor lookup may read the counter of a file that has just been freed or reused
// (fdtable.c), and ENFILE is a limit on how many there ever were.
#include <stdio.h>

#include "fs/calls.h"
#include "fs/vfs_internal.h"
#include "mm/mm.h"
#include "mm/mman.h"

#define FREE_LIST_MAX 64  // freed files a CPU keeps for itself

struct file_stock {
    struct file *first;  // linked through data
    u32 n;
};
static DEFINE_PERCPU(struct file_stock, file_stock);
static struct spinlock shared_stock_lock;
static struct file_stock shared_stock;  // [shared_stock_lock]
static struct kcache *file_cache;
static u64 n_files_made;  // atomic
static u64 n_files_max;
static u64 next_anon_ino = 1024;  // atomic
static struct superblock *anon_sb;

void file_init(void)
{
    file_cache = kcache_create("file", sizeof(struct file), 8);
    // As Linux: a tenth of the memory, a KiB each.
    n_files_max = MAX(page_total_count() * (PAGE_SIZE / 1024) / 10, 8192ull);
}

u64 file_max(void) { return n_files_max; }

u64 file_count(void)
{
    u64 n_free = shared_stock.n;
    for (u32 i = 0; i < n_cpus; i++)
        n_free += percpu_ptr_of(cpus[i], file_stock)->n;
    return n_files_made - n_free;
}

static struct file *stock_take(struct file_stock *stock)
{
    struct file *f = stock->first;
    if (f) {
        stock->first = f->data;
        stock->n--;
    }
    return f;
}

static void stock_add(struct file_stock *stock, struct file *f)
{
    f->data = stock->first;
    stock->first = f;
    stock->n++;
}

static struct file *file_make(void)
{
    spin_lock(&shared_stock_lock);
    struct file *f = stock_take(&shared_stock);
    spin_unlock(&shared_stock_lock);
    if (f)
        return f;
    if (atomic_add(&n_files_made, 1) > n_files_max) {
        atomic_sub(&n_files_made, 1);
        return ERR_PTR(-ENFILE);
    }
    f = kcache_alloc(file_cache);
    if (!f) {
        atomic_sub(&n_files_made, 1);
        return ERR_PTR(-ENOMEM);
    }
    f->refcount = 0;
    return f;
}

// Everything but the counter is set here; file_publish makes the file real.
struct file *file_new(void)
{
    struct file *f = stock_take(percpu_ptr(file_stock));
    if (!f) {
        f = file_make();
        if (IS_ERR(f))
            return f;
    }
    f->flags = f->fmode = 0;
    f->owner_pid = 0;
    f->ops = NULL;
    f->dentry = NULL;
    f->inode = NULL;
    f->pos = 0;
    mutex_init(&f->pos_lock);
    f->data = NULL;
    f->ino = 0;
    list_init(&f->epoll_links);
    spin_init(&f->epoll_lock);
    f->owner_signal = 0;
    atomic_store(&f->refcount, 1);
    return f;
}

void file_free(struct file *f)
{
    atomic_store(&f->refcount, 0);
    struct file_stock *stock = percpu_ptr(file_stock);
    if (stock->n < FREE_LIST_MAX) {
        stock_add(stock, f);
        return;
    }
    spin_lock(&shared_stock_lock);
    stock_add(&shared_stock, f);
    spin_unlock(&shared_stock_lock);
}

static unsigned fmode_of(unsigned flags)
{
    switch (flags & O_ACCMODE) {
    case O_RDONLY: return FMODE_READ;
    case O_WRONLY: return FMODE_WRITE;
    case O_RDWR: return FMODE_READ | FMODE_WRITE;
    default: return 0;  // 3: for ioctl only
    }
}

struct file *file_alloc(const struct file_ops *ops, unsigned flags, void *data)
{
    struct file *f = file_new();
    if (IS_ERR(f))
        return f;
    f->flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
    f->fmode = fmode_of(flags) | (ops->lseek ? 0 : FMODE_NO_SEEK);
    f->ops = ops;
    f->data = data;
    f->ino = atomic_add(&next_anon_ino, 1);
    return f;
}

void file_release_last(struct file *f)
{
    if (unlikely(!list_empty(&f->epoll_links)) && epoll_file_released)
        epoll_file_released(f);
    if (f->fmode & FMODE_LOCKED)
        locks_file_released(f);
    if (unlikely(f->flags & O_ASYNC))
        async_set(f, -1, false);
    struct dentry *d = f->dentry;
    if (d && unlikely(d->inode->watches || (d->parent->inode && d->parent->inode->watches)))
        fs_notify_slow(d, f->fmode & FMODE_WRITE ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE, 0);
    if (f->ops->release)
        f->ops->release(f);
    if (d) {
        if (f->fmode & FMODE_WRITE_COUNTED)
            inode_put_write(f->inode);
        struct superblock *sb = f->inode->sb;
        dentry_put(d);
        sb_active_put(sb);
    }
    file_free(f);
}

// ------------------------------------------------------------------------------- opening

static const struct file_ops path_file_ops = {.name = "path"};

static int open_no_device(struct inode *inode, struct file *f) { return -ENXIO; }
static const struct file_ops no_device_ops = {.open = open_no_device};

static const struct file_ops *inode_file_ops(const struct inode *inode)
{
    if (likely(inode->fops != NULL))
        return inode->fops;
    const struct file_ops *ops = NULL;
    if (S_ISCHR(inode->mode))
        ops = chrdev_find(inode->rdev);
    else if (S_ISFIFO(inode->mode))
        ops = &fifo_file_ops;
    else if (S_ISBLK(inode->mode) && blkdev_find)
        ops = blkdev_find(inode->rdev);
    return ops ? ops : &no_device_ops;
}

// Opens d with a reference that it takes over (on error too). No permission checks.
static struct file *open_dentry(struct dentry *d, unsigned flags)
{
    struct inode *inode = d->inode;
    struct file *f;
    int err;
    if (unlikely(inode->flags & I_ANON) && !(flags & O_PATH)) {
        struct file *real = inode->data;
        f = real->ops->reopen ? real->ops->reopen(real, flags) : ERR_PTR(-ENXIO);
        dentry_put(d);
        return f;
    }
    f = file_new();
    if (IS_ERR(f)) {
        dentry_put(d);
        return f;
    }
    f->dentry = d;
    f->inode = inode;
    sb_active_get(inode->sb);
    f->flags =
        (flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | O_ASYNC)) | O_LARGEFILE;
    if (flags & O_PATH) {
        f->flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
        f->fmode = FMODE_PATH;
        f->ops = &path_file_ops;
        return f;
    }
    f->fmode = fmode_of(flags);
    f->ops = inode_file_ops(inode);
    if (!f->ops->lseek)
        f->fmode |= FMODE_NO_SEEK;
    if (unlikely(flags & O_DIRECT) && !f->ops->fallocate) {
        err = -EINVAL;
        goto fail;
    }
    if ((f->fmode & FMODE_WRITE) && S_ISREG(inode->mode)) {
        err = inode_get_write(inode);
        if (err)
            goto fail;
        f->fmode |= FMODE_WRITE_COUNTED;
    }
    if (f->ops->open) {
        err = f->ops->open(inode, f);
        if (err)
            goto fail;
    }
    fs_notify(d, IN_OPEN);
    return f;
fail:
    if (f->fmode & FMODE_WRITE_COUNTED)
        inode_put_write(inode);
    struct superblock *sb = inode->sb;
    dentry_put(d);
    sb_active_put(sb);
    file_free(f);
    return ERR_PTR(err);
}

struct file *file_open_dentry(struct dentry *d, unsigned flags)
{
    dentry_get(d);
    return open_dentry(d, flags);
}

static unsigned access_mask(unsigned flags)
{
    static const u8 masks[4] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE, MAY_READ | MAY_WRITE};
    unsigned mask = masks[flags & O_ACCMODE];
    return flags & O_TRUNC ? mask | MAY_WRITE : mask;
}

// What the type, the mount and the permissions allow (open(2), ERRORS).
static int may_open(const struct inode *inode, unsigned flags)
{
    unsigned mask = access_mask(flags);
    switch (inode->mode & S_IFMT) {
    case S_IFLNK: return -ELOOP;
    case S_IFDIR:
        if (mask & MAY_WRITE)
            return -EISDIR;
        break;
    case S_IFSOCK: return -ENXIO;
    case S_IFCHR:
    case S_IFBLK:
        if (inode->sb->flags & SB_NODEV)
            return -EACCES;
        break;
    }
    int err = inode_permission(inode, mask);
    if (err)
        return err;
    if (unlikely(inode->flags & I_APPEND_ONLY) && (mask & MAY_WRITE) &&
        (!(flags & O_APPEND) || (flags & O_TRUNC)))
        return -EPERM;
    if (unlikely(flags & O_NOATIME) && !inode_owner_or_capable(inode))
        return -EPERM;
    return 0;
}

// Once an open is often enough for the daily part of relatime; see inode_accessed.
static void inode_check_atime_age(struct inode *inode)
{
    if (inode->atime_ns > inode->mtime_ns && now_ns() - inode->atime_ns > 86400ull * NSEC_PER_SEC)
        inode->atime_due = true;
}

// Opens an existing name; takes over the reference.
static struct file *open_existing(struct dentry *d, unsigned flags, bool checked)
{
    struct inode *inode = d->inode;
    int err = 0;
    if (flags & O_PATH)
        return open_dentry(d, flags);
    if ((flags & O_CREAT) && S_ISDIR(inode->mode))
        err = -EISDIR;
    else if (!checked)
        err = may_open(inode, flags);
    if (err) {
        dentry_put(d);
        return ERR_PTR(err);
    }
    inode_check_atime_age(inode);
    struct file *f = open_dentry(d, flags);
    if ((flags & O_TRUNC) && !IS_ERR(f) && S_ISREG(inode->mode) && !(f->fmode & FMODE_PATH)) {
        err = do_truncate(inode, 0);
        if (err) {
            file_put(f);
            return ERR_PTR(err);
        }
    }
    return f;
}

// Makes a regular file and opens it. => -EEXIST when somebody else was faster
static struct file *open_new(struct dentry *dir, const char *name, u32 len, unsigned flags,
                             u32 mode)
{
    struct inode *di = dir->inode;
    mutex_lock(&di->lock);
    int err = dir_may_create(dir);
    if (err == -EPERM && !di->ops->make)
        err = -EACCES;  // as a Linux file system without a create operation
    struct inode *inode = err ? NULL : dir_make_inode(dir, S_IFREG | fs_umask_apply(mode), 0);
    struct dentry *d;
    if (err)
        d = ERR_PTR(err);
    else if (IS_ERR(inode))
        d = (struct dentry *)inode;
    else
        d = dir_add_child(dir, name, len, inode);
    if (!IS_ERR(d))
        inode_touch_mtime(di);
    mutex_unlock(&di->lock);
    if (IS_ERR(d))
        return (struct file *)d;
    fs_notify(d, IN_CREATE);
    return open_dentry(d, flags & ~O_TRUNC);
}

static struct file *open_looked_up(const struct create_lookup *l, unsigned flags, u32 mode)
{
    struct file *f;
    if (!l->child) {
        f = open_new(l->dir, l->name, l->len, flags, mode);
    } else if (flags & O_EXCL) {
        dentry_put(l->child);
        f = ERR_PTR(-EEXIST);
    } else {
        f = open_existing(l->child, flags, false);
    }
    dentry_put(l->dir);
    return f;
}

static __noinline struct file *open_create_walk(int dfd, const char *path, unsigned flags, u32 mode,
                                                unsigned lookup)
{
    struct walk w;
    struct parent_name pn;
    for (;;) {
        if (flags & O_EXCL)
            lookup &= ~LOOKUP_FOLLOW;
        int err = walk_start(&w, dfd, path, lookup);
        if (!err)
            err = walk_parent(&w);
        if (err)
            return ERR_PTR(err);
        if (w.last_type != LAST_NAME || w.trailing_slash) {
            bool exists = (flags & O_EXCL) && w.last_type != LAST_NAME;
            return ERR_PTR(walk_end(&w, exists ? -EEXIST : -EISDIR));
        }
        err = walk_last(&w, true);
        if (err < 0)
            return ERR_PTR(err);
        if (err == 0) {
            if (flags & O_EXCL)
                return ERR_PTR(walk_end(&w, -EEXIST));
            return open_existing(walk_end_get(&w), flags, false);
        }
        if (w.trailing_slash)  // of a link's text
            return ERR_PTR(walk_end(&w, -EISDIR));
        pn.len = w.last_len;
        memcpy(pn.name, w.last, pn.len);
        struct dentry *dir = walk_end_get(&w);
        struct file *f = open_new(dir, pn.name, pn.len, flags, mode);
        dentry_put(dir);
        if (f != ERR_PTR(-EEXIST) || (flags & O_EXCL))
            return f;
    }
}

static struct file *open_create(int dfd, const char *path, unsigned flags, u32 mode,
                                unsigned lookup)
{
    struct create_lookup l;
    if (lookup_for_create(dfd, path, lookup, &l)) {
        struct file *f = open_looked_up(&l, flags, mode);
        if (f != ERR_PTR(-EEXIST) || (flags & O_EXCL))
            return f;
    }
    return open_create_walk(dfd, path, flags, mode, lookup);
}

static __cold struct file *open_tmpfile(int dfd, const char *path, unsigned flags, u32 mode,
                                        unsigned lookup)
{
    struct dentry *dir;
    int err = vfs_lookup(dfd, path, lookup | LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &dir);
    if (err)
        return ERR_PTR(err);
    struct file *f;
    err = dir_may_create(dir);
    if (!err && !dir->inode->ops->make)
        err = -EOPNOTSUPP;
    struct inode *inode =
        err ? ERR_PTR(err) : dir_make_inode(dir, S_IFREG | fs_umask_apply(mode), 0);
    if (!IS_ERR(inode) && dir_on_disk(dir->inode) &&
        (err = dir->inode->ops->make_orphan(dir->inode, inode))) {
        inode_put(inode);
        inode = ERR_PTR(err);
    }
    if (IS_ERR(inode)) {
        f = (struct file *)inode;
    } else {
        char name[24];
        int len = snprintf(name, sizeof(name), "#%llu", (unsigned long long)inode->ino);
        struct dentry *d = dentry_alloc(dir, name, len, inode);
        if (d) {
            inode->nlink = 0;
            f = open_dentry(d, flags & ~(O_TMPFILE_BIT | O_DIRECTORY));
            if (!IS_ERR(f))
                f->flags |= O_TMPFILE_BIT | O_DIRECTORY | (flags & O_EXCL);
        } else {
            inode_put(inode);
            f = ERR_PTR(-ENOMEM);
        }
    }
    dentry_put(dir);
    return f;
}

static struct file *open_path(int dfd, const char *path, unsigned flags, u32 mode, unsigned lookup)
{
    if (unlikely(flags & O_TMPFILE_BIT))
        return open_tmpfile(dfd, path, flags, mode, lookup);
    if (!(flags & O_NOFOLLOW))
        lookup |= LOOKUP_FOLLOW;
    if (flags & O_DIRECTORY)
        lookup |= LOOKUP_DIRECTORY;
    if (flags & O_CREAT)
        return open_create(dfd, path, flags, mode, lookup);
    struct dentry *d;
    int err = vfs_lookup(dfd, path, lookup, &d);
    return err ? ERR_PTR(err) : open_existing(d, flags, lookup & LOOKUP_KERNEL);
}

// What open(2) rejects or ignores before it looks at the path.
static int check_open_flags(unsigned *flags, u32 *mode)
{
    unsigned fl = *flags;
    if (fl & O_PATH)
        fl &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    if (fl & O_TMPFILE_BIT) {
        if (!(fl & O_DIRECTORY) || (fl & O_CREAT) || (fl & O_ACCMODE) == O_RDONLY)
            return -EINVAL;
    } else if ((fl & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY)) {
        return -EINVAL;
    }
    if (!(fl & (O_CREAT | O_TMPFILE_BIT)))
        *mode = 0;
    *mode &= 07777;
    *flags = fl;
    return 0;
}

struct file *file_open(int dfd, const char *path, unsigned flags, u32 mode)
{
    int err = check_open_flags(&flags, &mode);
    return err ? ERR_PTR(err) : open_path(dfd, path, flags, mode, 0);
}

struct file *file_open_kernel(const char *path, int flags)
{
    return open_path(AT_FDCWD, path, flags, 0644, LOOKUP_KERNEL);
}

// ------------------------------------------------------------------------------- system calls

#define KNOWN_OPEN_FLAGS                                                                   \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |  \
     O_ASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | \
     O_PATH | O_TMPFILE_BIT)

static long open_user(int dfd, uptr_t path, unsigned flags, u32 mode, unsigned lookup)
{
    struct pathname p;
    int err = check_open_flags(&flags, &mode);
    if (err)
        return err;
    err = pathname_get(&p, path);
    if (err)
        return err;
    int fd = fd_alloc(flags);
    if (fd >= 0) {
        struct file *f = open_path(dfd, p.text, flags, mode, lookup);
        if (IS_ERR(f)) {
            fd_cancel(fd);
            fd = (int)PTR_ERR(f);
        } else {
            fd_install(fd, f);
        }
    }
    pathname_put(&p);
    return fd;
}

long sys_openat(int dfd, uptr_t path, int flags, u32 mode)
{
    return open_user(dfd, path, flags & KNOWN_OPEN_FLAGS, mode, 0);
}

long sys_open(uptr_t path, int flags, u32 mode) { return sys_openat(AT_FDCWD, path, flags, mode); }

long sys_creat(uptr_t path, u32 mode)
{
    return sys_openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

struct open_how {
    u64 flags, mode, resolve;
};
#define RESOLVE_NO_XDEV 1u
#define RESOLVE_NO_MAGICLINKS 2u
#define RESOLVE_NO_SYMLINKS 4u
#define RESOLVE_BENEATH 8u
#define RESOLVE_IN_ROOT 16u
#define RESOLVE_CACHED 32u

// A structure that may be longer than ours: what we do not know must be zero (openat2(2)).
static int copy_open_how(struct open_how *how, uptr_t user, size_t size)
{
    if (size < sizeof(*how))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    for (size_t at = sizeof(*how); at < size; at++) {
        u8 byte;
        if (get_user_u8(&byte, user + at))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return copy_from_user(how, user, sizeof(*how));
}

__cold long sys_openat2(int dfd, uptr_t path, uptr_t user_how, size_t size)
{
    struct open_how how;
    int err = copy_open_how(&how, user_how, size);
    if (err)
        return err;
    if ((how.flags & ~(u64)KNOWN_OPEN_FLAGS) || (how.resolve & ~0x3full))
        return -EINVAL;
    if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT))
        return -EINVAL;
    if ((how.flags & (O_CREAT | O_TMPFILE_BIT)) ? (how.mode & ~07777ull) != 0 : how.mode != 0)
        return -EINVAL;
    if ((how.flags & O_PATH) && (how.flags & ~(u64)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
        return -EINVAL;
    // RESOLVE_CACHED asks for an answer without I/O; all names are in memory here, but O_TRUNC,
    // O_CREAT and O_TMPFILE may not be answered that way (openat2(2)).
    if ((how.resolve & RESOLVE_CACHED) && (how.flags & (O_TRUNC | O_CREAT | O_TMPFILE_BIT)))
        return -EAGAIN;
    unsigned lookup = 0;
    if (how.resolve & RESOLVE_NO_XDEV)
        lookup |= LOOKUP_NO_XDEV;
    if (how.resolve & RESOLVE_NO_MAGICLINKS)
        lookup |= LOOKUP_NO_MAGICLINKS;
    if (how.resolve & RESOLVE_NO_SYMLINKS)
        lookup |= LOOKUP_NO_SYMLINKS | LOOKUP_NO_MAGICLINKS;
    if (how.resolve & RESOLVE_BENEATH)
        lookup |= LOOKUP_BENEATH;
    if (how.resolve & RESOLVE_IN_ROOT)
        lookup |= LOOKUP_IN_ROOT;
    return open_user(dfd, path, (unsigned)how.flags, (u32)how.mode, lookup);
}

// ------------------------------------------------------------------------------- nameless files

static void anon_evict(struct inode *inode) { file_put(inode->data); }
static const struct inode_ops anon_inode_ops = {.evict = anon_evict};

static int describe_nameless(struct file *f, char *buf, size_t size)
{
    if (f->ops->describe)
        return f->ops->describe(f, buf, size);
    const char *name = f->ops->name ? f->ops->name : "anon_inode:[unknown]";
    if (!f->ops->type)
        return snprintf(buf, size, "%s", name);
    return snprintf(buf, size, "%s:[%llu]", name, (unsigned long long)f->ino);
}

struct dentry *file_dentry(struct file *f)
{
    if (f->dentry) {
        dentry_get(f->dentry);
        return f->dentry;
    }
    if (!anon_sb)
        anon_sb = superblock_alloc("anon_inodefs", 0x09041934, 0);
    if (!anon_sb)
        return ERR_PTR(-ENOMEM);
    u32 type = f->ops->type ? f->ops->type : 0;
    struct inode *inode = inode_alloc(anon_sb, S_IFIFO);  // the plainest kind of inode
    if (!inode)
        return ERR_PTR(-ENOMEM);
    inode->mode = type | 0600;
    inode->flags = I_ANON | I_EPHEMERAL;
    inode->ino = f->ino;
    inode->ops = &anon_inode_ops;
    inode->data = f;
    file_get(f);
    char name[64];
    int len = describe_nameless(f, name, sizeof(name));
    struct dentry *d = dentry_alloc(NULL, name, MIN(len, 63), inode);
    if (!d)
        inode_put(inode);
    return d ? d : ERR_PTR(-ENOMEM);
}

char *file_path(struct file *f, char *buf, size_t size)
{
    if (!f->dentry) {
        int len = describe_nameless(f, buf, size);
        return len < 0 || (size_t)len >= size ? ERR_PTR(-ENAMETOOLONG) : buf;
    }
    struct fs_context *fs = current->fs;
    struct dentry *root = fs ? fs_get_root(fs) : NULL;
    char *path = dentry_path(f->dentry, root, buf, size);
    if (root)
        dentry_put(root);
    return path;
}

void file_getattr(struct file *f, struct kstat *st)
{
    if (f->inode) {
        inode_getattr(f->inode, st);
        return;
    }
    const struct process *p = current->process;
    *st = (struct kstat){
        .ino = f->ino,
        .mode = f->ops->type == S_IFSOCK ? S_IFSOCK | 0777 : f->ops->type | 0600,
        .nlink = 1,
        .uid = p ? p->fsuid : 0,
        .gid = p ? p->fsgid : 0,
        .dev = MAKE_DEV(0, f->ops->type == S_IFIFO    ? 13
                           : f->ops->type == S_IFSOCK ? 8
                                                      : 14),
        .blksize = PAGE_SIZE,
    };
    st->atime_ns = st->mtime_ns = st->ctime_ns = now_ns();
}

// ------------------------------------------------------------------------------- for mm and exec

u64 file_size(struct file *f) { return f->inode ? inode_size(f->inode) : 0; }

ssize_t file_read_kernel(struct file *f, void *buf, size_t len, loff_t pos)
{
    struct uio to;
    size_t done = 0;
    if (!f->ops->read)
        return -EINVAL;
    while (done < len) {
        uio_init_kernel(&to, (char *)buf + done, len - done);
        ssize_t n = f->ops->read(f, &to, &pos);
        if (n < 0)
            return done ? (ssize_t)done : n;
        if (n == 0)
            break;
        done += n;
    }
    return done;
}

ssize_t file_write_kernel(struct file *f, const void *buf, size_t len, loff_t pos)
{
    struct uio from;
    if (!f->ops->write)
        return -EINVAL;
    uio_init_kernel(&from, (void *)(uintptr_t)buf, len);
    return f->ops->write(f, &from, &pos);
}

struct vm_object *file_object(struct file *f)
{
    if (!f->inode || !S_ISREG(f->inode->mode) || !(f->inode->flags & I_HAS_OBJECT))
        return NULL;
    vm_object_get(&f->inode->file.object);
    return &f->inode->file.object;
}

bool file_executable(struct file *f)
{
    return f->inode && S_ISREG(f->inode->mode) && !(f->inode->sb->flags & SB_NOEXEC) &&
           inode_permission(f->inode, MAY_EXEC) == 0;
}

int file_deny_write(struct file *f) { return f->inode ? inode_deny_write(f->inode) : 0; }
void file_allow_write(struct file *f)
{
    if (f->inode)
        inode_allow_write(f->inode);
}

void file_identity(struct file *f, u32 *dev, u64 *ino)
{
    *dev = f->inode ? f->inode->sb->dev : 0;
    *ino = f->inode ? f->inode->ino : f->ino;
}

// mmap(2), ERRORS.
static long mmap_check(struct file *f, int prot, int flags, u64 *may)
{
    bool shared = flags & MAP_SHARED;  // MAP_SHARED_VALIDATE too
    *may = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
    if (shared) {
        if ((prot & PROT_WRITE) && !(f->fmode & FMODE_WRITE))
            return -EACCES;
        if ((prot & PROT_WRITE) && f->inode && (f->inode->flags & I_APPEND_ONLY))
            return -EACCES;
        if (!(f->fmode & FMODE_WRITE))
            *may &= ~(u64)VM_MAYWRITE;
    }
    if (!(f->fmode & FMODE_READ))
        return -EACCES;
    if (f->inode && (f->inode->sb->flags & SB_NOEXEC)) {
        if (prot & PROT_EXEC)
            return -EPERM;
        *may &= ~(u64)VM_MAYEXEC;
    }
    if (!f->ops->mmap_object)
        return -ENODEV;
    if (flags & MAP_GROWSDOWN)
        return -EINVAL;
    if (shared && f->inode && (f->inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
        if (prot & PROT_WRITE)
            return -EPERM;
        *may &= ~(u64)VM_MAYWRITE;
    }
    return 0;
}

long file_mmap_object(int fd, int prot, int flags, struct file **file, struct vm_object **obj,
                      u64 *may_flags)
{
    struct file *f = fd_get_file(fd);
    if (!f)
        return -EBADF;
    long err = mmap_check(f, prot, flags, may_flags);
    if (!err) {
        *obj = f->ops->mmap_object(f, prot, flags);
        if (*obj == MAPPED_AS_ANONYMOUS)
            *obj = NULL;
        else
            err = !*obj ? -ENODEV : IS_ERR(*obj) ? PTR_ERR(*obj) : 0;
    }
    if (err) {
        file_put(f);
        return err;
    }
    *file = f;
    if (f->inode)
        file_accessed(f);
    return 0;
}
