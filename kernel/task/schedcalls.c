// SPDX-License-Identifier: BSD-2-Clause
// schedcalls.c: the system calls on scheduling (sched(7)).
#include <string.h>

#include "task/calls.h"
#include "task/task_internal.h"

#define RESET_ON_FORK 0x40000000
#define RLIMIT_NICE 13
#define RLIMIT_RTPRIO 14

long sys_sched_yield(void)
{
    thread_yield();
    return 0;
}

// The thread with this number (0: the caller), referenced. => ERR_PTR(-ESRCH)
static struct thread *get_target(int tid)
{
    struct thread *t = tid ? thread_find(tid) : current;
    if (!t)
        return ERR_PTR(-ESRCH);
    if (!tid)
        thread_get(t);
    return t;
}

static bool may_schedule(struct thread *t)
{
    struct process *self = current->process, *p = t->process;
    return self->euid == p->euid || self->euid == p->uid || capable(CAP_SYS_NICE);
}

// ---- affinity

long sys_sched_setaffinity(int tid, size_t len, uptr_t mask_at)
{
    cpumask_t mask = 0;
    if (copy_from_user(&mask, mask_at, MIN(len, sizeof mask)))
        return -EFAULT;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    int err = may_schedule(t) ? sched_set_affinity(t, mask) : -EPERM;
    thread_put(t);
    return err;
}

// The result is the number of bytes written, as the raw call has it on Linux.
long sys_sched_getaffinity(int tid, size_t len, uptr_t mask_at)
{
    if (len * 8 < n_cpus || (len & (sizeof(u64) - 1)))
        return -EINVAL;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    cpumask_t mask = t->affinity & cpus_online();
    thread_put(t);
    return copy_to_user(mask_at, &mask, sizeof mask) ? -EFAULT : (long)sizeof mask;
}

long sys_getcpu(uptr_t cpu, uptr_t node, uptr_t unused)
{
    if (cpu && put_user_u32(cpu, this_cpu()->id))
        return -EFAULT;
    if (node && put_user_u32(node, 0))
        return -EFAULT;
    return 0;
}

// ---- policies

static bool is_policy(int policy)
{
    return policy == SCHED_OTHER || policy == SCHED_FIFO || policy == SCHED_RR ||
           policy == SCHED_BATCH || policy == SCHED_IDLE;
}

// Nice from 19 .. -20 is 1 .. 40 in RLIMIT_NICE (getrlimit(2)).
static bool may_nice(struct thread *t, int nice)
{
    return nice >= t->nice || (u64)(20 - nice) <= t->process->rlimits[RLIMIT_NICE].cur ||
           capable(CAP_SYS_NICE);
}

static int check_policy_rights(struct thread *t, int policy, int priority, int nice)
{
    if (capable(CAP_SYS_NICE))
        return 0;
    if (!may_schedule(t) || !may_nice(t, nice))
        return -EPERM;
    u64 limit = t->process->rlimits[RLIMIT_RTPRIO].cur;
    if (policy_is_rt(policy) && policy != t->policy && !limit)
        return -EPERM;
    if (policy_is_rt(policy) && priority > t->rt_priority && (u64)priority > limit)
        return -EPERM;
    return 0;
}

static int set_policy(int tid, int policy, int priority, bool keep_nice, int nice,
                      bool reset_on_fork)
{
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    int err = 0;
    if (policy == -1)  // sched_setparam
        policy = t->policy;
    if (!is_policy(policy) || priority < 0 || priority > 99 ||
        policy_is_rt(policy) != (priority != 0))
        err = -EINVAL;
    if (keep_nice)
        nice = t->nice;
    if (!err)
        err = check_policy_rights(t, policy, priority, nice);
    if (!err) {
        t->reset_on_fork = reset_on_fork;
        sched_set_params(t, policy, priority, nice);
    }
    thread_put(t);
    return err;
}

long sys_sched_setscheduler(int tid, int policy, uptr_t param)
{
    u32 priority;
    if (policy < 0 || !param || tid < 0)
        return -EINVAL;
    if (get_user_u32(&priority, param))
        return -EFAULT;
    return set_policy(tid, policy & ~RESET_ON_FORK, priority, true, 0, policy & RESET_ON_FORK);
}

long sys_sched_setparam(int tid, uptr_t param)
{
    u32 priority;
    if (!param || tid < 0)
        return -EINVAL;
    if (get_user_u32(&priority, param))
        return -EFAULT;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    bool reset = t->reset_on_fork;
    thread_put(t);
    return set_policy(tid, -1, priority, true, 0, reset);
}

long sys_sched_getscheduler(int tid)
{
    if (tid < 0)
        return -EINVAL;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    long policy = t->policy | (t->reset_on_fork ? RESET_ON_FORK : 0);
    thread_put(t);
    return policy;
}

long sys_sched_getparam(int tid, uptr_t param)
{
    if (!param || tid < 0)
        return -EINVAL;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    u32 priority = t->rt_priority;
    thread_put(t);
    return put_user_u32(param, priority);
}

struct sched_attr_user {  // sched_setattr(2)
    u32 size, policy;
    u64 flags;
    s32 nice;
    u32 priority;
    u64 runtime, deadline, period;
    u32 util_min, util_max;
};
#define SCHED_ATTR_SIZE_VER0 48
#define SCHED_FLAG_RESET_ON_FORK 1
#define SCHED_FLAG_KEEP_POLICY 8
#define SCHED_FLAG_KEEP_PARAMS 16

long sys_sched_setattr(int tid, uptr_t attr, unsigned flags)
{
    struct sched_attr_user a = {0};
    u32 size;
    if (!attr || tid < 0 || flags)
        return -EINVAL;
    if (get_user_u32(&size, attr))
        return -EFAULT;
    if (!size)
        size = SCHED_ATTR_SIZE_VER0;
    if (size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE) {
        (void)put_user_u32(attr, sizeof a);
        return -E2BIG;
    }
    if (copy_from_user(&a, attr, MIN(size, sizeof a)))
        return -EFAULT;
    if (a.flags &
        ~(u64)(SCHED_FLAG_RESET_ON_FORK | SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS))
        return -EINVAL;
    if ((s32)a.policy < 0)
        return -EINVAL;
    int policy = a.flags & SCHED_FLAG_KEEP_POLICY ? -1 : (int)a.policy;
    bool rt = policy_is_rt(policy);
    if (!rt && (a.nice < -20 || a.nice > 19) && !(a.flags & SCHED_FLAG_KEEP_PARAMS))
        return -EINVAL;
    return set_policy(tid, policy, a.priority, rt || (a.flags & SCHED_FLAG_KEEP_PARAMS), a.nice,
                      a.flags & SCHED_FLAG_RESET_ON_FORK);
}

long sys_sched_getattr(int tid, uptr_t attr, unsigned size, unsigned flags)
{
    if (!attr || tid < 0 || flags || size > PAGE_SIZE || size < SCHED_ATTR_SIZE_VER0)
        return -EINVAL;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    struct sched_attr_user a = {
        .size = MIN(size, (unsigned)sizeof a),
        .policy = t->policy,
        .flags = t->reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0,
        .nice = policy_is_rt(t->policy) ? 0 : t->nice,
        .priority = t->rt_priority,
        .util_max = 1024,
    };
    thread_put(t);
    return copy_to_user(attr, &a, a.size);
}

long sys_sched_get_priority_max(int policy)
{
    return !is_policy(policy) ? -EINVAL : policy_is_rt(policy) ? 99 : 0;
}

long sys_sched_get_priority_min(int policy)
{
    return !is_policy(policy) ? -EINVAL : policy_is_rt(policy) ? 1 : 0;
}

long sys_sched_rr_get_interval(int tid, uptr_t to)
{
    if (tid < 0)
        return -EINVAL;
    struct thread *t = get_target(tid);
    if (IS_ERR(t))
        return PTR_ERR(t);
    u64 ns = sched_rr_interval_ns(t);
    thread_put(t);
    return put_timespec(to, ns);
}

// ---- nice values of threads, groups and users (getpriority(2))

enum { PRIO_PROCESS = 0, PRIO_PGRP = 1, PRIO_USER = 2 };

struct prio_query {
    int which, who;
    bool set;
    int nice, best, err;
    bool found;
};

static void prio_apply(struct thread *t, struct prio_query *q)
{
    q->found = true;
    if (!q->set) {
        q->best = MIN(q->best, (int)t->nice);
        return;
    }
    if (!may_schedule(t))
        q->err = -EPERM;
    else if (!may_nice(t, q->nice))
        q->err = -EACCES;
    else
        sched_set_params(t, t->policy, t->rt_priority, q->nice);
}

static int prio_process(struct process *p, void *arg)
{
    struct prio_query *q = arg;
    bool match = q->which == PRIO_PGRP ? p->pgid == q->who : p->uid == (u32)q->who;
    if (!match || p == &kernel_process)
        return 0;
    spin_lock(&p->signal_lock);
    list_for_each_entry (struct thread, t, &p->threads, process_link)
        prio_apply(t, q);
    spin_unlock(&p->signal_lock);
    return 0;
}

static int prio_walk(struct prio_query *q)
{
    struct process *self = current->process;
    if (q->which < PRIO_PROCESS || q->which > PRIO_USER)
        return -EINVAL;
    if (q->which == PRIO_PROCESS) {
        struct thread *t = q->who < 0 ? ERR_PTR(-ESRCH) : get_target(q->who);
        if (IS_ERR(t))
            return -ESRCH;
        prio_apply(t, q);
        thread_put(t);
        return q->err;
    }
    if (!q->who)
        q->who = q->which == PRIO_PGRP ? self->pgid : (int)self->uid;
    spin_lock(&tree_lock);
    process_for_each_locked(prio_process, q);
    spin_unlock(&tree_lock);
    return q->found ? q->err : -ESRCH;
}

// The raw call gives 40 .. 1 for nice -20 .. 19, so that it is never negative.
long sys_getpriority(int which, int who)
{
    struct prio_query q = {.which = which, .who = who, .best = 20};
    int err = prio_walk(&q);
    return err ? err : 20 - q.best;
}

long sys_setpriority(int which, int who, int nice)
{
    struct prio_query q = {.which = which, .who = who, .set = true};
    q.nice = MAX(-20, MIN(nice, 19));
    return prio_walk(&q);
}

// ---- I/O priorities: kept and shown (ioprio_set(2))

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_WHO_USER 3
#define IOPRIO_CLASS(p) ((p) >> 13)

long sys_ioprio_set(int which, int who, int ioprio)
{
    int class = IOPRIO_CLASS(ioprio), level = ioprio & 7;
    if (class < 0 || class > 3 || (class == 0 && level))
        return -EINVAL;
    if (class == 1 && !capable(CAP_SYS_NICE) && !capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (which != IOPRIO_WHO_PROCESS)  // groups and users: nothing schedules I/O by them here
        return which == 2 || which == IOPRIO_WHO_USER ? -ENOSYS : -EINVAL;
    struct thread *t = get_target(who);
    if (IS_ERR(t))
        return PTR_ERR(t);
    int err = may_schedule(t) ? 0 : -EPERM;
    if (!err)
        t->ioprio = ioprio;
    thread_put(t);
    return err;
}

long sys_ioprio_get(int which, int who)
{
    if (which != IOPRIO_WHO_PROCESS)
        return which == 2 || which == IOPRIO_WHO_USER ? -ENOSYS : -EINVAL;
    struct thread *t = get_target(who);
    if (IS_ERR(t))
        return PTR_ERR(t);
    long ioprio = t->ioprio;
    thread_put(t);
    return ioprio;
}
