// SPDX-License-Identifier: BSD-2-Clause
// rootdisk.c: the root image under a program that reads more of it than there is memory, and changes some.
//
//     rootdisk make FOLDER MIB     on the host: FOLDER/large of a known pattern, FOLDER/one and its second name FOLDER/two
//     rootdisk check FOLDER        what is said of reading, writing, mapping, truncation, holes and names; prints "as it should be"
//     rootdisk corrupt FOLDER      walks everything and reads it; errors are counted, not fatal; prints "walked"
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ull
#define MIB (1ull << 20)
#define WORDS (PAGE / 8)
#define THREADS 4

static const char *folder;
static uint64_t n_pages;

#define CHECK(what)                                                                   \
    do {                                                                              \
        if (!(what)) {                                                                \
            printf("rootdisk: line %d: %s (%s)\n", __LINE__, #what, strerror(errno)); \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

static char *path_of(const char *name)
{
    char *path;
    CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static uint64_t word_of(uint64_t page, uint64_t i)
{
    return (page * WORDS + i + 1) * 0x9e3779b97f4a7c15ull;
}

static int changed(uint64_t page) { return page % 12 == 5; }

static void fill(uint64_t *words, uint64_t page)
{
    for (uint64_t i = 0; i < WORDS; i++)
        words[i] = changed(page) ? ~word_of(page, i) : word_of(page, i);
}

static int is_right(const uint64_t *words, uint64_t page, int after)
{
    for (uint64_t i = 0; i < WORDS; i++)
        if (words[i] != (after && changed(page) ? ~word_of(page, i) : word_of(page, i)))
            return 0;
    return 1;
}

static int is_zero(const void *bytes, size_t n)
{
    const char *p = bytes;
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static void make(uint64_t mib)
{
    static uint64_t words[WORDS];
    int fd = open(path_of("large"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    for (uint64_t page = 0; page < mib * MIB / PAGE; page++) {
        for (uint64_t i = 0; i < WORDS; i++)
            words[i] = word_of(page, i);
        CHECK(write(fd, words, PAGE) == (ssize_t)PAGE);
    }
    close(fd);
    fd = open(path_of("one"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(write(fd, "first", 5) == 5);
    CHECK(link(path_of("one"), path_of("two")) == 0);
}

static void read_all(int after)
{
    static uint64_t piece[16 * WORDS];
    int fd = open(path_of("large"), O_RDONLY);
    CHECK(fd >= 0);
    for (uint64_t page = 0; page < n_pages; page += 16) {
        ssize_t n = read(fd, piece, sizeof(piece));
        CHECK(n == (ssize_t)sizeof(piece));
        for (uint64_t i = 0; i < 16; i++)
            CHECK(is_right(piece + i * WORDS, page + i, after));
    }
    close(fd);
}

// Each thread has every fourth page: changes what is to change, by write or through a mapping, and looks at some of the others.
static void *change(void *arg)
{
    uint64_t own = (uint64_t)(uintptr_t)arg, words[WORDS];
    int fd = open(path_of("large"), O_RDWR);
    CHECK(fd >= 0);
    char *map = mmap(NULL, n_pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (uint64_t page = own; page < n_pages; page += THREADS) {
        if (!changed(page)) {
            if (page % 16 == own)
                CHECK(is_right((const uint64_t *)(map + page * PAGE), page, 0));
            continue;
        }
        fill(words, page);
        if (page % 8 < 4)
            CHECK(pwrite(fd, words, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE);
        else
            memcpy(map + page * PAGE, words, PAGE);
    }
    CHECK(munmap(map, n_pages * PAGE) == 0);
    close(fd);
    return NULL;
}

static void change_all(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, change, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void sizes_and_holes(void)
{
    uint64_t words[WORDS], half = n_pages / 2, size = n_pages * PAGE;
    int fd = open(path_of("large"), O_RDWR);
    CHECK(fd >= 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(8 * PAGE),
                    (off_t)(2 * PAGE)) == 0);
    CHECK(pread(fd, words, PAGE, (off_t)(9 * PAGE)) == (ssize_t)PAGE && is_zero(words, PAGE));
    CHECK(pread(fd, words, PAGE, (off_t)(10 * PAGE)) == (ssize_t)PAGE && is_right(words, 10, 1));
    CHECK(ftruncate(fd, (off_t)(half * PAGE + 100)) == 0);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    CHECK(pread(fd, words, PAGE, (off_t)((half - 1) * PAGE)) == (ssize_t)PAGE &&
          is_right(words, half - 1, 1));
    CHECK(pread(fd, words, PAGE, (off_t)(half * PAGE)) == (ssize_t)PAGE);
    CHECK(words[0] == (changed(half) ? ~word_of(half, 0) : word_of(half, 0)));
    CHECK(is_zero((char *)words + 100, PAGE - 100));
    for (uint64_t page = half + 1; page < n_pages; page += 7)
        CHECK(pread(fd, words, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE &&
              is_zero(words, PAGE));
    CHECK(lseek(fd, (off_t)((half + 1) * PAGE), SEEK_DATA) == -1 && errno == ENXIO);
    CHECK(lseek(fd, 20 * PAGE, SEEK_HOLE) == (off_t)((half + 1) * PAGE));
    close(fd);
}

static void names(void)
{
    char text[16] = "";
    struct stat st;
    int fd = open(path_of("one"), O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "after", 5, 0) == 5 && close(fd) == 0);
    CHECK(unlink(path_of("one")) == 0);
    CHECK(stat(path_of("two"), &st) == 0 && st.st_nlink == 1);
    fd = open(path_of("two"), O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 5 && strcmp(text, "after") == 0);
    close(fd);
    CHECK(mkdir(path_of("new"), 0755) == 0 && rename(path_of("large"), path_of("new/large")) == 0);
    CHECK(stat(path_of("large"), &st) == -1 && errno == ENOENT);
    CHECK(stat(path_of("new/large"), &st) == 0 && st.st_size == (off_t)(n_pages * PAGE));
    CHECK(unlink(path_of("new/large")) == 0 && unlink(path_of("two")) == 0);
}

static unsigned errors;

static void walk(const char *path, int depth)
{
    struct stat st;
    char piece[4096];
    if (lstat(path, &st)) {
        errors++;
        return;
    }
    if (S_ISDIR(st.st_mode) && depth < 12) {
        DIR *d = opendir(path);
        errors += d == NULL;
        for (struct dirent *e; d && (e = readdir(d));) {
            char *child;
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                continue;
            CHECK(asprintf(&child, "%s/%s", path, e->d_name) > 0);
            walk(child, depth + 1);
            free(child);
        }
        if (d)
            closedir(d);
    } else if (S_ISREG(st.st_mode)) {
        int fd = open(path, O_RDWR);
        off_t at = 0;
        errors += fd < 0;
        for (ssize_t n = 1; fd >= 0 && n > 0 && at < (off_t)(4 * MIB); at += n)
            if ((n = pread(fd, piece, sizeof(piece), at)) < 0)
                errors++;
        if (fd >= 0 && pwrite(fd, "x", 1, 0) != 1)
            errors++;
        close(fd);
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    CHECK(argc > 2);
    folder = argv[2];
    if (!strcmp(argv[1], "make")) {
        make(strtoull(argv[3], NULL, 10));
        return 0;
    }
    if (!strcmp(argv[1], "corrupt")) {
        walk(folder, 0);
        printf("walked\n");
        return 0;
    }
    CHECK(stat(path_of("large"), &st) == 0);
    n_pages = (uint64_t)st.st_size / PAGE;
    read_all(0);
    change_all();
    read_all(1);
    sizes_and_holes();
    names();
    puts("as it should be");
    return 0;
}
