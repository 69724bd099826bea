// SPDX-License-Identifier: BSD-2-Clause
// pci_line.c: the line of a PCI function on a PC. Without an AML interpreter _PRT cannot be read; what the firmware has written into the
// function's interrupt line register (PCI 3.0, 6.2.4) is the input of the old controllers, and the I/O APIC's of that number has
// it too. Only in the kernel with devices (mk/kernel.mk).
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
