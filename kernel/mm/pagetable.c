// SPDX-License-Identifier: BSD-2-Clause
// pagetable.c: page tables: 4 levels of 512 entries on both architectures, entries by arch/pte.h.
//
// Invariants (pt_verify):
//  P1  Level 3 and 2 entries are empty or tables. A level 1 entry is empty, a table or a 2 MiB leaf.
//  P2  Every leaf lies in a VMA, and every table serves at least one VMA.
//  P3  A 2 MiB leaf maps an anonymous frame of order 9 that nothing else refers to (fork splits).
//  P4  A writable leaf of a private mapping maps an exclusively owned anonymous frame, dirty unless
//      MADV_FREE made it clean. Frames shared after fork and cached frames are read-only there.
//  P5  A leaf holds one reference to its frame, except special ones (zero page, vDSO).
//  P6  mm->n_table_pages counts the tables below the root; rss_* the leaves by kind; n_huge the 2 MiB ones.
//
// Changing entries:
//  * With mm->lock held for reading: an empty entry is filled and a present one changed only by compare
//    and exchange; taking one away is an atomic exchange. Tables are added and never removed.
//  * With it held for writing only the hardware changes entries behind our back: it sets the accessed and
//    dirty flags. So an entry that is dirty already may be rewritten with a plain store.
//  * The accessed flag is set before a translation enters any TLB. An entry that was never young needs
//    no flush when it goes (the zero page's fault-around lives from that).
#include "mm/pagetable.h"

#include <string.h>

#include "arch/cpu.h"
#include "core/log.h"
#include "mm/mm_internal.h"

// ---- reaching entries

static pte_t *new_table(struct page **page)
{
    struct page *p = page_alloc(0, PAGE_ZERO);
    *page = p;
    return p ? page_address(p) : NULL;
}

bool pt_make_table(struct mm *mm, pte_t *slot)
{
    struct page *p;
    if (!new_table(&p))
        return false;
    if (pte_replace(slot, PTE_NONE, pte_make_table(page_to_phys(p))))
        atomic_add(&mm->n_table_pages, 1);
    else
        page_free(p, 0);
    return true;
}

static __noinline pte_t *make_below(struct mm *mm, pte_t *slot)
{
    if (!pt_make_table(mm, slot))
        return NULL;
    return pte_table(READ_ONCE(*slot));
}

pte_t *pt_make_level1(struct mm *mm, vaddr_t va)
{
    pte_t *table = arch_mm_root(&mm->arch);
    for (int level = PT_LEVELS - 1; level > 1; level--) {
        pte_t *slot = &table[pt_index(va, level)];
        pte_t e = READ_ONCE(*slot);
        table = likely(!pte_is_none(e)) ? pte_table(e) : make_below(mm, slot);
        if (!table)
            return NULL;
    }
    return &table[pt_index(va, 1)];
}

pte_t *pt_make_slot(struct mm *mm, vaddr_t va, bool *huge)
{
    *huge = false;
    pte_t *level1 = pt_make_level1(mm, va);
    if (!level1)
        return NULL;
    pte_t e = READ_ONCE(*level1);
    if (pte_is_none(e)) {
        if (!pt_make_table(mm, level1))
            return NULL;
        e = READ_ONCE(*level1);
    }
    if (!pte_is_table(e)) {
        *huge = true;
        return NULL;
    }
    return pte_table(e) + pt_index(va, 0);
}

pte_t *pt_lookup(struct mm *mm, vaddr_t va, int *level)
{
    pte_t *table = arch_mm_root(&mm->arch);
    for (int l = PT_LEVELS - 1; l > 0; l--) {
        pte_t *slot = &table[pt_index(va, l)];
        pte_t e = READ_ONCE(*slot);
        if (pte_is_none(e))
            return NULL;
        if (!pte_is_table(e)) {
            *level = l;
            return slot;
        }
        table = pte_table(e);
    }
    *level = 0;
    return &table[pt_index(va, 0)];
}

// ---- the range walker

static inline vaddr_t span_end(vaddr_t va, vaddr_t end, int level)
{
    vaddr_t next = ALIGN_DOWN(va, PT_SPAN(level)) + PT_SPAN(level);
    return MIN(next, end);
}

static void walk_level1(struct pt_walk *w, pte_t *table, vaddr_t start, vaddr_t end)
{
    for (vaddr_t next; start < end && !w->stop; start = next) {
        pte_t *slot = &table[pt_index(start, 1)];
        pte_t e = READ_ONCE(*slot);
        next = span_end(start, end, 1);
        if (pte_is_none(e)) {
            if (w->hole)
                w->hole(w, start, next);
            continue;
        }
        if (!pte_is_table(e) && !w->huge(w, slot, start, next))
            continue;
        w->run(w, pte_table(READ_ONCE(*slot)) + pt_index(start, 0), start, next);
    }
}

static void walk_level2(struct pt_walk *w, pte_t *table, vaddr_t start, vaddr_t end)
{
    for (vaddr_t next; start < end && !w->stop; start = next) {
        pte_t e = READ_ONCE(table[pt_index(start, 2)]);
        next = span_end(start, end, 2);
        if (!pte_is_none(e))
            walk_level1(w, pte_table(e), start, next);
        else if (w->hole)
            w->hole(w, start, next);
    }
}

void pt_walk(struct mm *mm, struct pt_walk *w, vaddr_t start, vaddr_t end)
{
    pte_t *root = arch_mm_root(&mm->arch);
    w->stop = false;
    for (vaddr_t next; start < end && !w->stop; start = next) {
        pte_t e = READ_ONCE(root[pt_index(start, 3)]);
        next = span_end(start, end, 3);
        if (!pte_is_none(e))
            walk_level2(w, pte_table(e), start, next);
        else if (w->hole)
            w->hole(w, start, next);
    }
}

// mmap(2): PROT_WRITE and PROT_EXEC imply that the page can be read, as the hardware has it.
unsigned pt_prot_of(u64 vm_flags)
{
    unsigned prot = PTE_USER;
    if (vm_flags & (VM_READ | VM_WRITE | VM_EXEC))
        prot |= PTE_READ;
    if (vm_flags & VM_WRITE)
        prot |= PTE_WRITE;
    if (vm_flags & VM_EXEC)
        prot |= PTE_EXEC;
    return prot;
}

// ---- 2 MiB leaves

static void fill_split(pte_t *table, pte_t leaf)
{
    phys_t pa = pte_phys(leaf);
    unsigned prot = pte_prot(leaf);
    struct page *p = phys_to_page(pa);
    for (unsigned i = 0; i < PT_ENTRIES; i++, pa += PAGE_SIZE, p++) {
        *(u64 *)p = 1;  // refcount 1, no flags
        table[i] = pte_make(pa, prot);
    }
}

bool pt_split_huge(struct mm *mm, pte_t *level1, vaddr_t va)
{
    struct page *p = page_alloc(0, 0);
    if (!p)
        return false;
    for (;;) {
        pte_t e = READ_ONCE(*level1);
        if (!pte_is_huge(e)) {  // another thread split or discarded it
            page_free(p, 0);
            return pte_is_table(e) || pt_make_table(mm, level1);
        }
        fill_split(page_address(p), e);
        if (pte_replace(level1, e, pte_make_table(page_to_phys(p))))
            break;
    }
    atomic_add(&mm->n_table_pages, 1);
    atomic_sub(&mm->n_huge, 1);
    atomic_add(&mm_stats.thp_split, 1);
    va = ALIGN_DOWN(va, HUGE_SIZE);
    tlb_flush_range(mm, va, va + PAGE_SIZE);  // any address drops the 2 MiB translation
    return true;
}

static int split_at(struct mm *mm, vaddr_t va)
{
    int level;
    if (IS_ALIGNED(va, HUGE_SIZE))
        return 0;
    pte_t *slot = pt_lookup(mm, va, &level);
    if (!slot || level == 0 || !pte_is_huge(READ_ONCE(*slot)))
        return 0;
    return pt_split_huge(mm, slot, va) ? 0 : -ENOMEM;
}

int pt_split_edges(struct mm *mm, vaddr_t start, vaddr_t end)
{
    int err = split_at(mm, start);
    return err ? err : split_at(mm, end);
}

// ---- taking entries away

struct zap {
    struct pt_walk walk;
    struct tlb_gather *g;
    enum pt_zap_mode mode;
};

static void count_cached(struct tlb_gather *g, const struct page *p)
{
    if (p->flags & PG_SHMEM)
        g->shmem++;
    else
        g->file++;
}

// A frame that others may refer to: the reference goes after the flush.
static __noinline void zap_shared(struct tlb_gather *g, struct page *p, pte_t e)
{
    if (p->flags & PG_CACHE) {
        count_cached(g, p);
        if (pte_dirty(e) && pte_writable(e) && !(p->flags & PG_DIRTY))
            p->flags |= PG_DIRTY;
    } else {
        g->anon++;
    }
    tlb_gather_put(g, p);
}

static void zap_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct zap *z = container_of(w, struct zap, walk);
    struct tlb_gather *g = z->g;
    struct page_chain chain = g->frames;
    bool plain = z->mode == ZAP_UNMAP, young = false;
    u64 n_before = chain.n;

    for (pte_t *last = slot + ((end - start) >> PAGE_SHIFT); slot < last; slot++) {
        pte_t e = *slot;
        if (pte_is_none(e))
            continue;
        if (unlikely(!pte_present(e))) {
            if (plain)
                *slot = PTE_NONE;
            continue;
        }
        struct page *p = phys_to_page(pte_phys(e));
        if (unlikely(z->mode == ZAP_CACHED) && (pte_special(e) || !(p->flags & PG_CACHE)))
            continue;
        if (plain && pte_dirty(e))
            *slot = PTE_NONE;
        else
            e = atomic_xchg(slot, PTE_NONE);
        young |= pte_young(e);
        if (unlikely(pte_special(e)))
            continue;
        if (likely(p->refcount == 1 && !(p->flags & (PG_CACHE | PG_RESERVED)))) {
            page_chain_push(&chain, p);
        } else {
            g->frames = chain;
            zap_shared(g, p, e);
        }
    }
    g->anon += (s64)(chain.n - n_before);
    g->frames = chain;
    if (young)
        tlb_gather_range(g, start, end);
}

// Discards part of a 2 MiB leaf that cannot be split for want of memory: zeros are what the next
// touch must see.
static void clear_part(pte_t leaf, vaddr_t start, vaddr_t end)
{
    struct page *p = phys_to_page(pte_phys(leaf)) + pt_index(start, 0);
    arch_clear_pages(page_address(p), (end - start) >> PAGE_SHIFT);
}

static bool zap_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct zap *z = container_of(w, struct zap, walk);
    struct tlb_gather *g = z->g;
    if (end - start < HUGE_SIZE) {
        if (pt_split_huge(g->mm, slot, start))
            return true;
        KASSERT(z->mode == ZAP_DISCARD);  // the others split the edges before
        pte_t e = READ_ONCE(*slot);
        if (pte_is_huge(e))
            clear_part(e, start, end);
        return false;
    }
    pte_t e = atomic_xchg(slot, PTE_NONE);
    page_chain_push(&g->huge, phys_to_page(pte_phys(e)));
    g->anon += PT_ENTRIES;
    if (pte_young(e))
        tlb_gather_range(g, start, end);
    return false;
}

void pt_zap(struct tlb_gather *g, vaddr_t start, vaddr_t end, enum pt_zap_mode mode)
{
    struct zap z = {.walk = {.run = zap_run, .huge = zap_huge}, .g = g, .mode = mode};
    pt_walk(g->mm, &z.walk, start, end);
}

// ---- freeing tables

struct table_range {
    vaddr_t start, end, floor, ceiling;
};

// Frees the tables below `table` (of the given level, serving from base on) that r allows.
// Recursion: three levels.
static void free_level(struct tlb_gather *g, pte_t *table, int level, vaddr_t base,
                       const struct table_range *r)
{
    u64 span = PT_SPAN(level);
    vaddr_t at = MAX(base, ALIGN_DOWN(r->start, span));
    vaddr_t last = base + span * PT_ENTRIES - 1;
    for (; at <= last && at < r->end; at += span) {
        pte_t *slot = &table[pt_index(at, level)];
        pte_t e = *slot;
        if (pte_is_none(e) || !pte_is_table(e))
            continue;
        if (level > 1)
            free_level(g, pte_table(e), level - 1, at, r);
        if (at < r->floor || at + span > r->ceiling)
            continue;
        *slot = PTE_NONE;
        page_chain_push(&g->tables, phys_to_page(pte_phys(e)));
        g->freed_tables = true;
        tlb_gather_range(g, at, at + PAGE_SIZE);
    }
}

void pt_free_tables(struct tlb_gather *g, vaddr_t start, vaddr_t end, vaddr_t floor, vaddr_t ceiling)
{
    vaddr_t first = ALIGN_DOWN(start, HUGE_SIZE), last = ALIGN_UP(end, HUGE_SIZE);
    if (first < floor)
        first += HUGE_SIZE;
    if (last > ceiling)
        last -= HUGE_SIZE;
    if (first >= last)
        return;
    struct table_range r = {start, end, floor, ceiling};
    free_level(g, arch_mm_root(&g->mm->arch), PT_LEVELS - 1, 0, &r);
}

// ---- changing rights

struct protect {
    struct pt_walk walk;
    struct tlb_gather *g;
    unsigned prot;       // with PTE_WRITE only if exclusive frames may get it at once
    unsigned prot_ro;    // for all others
    bool private;
};

// => The rights may be written with a plain store: nothing that the hardware sets can be lost.
static inline void set_rights(pte_t *slot, pte_t e, unsigned prot)
{
    if (likely(pte_dirty(e))) {
        *slot = pte_with_prot(e, prot);
        return;
    }
    while (!pte_replace(slot, e, pte_with_prot(e, prot)))
        e = READ_ONCE(*slot);
}

static void protect_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct protect *pr = container_of(w, struct protect, walk);
    pte_t *last = slot + ((end - start) >> PAGE_SHIFT);
    unsigned prot = pr->prot, prot_ro = pr->prot_ro;
    bool touched = false;
    if (prot == prot_ro) {
        for (; slot < last; slot++) {
            pte_t e = *slot;
            if (pte_is_none(e) || unlikely(!pte_present(e)))
                continue;
            touched |= pte_young(e);
            set_rights(slot, e, prot);
        }
    } else {
        for (; slot < last; slot++) {
            pte_t e = *slot;
            if (pte_is_none(e) || unlikely(!pte_present(e)))
                continue;
            const struct page *p = phys_to_page(pte_phys(e));
            bool exclusive = !pte_special(e) && pte_dirty(e) && p->refcount == 1 &&
                             !(p->flags & (PG_CACHE | PG_RESERVED));
            touched |= pte_young(e);
            set_rights(slot, e, exclusive ? prot : prot_ro);
        }
    }
    if (touched)
        tlb_gather_range(pr->g, start, end);
}

static bool protect_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct protect *pr = container_of(w, struct protect, walk);
    KASSERT(end - start == HUGE_SIZE);
    pte_t e = READ_ONCE(*slot);
    set_rights(slot, e, pr->prot);
    tlb_gather_range(pr->g, start, end);
    return false;
}

void pt_protect(struct tlb_gather *g, const struct vma *vma, vaddr_t start, vaddr_t end)
{
    unsigned prot = pt_prot_of(vma->flags);
    struct protect pr = {
        .walk = {.run = protect_run, .huge = protect_huge},
        .g = g,
        .prot = prot,
        .prot_ro = prot & ~PTE_WRITE,
        .private = !(vma->flags & VM_SHARED),
    };
    if (vma->flags & VM_SHARED)
        pr.prot = pr.prot_ro;  // writing is noticed by a fault
    pt_walk(g->mm, &pr.walk, start, end);
}

// ---- fork

struct copy {
    struct pt_walk walk;
    struct tlb_gather *from;
    struct mm *to;
    bool anon_only;   // frames of the page cache fault in again
    int err;
};

static void copy_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct copy *c = container_of(w, struct copy, walk);
    pte_t *target = NULL;
    s64 anon = 0, file = 0, shmem = 0;
    bool weakened = false, huge;
    for (vaddr_t va = start; va < end; va += PAGE_SIZE, slot++) {
        pte_t e = *slot;
        if (pte_is_none(e))
            continue;
        struct page *p = NULL;
        if (pte_present(e) && !pte_special(e)) {
            p = phys_to_page(pte_phys(e));
            if (c->anon_only && (p->flags & PG_CACHE))
                continue;
        }
        if (!target) {
            target = pt_make_slot(c->to, start, &huge);
            if (!target) {
                c->err = -ENOMEM;
                w->stop = true;
                break;
            }
        }
        if (p) {
            if (pte_writable(e)) {
                unsigned prot = pte_prot(e) & ~PTE_WRITE;
                set_rights(slot, e, prot & (PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USER));
                e = READ_ONCE(*slot);
                weakened = true;
            }
            page_get(p);
            if (!(p->flags & PG_CACHE))
                anon++;
            else if (p->flags & PG_SHMEM)
                shmem++;
            else
                file++;
        }
        target[(va - start) >> PAGE_SHIFT] = e;
    }
    c->to->rss_anon += anon;
    c->to->rss_file += file;
    c->to->rss_shmem += shmem;
    if (weakened)
        tlb_gather_range(c->from, start, end);
}

// P3: a 2 MiB frame has one mapping. Splitting costs some thousand instructions; a program that forks
// and goes on writing would break it up by copying anyway.
static bool copy_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct copy *c = container_of(w, struct copy, walk);
    if (pt_split_huge(c->from->mm, slot, start))
        return true;
    c->err = -ENOMEM;
    w->stop = true;
    return false;
}

int pt_copy(struct tlb_gather *from, struct mm *to, const struct vma *vma)
{
    struct copy c = {
        .walk = {.run = copy_run, .huge = copy_huge},
        .from = from,
        .to = to,
        .anon_only = vma->object && !(vma->flags & VM_SPECIAL),
    };
    pt_walk(from->mm, &c.walk, vma->start, vma->end);
    return c.err;
}

// ---- mremap

static bool whole_table_moves(vaddr_t from, vaddr_t to, vaddr_t end)
{
    return ((from | to) & (HUGE_SIZE - 1)) == 0 && end - from >= HUGE_SIZE;
}

// Makes every table that the entries of [from, from + len) will need at their new place.
static int prepare_target(struct mm *mm, vaddr_t from, vaddr_t to, vaddr_t end)
{
    for (vaddr_t next; from < end; to += next - from, from = next) {
        int level;
        next = MIN(span_end(from, end, 1), from + (HUGE_SIZE - (to & (HUGE_SIZE - 1))));
        if (!pt_lookup(mm, from, &level))
            continue;
        pte_t *level1 = pt_make_level1(mm, to);
        if (!level1)
            return -ENOMEM;
        if (whole_table_moves(from, to, end))
            continue;
        pte_t *source = pt_lookup(mm, from, &level);
        if (level == 1 && !pt_split_huge(mm, source, from))
            return -ENOMEM;
        if (pte_is_none(READ_ONCE(*level1)) && !pt_make_table(mm, level1))
            return -ENOMEM;
    }
    return 0;
}

static void move_entries(pte_t *from, pte_t *to, size_t n)
{
    for (; n; n--, from++, to++) {
        pte_t e = *from;
        if (pte_is_none(e))
            continue;
        *to = pte_present(e) ? atomic_xchg(from, PTE_NONE) : e;
        *from = PTE_NONE;
    }
}

// The level 1 slot of va, whose tables above exist, or NULL.
static pte_t *level1_slot(struct mm *mm, vaddr_t va)
{
    pte_t *table = arch_mm_root(&mm->arch);
    for (int l = PT_LEVELS - 1; l > 1; l--) {
        pte_t e = table[pt_index(va, l)];
        if (pte_is_none(e))
            return NULL;
        table = pte_table(e);
    }
    return &table[pt_index(va, 1)];
}

int pt_move(struct tlb_gather *g, vaddr_t from, vaddr_t to, size_t len)
{
    struct mm *mm = g->mm;
    vaddr_t end = from + len;
    int err = prepare_target(mm, from, to, end);
    if (err)
        return err;
    tlb_gather_range(g, from, end);
    for (vaddr_t next; from < end; to += next - from, from = next) {
        next = MIN(span_end(from, end, 1), from + (HUGE_SIZE - (to & (HUGE_SIZE - 1))));
        pte_t *source = level1_slot(mm, from);
        if (!source || pte_is_none(*source))
            continue;
        pte_t *target = level1_slot(mm, to);
        if (whole_table_moves(from, to, end)) {
            pte_t old = *target;
            *target = atomic_xchg(source, PTE_NONE);
            if (pte_is_table(old)) {
                page_chain_push(&g->tables, phys_to_page(pte_phys(old)));
                g->freed_tables = true;
            }
            continue;
        }
        move_entries(pte_table(*source) + pt_index(from, 0), pte_table(*target) + pt_index(to, 0),
                     (next - from) >> PAGE_SHIFT);
    }
    return 0;
}

// ---- the verifier

struct verify {
    struct mm *mm;
    s64 tables, anon, file, shmem, huge;
};

static void verify_leaf(struct verify *v, pte_t e, vaddr_t va, int level)
{
    const struct vma *vma = vma_find(v->mm, va);
    KASSERT(vma && vma->start <= va && va + PT_SPAN(level) <= vma->end);
    if (!pte_present(e) || pte_special(e))
        return;
    const struct page *p = phys_to_page(pte_phys(e));
    KASSERT(p->refcount > 0 && !(p->flags & (PG_FREE | PG_SLAB)));
    KASSERT(!pte_writable(e) || (vma->flags & VM_WRITE));
    if (level == 1) {
        KASSERT(IS_ALIGNED(pte_phys(e), HUGE_SIZE) && p->refcount == 1 && !(p->flags & PG_CACHE));
        v->anon += PT_ENTRIES;
        v->huge++;
        return;
    }
    if (!(p->flags & PG_CACHE)) {
        KASSERT(!pte_writable(e) || p->refcount == 1);
        v->anon++;
    } else if (p->flags & PG_SHMEM) {
        v->shmem++;
    } else {
        v->file++;
    }
    KASSERT(!(p->flags & PG_CACHE) || !pte_writable(e) || (vma->flags & VM_SHARED));
}

static void verify_table(struct verify *v, const pte_t *table, int level, vaddr_t base, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        pte_t e = table[i];
        vaddr_t va = base + PT_SPAN(level) * i;
        if (pte_is_none(e))
            continue;
        if (level == 0 || !pte_is_table(e)) {
            KASSERT(level < 2);
            verify_leaf(v, e, va, level);
            continue;
        }
        const struct vma *vma = vma_find(v->mm, va);
        KASSERT(vma && vma->start < va + PT_SPAN(level));
        v->tables++;
        verify_table(v, pte_table(e), level - 1, va, PT_ENTRIES);
    }
}

void pt_verify(struct mm *mm)
{
    struct verify v = {.mm = mm};
    verify_table(&v, arch_mm_root(&mm->arch), PT_LEVELS - 1, 0, pt_index(USER_END - 1, 3) + 1);
    KASSERT(v.tables == mm->n_table_pages && v.huge == mm->n_huge);
    KASSERT(v.anon == mm->rss_anon && v.file == mm->rss_file && v.shmem == mm->rss_shmem);
}
