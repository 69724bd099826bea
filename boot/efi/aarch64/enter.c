// SPDX-License-Identifier: BSD-2-Clause
// enter.c: from boot services to an arm64 Image. It may lie at any multiple of 2 MiB, so it is put into memory of our own.
#include "boot/efi/aarch64/tree.h"

struct image_header {
    uint32_t code[2];
    uint64_t offset, bytes, flags, reserved[3];
    char magic[4];
};

enum { IMAGE_UNIT = 2 << 20, TREE_BYTES = 2 << 20 };

void clean_to_memory(const void *start, const void *end);
void enter_kernel(void *entry, void *tree) __attribute__((noreturn));

extern char image_start[], image_end[];

static void *place_kernel(const struct loaded *loaded)
{
    struct image_header header;
    size_t bytes = loaded->record->kernel_bytes;

    if (bytes < sizeof(header))
        fail("the kernel file is cut short");
    memcpy(&header, loaded->kernel, sizeof(header));
    if (memcmp(header.magic, "ARM\x64", 4))
        fail("the kernel file is none for this machine");
    if (header.bytes < bytes || header.offset >= IMAGE_UNIT || header.bytes > 1 << 30)
        fail("the kernel file is damaged");
    uint64_t place = (uintptr_t)efi_pages(header.offset + header.bytes + IMAGE_UNIT, 0);
    uint8_t *to = (uint8_t *)ROUND_UP(place, (uint64_t)IMAGE_UNIT) + header.offset;
    memcpy(to, loaded->kernel, bytes);
    memset(to + bytes, 0, header.bytes - bytes);
    clean_to_memory(to, to + header.bytes);
    return to;
}

void efi_enter(efi_handle image, const struct loaded *loaded)
{
    void *kernel = place_kernel(loaded);
    uint8_t *tree = efi_pages(TREE_BYTES, 0);

    tree_make(tree, TREE_BYTES, loaded);
    efi_leave(image, tree_add_memory);
    if (!tree_end())
        fail("the memory map of the firmware does not fit");
    clean_to_memory(tree, tree + TREE_BYTES);
    clean_to_memory(image_start, image_end);
    enter_kernel(kernel, tree);
}
