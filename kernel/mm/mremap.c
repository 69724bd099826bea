// SPDX-License-Identifier: BSD-2-Clause
// mremap.c: mremap(2): the area is cut out, mapped at its new place, and its page tables are moved.
#include "core/log.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"
#include "mm/syscalls.h"

struct remap {
    struct mm *mm;
    vaddr_t old, new;
    size_t old_len, new_len;
    int flags;
    struct tlb_gather g;
};

// Where r->old lies in v's object.
static inline u64 page_index(const struct remap *r, const struct vma *v)
{
    return v->pgoff + ((r->old - v->start) >> PAGE_SHIFT);
}

static inline bool names_place(const struct remap *r)
{
    return r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

static inline size_t growth(const struct remap *r)
{
    return r->new_len > r->old_len ? r->new_len - r->old_len : 0;
}

// What v and the limits say to it, before anything is changed. => 0, -EFAULT, -EPERM, -EINVAL, -EAGAIN, -ENOMEM
static long remap_check(struct remap *r, const struct vma *v)
{
    if (!v)
        return -EFAULT;
    if (v->flags & VM_SEALED)
        return -EPERM;
    if (v->flags & VM_HUGETLB) {
        r->old_len = ALIGN_UP(r->old_len, HUGE_SIZE);
        r->new_len = ALIGN_UP(r->new_len, HUGE_SIZE);
        if (!IS_ALIGNED(r->old | (names_place(r) ? r->new : 0), HUGE_SIZE) || growth(r) ||
            (r->flags & MREMAP_DONTUNMAP))
            return -EINVAL;
    }
    size_t grow = growth(r);
    if (!grow && !names_place(r))
        return 0;
    if (!r->old_len && !(v->flags & VM_SHARED))
        return -EINVAL;
    if ((r->flags & MREMAP_DONTUNMAP) && (v->flags & VM_SPECIAL))
        return -EINVAL;
    if (MIN(r->old_len, r->new_len) > v->end - r->old)
        return -EFAULT;
    if (!grow)
        return 0;
    if (v->object && page_index(r, v) + (r->new_len >> PAGE_SHIFT) < page_index(r, v))
        return -EINVAL;
    if (v->flags & VM_SPECIAL)
        return -EFAULT;
    if ((v->flags & VM_LOCKED) && over_memlock(r->mm, grow))
        return -EAGAIN;
    return within_rlimit_as(r->mm, v->flags, grow) ? 0 : -ENOMEM;
}

// May the pages that come into being be promised?
static bool remap_promised(const struct remap *r, const struct vma *v)
{
    size_t more = r->flags & MREMAP_DONTUNMAP ? r->old_len : growth(r);
    return !(v->flags & VM_ACCOUNT) || !more || commit_allowed(more >> PAGE_SHIFT);
}

// Puts a mapping like v's part at the new place and moves the pages. => lock held for writing
static long remap_move(struct remap *r, struct vma *v)
{
    struct mm *mm = r->mm;
    struct unmap_plan plan;
    bool keep = (r->flags & MREMAP_DONTUNMAP) || !r->old_len;
    u64 flags = v->flags, pgoff = page_index(r, v);
    struct vm_object *obj = v->object;
    struct file *file = v->file;
    if (mm->n_vmas + 3 >= vm_max_map_count || !remap_promised(r, v))
        return -ENOMEM;
    char *name = v->name ? kstrdup(v->name) : NULL;
    if (v->name && !name)
        return -ENOMEM;
    if (pt_split_edges(mm, r->old, r->old + r->old_len)) {
        kfree(name);
        return -ENOMEM;
    }
    // The references keep object and file over the merge and the unmapping below.
    if (obj)
        vm_object_get(obj);
    if (file)
        file_get(file);
    size_t moved = MIN(r->old_len, r->new_len);
    struct map_request target = {
        .addr = r->new,
        .len = r->new_len,
        .flags = flags,
        .object = obj,
        .file = file,
        .pgoff = obj ? pgoff : r->new >> PAGE_SHIFT,
        .moved = true,
    };
    long at = map_locked(mm, &target);
    if (at >= 0 && name) {
        struct vma *n = vma_at(mm, r->new);
        vma_modify(mm, n, r->new, r->new + r->new_len, n->flags, name);
    }
    tlb_gather_init(&r->g, mm);
    if (at >= 0) {
        u8 backed = vma_at(mm, r->old)->backed;
        vma_at(mm, r->new)->backed |= backed;
        long err = backed ? pt_move(&r->g, r->old, r->new, moved) : 0;
        tlb_gather_finish(&r->g);
        vaddr_t gone = err ? r->new : r->old;
        size_t len = err ? r->new_len : r->old_len;
        if (err)
            at = err;
        if (err || !keep) {
            if (!unmap_prepare(mm, gone, gone + len, &plan))
                unmap_commit(mm, gone, gone + len, &plan);
        } else if ((r->flags & MREMAP_DONTUNMAP) && (flags & VM_LOCKED)) {
            v = vma_at(mm, r->old);
            vma_modify(mm, v, r->old, r->old + r->old_len, flags & ~(u64)VM_LOCK_FLAGS, v->name);
        }
    }
    if (obj)
        vm_object_put(obj);
    if (file)
        file_put(file);
    kfree(name);
    return at;
}

// Chooses r->new. => 0, -ENOMEM
static long find_target(struct remap *r, const struct vma *v, vaddr_t hint)
{
    struct map_request target = {.len = r->new_len, .object = v->object};
    long at = find_place(r->mm, &target, hint, 0);
    r->new = (vaddr_t)at;
    return at < 0 ? at : 0;
}

// MREMAP_FIXED and MREMAP_DONTUNMAP, checked: the place is given, or at least another one than now.
static long remap_to(struct remap *r)
{
    struct mm *mm = r->mm;
    long err = 0;
    if (r->flags & MREMAP_FIXED) {
        if (r->new < vm_mmap_min_addr)
            return -EPERM;
        err = unmap_locked(mm, r->new, r->new_len);
    }
    if (!err && r->old_len > r->new_len) {
        err = unmap_locked(mm, r->old + r->new_len, r->old_len - r->new_len);
        r->old_len = r->new_len;
    }
    struct vma *v = vma_at(mm, r->old);
    if (err || !v)
        return err ? err : -EFAULT;
    if ((r->flags & MREMAP_DONTUNMAP) && !within_rlimit_as(mm, v->flags, r->new_len))
        return -ENOMEM;
    if (!(r->flags & MREMAP_FIXED) && (err = find_target(r, v, r->new)))
        return err;
    return remap_move(r, v);
}

// MREMAP_FIXED without a change of size moves all areas of the range, each as far from the next as it was (Linux 6.17).
// What an error leaves behind is moved; the places of the gaps are not touched.
static long remap_areas(struct remap *r)
{
    vaddr_t start = r->old, end = start + r->old_len, to = r->new;
    long at = -EFAULT;
    for (vaddr_t next = start; next < end; next = r->old + r->old_len) {
        struct vma *v = vma_find(r->mm, next);
        if (!v || v->start >= end || (next == start && v->start > start))
            break;
        r->old = MAX(v->start, next);
        r->new = to + (r->old - start);
        r->old_len = r->new_len = MIN(v->end, end) - r->old;
        long err = remap_check(r, v);
        if (!err)
            err = remap_to(r);
        if (err < 0)
            return err;
        at = (long)to;
    }
    return at;
}

static long remap_grow(struct remap *r, struct vma *v)
{
    struct mm *mm = r->mm;
    vaddr_t old_end = r->old + r->old_len, new_end = r->old + r->new_len;
    if (v->end == old_end && new_end > old_end && new_end <= USER_END) {
        vaddr_t limit = v->next ? v->next->start : USER_END;
        if (new_end <= limit) {
            struct vma_attr a = {v->flags, v->object, v->file, v->name,
                                 v->pgoff + ((old_end - v->start) >> PAGE_SHIFT)};
            if (!remap_promised(r, v))
                return -ENOMEM;
            if (v->flags & VM_SPECIAL || !vma_merge_range(mm, v, v->next, old_end, new_end, &a))
                vma_resize(v, v->start, new_end);
            return (long)r->old;
        }
    }
    if (!(r->flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    long err = find_target(r, v, 0);
    return err ? err : remap_move(r, v);
}

static long remap_locked(struct remap *r, bool *populate)
{
    if ((r->flags & MREMAP_FIXED) && r->old_len == r->new_len)
        return remap_areas(r);
    struct vma *v = vma_at(r->mm, r->old);
    long err = remap_check(r, v);
    if (err)
        return err;
    *populate = growth(r) && (v->flags & VM_LOCK_FLAGS) == VM_LOCKED;
    if (names_place(r))
        return remap_to(r);
    if (growth(r))
        return remap_grow(r, v);
    if (r->old_len > r->new_len)
        err = unmap_locked(r->mm, r->old + r->new_len, r->old_len - r->new_len);
    return err ? err : (long)r->old;
}

// The arguments by themselves, in Linux's order. => 0, -EINVAL, -ENOMEM
static long remap_arguments(const struct remap *r)
{
    if (r->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
        return -EINVAL;
    if (!IS_ALIGNED(r->old, PAGE_SIZE) || !r->new_len || r->new_len > USER_END)
        return -EINVAL;
    if (!names_place(r))
        return 0;
    if (r->new > USER_END - r->new_len || !IS_ALIGNED(r->new, PAGE_SIZE) ||
        !(r->flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((r->flags & MREMAP_DONTUNMAP) && r->old_len != r->new_len)
        return -EINVAL;
    if (r->old + r->old_len > r->new && r->new + r->new_len > r->old)
        return -EINVAL;
    return 0;
}

long sys_mremap(vaddr_t old, size_t old_len, size_t new_len, int flags, vaddr_t new)
{
    struct remap r = {
        calling_mm(), old, new, ALIGN_UP(old_len, PAGE_SIZE), ALIGN_UP(new_len, PAGE_SIZE), flags};
    bool populate = false;
    long at = remap_arguments(&r);
    if (at)
        return at;
    size_t more = growth(&r);
    rwlock_write(&r.mm->lock);
    at = -ENOMEM;
    if (!names_place(&r) || r.mm->n_vmas + 5 < vm_max_map_count)
        at = remap_locked(&r, &populate);
    mm_check(r.mm);
    rwlock_write_done(&r.mm->lock);
    if (at >= 0 && populate)
        mm_populate(r.mm, (vaddr_t)at + r.new_len - more, more);
    return at;
}
