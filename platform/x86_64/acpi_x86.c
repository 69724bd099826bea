// SPDX-License-Identifier: BSD-2-Clause
// acpi_x86.c: what PCs have in their ACPI tables: CPUs and interrupt controllers (MADT), power-off, reset, timer port and
// power button (FADT). The value that powers the machine off is found in the DSDT by its name, _S5_, when it is needed.
#include <string.h>

#include "arch/mmu.h"
#include "arch_impl/x86.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"

phys_t acpi_search_rsdp(void)
{
    for (phys_t pa = 0xe0000; pa < 0x100000; pa += 16) {
        if (acpi_is_rsdp(phys_to_virt(pa)))
            return pa;
    }
    return 0;
}

u32 acpi_pm_timer_port(void)
{
    return FADT_HAS(pm_timer) && acpi_fadt->pm_timer_len == 4 ? acpi_fadt->pm_timer : 0;
}

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_X2APIC = 9 };

static void madt_cpu(struct machine *m, u32 apic_id, u32 none, u32 flags)
{
    if ((flags & 1) && apic_id != none)  // 1: enabled
        machine_add_cpu(m, apic_id);
}

// One entry of the MADT, p[1] bytes long: what is shorter than its kind asks for is passed over.
static void madt_entry(const u8 *p, void *machine)
{
    struct machine *m = machine;
    static const u8 least[] = {
        [MADT_LAPIC] = 8, [MADT_IOAPIC] = 12, [MADT_OVERRIDE] = 10, [MADT_X2APIC] = 16};
    if (p[0] >= ARRAY_SIZE(least) || p[1] < MAX(least[p[0]], 2))
        return;
    switch (p[0]) {
    case MADT_LAPIC: madt_cpu(m, p[3], 0xff, acpi_get32(p + 4)); break;
    case MADT_X2APIC: madt_cpu(m, acpi_get32(p + 4), UINT32_MAX, acpi_get32(p + 8)); break;
    case MADT_IOAPIC: machine_add_ioapic(m, acpi_get32(p + 4), acpi_get32(p + 8)); break;
    case MADT_OVERRIDE:
        if (p[3] < 16) {
            m->isa[p[3]].gsi = acpi_get32(p + 4);
            m->isa[p[3]].flags = p[8] | p[9] << 8;
            m->isa[p[3]].set = true;
        }
        break;
    }
}

void acpi_read_madt(struct machine *m) { acpi_each_madt(madt_entry, m); }

// The sleep type of \_S5: Name (_S5_, Package (n) { type_a, type_b, … }), each a byte constant or
// one of the opcodes Zero and One (ACPI 20.2.3).
static bool find_s5(const struct sdt *dsdt, u8 *type)
{
    const u8 *p = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length;
    for (; end - p >= 12; p++) {
        if (memcmp(p, "_S5_", 4) || p[4] != 0x12)
            continue;
        p += 5;
        p += 1 + (p[0] >> 6) + 1;  // package length (1 to 4 bytes), number of elements
        *type = p[0] == 0x0a ? p[1] : p[0];
        return true;
    }
    return false;
}

static void gas_write8(const struct gas *g, u8 value)
{
    if (g->space == GAS_IO)
        outb(g->address, value);
    else if (g->space == GAS_MEMORY && g->address && g->address < FIRMWARE_ADDRESS_MAX)
        *(volatile u8 *)arch_map_device(g->address, 1) = value;
}

// From firmware that still owns the registers.
static void take_over(void)
{
    if (!acpi_fadt->smi_command || (inw(acpi_fadt->pm1a_control) & 1))
        return;
    outb(acpi_fadt->smi_command, acpi_fadt->acpi_enable);
    for (int i = 0; i < 100000 && !(inw(acpi_fadt->pm1a_control) & 1); i++)
        ;
}

bool acpi_find_button(struct acpi_button *button)
{
    if (!acpi_fadt || (acpi_fadt->flags & (FADT_HW_REDUCED | FADT_BUTTON_IS_DEVICE)) ||
        !acpi_fadt->pm1a_event || !acpi_fadt->pm1a_control || acpi_fadt->pm1_event_len < 4)
        return false;
    take_over();
    *button =
        (struct acpi_button){.status_port = acpi_fadt->pm1a_event,
                             .enable_port = acpi_fadt->pm1a_event + acpi_fadt->pm1_event_len / 2,
                             .irq = acpi_fadt->sci_irq};
    return true;
}

void acpi_power_off(void)
{
    u8 type;
    const struct sdt *dsdt = acpi_find_dsdt();
    if (!dsdt || !find_s5(dsdt, &type))
        return;
    log_debug("ACPI: power-off, sleep type %u", type);
    if ((acpi_fadt->flags & FADT_HW_REDUCED) && FADT_HAS(sleep_control)) {
        gas_write8(&acpi_fadt->sleep_control, (type & 7) << 2 | BIT(5));
        return;
    }
    if (!acpi_fadt->pm1a_control)
        return;
    take_over();
    outw(acpi_fadt->pm1a_control, (type & 7) << 10 | BIT(13));
    if (acpi_fadt->pm1b_control)
        outw(acpi_fadt->pm1b_control, (type & 7) << 10 | BIT(13));
}

void acpi_reset(void)
{
    if (FADT_HAS(reset_value) && (acpi_fadt->flags & FADT_RESET_SUPPORTED))
        gas_write8(&acpi_fadt->reset_reg, acpi_fadt->reset_value);
}
