// SPDX-License-Identifier: BSD-2-Clause
// blockdev.c: disks as files: /dev/vda and its partitions, /proc/partitions, /proc/diskstats, /sys/block.
//
// Reads and writes of a device go straight to it, through a buffer of their own, and are durable after fsync. A device that
// is mounted can be read but not opened for writing (EBUSY).
#include <stdio.h>

#include "block/block.h"
#include "fs/vfs_internal.h"

#define CHUNK (64u * 1024)
enum {
    BLKROGET = 0x125e,
    BLKRRPART = 0x125f,
    BLKGETSIZE = 0x1260,
    BLKFLSBUF = 0x1261,
    BLKSSZGET = 0x1268,
    BLKDISCARD = 0x1277,
    BLKIOMIN = 0x1278,
    BLKPBSZGET = 0x127b,
    BLKZEROOUT = 0x127f,
};
#define BLKBSZGET 0x80081270u
#define BLKGETSIZE64 0x80081272u

static struct block_device *device_of(u32 rdev)
{
    for (u32 i = 0; i < block_disk_count(); i++) {
        struct block_disk *d = block_disk_at(i);
        if (d->whole.dev == rdev)
            return &d->whole;
        for (u32 p = 0; p < d->n_parts; p++) {
            if (d->parts[p].dev == rdev)
                return &d->parts[p];
        }
    }
    return NULL;
}

static u64 device_bytes(const struct block_device *b) { return b->sectors * SECTOR_SIZE; }

static int device_open(struct inode *inode, struct file *f)
{
    struct block_device *b = device_of(inode->rdev);
    if (!b)
        return -ENXIO;
    if (f->fmode & FMODE_WRITE) {
        if (b->read_only)
            return -EROFS;
        int err = block_claim(b);  // not while it, or a part of it, is mounted
        if (err)
            return err;
        block_release(b);
    }
    f->data = b;
    return 0;
}

// One stretch within the buffer: whole sectors around [pos, pos + n), read first when the edges are cut.
static ssize_t move_chunk(struct block_device *b, struct uio *u, u64 pos, size_t n, char *buf,
                          bool write)
{
    u32 unit = b->disk->block_bytes;
    u64 start = ALIGN_DOWN(pos, (u64)unit),
        end = MIN(ALIGN_UP(pos + n, (u64)unit), device_bytes(b));
    bool whole = start == pos && end == pos + n;
    int err = write && whole ? 0 : block_rw(b, false, start / SECTOR_SIZE, buf, (u32)(end - start));
    if (err)
        return err;
    ssize_t moved =
        write ? uio_copy_from(u, buf + (pos - start), n) : uio_copy_to(u, buf + (pos - start), n);
    if (write && moved > 0)
        err = block_rw(b, true, start / SECTOR_SIZE, buf, (u32)(end - start));
    return err ? err : moved;
}

static ssize_t device_move(struct file *f, struct uio *u, loff_t *pos, bool write)
{
    struct block_device *b = f->data;
    u64 at = (u64)*pos, size = device_bytes(b);
    ssize_t done = 0, n = 0;
    struct page *page = page_alloc(5, 0);
    if (!page)
        return -ENOMEM;
    if (write && at >= size && u->remaining)
        n = -ENOSPC;
    while (n >= 0 && u->remaining && at < size) {
        size_t part = MIN(MIN((u64)u->remaining, size - at), (u64)CHUNK);
        n = move_chunk(b, u, at, part, page_address(page), write);
        if (n > 0) {
            at += (u64)n;
            done += n;
        }
        if (n < (ssize_t)part || thread_signal_pending())
            break;
        sched_point();
    }
    page_free(page, 5);
    *pos = (loff_t)at;
    if (done && write && (f->flags & O_DSYNC))
        n = block_flush(b);
    return done && (n >= 0 || !write) ? done : n < 0 ? n : done;
}

static ssize_t device_read(struct file *f, struct uio *to, loff_t *pos)
{
    return device_move(f, to, pos, false);
}
static ssize_t device_write(struct file *f, struct uio *from, loff_t *pos)
{
    return device_move(f, from, pos, true);
}

static loff_t device_lseek(struct file *f, loff_t offset, int whence)
{
    return vfs_lseek_generic(f, offset, whence, device_bytes(f->data));
}

static int device_fsync(struct file *f, bool data_only) { return block_flush(f->data); }

static long range_ioctl(struct file *f, enum block_op op, uptr_t arg)
{
    struct block_device *b = f->data;
    u64 range[2];
    if (!(f->fmode & FMODE_WRITE))
        return -EBADF;
    if (copy_from_user(range, arg, sizeof(range)))
        return -EFAULT;
    if ((range[0] | range[1]) % SECTOR_SIZE || range[0] + range[1] < range[0] ||
        range[0] + range[1] > device_bytes(b))
        return -EINVAL;
    for (u64 at = range[0] / SECTOR_SIZE, end = at + range[1] / SECTOR_SIZE; at < end;) {
        u64 n = MIN(end - at, 1ull << 20);
        int err = block_range(b, op, at, n);
        if (err)
            return err;
        at += n;
    }
    return 0;
}

static long put_int(uptr_t arg, u32 value)
{
    return copy_to_user(arg, &value, sizeof(value)) ? -EFAULT : 0;
}

static long device_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct block_device *b = f->data;
    switch (cmd) {
    case BLKGETSIZE64: return put_user_u64(arg, device_bytes(b)) ? -EFAULT : 0;
    case BLKGETSIZE: return put_user_u64(arg, b->sectors) ? -EFAULT : 0;
    case BLKSSZGET:
    case BLKPBSZGET:
    case BLKIOMIN: return put_int(arg, b->disk->block_bytes);
    case BLKBSZGET: return put_int(arg, PAGE_SIZE);
    case BLKROGET: return put_int(arg, b->read_only);
    case BLKFLSBUF: return block_flush(b);
    case BLKDISCARD: return range_ioctl(f, BLOCK_DISCARD, arg);
    case BLKZEROOUT: return range_ioctl(f, BLOCK_ZERO, arg);
    case BLKRRPART: return -EBUSY;  // partitions are read once
    default: return -ENOTTY;
    }
}

static const struct file_ops device_file_ops = {
    .open = device_open,
    .read = device_read,
    .write = device_write,
    .lseek = device_lseek,
    .ioctl = device_ioctl,
    .fsync = device_fsync,
};

const struct file_ops *blkdev_find(u32 rdev) { return device_of(rdev) ? &device_file_ops : NULL; }

// ------------------------------------------------------------------------------- generated files

typedef void (*show_fn)(struct seq_buf *out, const struct block_device *b);

static int show_each(struct seq_buf *out, show_fn show)
{
    for (u32 i = 0; i < block_disk_count(); i++) {
        struct block_disk *d = block_disk_at(i);
        show(out, &d->whole);
        for (u32 p = 0; p < d->n_parts; p++)
            show(out, &d->parts[p]);
    }
    return 0;
}

static void partition_line(struct seq_buf *out, const struct block_device *b)
{
    seq_printf(out, "%4u %8u %10llu %s\n", DEV_MAJOR(b->dev), DEV_MINOR(b->dev),
               (unsigned long long)(b->sectors / 2), b->name);
}

static int show_partitions(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "major minor  #blocks  name\n\n");
    return show_each(out, partition_line);
}

// Fields as in the kernel's documentation (iostats): merges are not counted apart, they are 0.
static void stat_fields(struct seq_buf *out, const struct block_device *b)
{
    u64 busy = 0;
    for (u32 i = 0; i < BLOCK_N_STATS; i++)
        busy += b->stats[i].ns / 1000000;
    for (u32 i = 0; i < 2; i++) {
        const struct block_stats *s = &b->stats[i];
        seq_printf(out, "%llu 0 %llu %llu ", (unsigned long long)s->ios,
                   (unsigned long long)s->sectors, (unsigned long long)(s->ns / 1000000));
    }
    const struct block_stats *d = &b->stats[BLOCK_STAT_DISCARD], *f = &b->stats[BLOCK_STAT_FLUSH];
    seq_printf(out, "%u %llu %llu ", b->in_flight, (unsigned long long)busy,
               (unsigned long long)busy);
    seq_printf(out, "%llu 0 %llu %llu %llu %llu\n", (unsigned long long)d->ios,
               (unsigned long long)d->sectors, (unsigned long long)(d->ns / 1000000),
               (unsigned long long)f->ios, (unsigned long long)(f->ns / 1000000));
}

static void diskstats_line(struct seq_buf *out, const struct block_device *b)
{
    seq_printf(out, "%4u %7u %s ", DEV_MAJOR(b->dev), DEV_MINOR(b->dev), b->name);
    stat_fields(out, b);
}

static int show_diskstats(struct seq_buf *out, u64 arg) { return show_each(out, diskstats_line); }

static int show_size(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)((const struct block_device *)arg)->sectors);
    return 0;
}
static int show_start(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n", (unsigned long long)((const struct block_device *)arg)->first);
    return 0;
}
static int show_partition(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%u\n", ((const struct block_device *)arg)->partition);
    return 0;
}
static int show_ro(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%d\n", ((const struct block_device *)arg)->read_only);
    return 0;
}
static int show_dev(struct seq_buf *out, u64 arg)
{
    const struct block_device *b = (const struct block_device *)arg;
    seq_printf(out, "%u:%u\n", DEV_MAJOR(b->dev), DEV_MINOR(b->dev));
    return 0;
}
static int show_stat(struct seq_buf *out, u64 arg)
{
    stat_fields(out, (const struct block_device *)arg);
    return 0;
}
static int show_serial(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", ((const struct block_device *)arg)->disk->serial);
    return 0;
}

static const struct gen_ops partitions_ops = {.show = show_partitions},
                            diskstats_ops = {.show = show_diskstats},
                            size_ops = {.show = show_size}, start_ops = {.show = show_start},
                            partition_ops = {.show = show_partition}, ro_ops = {.show = show_ro},
                            dev_ops = {.show = show_dev}, stat_ops = {.show = show_stat},
                            serial_ops = {.show = show_serial};

static void add_file(const char *dir, const char *name, const struct gen_ops *ops,
                     const struct block_device *b)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    gen_create(
        path, &(struct gen_entry){.name = name, .mode = S_IFREG | 0444, .ops = ops, .arg = (u64)b});
}

static void add_device(const struct block_device *b)
{
    char path[64];
    snprintf(path, sizeof(path), "/dev/%s", b->name);
    gen_create(path, &(struct gen_entry){.name = b->name, .mode = S_IFBLK | 0660, .rdev = b->dev});
    if (b->partition)
        snprintf(path, sizeof(path), "/sys/block/%s/%s", b->disk->whole.name, b->name);
    else
        snprintf(path, sizeof(path), "/sys/block/%s", b->name);
    add_file(path, "size", &size_ops, b);
    add_file(path, "ro", &ro_ops, b);
    add_file(path, "dev", &dev_ops, b);
    add_file(path, "stat", &stat_ops, b);
    if (b->partition) {
        add_file(path, "start", &start_ops, b);
        add_file(path, "partition", &partition_ops, b);
    } else {
        add_file(path, "serial", &serial_ops, b);
    }
}

void blockdev_init(void)
{
    static struct mutex once = MUTEX_INIT(once);
    static bool done;
    mutex_lock(&once);
    if (!done && block_disk_count()) {
        block_scan();
        for (u32 i = 0; i < block_disk_count(); i++) {
            struct block_disk *d = block_disk_at(i);
            add_device(&d->whole);
            for (u32 p = 0; p < d->n_parts; p++)
                add_device(&d->parts[p]);
        }
        gen_create("/proc/partitions", &(struct gen_entry){.name = "partitions",
                                                           .mode = S_IFREG | 0444,
                                                           .ops = &partitions_ops});
        gen_create("/proc/diskstats", &(struct gen_entry){.name = "diskstats",
                                                          .mode = S_IFREG | 0444,
                                                          .ops = &diskstats_ops});
    }
    done = true;
    mutex_unlock(&once);
}
