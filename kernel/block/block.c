// SPDX-License-Identifier: BSD-2-Clause
// block.c: the list of disks, requests, and the ways to wait for them.
#include "block/block.h"

#include <stdio.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/atomic.h"
#include "core/log.h"
#include "core/time.h"
#include "core/wait.h"
#include "mm/page.h"
#include "task/thread.h"

#define MINORS 16u  // of a disk: its own, and 15 partitions

static struct spinlock block_lock;
static struct block_disk *disks[BLOCK_MAX_DISKS];
static u32 n_disks;
static struct mutex scan_lock = MUTEX_INIT(scan_lock);
static bool scanned;

static u32 device_number(const struct block_disk *d, u32 partition)
{
    return d->major << 20 | (d->minor + partition);
}

int block_disk_add(struct block_disk *d)
{
    if (n_disks == BLOCK_MAX_DISKS)
        return -ENOSPC;
    u32 same = 0;
    for (u32 i = 0; i < n_disks; i++)
        same += disks[i]->major == d->major;
    d->minor = same * MINORS;
    d->whole.disk = d;
    d->whole.dev = device_number(d, 0);
    d->whole.sectors = d->sectors;
    d->whole.read_only = d->read_only;
    if (d->prefix)
        snprintf(d->whole.name, sizeof(d->whole.name), "%s%c", d->prefix, 'a' + same);
    disks[n_disks++] = d;
    return 0;
}

u32 block_disk_count(void) { return n_disks; }
struct block_disk *block_disk_at(u32 index) { return index < n_disks ? disks[index] : NULL; }

void block_scan(void)
{
    mutex_lock(&scan_lock);
    for (u32 i = 0; !scanned && i < n_disks; i++) {
        struct block_disk *d = disks[i];
        d->n_parts = partition_scan(d);
        for (u32 p = 0; p < d->n_parts; p++) {
            struct block_device *part = &d->parts[p];
            part->disk = d;
            part->read_only = d->read_only;
            part->dev = device_number(d, part->partition);
            bool digit = !d->prefix;  // nvme0n1p1, but vda1
            snprintf(part->name, sizeof(part->name), "%.10s%s%u", d->whole.name, digit ? "p" : "",
                     part->partition);
        }
    }
    scanned = true;
    mutex_unlock(&scan_lock);
}

// The identifier as it is written: the first three fields are little endian on the disk (UEFI, appendix A).
static bool has_uuid(const struct block_device *b, const char *text)
{
    const u8 *u = b->uuid;
    char own[40];
    snprintf(own, sizeof(own),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[3], u[2],
             u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    return strcmp(own, text) == 0;
}

struct block_device *block_find(const char *name)
{
    bool by_serial = strncmp(name, "serial:", 7) == 0, by_uuid = strncmp(name, "PARTUUID=", 9) == 0;
    for (u32 i = 0; i < n_disks; i++) {
        struct block_disk *d = disks[i];
        if (by_serial ? strcmp(d->serial, name + 7) == 0 : strcmp(d->whole.name, name) == 0)
            return &d->whole;
        for (u32 p = 0; !by_serial && p < d->n_parts; p++) {
            if (by_uuid ? has_uuid(&d->parts[p], name + 9) : strcmp(d->parts[p].name, name) == 0)
                return &d->parts[p];
        }
    }
    return NULL;
}

static bool overlap(const struct block_device *a, const struct block_device *b)
{
    return a->disk == b->disk && a->first < b->first + b->sectors &&
           b->first < a->first + a->sectors;
}

int block_claim(struct block_device *b)
{
    int err = 0;
    spin_lock(&block_lock);
    if (b->disk->whole.claimed && overlap(b, &b->disk->whole))
        err = -EBUSY;
    for (u32 p = 0; !err && p < b->disk->n_parts; p++) {
        if (b->disk->parts[p].claimed && overlap(b, &b->disk->parts[p]))
            err = -EBUSY;
    }
    if (!err)
        b->claimed = true;
    spin_unlock(&block_lock);
    return err;
}

void block_release(struct block_device *b)
{
    spin_lock(&block_lock);
    b->claimed = false;
    spin_unlock(&block_lock);
}

// ------------------------------------------------------------------------------- requests

static bool meet_at_pages(const struct block_request *r)
{
    for (u32 i = 1; i < r->n_segments; i++) {
        const struct block_segment *before = &r->segments[i - 1];
        if ((before->at + before->bytes) % PAGE_SIZE || r->segments[i].at % PAGE_SIZE)
            return false;
    }
    return true;
}

static int check(const struct block_device *b, const struct block_request *r)
{
    if (r->op == BLOCK_FLUSH)
        return 0;
    if (r->op != BLOCK_READ && b->read_only)
        return -EROFS;
    if (r->n_sectors > b->sectors || r->sector > b->sectors - r->n_sectors)
        return -EIO;
    u32 align = b->disk->block_bytes / SECTOR_SIZE;
    if ((r->sector + b->first) % align || r->n_sectors % align)
        return -EIO;
    if ((r->op == BLOCK_DISCARD && !b->disk->has_discard) ||
        (r->op == BLOCK_ZERO && !b->disk->has_zero))
        return -EOPNOTSUPP;
    return b->disk->whole_pages && !meet_at_pages(r) ? -EIO : 0;
}

void block_kick(struct block_device *b) { b->disk->ops->kick(b->disk); }

void block_submit(struct block_device *b, struct block_request *r, bool more)
{
    r->result = check(b, r);
    if (r->result || (r->op == BLOCK_FLUSH && !b->disk->has_flush)) {
        r->done(r);
    } else {
        r->disk = b->disk;
        r->sector += b->first;
        b->disk->ops->submit(b->disk, r);
    }
    if (!more)
        block_kick(b);
}

// Counts as /proc/diskstats does: by kind, with the time under way.
static void account(struct block_device *b, enum block_op op, u64 sectors, u64 ns)
{
    static const u8 kinds[] = {[BLOCK_READ] = BLOCK_STAT_READ,
                               [BLOCK_WRITE] = BLOCK_STAT_WRITE,
                               [BLOCK_FLUSH] = BLOCK_STAT_FLUSH,
                               [BLOCK_DISCARD] = BLOCK_STAT_DISCARD,
                               [BLOCK_ZERO] = BLOCK_STAT_WRITE};
    struct block_stats *s = &b->stats[kinds[op]];
    atomic_add(&s->ios, 1);
    atomic_add(&s->sectors, sectors);
    atomic_add(&s->ns, ns);
}

static void account_all(struct block_device *b, enum block_op op, u64 sectors, u64 ns)
{
    account(b, op, sectors, ns);
    if (b->partition)
        account(&b->disk->whole, op, sectors, ns);
}

struct sync_request {
    struct block_request r;
    struct thread *waiter;
    u32 finished;  // atomic
};

static void sync_done(struct block_request *r)
{
    struct sync_request *s = container_of(r, struct sync_request, r);
    struct thread *waiter = s->waiter;
    atomic_store(&s->finished, 1);  // the waiter may be gone after this
    thread_wake(waiter);
}

static void wait_until_zero(const u32 *count, u32 target)
{
    for (;;) {
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        if (atomic_load(count) == target)
            break;
        thread_block(WAIT_UNINTERRUPTIBLE, NEVER);
    }
    thread_sleep_cancel();
}

static int run(struct block_device *b, struct sync_request *s)
{
    u64 sectors = s->r.n_sectors, start = ktime_ns();
    enum block_op op = s->r.op;
    s->r.done = sync_done;
    s->waiter = current;
    atomic_add(&b->in_flight, 1);
    block_submit(b, &s->r, false);
    wait_until_zero(&s->finished, 1);
    atomic_sub(&b->in_flight, 1);
    account_all(b, op, sectors, ktime_ns() - start);
    return s->r.result;
}

int block_io(struct block_device *b, enum block_op op, u64 sector,
             const struct block_segment *segments, u32 n)
{
    struct sync_request s = {
        .r = {.op = op, .sector = sector, .segments = segments, .n_segments = n}};
    for (u32 i = 0; i < n; i++)
        s.r.n_sectors += segments[i].bytes / SECTOR_SIZE;
    return run(b, &s);
}

int block_range(struct block_device *b, enum block_op op, u64 sector, u64 n_sectors)
{
    u64 max = b->disk->max_range ? b->disk->max_range : UINT32_MAX;
    int err = 0;
    for (u64 n; !err && n_sectors; sector += n, n_sectors -= n) {
        n = MIN(n_sectors, ALIGN_DOWN(max, (u64)(b->disk->block_bytes / SECTOR_SIZE)));
        struct sync_request s = {.r = {.op = op, .sector = sector, .n_sectors = n}};
        err = run(b, &s);
        sched_point();
    }
    return err;
}

int block_flush(struct block_device *b)
{
    if (!b->disk->has_flush)
        return 0;
    struct sync_request s = {.r = {.op = BLOCK_FLUSH}};
    return run(b, &s);
}

int block_rw(struct block_device *b, bool write, u64 sector, void *buf, u32 bytes)
{
    struct block_batch batch;
    block_batch_start(&batch, b, write);
    block_batch_add(&batch, sector, buf, bytes);
    return block_batch_wait(&batch);
}

// ------------------------------------------------------------------------------- batches

struct batch_part {
    struct block_request r;
    struct block_batch *batch;
    u64 start_ns, sectors;
    struct block_segment segments[BATCH_SEGMENTS];
};

static void batch_error(struct block_batch *b, int err)
{
    int none = 0;
    if (err)
        atomic_cmpxchg(&b->error, &none, err);
}

static void batch_done(struct block_request *r)
{
    struct batch_part *part = container_of(r, struct batch_part, r);
    struct block_batch *b = part->batch;
    struct thread *waiter = b->waiter;
    batch_error(b, r->result);
    account_all(b->device, r->op, part->sectors, ktime_ns() - part->start_ns);
    atomic_sub(&b->device->in_flight, 1);
    kfree(part);
    if (atomic_sub(&b->pending, 1) == 0)  // the batch may be gone after this
        thread_wake(waiter);
}

static void batch_flush(struct block_batch *b)
{
    struct batch_part *part = b->open;
    b->open = NULL;
    if (!part)
        return;
    part->sectors = part->r.n_sectors;
    part->start_ns = ktime_ns();
    atomic_add(&b->pending, 1);
    atomic_add(&b->device->in_flight, 1);
    b->untold = true;
    block_submit(b->device, &part->r, true);
}

void block_batch_start(struct block_batch *b, struct block_device *device, bool write)
{
    *b = (struct block_batch){.device = device, .waiter = current, .write = write, .pending = 1};
}

// Whether the memory at `at` may be one more segment of the part.
static bool goes_on(const struct block_disk *d, const struct batch_part *part, phys_t at)
{
    const struct block_segment *last = &part->segments[part->r.n_segments - 1];
    return part->r.n_segments < MIN((u32)BATCH_SEGMENTS, d->max_segments) &&
           (!d->whole_pages || (at | (last->at + last->bytes)) % PAGE_SIZE == 0);
}

// Room for a segment behind what the open part holds; else a new part. => NULL: no memory
static struct batch_part *part_for(struct block_batch *b, u64 sector, phys_t at)
{
    struct batch_part *part = b->open;
    if (part && goes_on(b->device->disk, part, at) && part->r.sector + part->r.n_sectors == sector)
        return part;
    batch_flush(b);
    part = kmalloc(sizeof(*part));
    if (!part)
        return NULL;
    part->r = (struct block_request){
        .op = b->write ? BLOCK_WRITE : BLOCK_READ,
        .sector = sector,
        .segments = part->segments,
        .done = batch_done,
    };
    part->batch = b;
    return b->open = part;
}

// One piece of memory that lies in a row; it joins the segment before it when that ends where it begins.
static void add_piece(struct block_batch *b, u64 sector, phys_t at, u32 bytes)
{
    struct batch_part *part = b->open;
    struct block_segment *last =
        part && part->r.n_segments ? &part->segments[part->r.n_segments - 1] : NULL;
    if (last && part->r.sector + part->r.n_sectors == sector && last->at + last->bytes == at &&
        last->bytes + bytes <= b->device->disk->max_segment_bytes) {
        last->bytes += bytes;
    } else {
        part = part_for(b, sector, at);
        if (!part) {
            batch_error(b, -ENOMEM);
            return;
        }
        part->segments[part->r.n_segments++] = (struct block_segment){at, bytes};
    }
    part->r.n_sectors += bytes / SECTOR_SIZE;
}

void block_batch_add(struct block_batch *b, u64 sector, void *buf, u32 bytes)
{
    u32 max = b->device->disk->max_segment_bytes;
    while (bytes) {
        u32 n = MIN(bytes, max);
        add_piece(b, sector, virt_to_phys(buf), n);
        sector += n / SECTOR_SIZE;
        buf = (char *)buf + n;
        bytes -= n;
    }
}

int block_batch_wait(struct block_batch *b)
{
    batch_flush(b);
    if (b->untold)
        block_kick(b->device);
    if (atomic_sub(&b->pending, 1) != 0)
        wait_until_zero(&b->pending, 0);
    return b->error;
}
