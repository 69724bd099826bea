// SPDX-License-Identifier: BSD-2-Clause
// hugetlb.c: MAP_HUGETLB (mmap(2), proc_sys_vm(5)): memory of 2 MiB pages out of a pool, promised when it is mapped.
//
//          nr_hugepages                     fault
//   buddy <-------------> free (n_free) <-----------> mapped, or in an object
//                          of which n_reserved are promised
//
// Invariants:
//  H1  n_total counts the pages of the pool, n_free those on its list; the others are mapped or in an object.
//  H2  An area without VM_NORESERVE, or an object made for one, holds a reservation for each of its pages. A page that
//      fills one has PG_HUGETLB_KEPT and takes the reservation over; n_reserved counts those without a page, so
//      n_reserved <= n_free. (After a fork, pages of the parent that the child still has may break that for a time:
//      a fault then finds no page, and that is SIGBUS.)
//  H3  The areas have no object if private (the frames are copied on write after a fork, 2 MiB at a time) and an object of head
//      frames by number of 2 MiB if shared. They begin and end at multiples of 2 MiB, never merge, never split inside.
//
// Lock: pool.lock is a leaf, as buddy.lock.
#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

#define PAGES_EACH (1u << PAGE_MAX_ORDER)

static struct {
    struct spinlock lock;
    struct page *free;  // [lock] chained
    u64 n_total, n_free;
    s64 n_reserved;
} pool;

u64 hugetlb_total(void) { return pool.n_total; }
u64 hugetlb_free_count(void) { return pool.n_free; }
u64 hugetlb_reserved_count(void) { return (u64)MAX(pool.n_reserved, 0); }

// => [lock]
static void push_free(struct page *p)
{
    p->link.next = (struct list *)pool.free;
    pool.free = p;
    pool.n_free++;
}

static struct page *pop_free(void)
{
    struct page *p = pool.free;
    pool.free = page_chain_next(p);
    pool.n_free--;
    return p;
}

void hugetlb_resize(u64 wanted)
{
    while (pool.n_total < wanted) {
        struct page *p = page_alloc(PAGE_MAX_ORDER, PAGE_USER);
        if (!p)
            return;
        p->flags = PG_HUGETLB;
        spin_lock(&pool.lock);
        push_free(p);
        pool.n_total++;
        spin_unlock(&pool.lock);
    }
    for (struct page *p = pool.free; p && pool.n_total > wanted;) {
        spin_lock(&pool.lock);
        p = (s64)pool.n_free > pool.n_reserved ? pop_free() : NULL;
        pool.n_total -= p != NULL;
        spin_unlock(&pool.lock);
        if (p) {
            p->flags = 0;
            page_free(p, PAGE_MAX_ORDER);
        }
    }
}

void hugetlb_init(void)
{
    char text[24];
    if (cmdline_get("hugepages", text, sizeof text))
        hugetlb_resize(strtoull(text, NULL, 0));
}

bool hugetlb_reserve(size_t len)
{
    s64 n = (s64)(len >> HUGE_SHIFT);
    spin_lock(&pool.lock);
    bool ok = pool.n_reserved + n <= (s64)pool.n_free;
    if (ok)
        pool.n_reserved += n;
    spin_unlock(&pool.lock);
    return ok;
}

static void add_reserved(s64 n)
{
    spin_lock(&pool.lock);
    pool.n_reserved += n;
    spin_unlock(&pool.lock);
}

void hugetlb_unreserve(size_t len) { add_reserved(-(s64)(len >> HUGE_SHIFT)); }

void hugetlb_account_area(u64 vm_flags, s64 pages)
{
    if (!(vm_flags & (VM_SHARED | VM_NORESERVE)))
        add_reserved(pages / (s64)PAGES_EACH);
}

// promised: the page fills a reservation. => NULL: the pool is empty, or promised to others
static struct page *take_page(bool promised)
{
    struct page *p = NULL;
    spin_lock(&pool.lock);
    if ((s64)pool.n_free > (promised ? 0 : pool.n_reserved)) {
        p = pop_free();
        pool.n_reserved -= promised;
    }
    spin_unlock(&pool.lock);
    if (p) {
        p->flags = promised ? PG_HUGETLB | PG_HUGETLB_KEPT : PG_HUGETLB;
        p->refcount = 1;
        p->mapcount = p->aux = 0;
    }
    return p;
}

void hugetlb_free_last(struct page *p)
{
    spin_lock(&pool.lock);
    pool.n_reserved += (p->flags & PG_HUGETLB_KEPT) != 0;
    p->flags = PG_HUGETLB;
    push_free(p);
    spin_unlock(&pool.lock);
}

// ---- shared memory

static void release_object(struct vm_object *obj)
{
    if (obj->flags & VMO_COMMITTED)
        hugetlb_unreserve(obj->size_bytes);
    kfree(obj);
}
static const struct vm_object_ops object_ops = {.release = release_object};

struct vm_object *hugetlb_create_object(size_t len, bool promised)
{
    struct vm_object *obj = kmalloc(sizeof *obj);
    if (!obj)
        return NULL;
    vm_object_init(obj, &object_ops, VMO_ANON | VMO_HUGETLB, len);
    if (promised && hugetlb_reserve(len))
        obj->flags |= VMO_COMMITTED;
    else if (promised) {
        kfree(obj);
        return NULL;
    }
    return obj;
}

// The page at index in the object, with a reference; NULL: there is none to be had.
static struct page *object_page(struct vm_object *obj, u64 index)
{
    for (;;) {
        struct page *p = vm_object_find(obj, index);
        if (p || !(p = take_page(obj->flags & VMO_COMMITTED)))
            return p;
        arch_clear_pages(page_address(p), PAGES_EACH);
        page_get(p);  // the object's
        if (!vm_object_insert(obj, index, p))
            return p;
        page_put(p);  // another thread was faster, or no memory for the tree
        page_put(p);
        if (!(p = vm_object_find(obj, index)))
            return NULL;
        page_put(p);
    }
}

// ---- faults

static bool install(struct mm *mm, vaddr_t va, pte_t *slot, struct page *p, unsigned prot)
{
    if (pt_fill(mm, va, slot, pte_make_huge(page_to_phys(p), prot | PTE_YOUNG | PTE_DIRTY)))
        return true;
    page_put(p);
    return false;
}

// A write to a page that is mapped without the right. => as hugetlb_fault
static enum fault_kind write_mapped(struct mm *mm, const struct vma *v, pte_t *slot, pte_t e,
                                    vaddr_t addr)
{
    struct page *old = phys_to_page(pte_phys(e));
    unsigned prot = pt_prot_of(v->flags);
    if ((v->flags & VM_SHARED) || atomic_load(&old->refcount) == 1) {
        pte_replace(slot, e, pte_mk_dirty(pte_mk_young(pte_with_prot(e, prot))));
        arch_tlb_flush_page(addr);
        return FK_OK;
    }
    struct page *p = take_page(false);
    if (!p)
        return FK_SIGBUS;
    for (unsigned i = 0; i < PAGES_EACH; i++)
        arch_copy_page(page_address(p + i), page_address(old + i));
    pte_t new = pte_make_huge(page_to_phys(p), prot | PTE_YOUNG | PTE_DIRTY);
    page_put(pt_change_frame(mm, addr, slot, e, new) ? old : p);
    return FK_OK;
}

enum fault_kind hugetlb_fault(struct mm *mm, struct vma *v, vaddr_t addr, bool write)
{
    atomic_fetch_or(&v->backed, VMA_TOUCHED | VMA_HUGE);
    vaddr_t base = ALIGN_DOWN(addr, HUGE_SIZE);
    pte_t *slot = pt_make_level1(mm, addr);
    if (!slot)
        return FK_OOM;
    pte_t e = READ_ONCE(*slot);
    if (!pte_is_none(e)) {
        if (write && !pte_writable(e))
            return write_mapped(mm, v, slot, e, addr);
        pte_touch(slot, e, write);
        arch_tlb_flush_page(addr);
        return FK_OK;
    }
    struct page *p;
    if (v->object) {
        p = object_page(v->object, (v->pgoff + ((base - v->start) >> PAGE_SHIFT)) / PAGES_EACH);
    } else {
        p = take_page(!(v->flags & VM_NORESERVE));
        if (p)
            arch_clear_pages(page_address(p), PAGES_EACH);
    }
    if (!p)
        return FK_SIGBUS;
    if (install(mm, addr, slot, p, pt_prot_of(v->flags)))
        atomic_add(&mm->n_hugetlb, 1);
    return FK_OK;
}
