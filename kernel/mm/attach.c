// SPDX-License-Identifier: BSD-2-Clause
// attach.c: mapping an object as a whole (System V shared memory, fs/sysv_shm.c), and remap_file_pages(2).
#include "mm/mm_internal.h"
#include "mm/syscalls.h"

bool mm_commit(s64 pages)
{
    if (pages > 0 && !commit_allowed((u64)pages))
        return false;
    atomic_add(&vm_committed, pages);
    return true;
}

static long attach_locked(struct mm *mm, struct map_request *r, bool replace)
{
    if (!r->addr) {
        long at = find_place(mm, r, 0, 0);
        if (at < 0)
            return at;
    } else if (r->addr > USER_END || r->len > USER_END - r->addr) {
        return r->addr + r->len < r->addr && !replace ? -EINVAL : -ENOMEM;  // as Linux: by mmap
    } else if (r->addr < vm_mmap_min_addr) {
        return -EPERM;
    }
    const struct vma *v = r->placed ? NULL : vma_find(mm, r->addr);
    if (!replace && v && v->start < r->addr + r->len)
        return -EINVAL;
    r->fixed = replace;
    return map_locked(mm, r);
}

long mm_attach_object(struct mm *mm, vaddr_t addr, size_t len, int prot, bool writable,
                      bool replace, struct vm_object *object)
{
    struct map_request r = {
        .addr = addr,
        .len = ALIGN_UP(len, PAGE_SIZE),
        .object = object,
        .flags =
            prot_to_vm(prot) | VM_SHARED | VM_MAYREAD | VM_MAYEXEC | (writable ? VM_MAYWRITE : 0),
    };
    rwlock_write(&mm->lock);
    r.flags |= mm->def_flags & VM_LOCK_FLAGS;
    u64 locked = (mm->n_locked_pages << PAGE_SHIFT) + r.len;
    long at = -EAGAIN;
    if (!(r.flags & VM_LOCKED) || locked <= rlimit_current(RLIMIT_MEMLOCK) || capable_ipc_lock())
        at = attach_locked(mm, &r, replace);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    if (at > 0 && (r.flags & VM_LOCK_FLAGS) == VM_LOCKED)
        mm_populate(mm, (vaddr_t)at, r.len);
    return at;
}

// Is v a part of the object as it was attached at addr?
static bool attached_at(const struct vma *v, vaddr_t addr)
{
    return v->start >= addr && (v->start - addr) >> PAGE_SHIFT == v->pgoff;
}

struct vm_object *mm_detach_object(struct mm *mm, vaddr_t addr,
                                   bool (*is)(const struct vm_object *))
{
    struct vm_object *found = NULL;
    rwlock_write(&mm->lock);
    for (struct vma *v = vma_find(mm, addr), *next; v; v = next) {
        vaddr_t start = v->start, end = v->end;
        next = v->next;
        if (found && start >= addr + ALIGN_UP(found->size_bytes, PAGE_SIZE))
            break;
        if (!v->object || !is(v->object) || !attached_at(v, addr) || (found && v->object != found))
            continue;
        struct unmap_plan plan;
        if (!found)
            vm_object_get(found = v->object);
        if (!unmap_prepare(mm, start, end, &plan))
            unmap_commit(mm, start, end, &plan);
    }
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return found;
}

struct vm_object *mm_find_object(struct mm *mm, vaddr_t addr, bool (*is)(const struct vm_object *))
{
    struct vm_object *found = NULL;
    rwlock_read(&mm->lock);
    const struct vma *v = vma_at(mm, addr);
    if (v && v->start == addr && v->pgoff == 0 && v->object && is(v->object))
        vm_object_get(found = v->object);
    rwlock_read_done(&mm->lock);
    return found;
}

// ---- remap_file_pages(2)

static bool remappable(const struct vma *v, vaddr_t end)
{
    for (const struct vma *first = v;; v = v->next) {
        if (v->object != first->object || v->file != first->file || v->flags != first->flags)
            return false;
        if (v->end >= end)
            return true;
        if (!v->next || v->next->start != v->end)
            return false;
    }
}

static long remap_pages_locked(struct mm *mm, vaddr_t start, size_t len, u64 pgoff, bool *populate)
{
    struct vma *v = vma_at(mm, start);
    if (!v || !(v->flags & VM_SHARED) || !v->object || !remappable(v, start + len))
        return -EINVAL;
    struct map_request r = {
        .addr = start,
        .len = len,
        .flags = v->flags,
        .object = v->object,
        .file = v->file,
        .pgoff = pgoff,
        .fixed = true,
    };
    *populate = v->flags & VM_ACCESS;
    vm_object_get(r.object);
    if (r.file)
        file_get(r.file);
    long at = map_locked(mm, &r);
    vm_object_put(r.object);
    if (r.file)
        file_put(r.file);
    return at < 0 ? at : 0;
}

// Linux keeps the call by mapping the range anew; so does this.
long sys_remap_file_pages(vaddr_t start, size_t size, int prot, size_t pgoff, int flags)
{
    struct mm *mm = calling_mm();
    bool populate = false;
    start &= PAGE_MASK;
    size &= PAGE_MASK;
    if (prot || start + size <= start || start + size > USER_END ||
        pgoff + (size >> PAGE_SHIFT) < pgoff)
        return -EINVAL;
    rwlock_write(&mm->lock);
    long err = remap_pages_locked(mm, start, size, pgoff, &populate);
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    if (!err && populate && !(flags & MAP_NONBLOCK))
        mm_populate(mm, start, size);
    return err;
}
