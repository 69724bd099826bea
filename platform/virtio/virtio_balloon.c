// SPDX-License-Identifier: BSD-2-Clause
// virtio_balloon.c: gives memory back to the host (VIRTIO 1.2, 5.5).
//
// Twice a second a kernel thread
//   * reports free 2 MiB blocks, behind which the host then takes its memory away (free page reporting). They stay
//     free: the next one to touch them gets new memory from the host.
//   * inflates or deflates the balloon to the size that the host asks for. When the guest runs short of memory, the
//     balloon gives frames back at once and the host is told afterwards.
//   * answers the host's question for statistics.
// The device's interrupts are not used: nothing here is in a hurry.
//
// Locks: balloon.lock, taken by the reclaimer below any lock that an allocation may hold; page allocator inside it.
#include "arch/mmu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/time.h"
#include "core/wait.h"
#include "mm/page.h"
#include "platform/virtio/virtio.h"

#define PERIOD_NS (500 * NSEC_PER_MSEC)
#define ANSWER_STEP_NS (50 * NSEC_PER_USEC)
#define ANSWER_MAX_NS (10 * NSEC_PER_SEC)
#define BATCH 256        // frames told in one message
#define KEEP_PAGES 1024  // free frames that inflating leaves to the guest

enum { F_STATS = 1, F_DEFLATE_ON_OOM = 2, F_FREE_PAGE_HINT = 3, F_REPORTING = 5 };
enum { CONFIG_WANTED = 0, CONFIG_ACTUAL = 4 };  // in frames of 4 KiB
enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_REPORT, N_QUEUES };
enum { STAT_FREE = 4, STAT_TOTAL = 5, STAT_AVAILABLE = 6, N_STATS = 3 };

struct stat {
    u16 tag;
    u64 bytes;
} __attribute__((packed));

static struct {
    struct virtio_device *device;
    struct virtqueue queues[N_QUEUES];
    struct spinlock lock;
    struct page_chain held;  // [lock] the balloon
    u64 told;                // frames that the host counts as the balloon's
} balloon;

static void nap(u64 ns)
{
    thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
    thread_block(WAIT_UNINTERRUPTIBLE, ktime_ns() + ns);
}

// Waits until the device has answered all that is posted. => false: it breaks the rules, or is silent
static bool wait_answered(struct virtqueue *q)
{
    u64 end = ktime_ns() + ANSWER_MAX_NS;
    while (q->n_posted) {
        u32 len;
        int id = virtqueue_take(q, &len);
        if (id == -EAGAIN && ktime_ns() < end)
            nap(ANSWER_STEP_NS);
        else if (id < 0)
            return false;
    }
    return true;
}

// ---- free page reporting

static bool report(void)
{
    struct virtqueue *q = &balloon.queues[Q_REPORT];
    struct page *blocks[VIRTQUEUE_SIZE];
    unsigned n;
    if (!(balloon.device->features & BIT(F_REPORTING)))
        return true;
    // Each round takes half of what is left at most; the last few are not worth more rounds now.
    do {
        n = page_report_begin(blocks, VIRTQUEUE_SIZE);
        for (unsigned i = 0; i < n; i++)
            virtqueue_post_in(q, i, page_to_phys(blocks[i]), HUGE_SIZE);
        if (!wait_answered(q))
            return false;  // the device may still write to these blocks: they are lost
        page_report_end(blocks, n, true);
    } while (n == VIRTQUEUE_SIZE);
    return true;
}

// ---- the balloon

static u32 *frame_numbers(struct virtqueue *q)
{
    return (u32 *)((char *)q->desc + VIRTQUEUE_BYTES);
}
_Static_assert(VIRTQUEUE_BYTES + BATCH * sizeof(u32) <= PAGE_SIZE, "");

static bool tell(struct virtqueue *q, unsigned n)
{
    virtqueue_post_out(q, 0, virt_to_phys(frame_numbers(q)), n * sizeof(u32));
    return wait_answered(q);
}

static void set_actual(u64 pages)
{
    balloon.told = pages;
    balloon.device->ops->set_config(balloon.device, CONFIG_ACTUAL, (u32)pages);
}

static bool inflate(u64 wanted)
{
    struct virtqueue *q = &balloon.queues[Q_INFLATE];
    struct page_chain batch = {0};
    wanted = MIN(wanted, (u64)BATCH);
    while (batch.n < wanted && page_free_count() > KEEP_PAGES) {
        struct page *p = page_alloc(0, PAGE_USER | PAGE_NORECLAIM);
        if (!p)
            break;
        frame_numbers(q)[batch.n] = page_to_phys(p) >> 12;
        page_chain_push(&batch, p);
    }
    if (!batch.n)
        return true;
    u64 n = batch.n;
    if (!tell(q, n))
        return false;
    spin_lock(&balloon.lock);
    batch.last->link.next = (struct list *)balloon.held.first;
    balloon.held.first = batch.first;
    balloon.held.n += n;
    spin_unlock(&balloon.lock);
    set_actual(balloon.told + n);
    return true;
}

// Frees up to max frames of the balloon. => How many; their numbers in *numbers unless that is NULL
static u64 let_go(u64 max, u32 *numbers)
{
    u64 n = 0;
    spin_lock(&balloon.lock);
    for (; n < max && balloon.held.n; n++) {
        struct page *p = balloon.held.first;
        balloon.held.first = page_chain_next(p);
        balloon.held.n--;
        if (numbers)
            numbers[n] = page_to_phys(p) >> 12;
        page_put(p);
    }
    spin_unlock(&balloon.lock);
    return n;
}

static bool deflate(u64 surplus)
{
    struct virtqueue *q = &balloon.queues[Q_DEFLATE];
    u64 n = let_go(MIN(surplus, (u64)BATCH), frame_numbers(q));
    if (n && !tell(q, n))
        return false;
    set_actual(balloon.told - n);
    return true;
}

static u64 reclaim(u64 wanted)
{
    return balloon.device->features & BIT(F_DEFLATE_ON_OOM) ? let_go(wanted, NULL) : 0;
}

static bool resize(void)
{
    u64 wanted = balloon.device->ops->get_config(balloon.device, CONFIG_WANTED);
    wanted = MIN(wanted, page_total_count());
    if (balloon.told != balloon.held.n)  // the reclaimer was here
        set_actual(balloon.held.n);
    for (u64 before = ~0ull; balloon.told != before && balloon.told != wanted;) {
        before = balloon.told;
        bool ok = before < wanted ? inflate(wanted - before) : deflate(before - wanted);
        if (!ok)
            return false;
        sched_point();
    }
    return true;
}

// ---- statistics

static void post_stats(void)
{
    struct virtqueue *q = &balloon.queues[Q_STATS];
    struct stat *stats = (struct stat *)frame_numbers(q);
    stats[0] = (struct stat){STAT_FREE, page_free_count() * PAGE_SIZE};
    stats[1] = (struct stat){STAT_TOTAL, page_total_count() * PAGE_SIZE};
    stats[2] = (struct stat){STAT_AVAILABLE, page_free_count() * PAGE_SIZE};
    virtqueue_post_out(q, 0, virt_to_phys(stats), N_STATS * sizeof *stats);
}

static bool answer_stats(void)
{
    u32 len;
    if (!(balloon.device->features & BIT(F_STATS)))
        return true;
    int id = virtqueue_take(&balloon.queues[Q_STATS], &len);
    if (id == 0)
        post_stats();
    return id == 0 || id == -EAGAIN;
}

// ---- the thread

static int add_queue(unsigned which, unsigned index)
{
    struct page *page = page_alloc(0, PAGE_ZERO);
    return page ? virtqueue_init(&balloon.queues[which], balloon.device, index, page_address(page))
                : -ENOMEM;
}

// => 0 or negative errno; queues of a device that refuses stay with it.
static int start(struct virtio_device *d)
{
    int err = virtio_start(d, BIT(F_STATS) | BIT(F_DEFLATE_ON_OOM) | BIT(F_REPORTING));
    unsigned index = 2;  // queues that the device does not offer have no number
    for (unsigned q = Q_INFLATE; !err && q <= Q_DEFLATE; q++)
        err = add_queue(q, q);
    if (!err && (d->features & BIT(F_STATS)))
        err = add_queue(Q_STATS, index++);
    index += (d->offered & BIT(F_FREE_PAGE_HINT)) != 0;
    if (!err && (d->features & BIT(F_REPORTING)))
        err = add_queue(Q_REPORT, index);
    return err;
}

static void balloon_main(void *arg)
{
    struct virtio_device *d = arg;
    nap(PERIOD_NS);  // a program that ends sooner has nothing to give back
    balloon.device = d;
    int err = start(d);
    if (err) {
        virtio_stop(d);
        log_warn("virtio-balloon: the device does not start: error %d", -err);
        return;
    }
    virtio_ready(d);
    page_register_reclaim(reclaim);
    if (d->features & BIT(F_STATS))
        post_stats();
    while (report() && resize() && answer_stats()) {
        nap(PERIOD_NS);
        page_zero_age();
    }
    log_warn("virtio-balloon: the device breaks the rules and is not used any more");
    virtio_stop(d);
}

int virtio_balloon_start(struct virtio_device *d)
{
    static bool started;
    if (started)
        return -EBUSY;
    started = true;
    struct thread *t = kthread_create("balloon", balloon_main, d, -1);
    return IS_ERR(t) ? (int)PTR_ERR(t) : 0;
}
