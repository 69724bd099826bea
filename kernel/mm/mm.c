// SPDX-License-Identifier: BSD-2-Clause
// mm.c: the life of an address space: create, lay out, fork, destroy; reading and writing it from outside.
//
// Lock order of the memory subsystem, outermost first:
//
//     mm->lock of a parent (fork)
//       mm->lock (sleeping, read-write)
//         vm_object->lock (mutex)
//           vm_object->tree_lock, vm_object->map_lock, mm_list_lock, a kcache's lock
//             buddy.lock
//
// A TLB flush waits for other CPUs, so no spinlock is held across it. User memory is never touched with
// mm->lock held: the fault would need it.
#include "mm/mm.h"

#include <string.h>

#include "core/log.h"
#include "core/random.h"
#include "core/wait.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

struct page *zero_page;
struct spinlock mm_list_lock;
struct list mm_list = LIST_INIT(mm_list);
struct mm_stats mm_stats;
static struct kcache *mm_cache;

u64 mm_random(void)
{
    u64 value;
    random_bytes(&value, sizeof value);
    return value;
}

struct mm *mm_create(void)
{
    struct mm *mm = kcache_alloc(mm_cache);
    if (!mm)
        return NULL;
    memset(mm, 0, sizeof *mm);
    if (arch_mm_init(&mm->arch)) {
        kcache_free(mm_cache, mm);
        return NULL;
    }
    rwlock_init(&mm->lock);
    mm->refcount = 1;
    mm->pkeys = arch_n_pkeys() != 0;  // key 0 is everybody's
    mm->mmap_low = vm_mmap_min_addr;
    mm->mmap_top = ALIGN_DOWN(USER_END - (128ul << 20), PAGE_SIZE);
    spin_lock(&mm_list_lock);
    list_push_back(&mm_list, &mm->mm_link);
    spin_unlock(&mm_list_lock);
    return mm;
}

void mm_get(struct mm *mm) { atomic_add(&mm->refcount, 1); }

bool mm_try_get(struct mm *mm)
{
    u32 n = atomic_load(&mm->refcount);
    while (n)
        if (atomic_cmpxchg(&mm->refcount, &n, n + 1))
            return true;
    return false;
}

// Unmaps everything, one VMA at a time, with resched points between.
static void mm_clear(struct mm *mm)
{
    struct tlb_gather g;
    tlb_gather_init(&g, mm);
    for (struct vma *v = mm->first; v; v = v->next) {
        if (v->backed && pt_unmap(&g, v->start, v->end, 0, v->next ? v->next->start : UINTPTR_MAX))
            v->next->backed |= VMA_TOUCHED;
        if (g.frames.n + g.huge.n > 1024) {
            tlb_gather_finish(&g);
            sched_point();
        }
    }
    tlb_gather_finish(&g);
    for (struct vma *v = mm->first, *next; v; v = next) {
        next = v->next;
        vma_account(mm, v->flags, -(s64)((v->end - v->start) >> PAGE_SHIFT));
        vma_free(v);
    }
    mm->first = mm->last = mm->hint = NULL;
    mm->vmas.node = NULL;
    mm->n_vmas = 0;
}

void mm_put(struct mm *mm)
{
    if (atomic_sub(&mm->refcount, 1))
        return;
    spin_lock(&mm_list_lock);
    list_remove(&mm->mm_link);
    mm_stats.dead_minor += mm->n_minor_faults;
    mm_stats.dead_major += mm->n_major_faults;
    spin_unlock(&mm_list_lock);
    tlb_forget_mm(mm);
    mm_clear(mm);
    KASSERT(mm->n_table_pages == 0 && mm->rss_anon == 0 && mm->rss_file == 0 &&
            mm->rss_shmem == 0 && mm->n_huge == 0 && mm->n_hugetlb == 0 && mm->n_committed == 0);
    arch_mm_destroy(&mm->arch);
    if (mm->exe_file)
        file_put(mm->exe_file);
    kfree(mm->exe_path);
    kcache_free(mm_cache, mm);
}

// mmap_base as Linux computes it: below the stack's limit and its guard gap, randomised by 28 bits of pages.
void mm_layout_init(struct mm *mm, vaddr_t stack_top, u64 stack_rlimit, bool randomize)
{
    u64 gap = stack_rlimit, least = 128ul << 20, most = USER_END / 6 * 5;
    gap = MIN(MAX(gap, least), most);
    gap += STACK_GUARD_GAP;
    KASSERT(!mm->first);  // gaps are counted up to mmap_top
    u64 offset = randomize ? (mm_random() & ((1ul << 28) - 1)) << PAGE_SHIFT : 0;
    mm->stack_top = stack_top;
    mm->mmap_top = ALIGN_DOWN(stack_top - gap - offset, PAGE_SIZE);
}

// ---- fork

static int fork_vma(struct tlb_gather *g, struct mm *to, const struct vma *v)
{
    if (v->flags & VM_DONTFORK)
        return 0;
    if ((v->flags & VM_ACCOUNT) && !commit_allowed((v->end - v->start) >> PAGE_SHIFT))
        return -ENOMEM;
    struct vma *copy = vma_alloc(to);
    if (!copy || !vma_copy_attributes(copy, v, v->start)) {
        if (copy)
            vma_free(copy);
        return -ENOMEM;
    }
    copy->start = v->start;
    copy->end = v->end;
    copy->flags &= ~(u64)VM_LOCK_FLAGS;
    if ((v->flags & (VM_HUGETLB | VM_SHARED)) == VM_HUGETLB)
        copy->flags |= VM_NORESERVE;  // the reservations are the parent's
    vma_insert_between(to, to->last, copy, NULL);
    if (v->flags & VM_WIPEONFORK)
        return 0;
    if ((v->flags & VM_SHARED) && !(v->flags & VM_SPECIAL) && !(v->backed & VMA_GUARDED))
        return 0;  // shared pages fault in again from the object
    return pt_copy(g, to, v);
}

static void fork_layout(struct mm *to, const struct mm *from)
{
    to->brk_start = from->brk_start;
    to->brk_end = from->brk_end;
    to->mmap_top = from->mmap_top;
    to->mmap_low = from->mmap_low;
    to->stack_top = from->stack_top;
    to->stack_limit_end = from->stack_limit_end;
    to->vdso_base = from->vdso_base;
    to->arg_start = from->arg_start, to->arg_end = from->arg_end;
    to->env_start = from->env_start, to->env_end = from->env_end;
    to->code_start = from->code_start, to->code_end = from->code_end;
    to->data_start = from->data_start, to->data_end = from->data_end;
    to->thp_disabled = from->thp_disabled;
    to->has_sealed = from->has_sealed;
    to->has_hugetlb = from->has_hugetlb;
    to->pkeys = from->pkeys;
    to->exec_pkey = from->exec_pkey;
    memcpy(to->auxv, from->auxv, sizeof to->auxv);
    to->exe_file = from->exe_file;
    if (to->exe_file)
        file_get(to->exe_file);
}

struct mm *mm_fork(struct mm *from)
{
    struct mm *to = mm_create();
    if (!to)
        return ERR_PTR(-ENOMEM);
    struct tlb_gather g;
    int err = 0;
    rwlock_write(&from->lock);
    tlb_gather_init(&g, from);
    fork_layout(to, from);
    if (from->exe_path && !(to->exe_path = kstrdup(from->exe_path)))
        err = -ENOMEM;
    for (struct vma *v = from->first; v && !err; v = v->next)
        err = fork_vma(&g, to, v);
    tlb_gather_finish(&g);
    rwlock_write_done(&from->lock);
    if (err) {
        mm_put(to);
        return ERR_PTR(err);
    }
    return to;
}

// ---- access from outside

// May the kernel store into the frame of this entry, on behalf of a forced write?
static bool entry_takes_write(const struct vma *v, pte_t e)
{
    if (!pte_present(e) || pte_special(e) || pte_unchanged(e))
        return false;
    if (pte_writable(e))
        return true;
    const struct page *p = phys_to_page(pte_phys(e));
    return !(v->flags & VM_SHARED) && !(p->flags & (PG_CACHE | PG_RESERVED)) && p->refcount == 1;
}

// The kernel address of one user byte, with mm->lock held for reading, or NULL (lock dropped).
static char *lock_byte(struct mm *mm, vaddr_t addr, bool write, int *err)
{
    for (;;) {
        int level;
        rwlock_read(&mm->lock);
        struct vma *v = vma_at(mm, addr);
        pte_t *slot = v ? pt_lookup(mm, addr, &level) : NULL;
        pte_t e = slot ? READ_ONCE(*slot) : PTE_NONE;
        if (v && (write ? entry_takes_write(v, e) : pte_present(e))) {
            return (char *)phys_to_virt(pte_phys(e)) + (addr & (PT_SPAN(level) - 1));
        }
        rwlock_read_done(&mm->lock);
        switch (fault_in(mm, addr, (write ? FAULT_WRITE : FAULT_READ) | FAULT_FORCE)) {
        case FK_OK:
        case FK_RETRY: break;
        case FK_OOM: *err = -ENOMEM; return NULL;
        default: *err = -EFAULT; return NULL;
        }
    }
}

static int mm_access(struct mm *mm, vaddr_t addr, void *data, size_t len, bool write)
{
    int err = 0;
    for (size_t n; len; addr += n, data = (char *)data + n, len -= n) {
        n = MIN(len, PAGE_SIZE - (addr & (PAGE_SIZE - 1)));
        if (addr >= USER_END)
            return -EFAULT;
        char *at = lock_byte(mm, addr, write, &err);
        if (!at)
            return err;
        if (write)
            memcpy(at, data, n);
        else
            memcpy(data, at, n);
        rwlock_read_done(&mm->lock);
    }
    return 0;
}

int mm_write(struct mm *mm, vaddr_t addr, const void *data, size_t len)
{
    return mm_access(mm, addr, (void *)(uintptr_t)data, len, true);
}

int mm_read(struct mm *mm, vaddr_t addr, void *data, size_t len)
{
    return mm_access(mm, addr, data, len, false);
}

int mm_futex_key(struct mm *mm, vaddr_t addr, bool shared, struct futex_key_info *key)
{
    key->object = mm;
    key->offset = addr;
    if (!shared)
        return 0;
    int err = 0;
    rwlock_read(&mm->lock);
    struct vma *v = vma_at(mm, addr);
    if (!v || !(v->flags & VM_ACCESS)) {
        err = -EFAULT;
    } else if (v->object && (v->flags & VM_SHARED)) {
        key->object = v->object;
        key->offset = (v->pgoff << PAGE_SHIFT) + (addr - v->start);
    }
    rwlock_read_done(&mm->lock);
    return err;
}

// ---- bring-up

void mm_init(void)
{
    mm_cache = kcache_create("mm", sizeof(struct mm), 16);
    vma_init();
    pt_init();
    zero_page = page_alloc(0, PAGE_ZERO | PAGE_NOFAIL);
    zero_page->flags = PG_RESERVED;
    page_register_reclaim(lazyfree_reclaim);
}

// The stock of zeroed frames is filled by the idle loop (page_zero_idle), so there is no thread to start: a
// busy machine clears in the fault, an idle one in advance.
void mm_init_late(void) { hugetlb_init(); }

void mm_verify(struct mm *mm)
{
    u32 n = 0;
    u64 pages = 0, locked = 0, committed = 0;
    bool hint_found = !mm->hint;
    struct vma *prev = NULL;
    KASSERT(rb_verify(&mm->vmas) >= 0);
    struct rb_node *node = rb_first(&mm->vmas);
    for (struct vma *v = mm->first; v; prev = v, v = v->next, node = rb_next(node)) {
        KASSERT(node == &v->node && v->prev == prev && v->mm == mm);
        KASSERT(v->start < v->end && IS_ALIGNED(v->start | v->end, PAGE_SIZE) &&
                v->end <= USER_END);
        KASSERT(!prev || prev->end <= v->start);
        KASSERT(!v->object == list_empty(&v->object_link));
        vma_check_gap(v);
        hint_found |= mm->hint == v;
        n++;
        u64 size = (v->end - v->start) >> PAGE_SHIFT;
        pages += size;
        locked += v->flags & VM_LOCKED ? size : 0;
        committed += v->flags & VM_ACCOUNT ? size : 0;
    }
    KASSERT(!node && n == mm->n_vmas && hint_found && prev == mm->last);
    KASSERT(pages == mm->n_mapped_pages && locked == mm->n_locked_pages &&
            committed == mm->n_committed);
    pt_verify(mm);
}
