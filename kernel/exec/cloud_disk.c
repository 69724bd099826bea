// SPDX-License-Identifier: BSD-2-Clause
// cloud_disk.c: disks that a machine's owner attaches to tell it of itself, found by their label:
//
//   cidata     NoCloud: meta-data (local-hostname), user-data
//   config-2   OpenStack's ConfigDrive: openstack/latest/meta_data.json (hostname, files), openstack/latest/user_data
//
// They hold ISO 9660 or FAT (fs/label.h), on a disk or one of its partitions.
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "core/log.h"
#include "exec/cloud.h"
#include "fs/label.h"
#include "fs/vfs.h"
#include "mm/page.h"

struct medium {
    struct label_disk disk;  // first
    struct block_device *device;
    u64 held;  // number of the page in `page`, UINT64_MAX: none
    u8 *page;
};

static int hold(struct medium *m, u64 index)
{
    u64 sector = index * (PAGE_SIZE / SECTOR_SIZE), left = m->device->sectors;
    if (m->held == index)
        return 0;
    m->held = UINT64_MAX;
    if (sector >= left)
        return -EIO;
    u32 n = (u32)MIN(left - sector, PAGE_SIZE / SECTOR_SIZE);
    memset(m->page, 0, PAGE_SIZE);
    int err = block_rw(m->device, false, sector, m->page, n * SECTOR_SIZE);
    if (!err)
        m->held = index;
    return err;
}

static int read_medium(struct label_disk *d, u64 at, void *to, size_t n)
{
    struct medium *m = (struct medium *)d;
    u64 bytes = m->device->sectors * SECTOR_SIZE;
    if (at > bytes || n > bytes - at)
        return -EIO;
    for (size_t done = 0; done < n;) {
        size_t offset = (at + done) % PAGE_SIZE, piece = MIN(n - done, PAGE_SIZE - offset);
        int err = hold(m, (at + done) / PAGE_SIZE);
        if (err)
            return err;
        memcpy((u8 *)to + done, m->page + offset, piece);
        done += piece;
    }
    return 0;
}

static bool has_label(struct medium *m, struct block_device *device, const char *label)
{
    m->device = device;
    m->held = UINT64_MAX;
    m->disk.read = read_medium;
    if (iso9660_open(&m->disk) && fat_open(&m->disk))
        return false;
    size_t n = strlen(label);
    return strlen(m->disk.label) == n && label_same(m->disk.label, label, n);
}

static bool find_medium(struct medium *m, const char *label)
{
    for (u32 i = 0; i < block_disk_count(); i++) {
        struct block_disk *d = block_disk_at(i);
        if (has_label(m, &d->whole, label))
            return true;
        for (u32 p = 0; p < d->n_parts; p++) {
            if (has_label(m, &d->parts[p], label))
                return true;
        }
    }
    return false;
}

// A file as a string of its own. => NULL: it is not there, or cannot be read, which is told
static char *read_file(struct medium *m, const char *path, size_t *len)
{
    struct label_file f;
    char *text = NULL;
    int err = m->disk.find(&m->disk, path, &f);
    if (!err)
        err = f.directory ? -EISDIR : f.bytes > LABEL_FILE_MAX ? -EFBIG : 0;
    if (!err) {
        text = kmalloc(f.bytes + 1);
        err = text ? m->disk.fetch(&m->disk, &f, text) : -ENOMEM;
    }
    if (err && err != -ENOENT)
        log_error("cloud: %s on %s cannot be read: error %d", path, m->device->name, -err);
    if (err) {
        kfree(text);
        return NULL;
    }
    text[f.bytes] = '\0';
    *len = f.bytes;
    return text;
}

static void put_file(void *arg, const char *path, const char *contents)
{
    struct medium *m = arg;
    char from[128];
    size_t len;
    bool fits = snprintf(from, sizeof(from), "openstack/%s", contents) < (int)sizeof(from);
    char *bytes = fits ? read_file(m, from, &len) : NULL;
    int err = bytes ? vfs_put_file(path, bytes, len, 0644, false) : -ENOENT;
    if (err)
        log_error("cloud: the file %s is not written: error %d", path, -err);
    kfree(bytes);
}

static char *use_medium(struct run_config *c, struct medium *m, bool config_drive)
{
    size_t len;
    char *text = read_file(m, config_drive ? "openstack/latest/meta_data.json" : "meta-data", &len);
    if (text && config_drive)
        cloud_use_json(text, put_file, m);
    else if (text)
        cloud_use_metadata(text);
    kfree(text);
    text = read_file(m, config_drive ? "openstack/latest/user_data" : "user-data", &len);
    char *env = text ? cloud_use_data(c, text) : NULL;
    kfree(text);
    return env;
}

char *cloud_use_disk(struct run_config *c, bool config_drive)
{
    const char *label = config_drive ? "config-2" : "cidata";
    struct medium *m = kzalloc(sizeof(*m));
    struct page *page = page_alloc(0, 0);
    char *env = NULL;
    if (m && page) {
        m->page = page_address(page);
        if (find_medium(m, label))
            env = use_medium(c, m, config_drive);
        else
            log_error("cloud: there is no disk with the label %s", label);
    } else {
        log_error("cloud: too little memory");
    }
    if (page)
        page_free(page, 0);
    kfree(m);
    return env;
}
