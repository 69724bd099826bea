// SPDX-License-Identifier: BSD-2-Clause
// recover.c: the journal as it is found at mount: its place, its superblock, and the replay.
//
// A replay reads the log from s_start while the sequence numbers go on: once to find the last transaction whose commit
// block is there (with its checksum), once for revocations, and once to write the blocks home. The log is not
// trusted: every block number is checked, and the walk is bounded by the journal's size.
#include "ext4/extfs_internal.h"

#define MAX_RUNS 1024u

// ------------------------------------------------------------------------------- where the journal lies

static int map_journal(struct extfs *fs, struct raw_inode *i, u32 n_blocks)
{
    struct journal *j = &fs->j;
    struct extent_map map;
    j->runs = kmalloc(MAX_RUNS * sizeof(*j->runs));
    if (!j->runs)
        return -ENOMEM;
    for (u32 at = 0; at < n_blocks; at += map.len) {
        int err = extent_map(i, at, &map);
        if (err)
            return err;
        map.len = MIN(map.len, n_blocks - at);
        if (!map.pblk || map.unwritten || j->n_runs == MAX_RUNS)
            return -EUCLEAN;
        j->runs[j->n_runs++] = (struct journal_run){at, map.len, map.pblk};
    }
    return 0;
}

static const char *check_super(struct extfs *fs)
{
    struct journal *j = &fs->j;
    const u8 *s = j->super;
    u32 kind = be32(s + 4), max = be32(s + 0x10);
    u32 blocks = j->runs[j->n_runs - 1].first + j->runs[j->n_runs - 1].n;
    if (be32(s) != JBD_MAGIC || kind != JBD_SUPER2)
        return "its journal has no superblock";
    if (be32(s + 0xc) != fs->block_size || max > blocks || be32(s + 0x14) < 1 ||
        be32(s + 0x14) >= max || be32(s + 0x1c) >= max)
        return "its journal's superblock is damaged";
    j->incompat = be32(s + 0x28);
    j->first = be32(s + 0x14);
    j->end = max;
    if (j->incompat & ~(u32)(JBD_REVOKES | JBD_64BIT | JBD_CSUM_V2 | JBD_CSUM_V3))
        return "its journal has a feature that is not known";
    if ((j->incompat & 0x18) == 0x18)
        return "its journal's superblock is damaged";
    if (j->end - j->first < 3 * OP_BLOCKS)
        return "its journal is too small";
    j->csum_seed = crc32c(UINT32_MAX, s + 0x30, 16);
    if (journal_has_csum(j)) {
        u32 stored = be32(s + 0xfc);
        put_be32(j->super + 0xfc, 0);
        u32 csum = crc32c(UINT32_MAX, s, 1024);
        put_be32(j->super + 0xfc, stored);
        if (stored != csum || s[0x50] != 4)
            return "its journal's superblock has a wrong checksum";
    }
    return NULL;
}

// The features that we write with.
static void choose_features(struct extfs *fs)
{
    struct journal *j = &fs->j;
    j->incompat |= JBD_REVOKES;
    if (fs->incompat & INCOMPAT_64BIT)
        j->incompat |= JBD_64BIT;
    if (fs->metadata_csum) {
        j->incompat = (j->incompat & ~(u32)JBD_CSUM_V2) | JBD_CSUM_V3;
        j->super[0x50] = 4;                                      // CRC-32C
        put_be32(j->super + 0x24, be32(j->super + 0x24) & ~1u);  // not the old kind of checksums
    } else {
        j->incompat &= ~(u32)(JBD_CSUM_V2 | JBD_CSUM_V3);
        j->super[0x50] = 0;
    }
    put_be32(j->super + 0x28, j->incompat);
}

int journal_load(struct extfs *fs, const char **why)
{
    struct journal *j = &fs->j;
    struct raw_inode i;
    int err = raw_get(fs, JOURNAL_INO, &i);
    if (!err) {
        u64 size = raw_size(&i);
        err = size / fs->block_size < 1024 || size / fs->block_size > UINT32_MAX / 2 ||
                      !(inode_flags(&i) & FL_EXTENTS)
                  ? -EUCLEAN
                  : map_journal(fs, &i, (u32)(size / fs->block_size));
        raw_put(&i);
    }
    if (!err && !(j->super = kmalloc(fs->block_size)))
        err = -ENOMEM;
    struct extfs_io io = {.data = j->super, .n = 1};
    if (!err) {
        io.block = journal_block(j, 0);
        err = fs->disk->ops->transfer(fs->disk, &io, 1, false);
    }
    if (err) {
        *why = "its journal cannot be read";
        return err;
    }
    *why = check_super(fs);
    return *why ? -EUCLEAN : 0;
}

// ------------------------------------------------------------------------------- replay

enum pass { PASS_SCAN, PASS_REVOKE, PASS_REPLAY };

struct revoked {
    u64 block;
    u32 sequence;
    bool used;
};

struct replay {
    struct extfs *fs;
    u8 *block, *data;
    u32 end_sequence;         // behind the last whole transaction
    struct revoked *revoked;  // open hash
    u32 n_revoked, room;
};

static int read_log(struct replay *r, u32 at, u8 *to)
{
    struct extfs_io io = {.block = journal_block(&r->fs->j, at), .data = to, .n = 1};
    return r->fs->disk->ops->transfer(r->fs->disk, &io, 1, false);
}

static u32 next_block(const struct journal *j, u32 at, u32 n)
{
    at += n;
    return at >= j->end ? at - (j->end - j->first) : at;
}

static struct revoked *revoked_slot(struct replay *r, u64 block)
{
    u32 at = (u32)(block * 0x9e3779b1u) & (r->room - 1);
    while (r->revoked[at].used && r->revoked[at].block != block)
        at = (at + 1) & (r->room - 1);
    return &r->revoked[at];
}

static int add_revoked(struct replay *r, u64 block, u32 sequence)
{
    if (r->n_revoked * 2 >= r->room) {
        struct revoked *old = r->revoked;
        u32 n = r->room;
        r->room = n ? n * 2 : 256;
        r->revoked = kzalloc(r->room * sizeof(*r->revoked));
        if (!r->revoked) {
            r->revoked = old;
            r->room = n;
            return -ENOMEM;
        }
        for (u32 i = 0; i < n; i++) {
            if (old[i].used)
                *revoked_slot(r, old[i].block) = old[i];
        }
        kfree(old);
    }
    struct revoked *slot = revoked_slot(r, block);
    if (!slot->used)
        r->n_revoked++;
    if (!slot->used || (s32)(sequence - slot->sequence) > 0)
        *slot = (struct revoked){block, sequence, true};
    return 0;
}

static bool is_revoked(struct replay *r, u64 block, u32 sequence)
{
    if (!r->room)
        return false;
    const struct revoked *slot = revoked_slot(r, block);
    return slot->used && (s32)(slot->sequence - sequence) >= 0;
}

static bool block_csum_good(const struct replay *r)
{
    const struct journal *j = &r->fs->j;
    u32 size = r->fs->block_size;
    return !journal_has_csum(j) ||
           be32(r->block + size - 4) == journal_block_csum(j, r->block, size);
}

static bool commit_good(struct replay *r)
{
    if (!journal_has_csum(&r->fs->j))
        return true;
    u32 stored = be32(r->block + 0x10);
    put_be32(r->block + 0x10, 0);
    return stored == crc32c(r->fs->j.csum_seed, r->block, r->fs->block_size);
}

static int take_revocations(struct replay *r, u32 sequence)
{
    u32 size = r->fs->j.incompat & JBD_64BIT ? 8 : 4, bytes = be32(r->block + 12);
    u32 limit = r->fs->block_size - (journal_has_csum(&r->fs->j) ? 4 : 0);
    if (bytes > limit || !block_csum_good(r))
        return -EUCLEAN;
    for (u32 at = 16; at + size <= bytes; at += size) {
        u64 block = be32(r->block + at + size - 4);
        if (size == 8)
            block |= (u64)be32(r->block + at) << 32;
        int err = add_revoked(r, block, sequence);
        if (err)
            return err;
    }
    return 0;
}

struct tag {
    u64 block;
    u32 flags, csum;
};

static void read_tag(const struct journal *j, const u8 *at, struct tag *t)
{
    t->block = be32(at);
    if (j->incompat & JBD_CSUM_V3) {
        t->flags = be32(at + 4);
        t->block |= j->incompat & JBD_64BIT ? (u64)be32(at + 8) << 32 : 0;
        t->csum = be32(at + 12);
    } else {
        t->csum = be16(at + 4);
        t->flags = be16(at + 6);
        t->block |= j->incompat & JBD_64BIT ? (u64)be32(at + 8) << 32 : 0;
    }
}

static int replay_block(struct replay *r, const struct tag *t, u32 log_block, u32 sequence)
{
    struct extfs *fs = r->fs;
    if (is_revoked(r, t->block, sequence))
        return 0;
    if (t->block >= fs->n_blocks)
        return -EUCLEAN;
    int err = read_log(r, log_block, r->data);
    if (err)
        return err;
    if (journal_has_csum(&fs->j)) {
        u32 csum = journal_data_csum(&fs->j, sequence, r->data, fs->block_size);
        if (fs->j.incompat & JBD_CSUM_V3 ? csum != t->csum : (csum & 0xffff) != t->csum)
            return -EUCLEAN;
    }
    if (t->flags & TAG_ESCAPE)
        put_be32(r->data, JBD_MAGIC);
    struct extfs_io io = {.block = t->block, .data = r->data, .n = 1};
    return fs->disk->ops->transfer(fs->disk, &io, 1, true);
}

// Passes over the tags of the descriptor in r->block. => blocks that it tells of, or -errno
static int walk_descriptor(struct replay *r, u32 at_block, u32 sequence, enum pass pass)
{
    const struct journal *j = &r->fs->j;
    u32 at = 12, size = journal_tag_bytes(j), n = 0;
    u32 limit = r->fs->block_size - (journal_has_csum(j) ? 4 : 0);
    if (!block_csum_good(r))
        return -EUCLEAN;
    while (at + size <= limit) {
        struct tag t;
        read_tag(j, r->block + at, &t);
        at += size + (t.flags & TAG_SAME_UUID ? 0 : 16);
        n++;
        if (pass == PASS_REPLAY) {
            int err = replay_block(r, &t, next_block(j, at_block, n), sequence);
            if (err)
                return err;
        }
        if (t.flags & TAG_LAST)
            break;
    }
    return (int)n;
}

// One pass over the log. PASS_SCAN finds its end; the others stop there, and what they cannot read is an error.
static int walk_log(struct replay *r, enum pass pass)
{
    const struct journal *j = &r->fs->j;
    u32 at = be32(j->super + 0x1c), sequence = be32(j->super + 0x18), passed = 0;
    while (passed < j->end - j->first) {
        if (pass != PASS_SCAN && sequence == r->end_sequence)
            return 0;
        int err = read_log(r, at, r->block);
        if (err)
            return err;
        if (be32(r->block) != JBD_MAGIC || be32(r->block + 8) != sequence)
            break;
        u32 kind = be32(r->block + 4);
        int n = 0;
        if (kind == JBD_DESCRIPTOR) {
            n = walk_descriptor(r, at, sequence, pass);
        } else if (kind == JBD_COMMIT) {
            if (pass == PASS_SCAN && !commit_good(r))
                break;
            sequence++;
            if (pass == PASS_SCAN)
                r->end_sequence = sequence;
        } else if (kind == JBD_REVOKE) {
            n = pass == PASS_REVOKE ? take_revocations(r, sequence) : 0;
        } else {
            break;
        }
        if (n == -EUCLEAN && pass == PASS_SCAN)
            break;  // a transaction that was not finished
        if (n < 0)
            return n;
        passed += (u32)n + 1;
        at = next_block(j, at, (u32)n + 1);
    }
    return pass == PASS_SCAN || sequence == r->end_sequence ? 0 : -EUCLEAN;
}

// Brings the volume to the end of its last whole transaction. The log is empty afterwards.
static int replay_log(struct extfs *fs)
{
    struct replay r = {.fs = fs, .end_sequence = be32(fs->j.super + 0x18)};
    r.block = kmalloc(fs->block_size);
    r.data = kmalloc(fs->block_size);
    int err = r.block && r.data ? 0 : -ENOMEM;
    for (enum pass pass = PASS_SCAN; !err && pass <= PASS_REPLAY; pass++)
        err = walk_log(&r, pass);
    if (!err)
        err = fs->disk->ops->flush(fs->disk);
    if (!err)
        err = journal_write_super(fs, 0, r.end_sequence + 1);
    if (!err)
        err = fs->disk->ops->flush(fs->disk);
    kfree(r.block);
    kfree(r.data);
    kfree(r.revoked);
    return err;
}

// => 1: blocks may have changed on the disk under what is in memory
int journal_replay(struct extfs *fs, const char **why)
{
    struct journal *j = &fs->j;
    bool needed = be32(j->super + 0x1c) != 0;
    if (needed && fs->disk->read_only) {
        *why = "its journal needs a replay, and the device is read-only";
        return -EROFS;
    }
    int err = needed ? replay_log(fs) : 0;
    if (err) {
        *why = "its journal is damaged";
        return err;
    }
    j->sequence = be32(j->super + 0x18);
    if (j->sequence == 0)
        j->sequence = 1;
    j->committed = j->sequence - 1;
    j->head = j->first;
    j->fresh = true;
    choose_features(fs);
    return needed;
}
