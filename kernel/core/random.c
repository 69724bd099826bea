// SPDX-License-Identifier: BSD-2-Clause
// random.c: the random number generator, ChaCha20 (RFC 8439) with fast key erasure.
//
// Every block of 64 bytes gives the next key (32 bytes) and 32 bytes of output, which wait in pool
// until they are asked for and are erased as they go out: what was given cannot be computed from the
// state that stays behind. Each CPU has a generator of its own, keyed on first use from the hardware
// source, the platform's device and the counter, and again after RESEED_BLOCKS blocks.
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/platform.h"
#include "core/random.h"
#include "core/time.h"

#define RESEED_BLOCKS 4096

struct generator {
    u32 key[8];
    u8 pool[32];
    u32 n_pool;    // bytes left, at the end of pool
    u32 n_blocks;  // until the next reseeding; 0: not keyed yet
};
static DEFINE_PERCPU(struct generator, generator);

static u32 rotl(u32 v, int n)
{
    return v << n | v >> (32 - n);
}

#define QUARTER(a, b, c, d)                  \
    do {                                     \
        a += b, d = rotl(d ^ a, 16);         \
        c += d, b = rotl(b ^ c, 12);         \
        a += b, d = rotl(d ^ a, 8);          \
        c += d, b = rotl(b ^ c, 7);          \
    } while (0)

static void chacha20_block(const u32 key[8], u64 nonce, u32 out[16])
{
    u32 in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(in + 4, key, 32);
    memcpy(in + 14, &nonce, 8);
    memcpy(out, in, 64);
    for (int i = 0; i < 10; i++) {
        QUARTER(out[0], out[4], out[8], out[12]);
        QUARTER(out[1], out[5], out[9], out[13]);
        QUARTER(out[2], out[6], out[10], out[14]);
        QUARTER(out[3], out[7], out[11], out[15]);
        QUARTER(out[0], out[5], out[10], out[15]);
        QUARTER(out[1], out[6], out[11], out[12]);
        QUARTER(out[2], out[7], out[8], out[13]);
        QUARTER(out[3], out[4], out[9], out[14]);
    }
    for (int i = 0; i < 16; i++)
        out[i] += in[i];
}

// Mixes fresh entropy into the key; what was in it stays in.
static void reseed(struct generator *g)
{
    u64 seed[4] = {0};
    platform_random(seed, sizeof(seed));
    for (int i = 0; i < 4; i++) {
        u64 word;
        if (arch_random_u64(&word))
            seed[i] ^= word;
    }
    seed[0] ^= arch_counter();
    seed[1] ^= (uintptr_t)g;
    for (int i = 0; i < 8; i++)
        g->key[i] ^= ((u32 *)seed)[i];
    g->n_blocks = RESEED_BLOCKS;
    atomic_add(&vdso_data->random_generation, 1);  // the vDSO's generators follow
}

static void refill(struct generator *g)
{
    u32 block[16];
    if (g->n_blocks == 0)
        reseed(g);
    g->n_blocks--;
    chacha20_block(g->key, arch_counter(), block);
    memcpy(g->key, block, 32);
    memcpy(g->pool, block + 8, 32);
    memset(block, 0, sizeof(block));
    barrier();
    g->n_pool = 32;
}

void random_bytes(void *out, size_t len)
{
    struct generator *g = percpu_ptr(generator);
    for (char *p = out; len;) {
        if (g->n_pool == 0)
            refill(g);
        size_t n = MIN(len, (size_t)g->n_pool);
        u8 *from = g->pool + 32 - g->n_pool;
        memcpy(p, from, n);
        memset(from, 0, n);
        g->n_pool -= n;
        p += n;
        len -= n;
    }
}
