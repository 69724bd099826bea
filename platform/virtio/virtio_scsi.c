// SPDX-License-Identifier: BSD-2-Clause
// virtio_scsi.c: SCSI disks behind a virtio adapter (VIRTIO 1.2, 5.6); the commands are platform/disk/scsi.c's.
//
// A request queue is cut into slots of SLOT_DESC descriptors each, a tag is a slot. Its chain, in the order that the standard wants:
//
//   the command | what is written ... | the answer | what is read ...
//
// The queues of control and of events are there and stay empty. While disks are looked for, slot 0 of the first queue is used and
// looked at without interrupts.
//
// S1 The device owns a slot's command, answer and segments from virtqueue_add until virtqueue_take hands its id back. What it says
// is not believed: ids and lengths are checked by virtqueue_take, an id that begins no slot stops the device, and every request
// that it had ends with EIO.
#include <string.h>

#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/disk/disk_queue.h"
#include "platform/disk/scsi.h"
#include "platform/virtio/virtio.h"
#include "platform/virtio/virtio_ring.h"

#define SEGMENTS 14u
#define SLOT_DESC (SEGMENTS + 2)
#define QUEUE_DESC 128u
#define N_SLOTS (QUEUE_DESC / SLOT_DESC)
#define FIRST_REQUEST_QUEUE 2
#define ANSWER_NS (5 * NSEC_PER_SEC)
enum {  // words of the configuration
    CONFIG_QUEUES = 0,
    CONFIG_SEG_MAX = 4,
    CONFIG_SENSE_BYTES = 20,
    CONFIG_CDB_BYTES = 24,
    CONFIG_MAX_TARGET = 28,  // the high half
    CONFIG_MAX_LUN = 32,
};
enum { RESPONSE_OK = 0, RESPONSE_BAD_TARGET = 3, RESPONSE_INCORRECT_LUN = 9, RESPONSE_NONE = 0xff };
#define CDB_BYTES 32
#define SENSE_BYTES 96

struct slot {
    struct __packed {
        u8 lun[8];
        u64 id;
        u8 attribute, priority, reference, cdb[CDB_BYTES];
    } command;
    volatile struct __packed {
        u32 sense_bytes, residual;
        u16 qualifier;
        u8 status, response, sense[SENSE_BYTES];
    } answer;
    u8 range[SCSI_RANGE_BYTES];
};
_Static_assert(SENSE_BYTES == SCSI_SENSE_BYTES && N_SLOTS * sizeof(struct slot) <= 4096, "");

struct scsi_queue {
    struct disk_queue q;  // first
    struct virtqueue vq;
    struct slot *slots;
    u32 len[QUEUE_DESC];
};

struct virtio_scsi {
    struct scsi_adapter adapter;  // first
    struct virtio_device *virtio;
    bool silent;  // it left a command unanswered while disks were looked for: slot 0 is its own
    u32 n_queues;
    struct scsi_queue *queues[DISK_MAX_QUEUES];
    struct virtqueue unused[FIRST_REQUEST_QUEUE];
};

// ------------------------------------------------------------------------------- requests

static void put_desc(struct scsi_queue *q, u32 at, phys_t pa, u32 len, u16 flags)
{
    q->vq.desc[at] =
        (struct virtq_desc){.address = pa, .len = len, .flags = flags, .next = (u16)(at + 1)};
}

static void put_command(struct slot *s, u32 slot, u32 target, u32 lun, const u8 *cdb)
{
    memset(&s->command, 0, sizeof(s->command));
    s->command.lun[0] = 1;
    s->command.lun[1] = (u8)target;
    s->command.lun[2] = (u8)(lun >> 8 | 0x40);
    s->command.lun[3] = (u8)lun;
    s->command.id = slot;
    memcpy(s->command.cdb, cdb, SCSI_CDB_BYTES);
    s->answer.response = RESPONSE_NONE;
    s->answer.status = 0;
}

// The chain behind the command: data that is written, answer, data that is read.
static void add_chain(struct scsi_queue *q, u32 slot, const struct block_segment *segments, u32 n,
                      bool in)
{
    struct slot *s = &q->slots[slot];
    u32 first = slot * SLOT_DESC, at = first + 1, filled = sizeof(s->answer);
    for (u32 i = 0; i < n;
         i++)  // QEMU counts what it has read as well; nobody here asks for the number
        filled += segments[i].bytes;
    for (u32 i = 0; i < n && !in; i++)
        put_desc(q, at++, segments[i].at, segments[i].bytes, DESC_NEXT);
    put_desc(q, at++, virt_to_phys((const void *)&s->answer), sizeof(s->answer),
             DESC_WRITE | (in && n ? DESC_NEXT : 0));
    for (u32 i = 0; i < n && in; i++)
        put_desc(q, at++, segments[i].at, segments[i].bytes,
                 DESC_WRITE | (i + 1 < n ? DESC_NEXT : 0));
    virtqueue_add_chain(&q->vq, first, virt_to_phys(&s->command), sizeof(s->command), filled);
}

static void post(struct disk_queue *dq, u32 slot, const struct block_request *r)
{
    struct scsi_queue *q = (struct scsi_queue *)dq;
    struct slot *s = &q->slots[slot];
    const struct scsi_disk *d = scsi_disk_of(r);
    struct scsi_command c;
    scsi_command(r, &c);
    put_command(s, slot, d->target, d->lun, c.cdb);
    memcpy(s->range, c.range, sizeof(s->range));
    struct block_segment own = {c.zeros ? c.zeros : virt_to_phys(s->range), c.data_bytes};
    if (c.data_bytes)
        add_chain(q, slot, &own, 1, false);
    else
        add_chain(q, slot, r->segments, r->n_segments, r->op == BLOCK_READ);
}

static void kick(struct disk_queue *q) { virtqueue_kick(&((struct scsi_queue *)q)->vq); }

static const struct disk_queue_ops queue_ops = {.post = post, .kick = kick};

static struct virtio_scsi *scsi_of(const struct block_disk *d)
{
    return (struct virtio_scsi *)container_of(d, struct scsi_disk, disk)->adapter;
}

static void submit(struct block_disk *d, struct block_request *r)
{
    struct virtio_scsi *v = scsi_of(d);
    disk_queue_submit(&v->queues[this_cpu()->id % v->n_queues]->q, r);
}

static void kick_all(struct block_disk *d)
{
    struct virtio_scsi *v = scsi_of(d);
    for (u32 i = 0; i < v->n_queues; i++)
        disk_queue_kick(&v->queues[i]->q);
}

static const struct block_disk_ops disk_ops = {.submit = submit, .kick = kick_all};

// ------------------------------------------------------------------------------- completion

static int result_of(const struct slot *s)
{
    u8 sense[SENSE_BYTES];
    memcpy(sense, (const void *)s->answer.sense, sizeof(sense));
    return s->answer.response == RESPONSE_OK ? scsi_result(s->answer.status, sense) : -EIO;
}

// => the slot that came back, -EAGAIN, -EIO: the device breaks the rules
static int take(struct scsi_queue *q)
{
    u32 len;
    int id = virtqueue_take(&q->vq, &len);
    if (id < 0)
        return id;
    return (u32)id % SLOT_DESC || (u32)id / SLOT_DESC >= N_SLOTS ? -EIO : id / (int)SLOT_DESC;
}

// Takes back what the device has done and starts what waited. => false: it breaks the rules; [queue lock]
static bool take_finished(struct scsi_queue *q, struct list *finished)
{
    int slot;
    while ((slot = take(q)) >= 0) {
        if (!disk_queue_finish(&q->q, (u32)slot, result_of(&q->slots[slot]), finished))
            return false;
    }
    if (slot == -EAGAIN)
        disk_queue_go_on(&q->q);
    return slot == -EAGAIN;
}

static void interrupt(void *arg)
{
    struct virtio_scsi *v = arg;
    struct list finished = LIST_INIT(finished);
    virtio_ack_interrupt(v->virtio);
    bool good = true;
    for (u32 i = 0; i < v->n_queues; i++) {
        struct scsi_queue *q = v->queues[i];
        spin_lock(&q->q.lock);
        good &= q->q.broken || take_finished(q, &finished);
        spin_unlock(&q->q.lock);
    }
    if (!good) {
        log_error("virtio-scsi: the device breaks the rules and is not used any more");
        virtio_stop(v->virtio);
        for (u32 i = 0; i < v->n_queues; i++)
            disk_queue_break(&v->queues[i]->q, &finished);
    }
    disk_finish(&finished);
}

// ------------------------------------------------------------------------------- bring-up

static int execute(struct scsi_adapter *a, u32 target, u32 lun, const u8 *cdb, u8 *data, u32 bytes,
                   u8 *sense)
{
    struct virtio_scsi *v = (struct virtio_scsi *)a;
    struct scsi_queue *q = v->queues[0];
    struct slot *s = &q->slots[0];
    struct block_segment in = {virt_to_phys(data), bytes};
    int slot;
    if (v->silent)
        return -EIO;
    put_command(s, 0, target, lun, cdb);
    add_chain(q, 0, &in, bytes ? 1 : 0, true);
    virtqueue_kick(&q->vq);
    for (u64 end = ktime_ns() + ANSWER_NS; (slot = take(q)) == -EAGAIN && ktime_ns() < end;)
        arch_cpu_relax();
    v->silent = slot != 0;
    if (v->silent)
        return -EIO;
    memcpy(sense, (const void *)s->answer.sense, SENSE_BYTES);
    u8 response = s->answer.response;
    if (response == RESPONSE_BAD_TARGET || response == RESPONSE_INCORRECT_LUN)
        return -ENODEV;
    return response == RESPONSE_OK ? s->answer.status : -EIO;
}

static u32 config32(struct virtio_scsi *v, u32 at)
{
    return v->virtio->ops->get_config(v->virtio, at);
}

static int add_queue(struct virtio_scsi *v, u32 index)
{
    struct scsi_queue *q = kzalloc(sizeof(*q));
    unsigned order = 0;
    while ((PAGE_SIZE << order) < virtqueue_bytes(QUEUE_DESC))
        order++;
    struct page *ring = page_alloc(order, PAGE_ZERO), *slots = page_alloc(0, PAGE_ZERO);
    if (!q || !ring || !slots)
        return -ENOMEM;
    disk_queue_init(&q->q, &queue_ops, N_SLOTS);
    q->slots = page_address(slots);
    v->queues[index] = q;
    return virtqueue_init_large(&q->vq, v->virtio, index + FIRST_REQUEST_QUEUE, page_address(ring),
                                QUEUE_DESC, q->len);
}

static int start(struct virtio_scsi *v)
{
    struct scsi_adapter *a = &v->adapter;
    int err = virtio_start(v->virtio, 0);
    err = err ? err : virtio_set_interrupt(v->virtio, interrupt, v);
    if (err)
        return err;
    u32 wanted =
        MAX(MIN(MIN(config32(v, CONFIG_QUEUES), platform_cpu_count()), DISK_MAX_QUEUES), 1u);
    v->virtio->ops->set_config(v->virtio, CONFIG_SENSE_BYTES, SENSE_BYTES);
    v->virtio->ops->set_config(v->virtio, CONFIG_CDB_BYTES, CDB_BYTES);
    a->execute = execute;
    a->disk_ops = &disk_ops;
    a->max_target = MIN(config32(v, CONFIG_MAX_TARGET) >> 16, 255u);
    a->max_lun = MIN(config32(v, CONFIG_MAX_LUN), 0x3fffu);
    a->max_segments = MAX(MIN(config32(v, CONFIG_SEG_MAX), SEGMENTS), 1u);
    a->max_segment_bytes = 64 * 1024;
    for (u32 i = 0; !err && i < FIRST_REQUEST_QUEUE; i++) {
        struct page *page = page_alloc(0, PAGE_ZERO);
        err = page ? virtqueue_init(&v->unused[i], v->virtio, i, page_address(page)) : -ENOMEM;
    }
    for (u32 i = 0; !err && i < wanted; i++)
        err = add_queue(v, i);
    v->n_queues = err ? 0 : wanted;
    return err;
}

int virtio_scsi_start(struct virtio_device *d)
{
    struct virtio_scsi *v = kzalloc(sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->virtio = d;
    int err = start(v);
    if (!err) {
        virtio_ready(d);
        err = scsi_find_disks(&v->adapter);
    }
    if (err || v->silent) {
        struct list none = LIST_INIT(none);
        virtio_stop(d);
        for (u32 i = 0; i < v->n_queues; i++)  // of disks that were found
            disk_queue_break(&v->queues[i]->q, &none);
        return err ? err : -EIO;  // its memory may be the device's still: it is lost
    }
    for (u32 i = 0; i < v->n_queues; i++)
        virtqueue_set_interrupts(&v->queues[i]->vq, true);
    return 0;
}
