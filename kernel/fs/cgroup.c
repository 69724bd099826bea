// SPDX-License-Identifier: BSD-2-Clause
// cgroup.c: the control group that everything runs in (cgroups(7), version 2), in lethe-kernel-full.
//
// Run-times size themselves by it: Go reads cpu.max, the JVM and node memory.max as well. What they find is what a process in a
// container of its own finds: one group whose path is "/", mounted read-only on /sys/fs/cgroup, with the files that a root
// group on Linux would not have. No limit but the machine's is set, and that is what the files say; no other group can be made.
#include "core/platform.h"
#include "fs/proc_internal.h"
#include "mm/mm.h"

#define CGROUP2_MAGIC 0x63677270

static int show_text(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s", (const char *)(uintptr_t)arg);
    return 0;
}

// ---- processes

// PID 1 is the kernel and its threads.
static struct process *next_process(s32 *pid)
{
    *pid = MAX(*pid, PROGRAM_PID);
    return process_iterate(pid);
}

static int show_procs(struct seq_buf *out, u64 arg)
{
    struct process *p;
    for (s32 pid = 0; (p = next_process(&pid)); pid++) {
        seq_printf(out, "%d\n", pid);
        process_put(p);
    }
    return 0;
}

static int show_threads(struct seq_buf *out, u64 arg)
{
    struct process *p;
    for (s32 pid = 0; (p = next_process(&pid)); pid++) {
        struct thread *t;
        for (s32 tid = 0; (t = process_iterate_threads(p, &tid)); tid++) {
            seq_printf(out, "%d\n", tid);
            thread_put(t);
        }
        process_put(p);
    }
    return 0;
}

static int show_task_count(struct seq_buf *out, u64 arg)
{
    u32 n = 0;
    struct process *p;
    for (s32 pid = 0; (p = next_process(&pid)); pid++) {
        n += atomic_load_relaxed(&p->n_threads);
        process_put(p);
    }
    seq_printf(out, "%u\n", n);
    return 0;
}

// ---- what they use

static int show_cpu_stat(struct seq_buf *out, u64 arg)
{
    u64 user, system;
    proc_sum_times(&user, &system);
    seq_printf(out,
               "usage_usec %llu\nuser_usec %llu\nsystem_usec %llu\nnr_periods 0\nnr_throttled 0\n"
               "throttled_usec 0\n",
               (unsigned long long)(user / 1000 + system / 1000), (unsigned long long)(user / 1000),
               (unsigned long long)(system / 1000));
    return 0;
}

static int show_cpus(struct seq_buf *out, u64 arg)
{
    seq_cpu_list(out, cpus_online());
    seq_printf(out, "\n");
    return 0;
}

static int show_memory(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%llu\n",
               (unsigned long long)(page_total_count() - page_free_count()) * PAGE_SIZE);
    return 0;
}

static int show_memory_stat(struct seq_buf *out, u64 arg)
{
    mm_show_cgroup_stat(out);
    return 0;
}

// ---- the files

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(text_ops, .show = show_text);
OPS(procs_ops, .show = show_procs);
OPS(threads_ops, .show = show_threads);
OPS(task_count_ops, .show = show_task_count);
OPS(cpu_stat_ops, .show = show_cpu_stat);
OPS(cpus_ops, .show = show_cpus);
OPS(memory_ops, .show = show_memory);
OPS(memory_stat_ops, .show = show_memory_stat);
#define TEXT(name, text) GEN_FILE_ARG(name, 0444, &text_ops, text)

static const struct gen_entry entries[] = {
    TEXT("cgroup.controllers", "cpuset cpu memory pids\n"),
    TEXT("cgroup.events", "populated 1\nfrozen 0\n"),
    TEXT("cgroup.freeze", "0\n"),
    TEXT("cgroup.max.depth", "0\n"),
    TEXT("cgroup.max.descendants", "0\n"),
    GEN_FILE("cgroup.procs", 0444, &procs_ops),
    TEXT("cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n"),
    TEXT("cgroup.subtree_control", ""),
    GEN_FILE("cgroup.threads", 0444, &threads_ops),
    TEXT("cgroup.type", "domain\n"),
    TEXT("cpu.max", "max 100000\n"),
    GEN_FILE("cpu.stat", 0444, &cpu_stat_ops),
    TEXT("cpu.weight", "100\n"),
    TEXT("cpu.weight.nice", "0\n"),
    TEXT("cpuset.cpus", "\n"),
    GEN_FILE("cpuset.cpus.effective", 0444, &cpus_ops),
    TEXT("cpuset.mems", "\n"),
    TEXT("cpuset.mems.effective", "0\n"),
    GEN_FILE("memory.current", 0444, &memory_ops),
    TEXT("memory.high", "max\n"),
    TEXT("memory.low", "0\n"),
    TEXT("memory.max", "max\n"),
    TEXT("memory.min", "0\n"),
    GEN_FILE("memory.stat", 0444, &memory_stat_ops),
    TEXT("memory.swap.current", "0\n"),
    TEXT("memory.swap.max", "max\n"),
    GEN_FILE("pids.current", 0444, &task_count_ops),
    TEXT("pids.max", "max\n"),
    GEN_END,
};
static const struct gen_entry root = {.mode = S_IFDIR | 0555, .children = entries};

// /proc/cgroups, which the JVM asks first whether there is anything to look for.
static const char controllers_text[] =
    "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\ncpu\t0\t1\t1\n"
    "cpuacct\t0\t1\t1\nmemory\t0\t1\t1\npids\t0\t1\t1\n";

void cgroup_init(void)
{
    static const struct gen_entry controllers = TEXT("cgroups", controllers_text);
    int err = gen_mount("/sys/fs/cgroup", "cgroup2", CGROUP2_MAGIC,
                        SB_RDONLY | SB_NOSUID | SB_NODEV | SB_NOEXEC | SB_NO_CREATE, &root);
    if (!err)
        err = gen_create("/proc/cgroups", &controllers);
    if (err)
        log_warn("cannot show the control group: error %d", -err);
}

static int show_path(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "0::/\n");
    return 0;
}

const struct gen_ops proc_pid_cgroup_ops = {.show = show_path};
