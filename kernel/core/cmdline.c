// SPDX-License-Identifier: BSD-2-Clause
// cmdline.c: the kernel's command line, words separated by blanks.
#include <string.h>

#include "core/platform.h"

const char *cmdline_next(const char *at, const char *name, char *buf, size_t size)
{
    size_t len = strlen(name);
    const char *p = at ? at : boot_info.cmdline;

    while (p && *p) {
        const char *end = p;
        while (*end && *end != ' ' && *end != '\n')
            end++;
        size_t word = end - p;
        const char *next = end;
        while (*next == ' ' || *next == '\n')
            next++;
        if (word >= len && !memcmp(p, name, len) && (word == len || p[len] == '=')) {
            const char *value = word == len ? end : p + len + 1;
            size_t n = MIN((size_t)(end - value), size - 1);
            memcpy(buf, value, n);
            buf[n] = '\0';
            return next;
        }
        p = next;
    }
    return NULL;
}

const char *cmdline_get(const char *name, char *buf, size_t size)
{
    return cmdline_next(NULL, name, buf, size) ? buf : NULL;
}
