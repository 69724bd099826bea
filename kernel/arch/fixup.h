// SPDX-License-Identifier: BSD-2-Clause
// fixup.h: faults of uaccess.S, the same on each architecture. Its instructions that may fault are listed with where to
// go on; the linker script gathers the list.
#pragma once

#include "core/base.h"

struct fixup {
    u64 insn, go_on;
};
extern const struct fixup ex_table_start[], ex_table_end[];
extern const char uaccess_text_start[], uaccess_text_end[];        // faults are resolved first
extern const char uaccess_nofault_start[], uaccess_nofault_end[];  // faults are final

static inline bool fixup_in_range(u64 pc, const char *start, const char *end)
{
    return pc - (u64)start < (u64)(end - start);
}

// Whether a fault of the instruction may be resolved like one of the program itself.
static inline bool fixup_may_resolve(u64 pc)
{
    return fixup_in_range(pc, uaccess_text_start, uaccess_text_end);
}

static inline bool fixup_is_final(u64 pc)
{
    return fixup_in_range(pc, uaccess_nofault_start, uaccess_nofault_end);
}

// => Where the kernel goes on after a fault of the instruction at pc; 0: nowhere, it must not fault
static inline u64 fixup_find(u64 pc)
{
    for (const struct fixup *f = ex_table_start; f < ex_table_end; f++) {
        if (f->insn == pc)
            return f->go_on;
    }
    return 0;
}
