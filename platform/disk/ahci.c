// SPDX-License-Identifier: BSD-2-Clause
// ahci.c: SATA disks behind an AHCI controller (Serial ATA AHCI 1.3.1; commands: ATA8-ACS) below block/block.h.
//
// Each port with a disk has one command at a time: without native queueing a disk does no more at once, and what fails is known
// without asking. What the port reads and writes besides the data lies in one page:
//
//   0     command list: the header of slot 0 (32 bytes; the list takes 1 KiB)     1536  ranges of a discard (512 bytes)
//   1024  what the disk sends (256 bytes)                                        2048  command table: the command, then segments
//
// A1 Slot 0 belongs to the port from writing its bit of CI until that bit is clear, or the port has been stopped. A2 A port that
// reports an error is stopped and started again, and its command ends with EIO; one that cannot be stopped is not used any more, and
// its memory is lost.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/disk/disk_queue.h"
#include "platform/mmio.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, PORTS = 0x100, PORT_BYTES = 0x80 };
#define CAP_64 BIT(31)
#define GHC_ENABLE BIT(31)
#define GHC_INTERRUPTS BIT(1)
#define N_PORTS 32u
#define REGISTER_BYTES (PORTS + N_PORTS * PORT_BYTES)
enum {  // of a port (3.3)
    PX_CLB = 0x00,
    PX_FB = 0x08,
    PX_IS = 0x10,
    PX_IE = 0x14,
    PX_CMD = 0x18,
    PX_TFD = 0x20,
    PX_SIG = 0x24,
    PX_SSTS = 0x28,
    PX_SERR = 0x30,
    PX_CI = 0x38,
};
#define CMD_START BIT(0)
#define CMD_POWER (BIT(1) | BIT(2))  // spin up, power on
#define CMD_RECEIVE BIT(4)
#define CMD_RECEIVES BIT(14)
#define CMD_RUNS BIT(15)
#define TFD_ERROR 0x01u
#define TFD_BUSY 0x88u  // busy, or wants data
#define IS_DONE 0x0fu
#define IS_ERRORS (BIT(30) | BIT(29) | BIT(28) | BIT(27))
#define SIGNATURE_DISK 0x101u
#define LINK_UP 3u
enum {
    DATASET = 0x06,
    READ_DMA_EXT = 0x25,
    WRITE_DMA_EXT = 0x35,
    FLUSH_EXT = 0xea,
    IDENTIFY = 0xec
};
#define DATASET_TRIM 1
#define DEVICE_LBA 0x40

#define AT_RECEIVED 1024u
#define AT_RANGES 1536u
#define AT_TABLE 2048u
#define MAX_SEGMENTS 16u
#define RANGES 64u
#define RANGE_MAX 65535u
#define STOP_NS (NSEC_PER_SEC / 2)
#define ANSWER_NS (5 * NSEC_PER_SEC)

struct header {
    u32 flags, moved, table_low, table_high;
};
#define HEADER_FIS_WORDS 5u
#define HEADER_WRITE BIT(6)
struct table {
    u8 fis[128];
    struct {
        u32 low, high, reserved, last;  // last: bytes, less one
    } segments[MAX_SEGMENTS];
};

struct ahci_port {
    struct disk_queue q;  // first
    struct block_disk disk;
    volatile u8 *regs;
    char *memory;
    u32 index;
    u32 shift;  // sectors of a block, as a power of two
};

struct ahci {
    volatile u8 *regs;
    struct ahci_port *ports[N_PORTS];  // NULL: no disk
};

// ------------------------------------------------------------------------------- commands

// The command in slot 0, for the port to begin with. feature, count: ATA's names
static void put_command(struct ahci_port *p, u8 command, u8 feature, u64 block, u32 count,
                        u32 n_segments, bool write)
{
    struct header *h = (struct header *)p->memory;
    struct table *t = (struct table *)(p->memory + AT_TABLE);
    phys_t at = virt_to_phys(t);
    memset(t->fis, 0, sizeof(t->fis));
    t->fis[0] = 0x27;  // register, host to device
    t->fis[1] = 0x80;  // a command
    t->fis[2] = command;
    t->fis[3] = feature;
    t->fis[7] = DEVICE_LBA;
    for (u32 i = 0; i < 3; i++) {
        t->fis[4 + i] = (u8)(block >> 8 * i);
        t->fis[8 + i] = (u8)(block >> (24 + 8 * i));
    }
    t->fis[12] = (u8)count;
    t->fis[13] = (u8)(count >> 8);
    h->flags = HEADER_FIS_WORDS | (write ? (u32)HEADER_WRITE : 0) | n_segments << 16;
    h->moved = 0;
    h->table_low = (u32)at;
    h->table_high = at >> 32;
}

static void put_segment(struct ahci_port *p, u32 i, phys_t at, u32 bytes)
{
    struct table *t = (struct table *)(p->memory + AT_TABLE);
    t->segments[i].low = (u32)at;
    t->segments[i].high = at >> 32;
    t->segments[i].reserved = 0;
    t->segments[i].last = bytes - 1;
}

static void post_discard(struct ahci_port *p, u64 block, u64 n)
{
    u64 *ranges = (u64 *)(p->memory + AT_RANGES);
    for (u32 i = 0; i < RANGES; i++) {
        u64 part = MIN(n, (u64)RANGE_MAX);
        ranges[i] = part ? block | part << 48 : 0;
        block += part;
        n -= part;
    }
    put_segment(p, 0, virt_to_phys(ranges), SECTOR_SIZE);
    put_command(p, DATASET, DATASET_TRIM, 0, 1, 1, true);
}

static void post(struct disk_queue *q, u32 tag, const struct block_request *r)
{
    struct ahci_port *p = (struct ahci_port *)q;
    u64 block = r->sector >> p->shift, n = r->n_sectors >> p->shift;
    if (r->op == BLOCK_FLUSH) {
        put_command(p, FLUSH_EXT, 0, 0, 0, 0, false);
    } else if (r->op == BLOCK_DISCARD) {
        post_discard(p, block, n);
    } else {
        bool write = r->op == BLOCK_WRITE;
        for (u32 i = 0; i < r->n_segments; i++)
            put_segment(p, i, r->segments[i].at, r->segments[i].bytes);
        put_command(p, write ? WRITE_DMA_EXT : READ_DMA_EXT, 0, block, (u32)n, r->n_segments,
                    write);
    }
}

static void kick(struct disk_queue *q)
{
    device_fence();
    reg_write32(((struct ahci_port *)q)->regs, PX_CI, 1);
}

static const struct disk_queue_ops queue_ops = {.post = post, .kick = kick};

static void submit(struct block_disk *d, struct block_request *r)
{
    disk_queue_submit(&container_of(d, struct ahci_port, disk)->q, r);
}

static void kick_disk(struct block_disk *d)
{
    disk_queue_kick(&container_of(d, struct ahci_port, disk)->q);
}

static const struct block_disk_ops disk_ops = {.submit = submit, .kick = kick_disk};

// ------------------------------------------------------------------------------- ports

// => 0 when the bits are clear, -EIO: not in time
static int wait_clear(const struct ahci_port *p, u32 reg, u32 bits, u64 ns)
{
    for (u64 end = ktime_ns() + ns; reg_read32(p->regs, reg) & bits; arch_cpu_relax()) {
        if (ktime_ns() > end)
            return -EIO;
    }
    return 0;
}

static int stop_commands(const struct ahci_port *p)
{
    reg_write32(p->regs, PX_CMD, reg_read32(p->regs, PX_CMD) & ~(u32)CMD_START);
    return wait_clear(p, PX_CMD, CMD_RUNS, STOP_NS);
}

// Clears what is left of errors. => -EIO: the disk stays busy
static int start_commands(const struct ahci_port *p)
{
    reg_write32(p->regs, PX_SERR, UINT32_MAX);
    reg_write32(p->regs, PX_IS, UINT32_MAX);
    int err = wait_clear(p, PX_TFD, TFD_BUSY, STOP_NS);
    if (!err)
        reg_write32(p->regs, PX_CMD, reg_read32(p->regs, PX_CMD) | CMD_START);
    return err;
}

// => false: the port cannot be used any more. [lock]
static bool port_interrupt(struct ahci_port *p, struct list *finished)
{
    u32 events = reg_read32(p->regs, PX_IS);
    reg_write32(p->regs, PX_IS, events);
    bool failed = events & IS_ERRORS;
    if (!failed && (reg_read32(p->regs, PX_CI) & 1))
        return true;
    device_fence();
    failed |= reg_read32(p->regs, PX_TFD) & TFD_ERROR;
    if ((events & IS_ERRORS) && (stop_commands(p) || start_commands(p)))
        return false;
    if (p->q.request[0] && !p->q.posted)  // else nothing was under way
        disk_queue_finish(&p->q, 0, failed ? -EIO : 0, finished);
    disk_queue_go_on(&p->q);
    return true;
}

static void interrupt(void *arg)
{
    struct ahci *a = arg;
    struct list finished = LIST_INIT(finished);
    u32 pending = reg_read32(a->regs, IS);
    for (u32 i = 0; i < N_PORTS; i++) {
        struct ahci_port *p = pending >> i & 1 ? a->ports[i] : NULL;
        if (!p)
            continue;
        spin_lock(&p->q.lock);
        bool good = p->q.broken || port_interrupt(p, &finished);
        spin_unlock(&p->q.lock);
        if (!good) {
            log_error("%s: the port does not answer and is not used any more", p->disk.whole.name);
            reg_write32(p->regs, PX_IE, 0);
            disk_queue_break(&p->q, &finished);
        }
    }
    reg_write32(a->regs, IS, pending);
    disk_finish(&finished);
}

// ------------------------------------------------------------------------------- bring-up

static u16 word(const u8 *id, u32 i) { return (u16)(id[2 * i] | id[2 * i + 1] << 8); }

// => false: not a disk of 48-bit addresses and blocks that can be used
static bool describe(struct ahci_port *p, const u8 *id)
{
    struct block_disk *d = &p->disk;
    u64 blocks = word(id, 100) | (u64)word(id, 101) << 16 | (u64)word(id, 102) << 32;
    u32 bytes = SECTOR_SIZE;
    if ((word(id, 106) & 0xd000) == 0x5000)
        bytes = 2 * (word(id, 117) | (u32)word(id, 118) << 16);
    if (!(word(id, 83) & BIT(10)) || !blocks || bytes < SECTOR_SIZE || bytes > PAGE_SIZE ||
        (bytes & (bytes - 1)))
        return false;
    p->shift = (u32)__builtin_ctz(bytes / SECTOR_SIZE);
    d->ops = &disk_ops;
    d->prefix = "sd";
    d->major = BLOCK_MAJOR_SD;
    d->sectors = blocks << p->shift;
    d->block_bytes = bytes;
    d->max_segments = MAX_SEGMENTS;
    d->max_segment_bytes = 64 * 1024;
    d->max_range = RANGES * RANGE_MAX / 8 * 8;
    d->has_flush = true;
    d->has_discard = word(id, 169) & 1;
    u32 n = 0;
    for (u32 i = 0; i < 20; i++) {  // the two bytes of a word the other way round
        u8 c = id[20 + (i ^ 1)];
        if (c != ' ' || n)
            d->serial[n++] = (char)c;
    }
    while (n && d->serial[n - 1] == ' ')
        d->serial[--n] = '\0';
    return true;
}

// => 0 and what the disk says in the memory of ranges, -EIO
static int identify(struct ahci_port *p)
{
    put_segment(p, 0, virt_to_phys(p->memory + AT_RANGES), SECTOR_SIZE);
    put_command(p, IDENTIFY, 0, 0, 0, 1, false);
    kick(&p->q);
    int err = wait_clear(p, PX_CI, 1, ANSWER_NS);
    device_fence();
    return err || (reg_read32(p->regs, PX_TFD) & TFD_ERROR) ? -EIO : 0;
}

static int start_port(struct ahci_port *p)
{
    int err = stop_commands(p);
    reg_write32(p->regs, PX_CMD, reg_read32(p->regs, PX_CMD) & ~(u32)CMD_RECEIVE);
    err = err ? err : wait_clear(p, PX_CMD, CMD_RECEIVES, STOP_NS);
    if (err)
        return err;
    phys_t at = virt_to_phys(p->memory);
    reg_write32(p->regs, PX_CLB, (u32)at);
    reg_write32(p->regs, PX_CLB + 4, at >> 32);
    reg_write32(p->regs, PX_FB, (u32)at + AT_RECEIVED);
    reg_write32(p->regs, PX_FB + 4, at >> 32);
    reg_write32(p->regs, PX_CMD, reg_read32(p->regs, PX_CMD) | CMD_RECEIVE | CMD_POWER);
    err = start_commands(p);
    if (err)
        return err;
    // Where no firmware has been here the disk's signature comes only now.
    return reg_read32(p->regs, PX_SIG) == SIGNATURE_DISK ? identify(p) : -ENODEV;
}

// => 0 also for a port without a disk that can be used
static int add_port(struct ahci *a, u32 index)
{
    volatile u8 *regs = a->regs + PORTS + index * PORT_BYTES;
    if ((reg_read32(regs, PX_SSTS) & 15) != LINK_UP)
        return 0;
    struct ahci_port *p = kzalloc(sizeof(*p));
    struct page *page = page_alloc(0, PAGE_ZERO);
    if (!p || !page)
        return -ENOMEM;
    p->regs = regs;
    p->index = index;
    p->memory = page_address(page);
    disk_queue_init(&p->q, &queue_ops, 1);
    int err = start_port(p);
    if (err || !describe(p, (const u8 *)p->memory + AT_RANGES)) {
        log_warn("AHCI: what is on port %u cannot be used", index);
        stop_commands(p);
        return 0;
    }
    err = block_disk_add(&p->disk);
    if (!err)
        a->ports[index] = p;
    return err;
}

// The disks are known before their interrupt is asked for: a controller without any needs none.
static int start_interrupt(struct ahci *a, u32 function)
{
    int way = pci_set_interrupt(function, PCI_MSI | PCI_LINE | PCI_TIMER, interrupt, a);
    struct list none = LIST_INIT(none);
    for (u32 i = 0; i < N_PORTS; i++) {
        struct ahci_port *p = a->ports[i];
        if (p && way < 0)
            disk_queue_break(&p->q, &none);
        else if (p)
            reg_write32(p->regs, PX_IE, IS_DONE | (u32)IS_ERRORS);
    }
    reg_write32(a->regs, IS, UINT32_MAX);
    reg_write32(a->regs, GHC, reg_read32(a->regs, GHC) | GHC_INTERRUPTS);
    return MIN(way, 0);
}

int ahci_start(u32 function)
{
    phys_t base = pci_bar(function, 5);
    if (!base || !platform_is_device(base, REGISTER_BYTES))
        return -ENODEV;
    struct ahci *a = kzalloc(sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->regs = arch_map_device(base, REGISTER_BYTES);
    pci_enable(function);
    reg_write32(a->regs, GHC, (reg_read32(a->regs, GHC) | GHC_ENABLE) & ~(u32)GHC_INTERRUPTS);
    u32 ports = reg_read32(a->regs, PI), n = 0;
    if (ports == UINT32_MAX || !(reg_read32(a->regs, CAP) & CAP_64))
        return -ENODEV;
    int err = 0;
    for (u32 i = 0; i < N_PORTS && !err; i++) {
        err = ports >> i & 1 ? add_port(a, i) : 0;
        n += a->ports[i] != NULL;
    }
    int no_interrupt = n ? start_interrupt(a, function) : 0;
    return err ? err : no_interrupt;
}
