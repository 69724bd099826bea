// SPDX-License-Identifier: BSD-2-Clause
// special_internal.h: what the special files (pipe, eventfd, epoll, tty, /proc, ...) share.
#pragma once

#include <string.h>

#include "core/log.h"
#include "core/seq_buf.h"
#include "core/time.h"
#include "fs/vfs.h"
#include "task/thread.h"

#define FIONREAD 0x541b

// The eight-byte reads and writes of eventfd and timerfd: one aligned store in the usual case.
static inline ssize_t uio_put_u64(struct uio *u, u64 value)
{
    if (unlikely(u->kernel || u->len < sizeof(value) || (u->base & 7)))
        return uio_copy_to(u, &value, sizeof(value));
    if (put_user_u64(u->base, value))
        return -EFAULT;
    uio_advance(u, sizeof(value));
    return sizeof(value);
}

static inline ssize_t uio_get_u64(struct uio *u, u64 *value)
{
    if (unlikely(u->kernel || u->len < sizeof(*value) || (u->base & 7))) {
        ssize_t n = uio_copy_from(u, value, sizeof(*value));
        return n >= 0 && n < (ssize_t)sizeof(*value) ? -EFAULT : n;
    }
    if (get_user_u64(value, u->base))
        return -EFAULT;
    uio_advance(u, sizeof(*value));
    return sizeof(*value);
}

// A nameless stream file that owns data (released by ops->release, on error here too), with a
// descriptor. flags: O_* with O_CLOEXEC. => descriptor, or -ENOMEM, -ENFILE, -EMFILE
int anon_fd(const struct file_ops *ops, void *data, unsigned flags);

// poll.c: deadlines on ktime_ns(): NEVER waits for ever, 0 does not wait.
u64 deadline_from_ms(int timeout_ms);
int deadline_from_user(uptr_t timespec, u64 *deadline_ns);  // 0: none given; -EFAULT, -EINVAL
// poll.c: user struct timespec
struct timespec_user {
    s64 sec, nsec;
};

// tty.c
extern const struct file_ops tty_file_ops;
void tty_init(void);

// Mounted by special_init (proc.c).
void dev_init(void);
void proc_init(void);
void sysfs_init(void);
