// SPDX-License-Identifier: BSD-2-Clause
// tlb.h: translation caches: gathering what an unmap takes away, and flushing it everywhere.
#pragma once

#include "core/cpu.h"
#include "mm/page.h"

struct mm;

#define TLB_MAX_DEFERRED 32

// Collects cleared entries and the frames behind them; the frames are freed only after no CPU can
// reach them any more.
struct tlb_gather {
    struct mm *mm;
    vaddr_t start, end;  // cleared or weakened translations; start >= end: none
    bool freed_tables;
    bool alone;  // one CPU: no user code runs before the flush, so frames can go at once. (Not: no
        // other CPU active in mm. A lazy one with old translations may come back meanwhile.)
    struct page_chain frames;  // exclusively owned 4 KiB frames
    struct page_chain huge;    // exclusively owned 2 MiB frames
    struct page_chain tables;  // page-table pages, all entries empty
    u32 n_deferred;
    s64 anon, file, shmem;  // pages that left the address space, for the rss counters
    struct page *deferred[TLB_MAX_DEFERRED];  // shared frames: a reference to drop
};

// Translations that were weakened, where no frames go.
struct tlb_range {
    vaddr_t start, end;  // start >= end: none
};
#define TLB_RANGE_NONE ((struct tlb_range){UINTPTR_MAX, 0})
static inline void tlb_range_add(struct tlb_range *r, vaddr_t start, vaddr_t end)
{
    r->start = MIN(r->start, start);
    r->end = MAX(r->end, end);
}

void tlb_gather_init(struct tlb_gather *g, struct mm *mm);
static inline void tlb_gather_range(struct tlb_gather *g, vaddr_t start, vaddr_t end)
{
    if (start < g->start)
        g->start = start;
    if (end > g->end)
        g->end = end;
}
void tlb_gather_flush_deferred(struct tlb_gather *g);
static inline void tlb_gather_put(struct tlb_gather *g, struct page *p)
{
    if (g->n_deferred == TLB_MAX_DEFERRED)
        tlb_gather_flush_deferred(g);
    g->deferred[g->n_deferred++] = p;
}
// Flushes once and frees everything. The gather is empty afterwards and can be used again.
void tlb_gather_finish(struct tlb_gather *g);

// Flushes [start, end) of mm on every CPU that may hold translations; returns when all have done so.
// => Holds no spinlock.
void tlb_flush_range(struct mm *mm, vaddr_t start, vaddr_t end);
void tlb_flush_page(struct mm *mm, vaddr_t va);
// Serves flush requests of other CPUs (CROSS_TLB); called by core/cpu's cross_poll.
void tlb_cross_handler(void);
// No CPU has mm's tables loaded afterwards. => mm has no users any more.
void tlb_forget_mm(struct mm *mm);

struct tlb_stats {
    u64 local_pages, local_full, requests, remote_handled, interrupts_sent;
};
void tlb_read_stats(struct tlb_stats *sum);
