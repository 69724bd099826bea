// SPDX-License-Identifier: BSD-2-Clause
// disks.c: disks as a program sees them: names, device files, errors of the device, several queues.
//
//   disks names              the lines of /proc/partitions, each with what /sys says of it
//   disks raw DEV            four threads write and read back, at every offset and size, what each calls its own
//   disks eio DEV            sectors 2048 (reading) and 4096 (writing) are bad: EIO there and nowhere else
//   disks flush-eio DEV      the medium cannot be flushed: fsync says so
//   disks volume-eio DEV     the same of an ext4 volume, which is read-only afterwards
//   disks sync DEV           many small files on a slow ext4 volume; "synced" when sync(2) has returned, then it waits to be killed
//   disks synced DEV         all of them are there
//   disks ahead DEV          of the file "large" on an ext4 volume what is asked for beforehand is in memory, and no more
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define NEED(x)                                                                  \
    do {                                                                         \
        if (!(x)) {                                                              \
            printf("failed: %s: %s (line %d)\n", #x, strerror(errno), __LINE__); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)
#define N_SMALL 300

static unsigned long number_in(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

// name, KiB, sectors by /sys, first sector, bytes by BLKGETSIZE64 in KiB, kind of the file in /dev with the right number
static int names(void)
{
    char line[128], name[32], path[128], disk[32] = "";
    FILE *f = fopen("/proc/partitions", "r");
    unsigned n_major, n_minor;
    unsigned long kib, start = 0;
    NEED(f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f));
    while (fgets(line, sizeof(line), f)) {
        NEED(sscanf(line, "%u %u %lu %31s", &n_major, &n_minor, &kib, name) == 4);
        snprintf(path, sizeof(path), "/sys/block/%s/size", name);
        if (access(path, R_OK)) {
            snprintf(path, sizeof(path), "/sys/block/%s/%s/start", disk, name);
            start = number_in(path);
            snprintf(path, sizeof(path), "/sys/block/%s/%s/size", disk, name);
        } else {
            snprintf(disk, sizeof(disk), "%s", name);
            start = 0;
        }
        unsigned long sectors = number_in(path);
        struct stat st;
        uint64_t bytes = 0;
        snprintf(path, sizeof(path), "/dev/%s", name);
        int fd = open(path, O_RDONLY);
        NEED(fd >= 0 && fstat(fd, &st) == 0 && ioctl(fd, BLKGETSIZE64, &bytes) == 0);
        NEED(S_ISBLK(st.st_mode) && major(st.st_rdev) == n_major && minor(st.st_rdev) == n_minor);
        NEED(bytes == sectors * 512 && kib == sectors / 2);
        printf("%s %lu %lu\n", name, start, sectors);
        close(fd);
    }
    return 0;
}

// ---- device files

static const char *device;

struct part {
    unsigned seed;
    off_t start;
};
#define PART (2u << 20)

static void *raw_thread(void *arg)
{
    struct part *p = arg;
    static __thread unsigned char mine[PART], back[PART];
    unsigned state = p->seed;
    int fd = open(device, O_RDWR);
    NEED(fd >= 0 && pread(fd, mine, PART, p->start) == PART);
    for (unsigned i = 0; i < 60; i++) {
        state = state * 1103515245 + 12345;
        size_t at = state >> 8 & (PART - 1);
        state = state * 1103515245 + 12345;
        size_t n = 1 + (state >> 8) % 150000;
        n = n < PART - at ? n : PART - at;
        memset(mine + at, (int)(i + p->seed), n);
        NEED(pwrite(fd, mine + at, n, p->start + (off_t)at) == (ssize_t)n);
        NEED(i % 8 || fsync(fd) == 0);
    }
    NEED(pread(fd, back, PART, p->start) == PART && memcmp(mine, back, PART) == 0);
    close(fd);
    return NULL;
}

static int raw(void)
{
    pthread_t threads[4];
    struct part parts[4];
    for (unsigned i = 0; i < 4; i++) {
        parts[i] = (struct part){i + 1, (off_t)i * PART};
        NEED(pthread_create(&threads[i], NULL, raw_thread, &parts[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int fd = open(device, O_RDWR);
    uint64_t range[2] = {1 << 20, 1 << 20};
    unsigned char back[4096], zero[4096] = {0};
    if (ioctl(fd, BLKZEROOUT, range) == 0) {
        NEED(pread(fd, back, sizeof(back), (2 << 20) - 4096) == 4096 && !memcmp(back, zero, 4096));
    } else {
        NEED(errno == EOPNOTSUPP);
    }
    NEED(ioctl(fd, BLKDISCARD, range) == 0 || errno == EOPNOTSUPP);
    uint64_t bytes;
    NEED(ioctl(fd, BLKGETSIZE64, &bytes) == 0);
    NEED(pread(fd, back, 4096, (off_t)bytes - 512) == 512 && pread(fd, back, 1, (off_t)bytes) == 0);
    NEED(pwrite(fd, back, 1, (off_t)bytes) == -1 && errno == ENOSPC);
    puts("raw good");
    return 0;
}

static int eio(void)
{
    static char buf[65536];
    int fd = open(device, O_RDWR);
    NEED(fd >= 0 && pread(fd, buf, sizeof(buf), 0) == sizeof(buf));
    NEED(pread(fd, buf, 512, 2048 * 512) == -1 && errno == EIO);
    NEED(pread(fd, buf, 512, 2049 * 512) == 512);
    NEED(pwrite(fd, buf, 512, 4096 * 512) == -1 && errno == EIO);
    NEED(pwrite(fd, buf, 512, 4097 * 512) == 512 && fsync(fd) == 0);
    NEED(pread(fd, buf, 512, 4096 * 512) == 512);
    puts("EIO");
    return 0;
}

static int flush_eio(void)
{
    char buf[512] = "x";
    int fd = open(device, O_RDWR);
    NEED(fd >= 0 && pwrite(fd, buf, 512, 0) == 512);
    NEED(fsync(fd) == -1 && errno == EIO);
    NEED(fdatasync(fd) == -1 && errno == EIO);
    puts("EIO");
    return 0;
}

// ---- volumes

static void mount_it(void)
{
    NEED(mkdir("/v", 0755) == 0 && mount(device, "/v", "ext4", 0, "") == 0 && chdir("/v") == 0);
}

static int volume_eio(void)
{
    mount_it();
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    NEED(fd >= 0 && write(fd, "abc", 3) == 3);
    NEED(fsync(fd) == -1 && errno == EIO);
    NEED(open("g", O_RDWR | O_CREAT, 0644) == -1 && errno == EROFS);
    puts("EIO");
    return 0;
}

static int sync_small(int check)
{
    static char text[3 * 4096];
    char name[16];
    mount_it();
    for (int i = 0; i < N_SMALL; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        int fd = open(name, check ? O_RDONLY : O_RDWR | O_CREAT, 0644);
        NEED(fd >= 0);
        if (check) {
            NEED(read(fd, text, sizeof(text)) == sizeof(text) && text[sizeof(text) - 1] == (char)i);
        } else {
            memset(text, i, sizeof(text));
            NEED(write(fd, text, sizeof(text)) == sizeof(text));
        }
        close(fd);
    }
    if (!check) {  // by now the volume's own thread is at it
        usleep(800000);
        sync();
    }
    puts("synced");
    if (!check)
        pause();
    return 0;
}

// ---- reading ahead

#define LARGE (16u << 20)

// Whether all (1), none (0) or some (-1) of the megabyte at `at` is in memory.
static int resident(void *map, size_t at)
{
    unsigned char in[256];
    int n = 0;
    NEED(mincore((char *)map + at, 1 << 20, in) == 0);
    for (int i = 0; i < 256; i++)
        n += in[i] & 1;
    return n == 256 ? 1 : n ? -1 : 0;
}

static int ahead(void)
{
    mount_it();
    int fd = open("large", O_RDONLY);
    void *map = mmap(NULL, LARGE, PROT_READ, MAP_SHARED, fd, 0);
    NEED(fd >= 0 && map != MAP_FAILED && resident(map, 0) == 0);
    NEED(posix_fadvise(fd, 1 << 20, 1 << 20, POSIX_FADV_WILLNEED) == 0);
    NEED(readahead(fd, 4 << 20, 1 << 20) == 0);
    NEED(madvise((char *)map + (7 << 20), 1 << 20, MADV_WILLNEED) == 0);
    for (int i = 0; i < 100 && resident(map, 7 << 20) != 1; i++)
        usleep(20000);
    for (size_t mib = 0; mib < 7; mib += 1)
        NEED(resident(map, mib << 20) == (mib == 1 || mib == 4));
    NEED(resident(map, 7 << 20) == 1 && resident(map, 12 << 20) == 0);
    NEED(posix_fadvise(fd, 15 << 20, 0, POSIX_FADV_WILLNEED) == 0);
    NEED(resident(map, 15 << 20) == 1);
    NEED(posix_fadvise(fd, 1 << 20, 1 << 20, POSIX_FADV_DONTNEED) == 0);
    NEED(resident(map, 1 << 20) == 0);
    for (size_t at = 0; at < LARGE; at += 4096)
        NEED(*(uint32_t *)((char *)map + at) == at);
    NEED(readahead(fd, 100 << 20, 1 << 20) == 0 && readahead(fd, 0, 0) == 0);
    puts("ahead");
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(verb, "names"))
        return names();
    device = argc > 2 ? argv[2] : "";
    if (!strcmp(verb, "raw"))
        return raw();
    if (!strcmp(verb, "eio"))
        return eio();
    if (!strcmp(verb, "flush-eio"))
        return flush_eio();
    if (!strcmp(verb, "volume-eio"))
        return volume_eio();
    if (!strcmp(verb, "ahead"))
        return ahead();
    return sync_small(!strcmp(verb, "synced"));
}
