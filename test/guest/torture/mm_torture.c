// SPDX-License-Identifier: BSD-2-Clause
// Memory calls from several threads at once: what one thread gives up, another's TLB must not keep, and nobody's
// data may change. Fixed amounts of work.
#include "harness.h"

#include <sched.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
enum { THREADS = 4 };

// ---- every thread owns each fourth page of one mapping ----

enum { STRIPE_PAGES = 2048 };
static char *stripes;

static bool page_is(const char *page, unsigned char value)
{
    for (size_t i = 0; i < PAGE; i += 61)
        if ((unsigned char)page[i] != value)
            return false;
    return (unsigned char)page[PAGE - 1] == value;
}

static void *own_stripe(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument, seed = me * 77 + 1;
    static unsigned char held[THREADS][STRIPE_PAGES / THREADS];
    memset(held[me], 0, sizeof held[me]);
    int rounds = harness_rounds(3000);
    for (int i = 0; i < rounds; i++) {
        unsigned k = next_random(&seed) % (STRIPE_PAGES / THREADS);
        char *page = stripes + ((size_t)k * THREADS + me) * PAGE;
        if (!page_is(page, held[me][k])) {
            FAIL("thread %u, step %d: a page holds %#x, want %#x", me, i, (unsigned char)page[0],
                 held[me][k]);
            return NULL;
        }
        unsigned value = next_random(&seed) % 255 + 1;
        switch (next_random(&seed) % 8) {
        case 0:
        case 1:
        case 2:
            memset(page, (int)value, PAGE);
            held[me][k] = (unsigned char)value;
            break;
        case 3:
        case 4:
        case 5:
            if (madvise(page, PAGE, MADV_DONTNEED) != 0)
                FAIL("DONTNEED fails with %s", errno_name(errno));
            held[me][k] = 0;
            break;
        case 6:
            if (mprotect(page, PAGE, PROT_READ) != 0 || !page_is(page, held[me][k]) ||
                mprotect(page, PAGE, RW) != 0)
                FAIL("mprotect there and back fails with %s", errno_name(errno));
            break;
        case 7:
            if (mmap(page, PAGE, RW, ANON | MAP_FIXED, -1, 0) != page)
                FAIL("mmap over a live page fails with %s", errno_name(errno));
            held[me][k] = 0;
            break;
        }
    }
    return NULL;
}

TEST_LIMIT(stripes_of_one_mapping, 120)
{
    stripes = map_huge_aligned(STRIPE_PAGES * PAGE);
    madvise(stripes, STRIPE_PAGES * PAGE, MADV_HUGEPAGE);
    run_threads(THREADS, own_stripe);
    munmap(stripes, STRIPE_PAGES * PAGE);
}

// ---- a reader must never see what was replaced ----

static volatile unsigned long generation;
static volatile int stop;
static volatile unsigned long *window;

static void *watch_window(void *argument)
{
    (void)argument;
    while (!stop) {
        unsigned long before = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
        unsigned long value = *window;
        if (value < before) {
            FAIL("a stale page: generation %lu after %lu was mapped", value, before);
            break;
        }
    }
    return NULL;
}

TEST_LIMIT(replaced_mappings_leave_no_stale_translation, 60)
{
    enum { GENERATIONS = 1000 };
    int fd = new_memfd(GENERATIONS * PAGE);
    for (unsigned long i = 0; i < GENERATIONS; i++)
        REQUIRE(pwrite(fd, &i, sizeof i, (off_t)(i * PAGE)) == sizeof i);
    window = (unsigned long *)map_with(PAGE, PROT_READ, MAP_SHARED, fd);
    pthread_t ids[2];
    stop = 0, generation = 0;
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&ids[i], NULL, watch_window, NULL) == 0);
    unsigned long generations = (unsigned long)harness_rounds(GENERATIONS);
    for (unsigned long i = 1; i < generations; i++) {
        void *p =
            mmap((void *)window, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, (off_t)(i * PAGE));
        CHECK_EQ(p, window);
        __atomic_store_n(&generation, i, __ATOMIC_SEQ_CST);
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(ids[i], NULL);
    munmap((void *)window, PAGE);
    close(fd);
}

// ---- a writer must stop when the page becomes read-only ----

static volatile int writable;
static char *target;

static void wait_until_writable(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if ((uintptr_t)info->si_addr - (uintptr_t)target >= 4 * PAGE) {
        FAIL("a fault at %p, far from the page under test", info->si_addr);
        syscall(SYS_exit, 0);
    }
    while (!__atomic_load_n(&writable, __ATOMIC_SEQ_CST))
        sched_yield();
}

static void *keep_writing(void *argument)
{
    volatile unsigned long *word = (volatile unsigned long *)(target + (uintptr_t)argument * PAGE);
    while (!stop)
        (*word)++;
    return NULL;
}

TEST_LIMIT(write_protection_reaches_every_cpu, 60)
{
    struct sigaction action = {.sa_sigaction = wait_until_writable,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, NULL);
    target = map_anon(4 * PAGE);
    stop = 0, writable = 1;
    pthread_t ids[3];
    for (intptr_t i = 0; i < 3; i++)
        REQUIRE(pthread_create(&ids[i], NULL, keep_writing, (void *)i) == 0);
    for (int round = 0; round < 150; round++) {
        __atomic_store_n(&writable, 0, __ATOMIC_SEQ_CST);
        REQUIRE_OK(mprotect(target, 4 * PAGE, PROT_READ));
        unsigned long before[3], after[3];
        for (int i = 0; i < 3; i++)
            before[i] = *(volatile unsigned long *)(target + (size_t)i * PAGE);
        for (int i = 0; i < 200; i++)
            __asm__ volatile("" : : : "memory");
        if (round % 16 == 0)
            sched_yield();
        for (int i = 0; i < 3; i++)
            after[i] = *(volatile unsigned long *)(target + (size_t)i * PAGE);
        REQUIRE_OK(mprotect(target, 4 * PAGE, RW));
        __atomic_store_n(&writable, 1, __ATOMIC_SEQ_CST);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(before[i], after[i]);
        if (round % 8 == 0)
            sleep_ns(MS / 10);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    munmap(target, 4 * PAGE);
}

// ---- a page given up comes back as zeros for everybody ----

// Each first write to a page is a flush on every CPU: few pages, or a machine with more CPUs than its
// host spends minutes in them.
enum { GIVEN_UP_PAGES = 12 };
static volatile unsigned long round_number;
static char *given_up;

static void *read_after_dontneed(void *argument)
{
    (void)argument;
    unsigned long seen = 0;
    while (!stop) {
        unsigned long now = __atomic_load_n(&round_number, __ATOMIC_SEQ_CST);
        if (now == seen || now % 2 == 0) {
            sched_yield();
            continue;
        }
        for (size_t i = 0; i < GIVEN_UP_PAGES; i++) {
            unsigned long value = *(volatile unsigned long *)(given_up + i * PAGE);
            if (value != 0 && __atomic_load_n(&round_number, __ATOMIC_SEQ_CST) == now) {
                FAIL("page %zu still holds %lu after DONTNEED", i, value);
                stop = 1;
                return NULL;
            }
        }
        seen = now;
    }
    return NULL;
}

TEST_LIMIT(dontneed_reaches_every_cpu, 60)
{
    given_up = map_anon(GIVEN_UP_PAGES * PAGE);
    stop = 0, round_number = 0;
    pthread_t ids[3];
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&ids[i], NULL, read_after_dontneed, NULL) == 0);
    for (unsigned long round = 0; round < 400 && !stop; round += 2) {
        for (size_t i = 0; i < GIVEN_UP_PAGES; i++)
            *(volatile unsigned long *)(given_up + i * PAGE) = round + 1;
        REQUIRE_OK(madvise(given_up, GIVEN_UP_PAGES * PAGE, MADV_DONTNEED));
        __atomic_store_n(&round_number, round + 1, __ATOMIC_SEQ_CST);  // odd: readers look
        sleep_ns(MS / 5);
        __atomic_store_n(&round_number, round + 2, __ATOMIC_SEQ_CST);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    munmap(given_up, GIVEN_UP_PAGES * PAGE);
}

// ---- what one thread writes to a page that reads as zeros, another must see that has read the zeros ----

// For each page: the reader looks, two writers write to different words at once, and the second one tells the reader,
// who must not find zeros any more. The first write gives the page a frame; the second may come to it at once.
enum { FRESH_PAGES = 256 };
static volatile unsigned long *fresh;
static unsigned long fresh_looked, fresh_written;

static void wait_for(unsigned long *counter, unsigned long value)
{
    for (unsigned turn = 1; __atomic_load_n(counter, __ATOMIC_ACQUIRE) < value; turn++)
        if (turn % 1000 == 0)
            sched_yield();
}

static void *write_fresh(void *argument)
{
    bool tells = argument != NULL;
    unsigned seed = 5 + tells;
    for (unsigned long i = 1; i <= FRESH_PAGES; i++) {
        wait_for(&fresh_looked, i);
        for (volatile unsigned pause = next_random(&seed) % 400; pause; pause--)
            ;
        fresh[(i - 1) * PAGE / sizeof *fresh + 8 * tells] = i;
        if (tells)
            __atomic_store_n(&fresh_written, i, __ATOMIC_RELEASE);
    }
    return NULL;
}

TEST_LIMIT(first_writes_show_on_every_cpu, 120)
{
    int rounds = harness_rounds(24);
    for (int round = 0; round < rounds; round++) {
        pthread_t ids[2];
        fresh = (volatile unsigned long *)map_anon(FRESH_PAGES * PAGE);
        madvise((void *)fresh, FRESH_PAGES * PAGE, MADV_NOHUGEPAGE);
        fresh_looked = fresh_written = 0;
        for (uintptr_t k = 0; k < 2; k++)
            REQUIRE(pthread_create(&ids[k], NULL, write_fresh, (void *)k) == 0);
        unsigned stale = 0;
        for (unsigned long i = 1; i <= FRESH_PAGES; i++) {
            volatile unsigned long *word = &fresh[(i - 1) * PAGE / sizeof *fresh + 8];
            CHECK_EQ(*word, 0);
            __atomic_store_n(&fresh_looked, i, __ATOMIC_RELEASE);
            wait_for(&fresh_written, i);
            stale += *word != i;
        }
        CHECK_EQ(stale, 0);
        for (int k = 0; k < 2; k++)
            pthread_join(ids[k], NULL);
        munmap((void *)fresh, FRESH_PAGES * PAGE);
    }
}

// ---- maps and unmaps of all sizes from all threads: no two may meet ----

static void *map_and_unmap(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument, seed = me * 31 + 7;
    struct {
        char *start;
        size_t len;
        unsigned char value;
    } held[16] = {{0}};
    int rounds = harness_rounds(2500);
    for (int i = 0; i < rounds; i++) {
        unsigned slot = next_random(&seed) % 16;
        if (held[slot].start) {
            for (size_t at = 0; at < held[slot].len; at += PAGE)
                if ((unsigned char)held[slot].start[at] != held[slot].value) {
                    FAIL("thread %u: somebody wrote into a private mapping", me);
                    return NULL;
                }
            if (next_random(&seed) % 3 == 0) {
                size_t len = held[slot].len * (1 + next_random(&seed) % 2) + PAGE;
                char *moved = mremap(held[slot].start, held[slot].len, len, MREMAP_MAYMOVE);
                if (moved == MAP_FAILED) {
                    FAIL("mremap fails with %s", errno_name(errno));
                    return NULL;
                }
                if ((unsigned char)moved[held[slot].len] != 0)
                    FAIL("memory that mremap added is not zero");
                held[slot].start = moved;
                for (size_t at = held[slot].len; at < len; at += PAGE)
                    moved[at] = (char)held[slot].value;
                held[slot].len = len;
                if (len < 200 * PAGE)
                    continue;
            }
            if (munmap(held[slot].start, held[slot].len) != 0)
                FAIL("munmap fails with %s", errno_name(errno));
            held[slot].start = NULL;
        } else {
            held[slot].len = (1 + next_random(&seed) % 40) * PAGE;
            held[slot].start = mmap(NULL, held[slot].len, RW, ANON, -1, 0);
            held[slot].value = (unsigned char)(me * 60 + slot + 1);
            if (held[slot].start == MAP_FAILED) {
                FAIL("mmap fails with %s", errno_name(errno));
                return NULL;
            }
            for (size_t at = 0; at < held[slot].len; at += PAGE) {
                if (held[slot].start[at] != 0)
                    FAIL("fresh memory is not zero");
                held[slot].start[at] = (char)held[slot].value;
            }
        }
    }
    for (int i = 0; i < 16; i++)
        if (held[i].start)
            munmap(held[i].start, held[i].len);
    return NULL;
}

TEST_LIMIT(map_and_unmap_from_all_threads, 120) { run_threads(THREADS, map_and_unmap); }

// ---- one mapping, all threads advise and write without order: nothing to check but survival ----

static char *battlefield;

static void *fight(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument * 13 + 3;
    for (int i = 0; i < 1500; i++) {
        size_t at = next_random(&seed) % 1024, n = 1 + next_random(&seed) % 64;
        char *p = battlefield + at * PAGE;
        n = at + n > 1024 ? 1024 - at : n;
        static const int advices[] = {MADV_DONTNEED, 8, 14, 15, 20, 21, 22, 23};
        switch (next_random(&seed) % 4) {
        case 0: madvise(p, n * PAGE, advices[next_random(&seed) % COUNT(advices)]); break;
        case 1:
            for (size_t j = 0; j < n; j++)
                p[j * PAGE] = (char)i;
            break;
        case 2:
            for (size_t j = 0; j < n; j++)
                (void)*(volatile char *)(p + j * PAGE);
            break;
        case 3: {
            unsigned char seen[64];
            mincore(p, n * PAGE, seen);
            break;
        }
        }
    }
    return NULL;
}

TEST_LIMIT(advice_and_faults_without_order, 120)
{
    battlefield = map_huge_aligned(1024 * PAGE);
    run_threads(THREADS, fight);
    CHECK_OK(madvise(battlefield, 1024 * PAGE, MADV_DONTNEED));
    CHECK_BYTES(battlefield, 0, 1024 * PAGE);
    munmap(battlefield, 1024 * PAGE);
}

// ---- all threads give up and fill the same pages: a page holds nothing but its own mark ----

enum { SHARED_OUT_PAGES = 1024, FILE_MARK = 0x40000000 };
static char *shared_out, *shared_out_file;

static volatile unsigned *mark_of(char *base, size_t i) { return (unsigned *)(base + i * PAGE); }

// A frame that was freed twice, or freed while somebody could reach it, shows the mark of another page.
static bool marks_are_right(unsigned me, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        unsigned anon = *mark_of(shared_out, i), file = *mark_of(shared_out_file, i);
        if ((anon != 0 && anon != i + 1) || (file != i + FILE_MARK && file != i + 1)) {
            FAIL("thread %u: page %zu holds %#x, and of the file %#x", me, i, anon, file);
            return false;
        }
    }
    return true;
}

static void *give_up_the_same(void *argument)
{
    unsigned me = (unsigned)(uintptr_t)argument, seed = me * 131 + 5;
    int rounds = harness_rounds(6000);
    for (int round = 0; round < rounds; round++) {
        size_t at = next_random(&seed) % SHARED_OUT_PAGES, n = 1 + next_random(&seed) % 80;
        if (next_random(&seed) % 4 == 0)
            at &= ~(size_t)511, n = 512;
        n = at + n > SHARED_OUT_PAGES ? SHARED_OUT_PAGES - at : n;
        char *base = next_random(&seed) % 2 ? shared_out : shared_out_file;
        static const int advices[] = {MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, 14, 20, 21};
        switch (next_random(&seed) % 4) {
        case 0:
        case 1:
            madvise(base + at * PAGE, n * PAGE, advices[next_random(&seed) % COUNT(advices)]);
            break;
        case 2:
            for (size_t i = at; i < at + n; i++)
                *mark_of(base, i) = (unsigned)i + 1;
            break;
        case 3:
            if (!marks_are_right(me, at, n))
                return NULL;
        }
    }
    return NULL;
}

TEST_LIMIT(the_same_pages_given_up_by_all_threads, 120)
{
    shared_out = map_huge_aligned(SHARED_OUT_PAGES * PAGE);
    int fd = new_memfd(SHARED_OUT_PAGES * PAGE);
    for (unsigned i = 0; i < SHARED_OUT_PAGES; i++) {
        unsigned mark = i + FILE_MARK;
        REQUIRE(pwrite(fd, &mark, sizeof mark, (off_t)(i * PAGE)) == sizeof mark);
    }
    shared_out_file = map_with(SHARED_OUT_PAGES * PAGE, RW, MAP_PRIVATE, fd);
    run_threads(THREADS, give_up_the_same);
    CHECK(marks_are_right(THREADS, 0, SHARED_OUT_PAGES));
    for (unsigned i = 0; i < SHARED_OUT_PAGES; i++) {
        unsigned mark = 0;
        REQUIRE(pread(fd, &mark, sizeof mark, (off_t)(i * PAGE)) == sizeof mark);
        CHECK_EQ(mark, i + FILE_MARK);
    }
    munmap(shared_out, SHARED_OUT_PAGES * PAGE);
    munmap(shared_out_file, SHARED_OUT_PAGES * PAGE);
    close(fd);
}

// ---- nothing may leak: rounds that leave the free memory where it was ----

static unsigned long free_kb(void)
{
    char text[4096];
    slurp("/proc/meminfo", text, sizeof text);
    char *line = strstr(text, "MemFree:");
    return line ? strtoul(line + 8, NULL, 10) : 0;
}

TEST_LIMIT(page_tables_come_back, 120)
{
    // 4 KiB at addresses far apart: each round needs page tables of its own.
    if (!in_lethe())
        SKIP("on a shared host the free memory moves by itself");
    unsigned long before = 0;
    for (int round = 0; round < 6000; round++) {
        if (round == 500)
            before = free_kb();
        uintptr_t at = 0x100000000000 + (uintptr_t)(round % 3000) * (1ul << 30);
        char *p = mmap((void *)at, PAGE, RW, ANON | MAP_FIXED, -1, 0);
        REQUIRE(p != MAP_FAILED);
        p[0] = 1;
        REQUIRE_OK(munmap(p, PAGE));
    }
    unsigned long after = free_kb();
    CHECK(after + 1024 > before);
}

static void *do_nothing(void *argument) { return argument; }

TEST_LIMIT(threads_come_back, 120)
{
    if (!in_lethe())
        SKIP("on a shared host the free memory moves by itself");
    unsigned long before = 0;
    for (int round = 0; round < 1500; round++) {
        if (round == 300)
            before = free_kb();
        pthread_t id;
        REQUIRE(pthread_create(&id, NULL, do_nothing, NULL) == 0);
        pthread_join(id, NULL);
    }
    CHECK(free_kb() + 1024 > before);
}
