// SPDX-License-Identifier: BSD-2-Clause
// virtio_irq.c: interrupts of devices that want them: a line of memory-mapped ones (VIRTIO 1.2, 4.2.2); the first message of
// MSI-X of PCI devices (4.1.4.3), or their line where messages do not reach us (4.1.4.5).
#include "core/platform.h"
#include "platform/pci.h"
#include "platform/virtio/virtio.h"

enum { MMIO_INTERRUPT_STATUS = 0x60, MMIO_INTERRUPT_ACK = 0x64 };
enum { PCI_MSIX_CONFIG = 0x10, NO_VECTOR = 0xffff };

static int set_pci(struct virtio_device *d, void (*handler)(void *), void *arg)
{
    int way = pci_set_interrupt(d->function, PCI_MSIX | (d->isr ? PCI_LINE : 0), handler, arg);
    if (way == PCI_MSIX) {
        *(volatile u16 *)(d->regs + PCI_MSIX_CONFIG) = NO_VECTOR;
        d->msix = true;
    }
    return MIN(way, 0);
}

int virtio_set_interrupt(struct virtio_device *d, void (*handler)(void *), void *arg)
{
    if (d->function)
        return set_pci(d, handler, arg);
    return d->irq < 0 ? -ENODEV : platform_irq_request((unsigned)d->irq, handler, arg);
}

void virtio_ack_interrupt(struct virtio_device *d)
{
    if (d->function && !d->msix)
        (void)*d->isr;
    else if (!d->function)
        *(volatile u32 *)(d->regs + MMIO_INTERRUPT_ACK) =
            *(volatile u32 *)(d->regs + MMIO_INTERRUPT_STATUS);
}
