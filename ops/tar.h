// SPDX-License-Identifier: BSD-2-Clause
// tar.h: writing tar files, one member after the other.
#ifndef LETHE_OPS_TAR_H
#define LETHE_OPS_TAR_H

#include <stdint.h>

// OUT is the tar file, which PATH names in messages.
void tar_file(int out, const char *path, const char *name, int from, uint64_t bytes);
void tar_folder(int out, const char *path, const char *name);  // NAME ends in '/'
// A disk image whose empty room, behind the last partition, is told as a hole.
void tar_sparse_disk(int out, const char *path, const char *name, int disk, uint64_t bytes);
void tar_end(int out, const char *path);

#endif
