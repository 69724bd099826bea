// SPDX-License-Identifier: BSD-2-Clause
// thread.h: threads and processes.
//
// A process owns an address space, a file table, signal handlers and threads. The kernel is PID 1:
// it reaps orphans; the packed program is PID 2. Fields with a lock tag change only under it.
#pragma once

#include "arch/regs.h"
#include "arch/thread.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "core/time.h"
#include "core/wait.h"
#include "mm/mm.h"
#include "task/signal.h"

#define KERNEL_STACK_SIZE (4 * PAGE_SIZE)

enum thread_state { T_RUNNING, T_SLEEPING, T_SLEEPING_INT, T_SLEEPING_KILL, T_STOPPED, T_DEAD };

// thread->work: what must be done before the next instruction of user mode.
enum thread_work {
    WORK_SIGNAL = 1,        // a signal may be deliverable
    WORK_RESCHED = 2,       // somebody else should run
    WORK_KILLED = 4,        // the process is going away
    WORK_RESTORE_MASK = 8,  // sigsuspend, pselect, epoll_pwait: put saved_mask back
    WORK_NOTIFY = 16,       // callbacks (membarrier, cpu timers)
    WORK_RSEQ = 32,         // restartable sequence to be fixed up after preemption or signal
    WORK_USER_REGS = 64,    // struct regs was made anew (the architecture clears this one)
};

enum { SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5 };

struct fs_context;  // root, cwd, umask (fs/)
struct file_table;  // descriptors (fs/)

struct thread {
    u32 work;           // atomic; offset known to the entry code
    u32 state;          // [run-queue lock of t->cpu] enum thread_state
    void *stack;        // lowest address of the kernel stack
    struct regs *regs;  // user registers, at the top of the stack; NULL for kernel threads
    struct arch_thread arch;
    struct process *process;
    struct mm *mm;  // NULL for kernel threads
    s32 tid;
    u32 refcount;  // atomic
    char comm[16];

    // Scheduling (task/sched.c); [rq] is the run-queue lock of t->cpu
    union {
        struct rb_node run_node;  // [rq] SCHED_OTHER, BATCH, IDLE: in the fair tree
        struct list rt_link;      // [rq] SCHED_FIFO, RR: in the list of its priority
    };
    u32 cpu;             // [rq] where it runs or last ran
    bool on_rq;          // [rq] running, or waiting for a CPU
    bool is_idle;        // the idle thread of its CPU
    bool migrate;        // [rq] runs where it may not: moves when it has switched out
    bool reset_on_fork;  // SCHED_RESET_ON_FORK
    u8 policy;           // [rq] SCHED_*
    s8 nice;             // [rq] -20 .. 19
    u8 rt_priority;      // [rq] 1 .. 99 for FIFO and RR
    bool sleep_timed_out;
    bool
        sleeps_until_real;  // atomic: its deadline is a time of day, looked up anew after every wake-up
    cpumask_t affinity;   // [rq]
    u32 weight;           // [rq] 1024 for nice 0
    u64 vruntime;         // [rq] weighted run time, ns
    u64 exec_start_ns;    // [rq] since when its time is not yet in run_ns
    u64 run_ns;           // [rq] CPU time
    u64 slice_run_ns;     // [rq] run_ns when it last got the CPU
    u64 queued_since_ns;  // [rq] since when it waits for a CPU
    u64 system_ns;        // [rq] part of run_ns that samples found in the kernel (docs/tasks.md)
    u64 sampled_ns;       // [rq] run_ns at the last sample
    u64 user_shown_ns;    // the most that was ever told as user time: it does not go back
    u64 n_voluntary, n_involuntary;
    struct timer sleep_timer;

    // Signals [process->signal_lock]
    u64 sig_blocked;     // only the thread itself changes it
    u64 sig_saved_mask;  // the mask to go back to while WORK_RESTORE_MASK is set
    u64 sig_wait_mask;   // [process->signal_lock] what sigtimedwait and signalfd readers wait for
    u64 sig_pending;
    struct list sig_queue;
    struct stack_user altstack;

    struct list process_link;  // [process->lock]
    struct list tid_link;      // tid table
    uptr_t clear_child_tid;    // set_tid_address(2)
    uptr_t robust_list;
    size_t robust_list_len;
    uptr_t rseq_area;
    u32 rseq_len, rseq_sig;
    bool exiting;
    int exit_code;
    struct vfork_wait *vfork_wait;  // [tree lock] a parent in vfork, released at exec or exit
    u32 rseq_cpu;                   // the CPU number that the rseq area shows
    u32 ioprio;                     // ioprio_set(2); shown, not acted on
    bool group_stopped;             // [process->signal_lock] counted in process->n_stopped
    struct list cpu_timers;  // [process->signal_lock] armed timers on this thread's CPU clock
    u64 timer_slack_ns;

    struct file_table *files;  // refcounted; shared with CLONE_FILES
    struct fs_context *fs;     // refcounted; shared with CLONE_FS
    struct {                   // restart_syscall(2)
        long (*fn)(void *data);
        u64 data[6];
    } restart;
    u64 n_minor_faults, n_major_faults;
    int in_syscall_nr;
    u64 blkio_delay_ns, cpu_delay_ns;
    void *private_data;  // kernel threads
};

struct process {
    s32 pid;
    u32 refcount;                        // atomic
    struct process *parent;              // [tree lock]; PID 1 for orphans; NULL for PID 1
    struct list children, sibling_link;  // [tree lock]
    struct list pid_link;                // [tree lock] table by PID, from creation until reaped
    struct spinlock lock;
    struct list threads;  // [lock] and [signal_lock] to change; either to read
    u32 n_threads;        // as threads
    struct thread *leader;
    struct mm *mm;
    struct spinlock signal_lock;
    struct sigaction actions[N_SIGNALS];  // [signal_lock]
    u32 *shared_actions_ref;              // CLONE_SIGHAND between processes (rare)
    u64 sig_pending;                      // [signal_lock] process-wide
    struct list sig_queue;                // [signal_lock]
    struct wait_queue child_wait;         // wait4
    struct wait_queue exit_wait;          // pidfd, exec
    s32 pgid, sid;
    u32 uid, gid, euid, egid, suid, sgid, fsuid, fsgid;
    u64 cap_effective, cap_permitted, cap_inheritable;
    u32 n_groups;
    u32 *groups;
    struct {
        u64 cur, max;
    } rlimits[16];    // [lock]
    int exit_status;  // wait(2) format
    int exit_signal;  // to the parent
    bool exiting, is_zombie, stopped, has_execed, dumpable;
    int stop_signal;                // [signal_lock] what stopped it
    u32 n_stopped;                  // [signal_lock] threads that have stopped
    u8 wait_events;                 // [tree lock] PROCESS_STOPPED, PROCESS_CONTINUED for wait(2)
    u32 n_sig_queued;               // atomic: queued siginfo, for RLIMIT_SIGPENDING
    struct wait_queue signal_wait;  // pollers of signalfd; woken with POLLIN on each signal
    struct list posix_timers;       // [signal_lock] timer_create
    s32 next_timer_id;
    struct itimers *itimers;  // setitimer state (task/itimer.c), NULL until used
    struct list cpu_timers;   // [signal_lock] armed timers on the process's CPU clock
    u32 cpu_timers_active;    // atomic: armed CPU-time timers, threads' ones included
    u32 membarrier_state;     // atomic: registered commands
    u64 cap_bounding, cap_ambient;
    u32 securebits;
    bool exec_in_progress;       // [signal_lock] exec ends the other threads
    struct thread *exec_thread;  // [signal_lock] the one that stays
    u64 dead_user_ns, dead_system_ns, child_user_ns, child_system_ns;
    u64 dead_minflt, dead_majflt, child_minflt, child_majflt, child_maxrss;
    u64 child_nvcsw, child_nivcsw;
    u64 maxrss_kib;  // of address spaces that are gone
    u64 dead_nvcsw, dead_nivcsw;
    u64 start_ns;
    u32 personality;
    u64 no_new_privs;
    int oom_score_adj;
    char last_comm[16];       // name of the leader, once it has ended
    u32 coredump_filter_xor;  // /proc/PID/coredump_filter, xor its default 0x33
    int pdeath_signal;
    bool child_subreaper;
};

static inline struct thread *thread_of(const struct cpu *c) { return c->current; }
static inline void cpu_set_current(struct cpu *c, struct thread *t) { c->current = t; }
#define current (current_thread())

void task_init(void);       // boot thread becomes the idle thread of CPU 0; run queues
void sched_init_cpu(void);  // on each further CPU
void sched_idle_loop(void) __noreturn;
void sched_start_cpu_main(void) __noreturn;

struct process *process_create(struct process *parent);  // PID assigned; no thread yet
// A first thread for a process made by the kernel (PID 2): starts in user mode at *r.
struct thread *thread_create_user(struct process *p, const struct regs *r);
void thread_start(struct thread *t);            // makes it runnable
void thread_exit(int code) __noreturn;          // this thread only
void process_exit(int wait_status) __noreturn;  // the whole process
void process_get(struct process *p);
void process_put(struct process *p);
void thread_get(struct thread *t);
void thread_put(struct thread *t);
struct process *process_get_init(void);  // PID 1, the kernel itself; no reference taken
#define PROGRAM_PID 2                    // the program that was packed; 1 is the kernel's
struct process *process_find(s32 pid);   // with a reference, or NULL
int process_group_check(s32 pgid);       // in the caller's session: 0; -EPERM: in another; -ESRCH
struct thread *thread_find(s32 tid);     // with a reference, or NULL
struct process *process_iterate(s32 *pid);  // next with pid >= *pid, for /proc; with a reference
// Called at exec: kills the other threads and waits for them. => 0, -EAGAIN (being killed)
int process_become_single_threaded(void);
void signal_exec_reset(struct process *p);
// The point of no return of execve, in the only thread left: takes over mm, loads it, puts the old
// one, resets handlers, alternate stack, TLS and vector state, timers, robust list and rseq, names the
// thread, releases a vfork parent, and makes *regs the registers to return to user mode with.
void process_exec_commit(struct mm *mm, const struct regs *regs, const char *comm);
int thread_set_comm(struct thread *t, const char *name);
// The application (PID 2) has ended: reports the status and ends the machine (exec/init.c).
void application_ended(int wait_status);

// The thread's registers; only valid for user threads.
static inline struct regs *current_regs(void) { return current->regs; }
bool capable(int capability);
#define CAP_SYS_ADMIN 21
#define CAP_IPC_LOCK 14
#define CAP_SYS_NICE 23
#define CAP_SYS_RESOURCE 24
#define CAP_SYS_TIME 25
#define CAP_SYS_BOOT 22
#define CAP_KILL 5

#define CAP_SETGID 6
#define CAP_SETUID 7
#define CAP_SETPCAP 8
#define CAP_SYS_PTRACE 19

// For /proc and accounting.
u64 thread_cpu_ns(struct thread *t);    // exact CPU time, the running slice included
u64 process_cpu_ns(struct process *p);  // of all threads, ended ones included
void thread_times(struct thread *t, u64 *user_ns, u64 *system_ns);
void process_times(struct process *p, u64 *user_ns, u64 *system_ns);
char thread_state_letter(struct thread *t);  // R S D T Z X as in proc(5)
char process_state_letter(struct process *p);
struct thread *process_iterate_threads(struct process *p,
                                       s32 *tid);  // next tid >= *tid, referenced
struct sched_load {
    u32 n_running, n_threads;
    u64 n_switches, n_forks;
    u64 load_1, load_5, load_15;  // fixed point, 11 fraction bits (sysinfo(2) << 5)
};
s32 process_parent_pid(struct process *p);  // 0 for PID 1 (task/proc_info.c)
void sched_load(struct sched_load *out);
u64 cpu_idle_ns(u32 cpu);  // time in the idle loop since boot
u64 process_fork_count(void);
u32 process_thread_count(void);
// The host name, at most 64 bytes (uname(2), /proc/sys/kernel/hostname). => 0, -EINVAL
int set_hostname(const char *name);
const char *get_hostname(void);

// Interfaces that fs/ implements for task/ (lower layers never include fs headers).
void files_exit(struct thread *t);                       // drops file table and fs context
int files_clone(struct thread *child, u64 clone_flags);  // from current; 0, -ENOMEM
void files_close_on_exec(void);
int fd_close(int fd);          // close(2)
int files_unshare(u64 flags);  // CLONE_FILES, CLONE_FS: own copies; 0, -ENOMEM
// fs/fd.c: a descriptor for an object of task/ (pidfd, timerfd live in fs/ themselves).
int pidfd_install(struct process *p, unsigned flags);
void timerfd_clock_was_set(void);  // after CLOCK_REALTIME jumped (clock_settime, settimeofday)
// The process behind a pidfd, with a reference; ERR_PTR(-EBADF). *flags: O_NONBLOCK or 0; may be NULL.
struct process *pidfd_get_process(int fd, unsigned *flags);
// The caller, where Linux takes that for a pidfd (pidfd_open(2)): process_madvise, pidfd_send_signal.
#define PIDFD_SELF_THREAD (-10000)
#define PIDFD_SELF_THREAD_GROUP (-10001)
