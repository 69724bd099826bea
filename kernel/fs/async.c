// SPDX-License-Identifier: BSD-2-Clause
// async.c: signal-driven input and output: O_ASYNC, SIGIO (fcntl(2), "Managing signals").
//
// A file that can tell of news without being asked has a queue of the open files with O_ASYNC set. Whoever has
// news calls async_notify beside wait_wake. Not every file can: as on Linux, O_ASYNC is then not kept.
//
// Lock order: queue->lock, then those of signal delivery.
#include "fs/vfs_internal.h"

#include "task/signal.h"

#define POLL_IN_CODE 1  // si_code of news of input, of output (sigaction(2))
#define POLL_OUT_CODE 2

void async_queue_init(struct async_queue *q)
{
    spin_init(&q->lock);
    list_init(&q->files);
}

// F_SETFL, FIOASYNC, and the end of a file. fd: what siginfo will name.
void async_set(struct file *f, int fd, bool on)
{
    struct async_queue *q = f->ops->async(f);
    spin_lock(&q->lock);
    if (on != !!(f->flags & O_ASYNC)) {
        f->flags ^= O_ASYNC;
        f->async_fd = fd;
        if (on)
            list_push_back(&q->files, &f->async_link);
        else
            list_remove(&f->async_link);
    }
    spin_unlock(&q->lock);
}

static void send_sigio(const struct file *f, u32 events)
{
    if (!f->owner_pid)
        return;
    bool named = f->owner_signal != 0;
    struct siginfo info = {.signo = named ? (int)f->owner_signal : SIGIO,
                           .code = !named            ? SI_KERNEL
                                   : events & POLLIN ? POLL_IN_CODE
                                                     : POLL_OUT_CODE};
    info.poll.band = events;
    info.poll.fd = f->async_fd;
    struct process *p = process_find(f->owner_pid < 0 ? -f->owner_pid : f->owner_pid);
    if (p) {
        signal_send_process(p, &info);
        process_put(p);
    }
}

void async_notify_slow(struct async_queue *q, u32 events)
{
    spin_lock(&q->lock);
    list_for_each_entry (struct file, f, &q->files, async_link) {
        if (f->fmode & (events & POLLIN ? FMODE_READ : FMODE_WRITE))
            send_sigio(f, events);
    }
    spin_unlock(&q->lock);
}
