// SPDX-License-Identifier: BSD-2-Clause
// virtio_blk.c: disks (VIRTIO 1.2, 5.2) below block/block.h.
//
// A queue is cut into slots of SLOT_DESC descriptors each: a request's tag is its slot, whose first descriptor is the header, then the
// segments, then the byte that says how it went. So chains are linked once and never searched for. With several queues each CPU has
// its own, modulo their number; one interrupt serves all of them.
//
// V1 The device owns header, segments and status of a slot from virtqueue_add until virtqueue_take hands its id back. What it says
// is not believed: ids and lengths are checked by virtqueue_take, an id that begins no slot or a status that is none stops the
// device, and every request that it had ends with EIO.
#include <stdio.h>
#include <string.h>

#include "arch/mmu.h"
#include "block/block.h"
#include "core/atomic.h"
#include "core/cpu.h"
#include "core/log.h"
#include "mm/page.h"
#include "platform/disk/disk_queue.h"
#include "platform/virtio/virtio.h"
#include "platform/virtio/virtio_ring.h"

#define SLOT_DESC 18u  // header, 16 segments, status
#define QUEUE_DESC 128u
#define N_SLOTS (QUEUE_DESC / SLOT_DESC)

enum {
    F_SIZE_MAX = 1,
    F_SEG_MAX = 2,
    F_RO = 5,
    F_BLK_SIZE = 6,
    F_FLUSH = 9,
    F_MQ = 12,
    F_DISCARD = 13,
    F_ZEROES = 14
};
enum {  // words of the configuration
    CONFIG_CAPACITY = 0,
    CONFIG_SIZE_MAX = 8,
    CONFIG_SEG_MAX = 12,
    CONFIG_BLK_SIZE = 20,
    CONFIG_QUEUES = 32,  // the high half is num_queues
    CONFIG_DISCARD_MAX = 36,
    CONFIG_ZEROES_MAX = 48,
};
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct slot {
    struct {
        u32 type, reserved;
        u64 sector;
    } header;
    struct {  // of discard and write zeroes
        u64 sector;
        u32 n_sectors, flags;
    } range;
    volatile u8 status;
};

struct blk_queue {
    struct disk_queue q;  // first
    struct virtqueue vq;
    struct slot *slots;
    u32 len[QUEUE_DESC];
};

struct virtio_blk {
    struct block_disk disk;
    struct virtio_device *virtio;
    u32 n_queues;
    struct blk_queue *queues[DISK_MAX_QUEUES];
};

// ------------------------------------------------------------------------------- requests

static const u32 types[] = {[BLOCK_READ] = T_IN,
                            [BLOCK_WRITE] = T_OUT,
                            [BLOCK_FLUSH] = T_FLUSH,
                            [BLOCK_DISCARD] = T_DISCARD,
                            [BLOCK_ZERO] = T_ZEROES};

static void put_desc(struct blk_queue *q, u32 at, const volatile void *buf, phys_t pa, u32 len,
                     u16 flags)
{
    q->vq.desc[at] = (struct virtq_desc){
        .address = buf ? virt_to_phys((const void *)buf) : pa,
        .len = len,
        .flags = flags,
        .next = (u16)(at + 1),
    };
}

// Fills the slot's descriptors behind the header. => bytes that the device may write
static u32 fill_slot(struct blk_queue *q, u32 slot, const struct block_request *r)
{
    struct slot *s = &q->slots[slot];
    u32 at = slot * SLOT_DESC + 1, written = 1;
    if (r->op == BLOCK_DISCARD || r->op == BLOCK_ZERO) {
        s->range.sector = r->sector;
        s->range.n_sectors = (u32)r->n_sectors;
        s->range.flags = 0;
        put_desc(q, at++, &s->range, 0, sizeof(s->range), DESC_NEXT);
    }
    for (u32 i = 0; i < r->n_segments; i++) {
        bool in = r->op == BLOCK_READ;
        put_desc(q, at++, NULL, r->segments[i].at, r->segments[i].bytes,
                 DESC_NEXT | (in ? DESC_WRITE : 0));
        written += in ? r->segments[i].bytes : 0;
    }
    put_desc(q, at, &s->status, 0, 1, DESC_WRITE);
    return written;
}

// virtqueue_add writes the first descriptor as a whole buffer; here it leads on to the others, and what may come back as
// written is the sum of theirs.
static void post(struct disk_queue *dq, u32 slot, const struct block_request *r)
{
    struct blk_queue *q = (struct blk_queue *)dq;
    struct slot *s = &q->slots[slot];
    s->status = 0xff;
    s->header.type = types[r->op];
    s->header.reserved = 0;
    s->header.sector = r->op == BLOCK_READ || r->op == BLOCK_WRITE ? r->sector : 0;
    virtqueue_add_chain(&q->vq, slot * SLOT_DESC, virt_to_phys(&s->header), sizeof(s->header),
                        fill_slot(q, slot, r));
}

static void kick(struct disk_queue *q) { virtqueue_kick(&((struct blk_queue *)q)->vq); }

static const struct disk_queue_ops queue_ops = {.post = post, .kick = kick};

static void submit(struct block_disk *d, struct block_request *r)
{
    struct virtio_blk *v = d->driver;
    disk_queue_submit(&v->queues[this_cpu()->id % v->n_queues]->q, r);
}

static void kick_all(struct block_disk *d)
{
    struct virtio_blk *v = d->driver;
    for (u32 i = 0; i < v->n_queues; i++)
        disk_queue_kick(&v->queues[i]->q);
}

// ------------------------------------------------------------------------------- completion

static int result_of(u8 status)
{
    return status == S_OK ? 0 : status == S_UNSUPP ? -EOPNOTSUPP : -EIO;
}

// Takes back what the device has done and starts what waited. => false: it breaks the rules; [queue lock]
static bool take_finished(struct blk_queue *q, struct list *finished)
{
    u32 len;
    for (;;) {
        int id = virtqueue_take(&q->vq, &len);
        if (id == -EAGAIN)
            break;
        u32 slot = (u32)id / SLOT_DESC;
        if (id < 0 || (u32)id % SLOT_DESC || slot >= N_SLOTS)
            return false;
        u8 status = q->slots[slot].status;
        if (status > S_UNSUPP || !disk_queue_finish(&q->q, slot, result_of(status), finished))
            return false;
    }
    disk_queue_go_on(&q->q);
    return true;
}

static void break_device(struct virtio_blk *v, struct list *finished)
{
    log_error("%s: the device breaks the rules and is not used any more", v->disk.whole.name);
    virtio_stop(v->virtio);
    for (u32 i = 0; i < v->n_queues; i++)
        disk_queue_break(&v->queues[i]->q, finished);
}

static void interrupt(void *arg)
{
    struct virtio_blk *v = arg;
    struct list finished = LIST_INIT(finished);
    virtio_ack_interrupt(v->virtio);
    bool good = true;
    for (u32 i = 0; i < v->n_queues; i++) {
        struct blk_queue *q = v->queues[i];
        spin_lock(&q->q.lock);
        good &= q->q.broken || take_finished(q, &finished);
        spin_unlock(&q->q.lock);
    }
    if (!good)
        break_device(v, &finished);
    disk_finish(&finished);
}

// ------------------------------------------------------------------------------- bring-up

static int add_queue(struct virtio_blk *v, u32 index)
{
    struct blk_queue *q = kzalloc(sizeof(*q));
    unsigned order = 0;
    while ((PAGE_SIZE << order) < virtqueue_bytes(QUEUE_DESC))
        order++;
    struct page *ring = page_alloc(order, PAGE_ZERO), *slots = page_alloc(0, PAGE_ZERO);
    if (!q || !ring || !slots)
        return -ENOMEM;
    _Static_assert(N_SLOTS * sizeof(struct slot) <= 4096, "the slots lie in a page");
    disk_queue_init(&q->q, &queue_ops, N_SLOTS);
    q->slots = page_address(slots);
    v->queues[index] = q;
    return virtqueue_init_large(&q->vq, v->virtio, index, page_address(ring), QUEUE_DESC, q->len);
}

static u32 config32(struct virtio_blk *v, u32 at)
{
    return v->virtio->ops->get_config(v->virtio, at);
}

static void read_config(struct virtio_blk *v)
{
    struct block_disk *d = &v->disk;
    u64 features = v->virtio->features;
    d->sectors = config32(v, CONFIG_CAPACITY) | (u64)config32(v, CONFIG_CAPACITY + 4) << 32;
    d->sectors = MIN(d->sectors, BIT(54));
    d->block_bytes = features & BIT(F_BLK_SIZE) ? config32(v, CONFIG_BLK_SIZE) : SECTOR_SIZE;
    if (d->block_bytes % SECTOR_SIZE || d->block_bytes == 0 || d->block_bytes > PAGE_SIZE ||
        (d->block_bytes & (d->block_bytes - 1)))
        d->block_bytes = SECTOR_SIZE;
    d->max_segments = SLOT_DESC - 2;
    if (features & BIT(F_SEG_MAX))
        d->max_segments = MAX(MIN(d->max_segments, config32(v, CONFIG_SEG_MAX)), 1u);
    d->max_segment_bytes = 1u << 20;
    if (features & BIT(F_SIZE_MAX))
        d->max_segment_bytes =
            MAX(MIN(d->max_segment_bytes, ALIGN_DOWN(config32(v, CONFIG_SIZE_MAX), (u32)PAGE_SIZE)),
                (u32)PAGE_SIZE);
    d->read_only = features & BIT(F_RO);
    d->has_flush = features & BIT(F_FLUSH);
    d->has_discard = features & BIT(F_DISCARD);
    d->has_zero = features & BIT(F_ZEROES);
    u32 discard = d->has_discard ? config32(v, CONFIG_DISCARD_MAX) : 0;
    u32 zero = d->has_zero ? config32(v, CONFIG_ZEROES_MAX) : 0;
    d->max_range = discard && zero ? MIN(discard, zero) : discard | zero;
    v->n_queues = 1;
    if (features & BIT(F_MQ))
        v->n_queues = MAX(MIN(config32(v, CONFIG_QUEUES) >> 16, DISK_MAX_QUEUES), 1u);
}

// The 20 bytes by which the host names the disk. Nobody else uses the queue yet, and the answer comes at once or not at all. => -EIO: the
// device does not answer, or breaks the rules
static int read_serial(struct virtio_blk *v)
{
    struct blk_queue *q = v->queues[0];
    struct slot *s = &q->slots[0];
    char *text = (char *)&q->slots[N_SLOTS];  // of the same page
    u32 len;
    s->header.type = T_GET_ID;
    s->status = 0xff;
    put_desc(q, 1, text, 0, 20, DESC_NEXT | DESC_WRITE);
    put_desc(q, 2, &s->status, 0, 1, DESC_WRITE);
    virtqueue_add_chain(&q->vq, 0, virt_to_phys(&s->header), sizeof(s->header), 21);
    virtqueue_kick(&q->vq);
    int id = -EAGAIN;
    for (u32 i = 0; i < 10000000 && id == -EAGAIN; i++) {
        id = virtqueue_take(&q->vq, &len);
        arch_cpu_relax();
    }
    if (id == 0 && s->status == S_OK)
        memcpy(v->disk.serial, text, 20);
    return id == 0 ? 0 : -EIO;
}

static const struct block_disk_ops blk_ops = {.submit = submit, .kick = kick_all};

static int start(struct virtio_blk *v)
{
    u64 wanted = BIT(F_SIZE_MAX) | BIT(F_SEG_MAX) | BIT(F_RO) | BIT(F_BLK_SIZE) | BIT(F_FLUSH) |
                 BIT(F_MQ) | BIT(F_DISCARD) | BIT(F_ZEROES);
    int err = virtio_start(v->virtio, wanted);
    if (err)
        return err;
    read_config(v);
    err = virtio_set_interrupt(v->virtio, interrupt, v);
    for (u32 i = 0; !err && i < v->n_queues; i++)
        err = add_queue(v, i);
    return err;
}

int virtio_blk_start(struct virtio_device *d)
{
    struct virtio_blk *v = kzalloc(sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->virtio = d;
    v->disk.ops = &blk_ops;
    v->disk.prefix = "vd";
    v->disk.major = BLOCK_MAJOR_VD;
    v->disk.driver = v;
    int err = start(v);
    if (!err) {
        virtio_ready(d);
        err = read_serial(v);
    }
    if (err) {
        virtio_stop(d);
        return err;  // its memory may be the device's still: it is lost
    }
    for (u32 i = 0; i < v->n_queues; i++)
        virtqueue_set_interrupts(&v->queues[i]->vq, true);
    return block_disk_add(&v->disk);
}
