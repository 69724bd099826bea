// SPDX-License-Identifier: BSD-2-Clause
// Page faults of several threads at once, for the QEMU plugin to count between its marks:
//
//   fault_scale THREADS
//
// Three phases of THREADS * PAGES first writes: each thread in a mapping of its own; all through one mapping, each
// page touched by every thread; each thread in its own part of one shared memory object.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096, PAGES = 2048, THREADS_MAX = 16 };

static int n_threads = 1;
static pthread_barrier_t barrier;
static char *own[THREADS_MAX], *shared, *object;

// Where the plugin looks at its counters.
#define MARK(name)                             \
    __attribute__((noinline)) void name(void); \
    void name(void) { __asm__ volatile("" : : : "memory"); }
MARK(own_begin)
MARK(own_end)
MARK(shared_begin)
MARK(shared_end)
MARK(object_begin)
MARK(object_end)

static char *map(size_t n_pages, int flags)
{
    char *p = mmap(NULL, n_pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    madvise(p, n_pages * PAGE, MADV_NOHUGEPAGE);
    return p;
}

static void touch(char *start, size_t n_pages)
{
    for (size_t i = 0; i < n_pages; i++)
        ((volatile char *)start)[i * PAGE] = 1;
}

// Everybody is there; the first one marks.
static void meet(uintptr_t me, void (*mark)(void))
{
    pthread_barrier_wait(&barrier);
    if (me == 0)
        mark();
    pthread_barrier_wait(&barrier);
}

static void *work(void *argument)
{
    uintptr_t me = (uintptr_t)argument;
    meet(me, own_begin);
    touch(own[me], PAGES);
    meet(me, own_end);
    meet(me, shared_begin);
    touch(shared, (size_t)PAGES * (size_t)n_threads);
    meet(me, shared_end);
    meet(me, object_begin);
    touch(object + me * PAGES * PAGE, PAGES);
    meet(me, object_end);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t ids[THREADS_MAX];
    n_threads = argc > 1 ? atoi(argv[1]) : 1;
    if (n_threads < 1 || n_threads > THREADS_MAX)
        return 2;
    pthread_barrier_init(&barrier, NULL, (unsigned)n_threads);
    for (int i = 0; i < n_threads; i++)
        own[i] = map(PAGES, MAP_PRIVATE);
    shared = map((size_t)PAGES * (size_t)n_threads, MAP_PRIVATE);
    object = map((size_t)PAGES * (size_t)n_threads, MAP_SHARED);
    for (intptr_t i = 1; i < n_threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)i) != 0)
            return 1;
    work(NULL);
    for (int i = 1; i < n_threads; i++)
        pthread_join(ids[i], NULL);
    puts("done");
    return 0;
}
