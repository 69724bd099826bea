// SPDX-License-Identifier: BSD-2-Clause
// file_mm.c: what kernel/mm asks of open files, for which it knows only the name struct file (mm/mm.h).
#include "fs/vfs.h"
#include "mm/mm.h"

void file_get(struct file *f) { atomic_add(&f->refcount, 1); }

void file_put(struct file *f)
{
    if (atomic_sub(&f->refcount, 1) == 0)
        file_release_last(f);
}

const char *file_path_for_maps(struct file *f, char *buf, size_t size)
{
    const char *path = file_path(f, buf, size);
    return IS_ERR(path) ? "" : path;
}

void file_stat_ids(struct file *f, u64 *dev, u64 *ino)
{
    u32 dev32;
    file_identity(f, &dev32, ino);
    *dev = dev32;
}
