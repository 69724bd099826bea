// SPDX-License-Identifier: BSD-2-Clause
// scsi.c: SCSI commands for requests of the block layer, and how disks are found and asked what they are (SPC-4, SBC-3).
//
// What a disk says of itself is cut to what the block layer can do; a disk that says nonsense is not used.
#include "platform/disk/scsi.h"

#include <stdio.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "mm/page.h"

enum {  // operation codes
    TEST_UNIT_READY = 0x00,
    INQUIRY = 0x12,
    MODE_SENSE_6 = 0x1a,
    SYNCHRONIZE_CACHE_10 = 0x35,
    UNMAP = 0x42,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    WRITE_SAME_16 = 0x93,
    SERVICE_ACTION_IN_16 = 0x9e,
    READ_CAPACITY_16 = 0x10,  // a service action
    REPORT_LUNS = 0xa0,
};
enum { TYPE_DISK = 0, TYPE_CD = 5 };  // of INQUIRY
enum { PAGE_SERIAL = 0x80, PAGE_LIMITS = 0xb0, PAGE_PROVISIONING = 0xb2 };
#define WRITE_SAME_UNMAP 0x08
#define WRITE_PROTECTED 0x80  // of the mode header's third byte
#define PROVISIONING_UNMAP 0x80
#define SENSE_ILLEGAL_REQUEST 5
#define TRIES 4          // a unit tells of its reset in place of the first answers
#define PAGE_BYTES 252u  // of vital product data that is asked for
#define MAX_LUNS 8

static void put32(u8 *p, u32 value)
{
    for (u32 i = 0; i < 4; i++)
        p[i] = (u8)(value >> (24 - 8 * i));
}
static void put64(u8 *p, u64 value)
{
    put32(p, value >> 32);
    put32(p + 4, (u32)value);
}
static u32 get32(const u8 *p) { return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3]; }
static u64 get64(const u8 *p) { return (u64)get32(p) << 32 | get32(p + 4); }

// ------------------------------------------------------------------------------- requests

static u8 zeros[PAGE_SIZE] __aligned(PAGE_SIZE);

// One descriptor (SBC-3, 5.28).
static void unmap(struct scsi_command *c, u64 block, u32 n_blocks)
{
    c->cdb[0] = UNMAP;
    c->cdb[8] = SCSI_RANGE_BYTES;
    c->range[1] = SCSI_RANGE_BYTES - 2;
    c->range[3] = SCSI_RANGE_BYTES - 8;
    put64(c->range + 8, block);
    put32(c->range + 16, n_blocks);
    c->data_bytes = SCSI_RANGE_BYTES;
}

void scsi_command(const struct block_request *r, struct scsi_command *c)
{
    static const u8 codes[] = {[BLOCK_READ] = READ_16,
                               [BLOCK_WRITE] = WRITE_16,
                               [BLOCK_FLUSH] = SYNCHRONIZE_CACHE_10,
                               [BLOCK_ZERO] = WRITE_SAME_16,
                               [BLOCK_DISCARD] = UNMAP};
    const struct scsi_disk *d = scsi_disk_of(r);
    u64 block = r->sector >> d->shift, n = r->n_sectors >> d->shift;
    *c = (struct scsi_command){.cdb = {codes[r->op]}};
    if (r->op == BLOCK_DISCARD) {
        unmap(c, block, (u32)n);
    } else if (r->op != BLOCK_FLUSH) {  // that of everything is all zero
        put64(c->cdb + 2, block);
        put32(c->cdb + 10, (u32)n);
        if (r->op == BLOCK_ZERO) {  // QEMU takes the bit that says "no data", and then does nothing
            c->cdb[1] = WRITE_SAME_UNMAP;
            c->zeros = virt_to_phys(zeros);
            c->data_bytes = d->disk.block_bytes;
        }
    }
}

// Sense data comes in two forms (SPC-4, 4.5).
static u32 sense_key(const u8 *sense)
{
    u32 form = sense[0] & 0x7f;
    return form == 0x72 || form == 0x73 ? sense[1] & 15 : sense[2] & 15;
}

int scsi_result(u32 status, const u8 *sense)
{
    if (status == SCSI_GOOD)
        return 0;
    return status == SCSI_CHECK_CONDITION && sense_key(sense) == SENSE_ILLEGAL_REQUEST ? -EOPNOTSUPP
                                                                                       : -EIO;
}

// ------------------------------------------------------------------------------- what there is

struct unit {
    struct scsi_adapter *a;
    u32 target, lun;
    u8 *data;  // SCSI_DATA_BYTES
    u8 sense[SCSI_SENSE_BYTES];
};

// => 0 and the data, zero where nothing came; -ENODEV no such target; -EIO
static int ask(struct unit *u, const u8 *cdb, u32 bytes)
{
    int status = -EIO;
    for (u32 i = 0; i < TRIES && status; i++) {
        memset(u->data, 0, SCSI_DATA_BYTES);
        memset(u->sense, 0, sizeof(u->sense));
        status = u->a->execute(u->a, u->target, u->lun, cdb, u->data, bytes, u->sense);
        if (status == -ENODEV || (status > 0 && sense_key(u->sense) == SENSE_ILLEGAL_REQUEST))
            break;
    }
    return status <= 0 ? status : -EIO;
}

// A page of vital product data. => its length, 0: the disk has no such page
static u32 ask_page(struct unit *u, u8 page)
{
    u8 cdb[SCSI_CDB_BYTES] = {INQUIRY, 1, page, 0, PAGE_BYTES};
    if (ask(u, cdb, PAGE_BYTES) || u->data[1] != page)
        return 0;
    return MIN((u32)u->data[2] << 8 | u->data[3], PAGE_BYTES - 4u);
}

static void read_serial(struct unit *u, struct block_disk *d)
{
    u32 n = ask_page(u, PAGE_SERIAL), from = 0;
    while (from < n && u->data[4 + from] == ' ')
        from++;
    memcpy(d->serial, u->data + 4 + from, MIN(n - from, (u32)sizeof(d->serial) - 1));
}

static void read_limits(struct unit *u, struct scsi_disk *s)
{
    struct block_disk *d = &s->disk;
    u32 n = ask_page(u, PAGE_PROVISIONING);
    d->has_discard = n >= 2 && (u->data[5] & PROVISIONING_UNMAP);
    n = ask_page(u, PAGE_LIMITS);
    u32 transfer = n >= 8 ? get32(u->data + 8) : 0, discard = n >= 20 ? get32(u->data + 20) : 0;
    u64 same = n >= 40 ? get64(u->data + 36) : 0;
    d->has_zero = same != 0;
    d->has_discard &= discard != 0;
    u64 blocks = MIN(same ? same : BIT(21), discard ? discard : BIT(21));
    d->max_range = (u32)MIN(blocks << s->shift, BIT(21));
    u64 most = transfer ? (u64)transfer << s->shift << 9 : UINT64_MAX;
    if (most < (u64)d->max_segments * d->max_segment_bytes) {
        d->max_segment_bytes = (u32)PAGE_SIZE;
        d->max_segments = (u32)MIN(MAX(most / PAGE_SIZE, 1ull), (u64)d->max_segments);
    }
}

// => 0, -EIO: no medium, or blocks that cannot be used
static int read_capacity(struct unit *u, struct scsi_disk *s)
{
    u8 cdb[SCSI_CDB_BYTES] = {SERVICE_ACTION_IN_16, READ_CAPACITY_16, [13] = 32};
    int err = ask(u, cdb, 32);
    u64 last = get64(u->data);
    u32 bytes = get32(u->data + 8);
    if (err || last >= BIT(50) || bytes < SECTOR_SIZE || bytes > PAGE_SIZE || (bytes & (bytes - 1)))
        return -EIO;
    s->shift = (u32)__builtin_ctz(bytes / SECTOR_SIZE);
    s->disk.block_bytes = bytes;
    s->disk.sectors = (last + 1) << s->shift;
    return 0;
}

// A CD is a disk that is not written, of a name and number of its own.
static void make_cd(struct block_disk *d)
{
    static u32 n_found;
    snprintf(d->whole.name, sizeof(d->whole.name), "sr%u", n_found++);
    d->prefix = NULL;
    d->major = BLOCK_MAJOR_SR;
    d->read_only = true;
}

static int add_disk(struct unit *u, bool is_cd)
{
    static const u8 ready[SCSI_CDB_BYTES] = {TEST_UNIT_READY},
                    mode[SCSI_CDB_BYTES] = {MODE_SENSE_6, 8, 0x3f, 0, 192};
    struct scsi_disk *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->adapter = u->a;
    s->target = u->target;
    s->lun = u->lun;
    s->disk.ops = u->a->disk_ops;
    s->disk.prefix = "sd";
    s->disk.major = BLOCK_MAJOR_SD;
    s->disk.has_flush = true;
    s->disk.max_segments = u->a->max_segments;
    s->disk.max_segment_bytes = u->a->max_segment_bytes;
    if (ask(u, ready, 0) || read_capacity(u, s)) {
        log_warn("SCSI target %u, unit %u: no medium of blocks that can be used", u->target,
                 u->lun);
        kfree(s);
        return 0;
    }
    s->disk.read_only = ask(u, mode, 192) == 0 && (u->data[2] & WRITE_PROTECTED);
    read_serial(u, &s->disk);
    read_limits(u, s);
    if (is_cd)
        make_cd(&s->disk);
    return block_disk_add(&s->disk);
}

// The units of a target, or the first when it has no list. => how many, -ENODEV, -EIO
static int list_units(struct unit *u, u32 *luns)
{
    u8 cdb[SCSI_CDB_BYTES] = {REPORT_LUNS};
    put32(cdb + 6, SCSI_DATA_BYTES);
    u->lun = 0;
    int err = ask(u, cdb, SCSI_DATA_BYTES), n = 0;
    if (err == -ENODEV)
        return err;
    luns[0] = 0;
    if (err)
        return 1;
    u32 bytes = MIN(get32(u->data), SCSI_DATA_BYTES - 8u);
    for (u32 at = 8; at + 8 <= bytes + 8 && n < MAX_LUNS; at += 8) {
        u32 lun = ((u32)u->data[at] << 8 | u->data[at + 1]) & 0x3fff;
        if (lun <= u->a->max_lun)
            luns[n++] = lun;
    }
    return n;
}

static int find_units(struct unit *u)
{
    static const u8 inquiry[SCSI_CDB_BYTES] = {INQUIRY, 0, 0, 0, 36};
    u32 luns[MAX_LUNS];
    int n = list_units(u, luns), err = n == -ENODEV ? 0 : MIN(n, 0);
    for (int i = 0; i < n && !err; i++) {
        u->lun = luns[i];
        if (ask(u, inquiry, 36) == 0 && (u->data[0] == TYPE_DISK || u->data[0] == TYPE_CD))
            err = add_disk(u, u->data[0] == TYPE_CD);
    }
    return err;
}

int scsi_find_disks(struct scsi_adapter *a)
{
    struct page *page = page_alloc(0, 0);
    struct unit u = {.a = a};
    int err = page ? 0 : -ENOMEM;
    u.data = page ? page_address(page) : NULL;
    for (u.target = 0; u.target <= a->max_target && !err; u.target++)
        err = find_units(&u);
    if (page)
        page_free(page, 0);
    return err;
}
