// SPDX-License-Identifier: BSD-2-Clause
// Formats of disk images: telling them apart, and making them.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

// QEMU's name for the format of the disk image PATH, by its first bytes (a fixed VHD: by its last).
const char *disk_format(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char head[80] = "", tail[8] = "";
    off_t end;

    if (fd < 0)
        die("cannot read the disk %s: %s", path, strerror(errno));
    end = lseek(fd, 0, SEEK_END);
    if (pread(fd, head, sizeof(head), 0) < (ssize_t)sizeof(head) || end < SECTOR)
        die("%s is no disk image", path);
    if (pread(fd, tail, sizeof(tail), end - SECTOR) < 0)
        die("cannot read the disk %s: %s", path, strerror(errno));
    close(fd);
    if (!memcmp(head, "QFI\xfb", 4))
        return "qcow2";
    if (!memcmp(head, "KDMV", 4))
        return "vmdk";
    if (!memcmp(head + 64, "\x7f\x10\xda\xbe", 4))
        return "vdi";
    if (!memcmp(tail, "conectix", 8))
        return "vpc";
    return "raw";
}

// The architecture that a disk is for: what its root partition says. => x86_64 when that cannot be read
const char *disk_arch(const char *path, const char *disk_format)
{
    uint8_t type[16] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && (!strcmp(disk_format, "raw") || !strcmp(disk_format, "vpc")) &&
        pread(fd, type, sizeof(type), 2 * SECTOR + 128) < 0)
        memset(type, 0, sizeof(type));
    if (fd >= 0)
        close(fd);
    return memcmp(type, gpt_root_aarch64, 16) ? "x86_64" : "aarch64";
}
