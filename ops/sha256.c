// SPDX-License-Identifier: BSD-2-Clause
// SHA-256 (FIPS 180-4), by which OCI images name their parts.
#include "sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lethe.h"

enum { BLOCK = 64, PIECE = 65536 };

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes, and of the square roots of the first 8.
static uint32_t round_constants[64], start[8];

static bool is_prime(unsigned n)
{
    for (unsigned d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return true;
}

// The fraction of PRIME's root of that degree (2 or 3), by halving the interval. 128 bits hold the cube of 20 with 96 bits of fraction.
static uint32_t root_fraction(unsigned prime, int degree)
{
    uint64_t low = 0, high = (uint64_t)20 << 32;

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        unsigned __int128 power = (unsigned __int128)middle * middle;
        bool above = degree == 2 ? power > (unsigned __int128)prime << 64
                                 : power * middle > (unsigned __int128)prime << 96;
        *(above ? &high : &low) = middle;
    }
    return (uint32_t)low;
}

static void make_constants(void)
{
    for (unsigned n = 2, i = 0; i < 64; n++) {
        if (!is_prime(n))
            continue;
        round_constants[i] = root_fraction(n, 3);
        if (i < 8)
            start[i] = root_fraction(n, 2);
        i++;
    }
}

static uint32_t turn(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

static void add_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof(s));
    for (int i = 0; i < 64; i++) {
        uint32_t one = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                       ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constants[i] + w[i];
        uint32_t two = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

uint64_t sha256_file(int fd, char digest[SHA256_TEXT])
{
    static uint8_t piece[PIECE + 2 * BLOCK];
    uint32_t state[8];
    uint64_t bytes = 0;
    ssize_t n;

    if (!start[0])
        make_constants();
    memcpy(state, start, sizeof(state));
    do {
        size_t filled = 0;
        while (filled < PIECE &&
               (n = pread(fd, piece + filled, PIECE - filled, bytes + filled)) > 0)
            filled += n;
        bytes += filled;
        n = filled;
        if (filled < PIECE) {  // the end: a bit, zeros, and the number of bits
            size_t end = (filled + 9 + BLOCK - 1) / BLOCK * BLOCK;
            memset(piece + filled, 0, end - filled);
            piece[filled] = 0x80;
            for (int i = 0; i < 8; i++)
                piece[end - 1 - i] = bytes * 8 >> (8 * i);
            filled = end;
        }
        for (size_t at = 0; at < filled; at += BLOCK)
            add_block(state, piece + at);
    } while (n == PIECE);
    for (int i = 0; i < 8; i++)
        sprintf(digest + 8 * i, "%08x", state[i]);
    return bytes;
}
