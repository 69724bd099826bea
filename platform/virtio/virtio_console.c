// SPDX-License-Identifier: BSD-2-Clause
// virtio_console.c: the first port of a console device (VIRTIO 1.2, 5.3) as control channel, where there is no port of
// the old kind. Output only, one line at a time; it works before there is an allocator and in a panic.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/platform.h"
#include "platform/virtio/virtio.h"

#define TRANSMIT_QUEUE 1
#define LINE_MAX 512
#define TRIES_MAX 100000000u  // turns of the loop that waits for the device; it takes some hundred

static struct {
    bool looked;
    bool ready;
    struct virtio_device device;
    struct virtqueue queue;
} console;
static char page[PAGE_SIZE] __attribute__((section(".bss_page_aligned"), aligned(4096)));

static void look_at(phys_t base, u64 size, int irq)
{
    struct virtio_device *d = &console.device;
    if (console.ready || virtio_mmio_probe(d, base, size, irq) || d->id != VIRTIO_ID_CONSOLE)
        return;
    if (virtio_start(d, 0) || virtqueue_init(&console.queue, d, TRANSMIT_QUEUE, page)) {
        virtio_stop(d);
        return;
    }
    virtio_ready(d);
    console.ready = true;
}

bool virtio_console_write(const char *text, size_t len)
{
    char *line = page + VIRTQUEUE_BYTES;
    u32 taken;
    if (!console.looked)
        platform_each_virtio_mmio(look_at);
    console.looked = true;
    if (!console.ready)
        return false;
    len = MIN(len, (size_t)LINE_MAX);
    memcpy(line, text, len);
    virtqueue_post_out(&console.queue, 0, virt_to_phys(line), len);
    for (u32 i = 0; i < TRIES_MAX; i++) {
        int id = virtqueue_take(&console.queue, &taken);
        if (id != -EAGAIN) {
            console.ready = id == 0;
            return console.ready;
        }
        arch_cpu_relax();
    }
    return console.ready = false;
}
