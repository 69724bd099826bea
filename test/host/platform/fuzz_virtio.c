// SPDX-License-Identifier: BSD-2-Clause
// The queue code and the entropy driver against a device that lies: indices that jump, descriptors that were never
// posted, lengths beyond the buffer, and everything changed between two looks.
//
//   fuzz_virtio ROUNDS
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random_source.h"
#include "mm/page.h"
#include "platform/pci.h"
#include "platform/virtio/virtio.h"

struct cpu *fake_cpu;
int log_level = LOG_ERROR;
struct boot_info boot_info;

enum { USED_OFFSET = 160 };  // virtio.c's
struct used {
    u16 flags, index;
    struct {
        u32 id, len;
    } ring[VIRTQUEUE_SIZE];
};

static char page[PAGE_SIZE] __aligned(4096);
static bool page_is_taken;
static u8 status, stuck_status;
static bool refuses, too_small;
static unsigned n_notified;
static struct used *used = (struct used *)(page + USED_OFFSET);
static random_source_fn source;

void *phys_to_virt(phys_t pa)
{
    return pa ? (void *)(uintptr_t)pa : page;
}  // frame 0 is the only one
phys_t virt_to_phys(const void *kva) { return (uintptr_t)kva; }
void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }
void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    puts("");
    abort();
}
void random_source_register(random_source_fn fn) { source = fn; }
const char *cmdline_next(const char *at, const char *name, char *buf, size_t size) { return NULL; }
void platform_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq)) {}
int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size, int irq) { return -ENODEV; }
int virtio_pci_probe(struct virtio_device *d, u32 function) { return -ENODEV; }
int virtio_balloon_start(struct virtio_device *d) { return -ENODEV; }
void pci_each_function(u32 bus, void (*found)(u32 function, void *arg), void *arg) {}

static u8 get_status(struct virtio_device *d)
{
    return stuck_status | (refuses ? status & ~8 : status);
}
static void set_status(struct virtio_device *d, u8 value) { status = value; }
static u64 get_features(struct virtio_device *d) { return VIRTIO_F_VERSION_1 | 0xff; }
static void set_features(struct virtio_device *d, u64 features) { KASSERT(!(features & 0xff)); }
static int set_queue(struct virtio_device *d, struct virtqueue *q) { return too_small ? -EIO : 0; }
static void notify(struct virtio_device *d, struct virtqueue *q) { n_notified++; }
static const struct virtio_ops ops = {get_status,   set_status, get_features,
                                      set_features, set_queue,  notify};

static u64 state = 88172645463325252ull;
static u64 random_u64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void queue_round(void)
{
    struct virtio_device d = {.ops = &ops};
    struct virtqueue q;
    bool posted[VIRTQUEUE_SIZE] = {false};
    u32 len;

    memset(page, 0, sizeof(page));
    KASSERT(virtqueue_init(&q, &d, 0, page) == 0);
    for (unsigned step = 0; step < 40; step++) {
        unsigned id = random_u64() % VIRTQUEUE_SIZE;
        if (!posted[id]) {
            virtqueue_post_in(&q, id, 0x1000 + id, 100 + id);
            posted[id] = true;
        }
        used->ring[used->index % VIRTQUEUE_SIZE].id =
            random_u64() % 8 ? random_u64() % VIRTQUEUE_SIZE : random_u64();
        used->ring[used->index % VIRTQUEUE_SIZE].len =
            random_u64() % 8 ? random_u64() % 110 : random_u64();
        used->index += random_u64() % 16 ? 1 : random_u64();
        int got = virtqueue_take(&q, &len);
        if (got == -EIO)
            return;
        KASSERT(got == -EAGAIN ||
                (got >= 0 && got < VIRTQUEUE_SIZE && posted[got] && len <= 100u + got));
        if (got >= 0)
            posted[got] = false;
    }
}

// A device that is honest for a while: every byte that comes is one that it wrote, and behind its first lie none comes.
static void rng_round(struct virtio_device *d)
{
    u8 got[64];
    bool lied = false;
    for (unsigned step = 0; step < 20; step++) {
        u32 len = 1 + random_u64() % 32;
        bool lies = random_u64() % 16 == 0;
        memset(page + VIRTQUEUE_BYTES, 0x5a, len);
        used->ring[used->index % VIRTQUEUE_SIZE].id = lies && step % 2 ? 1 + random_u64() % 100 : 0;
        used->ring[used->index % VIRTQUEUE_SIZE].len =
            lies && !(step % 2) ? 33 + random_u64() % 1000 : len;
        used->index++;
        lied |= lies;
        memset(got, 0, sizeof(got));
        size_t n = source(got, 16 + step);
        KASSERT(n == (lied ? 0 : MIN(len, 16u + step)));
        for (size_t i = 0; i < sizeof(got); i++)
            KASSERT(got[i] == (i < n ? 0x5a : 0));
        KASSERT(lied || source(got, sizeof(got)) == 0);  // nothing twice
    }
    KASSERT(!lied || source(got, sizeof(got)) == 0);
    if (!lied) {  // to the next round
        used->index += 9;
        KASSERT(source(got, sizeof(got)) == 0);
    }
    (void)d;
}

static struct page fake_page;
struct page *page_alloc(unsigned order, unsigned flags)
{
    KASSERT(!page_is_taken);
    page_is_taken = true;
    memset(page, 0, sizeof(page));
    return &fake_page;
}
void page_free_last(struct page *p) { page_is_taken = false; }
void spin_lock_slow(struct spinlock *l) { abort(); }
struct page *page_array = &fake_page;

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    struct virtio_device d = {.ops = &ops, .id = VIRTIO_ID_RNG};

    for (unsigned long i = 0; i < rounds; i++)
        queue_round();
    stuck_status = 1;  // never resets
    KASSERT(virtio_start(&d, 0) == -EIO);
    stuck_status = 0;
    refuses = true;  // the features
    KASSERT(virtio_start(&d, 0) == -EIO);
    refuses = false;
    KASSERT(virtio_start(&d, 0) == 0);
    for (unsigned long i = 0; i < rounds / 10; i++) {
        page_is_taken = false;
        KASSERT(virtio_rng_start(&d) == 0);
        rng_round(&d);
    }
    return 0;
}
