// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/pte.h: descriptors of translation stage 1, 4 KiB granule (DDI 0487, D8.3).
//
//   63..59 58   57   56      55    54  53  52  51  50 49 48 47....12 11 10 9 8 7  6  5 4..2 1    0
//   -      none soft special dirty UXN PXN 0   DBM GP 0     frame    nG AF  SH RO EL0 - attr leaf valid
//
// bit 1 is 1 for a table and for a 4 KiB page, 0 for a larger block. DBM says that the page may be written.
// Dirty is a flag of ours, or DBM with RO clear: a CPU that keeps dirty flags (FEAT_HAFDBS) clears RO on the
// first write to a clean page; on others that write faults, and the fault sets the flag. So:
//
//   I1. RO is clear  =>  DBM is set, and the page is dirty.
//   I2. Entries made here have RO clear exactly when DBM and dirty are set.
//
// An entry with a frame but no access right (PROT_NONE over a populated page) has bit 0 clear and "none" set.
// A software entry has both clear; none of its bits is one of AF, DBM, dirty:
//
//   63..61  50 .. 11            8 .. 1
//   kind    value, low 40 bits  value, high 8 bits
#pragma once

#include "core/base.h"

typedef u64 pte_t;

#define PTE_NONE 0ull

#define A64_PTE_VALID BIT(0)
#define A64_PTE_PAGE BIT(1)  // or table
#define A64_PTE_DEVICE BIT(2)
#define A64_PTE_EL0 BIT(6)
#define A64_PTE_RO BIT(7)
#define A64_PTE_SHARED (3ull << 8)  // inner shareable
#define A64_PTE_AF BIT(10)
#define A64_PTE_NG BIT(11)
#define A64_PTE_GUARDED BIT(50)  // indirect branches into it end at landing pads
#define A64_PTE_DBM BIT(51)
#define A64_KEY_GUARDED \
    (1u << PTE_KEY_SHIFT)  // as the contract has it: a protection key (arch_impl/mmu.h)
#define A64_PTE_PXN BIT(53)
#define A64_PTE_UXN BIT(54)
#define A64_PTE_DIRTY BIT(55)
#define A64_PTE_SPECIAL BIT(56)
#define A64_PTE_SOFT2 BIT(57)
#define A64_PTE_NOACCESS BIT(58)
#define A64_TABLE_PXN BIT(59)  // in a table's entry: nothing below it is executable for the kernel
#define A64_PTE_FRAME 0x0000fffffffff000ull

// I2, for an entry whose DBM and dirty bits are right.
static inline pte_t a64_settle(pte_t p)
{
    return (p & ~A64_PTE_RO) | (~(p >> 51 & p >> 55) & 1) << 7;
}

// The dirty flag in its place, whoever has set it.
static inline pte_t a64_dirty_bit(pte_t p)
{
    return (p & A64_PTE_DIRTY) | (p >> 51 & ~(p >> 7) & 1) << 55;
}

// The architecture's bits for a set of PTE_* rights, not settled.
static inline pte_t a64_pte_bits(unsigned prot)
{
    pte_t e = prot & (PTE_READ | PTE_WRITE | PTE_EXEC) ? A64_PTE_VALID : A64_PTE_NOACCESS;
    e |= A64_PTE_SHARED;
    if (prot & PTE_WRITE)
        e |= A64_PTE_DBM;
    if (prot & PTE_DIRTY)
        e |= A64_PTE_DIRTY;
    if (prot & PTE_YOUNG)
        e |= A64_PTE_AF;
    if (prot & PTE_USER)
        e |= A64_PTE_EL0 | A64_PTE_PXN | (prot & PTE_EXEC ? 0 : A64_PTE_UXN);
    else
        e |= A64_PTE_UXN | (prot & PTE_EXEC ? 0 : A64_PTE_PXN);
    if (!(prot & PTE_GLOBAL))
        e |= A64_PTE_NG;
    if (prot & PTE_UNCACHED)
        e |= A64_PTE_DEVICE;
    if (prot & A64_KEY_GUARDED)
        e |= A64_PTE_GUARDED;
    return e;
}

static inline pte_t pte_make_huge(phys_t pa, unsigned prot)
{
    return a64_settle(pa | a64_pte_bits(prot));
}
static inline pte_t pte_make(phys_t pa, unsigned prot)
{
    return pte_make_huge(pa, prot) | A64_PTE_PAGE;
}
// Rights are decided by the leaf alone.
static inline pte_t pte_make_table(phys_t table) { return table | A64_PTE_VALID | A64_PTE_PAGE; }

static inline bool pte_is_none(pte_t p) { return p == PTE_NONE; }
static inline bool pte_present(pte_t p) { return (p & (A64_PTE_VALID | A64_PTE_NOACCESS)) != 0; }
static inline bool pte_is_huge(pte_t p) { return pte_present(p) && !(p & A64_PTE_PAGE); }
static inline bool pte_is_table(pte_t p)
{
    return (p & (A64_PTE_VALID | A64_PTE_PAGE)) == (A64_PTE_VALID | A64_PTE_PAGE);
}
static inline phys_t pte_phys(pte_t p) { return p & A64_PTE_FRAME; }
static inline bool pte_writable(pte_t p) { return (p & A64_PTE_DBM) != 0; }
static inline bool pte_dirty(pte_t p) { return a64_dirty_bit(p) != 0; }
static inline bool pte_young(pte_t p) { return (p & A64_PTE_AF) != 0; }

static inline unsigned pte_prot(pte_t p)
{
    unsigned prot = 0;
    bool user = (p & A64_PTE_EL0) != 0;
    if (p & A64_PTE_VALID) {
        prot |= PTE_READ;
        if (pte_writable(p))
            prot |= PTE_WRITE;
        if (!(p & (user ? A64_PTE_UXN : A64_PTE_PXN)))
            prot |= PTE_EXEC;
        if (!(p & A64_PTE_NG))
            prot |= PTE_GLOBAL;
    }
    if (user)
        prot |= PTE_USER;
    if (p & A64_PTE_DEVICE)
        prot |= PTE_UNCACHED;
    if (p & A64_PTE_GUARDED)
        prot |= A64_KEY_GUARDED;
    if (pte_dirty(p))
        prot |= PTE_DIRTY;
    if (pte_young(p))
        prot |= PTE_YOUNG;
    return prot;
}

static inline pte_t pte_mk_clean(pte_t p) { return (p & ~A64_PTE_DIRTY) | A64_PTE_RO; }
static inline pte_t pte_mk_dirty(pte_t p) { return a64_settle(p | A64_PTE_DIRTY); }
static inline pte_t pte_mk_old(pte_t p) { return p & ~A64_PTE_AF; }
static inline pte_t pte_mk_young(pte_t p) { return p | A64_PTE_AF; }
static inline bool pte_special(pte_t p) { return (p & A64_PTE_SPECIAL) != 0; }
static inline pte_t pte_mk_special(pte_t p) { return p | A64_PTE_SPECIAL; }
static inline bool pte_soft2(pte_t p) { return (p & A64_PTE_SOFT2) != 0; }
static inline pte_t pte_mk_soft2(pte_t p) { return p | A64_PTE_SOFT2; }
static inline pte_t pte_clear_soft2(pte_t p) { return p & ~A64_PTE_SOFT2; }

// New rights; the frame, the size, the accessed and dirty flags and the software bits stay.
static inline pte_t pte_rights(unsigned prot) { return a64_pte_bits(prot); }
static inline pte_t pte_set_rights(pte_t p, pte_t rights)
{
    pte_t kept = p & (A64_PTE_FRAME | A64_PTE_PAGE | A64_PTE_AF | A64_PTE_SPECIAL | A64_PTE_SOFT2);
    return a64_settle(kept | a64_dirty_bit(p) | rights);
}
static inline pte_t pte_with_prot(pte_t p, unsigned prot)
{
    return pte_set_rights(p, pte_rights(prot));
}

// Eight entries, or-ed and and-ed bit by bit, tell of all of them.
static inline bool pte_all_present(pte_t anded) { return pte_present(anded); }

static inline pte_t pte_make_soft(unsigned kind, u64 value)
{
    return (pte_t)kind << 61 | (value & (BIT(40) - 1)) << 11 | (value >> 40) << 1;
}
static inline bool pte_is_soft(pte_t p) { return p != PTE_NONE && !pte_present(p); }
static inline unsigned pte_soft_kind(pte_t p) { return (unsigned)(p >> 61); }
static inline u64 pte_soft_value(pte_t p)
{
    return (p >> 11 & (BIT(40) - 1)) | (p >> 1 & 0xff) << 40;
}
