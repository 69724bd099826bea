// SPDX-License-Identifier: BSD-2-Clause
// syscalls.c: the memory calls: argument checks in Linux's order, then the work of mmap.c and madvise.c.
#include <string.h>

#include "arch/uaccess.h"
#include "core/log.h"
#include "core/wait.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"
#include "mm/syscalls.h"

// ---- mmap

#define MAP_LEGACY_MASK                                                                        \
    (MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |   \
     MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |           \
     MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_FIXED_NOREPLACE | 0x200 | 0x400)

struct mapping {
    struct map_request r;
    vaddr_t hint;  // the address asked for
    int prot, flags;
    u64 may;       // VM_MAY* of the file
    long refused;  // why the file cannot be mapped; told only after what Linux checks first
};

#define MAX_FILE_BYTES INT64_MAX  // MAX_LFS_FILESIZE

static bool over_memlock(struct mm *mm, size_t len)
{
    return ((mm->n_locked_pages << PAGE_SHIFT) + len) > rlimit_current(RLIMIT_MEMLOCK) &&
           !capable_ipc_lock();
}

static bool can_mlock(void)
{
    return rlimit_current(RLIMIT_MEMLOCK) != 0 || capable_ipc_lock();
}

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
        m->r.flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
        return 0;
    case MAP_PRIVATE:
        return 0;
    default:
        return -EINVAL;
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
    case MAP_SHARED:
        m->r.flags |= VM_SHARED;
        break;
    case MAP_PRIVATE:
        break;
    default:
        return -EINVAL;
    }
    if (m->refused)
        return m->refused;
    return m->flags & MAP_GROWSDOWN ? -EINVAL : 0;
}

static void complete_flags(struct mm *mm, struct mapping *m)
{
    m->r.flags |= prot_to_vm(m->prot) | m->may | (mm->def_flags & VM_LOCK_FLAGS);
    if (m->flags & MAP_GROWSDOWN)
        m->r.flags |= VM_GROWSDOWN;
    if (m->flags & MAP_LOCKED)
        m->r.flags |= VM_LOCKED;
    if (m->flags & MAP_STACK)
        m->r.flags |= VM_NOHUGEPAGE;
    if ((m->flags & MAP_NORESERVE) && vm_overcommit_memory != 2)
        m->r.flags |= VM_NORESERVE;
    bool private_write = (m->r.flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
    bool shared_anon = (m->r.flags & VM_SHARED) && !m->r.file;
    if ((private_write || shared_anon) && !(m->r.flags & VM_NORESERVE))
        m->r.flags |= VM_ACCOUNT;
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
    if (!m->r.file && (m->r.flags & VM_SHARED)) {
        m->r.pgoff = 0;
        if (!(m->r.object = vm_object_create_anon(m->r.len)))
            return -ENOMEM;
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

// MAP_HUGETLB (mmap(2)): the size is coded in the flags; there are pages of 2 MiB and of 1 GiB, none in the pool.
// => -EINVAL, -ENOMEM
static long refuse_hugetlb(size_t len, int flags)
{
    unsigned shift = ((unsigned)flags >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK;
    int type = flags & MAP_TYPE;
    if (shift && shift != 21 && shift != 30)
        return -EINVAL;
    return !len || (type != MAP_PRIVATE && type != MAP_SHARED) ? -EINVAL : -ENOMEM;
}

long sys_mmap(vaddr_t addr, size_t len, int prot, int flags, int fd, u64 off)
{
    struct mm *mm = current_mm();
    struct mapping m;
    m.hint = addr;
    m.prot = prot;
    m.flags = flags;
    m.refused = 0;
    m.r.pgoff = off >> PAGE_SHIFT;
    m.r.flags = 0;
    m.r.object = NULL;
    m.r.file = NULL;
    m.r.fixed = m.r.placed = false;
    if (off & (PAGE_SIZE - 1))
        return -EINVAL;
    if ((flags & MAP_HUGETLB) && (flags & MAP_ANONYMOUS))
        return refuse_hugetlb(len, flags);
    long err = open_backing(&m, fd);
    m.r.len = ALIGN_UP(len, PAGE_SIZE);
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
                    (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE;
    if (err >= 0 && populate)
        mm_populate(mm, (vaddr_t)err, m.r.len);
    return err;
}

long sys_munmap(vaddr_t addr, size_t len)
{
    return do_munmap(current_mm(), addr, len);
}

long sys_mprotect(vaddr_t addr, size_t len, int prot)
{
    int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if (grows == (PROT_GROWSDOWN | PROT_GROWSUP))
        return -EINVAL;
    return mm_protect(current_mm(), addr, len, prot);
}

long sys_pkey_mprotect(vaddr_t addr, size_t len, int prot, int pkey)
{
    return pkey == -1 ? sys_mprotect(addr, len, prot) : -EINVAL;
}

long sys_pkey_alloc(u64 flags, u64 rights)
{
    return flags || (rights & ~3ull) ? -EINVAL : -ENOSPC;
}

long sys_pkey_free(int pkey)
{
    return -EINVAL;
}

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
    struct mm *mm = current_mm();
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
    return madvise_range(current_mm(), addr, len, advice);
}

#define MAX_ADVISE_VECTORS 1024

static bool remote_advice(int advice)
{
    return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED ||
           advice == MADV_COLLAPSE;
}

// The vector, checked as a whole before anything is done. => kmalloc'ed; ERR_PTR(-EINVAL, -EFAULT, -ENOMEM)
static struct advise_part *read_vector(vaddr_t vector, size_t n)
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

long sys_process_madvise(int pidfd, vaddr_t vector, size_t n, int advice, unsigned flags)
{
    if (flags)
        return -EINVAL;
    struct advise_part *parts = read_vector(vector, n);
    if (IS_ERR(parts))
        return PTR_ERR(parts);
    struct mm *mm = pidfd_get_mm(pidfd);
    long done = IS_ERR(mm) ? PTR_ERR(mm) : 0;
    if (!done && mm != current_mm()) {
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

// ---- mremap

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
    struct remap r = {current_mm(), old, new, ALIGN_UP(old_len, PAGE_SIZE),
                      ALIGN_UP(new_len, PAGE_SIZE), flags};
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
    if (!v->object) {
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
                          .start = start, .out = out};
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
    struct mm *mm = current_mm();
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
static long msync_part(struct mm *mm, const struct vma *v, vaddr_t start, vaddr_t end, int flags,
                       bool *dropped)
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

long sys_msync(vaddr_t start, size_t len, int flags)
{
    struct mm *mm = current_mm();
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

// ---- locking

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
        if (!(v->flags & VM_SPECIAL) && flags != v->flags) {
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
    struct mm *mm = current_mm();
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

long sys_mlock(vaddr_t start, size_t len)
{
    return do_mlock(start, len, VM_LOCKED);
}

long sys_mlock2(vaddr_t start, size_t len, int flags)
{
    if (flags & ~MLOCK_ONFAULT)
        return -EINVAL;
    return do_mlock(start, len, flags ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED);
}

long sys_munlock(vaddr_t start, size_t len)
{
    struct mm *mm = current_mm();
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
        if (!(v->flags & VM_SPECIAL))
            changed = vma_modify(mm, v, v->start, v->end, flags, v->name);
        v = changed ? changed : v;
    }
}

long sys_mlockall(int flags)
{
    struct mm *mm = current_mm();
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    if (!can_mlock())
        return -EPERM;
    u64 lock = flags & MCL_ONFAULT ? VM_LOCKED | VM_LOCKONFAULT : VM_LOCKED;
    rwlock_write(&mm->lock);
    long err = 0;
    if ((flags & MCL_CURRENT) && mm->n_mapped_pages > rlimit_current(RLIMIT_MEMLOCK) >> PAGE_SHIFT &&
        !capable_ipc_lock())
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
    struct mm *mm = current_mm();
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
    struct mm *mm = current_mm();
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
        v = vma_modify(mm, v, MAX(v->start, start), MIN(v->end, end), v->flags | VM_SEALED, v->name);
        if (!v) {
            err = -ENOMEM;
            break;
        }
    }
    mm_check(mm);
    rwlock_write_done(&mm->lock);
    return err;
}
