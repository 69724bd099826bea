// SPDX-License-Identifier: BSD-2-Clause
// arch/pte.h (contract 2 of 8): page-table entries.
//
// Both architectures have 4-level radix tables of 512 eight-byte entries: level 3 is the root,
// level 0 holds 4 KiB pages, level 1 may hold 2 MiB pages, level 2 1 GiB pages (kernel only).
// kernel/arch/<arch>/include/arch_impl/pte.h supplies:
//     typedef u64 pte_t;  PTE_NONE (0) is an empty entry; hardware never uses a software entry.
//     enum pte_prot bits: PROT bits below, architecture-independent.
//     pte_t pte_make(phys_t pa, unsigned prot)         a 4 KiB leaf
//     pte_t pte_make_huge(phys_t pa, unsigned prot)    a 2 MiB leaf (level 1) or 1 GiB leaf (level 2)
//     pte_t pte_make_table(phys_t table)
//     bool pte_is_none(p), pte_present(p), pte_is_huge(p) (leaf at level >= 1), pte_is_table(p)
//     phys_t pte_phys(p); unsigned pte_prot(p)
//     bool pte_writable(p), pte_dirty(p), pte_young(p)
//     pte_t pte_rights(prot), pte_set_rights(p, rights): a set of rights once worked out, for many entries
//     bool pte_all_present(and of entries): true only if all of them are present
//     An entry that is not present is never dirty, young or writable.
//     pte_t pte_with_prot(p, prot), pte_mk_clean(p), pte_mk_old(p), pte_mk_dirty(p), pte_mk_young(p)
//     Software entries (not present), to remember things in an empty slot:
//     pte_t pte_make_soft(unsigned kind, u64 value)    kind 1..7, value < 2^48
//     bool pte_is_soft(p); unsigned pte_soft_kind(p); u64 pte_soft_value(p)
//     One software bit in present entries: pte_special(p), pte_mk_special(p) (see mm/pagetable.h)
//     and a second: pte_soft2(p), pte_mk_soft2(p), pte_clear_soft2(p).
//     An architecture that has a third to spare defines ARCH_PTE_SOFT3 as 1: pte_soft3(p), pte_mk_soft3(p); any change
//     of rights takes it away.
#pragma once

#include "core/base.h"

enum pte_prot_bits {
    PTE_READ = 1,
    PTE_WRITE = 2,
    PTE_EXEC = 4,
    PTE_USER = 8,
    PTE_GLOBAL = 16,
    PTE_UNCACHED = 32,
    PTE_DIRTY = 64,   // preset the dirty flag
    PTE_YOUNG = 128,  // preset the accessed flag
    PTE_KEY =
        0xf00,  // the protection key (pkeys(7)), 0 unless arch_n_pkeys() says that there are some
};
#define PTE_KEY_SHIFT 8

#include "arch_impl/pte.h"

#ifndef ARCH_PTE_SOFT3
#define ARCH_PTE_SOFT3 0
static inline bool pte_soft3(pte_t p) { return false; }
static inline pte_t pte_mk_soft3(pte_t p) { return p; }
#endif

#define PT_ENTRIES 512
#define PT_LEVELS 4
#define PT_SHIFT(level) (PAGE_SHIFT + 9 * (level))
#define PT_SPAN(level) ((u64)1 << PT_SHIFT(level))  // bytes that one entry of the level covers
static inline unsigned pt_index(vaddr_t va, int level)
{
    return (va >> PT_SHIFT(level)) & (PT_ENTRIES - 1);
}
