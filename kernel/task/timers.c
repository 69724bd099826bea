// SPDX-License-Identifier: BSD-2-Clause
// timers.c: timers that raise signals: setitimer(2), alarm(2), timer_create(2).
//
// A timer on a wall or monotonic clock is a kernel timer (core/time.h). A timer on CPU time is on a
// list of its process or thread; while one of those runs, a per-CPU check timer goes off every
// CHECK_NS and the thread compares the clocks on its way to user mode (WORK_NOTIFY).
//
// A periodic timer is armed again when its signal has been taken, not when it fires: the periods in
// between are its overrun, and a timer of 1 ns costs one interrupt a delivered signal.
//
// Locks: timer_mutex (sleeping) for every call that creates, sets or deletes; signal_lock for the
// state that a callback looks at. timer_cancel waits for a running callback and so is called without
// signal_lock; whoever cancels first clears `armed`, which makes a callback that is under way do
// nothing. timer_arm under signal_lock only arms a timer that is not queued.
#include <string.h>

#include "core/log.h"
#include "mm/page.h"
#include "task/calls.h"
#include "task/clocks.h"
#include "task/task_internal.h"

#define CHECK_NS (1 * NSEC_PER_MSEC)
#define IGNORED_PERIOD_NS (10 * NSEC_PER_MSEC)  // at least this between expiries nobody sees
#define TIMER_ABSTIME 1

enum { SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2, SIGEV_THREAD_ID = 4 };
enum { ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2 };

struct itimerspec_user {
    struct timespec_user interval, value;
};
struct itimerval_user {
    struct timeval_user interval, value;
};

// A timer on CPU time.
struct cpu_timer {
    struct list link;           // [signal_lock] of process->cpu_timers or thread->cpu_timers
    bool armed;                 // [signal_lock]
    int which;                  // CPUCLOCK_*
    u64 expires_ns;             // [signal_lock] on its clock
    u64 interval_ns;            // [signal_lock]
    struct posix_timer *posix;  // NULL: an interval timer,
    int signal;                 // which raises this
};

struct itimers {
    struct process *process;
    struct timer real;
    bool real_armed;       // [signal_lock]
    u64 real_expires_ns;   // [signal_lock]
    u64 real_interval_ns;  // [signal_lock]
    struct cpu_timer virt, prof;
};

struct posix_timer {
    struct list link;  // [signal_lock]
    s32 id;
    int clock, notify;
    struct process *process;    // whose it is; the timer goes before the process does
    struct thread *target;      // SIGEV_THREAD_ID: referenced
    struct thread *cpu_thread;  // whose CPU time: referenced; NULL: the process's
    bool on_cpu_time;
    struct sig_entry entry;
    struct timer timer;
    struct cpu_timer cpu;
    bool armed;             // [signal_lock] timers on other clocks
    u64 expires_ns;         // [signal_lock] monotonic
    u64 interval_ns;        // [signal_lock]
    struct list real_link;  // [timer_mutex] of real_timers: armed for a time of day; empty: is not
    s32 overrun;            // [signal_lock] of the last signal taken
};

static struct mutex timer_mutex = MUTEX_INIT(timer_mutex);
static struct list real_timers = LIST_INIT(real_timers);  // [timer_mutex]
static DEFINE_PERCPU(struct timer, check_timer);

// ---- CPU time

static void check_fired(struct timer *t)
{
    struct thread *running = current;
    if (running->process->cpu_timers_active)
        atomic_fetch_or(&running->work, WORK_NOTIFY);
}

// => Under the run-queue lock of this CPU: t gets the CPU.
void cpu_timers_switch_in(struct thread *t, u64 now_ns)
{
    struct timer *check = percpu_ptr(check_timer);
    if (!check->fn)
        timer_init(check, check_fired);
    if (!check->queued)
        timer_arm(check, now_ns + CHECK_NS);
}

static void cpu_timer_link(struct cpu_timer *c, struct process *p, struct thread *t)
{
    if (!c->armed) {
        c->armed = true;
        list_push_back(t ? &t->cpu_timers : &p->cpu_timers, &c->link);
        atomic_add(&p->cpu_timers_active, 1);
    }
    // Threads that already run on CPU time of this process have to start their checks.
    list_for_each_entry (struct thread, other, &p->threads, process_link) {
        if (t && other != t)
            continue;
        atomic_fetch_or(&other->work, WORK_NOTIFY);
        thread_kick(other);
    }
}

static void cpu_timer_unlink(struct cpu_timer *c, struct process *p)
{
    if (!c->armed)
        return;
    c->armed = false;
    list_remove(&c->link);
    atomic_sub(&p->cpu_timers_active, 1);
}

static void advance(u64 *expires, u64 interval, u64 now, s32 *overrun)
{
    u64 n = now > *expires ? (now - *expires) / interval : 0;
    *expires += (n + 1) * interval;
    *overrun = MIN(n, (u64)INT32_MAX);
}

static void posix_fire(struct posix_timer *pt);

static void cpu_timer_fire(struct process *p, struct cpu_timer *c, u64 now)
{
    if (c->posix) {
        posix_fire(c->posix);
        if (c->interval_ns)
            advance(&c->expires_ns, c->interval_ns, now, &c->posix->overrun);
    } else {
        struct siginfo info = {.signo = c->signal, .code = SI_KERNEL};
        signal_send_locked(p, NULL, &info);
        s32 overrun;
        if (c->interval_ns)
            advance(&c->expires_ns, c->interval_ns, now, &overrun);
    }
    if (!c->interval_ns)
        cpu_timer_unlink(c, p);
}

static void check_list(struct process *p, struct list *timers, u64 user, u64 total)
{
    list_for_each_safe (link, timers) {
        struct cpu_timer *c = list_entry(link, struct cpu_timer, link);
        u64 now = c->which == CPUCLOCK_VIRT ? user : total;
        if (now >= c->expires_ns)
            cpu_timer_fire(p, c, now);
    }
}

// On the way to user mode: which timers on CPU time are due?
void cpu_timers_run(void)
{
    struct thread *t = current;
    struct process *p = t->process;
    u64 user, system;
    atomic_fetch_and(&t->work, ~WORK_NOTIFY);
    if (!p->cpu_timers_active)
        return;
    spin_lock(&p->signal_lock);
    if (!list_empty(&t->cpu_timers)) {
        thread_times(t, &user, &system);
        check_list(p, &t->cpu_timers, user, user + system);
    }
    if (!list_empty(&p->cpu_timers)) {
        process_times_locked(p, &user, &system);
        check_list(p, &p->cpu_timers, user, user + system);
    }
    bool active = p->cpu_timers_active;
    spin_unlock(&p->signal_lock);
    if (active)
        cpu_timers_switch_in(t, ktime_ns());
}

void cpu_timers_thread_exit(struct thread *t)
{
    struct process *p = t->process;
    if (list_empty(&t->cpu_timers))
        return;
    spin_lock(&p->signal_lock);
    while (!list_empty(&t->cpu_timers))
        cpu_timer_unlink(list_first(&t->cpu_timers, struct cpu_timer, link), p);
    spin_unlock(&p->signal_lock);
}

// ---- interval timers

static void itimer_fired(struct timer *timer)
{
    struct itimers *it = container_of(timer, struct itimers, real);
    struct process *p = it->process;
    struct siginfo info = {.signo = SIGALRM, .code = SI_KERNEL};
    spin_lock(&p->signal_lock);
    if (it->real_armed) {
        bool was_pending = p->sig_pending & SIG_BIT(SIGALRM);
        signal_send_locked(p, NULL, &info);
        bool pending = p->sig_pending & SIG_BIT(SIGALRM);
        if (!it->real_interval_ns) {
            it->real_armed = false;
        } else if (!pending || was_pending) {  // ignored: nobody will take it and arm us again
            u64 now = ktime_ns();
            s32 overrun;
            advance(&it->real_expires_ns, MAX(it->real_interval_ns, IGNORED_PERIOD_NS), now,
                    &overrun);
            timer_arm(&it->real, it->real_expires_ns);
        }
    }
    spin_unlock(&p->signal_lock);
}

// SIGALRM was taken off the queue, signal_lock held: the next period begins.
void itimer_signal_taken(struct process *p)
{
    struct itimers *it = p->itimers;
    s32 overrun;
    if (!it->real_armed || !it->real_interval_ns || it->real.queued)
        return;
    advance(&it->real_expires_ns, it->real_interval_ns, ktime_ns(), &overrun);
    timer_arm(&it->real, it->real_expires_ns);
}

static struct itimers *get_itimers(struct process *p)
{
    if (p->itimers)
        return p->itimers;
    struct itimers *it = kzalloc(sizeof *it);
    if (!it)
        return NULL;
    it->process = p;
    timer_init(&it->real, itimer_fired);
    it->virt = (struct cpu_timer){.which = CPUCLOCK_VIRT, .signal = SIGVTALRM};
    it->prof = (struct cpu_timer){.which = CPUCLOCK_PROF, .signal = SIGPROF};
    p->itimers = it;
    return it;
}

void itimers_exit(struct process *p)
{
    struct itimers *it = p->itimers;
    if (!it)
        return;
    spin_lock(&p->signal_lock);
    it->real_armed = false;
    cpu_timer_unlink(&it->virt, p);
    cpu_timer_unlink(&it->prof, p);
    spin_unlock(&p->signal_lock);
    timer_cancel(&it->real);
}

static u64 process_clock(struct process *p, int which)
{
    u64 user, system;
    process_times_locked(p, &user, &system);
    return which == CPUCLOCK_VIRT ? user : user + system;
}

// Remaining time (0: not armed) and interval; signal_lock held.
static void itimer_read(struct process *p, int which, u64 *value, u64 *interval)
{
    struct itimers *it = p->itimers;
    *value = *interval = 0;
    if (!it)
        return;
    if (which == ITIMER_REAL) {
        u64 now = ktime_ns();
        *interval = it->real_interval_ns;
        if (it->real_armed)
            *value = it->real_expires_ns > now ? it->real_expires_ns - now : NSEC_PER_USEC;
        return;
    }
    struct cpu_timer *c = which == ITIMER_VIRTUAL ? &it->virt : &it->prof;
    *interval = c->interval_ns;
    if (c->armed) {
        u64 now = process_clock(p, c->which);
        *value = c->expires_ns > now ? c->expires_ns - now : NSEC_PER_USEC;
    }
}

static void itimer_set_cpu(struct process *p, struct cpu_timer *c, u64 value, u64 interval)
{
    spin_lock(&p->signal_lock);
    c->interval_ns = interval;
    if (value) {
        c->expires_ns = process_clock(p, c->which) + value;
        cpu_timer_link(c, p, NULL);
    } else {
        cpu_timer_unlink(c, p);
    }
    spin_unlock(&p->signal_lock);
}

static void itimer_set_real(struct itimers *it, u64 value, u64 interval)
{
    struct process *p = it->process;
    spin_lock(&p->signal_lock);
    it->real_armed = false;
    spin_unlock(&p->signal_lock);
    timer_cancel(&it->real);
    spin_lock(&p->signal_lock);
    it->real_interval_ns = interval;
    if (value) {
        it->real_armed = true;
        it->real_expires_ns = deadline_after(ktime_ns(), value);
        timer_arm(&it->real, it->real_expires_ns);
    }
    spin_unlock(&p->signal_lock);
}

// Sets one of the three and gives what it was before. => 0, -ENOMEM
static int itimer_set(int which, u64 value, u64 interval, u64 *old_value, u64 *old_interval)
{
    struct process *p = current->process;
    mutex_lock(&timer_mutex);
    struct itimers *it = get_itimers(p);
    if (it) {
        spin_lock(&p->signal_lock);
        itimer_read(p, which, old_value, old_interval);
        spin_unlock(&p->signal_lock);
        if (which == ITIMER_REAL)
            itimer_set_real(it, value, interval);
        else
            itimer_set_cpu(p, which == ITIMER_VIRTUAL ? &it->virt : &it->prof, value, interval);
    }
    mutex_unlock(&timer_mutex);
    return it ? 0 : -ENOMEM;
}

static int put_itimerval(uptr_t to, u64 value, u64 interval)
{
    if (put_timeval(to, interval))
        return -EFAULT;
    return put_timeval(to + sizeof(struct timeval_user), value);
}

long sys_getitimer(int which, uptr_t to)
{
    u64 value, interval;
    if (which < ITIMER_REAL || which > ITIMER_PROF)
        return -EINVAL;
    spin_lock(&current->process->signal_lock);
    itimer_read(current->process, which, &value, &interval);
    spin_unlock(&current->process->signal_lock);
    return put_itimerval(to, value, interval);
}

static bool timeval_valid(const struct timeval_user *tv)
{
    return tv->sec >= 0 && (u64)tv->usec < 1000000;
}

static u64 timeval_ns(const struct timeval_user *tv)
{
    struct timespec_user ts = {tv->sec, tv->usec * 1000};
    return timespec_ns(&ts);
}

long sys_setitimer(int which, uptr_t from, uptr_t old)
{
    struct itimerval_user new = {0};
    u64 old_value, old_interval;
    if (from && copy_from_user(&new, from, sizeof new))
        return -EFAULT;
    if (!timeval_valid(&new.interval) || !timeval_valid(&new.value))
        return -EINVAL;
    if (which < ITIMER_REAL || which > ITIMER_PROF)
        return -EINVAL;
    int err = itimer_set(which, timeval_ns(&new.value), timeval_ns(&new.interval), &old_value,
                         &old_interval);
    if (!err && old)
        err = put_itimerval(old, old_value, old_interval);
    return err;
}

long sys_alarm(unsigned seconds)
{
    u64 left, interval;
    if (itimer_set(ITIMER_REAL, MIN(seconds, (unsigned)INT32_MAX) * NSEC_PER_SEC, 0, &left,
                   &interval))
        return 0;
    u64 whole = left / NSEC_PER_SEC, rest = left % NSEC_PER_SEC;
    // As Linux rounds: to the nearest second, but something left is never 0.
    return (!whole && rest) || rest >= NSEC_PER_SEC / 2 ? whole + 1 : whole;
}

// ---- timer_create(2)

// signal_lock held: raises the timer's signal, or starts the next period when nobody will take it.
static void posix_fire(struct posix_timer *pt)
{
    bool seen = false;
    if (pt->notify != SIGEV_NONE && !(pt->target && pt->target->exiting))
        seen = !signal_send_entry_locked(pt->process, pt->target, &pt->entry);
    if (pt->on_cpu_time)
        return;
    if (!pt->interval_ns) {
        pt->armed = false;
    } else if (!seen) {
        s32 overrun;
        advance(&pt->expires_ns, pt->interval_ns, ktime_ns(), &overrun);
        timer_arm(&pt->timer, MAX(pt->expires_ns, ktime_ns() + IGNORED_PERIOD_NS));
    }
}

static void posix_timer_fired(struct timer *timer)
{
    struct posix_timer *pt = container_of(timer, struct posix_timer, timer);
    spin_lock(&pt->process->signal_lock);
    if (pt->armed)
        posix_fire(pt);
    spin_unlock(&pt->process->signal_lock);
}

// signal_lock held: the signal was taken off the queue, the next period begins.
void posix_timer_signal_taken(struct posix_timer *pt, struct siginfo *info)
{
    if (!pt->on_cpu_time) {
        pt->overrun = 0;
        if (pt->armed && pt->interval_ns && !pt->timer.queued) {
            advance(&pt->expires_ns, pt->interval_ns, ktime_ns(), &pt->overrun);
            timer_arm(&pt->timer, pt->expires_ns);
        }
    }
    info->timer.overrun = pt->overrun;
}

static struct posix_timer *find_timer(int id)
{
    struct process *p = current->process;
    struct posix_timer *found = NULL;
    spin_lock(&p->signal_lock);
    list_for_each_entry (struct posix_timer, pt, &p->posix_timers, link) {
        if (pt->id == id) {
            found = pt;
            break;
        }
    }
    spin_unlock(&p->signal_lock);
    return found;
}

// Takes a signal that waits back; signal_lock held.
static void unqueue_signal(struct posix_timer *pt)
{
    if (list_empty(&pt->entry.link))
        return;
    list_remove_init(&pt->entry.link);
    struct list *queue = pt->target ? &pt->target->sig_queue : &pt->process->sig_queue;
    list_for_each_entry (struct sig_entry, e, queue, link)
        if (e->info.signo == pt->entry.info.signo)
            return;
    u64 *pending = pt->target ? &pt->target->sig_pending : &pt->process->sig_pending;
    *pending &= ~SIG_BIT(pt->entry.info.signo);
}

// Stops pt for good or for a new setting. => timer_mutex held
static void posix_disarm(struct posix_timer *pt)
{
    if (!list_empty(&pt->real_link))
        list_remove_init(&pt->real_link);
    spin_lock(&pt->process->signal_lock);
    pt->armed = false;
    cpu_timer_unlink(&pt->cpu, pt->process);
    unqueue_signal(pt);
    spin_unlock(&pt->process->signal_lock);
    timer_cancel(&pt->timer);
}

// Timers that wait for a time of day come earlier when it jumps forward, and later when it is set back.
// Their later periods are on the same clock, so all move alike.
void posix_timers_move(s64 jump_ns)
{
    mutex_lock(&timer_mutex);
    list_for_each_entry (struct posix_timer, pt, &real_timers, real_link) {
        struct process *p = pt->process;
        spin_lock(&p->signal_lock);
        bool armed = pt->armed;
        pt->armed = false;
        spin_unlock(&p->signal_lock);
        timer_cancel(&pt->timer);
        spin_lock(&p->signal_lock);
        pt->armed = armed;
        u64 before = pt->expires_ns;
        if (jump_ns < 0)
            pt->expires_ns = deadline_after(before, 0 - (u64)jump_ns);
        else
            pt->expires_ns = before > (u64)jump_ns ? before - (u64)jump_ns : 0;
        if (armed && list_empty(&pt->entry.link))  // else taking its signal starts the next period
            timer_arm(&pt->timer, pt->expires_ns);
        spin_unlock(&p->signal_lock);
    }
    mutex_unlock(&timer_mutex);
}

static void posix_delete(struct posix_timer *pt)
{
    posix_disarm(pt);
    spin_lock(&pt->process->signal_lock);
    list_remove(&pt->link);
    spin_unlock(&pt->process->signal_lock);
    if (pt->target)
        thread_put(pt->target);
    if (pt->cpu_thread)
        thread_put(pt->cpu_thread);
    atomic_sub(&pt->process->n_sig_queued, 1);
    kfree(pt);
}

void posix_timers_exit(struct process *p)
{
    if (list_empty(&p->posix_timers))
        return;
    mutex_lock(&timer_mutex);
    while (!list_empty(&p->posix_timers))
        posix_delete(list_first(&p->posix_timers, struct posix_timer, link));
    mutex_unlock(&timer_mutex);
}

struct sigevent_user {
    u64 value;
    s32 signo, notify, tid, pad[11];
};
_Static_assert(sizeof(struct sigevent_user) == 64, "struct sigevent");

static int set_clock(struct posix_timer *pt, int clock)
{
    struct cpu_clock c;
    u64 now;
    int err = clock_read(clock, &now);
    if (err)
        return err;
    if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
        clock == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    pt->clock = clock;
    pt->on_cpu_time =
        clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
    if (!pt->on_cpu_time)
        return 0;
    if ((err = cpu_clock_get(clock, &c)))
        return err;
    pt->cpu.which = c.which;
    pt->cpu.posix = pt;
    pt->cpu_thread = c.thread;
    bool foreign = c.process && c.process != current->process;
    if (c.process)
        process_put(c.process);
    return foreign ? -EINVAL : 0;
}

static int set_event(struct posix_timer *pt, uptr_t event)
{
    struct sigevent_user ev = {.signo = SIGALRM, .notify = SIGEV_SIGNAL, .value = (u32)pt->id};
    if (event && copy_from_user(&ev, event, sizeof ev))
        return -EFAULT;
    pt->notify = ev.notify;
    switch (ev.notify) {
    case SIGEV_NONE: break;
    case SIGEV_THREAD_ID:
        pt->target = thread_find(ev.tid);
        if (!pt->target || pt->target->process != current->process)
            return -EINVAL;
        // fall through
    case SIGEV_SIGNAL:
    case SIGEV_THREAD:
        if (ev.signo < 1 || ev.signo > N_SIGNALS)
            return -EINVAL;
        break;
    default: return -EINVAL;
    }
    pt->entry.info.signo = ev.signo;
    pt->entry.info.code = SI_TIMER;
    pt->entry.info.timer.tid = pt->id;
    pt->entry.info.timer.value = ev.value;
    return 0;
}

long sys_timer_create(int clock, uptr_t event, uptr_t id)
{
    struct process *p = current->process;
    struct posix_timer *pt = kzalloc(sizeof *pt);
    if (!pt)
        return -EAGAIN;
    // Its signal has a place of its own, which counts as queued for good (getrlimit(2), RLIMIT_SIGPENDING).
    if (atomic_add(&p->n_sig_queued, 1) > p->rlimits[RLIMIT_SIGPENDING].cur) {
        atomic_sub(&p->n_sig_queued, 1);
        kfree(pt);
        return -EAGAIN;
    }
    pt->process = p;
    list_init(&pt->entry.link);
    list_init(&pt->real_link);
    pt->entry.timer = pt;
    timer_init(&pt->timer, posix_timer_fired);
    mutex_lock(&timer_mutex);
    pt->id = p->next_timer_id;
    int err = set_clock(pt, clock);
    if (!err)
        err = set_event(pt, event);
    if (!err)
        err = put_user_u32(id, pt->id);
    spin_lock(&p->signal_lock);
    list_push_back(&p->posix_timers, &pt->link);
    p->next_timer_id = (p->next_timer_id + 1) & INT32_MAX;
    spin_unlock(&p->signal_lock);
    if (err)
        posix_delete(pt);
    mutex_unlock(&timer_mutex);
    return err;
}

static u64 posix_cpu_now(struct posix_timer *pt)
{
    u64 user, system;
    if (pt->cpu_thread)
        thread_times(pt->cpu_thread, &user, &system);
    else
        process_times_locked(pt->process, &user, &system);
    return pt->cpu.which == CPUCLOCK_VIRT ? user : user + system;
}

// Time left (0: not armed) and interval; signal_lock held.
static void posix_read(struct posix_timer *pt, u64 *value, u64 *interval)
{
    u64 now, expires;
    bool armed;
    if (pt->on_cpu_time) {
        now = posix_cpu_now(pt);
        expires = pt->cpu.expires_ns;
        *interval = pt->cpu.interval_ns;
        armed = pt->cpu.armed;
    } else {
        now = ktime_ns();
        expires = pt->expires_ns;
        *interval = pt->interval_ns;
        armed = pt->armed;
    }
    *value = 0;
    if (!armed)
        return;
    if (expires <= now && *interval)  // has fired, its signal waits: the next period counts
        expires += ((now - expires) / *interval + 1) * *interval;
    if (expires > now)
        *value = expires - now;
    else
        *value = pt->notify == SIGEV_NONE ? 0 : 1;
}

static void posix_arm(struct posix_timer *pt, u64 value, u64 interval, bool absolute)
{
    struct process *p = pt->process;
    spin_lock(&p->signal_lock);
    pt->overrun = 0;
    if (pt->on_cpu_time) {
        pt->cpu.interval_ns = interval;
        if (value) {
            pt->cpu.expires_ns = absolute ? value : posix_cpu_now(pt) + value;
            cpu_timer_link(&pt->cpu, p, pt->cpu_thread);
        }
    } else {
        pt->interval_ns = interval;
        if (value) {
            pt->armed = true;
            pt->expires_ns =
                absolute ? clock_deadline(pt->clock, value) : deadline_after(ktime_ns(), value);
            timer_arm(&pt->timer, pt->expires_ns);
        }
    }
    spin_unlock(&p->signal_lock);
    if (value && absolute && clock_can_be_set(pt->clock))
        list_push_back(&real_timers, &pt->real_link);
}

static int put_itimerspec(uptr_t to, u64 value, u64 interval)
{
    if (put_timespec(to, interval))
        return -EFAULT;
    return put_timespec(to + sizeof(struct timespec_user), value);
}

long sys_timer_settime(int id, int flags, uptr_t from, uptr_t old)
{
    struct itimerspec_user new;
    u64 old_value, old_interval;
    if (!from)
        return -EINVAL;
    if (copy_from_user(&new, from, sizeof new))
        return -EFAULT;
    if (!timespec_valid(&new.interval) || !timespec_valid(&new.value))
        return -EINVAL;
    mutex_lock(&timer_mutex);
    struct posix_timer *pt = find_timer(id);
    if (pt) {
        spin_lock(&pt->process->signal_lock);
        posix_read(pt, &old_value, &old_interval);
        spin_unlock(&pt->process->signal_lock);
        posix_disarm(pt);
        posix_arm(pt, timespec_ns(&new.value), timespec_ns(&new.interval), flags & TIMER_ABSTIME);
    }
    mutex_unlock(&timer_mutex);
    if (!pt)
        return -EINVAL;
    return old ? put_itimerspec(old, old_value, old_interval) : 0;
}

long sys_timer_gettime(int id, uptr_t to)
{
    u64 value = 0, interval = 0;
    mutex_lock(&timer_mutex);
    struct posix_timer *pt = find_timer(id);
    if (pt) {
        spin_lock(&pt->process->signal_lock);
        posix_read(pt, &value, &interval);
        spin_unlock(&pt->process->signal_lock);
    }
    mutex_unlock(&timer_mutex);
    return pt ? put_itimerspec(to, value, interval) : -EINVAL;
}

long sys_timer_getoverrun(int id)
{
    mutex_lock(&timer_mutex);
    struct posix_timer *pt = find_timer(id);
    long result = pt ? pt->overrun : -EINVAL;
    mutex_unlock(&timer_mutex);
    return result;
}

long sys_timer_delete(int id)
{
    mutex_lock(&timer_mutex);
    struct posix_timer *pt = find_timer(id);
    if (pt)
        posix_delete(pt);
    mutex_unlock(&timer_mutex);
    return pt ? 0 : -EINVAL;
}
