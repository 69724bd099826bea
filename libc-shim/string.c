// SPDX-License-Identifier: BSD-2-Clause
// string.c: string functions, in plain C. The four that move blocks of memory are the
// architecture's (libc-shim/<arch>/).
#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Keeps the compiler from turning the loops below into calls of the functions that they are.
#ifdef __GNUC__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;
    for (; n >= 8; n -= 8, p += 8, q += 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, p, 8);
        __builtin_memcpy(&y, q, 8);
        if (x != y)
            break;
    }
    for (; n; n--, p++, q++) {
        if (*p != *q)
            return *p - *q;
    }
    return 0;
}

void *memchr(const void *s, int c, size_t n)
{
    const unsigned char *p = s;
    for (; n; n--, p++) {
        if (*p == (unsigned char)c)
            return (void *)p;
    }
    return NULL;
}

size_t strlen(const char *s)
{
    const char *p = s;
    while (*p)
        p++;
    return p - s;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;
    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && *a == *b; n--)
        a++, b++;
    return n ? (unsigned char)*a - (unsigned char)*b : 0;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int c)
{
    const char *last = NULL;
    for (;; s++) {
        if (*s == (char)c)
            last = s;
        if (!*s)
            return (char *)last;
    }
}

char *strstr(const char *haystack, const char *needle)
{
    size_t len = strlen(needle);
    for (; *haystack; haystack++) {
        if (!strncmp(haystack, needle, len))
            return (char *)haystack;
    }
    return len ? NULL : (char *)haystack;
}

size_t strspn(const char *s, const char *accept)
{
    size_t n = 0;
    while (s[n] && strchr(accept, s[n]))
        n++;
    return n;
}

size_t strcspn(const char *s, const char *reject)
{
    size_t n = 0;
    while (s[n] && !strchr(reject, s[n]))
        n++;
    return n;
}

char *strcpy(char *to, const char *from) { return memcpy(to, from, strlen(from) + 1); }

char *strncpy(char *to, const char *from, size_t n)
{
    size_t len = strnlen(from, n);
    memcpy(to, from, len);
    memset(to + len, 0, n - len);
    return to;
}

size_t strlcpy(char *to, const char *from, size_t size)
{
    size_t len = strlen(from);
    if (size) {
        size_t n = len < size ? len : size - 1;
        memcpy(to, from, n);
        to[n] = '\0';
    }
    return len;
}

size_t strlcat(char *to, const char *from, size_t size)
{
    size_t len = strnlen(to, size);
    return len + strlcpy(to + len, from, size - len);
}

unsigned long long strtoull(const char *s, char **end, int base)
{
    unsigned long long value = 0;
    const char *start = s;

    while (isspace(*s))
        s++;
    if ((base == 0 || base == 16) && s[0] == '0' && (s[1] | 32) == 'x' && isxdigit(s[2])) {
        s += 2;
        base = 16;
    } else if (base == 0) {
        base = *s == '0' ? 8 : 10;
    }
    for (; isalnum(*s); s++) {
        int digit = isdigit(*s) ? *s - '0' : (*s | 32) - 'a' + 10;
        if (digit >= base)
            break;
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            value = ULLONG_MAX;
        start = s + 1;
    }
    if (end)
        *end = (char *)start;
    return value;
}

unsigned long strtoul(const char *s, char **end, int base) { return strtoull(s, end, base); }

long strtol(const char *s, char **end, int base)
{
    const char *p = s;
    while (isspace(*p))
        p++;
    int negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    char *stop;
    unsigned long value = strtoull(p, &stop, base);
    if (end)
        *end = stop == p ? (char *)s : stop;
    if (value > LONG_MAX)
        return negative ? LONG_MIN : LONG_MAX;
    return negative ? -(long)value : (long)value;
}

int atoi(const char *s) { return (int)strtol(s, NULL, 10); }
