// SPDX-License-Identifier: BSD-2-Clause
// signal.h: signal numbers, the user-visible structures, and raising signals (task/signal.c).
#pragma once

#include "core/list.h"
#include "core/lock.h"

enum {
    SIGHUP = 1,
    SIGINT,
    SIGQUIT,
    SIGILL,
    SIGTRAP,
    SIGABRT,
    SIGBUS,
    SIGFPE,
    SIGKILL,
    SIGUSR1,
    SIGSEGV,
    SIGUSR2,
    SIGPIPE,
    SIGALRM,
    SIGTERM,
    SIGSTKFLT,
    SIGCHLD,
    SIGCONT,
    SIGSTOP,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGXCPU,
    SIGXFSZ,
    SIGVTALRM,
    SIGPROF,
    SIGWINCH,
    SIGIO,
    SIGPWR,
    SIGSYS,
    SIGRTMIN = 32,
    SIGRTMAX = 64
};
#define N_SIGNALS 64
#define SIG_BIT(sig) (1ULL << ((sig)-1))

#define SIG_DFL ((vaddr_t)0)
#define SIG_IGN ((vaddr_t)1)

#define SA_NOCLDSTOP 1u
#define SA_NOCLDWAIT 2u
#define SA_SIGINFO 4u
#define SA_RESTORER 0x04000000u
#define SA_ONSTACK 0x08000000u
#define SA_RESTART 0x10000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u

#define SI_USER 0
#define SI_KERNEL 0x80
#define SI_QUEUE (-1)
#define SI_TIMER (-2)
#define SI_MESGQ (-3)
#define SI_ASYNCIO (-4)
#define SI_SIGIO (-5)
#define SI_TKILL (-6)
#define ILL_ILLOPN 2
#define FPE_INTDIV 1
#define TRAP_BRKPT 1
#define TRAP_TRACE 2
#define CLD_EXITED 1
#define CLD_KILLED 2
#define CLD_DUMPED 3
#define CLD_STOPPED 5
#define CLD_CONTINUED 6
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define SEGV_PKUERR 4
#define SEGV_PKUERR 4
#define BUS_ADRALN 1
#define BUS_ADRERR 2
#define BUS_MCEERR_AR 4
#define BUS_MCEERR_AO 5

struct sigaction {  // kernel form, same order on every architecture
    vaddr_t handler;
    u64 flags;
    vaddr_t restorer;
    u64 mask;
};

// siginfo_t as user programs see it (sigaction(2)); 128 bytes.
#define RLIMIT_SIGPENDING 11  // queued signals and POSIX timers of a process

struct siginfo {
    s32 signo, error, code, pad;
    union {
        u8 raw[112];
        struct {
            s32 pid;
            u32 uid;
            u64 value;
        } rt;  // kill, tgkill, sigqueue
        struct {
            s32 tid;
            s32 overrun;
            u64 value;
            s32 sys;
        } timer;
        struct {
            s32 pid;
            u32 uid;
            s32 status;
            s32 pad2;
            s64 utime, stime;
        } child;
        struct {
            u64 addr;
            s16 addr_lsb;
            s16 pad2[3];
            u32 pkey;
        } fault;
        struct {
            s64 band;
            s32 fd;
        } poll;
        struct {
            u64 call_addr;
            s32 syscall;
            u32 arch;
        } sys;
    };
};
_Static_assert(sizeof(struct siginfo) == 128, "siginfo_t is 128 bytes");

struct stack_user {  // stack_t
    u64 sp;
    s32 flags;
    u32 pad;
    u64 size;
};
#define SS_ONSTACK 1
#define SS_DISABLE 2
#define SS_AUTODISARM (1u << 31)

struct thread;
struct process;

// Raises a signal at a thread or a process. => Any context (interrupts too); never sleeps; a
// queued instance that finds no memory degrades as on Linux (the signal is pending without info).
int signal_send_thread(struct thread *t, const struct siginfo *info);
int signal_send_process(struct process *p, const struct siginfo *info);
// A fault of the running thread: cannot be blocked or ignored (then it kills).
void signal_force(int sig, int code, vaddr_t addr);
void signal_send_simple(struct process *p, int sig);  // from the kernel: SI_KERNEL

// For signalfd and the *_sigmask calls of fs/.
u64 signal_pending_set(void);  // pending for the current thread, blocked ones included
// Takes one pending signal of mask off the queues of the current thread. => its number, 0 if none
int signal_dequeue(u64 mask, struct siginfo *info);
// ppoll, pselect, epoll_pwait: a temporary mask, read from the user's set (0: none, nothing is done).
// enter: => 0, -EFAULT, -EINVAL (size). leave: gives back result; the old mask comes back at once,
// or, when a signal ended the call, after that signal has been delivered.
int signal_mask_enter(uintptr_t set, size_t size);
long signal_mask_leave(uintptr_t set, long result);
void signal_set_blocked(u64 mask);

// SIGINT and the like from a terminal: to every process of the group. => any context; -ESRCH
int signal_send_group(s32 pgid, const struct siginfo *info);
// The running process does what only the foreground may do to a terminal: SIGTTIN or SIGTTOU to its group.
// => 0: SIGTTOU that is blocked or ignored; -ERESTARTSYS: sent; -EIO: nobody would continue it, or it does not take SIGTTIN
int signal_stop_background(int sig);
