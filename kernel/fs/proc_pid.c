// SPDX-License-Identifier: BSD-2-Clause
// proc_pid.c: /proc/PID and /proc/PID/task/TID (proc(5)).
//
// Every name is a row of a static table; the only thing that tells one process's file from another's is
// the 64-bit argument that the generated-file layer hands to each operation:
//
//     63 ........ 44   43 ....... 22   21 ....... 0
//        descriptor     TID (0: the     PID
//                       process itself)
//
// Nothing is cached: each operation looks the process up anew, so a file of a process that has been
// reaped reads as ESRCH, and a zombie's shows what a zombie still has.
#include <stdio.h>
#include <stdlib.h>

#include "fs/proc_internal.h"

#define ID_BITS 22
#define ID_MASK ((1u << ID_BITS) - 1)

static u64 make_arg(s32 pid, s32 tid, u32 fd)
{
    return (u64)pid | (u64)tid << ID_BITS | (u64)fd << (2 * ID_BITS);
}
static s32 arg_pid(u64 arg) { return (s32)(arg & ID_MASK); }
static s32 arg_tid(u64 arg) { return (s32)(arg >> ID_BITS & ID_MASK); }
static int arg_fd(u64 arg) { return (int)(arg >> (2 * ID_BITS)); }

// The process and the thread that a file is about, both referenced. thread is NULL for a process whose
// leader has ended (zombies among them).
struct target {
    struct process *process;
    struct thread *thread;
    bool one_thread;  // below task/
};

static int target_get(struct target *t, u64 arg)
{
    s32 tid = arg_tid(arg);
    t->one_thread = tid != 0;
    t->process = process_find(arg_pid(arg));
    if (!t->process)
        return -ESRCH;
    t->thread = thread_find(tid ? tid : arg_pid(arg));
    if (t->thread && t->thread->process != t->process) {
        thread_put(t->thread);
        t->thread = NULL;
    }
    if (tid && !t->thread) {
        process_put(t->process);
        return -ESRCH;
    }
    return 0;
}

static void target_put(struct target *t)
{
    if (t->thread)
        thread_put(t->thread);
    process_put(t->process);
}

// Referenced, or NULL: a zombie, the kernel.
static struct mm *target_mm(struct target *t)
{
    spin_lock(&t->process->lock);
    struct mm *mm = t->process->mm;
    if (mm)
        mm_get(mm);
    spin_unlock(&t->process->lock);
    return mm;
}

static const char *target_comm(const struct target *t)
{
    if (t->thread)
        return t->thread->comm;
    return t->process->pid == 1 ? "lethe" : t->process->last_comm;
}

static char target_state(const struct target *t)
{
    return t->one_thread ? thread_state_letter(t->thread) : process_state_letter(t->process);
}

// Any thread of the process, referenced: files and working directory of a process whose leader is gone.
static struct thread *target_any_thread(const struct target *t)
{
    s32 tid = 0;
    if (t->thread) {
        thread_get(t->thread);
        return t->thread;
    }
    return process_iterate_threads(t->process, &tid);
}

// ---- files that are about the address space

typedef void (*mm_show_fn)(struct mm *mm, struct seq_buf *out);

static int show_mm(struct seq_buf *out, u64 arg, mm_show_fn show)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    struct mm *mm = target_mm(&t);
    if (mm) {
        show(mm, out);
        mm_put(mm);
    }
    target_put(&t);
    return 0;
}

static void smaps_full(struct mm *mm, struct seq_buf *out) { mm_show_smaps(mm, out, false); }
static void smaps_rollup(struct mm *mm, struct seq_buf *out) { mm_show_smaps(mm, out, true); }

static int show_maps(struct seq_buf *out, u64 arg) { return show_mm(out, arg, mm_show_maps); }
static int show_smaps(struct seq_buf *out, u64 arg) { return show_mm(out, arg, smaps_full); }
static int show_rollup(struct seq_buf *out, u64 arg) { return show_mm(out, arg, smaps_rollup); }

static int show_statm(struct seq_buf *out, u64 arg)
{
    size_t before = out->len;
    int err = show_mm(out, arg, mm_show_statm);
    if (!err && out->len == before)
        seq_printf(out, "0 0 0 0 0 0 0\n");
    return err;
}

// Copies a piece of the process's memory: argument and environment strings.
static void show_area(struct mm *mm, struct seq_buf *out, vaddr_t start, vaddr_t end)
{
    char buf[256];
    while (start < end) {
        size_t len = MIN(sizeof(buf), end - start);
        if (mm_read(mm, start, buf, len))
            return;
        seq_write(out, buf, len);
        start += len;
    }
}

static void cmdline_of(struct mm *mm, struct seq_buf *out)
{
    show_area(mm, out, mm->arg_start, mm->arg_end);
}
static void environ_of(struct mm *mm, struct seq_buf *out)
{
    show_area(mm, out, mm->env_start, mm->env_end);
}
static void auxv_of(struct mm *mm, struct seq_buf *out)
{
    size_t n = 0;
    while (n < ARRAY_SIZE(mm->auxv) - 2 && mm->auxv[n] != 0)
        n += 2;
    seq_write(out, mm->auxv, (n + 2) * sizeof(u64));  // AT_NULL included
}

static int show_cmdline(struct seq_buf *out, u64 arg) { return show_mm(out, arg, cmdline_of); }
static int show_environ(struct seq_buf *out, u64 arg) { return show_mm(out, arg, environ_of); }
static int show_auxv(struct seq_buf *out, u64 arg) { return show_mm(out, arg, auxv_of); }

static ssize_t write_clear_refs(u64 arg, const char *data, size_t len)
{
    struct target t;
    char *end;
    long how = strtol(data, &end, 10);
    if (end == data || how < 1 || how > 5)
        return -EINVAL;
    int err = target_get(&t, arg);
    if (err)
        return err;
    struct mm *mm = target_mm(&t);
    if (mm) {
        long refused = mm_clear_refs(mm, (int)how);
        mm_put(mm);
        if (refused)
            len = (size_t)refused;
    }
    target_put(&t);
    return (ssize_t)len;
}

// pagemap and mem are binary and random access: they keep the address space that was there at open.
static int mm_file_open(struct inode *inode, struct file *f)
{
    struct target t;
    int err = target_get(&t, file_gen_arg(f));
    if (err)
        return err;
    f->data = target_mm(&t);
    target_put(&t);
    return 0;
}

static void mm_file_release(struct file *f)
{
    if (f->data)
        mm_put(f->data);
}

static loff_t mm_file_lseek(struct file *f, loff_t offset, int whence)
{
    loff_t pos = whence == SEEK_SET ? offset : whence == SEEK_CUR ? f->pos + offset : -1;
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return -EINVAL;
    f->pos = pos;  // an address: any value
    return pos;
}

static ssize_t pagemap_read(struct file *f, struct uio *to, loff_t *pos)
{
    u64 entries[64];
    ssize_t total = 0;
    if ((*pos | (loff_t)uio_remaining(to)) & 7)
        return -EINVAL;
    while (f->data && *pos >= 0 && uio_remaining(to)) {
        size_t want = MIN(uio_remaining(to) / sizeof(u64), ARRAY_SIZE(entries));
        size_t n = mm_read_pagemap(f->data, (u64)*pos, entries, want);
        if (n == 0)
            break;
        ssize_t moved = uio_copy_to(to, entries, n * sizeof(u64));
        if (moved < 0)
            return total ? total : moved;
        total += moved;
        *pos += moved;
        sched_point();
    }
    return total;
}

static ssize_t mem_read(struct file *f, struct uio *to, loff_t *pos)
{
    char buf[512];
    ssize_t total = 0;
    while (f->data && uio_remaining(to)) {
        vaddr_t addr = (vaddr_t)*pos;
        size_t len = MIN(uio_remaining(to), sizeof(buf));
        len = MIN(len, PAGE_SIZE - (addr & (PAGE_SIZE - 1)));
        if (mm_read(f->data, addr, buf, len))
            return total ? total : -EIO;
        ssize_t n = uio_copy_to(to, buf, len);
        if (n < 0)
            return total ? total : n;
        total += n;
        *pos += n;
        sched_point();
    }
    return total;
}

// As a debugger writes: also where the program itself may not.
static ssize_t mem_write(struct file *f, struct uio *from, loff_t *pos)
{
    char buf[512];
    ssize_t total = 0;
    while (f->data && uio_remaining(from)) {
        ssize_t n = uio_copy_from(from, buf, MIN(uio_remaining(from), sizeof(buf)));
        if (n < 0)
            return total ? total : n;
        if (mm_write(f->data, (vaddr_t)*pos, buf, (size_t)n))
            return total ? total : -EIO;
        total += n;
        *pos += n;
        sched_point();
    }
    return total;
}

static const struct file_ops pagemap_fops = {
    .open = mm_file_open,
    .read = pagemap_read,
    .lseek = mm_file_lseek,
    .release = mm_file_release,
};
static const struct file_ops mem_fops = {
    .write = mem_write,
    .open = mm_file_open,
    .read = mem_read,
    .lseek = mm_file_lseek,
    .release = mm_file_release,
};

// ---- status

static const char *state_name(char letter)
{
    switch (letter) {
    case 'R': return "R (running)";
    case 'S': return "S (sleeping)";
    case 'D': return "D (disk sleep)";
    case 'T': return "T (stopped)";
    case 'Z': return "Z (zombie)";
    case 'I': return "I (idle)";
    default: return "X (dead)";
    }
}

static void show_signals(const struct target *t, struct seq_buf *out)
{
    struct process *p = t->process;
    u64 pending = 0, shared, blocked = 0, ignored = 0, caught = 0;
    spin_lock(&p->signal_lock);
    shared = p->sig_pending;
    if (t->thread) {
        pending = t->thread->sig_pending;
        blocked = t->thread->sig_blocked;
    }
    for (int sig = 1; sig <= N_SIGNALS; sig++) {
        vaddr_t handler = p->actions[sig - 1].handler;
        if (handler == SIG_IGN)
            ignored |= SIG_BIT(sig);
        else if (handler != SIG_DFL)
            caught |= SIG_BIT(sig);
    }
    spin_unlock(&p->signal_lock);
    seq_printf(out, "SigQ:\t%u/%llu\n", p->n_sig_queued, (unsigned long long)p->rlimits[11].cur);
    seq_printf(out, "SigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\n",
               (unsigned long long)pending, (unsigned long long)shared,
               (unsigned long long)blocked);
    seq_printf(out, "SigIgn:\t%016llx\nSigCgt:\t%016llx\n", (unsigned long long)ignored,
               (unsigned long long)caught);
}

static void show_credentials(const struct process *p, struct seq_buf *out)
{
    seq_printf(out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", p->uid, p->euid, p->suid,
               p->fsuid, p->gid, p->egid, p->sgid, p->fsgid);
}

static void show_capabilities(const struct process *p, struct seq_buf *out)
{
    seq_printf(out, "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\n",
               (unsigned long long)p->cap_inheritable, (unsigned long long)p->cap_permitted,
               (unsigned long long)p->cap_effective);
    seq_printf(out, "CapBnd:\t%016llx\nCapAmb:\t%016llx\nNoNewPrivs:\t%u\n",
               (unsigned long long)p->cap_bounding, (unsigned long long)p->cap_ambient,
               p->no_new_privs ? 1u : 0u);
}

static u32 fd_table_room(struct target *t)
{
    struct thread *any = target_any_thread(t);
    struct file_table *files = any ? files_of_thread(any) : NULL;
    u32 room = 0;
    if (files) {
        for (int fd = files_next_fd(files, 0); fd >= 0; fd = files_next_fd(files, fd + 1))
            room = (u32)fd + 1;
        room = MAX((room + 63) & ~63u, 64u);
        files_put(files);
    }
    if (any)
        thread_put(any);
    return room;
}

static void show_ids(struct target *t, struct seq_buf *out)
{
    struct process *p = t->process;
    s32 tid = t->one_thread ? t->thread->tid : p->pid;
    u32 mask = 0022;
    struct thread *any = target_any_thread(t);
    struct fs_context *fs = any ? fs_of_thread(any) : NULL;
    if (fs) {
        mask = fs->umask;
        fs_context_put(fs);
    }
    if (any)
        thread_put(any);
    seq_printf(out, "Name:\t%s\n", target_comm(t));
    if (fs)
        seq_printf(out, "Umask:\t%04o\n", mask);
    seq_printf(out, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
               state_name(target_state(t)), p->pid, tid, process_parent_pid(p));
    show_credentials(p, out);
    seq_printf(out, "FDSize:\t%u\nGroups:\t", fd_table_room(t));
    for (u32 i = 0; i < p->n_groups; i++)
        seq_printf(out, "%u ", p->groups[i]);
    seq_printf(out, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t%d\n", p->pid,
               tid, p->pgid, p->sid, p->pid == 1);
}

static void show_cpus_allowed(const struct target *t, struct seq_buf *out)
{
    cpumask_t all = cpus_online();
    cpumask_t mask = t->thread ? t->thread->affinity & all : all;
    if (n_cpus > 32)
        seq_printf(out, "Cpus_allowed:\t%08x,%08x\n", (u32)(mask >> 32), (u32)mask);
    else
        seq_printf(out, "Cpus_allowed:\t%0*x\n", (int)DIV_ROUND_UP(n_cpus, 4), (u32)mask);
    seq_printf(out, "Cpus_allowed_list:\t");
    seq_cpu_list(out, mask);
    seq_printf(out, "\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
}

static int show_status(struct seq_buf *out, u64 arg)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    struct process *p = t.process;
    show_ids(&t, out);
    struct mm *mm = target_mm(&t);
    if (mm) {
        mm_show_status(mm, out);
        seq_printf(out, "CoreDumping:\t0\nTHP_enabled:\t%d\n", mm->thp_disabled != THP_DISABLED);
        mm_put(mm);
    }
    seq_printf(out, "Threads:\t%u\n", p->n_threads);
    show_signals(&t, out);
    show_capabilities(p, out);
    seq_printf(out, "Seccomp:\t0\nSeccomp_filters:\t0\n");
    show_cpus_allowed(&t, out);
    seq_printf(out, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
               (unsigned long long)(t.thread ? t.thread->n_voluntary : 0),
               (unsigned long long)(t.thread ? t.thread->n_involuntary : 0));
    target_put(&t);
    return 0;
}

// ---- stat

struct stat_sums {
    u64 user_ns, system_ns, minflt, majflt;
    s32 threads;
};

static void sum_process(struct process *p, struct stat_sums *s)
{
    process_times(p, &s->user_ns, &s->system_ns);
    s->minflt = p->dead_minflt;
    s->majflt = p->dead_majflt;
    spin_lock(&p->signal_lock);
    list_for_each_entry (struct thread, t, &p->threads, process_link) {
        s->minflt += t->n_minor_faults;
        s->majflt += t->n_major_faults;
    }
    s->threads = (s32)p->n_threads;
    spin_unlock(&p->signal_lock);
}

static void sum_thread(const struct target *t, struct stat_sums *s)
{
    thread_times(t->thread, &s->user_ns, &s->system_ns);
    s->minflt = t->thread->n_minor_faults;
    s->majflt = t->thread->n_major_faults;
    s->threads = (s32)t->process->n_threads;
}

static void signal_sets(const struct target *t, u64 set[4])
{
    struct process *p = t->process;
    memset(set, 0, 4 * sizeof(u64));
    spin_lock(&p->signal_lock);
    set[0] = t->thread ? t->thread->sig_pending : 0;
    set[1] = t->thread ? t->thread->sig_blocked : 0;
    for (int sig = 1; sig <= 31; sig++) {
        vaddr_t handler = p->actions[sig - 1].handler;
        if (handler == SIG_IGN)
            set[2] |= SIG_BIT(sig);
        else if (handler != SIG_DFL)
            set[3] |= SIG_BIT(sig);
    }
    spin_unlock(&p->signal_lock);
    for (int i = 0; i < 4; i++)
        set[i] &= 0x7fffffff;
}

static unsigned long long ticks(u64 ns) { return ns / (NSEC_PER_SEC / 100); }

// The 52 fields of proc(5), numbered as there.
static int show_stat(struct seq_buf *out, u64 arg)
{
    static struct mm no_memory;
    struct target t;
    struct stat_sums s = {0};
    u64 sig[4];
    int err = target_get(&t, arg);
    if (err)
        return err;
    struct process *p = t.process;
    struct thread *th = t.thread;
    struct mm *mm = target_mm(&t);
    const struct mm *m = mm ? mm : &no_memory;
    if (t.one_thread)
        sum_thread(&t, &s);
    else
        sum_process(p, &s);
    signal_sets(&t, sig);
    s64 rss = mm ? mm->rss_anon + mm->rss_file + mm->rss_shmem : 0;
    int nice = th ? th->nice : 0;
    int priority = th && th->rt_priority ? -1 - th->rt_priority : 20 + nice;
    // 1 to 8
    seq_printf(out, "%d (%s) %c %d %d %d %d -1 ", t.one_thread ? th->tid : p->pid, target_comm(&t),
               target_state(&t), process_parent_pid(p), p->pgid, p->sid, 0);
    // 9 flags, 10 to 13 faults, 14 to 17 times
    seq_printf(out, "%u %llu %llu %llu %llu %llu %llu %llu %llu ",
               p->pid == 1     ? 0x00200000u
               : p->has_execed ? 0x00400000u
                               : 0x00400040u,
               (unsigned long long)s.minflt, (unsigned long long)p->child_minflt,
               (unsigned long long)s.majflt, (unsigned long long)p->child_majflt, ticks(s.user_ns),
               ticks(s.system_ns), ticks(p->child_user_ns), ticks(p->child_system_ns));
    // 18 priority, 19 nice, 20 threads, 21 itrealvalue, 22 start time, 23 vsize, 24 rss, 25 rsslim
    seq_printf(out, "%d %d %d 0 %llu %llu %lld %llu ", priority, nice, s.threads,
               ticks(p->start_ns), (unsigned long long)m->n_mapped_pages * PAGE_SIZE,
               (long long)MAX(rss, (s64)0), (unsigned long long)p->rlimits[5].cur);
    // 26 to 30: code, stack; where it is (esp, eip) only debuggers may see
    seq_printf(out, "%llu %llu %llu 0 0 ", (unsigned long long)m->code_start,
               (unsigned long long)m->code_end, (unsigned long long)m->stack_top);
    // 31 to 34 signals, 35 wchan, 36, 37, 38 exit signal, 39 CPU
    seq_printf(out, "%llu %llu %llu %llu %d 0 0 %d %u ", (unsigned long long)sig[0],
               (unsigned long long)sig[1], (unsigned long long)sig[2], (unsigned long long)sig[3],
               target_state(&t) == 'S' || target_state(&t) == 'D', p->exit_signal,
               th ? th->cpu : 0);
    // 40 rt priority, 41 policy, 42 block delay, 43 and 44 guest time
    seq_printf(out, "%u %u %llu 0 0 ", th ? th->rt_priority : 0u, th ? th->policy : 0u,
               ticks(th ? th->blkio_delay_ns : 0));
    // 45 to 52
    seq_printf(out, "%llu %llu %llu %llu %llu %llu %llu %d\n", (unsigned long long)m->data_start,
               (unsigned long long)m->data_end, (unsigned long long)m->brk_start,
               (unsigned long long)m->arg_start, (unsigned long long)m->arg_end,
               (unsigned long long)m->env_start, (unsigned long long)m->env_end,
               p->is_zombie ? p->exit_status : 0);
    if (mm)
        mm_put(mm);
    target_put(&t);
    return 0;
}

// ---- small files

static int show_comm(struct seq_buf *out, u64 arg)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    seq_printf(out, "%s\n", target_comm(&t));
    target_put(&t);
    return 0;
}

static ssize_t write_comm(u64 arg, const char *data, size_t len)
{
    struct target t;
    char name[16];
    int err = target_get(&t, arg);
    if (err)
        return err;
    if (t.process != current->process || !t.thread) {
        err = -EINVAL;
    } else {
        strlcpy(name, data, sizeof(name));
        char *newline = strchr(name, '\n');
        if (newline)
            *newline = '\0';
        err = thread_set_comm(t.thread, name);
    }
    target_put(&t);
    return err ? err : (ssize_t)len;
}

struct limit_row {
    const char *name, *unit;
};
static const struct limit_row limit_rows[16] = {
    {"Max cpu time", "seconds"},     {"Max file size", "bytes"},
    {"Max data size", "bytes"},      {"Max stack size", "bytes"},
    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
    {"Max processes", "processes"},  {"Max open files", "files"},
    {"Max locked memory", "bytes"},  {"Max address space", "bytes"},
    {"Max file locks", "locks"},     {"Max pending signals", "signals"},
    {"Max msgqueue size", "bytes"},  {"Max nice priority", ""},
    {"Max realtime priority", ""},   {"Max realtime timeout", "us"},
};

static const char *limit_text(char *buf, size_t size, u64 value)
{
    if (value == UINT64_MAX)
        return "unlimited";
    snprintf(buf, size, "%llu", (unsigned long long)value);
    return buf;
}

static int show_limits(struct seq_buf *out, u64 arg)
{
    struct target t;
    char soft[24], hard[24];
    int err = target_get(&t, arg);
    if (err)
        return err;
    seq_printf(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (int i = 0; i < 16; i++) {
        seq_printf(out, "%-25s %-20s %-20s %-10s\n", limit_rows[i].name,
                   limit_text(soft, sizeof(soft), t.process->rlimits[i].cur),
                   limit_text(hard, sizeof(hard), t.process->rlimits[i].max), limit_rows[i].unit);
    }
    target_put(&t);
    return 0;
}

static int show_mounts(struct seq_buf *out, u64 arg)
{
    mounts_show(out, false);
    return 0;
}
static int show_mountinfo(struct seq_buf *out, u64 arg)
{
    mounts_show(out, true);
    return 0;
}

// As Linux: thousandths of the memory that it holds, moved by oom_score_adj, on a scale to 2000.
static int show_oom_score(struct seq_buf *out, u64 arg)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    struct mm *mm = target_mm(&t);
    s64 points = 0;
    if (mm) {
        s64 held = mm->rss_anon + mm->rss_file + mm->rss_shmem + mm->n_table_pages;
        s64 total = (s64)page_total_count();
        points = held + t.process->oom_score_adj * total / 1000;
        points = MAX(points * 1000 / MAX(total, (s64)1) + 1000, (s64)0) * 2 / 3;
        mm_put(mm);
    }
    seq_printf(out, "%lld\n", (long long)points);
    target_put(&t);
    return 0;
}

// One integer of struct process behind a file.
static int show_process_int(struct seq_buf *out, u64 arg, const char *format,
                            long (*get)(struct process *))
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    char text[24];
    snprintf(text, sizeof(text), format, get(t.process));
    seq_printf(out, "%s\n", text);
    target_put(&t);
    return 0;
}

static long get_oom_score_adj(struct process *p) { return p->oom_score_adj; }
static long get_coredump_filter(struct process *p) { return p->coredump_filter_xor ^ 0x33; }
static long get_personality(struct process *p) { return p->personality; }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static int show_oom_score_adj(struct seq_buf *out, u64 arg)
{
    return show_process_int(out, arg, "%ld", get_oom_score_adj);
}
static int show_coredump_filter(struct seq_buf *out, u64 arg)
{
    return show_process_int(out, arg, "%08lx", get_coredump_filter);
}
static int show_personality(struct seq_buf *out, u64 arg)
{
    return show_process_int(out, arg, "%08lx", get_personality);
}
#pragma GCC diagnostic pop

static bool parse_long(const char *data, int base, long *value)
{
    char *end;
    bool negative = *data == '-';
    unsigned long u = strtoul(data + negative, &end, base);
    if (end == data + negative || u > LONG_MAX)
        return false;
    while (*end == ' ' || *end == '\n')
        end++;
    *value = negative ? -(long)u : (long)u;
    return *end == '\0';
}

static ssize_t write_oom_score_adj(u64 arg, const char *data, size_t len)
{
    struct target t;
    long value;
    if (!parse_long(data, 0, &value) || value < -1000 || value > 1000)
        return -EINVAL;
    int err = target_get(&t, arg);
    if (err)
        return err;
    if (value < t.process->oom_score_adj && !capable(CAP_SYS_RESOURCE))
        err = -EACCES;
    else
        t.process->oom_score_adj = (int)value;
    target_put(&t);
    return err ? err : (ssize_t)len;
}

static ssize_t write_coredump_filter(u64 arg, const char *data, size_t len)
{
    struct target t;
    long value;
    if (!parse_long(data, 0, &value))
        return -EINVAL;
    int err = target_get(&t, arg);
    if (err)
        return err;
    t.process->coredump_filter_xor = ((u32)value & 0x1ff) ^ 0x33;
    target_put(&t);
    return (ssize_t)len;
}

static int show_wchan(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "0");  // kernel addresses are not shown
    return 0;
}

static int show_schedstat(struct seq_buf *out, u64 arg)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    u64 run = 0, wait = 0, slices = 0;
    if (t.thread) {
        run = thread_cpu_ns(t.thread);
        wait = t.thread->cpu_delay_ns;
        slices = t.thread->n_voluntary + t.thread->n_involuntary;
    }
    seq_printf(out, "%llu %llu %llu\n", (unsigned long long)run, (unsigned long long)wait,
               (unsigned long long)slices);
    target_put(&t);
    return 0;
}

static int show_timerslack(struct seq_buf *out, u64 arg)
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return err;
    seq_printf(out, "%llu\n", (unsigned long long)(t.thread ? t.thread->timer_slack_ns : 0));
    target_put(&t);
    return 0;
}

static int show_id_map(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%10u %10u %10u\n", 0u, 0u, UINT32_MAX);
    return 0;
}

static int show_setgroups(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "allow\n");
    return 0;
}

// ---- links: exe, cwd, root

static struct dentry *place_of(u64 arg, struct dentry *(*get)(struct fs_context *))
{
    struct target t;
    int err = target_get(&t, arg);
    if (err)
        return ERR_PTR(err == -ESRCH ? -ENOENT : err);
    struct thread *any = target_any_thread(&t);
    struct fs_context *fs = any ? fs_of_thread(any) : NULL;
    struct dentry *d = ERR_PTR(-ENOENT);
    if (fs) {
        d = get(fs);
        fs_context_put(fs);
    }
    if (any)
        thread_put(any);
    target_put(&t);
    return d;
}

static struct dentry *follow_cwd(u64 arg) { return place_of(arg, fs_get_cwd); }
static struct dentry *follow_root(u64 arg) { return place_of(arg, fs_get_root); }

static struct file *exe_of(u64 arg)
{
    struct target t;
    struct file *f = NULL;
    if (target_get(&t, arg))
        return NULL;
    struct mm *mm = target_mm(&t);
    if (mm) {
        rwlock_read(&mm->lock);
        f = mm->exe_file;
        if (f)
            file_get(f);
        rwlock_read_done(&mm->lock);
        mm_put(mm);
    }
    target_put(&t);
    return f;
}

static struct dentry *follow_exe(u64 arg)
{
    struct file *f = exe_of(arg);
    if (!f)
        return ERR_PTR(-ENOENT);
    struct dentry *d = file_dentry(f);
    file_put(f);
    return d;
}

// The text of a path that was built at the end of a buffer, moved to its start. => length
static int path_result(char *buf, char *start)
{
    if (IS_ERR(start))
        return (int)PTR_ERR(start);
    size_t len = strlen(start);
    memmove(buf, start, len);
    return (int)len;
}

static int link_text(struct dentry *d, char *buf, size_t size)
{
    if (IS_ERR(d))
        return (int)PTR_ERR(d);
    struct dentry *root = fs_get_root(current->fs);
    int len = path_result(buf, dentry_path(d, root, buf, size));
    dentry_put(root);
    dentry_put(d);
    return len;
}

static int readlink_cwd(u64 arg, char *buf, size_t size)
{
    return link_text(follow_cwd(arg), buf, size);
}
static int readlink_root(u64 arg, char *buf, size_t size)
{
    return link_text(follow_root(arg), buf, size);
}

static int readlink_exe(u64 arg, char *buf, size_t size)
{
    struct file *f = exe_of(arg);
    if (!f)
        return -ENOENT;
    int len = path_result(buf, file_path(f, buf, size));
    file_put(f);
    return len;
}

// ---- fd and fdinfo

static struct file_table *table_of(u64 arg)
{
    struct target t;
    if (target_get(&t, arg))
        return NULL;
    struct thread *any = target_any_thread(&t);
    struct file_table *files = any ? files_of_thread(any) : NULL;
    if (any)
        thread_put(any);
    target_put(&t);
    return files;
}

static struct file *file_of(u64 arg)
{
    struct file_table *files = table_of(arg);
    if (!files)
        return NULL;
    struct file *f = files_get_file(files, arg_fd(arg));
    files_put(files);
    return f;
}

static struct dentry *follow_fd(u64 arg)
{
    struct file *f = file_of(arg);
    if (!f)
        return ERR_PTR(-ENOENT);
    struct dentry *d = file_dentry(f);
    file_put(f);
    return d;
}

static int readlink_fd(u64 arg, char *buf, size_t size)
{
    struct file *f = file_of(arg);
    if (!f)
        return -ENOENT;
    int len = path_result(buf, file_path(f, buf, size));
    file_put(f);
    return len;
}

static int mount_id_of(const struct file *f)
{
    return f->inode && f->inode->sb ? f->inode->sb->mount_id : 0;
}

static int show_fdinfo(struct seq_buf *out, u64 arg)
{
    struct file_table *files = table_of(arg);
    if (!files)
        return -ENOENT;
    struct file *f = files_get_file(files, arg_fd(arg));
    bool cloexec = files_is_cloexec(files, arg_fd(arg));
    files_put(files);
    if (!f)
        return -ENOENT;
    u32 dev;
    u64 ino;
    file_identity(f, &dev, &ino);
    u32 flags = (f->flags & ~(u32)O_CLOEXEC) | (cloexec ? O_CLOEXEC : 0);
    loff_t pos = f->fmode & (FMODE_NO_SEEK | FMODE_STREAM) ? 0 : f->pos;
    seq_printf(out, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%llu\n", (long long)pos, flags,
               mount_id_of(f), (unsigned long long)ino);
    if (f->ops->show_fdinfo)
        f->ops->show_fdinfo(f, out);
    file_put(f);
    return 0;
}

static const struct gen_ops fd_link_ops = {.readlink = readlink_fd, .follow = follow_fd};
static const struct gen_ops fdinfo_ops = {.show = show_fdinfo};

// A decimal number without leading zeros. => -1 if it is none
static int parse_number(const char *name, unsigned len)
{
    int n = 0;
    if (len == 0 || len > 7 || (name[0] == '0' && len > 1))
        return -1;
    for (unsigned i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        n = n * 10 + (name[i] - '0');
    }
    return n;
}

static int lookup_descriptor(u64 arg, const char *name, unsigned len, u32 *mode, u64 *out_arg)
{
    int fd = parse_number(name, len);
    if (fd < 0 || fd >= 1 << 20)
        return -ENOENT;
    *out_arg = make_arg(arg_pid(arg), arg_tid(arg), (u32)fd);
    struct file *f = file_of(*out_arg);
    if (!f)
        return -ENOENT;
    *mode = (f->fmode & FMODE_READ ? 0500u : 0) | (f->fmode & FMODE_WRITE ? 0300u : 0);
    file_put(f);
    return 0;
}

static int fd_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    u32 mode;
    u64 entry_arg;
    int err = lookup_descriptor(arg, name, len, &mode, &entry_arg);
    if (!err)
        *out = (struct gen_entry){.mode = S_IFLNK | mode, .ops = &fd_link_ops, .arg = entry_arg};
    return err;
}

static int fdinfo_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    u32 mode;
    u64 entry_arg;
    int err = lookup_descriptor(arg, name, len, &mode, &entry_arg);
    if (!err)
        *out = (struct gen_entry){.mode = S_IFREG | 0444, .ops = &fdinfo_ops, .arg = entry_arg};
    return err;
}

static int list_descriptors(u64 arg, struct dir_context *ctx, unsigned type)
{
    char name[12];
    struct file_table *files = table_of(arg);
    if (!files)
        return -ENOENT;
    for (int fd = files_next_fd(files, (int)ctx->pos); fd >= 0; fd = files_next_fd(files, fd + 1)) {
        int len = snprintf(name, sizeof(name), "%d", fd);
        if (!dir_emit(ctx, name, (unsigned)len, 0, type, (u64)fd + 1))
            break;
    }
    files_put(files);
    return 0;
}

static int fd_readdir(u64 arg, struct dir_context *ctx)
{
    return list_descriptors(arg, ctx, DT_LNK);
}
static int fdinfo_readdir(u64 arg, struct dir_context *ctx)
{
    return list_descriptors(arg, ctx, DT_REG);
}

static const struct gen_dir_ops fd_dir_ops = {.lookup = fd_lookup, .readdir = fd_readdir};
static const struct gen_dir_ops fdinfo_dir_ops = {.lookup = fdinfo_lookup,
                                                  .readdir = fdinfo_readdir};

// ---- the tables

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(maps_ops, .show = show_maps);
OPS(smaps_ops, .show = show_smaps);
OPS(rollup_ops, .show = show_rollup);
OPS(statm_ops, .show = show_statm);
OPS(cmdline_ops, .show = show_cmdline);
OPS(environ_ops, .show = show_environ);
OPS(auxv_ops, .show = show_auxv);
OPS(clear_refs_ops, .write = write_clear_refs);
OPS(pagemap_ops, .fops = &pagemap_fops);
OPS(mem_ops, .fops = &mem_fops);
OPS(status_ops, .show = show_status);
OPS(stat_ops, .show = show_stat);
OPS(comm_ops, .show = show_comm, .write = write_comm);
OPS(limits_ops, .show = show_limits);
OPS(mounts_ops, .show = show_mounts);
OPS(mountinfo_ops, .show = show_mountinfo);
OPS(oom_score_ops, .show = show_oom_score);
OPS(oom_score_adj_ops, .show = show_oom_score_adj, .write = write_oom_score_adj);
OPS(coredump_ops, .show = show_coredump_filter, .write = write_coredump_filter);
OPS(personality_ops, .show = show_personality);
OPS(wchan_ops, .show = show_wchan);
OPS(schedstat_ops, .show = show_schedstat);
OPS(timerslack_ops, .show = show_timerslack);
OPS(id_map_ops, .show = show_id_map);
OPS(setgroups_ops, .show = show_setgroups);
OPS(cwd_ops, .readlink = readlink_cwd, .follow = follow_cwd);
OPS(root_ops, .readlink = readlink_root, .follow = follow_root);
OPS(exe_ops, .readlink = readlink_exe, .follow = follow_exe);

#define COMMON_ENTRIES                                                                            \
    GEN_FILE("auxv", 0400, &auxv_ops), GEN_FILE("clear_refs", 0200, &clear_refs_ops),             \
        GEN_FILE("cmdline", 0444, &cmdline_ops), GEN_FILE("comm", 0644, &comm_ops),               \
        GEN_LINK_OPS("cwd", &cwd_ops), GEN_FILE("environ", 0400, &environ_ops),                   \
        GEN_LINK_OPS("exe", &exe_ops), GEN_DYN("fd", 0500, NULL, &fd_dir_ops),                    \
        GEN_DYN("fdinfo", 0555, NULL, &fdinfo_dir_ops), GEN_FILE("gid_map", 0644, &id_map_ops),   \
        GEN_FILE("limits", 0644, &limits_ops), GEN_FILE("maps", 0444, &maps_ops),                 \
        GEN_FILE("mem", 0600, &mem_ops), GEN_FILE("mountinfo", 0444, &mountinfo_ops),             \
        GEN_FILE("mounts", 0444, &mounts_ops), GEN_FILE("oom_score", 0444, &oom_score_ops),       \
        GEN_FILE("oom_score_adj", 0644, &oom_score_adj_ops),                                      \
        GEN_FILE("pagemap", 0400, &pagemap_ops), GEN_FILE("personality", 0400, &personality_ops), \
        GEN_LINK_OPS("root", &root_ops), GEN_FILE("schedstat", 0444, &schedstat_ops),             \
        GEN_FILE("setgroups", 0644, &setgroups_ops), GEN_FILE("smaps", 0444, &smaps_ops),         \
        GEN_FILE("smaps_rollup", 0444, &rollup_ops), GEN_FILE("stat", 0444, &stat_ops),           \
        GEN_FILE("statm", 0444, &statm_ops), GEN_FILE("status", 0444, &status_ops),               \
        GEN_FILE("uid_map", 0644, &id_map_ops), GEN_FILE("wchan", 0444, &wchan_ops)

static const struct gen_entry task_entries[] = {COMMON_ENTRIES, GEN_END};

static void owner_of(u64 arg, u32 *uid, u32 *gid)
{
    struct process *p = process_find(arg_pid(arg));
    if (!p)
        return;
    *uid = p->euid;
    *gid = p->egid;
    process_put(p);
}

static int task_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    int tid = parse_number(name, len);
    struct target t;
    if (tid <= 0 || (u32)tid > ID_MASK || target_get(&t, make_arg(arg_pid(arg), tid, 0)))
        return -ENOENT;
    target_put(&t);
    *out = (struct gen_entry){.mode = S_IFDIR | 0555,
                              .children = task_entries,
                              .dir = &proc_pid_more,
                              .arg = make_arg(arg_pid(arg), tid, 0)};
    return 0;
}

static int task_readdir(u64 arg, struct dir_context *ctx)
{
    char name[12];
    struct process *p = process_find(arg_pid(arg));
    if (!p)
        return -ENOENT;
    s32 tid = (s32)ctx->pos;
    struct thread *t;
    while ((t = process_iterate_threads(p, &tid))) {
        int len = snprintf(name, sizeof(name), "%d", tid);
        thread_put(t);
        tid++;
        if (!dir_emit(ctx, name, (unsigned)len, 0, DT_DIR, (u64)tid))
            break;
    }
    process_put(p);
    return 0;
}

static const struct gen_dir_ops task_dir_ops = {
    .lookup = task_lookup,
    .readdir = task_readdir,
    .owner = owner_of,
};

static const struct gen_entry pid_entries[] = {
    COMMON_ENTRIES,
    GEN_FILE("coredump_filter", 0644, &coredump_ops),
    GEN_DYN("task", 0555, NULL, &task_dir_ops),
    GEN_FILE("timerslack_ns", 0444, &timerslack_ops),
    GEN_END,
};

static int pid_lookup(u64 arg, const char *name, unsigned len, struct gen_entry *out)
{
    int pid = parse_number(name, len);
    if (pid <= 0 || (u32)pid > ID_MASK)
        return -ENOENT;
    struct process *p = process_find(pid);
    if (p) {
        process_put(p);
    } else {
        // The number of a thread works too, though it is not listed.
        struct thread *t = thread_find(pid);
        if (!t)
            return -ENOENT;
        pid = t->process ? t->process->pid : 0;
        thread_put(t);
        if (pid == 0)
            return -ENOENT;
    }
    *out = (struct gen_entry){.mode = S_IFDIR | 0555,
                              .children = pid_entries,
                              .dir = &proc_pid_more,
                              .arg = make_arg(pid, 0, 0)};
    return 0;
}

static int pid_readdir(u64 arg, struct dir_context *ctx)
{
    char name[12];
    s32 pid = MAX((s32)ctx->pos, 1);
    struct process *p;
    while ((p = process_iterate(&pid))) {
        int len = snprintf(name, sizeof(name), "%d", pid);
        process_put(p);
        pid++;
        if (!dir_emit(ctx, name, (unsigned)len, 0, DT_DIR, (u64)pid))
            break;
    }
    return 0;
}

const struct gen_dir_ops proc_root_ops = {
    .lookup = pid_lookup,
    .readdir = pid_readdir,
    .owner = owner_of,
};

int proc_readlink_self(u64 arg, char *buf, size_t size)
{
    return scnprintf(buf, size, "%d", current->process->pid);
}

int proc_readlink_thread_self(u64 arg, char *buf, size_t size)
{
    return scnprintf(buf, size, "%d/task/%d", current->process->pid, current->tid);
}
