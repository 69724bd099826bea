// SPDX-License-Identifier: BSD-2-Clause
// acpi.c: finding ACPI tables (ACPI specification 6.4), and what is the same on all machines that have them. There is no AML
// interpreter: memory-mapped virtio devices, which only hardware-reduced machines have, are found in the DSDT by their name.
#include "platform/acpi.h"

#include <string.h>

#include "core/log.h"

struct __packed rsdp {
    char signature[8];
    u8 checksum;
    char oem[6];
    u8 revision;
    u32 rsdt;
    u32 length;
    u64 xsdt;
};

#define RSDP_V0_SIZE 20

static const struct sdt *root;
static bool root_is_xsdt;
const struct fadt *acpi_fadt;

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

const struct sdt *acpi_find_table(const char *signature, size_t min_len)
{
    if (!root)
        return NULL;
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
bool acpi_is_rsdp(const void *at)
{
    const struct rsdp *r = at;
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

void acpi_init(phys_t pa)
{
    root = NULL;
    acpi_fadt = NULL;
    const struct rsdp *r = firmware_map(pa, RSDP_V0_SIZE);
    if (!r || !acpi_is_rsdp(r))
        return;
    if (r->revision >= 2 && !(r = firmware_map(pa, sizeof(*r))))
        return;
    root = find_root(r);
    acpi_fadt = (const struct fadt *)acpi_find_table("FACP", FADT_MIN);
    log_debug("ACPI: RSDP %#lx, %s", (unsigned long)pa,
              !root       ? "no root table"
              : acpi_fadt ? "FADT found"
                          : "no FADT");
}

bool acpi_present(void) { return root != NULL; }

void acpi_each_madt(void (*found)(const u8 *entry, void *arg), void *arg)
{
    const struct sdt *t = acpi_find_table("APIC", sizeof(*t) + 8);
    if (!t)
        return;
    const u8 *p = (const u8 *)(t + 1) + 8, *end = (const u8 *)t + t->length;
    for (; end - p >= 2 && p[1] >= 2 && p[1] <= end - p; p += p[1])
        found(p, arg);
}

const struct sdt *acpi_find_dsdt(void)
{
    if (!acpi_fadt)
        return NULL;
    return map_table(FADT_HAS(x_dsdt) && acpi_fadt->x_dsdt ? acpi_fadt->x_dsdt : acpi_fadt->dsdt,
                     "DSDT", sizeof(struct sdt));
}

// A 32-bit fixed memory range descriptor (ACPI 6.4.3.4): tag, length 9 in two bytes, flags, base, length.
static bool is_fixed_memory(const u8 *p) { return p[0] == 0x86 && p[1] == 9 && p[2] == 0; }

// An extended interrupt descriptor (ACPI 6.4.3.6) with one interrupt: tag, length 6, flags, count, number.
static int interrupt_at(const u8 *p, const u8 *end)
{
    return end - p >= 9 && p[0] == 0x89 && p[1] == 6 && p[2] == 0 && p[4] == 1
               ? (int)acpi_get32(p + 5)
               : -1;
}

// Without an interpreter: the name of a device of this kind, and the first range of its resources behind it.
void acpi_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq))
{
    static const char hid[] = "LNRO0005";
    const struct sdt *dsdt =
        acpi_fadt && (acpi_fadt->flags & FADT_HW_REDUCED) ? acpi_find_dsdt() : NULL;
    if (!dsdt)
        return;
    const u8 *p = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length;
    bool named = false;
    for (; end - p >= 12; p++) {
        if (p[0] == 'L' && !memcmp(p, hid, sizeof(hid))) {
            named = true;
        } else if (named && is_fixed_memory(p)) {
            found(acpi_get32(p + 4), acpi_get32(p + 8), interrupt_at(p + 12, end));
            named = false;
        }
    }
}
