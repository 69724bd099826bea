// SPDX-License-Identifier: BSD-2-Clause
// virtio_mmio.c: memory-mapped registers (VIRTIO 1.2, 4.2), version 2 and the legacy version 1 (4.2.4).
#include "arch/mmu.h"
#include "core/platform.h"
#include "platform/virtio/virtio.h"

enum {
    MAGIC = 0x00,
    VERSION = 0x04,
    DEVICE_ID = 0x08,
    DEVICE_FEATURES = 0x10,
    DEVICE_FEATURES_SEL = 0x14,
    DRIVER_FEATURES = 0x20,
    DRIVER_FEATURES_SEL = 0x24,
    GUEST_PAGE_SIZE = 0x28,  // legacy
    QUEUE_SEL = 0x30,
    QUEUE_NUM_MAX = 0x34,
    QUEUE_NUM = 0x38,
    QUEUE_ALIGN = 0x3c,  // legacy
    QUEUE_PFN = 0x40,    // legacy
    QUEUE_READY = 0x44,
    QUEUE_NOTIFY = 0x50,
    STATUS = 0x70,
    QUEUE_DESC = 0x80,
    QUEUE_DRIVER = 0x90,
    QUEUE_DEVICE = 0xa0,
    REGISTERS = 0x100,  // behind them the device's own configuration
};
#define MAGIC_VALUE 0x74726976  // "virt"
#define LEGACY_ALIGN 32

static u32 get(struct virtio_device *d, u32 reg) { return *(volatile u32 *)(d->regs + reg); }

static void set(struct virtio_device *d, u32 reg, u32 value)
{
    *(volatile u32 *)(d->regs + reg) = value;
}

static void set_address(struct virtio_device *d, u32 reg, volatile void *at)
{
    phys_t pa = virt_to_phys((const void *)at);
    set(d, reg, (u32)pa);
    set(d, reg + 4, pa >> 32);
}

static u8 get_status(struct virtio_device *d) { return get(d, STATUS); }

static void set_status(struct virtio_device *d, u8 status) { set(d, STATUS, status); }

static u64 get_features(struct virtio_device *d)
{
    set(d, DEVICE_FEATURES_SEL, 1);
    u64 high = d->legacy ? 0 : get(d, DEVICE_FEATURES);
    set(d, DEVICE_FEATURES_SEL, 0);
    return high << 32 | get(d, DEVICE_FEATURES);
}

static void set_features(struct virtio_device *d, u64 features)
{
    if (!d->legacy) {
        set(d, DRIVER_FEATURES_SEL, 1);
        set(d, DRIVER_FEATURES, features >> 32);
    }
    set(d, DRIVER_FEATURES_SEL, 0);
    set(d, DRIVER_FEATURES, (u32)features);
}

static int set_queue(struct virtio_device *d, struct virtqueue *q)
{
    if (d->legacy)
        set(d, GUEST_PAGE_SIZE, PAGE_SIZE);
    set(d, QUEUE_SEL, q->index);
    if (get(d, QUEUE_NUM_MAX) < q->size)
        return -EIO;
    set(d, QUEUE_NUM, q->size);
    if (d->legacy) {
        set(d, QUEUE_ALIGN, LEGACY_ALIGN);
        set(d, QUEUE_PFN, virt_to_phys(q->desc) >> PAGE_SHIFT);
        return 0;
    }
    set_address(d, QUEUE_DESC, q->desc);
    set_address(d, QUEUE_DRIVER, q->avail);
    set_address(d, QUEUE_DEVICE, q->used);
    set(d, QUEUE_READY, 1);
    return 0;
}

static void notify(struct virtio_device *d, struct virtqueue *q) { set(d, QUEUE_NOTIFY, q->index); }

static u32 get_config(struct virtio_device *d, u32 offset) { return get(d, REGISTERS + offset); }

static void set_config(struct virtio_device *d, u32 offset, u32 value)
{
    set(d, REGISTERS + offset, value);
}

static const struct virtio_ops mmio_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .set_queue = set_queue,
    .notify = notify,
    .get_config = get_config,
    .set_config = set_config,
};

int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size, int irq)
{
    const u64 needed = REGISTERS + VIRTIO_CONFIG_BYTES;
    if (size < needed || !IS_ALIGNED(base, 4) || !platform_is_device(base, needed))
        return -ENODEV;
    *d =
        (struct virtio_device){.ops = &mmio_ops, .regs = arch_map_device(base, needed), .irq = irq};
    u32 version = get(d, VERSION);
    if (get(d, MAGIC) != MAGIC_VALUE || version < 1 || version > 2)
        return -ENODEV;
    d->id = get(d, DEVICE_ID);
    d->legacy = version == 1;
    return d->id ? 0 : -ENODEV;
}
