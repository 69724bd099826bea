// SPDX-License-Identifier: BSD-2-Clause
// uio.h: where the bytes of a read or write come from or go to: a list of user or kernel pieces.
#pragma once

#include "arch/uaccess.h"
#include "core/base.h"

struct iovec {  // user ABI
    u64 base;
    u64 len;
};

struct uio {
    const struct iovec *iov;  // remaining pieces
    size_t n_iov;
    size_t offset;     // into iov[0]
    size_t remaining;  // bytes in all
    bool kernel;       // bases are kernel addresses
    u32 flags;         // RWF_* of preadv2(2)
    struct iovec one;  // storage for the single-buffer case
};

#define RWF_HIPRI 1u
#define RWF_DSYNC 2u
#define RWF_SYNC 4u
#define RWF_NOWAIT 8u
#define RWF_APPEND 16u
#define RWF_NOAPPEND 32u

static inline void uio_init_user(struct uio *u, uptr_t base, size_t len)
{
    u->one.base = base;
    u->one.len = len;
    u->iov = &u->one;
    u->n_iov = 1;
    u->offset = 0;
    u->remaining = len;
    u->kernel = false;
    u->flags = 0;
}
static inline void uio_init_kernel(struct uio *u, void *base, size_t len)
{
    uio_init_user(u, (uptr_t)base, len);
    u->kernel = true;
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

// Moves up to len bytes and advances. => bytes moved, or -EFAULT if none could be.
ssize_t uio_copy_to(struct uio *u, const void *from, size_t len);  // kernel -> uio (read)
ssize_t uio_copy_from(struct uio *u, void *to, size_t len);        // uio -> kernel (write)
ssize_t uio_zero(struct uio *u, size_t len);
void uio_skip(struct uio *u, size_t len);  // advances without moving
static inline size_t uio_remaining(const struct uio *u) { return u->remaining; }
