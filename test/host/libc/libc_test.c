// SPDX-License-Identifier: BSD-2-Clause
// libc_test.c: libc-shim compiled for the host with every name k_*, compared with the C library on
// all short lengths, overlaps and formats.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *k_memcpy(void *to, const void *from, size_t n);
void *k_memmove(void *to, const void *from, size_t n);
void *k_memset(void *to, int byte, size_t n);
int k_memcmp(const void *a, const void *b, size_t n);
char *k_strstr(const char *h, const char *n);
size_t k_strlcpy(char *to, const char *from, size_t size);
unsigned long long k_strtoull(const char *s, char **end, int base);
long k_strtol(const char *s, char **end, int base);
int k_snprintf(char *buf, size_t size, const char *fmt, ...);
extern unsigned char mem_fast_rep;

static int failures;

static void fail(const char *what, size_t a, long b)
{
    if (failures++ < 20)
        printf("libc_test: %s (%zu, %ld)\n", what, a, b);
}

enum { SIZE = 2200 };
static unsigned char a[SIZE], b[SIZE], c[SIZE];

static void shuffle(void)
{
    for (int i = 0; i < SIZE; i++) {
        a[i] = rand();
        b[i] = c[i] = rand();
    }
}

static void test_blocks(size_t n, int offset)
{
    shuffle();
    memcpy(c + 100 + offset, a + 50, n);
    if (k_memcpy(b + 100 + offset, a + 50, n) != b + 100 + offset || memcmp(b, c, SIZE))
        fail("memcpy", n, offset);
    memset(c + 100 + offset, n * 7, n);
    if (k_memset(b + 100 + offset, n * 7, n) != b + 100 + offset || memcmp(b, c, SIZE))
        fail("memset", n, offset);
    if (k_memcmp(b, c, n))
        fail("memcmp equal", n, offset);
    if (n) {
        b[n - 1]++;
        if ((k_memcmp(b, c, n) < 0) != (memcmp(b, c, n) < 0) || k_memcmp(b, c, n - 1))
            fail("memcmp", n, offset);
    }
}

static void test_overlap(size_t n, int distance)
{
    shuffle();
    memmove(c + 500 + distance, c + 500, n);
    if (k_memmove(b + 500 + distance, b + 500, n) != b + 500 + distance || memcmp(b, c, SIZE))
        fail("memmove", n, distance);
}

#define SAME(size, ...)                           \
    do {                                          \
        char x[300], y[300];                      \
        memset(x, 'x', sizeof(x));                \
        memset(y, 'x', sizeof(y));                \
        int n = snprintf(x, size, __VA_ARGS__);   \
        int m = k_snprintf(y, size, __VA_ARGS__); \
        if (n != m || memcmp(x, y, sizeof(x)))    \
            fail(x, size, m);                     \
    } while (0)

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-truncation"

static void test_format(size_t size, const char *flags, const char *width, const char *precision,
                        char conversion)
{
    static const long values[] = {0, 1, -1, 42, INT_MAX, INT_MIN, 255, 65536};
    static const char *lengths[] = {"", "h", "hh", "l"};
    char fmt[40];

    for (int l = 0; l < 4; l++) {
        snprintf(fmt, sizeof(fmt), "<%%%s%s%s%s%c>", flags, width, precision, lengths[l],
                 conversion);
        for (unsigned v = 0; v < sizeof(values) / sizeof(*values); v++) {
            if (l == 3)
                SAME(size, fmt, values[v]);
            else
                SAME(size, fmt, (int)values[v]);
        }
    }
}

static void test_formats(size_t size)
{
    static const char *flags[] = {"", "-", "0", "+", " ", "#", "-0", "+0"};
    static const char *widths[] = {"", "1", "5", "12", "20"};
    static const char *precisions[] = {"", ".0", ".3", ".10"};
    for (int f = 0; f < 8; f++) {
        for (int w = 0; w < 5; w++) {
            for (int p = 0; p < 4; p++) {
                for (const char *conv = "diuxX"; *conv; conv++) {
                    if (strpbrk(flags[f], "+ ") && strchr("uxX", *conv))
                        continue;
                    test_format(size, flags[f], widths[w], precisions[p], *conv);
                }
            }
        }
    }
    SAME(size, "%s|%10s|%-10s|%.2s|%*.*s", "abc", "abc", "abc", "abc", 8, 2, "abcdef");
    SAME(size, "%c|%5c|%%|%p|%zu|%ld|%llx", 'x', 'y', (void *)0x1234, (size_t)5, LONG_MIN,
         ULLONG_MAX);
    SAME(size, "%-5d|%-*d|%*d|%o", 3, 6, 4, -6, 4, 8);
}

static void test_numbers(void)
{
    static const char *texts[] = {"0",
                                  "1",
                                  "0x",
                                  "0x1f",
                                  "077",
                                  "  12x",
                                  "",
                                  "z",
                                  "-5",
                                  "+7",
                                  "99999999999999999999",
                                  "18446744073709551615",
                                  "08",
                                  "0xfFg"};
    static const int bases[] = {0, 8, 10, 16};
    for (unsigned t = 0; t < sizeof(texts) / sizeof(*texts); t++) {
        for (int i = 0; i < 4; i++) {
            char *end, *k_end;
            long v = strtol(texts[t], &end, bases[i]), k = k_strtol(texts[t], &k_end, bases[i]);
            if (v != k || end != k_end)
                fail(texts[t], bases[i], k);
        }
    }
    if (k_strtoull("18446744073709551615", NULL, 0) != ULLONG_MAX)
        fail("strtoull", 0, 0);
}

static void test_strings(void)
{
    char buf[8];
    if (k_strlcpy(buf, "0123456789", sizeof(buf)) != 10 || strcmp(buf, "0123456"))
        fail("strlcpy", 0, 0);
    const char *text = "aababc";
    if (k_strstr(text, "abc") != text + 3 || k_strstr(text, "abd") || k_strstr(text, "") != text)
        fail("strstr", 0, 0);
}

int main(void)
{
    for (mem_fast_rep = 0; mem_fast_rep < 2; mem_fast_rep++) {
        for (size_t n = 0; n < 700; n += n < 100 ? 1 : 3) {
            for (int offset = 0; offset < 3; offset++)
                test_blocks(n, offset);
            for (int d = -40; d <= 40; d += n < 40 ? 1 : 13)
                test_overlap(n, d);
        }
    }
    for (size_t size = 0; size < 60; size += size < 4 ? 1 : 13)
        test_formats(size);
    test_numbers();
    test_strings();
    return failures != 0;
}
