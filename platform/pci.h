// SPDX-License-Identifier: BSD-2-Clause
// pci.h: configuration space of PCI functions (PCI Local Bus Specification 3.0, chapter 6). A function is named by
// bus << 8 | device << 3 | function.
#pragma once

#include "core/base.h"

u32 pci_read32(u32 function, u32 offset);  // offset is a multiple of 4
void pci_write32(u32 function, u32 offset, u32 value);

// Calls found(function, arg) for each function of bus 0, where monitors put theirs. Nothing without a bus.
void pci_each_function(void (*found)(u32 function, void *arg), void *arg);
// Physical address of a memory base address register. => 0 if it has none.
phys_t pci_bar(u32 function, u32 bar);
// Offsets of the vendor-specific capabilities, at most max. => How many; a list that bites its tail ends too.
u32 pci_vendor_caps(u32 function, u8 *caps, u32 max);
// Weak, of machines whose firmware may have left that to us (aarch64/pci_place.c): gives addresses to all registers of the
// function that have none; the CPU's address for one on the bus.
void pci_place(u32 function) __weak;
phys_t pci_cpu_address(u64 bus_address) __weak;
void pci_enable(u32 function);  // memory accesses, in both directions
// The first entry of the function's table of MSI-X messages (PCI 3.0, 6.8.2), mapped. => NULL: it has none
volatile u32 *pci_msix_entry(u32 function);
void pci_msix_enable(u32 function);
