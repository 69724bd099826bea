// SPDX-License-Identifier: BSD-2-Clause
// firmware.c: looks at what firmware and boot loader left in memory. No address, length or checksum of theirs is
// believed: a table that lies outside the memory they listed, or that does not add up, is not there.
#include "platform/firmware.h"

#include "arch/mmu.h"

static bool listed(phys_t start, phys_t end)
{
    for (u32 i = 0; i < boot_info.n_mem && start < end; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        if (r->start <= start && start < r->end)
            start = r->end;  // ranges are sorted: the rest may lie in the next one
    }
    return start >= end;
}

const void *firmware_map(phys_t pa, size_t len_bytes)
{
    phys_t end = pa + len_bytes;
    if (!pa || !len_bytes || len_bytes > FIRMWARE_TABLE_MAX || end < pa ||
        end > FIRMWARE_ADDRESS_MAX)
        return NULL;
    if (end > firmware_low_end && !listed(MAX(pa, firmware_low_end), end))
        return NULL;
    if (end > firmware_mapped_end)
        arch_map_ram(pa, end);
    return phys_to_virt(pa);
}

bool firmware_sums_to_zero(const void *bytes, size_t len)
{
    const u8 *p = bytes;
    u8 sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += p[i];
    return sum == 0;
}
