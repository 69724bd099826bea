// SPDX-License-Identifier: BSD-2-Clause
// iso9660.c: files of a CD's file system (ECMA-119), by their Rock Ridge names (IEEE P1282: NM), by Joliet's, or by the plain ones, in which
// what stands for '-' is '_', and case does not count.
//
//   sector 16 ...: descriptors of 2048 bytes; kind 1 has the label at 40 and the root's record at 156, kind 2 those of Joliet
//   a directory: records, none over the end of a sector:  0 bytes of it | 2 block | 10 bytes of the file | 25 flags | 32 bytes of the name, 33 name
//
// L1 A directory is read to its end or MAX_DIRECTORY, a path has as many names as it has: no loop on the disk is followed.
#include <string.h>

#include "fs/label.h"

enum { DESCRIPTORS = 16, MAX_DESCRIPTORS = 32, KIND_PRIMARY = 1, KIND_JOLIET = 2, KIND_END = 255 };
enum { LABEL_AT = 40, BLOCK_BYTES_AT = 128, ROOT_AT = 156, ESCAPES_AT = 88, RECORD_MIN = 34 };
enum { FLAG_DIRECTORY = 2, FLAG_MORE = 0x80 };
#define MAX_DIRECTORY (1u << 20)

size_t label_component(const char **path, const char **name)
{
    *path += strspn(*path, "/");
    *name = *path;
    *path += strcspn(*path, "/");
    return (size_t)(*path - *name);
}

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

bool label_same(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lower(a[i]) != lower(b[i]))
            return false;
    }
    return true;
}

void label_trim(char *text, size_t n)
{
    while (n && text[n - 1] == ' ')
        n--;
    text[n] = '\0';
}

static u32 get32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, 4);
    return v;
}

static struct label_file file_of(const u8 *record)
{
    return (struct label_file){get32(record + 2), get32(record + 10), record[25] & FLAG_DIRECTORY};
}

// ---- names

// The Rock Ridge name of a record, whose bytes are checked. => its length, 0: it has none
static size_t rock_ridge(const u8 *r, char name[256])
{
    size_t at = 33 + r[32] + !(r[32] & 1), n = 0;
    while (at + 5 <= r[0]) {
        u32 len = r[at + 2];
        if (len < 5 || at + len > r[0])
            break;
        if (r[at] == 'N' && r[at + 1] == 'M' && n + len - 5 < 256) {
            memcpy(name + n, r + at + 5, len - 5);
            n += len - 5;
        }
        at += len;
    }
    return n;
}

static bool plain_is(const u8 *r, const char *want, size_t n)
{
    const char *name = (const char *)r + 33;
    size_t len = r[32];
    const char *version = memchr(name, ';', len);
    if (version)
        len = (size_t)(version - name);
    if (len && name[len - 1] == '.')
        len--;
    if (len != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (lower(name[i]) != lower(want[i]) && !(name[i] == '_' && want[i] == '-'))
            return false;
    }
    return true;
}

static bool joliet_is(const u8 *r, const char *want, size_t n)
{
    const u8 *name = r + 33;
    size_t len = r[32] / 2;
    if (len >= 2 && name[2 * len - 3] == ';')
        len -= 2;
    if (len != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (name[2 * i] || name[2 * i + 1] != (u8)want[i])
            return false;
    }
    return true;
}

static bool name_is(const u8 *r, const char *want, size_t n, bool joliet)
{
    char name[256];
    size_t len = joliet ? 0 : rock_ridge(r, name);
    if (len)
        return len == n && !memcmp(name, want, n);
    return joliet ? joliet_is(r, want, n) : plain_is(r, want, n);
}

// ---- directories

static int find_in(struct label_disk *d, struct label_file *f, const char *name, size_t n,
                   bool joliet)
{
    u8 *s = d->iso.sector;
    u32 bytes = MIN(f->bytes, MAX_DIRECTORY);
    for (u32 at = 0; at < bytes; at += LABEL_SECTOR) {
        int err = d->read(d, ((u64)f->first * LABEL_SECTOR) + at, s, LABEL_SECTOR);
        if (err)
            return err;
        for (u32 pos = 0; pos + RECORD_MIN <= LABEL_SECTOR && s[pos]; pos += s[pos]) {
            const u8 *r = s + pos;
            if (r[0] < RECORD_MIN || pos + r[0] > LABEL_SECTOR || 33u + r[32] > r[0])
                return -EUCLEAN;
            if (!name_is(r, name, n, joliet))
                continue;
            *f = file_of(r);
            return r[25] & FLAG_MORE ? -EFBIG : 0;
        }
    }
    return -ENOENT;
}

static int walk(struct label_disk *d, const char *path, struct label_file *f, bool joliet)
{
    const char *name;
    size_t n;
    int err = 0;
    *f = joliet ? d->iso.joliet : d->iso.root;
    while (!err && (n = label_component(&path, &name)))
        err = f->directory ? find_in(d, f, name, n, joliet) : -ENOENT;
    return err;
}

static int find(struct label_disk *d, const char *path, struct label_file *f)
{
    int err = walk(d, path, f, false);
    if (err == -ENOENT && d->iso.joliet.bytes)
        err = walk(d, path, f, true);
    return err;
}

static int fetch(struct label_disk *d, const struct label_file *f, void *to)
{
    return d->read(d, (u64)f->first * LABEL_SECTOR, to, f->bytes);
}

int iso9660_open(struct label_disk *d)
{
    u8 *s = d->iso.sector;
    bool found = false;
    d->iso.joliet.bytes = 0;
    for (u32 i = 0; i < MAX_DESCRIPTORS; i++) {
        int err = d->read(d, (u64)(DESCRIPTORS + i) * LABEL_SECTOR, s, LABEL_SECTOR);
        if (err || memcmp(s + 1, "CD001", 5) || s[0] == KIND_END)
            break;
        if (get32(s + BLOCK_BYTES_AT) >> 16 != __builtin_bswap16(LABEL_SECTOR))
            return -EINVAL;  // in both byte orders
        if (s[0] == KIND_PRIMARY && !found) {
            memcpy(d->label, s + LABEL_AT, LABEL_MAX);
            label_trim(d->label, LABEL_MAX);
            d->iso.root = file_of(s + ROOT_AT);
            found = true;
        } else if (s[0] == KIND_JOLIET && s[ESCAPES_AT] == '%' && s[ESCAPES_AT + 1] == '/') {
            d->iso.joliet = file_of(s + ROOT_AT);
        }
    }
    d->find = find;
    d->fetch = fetch;
    return found ? 0 : -EINVAL;
}
