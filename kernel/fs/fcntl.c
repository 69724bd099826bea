// SPDX-License-Identifier: BSD-2-Clause
// fcntl.c: fcntl(2), and the ioctl(2) requests that every file answers.
#include "fs/calls.h"
#include "fs/pipe_internal.h"
#include "fs/vfs_internal.h"

enum fcntl_cmd {
    F_DUPFD = 0,
    F_GETFD = 1,
    F_SETFD = 2,
    F_GETFL = 3,
    F_SETFL = 4,
    F_GETLK = 5,
    F_SETLK = 6,
    F_SETLKW = 7,
    F_SETOWN = 8,
    F_GETOWN = 9,
    F_SETSIG = 10,
    F_GETSIG = 11,
    F_SETOWN_EX = 15,
    F_GETOWN_EX = 16,
    F_OFD_GETLK = 36,
    F_OFD_SETLK = 37,
    F_OFD_SETLKW = 38,
    F_SETLEASE = 1024,
    F_GETLEASE = 1025,
    F_NOTIFY = 1026,
    F_DUPFD_QUERY = 1027,
    F_CREATED_QUERY = 1028,
    F_DUPFD_CLOEXEC = 1030,
    F_SETPIPE_SZ = 1031,
    F_GETPIPE_SZ = 1032,
    F_ADD_SEALS = 1033,
    F_GET_SEALS = 1034,
};
#define FD_CLOEXEC 1
#define F_UNLCK 2
#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

struct owner_ex {
    s32 type;  // F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2
    s32 pid;
};

static long dup_from(struct file *f, unsigned long min, unsigned flags)
{
    if (fd_above_limit(min))
        return -EINVAL;
    int fd = fd_alloc_from((unsigned)min, flags);
    if (fd >= 0) {
        file_get(f);
        fd_install(fd, f);
    }
    return fd;
}

static long set_flags(int fd, struct file *f, unsigned flags)
{
    struct inode *inode = f->inode;
    if (inode && (inode->flags & I_APPEND_ONLY) && !(flags & O_APPEND) && (f->flags & O_APPEND))
        return -EPERM;
    if ((flags & O_NOATIME) && !(f->flags & O_NOATIME) && inode && !inode_owner_or_capable(inode))
        return -EPERM;
    // For a pipe O_DIRECT means packets.
    if ((flags & ~f->flags & O_DIRECT) && !f->ops->fallocate && !pipe_of(f))
        return -EINVAL;
    if (f->ops->async)
        async_set(f, fd, flags & O_ASYNC);
    f->flags = (f->flags & ~SETTABLE) | (flags & SETTABLE);
    return 0;
}

static long set_owner(struct file *f, int pid)
{
    if (pid == INT32_MIN)
        return -EINVAL;
    if (pid) {
        struct process *p = process_find(pid < 0 ? -pid : pid);
        if (!p)
            return -ESRCH;
        process_put(p);
    }
    f->owner_pid = pid;
    return 0;
}

static long set_owner_ex(struct file *f, uptr_t arg)
{
    struct owner_ex o;
    if (copy_from_user(&o, arg, sizeof(o)))
        return -EFAULT;
    if (o.type < 0 || o.type > 2)
        return -EINVAL;
    return set_owner(f, o.type == 2 ? -o.pid : o.pid);
}

static long get_owner_ex(struct file *f, uptr_t arg)
{
    struct owner_ex o = {.type = f->owner_pid < 0 ? 2 : 1,
                         .pid = f->owner_pid < 0 ? -f->owner_pid : f->owner_pid};
    return copy_to_user(arg, &o, sizeof(o));
}

static long dup_query(struct file *f, int other)
{
    struct fd g = fd_get_raw(other);
    long same = g.file ? g.file == f : -EBADF;
    fd_put(g);
    return same;
}

// Commands that an O_PATH descriptor does not answer.
static long fcntl_file(int fd, struct file *f, u32 cmd, unsigned long arg)
{
    switch (cmd) {
    case F_SETFL: return set_flags(fd, f, (unsigned)arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return locks_fcntl(fd, f, cmd, arg);
    case F_SETOWN: return set_owner(f, (int)arg);
    case F_GETOWN: return f->owner_pid;
    case F_SETOWN_EX: return set_owner_ex(f, arg);
    case F_GETOWN_EX: return get_owner_ex(f, arg);
    case F_SETSIG:
        if (arg > N_SIGNALS)
            return -EINVAL;
        f->owner_signal = (u32)arg;
        return 0;
    case F_GETSIG: return f->owner_signal;
    case F_GETLEASE: return F_UNLCK;
    case F_SETLEASE: return (int)arg == F_UNLCK ? -EAGAIN : -EINVAL;  // leases are for file servers
    case F_ADD_SEALS: return memfd_add_seals(f, (u32)arg);
    case F_GET_SEALS: return memfd_get_seals(f);
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ: return f->ops->fcntl ? f->ops->fcntl(f, cmd, arg) : -EBADF;
    default: return f->ops->fcntl ? f->ops->fcntl(f, cmd, arg) : -EINVAL;
    }
}

// Partial: leases and F_NOTIFY are refused with EINVAL.
long sys_fcntl(int fd, u32 cmd, unsigned long arg)
{
    struct fd f = fd_get_raw(fd);
    if (!f.file)
        return -EBADF;
    long ret;
    switch (cmd) {
    case F_DUPFD: ret = dup_from(f.file, arg, 0); break;
    case F_DUPFD_CLOEXEC: ret = dup_from(f.file, arg, O_CLOEXEC); break;
    case F_DUPFD_QUERY: ret = dup_query(f.file, (int)arg); break;
    case F_GETFD: ret = fd_get_cloexec(fd) ? FD_CLOEXEC : 0; break;
    case F_SETFD:
        fd_set_cloexec(fd, arg & FD_CLOEXEC);
        ret = 0;
        break;
    case F_GETFL: ret = f.file->flags; break;
    default: ret = f.file->fmode & FMODE_PATH ? -EBADF : fcntl_file(fd, f.file, cmd, arg);
    }
    fd_put(f);
    return ret;
}

// ------------------------------------------------------------------------------- ioctl

#define FIGETBSZ 2
#define FIONREAD 0x541b
#define FIONBIO 0x5421
#define FIONCLEX 0x5450
#define FIOCLEX 0x5451
#define FIOASYNC 0x5452
#define FIOQSIZE 0x5460

static long set_one_flag(int fd, struct file *f, uptr_t arg, unsigned flag)
{
    u32 on;
    if (get_user_u32(&on, arg))
        return -EFAULT;
    if (flag == O_ASYNC && !f->ops->async)
        return on ? -ENOTTY : 0;
    return set_flags(fd, f, on ? f->flags | flag : f->flags & ~flag);
}

static long ioctl_regular(struct file *f, u32 cmd, uptr_t arg)
{
    if (cmd == FIONREAD)
        return put_user_u32(arg, (u32)(inode_size(f->inode) - (u64)f->pos));
    if (cmd == FIGETBSZ)
        return put_user_u32(arg, PAGE_SIZE);
    if (cmd == FIOQSIZE)
        return put_user_u64(arg, inode_size(f->inode));
    return -ENOTTY;
}

long sys_ioctl(int fd, u32 cmd, uptr_t arg)
{
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long ret;
    switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
        fd_set_cloexec(fd, cmd == FIOCLEX);
        ret = 0;
        break;
    case FIONBIO: ret = set_one_flag(fd, f.file, arg, O_NONBLOCK); break;
    case FIOASYNC: ret = set_one_flag(fd, f.file, arg, O_ASYNC); break;
    default:
        ret = f.file->ops->ioctl ? f.file->ops->ioctl(f.file, cmd, arg) : -ENOTTY;
        if (ret == -ENOTTY && f.file->inode && S_ISREG(f.file->inode->mode))
            ret = ioctl_regular(f.file, cmd, arg);
    }
    fd_put(f);
    return ret;
}
