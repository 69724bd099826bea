// SPDX-License-Identifier: BSD-2-Clause
// cpu.c: what the CPU can do, and turning it on (Intel SDM vol. 2A CPUID, vol. 3A 2.5).
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch_impl/boot.h"
#include "core/cpu.h"
#include "core/log.h"
#include "entry.h"
#include "fpu.h"

struct x86_features x86_features;
extern struct cpu boot_cpu;
extern u8 mem_fast_rep;  // libc-shim/x86_64/mem.S
extern u8 page_method;   // page.S
_Static_assert(sizeof(struct cpu) <= 128, "boot.S reserves 128 bytes");

static void detect_hypervisor(struct x86_features *f)
{
    struct cpuid c = cpuid(0x40000000, 0);
    f->hv_max_leaf = c.eax;
    f->tcg = c.ebx == 0x54474354;                         // "TCGT"
    f->kvm = c.ebx == 0x4b4d564b && c.ecx == 0x564b4d56;  // "KVMKVMKVM"
    if (f->kvm) {
        if (!f->hv_max_leaf)
            f->hv_max_leaf = 0x40000001;
        f->kvm_features = cpuid(0x40000001, 0).eax;
    }
}

static void detect(struct x86_features *f)
{
    f->max_leaf = cpuid(0, 0).eax;
    struct cpuid c = cpuid(1, 0);
    f->leaf1_ecx = c.ecx;
    f->leaf1_edx = c.edx;
    f->stepping = c.eax & 15;
    f->model = c.eax >> 4 & 15;
    f->family = c.eax >> 8 & 15;
    if (f->family == 6 || f->family == 15)
        f->model |= c.eax >> 12 & 0xf0;
    if (f->family == 15)
        f->family += c.eax >> 20 & 0xff;
    f->pge = c.edx & BIT(13);
    f->x2apic = c.ecx & BIT(21);
    f->tsc_deadline = c.ecx & BIT(24);
    f->xsave = c.ecx & BIT(26);
    f->rdrand = c.ecx & BIT(30);
    f->hypervisor = c.ecx & BIT(31);
    if (f->max_leaf >= 6)
        f->arat = cpuid(6, 0).eax & BIT(2);
    if (f->max_leaf >= 7) {
        c = cpuid(7, 0);
        f->leaf7_ebx = c.ebx;
        f->leaf7_ecx = c.ecx;
        f->leaf7_edx = c.edx;
        f->fsgsbase = c.ebx & BIT(0);
        f->smep = c.ebx & BIT(7);
        f->invpcid = c.ebx & BIT(10);
        f->rdseed = c.ebx & BIT(18);
        f->smap = c.ebx & BIT(20);
        f->umip = c.ecx & BIT(2);
    }
    if (f->xsave) {
        c = cpuid(0xd, 1);
        f->xsaveopt = c.eax & BIT(0);
        f->xsavec = c.eax & BIT(1);
        f->pku = (f->leaf7_ecx & BIT(3)) && (cpuid(0xd, 0).eax & XCR0_PKRU);
    }
    f->max_ext_leaf = cpuid(0x80000000, 0).eax;
    c = cpuid(0x80000001, 0);
    f->pdpe1gb = c.edx & BIT(26);
    f->rdtscp = c.edx & BIT(27);
    if (f->max_ext_leaf >= 0x80000007)
        f->invariant_tsc = cpuid(0x80000007, 0).edx & BIT(8);
    if (f->hypervisor)
        detect_hypervisor(f);
    f->fast_rep = (f->leaf7_ebx & BIT(9)) && !f->tcg;  // ERMS
}

static void enable_features(const struct x86_features *f)
{
    u64 cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (f->umip)
        cr4 |= CR4_UMIP;
    if (f->fsgsbase)
        cr4 |= CR4_FSGSBASE;
    if (f->xsave)
        cr4 |= CR4_OSXSAVE;
    if (f->smep)
        cr4 |= CR4_SMEP;
    if (f->smap)
        cr4 |= CR4_SMAP;
    if (f->pku)
        cr4 |= CR4_PKE;
    write_cr4(cr4);
}

void arch_init_early(struct cpu *cpu)
{
    struct x86_features *f = &x86_features;
    detect(f);
    enable_features(f);
    x86_mmu_init();
    entry_init_early(cpu);
    mem_fast_rep = f->fast_rep;
    page_method = f->fast_rep ? 2 : (fpu.features & 0xe4) == 4;  // %zmm would lose its upper half
}

void arch_init_cpu(struct cpu *cpu)
{
    if (cpu == &boot_cpu)
        return;
    enable_features(&x86_features);
    entry_init_cpu(cpu);
}

void arch_clear_pages(void *start, size_t n_pages)
{
    if (page_method == 2) {
        memset(start, 0, n_pages * PAGE_SIZE);
        return;
    }
    for (char *p = start; n_pages; n_pages--, p += PAGE_SIZE)
        arch_clear_page(p);
}

// AT_HWCAP is CPUID 1 EDX; AT_HWCAP2 bit 1 says that user code may use RDFSBASE and its relatives.
u64 arch_hwcap(void) { return x86_features.leaf1_edx; }

u64 arch_hwcap2(void) { return x86_features.fsgsbase ? BIT(1) : 0; }

const char *arch_platform_name(void) { return "x86_64"; }

// RDSEED where there is one (full entropy), else RDRAND; ten tries, as Intel's guide advises.
bool arch_random_u64(u64 *out)
{
    bool ok = false;
    for (int i = 0; i < 10 && !ok; i++) {
        if (x86_features.rdseed)
            __asm__ volatile("rdseed %0" : "=r"(*out), "=@ccc"(ok));
        if (!ok && x86_features.rdrand)
            __asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
    }
    return ok;
}
