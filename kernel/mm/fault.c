// SPDX-License-Identifier: BSD-2-Clause
// fault.c: page faults.
//
//                              entry      access   VMA                what happens
//   anonymous, private         none       read     any                zero page, for 16 neighbours at once
//                              none       write    any                a clear frame
//                              zero page  write    any                a clear frame, flush if it was used
//                              frame, RO  write    exclusive          made writable (mprotect, fork's end)
//                              frame, RO  write    shared after fork  copied
//   file, private              none       read     any                cached page and its cached neighbours, RO
//                              none       write    any                copied at once
//                              cached     write    any                copied
//   file or memory, shared     none       any      any                cached page; RO while writes matter
//                              cached, RO write    any                page_dirtied, made writable
//   guard, poison              –          –        –                  SIGSEGV; SIGBUS with BUS_MCEERR_AR
//
// Locking: faults hold mm->lock for reading and install entries by compare and exchange; who loses gives its
// frame back, the instruction is repeated and finds the winner's entry. A frame is clear or copied before it
// becomes visible. What must wait (reading a page, growing the stack, collapsing to 2 MiB) drops the lock
// first and the access is looked at again from the start.
//
// 2 MiB backing: the first touches of an aligned 2 MiB of a private anonymous area take single frames, so one
// touched byte costs one frame. The struct page of their page table counts the faults in it; fault number
// PROMOTE_FAULTS says that the area is being filled, and if memory is plentiful the 2 MiB are
// collapsed: one frame of order 9, cleared where nothing was, the few pages there were copied. Populating
// (MAP_POPULATE, mlock) and MADV_HUGEPAGE take the 2 MiB frame at the first touch. Rejected: a 2 MiB frame for
// every first touch (a byte costs 2 MiB and 260,000 instructions for ever), and reserving the frame without
// clearing it (saves the copy of 8 pages, costs a list of reservations that pressure must find and break).
#include "arch/cpu.h"
#include "core/log.h"
#include "core/wait.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

#define ZERO_AROUND \
    PT_GROUP  // entries that a read fault fills with the zero page: a pair of cache lines
#define FILE_AROUND \
    PT_GROUP  // pages that a file fault looks up: 64 KiB, as Linux's fault_around_bytes
#define PROMOTE_FAULTS 5
// Frames that the n-th write fault in a page table takes: 1, 1, 2, 4 make 8 before the collapse.
#define MAX_CLUSTER 4

struct fault {
    struct mm *mm;
    struct vma *vma;
    vaddr_t addr;  // page aligned
    unsigned access;
    pte_t *slot;  // level 0
    pte_t *level1;
};

static inline bool is_write(const struct fault *f) { return f->access & FAULT_WRITE; }

static inline unsigned data_prot(const struct vma *v) { return pt_prot_of(v->flags) | PTE_YOUNG; }

// The entry for a frame of a private area that is its own from now on.
static inline pte_t own_entry(const struct vma *v, const struct page *p)
{
    return pte_mk_exclusive(pte_make(page_to_phys(p), data_prot(v) | PTE_DIRTY));
}

// ---- anonymous memory

static void map_zero_around(struct fault *f)
{
    const struct vma *v = f->vma;
    vaddr_t first = ALIGN_DOWN(f->addr, ZERO_AROUND * PAGE_SIZE),
            last = first + ZERO_AROUND * PAGE_SIZE;
    if (first < v->start || (v->flags & VM_RAND))
        first = (v->flags & VM_RAND) ? f->addr : v->start;
    if (last > v->end || (v->flags & VM_RAND))
        last = (v->flags & VM_RAND) ? f->addr + PAGE_SIZE : v->end;
    unsigned prot = pt_prot_of(v->flags) & ~PTE_WRITE;
    pte_t zero = pte_mk_special(pte_make(page_to_phys(zero_page), prot));
    pte_t *slot = f->slot - ((f->addr - first) >> PAGE_SHIFT);
    pte_t *end = f->slot + ((last - f->addr) >> PAGE_SHIFT);
    // The neighbours stay "not accessed": replacing them later needs no flush.
    pt_fill(f->mm, f->addr, f->slot, pte_mk_young(zero));
    for (; slot < end; slot++, first += PAGE_SIZE)
        if (pte_is_none(READ_ONCE(*slot)))
            pt_fill(f->mm, first, slot, zero);
}

static bool huge_fits(const struct vma *v, vaddr_t addr)
{
    vaddr_t base = ALIGN_DOWN(addr, HUGE_SIZE);
    return base >= v->start && base + HUGE_SIZE <= v->end;
}

// A 2 MiB leaf into an empty level 1 slot. => false: not now, take single frames
static bool map_huge(struct fault *f)
{
    if (!page_memory_plentiful())
        return false;
    struct page *p = page_alloc(PAGE_MAX_ORDER, PAGE_ZERO | PAGE_USER | PAGE_NORECLAIM);
    if (!p) {
        atomic_add(&mm_stats.thp_fault_fallback, 1);
        return false;
    }
    pte_t leaf = pte_make_huge(page_to_phys(p), data_prot(f->vma) | PTE_DIRTY);
    if (!pt_fill(f->mm, f->addr, f->level1, leaf)) {
        page_free(p, PAGE_MAX_ORDER);
        return true;
    }
    atomic_add(&f->mm->rss_anon, PT_ENTRIES);
    atomic_add(&f->mm->n_huge, 1);
    atomic_fetch_or(&f->vma->backed, VMA_HUGE);
    atomic_add(&mm_stats.thp_fault, 1);
    return true;
}

// Fills empty entries of the aligned cluster around the fault with clear frames.
static enum fault_kind map_cluster(struct fault *f, unsigned n)
{
    const struct vma *v = f->vma;
    vaddr_t first = MAX(ALIGN_DOWN(f->addr, n * PAGE_SIZE), v->start);
    vaddr_t last = MIN(ALIGN_DOWN(f->addr, n * PAGE_SIZE) + n * PAGE_SIZE, v->end);
    pte_t *slot = f->slot - ((f->addr - first) >> PAGE_SHIFT);
    s64 installed = 0;
    for (vaddr_t va = first; va < last; va += PAGE_SIZE, slot++) {
        if (!pte_is_none(READ_ONCE(*slot)))
            continue;
        struct page *p = page_alloc(0, PAGE_ZERO | PAGE_USER);
        if (!p) {
            if (va <= f->addr)
                installed = installed ? installed : -1;
            break;
        }
        if (pt_fill(f->mm, va, slot, own_entry(v, p)))
            installed++;
        else
            page_free(p, 0);
    }
    if (installed > 0)
        atomic_add(&f->mm->rss_anon, installed);
    return installed < 0 ? FK_OOM : FK_OK;
}

// A write to memory that nothing backs yet.
static enum fault_kind anon_first_write(struct fault *f)
{
    unsigned n = 1;
    if (huge_fits(f->vma, f->addr) && thp_allowed(f->vma)) {
        struct page *table = phys_to_page(pte_phys(READ_ONCE(*f->level1)));
        u32 seen = ++table->mapcount;  // a hint: a lost count does no harm
        if (seen >= PROMOTE_FAULTS && seen % PROMOTE_FAULTS == 0 && page_memory_plentiful())
            return FK_PROMOTE;
        if (seen > 2)
            n = seen == 3 ? 2 : MAX_CLUSTER;
    }
    if (n > 1)
        return map_cluster(f, n);
    struct page *p = page_alloc(0, PAGE_ZERO | PAGE_USER);
    if (!p)
        return FK_OOM;
    if (likely(pt_fill(f->mm, f->addr, f->slot, own_entry(f->vma, p))))
        atomic_add(&f->mm->rss_anon, 1);
    else
        page_free(p, 0);
    return FK_OK;
}

// ---- copy on write

static void account_cow(struct mm *mm, pte_t old, const struct page *p)
{
    if (!pte_special(old) && !(p->flags & PG_CACHE))
        return;
    atomic_add(&mm->rss_anon, 1);
    if (pte_special(old))
        return;
    atomic_sub(p->flags & PG_SHMEM ? &mm->rss_shmem : &mm->rss_file, 1);
}

// A frame of a private mapping that nobody else refers to becomes writable.
static enum fault_kind reuse_frame(struct fault *f, pte_t e)
{
    unsigned prot = pt_prot_of(f->vma->flags);
    pte_t new = pte_mk_exclusive(pte_mk_dirty(pte_mk_young(pte_with_prot(e, prot))));
    if (pte_replace(f->slot, e, new) && pte_young(e))
        arch_tlb_flush_page(f->addr);  // elsewhere a stale entry faults once more, and finds this
    return FK_OK;
}

// A present, read-only entry of a private mapping is written.
static enum fault_kind copy_on_write(struct fault *f, pte_t e)
{
    struct page *old = phys_to_page(pte_phys(e));
    bool zero = pte_special(e) && old == zero_page;
    if (pte_special(e) && !zero)
        return FK_SIGSEGV;
    if (!zero && !(old->flags & (PG_CACHE | PG_RESERVED)) && atomic_load(&old->refcount) == 1)
        return reuse_frame(f, e);
    struct page *p = page_alloc(0, zero ? PAGE_ZERO | PAGE_USER : PAGE_USER);
    if (!p)
        return FK_OOM;
    if (!zero)
        arch_copy_page(page_address(p), page_address(old));
    if (!pt_change_frame(f->mm, f->addr, f->slot, e, own_entry(f->vma, p))) {
        page_free(p, 0);
        return FK_OK;
    }
    account_cow(f->mm, e, old);
    if (!zero)
        page_put(old);
    return FK_OK;
}

// ---- objects

// How the cached pages of one area are mapped: worked out once for a fault and its neighbours.
struct object_rights {
    unsigned read, write;  // entries' rights; write == read where nothing may be written at once
    u16 need, refuse;      // flags that a page must have and must not have to be mapped with write
};

// Shared and writable at once unless somebody wants to know of the write.
static struct object_rights object_rights(const struct vma *v)
{
    struct object_rights r = {.refuse = PG_RESERVED};
    r.read = r.write = pt_prot_of(v->flags) & ~PTE_WRITE;
    if ((v->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE))
        r.write |= PTE_WRITE | PTE_DIRTY;
    if (v->object->ops->page_dirtied)
        r.need = PG_DIRTY;
    return r;
}

// The entry for a cached page.
static inline pte_t object_entry(const struct object_rights *r, const struct page *p)
{
    bool writable = (p->flags & (r->need | r->refuse)) == r->need;
    return pte_make(page_to_phys(p), writable ? r->write : r->read);
}

// What the kernel or the loader has written to the page, the area's instruction fetches must see. => p
static inline struct page *sync_code(const struct vma *v, struct page *p)
{
    if (v->flags & VM_EXEC)
        arch_sync_code(page_address(p));
    return p;
}

// Installs a page whose reference the caller gives away. => false: it lost against another entry
static inline bool install_cached(struct mm *mm, vaddr_t va, pte_t *slot, struct page *p, pte_t e)
{
    if (likely(pt_fill(mm, va, slot, e)))
        return true;
    page_put(p);
    return false;
}

// An object's pages are all memory-only or all not.
static inline s64 *cached_rss(struct mm *mm, const struct vm_object *obj)
{
    return obj->flags & VMO_ANON ? &mm->rss_shmem : &mm->rss_file;
}

// Maps the neighbours that are in the cache already.
static void map_cached_around(struct fault *f, u64 index, const struct object_rights *r)
{
    struct page *pages[FILE_AROUND];
    const struct vma *v = f->vma;
    struct vm_object *obj = v->object;
    if (v->flags & VM_RAND)
        return;
    vaddr_t window = ALIGN_DOWN(f->addr, FILE_AROUND * PAGE_SIZE);
    vaddr_t first = MAX(window, v->start), last = MIN(window + FILE_AROUND * PAGE_SIZE, v->end);
    u64 first_index = index - ((f->addr - first) >> PAGE_SHIFT);
    u64 limit = DIV_ROUND_UP(READ_ONCE(obj->size_bytes), PAGE_SIZE);
    u64 n = MIN((last - first) >> PAGE_SHIFT, limit > first_index ? limit - first_index : 0);
    pte_t *slot = f->slot - ((f->addr - first) >> PAGE_SHIFT);
    s64 installed = 0;
    object_get_range(obj, first_index, (u32)n, pages);
    for (u64 i = 0; i < n; i++, slot++) {
        struct page *p = pages[i];
        if (!p && (obj->flags & VMO_NOBLOCK) && pte_is_none(READ_ONCE(*slot))) {
            p = vm_object_get_page(obj, first_index + i, false);
            if (IS_ERR(p))
                continue;
        }
        if (!p)
            continue;
        if (!pte_is_none(READ_ONCE(*slot)) || (p->flags & PG_POISON))
            page_put(p);
        else
            installed += install_cached(f->mm, first + (i << PAGE_SHIFT), slot, sync_code(v, p),
                                        object_entry(r, p));
    }
    if (installed)
        atomic_add(cached_rss(f->mm, obj), installed);
}

static enum fault_kind object_error(long err) { return err == -ENOMEM ? FK_OOM : FK_SIGBUS; }

// Brings the page in with no lock held; the fault starts again.
static enum fault_kind bring_in(struct fault *f, u64 index, bool write)
{
    struct vm_object *obj = f->vma->object;
    vm_object_get(obj);
    rwlock_read_done(&f->mm->lock);
    struct page *p = vm_object_get_page(obj, index, write);
    enum fault_kind kind = FK_RETRY;
    if (IS_ERR(p)) {
        kind = object_error(PTR_ERR(p));
    } else {
        page_put(p);
    }
    vm_object_put(obj);
    atomic_add(&f->mm->n_major_faults, 1);
    rwlock_read(&f->mm->lock);
    return kind;
}

// The page in the cache, referenced, or NULL with *kind set. May drop and retake mm->lock: then *kind
// is not FK_OK and f->vma is stale.
static struct page *cached_page(struct fault *f, u64 index, bool write, enum fault_kind *kind)
{
    struct vm_object *obj = f->vma->object;
    struct page *p = vm_object_find(obj, index);
    if (p && !(write && (p->flags & PG_RESERVED)))
        return p;
    if (p)
        page_put(p);
    if ((obj->flags & VMO_NOBLOCK) && !write) {
        p = vm_object_get_page(obj, index, false);
        if (!IS_ERR(p))
            return p;
        *kind = object_error(PTR_ERR(p));
        return NULL;
    }
    if (obj->flags & VMO_ANON && !obj->ops->get_page) {
        p = vm_object_get_page(obj, index, true);
        if (!IS_ERR(p))
            return p;
        *kind = object_error(PTR_ERR(p));
        return NULL;
    }
    *kind = bring_in(f, index, write);
    return NULL;
}

// A write to a clean page of an object that wants to know. => FK_OK; FK_RETRY: written back first, with the lock dropped
static enum fault_kind note_dirty(struct fault *f, struct page *p)
{
    struct vm_object *obj = f->vma->object;
    if (likely((p->flags & PG_DIRTY) || !obj->ops->page_dirtied))
        return FK_OK;
    int err = obj->ops->page_dirtied(obj, p);
    if (err != -EAGAIN)
        return err ? FK_SIGBUS : FK_OK;
    vm_object_get(obj);
    rwlock_read_done(&f->mm->lock);
    obj->ops->sync(obj, 0, UINT64_MAX - 1);
    vm_object_put(obj);
    rwlock_read(&f->mm->lock);
    return FK_RETRY;
}

static enum fault_kind object_missing(struct fault *f, u64 index)
{
    struct vma *v = f->vma;
    bool shared = v->flags & VM_SHARED;
    bool copy = is_write(f) && !shared;
    enum fault_kind kind = FK_OK;
    if (index >= DIV_ROUND_UP(READ_ONCE(v->object->size_bytes), PAGE_SIZE))
        return FK_SIGBUS;
    struct page *p = cached_page(f, index, is_write(f) && shared, &kind);
    if (!p)
        return kind;
    if (copy) {
        struct page *own = page_alloc(0, PAGE_USER);
        if (own)
            arch_copy_page(page_address(own), page_address(p));
        page_put(p);
        if (!own)
            return FK_OOM;
        sync_code(v, own);
        if (pt_fill(f->mm, f->addr, f->slot, own_entry(v, own)))
            atomic_add(&f->mm->rss_anon, 1);
        else
            page_free(own, 0);
        return FK_OK;
    }
    if (is_write(f) && unlikely((kind = note_dirty(f, p)) != FK_OK)) {
        page_put(p);
        return kind;
    }
    struct object_rights r = object_rights(v);
    if (install_cached(f->mm, f->addr, f->slot, sync_code(v, p), pte_mk_young(object_entry(&r, p))))
        atomic_add(cached_rss(f->mm, v->object), 1);
    map_cached_around(f, index, &r);
    return FK_OK;
}

// A write to a present, read-only entry of a shared mapping.
static enum fault_kind shared_write(struct fault *f, pte_t e, u64 index)
{
    struct page *p = phys_to_page(pte_phys(e));
    if (p->flags & PG_RESERVED) {  // lies in the image: the object makes a copy and unmaps this one
        enum fault_kind kind = bring_in(f, index, true);
        return kind;
    }
    enum fault_kind kind = note_dirty(f, p);
    if (unlikely(kind != FK_OK))
        return kind;
    pte_t new = pte_mk_dirty(pte_mk_young(pte_with_prot(e, pt_prot_of(f->vma->flags))));
    if (pte_replace(f->slot, e, new) && pte_young(e))
        arch_tlb_flush_page(f->addr);
    return FK_OK;
}

// ---- putting it together

static enum fault_kind soft_entry(pte_t e)
{
    return pte_soft_kind(e) == SOFT_POISON ? FK_POISON : FK_SIGSEGV;
}

// A fault inside a 2 MiB leaf: rights changed, another CPU was faster, or flags that this CPU does not set itself.
static enum fault_kind huge_present(struct fault *f, pte_t e)
{
    if (f->vma->flags & VM_HUGETLB)
        return hugetlb_fault(f->mm, f->vma, f->addr, is_write(f));
    if (pte_is_splitting(e))
        return FK_OK;  // the access is repeated
    if (is_write(f) && !pte_writable(e) && (f->vma->flags & VM_WRITE)) {
        pte_t new = pte_mk_dirty(pte_mk_young(pte_with_prot(e, pt_prot_of(f->vma->flags))));
        pte_replace(f->level1, e, new);
    } else {
        pte_touch(f->level1, e, is_write(f) && pte_writable(e));
    }
    arch_tlb_flush_page(f->addr);
    return FK_OK;
}

static enum fault_kind present_fault(struct fault *f, pte_t e, u64 index)
{
    const struct vma *v = f->vma;
    if (is_write(f) && !pte_writable(e)) {
        if (v->flags & VM_SHARED)
            return v->object ? shared_write(f, e, index) : FK_SIGSEGV;
        return copy_on_write(f, e);
    }
    pte_touch(f->slot, e, is_write(f));
    arch_tlb_flush_page(f->addr);
    return FK_OK;
}

static enum fault_kind resolve(struct fault *f)
{
    struct vma *v = f->vma;
    u64 index = v->pgoff + ((f->addr - v->start) >> PAGE_SHIFT);
    if (unlikely(!v->backed))
        atomic_fetch_or(&v->backed, VMA_TOUCHED);
    if (!(f->level1 = pt_make_level1(f->mm, f->addr)))
        return FK_OOM;
    pte_t e1 = READ_ONCE(*f->level1);
    if (unlikely(pte_is_none(e1))) {
        if (v->flags & VM_HUGETLB)
            return hugetlb_fault(f->mm, v, f->addr, is_write(f));
        bool eager = (f->access & FAULT_POPULATE) || (v->flags & VM_HUGEPAGE);
        if (eager && is_write(f) && huge_fits(v, f->addr) && thp_allowed(v) && map_huge(f))
            return FK_OK;
        pt_before_fill(f->mm, f->addr, f->level1);
        if (!pt_make_table(f->mm, f->level1))
            return FK_OOM;
        e1 = READ_ONCE(*f->level1);
    }
    if (pte_is_huge(e1))
        return huge_present(f, e1);
    f->slot = pte_table(e1) + pt_index(f->addr, 0);
    pte_t e = READ_ONCE(*f->slot);
    if (pte_is_none(e)) {
        if (v->flags & VM_SPECIAL)
            return FK_SIGBUS;
        pt_note_used(e1, f->addr);  // neighbours are filled in the same group only
        if (v->object)
            return object_missing(f, index);
        if (is_write(f))
            return anon_first_write(f);
        map_zero_around(f);
        return FK_OK;
    }
    return pte_present(e) ? present_fault(f, e, index) : soft_entry(e);
}

static bool access_allowed(u64 flags, unsigned access)
{
    // Forced writes are for private copies only.
    if ((access & FAULT_FORCE) && !(access & FAULT_WRITE))
        return flags & VM_MAYREAD;
    if (access & FAULT_FORCE)
        return (flags & VM_WRITE) || (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
    if (access & FAULT_WRITE)
        return flags & VM_WRITE;
    if (access & FAULT_EXEC)
        return flags & VM_EXEC;
    return flags & VM_ACCESS;
}

static __cold void promote(struct mm *mm, vaddr_t addr)
{
    rwlock_write(&mm->lock);
    struct vma *v = vma_at(mm, addr);
    if (v && huge_fits(v, addr) && thp_allowed(v))
        collapse_range(mm, v, ALIGN_DOWN(addr, HUGE_SIZE), false);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
}

// => Takes and drops mm->lock. FK_RETRY: something changed, the access must be looked at again.
enum fault_kind fault_in(struct mm *mm, vaddr_t addr, unsigned access)
{
    struct fault f = {.mm = mm, .addr = addr & PAGE_MASK, .access = access};
    rwlock_read(&mm->lock);
    struct vma *v = vma_find(mm, addr);
    if (unlikely(!v || addr < v->start)) {
        bool stack = v && (v->flags & VM_GROWSDOWN);
        rwlock_read_done(&mm->lock);
        return stack && grow_stack(mm, addr) == 0 ? FK_RETRY : FK_SIGSEGV;
    }
    WRITE_ONCE(mm->hint, v);
    enum fault_kind kind = FK_ACCERR;
    f.vma = v;
    if (likely(access_allowed(v->flags, access)))
        kind = resolve(&f);
    rwlock_read_done(&mm->lock);
    if (unlikely(kind == FK_PROMOTE)) {
        promote(mm, addr);
        kind = FK_RETRY;
    }
    return kind;
}

struct fault_result mm_fault(struct mm *mm, vaddr_t addr, unsigned access)
{
    enum fault_kind kind;
    if (unlikely(addr >= USER_END))
        return (struct fault_result){.sig = SIGSEGV_NR, .code = SEGV_MAPERR};
    for (int tries = 0; (kind = fault_in(mm, addr, access)) == FK_RETRY ||
                        (kind == FK_OOM && tries++ < 2 &&
                         (page_reclaim(512) || (object_reclaim && object_reclaim(512))));)
        ;
    switch (kind) {
    case FK_OK: atomic_add(&mm->n_minor_faults, 1); return (struct fault_result){0};
    case FK_OOM: return (struct fault_result){.oom = true};
    case FK_ACCERR: return (struct fault_result){.sig = SIGSEGV_NR, .code = SEGV_ACCERR};
    case FK_SIGBUS: return (struct fault_result){.sig = SIGBUS_NR, .code = BUS_ADRERR};
    case FK_POISON: return (struct fault_result){.sig = SIGBUS_NR, .code = BUS_MCEERR_AR};
    default: return (struct fault_result){.sig = SIGSEGV_NR, .code = SEGV_MAPERR};
    }
}

// ---- collapsing to 2 MiB

// All 512 entries may be replaced by one frame: empty, zero page, or exclusively ours. => -1: no
static int count_collapsible(const pte_t *table)
{
    int n = 0;
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        pte_t e = table[i];
        if (pte_is_none(e) || (pte_present(e) && pte_special(e)))
            continue;
        if (!pte_present(e))
            return -1;
        const struct page *p = phys_to_page(pte_phys(e));
        if ((p->flags & (PG_CACHE | PG_RESERVED)) || p->refcount != 1)
            return -1;
        n++;
    }
    return n;
}

static __cold void fill_huge(struct tlb_gather *g, struct page *huge, const pte_t *table)
{
    char *to = page_address(huge);
    for (unsigned i = 0; i < PT_ENTRIES; i++, to += PAGE_SIZE) {
        pte_t e = table[i];
        if (pte_is_none(e) || pte_special(e)) {
            arch_clear_page(to);
            continue;
        }
        arch_copy_page(to, phys_to_virt(pte_phys(e)));
        page_chain_push(&g->frames, phys_to_page(pte_phys(e)));
    }
}

__cold int collapse_range(struct mm *mm, struct vma *v, vaddr_t base, bool force)
{
    v->backed |= VMA_TOUCHED;
    pte_t *level1 = pt_make_level1(mm, base);
    pte_t e1 = level1 ? *level1 : PTE_NONE;
    if (!level1)
        return -ENOMEM;
    if (pte_is_huge(e1))
        return 0;
    if (!force && !page_memory_plentiful())
        return -ENOMEM;
    const pte_t *table = pte_is_table(e1) ? pte_table(e1) : NULL;
    int n = table ? count_collapsible(table) : 0;
    if (force && !table)
        return -EINVAL;
    if (n < 0)
        return -EAGAIN;
    bool clear = n == 0;
    struct page *huge =
        page_alloc(PAGE_MAX_ORDER, PAGE_USER | PAGE_NORECLAIM | (clear ? PAGE_ZERO : 0));
    if (!huge)
        return -ENOMEM;
    struct tlb_gather g;
    tlb_gather_init(&g, mm);
    if (table) {
        *level1 = PTE_NONE;
        g.freed_tables = true;
        tlb_flush_range(mm, base, base + HUGE_SIZE);  // nobody writes to the old frames any more
        if (!clear)
            fill_huge(&g, huge, table);
        page_chain_push(&g.frames,
                        phys_to_page(pte_phys(e1)));  // not all zero, so none of g.tables
        atomic_sub(&mm->n_table_pages, 1);
        tlb_gather_range(&g, base, base + PAGE_SIZE);
    }
    unsigned prot = pt_prot_of(v->flags);
    *level1 = pte_make_huge(page_to_phys(huge), prot | PTE_YOUNG | PTE_DIRTY);
    atomic_add(&mm->rss_anon, PT_ENTRIES - n);
    atomic_add(&mm->n_huge, 1);
    v->backed |= VMA_HUGE;
    atomic_add(&mm_stats.thp_collapse, 1);
    tlb_gather_finish(&g);
    return 0;
}

// ---- populating

// Touches [start, end), pages whose area has none of the rights `needed` excepted.
// => 0, -ENOMEM (a hole, or no memory), -EINVAL (no right), -EFAULT (SIGBUS, SIGSEGV), -EHWPOISON, -EINTR
static __cold long touch_range(struct mm *mm, vaddr_t start, vaddr_t end, unsigned access,
                               u64 needed)
{
    bool write = access & FAULT_WRITE;
    while (start < end) {
        int level = 0;
        rwlock_read(&mm->lock);
        pte_t *slot = pt_lookup(mm, start, &level);
        pte_t e = slot ? READ_ONCE(*slot) : PTE_NONE;
        struct vma *v = vma_at(mm, start);
        u64 flags = v ? v->flags : 0;
        rwlock_read_done(&mm->lock);
        if (!v)
            return -ENOMEM;
        if (!(flags & needed))
            return -EINVAL;
        enum fault_kind kind = FK_OK;
        if (!pte_present(e) || (write && !pte_writable(e)))
            kind = fault_in(mm, start, access);
        sched_point();
        if (thread_kill_pending())
            return -EINTR;
        if (kind == FK_RETRY)
            continue;
        if (kind != FK_OK)
            return kind == FK_OOM ? -ENOMEM : kind == FK_POISON ? -EHWPOISON : -EFAULT;
        start = level == 1 ? ALIGN_DOWN(start, HUGE_SIZE) + HUGE_SIZE : start + PAGE_SIZE;
    }
    return 0;
}

// madvise(2), MADV_POPULATE_READ and MADV_POPULATE_WRITE.
long mm_populate_error(struct mm *mm, vaddr_t start, vaddr_t end, bool write)
{
    unsigned access = FAULT_POPULATE | (write ? FAULT_WRITE : FAULT_READ);
    return touch_range(mm, start, end, access, write ? VM_WRITE : VM_READ);
}

// The part of [*start, end) in one area, touched as its owner may; *start moves behind it.
static __cold long populate_area(struct mm *mm, vaddr_t *start, vaddr_t end, bool only_locked)
{
    rwlock_read(&mm->lock);
    struct vma *v = vma_find(mm, *start);
    vaddr_t from = v ? MAX(v->start, *start) : end, to = v ? MIN(v->end, end) : end;
    u64 flags = v ? v->flags : 0;
    rwlock_read_done(&mm->lock);
    *start = to;
    // What is locked when it is touched is not populated, MAP_POPULATE or not.
    if (from >= end || (flags & (VM_SPECIAL | VM_LOCKONFAULT)) ||
        (only_locked && !(flags & VM_LOCKED)))
        return 0;
    if (!(flags & VM_ACCESS))
        return -EFAULT;
    // Private memory gets its own frames now (mlock(2), MAP_POPULATE).
    bool write = (flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
    return touch_range(
        mm, from, to, FAULT_POPULATE | FAULT_FORCE | (write ? FAULT_WRITE : FAULT_READ), VM_ACCESS);
}

void mm_populate(struct mm *mm, vaddr_t start, size_t len)
{
    for (vaddr_t end = start + len; start < end;)
        if (populate_area(mm, &start, end, false) == -EINTR)
            return;
}

void mm_repopulate_locked(struct mm *mm, vaddr_t start, vaddr_t end)
{
    while (start < end && populate_area(mm, &start, end, true) != -EINTR)
        ;
}

long mm_populate_locked_areas(struct mm *mm, vaddr_t start, size_t len)
{
    long err = 0;
    for (vaddr_t end = start + len; start < end && !err;)
        err = populate_area(mm, &start, end, false);
    return err;
}
