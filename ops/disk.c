// SPDX-License-Identifier: BSD-2-Clause
// A disk image out of loaders, kernel and root image. The same input gives the same bytes: identifiers are made from what
// the disk holds, and every date is SOURCE_DATE_EPOCH.
#include "disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096, PIECE = 1 << 20 };

struct disk {
    int fd;
    const char *path;
    const struct disk_request *request;
    struct fat fat;
    struct boot_record record;
    uint64_t sectors;
    uint8_t guid[16];
};

static void write_at(const struct disk *disk, const void *bytes, size_t len, uint64_t at)
{
    const char *p = bytes;

    while (len) {
        ssize_t n = pwrite(disk->fd, p, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            die("cannot write %s: %s", disk->path,
                n ? strerror(errno) : "no space left on the device");
        p += n;
        at += n;
        len -= n;
    }
}

// ---- identifiers

struct hash {
    uint64_t low, high;
};

static void hash_add(struct hash *hash, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    for (; len--; p++) {  // FNV-1a, twice
        hash->low = (hash->low ^ *p) * 0x100000001b3;
        hash->high = (hash->high ^ *p ^ 0x55) * 0x100000001b3;
    }
}

// A GUID of version 8 (RFC 9562) for the part NUMBER of what was hashed.
static void make_guid(uint8_t guid[16], struct hash hash, uint8_t number)
{
    hash_add(&hash, &number, 1);
    put64(guid, hash.low);
    put64(guid + 8, hash.high);
    guid[7] = (guid[7] & 0x0f) | 0x80;
    guid[8] = (guid[8] & 0x3f) | 0x80;
}

// As it is written: the first three fields are little endian on the disk.
static const char *guid_text(const uint8_t g[16])
{
    return format("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[3],
                  g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13],
                  g[14], g[15]);
}

// ---- the root image

// Reads it once in whole, piece by piece. => EACH gets every piece with its place
static void each_piece(struct disk *disk,
                       void (*each)(struct disk *, const uint8_t *, size_t, uint64_t, void *),
                       void *arg)
{
    uint8_t *piece = xalloc(PIECE);

    for (uint64_t at = 0; at < disk->request->root_bytes;) {
        ssize_t n = pread(disk->request->root, piece, PIECE, at);
        if (n <= 0)
            die("cannot read the root image: %s", n ? strerror(errno) : "it is cut short");
        each(disk, piece, n, at, arg);
        at += n;
    }
    free(piece);
}

static void hash_piece(struct disk *disk, const uint8_t *bytes, size_t len, uint64_t at, void *hash)
{
    (void)disk;
    (void)at;
    hash_add(hash, bytes, len);
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return !len || (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}

static void copy_piece(struct disk *disk, const uint8_t *bytes, size_t len, uint64_t at,
                       void *unused)
{
    (void)unused;
    for (size_t i = 0; i < len; i += BLOCK) {
        size_t n = len - i < BLOCK ? len - i : BLOCK;
        if (!all_zero(bytes + i, n))
            write_at(disk, bytes + i, n, disk->record.root_sector * SECTOR + at + i);
    }
}

// ---- the parts of the disk

static uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

static void write_tables(const struct disk *disk, const uint8_t *bios, size_t bios_bytes,
                         struct hash hash)
{
    static uint8_t start[(GPT_SECTORS + 1) * SECTOR], end[GPT_SECTORS * SECTOR];
    const bool arm = !bios;
    struct gpt_partition partitions[3] = {
        {gpt_bios_boot, {0}, RECORD_SECTOR, ESP_SECTOR - 1, "bios"},
        {gpt_efi_system, {0}, ESP_SECTOR, ESP_SECTOR + disk->fat.sectors - 1, "efi"},
        {arm ? gpt_root_aarch64 : gpt_root_x86_64,
         {0},
         disk->record.root_sector,
         disk->record.root_sector + disk->record.root_bytes / SECTOR - 1,
         "root"},
    };

    for (int i = 0; i < 3; i++)
        make_guid(partitions[i].guid, hash, i + 1);
    memset(start, 0, sizeof(start));
    memset(end, 0, sizeof(end));
    if (bios) {
        memcpy(start, bios, 440);
        write_at(disk, &disk->record, sizeof(disk->record), (uint64_t)RECORD_SECTOR * SECTOR);
        write_at(disk, bios + SECTOR, bios_bytes - SECTOR, (uint64_t)STAGE2_SECTOR * SECTOR);
    }
    gpt_make(start, end, disk->sectors, disk->guid, arm ? partitions + 1 : partitions, arm ? 2 : 3);
    write_at(disk, start, sizeof(start), 0);
    write_at(disk, end, sizeof(end), (disk->sectors - GPT_SECTORS) * SECTOR);
}

static void set_words(struct disk *disk, const char *words)
{
    if (strlen(words) >= RECORD_WORDS)
        die("the kernel's command line is longer than %d bytes", RECORD_WORDS - 1);
    strcpy(disk->record.words, words);
}

uint64_t disk_write(int fd, const char *path, const struct disk_request *request)
{
    const bool arm = !strcmp(request->arch, "aarch64");
    struct disk disk = {.fd = fd, .path = path, .request = request, .fat.epoch = image_epoch()};
    struct hash hash = {0xcbf29ce484222325, 0x84222325cbf29ce4};
    size_t bios_bytes = 0, efi_bytes, kernel_bytes;
    uint8_t *bios =
        arm ? NULL
            : file_bytes(machine_loader(request->kernel, request->arch, "lethe-boot.bios"),
                         &bios_bytes);
    uint8_t *efi =
        file_bytes(machine_loader(request->kernel, request->arch, "lethe-boot.efi"), &efi_bytes);
    uint8_t *kernel = file_bytes(request->kernel, &kernel_bytes);
    struct fat_file files[] = {
        {arm ? "BOOTAA64EFI" : "BOOTX64 EFI", true, efi, efi_bytes},
        {"KERNEL     ", false, kernel, kernel_bytes},
        {"BOOT       ", false, &disk.record, sizeof(disk.record)},
    };

    if (bios && (bios_bytes <= SECTOR || bios_bytes > (1 + STAGE2_SECTORS) * SECTOR))
        die("the loader lethe-boot.bios is damaged");
    set_words(&disk, request->words);
    hash_add(&hash, efi, efi_bytes);
    hash_add(&hash, kernel, kernel_bytes);
    hash_add(&hash, disk.record.words, sizeof(disk.record.words));
    hash_add(&hash, &request->root_stays, sizeof(request->root_stays));
    each_piece(&disk, hash_piece, &hash);
    make_guid(disk.guid, hash, 0);
    disk.fat.serial = hash.low;
    fat_plan(&disk.fat, files, sizeof(files) / sizeof(files[0]));
    // hosts are little endian, as the record is
    memcpy(disk.record.magic, RECORD_MAGIC, sizeof(disk.record.magic));
    disk.record.kernel_sector = ESP_SECTOR + files[1].sector;
    disk.record.kernel_bytes = kernel_bytes;
    disk.record.root_sector = ESP_SECTOR + disk.fat.sectors;
    disk.record.root_bytes = request->root_bytes;
    disk.record.load_bytes = request->root_stays ? 0 : request->root_bytes;
    make_guid(disk.record.root_guid, hash, 3);
    if (request->root_stays)
        set_words(&disk,
                  format("%s root=PARTUUID=%s", request->words, guid_text(disk.record.root_guid)));
    disk.sectors =
        round_up((ESP_SECTOR + disk.fat.sectors + GPT_SECTORS) * SECTOR + request->root_bytes,
                 BLOCK) /
        SECTOR;
    if (ftruncate(fd, disk.sectors * SECTOR))
        die("cannot write %s: %s", path, strerror(errno));
    write_at(&disk, fat_make(&disk.fat, files, sizeof(files) / sizeof(files[0])),
             disk.fat.sectors * SECTOR, (uint64_t)ESP_SECTOR * SECTOR);
    each_piece(&disk, copy_piece, NULL);
    write_tables(&disk, bios, bios_bytes, hash);
    free(disk.fat.bytes);
    free(bios);
    free(efi);
    free(kernel);
    return disk.sectors * SECTOR;
}

uint64_t disk_fit(int fd, const char *path, uint64_t unit)
{
    static uint8_t start[(GPT_SECTORS + 1) * SECTOR], end[GPT_SECTORS * SECTOR],
        zeros[GPT_SECTORS * SECTOR];
    struct disk disk = {.fd = fd, .path = path};
    uint64_t old = lseek(fd, 0, SEEK_END), bytes = round_up(old, unit);

    if (bytes == old)
        return bytes;
    memset(end, 0, sizeof(end));
    if (old < 2 * sizeof(start) || pread(fd, start, sizeof(start), 0) != sizeof(start) ||
        !gpt_resize(start, end, bytes / SECTOR))
        die("%s has no partition table of ours: its size, which must be a multiple of %llu bytes, cannot be changed",
            path, (unsigned long long)unit);
    if (ftruncate(fd, bytes))
        die("cannot write %s: %s", path, strerror(errno));
    write_at(&disk, zeros, sizeof(zeros), old - sizeof(zeros));
    write_at(&disk, end, sizeof(end), bytes - sizeof(end));
    write_at(&disk, start, sizeof(start), 0);
    return bytes;
}
