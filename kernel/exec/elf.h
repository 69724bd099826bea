// SPDX-License-Identifier: BSD-2-Clause
// elf.h: reading ELF headers (System V ABI, chapters 4 and 5; elf(5)). Portable: the host tests fuzz it.
#pragma once

#include "core/base.h"

#define ELF_MAX_PHDRS 64     // more than any linker makes; Linux allows 64 KiB of them
#define ELF_INTERP_MAX 4096  // PATH_MAX

#define PF_X 1
#define PF_W 2
#define PF_R 4

struct elf_header {  // Elf64_Ehdr
    u8 ident[16];
    u16 type, machine;
    u32 version;
    u64 entry, phoff, shoff;
    u32 flags;
    u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_phdr {  // Elf64_Phdr
    u32 type, flags;
    u64 offset, vaddr, paddr, filesz, memsz, align;
};

// One loadable segment, widened to pages.
struct elf_segment {
    u64 map_start;    // page-aligned address (relative to the load bias)
    u64 file_offset;  // page-aligned offset that map_start shows
    u64 file_end;     // end of the file bytes in memory, not aligned (== map_start: none)
    u64 mem_end;      // end of the segment in memory, not aligned; zeros from file_end on
    u32 flags;        // PF_*
};

struct elf_image {
    bool dynamic;     // ET_DYN: the base is ours to choose
    int prot;         // of the architecture, for code (load.c): PROT_BTI
    bool exec_stack;  // PT_GNU_STACK asks for it
    u64 entry;
    u64 align;       // of the base of an ET_DYN image
    u64 start, end;  // span of all segments, page aligned
    u64 phdr_vaddr;  // where the program headers are in memory (AT_PHDR), 0 if they are not
    u32 phnum;
    u64 interp_offset, interp_size;  // PT_INTERP, size 0 if none
    u32 n_segments;
    struct elf_segment segments[ELF_MAX_PHDRS];
};

enum elf_error {
    ELF_OK = 0,
    ELF_TOO_SHORT,
    ELF_BAD_MAGIC,
    ELF_NOT_64_BIT,
    ELF_BAD_ENDIAN,
    ELF_BAD_TYPE,
    ELF_BAD_MACHINE,
    ELF_BAD_PHDRS,
    ELF_BAD_SEGMENT,
    ELF_NO_SEGMENT,
    ELF_BAD_INTERP,
};

// Checks the file header alone and tells where the program headers lie.
// => *phdrs_offset and *phdrs_size (bytes, at most ELF_MAX_PHDRS entries).
enum elf_error elf_check_header(const struct elf_header *h, u64 file_size, u16 machine,
                                u64 *phdrs_offset, u64 *phdrs_size);
// Decodes the program headers into a load plan; every number in *image is then in range:
// segments are sorted, do not overlap, end below user_end and stay inside the file.
enum elf_error elf_plan(const struct elf_header *h, const struct elf_phdr *phdrs, u64 file_size,
                        u64 user_end, struct elf_image *image);
const char *elf_error_text(enum elf_error e);
