// SPDX-License-Identifier: BSD-2-Clause
// calls.h: the system calls that task/ implements (man 2), in the order of the files.
#pragma once

#include "arch/uaccess.h"
#include "core/base.h"

// clone.c
long sys_clone(u64 flags, uptr_t stack, uptr_t parent_tid, uptr_t arg4, uptr_t arg5);
long sys_clone3(uptr_t args, size_t size);
long sys_fork(void);
long sys_vfork(void);
long sys_unshare(u64 flags);
long sys_set_tid_address(uptr_t at);
// exit.c
long sys_exit(int code);
long sys_exit_group(int code);
long sys_pidfd_open(int pid, unsigned flags);
// wait.c
long sys_wait4(int pid, uptr_t status, int options, uptr_t rusage);
long sys_waitid(int type, int id, uptr_t info, int options, uptr_t rusage);
long sys_getrusage(int who, uptr_t to);
long sys_times(uptr_t to);
// groups.c
long sys_setpgid(int pid, int pgid);
long sys_getpgid(int pid);
long sys_getpgrp(void);
long sys_setsid(void);
long sys_getsid(int pid);
long sys_getpid(void);
long sys_gettid(void);
long sys_getppid(void);
// futex.c
long sys_futex(uptr_t addr, int op, u32 value, uptr_t timeout, uptr_t addr2, u32 value3);
long sys_futex_waitv(uptr_t waiters, unsigned n, unsigned flags, uptr_t timeout, int clock);
long sys_futex_wake(uptr_t addr, u64 mask, int n, unsigned flags);
long sys_futex_wait(uptr_t addr, u64 value, u64 mask, unsigned flags, uptr_t timeout, int clock);
long sys_futex_requeue(uptr_t waiters, unsigned flags, int n_wake, int n_requeue);
long sys_set_robust_list(uptr_t head, size_t len);
long sys_get_robust_list(int tid, uptr_t head, uptr_t len);
// sigcalls.c
long sys_rt_sigaction(int sig, uptr_t action, uptr_t old, size_t size);
long sys_rt_sigprocmask(int how, uptr_t set, uptr_t old, size_t size);
long sys_rt_sigpending(uptr_t set, size_t size);
long sys_rt_sigtimedwait(uptr_t set, uptr_t info, uptr_t timeout, size_t size);
long sys_rt_sigqueueinfo(int pid, int sig, uptr_t info);
long sys_rt_tgsigqueueinfo(int pid, int tid, int sig, uptr_t info);
long sys_rt_sigsuspend(uptr_t set, size_t size);
long sys_rt_sigreturn(void);
long sys_sigaltstack(uptr_t stack, uptr_t old);
long sys_kill(int pid, int sig);
long sys_tkill(int tid, int sig);
long sys_tgkill(int pid, int tid, int sig);
long sys_pause(void);
long sys_pidfd_send_signal(int fd, int sig, uptr_t info, unsigned flags);
long sys_restart_syscall(void);
// timecalls.c
long sys_nanosleep(uptr_t request, uptr_t remain);
long sys_clock_nanosleep(int clock, int flags, uptr_t request, uptr_t remain);
long sys_clock_gettime(int clock, uptr_t to);
long sys_clock_settime(int clock, uptr_t from);
long sys_clock_getres(int clock, uptr_t to);
long sys_gettimeofday(uptr_t tv, uptr_t tz);
long sys_settimeofday(uptr_t tv, uptr_t tz);
long sys_time(uptr_t to);
long sys_adjtimex(uptr_t timex);
long sys_clock_adjtime(int clock, uptr_t timex);
// timers.c
long sys_getitimer(int which, uptr_t to);
long sys_setitimer(int which, uptr_t from, uptr_t old);
long sys_alarm(unsigned seconds);
long sys_timer_create(int clock, uptr_t event, uptr_t id);
long sys_timer_settime(int id, int flags, uptr_t from, uptr_t old);
long sys_timer_gettime(int id, uptr_t to);
long sys_timer_getoverrun(int id);
long sys_timer_delete(int id);
// creds.c
long sys_getuid(void);
long sys_geteuid(void);
long sys_getgid(void);
long sys_getegid(void);
long sys_setuid(u32 uid);
long sys_setgid(u32 gid);
long sys_setreuid(u32 ruid, u32 euid);
long sys_setregid(u32 rgid, u32 egid);
long sys_setresuid(u32 ruid, u32 euid, u32 suid);
long sys_setresgid(u32 rgid, u32 egid, u32 sgid);
long sys_getresuid(uptr_t ruid, uptr_t euid, uptr_t suid);
long sys_getresgid(uptr_t rgid, uptr_t egid, uptr_t sgid);
long sys_setfsuid(u32 uid);
long sys_setfsgid(u32 gid);
long sys_getgroups(int size, uptr_t list);
long sys_setgroups(int size, uptr_t list);
long sys_capget(uptr_t header, uptr_t data);
long sys_capset(uptr_t header, uptr_t data);
// schedcalls.c
long sys_sched_yield(void);
long sys_sched_setaffinity(int tid, size_t len, uptr_t mask);
long sys_sched_getaffinity(int tid, size_t len, uptr_t mask);
long sys_sched_setscheduler(int tid, int policy, uptr_t param);
long sys_sched_getscheduler(int tid);
long sys_sched_setparam(int tid, uptr_t param);
long sys_sched_getparam(int tid, uptr_t param);
long sys_sched_setattr(int tid, uptr_t attr, unsigned flags);
long sys_sched_getattr(int tid, uptr_t attr, unsigned size, unsigned flags);
long sys_sched_get_priority_max(int policy);
long sys_sched_get_priority_min(int policy);
long sys_sched_rr_get_interval(int tid, uptr_t to);
long sys_getpriority(int which, int who);
long sys_setpriority(int which, int who, int nice);
long sys_getcpu(uptr_t cpu, uptr_t node, uptr_t unused);
long sys_ioprio_set(int which, int who, int ioprio);
long sys_ioprio_get(int which, int who);
// rseq.c
long sys_rseq(uptr_t area, u32 len, int flags, u32 signature);
long sys_membarrier(int command, unsigned flags, int cpu);
// misc.c
long sys_getrlimit(unsigned resource, uptr_t to);
long sys_setrlimit(unsigned resource, uptr_t from);
long sys_prlimit64(int pid, unsigned resource, uptr_t from, uptr_t old);
long sys_sysinfo(uptr_t to);
long sys_uname(uptr_t to);
long sys_sethostname(uptr_t name, int len);
long sys_setdomainname(uptr_t name, int len);
long sys_prctl(int option, u64 a2, u64 a3, u64 a4, u64 a5);
long sys_personality(unsigned persona);
long sys_getrandom(uptr_t to, size_t len, unsigned flags);
long sys_syslog(int type, uptr_t buf, int len);
long sys_reboot(u32 magic1, u32 magic2, u32 command, uptr_t arg);
long sys_ptrace(long request, long pid, uptr_t addr, uptr_t data);
long sys_kcmp(int pid1, int pid2, int type, u64 idx1, u64 idx2);
long sys_process_vm_readv(int pid, uptr_t local, u64 n_local, uptr_t remote, u64 n_remote,
                          u64 flags);
long sys_process_vm_writev(int pid, uptr_t local, u64 n_local, uptr_t remote, u64 n_remote,
                           u64 flags);
