// SPDX-License-Identifier: BSD-2-Clause
// memory_map.h: the memory of the machine, gathered by whoever reads what the boot loader says, into boot_info.
#pragma once

#include "core/platform.h"

#define MEMORY_ADDRESS_MAX BIT(46)  // no address beyond what the direct map can show

// Between the first two: any number of ranges in any order. memory_map_end fills in boot_info.mem, or ends the machine
// if none is RAM.
void memory_map_begin(void);
void memory_map_add(phys_t start, u64 size, enum mem_kind kind);
void memory_map_end(void);
// Where the root image lies; empty: there is none. => Ends the machine if that cannot be.
void memory_map_set_image(phys_t start, phys_t end);
