// SPDX-License-Identifier: BSD-2-Clause
// task_internal.h: shared by the files of task/.
//
// Lock order (take downwards):
//     process tree lock (tree_lock): parents, children, PID table, wait events, groups, sessions
//       process->lock: rlimits, thread list
//         process->signal_lock: actions, queues, stops, thread list, timers of the process
//           futex bucket, wait queue locks
//             run queue locks (never two at once)
//               timer locks (core/timer.c)
#pragma once

#include "arch/uaccess.h"
#include "task/thread.h"

extern struct spinlock tree_lock;
extern struct process kernel_process;  // PID 1

// ---- sched.c
void sched_init_thread(struct thread *t, const struct thread *parent);
void sched_enqueue_new(struct thread *t);
void sched_exit(void) __noreturn;    // the current thread is dead: never comes back
void thread_kick(struct thread *t);  // its work word changed: make it look soon
bool thread_wake_from(struct thread *t, u32 state_mask);
void thread_stop_self(void);            // T_STOPPED until woken from it
void thread_account(struct thread *t);  // brings t->run_ns up to date if it runs
u64 thread_cpu_ns_running(struct thread *t);
static inline bool policy_is_rt(u8 policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }
void sched_set_params(struct thread *t, u8 policy, u8 rt_priority, s8 nice);
int sched_set_affinity(struct thread *t, cpumask_t mask);
u64 sched_rr_interval_ns(struct thread *t);

// ---- process.c
struct thread *thread_alloc(struct process *p);
void *stack_alloc(void);
void stack_free(void *stack);
void thread_free_unstarted(struct thread *t);
void process_free_unstarted(struct process *p);
s32 tid_alloc_locked(void);  // 0: none left
void tid_insert_locked(struct thread *t);
void pid_insert_locked(struct process *p);
void pid_remove_locked(struct process *p);
struct process *process_find_locked(s32 pid);
void process_times_locked(struct process *p, u64 *user_ns, u64 *system_ns);  // signal_lock held
struct thread *thread_find_locked(s32 tid);
bool group_exists_locked(s32 pgid, s32 sid);
// Calls fn on each process, tree lock held, until it gives non-zero; gives that.
int process_for_each_locked(int (*fn)(struct process *p, void *arg), void *arg);
void process_reap_locked(struct process *p, struct list *garbage);
void process_free_garbage(struct list *garbage);  // no lock held
static inline u64 mm_max_rss_kib(struct mm *mm)
{
    s64 now = mm->rss_anon + mm->rss_file + mm->rss_shmem;
    return MAX(mm->hiwater_rss, (u64)MAX(now, (s64)0)) << (PAGE_SHIFT - 10);
}

// ---- clone.c, exit.c
struct vfork_wait {
    struct wait_queue queue;
    bool done;
};
void vfork_release(struct thread *t);
void thread_exit_user_state(struct thread *t);  // robust list, clear_child_tid, rseq
void process_begin_exit_locked(struct process *p, int wait_status);  // signal_lock held

enum { PROCESS_STOPPED = 1, PROCESS_CONTINUED = 2 };
void process_report_stop(struct process *p, bool continued);

// ---- signal.c
struct posix_timer;
struct sig_entry {
    struct list link;  // [signal_lock] empty when not queued
    struct siginfo info;
    struct posix_timer *timer;  // it lives in this timer; NULL: from the cache
};
void signal_init(void);
int signal_send_locked(struct process *p, struct thread *t, const struct siginfo *info);
int signal_send_entry_locked(struct process *p, struct thread *t, struct sig_entry *e);
void signal_flush_queue(struct process *p, struct list *queue);
void signal_flush_everywhere(struct process *p, u64 mask);  // signal_lock held
bool signal_thread_exit(struct thread *t);
bool signal_is_ignored_locked(struct process *p, int sig);
void signal_recalc(struct thread *t);         // sets WORK_SIGNAL if something is deliverable
int may_signal(struct process *to, int sig);  // 0, -EPERM

// ---- timers.c
void posix_timers_exit(struct process *p);
void posix_timers_move(s64 jump_ns);  // the time of day has jumped by so much
void itimers_exit(struct process *p);
void itimer_signal_taken(struct process *p);  // SIGALRM was dequeued; signal_lock held
void posix_timer_signal_taken(struct posix_timer *timer, struct siginfo *info);  // same
void cpu_timers_run(void);                                                       // WORK_NOTIFY
void cpu_timers_switch_in(struct thread *t, u64 now_ns);
void cpu_timers_thread_exit(struct thread *t);

// ---- rseq.c
void rseq_fixup(struct regs *r, bool on_signal);

// ---- user structures shared by several files
struct timespec_user {
    s64 sec, nsec;
};
struct timeval_user {
    s64 sec, usec;
};
int get_timespec(struct timespec_user *out, uptr_t from);
int put_timespec(uptr_t to, u64 ns);
int put_timeval(uptr_t to, u64 ns);
// => nanoseconds, saturated at NEVER - 1; the value must be valid.
u64 timespec_ns(const struct timespec_user *ts);
static inline bool timespec_valid(const struct timespec_user *ts)
{
    return ts->sec >= 0 && (u64)ts->nsec < NSEC_PER_SEC;
}
static inline u64 deadline_after(u64 now, u64 ns) { return now + ns < now ? NEVER - 1 : now + ns; }
