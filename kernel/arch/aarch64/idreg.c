// SPDX-License-Identifier: BSD-2-Clause
// idreg.c: what the CPU has, what programs are told of it (AT_HWCAP, and the ID registers that Linux lets them read:
// Documentation/arch/arm64/cpu-feature-registers.rst), and the reads themselves, which trap.
//
// A program sees a field of an ID register only if the feature needs nothing of the kernel, or gets it (pointer
// authentication, pauth.c; branch targets, bti.c). SVE, SME and memory tagging are hidden: their state would have to be kept.
#include "a64_internal.h"
#include "arch/mmu.h"
#include "arch/uaccess.h"
#include "core/log.h"
#include "task/thread.h"

#include <stdio.h>

enum id_register { ISAR0, ISAR1, ISAR2, PFR0, PFR1, MMFR2, N_ID_REGISTERS };

static u64 id_value[N_ID_REGISTERS];  // as programs see them

// Fields that programs see, four bits each, by their lowest bit.
static const struct {
    u8 reg, shift;
} visible[] = {
    {ISAR0, 60},  // RNDR
    {ISAR0, 52}, {ISAR0, 48}, {ISAR0, 44}, {ISAR0, 40}, {ISAR0, 36}, {ISAR0, 32}, {ISAR0, 28},
    {ISAR0, 20}, {ISAR0, 16}, {ISAR0, 12}, {ISAR0, 8},  {ISAR0, 4},  {ISAR1, 52},  // I8MM
    {ISAR1, 48}, {ISAR1, 44}, {ISAR1, 36}, {ISAR1, 32}, {ISAR1, 20}, {ISAR1, 16}, {ISAR1, 12},
    {ISAR1, 0},  {PFR0, 48},                // DIT
    {ISAR1, 4},  {ISAR1, 8},  {ISAR2, 12},  // pointer authentication, of three ciphers: addresses
    {ISAR1, 24}, {ISAR1, 28}, {ISAR2, 8},   // and data
    {PFR0, 20},  {PFR0, 16},  {MMFR2, 32},  // AT: unaligned atomics
    {PFR1, 0},                              // BTI
};

// The capability `bit` is there when the field is at least `least` (and not 15, "none", for FP and AdvSIMD).
// A bit from 64 on is one of AT_HWCAP2.
static const struct {
    u8 reg, shift, least, bit;
    char name[12];
} capabilities[] = {
    {PFR0, 16, 0, 0, "fp"},        {PFR0, 20, 0, 1, "asimd"},      {ISAR0, 4, 1, 3, "aes"},
    {ISAR0, 4, 2, 4, "pmull"},     {ISAR0, 8, 1, 5, "sha1"},       {ISAR0, 12, 1, 6, "sha2"},
    {ISAR0, 16, 1, 7, "crc32"},    {ISAR0, 20, 2, 8, "atomics"},   {PFR0, 16, 1, 9, "fphp"},
    {PFR0, 20, 1, 10, "asimdhp"},  {ISAR0, 28, 1, 12, "asimdrdm"}, {ISAR1, 12, 1, 13, "jscvt"},
    {ISAR1, 16, 1, 14, "fcma"},    {ISAR1, 20, 1, 15, "lrcpc"},    {ISAR1, 0, 1, 16, "dcpop"},
    {ISAR0, 32, 1, 17, "sha3"},    {ISAR0, 36, 1, 18, "sm3"},      {ISAR0, 40, 1, 19, "sm4"},
    {ISAR0, 44, 1, 20, "asimddp"}, {ISAR0, 12, 2, 21, "sha512"},   {ISAR0, 48, 1, 23, "asimdfhm"},
    {ISAR1, 4, 1, 30, "paca"},     {ISAR1, 8, 1, 30, "paca"},      {ISAR2, 12, 1, 30, "paca"},
    {ISAR1, 24, 1, 31, "pacg"},    {ISAR1, 28, 1, 31, "pacg"},     {ISAR2, 8, 1, 31, "pacg"},
    {PFR0, 48, 1, 24, "dit"},      {MMFR2, 32, 1, 25, "uscat"},    {ISAR1, 20, 2, 26, "ilrcpc"},
    {ISAR0, 52, 1, 27, "flagm"},   {ISAR1, 36, 1, 29, "sb"},       {ISAR1, 0, 2, 64, "dcpodp"},
    {ISAR0, 52, 2, 71, "flagm2"},  {ISAR1, 32, 1, 72, "frint"},    {ISAR1, 52, 1, 77, "i8mm"},
    {ISAR1, 44, 1, 78, "bf16"},    {ISAR1, 48, 1, 79, "dgh"},      {ISAR0, 60, 1, 80, "rng"},
    {PFR1, 0, 1, 81, "bti"},
};
#define HWCAP_CPUID BIT(11)  // the reads below work

static void read_id_registers(void)
{
    const u64 real[N_ID_REGISTERS] = {
        [ISAR0] = sysreg_read(id_aa64isar0_el1), [ISAR1] = sysreg_read(id_aa64isar1_el1),
        [ISAR2] = sysreg_read(s3_0_c0_c6_2),     [PFR0] = sysreg_read(id_aa64pfr0_el1),
        [PFR1] = sysreg_read(id_aa64pfr1_el1),   [MMFR2] = sysreg_read(s3_0_c0_c7_2),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(visible); i++)
        id_value[visible[i].reg] |= real[visible[i].reg] & (u64)15 << visible[i].shift;
    id_value[PFR0] |= 0x11;  // EL0 and EL1 are AArch64 only
}

void a64_detect(struct a64_features *f)
{
    u64 ctr = sysreg_read(ctr_el0), mmfr1 = sysreg_read(id_aa64mmfr1_el1);
    read_id_registers();
    f->pan = mmfr1 >> 20 & 15;
    f->hw_access = mmfr1 & 15;
    f->hw_dirty = (mmfr1 & 15) >= 2;
    f->rndr = id_value[ISAR0] >> 60;
    f->code_needs_clean = !(ctr & BIT(28));
    f->code_needs_inval = !(ctr & BIT(29));
    f->hwcap = HWCAP_CPUID;
    for (unsigned i = 0; i < ARRAY_SIZE(capabilities); i++) {
        u64 field = id_value[capabilities[i].reg] >> capabilities[i].shift & 15;
        if (field < capabilities[i].least || (field == 15 && capabilities[i].reg == PFR0))
            continue;
        if (capabilities[i].bit < 64)
            f->hwcap |= BIT(capabilities[i].bit);
        else
            f->hwcap2 |= BIT(capabilities[i].bit - 64);
    }
    f->pac_address = f->hwcap >> 30 & 1;
    f->pac_generic = f->hwcap >> 31 & 1;
    f->bti = f->hwcap2 >> 17 & 1;
}

size_t a64_hwcap_names(char *buf, size_t size)
{
    size_t n = 0;
    for (unsigned bit = 0; bit < 128; bit++) {
        u64 caps = bit < 64 ? a64_features.hwcap : a64_features.hwcap2;
        if (!(caps >> (bit & 63) & 1))
            continue;
        const char *name = bit == 11 ? "cpuid" : NULL;
        for (unsigned i = 0; i < ARRAY_SIZE(capabilities) && !name; i++) {
            if (capabilities[i].bit == bit)
                name = capabilities[i].name;
        }
        n += scnprintf(buf + n, size - n, " %s", name);
    }
    return n;
}

// ------------------------------------------------------------------ reads that trap

#define INSN_MRS 0xd5300000u
#define INSN_MRS_MASK 0xfff00000u
#define MPIDR_SAFE BIT(31)  // Linux tells no program where it runs

// The register with op0 = 3, op1 = 0, CRn = 0. => false: not one that a program may ask for
static bool id_register(unsigned crm, unsigned op2, u64 *value)
{
    *value = 0;
    switch (crm << 4 | op2) {
    case 0x00: *value = sysreg_read(midr_el1); return true;
    case 0x05: *value = MPIDR_SAFE; return true;
    case 0x06: *value = sysreg_read(revidr_el1); return true;
    case 0x40: *value = id_value[PFR0]; return true;
    case 0x41: *value = id_value[PFR1]; return true;
    case 0x50: *value = 6; return true;  // ID_AA64DFR0: the debug architecture of v8.0
    case 0x60: *value = id_value[ISAR0]; return true;
    case 0x61: *value = id_value[ISAR1]; return true;
    case 0x62: *value = id_value[ISAR2]; return true;
    case 0x72: *value = id_value[MMFR2]; return true;
    default: return crm >= 2 && crm <= 7;  // the others tell of nothing
    }
}

bool a64_emulate(struct regs *r)
{
    u32 insn;
    u64 value;
    if (get_user_u32(&insn, r->pc) || (insn & INSN_MRS_MASK) != INSN_MRS)
        return false;
    unsigned op0 = 2 + (insn >> 19 & 1), op1 = insn >> 16 & 7, crn = insn >> 12 & 15;
    if (op0 != 3 || op1 != 0 || crn != 0 || !id_register(insn >> 8 & 15, insn >> 5 & 7, &value))
        return false;
    if ((insn & 31) != 31)
        r->x[insn & 31] = value;
    r->pc += 4;
    r->pstate &= ~(u64)PSTATE_BTYPE;
    return true;
}
