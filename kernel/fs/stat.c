// SPDX-License-Identifier: BSD-2-Clause
// stat.c: what is known about a file: stat(2), statx(2), access(2), statfs(2).
#include "fs/calls.h"
#include "fs/vfs_internal.h"

// stat by path or descriptor, the common part of the family.
static int getattr_at(int dfd, uptr_t user_path, unsigned lookup, struct kstat *st)
{
    struct pathname p;
    int err = pathname_get(&p, user_path);
    if (unlikely(err))
        return err;
    if (unlikely(!p.text[0] && (lookup & LOOKUP_EMPTY) && dfd != AT_FDCWD)) {
        struct fd f = fd_get_raw(dfd);
        if (f.file)
            file_getattr(f.file, st);
        err = f.file ? 0 : -EBADF;
        fd_put(f);
    } else {
        struct dentry *d;
        err = vfs_lookup(dfd, p.text, lookup, &d);
        if (!err) {
            inode_getattr(d->inode, st);
            dentry_put(d);
        }
    }
    pathname_put(&p);
    return err;
}

static long put_stat(uptr_t buf, const struct kstat *st)
{
    struct stat_user u = {
        .st_dev = dev_to_user(st->dev),
        .st_ino = st->ino,
        .st_nlink = st->nlink,
        .st_mode = st->mode,
        .st_uid = st->uid,
        .st_gid = st->gid,
        .st_rdev = dev_to_user(st->rdev),
        .st_size = (s64)st->size,
        .st_blksize = st->blksize,
        .st_blocks = (s64)st->blocks,
        .st_atime_sec = st->atime_ns / NSEC_PER_SEC,
        .st_atime_nsec = st->atime_ns % NSEC_PER_SEC,
        .st_mtime_sec = st->mtime_ns / NSEC_PER_SEC,
        .st_mtime_nsec = st->mtime_ns % NSEC_PER_SEC,
        .st_ctime_sec = st->ctime_ns / NSEC_PER_SEC,
        .st_ctime_nsec = st->ctime_ns % NSEC_PER_SEC,
    };
    return copy_to_user(buf, &u, sizeof(u));
}

static long stat_at(int dfd, uptr_t path, uptr_t buf, unsigned lookup)
{
    struct kstat st;
    int err = getattr_at(dfd, path, lookup, &st);
    return err ? err : put_stat(buf, &st);
}

long sys_stat(uptr_t path, uptr_t buf) { return stat_at(AT_FDCWD, path, buf, LOOKUP_FOLLOW); }
long sys_lstat(uptr_t path, uptr_t buf) { return stat_at(AT_FDCWD, path, buf, 0); }

long sys_fstat(int fd, uptr_t buf)
{
    struct kstat st;
    struct fd f = fd_get_raw(fd);
    if (!f.file)
        return -EBADF;
    file_getattr(f.file, &st);
    fd_put(f);
    return put_stat(buf, &st);
}

long sys_newfstatat(int dfd, uptr_t path, uptr_t buf, int flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
    if (flags & AT_EMPTY_PATH) {
        if (!path && dfd != AT_FDCWD)  // Linux 6.11: a null path is an empty one
            return sys_fstat(dfd, buf);
        lookup |= LOOKUP_EMPTY;
    }
    return stat_at(dfd, path, buf, lookup);
}

// ------------------------------------------------------------------------------- statx

struct statx_time {
    s64 sec;
    u32 nsec;
    s32 pad;
};
struct statx_user {
    u32 mask, blksize;
    u64 attributes;
    u32 nlink, uid, gid;
    u16 mode, pad0;
    u64 ino, size, blocks, attributes_mask;
    struct statx_time atime, btime, ctime, mtime;
    u32 rdev_major, rdev_minor, dev_major, dev_minor;
    u64 mnt_id;
    u32 dio_mem_align, dio_offset_align;
    u64 spare[12];
};
_Static_assert(sizeof(struct statx_user) == 256, "struct statx");

#define STATX_BASIC_STATS 0x7ffu
#define STATX_BTIME 0x800u
#define STATX_RESERVED 0x80000000u
#define AT_STATX_SYNC_TYPE 0x6000u

static struct statx_time statx_time(u64 ns)
{
    return (struct statx_time){.sec = (s64)(ns / NSEC_PER_SEC), .nsec = ns % NSEC_PER_SEC};
}

long sys_statx(int dfd, uptr_t path, u32 flags, u32 mask, uptr_t buf)
{
    if ((mask & STATX_RESERVED) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
        return -EINVAL;
    struct kstat st;
    unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
    int err;
    if ((flags & AT_EMPTY_PATH) && !path && dfd != AT_FDCWD) {
        struct fd f = fd_get_raw(dfd);
        err = f.file ? 0 : -EBADF;
        if (f.file)
            file_getattr(f.file, &st);
        fd_put(f);
    } else {
        err = getattr_at(dfd, path, lookup | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0), &st);
    }
    if (err)
        return err;
    struct statx_user u = {
        .mask = STATX_BASIC_STATS | (st.btime_ns ? STATX_BTIME : 0),
        .blksize = st.blksize,
        .nlink = st.nlink,
        .uid = st.uid,
        .gid = st.gid,
        .mode = (u16)st.mode,
        .ino = st.ino,
        .size = st.size,
        .blocks = st.blocks,
        .atime = statx_time(st.atime_ns),
        .btime = statx_time(st.btime_ns),
        .ctime = statx_time(st.ctime_ns),
        .mtime = statx_time(st.mtime_ns),
        .rdev_major = DEV_MAJOR(st.rdev),
        .rdev_minor = DEV_MINOR(st.rdev),
        .dev_major = DEV_MAJOR(st.dev),
        .dev_minor = DEV_MINOR(st.dev),
    };
    return copy_to_user(buf, &u, sizeof(u));
}

// ------------------------------------------------------------------------------- access

static long access_at(int dfd, uptr_t user_path, u32 mode, unsigned lookup, bool effective)
{
    struct fs_cred cred;
    struct pathname p;
    struct dentry *d;
    if (mode & ~7u)
        return -EINVAL;
    int err = pathname_get(&p, user_path);
    if (err)
        return err;
    if (effective)
        fs_cred_current(&cred);
    else
        fs_cred_real(&cred);
    err = lookup_with(dfd, p.text, lookup, &cred, &d);
    pathname_put(&p);
    if (err)
        return err;
    if (mode) {
        struct inode *inode = d->inode;
        if ((mode & MAY_EXEC) && S_ISREG(inode->mode) && (inode->sb->flags & SB_NOEXEC))
            err = -EACCES;
        else
            err = inode_permission_as(inode, mode, &cred);
    }
    dentry_put(d);
    return err;
}

long sys_access(uptr_t path, u32 mode)
{
    return access_at(AT_FDCWD, path, mode, LOOKUP_FOLLOW, false);
}

long sys_faccessat(int dfd, uptr_t path, u32 mode)
{
    return access_at(dfd, path, mode, LOOKUP_FOLLOW, false);
}

long sys_faccessat2(int dfd, uptr_t path, u32 mode, int flags)
{
    if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
    return access_at(dfd, path, mode, lookup | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0),
                     flags & AT_EACCESS);
}

// ------------------------------------------------------------------------------- statfs

struct statfs_user {  // 64-bit architectures agree on this one
    s64 type, bsize;
    u64 blocks, bfree, bavail, files, ffree;
    u32 fsid[2];
    s64 namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct statfs_user) == 120, "struct statfs");

#define ST_VALID 0x20
#define ST_RELATIME 0x1000

static long put_statfs(uptr_t buf, struct superblock *sb)
{
    u64 used = READ_ONCE(sb->n_pages), total = sb->max_pages;
    if (!total && !(sb->flags & SB_NO_CREATE))
        total = used + page_free_count();
    u64 free = total > used ? total - used : 0;
    free = MIN(free, page_free_count());
    u64 inodes = sb->max_inodes ? sb->max_inodes : total;
    struct statfs_user u = {
        .type = sb->magic,
        .bsize = PAGE_SIZE,
        .blocks = total,
        .bfree = free,
        .bavail = free,
        .files = inodes,
        .ffree = inodes > sb->n_inodes ? inodes - sb->n_inodes : 0,
        .fsid = {sb->dev, 0},
        .namelen = NAME_MAX,
        .frsize = PAGE_SIZE,
        .flags =
            ST_VALID | (sb->flags & (SB_RDONLY | SB_NOSUID | SB_NODEV | SB_NOEXEC | SB_NOATIME)),
    };
    if (sb->ops) {
        struct statfs_counts c;
        sb->ops->statfs(sb, &c);
        u.bsize = u.frsize = (s64)c.block_bytes;
        u.blocks = c.blocks;
        u.bfree = c.free;
        u.bavail = c.available;
        u.files = c.inodes;
        u.ffree = c.free_inodes;
    }
    if (sb->flags & SB_RELATIME)
        u.flags |= ST_RELATIME;
    return copy_to_user(buf, &u, sizeof(u));
}

long sys_statfs(uptr_t path, uptr_t buf)
{
    struct dentry *d;
    int err = vfs_lookup_user(AT_FDCWD, path, LOOKUP_FOLLOW, &d);
    if (err)
        return err;
    long ret = put_statfs(buf, d->inode->sb);
    dentry_put(d);
    return ret;
}

long sys_fstatfs(int fd, uptr_t buf)
{
    struct fd f = fd_get_raw(fd);
    if (!f.file)
        return -EBADF;
    struct dentry *d = file_dentry(f.file);
    fd_put(f);
    if (IS_ERR(d))
        return PTR_ERR(d);
    long ret = put_statfs(buf, d->inode->sb);
    dentry_put(d);
    return ret;
}
