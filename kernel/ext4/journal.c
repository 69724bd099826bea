// SPDX-License-Identifier: BSD-2-Clause
// journal.c: transactions and their log, in the format of JBD2 (kernel documentation, "ext4: Journal (jbd2)").
//
//   log block:   0            first                                              end
//                | superblock | ... | descriptor | blocks ... | revoked | commit | ...
//                                   ^ s_start (what a replay reads first)         ^ head
//
// One transaction at a time: changes stop while it is written, so a block in memory is at every commit what the
// transaction made of it, and no copies are needed. A commit is
//   1. descriptors, blocks and revocations into the log   2. flush   3. the commit block   4. flush
// The first flush also covers contents of files that were written before (ordered mode). Afterwards the blocks wait for a
// checkpoint: all are written home, flush, and the journal's superblock says that the log starts at the head; flush.
//
// J1 used counts the log blocks from s_start to head; what is free is enough for the running transaction and one
//    operation more (journal_make_room), so a commit never has to checkpoint first.
// J2 A checkpoint runs only when no transaction does: memory is what was committed.
// J3 No log block that a replay from s_start on the device could read is written again before a newer s_start is stable.
//
// Rejected: writing a transaction while the next one runs, as JBD2 does. It needs copies of every block that both change,
// and gains where many threads wait for fsync at once; here they join one commit under the caller's lock.
#include "ext4/extfs_internal.h"

#define HEADER_BYTES 12u
#define MAX_CKPT 2048u  // blocks that wait for their checkpoint
#define MAX_IO 256u     // runs in one transfer

u64 journal_block(const struct journal *j, u32 log_block)
{
    u32 low = 0, high = j->n_runs;
    while (low + 1 < high) {
        u32 mid = (low + high) / 2;
        if (j->runs[mid].first <= log_block)
            low = mid;
        else
            high = mid;
    }
    return j->runs[low].pblk + (log_block - j->runs[low].first);
}

u32 journal_data_csum(const struct journal *j, u32 sequence, const u8 *data, u32 size)
{
    u8 be[4];
    put_be32(be, sequence);
    return crc32c(crc32c(j->csum_seed, be, 4), data, size);
}

// Of a descriptor or revocation block, whose last four bytes hold it.
u32 journal_block_csum(const struct journal *j, const u8 *data, u32 size)
{
    static const u8 zero[4];
    return crc32c(crc32c(j->csum_seed, data, size - 4), zero, 4);
}

u32 journal_tag_bytes(const struct journal *j)
{
    if (j->incompat & JBD_CSUM_V3)
        return 16;
    return (j->incompat & JBD_CSUM_V2 ? 10u : 8u) + (j->incompat & JBD_64BIT ? 4u : 0u);
}

static u32 tags_in_block(const struct extfs *fs)
{
    const struct journal *j = &fs->j;
    u32 room = fs->block_size - HEADER_BYTES - 16 - (journal_has_csum(j) ? 4 : 0);
    return room / journal_tag_bytes(j);
}

static u32 revokes_in_block(const struct extfs *fs)
{
    return (fs->block_size - HEADER_BYTES - 4 - (journal_has_csum(&fs->j) ? 4 : 0)) /
           (fs->j.incompat & JBD_64BIT ? 8 : 4);
}

// Log blocks of a transaction.
static u32 log_blocks(const struct extfs *fs, u32 n_bufs, u32 n_revoked)
{
    return n_bufs + DIV_ROUND_UP(n_bufs, tags_in_block(fs)) +
           DIV_ROUND_UP(n_revoked, revokes_in_block(fs)) + 1;
}

static void put_header(u8 *data, u32 kind, u32 sequence)
{
    put_be32(data, JBD_MAGIC);
    put_be32(data + 4, kind);
    put_be32(data + 8, sequence);
}

int journal_write_super(struct extfs *fs, u32 start, u32 sequence)
{
    struct journal *j = &fs->j;
    put_be32(j->super + 0x18, sequence);
    put_be32(j->super + 0x1c, start);
    if (journal_has_csum(j)) {
        put_be32(j->super + 0xfc, 0);
        put_be32(j->super + 0xfc, crc32c(UINT32_MAX, j->super, 1024));
    }
    struct extfs_io io = {.block = journal_block(j, 0), .data = j->super, .n = 1};
    int err = fs->disk->ops->transfer(fs->disk, &io, 1, true);
    j->fresh = start == 0;
    return err;
}

// ------------------------------------------------------------------------------- writing the log

// What is on its way into the log: runs of blocks, and pages of our own that go with them.
struct log_writer {
    struct extfs *fs;
    struct extfs_io io[MAX_IO];
    u8 *owned[MAX_IO];
    u32 n_io, n_owned, head;
    int err;
};

static void log_flush(struct log_writer *w)
{
    if (!w->err && w->n_io)
        w->err = w->fs->disk->ops->transfer(w->fs->disk, w->io, w->n_io, true);
    for (u32 i = 0; i < w->n_owned; i++)
        kfree(w->owned[i]);
    w->n_io = w->n_owned = 0;
}

// Puts a block at the head of the log. owned: it is freed afterwards.
static void log_put(struct log_writer *w, u8 *data, bool owned)
{
    struct journal *j = &w->fs->j;
    w->io[w->n_io++] = (struct extfs_io){.block = journal_block(j, w->head), .data = data, .n = 1};
    if (owned)
        w->owned[w->n_owned++] = data;
    w->head = w->head + 1 == j->end ? j->first : w->head + 1;
    j->used++;
    if (w->n_io == MAX_IO)
        log_flush(w);
}

static u8 *log_page(struct log_writer *w, u32 kind)
{
    u8 *data = w->err ? NULL : kzalloc(w->fs->block_size);
    if (!data) {
        w->err = w->err ? w->err : -ENOMEM;
        return NULL;
    }
    put_header(data, kind, w->fs->j.sequence);
    return data;
}

static u32 put_tag(const struct extfs *fs, u8 *tag, const struct buf *b, u32 flags)
{
    const struct journal *j = &fs->j;
    u32 csum = journal_has_csum(j) ? journal_data_csum(j, j->sequence, b->data, fs->block_size) : 0;
    put_be32(tag, (u32)b->block);
    if (j->incompat & JBD_CSUM_V3) {
        put_be32(tag + 4, flags);
        put_be32(tag + 8, b->block >> 32);
        put_be32(tag + 12, csum);
        return 16;
    }
    put_be16(tag + 4, csum & 0xffff);
    put_be16(tag + 6, flags);
    if (j->incompat & JBD_64BIT)
        put_be32(tag + 8, b->block >> 32);
    return journal_tag_bytes(j);
}

// The next block as it goes into the log: one that begins like a log block itself is written with that word cleared.
static void log_put_buf(struct log_writer *w, struct buf *b, bool escape)
{
    if (!escape) {
        log_put(w, b->data, false);
        return;
    }
    u8 *copy = w->err ? NULL : kmalloc(w->fs->block_size);
    if (!copy) {
        w->err = w->err ? w->err : -ENOMEM;
        return;
    }
    memcpy(copy, b->data, w->fs->block_size);
    put32(copy, 0);
    log_put(w, copy, true);
}

// One descriptor and the blocks it tells of. => the first buffer that is left
static struct list *log_group(struct log_writer *w, struct list *from)
{
    struct extfs *fs = w->fs;
    u32 room = tags_in_block(fs), at = HEADER_BYTES, n = 0;
    u8 *desc = log_page(w, JBD_DESCRIPTOR);
    struct list *link = from;
    if (!desc)
        return from;
    for (; link != &fs->tx && n < room; link = link->next, n++) {
        struct buf *b = list_entry(link, struct buf, tx);
        bool last = link->next == &fs->tx || n + 1 == room;
        u32 flags = (be32(b->data) == JBD_MAGIC ? TAG_ESCAPE : 0) | (n ? TAG_SAME_UUID : 0) |
                    (last ? TAG_LAST : 0);
        at += put_tag(fs, desc + at, b, flags);
        if (n == 0) {
            memcpy(desc + at, fs->j.super + 0x30, 16);
            at += 16;
        }
    }
    if (journal_has_csum(&fs->j))
        put_be32(desc + fs->block_size - 4, journal_block_csum(&fs->j, desc, fs->block_size));
    log_put(w, desc, true);
    for (struct list *l = from; l != link; l = l->next) {
        struct buf *b = list_entry(l, struct buf, tx);
        log_put_buf(w, b, be32(b->data) == JBD_MAGIC);
    }
    return link;
}

static void log_revoked(struct log_writer *w)
{
    struct extfs *fs = w->fs;
    u32 size = fs->j.incompat & JBD_64BIT ? 8 : 4, room = revokes_in_block(fs);
    for (u32 i = 0; i < fs->n_revoked;) {
        u8 *page = log_page(w, JBD_REVOKE);
        if (!page)
            return;
        u32 at = 16;
        for (u32 n = 0; n < room && i < fs->n_revoked; n++, i++, at += size) {
            if (size == 8)
                put_be32(page + at, fs->revoked[i] >> 32);
            put_be32(page + at + size - 4, (u32)fs->revoked[i]);
        }
        put_be32(page + 12, at);
        if (journal_has_csum(&fs->j))
            put_be32(page + fs->block_size - 4, journal_block_csum(&fs->j, page, fs->block_size));
        log_put(w, page, true);
    }
}

static void log_commit_block(struct log_writer *w)
{
    struct extfs *fs = w->fs;
    u8 *page = log_page(w, JBD_COMMIT);
    if (!page)
        return;
    u64 now = fs->disk->ops->now_ns();
    put_be32(page + 0x30, now / 1000000000u >> 32);
    put_be32(page + 0x34, (u32)(now / 1000000000u));
    put_be32(page + 0x38, (u32)(now % 1000000000u));
    if (journal_has_csum(&fs->j))
        put_be32(page + 0x10, crc32c(fs->j.csum_seed, page, fs->block_size));
    log_put(w, page, true);
    log_flush(w);
}

static void transaction_done(struct extfs *fs)
{
    struct journal *j = &fs->j;
    while (!list_empty(&fs->tx)) {
        struct buf *b = list_first(&fs->tx, struct buf, tx);
        list_remove_init(&b->tx);
        b->in_tx = false;
        if (!b->in_ckpt) {
            b->in_ckpt = true;
            list_push_back(&fs->ckpt, &b->ckpt);
            fs->n_ckpt++;
        }
    }
    fs->n_tx = fs->n_revoked = 0;
    pending_clear(fs);
    j->committed = j->sequence++;
}

int journal_commit(struct extfs *fs)
{
    struct journal *j = &fs->j;
    if (fs->failed)
        return -EROFS;
    if (!fs->n_tx && !fs->n_revoked) {  // contents of files may have been written
        int err = fs->disk->ops->flush(fs->disk);
        return err ? extfs_fail(fs, err, "the device does not flush") : 0;
    }
    fs->in_op = true;
    super_update(fs);
    buf_dirty(fs, fs->super);
    fs->in_op = false;
    struct log_writer *w = kzalloc(sizeof(*w));
    if (!w)
        return extfs_fail(fs, -ENOMEM, "no memory to write the journal");
    w->fs = fs;
    w->head = j->head;
    if (j->fresh)
        w->err = journal_write_super(fs, j->head, j->sequence);
    for (struct list *at = fs->tx.next; at != &fs->tx && !w->err;)
        at = log_group(w, at);
    log_revoked(w);
    log_flush(w);
    if (!w->err)
        w->err = fs->disk->ops->flush(fs->disk);
    log_commit_block(w);
    if (!w->err)
        w->err = fs->disk->ops->flush(fs->disk);
    int err = w->err;
    j->head = w->head;
    kfree(w);
    if (err)
        return extfs_fail(fs, err, "the journal cannot be written");
    transaction_done(fs);
    return fs->n_ckpt > MAX_CKPT ? journal_checkpoint(fs) : 0;
}

// ------------------------------------------------------------------------------- checkpoint

static void sort_by_block(struct buf **v, u32 n)  // heap sort: no memory, no bad case
{
    for (u32 start = n / 2, end = n; end > 1;) {
        struct buf *moving;
        if (start) {
            moving = v[--start];
        } else {
            moving = v[--end];
            v[end] = v[0];
        }
        u32 at = start;
        for (u32 child; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && v[child + 1]->block > v[child]->block)
                child++;
            if (v[child]->block <= moving->block)
                break;
            v[at] = v[child];
        }
        v[at] = moving;
    }
}

static int write_home(struct extfs *fs)
{
    struct buf **v = kmalloc(sizeof(*v) * MAX_IO);
    struct extfs_io *io = kmalloc(sizeof(*io) * MAX_IO);
    int err = v && io ? 0 : -ENOMEM;
    for (struct list *at = fs->ckpt.next; !err && at != &fs->ckpt;) {
        u32 n = 0;
        for (; at != &fs->ckpt && n < MAX_IO; at = at->next)
            v[n++] = list_entry(at, struct buf, ckpt);
        sort_by_block(v, n);
        for (u32 i = 0; i < n; i++)
            io[i] = (struct extfs_io){.block = v[i]->block, .data = v[i]->data, .n = 1};
        err = fs->disk->ops->transfer(fs->disk, io, n, true);
    }
    kfree(v);
    kfree(io);
    return err;
}

int journal_checkpoint(struct extfs *fs)
{
    struct journal *j = &fs->j;
    KASSERT(fs->n_tx == 0);
    if (fs->failed)
        return -EROFS;
    if (!fs->n_ckpt && j->used == 0)
        return 0;
    int err = write_home(fs);
    if (!err)
        err = fs->disk->ops->flush(fs->disk);
    if (!err)
        err = journal_write_super(fs, j->head, j->sequence);
    if (!err)
        err = fs->disk->ops->flush(fs->disk);
    if (err)
        return extfs_fail(fs, err, "blocks of the journal cannot be written to their places");
    j->used = 0;
    while (!list_empty(&fs->ckpt)) {
        struct buf *b = list_first(&fs->ckpt, struct buf, ckpt);
        list_remove_init(&b->ckpt);
        b->in_ckpt = false;
        buf_release(fs, b);
    }
    fs->n_ckpt = 0;
    buf_trim(fs);
    return 0;
}

int journal_make_room(struct extfs *fs)
{
    struct journal *j = &fs->j;
    u32 size = j->end - j->first,
        need = log_blocks(fs, fs->n_tx + OP_BLOCKS, fs->n_revoked + OP_BLOCKS);
    int err = 0;
    // A quarter of the journal, as in JBD2, is the largest transaction; a small one is still an operation.
    if (fs->n_tx > MAX(size / 4, OP_BLOCKS) || j->used + need > size)
        err = journal_commit(fs);
    if (!err && fs->n_tx == 0 && j->used + log_blocks(fs, 2 * OP_BLOCKS, 2 * OP_BLOCKS) > size)
        err = journal_checkpoint(fs);
    return err;
}
