// SPDX-License-Identifier: BSD-2-Clause
// kallsyms.c: looks up the symbol table at the end of the kernel's constants (format: mk/kallsyms).
#include <stdio.h>
#include <string.h>

#include "core/kallsyms.h"

extern const u64 kallsyms_base;
extern const u32 kallsyms_count;
extern const u16 kallsyms_sizes[];
extern const char kallsyms_words[];
extern const char kallsyms_names[];

static const char *nth(const char *texts, u32 n)
{
    while (n--)
        texts += strlen(texts) + 1;
    return texts;
}

// Writes a name out; its bytes from 128 on stand for whole words.
static void expand(const char *name, char *buf, size_t size)
{
    size_t len = 0;
    for (; *name; name++) {
        u8 c = (u8)*name;
        char letter[2] = {(char)c, '\0'};
        const char *part = c < 128 ? letter : nth(kallsyms_words, c - 128u);
        while (*part && len + 1 < size)
            buf[len++] = *part++;
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
