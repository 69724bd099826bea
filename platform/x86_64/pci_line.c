// SPDX-License-Identifier: BSD-2-Clause
// pci_line.c: the line of a PCI function on a PC. Without an AML interpreter _PRT cannot be read; what the firmware has written into the
// function's interrupt line register (PCI 3.0, 6.2.4) is the input of the old controllers, and the I/O APIC's of that number has
// it too. And writes to configuration space that are narrower than a word. Only in the kernel with devices (mk/kernel.mk).
#include "arch_impl/x86.h"
#include "platform/pci.h"
#include "platform/x86_64/platform_x86.h"

#define INTERRUPT 0x3c  // line in bits 0 to 7, pin in bits 8 to 15
#define LEVEL_LOW 0x0f  // MPS INTI flags: as PCI has it
#define LINES 16

int platform_intx_line(u32 function)
{
    u32 word = pci_read32(function, INTERRUPT), line = word & 0xff;
    if (!(word >> 8 & 0xff) || line == 0 || line >= LINES)
        return -ENODEV;
    if (!machine.isa[line].set) {
        machine.isa[line].gsi = line;
        machine.isa[line].flags = LEVEL_LOW;
        machine.isa[line].set = true;
    }
    return (int)line;
}

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE BIT(31)

static u16 select_register(u32 function, u32 offset)
{
    outl(CONFIG_ADDRESS, (u32)CONFIG_ENABLE | function << 8 | (offset & 0xfc));
    return (u16)(CONFIG_DATA + (offset & 3));
}

void pci_write16(u32 function, u32 offset, u16 value)
{
    outw(select_register(function, offset), value);
}

void pci_write8(u32 function, u32 offset, u8 value)
{
    outb(select_register(function, offset), value);
}
