// SPDX-License-Identifier: BSD-2-Clause
// page.h: physical page frames and their allocator (mm/page_alloc.c).
#pragma once

#include "arch/mmu.h"
#include "core/atomic.h"
#include "core/list.h"

struct vm_object;

// One for each 4 KiB frame of RAM; at most 32 bytes.
struct page {
    u32 refcount;  // atomic; 0 = free
    u16 flags;     // PG_*
    u8 order;      // of the block, in its first frame
    u8 cache_id;   // slab: which cache
    union {
        struct list link;  // free lists, caches
        struct {
            struct vm_object *object;  // page cache: owner
            u64 index;                 // page cache: page number in the object
        };
    };
    u32 mapcount;  // slab: objects in use; page table: faults taken in it (a hint)
    u32 aux;  // slab: offset of the first free object; page table: groups of entries in use (pagetable.c)
};
_Static_assert(sizeof(struct page) <= 32, "struct page is small");

enum page_flags {
    PG_FREE = 1,      // in the buddy allocator
    PG_RESERVED = 2,  // never freed: kernel, image, firmware
    PG_CACHE = 4,     // belongs to a vm_object
    PG_DIRTY = 8,
    PG_LAZYFREE = 16,  // MADV_FREE: may be dropped while clean
    PG_POISON = 32,    // taken out of service
    PG_REPORTED = 64,  // given to the host by free page reporting
    PG_SLAB = 128,
    PG_REFERENCED = 256,
    PG_SHMEM = 512,          // with PG_CACHE: of a memory-only object
    PG_HUGETLB = 1024,       // 2 MiB of the pool (hugetlb.c), in their first frame
    PG_HUGETLB_KEPT = 2048,  // fills a reservation, which comes back with it
    PG_NO_BLOCK = 4096,      // with PG_CACHE: some of it has no place on its disk yet
    PG_PROMISED = 8192,      // with PG_NO_BLOCK: that place is promised
};

enum page_alloc_flags {
    PAGE_ZERO = 1,       // contents are zero (from the stock of zeroed frames, or cleared now)
    PAGE_NOFAIL = 2,     // boot and small kernel structures: panic instead of NULL
    PAGE_NORECLAIM = 4,  // do not try to reclaim (the caller is the reclaimer, or has a fallback)
    PAGE_USER = 8,       // for the application: leaves the kernel's reserve alone
};

#define PAGE_MAX_ORDER 9  // 2 MiB

extern struct page *page_array;  // indexed by frame number
static inline struct page *phys_to_page(phys_t pa) { return &page_array[pa >> PAGE_SHIFT]; }
static inline phys_t page_to_phys(const struct page *p)
{
    return (phys_t)(p - page_array) << PAGE_SHIFT;
}
static inline void *page_address(const struct page *p) { return phys_to_virt(page_to_phys(p)); }
static inline struct page *virt_to_page(const void *kva) { return phys_to_page(virt_to_phys(kva)); }

// Keeps [start, end) out of the allocator: kernel image, boot tables, start-up page of other CPUs,
// command line. The root image (boot_info.image_*) and frame 0 are kept out without being named.
// => Before page_alloc_init(); at most PAGE_MAX_RESERVED ranges.
#define PAGE_MAX_RESERVED 32
void page_reserve(phys_t start, phys_t end);
// From boot_info; lazy: touches nothing per frame of RAM. => The direct map covers the RAM.
void page_alloc_init(void);
// 2^order contiguous frames, refcount 1, or NULL. order 0 and 9 come from per-CPU caches.
struct page *page_alloc(unsigned order, unsigned flags);
void page_free(struct page *page, unsigned order);  // regardless of refcount, caller owns it
static inline u16 page_set_flags(
    struct page *p, u16 flags)  // => those before; of cached pages, which many may change
{
    return __atomic_fetch_or(&p->flags, flags, __ATOMIC_ACQ_REL);
}
static inline u16 page_clear_flags(struct page *p, u16 flags)
{
    return __atomic_fetch_and(&p->flags, (u16)~flags, __ATOMIC_ACQ_REL);
}
static inline void page_get(struct page *p) { atomic_add(&p->refcount, 1); }
void page_free_last(struct page *p);
// Drops a reference; frees an order-0 frame with the last one.
static inline void page_put(struct page *p)
{
    if (atomic_sub(&p->refcount, 1) == 0)
        page_free_last(p);
}

// A chain of single frames linked through link.next, all owned by the holder: freed in O(1).
struct page_chain {
    struct page *first, *last;
    u64 n;
};
static inline struct page *page_chain_next(const struct page *p)
{
    return (struct page *)p->link.next;
}
static inline void page_chain_push(struct page_chain *c, struct page *p)
{
    p->link.next = (struct list *)c->first;
    if (!c->first)
        c->last = p;
    c->first = p;
    c->n++;
}
// The first of a chain that is not empty. Its last is not kept up to date (nobody appends).
static inline struct page *page_chain_pop(struct page_chain *c)
{
    struct page *p = c->first;
    c->first = --c->n ? page_chain_next(p) : NULL;
    return p;
}
void page_free_chain(struct page_chain *chain);  // leaves it empty
// The same for frames whose contents are zero, as those of page tables taken down: PAGE_ZERO hands them out uncleared.
// => the chain is not empty
void page_free_clean_chain(struct page_chain *chain);

// One frame that the kernel may keep for long, from a 2 MiB block of the kernel's where there is one. => NULL: none left
struct page *page_alloc_kernel(void);
void page_free_kernel(struct page_chain *chain);  // leaves it empty

u64 page_total_count(void);        // frames of usable RAM
u64 page_free_count(void);         // frames free now (all caches included)
bool page_memory_plentiful(void);  // enough free to back 4 KiB touches with 2 MiB frames
// Clears a free frame for the stock of zeroed ones; false when the stock is full or memory short.
// => Called by the idle loop and the zeroing thread; some thousand instructions a call.
bool page_zero_idle(void);

// Told to the allocator twice a second by whoever gives memory to the host: a stock of zeroed frames on which nobody has drawn
// for two seconds shrinks to 16 MiB, so that the host can have the rest. The first use lets it grow to 64 MiB again.
void page_zero_age(void);
// Takes a frame that the caller owns out of service for ever (hwpoison).
void page_retire(struct page *p);
// Free page reporting: the host may take back what is behind free 2 MiB blocks. Begin takes up to max blocks out of
// the allocator, the longest free first, and never more than half of what is left to report, so that memory that comes
// and goes mostly stays; => how many. End returns them, and notes whether the host was told. Begin is for
// threads that hold no lock: it may give the CPU away.
unsigned page_report_begin(struct page **blocks, unsigned max);
void page_report_end(struct page **blocks, unsigned n, bool reported);
u64 page_reported_count(void);  // frames, free and without memory of the host's
// Puts what the caches of all CPUs, the loose batches and the stock of zeroed frames hold into the buddy lists. For shortage, and tests.
void page_drain_all(void);
// Called when memory is short, in order of registration; gives the number of frames freed.
typedef u64 (*page_reclaim_fn)(u64 wanted);
void page_register_reclaim(page_reclaim_fn fn);
u64 page_reclaim(u64 wanted);
void page_allocator_verify(void);
// Tests: the n-th allocation from now fails (0: none); works in VERIFY builds.
extern u64 page_fail_at;

enum page_stat {
    PAGE_STAT_ALLOC_SLOW,   // refills of a per-CPU cache
    PAGE_STAT_ZEROED_IDLE,  // frames cleared in the background
    PAGE_STAT_ZEROED_USED,  // zeroed frames handed out
    PAGE_STAT_BAD,          // frames kept out: badram, memtest, poison
    PAGE_STAT_RECLAIMED,    // frames that reclaim gave back
    PAGE_STAT_DRAINS,       // times that all CPU caches were emptied
    PAGE_STAT_FAILED,       // allocations that found nothing
    PAGE_STAT_REPORTED,     // 2 MiB blocks that the host was told to take back
    PAGE_N_STATS
};
u64 page_stat(enum page_stat which);
u64 page_free_blocks(unsigned order);  // in the buddy lists (/proc/buddyinfo)
u64 page_zeroed_count(void);

// Kernel memory in small pieces (mm/kmalloc.c). kmalloc(0) is not allowed. Contents undefined;
// kzalloc clears. Up to 2 MiB. => NULL when memory is short.
void *kmalloc(size_t size);
void *kzalloc(size_t size);
void *krealloc(void *old, size_t size);
void kfree(void *ptr);  // NULL is fine
struct kcache;          // objects of one size
struct kcache *kcache_create(const char *name, size_t size, size_t align);
void *kcache_alloc(struct kcache *c);
void kcache_free(struct kcache *c, void *object);
char *kstrdup(const char *text);
u64 kmalloc_page_count(void);  // frames in slabs
void kmalloc_drain_cpu(void);
void kmalloc_verify(void);
