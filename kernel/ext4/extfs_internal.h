// SPDX-License-Identifier: BSD-2-Clause
// extfs_internal.h: what the files of ext4/ share. Layout: kernel documentation, "ext4 Data Structures and Algorithms".
#pragma once

#include <string.h>

#include "core/log.h"
#include "ext4/extfs.h"

void *kmalloc(size_t size);  // mm/page.h, which the host does not have
void *kzalloc(size_t size);
void kfree(void *ptr);

// ---- little-endian fields (both architectures are) and the journal's big-endian ones
static inline u16 le16(const void *p)
{
    u16 v;
    memcpy(&v, p, 2);
    return v;
}
static inline u32 le32(const void *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}
static inline void put16(void *p, u32 v)
{
    u16 w = (u16)v;
    memcpy(p, &w, 2);
}
static inline void put32(void *p, u32 v) { memcpy(p, &v, 4); }
static inline u32 be32(const void *p) { return __builtin_bswap32(le32(p)); }
static inline void put_be32(void *p, u32 v) { put32(p, __builtin_bswap32(v)); }
static inline u16 be16(const void *p) { return __builtin_bswap16(le16(p)); }
static inline void put_be16(void *p, u32 v) { put16(p, __builtin_bswap16((u16)v)); }

// ---- features
#define COMPAT_HAS_JOURNAL 0x4u
#define COMPAT_ORPHAN_FILE 0x1000u
#define INCOMPAT_FILETYPE 0x2u
#define INCOMPAT_RECOVER 0x4u
#define INCOMPAT_EXTENTS 0x40u
#define INCOMPAT_64BIT 0x80u
#define INCOMPAT_FLEX_BG 0x200u
#define INCOMPAT_CSUM_SEED 0x2000u
#define INCOMPAT_LARGEDIR 0x4000u
#define INCOMPAT_KNOWN                                                                             \
    (INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG | \
     INCOMPAT_CSUM_SEED | INCOMPAT_LARGEDIR)
#define RO_SPARSE_SUPER 0x1u
#define RO_LARGE_FILE 0x2u
#define RO_HUGE_FILE 0x8u
#define RO_GDT_CSUM 0x10u
#define RO_DIR_NLINK 0x20u
#define RO_EXTRA_ISIZE 0x40u
#define RO_METADATA_CSUM 0x400u
#define RO_KNOWN                                                                   \
    (RO_SPARSE_SUPER | RO_LARGE_FILE | RO_HUGE_FILE | RO_GDT_CSUM | RO_DIR_NLINK | \
     RO_EXTRA_ISIZE | RO_METADATA_CSUM)

#define FL_EXTENTS 0x80000u
#define FL_HUGE_FILE 0x40000u
#define FL_INDEX 0x1000u
#define FL_ENCRYPT 0x800u
#define FL_EA_INODE 0x200000u
#define FL_INLINE_DATA 0x10000000u

#define T_FMT 0170000u
#define T_DIR 0040000u
#define T_REG 0100000u
#define T_LNK 0120000u

enum { BG_INODE_UNINIT = 1, BG_BLOCK_UNINIT = 2, BG_INODE_ZEROED = 4 };
#define JOURNAL_INO 8u
#define MAX_NLINK 65000u

// ---- metadata blocks in memory
//
//   clean (lru) --buf_dirty--> in the running transaction (tx) --commit--> in the log only (ckpt) --checkpoint--> clean
//                                        ^----------------- buf_dirty -----------'  (then on both lists)
//
// A block on either list stays in memory. When no transaction runs, what is in memory is what was committed, so a
// checkpoint writes it home as it is.
struct buf {
    u64 block;
    u8 *data;
    u32 refs;
    bool in_tx, in_ckpt;
    u8 verified;         // VERIFIED_*: as what it has been checked
    u32 inodes_checked;  // by place in the block: inodes whose checksum was good when they were read
    struct buf *hash_next;
    struct list lru;   // clean and unused, oldest first; empty otherwise
    struct list tx;    // linked while in_tx
    struct list ckpt;  // linked while in_ckpt
};
#define BUF_HASH 1024u
enum {
    VERIFIED_NO,
    VERIFIED_GROUPS,
    VERIFIED_BITMAP,
    VERIFIED_EXTENTS,
    VERIFIED_DIR,
    VERIFIED_XATTR
};

struct journal_run {
    u32 first, n;  // blocks of the journal
    u64 pblk;
};

struct journal {
    struct journal_run *runs;
    u32 n_runs;
    u32 first, end;  // log blocks [first, end)
    u32 head;        // next log block
    u32 used;        // log blocks that a replay would read
    u32 sequence;    // of the running transaction
    u32 committed;   // last that is durable
    u32 incompat;
    u32 csum_seed;
    u8 *super;   // its superblock, a block
    bool fresh;  // the superblock says that there is nothing to replay
};

// An inode on the orphan list and the one that leads to it (0: the superblock does), so that it can be taken out without a walk.
#define ORPHAN_BUCKETS 256u
struct orphan {
    u32 ino, before;
    struct orphan *next;  // of the bucket
};

struct extfs {
    struct extfs_disk *disk;
    u32 block_size, block_bits;
    u64 n_blocks;
    u32 n_groups, blocks_per_group, inodes_per_group, n_inodes;
    u32 inode_size, desc_size, first_data_block, want_extra;
    u64 first_desc_block;
    u32 csum_seed;
    u32 compat, incompat, ro_compat;
    bool metadata_csum, gdt_csum;
    bool read_only, failed,
        marked;  // marked: the superblock on disk says that the journal may need a replay
    u64 free_blocks;
    u32 free_inodes;
    u64 promised;        // atomic
    u64 pending_blocks;  // freed by the running transaction, not to be used before it is committed
    struct buf *super;
    u8 *sb;        // in super->data
    u8 **pending;  // by group: bitmap of such blocks, NULL: none
    bool in_op, half_done;
    struct buf *hash[BUF_HASH];
    struct list lru, tx, ckpt;
    u32 n_bufs, n_tx, n_ckpt, max_bufs;
    u64 *revoked;  // by the running transaction
    u32 n_revoked, room_revoked;
    struct journal j;
    u32 hint_dir, hint_block;  // where a name was put in or taken out last
    u32 next_generation;
    struct orphan *orphans[ORPHAN_BUCKETS];
    struct zone *zones;  // sorted
    u32 n_zones;
};

// ---- buffer.c. ERR_PTR(-EIO, -ENOMEM, -EUCLEAN for a block that is not there)
struct buf *buf_get(struct extfs *fs, u64 block);
struct buf *buf_new(struct extfs *fs, u64 block, u8 kind);  // not read; zero; VERIFIED_kind
void buf_put(struct extfs *fs, struct buf *b);
int buf_dirty(struct extfs *fs, struct buf *b);  // joins the running transaction
int buf_forget(struct extfs *fs,
               u64 block);  // the block is free: what is in memory is worth nothing
void buf_drop_all(struct extfs *fs);
void buf_trim(struct extfs *fs);
void buf_release(struct extfs *fs, struct buf *b);  // after it has left a list

// ---- journal.c, recover.c
#define OP_BLOCKS 160u  // metadata blocks that one operation changes at most
int journal_load(struct extfs *fs, const char **why);
int journal_replay(struct extfs *fs, const char **why);
int journal_write_super(struct extfs *fs, u32 start, u32 sequence);
int journal_make_room(struct extfs *fs);
int journal_commit(struct extfs *fs);
int journal_checkpoint(struct extfs *fs);
u64 journal_block(const struct journal *j, u32 log_block);
u32 journal_data_csum(const struct journal *j, u32 sequence, const u8 *data, u32 size);
u32 journal_block_csum(const struct journal *j, const u8 *data, u32 size);
u32 journal_tag_bytes(const struct journal *j);
static inline bool journal_has_csum(const struct journal *j) { return j->incompat & 0x18; }

#define JBD_MAGIC 0xc03b3998u
enum { JBD_DESCRIPTOR = 1, JBD_COMMIT = 2, JBD_SUPER1 = 3, JBD_SUPER2 = 4, JBD_REVOKE = 5 };
enum { JBD_REVOKES = 1, JBD_64BIT = 2, JBD_CSUM_V2 = 8, JBD_CSUM_V3 = 16 };
enum { TAG_ESCAPE = 1, TAG_SAME_UUID = 2, TAG_DELETED = 4, TAG_LAST = 8 };

// ---- checksum.c
u32 crc32c(u32 crc, const void *data, size_t len);
u16 crc16(u16 crc, const void *data, size_t len);

// ---- super.c
// Stops all writing. => err, for `return extfs_fail(...)`
int extfs_fail(struct extfs *fs, int err, const char *why) __cold;
#define damaged(fs, why) extfs_fail((fs), -EUCLEAN, (why))
void super_update(struct extfs *fs);  // counts and checksum into the buffer
int super_write_home(struct extfs *fs);
// A group's descriptor, referenced buffer in *b.
u8 *group_desc(struct extfs *fs, u32 group, struct buf **b);
int group_dirty(struct extfs *fs, u32 group, struct buf *b, u8 *desc);
u64 group_field(const struct extfs *fs, const u8 *desc, u32 low, u32 high);
void group_add(const struct extfs *fs, u8 *desc, u32 low, u32 high, s32 n);
u32 group_get16(const struct extfs *fs, const u8 *desc, u32 low, u32 high);
enum {  // offsets of descriptor fields: low half, high half
    GD_BLOCK_BITMAP = 0x0,
    GD_INODE_BITMAP = 0x4,
    GD_INODE_TABLE = 0x8,
    GD_FREE_BLOCKS = 0xc,
    GD_FREE_INODES = 0xe,
    GD_USED_DIRS = 0x10,
    GD_FLAGS = 0x12,
    GD_BLOCK_CSUM = 0x18,
    GD_INODE_CSUM = 0x1a,
    GD_UNUSED = 0x1c,
    GD_CSUM = 0x1e,
    GD_HIGH32 = 0x20,  // added for the high half of an address
    GD_FREE_BLOCKS_HIGH = 0x2c,
    GD_FREE_INODES_HIGH = 0x2e,
    GD_USED_DIRS_HIGH = 0x30,
    GD_UNUSED_HIGH = 0x32,
    GD_BLOCK_CSUM_HIGH = 0x38,
    GD_INODE_CSUM_HIGH = 0x3a,
};

// ---- alloc.c
u64 alloc_blocks(struct extfs *fs, u64 goal, u32 want, u32 *got, int *err);
int free_blocks(struct extfs *fs, u64 start, u32 n);
int alloc_inode(struct extfs *fs, u32 parent, bool directory, u32 *ino);
int free_inode(struct extfs *fs, u32 ino, bool directory);
bool blocks_valid(const struct extfs *fs, u64 start, u64 n);
void pending_clear(struct extfs *fs);

// ---- zone.c
int zones_build(struct extfs *fs);
// Inside the file system, and none of its own structures: what a file may have.
bool blocks_usable(const struct extfs *fs, u64 start, u64 n);

// ---- inode.c: an inode in its block of the table
struct raw_inode {
    struct extfs *fs;
    struct buf *b;
    u8 *raw;
    u32 ino;
};
int raw_get(struct extfs *fs, u32 ino, struct raw_inode *out);
int raw_get_new(struct extfs *fs, u32 ino, struct raw_inode *out);  // not read: cleared
void raw_put(struct raw_inode *i);
int inode_dirty(struct raw_inode *i);  // checksum, and into the transaction
u64 raw_size(const struct raw_inode *i);
void inode_set_size(struct raw_inode *i, u64 size);
void inode_add_blocks(struct raw_inode *i, s64 blocks);
u32 inode_seed(const struct raw_inode *i);  // of the checksums of what belongs to it
void inode_fill(struct raw_inode *i, const struct extfs_attr *attr);
void inode_set_attr(struct raw_inode *i, const struct extfs_attr *attr);
enum {
    I_MODE = 0x0,
    I_SIZE = 0x4,
    I_ATIME = 0x8,
    I_CTIME = 0xc,
    I_MTIME = 0x10,
    I_DTIME = 0x14,
    I_LINKS = 0x1a,
    I_BLOCKS = 0x1c,
    I_FLAGS = 0x20,
    I_BLOCK = 0x28,
    I_GENERATION = 0x64,
    I_FILE_ACL = 0x68,
    I_SIZE_HIGH = 0x6c,
    I_BLOCKS_HIGH = 0x74,
    I_FILE_ACL_HIGH = 0x76,
    I_CSUM = 0x7c,
    I_EXTRA_ISIZE = 0x80,
    I_CSUM_HIGH = 0x82,
};
static inline u32 inode_mode(const struct raw_inode *i) { return le16(i->raw + I_MODE); }
static inline u32 inode_flags(const struct raw_inode *i) { return le32(i->raw + I_FLAGS); }
static inline u32 inode_links(const struct raw_inode *i) { return le16(i->raw + I_LINKS); }
int orphan_add(struct raw_inode *i);
int orphan_remove(struct raw_inode *i);
int orphans_process(struct extfs *fs);
void orphans_forget(struct extfs *fs);  // what memory knows of the list

// ---- xattr.c: the block of attributes goes, or loses a user
int xattrs_drop(struct raw_inode *i);

// ---- extent.c
struct extent_map {
    u64 pblk;  // 0: hole
    u32 len;
    bool unwritten;
};
int extent_map(struct raw_inode *i, u32 lblk, struct extent_map *out);
int extent_allocate(struct raw_inode *i, u32 lblk, u32 want, bool unwritten, u64 *pblk, u32 *got);
int extent_set_written(struct raw_inode *i, u32 lblk, u32 n);
int extent_remove(struct raw_inode *i, u32 first, u32 last, u32 max_steps);  // 1: more is left
void extent_init(u8 *i_block);

// ---- dir.c
int dir_find(struct raw_inode *dir, const char *name, u32 len, u32 *ino, u32 *type);
// Looks for room and makes it; then the entry itself cannot fail for want of space.
int dir_insert(struct raw_inode *dir, const char *name, u32 len, u32 ino, u32 type);
int dir_remove(struct raw_inode *dir, const char *name, u32 len);
int dir_change(struct raw_inode *dir, const char *name, u32 len, u32 ino, u32 type);
int dir_init(struct raw_inode *dir, u32 parent);
int dir_is_empty(struct raw_inode *dir);
