// SPDX-License-Identifier: BSD-2-Clause
// virtio_event.c: telling each other less (VIRTIO 1.2, 2.7.10 and 2.7.7.2): with the event index each side writes down, behind the
// other's ring, at which entry it wants to hear of it; without it there is a flag that says "never".
#include "core/atomic.h"
#include "platform/virtio/virtio.h"
#include "platform/virtio/virtio_ring.h"

#define FAR 0x8000  // entries ahead: more than any queue has

static bool has_event_index(const struct virtqueue *q)
{
    return q->device->features & VIRTIO_F_EVENT_IDX;
}

// Behind the available ring: which used entry the driver wants to hear of.
static void set_used_event(struct virtqueue *q, u16 index)
{
    atomic_store(&q->avail->ring[q->size], index);
}

// Behind the used ring: which available entry the device wants to hear of.
static u16 avail_event(const struct virtqueue *q)
{
    return *(volatile u16 *)&q->used->ring[q->size];
}

void virtqueue_tell(struct virtqueue *q)
{
    u16 index = q->avail->index, fresh = index - q->told;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wanted = has_event_index(q) ? (u16)(index - avail_event(q) - 1) < fresh
                                     : !(q->used->flags & USED_NO_NOTIFY);
    q->told = index;
    if (wanted)
        q->device->ops->notify(q->device, q);
}

void virtqueue_ask(struct virtqueue *q, u16 after)
{
    if (has_event_index(q))
        set_used_event(q, (u16)(q->seen_used + (after ? after - 1 : FAR)));
    else
        atomic_store(&q->avail->flags, after ? 0 : AVAIL_NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtqueue_event_init(struct virtqueue *q)
{
    if (!has_event_index(q))
        return;
    q->avail->flags = 0;  // must stay so (2.7.10.1)
    virtqueue_ask(q, 0);
}
