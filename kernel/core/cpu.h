// SPDX-License-Identifier: BSD-2-Clause
// cpu.h: per-CPU data and cross-calls.
//
// Every CPU has its own copy of the section .bss.percpu: the boot CPU uses the linked one in place, the
// others get a zeroed copy. So a per-CPU variable starts as zero on every CPU; anything else is set
// by the owning module's *_init_cpu() function, which runs on that CPU.
#pragma once

#include "core/lock.h"
#include "core/atomic.h"
#include "core/base.h"

#define MAX_CPUS 64

struct thread;
struct mm;

// The head of the per-CPU area; the architecture's CPU-local register points at it.
struct cpu {
    struct cpu *self;
    struct thread *current;      // offset 8: known to the entry code through asm_offsets
    uintptr_t kernel_stack_top;  // of the current thread
    uintptr_t scratch[2];        // for the entry code
    uintptr_t percpu_offset;     // added to the link address of a per-CPU variable
    struct mm *active_mm;        // whose user page tables are loaded (arch/mmu.h)
    u64 *syscall_counts;         // per-call counters, indexed by number
    u32 id;                      // 0 .. n_cpus - 1
    u32 hw_id;                   // APIC id, MPIDR
    u32 idle;                    // atomic: in the idle loop
    u32 cross_pending;           // atomic bit set: CROSS_*
    u32 cross_sleeps;            // atomic: halted in cross_wait, or about to
    u32 in_interrupt;
};

#include "arch/cpu.h"  // this_cpu()

#define DEFINE_PERCPU(type, name) __attribute__((section(".bss.percpu"))) type name
#define DECLARE_PERCPU(type, name) extern type name
#define percpu_ptr_of(cpu, name) ((__typeof__(name) *)((uintptr_t) & (name) + (cpu)->percpu_offset))
#define percpu_ptr(name) percpu_ptr_of(this_cpu(), name)
#define percpu(name) (*percpu_ptr(name))

extern u32 n_cpus;                  // CPUs that are running
extern struct cpu *cpus[MAX_CPUS];  // by id

// The set of CPUs as a bit mask of ids.
typedef u64 cpumask_t;
static inline cpumask_t cpus_online(void) { return n_cpus >= 64 ? ~0ull : BIT(n_cpus) - 1; }

static inline struct thread *current_thread(void) { return arch_current_thread(); }

// Cross-calls. A handler runs on the target with interrupts off, either from the interrupt or from
// cpu_relax_poll(); it may take spinlocks that no initiator holds while it waits.
enum cross_call {
    CROSS_RESCHED = 0,
    CROSS_TLB = 1,
    CROSS_FUNC = 2,
    CROSS_STOP = 3,
    CROSS_ANSWERED = 4,  // nothing to do: ends the wait of cross_wait
};
// Sends call to each CPU of mask (never to the caller) and returns at once.
void cross_send(cpumask_t mask, enum cross_call call);
// Runs fn(arg) on each online CPU of mask (and here, if in the mask) and waits until all have done so.
// => Caller holds no spinlock. Other CPUs run fn from interrupt context.
void cross_run(cpumask_t mask, void (*fn)(void *), void *arg);
// The answer of a request: the target takes its bit out of *waiting, and the initiator waits until
// that is zero. It spins first; when the answer takes long, as on a host with fewer processors than
// the guest, it halts, so that the target can run in its place.
void cross_answer(cpumask_t *waiting, struct cpu *initiator);
void cross_wait(cpumask_t *waiting);
// Serves what cross_pending asks of this CPU; called from the interrupt and from spinning loops.
void cross_poll(void);
static inline void cpu_relax_poll(void)
{
    if (unlikely(__atomic_load_n(&this_cpu()->cross_pending, __ATOMIC_RELAXED)))
        cross_poll();
    arch_cpu_relax();
}

// mutex_lock and mutex_unlock without a call, for the few paths where a call counts.
static inline void mutex_lock_quick(struct mutex *m)
{
    u32 free = 0;
    if (likely(atomic_cmpxchg(&m->state, &free, 1)))
        atomic_store_relaxed(&m->owner, current_thread());
    else
        mutex_lock(m);
}
static inline void mutex_unlock_quick(struct mutex *m)
{
    u32 held = 1;
    atomic_store_relaxed(&m->owner, NULL);
    if (unlikely(!atomic_cmpxchg(&m->state, &held, 0)))
        mutex_unlock(m);
}
