// SPDX-License-Identifier: BSD-2-Clause
// madvise.c: one range walker, one small function for each advice, one predicate for the lock it needs.
//
// The common rules (madvise(2)): an unknown advice, an unaligned start and a wrapped length are EINVAL and nothing
// is done; length 0 succeeds; a hole does not stop the walk: the mapped parts are acted on, then ENOMEM;
// an area that an advice does not apply to ends it with that area's error, what was done stays done.
#include "core/log.h"
#include "core/wait.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

struct advise {
    struct mm *mm;
    struct tlb_gather g;
    int advice;
};

enum lock_kind { LOCK_NONE, LOCK_READ, LOCK_WRITE };

// => -1: unknown advice
static int lock_for(int advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
    case MADV_FREE_REUSABLE: return LOCK_READ;
    case MADV_COLD:  // the accessed flag may only go while nobody zaps: pagetable.c, "Changing entries"
    case MADV_PAGEOUT:
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_COLLAPSE:
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE: return LOCK_WRITE;
    case MADV_REMOVE:
    case MADV_WILLNEED:
    case MADV_FREE_REUSE:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_HWPOISON:
    case MADV_SOFT_OFFLINE: return LOCK_NONE;
    default:  // MERGEABLE, UNMERGEABLE: as a Linux without same-page merging
        return -1;
    }
}

// ---- flags of the area

static int new_flags(const struct vma *v, int advice, u64 *flags)
{
    u64 f = v->flags;
    switch (advice) {
    case MADV_NORMAL: f &= ~(u64)(VM_RAND | VM_SEQ); break;
    case MADV_RANDOM: f = (f & ~(u64)VM_SEQ) | VM_RAND; break;
    case MADV_SEQUENTIAL: f = (f & ~(u64)VM_RAND) | VM_SEQ; break;
    case MADV_DONTFORK: f |= VM_DONTFORK; break;
    case MADV_DOFORK:
        if (f & VM_SPECIAL)
            return -EINVAL;
        f &= ~(u64)VM_DONTFORK;
        break;
    case MADV_WIPEONFORK:
        if (v->object || v->file || (f & (VM_SHARED | VM_HUGETLB)))
            return -EINVAL;
        f |= VM_WIPEONFORK;
        break;
    case MADV_KEEPONFORK:
        if (f & VM_DROPPABLE)
            return -EINVAL;
        f &= ~(u64)VM_WIPEONFORK;
        break;
    case MADV_DONTDUMP: f |= VM_DONTDUMP; break;
    case MADV_DODUMP:
        if (f & (VM_SPECIAL | VM_DROPPABLE))
            return -EINVAL;
        f &= ~(u64)VM_DONTDUMP;
        break;
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
        if (f & VM_SPECIAL)
            return -EINVAL;
        f &= ~(u64)(VM_HUGEPAGE | VM_NOHUGEPAGE);
        f |= advice == MADV_HUGEPAGE ? VM_HUGEPAGE : VM_NOHUGEPAGE;
        break;
    }
    *flags = f;
    return 0;
}

static int advise_flags(struct advise *a, struct vma **v, vaddr_t start, vaddr_t end)
{
    u64 flags;
    int err = new_flags(*v, a->advice, &flags);
    if (err)
        return err;
    if (((*v)->flags & VM_HUGETLB) && flags != (*v)->flags && !IS_ALIGNED(start | end, HUGE_SIZE))
        return -EINVAL;
    struct vma *changed = vma_modify(a->mm, *v, start, end, flags, (*v)->name);
    if (!changed)
        return -EAGAIN;  // as Linux words a shortage of kernel memory here
    *v = changed;
    return 0;
}

// ---- giving memory back

static int advise_dontneed(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    u64 forbidden = VM_SPECIAL | (a->advice == MADV_DONTNEED_LOCKED ? 0 : VM_LOCKED);
    if (v->flags & forbidden)
        return -EINVAL;
    if (v->flags & VM_HUGETLB) {  // no byte more than was asked for
        end = ALIGN_DOWN(end, HUGE_SIZE);
        if (!IS_ALIGNED(start, HUGE_SIZE) || start >= end)
            return IS_ALIGNED(start, HUGE_SIZE) ? 0 : -EINVAL;
    }
    pt_zap(&a->g, start, end, ZAP_DISCARD);
    return 0;
}

// MADV_FREE_REUSABLE (docs/memory.md): as MADV_DONTNEED, of private anonymous memory only.
static int advise_reusable(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    if ((v->flags & (VM_SPECIAL | VM_LOCKED | VM_GROWSDOWN | VM_HUGETLB)) || v->object)
        return -EINVAL;
    s64 before = a->g.anon;
    pt_zap(&a->g, start, end, ZAP_DISCARD);
    atomic_add(&mm_stats.reusable, (u64)(a->g.anon - before));
    return 0;
}

struct free_walk {
    struct pt_walk walk;
    struct tlb_gather *g;
    u64 n;
    bool droppable;  // MAP_DROPPABLE: what was written may go too
};

static void free_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct free_walk *fw = container_of(w, struct free_walk, walk);
    u64 n = 0;
    for (pte_t *last = slot + ((end - start) >> PAGE_SHIFT); slot < last; slot++) {
        pte_t e = READ_ONCE(*slot);
        if (!pte_dirty(e) || !pte_present(e) || pte_special(e))
            continue;
        const struct page *p = phys_to_page(pte_phys(e));
        if (!pte_writable(e) && ((p->flags & PG_CACHE) || p->refcount != 1))
            continue;
        n += pte_replace(slot, e, pte_mk_clean(e));
    }
    fw->n += n;
    if (n)
        tlb_gather_range(fw->g, start, end);
}

static bool free_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct free_walk *fw = container_of(w, struct free_walk, walk);
    if (end - start < HUGE_SIZE)
        return pt_split_huge(fw->g->mm, slot, start);
    pte_t e = pt_read_level1(slot);
    while (pte_is_huge(e) && !pte_replace(slot, e, pte_mk_clean(e)))
        e = pt_read_level1(slot);
    if (!pte_is_huge(e))
        return pte_is_table(e);
    fw->n += PT_ENTRIES;
    tlb_gather_range(fw->g, start, end);
    return false;
}

// MADV_FREE: a clean entry of an anonymous area is one whose contents may go (see lazyfree_reclaim). The next write
// makes it dirty, by the hardware or by a fault.
static int advise_free(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    if ((v->flags & (VM_SPECIAL | VM_LOCKED | VM_HUGETLB)) || v->object)
        return -EINVAL;
    struct free_walk fw = {.walk = {.run = free_run, .huge = free_huge}, .g = &a->g};
    pt_walk(a->mm, &fw.walk, start, end);
    atomic_add(&a->mm->n_lazyfree, fw.n);
    atomic_add(&mm_stats.lazyfree, fw.n);
    return 0;
}

static void reclaim_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct free_walk *fw = container_of(w, struct free_walk, walk);
    struct tlb_gather *g = fw->g;
    for (; start < end; start += PAGE_SIZE, slot++) {
        pte_t e = READ_ONCE(*slot);
        if (!pte_present(e) || (pte_dirty(e) && !fw->droppable) || pte_special(e))
            continue;
        struct page *p = phys_to_page(pte_phys(e));
        if ((p->flags & (PG_CACHE | PG_RESERVED)) || p->refcount != 1)
            continue;
        if (!pte_replace(slot, e, PTE_NONE))
            continue;
        page_chain_push(&g->frames, p);
        g->anon++;
        fw->n++;
        tlb_gather_range(g, start, start + PAGE_SIZE);
    }
}

static bool reclaim_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct free_walk *fw = container_of(w, struct free_walk, walk);
    pte_t e = pt_read_level1(slot);
    if (!pte_is_huge(e) || (pte_dirty(e) && !fw->droppable) || end - start < HUGE_SIZE ||
        !pte_replace(slot, e, PTE_NONE))
        return false;
    page_chain_push(&fw->g->huge, phys_to_page(pte_phys(e)));
    fw->g->anon += PT_ENTRIES;
    fw->n += PT_ENTRIES;
    tlb_gather_range(fw->g, start, end);
    return false;
}

static u64 reclaim_from(struct mm *mm, u64 wanted)
{
    struct tlb_gather g;
    struct free_walk fw = {.walk = {.run = reclaim_run, .huge = reclaim_huge}, .g = &g};
    if (!rwlock_try_read(&mm->lock))
        return 0;
    tlb_gather_init(&g, mm);
    pt_zap_begin(mm);
    for (struct vma *v = mm->first; v && fw.n < wanted; v = v->next) {
        fw.droppable = v->flags & VM_DROPPABLE;
        if (!v->object && !(v->flags & (VM_SPECIAL | VM_HUGETLB)))
            pt_walk(mm, &fw.walk, v->start, v->end);
    }
    if (fw.n < wanted)
        atomic_store(&mm->n_lazyfree, 0);
    tlb_gather_finish(&g);
    pt_zap_end(mm);
    rwlock_read_done(&mm->lock);
    return fw.n;
}

// Takes clean anonymous frames back, in whatever address space they are.
// => Called by page_alloc with any locks of the caller held, so locks are only tried.
u64 lazyfree_reclaim(u64 wanted)
{
    u64 freed = 0;
    struct mm *mm = NULL;
    if (!spin_trylock(&mm_list_lock))
        return 0;
    list_for_each_entry (struct mm, m, &mm_list, mm_link) {
        if ((atomic_load(&m->n_lazyfree) || m->has_droppable) && mm_try_get(m)) {
            mm = m;
            break;
        }
    }
    spin_unlock(&mm_list_lock);
    if (mm) {
        freed = reclaim_from(mm, wanted);
        mm_put(mm);
    }
    atomic_add(&mm_stats.lazyfreed, freed);
    return freed;
}

// ---- reclaim order

static void cold_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct free_walk *fw = container_of(w, struct free_walk, walk);
    bool aged = false;
    for (pte_t *last = slot + ((end - start) >> PAGE_SHIFT); slot < last; slot++) {
        pte_t e = READ_ONCE(*slot);
        while (pte_present(e) && pte_young(e) && !pte_special(e)) {
            aged = true;
            if (pte_replace(slot, e, pte_mk_old(e)))
                break;
            e = READ_ONCE(*slot);
        }
    }
    if (aged)
        tlb_gather_range(fw->g, start, end);
}

static bool cold_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    cold_run(w, slot, start, start + PAGE_SIZE);
    return false;
}

// COLD: the pages count as not referenced. PAGEOUT: what can be reclaimed is; without swap that is clean pages of
// files and what MADV_FREE gave up, other memory only ages.
static int advise_cold(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    if (v->flags & (VM_LOCKED | VM_SPECIAL | VM_HUGETLB))
        return -EINVAL;
    bool cold = a->advice == MADV_COLD;
    if (cold || !v->object) {
        struct free_walk fw = {.g = &a->g};
        fw.walk.run = cold ? cold_run : reclaim_run;
        fw.walk.huge = cold ? cold_huge : reclaim_huge;
        pt_walk(a->mm, &fw.walk, start, end);
        atomic_add(&mm_stats.lazyfreed, fw.n);
    }
    if (cold || !v->object || (v->object->flags & VMO_ANON))
        return 0;
    pt_zap(&a->g, start, end, ZAP_CACHED);
    tlb_gather_finish(&a->g);
    u64 first = v->pgoff + ((start - v->start) >> PAGE_SHIFT);
    vm_object_drop(v->object, first, first + ((end - start) >> PAGE_SHIFT) - 1);
    return 0;
}

static int advise_collapse(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    if (v->object || (v->flags & (VM_SPECIAL | VM_NOHUGEPAGE | VM_HUGETLB)) ||
        a->mm->thp_disabled == THP_DISABLED)
        return -EINVAL;
    vaddr_t first = ALIGN_UP(start, HUGE_SIZE), last = ALIGN_DOWN(end, HUGE_SIZE);
    int err = first > last ? -EINVAL : 0;
    for (vaddr_t va = first; va < last; va += HUGE_SIZE) {
        int e = collapse_range(a->mm, v, va, true);
        err = e ? e : err;
    }
    return err;
}

// ---- guard pages

struct guard_walk {
    struct pt_walk walk;
    struct mm *mm;
};

static void guard_remove_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    for (; start < end; start += PAGE_SIZE, slot++)
        if (pte_is_soft(*slot) && pte_soft_kind(*slot) == SOFT_GUARD)
            *slot = PTE_NONE;
}

static bool guard_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end) { return false; }

static int advise_guard(struct advise *a, struct vma *v, vaddr_t start, vaddr_t end)
{
    bool install = a->advice == MADV_GUARD_INSTALL;
    if (v->flags & (VM_SPECIAL | VM_HUGETLB | (install ? VM_LOCKED : 0)))
        return -EINVAL;
    if (!install) {
        struct guard_walk gw = {.walk = {.run = guard_remove_run, .huge = guard_huge}};
        pt_walk(a->mm, &gw.walk, start, end);
        return 0;
    }
    pt_zap(&a->g, start, end, ZAP_DISCARD);
    v->backed |= VMA_TOUCHED | VMA_GUARDED;
    for (vaddr_t va = start; va < end; va += PAGE_SIZE) {
        bool huge;
        pte_t *slot = pt_make_slot(a->mm, va, &huge);
        if (!slot)
            return -ENOMEM;
        *slot = pte_make_soft(SOFT_GUARD, 0);
    }
    return 0;
}

// ---- the range walker

// mseal(2): sealed anonymous memory that the caller cannot write keeps its contents. Mappings of objects do not, as on
// Linux.
static bool seal_forbids(u64 vm_flags, const struct vm_object *obj, int advice)
{
    if (likely(!(vm_flags & VM_SEALED)) || (vm_flags & VM_WRITE) || obj)
        return false;
    return advice == MADV_FREE || advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED ||
           advice == MADV_REMOVE || advice == MADV_DONTFORK || advice == MADV_WIPEONFORK ||
           advice == MADV_GUARD_INSTALL || advice == MADV_FREE_REUSABLE;
}

static int advise_part(struct advise *a, struct vma **v, vaddr_t start, vaddr_t end)
{
    if (seal_forbids((*v)->flags, (*v)->object, a->advice))
        return -EPERM;
    switch (a->advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED: return advise_dontneed(a, *v, start, end);
    case MADV_FREE: return advise_free(a, *v, start, end);
    case MADV_FREE_REUSABLE: return advise_reusable(a, *v, start, end);
    case MADV_COLD:
    case MADV_PAGEOUT: return advise_cold(a, *v, start, end);
    case MADV_COLLAPSE: return advise_collapse(a, *v, start, end);
    case MADV_GUARD_INSTALL:
    case MADV_GUARD_REMOVE: return advise_guard(a, *v, start, end);
    default: return advise_flags(a, v, start, end);
    }
}

static long advise_locked(struct advise *a, vaddr_t start, vaddr_t end)
{
    long err = 0;
    struct vma *v = vma_find(a->mm, start);
    while (start < end) {
        if (!v || v->start >= end)
            return -ENOMEM;
        if (v->start > start) {
            err = -ENOMEM;
            start = v->start;
        }
        vaddr_t stop = MIN(v->end, end);
        int e = advise_part(a, &v, start, stop);
        if (e)
            return e;
        start = stop;
        v = v->end > start ? v : v->next;
    }
    return err;
}

// ---- advices that wait, and so hold no lock across their parts

// The part of a range that lies in one area, as it was when the lock was held.
struct part {
    struct mm *mm;
    vaddr_t start, end;     // what is left of the range; the part starts here
    vaddr_t stop;           // end of the part
    u64 flags;              // of the area
    struct vm_object *obj;  // referenced, or NULL
    u64 from_bytes;         // where the part starts in it
    bool of_file;           // a private mapping of /dev/zero is one without an object
    bool hole;              // some page had no area
};

// Goes to the next part. => false: there is none
static bool next_part(struct part *p)
{
    rwlock_read(&p->mm->lock);
    struct vma *v = p->start < p->end ? vma_find(p->mm, p->start) : NULL;
    bool found = v && v->start < p->end;
    if (found) {
        p->hole |= v->start > p->start;
        p->start = MAX(p->start, v->start);
        p->stop = MIN(v->end, p->end);
        p->flags = v->flags;
        p->of_file = v->file != NULL;
        p->from_bytes = (v->pgoff << PAGE_SHIFT) + (p->start - v->start);
        if ((p->obj = v->object))
            vm_object_get(p->obj);
    } else {
        p->hole |= p->start < p->end;
    }
    rwlock_read_done(&p->mm->lock);
    return found;
}

static long remove_part(const struct part *p)
{
    if (seal_forbids(p->flags, p->obj, MADV_REMOVE))
        return -EPERM;
    if ((p->flags & (VM_LOCKED | VM_SPECIAL)) || !(p->obj || p->of_file))
        return -EINVAL;
    if ((p->flags & (VM_SHARED | VM_MAYWRITE)) != (VM_SHARED | VM_MAYWRITE))
        return -EACCES;
    u64 end = p->from_bytes + (p->stop - p->start);
    if (p->obj->ops->punch)
        return p->obj->ops->punch(p->obj, p->from_bytes, end);
    if (!(p->obj->flags & VMO_ANON) || (p->obj->flags & VMO_HUGETLB))
        return -EOPNOTSUPP;
    if (p->obj->flags & VMO_SEALED)
        return -EPERM;
    return vm_object_punch(p->obj, p->from_bytes, end);
}

// WILLNEED: what a file keeps elsewhere is read now; an error is left to the touch that finds it. Pages of the root
// image and of memory-only objects are in memory already, and there is no swap to read private pages from.
static long willneed_part(const struct part *p)
{
    if (!p->obj || (p->obj->flags & (VMO_ANON | VMO_NOBLOCK)) || !p->obj->ops->get_page)
        return 0;
    u64 index = p->from_bytes >> PAGE_SHIFT, n = (p->stop - p->start) >> PAGE_SHIFT;
    for (; n && page_memory_plentiful(); n--, index++) {
        struct page *page = vm_object_get_page(p->obj, index, false);
        if (IS_ERR(page))
            break;
        page_put(page);
        sched_point();
    }
    return 0;
}

// MADV_FREE_REUSE: frames for the whole part, from the stock of zeroed ones as far as it reaches.
static long reuse_part(const struct part *p)
{
    if (p->obj || (p->flags & (VM_SPECIAL | VM_GROWSDOWN | VM_HUGETLB)))
        return -EINVAL;
    s64 before = p->mm->rss_anon;
    long err = mm_populate_error(p->mm, p->start, p->stop, true);
    s64 gained = p->mm->rss_anon - before;  // other threads may fault too: a figure to look at
    atomic_add(&mm_stats.reused, (u64)MAX(gained, 0));
    return err;
}

static long advise_parts(struct mm *mm, vaddr_t start, vaddr_t end,
                         long (*act)(const struct part *))
{
    struct part p = {.mm = mm, .start = start, .end = end};
    for (; next_part(&p); p.start = p.stop) {
        long err = act(&p);
        if (p.obj)
            vm_object_put(p.obj);
        if (err)
            return err;
    }
    return p.hole ? -ENOMEM : 0;
}

// One page of MADV_HWPOISON or MADV_SOFT_OFFLINE. => lock held for writing
static __cold long poison_page(struct mm *mm, vaddr_t va, bool hard)
{
    int level;
    if (pt_split_edges(mm, va, va + PAGE_SIZE))
        return -ENOMEM;
    pte_t *slot = pt_lookup(mm, va, &level);
    pte_t e = slot ? *slot : PTE_NONE;
    if (!slot || level || !pte_present(e) || pte_special(e))
        return -EBUSY;
    struct page *old = phys_to_page(pte_phys(e)), *new = NULL;
    if ((old->flags & (PG_CACHE | PG_RESERVED)) || old->refcount != 1)
        return -EBUSY;
    if (!hard && !(new = page_alloc(0, PAGE_USER)))
        return -ENOMEM;
    *slot = PTE_NONE;
    tlb_flush_page(mm, va);
    if (hard) {
        *slot = pte_make_soft(SOFT_POISON, 0);
        atomic_sub(&mm->rss_anon, 1);
    } else {
        arch_copy_page(page_address(new), page_address(old));
        *slot = pte_mk_dirty(pte_make(page_to_phys(new), pte_prot(e)));
    }
    page_retire(old);
    return 0;
}

static __cold long advise_poison(struct mm *mm, vaddr_t start, vaddr_t end, bool hard)
{
    if (!capable_sys_admin())
        return -EPERM;
    for (; start < end; start += PAGE_SIZE) {
        rwlock_read(&mm->lock);
        const struct vma *v = vma_at(mm, start);
        bool write = v && (v->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
        bool of_pool = v && (v->flags & VM_HUGETLB);
        rwlock_read_done(&mm->lock);
        if (of_pool)
            return -EBUSY;
        long err = mm_populate_error(mm, start, start + PAGE_SIZE, write);
        if (err)
            return err == -EINVAL ? -EFAULT : err;
        rwlock_write(&mm->lock);
        err = poison_page(mm, start, hard);
        rwlock_write_done(&mm->lock);
        if (err)
            return err;
    }
    return 0;
}

static long advise_unlocked(struct mm *mm, vaddr_t start, vaddr_t end, int advice)
{
    switch (advice) {
    case MADV_REMOVE: return advise_parts(mm, start, end, remove_part);
    case MADV_WILLNEED: return advise_parts(mm, start, end, willneed_part);
    case MADV_FREE_REUSE: return advise_parts(mm, start, end, reuse_part);
    case MADV_POPULATE_READ: return mm_populate_error(mm, start, end, false);
    case MADV_POPULATE_WRITE: return mm_populate_error(mm, start, end, true);
    default: return advise_poison(mm, start, end, advice == MADV_HWPOISON);
    }
}

// => *end; false: -EINVAL
static bool advise_range_ok(vaddr_t start, size_t len_in, vaddr_t *end)
{
    size_t len = ALIGN_UP(len_in, PAGE_SIZE);
    *end = start + len;
    return IS_ALIGNED(start, PAGE_SIZE) && !(len_in && !len) && *end >= start;
}

static void advise_lock(struct mm *mm, enum lock_kind kind)
{
    if (kind == LOCK_READ) {
        rwlock_read(&mm->lock);
        pt_zap_begin(mm);
    } else if (kind == LOCK_WRITE) {
        rwlock_write(&mm->lock);
    }
}

static void advise_unlock(struct mm *mm, enum lock_kind kind)
{
    if (kind == LOCK_READ) {
        pt_zap_end(mm);
        rwlock_read_done(&mm->lock);
    } else if (kind == LOCK_WRITE) {
        rwlock_write_done(&mm->lock);
    }
}

long madvise_vector(struct mm *mm, const struct advise_part *parts, size_t n, int advice)
{
    int lock = lock_for(advice);
    long done = 0, err = 0;
    size_t left =
        0;  // bytes: Linux looks at nothing behind the last of them, not even at the advice
    for (size_t i = 0; i < n; i++)
        left += parts[i].len;
    if (lock < 0 || !left)
        return left ? -EINVAL : 0;
    struct advise a = {.mm = mm, .advice = advice};
    advise_lock(mm, (enum lock_kind)lock);
    tlb_gather_init(&a.g, mm);
    for (size_t i = 0; left; left -= parts[i++].len) {
        vaddr_t start = parts[i].start, end;
        if (!advise_range_ok(start, parts[i].len, &end))
            err = -EINVAL;
        else if (start < end)
            err = lock == LOCK_NONE ? advise_unlocked(mm, start, end, advice)
                                    : advise_locked(&a, start, end);
        if (err)
            break;
        done += (long)parts[i].len;
    }
    tlb_gather_finish(&a.g);
    advise_unlock(mm, (enum lock_kind)lock);
    return done ? done : err;
}

long madvise_range(struct mm *mm, vaddr_t start, size_t len, int advice)
{
    vaddr_t end;
    int lock = lock_for(advice);
    if (lock < 0 || !advise_range_ok(start, len, &end))
        return -EINVAL;
    if (end == start)
        return 0;
    if (lock == LOCK_NONE)
        return advise_unlocked(mm, start, end, advice);
    struct advise a = {.mm = mm, .advice = advice};
    advise_lock(mm, (enum lock_kind)lock);
    tlb_gather_init(&a.g, mm);
    long err = advise_locked(&a, start, end);
    tlb_gather_finish(&a.g);
    advise_unlock(mm, (enum lock_kind)lock);
    return err;
}

// prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): name NULL takes the name away.
// => -EINVAL, -ENOMEM (a hole, the rest is named; or no memory), -EBADF (a mapped file)
long mm_set_vma_name(struct mm *mm, vaddr_t start, size_t len_in, const char *name)
{
    size_t len = ALIGN_UP(len_in, PAGE_SIZE);
    vaddr_t end = start + len;
    if (!IS_ALIGNED(start, PAGE_SIZE) || (len_in && !len) || end < start)
        return -EINVAL;
    long err = 0;
    rwlock_write(&mm->lock);
    for (struct vma *v = vma_find(mm, start); start < end; v = v->next) {
        if (!v || v->start >= end) {
            err = -ENOMEM;
            break;
        }
        if (v->start > start)
            err = -ENOMEM;
        if (v->file || (v->flags & (VM_SPECIAL | VM_HUGETLB))) {
            err = -EBADF;
            break;
        }
        vaddr_t stop = MIN(v->end, end);
        v = vma_modify(mm, v, MAX(v->start, start), stop, v->flags, name);
        if (!v) {
            err = -ENOMEM;
            break;
        }
        start = stop;
    }
    rwlock_write_done(&mm->lock);
    return err;
}
