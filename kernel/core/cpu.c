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
#include "core/time.h"

u32 n_cpus;
struct cpu *cpus[MAX_CPUS];

// CROSS_FUNC: one call at a time, under run_lock.
static struct spinlock run_lock = SPINLOCK_INIT;
static struct {
    void (*fn)(void *);
    void *arg;
    struct cpu *initiator;
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

#define CROSS_SPIN_NS (50 * NSEC_PER_USEC)
enum { CROSS_SPIN_TURNS = 64 };  // between two looks at the clock

void cross_answer(cpumask_t *waiting, struct cpu *initiator)
{
    cpumask_t mine = BIT(this_cpu()->id);
    if (__atomic_fetch_and(waiting, ~mine, __ATOMIC_SEQ_CST) == mine &&
        __atomic_load_n(&initiator->cross_sleeps, __ATOMIC_SEQ_CST))
        cross_send(BIT(initiator->id), CROSS_ANSWERED);
}

static bool spin_for_answers(cpumask_t *waiting)
{
    u64 end = 0;
    do {
        for (int i = 0; i < CROSS_SPIN_TURNS; i++) {
            if (!atomic_load(waiting))
                return true;
            cpu_relax_poll();
        }
        if (!end)
            end = ktime_ns() + CROSS_SPIN_NS;
    } while (ktime_ns() < end);
    return false;
}

void cross_wait(cpumask_t *waiting)
{
    struct cpu *me = this_cpu();
    if (spin_for_answers(waiting))
        return;
    while (atomic_load(waiting)) {
        // Who answers last sees the flag, or the answer is seen here before the halt. A call of
        // another CPU that is pending has its interrupt still to come, which ends the halt at once.
        atomic_store_seq(&me->cross_sleeps, 1);
        if (__atomic_load_n(waiting, __ATOMIC_SEQ_CST))
            arch_wait_cross();
        atomic_store_seq(&me->cross_sleeps, 0);
        cpu_relax_poll();
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
    cross_answer(&run.waiting, run.initiator);
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
    // CROSS_ANSWERED needs nothing, nor does CROSS_RESCHED: the way back from the interrupt looks at the thread's work word.
}

void cross_run(cpumask_t mask, void (*fn)(void *), void *arg)
{
    cpumask_t others = mask & cpus_online() & ~BIT(this_cpu()->id);
    if (others) {
        spin_lock(&run_lock);
        run.fn = fn;
        run.arg = arg;
        run.initiator = this_cpu();
        atomic_store(&run.waiting, others);
        cross_send(others, CROSS_FUNC);
    }
    if (mask & BIT(this_cpu()->id))
        fn(arg);
    if (others) {
        cross_wait(&run.waiting);
        spin_unlock(&run_lock);
    }
}
