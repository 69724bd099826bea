// SPDX-License-Identifier: BSD-2-Clause
// Tries kernel/arch/aarch64/asid.c with host threads in the place of CPUs, each with a TLB that forgets nothing by itself
// (emulators' forget everything at a switch, so no guest can show these mistakes). There are fewer numbers than address spaces,
// so new generations come all the time. What must hold:
//
//   - a CPU that runs a space finds no translation of another one under its number;
//   - after a flush has returned, nobody uses a translation that is older than it.
//
//   asid_test SECONDS
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "arch_impl/asid.h"
#include "core/cpu.h"
#include "core/log.h"

enum { CPUS = 4, SPACES = 14, NUMBERS = 8, NO_SPACE = -1 };

static struct space {
    struct asid_space asid;
    u64 entries;  // atomic: version of the page tables
    u64 flushed;  // atomic: the least version that may be seen now
} spaces[SPACES];

// A translation cache: one entry for each number. The lock makes a walk and its result one step, as hardware's is to a flush.
static struct tlb {
    pthread_mutex_t lock;
    struct {
        int space;
        u64 version;
    } entry[NUMBERS];
} tlbs[CPUS];

__thread struct cpu *fake_cpu;
static struct cpu cpu_areas[CPUS];
struct cpu *cpus[MAX_CPUS];
u32 n_cpus = CPUS;
int log_level;
static u64 n_generations, n_switches, n_flushes;
static volatile bool stop;
extern char __start_percpu[], __stop_percpu[];

void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }
void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    puts("");
    va_end(args);
    exit(1);
}

static void forget(struct tlb *t, u32 first, u32 last)
{
    pthread_mutex_lock(&t->lock);
    for (u32 n = first; n <= last; n++)
        t->entry[n].space = NO_SPACE;
    pthread_mutex_unlock(&t->lock);
}

void asid_flush_this_cpu(void)
{
    atomic_add(&n_generations, 1);
    forget(&tlbs[fake_cpu->id], 0, NUMBERS - 1);
}

void asid_fence(void) { atomic_fence(); }

static u32 random_below(unsigned *seed, u32 n) { return (u32)rand_r(seed) % n; }

// As kernel/arch/aarch64/tlb.c does it.
static void flush(struct space *s)
{
    u64 version = atomic_add(&s->entries, 1);
    atomic_fence();
    u32 number = (u32)(atomic_load(&s->asid.tag) & ASID_NUMBER_MASK);
    u64 seen = atomic_load(&s->asid.cpus);
    if (seen == BIT(fake_cpu->id)) {
        forget(&tlbs[fake_cpu->id], number, number);
    } else if (seen) {
        for (u32 i = 0; i < CPUS; i++)
            forget(&tlbs[i], number, number);
    }
    for (u64 old = atomic_load(&s->flushed); old < version;) {
        if (atomic_cmpxchg(&s->flushed, &old, version))
            break;
    }
    atomic_add(&n_flushes, 1);
}

// A program's access on this CPU, which has loaded the space under the number.
static void access(int space, u32 number)
{
    struct tlb *t = &tlbs[fake_cpu->id];
    u64 least = atomic_load(&spaces[space].flushed);
    pthread_mutex_lock(&t->lock);
    if (t->entry[number].space == NO_SPACE) {
        t->entry[number].space = space;
        t->entry[number].version = atomic_load(&spaces[space].entries);
    }
    int found = t->entry[number].space;
    u64 version = t->entry[number].version;
    pthread_mutex_unlock(&t->lock);
    if (found != space)
        panic("CPU %u runs space %d under number %u and finds translations of %d", fake_cpu->id,
              space, number, found);
    if (version < least)
        panic("CPU %u uses a translation of space %d that was flushed", fake_cpu->id, space);
}

static void *run(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg * 7919 + 1;
    fake_cpu = cpus[(uintptr_t)arg];
    while (!stop) {
        int space = (int)random_below(&seed, SPACES);
        u32 number = asid_enter(&spaces[space].asid);
        if (number == 0 || number >= NUMBERS)
            panic("space %d got number %u", space, number);
        atomic_add(&n_switches, 1);
        for (u32 i = random_below(&seed, 6); i; i--) {
            access(space, number);
            if (random_below(&seed, 3) == 0)
                flush(&spaces[random_below(&seed, 2) ? space : (int)random_below(&seed, SPACES)]);
            if (random_below(&seed, 64) == 0)
                sched_yield();
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[CPUS];
    size_t size = (size_t)(__stop_percpu - __start_percpu);
    char *copies = calloc(CPUS, size + 64);
    for (unsigned i = 0; i < CPUS; i++) {
        cpus[i] = &cpu_areas[i];
        cpus[i]->id = i;
        if (i)
            cpus[i]->percpu_offset = (uintptr_t)(copies + size * i) - (uintptr_t)__start_percpu;
        pthread_mutex_init(&tlbs[i].lock, NULL);
        fake_cpu = cpus[i];
        forget(&tlbs[i], 0, NUMBERS - 1);
    }
    asid_init(NUMBERS);
    for (uintptr_t i = 0; i < CPUS; i++)
        pthread_create(&threads[i], NULL, run, (void *)i);
    struct timespec t = {.tv_sec = argc > 1 ? atoi(argv[1]) : 2};
    nanosleep(&t, NULL);
    stop = true;
    for (unsigned i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    if (n_generations < 100 || n_flushes < 100) {
        printf("too little happened: %lu switches, %lu flushes of a CPU, %lu of a space\n",
               (unsigned long)n_switches, (unsigned long)n_generations, (unsigned long)n_flushes);
        return 1;
    }
    if (argc > 2)
        printf("%lu switches, %lu flushes of a CPU, %lu of a space\n", (unsigned long)n_switches,
               (unsigned long)n_generations, (unsigned long)n_flushes);
    return 0;
}
