// SPDX-License-Identifier: BSD-2-Clause
// cpu.c: turning on what each CPU has.
#include "arch/cpu.h"
#include "a64_internal.h"
#include "arch/mmu.h"

#include "core/log.h"
#include <stdio.h>

struct a64_features a64_features;
u8 a64_has_pan;  // for uaccess.S
extern struct cpu boot_cpu;
extern char boot_stack_top[];
_Static_assert(sizeof(struct cpu) <= 128, "boot.S reserves 128 bytes");

static void init_registers(void)
{
    a64_set_vectors();
    a64_mmu_init();
    sysreg_write(tpidrro_el0, 0);
    unsigned pmu = sysreg_read(id_aa64dfr0_el1) >> 8 & 15;
    if (pmu && pmu != 15)
        sysreg_write(pmuserenr_el0, 0);
    if (sysreg_read(id_aa64pfr0_el1) >> 44 & 15)
        sysreg_write(s3_3_c13_c2_3, 0);  // AMUSERENR_EL0: no activity monitors
    a64_pac_init_cpu();
    if (a64_features.bti)
        sysreg_write(sctlr_el1, sysreg_read(sctlr_el1) | SCTLR_BT0);
    if (a64_features.pan)
        __asm__ volatile(".inst 0xd500419f" ::: "memory");  // PAN on
}

void arch_init_early(struct cpu *cpu)
{
    a64_detect(&a64_features);
    a64_has_pan = a64_features.pan;
    cpu->kernel_stack_top = (uintptr_t)boot_stack_top;
    init_registers();
}

// The tests of CPU models read it (test/guest/models).
void a64_log_features(void)
{
    const struct {
        const char *name;
        bool has;
    } features[] = {
        {"pan", a64_features.pan},
        {"access-flag", a64_features.hw_access},
        {"dirty-flag", a64_features.hw_dirty},
        {"atomics", a64_features.hwcap & BIT(8)},  // HWCAP_ATOMICS, for programs
        {"rndr", a64_features.rndr},
        {"pac", a64_features.pac_address},
        {"bti", a64_features.bti},
    };
    char text[64];
    size_t n = 0;
    text[0] = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
        if (features[i].has)
            n += scnprintf(text + n, sizeof(text) - n, " %s", features[i].name);
    log_debug("the CPU has:%s", text);
}

void arch_init_cpu(struct cpu *cpu)
{
    if (cpu != &boot_cpu)
        init_registers();
}

void arch_clear_pages(void *start, size_t n_pages)
{
    for (char *p = start; n_pages; n_pages--, p += PAGE_SIZE)
        arch_clear_page(p);
}

u64 arch_hwcap(void) { return a64_features.hwcap; }

u64 arch_hwcap2(void) { return a64_features.hwcap2; }

const char *arch_platform_name(void) { return "aarch64"; }

// RNDR sets Z when it has nothing now.
bool arch_random_u64(u64 *out)
{
    u32 ok = 0;
    for (int i = 0; i < 10 && !ok && a64_features.rndr; i++)
        __asm__ volatile("mrs %0, s3_3_c2_c4_0\n\tcset %w1, ne" : "=r"(*out), "=r"(ok) : : "cc");
    return ok;
}
