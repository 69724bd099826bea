// SPDX-License-Identifier: BSD-2-Clause
// start_info.h: what a boot loader hands to a PVH kernel (Xen public/arch-x86/hvm/start_info.h). Included by the kernel,
// which believes none of it, and by our own loaders (boot/).
#pragma once

#include <stdint.h>

#define HVM_START_MAGIC 0x336ec578

struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
    uint64_t memmap_paddr;  // from version 1 on
    uint32_t memmap_entries, reserved;
};

struct hvm_modlist_entry {
    uint64_t paddr, size, cmdline_paddr, reserved;
};

// Types of memory, as in E820.
enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4, E820_BAD = 5 };

struct hvm_memmap_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
