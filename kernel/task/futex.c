// SPDX-License-Identifier: BSD-2-Clause
// futex.c: futex(2), the futex2 calls, and robust lists.
//
// A futex is named by what its word is, not by where it is mapped: {address space, address} for
// private memory, {memory object, offset} for shared memory (mm_futex_key). The name hashes to one of
// BUCKETS buckets, each a lock, a list of waiters, and their number, which a waker reads without
// the lock:
//
//     waiter                                   waker
//     lock bucket; n_waiters++                 change the word (user mode)
//     full fence                               full fence
//     read the word; differs: leave            n_waiters == 0: nobody, done
//     put itself on the list, unlock, sleep    lock bucket; take waiters off, wake them
//
// So either the waiter sees the new value or the waker sees the waiter.
//
// I1. waiter->bucket names the bucket whose list it is on, and changes only under the locks of both
//     the old and the new one (requeue).
// I2. A waiter leaves futex_wait only after it has held its bucket's lock with queued == false, or
//     has taken itself off: nobody looks at its stack frame any more.
// I3. The word is read under the bucket lock without resolving faults; a page that is not there is
//     brought in with the lock released, and everything starts again.
//
// Lock order: two buckets by address; then run queues. A key holds no reference on its object: if the
// object goes and another takes its place, a wake-up too many is what futex(2) allows.
//
// The priority-inheritance operations answer ENOSYS, as on a Linux without CONFIG_FUTEX_PI; C
// libraries then report ENOTSUP for such mutexes.
#include <string.h>

#include "core/log.h"
#include "mm/page.h"
#include "task/calls.h"
#include "task/futex.h"
#include "task/task_internal.h"

#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_REQUEUE 3
#define FUTEX_CMP_REQUEUE 4
#define FUTEX_WAKE_OP 5
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAKE_BITSET 10
#define FUTEX_PRIVATE_FLAG 128
#define FUTEX_CLOCK_REALTIME 256
#define FUTEX_CMD_MASK (~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME))
#define FUTEX_BITSET_ALL 0xffffffffu

#define FUTEX_WAITERS 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK 0x3fffffffu

#define BUCKETS 256  // 8 KiB; Linux has 256 a CPU, for many processes

struct bucket {
    struct spinlock lock;
    u32 n_waiters;        // atomic: waiters on the list or about to be
    struct list waiters;  // [lock] next == NULL: never used
};

struct futex_waiter {
    struct list link;       // [bucket lock]
    struct bucket *bucket;  // I1
    struct futex_key_info key;
    struct thread *thread;
    u32 bitset;
    bool queued;  // [bucket lock]
};

static struct bucket buckets[BUCKETS] __aligned(64);

void futex_init(void) {}

static inline struct bucket *bucket_of(const struct futex_key_info *key)
{
    u64 h = ((u64)key->object ^ key->offset) * 0x9e3779b97f4a7c15ull;
    return &buckets[h >> 56];
}
_Static_assert(BUCKETS == 256, "the top eight bits of the hash");

static inline bool same_key(const struct futex_key_info *a, const struct futex_key_info *b)
{
    return a->offset == b->offset && a->object == b->object;
}

static inline int get_key(uptr_t addr, bool shared, struct futex_key_info *key)
{
    if (unlikely(addr & 3))
        return -EINVAL;
    if (unlikely(addr >= USER_END))
        return -EFAULT;
    if (likely(!shared)) {
        key->object = current->mm;
        key->offset = addr;
        return 0;
    }
    int err = mm_futex_key(current->mm, addr, true, key);
    if (key->object ==
        current->mm)  // private memory by a shared call: a name of its own, as on Linux
        key->offset |= 1;
    return err;
}

static inline void lock_bucket(struct bucket *b)
{
    spin_lock(&b->lock);
    if (unlikely(!b->waiters.next))
        list_init(&b->waiters);
}

static void lock_two(struct bucket *a, struct bucket *b)
{
    lock_bucket(a < b ? a : b);
    if (a != b)
        lock_bucket(a < b ? b : a);
}

static void unlock_two(struct bucket *a, struct bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

static inline void enqueue(struct bucket *b, struct futex_waiter *w)
{
    list_push_back(&b->waiters, &w->link);
    w->bucket = b;
    w->queued = true;
}

static void dequeue(struct futex_waiter *w)
{
    list_remove(&w->link);
    w->queued = false;
    atomic_sub(&w->bucket->n_waiters, 1);
}

// ---- waiting

// Takes the waiter off if it still is queued. => true: nobody had woken it
static bool unqueue(struct futex_waiter *w)
{
    for (;;) {
        struct bucket *b = READ_ONCE(w->bucket);
        spin_lock(&b->lock);
        if (unlikely(b != w->bucket)) {
            spin_unlock(&b->lock);
            continue;
        }
        bool was_queued = w->queued;
        if (was_queued)
            dequeue(w);
        spin_unlock(&b->lock);
        return was_queued;
    }
}

// Queues w for the word at addr if it still holds expected. => 0 with the thread prepared to sleep,
// -EAGAIN, -EFAULT, -EINVAL
static int queue_if_equal(struct futex_waiter *w, uptr_t addr, u32 expected, bool shared)
{
    for (;;) {
        u32 value;
        int err = get_key(addr, shared, &w->key);
        if (unlikely(err))
            return err;
        struct bucket *b = bucket_of(&w->key);
        lock_bucket(b);
        atomic_add(&b->n_waiters, 1);
        atomic_fence();
        err = get_user_u32_nofault(&value, addr);
        if (!err && value == expected) {
            thread_sleep_prepare(WAIT_INTERRUPTIBLE);
            enqueue(b, w);
            spin_unlock(&b->lock);
            return 0;
        }
        atomic_sub(&b->n_waiters, 1);
        spin_unlock(&b->lock);
        if (!err)
            return -EAGAIN;
        if ((err = get_user_u32(&value, addr)))  // brings the page in
            return err;
    }
}

// Until when: monotonic, or a time of day (NEVER is never in both).
struct deadline {
    u64 ns;
    bool real;
};

static inline u64 monotonic(struct deadline d)
{
    if (likely(!d.real) || d.ns == NEVER)
        return d.ns;
    u64 now = ktime_real_ns();
    return d.ns <= now ? 0 : deadline_after(ktime_ns(), d.ns - now);
}

// Sleeps until woken through w, which is queued. => 0, -ETIMEDOUT, -ERESTARTSYS
static int sleep_queued(struct futex_waiter *w, struct deadline deadline)
{
    for (;;) {
        // Looked up anew after each wake-up: setting the clock is one (timecalls.c).
        int err = thread_block(WAIT_INTERRUPTIBLE, monotonic(deadline));
        if (err)
            return unqueue(w) ? err : 0;
        if (!READ_ONCE(w->queued)) {
            spin_lock(&w->bucket->lock);  // I2: the waker may not be done with *w
            spin_unlock(&w->bucket->lock);
            return 0;
        }
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        if (!READ_ONCE(w->queued))
            thread_sleep_cancel();
    }
}

static int wait_on(uptr_t addr, u32 expected, bool shared, u32 bitset, struct deadline deadline)
{
    struct futex_waiter w;
    w.bitset = bitset;
    w.thread = current;
    if (unlikely(deadline.real))
        atomic_store_relaxed(&w.thread->sleeps_until_real, true);
    int err = queue_if_equal(&w, addr, expected, shared);
    if (!err)
        err = sleep_queued(&w, deadline);
    if (unlikely(deadline.real))
        atomic_store_relaxed(&w.thread->sleeps_until_real, false);
    return err;
}

static long restart_wait(void *data)
{
    u64 *d = data;
    int err = wait_on(d[0], d[1], d[2], d[3], (struct deadline){d[4], d[5]});
    return err == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : err;
}

static long do_wait(uptr_t addr, u32 expected, bool shared, u32 bitset, struct deadline deadline)
{
    if (!bitset)
        return -EINVAL;
    int err = wait_on(addr, expected, shared, bitset, deadline);
    if (err != -ERESTARTSYS || deadline.ns == NEVER)
        return err;
    struct thread *t = current;
    t->restart.fn = restart_wait;
    t->restart.data[0] = addr;
    t->restart.data[1] = expected;
    t->restart.data[2] = shared;
    t->restart.data[3] = bitset;
    t->restart.data[4] = deadline.ns;
    t->restart.data[5] = deadline.real;
    return -ERESTART_RESTARTBLOCK;
}

// ---- waking

static inline void wake_waiter(struct futex_waiter *w)
{
    struct thread *t = w->thread;
    dequeue(w);
    thread_wake(t);
}

static int wake_key(struct bucket *b, const struct futex_key_info *key, int n, u32 bitset)
{
    int woken = 0;
    list_for_each_safe (link, &b->waiters) {
        struct futex_waiter *w = list_entry(link, struct futex_waiter, link);
        if (!same_key(&w->key, key) || !(w->bitset & bitset))
            continue;
        wake_waiter(w);
        if (++woken >= n)
            break;
    }
    return woken;
}

static __noinline int wake_in(struct bucket *b, void *object, u64 offset, int n, u32 bitset)
{
    struct futex_key_info key = {.object = object, .offset = offset};
    lock_bucket(b);
    int woken = wake_key(b, &key, n, bitset);
    spin_unlock(&b->lock);
    return woken;
}

// The common case needs no stack frame: nobody waits, or wake_in is called last.
static __always_inline int wake_named(struct futex_key_info key, int n, u32 bitset)
{
    struct bucket *b = bucket_of(&key);
    atomic_fence();
    if (!atomic_load_relaxed(&b->n_waiters))
        return 0;
    return wake_in(b, key.object, key.offset, n, bitset);
}

static __always_inline int wake_private(uptr_t addr, int n)
{
    if (unlikely(addr & 3))
        return -EINVAL;
    if (unlikely(addr >= USER_END))
        return -EFAULT;
    return wake_named((struct futex_key_info){.object = current->mm, .offset = addr}, n,
                      FUTEX_BITSET_ALL);
}

static int do_wake(uptr_t addr, bool shared, int n, u32 bitset)
{
    struct futex_key_info key;
    if (unlikely(!bitset))
        return -EINVAL;
    int err = get_key(addr, shared, &key);
    return unlikely(err) ? err : wake_named(key, n, bitset);
}

int futex_wake_user(uintptr_t addr, int n, bool shared)
{
    return do_wake(addr, shared, n, FUTEX_BITSET_ALL);
}

// Wakes n_wake waiters of key1 and moves up to n_requeue others to key2. Both buckets locked.
static int move_waiters(struct bucket *b1, const struct futex_key_info *key1, struct bucket *b2,
                        const struct futex_key_info *key2, int n_wake, int n_requeue, int *n_moved)
{
    int woken = 0;
    *n_moved = 0;
    list_for_each_safe (link, &b1->waiters) {
        struct futex_waiter *w = list_entry(link, struct futex_waiter, link);
        if (!same_key(&w->key, key1))
            continue;
        if (woken < n_wake) {
            wake_waiter(w);
            woken++;
            continue;
        }
        if (*n_moved >= n_requeue)
            break;
        (*n_moved)++;
        w->key = *key2;
        if (b1 == b2)
            continue;
        list_remove(&w->link);
        atomic_sub(&b1->n_waiters, 1);
        atomic_add(&b2->n_waiters, 1);
        enqueue(b2, w);
    }
    return woken;
}

static __cold long do_requeue(uptr_t addr1, bool shared1, uptr_t addr2, bool shared2, int n_wake,
                              int n_requeue, const u32 *expected)
{
    struct futex_key_info key1, key2;
    if (n_wake < 0 || n_requeue < 0)
        return -EINVAL;
    for (;;) {
        int err = get_key(addr1, shared1, &key1), moved;
        if (!err)
            err = get_key(addr2, shared2, &key2);
        if (err)
            return err;
        struct bucket *b1 = bucket_of(&key1), *b2 = bucket_of(&key2);
        lock_two(b1, b2);
        u32 value = 0;
        if (expected)
            err = get_user_u32_nofault(&value, addr1);
        if (!err && (!expected || value == *expected)) {
            int woken = move_waiters(b1, &key1, b2, &key2, n_wake, n_requeue, &moved);
            unlock_two(b1, b2);
            return woken + moved;
        }
        unlock_two(b1, b2);
        if (!err)
            return -EAGAIN;
        if ((err = get_user_u32(&value, addr1)))
            return err;
    }
}

static bool compare(u32 op, s32 old, s32 arg)
{
    switch (op) {
    case 0: return old == arg;
    case 1: return old != arg;
    case 2: return old < arg;
    case 3: return old <= arg;
    case 4: return old > arg;
    default: return old >= arg;
    }
}

// FUTEX_WAKE_OP. The word is changed before the buckets are locked: a waiter that queues in between
// has seen the new value.
static long do_wake_op(uptr_t addr1, uptr_t addr2, bool shared, int n_wake, int n_wake2,
                       u32 encoded)
{
    struct futex_key_info key1, key2;
    u32 op = encoded >> 28 & 7, cmp = encoded >> 24 & 15, old;
    s32 op_arg = (s32)(encoded << 8) >> 20, cmp_arg = (s32)(encoded << 20) >> 20;
    if (encoded & 0x80000000u)
        op_arg = (s32)(1u << (op_arg & 31));
    int err = get_key(addr1, shared, &key1);
    if (!err)
        err = get_key(addr2, shared, &key2);
    if (err)
        return err;
    if (op > 4 || cmp > 5)
        return -ENOSYS;
    if ((err = user_futex_op(addr2, op, op_arg, &old)))
        return err;
    struct bucket *b1 = bucket_of(&key1), *b2 = bucket_of(&key2);
    lock_two(b1, b2);
    int woken = wake_key(b1, &key1, n_wake, FUTEX_BITSET_ALL);
    if (compare(cmp, old, cmp_arg))
        woken += wake_key(b2, &key2, n_wake2, FUTEX_BITSET_ALL);
    unlock_two(b1, b2);
    return woken;
}

// ---- futex(2)

static int read_timeout(uptr_t from, int cmd, bool realtime, struct deadline *deadline)
{
    struct timespec_user ts;
    *deadline = (struct deadline){NEVER, false};
    if (!from)
        return 0;
    int err = get_timespec(&ts, from);
    if (err)
        return err;
    if (!timespec_valid(&ts))
        return -EINVAL;
    if (cmd == FUTEX_WAIT)
        deadline->ns = deadline_after(ktime_ns(), timespec_ns(&ts));
    else
        *deadline = (struct deadline){timespec_ns(&ts), realtime};
    return 0;
}

static long futex_wait_call(uptr_t addr, int cmd, int op, u32 value, uptr_t timeout, u32 bitset)
{
    struct deadline deadline;
    int err = read_timeout(timeout, cmd, op & FUTEX_CLOCK_REALTIME, &deadline);
    if (err)
        return err;
    return do_wait(addr, value, !(op & FUTEX_PRIVATE_FLAG), bitset, deadline);
}

static __noinline long futex_other(uptr_t addr, int op, u32 value, uptr_t timeout, uptr_t addr2,
                                   u32 value3)
{
    int cmd = op & FUTEX_CMD_MASK;
    bool shared = !(op & FUTEX_PRIVATE_FLAG);
    if (unlikely((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET))
        return -ENOSYS;
    switch (cmd) {
    case FUTEX_WAIT: return futex_wait_call(addr, cmd, op, value, timeout, FUTEX_BITSET_ALL);
    case FUTEX_WAKE: return do_wake(addr, shared, (int)value, FUTEX_BITSET_ALL);
    case FUTEX_WAIT_BITSET: return futex_wait_call(addr, cmd, op, value, timeout, value3);
    case FUTEX_WAKE_BITSET: return do_wake(addr, shared, (int)value, value3);
    case FUTEX_REQUEUE:
        return do_requeue(addr, shared, addr2, shared, (int)value, (int)timeout, NULL);
    case FUTEX_CMP_REQUEUE:
        return do_requeue(addr, shared, addr2, shared, (int)value, (int)timeout, &value3);
    case FUTEX_WAKE_OP: return do_wake_op(addr, addr2, shared, (int)value, (int)timeout, value3);
    default: return -ENOSYS;
    }
}

// Most calls are these two.
long sys_futex(uptr_t addr, int op, u32 value, uptr_t timeout, uptr_t addr2, u32 value3)
{
    u32 now;
    if (op == (FUTEX_WAKE | FUTEX_PRIVATE_FLAG))
        return wake_private(addr, (int)value);
    if (op == (FUTEX_WAIT | FUTEX_PRIVATE_FLAG) && !timeout && !(addr & 3)) {
        if (unlikely(get_user_u32(&now, addr)))
            return -EFAULT;
        return now != value
                   ? -EAGAIN
                   : do_wait(addr, value, false, FUTEX_BITSET_ALL, (struct deadline){NEVER, false});
    }
    return futex_other(addr, op, value, timeout, addr2, value3);
}

// ---- the futex2 calls: futex_wake(2), futex_wait(2), futex_requeue(2), futex_waitv(2)

#define FUTEX2_SIZE_MASK 3u
#define FUTEX2_SIZE_U32 2u
#define FUTEX2_PRIVATE 128u
#define FUTEX_WAITV_MAX 128

struct futex_waitv {
    u64 value, addr;
    u32 flags, reserved;
};

static int check_flags2(unsigned flags)
{
    if (flags & ~(FUTEX2_SIZE_MASK | FUTEX2_PRIVATE))
        return -EINVAL;
    return (flags & FUTEX2_SIZE_MASK) == FUTEX2_SIZE_U32 ? 0 : -EINVAL;
}

long sys_futex_wake(uptr_t addr, u64 mask, int n, unsigned flags)
{
    int err = check_flags2(flags);
    if (err)
        return err;
    if (mask > UINT32_MAX)
        return -EINVAL;
    return n ? do_wake(addr, !(flags & FUTEX2_PRIVATE), n, mask) : 0;
}

static int read_timeout2(uptr_t from, int clock, struct deadline *deadline)
{
    if (from && clock != 0 && clock != 1)
        return -EINVAL;
    return read_timeout(from, FUTEX_WAIT_BITSET, clock == 0, deadline);
}

long sys_futex_wait(uptr_t addr, u64 value, u64 mask, unsigned flags, uptr_t timeout, int clock)
{
    struct deadline deadline;
    int err = check_flags2(flags);
    if (err)
        return err;
    if (value > UINT32_MAX || mask > UINT32_MAX)
        return -EINVAL;
    if ((err = read_timeout2(timeout, clock, &deadline)))
        return err;
    return do_wait(addr, value, !(flags & FUTEX2_PRIVATE), mask, deadline);
}

long sys_futex_requeue(uptr_t waiters, unsigned flags, int n_wake, int n_requeue)
{
    struct futex_waitv v[2];
    if (flags)
        return -EINVAL;
    if (copy_from_user(v, waiters, sizeof v))
        return -EFAULT;
    for (int i = 0; i < 2; i++)
        if (check_flags2(v[i].flags) || v[i].reserved || v[i].value > UINT32_MAX)
            return -EINVAL;
    u32 expected = v[0].value;
    return do_requeue(v[0].addr, !(v[0].flags & FUTEX2_PRIVATE), v[1].addr,
                      !(v[1].flags & FUTEX2_PRIVATE), n_wake, n_requeue, &expected);
}

// Takes the first n waiters off. => index of one that somebody has woken, or -1
static int unqueue_all(struct futex_waiter *w, int n)
{
    int woken = -1;
    for (int i = 0; i < n; i++)
        if (!unqueue(&w[i]))
            woken = i;
    return woken;
}

static bool any_woken(struct futex_waiter *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!READ_ONCE(w[i].queued))
            return true;
    return false;
}

static long wait_many(const struct futex_waitv *v, struct futex_waiter *w, unsigned n,
                      struct deadline deadline)
{
    int err = 0;
    atomic_store_relaxed(&current->sleeps_until_real, deadline.real);
    for (unsigned i = 0; i < n; i++) {
        w[i].bitset = FUTEX_BITSET_ALL;
        w[i].thread = current;
        err = queue_if_equal(&w[i], v[i].addr, v[i].value, !(v[i].flags & FUTEX2_PRIVATE));
        if (err) {
            thread_sleep_cancel();
            int woken = unqueue_all(w, i);
            return woken >= 0 ? woken : err;
        }
    }
    while (!err) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        if (any_woken(w, n))
            break;
        err = thread_block(WAIT_INTERRUPTIBLE, monotonic(deadline));
    }
    thread_sleep_cancel();
    int woken = unqueue_all(w, n);
    return woken >= 0 ? woken : err;
}

__cold long sys_futex_waitv(uptr_t waiters, unsigned n, unsigned flags, uptr_t timeout, int clock)
{
    struct deadline deadline;
    if (flags || n == 0 || n > FUTEX_WAITV_MAX || !waiters)
        return -EINVAL;
    int err = read_timeout2(timeout, clock, &deadline);
    if (err)
        return err;
    struct futex_waitv *v = kmalloc(n * sizeof *v);
    struct futex_waiter *w = kmalloc(n * sizeof *w);
    long result = v && w ? copy_from_user(v, waiters, n * sizeof *v) : -ENOMEM;
    for (unsigned i = 0; !result && i < n; i++)
        if (v[i].reserved || v[i].value > UINT32_MAX || check_flags2(v[i].flags))
            result = -EINVAL;
    if (!result)
        result = wait_many(v, w, n, deadline);
    atomic_store_relaxed(&current->sleeps_until_real, false);
    kfree(v);
    kfree(w);
    return result;
}

// ---- robust lists (set_robust_list(2), Documentation/locking/robust-futex-ABI)

#define ROBUST_HEAD_SIZE 24
#define ROBUST_LIST_LIMIT 2048  // a list longer than this is taken for a loop

long sys_set_robust_list(uptr_t head, size_t len)
{
    if (len != ROBUST_HEAD_SIZE)
        return -EINVAL;
    current->robust_list = head;
    current->robust_list_len = len;
    return 0;
}

long sys_get_robust_list(int tid, uptr_t head, uptr_t len)
{
    struct thread *t = tid ? thread_find(tid) : current;
    if (!t)
        return -ESRCH;
    uptr_t value = t->robust_list;
    bool allowed = t->process == current->process || capable(CAP_SYS_PTRACE);
    if (tid)
        thread_put(t);
    if (!allowed)
        return -EPERM;
    if (put_user_u64(len, ROBUST_HEAD_SIZE) || put_user_u64(head, value))
        return -EFAULT;
    return 0;
}

// Marks one lock whose owner dies. => false: user memory is bad, stop
static bool mark_owner_died(uptr_t addr, bool pi, bool pending)
{
    u32 value, old;
    if ((addr & 3) || get_user_u32(&value, addr))
        return false;
    for (;;) {
        // The lock was being released and the wake-up may have been lost.
        if (pending && !pi && !value) {
            futex_wake_user(addr, 1, true);
            return true;
        }
        if ((value & FUTEX_TID_MASK) != (u32)current->tid)
            return true;
        u32 died = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (user_cmpxchg_u32(addr, value, died, &old))
            return false;
        if (old == value)
            break;
        value = old;
    }
    if (!pi && (value & FUTEX_WAITERS))
        futex_wake_user(addr, 1, true);
    return true;
}

void futex_exit_robust(uintptr_t head, size_t len)
{
    u64 entry, offset, pending, next;
    if (len != ROBUST_HEAD_SIZE || get_user_u64(&entry, head) || get_user_u64(&offset, head + 8) ||
        get_user_u64(&pending, head + 16))
        return;
    for (int i = 0; i < ROBUST_LIST_LIMIT && (entry & ~1ull) != head; i++) {
        bool bad_next = get_user_u64(&next, entry & ~1ull) != 0;
        if ((entry & ~1ull) != (pending & ~1ull) &&
            !mark_owner_died((entry & ~1ull) + offset, entry & 1, false))
            return;
        if (bad_next)
            return;
        entry = next;
        if (!(i & 63))
            sched_point();
    }
    if (pending & ~1ull)
        mark_owner_died((pending & ~1ull) + offset, pending & 1, true);
}
