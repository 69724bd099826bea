// SPDX-License-Identifier: BSD-2-Clause
// tree.c: the firmware's device tree, and what a boot loader adds to it (Devicetree Specification 0.4, 3.6); or a tree of our own
// where the firmware describes the machine by ACPI. Such a tree has the memory as UEFI tells it, what is not ours to use
// below /reserved-memory, and in /chosen
//
//   lethe,acpi-rsdp                  physical address of the ACPI root pointer
//   lethe,time, lethe,time-ticks     seconds since 1970, and where the virtual counter stood then
#include "boot/efi/aarch64/tree.h"

#include <libfdt.h>

static const struct efi_guid tree_guid = {
    0xb1b621d5, 0xf19c, 0x41a5, {0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0}};

// Of a tree of our own; fdt is NULL where it is the firmware's.
static struct {
    void *fdt;
    int error;
    bool usable;  // of the range that is being gathered
    uint64_t start, end;
} own;

// ---- the time

// Days from 1970-01-01 (proleptic Gregorian calendar): the year begins in March, so that a leap day is its last.
static uint64_t days(uint64_t year, uint64_t month, uint64_t day)
{
    year -= month <= 2;
    month = month <= 2 ? month + 9 : month - 3;
    return year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 -
           719468;
}

static bool tell_time(int chosen)
{
    struct efi_time t;
    uint64_t ticks;
    if (EFI_ERROR(efi_system->runtime->get_time(&t, NULL)) || t.year < 1970 || t.month < 1 ||
        t.month > 12)
        return true;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
    uint64_t seconds =
        days(t.year, t.month, t.day) * 86400 + t.hour * 3600u + t.minute * 60u + t.second;
    if (t.zone != EFI_TIME_NO_ZONE)
        seconds += (uint64_t)(t.zone * 60);
    return !fdt_setprop_u64(own.fdt, chosen, "lethe,time", seconds) &&
           !fdt_setprop_u64(own.fdt, chosen, "lethe,time-ticks", ticks);
}

// ---- memory

static const char memory_path[] = "/memory", firmware_path[] = "/reserved-memory/firmware";

static void add_range(void)
{
    const char *path = own.usable ? memory_path : firmware_path;
    int node = fdt_path_offset(own.fdt, path);
    if (own.start == own.end)
        return;
    if (node < 0 || fdt_appendprop_u64(own.fdt, node, "reg", own.start) ||
        fdt_appendprop_u64(own.fdt, node, "reg", own.end - own.start))
        own.error = -1;
}

void tree_add_memory(const struct efi_memory *range)
{
    uint32_t type = range->type;
    bool usable = type == EFI_CONVENTIONAL || type == EFI_LOADER_CODE || type == EFI_LOADER_DATA ||
                  type == EFI_BOOT_CODE || type == EFI_BOOT_DATA;
    if (!own.fdt || type == EFI_MMIO || type == EFI_MMIO_PORTS)
        return;
    if (range->physical != own.end || usable != own.usable) {
        add_range();
        own.start = range->physical;
        own.usable = usable;
    }
    own.end = range->physical + range->pages * PAGE;
}

bool tree_end(void)
{
    if (own.fdt)
        add_range();
    return !own.error;
}

static bool set_cells(int node)
{
    return !fdt_setprop_u32(own.fdt, node, "#address-cells", 2) &&
           !fdt_setprop_u32(own.fdt, node, "#size-cells", 2);
}

// The tree of a machine that ACPI describes. => false: no room
static bool make_own(void *to, size_t bytes, const void *rsdp)
{
    own.fdt = to;
    if (fdt_create_empty_tree(to, (int)bytes) || !set_cells(0))
        return false;
    int node = fdt_add_subnode(to, 0, memory_path + 1);
    if (node < 0 || fdt_setprop_string(to, node, "device_type", "memory"))
        return false;
    node = fdt_add_subnode(to, 0, "reserved-memory");
    if (node < 0 || !set_cells(node) || fdt_setprop_empty(to, node, "ranges") ||
        fdt_add_subnode(to, node, "firmware") < 0)
        return false;
    node = fdt_add_subnode(to, 0, "chosen");
    return node >= 0 && !fdt_setprop_u64(to, node, "lethe,acpi-rsdp", (uintptr_t)rsdp) &&
           tell_time(node);
}

// ---- both kinds

void tree_make(void *to, size_t bytes, const struct loaded *loaded)
{
    const void *from = efi_find_table(&tree_guid), *rsdp = efi_find_rsdp();
    uint64_t root = (uintptr_t)loaded->root;

    if (from && !fdt_check_header(from)) {
        if (fdt_open_into(from, to, (int)bytes))
            fail("the firmware's device tree is damaged or too large");
    } else if (!rsdp) {
        fail("the firmware has neither a device tree nor ACPI tables");
    } else if (!make_own(to, bytes, rsdp)) {
        fail("the device tree cannot be written");
    }
    int chosen = fdt_path_offset(to, "/chosen");
    if (chosen < 0)
        chosen = fdt_add_subnode(to, 0, "chosen");
    if (chosen < 0 || fdt_setprop_u64(to, chosen, "linux,initrd-start", root) ||
        fdt_setprop_u64(to, chosen, "linux,initrd-end", root + loaded->record->load_bytes) ||
        fdt_setprop_string(to, chosen, "bootargs", loaded->record->words))
        fail("the device tree cannot be written");
}
