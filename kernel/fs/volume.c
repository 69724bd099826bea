// SPDX-License-Identifier: BSD-2-Clause
// volume.c: ext4 file systems on disks in the tree of names: mounts, inodes, names, and the thread that writes back.
//
// Names and inodes of a volume are dentries and inodes like any other; a change goes to the disk's structures first (ext4/,
// under volume->lock) and then to memory, so what fails has changed nothing. One VFS inode stands for one inode of the disk:
// the hash finds it. Mode, owner and times are changed in memory and written back with the contents.
//
// The thread sleeps until something is dirty, then WRITE_BACK_NS more, writes everything and commits: what a program wrote is on the
// disk that long after at the latest, in one transaction with the names that go with it.
//
// W1 An inode with something to write is on volume->dirty, which holds a reference: it is not evicted.
// W2 An inode is in the hash from when its number is known until it is evicted.
// W3 A VFS inode without a name and without users is deleted on the disk before its memory goes.
#include "fs/volume_internal.h"

#include <stdio.h>

#include "core/log.h"
#include "core/random.h"
#include "task/thread.h"

#define EXT4_MAGIC 0xef53u
#define WRITE_BACK_NS (5 * NSEC_PER_SEC)
#define MIN_BUFS 64u

static struct spinlock volumes_lock;
static struct list volumes = LIST_INIT(volumes);
static const struct inode_ops volume_inode_ops;

static bool never_written(const struct volume *v)
{
    return v->layered || (v->sb->flags & SB_RDONLY);
}

static void lock_volume(struct volume *v) { mutex_lock(&v->lock); }
static void unlock_volume(struct volume *v) { mutex_unlock(&v->lock); }

// ------------------------------------------------------------------------------- the disk below

static int transfer(struct extfs_disk *disk, struct extfs_io *io, u32 n, bool write)
{
    struct volume *v = (struct volume *)disk;
    u32 sectors = disk->block_size / SECTOR_SIZE;
    struct block_batch b;
    block_batch_start(&b, v->device, write);
    for (u32 i = 0; i < n; i++)
        block_batch_add(&b, io[i].block * sectors, io[i].data, io[i].n * disk->block_size);
    return block_batch_wait(&b) ? -EIO : 0;
}

static int flush(struct extfs_disk *disk) { return block_flush(((struct volume *)disk)->device); }

static u32 random_word(void)
{
    u32 word = (u32)ktime_ns();
    return word * 2654435761u;
}

static void failed(struct extfs_disk *disk, const char *why)
{
    struct volume *v = (struct volume *)disk;
    log_error("%s: ext4: %s; the volume is read-only from now on", v->device->name, why);
    if (v->sb)
        atomic_fetch_or(&v->sb->flags, SB_RDONLY);
}

static const struct extfs_disk_ops disk_ops = {
    .transfer = transfer,
    .flush = flush,
    .now_ns = now_ns,
    .random = random_word,
    .failed = failed,
};

// ------------------------------------------------------------------------------- what is dirty

void volume_mark(struct vol_inode *vi, bool attributes)
{
    struct volume *v = vi->volume;
    bool first = false;
    if ((v->sb->flags & SB_RDONLY) || !vi->ino || !vi->inode->nlink)
        return;
    spin_lock(&v->list_lock);
    vi->attr_dirty |= attributes;
    if (list_empty(&vi->dirty)) {
        first = list_empty(&v->dirty);
        inode_get(vi->inode);
        list_push_back(&v->dirty, &vi->dirty);
    }
    spin_unlock(&v->list_lock);
    if (first)
        wait_wake(&v->wake, 1, 0);
}

// The inode loses its last name: what was to be written of it is wanted by nobody but those who have it open.
static void volume_unmark(struct inode *inode)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct volume *v = vi->volume;
    if (!S_ISDIR(inode->mode) && inode->nlink > 1)
        return;
    spin_lock(&v->list_lock);
    bool marked = !list_empty(&vi->dirty);
    if (marked)
        list_remove_init(&vi->dirty);
    spin_unlock(&v->list_lock);
    if (marked)
        inode_put(inode);
}

static void inode_has_changed(struct inode *inode) { volume_mark(vol_inode_of(inode), true); }

void volume_attr_of(const struct inode *inode, struct extfs_attr *a)
{
    *a = (struct extfs_attr){
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .rdev = inode->rdev,
        .atime_ns = inode->atime_ns,
        .mtime_ns = inode->mtime_ns,
        .ctime_ns = inode->ctime_ns,
        .btime_ns = inode->btime_ns,
    };
}

int volume_write_attr(struct vol_inode *vi)
{
    struct extfs_attr a;
    vi->attr_dirty = false;
    volume_attr_of(vi->inode, &a);
    return extfs_write_attr(vi->volume->fs, vi->ino, &a);
}

int volume_commit(struct volume *v)
{
    lock_volume(v);
    int err = extfs_commit(v->fs);
    unlock_volume(v);
    return err;
}

static void write_inode(struct vol_inode *vi)
{
    struct volume *v = vi->volume;
    if (S_ISREG(vi->inode->mode) && vi->inode->nlink)
        volume_write_back(vi, 0, UINT64_MAX - 1);
    lock_volume(v);
    if (vi->attr_dirty && vi->inode->nlink && extfs_begin(v->fs) == 0)
        extfs_end(v->fs, volume_write_attr(vi));
    unlock_volume(v);
}

// Writes what is dirty now; what becomes dirty meanwhile is for the next time. One at a time: what another has taken off the list
// is on the disk too when this returns.
static void write_all(struct volume *v)
{
    struct list batch = LIST_INIT(batch);
    mutex_lock(&v->writing);
    spin_lock(&v->list_lock);
    list_splice_back(&batch, &v->dirty);
    while (!list_empty(&batch)) {
        struct vol_inode *vi = list_first(&batch, struct vol_inode, dirty);
        list_remove_init(&vi->dirty);
        spin_unlock(&v->list_lock);
        write_inode(vi);
        inode_put(vi->inode);
        sched_point();
        spin_lock(&v->list_lock);
    }
    spin_unlock(&v->list_lock);
    mutex_unlock(&v->writing);
}

static int volume_sync(struct superblock *sb)
{
    struct volume *v = volume_of(sb);
    if (never_written(v))
        return 0;
    write_all(v);
    return volume_commit(v);
}

static void writer(void *arg)
{
    struct volume *v = arg;
    struct waiter w;
    waiter_init(&w);
    while (!v->stopping) {
        for (;;) {
            wait_prepare(&v->wake, &w, WAIT_UNINTERRUPTIBLE);
            if (v->stopping || !list_empty(&v->dirty))
                break;
            wait_sleep(&w, WAIT_UNINTERRUPTIBLE, NEVER);
        }
        wait_finish(&v->wake, &w);
        u64 until = ktime_ns() + WRITE_BACK_NS;
        while (!v->stopping && ktime_ns() < until && v->n_dirty < (s64)volume_dirty_limit() / 2) {
            wait_prepare(&v->wake, &w, WAIT_UNINTERRUPTIBLE);
            wait_sleep(&w, WAIT_UNINTERRUPTIBLE, MIN(until, ktime_ns() + NSEC_PER_SEC / 2));
            wait_finish(&v->wake, &w);
        }
        if (!v->stopping)
            volume_sync(v->sb);
    }
    v->stopped = true;
    wait_wake(&v->wake, 8, 0);
}

// ------------------------------------------------------------------------------- inodes

static struct vol_inode **bucket(struct volume *v, u32 ino)
{
    return &v->hash[ino % VOLUME_BUCKETS];
}

static void hash_add(struct vol_inode *vi)
{
    struct volume *v = vi->volume;
    spin_lock(&v->list_lock);
    vi->hash_next = *bucket(v, vi->ino);
    *bucket(v, vi->ino) = vi;
    if (S_ISREG(vi->inode->mode))
        list_push_back(&v->all, &vi->all);
    spin_unlock(&v->list_lock);
}

static void hash_remove(struct vol_inode *vi)
{
    struct volume *v = vi->volume;
    spin_lock(&v->list_lock);
    for (struct vol_inode **at = bucket(v, vi->ino); *at; at = &(*at)->hash_next) {
        if (*at == vi) {
            *at = vi->hash_next;
            break;
        }
    }
    if (v->hand == vi)
        v->hand = NULL;
    list_remove_init(&vi->all);
    spin_unlock(&v->list_lock);
}

// => referenced, or NULL: not in memory, or on its way out
static struct inode *hash_find(struct volume *v, u32 ino)
{
    struct inode *found = NULL;
    spin_lock(&v->list_lock);
    for (struct vol_inode *vi = *bucket(v, ino); vi && !found; vi = vi->hash_next) {
        if (vi->ino != ino)
            continue;
        u32 n = atomic_load_relaxed(&vi->inode->refcount);
        while (n && !atomic_cmpxchg(&vi->inode->refcount, &n, n + 1)) {
        }
        found = n ? vi->inode : NULL;
    }
    spin_unlock(&v->list_lock);
    return found;
}

static struct inode *new_inode(struct superblock *sb, u32 mode, u64 size)
{
    struct vol_inode *vi = kzalloc(sizeof(*vi));
    struct inode *inode = vi ? inode_alloc(sb, mode) : NULL;
    if (!inode) {
        kfree(vi);
        return NULL;
    }
    vi->inode = inode;
    vi->volume = volume_of(sb);
    list_init(&vi->dirty);
    list_init(&vi->all);
    mutex_init(&vi->pages);
    vi->disk_size = size;
    inode->data = vi;
    if (vi->volume->layered) {
        rootdisk_init_inode(inode, size);
        return inode;
    }
    inode->ops = &volume_inode_ops;
    inode->flags |= I_VOLUME;
    if (S_ISREG(mode)) {
        inode_init_object(inode, &volume_object_ops, 0, size);
        inode->fops = &volume_file_ops;
    }
    return inode;
}

static int fill_inode(struct inode *inode, const struct extfs_attr *a, u32 ino)
{
    struct vol_inode *vi = vol_inode_of(inode);
    inode->ino = vi->ino = ino;
    inode->uid = a->uid;
    inode->gid = a->gid;
    inode->nlink = a->nlink;
    inode->rdev = a->rdev;
    inode->atime_ns = a->atime_ns;
    inode->mtime_ns = a->mtime_ns;
    inode->ctime_ns = a->ctime_ns;
    inode->btime_ns = a->btime_ns;
    inode->flags |= a->flags & 0x20u ? I_APPEND_ONLY : 0;
    inode->flags |= a->flags & 0x10u ? I_IMMUTABLE : 0;
    if (S_ISREG(inode->mode))
        inode->file.image_blocks = a->blocks_512;
    if (!S_ISLNK(inode->mode))
        return 0;
    char *text = kmalloc(PATH_MAX);
    int n = text ? extfs_readlink(vi->volume->fs, ino, text, PATH_MAX - 1) : -ENOMEM;
    if (n >= 0) {
        text[n] = '\0';
        inode->symlink.link = kstrdup(text);
        inode->symlink.link_len = (u32)n;
        n = inode->symlink.link ? 0 : -ENOMEM;
    }
    kfree(text);
    return n;
}

static void forget_inode(struct inode *inode)  // one that never was in the hash
{
    vol_inode_of(inode)->ino = 0;
    inode_put(inode);
}

static struct inode *volume_iget(struct superblock *sb, u32 ino)
{
    struct volume *v = volume_of(sb);
    struct extfs_attr a;
    struct inode *inode = hash_find(v, ino);
    if (inode)
        return inode;
    lock_volume(v);
    inode = hash_find(v, ino);  // somebody was faster
    if (inode) {
        unlock_volume(v);
        return inode;
    }
    int err = extfs_read_attr(v->fs, ino, &a);
    if (!err && a.nlink == 0)
        err = -ESTALE;
    if (!err && !(inode = new_inode(sb, a.mode, a.size)))
        err = -ENOMEM;
    if (!err)
        err = fill_inode(inode, &a, ino);
    if (!err && v->layered && a.nlink > 1 && !S_ISDIR(a.mode)) {
        inode->flags |= I_PINNED;
        inode_get(inode);
    }
    if (!err)
        hash_add(vol_inode_of(inode));
    unlock_volume(v);
    if (!err)
        return inode;
    if (inode)
        forget_inode(inode);
    return ERR_PTR(err == -EUCLEAN || err == -ESTALE ? -EIO : err);
}

void volume_evict(struct inode *inode)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct volume *v = vi->volume;
    if (inode->flags & I_HAS_OBJECT)
        vm_object_discard(&inode->file.object, 0, UINT64_MAX - 1);
    if (vi->ino) {
        if (inode->nlink == 0 && !never_written(v)) {
            lock_volume(v);
            extfs_delete_inode(v->fs, vi->ino);
            unlock_volume(v);
        }
        hash_remove(vi);
    }
    if (S_ISLNK(inode->mode))
        kfree((char *)inode->symlink.link);
    volume_forget_dirty(vi);
    inode->data = NULL;
    kfree(vi);
}

static void volume_getattr(struct inode *inode, struct kstat *st)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct volume *v = vi->volume;
    struct extfs_attr a;
    lock_volume(v);
    int err = vi->ino ? extfs_read_attr(v->fs, vi->ino, &a) : -ENOENT;
    unlock_volume(v);
    st->blksize = v->disk.block_size;
    if (err)
        return;
    st->blocks =
        a.blocks_512 + (u64)vi->promised * (PAGE_SIZE / 512);  // as Linux with delayed allocation
    if (S_ISDIR(inode->mode))
        st->size = a.size;
}

// ------------------------------------------------------------------------------- names

struct inode *volume_lookup(struct inode *dir, const char *name, unsigned len, bool *keep)
{
    struct volume *v = volume_of(dir->sb);
    u32 ino, type;
    lock_volume(v);
    int err = extfs_lookup(v->fs, (u32)dir->ino, name, len, &ino, &type);
    unlock_volume(v);
    if (err)
        return ERR_PTR(err == -EUCLEAN ? -EIO : err);
    return volume_iget(dir->sb, ino);
}

struct loading {
    struct dentry *dir;
    int err;
};

static bool load_name(void *arg, const char *name, u32 len, u32 ino, u32 type)
{
    static const u8 types[8] = {DT_UNKNOWN, DT_REG,  DT_DIR,  DT_CHR,
                                DT_BLK,     DT_FIFO, DT_SOCK, DT_LNK};
    struct loading *l = arg;
    if (len == 10 && volume_of(l->dir->inode->sb)->layered &&
        l->dir->inode->ino == EXTFS_ROOT_INO && memcmp(name, "lost+found", 10) == 0)
        return true;  // e2fsck's own; nothing of what was packed
    l->err = dentry_add_stub(l->dir, name, len, ino, types[type & 7]);
    return !l->err;
}

int volume_load(struct dentry *dir)
{
    struct volume *v = volume_of(dir->inode->sb);
    struct loading l = {.dir = dir};
    u64 pos = 0;
    lock_volume(v);
    int err = extfs_readdir(v->fs, (u32)dir->inode->ino, &pos, load_name, &l);
    unlock_volume(v);
    return err == -EUCLEAN ? -EIO : err ? err : l.err;
}

struct inode *volume_instantiate(struct inode *dir, struct dentry *stub)
{
    return volume_iget(dir->sb, (u32)stub->stub_ino);
}

static struct inode *volume_make(struct inode *dir, u32 mode, u32 rdev)
{
    struct inode *inode = new_inode(dir->sb, mode, 0);
    if (!inode)
        return ERR_PTR(-ENOMEM);
    inode->rdev = rdev;
    if (S_ISDIR(mode))
        inode->flags |= I_COMPLETE;
    return inode;
}

// A new inode has its number from now on.
static void came_to_be(struct inode *inode, u32 ino)
{
    struct vol_inode *vi = vol_inode_of(inode);
    inode->ino = vi->ino = ino;
    vi->transaction = extfs_transaction(vi->volume->fs);
    hash_add(vi);
}

static int volume_add_name(struct inode *dir, const char *name, unsigned len, struct inode *inode)
{
    struct volume *v = volume_of(dir->sb);
    struct vol_inode *vi = vol_inode_of(inode);
    struct extfs_attr a;
    u32 ino = vi->ino;
    lock_volume(v);
    int err = extfs_begin(v->fs);
    if (!err) {
        volume_attr_of(inode, &a);
        if (vi->ino)
            err = extfs_link(v->fs, (u32)dir->ino, name, len, vi->ino);
        else
            err = extfs_create(v->fs, (u32)dir->ino, name, len, &a,
                               S_ISLNK(inode->mode) ? inode->symlink.link : NULL, &ino);
        err = extfs_end(v->fs, err);
    }
    if (!err && !vi->ino)
        came_to_be(inode, ino);
    unlock_volume(v);
    return err == -EUCLEAN ? -EIO : err;
}

static int volume_make_orphan(struct inode *dir, struct inode *inode)
{
    struct volume *v = volume_of(dir->sb);
    struct extfs_attr a;
    u32 ino;
    lock_volume(v);
    int err = extfs_begin(v->fs);
    if (!err) {
        volume_attr_of(inode, &a);
        err = extfs_end(v->fs, extfs_create_orphan(v->fs, (u32)dir->ino, &a, &ino));
    }
    if (!err)
        came_to_be(inode, ino);
    unlock_volume(v);
    return err;
}

static int volume_remove_name(struct inode *dir, struct dentry *victim)
{
    struct volume *v = volume_of(dir->sb);
    lock_volume(v);
    int err = extfs_begin(v->fs);
    if (!err)
        err = extfs_end(v->fs, extfs_unlink(v->fs, (u32)dir->ino, victim->name, victim->name_len));
    unlock_volume(v);
    if (!err)
        volume_unmark(victim->inode);
    return err == -EUCLEAN ? -EIO : err;
}

static int volume_rename(struct dentry *from_dir, struct dentry *old, struct dentry *to_dir,
                         const char *name, unsigned len, struct dentry *over, bool exchange)
{
    struct volume *v = volume_of(from_dir->inode->sb);
    struct extfs_place from = {(u32)from_dir->inode->ino, old->name, old->name_len};
    struct extfs_place to = {(u32)to_dir->inode->ino, name, len};
    // What takes the place of another file has its contents on the disk first: programs that write a new file and rename it
    // over the old one, without fsync, find one or the other after a crash (as auto_da_alloc on Linux).
    if (over && !exchange && S_ISREG(old->inode->mode))
        volume_write_back(vol_inode_of(old->inode), 0, UINT64_MAX - 1);
    lock_volume(v);
    int err = extfs_begin(v->fs);
    if (!err)
        err = extfs_end(v->fs, extfs_rename(v->fs, &from, &to, exchange));
    unlock_volume(v);
    if (!err && over && !exchange)
        volume_unmark(over->inode);
    return err == -EUCLEAN ? -EIO : err;
}

static const struct inode_ops volume_inode_ops = {
    .lookup = volume_lookup,
    .load = volume_load,
    .instantiate = volume_instantiate,
    .make = volume_make,
    .getattr = volume_getattr,
    .set_size = volume_set_size,
    .evict = volume_evict,
    .add_name = volume_add_name,
    .remove_name = volume_remove_name,
    .rename = volume_rename,
    .make_orphan = volume_make_orphan,
    .changed = inode_has_changed,
    .load_xattrs = volume_load_xattrs,
    .store_xattrs = volume_store_xattrs,
    .page_for_write = volume_page_for_write,
    .page_written = volume_page_written,
};

// ------------------------------------------------------------------------------- mounts

static void volume_statfs(struct superblock *sb, struct statfs_counts *c)
{
    struct extfs_stat st;
    struct volume *v = volume_of(sb);
    lock_volume(v);
    extfs_statfs(v->fs, &st);
    unlock_volume(v);
    *c = (struct statfs_counts){
        .block_bytes = st.block_size,
        .blocks = st.blocks,
        .free = st.free_blocks,
        .available = st.free_blocks > st.reserved_blocks ? st.free_blocks - st.reserved_blocks : 0,
        .inodes = st.inodes,
        .free_inodes = st.free_inodes,
    };
}

static int volume_remount(struct superblock *sb, bool read_only)
{
    struct volume *v = volume_of(sb);
    if (!read_only)
        return extfs_read_only(v->fs) ? -EROFS : 0;
    if (sb->flags & SB_RDONLY)
        return 0;
    int err = volume_sync(sb);
    lock_volume(v);
    err = err ? err : extfs_clean(v->fs);
    unlock_volume(v);
    return err;
}

static void stop_writer(struct volume *v)
{
    struct waiter w;
    waiter_init(&w);
    v->stopping = true;
    wait_wake(&v->wake, 8, 0);
    for (;;) {
        wait_prepare(&v->wake, &w, WAIT_UNINTERRUPTIBLE);
        if (v->stopped)
            break;
        wait_sleep(&w, WAIT_UNINTERRUPTIBLE, ktime_ns() + NSEC_PER_SEC / 10);
    }
    wait_finish(&v->wake, &w);
}

static void volume_destroy(struct superblock *sb)
{
    struct volume *v = volume_of(sb);
    stop_writer(v);
    volume_sync(sb);
    spin_lock(&volumes_lock);
    list_remove(&v->link);
    spin_unlock(&volumes_lock);
    dentry_release_tree(sb->root);
    int err = extfs_unmount(v->fs);
    if (err)
        log_error("%s: ext4: the volume could not be left clean: error %d", v->device->name, -err);
    block_release(v->device);
    kfree(v);
    kfree(sb->source);
    kfree(sb->options);
    kfree(sb);
}

static const struct superblock_ops volume_sb_ops = {
    .statfs = volume_statfs,
    .sync = volume_sync,
    .remount = volume_remount,
};

static int mount_fs(struct volume *v, struct superblock *sb)
{
    const char *why = NULL;
    u32 bufs = (u32)MIN(page_total_count() / 32 + MIN_BUFS, 8192ull);
    int err = extfs_mount(&v->disk, never_written(v), bufs, &v->fs, &why);
    if (err) {
        log_error("%s cannot be mounted: %s", v->device->name, why ? why : "it is damaged");
        return err;
    }
    if (extfs_read_only(v->fs) && !never_written(v)) {
        log_error("%s is mounted read-only: %s", v->device->name,
                  why ? why : "the device is read-only");
        sb->flags |= SB_RDONLY;
    }
    v->blocks_per_page = PAGE_SIZE / v->disk.block_size;
    struct inode *root = volume_iget(sb, EXTFS_ROOT_INO);
    if (IS_ERR(root)) {
        extfs_unmount(v->fs);
        return (int)PTR_ERR(root);
    }
    sb->root = dentry_alloc(NULL, "/", 1, root);
    return sb->root ? 0 : -ENOMEM;
}

static struct superblock *create_on(struct block_device *device, u32 flags, bool layered)
{
    struct volume *v = kzalloc(sizeof(*v));
    struct superblock *sb = v ? superblock_alloc("ext4", EXT4_MAGIC, SB_RELATIME | flags) : NULL;
    if (!sb) {
        kfree(v);
        return ERR_PTR(-ENOMEM);
    }
    mutex_init(&v->lock);
    mutex_init(&v->writing);
    wait_queue_init(&v->wake);
    list_init(&v->dirty);
    list_init(&v->all);
    v->device = device;
    v->layered = layered;
    v->sb = sb;
    v->disk = (struct extfs_disk){
        .ops = &disk_ops,
        .size_bytes = device->sectors * SECTOR_SIZE,
        .read_only = device->read_only,
    };
    sb->data = v;
    sb->dev = device->dev;
    sb->ops = layered ? NULL : &volume_sb_ops;
    sb->destroy = volume_destroy;
    int err = mount_fs(v, sb);
    struct thread *t = err || layered ? NULL : kthread_create("volume", writer, v, -1);
    if (err || IS_ERR(t)) {
        kfree(sb);
        kfree(v);
        return ERR_PTR(err ? err : -ENOMEM);
    }
    spin_lock(&volumes_lock);
    list_push_back(&volumes, &v->link);
    spin_unlock(&volumes_lock);
    return sb;
}

struct superblock *volume_create(const char *source, u32 flags)
{
    const char *name = strncmp(source, "/dev/", 5) == 0 ? source + 5 : source;
    volume_file_init();
    blockdev_init();
    struct block_device *device = block_find(name);
    if (!device)
        return ERR_PTR(-ENXIO);
    int err = block_claim(device);
    if (err)
        return ERR_PTR(err);
    struct superblock *sb = create_on(device, flags, false);
    if (IS_ERR(sb))
        block_release(device);
    return sb;
}

struct superblock *volume_create_layered(struct block_device *device)
{
    int err = block_claim(device);
    return err ? ERR_PTR(err) : create_on(device, 0, true);
}

int vfs_mount_volume(const char *source, const char *path, bool read_only)
{
    struct superblock *sb = volume_create(source, read_only ? SB_RDONLY : 0);
    if (IS_ERR(sb))
        return (int)PTR_ERR(sb);
    char name[32];
    snprintf(name, sizeof(name), "/dev/%s", volume_of(sb)->device->name);
    sb->source = kstrdup(name);
    return vfs_mount(sb, path);
}

// ------------------------------------------------------------------------------- all of them

// The n-th volume. => NULL: there are fewer; volumes come and go by mount(2) only
static struct volume *nth_volume(u32 n)
{
    struct volume *found = NULL;
    spin_lock(&volumes_lock);
    list_for_each_entry (struct volume, v, &volumes, link) {
        if (n-- == 0) {
            found = v;
            sb_active_get(v->sb);
            break;
        }
    }
    spin_unlock(&volumes_lock);
    return found;
}

void volumes_sync(void)
{
    struct volume *v;
    for (u32 i = 0; (v = nth_volume(i)); i++) {
        volume_sync(v->sb);
        sb_active_put(v->sb);
    }
}

void volumes_shutdown(void)
{
    struct volume *v;
    for (u32 i = 0; (v = nth_volume(i)); i++) {
        if (!never_written(v)) {
            volume_sync(v->sb);
            lock_volume(v);
            extfs_clean(v->fs);
            unlock_volume(v);
        }
        sb_active_put(v->sb);
    }
}

// Drops clean pages nobody maps from one file after another, the longest spared first; with `mapped` those in mappings too.
static u64 reclaim_from(struct volume *v, u64 wanted, bool mapped)
{
    u64 freed = 0;
    u32 n = 0;
    struct list *end = NULL;
    while (freed < wanted && n++ < 4096) {
        struct inode *inode = NULL;
        spin_lock(&v->list_lock);
        if (!list_empty(&v->all) && v->all.next != end) {
            struct vol_inode *vi = list_first(&v->all, struct vol_inode, all);
            list_remove(&vi->all);
            list_push_back(&v->all, &vi->all);
            end = end ? end : &vi->all;
            u32 refs = atomic_load_relaxed(&vi->inode->refcount);
            while (refs && !atomic_cmpxchg(&vi->inode->refcount, &refs, refs + 1)) {
            }
            inode = refs ? vi->inode : NULL;
            n += refs ? 0 : 1;
        } else {
            n = UINT32_MAX - 1;
        }
        spin_unlock(&v->list_lock);
        if (!inode)
            continue;
        if (mapped && !list_empty(&inode->file.object.mappings))
            vm_object_unmap_cached(&inode->file.object, 0, UINT64_MAX - 1);
        freed += vm_object_drop(&inode->file.object, 0, UINT64_MAX - 1);
        inode_put(inode);
    }
    return freed;
}

u64 object_reclaim(u64 wanted)
{
    u64 freed = 0;
    for (int mapped = 0; mapped < 2 && freed < wanted; mapped++) {
        struct volume *v;
        for (u32 i = 0; freed < wanted && (v = nth_volume(i)); i++) {
            freed += reclaim_from(v, wanted - freed, mapped);
            sb_active_put(v->sb);
        }
    }
    return freed;
}
