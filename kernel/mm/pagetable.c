// SPDX-License-Identifier: BSD-2-Clause
// pagetable.c: page tables: 4 levels of 512 entries on both architectures, entries by arch/pte.h.
//
// Invariants (pt_verify):
//  P1  Level 3 and 2 entries are empty or tables. A level 1 entry is empty, a table or a 2 MiB leaf.
//  P2  Every leaf lies in a VMA, and every table serves at least one VMA.
//  P3  A 2 MiB leaf maps an anonymous frame of order 9 that nothing else refers to (fork splits), or one of the pool of
//      hugetlb.c, which counts nowhere else but in n_hugetlb.
//  P4  A writable leaf of a private mapping maps an exclusively owned anonymous frame, dirty unless
//      MADV_FREE made it clean. Frames shared after fork and cached frames are read-only there.
//  P5  A leaf holds one reference to its frame, except special ones (zero page, vDSO).
//  P7  An exclusive entry (pte_exclusive) maps an anonymous frame that no other entry maps. Entries without the mark
//      may do so too; it saves reading the struct page.
//  P8  A level 0 table's struct page has in aux, for each group of 16 entries, whether one may ever have been in use.
//      Bits are set before an entry is, and never cleared: zapping looks at no other group.
//  P9  An entry marked unchanged has no right to write: its frame holds what it held when clear_refs was told 4. Who gives
//      any right takes the mark away, so a change may be told that was none, but none is missed.
//  P10 Where ARCH_BREAK_BEFORE_MAKE, a level 1 leaf that bears the mark of P7 is being split by one thread, which alone may
//      change it. It gives no right meanwhile: who faults on it tries again, who wants to take it away waits.
//  P6  mm->n_table_pages counts the tables below the root; rss_* the leaves by kind; n_huge the 2 MiB ones.
//
// Changing entries:
//  * With mm->lock held for reading: an empty entry is filled and a present one changed only by compare
//    and exchange; taking one away is an atomic exchange. Tables are added and never removed.
//  * With it held for writing only the hardware changes entries behind our back: it sets the accessed and
//    dirty flags. So an entry that has both already may be rewritten with a plain store (pte_settled).
//  * The accessed flag is set before a translation enters any TLB. An entry that was never young needs
//    no flush when it goes (the zero page's fault-around lives from that).
//  * Where ARCH_BREAK_BEFORE_MAKE, a used entry changes its frame or size by way of an invalid one and a flush
//    (pt_change_frame, P10); and an entry that was taken away with the lock held for reading may be filled before the flush
//    of who took it: who fills it flushes it then (pt_fill, pt_zap_begin). test/host/mm tries it with TLBs that remember all.
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

// The table below a level 2 or 3 slot, made if there is none. => NULL: no memory
static inline pte_t *table_below(struct mm *mm, pte_t *slot)
{
    pte_t e = READ_ONCE(*slot);
    return likely(!pte_is_none(e)) ? pte_table(e) : make_below(mm, slot);
}

pte_t *pt_make_level1(struct mm *mm, vaddr_t va)
{
    pte_t *table = table_below(mm, &arch_mm_root(&mm->arch)[pt_index(va, 3)]);
    if (!table || !(table = table_below(mm, &table[pt_index(va, 2)])))
        return NULL;
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
        pt_before_fill(mm, va, level1);
        if (!pt_make_table(mm, level1))
            return NULL;
        e = READ_ONCE(*level1);
    }
    if (!pte_is_table(e)) {
        *huge = true;
        return NULL;
    }
    pt_note_used(e, va);
    return pte_table(e) + pt_index(va, 0);
}

// The level 1 table that serves va, or NULL.
static inline pte_t *level1_table(struct mm *mm, vaddr_t va)
{
    pte_t e = READ_ONCE(arch_mm_root(&mm->arch)[pt_index(va, 3)]);
    if (pte_is_none(e) || pte_is_none(e = READ_ONCE(pte_table(e)[pt_index(va, 2)])))
        return NULL;
    return pte_table(e);
}

pte_t *pt_lookup(struct mm *mm, vaddr_t va, int *level)
{
    pte_t *slot = level1_table(mm, va);
    if (!slot)
        return NULL;
    slot += pt_index(va, 1);
    pte_t e = READ_ONCE(*slot);
    if (pte_is_none(e))
        return NULL;
    *level = !pte_is_table(e);
    return *level ? slot : pte_table(e) + pt_index(va, 0);
}

// ---- the range walker

static inline vaddr_t span_end(vaddr_t va, vaddr_t end, int level)
{
    vaddr_t next = ALIGN_DOWN(va, PT_SPAN(level)) + PT_SPAN(level);
    return MIN(next, end);
}

// Calls level1(ctx, table, start, end) for each level 1 table of [start, end), hole for stretches without one.
// Inlined into each user, so that neither call is indirect. => stops when a callback returns false
static __always_inline void walk_tables(struct mm *mm, vaddr_t start, vaddr_t end, void *ctx,
                                        bool (*level1)(void *, pte_t *, vaddr_t, vaddr_t),
                                        bool (*hole)(void *, vaddr_t, vaddr_t))
{
    pte_t *root = arch_mm_root(&mm->arch);
    for (vaddr_t next3; start < end; start = next3) {
        pte_t e3 = READ_ONCE(root[pt_index(start, 3)]);
        next3 = span_end(start, end, 3);
        if (pte_is_none(e3)) {
            if (!hole(ctx, start, next3))
                return;
            continue;
        }
        const pte_t *slot = &pte_table(e3)[pt_index(start, 2)];
        for (vaddr_t at = start, next; at < next3; at = next, slot++) {
            pte_t e = READ_ONCE(*slot);
            next = span_end(at, next3, 2);
            if (!(pte_is_none(e) ? hole(ctx, at, next) : level1(ctx, pte_table(e), at, next)))
                return;
        }
    }
}

static inline bool no_hole(void *ctx, vaddr_t start, vaddr_t end) { return true; }

static inline bool walk_hole(void *ctx, vaddr_t start, vaddr_t end)
{
    struct pt_walk *w = ctx;
    if (w->hole)
        w->hole(w, start, end);
    return !w->stop;
}

static inline bool walk_level1(void *ctx, pte_t *table, vaddr_t start, vaddr_t end)
{
    struct pt_walk *w = ctx;
    pte_t *slot = &table[pt_index(start, 1)];
    for (vaddr_t next; start < end && !w->stop; start = next, slot++) {
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
    return !w->stop;
}

void pt_walk(struct mm *mm, struct pt_walk *w, vaddr_t start, vaddr_t end)
{
    w->stop = false;
    walk_tables(mm, start, end, w, walk_level1, walk_hole);
}

static pte_t user_rights[8];  // by the access flags of a VMA

__cold void pt_init(void)
{
    for (u64 flags = 0; flags < ARRAY_SIZE(user_rights); flags++)
        user_rights[flags] = pte_rights(pt_prot_of(flags));
}

bool pt_change_frame(struct mm *mm, vaddr_t va, pte_t *slot, pte_t e, pte_t new)
{
    if (pte_young(e)) {
        pte_t closed = pte_with_prot(e, 0);
        if (!pte_replace(slot, e, closed))
            return false;
        tlb_flush_page(mm, va);
        e = closed;
    }
    return pte_replace(slot, e, new);
}

// ---- 2 MiB leaves

static void fill_split(pte_t *table, pte_t leaf)
{
    phys_t pa = pte_phys(leaf);
    unsigned prot = pte_prot(leaf);
    struct page *p = phys_to_page(pa);
    for (unsigned i = 0; i < PT_ENTRIES; i++, pa += PAGE_SIZE, p++) {
        *(u64 *)p = 1;  // refcount 1, no flags
        table[i] = pte_mk_exclusive(pte_make(pa, prot));
    }
}

// Puts the table in p in the leaf's place. Where flushes wait for no other CPU, zap_leaf could free the frame while its struct
// pages are written here: then the leaf must be ours before. => false: it has changed
static __always_inline bool split_leaf(struct mm *mm, pte_t *level1, pte_t e, struct page *p,
                                       vaddr_t va)
{
    pte_t ours = e;
    if (ARCH_BREAK_BEFORE_MAKE) {
        ours = pte_mk_exclusive(pte_with_prot(e, 0));
        if (!pte_replace(level1, e, ours))
            return false;
        tlb_flush_page(mm, va);
    }
    fill_split(page_address(p), e);
    p->aux = UINT32_MAX;
    return pte_replace(level1, ours, pte_make_table(page_to_phys(p)));
}

__cold bool pt_split_huge(struct mm *mm, pte_t *level1, vaddr_t va)
{
    struct page *p = page_alloc(0, 0);
    if (!p)
        return false;
    for (;;) {
        pte_t e = pt_read_level1(level1);
        if (pte_is_table(e) || pte_is_none(e)) {  // another thread split or discarded it
            pt_before_fill(mm, va, level1);
            if (pte_is_none(e) && pt_make_table(mm, level1))
                continue;  // there may be another leaf by now
            page_free(p, 0);
            return pte_is_table(e);
        }
        if (split_leaf(mm, level1, e, p, va))
            break;
    }
    atomic_add(&mm->n_table_pages, 1);
    atomic_sub(&mm->n_huge, 1);
    atomic_add(&mm_stats.thp_split, 1);
    if (ARCH_BREAK_BEFORE_MAKE)
        return true;  // flushed before
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
    bool same = start >> PT_SHIFT(1) == end >> PT_SHIFT(1) && !IS_ALIGNED(start, HUGE_SIZE);
    return err || same ? err : split_at(mm, end);
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

// The part of one table that is being emptied.
struct zap_part {
    vaddr_t start, end;
    bool young;  // some entry that went was used
};

// A frame that others may refer to: the reference goes after the flush.
static __noinline void zap_shared(struct tlb_gather *g, const struct zap_part *part, struct page *p,
                                  pte_t e)
{
    // The frames put off before this one go when there is no room: their translations must go first.
    if (part->young && g->n_deferred == TLB_MAX_DEFERRED)
        tlb_gather_range(g, part->start, part->end);
    if (p->flags & PG_CACHE) {
        count_cached(g, p);
        if (pte_dirty(e) && pte_writable(e) && !(p->flags & PG_DIRTY))
            page_set_flags(p, PG_DIRTY);
    } else {
        g->anon++;
    }
    tlb_gather_put(g, p);
}

static bool is_cached(pte_t e)
{
    return !pte_special(e) && (phys_to_page(pte_phys(e))->flags & PG_CACHE);
}

#define STEP 4  // entries passed at once when they are empty
static inline bool step_empty(const pte_t *e) { return pte_is_none(e[1] | e[2] | e[3] | e[4]); }

// Entries [slot, last) of one table. => But for ZAP_UNMAP other threads may empty or fill them at the same time.
static void zap_group(struct tlb_gather *g, enum pt_zap_mode mode, pte_t *slot, const pte_t *last,
                      struct zap_part *part)
{
    struct page_chain chain = g->frames;
    bool plain = mode == ZAP_UNMAP;

    for (; slot < last; slot++) {
        pte_t e = *slot;
        if (pte_is_none(e)) {
            while (last - slot > STEP && step_empty(slot))
                slot += STEP;
            continue;
        }
        if (unlikely(!pte_present(e))) {
            if (plain)
                *slot = PTE_NONE;
            continue;
        }
        if (unlikely(mode == ZAP_CACHED) && !is_cached(e))
            continue;
        if (plain && pte_settled(e)) {
            *slot = PTE_NONE;
        } else {
            e = atomic_xchg(slot, PTE_NONE);
            if (unlikely(!pte_present(e)))
                continue;  // another thread was faster
        }
        part->young |= pte_young(e);
        if (unlikely(pte_special(e)))
            continue;
        struct page *p = phys_to_page(pte_phys(e));
        if (likely(p->refcount == 1 && !(p->flags & (PG_CACHE | PG_RESERVED)))) {
            page_chain_push(&chain, p);
        } else {
            g->frames = chain;
            zap_shared(g, part, p, e);
        }
    }
    g->frames = chain;
}

static void zap_entries(struct tlb_gather *g, enum pt_zap_mode mode, pte_t *slot, vaddr_t start,
                        vaddr_t end)
{
    pte_t *table = (pte_t *)ALIGN_DOWN((uintptr_t)slot, PAGE_SIZE);
    const pte_t *last = slot + ((end - start) >> PAGE_SHIFT);
    unsigned from = (unsigned)(slot - table) / PT_GROUP,
             to = (unsigned)(last - table - 1) / PT_GROUP;
    u32 used =
        READ_ONCE(virt_to_page(table)->aux) & (UINT32_MAX << from) & (UINT32_MAX >> (31 - to));
    u64 n_before = g->frames.n;
    struct zap_part part = {start, end, false};
    while (used) {
        unsigned group = (unsigned)__builtin_ctz(used), n = 1;
        while (group + n < 32 && (used >> (group + n) & 1))
            n++;
        used &= n == 32 ? 0 : ~(((1u << n) - 1) << group);
        pte_t *at = table + group * PT_GROUP;
        zap_group(g, mode, MAX(at, slot), MIN((const pte_t *)at + n * PT_GROUP, last), &part);
    }
    g->anon += (s64)(g->frames.n - n_before);
    if (part.young)
        tlb_gather_range(g, start, end);
}

static void zap_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct zap *z = container_of(w, struct zap, walk);
    zap_entries(z->g, z->mode, slot, start, end);
}

// Discards part of a 2 MiB leaf that cannot be split for want of memory: zeros are what the next
// touch must see.
static void clear_part(pte_t leaf, vaddr_t start, vaddr_t end)
{
    struct page *p = phys_to_page(pte_phys(leaf)) + pt_index(start, 0);
    arch_clear_pages(page_address(p), (end - start) >> PAGE_SHIFT);
}

// => What the slot held, if another thread took the leaf away or split it meanwhile; else the leaf
static pte_t zap_leaf(struct tlb_gather *g, pte_t *slot, vaddr_t start, vaddr_t end)
{
    pte_t e = pt_read_level1(slot);
    while (pte_is_huge(e) && !pte_replace(slot, e, PTE_NONE))
        e = pt_read_level1(slot);
    if (!pte_is_huge(e))
        return e;
    struct page *p = phys_to_page(pte_phys(e));
    if (unlikely(p->flags & PG_HUGETLB)) {
        atomic_sub(&g->mm->n_hugetlb, 1);
        tlb_gather_range(g, start, end);
        tlb_gather_put(g, p);
        return e;
    }
    page_chain_push(&g->huge, p);
    g->anon += PT_ENTRIES;
    // Even if it was never used: who is splitting the leaf at this moment writes to the struct pages behind it, and
    // answers no flush before that is done. (Where nobody answers flushes, it was waited for above.)
    tlb_gather_range(g, start, end);
    return e;
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
    return pte_is_table(zap_leaf(g, slot, start, end));
}

void pt_zap(struct tlb_gather *g, vaddr_t start, vaddr_t end, enum pt_zap_mode mode)
{
    struct zap z = {.walk = {.run = zap_run, .huge = zap_huge}, .g = g, .mode = mode};
    pt_walk(g->mm, &z.walk, start, end);
}

// ---- unmapping: entries and tables in one pass

struct unmap {
    struct tlb_gather *g;
    vaddr_t floor, ceiling;  // no area lies in [floor, ceiling) any more
    bool kept;               // a table stays, for an area outside
};

// Takes an empty table away if it serves only [floor, ceiling). => slot of the level above, covering va
static inline void drop_table(struct unmap *u, pte_t *slot, pte_t e, vaddr_t va, int level)
{
    vaddr_t base = ALIGN_DOWN(va, PT_SPAN(level));
    if (base < u->floor || base + PT_SPAN(level) - 1 >= u->ceiling) {
        u->kept = true;
        return;
    }
    *slot = PTE_NONE;
    page_chain_push(&u->g->tables, phys_to_page(pte_phys(e)));
    u->g->freed_tables = true;
    tlb_gather_range(u->g, base, base + PAGE_SIZE);
}

static void unmap_level1(struct unmap *u, pte_t *table, vaddr_t start, vaddr_t end)
{
    pte_t *slot = &table[pt_index(start, 1)], *last = &table[pt_index(end - 1, 1)];
    for (;; slot++) {
        while (slot <= last && pte_is_none(*slot))
            slot++;
        if (slot > last)
            break;
        pte_t e = *slot;
        vaddr_t base = ALIGN_DOWN(start, PT_SPAN(2)) + (vaddr_t)(slot - table) * HUGE_SIZE;
        vaddr_t from = MAX(start, base), to = MIN(end, base + HUGE_SIZE);
        if (!pte_is_table(e)) {
            KASSERT(to - from == HUGE_SIZE);  // the edges were split
            zap_leaf(u->g, slot, from, to);
            continue;
        }
        zap_entries(u->g, ZAP_UNMAP, pte_table(e) + pt_index(from, 0), from, to);
        drop_table(u, slot, e, from, 1);
    }
}

static void unmap_level2(struct unmap *u, pte_t *table, vaddr_t start, vaddr_t end)
{
    pte_t *slot = &table[pt_index(start, 2)];
    for (vaddr_t next; start < end; start = next, slot++) {
        pte_t e = *slot;
        next = span_end(start, end, 2);
        if (pte_is_none(e))
            continue;
        unmap_level1(u, pte_table(e), start, next);
        drop_table(u, slot, e, start, 2);
    }
}

bool pt_unmap(struct tlb_gather *g, vaddr_t start, vaddr_t end, vaddr_t floor, vaddr_t ceiling)
{
    struct unmap u = {g, floor, ceiling, false};
    pte_t *slot = &arch_mm_root(&g->mm->arch)[pt_index(start, 3)];
    for (vaddr_t next; start < end; start = next, slot++) {
        pte_t e = *slot;
        next = span_end(start, end, 3);
        if (pte_is_none(e))
            continue;
        unmap_level2(&u, pte_table(e), start, next);
        drop_table(&u, slot, e, start, 3);
    }
    return u.kept;
}

// ---- changing rights

struct protect {
    struct tlb_range *changed;
    pte_t rights;     // for frames that nobody else uses
    pte_t rights_ro;  // for all others: without write
    bool of_pool;     // 2 MiB leaves are of the pool (hugetlb.c)
};

// Gives an entry other rights; what the hardware sets meanwhile is kept. => the entry as it was
static inline pte_t set_rights(pte_t *slot, pte_t e, pte_t rights)
{
    if (likely(pte_settled(e))) {
        *slot = pte_set_rights(e, rights);
        return e;
    }
    while (!pte_replace(slot, e, pte_set_rights(e, rights)))
        e = READ_ONCE(*slot);
    return e;
}

// An entry that the short way of protect_entries leaves. => it was used
static bool protect_other(const struct protect *pr, pte_t *slot, pte_t e)
{
    if (pte_is_none(e) || !pte_present(e))
        return false;
    pte_t rights = pr->rights;
    if (rights != pr->rights_ro) {
        const struct page *p = phys_to_page(pte_phys(e));
        if (pte_special(e) || !pte_dirty(e) || p->refcount != 1 ||
            (p->flags & (PG_CACHE | PG_RESERVED)))
            rights = pr->rights_ro;
    }
    return pte_young(set_rights(slot, e, rights));
}

// any: all frames get the same rights. => the entry was used
static inline bool protect_entry(const struct protect *pr, pte_t *slot, pte_t e, bool any)
{
    if (unlikely(!pte_settled(e) || !(any || pte_exclusive(e))))
        return protect_other(pr, slot, e);
    *slot = pte_set_rights(e, pr->rights);  // dirty, so it is present
    return true;
}

static void protect_entries(const struct protect *pr, pte_t *slot, vaddr_t start, vaddr_t end)
{
    pte_t *last = slot + ((end - start) >> PAGE_SHIFT);
    bool touched = false;
    if (pr->rights == pr->rights_ro) {
        for (; slot < last; slot++)
            touched |= protect_entry(pr, slot, *slot, true);
    } else {
        for (; slot < last; slot++)
            touched |= protect_entry(pr, slot, *slot, false);
    }
    if (touched)
        tlb_range_add(pr->changed, start, end);
}

static inline bool protect_level1(void *ctx, pte_t *table, vaddr_t start, vaddr_t end)
{
    const struct protect *pr = ctx;
    pte_t *slot = &table[pt_index(start, 1)];
    vaddr_t first = 0, last = 0;  // huge leaves
    for (vaddr_t next; start < end; start = next, slot++) {
        pte_t e = READ_ONCE(*slot);
        next = span_end(start, end, 1);
        if (pte_is_none(e))
            continue;
        if (pte_is_table(e)) {
            protect_entries(pr, pte_table(e) + pt_index(start, 0), start, next);
            continue;
        }
        KCHECK(next - start == HUGE_SIZE);
        // Of the pool it may be shared after a fork.
        bool shared = pr->of_pool && phys_to_page(pte_phys(e))->refcount != 1;
        set_rights(slot, e, shared ? pr->rights_ro : pr->rights);
        first = last ? first : start;
        last = next;
    }
    if (last)
        tlb_range_add(pr->changed, first, last);
    return true;
}

static inline struct protect protect_rights(const struct vma *vma, struct tlb_range *changed)
{
    u64 access = vma->flags & VM_ACCESS;
    struct protect pr = {.changed = changed, .rights = user_rights[access]};
    pr.rights_ro = access & VM_WRITE ? user_rights[(access & ~(u64)VM_WRITE) | VM_READ] : pr.rights;
    if (unlikely(vma->flags >> VM_PKEY_SHIFT)) {
        pte_t key = pte_rights(pt_prot_of(vma->flags & VM_PKEY)) & ~pte_rights(PTE_USER);
        pr.rights |= key;
        pr.rights_ro |= key;
    }
    if (vma->flags & VM_SHARED)
        pr.rights = pr.rights_ro;  // writing is noticed by a fault
    return pr;
}

void pt_protect(struct mm *mm, const struct vma *vma, vaddr_t start, vaddr_t end,
                struct tlb_range *changed)
{
    struct protect pr = protect_rights(vma, changed);
    pr.of_pool = vma->flags & VM_HUGETLB;
    walk_tables(mm, start, end, &pr, protect_level1, no_hole);
}

void pt_protect_page(struct mm *mm, const struct vma *vma, vaddr_t va, struct tlb_range *changed)
{
    pte_t *table = level1_table(mm, va), e = table ? table[pt_index(va, 1)] : PTE_NONE;
    if (!pte_is_table(e))
        return;
    struct protect pr = protect_rights(vma, changed);
    pte_t *slot = pte_table(e) + pt_index(va, 0);
    if (protect_entry(&pr, slot, *slot, pr.rights == pr.rights_ro))
        tlb_range_add(changed, va, va + PAGE_SIZE);
}

// ---- fork

struct copy {
    struct pt_walk walk;
    struct tlb_gather *from;
    struct mm *to;
    bool anon_only;  // frames of the page cache fault in again
    int err;
};

// Takes the right to write and the exclusive mark away. => the entry as it is now
static pte_t share_entry(pte_t *slot, pte_t e)
{
    pte_t rights = pte_rights(pte_prot(e) & (PTE_READ | PTE_EXEC | PTE_USER | PTE_KEY)), new;
    do
        new = pte_set_rights(pte_clear_soft2(e), rights);
    while (!pte_replace(slot, e, new) && (e = READ_ONCE(*slot), true));
    return new;
}

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
            virt_to_page(target)->aux = UINT32_MAX;  // the new address space is nobody's yet
        }
        if (p) {
            if (pte_writable(e) || pte_exclusive(e)) {
                weakened |= pte_writable(e);
                e = share_entry(slot, e);
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

// Of the pool: both sides have it read-only from now on. => false: no memory
static __cold bool copy_pool_leaf(struct copy *c, pte_t *slot, struct page *p, vaddr_t va)
{
    pte_t *target = pt_make_level1(c->to, va);
    if (!target)
        return false;
    if (pte_writable(*slot))
        tlb_gather_range(c->from, va, va + HUGE_SIZE);
    page_get(p);
    *target = share_entry(slot, *slot);
    c->to->n_hugetlb++;
    return true;
}

// P3: a 2 MiB frame has one mapping. Splitting costs some thousand instructions; a program that forks
// and goes on writing would break it up by copying anyway.
static bool copy_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct copy *c = container_of(w, struct copy, walk);
    struct page *p = phys_to_page(pte_phys(*slot));
    if (p->flags & PG_HUGETLB) {
        if (copy_pool_leaf(c, slot, p, start))
            return false;
    } else if (pt_split_huge(c->from->mm, slot, start)) {
        return true;
    }
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

// ---- soft-dirty tracking

struct mark {
    struct pt_walk walk;
    struct tlb_gather *g;
};

static void mark_entry(pte_t *slot)
{
    pte_t e = share_entry(slot, *slot), marked;
    do
        marked = pte_mk_soft3(e);
    while (!pte_replace(slot, e, marked) && (e = READ_ONCE(*slot), true));
}

static void mark_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    for (const pte_t *last = slot + ((end - start) >> PAGE_SHIFT); slot < last; slot++)
        if (pte_present(*slot))
            mark_entry(slot);
    tlb_gather_range(container_of(w, struct mark, walk)->g, start, end);
}

static bool mark_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    mark_entry(slot);
    tlb_gather_range(container_of(w, struct mark, walk)->g, start, end);
    return false;
}

__cold void pt_mark_unchanged(struct tlb_gather *g, vaddr_t start, vaddr_t end)
{
    struct mark m = {.walk = {.run = mark_run, .huge = mark_huge}, .g = g};
    pt_walk(g->mm, &m.walk, start, end);
}

// ---- mremap

static bool whole_table_moves(vaddr_t from, vaddr_t to, vaddr_t end)
{
    return ((from | to) & (HUGE_SIZE - 1)) == 0 && end - from >= HUGE_SIZE;
}

// The level 1 table last looked at: neighbouring slots are found without a walk.
struct cursor {
    struct mm *mm;
    pte_t *table;
    u64 number;  // of the table: va >> PT_SHIFT(2); UINT64_MAX: none looked at yet
};

static __noinline void cursor_move(struct cursor *c, vaddr_t va, bool make)
{
    c->number = va >> PT_SHIFT(2);
    if (make) {
        pte_t *slot = pt_make_level1(c->mm, va);
        c->table = slot ? slot - pt_index(va, 1) : NULL;
        return;
    }
    c->table = level1_table(c->mm, va);
}

// The level 1 slot of va. => NULL: no table there (make: no memory)
static inline pte_t *cursor_slot(struct cursor *c, vaddr_t va, bool make)
{
    if (va >> PT_SHIFT(2) != c->number || (make && !c->table))
        cursor_move(c, va, make);
    return c->table ? &c->table[pt_index(va, 1)] : NULL;
}

// Where the stretch at from ends that has one source and one target table.
static inline vaddr_t move_step(vaddr_t from, vaddr_t to, vaddr_t end)
{
    return MIN(span_end(from, end, 1), from + (HUGE_SIZE - (to & (HUGE_SIZE - 1))));
}

// Makes every table that the entries of [from, from + len) will need at their new place.
static int prepare_target(struct mm *mm, vaddr_t from, vaddr_t to, vaddr_t end)
{
    struct cursor source = {mm, NULL, UINT64_MAX}, target = source;
    for (vaddr_t next; from < end; to += next - from, from = next) {
        next = move_step(from, to, end);
        pte_t *s = cursor_slot(&source, from, false);
        if (!s || pte_is_none(*s))
            continue;
        pte_t *t = cursor_slot(&target, to, true);
        if (!t)
            return -ENOMEM;
        if (whole_table_moves(from, to, end))
            continue;
        if (pte_is_huge(*s) && !pt_split_huge(mm, s, from))
            return -ENOMEM;
        if (pte_is_none(*t) && !pt_make_table(mm, t))
            return -ENOMEM;
    }
    return 0;
}

static void move_entries(pte_t *from, pte_t *to, size_t n)
{
    virt_to_page(to)->aux = UINT32_MAX;
    for (; n; n--, from++, to++) {
        pte_t e = *from;
        if (pte_is_none(e))
            continue;
        *to = pte_present(e) ? atomic_xchg(from, PTE_NONE) : e;
        *from = PTE_NONE;
    }
}

int pt_move(struct tlb_gather *g, vaddr_t from, vaddr_t to, size_t len)
{
    struct cursor source = {g->mm, NULL, UINT64_MAX}, target = source;
    vaddr_t end = from + len;
    int err = prepare_target(g->mm, from, to, end);
    if (err)
        return err;
    tlb_gather_range(g, from, end);
    for (vaddr_t next; from < end; to += next - from, from = next) {
        next = move_step(from, to, end);
        pte_t *s = cursor_slot(&source, from, false);
        if (!s || pte_is_none(*s))
            continue;
        pte_t *t = cursor_slot(&target, to, false);
        // Nothing was prepared for an empty source; its table has come since, as the target of another part.
        if (!t)
            continue;
        if (whole_table_moves(from, to, end)) {
            pte_t old = *t;
            if (ARCH_BREAK_BEFORE_MAKE && pte_is_table(old)) {
                *t = PTE_NONE;
                tlb_flush_page(g->mm, to);
            }
            *t = atomic_xchg(s, PTE_NONE);
            if (pte_is_table(old)) {
                page_chain_push(&g->tables, phys_to_page(pte_phys(old)));
                g->freed_tables = true;
            }
            continue;
        }
        if (pte_is_none(*t))
            continue;
        move_entries(pte_table(*s) + pt_index(from, 0), pte_table(*t) + pt_index(to, 0),
                     (next - from) >> PAGE_SHIFT);
    }
    return 0;
}

// ---- the verifier

struct verify {
    struct mm *mm;
    s64 tables, anon, file, shmem, huge, pool;
};

static void verify_leaf(struct verify *v, pte_t e, vaddr_t va, int level)
{
    const struct vma *vma = vma_find(v->mm, va);
    KASSERT(vma && vma->start <= va && va + PT_SPAN(level) <= vma->end);
    KASSERT(vma->backed & (level ? VMA_HUGE : VMA_TOUCHED));
    if (!pte_present(e) || pte_special(e))
        return;
    const struct page *p = phys_to_page(pte_phys(e));
    KASSERT(p->refcount > 0 && !(p->flags & (PG_FREE | PG_SLAB)));
    KASSERT(!pte_writable(e) || ((vma->flags & VM_WRITE) && !pte_unchanged(e)));
    if (level == 1 && (vma->flags & VM_HUGETLB)) {
        KASSERT((p->flags & PG_HUGETLB) && IS_ALIGNED(pte_phys(e), HUGE_SIZE));
        KASSERT(!pte_writable(e) || p->refcount == 1 || (vma->flags & VM_SHARED));
        v->pool++;
        return;
    }
    if (level == 1) {
        KASSERT(IS_ALIGNED(pte_phys(e), HUGE_SIZE) && p->refcount == 1 && !(p->flags & PG_CACHE));
        v->anon += PT_ENTRIES;
        v->huge++;
        return;
    }
    KASSERT(!pte_exclusive(e) || !(p->flags & (PG_CACHE | PG_RESERVED)));
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
            KASSERT(level == 1 || (virt_to_page(table)->aux >> (i / PT_GROUP) & 1));
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
    KASSERT(v.tables == mm->n_table_pages && v.huge == mm->n_huge && v.pool == mm->n_hugetlb);
    KASSERT(v.anon == mm->rss_anon && v.file == mm->rss_file && v.shmem == mm->rss_shmem);
}
