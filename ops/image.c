// SPDX-License-Identifier: BSD-2-Clause
// The root image: a tree written as an ext4 file system, with libext2fs of e2fsprogs.
//
// What `mke2fs -d` would make, except that it needs no staging copy and gives the same bytes for the same tree
// on every machine: inodes are numbered in the order of sorted names, every owner is root and every time
// SOURCE_DATE_EPOCH unless the tree says otherwise (a whole root tree has its own), and UUID and hash seed are
// constants. The layout is for a kernel that maps it in place: 4096-byte blocks, extents, a file contiguous but for
// group boundaries (128 MiB apart), directories without hash trees, no journal, no checksums, no reserve, no room
// left over.
#include "lethe.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, INODE = 256, CHUNK_BLOCKS = 256, RESERVED_INODES = 10, ROUNDS_MAX = 64 };
#define DEFAULT_EPOCH 1704067200u  // 2024-01-01, when SOURCE_DATE_EPOCH is not set

struct image {
    ext2_filsys fs;
    const char *path;
    uint32_t epoch;
    blk64_t goal;  // where the next allocation starts
    char *chunk;   // CHUNK_BLOCKS blocks
};

// A file that was asked for is the user's to make room for; in memory the guest cannot start.
static int status_of(const char *path)
{
    return strncmp(path, "/proc/self/fd/", 14) ? STATUS_USAGE : STATUS_NOBOOT;
}

static void check(const struct image *image, errcode_t error, const char *what)
{
    if (error == EXT2_ET_BLOCK_ALLOC_FAIL || error == EXT2_ET_SHORT_WRITE || error == ENOSPC)
        die_status(status_of(image->path), "cannot write the image: no space left while %s", what);
    if (error)
        die_status(status_of(image->path), "cannot write the image %s: %s: %s", image->path, what,
                   error_message(error));
}

static uint64_t blocks_of(uint64_t bytes) { return (bytes + BLOCK - 1) / BLOCK; }

static size_t dirent_bytes(size_t name_len) { return (8 + name_len + 3) & ~(size_t)3; }

// ---- sizes

// Bytes of a directory's data: entries do not cross a block's end.
static uint64_t directory_bytes(const struct node *directory)
{
    uint64_t blocks = 1;
    size_t used = dirent_bytes(1) + dirent_bytes(2);

    for (const struct node *n = directory->child; n; n = n->next) {
        size_t need = dirent_bytes(strlen(n->name));
        if (used + need > BLOCK) {
            blocks++;
            used = 0;
        }
        used += need;
    }
    return blocks * BLOCK;
}

static uint64_t data_bytes(const struct node *node)
{
    if (S_ISDIR(node->mode))
        return directory_bytes(node);
    if (S_ISLNK(node->mode) && node->size < sizeof(((struct ext2_inode *)0)->i_block))
        return 0;
    return node->size;
}

// ---- inode numbers

// Of the names of one file the first brings its inode; the others have a number that is no longer next.
static bool is_first_name(const struct node *node) { return !node->again; }

// Numbers what is below DIRECTORY: its own entries first, then those of its subdirectories.
static void number(struct node *directory, ext2_ino_t *next)
{
    for (struct node *n = directory->child; n; n = n->next) {
        n->again = n->shared && n->shared->ino;
        n->ino = n->again ? n->shared->ino : (*next)++;
        if (n->shared) {
            n->shared->ino = n->ino;
            n->shared->names++;
        }
    }
    for (struct node *n = directory->child; n; n = n->next)
        if (S_ISDIR(n->mode))
            number(n, next);
}

// Adds up blocks and inodes of a subtree. An extent reaches 128 MiB at most and four fit in the inode: behind that
// a file needs one extent block more for each 340 extents (two, with the split at a group boundary).
static void measure(const struct node *node, uint64_t *blocks, uint64_t *inodes)
{
    uint64_t own = blocks_of(data_bytes(node));

    if (is_first_name(node)) {
        *blocks += own + 2 * (own / (340 * 16384)) + (own > 16384 ? 2 : 0);
        *inodes += 1;
    }
    for (const struct node *child = node->child; child; child = child->next)
        measure(child, blocks, inodes);
}

// ---- format

static void fill_superblock(struct image *image)
{
    struct ext2_super_block *super = image->fs->super;
    static const uint8_t uuid[16] = "\x6c\x65\x74\x68\x65\x00\x4f\x00\x80\x00root\x00\x01";

    image->fs->now = image->epoch;
    super->s_mkfs_time = super->s_lastcheck = super->s_wtime = image->epoch;
    super->s_max_mnt_count = -1;
    super->s_checkinterval = 0;
    super->s_def_hash_version = EXT2_HASH_HALF_MD4;
    super->s_min_extra_isize = super->s_want_extra_isize = INODE - EXT2_GOOD_OLD_INODE_SIZE - 96;
    memcpy(super->s_uuid, uuid, sizeof(uuid));
    memcpy(super->s_hash_seed, uuid, sizeof(uuid));
    memcpy(super->s_volume_name, "lethe-root", 10);
}

// One attempt to make an empty file system of this size.
static bool format_once(struct image *image, uint64_t blocks, uint64_t inodes)
{
    struct ext2_super_block param = {0};
    errcode_t error;

    if (truncate(image->path, blocks * BLOCK))
        die_status(status_of(image->path), "cannot write the image %s: %s", image->path,
                   strerror(errno));
    param.s_log_block_size = param.s_log_cluster_size = 2;  // 1024 << 2
    param.s_rev_level = EXT2_DYNAMIC_REV;
    param.s_inode_size = INODE;
    param.s_inodes_count = inodes;
    param.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS;
    param.s_feature_ro_compat =
        EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
        EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
        EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE;
    ext2fs_blocks_count_set(&param, blocks);
    error = ext2fs_initialize(image->path, EXT2_FLAG_64BITS, &param, unix_io_manager, &image->fs);
    if (error == EXT2_ET_TOOSMALL)
        return false;
    check(image, error, "making the file system");
    fill_superblock(image);
    check(image, ext2fs_allocate_tables(image->fs), "making the file system");
    return true;
}

// An empty file system with room for exactly what is coming.
static void format_image(struct image *image, uint64_t data_blocks, uint64_t inodes,
                         uint64_t min_blocks)
{
    uint64_t blocks = data_blocks + inodes * INODE / BLOCK + 8;

    if (blocks < min_blocks)
        blocks = min_blocks;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        uint64_t room = 0;
        if (format_once(image, blocks, inodes)) {
            room = ext2fs_free_blocks_count(image->fs->super);
            if (room >= data_blocks && image->fs->super->s_inodes_count >= inodes)
                return;
            ext2fs_free(image->fs);
        }
        // libext2fs drops a last group too small to be of use, so that a few blocks more may change nothing
        blocks += room < data_blocks && data_blocks - room > 8 * (uint64_t)(round + 1)
                      ? data_blocks - room
                      : 8 * (uint64_t)(round + 1);
    }
    die_status(STATUS_NOBOOT, "cannot find a size for the image");
}

// ---- contents

// Where the bytes of a file come from: memory or a descriptor.
struct source {
    const char *name;
    const char *bytes;
    int fd;
    uint64_t left;
};

static void read_chunk(struct image *image, struct source *source, size_t blocks)
{
    size_t want = blocks * BLOCK, got = 0;

    if (want > source->left) {
        memset(image->chunk + source->left, 0, want - source->left);
        want = source->left;
    }
    if (source->bytes) {
        memcpy(image->chunk, source->bytes, want);
        source->bytes += want;
        got = want;
    }
    while (got < want) {
        ssize_t n = read(source->fd, image->chunk + got, want - got);
        if (n < 0)
            die("cannot read %s: %s", source->name, strerror(errno));
        if (n == 0)
            die("%s became shorter while it was packed; try again", source->name);
        got += n;
    }
    source->left -= want;
}

static void write_extent(struct image *image, const struct ext2fs_extent *extent,
                         struct source *source)
{
    for (uint32_t done = 0; done < extent->e_len;) {
        uint32_t n = extent->e_len - done < CHUNK_BLOCKS ? extent->e_len - done : CHUNK_BLOCKS;
        read_chunk(image, source, n);
        check(image, io_channel_write_blk64(image->fs->io, extent->e_pblk + done, n, image->chunk),
              "writing");
        done += n;
    }
    image->goal = extent->e_pblk + extent->e_len;
}

// Gives INODE its blocks and fills them.
static void store(struct image *image, ext2_ino_t ino, struct ext2_inode *inode,
                  struct source *source)
{
    uint64_t blocks = blocks_of(source->left);
    ext2_extent_handle_t extents;
    struct ext2fs_extent extent;
    errcode_t error;

    inode->i_flags |= EXT4_EXTENTS_FL;
    check(image, ext2fs_extent_open2(image->fs, ino, inode, &extents), "opening");
    ext2fs_extent_free(extents);
    if (!blocks)
        return;
    check(
        image,
        ext2fs_fallocate(image->fs, EXT2_FALLOCATE_FORCE_INIT, ino, inode, image->goal, 0, blocks),
        "allocating");
    check(image, ext2fs_extent_open2(image->fs, ino, inode, &extents), "opening");
    for (int op = EXT2_EXTENT_ROOT;; op = EXT2_EXTENT_NEXT_LEAF) {
        error = ext2fs_extent_get(extents, op, &extent);
        if (error == EXT2_ET_EXTENT_NO_NEXT)
            break;
        check(image, error, "walking the extents");
        if (extent.e_flags & EXT2_EXTENT_FLAGS_LEAF)
            write_extent(image, &extent, source);
    }
    ext2fs_extent_free(extents);
}

static void write_inode(struct image *image, ext2_ino_t ino, const struct node *node,
                        struct ext2_inode_large *inode, unsigned links)
{
    inode->i_mode = node->mode;
    inode->i_links_count = links;
    inode->i_atime = inode->i_ctime = inode->i_mtime = inode->i_crtime = image->epoch;
    if (node->mtime > 0 && node->mtime <= INT32_MAX)
        inode->i_mtime = node->mtime;
    inode->i_uid = node->uid;
    inode->i_uid_high = node->uid >> 16;
    inode->i_gid = node->gid;
    inode->i_gid_high = node->gid >> 16;
    inode->i_extra_isize = image->fs->super->s_want_extra_isize;
    check(image, ext2fs_inode_size_set(image->fs, (struct ext2_inode *)inode, data_bytes(node)),
          "sizing");
    if (S_ISLNK(node->mode))
        inode->i_size = node->size;
    check(image,
          ext2fs_write_inode_full(image->fs, ino, (struct ext2_inode *)inode, sizeof(*inode)),
          "writing an inode");
}

static void write_file(struct image *image, ext2_ino_t ino, const struct node *node)
{
    struct ext2_inode_large inode = {0};
    struct source source = {node->host_path, node->content, -1, node->size};

    if (S_ISLNK(node->mode) && !data_bytes(node)) {
        memcpy(inode.i_block, node->content, node->size);
    } else {
        if (!node->content) {
            source.fd = open(node->host_path, O_RDONLY | O_CLOEXEC);
            if (source.fd < 0 || lseek(source.fd, node->offset, SEEK_SET) < 0)
                die("cannot read %s: %s", node->host_path, strerror(errno));
        }
        store(image, ino, (struct ext2_inode *)&inode, &source);
        if (source.fd >= 0)
            close(source.fd);
    }
    write_inode(image, ino, node, &inode, node->shared ? node->shared->names : 1);
}

static char *put_dirent(char *at, ext2_ino_t ino, const char *name, mode_t mode)
{
    struct ext2_dir_entry_2 *entry = (struct ext2_dir_entry_2 *)at;

    entry->inode = ino;
    entry->name_len = strlen(name);
    entry->rec_len = dirent_bytes(entry->name_len);
    entry->file_type = S_ISDIR(mode)   ? EXT2_FT_DIR
                       : S_ISLNK(mode) ? EXT2_FT_SYMLINK
                                       : EXT2_FT_REG_FILE;
    memcpy(entry->name, name, entry->name_len);
    return at;
}

// Lets the entry at LAST reach to the end of its block.
static void end_block(char *block, char *last)
{
    ((struct ext2_dir_entry_2 *)last)->rec_len = block + BLOCK - last;
}

// The data of a directory.
static char *directory_data(const struct node *directory, ext2_ino_t ino, ext2_ino_t parent)
{
    char *data = xalloc(directory_bytes(directory)), *block = data, *last;
    size_t used = dirent_bytes(1) + dirent_bytes(2);

    put_dirent(data, ino, ".", S_IFDIR);
    last = put_dirent(data + dirent_bytes(1), parent, "..", S_IFDIR);
    for (const struct node *n = directory->child; n; n = n->next) {
        size_t need = dirent_bytes(strlen(n->name));
        if (used + need > BLOCK) {
            end_block(block, last);
            block += BLOCK;
            used = 0;
        }
        last = put_dirent(block + used, n->ino, n->name, n->mode);
        used += need;
    }
    end_block(block, last);
    return data;
}

// Writes a directory and all below it. => depth is bounded by tree.c
static void write_directory(struct image *image, const struct node *directory, ext2_ino_t ino,
                            ext2_ino_t parent)
{
    struct ext2_inode_large inode = {0};
    unsigned links = 2;
    char *data = directory_data(directory, ino, parent);
    struct source source = {directory->name, data, -1, directory_bytes(directory)};

    for (const struct node *n = directory->child; n; n = n->next) {
        if (is_first_name(n))
            ext2fs_inode_alloc_stats2(image->fs, n->ino, +1, S_ISDIR(n->mode));
        links += S_ISDIR(n->mode);
    }
    if (links >= EXT2_LINK_MAX)
        links = 1;  // ext4: more subdirectories than the field can count (dir_nlink)
    store(image, ino, (struct ext2_inode *)&inode, &source);
    write_inode(image, ino, directory, &inode, links);
    free(data);
    for (const struct node *n = directory->child; n; n = n->next) {
        if (S_ISDIR(n->mode))
            write_directory(image, n, n->ino, ino);
        else if (is_first_name(n))
            write_file(image, n->ino, n);
    }
}

// Gives the free blocks at the end of the last group back: libext2fs leaves at least 50 there, which a guest of
// 4 MiB would miss.
static void trim(struct image *image, uint64_t min_blocks)
{
    ext2_filsys fs = image->fs;
    blk64_t end = ext2fs_blocks_count(fs->super), used = end;
    dgrp_t group = fs->group_desc_count - 1;

    while (used - 1 > ext2fs_group_first_block2(fs, group) && used > min_blocks &&
           !ext2fs_test_block_bitmap2(fs->block_map, used - 1))
        used--;
    ext2fs_bg_free_blocks_count_set(fs, group,
                                    ext2fs_bg_free_blocks_count(fs, group) - (end - used));
    ext2fs_free_blocks_count_add(fs->super, -(blk64_t)(end - used));
    ext2fs_blocks_count_set(fs->super, used);
    check(image, ext2fs_resize_block_bitmap2(used - 1, used - 1, fs->block_map), "trimming");
    ext2fs_group_desc_csum_set(fs, group);
    ext2fs_mark_super_dirty(fs);
    ext2fs_mark_bb_dirty(fs);
}

// The date of everything in an image, in seconds.
uint32_t image_epoch(void)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");

    return epoch && *epoch ? strtoul(epoch, NULL, 10) : DEFAULT_EPOCH;
}

// Writes the tree to PATH, which must exist; at least MIN_BYTES large. => returns its size in bytes
uint64_t image_write(const char *path, struct node *root, uint64_t min_bytes)
{
    struct image image = {.path = path};
    ext2_ino_t next_ino = RESERVED_INODES + 1;
    uint64_t blocks = 0, inodes = RESERVED_INODES, size;

    image.epoch = image_epoch();
    image.chunk = xalloc((size_t)CHUNK_BLOCKS * BLOCK);
    initialize_ext2_error_table();
    number(root, &next_ino);
    measure(root, &blocks, &inodes);
    format_image(&image, blocks, inodes, blocks_of(min_bytes));
    for (ext2_ino_t ino = 1; ino <= RESERVED_INODES; ino++)
        ext2fs_inode_alloc_stats2(image.fs, ino, +1, ino == EXT2_ROOT_INO);
    write_directory(&image, root, EXT2_ROOT_INO, EXT2_ROOT_INO);
    trim(&image, blocks_of(min_bytes));
    size = ext2fs_blocks_count(image.fs->super) * BLOCK;
    check(&image, ext2fs_close(image.fs), "closing");
    if (truncate(path, size))
        die_status(status_of(path), "cannot write the image %s: %s", path, strerror(errno));
    free(image.chunk);
    return size;
}
