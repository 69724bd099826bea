// SPDX-License-Identifier: BSD-2-Clause
// tlb.c: which CPU may hold translations of which address space, and how they are flushed.
//
// A CPU is in one of three states towards an address space:
//
//             mm_switch(mm)                     mm_switch(NULL)
//     away ------------------> active (bit in mm->cpus) ---------> lazy (bit in mm->lazy_cpus)
//       ^                        ^                                  |   |
//       |  mm_switch(other)      +--------- mm_switch(mm) ----------+   |
//       +---------------------------------------------------------------+  mm_switch(other)
//
// A lazy CPU runs the idle loop or a kernel thread with mm's tables still loaded. It is not interrupted
// for flushes. When it comes back to mm it flushes everything if a flush happened meanwhile:
//
//     flusher                          going lazy               coming back
//     clear entries                    s = mm->flushes_done     set bit in mm->cpus
//     flushes_begun++                  clear bit in mm->cpus    if (mm->flushes_begun != s)
//     read mm->cpus, send, wait                                     flush all
//     flushes_done++
//
// T1  A flush that was done before s was read saw the CPU's bit and was served by interrupt.
// T2  A flush that had not begun when flushes_begun was read sees the bit that was set before.
// T3  Any other flush makes flushes_begun differ from s.
//
// Only when page-table pages are freed are lazy CPUs interrupted too: the hardware may walk tables
// speculatively. Each CPU has one request slot; the targets find it by a bit in their `from` mask and
// answer by clearing their bit in the request's `waiting` mask. While it waits, the initiator serves
// the requests of others (cpu_relax_poll), so crossing requests cannot deadlock.
//
// Where the architecture can flush other CPUs' translations itself (ARCH_TLB_BROADCAST, aarch64), none of this is needed: an
// address space is flushed by its tag everywhere at once, whoever runs it, lazy or not. The masks are kept all the same,
// for those who ask where an address space runs.
//
// Rejected: address-space tags (PCID) that survive a switch where flushes go by interrupt. They need a flush per tag and
// a generation for each CPU and mm; one application makes few switches between address spaces.
#include "mm/tlb.h"

#include "core/lock.h"
#include "core/log.h"
#include "mm/mm_internal.h"

// A range up to this many pages is flushed page by page; beyond it dropping all user translations is
// cheaper (INVLPG some 100 to 200 cycles each, a refill of the hot entries some thousand).
#define FLUSH_PAGES_MAX 24

struct tlb_request {
    struct mm *mm;
    vaddr_t start, end;
    cpumask_t waiting;  // atomic: targets that have not answered
};

struct tlb_cpu {
    struct tlb_request request;
    cpumask_t from;  // atomic: CPUs whose request this CPU must serve
    u64 seen;        // flushes_done when this CPU became lazy
    bool lazy;
    struct tlb_stats stats;
};
static DEFINE_PERCPU(struct tlb_cpu, tlb_cpu);

static inline cpumask_t cpu_bit(const struct cpu *cpu) { return (cpumask_t)1 << cpu->id; }

// With broadcast: on all CPUs.
static inline void flush_local(struct tlb_cpu *t, struct mm *mm, vaddr_t start, vaddr_t end)
{
    if (end - start > FLUSH_PAGES_MAX * PAGE_SIZE) {
        t->stats.local_full++;
        arch_tlb_flush_mm(&mm->arch);
        return;
    }
    t->stats.local_pages += (end - start) >> PAGE_SHIFT;
    arch_tlb_flush_range(&mm->arch, start, end);
}

void tlb_cross_handler(void)
{
    struct cpu *me = this_cpu();
    struct tlb_cpu *t = percpu_ptr(tlb_cpu);
    cpumask_t from = atomic_xchg(&t->from, 0);
    for (; from; from &= from - 1) {
        struct cpu *initiator = cpus[__builtin_ctzll(from)];
        struct tlb_request *r = &percpu_ptr_of(initiator, tlb_cpu)->request;
        if (me->active_mm == r->mm)
            flush_local(t, r->mm, r->start, r->end);
        t->stats.remote_handled++;
        cross_answer(&r->waiting, initiator);
    }
}

static void flush_remote(struct mm *mm, cpumask_t targets, vaddr_t start, vaddr_t end)
{
    struct cpu *me = this_cpu();
    struct tlb_cpu *t = percpu_ptr(tlb_cpu);
    struct tlb_request *r = &t->request;
    r->mm = mm;
    r->start = start;
    r->end = end;
    atomic_store(&r->waiting, targets);
    for (cpumask_t m = targets; m; m &= m - 1)
        atomic_fetch_or(&percpu_ptr_of(cpus[__builtin_ctzll(m)], tlb_cpu)->from, cpu_bit(me));
    t->stats.requests++;
    t->stats.interrupts_sent += (u64)__builtin_popcountll(targets);
    cross_send(targets, CROSS_TLB);
    cross_wait(&r->waiting);
}

static __noinline void flush_others(struct mm *mm, vaddr_t start, vaddr_t end, bool freed_tables)
{
    struct cpu *me = this_cpu();
    atomic_add(&mm->flushes_begun, 1);
    atomic_fence();
    cpumask_t targets = atomic_load(&mm->cpus);
    if (freed_tables)
        targets |= atomic_load(&mm->lazy_cpus);
    targets &= ~cpu_bit(me);
    if (targets)
        flush_remote(mm, targets, start, end);
    atomic_add(&mm->flushes_done, 1);
}

static inline void flush_everywhere(struct mm *mm, vaddr_t start, vaddr_t end, bool freed_tables)
{
    if (ARCH_TLB_BROADCAST || this_cpu()->active_mm == mm)
        flush_local(percpu_ptr(tlb_cpu), mm, start, end);
    if (!ARCH_TLB_BROADCAST && n_cpus > 1)
        flush_others(mm, start, end, freed_tables);
}

void tlb_flush_range(struct mm *mm, vaddr_t start, vaddr_t end)
{
    flush_everywhere(mm, start, end, false);
}

void tlb_flush_page(struct mm *mm, vaddr_t va)
{
    va &= PAGE_MASK;
    flush_everywhere(mm, va, va + PAGE_SIZE, false);
}

// ---- gathering

void tlb_gather_init(struct tlb_gather *g, struct mm *mm)
{
    g->mm = mm;
    g->start = UINTPTR_MAX;
    g->end = 0;
    g->freed_tables = false;
    g->frames = g->huge = g->tables = (struct page_chain){0};
    g->n_deferred = 0;
    g->anon = g->file = g->shmem = 0;
    g->alone = n_cpus == 1;
}

static void gather_flush(struct tlb_gather *g)
{
    if (g->start < g->end)
        flush_everywhere(g->mm, g->start, g->end, g->freed_tables);
    g->start = UINTPTR_MAX;
    g->end = 0;
    g->freed_tables = false;
}

void tlb_gather_flush_deferred(struct tlb_gather *g)
{
    if (!g->alone)
        gather_flush(g);
    for (u32 i = 0; i < g->n_deferred; i++)
        page_put(g->deferred[i]);
    g->n_deferred = 0;
}

void tlb_gather_finish(struct tlb_gather *g)
{
    struct mm *mm = g->mm;
    gather_flush(g);
    if (!(g->anon | g->file | g->shmem) && !(g->frames.n | g->tables.n | g->n_deferred))
        return;
    mm_peak_rss(mm);
    page_free_chain(&g->frames);
    if (g->huge.n)
        atomic_sub(&mm->n_huge, (s64)g->huge.n);
    while (g->huge.n) {
        struct page *p = g->huge.first;
        g->huge.first = page_chain_next(p);
        g->huge.n--;
        page_free(p, PAGE_MAX_ORDER);
    }
    if (g->tables.n) {
        atomic_sub(&mm->n_table_pages, (s64)g->tables.n);
        page_free_clean_chain(&g->tables);
    }
    if (g->n_deferred)
        tlb_gather_flush_deferred(g);
    if (g->anon)
        atomic_sub(&mm->rss_anon, g->anon);
    if (g->file)
        atomic_sub(&mm->rss_file, g->file);
    if (g->shmem)
        atomic_sub(&mm->rss_shmem, g->shmem);
    g->anon = g->file = g->shmem = 0;
}

// ---- switching

static void become_lazy(struct cpu *me, struct tlb_cpu *t)
{
    struct mm *mm = me->active_mm;
    t->lazy = true;
    atomic_fetch_or(&mm->lazy_cpus, cpu_bit(me));
    t->seen = atomic_load(&mm->flushes_done);
    atomic_fetch_and(&mm->cpus, ~cpu_bit(me));
}

static void come_back(struct cpu *me, struct tlb_cpu *t)
{
    struct mm *mm = me->active_mm;
    t->lazy = false;
    atomic_fetch_or(&mm->cpus, cpu_bit(me));
    atomic_fence();
    if (!ARCH_TLB_BROADCAST && atomic_load(&mm->flushes_begun) != t->seen)
        arch_tlb_flush_mm(&mm->arch);
    atomic_fetch_and(&mm->lazy_cpus, ~cpu_bit(me));
}

void mm_switch(struct mm *mm)
{
    struct cpu *me = this_cpu();
    struct tlb_cpu *t = percpu_ptr(tlb_cpu);
    struct mm *old = me->active_mm;
    if (old == mm && !t->lazy)
        return;
    if (!mm) {
        if (!t->lazy)
            become_lazy(me, t);
        return;
    }
    if (old == mm) {
        come_back(me, t);
        return;
    }
    atomic_fetch_or(&mm->cpus, cpu_bit(me));
    atomic_fence();
    arch_mm_switch(&mm->arch);
    me->active_mm = mm;
    t->lazy = false;
    if (old) {
        atomic_fetch_and(&old->cpus, ~cpu_bit(me));
        atomic_fetch_and(&old->lazy_cpus, ~cpu_bit(me));
    }
}

// Runs on each CPU that has the dying mm loaded.
static void leave_mm(void *arg)
{
    struct cpu *me = this_cpu();
    struct mm *mm = arg;
    if (me->active_mm != mm)
        return;
    arch_mm_switch(NULL);
    me->active_mm = NULL;
    percpu_ptr(tlb_cpu)->lazy = false;
    atomic_fetch_and(&mm->cpus, ~cpu_bit(me));
    atomic_fetch_and(&mm->lazy_cpus, ~cpu_bit(me));
}

void tlb_forget_mm(struct mm *mm)
{
    cpumask_t loaded = atomic_load(&mm->cpus) | atomic_load(&mm->lazy_cpus);
    if (loaded & cpu_bit(this_cpu()))
        leave_mm(mm);
    loaded &= ~cpu_bit(this_cpu());
    if (loaded)
        cross_run(loaded, leave_mm, mm);
}

void tlb_read_stats(struct tlb_stats *sum)
{
    *sum = (struct tlb_stats){0};
    for (u32 i = 0; i < n_cpus; i++) {
        const struct tlb_stats *s = &percpu_ptr_of(cpus[i], tlb_cpu)->stats;
        sum->local_pages += s->local_pages;
        sum->local_full += s->local_full;
        sum->requests += s->requests;
        sum->remote_handled += s->remote_handled;
        sum->interrupts_sent += s->interrupts_sent;
    }
}
