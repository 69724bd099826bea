// SPDX-License-Identifier: BSD-2-Clause
// A million rounds of mmap, touch, munmap at addresses all over the address space, and of pthread create and join:
// every counter of memory stands where it stood. A kernel of this class that keeps page tables loses 8 KB in each.
#include "counters.h"

#include <sched.h>

enum { WORKERS = 4, WARM_UP = 3000, SLACK_KB = 256 };

static int rounds_each;

static void *map_touch_unmap(void *argument)
{
    uint64_t x = 0x9e3779b97f4a7c15ull * ((uintptr_t)argument + 1);
    for (int i = 0; i < rounds_each; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        // 64 TiB, in which nothing else lies: nearly every round needs page tables of its own.
        char *at = (char *)(0x100000000000 + (x >> 18 & ~(PAGE - 1)));
        char *p = mmap(at, PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (p == MAP_FAILED && errno == EEXIST)
            continue;  // another thread's
        if (p != at || *(volatile char *)p != 0) {
            FAIL("round %d: mmap at %p gives %p, %s", i, at, p, errno_name(errno));
            return NULL;
        }
        *(volatile char *)p = 1;
        if (munmap(p, PAGE) != 0)
            FAIL("round %d: munmap fails with %s", i, errno_name(errno));
    }
    return NULL;
}

static void *do_nothing(void *argument) { return argument; }

static void *create_and_join(void *argument)
{
    for (int i = 0; i < rounds_each; i++) {
        pthread_t id;
        void *result = NULL;
        int error = pthread_create(&id, NULL, do_nothing, argument);
        if (error || pthread_join(id, &result) != 0 || result != argument) {
            FAIL("round %d: %s", i, errno_name(error));
            return NULL;
        }
    }
    return NULL;
}

// The same rounds on each CPU in turn, so that what one CPU's cache handed out another's takes back. The rest of the
// machine sleeps: no round waits for it.
static void *on_each_cpu(void *argument)
{
    void *(*body)(void *) = *(void *(**)(void *))argument;
    int rounds = rounds_each, n = (int)cpu_count(), turns = n > 1 ? 8 * n : 1;
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    for (int turn = 0, cpu = -1; turn < turns && !harness_failed(); turn++) {
        do
            cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &all));
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (n > 1 && sched_setaffinity(0, sizeof one, &one) != 0)
            FAIL("sched_setaffinity fails with %s", errno_name(errno));
        rounds_each = rounds / turns;
        body((void *)(uintptr_t)turn);
    }
    rounds_each = rounds;
    return NULL;
}

// A hundredth of the rounds from all CPUs at once, where each unmapping waits for all of them.
static void all_rounds(void *(*body)(void *), int rounds)
{
    int n = cpu_count() > WORKERS ? WORKERS : (int)cpu_count();
    pthread_t id;
    if (n > 1) {
        rounds_each = rounds / 100 / n;
        run_threads(n, body);
        rounds -= rounds / 100;
    }
    rounds_each = rounds;
    REQUIRE(pthread_create(&id, NULL, on_each_cpu, &body) == 0);
    pthread_join(id, NULL);
}

static void leave_counters(void *(*body)(void *), int rounds)
{
    struct counters before, after;
    all_rounds(body, WARM_UP);
    settle();
    read_counters(&before);
    all_rounds(body, rounds);
    settle();
    read_counters(&after);
    compare_counters(&before, &after, SLACK_KB);
    check_fragmentation();
}

TEST_LIMIT(a_million_mappings, 300) { leave_counters(map_touch_unmap, harness_rounds(1000000)); }
TEST_LIMIT(a_million_threads, 600) { leave_counters(create_and_join, harness_rounds(1000000)); }

// One frame of each of many 2 MiB blocks is the last that a CPU freed, and the CPU has nothing to do any more: the blocks can be had whole.
TEST(frames_that_idle_cpus_keep)
{
    enum { KEPT = 60 };
    size_t blocks = KEPT * (cpu_count() > WORKERS ? WORKERS : (size_t)cpu_count());
    char *p = map_huge_aligned(blocks * HUGE);
    REQUIRE_OK(madvise(p, blocks * HUGE, 15 /* NOHUGEPAGE */));
    for (size_t i = 0; i < blocks * HUGE; i += PAGE)
        WRITE(p + i, 1);
    for (size_t i = 0; i < blocks; i++)
        CHECK_OK(munmap(p + i * HUGE + PAGE, HUGE - PAGE));
    cpu_set_t all, one;
    REQUIRE_OK(sched_getaffinity(0, sizeof all, &all));
    for (size_t cpu = 0, i = 0; cpu < CPU_SETSIZE && i < blocks; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        REQUIRE_OK(sched_setaffinity(0, sizeof one, &one));
        sleep_ns(50 * MS);
        for (size_t last = i + KEPT; i < last; i++)
            CHECK_OK(munmap(p + i * HUGE, PAGE));
        sleep_ns(50 * MS);
    }
    CHECK_OK(sched_setaffinity(0, sizeof all, &all));
    check_fragmentation();
}
