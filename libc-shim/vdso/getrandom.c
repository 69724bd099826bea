// SPDX-License-Identifier: BSD-2-Clause
// getrandom.c: getrandom(2) in user mode, with the contract of Linux 6.11 (vgetrandom in
// Documentation of the C libraries; getrandom(2), "vDSO").
//
// The caller maps memory with the protection and flags that the first form of the call tells it, and
// cuts it into states, one for each thread, none across a page. Such memory is MAP_DROPPABLE: the
// kernel may zero a page of it at any moment, it is empty in a forked child, and it is never written
// to a disk. A state holds a key, a batch of bytes made with it, and the generation of the kernel's
// generator that the key belongs to. Rules:
//
// R1. The key is from the kernel and of the present generation, or it is replaced. A zeroed state
//     has generation 0, which the kernel never has.
// R2. The generation is looked at again after the last byte was taken: bytes made from a state that
//     was zeroed, or that a fork has doubled, on the way are thrown away and made anew.
// R3. The generation is written before the key is fetched. So a fork in between gives the child a
//     zeroed state, never the same key with a valid generation.
// R4. Each refill replaces the key by bytes that no one has seen, and each byte that leaves is wiped:
//     what was given cannot be computed from what stays.
// R5. A signal handler may come in the middle and call this on the same state; in_use sends it to
//     the system call.
#include "core/time.h"
#include "vdso_arch.h"

#ifdef VDSO_HAS_CHACHA

#define BLOCK 64
#define BATCH (BLOCK * 3 / 2)
#define LEN_MAX 0x7ffff000ul  // as read(2): more is never given at once

#define MAP_ANONYMOUS 0x20
#define MAP_DROPPABLE 8
#define PROT_READ_WRITE 3

struct random_state {
    // One run of two blocks from the generator: 96 bytes to give, then the next key.
    u8 batch[BATCH];
    u32 key[8];
    u64 generation;
    u8 pos;  // bytes of batch that are gone
    u8 in_use;
};
_Static_assert(BATCH + 32 == 2 * BLOCK, "batch and key are two blocks");

enum { FIRST_TRY = 1, SECOND_TRY };  // in_use; more tries could go on forever

struct random_params {
    u32 state_size, mmap_prot, mmap_flags, reserved[13];
};

extern struct vdso_data vdso_page __attribute__((visibility("hidden")));

static __always_inline long tell_params(struct random_params *p)
{
    p->state_size = sizeof(struct random_state);
    p->mmap_prot = PROT_READ_WRITE;
    p->mmap_flags = MAP_DROPPABLE | MAP_ANONYMOUS;
    for (unsigned i = 0; i < 13; i++)
        WRITE_ONCE(p->reserved[i], 0);
    return 0;
}

// Moves n bytes of the batch out and wipes them (R4).
static __always_inline u8 *take(struct random_state *s, u8 *out, size_t n)
{
    volatile u8 *from = s->batch + s->pos;
    s->pos += (u8)n;
    while (n--) {
        *out++ = *from;
        *from++ = 0;
    }
    return out;
}

ssize_t VDSO_NAME(getrandom)(void *buffer, size_t len, u32 flags, void *opaque, size_t opaque_len);
VDSO_ALIAS(getrandom);

ssize_t VDSO_NAME(getrandom)(void *buffer, size_t len, u32 flags, void *opaque, size_t opaque_len)
{
    struct random_state *s = opaque;
    if (unlikely(opaque_len == ~0ul && !buffer && !len && !flags))
        return tell_params(opaque);
    if (unlikely(((uintptr_t)s & (PAGE_SIZE - 1)) + sizeof(*s) > PAGE_SIZE))
        return -EFAULT;
    if (unlikely((flags & ~7u) || opaque_len != sizeof(*s) || READ_ONCE(s->in_use) ||
                 !READ_ONCE(vdso_page.random_generation)))
        goto system_call;
    if (!len)
        return 0;
    if (len > LEN_MAX)
        len = LEN_MAX;
    WRITE_ONCE(s->in_use, FIRST_TRY);

again:;
    u8 *out = buffer, *end = out + len;
    u64 generation = READ_ONCE(vdso_page.random_generation);
    if (unlikely(READ_ONCE(s->generation) != generation)) {
        WRITE_ONCE(s->generation, generation);
        vdso_read_barrier();
        if (vdso_syscall3(VDSO_NR_getrandom, (long)s->key, sizeof(s->key), 0) != sizeof(s->key)) {
            WRITE_ONCE(s->generation, 0);
            goto give_up;
        }
        s->pos = BATCH;
    }
    for (;;) {
        // A page that was zeroed just now makes pos 0, never more than BATCH.
        u8 pos = READ_ONCE(s->pos);
        out = take(s, out, MIN((size_t)(end - out), (size_t)(BATCH - MIN(pos, (u8)BATCH))));
        if (out == end)
            break;
        size_t blocks = (size_t)(end - out) / BLOCK;
        u64 counter = 0;
        if (blocks) {
            counter = vdso_chacha20(out, s->key, 0, blocks);
            out += (size_t)(end - out) / BLOCK * BLOCK;
        }
        vdso_chacha20(s, s->key, counter, 2);
        s->pos = 0;
    }
    barrier();
    buffer = end - len;
    if (likely(READ_ONCE(s->generation) == READ_ONCE(vdso_page.random_generation))) {
        WRITE_ONCE(s->in_use, 0);
        return (ssize_t)len;
    }
    if (READ_ONCE(s->in_use) == FIRST_TRY) {
        WRITE_ONCE(s->in_use, SECOND_TRY);
        goto again;
    }
give_up:
    WRITE_ONCE(s->in_use, 0);
system_call:
    return vdso_syscall3(VDSO_NR_getrandom, (long)buffer, (long)len, (long)flags);
}

#endif
