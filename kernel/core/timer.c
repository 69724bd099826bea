// SPDX-License-Identifier: BSD-2-Clause
// timer.c: one-shot timers.
//
// Each CPU keeps its timers in a tree by deadline, with the earliest at hand, and programs its clock
// event for that one. The event is not touched when a timer goes away or the new one is later than
// what is programmed: at worst an interrupt finds nothing to do and programs the next one. Most
// timers are cancelled before they fire (a futex wait with a timeout that is woken), and cost no
// access to the device then.
//
// Only the CPU itself arms timers on its tree; any CPU may take one out of it.
#include "arch/smp.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/time.h"
#include "core/wait.h"

struct timer_base {
    struct spinlock lock;
    struct rb_root tree;    // [lock] by deadline_ns
    struct timer *first;    // [lock] NULL: none
    struct timer *running;  // [lock] whose callback runs now
    u64 event_ns;           // own CPU: what the clock event is set to; 0: nothing
};
static DEFINE_PERCPU(struct timer_base, timer_base);

void timer_init(struct timer *t, void (*fn)(struct timer *t))
{
    t->fn = fn;
    t->queued = 0;
    t->cpu = 0;
}

static struct timer_base *base_of(const struct timer *t)
{
    return percpu_ptr_of(cpus[t->cpu], timer_base);
}

static void take_out(struct timer_base *base, struct timer *t)
{
    if (base->first == t) {
        struct rb_node *next = rb_next(&t->node);
        base->first = next ? container_of(next, struct timer, node) : NULL;
    }
    rb_erase(&base->tree, &t->node, NULL);
    t->queued = 0;
}

static void put_in(struct timer_base *base, struct timer *t)
{
    struct rb_node **link = &base->tree.node, *parent = NULL;
    bool first = true;
    while (*link) {
        parent = *link;
        if (t->deadline_ns < container_of(parent, struct timer, node)->deadline_ns) {
            link = &parent->left;
        } else {
            link = &parent->right;
            first = false;
        }
    }
    rb_link_node(&t->node, parent, link);
    rb_insert_fixup(&base->tree, &t->node, NULL);
    if (first)
        base->first = t;
    t->queued = 1;
}

static void program(struct timer_base *base, u64 deadline_ns)
{
    base->event_ns = deadline_ns;
    arch_clockevent_set(deadline_ns ? deadline_ns : NEVER);
}

void timer_arm(struct timer *t, u64 deadline_ns)
{
    struct timer_base *base = percpu_ptr(timer_base);
    if (t->queued && t->cpu != this_cpu()->id)
        timer_cancel(t);
    spin_lock(&base->lock);
    if (t->queued)
        take_out(base, t);
    t->cpu = this_cpu()->id;
    t->deadline_ns = deadline_ns;
    put_in(base, t);
    bool sooner = base->event_ns == 0 || deadline_ns < base->event_ns;
    spin_unlock(&base->lock);
    if (sooner && deadline_ns != NEVER)
        program(base, deadline_ns ? deadline_ns : 1);
}

bool timer_cancel(struct timer *t)
{
    struct timer_base *base = base_of(t);
    spin_lock(&base->lock);
    bool was_queued = t->queued;
    if (was_queued)
        take_out(base, t);
    while (!was_queued && base->running == t && base != percpu_ptr(timer_base)) {
        spin_unlock(&base->lock);
        cpu_relax_poll();
        spin_lock(&base->lock);
    }
    spin_unlock(&base->lock);
    return was_queued;
}

u64 timer_next_deadline(void)
{
    struct timer_base *base = percpu_ptr(timer_base);
    spin_lock(&base->lock);
    u64 deadline = base->first ? base->first->deadline_ns : NEVER;
    spin_unlock(&base->lock);
    return deadline;
}

// A callback may free or re-arm its timer, so *t is not looked at after the call.
void timer_interrupt(void)
{
    struct timer_base *base = percpu_ptr(timer_base);
    u64 now = ktime_ns();

    base->event_ns = 1;  // programmed below: arming from a callback need not do it
    spin_lock(&base->lock);
    for (;;) {
        struct timer *t = base->first;
        if (!t)
            break;
        if (t->deadline_ns > now) {
            now = ktime_ns();
            if (t->deadline_ns > now)
                break;
        }
        take_out(base, t);
        base->running = t;
        spin_unlock(&base->lock);
        t->fn(t);
        spin_lock(&base->lock);
        base->running = NULL;
    }
    u64 next = base->first && base->first->deadline_ns != NEVER ? base->first->deadline_ns : 0;
    spin_unlock(&base->lock);
    program(base, next);
}
