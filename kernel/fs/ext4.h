// SPDX-License-Identifier: BSD-2-Clause
// ext4.h: a reader of ext4 images that lie in memory. Knows nothing of the VFS, so it also builds for the
// host, where it is tested against images of mke2fs, whole and damaged.
#pragma once

#include "core/base.h"

struct ext4 {
    const u8 *base;  // the image
    u64 n_blocks;    // of 4096 bytes, that are really there
    u32 n_inodes, inodes_per_group, n_groups;
    u32 inode_size, desc_size;
    u64 first_desc_block;
};

struct ext4_inode {
    u32 ino, mode, uid, gid, n_links, flags;
    u64 size, blocks_512;
    u64 atime_ns, mtime_ns, ctime_ns, btime_ns;  // since the epoch, 0 before it
    const u8 *block;                             // i_block: 60 bytes in the image
};

struct ext4_dirent {
    u32 ino;
    u8 type;  // directory-entry file type: 1 regular, 2 directory, … 7 link
    u8 name_len;
    const char *name;  // in the image, not terminated
};

#define EXT4_ROOT_INO 2
#define EXT4_BLOCK_SIZE 4096u

// => 0; -EINVAL with *why set (a text for the user) when the image is none that we can read
int ext4_open(struct ext4 *fs, const void *base, u64 size_bytes, const char **why);
int ext4_read_inode(const struct ext4 *fs, u32 ino, struct ext4_inode *out);  // 0, -EUCLEAN
// Where block lblk of a file lies. *pblk: block number in the image, 0 for a hole; *len: how many blocks
// from lblk on are alike (consecutive, or all holes), at least 1. => 0, -EUCLEAN
int ext4_map(const struct ext4 *fs, const struct ext4_inode *inode, u32 lblk, u64 *pblk, u32 *len);
// Names of a directory from *pos (bytes) on, "." and ".." left out. => 1, 0 at the end, -EUCLEAN
int ext4_dir_next(const struct ext4 *fs, const struct ext4_inode *dir, u64 *pos,
                  struct ext4_dirent *out);
// => 1 found, 0 not there, -EUCLEAN
int ext4_dir_find(const struct ext4 *fs, const struct ext4_inode *dir, const char *name, u32 len,
                  struct ext4_dirent *out);
// Text of a symbolic link, not terminated. => its length, -EUCLEAN
int ext4_link_text(const struct ext4 *fs, const struct ext4_inode *inode, const char **text);
u32 ext4_rdev(const struct ext4_inode *inode);  // MAKE_DEV form
