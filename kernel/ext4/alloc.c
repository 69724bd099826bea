// SPDX-License-Identifier: BSD-2-Clause
// alloc.c: bitmaps of blocks and inodes.
//
// A1 A block that the running transaction freed is not given out before the commit (fs->pending): until then a crash
//    brings its old owner back, whose contents must still be there.
// A2 Bits and counts change together with the group's descriptor and the checksum of the bitmap in it.
// A3 A group whose bitmap was never written (BLOCK_UNINIT, INODE_UNINIT) gets it when it is first used.
#include "ext4/extfs_internal.h"

static bool test_bit(const u8 *map, u32 bit) { return map[bit >> 3] >> (bit & 7) & 1; }
static void set_bit(u8 *map, u32 bit) { map[bit >> 3] |= (u8)(1u << (bit & 7)); }
static void clear_bit(u8 *map, u32 bit) { map[bit >> 3] &= (u8) ~(1u << (bit & 7)); }

// The first bit from `from` on that is clear. => n: none
static u32 next_clear(const u8 *map, u32 from, u32 n)
{
    while (from < n) {
        if ((from & 63) == 0 && from + 64 <= n) {
            u64 word;
            memcpy(&word, map + (from >> 3), 8);
            if (~word)
                return from + (u32)__builtin_ctzll(~word);
            from += 64;
        } else if (!test_bit(map, from)) {
            return from;
        } else {
            from++;
        }
    }
    return n;
}

bool blocks_valid(const struct extfs *fs, u64 start, u64 n)
{
    return start > fs->first_desc_block && n && start < fs->n_blocks && n <= fs->n_blocks - start;
}

static u64 group_start(const struct extfs *fs, u32 group)
{
    return fs->first_data_block + (u64)group * fs->blocks_per_group;
}

static u32 blocks_in_group(const struct extfs *fs, u32 group)
{
    return (u32)MIN((u64)fs->blocks_per_group, fs->n_blocks - group_start(fs, group));
}

// A copy of superblock and descriptors lies in these groups.
static bool has_super(const struct extfs *fs, u32 group)
{
    if (group <= 1 || !(fs->ro_compat & RO_SPARSE_SUPER))
        return true;
    for (u32 base = 3; base <= 7; base += 2) {
        u64 power = base;
        while (power < group)
            power *= base;
        if (power == group)
            return true;
    }
    return false;
}

// ------------------------------------------------------------------------------- bitmaps

struct bitmap {
    struct extfs *fs;
    u32 group;
    struct buf *b, *desc_buf;
    u8 *desc;
    bool inodes;
};

static void mark_own(struct bitmap *m, u64 block, u32 n)
{
    u64 start = group_start(m->fs, m->group);
    for (u32 i = 0; i < n; i++) {
        if (block + i >= start && block + i - start < m->fs->blocks_per_group)
            set_bit(m->b->data, (u32)(block + i - start));
    }
}

static void fill_block_bitmap(struct bitmap *m)
{
    struct extfs *fs = m->fs;
    memset(m->b->data, 0, fs->block_size);
    if (has_super(fs, m->group)) {
        u32 descs = DIV_ROUND_UP(fs->n_groups * fs->desc_size, fs->block_size);
        mark_own(m, group_start(fs, m->group), 1 + descs + le16(fs->sb + 0xce));
    }
    mark_own(m, group_field(fs, m->desc, GD_BLOCK_BITMAP, GD_BLOCK_BITMAP + GD_HIGH32), 1);
    mark_own(m, group_field(fs, m->desc, GD_INODE_BITMAP, GD_INODE_BITMAP + GD_HIGH32), 1);
    mark_own(m, group_field(fs, m->desc, GD_INODE_TABLE, GD_INODE_TABLE + GD_HIGH32),
             DIV_ROUND_UP(fs->inodes_per_group * fs->inode_size, fs->block_size));
    for (u32 bit = blocks_in_group(fs, m->group); bit < 8 * fs->block_size; bit++)
        set_bit(m->b->data, bit);
}

static void fill_inode_bitmap(struct bitmap *m)
{
    memset(m->b->data, 0, m->fs->block_size);
    for (u32 bit = m->fs->inodes_per_group; bit < 8 * m->fs->block_size; bit++)
        set_bit(m->b->data, bit);
}

static u32 bitmap_csum(const struct bitmap *m)
{
    const struct extfs *fs = m->fs;
    u32 n = m->inodes ? fs->inodes_per_group : fs->blocks_per_group;
    return crc32c(fs->csum_seed, m->b->data, n / 8);
}

static bool bitmap_csum_good(const struct bitmap *m)
{
    u32 low = m->inodes ? GD_INODE_CSUM : GD_BLOCK_CSUM;
    u32 csum = bitmap_csum(m);
    if (!m->fs->metadata_csum)
        return true;
    if (m->fs->desc_size < 64)
        return (csum & 0xffff) == le16(m->desc + low);
    return csum == (le16(m->desc + low) | (u32)le16(m->desc + low + 0x20) << 16);
}

static void bitmap_close(struct bitmap *m)
{
    buf_put(m->fs, m->b);
    buf_put(m->fs, m->desc_buf);
}

static int bitmap_open(struct extfs *fs, u32 group, bool inodes, struct bitmap *m)
{
    *m = (struct bitmap){.fs = fs, .group = group, .inodes = inodes};
    m->desc = group_desc(fs, group, &m->desc_buf);
    if (IS_ERR(m->desc))
        return (int)PTR_ERR(m->desc);
    u32 field = inodes ? GD_INODE_BITMAP : GD_BLOCK_BITMAP;
    u64 block = group_field(fs, m->desc, field, field + GD_HIGH32);
    bool uninit = (fs->metadata_csum || fs->gdt_csum) &&
                  (le16(m->desc + GD_FLAGS) & (inodes ? BG_INODE_UNINIT : BG_BLOCK_UNINIT));
    if (!blocks_valid(fs, block, 1)) {
        buf_put(fs, m->desc_buf);
        return damaged(fs, "a bitmap lies outside");
    }
    m->b = uninit ? buf_new(fs, block, VERIFIED_BITMAP) : buf_get(fs, block);
    if (IS_ERR(m->b)) {
        buf_put(fs, m->desc_buf);
        return (int)PTR_ERR(m->b);
    }
    if (uninit) {
        if (inodes)
            fill_inode_bitmap(m);
        else
            fill_block_bitmap(m);
    } else if (m->b->verified != VERIFIED_BITMAP && !bitmap_csum_good(m)) {
        bitmap_close(m);
        return damaged(fs, "a bitmap has a wrong checksum");
    }
    m->b->verified = VERIFIED_BITMAP;
    return 0;
}

static void bitmap_changed(struct bitmap *m)
{
    struct extfs *fs = m->fs;
    u32 low = m->inodes ? GD_INODE_CSUM : GD_BLOCK_CSUM, csum = bitmap_csum(m);
    put16(m->desc + GD_FLAGS,
          le16(m->desc + GD_FLAGS) & ~(u32)(m->inodes ? BG_INODE_UNINIT : BG_BLOCK_UNINIT));
    if (fs->metadata_csum) {
        put16(m->desc + low, csum);
        if (fs->desc_size >= 64)
            put16(m->desc + low + 0x20, csum >> 16);
    }
    buf_dirty(fs, m->b);
    group_dirty(fs, m->group, m->desc_buf, m->desc);
}

// ------------------------------------------------------------------------------- blocks

// A run of free blocks from `from` on, at most want long; the first that is long enough, else the longest. => its length
static u32 find_run(const struct bitmap *m, u32 from, u32 want, u32 *at)
{
    const struct extfs *fs = m->fs;
    u32 n = blocks_in_group(fs, m->group), best = 0;
    const u8 *pending = fs->pending[m->group];
    for (u32 bit = next_clear(m->b->data, from, n); bit < n;) {
        u32 end = bit;
        while (end < n && end - bit < want && !test_bit(m->b->data, end) &&
               !(pending && test_bit(pending, end)))
            end++;
        if (end - bit > best) {
            best = end - bit;
            *at = bit;
            if (best == want)
                break;
        }
        bit = next_clear(m->b->data, end + (end == bit), n);
    }
    return best;
}

static void take_run(struct bitmap *m, u32 at, u32 n)
{
    for (u32 i = 0; i < n; i++)
        set_bit(m->b->data, at + i);
    group_add(m->fs, m->desc, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HIGH, -(s32)n);
    m->fs->free_blocks -= n;
    bitmap_changed(m);
}

#define FEW_GROUPS 16u  // that are looked at for a better place once some place is known

struct found {
    u32 group, at, n;
};

static int search(struct extfs *fs, u64 goal, u32 want, struct found *best)
{
    u32 first = (u32)((goal - fs->first_data_block) / fs->blocks_per_group);
    u32 bit = (u32)((goal - fs->first_data_block) % fs->blocks_per_group);
    best->n = 0;
    for (u32 i = 0, tried = 0; i <= fs->n_groups && (!best->n || tried < FEW_GROUPS); i++) {
        u32 group = (first + i) % fs->n_groups;
        struct bitmap m;
        struct buf *b;
        u8 *desc = group_desc(fs, group, &b);
        if (IS_ERR(desc))
            return (int)PTR_ERR(desc);
        u32 n_free = group_get16(fs, desc, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HIGH);
        buf_put(fs, b);
        if (n_free <= best->n)
            continue;
        int err = bitmap_open(fs, group, false, &m);
        if (err)
            return err;
        u32 at = 0, n = find_run(&m, i == 0 ? bit : 0, want, &at);
        if (n > best->n)
            *best = (struct found){group, at, n};
        bitmap_close(&m);
        tried++;
        if (best->n == want)
            break;
    }
    return 0;
}

// Exactly at the goal, as long as it goes: what continues a file.
static u32 run_at_goal(struct bitmap *m, u32 bit, u32 want)
{
    const u8 *pending = m->fs->pending[m->group];
    u32 n = blocks_in_group(m->fs, m->group), end = bit;
    while (end < n && end - bit < want && !test_bit(m->b->data, end) &&
           !(pending && test_bit(pending, end)))
        end++;
    return end - bit;
}

// Up to want blocks in a row, at or near goal. => the first; 0 with *err: -ENOSPC, -EIO, -EUCLEAN
u64 alloc_blocks(struct extfs *fs, u64 goal, u32 want, u32 *got, int *err)
{
    struct bitmap m;
    struct found f = {0};
    if (goal < fs->first_data_block || goal >= fs->n_blocks)
        goal = fs->first_data_block;
    f.group = (u32)((goal - fs->first_data_block) / fs->blocks_per_group);
    f.at = (u32)((goal - fs->first_data_block) % fs->blocks_per_group);
    want = MIN(want, fs->blocks_per_group);
    if ((*err = bitmap_open(fs, f.group, false, &m)))
        return 0;
    f.n = run_at_goal(&m, f.at, want);
    if (!f.n) {
        bitmap_close(&m);
        if ((*err = search(fs, goal, want, &f)))
            return 0;
        if (!f.n) {
            *err = -ENOSPC;
            return 0;
        }
        if ((*err = bitmap_open(fs, f.group, false, &m)))
            return 0;
    }
    u64 start = group_start(fs, f.group) + f.at;
    if (!blocks_usable(fs, start, f.n) ||
        group_get16(fs, m.desc, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HIGH) < f.n) {
        bitmap_close(&m);
        *err = damaged(fs, "a count of free blocks is wrong");
        return 0;
    }
    take_run(&m, f.at, f.n);
    bitmap_close(&m);
    *got = f.n;
    return start;
}

static int free_in_group(struct extfs *fs, u32 group, u32 at, u32 n)
{
    struct bitmap m;
    int err = bitmap_open(fs, group, false, &m);
    if (err)
        return err;
    if (!fs->pending[group] && !(fs->pending[group] = kzalloc(fs->block_size))) {
        bitmap_close(&m);
        return extfs_fail(fs, -ENOMEM, "no memory to free blocks");
    }
    for (u32 i = at; i < at + n; i++) {
        if (!test_bit(m.b->data, i)) {
            bitmap_close(&m);
            return damaged(fs, "a block is freed twice");
        }
        clear_bit(m.b->data, i);
        set_bit(fs->pending[group], i);
    }
    group_add(fs, m.desc, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HIGH, (s32)n);
    bitmap_changed(&m);
    bitmap_close(&m);
    fs->free_blocks += n;
    fs->pending_blocks += n;
    return 0;
}

int free_blocks(struct extfs *fs, u64 start, u32 n)
{
    if (!blocks_usable(fs, start, n))
        return damaged(fs, "blocks that are freed lie outside");
    while (n) {
        u32 group = (u32)((start - fs->first_data_block) / fs->blocks_per_group);
        u32 at = (u32)((start - fs->first_data_block) % fs->blocks_per_group);
        u32 part = MIN(n, fs->blocks_per_group - at);
        int err = free_in_group(fs, group, at, part);
        if (err)
            return err;
        start += part;
        n -= part;
    }
    return 0;
}

void pending_clear(struct extfs *fs)
{
    if (!fs->pending_blocks)
        return;
    for (u32 g = 0; g < fs->n_groups; g++) {
        kfree(fs->pending[g]);
        fs->pending[g] = NULL;
    }
    fs->pending_blocks = 0;
}

// ------------------------------------------------------------------------------- inodes

#define FIRST_INO 11u  // below it inodes are reserved (rev 1 file systems say 11)

// The inode table from the first never-used inode on may hold anything: a block of it that comes into use is cleared. The
// slots of the block that are in use already stay.
static int clear_table_tail(struct extfs *fs, struct bitmap *m, u32 index)
{
    u32 used = fs->inodes_per_group - group_get16(fs, m->desc, GD_UNUSED, GD_UNUSED_HIGH);
    u32 per_block = fs->block_size / fs->inode_size;
    if (index < used || (!fs->metadata_csum && !fs->gdt_csum))
        return 0;
    u64 table = group_field(fs, m->desc, GD_INODE_TABLE, GD_INODE_TABLE + GD_HIGH32);
    for (u32 first = ALIGN_DOWN(used, per_block); first <= index; first += per_block) {
        struct buf *b = first >= used ? buf_new(fs, table + first / per_block, VERIFIED_NO)
                                      : buf_get(fs, table + first / per_block);
        if (IS_ERR(b))
            return (int)PTR_ERR(b);
        u32 keep = first >= used ? 0 : used - first;
        memset(b->data + keep * fs->inode_size, 0, fs->block_size - keep * fs->inode_size);
        buf_dirty(fs, b);
        buf_put(fs, b);
    }
    put16(m->desc + GD_UNUSED, fs->inodes_per_group - index - 1);
    if (fs->desc_size >= 64)
        put16(m->desc + GD_UNUSED_HIGH, 0);
    return 0;
}

static int take_inode(struct extfs *fs, u32 group, bool directory, u32 *ino)
{
    struct bitmap m;
    int err = bitmap_open(fs, group, true, &m);
    if (err)
        return err;
    u32 from = group == 0 ? FIRST_INO - 1 : 0;
    u32 index = next_clear(m.b->data, from, fs->inodes_per_group);
    u64 table = group_field(fs, m.desc, GD_INODE_TABLE, GD_INODE_TABLE + GD_HIGH32);
    if (index >= fs->inodes_per_group ||
        !blocks_valid(fs, table,
                      DIV_ROUND_UP(fs->inodes_per_group * fs->inode_size, fs->block_size))) {
        bitmap_close(&m);
        return damaged(fs, "a count of free inodes is wrong");
    }
    err = clear_table_tail(fs, &m, index);
    if (!err) {
        set_bit(m.b->data, index);
        group_add(fs, m.desc, GD_FREE_INODES, GD_FREE_INODES_HIGH, -1);
        if (directory)
            group_add(fs, m.desc, GD_USED_DIRS, GD_USED_DIRS_HIGH, 1);
        bitmap_changed(&m);
        fs->free_inodes--;
        *ino = group * fs->inodes_per_group + index + 1;
    }
    bitmap_close(&m);
    return err;
}

// In the parent's group, else in the next that has one. => -ENOSPC
int alloc_inode(struct extfs *fs, u32 parent, bool directory, u32 *ino)
{
    u32 first = (parent - 1) / fs->inodes_per_group;
    for (u32 i = 0; i < fs->n_groups; i++) {
        u32 group = (first + i) % fs->n_groups;
        struct buf *b;
        u8 *desc = group_desc(fs, group, &b);
        if (IS_ERR(desc))
            return (int)PTR_ERR(desc);
        u32 n_free = group_get16(fs, desc, GD_FREE_INODES, GD_FREE_INODES_HIGH);
        buf_put(fs, b);
        if (n_free)
            return take_inode(fs, group, directory, ino);
    }
    return -ENOSPC;
}

int free_inode(struct extfs *fs, u32 ino, bool directory)
{
    struct bitmap m;
    u32 group = (ino - 1) / fs->inodes_per_group, index = (ino - 1) % fs->inodes_per_group;
    int err = bitmap_open(fs, group, true, &m);
    if (err)
        return err;
    if (ino < FIRST_INO || !test_bit(m.b->data, index)) {
        bitmap_close(&m);
        return damaged(fs, "an inode is freed twice");
    }
    clear_bit(m.b->data, index);
    group_add(fs, m.desc, GD_FREE_INODES, GD_FREE_INODES_HIGH, 1);
    if (directory)
        group_add(fs, m.desc, GD_USED_DIRS, GD_USED_DIRS_HIGH, -1);
    bitmap_changed(&m);
    bitmap_close(&m);
    fs->free_inodes++;
    return 0;
}
