// SPDX-License-Identifier: BSD-2-Clause
// object_clean.c: making mapped pages clean again, for objects whose pages live on a disk.
//
// An entry is writable only while its page is dirty (fault.c: page_dirtied). To write a page back, its PG_DIRTY goes first and
// then the right to write: what is written through an old entry meanwhile is in the page before it is read for the disk, and a
// write after that faults and makes the page dirty anew.
#include "mm/mm_internal.h"
#include "mm/object.h"
#include "mm/pagetable.h"

struct protect {
    struct pt_walk walk;
    struct vm_object *obj;
    u64 first, last;
    unsigned prot;
    bool changed;
};

static void protect_run(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    struct protect *p = container_of(w, struct protect, walk);
    for (; start < end; start += PAGE_SIZE, slot++) {
        pte_t e = READ_ONCE(*slot);
        while (pte_present(e) && pte_writable(e) && !pte_special(e)) {
            if (pte_replace(slot, e, pte_with_prot(e, p->prot))) {
                p->changed = true;
                break;
            }
            e = READ_ONCE(*slot);
        }
    }
}

static bool protect_huge(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end)
{
    return false;
}

static void protect_in(struct mm *mm, void *arg)
{
    struct protect *p = arg;
    rwlock_write(&mm->lock);
    for (struct vma *v = mm->first; v; v = v->next) {
        u64 pages = (v->end - v->start) >> PAGE_SHIFT;
        if (v->object != p->obj || !(v->flags & VM_SHARED) || v->pgoff > p->last ||
            v->pgoff + pages <= p->first)
            continue;
        u64 from = MAX(p->first, v->pgoff) - v->pgoff, to = MIN(p->last - v->pgoff, pages - 1);
        vaddr_t start = v->start + (from << PAGE_SHIFT), end = v->start + ((to + 1) << PAGE_SHIFT);
        p->prot = pt_prot_of(v->flags) & ~(unsigned)PTE_WRITE;
        p->changed = false;
        pt_walk(mm, &p->walk, start, end);
        if (p->changed)
            tlb_flush_range(mm, start, end);
    }
    rwlock_write_done(&mm->lock);
}

void vm_object_write_protect(struct vm_object *obj, u64 first, u64 last)
{
    if (list_empty(&obj->mappings))
        return;
    struct protect p = {
        .walk = {.run = protect_run, .huge = protect_huge},
        .obj = obj,
        .first = first,
        .last = last,
    };
    vm_object_each_mm(obj, protect_in, &p);
}
