// SPDX-License-Identifier: BSD-2-Clause
// volume_file.c: contents of files on a disk: the page cache over ext4.
//
// A page is read when it is asked for, with some behind it when a reader goes on from where it was. Written pages stay in memory,
// dirty, until somebody wants them on the disk: fsync, the volume's thread (volume.c), or a writer when too many are dirty. Their
// places are given out only then (delayed allocation), in one transaction with the file's new size, and the pages are on
// the device before that transaction ends: so a crash never shows a place whose contents were not written (ordered mode).
//
// F1 Every dirty page of a hole (PG_NO_BLOCK) has its blocks promised (PG_PROMISED): writing back cannot fail for want of room.
// F2 A page-table entry is writable only while its page is dirty (mm/object_clean.c).
// F3 An inode with a dirty page is on the volume's dirty list or is being written back right now.
// F4 Beyond the file's end a page that goes to the disk is zero, and a page that comes from it is made so.
// F5 Under vi->pages the places of the file do not change but by its holder.
// F6 Whoever writes to a page calls set_dirty behind it: the page then has PG_DIRTY and its bit in dirty_pages, which is what writing
//    back goes by. A bit may be left of a page that is clean or gone: it is dropped when it is met.
//
// Lock order: inode->lock -> vi->pages -> mm->lock; vi->pages -> volume->lock -> volume->list_lock; object->tree_lock ->
// vi->dirty_lock. mm never holds its lock when
// it asks for a page.
#include "fs/volume_internal.h"

#include "core/log.h"
#include "mm/mm.h"

#define BATCH 64u       // pages that are read or written in one go
#define FIRST_AHEAD 4u  // a reader's first window; it doubles up to BATCH while it goes on
#define AROUND \
    16u  // pages of the root image that come in around one: a program's pages are touched here and there
#define FALLOC_KEEP_SIZE 1
#define FALLOC_PUNCH_HOLE 2
#define FALLOC_ZERO_RANGE 16

static struct vol_inode *vi_of(const struct vm_object *obj) { return vol_inode_of(obj->owner); }
static u64 sectors_of(const struct volume *v, u64 blocks)
{
    return blocks * (v->disk.block_size / SECTOR_SIZE);
}

u64 volume_dirty_limit(void) { return MAX(page_total_count() / 8, 64ull); }

// ------------------------------------------------------------------------------- promises

static void unpromise(struct vol_inode *vi, struct page *p)
{
    struct volume *v = vi->volume;
    if (page_clear_flags(p, PG_PROMISED) & PG_PROMISED) {
        extfs_unreserve(v->fs, v->blocks_per_page);
        atomic_sub(&vi->promised, 1);
    }
}

static int promise(struct vol_inode *vi, struct page *p)
{
    struct volume *v = vi->volume;
    if (likely(!(p->flags & PG_NO_BLOCK) || (p->flags & PG_PROMISED)))
        return 0;
    if (!extfs_reserve(v->fs, v->blocks_per_page))
        return -ENOSPC;
    if (page_set_flags(p, PG_PROMISED) & PG_PROMISED)
        extfs_unreserve(v->fs, v->blocks_per_page);
    else
        atomic_add(&vi->promised, 1);
    return 0;
}

// ------------------------------------------------------------------------------- which pages are dirty

static void note_dirty(struct vol_inode *vi, u64 index)
{
    spin_lock(&vi->dirty_lock);
    u64 bits = (u64)(uintptr_t)radix_get(&vi->dirty_pages, index / 64);
    void *now = (void *)(uintptr_t)(bits | BIT(index % 64));
    if (bits)
        radix_replace(&vi->dirty_pages, index / 64, now);
    else if (radix_insert(&vi->dirty_pages, index / 64, now))
        vi->dirty_anywhere = true;
    spin_unlock(&vi->dirty_lock);
}

// => the first page of [index, last] that may be dirty, whose bit goes; UINT64_MAX: none [dirty_lock]
static u64 next_dirty(struct vol_inode *vi, u64 index, u64 last)
{
    void *item = NULL;
    u64 word = radix_next(&vi->dirty_pages, index / 64, &item), bits = (u64)(uintptr_t)item;
    u64 wanted = word == index / 64 ? bits & ~0ull << index % 64 : bits;
    if (word == index / 64 && !wanted) {
        word = radix_next(&vi->dirty_pages, index / 64 + 1, &item);
        wanted = bits = (u64)(uintptr_t)item;
    }
    if (word == UINT64_MAX)
        return word;
    u32 bit = (u32)__builtin_ctzll(wanted);
    if (word * 64 + bit > last)
        return UINT64_MAX;
    bits &= ~BIT(bit);
    if (bits)
        radix_replace(&vi->dirty_pages, word, (void *)(uintptr_t)bits);
    else
        radix_remove(&vi->dirty_pages, word);
    return word * 64 + bit;
}

void volume_forget_dirty(struct vol_inode *vi)
{
    void *item;
    for (u64 word; (word = radix_next(&vi->dirty_pages, 0, &item)) != UINT64_MAX;)
        radix_remove(&vi->dirty_pages, word);
}

static void set_dirty(struct vol_inode *vi, struct page *p)
{
    if (!(page_set_flags(p, PG_DIRTY) & PG_DIRTY))
        atomic_add(&vi->volume->n_dirty, 1);
    note_dirty(vi, p->index);
    volume_mark(vi, false);
}

static int object_page_dirtied(struct vm_object *obj, struct page *p)
{
    struct vol_inode *vi = vi_of(obj);
    if (READ_ONCE(vi->volume->n_dirty) > (s64)(2 * volume_dirty_limit()))
        return -EAGAIN;
    if (extfs_read_only(vi->volume->fs))
        return -EROFS;
    int err = promise(vi, p);
    if (!err) {
        set_dirty(vi, p);
        volume_mark(vi, true);  // the times change with the contents
        vi->inode->mtime_ns = vi->inode->ctime_ns = now_ns();
    }
    return err;
}

static void object_page_dropped(struct vm_object *obj, struct page *p)
{
    struct volume *v = vi_of(obj)->volume;
    unpromise(vi_of(obj), p);
    if (page_clear_flags(p, PG_DIRTY) & PG_DIRTY)
        atomic_sub(&v->n_dirty, 1);
}

// ------------------------------------------------------------------------------- reading

struct fill {
    struct vol_inode *vi;
    struct block_batch batch;
    u64 lblk, pblk;  // the last piece of the map: blocks from lblk on
    u32 n;
    bool written;
    bool only_look;  // the page's flags are set, nothing is read
};

static int fill_map(struct fill *f, u64 lblk)
{
    struct volume *v = f->vi->volume;
    if (f->n && lblk >= f->lblk && lblk < f->lblk + f->n)
        return 0;
    bool unwritten = false;
    mutex_lock(&v->lock);
    int err = lblk < UINT32_MAX
                  ? extfs_map(v->fs, f->vi->ino, (u32)lblk, &f->pblk, &f->n, &unwritten)
                  : -EFBIG;
    mutex_unlock(&v->lock);
    f->lblk = lblk;
    f->written = f->pblk && !unwritten;
    if (err)
        f->n = 0;
    return err == -EUCLEAN ? -EIO : err;
}

// Starts reading one page; what has no place is zero already.
static int fill_page(struct fill *f, struct page *p, u64 index)
{
    struct volume *v = f->vi->volume;
    u32 size = v->disk.block_size;
    for (u32 i = 0; i < v->blocks_per_page; i++) {
        u64 lblk = index * v->blocks_per_page + i;
        if (lblk * size >= f->vi->disk_size &&
            (v->layered || lblk * size >= READ_ONCE(f->vi->inode->file.object.size_bytes))) {
            p->flags |= PG_NO_BLOCK;
            break;
        }
        int err = fill_map(f, lblk);
        if (err)
            return err;
        if (!f->pblk)
            p->flags |= PG_NO_BLOCK;
        if (f->written && !f->only_look)
            block_batch_add(&f->batch, sectors_of(v, f->pblk + (lblk - f->lblk)),
                            (char *)page_address(p) + i * size, size);
    }
    return 0;
}

static void clear_tail(const struct vol_inode *vi, struct page *p, u64 index)
{
    u64 size = READ_ONCE(vi->inode->file.object.size_bytes), start = index * PAGE_SIZE;
    if (vi->volume
            ->layered)  // the file may be longer in memory: what it got there is not on the disk
        size = MIN(size, vi->disk_size);
    if (size < start + PAGE_SIZE && size > start)
        memset((char *)page_address(p) + (size - start), 0, PAGE_SIZE - (size - start));
}

static bool is_cached(struct vm_object *obj, u64 index)
{
    struct page *there = vm_object_find(obj, index);
    if (there)
        page_put(there);
    return there != NULL;
}

// How many pages from *index on are read: more, when the reader goes on from where it was. Of the root image also those before it.
static u32 window(struct vol_inode *vi, u64 *index)
{
    struct vm_object *obj = &vi->inode->file.object;
    u64 end = DIV_ROUND_UP(READ_ONCE(obj->size_bytes), PAGE_SIZE);
    if (*index == vi->next_read) {
        vi->ahead = MIN(MAX(vi->ahead * 2, FIRST_AHEAD), BATCH);
    } else if (vi->volume->layered) {
        u64 from = ALIGN_DOWN(*index, (u64)AROUND);
        while (*index > from && !is_cached(obj, *index - 1))
            --*index;
        vi->ahead = (u32)(from + AROUND - *index);
    } else {
        vi->ahead = *index == 0 ? FIRST_AHEAD : 1;
    }
    u32 n = *index < end ? (u32)MIN((u64)vi->ahead, end - *index) : 1;
    for (u32 i = 1; i < n; i++) {
        if (is_cached(obj, *index + i))
            n = i;
    }
    vi->next_read = *index + n;
    return n;
}

// The cache leaves a sixteenth of memory free, as far as clean pages can give it.
static void keep_some_free(void)
{
    if (page_free_count() < page_total_count() / 16)
        object_reclaim(2 * BATCH);
}

// [vi->pages] Brings pages [index, index + n) in. => 0: the first is in the tree
static int read_pages(struct vol_inode *vi, u64 index, u32 n)
{
    struct vm_object *obj = &vi->inode->file.object;
    struct page *pages[BATCH];
    struct fill f = {.vi = vi};
    int err = 0;
    u32 got = 0;
    block_batch_start(&f.batch, vi->volume->device, false);
    while (got < n && !err) {
        struct page *p = page_alloc(0, PAGE_ZERO | PAGE_USER | (got ? PAGE_NORECLAIM : 0));
        if (!p) {
            err = got ? 0 : -ENOMEM;
            break;
        }
        pages[got] = p;
        err = fill_page(&f, p, index + got);
        got++;
    }
    int io = block_batch_wait(&f.batch);
    err = io ? -EIO : err;
    for (u32 i = 0; i < got; i++) {
        if (!err) {
            clear_tail(vi, pages[i], index + i);
            int inserted = vm_object_insert(obj, index + i, pages[i]);
            if (!inserted)
                continue;
            err = inserted == -EEXIST || i ? 0 : inserted;
        }
        page_put(pages[i]);
    }
    return err;
}

struct page *volume_get_page(struct vm_object *obj, u64 index, bool write)
{
    struct vol_inode *vi = vi_of(obj);
    struct page *p = NULL;
    int err = 0;
    keep_some_free();
    mutex_lock(&vi->pages);
    while (!err && !(p = vm_object_find(obj, index))) {
        u64 first = index;
        if (index >= DIV_ROUND_UP(READ_ONCE(obj->size_bytes), PAGE_SIZE)) {
            err = -EFAULT;
        } else {
            u32 n = window(vi, &first);
            err = read_pages(vi, first, n);
        }
    }
    mutex_unlock(&vi->pages);
    return err ? ERR_PTR(err) : p;
}

// posix_fadvise(WILLNEED), readahead(2). An error is left to whoever reads the page. => may sleep until all is there
void volume_read_ahead(struct inode *inode, u64 start, u64 end)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct vm_object *obj = &inode->file.object;
    u64 index = page_index(start), stop = end < start ? UINT64_MAX : page_index(end - 1) + 1;
    int err = 0;
    while (!err && page_memory_plentiful() && !thread_signal_pending()) {
        struct page *there = NULL;
        u32 n = 0;
        mutex_lock(&vi->pages);
        stop = MIN(stop, DIV_ROUND_UP(READ_ONCE(obj->size_bytes), PAGE_SIZE));
        u32 most = index < stop ? (u32)MIN(stop - index, (u64)BATCH) : 0;
        while (n < most && !(there = vm_object_find(obj, index + n)))
            n++;
        if (n)
            err = read_pages(vi, index, n);
        mutex_unlock(&vi->pages);
        if (there)
            page_put(there);
        if (!most)
            break;
        index += n + (there != NULL);
        sched_point();
    }
}

// A page that read or write finds missing; beyond the end and in holes it is made, not read. What will be written whole is not read
// either: it comes into the tree when its bytes are there (volume_page_written). [inode->lock]
struct page *volume_page_for_write(struct inode *inode, u64 index, bool whole)
{
    struct vol_inode *vi = vol_inode_of(inode);
    struct vm_object *obj = &inode->file.object;
    struct page *p = NULL;
    int err = extfs_read_only(vi->volume->fs) ? -EROFS : 0;
    if (READ_ONCE(vi->volume->n_dirty) > (s64)volume_dirty_limit())
        err = err ? err : volume_write_back(vi, 0, UINT64_MAX - 1);
    if (err)
        return ERR_PTR(err == -EIO ? -EIO : err);
    keep_some_free();
    if (whole && !is_cached(obj, index)) {
        p = page_alloc(0, PAGE_USER);
        return p ? p : ERR_PTR(-ENOMEM);
    }
    mutex_lock(&vi->pages);
    while (!err && !(p = vm_object_find(obj, index)))
        err = read_pages(vi, index, 1);
    if (!err)
        err = promise(vi, p);
    if (!err)
        set_dirty(vi, p);
    mutex_unlock(&vi->pages);
    if (!err)
        return p;
    if (p)
        page_put(p);
    return ERR_PTR(err);
}

// A fresh page with all its bytes takes its place. => 0; -EEXIST: somebody brought the old one in; -ENOSPC, -EIO, -ENOMEM
static int insert_whole(struct vol_inode *vi, struct page *p, u64 index)
{
    struct fill f = {.vi = vi, .only_look = true};
    mutex_lock(&vi->pages);
    int err = fill_page(&f, p, index);
    if (!err)
        err = promise(vi, p);
    if (!err) {
        page_get(p);
        err = vm_object_insert(&vi->inode->file.object, index, p);
        if (!err) {
            set_dirty(vi, p);
        } else {
            unpromise(vi, p);
            page_put(p);
        }
    }
    mutex_unlock(&vi->pages);
    return err;
}

ssize_t volume_page_written(struct inode *inode, struct page *p, u64 index, ssize_t moved)
{
    struct vol_inode *vi = vol_inode_of(inode);
    if (p->flags & PG_CACHE) {
        set_dirty(vi, p);
        return moved;
    }
    int err = moved == (ssize_t)PAGE_SIZE ? insert_whole(vi, p, index) : -EEXIST;
    if (err != -EEXIST)
        return err ? err : moved;
    if (moved <= 0)
        return moved;
    struct page *old = volume_page_for_write(inode, index, false);
    if (IS_ERR(old))
        return PTR_ERR(old);
    memcpy(page_address(old), page_address(p), (size_t)moved);
    set_dirty(vi, old);
    page_put(old);
    return moved;
}

// ------------------------------------------------------------------------------- writing back

// The pages of one round, in order.
struct round {
    struct vol_inode *vi;
    struct page *pages[BATCH];
    u64 index[BATCH];
    u32 n;
    struct block_batch batch;
    u64 size;                 // of the file, now
    u64 end;                  // behind the last byte that has been given a place
    u32 unwritten[BATCH][2];  // runs of blocks that become written
    u32 n_unwritten;
    u32 map_lblk, map_n;  // a piece of the map: blocks with places and contents
    u64 map_pblk;
};

static void take_page(struct round *r, struct page *p, u64 index)
{
    if (page_clear_flags(p, PG_DIRTY) & PG_DIRTY) {
        page_get(p);
        r->pages[r->n] = p;
        r->index[r->n++] = index;
    }
}

// Takes up to BATCH dirty pages from *index on, clean from now on, with a reference each.
static void take_dirty(struct round *r, u64 *index, u64 last)
{
    struct vol_inode *vi = r->vi;
    struct vm_object *obj = &vi->inode->file.object;
    u32 looked = 0;
    r->n = 0;
    spin_lock(&obj->tree_lock);
    spin_lock(&vi->dirty_lock);
    while (r->n < BATCH && *index <= last && looked++ < 4096) {
        void *item;
        u64 at = vi->dirty_anywhere ? radix_next(&obj->pages, *index, &item)
                                    : next_dirty(vi, *index, last);
        if (at > last) {
            *index = last + 1;
            break;
        }
        if (!vi->dirty_anywhere)
            item = radix_get(&obj->pages, at);
        if (item)
            take_page(r, item, at);
        *index = at + 1;
    }
    spin_unlock(&vi->dirty_lock);
    spin_unlock(&obj->tree_lock);
    if (r->n)
        atomic_sub(&vi->volume->n_dirty, r->n);
}

// Pages that are next to each other can have their places in one go. => blocks from lblk on that this round wants, for page k
static u32 run_of_blocks(const struct round *r, u32 k, u32 first_in_page)
{
    u32 per = r->vi->volume->blocks_per_page, n = per - first_in_page;
    for (; k + 1 < r->n && r->index[k + 1] == r->index[k] + 1 &&
           (r->pages[k + 1]->flags & PG_PROMISED);
         k++)
        n += per;
    return n;
}

static int note_unwritten(struct round *r, u32 lblk)
{
    u32 *last = r->n_unwritten ? r->unwritten[r->n_unwritten - 1] : NULL;
    if (last && last[0] + last[1] == lblk) {
        last[1]++;
        return 0;
    }
    if (r->n_unwritten == BATCH)
        return -EAGAIN;
    r->unwritten[r->n_unwritten][0] = lblk;
    r->unwritten[r->n_unwritten++][1] = 1;
    return 0;
}

static void note_map(struct round *r, u32 lblk, u64 pblk, u32 n)
{
    r->map_lblk = lblk;
    r->map_pblk = pblk;
    r->map_n = n;
}

// One block of page k: finds or makes its place and starts writing it. [volume lock, in a transaction]
static int write_block(struct round *r, u32 k, u32 in_page)
{
    struct vol_inode *vi = r->vi;
    struct volume *v = vi->volume;
    u32 size = v->disk.block_size, n, lblk = (u32)(r->index[k] * v->blocks_per_page + in_page);
    u64 pblk = 0;
    bool unwritten = false;
    int err = 0;
    if (lblk - r->map_lblk < r->map_n)
        pblk = r->map_pblk + (lblk - r->map_lblk);
    else
        err = extfs_map(v->fs, vi->ino, lblk, &pblk, &n, &unwritten);
    if (!err && !pblk) {
        if (!(r->pages[k]->flags & PG_PROMISED))
            return 0;  // a hole whose page was only cleared: it stays one
        u32 want = MIN(n, run_of_blocks(r, k, in_page));
        want = (u32)MIN((u64)want, DIV_ROUND_UP(r->size, (u64)size) - lblk);
        err = extfs_allocate(v->fs, vi->ino, lblk, want, false, &pblk, &n);
        vi->transaction = extfs_transaction(v->fs);
    }
    if (!err && unwritten)
        err = note_unwritten(r, lblk);
    else if (!err && lblk - r->map_lblk >= r->map_n)
        note_map(r, lblk, pblk, n);
    if (!err) {
        block_batch_add(&r->batch, sectors_of(v, pblk),
                        (char *)page_address(r->pages[k]) + in_page * size, size);
        r->end = MIN(((u64)lblk + 1) * size, r->size);
    }
    return err;
}

// => pages that have been started; *err why not all. [volume lock, in a transaction]
static u32 write_pages(struct round *r, int *err)
{
    struct volume *v = r->vi->volume;
    for (u32 k = 0; k < r->n; k++) {
        clear_tail(r->vi, r->pages[k], r->index[k]);
        for (u32 i = 0; i < v->blocks_per_page; i++) {
            u64 at = r->index[k] * PAGE_SIZE + (u64)i * v->disk.block_size;
            if (at >= r->size)
                break;
            if ((*err = write_block(r, k, i)))
                return k;
        }
    }
    return r->n;
}

static int finish_round(struct round *r)
{
    struct vol_inode *vi = r->vi;
    struct volume *v = vi->volume;
    int err = 0;
    for (u32 i = 0; i < r->n_unwritten && !err; i++) {
        err = extfs_set_written(v->fs, vi->ino, r->unwritten[i][0], r->unwritten[i][1]);
        vi->transaction = extfs_transaction(v->fs);
    }
    if (!err && r->end > vi->disk_size) {
        err = extfs_set_size(v->fs, vi->ino, r->end);
        vi->disk_size = r->end;
        vi->transaction = extfs_transaction(v->fs);
    }
    return err;
}

// Blocks behind the file's end got no place: a page with such blocks asks for a promise again when it is written next.
static void page_done(const struct round *r, u32 k)
{
    struct page *p = r->pages[k];
    if (!(p->flags & PG_PROMISED))
        return;
    if ((r->index[k] + 1) * PAGE_SIZE <= r->size)
        page_clear_flags(p, PG_NO_BLOCK);
    unpromise(r->vi, p);
}

static void note_error(struct vol_inode *vi, int err)
{
    vi->error = err;
    vi->error_seen = false;
    atomic_add(&vi->error_count, 1);
    log_warn("%s: writing inode %u failed: error %d", vi->volume->device->name, vi->ino, -err);
}

// One round: places, contents, size. Pages that did not get their turn are dirty again. [vi->pages]
static int write_round(struct round *r)
{
    struct vol_inode *vi = r->vi;
    struct volume *v = vi->volume;
    r->n_unwritten = r->map_n = 0;
    r->end = 0;
    r->size = READ_ONCE(vi->inode->file.object.size_bytes);
    vm_object_write_protect(&vi->inode->file.object, r->index[0], r->index[r->n - 1]);
    mutex_lock(&v->lock);
    int err = extfs_begin(v->fs), why = 0;
    u32 done = 0;
    if (!err) {
        block_batch_start(&r->batch, v->device, true);
        done = write_pages(r, &why);
        int io = block_batch_wait(&r->batch);
        if (io)
            note_error(vi, -EIO);
        int finished = finish_round(r);
        err = extfs_end(v->fs, finished);
        err = err ? err : io ? -EIO : 0;
    }
    mutex_unlock(&v->lock);
    for (u32 k = 0; k < r->n; k++) {
        if (k < done || extfs_read_only(v->fs))
            page_done(r, k);
        else
            set_dirty(vi, r->pages[k]);
        if (r->pages[k]->flags & PG_DIRTY) {  // an entry of a page table said so meanwhile
            note_dirty(vi, r->index[k]);
            volume_mark(vi, false);
        }
        page_put(r->pages[k]);
    }
    if (why && why != -EAGAIN) {
        note_error(vi, why);
        err = err ? err : why;
    } else if (err && err != -EIO) {
        note_error(vi, -EIO);
        err = -EIO;
    }
    return err;
}

int volume_write_back(struct vol_inode *vi, u64 first, u64 last)
{
    struct round *r = kmalloc(sizeof(*r));
    int err = r ? 0 : -ENOMEM;
    for (u64 index = first; !err && index <= last;) {
        r->vi = vi;
        mutex_lock(&vi->pages);
        u64 from = index;
        take_dirty(r, &index, last);
        if (r->n)
            err = write_round(r);
        mutex_unlock(&vi->pages);
        if (r->n && index == from)
            break;
        sched_point();
    }
    kfree(r);
    return err;
}

// ------------------------------------------------------------------------------- size and holes

// The last block's rest is zero on the disk before the file grows over it (F4): a crash must not show what was there.
static int settle_tail(struct vol_inode *vi)
{
    struct inode *inode = vi->inode;
    u64 size = inode->file.object.size_bytes;
    if (size % vi->volume->disk.block_size == 0)
        return 0;
    struct page *p = volume_page_for_write(inode, page_index(size), false);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    page_put(p);
    return volume_write_back(vi, page_index(size), page_index(size));
}

static int grow(struct vol_inode *vi, u64 size)
{
    struct volume *v = vi->volume;
    int err = settle_tail(vi);
    if (err)
        return err;
    mutex_lock(&vi->pages);
    mutex_lock(&v->lock);
    err = extfs_begin(v->fs);
    if (!err) {
        err = extfs_end(v->fs, extfs_set_size(v->fs, vi->ino, size));
        vi->transaction = extfs_transaction(v->fs);
    }
    mutex_unlock(&v->lock);
    if (!err)
        vi->disk_size = size;
    mutex_unlock(&vi->pages);
    return err ? err : vm_object_truncate(&vi->inode->file.object, size);
}

static int shrink(struct vol_inode *vi, u64 size)
{
    struct volume *v = vi->volume;
    struct vm_object *obj = &vi->inode->file.object;
    struct page *edge =
        size % PAGE_SIZE ? volume_page_for_write(vi->inode, page_index(size), false) : NULL;
    int err = vm_object_truncate(obj, size);
    if (edge && !IS_ERR(edge)) {
        set_dirty(vi, edge);
        page_put(edge);
    }
    if (err)
        return err;
    mutex_lock(&vi->pages);
    vm_object_discard(obj, DIV_ROUND_UP(size, PAGE_SIZE),
                      UINT64_MAX - 1);  // what was on its way in
    struct page *tail = vm_object_find(obj, page_index(size));
    if (tail) {  // some of its blocks go
        if (size % PAGE_SIZE)
            page_set_flags(tail, PG_NO_BLOCK);
        page_put(tail);
    }
    mutex_lock(&v->lock);
    err = extfs_truncate(v->fs, vi->ino, size);
    vi->transaction = extfs_transaction(v->fs);
    mutex_unlock(&v->lock);
    if (!err)
        vi->disk_size = size;
    mutex_unlock(&vi->pages);
    volume_mark(vi, true);
    return err;
}

int volume_set_size(struct inode *inode, u64 size)
{
    struct vol_inode *vi = vol_inode_of(inode);
    u64 now = inode->file.object.size_bytes;
    if (extfs_read_only(vi->volume->fs))
        return -EROFS;
    if (size > ((u64)UINT32_MAX - 1) * vi->volume->disk.block_size)
        return -EFBIG;
    return size > now ? grow(vi, size) : size < now ? shrink(vi, size) : 0;
}

static int zero_edge(struct inode *inode, u64 start, u64 end)
{
    if (start >= end || start >= inode->file.object.size_bytes)
        return 0;
    struct page *p = volume_page_for_write(inode, page_index(start), false);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    memset((char *)page_address(p) + start % PAGE_SIZE, 0, end - start);
    set_dirty(vol_inode_of(inode), p);
    page_put(p);
    return 0;
}

static int free_pages_of(struct vol_inode *vi, u64 first, u64 end)
{
    struct volume *v = vi->volume;
    struct vm_object *obj = &vi->inode->file.object;
    int more = 1;
    vm_object_discard(obj, first, end - 1);
    vm_object_unmap_cached(obj, first, end - 1);
    mutex_lock(&vi->pages);
    vm_object_discard(obj, first, end - 1);
    while (more > 0) {
        mutex_lock(&v->lock);
        int err = extfs_begin(v->fs);
        if (!err) {
            more = extfs_free_range(v->fs, vi->ino, (u32)(first * v->blocks_per_page),
                                    (u32)MIN(end * v->blocks_per_page - 1, (u64)UINT32_MAX - 2));
            err = extfs_end(v->fs, more < 0 ? more : 0);
            vi->transaction = extfs_transaction(v->fs);
        }
        mutex_unlock(&v->lock);
        more = err ? err : more;
    }
    mutex_unlock(&vi->pages);
    return more;
}

static int punch(struct inode *inode, u64 start, u64 end)
{
    struct vol_inode *vi = vol_inode_of(inode);
    u64 first = DIV_ROUND_UP(start, PAGE_SIZE), stop = end / PAGE_SIZE;
    if (first > stop)  // inside one page
        return zero_edge(inode, start, end);
    int err = start % PAGE_SIZE ? zero_edge(inode, start, first * PAGE_SIZE) : 0;
    if (!err && end % PAGE_SIZE)
        err = zero_edge(inode, stop * PAGE_SIZE, end);
    stop = MIN(stop, ((u64)UINT32_MAX - 1) / vi->volume->blocks_per_page);
    return err || first >= stop ? err : free_pages_of(vi, first, stop);
}

// Gives holes of [first, end) blocks places that read as zeros.
static int allocate_blocks(struct vol_inode *vi, u64 first, u64 end)
{
    struct volume *v = vi->volume;
    int err = 0;
    for (u64 at = first; at < end && !err;) {
        u64 pblk;
        u32 n, got = 0;
        bool unwritten;
        mutex_lock(&v->lock);
        err = extfs_map(v->fs, vi->ino, (u32)at, &pblk, &n, &unwritten);
        n = (u32)MIN((u64)n, end - at);
        if (!err && !pblk) {
            u32 want = MIN(n, 8192u);
            err = extfs_reserve(v->fs, want) ? 0 : -ENOSPC;
            if (!err && !(err = extfs_begin(v->fs))) {
                err = extfs_end(v->fs,
                                extfs_allocate(v->fs, vi->ino, (u32)at, want, true, &pblk, &got));
                vi->transaction = extfs_transaction(v->fs);
                extfs_unreserve(v->fs, want);
            }
            n = got;
        }
        mutex_unlock(&v->lock);
        at += n;
        sched_point();
        if (!err && thread_signal_pending() && at < end)
            err = -EINTR;
    }
    return err;
}

// Cached pages of the range that were holes have places now.
static void forget_holes(struct vol_inode *vi, u64 first, u64 end)
{
    struct vm_object *obj = &vi->inode->file.object;
    for (u64 index = first; (index = vm_object_next_data(obj, index)) < end; index++) {
        struct page *p = vm_object_find(obj, index);
        if (!p)
            continue;
        unpromise(vi, p);
        page_clear_flags(p, PG_NO_BLOCK);
        page_put(p);
    }
}

static int allocate(struct inode *inode, u64 start, u64 end)
{
    struct vol_inode *vi = vol_inode_of(inode);
    u64 size = vi->volume->disk.block_size, last = DIV_ROUND_UP(end, size);
    if (last > UINT32_MAX - 1)
        return -EFBIG;
    mutex_lock(&vi->pages);
    int err = allocate_blocks(vi, start / size, last);
    if (!err)
        forget_holes(vi, DIV_ROUND_UP(start, PAGE_SIZE), end / PAGE_SIZE);
    mutex_unlock(&vi->pages);
    return err;
}

static int fallocate_locked(struct inode *inode, int mode, u64 start, u64 end)
{
    u64 size = inode->file.object.size_bytes;
    if (extfs_read_only(vol_inode_of(inode)->volume->fs))
        return -EROFS;
    if (mode & FALLOC_PUNCH_HOLE)
        return punch(inode, start, end);
    int err = mode & FALLOC_KEEP_SIZE || end <= size ? 0 : size_allowed(inode, end);
    if (!err && (mode & FALLOC_ZERO_RANGE))
        err = punch(inode, start, MIN(end, ALIGN_UP(size, PAGE_SIZE)));
    if (!err)
        err = allocate(inode, start, end);
    if (!err && !(mode & FALLOC_KEEP_SIZE) && end > size)
        err = grow(vol_inode_of(inode), end);
    return err;
}

// MADV_REMOVE of a mapping: the same as punching a hole by descriptor.
static int object_punch(struct vm_object *obj, u64 start, u64 end)
{
    struct inode *inode = obj->owner;
    mutex_lock(&inode->lock);
    int err = fallocate_locked(inode, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, start, end);
    if (!err)
        inode_touch_mtime(inode);
    mutex_unlock(&inode->lock);
    return err;
}

static long file_fallocate(struct file *f, int mode, loff_t offset, loff_t len)
{
    struct inode *inode = f->inode;
    mutex_lock(&inode->lock);
    long err = fallocate_locked(inode, mode, (u64)offset, (u64)(offset + len));
    if (!err) {
        inode_kill_privs_locked(inode);
        inode_touch_mtime(inode);
    }
    mutex_unlock(&inode->lock);
    return err;
}

static loff_t seek_block(struct vol_inode *vi, u64 pos, bool data)
{
    struct volume *v = vi->volume;
    u64 size = vi->inode->file.object.size_bytes, bs = v->disk.block_size;
    for (u64 lblk = pos / bs; lblk * bs < size;) {
        u64 pblk;
        u32 n;
        bool unwritten;
        mutex_lock(&v->lock);
        int err = extfs_map(v->fs, vi->ino, (u32)lblk, &pblk, &n, &unwritten);
        mutex_unlock(&v->lock);
        if (err)
            return -EIO;
        if ((pblk && !unwritten) == data)
            return (loff_t)MIN(MAX(lblk * bs, pos), size);
        lblk += n;
    }
    return data ? -ENXIO : (loff_t)size;
}

// SEEK_DATA and SEEK_HOLE ask the disk, after what is dirty has got there.
static loff_t file_lseek(struct file *f, loff_t offset, int whence)
{
    struct vol_inode *vi = vol_inode_of(f->inode);
    u64 size = inode_size(f->inode);
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return vfs_lseek_generic(f, offset, whence, size);
    if (offset < 0 || (u64)offset >= size)
        return -ENXIO;
    int err = extfs_read_only(vi->volume->fs) ? 0 : volume_write_back(vi, 0, UINT64_MAX - 1);
    loff_t pos = err ? err : seek_block(vi, (u64)offset, whence == SEEK_DATA);
    if (pos >= 0)
        f->pos = pos;
    return pos;
}

// ------------------------------------------------------------------------------- durable

// What fsync(2) has to tell this open file: each error once (errseq of Linux).
static u32 error_now(const struct vol_inode *vi)
{
    return vi->error_seen ? vi->error_count : vi->error_count - (vi->error_count ? 1 : 0);
}

static int file_open_volume(struct inode *inode, struct file *f)
{
    f->data = (void *)(uintptr_t)error_now(vol_inode_of(inode));
    return 0;
}

static int take_error(struct vol_inode *vi, struct file *f)
{
    u32 seen = (u32)(uintptr_t)f->data;
    if (seen == vi->error_count)
        return 0;
    f->data = (void *)(uintptr_t)vi->error_count;
    vi->error_seen = true;
    return vi->error;
}

int volume_fsync(struct file *f, bool data_only)
{
    struct vol_inode *vi = vol_inode_of(f->inode);
    struct volume *v = vi->volume;
    if (v->sb->flags & SB_RDONLY)
        return 0;
    int err = S_ISREG(f->inode->mode) ? volume_write_back(vi, 0, UINT64_MAX - 1) : 0;
    mutex_lock(&v->lock);
    if (!err && vi->attr_dirty && !data_only && !(err = extfs_begin(v->fs)))
        err = extfs_end(v->fs, volume_write_attr(vi));
    if (!err)
        err = extfs_commit(v->fs);
    mutex_unlock(&v->lock);
    int told = S_ISREG(f->inode->mode) ? take_error(vi, f) : 0;
    return told ? told : err;
}

int volume_write_range(struct inode *inode, u64 start, u64 end)
{
    return volume_write_back(vol_inode_of(inode), page_index(start), page_index(end - 1));
}

static int object_sync(struct vm_object *obj, u64 first, u64 last)
{
    struct vol_inode *vi = vi_of(obj);
    int err = volume_write_back(vi, first, last);
    return err ? err : volume_commit(vi->volume);
}

// ------------------------------------------------------------------------------- O_DIRECT
//
// Bytes go by way of pages that leave the cache as soon as they have been moved: to and from the disk in the same call, errors of the
// device told by it, nothing kept. What others have in the cache, or mapped, is written first and stays right: there is one page
// for all. What Linux asks of such calls is asked here (iomap_dio_bio_iter): place, lengths and addresses are multiples of the
// disk's block.

#define DIRECT_PAGES 64u

static bool is_direct(const struct file *f, const struct uio *u)
{
    return unlikely(f->flags & O_DIRECT) && !u->kernel;
}

static bool is_aligned(const struct vol_inode *vi, const struct uio *u, u64 pos)
{
    u64 bits = pos | u->base | MIN(u->len, u->remaining);
    for (size_t i = 0; i < u->n_next; i++)
        bits |= u->next[i].base | u->next[i].len;
    return bits % vi->volume->device->disk->block_bytes == 0;
}

// Pages [first, last] that nobody maps and nobody has changed since.
static void leave_cache(struct vol_inode *vi, u64 first, u64 last)
{
    vm_object_drop(&vi->inode->file.object, first, last);
}

// What of up to DIRECT_PAGES pages was in the cache before stays in it.
static ssize_t direct_piece(struct file *f, struct uio *to, loff_t *pos, size_t bytes)
{
    struct vol_inode *vi = vol_inode_of(f->inode);
    struct vm_object *obj = &f->inode->file.object;
    u64 first = page_index((u64)*pos), last = page_index((u64)*pos + bytes - 1), had = 0;
    size_t rest = to->remaining - bytes;
    for (u64 i = first; i <= last; i++)
        had |= is_cached(obj, i) ? BIT(i - first) : 0;
    volume_read_ahead(f->inode, (u64)*pos, (u64)*pos + bytes);
    to->remaining = bytes;
    ssize_t n = object_read(f, to, pos);
    to->remaining += rest;
    for (u64 i = first; i <= last; i++) {
        if (!(had & BIT(i - first)))
            leave_cache(vi, i, i);
    }
    return n;
}

static ssize_t direct_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct vol_inode *vi = vol_inode_of(f->inode);
    ssize_t done = 0;
    while (to->remaining && (u64)*pos < inode_size(f->inode)) {
        size_t piece = DIRECT_PAGES * PAGE_SIZE - (u64)*pos % PAGE_SIZE;
        if (!done && !is_aligned(vi, to, (u64)*pos))
            return -EINVAL;
        piece = MIN(piece, to->remaining);
        ssize_t n = direct_piece(f, to, pos, piece);
        if (n <= 0)
            return done ? done : n;
        done += n;
        if ((size_t)n < piece)
            break;
    }
    return done;
}

static ssize_t direct_write(struct file *f, struct uio *from, loff_t *pos)
{
    struct inode *inode = f->inode;
    struct vol_inode *vi = vol_inode_of(inode);
    bool append = (f->flags & O_APPEND) || (from->flags & RWF_APPEND);
    if (!is_aligned(vi, from, append ? inode_size(inode) : (u64)*pos))
        return -EINVAL;
    ssize_t n = object_write(f, from, pos);
    if (n <= 0)
        return n;
    u64 first = page_index((u64)(*pos - n)), last = page_index((u64)*pos - 1);
    int err = volume_write_back(vi, first, last);
    leave_cache(vi, first, last);
    return err ? err : n;
}

static ssize_t file_read(struct file *f, struct uio *to, loff_t *pos)
{
    return is_direct(f, to) ? direct_read(f, to, pos) : object_read(f, to, pos);
}

static ssize_t file_read_at_user(struct file *f, uptr_t to, size_t len, loff_t pos)
{
    struct uio u;
    if (likely(!(f->flags & O_DIRECT)))
        return regular_file_ops.read_at_user(f, to, len, pos);
    uio_init_user(&u, to, len);
    return direct_read(f, &u, &pos);
}

static ssize_t file_write(struct file *f, struct uio *from, loff_t *pos)
{
    u32 flags = from->flags;
    ssize_t n = is_direct(f, from) ? direct_write(f, from, pos) : object_write(f, from, pos);
    if (n > 0 && ((f->flags & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC)))) {
        int err = volume_fsync(f, (f->flags & O_SYNC) != O_SYNC && !(flags & RWF_SYNC));
        return err ? err : n;
    }
    return n;
}

// The object's memory is its inode's.
static void object_release(struct vm_object *obj) { memfs_release_object(obj); }

const struct vm_object_ops volume_object_ops = {
    .get_page = volume_get_page,
    .sync = object_sync,
    .punch = object_punch,
    .page_dirtied = object_page_dirtied,
    .page_dropped = object_page_dropped,
    .release = object_release,
};

struct file_ops volume_file_ops;

void volume_file_init(void)
{
    volume_file_ops = regular_file_ops;
    volume_file_ops.open = file_open_volume;
    volume_file_ops.read = file_read;
    volume_file_ops.read_at_user = file_read_at_user;
    volume_file_ops.write = file_write;
    volume_file_ops.write_at_user = NULL;
    volume_file_ops.lseek = file_lseek;
    volume_file_ops.fsync = volume_fsync;
    volume_file_ops.fallocate = file_fallocate;
}
