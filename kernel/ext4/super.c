// SPDX-License-Identifier: BSD-2-Clause
// super.c: mounting, the superblock, group descriptors, transactions' beginning and end, errors.
//
// Nothing on the disk is trusted: geometry is checked here once, every block number in buffer.c and alloc.c, every structure where
// it is read. The superblock goes into every transaction, so its counts are exact after each replay.
#include "ext4/extfs_internal.h"

#define SB_OFFSET 1024u
enum {
    S_INODES = 0x0,
    S_BLOCKS = 0x4,
    S_RESERVED = 0x8,
    S_FREE_BLOCKS = 0xc,
    S_FREE_INODES = 0x10,
    S_FIRST_DATA = 0x14,
    S_LOG_BLOCK = 0x18,
    S_LOG_CLUSTER = 0x1c,
    S_BLOCKS_PER_GROUP = 0x20,
    S_INODES_PER_GROUP = 0x28,
    S_MTIME = 0x2c,
    S_WTIME = 0x30,
    S_MAGIC = 0x38,
    S_STATE = 0x3a,
    S_REV = 0x4c,
    S_INODE_SIZE = 0x58,
    S_COMPAT = 0x5c,
    S_INCOMPAT = 0x60,
    S_RO_COMPAT = 0x64,
    S_UUID = 0x68,
    S_JOURNAL_INO = 0xe0,
    S_DESC_SIZE = 0xfe,
    S_BLOCKS_HIGH = 0x150,
    S_RESERVED_HIGH = 0x154,
    S_FREE_BLOCKS_HIGH = 0x158,
    S_WANT_EXTRA = 0x15e,
    S_CSUM_TYPE = 0x175,
    S_CSUM_SEED = 0x270,
    S_CSUM = 0x3fc,
};
#define STATE_ERRORS 2u

// ------------------------------------------------------------------------------- errors

int extfs_fail(struct extfs *fs, int err, const char *why)
{
    if (fs->failed)
        return err;
    fs->failed = fs->read_only = true;
    // The mark tells e2fsck to look at everything. It goes home by itself: the journal is closed.
    if (!fs->disk->read_only && fs->marked) {
        u8 *copy = kmalloc(fs->block_size);
        struct extfs_io io = {.block = fs->super->block, .data = copy, .n = 1};
        if (copy && !fs->disk->ops->transfer(fs->disk, &io, 1, false)) {
            u8 *sb = copy + (fs->sb - fs->super->data);
            put16(sb + S_STATE, le16(sb + S_STATE) | STATE_ERRORS);
            if (fs->metadata_csum)
                put32(sb + S_CSUM, crc32c(UINT32_MAX, sb, S_CSUM));
            fs->disk->ops->transfer(fs->disk, &io, 1, true);
            fs->disk->ops->flush(fs->disk);
        }
        kfree(copy);
    }
    fs->disk->ops->failed(fs->disk, why);
    return err;
}

bool extfs_read_only(const struct extfs *fs) { return fs->read_only; }
u32 extfs_block_size(const struct extfs *fs) { return fs->block_size; }

// ------------------------------------------------------------------------------- superblock

void super_update(struct extfs *fs)
{
    put32(fs->sb + S_FREE_BLOCKS, (u32)fs->free_blocks);
    if (fs->incompat & INCOMPAT_64BIT)
        put32(fs->sb + S_FREE_BLOCKS_HIGH, fs->free_blocks >> 32);
    put32(fs->sb + S_FREE_INODES, fs->free_inodes);
    put32(fs->sb + S_WTIME, (u32)(fs->disk->ops->now_ns() / 1000000000u));
    if (fs->metadata_csum)
        put32(fs->sb + S_CSUM, crc32c(UINT32_MAX, fs->sb, S_CSUM));
}

int super_write_home(struct extfs *fs)
{
    super_update(fs);
    struct extfs_io io = {.block = fs->super->block, .data = fs->super->data, .n = 1};
    int err = fs->disk->ops->transfer(fs->disk, &io, 1, true);
    return err ? err : fs->disk->ops->flush(fs->disk);
}

static void set_recover(struct extfs *fs, bool on)
{
    u32 incompat = le32(fs->sb + S_INCOMPAT);
    put32(fs->sb + S_INCOMPAT, on ? incompat | INCOMPAT_RECOVER : incompat & ~INCOMPAT_RECOVER);
    fs->marked = on;
}

static const char *check_features(struct extfs *fs, const u8 *sb)
{
    fs->compat = le32(sb + S_COMPAT);
    fs->incompat = le32(sb + S_INCOMPAT);
    fs->ro_compat = le32(sb + S_RO_COMPAT);
    fs->metadata_csum = fs->ro_compat & RO_METADATA_CSUM;
    fs->gdt_csum = !fs->metadata_csum && (fs->ro_compat & RO_GDT_CSUM);
    if (fs->incompat & 0x10u)
        return "feature meta_bg is not supported";
    if (fs->incompat & 0x8000u)
        return "feature inline_data is not supported";
    if (fs->incompat & ~INCOMPAT_KNOWN)
        return "it has a feature that is not supported";
    if (!(fs->incompat & INCOMPAT_EXTENTS) || !(fs->incompat & INCOMPAT_FILETYPE))
        return "features extent and filetype are needed";
    if (fs->metadata_csum && sb[S_CSUM_TYPE] != 1)
        return "its checksums are of an unknown kind";
    if (fs->metadata_csum && le32(sb + S_CSUM) != crc32c(UINT32_MAX, sb, S_CSUM))
        return "its superblock has a wrong checksum";
    return NULL;
}

static const char *check_geometry(struct extfs *fs, const u8 *sb)
{
    bool big = fs->incompat & INCOMPAT_64BIT;
    fs->n_blocks = le32(sb + S_BLOCKS) | (big ? (u64)le32(sb + S_BLOCKS_HIGH) << 32 : 0);
    fs->blocks_per_group = le32(sb + S_BLOCKS_PER_GROUP);
    fs->inodes_per_group = le32(sb + S_INODES_PER_GROUP);
    fs->n_inodes = le32(sb + S_INODES);
    fs->first_data_block = le32(sb + S_FIRST_DATA);
    fs->inode_size = le16(sb + S_INODE_SIZE);
    fs->desc_size = big ? le16(sb + S_DESC_SIZE) : 32;
    fs->want_extra = le16(sb + S_WANT_EXTRA);
    u32 bs = fs->block_size;
    if (le32(sb + S_REV) < 1 || fs->inode_size < 128 || fs->inode_size > bs ||
        (fs->inode_size & (fs->inode_size - 1)))
        return "its inode size is wrong";
    if (fs->desc_size < 32 || fs->desc_size > 1024 || (fs->desc_size & (fs->desc_size - 1)) ||
        (big && fs->desc_size < 64))
        return "its group descriptor size is wrong";
    if (fs->blocks_per_group < 8 || fs->blocks_per_group > 8 * bs || fs->blocks_per_group % 8 ||
        fs->inodes_per_group < 8 || fs->inodes_per_group > 8 * bs || fs->inodes_per_group % 8 ||
        fs->first_data_block != (bs == 1024) || fs->n_blocks <= fs->first_data_block ||
        le32(sb + S_LOG_CLUSTER) != le32(sb + S_LOG_BLOCK))
        return "its group geometry is wrong";
    if (fs->n_blocks > fs->disk->size_bytes / bs)
        return "it is larger than its device";
    u64 groups = DIV_ROUND_UP(fs->n_blocks - fs->first_data_block, (u64)fs->blocks_per_group);
    fs->first_desc_block = fs->first_data_block + 1;
    u64 desc_blocks = DIV_ROUND_UP(groups * fs->desc_size, (u64)bs);
    if (groups > 1u << 24 || groups * fs->inodes_per_group != fs->n_inodes || fs->n_inodes < 11 ||
        fs->first_desc_block + desc_blocks > fs->n_blocks)
        return "its group geometry is wrong";
    fs->n_groups = (u32)groups;
    if (fs->want_extra + 128u > fs->inode_size || fs->want_extra % 4 || fs->want_extra < 32)
        fs->want_extra = fs->inode_size >= 160 ? 32 : 0;
    fs->csum_seed = fs->incompat & INCOMPAT_CSUM_SEED ? le32(sb + S_CSUM_SEED)
                                                      : crc32c(UINT32_MAX, sb + S_UUID, 16);
    return NULL;
}

// Counts of the groups are what the allocators go by; the superblock's may be stale.
static int count_free(struct extfs *fs)
{
    u64 blocks = 0, inodes = 0;
    for (u32 g = 0; g < fs->n_groups; g++) {
        struct buf *b;
        u8 *desc = group_desc(fs, g, &b);
        if (IS_ERR(desc))
            return (int)PTR_ERR(desc);
        u32 fb = group_get16(fs, desc, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HIGH);
        u32 fi = group_get16(fs, desc, GD_FREE_INODES, GD_FREE_INODES_HIGH);
        buf_put(fs, b);
        if (fb > fs->blocks_per_group || fi > fs->inodes_per_group)
            return -EUCLEAN;
        blocks += fb;
        inodes += fi;
    }
    fs->free_blocks = blocks;
    fs->free_inodes = (u32)inodes;
    return blocks <= fs->n_blocks ? 0 : -EUCLEAN;
}

// ------------------------------------------------------------------------------- groups

u64 group_field(const struct extfs *fs, const u8 *desc, u32 low, u32 high)
{
    return le32(desc + low) | (fs->desc_size >= 64 ? (u64)le32(desc + high) << 32 : 0);
}

u32 group_get16(const struct extfs *fs, const u8 *desc, u32 low, u32 high)
{
    return le16(desc + low) | (fs->desc_size >= 64 ? (u32)le16(desc + high) << 16 : 0);
}

void group_add(const struct extfs *fs, u8 *desc, u32 low, u32 high, s32 n)
{
    u32 v = group_get16(fs, desc, low, high) + (u32)n;
    put16(desc + low, v);
    if (fs->desc_size >= 64)
        put16(desc + high, v >> 16);
}

static u32 desc_csum(const struct extfs *fs, u32 group, const u8 *desc)
{
    static const u8 zero[2];
    u8 number[4];
    put32(number, group);
    if (fs->metadata_csum) {
        u32 c = crc32c(crc32c(fs->csum_seed, number, 4), desc, GD_CSUM);
        c = crc32c(c, zero, 2);
        return crc32c(c, desc + GD_CSUM + 2, fs->desc_size - GD_CSUM - 2) & 0xffff;
    }
    u16 c = crc16(crc16(0xffff, fs->sb + S_UUID, 16), number, 4);
    c = crc16(c, desc, GD_CSUM);
    return fs->desc_size > 32 ? crc16(c, desc + GD_CSUM + 2, fs->desc_size - GD_CSUM - 2) : c;
}

static bool group_verify(struct extfs *fs, const struct buf *b, u64 first_group)
{
    u32 per_block = fs->block_size / fs->desc_size;
    if (!fs->metadata_csum && !fs->gdt_csum)
        return true;
    for (u32 i = 0; i < per_block && first_group + i < fs->n_groups; i++) {
        const u8 *desc = b->data + i * fs->desc_size;
        if (le16(desc + GD_CSUM) != desc_csum(fs, (u32)first_group + i, desc))
            return false;
    }
    return true;
}

u8 *group_desc(struct extfs *fs, u32 group, struct buf **out)
{
    u32 per_block = fs->block_size / fs->desc_size;
    struct buf *b = buf_get(fs, fs->first_desc_block + group / per_block);
    if (IS_ERR(b))
        return (u8 *)b;
    if (b->verified != VERIFIED_GROUPS && !group_verify(fs, b, group / per_block * per_block)) {
        buf_put(fs, b);
        return ERR_PTR(damaged(fs, "a group descriptor has a wrong checksum"));
    }
    b->verified = VERIFIED_GROUPS;
    *out = b;
    return b->data + group % per_block * fs->desc_size;
}

int group_dirty(struct extfs *fs, u32 group, struct buf *b, u8 *desc)
{
    if (fs->metadata_csum || fs->gdt_csum)
        put16(desc + GD_CSUM, desc_csum(fs, group, desc));
    return buf_dirty(fs, b);
}

// ------------------------------------------------------------------------------- mount

static void destroy(struct extfs *fs)
{
    if (fs->pending)
        pending_clear(fs);
    kfree(fs->pending);
    buf_drop_all(fs);
    kfree(fs->revoked);
    kfree(fs->zones);
    orphans_forget(fs);
    kfree(fs->j.runs);
    kfree(fs->j.super);
    kfree(fs);
}

static int read_super(struct extfs *fs, const char **why)
{
    u8 *sb = kmalloc(1024);
    if (!sb)
        return -ENOMEM;
    fs->disk->block_size = fs->block_size = 1024;
    struct extfs_io io = {.block = 1, .data = sb, .n = 1};
    int err = fs->disk->size_bytes < 2 * SB_OFFSET
                  ? -EINVAL
                  : fs->disk->ops->transfer(fs->disk, &io, 1, false);
    *why = err == -EINVAL ? "it is no ext4 file system" : "its superblock cannot be read";
    if (!err) {
        u32 log = le32(sb + S_LOG_BLOCK);
        *why = le16(sb + S_MAGIC) != 0xef53 ? "it is no ext4 file system"
               : log > 2                    ? "its block size is none of 1024, 2048 and 4096"
                                            : NULL;
        fs->block_bits = 10 + (log > 2 ? 0 : log);
        fs->disk->block_size = fs->block_size = 1u << fs->block_bits;
        if (!*why)
            *why = check_features(fs, sb);
        if (!*why)
            *why = check_geometry(fs, sb);
        err = *why ? -EINVAL : 0;
    }
    kfree(sb);
    if (err)
        return err;
    fs->super = buf_get(fs, fs->block_size == 1024 ? 1 : 0);
    if (IS_ERR(fs->super)) {
        err = (int)PTR_ERR(fs->super);
        fs->super = NULL;
        return err;
    }
    fs->sb = fs->super->data + (fs->block_size == 1024 ? 0 : SB_OFFSET);
    return 0;
}

static const char *why_read_only(const struct extfs *fs)
{
    if (!(fs->compat & COMPAT_HAS_JOURNAL))
        return "it has no journal";
    if (fs->ro_compat & 0x10000u)
        return "its orphan file has entries (run e2fsck on it)";
    if (fs->ro_compat & ~RO_KNOWN)
        return "it has a feature that is not known for writing";
    if (le16(fs->sb + S_STATE) & STATE_ERRORS)
        return "it had errors (run e2fsck on it)";
    return NULL;
}

// After a replay the superblock and all else that was read may be old.
static int reread(struct extfs *fs, const char **why)
{
    buf_drop_all(fs);
    fs->super = NULL;
    int err = read_super(fs, why);
    if (!err)
        set_recover(fs, false);
    return err;
}

static int open_journal(struct extfs *fs, const char **why)
{
    if (!(fs->compat & COMPAT_HAS_JOURNAL))
        return 0;
    if (le32(fs->sb + S_JOURNAL_INO) != JOURNAL_INO) {
        *why = "its journal is elsewhere";
        return -EINVAL;
    }
    int err = journal_load(fs, why);
    if (!err)
        err = journal_replay(fs, why);
    return err == 1 ? reread(fs, why) : err;
}

static int mount_steps(struct extfs *fs, bool read_only, const char **why)
{
    list_init(&fs->lru);
    list_init(&fs->tx);
    list_init(&fs->ckpt);
    fs->read_only = true;  // until everything has been looked at
    int err = read_super(fs, why);
    if (!err)
        err = open_journal(fs, why);
    if (!err)
        set_recover(fs, false);
    if (!err && !(fs->pending = kzalloc(fs->n_groups * sizeof(u8 *))))
        err = -ENOMEM;
    if (!err) {
        *why = "its group descriptors are damaged";
        err = count_free(fs);
    }
    if (!err)
        err = zones_build(fs);
    struct raw_inode root;
    if (!err) {
        *why = "its root directory is damaged";
        err = raw_get(fs, EXTFS_ROOT_INO, &root);
    }
    if (!err) {
        err = (inode_mode(&root) & T_FMT) == T_DIR ? 0 : -EUCLEAN;
        raw_put(&root);
    }
    if (err)
        return err;
    *why = read_only || fs->disk->read_only ? NULL : why_read_only(fs);
    fs->next_generation = fs->disk->ops->random();
    if (!*why && !read_only && !fs->disk->read_only) {
        fs->read_only = false;
        orphans_process(fs);  // what fails stays on the list: writing has stopped then
    }
    return 0;
}

int extfs_mount(struct extfs_disk *disk, bool read_only, u32 max_bufs, struct extfs **out,
                const char **why)
{
    struct extfs *fs = kzalloc(sizeof(*fs));
    *why = "too little memory";
    if (!fs)
        return -ENOMEM;
    fs->disk = disk;
    fs->max_bufs = max_bufs;
    int err = mount_steps(fs, read_only, why);
    if (err) {
        fs->failed = true;
        destroy(fs);
        return err;
    }
    *out = fs;
    return 0;
}

int extfs_clean(struct extfs *fs)
{
    if (fs->failed)
        return -EIO;
    if (fs->read_only || !fs->marked)
        return 0;
    int err = journal_commit(fs);
    if (!err)
        err = journal_checkpoint(fs);
    if (!err)
        err = journal_write_super(fs, 0, fs->j.sequence);
    if (!err)
        err = fs->disk->ops->flush(fs->disk);
    if (err)
        return extfs_fail(fs, err, "the journal cannot be emptied");
    set_recover(fs, false);
    err = super_write_home(fs);
    return err ? extfs_fail(fs, err, "the superblock cannot be written") : 0;
}

int extfs_unmount(struct extfs *fs)
{
    int err = extfs_clean(fs);
    destroy(fs);
    return err;
}

// ------------------------------------------------------------------------------- transactions

int extfs_begin(struct extfs *fs)
{
    KASSERT(!fs->in_op);
    if (fs->read_only)
        return -EROFS;
    if (!fs->marked) {  // from here on a crash leaves work for the journal
        set_recover(fs, true);
        int err = super_write_home(fs);
        if (err)
            return extfs_fail(fs, err, "the superblock cannot be written");
    }
    int err = journal_make_room(fs);
    if (!err && fs->pending_blocks && fs->free_blocks < fs->pending_blocks + 128)
        err = journal_commit(fs);  // then they can be used
    if (err)
        return err;
    fs->in_op = true;
    fs->half_done = false;
    return 0;
}

int extfs_end(struct extfs *fs, int err)
{
    fs->in_op = false;
    // Operations look for what may be missing before they change anything; an error after that is damage or a broken device.
    if (err && fs->half_done)
        return extfs_fail(fs, err, "an operation failed half done");
    return err;
}

int extfs_commit(struct extfs *fs)
{
    if (fs->failed)
        return -EROFS;
    return fs->read_only ? 0 : journal_commit(fs);
}

u32 extfs_transaction(const struct extfs *fs) { return fs->j.sequence; }

bool extfs_committed(const struct extfs *fs, u32 transaction)
{
    return (s32)(fs->j.committed - transaction) >= 0;
}

// ------------------------------------------------------------------------------- space

void extfs_statfs(const struct extfs *fs, struct extfs_stat *st)
{
    u64 promised = __atomic_load_n(&fs->promised, __ATOMIC_RELAXED);
    *st = (struct extfs_stat){
        .blocks = fs->n_blocks - fs->first_data_block,
        .free_blocks = fs->free_blocks > promised ? fs->free_blocks - promised : 0,
        .reserved_blocks =
            le32(fs->sb + S_RESERVED) |
            (fs->incompat & INCOMPAT_64BIT ? (u64)le32(fs->sb + S_RESERVED_HIGH) << 32 : 0),
        .inodes = fs->n_inodes,
        .free_inodes = fs->free_inodes,
        .block_size = fs->block_size,
    };
    memcpy(st->uuid, fs->sb + S_UUID, 16);
}

// Besides the blocks themselves their places may need blocks of extent trees: one in 64 is kept for that, and some for names.
#define SPARE_BLOCKS 64u
bool extfs_reserve(struct extfs *fs, u32 blocks)
{
    u64 now = __atomic_add_fetch(&fs->promised, blocks, __ATOMIC_RELAXED);
    if (now + now / 64 + SPARE_BLOCKS <= READ_ONCE(fs->free_blocks))
        return true;
    extfs_unreserve(fs, blocks);
    return false;
}

void extfs_unreserve(struct extfs *fs, u32 blocks)
{
    __atomic_sub_fetch(&fs->promised, blocks, __ATOMIC_RELAXED);
}
