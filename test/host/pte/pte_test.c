// SPDX-License-Identifier: BSD-2-Clause
// The contract of page-table entries (arch/pte.h), on the entries of one architecture: compiled once for each of them.
#include <stdio.h>
#include <stdlib.h>

#include "arch/pte.h"

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            printf("FAIL host/pte %s: %s (prot %#x)\n", ARCH_NAME, #condition, now_prot); \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

static unsigned now_prot;
#define KEY_1 \
    (1u << PTE_KEY_SHIFT)  // the lowest bit of the protection key, which aarch64 guards pages with

#define ACCESS (PTE_READ | PTE_WRITE | PTE_EXEC)
static const phys_t frames[] = {0, 0x1000, 0x40200000, 0x3fffffffe000, 0x123456789000};

// What an entry must say of itself, whatever led to it.
static void check_entry(pte_t e, phys_t pa, unsigned prot, bool huge)
{
    CHECK(!pte_is_none(e) && pte_present(e) && !pte_is_soft(e));
    CHECK(pte_phys(e) == pa);
    CHECK(pte_is_huge(e) == huge);
    CHECK(!huge || !pte_is_table(e));
    CHECK(!pte_dirty(e) == !(prot & PTE_DIRTY));
    CHECK(!pte_young(e) == !(prot & PTE_YOUNG));
    if (prot & ACCESS)
        CHECK(!pte_writable(e) == !(prot & PTE_WRITE));
    CHECK((pte_prot(e) & (PTE_DIRTY | PTE_YOUNG | PTE_USER | KEY_1)) ==
          (prot & (PTE_DIRTY | PTE_YOUNG | PTE_USER | KEY_1)));
    CHECK((pte_prot(e) & ACCESS) == (prot & ACCESS));
}

static void check_flags(pte_t e, phys_t pa, unsigned prot, bool huge)
{
    check_entry(pte_mk_dirty(e), pa, prot | PTE_DIRTY, huge);
    check_entry(pte_mk_clean(e), pa, prot & ~PTE_DIRTY, huge);
    check_entry(pte_mk_young(e), pa, prot | PTE_YOUNG, huge);
    check_entry(pte_mk_old(e), pa, prot & ~PTE_YOUNG, huge);
    CHECK(pte_mk_dirty(pte_mk_clean(pte_mk_dirty(e))) == pte_mk_dirty(e));
    CHECK(!pte_special(e) && !pte_soft2(e));
    CHECK(pte_special(pte_mk_special(e)) && pte_soft2(pte_mk_soft2(e)));
    CHECK(pte_clear_soft2(pte_mk_soft2(e)) == e);
    check_entry(pte_mk_special(pte_mk_soft2(e)), pa, prot, huge);
}

// mprotect: new rights, all else stays.
static void check_rights(pte_t e, phys_t pa, unsigned prot, bool huge)
{
    pte_t marked = pte_mk_special(pte_mk_soft2(e));
    for (unsigned access = 0; access <= ACCESS; access++) {
        unsigned new = access ? access | PTE_READ | PTE_USER : PTE_USER;
        unsigned want = new | (prot & (PTE_DIRTY | PTE_YOUNG));
        pte_t changed = pte_with_prot(marked, new);
        check_entry(changed, pa, want, huge);
        CHECK(pte_special(changed) && pte_soft2(changed));
        CHECK(pte_set_rights(marked, pte_rights(new)) == changed);
        check_entry(pte_with_prot(changed, prot & ~(PTE_DIRTY | PTE_YOUNG)), pa, prot, huge);
    }
}

static void check_soft(void)
{
    static const u64 values[] = {
        0, 1, 0xff, 0xffffffffff, 0x10000000000, 0xffffffffffff, 0xaaaaaaaaaaaa};
    for (unsigned kind = 1; kind <= 7; kind++) {
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
            pte_t e = pte_make_soft(kind, values[i]);
            CHECK(!pte_is_none(e) && !pte_present(e) && pte_is_soft(e) && !pte_is_table(e) &&
                  !pte_is_huge(e));
            CHECK(pte_soft_kind(e) == kind && pte_soft_value(e) == values[i]);
        }
    }
}

#ifdef A64_PTE_RO
// A CPU that keeps dirty flags clears RO on the first write: that is "dirty", and stays so when rights change.
static void check_hardware_dirty(void)
{
    pte_t clean = pte_make(0x5000, PTE_READ | PTE_WRITE | PTE_USER);
    CHECK((clean & A64_PTE_RO) && (clean & A64_PTE_DBM));
    pte_t written = clean & ~A64_PTE_RO;
    CHECK(pte_dirty(written) && pte_writable(written));
    pte_t read_only = pte_with_prot(written, PTE_READ | PTE_USER);
    CHECK(pte_dirty(read_only) && !pte_writable(read_only) && (read_only & A64_PTE_RO));
    CHECK(!pte_dirty(pte_mk_clean(written)) && (pte_mk_clean(written) & A64_PTE_RO));
    CHECK(!(pte_with_prot(read_only, PTE_READ | PTE_WRITE | PTE_USER) & A64_PTE_RO));
}
#else
static void check_hardware_dirty(void) {}
#endif

int main(void)
{
    CHECK(pte_is_none(PTE_NONE) && !pte_present(PTE_NONE) && !pte_is_soft(PTE_NONE) &&
          !pte_is_table(PTE_NONE));
    for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
        phys_t pa = frames[i], huge_pa = ALIGN_DOWN(pa, HUGE_SIZE);
        pte_t table = pte_make_table(pa);
        CHECK(pte_is_table(table) && !pte_is_huge(table) && pte_phys(table) == pa);
        for (unsigned prot = 0; prot < 2 * KEY_1; prot++) {
            // A right to write or to execute is one to read; kernel entries always have rights.
            if (((prot & ACCESS) && !(prot & PTE_READ)) || (!(prot & ACCESS) && !(prot & PTE_USER)))
                continue;
            if (prot & (prot & PTE_USER ? PTE_GLOBAL : KEY_1))
                continue;
            now_prot = prot;
            check_entry(pte_make(pa, prot), pa, prot, false);
            check_entry(pte_make_huge(huge_pa, prot), huge_pa, prot, true);
            if (prot & (PTE_GLOBAL | PTE_UNCACHED))
                continue;
            check_flags(pte_make(pa, prot), pa, prot, false);
            check_flags(pte_make_huge(huge_pa, prot), huge_pa, prot, true);
            if (prot & PTE_USER) {
                check_rights(pte_make(pa, prot), pa, prot, false);
                check_rights(pte_make_huge(huge_pa, prot), huge_pa, prot, true);
            }
        }
    }
    check_soft();
    check_hardware_dirty();
    return 0;
}
