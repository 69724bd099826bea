// SPDX-License-Identifier: BSD-2-Clause
// A page-table entry like no real CPU's: frame in the low bits, flags on top, so that code which shifts entries by
// hand instead of using the constructors fails the tests.
//
//   63 V present  62 R  61 W  60 X  59 U  58 A  57 D  56 huge  55 table  54 special  53 soft2  52 G  51 C
//   47..0 frame number (not address), plus 1 so that frame 0 differs from an empty entry
//   software entry: bit 50 set, kind in 49..48 (3 values), value in 47..0
#pragma once

#include "core/base.h"

typedef u64 pte_t;
#define PTE_NONE 0ull

#define FK_V BIT(63)
#define FK_R BIT(62)
#define FK_W BIT(61)
#define FK_X BIT(60)
#define FK_U BIT(59)
#define FK_A BIT(58)
#define FK_D BIT(57)
#define FK_HUGE BIT(56)
#define FK_TABLE BIT(55)
#define FK_SPECIAL BIT(54)
#define FK_SOFT2 BIT(53)
#define FK_G BIT(52)
#define FK_C BIT(51)
#define FK_SOFT BIT(50)
#define FK_FRAME (BIT(48) - 1)

static inline pte_t fake_bits(unsigned prot)
{
    pte_t e = FK_V;
    e |= prot & (PTE_READ | PTE_WRITE | PTE_EXEC) ? FK_R : 0;
    e |= prot & PTE_WRITE ? FK_W : 0;
    e |= prot & PTE_EXEC ? FK_X : 0;
    e |= prot & PTE_USER ? FK_U : 0;
    e |= prot & PTE_DIRTY ? FK_D : 0;
    e |= prot & PTE_YOUNG ? FK_A : 0;
    return e;
}
static inline pte_t pte_make(phys_t pa, unsigned prot)
{
    return ((pa >> 12) + 1) | fake_bits(prot);
}
static inline pte_t pte_make_huge(phys_t pa, unsigned prot) { return pte_make(pa, prot) | FK_HUGE; }
static inline pte_t pte_make_table(phys_t pa) { return ((pa >> 12) + 1) | FK_V | FK_TABLE; }
static inline bool pte_is_none(pte_t p) { return p == PTE_NONE; }
static inline bool pte_present(pte_t p) { return (p & FK_V) != 0; }
static inline bool pte_is_huge(pte_t p) { return (p & FK_HUGE) != 0; }
static inline bool pte_is_table(pte_t p) { return (p & FK_TABLE) != 0; }
static inline phys_t pte_phys(pte_t p) { return ((p & FK_FRAME) - 1) << 12; }
static inline unsigned pte_prot(pte_t p)
{
    return (p & FK_R ? PTE_READ : 0u) | (p & FK_W ? PTE_WRITE : 0u) | (p & FK_X ? PTE_EXEC : 0u) |
           (p & FK_U ? PTE_USER : 0u) | (p & FK_D ? PTE_DIRTY : 0u) | (p & FK_A ? PTE_YOUNG : 0u);
}
static inline bool pte_writable(pte_t p) { return (p & FK_W) != 0; }
static inline bool pte_dirty(pte_t p) { return (p & FK_D) != 0; }
static inline bool pte_young(pte_t p) { return (p & FK_A) != 0; }
static inline pte_t pte_mk_clean(pte_t p) { return p & ~FK_D; }
static inline pte_t pte_mk_dirty(pte_t p) { return p | FK_D; }
static inline pte_t pte_mk_old(pte_t p) { return p & ~FK_A; }
static inline pte_t pte_mk_young(pte_t p) { return p | FK_A; }
static inline pte_t pte_rights(unsigned prot) { return fake_bits(prot); }
static inline pte_t pte_set_rights(pte_t p, pte_t rights)
{
    return (p & (FK_FRAME | FK_HUGE | FK_A | FK_D | FK_SPECIAL | FK_SOFT2)) | rights;
}
static inline pte_t pte_with_prot(pte_t p, unsigned prot)
{
    return pte_set_rights(p, fake_bits(prot));
}
static inline bool pte_all_present(pte_t anded) { return pte_present(anded); }
static inline pte_t pte_make_soft(unsigned kind, u64 value)
{
    return FK_SOFT | (u64)kind << 48 | value;
}
static inline bool pte_is_soft(pte_t p) { return (p & FK_SOFT) != 0; }
static inline unsigned pte_soft_kind(pte_t p) { return (p >> 48) & 3; }
static inline u64 pte_soft_value(pte_t p) { return p & FK_FRAME; }
static inline bool pte_special(pte_t p) { return (p & FK_SPECIAL) != 0; }
static inline pte_t pte_mk_special(pte_t p) { return p | FK_SPECIAL; }
static inline bool pte_soft2(pte_t p) { return (p & FK_SOFT2) != 0; }
static inline pte_t pte_mk_soft2(pte_t p) { return p | FK_SOFT2; }
static inline pte_t pte_clear_soft2(pte_t p) { return p & ~FK_SOFT2; }
