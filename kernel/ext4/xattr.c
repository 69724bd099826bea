// SPDX-License-Identifier: BSD-2-Clause
// xattr.c: extended attributes: behind the fields of the inode, and in one block that inodes may share (kernel
// documentation, "ext4: Extended Attributes").
//
//   inode:  | fields, extra_isize | magic | entry entry ... 0 |  free  | ... values |
//   block:  | header, 32 bytes            | entry entry ... 0 |  free  | ... values |
//
// An entry is 16 bytes and its name; where its value lies is counted from the first entry in the inode, and from the block's
// beginning in the block. Entries of the block are sorted by name space, length and name.
//
// X1 A change writes all attributes of the inode anew: what fits into the inode, in order, and the rest into a block of its
//    own. Whether that goes is looked at before anything is changed.
// X2 A block with other users is left to them: its count falls, and the inode has a new one.
#include "ext4/extfs_internal.h"

#define MAGIC 0xea020000u
#define ENTRY 16u
#define BLOCK_HEADER 32u
#define END_MARK 4u  // zeros behind the last entry
enum { E_NAME_LEN = 0, E_SPACE = 1, E_OFFSET = 2, E_BLOCK = 4, E_SIZE = 8, E_HASH = 12 };
enum { H_MAGIC = 0, H_REFS = 4, H_BLOCKS = 8, H_HASH = 12, H_CSUM = 16 };

static const struct {
    u8 space;
    const char *prefix;
} spaces[] = {
    {1, "user."},
    {2, "system.posix_acl_access"},
    {3, "system.posix_acl_default"},
    {4, "trusted."},
    {6, "security."},
};

static const char *prefix_of(u32 space)
{
    for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
        if (spaces[i].space == space)
            return spaces[i].prefix;
    }
    return NULL;
}

// => number of the name space, and how much of the name it stands for; 0: none that the disk knows
static u32 space_of(const char *name, size_t *prefix)
{
    for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
        *prefix = strlen(spaces[i].prefix);
        if (strncmp(name, spaces[i].prefix, *prefix) == 0)
            return spaces[i].space;
    }
    return 0;
}

static u32 entry_bytes(size_t name) { return ENTRY + (u32)ALIGN_UP(name, 4); }

// ------------------------------------------------------------------------------- places

static u64 block_of(const struct raw_inode *i)
{
    return le32(i->raw + I_FILE_ACL) | (u64)le16(i->raw + I_FILE_ACL_HIGH) << 32;
}

static u8 *inode_area(const struct raw_inode *i, u32 *size)
{
    u32 start = i->fs->inode_size > 128 ? 128 + le16(i->raw + I_EXTRA_ISIZE) : 128;
    *size = i->fs->inode_size - start;
    return i->raw + start;
}

static u32 block_csum(const struct extfs *fs, const struct buf *b)
{
    static const u8 zero[4];
    u8 number[8];
    put32(number, (u32)b->block);
    put32(number + 4, b->block >> 32);
    u32 c = crc32c(crc32c(fs->csum_seed, number, 8), b->data, H_CSUM);
    return crc32c(crc32c(c, zero, 4), b->data + H_CSUM + 4, fs->block_size - H_CSUM - 4);
}

static int block_changed(struct extfs *fs, struct buf *b)
{
    if (fs->metadata_csum)
        put32(b->data + H_CSUM, block_csum(fs, b));
    return buf_dirty(fs, b);
}

// The inode's attribute block, looked at. => ERR_PTR(-EUCLEAN, -EIO, -ENOMEM)
static struct buf *block_get(struct extfs *fs, u64 block)
{
    if (!blocks_usable(fs, block, 1))
        return ERR_PTR(damaged(fs, "an attribute block lies outside"));
    struct buf *b = buf_get(fs, block);
    if (IS_ERR(b) || b->verified == VERIFIED_XATTR)
        return b;
    if (le32(b->data + H_MAGIC) != MAGIC || le32(b->data + H_BLOCKS) != 1 ||
        le32(b->data + H_REFS) == 0 ||
        (fs->metadata_csum && le32(b->data + H_CSUM) != block_csum(fs, b))) {
        buf_put(fs, b);
        return ERR_PTR(damaged(fs, "an attribute block is damaged"));
    }
    b->verified = VERIFIED_XATTR;
    return b;
}

// ------------------------------------------------------------------------------- reading

struct area {
    const u8 *entries, *values;  // values: what offsets count from
    u32 room, limit;             // bytes from entries, from values
};

static int read_entry(struct extfs *fs, const struct area *a, const u8 *e,
                      const struct extfs_xattr_sink *sink)
{
    u32 len = e[E_NAME_LEN], offset = le16(e + E_OFFSET), size = le32(e + E_SIZE);
    const char *prefix = prefix_of(e[E_SPACE]);
    char name[EXTFS_XATTR_NAME_MAX + 1];
    if (le32(e + E_BLOCK) || (size && (offset > a->limit || size > a->limit - offset)) ||
        memchr(e + ENTRY, 0, len))
        return damaged(fs, "an extended attribute is damaged");
    if (!prefix)
        return -EOPNOTSUPP;
    size_t at = strlen(prefix);
    memcpy(name, prefix, at);
    memcpy(name + at, e + ENTRY, len);
    name[at + len] = '\0';
    return sink->take(sink->arg, name, size ? a->values + offset : e, size);
}

static int read_area(struct extfs *fs, const struct area *a, const struct extfs_xattr_sink *sink)
{
    for (u32 at = 0; at + END_MARK <= a->room;) {
        const u8 *e = a->entries + at;
        if (le32(e) == 0)
            return 0;
        if (at + ENTRY > a->room || at + entry_bytes(e[E_NAME_LEN]) > a->room)
            break;
        int err = read_entry(fs, a, e, sink);
        if (err)
            return err;
        at += entry_bytes(e[E_NAME_LEN]);
    }
    return damaged(fs, "a list of extended attributes has no end");
}

int extfs_read_xattrs(struct extfs *fs, u32 ino, const struct extfs_xattr_sink *sink)
{
    struct raw_inode i;
    u32 size;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    const u8 *in = inode_area(&i, &size);
    if (size >= 4 + END_MARK && le32(in) == MAGIC)
        err = read_area(fs, &(struct area){in + 4, in + 4, size - 4, size - 4}, sink);
    u64 block = block_of(&i);
    if (!err && block) {
        struct buf *b = block_get(fs, block);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : 0;
        if (!err) {
            u32 bs = fs->block_size;
            err = read_area(
                fs, &(struct area){b->data + BLOCK_HEADER, b->data, bs - BLOCK_HEADER, bs}, sink);
            buf_put(fs, b);
        }
    }
    raw_put(&i);
    return err;
}

// ------------------------------------------------------------------------------- writing

// The hash of an entry in a block, of its name and its value in words of 32 bits.
static u32 entry_hash(const char *name, size_t len, const u8 *value, u32 size)
{
    u32 hash = 0;
    for (size_t i = 0; i < len; i++)
        hash = hash << 5 ^ hash >> 27 ^ (u8)name[i];
    for (u32 at = 0; at < size; at += 4) {
        u8 word[4] = {0};
        memcpy(word, value + at, MIN(4u, size - at));
        hash = hash << 16 ^ hash >> 16 ^ le32(word);
    }
    return hash;
}

struct writer {
    u8 *entries, *values;
    u32 at, end;  // the next entry, from entries; behind the free room, from values
    bool hashes;
    u32 hash;  // of the whole block
};

static void put_xattr(struct writer *w, const struct extfs_xattr *x)
{
    size_t prefix, len;
    u8 *e = w->entries + w->at;
    e[E_SPACE] = (u8)space_of(x->name, &prefix);
    len = strlen(x->name + prefix);
    e[E_NAME_LEN] = (u8)len;
    memcpy(e + ENTRY, x->name + prefix, len);
    put32(e + E_SIZE, x->size);
    if (x->size) {
        w->end -= ALIGN_UP(x->size, 4);
        memcpy(w->values + w->end, x->value, x->size);
        put16(e + E_OFFSET, w->end);
    }
    if (w->hashes) {
        put32(e + E_HASH, entry_hash(x->name + prefix, len, x->value, x->size));
        w->hash = w->hash << 16 ^ w->hash >> 16 ^ le32(e + E_HASH);
    }
    w->at += entry_bytes(len);
}

static u32 bytes_of(const struct extfs_xattr *x)
{
    size_t prefix = 0;
    space_of(x->name, &prefix);
    return entry_bytes(strlen(x->name + prefix)) + ALIGN_UP(x->size, 4);
}

static int order(const struct extfs_xattr *a, const struct extfs_xattr *b)
{
    size_t skip_a = 0, skip_b = 0;
    int by = (int)space_of(a->name, &skip_a) - (int)space_of(b->name, &skip_b);
    size_t len_a = strlen(a->name + skip_a), len_b = strlen(b->name + skip_b);
    if (!by)
        by = (len_a > len_b) - (len_a < len_b);
    return by ? by : memcmp(a->name + skip_a, b->name + skip_b, len_a);
}

// Which go into the inode (in_inode), in order, and what the rest takes in a block. => bytes; 0: no block is needed
static u32 share_out(const struct raw_inode *i, struct extfs_xattr *list, u32 n)
{
    u32 room, rest = 0;
    inode_area(i, &room);
    room = room > 4 + END_MARK ? room - 4 - END_MARK : 0;
    for (u32 k = 0; k < n; k++) {
        u32 bytes = bytes_of(&list[k]);
        list[k].in_inode = bytes <= room;
        if (list[k].in_inode)
            room -= bytes;
        else
            rest += bytes;
    }
    return rest;
}

static void write_inode_area(struct raw_inode *i, const struct extfs_xattr *list, u32 n)
{
    u32 size;
    u8 *area = inode_area(i, &size);
    memset(area, 0, size);
    struct writer w = {.entries = area + 4, .values = area + 4, .end = size - 4};
    for (u32 k = 0; k < n; k++) {
        if (list[k].in_inode) {
            put32(area, MAGIC);
            put_xattr(&w, &list[k]);
        }
    }
}

static void write_block(struct extfs *fs, struct buf *b, const struct extfs_xattr *list, u32 n)
{
    const struct extfs_xattr *last = NULL;
    struct writer w = {.entries = b->data + BLOCK_HEADER,
                       .values = b->data,
                       .end = fs->block_size,
                       .hashes = true};
    memset(b->data, 0, fs->block_size);
    put32(b->data + H_MAGIC, MAGIC);
    put32(b->data + H_REFS, 1);
    put32(b->data + H_BLOCKS, 1);
    for (;;) {
        const struct extfs_xattr *next = NULL;
        for (u32 k = 0; k < n; k++) {
            if (!list[k].in_inode && (!last || order(&list[k], last) > 0) &&
                (!next || order(&list[k], next) < 0))
                next = &list[k];
        }
        if (!next)
            break;
        put_xattr(&w, next);
        last = next;
    }
    put32(b->data + H_HASH, w.hash);
}

int xattrs_drop(struct raw_inode *i)
{
    struct extfs *fs = i->fs;
    u64 block = block_of(i);
    if (!block)
        return 0;
    struct buf *b = block_get(fs, block);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    u32 refs = le32(b->data + H_REFS);
    int err = 0;
    if (refs > 1) {
        put32(b->data + H_REFS, refs - 1);
        err = block_changed(fs, b);
    }
    buf_put(fs, b);
    if (!err && refs <= 1) {
        err = buf_forget(fs, block);
        if (!err)
            err = free_blocks(fs, block, 1);
    }
    put32(i->raw + I_FILE_ACL, 0);
    put16(i->raw + I_FILE_ACL_HIGH, 0);
    inode_add_blocks(i, -1);
    return err;
}

// The block is always a new one: the old may be shared, and what it held is in the log until the next checkpoint.
static int replace_block(struct raw_inode *i, const struct extfs_xattr *list, u32 n)
{
    struct extfs *fs = i->fs;
    u32 got;
    int err = xattrs_drop(i);
    if (err)
        return err;
    u64 block = alloc_blocks(fs, i->b->block, 1, &got, &err);
    if (!block)
        return err;
    struct buf *b = buf_new(fs, block, VERIFIED_XATTR);
    if (IS_ERR(b))
        return (int)PTR_ERR(b);
    write_block(fs, b, list, n);
    err = block_changed(fs, b);
    buf_put(fs, b);
    put32(i->raw + I_FILE_ACL, (u32)block);
    put16(i->raw + I_FILE_ACL_HIGH, block >> 32);
    inode_add_blocks(i, 1);
    return err;
}

int extfs_write_xattrs(struct extfs *fs, u32 ino, struct extfs_xattr *list, u32 n)
{
    struct raw_inode i;
    size_t prefix;
    for (u32 k = 0; k < n; k++) {
        if (!space_of(list[k].name, &prefix) || strlen(list[k].name + prefix) > 255)
            return -EOPNOTSUPP;
        if (list[k].size > fs->block_size)
            return -ENOSPC;
    }
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    u32 rest = share_out(&i, list, n);
    if (rest > fs->block_size - BLOCK_HEADER - END_MARK ||
        (rest && fs->free_blocks <= fs->pending_blocks + 1))
        err = -ENOSPC;
    if (!err && block_of(&i)) {  // damage is found before anything changes
        struct buf *b = block_get(fs, block_of(&i));
        if (IS_ERR(b))
            err = (int)PTR_ERR(b);
        else
            buf_put(fs, b);
    }
    if (!err) {
        write_inode_area(&i, list, n);
        err = rest ? replace_block(&i, list, n) : xattrs_drop(&i);
        int dirty = inode_dirty(&i);
        err = err ? err : dirty;
    }
    raw_put(&i);
    return err;
}
