// SPDX-License-Identifier: BSD-2-Clause
// virtio_pci.c: devices on a PCI bus (VIRTIO 1.2, 4.1), by their capabilities; legacy-only devices are not used.
#include "arch/mmu.h"
#include "core/log.h"
#include "core/platform.h"
#include "platform/pci.h"
#include "platform/virtio/virtio.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_MODERN \
    0x1040  // plus the kind; transitional devices have numbers of their own from 0x1000 on
#define DEVICE_TRANSITIONAL 0x1000

#define DRIVEN                                                                                 \
    (BIT(VIRTIO_ID_RNG) | BIT(VIRTIO_ID_BALLOON) | BIT(VIRTIO_ID_NET) | BIT(VIRTIO_ID_BLOCK) | \
     BIT(VIRTIO_ID_SCSI))
#define MAX_VENDOR_CAPS 16

enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4 };
enum {  // struct virtio_pci_common_cfg
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    DEVICE_STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_MSIX_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    COMMON_BYTES = 0x38,
};

static volatile u16 *reg16(struct virtio_device *d, u32 reg)
{
    return (volatile u16 *)(d->regs + reg);
}
static volatile u32 *reg32(struct virtio_device *d, u32 reg)
{
    return (volatile u32 *)(d->regs + reg);
}

static void set_address(struct virtio_device *d, u32 reg, volatile void *at)
{
    phys_t pa = virt_to_phys((const void *)at);
    *reg32(d, reg) = (u32)pa;
    *reg32(d, reg + 4) = pa >> 32;
}

static u8 get_status(struct virtio_device *d) { return d->regs[DEVICE_STATUS]; }

static void set_status(struct virtio_device *d, u8 status) { d->regs[DEVICE_STATUS] = status; }

static u64 get_features(struct virtio_device *d)
{
    *reg32(d, DEVICE_FEATURE_SELECT) = 1;
    u64 high = *reg32(d, DEVICE_FEATURE);
    *reg32(d, DEVICE_FEATURE_SELECT) = 0;
    return high << 32 | *reg32(d, DEVICE_FEATURE);
}

static void set_features(struct virtio_device *d, u64 features)
{
    *reg32(d, DRIVER_FEATURE_SELECT) = 1;
    *reg32(d, DRIVER_FEATURE) = features >> 32;
    *reg32(d, DRIVER_FEATURE_SELECT) = 0;
    *reg32(d, DRIVER_FEATURE) = (u32)features;
}

static int set_queue(struct virtio_device *d, struct virtqueue *q)
{
    *reg16(d, QUEUE_SELECT) = q->index;
    if (*reg16(d, QUEUE_SIZE) < q->size)
        return -EIO;
    *reg16(d, QUEUE_SIZE) = q->size;
    if (d->msix)
        *reg16(d, QUEUE_MSIX_VECTOR) = 0;
    q->notify_offset = *reg16(d, QUEUE_NOTIFY_OFF);
    if ((u64)q->notify_offset * d->notify_multiplier + 2 > PAGE_SIZE)
        return -EIO;
    set_address(d, QUEUE_DESC, q->desc);
    set_address(d, QUEUE_DRIVER, q->avail);
    set_address(d, QUEUE_DEVICE, q->used);
    *reg16(d, QUEUE_ENABLE) = 1;
    return 0;
}

static void notify(struct virtio_device *d, struct virtqueue *q)
{
    *(volatile u16 *)(d->notify + q->notify_offset * d->notify_multiplier) = q->index;
}

static u32 get_config(struct virtio_device *d, u32 offset)
{
    return *(volatile u32 *)(d->config + offset);
}

static void set_config(struct virtio_device *d, u32 offset, u32 value)
{
    *(volatile u32 *)(d->config + offset) = value;
}

// The kind of device behind a PCI device number, or 0.
static u32 kind_of(u32 device)
{
    static const u8 transitional[] = {VIRTIO_ID_NET,     VIRTIO_ID_BLOCK, VIRTIO_ID_BALLOON,
                                      VIRTIO_ID_CONSOLE, VIRTIO_ID_SCSI,  VIRTIO_ID_RNG};
    if (device - DEVICE_TRANSITIONAL < ARRAY_SIZE(transitional))
        return transitional[device - DEVICE_TRANSITIONAL];
    return device > DEVICE_MODERN ? device - DEVICE_MODERN : 0;
}

static const struct virtio_ops pci_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .set_queue = set_queue,
    .notify = notify,
    .get_config = get_config,
    .set_config = set_config,
};

// The area that a capability names. => NULL unless it lies where registers may lie.
static volatile u8 *map_area(u32 function, u32 cap, u32 len)
{
    u32 bar = pci_read32(function, cap + 4) & 0xff;
    u32 offset = pci_read32(function, cap + 8), given = pci_read32(function, cap + 12);
    phys_t base = pci_bar(function, bar);
    if (!base || given < MIN(len, 4u) || !platform_is_device(base + offset, len))
        return NULL;
    return arch_map_device(base + offset, len);
}

int virtio_pci_probe(struct virtio_device *d, u32 function)
{
    u32 ids = pci_read32(function, 0), device = ids >> 16;
    if ((ids & 0xffff) != VENDOR_VIRTIO || device < 0x1000 || device > 0x107f)
        return -ENODEV;
    *d = (struct virtio_device){.ops = &pci_ops, .function = function};
    d->id = kind_of(device);
    if (!(BIT(d->id) & DRIVEN))
        return -ENODEV;
    u8 caps[MAX_VENDOR_CAPS];
    u32 n = pci_caps(function, PCI_CAP_VENDOR, caps, MAX_VENDOR_CAPS);
    for (u32 i = 0; i < n; i++) {
        u32 kind = pci_read32(function, caps[i]) >> 24;
        if (kind == CAP_COMMON && !d->regs) {
            d->regs = map_area(function, caps[i], COMMON_BYTES);
        } else if (kind == CAP_NOTIFY && !d->notify) {
            d->notify = map_area(function, caps[i], PAGE_SIZE);
            d->notify_multiplier = pci_read32(function, caps[i] + 16);
        } else if (kind == CAP_ISR && !d->isr) {
            d->isr = map_area(function, caps[i], 1);
        } else if (kind == CAP_DEVICE && !d->config) {
            d->config = map_area(function, caps[i], VIRTIO_CONFIG_BYTES);
        }
    }
    if (!d->regs || !d->notify || (!d->config && d->id != VIRTIO_ID_RNG))
        return -ENODEV;
    pci_enable(function);
    return 0;
}
