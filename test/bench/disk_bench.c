// SPDX-License-Identifier: BSD-2-Clause
// The program of the disk rows: works on an ext4 volume and prints for each kind of work how many operations there were
// and the nanoseconds that they took; disk_mark is called before and behind each (count_plugin.c).
//
//	disk_bench DEVICE DIRECTORY	the volume is on DIRECTORY, or is mounted there; "cold" work begins with an empty page cache,
//					for which it is unmounted and mounted
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK = 65536,
    PAGE = 4096,
    FILE_MIB = 256,
    SMALL = 200,
    RANDOM = 2000,
    SYNCS = 200,
    ROWS = 5000
};
#define FILE_BYTES ((off_t)FILE_MIB << 20)

static const char *device, *directory;
static char block[BLOCK];
static uint64_t began;

__attribute__((noinline)) void disk_mark(void) { __asm__ volatile("" ::: "memory"); }

static void check(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void begin(void)
{
    began = now();
    disk_mark();
}

static void end(const char *key, long n)
{
    disk_mark();
    printf("disk %s %ld %llu\n", key, n, (unsigned long long)(now() - began));
    fflush(stdout);
}

static void mount_volume(void) { check(mount(device, directory, "ext4", 0, NULL) == 0, "mount"); }

static void make_cold(void)
{
    check(chdir("/") == 0 && umount(directory) == 0, "umount");
    mount_volume();
    check(chdir(directory) == 0, "chdir");
}

static uint32_t next(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 4;
}

static int open_big(int flags)
{
    int fd = open("big", flags, 0644);
    check(fd >= 0, "big");
    return fd;
}

static off_t random_page(void) { return (off_t)(next() % (FILE_BYTES / PAGE)) * PAGE; }

static void small_files(void)
{
    struct stat st;
    char name[32];
    begin();
    for (int i = 0; i < SMALL; i++) {
        snprintf(name, sizeof name, "small-%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0644);
        check(fd >= 0 && write(fd, block, PAGE) == PAGE, name);
        close(fd);
    }
    end("create", SMALL);
    begin();
    for (int i = 0; i < 20 * SMALL; i++) {
        snprintf(name, sizeof name, "small-%d", i % SMALL);
        check(stat(name, &st) == 0, name);
    }
    end("stat", 20 * SMALL);
    begin();
    for (int i = 0; i < 20 * SMALL; i++) {
        snprintf(name, sizeof name, "small-%d", i % SMALL);
        int fd = open(name, O_RDONLY);
        check(fd >= 0 && read(fd, block, PAGE) == PAGE, name);
        close(fd);
    }
    end("open", 20 * SMALL);
}

static void streams(void)
{
    int fd = open_big(O_CREAT | O_WRONLY | O_TRUNC);
    begin();
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
        check(write(fd, block, BLOCK) == BLOCK, "write");
    check(fsync(fd) == 0, "fsync");
    end("write", FILE_MIB);
    close(fd);
    make_cold();
    fd = open_big(O_RDONLY);
    begin();
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
        check(read(fd, block, BLOCK) == BLOCK, "read");
    end("read", FILE_MIB);
    begin();
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
        check(pread(fd, block, BLOCK, at) == BLOCK, "read");
    end("cached", FILE_MIB);
    close(fd);
}

static void mapped(void)
{
    volatile char sum = 0;
    make_cold();
    int fd = open_big(O_RDONLY);
    char *p = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    check(p != MAP_FAILED, "mmap");
    begin();
    for (off_t at = 0; at < FILE_BYTES; at += PAGE)
        sum += p[at];
    end("mmap", FILE_MIB);
    munmap(p, FILE_BYTES);
    close(fd);
}

static void random_work(void)
{
    make_cold();
    int fd = open_big(O_RDWR);
    begin();
    for (int i = 0; i < RANDOM; i++)
        check(pread(fd, block, PAGE, random_page()) == PAGE, "pread");
    end("random-read", RANDOM);
    begin();
    for (int i = 0; i < RANDOM; i++)
        check(pwrite(fd, block, PAGE, random_page()) == PAGE, "pwrite");
    check(fsync(fd) == 0, "fsync");
    end("random-write", RANDOM);
    begin();
    for (int i = 0; i < SYNCS; i++)
        check(pwrite(fd, block, PAGE, random_page()) == PAGE && fdatasync(fd) == 0, "fdatasync");
    end("fdatasync", SYNCS);
    close(fd);
    fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
    begin();
    for (int i = 0; i < SYNCS; i++)
        check(write(fd, block, 200) == 200 && fsync(fd) == 0, "fsync");
    end("fsync", SYNCS);
    close(fd);
}

static void sql(sqlite3 *db, const char *text)
{
    char *why = NULL;
    if (sqlite3_exec(db, text, NULL, NULL, &why) == SQLITE_OK)
        return;
    fprintf(stderr, "%s: %s\n", text, why);
    exit(1);
}

static void database(void)
{
    sqlite3 *db;
    char text[128];
    check(sqlite3_open("base.db", &db) == SQLITE_OK, "base.db");
    sql(db, "create table t (id integer primary key, name text, n integer)");
    begin();
    sql(db, "begin");
    for (int i = 0; i < ROWS; i++) {
        snprintf(text, sizeof text, "insert into t (name, n) values ('row number %d', %u)", i,
                 next());
        sql(db, text);
    }
    sql(db, "commit");
    end("sqlite", ROWS);
    begin();
    for (int i = 0; i < SYNCS / 2; i++) {
        snprintf(text, sizeof text, "insert into t (name, n) values ('by itself %d', %u)", i,
                 next());
        sql(db, text);
    }
    end("sqlite-each", SYNCS / 2);
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: disk_bench DEVICE DIRECTORY\n");
        return 2;
    }
    device = argv[1], directory = argv[2];
    mkdir(directory, 0755);
    if (mount(device, directory, "ext4", 0, NULL) && errno != EBUSY)
        check(0, "mount");
    check(chdir(directory) == 0, "chdir");
    memset(block, 'x', sizeof block);
    small_files();
    streams();
    mapped();
    random_work();
    database();
    printf("disk end\n");
    return 0;
}
