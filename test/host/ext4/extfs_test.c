// SPDX-License-Identifier: BSD-2-Clause
// extfs_test.c: kernel/ext4 on the host, over an image in memory, under ASan and UBSan.
//
//   extfs_test random IMAGE SEED STEPS OUT       random operations against a model, with remounts; the image goes to OUT
//   extfs_test crash IMAGE SEED STEPS CUTS DIR   the same, with every write recorded; power is cut at CUTS places: what was written
//                                                since the last flush is there or not, each block by a throw of dice. Our own
//                                                replay must give the state after some operation, none before the last commit
//                                                that was reported. Images before our replay go to DIR/cut-N.
//   extfs_test fuzz IMAGE N SEED                 N damaged copies are mounted, read and written: no crash, no endless loop
//   extfs_test xattrs IMAGE NAME [ATTR=VALUE...] prints the extended attributes of a file in the root; with some given it has these
//                                                instead from now on
//
// The model: inodes with their bytes, and names that lead to them. Contents follow a rule of (inode, block, write), so that a
// crash cannot tear what is only written once; in crash mode nothing that has a place is written again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ext4/extfs.h"

void *kmalloc(size_t size) { return malloc(size); }
void *kzalloc(size_t size) { return calloc(1, size); }
void kfree(void *ptr) { free(ptr); }
void panic(const char *fmt, ...)
{
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}
int log_level;
void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }

#define CHECK(cond, ...)                              \
    do {                                              \
        if (!(cond)) {                                \
            printf("seed %u step %u: ", seed, step);  \
            printf(__VA_ARGS__);                      \
            printf(" [%s:%d]\n", __FILE__, __LINE__); \
            exit(1);                                  \
        }                                             \
    } while (0)

static u32 seed, step;
static u64 rng;
static u32 rnd(u32 n)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(rng >> 33) % n;
}

// ------------------------------------------------------------------------------- the disk

struct record {  // a write of one block; data NULL: a flush
    u64 at;
    u32 bytes;
    u8 *data;
};
struct fake {
    struct extfs_disk disk;  // first
    u8 *bytes;
    struct record *log;
    u32 n_log;
    bool recording, quiet;
    u32 fail_after;  // transfers until the device breaks; 0: never
};

static void record(struct fake *f, u64 at, const void *data, u32 bytes)
{
    static u32 room;
    if (f->n_log == room)
        f->log = realloc(f->log, (room = room ? room * 2 : 4096) * sizeof(*f->log));
    struct record *r = &f->log[f->n_log++];
    *r = (struct record){at, bytes, NULL};
    if (data)
        r->data = memcpy(malloc(bytes), data, bytes);
}

static int transfer(struct extfs_disk *disk, struct extfs_io *io, u32 n, bool write)
{
    struct fake *f = (struct fake *)disk;
    if (f->fail_after && --f->fail_after == 0) {
        f->fail_after = 1;
        return -EIO;
    }
    for (u32 i = 0; i < n; i++) {
        u64 at = io[i].block * disk->block_size, bytes = (u64)io[i].n * disk->block_size;
        if (at + bytes > disk->size_bytes)
            abort();
        if (!write) {
            memcpy(io[i].data, f->bytes + at, bytes);
            continue;
        }
        memcpy(f->bytes + at, io[i].data, bytes);
        for (u64 b = 0; f->recording && b < bytes; b += disk->block_size)
            record(f, at + b, (u8 *)io[i].data + b, disk->block_size);
    }
    return 0;
}

static int flush(struct extfs_disk *disk)
{
    struct fake *f = (struct fake *)disk;
    if (f->recording)
        record(f, 0, NULL, 0);
    return f->fail_after == 1 ? -EIO : 0;
}
static u64 clock_ns = 1700000000123456789ull;
static u64 now_ns(void) { return clock_ns += 1000003; }
static u32 random_u32(void) { return 12345; }
static void failed(struct extfs_disk *disk, const char *why)
{
    if (!((struct fake *)disk)->quiet)
        printf("writing stopped: %s\n", why);
}
static const struct extfs_disk_ops ops = {transfer, flush, now_ns, random_u32, failed};

static u8 *load(const char *path, u64 *size)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        exit(2);
    fseek(in, 0, SEEK_END);
    *size = (u64)ftell(in);
    rewind(in);
    u8 *bytes = malloc(*size);
    if (fread(bytes, 1, *size, in) != *size)
        exit(2);
    fclose(in);
    return bytes;
}

static void save(const char *path, const u8 *bytes, u64 size)
{
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(bytes, 1, size, out) != size || fclose(out))
        exit(2);
}

// ------------------------------------------------------------------------------- the model

#define MAX_INODES 400
#define MAX_NAMES 600
#define MAX_FILE (1u << 20)
#define MAX_XATTRS 10u
struct mxattr {  // name: its number in xattr_names; value NULL: not there
    u8 *value;
    u32 size;
};
struct mnode {
    bool live;
    u32 ino, type, n_links, size;  // type: 1 file, 2 directory, 7 link
    struct mxattr xattrs[MAX_XATTRS];
    u8 *data;  // MAX_FILE bytes of a file
    u8 *has;   // by block: it has a place (crash mode)
};
struct mname {
    bool live;
    u32 dir, to;  // indexes of inodes
    char name[260];
};
static struct mnode nodes[MAX_INODES];
static struct mname names[MAX_NAMES];
static u32 live_names;
static u64 file_limit = MAX_FILE;
static bool crash_mode;

static struct extfs *fs;
static struct fake disk;
static u32 bs;

static u64 mix(u64 h, const void *p, size_t n)
{
    const u8 *b = p;
    for (; n >= 8; n -= 8, b += 8) {
        u64 w;
        memcpy(&w, b, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    while (n--)
        h = (h ^ *b++) * 1099511628211ull;
    return h;
}

static const char *tell;  // print what is counted, with this in front
static const char *const xattr_names[MAX_XATTRS] = {
    "user.a",
    "user.b",
    "user.mime_type",
    "trusted.overlay.opaque",
    "security.capability",
    "security.selinux",
    "user.a-name-that-is-a-good-deal-longer-than-the-others-and-goes-on",
    "system.posix_acl_access",
    "trusted.x",
    "user.checksum",
};

static u64 xattr_digest(const char *name, const void *value, u32 size)
{
    return mix(mix(mix(1, name, strlen(name)), &size, 4), value, size);
}

static u64 node_xattrs(const struct mnode *n)
{
    u64 sum = 0;
    for (u32 i = 0; i < MAX_XATTRS; i++) {
        if (n->xattrs[i].value)
            sum += xattr_digest(xattr_names[i], n->xattrs[i].value, n->xattrs[i].size);
    }
    return sum;
}

static int sum_xattr(void *arg, const char *name, const void *value, u32 size)
{
    *(u64 *)arg += xattr_digest(name, value, size);
    return 0;
}

static u64 disk_xattrs(struct extfs *f, u32 ino)
{
    u64 sum = 0;
    struct extfs_xattr_sink sink = {sum_xattr, &sum};
    int err = extfs_read_xattrs(f, ino, &sink);
    CHECK(!err, "extended attributes of inode %u: %d", ino, err);
    return sum;
}

// Of a name and what it leads to; the sum over all names is the digest of a tree, whatever the order.
static u64 leaf_digest(const char *path, u32 type, u32 links, u64 size, const u8 *data)
{
    u64 h = mix(14695981039346656037ull, path, strlen(path));
    u64 v[3] = {type, links, type == 2 ? 0 : size};
    h = mix(h, v, sizeof(v));
    h = data ? mix(h, data, size) : h;
    if (tell)
        printf("%s %s: kind %u, %u links, %llu bytes, %016llx\n", tell, path, type, links,
               (unsigned long long)v[2], (unsigned long long)h);
    return h;
}

static void model_path(u32 name, char *out)
{
    char tail[4096] = "";
    for (;;) {
        char longer[4096];
        snprintf(longer, sizeof(longer), "/%.255s%.3000s", names[name].name, tail);
        strcpy(tail, longer);
        u32 dir = names[name].dir;
        if (dir == 0)
            break;
        for (name = 0; !(names[name].live && names[name].to == dir); name++)
            ;
    }
    strcpy(out, tail);
}

static u64 model_digest(void)
{
    u64 sum = 0;
    char path[4096];
    for (u32 i = 0; i < MAX_NAMES; i++) {
        if (!names[i].live)
            continue;
        struct mnode *n = &nodes[names[i].to];
        model_path(i, path);
        sum += leaf_digest(path, n->type, n->n_links, n->size, n->type == 2 ? NULL : n->data) ^
               node_xattrs(n);
    }
    return sum;
}

static void read_file(struct extfs *f, u32 ino, u64 size, u8 *to)
{
    memset(to, 0, size);
    for (u32 lblk = 0; (u64)lblk * bs < size;) {
        u64 pblk;
        u32 len;
        bool unwritten;
        int err = extfs_map(f, ino, lblk, &pblk, &len, &unwritten);
        CHECK(!err, "map of inode %u: %d", ino, err);
        CHECK(len, "map of length 0");
        for (u32 i = 0; pblk && !unwritten && i < len && (u64)(lblk + i) * bs < size; i++) {
            u64 at = (u64)(lblk + i) * bs;
            memcpy(to + at, disk.bytes + (pblk + i) * bs, size - at < bs ? size - at : bs);
        }
        if (len > UINT32_MAX - lblk)
            break;
        lblk += len;
    }
}

struct tree_walk {
    u64 sum;
    struct extfs *fs;
    const char *path;
    u32 depth, count;
};

static bool walk_name(void *arg, const char *name, u32 len, u32 ino, u32 type)
{
    struct tree_walk *w = arg;
    char path[4096];
    struct extfs_attr a;
    static u8 text[4096];
    snprintf(path, sizeof(path), "%s/%.*s", w->path, (int)len, name);
    if (!strcmp(path, "/lost+found") || !strncmp(path, "/packed", 7))
        return true;
    int err = extfs_read_attr(w->fs, ino, &a);
    CHECK(!err, "attributes of %s: %d", path, err);
    CHECK(a.mode >> 12 == (type == 1   ? 8
                           : type == 2 ? 4
                                       : 10),
          "kind of %s: %u and %o", path, type, a.mode);
    w->count++;
    u8 *data = NULL;
    if (type == 1) {
        data = malloc(a.size + 1);
        read_file(w->fs, ino, a.size, data);
    } else if (type == 7) {
        int n = extfs_readlink(w->fs, ino, (char *)text, sizeof(text));
        CHECK(n == (int)a.size, "link %s: %d", path, n);
    }
    w->sum +=
        leaf_digest(path, type, a.nlink, a.size, type == 7 ? text : data) ^ disk_xattrs(w->fs, ino);
    free(data);
    if (type == 2 && w->depth < 40) {
        struct tree_walk below = {0, w->fs, path, w->depth + 1, 0};
        u64 pos = 0;
        err = extfs_readdir(w->fs, ino, &pos, walk_name, &below);
        CHECK(!err, "listing %s: %d", path, err);
        w->sum += below.sum;
        w->count += below.count;
    }
    return true;
}

static u64 disk_digest(struct extfs *f, u32 *count)
{
    struct tree_walk w = {0, f, "", 0, 0};
    u64 pos = 0;
    int err = extfs_readdir(f, EXTFS_ROOT_INO, &pos, walk_name, &w);
    CHECK(!err, "listing the root: %d", err);
    if (count)
        *count = w.count;
    return w.sum;
}

static u32 new_node(u32 type, u32 ino)
{
    for (u32 i = 1; i < MAX_INODES; i++) {
        if (nodes[i].live)
            continue;
        nodes[i] =
            (struct mnode){.live = true, .ino = ino, .type = type, .n_links = type == 2 ? 2 : 1};
        if (type == 1) {
            nodes[i].data = calloc(1, MAX_FILE);
            nodes[i].has = calloc(1, MAX_FILE / 1024);
        }
        return i;
    }
    return 0;
}

static void drop_node(u32 i)
{
    free(nodes[i].data);
    free(nodes[i].has);
    for (u32 k = 0; k < MAX_XATTRS; k++)
        free(nodes[i].xattrs[k].value);
    nodes[i] = (struct mnode){0};
}

static int pick_name(u32 type)  // 0: any
{
    u32 from = rnd(MAX_NAMES);
    for (u32 i = 0; i < MAX_NAMES; i++) {
        u32 at = (from + i) % MAX_NAMES;
        if (names[at].live && (!type || nodes[names[at].to].type == type))
            return (int)at;
    }
    return -1;
}

static u32 pick_dir(void)
{
    int n = rnd(3) ? pick_name(2) : -1;
    return n < 0 ? 0 : names[n].to;
}

static void new_text(char *to)
{
    u32 len = rnd(20) == 0 ? 200 + rnd(56) : 1 + rnd(30);
    for (u32 i = 0; i < len; i++)
        to[i] = "abcdefghijklmnopqrstuvwxyz0123456789-_"[rnd(38)];
    to[len] = 0;
}

static int find_name(u32 dir, const char *text)
{
    for (u32 i = 0; i < MAX_NAMES; i++) {
        if (names[i].live && names[i].dir == dir && !strcmp(names[i].name, text))
            return (int)i;
    }
    return -1;
}

static bool dir_has_names(u32 dir)
{
    for (u32 i = 0; i < MAX_NAMES; i++) {
        if (names[i].live && names[i].dir == dir)
            return true;
    }
    return false;
}

// ------------------------------------------------------------------------------- operations

static int begin(void)
{
    int err = extfs_begin(fs);
    CHECK(!err, "begin: %d", err);
    return err;
}

static void add_name(u32 dir, const char *text, u32 to)
{
    for (u32 i = 0; i < MAX_NAMES; i++) {
        if (!names[i].live) {
            names[i] = (struct mname){.live = true, .dir = dir, .to = to};
            strcpy(names[i].name, text);
            live_names++;
            return;
        }
    }
    abort();
}

static void op_create(void)
{
    char text[260], link[1200];
    u32 dir = pick_dir(), kind = rnd(10), type = kind < 6 ? 1 : kind < 9 ? 2 : 7, ino = 0;
    if (live_names > MAX_INODES - 10)
        return;
    new_text(text);
    struct extfs_attr a = {.mode = (type == 1   ? 0100000
                                    : type == 2 ? 0040000
                                                : 0120000) |
                                   0644,
                           .uid = rnd(70000),
                           .gid = 3,
                           .atime_ns = clock_ns,
                           .mtime_ns = clock_ns,
                           .ctime_ns = clock_ns,
                           .btime_ns = clock_ns};
    u32 len = 1 + rnd(rnd(2) ? 70 : 900);
    memset(link, 'l', len);
    link[len] = 0;
    begin();
    int err = extfs_create(fs, nodes[dir].ino, text, (u32)strlen(text), &a, type == 7 ? link : NULL,
                           &ino);
    int end = extfs_end(fs, err);
    CHECK(end == err, "end: %d", end);
    if (find_name(dir, text) >= 0) {
        CHECK(err == -EEXIST, "create over a name: %d", err);
        return;
    }
    if (err == -ENOSPC)
        return;
    CHECK(!err, "create: %d", err);
    u32 node = new_node(type, ino);
    if (!node)
        abort();
    if (type == 2)
        nodes[dir].n_links++;
    if (type == 7) {
        nodes[node].size = len;
        nodes[node].data = memcpy(malloc(len), link, len);
    }
    add_name(dir, text, node);
}

static void forget_name(u32 name)
{
    names[name].live = false;
    live_names--;
}

static void lost_link(u32 node)
{
    struct mnode *n = &nodes[node];
    n->n_links = n->type == 2 ? 0 : n->n_links - 1;
    if (n->n_links)
        return;
    int err = extfs_delete_inode(fs, n->ino);
    CHECK(!err, "delete: %d", err);
    drop_node(node);
}

static void op_unlink(void)
{
    int name = pick_name(0);
    if (name < 0)
        return;
    u32 node = names[name].to, dir = names[name].dir;
    if (nodes[node].type == 2) {
        int empty = extfs_is_empty(fs, nodes[node].ino);
        CHECK(empty == !dir_has_names(node), "emptiness: %d", empty);
        if (!empty)
            return;
    }
    begin();
    int err = extfs_unlink(fs, nodes[dir].ino, names[name].name, (u32)strlen(names[name].name));
    CHECK(!extfs_end(fs, err) && !err, "unlink: %d", err);
    forget_name((u32)name);
    if (nodes[node].type == 2)
        nodes[dir].n_links--;
    lost_link(node);
}

static void op_link(void)
{
    char text[260];
    int name = pick_name(1);
    u32 dir = pick_dir();
    if (name < 0 || live_names > MAX_NAMES - 10)
        return;
    new_text(text);
    if (find_name(dir, text) >= 0)
        return;
    u32 node = names[name].to;
    begin();
    int err = extfs_link(fs, nodes[dir].ino, text, (u32)strlen(text), nodes[node].ino);
    CHECK(extfs_end(fs, err) == err && (!err || err == -ENOSPC), "link: %d", err);
    if (err)
        return;
    nodes[node].n_links++;
    add_name(dir, text, node);
}

static bool is_below(u32 node, u32 top)  // node is top, or in it
{
    while (node != top) {
        if (node == 0)
            return false;
        u32 i = 0;
        while (!(names[i].live && names[i].to == node))
            i++;
        node = names[i].dir;
    }
    return true;
}

static void op_rename(void)
{
    char text[260];
    int name = pick_name(0);
    u32 dir = pick_dir();
    if (name < 0)
        return;
    u32 node = names[name].to;
    int there = rnd(3) ? -1 : pick_name(0);
    bool exchange = there >= 0 && rnd(2);
    if (there >= 0) {
        dir = names[there].dir;
        strcpy(text, names[there].name);
    } else {
        new_text(text);
        if (find_name(dir, text) >= 0)
            return;
    }
    u32 other = there >= 0 ? names[there].to : 0;
    if ((nodes[node].type == 2 && is_below(dir, node)) || other == node ||
        (other && nodes[other].type == 2 &&
         (exchange ? is_below(names[name].dir, other) : dir_has_names(other))) ||
        (other && !exchange && (nodes[other].type == 2) != (nodes[node].type == 2)))
        return;
    u32 from_dir = names[name].dir;
    struct extfs_place from = {nodes[from_dir].ino, names[name].name,
                               (u32)strlen(names[name].name)};
    struct extfs_place to = {nodes[dir].ino, text, (u32)strlen(text)};
    begin();
    int err = extfs_rename(fs, &from, &to, exchange);
    CHECK(extfs_end(fs, err) == err && (!err || err == -ENOSPC), "rename: %d", err);
    if (err)
        return;
    if (nodes[node].type == 2) {
        nodes[from_dir].n_links--;
        nodes[dir].n_links++;
    }
    if (exchange) {
        if (nodes[other].type == 2) {
            nodes[dir].n_links--;
            nodes[from_dir].n_links++;
        }
        names[name].to = other;
        names[there].to = node;
        return;
    }
    names[name].dir = dir;
    strcpy(names[name].name, text);
    if (other) {
        forget_name((u32)there);
        if (nodes[other].type == 2)
            nodes[dir].n_links--;
        lost_link(other);
    }
}

static void fill(u8 *to, u32 ino, u32 lblk, u32 generation)
{
    u64 h = (u64)ino << 40 ^ (u64)lblk << 8 ^ generation;
    for (u32 i = 0; i < bs; i += 8) {
        h = h * 6364136223846793005ull + 1;
        memcpy(to + i, &h, 8);
    }
}

// Writes blocks [first, first + n) whole, as a page cache does: places, contents, size, all in one transaction.
static int write_blocks(struct mnode *m, u32 first, u32 n)
{
    u8 *block = malloc(bs);
    int err = begin();
    u32 done = 0;
    for (u32 lblk = first; !err && lblk < first + n;) {
        u64 pblk;
        u32 len;
        bool unwritten;
        err = extfs_map(fs, m->ino, lblk, &pblk, &len, &unwritten);
        CHECK(!err, "map: %d", err);
        len = MIN(len, first + n - lblk);
        if (!pblk) {
            err = extfs_allocate(fs, m->ino, lblk, len, false, &pblk, &len);
            if (err)
                break;
        }
        for (u32 i = 0; i < len; i++) {
            fill(block, m->ino, lblk + i, crash_mode ? 0 : step);
            struct extfs_io io = {pblk + i, block, 1};
            transfer(&disk.disk, &io, 1, true);
            memcpy(m->data + (u64)(lblk + i) * bs, block, bs);
            m->has[lblk + i] = 1;
        }
        if (unwritten) {
            int e = extfs_set_written(fs, m->ino, lblk, len);
            CHECK(!e, "set written: %d", e);
        }
        lblk += len;
        done = lblk - first;
    }
    CHECK(!err || err == -ENOSPC, "allocate: %d", err);
    if (done && (u64)(first + done) * bs > m->size) {
        m->size = (first + done) * bs;
        int e = extfs_set_size(fs, m->ino, m->size);
        CHECK(!e, "size: %d", e);
    }
    int e = extfs_end(fs, 0);
    CHECK(!e, "end: %d", e);
    free(block);
    return err;
}

static void op_write(void)
{
    int name = pick_name(1);
    if (name < 0)
        return;
    struct mnode *m = &nodes[names[name].to];
    u32 first = rnd(3) ? DIV_ROUND_UP(m->size, bs) : rnd((u32)(file_limit / bs)),
        n = 1 + rnd(rnd(3) ? 4 : 40);
    if ((u64)(first + n) * bs > file_limit)
        return;
    for (u32 i = 0; crash_mode && i < n; i++) {
        if (m->has[first + i])
            return;
    }
    // What lies between the old end and its block's end is zero on disk already: writes are whole blocks.
    write_blocks(m, first, n);
}

static void op_truncate(void)
{
    int name = pick_name(1);
    if (name < 0)
        return;
    struct mnode *m = &nodes[names[name].to];
    u32 size = rnd(4) ? (u32)rnd((u32)file_limit) / bs * bs : 0;
    if (crash_mode && size > m->size)
        return;
    int err = extfs_truncate(fs, m->ino, size);
    CHECK(!err, "truncate: %d", err);
    if (size < m->size) {
        memset(m->data + size, 0, MAX_FILE - size);
        memset(m->has + size / bs, 0, MAX_FILE / 1024 - size / bs);
    }
    m->size = size;
}

static void op_punch(void)
{
    int name = pick_name(1);
    if (name < 0)
        return;
    struct mnode *m = &nodes[names[name].to];
    u32 first = rnd((u32)(file_limit / bs)), n = 1 + rnd(20);
    if ((u64)(first + n) * bs > MAX_FILE)
        return;
    int more = 1;
    while (more > 0) {
        begin();
        more = extfs_free_range(fs, m->ino, first, first + n - 1);
        CHECK(extfs_end(fs, more < 0 ? more : 0) == (more < 0 ? more : 0), "end");
    }
    CHECK(!more || more == -ENOSPC, "punch: %d", more);
    if (!more) {
        memset(m->data + (u64)first * bs, 0, (u64)n * bs);
        memset(m->has + first, 0, n);
    }
}

static void op_fallocate(void)
{
    int name = pick_name(1);
    if (name < 0)
        return;
    struct mnode *m = &nodes[names[name].to];
    u32 first = rnd((u32)(file_limit / bs)), n = 1 + rnd(60), got;
    u64 pblk;
    bool unwritten;
    if ((u64)(first + n) * bs > MAX_FILE)
        return;
    begin();
    int err = extfs_map(fs, m->ino, first, &pblk, &got, &unwritten);
    CHECK(!err, "map: %d", err);
    if (!pblk)
        err = extfs_allocate(fs, m->ino, first, MIN(n, got), true, &pblk, &got);
    CHECK(extfs_end(fs, err) == err && (!err || err == -ENOSPC), "fallocate: %d", err);
}

static void op_attr(void)
{
    int name = pick_name(0);
    if (name < 0)
        return;
    struct extfs_attr a, b;
    u32 ino = nodes[names[name].to].ino;
    int err = extfs_read_attr(fs, ino, &a);
    CHECK(!err, "attributes: %d", err);
    a.mode = (a.mode & 0170000) | rnd(010000);
    a.uid = rnd(1u << 31);
    a.mtime_ns = (u64)rnd(1u << 31) * 7 * 1000000000ull + rnd(1000000000);
    begin();
    err = extfs_write_attr(fs, ino, &a);
    CHECK(!extfs_end(fs, err), "end");
    err = extfs_read_attr(fs, ino, &b);
    u64 short_time = a.mtime_ns / 1000000000 < INT32_MAX ? a.mtime_ns / 1000000000
                                                         : INT32_MAX;  // inodes of 128 bytes
    CHECK(!err && a.mode == b.mode && a.uid == b.uid &&
              (a.mtime_ns == b.mtime_ns || (!b.btime_ns && short_time * 1000000000 == b.mtime_ns)),
          "attributes are not kept");
}

static void op_xattr(void)
{
    int name = pick_name(0);
    if (name < 0)
        return;
    struct mnode *m = &nodes[names[name].to];
    struct extfs_xattr list[MAX_XATTRS];
    u32 what = rnd(MAX_XATTRS), n = 0;
    bool wanted = rnd(4);
    u32 size = rnd(3) ? rnd(60) : rnd(5) ? rnd(400) : rnd(bs + 10);
    u8 *value = calloc(1, size + 1);
    memset(value, 'a' + (int)rnd(26), size);
    for (u32 i = 0; i < MAX_XATTRS; i++) {
        if (i == what && wanted)
            list[n++] = (struct extfs_xattr){xattr_names[i], value, size, false};
        else if (i != what && m->xattrs[i].value)
            list[n++] =
                (struct extfs_xattr){xattr_names[i], m->xattrs[i].value, m->xattrs[i].size, false};
    }
    begin();
    int err = extfs_write_xattrs(fs, m->ino, list, n);
    int end = extfs_end(fs, err);
    CHECK(end == err && (!err || err == -ENOSPC), "extended attributes: %d", err);
    if (!err) {
        free(m->xattrs[what].value);
        m->xattrs[what] = (struct mxattr){wanted ? value : NULL, size};
    }
    if (err || !wanted)
        free(value);
}

static void mount(void)
{
    const char *why = NULL;
    int err = extfs_mount(&disk.disk, false, 64, &fs, &why);
    CHECK(!err && !why && !extfs_read_only(fs), "mount: %d %s", err, why ? why : "");
    bs = extfs_block_size(fs);
}

static void random_op(void)
{
    u32 what = rnd(100);
    if (what < 25)
        op_create();
    else if (what < 37)
        op_unlink();
    else if (what < 42)
        op_link();
    else if (what < 52)
        op_rename();
    else if (what < 75)
        op_write();
    else if (what < 83)
        op_truncate();
    else if (what < 88)
        op_punch();
    else if (what < 92)
        op_fallocate();
    else if (what < 97)
        op_xattr();
    else
        op_attr();
}

static void check_tree(void)
{
    u32 count;
    u64 sum = disk_digest(fs, &count);
    CHECK(count == live_names, "%u names on disk, %u in the model", count, live_names);
    if (sum != model_digest()) {
        tell = "disk";
        disk_digest(fs, NULL);
        tell = "model";
        model_digest();
    }
    CHECK(sum == model_digest(), "the tree differs from the model");
}

static void start(const char *path)
{
    disk.bytes = load(path, &disk.disk.size_bytes);
    disk.disk.ops = &ops;
    rng = seed * 7919ull + 17;
    nodes[0] = (struct mnode){.live = true, .ino = EXTFS_ROOT_INO, .type = 2, .n_links = 3};
    mount();
}

static int run_random(u32 steps, const char *out)
{
    u64 was = 0;
    for (step = 0; step < steps; step++) {
        random_op();
        if (rnd(60) == 0)
            CHECK(!extfs_commit(fs), "commit");
        if (step % 50 == 49)
            check_tree();
        if (rnd(400) == 0) {
            CHECK(!extfs_unmount(fs), "unmount");
            mount();
            check_tree();
        }
        struct extfs_stat st;
        extfs_statfs(fs, &st);
        was += st.free_blocks;
    }
    check_tree();
    CHECK(!extfs_unmount(fs), "unmount");
    save(out, disk.bytes, disk.disk.size_bytes);
    return was == 0;
}

// ------------------------------------------------------------------------------- power cuts

struct promise {
    u32 log, op;
};

// What the disk may hold after a cut behind `cut` records: everything up to the last flush, and of the rest each as it falls.
static void build_cut(u8 *to, const u8 *base, u32 cut)
{
    u32 flushed = cut;
    while (flushed && disk.log[flushed - 1].data)
        flushed--;
    memcpy(to, base, disk.disk.size_bytes);
    u32 luck = rnd(4);  // nothing, everything, or a half of what was not flushed
    for (u32 i = 0; i < cut; i++) {
        const struct record *r = &disk.log[i];
        if (r->data && (i < flushed || luck == 3 || (luck && rnd(2))))
            memcpy(to + r->at, r->data, r->bytes);
    }
}

static int run_crash(u32 steps, u32 cuts, const char *dir)
{
    u64 *digests = calloc(steps + 2, sizeof(u64));
    u32 *op_log = calloc(steps + 2, sizeof(u32));
    struct promise *promises = calloc(steps + 2, sizeof(*promises));
    u32 n_promises = 1;
    u8 *base = memcpy(malloc(disk.disk.size_bytes), disk.bytes, disk.disk.size_bytes);
    disk.recording = crash_mode = true;
    digests[0] = model_digest();
    for (step = 0; step < steps; step++) {
        random_op();
        digests[step + 1] = model_digest();
        op_log[step + 1] = disk.n_log;
        if (rnd(12) == 0) {
            CHECK(!extfs_commit(fs), "commit");
            promises[n_promises++] = (struct promise){disk.n_log, step + 1};
        }
    }
    disk.recording = false;
    u32 n_log = disk.n_log;
    u8 *image = malloc(disk.disk.size_bytes);
    for (u32 cut_number = 0; cut_number < cuts; cut_number++) {
        u32 cut = rnd(n_log + 1), op = 0;
        while (op < steps && op_log[op] < cut)
            op++;
        u32 least = 0;
        for (u32 i = 0; i < n_promises; i++)
            least = promises[i].log <= cut ? promises[i].op : least;
        build_cut(image, base, cut);
        char path[4096];
        snprintf(path, sizeof(path), "%s/cut-%u", dir, cut_number);
        save(path, image, disk.disk.size_bytes);
        struct fake other = {.disk = {.ops = &ops, .size_bytes = disk.disk.size_bytes},
                             .bytes = image};
        u8 *bytes = disk.bytes;
        struct extfs *f;
        const char *why = NULL;
        int err = extfs_mount(&other.disk, false, 64, &f, &why);
        CHECK(!err && !why, "cut %u at %u of %u: %s", cut_number, cut, n_log, why ? why : "?");
        disk.bytes = image;
        u64 sum = disk_digest(f, NULL);
        disk.bytes = bytes;
        bool found = false;
        for (u32 i = least; i <= op && i <= steps; i++)
            found |= digests[i] == sum;
        CHECK(found, "cut %u at %u of %u: no state of operations %u to %u", cut_number, cut, n_log,
              least, op);
        CHECK(!extfs_unmount(f), "unmount");
        snprintf(path, sizeof(path), "%s/own-%u", dir, cut_number);
        save(path, image, disk.disk.size_bytes);
    }
    extfs_unmount(fs);
    free(digests);
    free(op_log);
    free(promises);
    free(base);
    free(image);
    return 0;
}

// ------------------------------------------------------------------------------- damage

struct fuzz_walk {
    struct extfs *fs;
    u32 steps, depth;
    u32 files[64], n_files, dirs[64], n_dirs;
};

static bool fuzz_name(void *arg, const char *name, u32 len, u32 ino, u32 type)
{
    struct fuzz_walk *w = arg;
    struct extfs_attr a;
    char text[4096];
    (void)name, (void)len;
    if (++w->steps > 20000)
        return false;
    int err = extfs_read_attr(w->fs, ino, &a);
    if (err)
        return true;
    if (a.mode >> 12 == 10)
        extfs_readlink(w->fs, ino, text, sizeof(text));
    u64 sum = 0;
    struct extfs_xattr_sink sink = {sum_xattr, &sum};
    extfs_read_xattrs(w->fs, ino, &sink);
    if (a.mode >> 12 == 8) {
        u64 pblk;
        u32 n;
        bool unwritten;
        if (w->n_files < 64)
            w->files[w->n_files++] = ino;
        for (u32 lblk = 0, i = 0; i < 1000; i++) {
            if (extfs_map(w->fs, ino, lblk, &pblk, &n, &unwritten) || n > UINT32_MAX - lblk)
                break;
            if (!n)
                abort();
            lblk += n;
        }
    }
    if (a.mode >> 12 == 4 && w->depth < 8) {
        u64 pos = 0;
        if (w->n_dirs < 64)
            w->dirs[w->n_dirs++] = ino;
        w->depth++;
        extfs_readdir(w->fs, ino, &pos, fuzz_name, w);
        w->depth--;
    }
    (void)type;
    return true;
}

static void fuzz_write(struct fuzz_walk *w)
{
    struct extfs_attr a = {.mode = 0100644};
    u32 ino, got;
    u64 pblk;
    for (u32 i = 0; i < 30; i++) {
        u32 file = w->n_files ? w->files[rnd(w->n_files)] : 12;
        u32 dir = w->n_dirs ? w->dirs[rnd(w->n_dirs)] : 2;
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        u32 what = rnd(7);
        struct extfs_xattr x = {"user.fuzz", name, rnd(16), false};
        if (what == 4) {
            extfs_truncate(w->fs, file, rnd(100000));
            continue;
        }
        if (extfs_begin(w->fs))
            return;
        int err = 0;
        if (what < 2)
            err = extfs_create(w->fs, dir, name, (u32)strlen(name), &a, NULL, &ino);
        else if (what == 2)
            err = extfs_allocate(w->fs, file, rnd(5000), 1 + rnd(20), rnd(2), &pblk, &got);
        else if (what == 3)
            err = extfs_link(w->fs, dir, name, (u32)strlen(name), file);
        else if (what == 5)
            err = extfs_write_xattrs(w->fs, file, &x, rnd(2));
        else
            err = MIN(extfs_free_range(w->fs, file, rnd(100), 100 + rnd(10000)), 0);
        extfs_end(w->fs, err);
    }
    extfs_commit(w->fs);
}

// Damage where it counts: the blocks of metadata, as the run script found them in the whole image.
static int run_fuzz(u32 n, u32 first_seed)
{
    u64 size = disk.disk.size_bytes;
    u8 *whole = memcpy(malloc(size), disk.bytes, size);
    u32 mounted = 0;
    u8 *used = calloc(1, size / 1024);  // blocks that are not all zero
    for (u64 at = 0; at < size; at++)
        used[at / 1024] |= whole[at] != 0;
    disk.quiet = true;
    for (u32 round = 0; round < n; round++) {
        seed = first_seed + round;
        rng = seed * 104729ull + 3;
        memcpy(disk.bytes, whole, size);
        u32 changes = 1 + rnd(12);
        for (u32 i = 0; i < changes;) {
            u64 block = rnd(4) ? rnd(64) : rnd((u32)(size / 1024));
            if (!used[block])
                continue;
            u64 at = block * 1024 + rnd(1024) / (rnd(2) ? 1 : 8);
            disk.bytes[at] = rnd(3) ? (u8)rnd(256) : rnd(2) ? 0xff : 0;
            i++;
        }
        alarm(20);
        const char *why;
        if (extfs_mount(&disk.disk, rnd(4) == 0, 64, &fs, &why))
            continue;
        mounted++;
        struct fuzz_walk w = {.fs = fs};
        u64 pos = 0;
        extfs_readdir(fs, EXTFS_ROOT_INO, &pos, fuzz_name, &w);
        if (rnd(8) == 0)
            disk.fail_after = 1 + rnd(60);
        fuzz_write(&w);
        extfs_unmount(fs);
        disk.fail_after = 0;
    }
    printf("%u of %u mounted\n", mounted, n);
    free(whole);
    free(used);
    return 0;
}

static int print_xattr(void *arg, const char *name, const void *value, u32 size)
{
    (void)arg;
    printf("%s=%.*s\n", name, (int)size, (const char *)value);
    return 0;
}

static int run_xattrs(const char *image, const char *name, char **set, u32 n)
{
    struct extfs_xattr list[64];
    struct extfs_xattr_sink sink = {print_xattr, NULL};
    u32 ino, type;
    start(image);
    int err = extfs_lookup(fs, EXTFS_ROOT_INO, name, (u32)strlen(name), &ino, &type);
    for (u32 i = 0; i < n && i < 64; i++) {
        char *equals = strchr(set[i], '=');
        *equals = '\0';
        list[i] = (struct extfs_xattr){set[i], equals + 1, (u32)strlen(equals + 1), false};
    }
    if (!err && n) {
        begin();
        err = extfs_end(fs, extfs_write_xattrs(fs, ino, list, n));
    }
    if (!err)
        err = extfs_read_xattrs(fs, ino, &sink);
    CHECK(!err, "extended attributes: %d", err);
    CHECK(!extfs_unmount(fs), "unmount");
    if (n)
        save(image, disk.bytes, disk.disk.size_bytes);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && !strcmp(argv[1], "xattrs"))
        return run_xattrs(argv[2], argv[3], argv + 4, (u32)argc - 4);
    if (argc == 6 && !strcmp(argv[1], "random")) {
        seed = (u32)atoi(argv[3]);
        start(argv[2]);
        return run_random((u32)atoi(argv[4]), argv[5]);
    }
    if (argc == 7 && !strcmp(argv[1], "crash")) {
        seed = (u32)atoi(argv[3]);
        file_limit = 256 * 1024;
        start(argv[2]);
        return run_crash((u32)atoi(argv[4]), (u32)atoi(argv[5]), argv[6]);
    }
    if (argc == 5 && !strcmp(argv[1], "fuzz")) {
        disk.bytes = load(argv[2], &disk.disk.size_bytes);
        disk.disk.ops = &ops;
        return run_fuzz((u32)atoi(argv[3]), (u32)atoi(argv[4]));
    }
    fprintf(stderr, "usage: see the head of extfs_test.c\n");
    return 2;
}
