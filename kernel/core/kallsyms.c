// SPDX-License-Identifier: BSD-2-Clause
// kallsyms.c: looks up the symbol table at the end of the kernel's constants (format: mk/kallsyms).
#include <stdio.h>
#include <string.h>

#include "core/kallsyms.h"

extern const u64 kallsyms_base;
extern const u32 kallsyms_count;
extern const u16 kallsyms_sizes[];
extern const u8 kallsyms_pairs[256][2];
extern const char kallsyms_names[];

#define PAIRS_DEPTH 64  // more than a name has letters, so more than pairs can nest in one

static const char *nth(const char *texts, u32 n)
{
    while (n--)
        texts += strlen(texts) + 1;
    return texts;
}

// Writes a name out: the pairs that its bytes stand for, the left half first, the right one kept until then.
static void expand(const char *name, char *buf, size_t size)
{
    size_t len = 0;
    for (; *name; name++) {
        u8 kept[PAIRS_DEPTH], c = (u8)*name;
        unsigned n = 0;
        for (;;) {
            const u8 *pair = kallsyms_pairs[c];
            if (pair[1] && n < PAIRS_DEPTH) {
                kept[n++] = pair[1];
                c = pair[0];
                continue;
            }
            if (len + 1 < size)
                buf[len++] = (char)c;
            if (n == 0)
                break;
            c = kept[--n];
        }
    }
    buf[len] = '\0';
}

const char *kallsyms_name(uintptr_t addr, char *buf, size_t size)
{
    u64 offset = addr - kallsyms_base;
    u32 i = 0;
    if (addr < kallsyms_base || kallsyms_count == 0 || offset > UINT32_MAX) {
        snprintf(buf, size, "?");
        return buf;
    }
    while (i + 1 < kallsyms_count && offset >= kallsyms_sizes[i])
        offset -= kallsyms_sizes[i++];
    expand(nth(kallsyms_names, i), buf, size);
    size_t len = strlen(buf);
    snprintf(buf + len, size - len, "+0x%llx", (unsigned long long)offset);
    return buf;
}
