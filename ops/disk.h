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
// The same table for a disk of another size. => false when there is none of our kind
bool gpt_resize(uint8_t *start, uint8_t *end, uint64_t sectors);
extern const uint8_t gpt_bios_boot[16], gpt_efi_system[16], gpt_root_x86_64[16],
    gpt_root_aarch64[16];

// ---- disk.c
struct disk_request {
    const char *arch, *kernel;  // paths of the host
    const char *words;          // the kernel's command line
    int root;                   // the root image, read from its beginning
    uint64_t root_bytes;
    bool root_stays;  // on the disk: the loader does not bring it into memory
};
// Writes the disk image to FD, an empty file. => its size in bytes; holes stay holes
uint64_t disk_write(int fd, const char *path, const struct disk_request *request);

// Makes the disk's size a multiple of UNIT bytes, with the copy of its table at the new end. => its size in bytes
uint64_t disk_fit(int fd, const char *path, uint64_t unit);

// ---- formats.c
struct image_source;
struct image_format {
    const char *name, *suffix;
    const char *qemu;  // as QEMU calls it, NULL: QEMU does not read it
    uint64_t unit;     // its size is a multiple of so many bytes
    void (*make)(const struct image_source *source, int out, const char *path);
};
// What an image is made of: a raw disk.
struct image_source {
    int disk;
    uint64_t bytes;
    const char *name;  // without folder and suffix
    const char *arch;
    uint64_t memory_bytes;
    unsigned cpus;
};
const struct image_format *format_named(const char *name);
bool is_provider(const char *name);
const struct image_format *format_of_path(const char *path);
void format_write(const struct image_format *image_format, struct image_source *source,
                  const char *path);
int disk_open_raw(const char *path, const char *disk_format);

// ---- images.c
bool disk_record(int disk, uint64_t bytes, struct boot_record *record);
bool disk_is_arm(int disk);
void image_produce(struct job *job, const struct image_format *f, const char *from);

// ---- oci.c
void make_oci(const struct image_source *source, int out, const char *path);

// ---- machines.c
const char *machine_format_name(size_t i);
bool is_machine_format(const char *name);
int machine_folder_create(struct job *job);

// ---- build.c
void write_root(const struct job *job, const char *path);
void copy_kernel(const struct job *job, const char *path);
int memory_file(const char *name);
void build_disk(const struct job *job, int fd, const char *path);

#endif
