// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of the user ABI: constants that differ between Linux architectures.
#pragma once

#include "core/base.h"

#define O_DIRECTORY 040000
#define O_NOFOLLOW 0100000
#define O_DIRECT 0200000
#define O_LARGEFILE 0400000

#define ARCH_EPOLL_EVENT_PACKED
#define ARCH_CLONE_TLS_BEFORE_CHILD_TID
#define ARCH_MINSIGSTKSZ 5120

#define ARCH_ELF_MACHINE 183  // EM_AARCH64
#define ARCH_UTS_MACHINE "aarch64"

// struct stat of this architecture (stat(2)); included after core/base.h.
struct stat_user {
    u64 st_dev, st_ino;
    u32 st_mode, st_nlink, st_uid, st_gid;
    u64 st_rdev, pad1;
    s64 st_size;
    s32 st_blksize, pad2;
    s64 st_blocks;
    u64 st_atime_sec, st_atime_nsec, st_mtime_sec, st_mtime_nsec, st_ctime_sec, st_ctime_nsec;
    u32 unused[2];
};
_Static_assert(sizeof(struct stat_user) == 128, "struct stat");
