// SPDX-License-Identifier: BSD-2-Clause
// pauth.c: keys of pointer authentication (Arm DDI 0487, D8.8.3; Documentation/arch/arm64/pointer-authentication.rst).
//
// A program gets five random keys at exec; its threads and the children of fork have the same. They stay in the registers
// while the kernel runs, as it is built without the instructions that would use them, so only a switch to a thread with
// other keys loads any. A set of keys has a number, and equal numbers mean equal keys.
#include "a64_internal.h"
#include "arch/thread.h"
#include "core/cpu.h"
#include "core/random.h"
#include "task/thread.h"

enum { PR_PAC_RESET_KEYS = 54, PR_PAC_SET_ENABLED_KEYS = 60, PR_PAC_GET_ENABLED_KEYS = 61 };
enum { KEY_IA = 1, KEY_IB = 2, KEY_DA = 4, KEY_DB = 8, KEY_GA = 16 };  // PR_PAC_AP?KEY
#define ADDRESS_KEYS (KEY_IA | KEY_IB | KEY_DA | KEY_DB)
#define N_KEYS 5

static u64 last_set;                    // atomic
static DEFINE_PERCPU(u64, loaded_set);  // whose keys are in the registers
static DEFINE_PERCPU(u32, loaded_off);  // pac.off as SCTLR_EL1 has it

static u64 enable_bits(u32 keys)
{
    return (keys & KEY_IA ? SCTLR_ENIA : 0) | (keys & KEY_IB ? SCTLR_ENIB : 0) |
           (keys & KEY_DA ? SCTLR_ENDA : 0) | (keys & KEY_DB ? SCTLR_ENDB : 0);
}

// What user mode sees of it begins with the next exception return.
static void set_enabled(u32 off)
{
    u64 sctlr = sysreg_read(sctlr_el1) & ~enable_bits(ADDRESS_KEYS);
    sysreg_write(sctlr_el1, sctlr | enable_bits(ADDRESS_KEYS & ~off));
    percpu(loaded_off) = off;
}

static void load_keys(const struct a64_pac *pac)
{
    const u64 *k = pac->key;
    if (a64_features.pac_address) {
        sysreg_write(s3_0_c2_c1_0, k[0]);  // APIAKeyLo_EL1, APIAKeyHi_EL1
        sysreg_write(s3_0_c2_c1_1, k[1]);
        sysreg_write(s3_0_c2_c1_2, k[2]);  // APIB
        sysreg_write(s3_0_c2_c1_3, k[3]);
        sysreg_write(s3_0_c2_c2_0, k[4]);  // APDA
        sysreg_write(s3_0_c2_c2_1, k[5]);
        sysreg_write(s3_0_c2_c2_2, k[6]);  // APDB
        sysreg_write(s3_0_c2_c2_3, k[7]);
    }
    if (a64_features.pac_generic) {
        sysreg_write(s3_0_c2_c3_0, k[8]);  // APGA
        sysreg_write(s3_0_c2_c3_1, k[9]);
    }
    percpu(loaded_set) = pac->set;
}

void a64_pac_load(const struct a64_pac *pac)
{
    if (pac->set != percpu(loaded_set))
        load_keys(pac);
    if (pac->off != percpu(loaded_off) && a64_features.pac_address)
        set_enabled(pac->off);
}

void a64_pac_init_cpu(void)
{
    if (a64_features.pac_address)
        set_enabled(0);
}

// New keys for those in the mask.
static void renew(struct a64_pac *pac, u32 keys)
{
    for (u32 i = 0; i < N_KEYS; i++) {
        if (keys >> i & 1)
            random_bytes(&pac->key[2 * i], 2 * sizeof(u64));
    }
    pac->set = atomic_add(&last_set, 1);
}

void a64_pac_new(struct a64_pac *pac)
{
    pac->off = 0;
    if (a64_features.pac_address || a64_features.pac_generic)
        renew(pac, ADDRESS_KEYS | KEY_GA);
}

// prctl(2). => -EINVAL too for what this CPU does not have
long arch_prctl_option(int option, u64 a2, u64 a3, u64 a4, u64 a5)
{
    struct a64_pac *pac = &current->arch.pac;
    u32 there =
        (a64_features.pac_address ? ADDRESS_KEYS : 0) | (a64_features.pac_generic ? KEY_GA : 0);
    if (option == PR_PAC_RESET_KEYS) {
        if (!there || (a2 & ~(u64)there) || a3 | a4 | a5)
            return -EINVAL;
        renew(pac, a2 ? (u32)a2 : there);
    } else if (option == PR_PAC_SET_ENABLED_KEYS) {
        if (!a64_features.pac_address || (a2 & ~(u64)ADDRESS_KEYS) || (a3 & ~a2) || a4 | a5)
            return -EINVAL;
        pac->off = (pac->off & ~(u32)a2) | ((u32)a2 & ~(u32)a3);
    } else if (option == PR_PAC_GET_ENABLED_KEYS) {
        return !a64_features.pac_address || a2 | a3 | a4 | a5 ? -EINVAL
                                                              : (long)(ADDRESS_KEYS & ~pac->off);
    } else {
        return -EINVAL;
    }
    a64_pac_load(pac);
    return 0;
}
