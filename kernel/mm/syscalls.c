// SPDX-License-Identifier: BSD-2-Clause
// syscalls.c: the memory calls: argument checks in Linux's order, then the work of mmap.c and madvise.c.
#include <string.h>

#include "arch/uaccess.h"
#include "core/log.h"
#include "core/wait.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"
#include "mm/syscalls.h"

// ---- mmap

#define MAP_LEGACY_MASK                                                                      \
    (MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | \
     MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |         \
     MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | 0x200 | 0x400)

struct mapping {
    struct map_request r;
    vaddr_t hint;  // the address asked for
    int prot, flags;
    u64 may;       // VM_MAY* of the file
    long refused;  // why the file cannot be mapped; told only after what Linux checks first
};

#define MAX_FILE_BYTES INT64_MAX  // MAX_LFS_FILESIZE

// The address of the mapping (do_mmap: get_unmapped_area), into m->r. => lock held for writing
static long choose_address(struct mm *mm, struct mapping *m)
{
    if (m->r.len > USER_END)
        return -ENOMEM;
    if (!(m->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
        return find_place(mm, &m->r, m->hint, m->flags);
    m->r.addr = m->hint;
    m->r.fixed = m->flags & MAP_FIXED;
    if (m->hint > USER_END - m->r.len)
        return -ENOMEM;
    if (!IS_ALIGNED(m->hint, PAGE_SIZE))
        return -EINVAL;
    if (m->hint < vm_mmap_min_addr)
        return -EPERM;
    m->r.above = vma_find(mm, m->hint);
    m->r.placed = true;
    if ((m->flags & MAP_FIXED_NOREPLACE) && m->r.above && m->r.above->start < m->hint + m->r.len)
        return -EEXIST;
    return (long)m->hint;
}

static int check_anonymous_type(struct mapping *m)
{
    switch (m->flags & MAP_TYPE) {
    case MAP_SHARED:
        if (m->flags & MAP_GROWSDOWN)
            return -EINVAL;
        m->r.flags |= VM_SHARED;
        return 0;
    case MAP_DROPPABLE:
        if (m->flags & (MAP_LOCKED | MAP_GROWSDOWN))
            return -EINVAL;
        calling_mm()->has_droppable = true;
        m->r.flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
        return 0;
    case MAP_PRIVATE: return 0;
    default: return -EINVAL;
    }
}

static long check_file_type(struct mapping *m)
{
    if (m->r.pgoff > (MAX_FILE_BYTES - m->r.len) >> PAGE_SHIFT)
        return -EOVERFLOW;
    switch (m->flags & MAP_TYPE) {
    case MAP_SHARED_VALIDATE:
        if (m->flags & ~(MAP_LEGACY_MASK | MAP_SHARED_VALIDATE))
            return -EOPNOTSUPP;
        m->r.flags |= VM_SHARED;
        break;
    case MAP_SHARED: m->r.flags |= VM_SHARED; break;
    case MAP_PRIVATE: break;
    default: return -EINVAL;
    }
    if (m->refused)
        return m->refused;
    return m->flags & MAP_GROWSDOWN ? -EINVAL : 0;
}

static void complete_flags(struct mm *mm, struct mapping *m)
{
    m->r.flags |= prot_to_vm(m->prot) | m->may | (mm->def_flags & VM_LOCK_FLAGS);
    int key;
    if (unlikely(m->prot == PROT_EXEC) && (key = pkey_exec_only(mm)) > 0)
        m->r.flags |= (u64)key << VM_PKEY_SHIFT;
    if (m->flags & MAP_GROWSDOWN)
        m->r.flags |= VM_GROWSDOWN;
    if (m->flags & MAP_LOCKED)
        m->r.flags |= VM_LOCKED;
    if (m->flags & MAP_STACK)
        m->r.flags |= VM_NOHUGEPAGE;
    if ((m->flags & MAP_NORESERVE) && vm_overcommit_memory != 2)
        m->r.flags |= VM_NORESERVE;
    if ((m->r.flags & (VM_WRITE | VM_SHARED | VM_NORESERVE | VM_HUGETLB)) == VM_WRITE)
        m->r.flags |= VM_ACCOUNT;
}

// MAP_HUGETLB (mmap(2)): the size is coded in the flags; there is a pool of 2 MiB pages and none of 1 GiB.
// => 0, -EINVAL, -ENOMEM
static __cold long prepare_hugetlb(struct mapping *m, size_t len)
{
    unsigned shift = ((unsigned)m->flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK;
    int type = m->flags & MAP_TYPE;
    if ((shift && shift != HUGE_SHIFT && shift != 30) || !len ||
        (type != MAP_PRIVATE && type != MAP_SHARED) || (m->flags & MAP_GROWSDOWN))
        return -EINVAL;
    m->r.len = ALIGN_UP(len, HUGE_SIZE);
    m->r.flags = VM_HUGETLB | (m->flags & MAP_NORESERVE ? VM_NORESERVE : 0);
    if (shift == 30 || !m->r.len)
        return -ENOMEM;
    if ((m->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && !IS_ALIGNED(m->hint, HUGE_SIZE))
        return -EINVAL;
    return 0;
}

// The reservation comes before the area that holds it.
static __cold long map_hugetlb(struct mm *mm, struct mapping *m)
{
    bool promised = !(m->r.flags & VM_NORESERVE), shared = m->r.flags & VM_SHARED;
    m->r.flags &= ~(u64)VM_LOCK_FLAGS;
    m->r.pgoff = 0;
    mm->has_hugetlb = true;
    if (shared && !(m->r.object = hugetlb_create_object(m->r.len, promised)))
        return -ENOMEM;
    if (!shared && promised && !hugetlb_reserve(m->r.len))
        return -ENOMEM;
    long at = map_locked(mm, &m->r);
    if (!shared && promised)
        hugetlb_unreserve(m->r.len);
    return at;
}

static long map_checked(struct mm *mm, struct mapping *m)
{
    if (mm->n_vmas > vm_max_map_count)
        return -ENOMEM;
    long at = choose_address(mm, m);
    if (at < 0)
        return at;
    if ((m->flags & MAP_LOCKED) && !can_mlock())
        return -EPERM;
    if (((m->flags & MAP_LOCKED) || (mm->def_flags & VM_LOCKED)) && over_memlock(mm, m->r.len))
        return -EAGAIN;
    long err = m->flags & MAP_ANONYMOUS ? check_anonymous_type(m) : check_file_type(m);
    if (err)
        return err;
    complete_flags(mm, m);
    if (unlikely(m->r.flags & VM_HUGETLB))
        return map_hugetlb(mm, m);
    if (!m->r.file && (m->r.flags & VM_SHARED)) {
        m->r.pgoff = 0;
        if (!(m->r.object = vm_object_create_anon(m->r.len)))
            return -ENOMEM;
        if (!(m->r.flags & VM_NORESERVE)) {
            if (!mm_commit((s64)(m->r.len >> PAGE_SHIFT)))
                return -ENOMEM;
            m->r.object->flags |= VMO_COMMITTED;
        }
    }
    if (!m->r.object)
        m->r.pgoff = (u64)at >> PAGE_SHIFT;
    return map_locked(mm, &m->r);
}

// What lies behind the mapping. Only a bad descriptor fails here, other refusals wait in m->refused.
static long open_backing(struct mapping *m, int fd)
{
    m->may = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
    if (m->flags & MAP_ANONYMOUS)
        return 0;
    m->refused = file_mmap_object(fd, m->prot, m->flags, &m->r.file, &m->r.object, &m->may);
    return m->refused == -EBADF ? -EBADF : m->flags & MAP_HUGETLB ? -EINVAL : 0;
}

long sys_mmap(vaddr_t addr, size_t len, int prot, int flags, int fd, u64 off)
{
    struct mm *mm = calling_mm();
    struct mapping m;
    m.hint = addr;
    m.prot = prot;
    m.flags = flags;
    m.refused = 0;
    m.r.pgoff = off >> PAGE_SHIFT;
    m.r.flags = 0;
    m.r.object = NULL;
    m.r.file = NULL;
    m.r.fixed = m.r.moved = m.r.placed = false;
    if (off & (PAGE_SIZE - 1))
        return -EINVAL;
    long err = open_backing(&m, fd);
    m.r.len = ALIGN_UP(len, PAGE_SIZE);
    if (unlikely(flags & MAP_HUGETLB) && !err)
        err = prepare_hugetlb(&m, len);
    if (err)
        ;
    else if (!len)
        err = -EINVAL;
    else if (!m.r.len)
        err = -ENOMEM;
    else if (m.r.pgoff + (m.r.len >> PAGE_SHIFT) < m.r.pgoff)
        err = -EOVERFLOW;
    if (!err) {
        rwlock_write(&mm->lock);
        err = map_checked(mm, &m);
        mm_check(mm);
        rwlock_write_done(&mm->lock);
    }
    if (m.r.object)
        vm_object_put(m.r.object);
    if (m.r.file)
        file_put(m.r.file);
    bool populate = (m.r.flags & VM_LOCK_FLAGS) == VM_LOCKED ||
                    ((m.r.flags & VM_HUGETLB) && (flags & MAP_LOCKED)) ||
                    (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE;
    if (err >= 0 && populate)
        mm_populate(mm, (vaddr_t)err, m.r.len);
    return err;
}

long sys_munmap(vaddr_t addr, size_t len) { return do_munmap(calling_mm(), addr, len); }

// ---- brk

static long brk_grow(struct mm *mm, vaddr_t old_end, vaddr_t new_end)
{
    struct vma *next = vma_find(mm, old_end);
    if (next) {
        vaddr_t limit = next->start;
        if (next->flags & VM_GROWSDOWN)
            limit -= MIN(limit, STACK_GUARD_GAP);
        if (next->start < old_end || new_end + PAGE_SIZE > limit)
            return -ENOMEM;
    }
    u64 vm = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_ACCOUNT |
             (mm->def_flags & VM_LOCK_FLAGS);
    if ((vm & VM_LOCKED) && over_memlock(mm, new_end - old_end))
        return -EAGAIN;
    struct map_request r = {
        .addr = old_end,
        .len = new_end - old_end,
        .flags = vm,
        .pgoff = old_end >> PAGE_SHIFT,
        .placed = true,
        .above = next,
    };
    return map_locked(mm, &r);
}

static bool over_data_limit(const struct mm *mm, vaddr_t end)
{
    u64 limit = rlimit_current(RLIMIT_DATA);
    u64 size = (end - mm->brk_start) + (mm->data_end - mm->data_start);
    return limit != UINT64_MAX && size > limit;
}

long sys_brk(vaddr_t end)
{
    struct mm *mm = calling_mm();
    bool populate = false;
    rwlock_write(&mm->lock);
    vaddr_t old = mm->brk_end;
    if (end < mm->brk_start || end >= USER_END || over_data_limit(mm, end))
        goto out;
    vaddr_t old_page = ALIGN_UP(old, PAGE_SIZE), new_page = ALIGN_UP(end, PAGE_SIZE);
    if (new_page > old_page) {
        if (brk_grow(mm, old_page, new_page) < 0)
            goto out;
        populate = (mm->def_flags & VM_LOCK_FLAGS) == VM_LOCKED;
    } else if (new_page < old_page) {
        struct unmap_plan plan;
        if (unmap_prepare(mm, new_page, old_page, &plan))
            goto out;
        unmap_commit(mm, new_page, old_page, &plan);
    }
    mm->brk_end = end;
out:
    end = mm->brk_end;
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    if (populate)
        mm_populate(mm, old, end - old);
    return (long)end;
}

// ---- madvise

long sys_madvise(vaddr_t addr, size_t len, int advice)
{
    return madvise_range(calling_mm(), addr, len, advice);
}

#define MAX_ADVISE_VECTORS 1024

static bool remote_advice(int advice)
{
    return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED ||
           advice == MADV_COLLAPSE;
}

// The vector, checked as a whole before anything is done. => kmalloc'ed; ERR_PTR(-EINVAL, -EFAULT, -ENOMEM)
static __cold struct advise_part *read_vector(vaddr_t vector, size_t n)
{
    if (n > MAX_ADVISE_VECTORS)
        return ERR_PTR(-EINVAL);
    struct advise_part *parts = kmalloc((n + 1) * sizeof *parts);
    if (!parts)
        return ERR_PTR(-ENOMEM);
    long err = copy_from_user(parts, vector, n * sizeof *parts);
    for (size_t i = 0; i < n && !err; i++) {
        if ((s64)parts[i].len < 0)
            err = -EINVAL;
        else if (parts[i].start > USER_END || parts[i].len > USER_END - parts[i].start)
            err = -EFAULT;
    }
    if (!err)
        return parts;
    kfree(parts);
    return ERR_PTR(err);
}

__cold long sys_process_madvise(int pidfd, vaddr_t vector, size_t n, int advice, unsigned flags)
{
    if (flags)
        return -EINVAL;
    struct advise_part *parts = read_vector(vector, n);
    if (IS_ERR(parts))
        return PTR_ERR(parts);
    struct mm *mm = pidfd_get_mm(pidfd);
    long done = IS_ERR(mm) ? PTR_ERR(mm) : 0;
    if (!done && mm != calling_mm()) {
        if (!remote_advice(advice))
            done = -EINVAL;
        else if (!capable_sys_nice())
            done = -EPERM;
    }
    if (!done)
        done = madvise_vector(mm, parts, n, advice);
    if (!IS_ERR(mm))
        mm_put(mm);
    kfree(parts);
    return done;
}

// ---- mincore

struct core_walk {
    struct pt_walk walk;
    vaddr_t start;
    u8 *out;
    const struct vma *vma;
};

static void core_fill(struct core_walk *c, vaddr_t start, vaddr_t end)
{
    const struct vma *v = c->vma;
    u8 *out = c->out + ((start - c->start) >> PAGE_SHIFT);
    size_t n = (end - start) >> PAGE_SHIFT;
    if (!v->object || (v->flags & VM_HUGETLB)) {
        memset(out, 0, n);
        return;
    }
    u64 index = v->pgoff + ((start - v->start) >> PAGE_SHIFT);
    for (size_t i = 0; i < n; i++) {
        struct page *p = vm_object_find(v->object, index + i);
        out[i] = p != NULL || (v->object->flags & VMO_NOBLOCK);
        if (p)
            page_put(p);
    }
}

static void core_hole(struct pt_walk *w, vaddr_t start, vaddr_t end)
{
    core_fill(container_of(w, struct core_walk, walk), start, end);
}

static inline bool eight_present(const pte_t *e)
{
    return pte_all_present(e[0] & e[1] & e[2] & e[3] & e[4] & e[5] & e[6] & e[7]);
}

static void core_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct core_walk *c = container_of(w, struct core_walk, walk);
    u8 *out = c->out + ((start - c->start) >> PAGE_SHIFT);
    for (size_t n = (end - start) >> PAGE_SHIFT; n;) {
        for (; n >= 8 && eight_present(slot); n -= 8, slot += 8, out += 8)
            __builtin_memcpy(out, "\1\1\1\1\1\1\1\1", 8);  // one store
        for (size_t k = MIN(n, 8u); k; k--, n--, slot++, out++) {
            if (pte_is_none(*slot) && c->vma->object)
                core_fill(c, end - n * PAGE_SIZE, end - (n - 1) * PAGE_SIZE);
            else
                *out = pte_present(*slot);
        }
    }
}

static bool core_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct core_walk *c = container_of(w, struct core_walk, walk);
    memset(c->out + ((start - c->start) >> PAGE_SHIFT), 1, (end - start) >> PAGE_SHIFT);
    return false;
}

static long core_chunk(struct mm *mm, vaddr_t start, vaddr_t end, u8 *out)
{
    struct core_walk c = {.walk = {.run = core_run, .huge = core_huge, .hole = core_hole},
                          .start = start,
                          .out = out};
    for (vaddr_t stop; start < end; start = stop) {
        c.vma = vma_at(mm, start);
        if (!c.vma)
            return -ENOMEM;
        stop = MIN(c.vma->end, end);
        pt_walk(mm, &c.walk, start, stop);
    }
    return 0;
}

long sys_mincore(vaddr_t start, size_t len, vaddr_t vector)
{
    struct mm *mm = calling_mm();
    if (!IS_ALIGNED(start, PAGE_SIZE))
        return -EINVAL;
    if (start > USER_END || len > USER_END - start)
        return -ENOMEM;
    size_t pages = DIV_ROUND_UP(len, PAGE_SIZE);
    if (vector > USER_END || pages > USER_END - vector)
        return -EFAULT;
    u8 *out = kmalloc(PAGE_SIZE);
    if (!out)
        return -EAGAIN;
    long err = 0;
    while (pages && !err) {
        size_t n = MIN(pages, PAGE_SIZE);
        rwlock_read(&mm->lock);
        err = core_chunk(mm, start, start + (n << PAGE_SHIFT), out);
        rwlock_read_done(&mm->lock);
        if (!err && copy_to_user(vector, out, n))
            err = -EFAULT;
        pages -= n;
        start += n << PAGE_SHIFT;
        vector += n;
        sched_point();
    }
    kfree(out);
    return err;
}

// ---- msync

// One area's part, from start on. Every mapping of an object shares its pages, so only MS_SYNC has work: what
// lives on a disk is written there. => mm->lock held for reading on entry and exit; *dropped: it was not between.
static __cold long msync_part(struct mm *mm, const struct vma *v, vaddr_t start, vaddr_t end,
                              int flags, bool *dropped)
{
    struct vm_object *obj = v->object;
    if ((flags & MS_INVALIDATE) && (v->flags & VM_LOCKED))
        return -EBUSY;
    if (!(flags & MS_SYNC) || !obj || !(v->flags & VM_SHARED) || !obj->ops->sync)
        return 0;
    u64 first = v->pgoff + ((start - v->start) >> PAGE_SHIFT);
    u64 last = first + ((MIN(end, v->end) - start) >> PAGE_SHIFT) - 1;
    vm_object_get(obj);
    rwlock_read_done(&mm->lock);
    long err = obj->ops->sync(obj, first, last);
    vm_object_put(obj);
    rwlock_read(&mm->lock);
    *dropped = true;
    return err;
}

__cold long sys_msync(vaddr_t start, size_t len, int flags)
{
    struct mm *mm = calling_mm();
    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || !IS_ALIGNED(start, PAGE_SIZE))
        return -EINVAL;
    if ((flags & MS_ASYNC) && (flags & MS_SYNC))
        return -EINVAL;
    vaddr_t end = start + ALIGN_UP(len, PAGE_SIZE);
    if (end < start)
        return -ENOMEM;
    long err = 0, part = 0;
    rwlock_read(&mm->lock);
    for (struct vma *v = vma_find(mm, start); start < end && !part;) {
        bool dropped = false;
        if (!v || v->start >= end) {
            err = -ENOMEM;
            break;
        }
        if (v->start > start)
            err = -ENOMEM;
        vaddr_t stop = v->end;
        part = msync_part(mm, v, MAX(start, v->start), end, flags, &dropped);
        start = stop;
        v = dropped ? vma_find(mm, start) : v->next;
    }
    rwlock_read_done(&mm->lock);
    return part ? part : err;
}
