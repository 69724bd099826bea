// SPDX-License-Identifier: BSD-2-Clause
// pvh.h: a kernel file and the start information it is entered with.
#pragma once

#include "boot/boot.h"
#include "platform/x86_64/start_info.h"

// All that the kernel is told, in one piece below the first GiB: it copies what it needs.
enum { PVH_RANGES = 128 };
struct pvh {
    struct hvm_start_info info;
    struct hvm_modlist_entry module;
    struct hvm_memmap_entry map[PVH_RANGES];
    char words[RECORD_WORDS + 16];
};

struct pvh_kernel {
    const uint8_t *file;
    size_t bytes;
    uint32_t start, end;  // where it wants to lie, [start, end)
    uint32_t entry;
};

// Reads a kernel's headers. => Ends in fail() when it is none that can be entered by PVH
void pvh_check_kernel(struct pvh_kernel *kernel, const void *file, size_t bytes);
// Puts the kernel in its place, which must be free.
void pvh_place_kernel(const struct pvh_kernel *kernel);

// Between the first two: any number of ranges; neighbours of one type join.
void pvh_begin(struct pvh *pvh);
void pvh_add_range(struct pvh *pvh, uint64_t start, uint64_t bytes, uint32_t type);
void pvh_end(struct pvh *pvh, const struct boot_record *record, uint64_t root, uint64_t rsdp);
bool pvh_is_ram(const struct pvh *pvh, uint64_t start, uint64_t end);

// QEMU's debug console, the control channel of the tool (docs/machine.md).
bool debugcon_there(void);
void debugcon_write(const char *text);
