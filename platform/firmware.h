// SPDX-License-Identifier: BSD-2-Clause
// firmware.h: looks at what firmware and boot loader left in memory.
#pragma once

#include "platform/memory_map.h"

// No table is longer than a MiB, and no address beyond what the direct map can show.
#define FIRMWARE_TABLE_MAX 0x100000ul
#define FIRMWARE_ADDRESS_MAX MEMORY_ADDRESS_MAX
// Of the architecture: below the first, tables may lie that no memory map lists; below the second, everything is mapped.
extern const phys_t firmware_low_end, firmware_mapped_end;

// Makes [pa, pa + len) readable. => NULL unless it lies in the memory map (of whatever kind) or below firmware_low_end.
const void *firmware_map(phys_t pa, size_t len_bytes);
// The checksum of all firmware tables: the bytes add up to 0 modulo 256.
bool firmware_sums_to_zero(const void *bytes, size_t len);
