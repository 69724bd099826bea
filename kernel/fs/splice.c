// SPDX-License-Identifier: BSD-2-Clause
// splice.c: splice(2), tee(2), vmsplice(2).
//
// Between two pipes the slots themselves move (splice) or are shared (tee): no byte is copied. Between a
// pipe and a file the bytes are copied once, through the file's own read and write on pages of the pipe.
// The pipe's mutex is never held over a file operation that may sleep for long, except on the one slot
// being worked on, which other users of the pipe cannot pass anyway.
#include "fs/pipe_internal.h"

#define SPLICE_F_MOVE 1u
#define SPLICE_F_NONBLOCK 2u
#define SPLICE_F_MORE 4u
#define SPLICE_F_GIFT 8u
#define SPLICE_F_ALL 15u

static bool dont_wait(const struct file *f, unsigned flags)
{
    return (flags & SPLICE_F_NONBLOCK) || (f->flags & O_NONBLOCK);
}

// ---- waiting for one side, mutex held

// => 1 something to read, 0 end of file, -EAGAIN, -ERESTARTSYS
static int need_data(struct pipe *p, bool nonblock)
{
    while (pipe_empty(p)) {
        if (!p->writers)
            return 0;
        if (nonblock)
            return -EAGAIN;
        int err = pipe_wait_readable(p);
        if (err)
            return err;
    }
    return 1;
}

// => 1 room, -EPIPE (with SIGPIPE), -EAGAIN, -ERESTARTSYS
static int need_room(struct pipe *p, bool nonblock)
{
    for (;;) {
        if (!p->readers) {
            pipe_raise_sigpipe();
            return -EPIPE;
        }
        if (!pipe_full(p))
            return 1;
        if (nonblock)
            return -EAGAIN;
        int err = pipe_wait_writable(p);
        if (err)
            return err;
    }
}

// ---- pipe to pipe

static void lock_both(struct pipe *a, struct pipe *b)
{
    mutex_lock(a < b ? &a->mutex : &b->mutex);
    mutex_lock(a < b ? &b->mutex : &a->mutex);
}

static void unlock_both(struct pipe *a, struct pipe *b)
{
    mutex_unlock(&a->mutex);
    mutex_unlock(&b->mutex);
}

// Waits, holding neither afterwards, until in has data and out has room. => as need_*, 1 when both
static int wait_both(struct pipe *in, struct pipe *out, bool nonblock)
{
    mutex_lock(&in->mutex);
    int ready = need_data(in, nonblock);
    mutex_unlock(&in->mutex);
    if (ready <= 0)
        return ready;
    mutex_lock(&out->mutex);
    ready = need_room(out, nonblock);
    mutex_unlock(&out->mutex);
    return ready;
}

// Moves or shares slots until len bytes, the data or the room is used up. => bytes
static size_t transfer_slots(struct pipe *in, struct pipe *out, size_t len, bool share)
{
    size_t total = 0;
    u32 at = in->tail;
    while (total < len && at != in->head && !pipe_full(out)) {
        struct pipe_buf *buf = &in->bufs[at & (in->n_slots - 1)];
        u32 n = (u32)MIN((size_t)buf->len, len - total);
        // A page that two slots show must not be written to any more.
        buf->flags &= ~(u32)PIPE_BUF_MERGE;
        page_get(buf->page);
        pipe_push(out, buf->page, buf->offset, n, buf->flags);
        total += n;
        if (share) {
            at++;
            continue;
        }
        buf->offset += n;
        buf->len -= n;
        if (buf->len == 0) {
            pipe_pop(in);
            at = in->tail;
        }
    }
    return total;
}

static long pipe_to_pipe(struct pipe *in, struct pipe *out, size_t len, bool share, bool nonblock)
{
    if (in == out)
        return -EINVAL;
    for (;;) {
        int ready = wait_both(in, out, nonblock);
        if (ready <= 0)
            return ready;
        lock_both(in, out);
        size_t n = transfer_slots(in, out, len, share);
        unlock_both(in, out);
        if (n == 0)
            continue;  // somebody was faster
        if (!share)
            pipe_wake_writers(in);
        pipe_wake_readers(out);
        return (long)n;
    }
}

// ---- file to pipe, pipe to file

static long file_to_pipe(struct file *in, loff_t *pos, struct pipe *out, size_t len, bool nonblock)
{
    long total = 0;
    if (!in->ops->read)
        return -EINVAL;
    mutex_lock(&out->mutex);
    while ((size_t)total < len) {
        int ready = need_room(out, nonblock || total);
        if (ready <= 0) {
            total = total ? total : ready;
            break;
        }
        struct page *page = pipe_page_get(out);
        if (!page) {
            total = total ? total : -ENOMEM;
            break;
        }
        // The read may wait for ever (a socket): the pipe stays usable meanwhile.
        mutex_unlock(&out->mutex);
        struct uio u;
        size_t want = MIN(PAGE_SIZE, len - (size_t)total);
        uio_init_kernel(&u, page_address(page), want);
        ssize_t n = in->ops->read(in, &u, pos);
        mutex_lock(&out->mutex);
        if (n <= 0) {
            pipe_page_put(out, page);
            total = total ? total : n;
            break;
        }
        ready = need_room(out, false);  // another writer may have filled it
        if (ready <= 0) {
            pipe_page_put(out, page);
            total = total ? total : ready;
            break;
        }
        pipe_push(out, page, 0, (u32)n, PIPE_BUF_MERGE);
        total += n;
        if ((size_t)n < want)
            break;  // what there is now
    }
    mutex_unlock(&out->mutex);
    if (total > 0)
        pipe_wake_readers(out);
    return total;
}

static long pipe_to_file(struct pipe *in, struct file *out, loff_t *pos, size_t len, bool nonblock)
{
    long total = 0;
    if (!out->ops->write || (out->flags & O_APPEND))
        return -EINVAL;
    mutex_lock(&in->mutex);
    while ((size_t)total < len) {
        int ready = total && pipe_empty(in) ? 0 : need_data(in, nonblock);
        if (ready <= 0) {
            total = total ? total : ready;
            break;
        }
        struct pipe_buf *buf = pipe_first(in);
        struct uio u;
        uio_init_kernel(&u, (char *)page_address(buf->page) + buf->offset,
                        MIN((size_t)buf->len, len - (size_t)total));
        ssize_t n = out->ops->write(out, &u, pos);
        if (n <= 0) {
            total = total ? total : n;
            break;
        }
        total += n;
        buf->offset += (u32)n;
        buf->len -= (u32)n;
        if (buf->len == 0)
            pipe_pop(in);
    }
    mutex_unlock(&in->mutex);
    if (total > 0)
        pipe_wake_writers(in);
    return total;
}

// ---- the calls

// The offset to use: the caller's, or the file's own position under its lock.
static long with_position(struct file *f, uptr_t user_off, struct pipe *pipe, bool to_pipe,
                          size_t len, bool nonblock)
{
    loff_t pos = 0;
    bool own = !user_off && !(f->fmode & FMODE_STREAM);
    if (user_off) {
        if (f->fmode & FMODE_NO_SEEK)
            return -ESPIPE;
        if (copy_from_user(&pos, user_off, sizeof(pos)))
            return -EFAULT;
        if (pos < 0)
            return -EINVAL;
    }
    if (own)
        mutex_lock(&f->pos_lock);
    loff_t *at = own ? &f->pos : &pos;
    long n = to_pipe ? file_to_pipe(f, at, pipe, len, nonblock)
                     : pipe_to_file(pipe, f, at, len, nonblock);
    if (own)
        mutex_unlock(&f->pos_lock);
    if (user_off && n > 0 && copy_to_user(user_off, &pos, sizeof(pos)))
        return -EFAULT;
    return n;
}

static long splice_files(struct file *in, uptr_t off_in, struct file *out, uptr_t off_out,
                         size_t len, unsigned flags)
{
    struct pipe *from = pipe_of(in), *to = pipe_of(out);
    if (!(in->fmode & FMODE_READ) || !(out->fmode & FMODE_WRITE))
        return -EBADF;
    if (!from && !to)
        return -EINVAL;
    if ((from && off_in) || (to && off_out))
        return -ESPIPE;
    if (len == 0)
        return 0;
    len = MIN(len, (size_t)MAX_RW_COUNT);
    if (from && to)
        return pipe_to_pipe(from, to, len, false, dont_wait(in, flags) || dont_wait(out, flags));
    if (to)
        return with_position(in, off_in, to, true, len, dont_wait(out, flags));
    return with_position(out, off_out, from, false, len, dont_wait(in, flags));
}

long sys_splice(int fd_in, uptr_t off_in, int fd_out, uptr_t off_out, size_t len, unsigned flags)
{
    if (flags & ~SPLICE_F_ALL)
        return -EINVAL;
    struct fd in = fd_get(fd_in), out = fd_get(fd_out);
    long n = -EBADF;
    if (in.file && out.file)
        n = splice_files(in.file, off_in, out.file, off_out, len, flags);
    fd_put(in);
    fd_put(out);
    return n;
}

long sys_tee(int fd_in, int fd_out, size_t len, unsigned flags)
{
    if (flags & ~SPLICE_F_ALL)
        return -EINVAL;
    struct fd in = fd_get(fd_in), out = fd_get(fd_out);
    long n = -EBADF;
    if (in.file && out.file && (in.file->fmode & FMODE_READ) && (out.file->fmode & FMODE_WRITE)) {
        struct pipe *from = pipe_of(in.file), *to = pipe_of(out.file);
        n = -EINVAL;
        if (from && to)
            n = len == 0 ? 0
                         : pipe_to_pipe(from, to, len, true,
                                        dont_wait(in.file, flags) || dont_wait(out.file, flags));
    }
    fd_put(in);
    fd_put(out);
    return n;
}

// The pages stay the program's own: its bytes are copied, so it may write to them at once.
// Partial: copies; SPLICE_F_GIFT too.
long sys_vmsplice(int fd, uptr_t iov, size_t n_iov, unsigned flags)
{
    struct uio u;
    struct uio_vec vec;
    loff_t pos = 0;
    if (flags & ~SPLICE_F_ALL)
        return -EINVAL;
    struct fd f = fd_get(fd);
    if (!f.file)
        return -EBADF;
    long n = -EBADF;
    if (pipe_of(f.file)) {
        n = uio_init_vec(&u, &vec, iov, n_iov);
        if (n > 0) {
            if (flags & SPLICE_F_NONBLOCK)
                u.flags |= RWF_NOWAIT;
            n = f.file->fmode & FMODE_WRITE ? f.file->ops->write(f.file, &u, &pos)
                                            : f.file->ops->read(f.file, &u, &pos);
        }
        uio_vec_free(&vec);
    }
    fd_put(f);
    return n;
}
