// SPDX-License-Identifier: BSD-2-Clause
// Fuzz target of what comes from a machine's owner: disks with a label (ISO 9660, FAT), cloud-config, OpenStack's JSON, lines of NAME=VALUE.
// The first byte chooses; of a disk, changes of 8 bytes follow: where (4), how many bytes less one, three bytes. Disks are the files seed-0
// to seed-4 of the folder that FUZZ_DISKS names; unchanged, each must give its file `meta-data`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec/cloud.h"
#include "fs/label.h"
#include "fs/vfs.h"
#include "mm/page.h"
#include "task/thread.h"

enum { DISKS = 5, LINES = DISKS, CONFIG, JSON, METADATA, BASE64, KINDS };
#define CHECK(cond)                                                    \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "failed: line %d: %s\n", __LINE__, #cond); \
            abort();                                                   \
        }                                                              \
    } while (0)

// ---- the kernel around it

int log_level;
void klog_line(int level, const char *fmt, ...) {}
void *kmalloc(size_t n) { return malloc(n); }
void kfree(void *p) { free(p); }
static size_t touched;
static void touch(const char *p, size_t n)
{
    while (n--)
        touched += (size_t)(unsigned char)*p++;
}
int set_hostname(const char *name)
{
    CHECK(strlen(name) > 0 && strlen(name) <= 63);
    return 0;
}
int vfs_put_file(const char *path, const void *bytes, size_t n, u32 mode, bool append)
{
    touch(path, strlen(path));
    touch(bytes, n);
    CHECK(mode <= 07777);
    return 0;
}

// ---- disks

static struct image {
    u8 *good, *bytes;
    size_t size;
    u32 *used, n_used;  // sectors with something in them
} images[DISKS];

static struct image *the_disk;

static int read_image(struct label_disk *d, u64 at, void *to, size_t n)
{
    if (at > the_disk->size || n > the_disk->size - at)
        return -EIO;
    memcpy(to, the_disk->bytes + at, n);
    return 0;
}

static void load(struct image *im, u32 number)
{
    static const u8 zeros[512];
    char path[4096];
    snprintf(path, sizeof(path), "%s/seed-%u", getenv("FUZZ_DISKS"), number);
    FILE *f = fopen(path, "rb");
    CHECK(f && fseek(f, 0, SEEK_END) == 0);
    im->size = (size_t)ftell(f);
    rewind(f);
    im->good = malloc(im->size);
    im->bytes = malloc(im->size);
    im->used = malloc(im->size / 512 * sizeof(u32));
    CHECK(fread(im->good, 1, im->size, f) == im->size);
    fclose(f);
    memcpy(im->bytes, im->good, im->size);
    for (u32 i = 0; i < im->size / 512; i++) {
        if (memcmp(im->good + (size_t)i * 512, zeros, 512))
            im->used[im->n_used++] = i;
    }
}

// Where a change goes: mostly to what is in use.
static size_t place_of(const struct image *im, const u8 *p, u32 i)
{
    u32 at = p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24;
    return ((size_t)im->used[at / 512 % im->n_used] * 512 + at % 512 + i) % im->size;
}

static void read_all(struct label_disk *d, bool unchanged)
{
    static const char *const paths[] = {
        "meta-data", "/user-data", "openstack/latest/meta_data.json", "//openstack//content/", ""};
    for (u32 i = 0; i < ARRAY_SIZE(paths); i++) {
        struct label_file f;
        int err = d->find(d, paths[i], &f);
        CHECK(!unchanged || i > 1 || (!err && !f.directory));
        if (err || f.directory || f.bytes > LABEL_FILE_MAX)
            continue;
        char *to = malloc(f.bytes + 1);
        err = d->fetch(d, &f, to);
        CHECK(!unchanged || (!err && (i || !memcmp(to, "instance-id: i-1\n", 17))));
        free(to);
    }
}

static void try_disk(u32 number, const u8 *data, size_t n)
{
    struct image *im = &images[number];
    struct label_disk *d = calloc(1, sizeof(*d));
    if (!im->good)
        load(im, number);
    the_disk = im;
    for (const u8 *p = data; p + 8 <= data + n; p += 8)
        for (u32 i = 0; i <= p[4] % 3u; i++)
            im->bytes[place_of(im, p, i)] = p[5 + i];
    d->read = read_image;
    bool opened = !iso9660_open(d) || !fat_open(d);
    CHECK(n >= 8 || (opened && label_same(d->label, "cidata", 7)));
    if (opened) {
        CHECK(strlen(d->label) <= LABEL_MAX);
        read_all(d, n < 8);
    }
    for (const u8 *p = data; p + 8 <= data + n; p += 8)
        for (u32 i = 0; i <= p[4] % 3u; i++)
            im->bytes[place_of(im, p, i)] = im->good[place_of(im, p, i)];
    free(d);
}

// ---- texts

static void see_file(void *arg, const char *path, const char *contents)
{
    touch(path, strlen(path));
    touch(contents, strlen(contents));
}

static void try_data(char *text)
{
    char own[] = "A=1\0CLOUD=image\0B=";
    struct run_config c = {.env = own, .env_len = sizeof(own), .envc = 3};
    char *all = cloud_use_data(&c, text);
    u32 count = 0;
    for (const char *p = c.env; p < c.env + c.env_len; p += strlen(p) + 1, count++)
        CHECK(strchr(p, '='));
    CHECK(count == c.envc && count >= 1);
    free(all);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n);
int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
    if (!n)
        return 0;
    u32 kind = data[0] % KINDS;
    if (kind < DISKS) {
        try_disk(kind, data + 1, n - 1);
        return 0;
    }
    char *text = malloc(n);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    if (kind == LINES || kind == CONFIG)
        try_data(text);
    else if (kind == JSON)
        cloud_use_json(text, see_file, NULL);
    else if (kind == METADATA)
        cloud_use_metadata(text);
    else
        CHECK(cloud_base64(text) <= (ssize_t)n);
    free(text);
    return 0;
}
