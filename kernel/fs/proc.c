// SPDX-License-Identifier: BSD-2-Clause
// proc.c: the files of /proc that are about the whole machine (proc(5)). Names are rows of a static
// table; a value is looked up when somebody reads it and nothing is kept.
#include <stdio.h>

#include "core/irq.h"
#include "core/platform.h"
#include "core/uts.h"
#include "fs/proc_internal.h"

#define PROC_MAGIC 0x9fa0
#define USER_HZ 100

static unsigned long long ticks(u64 ns) { return ns / (NSEC_PER_SEC / USER_HZ); }

void seq_cpu_list(struct seq_buf *out, cpumask_t mask)
{
    const char *comma = "";
    for (u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!(mask & BIT(cpu)))
            continue;
        u32 last = cpu;
        while (last + 1 < MAX_CPUS && (mask & BIT(last + 1)))
            last++;
        if (last == cpu)
            seq_printf(out, "%s%u", comma, cpu);
        else
            seq_printf(out, "%s%u-%u", comma, cpu, last);
        comma = ",";
        cpu = last;
    }
}

// ---- memory: the text is mm's own

static int show_meminfo(struct seq_buf *out, u64 arg)
{
    mm_show_meminfo(out);
    return 0;
}
static int show_vmstat(struct seq_buf *out, u64 arg)
{
    mm_show_vmstat(out);
    return 0;
}
static int show_buddyinfo(struct seq_buf *out, u64 arg)
{
    mm_show_buddyinfo(out);
    return 0;
}

// ---- processors and time

static int show_cpuinfo(struct seq_buf *out, u64 arg)
{
    char *buf = kmalloc(PAGE_SIZE);
    if (!buf)
        return -ENOMEM;
    for (u32 cpu = 0; cpu < n_cpus; cpu++)
        seq_write(out, buf, arch_cpuinfo(buf, PAGE_SIZE, cpu));
    kfree(buf);
    return 0;
}

struct cpu_times {
    u64 user, system, idle;
};

// The scheduler measures each CPU's idle time; what is left was busy, and is divided into user and
// kernel time in the proportion that all threads together show.
static struct cpu_times times_of_cpu(u32 cpu, u64 now, u64 user, u64 system)
{
    struct cpu_times t = {.idle = MIN(cpu_idle_ns(cpu), now)};
    u64 busy = now - t.idle;
    u64 both = (user + system) >> 10;
    t.user = both ? (busy >> 10) * (user >> 10) / both << 10 : 0;
    t.user = MIN(t.user, busy);
    t.system = busy - t.user;
    return t;
}

static void show_cpu_line(struct seq_buf *out, const char *name, const struct cpu_times *t)
{
    seq_printf(out, "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name, ticks(t->user), ticks(t->system),
               ticks(t->idle));
}

static void show_interrupt_counts(struct seq_buf *out)
{
    u64 total = 0;
    for (unsigned line = 0; line < IRQ_LINES; line++)
        total += irq_count(line);
    seq_printf(out, "intr %llu", (unsigned long long)total);
    for (unsigned line = 0; line < IRQ_LINES; line++)
        seq_printf(out, " %llu", (unsigned long long)irq_count(line));
    seq_printf(out, "\n");
}

static int show_stat(struct seq_buf *out, u64 arg)
{
    u64 user, system, now = ktime_ns();
    struct cpu_times all = {0};
    struct sched_load load;
    char name[12];
    proc_sum_times(&user, &system);
    for (u32 cpu = 0; cpu < n_cpus; cpu++) {
        struct cpu_times t = times_of_cpu(cpu, now, user, system);
        all.user += t.user;
        all.system += t.system;
        all.idle += t.idle;
    }
    show_cpu_line(out, "cpu ", &all);
    for (u32 cpu = 0; cpu < n_cpus; cpu++) {
        struct cpu_times t = times_of_cpu(cpu, now, user, system);
        snprintf(name, sizeof(name), "cpu%u", cpu);
        show_cpu_line(out, name, &t);
    }
    show_interrupt_counts(out);
    sched_load(&load);
    seq_printf(out, "ctxt %llu\nbtime %llu\nprocesses %llu\nprocs_running %u\nprocs_blocked 0\n",
               (unsigned long long)load.n_switches,
               (unsigned long long)((ktime_real_ns() - now) / NSEC_PER_SEC),
               (unsigned long long)load.n_forks, load.n_running);
    seq_printf(out, "softirq 0 0 0 0 0 0 0 0 0 0 0\n");
    return 0;
}

static int show_uptime(struct seq_buf *out, u64 arg)
{
    u64 up = ktime_ns() + vdso_data->boot_offset, idle = 0;
    for (u32 cpu = 0; cpu < n_cpus; cpu++)
        idle += cpu_idle_ns(cpu);
    seq_printf(out, "%llu.%02u %llu.%02u\n", (unsigned long long)(up / NSEC_PER_SEC),
               (u32)(up % NSEC_PER_SEC / 10000000), (unsigned long long)(idle / NSEC_PER_SEC),
               (u32)(idle % NSEC_PER_SEC / 10000000));
    return 0;
}

static void show_load(struct seq_buf *out, u64 load)
{
    load += 1024 / 100;  // rounds to the nearest hundredth: half of 2048 / 100
    seq_printf(out, "%llu.%02llu ", (unsigned long long)(load >> 11),
               (unsigned long long)((load & 2047) * 100 >> 11));
}

static int show_loadavg(struct seq_buf *out, u64 arg)
{
    struct sched_load load;
    sched_load(&load);
    show_load(out, load.load_1);
    show_load(out, load.load_5);
    show_load(out, load.load_15);
    seq_printf(out, "%u/%u %d\n", load.n_running, load.n_threads, current->process->pid);
    return 0;
}

static int show_interrupts(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "           ");
    for (u32 cpu = 0; cpu < n_cpus; cpu++)
        seq_printf(out, "CPU%-8u", cpu);
    seq_printf(out, "\n");
    for (unsigned line = 0; line < IRQ_LINES; line++) {
        if (!irq_count(line))
            continue;
        // Every line is routed to the boot CPU.
        seq_printf(out, "%3u: %10llu", line, (unsigned long long)irq_count(line));
        for (u32 cpu = 1; cpu < n_cpus; cpu++)
            seq_printf(out, " %10u", 0u);
        seq_printf(out, "   platform\n");
    }
    return 0;
}

// ---- the kernel

static int show_version(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s version %s (lethe@lethe) (gcc %s) %s\n", UTS_SYSNAME, UTS_RELEASE,
               __VERSION__, UTS_VERSION);
    return 0;
}

static int show_cmdline(struct seq_buf *out, u64 arg)
{
    seq_printf(out, "%s\n", boot_info.cmdline ? boot_info.cmdline : "");
    return 0;
}

static int show_filesystems(struct seq_buf *out, u64 arg)
{
    filesystems_show(out);
    return 0;
}

static int show_locks(struct seq_buf *out, u64 arg)
{
    locks_show(out);
    return 0;
}

static int show_fixed(struct seq_buf *out, u64 arg)
{
    const char *text = (const char *)(uintptr_t)arg;
    seq_write(out, text, strlen(text));
    return 0;
}

static const char devices_text[] =
    "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n";
static const char swaps_text[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
static const char partitions_text[] = "major minor  #blocks  name\n\n";

// ---- the table

#define OPS(name, ...) static const struct gen_ops name = {__VA_ARGS__}
OPS(buddyinfo_ops, .show = show_buddyinfo);
OPS(cmdline_ops, .show = show_cmdline);
OPS(cpuinfo_ops, .show = show_cpuinfo);
OPS(filesystems_ops, .show = show_filesystems);
OPS(fixed_ops, .show = show_fixed);
OPS(interrupts_ops, .show = show_interrupts);
OPS(loadavg_ops, .show = show_loadavg);
OPS(locks_ops, .show = show_locks);
OPS(meminfo_ops, .show = show_meminfo);
OPS(stat_ops, .show = show_stat);
OPS(uptime_ops, .show = show_uptime);
OPS(version_ops, .show = show_version);
OPS(vmstat_ops, .show = show_vmstat);
OPS(self_ops, .readlink = proc_readlink_self);
OPS(thread_self_ops, .readlink = proc_readlink_thread_self);

static const struct gen_entry proc_entries[] = {
    GEN_FILE("buddyinfo", 0444, &buddyinfo_ops),
    GEN_FILE("cmdline", 0444, &cmdline_ops),
    GEN_FILE("cpuinfo", 0444, &cpuinfo_ops),
    GEN_FILE_ARG("devices", 0444, &fixed_ops, devices_text),
    GEN_FILE_ARG("diskstats", 0444, &fixed_ops, ""),
    GEN_FILE("filesystems", 0444, &filesystems_ops),
    GEN_FILE("interrupts", 0444, &interrupts_ops),
    GEN_FILE("loadavg", 0444, &loadavg_ops),
    GEN_FILE("locks", 0444, &locks_ops),
    GEN_FILE("meminfo", 0444, &meminfo_ops),
    GEN_LINK("mounts", "self/mounts"),
    GEN_FILE_ARG("partitions", 0444, &fixed_ops, partitions_text),
    GEN_LINK_OPS("self", &self_ops),
    GEN_FILE("stat", 0444, &stat_ops),
    GEN_FILE_ARG("swaps", 0444, &fixed_ops, swaps_text),
    GEN_DYN("sys", 0555, proc_sys_entries, &proc_sys_more),
    GEN_LINK_OPS("thread-self", &thread_self_ops),
    GEN_FILE("uptime", 0444, &uptime_ops),
    GEN_FILE("version", 0444, &version_ops),
    GEN_FILE("vmstat", 0444, &vmstat_ops),
    GEN_LINK(proc_net_name, "self/net"),
    GEN_END,
};
static const struct gen_entry proc_root = {
    .mode = S_IFDIR | 0555,
    .children = proc_entries,
    .dir = &proc_root_ops,
};

void proc_init(void)
{
    if (gen_mount("/proc", "proc", PROC_MAGIC, SB_NOSUID | SB_NODEV | SB_NOEXEC | SB_NO_CREATE,
                  &proc_root))
        noboot("out of memory for /proc");
}

// => After vfs_init: /dev hides what lay there, so /dev/shm comes after it (vfs_init_late).
void special_init(void)
{
    dev_init();
    proc_init();
    sysfs_init();
}
