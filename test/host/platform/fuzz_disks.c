// SPDX-License-Identifier: BSD-2-Clause
// The drivers of disks against devices that do what they are told, for a while: NVMe, AHCI, virtio-blk, virtio-scsi and pvscsi. Each sector has contents of
// its own, so that a honest device sees whether what it is told to write, and the reader whether what came, is what was meant. Then the
// device lies: identifiers that nobody has, answers that come twice, lengths, rings and registers at random, and what it says of
// itself. Every request must end exactly once, with an error that the block layer knows, and nothing else may be touched (ASan).
//
//   fuzz_disks ROUNDS
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "block/block.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random_source.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/disk/scsi.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"
#include "platform/virtio/virtio.h"
#include "platform/virtio/virtio_ring.h"

#define N_PAGES 256
#define N_REQUESTS 48
#define DISK_SECTORS 4096u
#define MAX_SEGMENTS 16

struct cpu *fake_cpu;
int log_level = LOG_ERROR;
struct boot_info boot_info;
static struct page pages[N_PAGES];
struct page *page_array = pages;
static void *page_memory[N_PAGES], *small[N_PAGES];
static u32 n_pages, n_small;
static struct block_disk *disks[8];
static u32 n_disks;
static void (*interrupt)(void *);
static void *interrupt_arg;
static bool lied, lies, starting;
static u64 now;

static u64 state = 88172645463325252ull;
static u32 rnd(u32 n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (u32)(state >> 20) % n;
}
static bool lie(u32 one_in)
{
    if (!lies || rnd(one_in))
        return false;
    return lied = true;
}

// ---- the kernel around the drivers

void *phys_to_virt(phys_t pa) { return pa >> 12 < N_PAGES ? page_memory[pa >> 12] : (void *)pa; }
phys_t virt_to_phys(const void *kva) { return (uintptr_t)kva; }
void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }
void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    puts("");
    fflush(stdout);
    abort();
}
struct page *page_alloc(unsigned order, unsigned flags)
{
    KASSERT(n_pages < N_PAGES);
    page_memory[n_pages] = aligned_alloc(PAGE_SIZE, PAGE_SIZE << order);
    memset(page_memory[n_pages], 0, PAGE_SIZE << order);
    return &pages[n_pages++];
}
void page_free(struct page *p, unsigned order) {}
void page_free_last(struct page *p) {}
void *kzalloc(size_t size)
{
    KASSERT(n_small < N_PAGES);
    return small[n_small++] = calloc(1, size);
}
void kfree(void *ptr) {}
void spin_lock_slow(struct spinlock *l) { abort(); }
const char *cmdline_next(const char *at, const char *name, char *buf, size_t size) { return NULL; }
void random_source_register(random_source_fn fn) {}
void platform_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq)) {}
int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size, int irq) { return -ENODEV; }
int virtio_pci_probe(struct virtio_device *d, u32 function) { return -ENODEV; }
int virtio_balloon_start(struct virtio_device *d) { return -ENODEV; }
int virtio_rng_start(struct virtio_device *d) { return -ENODEV; }
void pci_each_function(u32 bus, void (*found)(u32 function, void *arg), void *arg) {}
u32 platform_cpu_count(void) { return 4; }
int pci_set_interrupt(u32 function, u32 kinds, void (*fn)(void *), void *arg)
{
    interrupt = fn;
    interrupt_arg = arg;
    return PCI_MSIX;
}
int virtio_set_interrupt(struct virtio_device *d, void (*fn)(void *), void *arg)
{
    return MIN(pci_set_interrupt(0, PCI_MSIX, fn, arg), 0);
}
void virtio_ack_interrupt(struct virtio_device *d) {}
void pci_enable(u32 function) {}
bool platform_is_device(phys_t pa, size_t len) { return true; }
int block_disk_add(struct block_disk *d)
{
    if (n_disks == ARRAY_SIZE(disks))
        return -ENOSPC;
    d->whole.disk = d;
    KASSERT(d->max_segments && d->max_segments <= MAX_SEGMENTS && d->max_segment_bytes >= 4096);
    KASSERT(d->block_bytes >= 512 && d->block_bytes <= 4096 &&
            !(d->block_bytes & (d->block_bytes - 1)));
    KASSERT(memchr(d->serial, 0, sizeof(d->serial)));
    disks[n_disks++] = d;
    return 0;
}

// ---- contents

static u64 mark(u64 sector) { return sector * 0x9e3779b97f4a7c15ull + 1; }

// The device moves one sector; `to` and `from` as it is told.
static void device_moves(u64 sector, u8 *memory, u32 bytes, bool reads)
{
    for (u32 at = 0; at < bytes; at += 512, sector++) {
        u64 m = mark(sector);
        if (reads) {
            memset(memory + at, 0, 512);
            memcpy(memory + at, &m, 8);
            memcpy(memory + at + 504, &m, 8);
        } else {
            KASSERT(!memcmp(memory + at, &m, 8) && !memcmp(memory + at + 504, &m, 8));
        }
    }
}

static struct test_request {
    struct block_request r;
    struct block_segment segments[MAX_SEGMENTS];
    u8 *memory[MAX_SEGMENTS];  // pages of their own
    enum block_op op;
    u64 sector;
    u32 n_sectors, n_done;
    bool used;
} requests[N_REQUESTS];

static void check_contents(const struct test_request *t)
{
    u64 sector = t->sector;
    for (u32 i = 0; i < t->r.n_segments; i++) {
        for (u32 at = 0; at < t->segments[i].bytes; at += 512, sector++) {
            u64 m = mark(sector);
            const u8 *p = (u8 *)(uintptr_t)t->segments[i].at + at;
            KASSERT(!memcmp(p, &m, 8) && !memcmp(p + 504, &m, 8));
        }
    }
}

static void request_done(struct block_request *r)
{
    struct test_request *t = container_of(r, struct test_request, r);
    KASSERT(t->used && t->n_done++ == 0);
    KASSERT(r->result == 0 || r->result == -EIO || r->result == -EOPNOTSUPP);
    KASSERT(lied || r->result == 0);
    if (!lied && t->op == BLOCK_READ)
        check_contents(t);
}

// A range that the device is told to discard or to zero is one that somebody asked for.
static void device_ranges(enum block_op op, u64 sector, u64 n)
{
    for (u32 i = 0; i < N_REQUESTS; i++) {
        if (requests[i].used && !requests[i].n_done && requests[i].op == op &&
            requests[i].sector == sector && requests[i].n_sectors == n)
            return;
    }
    KASSERT(!"a range that nobody asked for");
}

// ---- NVMe

static struct {
    u8 regs[0x2000];
    u64 sq[5], cq[5];
    u32 head[5], tail[5], phase[5], entries[5];
    u32 shift;
    bool gone;
} nvme;
struct nvme_command {
    u32 opcode, nsid, reserved[4];
    u64 prp1, prp2;
    u32 cdw[6];
};
static u32 *nvme_reg(u32 at) { return (u32 *)(nvme.regs + at); }
static u32 ahci_regs[0x1100 / 4];
static u8 pv_regs[0x8000];
phys_t pci_bar(u32 function, u32 bar) { return 0x10000000; }
void *arch_map_device(phys_t pa, size_t len)
{
    return len == sizeof(ahci_regs) ? (void *)ahci_regs
           : len == sizeof(pv_regs) ? pv_regs
                                    : nvme.regs;
}

static void nvme_answer(u32 q, u32 id, u32 status, u32 result)
{
    if (lie(60))
        id = rnd(2) ? rnd(65536) : rnd(16);
    if (lie(60))
        status = rnd(2048);
    for (u32 n = lie(80) ? 2 + rnd(40) : 1; n--;) {
        u32 *e = (u32 *)(uintptr_t)nvme.cq[q] + 4 * nvme.tail[q];
        e[0] = result;
        e[3] = id | nvme.phase[q] << 16 | status << 17;
        nvme.tail[q] = (nvme.tail[q] + 1) % nvme.entries[q];
        nvme.phase[q] ^= nvme.tail[q] == 0;
    }
    if (lie(200)) {
        for (u32 i = 0; i < nvme.entries[q] * 4; i++)
            ((u32 *)(uintptr_t)nvme.cq[q])[i] = rnd(UINT32_MAX);
    }
}

static void nvme_identify(const struct nvme_command *c)
{
    u8 *to = (u8 *)(uintptr_t)c->prp1;
    if (c->cdw[0] == 1) {
        memset(to + 4, 'x', 20);
        to[77] = (u8)(lies ? rnd(9) : 1 + rnd(7));
        to[520] = 0xff;
        to[525] = 1;
    } else if (c->cdw[0] == 2) {
        to[0] = 1;
    } else {
        u32 sectors = DISK_SECTORS >> nvme.shift;
        memcpy(to, &sectors, 4);
        to[128 + 2] = (u8)(9 + nvme.shift);
    }
    if (lie(20)) {
        for (u32 i = 0; i < 1 + rnd(30); i++)
            to[rnd(4096)] = (u8)rnd(256);
    }
}

static void nvme_admin(const struct nvme_command *c)
{
    u32 result = 0, qid = c->cdw[0] & 0xffff;
    if ((c->opcode & 0xff) == 6)
        nvme_identify(c);
    if ((c->opcode & 0xff) == 9)
        result = 1 | 2 << 16;  // two submission and three completion queues
    if ((c->opcode & 0xff) == 5 || (c->opcode & 0xff) == 1) {
        KASSERT(qid >= 1 && qid <= 4);
        nvme.entries[qid] = (c->cdw[0] >> 16) + 1;
        nvme.phase[qid] = 1;
        *((c->opcode & 0xff) == 5 ? &nvme.cq[qid] : &nvme.sq[qid]) = c->prp1;
    }
    nvme_answer(0, c->opcode >> 16, 0, result);
}

static void nvme_move(const struct nvme_command *c)
{
    u64 sector = (c->cdw[0] | (u64)c->cdw[1] << 32) << nvme.shift, at = c->prp1;
    u32 left = ((c->cdw[2] & 0xffff) + 1) * (512u << nvme.shift), n = 0;
    u32 first = MIN(left, 4096 - (u32)(at & 4095));
    bool list = left > first + 4096, reads = (c->opcode & 0xff) == 2;
    for (u32 bytes = first; left; left -= bytes, bytes = MIN(left, 4096u)) {
        if (n)
            at = list ? ((u64 *)(uintptr_t)c->prp2)[n - 1] : c->prp2;
        KASSERT(n == 0 || at % 4096 == 0);
        device_moves(sector, (u8 *)(uintptr_t)at, bytes, reads);
        sector += bytes / 512;
        n++;
    }
}

static void nvme_io(u32 q, const struct nvme_command *c)
{
    u32 opcode = c->opcode & 0xff;
    u64 sector = (c->cdw[0] | (u64)c->cdw[1] << 32) << nvme.shift;
    if (opcode == 1 || opcode == 2) {
        nvme_move(c);
    } else if (opcode == 8) {
        device_ranges(BLOCK_ZERO, sector, (u64)((c->cdw[2] & 0xffff) + 1) << nvme.shift);
    } else if (opcode == 9) {
        const u32 *range = (u32 *)(uintptr_t)c->prp1;
        device_ranges(BLOCK_DISCARD, ((u64 *)range)[1] << nvme.shift, (u64)range[1] << nvme.shift);
    } else {
        KASSERT(opcode == 0);
    }
    nvme_answer(q, c->opcode >> 16, 0, 0);
}

static void nvme_step(void)
{
    if (nvme.gone)
        return;
    u32 stride = 4u << (*nvme_reg(4) & 15);
    bool enabled = *nvme_reg(0x14) & 1;
    *nvme_reg(0x1c) = enabled;
    if (enabled && !nvme.sq[0]) {
        nvme.sq[0] = *nvme_reg(0x28) | (u64)*nvme_reg(0x2c) << 32;
        nvme.cq[0] = *nvme_reg(0x30) | (u64)*nvme_reg(0x34) << 32;
        nvme.entries[0] = (*nvme_reg(0x24) & 0xfff) + 1;
        nvme.phase[0] = 1;
    }
    for (u32 q = 0; enabled && q < 5; q++) {
        u32 tail = *nvme_reg(0x1000 + 2 * q * stride);
        while (nvme.sq[q] && nvme.cq[q] && nvme.head[q] != tail) {
            struct nvme_command c = ((struct nvme_command *)(uintptr_t)nvme.sq[q])[nvme.head[q]];
            nvme.head[q] = (nvme.head[q] + 1) % nvme.entries[q];
            if (q)
                nvme_io(q, &c);
            else
                nvme_admin(&c);
        }
    }
    nvme.gone = lie(200);
    if (nvme.gone)
        memset(nvme.regs, 0xff, sizeof(nvme.regs));
}

static int start_nvme(void)
{
    memset(&nvme, 0, sizeof(nvme));
    nvme.shift = rnd(4);
    *nvme_reg(0) = 0x3f | 2 << 24;
    *nvme_reg(4) = 1u << 5 | rnd(3);
    return nvme_start(8);
}

// ---- AHCI

enum { AHCI_PORT = 3 };
static bool ahci_gone;
static u32 *ahci_port(u32 at) { return &ahci_regs[(0x100 + AHCI_PORT * 0x80 + at) / 4]; }

// What follows the driver at once: a port runs when it is told to.
static void ahci_registers(void)
{
    u32 command = *ahci_port(0x18) & ~0xc000u;
    if (!ahci_gone)
        *ahci_port(0x18) = command | (command & 1) << 15 | (command & 16) << 10;
    if (!ahci_gone && !(command & 1))
        *ahci_port(0x38) = 0;
}

static void ahci_identify(u8 *to)
{
    memset(to, 0, 512);
    memset(to + 20, 'x', 20);
    to[2 * 83 + 1] = 4;
    to[2 * 100] = DISK_SECTORS & 0xff;
    to[2 * 100 + 1] = DISK_SECTORS >> 8;
    to[2 * 169] = 1;
    for (u32 i = lie(4) ? 1 + rnd(30) : 0; i--;)
        to[rnd(512)] = (u8)rnd(256);
}

static void ahci_ranges(const u64 *ranges)
{
    u64 n = 0;
    for (u32 i = 0; i < 64 && ranges[i] >> 48; i++)
        n += ranges[i] >> 48;
    device_ranges(BLOCK_DISCARD, ranges[0] & (BIT(48) - 1), n);
}

static void ahci_command(void)
{
    const u32 *header = (u32 *)(uintptr_t)(*ahci_port(0) | (u64)*ahci_port(4) << 32);
    const u8 *fis = (u8 *)(uintptr_t)(header[2] | (u64)header[3] << 32);
    const u32 *segment = (const u32 *)(fis + 128);
    u64 sector = fis[4] | fis[5] << 8 | fis[6] << 16 | (u64)fis[8] << 24 | (u64)fis[9] << 32;
    u32 moved = 0, command = fis[2];
    KASSERT(header[0] >> 16 <= MAX_SEGMENTS && (header[0] & 31) == 5 && fis[0] == 0x27);
    KASSERT(!!(header[0] & 64) == (command == 0x35 || command == 0x06));
    for (u32 n = header[0] >> 16; n--; segment += 4) {
        u8 *memory = (u8 *)(uintptr_t)(segment[0] | (u64)segment[1] << 32);
        u32 bytes = (segment[3] & 0x3fffff) + 1;
        if (command == 0xec)
            ahci_identify(memory);
        else if (command == 0x06)
            ahci_ranges((u64 *)memory);
        else
            device_moves(sector + moved / 512, memory, bytes, command == 0x25);
        moved += bytes;
    }
    KASSERT((command != 0x25 && command != 0x35) || moved == (fis[12] | fis[13] << 8) * 512u);
}

static void ahci_step(void)
{
    if (ahci_gone)
        return;
    ahci_registers();
    ahci_regs[2] = *ahci_port(0x10) = 0;
    if ((*ahci_port(0x18) & 1) && (*ahci_port(0x38) & 1)) {
        ahci_command();
        *ahci_port(0x38) = 0;
        *ahci_port(0x10) = 1;
        *ahci_port(0x20) = 0x50;
    }
    if (lie(60))
        *ahci_port(0x20) = rnd(256);
    if (lie(60))
        *ahci_port(0x10) |= rnd(UINT32_MAX);
    if (lie(60))
        *ahci_port(0x38) = rnd(2);
    ahci_gone = lie(200);
    if (ahci_gone)
        memset(ahci_regs, 0xff, sizeof(ahci_regs));
    if (*ahci_port(0x10))
        ahci_regs[2] = lie(60) ? rnd(UINT32_MAX) : BIT(AHCI_PORT);
}

static int start_ahci(void)
{
    memset(ahci_regs, 0, sizeof(ahci_regs));
    ahci_gone = false;
    ahci_regs[0] = BIT(31);
    ahci_regs[3] = 0x3f;
    *ahci_port(0x24) = 0x101;
    *ahci_port(0x28) = 0x113;
    *ahci_port(0x20) = 0x50;
    *ahci_port(0x18) = rnd(2) ? 0xc011 : 0;  // as a firmware leaves it
    return ahci_start(8);
}

// ---- virtio

static struct virtqueue *queues[8];
static u32 seen[8], config[16];
static u8 status;
static struct virtio_device virtio;

static u8 get_status(struct virtio_device *d) { return status; }
static void set_status(struct virtio_device *d, u8 value) { status = value; }
static u64 get_features(struct virtio_device *d) { return UINT64_MAX; }
static void set_features(struct virtio_device *d, u64 features) {}
static int set_queue(struct virtio_device *d, struct virtqueue *q)
{
    KASSERT(q->index < 8);
    queues[q->index] = q;
    seen[q->index] = 0;
    return 0;
}
static u32 get_config(struct virtio_device *d, u32 at)
{
    return lie(40) ? rnd(UINT32_MAX) : config[at / 4];
}
static void set_config(struct virtio_device *d, u32 at, u32 value) {}

static void virtio_answer(struct virtqueue *q, u32 id, u32 len)
{
    if (lie(60))
        id = rnd(2) ? rnd(q->size) : rnd(UINT32_MAX);
    if (lie(60))
        len = rnd(UINT32_MAX);
    volatile struct virtq_used *used = q->used;
    used->ring[used->index % q->size].id = id;
    used->ring[used->index % q->size].len = len;
    used->index = (u16)(used->index + (lie(100) ? rnd(300) : 1));
}

// Descriptors of a chain. => how many
static u32 chain(const struct virtqueue *q, u32 id, struct virtq_desc *out)
{
    u32 n = 0;
    for (;; id = out[n - 1].next) {
        KASSERT(id < q->size && n < 20);
        out[n++] = q->desc[id];
        if (!(out[n - 1].flags & DESC_NEXT))
            return n;
    }
}
static u8 *memory_of(const struct virtq_desc *d) { return (u8 *)(uintptr_t)d->address; }

static void blk_command(struct virtqueue *q, u32 id)
{
    struct virtq_desc d[20];
    u32 n = chain(q, id, d), len = 1;
    KASSERT(n >= 2 && d[0].len == 16 && d[n - 1].len == 1 && (d[n - 1].flags & DESC_WRITE));
    u32 type = *(u32 *)memory_of(d);
    u64 sector = ((u64 *)memory_of(d))[1];
    for (u32 i = 1; i < n - 1; i++) {
        u8 *memory = memory_of(&d[i]);
        KASSERT(!(d[i].flags & DESC_WRITE) == (type != 0 && type != 8));
        if (type == 11 || type == 13)
            device_ranges(type == 11 ? BLOCK_DISCARD : BLOCK_ZERO, *(u64 *)memory,
                          ((u32 *)memory)[2]);
        else if (type == 8)
            memset(memory, 's', 20);
        else
            device_moves(sector, memory, d[i].len, type == 0);
        sector += d[i].len / 512;
        len += d[i].flags & DESC_WRITE ? d[i].len : 0;
    }
    *memory_of(&d[n - 1]) = lie(60) ? (u8)rnd(256) : 0;
    virtio_answer(q, id, len);
}

static u64 big(const u8 *p, u32 n)
{
    u64 value = 0;
    while (n--)
        value = value << 8 | *p++;
    return value;
}

// What an INQUIRY, a capacity and the like read. => bytes
static void scsi_tell(const u8 *cdb, u8 *to, u32 bytes)
{
    memset(to, 0, bytes);
    if (cdb[0] == 0xa0) {
        to[3] = 8;
    } else if (cdb[0] == 0x9e) {
        to[6] = (DISK_SECTORS - 1) >> 8;
        to[7] = (DISK_SECTORS - 1) & 0xff;
        to[10] = 2;
    } else if (cdb[0] == 0x12 && cdb[1]) {
        to[1] = cdb[2];
        to[3] = 60;
        if (cdb[2] == 0x80)
            memset(to + 4, 'z', 60);
        if (cdb[2] == 0xb2)
            to[5] = 0x80;
        if (cdb[2] == 0xb0)
            to[22] = to[42] = 1;  // 256 blocks
    }
    if (lie(10)) {
        for (u32 i = 0; i < 1 + rnd(10); i++)
            to[rnd(bytes)] = (u8)rnd(256);
    }
}

static void scsi_cdb(struct virtq_desc *d, u32 n, const u8 *cdb)
{
    u64 sector = big(cdb + 2, 8);
    u32 blocks = (u32)big(cdb + 10, 4), moved = 0;
    for (u32 i = 1; i < n; i++) {
        bool in = d[i].flags & DESC_WRITE;
        if (in && d[i].len == 108 && (i == 1 || !(d[i - 1].flags & DESC_WRITE)))
            continue;  // the answer
        if (cdb[0] == 0x42)
            device_ranges(BLOCK_DISCARD, big(memory_of(&d[i]) + 8, 8),
                          big(memory_of(&d[i]) + 16, 4));
        else if (cdb[0] == 0x93)
            device_ranges(BLOCK_ZERO, sector, blocks);
        else if (cdb[0] == 0x88 || cdb[0] == 0x8a)
            device_moves(sector + moved / 512, memory_of(&d[i]), d[i].len, cdb[0] == 0x88);
        else
            scsi_tell(cdb, memory_of(&d[i]), d[i].len);
        KASSERT(in == (cdb[0] != 0x8a && cdb[0] != 0x42 && cdb[0] != 0x93));
        moved += d[i].len;
    }
    KASSERT((cdb[0] != 0x88 && cdb[0] != 0x8a) || moved == blocks * 512);
}

static void scsi_command_in(struct virtqueue *q, u32 id)
{
    struct virtq_desc d[20];
    u32 n = chain(q, id, d), len = 108, answer = 1;
    KASSERT(n >= 2 && d[0].len == 51);
    u8 *command = memory_of(d);
    while (!(d[answer].flags & DESC_WRITE))
        answer++;
    u8 *a = memory_of(&d[answer]);
    KASSERT(d[answer].len == 108);
    memset(a, 0, 108);
    if (command[1] == 0)
        scsi_cdb(d, n, command + 19);
    else
        a[11] = 3;  // no such target
    if (lie(60)) {
        for (u32 i = 0; i < 108; i++)
            a[i] = (u8)rnd(256);
    }
    for (u32 i = answer + 1; i < n; i++)
        len += d[i].len;
    virtio_answer(q, id, len);
}

static void virtio_step(void)
{
    for (u32 i = 0; i < 8; i++) {
        struct virtqueue *q = queues[i];
        while (q && (u16)seen[i] != q->avail->index && (status & 4)) {
            u32 id = q->avail->ring[seen[i]++ % q->size];
            if (virtio.id == VIRTIO_ID_BLOCK)
                blk_command(q, id);
            else
                scsi_command_in(q, id);
        }
    }
}
static void notify(struct virtio_device *d, struct virtqueue *q)
{
    if (starting)
        virtio_step();
}
static const struct virtio_ops virtio_ops = {get_status, set_status, get_features, set_features,
                                             set_queue,  notify,     get_config,   set_config};

static int start_virtio(u32 id)
{
    memset(queues, 0, sizeof(queues));
    memset(config, 0, sizeof(config));
    virtio = (struct virtio_device){.ops = &virtio_ops, .id = id};
    status = 0;
    if (id == VIRTIO_ID_BLOCK) {
        config[0] = DISK_SECTORS;
        config[2] = 1 << 20;
        config[3] = 1 + rnd(20);
        config[5] = 512;
        config[8] = 3u << 16;
        return virtio_blk_start(&virtio);
    }
    config[0] = 2;
    config[1] = 1 + rnd(20);
    config[7] = 7u << 16;
    return virtio_scsi_start(&virtio);
}

// ---- pvscsi: its rings are the pages that the driver has taken first

enum { PV_TAGS = 32, PV_ANSWERS = 128 };
static u32 pv_taken;

static void pv_answer(u64 tag, u16 host, u16 scsi)
{
    u32 *state = page_memory[0];
    for (u32 n = lie(80) ? 2 + rnd(40) : 1; n--;) {
        u8 *a = (u8 *)page_memory[2] + 32 * (state[3] % PV_ANSWERS);
        tag = lie(60) ? rnd(64) : tag;
        host = lie(60) ? (u16)rnd(32) : host;
        scsi = lie(60) ? (u16)rnd(32) : scsi;
        memcpy(a, &tag, 8);
        memcpy(a + 20, &host, 2);
        memcpy(a + 22, &scsi, 2);
        state[3] = lie(200) ? rnd(UINT32_MAX) : state[3] + 1;
    }
}

static void pv_request(const u8 *r)
{
    struct virtq_desc d[20] = {{0}};
    u64 tag = *(u64 *)r, data = *(u64 *)(r + 8), bytes = *(u64 *)(r + 16);
    u32 flags = *(u32 *)(r + 36), n = 1;
    u16 in = flags & 8 ? DESC_WRITE : 0;
    KASSERT(tag < PV_TAGS && r[56] == 16 && r[66] == 0);
    for (u64 left = bytes; left; n++) {
        struct {
            u64 at;
            u32 bytes, flags;
        } s = {data, (u32)bytes, 0};
        if (flags & 1)
            memcpy(&s, (void *)(uintptr_t)(data + (n - 1) * 16), 16);
        KASSERT(n <= MAX_SEGMENTS && s.bytes <= left && !s.flags);
        d[n] = (struct virtq_desc){.address = s.at, .len = s.bytes, .flags = in};
        left -= s.bytes;
    }
    KASSERT((n == 1) == !!(flags & 4));
    if (r[67] == 0)
        scsi_cdb(d, n, r + 40);
    pv_answer(tag, r[67] ? 0x11 : 0, 0);
}

static void pv_step(void)
{
    u32 *state = page_memory[0];
    KASSERT(state[0] - pv_taken <= PV_TAGS);
    while (pv_taken != state[0])
        pv_request((u8 *)page_memory[1] + 128 * (pv_taken++ % PV_TAGS));
}

static int start_pvscsi(void)
{
    memset(pv_regs, 0, sizeof(pv_regs));
    pv_taken = 0;
    return pvscsi_start(8);
}

// ---- rounds

enum { NVME, AHCI, BLK, SCSI, PVSCSI, N_KINDS };
static u32 kind;
static void device_step(void)
{
    if (kind == NVME)
        nvme_step();
    else if (kind == AHCI)
        ahci_step();
    else if (kind == PVSCSI)
        pv_step();
    else
        virtio_step();
}
u64 ktime_ns(void)
{
    if (starting && kind == NVME)
        nvme_step();
    else if (kind == PVSCSI && starting)
        pv_step();
    else if (kind == AHCI && starting)
        ahci_step();
    else if (kind == AHCI)
        ahci_registers();
    return now += NSEC_PER_SEC / 10;
}

static struct test_request *unused_request(void)
{
    for (u32 i = 0; i < N_REQUESTS; i++) {
        if (!requests[i].used || requests[i].n_done)
            return &requests[i];
    }
    return NULL;
}

// Segments that meet at borders of pages, of whole blocks together.
static u32 make_segments(struct test_request *t, const struct block_disk *d)
{
    u32 unit = d->block_bytes, n = 1 + rnd(d->max_segments), bytes = 0;
    for (u32 i = 0; i < n; i++) {
        u32 most = MIN(d->max_segment_bytes, 8192u) / 4096 * 4096;
        u32 from = i ? 0 : rnd(4096 / unit) * unit;
        u32 len = i + 1 < n ? (i ? most : 4096 - from) : unit * (1 + rnd((4096 - from) / unit));
        t->segments[i] = (struct block_segment){(uintptr_t)t->memory[i] + from, len};
        bytes += len;
    }
    t->r.n_segments = n;
    return bytes / 512;
}

static void submit_one(struct block_disk *d)
{
    struct test_request *t = unused_request();
    if (!t)
        return;
    memset(&t->r, 0, sizeof(t->r));
    u32 per = d->block_bytes / 512;
    t->op = (enum block_op)rnd(5);
    if ((t->op == BLOCK_DISCARD && !d->has_discard) || (t->op == BLOCK_ZERO && !d->has_zero))
        t->op = BLOCK_FLUSH;
    if (t->op == BLOCK_FLUSH && !d->has_flush)
        t->op = BLOCK_READ;
    bool moves = t->op == BLOCK_READ || t->op == BLOCK_WRITE;
    t->n_sectors = moves ? make_segments(t, d) : t->op == BLOCK_FLUSH ? 0 : per * (1 + rnd(16));
    t->sector = t->op == BLOCK_FLUSH ? 0 : rnd((DISK_SECTORS - 512) / per) * per;
    u64 sector = t->sector;
    for (u32 i = 0; t->op == BLOCK_WRITE && i < t->r.n_segments; i++) {
        device_moves(sector, (u8 *)(uintptr_t)t->segments[i].at, t->segments[i].bytes, true);
        sector += t->segments[i].bytes / 512;
    }
    t->used = true;
    t->n_done = 0;
    t->r.op = t->op;
    t->r.sector = t->sector;
    t->r.n_sectors = t->n_sectors;
    t->r.segments = t->segments;
    t->r.done = request_done;
    t->r.disk = d;
    d->ops->submit(d, &t->r);
    if (rnd(3) == 0)
        d->ops->kick(d);
}

static u32 under_way(void)
{
    u32 n = 0;
    for (u32 i = 0; i < N_REQUESTS; i++)
        n += requests[i].used && !requests[i].n_done;
    return n;
}

static void round_of(u32 which)
{
    static struct cpu cpu;
    fake_cpu = &cpu;
    kind = which;
    lied = false;
    n_disks = 0;
    starting = true;
    int err = kind == NVME     ? start_nvme()
              : kind == AHCI   ? start_ahci()
              : kind == PVSCSI ? start_pvscsi()
                               : start_virtio(kind == BLK ? VIRTIO_ID_BLOCK : VIRTIO_ID_SCSI);
    starting = false;
    KASSERT(lied ||
            (err == 0 && n_disks == 1 && (kind == BLK || disks[0]->sectors == DISK_SECTORS)));
    for (u32 step = 0; n_disks && !err && step < 60; step++) {
        cpu.id = rnd(4);
        for (u32 n = rnd(20); n--;)
            submit_one(disks[rnd(n_disks)]);
        if (rnd(2)) {
            disks[0]->ops->kick(disks[0]);
            device_step();
            interrupt(interrupt_arg);
        }
    }
    for (u32 step = 0; n_disks && !err && step < N_REQUESTS && under_way(); step++) {
        disks[0]->ops->kick(disks[0]);
        device_step();
        interrupt(interrupt_arg);
    }
    KASSERT(lied || under_way() == 0);
    for (u32 i = 0; i < N_REQUESTS; i++)
        requests[i].used = false;
    while (n_pages)
        free(page_memory[--n_pages]);
    while (n_small)
        free(small[--n_small]);
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    for (u32 i = 0; i < N_REQUESTS * MAX_SEGMENTS; i++)
        requests[i / MAX_SEGMENTS].memory[i % MAX_SEGMENTS] = aligned_alloc(4096, 8192);
    for (unsigned long i = 0; i < rounds; i++) {
        lies = i % 4 != 0;
        round_of((u32)(i / 4 % N_KINDS));
    }
    return 0;
}
