// SPDX-License-Identifier: BSD-2-Clause
// memfd.c: memfd_create(2) and file seals (fcntl(2), F_ADD_SEALS).
#include <stdio.h>

#include "fs/calls.h"
#include "fs/vfs_internal.h"

#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#define MFD_HUGETLB 4u
#define MFD_NOEXEC_SEAL 8u
#define MFD_EXEC 16u
#define MFD_NAME_MAX (NAME_MAX - 6)  // "memfd:" counts

#define F_SEAL_ALL 63u

static struct superblock *memfd_sb;

// The inode is told from other files by its file system.
static bool is_memfd(const struct file *f)
{
    return f->inode && memfd_sb && f->inode->sb == memfd_sb;
}

static struct file *memfd_make(const char *name, unsigned flags)
{
    if (!memfd_sb)
        memfd_sb = superblock_alloc("tmpfs", 0x01021994, SB_NO_CREATE);
    if (!memfd_sb)
        return ERR_PTR(-ENOMEM);
    struct inode *inode =
        memfs_make_sb(memfd_sb, S_IFREG | (flags & MFD_NOEXEC_SEAL ? 0666 : 0777), 0);
    if (IS_ERR(inode))
        return (struct file *)inode;
    const struct process *p = current->process;
    inode->uid = p->fsuid;
    inode->gid = p->fsgid;
    inode->nlink = 0;
    inode->seals = flags & MFD_NOEXEC_SEAL     ? F_SEAL_EXEC
                   : flags & MFD_ALLOW_SEALING ? 0
                                               : F_SEAL_SEAL;
    char text[NAME_MAX + 20];
    int len = snprintf(text, sizeof(text), "/memfd:%s (deleted)", name);
    // A dentry keeps 255 bytes of name, which the longest memfd name with its suffix may exceed.
    struct dentry *d = dentry_alloc(NULL, text, MIN(len, NAME_MAX), inode);
    if (!d) {
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    struct file *f = file_open_dentry(d, O_RDWR);
    dentry_put(d);
    return f;
}

long sys_memfd_create(uptr_t user_name, u32 flags)
{
    char name[MFD_NAME_MAX + 1];
    if (flags & MFD_HUGETLB)
        return -EINVAL;  // no hugetlbfs: huge pages come by themselves
    if (flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC))
        return -EINVAL;
    if ((flags & MFD_EXEC) && (flags & MFD_NOEXEC_SEAL))
        return -EINVAL;
    ssize_t n = strncpy_from_user(name, user_name, sizeof(name));
    if (n < 0)
        return n == -ENAMETOOLONG ? -EINVAL : n;
    struct file *f = memfd_make(name, flags);
    if (IS_ERR(f))
        return PTR_ERR(f);
    int fd = fd_new(f, flags & MFD_CLOEXEC ? O_CLOEXEC : 0);
    if (fd < 0)
        file_put(f);
    return fd;
}

long memfd_get_seals(struct file *f) { return is_memfd(f) ? (long)f->inode->seals : -EINVAL; }

long memfd_add_seals(struct file *f, u32 seals)
{
    if (!(f->fmode & FMODE_WRITE))
        return -EPERM;
    if (seals & ~F_SEAL_ALL)
        return -EINVAL;
    if (!is_memfd(f))
        return -EINVAL;
    struct inode *inode = f->inode;
    long err = 0;
    mutex_lock(&inode->lock);
    if (inode->seals & F_SEAL_SEAL) {
        err = -EPERM;
    } else if ((seals & F_SEAL_WRITE) && !(inode->seals & F_SEAL_WRITE)) {
        spin_lock(&inode->file.object.map_lock);
        if (inode->file.object.n_writable)
            err = -EBUSY;
        else
            inode->seals |= F_SEAL_WRITE;
        spin_unlock(&inode->file.object.map_lock);
    }
    if (!err) {
        if ((seals & F_SEAL_EXEC) && (inode->mode & 0111))
            seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
        inode->seals |= seals;
        if (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
            inode->file.object.flags |= VMO_SEALED;
    }
    mutex_unlock(&inode->lock);
    return err;
}

// A write to [pos, end): what the seals say. [inode->lock]
int memfd_check_write(struct inode *inode, u64 pos, u64 end)
{
    if (inode->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return -EPERM;
    if ((inode->seals & F_SEAL_GROW) && end > inode_size(inode))
        return -EPERM;
    return 0;
}
