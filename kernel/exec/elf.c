// SPDX-License-Identifier: BSD-2-Clause
// elf.c: ELF headers to a load plan. Nothing here touches memory that it was not handed, and every
// sum is checked: the headers come from outside.
#include "exec/elf.h"

#include <string.h>

enum { PT_LOAD = 1, PT_INTERP = 3, PT_PHDR = 6, PT_GNU_STACK = 0x6474e551 };
enum { ET_EXEC = 2, ET_DYN = 3 };

enum elf_error elf_check_header(const struct elf_header *h, u64 file_size, u16 machine,
                                u64 *phdrs_offset, u64 *phdrs_size)
{
    if (file_size < sizeof *h)
        return ELF_TOO_SHORT;
    if (memcmp(h->ident, "\177ELF", 4))
        return ELF_BAD_MAGIC;
    if (h->ident[4] != 2)
        return ELF_NOT_64_BIT;
    if (h->ident[5] != 1)
        return ELF_BAD_ENDIAN;
    if (h->type != ET_EXEC && h->type != ET_DYN)
        return ELF_BAD_TYPE;
    if (h->machine != machine)
        return ELF_BAD_MACHINE;
    if (h->phentsize != sizeof(struct elf_phdr) || h->phnum == 0 || h->phnum > ELF_MAX_PHDRS)
        return ELF_BAD_PHDRS;
    *phdrs_size = (u64)h->phnum * sizeof(struct elf_phdr);
    *phdrs_offset = h->phoff;
    if (h->phoff > file_size || file_size - h->phoff < *phdrs_size)
        return ELF_BAD_PHDRS;
    return ELF_OK;
}

static enum elf_error plan_segment(const struct elf_phdr *p, u64 file_size, u64 user_end,
                                   struct elf_segment *s)
{
    if (p->filesz > p->memsz || p->offset > file_size || file_size - p->offset < p->filesz)
        return ELF_BAD_SEGMENT;
    if (p->vaddr >= user_end || user_end - p->vaddr < p->memsz)
        return ELF_BAD_SEGMENT;
    if ((p->vaddr ^ p->offset) & (PAGE_SIZE - 1) && p->filesz)
        return ELF_BAD_SEGMENT;
    u64 in_page = p->vaddr & (PAGE_SIZE - 1);
    s->map_start = p->vaddr - in_page;
    s->file_offset = p->filesz ? p->offset - in_page : 0;
    s->file_end = p->filesz ? p->vaddr + p->filesz : s->map_start;
    s->mem_end = p->vaddr + p->memsz;
    s->flags = p->flags & (PF_R | PF_W | PF_X);
    return ELF_OK;
}

// Segments must ascend, as the ABI says; pages may be shared by neighbours (the later one wins).
static enum elf_error add_segment(struct elf_image *image, const struct elf_segment *s)
{
    if (image->n_segments) {
        const struct elf_segment *before = &image->segments[image->n_segments - 1];
        if (s->map_start < before->map_start || before->mem_end > ALIGN_UP(s->mem_end, PAGE_SIZE))
            return ELF_BAD_SEGMENT;
    } else {
        image->start = s->map_start;
    }
    image->end = ALIGN_UP(s->mem_end, PAGE_SIZE);
    image->segments[image->n_segments++] = *s;
    return ELF_OK;
}

// AT_PHDR: where the table lies in memory, if a segment's file bytes hold it.
static void find_phdrs(const struct elf_header *h, const struct elf_phdr *p,
                       struct elf_image *image)
{
    u64 size = (u64)h->phnum * sizeof *p;
    if (h->phoff >= p->offset && h->phoff - p->offset <= p->filesz &&
        p->filesz - (h->phoff - p->offset) >= size && !image->phdr_vaddr)
        image->phdr_vaddr = p->vaddr + (h->phoff - p->offset);
}

enum elf_error elf_plan(const struct elf_header *h, const struct elf_phdr *phdrs, u64 file_size,
                        u64 user_end, struct elf_image *image)
{
    memset(image, 0, offsetof(struct elf_image, segments));
    image->dynamic = h->type == ET_DYN;
    image->exec_stack = false;
    image->entry = h->entry;
    image->align = PAGE_SIZE;
    image->phnum = h->phnum;
    for (u32 i = 0; i < h->phnum; i++) {
        const struct elf_phdr *p = &phdrs[i];
        struct elf_segment s;
        enum elf_error err;
        if (p->type == PT_GNU_STACK)
            image->exec_stack = p->flags & PF_X;
        if (p->type == PT_INTERP) {
            if (p->filesz < 2 || p->filesz > ELF_INTERP_MAX || p->offset > file_size ||
                file_size - p->offset < p->filesz)
                return ELF_BAD_INTERP;
            image->interp_offset = p->offset;
            image->interp_size = p->filesz;
        }
        if (p->type != PT_LOAD || p->memsz == 0)
            continue;
        if ((err = plan_segment(p, file_size, user_end, &s)) || (err = add_segment(image, &s)))
            return err;
        if (p->align > image->align && !(p->align & (p->align - 1)) && p->align <= BIT(30))
            image->align = p->align;
        find_phdrs(h, p, image);
    }
    if (!image->n_segments)
        return ELF_NO_SEGMENT;
    if (image->end > user_end || image->end - image->start > user_end / 2)
        return ELF_BAD_SEGMENT;
    return ELF_OK;
}

const char *elf_error_text(enum elf_error e)
{
    static const char *const text[] = {
        [ELF_OK] = "no error",
        [ELF_TOO_SHORT] = "shorter than an ELF header",
        [ELF_BAD_MAGIC] = "not an ELF file",
        [ELF_NOT_64_BIT] = "not a 64-bit ELF",
        [ELF_BAD_ENDIAN] = "not a little-endian ELF",
        [ELF_BAD_TYPE] = "neither an executable nor a position-independent executable",
        [ELF_BAD_MACHINE] = "made for another architecture",
        [ELF_BAD_PHDRS] = "bad program header table",
        [ELF_BAD_SEGMENT] = "bad loadable segment",
        [ELF_NO_SEGMENT] = "no loadable segment",
        [ELF_BAD_INTERP] = "bad interpreter name",
    };
    return (unsigned)e < ARRAY_SIZE(text) ? text[e] : "unknown";
}
