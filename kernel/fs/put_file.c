// SPDX-License-Identifier: BSD-2-Clause
// put_file.c: files that the kernel itself writes before the program starts. Only in the kernel with devices.
#include <string.h>

#include "fs/vfs_internal.h"

// The folders above a path. => what is in the way is told by the one who opens it
static void make_folders(const char *path)
{
    char *copy = kstrdup(path);
    for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)vfs_mknod(AT_FDCWD, copy, S_IFDIR | 0755, 0, NULL);
        *slash = '/';
    }
    kfree(copy);
}

static void set_mode(struct file *f, u32 mode)
{
    struct dentry *d = file_dentry(f);
    if (IS_ERR(d))
        return;
    mutex_lock(&d->inode->lock);
    d->inode->mode = (d->inode->mode & S_IFMT) | (mode & 07777);
    inode_changed(d->inode);
    mutex_unlock(&d->inode->lock);
    dentry_put(d);
}

int vfs_put_file(const char *path, const void *bytes, size_t n, u32 mode, bool append)
{
    if (path[0] != '/')
        return -EINVAL;
    make_folders(path);
    struct file *f = file_open_kernel(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC));
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    ssize_t done = n ? file_write_kernel(f, bytes, n, append ? (loff_t)file_size(f) : 0) : 0;
    if (done == (ssize_t)n)
        set_mode(f, mode);
    file_put(f);
    return done < 0 ? (int)done : done < (ssize_t)n ? -ENOSPC : 0;
}
