// SPDX-License-Identifier: BSD-2-Clause
// cache.c: the caches, from CLIDR_EL1 and CCSIDR_EL1, and the name of the clock, for /sys.
#include "a64_internal.h"
#include "arch/cpu.h"

enum { CACHE_NONE = 0, CACHE_INSTR = 1, CACHE_DATA = 2, CACHE_SEPARATE = 3, CACHE_UNIFIED = 4 };

// What CCSIDR says of a cache. The long format (FEAT_CCIDX) has wider fields.
static void describe(struct arch_cache *out, unsigned level, bool instruction)
{
    sysreg_write(csselr_el1, (level - 1) << 1 | instruction);
    isb();
    u64 c = sysreg_read(ccsidr_el1);
    bool wide = sysreg_read(s3_0_c0_c7_2) >> 20 & 15;
    out->level = (u8)level;
    out->line_bytes = 16u << (c & 7);
    out->ways = (u16)((wide ? c >> 3 & 0x1fffff : c >> 3 & 0x3ff) + 1);
    out->sets = (u32)((wide ? c >> 32 & 0xffffff : c >> 13 & 0x7fff) + 1);
    out->size_bytes = out->line_bytes * out->ways * out->sets;
}

bool arch_cpu_cache(u32 index, struct arch_cache *out)
{
    u64 clidr = sysreg_read(clidr_el1);
    for (unsigned level = 1; level <= 7; level++) {
        unsigned kind = clidr >> 3 * (level - 1) & 7;
        unsigned n = kind == CACHE_NONE ? 0 : kind == CACHE_SEPARATE ? 2 : 1;
        if (!n)
            return false;
        if (index >= n) {
            index -= n;
            continue;
        }
        bool instruction = kind == CACHE_INSTR || (kind == CACHE_SEPARATE && index == 1);
        describe(out, level, instruction);
        out->type = instruction ? 2 : kind == CACHE_UNIFIED ? 3 : 1;
        return true;
    }
    return false;
}

const char *arch_clock_name(void) { return "arch_sys_counter"; }
