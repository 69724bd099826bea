// SPDX-License-Identifier: BSD-2-Clause
// buffer.c: metadata blocks in memory (states: extfs_internal.h).
//
// I1 A block is in the hash once. I2 It is on the lru exactly when nobody refers to it and it is on no other list.
// I3 A block on tx or ckpt is never given up before a commit or a checkpoint has dealt with it.
#include "ext4/extfs_internal.h"

static struct buf **slot_of(struct extfs *fs, u64 block)
{
    return &fs->hash[(block ^ block >> 10) % BUF_HASH];
}

static struct buf *find(struct extfs *fs, u64 block)
{
    struct buf *b = *slot_of(fs, block);
    while (b && b->block != block)
        b = b->hash_next;
    return b;
}

static void destroy(struct extfs *fs, struct buf *b)
{
    struct buf **at = slot_of(fs, b->block);
    while (*at != b)
        at = &(*at)->hash_next;
    *at = b->hash_next;
    list_remove(&b->lru);
    list_remove(&b->tx);
    list_remove(&b->ckpt);
    fs->n_bufs--;
    kfree(b->data);
    kfree(b);
}

void buf_trim(struct extfs *fs)
{
    while (fs->n_bufs > fs->max_bufs && !list_empty(&fs->lru)) {
        struct buf *b = list_first(&fs->lru, struct buf, lru);
        destroy(fs, b);
    }
}

static struct buf *make(struct extfs *fs, u64 block)
{
    struct buf *b = kzalloc(sizeof(*b));
    u8 *data = b ? kmalloc(fs->block_size) : NULL;
    if (!data) {
        kfree(b);
        return ERR_PTR(-ENOMEM);
    }
    b->block = block;
    b->data = data;
    b->refs = 1;
    list_init(&b->lru);
    list_init(&b->tx);
    list_init(&b->ckpt);
    b->hash_next = *slot_of(fs, block);
    *slot_of(fs, block) = b;
    fs->n_bufs++;
    buf_trim(fs);
    return b;
}

static struct buf *take(struct buf *b)
{
    b->refs++;
    if (!list_empty(&b->lru))
        list_remove_init(&b->lru);
    return b;
}

struct buf *buf_get(struct extfs *fs, u64 block)
{
    struct buf *b = find(fs, block);
    if (b)
        return take(b);
    if (block >= fs->n_blocks)
        return ERR_PTR(damaged(fs, "a block number lies behind the end"));
    b = make(fs, block);
    if (IS_ERR(b))
        return b;
    struct extfs_io io = {.block = block, .data = b->data, .n = 1};
    int err = fs->disk->ops->transfer(fs->disk, &io, 1, false);
    if (err) {
        destroy(fs, b);
        return ERR_PTR(err);
    }
    return b;
}

struct buf *buf_new(struct extfs *fs, u64 block, u8 kind)
{
    struct buf *b = find(fs, block);
    b = b ? take(b) : make(fs, block);
    if (!IS_ERR(b)) {
        memset(b->data, 0, fs->block_size);
        b->verified = kind;
        b->inodes_checked = 0;
    }
    return b;
}

void buf_release(struct extfs *fs, struct buf *b)
{
    if (b->refs == 0 && !b->in_tx && !b->in_ckpt && list_empty(&b->lru))
        list_push_back(&fs->lru, &b->lru);
}

void buf_put(struct extfs *fs, struct buf *b)
{
    b->refs--;
    buf_release(fs, b);
}

int buf_dirty(struct extfs *fs, struct buf *b)
{
    KASSERT(fs->in_op);
    if (!b->in_tx) {
        b->in_tx = true;
        list_push_back(&fs->tx, &b->tx);
        fs->n_tx++;
    }
    fs->half_done = true;
    return 0;
}

static int revoke(struct extfs *fs, u64 block)
{
    if (fs->n_revoked == fs->room_revoked) {
        u32 room = fs->room_revoked ? fs->room_revoked * 2 : 64;
        u64 *more = kmalloc(room * sizeof(u64));
        if (!more)
            return extfs_fail(fs, -ENOMEM, "no memory for the list of revoked blocks");
        if (fs->n_revoked)
            memcpy(more, fs->revoked, fs->n_revoked * sizeof(u64));
        kfree(fs->revoked);
        fs->revoked = more;
        fs->room_revoked = room;
    }
    fs->revoked[fs->n_revoked++] = block;
    return 0;
}

// What the log holds of a freed block must not be replayed over what the block becomes next. Only blocks that wait for
// their checkpoint are in that part of the log; and a block that was freed is not used again in the same
// transaction, so a revocation never has to be taken back.
int buf_forget(struct extfs *fs, u64 block)
{
    struct buf *b = find(fs, block);
    int err = 0;
    if (!b)
        return 0;
    if (b->in_tx) {
        b->in_tx = false;
        list_remove_init(&b->tx);
        fs->n_tx--;
    }
    if (b->in_ckpt) {
        b->in_ckpt = false;
        list_remove_init(&b->ckpt);
        fs->n_ckpt--;
        err = revoke(fs, block);
    }
    b->verified = VERIFIED_NO;
    b->inodes_checked = 0;
    buf_release(fs, b);
    if (b->refs == 0)
        destroy(fs, b);
    return err;
}

void buf_drop_all(struct extfs *fs)
{
    for (u32 i = 0; i < BUF_HASH; i++) {
        while (fs->hash[i])
            destroy(fs, fs->hash[i]);
    }
}
