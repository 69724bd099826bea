// SPDX-License-Identifier: BSD-2-Clause
// pvh.c: what the PVH boot protocol tells (Xen public/arch-x86/hvm/start_info.h).
#include "arch/mmu.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"

#define HVM_START_MAGIC 0x336ec578

struct hvm_start_info {
    u32 magic, version, flags, nr_modules;
    u64 modlist_paddr, cmdline_paddr, rsdp_paddr;
    u64 memmap_paddr;  // from version 1 on
    u32 memmap_entries, reserved;
};
struct hvm_modlist_entry {
    u64 paddr, size, cmdline_paddr, reserved;
};
struct hvm_memmap_entry {
    u64 addr, size;
    u32 type, reserved;
};

// boot.S has mapped the first 4 MiB; monitors put these structures there, but need not.
static void *at(phys_t pa, size_t len)
{
    if (pa + len > 2 * HUGE_SIZE)
        arch_map_ram(pa, pa + len);
    return phys_to_virt(pa);
}

static enum mem_kind kind_of(u32 e820_type)
{
    switch (e820_type) {
    case 1:
        return MEM_RAM;
    case 3:
        return MEM_ACPI;
    case 4:
        return MEM_NVS;
    case 5:
        return MEM_BAD;
    default:
        return MEM_RESERVED;
    }
}

// Keeps boot_info.mem sorted.
static void add_range(phys_t start, phys_t end, enum mem_kind kind)
{
    struct boot_info *b = &boot_info;
    if (start >= end || b->n_mem == MAX_MEM_RANGES)
        return;
    u32 i = b->n_mem++;
    for (; i > 0 && b->mem[i - 1].start > start; i--)
        b->mem[i] = b->mem[i - 1];
    b->mem[i] = (struct mem_range){start, end, kind};
}

// Where ranges overlap the one that is not RAM wins; two of RAM are cut apart.
static void resolve_overlaps(void)
{
    struct boot_info *b = &boot_info;
    for (u32 i = 0; i + 1 < b->n_mem; i++) {
        struct mem_range *m = &b->mem[i], *next = m + 1;
        if (m->end <= next->start)
            continue;
        if (m->kind == MEM_RAM) {
            phys_t end = m->end;
            m->end = next->start;
            if (end > next->end)
                add_range(next->end, end, MEM_RAM);
        } else {
            next->start = MIN(m->end, next->end);
        }
    }
}

void pvh_parse(phys_t pa)
{
    struct boot_info *b = &boot_info;
    const struct hvm_start_info *s = at(pa, sizeof(*s));
    if (s->magic != HVM_START_MAGIC || s->version < 1 || s->memmap_entries == 0)
        noboot("the boot loader gives no PVH start information with a memory map");
    const struct hvm_memmap_entry *e = at(s->memmap_paddr, s->memmap_entries * sizeof(*e));
    for (u32 i = 0; i < s->memmap_entries; i++)
        add_range(e[i].addr, e[i].addr + e[i].size, kind_of(e[i].type));
    resolve_overlaps();
    b->cmdline = s->cmdline_paddr ? at(s->cmdline_paddr, PAGE_SIZE) : "";
    b->rsdp = s->rsdp_paddr;
    if (s->nr_modules) {
        const struct hvm_modlist_entry *m = at(s->modlist_paddr, sizeof(*m));
        b->image_start = m->paddr;
        b->image_end = m->paddr + m->size;
    }
}
