// SPDX-License-Identifier: BSD-2-Clause
// extfs.h: ext4 volumes that are written: the on-disk part, below the VFS and above the block layer.
//
// Knows nothing of the VFS, of pages or of devices: blocks come and go through struct extfs_disk, so the folder
// also builds for the host, where its operations run under sanitizers against a model, e2fsck and cut-off power.
//
// Rules for the caller:
//   * One call at a time on a file system: the caller holds a lock of its own around each.
//   * Every change lies between extfs_begin and extfs_end. What lies between the two is all there after a crash, or not at all.
//   * Contents of files are the caller's: it writes them itself to the blocks that extfs_allocate gives, and has them
//     on the device (written, not flushed) before it calls extfs_end. That is what ordered mode asks for.
//   * extfs_commit makes everything that was ended durable, contents included.
//
// An error in the middle of a change, or damage that is found, stops all writing: the running transaction never
// reaches the journal, and every later extfs_begin says -EROFS (errors=remount-ro).
#pragma once

#include "core/base.h"
#include "core/list.h"

struct extfs;
struct extfs_disk;

struct extfs_io {  // one run of blocks
    u64 block;
    void *data;
    u32 n;  // blocks
};

struct extfs_disk_ops {
    // Moves all of them and waits. => 0, -EIO
    int (*transfer)(struct extfs_disk *disk, struct extfs_io *io, u32 n_io, bool write);
    int (*flush)(struct extfs_disk *disk);  // what has been written is on stable storage
    u64 (*now_ns)(void);                    // since the epoch
    u32 (*random)(void);
    void (*failed)(struct extfs_disk *disk, const char *why);  // writing has stopped: told once
};
struct extfs_disk {
    const struct extfs_disk_ops *ops;
    u64 size_bytes;
    u32 block_size;  // set by extfs_mount
    bool read_only;
};

struct extfs_attr {
    u32 mode, uid, gid, nlink, rdev, flags;
    u64 size, blocks_512;
    u64 atime_ns, mtime_ns, ctime_ns, btime_ns;
};
#define EXTFS_ROOT_INO 2

struct extfs_stat {
    u64 blocks, free_blocks, reserved_blocks;  // free: less what is promised to writers
    u32 inodes, free_inodes;
    u32 block_size;
    u8 uuid[16];
};

// => 0 and *out, or -errno with *why a text: -EINVAL (no ext4, or a feature that is not known), -EUCLEAN (damaged),
//    -EROFS (the journal needs a replay and the device is read-only), -EIO, -ENOMEM. A feature that only writing must know
//    of makes the mount read-only: *why says so with result 0. max_bufs: blocks of metadata that are kept when clean.
int extfs_mount(struct extfs_disk *disk, bool read_only, u32 max_bufs, struct extfs **out,
                const char **why);
// Commits, writes everything home, marks the volume clean, frees all. => -EIO
int extfs_unmount(struct extfs *fs);
int extfs_clean(struct extfs *fs);  // the same, but the file system stays mounted
bool extfs_read_only(const struct extfs *fs);
u32 extfs_block_size(const struct extfs *fs);
void extfs_statfs(const struct extfs *fs, struct extfs_stat *st);
// Blocks promised to data that has no place yet. => false: the volume is full. Any context, no lock.
bool extfs_reserve(struct extfs *fs, u32 blocks);
void extfs_unreserve(struct extfs *fs, u32 blocks);

// ---- transactions
int extfs_begin(struct extfs *fs);  // -EROFS, -EIO
// err: of the change; what had been half done stops the file system (see extfs_half_done). => err
int extfs_end(struct extfs *fs, int err);
int extfs_commit(struct extfs *fs);             // 0, -EIO, -EROFS after an error
u32 extfs_transaction(const struct extfs *fs);  // number of the running one
bool extfs_committed(const struct extfs *fs, u32 transaction);

// ---- inodes
int extfs_read_attr(struct extfs *fs, u32 ino, struct extfs_attr *out);  // -EUCLEAN, -EIO
// Mode (not its type), owner and times. Size, blocks and links are kept by other calls. [in a transaction]
int extfs_write_attr(struct extfs *fs, u32 ino, const struct extfs_attr *attr);
// Text of a symbolic link. => length (not terminated)
int extfs_readlink(struct extfs *fs, u32 ino, char *buf, u32 size);
// Where a block of a file lies: *pblk 0 for a hole; *len: so many are alike. unwritten: has a place, reads as zeros.
int extfs_map(struct extfs *fs, u32 ino, u32 lblk, u64 *pblk, u32 *len, bool *unwritten);
// Gives up to want blocks at the hole lblk a place (unwritten: they read as zeros until extfs_set_written).
// => *got, at least 1; -ENOSPC [in a transaction]
int extfs_allocate(struct extfs *fs, u32 ino, u32 lblk, u32 want, bool unwritten, u64 *pblk,
                   u32 *got);
int extfs_set_written(struct extfs *fs, u32 ino, u32 lblk, u32 n);  // [in a transaction]
int extfs_set_size(struct extfs *fs, u32 ino, u64 size);            // [in a transaction]
// Frees the places of blocks from lblk to last, some of them in one call. => 1: more is left, 0: done [in a transaction]
int extfs_free_range(struct extfs *fs, u32 ino, u32 first, u32 last);
// An inode with no name left: frees what it has, in transactions of its own. => as extfs_begin
int extfs_delete_inode(struct extfs *fs, u32 ino);
// Frees the blocks behind the size, in transactions of its own; the inode is on the orphan list meanwhile.
int extfs_truncate(struct extfs *fs, u32 ino, u64 size);

// ---- extended attributes, by their whole names ("user.x")
#define EXTFS_XATTR_NAME_MAX 280u  // the longest prefix and 255 bytes
struct extfs_xattr_sink {
    int (*take)(void *arg, const char *name, const void *value, u32 size);  // not 0: stop with it
    void *arg;
};
// Gives each to the sink. => 0; -EOPNOTSUPP: one is of a name space that is not known; -EUCLEAN, -EIO; what take said
int extfs_read_xattrs(struct extfs *fs, u32 ino, const struct extfs_xattr_sink *sink);
struct extfs_xattr {
    const char *name;
    const void *value;
    u32 size;
    bool in_inode;  // for extfs_write_xattrs itself
};
// What the inode has from now on, each name once. => -ENOSPC: it does not fit, and nothing has changed; -EOPNOTSUPP [in a transaction]
int extfs_write_xattrs(struct extfs *fs, u32 ino, struct extfs_xattr *list, u32 n);

// ---- names (all but the first two: in a transaction)
// => *ino and *type (1 file, 2 directory, ... 7 link); -ENOENT
int extfs_lookup(struct extfs *fs, u32 dir, const char *name, u32 len, u32 *ino, u32 *type);
// Names from *pos on, "." and ".." left out. emit false: stop. => 0, -EUCLEAN
int extfs_readdir(struct extfs *fs, u32 dir, u64 *pos,
                  bool (*emit)(void *arg, const char *name, u32 len, u32 ino, u32 type), void *arg);
// A new inode with a name; attr: mode with its type, owner, times, rdev; link: text of a symbolic link.
// => *ino; -ENOSPC, -EEXIST
int extfs_create(struct extfs *fs, u32 dir, const char *name, u32 len,
                 const struct extfs_attr *attr, const char *link, u32 *ino);
// A regular file without a name, on the orphan list.
int extfs_create_orphan(struct extfs *fs, u32 dir, const struct extfs_attr *attr, u32 *ino);
int extfs_link(struct extfs *fs, u32 dir, const char *name, u32 len, u32 ino);
// Takes the name away; an inode without names goes to the orphan list until extfs_delete_inode. The caller has
// looked that a directory is empty.
int extfs_unlink(struct extfs *fs, u32 dir, const char *name, u32 len);
int extfs_is_empty(struct extfs *fs, u32 dir);  // 1, 0, -EUCLEAN
struct extfs_place {
    u32 dir;
    const char *name;
    u32 len;
};
// What is at `to` loses that name. exchange: the two change places.
int extfs_rename(struct extfs *fs, const struct extfs_place *from, const struct extfs_place *to,
                 bool exchange);
