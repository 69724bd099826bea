// SPDX-License-Identifier: BSD-2-Clause
// timerfd.c: timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).
//
// A periodic timer does not run while nobody reads: the first expiry marks the file readable, and the
// read works out how many periods have gone by and arms the timer for the next one. So a short period
// costs nothing until its file is looked at.
//
// Deadlines are kept on the monotonic clock. A timer with an absolute time on CLOCK_REALTIME also keeps
// that time, and is armed anew when the clock is set; with TFD_TIMER_CANCEL_ON_SET its reader then gets
// ECANCELED.
#include "fs/special_internal.h"

#define TFD_TIMER_ABSTIME 1
#define TFD_TIMER_CANCEL_ON_SET 2

enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC = 1,
    CLOCK_BOOTTIME = 7,
    CLOCK_REALTIME_ALARM = 8,
    CLOCK_BOOTTIME_ALARM = 9
};

#define TFD_IOC_SET_TICKS 0x40085400

struct timerfd {
    struct mutex setting;  // serialises arming and disarming
    struct spinlock lock;
    int clock;
    struct timer timer;
    u64 deadline_ns;     // [lock] monotonic; 0: disarmed
    u64 real_ns;         // [setting] absolute CLOCK_REALTIME time asked for, 0: none
    u64 interval_ns;     // [lock]
    u64 ticks;           // [lock] expiries not yet read, without the periods since the last one
    bool expired;        // [lock] the timer ran out and, if periodic, waits to be carried forward
    bool cancel_on_set;  // [all_lock]
    bool cancelled;      // [lock] the clock was set
    u32 settime_flags;
    struct wait_queue wait;
    struct list all_link;  // [all_lock] timers on the realtime clock
};

struct itimerspec_user {
    struct timespec_user interval, value;
};

static struct mutex all_lock = MUTEX_INIT(all_lock);
static struct list all_realtime = LIST_INIT(all_realtime);

static bool is_realtime(int clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
}

static void timerfd_expire(struct timerfd *t)
{
    spin_lock(&t->lock);
    t->expired = true;
    t->ticks++;
    if (!t->interval_ns)
        t->deadline_ns = 0;
    spin_unlock(&t->lock);
    if (wait_has_waiters(&t->wait))
        wait_wake(&t->wait, INT32_MAX, POLLIN | POLLRDNORM);
}

static void timerfd_fire(struct timer *timer)
{
    timerfd_expire(container_of(timer, struct timerfd, timer));
}

// Starts it for t->deadline_ns; one that is already due expires here. => holds setting, not lock
static void timerfd_start(struct timerfd *t)
{
    if (t->deadline_ns <= ktime_ns())
        timerfd_expire(t);
    else
        timer_arm(&t->timer, t->deadline_ns);
}

// Counts the periods that have passed since it expired and starts the next. => holds setting, not lock
static void timerfd_carry_forward(struct timerfd *t)
{
    spin_lock(&t->lock);
    bool periodic = t->expired && t->interval_ns != 0;
    if (periodic) {
        u64 now = ktime_ns();
        u64 missed = now > t->deadline_ns ? (now - t->deadline_ns) / t->interval_ns : 0;
        t->ticks += missed;
        t->deadline_ns += (missed + 1) * t->interval_ns;
        t->expired = false;
    }
    spin_unlock(&t->lock);
    if (periodic)
        timerfd_start(t);
}

static bool timerfd_readable(struct timerfd *t)
{
    return atomic_load(&t->ticks) != 0 || atomic_load(&t->cancelled);
}

static int timerfd_wait(struct timerfd *t)
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&t->wait, &w, WAIT_INTERRUPTIBLE);
        if (timerfd_readable(t))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(&t->wait, &w);
    return err;
}

// Takes the ticks. => 0 with *ticks, -EAGAIN when another reader was faster, -ECANCELED
static int timerfd_take(struct timerfd *t, u64 *ticks)
{
    bool periodic = t->expired && t->interval_ns != 0;
    if (periodic) {
        mutex_lock(&t->setting);
        timerfd_carry_forward(t);
    }
    spin_lock(&t->lock);
    int err = 0;
    if (t->cancelled) {
        t->cancelled = false;
        t->ticks = 0;
        err = -ECANCELED;
    }
    *ticks = t->ticks;
    t->ticks = 0;
    if (!t->interval_ns)
        t->expired = false;
    spin_unlock(&t->lock);
    if (periodic)
        mutex_unlock(&t->setting);
    return err ? err : *ticks ? 0 : -EAGAIN;
}

static ssize_t timerfd_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct timerfd *t = f->data;
    u64 ticks;
    if (uio_remaining(to) < sizeof(ticks))
        return -EINVAL;
    for (;;) {
        int err = timerfd_readable(t) ? timerfd_take(t, &ticks) : -EAGAIN;
        if (!err)
            return uio_put_u64(to, ticks);
        if (err != -EAGAIN || (f->flags & O_NONBLOCK))
            return err;
        err = timerfd_wait(t);
        if (err)
            return err;
    }
}

static u32 timerfd_poll(struct file *f, struct poll_table *pt)
{
    struct timerfd *t = f->data;
    poll_wait(pt, f, &t->wait);
    return timerfd_readable(t) ? POLLIN | POLLRDNORM : 0;
}

static long timerfd_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct timerfd *t = f->data;
    u64 ticks;
    if (cmd != TFD_IOC_SET_TICKS)
        return -ENOTTY;
    if (copy_from_user(&ticks, arg, sizeof(ticks)))
        return -EFAULT;
    if (ticks == 0)
        return -EINVAL;
    spin_lock(&t->lock);
    t->ticks = ticks;
    spin_unlock(&t->lock);
    wait_wake(&t->wait, INT32_MAX, POLLIN | POLLRDNORM);
    return 0;
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = f->data;
    timer_cancel(&t->timer);
    if (is_realtime(t->clock)) {
        mutex_lock(&all_lock);
        list_remove(&t->all_link);
        mutex_unlock(&all_lock);
    }
    kfree(t);
}

// Time left and interval. => holds setting
static struct itimerspec_user timerfd_remaining(struct timerfd *t)
{
    timerfd_carry_forward(t);
    spin_lock(&t->lock);
    u64 now = ktime_ns();
    u64 left = 0;
    if (t->deadline_ns && !t->expired)
        left = t->deadline_ns > now ? t->deadline_ns - now : 1;
    u64 interval = t->interval_ns;
    spin_unlock(&t->lock);
    return (struct itimerspec_user){
        .interval = {interval / NSEC_PER_SEC, interval % NSEC_PER_SEC},
        .value = {left / NSEC_PER_SEC, left % NSEC_PER_SEC},
    };
}

static void timerfd_show(struct file *f, struct seq_buf *out)
{
    struct timerfd *t = f->data;
    mutex_lock(&t->setting);
    struct itimerspec_user its = timerfd_remaining(t);
    mutex_unlock(&t->setting);
    seq_printf(out,
               "clockid: %d\nticks: %llu\nsettime flags: 0%o\nit_value: (%lld, %lld)\n"
               "it_interval: (%lld, %lld)\n",
               t->clock, (unsigned long long)t->ticks, t->settime_flags, (long long)its.value.sec,
               (long long)its.value.nsec, (long long)its.interval.sec,
               (long long)its.interval.nsec);
}

static const struct file_ops timerfd_ops = {
    .name = "anon_inode:[timerfd]",
    .read = timerfd_read,
    .poll = timerfd_poll,
    .ioctl = timerfd_ioctl,
    .show_fdinfo = timerfd_show,
    .release = timerfd_release,
};

long sys_timerfd_create(int clock, unsigned flags)
{
    if (flags & ~(O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_BOOTTIME_ALARM &&
        !is_realtime(clock))
        return -EINVAL;
    struct timerfd *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    mutex_init(&t->setting);
    wait_queue_init(&t->wait);
    timer_init(&t->timer, timerfd_fire);
    t->clock = clock;
    if (is_realtime(clock)) {
        mutex_lock(&all_lock);
        list_push_back(&all_realtime, &t->all_link);
        mutex_unlock(&all_lock);
    }
    return anon_fd(&timerfd_ops, t, O_RDWR | flags);
}

// A time on the file's clock as a monotonic deadline. 0 would mean disarmed.
static u64 to_monotonic(const struct timerfd *t, u64 when_ns)
{
    u64 offset = 0;
    if (is_realtime(t->clock))
        offset = ktime_real_ns() - ktime_ns();
    else if (t->clock != CLOCK_MONOTONIC)
        offset = vdso_data->boot_offset;
    return when_ns > offset ? when_ns - offset : 1;
}

static bool timespec_valid(const struct timespec_user *ts)
{
    return ts->sec >= 0 && ts->nsec >= 0 && ts->nsec < (s64)NSEC_PER_SEC;
}

static u64 timespec_ns(const struct timespec_user *ts)
{
    if (ts->sec >= INT64_MAX / (s64)NSEC_PER_SEC - 1)
        return INT64_MAX;
    return (u64)ts->sec * NSEC_PER_SEC + (u64)ts->nsec;
}

// => holds setting
static void timerfd_set(struct timerfd *t, int flags, const struct itimerspec_user *its)
{
    u64 value = timespec_ns(&its->value);
    timer_cancel(&t->timer);
    spin_lock(&t->lock);
    t->ticks = 0;
    t->expired = false;
    t->cancelled = false;
    t->interval_ns = value ? timespec_ns(&its->interval) : 0;
    t->settime_flags = (u32)flags;
    t->real_ns = 0;
    t->deadline_ns = 0;
    if (value && (flags & TFD_TIMER_ABSTIME)) {
        t->deadline_ns = to_monotonic(t, value);
        t->real_ns = is_realtime(t->clock) ? value : 0;
    } else if (value) {
        t->deadline_ns = ktime_ns() + value;
    }
    t->cancel_on_set = t->real_ns && (flags & TFD_TIMER_CANCEL_ON_SET);
    spin_unlock(&t->lock);
    if (t->deadline_ns)
        timerfd_start(t);
}

long sys_timerfd_settime(int fd, int flags, uptr_t new_value, uptr_t old_value)
{
    struct itimerspec_user its, old;
    if (copy_from_user(&its, new_value, sizeof(its)))
        return -EFAULT;
    if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !timespec_valid(&its.value) ||
        !timespec_valid(&its.interval))
        return -EINVAL;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    if (f.file->ops != &timerfd_ops) {
        fd_put(f);
        return -EINVAL;
    }
    struct timerfd *t = f.file->data;
    mutex_lock(&t->setting);
    if (old_value)
        old = timerfd_remaining(t);
    timerfd_set(t, flags, &its);
    mutex_unlock(&t->setting);
    fd_put(f);
    return old_value && copy_to_user(old_value, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_timerfd_gettime(int fd, uptr_t value)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    if (f.file->ops != &timerfd_ops) {
        fd_put(f);
        return -EINVAL;
    }
    struct timerfd *t = f.file->data;
    mutex_lock(&t->setting);
    struct itimerspec_user its = timerfd_remaining(t);
    mutex_unlock(&t->setting);
    fd_put(f);
    return copy_to_user(value, &its, sizeof(its)) ? -EFAULT : 0;
}

// CLOCK_REALTIME was set: absolute timers on it move, and those that asked for it are cancelled.
void timerfd_clock_was_set(void)
{
    mutex_lock(&all_lock);
    list_for_each (link, &all_realtime) {
        struct timerfd *t = list_entry(link, struct timerfd, all_link);
        mutex_lock(&t->setting);
        bool cancelled = t->cancel_on_set;
        if (t->real_ns && t->deadline_ns && !t->expired) {
            timer_cancel(&t->timer);
            spin_lock(&t->lock);
            bool pending = !t->expired && t->deadline_ns;  // it may have fired meanwhile
            if (pending)
                t->deadline_ns = to_monotonic(t, t->real_ns);
            spin_unlock(&t->lock);
            if (pending)
                timerfd_start(t);
        }
        spin_lock(&t->lock);
        t->cancelled |= cancelled;
        spin_unlock(&t->lock);
        mutex_unlock(&t->setting);
        if (cancelled)
            wait_wake(&t->wait, INT32_MAX, POLLIN | POLLRDNORM);
    }
    mutex_unlock(&all_lock);
}
