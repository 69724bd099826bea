// SPDX-License-Identifier: BSD-2-Clause
// An allocator that gives its free memory back and gets it again zeroed, without a page fault: MADV_FREE_REUSABLE and
// MADV_FREE_REUSE of Lethe (docs/memory.md). It hands out slabs of one size, as the lower layer of an allocator does.
//
//   slab_free:   the slab's frames go to the kernel, which may give them on to the host; its address stays.
//   slab_alloc:  frames come back for the whole slab in one call, taken from those that idle CPUs have cleared.
//
// A kernel without the pair answers EINVAL. Then MADV_DONTNEED takes the frames, and each page faults in again.
//
// The program fills all slabs, frees them, takes half of them again, and checks what it is told: freed memory
// is not resident, reused memory is zero and does not fault.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define MADV_FREE_REUSABLE 0x4c450001
#define MADV_FREE_REUSE 0x4c450002

enum { SLAB_BYTES = 256 << 10, N_SLABS = 128, N_KEPT = 1 };

static struct {
    char *base;               // N_SLABS slabs, reserved once
    unsigned fresh;           // slabs from here on were never used
    unsigned free[N_SLABS];   // a stack of slabs that were given back: the last one first, its
    unsigned n_free;          // page tables are still there
    bool pair;                // the kernel has FREE_REUSABLE and FREE_REUSE
} pool;

static bool pool_init(void)
{
    size_t len = (size_t)SLAB_BYTES * N_SLABS;
    pool.base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool.base == MAP_FAILED)
        return false;
    pool.pair = madvise(pool.base, SLAB_BYTES, MADV_FREE_REUSABLE) == 0;
    return true;
}

// SLAB_BYTES of zeros, or NULL.
static void *slab_alloc(void)
{
    if (pool.n_free == 0)
        return pool.fresh < N_SLABS ? pool.base + (size_t)SLAB_BYTES * pool.fresh++ : NULL;
    char *slab = pool.base + (size_t)SLAB_BYTES * pool.free[pool.n_free - 1];
    if (pool.pair && madvise(slab, SLAB_BYTES, MADV_FREE_REUSE))
        return NULL;  // memory is short: the slab stays free
    pool.n_free--;
    return slab;
}

static void slab_free(void *slab)
{
    madvise(slab, SLAB_BYTES, pool.pair ? MADV_FREE_REUSABLE : MADV_DONTNEED);
    pool.free[pool.n_free++] = (unsigned)(((char *)slab - pool.base) / SLAB_BYTES);
}

// ---- what it is worth

static long resident_kib(void)
{
    long size, resident = -1;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return -1;
    if (fscanf(f, "%ld %ld", &size, &resident) != 2)
        resident = -1;
    fclose(f);
    return resident * 4;
}

static long faults(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_minflt;
}

static bool is_zero(const char *slab)
{
    return slab[0] == 0 && memcmp(slab, slab + 1, SLAB_BYTES - 1) == 0;
}

int main(void)
{
    static char *slabs[N_SLABS];
    if (!pool_init())
        return perror("mmap"), 1;
    printf("MADV_FREE_REUSABLE and MADV_FREE_REUSE: %s\n", pool.pair ? "yes" : "no, MADV_DONTNEED instead");
    long start = resident_kib();
    for (int i = 0; i < N_SLABS; i++) {
        if (!(slabs[i] = slab_alloc()))
            return fprintf(stderr, "slab %d: out of memory\n", i), 1;
        memset(slabs[i], 0xa5, SLAB_BYTES);
    }
    printf("%d slabs filled:   %6ld KiB resident\n", N_SLABS, resident_kib() - start);
    for (int i = N_KEPT; i < N_SLABS; i++)
        slab_free(slabs[i]);
    long freed = resident_kib() - start;
    printf("%d of them freed: %6ld KiB resident\n", N_SLABS - N_KEPT, freed);

    long before = 0, taken = 0;
    bool zero = true;
    for (int i = 0; i < N_SLABS / 2; i++) {
        if (!(slabs[i] = slab_alloc()))
            return fprintf(stderr, "slab %d: out of memory\n", i), 1;
        before = faults();
        zero &= is_zero(slabs[i]);
        memset(slabs[i], 1, SLAB_BYTES);
        taken += faults() - before;
    }
    printf("%d taken again:    %6ld KiB resident, %s, %ld page faults\n", N_SLABS / 2, resident_kib() - start,
           zero ? "zeroed" : "NOT ZEROED", taken);
    bool given_back = freed < (N_KEPT + 8) * SLAB_BYTES / 1024;
    return !zero || !given_back || (pool.pair && taken > 8);
}
