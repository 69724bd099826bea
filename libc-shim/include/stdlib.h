// SPDX-License-Identifier: BSD-2-Clause
// stdlib.h: numbers from text. Nothing here allocates memory.
#pragma once

#include <stddef.h>

// As strtoull(3) with base 0, 8, 10 or 16; no sign. An overflow gives the largest value.
unsigned long long strtoull(const char *s, char **end, int base);
unsigned long strtoul(const char *s, char **end, int base);
long strtol(const char *s, char **end, int base);
int atoi(const char *s);
