// SPDX-License-Identifier: BSD-2-Clause
// uio.h: where the bytes of a read or write come from or go to: a list of user or kernel pieces.
#pragma once

#include "arch/uaccess.h"
#include "core/base.h"

struct iovec {  // user ABI
    u64 base;
    u64 len;
};

// The present piece lies in the structure itself: most calls have no other.
struct uio {
    uptr_t base;               // of the rest of the present piece
    size_t len;                // of that rest; 0 only when no byte is left in any piece
    size_t remaining;          // bytes to move in all; a caller may lower it
    const struct iovec *next;  // pieces behind the present one
    size_t n_next;
    u32 kernel;  // bases are kernel addresses
    u32 flags;   // RWF_* of preadv2(2)
};

#define RWF_HIPRI 1u
#define RWF_DSYNC 2u
#define RWF_SYNC 4u
#define RWF_NOWAIT 8u
#define RWF_APPEND 16u
#define RWF_NOAPPEND 32u

static inline void uio_init_user(struct uio *u, uptr_t base, size_t len)
{
    u->base = base;
    u->len = len;
    u->remaining = len;
    u->n_next = 0;
    u->kernel = 0;
    u->flags = 0;
}
static inline void uio_init_kernel(struct uio *u, void *base, size_t len)
{
    uio_init_user(u, (uptr_t)base, len);
    u->kernel = 1;
}

// A user vector, as readv(2) takes it: copied in, checked, cut at MAX_RW_COUNT.
#define UIO_FAST_IOV 8
struct uio_vec {
    struct iovec fast[UIO_FAST_IOV];
    struct iovec *big;  // kmalloc'd when the vector is longer
};
// => bytes in all, or -EINVAL (count, lengths), -EFAULT, -ENOMEM. uio_vec_free afterwards in any case.
ssize_t uio_init_vec(struct uio *u, struct uio_vec *v, uptr_t iov, size_t n_iov);
void uio_vec_free(struct uio_vec *v);

void uio_next_piece(struct uio *u);
// Advances without moving; n is at most what the present piece has left.
static inline void uio_advance(struct uio *u, size_t n)
{
    u->base += n;
    u->remaining -= n;
    u->len -= n;
    if (u->len == 0 && unlikely(u->n_next != 0))
        uio_next_piece(u);
}
static inline size_t uio_remaining(const struct uio *u) { return u->remaining; }

// Moves up to len bytes and advances. => bytes moved, or -EFAULT if none could be.
ssize_t uio_copy_to_pieces(struct uio *u, const void *from, size_t len);
ssize_t uio_copy_from_pieces(struct uio *u, void *to, size_t len);
ssize_t uio_zero_pieces(struct uio *u, size_t len);

static inline ssize_t uio_copy_to(struct uio *u, const void *from,
                                  size_t len)  // kernel -> uio (read)
{
    if (unlikely(len > u->len || len > u->remaining || u->kernel) ||
        unlikely(copy_to_user(u->base, from, len)))
        return uio_copy_to_pieces(u, from, len);
    uio_advance(u, len);
    return (ssize_t)len;
}

static inline ssize_t uio_copy_from(struct uio *u, void *to, size_t len)  // uio -> kernel (write)
{
    if (unlikely(len > u->len || len > u->remaining || u->kernel) ||
        unlikely(copy_from_user(to, u->base, len)))
        return uio_copy_from_pieces(u, to, len);
    uio_advance(u, len);
    return (ssize_t)len;
}

static inline ssize_t uio_zero(struct uio *u, size_t len)
{
    if (unlikely(len > u->len || len > u->remaining || u->kernel) ||
        unlikely(clear_user(u->base, len)))
        return uio_zero_pieces(u, len);
    uio_advance(u, len);
    return (ssize_t)len;
}
