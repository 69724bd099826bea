// SPDX-License-Identifier: BSD-2-Clause
// enter.c: from boot services to a PVH kernel. The kernel's place, 1 MiB and up, may be in use by the firmware until boot
// services end: it is filled after that. What we have loaded lies elsewhere, since the firmware gives out memory from the top;
// if it does not, that is told before.
#include "boot/efi/efi.h"

extern char descend[], descend_end[], image_start[], image_end[];

static struct pvh *pvh;

static uint32_t e820_type(uint32_t type)
{
    switch (type) {
    case EFI_LOADER_CODE:
    case EFI_LOADER_DATA:
    case EFI_BOOT_CODE:
    case EFI_BOOT_DATA:
    case EFI_CONVENTIONAL: return E820_RAM;
    case EFI_ACPI_RECLAIM: return E820_ACPI;
    case EFI_ACPI_NVS: return E820_NVS;
    case EFI_UNUSABLE: return E820_BAD;
    default: return E820_RESERVED;
    }
}

static void add_range(const struct efi_memory *range)
{
    pvh_add_range(pvh, range->physical, range->pages * PAGE, e820_type(range->type));
}

// A page that may be executed and that 32-bit code reaches.
static void *code_page(void)
{
    uint64_t address = 0xffffffff;
    if (EFI_ERROR(efi_boot->allocate_pages(EFI_BELOW, EFI_LOADER_CODE, 1, &address)))
        fail("too little memory below 4 GiB");
    return (void *)address;
}

static void must_lie_apart(const struct pvh_kernel *kernel, const void *start, uint64_t bytes)
{
    uint64_t at = (uintptr_t)start;
    if (at < kernel->end && kernel->start < at + bytes)
        fail("the firmware gives out the memory where the kernel is to lie");
}

void efi_enter(efi_handle image, const struct loaded *loaded)
{
    enum { FIRST_GIB = 1 << 30 };
    const struct boot_record *record = loaded->record;
    struct pvh_kernel kernel;
    void (*down)(uint64_t entry, uint64_t info) = code_page();
    void *rsdp = efi_find_rsdp();

    pvh_check_kernel(&kernel, loaded->kernel, record->kernel_bytes);
    pvh = efi_pages(sizeof(*pvh), FIRST_GIB);
    must_lie_apart(&kernel, loaded->kernel, record->kernel_bytes);
    must_lie_apart(&kernel, loaded->root, record->load_bytes);
    must_lie_apart(&kernel, pvh, sizeof(*pvh));
    must_lie_apart(&kernel, (const void *)down, PAGE);
    must_lie_apart(&kernel, image_start, image_end - image_start);
    must_lie_apart(&kernel, __builtin_frame_address(0), 1);
    memcpy((void *)down, descend, descend_end - descend);
    pvh_begin(pvh);
    efi_leave(image, add_range);
    if (!pvh_is_ram(pvh, kernel.start, kernel.end))
        fail("the firmware keeps the memory where the kernel is to lie");
    pvh_place_kernel(&kernel);
    pvh_end(pvh, record, (uintptr_t)loaded->root, (uintptr_t)rsdp);
    down(kernel.entry, (uintptr_t)&pvh->info);
    for (;;)
        arch_halt();
}
