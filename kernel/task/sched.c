// SPDX-License-Identifier: BSD-2-Clause
// sched.c: who runs where, and how threads wait (core/wait.h).
//
// 1. Each CPU has a run queue: a bit map and lists for the real-time priorities, a red-black tree by
//    vruntime for the others. The thread that runs is not in them. FIFO and RR come first, highest
//    priority first; among the others the least vruntime runs next. vruntime is CPU time divided by
//    the weight of the nice value, so equal vruntime is a fair share. A thread that wakes starts at
//    most WAKE_BONUS behind the queue's minimum: sleepers get the CPU promptly and cannot save up.
//
// 2. States. state and on_rq change under the lock of the run queue of t->cpu:
//
//        sched_enqueue_new         schedule picks it
//      new ------------> queued <------------------------> running
//                          ^   preempt, yield (on_rq)         |  state = SLEEPING by itself,
//               thread_wake|                                  |  then thread_block
//                          +---------- sleeping <-------------+
//
//    A thread writes its own state to a sleeping one without the lock, then looks at its condition;
//    thread_wake in between turns it back to running, and thread_block returns at once.
//
// 3. The run-queue lock is held across arch_switch and released by the thread that comes in
//    (finish_switch). Whoever gets the lock of t->cpu and sees !on_rq therefore knows that t is off
//    its stack, and may put it on another queue. Two run-queue locks are never held at once; between
//    leaving one and entering another a thread is RUNNING with !on_rq, which nobody else touches.
//
// 4. The kernel is not preempted. Another CPU that wants this one to choose again sets WORK_RESCHED
//    in the running thread's work word and sends CROSS_RESCHED; the return to user mode, and
//    sched_point(), see it. The idle loop looks at its queue after every interrupt.
//
// 5. Tickless: a timer for slices runs on a CPU only while somebody waits for it. Accounting is exact at
//    switches; nothing reads a clock on system calls. How CPU time divides into user and system time is
//    sampled, every SAMPLE_NS while a CPU is busy: a thread's time since its last sample counts as what it
//    was found doing. An idle CPU takes no samples.
//
// Rejected: one lock a thread beside the run-queue locks (an atomic more on each wake and sleep).
#include <string.h>

#include "arch/smp.h"
#include "core/irq.h"
#include "core/log.h"
#include "mm/page.h"
#include "task/task_internal.h"

#define RT_LEVELS 100
#define SLICE_NS (3 * NSEC_PER_MSEC)       // a fair thread's turn when others wait
#define SAMPLE_NS (4 * NSEC_PER_MSEC)      // as Linux at 250 Hz
#define RR_SLICE_NS (100 * NSEC_PER_MSEC)  // sched_rr_get_interval(2) on Linux
#define WAKE_GRAN_NS (1 * NSEC_PER_MSEC)   // how far behind a waking thread must be to preempt
#define WAKE_BONUS_NS (3 * NSEC_PER_MSEC)  // > WAKE_GRAN_NS, so that sleepers preempt CPU hogs
#define WEIGHT_NICE_0 1024
#define WEIGHT_IDLE 3

struct run_queue {
    struct spinlock lock;
    u32 n_queued;               // [lock] threads that wait, the running one not counted
    struct rb_root fair;        // [lock] by vruntime
    struct thread *fair_first;  // [lock] its leftmost
    u64 min_vruntime;           // [lock] never goes back
    struct thread *running;     // [lock] atomic, for thread_kick
    struct thread *idle;
    u64 rt_bitmap[2];           // [lock] which lists have threads
    struct list rt[RT_LEVELS];  // [lock] valid while their bit is set
    struct timer tick;
    bool tick_armed;    // [lock]
    bool sample_armed;  // [lock]
    struct timer sample;
    u64 n_switches;
    u64 idle_ns, idle_since_ns;  // idle_since_ns: 0 while not idle
};
static DEFINE_PERCPU(struct run_queue, run_queue);
static struct thread idle_threads[MAX_CPUS];
static u64 idle_mask;  // atomic: CPUs in the idle loop that no waker has claimed yet

static inline struct run_queue *rq_of(u32 cpu) { return percpu_ptr_of(cpus[cpu], run_queue); }

// Weights of nice -20 .. 19: each step is a factor of 1.25, nice 0 is 1024.
static const u32 nice_weights[40] = {
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906,  3121,  2501,  1991,  1586,  1277,  1024,  820,   655,   526,   423,  335,  272,  215,
    172,   137,   110,   87,    70,    56,    45,    36,    29,    23,    18,   15,
};

// ---- queue operations, rq->lock held

static inline bool before(u64 a, u64 b) { return (s64)(a - b) < 0; }

static void fair_insert(struct run_queue *rq, struct thread *t)
{
    struct rb_node **link = &rq->fair.node, *parent = NULL;
    bool leftmost = true;
    if (!*link) {
        rb_set_only_node(&rq->fair, &t->run_node);
        rq->fair_first = t;
        return;
    }
    while (*link) {
        parent = *link;
        if (before(t->vruntime, container_of(parent, struct thread, run_node)->vruntime)) {
            link = &parent->left;
        } else {
            link = &parent->right;
            leftmost = false;
        }
    }
    rb_link_node(&t->run_node, parent, link);
    rb_insert_fixup(&rq->fair, &t->run_node, NULL);
    if (leftmost)
        rq->fair_first = t;
}

static void fair_remove(struct run_queue *rq, struct thread *t)
{
    if (rb_is_only_node(&rq->fair, &t->run_node)) {
        rq->fair.node = NULL;
        rq->fair_first = NULL;
        return;
    }
    if (rq->fair_first == t) {
        struct rb_node *next = rb_next(&t->run_node);
        rq->fair_first = next ? container_of(next, struct thread, run_node) : NULL;
    }
    rb_erase(&rq->fair, &t->run_node, NULL);
}

static void rt_insert(struct run_queue *rq, struct thread *t, bool at_front)
{
    u32 level = t->rt_priority;
    u64 bit = BIT(level & 63);
    if (!(rq->rt_bitmap[level >> 6] & bit)) {
        list_init(&rq->rt[level]);
        rq->rt_bitmap[level >> 6] |= bit;
    }
    if (at_front)
        list_push_front(&rq->rt[level], &t->rt_link);
    else
        list_push_back(&rq->rt[level], &t->rt_link);
}

static void rt_remove(struct run_queue *rq, struct thread *t)
{
    u32 level = t->rt_priority;
    list_remove(&t->rt_link);
    if (list_empty(&rq->rt[level]))
        rq->rt_bitmap[level >> 6] &= ~BIT(level & 63);
}

static void queue_insert(struct run_queue *rq, struct thread *t, u64 now, bool at_front)
{
    t->queued_since_ns = now;
    rq->n_queued++;
    if (unlikely(policy_is_rt(t->policy)))
        rt_insert(rq, t, at_front);
    else
        fair_insert(rq, t);
}

static void queue_remove(struct run_queue *rq, struct thread *t)
{
    rq->n_queued--;
    if (unlikely(policy_is_rt(t->policy)))
        rt_remove(rq, t);
    else
        fair_remove(rq, t);
}

// The best thread that waits, or NULL; it stays queued.
static struct thread *queue_first(struct run_queue *rq)
{
    for (int word = 1; word >= 0; word--) {
        if (unlikely(rq->rt_bitmap[word])) {
            u32 level = word * 64 + 63 - __builtin_clzll(rq->rt_bitmap[word]);
            return list_first(&rq->rt[level], struct thread, rt_link);
        }
    }
    return rq->fair_first;
}

static void update_min_vruntime(struct run_queue *rq)
{
    struct thread *t = rq->running, *first = rq->fair_first;
    u64 least;
    if (t && !t->is_idle && !policy_is_rt(t->policy))
        least = first && before(first->vruntime, t->vruntime) ? first->vruntime : t->vruntime;
    else if (first)
        least = first->vruntime;
    else
        return;
    if (before(rq->min_vruntime, least))
        rq->min_vruntime = least;
}

// Charges the running thread up to now, which may be a little behind when another CPU's clock reading
// was the last one.
static inline void account(struct run_queue *rq, struct thread *t, u64 now)
{
    u64 delta = now - t->exec_start_ns;
    if (unlikely((s64)delta < 0))
        return;
    t->exec_start_ns = now;
    t->run_ns += delta;
    t->vruntime += likely(t->weight == WEIGHT_NICE_0) ? delta : delta * WEIGHT_NICE_0 / t->weight;
}

static __always_inline struct run_queue *lock_rq_of(struct thread *t)
{
    for (;;) {
        u32 cpu = READ_ONCE(t->cpu);
        struct run_queue *rq = rq_of(cpu);
        spin_lock(&rq->lock);
        if (likely(t->cpu == cpu))
            return rq;
        spin_unlock(&rq->lock);
    }
}

// ---- switching

// What the incoming thread does for the outgoing one, first thing on its own stack.
static inline void finish_switch(struct thread *prev)
{
    bool dead = prev->state == T_DEAD, migrate = prev->migrate && prev->state == T_RUNNING;
    if (unlikely(migrate))
        prev->on_rq = false;
    spin_unlock(&percpu_ptr(run_queue)->lock);
    if (unlikely(migrate)) {
        prev->migrate = false;
        sched_enqueue_new(prev);
    }
    if (unlikely(dead)) {
        stack_free(prev->stack);
        prev->stack = NULL;
        thread_put(prev);
    }
}

void sched_first_run(struct thread *prev) { finish_switch(prev); }

// Gives the CPU from prev to next (not queued any more). Returns when prev runs again.
static void switch_threads(struct run_queue *rq, struct thread *prev, struct thread *next, u64 now)
{
    next->exec_start_ns = now;
    next->slice_run_ns = next->run_ns;
    if (!next->is_idle && before(next->queued_since_ns, now))
        next->cpu_delay_ns += now - next->queued_since_ns;
    // A full fence: thread_kick sets a bit in the work word and then looks who runs; next looks at its
    // work word after this. So either it is kicked or it sees the bit.
    atomic_store_seq(&rq->running, next);
    rq->n_switches++;
    if (prev->work & WORK_RESCHED)
        atomic_fetch_and(&prev->work, ~WORK_RESCHED);
    if (next->mm != prev->mm)
        mm_switch(next->mm);
    if (unlikely(!rq->sample_armed) && !next->is_idle) {
        rq->sample_armed = true;
        timer_arm(&rq->sample, now + SAMPLE_NS);
    }
    if (next->rseq_area)
        atomic_fetch_or(&next->work, WORK_RSEQ);
    if (unlikely(next->process->cpu_timers_active))
        cpu_timers_switch_in(next, now);
    cpu_set_current(this_cpu(), next);
    finish_switch(arch_switch(prev, next));
}

static void tick_start(struct run_queue *rq, u64 now)
{
    if (rq->tick_armed)
        return;
    rq->tick_armed = true;
    timer_arm(&rq->tick, now + SLICE_NS);
}

static struct thread *take_first(struct run_queue *rq)
{
    struct thread *next = queue_first(rq);
    if (next)
        queue_remove(rq, next);
    return next;
}

// Takes the current thread, whose state is a sleeping one or dead, off the CPU.
static void schedule_out(struct run_queue *rq, struct thread *prev)
{
    u64 now = ktime_ns();
    account(rq, prev, now);
    prev->on_rq = false;
    prev->n_voluntary++;
    struct thread *next = take_first(rq);
    if (!next)
        next = rq->idle;
    else
        update_min_vruntime(rq);
    if (rq->n_queued)
        tick_start(rq, now);
    KASSERT(next != prev);
    switch_threads(rq, prev, next, now);
}

static void block_current(void)
{
    struct run_queue *rq = percpu_ptr(run_queue);
    struct thread *prev = current;
    spin_lock(&rq->lock);
    if (prev->state == T_RUNNING) {
        spin_unlock(&rq->lock);
        return;
    }
    schedule_out(rq, prev);
}

// The running thread stays runnable but next goes first.
static void switch_runnable(struct run_queue *rq, struct thread *prev, struct thread *next, u64 now,
                            bool at_front)
{
    if (next)
        queue_remove(rq, next);
    if (!prev->is_idle) {
        prev->n_involuntary++;
        if (!prev->migrate)
            queue_insert(rq, prev, now, at_front);
    }
    if (!next)
        next = rq->idle;
    update_min_vruntime(rq);
    if (rq->n_queued)
        tick_start(rq, now);
    switch_threads(rq, prev, next, now);
}

void thread_yield(void)
{
    struct run_queue *rq = percpu_ptr(run_queue);
    struct thread *prev = current;
    if (!READ_ONCE(rq->n_queued))
        return;
    spin_lock(&rq->lock);
    struct thread *next = queue_first(rq);
    if (!next || (policy_is_rt(prev->policy) &&
                  (!policy_is_rt(next->policy) || next->rt_priority < prev->rt_priority))) {
        spin_unlock(&rq->lock);
        return;
    }
    u64 now = ktime_ns();
    account(rq, prev, now);
    switch_runnable(rq, prev, next, now, false);
}

// Between two fair threads: t has run for ran_ns since it got the CPU, first waits.
static inline bool fair_goes_first(const struct thread *t, u64 ran_ns, const struct thread *first)
{
    return before(first->vruntime + WAKE_GRAN_NS, t->vruntime) ||
           (ran_ns >= SLICE_NS && before(first->vruntime, t->vruntime));
}

static __noinline bool first_goes_first_by_policy(const struct thread *t, u64 ran_ns,
                                                  const struct thread *first)
{
    bool rt = policy_is_rt(t->policy);
    if (policy_is_rt(first->policy)) {
        if (!rt || first->rt_priority > t->rt_priority)
            return true;
        return t->policy == SCHED_RR && first->rt_priority == t->rt_priority &&
               ran_ns >= RR_SLICE_NS;
    }
    if (rt)
        return false;
    return (t->policy == SCHED_IDLE && first->policy != SCHED_IDLE) ||
           fair_goes_first(t, ran_ns, first);
}

// Should first, which waits, take the CPU from the running t?
static __always_inline bool first_goes_first(const struct thread *t, const struct thread *first)
{
    if (t->is_idle)
        return true;
    u64 ran_ns = t->run_ns - t->slice_run_ns;
    if (likely(t->policy == SCHED_OTHER && first->policy == SCHED_OTHER))
        return fair_goes_first(t, ran_ns, first);
    return first_goes_first_by_policy(t, ran_ns, first);
}

// Chooses again: WORK_RESCHED was set.
static void schedule_preempt(void)
{
    struct run_queue *rq = percpu_ptr(run_queue);
    struct thread *prev = current;
    spin_lock(&rq->lock);
    atomic_fetch_and(&prev->work, ~WORK_RESCHED);
    u64 now = ktime_ns();
    account(rq, prev, now);
    struct thread *first = queue_first(rq);
    // One that is about to sleep goes where it may run when it wakes.
    bool must_leave =
        !prev->is_idle && prev->state == T_RUNNING && !(prev->affinity & BIT(this_cpu()->id));
    prev->migrate = must_leave;
    if (!must_leave && (!first || !first_goes_first(prev, first))) {
        if (first)
            tick_start(rq, now);
        spin_unlock(&rq->lock);
        return;
    }
    bool slice_over = prev->run_ns - prev->slice_run_ns >= RR_SLICE_NS;
    switch_runnable(rq, prev, first, now, !(prev->policy == SCHED_RR && slice_over));
}

static void sched_tick(struct timer *timer)
{
    struct run_queue *rq = container_of(timer, struct run_queue, tick);
    u64 now = ktime_ns();
    spin_lock(&rq->lock);
    rq->tick_armed = false;
    struct thread *t = rq->running, *first = queue_first(rq);
    if (first) {
        account(rq, t, now);
        if (first_goes_first(t, first))
            atomic_fetch_or(&t->work, WORK_RESCHED);
        tick_start(rq, now);
        // An idle CPU that missed the moment to take first gets another one.
        cpumask_t idle = atomic_load_relaxed(&idle_mask) & cpus_online();
        if (idle)
            cross_send(idle & -idle, CROSS_RESCHED);
    }
    spin_unlock(&rq->lock);
}

// Was it the program or the kernel that ran? See invariant 5.
static void sched_sample(struct timer *timer)
{
    struct run_queue *rq = container_of(timer, struct run_queue, sample);
    u64 now = ktime_ns();
    spin_lock(&rq->lock);
    struct thread *t = rq->running;
    rq->sample_armed = !t->is_idle;
    if (!t->is_idle) {
        account(rq, t, now);
        if (!percpu(interrupted_user))
            t->system_ns += t->run_ns - t->sampled_ns;
        t->sampled_ns = t->run_ns;
        timer_arm(&rq->sample, now + SAMPLE_NS);
    }
    spin_unlock(&rq->lock);
}

// ---- choosing a CPU, waking

static u32 least_loaded(cpumask_t allowed, u32 preferred)
{
    u32 best = preferred, best_load = UINT32_MAX;
    if (allowed & BIT(preferred))
        best_load = READ_ONCE(rq_of(preferred)->n_queued);
    for (cpumask_t left = allowed; left; left &= left - 1) {
        u32 cpu = __builtin_ctzll(left), load = READ_ONCE(rq_of(cpu)->n_queued);
        if (load < best_load) {
            best = cpu;
            best_load = load;
        }
    }
    return best;
}

// An idle CPU if there is one, the one it ran on before all; else the shortest queue.
static u32 select_cpu(struct thread *t)
{
    if (n_cpus == 1)
        return 0;
    cpumask_t allowed = t->affinity & cpus_online();
    u32 prev = t->cpu;
    if (unlikely(!allowed))
        return prev;
    for (;;) {
        cpumask_t idle = atomic_load_relaxed(&idle_mask) & allowed;
        if (!idle)
            break;
        u32 cpu = idle & BIT(prev) ? prev : (u32)__builtin_ctzll(idle);
        if (atomic_fetch_and(&idle_mask, ~BIT(cpu)) & BIT(cpu))
            return cpu;
    }
    if ((allowed & BIT(prev)) && !READ_ONCE(rq_of(prev)->n_queued))
        return prev;
    return least_loaded(allowed, prev);
}

static void ask_resched(struct run_queue *rq, u32 cpu)
{
    atomic_fetch_or(&rq->running->work, WORK_RESCHED);
    if (cpu != this_cpu()->id)
        cross_send(BIT(cpu), CROSS_RESCHED);
}

// t has just been queued on rq: does its CPU have to look?
static void check_preempt(struct run_queue *rq, u32 cpu, struct thread *t, u64 now)
{
    struct thread *running = rq->running;
    if (unlikely(!running))  // that CPU is just coming up
        return;
    if (running->is_idle) {
        if (cpu != this_cpu()->id)
            cross_send(BIT(cpu), CROSS_RESCHED);
        else if (running == current)
            atomic_fetch_or(&running->work, WORK_RESCHED);
        return;
    }
    bool lazy =
        (t->policy == SCHED_BATCH || t->policy == SCHED_IDLE) && running->policy != SCHED_IDLE;
    if (!lazy && first_goes_first(running, t))
        ask_resched(rq, cpu);
    else if (rq->tick_armed)
        return;
    else if (cpu == this_cpu()->id)
        tick_start(rq, now);
    else
        ask_resched(rq, cpu);  // that CPU arms its own timer
}

// Queues t, which is RUNNING and on no queue, on cpu's run queue, whose lock is held; releases it.
static void enqueue_and_unlock(struct run_queue *rq, u32 cpu, struct thread *t, u64 now)
{
    // The one that runs counts with what it has run until now, or t would be ahead by all of it.
    struct thread *running = rq->running;
    if (likely(running) && !running->is_idle) {
        account(rq, running, now);
        update_min_vruntime(rq);
    }
    t->on_rq = true;
    u64 floor = rq->min_vruntime - WAKE_BONUS_NS;
    if (before(t->vruntime, floor))
        t->vruntime = floor;
    queue_insert(rq, t, now, false);
    check_preempt(rq, cpu, t, now);
    spin_unlock(&rq->lock);
}

// Moves the clock of a thread that changes queues.
static void vruntime_rebase(struct thread *t, struct run_queue *from, struct run_queue *to)
{
    t->vruntime += READ_ONCE(to->min_vruntime) - READ_ONCE(from->min_vruntime);
}

bool thread_wake_from(struct thread *t, u32 state_mask)
{
    atomic_fence();
    if (!(BIT(READ_ONCE(t->state)) & state_mask))
        return false;
    struct run_queue *rq = lock_rq_of(t);
    if (!(BIT(t->state) & state_mask)) {
        spin_unlock(&rq->lock);
        return false;
    }
    t->state = T_RUNNING;
    if (t->on_rq) {  // has not gone to sleep yet: it need not
        spin_unlock(&rq->lock);
        return true;
    }
    u32 cpu = select_cpu(t);
    if (cpu != t->cpu) {
        struct run_queue *to = rq_of(cpu);
        vruntime_rebase(t, rq, to);
        t->cpu = cpu;
        spin_unlock(&rq->lock);
        rq = to;
        spin_lock(&rq->lock);
    }
    enqueue_and_unlock(rq, cpu, t, ktime_ns());
    return true;
}

bool thread_wake(struct thread *t)
{
    return thread_wake_from(t, BIT(T_SLEEPING) | BIT(T_SLEEPING_INT) | BIT(T_SLEEPING_KILL));
}

// Puts a thread that is RUNNING and on no queue on the best one: a new one, or one that moves.
void sched_enqueue_new(struct thread *t)
{
    u32 from = t->cpu, cpu = select_cpu(t);
    struct run_queue *rq = rq_of(cpu);
    if (cpu != from)
        vruntime_rebase(t, rq_of(from), rq);
    t->cpu = cpu;
    spin_lock(&rq->lock);
    enqueue_and_unlock(rq, cpu, t, ktime_ns());
}

// Makes t look at its work word soon if it runs on another CPU.
// => The caller has set the bit. A thread in the kernel, or this CPU's, sees it on its way out.
void thread_kick(struct thread *t)
{
    u32 cpu = READ_ONCE(t->cpu);
    if (cpu != this_cpu()->id && atomic_load(&rq_of(cpu)->running) == t)
        cross_send(BIT(cpu), CROSS_RESCHED);
}

// ---- waiting (core/wait.h)

_Static_assert(T_SLEEPING + WAIT_UNINTERRUPTIBLE == T_SLEEPING &&
                   T_SLEEPING + WAIT_INTERRUPTIBLE == T_SLEEPING_INT &&
                   T_SLEEPING + WAIT_KILLABLE == T_SLEEPING_KILL,
               "the states of sleep are in the order of the modes");

void thread_sleep_prepare(enum wait_mode mode)
{
    atomic_store_seq(&current->state, (u32)T_SLEEPING + mode);
}

void thread_sleep_cancel(void) { WRITE_ONCE(current->state, T_RUNNING); }

bool thread_kill_pending(void) { return atomic_load_relaxed(&current->work) & WORK_KILLED; }

bool thread_signal_pending(void)
{
    return atomic_load_relaxed(&current->work) & (WORK_SIGNAL | WORK_KILLED);
}

static void sleep_timeout(struct timer *timer)
{
    struct thread *t = container_of(timer, struct thread, sleep_timer);
    if (thread_wake(t))
        t->sleep_timed_out = true;
}

int thread_block(enum wait_mode mode, u64 deadline_ns)
{
    struct thread *t = current;
    if (READ_ONCE(t->state) == T_RUNNING)
        return 0;
    u32 stop = mode == WAIT_INTERRUPTIBLE ? WORK_SIGNAL | WORK_KILLED : WORK_KILLED;
    if (mode != WAIT_UNINTERRUPTIBLE && (atomic_load_relaxed(&t->work) & stop)) {
        thread_sleep_cancel();
        return -ERESTARTSYS;
    }
    if (deadline_ns == NEVER) {
        block_current();
        return 0;
    }
    if (deadline_ns <= ktime_ns()) {
        thread_sleep_cancel();
        return -ETIMEDOUT;
    }
    t->sleep_timed_out = false;
    timer_arm(&t->sleep_timer, deadline_ns);
    block_current();
    timer_cancel(&t->sleep_timer);
    return t->sleep_timed_out ? -ETIMEDOUT : 0;
}

// Job control: sleeps until SIGCONT or SIGKILL; the caller has set T_STOPPED under signal_lock.
void thread_stop_self(void) { block_current(); }

void wait_queue_init(struct wait_queue *q)
{
    spin_init(&q->lock);
    list_init(&q->head);
}

void waiter_init(struct waiter *w)
{
    list_init(&w->link);
    w->thread = current;
    w->wake = NULL;
    w->exclusive = false;
}

static void link_waiter(struct wait_queue *q, struct waiter *w)
{
    if (!list_empty(&w->link))
        return;
    if (w->exclusive)
        list_push_back(&q->head, &w->link);
    else
        list_push_front(&q->head, &w->link);
}

void wait_prepare(struct wait_queue *q, struct waiter *w, enum wait_mode mode)
{
    spin_lock(&q->lock);
    link_waiter(q, w);
    thread_sleep_prepare(mode);
    spin_unlock(&q->lock);
}

void wait_add(struct wait_queue *q, struct waiter *w)
{
    spin_lock(&q->lock);
    link_waiter(q, w);
    spin_unlock(&q->lock);
    atomic_fence();  // against the one of wait_has_waiters
}

void wait_remove(struct wait_queue *q, struct waiter *w)
{
    spin_lock(&q->lock);
    if (!list_empty(&w->link))
        list_remove_init(&w->link);
    spin_unlock(&q->lock);
}

int wait_sleep(struct waiter *w, enum wait_mode mode, u64 deadline_ns)
{
    return thread_block(mode, deadline_ns);
}

// The lock is taken even when the waiter was already removed: the waker may still be looking at it.
void wait_finish(struct wait_queue *q, struct waiter *w)
{
    thread_sleep_cancel();
    wait_remove(q, w);
}

void wait_wake(struct wait_queue *q, int n_exclusive, u32 events)
{
    spin_lock(&q->lock);
    list_for_each_safe (link, &q->head) {
        struct waiter *w = list_entry(link, struct waiter, link);
        bool exclusive = w->exclusive, woken;
        if (exclusive && n_exclusive <= 0)
            break;
        if (w->wake) {
            woken = w->wake(w, events);
        } else {
            woken = thread_wake(w->thread);
            if (woken)
                list_remove_init(&w->link);
        }
        if (woken && exclusive)
            n_exclusive--;
    }
    spin_unlock(&q->lock);
}

bool sched_needed(void) { return atomic_load_relaxed(&current->work) & WORK_RESCHED; }

void sched_point_slow(void) { schedule_preempt(); }

void sched_point(void)
{
    arch_irq_enable();
    __asm__ volatile("nop");  // x86 keeps interrupts back for one instruction after sti
    arch_irq_disable();
    if (unlikely(sched_needed()))
        sched_point_slow();
}

// ---- idle

// A thread that waits on rq and may run on cpu: the best real-time one, else the fairest.
static struct thread *stealable(struct run_queue *rq, u32 cpu)
{
    struct thread *first = queue_first(rq);
    if (!first || (first->affinity & BIT(cpu)))
        return first;
    for (struct rb_node *n = rb_first(&rq->fair); n; n = rb_next(n)) {
        struct thread *t = container_of(n, struct thread, run_node);
        if (t->affinity & BIT(cpu))
            return t;
    }
    return NULL;
}

// Takes a waiting thread from another CPU's queue to this one.
static bool steal(struct run_queue *mine)
{
    u32 me = this_cpu()->id;
    for (u32 i = 1; i < n_cpus; i++) {
        u32 victim = (me + i) % n_cpus;
        struct run_queue *rq = rq_of(victim);
        if (!READ_ONCE(rq->n_queued) || !spin_trylock(&rq->lock))
            continue;
        struct thread *t = rq->running->is_idle ? NULL : stealable(rq, me);
        if (t) {
            queue_remove(rq, t);
            t->on_rq = false;
            vruntime_rebase(t, rq, mine);
            t->cpu = me;
        }
        spin_unlock(&rq->lock);
        if (t) {
            spin_lock(&mine->lock);
            enqueue_and_unlock(mine, me, t, ktime_ns());
            return true;
        }
    }
    return false;
}

static void idle_pause(struct run_queue *rq, struct cpu *cpu)
{
    atomic_fetch_or(&idle_mask, BIT(cpu->id));
    atomic_store_seq(&cpu->idle, 1);
    rq->idle_since_ns = ktime_ns();
    if (!READ_ONCE(rq->n_queued)) {
        if (page_zero_idle())
            sched_point();
        else
            arch_idle_wait();
    }
    rq->idle_ns += ktime_ns() - rq->idle_since_ns;
    rq->idle_since_ns = 0;
    atomic_store_relaxed(&cpu->idle, 0);
    atomic_fetch_and(&idle_mask, ~BIT(cpu->id));
}

void sched_idle_loop(void)
{
    struct run_queue *rq = percpu_ptr(run_queue);
    struct cpu *cpu = this_cpu();
    for (;;) {
        cpu_relax_poll();
        if (READ_ONCE(rq->n_queued) || (n_cpus > 1 && steal(rq)))
            schedule_preempt();
        else
            idle_pause(rq, cpu);
    }
}

// ---- set-up

void sched_init_thread(struct thread *t, const struct thread *parent)
{
    timer_init(&t->sleep_timer, sleep_timeout);
    t->state = T_RUNNING;
    t->affinity = parent ? parent->affinity : ~0ull;
    t->policy = parent ? parent->policy : SCHED_OTHER;
    t->nice = parent ? parent->nice : 0;
    t->rt_priority = parent ? parent->rt_priority : 0;
    if (parent && parent->reset_on_fork) {
        if (policy_is_rt(t->policy))
            t->policy = SCHED_OTHER;
        t->rt_priority = 0;
        t->nice = MAX(t->nice, 0);
    }
    t->weight = t->policy == SCHED_IDLE ? WEIGHT_IDLE : nice_weights[t->nice + 20];
    t->cpu = this_cpu()->id;
    // A child starts where its parent is: forking gives no time.
    t->vruntime =
        parent && !policy_is_rt(t->policy) ? parent->vruntime : percpu_ptr(run_queue)->min_vruntime;
    t->timer_slack_ns = parent ? parent->timer_slack_ns : 50000;
}

void thread_start(struct thread *t) { sched_enqueue_new(t); }

// Makes the stack that runs now the idle thread of this CPU.
static void init_this_cpu(void)
{
    struct cpu *cpu = this_cpu();
    struct run_queue *rq = percpu_ptr(run_queue);
    struct thread *t = &idle_threads[cpu->id];
    t->is_idle = true;
    t->refcount = 1;
    t->process = &kernel_process;
    t->weight = WEIGHT_IDLE;
    t->affinity = BIT(cpu->id);
    t->cpu = cpu->id;
    t->on_rq = true;
    t->exec_start_ns = ktime_ns();
    t->stack = (void *)(cpu->kernel_stack_top - KERNEL_STACK_SIZE);
    strlcpy(t->comm, "idle", sizeof t->comm);
    list_init(&t->sig_queue);
    list_init(&t->cpu_timers);
    timer_init(&t->sleep_timer, sleep_timeout);
    timer_init(&rq->tick, sched_tick);
    timer_init(&rq->sample, sched_sample);
    rq->idle = rq->running = t;
    cpu_set_current(cpu, t);
}

void sched_init_cpu(void) { init_this_cpu(); }

// => sched_init_cpu has run on this CPU.
void sched_start_cpu_main(void) { sched_idle_loop(); }

static void kthread_main(void *arg)
{
    struct thread *t = current;
    void (*fn)(void *) = (void (*)(void *))arg;
    fn(t->private_data);
    thread_exit(0);
}

struct thread *kthread_create(const char *name, void (*fn)(void *arg), void *arg, int cpu)
{
    struct thread *t = thread_alloc(&kernel_process);
    if (!t)
        return ERR_PTR(-ENOMEM);
    sched_init_thread(t, NULL);
    strlcpy(t->comm, name, sizeof t->comm);
    t->private_data = arg;
    if (cpu >= 0) {
        t->affinity = BIT(cpu);
        t->cpu = cpu;
    }
    arch_thread_init_kernel(&t->arch, (char *)t->stack + KERNEL_STACK_SIZE, kthread_main,
                            (void *)fn);
    thread_start(t);
    return t;
}

// The last thing a thread does: state is T_DEAD, its own reference goes with the stack.
void sched_exit(void)
{
    struct run_queue *rq = percpu_ptr(run_queue);
    struct thread *t = current;
    spin_lock(&rq->lock);
    t->state = T_DEAD;
    schedule_out(rq, t);
    panic("a dead thread runs");
}

// ---- parameters and figures

void sched_set_params(struct thread *t, u8 policy, u8 rt_priority, s8 nice)
{
    struct run_queue *rq = lock_rq_of(t);
    u64 now = ktime_ns();
    bool running = rq->running == t, queued = t->on_rq && !running;
    if (running)
        account(rq, t, now);
    if (queued)
        queue_remove(rq, t);
    if (policy_is_rt(t->policy) && !policy_is_rt(policy))
        t->vruntime = rq->min_vruntime;
    t->policy = policy;
    t->rt_priority = policy_is_rt(policy) ? rt_priority : 0;
    t->nice = nice;
    t->weight = policy == SCHED_IDLE ? WEIGHT_IDLE : nice_weights[nice + 20];
    if (queued) {
        queue_insert(rq, t, now, false);
        check_preempt(rq, t->cpu, t, now);
    } else if (running) {
        ask_resched(rq, t->cpu);
    }
    spin_unlock(&rq->lock);
}

int sched_set_affinity(struct thread *t, cpumask_t mask)
{
    mask &= cpus_online();
    if (!mask)
        return -EINVAL;
    struct run_queue *rq = lock_rq_of(t);
    t->affinity = mask;
    bool misplaced = t->on_rq && !(mask & BIT(t->cpu)), running = rq->running == t;
    if (misplaced && running)
        ask_resched(rq, t->cpu);
    if (misplaced && !running) {
        queue_remove(rq, t);
        t->on_rq = false;
    }
    spin_unlock(&rq->lock);
    if (misplaced && !running)
        sched_enqueue_new(t);
    else if (misplaced && t == current)
        sched_point();
    return 0;
}

u64 sched_rr_interval_ns(struct thread *t)
{
    switch (t->policy) {
    case SCHED_RR: return RR_SLICE_NS;
    case SCHED_FIFO: return 0;
    default: return SLICE_NS;
    }
}

u64 thread_cpu_ns(struct thread *t)
{
    struct run_queue *rq = lock_rq_of(t);
    if (rq->running == t)
        account(rq, t, ktime_ns());
    u64 ns = t->run_ns;
    spin_unlock(&rq->lock);
    return ns;
}

u64 cpu_idle_ns(u32 cpu)
{
    struct run_queue *rq = rq_of(cpu);
    u64 since = READ_ONCE(rq->idle_since_ns);
    return rq->idle_ns + (since ? ktime_ns() - since : 0);
}

#define LOAD_FRACTION 11
#define LOAD_PERIOD_NS (5 * NSEC_PER_SEC)
static u64 load_average[3], load_updated_ns;

// The averages decay in steps of five seconds, brought up to date when somebody looks.
static void load_update(u32 active, u64 now)
{
    static const u32 decay[3] = {1884, 2014, 2037};  // 2048 / e^(5 s / 1, 5, 15 min)
    u64 steps = (now - load_updated_ns) / LOAD_PERIOD_NS;
    load_updated_ns += steps * LOAD_PERIOD_NS;
    for (u64 i = 0; i < MIN(steps, 1000ull); i++)
        for (int k = 0; k < 3; k++)
            load_average[k] =
                (load_average[k] * decay[k] + ((u64)active << LOAD_FRACTION) * (2048 - decay[k])) >>
                LOAD_FRACTION;
}

void sched_load(struct sched_load *out)
{
    out->n_running = 0;
    out->n_switches = 0;
    for (u32 i = 0; i < n_cpus; i++) {
        struct run_queue *rq = rq_of(i);
        out->n_running += READ_ONCE(rq->n_queued) + !READ_ONCE(rq->running)->is_idle;
        out->n_switches += rq->n_switches;
    }
    load_update(out->n_running, ktime_ns());
    out->load_1 = load_average[0];
    out->load_5 = load_average[1];
    out->load_15 = load_average[2];
}
