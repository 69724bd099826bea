// SPDX-License-Identifier: BSD-2-Clause
// acpi.c: the few ACPI tables that say what we need (ACPI specification 6.4): CPUs and interrupt
// controllers (MADT), power-off and timer port (FADT). There is no AML interpreter: the value that
// powers the machine off is found in the DSDT by its name, _S5_, when it is needed, and so are
// memory-mapped virtio devices on machines that have no PCI bus (hardware-reduced ones).
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
#define FADT_BUTTON_IS_DEVICE BIT(4)
#define FADT_HW_REDUCED BIT(20)

#define RSDP_V0_SIZE 20

static const struct sdt *root;
static bool root_is_xsdt;
static const struct fadt *fadt;

#define FADT_MIN offsetof(struct fadt, reset_reg)  // ACPI 1.0's, with flags as the last field
#define MAX_TABLES 256

// => The table if it is one, of at least min_len bytes, and adds up; NULL otherwise.
static const struct sdt *map_table(phys_t pa, const char *signature, size_t min_len)
{
    const struct sdt *t = firmware_map(pa, sizeof(*t));
    if (!t || memcmp(t->signature, signature, 4) || t->length < min_len)
        return NULL;
    t = firmware_map(pa, t->length);
    if (t && firmware_sums_to_zero(t, t->length))
        return t;
    log_warn("ACPI: table %.4s at %#lx does not add up and is not used", signature,
             (unsigned long)pa);
    return NULL;
}

// => NULL if there is no such table.
static const struct sdt *find_table(const char *signature, size_t min_len)
{
    size_t entry = root_is_xsdt ? 8 : 4;
    size_t n = MIN((root->length - sizeof(*root)) / entry, (size_t)MAX_TABLES);
    for (size_t i = 0; i < n; i++) {
        u64 pa = 0;
        memcpy(&pa, (const char *)(root + 1) + i * entry, entry);
        const struct sdt *t = firmware_map(pa, sizeof(*t));
        if (t && !memcmp(t->signature, signature, 4))
            return map_table(pa, signature, min_len);
    }
    return NULL;
}

// The first 20 bytes are the whole of revision 0.
static bool is_rsdp(const struct rsdp *r)
{
    return !memcmp(r->signature, "RSD PTR ", 8) && firmware_sums_to_zero(r, RSDP_V0_SIZE);
}

// => The root table, NULL if neither of the two that there may be is good.
static const struct sdt *find_root(const struct rsdp *r)
{
    root_is_xsdt = r->revision >= 2 && r->xsdt;
    const struct sdt *t = root_is_xsdt ? map_table(r->xsdt, "XSDT", sizeof(*t)) : NULL;
    if (!t) {
        root_is_xsdt = false;
        t = map_table(r->rsdt, "RSDT", sizeof(*t));
    }
    return t;
}

phys_t acpi_search_rsdp(void)
{
    for (phys_t pa = 0xe0000; pa < 0x100000; pa += 16) {
        if (is_rsdp(phys_to_virt(pa)))
            return pa;
    }
    return 0;
}

void acpi_init(phys_t pa)
{
    root = NULL;
    fadt = NULL;
    const struct rsdp *r = firmware_map(pa, RSDP_V0_SIZE);
    if (!r || !is_rsdp(r))
        return;
    if (r->revision >= 2 && !(r = firmware_map(pa, sizeof(*r))))
        return;
    root = find_root(r);
    fadt = root ? (const struct fadt *)find_table("FACP", FADT_MIN) : NULL;
    log_debug("ACPI: RSDP %#lx, %s", (unsigned long)pa,
              !root  ? "no root table"
              : fadt ? "FADT found"
                     : "no FADT");
}

bool acpi_present(void) { return root != NULL; }

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

static void madt_cpu(struct machine *m, u32 apic_id, u32 none, u32 flags)
{
    if ((flags & 1) && apic_id != none)  // 1: enabled
        machine_add_cpu(m, apic_id);
}

// One entry of the MADT, p[1] bytes long: what is shorter than its kind asks for is passed over.
static void madt_entry(struct machine *m, const u8 *p)
{
    static const u8 least[] = {
        [MADT_LAPIC] = 8, [MADT_IOAPIC] = 12, [MADT_OVERRIDE] = 10, [MADT_X2APIC] = 16};
    if (p[0] >= ARRAY_SIZE(least) || p[1] < MAX(least[p[0]], 2))
        return;
    switch (p[0]) {
    case MADT_LAPIC: madt_cpu(m, p[3], 0xff, get32(p + 4)); break;
    case MADT_X2APIC: madt_cpu(m, get32(p + 4), UINT32_MAX, get32(p + 8)); break;
    case MADT_IOAPIC: machine_add_ioapic(m, get32(p + 4), get32(p + 8)); break;
    case MADT_OVERRIDE:
        if (p[3] < 16) {
            m->isa[p[3]].gsi = get32(p + 4);
            m->isa[p[3]].flags = p[8] | p[9] << 8;
            m->isa[p[3]].set = true;
        }
        break;
    }
}

void acpi_read_madt(struct machine *m)
{
    const struct sdt *t = root ? find_table("APIC", sizeof(*t) + 8) : NULL;
    if (!t)
        return;
    const u8 *p = (const u8 *)(t + 1) + 8, *end = (const u8 *)t + t->length;
    for (; end - p >= 2 && p[1] >= 2 && p[1] <= end - p; p += p[1])
        madt_entry(m, p);
}

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

static const struct sdt *find_dsdt(void)
{
    return map_table(FADT_HAS(x_dsdt) && fadt->x_dsdt ? fadt->x_dsdt : fadt->dsdt, "DSDT",
                     sizeof(struct sdt));
}

// A 32-bit fixed memory range descriptor (ACPI 6.4.3.4): tag, length 9 in two bytes, flags, base, length.
static bool is_fixed_memory(const u8 *p) { return p[0] == 0x86 && p[1] == 9 && p[2] == 0; }

// An extended interrupt descriptor (ACPI 6.4.3.6) with one interrupt: tag, length 6, flags, count, number.
static int interrupt_at(const u8 *p, const u8 *end)
{
    return end - p >= 9 && p[0] == 0x89 && p[1] == 6 && p[2] == 0 && p[4] == 1 ? (int)get32(p + 5)
                                                                               : -1;
}

// Without an interpreter: the name of a device of this kind, and the first range of its resources behind it.
void acpi_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq))
{
    static const char hid[] = "LNRO0005";
    const struct sdt *dsdt = fadt && (fadt->flags & FADT_HW_REDUCED) ? find_dsdt() : NULL;
    if (!dsdt)
        return;
    const u8 *p = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length;
    bool named = false;
    for (; end - p >= 12; p++) {
        if (p[0] == 'L' && !memcmp(p, hid, sizeof(hid))) {
            named = true;
        } else if (named && is_fixed_memory(p)) {
            found(get32(p + 4), get32(p + 8), interrupt_at(p + 12, end));
            named = false;
        }
    }
}

// From firmware that still owns the registers.
static void take_over(void)
{
    if (!fadt->smi_command || (inw(fadt->pm1a_control) & 1))
        return;
    outb(fadt->smi_command, fadt->acpi_enable);
    for (int i = 0; i < 100000 && !(inw(fadt->pm1a_control) & 1); i++)
        ;
}

bool acpi_find_button(struct acpi_button *button)
{
    if (!fadt || (fadt->flags & (FADT_HW_REDUCED | FADT_BUTTON_IS_DEVICE)) || !fadt->pm1a_event ||
        !fadt->pm1a_control || fadt->pm1_event_len < 4)
        return false;
    take_over();
    *button = (struct acpi_button){.status_port = fadt->pm1a_event,
                                   .enable_port = fadt->pm1a_event + fadt->pm1_event_len / 2,
                                   .irq = fadt->sci_irq};
    return true;
}

void acpi_power_off(void)
{
    u8 type;
    const struct sdt *dsdt = fadt ? find_dsdt() : NULL;
    if (!dsdt || !find_s5(dsdt, &type))
        return;
    log_debug("ACPI: power-off, sleep type %u", type);
    if ((fadt->flags & FADT_HW_REDUCED) && FADT_HAS(sleep_control)) {
        gas_write8(&fadt->sleep_control, (type & 7) << 2 | BIT(5));
        return;
    }
    if (!fadt->pm1a_control)
        return;
    take_over();
    outw(fadt->pm1a_control, (type & 7) << 10 | BIT(13));
    if (fadt->pm1b_control)
        outw(fadt->pm1b_control, (type & 7) << 10 | BIT(13));
}

void acpi_reset(void)
{
    if (FADT_HAS(reset_value) && (fadt->flags & FADT_RESET_SUPPORTED))
        gas_write8(&fadt->reset_reg, fadt->reset_value);
}
