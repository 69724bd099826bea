// SPDX-License-Identifier: BSD-2-Clause
// pidfd.c: a process as a file descriptor (pidfd_open(2), CLONE_PIDFD): pollable until it ends, and a
// handle for signals, waiting and taking its descriptors. task/ has the calls that open one and signal.
#include "fs/special_internal.h"

static u32 pidfd_poll(struct file *f, struct poll_table *pt)
{
    struct process *p = f->data;
    poll_wait(pt, f, &p->exit_wait);
    return atomic_load(&p->is_zombie) ? POLLIN | POLLRDNORM : 0;
}

static void pidfd_show(struct file *f, struct seq_buf *out)
{
    struct process *p = f->data;
    struct process *found = process_find(p->pid);
    s32 pid = found == p ? p->pid : -1;  // reaped: the number may be another's by now
    if (found)
        process_put(found);
    seq_printf(out, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

static void pidfd_release(struct file *f) { process_put(f->data); }

static const struct file_ops pidfd_ops = {
    .name = "anon_inode:[pidfd]",
    .poll = pidfd_poll,
    .show_fdinfo = pidfd_show,
    .release = pidfd_release,
};

int pidfd_install(struct process *p, unsigned flags)
{
    process_get(p);
    return anon_fd(&pidfd_ops, p, O_RDWR | O_CLOEXEC | (flags & O_NONBLOCK));
}

struct process *pidfd_get_process(int fd, unsigned *flags)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return ERR_PTR(-EBADF);
    struct process *p = ERR_PTR(-EBADF);
    if (f.file->ops == &pidfd_ops) {
        p = f.file->data;
        process_get(p);
        if (flags)
            *flags = f.file->flags & O_NONBLOCK;
    }
    fd_put(f);
    return p;
}

// May the caller look into p as a debugger may (ptrace(2), "Ptrace access mode checking")?
static bool may_access(const struct process *p)
{
    const struct process *self = current->process;
    if (p == self || capable(CAP_SYS_PTRACE))
        return true;
    return p->dumpable && self->uid == p->uid && self->uid == p->euid && self->uid == p->suid &&
           self->gid == p->gid && self->gid == p->egid && self->gid == p->sgid;
}

struct mm *pidfd_get_mm(int pidfd)
{
    struct mm *mm = current_mm();
    if (pidfd == PIDFD_SELF_THREAD || pidfd == PIDFD_SELF_THREAD_GROUP) {
        mm_get(mm);
        return mm;
    }
    struct process *p = pidfd_get_process(pidfd, NULL);
    if (IS_ERR(p))
        return ERR_PTR(PTR_ERR(p));
    spin_lock(&p->lock);
    mm = p->mm;
    if (!mm)
        mm = ERR_PTR(-ESRCH);
    else if (!may_access(p))
        mm = ERR_PTR(-EACCES);  // as mm_access() words it
    else
        mm_get(mm);
    spin_unlock(&p->lock);
    process_put(p);
    return mm;
}

long sys_pidfd_getfd(int pidfd, int target, unsigned flags)
{
    if (flags)
        return -EINVAL;
    struct process *p = pidfd_get_process(pidfd, NULL);
    if (IS_ERR(p))
        return PTR_ERR(p);
    long result = -EPERM;
    struct file *f = NULL;
    if (may_access(p)) {
        s32 tid = 0;
        struct thread *t = process_iterate_threads(p, &tid);
        struct file_table *files = t ? files_of_thread(t) : NULL;
        result = files ? -EBADF : -ESRCH;
        if (files) {
            f = files_get_file(files, target);
            files_put(files);
        }
        if (t)
            thread_put(t);
    }
    process_put(p);
    if (!f)
        return result;
    result = fd_new(f, O_CLOEXEC);
    if (result < 0)
        file_put(f);
    return result;
}
