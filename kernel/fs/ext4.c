// SPDX-License-Identifier: BSD-2-Clause
// ext4.c: reads an ext4 image in memory (the layout: kernel documentation, "ext4 Data Structures").
//
//     byte 0     1024            4096 (block 1)
//     | unused   | superblock    | group descriptors | ... inode tables, extent nodes, directories, data
//
// What mke2fs -d makes: 4096-byte blocks, extents, 64bit or not, metadata checksums (not verified: the
// image came over the same wire as the kernel), hashed directories (read from front to back, where the
// index blocks look like unused entries). Journals are ignored; an image that needs a replay is refused.
//
// Nothing in the image is trusted. Every offset is checked against the image's size before it is used,
// every loop is bounded by that size, and an extent tree may only get shallower on the way down.
#include "fs/ext4.h"

#include <string.h>

#define EXT4_MAGIC 0xef53
#define EXTENT_MAGIC 0xf30a
#define MAX_DEPTH 5
#define FL_EXTENTS 0x80000u
#define FL_HUGE_FILE 0x40000u
#define FL_ENCRYPT 0x800u
#define FL_INLINE_DATA 0x10000000u

#define INCOMPAT_FILETYPE 0x2u
#define INCOMPAT_RECOVER 0x4u
#define INCOMPAT_META_BG 0x10u
#define INCOMPAT_EXTENTS 0x40u
#define INCOMPAT_64BIT 0x80u
#define INCOMPAT_FLEX_BG 0x200u
#define INCOMPAT_CSUM_SEED 0x2000u
#define INCOMPAT_LARGEDIR 0x4000u
#define INCOMPAT_INLINE_DATA 0x8000u
#define INCOMPAT_ENCRYPT 0x10000u
#define INCOMPAT_KNOWN                                                          \
    (INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG | \
     INCOMPAT_CSUM_SEED | INCOMPAT_LARGEDIR)

static u16 le16(const u8 *p) { return (u16)(p[0] | p[1] << 8); }
static u32 le32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);  // both architectures are little-endian
    return v;
}

static const u8 *block_at(const struct ext4 *fs, u64 block)
{
    return block < fs->n_blocks ? fs->base + block * EXT4_BLOCK_SIZE : NULL;
}

// ------------------------------------------------------------------------------- superblock

static const char *check_features(u32 incompat)
{
    if (incompat & INCOMPAT_RECOVER)
        return "its journal needs a replay (run e2fsck on it)";
    if (incompat & INCOMPAT_META_BG)
        return "feature meta_bg is not supported";
    if (incompat & INCOMPAT_INLINE_DATA)
        return "feature inline_data is not supported";
    if (incompat & INCOMPAT_ENCRYPT)
        return "feature encrypt is not supported";
    if (incompat & ~INCOMPAT_KNOWN)
        return "it has a feature that is not supported";
    if (!(incompat & INCOMPAT_EXTENTS) || !(incompat & INCOMPAT_FILETYPE))
        return "features extent and filetype are needed";
    return NULL;
}

static const char *check_geometry(struct ext4 *fs, const u8 *sb, u64 size)
{
    u64 n_blocks = le32(sb + 0x4);
    if (le32(sb + 0x60) & INCOMPAT_64BIT)
        n_blocks |= (u64)le32(sb + 0x150) << 32;
    u32 blocks_per_group = le32(sb + 0x20);
    fs->n_inodes = le32(sb);
    fs->inodes_per_group = le32(sb + 0x28);
    fs->inode_size = le32(sb + 0x4c) == 0 ? 128 : le16(sb + 0x58);
    fs->desc_size = le32(sb + 0x60) & INCOMPAT_64BIT ? le16(sb + 0xfe) : 32;
    if (n_blocks == 0 || n_blocks > size / EXT4_BLOCK_SIZE)
        return "it is cut short";
    if (fs->inode_size < 128 || fs->inode_size > EXT4_BLOCK_SIZE ||
        (fs->inode_size & (fs->inode_size - 1)))
        return "its inode size is wrong";
    if (fs->desc_size < 32 || fs->desc_size > 1024 || (fs->desc_size & (fs->desc_size - 1)))
        return "its group descriptor size is wrong";
    if (!fs->inodes_per_group || !blocks_per_group || fs->n_inodes < EXT4_ROOT_INO)
        return "its group geometry is wrong";
    fs->n_blocks = n_blocks;
    fs->n_groups = (fs->n_inodes + fs->inodes_per_group - 1) / fs->inodes_per_group;
    fs->first_desc_block = (u64)le32(sb + 0x14) + 1;
    u64 desc_end = fs->first_desc_block * EXT4_BLOCK_SIZE + (u64)fs->n_groups * fs->desc_size;
    if (desc_end > n_blocks * EXT4_BLOCK_SIZE)
        return "its group descriptors lie outside";
    return NULL;
}

int ext4_open(struct ext4 *fs, const void *base, u64 size, const char **why)
{
    const u8 *sb = (const u8 *)base + 1024;
    memset(fs, 0, sizeof(*fs));
    fs->base = base;
    *why = NULL;
    if (size < 2048 || le16(sb + 0x38) != EXT4_MAGIC)
        *why = "it is no ext4 file system";
    else if (le32(sb + 0x18) != 2)
        *why = "its block size is not 4096";
    if (!*why)
        *why = check_features(le32(sb + 0x60));
    if (!*why)
        *why = check_geometry(fs, sb, size);
    struct ext4_inode root;
    if (!*why && (ext4_read_inode(fs, EXT4_ROOT_INO, &root) || (root.mode & 0170000) != 0040000))
        *why = "its root directory is damaged";
    return *why ? -EINVAL : 0;
}

// ------------------------------------------------------------------------------- inodes

static u64 time_ns(const u8 *raw, u32 at, u32 extra_at, u32 extra_end)
{
    s64 sec = (s32)le32(raw + at);
    u32 extra = extra_at + 4 <= extra_end ? le32(raw + extra_at) : 0;
    sec += (s64)(extra & 3) << 32;
    return sec < 0 ? 0 : (u64)sec * 1000000000u + (extra >> 2) % 1000000000u;
}

static const u8 *inode_at(const struct ext4 *fs, u32 ino)
{
    if (ino == 0 || ino > fs->n_inodes)
        return NULL;
    u32 group = (ino - 1) / fs->inodes_per_group, index = (ino - 1) % fs->inodes_per_group;
    const u8 *desc = fs->base + fs->first_desc_block * EXT4_BLOCK_SIZE + (u64)group * fs->desc_size;
    u64 table = le32(desc + 0x8);
    if (fs->desc_size >= 64)
        table |= (u64)le32(desc + 0x28) << 32;
    u64 at = (u64)index * fs->inode_size;
    if (table >= fs->n_blocks || at / EXT4_BLOCK_SIZE >= fs->n_blocks - table)
        return NULL;
    return fs->base + table * EXT4_BLOCK_SIZE + at;
}

int ext4_read_inode(const struct ext4 *fs, u32 ino, struct ext4_inode *out)
{
    const u8 *raw = inode_at(fs, ino);
    if (!raw)
        return -EUCLEAN;
    u32 extra_end = 128;
    if (fs->inode_size > 128) {
        u32 extra = le16(raw + 0x80);
        extra_end = extra <= fs->inode_size - 128 ? 128 + extra : 128;
    }
    out->ino = ino;
    out->mode = le16(raw);
    out->uid = le16(raw + 0x2) | (u32)le16(raw + 0x78) << 16;
    out->gid = le16(raw + 0x18) | (u32)le16(raw + 0x7a) << 16;
    out->n_links = le16(raw + 0x1a);
    out->flags = le32(raw + 0x20);
    out->size = le32(raw + 0x4) | (u64)le32(raw + 0x6c) << 32;
    out->blocks_512 = le32(raw + 0x1c) | (u64)le16(raw + 0x74) << 32;
    if (out->flags & FL_HUGE_FILE)
        out->blocks_512 *= EXT4_BLOCK_SIZE / 512;
    out->atime_ns = time_ns(raw, 0x8, 0x8c, extra_end);
    out->ctime_ns = time_ns(raw, 0xc, 0x84, extra_end);
    out->mtime_ns = time_ns(raw, 0x10, 0x88, extra_end);
    out->btime_ns = extra_end >= 0x94 ? time_ns(raw, 0x90, 0x94, extra_end) : 0;
    out->block = raw + 0x28;
    u32 type = out->mode & 0170000;
    if (!out->n_links || (out->flags & (FL_ENCRYPT | FL_INLINE_DATA)))
        return -EUCLEAN;
    // A file cannot have more blocks than block numbers, nor a directory more than the image.
    if (out->size > (u64)UINT32_MAX * EXT4_BLOCK_SIZE ||
        (type == 0040000 && out->size > fs->n_blocks * EXT4_BLOCK_SIZE))
        return -EUCLEAN;
    return 0;
}

u32 ext4_rdev(const struct ext4_inode *inode)
{
    u32 old = le32(inode->block), dev = le32(inode->block + 4);
    if (old)
        return ((old >> 8) & 0xff) << 20 | (old & 0xff);
    return ((dev >> 8) & 0xfff) << 20 | (dev & 0xff) | ((dev >> 12) & 0xfff00);
}

// ------------------------------------------------------------------------------- extents

// An extent node: header (magic, entries, max, depth), then entries of 12 bytes.
struct extent_node {
    const u8 *entries;
    u32 n, depth;
};

static int node_open(const u8 *raw, u32 size_bytes, struct extent_node *node)
{
    node->n = le16(raw + 2);
    node->depth = le16(raw + 6);
    node->entries = raw + 12;
    if (le16(raw) != EXTENT_MAGIC || node->n > (size_bytes - 12) / 12 || node->depth > MAX_DEPTH)
        return -EUCLEAN;
    return 0;
}

// The last entry that starts at or before lblk, -1 if none does.
static int node_search(const struct extent_node *node, u32 lblk)
{
    int low = 0, high = (int)node->n;
    while (low < high) {
        int mid = (low + high) / 2;
        if (le32(node->entries + mid * 12) <= lblk)
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

// A hole from lblk to the next thing that the tree knows of.
static int map_hole(u32 lblk, u32 next, u64 *pblk, u32 *len)
{
    *pblk = 0;
    *len = next > lblk ? next - lblk : 1;
    return 0;
}

static int map_leaf(const struct ext4 *fs, const struct extent_node *node, u32 lblk, u32 next,
                    u64 *pblk, u32 *len)
{
    int i = node_search(node, lblk);
    if (i + 1 < (int)node->n)
        next = le32(node->entries + (i + 1) * 12);
    if (i < 0)
        return map_hole(lblk, next, pblk, len);
    const u8 *e = node->entries + i * 12;
    u32 first = le32(e), n = le16(e + 4);
    bool unwritten = n > 32768;
    if (unwritten)
        n -= 32768;
    u64 start = le32(e + 8) | (u64)le16(e + 6) << 32;
    if (n == 0 || start >= fs->n_blocks || n > fs->n_blocks - start || (!start && !unwritten))
        return -EUCLEAN;
    if (lblk - first >= n)
        return map_hole(lblk, next, pblk, len);
    *pblk = unwritten ? 0 : start + (lblk - first);
    *len = n - (lblk - first);
    return 0;
}

int ext4_map(const struct ext4 *fs, const struct ext4_inode *inode, u32 lblk, u64 *pblk, u32 *len)
{
    struct extent_node node;
    u32 next = UINT32_MAX;
    if (!(inode->flags & FL_EXTENTS)) {
        for (int i = 0; i < 60; i++) {
            if (inode->block[i])
                return -EUCLEAN;  // a block map, as ext2 has
        }
        return map_hole(lblk, next, pblk, len);
    }
    int err = node_open(inode->block, 60, &node);
    while (!err && node.depth) {
        u32 depth = node.depth;
        int i = node_search(&node, lblk);
        if (i + 1 < (int)node.n)
            next = MIN(next, le32(node.entries + (i + 1) * 12));
        if (i < 0)
            return map_hole(lblk, next, pblk, len);
        const u8 *e = node.entries + i * 12;
        const u8 *child = block_at(fs, le32(e + 4) | (u64)le16(e + 8) << 32);
        err = child ? node_open(child, EXT4_BLOCK_SIZE, &node) : -EUCLEAN;
        if (!err && node.depth != depth - 1)
            err = -EUCLEAN;
    }
    return err ? err : map_leaf(fs, &node, lblk, next, pblk, len);
}

// ------------------------------------------------------------------------------- directories

// The entry at *pos within a directory block. => 1 a name, 0 unused; *pos moves on
static int dirent_at(const u8 *block, u32 off, u32 *rec_len, struct ext4_dirent *out)
{
    const u8 *e = block + off;
    *rec_len = le16(e + 4);
    out->ino = le32(e);
    out->name_len = e[6];
    out->type = e[7];
    out->name = (const char *)e + 8;
    if (*rec_len < 8 || *rec_len % 4 || *rec_len > EXT4_BLOCK_SIZE - off ||
        out->name_len + 8u > *rec_len)
        return -EUCLEAN;
    if (out->ino == 0 || out->name_len == 0)
        return 0;
    if (out->name[0] == '.' && (out->name_len == 1 || (out->name_len == 2 && out->name[1] == '.')))
        return 0;
    if (memchr(out->name, '/', out->name_len) || memchr(out->name, '\0', out->name_len))
        return -EUCLEAN;
    return 1;
}

int ext4_dir_next(const struct ext4 *fs, const struct ext4_inode *dir, u64 *pos,
                  struct ext4_dirent *out)
{
    u64 mapped = UINT64_MAX, pblk = 0;
    while (*pos + 8 <= dir->size) {
        u64 lblk = *pos / EXT4_BLOCK_SIZE;
        if (lblk != mapped) {
            u32 len;
            int err = ext4_map(fs, dir, (u32)lblk, &pblk, &len);
            if (err)
                return err;
            mapped = lblk;
            if (!pblk) {
                *pos = (lblk + len) * EXT4_BLOCK_SIZE;
                continue;
            }
        }
        u32 rec_len;
        int got = dirent_at(block_at(fs, pblk), *pos % EXT4_BLOCK_SIZE, &rec_len, out);
        if (got < 0)
            return got;
        *pos += rec_len;
        if (*pos % EXT4_BLOCK_SIZE > EXT4_BLOCK_SIZE - 8)
            *pos = ALIGN_UP(*pos, EXT4_BLOCK_SIZE);
        if (got)
            return 1;
    }
    return 0;
}

int ext4_dir_find(const struct ext4 *fs, const struct ext4_inode *dir, const char *name, u32 len,
                  struct ext4_dirent *out)
{
    u64 pos = 0;
    for (;;) {
        int got = ext4_dir_next(fs, dir, &pos, out);
        if (got <= 0)
            return got;
        if (out->name_len == len && memcmp(out->name, name, len) == 0)
            return 1;
    }
}

int ext4_link_text(const struct ext4 *fs, const struct ext4_inode *inode, const char **text)
{
    if (inode->size == 0 || inode->size >= EXT4_BLOCK_SIZE)
        return -EUCLEAN;
    if (inode->size < 60 && !(inode->flags & FL_EXTENTS)) {
        *text = (const char *)inode->block;
    } else {
        u64 pblk;
        u32 len;
        int err = ext4_map(fs, inode, 0, &pblk, &len);
        if (err)
            return err;
        *text = (const char *)block_at(fs, pblk);
        if (!pblk || !*text)
            return -EUCLEAN;
    }
    if (memchr(*text, '\0', inode->size))
        return -EUCLEAN;
    return (int)inode->size;
}
