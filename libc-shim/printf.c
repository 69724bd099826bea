// SPDX-License-Identifier: BSD-2-Clause
// printf.c: formatted text into a buffer.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct out {
    char *buf;
    size_t size, len;  // len counts what did not fit, too
};

struct spec {
    bool left, plus, space, alt, zero, upper;
    int width, precision;  // -1: none
    char length;           // h, H (hh), l, z for all that are 64 bits wide, or 0
};

static void put(struct out *o, const char *text, size_t n)
{
    if (o->len < o->size) {
        size_t room = o->size - o->len;
        memcpy(o->buf + o->len, text, n < room ? n : room);
    }
    o->len += n;
}

static void pad(struct out *o, char c, int n)
{
    for (; n > 0; n--)
        put(o, &c, 1);
}

static void put_text(struct out *o, const struct spec *s, const char *text, size_t n)
{
    int fill = s->width - (int)n;
    if (!s->left)
        pad(o, ' ', fill);
    put(o, text, n);
    if (s->left)
        pad(o, ' ', fill);
}

// prefix: the sign, or 0x.
static void put_number(struct out *o, const struct spec *s, uint64_t value, unsigned base,
                       const char *prefix)
{
    const char *digits = s->upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char buf[24], *p = buf + sizeof buf;

    while (value) {
        *--p = digits[value % base];
        value /= base;
    }
    int n = buf + sizeof buf - p;
    int n_prefix = strlen(prefix);
    int zeros = (s->precision >= 0 ? s->precision : 1) - n;
    if (s->zero && !s->left && s->precision < 0)
        zeros = s->width - n_prefix - n > zeros ? s->width - n_prefix - n : zeros;
    if (zeros < 0)
        zeros = 0;
    int fill = s->width - n_prefix - zeros - n;
    if (!s->left)
        pad(o, ' ', fill);
    put(o, prefix, n_prefix);
    pad(o, '0', zeros);
    put(o, p, n);
    if (s->left)
        pad(o, ' ', fill);
}

static const char *parse_number(const char *f, int *out)
{
    *out = 0;
    for (; *f >= '0' && *f <= '9'; f++)
        *out = *out * 10 + (*f - '0');
    return f;
}

static const char *parse_flags(const char *f, struct spec *s)
{
    for (;; f++) {
        switch (*f) {
        case '-': s->left = true; break;
        case '+': s->plus = true; break;
        case ' ': s->space = true; break;
        case '#': s->alt = true; break;
        case '0': s->zero = true; break;
        default: return f;
        }
    }
}

static const char *parse_length(const char *f, struct spec *s)
{
    switch (*f) {
    case 'h': s->length = f[1] == 'h' ? 'H' : 'h'; return f + (f[1] == 'h' ? 2 : 1);
    case 'l': s->length = 'l'; return f + (f[1] == 'l' ? 2 : 1);
    case 'z':
    case 'j':
    case 't': s->length = 'l'; return f + 1;
    default: return f;
    }
}

static uint64_t narrow(uint64_t value, char length)
{
    switch (length) {
    case 'H': return (unsigned char)value;
    case 'h': return (unsigned short)value;
    case 'l': return value;
    default: return (unsigned)value;
    }
}

static void put_signed(struct out *o, const struct spec *s, int64_t value)
{
    if (s->length == 'H')
        value = (signed char)value;
    else if (s->length == 'h')
        value = (short)value;
    const char *sign = value < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";
    put_number(o, s, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, sign);
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct out o = {buf, size, 0};

    for (const char *f = fmt; *f;) {
        if (*f != '%') {
            const char *start = f;
            while (*f && *f != '%')
                f++;
            put(&o, start, f - start);
            continue;
        }
        struct spec s = {.precision = -1};
        f = parse_flags(f + 1, &s);
        if (*f == '*') {
            s.width = va_arg(args, int);
            f++;
            if (s.width < 0) {
                s.left = true;
                s.width = -s.width;
            }
        } else {
            f = parse_number(f, &s.width);
        }
        if (*f == '.') {
            if (f[1] == '*') {
                s.precision = va_arg(args, int);
                f += 2;
            } else {
                f = parse_number(f + 1, &s.precision);
            }
        }
        f = parse_length(f, &s);
        char conversion = *f;
        if (!conversion)
            break;
        f++;
        switch (conversion) {
        case 'd':
        case 'i':
            put_signed(&o, &s, s.length == 'l' ? va_arg(args, long) : va_arg(args, int));
            break;
        case 'u':
        case 'x':
        case 'X':
        case 'o': {
            uint64_t v = s.length == 'l' ? va_arg(args, unsigned long) : va_arg(args, unsigned);
            v = narrow(v, s.length);
            s.upper = conversion == 'X';
            unsigned base = conversion == 'u' ? 10 : conversion == 'o' ? 8 : 16;
            const char *prefix = !s.alt || !v ? ""
                                 : base == 8  ? "0"
                                 : base == 10 ? ""
                                 : s.upper    ? "0X"
                                              : "0x";
            put_number(&o, &s, v, base, prefix);
            break;
        }
        case 'p': put_number(&o, &s, (uintptr_t)va_arg(args, void *), 16, "0x"); break;
        case 'c': {
            char c = va_arg(args, int);
            put_text(&o, &s, &c, 1);
            break;
        }
        case 's': {
            const char *text = va_arg(args, const char *);
            if (!text)
                text = "(null)";
            size_t n = s.precision >= 0 ? strnlen(text, s.precision) : strlen(text);
            put_text(&o, &s, text, n);
            break;
        }
        case '%': put(&o, "%", 1); break;
        default:  // shown as it stands, so that the mistake is seen
            put(&o, "%", 1);
            put(&o, &conversion, 1);
            break;
        }
    }
    if (size)
        buf[o.len < size ? o.len : size - 1] = '\0';
    return o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, size, fmt, args);
    va_end(args);
    return n;
}

int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, size, fmt, args);
    va_end(args);
    if (size == 0)
        return 0;
    return (size_t)n < size ? n : (int)size - 1;
}
