// SPDX-License-Identifier: BSD-2-Clause
// disk.h: disk images that boot by themselves. The layout is drawn in boot/record.h.
#ifndef LETHE_OPS_DISK_H
#define LETHE_OPS_DISK_H

#include "boot/record.h"
#include "lethe.h"

// ---- fat.c
struct fat_file {
    const char *name;  // 11 bytes
    bool in_boot;      // in EFI/BOOT, else in LETHE
    const void *content;
    uint64_t bytes;
    uint32_t cluster, sector;  // by fat_plan
};
struct fat {
    uint32_t cluster_sectors, clusters, fat_sectors, data_sector;
    uint64_t sectors;  // of the partition
    uint32_t serial, epoch;
    uint8_t *bytes;
};
void fat_plan(struct fat *fat, struct fat_file *files, size_t count);
uint8_t *fat_make(struct fat *fat, const struct fat_file *files, size_t count);
void put16(uint8_t *to, uint32_t value);
void put32(uint8_t *to, uint32_t value);
void put64(uint8_t *to, uint64_t value);

// ---- gpt.c
struct gpt_partition {
    const uint8_t *type;  // 16 bytes, as they lie on the disk
    uint8_t guid[16];
    uint64_t first, last;  // sectors
    const char *name;
};
enum { GPT_SECTORS = 33 };  // header and entries, at either end
// Fills the sectors 0 to GPT_SECTORS (boot code in the first one stays) and the copy for the disk's end.
void gpt_make(uint8_t *start, uint8_t *end, uint64_t sectors, const uint8_t guid[16],
              const struct gpt_partition *partitions, size_t count);
extern const uint8_t gpt_bios_boot[16], gpt_efi_system[16], gpt_root_x86_64[16],
    gpt_root_aarch64[16];

// ---- disk.c
struct disk_request {
    const char *arch, *kernel;  // paths of the host
    const char *words;          // the kernel's command line
    int root;                   // the root image, read from its beginning
    uint64_t root_bytes;
};
// Writes the disk image to FD, an empty file. => its size in bytes; holes stay holes
uint64_t disk_write(int fd, const char *path, const struct disk_request *request);

// ---- build.c
int memory_file(const char *name);
void build_disk(const struct job *job, int fd, const char *path);

#endif
