// SPDX-License-Identifier: BSD-2-Clause
// pvh.c: from a kernel file to its entry by PVH (Xen docs/misc/pvh.pandoc; ELF-64 object file format).
#include "boot/pvh.h"

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, ph_offset, sh_offset;
    uint32_t flags;
    uint16_t header_size, ph_size, n_ph, sh_size, n_sh, sh_names;
};
struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, file_bytes, memory_bytes, align;
};
struct elf_note {
    uint32_t name_bytes, value_bytes, type;
};
enum { SEGMENT_LOAD = 1, SEGMENT_NOTE = 4, MACHINE_X86_64 = 62, NOTE_PHYS32_ENTRY = 18 };

#define KERNEL_MAX 0x40000000u  // it lies below the first GiB

static void segment_at(const struct pvh_kernel *kernel, unsigned i, struct elf_segment *segment)
{
    struct elf_header h;
    memcpy(&h, kernel->file, sizeof(h));
    memcpy(segment, kernel->file + h.ph_offset + i * sizeof(*segment), sizeof(*segment));
}

// The entry out of one note segment. => 0: not there
static uint32_t find_entry(const uint8_t *p, size_t left)
{
    struct elf_note note;
    while (left >= sizeof(note)) {
        memcpy(&note, p, sizeof(note));
        uint64_t name = ROUND_UP((uint64_t)note.name_bytes, 4),
                 value = ROUND_UP((uint64_t)note.value_bytes, 4);
        uint64_t whole = sizeof(note) + name + value;
        if (whole > left)
            break;
        if (note.type == NOTE_PHYS32_ENTRY && note.name_bytes == 4 && note.value_bytes >= 4 &&
            !memcmp(p + sizeof(note), "Xen", 4)) {
            uint32_t entry;
            memcpy(&entry, p + sizeof(note) + name, 4);
            return entry;
        }
        p += whole;
        left -= whole;
    }
    return 0;
}

static void check_segment(struct pvh_kernel *kernel, const struct elf_segment *s)
{
    if (s->offset > kernel->bytes || s->file_bytes > kernel->bytes - s->offset)
        fail("the kernel file is cut short");
    if (s->type == SEGMENT_NOTE && !kernel->entry)
        kernel->entry = find_entry(kernel->file + s->offset, s->file_bytes);
    if (s->type != SEGMENT_LOAD || !s->memory_bytes)
        return;
    if (s->file_bytes > s->memory_bytes || s->paddr >= KERNEL_MAX ||
        s->memory_bytes > KERNEL_MAX - s->paddr)
        fail("the kernel file is damaged");
    kernel->start = MIN(kernel->start, (uint32_t)s->paddr);
    if (kernel->end < s->paddr + s->memory_bytes)
        kernel->end = s->paddr + s->memory_bytes;
}

void pvh_check_kernel(struct pvh_kernel *kernel, const void *file, size_t bytes)
{
    struct elf_header h;
    *kernel = (struct pvh_kernel){.file = file, .bytes = bytes, .start = UINT32_MAX};
    if (bytes < sizeof(h))
        fail("the kernel file is cut short");
    memcpy(&h, file, sizeof(h));
    if (memcmp(h.ident, "\177ELF\2\1", 6) || h.machine != MACHINE_X86_64 ||
        h.ph_size != sizeof(struct elf_segment))
        fail("the kernel file is none for this machine");
    if (h.ph_offset > bytes || (uint64_t)h.n_ph * h.ph_size > bytes - h.ph_offset)
        fail("the kernel file is cut short");
    for (unsigned i = 0; i < h.n_ph; i++) {
        struct elf_segment segment;
        segment_at(kernel, i, &segment);
        check_segment(kernel, &segment);
    }
    if (kernel->entry < kernel->start || kernel->entry >= kernel->end)
        fail("the kernel file has no PVH entry");
}

void pvh_place_kernel(const struct pvh_kernel *kernel)
{
    struct elf_header h;
    memcpy(&h, kernel->file, sizeof(h));
    for (unsigned i = 0; i < h.n_ph; i++) {
        struct elf_segment s;
        segment_at(kernel, i, &s);
        if (s.type != SEGMENT_LOAD)
            continue;
        uint8_t *to = (uint8_t *)(uintptr_t)s.paddr;
        memcpy(to, kernel->file + s.offset, s.file_bytes);
        memset(to + s.file_bytes, 0, s.memory_bytes - s.file_bytes);
    }
}

void pvh_begin(struct pvh *pvh) { memset(&pvh->info, 0, sizeof(pvh->info)); }

void pvh_add_range(struct pvh *pvh, uint64_t start, uint64_t bytes, uint32_t type)
{
    uint32_t n = pvh->info.memmap_entries;
    struct hvm_memmap_entry *last = n ? &pvh->map[n - 1] : NULL;
    if (!bytes)
        return;
    if (last && last->type == type && last->addr + last->size == start) {
        last->size += bytes;
    } else if (n < PVH_RANGES) {
        pvh->map[n] = (struct hvm_memmap_entry){.addr = start, .size = bytes, .type = type};
        pvh->info.memmap_entries++;
    } else if (type != E820_RAM) {  // memory may be left out, what is no memory may not
        fail("the firmware's memory map has too many ranges");
    }
}

bool pvh_is_ram(const struct pvh *pvh, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < pvh->info.memmap_entries; i++) {
        const struct hvm_memmap_entry *e = &pvh->map[i];
        if (e->type == E820_RAM && e->addr <= start && end <= e->addr + e->size)
            return true;
    }
    return false;
}

void pvh_end(struct pvh *pvh, const struct boot_record *record, uint64_t root, uint64_t rsdp)
{
    size_t len = strlen(record->words);
    memcpy(pvh->words, record->words, len + 1);
    if (debugcon_there())
        memcpy(pvh->words + len, " control=e9", sizeof(" control=e9"));
    pvh->module = (struct hvm_modlist_entry){.paddr = root, .size = record->load_bytes};
    pvh->info.magic = HVM_START_MAGIC;
    pvh->info.version = 1;
    pvh->info.nr_modules = record->load_bytes != 0;
    pvh->info.modlist_paddr = (uintptr_t)&pvh->module;
    pvh->info.cmdline_paddr = (uintptr_t)pvh->words;
    pvh->info.rsdp_paddr = rsdp;
    pvh->info.memmap_paddr = (uintptr_t)pvh->map;
}

enum { DEBUGCON = 0xe9 };  // reads as its own number where it is

bool debugcon_there(void)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"((uint16_t)DEBUGCON));
    return value == DEBUGCON;
}

void debugcon_write(const char *text)
{
    for (; *text; text++)
        __asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)DEBUGCON));
}
