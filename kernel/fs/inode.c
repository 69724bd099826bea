// SPDX-License-Identifier: BSD-2-Clause
// inode.c: inodes: life, permission, times, and who may write.
//
// An inode lives as long as a dentry, an open file or a mapping needs it. Mappings hold the vm_object
// that is embedded in the inode of a regular file, so the memory of such an inode is given back by the
// object's release (memfs_release_object), everything else when the last inode reference goes.
#include "fs/vfs_internal.h"

static struct kcache *inode_cache;

#define DAY_NS (86400ull * NSEC_PER_SEC)

void inode_init_caches(void) { inode_cache = kcache_create("inode", sizeof(struct inode), 8); }

struct inode *inode_alloc(struct superblock *sb, u32 mode)
{
    struct inode *inode = kcache_alloc(inode_cache);
    if (!inode)
        return NULL;
    memset(inode, 0, offsetof(struct inode, dir));
    inode->refcount = 1;
    inode->mode = mode;
    inode->nlink = 1;
    inode->sb = sb;
    inode->atime_ns = inode->mtime_ns = inode->ctime_ns = inode->btime_ns = now_ns();
    mutex_init(&inode->lock);
    switch (mode & S_IFMT) {
    case S_IFDIR:
        memset(&inode->dir, 0, sizeof(inode->dir));
        list_init(&inode->dir.children);
        inode->dir.next_cookie = 2;  // behind "." and ".."
        inode->nlink = 2;
        inode->fops = &directory_file_ops;
        break;
    case S_IFREG:
        inode->file.image_pages = inode->file.image_blocks = inode->file.charged = 0;
        inode->fops = &regular_file_ops;
        break;
    case S_IFLNK:
        inode->symlink.link = NULL;
        inode->symlink.link_len = 0;
        break;
    default: inode->special.pipe = inode->special.socket = NULL; break;
    }
    return inode;
}

void inode_free(struct inode *inode) { kcache_free(inode_cache, inode); }

void inode_init_object(struct inode *inode, const struct vm_object_ops *ops, u32 flags, u64 size)
{
    vm_object_init(&inode->file.object, ops, flags, size);
    inode->file.object.owner = inode;
    inode->flags |= I_HAS_OBJECT;
}

void inode_put(struct inode *inode)
{
    if (atomic_sub(&inode->refcount, 1) != 0)
        return;
    if (unlikely(inode->watches != NULL) && inotify_inode_gone)
        inotify_inode_gone(inode);
    if (inode->locks)
        locks_inode_gone(inode);
    if (inode->xattrs)
        xattrs_free(inode);
    if (inode->ops && inode->ops->evict)
        inode->ops->evict(inode);
    if (S_ISREG(inode->mode) && inode->file.charged)
        atomic_sub(&inode->sb->n_pages, inode->file.charged);
    if (S_ISDIR(inode->mode) && inode->dir.hash)
        kfree(inode->dir.hash);
    if (inode->flags & I_HAS_OBJECT)
        vm_object_put(&inode->file.object);  // memfs_release_object frees the inode
    else
        inode_free(inode);
}

u64 inode_size(const struct inode *inode)
{
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        return (inode->flags & I_HAS_OBJECT) ? READ_ONCE(inode->file.object.size_bytes) : 0;
    case S_IFLNK: return inode->symlink.link_len;
    case S_IFDIR: return (inode->sb->flags & SB_NO_CREATE) ? 0 : 40 + 20ull * inode->dir.n_children;
    default: return 0;
    }
}

static u64 inode_blocks(const struct inode *inode)
{
    if (!S_ISREG(inode->mode) || !(inode->flags & I_HAS_OBJECT))
        return 0;
    return inode->file.object.n_pages * (PAGE_SIZE / 512);  // rootfs.c corrects it for the image
}

void inode_getattr(struct inode *inode, struct kstat *st)
{
    st->ino = inode->ino;
    st->size = inode_size(inode);
    st->blocks = inode_blocks(inode);
    st->mode = inode->mode;
    st->nlink = inode->nlink;
    st->uid = inode->uid;
    st->gid = inode->gid;
    st->dev = inode->sb->dev;
    st->rdev = inode->rdev;
    st->blksize = PAGE_SIZE;
    st->atime_ns = inode->atime_ns;
    st->mtime_ns = inode->mtime_ns;
    st->ctime_ns = inode->ctime_ns;
    st->btime_ns = inode->btime_ns;
    if (inode->ops && inode->ops->getattr)
        inode->ops->getattr(inode, st);
}

void inode_touch_ctime(struct inode *inode)
{
    inode->ctime_ns = now_ns();
    inode_changed(inode);
}

void inode_touch_mtime(struct inode *inode)
{
    inode_touch_ctime(inode);
    inode->mtime_ns = inode->ctime_ns;
}

// relatime (mount(8)): the access time moves when it is not younger than the last change, or is a day
// old; the day is looked at when the file is opened.
void inode_accessed(struct inode *inode)
{
    u32 sb_flags = inode->sb->flags;
    if (inode->atime_ns > inode->mtime_ns && inode->atime_ns > inode->ctime_ns &&
        !inode->atime_due && !(sb_flags & SB_STRICTATIME))
        return;
    if ((inode->flags & I_NO_ATIME) || (sb_flags & (SB_NOATIME | SB_RDONLY)) ||
        ((sb_flags & SB_NODIRATIME) && S_ISDIR(inode->mode)))
        return;
    inode->atime_ns = now_ns();
    inode->atime_due = false;
    inode_changed(inode);
}

// ------------------------------------------------------------------------------- permission

void fs_cred_real(struct fs_cred *c)
{
    fs_cred_current(c);
    const struct process *p = current->process;
    if (!p)
        return;
    c->uid = p->uid;
    c->gid = p->gid;
    c->caps = p->uid == 0 ? p->cap_permitted : 0;
}

static bool cred_in_group(const struct fs_cred *c, u32 gid)
{
    if (c->gid == gid)
        return true;
    for (u32 i = 0; i < c->n_groups; i++) {
        if (c->groups[i] == gid)
            return true;
    }
    return false;
}

bool fs_in_group(u32 gid)
{
    struct fs_cred c;
    fs_cred_current(&c);
    return cred_in_group(&c, gid);
}

// path_resolution(7), capabilities(7).
int inode_permission_as(const struct inode *inode, unsigned mask, const struct fs_cred *cred)
{
    u32 mode = inode->mode;
    if (mask & MAY_WRITE) {
        if ((inode->sb->flags & SB_RDONLY) && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
            return -EROFS;
        if (inode->flags & I_IMMUTABLE)
            return -EPERM;
    }
    u32 bits = mode;
    if (cred->uid == inode->uid)
        bits >>= 6;
    else if (cred_in_group(cred, inode->gid))
        bits >>= 3;
    if (likely((mask & ~bits & 7) == 0))
        return 0;
    bool override = cred->caps & BIT(CAP_DAC_OVERRIDE);
    bool search = cred->caps & BIT(CAP_DAC_READ_SEARCH);
    if (S_ISDIR(mode))
        return override || (search && !(mask & MAY_WRITE)) ? 0 : -EACCES;
    if (override && (!(mask & MAY_EXEC) || (mode & 0111)))
        return 0;
    return search && (mask & 7) == MAY_READ ? 0 : -EACCES;
}

int inode_permission(const struct inode *inode, unsigned mask)
{
    struct fs_cred cred;
    fs_cred_current(&cred);
    return inode_permission_as(inode, mask, &cred);
}

bool inode_owner_or_capable(const struct inode *inode)
{
    const struct process *p = current->process;
    return !p || p->fsuid == inode->uid || fs_capable(CAP_FOWNER);
}

// ------------------------------------------------------------------------------- writers

// n_writers counts upwards for writers and downwards for executions; each excludes the other.
int inode_get_write(struct inode *inode)
{
    s32 n = READ_ONCE(inode->n_writers);
    do {
        if (n < 0)
            return -ETXTBSY;
    } while (!atomic_cmpxchg(&inode->n_writers, &n, n + 1));
    return 0;
}

void inode_put_write(struct inode *inode) { atomic_sub(&inode->n_writers, 1); }

int inode_deny_write(struct inode *inode)
{
    s32 n = READ_ONCE(inode->n_writers);
    do {
        if (n > 0)
            return -ETXTBSY;
    } while (!atomic_cmpxchg(&inode->n_writers, &n, n - 1));
    return 0;
}

void inode_allow_write(struct inode *inode) { atomic_add(&inode->n_writers, 1); }
