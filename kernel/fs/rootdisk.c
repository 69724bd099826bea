// SPDX-License-Identifier: BSD-2-Clause
// rootdisk.c: the root image that stays on its disk, under the same layer of memory as an image in memory (rootfs.c).
//
//     a page that is read  --> page cache, clean: goes again when memory is short, comes again when it is asked for
//     a page that changes  --> the same page, dirty for good: memory is the only place that has it
//     names                --> dentries and inodes, as of a volume; what is made or renamed is in memory alone
//
// The file system below is a volume (volume.c) that is never written: it brings names, inodes and pages in. What the generic part
// asks of an image (I_IMAGE, image_pages) is answered here from the disk.
//
// D1 vi->disk_size is how far the disk's contents still count: a truncate lowers it for good, and image_pages with it. [vi->pages]
// D2 A page of a shared mapping is writable only while it is dirty (page_dirtied), so no change is on a page that can go.
//
// The kernel starts with an empty root; its disks are known when the first thread runs. Then the image takes the root's place and
// what was mounted on the empty one moves over.
#include <stdio.h>
#include <string.h>

#include "core/platform.h"
#include "fs/volume_internal.h"

#define MOST_MOUNTS 12

u64 rootdisk_block(struct inode *inode, u64 index, u32 *run, int *err)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct volume *v = vi->volume;
    bool unwritten = false;
    u64 pblk = 0;
    u32 n = 1;
    mutex_lock(&v->lock);
    *err = index < UINT32_MAX ? extfs_map(v->fs, vi->ino, (u32)index, &pblk, &n, &unwritten) : -EIO;
    mutex_unlock(&v->lock);
    if (run)
        *run = *err ? 1 : n;
    return *err || unwritten ? 0 : pblk;
}

static int page_dirtied(struct vm_object *obj, struct page *p)
{
    page_set_flags(p, PG_DIRTY);
    return 0;
}

static const struct vm_object_ops rootdisk_object_ops = {
    .get_page = volume_get_page,
    .page_dirtied = page_dirtied,
    .release = memfs_release_object,
};

static int set_size(struct inode *inode, u64 size)
{
    struct vol_inode *vi = vol_inode_of(inode);
    u64 pages = DIV_ROUND_UP(size, PAGE_SIZE);
    int err = vm_object_truncate(&inode->file.object, size);
    if (err)
        return err;
    mutex_lock(&vi->pages);
    vm_object_discard(&inode->file.object, pages, UINT64_MAX - 1);  // what was on its way in
    inode->file.image_pages = MIN(inode->file.image_pages, pages);
    vi->disk_size = MIN(vi->disk_size, size);
    mutex_unlock(&vi->pages);
    return 0;
}

static const struct inode_ops rootdisk_inode_ops = {
    .lookup = volume_lookup,
    .load = volume_load,
    .instantiate = volume_instantiate,
    .make = memfs_make,
    .getattr = rootfs_getattr,
    .set_size = set_size,
    .load_xattrs = volume_load_xattrs,
    .evict = volume_evict,
};

void rootdisk_init_inode(struct inode *inode, u64 size)
{
    inode->ops = &rootdisk_inode_ops;
    inode->flags |= I_IMAGE;
    if (S_ISREG(inode->mode)) {
        inode_init_object(inode, &rootdisk_object_ops, 0, size);
        inode->file.image_pages = DIV_ROUND_UP(size, PAGE_SIZE);
    }
}

// ------------------------------------------------------------------------------- bring-up

static struct superblock *open_root(const char *name)
{
    blockdev_init();
    struct block_device *device = block_find(strncmp(name, "/dev/", 5) ? name : name + 5);
    if (!device)
        noboot("root=%s: there is no such disk", name);
    struct superblock *sb = volume_create_layered(device);
    if (IS_ERR(sb))
        noboot("root=%s: the root image cannot be read (error %ld)", name, -PTR_ERR(sb));
    if (volume_of(sb)->disk.block_size != PAGE_SIZE)
        noboot("root=%s: its block size is not %lu", name, (unsigned long)PAGE_SIZE);
    struct extfs_stat st;
    extfs_statfs(volume_of(sb)->fs, &st);
    sb->next_ino = (u64)st.inodes + 1;
    sb->source = kstrdup("/dev/root");
    return sb;
}

struct moved {
    struct superblock *sb;
    char path[32];
};

// Takes what is mounted on the empty root off it. => how many
static u32 take_off(struct superblock *old, struct moved *list)
{
    u32 n = 0;
    for (struct list *link = mounts.next, *next; link != &mounts; link = next) {
        struct superblock *sb = list_entry(link, struct superblock, link);
        struct dentry *on = sb->mounted_on;
        next = link->next;
        if (!on || on->inode->sb != old)
            continue;
        const char *path = dentry_path(sb->root, NULL, list[n].path, sizeof(list[n].path));
        KASSERT(n < MOST_MOUNTS && !IS_ERR(path));
        memmove(list[n].path, path, strlen(path) + 1);
        list[n++].sb = sb;
        on->mounted = NULL;
        sb->mounted_on = NULL;
        list_remove(link);
        dentry_put(on);
    }
    return n;
}

void vfs_root_from_disk(void)
{
    static struct moved list[MOST_MOUNTS];
    char name[64];
    if (boot_info.image_start != boot_info.image_end)
        return;
    if (!cmdline_get("root", name, sizeof(name)))
        noboot(
            "no root image: pass one as the initial RAM disk, or its disk as root= (lethe run does)");
    struct superblock *old = root_dentry->inode->sb, *sb = open_root(name);
    u32 n = take_off(old, list);
    sb->mount_id = old->mount_id;
    list_remove(&old->link);
    root_dentry = sb->root;
    list_push_front(&mounts, &sb->link);
    for (u32 i = 0; i < n; i++) {
        int err = vfs_mount(list[i].sb, list[i].path);
        if (err)
            noboot("%s cannot be mounted (error %d)", list[i].path, -err);
    }
}
