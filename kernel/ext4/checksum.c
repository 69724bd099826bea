// SPDX-License-Identifier: BSD-2-Clause
// checksum.c: CRC-32C (Castagnoli, polynomial 0x1edc6f41 reflected) and CRC-16 (ANSI, 0x8005 reflected), without
// the inversions before and behind: ext4 and its journal keep the bare remainder.
#include "core/atomic.h"
#include "ext4/extfs_internal.h"

// Eight tables of 256 words would be quicker by half again; four keep 4 KiB and take 4 bytes a step.
static u32 tables[4][256];
static bool ready;  // atomic: the tables are whole

static void make_tables(void)
{
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (u32 bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        tables[0][i] = c;
    }
    for (u32 i = 0; i < 256; i++) {
        for (u32 t = 1; t < 4; t++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
    }
    atomic_store(&ready, true);
}

u32 crc32c(u32 crc, const void *data, size_t len)
{
    const u8 *p = data;
    if (unlikely(!atomic_load(&ready)))
        make_tables();  // two at once write the same
    for (; len >= 4; len -= 4, p += 4) {
        crc ^= le32(p);
        crc = tables[3][crc & 0xff] ^ tables[2][crc >> 8 & 0xff] ^ tables[1][crc >> 16 & 0xff] ^
              tables[0][crc >> 24];
    }
    while (len--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p++) & 0xff];
    return crc;
}

u16 crc16(u16 crc, const void *data, size_t len)
{
    const u8 *p = data;
    while (len--) {
        crc ^= *p++;
        for (u32 bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xa001u : crc >> 1;
    }
    return crc;
}
