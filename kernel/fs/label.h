// SPDX-License-Identifier: BSD-2-Clause
// label.h: small disks that are found by their label, and whole files of them, read-only: ISO 9660 and FAT. Such a disk comes from outside:
// nothing on it is believed, and every walk over it ends (L1 to L3 in iso9660.c and fat.c). Only in the kernel with disks.
#pragma once

#include "core/base.h"

#define LABEL_MAX 32
#define LABEL_FILE_MAX (1u << 20)  // bytes of a file that is read
#define LABEL_SECTOR 2048u

struct label_file {
    u32 first;  // block or cluster
    u32 bytes;
    bool directory;
};

struct label_disk {
    int (*read)(struct label_disk *d, u64 at, void *to,
                size_t n);  // bytes. => 0, -EIO also beyond the end
    // => 0, -ENOENT, -EUCLEAN, -EFBIG a form of file that is not read, -EIO
    int (*find)(struct label_disk *d, const char *path, struct label_file *f);
    int (*fetch)(struct label_disk *d, const struct label_file *f,
                 void *to);  // f->bytes. => as find
    char label[LABEL_MAX + 1];
    union {
        struct {
            struct label_file root, joliet;  // joliet.bytes 0: none
            u8 sector[LABEL_SECTOR];
        } iso;
        struct {
            u32 bits;  // of an entry of the table: 12, 16, 32
            u32 cluster_bytes, n_clusters, root_cluster, root_bytes;
            u64 table, root, data;  // where they begin
        } fat;
    };
};

// d->read is set. => 0: label, find and fetch are; -EINVAL another file system; -EIO
int iso9660_open(struct label_disk *d);
int fat_open(struct label_disk *d);

// The next name of a path. => its length, 0: none; *path behind it
size_t label_component(const char **path, const char **name);
bool label_same(const char *a, const char *b, size_t n);  // ASCII, without regard to case
void label_trim(char *text, size_t n);                    // blanks at its end; text[n] becomes NUL
