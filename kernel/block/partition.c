// SPDX-License-Identifier: BSD-2-Clause
// partition.c: partition tables: GPT (UEFI 2.10, chapter 5) and MBR with its chain of extended ones.
//
// A table is believed when its checksums hold and every partition lies on the disk; one that does not is left out. The backup
// GPT at the end of the disk is used when the first is damaged.
#include <string.h>

#include "block/block.h"
#include "core/log.h"
#include "mm/page.h"

#define GPT_ENTRY_MIN 128u
#define GPT_ENTRIES_MAX 256u
#define LOGICAL_MAX 32u  // links of the chain of extended partitions that are followed
#define FIRST_LOGICAL 5u

static u32 get32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}
static u64 get64(const u8 *p)
{
    u64 v;
    memcpy(&v, p, 8);
    return v;
}

static u32 crc32(const u8 *data, size_t len)  // IEEE 802.3, reflected
{
    u32 crc = UINT32_MAX;
    while (len--) {
        crc ^= *data++;
        for (u32 bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

static void add(struct block_disk *d, u32 *n, u32 number, u64 first, u64 sectors, const u8 *uuid)
{
    if (*n == BLOCK_MAX_PARTITIONS || number > 15 || first == 0 || sectors == 0 ||
        first >= d->sectors || sectors > d->sectors - first)
        return;
    struct block_device *p = &d->parts[(*n)++];
    *p = (struct block_device){.partition = number, .first = first, .sectors = sectors};
    if (uuid)
        memcpy(p->uuid, uuid, 16);
}

// A table in units of `unit` sectors (the medium's blocks). => partitions, -1: no good table here
static int read_gpt(struct block_disk *d, u8 *buf, u64 header_sector, u32 unit)
{
    u8 *entries = buf + PAGE_SIZE;
    if (block_rw(&d->whole, false, header_sector, buf, unit * SECTOR_SIZE))
        return -1;
    u32 header_bytes = get32(buf + 12), crc = get32(buf + 16);
    u32 count = get32(buf + 80), size = get32(buf + 84), entries_crc = get32(buf + 88);
    u64 at = get64(buf + 72);
    if (memcmp(buf, "EFI PART", 8) || header_bytes < 92 || header_bytes > unit * SECTOR_SIZE ||
        get64(buf + 24) * unit != header_sector || size != GPT_ENTRY_MIN || count > GPT_ENTRIES_MAX)
        return -1;
    memset(buf + 16, 0, 4);
    u32 bytes = ALIGN_UP(count * size, unit * SECTOR_SIZE);
    if (crc32(buf, header_bytes) != crc || at > d->sectors / unit ||
        block_rw(&d->whole, false, at * unit, entries, bytes) ||
        crc32(entries, count * size) != entries_crc)
        return -1;
    u32 n = 0;
    static const u8 unused[16];
    for (u32 i = 0; i < count; i++) {
        const u8 *e = entries + i * size;
        u64 first = get64(e + 32), last = get64(e + 40);
        if (memcmp(e, unused, 16) && last >= first && last < d->sectors / unit)
            add(d, &n, i + 1, first * unit, (last - first + 1) * unit, e + 16);
    }
    return (int)n;
}

static bool is_extended(u8 kind) { return kind == 0x05 || kind == 0x0f || kind == 0x85; }

static bool has_mark(const u8 *sector) { return sector[510] == 0x55 && sector[511] == 0xaa; }

static void read_logical(struct block_disk *d, u8 *buf, u64 extended, u32 unit, u32 *n)
{
    u64 at = extended;
    for (u32 i = 0; i < LOGICAL_MAX; i++) {
        if (at >= d->sectors || block_rw(&d->whole, false, at, buf, unit * SECTOR_SIZE) ||
            !has_mark(buf))
            return;
        const u8 *own = buf + 446, *next = own + 16;
        if (own[4])
            add(d, n, FIRST_LOGICAL + i, at + (u64)get32(own + 8) * unit,
                (u64)get32(own + 12) * unit, NULL);
        if (!is_extended(next[4]) || !get32(next + 8))
            return;
        at = extended + (u64)get32(next + 8) * unit;
    }
}

static u32 read_mbr(struct block_disk *d, u8 *buf, u32 unit)
{
    u32 n = 0;
    u64 extended = 0;
    for (u32 i = 0; i < 4; i++) {
        const u8 *e = buf + 446 + i * 16;
        if (e[0] & 0x7f)  // neither active nor inactive: a boot sector of a file system
            return 0;
    }
    for (u32 i = 0; i < 4; i++) {
        const u8 *e = buf + 446 + i * 16;
        u64 first = (u64)get32(e + 8) * unit, sectors = (u64)get32(e + 12) * unit;
        if (is_extended(e[4]) && !extended) {
            extended = first;  // as a partition no more than room for a boot loader, as on Linux
            add(d, &n, i + 1, first, MIN(sectors, (u64)MAX(unit, 2u)), NULL);
        } else if (e[4])
            add(d, &n, i + 1, first, sectors, NULL);
    }
    if (extended)
        read_logical(d, buf, extended, unit, &n);
    return n;
}

u32 partition_scan(struct block_disk *d)
{
    u32 unit = d->block_bytes / SECTOR_SIZE, n = 0;
    struct page *page =
        d->block_bytes <= PAGE_SIZE && d->sectors > 2 * unit ? page_alloc(4, 0) : NULL;
    if (!page)
        return 0;
    u8 *buf = page_address(page);
    if (block_rw(&d->whole, false, 0, buf, d->block_bytes) == 0 && has_mark(buf)) {
        bool protective = buf[446 + 4] == 0xee || buf[462 + 4] == 0xee;
        int found = protective ? read_gpt(d, buf, unit, unit) : -1;
        if (protective && found < 0) {
            log_warn("%s: its partition table is damaged", d->whole.name);
            found = read_gpt(d, buf, d->sectors - unit, unit);
        }
        if (!protective)
            n = read_mbr(d, buf, unit);
        else if (found > 0)
            n = (u32)found;
    }
    page_free(page, 4);
    return n;
}
