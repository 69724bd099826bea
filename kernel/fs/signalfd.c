// SPDX-License-Identifier: BSD-2-Clause
// signalfd.c: signalfd(2). Signals of the set that are blocked are read as records instead of being
// delivered. Who reads or polls sees its own pending signals and those of its process, so the file
// holds nothing but the set; task/ wakes process->signal_wait whenever a signal becomes pending.
#include "fs/special_internal.h"

struct signalfd_siginfo {  // user ABI, 128 bytes
    u32 signo;
    s32 error, code;
    u32 pid, uid;
    s32 fd;
    u32 tid, band, overrun, trapno;
    s32 status, value_int;
    u64 ptr, utime, stime, addr;
    u16 addr_lsb, pad2;
    s32 syscall;
    u64 call_addr;
    u32 arch;
    u8 pad[28];
};
_Static_assert(sizeof(struct signalfd_siginfo) == 128, "signalfd_siginfo is 128 bytes");

// The parts that a kind of signal has (sigaction(2), "The siginfo_t argument").
static void fill_record(struct signalfd_siginfo *out, const struct siginfo *in)
{
    memset(out, 0, sizeof(*out));
    out->signo = (u32)in->signo;
    out->error = in->error;
    out->code = in->code;
    if (in->code == SI_TIMER) {
        out->tid = (u32)in->timer.tid;
        out->overrun = (u32)in->timer.overrun;
        out->ptr = in->timer.value;
        out->value_int = (s32)in->timer.value;
    } else if (in->code <= 0) {  // kill, tgkill, sigqueue
        out->pid = (u32)in->rt.pid;
        out->uid = in->rt.uid;
        out->ptr = in->rt.value;
        out->value_int = (s32)in->rt.value;
    } else if (in->signo == SIGCHLD) {
        out->pid = (u32)in->child.pid;
        out->uid = in->child.uid;
        out->status = in->child.status;
        out->utime = (u64)in->child.utime;
        out->stime = (u64)in->child.stime;
    } else if (in->signo == SIGIO) {
        out->band = (u32)in->poll.band;
        out->fd = in->poll.fd;
    } else if (in->signo == SIGSYS) {
        out->call_addr = in->sys.call_addr;
        out->syscall = in->sys.syscall;
        out->arch = in->sys.arch;
    } else if (in->code != SI_KERNEL) {
        out->addr = in->fault.addr;
        out->addr_lsb = (u16)in->fault.addr_lsb;
    }
}

// A watch (epoll) stays on the queue of the process that added it, perhaps longer than that process
// lives: so the file keeps every process whose queue it ever named.
struct kept_process {
    struct kept_process *next;
    struct process *process;
};

struct signalfd {
    u64 set;                    // atomic
    struct kept_process *kept;  // [file's pos_lock]
};

static u64 signalfd_set(const struct file *f)
{
    return atomic_load(&((struct signalfd *)f->data)->set);
}

// => false: no memory
static bool keep_process(struct file *f, struct process *p)
{
    struct signalfd *s = f->data;
    bool ok = true;
    mutex_lock(&f->pos_lock);
    struct kept_process *k = s->kept;
    while (k && k->process != p)
        k = k->next;
    if (!k) {
        k = kmalloc(sizeof(*k));
        ok = k != NULL;
        if (ok) {
            process_get(p);
            *k = (struct kept_process){s->kept, p};
            s->kept = k;
        }
    }
    mutex_unlock(&f->pos_lock);
    return ok;
}

static int signalfd_wait(struct file *f, struct siginfo *info)
{
    struct thread *t = current;
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&t->process->signal_wait, &w, WAIT_INTERRUPTIBLE);
        if (signal_dequeue(signalfd_set(f), info))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(&t->process->signal_wait, &w);
    return err;
}

static ssize_t signalfd_read(struct file *f, struct uio *to, loff_t *pos)
{
    ssize_t done = 0;
    if (uio_remaining(to) < sizeof(struct signalfd_siginfo))
        return -EINVAL;
    while (uio_remaining(to) >= sizeof(struct signalfd_siginfo)) {
        struct siginfo info;
        struct signalfd_siginfo record;
        if (!signal_dequeue(signalfd_set(f), &info)) {
            if (done)
                break;
            if (f->flags & O_NONBLOCK)
                return -EAGAIN;
            int err = signalfd_wait(f, &info);
            if (err)
                return err;
        }
        fill_record(&record, &info);
        ssize_t n = uio_copy_to(to, &record, sizeof(record));
        if (n < 0)
            return done ? done : n;
        done += n;
    }
    return done;
}

static u32 signalfd_poll(struct file *f, struct poll_table *pt)
{
    struct process *p = current->process;
    if (!p)
        return 0;  // the thread of aio.c asks: it has no signals
    if (pt && pt->add && keep_process(f, p))
        poll_wait(pt, f, &p->signal_wait);
    return signal_pending_set() & signalfd_set(f) ? POLLIN | POLLRDNORM : 0;
}

static void signalfd_show(struct file *f, struct seq_buf *out)
{
    seq_printf(out, "sigmask:\t%016llx\n", (unsigned long long)signalfd_set(f));
}

static void signalfd_release(struct file *f)
{
    struct signalfd *s = f->data;
    while (s->kept) {
        struct kept_process *k = s->kept;
        s->kept = k->next;
        process_put(k->process);
        kfree(k);
    }
    kfree(s);
}

static const struct file_ops signalfd_ops = {
    .name = "anon_inode:[signalfd]",
    .read = signalfd_read,
    .poll = signalfd_poll,
    .show_fdinfo = signalfd_show,
    .release = signalfd_release,
};

static long signalfd_change(int fd, u64 set)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    bool ours = f.file->ops == &signalfd_ops;
    if (ours) {
        atomic_store(&((struct signalfd *)f.file->data)->set, set);
        wait_wake(&current->process->signal_wait, INT32_MAX, 0);
    }
    fd_put(f);
    return ours ? fd : -EINVAL;
}

long sys_signalfd4(int fd, uptr_t sigset, size_t size, unsigned flags)
{
    u64 set;
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) || size != sizeof(set))
        return -EINVAL;
    if (copy_from_user(&set, sigset, sizeof(set)))
        return -EFAULT;
    set &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
    if (fd != -1)
        return signalfd_change(fd, set);
    struct signalfd *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->set = set;
    return anon_fd(&signalfd_ops, s, O_RDWR | flags);
}

long sys_signalfd(int fd, uptr_t sigset, size_t size) { return sys_signalfd4(fd, sigset, size, 0); }
