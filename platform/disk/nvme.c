// SPDX-License-Identifier: BSD-2-Clause
// nvme.c: NVM Express disks (NVM Express Base Specification 1.4) below block/block.h.
//
// One queue of commands for administration, used while the driver starts and looked at without interrupts, and then one pair of
// queues for each CPU, at most DISK_MAX_QUEUES, all with one interrupt. A tag of a queue is the command's identifier. Each tag has
// TAG_BYTES of memory for the command's list of pages, or for the range of a discard:
//
//   page 0   submission: QUEUE_ENTRIES commands of 64 bytes      page 1   completion: QUEUE_ENTRIES entries of 16 bytes
//   page 2   the tags' memory, TAG_BYTES each
//
// N1 A queue has more entries than tags, so that it is never full. N2 A completion is new when its phase bit is that of this round
// through the ring. N3 The controller is not believed: an identifier that no command has, a fatal status or registers that are gone
// stop it, and every request that it had ends with EIO; what Identify says is cut to what the driver can do.
//
// Memory that a controller was told of stays its own, also after a failure: it may still write there.
#include <stdio.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/atomic.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/disk/disk_queue.h"
#include "platform/mmio.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

enum {  // registers (3.1)
    CAP = 0x00,
    CC = 0x14,
    CSTS = 0x1c,
    AQA = 0x24,
    ASQ = 0x28,
    ACQ = 0x30,
    DOORBELLS = 0x1000,
    REGISTER_BYTES = 0x2000,
};
#define CC_ENABLE (6u << 16 | 4u << 20 | 1u)  // entries of 64 and 16 bytes, pages of 4 KiB
#define CSTS_READY 1u
#define CSTS_FATAL 2u

enum { ADMIN_CREATE_SQ = 1, ADMIN_CREATE_CQ = 5, ADMIN_IDENTIFY = 6, ADMIN_SET_FEATURES = 9 };
enum { IDENTIFY_NAMESPACE = 0, IDENTIFY_CONTROLLER = 1, IDENTIFY_ACTIVE = 2 };
enum { FEATURE_QUEUES = 7 };
enum { IO_FLUSH = 0, IO_WRITE = 1, IO_READ = 2, IO_ZEROES = 8, IO_DATASET = 9 };
#define ONCS_DATASET 4u
#define ONCS_ZEROES 8u
#define DATASET_DEALLOCATE 4u
#define STATUS(word) ((word) >> 17 & 0x7ff)  // type and code (4.6.1)
#define STATUS_BAD_OPCODE 1u

#define QUEUE_ENTRIES 32u
#define N_TAGS 16u
#define TAG_BYTES 256u
#define LIST_ENTRIES (TAG_BYTES / 8)
#define MAX_SEGMENTS 16u
#define MAX_NAMESPACES 8u
#define ADMIN_WAIT_NS (5 * NSEC_PER_SEC)

struct command {
    u32 opcode, nsid, reserved[4];
    u64 prp1, prp2;
    u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct command) == 64, "4.2");
_Static_assert(N_TAGS *TAG_BYTES <= 4096 && N_TAGS < QUEUE_ENTRIES, "N1");

struct completion {
    u32 result, reserved, head,
        id_status;  // id_status: identifier, phase in bit 16, status above it
};

struct nvme_queue {
    struct disk_queue q;  // first
    struct nvme *nvme;
    u32 index;  // 0: administration
    struct command *commands;
    volatile struct completion *completions;
    char *tags;
    u32 tail, head;  // [lock]
    u32 phase;       // [lock] of entries that are new
};

struct nvme {
    volatile u8 *regs;
    u32 stride;  // bytes from doorbell to doorbell
    u64 ready_ns;
    u32 max_transfer;  // bytes
    u32 oncs;
    bool has_cache;
    u32 number;  // of the controller: nvme0
    u32 n_queues, n_disks;
    char serial[21];
    struct nvme_queue admin, *queues[DISK_MAX_QUEUES];
};

struct namespace
{
    struct block_disk disk;
    struct nvme *nvme;
    u32 id;
    u32 shift;  // sectors of a block, as a power of two
};

static u32 n_controllers;

// ------------------------------------------------------------------------------- queues

static void doorbell(const struct nvme_queue *q, bool completion, u32 value)
{
    device_fence();
    reg_write32(q->nvme->regs, DOORBELLS + (2 * q->index + completion) * q->nvme->stride, value);
}

static struct command *next_command(struct nvme_queue *q)
{
    struct command *c = &q->commands[q->tail];
    q->tail = (q->tail + 1) % QUEUE_ENTRIES;
    memset(c, 0, sizeof(*c));
    return c;
}

// A queue's three pages. => -ENOMEM
static int queue_init(struct nvme_queue *q, struct nvme *n, u32 index)
{
    struct page *sq = page_alloc(0, PAGE_ZERO), *cq = page_alloc(0, PAGE_ZERO),
                *tags = page_alloc(0, PAGE_ZERO);
    if (!sq || !cq || !tags)
        return -ENOMEM;  // what there is of it is lost with the controller
    q->nvme = n;
    q->index = index;
    q->commands = page_address(sq);
    q->completions = page_address(cq);
    q->tags = page_address(tags);
    q->phase = 1;
    return 0;
}

// => whether there is a new completion; *c: a copy, which nobody changes any more
static bool next_completion(struct nvme_queue *q, struct completion *c)
{
    u32 word = q->completions[q->head].id_status;
    if ((word >> 16 & 1) != q->phase)
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    c->id_status = word;
    c->result = q->completions[q->head].result;
    q->head = (q->head + 1) % QUEUE_ENTRIES;
    q->phase ^= q->head == 0;
    return true;
}

// ------------------------------------------------------------------------------- requests

static const struct namespace *namespace_of(const struct block_request *r)
{
    return container_of(r->disk, struct namespace, disk);
}

// Pages of the segments behind the first one's (4.3): they meet at borders of pages (block_disk.whole_pages).
static void put_pages(struct nvme_queue *q, struct command *c, u32 tag,
                      const struct block_request *r)
{
    u64 *list = (u64 *)(q->tags + tag * TAG_BYTES);
    u32 n = 0;
    for (u32 i = 0; i < r->n_segments; i++) {
        phys_t at = r->segments[i].at, end = at + r->segments[i].bytes;
        if (i == 0) {
            c->prp1 = at;
            at = ALIGN_DOWN(at, PAGE_SIZE) + PAGE_SIZE;
        }
        for (; at < end; at += PAGE_SIZE) {
            KASSERT(n < LIST_ENTRIES);
            list[n++] = at;
        }
    }
    c->prp2 = n == 1 ? list[0] : n ? virt_to_phys(list) : 0;
}

static void put_range(struct nvme_queue *q, struct command *c, u32 tag, u64 block, u64 n_blocks)
{
    struct {
        u32 attributes, n_blocks;
        u64 block;
    } *range = (void *)(q->tags + tag * TAG_BYTES);
    range->attributes = 0;
    range->n_blocks = (u32)n_blocks;
    range->block = block;
    c->prp1 = virt_to_phys(range);
    c->cdw11 = DATASET_DEALLOCATE;  // cdw10: one range
}

static void post(struct disk_queue *dq, u32 tag, const struct block_request *r)
{
    static const u8 opcodes[] = {[BLOCK_READ] = IO_READ,
                                 [BLOCK_WRITE] = IO_WRITE,
                                 [BLOCK_FLUSH] = IO_FLUSH,
                                 [BLOCK_DISCARD] = IO_DATASET,
                                 [BLOCK_ZERO] = IO_ZEROES};
    struct nvme_queue *q = (struct nvme_queue *)dq;
    const struct namespace *ns = namespace_of(r);
    struct command *c = next_command(q);
    u64 block = r->sector >> ns->shift, n = r->n_sectors >> ns->shift;
    c->opcode = opcodes[r->op] | tag << 16;
    c->nsid = ns->id;
    if (r->op == BLOCK_FLUSH)
        return;
    if (r->op == BLOCK_DISCARD) {
        put_range(q, c, tag, block, n);
        return;
    }
    put_pages(q, c, tag, r);
    c->cdw10 = (u32)block;
    c->cdw11 = block >> 32;
    c->cdw12 = (u32)n - 1;
}

static void kick(struct disk_queue *dq)
{
    struct nvme_queue *q = (struct nvme_queue *)dq;
    doorbell(q, false, q->tail);
}

static const struct disk_queue_ops queue_ops = {.post = post, .kick = kick};

static void submit(struct block_disk *d, struct block_request *r)
{
    struct nvme *n = container_of(d, struct namespace, disk)->nvme;
    disk_queue_submit(&n->queues[this_cpu()->id % n->n_queues]->q, r);
}

static void kick_all(struct block_disk *d)
{
    struct nvme *n = container_of(d, struct namespace, disk)->nvme;
    for (u32 i = 0; i < n->n_queues; i++)
        disk_queue_kick(&n->queues[i]->q);
}

// ------------------------------------------------------------------------------- completion

static int result_of(u32 status)
{
    return status == 0 ? 0 : status == STATUS_BAD_OPCODE ? -EOPNOTSUPP : -EIO;
}

// => false: the controller breaks the rules. [lock]
static bool take_finished(struct nvme_queue *q, struct list *finished)
{
    struct completion c;
    bool any = false;
    while (next_completion(q, &c)) {
        int result = result_of(STATUS(c.id_status));
        if (!disk_queue_finish(&q->q, c.id_status & 0xffff, result, finished))
            return false;
        any = true;
    }
    if (any)
        doorbell(q, true, q->head);
    disk_queue_go_on(&q->q);
    return true;
}

static void stop(struct nvme *n) { reg_write32(n->regs, CC, 0); }

static void interrupt(void *arg)
{
    struct nvme *n = arg;
    struct list finished = LIST_INIT(finished);
    bool good = true;
    for (u32 i = 0; i < n->n_queues; i++) {
        struct nvme_queue *q = n->queues[i];
        spin_lock(&q->q.lock);
        good &= q->q.broken || take_finished(q, &finished);
        spin_unlock(&q->q.lock);
    }
    if (!good) {
        log_error("nvme%u: the controller breaks the rules and is not used any more", n->number);
        stop(n);
        for (u32 i = 0; i < n->n_queues; i++)
            disk_queue_break(&n->queues[i]->q, &finished);
    }
    disk_finish(&finished);
}

// ------------------------------------------------------------------------------- bring-up

// => 0, -EIO: not in time, or the controller is gone
static int wait_ready(struct nvme *n, bool ready)
{
    u64 end = ktime_ns() + n->ready_ns;
    for (;;) {
        u32 status = reg_read32(n->regs, CSTS);
        if (status == UINT32_MAX || (ready && (status & CSTS_FATAL)))
            return -EIO;
        if ((status & CSTS_READY) == ready)
            return 0;
        if (ktime_ns() > end)
            return -EIO;
        arch_cpu_relax();
    }
}

// One command of administration; its data is the page of the queue's tags. => 0 and the answer's first word, -EIO
static int admin(struct nvme *n, u32 opcode, u32 nsid, u64 data, u32 cdw10, u32 cdw11, u32 *answer)
{
    struct nvme_queue *q = &n->admin;
    struct command *c = next_command(q);
    struct completion done;
    c->opcode = opcode | opcode << 16;  // the identifier: its own number
    c->nsid = nsid;
    c->prp1 = data;
    c->cdw10 = cdw10;
    c->cdw11 = cdw11;
    doorbell(q, false, q->tail);
    for (u64 end = ktime_ns() + ADMIN_WAIT_NS; !next_completion(q, &done); arch_cpu_relax()) {
        if (ktime_ns() > end)
            return -EIO;
    }
    doorbell(q, true, q->head);
    if ((done.id_status & 0xffff) != opcode || STATUS(done.id_status))
        return -EIO;
    if (answer)
        *answer = done.result;
    return 0;
}

// => the 4 KiB that tell, NULL: an error
static const u8 *identify(struct nvme *n, u32 what, u32 nsid)
{
    memset(n->admin.tags, 0, PAGE_SIZE);
    phys_t at = virt_to_phys(n->admin.tags);
    return admin(n, ADMIN_IDENTIFY, nsid, at, what, 0, NULL) ? NULL : (u8 *)n->admin.tags;
}

static int enable(struct nvme *n)
{
    u32 low = reg_read32(n->regs, CAP), high = reg_read32(n->regs, CAP + 4);
    n->stride = 4u << (high & 15);
    n->ready_ns = MAX(low >> 24, 1u) * (NSEC_PER_SEC / 2);
    if ((low & 0xffff) + 1 < QUEUE_ENTRIES || (high >> 16 & 15) != 0)  // pages of 4 KiB
        return -ENODEV;
    stop(n);
    int err = wait_ready(n, false);
    err = err ? err : queue_init(&n->admin, n, 0);
    if (err)
        return err;
    phys_t sq = virt_to_phys(n->admin.commands),
           cq = virt_to_phys((const void *)n->admin.completions);
    reg_write32(n->regs, AQA, (QUEUE_ENTRIES - 1) << 16 | (QUEUE_ENTRIES - 1));
    reg_write32(n->regs, ASQ, (u32)sq);
    reg_write32(n->regs, ASQ + 4, sq >> 32);
    reg_write32(n->regs, ACQ, (u32)cq);
    reg_write32(n->regs, ACQ + 4, cq >> 32);
    reg_write32(n->regs, CC, CC_ENABLE);
    return wait_ready(n, true);
}

static int read_controller(struct nvme *n)
{
    const u8 *id = identify(n, IDENTIFY_CONTROLLER, 0);
    if (!id)
        return -EIO;
    memcpy(n->serial, id + 4, 20);
    for (u32 i = 20; i-- && (n->serial[i] == ' ' || !n->serial[i]);)
        n->serial[i] = '\0';
    n->max_transfer = id[77] && id[77] < 8 ? (u32)PAGE_SIZE << id[77] : 1u << 20;
    n->oncs = id[520];
    n->has_cache = id[525] & 1;
    return 0;
}

static int add_queue(struct nvme *n, u32 index)
{
    struct nvme_queue *q = kzalloc(sizeof(*q));
    int err = q ? queue_init(q, n, index + 1) : -ENOMEM;
    if (err)
        return err;
    u32 id = q->index | (QUEUE_ENTRIES - 1) << 16;
    disk_queue_init(&q->q, &queue_ops, N_TAGS);
    err = admin(n, ADMIN_CREATE_CQ, 0, virt_to_phys((const void *)q->completions), id, 3, NULL);
    if (!err)  // 3: in one piece, with interrupts by the first message
        err = admin(n, ADMIN_CREATE_SQ, 0, virt_to_phys(q->commands), id, q->index << 16 | 1, NULL);
    if (!err)
        n->queues[n->n_queues++] = q;
    return err;
}

// As many as there are CPUs, or fewer when the controller has fewer. => -EIO, -ENOMEM: not even one
static int add_queues(struct nvme *n)
{
    u32 wanted = MIN(platform_cpu_count(), DISK_MAX_QUEUES), given = 0;
    int err = admin(n, ADMIN_SET_FEATURES, 0, 0, FEATURE_QUEUES, (wanted - 1) << 16 | (wanted - 1),
                    &given);
    wanted = err ? 1 : MIN(wanted, MIN(given & 0xffff, given >> 16) + 1);
    while (wanted > 1 && (2 * wanted + 2) * n->stride > REGISTER_BYTES - DOORBELLS)
        wanted--;
    for (u32 i = 0, failed = 0; i < wanted && !failed; i++)
        failed = (err = add_queue(n, i)) != 0;
    return n->n_queues ? 0 : err;
}

static const struct block_disk_ops disk_ops = {.submit = submit, .kick = kick_all};

static u32 get32(const u8 *p)
{
    u32 value;
    memcpy(&value, p, 4);
    return value;
}

static void describe(struct block_disk *d, const struct nvme *n, u64 sectors, u32 shift)
{
    u32 pages = n->max_transfer / (u32)PAGE_SIZE;
    d->ops = &disk_ops;
    d->major = BLOCK_MAJOR_NVME;
    d->sectors = sectors;
    d->block_bytes = SECTOR_SIZE << shift;
    d->max_segments = MIN(pages, MAX_SEGMENTS);
    d->max_segment_bytes = (u32)PAGE_SIZE * (pages >= 2 * MAX_SEGMENTS ? 2 : 1);
    d->max_range = 65536;
    d->whole_pages = true;
    d->has_flush = n->has_cache;
    d->has_discard = n->oncs & ONCS_DATASET;
    d->has_zero = n->oncs & ONCS_ZEROES;
    memcpy(d->serial, n->serial, sizeof(d->serial));
}

// => 0 also for one that cannot be used
static int add_namespace(struct nvme *n, u32 id)
{
    const u8 *data = identify(n, IDENTIFY_NAMESPACE, id);
    if (!data)
        return -EIO;
    u32 format = get32(data + 128 + 4 * (data[26] & 15)), shift = (format >> 16 & 0xff) - 9;
    u64 blocks = get32(data) | (u64)get32(data + 4) << 32;
    if (!blocks || id > UINT16_MAX)  // more than a name has room for
        return 0;
    if (shift > 3 || blocks > BIT(50) || (format & 0xffff)) {
        log_warn("nvme%un%u: blocks of 512 to 4096 bytes without metadata can be used", n->number,
                 id);
        return 0;
    }
    struct namespace *ns = kzalloc(sizeof(*ns));
    if (!ns)
        return -ENOMEM;
    ns->nvme = n;
    ns->id = id;
    ns->shift = shift;
    describe(&ns->disk, n, blocks << shift, shift);
    ns->disk.read_only = data[99] & 1;
    snprintf(ns->disk.whole.name, sizeof(ns->disk.whole.name), "nvme%un%u", (u8)n->number, (u16)id);
    int err = block_disk_add(&ns->disk);
    n->n_disks += !err;
    return err;
}

// Those in the list of active ones; controllers before version 1.1 have no list, but the first.
static int add_namespaces(struct nvme *n)
{
    u32 ids[MAX_NAMESPACES] = {1};
    const u8 *list = identify(n, IDENTIFY_ACTIVE, 0);
    for (u32 i = 0; list && i < MAX_NAMESPACES; i++)
        ids[i] = get32(list + 4 * i);
    int err = 0;
    for (u32 i = 0; !err && i < MAX_NAMESPACES && ids[i]; i++)
        err = add_namespace(n, ids[i]);
    return err;
}

// The message comes first: there are controllers that look whether there is one when a queue is made.
static int start(struct nvme *n, u32 function)
{
    pci_enable(function);
    if (pci_set_interrupt(function, PCI_MSIX | PCI_MSI | PCI_LINE, interrupt, n) < 0)
        return -ENODEV;
    int err = enable(n);
    err = err ? err : read_controller(n);
    err = err ? err : add_queues(n);
    err = err ? err : add_namespaces(n);
    if (err && !n->n_disks)
        stop(n);
    return err;
}

int nvme_start(u32 function)
{
    phys_t base = pci_bar(function, 0);
    if (!base || !platform_is_device(base, REGISTER_BYTES))
        return -ENODEV;
    struct nvme *n = kzalloc(sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->regs = arch_map_device(base, REGISTER_BYTES);
    n->number = n_controllers++;
    return start(n, function);
}
