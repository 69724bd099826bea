// SPDX-License-Identifier: BSD-2-Clause
// inode.c: inodes in their blocks of the table, and the list of orphans.
//
// An inode is read and changed where it lies in the buffer; inode_dirty computes its checksum. Orphans are inodes that
// lost their last name or are being cut: a list through the field of the deletion time, begun in the superblock, which a
// mount after a crash works off.
#include "ext4/extfs_internal.h"

#define S_LAST_ORPHAN 0xe8u
#define NSEC 1000000000ull

// ------------------------------------------------------------------------------- finding

static struct buf *table_block(struct extfs *fs, u32 ino, u32 *offset)
{
    if (ino == 0 || ino > fs->n_inodes)
        return ERR_PTR(-EUCLEAN);
    u32 group = (ino - 1) / fs->inodes_per_group;
    u64 at = (u64)((ino - 1) % fs->inodes_per_group) * fs->inode_size;
    struct buf *b;
    u8 *desc = group_desc(fs, group, &b);
    if (IS_ERR(desc))
        return (struct buf *)desc;
    u64 table = group_field(fs, desc, GD_INODE_TABLE, GD_INODE_TABLE + GD_HIGH32);
    buf_put(fs, b);
    *offset = (u32)(at % fs->block_size);
    table += at / fs->block_size;
    return blocks_valid(fs, table, 1) ? buf_get(fs, table) : ERR_PTR(-EUCLEAN);
}

u32 inode_seed(const struct raw_inode *i)
{
    u8 number[4];
    put32(number, i->ino);
    return crc32c(crc32c(i->fs->csum_seed, number, 4), i->raw + I_GENERATION, 4);
}

static bool has_csum_high(const struct raw_inode *i)
{
    return i->fs->inode_size > 128 && le16(i->raw + I_EXTRA_ISIZE) >= 4;
}

static u32 inode_csum(const struct raw_inode *i)
{
    static const u8 zero[2];
    u32 c = crc32c(inode_seed(i), i->raw, I_CSUM);
    c = crc32c(c, zero, 2);
    if (!has_csum_high(i))
        return crc32c(c, i->raw + I_CSUM + 2, i->fs->inode_size - I_CSUM - 2);
    c = crc32c(c, i->raw + I_CSUM + 2, I_CSUM_HIGH - I_CSUM - 2);
    c = crc32c(c, zero, 2);
    return crc32c(c, i->raw + I_CSUM_HIGH + 2, i->fs->inode_size - I_CSUM_HIGH - 2);
}

static bool csum_good(const struct raw_inode *i)
{
    if (!i->fs->metadata_csum)
        return true;
    u32 csum = inode_csum(i), low = le16(i->raw + I_CSUM);
    if (!has_csum_high(i))
        return (csum & 0xffff) == low;
    return csum == (low | (u32)le16(i->raw + I_CSUM_HIGH) << 16);
}

int raw_get(struct extfs *fs, u32 ino, struct raw_inode *out)
{
    u32 offset;
    *out = (struct raw_inode){.fs = fs, .ino = ino};
    out->b = table_block(fs, ino, &offset);
    if (IS_ERR(out->b)) {
        int err = (int)PTR_ERR(out->b);
        return err == -EUCLEAN ? damaged(fs, "an inode number lies outside") : err;
    }
    out->raw = out->b->data + offset;
    u32 place = BIT(offset / fs->inode_size);  // a block has 32 at most
    if (out->b->inodes_checked & place)
        return 0;
    if (fs->inode_size > 128 && le16(out->raw + I_EXTRA_ISIZE) > fs->inode_size - 128) {
        raw_put(out);
        return damaged(fs, "an inode is damaged");
    }
    if (!csum_good(out)) {
        raw_put(out);
        return damaged(fs, "an inode has a wrong checksum");
    }
    out->b->inodes_checked |= place;
    return 0;
}

int raw_get_new(struct extfs *fs, u32 ino, struct raw_inode *out)
{
    u32 offset;
    *out = (struct raw_inode){.fs = fs, .ino = ino};
    out->b = table_block(fs, ino, &offset);
    if (IS_ERR(out->b))
        return (int)PTR_ERR(out->b);
    out->raw = out->b->data + offset;
    memset(out->raw, 0, fs->inode_size);
    put32(out->raw + I_GENERATION, fs->next_generation++);
    if (fs->inode_size > 128)
        put16(out->raw + I_EXTRA_ISIZE, fs->want_extra);
    return 0;
}

void raw_put(struct raw_inode *i) { buf_put(i->fs, i->b); }

int inode_dirty(struct raw_inode *i)
{
    if (i->fs->metadata_csum) {
        u32 csum = inode_csum(i);
        put16(i->raw + I_CSUM, csum);
        if (has_csum_high(i))
            put16(i->raw + I_CSUM_HIGH, csum >> 16);
    }
    return buf_dirty(i->fs, i->b);
}

// ------------------------------------------------------------------------------- fields

u64 raw_size(const struct raw_inode *i)
{
    return le32(i->raw + I_SIZE) | (u64)le32(i->raw + I_SIZE_HIGH) << 32;
}

void inode_set_size(struct raw_inode *i, u64 size)
{
    put32(i->raw + I_SIZE, (u32)size);
    put32(i->raw + I_SIZE_HIGH, size >> 32);
}

static u64 blocks_512(const struct raw_inode *i)
{
    u64 n = le32(i->raw + I_BLOCKS);
    if (i->fs->ro_compat & RO_HUGE_FILE)
        n |= (u64)le16(i->raw + I_BLOCKS_HIGH) << 32;
    return inode_flags(i) & FL_HUGE_FILE ? n << (i->fs->block_bits - 9) : n;
}

void inode_add_blocks(struct raw_inode *i, s64 blocks)
{
    u64 n = blocks_512(i) + (u64)(blocks * (s64)(i->fs->block_size / 512));
    if (inode_flags(i) & FL_HUGE_FILE)
        n >>= i->fs->block_bits - 9;
    put32(i->raw + I_BLOCKS, (u32)n);
    if (i->fs->ro_compat & RO_HUGE_FILE)
        put16(i->raw + I_BLOCKS_HIGH, n >> 32 & 0xffff);
}

static u32 extra_end(const struct raw_inode *i)
{
    return i->fs->inode_size > 128 ? 128u + le16(i->raw + I_EXTRA_ISIZE) : 128;
}

// Times: 32 bits of seconds, and in the extra field two more and 30 bits of nanoseconds.
static u64 get_time(const struct raw_inode *i, u32 at, u32 extra_at)
{
    s64 sec = (s32)le32(i->raw + at);
    u32 extra = extra_at + 4 <= extra_end(i) ? le32(i->raw + extra_at) : 0;
    sec += (s64)(extra & 3) << 32;
    return sec < 0 ? 0 : (u64)sec * NSEC + (extra >> 2) % NSEC;
}

static void put_time(struct raw_inode *i, u32 at, u32 extra_at, u64 ns)
{
    bool wide = extra_at + 4 <= extra_end(i);
    u64 sec = MIN(ns / NSEC, wide ? 0x37fffffffull : 0x7fffffffull);  // the last that fits
    put32(i->raw + at, (u32)sec);
    if (wide) {
        u32 epoch = (u32)((s64)(sec - (u64)(s64)(s32)(u32)sec) >> 32) & 3;
        put32(i->raw + extra_at, (u32)(ns % NSEC) << 2 | epoch);
    }
}

void inode_set_attr(struct raw_inode *i, const struct extfs_attr *a)
{
    put16(i->raw + I_MODE, (inode_mode(i) & T_FMT) | (a->mode & 07777));
    put16(i->raw + 0x2, a->uid);
    put16(i->raw + 0x78, a->uid >> 16);
    put16(i->raw + 0x18, a->gid);
    put16(i->raw + 0x7a, a->gid >> 16);
    put_time(i, I_ATIME, 0x8c, a->atime_ns);
    put_time(i, I_CTIME, 0x84, a->ctime_ns);
    put_time(i, I_MTIME, 0x88, a->mtime_ns);
}

// A new inode: type, owner, times, and no contents.
void inode_fill(struct raw_inode *i, const struct extfs_attr *a)
{
    u32 type = a->mode & T_FMT;
    put16(i->raw + I_MODE, a->mode);
    inode_set_attr(i, a);
    if (0x94 <= extra_end(i))
        put_time(i, 0x90, 0x94, a->btime_ns);
    put16(i->raw + I_LINKS, type == T_DIR ? 2 : 1);
    if (type == T_REG || type == T_DIR) {
        put32(i->raw + I_FLAGS, FL_EXTENTS);
        extent_init(i->raw + I_BLOCK);
    } else if (type != T_LNK) {
        u32 major = a->rdev >> 20, minor = a->rdev & 0xfffff;
        if (major < 256 && minor < 256)
            put32(i->raw + I_BLOCK, major << 8 | minor);
        else
            put32(i->raw + I_BLOCK + 4, (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12);
    }
}

static u32 get_rdev(const struct raw_inode *i)
{
    u32 old = le32(i->raw + I_BLOCK), dev = le32(i->raw + I_BLOCK + 4);
    if (old)
        return (old >> 8 & 0xff) << 20 | (old & 0xff);
    return (dev >> 8 & 0xfff) << 20 | (dev & 0xff) | (dev >> 12 & 0xfff00);
}

int extfs_read_attr(struct extfs *fs, u32 ino, struct extfs_attr *out)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    u32 type = inode_mode(&i) & T_FMT;
    *out = (struct extfs_attr){
        .mode = inode_mode(&i),
        .uid = le16(i.raw + 0x2) | (u32)le16(i.raw + 0x78) << 16,
        .gid = le16(i.raw + 0x18) | (u32)le16(i.raw + 0x7a) << 16,
        .nlink = inode_links(&i),
        .flags = inode_flags(&i),
        .size = raw_size(&i),
        .blocks_512 = blocks_512(&i),
        .atime_ns = get_time(&i, I_ATIME, 0x8c),
        .mtime_ns = get_time(&i, I_MTIME, 0x88),
        .ctime_ns = get_time(&i, I_CTIME, 0x84),
        .btime_ns = 0x98 <= extra_end(&i) ? get_time(&i, 0x90, 0x94) : 0,
    };
    if (type != T_REG && type != T_DIR && type != T_LNK)
        out->rdev = get_rdev(&i);
    bool special =
        type == 0 || type == T_FMT || (out->flags & (FL_ENCRYPT | FL_INLINE_DATA | FL_EA_INODE));
    bool contents = type == T_REG || type == T_DIR;
    raw_put(&i);
    if (special || (contents && !(out->flags & FL_EXTENTS)) ||
        out->size > (u64)UINT32_MAX * fs->block_size ||
        (type == T_DIR && out->size > fs->n_blocks * fs->block_size))
        return -EUCLEAN;
    return 0;
}

int extfs_write_attr(struct extfs *fs, u32 ino, const struct extfs_attr *attr)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    inode_set_attr(&i, attr);
    err = inode_dirty(&i);
    raw_put(&i);
    return err;
}

int extfs_set_size(struct extfs *fs, u32 ino, u64 size)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    inode_set_size(&i, size);
    err = inode_dirty(&i);
    raw_put(&i);
    return err;
}

int extfs_readlink(struct extfs *fs, u32 ino, char *buf, u32 size)
{
    struct raw_inode i;
    struct extent_map map;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    u64 len = raw_size(&i);
    if (len == 0 || len >= fs->block_size || len > size) {
        err = -EUCLEAN;
    } else if (len < 60 && !(inode_flags(&i) & FL_EXTENTS)) {
        memcpy(buf, i.raw + I_BLOCK, len);
    } else if (!(err = inode_flags(&i) & FL_EXTENTS ? extent_map(&i, 0, &map) : -EUCLEAN)) {
        struct buf *b = map.pblk && !map.unwritten ? buf_get(fs, map.pblk) : ERR_PTR(-EUCLEAN);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : 0;
        if (!err) {
            memcpy(buf, b->data, len);
            buf_put(fs, b);
        }
    }
    raw_put(&i);
    if (!err && memchr(buf, 0, len))
        err = -EUCLEAN;
    return err ? err : (int)len;
}

// ------------------------------------------------------------------------------- orphans

static struct orphan **orphan_slot(struct extfs *fs, u32 ino)
{
    struct orphan **at = &fs->orphans[ino % ORPHAN_BUCKETS];
    while (*at && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static void set_before(struct extfs *fs, u32 ino, u32 before)
{
    struct orphan *o = ino ? *orphan_slot(fs, ino) : NULL;
    if (o)
        o->before = before;
}

// Without memory for it the list is walked when the inode leaves it.
static void remember_orphan(struct extfs *fs, u32 ino)
{
    struct orphan *o = kmalloc(sizeof(*o)), **at = &fs->orphans[ino % ORPHAN_BUCKETS];
    set_before(fs, le32(fs->sb + S_LAST_ORPHAN), ino);
    if (o) {
        *o = (struct orphan){.ino = ino, .next = *at};
        *at = o;
    }
}

void orphans_forget(struct extfs *fs)
{
    for (u32 i = 0; i < ORPHAN_BUCKETS; i++) {
        while (fs->orphans[i]) {
            struct orphan *o = fs->orphans[i];
            fs->orphans[i] = o->next;
            kfree(o);
        }
    }
}

int orphan_add(struct raw_inode *i)
{
    struct extfs *fs = i->fs;
    remember_orphan(fs, i->ino);
    put32(i->raw + I_DTIME, le32(fs->sb + S_LAST_ORPHAN));
    put32(fs->sb + S_LAST_ORPHAN, i->ino);
    buf_dirty(fs, fs->super);
    return inode_dirty(i);
}

static void forget_orphan(struct extfs *fs, u32 ino, u32 next)
{
    struct orphan **at = orphan_slot(fs, ino), *o = *at;
    set_before(fs, next, o ? o->before : 0);
    if (o) {
        *at = o->next;
        kfree(o);
    }
}

int orphan_remove(struct raw_inode *i)
{
    struct extfs *fs = i->fs;
    u32 next = le32(i->raw + I_DTIME), at = le32(fs->sb + S_LAST_ORPHAN);
    const struct orphan *known = *orphan_slot(fs, i->ino);
    put32(i->raw + I_DTIME, 0);
    int err = inode_dirty(i);
    if (err)
        return err;
    if (at == i->ino) {
        forget_orphan(fs, i->ino, next);
        put32(fs->sb + S_LAST_ORPHAN, next);
        return buf_dirty(fs, fs->super);
    }
    if (known && known->before)
        at = known->before;
    forget_orphan(fs, i->ino, next);
    for (u32 steps = 0; at && steps <= fs->n_inodes; steps++) {
        struct raw_inode p;
        err = raw_get(fs, at, &p);
        if (err)
            return err;
        at = le32(p.raw + I_DTIME);
        if (at == i->ino) {
            put32(p.raw + I_DTIME, next);
            err = inode_dirty(&p);
            raw_put(&p);
            return err;
        }
        raw_put(&p);
    }
    return damaged(fs, "the list of orphans is damaged");
}

// Cuts an inode on the orphan list to its size, or to nothing. [no transaction]
static int free_behind(struct extfs *fs, u32 ino, u32 first)
{
    int more = 1;
    while (more > 0) {
        int err = extfs_begin(fs);
        if (err)
            return err;
        more = extfs_free_range(fs, ino, first, UINT32_MAX - 1);
        err = extfs_end(fs, more < 0 ? more : 0);
        if (err)
            return err;
    }
    return more;
}

static u32 first_behind(const struct extfs *fs, u64 size)
{
    return (u32)MIN(DIV_ROUND_UP(size, (u64)fs->block_size), (u64)UINT32_MAX - 1);
}

int extfs_truncate(struct extfs *fs, u32 ino, u64 size)
{
    struct raw_inode i;
    int err = extfs_begin(fs);
    if (err)
        return err;
    err = raw_get(fs, ino, &i);
    bool orphan = false;
    if (!err) {
        inode_set_size(&i, size);
        orphan = inode_links(&i) != 0;  // one without names is on the list already
        err = orphan ? orphan_add(&i) : inode_dirty(&i);
        raw_put(&i);
    }
    err = extfs_end(fs, err);
    if (!err)
        err = free_behind(fs, ino, first_behind(fs, size));
    if (err || !orphan)
        return err;
    if ((err = extfs_begin(fs)))
        return err;
    err = raw_get(fs, ino, &i);
    if (!err) {
        err = orphan_remove(&i);
        raw_put(&i);
    }
    return extfs_end(fs, err);
}

int extfs_delete_inode(struct extfs *fs, u32 ino)
{
    struct raw_inode i;
    int err = raw_get(fs, ino, &i);
    if (err)
        return err;
    bool extents = inode_flags(&i) & FL_EXTENTS;
    raw_put(&i);
    if (extents && (err = free_behind(fs, ino, 0)))
        return err;
    if ((err = extfs_begin(fs)))
        return err;
    err = raw_get(fs, ino, &i);
    if (!err) {
        bool directory = (inode_mode(&i) & T_FMT) == T_DIR;
        err = xattrs_drop(&i);
        if (!err)
            err = orphan_remove(&i);
        put32(i.raw + I_DTIME, (u32)(fs->disk->ops->now_ns() / NSEC));
        inode_set_size(&i, 0);
        put16(i.raw + I_LINKS, 0);
        if (!err)
            err = inode_dirty(&i);
        raw_put(&i);
        if (!err)
            err = free_inode(fs, ino, directory);
    }
    return extfs_end(fs, err);
}

int orphans_process(struct extfs *fs)
{
    for (u32 steps = 0; steps <= fs->n_inodes; steps++) {
        u32 ino = le32(fs->sb + S_LAST_ORPHAN);
        struct raw_inode i;
        if (!ino)
            return 0;
        int err = raw_get(fs, ino, &i);
        if (err)
            return err;
        u32 links = inode_links(&i);
        u64 size = raw_size(&i);
        bool extents = inode_flags(&i) & FL_EXTENTS;
        raw_put(&i);
        if (links == 0) {
            err = extfs_delete_inode(fs, ino);
        } else {
            err = extents ? free_behind(fs, ino, first_behind(fs, size)) : 0;
            if (!err && !(err = extfs_begin(fs))) {
                err = raw_get(fs, ino, &i);
                if (!err) {
                    err = orphan_remove(&i);
                    raw_put(&i);
                }
                err = extfs_end(fs, err);
            }
        }
        if (err)
            return err;
    }
    return damaged(fs, "the list of orphans is damaged");
}
