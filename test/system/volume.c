// SPDX-License-Identifier: BSD-2-Clause
// volume.c: a program that writes to a volume until the power goes, and one that looks whether all it was promised is there.
//
//   volume load DIR SEED        writes without end; after each fsync that covers it, a line "ack OBJECT VERSION"
//   volume verify DIR ACKS      every acknowledged version, or a later one, is there whole. Prints "verified N".
//   volume fill DIR             writes until there is no room, and checks that nothing was lost; then makes room again
//   volume tree DIR write|check a tree with some of everything, for one guest to write and the next to find
//
// Objects:  log/N: records behind each other   slot/N: a file that is replaced by rename   page/N: a page of a table, written in
// place with O_DSYNC   map/N: the same through a shared mapping and msync   name/N: a directory with a file in it   gone/N: removed
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOGS 3
#define SLOTS 5
#define PAGES 64
#define PAGE 4096u

static uint64_t rng = 1;
static uint32_t rnd(uint32_t n)
{
    rng = rng * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rng >> 33) % n;
}

#define NEED(x)                                                                  \
    do {                                                                         \
        if (!(x)) {                                                              \
            printf("failed: %s: %s (line %d)\n", #x, strerror(errno), __LINE__); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

struct record {
    uint32_t magic, object, version, len;  // len bytes of contents follow
    uint64_t sum;
};

static void contents(unsigned char *to, uint32_t object, uint32_t version, uint32_t len)
{
    uint64_t h = (uint64_t)object << 32 | version;
    for (uint32_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            h = h * 6364136223846793005ull + 99991;
        to[i] = (unsigned char)(h >> i % 8 * 8);
    }
}

static uint64_t sum_of(const unsigned char *p, uint32_t len)
{
    uint64_t sum = 14695981039346656037ull;
    while (len--)
        sum = (sum ^ *p++) * 1099511628211ull;
    return sum;
}

static size_t make_record(unsigned char *to, uint32_t object, uint32_t version, uint32_t len)
{
    struct record r = {0x1e74e5ed, object, version, len, 0};
    contents(to + sizeof(r), object, version, len);
    r.sum = sum_of(to + sizeof(r), len);
    memcpy(to, &r, sizeof(r));
    return sizeof(r) + len;
}

// => bytes of a whole record, 0: it is not one
static size_t check_record(const unsigned char *p, size_t room, uint32_t object, uint32_t *version)
{
    struct record r;
    if (room < sizeof(r))
        return 0;
    memcpy(&r, p, sizeof(r));
    if (r.magic != 0x1e74e5ed || r.object != object || r.len > room - sizeof(r) ||
        sum_of(p + sizeof(r), r.len) != r.sum)
        return 0;
    *version = r.version;
    return sizeof(r) + r.len;
}

static void sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    NEED(fd >= 0);
    NEED(fsync(fd) == 0);
    close(fd);
}

static unsigned char buffer[1 << 20];

static void do_log(uint32_t i, uint32_t version)
{
    char path[64];
    snprintf(path, sizeof(path), "log%u", i);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    NEED(fd >= 0);
    size_t n = make_record(buffer, 100 + i, version, 1 + rnd(9000));
    NEED(write(fd, buffer, n) == (ssize_t)n);
    NEED((rnd(2) ? fsync(fd) : fdatasync(fd)) == 0);
    close(fd);
    if (version == 1)
        sync_dir(".");
    printf("ack log%u %u\n", i, version);
}

static void do_slot(uint32_t i, uint32_t version)
{
    char path[64], fresh[64];
    snprintf(path, sizeof(path), "slot%u", i);
    snprintf(fresh, sizeof(fresh), "slot%u.new", i);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    NEED(fd >= 0);
    size_t n = make_record(buffer, 200 + i, version, 1 + rnd(60000));
    NEED(write(fd, buffer, n) == (ssize_t)n);
    NEED(fsync(fd) == 0);
    close(fd);
    NEED(rename(fresh, path) == 0);
    sync_dir(".");
    printf("ack slot%u %u\n", i, version);
}

static void do_page(uint32_t i, uint32_t version)
{
    static int fd = -1;
    if (fd < 0)
        fd = open("table", O_RDWR | O_CREAT | O_DSYNC, 0644);
    NEED(fd >= 0);
    make_record(buffer, 300 + i, version, PAGE - sizeof(struct record));
    NEED(pwrite(fd, buffer, PAGE, (off_t)i * PAGE) == (ssize_t)PAGE);
    if (version == 1)
        sync_dir(".");
    printf("ack page%u %u\n", i, version);
}

static void do_map(uint32_t i, uint32_t version)
{
    static unsigned char *map;
    if (!map) {
        int fd = open("map", O_RDWR | O_CREAT, 0644);
        NEED(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
        map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        NEED(map != MAP_FAILED && fsync(fd) == 0);
        sync_dir(".");
    }
    make_record(map + i * PAGE, 400 + i, version, PAGE - sizeof(struct record));
    NEED(msync(map + i * PAGE, PAGE, MS_SYNC) == 0);
    printf("ack map%u %u\n", i, version);
}

static void do_name(uint32_t i)
{
    char path[64], file[96];
    snprintf(path, sizeof(path), "names/%u", i);
    snprintf(file, sizeof(file), "%s/inside", path);
    NEED(mkdir(path, 0755) == 0);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0644);
    NEED(fd >= 0);
    size_t n = make_record(buffer, 500, i, rnd(3000));
    NEED(write(fd, buffer, n) == (ssize_t)n && fsync(fd) == 0);
    close(fd);
    sync_dir(path);
    sync_dir("names");
    printf("ack name%u 1\n", i);
}

static void do_gone(uint32_t i)
{
    char path[64], file[96];
    snprintf(path, sizeof(path), "names/%u", i);
    snprintf(file, sizeof(file), "%s/inside", path);
    printf("ack going%u 1\n", i);
    NEED(unlink(file) == 0 && rmdir(path) == 0);
    sync_dir("names");
    printf("ack gone%u 1\n", i);
}

// Something that is never promised, to keep the volume busy.
static void *noise(void *unused)
{
    uint32_t n = 0;
    unsigned char block[65536];
    memset(block, 'n', sizeof(block));
    for (;; n++) {
        char path[64];
        snprintf(path, sizeof(path), "noise%u", n % 7);
        int fd = open(path, O_RDWR | O_CREAT, 0644);
        if (fd < 0)
            continue;
        for (uint32_t i = 0; i < 8; i++)
            if (pwrite(fd, block, sizeof(block), (off_t)((n * 13 + i * 5) % 64) * 40000) < 0)
                break;
        if (n % 5 == 0 && ftruncate(fd, (n % 50) * 1000))
            break;
        if (n % 11 == 0)
            unlink(path);
        close(fd);
        usleep(3000);
    }
    return unused;
}

static int load(uint32_t seed)
{
    uint32_t log[LOGS] = {0}, slot[SLOTS] = {0}, page[PAGES] = {0}, map[PAGES] = {0}, next = 0,
             first = 0;
    pthread_t thread;
    rng = seed * 77777ull + 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    mkdir("names", 0755);
    sync_dir(".");
    NEED(pthread_create(&thread, NULL, noise, NULL) == 0);
    for (;;) {
        uint32_t what = rnd(100), i;
        if (what < 25)
            i = rnd(LOGS), do_log(i, ++log[i]);
        else if (what < 45)
            i = rnd(SLOTS), do_slot(i, ++slot[i]);
        else if (what < 65)
            i = rnd(PAGES), do_page(i, ++page[i]);
        else if (what < 80)
            i = rnd(PAGES), do_map(i, ++map[i]);
        else if (what < 92 || first == next)
            do_name(next++);
        else
            do_gone(first++);
    }
}

// ---- verifying

static size_t read_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t n = 0;
    ssize_t got;
    while (fd >= 0 && n < sizeof(buffer) && (got = read(fd, buffer + n, sizeof(buffer) - n)) > 0)
        n += (size_t)got;
    if (fd >= 0)
        close(fd);
    return n;
}

static uint32_t last_in_log(uint32_t i)
{
    char path[64];
    uint32_t version, last = 0;
    snprintf(path, sizeof(path), "log%u", i);
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return 0;
    unsigned char *all = malloc((size_t)st.st_size + 1);
    NEED(read(fd, all, (size_t)st.st_size) == st.st_size);
    for (size_t at = 0, n; (n = check_record(all + at, (size_t)st.st_size - at, 100 + i, &version));
         at += n) {
        if (version != last + 1)
            break;
        last = version;
    }
    free(all);
    close(fd);
    return last;
}

static uint32_t found(const char *object, uint32_t i)
{
    uint32_t version = 0;
    char path[64];
    if (!strcmp(object, "log"))
        return last_in_log(i);
    if (!strcmp(object, "slot") || !strcmp(object, "name")) {
        snprintf(path, sizeof(path), !strcmp(object, "slot") ? "slot%u" : "names/%u/inside", i);
        size_t n = read_file(path);
        size_t whole = check_record(buffer, n, !strcmp(object, "slot") ? 200 + i : 500, &version);
        if (!whole || whole != n)
            return 0;
        return !strcmp(object, "slot") ? version : version == i;
    }
    if (!strcmp(object, "page") || !strcmp(object, "map")) {
        read_file(!strcmp(object, "page") ? "table" : "map");
        return check_record(buffer + i * PAGE, PAGE, (!strcmp(object, "page") ? 300 : 400) + i,
                            &version)
                   ? version
                   : 0;
    }
    return 0;
}

struct want {
    char object[16];
    uint32_t i, version;
};

static int verify(const char *acks)
{
    static struct want wants[100000];
    char line[128], object[32];
    uint32_t n = 0, version, checked = 0;
    FILE *in = fopen(acks, "r");
    NEED(in);
    while (fgets(line, sizeof(line), in)) {
        size_t len;
        if (sscanf(line, "ack %20s %u", object, &version) != 2 || !strchr(line, '\n'))
            continue;
        len = strcspn(object, "0123456789");
        uint32_t i = (uint32_t)atoi(object + len), k;
        object[len] = 0;
        for (k = 0; k < n && (wants[k].i != i || strcmp(wants[k].object, object)); k++)
            ;
        if (k == n) {
            NEED(n < 100000);
            snprintf(wants[n].object, sizeof(wants[n].object), "%.15s", object);
            wants[n++].i = i;
        }
        wants[k].version = version;
    }
    fclose(in);
    for (uint32_t k = 0; k < n; k++) {
        bool gone = false;
        for (uint32_t m = 0; m < n; m++)
            gone |= !strcmp(wants[k].object, "name") && !strcmp(wants[m].object, "going") &&
                    wants[m].i == wants[k].i;
        if (!strcmp(wants[k].object, "gone")) {
            char path[64];
            struct stat st;
            snprintf(path, sizeof(path), "names/%u", wants[k].i);
            if (stat(path, &st) == 0) {
                printf("lost: the removal of name %u\n", wants[k].i);
                return 1;
            }
        } else if (!gone && strcmp(wants[k].object, "going")) {
            uint32_t has = found(wants[k].object, wants[k].i);
            if (has < wants[k].version) {
                printf("lost: %s %u is at version %u, %u was promised\n", wants[k].object,
                       wants[k].i, has, wants[k].version);
                return 1;
            }
        }
        checked++;
    }
    printf("verified %u\n", checked);
    return 0;
}

// ---- a full volume

static int fill(void)
{
    uint32_t files = 0, blocks = 0;
    static unsigned char block[65536];
    int fd = open("precious", O_RDWR | O_CREAT | O_TRUNC, 0644), big;
    NEED(fd >= 0);
    size_t n = make_record(buffer, 700, 1, 100000);
    NEED(write(fd, buffer, n) == (ssize_t)n && fsync(fd) == 0);
    big = open("big", O_RDWR | O_CREAT | O_TRUNC, 0644);
    ssize_t got;
    for (;; blocks++) {
        contents(block, 800, blocks, sizeof(block));
        got = write(big, block, sizeof(block));
        if (got != (ssize_t)sizeof(block))
            break;
    }
    NEED(got >= 0 || errno == ENOSPC);
    NEED(blocks > 50);
    NEED(fsync(big) == 0);
    for (; files < 100000; files++) {
        char path[64];
        snprintf(path, sizeof(path), "f%u", files);
        int f = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (f < 0)
            break;
        close(f);
    }
    NEED(errno == ENOSPC);
    for (uint32_t i = 0; i < blocks; i++) {
        static unsigned char back[65536];
        contents(block, 800, i, sizeof(block));
        NEED(pread(big, back, sizeof(back), (off_t)i * (off_t)sizeof(back)) ==
             (ssize_t)sizeof(back));
        NEED(memcmp(block, back, sizeof(back)) == 0);
    }
    uint32_t version;
    NEED(lseek(fd, 0, SEEK_SET) == 0 && read(fd, buffer, n) == (ssize_t)n &&
         check_record(buffer, n, 700, &version) == n);
    NEED(unlink("big") == 0);
    close(big);
    NEED(write(fd, buffer, n) == (ssize_t)n && fsync(fd) == 0);  // there is room again
    for (uint32_t i = 0; i < files; i++) {
        char path[64];
        snprintf(path, sizeof(path), "f%u", i);
        NEED(unlink(path) == 0);
    }
    printf("full after %u blocks and %u files\n", blocks > 50, files > 0);
    return 0;
}

// ---- a tree

static void put(const char *path, uint32_t object, uint32_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    NEED(fd >= 0);
    size_t n = make_record(buffer, object, 1, len);
    NEED(write(fd, buffer, n) == (ssize_t)n);
    close(fd);
}

static void look(const char *path, uint32_t object, uint32_t len)
{
    uint32_t version;
    size_t n = read_file(path);
    NEED(n == len + sizeof(struct record) && check_record(buffer, n, object, &version) == n);
}

static int tree(const char *what)
{
    int write_it = !strcmp(what, "write");
    struct stat st;
    char path[300], text[300];
    if (write_it)
        NEED(mkdir("many", 0755) == 0 && chmod("many", 02755) == 0 && mkdir("deep", 0700) == 0);
    for (uint32_t i = 0; i < 2000; i++) {
        snprintf(
            path, sizeof(path), "many/%u-%.*s", i, (int)(i % 200),
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        if (write_it)
            put(path, i, i % 100);
        else
            look(path, i, i % 100);
    }
    strcpy(path, "deep");
    for (uint32_t i = 0; i < 30; i++) {
        strcat(path, "/d");
        NEED(write_it ? mkdir(path, 0755) == 0 : stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    }
    memset(text, 't', 200);
    text[200] = 0;
    if (write_it) {
        put("large", 9000, 900000);
        NEED(link("large", "large-again") == 0 && symlink("short", "link") == 0 &&
             symlink(text, "long-link") == 0);
        NEED(chown("large", 70000, 80000) == 0 && chmod("large", 04711) == 0);
        struct timespec t[2] = {{1000000000, 123456789}, {5000000000, 987654321}};
        NEED(utimensat(AT_FDCWD, "large", t, 0) == 0);
        NEED(mkfifo("fifo", 0600) == 0);
        NEED(mknod("null", S_IFCHR | 0666, 0x103) == 0);
        int fd = open("sparse", O_RDWR | O_CREAT, 0644);
        NEED(fd >= 0 && pwrite(fd, "end", 3, 40 << 20) == 3 &&
             fallocate(fd, 0, 1 << 20, 1 << 20) == 0);
        close(fd);
        fd = open("removed", O_RDWR | O_CREAT, 0644);
        NEED(fd >= 0 && unlink("removed") == 0 &&
             write(fd, buffer, 100000) == 100000);  // open when the machine ends
        puts("written");
        return 0;
    }
    look("large", 9000, 900000);
    NEED(stat("large-again", &st) == 0 && st.st_nlink == 2 && (st.st_mode & 07777) == 04711 &&
         st.st_uid == 70000 && st.st_gid == 80000);
    NEED(st.st_mtim.tv_sec == 5000000000 && st.st_mtim.tv_nsec == 987654321);
    NEED(readlink("link", text, sizeof(text)) == 5 &&
         readlink("long-link", text, sizeof(text)) == 200);
    NEED(stat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
    NEED(lstat("null", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
    NEED(stat("sparse", &st) == 0 && st.st_size == (40 << 20) + 3 && st.st_blocks >= 2048 &&
         st.st_blocks < 2200);
    NEED(stat("removed", &st) == -1 && errno == ENOENT);
    NEED(stat("many", &st) == 0 && (st.st_mode & 07777) == 02755 && st.st_nlink == 2);
    puts("found");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3 || chdir(argv[2])) {
        fprintf(stderr, "usage: see the head of volume.c\n");
        return 2;
    }
    if (!strcmp(argv[1], "load"))
        return load((uint32_t)atoi(argv[3]));
    if (!strcmp(argv[1], "verify"))
        return verify(argv[3]);
    if (!strcmp(argv[1], "fill"))
        return fill();
    return tree(argv[3]);
}
