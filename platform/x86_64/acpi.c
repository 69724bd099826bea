// SPDX-License-Identifier: BSD-2-Clause
// acpi.c: the few ACPI tables that say what we need (ACPI specification 6.4): CPUs and interrupt
// controllers (MADT), power-off and timer port (FADT). There is no AML interpreter: the value that
// powers the machine off is found in the DSDT by its name, _S5_, when it is needed.
#include <string.h>

#include "arch/mmu.h"
#include "arch_impl/x86.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"

struct __packed rsdp {
    char signature[8];
    u8 checksum;
    char oem[6];
    u8 revision;
    u32 rsdt;
    u32 length;
    u64 xsdt;
};

struct __packed sdt {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision, creator, creator_revision;
};

struct __packed gas {  // generic address
    u8 space, bit_width, bit_offset, access;
    u64 address;
};
#define GAS_MEMORY 0
#define GAS_IO 1

struct __packed fadt {
    struct sdt head;
    u32 firmware_ctrl, dsdt;
    u8 model, profile;
    u16 sci_irq;
    u32 smi_command;
    u8 acpi_enable, acpi_disable, s4bios, pstate;
    u32 pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    u8 pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base;
    u8 cst;
    u16 c2_latency, c3_latency, flush_size, flush_stride;
    u8 duty_offset, duty_width, day_alarm, month_alarm, century;
    u16 boot_arch;
    u8 reserved;
    u32 flags;
    struct gas reset_reg;
    u8 reset_value;
    u16 arm_boot;
    u8 minor;
    u64 x_firmware_ctrl, x_dsdt;
    struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
    struct gas x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
};
#define FADT_RESET_SUPPORTED BIT(10)
#define FADT_HW_REDUCED BIT(20)

static const struct sdt *root;
static bool root_is_xsdt;
static const struct fadt *fadt;

static const void *map(phys_t pa, size_t len)
{
    arch_map_ram(pa, pa + len);
    return phys_to_virt(pa);
}

static const struct sdt *map_table(phys_t pa)
{
    const struct sdt *t = map(pa, sizeof(*t));
    return map(pa, t->length);
}

// => NULL if there is no such table.
static const struct sdt *find_table(const char *signature)
{
    size_t entry = root_is_xsdt ? 8 : 4;
    const char *p = (const char *)(root + 1), *end = (const char *)root + root->length;
    for (; p + entry <= end; p += entry) {
        u64 pa = 0;
        memcpy(&pa, p, entry);
        const struct sdt *t = map(pa, sizeof(*t));
        if (!memcmp(t->signature, signature, 4))
            return map_table(pa);
    }
    return NULL;
}

void acpi_init(phys_t pa)
{
    if (!pa)
        return;
    const struct rsdp *r = map(pa, sizeof(*r));
    if (memcmp(r->signature, "RSD PTR ", 8))
        return;
    root_is_xsdt = r->revision >= 2 && r->xsdt;
    root = map_table(root_is_xsdt ? r->xsdt : r->rsdt);
    fadt = (const struct fadt *)find_table("FACP");
}

bool acpi_present(void)
{
    return root != NULL;
}

// Fields behind a short (old) table read as absent.
#define FADT_HAS(field) \
    (fadt && fadt->head.length >= offsetof(struct fadt, field) + sizeof(fadt->field))

u32 acpi_pm_timer_port(void)
{
    return FADT_HAS(pm_timer) && fadt->pm_timer_len == 4 ? fadt->pm_timer : 0;
}

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_X2APIC = 9 };

static u32 get32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

static void madt_cpu(struct machine *m, u32 apic_id, u32 flags)
{
    if ((flags & 1) && m->n_cpus < ARRAY_SIZE(m->cpu_apic_id))  // 1: enabled
        m->cpu_apic_id[m->n_cpus++] = apic_id;
}

void acpi_read_madt(struct machine *m)
{
    const struct sdt *t = root ? find_table("APIC") : NULL;
    if (!t)
        return;
    const u8 *p = (const u8 *)(t + 1) + 8, *end = (const u8 *)t + t->length;
    for (; p + 2 <= end && p[1] >= 2; p += p[1]) {
        switch (p[0]) {
        case MADT_LAPIC:
            madt_cpu(m, p[3], get32(p + 4));
            break;
        case MADT_X2APIC:
            madt_cpu(m, get32(p + 4), get32(p + 8));
            break;
        case MADT_IOAPIC:
            if (!m->ioapic || get32(p + 8) < m->ioapic_gsi_base) {
                m->ioapic = get32(p + 4);
                m->ioapic_gsi_base = get32(p + 8);
            }
            break;
        case MADT_OVERRIDE:
            if (p[3] < 16) {
                m->isa[p[3]].gsi = get32(p + 4);
                m->isa[p[3]].flags = p[8] | p[9] << 8;
                m->isa[p[3]].set = true;
            }
            break;
        }
    }
}

// The sleep type of \_S5: Name (_S5_, Package (n) { type_a, type_b, … }), each a byte constant or
// one of the opcodes Zero and One (ACPI 20.2.3).
static bool find_s5(const struct sdt *dsdt, u8 *type)
{
    const u8 *p = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length;
    for (; p + 12 <= end; p++) {
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
    else if (g->space == GAS_MEMORY)
        *(volatile u8 *)arch_map_device(g->address, 1) = value;
}

void acpi_power_off(void)
{
    u8 type;
    if (!fadt)
        return;
    const struct sdt *dsdt = map_table(FADT_HAS(x_dsdt) && fadt->x_dsdt ? fadt->x_dsdt : fadt->dsdt);
    if (!find_s5(dsdt, &type))
        return;
    if ((fadt->flags & FADT_HW_REDUCED) && FADT_HAS(sleep_control)) {
        gas_write8(&fadt->sleep_control, type << 2 | BIT(5));
        return;
    }
    if (!fadt->pm1a_control)
        return;
    if (fadt->smi_command && !(inw(fadt->pm1a_control) & 1)) {  // firmware still owns the registers
        outb(fadt->smi_command, fadt->acpi_enable);
        for (int i = 0; i < 100000 && !(inw(fadt->pm1a_control) & 1); i++)
            ;
    }
    outw(fadt->pm1a_control, type << 10 | BIT(13));
    if (fadt->pm1b_control)
        outw(fadt->pm1b_control, type << 10 | BIT(13));
}

void acpi_reset(void)
{
    if (FADT_HAS(reset_value) && (fadt->flags & FADT_RESET_SUPPORTED))
        gas_write8(&fadt->reset_reg, fadt->reset_value);
}
