// SPDX-License-Identifier: BSD-2-Clause
// Whole root trees: a directory, or a tar archive as container tools export it (POSIX.1-1988 ustar, POSIX.1-2001 pax
// headers, GNU's long names and binary numbers; plain or compressed with gzip, xz, zstd or bzip2).
//
// An archive is never unpacked: a node of the tree says where in it the bytes of its file lie. So owners need no
// privilege, and a hostile archive cannot touch a file of this machine; names with ".." in them are refused all the
// same, they are no names of an honest one. Device files and FIFOs are left out (the guest has its own /dev).
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RECORD = 512, NUMBER_MAX = 12 };

// A header as it lies in the archive (POSIX.1-1988, 10.1.1; "prefix" is the time in GNU's).
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == RECORD, "a header is one record");

// What a member's header and the headers before it say together.
struct member {
    char *name, *link;
    uint64_t size, mode, uid, gid, mtime;
    bool has_size, has_uid, has_gid, has_mtime;  // told by a pax header
};

struct archive {
    const char *path;   // as the user knows it
    const char *plain;  // where the bytes can be read, decompressed
    const unsigned char *bytes;
    uint64_t size, at;
    struct node *root;
    struct member next;  // of the extended headers read last
    unsigned long members, left_out;
};

static void __attribute__((noreturn)) damaged(const struct archive *a, const char *why)
{
    die("%s is damaged at byte %llu: %s", a->path, (unsigned long long)a->at, why);
}

// ---- fields

// An octal number, or a binary one when the first bit is set.
static uint64_t number(const struct archive *a, const char *field, size_t size)
{
    uint64_t value = 0;
    size_t i = 0;

    if (field[0] & 0x80) {
        for (value = field[0] & 0x3f, i = 1; i < size; i++) {
            if (value >> 54)
                damaged(a, "a number is too large");
            value = value << 8 | (unsigned char)field[i];
        }
        return field[0] & 0x40 ? 0 : value;  // negative: a time before 1970
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (field[i] - '0');
    if (i < size && field[i] && field[i] != ' ')
        damaged(a, "a number is not octal");
    return value;
}

static bool checksum_holds(const struct archive *a, const struct header *h)
{
    const unsigned char *bytes = (const void *)h;
    uint64_t sum = 0;

    for (size_t i = 0; i < RECORD; i++)
        sum += i >= offsetof(struct header, checksum) && i < offsetof(struct header, type)
                   ? ' '
                   : bytes[i];
    return sum == number(a, h->checksum, sizeof(h->checksum));
}

static char *text(const char *bytes, size_t size)
{
    return format("%.*s", (int)strnlen(bytes, size), bytes);
}

// The path in the image: "./usr//bin/" -> "usr//bin/", which tree.c takes.
static const char *image_path(const struct archive *a, const char *name)
{
    for (const char *p = name; *(p += strspn(p, "/"));) {
        size_t len = strcspn(p, "/");
        if (len == 2 && !strncmp(p, "..", 2))
            die("%s holds the name %s, which leads out of the tree; refused", a->path, name);
        p += len;
    }
    return name + strspn(name, "/");
}

// ---- extended headers

static uint64_t decimal(const struct archive *a, const char *value)
{
    char *end;
    uint64_t n;

    errno = 0;
    n = *value == '-' ? 0 : strtoull(value, &end, 10);
    if (errno || (*value != '-' && end == value))
        damaged(a, "a number of an extended header is none");
    return n;
}

static void take_pax_record(struct archive *a, const char *key, const char *value)
{
    struct member *m = &a->next;

    if (!strcmp(key, "path"))
        m->name = xstrdup(value);
    else if (!strcmp(key, "linkpath"))
        m->link = xstrdup(value);
    else if (!strcmp(key, "size"))
        m->has_size = true, m->size = decimal(a, value);
    else if (!strcmp(key, "uid"))
        m->has_uid = true, m->uid = decimal(a, value);
    else if (!strcmp(key, "gid"))
        m->has_gid = true, m->gid = decimal(a, value);
    else if (!strcmp(key, "mtime"))
        m->has_mtime = true, m->mtime = decimal(a, value);
    else if (!strncmp(key, "GNU.sparse.", 11))
        die("%s holds a sparse file, which is not supported; write it without --sparse", a->path);
}

// Records of "LENGTH KEY=VALUE\n"; LENGTH counts itself.
static void take_pax(struct archive *a, const char *p, uint64_t size)
{
    for (const char *end = p + size; p < end;) {
        char *copy, *key, *equals;
        uint64_t length = 0;
        const char *q = p;

        while (q < end && q - p < NUMBER_MAX && *q >= '0' && *q <= '9')
            length = length * 10 + (*q++ - '0');
        if (q == end || *q != ' ' || length <= (uint64_t)(q - p) + 1 ||
            length > (uint64_t)(end - p) || p[length - 1] != '\n')
            damaged(a, "an extended header is not well formed");
        copy = xalloc(length);
        memcpy(copy, p, length - 1);
        key = copy + (q - p) + 1;
        if (!(equals = strchr(key, '=')))
            damaged(a, "an extended header is not well formed");
        *equals = '\0';
        take_pax_record(a, key, equals + 1);
        free(copy);
        p += length;
    }
}

// ---- members

// What stands at the member's name; several entries for one name: the last counts.
static struct node *put(struct archive *a, const struct member *m, mode_t type)
{
    struct node *node = tree_place(a->root, image_path(a, m->name), type | (m->mode & 07777));

    node->uid = m->uid;
    node->gid = m->gid;
    node->mtime = m->mtime;
    return node;
}

static void put_file(struct archive *a, const struct member *m, uint64_t data_at)
{
    struct node *node = put(a, m, S_IFREG);

    node->host_path = xstrdup(a->plain);
    node->in_archive = true;
    node->offset = data_at;
    node->size = m->size;
}

static void put_symlink(struct archive *a, const struct member *m)
{
    struct node *node = put(a, m, S_IFLNK);

    if (!*m->link)
        damaged(a, "a symbolic link leads nowhere");
    node->mode = S_IFLNK | 0777;
    node->content = xstrdup(m->link);
    node->size = strlen(m->link);
}

// => a link of a file to itself changes nothing
static void put_hard_link(struct archive *a, const struct member *m)
{
    const struct node *found = tree_find(a->root, image_path(a, m->link));
    struct node first;

    if (!found || S_ISDIR(found->mode))
        damaged(a, "a hard link to a file that has not come before");
    first = *found;
    if (!first.shared)
        first.shared = xalloc(sizeof(*first.shared));
    tree_copy(tree_find(a->root, image_path(a, m->link)), &first);
    tree_copy(tree_place(a->root, image_path(a, m->name), first.mode), &first);
}

static void take_member(struct archive *a, const struct member *m, char type, uint64_t data_at)
{
    size_t len = strlen(m->name);

    a->members++;
    if (!len)
        damaged(a, "a member without a name");
    if (type == '0' && m->name[len - 1] == '/')
        type = '5';  // how archives older than POSIX say it
    switch (type) {
    case '0': put_file(a, m, data_at); break;
    case '1': put_hard_link(a, m); break;
    case '2': put_symlink(a, m); break;
    case '5': put(a, m, S_IFDIR); break;
    case '3':
    case '4':
    case '6': a->left_out++; break;
    case 'S':
        die("%s holds a sparse file, which is not supported; write it without --sparse", a->path);
    default: die("%s holds a member of the unknown type '%c': %s", a->path, type, m->name);
    }
}

// => false: the record is the end of the archive
static bool take_record(struct archive *a)
{
    struct header h;
    struct member m = a->next;
    const char *data = (const char *)a->bytes + a->at + RECORD;
    uint64_t size;
    char type;

    memcpy(&h, a->bytes + a->at, RECORD);
    if (!h.name[0] && !h.checksum[0])
        return false;
    if (!checksum_holds(a, &h))
        a->at ? damaged(a, "the checksum of a header is wrong")
              : die("%s is neither a directory nor a tar archive", a->path);
    type = h.type == '\0' || h.type == '7' ? '0' : h.type;
    size = type >= '1' && type <= '6' ? 0 : number(a, h.size, sizeof(h.size));
    if (m.has_size && type == '0')
        size = m.size;
    if (size > a->size - a->at - RECORD)
        die("%s is truncated: it ends in the middle of a member", a->path);
    if (strchr("xgLK", type)) {
        if (type == 'x')
            take_pax(a, data, size);
        else if (type != 'g')
            *(type == 'L' ? &a->next.name : &a->next.link) = text(data, size);
    } else {
        m.size = size;
        m.mode = number(a, h.mode, sizeof(h.mode));
        m.uid = m.has_uid ? m.uid : number(a, h.uid, sizeof(h.uid));
        m.gid = m.has_gid ? m.gid : number(a, h.gid, sizeof(h.gid));
        m.mtime = m.has_mtime ? m.mtime : number(a, h.mtime, sizeof(h.mtime));
        if (!m.name && !memcmp(h.magic, "ustar", 6) && h.prefix[0])
            m.name = format("%s/%s", text(h.prefix, sizeof(h.prefix)), text(h.name, 100));
        m.name = m.name ? m.name : text(h.name, sizeof(h.name));
        m.link = m.link ? m.link : text(h.link, sizeof(h.link));
        take_member(a, &m, type, a->at + RECORD);
        a->next = (struct member){0};
    }
    a->at += RECORD + (size + RECORD - 1) / RECORD * RECORD;
    return true;
}

// ---- archives

static void map_plain(struct archive *a, int fd)
{
    struct stat st;
    void *bytes;

    if (fstat(fd, &st) || st.st_size < RECORD)
        die("%s is neither a directory nor a tar archive", a->path);
    bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        die("cannot read %s: %s", a->path, strerror(errno));
    a->bytes = bytes;
    a->size = st.st_size;
}

// Lets COMMAND -dc decompress FD. => a memory file
static int decompressed(const struct archive *a, int fd, const char *command)
{
    int out = memfd_create("lethe-rootfs", MFD_CLOEXEC), status = 0;
    pid_t child = out < 0 ? -1 : fork();

    if (child == 0) {
        dup2(fd, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        close(STDERR_FILENO);
        execlp(command, command, "-dc", (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        die_status(STATUS_NOBOOT, "cannot decompress %s: %s", a->path, strerror(errno));
    if (status)
        die("cannot decompress %s: %s", a->path,
            WIFEXITED(status) && WEXITSTATUS(status) == 127 ? format("%s is not installed", command)
                                                            : format("%s failed", command));
    return out;
}

static void open_archive(struct archive *a)
{
    static const struct {
        const char *magic, *command;
    } kinds[] = {{"\x1f\x8b", "gzip"},
                 {"\xfd\x37zXZ", "xz"},
                 {"\x28\xb5\x2f\xfd", "zstd"},
                 {"BZh", "bzip2"}};
    int fd = open(a->path, O_RDONLY | O_CLOEXEC);
    char begin[8] = "";

    if (fd < 0 || pread(fd, begin, sizeof(begin), 0) < 0)
        die("cannot read %s: %s", a->path, strerror(errno));
    a->plain = a->path;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (memcmp(begin, kinds[i].magic, strlen(kinds[i].magic)))
            continue;
        fd = decompressed(a, fd, kinds[i].command);
        a->plain = format("/proc/self/fd/%d", fd);
    }
    map_plain(a, fd);
}

static void add_archive(struct job *job, const char *path)
{
    struct archive a = {.path = path, .root = job->root};

    open_archive(&a);
    while (a.size - a.at >= RECORD && take_record(&a)) {
        if (a.at > a.size)
            a.at = a.size;
    }
    if (!a.members)
        die("%s is an empty archive", path);
    if (a.left_out)
        warn("%s: %lu device files and FIFOs left out", path, a.left_out);
    if (tree_find(job->root, "/manifest.json") && !tree_find(job->root, "/bin"))
        die("%s is a saved image, layer by layer; export a container of it instead (docker create, "
            "docker export)",
            path);
}

// Packs the whole tree in PATH, a directory or an archive.
void rootfs_add(struct job *job, const char *path)
{
    struct stat st;

    if (job->rootfs)
        die("--rootfs %s: one root tree at a time", path);
    job->rootfs = xstrdup(path);
    if (stat(path, &st))
        die("--rootfs %s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        tree_add_root(job->root, path);
    else if (S_ISREG(st.st_mode))
        add_archive(job, path);
    else
        die("--rootfs %s: neither a directory nor an archive", path);
}
