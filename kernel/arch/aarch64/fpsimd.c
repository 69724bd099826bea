// SPDX-License-Identifier: BSD-2-Clause
// fpsimd.c: vector state of threads. The kernel has no instruction that touches it outside entry.S, so it
// stays in the registers while its thread is in the kernel. It is saved when its thread leaves the CPU,
// and loaded when a thread arrives whose state the registers do not hold already:
//
//   registers valid for t  <=>  percpu(vector_owner) == &t->arch && t->arch.vector_cpu == this CPU
//
// The first half alone does not tell: the thread may have run elsewhere since. SVE and SME are hidden from
// programs, whatever the CPU has: CPACR_EL1 makes their instructions undefined.
#include <string.h>

#include "a64_internal.h"
#include "arch/thread.h"
#include "mm/page.h"
#include "task/thread.h"

void fpsimd_save(struct fpsimd_state *to);
void fpsimd_load(const struct fpsimd_state *from);

static DEFINE_PERCPU(struct arch_thread *, vector_owner);
static struct kcache *state_cache;

struct fpsimd_state *fpsimd_alloc(void)
{
    if (!state_cache) {  // the first user thread, before any other
        state_cache = kcache_create("fpsimd", sizeof(struct fpsimd_state), 16);
        if (!state_cache)
            return NULL;
    }
    struct fpsimd_state *state = kcache_alloc(state_cache);
    if (state)
        memset(state, 0, sizeof(*state));
    return state;
}

void fpsimd_free(struct fpsimd_state *state) { kcache_free(state_cache, state); }

void fpsimd_copy_current(struct fpsimd_state *to) { fpsimd_save(to); }

void fpsimd_set_current(const struct fpsimd_state *from)
{
    struct arch_thread *at = &current->arch;
    if (from)
        memcpy(at->vector, from, sizeof(*from));
    else
        memset(at->vector, 0, sizeof(*at->vector));
    fpsimd_load(at->vector);
    at->vector_cpu = this_cpu()->id;
    percpu(vector_owner) = at;
}

void fpsimd_switch(struct thread *from, struct thread *to)
{
    struct arch_thread *f = &from->arch, *t = &to->arch;
    if (f->vector)
        fpsimd_save(f->vector);
    if (!t->vector)
        return;
    struct arch_thread **owner = percpu_ptr(vector_owner);
    u32 id = this_cpu()->id;
    if (*owner == t && t->vector_cpu == id)
        return;
    fpsimd_load(t->vector);
    *owner = t;
    t->vector_cpu = id;
}
