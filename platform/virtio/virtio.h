// SPDX-License-Identifier: BSD-2-Clause
// virtio.h: devices of the Virtual I/O Device standard (VIRTIO 1.2, OASIS), over PCI or memory-mapped registers.
//
// A driver starts its device with the features that it knows, gives it a queue in a page of memory, and says
// that it is ready. The device is not trusted: what it writes into a queue is looked at in virtqueue_take(), which
// hands out only descriptors that the driver has posted and never a length beyond theirs.
#pragma once

#include "core/base.h"

struct virtio_device;
struct virtqueue;

enum virtio_id { VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4, VIRTIO_ID_BALLOON = 5 };
#define VIRTIO_F_VERSION_1 BIT(32)

// What the two transports do differently.
struct virtio_ops {
    u8 (*get_status)(struct virtio_device *d);
    void (*set_status)(struct virtio_device *d, u8 status);
    u64 (*get_features)(struct virtio_device *d);
    void (*set_features)(struct virtio_device *d, u64 features);
    int (*set_queue)(struct virtio_device *d,
                     struct virtqueue *q);  // -EIO: the device has none such
    void (*notify)(struct virtio_device *d, struct virtqueue *q);
    // A word of the device's own configuration.
    u32 (*get_config)(struct virtio_device *d, u32 offset);
    void (*set_config)(struct virtio_device *d, u32 offset, u32 value);
};
#define VIRTIO_CONFIG_BYTES 16  // as much of it as can be reached

struct virtio_device {
    const struct virtio_ops *ops;
    enum virtio_id id;
    u64 features;  // agreed on
    u64 offered;
    bool legacy;            // before VIRTIO 1.0: memory-mapped version 1
    volatile u8 *regs;      // memory-mapped: all registers; PCI: common configuration
    volatile u8 *notify;    // PCI: notification area
    volatile u8 *config;    // device configuration
    u32 notify_multiplier;  // PCI: bytes between two queues' places in it
};

// Resets the device and agrees on features: those of `wanted` that it has. => -EIO: it does not answer or refuses
int virtio_start(struct virtio_device *d, u64 wanted);
void virtio_ready(struct virtio_device *d);  // behind the last virtqueue_init
void virtio_stop(struct virtio_device *d);   // for good: the device has lied or is no use

#define VIRTQUEUE_SIZE 8  // descriptors; a power of two

struct virtqueue {
    struct virtio_device *device;
    u16 index;
    u16 notify_offset;        // PCI
    u16 n_posted;             // descriptors that the device has
    u16 seen_used;            // used entries taken so far, modulo 2^16
    u32 len[VIRTQUEUE_SIZE];  // bytes of the posted buffer; 0: not posted
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    volatile struct virtq_used *used;
};

// The first VIRTQUEUE_BYTES of page become the queue's rings; the rest of it is the driver's. No interrupts are asked
// for. => -EIO
#define VIRTQUEUE_BYTES 256
int virtqueue_init(struct virtqueue *q, struct virtio_device *d, unsigned index, void *page);
// Gives the device a buffer to fill. => Descriptor `id` is not posted now.
void virtqueue_post_in(struct virtqueue *q, unsigned id, phys_t buffer, u32 len);
// Gives the device a buffer to read; it comes back with a length of 0.
void virtqueue_post_out(struct virtqueue *q, unsigned id, phys_t buffer, u32 len);
// => The descriptor that came back, *len bytes filled; -EAGAIN none yet; -EIO the device does not keep to the rules
int virtqueue_take(struct virtqueue *q, u32 *len);

void virtio_init(void);  // finds the devices and starts their drivers
// => 0 and *d filled in, or -ENODEV.
int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size);
int virtio_pci_probe(struct virtio_device *d, u32 pci_function);

int virtio_rng_start(struct virtio_device *d);
int virtio_balloon_start(struct virtio_device *d);
// virtio_console.c: a line on the control channel. => false: the machine has no such device
bool virtio_console_write(const char *text, size_t len);
