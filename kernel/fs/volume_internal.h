// SPDX-License-Identifier: BSD-2-Clause
// volume_internal.h: what volume.c (names, mounts) and volume_file.c (contents) share.
#pragma once

#include "block/block.h"
#include "ext4/extfs.h"
#include "fs/vfs_internal.h"
#include "mm/radix.h"

#define VOLUME_BUCKETS 256u

struct volume {
    struct extfs_disk disk;  // first
    struct block_device *device;
    struct superblock *sb;
    struct extfs *fs;
    struct mutex lock;                       // around every call of fs but extfs_reserve
    struct mutex writing;                    // of all that is dirty; before every other
    struct spinlock list_lock;               // leaf
    struct list dirty;                       // [list_lock] inodes with something to write
    struct vol_inode *hash[VOLUME_BUCKETS];  // [list_lock] by number
    struct wait_queue wake;                  // of the thread that writes back
    s64 n_dirty;                             // atomic: dirty pages, about
    u32 blocks_per_page;
    bool stopping, stopped;
    bool layered;  // the root image (rootdisk.c): changes stay in memory, nothing is written
    struct vol_inode *hand;  // [list_lock] where reclaim goes on
    struct list all;         // [list_lock] regular files, for reclaim
    struct list link;        // [volumes_lock]
};

// An inode's part on the disk. An inode with anything to write is on the volume's list, which holds a reference.
struct vol_inode {
    struct inode *inode;
    struct volume *volume;
    u32 ino;  // 0: not on the disk yet
    struct vol_inode *hash_next;
    struct list dirty;  // [list_lock] linked: something is to be written
    struct list all;    // [list_lock]
    bool attr_dirty;    // [list_lock] mode, owner or times
    struct mutex
        pages;  // bringing pages in, writing them back, and taking their places away exclude each other
    u64 disk_size;    // [pages] as the disk has it
    u32 transaction;  // [volume lock] the last that changed size or places
    u32 error_count;  // atomic: errors of writing back
    int error;
    bool error_seen;
    u64 next_read;               // [pages] where a reader who goes on would
    u32 ahead;                   // [pages] pages that are read at once
    u32 promised;                // atomic: pages of it whose places are promised
    struct spinlock dirty_lock;  // leaf
    struct radix
        dirty_pages;  // [dirty_lock] by index / 64: a word with a bit for each page that may be dirty
    bool dirty_anywhere;  // [dirty_lock] there was no memory for a word: all pages are looked at
};

static inline struct vol_inode *vol_inode_of(const struct inode *inode) { return inode->data; }
static inline struct volume *volume_of(const struct superblock *sb) { return sb->data; }

// ---- rootdisk.c
void rootdisk_init_inode(struct inode *inode, u64 size);

// ---- volume.c
struct inode *volume_lookup(struct inode *dir, const char *name, unsigned len, bool *keep);
int volume_load(struct dentry *dir);
struct inode *volume_instantiate(struct inode *dir, struct dentry *stub);
void volume_evict(struct inode *inode);
struct superblock *volume_create_layered(struct block_device *device);
void volume_mark(struct vol_inode *vi, bool attributes);
int volume_write_attr(struct vol_inode *vi);  // [volume lock, in a transaction]
void volume_attr_of(const struct inode *inode, struct extfs_attr *a);
int volume_commit(struct volume *v);  // takes the lock

// ---- volume_file.c
struct page *volume_get_page(struct vm_object *obj, u64 index, bool write);
extern const struct vm_object_ops volume_object_ops;
void volume_file_init(void);
extern struct file_ops volume_file_ops;
struct page *volume_page_for_write(struct inode *inode, u64 index, bool whole);
ssize_t volume_page_written(struct inode *inode, struct page *p, u64 index, ssize_t moved);
int volume_set_size(struct inode *inode, u64 size);
// Writes the dirty pages of [first, last] and, when it is due, size and attributes. => an error of the device: it is also kept
// for fsync
int volume_write_back(struct vol_inode *vi, u64 first, u64 last);
u64 volume_dirty_limit(void);
void volume_forget_dirty(struct vol_inode *vi);  // it goes: frees what dirty_pages has

// ---- volume_xattr.c [inode->lock]
int volume_load_xattrs(struct inode *inode);
int volume_store_xattrs(struct inode *inode);
