// SPDX-License-Identifier: BSD-2-Clause
// mem.c: what moves blocks of memory, small rather than quick; the other string functions are those of libc-shim.
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

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    const unsigned char *q = from;
    if (p <= q)
        return memcpy(to, from, n);
    while (n--)
        p[n] = q[n];
    return to;
}
