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
//  V2  v->gap is the free space in front of v (0 above mmap_top, GAP_CAP at most), v->max_gap the largest gap of its
//      subtree.
//  V3  mm->n_vmas and the page counters are the sums over the VMAs.
//  V4  Neighbours with equal attributes are one VMA, unless the limit on splitting said otherwise.
//  V5  A VMA with an object is on the object's list of mappings.
//  V6  mm->hint is NULL or in the tree; mm->first and mm->last are the ends of the list.
//
// Changing the tree takes mm->lock for writing. A resize in place (the common case of mmap and munmap: the new area
// extends its neighbour) moves no node and allocates nothing; gaps are brought up to date
// upwards until a node's value does not change.
#include <string.h>

#include "core/log.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

static struct kcache *vma_cache;

void vma_init(void) { vma_cache = kcache_create("vma", sizeof(struct vma), 16); }

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

// Without attributes yet.
static inline struct vma *vma_new(struct mm *mm)
{
    struct vma *v = kcache_alloc(vma_cache);
    if (!v)
        return NULL;
    v->mm = mm;
    list_init(&v->object_link);
    return v;
}

struct vma *vma_alloc(struct mm *mm)
{
    struct vma *v = vma_new(mm);
    if (!v)
        return NULL;
    v->flags = v->pgoff = 0;
    v->object = NULL;
    v->file = NULL;
    v->name = NULL;
    v->backed = 0;
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

// Gaps count up to this much. The free space below the mappings is some 100 TiB; uncapped, each mapping put at its end
// would change the summaries all the way to the root.
#define GAP_CAP (1ul << 40)

static inline vaddr_t gap_end(const struct vma *v)
{
    if (likely(!(v->flags & VM_GROWSDOWN)))
        return v->start;
    return v->start > STACK_GUARD_GAP ? v->start - STACK_GUARD_GAP : 0;
}

// What lies above mmap_top does not count: every search would go there first, for nothing.
static inline vaddr_t gap_before(const struct vma *v)
{
    vaddr_t from = v->prev ? v->prev->end : 0, to = gap_end(v);
    return to > from && from < v->mm->mmap_top ? MIN(to - from, GAP_CAP) : 0;
}

static inline vaddr_t subtree_gap(const struct vma *v)
{
    vaddr_t gap = v->gap;
    if (v->node.left && node_vma(v->node.left)->max_gap > gap)
        gap = node_vma(v->node.left)->max_gap;
    if (v->node.right && node_vma(v->node.right)->max_gap > gap)
        gap = node_vma(v->node.right)->max_gap;
    return gap;
}

static bool augment_gap(struct rb_node *n)
{
    struct vma *v = node_vma(n);
    vaddr_t gap = subtree_gap(v);
    if (gap == v->max_gap)
        return false;
    v->max_gap = gap;
    return true;
}

void vma_check_gap(struct vma *v)
{
    KASSERT(v->gap == gap_before(v) && v->max_gap == subtree_gap(v));
}

static inline struct vma *parent_of(const struct vma *v) { return node_vma(v->node.parent); }

// The space in front of v changed: its ancestors follow until one keeps its value. A gap that grew needs no look at their other
// children; one that shrank matters only to those whose largest it was.
static void gap_changed(struct vma *v)
{
    v->gap = gap_before(v);
    vaddr_t old = v->max_gap, gap = subtree_gap(v);
    v->max_gap = gap;
    if (gap > old) {
        while ((v = parent_of(v)) && v->max_gap < gap)
            v->max_gap = gap;
    } else if (gap < old) {
        while ((v = parent_of(v)) && v->max_gap == old && (gap = subtree_gap(v)) != old)
            v->max_gap = gap;
    }
}

static vaddr_t place_in(vaddr_t from, vaddr_t to, size_t len, vaddr_t low, vaddr_t high,
                        size_t align)
{
    from = MAX(from, low);
    to = MIN(to, high);
    if (to < from || to - from < len)
        return 0;
    vaddr_t at = ALIGN_DOWN(to - len, align);
    return at >= from ? at : 0;
}

static inline vaddr_t place_below(const struct vma *v, size_t len, vaddr_t low, vaddr_t high,
                                  size_t align)
{
    return place_in(v->prev ? v->prev->end : 0, gap_end(v), len, low, high, align);
}

// One area after the other: for gaps larger than what the summaries tell apart, and above mmap_top.
static vaddr_t find_uncounted_gap(const struct mm *mm, size_t len, vaddr_t low, vaddr_t high,
                                  size_t align, struct vma **above)
{
    for (struct vma *v = mm->last; v && v->start > low; v = v->prev) {
        vaddr_t at = place_below(v, len, low, high, align);
        if (at) {
            *above = v;
            return at;
        }
    }
    return 0;
}

// The highest place: gaps are visited from the top, subtrees without a large enough gap are passed by.
vaddr_t vma_find_gap(const struct mm *mm, size_t len, vaddr_t low, vaddr_t high, size_t align,
                     struct vma **above)
{
    struct vma *v = node_vma(mm->vmas.node), *below;
    *above = NULL;
    if (!mm->last || mm->last->end < high) {
        vaddr_t at = place_in(mm->last ? mm->last->end : 0, USER_END, len, low, high, align);
        if (at)
            return at;
    }
    if (unlikely(len > GAP_CAP || high > mm->mmap_top))
        return find_uncounted_gap(mm, len, low, high, align, above);
    if (!v || v->max_gap < len)
        return 0;
    for (;;) {
        while ((below = node_vma(v->node.right)) && below->max_gap >= len && v->end < high)
            v = below;
        for (;;) {
            vaddr_t at = v->gap >= len ? place_below(v, len, low, high, align) : 0;
            if (at) {
                *above = v;
                return at;
            }
            below = node_vma(v->node.left);
            if (below && below->max_gap >= len && v->start > low)
                break;
            do {
                below = v;
                if (!(v = parent_of(v)))
                    return 0;
            } while (&below->node == v->node.left);
        }
        v = below;
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
    if (unlikely(flags & VM_HUGETLB))
        hugetlb_account_area(flags, pages);  // last, so that the others save no register
}

static inline s64 vma_pages(const struct vma *v)
{
    return (s64)((v->end - v->start) >> PAGE_SHIFT);
}

// Puts a VMA between its neighbours; one of them has no child on that side. Nothing is accounted. All summaries are
// right before the tree rotates: a rotation that brought next up to date would hide the change from its ancestors.
static void link_between(struct mm *mm, struct vma *prev, struct vma *vma, struct vma *next,
                         bool gap_moves)
{
    struct rb_node *parent = NULL, **link = &mm->vmas.node;
    if (next && !next->node.left)
        parent = &next->node, link = &parent->left;
    else if (prev)
        parent = &prev->node, link = &parent->right;
    vma->prev = prev;
    vma->next = next;
    *(prev ? &prev->next : &mm->first) = vma;
    *(next ? &next->prev : &mm->last) = vma;
    rb_link_node(&vma->node, parent, link);
    vma->gap = vma->max_gap = gap_before(vma);
    for (; parent && node_vma(parent)->max_gap < vma->max_gap; parent = parent->parent)
        node_vma(parent)->max_gap = vma->max_gap;
    if (gap_moves && next)
        gap_changed(next);
    if (vma->node.parent && vma->node.parent->red)
        rb_insert_fixup(&mm->vmas, &vma->node, augment_gap);
    else if (!vma->node.parent)
        vma->node.red = false;
    mm->n_vmas++;
}

// Takes a VMA out; the gap of the one behind it is right first, for the reason told at link_between.
static void unlink_vma(struct mm *mm, struct vma *vma, bool gap_moves)
{
    *(vma->prev ? &vma->prev->next : &mm->first) = vma->next;
    *(vma->next ? &vma->next->prev : &mm->last) = vma->prev;
    if (mm->hint == vma)
        mm->hint = NULL;
    if (gap_moves && vma->next)
        gap_changed(vma->next);
    rb_erase(&mm->vmas, &vma->node, augment_gap);
    mm->n_vmas--;
}

void vma_insert_between(struct mm *mm, struct vma *prev, struct vma *vma, struct vma *next)
{
    link_between(mm, prev, vma, next, true);
    mm->hint = vma;
    vma_account(mm, vma->flags, vma_pages(vma));
    if (vma->object)
        object_link_vma(vma);
}

void vma_remove(struct mm *mm, struct vma *vma)
{
    unlink_vma(mm, vma, true);
    vma_account(mm, vma->flags, -vma_pages(vma));
}

// Moves the bounds without accounting.
static void set_bounds(struct vma *vma, vaddr_t start, vaddr_t end)
{
    bool start_moved = start != vma->start, end_moved = end != vma->end;
    if (start_moved)
        vma->pgoff += (u64)((s64)(start - vma->start) >> PAGE_SHIFT);
    vma->start = start;
    vma->end = end;
    if (start_moved)
        gap_changed(vma);
    if (end_moved && vma->next)
        gap_changed(vma->next);
}

void vma_resize(struct vma *vma, vaddr_t start, vaddr_t end)
{
    s64 before = vma_pages(vma);
    set_bounds(vma, start, end);
    vma_account(vma->mm, vma->flags, vma_pages(vma) - before);
}

// ---- splitting and merging

static inline bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

bool vma_copy_attributes(struct vma *to, const struct vma *from, vaddr_t at)
{
    to->flags = from->flags;
    to->backed = from->backed;
    to->pgoff = from->pgoff + ((at - from->start) >> PAGE_SHIFT);
    to->object = NULL;
    to->file = NULL;
    to->name = NULL;
    if (from->name && !(to->name = kstrdup(from->name)))
        return false;
    if ((to->object = from->object))
        vm_object_get(to->object);
    if ((to->file = from->file))
        file_get(to->file);
    return true;
}

// => Nothing is accounted: the parts are what the whole was. No gap changes.
struct vma *vma_split(struct mm *mm, struct vma *vma, vaddr_t addr)
{
    struct vma *upper = vma_new(mm);
    if (!upper)
        return NULL;
    if (!vma_copy_attributes(upper, vma, addr)) {
        vma_free(upper);
        return NULL;
    }
    upper->start = addr;
    upper->end = vma->end;
    vma->end = addr;
    link_between(mm, vma, upper, vma->next, false);
    if (upper->object)
        object_link_vma(upper);
    return upper;
}

static inline bool attributes_match(const struct vma *v, const struct vma_attr *a)
{
    return v->flags == a->flags && v->object == a->object && v->file == a->file &&
           !(a->flags & (VM_SPECIAL | VM_HUGETLB)) && same_name(v->name, a->name);
}

// v ends where a range with the attributes starts (distance pages further on in the object).
static inline bool continues(const struct vma *v, const struct vma_attr *a, u64 pgoff)
{
    return attributes_match(v, a) && (!v->object || v->pgoff + (u64)vma_pages(v) == pgoff);
}

static inline bool precedes(const struct vma *v, const struct vma_attr *a, u64 pgoff, u64 pages)
{
    return attributes_match(v, a) && (!v->object || pgoff + pages == v->pgoff);
}

// Two neighbours with the same attributes become one.
static void absorb(struct mm *mm, struct vma *keep, struct vma *gone)
{
    bool above = gone == keep->next;
    keep->backed |= gone->backed;
    if (above) {
        keep->end = gone->end;  // before gone leaves: the gap behind it stays what it is
        unlink_vma(mm, gone, false);
    } else {
        keep->pgoff -= (keep->start - gone->start) >> PAGE_SHIFT;
        keep->start = gone->start;
        unlink_vma(mm, gone, true);
    }
    mm->hint = keep;
    vma_free(gone);
}

struct vma *vma_merge_range(struct mm *mm, struct vma *prev, struct vma *next, vaddr_t start,
                            vaddr_t end, const struct vma_attr *a)
{
    u64 pages = (end - start) >> PAGE_SHIFT;
    bool below = prev && prev->end == start && continues(prev, a, a->pgoff);
    bool above = next && next->start == end && precedes(next, a, a->pgoff, pages);
    if (below)
        vma_resize(prev, prev->start, end);
    if (below && above)
        absorb(mm, prev, next);
    else if (above)
        vma_resize(next, start, next->end);
    struct vma *merged = below ? prev : above ? next : NULL;
    if (merged)
        mm->hint = merged;
    return merged;
}

// What vma_account looks at.
#define ACCOUNTED_FLAGS (VM_ACCOUNT | VM_LOCKED | VM_GROWSDOWN | VM_EXEC | VM_WRITE | VM_SHARED)

static __noinline void set_other_flags(struct mm *mm, struct vma *v, u64 flags)
{
    u64 changed = v->flags ^ flags;
    if (changed & ACCOUNTED_FLAGS) {
        vma_account(mm, v->flags, -vma_pages(v));
        vma_account(mm, flags, vma_pages(v));
    }
    v->flags = flags;
    if (changed & VM_GROWSDOWN)
        gap_changed(v);
}

// The usual mprotect is done here, and calls nothing.
static inline void set_flags(struct mm *mm, struct vma *v, u64 flags)
{
    u64 changed = v->flags ^ flags;
    if (unlikely((changed & ACCOUNTED_FLAGS & ~(u64)VM_WRITE) ||
                 (flags & (VM_GROWSDOWN | VM_EXEC | VM_SHARED)))) {
        set_other_flags(mm, v, flags);
        return;
    }
    if (changed & VM_WRITE)
        mm->n_data_pages += (u64)(flags & VM_WRITE ? vma_pages(v) : -vma_pages(v));
    v->flags = flags;
}

// => false: no memory for the name, nothing changed
static bool set_attributes(struct mm *mm, struct vma *v, const struct vma_attr *a)
{
    char *name = NULL;
    if (!same_name(v->name, a->name)) {
        if (a->name && !(name = kstrdup(a->name)))
            return false;
        kfree(v->name);
        v->name = name;
    }
    set_flags(mm, v, a->flags);
    return true;
}

// The whole VMA gets new attributes: it may join either neighbour.
static struct vma *modify_whole(struct mm *mm, struct vma *v, const struct vma_attr *a)
{
    struct vma *prev = v->prev, *next = v->next;
    bool below = prev && prev->end == v->start && continues(prev, a, a->pgoff);
    bool above = next && next->start == v->end && precedes(next, a, a->pgoff, (u64)vma_pages(v));
    if (!below && !above)
        return set_attributes(mm, v, a) ? v : NULL;
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
    if ((v->backed & VMA_HUGE) && pt_split_edges(mm, start, end))
        return NULL;
    // The part borders on a neighbour that has the new attributes already: the border moves.
    if (v->start == start && v->prev && v->prev->end == start && continues(v->prev, &a, a.pgoff)) {
        struct vma *prev = v->prev;
        prev->backed |= v->backed;
        vma_resize(v, end, v->end);
        vma_resize(prev, prev->start, end);
        return prev;
    }
    if (v->end == end && v->next && v->next->start == end &&
        precedes(v->next, &a, a.pgoff, pages)) {
        struct vma *next = v->next;
        next->backed |= v->backed;
        vma_resize(v, v->start, start);
        vma_resize(next, start, next->end);
        return next;
    }
    struct vma *upper = NULL, *middle = v;
    if ((v->flags & VM_HUGETLB) && !IS_ALIGNED(start | end, HUGE_SIZE))
        return NULL;
    if (mm->n_vmas + (start > v->start) + (end < v->end) > vm_max_map_count)
        return NULL;
    if (end < v->end && !(upper = vma_split(mm, v, end)))
        return NULL;
    if (start > v->start && !(middle = vma_split(mm, v, start))) {
        if (upper)
            absorb(mm, v, upper);
        return NULL;
    }
    // Its neighbours are parts of v, or such that did not match above: nothing to join.
    if (set_attributes(mm, middle, &a))
        return mm->hint = middle;
    if (middle != v)
        absorb(mm, v, middle);
    if (upper)
        absorb(mm, v, upper);
    return NULL;
}
