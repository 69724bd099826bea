// SPDX-License-Identifier: BSD-2-Clause
// volume_xattr.c: extended attributes of files on a volume, between the list of xattr.c and the disk.
#include "fs/volume_internal.h"

struct load {
    struct xattr **end;  // where the next is linked
};

static int take(void *arg, const char *name, const void *value, u32 size)
{
    struct load *l = arg;
    struct xattr *x = xattr_new(name, size);
    if (!x)
        return -ENOMEM;
    memcpy(x->value, value, size);
    *l->end = x;
    l->end = &x->next;
    return 0;
}

int volume_load_xattrs(struct inode *inode)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct load l = {&inode->xattrs};
    struct extfs_xattr_sink sink = {take, &l};
    mutex_lock(&vi->volume->lock);
    int err = extfs_read_xattrs(vi->volume->fs, vi->ino, &sink);
    mutex_unlock(&vi->volume->lock);
    return err == -EUCLEAN ? -EIO : err;
}

int volume_store_xattrs(struct inode *inode)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct volume *v = vi->volume;
    u32 n = 0;
    for (struct xattr *x = inode->xattrs; x; x = x->next)
        n++;
    struct extfs_xattr *list = kmalloc((n + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    n = 0;
    for (struct xattr *x = inode->xattrs; x; x = x->next)
        list[n++] = (struct extfs_xattr){x->name, x->value, (u32)x->size, false};
    mutex_lock(&v->lock);
    int err = extfs_begin(v->fs);
    if (!err) {
        err = extfs_end(v->fs, extfs_write_xattrs(v->fs, vi->ino, list, n));
        vi->transaction = extfs_transaction(v->fs);
    }
    mutex_unlock(&v->lock);
    kfree(list);
    return err == -EUCLEAN ? -EIO : err;
}
