// SPDX-License-Identifier: BSD-2-Clause
// block.h: block devices: what a driver offers, and how the rest of the kernel reads and writes it.
//
// A driver fills a struct block_disk and adds it; the block layer finds its partitions and keeps its counters. A request moves a
// run of sectors to or from a list of memory segments. It is told by its `done`, in interrupt context or before
// block_submit returns. Nothing is ordered: what must be on the medium before something else is written goes first, then
// block_flush. Everybody above deals in struct block_device: a whole disk, or one partition of it.
//
// Locks: a disk's queue lock (the driver's) is a leaf; `done` is called without it and may take spinlocks and wake threads.
#pragma once

#include "core/base.h"
#include "core/list.h"
#include "core/lock.h"

#define SECTOR_SIZE 512u  // the unit of addresses, whatever the medium's own blocks are

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZERO };

struct block_segment {
    phys_t at;
    u32 bytes;  // a multiple of 512
};

struct block_disk;
struct block_request {
    enum block_op op;
    u32 n_segments;
    u64 sector,
        n_sectors;  // n_sectors: the sum of the segments; of BLOCK_DISCARD and BLOCK_ZERO the range
    const struct block_segment *segments;  // kept by the caller until done
    int result;                            // 0, -EIO, -EOPNOTSUPP
    void (*done)(struct block_request *r);
    void *arg;
    struct list link;  // the driver's, from submit to done
    u64 start_ns;      // the block layer's
    struct block_disk *disk;
};

struct block_disk_ops {
    void (*submit)(struct block_disk *d, struct block_request *r);  // full queues keep it
    void (*kick)(struct block_disk *d);  // tells the device of what was submitted, by any CPU
};

enum { BLOCK_STAT_READ, BLOCK_STAT_WRITE, BLOCK_STAT_DISCARD, BLOCK_STAT_FLUSH, BLOCK_N_STATS };
struct block_stats {  // atomic
    u64 ios, sectors, ns;
};

struct block_device {
    struct block_disk *disk;
    char name[16];       // vda, vda1
    u32 dev;             // MAKE_DEV form
    u32 partition;       // 0: the whole disk
    u64 first, sectors;  // on the disk
    bool read_only;
    u8 uuid[16];  // of a GPT partition
    struct block_stats stats[BLOCK_N_STATS];
    u32 in_flight;  // atomic
    u32 n_open;     // atomic: openers that write, and mounts
    bool claimed;   // [block_lock] mounted: others may only read
};

#define BLOCK_MAX_PARTITIONS 15
#define BLOCK_MAX_DISKS 24
enum { BLOCK_MAJOR_SD = 8, BLOCK_MAJOR_SR = 11, BLOCK_MAJOR_VD = 254, BLOCK_MAJOR_NVME = 259 };
struct block_disk {
    const struct block_disk_ops *ops;
    const char *prefix;  // "vd": the disk is vda, vdb, ...; NULL: the driver has written whole.name
    u32 major;           // of its device numbers: BLOCK_MAJOR_*
    u64 sectors;
    u32 block_bytes;        // smallest write the medium does: 512 or 4096, a multiple of 512
    u32 max_segments;       // of one request
    u32 max_segment_bytes;  // of one segment; a multiple of 512
    u32 max_range;          // sectors of one BLOCK_DISCARD or BLOCK_ZERO; 0: all
    bool whole_pages;       // two segments of a request meet at the border of a page in both
    bool read_only;
    bool has_flush;    // a write is stable only after one
    bool has_discard;  // else BLOCK_DISCARD is -EOPNOTSUPP
    bool has_zero;
    char serial[21];
    void *driver;
    // The block layer's:
    u32 minor;
    u32 n_parts;
    struct block_device whole, parts[BLOCK_MAX_PARTITIONS];
};

// Makes the disk known under the next free name of its prefix. => 0, -ENOSPC. Partitions are looked for by block_scan.
int block_disk_add(struct block_disk *d);
u32 block_disk_count(void);
struct block_disk *block_disk_at(u32 index);  // NULL
// Reads the partition tables of all disks, once. => May sleep
void block_scan(void);
// By name ("vda1"), or by what identifies it: "serial:TEXT", "PARTUUID=" and a GUID in lower case. => NULL
struct block_device *block_find(const char *name);
// Exclusive use for a file system. => -EBUSY
int block_claim(struct block_device *b);
void block_release(struct block_device *b);

// r->sector counts from the start of b. => done will be called with r->result, once, perhaps before this returns
// more: another follows at once, or block_kick: the device need not be told yet
void block_submit(struct block_device *b, struct block_request *r, bool more);
void block_kick(struct block_device *b);
// One request and its end. => 0, -EIO (also beyond the end), -EROFS, -EOPNOTSUPP. May sleep
int block_io(struct block_device *b, enum block_op op, u64 sector,
             const struct block_segment *segments, u32 n);
int block_rw(struct block_device *b, bool write, u64 sector, void *buf,
             u32 bytes);  // buf: kernel memory in a row
int block_range(struct block_device *b, enum block_op op, u64 sector,
                u64 n_sectors);           // discard, zero
int block_flush(struct block_device *b);  // at once 0 when the device keeps nothing back

// Many transfers under way at once: block_batch_add starts one, block_batch_wait ends when all have.
#define BATCH_SEGMENTS 16
struct block_batch {
    struct block_device *device;
    struct batch_part *open;  // being filled: grows as long as sectors follow each other
    u32 pending;              // atomic
    int error;
    struct thread *waiter;
    bool write, untold;  // untold: the device does not know of all
};
void block_batch_start(struct block_batch *b, struct block_device *device, bool write);
void block_batch_add(struct block_batch *b, u64 sector, void *buf, u32 bytes);
int block_batch_wait(struct block_batch *b);

// partition.c: reads GPT or MBR. => how many partitions it found; none and damaged tables: 0
u32 partition_scan(struct block_disk *d);
