// SPDX-License-Identifier: BSD-2-Clause
// proc_internal.h: shared by proc.c (/proc), proc_pid.c (/proc/PID), proc_sys.c (/proc/sys), sysfs.c.
#pragma once

#include <limits.h>

#include "fs/special_internal.h"

extern const struct gen_dir_ops proc_root_ops;  // proc_pid.c: the PIDs
int proc_readlink_self(u64 arg, char *buf, size_t size);
int proc_readlink_thread_self(u64 arg, char *buf, size_t size);
extern const struct gen_entry proc_sys_entries[];
// full.c: more names in /proc/PID, /proc/PID/task/TID, /proc/sys, /proc/sys/fs and /sys/class, and where they come from.
extern const struct gen_dir_ops proc_pid_more __weak, proc_sys_more __weak, proc_sys_fs_more __weak,
    sys_class_more __weak;
extern const struct gen_ops proc_pid_cgroup_ops;
extern const struct gen_entry aio_sysctl_entries[];
bool parse_u64(const char *data, u64 *value);
int show_u64(struct seq_buf *out, u64 arg);    // arg: its address
extern const struct gen_ops hugetlb_pool_ops;  // nr_hugepages (proc_sys.c)  // proc_sys.c

// kernel/net. In the kernel without a network the name is NULL and ends its table.
extern const char proc_net_name[] __weak;
extern const struct gen_entry proc_net_entries[], proc_sys_net_entries[];
extern const struct gen_dir_ops sys_net_ops;

// "0-3,5" without a newline (proc.c).
void seq_cpu_list(struct seq_buf *out, cpumask_t mask);

// User and kernel time of everything that has run, for dividing a CPU's busy time. Processes that have
// been reaped are in their parents' sums, and in the end in PID 1's.
static inline void proc_sum_times(u64 *user, u64 *system)
{
    s32 pid = 1;
    struct process *p;
    *user = *system = 0;
    for (; (p = process_iterate(&pid)); pid++) {
        u64 u, s;
        process_times(p, &u, &s);
        *user += u + p->child_user_ns;
        *system += s + p->child_system_ns;
        process_put(p);
    }
}
