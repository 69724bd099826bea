// SPDX-License-Identifier: BSD-2-Clause
// ext4_test.c: the kernel's ext4 reader on the host, under ASan and UBSan.
//
//   ext4_test list IMAGE          prints every name with what the reader says of it, for the run script to compare
//   ext4_test fuzz IMAGE N SEED   reads N damaged copies from end to end; none may crash or go on without end
//   ext4_test refuse IMAGE        prints why the image is refused; fails if it is not
//
// The image lies in a block of exactly its size, so that ASan sees every read beyond it.
#include "fs/ext4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 24
#define MAX_STEPS 4000000ul  // names and blocks that one walk looks at

struct walk {
    struct ext4 fs;
    bool print;
    unsigned long steps, errors;
};

static u32 checksum(u32 sum, const u8 *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

// Reads a file through its map, holes as zeros, as the kernel does.
static u32 read_file(struct walk *w, const struct ext4_inode *inode)
{
    static const u8 zeros[EXT4_BLOCK_SIZE];
    u32 sum = 2166136261u;
    u64 end = (inode->size + EXT4_BLOCK_SIZE - 1) / EXT4_BLOCK_SIZE;
    for (u64 lblk = 0; lblk < end && w->steps < MAX_STEPS;) {
        u64 pblk;
        u32 run;
        w->steps++;
        if (ext4_map(&w->fs, inode, (u32)lblk, &pblk, &run)) {
            w->errors++;
            return 0;
        }
        if (run == 0)
            abort();
        if (!pblk && !w->print) {  // a damaged size may mean years of zeros
            lblk += run;
            continue;
        }
        for (u32 i = 0; i < run && lblk < end && w->steps < MAX_STEPS; i++, lblk++, w->steps++) {
            u64 left = inode->size - lblk * EXT4_BLOCK_SIZE;
            size_t n = left < EXT4_BLOCK_SIZE ? left : EXT4_BLOCK_SIZE;
            if (pblk && pblk + i >= w->fs.n_blocks)
                abort();
            sum = checksum(sum, pblk ? w->fs.base + (pblk + i) * EXT4_BLOCK_SIZE : zeros, n);
        }
    }
    return sum;
}

static void show(struct walk *w, const char *path, const struct ext4_inode *i)
{
    const char *text = "";
    int len = 0;
    u32 sum = 0, type = i->mode & 0170000;
    if (type == 0120000 && (len = ext4_link_text(&w->fs, i, &text)) < 0)
        w->errors++;
    if (type == 0100000)
        sum = read_file(w, i);
    if (!w->print)
        return;
    printf("%s %o %u %u %u", path, i->mode, i->n_links, i->uid, i->gid);
    if (type == 0100000)
        printf(" %llu %u", (unsigned long long)i->size, sum);
    if (type == 0120000)
        printf(" %.*s", len, text);
    if (type == 0020000 || type == 0060000)
        printf(" %u:%u", ext4_rdev(i) >> 20, ext4_rdev(i) & 0xfffff);
    printf(" %llu\n", (unsigned long long)(i->mtime_ns / 1000000000u));
}

static void walk_dir(struct walk *w, const struct ext4_inode *dir, const char *path, int depth)
{
    struct ext4_dirent de;
    u64 pos = 0;
    int got;
    while ((got = ext4_dir_next(&w->fs, dir, &pos, &de)) > 0 && w->steps++ < MAX_STEPS) {
        struct ext4_inode inode;
        struct ext4_dirent again;
        char child[8192];
        if (ext4_read_inode(&w->fs, de.ino, &inode)) {
            w->errors++;
            continue;
        }
        if (w->print &&
            (ext4_dir_find(&w->fs, dir, de.name, de.name_len, &again) != 1 || again.ino != de.ino))
            printf("%.*s is listed but not found\n", de.name_len, de.name);
        snprintf(child, sizeof child, "%s/%.*s", path, de.name_len, de.name);
        if (depth > 0 || de.name_len != 10 || memcmp(de.name, "lost+found", 10))
            show(w, child, &inode);
        if ((inode.mode & 0170000) == 0040000 && depth < MAX_DEPTH)
            walk_dir(w, &inode, child, depth + 1);
    }
    if (got < 0)
        w->errors++;
}

static bool walk_image(const u8 *image, size_t size, bool print)
{
    struct walk w = {.print = print};
    struct ext4_inode root;
    const char *why;
    if (ext4_open(&w.fs, image, size, &why)) {
        if (print)
            printf("refused: %s\n", why);
        return false;
    }
    if (ext4_read_inode(&w.fs, EXT4_ROOT_INO, &root) == 0)
        walk_dir(&w, &root, "", 0);
    if (print && w.errors)
        printf("%lu errors\n", w.errors);
    return w.errors == 0;
}

static u64 random_state;
static u32 random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (u32)(random_state >> 32);
}

// Where a change does most: superblock, descriptors, inode tables, blocks that start like an extent node or
// a directory. Half of the changes go there, the rest anywhere.
static size_t pick_place(const u8 *image, size_t size)
{
    u32 kind = random_u32() % 8;
    if (kind == 0)
        return 1024 + random_u32() % 1024;
    if (kind == 1)
        return 4096 + random_u32() % 256;
    if (kind <= 4)
        return random_u32() % size;
    for (int tries = 0; tries < 2000; tries++) {
        size_t block = random_u32() % (size / 4096) * 4096;
        const u8 *b = image + block;
        bool extent = b[0] == 0x0a && b[1] == 0xf3, dir = b[4] == 12 && b[6] == 1 && b[8] == '.';
        bool table = b[0x80] == 0x20 && b[0x81] == 0 && b[0x28] == 0x0a;
        if (extent || dir || table || kind == 7)
            return block + random_u32() % (kind == 5 ? 64 : 4096);
    }
    return random_u32() % size;
}

// What damage() changed, so that one copy of the image serves all rounds.
static struct {
    size_t at, len;
} changes[16];
static unsigned n_changes;

static void damage(u8 *image, size_t size)
{
    n_changes = 0;
    static const u8 extremes[] = {0, 1, 0x7f, 0x80, 0xff};
    for (u32 n = 1 + random_u32() % 12; n > 0; n--) {
        size_t at = pick_place(image, size);
        size_t len = 1 + random_u32() % 4;
        u32 how = random_u32() % 3;
        changes[n_changes].at = at;
        changes[n_changes++].len = at + len <= size ? len : size - at;
        for (size_t i = at; i < at + len && i < size; i++)
            image[i] = how == 0   ? (u8)random_u32()
                       : how == 1 ? image[i] ^ (u8)(1u << random_u32() % 8)
                                  : extremes[random_u32() % sizeof extremes];
    }
}

static void fuzz(const u8 *good, size_t size, unsigned n)
{
    unsigned n_sound = 0;
    u8 *whole = malloc(size);
    memcpy(whole, good, size);
    for (unsigned i = 0; i < n; i++) {
        size_t cut = random_u32() % 16 == 0 ? random_u32() % size : size;
        u8 *image = whole;
        if (cut < size) {  // its own memory, so that a read beyond the end is seen
            image = malloc(cut ? cut : 1);
            memcpy(image, good, cut);
        }
        n_changes = 0;
        if (cut > 8192)
            damage(image, cut);
        n_sound += walk_image(image, cut, false);
        if (image != whole)
            free(image);
        for (unsigned c = 0; image == whole && c < n_changes; c++)
            memcpy(whole + changes[c].at, good + changes[c].at, changes[c].len);
    }
    free(whole);
    fprintf(stderr, "ext4 fuzz: %u images, %u read without an error\n", n, n_sound);
}

static u8 *load(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        return NULL;
    *size = ftell(f);
    rewind(f);
    u8 *image = malloc(*size ? *size : 1);
    if (fread(image, 1, *size, f) != *size)
        return NULL;
    fclose(f);
    return image;
}

// For test/host/fuzz: changes of the image that FUZZ_IMAGE names, of 8 bytes each: where (4), how many bytes less one, and
// three bytes to put there.
int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
    static u8 *good, *image;
    static size_t size;
    if (!good) {
        good = load(getenv("FUZZ_IMAGE"), &size);
        image = good ? malloc(size) : NULL;
        if (!image)
            exit(2);
        memcpy(image, good, size);
    }
    for (const u8 *p = data; p + 8 <= data + n; p += 8)
        for (u32 i = 0; i <= p[4] % 3u; i++)
            image[((p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24) + i) % size] = p[5 + i];
    walk_image(image, size, false);
    for (const u8 *p = data; p + 8 <= data + n; p += 8)
        for (u32 i = 0; i <= p[4] % 3u; i++) {
            size_t at = ((p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24) + i) % size;
            image[at] = good[at];
        }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    size_t size;
    u8 *image = load(argv[2], &size);
    if (!image)
        return 2;
    int status = 0;
    if (strcmp(argv[1], "list") == 0) {
        status = !walk_image(image, size, true);
    } else if (strcmp(argv[1], "refuse") == 0) {
        struct ext4 fs;
        const char *why;
        status = ext4_open(&fs, image, size, &why) == 0;
        printf("%s\n", status ? "accepted" : why);
    } else if (argc >= 5) {
        random_state = strtoull(argv[4], NULL, 0);
        fuzz(image, size, atoi(argv[3]));
    }
    free(image);
    return status;
}
