// SPDX-License-Identifier: BSD-2-Clause
// pci.c: PCI configuration space through the PC's two ports (configuration mechanism 1).
#include "platform/pci.h"

#include "arch_impl/x86.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE BIT(31)

u32 pci_read32(u32 function, u32 offset)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | function << 8 | (offset & 0xfc));
    return inl(CONFIG_DATA);
}

void pci_write32(u32 function, u32 offset, u32 value)
{
    outl(CONFIG_ADDRESS, CONFIG_ENABLE | function << 8 | (offset & 0xfc));
    outl(CONFIG_DATA, value);
}
