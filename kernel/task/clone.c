// SPDX-License-Identifier: BSD-2-Clause
// clone.c: new threads and processes: clone(2), clone3(2), fork(2), vfork(2).
//
// Everything that can fail happens before the new thread is on any list but the PID table; then it
// is linked and started. CLONE_SIGHAND without CLONE_THREAD (two processes with one table of
// handlers) is refused: nobody has used it since LinuxThreads.
#include <string.h>

#include "arch_impl/uapi.h"
#include "core/log.h"
#include "task/calls.h"
#include "task/task_internal.h"

#define CSIGNAL 0xffull
#define CLONE_NEWTIME 0x80ull
#define CLONE_VM 0x100ull
#define CLONE_FS 0x200ull
#define CLONE_FILES 0x400ull
#define CLONE_SIGHAND 0x800ull
#define CLONE_PIDFD 0x1000ull
#define CLONE_PTRACE 0x2000ull
#define CLONE_VFORK 0x4000ull
#define CLONE_PARENT 0x8000ull
#define CLONE_THREAD 0x10000ull
#define CLONE_NEWNS 0x20000ull
#define CLONE_SYSVSEM 0x40000ull
#define CLONE_SETTLS 0x80000ull
#define CLONE_PARENT_SETTID 0x100000ull
#define CLONE_CHILD_CLEARTID 0x200000ull
#define CLONE_DETACHED 0x400000ull
#define CLONE_CHILD_SETTID 0x1000000ull
#define CLONE_NEWCGROUP 0x2000000ull
#define CLONE_NEW_MASK                                                                             \
    (CLONE_NEWNS | CLONE_NEWCGROUP | 0x4000000ull | 0x8000000ull | 0x10000000ull | 0x20000000ull | \
     0x40000000ull)  // UTS, IPC, USER, PID, NET
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#define CLONE_INTO_CGROUP 0x200000000ull

#define O_CLOEXEC 02000000

struct clone_args {  // clone3(2)
    u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    u64 set_tid, set_tid_size, cgroup;
};
#define CLONE_ARGS_SIZE_VER0 64

static int check_flags(const struct clone_args *a)
{
    u64 f = a->flags;
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
        return -EINVAL;
    if ((f & CLONE_CLEAR_SIGHAND) && (f & CLONE_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_PIDFD) && (f & (CLONE_THREAD | CLONE_DETACHED)))
        return -EINVAL;
    if (f & (CLONE_NEW_MASK | CLONE_INTO_CGROUP)) {
        log_warn("clone: namespaces and cgroups are not implemented (flags %llx)",
                 (unsigned long long)f);
        return -EINVAL;
    }
    if ((f & CLONE_SIGHAND) && !(f & CLONE_THREAD)) {
        log_warn("clone: CLONE_SIGHAND without CLONE_THREAD is not implemented");
        return -EINVAL;
    }
    if (a->exit_signal > N_SIGNALS)
        return -EINVAL;
    return 0;
}

static bool too_many_processes(void)
{
    struct process *p = current->process;
    return process_thread_count() >= p->rlimits[6].cur && p->uid != 0 &&
           !capable(CAP_SYS_RESOURCE) && !capable(CAP_SYS_ADMIN);
}

static int init_registers(struct thread *t, const struct clone_args *a)
{
    struct regs regs = *current_regs();
    regs_set_result(&regs, 0);
    if (a->stack)
        regs_set_sp(&regs, a->stack + a->stack_size);
    char *top = (char *)t->stack + KERNEL_STACK_SIZE;
    int err = arch_thread_init_user(&t->arch, top, &regs);
    if (err)
        return err;
    t->regs = (struct regs *)top - 1;
    arch_thread_copy_state(&t->arch, current);
    return a->flags & CLONE_SETTLS ? arch_set_tls(t, a->tls) : 0;
}

static void inherit(struct thread *t, const struct clone_args *a)
{
    struct thread *parent = current;
    sched_init_thread(t, parent);
    memcpy(t->comm, parent->comm, sizeof t->comm);
    t->sig_blocked =
        parent->work & WORK_RESTORE_MASK ? parent->sig_saved_mask : parent->sig_blocked;
    if (!(a->flags & CLONE_VM) || (a->flags & CLONE_VFORK))
        t->altstack = parent->altstack;
    if (!(a->flags & CLONE_VM)) {
        t->rseq_area = parent->rseq_area;
        t->rseq_len = parent->rseq_len;
        t->rseq_sig = parent->rseq_sig;
    }
    if (a->flags & CLONE_CHILD_CLEARTID)
        t->clear_child_tid = a->child_tid;
    t->ioprio = parent->ioprio;
}

static int give_mm(struct thread *t, struct process *p, u64 flags)
{
    struct process *parent = current->process;
    struct mm *mm = parent->mm;
    if (p == parent) {
        mm_get(mm);
        t->mm = mm;
        return 0;
    }
    if (flags & CLONE_VM) {
        mm_get(mm);
    } else {
        mm = mm_fork(mm);
        if (IS_ERR(mm))
            return PTR_ERR(mm);
    }
    p->mm = mm;  // the process's reference, and one for the thread
    mm_get(mm);
    t->mm = mm;
    return 0;
}

static void clear_handlers(struct process *p)
{
    for (int i = 0; i < N_SIGNALS; i++)
        if (p->actions[i].handler != SIG_IGN)
            memset(&p->actions[i], 0, sizeof p->actions[i]);
}

static struct process *new_process(const struct clone_args *a)
{
    struct process *parent = current->process, *p = process_create(parent);
    if (!p)
        return NULL;
    p->exit_signal = a->exit_signal;
    if (a->flags & CLONE_CLEAR_SIGHAND)
        clear_handlers(p);
    if (a->flags & CLONE_PARENT) {
        spin_lock(&tree_lock);
        list_remove(&p->sibling_link);
        p->parent = parent->parent;
        p->exit_signal = parent->exit_signal;
        list_push_back(&p->parent->children, &p->sibling_link);
        spin_unlock(&tree_lock);
    }
    return p;
}

// Puts t on the lists. => 0, -ERESTARTNOINTR: the process is ending or another thread executes
static int link_thread(struct thread *t, struct process *p)
{
    int err = 0;
    spin_lock(&tree_lock);
    t->tid = p == current->process ? tid_alloc_locked() : p->pid;
    if (!t->tid)
        err = -EAGAIN;
    spin_lock(&p->signal_lock);
    if (p->exiting || p->exec_in_progress)
        err = -ERESTARTNOINTR;
    if (!err) {
        list_push_back(&p->threads, &t->process_link);
        p->n_threads++;
        if (!p->leader)
            p->leader = t;
        if (p->stopped)
            atomic_fetch_or(&t->work, WORK_SIGNAL);  // it stops before its first instruction
    }
    spin_unlock(&p->signal_lock);
    if (!err)
        tid_insert_locked(t);
    spin_unlock(&tree_lock);
    return err;
}

static int store_tids(struct thread *t, const struct clone_args *a, s32 tid)
{
    // Errors are ignored, as on Linux: the number is the result anyway.
    if (a->flags & CLONE_PARENT_SETTID)
        (void)put_user_u32(a->parent_tid, tid);
    if (!(a->flags & CLONE_CHILD_SETTID))
        return 0;
    if (t->mm == current->mm)
        (void)put_user_u32(a->child_tid, tid);
    else
        (void)mm_write(t->mm, a->child_tid, &tid, sizeof tid);
    return 0;
}

static void wait_for_vfork(struct thread *child, struct vfork_wait *v)
{
    struct waiter w;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&v->queue, &w, WAIT_KILLABLE);
        if (READ_ONCE(v->done) || wait_sleep(&w, WAIT_KILLABLE, NEVER))
            break;
    }
    wait_finish(&v->queue, &w);
    spin_lock(&tree_lock);  // the child releases under it, so it is done with *v
    child->vfork_wait = NULL;
    spin_unlock(&tree_lock);
}

void vfork_release(struct thread *t)
{
    if (!READ_ONCE(t->vfork_wait))
        return;
    spin_lock(&tree_lock);
    struct vfork_wait *v = t->vfork_wait;
    t->vfork_wait = NULL;
    if (v) {
        WRITE_ONCE(v->done, true);
        wait_wake(&v->queue, 1, 0);
    }
    spin_unlock(&tree_lock);
}

// Starts t and, for vfork, waits for it. => its number
static long start(struct thread *t, const struct clone_args *a, struct vfork_wait *v)
{
    long tid = t->tid;
    store_tids(t, a, tid);
    bool vfork = a->flags & CLONE_VFORK;
    if (vfork) {
        wait_queue_init(&v->queue);
        v->done = false;
        t->vfork_wait = v;
        thread_get(t);
    }
    signal_recalc(t);
    thread_start(t);
    if (vfork) {
        wait_for_vfork(t, v);
        thread_put(t);
    }
    return tid;
}

static int install_pidfd(struct process *p, const struct clone_args *a)
{
    int fd = pidfd_install(p, O_CLOEXEC);
    if (fd < 0)
        return fd;
    if (!put_user_u32(a->pidfd, fd))
        return fd;
    fd_close(fd);
    return -EFAULT;
}

static long do_clone(const struct clone_args *a)
{
    struct vfork_wait v;
    int pidfd = -1;
    long err = check_flags(a);
    if (err)
        return err;
    if (too_many_processes())
        return -EAGAIN;
    bool same_process = a->flags & CLONE_THREAD;
    struct process *p = same_process ? current->process : new_process(a);
    if (!p)
        return -ENOMEM;
    struct thread *t = thread_alloc(p);
    if (!t) {
        err = -ENOMEM;
        goto fail_process;
    }
    if ((err = init_registers(t, a)))
        goto fail_thread;
    inherit(t, a);
    if ((err = give_mm(t, p, a->flags)))
        goto fail_thread;
    if ((err = files_clone(t, a->flags)))
        goto fail_thread;
    if ((a->flags & CLONE_PIDFD) && (err = pidfd = install_pidfd(p, a)) < 0)
        goto fail_files;
    if ((err = link_thread(t, p)))
        goto fail_pidfd;
    return start(t, a, &v);

fail_pidfd:
    if (pidfd >= 0)
        fd_close(pidfd);
fail_files:
    files_exit(t);
fail_thread:
    if (!same_process && p->mm) {
        mm_put(p->mm);
        p->mm = NULL;
    }
    thread_free_unstarted(t);
fail_process:
    if (!same_process)
        process_free_unstarted(p);
    return err;
}

// Partial: namespaces, and CLONE_SIGHAND without CLONE_THREAD, are refused with EINVAL.
long sys_clone(u64 flags, uptr_t stack, uptr_t parent_tid, uptr_t arg4, uptr_t arg5)
{
#ifdef ARCH_CLONE_TLS_BEFORE_CHILD_TID  // a property of the architecture's user ABI
    uptr_t child_tid = arg5, tls = arg4;
#else
    uptr_t child_tid = arg4, tls = arg5;
#endif
    struct clone_args a = {
        .flags = (u32)flags & ~CSIGNAL,
        .exit_signal = flags & CSIGNAL,
        .pidfd = parent_tid,
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .stack = stack,
        .tls = tls,
    };
    if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    if (a.flags & CLONE_THREAD)
        a.exit_signal = 0;
    return do_clone(&a);
}

static int read_clone_args(struct clone_args *a, uptr_t from, size_t size)
{
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    memset(a, 0, sizeof *a);
    if (copy_from_user(a, from, MIN(size, sizeof *a)))
        return -EFAULT;
    for (size_t at = sizeof *a; at < size; at++) {
        u8 byte;
        if (get_user_u8(&byte, from + at))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    return 0;
}

// Partial: namespaces, cgroups, and CLONE_SIGHAND without CLONE_THREAD, are refused with EINVAL.
long sys_clone3(uptr_t args, size_t size)
{
    struct clone_args a;
    int err = read_clone_args(&a, args, size);
    if (err)
        return err;
    if (a.set_tid_size > 32 || !a.set_tid != !a.set_tid_size)
        return -EINVAL;
    if (a.exit_signal & ~CSIGNAL || a.exit_signal > N_SIGNALS)
        return -EINVAL;
    if (a.flags & ~(0xffffffffull | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP))
        return -EINVAL;
    if (a.flags & (CLONE_DETACHED | CSIGNAL))
        return -EINVAL;
    if ((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal)
        return -EINVAL;
    if (!a.stack != !a.stack_size)
        return -EINVAL;
    if (a.stack && (a.stack_size > USER_END || a.stack > USER_END - a.stack_size))
        return -EINVAL;
    if (a.set_tid) {
        log_warn("clone3: set_tid is not implemented");
        return -EINVAL;
    }
    return do_clone(&a);
}

long sys_fork(void)
{
    struct clone_args a = {.exit_signal = SIGCHLD};
    return do_clone(&a);
}

long sys_vfork(void)
{
    struct clone_args a = {.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};
    return do_clone(&a);
}

// fs/ replaces this when it can take tables apart.
__weak int files_unshare(u64 flags) { return -EINVAL; }

// Only what a thread shares with the others of its process can be taken apart here; namespaces are
// refused like unknown flags.
// Partial: namespaces are refused with EINVAL.
long sys_unshare(u64 flags)
{
    if (flags & ~(CLONE_FS | CLONE_FILES | CLONE_SYSVSEM))
        return -EINVAL;
    return flags & (CLONE_FS | CLONE_FILES) ? files_unshare(flags) : 0;
}

long sys_set_tid_address(uptr_t at)
{
    current->clear_child_tid = at;
    return current->tid;
}
