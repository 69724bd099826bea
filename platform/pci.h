// SPDX-License-Identifier: BSD-2-Clause
// pci.h: configuration space of PCI functions (PCI Local Bus Specification 3.0, chapter 6). A function is named by
// bus << 8 | device << 3 | function.
#pragma once

#include "core/base.h"

u32 pci_read32(u32 function, u32 offset);  // offset is a multiple of 4
void pci_write32(u32 function, u32 offset, u32 value);
// Of the kernel with devices, for registers that must be written in their own width: offset is a multiple of that.
void pci_write16(u32 function, u32 offset, u16 value);
void pci_write8(u32 function, u32 offset, u8 value);

// Calls found(function, arg) for each function of a bus; monitors put theirs on bus 0. Nothing on a machine without PCI.
void pci_each_function(u32 bus, void (*found)(u32 function, void *arg), void *arg);
// Physical address of a memory base address register. => 0 if it has none.
phys_t pci_bar(u32 function, u32 bar);
// Offsets of the capabilities of one kind, at most max. => How many; a list that bites its tail ends too.
#define PCI_CAP_VENDOR 9
u32 pci_caps(u32 function, u32 kind, u8 *caps, u32 max);
// Weak, of machines whose firmware may have left that to us (aarch64/pci_place.c): gives addresses to all registers of the
// function that have none; the CPU's address for one on the bus.
void pci_place(u32 function) __weak;
phys_t pci_cpu_address(u64 bus_address) __weak;
// Likewise, before what lies behind a bridge is looked at: gives it numbers of buses and a window, if it has none.
void pci_open_bridge(u32 bridge) __weak;
void pci_enable(u32 function);  // memory accesses, in both directions
// pci_irq.c: routes the function's interrupt to fn(arg), in the first way of these, in this order, that it and the machine have.
// A handler on a line is called for others' interrupts too; on the timer all the time. => which; -ENODEV: none
enum { PCI_MSIX = 1, PCI_MSI = 2, PCI_LINE = 4, PCI_TIMER = 8 };
int pci_set_interrupt(u32 function, u32 kinds, void (*fn)(void *), void *arg);
