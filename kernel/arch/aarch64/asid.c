// SPDX-License-Identifier: BSD-2-Clause
// asid.c: which number (ASID) the translations of an address space carry.
//
// A CPU tags user translations with the number in TTBR0_EL1, so those of several address spaces stay in its TLB side by side and
// a switch flushes nothing. There are more address spaces in the life of a machine than numbers, so numbers are given out
// in generations. A tag is generation | number:
//
//     63                                16 15           0
//    +------------------------------------+--------------+
//    | generation, never repeats          |    number    |       number 0: the empty tables, never given out
//    +------------------------------------+--------------+
//
// 256 numbers are used, though most CPUs have 65,536: a generation costs each CPU one flush, which is nothing beside the 250
// forks that used it up, and a machine comes by here every day instead of once in its life.
//
// When the numbers are used up, a new generation begins with none taken but those of the spaces that a CPU has loaded at
// that moment: they keep running under their number. Every CPU owes one flush of its whole TLB before it next
// loads a space that is new to it.
//
//   asid_enter, fast:  tag is of this generation, and active[cpu] can be changed from non-zero to it
//   asid_enter, slow:  under the lock: a new tag if the old one is of a generation gone by; the owed flush; active[cpu] = tag
//   new generation:    under the lock: reserved[cpu] = the number that runs there, active[cpu] = 0, for all CPUs
//
// Invariants:
//   A1  Of one generation no two spaces have the same number; one that keeps its number through reserved[] has it alone too.
//   A2  active[cpu] is the tag of the last space that entered, or 0 after a new generation began. So whoever begins
//       a generation either sees a fast entry in active[], or makes it fail.
//   A3  A translation under a number that a CPU may use was made for the space that has the number now: numbers are only
//       given to another space in a new generation, and the owed flush comes before the first use.
//   A4  The tag is stored, and the CPU noted in space->cpus, with a full fence before the CPU's first walk under it. Whoever
//       flushes clears the entries, fences, and then reads tag and cpus. So either the walk finds the entries
//       cleared, or the flush knows of the number and the CPU.
//   A5  space->cpus is emptied only where a space gets a number that it has not; then no CPU runs it (it would be in
//       reserved[]), and no translations with the new number exist.
//
// A flush names the number alone. If the space is of an old generation, the number may be another's by now, which then loses
// translations for nothing.
//
// Rejected: giving a number back when its address space ends. That needs a flush on all CPUs each time; a generation needs
// one for all its numbers.
#include "arch_impl/asid.h"

#include "core/cpu.h"
#include "core/log.h"

#define GENERATION (ASID_NUMBER_MASK + 1)

static struct spinlock lock;
static u64 generation;  // atomic, written under the lock; a multiple of GENERATION
static u32 n_numbers;
static u64 taken[ASID_NUMBERS / 64];       // [lock] bit map of this generation's numbers
static u32 next;                           // [lock] where to look for a free one
static cpumask_t owes_flush;               // [lock]
static DEFINE_PERCPU(u64, asid_active);    // atomic: A2
static DEFINE_PERCPU(u64, asid_reserved);  // [lock] tag that ran here when the generation began

void asid_init(u32 numbers)
{
    n_numbers = numbers;
    generation = GENERATION;
    taken[0] = 1;
    next = 1;
}

static u32 number_of(u64 tag) { return (u32)(tag & ASID_NUMBER_MASK); }

static void take(u32 number) { taken[number / 64] |= BIT(number % 64); }

static void begin_generation(void)
{
    atomic_store(&generation, generation + GENERATION);
    for (u32 i = 0; i < ARRAY_SIZE(taken); i++)
        taken[i] = 0;
    take(0);
    for (u32 i = 0; i < n_cpus; i++) {
        u64 tag = atomic_xchg(percpu_ptr_of(cpus[i], asid_active), 0);
        u64 *reserved = percpu_ptr_of(cpus[i], asid_reserved);
        if (tag)  // else nothing has entered since the last generation began: it still runs what it ran then
            *reserved = tag;
        take(number_of(*reserved));
    }
    next = 1;
    owes_flush = cpus_online();
}

// => whether the space runs somewhere under the number of its old tag; then it goes on with it everywhere.
static bool keep_reserved(u64 old, u64 new)
{
    bool found = false;
    for (u32 i = 0; i < n_cpus; i++) {
        u64 *reserved = percpu_ptr_of(cpus[i], asid_reserved);
        if (*reserved == old) {
            *reserved = new;
            found = true;
        }
    }
    return found;
}

static u32 find_free(void)
{
    for (u32 n = next; n < n_numbers; n++) {
        if (!(taken[n / 64] >> n % 64 & 1))
            return n;
    }
    return 0;
}

static u64 new_tag(struct asid_space *space)
{
    u64 old = space->tag, kept = generation | number_of(old);
    if (old && keep_reserved(old, kept))
        return kept;
    u32 number = find_free();
    if (!number) {
        begin_generation();
        kept = generation | number_of(old);
        if (old && keep_reserved(old, kept))
            return kept;
        number = find_free();
    }
    KASSERT(number);
    take(number);
    next = number + 1;
    atomic_store(&space->cpus, 0);
    return generation | number;
}

// Waits without serving cross-calls (spin_lock does): one of them may take away the address space that the caller of
// the switch is leaving. The holder waits for nobody.
static __noinline u64 enter_slowly(struct asid_space *space)
{
    while (!spin_trylock(&lock))
        arch_cpu_relax();
    u64 tag = space->tag;
    if ((tag ^ generation) >= GENERATION) {
        tag = new_tag(space);
        atomic_store(&space->tag, tag);
    }
    if (owes_flush >> this_cpu()->id & 1) {
        owes_flush &= ~((cpumask_t)1 << this_cpu()->id);
        asid_flush_this_cpu();
    }
    atomic_store(percpu_ptr(asid_active), tag);
    spin_unlock(&lock);
    return tag;
}

u32 asid_enter(struct asid_space *space)
{
    struct cpu *cpu = this_cpu();
    u64 *mine = percpu_ptr_of(cpu, asid_active);
    u64 tag = atomic_load(&space->tag), active = atomic_load(mine);
    cpumask_t me = (cpumask_t)1 << cpu->id;
    if (unlikely(!active || (tag ^ atomic_load(&generation)) >= GENERATION ||
                 !atomic_cmpxchg(mine, &active, tag)))
        tag = enter_slowly(space);
    if (unlikely(!(atomic_load(&space->cpus) & me))) {
        atomic_fetch_or(&space->cpus, me);
        asid_fence();
    }
    return number_of(tag);
}
