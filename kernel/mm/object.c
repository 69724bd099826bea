// SPDX-License-Identifier: BSD-2-Clause
// object.c: memory objects: the page cache, shared anonymous memory, tmpfs and memfd contents.
//
// One tree of pages per object serves read, write and every mapping, so they are coherent. The tree holds a
// reference to each page, every page-table entry another.
//
// Lock order:   pass_lock -> mm->lock -> object->lock -> object->tree_lock (leaf), object->map_lock (leaf)
//
// Taking pages away from mappings needs the mm->lock of each, which comes before the object's locks.
// So truncation and hole punching go in steps that need no two locks in the wrong order:
//   1. under object->lock: set the size, take the pages out of the tree;
//   2. without it: for each address space that maps the object, with its lock held for writing, clear the
//      entries of the range. A fault that was under way with an old page has installed it by then;
//      a later one sees the new size or the hole.
//   3. the pages' last references go with the entries.
//
// Invariants: O1 a page in the tree has PG_CACHE, its object and its index. O2 n_pages counts them.
// O3 mappings holds exactly the VMAs whose object this is. O4 No page lies at or beyond size_bytes,
// except pages that faults bring in while a truncation runs (it looks again after step 2).
#include "mm/object.h"

#include <string.h>

#include "arch/cpu.h"
#include "core/log.h"
#include "core/wait.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

// Two passes at once would each take the other's marks for their own and go round and round.
static struct mutex pass_lock = MUTEX_INIT(pass_lock);  // before any mm->lock
static u64 next_unmap_pass;                             // [pass_lock]
static u64 n_cached[2];  // atomic: pages of files, of memory-only objects

u64 vm_cached_pages(bool shmem) { return atomic_load(&n_cached[shmem]); }

void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u32 flags,
                    u64 size_bytes)
{
    memset(obj, 0, sizeof *obj);
    obj->refcount = 1;
    obj->flags = flags;
    obj->ops = ops;
    obj->size_bytes = size_bytes;
    mutex_init(&obj->lock);
    list_init(&obj->mappings);
}

static void release_anon(struct vm_object *obj)
{
    if (obj->flags & VMO_COMMITTED)
        mm_commit(-(s64)(obj->size_bytes >> PAGE_SHIFT));
    kfree(obj);
}
static const struct vm_object_ops anon_ops = {.release = release_anon};

struct vm_object *vm_object_create_anon(u64 size_bytes)
{
    struct vm_object *obj = kmalloc(sizeof *obj);
    if (obj)
        vm_object_init(obj, &anon_ops, VMO_ANON, size_bytes);
    return obj;
}

// ---- the tree

static inline bool is_shmem(const struct vm_object *obj) { return obj->flags & VMO_ANON; }

// Takes one page out; the tree's reference is the caller's now. => [tree_lock]
static void detach(struct vm_object *obj, struct page *p)
{
    p->object = NULL;
    obj->n_pages--;
    if (!(obj->flags & VMO_HUGETLB))
        atomic_sub(&n_cached[is_shmem(obj)], 1);
}

static void attach(struct vm_object *obj, u64 index, struct page *p)
{
    p->flags |= is_shmem(obj) ? PG_CACHE | PG_SHMEM : PG_CACHE;
    p->object = obj;
    p->index = index;
    obj->n_pages++;
    if (!(obj->flags & VMO_HUGETLB))
        atomic_add(&n_cached[is_shmem(obj)], 1);
}

struct page *vm_object_find(struct vm_object *obj, u64 index)
{
    spin_lock(&obj->tree_lock);
    struct page *p = radix_get(&obj->pages, index);
    if (p)
        page_get(p);
    spin_unlock(&obj->tree_lock);
    return p;
}

void object_get_range(struct vm_object *obj, u64 first, u32 n, struct page **out)
{
    spin_lock(&obj->tree_lock);
    radix_get_range(&obj->pages, first, n, (void **)out);
    for (u32 i = 0; i < n; i++)
        if (out[i])
            page_get(out[i]);
    spin_unlock(&obj->tree_lock);
}

int vm_object_insert(struct vm_object *obj, u64 index, struct page *page)
{
    spin_lock(&obj->tree_lock);
    int err = radix_insert(&obj->pages, index, page);
    if (!err)
        attach(obj, index, page);
    spin_unlock(&obj->tree_lock);
    return err;
}

// Frees up to a batch of pages in [first, last]. => how many; only clean, unmapped ones if clean_only
static u32 drop_batch(struct vm_object *obj, u64 *first, u64 last, bool clean_only)
{
    struct page *batch[32];
    u32 n = 0;
    u64 index = *first;
    spin_lock(&obj->tree_lock);
    while (n < ARRAY_SIZE(batch) && index <= last) {
        void *item;
        index = radix_next(&obj->pages, index, &item);
        if (index > last)
            break;
        struct page *p = item;
        if (!clean_only || (!(p->flags & PG_DIRTY) && atomic_load(&p->refcount) == 1)) {
            radix_remove(&obj->pages, index);
            detach(obj, p);
            batch[n++] = p;
        }
        index++;
    }
    spin_unlock(&obj->tree_lock);
    *first = index;
    for (u32 i = 0; i < n; i++) {
        if (!clean_only && unlikely(obj->ops->page_dropped != NULL))
            obj->ops->page_dropped(obj, batch[i]);
        page_put(batch[i]);
    }
    return n;
}

static u64 drop_range(struct vm_object *obj, u64 first, u64 last, bool clean_only)
{
    u64 n = 0;
    while (first <= last) {
        n += drop_batch(obj, &first, last, clean_only);
        sched_point();
    }
    return n;
}

void vm_object_discard(struct vm_object *obj, u64 first, u64 last)
{
    drop_range(obj, first, last, false);
}

u64 vm_object_drop(struct vm_object *obj, u64 first, u64 last)
{
    return obj->flags & VMO_ANON ? 0 : drop_range(obj, first, last, true);
}

bool vm_object_try_get(struct vm_object *obj)
{
    u32 n = atomic_load(&obj->refcount);
    while (n)
        if (atomic_cmpxchg(&obj->refcount, &n, n + 1))
            return true;
    return false;
}

void vm_object_put(struct vm_object *obj)
{
    if (atomic_sub(&obj->refcount, 1))
        return;
    KASSERT(list_empty(&obj->mappings));
    drop_range(obj, 0, UINT64_MAX - 1, false);
    KASSERT(obj->n_pages == 0 && !obj->pages.root);
    if (obj->ops->release)
        obj->ops->release(obj);
}

// ---- bringing pages in

static struct page *make_page(struct vm_object *obj, u64 index, bool write)
{
    struct page *p = NULL;
    if (obj->ops->get_page)
        p = obj->ops->get_page(obj, index, write);
    if (p)
        return p;
    p = page_alloc(0, PAGE_ZERO | PAGE_USER);
    return p ? p : ERR_PTR(-ENOMEM);
}

static u64 page_limit(const struct vm_object *obj)
{
    return DIV_ROUND_UP(READ_ONCE(obj->size_bytes), PAGE_SIZE);
}

// A page of the image stays in use until somebody writes it.
static inline bool usable(const struct page *p, bool write)
{
    return p && !(write && (p->flags & PG_RESERVED));
}

struct page *vm_object_get_page(struct vm_object *obj, u64 index, bool write)
{
    for (;;) {
        struct page *old = vm_object_find(obj, index);
        if (usable(old, write))
            return old;
        if (index >= page_limit(obj)) {
            if (old)
                page_put(old);
            return ERR_PTR(-EFAULT);
        }
        struct page *p = make_page(obj, index, write);
        if (old)
            page_put(old);
        if (IS_ERR(p))
            return p;
        page_get(p);  // one for the tree, one for the caller
        int err = old ? vm_object_replace(obj, index, p) : vm_object_insert(obj, index, p);
        if (!err)
            return p;
        page_put(p);
        page_put(p);
        if (err != -EEXIST)
            return ERR_PTR(err);
    }
}

__cold int vm_object_replace(struct vm_object *obj, u64 index, struct page *page)
{
    spin_lock(&obj->tree_lock);
    struct page *old = radix_get(&obj->pages, index);
    if (!usable(old, true)) {
        int err = 0;
        if (old) {
            radix_replace(&obj->pages, index, page);
            detach(obj, old);
        } else {
            err = radix_insert(&obj->pages, index, page);
        }
        if (!err)
            attach(obj, index, page);
        spin_unlock(&obj->tree_lock);
        if (old) {
            vm_object_unmap_cached(obj, index, index);
            page_put(old);
        }
        return err;
    }
    spin_unlock(&obj->tree_lock);
    return -EEXIST;
}

// ---- mappings

void object_link_vma(struct vma *vma)
{
    struct vm_object *obj = vma->object;
    spin_lock(&obj->map_lock);
    list_push_back(&obj->mappings, &vma->object_link);
    if ((vma->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
        obj->n_writable++;
    spin_unlock(&obj->map_lock);
}

void object_unlink_vma(struct vma *vma)
{
    struct vm_object *obj = vma->object;
    if (list_empty(&vma->object_link))
        return;
    spin_lock(&obj->map_lock);
    list_remove_init(&vma->object_link);
    if ((vma->flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
        obj->n_writable--;
    spin_unlock(&obj->map_lock);
}

// The next address space that maps the object and has not been visited in this pass.
static struct mm *next_mm(struct vm_object *obj, u64 pass)
{
    struct mm *found = NULL;
    spin_lock(&obj->map_lock);
    list_for_each (link, &obj->mappings) {
        struct mm *mm = list_entry(link, struct vma, object_link)->mm;
        if (mm->unmap_pass == pass)
            continue;
        mm->unmap_pass = pass;
        if (mm_try_get(mm)) {
            found = mm;
            break;
        }
    }
    spin_unlock(&obj->map_lock);
    return found;
}

static __cold void zap_object_in(struct mm *mm, struct vm_object *obj, u64 first, u64 last,
                                 enum pt_zap_mode mode)
{
    struct tlb_gather g;
    rwlock_write(&mm->lock);
    tlb_gather_init(&g, mm);
    for (struct vma *v = mm->first; v; v = v->next) {
        u64 pages = (v->end - v->start) >> PAGE_SHIFT;
        if (v->object != obj || v->pgoff > last || v->pgoff + pages <= first)
            continue;
        u64 from = MAX(first, v->pgoff) - v->pgoff, to = MIN(last - v->pgoff, pages - 1);
        pt_zap(&g, v->start + (from << PAGE_SHIFT), v->start + ((to + 1) << PAGE_SHIFT), mode);
    }
    tlb_gather_finish(&g);
    rwlock_write_done(&mm->lock);
}

void vm_object_each_mm(struct vm_object *obj, void (*fn)(struct mm *mm, void *arg), void *arg)
{
    mutex_lock(&pass_lock);
    u64 pass = ++next_unmap_pass;
    for (struct mm *mm; (mm = next_mm(obj, pass));) {
        fn(mm, arg);
        mm_put(mm);
    }
    mutex_unlock(&pass_lock);
}

struct zap_args {
    struct vm_object *obj;
    u64 first, last;
    enum pt_zap_mode mode;
};

static void zap_one(struct mm *mm, void *arg)
{
    const struct zap_args *z = arg;
    zap_object_in(mm, z->obj, z->first, z->last, z->mode);
}

static void unmap_everywhere(struct vm_object *obj, u64 first, u64 last, enum pt_zap_mode mode)
{
    vm_object_each_mm(obj, zap_one, &(struct zap_args){obj, first, last, mode});
}

void vm_object_unmap_range(struct vm_object *obj, u64 first, u64 last)
{
    unmap_everywhere(obj, first, last, ZAP_DISCARD);
}

void vm_object_unmap_cached(struct vm_object *obj, u64 first, u64 last)
{
    unmap_everywhere(obj, first, last, ZAP_CACHED);
}

// ---- size and holes

// Zeroes bytes [from, to) of one page, if it is there; what lies in the image is copied first.
static __cold int zero_part(struct vm_object *obj, u64 index, size_t from, size_t to)
{
    struct page *p = vm_object_find(obj, index);
    if (!p && obj->flags & VMO_ANON)
        return 0;
    if (p && !(p->flags & PG_RESERVED)) {
        memset((char *)page_address(p) + from, 0, to - from);
        page_set_flags(p, PG_DIRTY);
        page_put(p);
        return 0;
    }
    if (p)
        page_put(p);
    p = vm_object_get_page(obj, index, true);
    if (IS_ERR(p))
        return (int)PTR_ERR(p);
    memset((char *)page_address(p) + from, 0, to - from);
    page_set_flags(p, PG_DIRTY);
    page_put(p);
    return 0;
}

__cold int vm_object_truncate(struct vm_object *obj, u64 size_bytes)
{
    u64 old = obj->size_bytes;
    if (size_bytes < old && size_bytes % PAGE_SIZE) {
        int err = zero_part(obj, size_bytes / PAGE_SIZE, size_bytes % PAGE_SIZE, PAGE_SIZE);
        if (err)
            return err;
    }
    mutex_lock(&obj->lock);
    obj->size_bytes = size_bytes;
    mutex_unlock(&obj->lock);
    if (size_bytes >= old)
        return 0;
    u64 first = DIV_ROUND_UP(size_bytes, PAGE_SIZE);
    if (!list_empty(&obj->mappings))
        unmap_everywhere(obj, first, UINT64_MAX - 1, ZAP_DISCARD);
    drop_range(obj, first, UINT64_MAX - 1, false);
    return 0;
}

__cold int vm_object_punch(struct vm_object *obj, u64 start_bytes, u64 end_bytes)
{
    u64 size = obj->size_bytes;
    if (start_bytes >= end_bytes)
        return 0;
    u64 first = DIV_ROUND_UP(start_bytes, PAGE_SIZE), end = end_bytes / PAGE_SIZE;
    if (end_bytes >=
        size)  // nothing in the last page is left; behind it fallocate(2) may have put pages
        end = DIV_ROUND_UP(end_bytes, PAGE_SIZE);
    if (first > end)  // inside one page
        return zero_part(obj, end, start_bytes % PAGE_SIZE, end_bytes % PAGE_SIZE);
    int err = 0;
    if (start_bytes % PAGE_SIZE && start_bytes < size)
        err = zero_part(obj, first - 1, start_bytes % PAGE_SIZE, PAGE_SIZE);
    if (!err && end_bytes % PAGE_SIZE && end_bytes / PAGE_SIZE >= end)
        err = zero_part(obj, end, 0, end_bytes % PAGE_SIZE);
    if (err || first >= end)
        return err;
    drop_range(obj, first, end - 1, false);
    if (!list_empty(&obj->mappings))
        unmap_everywhere(obj, first, end - 1, ZAP_CACHED);
    return 0;
}

u64 vm_object_next_data(struct vm_object *obj, u64 index)
{
    void *item;
    spin_lock(&obj->tree_lock);
    index = radix_next(&obj->pages, index, &item);
    spin_unlock(&obj->tree_lock);
    return index;
}

u64 vm_object_next_hole(struct vm_object *obj, u64 index)
{
    spin_lock(&obj->tree_lock);
    index = radix_next_hole(&obj->pages, index);
    spin_unlock(&obj->tree_lock);
    return index;
}

void vm_object_verify(struct vm_object *obj)
{
    spin_lock(&obj->tree_lock);
    u64 n = 0;
    void *item;
    for (u64 i = 0; (i = radix_next(&obj->pages, i, &item)) != UINT64_MAX; i++, n++) {
        const struct page *p = item;
        KASSERT((p->flags & PG_CACHE) && p->object == obj && p->index == i && p->refcount > 0);
    }
    KASSERT(n == obj->n_pages);
    spin_unlock(&obj->tree_lock);
    spin_lock(&obj->map_lock);
    list_for_each_entry (struct vma, v, &obj->mappings, object_link)
        KASSERT(v->object == obj);
    spin_unlock(&obj->map_lock);
}
