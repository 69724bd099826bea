// SPDX-License-Identifier: BSD-2-Clause
// virtio_chain.c: buffers of several descriptors (VIRTIO 1.2, 2.7.5.3), for devices whose requests have parts.
#include "core/atomic.h"
#include "core/log.h"
#include "platform/virtio/virtio.h"
#include "platform/virtio/virtio_ring.h"

void virtqueue_add_chain(struct virtqueue *q, unsigned id, phys_t first, u32 first_len,
                         u32 device_writes)
{
    KASSERT(id < q->size && q->len[id] == 0 && device_writes);
    u16 index = q->avail->index;
    q->desc[id] = (struct virtq_desc){
        .address = first, .len = first_len, .flags = DESC_NEXT, .next = (u16)(id + 1)};
    q->avail->ring[index % q->size] = (u16)id;
    q->len[id] = device_writes;
    q->n_posted++;
    atomic_store(&q->avail->index, (u16)(index + 1));
}
