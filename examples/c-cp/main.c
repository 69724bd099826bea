// SPDX-License-Identifier: BSD-2-Clause
// cp that keeps holes: the data of a file is found with SEEK_DATA and SEEK_HOLE and copied to its place, and nothing is
// written between. Without arguments it makes a file with holes first, and shows both.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_range(int from, int to, off_t at, off_t end)
{
    while (at < end) {
        off_t in = at, out = at;
        ssize_t n = copy_file_range(from, &in, to, &out, end - at, 0);
        if (n <= 0)
            return -1;
        at += n;
    }
    return 0;
}

static int copy(const char *from_path, const char *to_path)
{
    int from = open(from_path, O_RDONLY), to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    struct stat st;
    off_t data = 0, hole;

    if (from < 0 || to < 0 || fstat(from, &st))
        return -1;
    while ((data = lseek(from, data, SEEK_DATA)) >= 0) {
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || copy_range(from, to, data, hole))
            return -1;
        data = hole;
    }
    return ftruncate(to, st.st_size) || close(from) || close(to) ? -1 : 0;
}

static int make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || pwrite(fd, "begin", 5, 0) != 5 || pwrite(fd, "middle", 6, 10 << 20) != 6 ||
        pwrite(fd, "end", 3, (30 << 20) + 5000) != 3 || ftruncate(fd, 100 << 20))
        return -1;
    return close(fd);
}

static void show(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    char middle[7] = "", end[4] = "";

    if (fd < 0 || fstat(fd, &st) || pread(fd, middle, 6, 10 << 20) != 6 ||
        pread(fd, end, 3, (30 << 20) + 5000) != 3)
        return;
    printf("%s: %lld bytes in %lld blocks, %s, %s; data at", path, (long long)st.st_size,
           (long long)st.st_blocks, middle, end);
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; at = lseek(fd, at, SEEK_HOLE))
        printf(" %lld", (long long)at);
    putchar('\n');
    close(fd);
}

int main(int argc, char **argv)
{
    const char *from = argc == 3 ? argv[1] : "/tmp/holes", *to = argc == 3 ? argv[2] : "/tmp/copy";

    if ((argc != 3 && make(from)) || copy(from, to)) {
        perror("cp");
        return 1;
    }
    if (argc != 3) {
        show(from);
        show(to);
    }
    return 0;
}
