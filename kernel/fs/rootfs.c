// SPDX-License-Identifier: BSD-2-Clause
// rootfs.c: the root: the packed ext4 image, read where it lies, under a layer of memory.
//
// A name of the image becomes a dentry when it is first walked to, or as a stub when its directory is
// listed or changed; from then on memory is all there is to ask. So removing or renaming needs no
// whiteouts: before a name leaves a directory, the whole directory is brought in (dir_load_locked).
//
// A file's pages are the image's own frames (the image is aligned and its blocks are pages): reads copy
// from them, mappings map them. The first write to a page copies it (rootfs_get_page, write), and the
// copy takes the frame's place in the object's tree. image_pages tells how far the image still shines
// through; a truncate lowers it for good, so that a file that grows again reads as zeros.
//
// An image that stays on its disk is rootdisk.c's; what is said here of names and of image_pages holds there too.
#include <string.h>

#include "arch/cpu.h"
#include "core/platform.h"
#include "fs/ext4.h"
#include "fs/vfs_internal.h"

#define LINK_BUCKETS 64

struct rootfs {
    struct ext4 fs;
    phys_t image;
    struct spinlock lock;
    struct inode *linked[LINK_BUCKETS];  // [lock] inodes with several names, chained through data
};

static const struct inode_ops rootfs_inode_ops;
static struct rootfs *rootfs_of(const struct inode *inode) { return inode->sb->data; }

// ------------------------------------------------------------------------------- file pages

// Block of the image behind a page of the file. => 0 for a hole or a damaged map (then *err)
static u64 image_block(struct inode *inode, u64 index, u32 *run, int *err)
{
    if (rootdisk_block && inode->ops != &rootfs_inode_ops)
        return rootdisk_block(inode, index, run, err);
    struct ext4_inode ei;
    struct rootfs *r = rootfs_of(inode);
    u64 pblk = 0;
    u32 len = 1;
    *err = ext4_read_inode(&r->fs, (u32)inode->ino, &ei);
    if (!*err)
        *err = ext4_map(&r->fs, &ei, (u32)index, &pblk, &len);
    if (run)
        *run = len;
    return *err ? 0 : pblk;
}

bool rootfs_page_is_hole(struct inode *inode, u64 index)
{
    int err;
    return image_block(inode, index, NULL, &err) == 0 && !err;
}

static bool tail_is_zero(const char *page, size_t from)
{
    for (; from < PAGE_SIZE && from % 8; from++) {
        if (page[from])
            return false;
    }
    for (; from < PAGE_SIZE; from += 8) {
        if (*(const u64 *)(page + from))
            return false;
    }
    return true;
}

static struct page *rootfs_get_page(struct vm_object *obj, u64 index, bool write)
{
    struct inode *inode = obj->owner;
    int err = 0;
    u64 block = index < inode->file.image_pages ? image_block(inode, index, NULL, &err) : 0;
    if (err)
        return ERR_PTR(-EIO);
    const char *from = NULL;
    size_t valid = PAGE_SIZE;  // bytes of the page that belong to the file
    if (block) {
        phys_t pa = rootfs_of(inode)->image + block * PAGE_SIZE;
        from = phys_to_virt(pa);
        if ((index + 1) * PAGE_SIZE > obj->size_bytes && index * PAGE_SIZE < obj->size_bytes)
            valid = obj->size_bytes % PAGE_SIZE;
        if (!write && (valid == PAGE_SIZE || tail_is_zero(from, valid))) {
            struct page *p = phys_to_page(pa);
            page_get(p);
            return p;
        }
    }
    struct page *copy = page_alloc(0, block ? PAGE_USER : PAGE_USER | PAGE_ZERO);
    if (!copy)
        return ERR_PTR(-ENOMEM);
    if (block) {
        char *to = page_address(copy);
        arch_copy_page(to, from);
        if (valid < PAGE_SIZE)
            memset(to + valid, 0, PAGE_SIZE - valid);
    }
    copy->flags |= PG_DIRTY;  // memory is the only place that has it
    return copy;
}

static const struct vm_object_ops rootfs_object_ops = {
    .get_page = rootfs_get_page,
    .release = memfs_release_object,
};

// The next page from index on that is a hole of the image, or is none. => the end of the image's part, or UINT64_MAX for data, when there is none
static u64 next_page(struct inode *inode, u64 index, bool hole)
{
    u64 end = inode->file.image_pages;
    while (index < end) {
        u32 run;
        int err;
        bool is_hole = !image_block(inode, index, &run, &err) && !err;
        if (is_hole == hole)
            return index;
        index = MIN(index + run, end);
    }
    return hole ? index : UINT64_MAX;
}

u64 rootfs_next_data(struct inode *inode, u64 index) { return next_page(inode, index, false); }
u64 rootfs_next_hole(struct inode *inode, u64 index) { return next_page(inode, index, true); }

// 512-byte blocks of a file that was changed: pages that are in memory or in the image.
u64 rootfs_count_blocks(struct inode *inode)
{
    struct vm_object *obj = &inode->file.object;
    u64 pages = 0, index = 0, end = DIV_ROUND_UP(obj->size_bytes, PAGE_SIZE);
    for (;;) {
        u64 data = MIN(vm_object_next_data(obj, index), rootfs_next_data(inode, index));
        if (data >= end)
            return pages * (PAGE_SIZE / 512);
        u64 in_memory = vm_object_next_hole(obj, data), in_image = rootfs_next_hole(inode, data);
        index = MIN(MAX(in_memory, in_image), end);
        pages += index - data;
    }
}

static int rootfs_set_size(struct inode *inode, u64 size)
{
    int err = vm_object_truncate(&inode->file.object, size);
    if (!err)
        inode->file.image_pages = MIN(inode->file.image_pages, DIV_ROUND_UP(size, PAGE_SIZE));
    return err;
}

void rootfs_getattr(struct inode *inode, struct kstat *st)
{
    if (S_ISREG(inode->mode))
        st->blocks =
            inode->flags & I_CHANGED ? rootfs_count_blocks(inode) : inode->file.image_blocks;
}

// ------------------------------------------------------------------------------- inodes

static struct inode **link_slot(struct rootfs *r, u64 ino)
{
    return &r->linked[ino % LINK_BUCKETS];
}

static struct inode *find_linked(struct rootfs *r, u64 ino)
{
    spin_lock(&r->lock);
    struct inode *inode = *link_slot(r, ino);
    while (inode && inode->ino != ino)
        inode = inode->data;
    if (inode) {
        u32 n = atomic_load_relaxed(&inode->refcount);
        while (n && !atomic_cmpxchg(&inode->refcount, &n, n + 1)) {
        }
        if (!n)
            inode = NULL;  // on its way out; its contents lie in the image, make another
    }
    spin_unlock(&r->lock);
    return inode;
}

static void rootfs_evict(struct inode *inode)
{
    struct rootfs *r = rootfs_of(inode);
    spin_lock(&r->lock);
    for (struct inode **at = link_slot(r, inode->ino); *at; at = (struct inode **)&(*at)->data) {
        if (*at == inode) {
            *at = inode->data;
            break;
        }
    }
    spin_unlock(&r->lock);
    if (S_ISLNK(inode->mode))
        kfree((char *)inode->symlink.link);
}

static int fill_link(struct rootfs *r, struct inode *inode, const struct ext4_inode *ei)
{
    const char *text;
    int len = ext4_link_text(&r->fs, ei, &text);
    if (len < 0)
        return len;
    char *copy = kmalloc(len + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, len);
    copy[len] = '\0';
    inode->symlink.link = copy;
    inode->symlink.link_len = len;
    return 0;
}

static struct inode *rootfs_iget(struct superblock *sb, u32 ino)
{
    struct rootfs *r = sb->data;
    struct ext4_inode ei;
    int err = ext4_read_inode(&r->fs, ino, &ei);
    if (err) {
        log_error("root image: inode %u is damaged", ino);
        return ERR_PTR(-EUCLEAN);
    }
    bool linked = ei.n_links > 1 && !S_ISDIR(ei.mode);
    struct inode *inode = linked ? find_linked(r, ino) : NULL;
    if (inode)
        return inode;
    inode = inode_alloc(sb, ei.mode);
    if (!inode)
        return ERR_PTR(-ENOMEM);
    inode->ops = &rootfs_inode_ops;
    inode->flags = I_IMAGE;
    inode->ino = ino;
    inode->uid = ei.uid;
    inode->gid = ei.gid;
    inode->nlink = ei.n_links;
    inode->atime_ns = ei.atime_ns;
    inode->mtime_ns = ei.mtime_ns;
    inode->ctime_ns = ei.ctime_ns;
    inode->btime_ns = ei.btime_ns;
    switch (ei.mode & S_IFMT) {
    case S_IFREG:
        inode_init_object(inode, &rootfs_object_ops, 0, ei.size);
        inode->file.image_pages = DIV_ROUND_UP(ei.size, PAGE_SIZE);
        inode->file.image_blocks = ei.blocks_512;
        break;
    case S_IFLNK: err = fill_link(r, inode, &ei); break;
    case S_IFCHR:
    case S_IFBLK: inode->rdev = ext4_rdev(&ei); break;
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK: break;
    default: err = -EUCLEAN;
    }
    if (err) {
        inode->ops = NULL;
        inode_put(inode);
        return ERR_PTR(err);
    }
    if (linked) {
        inode->flags |= I_PINNED;
        inode_get(inode);
        spin_lock(&r->lock);
        inode->data = *link_slot(r, ino);
        *link_slot(r, ino) = inode;
        spin_unlock(&r->lock);
    }
    return inode;
}

// ------------------------------------------------------------------------------- directories

static struct inode *rootfs_lookup(struct inode *dir, const char *name, unsigned len, bool *keep)
{
    struct rootfs *r = rootfs_of(dir);
    struct ext4_inode ei;
    struct ext4_dirent de;
    int got = ext4_read_inode(&r->fs, (u32)dir->ino, &ei);
    if (!got)
        got = ext4_dir_find(&r->fs, &ei, name, len, &de);
    if (got <= 0)
        return ERR_PTR(got ? got : -ENOENT);
    return rootfs_iget(dir->sb, de.ino);
}

static int rootfs_load(struct dentry *dir)
{
    static const u8 types[8] = {DT_UNKNOWN, DT_REG,  DT_DIR,  DT_CHR,
                                DT_BLK,     DT_FIFO, DT_SOCK, DT_LNK};
    struct rootfs *r = rootfs_of(dir->inode);
    struct ext4_inode ei;
    struct ext4_dirent de;
    u64 pos = 0;
    int got = ext4_read_inode(&r->fs, (u32)dir->inode->ino, &ei);
    if (got)
        return got;
    bool is_root = dir->inode->ino == EXT4_ROOT_INO;
    while ((got = ext4_dir_next(&r->fs, &ei, &pos, &de)) > 0) {
        if (is_root && de.name_len == 10 && memcmp(de.name, "lost+found", 10) == 0)
            continue;  // e2fsck's own; nothing of what was packed
        int err = dentry_add_stub(dir, de.name, de.name_len, de.ino, types[de.type & 7]);
        if (err)
            return err;
    }
    return got;
}

static struct inode *rootfs_instantiate(struct inode *dir, struct dentry *stub)
{
    return rootfs_iget(dir->sb, (u32)stub->stub_ino);
}

static const struct inode_ops rootfs_inode_ops = {
    .lookup = rootfs_lookup,
    .load = rootfs_load,
    .instantiate = rootfs_instantiate,
    .make = memfs_make,
    .getattr = rootfs_getattr,
    .set_size = rootfs_set_size,
    .evict = rootfs_evict,
};

// ------------------------------------------------------------------------------- bring-up

static struct superblock *rootfs_mount_image(void)
{
    const char *why;
    struct rootfs *r = kzalloc(sizeof(*r));
    struct superblock *sb = superblock_alloc("ext4", 0xef53, SB_RELATIME);
    if (!r || !sb)
        noboot("no memory for the root file system");
    r->image = boot_info.image_start;
    if (r->image % PAGE_SIZE)
        noboot("root image: it does not start on a page");
    if (ext4_open(&r->fs, phys_to_virt(r->image), boot_info.image_end - r->image, &why))
        noboot("root image: %s", why);
    sb->data = r;
    sb->next_ino = (u64)r->fs.n_inodes + 1;
    sb->source = kstrdup("/dev/root");
    struct inode *root = rootfs_iget(sb, EXT4_ROOT_INO);
    if (IS_ERR(root))
        noboot("root image: its root directory is damaged");
    sb->root = dentry_alloc(NULL, "/", 1, root);
    return sb;
}

struct superblock *rootfs_create(void)
{
    struct superblock *sb;
    if (boot_info.image_end > boot_info.image_start) {
        sb = rootfs_mount_image();
    } else {
        sb = tmpfs_create(0, 0755);
        if (sb)
            sb->type = "rootfs";
    }
    if (!sb || !sb->root)
        noboot("no memory for the root file system");
    return sb;
}
