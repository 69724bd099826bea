// SPDX-License-Identifier: BSD-2-Clause
// mptable.c: CPUs on machines without ACPI: Intel's MultiProcessor Specification 1.4, chapter 4, and
// QEMU's configuration device, which tells the number of CPUs in a few instructions.
#include <string.h>

#include "arch/mmu.h"
#include "arch_impl/x86.h"
#include "platform/x86_64/platform_x86.h"

struct __packed mp_pointer {
    char signature[4];
    u32 table;
    u8 length, revision, checksum, features[5];
};
struct __packed mp_table {
    char signature[4];
    u16 length;
    u8 revision, checksum;
    char oem[8], product[12];
    u32 oem_table;
    u16 oem_size, n_entries;
    u32 lapic;
    u16 ext_length;
    u8 ext_checksum, reserved;
};
enum { MP_CPU = 0, MP_BUS, MP_IOAPIC, MP_IRQ, MP_LOCAL_IRQ };

static const struct mp_pointer *search(phys_t from, phys_t to)
{
    for (; from < to; from += 16) {
        const struct mp_pointer *p = phys_to_virt(from);
        if (!memcmp(p->signature, "_MP_", 4) && p->length == 1 &&
            firmware_sums_to_zero(p, sizeof(*p)))
            return p;
    }
    return NULL;
}

// => NULL if there is no table that adds up.
static const struct mp_table *find_table(void)
{
    const struct mp_pointer *p = search(0x9fc00, 0xa0000);  // where Firecracker and others put it
    if (!p)
        p = search(0xf0000, 0x100000);
    const struct mp_table *t = p ? firmware_map(p->table, sizeof(*t)) : NULL;
    if (!t || memcmp(t->signature, "PCMP", 4) || t->length < sizeof(*t))
        return NULL;
    t = firmware_map(p->table, t->length);
    return t && firmware_sums_to_zero(t, t->length) ? t : NULL;
}

void mptable_read(struct machine *m)
{
    const struct mp_table *t = find_table();
    if (!t)
        return;
    // By its length: qboot leaves the number of entries at 0.
    const u8 *e = (const u8 *)(t + 1), *end = (const u8 *)t + t->length;
    for (; end - e >= 8; e += MIN(e[0] == MP_CPU ? 20 : 8, end - e)) {
        u32 address;
        memcpy(&address, e + 4, 4);
        if (e[0] == MP_CPU && (e[3] & 1))
            machine_add_cpu(m, e[1]);
        else if (e[0] == MP_IOAPIC && (e[3] & 1))
            machine_add_ioapic(m, address, 0);
    }
}

#define FW_CFG_SELECTOR 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_SIGNATURE 0
#define FW_CFG_NB_CPUS 5

u32 fw_cfg_cpu_count(void)
{
    outw(FW_CFG_SELECTOR, FW_CFG_SIGNATURE);
    for (const char *p = "QEMU"; *p; p++) {
        if (inb(FW_CFG_DATA) != (u8)*p)
            return 0;
    }
    outw(FW_CFG_SELECTOR, FW_CFG_NB_CPUS);
    u32 low = inb(FW_CFG_DATA);
    return low | inb(FW_CFG_DATA) << 8;
}
