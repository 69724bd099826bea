// SPDX-License-Identifier: BSD-2-Clause
// bti.c: which programs ask for guarded code, where indirect branches end at landing pads only (branch target identification,
// DDI 0487, D8.4.7): what the note of GNU properties in a file says (System V ABI for the Arm 64-bit architecture, 6.2).
//
// The pages of an area with PROT_BTI are guarded. The area's flag and the entries' bit take the place of a protection key, which
// this architecture has none of.
#include <string.h>

#include "a64_internal.h"
#include "arch/mmu.h"

enum { NT_GNU_PROPERTY = 5, FEATURE_1_AND = 0xc0000000u, FEATURE_BTI = 1 };
struct note {
    u32 name_bytes, bytes, kind;
    char name[4];
};
struct property {
    u32 kind, bytes;  // data behind it, filled up to a multiple of 8
};

int arch_elf_prot(const u8 *data, size_t n)
{
    struct note note;
    struct property property;
    u32 features = 0;
    if (n < sizeof(note))
        return -ENOEXEC;
    memcpy(&note, data, sizeof(note));
    if (note.name_bytes != sizeof(note.name) || note.kind != NT_GNU_PROPERTY ||
        memcmp(note.name, "GNU", 4) || note.bytes > n - sizeof(note))
        return -ENOEXEC;
    const u8 *p = data + sizeof(note), *end = p + note.bytes;
    while (p < end) {
        if ((size_t)(end - p) < sizeof(property))
            return -ENOEXEC;
        memcpy(&property, p, sizeof(property));
        p += sizeof(property);
        u64 filled = ALIGN_UP((u64)property.bytes, 8ul);
        if (filled > (size_t)(end - p))
            return -ENOEXEC;
        if (property.kind == FEATURE_1_AND && property.bytes != sizeof(features))
            return -ENOEXEC;
        if (property.kind == FEATURE_1_AND)
            memcpy(&features, p, sizeof(features));
        p += filled;
    }
    return features & FEATURE_BTI ? arch_prot_bits() : 0;
}
