// SPDX-License-Identifier: BSD-2-Clause
// fat.c: files of a FAT file system (Microsoft's "FAT: General Overview of On-Disk Format" 1.03), 12, 16 and 32 bits, by their long or short names;
// case does not count.
//
//   boot sector | ... | tables | the root directory, but with 32 bits | clusters 2, 3, ...
//
// L2 A directory is read to its end or MAX_ENTRIES, a file for its bytes: a chain of clusters that is a loop ends with them.
// L3 A cluster's number is checked against the number of clusters before it is used.
#include <string.h>

#include "fs/label.h"

#define MAX_ENTRIES 16384u
enum { ENTRY = 32, FREE = 0xe5, LONG_LAST = 0x40, LONG_CHARS = 13, LONG_PARTS = 20 };
enum { ATTRIBUTES_AT = 11, LABEL_BIT = 8, DIRECTORY_BIT = 0x10, ATTRIBUTES_LONG = 0x0f };

static u32 get16(const u8 *p) { return p[0] | (u32)p[1] << 8; }
static u32 get32(const u8 *p) { return get16(p) | get16(p + 2) << 16; }

// ---- clusters

// => the cluster behind this one, 0: none, or the table is damaged
static u32 next_cluster(struct label_disk *d, u32 cluster)
{
    u8 b[4] = {0};
    u32 bits = d->fat.bits, n;
    if (d->read(d, d->fat.table + (u64)cluster * bits / 8, b, bits == 32 ? 4 : 2))
        return 0;
    n = bits == 32   ? get32(b) & 0x0fffffff
        : bits == 16 ? get16(b)
                     : get16(b) >> (cluster & 1 ? 4 : 0) & 0xfff;
    return n < d->fat.n_clusters + 2 ? n : 0;
}

// Where a byte of a chain is, which goes on from *cluster, the one that holds byte *from. => false: the chain ends before
static bool place(struct label_disk *d, u32 *cluster, u64 *from, u64 at, u64 *where)
{
    for (; *cluster >= 2 && at - *from >= d->fat.cluster_bytes; *from += d->fat.cluster_bytes)
        *cluster = next_cluster(d, *cluster);
    if (*cluster < 2 || *cluster >= d->fat.n_clusters + 2)
        return false;
    *where = d->fat.data + (u64)(*cluster - 2) * d->fat.cluster_bytes + (at - *from);
    return true;
}

// ---- directories

struct names {
    char name[LONG_PARTS * LONG_CHARS +
              1];  // of the long entries so far; where they are not ASCII, 0x7f
    u32 left;      // parts to come; LONG_PARTS + 1: none is under way
    u8 sum;
};

static void take_long(struct names *l, const u8 *e)
{
    static const u8 places[LONG_CHARS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
    u32 part = e[0] & 0x1f;
    if (e[0] & LONG_LAST && part <= LONG_PARTS) {
        memset(l->name, 0, sizeof(l->name));
        l->left = part;
        l->sum = e[13];
    }
    if (part == 0 || part != l->left || l->sum != e[13]) {
        l->left = LONG_PARTS + 1;
        return;
    }
    l->left--;
    for (u32 i = 0; i < LONG_CHARS; i++) {
        u32 c = get16(e + places[i]);
        l->name[l->left * LONG_CHARS + i] = (char)(c == 0xffff ? 0 : c < 0x7f ? c : 0x7f);
    }
}

static u8 sum_of(const u8 *e)
{
    u8 sum = 0;
    for (u32 i = 0; i < 11; i++)
        sum = (u8)((sum << 7 | sum >> 1) + e[i]);
    return sum;
}

static bool short_is(const u8 *e, const char *want, size_t n)
{
    char name[13];
    size_t len = 0;
    for (u32 i = 0; i < 11; i++) {
        if (i == 8 && e[i] != ' ')
            name[len++] = '.';
        if (e[i] != ' ')
            name[len++] = (char)e[i];
    }
    return len == n && label_same(name, want, n);
}

static bool entry_is(const struct names *l, const u8 *e, const char *want, size_t n)
{
    if (l->left == 0 && l->sum == sum_of(e) && strlen(l->name) == n && label_same(l->name, want, n))
        return true;
    return short_is(e, want, n);
}

// Entry `index` of a directory. => 0, -ENOENT: it is at its end, -EIO
static int read_entry(struct label_disk *d, const struct label_file *dir, u32 index, u32 *cluster,
                      u64 *from, u8 *e)
{
    u64 at = (u64)index * ENTRY, where = d->fat.root + at;
    bool fixed = dir->first == 0;
    if (fixed ? at >= d->fat.root_bytes : !place(d, cluster, from, at, &where))
        return -ENOENT;
    int err = d->read(d, where, e, ENTRY);
    return err ? err : e[0] ? 0 : -ENOENT;
}

// The entry of that name, or with want NULL the label's. => 0, -ENOENT, -EIO
static int find_entry(struct label_disk *d, const struct label_file *dir, const char *want,
                      size_t n, u8 *e)
{
    struct names l = {.left = LONG_PARTS + 1};
    u32 cluster = dir->first;
    u64 from = 0;
    for (u32 i = 0; i < MAX_ENTRIES; i++) {
        int err = read_entry(d, dir, i, &cluster, &from, e);
        if (err)
            return err;
        u32 attributes = e[ATTRIBUTES_AT] & 0x3f;
        if (e[0] != FREE && attributes == ATTRIBUTES_LONG) {
            take_long(&l, e);
            continue;
        }
        bool is_label = attributes & LABEL_BIT;
        if (e[0] != FREE && is_label == !want && (is_label || entry_is(&l, e, want, n)))
            return 0;
        l.left = LONG_PARTS + 1;
    }
    return -ENOENT;
}

static int find(struct label_disk *d, const char *path, struct label_file *f)
{
    const char *name;
    size_t n;
    u8 e[ENTRY];
    int err = 0;
    *f = (struct label_file){.first = d->fat.root_cluster, .directory = true};
    while (!err && (n = label_component(&path, &name))) {
        err = f->directory ? find_entry(d, f, name, n, e) : -ENOENT;
        if (err)
            break;
        u32 high = d->fat.bits == 32 ? get16(e + 20) << 16 : 0;
        f->first = get16(e + 26) | high;
        f->bytes = get32(e + 28);
        f->directory = e[ATTRIBUTES_AT] & DIRECTORY_BIT;
        if (f->directory && f->first < 2)
            err = -EUCLEAN;
    }
    return err;
}

static int fetch(struct label_disk *d, const struct label_file *f, void *to)
{
    u32 cluster = f->first;
    u64 from = 0, where;
    for (u64 at = 0; at < f->bytes;) {
        if (!place(d, &cluster, &from, at, &where))
            return -EUCLEAN;
        u32 n = (u32)MIN((u64)d->fat.cluster_bytes - (at - from), f->bytes - at);
        int err = d->read(d, where, (u8 *)to + at, n);
        if (err)
            return err;
        at += n;
    }
    return 0;
}

// ---- the whole

// => 0, -EINVAL: no such file system
static int read_boot(struct label_disk *d, const u8 *s)
{
    u32 sector = get16(s + 11), per = s[13], reserved = get16(s + 14), tables = s[16];
    u32 root = get16(s + 17), total = get16(s + 19) ? get16(s + 19) : get32(s + 32);
    u32 table = get16(s + 22) ? get16(s + 22) : get32(s + 36);
    if (get16(s + 510) != 0xaa55 || sector < 512 || sector > 4096 || (sector & (sector - 1)) ||
        per == 0 || (per & (per - 1)) || reserved == 0 || tables == 0 || tables > 4 || table == 0)
        return -EINVAL;
    u64 root_sectors = ((u64)root * ENTRY + sector - 1) / sector;
    u64 before = reserved + (u64)tables * table + root_sectors;
    if (before >= total)
        return -EINVAL;
    d->fat.n_clusters = (u32)((total - before) / per);
    d->fat.bits = d->fat.n_clusters < 4085 ? 12 : d->fat.n_clusters < 65525 ? 16 : 32;
    d->fat.cluster_bytes = per * sector;
    d->fat.table = (u64)reserved * sector;
    d->fat.root = (reserved + (u64)tables * table) * sector;
    d->fat.root_bytes = root * ENTRY;
    d->fat.data = before * sector;
    d->fat.root_cluster = d->fat.bits == 32 ? get32(s + 44) : 0;
    bool wide = d->fat.bits == 32;
    return wide == (get16(s + 22) == 0) && wide == (root == 0) && wide == (d->fat.root_cluster >= 2)
               ? 0
               : -EINVAL;
}

int fat_open(struct label_disk *d)
{
    u8 s[512], e[ENTRY];
    int err = d->read(d, 0, s, sizeof(s));
    err = err ? err : read_boot(d, s);
    if (err)
        return err;
    struct label_file root = {.first = d->fat.root_cluster, .directory = true};
    const u8 *label = find_entry(d, &root, NULL, 0, e) ? s + (d->fat.bits == 32 ? 71 : 43) : e;
    memcpy(d->label, label, 11);
    label_trim(d->label, 11);
    d->find = find;
    d->fetch = fetch;
    return 0;
}
