// SPDX-License-Identifier: BSD-2-Clause
// popcount.c: what the compiler calls for __builtin_popcount: the CPU counts bits in vector registers only, which hold
// a program's values, and the compiler's own library uses them.
#include <stdint.h>

int __popcountdi2(uint64_t x);

// Sums of neighbouring groups of 1, 2 and 4 bits; the product adds up the bytes.
int __popcountdi2(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (int)(x * 0x0101010101010101 >> 56);
}
