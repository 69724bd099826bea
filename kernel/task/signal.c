// SPDX-License-Identifier: BSD-2-Clause
// signal.c: raising and delivering signals (signal(7)).
//
// 1. A signal is pending for one thread or for the process: a bit in sig_pending and, when there is
//    something to tell, an entry in sig_queue. A standard signal is pending once; real-time signals
//    queue. A bit without an entry means siginfo with SI_KERNEL (interval timers, or no memory).
//
// 2. WORK_SIGNAL in a thread's work word says: look at the queues before the next instruction of
//    user mode. It is set by whoever makes a signal deliverable (sender, or the thread itself when it
//    unblocks one) and cleared only at the start of delivery, so an interrupted call that
//    returned -ERESTARTSYS always comes past fix_interrupted_call. Being set for nothing is harmless.
//
// 3. sender                                   thread
//    signal_lock; set the pending bit         exchange sig_blocked (a full fence)
//    full fence                               look at the pending bits
//    look at sig_blocked
//    So one of the two sees the other's write, and sig_blocked needs no lock.
//
// 4. Fatal signals end the whole process at the moment they are sent when nothing can stop them
//    (SIGKILL, or a default action of termination in a thread that does not block it). The fault
//    report needs registers, so faults are fatal on delivery.
//
// 5. Stops: the first thread that takes a stop signal sets process->stopped and WORK_SIGNAL
//    everywhere; each thread sleeps in T_STOPPED on its way to user mode; the last one reports to the
//    parent. SIGCONT wakes them when it is sent; the first one to run reports.
//
// Rejected: queue entries for every signal (a page-sized reserve for interrupt context instead).
#include <string.h>

#include "arch/signal.h"
#include "core/log.h"
#include "mm/page.h"
#include "task/calls.h"
#include "task/task_internal.h"

#define UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define STOP_SIGNALS (SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))
#define IGNORED_BY_DEFAULT \
    (SIG_BIT(SIGCHLD) | SIG_BIT(SIGURG) | SIG_BIT(SIGWINCH) | SIG_BIT(SIGCONT))
#define SYNCHRONOUS                                                                              \
    (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGFPE) | \
     SIG_BIT(SIGSYS))
#define CORE_SIGNALS \
    (SYNCHRONOUS | SIG_BIT(SIGQUIT) | SIG_BIT(SIGABRT) | SIG_BIT(SIGXCPU) | SIG_BIT(SIGXFSZ))
#define POLLIN 1

static struct kcache *entry_cache;

void signal_init(void) { entry_cache = kcache_create("sig_entry", sizeof(struct sig_entry), 8); }

static inline bool is_realtime(int sig) { return sig >= SIGRTMIN; }

static struct sigaction *action_of(struct process *p, int sig) { return &p->actions[sig - 1]; }

bool signal_is_ignored_locked(struct process *p, int sig)
{
    vaddr_t handler = action_of(p, sig)->handler;
    return handler == SIG_IGN || (handler == SIG_DFL && (SIG_BIT(sig) & IGNORED_BY_DEFAULT));
}

// ---- queues, signal_lock held

static void free_entry(struct process *p, struct sig_entry *e)
{
    if (e->timer) {
        list_init(&e->link);
        return;
    }
    atomic_sub(&p->n_sig_queued, 1);
    kcache_free(entry_cache, e);
}

static void flush_signals(struct process *p, u64 *pending, struct list *queue, u64 mask)
{
    if (!(*pending & mask))
        return;
    *pending &= ~mask;
    list_for_each_safe (link, queue) {
        struct sig_entry *e = list_entry(link, struct sig_entry, link);
        if (!(SIG_BIT(e->info.signo) & mask))
            continue;
        list_remove(&e->link);
        free_entry(p, e);
    }
}

void signal_flush_queue(struct process *p, struct list *queue)
{
    u64 all = ~0ull;
    flush_signals(p, &all, queue, ~0ull);
}

void signal_flush_everywhere(struct process *p, u64 mask)
{
    flush_signals(p, &p->sig_pending, &p->sig_queue, mask);
    list_for_each_entry (struct thread, t, &p->threads, process_link)
        flush_signals(p, &t->sig_pending, &t->sig_queue, mask);
}

static int dequeue_from(struct process *p, u64 *pending, struct list *queue, u64 mask,
                        struct siginfo *info)
{
    u64 bits = *pending & mask;
    if (!bits)
        return 0;
    u64 first = bits & SYNCHRONOUS ? bits & SYNCHRONOUS : bits;
    int sig = __builtin_ctzll(first) + 1;
    struct sig_entry *found = NULL;
    bool more = false;
    list_for_each_entry (struct sig_entry, e, queue, link) {
        if (e->info.signo != sig)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = e;
    }
    if (!more)
        *pending &= ~SIG_BIT(sig);
    if (!found) {
        memset(info, 0, sizeof *info);
        info->signo = sig;
        info->code = SI_KERNEL;
        return sig;
    }
    *info = found->info;
    list_remove_init(&found->link);
    if (found->timer)
        posix_timer_signal_taken(found->timer, info);
    else
        free_entry(p, found);
    return sig;
}

static int dequeue_locked(struct thread *t, u64 mask, struct siginfo *info)
{
    struct process *p = t->process;
    int sig = dequeue_from(p, &t->sig_pending, &t->sig_queue, mask, info);
    if (!sig) {
        sig = dequeue_from(p, &p->sig_pending, &p->sig_queue, mask, info);
        if (sig == SIGALRM && p->itimers)
            itimer_signal_taken(p);
    }
    return sig;
}

int signal_dequeue(u64 mask, struct siginfo *info)
{
    struct process *p = current->process;
    spin_lock(&p->signal_lock);
    int sig = dequeue_locked(current, mask & ~UNBLOCKABLE, info);
    spin_unlock(&p->signal_lock);
    return sig;
}

u64 signal_pending_set(void) { return current->sig_pending | current->process->sig_pending; }

// ---- raising

void signal_recalc(struct thread *t)
{
    if ((t->sig_pending | t->process->sig_pending) & ~t->sig_blocked)
        atomic_fetch_or(&t->work, WORK_SIGNAL);
}

static void wake_for_signal(struct thread *t)
{
    atomic_fetch_or(&t->work, WORK_SIGNAL);
    if (t == current)
        return;
    thread_wake_from(t, BIT(T_SLEEPING_INT));
    thread_kick(t);
}

static inline bool wants(struct thread *t, int sig)
{
    // A stopped thread looks at the queues when it is continued.
    return !t->exiting && !t->group_stopped &&
           (SIG_BIT(sig) & (~READ_ONCE(t->sig_blocked) | t->sig_wait_mask));
}

// The thread that takes a signal of the process: the leader when it can, as on Linux.
static struct thread *choose_thread(struct process *p, int sig)
{
    if (p->leader && wants(p->leader, sig))
        return p->leader;
    list_for_each_entry (struct thread, t, &p->threads, process_link)
        if (wants(t, sig))
            return t;
    return NULL;
}

// Will delivering sig to t end the process whatever happens?
static bool is_certain_death(struct process *p, struct thread *t, int sig)
{
    return action_of(p, sig)->handler == SIG_DFL && !(t->sig_blocked & SIG_BIT(sig)) &&
           !(SIG_BIT(sig) & (CORE_SIGNALS | STOP_SIGNALS | IGNORED_BY_DEFAULT));
}

static void notify(struct process *p, struct thread *t, int sig)
{
    atomic_fence();  // section 3
    if (wait_has_waiters(&p->signal_wait))
        wait_wake(&p->signal_wait, INT32_MAX, POLLIN);
    struct thread *target = t ? (wants(t, sig) ? t : NULL) : choose_thread(p, sig);
    if (!target || p->stopped)  // a stopped process takes it when SIGCONT lets it run
        return;
    if (is_certain_death(p, target, sig))
        process_begin_exit_locked(p, sig);
    else
        wake_for_signal(target);
}

// SIGCONT ends a stop when it is sent, whatever its action; the first thread that runs tells the parent.
static void continue_process(struct process *p)
{
    signal_flush_everywhere(p, STOP_SIGNALS);
    if (!p->stopped)
        return;
    p->stopped = false;
    p->n_stopped = 0;
    p->wait_events = PROCESS_CONTINUED;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        t->group_stopped = false;
        thread_wake_from(t, BIT(T_STOPPED));
    }
}

static struct sig_entry *new_entry(struct process *p, const struct siginfo *info)
{
    if (atomic_add(&p->n_sig_queued, 1) > p->rlimits[RLIMIT_SIGPENDING].cur) {
        atomic_sub(&p->n_sig_queued, 1);
        return NULL;
    }
    struct sig_entry *e = kcache_alloc(entry_cache);
    if (!e) {
        atomic_sub(&p->n_sig_queued, 1);
        return NULL;
    }
    e->info = *info;
    e->timer = NULL;
    return e;
}

// Wakes threads for the signals of the process in `left` that t will not take: it ends or blocks them.
static void retarget_locked(struct process *p, const struct thread *t, u64 left)
{
    left &= p->sig_pending;
    list_for_each_entry (struct thread, other, &p->threads, process_link) {
        if (!left)
            break;
        u64 takes = left & (~other->sig_blocked | other->sig_wait_mask);
        if (other == t || other->exiting || !takes)
            continue;
        left &= ~takes;
        wake_for_signal(other);
    }
}

// => signal_lock held, t is off the list. Hands on the signals of the process that t was chosen for.
//    true: those who are left have all stopped, and nobody has told the parent yet
bool signal_thread_exit(struct thread *t)
{
    struct process *p = t->process;
    signal_flush_queue(p, &t->sig_queue);
    t->sig_pending = 0;
    if (t->group_stopped)
        p->n_stopped--;
    retarget_locked(p, t, ~0ull);
    return p->stopped && !p->exiting && p->n_threads && p->n_stopped == p->n_threads;
}

// What sending does whatever the action. => false: nothing more to do
static bool before_queueing(struct process *p, struct thread *t, int sig)
{
    if (p->exiting)
        return false;
    if (sig == SIGCONT)
        continue_process(p);
    else if (SIG_BIT(sig) & STOP_SIGNALS)
        signal_flush_everywhere(p, SIG_BIT(SIGCONT));
    if (sig == SIGKILL) {
        process_begin_exit_locked(p, SIGKILL);
        return false;
    }
    struct thread *looker = t ? t : p->leader;
    bool blocked = looker && ((looker->sig_blocked | looker->sig_wait_mask) & SIG_BIT(sig));
    return blocked || !signal_is_ignored_locked(p, sig);
}

int signal_send_locked(struct process *p, struct thread *t, const struct siginfo *info)
{
    int sig = info->signo;
    u64 *pending = t ? &t->sig_pending : &p->sig_pending;
    if (!before_queueing(p, t, sig))
        return 0;
    if (!is_realtime(sig) && (*pending & SIG_BIT(sig)))
        return 0;
    if (info->code != SI_KERNEL || is_realtime(sig)) {
        struct sig_entry *e = new_entry(p, info);
        if (e)
            list_push_back(t ? &t->sig_queue : &p->sig_queue, &e->link);
        else if (is_realtime(sig) && info->code != SI_USER)
            return -EAGAIN;
    }
    *pending |= SIG_BIT(sig);
    notify(p, t, sig);
    return 0;
}

// A timer's own entry. => 0: queued (or already was), 1: the signal is ignored
int signal_send_entry_locked(struct process *p, struct thread *t, struct sig_entry *e)
{
    int sig = e->info.signo;
    if (!list_empty(&e->link))
        return 0;
    if (!before_queueing(p, t, sig))
        return 1;
    list_push_back(t ? &t->sig_queue : &p->sig_queue, &e->link);
    *(t ? &t->sig_pending : &p->sig_pending) |= SIG_BIT(sig);
    notify(p, t, sig);
    return 0;
}

int signal_send_thread(struct thread *t, const struct siginfo *info)
{
    struct process *p = t->process;
    spin_lock(&p->signal_lock);
    int err = t->exiting ? 0 : signal_send_locked(p, t, info);
    spin_unlock(&p->signal_lock);
    return err;
}

int signal_send_process(struct process *p, const struct siginfo *info)
{
    if (p == &kernel_process)
        return 0;
    spin_lock(&p->signal_lock);
    int err = signal_send_locked(p, NULL, info);
    spin_unlock(&p->signal_lock);
    return err;
}

struct group_send {
    s32 pgid;
    const struct siginfo *info;
    bool found;
};

static int send_to_member(struct process *p, void *arg)
{
    struct group_send *g = arg;
    if (p->pgid == g->pgid) {
        g->found = true;
        signal_send_process(p, g->info);
    }
    return 0;
}

// => Any context: for the terminal, no permission is asked.
int signal_send_group(s32 pgid, const struct siginfo *info)
{
    struct group_send g = {pgid, info, false};
    spin_lock(&tree_lock);
    process_for_each_locked(send_to_member, &g);
    spin_unlock(&tree_lock);
    return g.found ? 0 : -ESRCH;
}

void signal_send_simple(struct process *p, int sig)
{
    struct siginfo info = {.signo = sig, .code = SI_KERNEL};
    signal_send_process(p, &info);
}

static void force_info(const struct siginfo *info)
{
    struct thread *t = current;
    struct process *p = t->process;
    u64 bit = SIG_BIT(info->signo);
    spin_lock(&p->signal_lock);
    struct sigaction *action = action_of(p, info->signo);
    if (action->handler == SIG_IGN || (t->sig_blocked & bit)) {
        memset(action, 0, sizeof *action);
        t->sig_blocked &= ~bit;
    }
    flush_signals(p, &t->sig_pending, &t->sig_queue, bit);
    struct sig_entry *e = kcache_alloc(entry_cache);
    if (e) {
        atomic_add(&p->n_sig_queued, 1);
        e->info = *info;
        e->timer = NULL;
        list_push_back(&t->sig_queue, &e->link);
    }
    t->sig_pending |= bit;
    atomic_fetch_or(&t->work, WORK_SIGNAL);
    spin_unlock(&p->signal_lock);
}

void signal_force(int sig, int code, vaddr_t addr)
{
    struct siginfo info = {.signo = sig, .code = code};
    info.fault.addr = addr;
    if (sig == SIGBUS && (code == BUS_MCEERR_AR || code == BUS_MCEERR_AO))
        info.fault.addr_lsb = PAGE_SHIFT;
    force_info(&info);
}

// ---- masks

// Signals of the process that this thread was to take but has just blocked go to another thread.
static void retarget(struct thread *t, u64 added)
{
    struct process *p = t->process;
    spin_lock(&p->signal_lock);
    retarget_locked(p, t, added);
    spin_unlock(&p->signal_lock);
}

void signal_set_blocked(u64 mask)
{
    struct thread *t = current;
    struct process *p = t->process;
    mask &= ~UNBLOCKABLE;
    u64 old = __atomic_exchange_n(&t->sig_blocked, mask, __ATOMIC_SEQ_CST);
    u64 shared = atomic_load(&p->sig_pending);  // which the next load does not pass
    if (unlikely((READ_ONCE(t->sig_pending) | shared) & ~mask))
        atomic_fetch_or(&t->work, WORK_SIGNAL);
    if (unlikely(shared & mask & ~old) && p->n_threads > 1)
        retarget(t, mask & ~old);
}

int signal_mask_enter(uintptr_t set, size_t size)
{
    u64 mask;
    if (!set)
        return 0;
    if (size != sizeof mask)
        return -EINVAL;
    if (get_user_u64(&mask, set))
        return -EFAULT;
    struct thread *t = current;
    t->sig_saved_mask = t->sig_blocked;
    atomic_fetch_or(&t->work, WORK_RESTORE_MASK);
    signal_set_blocked(mask);
    return 0;
}

long signal_mask_leave(uintptr_t set, long result)
{
    if (!set || result == -EINTR || (result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK))
        return result;
    struct thread *t = current;
    atomic_fetch_and(&t->work, ~WORK_RESTORE_MASK);
    signal_set_blocked(t->sig_saved_mask);
    return result;
}

void signal_exec_reset(struct process *p)
{
    struct thread *t = current;
    spin_lock(&p->signal_lock);
    for (int i = 0; i < N_SIGNALS; i++) {
        vaddr_t handler = p->actions[i].handler;
        memset(&p->actions[i], 0, sizeof p->actions[i]);
        if (handler == SIG_IGN)
            p->actions[i].handler = SIG_IGN;
    }
    spin_unlock(&p->signal_lock);
    t->altstack = (struct stack_user){.flags = SS_DISABLE};
}

// ---- stops

// POSIX: nobody could continue it, so terminal stops are not acted on (setpgid(2), orphaned group).
static int connects_group(struct process *p, void *arg)
{
    struct process *of = arg;
    return p->pgid == of->pgid && !p->is_zombie && p->parent && p->parent->pgid != p->pgid &&
           p->parent->sid == p->sid;
}

static bool group_is_orphaned(struct process *p)
{
    spin_lock(&tree_lock);
    bool connected = process_for_each_locked(connects_group, p) != 0;
    spin_unlock(&tree_lock);
    return !connected;
}

__cold int signal_stop_background(int sig)
{
    struct process *p = current->process;
    struct siginfo info = {.signo = sig, .code = SI_KERNEL};
    spin_lock(&p->signal_lock);
    bool deaf = (current->sig_blocked & SIG_BIT(sig)) || signal_is_ignored_locked(p, sig);
    spin_unlock(&p->signal_lock);
    if (deaf)
        return sig == SIGTTIN ? -EIO : 0;
    if (group_is_orphaned(p))
        return -EIO;
    signal_send_group(p->pgid, &info);
    return -ERESTARTSYS;
}

__cold void process_report_stop(struct process *p, bool continued)
{
    struct siginfo info = {.signo = SIGCHLD, .code = continued ? CLD_CONTINUED : CLD_STOPPED};
    info.child.pid = p->pid;
    info.child.uid = p->uid;
    info.child.status = continued ? SIGCONT : p->stop_signal;
    spin_lock(&tree_lock);
    p->wait_events = continued ? PROCESS_CONTINUED : PROCESS_STOPPED;
    struct process *parent = p->parent;
    if (parent != &kernel_process && !(action_of(parent, SIGCHLD)->flags & SA_NOCLDSTOP))
        signal_send_process(parent, &info);
    wait_wake(&parent->child_wait, 1, 0);
    spin_unlock(&tree_lock);
}

// signal_lock held. All threads stop when they come by.
static void begin_stop(struct process *p, int sig)
{
    p->stopped = true;
    p->stop_signal = sig;
    p->n_stopped = 0;
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        t->group_stopped = false;
        wake_for_signal(t);
    }
}

// signal_lock held; released while stopped and held again afterwards.
static void stop_here(struct thread *t)
{
    struct process *p = t->process;
    t->group_stopped = true;
    bool all = ++p->n_stopped == p->n_threads;
    atomic_store_seq(&t->state, T_STOPPED);
    if (atomic_load(&t->work) & WORK_KILLED)
        thread_sleep_cancel();
    spin_unlock(&p->signal_lock);
    if (all)
        process_report_stop(p, false);
    thread_stop_self();
    bool report = !p->stopped && atomic_xchg(&p->wait_events, 0) == PROCESS_CONTINUED;
    if (report)
        process_report_stop(p, true);
    spin_lock(&p->signal_lock);
}

// ---- delivery

static const char *const signal_names[] = {
    [SIGILL] = "SIGILL", [SIGTRAP] = "SIGTRAP", [SIGBUS] = "SIGBUS",
    [SIGFPE] = "SIGFPE", [SIGSEGV] = "SIGSEGV", [SIGSYS] = "SIGSYS",
};

// One line when a fault kills: it is often all that remains of a crash in production.
static void report_fault(const struct siginfo *info, const struct regs *r)
{
    if (!(SIG_BIT(info->signo) & SYNCHRONOUS) || info->code <= 0 || info->code == SI_KERNEL)
        return;
    const char *why = "";
    if (info->signo == SIGSEGV)
        why = info->code == SEGV_MAPERR   ? ", nothing mapped there"
              : info->code == SEGV_ACCERR ? ", access not allowed"
                                          : "";
    log_error("%s[%d/%d]: %s at address %#lx%s; pc %#lx sp %#lx", current->comm,
              current->process->pid, current->tid, signal_names[info->signo],
              (unsigned long)info->fault.addr, why, (unsigned long)regs_pc(r),
              (unsigned long)regs_sp(r));
}

// The call that this thread was in has been interrupted: what becomes of it? handler: the action that
// runs now, or NULL. See signal(7), "Interruption of system calls and library functions".
static void fix_interrupted_call(struct regs *r, const struct sigaction *handler)
{
    if (regs_syscall_nr(r) < 0)
        return;
    bool restart = true, block = false;
    switch (-regs_result(r)) {
    case ERESTART_RESTARTBLOCK:
        block = true;
        restart = !handler;
        break;
    case ERESTARTNOHAND: restart = !handler; break;
    case ERESTARTSYS: restart = !handler || (handler->flags & SA_RESTART); break;
    case ERESTARTNOINTR: break;
    default: return;
    }
    if (!restart)
        current->restart.fn = NULL;
    if (restart && block)
        regs_set_syscall_nr(r, ARCH_SYSCALL_NR(219, 128));  // restart_syscall(2)
    if (restart)
        regs_restart_syscall(r);
    else
        regs_set_result(r, -EINTR);
    regs_set_syscall_nr(r, -1);
}

static bool on_altstack(const struct thread *t, u64 sp)
{
    const struct stack_user *s = &t->altstack;
    return !(s->flags & SS_AUTODISARM) && sp > s->sp && sp - s->sp <= s->size;
}

static void run_handler(struct regs *r, const struct siginfo *info, const struct sigaction *action)
{
    struct thread *t = current;
    bool restore = atomic_load_relaxed(&t->work) & WORK_RESTORE_MASK;
    u64 old = restore ? t->sig_saved_mask : t->sig_blocked;
    vaddr_t top = 0;
    fix_interrupted_call(r, action);
    rseq_fixup(r, true);
    if ((action->flags & SA_ONSTACK) && t->altstack.size && !on_altstack(t, regs_sp(r)))
        top = t->altstack.sp + t->altstack.size;
    if (arch_signal_deliver(r, info, action, old, top, &t->altstack)) {
        if (info->signo == SIGSEGV) {
            spin_lock(&t->process->signal_lock);
            action_of(t->process, SIGSEGV)->handler = SIG_DFL;
            spin_unlock(&t->process->signal_lock);
        }
        signal_force(SIGSEGV, SI_KERNEL, 0);
        return;
    }
    if (t->altstack.flags & SS_AUTODISARM)
        t->altstack = (struct stack_user){.flags = SS_DISABLE};
    if (restore)
        atomic_fetch_and(&t->work, ~WORK_RESTORE_MASK);
    u64 block = action->mask | (action->flags & SA_NODEFER ? 0 : SIG_BIT(info->signo));
    signal_set_blocked(t->sig_blocked | block);
}

// The default action of a signal that was taken off the queue. => false: the process ends
static bool default_action(struct thread *t, const struct siginfo *info)
{
    struct process *p = t->process;
    int sig = info->signo;
    if (SIG_BIT(sig) & IGNORED_BY_DEFAULT)
        return true;
    if (!(SIG_BIT(sig) & STOP_SIGNALS))
        return false;
    if (sig != SIGSTOP) {
        spin_unlock(&p->signal_lock);
        bool orphaned = group_is_orphaned(p);
        spin_lock(&p->signal_lock);
        if (orphaned || (SIG_BIT(SIGCONT) & (t->sig_pending | p->sig_pending)))
            return true;
    }
    begin_stop(p, sig);
    return true;
}

// Takes signals until one has a handler. => true with *info and *action set
static bool next_handler(struct regs *r, struct siginfo *info, struct sigaction *action)
{
    struct thread *t = current;
    struct process *p = t->process;
    spin_lock(&p->signal_lock);
    for (;;) {
        if (unlikely(atomic_load(&t->work) & WORK_KILLED))
            break;
        if (unlikely(p->stopped)) {
            stop_here(t);
            continue;
        }
        int sig = dequeue_locked(t, ~t->sig_blocked, info);
        if (!sig)
            break;
        struct sigaction *a = action_of(p, sig);
        if (a->handler == SIG_IGN)
            continue;
        if (a->handler == SIG_DFL) {
            if (default_action(t, info))
                continue;
            spin_unlock(&p->signal_lock);
            report_fault(info, r);
            process_exit(sig);
        }
        *action = *a;
        if (a->flags & SA_RESETHAND)
            a->handler = SIG_DFL;
        spin_unlock(&p->signal_lock);
        return true;
    }
    spin_unlock(&p->signal_lock);
    return false;
}

static void deliver_signals(struct regs *r)
{
    struct thread *t = current;
    struct siginfo info;
    struct sigaction action;
    atomic_fetch_and(&t->work, ~WORK_SIGNAL);
    if (next_handler(r, &info, &action)) {
        run_handler(r, &info, &action);
        signal_recalc(t);
        return;
    }
    fix_interrupted_call(r, NULL);
    if (atomic_load_relaxed(&t->work) & WORK_RESTORE_MASK) {
        atomic_fetch_and(&t->work, ~WORK_RESTORE_MASK);
        signal_set_blocked(t->sig_saved_mask);
    }
}

#define WORK_HERE \
    (WORK_SIGNAL | WORK_RESCHED | WORK_KILLED | WORK_RESTORE_MASK | WORK_NOTIFY | WORK_RSEQ)

static void __noreturn exit_killed(struct thread *t)
{
    if (t->process->exiting)
        process_exit(t->process->exit_status);
    thread_exit(0);  // another thread executes a program
}

// Signals come last but for rseq: the frame of a handler must show what user mode would have seen.
void return_to_user_work(struct regs *r)
{
    struct thread *t = current;
    u32 work;
    while ((work = atomic_load(&t->work)) & WORK_HERE) {
        if (work & WORK_KILLED)
            exit_killed(t);
        if (work & WORK_RESCHED)
            sched_point_slow();
        else if (work & WORK_NOTIFY)
            cpu_timers_run();
        else if (work & (WORK_SIGNAL | WORK_RESTORE_MASK))
            deliver_signals(r);
        else
            rseq_fixup(r, false);
    }
}

// ---- traps

bool trap_page_fault(struct regs *r, vaddr_t addr, unsigned access, bool user)
{
    struct thread *t = current;
    if (unlikely(!t->mm))
        return false;
    struct fault_result f = mm_fault(t->mm, addr, access);
    t->n_minor_faults++;
    if (likely(!f.sig && !f.oom))
        return true;
    if (f.oom && !t->process->exiting)  // one report a process, not one a thread
        mm_oom(t->mm, t->comm, PAGE_SIZE);
    else if (user && unlikely(t->mm->pkeys > 1) && f.code == SEGV_ACCERR &&
             !(access & FAULT_EXEC) && mm_pkey_refuses(t->mm, addr, access & FAULT_WRITE))
        trap_key_fault(addr);  // Linux looks at the key first
    else if (user && !f.oom)
        signal_force(f.sig, f.code, addr);
    return false;
}

__cold void trap_key_fault(vaddr_t addr)
{
    struct siginfo info = {.signo = SIGSEGV, .code = SEGV_PKUERR};
    info.fault.addr = addr;
    info.fault.pkey = mm_pkey_at(current->mm, addr);
    force_info(&info);
}

void trap_user_exception(struct regs *r, int sig, int code, vaddr_t addr, int trap_nr, u64 error)
{
    signal_force(sig, code, addr);
}
