// SPDX-License-Identifier: BSD-2-Clause
// dir.c: the names in a directory: blocks of entries, each as long as the way to the next.
//
//   entry: inode (4) | length (2) | length of the name (1) | kind (1) | name
//   last 12 bytes of a block, with checksums: inode 0 | length 12 | 0 | 0xde | checksum
//
// Directories are read from front to back. One with a hash tree (dir_index) is read the same way, since the tree's own blocks
// look like unused entries; before it is changed for the first time the tree is dissolved: its blocks become plain ones and
// the flag goes, which Linux and e2fsck take for a directory without an index (e2fsck -D makes one again). The names
// of a directory in use are in the VFS's memory, so what an index would speed up is asked for once.
//
// D1 The entries of a block fill it exactly. D2 An entry holds its name and no more entries than one.
// D3 With checksums every plain block ends in its tail, and the checksum is right whenever it is not being changed.
#include "ext4/extfs_internal.h"

#define HEADER 8u
#define TAIL 12u
#define MAX_NAME 255u

static u32 entry_bytes(u32 name_len) { return ALIGN_UP(HEADER + name_len, 4u); }
static u32 entry_len(const u8 *e) { return le16(e + 4); }
static u32 entry_ino(const u8 *e) { return le32(e); }

static u32 usable(const struct extfs *fs)
{
    return fs->block_size - (fs->metadata_csum ? TAIL : 0);
}

static void put_entry(u8 *e, u32 ino, u32 bytes, const char *name, u32 len, u32 type)
{
    put32(e, ino);
    put16(e + 4, bytes);
    e[6] = (u8)len;
    e[7] = (u8)type;
    memcpy(e + HEADER, name, len);
}

static void put_tail(struct extfs *fs, u8 *block)
{
    u8 *tail = block + fs->block_size - TAIL;
    memset(tail, 0, TAIL);
    put16(tail + 4, TAIL);
    tail[7] = 0xde;
}

static bool has_tail(const struct extfs *fs, const u8 *block)
{
    const u8 *tail = block + fs->block_size - TAIL;
    return !le32(tail) && le16(tail + 4) == TAIL && !tail[6] && tail[7] == 0xde;
}

static void block_changed(struct raw_inode *dir, struct buf *b)
{
    struct extfs *fs = dir->fs;
    if (fs->metadata_csum)
        put32(b->data + fs->block_size - 4,
              crc32c(inode_seed(dir), b->data, fs->block_size - TAIL));
    buf_dirty(fs, b);
}

// D1 and D2.
static bool block_good(const struct raw_inode *dir, const u8 *block)
{
    const struct extfs *fs = dir->fs;
    for (u32 at = 0; at < fs->block_size;) {
        const u8 *e = block + at;
        u32 n = fs->block_size - at < HEADER ? 0 : entry_len(e);
        if (n < HEADER || n % 4 || n > fs->block_size - at || entry_bytes(e[6]) > n ||
            entry_ino(e) > fs->n_inodes)
            return false;
        at += n;
    }
    return true;
}

// => ERR_PTR(-ENOENT): a hole
static struct buf *block_get(struct raw_inode *dir, u32 lblk)
{
    struct extfs *fs = dir->fs;
    struct extent_map map;
    int err = extent_map(dir, lblk, &map);
    if (err)
        return ERR_PTR(err);
    if (!map.pblk || map.unwritten)
        return ERR_PTR(-ENOENT);
    struct buf *b = buf_get(fs, map.pblk);
    if (IS_ERR(b) || b->verified == VERIFIED_DIR)
        return b;
    bool good = block_good(dir, b->data);
    if (good && fs->metadata_csum) {
        if (has_tail(fs, b->data))
            good = le32(b->data + fs->block_size - 4) ==
                   crc32c(inode_seed(dir), b->data, fs->block_size - TAIL);
        else
            good = inode_flags(dir) & FL_INDEX;  // a block of the tree
    }
    if (!good) {
        buf_put(fs, b);
        return ERR_PTR(damaged(fs, "a directory is damaged"));
    }
    b->verified = VERIFIED_DIR;
    return b;
}

static u32 n_blocks(const struct raw_inode *dir)
{
    return (u32)(raw_size(dir) / dir->fs->block_size);
}

static bool is_dots(const u8 *e)
{
    return e[6] <= 2 && e[6] && e[HEADER] == '.' && (e[6] == 1 || e[HEADER + 1] == '.');
}

// ------------------------------------------------------------------------------- finding

struct place {
    struct buf *b;
    u32 lblk, at, before;  // before: the entry in front of it in the block, or at itself
};

static bool find_in_block(const struct extfs *fs, struct place *p, const char *name, u32 len)
{
    p->before = 0;
    for (p->at = 0; p->at < fs->block_size;) {
        const u8 *e = p->b->data + p->at;
        if (entry_ino(e) && e[6] == len && memcmp(e + HEADER, name, len) == 0)
            return true;
        p->before = p->at;
        p->at += entry_len(e);
    }
    return false;
}

// From where the last change was, round once. => 0 with p->b to be put; -ENOENT
static int find(struct raw_inode *dir, const char *name, u32 len, struct place *p)
{
    struct extfs *fs = dir->fs;
    u32 n = n_blocks(dir),
        from = fs->hint_dir == dir->ino && fs->hint_block < n ? fs->hint_block : 0;
    for (u32 i = 0; i < n; i++) {
        p->lblk = (from + i) % n;
        p->b = block_get(dir, p->lblk);
        if (IS_ERR(p->b)) {
            if (PTR_ERR(p->b) == -ENOENT)
                continue;
            return (int)PTR_ERR(p->b);
        }
        if (find_in_block(fs, p, name, len))
            return 0;
        buf_put(fs, p->b);
    }
    return -ENOENT;
}

int dir_find(struct raw_inode *dir, const char *name, u32 len, u32 *ino, u32 *type)
{
    struct place p;
    int err = find(dir, name, len, &p);
    if (err)
        return err;
    *ino = entry_ino(p.b->data + p.at);
    *type = p.b->data[p.at + 7];
    buf_put(dir->fs, p.b);
    return 0;
}

static int dir_get(struct extfs *fs, u32 ino, struct raw_inode *dir)
{
    int err = raw_get(fs, ino, dir);
    if (!err && (inode_mode(dir) & T_FMT) != T_DIR) {
        raw_put(dir);
        err = -ENOTDIR;
    }
    return err;
}

int extfs_lookup(struct extfs *fs, u32 dir, const char *name, u32 len, u32 *ino, u32 *type)
{
    struct raw_inode d;
    int err = dir_get(fs, dir, &d);
    if (err)
        return err;
    err = dir_find(&d, name, len, ino, type);
    raw_put(&d);
    return err;
}

int extfs_readdir(struct extfs *fs, u32 ino, u64 *pos,
                  bool (*emit)(void *arg, const char *name, u32 len, u32 ino, u32 type), void *arg)
{
    struct raw_inode dir;
    int err = dir_get(fs, ino, &dir);
    if (err)
        return err;
    u64 end = (u64)n_blocks(&dir) * fs->block_size;
    bool more = true;
    while (!err && more && *pos < end) {
        struct buf *b = block_get(&dir, (u32)(*pos / fs->block_size));
        if (IS_ERR(b)) {
            err = PTR_ERR(b) == -ENOENT ? 0 : (int)PTR_ERR(b);
            *pos = ALIGN_DOWN(*pos, fs->block_size) + fs->block_size;
            continue;
        }
        u64 base = ALIGN_DOWN(*pos, fs->block_size);
        for (u32 at = 0; more && at < fs->block_size; at += entry_len(b->data + at)) {
            const u8 *e = b->data + at;
            if (base + at < *pos)
                continue;
            bool bad = e[6] && (memchr(e + HEADER, '/', e[6]) || memchr(e + HEADER, 0, e[6]));
            if (entry_ino(e) && e[6] && !is_dots(e) && !bad)
                more = emit(arg, (const char *)e + HEADER, e[6], entry_ino(e), e[7]);
            if (more)
                *pos = base + at + entry_len(e);
        }
        buf_put(fs, b);
    }
    raw_put(&dir);
    return err;
}

int dir_is_empty(struct raw_inode *dir)
{
    struct extfs *fs = dir->fs;
    for (u32 lblk = 0; lblk < n_blocks(dir); lblk++) {
        struct buf *b = block_get(dir, lblk);
        if (IS_ERR(b)) {
            if (PTR_ERR(b) == -ENOENT)
                continue;
            return (int)PTR_ERR(b);
        }
        bool found = false;
        for (u32 at = 0; at < fs->block_size && !found; at += entry_len(b->data + at))
            found = entry_ino(b->data + at) && !is_dots(b->data + at);
        buf_put(fs, b);
        if (found)
            return 0;
    }
    return 1;
}

// ------------------------------------------------------------------------------- the hash tree dissolved

#define MAX_TREE_BLOCKS 100u

static bool is_tree_block(const struct extfs *fs, const u8 *block, u32 lblk)
{
    if (lblk == 0)  // "." and "..", and behind them the root
        return entry_len(block) == 12 && entry_len(block + 12) == fs->block_size - 12;
    return !entry_ino(block) && entry_len(block) == fs->block_size;
}

static int dissolve(struct raw_inode *dir)
{
    struct extfs *fs = dir->fs;
    u32 n_tree = 0;
    for (int pass = 0; pass < 2; pass++) {  // count, then change
        for (u32 lblk = 0; lblk < n_blocks(dir); lblk++) {
            struct buf *b = block_get(dir, lblk);
            if (IS_ERR(b)) {
                if (PTR_ERR(b) == -ENOENT)
                    continue;
                return (int)PTR_ERR(b);
            }
            if (is_tree_block(fs, b->data, lblk)) {
                n_tree++;
                u32 first = lblk == 0 ? 12 : 0;
                if (pass == 1) {
                    put16(b->data + first + 4, usable(fs) - first);
                    if (fs->metadata_csum)
                        put_tail(fs, b->data);
                    block_changed(dir, b);
                }
            }
            buf_put(fs, b);
        }
        if (n_tree > 2 * MAX_TREE_BLOCKS)
            return -EFBIG;
    }
    put32(dir->raw + I_FLAGS, inode_flags(dir) & ~FL_INDEX);
    return inode_dirty(dir);
}

static int make_plain(struct raw_inode *dir)
{
    return inode_flags(dir) & FL_INDEX ? dissolve(dir) : 0;
}

// ------------------------------------------------------------------------------- changing

static void note_place(struct raw_inode *dir, u32 lblk)
{
    dir->fs->hint_dir = dir->ino;
    dir->fs->hint_block = lblk;
}

// Puts the entry where one is unused or longer than it need be. => whether there was room
static bool insert_in_block(struct raw_inode *dir, struct buf *b, const char *name, u32 len,
                            u32 ino, u32 type)
{
    struct extfs *fs = dir->fs;
    u32 need = entry_bytes(len), end = usable(fs);
    for (u32 at = 0; at < end; at += entry_len(b->data + at)) {
        u8 *e = b->data + at;
        u32 has = entry_len(e), own = entry_ino(e) ? entry_bytes(e[6]) : 0;
        if (has < own + need || at + has > end)
            continue;
        if (own) {
            put16(e + 4, own);
            e += own;
        }
        put_entry(e, ino, has - own, name, len, type);
        block_changed(dir, b);
        return true;
    }
    return false;
}

static int append_block(struct raw_inode *dir, const char *name, u32 len, u32 ino, u32 type)
{
    struct extfs *fs = dir->fs;
    u32 lblk = n_blocks(dir), got;
    u64 pblk;
    if (((u64)lblk + 1) * fs->block_size > 1u << 31)
        return -ENOSPC;
    int err = extent_allocate(dir, lblk, 1, false, &pblk, &got);
    if (err)
        return err;
    struct buf *b = buf_new(fs, pblk, VERIFIED_DIR);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    put_entry(b->data, ino, usable(fs), name, len, type);
    if (fs->metadata_csum)
        put_tail(fs, b->data);
    block_changed(dir, b);
    buf_put(fs, b);
    inode_set_size(dir, (u64)(lblk + 1) * fs->block_size);
    note_place(dir, lblk);
    return inode_dirty(dir);
}

// Few blocks are tried: the one of the last change and the last. A directory that shrank is filled from there on.
int dir_insert(struct raw_inode *dir, const char *name, u32 len, u32 ino, u32 type)
{
    struct extfs *fs = dir->fs;
    u32 n = n_blocks(dir);
    int err = make_plain(dir);
    if (err)
        return err;
    u32 hint = fs->hint_dir == dir->ino && fs->hint_block < n ? fs->hint_block : 0;
    for (u32 i = 0; i < 2 + MIN(n, 8u); i++) {
        u32 lblk = i == 0 ? hint : i == 1 ? n - 1 : (hint + i - 1) % MAX(n, 1u);
        struct buf *b = n ? block_get(dir, lblk) : ERR_PTR(-ENOENT);
        if (IS_ERR(b)) {
            if (PTR_ERR(b) == -ENOENT)
                continue;
            return (int)PTR_ERR(b);
        }
        bool done = insert_in_block(dir, b, name, len, ino, type);
        buf_put(fs, b);
        if (done) {
            note_place(dir, lblk);
            return 0;
        }
    }
    return append_block(dir, name, len, ino, type);
}

int dir_remove(struct raw_inode *dir, const char *name, u32 len)
{
    struct place p;
    int err = make_plain(dir);
    if (!err)
        err = find(dir, name, len, &p);
    if (err)
        return err;
    u8 *e = p.b->data + p.at;
    if (p.before != p.at) {
        u8 *before = p.b->data + p.before;
        put16(before + 4, entry_len(before) + entry_len(e));
    } else {
        put32(e, 0);
    }
    block_changed(dir, p.b);
    note_place(dir, p.lblk);
    buf_put(dir->fs, p.b);
    return 0;
}

// The entry leads to another inode from now on.
int dir_change(struct raw_inode *dir, const char *name, u32 len, u32 ino, u32 type)
{
    struct place p;
    int err = make_plain(dir);
    if (!err)
        err = find(dir, name, len, &p);
    if (err)
        return err;
    put32(p.b->data + p.at, ino);
    p.b->data[p.at + 7] = (u8)type;
    block_changed(dir, p.b);
    buf_put(dir->fs, p.b);
    return 0;
}

// The first block of a new directory.
int dir_init(struct raw_inode *dir, u32 parent)
{
    struct extfs *fs = dir->fs;
    u64 pblk;
    u32 got;
    int err = extent_allocate(dir, 0, 1, false, &pblk, &got);
    if (err)
        return err;
    struct buf *b = buf_new(fs, pblk, VERIFIED_DIR);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    put_entry(b->data, dir->ino, 12, ".", 1, 2);
    put_entry(b->data + 12, parent, usable(fs) - 12, "..", 2, 2);
    if (fs->metadata_csum)
        put_tail(fs, b->data);
    block_changed(dir, b);
    buf_put(fs, b);
    inode_set_size(dir, fs->block_size);
    return inode_dirty(dir);
}
