// SPDX-License-Identifier: BSD-2-Clause
// mmap.c: creating, removing and changing mappings.
//
// Each operation checks and allocates first and changes afterwards, with steps that cannot fail: a call
// that returns an error has changed nothing, except where Linux documents partial progress
// (mprotect, madvise and mlock over a hole).
#include <string.h>

#include "core/log.h"
#include "core/wait.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

u32 vm_max_map_count = 65530;
u32 vm_overcommit_memory;
u32 vm_overcommit_ratio = 50;
u64 vm_overcommit_kbytes;
u64 vm_mmap_min_addr = 65536;
enum thp_policy thp_policy = THP_ALWAYS;
s64 vm_committed;

// ---- limits

u64 mm_commit_limit(void)
{
    if (vm_overcommit_kbytes)
        return vm_overcommit_kbytes >> (PAGE_SHIFT - 10);
    return (page_total_count() - (hugetlb_total() << PAGE_MAX_ORDER)) * vm_overcommit_ratio / 100;
}

// Beyond Linux's rule for mode 0 (RAM plus swap), so that a machine of 10 MiB runs Go: its runtime maps
// 32 MiB writable at the start for an index of which it touches a page or two.
#define SPARSE_SLACK_PAGES ((64ul << 20) >> PAGE_SHIFT)

// proc_sys_vm(5), overcommit_memory: 0 refuses what can never fit, 1 nothing, 2 keeps to the limit.
bool commit_allowed(u64 pages)
{
    if (vm_overcommit_memory == 1)
        return true;
    if (vm_overcommit_memory == 0)
        return pages <= page_total_count() + SPARSE_SLACK_PAGES;
    return (u64)MAX(atomic_load(&vm_committed), 0) + pages < mm_commit_limit();
}

static bool is_data(u64 flags)
{
    return (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) == VM_WRITE;
}

bool within_rlimit_as(struct mm *mm, u64 flags, size_t len)
{
    u64 pages = len >> PAGE_SHIFT;
    return rlimits_allow_pages(mm->n_mapped_pages + pages,
                               is_data(flags) ? mm->n_data_pages + pages : 0);
}

bool range_sealed(struct mm *mm, vaddr_t start, vaddr_t end)
{
    if (likely(!mm->has_sealed))
        return false;
    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = v->next)
        if (v->flags & VM_SEALED)
            return true;
    return false;
}

__cold bool cuts_hugetlb(struct mm *mm, vaddr_t at)
{
    const struct vma *v = vma_at(mm, at);
    return v && (v->flags & VM_HUGETLB) && !IS_ALIGNED(at, HUGE_SIZE);
}

bool thp_allowed(const struct vma *v)
{
    if (v->object || (v->flags & (VM_NOHUGEPAGE | VM_GROWSDOWN | VM_SPECIAL | VM_HUGETLB)))
        return false;
    if (unlikely(v->mm->thp_disabled) &&
        (v->mm->thp_disabled == THP_DISABLED || !(v->flags & VM_HUGEPAGE)))
        return false;
    return thp_policy == THP_ALWAYS || (thp_policy == THP_MADVISE && (v->flags & VM_HUGEPAGE));
}

// ---- finding a place

// [addr, addr + len) is free, and no stack above needs its guard gap there. next: the first VMA that ends above addr
static bool range_free(const struct vma *next, vaddr_t addr, size_t len)
{
    if (!next)
        return true;
    vaddr_t limit = next->start;
    if (next->flags & VM_GROWSDOWN)
        limit = limit > STACK_GUARD_GAP ? limit - STACK_GUARD_GAP : 0;
    return addr + len <= limit;
}

long find_place(struct mm *mm, struct map_request *r, vaddr_t hint, int flags)
{
    size_t len = r->len, align = r->flags & VM_HUGETLB ? HUGE_SIZE : PAGE_SIZE;
    r->placed = true;
    if (len > USER_END)
        return -ENOMEM;
    if (hint) {
        vaddr_t at = ALIGN_UP(hint, align);
        r->above = vma_find(mm, at);
        if (at >= mm->mmap_low && at <= USER_END - len && range_free(r->above, at, len))
            return (long)(r->addr = at);
    }
    vaddr_t at = 0;
    if (flags & MAP_32BIT) {
        at = vma_find_gap(mm, len, 0x40000000, 0x80000000, align, &r->above);
    } else {
        if (len >= HUGE_SIZE && !r->object && IS_ALIGNED(len, HUGE_SIZE))
            at = vma_find_gap(mm, len, mm->mmap_low, mm->mmap_top, HUGE_SIZE, &r->above);
        if (!at)
            at = vma_find_gap(mm, len, mm->mmap_low, mm->mmap_top, align, &r->above);
        if (!at)
            at = vma_find_gap(mm, len, mm->mmap_top, USER_END, align, &r->above);
    }
    r->addr = at;
    return at ? (long)at : -ENOMEM;
}

// ---- unmapping

int unmap_prepare(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    struct vma *v = vma_find(mm, start);
    plan->first = plan->spare = NULL;
    plan->touched_end = 0;
    if (!v || v->start >= end)
        return 0;
    plan->first = v;
    if (range_sealed(mm, start, end))
        return -EPERM;
    if (unlikely(mm->has_hugetlb) && (cuts_hugetlb(mm, start) || cuts_hugetlb(mm, end)))
        return -EINVAL;
    if (v->start < start && end < v->end) {
        if (mm->n_vmas >= vm_max_map_count)
            return -ENOMEM;
        if (!(plan->spare = vma_alloc(mm)))
            return -ENOMEM;
        if (!vma_copy_attributes(plan->spare, v, end)) {
            vma_free(plan->spare);
            return -ENOMEM;
        }
    }
    if (mm->n_huge && pt_split_edges(mm, start, end)) {
        unmap_cancel(plan);
        return -ENOMEM;
    }
    return 0;
}

void unmap_cancel(struct unmap_plan *plan)
{
    if (plan->spare)
        vma_free(plan->spare);
    plan->spare = NULL;
}

// Widens the part of [start, end) that page tables may serve.
static inline void note_touched(struct unmap_plan *plan, const struct vma *v, vaddr_t start,
                                vaddr_t end)
{
    if (!v->backed)
        return;
    if (!plan->touched_end)
        plan->touched_start = MAX(start, v->start);
    plan->touched_end = MIN(end, v->end);
}

// Takes [start, end) out of the tree and notes the neighbours. => whole VMAs that died, chained through next
static struct vma *cut_out(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    struct vma *v = plan->first, *dead = NULL;
    plan->below = v->prev;
    note_touched(plan, v, start, end);
    if (plan->spare) {
        struct vma *upper = plan->spare;
        upper->start = end;
        upper->end = v->end;
        plan->spare = NULL;
        vma_resize(v, v->start, start);
        vma_insert_between(mm, v, upper, v->next);
        plan->below = v;
        plan->above = upper;
        return NULL;
    }
    if (v->start < start) {
        vma_resize(v, v->start, start);
        plan->below = v;
        v = v->next;
    }
    for (struct vma *next; v && v->start < end; v = next) {
        next = v->next;
        note_touched(plan, v, start, end);
        if (v->end > end) {
            vma_resize(v, end, v->end);
            break;
        }
        vma_remove(mm, v);
        v->next = dead;
        dead = v;
    }
    plan->above = v;
    return dead;
}

static void unmap_touched(struct mm *mm, const struct unmap_plan *plan)
{
    struct vma *below = plan->below, *above = plan->above;
    struct tlb_gather g;
    tlb_gather_init(&g, mm);
    bool kept = pt_unmap(&g, plan->touched_start, plan->touched_end, below ? below->end : 0,
                         above ? above->start : UINTPTR_MAX);
    tlb_gather_finish(&g);
    if (!kept)
        return;
    if (below)
        below->backed |= VMA_TOUCHED;
    if (above)
        above->backed |= VMA_TOUCHED;
}

void unmap_commit(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    if (!plan->first)
        return;
    struct vma *dead = cut_out(mm, start, end, plan);
    if (plan->touched_end)
        unmap_touched(mm, plan);
    for (struct vma *next; dead; dead = next) {
        next = dead->next;
        vma_free(dead);
    }
}

long unmap_locked(struct mm *mm, vaddr_t start, size_t len)
{
    struct unmap_plan plan;
    if (!IS_ALIGNED(start, PAGE_SIZE) || start > USER_END || len > USER_END - start)
        return -EINVAL;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!len)
        return -EINVAL;
    long err = unmap_prepare(mm, start, start + len, &plan);
    if (!err)
        unmap_commit(mm, start, start + len, &plan);
    return err;
}

long do_munmap(struct mm *mm, vaddr_t start, size_t len)
{
    rwlock_write(&mm->lock);
    long err = unmap_locked(mm, start, len);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}

long mm_unmap(struct mm *mm, vaddr_t addr, size_t len) { return do_munmap(mm, addr, len); }

// ---- mapping

// Pages of [start, end) that are mapped now: a fixed mapping replaces them, so they do not count.
static u64 mapped_pages_in(struct mm *mm, vaddr_t start, vaddr_t end)
{
    u64 n = 0;
    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = v->next)
        n += (MIN(v->end, end) - MAX(v->start, start)) >> PAGE_SHIFT;
    return n;
}

static bool may_expand(struct mm *mm, u64 vm_flags, vaddr_t addr, size_t len, bool replace)
{
    if (likely(within_rlimit_as(mm, vm_flags, len)))
        return true;
    u64 old = replace ? mapped_pages_in(mm, addr, addr + len) << PAGE_SHIFT : 0;
    return old && within_rlimit_as(mm, vm_flags, len > old ? len - old : 0);
}

static struct vma *new_vma(struct mm *mm, const struct map_request *r)
{
    struct vma *v = vma_alloc(mm);
    if (!v)
        return NULL;
    v->start = r->addr;
    v->end = r->addr + r->len;
    v->flags = r->flags;
    v->pgoff = r->pgoff;
    return v;
}

// Empties a fixed mapping's place. => 0, with *above as in map_request; errors of unmap_prepare
static int make_room(struct mm *mm, const struct map_request *r, struct vma **above)
{
    struct unmap_plan plan;
    int err = unmap_prepare(mm, r->addr, r->addr + r->len, &plan);
    if (err)
        return err;
    unmap_commit(mm, r->addr, r->addr + r->len, &plan);
    if (plan.first)
        *above = plan.above;
    return 0;
}

static int may_map(struct mm *mm, const struct map_request *r)
{
    if (!may_expand(mm, r->flags, r->addr, r->len, r->fixed))
        return -ENOMEM;
    if ((r->flags & VM_ACCOUNT) && !commit_allowed(r->len >> PAGE_SHIFT))
        return -ENOMEM;
    return mm->n_vmas >= vm_max_map_count ? -ENOMEM : 0;
}

long map_locked(struct mm *mm, struct map_request *r)
{
    struct vma *above = r->placed ? r->above : vma_find(mm, r->addr);
    struct vma *v = NULL;
    int err = r->moved ? 0 : may_map(mm, r);
    if (err)
        return err;
    if (r->fixed && above && above->start < r->addr + r->len) {
        if (!(v = new_vma(mm, r)))
            return -ENOMEM;
        if ((err = make_room(mm, r, &above))) {
            vma_free(v);
            return err;
        }
    }
    struct vma *below = above ? above->prev : mm->last;
    struct vma_attr attr = {r->flags, r->object, r->file, NULL, r->pgoff};
    if (vma_merge_range(mm, below, above, r->addr, r->addr + r->len, &attr)) {
        if (v)
            vma_free(v);
        return (long)r->addr;
    }
    if (!v && !(v = new_vma(mm, r)))
        return -ENOMEM;
    if ((v->object = r->object))
        vm_object_get(v->object);
    if ((v->file = r->file))
        file_get(v->file);
    vma_insert_between(mm, below, v, above);
    return (long)r->addr;
}

__cold long mm_map(struct mm *mm, vaddr_t addr, size_t len, int prot, int flags,
                   struct vm_object *object, struct file *file, u64 pgoff)
{
    u64 vm = prot_to_vm(prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
    if (flags & MAP_SHARED)
        vm |= VM_SHARED;
    if ((vm & (VM_WRITE | VM_SHARED)) == VM_WRITE && !(flags & MAP_NORESERVE))
        vm |= VM_ACCOUNT;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!len || len > USER_END)
        return !len ? -EINVAL : -ENOMEM;
    struct map_request r = {
        .addr = addr,
        .len = len,
        .flags = vm,
        .object = object,
        .file = file,
        .fixed = flags & MAP_FIXED,
    };
    rwlock_write(&mm->lock);
    long at = (long)addr;
    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        at = find_place(mm, &r, addr, flags);
    else if (!IS_ALIGNED(addr, PAGE_SIZE))
        at = -EINVAL;
    else if (addr > USER_END - len)
        at = -ENOMEM;
    else if ((flags & MAP_FIXED_NOREPLACE) && mapped_pages_in(mm, addr, addr + len))
        at = -EEXIST;
    r.pgoff = object ? pgoff : r.addr >> PAGE_SHIFT;
    if (at >= 0)
        at = map_locked(mm, &r);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return at;
}

__cold long mm_map_special(struct mm *mm, vaddr_t addr, struct page **pages, unsigned n, int prot,
                           const char *name)
{
    u64 vm = prot_to_vm(prot) | VM_MAYREAD | VM_MAYEXEC | VM_SPECIAL | VM_DONTDUMP;
    size_t len = n * PAGE_SIZE;
    long err = -ENOMEM;
    rwlock_write(&mm->lock);
    if (!IS_ALIGNED(addr, PAGE_SIZE) || mapped_pages_in(mm, addr, addr + len)) {
        err = -EINVAL;
        goto out;
    }
    struct map_request r = {.addr = addr, .len = len, .flags = vm};
    struct vma *v = new_vma(mm, &r), *above = vma_find(mm, addr);
    if (!v || !(v->name = kstrdup(name))) {
        if (v)
            vma_free(v);
        goto out;
    }
    v->backed = VMA_TOUCHED;
    vma_insert_between(mm, above ? above->prev : mm->last, v, above);
    for (unsigned i = 0; i < n; i++) {
        bool huge;
        pte_t *slot = pt_make_slot(mm, addr + i * PAGE_SIZE, &huge);
        if (!slot) {
            mm_check(mm);
            rwlock_write_done(&mm->lock);
            do_munmap(mm, addr, len);
            return -ENOMEM;
        }
        *slot = pte_mk_special(pte_make(page_to_phys(pages[i]), pt_prot_of(vm) | PTE_YOUNG));
    }
    err = (long)addr;
out:
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}

__cold long mm_map_stack(struct mm *mm, vaddr_t top, size_t size, size_t limit)
{
    u64 vm = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_STACK |
             VM_ACCOUNT;
    (void)limit;  // the limit at the time of growth counts
    rwlock_write(&mm->lock);
    struct map_request r = {
        .addr = top - size, .len = size, .flags = vm, .pgoff = (top - size) >> PAGE_SHIFT};
    long err = map_locked(mm, &r);
    mm->stack_top = top;
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err < 0 ? err : 0;
}

// ---- the stack

static int grow_locked(struct mm *mm, struct vma *v, vaddr_t addr)
{
    addr &= PAGE_MASK;
    if (addr < vm_mmap_min_addr)
        return -EPERM;
    const struct vma *below = v->prev;
    if (below && !(below->flags & VM_GROWSDOWN) && (below->flags & VM_ACCESS) &&
        (addr < below->end || addr - below->end < STACK_GUARD_GAP))
        return -ENOMEM;
    if (below && addr < below->end)
        return -ENOMEM;
    size_t grow = v->start - addr;
    if (v->end - addr > rlimit_current(RLIMIT_STACK) || !within_rlimit_as(mm, v->flags, grow) ||
        !commit_allowed(grow >> PAGE_SHIFT))
        return -ENOMEM;
    if ((v->flags & VM_LOCKED) && !capable_ipc_lock() &&
        ((mm->n_locked_pages << PAGE_SHIFT) + grow) > rlimit_current(RLIMIT_MEMLOCK))
        return -ENOMEM;
    vma_resize(v, addr, v->end);
    return 0;
}

__cold int grow_stack(struct mm *mm, vaddr_t addr)
{
    int err = 0;
    rwlock_write(&mm->lock);
    struct vma *v = vma_find(mm, addr);
    if (!v || (v->start > addr && !(v->flags & VM_GROWSDOWN)))
        err = -EFAULT;
    else if (v->start > addr)
        err = grow_locked(mm, v, addr);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}

// ---- protection

struct protect_result {
    struct tlb_range changed;
    vaddr_t start, stop;  // the last part
    bool
        populate;  // it is locked private memory that became writable: mlock(2) gives it its own frames now
};

// One VMA's part of mprotect; *at becomes the VMA that holds it now. => 0, -EACCES, -EPERM, -ENOMEM
static inline long protect_part(struct mm *mm, struct vma **at, vaddr_t start, vaddr_t end,
                                u64 prot, int key, struct protect_result *done)
{
    struct vma *v = *at;
    u64 old = v->flags, flags = (old & ~(VM_ACCESS | ARCH_VM_PROT)) | prot;
    u64 pages = (end - start) >> PAGE_SHIFT;
    if (unlikely(key != -1))
        flags = pkey_change(mm, v, flags, key);
    if (unlikely(old & (VM_SEALED | VM_HUGETLB))) {
        if (old & VM_SEALED)
            return -EPERM;
        if (flags != old && !IS_ALIGNED(start | end, HUGE_SIZE))
            return -EINVAL;
    }
    if (flags == old)
        return 0;
    if (prot & ~ARCH_VM_PROT & ~(old >> 4))  // VM_MAYREAD and so on are the rights four bits up
        return -EACCES;
    if (flags & VM_WRITE) {
        if (!(old & VM_WRITE) && unlikely(!within_rlimit_as(mm, flags, end - start)) &&
            within_rlimit_as(mm, old, end - start))
            return -ENOMEM;
        if (!(old & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE | VM_HUGETLB))) {
            if (!commit_allowed(pages))
                return -ENOMEM;
            flags |= VM_ACCOUNT;
        }
    } else if (!v->backed && !v->object) {
        flags &= ~(u64)VM_ACCOUNT;  // nothing was written: the promise is taken back
    }
    v = vma_modify(mm, v, start, end, flags, v->name);
    if (!v)
        return -ENOMEM;
    *at = v;
    if (unlikely((old & VM_LOCK_FLAGS) == VM_LOCKED))
        done->populate = (flags & (VM_WRITE | VM_SHARED)) == VM_WRITE && !(old & VM_WRITE);
    if (pages == 1 && v->backed)
        pt_protect_page(mm, v, start, &done->changed);
    else if (v->backed)
        pt_protect(mm, v, start, end, &done->changed);
    return 0;
}

// => -ENOMEM at a hole; what lies before an error is changed. Ends early, behind a part that must be populated
static long protect_locked(struct mm *mm, vaddr_t start, vaddr_t end, int prot, int key,
                           struct protect_result *done)
{
    struct vma *v = vma_find(mm, start);
    if (!v)
        return -ENOMEM;
    if (unlikely(prot & (PROT_GROWSDOWN | PROT_GROWSUP))) {
        if (prot & PROT_GROWSUP)  // no area grows up here
            return v->start > start ? -ENOMEM : -EINVAL;
        if (v->start >= end)
            return -ENOMEM;
        if (!(v->flags & VM_GROWSDOWN))
            return -EINVAL;
        start = v->start;
    }
    for (;;) {
        if (!v || v->start > start)
            return -ENOMEM;
        vaddr_t stop = MIN(v->end, end);
        long err = protect_part(mm, &v, start, stop, prot_to_vm(prot), key, done);
        if (err || stop == end || done->populate) {
            done->start = start;
            done->stop = stop;
            return err;
        }
        start = stop;
        v = v->end > start ? v : v->next;
    }
}

long mm_protect(struct mm *mm, vaddr_t addr, size_t len, int prot)
{
    return mm_protect_key(mm, addr, len, prot, -1);
}

long mm_protect_key(struct mm *mm, vaddr_t addr, size_t len, int prot, int key)
{
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (!len)
        return 0;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (addr + len <= addr || !len)
        return -ENOMEM;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP |
                 arch_prot_bits()))
        return -EINVAL;
    if (unlikely(key != -1) && !pkey_is_allocated(mm, key))
        return -EINVAL;
    vaddr_t end = addr + len;
    for (;;) {
        struct protect_result done;
        done.changed = TLB_RANGE_NONE;
        done.populate = false;
        rwlock_write(&mm->lock);
        if (unlikely(prot == PROT_EXEC) && key == -1)
            key = pkey_exec_only(mm);
        else if (unlikely(mm->exec_pkey) && key == -1)
            key = PKEY_NOT_EXEC_ONLY;
        long err = protect_locked(mm, addr, end, prot, key, &done);
        if (done.changed.start < done.changed.end)
            tlb_flush_range(mm, done.changed.start, done.changed.end);
        mm_check(mm);
        rwlock_write_done(&mm->lock);
        if (likely(!done.populate))
            return err;
        mm_repopulate_locked(mm, done.start, done.stop);
        if (err || done.stop == end)
            return err;
        addr = done.stop;
        prot &= ~PROT_GROWSDOWN;
    }
}
