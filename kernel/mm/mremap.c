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

static long remap_check_vma(const struct remap *r, const struct vma *v)
{
    if (!v)
        return -EFAULT;
    if (v->flags & VM_SEALED)
        return -EPERM;
    if (!r->old_len && !(v->flags & VM_SHARED))
        return -EINVAL;
    if ((r->flags & MREMAP_DONTUNMAP) && (v->flags & VM_SPECIAL))
        return -EINVAL;
    if (r->old_len > v->end - r->old)
        return -EFAULT;
    if (r->new_len <= r->old_len)
        return 0;
    if (v->flags & VM_SPECIAL)
        return -EFAULT;
    size_t grow = r->new_len - r->old_len;
    u64 pgoff = v->pgoff + ((r->old - v->start) >> PAGE_SHIFT);
    if (v->object && pgoff + (r->new_len >> PAGE_SHIFT) < pgoff)
        return -EINVAL;
    if ((v->flags & VM_LOCKED) && over_memlock(r->mm, grow))
        return -EAGAIN;
    if (!within_rlimit_as(r->mm, v->flags, grow))
        return -ENOMEM;
    if ((v->flags & VM_ACCOUNT) && !commit_allowed(grow >> PAGE_SHIFT))
        return -ENOMEM;
    return 0;
}

// Puts a mapping like v's part at the new place and moves the pages. => lock held for writing
static long remap_move(struct remap *r, struct vma *v)
{
    struct mm *mm = r->mm;
    struct unmap_plan plan;
    bool keep = (r->flags & MREMAP_DONTUNMAP) || !r->old_len;
    u64 flags = v->flags;
    u64 pgoff = v->pgoff + ((r->old - v->start) >> PAGE_SHIFT);
    struct vm_object *obj = v->object;
    struct file *file = v->file;
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

static long unmap_range_locked(struct mm *mm, vaddr_t start, size_t len)
{
    struct unmap_plan plan;
    int err = unmap_prepare(mm, start, start + len, &plan);
    if (!err)
        unmap_commit(mm, start, start + len, &plan);
    return err;
}

// Chooses r->new. => 0, -ENOMEM
static long find_target(struct remap *r, const struct vma *v, vaddr_t hint)
{
    struct map_request target = {.len = r->new_len, .object = v->object};
    long at = find_place(r->mm, &target, hint, 0);
    r->new = (vaddr_t)at;
    return at < 0 ? at : 0;
}

// MREMAP_FIXED and MREMAP_DONTUNMAP: the place is given, or at least another one than now.
static long remap_to(struct remap *r, bool *populate)
{
    struct mm *mm = r->mm;
    bool fixed = r->flags & MREMAP_FIXED;
    if (!IS_ALIGNED(r->new, PAGE_SIZE) || r->new_len > USER_END || r->new > USER_END - r->new_len)
        return -EINVAL;
    if (r->old + r->old_len > r->new && r->new + r->new_len > r->old)
        return -EINVAL;
    if (mm->n_vmas + 2 >= vm_max_map_count - 3)
        return -ENOMEM;
    struct vma *v = vma_at(mm, r->old);
    if (fixed) {
        if (r->new < vm_mmap_min_addr)
            return -EPERM;
        long err = unmap_range_locked(mm, r->new, r->new_len);
        if (err)
            return err;
    }
    if (r->old_len > r->new_len) {
        long err = unmap_range_locked(mm, r->old + r->new_len, r->old_len - r->new_len);
        if (err)
            return err;
        r->old_len = r->new_len;
    }
    v = vma_at(mm, r->old);
    long err = remap_check_vma(r, v);
    if (err)
        return err;
    *populate = (v->flags & VM_LOCK_FLAGS) == VM_LOCKED;
    if ((r->flags & MREMAP_DONTUNMAP) && !within_rlimit_as(mm, v->flags, r->new_len))
        return -ENOMEM;
    if (!fixed && (err = find_target(r, v, r->new)))
        return err;
    return remap_move(r, v);
}

static long remap_grow(struct remap *r, bool *populate)
{
    struct mm *mm = r->mm;
    struct vma *v = vma_at(mm, r->old);
    long err = remap_check_vma(r, v);
    if (err)
        return err;
    vaddr_t old_end = r->old + r->old_len, new_end = r->old + r->new_len;
    *populate = (v->flags & VM_LOCK_FLAGS) == VM_LOCKED;
    if (v->end == old_end && new_end > old_end && new_end <= USER_END) {
        vaddr_t limit = v->next ? v->next->start : USER_END;
        if (v->next && (v->next->flags & VM_GROWSDOWN))
            limit -= MIN(limit, STACK_GUARD_GAP);
        if (new_end <= limit) {
            struct vma_attr a = {v->flags, v->object, v->file, v->name,
                                 v->pgoff + ((old_end - v->start) >> PAGE_SHIFT)};
            if (v->flags & VM_SPECIAL || !vma_merge_range(mm, v, v->next, old_end, new_end, &a))
                vma_resize(v, v->start, new_end);
            return (long)r->old;
        }
    }
    if (!(r->flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    err = find_target(r, v, 0);
    return err ? err : remap_move(r, v);
}

static long remap_locked(struct remap *r, bool *populate)
{
    struct vma *v = vma_at(r->mm, r->old);
    if (!v)
        return -EFAULT;
    if (r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
        return remap_to(r, populate);
    if (r->old_len >= r->new_len && r->old_len) {
        long err = 0;
        if (r->old_len > r->new_len)
            err = unmap_range_locked(r->mm, r->old + r->new_len, r->old_len - r->new_len);
        return err ? err : (long)r->old;
    }
    return remap_grow(r, populate);
}

long sys_mremap(vaddr_t old, size_t old_len, size_t new_len, int flags, vaddr_t new)
{
    struct remap r = {
        current_mm(), old, new, ALIGN_UP(old_len, PAGE_SIZE), ALIGN_UP(new_len, PAGE_SIZE), flags};
    bool populate = false;
    if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
        return -EINVAL;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((flags & MREMAP_DONTUNMAP) && r.old_len != r.new_len)
        return -EINVAL;
    if (!IS_ALIGNED(old, PAGE_SIZE) || !r.new_len)
        return -EINVAL;
    if (r.new_len > USER_END || old + r.old_len < old)
        return -EINVAL;
    rwlock_write(&r.mm->lock);
    long at = remap_locked(&r, &populate);
    mm_check(r.mm);
    rwlock_write_done(&r.mm->lock);
    if (at >= 0 && populate && r.new_len > r.old_len)
        mm_populate(r.mm, (vaddr_t)at + r.old_len, r.new_len - r.old_len);
    return at;
}
