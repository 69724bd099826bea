// SPDX-License-Identifier: BSD-2-Clause
// firmware.c: looks at what firmware and boot loader left in memory. No address, length or checksum of theirs is
// believed: a table that lies outside the memory they listed, or that does not add up, is not there.
#include "arch/mmu.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"

#define FIRST_MIB 0x100000ul

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
    if (end > FIRST_MIB && !listed(MAX(pa, FIRST_MIB), end))
        return NULL;
    if (end > 2 * HUGE_SIZE)  // boot.S mapped the first 4 MiB
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

void machine_add_cpu(struct machine *m, u32 apic_id)
{
    for (u32 i = 0; i < m->n_cpus; i++) {
        if (m->cpu_apic_id[i] == apic_id)
            return;
    }
    if (m->n_cpus < ARRAY_SIZE(m->cpu_apic_id))
        m->cpu_apic_id[m->n_cpus++] = apic_id;
    else
        m->n_cpus_left_out++;
}

void machine_add_ioapic(struct machine *m, phys_t address, u32 gsi_base)
{
    for (u32 i = 0; i < m->n_ioapics; i++) {
        if (m->ioapic[i].address == address)
            return;
    }
    if (address && m->n_ioapics < ARRAY_SIZE(m->ioapic))
        m->ioapic[m->n_ioapics++] = (struct ioapic){.address = address, .gsi_base = gsi_base};
}
