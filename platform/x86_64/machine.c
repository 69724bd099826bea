// SPDX-License-Identifier: BSD-2-Clause
// machine.c: CPUs and interrupt controllers as firmware tells them, by whichever tables; each is told of once or twice.
#include "platform/x86_64/platform_x86.h"

// boot.S mapped the first 4 MiB; a BIOS leaves its tables in the first of them.
const phys_t firmware_low_end = 0x100000, firmware_mapped_end = 2 * HUGE_SIZE;

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
