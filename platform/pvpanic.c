// SPDX-License-Identifier: BSD-2-Clause
// pvpanic.c: tells QEMU of a panic (docs/specs/pvpanic of QEMU), so that it can keep the machine, start it again, or tell somebody. The
// device is a PCI function with one register, or a port of a PC that is told of by the configuration device. Only in the kernel
// with devices (mk/kernel.mk).
#include "arch/mmu.h"
#include "core/platform.h"
#include "platform/fw_cfg.h"
#include "platform/mmio.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

#define PANICKED 1  // in what the register says it can be told, and in what it is told

static volatile u8 *event;

int pvpanic_start(u32 function)
{
    phys_t base = pci_bar(function, 0);
    if (!base || !platform_is_device(base, 1))
        return -ENODEV;
    pci_enable(function);
    volatile u8 *regs = arch_map_device(base, 1);
    if (!(*regs & PANICKED))
        return -ENODEV;
    event = regs;
    return 0;
}

void platform_panicked(void)
{
    if (event)
        *event = PANICKED;
    else if (fw_cfg_pvpanic)
        fw_cfg_pvpanic(PANICKED);
}
