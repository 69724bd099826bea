// SPDX-License-Identifier: BSD-2-Clause
// The EFI system partition: a FAT12 file system (Microsoft "FAT: General Overview", ECMA-107) made in memory, with files in
// folders of fixed names, each file in one piece so that a BIOS loader finds it by its first sector.
//
//     boot sector | FAT | FAT | root folder | EFI | EFI/BOOT | LETHE | the files
#include "disk.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FATS = 2,
    ENTRY = 32,           // bytes of a folder's entry
    ROOT_ENTRIES = 16,    // one sector
    CLUSTERS_MAX = 4084,  // more would make it a FAT16
    DIRECTORIES = 3,      // clusters of the folders: EFI, EFI/BOOT, LETHE
    FIRST_CLUSTER = 2,
};
enum { ATTRIBUTE_LABEL = 0x08, ATTRIBUTE_DIRECTORY = 0x10, ATTRIBUTE_FILE = 0x20 };
enum { CLUSTER_EFI = 2, CLUSTER_BOOT = 3, CLUSTER_LETHE = 4 };

void put16(uint8_t *to, uint32_t value)
{
    to[0] = value;
    to[1] = value >> 8;
}

void put32(uint8_t *to, uint32_t value)
{
    put16(to, value);
    put16(to + 2, value >> 16);
}

void put64(uint8_t *to, uint64_t value)
{
    put32(to, value);
    put32(to + 4, value >> 32);
}

static uint32_t clusters_of(const struct fat *fat, uint64_t bytes)
{
    uint64_t cluster = (uint64_t)fat->cluster_sectors * SECTOR;

    return (bytes + cluster - 1) / cluster;
}

// Chooses the cluster size and places the files. => sets fat's layout and each file's sector, counted from the partition's start
void fat_plan(struct fat *fat, struct fat_file *files, size_t count)
{
    uint32_t next, first_sector;

    for (fat->cluster_sectors = 1;; fat->cluster_sectors *= 2) {
        fat->clusters = DIRECTORIES;
        for (size_t i = 0; i < count; i++)
            fat->clusters += clusters_of(fat, files[i].bytes);
        if (fat->clusters < CLUSTERS_MAX - 8)
            break;
        if (fat->cluster_sectors == 64)
            die("the kernel is too large for the system partition");
    }
    fat->fat_sectors = ((fat->clusters + 16) * 3 / 2 + SECTOR) / SECTOR;
    first_sector = 1 + FATS * fat->fat_sectors + ROOT_ENTRIES * ENTRY / SECTOR;
    // the partition ends on a border of 4096 bytes
    while ((first_sector + fat->clusters * fat->cluster_sectors) % 8 && fat->cluster_sectors < 8)
        fat->clusters++;
    fat->data_sector = first_sector;
    fat->sectors = (first_sector + fat->clusters * fat->cluster_sectors + 7) / 8 * 8;
    next = FIRST_CLUSTER + DIRECTORIES;
    for (size_t i = 0; i < count; i++) {
        files[i].cluster = next;
        files[i].sector = first_sector + (next - FIRST_CLUSTER) * fat->cluster_sectors;
        next += clusters_of(fat, files[i].bytes);
    }
}

static void boot_sector(const struct fat *fat, uint8_t *b)
{
    memcpy(b, "\xeb\x3c\x90LETHE   ", 11);
    put16(b + 11, SECTOR);
    b[13] = fat->cluster_sectors;
    put16(b + 14, 1);  // reserved sectors
    b[16] = FATS;
    put16(b + 17, ROOT_ENTRIES);
    if (fat->sectors < 65536)
        put16(b + 19, fat->sectors);
    else
        put32(b + 32, fat->sectors);
    b[21] = 0xf8;  // a fixed disk
    put16(b + 22, fat->fat_sectors);
    put16(b + 24, 63);  // sectors a track, heads: nobody asks
    put16(b + 26, 255);
    put32(b + 28, ESP_SECTOR);
    b[36] = 0x80;
    b[38] = 0x29;
    put32(b + 39, fat->serial);
    memcpy(b + 43, "LETHE      FAT12   ", 19);
    put16(b + 510, 0xaa55);
}

static void set_next(uint8_t *table, uint32_t cluster, uint32_t next)
{
    uint8_t *p = table + cluster * 3 / 2;

    if (cluster % 2) {
        p[0] = (p[0] & 0x0f) | next << 4;
        p[1] = next >> 4;
    } else {
        p[0] = next;
        p[1] = (p[1] & 0xf0) | (next >> 8 & 0x0f);
    }
}

static void set_chain(uint8_t *table, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        set_next(table, first + i, i + 1 < count ? first + i + 1 : 0xfff);
}

static void fill_tables(const struct fat *fat, const struct fat_file *files, size_t count)
{
    uint8_t *table = fat->bytes + SECTOR;

    set_next(table, 0, 0xff8);
    set_next(table, 1, 0xfff);
    for (uint32_t i = 0; i < DIRECTORIES; i++)
        set_chain(table, FIRST_CLUSTER + i, 1);
    for (size_t i = 0; i < count; i++)
        set_chain(table, files[i].cluster, clusters_of(fat, files[i].bytes));
    memcpy(table + (size_t)fat->fat_sectors * SECTOR, table, (size_t)fat->fat_sectors * SECTOR);
}

// One entry at *AT, which moves on. => NAME is 11 bytes, padded with blanks
static void add_entry(const struct fat *fat, uint8_t **at, const char *name, int attributes,
                      uint32_t cluster, uint64_t bytes)
{
    time_t epoch = fat->epoch;
    struct tm when;
    uint32_t date, hour;

    gmtime_r(&epoch, &when);
    date =
        when.tm_year < 80 ? 0x21 : (when.tm_year - 80) << 9 | (when.tm_mon + 1) << 5 | when.tm_mday;
    hour = when.tm_hour << 11 | when.tm_min << 5 | when.tm_sec / 2;
    memcpy(*at, name, 11);
    (*at)[11] = attributes;
    put16(*at + 14, hour);
    put16(*at + 16, date);
    put16(*at + 18, date);
    put16(*at + 22, hour);
    put16(*at + 24, date);
    put16(*at + 26, cluster);
    put32(*at + 28, bytes);
    *at += ENTRY;
}

static uint8_t *cluster_bytes(const struct fat *fat, uint32_t cluster)
{
    return fat->bytes +
           (fat->data_sector + (uint64_t)(cluster - FIRST_CLUSTER) * fat->cluster_sectors) * SECTOR;
}

static uint8_t *begin_directory(const struct fat *fat, uint32_t own, uint32_t parent)
{
    uint8_t *at = cluster_bytes(fat, own);

    add_entry(fat, &at, ".          ", ATTRIBUTE_DIRECTORY, own, 0);
    add_entry(fat, &at, "..         ", ATTRIBUTE_DIRECTORY, parent, 0);
    return at;
}

// The partition's bytes, by the plan. => In memory of its own; a file whose content is NULL stays zeros
uint8_t *fat_make(struct fat *fat, const struct fat_file *files, size_t count)
{
    uint8_t *at, *boot, *lethe;

    fat->bytes = xalloc(fat->sectors * SECTOR);
    boot_sector(fat, fat->bytes);
    fill_tables(fat, files, count);
    at = fat->bytes + (1 + (size_t)FATS * fat->fat_sectors) * SECTOR;
    add_entry(fat, &at, "LETHE      ", ATTRIBUTE_LABEL, 0, 0);
    add_entry(fat, &at, "EFI        ", ATTRIBUTE_DIRECTORY, CLUSTER_EFI, 0);
    add_entry(fat, &at, "LETHE      ", ATTRIBUTE_DIRECTORY, CLUSTER_LETHE, 0);
    at = begin_directory(fat, CLUSTER_EFI, 0);
    add_entry(fat, &at, "BOOT       ", ATTRIBUTE_DIRECTORY, CLUSTER_BOOT, 0);
    boot = begin_directory(fat, CLUSTER_BOOT, CLUSTER_EFI);
    lethe = begin_directory(fat, CLUSTER_LETHE, 0);
    for (size_t i = 0; i < count; i++) {
        add_entry(fat, files[i].in_boot ? &boot : &lethe, files[i].name, ATTRIBUTE_FILE,
                  files[i].cluster, files[i].bytes);
        memcpy(cluster_bytes(fat, files[i].cluster), files[i].content, files[i].bytes);
    }
    return fat->bytes;
}
