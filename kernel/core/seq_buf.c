// SPDX-License-Identifier: BSD-2-Clause
// seq_buf.c: text buffers that grow.
#include <stdio.h>
#include <string.h>

#include "core/seq_buf.h"
#include "mm/page.h"

#define SEQ_FIRST_SIZE 1024

void seq_init(struct seq_buf *s) { *s = (struct seq_buf){0}; }

void seq_free(struct seq_buf *s)
{
    kfree(s->data);
    seq_init(s);
}

// => false: no memory, the buffer is marked as failed.
bool seq_reserve(struct seq_buf *s, size_t n)
{
    if (s->failed)
        return false;
    if (s->cap - s->len >= n)
        return true;
    size_t cap = s->cap ? s->cap * 2 : SEQ_FIRST_SIZE;
    while (cap - s->len < n)
        cap *= 2;
    char *data = krealloc(s->data, cap);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->cap = cap;
    return true;
}

void seq_write(struct seq_buf *s, const void *data, size_t len)
{
    if (!seq_reserve(s, len))
        return;
    memcpy(s->data + s->len, data, len);
    s->len += len;
}

void seq_printf(struct seq_buf *s, const char *fmt, ...)
{
    va_list args;
    if (!seq_reserve(s, 64))
        return;
    for (;;) {
        size_t room = s->cap - s->len;
        va_start(args, fmt);
        size_t n = vsnprintf(s->data + s->len, room, fmt, args);
        va_end(args);
        if (n < room) {
            s->len += n;
            return;
        }
        if (!seq_reserve(s, n + 1))
            return;
    }
}
