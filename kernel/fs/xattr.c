// SPDX-License-Identifier: BSD-2-Clause
// xattr.c: extended attributes (xattr(7)) of files in memory: user.*, trusted.* and security.*.
//
// They hang off the inode in a list, changed under inode->lock. Volumes bring theirs in when they are asked for first, and
// write the list when it has changed (volume_xattr.c). Those that the root image holds are not read: mke2fs -d packs
// none that programs look for.
#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define XATTR_CREATE 1
#define XATTR_REPLACE 2
#define XATTR_SIZE_MAX 65536u
#define XATTR_LIST_MAX 65536u

void xattrs_free(struct inode *inode)
{
    while (inode->xattrs) {
        struct xattr *x = inode->xattrs;
        inode->xattrs = x->next;
        kfree(x->name);
        kfree(x);
    }
}

static struct xattr **find_slot(struct inode *inode, const char *name)
{
    struct xattr **at = &inode->xattrs;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static int load(struct inode *inode)
{
    if (!inode->ops->load_xattrs || (inode->flags & I_XATTRS))
        return 0;
    int err = inode->ops->load_xattrs(inode);
    if (err)
        xattrs_free(inode);
    else
        inode->flags |= I_XATTRS;
    return err;
}

// What the name space and the file's type allow. => 0, or the errno of xattr(7)
static int xattr_allowed(const struct inode *inode, const char *name, bool write)
{
    if (inode->ops != &memfs_inode_ops && !(inode->flags & (I_IMAGE | I_VOLUME)))
        return -EOPNOTSUPP;
    if (write && (inode->sb->flags & SB_RDONLY))
        return -EROFS;
    if (strncmp(name, "user.", 5) == 0) {
        if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
            return write ? -EPERM : -ENODATA;
        if (write && S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) &&
            !inode_owner_or_capable(inode))
            return -EPERM;
        return inode_permission(inode, write ? MAY_WRITE : MAY_READ);
    }
    if (strncmp(name, "trusted.", 8) == 0)
        return fs_capable(CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
    if (strncmp(name, "security.", 9) == 0)
        return !write || fs_capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
    return -EOPNOTSUPP;
}

// A name, which is not empty behind its name space.
static int xattr_name(char name[NAME_MAX + 1], uptr_t user)
{
    ssize_t n = strncpy_from_user(name, user, NAME_MAX + 1);
    if (n == 0 || n == -ENAMETOOLONG)
        return -ERANGE;
    if (n < 0)
        return (int)n;
    return strcmp(name, "user.") && strcmp(name, "trusted.") && strcmp(name, "security.") ? 0
                                                                                          : -EINVAL;
}

// ------------------------------------------------------------------------------- on an inode

static int set_locked(struct inode *inode, const char *name, struct xattr *new, int flags)
{
    int err = xattr_allowed(inode, name, true);
    if (!err)
        err = load(inode);
    if (err)
        return err;
    struct xattr **at = find_slot(inode, name), *old = *at;
    if (old && (flags & XATTR_CREATE))
        return -EEXIST;
    if (!old && (flags & XATTR_REPLACE))
        return -ENODATA;
    new->next = old ? old->next : NULL;
    *at = new;
    err = inode->ops->store_xattrs ? inode->ops->store_xattrs(inode) : 0;
    if (err) {
        *at = old;
        return err;
    }
    if (old) {
        kfree(old->name);
        kfree(old);
    }
    inode_touch_ctime(inode);
    return 0;
}

static long set_on(struct dentry *d, uptr_t user_name, uptr_t value, size_t size, int flags)
{
    char name[NAME_MAX + 1];
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    int err = xattr_name(name, user_name);
    if (err)
        return err;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    struct xattr *x = kmalloc(sizeof(*x) + size);
    char *text = kstrdup(name);
    err = x && text ? 0 : -ENOMEM;
    if (!err && size)
        err = copy_from_user(x + 1, value, size);
    if (!err) {
        *x = (struct xattr){.name = text, .value = x + 1, .size = size};
        mutex_lock(&d->inode->lock);
        err = set_locked(d->inode, name, x, flags);
        mutex_unlock(&d->inode->lock);
    }
    if (err) {
        kfree(x);
        kfree(text);
    } else {
        fs_notify(d, IN_ATTRIB);
    }
    return err;
}

static long get_on(struct dentry *d, uptr_t user_name, uptr_t value, size_t size)
{
    char name[NAME_MAX + 1];
    long ret = xattr_name(name, user_name);
    if (ret)
        return ret;
    struct inode *inode = d->inode;
    mutex_lock(&inode->lock);
    ret = xattr_allowed(inode, name, false);
    if (!ret)
        ret = load(inode);
    struct xattr *x = ret ? NULL : *find_slot(inode, name);
    if (!ret && !x)
        ret = -ENODATA;
    if (x)
        ret = size && size < x->size ? -ERANGE : (long)x->size;
    if (ret > 0 && size && copy_to_user(value, x->value, x->size))
        ret = -EFAULT;
    mutex_unlock(&inode->lock);
    return ret;
}

static long list_on(struct dentry *d, uptr_t list, size_t size)
{
    struct inode *inode = d->inode;
    size_t used = 0;
    mutex_lock(&inode->lock);
    long err = load(inode);
    for (struct xattr *x = inode->xattrs; x && !err; x = x->next) {
        size_t len = strlen(x->name) + 1;
        if (strncmp(x->name, "system.", 7) == 0 ||
            (strncmp(x->name, "trusted.", 8) == 0 && !fs_capable(CAP_SYS_ADMIN)))
            continue;
        if (size && used + len > size)
            err = -ERANGE;
        else if (size)
            err = copy_to_user(list + used, x->name, len);
        used += len;
    }
    mutex_unlock(&inode->lock);
    return err ? err : used > XATTR_LIST_MAX ? -E2BIG : (long)used;
}

static long remove_on(struct dentry *d, uptr_t user_name)
{
    char name[NAME_MAX + 1];
    int err = xattr_name(name, user_name);
    if (err)
        return err;
    struct inode *inode = d->inode;
    mutex_lock(&inode->lock);
    err = xattr_allowed(inode, name, true);
    if (!err)
        err = load(inode);
    struct xattr **at = err ? NULL : find_slot(inode, name);
    struct xattr *x = at ? *at : NULL;
    if (!err && !x)
        err = -ENODATA;
    if (x) {
        *at = x->next;
        err = inode->ops->store_xattrs ? inode->ops->store_xattrs(inode) : 0;
        if (err)
            *at = x;
        else
            inode_touch_ctime(inode);
    }
    mutex_unlock(&inode->lock);
    if (x && !err) {
        kfree(x->name);
        kfree(x);
        fs_notify(d, IN_ATTRIB);
    }
    return err;
}

// ------------------------------------------------------------------------------- calls

// Where a call finds its file: by path (following links or not) or by descriptor.
static struct dentry *by_path(uptr_t path, unsigned lookup)
{
    struct dentry *d;
    int err = vfs_lookup_user(AT_FDCWD, path, lookup, &d);
    return err ? ERR_PTR(err) : d;
}

static struct dentry *by_fd(int fd)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return ERR_PTR(-EBADF);
    struct dentry *d = file_dentry(f.file);
    fd_put(f);
    return d;
}

#define ON(dentry_expr, call)         \
    struct dentry *d = (dentry_expr); \
    if (IS_ERR(d))                    \
        return PTR_ERR(d);            \
    long ret = (call);                \
    dentry_put(d);                    \
    return ret

long sys_setxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags)
{
    ON(by_path(path, LOOKUP_FOLLOW), set_on(d, name, value, size, flags));
}
long sys_lsetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags)
{
    ON(by_path(path, 0), set_on(d, name, value, size, flags));
}
long sys_fsetxattr(int fd, uptr_t name, uptr_t value, size_t size, int flags)
{
    ON(by_fd(fd), set_on(d, name, value, size, flags));
}
long sys_getxattr(uptr_t path, uptr_t name, uptr_t value, size_t size)
{
    ON(by_path(path, LOOKUP_FOLLOW), get_on(d, name, value, size));
}
long sys_lgetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size)
{
    ON(by_path(path, 0), get_on(d, name, value, size));
}
long sys_fgetxattr(int fd, uptr_t name, uptr_t value, size_t size)
{
    ON(by_fd(fd), get_on(d, name, value, size));
}
long sys_listxattr(uptr_t path, uptr_t list, size_t size)
{
    ON(by_path(path, LOOKUP_FOLLOW), list_on(d, list, size));
}
long sys_llistxattr(uptr_t path, uptr_t list, size_t size)
{
    ON(by_path(path, 0), list_on(d, list, size));
}
long sys_flistxattr(int fd, uptr_t list, size_t size) { ON(by_fd(fd), list_on(d, list, size)); }
long sys_removexattr(uptr_t path, uptr_t name)
{
    ON(by_path(path, LOOKUP_FOLLOW), remove_on(d, name));
}
long sys_lremovexattr(uptr_t path, uptr_t name) { ON(by_path(path, 0), remove_on(d, name)); }
long sys_fremovexattr(int fd, uptr_t name) { ON(by_fd(fd), remove_on(d, name)); }
