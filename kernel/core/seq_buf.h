// SPDX-License-Identifier: BSD-2-Clause
// seq_buf.h: a growing text buffer for files whose contents are made when read (/proc, /sys).
#pragma once

#include <stdarg.h>

#include "core/base.h"

struct seq_buf {
    char *data;  // kmalloc'd, grows
    size_t len, cap;
    bool failed;  // memory was short: the reader gets ENOMEM
};
void seq_init(struct seq_buf *s);
void seq_free(struct seq_buf *s);
void seq_printf(struct seq_buf *s, const char *fmt, ...) __printf(2, 3);
// Room for n more bytes, so that what is printed under a spinlock allocates nothing. => false: no memory
bool seq_reserve(struct seq_buf *s, size_t n);
static inline size_t seq_room(const struct seq_buf *s) { return s->cap - s->len; }
void seq_write(struct seq_buf *s, const void *data, size_t len);
