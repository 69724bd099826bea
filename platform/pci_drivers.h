// SPDX-License-Identifier: BSD-2-Clause
// pci_drivers.h: the drivers of PCI functions that are not virtio's. Only in the kernel with devices (mk/kernel.mk).
#pragma once

#include "core/base.h"

// Of the search for devices (virtio.c): starts the driver of a function, or goes on behind a bridge, where `found` is called for each
// function. Weak: the small kernel has none.
void pci_driver_start(u32 function, void (*found)(u32 function, void *arg)) __weak;

// => 0, -ENODEV it is not one of theirs or no use, -ENOMEM, -EIO it does not answer
int e1000_start(u32 function);
int vmxnet3_start(u32 function);
int pvpanic_start(u32 function);
int i6300esb_start(u32 function);
int nvme_start(u32 function);
int ahci_start(u32 function);
int pvscsi_start(u32 function);
