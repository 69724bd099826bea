// SPDX-License-Identifier: BSD-2-Clause
// wait.c: wait4(2), waitid(2), getrusage(2), times(2).
//
// A child has at most one event to report: its end, a stop, or that it continued. Events are looked
// for under the tree lock; whoever makes one wakes the parent's child_wait under the same lock.
#include <string.h>

#include "core/log.h"
#include "task/calls.h"
#include "task/task_internal.h"

#define WNOHANG 1
#define WUNTRACED 2  // WSTOPPED in waitid
#define WEXITED 4
#define WCONTINUED 8
#define WNOWAIT 0x01000000
#define WNOTHREAD 0x20000000
#define WALL 0x40000000
#define WCLONE ((int)0x80000000)

enum { P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3 };

struct rusage_user {  // getrusage(2)
    struct timeval_user utime, stime;
    s64 maxrss, ixrss, idrss, isrss, minflt, majflt, nswap, inblock, oublock, msgsnd, msgrcv,
        nsignals, nvcsw, nivcsw;
};

struct wait_request {
    int type, id, options;
    // Result: pid 0 means that nothing happened yet.
    s32 pid;
    u32 uid;
    int status;  // wait(2) format
    struct rusage_user usage;
};

static struct timeval_user timeval_of(u64 ns)
{
    return (struct timeval_user){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / NSEC_PER_USEC};
}

// What a zombie has used, its own reaped children included.
static void zombie_usage(struct process *p, struct rusage_user *u)
{
    memset(u, 0, sizeof *u);
    u->utime = timeval_of(p->dead_user_ns + p->child_user_ns);
    u->stime = timeval_of(p->dead_system_ns + p->child_system_ns);
    u->maxrss = MAX(p->maxrss_kib, p->child_maxrss);
    u->minflt = p->dead_minflt + p->child_minflt;
    u->majflt = p->dead_majflt + p->child_majflt;
    u->nvcsw = p->dead_nvcsw + p->child_nvcsw;
    u->nivcsw = p->dead_nivcsw + p->child_nivcsw;
}

static bool is_eligible(const struct process *child, const struct wait_request *r)
{
    switch (r->type) {
    case P_PID:
        if (child->pid != r->id)
            return false;
        break;
    case P_PGID:
        if (child->pgid != r->id)
            return false;
        break;
    default: break;
    }
    if (r->options & WALL)
        return true;
    return (child->exit_signal != SIGCHLD) == ((r->options & WCLONE) != 0);
}

// Takes an event of child, if it has one that is asked for. Tree lock held.
static bool take_event(struct process *child, struct wait_request *r, struct list *garbage)
{
    bool keep = r->options & WNOWAIT;
    if (child->is_zombie) {
        if (!(r->options & WEXITED))
            return false;
        r->status = child->exit_status;
        zombie_usage(child, &r->usage);
        r->pid = child->pid;
        r->uid = child->uid;
        if (!keep)
            process_reap_locked(child, garbage);
        return true;
    }
    u8 events = child->wait_events;
    if ((events & PROCESS_STOPPED) && (r->options & WUNTRACED))
        r->status = child->stop_signal << 8 | 0x7f;
    else if ((events & PROCESS_CONTINUED) && (r->options & WCONTINUED))
        r->status = 0xffff;
    else
        return false;
    if (!keep)
        child->wait_events &= r->status == 0xffff ? ~PROCESS_CONTINUED : ~PROCESS_STOPPED;
    memset(&r->usage, 0, sizeof r->usage);
    r->pid = child->pid;
    r->uid = child->uid;
    return true;
}

// => -ECHILD: no child could ever match; 0: r->pid tells
static int look(struct wait_request *r)
{
    struct process *self = current->process;
    struct list garbage;
    bool any = false;
    list_init(&garbage);
    spin_lock(&tree_lock);
    list_for_each_safe (link, &self->children) {
        struct process *child = list_entry(link, struct process, sibling_link);
        if (!is_eligible(child, r))
            continue;
        any = true;
        if (take_event(child, r, &garbage))
            break;
    }
    spin_unlock(&tree_lock);
    process_free_garbage(&garbage);
    return any ? 0 : -ECHILD;
}

static int do_wait(struct wait_request *r)
{
    struct wait_queue *q = &current->process->child_wait;
    struct waiter w;
    int err;
    r->pid = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(q, &w, WAIT_INTERRUPTIBLE);
        err = look(r);
        if (err || r->pid || (r->options & WNOHANG))
            break;
        if ((err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER)))
            break;
    }
    wait_finish(q, &w);
    return err;
}

long sys_wait4(int pid, uptr_t status, int options, uptr_t rusage)
{
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct wait_request r = {.options = options | WEXITED};
    r.type = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
    r.id = pid > 0 ? pid : pid == 0 ? current->process->pgid : -pid;
    int err = do_wait(&r);
    if (err)
        return err;
    if (r.pid && status && put_user_u32(status, r.status))
        return -EFAULT;
    if (r.pid && rusage && copy_to_user(rusage, &r.usage, sizeof r.usage))
        return -EFAULT;
    return r.pid;
}

static int resolve_waitid(struct wait_request *r, int type, int id, bool *nonblocking)
{
    unsigned flags = 0;
    struct process *p;
    r->type = type;
    r->id = id;
    *nonblocking = false;
    switch (type) {
    case P_ALL: return 0;
    case P_PID: return id > 0 ? 0 : -EINVAL;
    case P_PGID:
        if (id == 0)
            r->id = current->process->pgid;
        return id >= 0 ? 0 : -EINVAL;
    case P_PIDFD:
        if (id < 0)
            return -EINVAL;
        p = pidfd_get_process(id, &flags);
        if (IS_ERR(p))
            return PTR_ERR(p);
        r->type = P_PID;
        r->id = p->pid;
        *nonblocking = flags & 04000;
        process_put(p);
        return 0;
    default: return -EINVAL;
    }
}

static void fill_waitid_info(struct siginfo *info, const struct wait_request *r)
{
    memset(info, 0, sizeof *info);
    if (!r->pid)
        return;
    int sig = r->status & 0x7f;
    info->signo = SIGCHLD;
    info->child.pid = r->pid;
    info->child.uid = r->uid;
    if (r->status == 0xffff) {
        info->code = CLD_CONTINUED;
        info->child.status = SIGCONT;
    } else if (sig == 0x7f) {
        info->code = CLD_STOPPED;
        info->child.status = r->status >> 8;
    } else {
        info->code = !sig ? CLD_EXITED : r->status & 0x80 ? CLD_DUMPED : CLD_KILLED;
        info->child.status = sig ? sig : r->status >> 8;
    }
}

long sys_waitid(int type, int id, uptr_t info, int options, uptr_t rusage)
{
    struct wait_request r = {0};
    struct siginfo si;
    bool nonblocking;
    if (options &
        ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE))
        return -EINVAL;
    if (!(options & (WEXITED | WUNTRACED | WCONTINUED)))
        return -EINVAL;
    int err = resolve_waitid(&r, type, id, &nonblocking);
    if (err)
        return err;
    r.options = options | (nonblocking ? WNOHANG : 0);
    err = do_wait(&r);
    if (!err && !r.pid && nonblocking && !(options & WNOHANG))
        err = -EAGAIN;
    if (err)
        return err;
    if (r.pid && rusage && copy_to_user(rusage, &r.usage, sizeof r.usage))
        return -EFAULT;
    fill_waitid_info(&si, &r);
    // Linux writes the first six words only; the rest of the structure stays as it was.
    if (info && copy_to_user(info, &si, 28))
        return -EFAULT;
    return 0;
}

// ---- what has been used

#define RUSAGE_SELF 0
#define RUSAGE_CHILDREN (-1)
#define RUSAGE_THREAD 1

static void self_usage(struct process *p, struct rusage_user *u)
{
    u64 user, system;
    process_times(p, &user, &system);
    u->utime = timeval_of(user);
    u->stime = timeval_of(system);
    u->maxrss = MAX(p->maxrss_kib, mm_max_rss_kib(p->mm));
    spin_lock(&p->signal_lock);
    u->minflt = p->dead_minflt;
    u->majflt = p->dead_majflt;
    u->nvcsw = p->dead_nvcsw;
    u->nivcsw = p->dead_nivcsw;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        u->minflt += t->n_minor_faults;
        u->majflt += t->n_major_faults;
        u->nvcsw += t->n_voluntary;
        u->nivcsw += t->n_involuntary;
    }
    spin_unlock(&p->signal_lock);
}

static void children_usage(struct process *p, struct rusage_user *u)
{
    spin_lock(&tree_lock);
    u->utime = timeval_of(p->child_user_ns);
    u->stime = timeval_of(p->child_system_ns);
    u->maxrss = p->child_maxrss;
    u->minflt = p->child_minflt;
    u->majflt = p->child_majflt;
    u->nvcsw = p->child_nvcsw;
    u->nivcsw = p->child_nivcsw;
    spin_unlock(&tree_lock);
}

static void thread_usage(struct thread *t, struct rusage_user *u)
{
    u64 user, system;
    thread_times(t, &user, &system);
    u->utime = timeval_of(user);
    u->stime = timeval_of(system);
    u->maxrss = MAX(t->process->maxrss_kib, mm_max_rss_kib(t->mm));
    u->minflt = t->n_minor_faults;
    u->majflt = t->n_major_faults;
    u->nvcsw = t->n_voluntary;
    u->nivcsw = t->n_involuntary;
}

long sys_getrusage(int who, uptr_t to)
{
    struct rusage_user u = {0};
    switch (who) {
    case RUSAGE_SELF: self_usage(current->process, &u); break;
    case RUSAGE_CHILDREN: children_usage(current->process, &u); break;
    case RUSAGE_THREAD: thread_usage(current, &u); break;
    default: return -EINVAL;
    }
    return copy_to_user(to, &u, sizeof u);
}

#define CLK_TCK 100

long sys_times(uptr_t to)
{
    struct process *p = current->process;
    u64 user, system, tick = NSEC_PER_SEC / CLK_TCK;
    process_times(p, &user, &system);
    u64 tms[4] = {user / tick, system / tick, p->child_user_ns / tick, p->child_system_ns / tick};
    if (to && copy_to_user(to, tms, sizeof tms))
        return -EFAULT;
    return ktime_ns() / tick;
}
