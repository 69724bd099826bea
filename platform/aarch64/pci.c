// SPDX-License-Identifier: BSD-2-Clause
// pci.c: PCI configuration space as memory (PCI Express, "enhanced configuration access mechanism"): 4 KiB a function.
#include "platform/pci.h"

#include "arch/mmu.h"
#include "platform/aarch64/platform_a64.h"

// Bus 0 is all that anybody asks for. => NULL: no such function, or no bus
static volatile char *config(u32 function)
{
    static volatile char *bus0;
    if (function >= 256 || machine.ecam.size < 256 * PAGE_SIZE)
        return NULL;
    if (!bus0)
        bus0 = arch_map_device(machine.ecam.base, 256 * PAGE_SIZE);
    return bus0 + function * PAGE_SIZE;
}

u32 pci_read32(u32 function, u32 offset)
{
    volatile char *space = config(function);
    return space ? mmio_read32(space, offset) : UINT32_MAX;
}

void pci_write32(u32 function, u32 offset, u32 value)
{
    volatile char *space = config(function);
    if (space)
        mmio_write32(space, offset, value);
}
