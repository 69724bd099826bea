// SPDX-License-Identifier: BSD-2-Clause
// record.h: what the tool tells the loaders of a disk image; written by ops/disk.c, read by boot/.
//
// A disk of 512-byte sectors:
//
//     sector  0              protective MBR; on x86-64 with the code of boot/bios/mbr.S
//             1 .. 33        GPT
//            34 .. 37        the record        } partition "bios", x86-64 only
//            38 .. 63        boot/bios (stage 2) }
//            64 ..           partition "efi": FAT12 with EFI/BOOT/BOOTX64.EFI (or BOOTAA64.EFI), LETHE/KERNEL and
//                            LETHE/BOOT, which is the record again
//            ..              partition "root": the root image
//            last 33         GPT, again
#pragma once

#include <stdint.h>

#define SECTOR 512
#define RECORD_SECTOR 34
#define RECORD_SECTORS 4
#define STAGE2_SECTOR (RECORD_SECTOR + RECORD_SECTORS)
#define ESP_SECTOR 64
#define STAGE2_SECTORS (ESP_SECTOR - STAGE2_SECTOR)

#define RECORD_MAGIC "LETHEBR1"
#define RECORD_WORDS 1984

struct boot_record {  // little endian
    char magic[8];
    uint64_t kernel_sector, kernel_bytes;
    uint64_t root_sector, root_bytes;
    uint8_t root_guid[16];  // of the root partition
    uint64_t
        load_bytes;  // how much of it the loader brings into memory: all, or 0: the kernel reads it where it is
    char words[RECORD_WORDS];  // the kernel's command line, closed by NUL
};
_Static_assert(sizeof(struct boot_record) == RECORD_SECTORS * SECTOR,
               "the record fills its sectors");
