// SPDX-License-Identifier: BSD-2-Clause
// mmap.c: creating, removing and changing mappings.
//
// Each operation checks and allocates first and changes afterwards, with steps that cannot fail: a call
// that returns an error has changed nothing, except where Linux documents partial progress
// (mprotect, madvise and mlock over a hole).
#include <string.h>

#include "core/log.h"
#include "core/wait.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

u32 vm_max_map_count = 65530;
u32 vm_overcommit_memory;
u32 vm_overcommit_ratio = 50;
u64 vm_mmap_min_addr = 65536;
enum thp_policy thp_policy = THP_ALWAYS;
s64 vm_committed;

// ---- limits

u64 mm_commit_limit(void)
{
    return page_total_count() * vm_overcommit_ratio / 100;
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
    return (u64)MAX(atomic_load(&vm_committed), 0) + pages <= mm_commit_limit();
}

static bool is_data(u64 flags)
{
    return (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) == VM_WRITE;
}

bool within_rlimit_as(struct mm *mm, u64 flags, size_t len)
{
    u64 pages = len >> PAGE_SHIFT;
    if (mm->n_mapped_pages + pages > rlimit_current(RLIMIT_AS) >> PAGE_SHIFT)
        return false;
    return !is_data(flags) || mm->n_data_pages + pages <= rlimit_current(RLIMIT_DATA) >> PAGE_SHIFT;
}

u64 prot_to_vm(int prot)
{
    return (u64)prot & (PROT_READ | PROT_WRITE | PROT_EXEC);
}

bool range_sealed(struct mm *mm, vaddr_t start, vaddr_t end)
{
    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = v->next)
        if (v->flags & VM_SEALED)
            return true;
    return false;
}

bool thp_allowed(const struct vma *v)
{
    if (v->object || (v->flags & (VM_NOHUGEPAGE | VM_GROWSDOWN | VM_SPECIAL)) || v->mm->thp_disabled)
        return false;
    return thp_policy == THP_ALWAYS || (thp_policy == THP_MADVISE && (v->flags & VM_HUGEPAGE));
}

// ---- finding a place

// [addr, addr + len) is free, and no stack above or below needs its guard gap there.
static bool range_free(const struct mm *mm, vaddr_t addr, size_t len)
{
    struct vma *next = vma_find(mm, addr);
    if (!next)
        return true;
    vaddr_t limit = next->start;
    if (next->flags & VM_GROWSDOWN)
        limit = limit > STACK_GUARD_GAP ? limit - STACK_GUARD_GAP : 0;
    return addr + len <= limit;
}

long find_place(struct mm *mm, vaddr_t hint, size_t len, int flags, bool anonymous)
{
    if (len > USER_END)
        return -ENOMEM;
    if (hint) {
        vaddr_t at = ALIGN_UP(hint, PAGE_SIZE);
        if (at >= mm->mmap_low && at <= USER_END - len && range_free(mm, at, len))
            return (long)at;
    }
    vaddr_t at = 0;
    if (flags & MAP_32BIT) {
        at = vma_find_gap(mm, len, 0x40000000, 0x80000000, PAGE_SIZE);
        return at ? (long)at : -ENOMEM;
    }
    if (anonymous && len >= HUGE_SIZE && IS_ALIGNED(len, HUGE_SIZE))
        at = vma_find_gap(mm, len, mm->mmap_low, mm->mmap_top, HUGE_SIZE);
    if (!at)
        at = vma_find_gap(mm, len, mm->mmap_low, mm->mmap_top, PAGE_SIZE);
    if (!at)
        at = vma_find_gap(mm, len, mm->mmap_low, USER_END, PAGE_SIZE);
    return at ? (long)at : -ENOMEM;
}

// ---- unmapping

int unmap_prepare(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    *plan = (struct unmap_plan){0};
    struct vma *v = vma_find(mm, start);
    if (!v || v->start >= end)
        return 0;
    plan->first = v;
    if (range_sealed(mm, start, end))
        return -EPERM;
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
    if (pt_split_edges(mm, start, end)) {
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

// Takes [start, end) out of the tree. => whole VMAs that died, chained through next
static struct vma *cut_out(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    struct vma *v = plan->first, *dead = NULL;
    if (plan->spare) {
        struct vma *upper = plan->spare;
        upper->start = end;
        upper->end = v->end;
        plan->spare = NULL;
        vma_resize(v, v->start, start);
        vma_insert(mm, upper);
        return NULL;
    }
    if (v->start < start) {
        vma_resize(v, v->start, start);
        v = v->next;
    }
    for (struct vma *next; v && v->start < end; v = next) {
        next = v->next;
        if (v->end > end) {
            vma_resize(v, end, v->end);
            break;
        }
        vma_remove(mm, v);
        v->next = dead;
        dead = v;
    }
    return dead;
}

void unmap_commit(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan)
{
    if (!plan->first)
        return;
    struct tlb_gather g;
    tlb_gather_init(&g, mm);
    struct vma *dead = cut_out(mm, start, end, plan);
    pt_zap(&g, start, end, ZAP_UNMAP);
    struct vma *above = vma_find(mm, start);
    struct vma *below = above ? above->prev : NULL;
    if (!above) {
        struct rb_node *last = rb_last(&mm->vmas);
        below = last ? container_of(last, struct vma, node) : NULL;
    }
    pt_free_tables(&g, start, end, below ? below->end : 0, above ? above->start : UINTPTR_MAX);
    tlb_gather_finish(&g);
    for (struct vma *next; dead; dead = next) {
        next = dead->next;
        vma_free(dead);
    }
}

long do_munmap(struct mm *mm, vaddr_t start, size_t len)
{
    struct unmap_plan plan;
    if (!IS_ALIGNED(start, PAGE_SIZE) || start > USER_END || len > USER_END - start)
        return -EINVAL;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!len)
        return -EINVAL;
    rwlock_write(&mm->lock);
    long err = unmap_prepare(mm, start, start + len, &plan);
    if (!err)
        unmap_commit(mm, start, start + len, &plan);
    rwlock_write_done(&mm->lock);
    return err;
}

long mm_unmap(struct mm *mm, vaddr_t addr, size_t len)
{
    return do_munmap(mm, addr, len);
}

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

static struct vma *new_vma(struct mm *mm, vaddr_t addr, size_t len, const struct vma_attr *a)
{
    struct vma *v = vma_alloc(mm);
    if (!v)
        return NULL;
    v->start = addr;
    v->end = addr + len;
    v->flags = a->flags;
    v->pgoff = a->pgoff;
    v->object = a->object;
    v->file = a->file;
    return v;
}

static void insert_new(struct mm *mm, struct vma *v)
{
    if (v->object)
        vm_object_get(v->object);
    if (v->file)
        file_get(v->file);
    vma_insert(mm, v);
}

static void discard_new(struct vma *v)
{
    v->object = NULL;
    v->file = NULL;
    vma_free(v);
}

long map_locked(struct mm *mm, vaddr_t addr, size_t len, u64 vm_flags, int flags,
                struct vm_object *object, struct file *file, u64 pgoff)
{
    struct vma_attr attr = {vm_flags, object, file, NULL, pgoff};
    struct unmap_plan plan = {0};
    bool fixed = flags & MAP_FIXED;
    if (!may_expand(mm, vm_flags, addr, len, fixed))
        return -ENOMEM;
    if ((vm_flags & VM_ACCOUNT) && !commit_allowed(len >> PAGE_SHIFT))
        return -ENOMEM;
    if (mm->n_vmas >= vm_max_map_count)
        return -ENOMEM;
    struct vma *v = NULL;
    struct vma *above = vma_find(mm, addr);
    if (fixed && above && above->start < addr + len) {
        if (!(v = new_vma(mm, addr, len, &attr)))
            return -ENOMEM;
        int err = unmap_prepare(mm, addr, addr + len, &plan);
        if (err) {
            discard_new(v);
            return err;
        }
        unmap_commit(mm, addr, addr + len, &plan);
        above = vma_find(mm, addr);
    }
    struct vma *below = above ? above->prev : NULL;
    if (!above && mm->vmas.node)
        below = container_of(rb_last(&mm->vmas), struct vma, node);
    if (vma_merge_range(mm, below, above, addr, addr + len, &attr)) {
        if (v)
            discard_new(v);
        return (long)addr;
    }
    if (!v && !(v = new_vma(mm, addr, len, &attr)))
        return -ENOMEM;
    insert_new(mm, v);
    return (long)addr;
}

long mm_map(struct mm *mm, vaddr_t addr, size_t len, int prot, int flags, struct vm_object *object,
            struct file *file, u64 pgoff)
{
    u64 vm = prot_to_vm(prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
    if (flags & MAP_SHARED)
        vm |= VM_SHARED;
    if ((vm & (VM_WRITE | VM_SHARED)) == VM_WRITE && !(flags & MAP_NORESERVE))
        vm |= VM_ACCOUNT;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!len || len > USER_END)
        return !len ? -EINVAL : -ENOMEM;
    rwlock_write(&mm->lock);
    long at = (long)addr;
    if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        at = find_place(mm, addr, len, flags, !object);
    else if (!IS_ALIGNED(addr, PAGE_SIZE))
        at = -EINVAL;
    else if (addr > USER_END - len)
        at = -ENOMEM;
    else if ((flags & MAP_FIXED_NOREPLACE) && mapped_pages_in(mm, addr, addr + len))
        at = -EEXIST;
    if (at >= 0)
        at = map_locked(mm, (vaddr_t)at, len, vm, flags & MAP_FIXED, object, file,
                        object ? pgoff : (u64)at >> PAGE_SHIFT);
    rwlock_write_done(&mm->lock);
    return at;
}

long mm_map_special(struct mm *mm, vaddr_t addr, struct page **pages, unsigned n, int prot,
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
    struct vma_attr attr = {.flags = vm, .pgoff = 0};
    struct vma *v = new_vma(mm, addr, len, &attr);
    if (!v || !(v->name = kstrdup(name))) {
        if (v)
            discard_new(v);
        goto out;
    }
    vma_insert(mm, v);
    for (unsigned i = 0; i < n; i++) {
        bool huge;
        pte_t *slot = pt_make_slot(mm, addr + i * PAGE_SIZE, &huge);
        if (!slot) {
            rwlock_write_done(&mm->lock);
            do_munmap(mm, addr, len);
            return -ENOMEM;
        }
        *slot = pte_mk_special(pte_make(page_to_phys(pages[i]), pt_prot_of(vm) | PTE_YOUNG));
    }
    err = (long)addr;
out:
    rwlock_write_done(&mm->lock);
    return err;
}

long mm_map_stack(struct mm *mm, vaddr_t top, size_t size, size_t limit)
{
    u64 vm = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_STACK |
             VM_ACCOUNT;
    (void)limit;  // the limit at the time of growth counts
    rwlock_write(&mm->lock);
    long err = map_locked(mm, top - size, size, vm, 0, NULL, NULL, (top - size) >> PAGE_SHIFT);
    mm->stack_top = top;
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

int grow_stack(struct mm *mm, vaddr_t addr)
{
    int err = 0;
    rwlock_write(&mm->lock);
    struct vma *v = vma_find(mm, addr);
    if (!v || (v->start > addr && !(v->flags & VM_GROWSDOWN)))
        err = -EFAULT;
    else if (v->start > addr)
        err = grow_locked(mm, v, addr);
    rwlock_write_done(&mm->lock);
    return err;
}

// ---- protection

// One VMA's part of mprotect. => 0, -EACCES, -EPERM, -ENOMEM
static long protect_part(struct mm *mm, struct tlb_gather *g, struct vma **at, vaddr_t start,
                         vaddr_t end, u64 prot)
{
    struct vma *v = *at;
    u64 flags = (v->flags & ~(u64)VM_ACCESS) | prot;
    if (flags == v->flags)
        return 0;
    if (prot & ~(v->flags >> 4))  // VM_MAYREAD and so on are the rights four bits up
        return -EACCES;
    bool account = (flags & (VM_WRITE | VM_SHARED)) == VM_WRITE &&
                   !(v->flags & (VM_ACCOUNT | VM_NORESERVE));
    if (account) {
        if (!commit_allowed((end - start) >> PAGE_SHIFT))
            return -ENOMEM;
        flags |= VM_ACCOUNT;
    }
    if (is_data(flags) && !is_data(v->flags) && !within_rlimit_as(mm, flags, end - start))
        return -ENOMEM;
    if (mm->n_vmas + 2 > vm_max_map_count && (start != v->start || end != v->end))
        return -ENOMEM;
    v = vma_modify(mm, v, start, end, flags, v->name);
    if (!v)
        return -ENOMEM;
    *at = v;
    pt_protect(g, v, start, end);
    return 0;
}

static long protect_locked(struct mm *mm, vaddr_t start, vaddr_t end, int prot)
{
    struct vma *v = vma_find(mm, start);
    if (!v)
        return -ENOMEM;
    if (prot & PROT_GROWSDOWN) {
        if (v->start >= end)
            return -ENOMEM;
        if (!(v->flags & VM_GROWSDOWN))
            return -EINVAL;
        start = v->start;
    } else if (v->start > start) {
        return -ENOMEM;
    }
    struct tlb_gather g;
    tlb_gather_init(&g, mm);
    long err = 0;
    while (start < end) {
        if (!v || v->start > start) {
            err = -ENOMEM;
            break;
        }
        if (v->flags & VM_SEALED) {
            err = -EPERM;
            break;
        }
        vaddr_t stop = MIN(v->end, end);
        if ((err = protect_part(mm, &g, &v, start, stop, prot_to_vm(prot))))
            break;
        start = stop;
        v = v->end > start ? v : v->next;
    }
    tlb_gather_finish(&g);
    return err;
}

long mm_protect(struct mm *mm, vaddr_t addr, size_t len, int prot)
{
    if (!IS_ALIGNED(addr, PAGE_SIZE))
        return -EINVAL;
    if (!len)
        return 0;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (addr + len <= addr || !len)
        return -ENOMEM;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP))
        return -EINVAL;
    rwlock_write(&mm->lock);
    long err = protect_locked(mm, addr, addr + len, prot);
    rwlock_write_done(&mm->lock);
    return err;
}
