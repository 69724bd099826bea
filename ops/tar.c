// SPDX-License-Identifier: BSD-2-Clause
// Tar files, as much as clouds and hypervisors want of them: plain files, and one with holes (GNU tar manual, "Basic Tar
// Format"; the old GNU form of sparse files).
#include "tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

enum { BLOCK = 512, PIECE = 65536, CHECKSUM = 148 };

static void put_octal(uint8_t *to, int digits, uint64_t value)
{
    for (to[digits] = 0; digits--; value /= 8)
        to[digits] = '0' + value % 8;
}

static void begin_header(uint8_t *header, const char *name, uint64_t bytes, char type)
{
    memset(header, 0, BLOCK);
    snprintf((char *)header, 100, "%s", name);
    put_octal(header + 100, 7, 0644);
    put_octal(header + 108, 7, 0);
    put_octal(header + 116, 7, 0);
    put_octal(header + 124, 11, bytes);
    put_octal(header + 136, 11, image_epoch());
    header[156] = type;
    memcpy(header + 257, "ustar  ", 8);
}

static void end_header(int out, const char *path, uint8_t *header)
{
    unsigned sum = 0;

    memset(header + CHECKSUM, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += header[i];
    put_octal(header + CHECKSUM, 6, sum);
    write_all(out, path, header, BLOCK);
}

static void copy(int out, const char *path, int from, uint64_t at, uint64_t bytes)
{
    static uint8_t piece[PIECE], zeros[BLOCK];

    for (uint64_t left = bytes; left;) {
        ssize_t n = pread(from, piece, left < PIECE ? left : PIECE, at);
        if (n <= 0)
            die("cannot read the image: %s", n ? strerror(errno) : "it is cut short");
        write_all(out, path, piece, n);
        at += n;
        left -= n;
    }
    if (bytes % BLOCK)
        write_all(out, path, zeros, BLOCK - bytes % BLOCK);
}

void tar_folder(int out, const char *path, const char *name)
{
    uint8_t header[BLOCK];

    begin_header(header, name, 0, '5');
    put_octal(header + 100, 7, 0755);
    end_header(out, path, header);
}

void tar_file(int out, const char *path, const char *name, int from, uint64_t bytes)
{
    uint8_t header[BLOCK];

    begin_header(header, name, bytes, '0');
    end_header(out, path, header);
    copy(out, path, from, 0, bytes);
}

// The last sector of the file below END that is not zero. => its end, in bytes
static uint64_t data_end(int fd, uint64_t end)
{
    static const uint8_t zeros[PIECE];
    static uint8_t piece[PIECE];

    while (end) {
        size_t n = end % PIECE ? end % PIECE : PIECE;
        if (pread(fd, piece, n, end - n) != (ssize_t)n)
            die("cannot read the image: %s", strerror(errno));
        if (memcmp(piece, zeros, n))
            return end;
        end -= n;
    }
    return 0;
}

void tar_sparse_disk(int out, const char *path, const char *name, int disk, uint64_t bytes)
{
    uint64_t tail = GPT_SECTORS * SECTOR, head = data_end(disk, bytes - tail);
    uint8_t header[BLOCK], *entry = header + 386;

    begin_header(header, name, head + tail, 'S');
    put_octal(entry, 11, 0);
    put_octal(entry + 12, 11, head);
    put_octal(entry + 24, 11, bytes - tail);
    put_octal(entry + 36, 11, tail);
    put_octal(entry + 48, 11, bytes);  // closes the list, where the file ends
    put_octal(entry + 60, 11, 0);
    put_octal(header + 483, 11, bytes);
    end_header(out, path, header);
    copy(out, path, disk, 0, head);
    copy(out, path, disk, bytes - tail, tail);
}

void tar_end(int out, const char *path)
{
    static const uint8_t zeros[2 * BLOCK];

    write_all(out, path, zeros, sizeof(zeros));
}
