// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/pte.h: page-table entries (Intel SDM vol. 3A, 4.5; AMD APM vol. 2, 5.3).
//
//   63 62..59 58..52 51......12 11 10 9       8      7    6 5 4   3   2  1  0
//   NX  key     0    frame      s3 s2 special G/none PS   D A PCD PWT US RW P
//
// An entry with a frame but no access right (PROT_NONE over a populated page) has P = 0 and bit 8
// set: the hardware ignores it, pte_present() is true. A software entry has P = 0, bit 8 clear:
//
//   63..61  60..13 (48 bits)  12 .. 4  3..1  0
//     0       value              0     kind  0
#pragma once

#include "core/base.h"

typedef u64 pte_t;

#define PTE_NONE 0ull

#define X86_PTE_P BIT(0)
#define X86_PTE_RW BIT(1)
#define X86_PTE_US BIT(2)
#define X86_PTE_PWT BIT(3)
#define X86_PTE_PCD BIT(4)
#define X86_PTE_A BIT(5)
#define X86_PTE_D BIT(6)
#define X86_PTE_PS BIT(7)
#define X86_PTE_G BIT(8)         // with P
#define X86_PTE_NOACCESS BIT(8)  // without P: a frame that nobody may touch now
#define X86_PTE_SPECIAL BIT(9)
#define X86_PTE_SOFT2 BIT(10)
#define X86_PTE_SOFT3 BIT(11)
#define X86_PTE_KEY_SHIFT 59  // SDM vol. 3A, 4.6.2: looked at when CR4.PKE is set
#define X86_PTE_NX BIT(63)
#define X86_PTE_FRAME 0x000ffffffffff000ull

// The architecture's bits for a set of PTE_* rights.
static inline pte_t x86_pte_bits(unsigned prot)
{
    _Static_assert(PTE_WRITE == X86_PTE_RW && PTE_DIRTY == X86_PTE_D && PTE_EXEC == 4 &&
                       PTE_USER == 8 && PTE_GLOBAL == 16 && PTE_UNCACHED == 32 && PTE_YOUNG == 128,
                   "bits are moved, not tested");
    pte_t p = prot;
    pte_t e = p & (PTE_READ | PTE_WRITE | PTE_EXEC) ? X86_PTE_P | (p & PTE_GLOBAL) << 4
                                                    : X86_PTE_NOACCESS;
    return e | (p & (PTE_WRITE | PTE_DIRTY)) | (~p & PTE_EXEC) << 61 | (p & PTE_USER) >> 1 |
           (p & PTE_YOUNG) >> 2 | (p & PTE_UNCACHED) >> 1 | (p & PTE_UNCACHED) >> 2 |
           (p & PTE_KEY) << (X86_PTE_KEY_SHIFT - PTE_KEY_SHIFT);
}

static inline pte_t pte_make(phys_t pa, unsigned prot) { return pa | x86_pte_bits(prot); }
static inline pte_t pte_make_huge(phys_t pa, unsigned prot)
{
    return pa | x86_pte_bits(prot) | X86_PTE_PS;
}
// Rights are decided by the leaf alone.
static inline pte_t pte_make_table(phys_t table)
{
    return table | X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A;
}

static inline bool pte_is_none(pte_t p) { return p == PTE_NONE; }
static inline bool pte_present(pte_t p) { return (p & (X86_PTE_P | X86_PTE_NOACCESS)) != 0; }
static inline bool pte_is_huge(pte_t p) { return pte_present(p) && (p & X86_PTE_PS); }
static inline bool pte_is_table(pte_t p) { return (p & (X86_PTE_P | X86_PTE_PS)) == X86_PTE_P; }
static inline phys_t pte_phys(pte_t p) { return p & X86_PTE_FRAME; }

static inline unsigned pte_prot(pte_t p)
{
    unsigned prot = (unsigned)(p >> (X86_PTE_KEY_SHIFT - PTE_KEY_SHIFT)) & PTE_KEY;
    if (p & X86_PTE_P) {
        prot |= PTE_READ;
        if (p & X86_PTE_RW)
            prot |= PTE_WRITE;
        if (!(p & X86_PTE_NX))
            prot |= PTE_EXEC;
        if (p & X86_PTE_G)
            prot |= PTE_GLOBAL;
    }
    if (p & X86_PTE_US)
        prot |= PTE_USER;
    if (p & X86_PTE_PCD)
        prot |= PTE_UNCACHED;
    if (p & X86_PTE_D)
        prot |= PTE_DIRTY;
    if (p & X86_PTE_A)
        prot |= PTE_YOUNG;
    return prot;
}

static inline bool pte_writable(pte_t p) { return (p & X86_PTE_RW) != 0; }
static inline bool pte_dirty(pte_t p) { return (p & X86_PTE_D) != 0; }
static inline bool pte_young(pte_t p) { return (p & X86_PTE_A) != 0; }
static inline pte_t pte_mk_clean(pte_t p) { return p & ~X86_PTE_D; }
static inline pte_t pte_mk_dirty(pte_t p) { return p | X86_PTE_D; }
static inline pte_t pte_mk_old(pte_t p) { return p & ~X86_PTE_A; }
static inline pte_t pte_mk_young(pte_t p) { return p | X86_PTE_A; }
static inline bool pte_special(pte_t p) { return (p & X86_PTE_SPECIAL) != 0; }
static inline pte_t pte_mk_special(pte_t p) { return p | X86_PTE_SPECIAL; }
static inline bool pte_soft2(pte_t p) { return (p & X86_PTE_SOFT2) != 0; }
static inline pte_t pte_mk_soft2(pte_t p) { return p | X86_PTE_SOFT2; }
static inline pte_t pte_clear_soft2(pte_t p) { return p & ~X86_PTE_SOFT2; }
#define ARCH_PTE_SOFT3 1
static inline bool pte_soft3(pte_t p) { return (p & X86_PTE_SOFT3) != 0; }
static inline pte_t pte_mk_soft3(pte_t p) { return p | X86_PTE_SOFT3; }

// New rights; the frame, the size, the accessed and dirty flags and the software bits but the third stay.
static inline pte_t pte_rights(unsigned prot) { return x86_pte_bits(prot); }
static inline pte_t pte_set_rights(pte_t p, pte_t rights)
{
    return (p & (X86_PTE_FRAME | X86_PTE_PS | X86_PTE_A | X86_PTE_D | X86_PTE_SPECIAL |
                 X86_PTE_SOFT2)) |
           rights;
}
static inline pte_t pte_with_prot(pte_t p, unsigned prot)
{
    return pte_set_rights(p, pte_rights(prot));
}

// Eight entries, or-ed and and-ed bit by bit, tell of all of them.
static inline bool pte_all_present(pte_t anded) { return pte_present(anded); }

static inline pte_t pte_make_soft(unsigned kind, u64 value)
{
    return (pte_t)kind << 1 | value << 13;
}
static inline bool pte_is_soft(pte_t p) { return p != PTE_NONE && !pte_present(p); }
static inline unsigned pte_soft_kind(pte_t p) { return (p >> 1) & 7; }
static inline u64 pte_soft_value(pte_t p) { return p >> 13; }
