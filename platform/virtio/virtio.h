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

enum virtio_id {
    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_SCSI = 8
};
#define VIRTIO_F_ANY_LAYOUT BIT(27)
#define VIRTIO_F_EVENT_IDX BIT(29)
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
#define VIRTIO_CONFIG_BYTES 64  // as much of it as can be reached

struct virtio_device {
    const struct virtio_ops *ops;
    enum virtio_id id;
    u64 features;  // agreed on
    u64 offered;
    bool legacy;            // before VIRTIO 1.0: memory-mapped version 1
    volatile u8 *regs;      // memory-mapped: all registers; PCI: common configuration
    volatile u8 *notify;    // PCI: notification area
    volatile u8 *config;    // device configuration
    volatile u8 *isr;       // PCI: reading it ends an interrupt by line; NULL: none
    u32 notify_multiplier;  // PCI: bytes between two queues' places in it
    u32 function;           // PCI; 0: memory-mapped
    bool msix;              // PCI: its queues interrupt by the first message
    int irq;                // memory-mapped: interrupt line, -1: not known
};

// Resets the device and agrees on features: those of `wanted` that it has. => -EIO: it does not answer or refuses
int virtio_start(struct virtio_device *d, u64 wanted);
void virtio_ready(struct virtio_device *d);  // behind the last virtqueue_init
void virtio_stop(struct virtio_device *d);   // for good: the device has lied or is no use

#define VIRTQUEUE_SIZE 8  // descriptors of a small queue; a power of two

struct virtqueue {
    struct virtio_device *device;
    u16 index;
    u16 size;           // descriptors; a power of two
    u16 notify_offset;  // PCI
    u16 n_posted;       // descriptors that the device has
    u16 seen_used;      // used entries taken so far, modulo 2^16
    u16 told;  // virtio_event.c: available entries that the device has been told of, modulo 2^16
    u32 *len;  // by descriptor: bytes of the posted buffer; 0: not posted
    u32 small_len[VIRTQUEUE_SIZE];
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    volatile struct virtq_used *used;
};

// The first VIRTQUEUE_BYTES of page become the queue's rings; the rest of it is the driver's. No interrupts are asked
// for. => -EIO
#define VIRTQUEUE_BYTES 256
int virtqueue_init(struct virtqueue *q, struct virtio_device *d, unsigned index, void *page);
// A queue of `size` descriptors in memory of virtqueue_bytes(size) bytes, page aligned and zero; len has size entries of 0.
// => -EIO: the device has none of that size
int virtqueue_init_large(struct virtqueue *q, struct virtio_device *d, unsigned index, void *memory,
                         u16 size, u32 *len);
size_t virtqueue_bytes(u16 size);
void virtqueue_set_interrupts(struct virtqueue *q, bool on);
// As virtqueue_post_*, but the device is told of all of them by virtqueue_kick.
void virtqueue_add(struct virtqueue *q, unsigned id, phys_t buffer, u32 len, bool device_writes);
// virtio_chain.c: the same for descriptor id, which the device reads, and those that it leads to (id + 1 is the next, set up by
// the driver); device_writes: bytes that it may fill in all of them, at least 1.
void virtqueue_add_chain(struct virtqueue *q, unsigned id, phys_t first, u32 first_len,
                         u32 device_writes);
void virtqueue_kick(struct virtqueue *q);
bool virtqueue_has_used(const struct virtqueue *q);  // virtqueue_take would give something
// virtio_event.c: for drivers that agree on VIRTIO_F_EVENT_IDX; they use these instead of virtqueue_set_interrupts and
// virtqueue_kick. They do the same for a device without it.
void virtqueue_event_init(struct virtqueue *q);  // behind virtqueue_init_large: no interrupts
// Asks for an interrupt when `after` more entries have been used than are taken now; 0: for none. => virtqueue_has_used is to be
// asked afterwards. A device without the event index interrupts at each.
void virtqueue_ask(struct virtqueue *q, u16 after);
void virtqueue_tell(
    struct virtqueue *q);  // of what was added since the last time, when the device wants to know
// Gives the device a buffer to fill. => Descriptor `id` is not posted now.
void virtqueue_post_in(struct virtqueue *q, unsigned id, phys_t buffer, u32 len);
// Gives the device a buffer to read; it comes back with a length of 0.
void virtqueue_post_out(struct virtqueue *q, unsigned id, phys_t buffer, u32 len);
// => The descriptor that came back, *len bytes filled; -EAGAIN none yet; -EIO the device does not keep to the rules
int virtqueue_take(struct virtqueue *q, u32 *len);

// virtio_irq.c. Routes the device's interrupt to handler(arg). => Before the first queue; 0, -ENODEV
int virtio_set_interrupt(struct virtio_device *d, void (*handler)(void *), void *arg);
void virtio_ack_interrupt(
    struct virtio_device *d);  // of the handler: the device may raise the next one

void virtio_init(void);  // finds the devices and starts their drivers
// => 0 and *d filled in, or -ENODEV.
int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size, int irq);
int virtio_pci_probe(struct virtio_device *d, u32 pci_function);

int virtio_rng_start(struct virtio_device *d);
int virtio_balloon_start(struct virtio_device *d);
// virtio_console.c: a line on the control channel. => false: the machine has no such device
bool virtio_console_write(const char *text, size_t len);
int virtio_net_start(struct virtio_device *d) __weak;  // of the kernel with the network and disks
int virtio_blk_start(struct virtio_device *d) __weak;
int virtio_scsi_start(struct virtio_device *d) __weak;
