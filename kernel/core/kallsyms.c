// SPDX-License-Identifier: BSD-2-Clause
// kallsyms.c: looks up the symbol table at the end of the kernel's constants (format: mk/kallsyms).
#include <stdio.h>
#include <string.h>

#include "core/kallsyms.h"

extern const u64 kallsyms_base;
extern const u32 kallsyms_count;
extern const u32 kallsyms_addrs[];
extern const char kallsyms_names[];

const char *kallsyms_name(uintptr_t addr, char *buf, size_t size)
{
    u64 offset = addr - kallsyms_base;
    u32 low = 0, high = kallsyms_count;

    while (low < high) {  // the first function behind addr
        u32 mid = low + (high - low) / 2;
        if (kallsyms_addrs[mid] <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || offset > UINT32_MAX) {
        snprintf(buf, size, "?");
        return buf;
    }
    const char *name = kallsyms_names;
    for (u32 i = 0; i < low - 1; i++)
        name += strlen(name) + 1;
    snprintf(buf, size, "%s+0x%lx", name, offset - kallsyms_addrs[low - 1]);
    return buf;
}
