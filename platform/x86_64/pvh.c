// SPDX-License-Identifier: BSD-2-Clause
// pvh.c: what the PVH boot protocol tells (Xen public/arch-x86/hvm/start_info.h).
//
// Monitors differ: the memory map may have holes, overlaps and entries of length zero; the command line and
// the tables lie in memory that is listed as RAM and will be used again, so what is wanted of them is copied here.
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "platform/memory_map.h"
#include "platform/x86_64/platform_x86.h"
#include "platform/x86_64/start_info.h"

#define EARLY_MAX (1ul << 30)  // boot.S has tables for the first GiB only
#define CMDLINE_MAX 2048       // as Linux's COMMAND_LINE_SIZE

static char cmdline[CMDLINE_MAX];

// Before the memory map is known. => NULL where nothing can lie.
static const void *early_map(phys_t pa, size_t len)
{
    if (!pa || pa >= EARLY_MAX || len > EARLY_MAX - pa)
        return NULL;
    if (pa + len > 2 * HUGE_SIZE)
        arch_map_ram(pa, pa + len);
    return phys_to_virt(pa);
}

static enum mem_kind kind_of(u32 e820_type)
{
    switch (e820_type) {
    case E820_RAM: return MEM_RAM;
    case E820_ACPI: return MEM_ACPI;
    case E820_NVS: return MEM_NVS;
    case E820_BAD: return MEM_BAD;
    default: return MEM_RESERVED;
    }
}

// => NULL if there is none.
static const struct hvm_start_info *start_info(phys_t pa)
{
    const struct hvm_start_info *s = early_map(pa, sizeof(*s));
    return s && s->magic == HVM_START_MAGIC ? s : NULL;
}

static void read_memory_map(const struct hvm_start_info *s)
{
    u32 n = MIN(s->memmap_entries, 16u * MAX_MEM_RANGES);
    const struct hvm_memmap_entry *e = early_map(s->memmap_paddr, n * sizeof(*e));
    if (!e)
        noboot("the memory map of the boot loader lies at %#lx, out of reach",
               (unsigned long)s->memmap_paddr);
    memory_map_begin();
    for (u32 i = 0; i < n; i++)
        memory_map_add(e[i].addr, e[i].size, kind_of(e[i].type));
    memory_map_end();
}

// ---------------------------------------------------------------- command line, root image

// => Always leaves a command line, if an empty one.
void pvh_read_cmdline(phys_t pa)
{
    const struct hvm_start_info *s = start_info(pa);
    const char *text = s ? early_map(s->cmdline_paddr, CMDLINE_MAX) : NULL;
    boot_info.cmdline = cmdline;
    cmdline[0] = '\0';
    if (!text)
        return;
    size_t len = strnlen(text, CMDLINE_MAX - 1);
    memcpy(cmdline, text, len);
    cmdline[len] = '\0';
}

static void read_image(const struct hvm_start_info *s)
{
    const struct hvm_modlist_entry *m = early_map(s->modlist_paddr, sizeof(*m));
    if (!m)
        noboot("the module list of the boot loader lies at %#lx, out of reach",
               (unsigned long)s->modlist_paddr);
    memory_map_set_image(m->paddr, m->paddr + m->size);
}

void pvh_parse(phys_t pa)
{
    const struct hvm_start_info *s = start_info(pa);
    if (!s || s->version < 1 || s->memmap_entries == 0)
        noboot("the boot loader gives no PVH start information with a memory map");
    read_memory_map(s);
    boot_info.rsdp = s->rsdp_paddr;
    if (s->nr_modules)
        read_image(s);
}
