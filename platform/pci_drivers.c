// SPDX-License-Identifier: BSD-2-Clause
// pci_drivers.c: which driver a PCI function gets, and what lies behind bridges, where q35's root ports have their cards.
#include "platform/pci_drivers.h"

#include "core/log.h"
#include "platform/pci.h"

#define CLASS 0x08  // in bits 8 to 31
#define CLASS_BRIDGE 0x060400
#define BUSES 0x18    // primary, secondary, subordinate
#define MAX_BUSES 64  // bridges that are followed: a bridge that leads to itself ends too

static const struct {
    u32 id;  // device << 16 | vendor
    int (*start)(u32 function);
} drivers[] = {
    {0x100e8086, e1000_start},  // 82540EM
    {0x100c8086, e1000_start},  // 82544GC
    {0x100f8086, e1000_start},  // 82545EM
    {0x10d38086, e1000_start},  // 82574L
    {0x07b015ad, vmxnet3_start}, {0x07c015ad, pvscsi_start},
    {0x00111b36, pvpanic_start}, {0x25ab8086, i6300esb_start},
};

// Those of a whole class of devices.
static const struct {
    u32 class;  // class, subclass, programming interface
    int (*start)(u32 function);
} class_drivers[] = {
    {0x010802, nvme_start},
    {0x010601, ahci_start},
};

static void behind_bridge(u32 function, void (*found)(u32 function, void *arg))
{
    static u32 n_followed;
    if (pci_open_bridge)
        pci_open_bridge(function);
    u32 bus = pci_read32(function, BUSES) >> 8 & 0xff;
    if (bus > function >> 8 && n_followed++ < MAX_BUSES)
        pci_each_function(bus, found, NULL);
}

void pci_driver_start(u32 function, void (*found)(u32 function, void *arg))
{
    u32 id = pci_read32(function, 0), class = pci_read32(function, CLASS) >> 8;
    int err = 0;
    if (class == CLASS_BRIDGE)
        behind_bridge(function, found);
    for (u32 i = 0; i < ARRAY_SIZE(drivers); i++)
        err = drivers[i].id == id ? drivers[i].start(function) : err;
    for (u32 i = 0; i < ARRAY_SIZE(class_drivers); i++)
        err = class_drivers[i].class == class ? class_drivers[i].start(function) : err;
    if (err < 0)
        log_warn("PCI %02x:%02x.%x (%04x:%04x) is not used: error %d", function >> 8,
                 function >> 3 & 31, function & 7, id & 0xffff, id >> 16, -err);
}
