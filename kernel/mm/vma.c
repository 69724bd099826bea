// SPDX-License-Identifier: BSD-2-Clause
// vma.c: the set of mapped areas of an address space.
//
// A red-black tree by start address, and a list in the same order. Each node knows the largest gap in
// front of any VMA of its subtree, so a free place is found in O(log n).
//
//      prev VMA          gap of v            v
//   [..........)........................[.........)
//                                ^ a stack keeps STACK_GUARD_GAP of it for itself
//
// Invariants (mm_verify):
//  V1  VMAs are page aligned, not empty, sorted, and do not overlap; list and tree agree.
//  V2  v->max_gap is the largest gap of v's subtree.
//  V3  mm->n_vmas and the page counters are the sums over the VMAs.
//  V4  Neighbours with equal attributes are one VMA, unless the limit on splitting said otherwise.
//  V5  A VMA with an object is on the object's list of mappings.
//  V6  mm->hint is NULL or in the tree.
//
// Changing the tree takes mm->lock for writing. A resize in place (the common case of mmap and munmap: the new area
// extends its neighbour) moves no node and allocates nothing; gaps are brought up to date
// upwards until a node's value does not change.
#include <string.h>

#include "core/log.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

static struct kcache *vma_cache;

void vma_init(void)
{
    vma_cache = kcache_create("vma", sizeof(struct vma), 16);
}

static inline struct vma *node_vma(const struct rb_node *n)
{
    return n ? container_of(n, struct vma, node) : NULL;
}

struct vma *vma_find(const struct mm *mm, vaddr_t addr)
{
    struct vma *hint = READ_ONCE(mm->hint);
    if (hint && hint->start <= addr && addr < hint->end)
        return hint;
    struct rb_node *n = mm->vmas.node;
    struct vma *best = NULL;
    while (n) {
        struct vma *v = node_vma(n);
        if (addr < v->end) {
            best = v;
            if (v->start <= addr)
                break;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct vma *vma_alloc(struct mm *mm)
{
    struct vma *v = kcache_alloc(vma_cache);
    if (!v)
        return NULL;
    memset(v, 0, sizeof *v);
    v->mm = mm;
    list_init(&v->object_link);
    return v;
}

void vma_free(struct vma *vma)
{
    if (vma->object) {
        object_unlink_vma(vma);
        vm_object_put(vma->object);
    }
    if (vma->file)
        file_put(vma->file);
    kfree(vma->name);
    kcache_free(vma_cache, vma);
}

// ---- gaps

static inline vaddr_t gap_end(const struct vma *v)
{
    if (likely(!(v->flags & VM_GROWSDOWN)))
        return v->start;
    return v->start > STACK_GUARD_GAP ? v->start - STACK_GUARD_GAP : 0;
}

static inline vaddr_t own_gap(const struct vma *v)
{
    vaddr_t from = v->prev ? v->prev->end : 0, to = gap_end(v);
    return to > from ? to - from : 0;
}

static vaddr_t subtree_gap(const struct rb_node *n)
{
    vaddr_t gap = own_gap(node_vma(n));
    if (n->left && node_vma(n->left)->max_gap > gap)
        gap = node_vma(n->left)->max_gap;
    if (n->right && node_vma(n->right)->max_gap > gap)
        gap = node_vma(n->right)->max_gap;
    return gap;
}

static void augment_gap(struct rb_node *n)
{
    node_vma(n)->max_gap = subtree_gap(n);
}

void vma_check_gap(struct vma *v)
{
    KASSERT(v->max_gap == subtree_gap(&v->node));
}

// v's own gap changed: its ancestors follow until one keeps its value.
static void gap_changed(struct vma *v)
{
    for (struct rb_node *n = v ? &v->node : NULL; n; n = n->parent) {
        vaddr_t gap = subtree_gap(n);
        if (gap == node_vma(n)->max_gap)
            return;
        node_vma(n)->max_gap = gap;
    }
}

static vaddr_t place_in(vaddr_t from, vaddr_t to, size_t len, vaddr_t low, vaddr_t high, size_t align)
{
    from = MAX(from, low);
    to = MIN(to, high);
    if (to < from || to - from < len)
        return 0;
    vaddr_t at = ALIGN_DOWN(to - len, align);
    return at >= from ? at : 0;
}

// The highest place: gaps are visited from the top, subtrees without a large enough gap are passed by.
vaddr_t vma_find_gap(const struct mm *mm, size_t len, vaddr_t low, vaddr_t high, size_t align)
{
    struct rb_node *n = mm->vmas.node;
    struct vma *last = node_vma(rb_last(&mm->vmas));
    vaddr_t at = place_in(last ? last->end : 0, USER_END, len, low, high, align);
    if (at || !n)
        return at;
    if (node_vma(n)->max_gap < len)
        return 0;
    for (;;) {
        struct vma *v = node_vma(n);
        if (n->right && v->end < high && node_vma(n->right)->max_gap >= len) {
            n = n->right;
            continue;
        }
        for (;;) {
            v = node_vma(n);
            if ((at = place_in(v->prev ? v->prev->end : 0, gap_end(v), len, low, high, align)))
                return at;
            if (n->left && v->start > low && node_vma(n->left)->max_gap >= len) {
                n = n->left;
                break;
            }
            struct rb_node *child;
            do {
                child = n;
                n = n->parent;
                if (!n)
                    return 0;
            } while (child == n->left);
        }
    }
}

// ---- tree and list

void vma_account(struct mm *mm, u64 flags, s64 pages)
{
    if (pages < 0 && mm->n_mapped_pages > mm->hiwater_vm)
        mm->hiwater_vm = mm->n_mapped_pages;
    mm->n_mapped_pages += (u64)pages;
    if (flags & VM_ACCOUNT) {
        mm->n_committed += (u64)pages;
        atomic_add(&vm_committed, pages);
    }
    if (flags & VM_LOCKED)
        mm->n_locked_pages += (u64)pages;
    if (flags & VM_GROWSDOWN)
        mm->n_stack_pages += (u64)pages;
    else if ((flags & (VM_EXEC | VM_WRITE)) == VM_EXEC)
        mm->n_exec_pages += (u64)pages;
    else if ((flags & (VM_WRITE | VM_SHARED)) == VM_WRITE)
        mm->n_data_pages += (u64)pages;
}

static inline s64 vma_pages(const struct vma *v)
{
    return (s64)((v->end - v->start) >> PAGE_SHIFT);
}

void vma_insert(struct mm *mm, struct vma *vma)
{
    struct rb_node **link = &mm->vmas.node, *parent = NULL;
    struct vma *prev = NULL;
    while (*link) {
        parent = *link;
        if (vma->start < node_vma(parent)->start) {
            link = &parent->left;
        } else {
            prev = node_vma(parent);
            link = &parent->right;
        }
    }
    vma->prev = prev;
    vma->next = prev ? prev->next : mm->first;
    if (prev)
        prev->next = vma;
    else
        mm->first = vma;
    if (vma->next)
        vma->next->prev = vma;
    rb_link_node(&vma->node, parent, link);
    rb_insert_fixup(&mm->vmas, &vma->node, augment_gap);
    gap_changed(vma->next);
    mm->n_vmas++;
    vma_account(mm, vma->flags, vma_pages(vma));
    if (vma->object)
        object_link_vma(vma);
}

void vma_remove(struct mm *mm, struct vma *vma)
{
    if (vma->prev)
        vma->prev->next = vma->next;
    else
        mm->first = vma->next;
    if (vma->next)
        vma->next->prev = vma->prev;
    if (mm->hint == vma)
        mm->hint = NULL;
    rb_erase(&mm->vmas, &vma->node, augment_gap);
    gap_changed(vma->next);
    mm->n_vmas--;
    vma_account(mm, vma->flags, -vma_pages(vma));
}

void vma_resize(struct vma *vma, vaddr_t start, vaddr_t end)
{
    s64 before = vma_pages(vma);
    bool start_moved = start != vma->start, end_moved = end != vma->end;
    if (start_moved)
        vma->pgoff += (u64)((s64)(start - vma->start) >> PAGE_SHIFT);
    vma->start = start;
    vma->end = end;
    vma_account(vma->mm, vma->flags, vma_pages(vma) - before);
    if (start_moved)
        gap_changed(vma);
    if (end_moved)
        gap_changed(vma->next);
}

// ---- splitting and merging

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

bool vma_copy_attributes(struct vma *to, const struct vma *from, vaddr_t at)
{
    to->flags = from->flags;
    to->pgoff = from->pgoff + ((at - from->start) >> PAGE_SHIFT);
    if (from->name && !(to->name = kstrdup(from->name)))
        return false;
    to->object = from->object;
    to->file = from->file;
    if (to->object)
        vm_object_get(to->object);
    if (to->file)
        file_get(to->file);
    return true;
}

struct vma *vma_split(struct mm *mm, struct vma *vma, vaddr_t addr)
{
    struct vma *upper = vma_alloc(mm);
    if (!upper)
        return NULL;
    if (!vma_copy_attributes(upper, vma, addr)) {
        vma_free(upper);
        return NULL;
    }
    upper->start = addr;
    upper->end = vma->end;
    vma_resize(vma, vma->start, addr);
    vma_insert(mm, upper);
    return upper;
}

static bool attributes_match(const struct vma *v, const struct vma_attr *a)
{
    return v->flags == a->flags && v->object == a->object && v->file == a->file &&
           !(a->flags & VM_SPECIAL) && same_name(v->name, a->name);
}

// v ends where a range with the attributes starts (distance pages further on in the object).
static bool continues(const struct vma *v, const struct vma_attr *a, u64 pgoff)
{
    return attributes_match(v, a) &&
           (!v->object || v->pgoff + (u64)vma_pages(v) == pgoff);
}

static bool precedes(const struct vma *v, const struct vma_attr *a, u64 pgoff, u64 pages)
{
    return attributes_match(v, a) && (!v->object || pgoff + pages == v->pgoff);
}

static void absorb(struct mm *mm, struct vma *keep, struct vma *gone)
{
    vaddr_t start = MIN(keep->start, gone->start), end = MAX(keep->end, gone->end);
    vma_remove(mm, gone);
    vma_resize(keep, start, end);
    vma_free(gone);
}

struct vma *vma_merge_range(struct mm *mm, struct vma *prev, struct vma *next, vaddr_t start,
                            vaddr_t end, const struct vma_attr *a)
{
    u64 pages = (end - start) >> PAGE_SHIFT;
    bool below = prev && prev->end == start && continues(prev, a, a->pgoff);
    bool above = next && next->start == end && precedes(next, a, a->pgoff, pages);
    if (below && above)
        absorb(mm, prev, next);
    else if (below)
        vma_resize(prev, prev->start, end);
    else if (above)
        vma_resize(next, start, next->end);
    return below ? prev : above ? next : NULL;
}

static void set_flags(struct mm *mm, struct vma *v, u64 flags)
{
    vma_account(mm, v->flags, -vma_pages(v));
    bool gap = (v->flags ^ flags) & VM_GROWSDOWN;
    v->flags = flags;
    vma_account(mm, flags, vma_pages(v));
    if (gap)
        gap_changed(v);
}

// The whole VMA gets new attributes: it may join either neighbour.
static struct vma *modify_whole(struct mm *mm, struct vma *v, const struct vma_attr *a)
{
    struct vma *prev = v->prev, *next = v->next;
    bool below = prev && prev->end == v->start && continues(prev, a, a->pgoff);
    bool above = next && next->start == v->end &&
                 precedes(next, a, a->pgoff, (u64)vma_pages(v));
    if (!below && !above) {
        char *name = NULL;
        if (!same_name(v->name, a->name)) {
            if (a->name && !(name = kstrdup(a->name)))
                return NULL;
            kfree(v->name);
            v->name = name;
        }
        set_flags(mm, v, a->flags);
        return v;
    }
    set_flags(mm, v, a->flags);
    struct vma *keep = below ? prev : next;  // it has the new name too
    absorb(mm, keep, v);
    if (below && above)
        absorb(mm, keep, next);
    return keep;
}

struct vma *vma_modify(struct mm *mm, struct vma *v, vaddr_t start, vaddr_t end, u64 flags,
                       const char *name)
{
    struct vma_attr a = {flags, v->object, v->file, name,
                         v->pgoff + ((start - v->start) >> PAGE_SHIFT)};
    u64 pages = (end - start) >> PAGE_SHIFT;
    if (v->flags == flags && same_name(v->name, name))
        return v;
    if (v->start == start && v->end == end)
        return modify_whole(mm, v, &a);
    if (!v->object && pt_split_edges(mm, start, end))
        return NULL;
    // The part borders on a neighbour that has the new attributes already: the border moves.
    if (v->start == start && v->prev && v->prev->end == start && continues(v->prev, &a, a.pgoff)) {
        struct vma *prev = v->prev;
        vma_resize(v, end, v->end);
        vma_resize(prev, prev->start, end);
        return prev;
    }
    if (v->end == end && v->next && v->next->start == end && precedes(v->next, &a, a.pgoff, pages)) {
        struct vma *next = v->next;
        vma_resize(v, v->start, start);
        vma_resize(next, start, next->end);
        return next;
    }
    struct vma *upper = NULL, *middle = v;
    if (end < v->end && !(upper = vma_split(mm, v, end)))
        return NULL;
    if (start > v->start && !(middle = vma_split(mm, v, start))) {
        if (upper)
            absorb(mm, v, upper);
        return NULL;
    }
    struct vma *done = modify_whole(mm, middle, &a);
    if (!done) {
        if (middle != v)
            absorb(mm, v, middle);
        if (upper)
            absorb(mm, v, upper);
    }
    return done;
}
