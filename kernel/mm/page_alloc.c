// SPDX-License-Identifier: BSD-2-Clause
// page_alloc.c: physical frames.
//
// A frame on its way from the machine to its user, and back:
//
//     virgin --pull_block--> buddy lists --refill--> CPU cache --page_alloc--> user
//       (spans)               order 0..9   (run, chain)   ^                      |
//                                  ^                      +---page_free(_chain)--+
//                                  |                      |
//                                  +--merge-- loose batches <--spill (chain > CACHE_HIGH)
//                                  |
//                                  +--page_zero_idle--> zeroed blocks --> run of zeroed frames
//
// * Virgin memory: at boot only the spans of usable RAM are noted. A 2 MiB block's struct pages are
//   written when the block is first needed, in ascending order, so booting costs the same in 4 MB
//   and in 64 GB. The page array itself is placed, not cleared.
// * Buddy lists: orders 0 to 9. A merge looks only at frames of the same 2 MiB block, so it never
//   reads a struct page of a virgin block.
// * CPU cache: a run of neighbouring frames that is handed out from its low end without any list, and
//   a chain of freed frames. A freed chain of any length is taken over in O(1).
// * Loose batches: chains that CPUs spilled, unmerged. Another CPU's refill takes a batch in O(1); they
//   are merged into the buddy lists by the idle loop, or when a larger block is wanted.
//   Merging at once, as usual, costs more than all the rest of munmap for memory that is wanted back soon.
// * Kernel blocks: frames that the kernel keeps for long (slabs, stacks) are taken from 2 MiB blocks of their own, straight
//   from the buddy lists and back; one of them in every block would leave no 2 MiB for the application. Such a block has
//   its own lists and ends when it is whole again; the application gets frames of it when there are no others.
// * 2 MiB blocks go to and from the buddy list under the lock: one short critical section for each
//   2 MiB is no contention worth a cache.
//
// Invariants (page_allocator_verify):
//  I1  A frame is in exactly one of: virgin span, buddy block, CPU run or chain, loose batch, zeroed
//      block or run, user, out of service.
//  I2  PG_FREE is set in the first frame of a buddy block and in no other initialised frame.
//  I3  n_free[order] counts the blocks of a list, free_pages the frames in all lists.
//  I4  Two free buddies of the same order below 9 never lie side by side (else they were merged).
//  I5  Zeroed frames are all zero.
//  I6  A whole 2 MiB block is on the lists for everybody and its kernel bit is clear.
//  I7  A block on the list of reported ones has PG_REPORTED, and its frames count as free.
//
// Locks: buddy.lock is a leaf. A CPU cache is touched by its own CPU only; other CPUs ask for it with
// a cross-call (drain), which takes buddy.lock, so nobody waits for a cross-call while holding it. A
// CPU that waits for buddy.lock serves such calls: what it read of its cache before is stale then.
#include "mm/page.h"
#include "mm/hugetlb.h"

#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "core/wait.h"

#define BLOCK_PAGES (1u << PAGE_MAX_ORDER)
#define CACHE_HIGH 1024    // a chain longer than this is spilled: 4 MiB, one refault burst
#define CLEAN_MAX 64       // a few programs' worth of page tables
#define KERNEL_FIRST 64    // kernel pieces that may lie anywhere: those of the start stay for ever
#define KERNEL_BITS 4096u  // 8 GiB; what lies above shares the bits
#define IDLE_KEEP \
    64  // frames that an idle CPU keeps: what it holds may be all that breaks up a 2 MiB block
#define MERGE_STEP 64  // frames merged by one call of the idle loop
#define ZERO_STEP 4    // frames cleared by one call: 2,000 instructions, 1 us
#define ZERO_MAX_BYTES (64ull << 20)
#define ZERO_REST_BLOCKS 8u  // what the stock shrinks to while nobody draws on it: 16 MiB
#define ZERO_QUIET 4         // calls of page_zero_age() before it shrinks
#define DRAIN_EVERY_NS (10 * NSEC_PER_MSEC)  // of all CPUs' caches, for the sake of a 2 MiB block
#define MAX_SPANS (MAX_MEM_RANGES + PAGE_MAX_RESERVED + 4)
#define MAX_BAD_PATTERNS 32

struct span {
    u64 start, end;  // frame numbers
};

// What one CPU keeps for itself.
struct page_cache {
    struct page_chain chain;           // freed frames
    struct page *run, *run_end;        // neighbouring frames, not handed out yet
    struct page *zero_run, *zero_end;  // the same, contents zero
    struct page_chain clean;  // freed frames known to be zero: page tables (at most CLEAN_MAX)
    struct page *work;        // block being cleared in the background, or NULL
    u32 work_done;            // frames of it that are clear
    u64 zeroed_used;
};
static DEFINE_PERCPU(struct page_cache, page_cache);

static struct {
    struct spinlock lock;
    struct list free[2][PAGE_MAX_ORDER + 1];  // [lock] in kernel blocks: [1]
    u64 n_free[PAGE_MAX_ORDER + 1];           // [lock] blocks
    u64 free_pages;                           // [lock] frames in the lists
    u64 kernel_blocks[KERNEL_BITS / 64];      // [lock] which 2 MiB blocks are the kernel's (a hint)
    u32 kernel_taken;              // pieces that lie anywhere, or found no kernel block (a hint)
    struct page *loose;            // [lock] first batch; next batch in link.prev, length in aux
    u64 loose_pages;               // [lock]
    struct page *zeroed;           // [lock] chain of zeroed 2 MiB blocks
    u64 zeroed_blocks;             // [lock]
    struct list reported;          // [lock] free 2 MiB blocks that the host has taken back
    u64 n_reported;                // [lock]
    struct span spans[MAX_SPANS];  // usable RAM, sorted; fixed after boot
    u32 n_spans;
    u32 virgin_span;   // [lock] first span with virgin frames
    u64 virgin_next;   // [lock] all frames below have been pulled
    u64 virgin_pages;  // [lock]
    u64 total_pages;
    u64 reserve;          // frames that PAGE_USER leaves alone
    u64 zero_limit;       // blocks that the stock may ever have,
    u64 zero_max_blocks;  // and those that it may have now
    u64 zero_used_before;
    unsigned zero_quiet;
} buddy;

struct page *page_array;
static u64 n_frames;  // length of page_array
static struct span reserved[PAGE_MAX_RESERVED + 4];
static u32 n_reserved;
static struct {
    u64 addr, mask;
} bad_patterns[MAX_BAD_PATTERNS];
static u32 n_bad_patterns;
static u64 stats[PAGE_N_STATS];
static page_reclaim_fn reclaimers[8];
static u32 n_reclaimers;
u64 page_fail_at;

// ---- struct page construction

// Refcount 1, no flags, order 0, in one store.
static inline void page_set_allocated(struct page *p)
{
    _Static_assert(offsetof(struct page, refcount) == 0 && offsetof(struct page, link) == 8, "");
    *(u64 *)p = 1;
    p->mapcount = p->aux = 0;
}

static void page_init_reserved(u64 from, u64 to)
{
    for (u64 pfn = from; pfn < to; pfn++) {
        page_array[pfn] = (struct page){.refcount = 1, .flags = PG_RESERVED};
    }
}

// ---- buddy lists

static inline u64 *kernel_word(u64 pfn)
{
    return &buddy.kernel_blocks[pfn / BLOCK_PAGES % KERNEL_BITS / 64];
}
static inline u64 kernel_bit(u64 pfn) { return BIT(pfn / BLOCK_PAGES % 64); }

static void list_block(u64 pfn, unsigned order)
{
    struct page *p = &page_array[pfn];
    p->flags = PG_FREE;
    p->order = order;
    if (order == PAGE_MAX_ORDER)
        *kernel_word(pfn) &= ~kernel_bit(pfn);
    bool kernel = *kernel_word(pfn) & kernel_bit(pfn);
    list_push_front(&buddy.free[kernel][order], &p->link);
    buddy.n_free[order]++;
}

static void unlist_block(struct page *p, unsigned order)
{
    list_remove(&p->link);
    p->flags = 0;
    buddy.n_free[order]--;
}

// Puts a block in and merges it upwards. => [lock]
static void buddy_insert(struct page *p, unsigned order)
{
    u64 pfn = p - page_array;
    buddy.free_pages += 1ull << order;
    p->flags = 0;
    for (; order < PAGE_MAX_ORDER; order++) {
        struct page *other = &page_array[pfn ^ (1ull << order)];
        if (!(other->flags & PG_FREE) || other->order != order)
            break;
        unlist_block(other, order);
        pfn &= ~(1ull << order);
    }
    list_block(pfn, order);
}

// Takes a block from the lists of orders from and up, and lists what is left over. => [lock]; from >= order
static struct page *buddy_take(bool kernel, unsigned order, unsigned from)
{
    for (unsigned o = from; o <= PAGE_MAX_ORDER; o++) {
        if (list_empty(&buddy.free[kernel][o]))
            continue;
        struct page *p = list_first(&buddy.free[kernel][o], struct page, link);
        unlist_block(p, o);
        buddy.free_pages -= 1ull << order;
        while (o > order) {
            o--;
            list_block(p - page_array + (1ull << o), o);
        }
        return p;
    }
    return NULL;
}

// The last resort: a block for which the host must find memory again. => [lock]; false: there is none
static bool list_reported_block(void)
{
    if (list_empty(&buddy.reported))
        return false;
    struct page *p = list_first(&buddy.reported, struct page, link);
    list_remove(&p->link);
    buddy.n_reported--;
    list_block(p - page_array, PAGE_MAX_ORDER);
    return true;
}

// ---- virgin memory

static bool frame_is_bad(u64 pfn)
{
    for (u32 i = 0; i < n_bad_patterns; i++)
        if ((((pfn << PAGE_SHIFT) ^ bad_patterns[i].addr) & bad_patterns[i].mask & PAGE_MASK) == 0)
            return true;
    return false;
}

static bool run_has_bad(u64 start, u64 end)
{
    if (likely(n_bad_patterns == 0))
        return false;
    for (u64 pfn = start; pfn < end; pfn++)
        if (frame_is_bad(pfn))
            return true;
    return false;
}

// Inserts [start, end), which lies in one 2 MiB block, as naturally aligned blocks. => [lock]
static void insert_run(u64 start, u64 end)
{
    while (start < end) {
        unsigned order = start ? (unsigned)__builtin_ctzll(start) : PAGE_MAX_ORDER;
        if (order > PAGE_MAX_ORDER)
            order = PAGE_MAX_ORDER;
        while (start + (1ull << order) > end)
            order--;
        buddy_insert(&page_array[start], order);
        start += 1ull << order;
    }
}

static void insert_good_frames(u64 start, u64 end)
{
    u64 run = start;
    for (u64 pfn = start; n_bad_patterns && pfn < end; pfn++) {
        if (!frame_is_bad(pfn))
            continue;
        page_array[pfn] = (struct page){.refcount = 1, .flags = PG_RESERVED | PG_POISON};
        stats[PAGE_STAT_BAD]++;
        buddy.total_pages--;
        insert_run(run, pfn);
        run = pfn + 1;
    }
    insert_run(run, end);
}

// Frames of no use between usable runs; the root image's are live already (page_alloc_init).
static void init_gap(u64 start, u64 end)
{
    u64 image_start = boot_info.image_start >> PAGE_SHIFT;
    u64 image_end = (boot_info.image_end + PAGE_SIZE - 1) >> PAGE_SHIFT;
    if (start < image_end && image_start < end) {
        if (start < image_start)
            page_init_reserved(start, image_start);
        if (image_end < end)
            page_init_reserved(image_end, end);
        return;
    }
    page_init_reserved(start, end);
}

// A 2 MiB block that is only partly usable. => [lock]
static __cold void pull_ragged(u64 block)
{
    u64 end = MIN(block + BLOCK_PAGES, n_frames), at = block;
    u32 first = buddy.virgin_span;
    for (u32 i = first; i < buddy.n_spans && buddy.spans[i].start < end; i++) {
        u64 from = MAX(buddy.spans[i].start, block), to = MIN(buddy.spans[i].end, end);
        init_gap(at, from);
        for (u64 pfn = from; pfn < to; pfn++)
            *(u64 *)&page_array[pfn] = 0;
        buddy.virgin_pages -= to - from;
        at = to;
    }
    init_gap(at, end);
    for (u32 i = first; i < buddy.n_spans && buddy.spans[i].start < end; i++)
        insert_good_frames(MAX(buddy.spans[i].start, block), MIN(buddy.spans[i].end, end));
}

// Brings the next virgin 2 MiB block into the lists. => [lock]; false when none is left
static bool pull_block(void)
{
    for (;; buddy.virgin_span++) {
        if (buddy.virgin_span == buddy.n_spans)
            return false;
        if (buddy.spans[buddy.virgin_span].end > buddy.virgin_next)
            break;
    }
    const struct span *s = &buddy.spans[buddy.virgin_span];
    u64 start = MAX(s->start, buddy.virgin_next), block = ALIGN_DOWN(start, BLOCK_PAGES);
    buddy.virgin_next = block + BLOCK_PAGES;
    if (start != block || s->end < block + BLOCK_PAGES || run_has_bad(block, block + BLOCK_PAGES)) {
        pull_ragged(block);
        return true;
    }
    for (u64 pfn = block; pfn < block + BLOCK_PAGES; pfn++)
        *(u64 *)&page_array[pfn] = 0;
    buddy.virgin_pages -= BLOCK_PAGES;
    buddy.free_pages += BLOCK_PAGES;
    list_block(block, PAGE_MAX_ORDER);
    return true;
}

// Takes a block from those of the kernel. => [lock]; NULL: only what everybody has is left
static __cold struct page *take_for_kernel(unsigned order)
{
    struct list *whole = &buddy.free[0][PAGE_MAX_ORDER];
    struct page *p = buddy_take(true, order, order);
    if (p || buddy.kernel_taken++ < KERNEL_FIRST || (list_empty(whole) && !pull_block()) ||
        list_empty(whole))
        return p;
    u64 pfn = list_first(whole, struct page, link) - page_array;
    *kernel_word(pfn) |= kernel_bit(pfn);
    return buddy_take(false, order, PAGE_MAX_ORDER);
}

// ---- giving cached frames back to the buddy lists

// Merges one loose batch. => [lock]
static void merge_batch(u64 max)
{
    struct page *p = buddy.loose, *next_batch = (struct page *)p->link.prev;
    u64 n = p->aux;
    while (n && max) {
        struct page *next = page_chain_next(p);
        buddy_insert(p, 0);
        p = next;
        n--, max--;
        buddy.loose_pages--;
    }
    if (n) {
        p->aux = (u32)n;
        p->link.prev = (struct list *)next_batch;
        buddy.loose = p;
    } else {
        buddy.loose = next_batch;
    }
}

static void insert_frames(struct page *from, struct page *to)
{
    insert_run(from - page_array, to - page_array);
}

// Empties this CPU's cache into the buddy lists; the cross-call of page_drain_all.
static __cold void drain_this_cpu(void *arg)
{
    struct page_cache *c = percpu_ptr(page_cache);
    spin_lock(&buddy.lock);
    for (struct page *p = c->chain.first, *next; c->chain.n; c->chain.n--, p = next) {
        next = page_chain_next(p);
        buddy_insert(p, 0);
    }
    for (struct page *p = c->clean.first, *next; c->clean.n; c->clean.n--, p = next) {
        next = page_chain_next(p);
        buddy_insert(p, 0);
    }
    c->chain = c->clean = (struct page_chain){0};
    insert_frames(c->run, c->run_end);
    insert_frames(c->zero_run, c->zero_end);
    c->run = c->run_end = c->zero_run = c->zero_end = NULL;
    if (c->work)
        buddy_insert(c->work, PAGE_MAX_ORDER);
    c->work = NULL;
    spin_unlock(&buddy.lock);
}

// => [lock]
static __cold void shrink_stock(u64 blocks)
{
    while (buddy.zeroed_blocks > blocks) {
        struct page *p = buddy.zeroed;
        buddy.zeroed = page_chain_next(p);
        buddy.zeroed_blocks--;
        buddy_insert(p, PAGE_MAX_ORDER);
    }
}

// Everything that is cached anywhere becomes a buddy block.
__cold void page_drain_all(void)
{
    stats[PAGE_STAT_DRAINS]++;
    if (n_cpus > 1)
        cross_run(~(cpumask_t)0, drain_this_cpu, NULL);
    else
        drain_this_cpu(NULL);
    spin_lock(&buddy.lock);
    while (buddy.loose)
        merge_batch(UINT64_MAX);
    shrink_stock(0);
    spin_unlock(&buddy.lock);
}

// ---- allocation

// Free frames outside the CPU caches, without the lock (a hint).
static inline u64 available(void)
{
    return READ_ONCE(buddy.free_pages) + READ_ONCE(buddy.virgin_pages) +
           READ_ONCE(buddy.loose_pages) + READ_ONCE(buddy.zeroed_blocks) * BLOCK_PAGES;
}

// How large a run a refill may take: all of a block when there is much, less near the reserve.
// => -1: nothing for this caller.
static int refill_order(unsigned flags)
{
    u64 have = available(), keep = flags & PAGE_USER ? buddy.reserve : 0;
    if (have <= keep)
        return -1;
    u64 share = (have - keep) / 4;
    int order = share ? 63 - __builtin_clzll(share) : 0;
    return MIN(order, PAGE_MAX_ORDER);
}

static void set_run(struct page_cache *c, struct page *p, unsigned order)
{
    c->run = p;
    c->run_end = p + (1u << order);
}

static __cold bool take_run(struct page_cache *c, bool kernel, int max_order)
{
    for (int o = 0; o <= PAGE_MAX_ORDER; o++) {
        if (list_empty(&buddy.free[kernel][o]))
            continue;
        unsigned take = MIN(o, max_order);
        set_run(c, buddy_take(kernel, take, o), take);
        return true;
    }
    return false;
}

// Gets frames for an empty CPU cache. => [lock]; false when there are none
static bool refill_locked(struct page_cache *c, int max_order)
{
    if (buddy.loose) {
        struct page *p = buddy.loose;
        buddy.loose = (struct page *)p->link.prev;
        buddy.loose_pages -= p->aux;
        c->chain = (struct page_chain){.first = p, .last = NULL, .n = p->aux};
        return true;
    }
    do
        if (take_run(c, false, max_order))
            return true;
    while (pull_block() || (!buddy.zeroed && list_reported_block()));
    if (!buddy.zeroed)
        return take_run(c, true, max_order);
    set_run(c, buddy.zeroed, PAGE_MAX_ORDER);
    buddy.zeroed = page_chain_next(buddy.zeroed);
    buddy.zeroed_blocks--;
    return true;
}

static bool refill(struct page_cache *c, unsigned flags)
{
    int order = refill_order(flags);
    if (order < 0)
        return false;
    stats[PAGE_STAT_ALLOC_SLOW]++;
    spin_lock(&buddy.lock);
    bool ok = refill_locked(c, order);
    spin_unlock(&buddy.lock);
    return ok;
}

// Takes a frame from the CPU's cache.
static inline struct page *cache_pop(struct page_cache *c)
{
    struct page *p;
    if (c->chain.first) {
        p = page_chain_pop(&c->chain);
    } else if (c->run < c->run_end) {
        p = c->run++;
    } else {
        return NULL;
    }
    page_set_allocated(p);
    return p;
}

static __cold __noinline struct page *alloc_one_slow(unsigned flags)
{
    for (int attempt = 0; attempt < 4; attempt++) {
        struct page_cache *c = percpu_ptr(page_cache);
        struct page *p = refill(c, flags) ? cache_pop(c) : NULL;
        bool spare = !p && !(flags & PAGE_USER);
        if (spare && c->clean.first) {
            p = page_chain_pop(&c->clean);
            page_set_allocated(p);
        } else if (spare && c->zero_run < c->zero_end) {
            p = c->zero_run++;
            page_set_allocated(p);
        }
        if (p)
            return p;
        if (attempt == 0)
            page_drain_all();
        else if ((flags & PAGE_NORECLAIM) || !page_reclaim(BLOCK_PAGES / 4))
            return NULL;
    }
    return NULL;
}

static inline struct page *alloc_one(unsigned flags)
{
    struct page *p = cache_pop(percpu_ptr(page_cache));
    return likely(p) ? p : alloc_one_slow(flags);
}

static __noinline bool refill_zero_run(struct page_cache *c)
{
    spin_lock(&buddy.lock);
    struct page *p = buddy.zeroed;
    if (p) {
        buddy.zeroed = page_chain_next(p);
        buddy.zeroed_blocks--;
        c->zero_run = p;
        c->zero_end = p + BLOCK_PAGES;
    }
    spin_unlock(&buddy.lock);
    return p != NULL;
}

// A frame whose contents are zero that this CPU has at hand, or NULL.
static inline struct page *zeroed_pop(struct page_cache *c)
{
    struct page *p;
    if (c->clean.first) {
        p = page_chain_pop(&c->clean);
    } else if (c->zero_run < c->zero_end) {
        p = c->zero_run++;
        c->zeroed_used++;
    } else {
        return NULL;
    }
    page_set_allocated(p);
    return p;
}

static inline struct page *alloc_one_zeroed(unsigned flags)
{
    if (READ_ONCE(buddy.zeroed) && refill_zero_run(percpu_ptr(page_cache)))
        return zeroed_pop(percpu_ptr(page_cache));
    struct page *p = alloc_one(flags);
    if (likely(p))
        arch_clear_page(page_address(p));
    return p;
}

static struct page *take_zeroed_block(void)
{
    spin_lock(&buddy.lock);
    struct page *p = buddy.zeroed;
    if (p) {
        buddy.zeroed = page_chain_next(p);
        buddy.zeroed_blocks--;
    }
    spin_unlock(&buddy.lock);
    return p;
}

static __cold struct page *take_block(unsigned order, unsigned flags)
{
    u64 keep = flags & PAGE_USER ? buddy.reserve : 0;
    if (available() < keep + (1ull << order))
        return NULL;
    bool kernel = !(flags & PAGE_USER) && order < PAGE_MAX_ORDER;
    spin_lock(&buddy.lock);
    struct page *p = kernel ? take_for_kernel(order) : NULL;
    while (!p && !(p = buddy_take(false, order, order)))
        if (!pull_block() && !list_reported_block())
            break;
    if (!p)
        p = buddy_take(true, order, order);
    spin_unlock(&buddy.lock);
    return p;
}

// The few frames that each CPU keeps may be all that breaks up many blocks: now and then they are worth asking for.
static __cold bool drain_is_due(void)
{
    static u64 next_ns;  // hint
    u64 now = ktime_ns();
    if (now < next_ns)
        return false;
    next_ns = now + DRAIN_EVERY_NS;
    return true;
}

static __cold __noinline struct page *alloc_block(unsigned order, unsigned flags)
{
    struct page *p = NULL;
    bool clear = flags & PAGE_ZERO;
    if (order == PAGE_MAX_ORDER && clear && buddy.zeroed && (p = take_zeroed_block())) {
        percpu_ptr(page_cache)->zeroed_used += BLOCK_PAGES;
        clear = false;
    }
    if (!p)
        p = take_block(order, flags);
    for (int attempt = 0; !p && attempt < 3; attempt++) {
        if (attempt == 0 && (flags & PAGE_NORECLAIM) && !buddy.loose && !buddy.zeroed &&
            percpu_ptr(page_cache)->chain.n <= CACHE_HIGH && !drain_is_due())
            return NULL;
        if (attempt == 0)
            page_drain_all();
        else if ((flags & PAGE_NORECLAIM) || !page_reclaim(1ull << order))
            return NULL;
        p = take_block(order, flags);
    }
    if (!p)
        return NULL;
    page_set_allocated(p);
    p->order = order;
    if (clear)
        arch_clear_pages(page_address(p), 1ull << order);
    return p;
}

static bool injected_failure(unsigned flags)
{
#ifdef LETHE_VERIFY
    if (page_fail_at && !(flags & PAGE_NOFAIL) && --page_fail_at == 0)
        return true;
#endif
    return false;
}

static __noinline struct page *nothing_left(unsigned order, unsigned flags)
{
    stats[PAGE_STAT_FAILED]++;
    if (flags & PAGE_NOFAIL)
        panic("out of memory: %zu bytes for the kernel, %llu pages free", PAGE_SIZE << order,
              (unsigned long long)page_free_count());
    return NULL;
}

// Whatever this CPU has not at hand.
static __noinline struct page *alloc_further(unsigned order, unsigned flags)
{
    struct page *p;
    if (likely(order == 0))
        p = flags & PAGE_ZERO ? alloc_one_zeroed(flags) : alloc_one_slow(flags);
    else
        p = order <= PAGE_MAX_ORDER ? alloc_block(order, flags) : NULL;
    return likely(p) ? p : nothing_left(order, flags);
}

// => Every fault comes here. The short way calls nothing, so it saves no register.
struct page *page_alloc(unsigned order, unsigned flags)
{
    if (injected_failure(flags))
        return NULL;
    if (likely(order == 0)) {
        struct page_cache *c = percpu_ptr(page_cache);
        struct page *p = flags & PAGE_ZERO ? zeroed_pop(c) : cache_pop(c);
        if (likely(p))
            return p;
    }
    return alloc_further(order, flags);
}

__cold struct page *page_alloc_kernel(void)
{
    if (READ_ONCE(buddy.kernel_taken) < KERNEL_FIRST) {
        atomic_add(&buddy.kernel_taken, 1);
        return page_alloc(0, 0);
    }
    if (injected_failure(0))
        return NULL;
    struct page *p = alloc_block(0, 0);
    return p ? p : nothing_left(0, 0);
}

// ---- freeing

// Hands this CPU's chain to everybody.
static __noinline void spill_chain(struct page_cache *c)
{
    spin_lock(&buddy.lock);
    struct page *p = c->chain.first;
    if (p) {  // else it was drained while this CPU waited for the lock
        p->aux = (u32)c->chain.n;
        p->link.prev = (struct list *)buddy.loose;
        buddy.loose = p;
        buddy.loose_pages += c->chain.n;
        c->chain = (struct page_chain){0};
    }
    spin_unlock(&buddy.lock);
}

static inline void cache_push(struct page *p)
{
    struct page_cache *c = percpu_ptr(page_cache);
    p->link.next = (struct list *)c->chain.first;
    c->chain.first = p;
    if (unlikely(++c->chain.n > CACHE_HIGH))
        spill_chain(c);
}

void page_free(struct page *p, unsigned order)
{
    KCHECK(!(p->flags & (PG_FREE | PG_RESERVED)));
    if (likely(order == 0)) {
        p->flags = 0;
        cache_push(p);
        return;
    }
    spin_lock(&buddy.lock);
    buddy_insert(p, order);
    spin_unlock(&buddy.lock);
}

void page_free_last(struct page *p)
{
    KASSERT(!(p->flags & (PG_RESERVED | PG_FREE | PG_SLAB)));
    if (unlikely(p->flags & PG_HUGETLB))
        hugetlb_free_last(p);
    else
        page_free(p, 0);
}

void page_free_chain(struct page_chain *chain)
{
    if (!chain->n)
        return;
    struct page_cache *c = percpu_ptr(page_cache);
    if (c->chain.n + chain->n > CACHE_HIGH && c->chain.n)
        spill_chain(c);
    chain->last->link.next = (struct list *)c->chain.first;
    c->chain.first = chain->first;
    c->chain.n += chain->n;
    if (c->chain.n > CACHE_HIGH)
        spill_chain(c);
    *chain = (struct page_chain){0};
}

__cold void page_free_kernel(struct page_chain *chain)
{
    spin_lock(&buddy.lock);
    while (chain->n)
        buddy_insert(page_chain_pop(chain), 0);
    spin_unlock(&buddy.lock);
}

void page_free_clean_chain(struct page_chain *chain)
{
    struct page_cache *c = percpu_ptr(page_cache);
    if (likely(c->clean.n + chain->n <= CLEAN_MAX)) {
        chain->last->link.next = (struct list *)c->clean.first;
        c->clean.first = chain->first;
        c->clean.n += chain->n;
        *chain = (struct page_chain){0};
        return;
    }
    while (c->clean.n < CLEAN_MAX)
        page_chain_push(&c->clean, page_chain_pop(chain));
    page_free_chain(chain);
}

void page_retire(struct page *p)
{
    p->flags = PG_POISON | PG_RESERVED;
    p->refcount = 1;
    spin_lock(&buddy.lock);
    stats[PAGE_STAT_BAD]++;
    buddy.total_pages--;
    spin_unlock(&buddy.lock);
}

// ---- background work

// Takes a block to clear, while that leaves at least half of the free memory uncleared. Only blocks
// that have been used: the host has no memory behind virgin and reported ones, and should not need any.
static __cold bool start_zeroing(struct page_cache *c)
{
    if (buddy.zeroed_blocks >= buddy.zero_max_blocks ||
        buddy.free_pages + buddy.virgin_pages < (buddy.zeroed_blocks + 2) * BLOCK_PAGES)
        return false;
    spin_lock(&buddy.lock);
    c->work = buddy_take(false, PAGE_MAX_ORDER, PAGE_MAX_ORDER);
    c->work_done = 0;
    spin_unlock(&buddy.lock);
    return c->work != NULL;
}

__cold bool page_zero_idle(void)
{
    struct page_cache *c = percpu_ptr(page_cache);
    if (c->chain.n > IDLE_KEEP)
        spill_chain(c);
    if (READ_ONCE(buddy.loose)) {
        spin_lock(&buddy.lock);
        if (buddy.loose)
            merge_batch(MERGE_STEP);
        spin_unlock(&buddy.lock);
        return true;
    }
    if (!c->work && !start_zeroing(c))
        return false;
    arch_clear_pages(page_address(c->work + c->work_done), ZERO_STEP);
    c->work_done += ZERO_STEP;
    if (c->work_done < BLOCK_PAGES)
        return true;
    spin_lock(&buddy.lock);
    if (c->work) {  // as in spill_chain
        c->work->link.next = (struct list *)buddy.zeroed;
        buddy.zeroed = c->work;
        buddy.zeroed_blocks++;
        stats[PAGE_STAT_ZEROED_IDLE] += BLOCK_PAGES;
        c->work = NULL;
    }
    spin_unlock(&buddy.lock);
    return true;
}

static struct page_cache *cache_of(u32 cpu) { return percpu_ptr_of(cpus[cpu], page_cache); }

__cold void page_zero_age(void)
{
    u64 used = page_stat(PAGE_STAT_ZEROED_USED);
    spin_lock(&buddy.lock);
    if (used != buddy.zero_used_before) {
        buddy.zero_max_blocks = buddy.zero_limit;
        buddy.zero_quiet = 0;
    } else if (buddy.zero_quiet < ZERO_QUIET) {
        buddy.zero_quiet++;
    } else {
        u64 rest = MIN(buddy.zero_limit, ZERO_REST_BLOCKS);
        buddy.zero_max_blocks -= (buddy.zero_max_blocks - rest + 1) / 2;
        shrink_stock(buddy.zero_max_blocks);
    }
    buddy.zero_used_before = used;
    spin_unlock(&buddy.lock);
}

// ---- free page reporting

#define REPORT_KEEP 4           // blocks, the most recently freed, that stay with the guest
#define REPORT_MERGE_STEPS 256  // of 1,024 frames: 1 GiB before a report

static void spill_this_cpu(void *arg)
{
    struct page_cache *c = percpu_ptr(page_cache);
    if (c->chain.n)
        spill_chain(c);
}

// Puts freed frames together to blocks. A CPU may have taken over a chain of any length.
static void merge_for_report(void)
{
    cpumask_t hoarders = 0;
    for (u32 i = 0; i < n_cpus; i++)
        if (READ_ONCE(cache_of(i)->chain.n) > 4 * CACHE_HIGH)
            hoarders |= BIT(i);
    if (hoarders)
        cross_run(hoarders, spill_this_cpu, NULL);
    for (unsigned step = 0; READ_ONCE(buddy.loose) && step < REPORT_MERGE_STEPS; step++) {
        spin_lock(&buddy.lock);
        if (buddy.loose)
            merge_batch(MERGE_STEP * 16);
        spin_unlock(&buddy.lock);
        sched_point();
    }
}

__cold unsigned page_report_begin(struct page **blocks, unsigned max)
{
    unsigned n = 0;
    merge_for_report();
    spin_lock(&buddy.lock);
    u64 have = buddy.n_free[PAGE_MAX_ORDER];
    u64 share = have > REPORT_KEEP ? DIV_ROUND_UP(have - REPORT_KEEP, 2) : 0;
    while (n < max && n < share) {
        struct page *p = list_entry(buddy.free[0][PAGE_MAX_ORDER].prev, struct page, link);
        unlist_block(p, PAGE_MAX_ORDER);
        buddy.free_pages -= BLOCK_PAGES;
        blocks[n++] = p;
    }
    spin_unlock(&buddy.lock);
    return n;
}

__cold void page_report_end(struct page **blocks, unsigned n, bool reported)
{
    spin_lock(&buddy.lock);
    for (unsigned i = 0; i < n; i++) {
        struct page *p = blocks[i];
        buddy.free_pages += BLOCK_PAGES;
        if (reported) {
            p->flags = PG_FREE | PG_REPORTED;
            p->order = PAGE_MAX_ORDER;
            list_push_front(&buddy.reported, &p->link);
            buddy.n_reported++;
            stats[PAGE_STAT_REPORTED]++;
        } else {
            list_block(p - page_array, PAGE_MAX_ORDER);
        }
    }
    spin_unlock(&buddy.lock);
}

u64 page_reported_count(void) { return buddy.n_reported * BLOCK_PAGES; }

void page_register_reclaim(page_reclaim_fn fn)
{
    KASSERT(n_reclaimers < ARRAY_SIZE(reclaimers));
    reclaimers[n_reclaimers++] = fn;
}

u64 page_reclaim(u64 wanted)
{
    u64 freed = 0;
    for (u32 i = 0; i < n_reclaimers && freed < wanted; i++)
        freed += reclaimers[i](wanted - freed);
    stats[PAGE_STAT_RECLAIMED] += freed;
    return freed;
}

// ---- figures

u64 page_total_count(void) { return buddy.total_pages; }

__cold u64 page_free_count(void)
{
    u64 n = available();
    for (u32 i = 0; i < n_cpus; i++) {
        struct page_cache *c = cache_of(i);
        n += c->chain.n + c->clean.n + (c->run_end - c->run) + (c->zero_end - c->zero_run) +
             (c->work ? BLOCK_PAGES : 0);
    }
    return n;
}

// 2 MiB backing is worth it while an eighth of the memory, and 32 MiB, stay free.
bool page_memory_plentiful(void)
{
    u64 have = available() + percpu_ptr(page_cache)->chain.n;
    return have >= 8192 && have >= buddy.total_pages / 8;
}

__cold u64 page_stat(enum page_stat which)
{
    u64 n = stats[which];
    for (u32 i = 0; which == PAGE_STAT_ZEROED_USED && i < n_cpus; i++)
        n += cache_of(i)->zeroed_used;
    return n;
}

u64 page_free_blocks(unsigned order)
{
    u64 virgin = order == PAGE_MAX_ORDER ? buddy.virgin_pages / BLOCK_PAGES : 0;
    u64 reported = order == PAGE_MAX_ORDER ? buddy.n_reported : 0;
    return buddy.n_free[order] + virgin + reported;
}

__cold u64 page_zeroed_count(void)
{
    u64 n = buddy.zeroed_blocks * BLOCK_PAGES;
    for (u32 i = 0; i < n_cpus; i++)
        n += cache_of(i)->zero_end - cache_of(i)->zero_run + cache_of(i)->clean.n;
    return n;
}

// ---- bring-up

void page_reserve(phys_t start, phys_t end)
{
    KASSERT(n_reserved < ARRAY_SIZE(reserved));
    if (start < end)
        reserved[n_reserved++] = (struct span){start >> PAGE_SHIFT, DIV_ROUND_UP(end, PAGE_SIZE)};
}

// Adds the parts of [start, end) that no reserved range covers.
static void add_span(u64 start, u64 end)
{
    while (start < end) {
        u64 stop = end, next = end;
        for (u32 i = 0; i < n_reserved; i++) {
            if (reserved[i].start <= start && start < reserved[i].end) {
                stop = start;
                next = MIN(end, reserved[i].end);
                break;
            }
            if (reserved[i].start > start && reserved[i].start < stop) {
                stop = reserved[i].start;
                next = MIN(end, reserved[i].end);
            }
        }
        if (stop > start && buddy.n_spans < MAX_SPANS)
            buddy.spans[buddy.n_spans++] = (struct span){start, stop};
        start = next;
    }
}

static __cold void build_spans(void)
{
    buddy.n_spans = 0;
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        if (r->kind == MEM_RAM)
            add_span(DIV_ROUND_UP(r->start, PAGE_SIZE), r->end >> PAGE_SHIFT);
    }
}

// Finds room for the page array: the first usable span that holds it, at its low end. It begins with the first frame
// of RAM, which on some machines lies high; page_array is where frame 0 would be.
static void place_page_array(void)
{
    u64 first = UINT64_MAX;
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        if (r->kind == MEM_RAM) {
            first = MIN(first, ALIGN_DOWN(r->start >> PAGE_SHIFT, BLOCK_PAGES));
            n_frames = MAX(n_frames, r->end >> PAGE_SHIFT);
        }
    }
    n_frames = ALIGN_UP(n_frames, BLOCK_PAGES);
    u64 pages = DIV_ROUND_UP((n_frames - first) * sizeof(struct page), PAGE_SIZE);
    for (u32 i = 0; i < buddy.n_spans; i++) {
        struct span *s = &buddy.spans[i];
        if (s->end - s->start < pages)
            continue;
        page_array = (struct page *)phys_to_virt(s->start << PAGE_SHIFT) - first;
        page_reserve(s->start << PAGE_SHIFT, (s->start + pages) << PAGE_SHIFT);
        return;
    }
    noboot("not enough memory: no room for %llu KB of page descriptors",
           (unsigned long long)pages * 4);
}

static __cold void read_badram(void)
{
    char text[256];
    if (!cmdline_get("badram", text, sizeof text))
        return;
    for (char *at = text; *at && n_bad_patterns < MAX_BAD_PATTERNS;) {
        char *end;
        u64 addr = strtoull(at, &end, 0), mask = PAGE_MASK;
        if (end == at)
            break;
        if (*end == ',') {
            at = end + 1;
            mask = strtoull(at, &end, 0);
        }
        bad_patterns[n_bad_patterns].addr = addr;
        bad_patterns[n_bad_patterns++].mask = mask;
        at = *end == ',' ? end + 1 : end;
    }
}

// Writes and reads back four patterns; true if the frame keeps them.
static bool frame_test(u64 pfn)
{
    static const u64 patterns[] = {0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0, ~0ull};
    volatile u64 *words = phys_to_virt(pfn << PAGE_SHIFT);
    for (unsigned k = 0; k < ARRAY_SIZE(patterns); k++) {
        for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
            words[i] = patterns[k] ^ (pfn + i);
        for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
            if (words[i] != (patterns[k] ^ (pfn + i)))
                return false;
    }
    return true;
}

static __cold void memtest(void)
{
    u64 tested = 0, bad = 0;
    for (u32 i = 0; i < buddy.n_spans; i++) {
        for (u64 pfn = buddy.spans[i].start; pfn < buddy.spans[i].end; pfn++, tested++) {
            if (frame_is_bad(pfn) || frame_test(pfn))
                continue;
            bad++;
            if (n_bad_patterns == MAX_BAD_PATTERNS)
                noboot("memtest: too many bad frames");
            bad_patterns[n_bad_patterns].addr = pfn << PAGE_SHIFT;
            bad_patterns[n_bad_patterns++].mask = PAGE_MASK;
        }
    }
    log_info("memtest: %llu frames, %llu bad", (unsigned long long)tested, (unsigned long long)bad);
}

__cold void page_alloc_init(void)
{
    for (unsigned o = 0; o <= PAGE_MAX_ORDER; o++) {
        list_init(&buddy.free[0][o]);
        list_init(&buddy.free[1][o]);
    }
    list_init(&buddy.reported);
    page_reserve(0, PAGE_SIZE);
    page_reserve(boot_info.image_start, boot_info.image_end);
    build_spans();
    place_page_array();
    build_spans();
    for (u32 i = 0; i < buddy.n_spans; i++)
        buddy.total_pages += buddy.spans[i].end - buddy.spans[i].start;
    buddy.virgin_pages = buddy.total_pages;
    buddy.reserve = MAX(MIN(buddy.total_pages / 64, 2048u), 8u);
    buddy.zero_limit = MIN(buddy.total_pages / 8 / BLOCK_PAGES, ZERO_MAX_BYTES / HUGE_SIZE);
    buddy.zero_max_blocks = buddy.zero_limit;
    if (boot_info.image_end > boot_info.image_start)
        page_init_reserved(boot_info.image_start >> PAGE_SHIFT,
                           DIV_ROUND_UP(boot_info.image_end, PAGE_SIZE));
    read_badram();
    char text[8];
    if (cmdline_get("memtest", text, sizeof text))
        memtest();
}

// ---- the verifier

static u64 verify_list(bool kernel, unsigned order)
{
    u64 n = 0;
    list_for_each_entry (struct page, p, &buddy.free[kernel][order], link) {
        u64 pfn = p - page_array;
        bool exact = n_frames <= (u64)KERNEL_BITS * BLOCK_PAGES;  // no two blocks share a bit
        KASSERT(!exact || kernel == !!(*kernel_word(pfn) & kernel_bit(pfn)));
        KASSERT(p->flags == PG_FREE && p->order == order && IS_ALIGNED(pfn, 1u << order));
        if (order < PAGE_MAX_ORDER) {
            struct page *other = &page_array[pfn ^ (1u << order)];
            KASSERT(!(other->flags & PG_FREE) || other->order != order);
        }
        for (u64 i = 1; i < 1u << order; i++)
            KASSERT(!(p[i].flags & PG_FREE));
        n++;
    }
    return n;
}

static void verify_zero(const struct page *from, const struct page *to)
{
    for (const struct page *p = from; p < to; p++)
        for (const u64 *w = page_address(p), *end = w + PAGE_SIZE / 8; w < end; w++)
            KASSERT(*w == 0);
}

void page_allocator_verify(void)
{
    spin_lock(&buddy.lock);
    u64 n = 0, loose = 0, zeroed = 0;
    for (unsigned o = 0; o <= PAGE_MAX_ORDER; o++) {
        u64 blocks = verify_list(false, o) + verify_list(true, o);
        KASSERT(blocks == buddy.n_free[o]);
        n += blocks << o;
    }
    KASSERT(list_empty(&buddy.free[1][PAGE_MAX_ORDER]));
    u64 reported = 0;
    list_for_each_entry (struct page, p, &buddy.reported, link) {
        KASSERT(p->flags == (PG_FREE | PG_REPORTED) && p->order == PAGE_MAX_ORDER);
        reported++;
    }
    KASSERT(reported == buddy.n_reported);
    n += reported * BLOCK_PAGES;
    KASSERT(n == buddy.free_pages);
    for (struct page *b = buddy.loose; b; b = (struct page *)b->link.prev) {
        struct page *p = b;
        for (u64 i = b->aux; i; i--, p = page_chain_next(p))
            KASSERT(!(p->flags & PG_FREE));
        loose += b->aux;
    }
    KASSERT(loose == buddy.loose_pages);
    for (struct page *b = buddy.zeroed; b; b = page_chain_next(b), zeroed++)
        verify_zero(b, b + BLOCK_PAGES);
    KASSERT(zeroed == buddy.zeroed_blocks);
    struct page_cache *c = percpu_ptr(page_cache);
    verify_zero(c->zero_run, c->zero_end);
    u64 chained = 0;
    for (struct page *p = c->chain.first; p && chained < c->chain.n; p = page_chain_next(p))
        chained++;
    KASSERT(chained == c->chain.n);
    u64 clean = 0;
    for (struct page *p = c->clean.first; p && clean < c->clean.n; p = page_chain_next(p), clean++)
        verify_zero(p, p + 1);
    KASSERT(clean == c->clean.n);
    spin_unlock(&buddy.lock);
}
