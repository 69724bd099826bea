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
        kfree(x);
    }
}

struct xattr *xattr_new(const char *name, size_t size)
{
    size_t len = strlen(name) + 1;
    struct xattr *x = kmalloc(sizeof(*x) + len + size);
    if (x) {
        *x = (struct xattr){.name = (char *)(x + 1), .value = (char *)(x + 1) + len, .size = size};
        memcpy(x + 1, name, len);
    }
    return x;
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

// Where the attribute is, or would be. => -errno: what is asked is not allowed, or the disk cannot be read
static __noinline int find_slot(struct inode *inode, const char *name, bool write,
                                struct xattr ***slot)
{
    int err = xattr_allowed(inode, name, write);
    if (!err)
        err = load(inode);
    if (err)
        return err;
    struct xattr **at = &inode->xattrs;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    *slot = at;
    return 0;
}

// Puts new (NULL: nothing) in the place of what is there, which is freed.
static __noinline int replace(struct inode *inode, struct xattr **at, struct xattr *new)
{
    struct xattr *old = *at, *next = old ? old->next : NULL;
    if (new)
        new->next = next;
    *at = new ? new : next;
    int err = inode->ops->store_xattrs ? inode->ops->store_xattrs(inode) : 0;
    if (err) {
        *at = old;
        return err;
    }
    kfree(old);
    inode_touch_ctime(inode);
    return 0;
}

static int set_locked(struct inode *inode, const char *name, struct xattr *new, int flags)
{
    struct xattr **at;
    int err = find_slot(inode, name, true, &at);
    if (!err && *at && (flags & XATTR_CREATE))
        err = -EEXIST;
    if (!err && !*at && (flags & XATTR_REPLACE))
        err = -ENODATA;
    return err ? err : replace(inode, at, new);
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
    struct xattr *x = xattr_new(name, size);
    if (!x)
        return -ENOMEM;
    if (size)
        err = copy_from_user(x->value, value, size);
    if (!err) {
        mutex_lock(&d->inode->lock);
        err = set_locked(d->inode, name, x, flags);
        mutex_unlock(&d->inode->lock);
    }
    if (err)
        kfree(x);
    else
        fs_notify(d, IN_ATTRIB);
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
    struct xattr **at;
    ret = find_slot(inode, name, false, &at);
    struct xattr *x = ret ? NULL : *at;
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
    struct xattr **at;
    err = find_slot(inode, name, true, &at);
    if (!err)
        err = *at ? replace(inode, at, NULL) : -ENODATA;
    mutex_unlock(&inode->lock);
    if (!err)
        fs_notify(d, IN_ATTRIB);
    return err;
}

// ------------------------------------------------------------------------------- calls

// What is to be done, with the arguments that the call has.
enum op { SET, GET, LIST, REMOVE };
struct call {
    enum op op;
    uptr_t name, value;
    size_t size;
    int flags;
};

// On a file that was found; the reference is given up.
static __noinline long do_call(struct dentry *d, const struct call *c)
{
    long ret;
    if (IS_ERR(d))
        return PTR_ERR(d);
    if (c->op == SET)
        ret = set_on(d, c->name, c->value, c->size, c->flags);
    else if (c->op == GET)
        ret = get_on(d, c->name, c->value, c->size);
    else if (c->op == LIST)
        ret = list_on(d, c->value, c->size);
    else
        ret = remove_on(d, c->name);
    dentry_put(d);
    return ret;
}

static __noinline long by_path(uptr_t path, unsigned lookup, const struct call *c)
{
    struct dentry *d;
    int err = vfs_lookup_user(AT_FDCWD, path, lookup, &d);
    return do_call(err ? ERR_PTR(err) : d, c);
}

static __noinline long by_fd(int fd, const struct call *c)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    struct dentry *d = file_dentry(f.file);
    fd_put(f);
    return do_call(d, c);
}

long sys_setxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags)
{
    return by_path(path, LOOKUP_FOLLOW, &(struct call){SET, name, value, size, flags});
}
long sys_lsetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size, int flags)
{
    return by_path(path, 0, &(struct call){SET, name, value, size, flags});
}
long sys_fsetxattr(int fd, uptr_t name, uptr_t value, size_t size, int flags)
{
    return by_fd(fd, &(struct call){SET, name, value, size, flags});
}
long sys_getxattr(uptr_t path, uptr_t name, uptr_t value, size_t size)
{
    return by_path(path, LOOKUP_FOLLOW, &(struct call){GET, name, value, size, 0});
}
long sys_lgetxattr(uptr_t path, uptr_t name, uptr_t value, size_t size)
{
    return by_path(path, 0, &(struct call){GET, name, value, size, 0});
}
long sys_fgetxattr(int fd, uptr_t name, uptr_t value, size_t size)
{
    return by_fd(fd, &(struct call){GET, name, value, size, 0});
}
long sys_listxattr(uptr_t path, uptr_t list, size_t size)
{
    return by_path(path, LOOKUP_FOLLOW, &(struct call){LIST, 0, list, size, 0});
}
long sys_llistxattr(uptr_t path, uptr_t list, size_t size)
{
    return by_path(path, 0, &(struct call){LIST, 0, list, size, 0});
}
long sys_flistxattr(int fd, uptr_t list, size_t size)
{
    return by_fd(fd, &(struct call){LIST, 0, list, size, 0});
}
long sys_removexattr(uptr_t path, uptr_t name)
{
    return by_path(path, LOOKUP_FOLLOW, &(struct call){REMOVE, name, 0, 0, 0});
}
long sys_lremovexattr(uptr_t path, uptr_t name)
{
    return by_path(path, 0, &(struct call){REMOVE, name, 0, 0, 0});
}
long sys_fremovexattr(int fd, uptr_t name)
{
    return by_fd(fd, &(struct call){REMOVE, name, 0, 0, 0});
}
