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

// The eight-byte read of a timerfd: one aligned store in the usual case.
static inline ssize_t uio_put_u64(struct uio *u, u64 value)
{
    if (unlikely(u->kernel || u->len < sizeof(value) || (u->base & 7)))
        return uio_copy_to(u, &value, sizeof(value));
    if (put_user_u64(u->base, value))
        return -EFAULT;
    uio_advance(u, sizeof(value));
    return sizeof(value);
}

// Eight bytes at any address below USER_END. => 0, -EFAULT
static inline int put_user_bytes8(uptr_t to, u64 value)
{
    return likely(!(to & 7)) ? put_user_u64(to, value) : copy_to_user(to, &value, sizeof(value));
}

static inline int get_user_bytes8(u64 *value, uptr_t from)
{
    return likely(!(from & 7)) ? get_user_u64(value, from)
                               : copy_from_user(value, from, sizeof(*value));
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

// eventfd.c: the event file of a descriptor, referenced. => ERR_PTR(-EBADF, -EINVAL: another kind of file)
struct file *eventfd_get_file(int fd);
void eventfd_signal(struct file *f);  // adds one, or nothing where no more fits; does not sleep

// tty.c
extern const struct file_ops tty_file_ops;
void tty_init(void);

// Mounted by special_init (proc.c).
void dev_init(void);
void proc_init(void);
void sysfs_init(void);
