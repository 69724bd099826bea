// SPDX-License-Identifier: BSD-2-Clause
// cpu.c: the table of CPUs, and cross-calls.
//
// A cross-call is a bit in the target's cross_pending and an interrupt. Only the sender that finds
// the word empty sends the interrupt: later bits ride along. The target takes the whole word in
// cross_poll(), from the interrupt or from a loop in which it spins.
#include "arch/cpu.h"
#include "arch/smp.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"

u32 n_cpus;
struct cpu *cpus[MAX_CPUS];

// CROSS_FUNC: one call at a time, under run_lock.
static struct spinlock run_lock = SPINLOCK_INIT;
static struct {
    void (*fn)(void *);
    void *arg;
    cpumask_t waiting;  // atomic: CPUs that have not finished
} run;

void tlb_cross_handler(void);  // mm/tlb.c

void cross_send(cpumask_t mask, enum cross_call call)
{
    u32 me = this_cpu()->id;
    for (mask &= ~BIT(me); mask; mask &= mask - 1) {
        struct cpu *cpu = cpus[__builtin_ctzll(mask)];
        if (__atomic_fetch_or(&cpu->cross_pending, 1u << call, __ATOMIC_SEQ_CST) == 0)
            arch_send_ipi(cpu->hw_id);
    }
}

static void stop_here(void)
{
    for (;;) {
        arch_irq_disable();
        arch_cpu_relax();
    }
}

static void run_here(void)
{
    run.fn(run.arg);
    atomic_fetch_and(&run.waiting, ~BIT(this_cpu()->id));
}

void cross_poll(void)
{
    u32 calls = __atomic_exchange_n(&this_cpu()->cross_pending, 0, __ATOMIC_SEQ_CST);
    if (calls & 1u << CROSS_STOP)
        stop_here();
    if (calls & 1u << CROSS_TLB)
        tlb_cross_handler();
    if (calls & 1u << CROSS_FUNC)
        run_here();
    // CROSS_RESCHED needs nothing: the way back from the interrupt looks at the thread's work word.
}

void cross_run(cpumask_t mask, void (*fn)(void *), void *arg)
{
    cpumask_t others = mask & cpus_online() & ~BIT(this_cpu()->id);
    if (others) {
        spin_lock(&run_lock);
        run.fn = fn;
        run.arg = arg;
        atomic_store(&run.waiting, others);
        cross_send(others, CROSS_FUNC);
    }
    if (mask & BIT(this_cpu()->id))
        fn(arg);
    if (others) {
        while (atomic_load(&run.waiting))
            cpu_relax_poll();
        spin_unlock(&run_lock);
    }
}
