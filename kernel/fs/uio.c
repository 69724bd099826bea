// SPDX-License-Identifier: BSD-2-Clause
// uio.c: moving bytes between the kernel and a list of user (or kernel) pieces.
#include "fs/uio.h"

#include <string.h>

#include "fs/vfs.h"

enum uio_op { UIO_TO, UIO_FROM, UIO_ZERO };

// One piece. => bytes moved, short when user memory ends
static inline size_t move_piece(struct uio *u, enum uio_op op, uptr_t at, void *kernel, size_t n)
{
    if (unlikely(u->kernel)) {
        if (op == UIO_TO)
            memcpy((void *)at, kernel, n);
        else if (op == UIO_FROM)
            memcpy(kernel, (void *)at, n);
        else
            memset((void *)at, 0, n);
        return n;
    }
    if (op == UIO_TO)
        return n - copy_to_user_partial(at, kernel, n);
    if (op == UIO_FROM)
        return n - copy_from_user_partial(kernel, at, n);
    return clear_user(at, n) ? 0 : n;
}

// Takes the next piece that is not empty.
void uio_next_piece(struct uio *u)
{
    while (u->n_next && u->len == 0) {
        u->base = u->next->base;
        u->len = u->next->len;
        u->next++;
        u->n_next--;
    }
}

static inline ssize_t uio_move(struct uio *u, enum uio_op op, char *kernel, size_t len)
{
    size_t done = 0;
    if (len > u->remaining)
        len = u->remaining;
    while (done < len) {
        size_t n = MIN(u->len, len - done);
        size_t moved = n ? move_piece(u, op, u->base, kernel + done, n) : 0;
        uio_advance(u, moved);
        done += moved;
        if (unlikely(moved < n || n == 0))
            break;
    }
    return done || !len ? (ssize_t)done : -EFAULT;
}

// These copy again what the quick way may have begun: it ended in a fault somewhere.
ssize_t uio_copy_to_pieces(struct uio *u, const void *from, size_t len)
{
    return uio_move(u, UIO_TO, (char *)(uintptr_t)from, len);
}

ssize_t uio_copy_from_pieces(struct uio *u, void *to, size_t len)
{
    return uio_move(u, UIO_FROM, to, len);
}

ssize_t uio_zero_pieces(struct uio *u, size_t len) { return uio_move(u, UIO_ZERO, NULL, len); }

ssize_t uio_init_vec(struct uio *u, struct uio_vec *v, uptr_t user, size_t n_iov)
{
    v->big = NULL;
    uio_init_user(u, 0, 0);
    if (n_iov > UIO_MAXIOV)
        return -EINVAL;
    struct iovec *iov = v->fast;
    if (n_iov > UIO_FAST_IOV) {
        iov = v->big = kmalloc(n_iov * sizeof(*iov));
        if (!iov)
            return -ENOMEM;
    }
    if (n_iov && copy_from_user(iov, user, n_iov * sizeof(*iov)))
        return -EFAULT;
    for (size_t i = 0; i < n_iov; i++)
        if ((s64)iov[i].len < 0)
            return -EINVAL;
    for (size_t i = 0; i < n_iov; i++) {  // the address of an empty piece counts too
        if (iov[i].len > USER_END || iov[i].base > USER_END - iov[i].len)
            return -EFAULT;
        iov[i].len = MIN(iov[i].len, MAX_RW_COUNT - u->remaining);
        u->remaining += iov[i].len;
    }
    u->next = iov;
    u->n_next = n_iov;
    uio_next_piece(u);
    return u->remaining;
}

void uio_vec_free(struct uio_vec *v)
{
    if (v->big)
        kfree(v->big);
}
