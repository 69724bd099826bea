// SPDX-License-Identifier: BSD-2-Clause
// virtio.c: finding devices, the agreement on features (VIRTIO 1.2, 3.1.1), and split queues (2.7).
#include "platform/virtio/virtio.h"

#include <stdlib.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/atomic.h"
#include "core/log.h"
#include "core/platform.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"
#include "platform/virtio/virtio_ring.h"

enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, FAILED = 128 };
#define RESET_TRIES 100000  // reads of the status until it must be 0

// Where the used ring lies: behind the other two, and aligned for a legacy queue of alignment 32.
#define USED_OFFSET(size) ALIGN_UP((size)*18u + 6u, 32u)
#define USED_BYTES(size) ((size)*8u + 6u)
_Static_assert(USED_OFFSET(VIRTQUEUE_SIZE) + USED_BYTES(VIRTQUEUE_SIZE) <= VIRTQUEUE_BYTES, "");

static bool reset(struct virtio_device *d)
{
    d->ops->set_status(d, 0);
    for (u32 i = 0; i < RESET_TRIES; i++) {
        if (d->ops->get_status(d) == 0)
            return true;
        arch_cpu_relax();
    }
    return false;
}

int virtio_start(struct virtio_device *d, u64 wanted)
{
    if (!reset(d))
        return -EIO;
    d->ops->set_status(d, ACKNOWLEDGE | DRIVER);
    u64 offered = d->ops->get_features(d);
    if (!d->legacy) {
        if (!(offered & VIRTIO_F_VERSION_1))
            return -EIO;
        wanted |= VIRTIO_F_VERSION_1;
    }
    d->offered = offered;
    d->features = offered & wanted;
    d->ops->set_features(d, d->features);
    if (d->legacy)
        return 0;
    d->ops->set_status(d, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return d->ops->get_status(d) & FEATURES_OK ? 0 : -EIO;
}

void virtio_ready(struct virtio_device *d)
{
    d->ops->set_status(d, ACKNOWLEDGE | DRIVER | (d->legacy ? 0 : FEATURES_OK) | DRIVER_OK);
}

void virtio_stop(struct virtio_device *d)
{
    reset(d);
    d->ops->set_status(d, FAILED);
}

static int init(struct virtqueue *q, struct virtio_device *d, unsigned index, void *memory,
                u16 size)
{
    q->device = d;
    q->index = index;
    q->size = size;
    q->desc = memory;
    q->avail = (struct virtq_avail *)(q->desc + size);
    q->used = (struct virtq_used *)((char *)memory + USED_OFFSET(size));
    q->avail->flags = AVAIL_NO_INTERRUPT;
    return d->ops->set_queue(d, q);
}

int virtqueue_init(struct virtqueue *q, struct virtio_device *d, unsigned index, void *page)
{
    *q = (struct virtqueue){.len = q->small_len};
    return init(q, d, index, page, VIRTQUEUE_SIZE);
}

size_t virtqueue_bytes(u16 size) { return USED_OFFSET(size) + USED_BYTES(size); }

int virtqueue_init_large(struct virtqueue *q, struct virtio_device *d, unsigned index, void *memory,
                         u16 size, u32 *len)
{
    *q = (struct virtqueue){.len = len};
    return init(q, d, index, memory, size);
}

void virtqueue_set_interrupts(struct virtqueue *q, bool on)
{
    atomic_store(&q->avail->flags, on ? 0 : AVAIL_NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtqueue_add(struct virtqueue *q, unsigned id, phys_t buffer, u32 len, bool device_writes)
{
    KASSERT(id < q->size && q->len[id] == 0 && len);
    u16 index = q->avail->index;
    q->desc[id] =
        (struct virtq_desc){.address = buffer, .len = len, .flags = device_writes ? DESC_WRITE : 0};
    q->avail->ring[index % q->size] = id;
    q->len[id] = len;
    q->n_posted++;
    atomic_store(&q->avail->index, (u16)(index + 1));
}

void virtqueue_kick(struct virtqueue *q)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(q->used->flags & USED_NO_NOTIFY))
        q->device->ops->notify(q->device, q);
}

static void post(struct virtqueue *q, unsigned id, phys_t buffer, u32 len, bool device_writes)
{
    virtqueue_add(q, id, buffer, len, device_writes);
    virtqueue_kick(q);
}

void virtqueue_post_in(struct virtqueue *q, unsigned id, phys_t buffer, u32 len)
{
    post(q, id, buffer, len, true);
}

void virtqueue_post_out(struct virtqueue *q, unsigned id, phys_t buffer, u32 len)
{
    post(q, id, buffer, len, false);
}

bool virtqueue_has_used(const struct virtqueue *q) { return q->used->index != q->seen_used; }

int virtqueue_take(struct virtqueue *q, u32 *len)
{
    u16 ahead = q->used->index - q->seen_used;
    if (ahead == 0)
        return -EAGAIN;
    if (ahead > q->n_posted)
        return -EIO;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    // Read once: the device may change them at any time.
    u32 id = q->used->ring[q->seen_used % q->size].id;
    u32 filled = q->used->ring[q->seen_used % q->size].len;
    if (id >= q->size || q->len[id] == 0 || filled > q->len[id])
        return -EIO;
    q->len[id] = 0;
    q->n_posted--;
    q->seen_used++;
    *len = filled;
    return id;
}

// ---------------------------------------------------------------- finding devices

#define MAX_DEVICES 32
static struct virtio_device devices[MAX_DEVICES];
static u32 n_devices;

static void start_driver(struct virtio_device *d)
{
    int err = -ENODEV;
    if (d->id == VIRTIO_ID_CONSOLE)  // the control channel's (virtio_console.c)
        return;
    if (d->id == VIRTIO_ID_RNG)
        err = virtio_rng_start(d);
    else if (d->id == VIRTIO_ID_BALLOON)
        err = virtio_balloon_start(d);
    else if (d->id == VIRTIO_ID_NET && virtio_net_start)
        err = virtio_net_start(d);
    else if (d->id == VIRTIO_ID_BLOCK && virtio_blk_start)
        err = virtio_blk_start(d);
    else if (d->id == VIRTIO_ID_SCSI && virtio_scsi_start)
        err = virtio_scsi_start(d);
    if (err)
        log_warn("virtio: a device of kind %d is not used: error %d", d->id, -err);
}

static void found_mmio(phys_t base, u64 size, int irq)
{
    if (n_devices < MAX_DEVICES && virtio_mmio_probe(&devices[n_devices], base, size, irq) == 0)
        start_driver(&devices[n_devices++]);
}

static void found_pci(u32 function, void *unused)
{
    if (n_devices < MAX_DEVICES && virtio_pci_probe(&devices[n_devices], function) == 0)
        start_driver(&devices[n_devices++]);
    else if (pci_driver_start)
        pci_driver_start(function, found_pci);
}

// SIZE@BASE:IRQ, as Linux's virtio_mmio.device= and as monitors write it; SIZE may end in K.
static void found_word(const char *text)
{
    char *end;
    u64 size = strtoull(text, &end, 0);
    if (*end == 'K' || *end == 'k') {
        size <<= 10;
        end++;
    }
    if (*end == '@') {
        phys_t base = strtoull(end + 1, &end, 0);
        found_mmio(base, size, *end == ':' ? (int)strtoul(end + 1, NULL, 0) : -1);
    }
}

void virtio_init(void)
{
    char text[64];
    for (const char *at = NULL; (at = cmdline_next(at, "virtio_mmio.device", text, sizeof(text)));)
        found_word(text);
    platform_each_virtio_mmio(found_mmio);
    pci_each_function(0, found_pci, NULL);
}
