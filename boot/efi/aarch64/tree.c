// SPDX-License-Identifier: BSD-2-Clause
// tree.c: the firmware's device tree, and what a boot loader adds to it (Devicetree Specification 0.4, 3.6).
#include "boot/efi/aarch64/tree.h"

#include <libfdt.h>

static const struct efi_guid tree_guid = {
    0xb1b621d5, 0xf19c, 0x41a5, {0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0}};

void tree_make(void *to, size_t bytes, const struct loaded *loaded)
{
    const void *from = efi_find_table(&tree_guid);
    uint64_t root = (uintptr_t)loaded->root;

    if (!from || fdt_check_header(from))
        fail("the firmware has no device tree; under QEMU say -M virt,acpi=off");
    if (fdt_open_into(from, to, bytes))
        fail("the firmware's device tree is damaged or too large");
    int chosen = fdt_path_offset(to, "/chosen");
    if (chosen < 0)
        chosen = fdt_add_subnode(to, 0, "chosen");
    if (chosen < 0 || fdt_setprop_u64(to, chosen, "linux,initrd-start", root) ||
        fdt_setprop_u64(to, chosen, "linux,initrd-end", root + loaded->record->root_bytes) ||
        fdt_setprop_string(to, chosen, "bootargs", loaded->record->words) || fdt_pack(to))
        fail("the device tree cannot be written");
}
