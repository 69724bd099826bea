// SPDX-License-Identifier: BSD-2-Clause
// poll.c: poll(2), ppoll(2), select(2), pselect6(2), and the time-outs and signal masks that they and
// epoll share.
//
// All four become one array of (file, wanted events). The first round over it registers a waiter on every
// queue that the files name; if nothing is ready, the thread sleeps and asks again, without registering,
// each time a waiter saw an event that somebody wants. A select is a poll over the bits that are set.
#include "fs/special_internal.h"

#define RLIMIT_NOFILE 7

// ---- time-outs

struct timeval_user {
    s64 sec, usec;
};

// now + ns as a deadline; stays below NEVER.
static u64 deadline_after(u64 ns)
{
    u64 now = ktime_ns();
    return ns >= NEVER - 1 - now ? NEVER - 1 : now + ns;
}

u64 deadline_from_ms(int timeout_ms)
{
    if (timeout_ms < 0)
        return NEVER;
    return timeout_ms == 0 ? 0 : deadline_after((u64)timeout_ms * NSEC_PER_MSEC);
}

static u64 ns_from_parts(s64 sec, s64 nsec)
{
    return sec >= INT64_MAX / (s64)NSEC_PER_SEC - 1 ? INT64_MAX : (u64)sec * NSEC_PER_SEC + nsec;
}

int deadline_from_user(uptr_t timespec, u64 *deadline_ns)
{
    struct timespec_user ts;
    *deadline_ns = NEVER;
    if (!timespec)
        return 0;
    if (copy_from_user(&ts, timespec, sizeof(ts)))
        return -EFAULT;
    if (ts.sec < 0 || ts.nsec < 0 || ts.nsec >= (s64)NSEC_PER_SEC)
        return -EINVAL;
    u64 ns = ns_from_parts(ts.sec, ts.nsec);
    *deadline_ns = ns == 0 ? 0 : deadline_after(ns);
    return 0;
}

// What is left until the deadline, for the calls that write it back.
static u64 time_left(u64 deadline_ns)
{
    u64 now = deadline_ns ? ktime_ns() : 0;
    return deadline_ns > now ? deadline_ns - now : 0;
}

// As Linux: a time that cannot be stored is no error.
static void write_timespec_left(uptr_t to, u64 deadline_ns)
{
    if (!to || deadline_ns == NEVER)
        return;
    u64 left = time_left(deadline_ns);
    struct timespec_user ts = {left / NSEC_PER_SEC, left % NSEC_PER_SEC};
    (void)copy_to_user(to, &ts, sizeof(ts));
}

// ---- the common part

struct poll_item {  // user ABI: struct pollfd
    s32 fd;
    s16 events, revents;
};

struct poll_entry {
    struct waiter waiter;
    struct wait_queue *queue;
    struct poll_set *set;
    u32 wanted;
};

#define POLL_ENTRIES_PER_BLOCK 30
struct poll_block {
    struct poll_block *next;
    u32 n;
    struct poll_entry entries[POLL_ENTRIES_PER_BLOCK];
};

#define POLL_INLINE 6
struct poll_set {
    struct poll_table table;
    u32 wanted;  // by the file being asked now
    u32 n_inline;
    u32 triggered;  // atomic: some waiter saw a wanted event
    bool no_memory;
    struct poll_entry inline_entries[POLL_INLINE];
    struct poll_block *blocks;
};

static bool poll_wake(struct waiter *w, u32 events)
{
    struct poll_entry *e = container_of(w, struct poll_entry, waiter);
    if (events && !(events & e->wanted))
        return false;
    atomic_store(&e->set->triggered, 1);
    thread_wake(w->thread);
    return true;
}

static struct poll_entry *poll_entry_new(struct poll_set *set)
{
    if (set->n_inline < POLL_INLINE)
        return &set->inline_entries[set->n_inline++];
    if (!set->blocks || set->blocks->n == POLL_ENTRIES_PER_BLOCK) {
        struct poll_block *b = kmalloc(sizeof(*b));
        if (!b)
            return NULL;
        b->n = 0;
        b->next = set->blocks;
        set->blocks = b;
    }
    return &set->blocks->entries[set->blocks->n++];
}

static void poll_register(struct poll_table *pt, struct file *f, struct wait_queue *q)
{
    struct poll_set *set = container_of(pt, struct poll_set, table);
    struct poll_entry *e = poll_entry_new(set);
    if (!e) {
        set->no_memory = true;
        return;
    }
    waiter_init(&e->waiter);
    e->waiter.wake = poll_wake;
    e->queue = q;
    e->set = set;
    e->wanted = set->wanted;
    wait_add(q, &e->waiter);
}

static void poll_set_init(struct poll_set *set)
{
    set->table.add = poll_register;
    set->n_inline = 0;
    set->triggered = 0;
    set->no_memory = false;
    set->blocks = NULL;
}

static void poll_set_done(struct poll_set *set)
{
    for (u32 i = 0; i < set->n_inline; i++)
        wait_remove(set->inline_entries[i].queue, &set->inline_entries[i].waiter);
    while (set->blocks) {
        struct poll_block *b = set->blocks;
        set->blocks = b->next;
        for (u32 i = 0; i < b->n; i++)
            wait_remove(b->entries[i].queue, &b->entries[i].waiter);
        kfree(b);
    }
}

// Asks one item; sets revents. => true if it has something to report.
static bool poll_ask(struct poll_item *item, struct file *f, struct poll_set *set, bool add)
{
    if (item->fd < 0) {
        item->revents = 0;
        return false;
    }
    if (!f) {
        item->revents = POLLNVAL;
        return true;
    }
    u32 wanted = (u16)item->events | POLLERR | POLLHUP;
    u32 state = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    if (f->ops->poll) {
        set->wanted = wanted;
        state = f->ops->poll(f, add ? &set->table : NULL);
    }
    item->revents = (s16)(state & wanted);
    return item->revents != 0;
}

// Sleeps until a waiter has seen something. The asking before may itself have slept (on a mutex), so the
// thread's state is set only here, and `triggered` carries what happened meanwhile.
static int poll_sleep(struct poll_set *set, u64 deadline_ns)
{
    int err = 0;
    while (!err) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        if (atomic_load(&set->triggered))
            break;
        err = thread_block(WAIT_INTERRUPTIBLE, deadline_ns);
    }
    thread_sleep_cancel();
    return atomic_load(&set->triggered) ? 0 : err;
}

// => number of items with revents, 0 at the deadline, -ERESTARTNOHAND, -ENOMEM.
static long poll_items(struct poll_item *items, struct fd *files, u32 n, u64 deadline_ns)
{
    struct poll_set set;
    long count = 0;
    int err = 0;
    bool add = deadline_ns != 0;
    poll_set_init(&set);
    for (;;) {
        atomic_store_seq(&set.triggered, 0);
        for (u32 i = 0; i < n; i++) {
            if (poll_ask(&items[i], files[i].file, &set, add)) {
                count++;
                add = false;  // it will not sleep: no need to register the rest
            }
        }
        add = false;
        if (set.no_memory && count == 0)
            err = -ENOMEM;
        if (count || err || deadline_ns == 0)
            break;
        err = poll_sleep(&set, deadline_ns);
        if (err == -ETIMEDOUT) {  // one last look
            deadline_ns = 0;
            err = 0;
        } else if (err) {
            err = -ERESTARTNOHAND;
            break;
        }
    }
    poll_set_done(&set);
    return count ? count : err;
}

// A set of files for the call's duration: a descriptor closed by another thread stays polled.
static void polled_get(const struct poll_item *items, struct fd *files, u32 n)
{
    for (u32 i = 0; i < n; i++)
        files[i] = items[i].fd >= 0 ? fd_get(items[i].fd) : (struct fd){0};
}

static void polled_put(struct fd *files, u32 n)
{
    for (u32 i = 0; i < n; i++)
        fd_put(files[i]);
}

// ---- poll(2)

#define POLL_SMALL 16

static long poll_run(uptr_t fds, u32 n, struct poll_item *items, struct fd *files, u64 deadline_ns)
{
    if (n && copy_from_user(items, fds, n * sizeof(*items)))
        return -EFAULT;
    polled_get(items, files, n);
    long result = poll_items(items, files, n, deadline_ns);
    polled_put(files, n);
    for (u32 i = 0; result >= 0 && i < n; i++) {
        if (copy_to_user(fds + i * sizeof(*items) + offsetof(struct poll_item, revents),
                         &items[i].revents, sizeof(items[i].revents)))
            return -EFAULT;
    }
    return result;
}

static long poll_fds(uptr_t fds, u32 n, u64 deadline_ns)
{
    if (n <= POLL_SMALL) {
        struct poll_item items[POLL_SMALL];
        struct fd files[POLL_SMALL];
        return poll_run(fds, n, items, files, deadline_ns);
    }
    if (n > rlimit_current(RLIMIT_NOFILE))
        return -EINVAL;
    struct fd *files = kmalloc(n * (sizeof(struct fd) + sizeof(struct poll_item)));
    if (!files)
        return -ENOMEM;
    long result = poll_run(fds, n, (struct poll_item *)(files + n), files, deadline_ns);
    kfree(files);
    return result;
}

// restart_syscall(2) after a stop or an ignored signal: the deadline stays where it was.
static long poll_restart(void *data)
{
    u64 *d = data;
    long result = poll_fds(d[0], (u32)d[1], d[2]);
    return result == -ERESTARTNOHAND ? -ERESTART_RESTARTBLOCK : result;
}

long sys_poll(uptr_t fds, u32 n, int timeout_ms)
{
    u64 deadline_ns = deadline_from_ms(timeout_ms);
    long result = poll_fds(fds, n, deadline_ns);
    if (result != -ERESTARTNOHAND)
        return result;
    struct thread *t = current;
    t->restart.fn = poll_restart;
    t->restart.data[0] = fds;
    t->restart.data[1] = n;
    t->restart.data[2] = deadline_ns;
    return -ERESTART_RESTARTBLOCK;
}

long sys_ppoll(uptr_t fds, u32 n, uptr_t timeout, uptr_t sigmask, size_t size)
{
    u64 deadline_ns;
    int err = deadline_from_user(timeout, &deadline_ns);
    if (!err)
        err = signal_mask_enter(sigmask, size);
    if (err)
        return err;
    long result = signal_mask_leave(sigmask, poll_fds(fds, n, deadline_ns));
    write_timespec_left(timeout, deadline_ns);
    return result;
}

// ---- select(2)

#define SELECT_IN (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define SELECT_OUT (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define SELECT_EX POLLPRI

struct select_sets {
    uptr_t user[3];  // read, write, exceptional; 0: not given
    u64 *bits[3];    // as given
    size_t n_words;
};

static const u16 select_events[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};

static int sets_load(struct select_sets *s)
{
    for (int k = 0; k < 3; k++) {
        if (s->user[k] && copy_from_user(s->bits[k], s->user[k], s->n_words * sizeof(u64)))
            return -EFAULT;
    }
    return 0;
}

static u16 sets_wanted(const struct select_sets *s, u32 fd)
{
    u16 wanted = 0;
    for (int k = 0; k < 3; k++) {
        if (s->user[k] && (s->bits[k][fd / 64] & BIT(fd % 64)))
            wanted |= select_events[k];
    }
    return wanted;
}

// Clears the bits that are not ready. => the number that are.
static long sets_report(struct select_sets *s, const struct poll_item *items, u32 n)
{
    long count = 0;
    for (u32 i = 0; i < n; i++) {
        u32 fd = (u32)items[i].fd;
        for (int k = 0; k < 3; k++) {
            if (!s->user[k] || !(s->bits[k][fd / 64] & BIT(fd % 64)))
                continue;
            if (items[i].revents & select_events[k])
                count++;
            else
                s->bits[k][fd / 64] &= ~BIT(fd % 64);
        }
    }
    return count;
}

static int sets_store(const struct select_sets *s)
{
    for (int k = 0; k < 3; k++) {
        if (s->user[k] && copy_to_user(s->user[k], s->bits[k], s->n_words * sizeof(u64)))
            return -EFAULT;
    }
    return 0;
}

static long select_run(struct select_sets *s, u32 n_bits, u64 deadline_ns)
{
    u32 n = 0;
    for (u32 fd = 0; fd < n_bits; fd++)
        n += sets_wanted(s, fd) != 0;
    struct poll_item *items = kmalloc((n + 1) * (sizeof(struct poll_item) + sizeof(struct fd)));
    if (!items)
        return -ENOMEM;
    struct fd *files = (struct fd *)(items + n + 1);
    long result = 0;
    n = 0;
    for (u32 fd = 0; fd < n_bits; fd++) {
        u16 wanted = sets_wanted(s, fd);
        if (wanted)
            items[n++] = (struct poll_item){.fd = (s32)fd, .events = (s16)wanted};
    }
    polled_get(items, files, n);
    for (u32 i = 0; i < n; i++) {
        if (!files[i].file)
            result = -EBADF;
    }
    if (!result)
        result = poll_items(items, files, n, deadline_ns);
    polled_put(files, n);
    if (result >= 0)
        result = sets_report(s, items, n);
    kfree(items);
    return result;
}

#define SELECT_INLINE_WORDS 16  // 1024 descriptors, FD_SETSIZE

static __cold long select_fds(int n_bits, uptr_t in, uptr_t out, uptr_t ex, u64 deadline_ns)
{
    u64 words[3 * SELECT_INLINE_WORDS];
    u64 *memory = words;
    if (n_bits < 0)
        return -EINVAL;
    // Bits beyond what can be open are not looked at, as on Linux.
    n_bits = (int)MIN((u64)n_bits, rlimit_current(RLIMIT_NOFILE));
    struct select_sets s = {.user = {in, out, ex}, .n_words = DIV_ROUND_UP((size_t)n_bits, 64)};
    if (s.n_words > SELECT_INLINE_WORDS) {
        memory = kmalloc(3 * s.n_words * sizeof(u64));
        if (!memory)
            return -ENOMEM;
    }
    for (int k = 0; k < 3; k++)
        s.bits[k] = memory + k * s.n_words;
    long result = sets_load(&s);
    if (!result)
        result = select_run(&s, (u32)n_bits, deadline_ns);
    if (result >= 0 && sets_store(&s))
        result = -EFAULT;
    if (memory != words)
        kfree(memory);
    return result;
}

long sys_select(int n, uptr_t in, uptr_t out, uptr_t ex, uptr_t timeout)
{
    struct timeval_user tv;
    u64 deadline_ns = NEVER;
    if (timeout) {
        if (copy_from_user(&tv, timeout, sizeof(tv)))
            return -EFAULT;
        if (tv.sec < 0 || tv.usec < 0)
            return -EINVAL;
        u64 ns = ns_from_parts(tv.sec, 0) + MIN((u64)tv.usec, (u64)INT64_MAX / 1000) * 1000;
        deadline_ns = ns == 0 ? 0 : deadline_after(ns);
    }
    long result = select_fds(n, in, out, ex, deadline_ns);
    if (timeout) {
        u64 left = time_left(deadline_ns);
        tv = (struct timeval_user){left / NSEC_PER_SEC, left % NSEC_PER_SEC / 1000};
        (void)copy_to_user(timeout, &tv, sizeof(tv));
    }
    return result;
}

long sys_pselect6(int n, uptr_t in, uptr_t out, uptr_t ex, uptr_t timeout, uptr_t sig)
{
    struct {
        u64 mask, size;
    } arg = {0, 0};
    u64 deadline_ns;
    if (sig && copy_from_user(&arg, sig, sizeof(arg)))
        return -EFAULT;
    int err = deadline_from_user(timeout, &deadline_ns);
    if (!err)
        err = signal_mask_enter(arg.mask, arg.size);
    if (err)
        return err;
    long result = signal_mask_leave(arg.mask, select_fds(n, in, out, ex, deadline_ns));
    write_timespec_left(timeout, deadline_ns);
    return result;
}

int anon_fd(const struct file_ops *ops, void *data, unsigned flags)
{
    struct file *f = file_alloc(ops, flags, data);
    if (IS_ERR(f)) {
        struct file gone = {.data = data};
        ops->release(&gone);
        return (int)PTR_ERR(f);
    }
    file_set_stream(f);
    int fd = fd_new(f, flags);
    if (fd < 0)
        file_put(f);
    return fd;
}
