// SPDX-License-Identifier: BSD-2-Clause
// groups.c: process identity: PIDs, process groups and sessions (credentials(7)).
#include "task/calls.h"
#include "task/task_internal.h"

long sys_getpid(void) { return current->process->pid; }

long sys_gettid(void) { return current->tid; }

long sys_getppid(void) { return READ_ONCE(current->process->parent)->pid; }

// The checks of setpgid(2) for target p, in Linux's order. Tree lock held.
static int may_set_group(struct process *self, struct process *p, s32 pgid)
{
    if (p != self) {
        if (p->parent != self)
            return -ESRCH;
        if (p->sid != self->sid)
            return -EPERM;
        if (p->has_execed)
            return -EACCES;
    }
    if (p->sid == p->pid)  // a session leader stays where it is
        return -EPERM;
    if (pgid != p->pid && !group_exists_locked(pgid, self->sid))
        return -EPERM;
    return 0;
}

// Is there a process of group pgid in the caller's session? => 0, -ESRCH: in none, -EPERM: in another
int process_group_check(s32 pgid)
{
    spin_lock(&tree_lock);
    int err = pgid <= 0 || !group_exists_locked(pgid, 0)          ? -ESRCH
              : !group_exists_locked(pgid, current->process->sid) ? -EPERM
                                                                  : 0;
    spin_unlock(&tree_lock);
    return err;
}

long sys_setpgid(int pid, int pgid)
{
    struct process *self = current->process;
    if (!pid)
        pid = self->pid;
    if (!pgid)
        pgid = pid;
    if (pgid < 0)
        return -EINVAL;
    spin_lock(&tree_lock);
    struct process *p = process_find_locked(pid);
    int err = p ? may_set_group(self, p, pgid) : -ESRCH;
    if (!err)
        p->pgid = pgid;
    spin_unlock(&tree_lock);
    return err;
}

long sys_getpgid(int pid)
{
    if (!pid)
        return current->process->pgid;
    spin_lock(&tree_lock);
    struct process *p = process_find_locked(pid);
    long result = p ? p->pgid : -ESRCH;
    spin_unlock(&tree_lock);
    return result;
}

long sys_getpgrp(void) { return current->process->pgid; }

long sys_setsid(void)
{
    struct process *p = current->process;
    long result = -EPERM;
    spin_lock(&tree_lock);
    if (!group_exists_locked(p->pid, 0)) {
        p->sid = p->pgid = p->pid;
        result = p->pid;
    }
    spin_unlock(&tree_lock);
    return result;
}

long sys_getsid(int pid)
{
    if (!pid)
        return current->process->sid;
    spin_lock(&tree_lock);
    struct process *p = process_find_locked(pid);
    long result = p ? p->sid : -ESRCH;
    spin_unlock(&tree_lock);
    return result;
}
