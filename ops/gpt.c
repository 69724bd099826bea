// SPDX-License-Identifier: BSD-2-Clause
// The GUID partition table (UEFI specification 2.10, chapter 5) and the protective MBR.
#include "disk.h"

#include <string.h>

enum { ENTRIES = 128, ENTRY = 128, HEADER = 92 };

const uint8_t gpt_bios_boot[16] = "Hah!IdontNeedEFI";  // 21686148-6449-6E6F-744E-656564454649
const uint8_t gpt_efi_system[16] = {0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                    0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b};
// Discoverable Partitions Specification: 4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, B921B045-1DF0-41C3-AF44-4C6F280D3FAE
const uint8_t gpt_root_x86_64[16] = {0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d,
                                     0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09};
const uint8_t gpt_root_aarch64[16] = {0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41,
                                      0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae};

static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;

    while (len--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void protective_mbr(uint8_t *sector, uint64_t sectors)
{
    uint8_t *entry = sector + 446;

    memcpy(entry, "\x00\x00\x02\x00\xee\xff\xff\xff", 8);
    put32(entry + 8, 1);
    put32(entry + 12, sectors - 1 < UINT32_MAX ? sectors - 1 : UINT32_MAX);
    put16(sector + 510, 0xaa55);
}

static void fill_entry(uint8_t *entry, const struct gpt_partition *partition)
{
    memcpy(entry, partition->type, 16);
    memcpy(entry + 16, partition->guid, 16);
    put64(entry + 32, partition->first);
    put64(entry + 40, partition->last);
    for (size_t i = 0; partition->name[i]; i++)
        entry[56 + 2 * i] = partition->name[i];
}

static void header(uint8_t *h, uint64_t own, uint64_t other, uint64_t entries, uint64_t sectors,
                   const uint8_t guid[16], uint32_t entries_crc)
{
    memset(h, 0, HEADER);
    memcpy(h, "EFI PART\0\0\1\0", 12);
    put32(h + 12, HEADER);
    put64(h + 24, own);
    put64(h + 32, other);
    put64(h + 40, GPT_SECTORS + 1);
    put64(h + 48, sectors - GPT_SECTORS - 1);
    memcpy(h + 56, guid, 16);
    put64(h + 72, entries);
    put32(h + 80, ENTRIES);
    put32(h + 84, ENTRY);
    put32(h + 88, entries_crc);
    put32(h + 16, crc32(h, HEADER));
}

void gpt_make(uint8_t *start, uint8_t *end, uint64_t sectors, const uint8_t guid[16],
              const struct gpt_partition *partitions, size_t count)
{
    uint8_t *entries = start + 2 * SECTOR;
    uint32_t crc;

    protective_mbr(start, sectors);
    for (size_t i = 0; i < count; i++)
        fill_entry(entries + i * ENTRY, &partitions[i]);
    crc = crc32(entries, ENTRIES * ENTRY);
    memcpy(end, entries, ENTRIES * ENTRY);
    header(start + SECTOR, 1, sectors - 1, 2, sectors, guid, crc);
    header(end + ENTRIES * ENTRY, sectors - 1, 1, sectors - GPT_SECTORS, sectors, guid, crc);
}

bool gpt_resize(uint8_t *start, uint8_t *end, uint64_t sectors)
{
    const uint8_t *old = start + SECTOR;
    uint8_t guid[16];
    uint32_t crc;

    if (memcmp(old, "EFI PART", 8) || old[80] != ENTRIES || old[84] != ENTRY)
        return false;
    memcpy(guid, old + 56, sizeof(guid));
    protective_mbr(start, sectors);
    crc = crc32(start + 2 * SECTOR, ENTRIES * ENTRY);
    memcpy(end, start + 2 * SECTOR, ENTRIES * ENTRY);
    header(start + SECTOR, 1, sectors - 1, 2, sectors, guid, crc);
    header(end + ENTRIES * ENTRY, sectors - 1, 1, sectors - GPT_SECTORS, sectors, guid, crc);
    return true;
}
