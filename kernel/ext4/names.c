// SPDX-License-Identifier: BSD-2-Clause
// names.c: making, linking, removing and renaming: each is one change of a transaction, whole or not at all.
//
// What may be missing (an inode, a block, the name itself) is looked for first; after the first change only damage or a
// broken device can fail an operation, and then all writing stops (extfs_end).
#include "ext4/extfs_internal.h"

static u32 kind_of(u32 mode)
{
    static const u8 kinds[16] = {[1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1, [10] = 7, [12] = 6};
    return kinds[mode >> 12 & 15];
}

// Room for the blocks that one operation may add: a directory block or two, a link's text, nodes of extent trees.
static bool room_for_names(const struct extfs *fs)
{
    return fs->free_blocks > fs->pending_blocks + 32;
}

static int get_dir(struct extfs *fs, u32 ino, struct raw_inode *dir)
{
    int err = raw_get(fs, ino, dir);
    if (!err && (inode_mode(dir) & T_FMT) != T_DIR) {
        raw_put(dir);
        err = damaged(fs, "a directory is none");
    }
    return err;
}

static void set_links(struct raw_inode *i, u32 n) { put16(i->raw + I_LINKS, n); }

// Directories count their subdirectories up to MAX_NLINK; from then on the count is 1, "not known" (feature dir_nlink).
static void add_subdirectory(struct raw_inode *dir, int n)
{
    u32 links = inode_links(dir);
    if (links == 1)
        return;
    set_links(dir, n > 0 && links >= MAX_NLINK ? 1 : links + (u32)n);
}

static int put_link_text(struct raw_inode *i, const char *text)
{
    struct extfs *fs = i->fs;
    size_t len = strlen(text);
    inode_set_size(i, len);
    if (len < 60) {
        memcpy(i->raw + I_BLOCK, text, len);
        return 0;
    }
    u64 pblk;
    u32 got;
    put32(i->raw + I_FLAGS, FL_EXTENTS);
    extent_init(i->raw + I_BLOCK);
    int err = extent_allocate(i, 0, 1, false, &pblk, &got);
    if (err)
        return err;
    struct buf *b = buf_new(fs, pblk, VERIFIED_NO);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    memcpy(b->data, text, len);
    err = buf_dirty(fs, b);
    buf_put(fs, b);
    return err;
}

static int new_inode(struct extfs *fs, u32 dir, const struct extfs_attr *attr, const char *link,
                     u32 *ino, struct raw_inode *i)
{
    bool directory = (attr->mode & T_FMT) == T_DIR;
    int err = alloc_inode(fs, dir, directory, ino);
    if (err)
        return err;
    if ((err = raw_get_new(fs, *ino, i)))
        return err;
    inode_fill(i, attr);
    if (link)
        err = put_link_text(i, link);
    if (!err && directory)
        err = dir_init(i, dir);
    if (!err)
        err = inode_dirty(i);
    if (err)
        raw_put(i);
    return err;
}

int extfs_create(struct extfs *fs, u32 dir, const char *name, u32 len,
                 const struct extfs_attr *attr, const char *link, u32 *ino)
{
    struct raw_inode d, i;
    u32 there, type;
    if (!room_for_names(fs) || !fs->free_inodes)
        return -ENOSPC;
    if (link && strlen(link) >= fs->block_size)
        return -ENAMETOOLONG;
    int err = get_dir(fs, dir, &d);
    if (err)
        return err;
    err = dir_find(&d, name, len, &there, &type);
    err = err == -ENOENT ? 0 : err ? err : -EEXIST;
    if (!err && !(err = new_inode(fs, dir, attr, link, ino, &i))) {
        err = dir_insert(&d, name, len, *ino, kind_of(attr->mode));
        if (!err && (attr->mode & T_FMT) == T_DIR) {
            add_subdirectory(&d, 1);
            err = inode_dirty(&d);
        }
        raw_put(&i);
    }
    raw_put(&d);
    return err;
}

int extfs_create_orphan(struct extfs *fs, u32 dir, const struct extfs_attr *attr, u32 *ino)
{
    struct raw_inode i;
    if (!room_for_names(fs) || !fs->free_inodes)
        return -ENOSPC;
    int err = new_inode(fs, dir, attr, NULL, ino, &i);
    if (err)
        return err;
    set_links(&i, 0);
    err = orphan_add(&i);
    raw_put(&i);
    return err;
}

int extfs_link(struct extfs *fs, u32 dir, const char *name, u32 len, u32 ino)
{
    struct raw_inode d, i;
    u32 there, type;
    if (!room_for_names(fs))
        return -ENOSPC;
    int err = get_dir(fs, dir, &d);
    if (err)
        return err;
    err = dir_find(&d, name, len, &there, &type);
    err = err == -ENOENT ? 0 : err ? err : -EEXIST;
    if (!err && !(err = raw_get(fs, ino, &i))) {
        if (inode_links(&i) >= MAX_NLINK)
            err = -EMLINK;
        if (!err && inode_links(&i) == 0)
            err = orphan_remove(&i);
        if (!err)
            err = dir_insert(&d, name, len, ino, kind_of(inode_mode(&i)));
        if (!err) {
            set_links(&i, inode_links(&i) + 1);
            err = inode_dirty(&i);
        }
        raw_put(&i);
    }
    raw_put(&d);
    return err;
}

// The inode lost a name: without any it waits on the orphan list for extfs_delete_inode.
static int drop_link(struct raw_inode *i)
{
    bool directory = (inode_mode(i) & T_FMT) == T_DIR;
    u32 links = inode_links(i);
    if (links == 0)
        return damaged(i->fs, "a count of links is wrong");
    set_links(i, directory ? 0 : links - 1);
    if (inode_links(i) == 0)
        return orphan_add(i);
    return inode_dirty(i);
}

int extfs_unlink(struct extfs *fs, u32 dir, const char *name, u32 len)
{
    struct raw_inode d, i;
    u32 ino, type;
    int err = get_dir(fs, dir, &d);
    if (err)
        return err;
    err = dir_find(&d, name, len, &ino, &type);
    if (!err)
        err = raw_get(fs, ino, &i);
    if (err) {
        raw_put(&d);
        return err;
    }
    if (inode_links(&i) == 0)
        err = damaged(fs, "a name leads to a removed inode");
    if (!err)
        err = dir_remove(&d, name, len);
    if (!err && (inode_mode(&i) & T_FMT) == T_DIR) {
        add_subdirectory(&d, -1);
        err = inode_dirty(&d);
    }
    if (!err)
        err = drop_link(&i);
    raw_put(&i);
    raw_put(&d);
    return err;
}

int extfs_is_empty(struct extfs *fs, u32 ino)
{
    struct raw_inode d;
    int err = get_dir(fs, ino, &d);
    if (err)
        return err;
    err = dir_is_empty(&d);
    raw_put(&d);
    return err;
}

// ------------------------------------------------------------------------------- rename

struct rename {
    struct extfs *fs;
    const struct extfs_place *from, *to;
    struct raw_inode from_dir, to_dir, old, new;
    u32 old_ino, new_ino;  // new_ino 0: the name is free
    bool has_from, has_to, has_old, has_new;
};

static bool is_dir(const struct raw_inode *i) { return (inode_mode(i) & T_FMT) == T_DIR; }

static int rename_open(struct rename *r)
{
    struct extfs *fs = r->fs;
    u32 type;
    int err = get_dir(fs, r->from->dir, &r->from_dir);
    r->has_from = !err;
    if (!err) {
        err = get_dir(fs, r->to->dir, &r->to_dir);
        r->has_to = !err;
    }
    if (!err)
        err = dir_find(&r->from_dir, r->from->name, r->from->len, &r->old_ino, &type);
    if (!err) {
        err = raw_get(fs, r->old_ino, &r->old);
        r->has_old = !err;
    }
    if (!err) {
        err = dir_find(&r->to_dir, r->to->name, r->to->len, &r->new_ino, &type);
        if (err == -ENOENT)
            err = r->new_ino = 0;
    }
    if (!err && r->new_ino) {
        err = raw_get(fs, r->new_ino, &r->new);
        r->has_new = !err;
    }
    return err;
}

static void rename_close(struct rename *r)
{
    if (r->has_from)
        raw_put(&r->from_dir);
    if (r->has_to)
        raw_put(&r->to_dir);
    if (r->has_old)
        raw_put(&r->old);
    if (r->has_new)
        raw_put(&r->new);
}

// A directory's ".." leads to where it is now.
static int moved(struct raw_inode *i, struct raw_inode *from_dir, struct raw_inode *to_dir)
{
    if (!is_dir(i) || from_dir->ino == to_dir->ino)
        return 0;
    add_subdirectory(from_dir, -1);
    add_subdirectory(to_dir, 1);
    int err = dir_change(i, "..", 2, to_dir->ino, 2);
    if (!err)
        err = inode_dirty(from_dir);
    return err ? err : inode_dirty(to_dir);
}

static int rename_exchange(struct rename *r)
{
    if (!r->new_ino)
        return -ENOENT;
    int err =
        dir_change(&r->to_dir, r->to->name, r->to->len, r->old_ino, kind_of(inode_mode(&r->old)));
    if (!err)
        err = dir_change(&r->from_dir, r->from->name, r->from->len, r->new_ino,
                         kind_of(inode_mode(&r->new)));
    if (!err)
        err = moved(&r->old, &r->from_dir, &r->to_dir);
    return err ? err : moved(&r->new, &r->to_dir, &r->from_dir);
}

static int rename_over(struct rename *r)
{
    u32 kind = kind_of(inode_mode(&r->old));
    int err;
    if (r->new_ino)
        err = dir_change(&r->to_dir, r->to->name, r->to->len, r->old_ino, kind);
    else
        err = dir_insert(&r->to_dir, r->to->name, r->to->len, r->old_ino, kind);
    if (!err)
        err = dir_remove(&r->from_dir, r->from->name, r->from->len);
    if (!err && r->new_ino) {
        if (is_dir(&r->new)) {
            add_subdirectory(&r->to_dir, -1);
            err = inode_dirty(&r->to_dir);
        }
        if (!err)
            err = drop_link(&r->new);
    }
    return err ? err : moved(&r->old, &r->from_dir, &r->to_dir);
}

int extfs_rename(struct extfs *fs, const struct extfs_place *from, const struct extfs_place *to,
                 bool exchange)
{
    struct rename r = {.fs = fs, .from = from, .to = to};
    int err = rename_open(&r);
    if (!err && !r.new_ino && !room_for_names(fs))
        err = -ENOSPC;
    if (!err && r.new_ino == r.old_ino)
        err = -EEXIST;  // two names of one file: nothing for us to do
    if (!err)
        err = exchange ? rename_exchange(&r) : rename_over(&r);
    rename_close(&r);
    return err;
}
