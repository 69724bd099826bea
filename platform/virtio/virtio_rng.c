// SPDX-License-Identifier: BSD-2-Clause
// virtio_rng.c: the entropy device (VIRTIO 1.2, 5.4). One buffer is always with the device; when somebody asks for
// random bytes and it has come back, it is handed out, erased, and given to the device again. Nobody waits here.
#include <string.h>

#include "arch/mmu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/random_source.h"
#include "mm/page.h"
#include "platform/virtio/virtio.h"

#define BUFFER_BYTES 32  // a key of the generator

static struct {
    struct spinlock lock;
    struct virtio_device *device;  // [lock] NULL: none, or one that has lied
    struct virtqueue queue;        // [lock]
    u8 *buffer;                    // the device's while it is posted
} rng;

static size_t take(void *to, size_t len)
{
    u32 filled;
    int id = virtqueue_take(&rng.queue, &filled);
    if (id == -EAGAIN)
        return 0;
    if (id < 0 || filled == 0) {
        log_warn("virtio-rng: the device breaks the rules and is not used any more");
        virtio_stop(rng.device);
        rng.device = NULL;
        return 0;
    }
    size_t n = MIN(len, (size_t)filled);
    memcpy(to, rng.buffer, n);
    memset(rng.buffer, 0, BUFFER_BYTES);
    virtqueue_post_in(&rng.queue, 0, virt_to_phys(rng.buffer), BUFFER_BYTES);
    return n;
}

static size_t source(void *to, size_t len)
{
    size_t n = 0;
    spin_lock(&rng.lock);
    if (rng.device)
        n = take(to, len);
    spin_unlock(&rng.lock);
    return n;
}

int virtio_rng_start(struct virtio_device *d)
{
    if (rng.device)
        return -EBUSY;
    struct page *page = page_alloc(0, PAGE_ZERO);
    if (!page)
        return -ENOMEM;
    int err = virtio_start(d, 0);
    if (!err)
        err = virtqueue_init(&rng.queue, d, 0, page_address(page));
    if (err) {
        virtio_stop(d);
        page_put(page);
        return err;
    }
    virtio_ready(d);
    rng.buffer = (u8 *)page_address(page) + VIRTQUEUE_BYTES;
    rng.device = d;
    virtqueue_post_in(&rng.queue, 0, virt_to_phys(rng.buffer), BUFFER_BYTES);
    random_source_register(source);
    return 0;
}
