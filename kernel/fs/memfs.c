// SPDX-License-Identifier: BSD-2-Clause
// memfs.c: files that live in memory: tmpfs, memfd, and what programs add to the root.
//
// A directory is its dentries, a regular file its vm_object, a link its text. The pages of a file count
// against the superblock's limit (tmpfs size=): inode->file.charged is what is counted for it now,
// inode_recharge brings that up to date after a change, and a page is refused when the count has
// reached the limit. Pages that a mapping makes are counted at the next look; so a limit may be passed
// by what one mapping touches between two calls, never by what is written.
#include "fs/vfs_internal.h"

static u32 next_anon_minor = 16;  // atomic: st_dev of superblocks without a device

struct superblock *superblock_alloc(const char *type, u32 magic, u32 flags)
{
    struct superblock *sb = kzalloc(sizeof(*sb));
    if (!sb)
        return NULL;
    sb->type = type;
    sb->magic = magic;
    sb->flags = flags;
    sb->dev = MAKE_DEV(0, atomic_add(&next_anon_minor, 1));
    sb->next_ino = 1;
    list_init(&sb->link);
    return sb;
}

static struct page *memfs_get_page(struct vm_object *obj, u64 index, bool write)
{
    struct inode *inode = obj->owner;
    if (unlikely(!sb_may_add_page(inode->sb)))
        return ERR_PTR(-ENOSPC);
    struct page *p = page_alloc(0, PAGE_ZERO | PAGE_USER);
    if (!p)
        return ERR_PTR(-ENOMEM);
    if (inode->sb->max_pages) {
        atomic_add(&inode->file.charged, 1);
        atomic_add(&inode->sb->n_pages, 1);
    }
    return p;
}

void memfs_release_object(struct vm_object *obj) { inode_free(obj->owner); }

const struct vm_object_ops memfs_object_ops = {
    .get_page = memfs_get_page,
    .release = memfs_release_object,
};

void inode_recharge(struct inode *inode)
{
    inode->flags |= I_CHANGED;
    inode_changed(inode);
    u64 now = READ_ONCE(inode->file.object.n_pages), before = inode->file.charged;
    if (now == before)
        return;
    inode->file.charged = now;
    atomic_add(&inode->sb->n_pages, now - before);
}

void drop_beyond_size(struct inode *inode)
{
    struct vm_object *obj = &inode->file.object;
    u64 size = obj->size_bytes;
    if (!obj->n_pages)
        return;
    WRITE_ONCE(obj->size_bytes, ALIGN_UP(size, PAGE_SIZE) + 1);
    if (vm_object_truncate(obj, size))
        WRITE_ONCE(obj->size_bytes, size);
}

static void memfs_evict(struct inode *inode)
{
    atomic_sub(&inode->sb->n_inodes, 1);
    if (S_ISLNK(inode->mode) && inode->symlink.link)
        kfree((char *)inode->symlink.link);
}

struct inode *memfs_make_sb(struct superblock *sb, u32 mode, u32 rdev)
{
    if (sb->max_inodes && sb->n_inodes >= sb->max_inodes)
        return ERR_PTR(-ENOSPC);
    struct inode *inode = inode_alloc(sb, mode);
    if (!inode)
        return ERR_PTR(-ENOMEM);
    atomic_add(&sb->n_inodes, 1);
    inode->ino = atomic_add(&sb->next_ino, 1);
    inode->ops = &memfs_inode_ops;
    inode->rdev = rdev;
    if (S_ISREG(mode))
        inode_init_object(inode, &memfs_object_ops, VMO_ANON, 0);
    else if (S_ISDIR(mode))
        inode->flags |= I_COMPLETE;
    return inode;
}

struct inode *memfs_make(struct inode *dir, u32 mode, u32 rdev)
{
    return memfs_make_sb(dir->sb, mode, rdev);
}

const struct inode_ops memfs_inode_ops = {.make = memfs_make, .evict = memfs_evict};

static void memfs_destroy(struct superblock *sb)
{
    dentry_release_tree(sb->root);
    kfree(sb->source);
    kfree(sb->options);
    kfree(sb);
}

struct superblock *tmpfs_create(u64 max_bytes, u32 root_mode)
{
    struct superblock *sb = superblock_alloc("tmpfs", 0x01021994, SB_RELATIME);
    if (!sb)
        return NULL;
    sb->max_pages = max_bytes / PAGE_SIZE;
    sb->max_inodes = page_total_count();
    sb->destroy = memfs_destroy;
    struct inode *root = memfs_make_sb(sb, S_IFDIR | root_mode, 0);
    if (IS_ERR(root)) {
        kfree(sb);
        return NULL;
    }
    sb->root = dentry_alloc(NULL, "/", 1, root);
    if (!sb->root) {
        inode_put(root);
        kfree(sb);
        return NULL;
    }
    return sb;
}
