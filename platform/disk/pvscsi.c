// SPDX-License-Identifier: BSD-2-Clause
// pvscsi.c: SCSI disks behind VMware's paravirtual adapter (15ad:07c0), which QEMU has too; the commands are scsi.c's. There is no public
// specification: the layout is that of the headers of VMware's own drivers.
//
//   one page of state      0 requests put  4 requests taken  8 log2 of the ring  |  12 answers put  16 answers taken  20 log2 of the ring
//   one page of requests   32 of 128 bytes, with the tag as context
//   one page of answers    128 of 32 bytes
//   slots                  one a tag: sense data, a range, the list of segments
//
// P1 The adapter owns a request's slot from post until its answer is taken. Of the page of state only "answers put" is read, and not believed: more
// than there can be, or a tag that it has not, stops the adapter, and every request that it had ends with EIO.
// P2 At most N_TAGS requests are under way, so the ring of requests cannot overflow, and that of answers neither.
#include <string.h>

#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/disk/disk_queue.h"
#include "platform/disk/scsi.h"
#include "platform/mmio.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

enum {  // registers
    COMMAND = 0x0000,
    COMMAND_DATA = 0x0004,
    INTERRUPT_STATUS = 0x100c,
    INTERRUPT_MASK = 0x2010,
    KICK_OTHERS = 0x3014,
    KICK_MOVES = 0x4018,  // reads and writes
    REGISTER_BYTES = 0x8000,
};
enum { COMMAND_RESET = 1, COMMAND_SETUP_RINGS = 3 };
enum { INTERRUPT_ANSWERS = 3 };
enum { FLAG_LIST = 1, FLAG_NO_DATA = 4, FLAG_IN = 8, FLAG_OUT = 16 };
enum {  // what becomes of a command on its way
    HOST_GOOD = 0x00,
    HOST_LESS_DATA = 0x0c,  // or more
    HOST_NOBODY = 0x11,
    HOST_DATA_RUN = 0x12,
    HOST_NO_SUCH_LUN = 0x17,
};
#define N_TAGS 32u
#define N_ANSWERS 128u
#define SEGMENTS 16u
#define MAX_TARGET 63
#define TAG_SIMPLE 0x20
#define ANSWER_NS (5 * NSEC_PER_SEC)

struct state {
    u32 put, taken, log2;
    u32 answers_put, answers_taken, answers_log2;
};

struct __packed request {
    u64 tag, data, data_bytes, sense;
    u32 sense_bytes, flags;
    u8 cdb[16], cdb_bytes, lun[8], attribute, bus, target, cpu, unused[59];
};

struct answer {
    u64 tag, data_bytes;
    u32 sense_bytes;
    u16 host, status;
    u32 unused[2];
};

struct slot {
    struct {
        u64 at;
        u32 bytes, flags;
    } list[SEGMENTS];
    u8 sense[SCSI_SENSE_BYTES], range[SCSI_RANGE_BYTES],
        unused[136];  // none over the end of a page
};

struct __packed rings {  // of COMMAND_SETUP_RINGS
    u32 n_pages, n_answer_pages;
    u64 state, pages[32], answer_pages[32];
};
_Static_assert(sizeof(struct request) * N_TAGS == PAGE_SIZE, "");
_Static_assert(sizeof(struct answer) * N_ANSWERS == PAGE_SIZE && sizeof(struct slot) == 512, "");

struct pvscsi {
    struct scsi_adapter adapter;  // first
    struct disk_queue q;
    volatile u8 *regs;
    volatile struct state *state;
    struct request *requests;
    struct answer *answers;
    struct slot *slots;
    u32 put, taken;      // [queue lock]
    bool moves, others;  // [queue lock] posted, and not told of
    bool silent;         // it left a command unanswered while disks were looked for
};

static struct pvscsi *pvscsi_of(struct disk_queue *q) { return container_of(q, struct pvscsi, q); }

// ------------------------------------------------------------------------------- requests

static u64 data_of(struct slot *s, const struct block_segment *segments, u32 n)
{
    if (n == 1)
        return segments[0].at;
    for (u32 i = 0; i < n; i++) {
        s->list[i].at = segments[i].at;
        s->list[i].bytes = segments[i].bytes;
        s->list[i].flags = 0;
    }
    return virt_to_phys(s->list);
}

static void put_request(struct pvscsi *p, u32 tag, u32 target, u32 lun, const u8 *cdb,
                        const struct block_segment *segments, u32 n, u32 direction)
{
    struct slot *s = &p->slots[tag];
    struct request *r = &p->requests[p->put % N_TAGS];
    memset(r, 0, sizeof(*r));
    r->tag = tag;
    r->flags = n ? direction | (n > 1 ? FLAG_LIST : 0) : FLAG_NO_DATA;
    r->data = n ? data_of(s, segments, n) : 0;
    for (u32 i = 0; i < n; i++)
        r->data_bytes += segments[i].bytes;
    r->sense = virt_to_phys(s->sense);
    r->sense_bytes = sizeof(s->sense);
    memcpy(r->cdb, cdb, SCSI_CDB_BYTES);
    r->cdb_bytes = SCSI_CDB_BYTES;
    r->lun[0] = (u8)(lun >> 8);
    r->lun[1] = (u8)lun;
    r->attribute = TAG_SIMPLE;
    r->target = (u8)target;
    p->put++;
}

static void post(struct disk_queue *q, u32 tag, const struct block_request *r)
{
    struct pvscsi *p = pvscsi_of(q);
    struct slot *s = &p->slots[tag];
    const struct scsi_disk *d = scsi_disk_of(r);
    struct scsi_command c;
    bool moves = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    scsi_command(r, &c);
    memcpy(s->range, c.range, sizeof(s->range));
    struct block_segment own = {c.zeros ? c.zeros : virt_to_phys(s->range), c.data_bytes};
    put_request(p, tag, d->target, d->lun, c.cdb, c.data_bytes ? &own : r->segments,
                c.data_bytes ? 1 : r->n_segments, r->op == BLOCK_READ ? FLAG_IN : FLAG_OUT);
    p->moves |= moves;
    p->others |= !moves;
}

static void tell(struct pvscsi *p, u32 kick)
{
    device_fence();
    p->state->put = p->put;
    device_fence();
    reg_write32(p->regs, kick, 0);
}

static void kick(struct disk_queue *q)
{
    struct pvscsi *p = pvscsi_of(q);
    if (p->others)
        tell(p, KICK_OTHERS);
    if (p->moves)
        tell(p, KICK_MOVES);
    p->moves = p->others = false;
}

static const struct disk_queue_ops queue_ops = {.post = post, .kick = kick};

static struct pvscsi *adapter_of(const struct block_disk *d)
{
    return (struct pvscsi *)container_of(d, struct scsi_disk, disk)->adapter;
}
static void submit(struct block_disk *d, struct block_request *r)
{
    disk_queue_submit(&adapter_of(d)->q, r);
}
static void kick_disk(struct block_disk *d) { disk_queue_kick(&adapter_of(d)->q); }
static const struct block_disk_ops disk_ops = {.submit = submit, .kick = kick_disk};

// ------------------------------------------------------------------------------- completion

// The next answer. => its tag, -EAGAIN: there is none, -EIO: the adapter breaks the rules
static int take(struct pvscsi *p, struct answer *a)
{
    u32 there = p->state->answers_put - p->taken;
    if (there == 0)
        return -EAGAIN;
    device_fence();
    *a = p->answers[p->taken % N_ANSWERS];
    p->taken++;
    device_fence();
    p->state->answers_taken = p->taken;
    return there > N_TAGS || a->tag >= N_TAGS ? -EIO : (int)a->tag;
}

static int result_of(const struct pvscsi *p, const struct answer *a)
{
    return a->host == HOST_GOOD ? scsi_result(a->status, p->slots[a->tag].sense) : -EIO;
}

// => false: the adapter breaks the rules. [queue lock]
static bool take_finished(struct pvscsi *p, struct list *finished)
{
    struct answer a;
    int tag;
    while ((tag = take(p, &a)) >= 0) {
        if (!disk_queue_finish(&p->q, (u32)tag, result_of(p, &a), finished))
            return false;
    }
    if (tag == -EAGAIN)
        disk_queue_go_on(&p->q);
    return tag == -EAGAIN;
}

static void stop(struct pvscsi *p)
{
    reg_write32(p->regs, INTERRUPT_MASK, 0);
    reg_write32(p->regs, COMMAND, COMMAND_RESET);
}

static void interrupt(void *arg)
{
    struct pvscsi *p = arg;
    struct list finished = LIST_INIT(finished);
    u32 status = reg_read32(p->regs, INTERRUPT_STATUS);
    if (status)
        reg_write32(p->regs, INTERRUPT_STATUS, status);
    spin_lock(&p->q.lock);
    bool good = p->q.broken || take_finished(p, &finished);
    spin_unlock(&p->q.lock);
    if (!good) {
        log_error("pvscsi: the adapter breaks the rules and is not used any more");
        stop(p);
        disk_queue_break(&p->q, &finished);
    }
    disk_finish(&finished);
}

// ------------------------------------------------------------------------------- bring-up

static int execute(struct scsi_adapter *adapter, u32 target, u32 lun, const u8 *cdb, u8 *data,
                   u32 bytes, u8 *sense)
{
    struct pvscsi *p = (struct pvscsi *)adapter;
    struct block_segment in = {virt_to_phys(data), bytes};
    struct answer a;
    int tag;
    if (p->silent)
        return -EIO;
    put_request(p, 0, target, lun, cdb, &in, bytes ? 1 : 0, FLAG_IN);
    tell(p, KICK_OTHERS);
    for (u64 end = ktime_ns() + ANSWER_NS; (tag = take(p, &a)) == -EAGAIN && ktime_ns() < end;)
        arch_cpu_relax();
    p->silent = tag != 0;
    if (p->silent)
        return -EIO;
    memcpy(sense, p->slots[0].sense, SCSI_SENSE_BYTES);
    if (a.host == HOST_NOBODY || a.host == HOST_NO_SUCH_LUN)
        return -ENODEV;
    return a.host == HOST_GOOD || a.host == HOST_LESS_DATA || a.host == HOST_DATA_RUN ? a.status
                                                                                      : -EIO;
}

static void *page_of_zeros(unsigned order)
{
    struct page *page = page_alloc(order, PAGE_ZERO);
    return page ? page_address(page) : NULL;
}

static int set_up(struct pvscsi *p)
{
    enum { SLOTS_ORDER = 2 };
    struct rings rings = {.n_pages = 1, .n_answer_pages = 1};
    u32 words[sizeof(rings) / 4];
    p->state = page_of_zeros(0);
    p->requests = page_of_zeros(0);
    p->answers = page_of_zeros(0);
    p->slots = page_of_zeros(SLOTS_ORDER);
    if (!p->state || !p->requests || !p->answers || !p->slots)
        return -ENOMEM;
    rings.state = virt_to_phys((const void *)p->state) / PAGE_SIZE;
    rings.pages[0] = virt_to_phys(p->requests) / PAGE_SIZE;
    rings.answer_pages[0] = virt_to_phys(p->answers) / PAGE_SIZE;
    memcpy(words, &rings, sizeof(words));
    stop(p);
    device_fence();
    reg_write32(p->regs, COMMAND, COMMAND_SETUP_RINGS);
    for (u32 i = 0; i < ARRAY_SIZE(words); i++)
        reg_write32(p->regs, COMMAND_DATA, words[i]);
    disk_queue_init(&p->q, &queue_ops, N_TAGS);
    p->adapter = (struct scsi_adapter){.execute = execute,
                                       .disk_ops = &disk_ops,
                                       .max_target = MAX_TARGET,
                                       .max_lun = 255,
                                       .max_segments = SEGMENTS,
                                       .max_segment_bytes = 64 * 1024};
    return 0;
}

int pvscsi_start(u32 function)
{
    phys_t base = pci_bar(function, 0);
    if (!base || !platform_is_device(base, REGISTER_BYTES))
        return -ENODEV;
    struct pvscsi *p = kzalloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->regs = arch_map_device(base, REGISTER_BYTES);
    pci_enable(function);
    int err = pci_set_interrupt(function, PCI_MSIX | PCI_MSI | PCI_LINE, interrupt, p);
    err = err < 0 ? -ENODEV : set_up(p);
    err = err ? err : scsi_find_disks(&p->adapter);
    if (err || p->silent) {
        struct list none = LIST_INIT(none);
        if (p->q.ops) {
            stop(p);
            disk_queue_break(&p->q, &none);  // of disks that were found
        }
        return err ? err : -EIO;  // its memory may be the adapter's still: it is lost
    }
    reg_write32(p->regs, INTERRUPT_MASK, INTERRUPT_ANSWERS);
    return 0;
}
