// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of the user ABI: constants that differ between Linux architectures.
#pragma once

#include "core/base.h"

#define O_DIRECT 040000
#define O_LARGEFILE 0100000
#define O_DIRECTORY 0200000
#define O_NOFOLLOW 0400000

#define ARCH_EPOLL_EVENT_PACKED __packed  // struct epoll_event has no gap on x86-64 only

#define ARCH_ELF_MACHINE 62  // EM_X86_64
#define ARCH_UTS_MACHINE "x86_64"

// struct stat of this architecture (stat(2)); included after core/base.h.
struct stat_user {
    u64 st_dev, st_ino, st_nlink;
    u32 st_mode, st_uid, st_gid, pad0;
    u64 st_rdev;
    s64 st_size, st_blksize, st_blocks;
    u64 st_atime_sec, st_atime_nsec, st_mtime_sec, st_mtime_nsec, st_ctime_sec, st_ctime_nsec;
    s64 unused[3];
};
_Static_assert(sizeof(struct stat_user) == 144, "struct stat");
