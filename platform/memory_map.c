// SPDX-License-Identifier: BSD-2-Clause
// memory_map.c: what memory there is, out of what boot loaders and firmware tell of it. They differ: ranges may overlap,
// wrap or be empty, and there may be holes.
//
// The listed ranges cut the addresses into pieces at their ends. A piece is RAM when some range says so and
// no other denies it; of several kinds that deny it the largest number stands. Neighbours of one kind join.

#include "platform/memory_map.h"

#include "arch/mmu.h"
#include "core/log.h"

#define FIRST_MIB 0x100000ul

extern char kernel_start[], kernel_end[];

static struct mem_range raw[MAX_MEM_RANGES];
static u32 n_raw;

void memory_map_add(phys_t start, u64 size, enum mem_kind kind)
{
    if (start >= MEMORY_ADDRESS_MAX || size == 0)
        return;
    if (n_raw == MAX_MEM_RANGES) {
        if (kind != MEM_RAM)  // memory may be left out, what is no memory may not
            raw[n_raw - 1] =
                (struct mem_range){start, start + MIN(size, MEMORY_ADDRESS_MAX - start), kind};
        return;
    }
    raw[n_raw++] = (struct mem_range){start, start + MIN(size, MEMORY_ADDRESS_MAX - start), kind};
}

// The piece of one kind that begins at start. => Its end; *kind is 0 where no range lies.
static phys_t piece_at(phys_t start, u32 *kind)
{
    phys_t end = MEMORY_ADDRESS_MAX;
    *kind = 0;
    for (u32 i = 0; i < n_raw; i++) {
        const struct mem_range *r = &raw[i];
        if (r->start > start) {
            end = MIN(end, r->start);
        } else if (r->end > start) {
            end = MIN(end, r->end);
            *kind = MAX(*kind, (u32)r->kind);
        }
    }
    return end;
}

static void sort_memory(struct boot_info *b)
{
    b->n_mem = 0;
    for (phys_t start = 0, end; start < MEMORY_ADDRESS_MAX; start = end) {
        u32 kind;
        end = piece_at(start, &kind);
        struct mem_range *last = b->n_mem ? &b->mem[b->n_mem - 1] : NULL;
        if (!kind)
            continue;
        if (last && last->end == start && last->kind == kind)
            last->end = end;
        else if (b->n_mem < MAX_MEM_RANGES)
            b->mem[b->n_mem++] = (struct mem_range){start, end, kind};
    }
}

void memory_map_begin(void) { n_raw = 0; }

void memory_map_end(void)
{
    sort_memory(&boot_info);
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        if (boot_info.mem[i].kind == MEM_RAM)
            return;
    }
    noboot("the memory map of the boot loader has no RAM");
}

static bool is_ram(phys_t start, phys_t end)
{
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        if (r->kind == MEM_RAM && r->start <= start && end <= r->end)
            return true;
    }
    return false;
}

void memory_map_set_image(phys_t start, phys_t end)
{
    if (start == end)
        return;
    if (end < start || !is_ram(start, end))
        noboot("the root image, %#lx to %#lx, does not lie in memory", (unsigned long)start,
               (unsigned long)end);
    if (start < virt_to_phys(kernel_end) && end > virt_to_phys(kernel_start))
        noboot("the root image, %#lx to %#lx, lies over the kernel", (unsigned long)start,
               (unsigned long)end);
    boot_info.image_start = start;
    boot_info.image_end = end;
}

bool platform_is_device(phys_t pa, size_t len_bytes)
{
    phys_t end = pa + len_bytes;
    if (pa < FIRST_MIB || end < pa || end > MEMORY_ADDRESS_MAX)
        return false;
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        if (r->kind != MEM_RESERVED && r->start < end && pa < r->end)
            return false;
    }
    return true;
}
