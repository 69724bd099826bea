// SPDX-License-Identifier: BSD-2-Clause
// mem.c: the few functions of a C library that a loader needs, small rather than quick.
#include "boot/boot.h"

#pragma GCC optimize("no-tree-loop-distribute-patterns")

void *memcpy(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    const unsigned char *q = from;
    for (; n >= sizeof(long); n -= sizeof(long), p += sizeof(long), q += sizeof(long)) {
        long word;
        __builtin_memcpy(&word, q, sizeof(word));
        __builtin_memcpy(p, &word, sizeof(word));
    }
    while (n--)
        *p++ = *q++;
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    for (unsigned char *p = to; n--;)
        *p++ = byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}
