// SPDX-License-Identifier: BSD-2-Clause
// cache.c: the caches, from CPUID leaf 4 (Intel) or 0x8000001d (AMD, the same layout), and the name of
// the clock, for /sys.
#include "arch/cpu.h"
#include "core/time.h"

bool arch_cpu_cache(u32 index, struct arch_cache *out)
{
    u32 leaf = 4;
    if (index >= 16)
        return false;
    if (x86_features.max_leaf < 4 || (cpuid(4, 0).eax & 31) == 0) {
        if (x86_features.max_ext_leaf < 0x8000001d)
            return false;
        leaf = 0x8000001d;
    }
    struct cpuid r = cpuid(leaf, index);
    if ((r.eax & 31) == 0)
        return false;
    out->type = r.eax & 31;
    out->level = r.eax >> 5 & 7;
    out->line_bytes = (r.ebx & 0xfff) + 1;
    out->ways = (u16)((r.ebx >> 22) + 1);
    out->sets = r.ecx + 1;
    out->size_bytes = out->ways * ((r.ebx >> 12 & 0x3ff) + 1) * out->line_bytes * out->sets;
    return true;
}

// A clock that user code cannot read itself is the paravirtual one.
const char *arch_clock_name(void)
{
    return !vdso_data->mode && x86_features.kvm ? "kvm-clock" : "tsc";
}
