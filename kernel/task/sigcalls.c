// SPDX-License-Identifier: BSD-2-Clause
// sigcalls.c: the system calls on signals. The checks are in Linux's order, because programs probe.
#include <string.h>

#include "arch/signal.h"
#include "arch_impl/uapi.h"
#include "mm/page.h"
#include "task/calls.h"
#include "task/task_internal.h"

#ifndef ARCH_MINSIGSTKSZ  // a larger one comes from arch_impl/uapi.h
#define ARCH_MINSIGSTKSZ 2048
#endif
#define UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SA_KNOWN                                                                        \
    (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART | \
     SA_NODEFER | SA_RESETHAND | 0x800u /* SA_EXPOSE_TAGBITS */)
enum { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 };

long sys_rt_sigaction(int sig, uptr_t action_at, uptr_t old_at, size_t size)
{
    struct process *p = current->process;
    struct sigaction action, old;
    if (size != sizeof(u64))
        return -EINVAL;
    if (action_at && copy_from_user(&action, action_at, sizeof action))
        return -EFAULT;
    if (sig < 1 || sig > N_SIGNALS || (action_at && (SIG_BIT(sig) & UNBLOCKABLE)))
        return -EINVAL;
    spin_lock(&p->signal_lock);
    old = p->actions[sig - 1];
    if (action_at) {
        action.flags &= SA_KNOWN;
        action.mask &= ~UNBLOCKABLE;
        p->actions[sig - 1] = action;
        if (signal_is_ignored_locked(p, sig))
            signal_flush_everywhere(p, SIG_BIT(sig));
    }
    spin_unlock(&p->signal_lock);
    return old_at && copy_to_user(old_at, &old, sizeof old) ? -EFAULT : 0;
}

static __noinline long change_mask(u64 mask, uptr_t old_at, u64 old)
{
    signal_set_blocked(mask);
    return old_at ? put_user_u64(old_at, old) : 0;
}

long sys_rt_sigprocmask(int how, uptr_t set, uptr_t old_at, size_t size)
{
    u64 old = current->sig_blocked, mask;
    if (unlikely(size != sizeof mask))
        return -EINVAL;
    if (set) {
        if (unlikely(get_user_u64(&mask, set)))
            return -EFAULT;
        if (how == SIG_BLOCK)
            mask |= old;
        else if (how == SIG_UNBLOCK)
            mask = old & ~mask;
        else if (how != SIG_SETMASK)
            return -EINVAL;
        if ((mask & ~UNBLOCKABLE) != old)
            return change_mask(mask, old_at, old);  // the last step: this path needs no stack frame
    }
    return old_at ? put_user_u64(old_at, old) : 0;
}

long sys_rt_sigpending(uptr_t set, size_t size)
{
    if (size > sizeof(u64))
        return -EINVAL;
    u64 pending = signal_pending_set() & current->sig_blocked;
    return copy_to_user(set, &pending, size);
}

// The signal is taken even when the thread blocks it, as it should: nobody else then sees it.
static int timed_wait(u64 mask, struct siginfo *info, u64 deadline_ns)
{
    struct thread *t = current;
    int sig = signal_dequeue(mask, info), err = 0;
    while (!sig && !err) {
        t->sig_wait_mask = mask;
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        if ((sig = signal_dequeue(mask, info))) {
            thread_sleep_cancel();
            break;
        }
        // A signal of the mask sets WORK_SIGNAL too; one that nobody waits for ends the call.
        err = thread_block(WAIT_INTERRUPTIBLE, deadline_ns);
        sig = signal_dequeue(mask, info);
    }
    t->sig_wait_mask = 0;
    if (sig)
        return sig;
    return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

long sys_rt_sigtimedwait(uptr_t set, uptr_t info_at, uptr_t timeout, size_t size)
{
    u64 mask, deadline_ns = NEVER;
    struct siginfo info;
    struct timespec_user ts;
    if (size != sizeof mask)
        return -EINVAL;
    if (get_user_u64(&mask, set))
        return -EFAULT;
    if (timeout) {
        if (get_timespec(&ts, timeout))
            return -EFAULT;
        if (!timespec_valid(&ts))
            return -EINVAL;
        deadline_ns = deadline_after(ktime_ns(), timespec_ns(&ts));
    }
    int sig = timed_wait(mask & ~UNBLOCKABLE, &info, deadline_ns);
    if (sig > 0 && info_at && copy_to_user(info_at, &info, sizeof info))
        return -EFAULT;
    return sig;
}

long sys_rt_sigsuspend(uptr_t set, size_t size)
{
    int err = size != sizeof(u64) ? -EINVAL : set ? signal_mask_enter(set, size) : -EFAULT;
    if (err)
        return err;
    while (!err) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        err = thread_block(WAIT_INTERRUPTIBLE, NEVER);
    }
    return -ERESTARTNOHAND;
}

long sys_pause(void)
{
    int err = 0;
    while (!err) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        err = thread_block(WAIT_INTERRUPTIBLE, NEVER);
    }
    return -ERESTARTNOHAND;
}

long sys_restart_syscall(void)
{
    struct thread *t = current;
    long (*fn)(void *) = t->restart.fn;
    t->restart.fn = NULL;
    long result = fn ? fn(t->restart.data) : -EINTR;
    if (result == -ERESTART_RESTARTBLOCK)  // interrupted once more
        t->restart.fn = fn;
    return result;
}

// ---- alternate stacks (sigaltstack(2))

static bool runs_on(const struct stack_user *s, u64 sp)
{
    return !(s->flags & SS_AUTODISARM) && sp > s->sp && sp - s->sp <= s->size;
}

static int set_altstack(const struct stack_user *new, u64 sp)
{
    struct thread *t = current;
    u32 flags = new->flags, mode = flags & ~SS_AUTODISARM;
    if (runs_on(&t->altstack, sp))
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        t->altstack = (struct stack_user){.flags = flags};
        return 0;
    }
    if (new->size < ARCH_MINSIGSTKSZ)
        return -ENOMEM;
    t->altstack =
        (struct stack_user){.sp = new->sp, .size = new->size, .flags = flags &SS_AUTODISARM};
    return 0;
}

long sys_sigaltstack(uptr_t stack, uptr_t old_at)
{
    struct stack_user new, old = current->altstack;
    u64 sp = regs_sp(current_regs());
    if (stack && copy_from_user(&new, stack, sizeof new))
        return -EFAULT;
    old.pad = 0;
    old.flags = (old.flags & SS_AUTODISARM) | (!old.size                         ? SS_DISABLE
                                               : runs_on(&current->altstack, sp) ? SS_ONSTACK
                                                                                 : 0);
    int err = stack ? set_altstack(&new, sp) : 0;
    if (!err && old_at && copy_to_user(old_at, &old, sizeof old))
        return -EFAULT;
    return err;
}

long sys_rt_sigreturn(void)
{
    struct regs *r = current_regs();
    struct stack_user stack;
    u64 mask;
    if (arch_signal_return(r, &mask, &stack)) {
        signal_force(SIGSEGV, SI_KERNEL, 0);
        return regs_result(r);
    }
    regs_set_syscall_nr(r, -1);
    signal_set_blocked(mask);
    (void)set_altstack(&stack, regs_sp(r));  // a bad one is ignored, as on Linux
    return regs_result(r);
}

// ---- sending

static void user_info(struct siginfo *info, int sig, int code)
{
    *info = (struct siginfo){.signo = sig, .code = code};
    info->rt.pid = current->process->pid;
    info->rt.uid = current->process->uid;
}

// May the caller signal p? kill(2), and CAP_KILL; nobody signals the kernel.
int may_signal(struct process *p, int sig)
{
    struct process *self = current->process;
    if (sig < 0 || sig > N_SIGNALS)
        return -EINVAL;
    if (p == self)
        return 0;
    if (p == &kernel_process)
        return -EPERM;
    if (self->euid == p->suid || self->euid == p->uid || self->uid == p->suid ||
        self->uid == p->uid || capable(CAP_KILL))
        return 0;
    return sig == SIGCONT && p->sid == self->sid ? 0 : -EPERM;
}

static int send_to_process(struct process *p, const struct siginfo *info)
{
    int err = may_signal(p, info->signo);
    return err || !info->signo ? err : signal_send_process(p, info);
}

static int send_to_pid(s32 pid, const struct siginfo *info)
{
    struct process *p = process_find(pid);
    if (!p) {  // kill(2) takes any thread's number for its process
        struct thread *t = thread_find(pid);
        if (!t)
            return -ESRCH;
        p = t->process;
        process_get(p);
        thread_put(t);
    }
    int err = send_to_process(p, info);
    process_put(p);
    return err;
}

struct broadcast {
    const struct siginfo *info;
    s32 pgid;  // 0: everybody but PID 1 and the caller
    int n_found, n_sent, err;
};

static int broadcast_one(struct process *p, void *arg)
{
    struct broadcast *b = arg;
    if (b->pgid ? p->pgid != b->pgid : p == &kernel_process || p == current->process)
        return 0;
    b->n_found++;
    int err = send_to_process(p, b->info);
    if (!err)
        b->n_sent++;
    else
        b->err = err;
    return 0;
}

static int send_to_many(s32 pgid, const struct siginfo *info)
{
    struct broadcast b = {.info = info, .pgid = pgid, .err = -ESRCH};
    spin_lock(&tree_lock);
    process_for_each_locked(broadcast_one, &b);
    spin_unlock(&tree_lock);
    return b.n_sent ? 0 : b.n_found ? b.err : -ESRCH;
}

long sys_kill(int pid, int sig)
{
    struct siginfo info;
    user_info(&info, sig, SI_USER);
    if (pid > 0)
        return send_to_pid(pid, &info);
    if (pid == INT32_MIN)
        return -ESRCH;
    return send_to_many(pid == 0 ? current->process->pgid : pid == -1 ? 0 : -pid, &info);
}

static int send_to_thread(s32 pid, s32 tid, const struct siginfo *info)
{
    struct thread *t = tid == current->tid ? current : thread_find(tid);
    if (!t)
        return -ESRCH;
    int err = -ESRCH;
    if (!pid || t->process->pid == pid) {
        err = may_signal(t->process, info->signo);
        if (!err && info->signo)
            err = signal_send_thread(t, info);
    }
    if (t != current)
        thread_put(t);
    return err;
}

long sys_tkill(int tid, int sig)
{
    struct siginfo info;
    if (tid <= 0)
        return -EINVAL;
    user_info(&info, sig, SI_TKILL);
    return send_to_thread(0, tid, &info);
}

long sys_tgkill(int pid, int tid, int sig)
{
    struct siginfo info;
    if (pid <= 0 || tid <= 0)
        return -EINVAL;
    user_info(&info, sig, SI_TKILL);
    return send_to_thread(pid, tid, &info);
}

// Only the kernel says SI_USER or less than nothing: no forging towards others (rt_sigqueueinfo(2)).
static int read_info(struct siginfo *info, int sig, uptr_t from, s32 to_pid)
{
    if (copy_from_user(info, from, sizeof *info))
        return -EFAULT;
    info->signo = sig;
    if ((info->code >= 0 || info->code == SI_TKILL) && to_pid != current->process->pid)
        return -EPERM;
    return 0;
}

long sys_rt_sigqueueinfo(int pid, int sig, uptr_t info_at)
{
    struct siginfo info;
    int err = read_info(&info, sig, info_at, pid);
    return err ? err : pid > 0 ? send_to_pid(pid, &info) : -ESRCH;
}

long sys_rt_tgsigqueueinfo(int pid, int tid, int sig, uptr_t info_at)
{
    struct siginfo info;
    int err = read_info(&info, sig, info_at, pid);
    if (err)
        return err;
    if (pid <= 0 || tid <= 0)
        return -EINVAL;
    return send_to_thread(pid, tid, &info);
}

// PIDFD_SIGNAL_* (pidfd_send_signal(2)): at most one.
enum { TO_THREAD = 1, TO_THREAD_GROUP = 2, TO_PROCESS_GROUP = 4 };

long sys_pidfd_send_signal(int fd, int sig, uptr_t info_at, unsigned flags)
{
    struct siginfo info;
    if (flags & ~(TO_THREAD | TO_THREAD_GROUP | TO_PROCESS_GROUP) || (flags & (flags - 1)))
        return -EINVAL;
    bool self = fd == PIDFD_SELF_THREAD || fd == PIDFD_SELF_THREAD_GROUP;
    struct process *p = self ? current->process : pidfd_get_process(fd, NULL);
    if (IS_ERR(p))
        return PTR_ERR(p);
    if (self)
        process_get(p);
    if (fd == PIDFD_SELF_THREAD && !flags)
        flags = TO_THREAD;
    user_info(&info, sig, flags == TO_THREAD ? SI_TKILL : SI_USER);
    int err = 0;
    if (info_at) {
        err = read_info(&info, sig, info_at, flags == TO_PROCESS_GROUP ? 0 : p->pid);
        if (!err && copy_from_user(&info, info_at, sizeof info.signo))
            err = -EFAULT;
        if (!err && info.signo != sig)
            err = -EINVAL;
    }
    if (!err && p->is_zombie && list_empty(&p->pid_link))
        err = -ESRCH;
    if (!err)
        err = flags == TO_THREAD ? send_to_thread(p->pid, self ? current->tid : p->pid, &info)
              : flags == TO_PROCESS_GROUP ? send_to_many(p->pid, &info)
                                          : send_to_process(p, &info);
    process_put(p);
    return err;
}
