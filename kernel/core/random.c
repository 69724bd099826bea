// SPDX-License-Identifier: BSD-2-Clause
// random.c: the random number generator, ChaCha20 (RFC 8439) with fast key erasure.
//
// Every block of 64 bytes gives the next key (32 bytes) and 32 bytes of output, which wait in pool
// until they are asked for and are erased as they go out: what was given cannot be computed from the
// state that stays behind. Each CPU has a generator of its own, keyed from the pool on first use and again after
// RESEED_MIN blocks, then ever fewer times.
//
// The pool is a key too. What comes in is xored to it, and a block of ChaCha20 under the sum is the new pool: nobody
// who does not know the old pool gains by choosing the input. The sources:
//
//   CPU instruction (RDSEED, RDRAND)  64 bits credited a word      always there but on old CPUs
//   device (virtio-rng)               8 bits credited a byte       when its answer has come
//   counter at odd moments            none
//   counter at timer interrupts       one bit, if its second difference is not 0; only while somebody waits
//
// The generator counts as seeded once POOL_BITS have been credited. Before that, random_bytes gives what there is
// (addresses of the first program), getrandom and /dev/random wait, /dev/urandom does not, as on Linux.
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random.h"
#include "core/time.h"
#include "core/wait.h"

#define RESEED_MIN 16
#define RESEED_MAX 4096
#define POOL_BITS 256
#define DEVICE_WAIT_NS (100 * NSEC_PER_MSEC)  // at most, once, where only a device can seed
#define JITTER_STEP_NS NSEC_PER_MSEC

struct generator {
    u32 key[8];
    u8 pool[32];
    u32 n_pool;    // bytes left, at the end of pool
    u32 n_blocks;  // until the next reseeding; 0: not keyed yet
    u32 interval;  // blocks between the last two reseedings
    u32 epoch;     // pool.epoch when it was keyed
};
static DEFINE_PERCPU(struct generator, generator);

static struct {
    struct spinlock lock;
    u32 key[8];       // [lock]
    u32 credit_bits;  // [lock] up to POOL_BITS
    u32 epoch;        // atomic: 1 from the moment it is seeded
} pool;

static u32 rotl(u32 v, int n) { return v << n | v >> (32 - n); }

#define QUARTER(a, b, c, d)          \
    do {                             \
        a += b, d = rotl(d ^ a, 16); \
        c += d, b = rotl(b ^ c, 12); \
        a += b, d = rotl(d ^ a, 8);  \
        c += d, b = rotl(b ^ c, 7);  \
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

static void pool_stir(u64 nonce, u32 out[8])
{
    u32 block[16];
    chacha20_block(pool.key, nonce, block);
    memcpy(pool.key, block, 32);
    if (out)
        for (int i = 0; i < 8; i++)
            out[i] ^= block[8 + i];
    memset(block, 0, sizeof(block));
    barrier();
}

static void pool_add(const u64 seed[4], u32 credit_bits)
{
    u32 words[8];
    memcpy(words, seed, 32);
    spin_lock(&pool.lock);
    for (int i = 0; i < 8; i++)
        pool.key[i] ^= words[i];
    pool_stir(0, NULL);
    pool.credit_bits = MIN(pool.credit_bits + credit_bits, (u32)POOL_BITS);
    if (pool.credit_bits == POOL_BITS && !pool.epoch) {
        atomic_store(&pool.epoch, 1);
        atomic_add(&vdso_data->random_generation, 1);  // the vDSO's generators may begin
    }
    spin_unlock(&pool.lock);
}

// What the device has ready; where nothing else can seed, waits for its first answer.
static size_t from_device(void *to, size_t len, bool only_source)
{
    static u32 waited;
    size_t n = platform_random(to, len);
    if (n || !only_source || !platform_has_random() || atomic_fetch_or(&waited, 1))
        return n;
    for (u64 end = ktime_ns() + DEVICE_WAIT_NS; !n && ktime_ns() < end;
         n = platform_random(to, len))
        cpu_relax_poll();
    return n;
}

static void gather(void)
{
    u64 seed[4] = {0};
    u32 n_cpu = 0;
    for (int i = 0; i < 4; i++)
        n_cpu += arch_random_u64(&seed[i]);
    u64 device[4] = {0};
    size_t n = from_device(device, sizeof(device), n_cpu == 0 && !random_seeded());
    for (int i = 0; i < 4; i++)
        seed[i] ^= device[i];
    seed[0] ^= arch_counter();
    pool_add(seed, MAX(64 * n_cpu, 8 * (u32)n));
}

bool random_seeded(void) { return atomic_load(&pool.epoch); }

void random_add(const void *bytes, size_t len, u32 credit_bits)
{
    const char *p = bytes;
    do {
        u64 seed[4] = {0};
        size_t n = MIN(len, sizeof(seed));
        memcpy(seed, p, n);
        p += n;
        len -= n;
        pool_add(seed, len ? 0 : MIN(credit_bits, (u32)POOL_BITS));
    } while (len);
}

u32 random_credit_bits(void) { return atomic_load_relaxed(&pool.credit_bits); }

int random_wait_seeded(bool nonblock)
{
    u64 last = arch_counter(), last_step = 0;
    if (random_seeded())
        return 0;
    gather();
    if (random_seeded() || nonblock)
        return random_seeded() ? 0 : -EAGAIN;
    log_warn("no source of random numbers but the timer: somebody waits for it");
    while (!random_seeded()) {
        thread_sleep_prepare(WAIT_INTERRUPTIBLE);
        int err = thread_block(WAIT_INTERRUPTIBLE, ktime_ns() + JITTER_STEP_NS);
        if (err && err != -ETIMEDOUT)
            return err;
        u64 now = arch_counter(), step = now - last;
        u64 device[4] = {0}, seed[4] = {now, step};
        size_t n = platform_random(device, sizeof(device));
        for (int i = 0; i < 4; i++)
            seed[i] ^= device[i];
        pool_add(seed, n ? 8 * n : step != last_step);
        last = now;
        last_step = step;
    }
    return 0;
}

static void reseed(struct generator *g)
{
    gather();
    spin_lock(&pool.lock);
    pool_stir(arch_counter(), g->key);
    g->epoch = pool.epoch;
    spin_unlock(&pool.lock);
    g->interval = g->interval ? MIN(4 * g->interval, (u32)RESEED_MAX) : RESEED_MIN;
    g->n_blocks = g->interval;
    if (g->epoch)
        atomic_add(&vdso_data->random_generation, 1);  // the vDSO's generators follow
}

static void refill(struct generator *g)
{
    u32 block[16];
    if (g->n_blocks == 0 || g->epoch != atomic_load(&pool.epoch))
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
        if (g->n_pool == 0 || unlikely(g->epoch != atomic_load_relaxed(&pool.epoch)))
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
