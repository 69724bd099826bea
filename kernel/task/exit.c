// SPDX-License-Identifier: BSD-2-Clause
// exit.c: the end of threads and processes, and the last steps of execve.
//
//     thread_exit        one thread: its user-visible traces go (robust list, clear_child_tid),
//          |             then files and address space, then it leaves the process
//          |  the last one of its process:
//          v
//     process_finish     timers, the address space, children to their new parent, zombie, SIGCHLD
//          |
//          v
//     sched_exit         the stack is freed by the thread that runs next
//
// process_begin_exit_locked marks all threads WORK_KILLED; each leaves on its way to user mode or out
// of an interruptible wait.
#include <string.h>

#include "core/log.h"
#include "task/calls.h"
#include "task/futex.h"
#include "task/task_internal.h"

// => signal_lock held. Any context. The first status wins.
void process_begin_exit_locked(struct process *p, int wait_status)
{
    if (p->exiting)
        return;
    p->exiting = true;
    p->exit_status = wait_status;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        atomic_fetch_or(&t->work, WORK_KILLED);
        thread_wake_from(t, BIT(T_SLEEPING_INT) | BIT(T_SLEEPING_KILL) | BIT(T_STOPPED));
        thread_kick(t);
    }
}

// What the thread promised to do in user memory when it ends (or executes another program).
void thread_exit_user_state(struct thread *t)
{
    if (t->robust_list) {
        futex_exit_robust(t->robust_list, t->robust_list_len);
        t->robust_list = 0;
    }
    // Linux too writes only when somebody else could see it.
    if (t->clear_child_tid && atomic_load_relaxed(&t->mm->refcount) > 2) {
        (void)put_user_u32(t->clear_child_tid, 0);
        futex_wake_user(t->clear_child_tid, 1, true);
    }
    t->clear_child_tid = 0;
    t->rseq_area = 0;
}

static void exit_mm(struct thread *t)
{
    struct mm *mm = t->mm;
    t->mm = NULL;
    mm_switch(NULL);
    mm_put(mm);
}

// Takes t off its process. => true if it was the last thread
static bool leave_process(struct thread *t, int status)
{
    struct process *p = t->process;
    u64 user, system;
    thread_times(t, &user, &system);
    spin_lock(&tree_lock);
    list_remove_init(&t->tid_link);
    spin_lock(&p->signal_lock);
    p->dead_user_ns += user;
    p->dead_system_ns += system;
    p->dead_minflt += t->n_minor_faults;
    p->dead_majflt += t->n_major_faults;
    p->dead_nvcsw += t->n_voluntary;
    p->dead_nivcsw += t->n_involuntary;
    list_remove_init(&t->process_link);
    bool last = --p->n_threads == 0;
    if (p->leader == t) {
        __builtin_memcpy(p->last_comm, t->comm, sizeof(t->comm));
        p->leader = NULL;
        if (!p->exiting)
            p->exit_status = status;
    }
    bool all_stopped = signal_thread_exit(t);
    if (p->exec_in_progress)
        wait_wake(&p->exit_wait, 1, 0);
    spin_unlock(&p->signal_lock);
    spin_unlock(&tree_lock);
    if (all_stopped)
        process_report_stop(p, false);
    return last;
}

// The process that takes p's children: the nearest subreaper above, else the kernel.
static struct process *new_parent_for_children(struct process *p)
{
    for (struct process *a = p->parent; a && a != &kernel_process; a = a->parent)
        if (a->child_subreaper && !a->exiting)
            return a;
    return &kernel_process;
}

static void adopt_children(struct process *p, struct list *garbage)
{
    struct process *heir = new_parent_for_children(p);
    list_for_each_safe (link, &p->children) {
        struct process *child = list_entry(link, struct process, sibling_link);
        list_remove(&child->sibling_link);
        list_push_back(&heir->children, &child->sibling_link);
        child->parent = heir;
        if (child->pdeath_signal)
            signal_send_simple(child, child->pdeath_signal);
        child->exit_signal = SIGCHLD;
        if (!child->is_zombie)
            continue;
        if (heir == &kernel_process)
            process_reap_locked(child, garbage);
        else
            wait_wake(&heir->child_wait, 1, 0);
    }
}

// Takes a zombie out of the tables; its last reference goes in free_garbage, after the lock.
void process_reap_locked(struct process *p, struct list *garbage)
{
    struct process *parent = p->parent;
    parent->child_user_ns += p->dead_user_ns + p->child_user_ns;
    parent->child_system_ns += p->dead_system_ns + p->child_system_ns;
    parent->child_minflt += p->dead_minflt + p->child_minflt;
    parent->child_majflt += p->dead_majflt + p->child_majflt;
    parent->child_nvcsw += p->dead_nvcsw + p->child_nvcsw;
    parent->child_nivcsw += p->dead_nivcsw + p->child_nivcsw;
    parent->child_maxrss = MAX(parent->child_maxrss, MAX(p->maxrss_kib, p->child_maxrss));
    pid_remove_locked(p);
    list_remove_init(&p->sibling_link);
    list_push_back(garbage, &p->sibling_link);
}

void process_free_garbage(struct list *garbage)
{
    struct list *link;
    while ((link = list_pop_front(garbage))) {
        struct process *p = list_entry(link, struct process, sibling_link);
        list_init(&p->sibling_link);
        process_put(p);
    }
}

static void fill_child_info(struct siginfo *info, struct process *p)
{
    int status = p->exit_status, sig = status & 0x7f;
    memset(info, 0, sizeof *info);
    info->signo = p->exit_signal;
    info->code = !sig ? CLD_EXITED : status & 0x80 ? CLD_DUMPED : CLD_KILLED;
    info->child.pid = p->pid;
    info->child.uid = p->uid;
    info->child.status = sig ? sig : status >> 8 & 0xff;
    info->child.utime = p->dead_user_ns / (NSEC_PER_SEC / 100);
    info->child.stime = p->dead_system_ns / (NSEC_PER_SEC / 100);
}

// Does the parent not want to wait for it? (wait(2), notes: SIG_IGN, SA_NOCLDWAIT)
static bool parent_does_not_wait(struct process *p)
{
    struct process *parent = p->parent;
    if (parent == &kernel_process)
        return true;
    if (p->exit_signal != SIGCHLD)
        return false;
    const struct sigaction *action = &parent->actions[SIGCHLD - 1];
    return action->handler == SIG_IGN || (action->flags & SA_NOCLDWAIT);
}

static void become_zombie(struct process *p, struct list *garbage)
{
    struct siginfo info;
    spin_lock(&tree_lock);
    adopt_children(p, garbage);
    bool unwanted = parent_does_not_wait(p);
    p->is_zombie = true;
    if (p->exit_signal && p->parent != &kernel_process) {
        fill_child_info(&info, p);
        signal_send_process(p->parent, &info);
    }
    wait_wake(&p->parent->child_wait, 1, 0);
    if (unwanted)
        process_reap_locked(p, garbage);
    wait_wake(&p->exit_wait, INT32_MAX, 0x41);  // POLLIN | POLLRDNORM: pidfds
    spin_unlock(&tree_lock);
}

static void process_finish(struct process *p)
{
    struct list garbage;
    list_init(&garbage);
    p->exiting = true;
    itimers_exit(p);
    posix_timers_exit(p);
    spin_lock(&p->signal_lock);
    signal_flush_queue(p, &p->sig_queue);
    p->sig_pending = 0;
    spin_unlock(&p->signal_lock);
    struct mm *mm = p->mm;
    p->maxrss_kib = mm_max_rss_kib(mm);
    spin_lock(&p->lock);
    p->mm = NULL;
    spin_unlock(&p->lock);
    mm_put(mm);
    if (p->pid == PROGRAM_PID)
        application_ended(p->exit_status);
    become_zombie(p, &garbage);
    process_free_garbage(&garbage);
}

static void exit_with(int status)
{
    struct thread *t = current;
    if (!t->regs)  // a kernel thread
        sched_exit();
    t->exiting = true;
    thread_exit_user_state(t);
    cpu_timers_thread_exit(t);
    files_exit(t);
    exit_mm(t);
    vfork_release(t);
    if (leave_process(t, status))
        process_finish(t->process);
    sched_exit();
}

void thread_exit(int code)
{
    exit_with((code & 0xff) << 8);
    __builtin_unreachable();
}

void process_exit(int wait_status)
{
    struct process *p = current->process;
    spin_lock(&p->signal_lock);
    process_begin_exit_locked(p, wait_status);
    spin_unlock(&p->signal_lock);
    exit_with(wait_status);
    __builtin_unreachable();
}

long sys_exit(int code) { thread_exit(code); }

long sys_exit_group(int code) { process_exit((code & 0xff) << 8); }

// ---- execve

static bool only_thread(struct process *p) { return READ_ONCE(p->n_threads) == 1; }

// The executing thread becomes the leader: it takes over the PID as its TID (execve(2)).
static void take_leadership(struct thread *t, struct process *p)
{
    spin_lock(&tree_lock);
    spin_lock(&p->signal_lock);
    if (t->tid != p->pid) {
        list_remove(&t->tid_link);
        t->tid = p->pid;
        tid_insert_locked(t);
    }
    p->leader = t;
    spin_unlock(&p->signal_lock);
    spin_unlock(&tree_lock);
}

int process_become_single_threaded(void)
{
    struct thread *self = current;
    struct process *p = self->process;
    struct waiter w;
    int err = 0;
    spin_lock(&p->signal_lock);
    if (p->exiting || p->exec_in_progress) {
        spin_unlock(&p->signal_lock);
        return -EAGAIN;
    }
    p->exec_in_progress = true;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        if (t == self)
            continue;
        atomic_fetch_or(&t->work, WORK_KILLED);
        thread_wake_from(t, BIT(T_SLEEPING_INT) | BIT(T_SLEEPING_KILL) | BIT(T_STOPPED));
        thread_kick(t);
    }
    spin_unlock(&p->signal_lock);
    waiter_init(&w);
    while (!err) {
        wait_prepare(&p->exit_wait, &w, WAIT_KILLABLE);
        if (only_thread(p))
            break;
        err = wait_sleep(&w, WAIT_KILLABLE, NEVER);
    }
    wait_finish(&p->exit_wait, &w);
    if (err) {
        p->exec_in_progress = false;
        return -EAGAIN;
    }
    take_leadership(self, p);
    return 0;
}

void process_exec_commit(struct mm *mm, const struct regs *regs, const char *comm)
{
    struct thread *t = current;
    struct process *p = t->process;
    struct mm *old = t->mm;
    thread_exit_user_state(t);
    cpu_timers_thread_exit(t);
    posix_timers_exit(p);
    mm_get(mm);
    u64 old_rss = mm_max_rss_kib(old);
    spin_lock(&p->lock);
    p->mm = mm;
    p->maxrss_kib = MAX(p->maxrss_kib, old_rss);
    spin_unlock(&p->lock);
    t->mm = mm;
    mm_switch(mm);
    mm_put(old);
    mm_put(old);
    signal_exec_reset(p);
    thread_set_comm(t, comm);
    arch_thread_reset(&t->arch);
    arch_regs_exec(t->regs, regs_pc(regs), regs_sp(regs));
    p->has_execed = true;
    p->membarrier_state = 0;
    p->dumpable = true;
    spin_lock(&p->signal_lock);
    p->exec_in_progress = false;
    spin_unlock(&p->signal_lock);
    vfork_release(t);
}

// ---- pidfds

#define PIDFD_NONBLOCK 04000
#define PIDFD_THREAD 0200

long sys_pidfd_open(int pid, unsigned flags)
{
    if (flags & ~PIDFD_NONBLOCK || pid <= 0)
        return -EINVAL;
    struct process *p = process_find(pid);
    if (!p) {
        struct thread *t = thread_find(pid);
        if (!t)
            return -ESRCH;
        thread_put(t);
        return -EINVAL;  // not a thread-group leader
    }
    long fd = pidfd_install(p, flags | 02000000);
    process_put(p);
    return fd;
}
