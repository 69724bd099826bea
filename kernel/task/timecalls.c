// SPDX-License-Identifier: BSD-2-Clause
// timecalls.c: reading, setting and sleeping on clocks (clock_gettime(2), nanosleep(2), time(7)).
//
// Sleeping until a time of day: the thread says so (sleeps_until_real), prepares to sleep, and only then
// turns the time into a monotonic deadline. Whoever sets the clock wakes all such threads afterwards,
// and they look again. So a thread has either seen the new clock or is woken.
//
// Sleeping on a CPU-time clock looks again when the clock could have got there at the
// earliest.
#include <string.h>

#include "core/log.h"
#include "core/time_read.h"
#include "task/calls.h"
#include "task/clocks.h"
#include "task/task_internal.h"

#define TIMER_ABSTIME 1

int get_timespec(struct timespec_user *out, uptr_t from)
{
    return copy_from_user(out, from, sizeof *out);
}

int put_timespec(uptr_t to, u64 ns)
{
    return put_user_two_u64(to, ns / NSEC_PER_SEC, ns % NSEC_PER_SEC);
}

int put_timeval(uptr_t to, u64 ns)
{
    return put_user_two_u64(to, ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / NSEC_PER_USEC);
}

u64 timespec_ns(const struct timespec_user *ts)
{
    if ((u64)ts->sec >= (NEVER - 1) / NSEC_PER_SEC)
        return NEVER - 1;
    return ts->sec * NSEC_PER_SEC + ts->nsec;
}

// ---- CPU-time clocks

// Negative ids: ~pid in the upper bits, bit 2 "a thread", bits 0 and 1 which time
// (clock_getcpuclockid(3), pthread_getcpuclockid(3)).
int cpu_clock_get(int clock, struct cpu_clock *c)
{
    bool per_thread = clock == CLOCK_THREAD_CPUTIME_ID || (clock < 0 && (clock & 4));
    s32 pid = clock < 0 ? ~(clock >> 3) : 0;
    c->which = clock < 0 ? clock & 3 : CPUCLOCK_SCHED;
    c->thread = NULL;
    c->process = NULL;
    if (c->which > CPUCLOCK_SCHED)
        return -EINVAL;
    if (per_thread) {
        struct thread *t = pid ? thread_find(pid) : current;
        if (!t)
            return -EINVAL;
        if (!pid)
            thread_get(t);
        if (t->process != current->process) {
            thread_put(t);
            return -EINVAL;
        }
        c->thread = t;
        return 0;
    }
    if (pid)
        c->process = process_find(pid);
    else
        process_get(c->process = current->process);
    return c->process ? 0 : -EINVAL;
}

void cpu_clock_put(struct cpu_clock *c)
{
    if (c->thread)
        thread_put(c->thread);
    if (c->process)
        process_put(c->process);
}

u64 cpu_clock_read(const struct cpu_clock *c)
{
    u64 user, system;
    if (c->thread && c->which == CPUCLOCK_SCHED)
        return thread_cpu_ns(c->thread);
    if (c->thread)
        thread_times(c->thread, &user, &system);
    else
        process_times(c->process, &user, &system);
    return c->which == CPUCLOCK_VIRT ? user : user + system;
}

// ---- reading

static int read_cpu_clock(int clock, u64 *ns)
{
    struct cpu_clock c;
    int err = cpu_clock_get(clock, &c);
    if (err)
        return err;
    *ns = cpu_clock_read(&c);
    cpu_clock_put(&c);
    return 0;
}

// Where in the page of the clocks an id has its base; 0: a clock that no counter shows.
#define BASE(clock) offsetof(struct vdso_data, base[clock])
static const u64 base_at[CLOCK_TAI + 1] = {
    [CLOCK_REALTIME] = BASE(VDSO_REALTIME),
    [CLOCK_MONOTONIC] = BASE(VDSO_MONOTONIC),
    [CLOCK_MONOTONIC_RAW] = BASE(VDSO_MONOTONIC),
    [CLOCK_REALTIME_COARSE] = BASE(VDSO_REALTIME),
    [CLOCK_MONOTONIC_COARSE] = BASE(VDSO_MONOTONIC),
    [CLOCK_BOOTTIME] = BASE(VDSO_BOOTTIME),
    [CLOCK_REALTIME_ALARM] = BASE(VDSO_REALTIME),
    [CLOCK_BOOTTIME_ALARM] = BASE(VDSO_BOOTTIME),
    [CLOCK_TAI] = BASE(VDSO_REALTIME),
};
#undef BASE

static __always_inline bool try_read_counted(u32 clock, struct ktime *t)
{
    if (unlikely(clock > CLOCK_TAI) || unlikely(!base_at[clock]))
        return false;
    const char *page = (const char *)vdso_data;
    return ktime_try_read(vdso_data, (const struct vdso_time *)(page + base_at[clock]), t);
}

int clock_read(int clock, u64 *ns)
{
    if (clock > CLOCK_TAI)
        return -EINVAL;
    if (clock < 0 || !base_at[clock])
        return read_cpu_clock(clock, ns);
    struct ktime t;
    while (!try_read_counted(clock, &t))
        cpu_relax_poll();
    *ns = t.sec * NSEC_PER_SEC + t.nsec;
    return 0;
}

static __noinline long gettime_slow(int clock, uptr_t to)
{
    u64 ns;
    int err = clock_read(clock, &ns);
    return err ? err : put_timespec(to, ns);
}

long sys_clock_gettime(int clock, uptr_t to)
{
    struct ktime t;
    if (unlikely(!try_read_counted(clock, &t)))
        return gettime_slow(clock, to);
    return put_user_two_u64(to, t.sec, t.nsec);
}

long sys_clock_getres(int clock, uptr_t to)
{
    u64 ns;
    int err = clock_read(clock, &ns);
    if (err)
        return err;
    return to ? put_timespec(to, 1) : 0;
}

static struct {
    s32 minutes_west, dst;
} time_zone;

long sys_gettimeofday(uptr_t tv, uptr_t tz)
{
    if (tv && put_timeval(tv, ktime_real_ns()))
        return -EFAULT;
    if (tz && copy_to_user(tz, &time_zone, sizeof time_zone))
        return -EFAULT;
    return 0;
}

long sys_time(uptr_t to)
{
    u64 seconds = ktime_real_ns() / NSEC_PER_SEC;
    if (to && put_user_u64(to, seconds))
        return -EFAULT;
    return seconds;
}

// ---- setting

static int wake_real_sleepers(struct process *p, void *arg)
{
    spin_lock(&p->signal_lock);
    list_for_each_entry (struct thread, t, &p->threads, process_link)
        if (atomic_load_relaxed(&t->sleeps_until_real))
            thread_wake(t);
    spin_unlock(&p->signal_lock);
    return 0;
}

// Sets the time of day and moves all that waits for one.
static void set_time_of_day(u64 real_ns)
{
    static struct mutex setting = MUTEX_INIT(setting);
    mutex_lock(&setting);
    u64 before = ktime_real_ns() - ktime_ns();
    ktime_set_real_ns(real_ns);
    posix_timers_move((s64)(ktime_real_ns() - ktime_ns() - before));
    spin_lock(&tree_lock);
    process_for_each_locked(wake_real_sleepers, NULL);
    spin_unlock(&tree_lock);
    timerfd_clock_was_set();
    mutex_unlock(&setting);
}

long sys_clock_settime(int clock, uptr_t from)
{
    struct timespec_user ts;
    if (clock != CLOCK_REALTIME)
        return -EINVAL;
    if (get_timespec(&ts, from))
        return -EFAULT;
    // Linux: not before the monotonic clock's zero, not beyond about the year 2232
    if (!timespec_valid(&ts) || ts.sec > 8277292036ll)
        return -EINVAL;
    if (!capable(CAP_SYS_TIME))
        return -EPERM;
    if (timespec_ns(&ts) < ktime_ns())
        return -EINVAL;
    set_time_of_day(timespec_ns(&ts));
    return 0;
}

long sys_settimeofday(uptr_t tv_at, uptr_t tz)
{
    struct timeval_user tv = {0};
    __typeof__(time_zone) zone;
    if (tv_at && copy_from_user(&tv, tv_at, sizeof tv))
        return -EFAULT;
    if (tv_at && (tv.usec < 0 || tv.usec >= 1000000 || tv.sec < 0 || tv.sec > 8277292036ll))
        return -EINVAL;
    if (tz && copy_from_user(&zone, tz, sizeof zone))
        return -EFAULT;
    if (!capable(CAP_SYS_TIME))
        return -EPERM;
    if (tz) {
        if (zone.minutes_west > 15 * 60 || zone.minutes_west < -15 * 60)
            return -EINVAL;
        time_zone = zone;
    }
    if (tv_at)
        set_time_of_day(tv.sec * NSEC_PER_SEC + tv.usec * NSEC_PER_USEC);
    return 0;
}

struct timex_user {  // adjtimex(2), 64-bit
    u32 modes, pad0;
    s64 offset, freq, maxerror, esterror;
    s32 status, pad1;
    s64 constant, precision, tolerance;
    struct timeval_user time;
    s64 tick, ppsfreq, jitter;
    s32 shift, pad2;
    s64 stabil, jitcnt, calcnt, errcnt, stbcnt;
    s32 tai, pad3[11];
};
_Static_assert(sizeof(struct timex_user) == 208, "struct timex");
#define STA_UNSYNC 0x40
#define TIME_ERROR 5

// Reading tells the truth: a clock that nothing disciplines. Steering it is not implemented.
long sys_adjtimex(uptr_t at)
{
    struct timex_user t;
    if (copy_from_user(&t, at, sizeof t))
        return -EFAULT;
    if (t.modes)
        return capable(CAP_SYS_TIME) ? -ENOSYS : -EPERM;
    u64 now = ktime_real_ns();
    t = (struct timex_user){
        .maxerror = 16000000,
        .esterror = 16000000,
        .status = STA_UNSYNC,
        .constant = 2,
        .precision = 1,
        .tolerance = 32768000,
        .time = {now / NSEC_PER_SEC, now % NSEC_PER_SEC / NSEC_PER_USEC},
        .tick = 10000,
    };
    return copy_to_user(at, &t, sizeof t) ? -EFAULT : TIME_ERROR;
}

long sys_clock_adjtime(int clock, uptr_t at)
{
    if (clock == CLOCK_REALTIME)
        return sys_adjtimex(at);
    u64 ns;
    return clock_read(clock, &ns) ? -EINVAL : -EOPNOTSUPP;
}

// ---- sleeping

static int sleep_until(u64 deadline_ns)
{
    int err = 0;
    while (!err) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        err = thread_block(WAIT_INTERRUPTIBLE, deadline_ns);
    }
    return err == -ETIMEDOUT ? 0 : err;
}

// Sleeps until the clock, one that can be set, shows ns.
static int sleep_until_real(int clock, u64 ns)
{
    struct thread *t = current;
    int err;
    atomic_store_relaxed(&t->sleeps_until_real, true);
    do {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        err = thread_block(WAIT_INTERRUPTIBLE, clock_deadline(clock, ns));
    } while (!err || (err == -ETIMEDOUT &&
                      clock_deadline(clock, ns)));  // it may have been set back just now
    atomic_store_relaxed(&t->sleeps_until_real, false);
    return err == -ETIMEDOUT ? 0 : err;
}

static long relative_sleep(u64 deadline_ns, uptr_t remain);

static long restart_sleep(void *data)
{
    u64 *d = data;
    return relative_sleep(d[0], d[1]);
}

static long relative_sleep(u64 deadline_ns, uptr_t remain)
{
    int err = sleep_until(deadline_ns);
    if (!err)
        return 0;
    u64 now = ktime_ns();
    if (now >= deadline_ns)
        return 0;
    if (remain && put_timespec(remain, deadline_ns - now))
        return -EFAULT;
    struct thread *t = current;
    t->restart.fn = restart_sleep;
    t->restart.data[0] = deadline_ns;
    t->restart.data[1] = remain;
    return -ERESTART_RESTARTBLOCK;
}

long sys_nanosleep(uptr_t request, uptr_t remain)
{
    struct timespec_user ts;
    if (get_timespec(&ts, request))
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    return relative_sleep(deadline_after(ktime_ns(), timespec_ns(&ts)), remain);
}

// Sleeps until the CPU-time clock shows target_ns.
static int cpu_clock_sleep(const struct cpu_clock *c, u64 target_ns)
{
    for (;;) {
        u64 now = cpu_clock_read(c);
        if (now >= target_ns)
            return 0;
        u64 threads = MAX(c->process ? READ_ONCE(c->process->n_threads) : 1, 1u);
        u64 at_least = (target_ns - now) / MIN(threads, (u64)n_cpus);
        u64 step = MAX(at_least, 50 * NSEC_PER_USEC);
        int err = sleep_until(deadline_after(ktime_ns(), step));
        if (err)
            return err;
    }
}

static long sleep_on_cpu_clock(int clock, bool absolute, u64 ns, uptr_t remain)
{
    struct cpu_clock c;
    int err = cpu_clock_get(clock, &c);
    if (err)
        return err;
    if (c.thread == current)  // it would never get there
        err = -EINVAL;
    u64 target = absolute ? ns : deadline_after(cpu_clock_read(&c), ns);
    if (!err)
        err = cpu_clock_sleep(&c, target);
    if (err == -ERESTARTSYS && !absolute) {
        u64 now = cpu_clock_read(&c);
        err = -EINTR;
        if (remain && put_timespec(remain, target > now ? target - now : 0))
            err = -EFAULT;
    } else if (err == -ERESTARTSYS) {
        err = -ERESTARTNOHAND;
    }
    cpu_clock_put(&c);
    return err;
}

__cold long sys_clock_nanosleep(int clock, int flags, uptr_t request, uptr_t remain)
{
    struct timespec_user ts;
    u64 now;
    int err = clock_read(clock, &now);
    if (err)
        return err;
    if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
        clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_THREAD_CPUTIME_ID)
        return -EOPNOTSUPP;
    if (get_timespec(&ts, request))
        return -EFAULT;
    if (!timespec_valid(&ts))
        return -EINVAL;
    u64 ns = timespec_ns(&ts);
    bool absolute = flags & TIMER_ABSTIME;
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID)
        return sleep_on_cpu_clock(clock, absolute, ns, remain);
    if (!absolute)
        return relative_sleep(deadline_after(ktime_ns(), ns), remain);
    err = clock_can_be_set(clock) ? sleep_until_real(clock, ns)
                                  : sleep_until(clock_deadline(clock, ns));
    return err == -ERESTARTSYS ? -ERESTARTNOHAND : err;
}

u64 clock_deadline(int clock, u64 ns)
{
    u64 now;
    if (clock == CLOCK_MONOTONIC)
        return ns;
    KASSERT(!clock_read(clock, &now));
    return ns <= now ? 0 : deadline_after(ktime_ns(), ns - now);
}
