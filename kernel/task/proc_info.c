// SPDX-License-Identifier: BSD-2-Clause
// proc_info.c: what /proc and the terminal ask about processes and only task/ can do under its locks.
#include "task/task_internal.h"

s32 process_parent_pid(struct process *p)
{
    spin_lock(&tree_lock);
    s32 pid = p->parent ? p->parent->pid : 0;
    spin_unlock(&tree_lock);
    return pid;
}
