// SPDX-License-Identifier: BSD-2-Clause
// mlock.c: mlock(2), mlock2, mlockall, munlock, munlockall and mseal(2).
#include "core/log.h"
#include "mm/mm_internal.h"
#include "mm/syscalls.h"

// mlock(2) passes by what is pinned by nature, and what may go at any time.
#define VM_NEVER_LOCKED (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)

// Sets the lock flags of [start, end). => -ENOMEM at a hole, what lies before it is changed
static long set_lock_flags(struct mm *mm, vaddr_t start, vaddr_t end, u64 lock)
{
    struct vma *v = vma_at(mm, start);
    if (!v)
        return -ENOMEM;
    while (start < end) {
        if (!v || v->start > start)
            return -ENOMEM;
        vaddr_t stop = MIN(v->end, end);
        u64 flags = (v->flags & ~(u64)VM_LOCK_FLAGS) | lock;
        if (!(v->flags & VM_NEVER_LOCKED) && flags != v->flags) {
            v = vma_modify(mm, v, start, stop, flags, v->name);
            if (!v)
                return -ENOMEM;
        }
        start = stop;
        v = v->end > start ? v : v->next;
    }
    return 0;
}

static u64 locked_pages_in(struct mm *mm, vaddr_t start, vaddr_t end)
{
    u64 n = 0;
    for (struct vma *v = vma_find(mm, start); v && v->start < end; v = v->next)
        if (v->flags & VM_LOCKED)
            n += (MIN(v->end, end) - MAX(v->start, start)) >> PAGE_SHIFT;
    return n;
}

static long do_mlock(vaddr_t start, size_t len, u64 lock)
{
    struct mm *mm = calling_mm();
    if (!can_mlock())
        return -EPERM;
    len = ALIGN_UP(len + (start & (PAGE_SIZE - 1)), PAGE_SIZE);
    start &= PAGE_MASK;
    if (start + len < start)
        return -EINVAL;
    if (!len)
        return 0;
    rwlock_write(&mm->lock);
    u64 limit = rlimit_current(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
    u64 locked = mm->n_locked_pages + (len >> PAGE_SHIFT);
    if (locked > limit)
        locked -= locked_pages_in(mm, start, start + len);
    long err = -ENOMEM;
    if (locked <= limit || capable_ipc_lock())
        err = set_lock_flags(mm, start, start + len, lock);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    if (err || (lock & VM_LOCKONFAULT))
        return err;
    err = mm_populate_locked_areas(mm, start, len);
    return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

long sys_mlock(vaddr_t start, size_t len) { return do_mlock(start, len, VM_LOCKED); }

long sys_mlock2(vaddr_t start, size_t len, int flags)
{
    if (flags & ~MLOCK_ONFAULT)
        return -EINVAL;
    return do_mlock(start, len, flags ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED);
}

long sys_munlock(vaddr_t start, size_t len)
{
    struct mm *mm = calling_mm();
    len = ALIGN_UP(len + (start & (PAGE_SIZE - 1)), PAGE_SIZE);
    start &= PAGE_MASK;
    if (start + len < start)
        return -EINVAL;
    if (!len)
        return 0;
    rwlock_write(&mm->lock);
    long err = set_lock_flags(mm, start, start + len, 0);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}

static void lock_all(struct mm *mm, u64 lock)
{
    for (struct vma *v = mm->first; v; v = v->next) {
        u64 flags = (v->flags & ~(u64)VM_LOCK_FLAGS) | lock;
        struct vma *changed = NULL;
        if (!(v->flags & VM_NEVER_LOCKED))
            changed = vma_modify(mm, v, v->start, v->end, flags, v->name);
        v = changed ? changed : v;
    }
}

long sys_mlockall(int flags)
{
    struct mm *mm = calling_mm();
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    if (!can_mlock())
        return -EPERM;
    u64 lock = flags & MCL_ONFAULT ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED;
    rwlock_write(&mm->lock);
    long err = 0;
    if ((flags & MCL_CURRENT) &&
        mm->n_mapped_pages > rlimit_current(RLIMIT_MEMLOCK) >> PAGE_SHIFT && !capable_ipc_lock())
        err = -ENOMEM;
    if (!err) {
        mm->def_flags = (mm->def_flags & ~(u64)VM_LOCK_FLAGS) | (flags & MCL_FUTURE ? lock : 0);
        if (flags & MCL_CURRENT)
            lock_all(mm, lock);
    }
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    if (!err && (flags & (MCL_CURRENT | MCL_ONFAULT)) == MCL_CURRENT)
        mm_populate(mm, 0, USER_END);
    return err;
}

long sys_munlockall(void)
{
    struct mm *mm = calling_mm();
    rwlock_write(&mm->lock);
    mm->def_flags &= ~(u64)VM_LOCK_FLAGS;
    lock_all(mm, 0);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return 0;
}

// ---- mseal

long sys_mseal(vaddr_t start, size_t len_in, u64 flags)
{
    struct mm *mm = calling_mm();
    size_t len = ALIGN_UP(len_in, PAGE_SIZE);
    vaddr_t end = start + len;
    if (flags || !IS_ALIGNED(start, PAGE_SIZE) || (len_in && !len) || end < start)
        return -EINVAL;
    if (end == start)
        return 0;
    long err = 0;
    rwlock_write(&mm->lock);
    vaddr_t at = start;
    for (struct vma *v = vma_find(mm, start); at < end; at = v->end, v = v->next) {
        if (!v || v->start > at) {
            err = -ENOMEM;
            break;
        }
    }
    mm->has_sealed |= !err;
    for (struct vma *v = vma_find(mm, start); !err && v && v->start < end; v = v->next) {
        v = vma_modify(mm, v, MAX(v->start, start), MIN(v->end, end), v->flags | VM_SEALED,
                       v->name);
        if (!v) {
            err = -ENOMEM;
            break;
        }
    }
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}
