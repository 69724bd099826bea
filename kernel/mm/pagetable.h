// SPDX-License-Identifier: BSD-2-Clause
// pagetable.h: the one radix walker over the page tables of an address space (mm/pagetable.c).
#pragma once

#include "arch/pte.h"
#include "core/cpu.h"
#include "core/log.h"
#include "mm/mm.h"
#include "mm/tlb.h"

// What a not-present entry can remember (pte_make_soft).
enum pte_soft_kinds {
    SOFT_GUARD = 1,   // MADV_GUARD_INSTALL: SIGSEGV
    SOFT_POISON = 2,  // the frame went bad: SIGBUS, BUS_MCEERR_AR
};

// The mark of invariant P7 (pagetable.c).
static inline bool pte_exclusive(pte_t e) { return pte_soft2(e); }
// The hardware has nothing left to set in it (pagetable.c, "Changing entries").
static inline bool pte_settled(pte_t e) { return pte_dirty(e) && pte_young(e); }
static inline pte_t pte_mk_exclusive(pte_t e) { return pte_mk_soft2(e); }

// The mark of invariant P9 (pagetable.c).
static inline bool pte_unchanged(pte_t e) { return pte_soft3(e); }

static inline pte_t *pte_table(pte_t entry) { return phys_to_virt(pte_phys(entry)); }

// Invariant P8: before an entry of the level 0 table behind level1 is filled for va.
#define PT_GROUP 16
static inline void pt_note_used(pte_t level1, vaddr_t va)
{
    struct page *table = phys_to_page(pte_phys(level1));
    u32 bit = 1u << (pt_index(va, 0) / PT_GROUP);
    if (unlikely(!(READ_ONCE(table->aux) & bit)))
        atomic_fetch_or(&table->aux, bit);
}

// The slot that maps va at level 0, or the level 1 slot when va lies in a 2 MiB leaf (*level tells).
// => NULL when no table reaches va. mm->lock held (read suffices).
pte_t *pt_lookup(struct mm *mm, vaddr_t va, int *level);
// The level 1 slot of va; missing tables above it are made. => NULL: no memory.
pte_t *pt_make_level1(struct mm *mm, vaddr_t va);
// Turns an empty level 1 slot into a table, if nobody else did. => false: no memory
bool pt_make_table(struct mm *mm, pte_t *level1);
// What must come before an empty level 0 or 1 entry that maps va is filled: see n_zapping in mm.h.
static inline void pt_before_fill(struct mm *mm, vaddr_t va, const pte_t *slot)
{
    if (ARCH_BREAK_BEFORE_MAKE && pte_is_none(atomic_load(slot)) &&
        unlikely(atomic_load(&mm->n_zapping)))
        tlb_flush_page(mm, va);
}
// Who takes entries away with mm->lock held for reading only says so before, and when the flush is done.
static inline void pt_zap_begin(struct mm *mm)
{
    if (ARCH_BREAK_BEFORE_MAKE && n_cpus > 1)
        atomic_add(&mm->n_zapping, 1);
}
static inline void pt_zap_end(struct mm *mm)
{
    if (ARCH_BREAK_BEFORE_MAKE && n_cpus > 1)
        atomic_sub(&mm->n_zapping, 1);
}

// pt_make_level1 and a table in it: the level 0 slot. A 2 MiB leaf in the way: NULL with *huge set.
pte_t *pt_make_slot(struct mm *mm, vaddr_t va, bool *huge);

// A step that ARCH_BREAK_BEFORE_MAKE forbids: from an entry that a CPU may hold to a usable one of another frame.
static inline bool pte_makes_before_break(pte_t e, pte_t new)
{
    return ARCH_BREAK_BEFORE_MAKE && pte_present(e) && pte_young(e) && (pte_prot(e) & PTE_READ) &&
           pte_present(new) && (pte_prot(new) & PTE_READ) && pte_phys(e) != pte_phys(new);
}

// Installs new where expected is; false when the entry changed meanwhile.
static inline bool pte_replace(pte_t *slot, pte_t expected, pte_t new)
{
    KCHECK(!pte_makes_before_break(expected, new));
    return atomic_cmpxchg(slot, &expected, new);
}

// Fills an empty entry; false when it is not empty (any more).
static inline bool pt_fill(struct mm *mm, vaddr_t va, pte_t *slot, pte_t new)
{
    pt_before_fill(mm, va, slot);
    return pte_replace(slot, PTE_NONE, new);
}

// Replaces a present entry by one for another frame, everywhere at once: no CPU can use the new one while another may still
// hold the old one's translation, or what is written to the new frame would not be seen by who has read the old. Until then
// accesses fault, and are repeated. => false: the entry changed meanwhile; mm->lock held (read suffices)
bool pt_change_frame(struct mm *mm, vaddr_t va, pte_t *slot, pte_t e, pte_t new);

// Sets the flags of a present entry that some CPUs leave to the fault handler.
static inline void pte_touch(pte_t *slot, pte_t e, bool write)
{
    pte_t new = write ? pte_mk_dirty(pte_mk_young(e)) : pte_mk_young(e);
    if (new != e)
        pte_replace(slot, e, new);
}

// One walk over [start, end): run for the level 0 entries of one table at a time, huge for a 2 MiB leaf
// (possibly covered in part), hole for a stretch without any table (optional).
// huge returns true when it put a table in place of the leaf: run follows.
struct pt_walk {
    void (*run)(struct pt_walk *w, pte_t *slots, vaddr_t start, vaddr_t end);
    bool (*huge)(struct pt_walk *w, pte_t *slot, vaddr_t start, vaddr_t end);
    void (*hole)(struct pt_walk *w, vaddr_t start, vaddr_t end);
    bool stop;  // set by a callback: leave the walk
};
void pt_walk(struct mm *mm, struct pt_walk *w, vaddr_t start, vaddr_t end);

void pt_init(void);
// Rights of a present entry for a VMA with these flags.
// mmap(2): PROT_WRITE and PROT_EXEC imply that the page can be read, as the hardware has it.
static inline unsigned pt_prot_of(u64 vm_flags)
{
    _Static_assert((int)VM_READ == PTE_READ && (int)VM_WRITE == PTE_WRITE &&
                       (int)VM_EXEC == PTE_EXEC,
                   "the same bits");
    return (unsigned)(vm_flags & 7) | ((vm_flags & 6) != 0) | PTE_USER |
           ((unsigned)(vm_flags >> (VM_PKEY_SHIFT - PTE_KEY_SHIFT)) & PTE_KEY);
}

// The entry in a level 1 slot, once nobody is splitting it: invariant P10 (pagetable.c).
static inline bool pte_is_splitting(pte_t e)
{
    return ARCH_BREAK_BEFORE_MAKE && pte_is_huge(e) && pte_exclusive(e);
}
static inline pte_t pt_read_level1(const pte_t *slot)
{
    pte_t e = READ_ONCE(*slot);
    while (unlikely(pte_is_splitting(e))) {
        cpu_relax_poll();
        e = READ_ONCE(*slot);
    }
    return e;
}

// Replaces a 2 MiB leaf by a table with the same translations. => false: no memory, nothing changed
bool pt_split_huge(struct mm *mm, pte_t *level1, vaddr_t va);
// Splits 2 MiB leaves that start or end cuts. => -ENOMEM
int pt_split_edges(struct mm *mm, vaddr_t start, vaddr_t end);

enum pt_zap_mode {
    ZAP_UNMAP,    // everything goes; mm->lock held for writing
    ZAP_DISCARD,  // guard and poison entries stay; mm->lock held for reading at least
    ZAP_CACHED,   // only page-cache frames (a punched hole): private copies stay
};
// Clears the entries of [start, end) into the gather.
void pt_zap(struct tlb_gather *g, vaddr_t start, vaddr_t end, enum pt_zap_mode mode);
// Clears the entries of [start, end) into the gather and frees the tables that serve only [floor, ceiling), where no
// VMA lies any more. => mm->lock held for writing; the edges cut no 2 MiB leaf. true: a table stays for a neighbour,
// which must be VMA_TOUCHED from now on so that the table goes with it
bool pt_unmap(struct tlb_gather *g, vaddr_t start, vaddr_t end, vaddr_t floor, vaddr_t ceiling);

// Gives the present entries of [start, end) the rights of the VMA; write only where nothing needs a
// fault (exclusive anonymous frames). What must be flushed is added to changed. => mm->lock held for writing
void pt_protect(struct mm *mm, const struct vma *vma, vaddr_t start, vaddr_t end,
                struct tlb_range *changed);
void pt_protect_page(struct mm *mm, const struct vma *vma, vaddr_t va, struct tlb_range *changed);
// Copies a private VMA's entries for fork, write-protecting both sides. => -ENOMEM
int pt_copy(struct tlb_gather *from, struct mm *to, const struct vma *vma);
// /proc/PID/clear_refs, 4: marks what is mapped in [start, end) as unchanged from now on (P9). => mm->lock held for writing
void pt_mark_unchanged(struct tlb_gather *g, vaddr_t start, vaddr_t end);
// Moves entries (mremap). The target's tables are made first, so -ENOMEM leaves the source whole.
int pt_move(struct tlb_gather *g, vaddr_t from, vaddr_t to, size_t len);

void pt_verify(struct mm *mm);
