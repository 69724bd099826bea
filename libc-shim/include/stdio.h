// SPDX-License-Identifier: BSD-2-Clause
// stdio.h: formatting into buffers.
//
// Conversions: d i u x X o c s p % with flags - + space # 0, width and precision (also *), and the
// lengths hh h l ll z j t. No floating point.
#pragma once

#include <stdarg.h>
#include <stddef.h>

int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
// => Length that the whole text has, without the NUL; a result >= size tells of a cut.
int snprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// As above, but gives the bytes that were really written (without the NUL): for appending.
int scnprintf(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
