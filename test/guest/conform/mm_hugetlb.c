// SPDX-License-Identifier: BSD-2-Clause
// MAP_HUGETLB and its pool (mmap(2), munmap(2), mremap(2), madvise(2), proc_meminfo(5)). A pool is set up on Linux only when the
// environment has LETHE_TUNE_HOST: it takes memory from the whole system.
#include "harness.h"

#include <fcntl.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)
#define POOL (MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
#define SHARED_POOL (MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB)
enum { PAGES = 8 };

static char text[1 << 19];

static void set_pool(int pages)
{
    char value[16];
    int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY);
    snprintf(value, sizeof value, "%d", pages);
    if (fd >= 0)
        write(fd, value, strlen(value));
    close(fd);
}

static long meminfo(const char *name)
{
    slurp("/proc/meminfo", text, sizeof text);
    const char *line = strstr(text, name);
    return line ? strtol(line + strlen(name) + 1, NULL, 10) : -1;
}

static void with_pool(void)
{
    if (!in_lethe() && !getenv("LETHE_TUNE_HOST"))
        SKIP("takes memory from the whole system");
    set_pool(PAGES);
    if (meminfo("HugePages_Total") != PAGES || meminfo("HugePages_Rsvd") != 0)
        SKIP("no pool of %d pages to be had", PAGES);
}

static void end_pool(void)
{
    CHECK_EQ(meminfo("HugePages_Free"), PAGES);
    CHECK_EQ(meminfo("HugePages_Rsvd"), 0);
    set_pool(0);
    CHECK_EQ(meminfo("HugePages_Total"), 0);
}

static long field_at(const char *path, const void *p, const char *name)
{
    char head[32];
    snprintf(head, sizeof head, "\n%lx-", (unsigned long)p);
    text[0] = '\n';
    slurp(path, text + 1, sizeof text - 1);
    const char *at = p ? strstr(text, head) : text;
    at = at ? strstr(at, name) : NULL;
    return at ? strtol(at + strlen(name) + 1, NULL, 10) : -1;
}
static long smaps(const void *p, const char *name) { return field_at("/proc/self/smaps", p, name); }

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, to);
}

TEST(the_pool_is_counted)
{
    with_pool();
    CHECK_EQ(meminfo("Hugetlb"), PAGES * 2048);
    CHECK(reads_as("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n"));
    char *p = mmap(NULL, 3 * HUGE + 1, RW, POOL, -1, 0);
    REQUIRE(p != MAP_FAILED);
    CHECK_EQ((uintptr_t)p % HUGE, 0);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES);
    CHECK_EQ(meminfo("HugePages_Rsvd"), 4);
    CHECK_BYTES(p + HUGE, 0, HUGE);
    memset(p + HUGE, 3, HUGE);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 1);
    CHECK_EQ(meminfo("HugePages_Rsvd"), 3);
    CHECK(reads_as("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "7\n"));
    CHECK(reads_as("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "3\n"));
    CHECK_EQ(smaps(p, "Size:"), 4 * 2048);
    CHECK_EQ(smaps(p, "KernelPageSize:"), 2048);
    CHECK_EQ(smaps(p, "Rss:"), 0);
    CHECK_EQ(smaps(p, "Private_Hugetlb:"), 2048);
    CHECK_EQ(field_at("/proc/self/status", NULL, "HugetlbPages:"), 2048);
    struct vma vma;
    REQUIRE(vma_at(p, &vma));
    CHECK_STR(vma.name, "/anon_hugepage (deleted)");
    CHECK_OK(munmap(p, 4 * HUGE));
    end_pool();
}

TEST(reservations_hold)
{
    with_pool();
    CHECK_ERRNO(mmap(NULL, 9 * HUGE, RW, POOL, -1, 0), ENOMEM);
    CHECK_ERRNO(mmap(NULL, 9 * HUGE, RW, SHARED_POOL, -1, 0), ENOMEM);
    CHECK_ERRNO(mmap(NULL, HUGE, RW, POOL | 30 << MAP_HUGE_SHIFT, -1, 0), ENOMEM);
    CHECK_ERRNO(mmap(NULL, HUGE, RW, POOL | 22 << MAP_HUGE_SHIFT, -1, 0), EINVAL);
    char *p = mmap(NULL, 5 * HUGE, RW, POOL | 21 << MAP_HUGE_SHIFT, -1, 0);
    REQUIRE(p != MAP_FAILED);
    CHECK_ERRNO(mmap(NULL, 4 * HUGE, RW, POOL, -1, 0), ENOMEM);
    char *q = mmap(NULL, 4 * HUGE, RW, POOL | MAP_NORESERVE, -1, 0);
    REQUIRE(q != MAP_FAILED);
    CHECK_NO_FAULT((WRITE(q, 1), WRITE(q + HUGE, 2), WRITE(q + 2 * HUGE, 3)));
    CHECK_FAULT(WRITE(q + 3 * HUGE + 5, 4), SIGBUS, BUS_ADRERR, q + 3 * HUGE + 5);
    CHECK_NO_FAULT(memset(p, 5, 5 * HUGE));
    CHECK_OK(munmap(p, HUGE));
    CHECK_NO_FAULT(WRITE(q + 3 * HUGE + 5, 4));
    CHECK_OK(munmap(q, 4 * HUGE));
    CHECK_OK(munmap(p + HUGE, 4 * HUGE));
    end_pool();
}

TEST(edges_lie_at_whole_pages)
{
    with_pool();
    char *p = mmap(NULL, 4 * HUGE, RW, POOL, -1, 0);
    REQUIRE(p != MAP_FAILED);
    memset(p, 1, 4 * HUGE);
    CHECK_ERRNO(munmap(p, PAGE), EINVAL);
    CHECK_ERRNO(munmap(p + PAGE, HUGE), EINVAL);
    CHECK_ERRNO(munmap(p + 3 * HUGE + PAGE, PAGE), EINVAL);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ), EINVAL);
    CHECK_ERRNO(mprotect(p + HUGE, HUGE + PAGE, PROT_READ), EINVAL);
    CHECK_ERRNO(madvise(p + PAGE, HUGE, MADV_DONTFORK), EINVAL);
    CHECK_OK(mprotect(p + HUGE, HUGE, PROT_READ));
    CHECK_EQ(vma_count(p, p + 4 * HUGE), 3);
    CHECK_FAULT(WRITE(p + HUGE + PAGE, 2), SIGSEGV, SEGV_ACCERR, p + HUGE + PAGE);
    CHECK_EQ(BYTE(p + HUGE + PAGE), 1);
    CHECK_OK(mprotect(p + HUGE, HUGE, PROT_NONE));
    CHECK_FAULT(READ(p + HUGE), SIGSEGV, SEGV_ACCERR, p + HUGE);
    CHECK_OK(mprotect(p + HUGE, HUGE, RW));
    CHECK_NO_FAULT(WRITE(p + HUGE, 2));
    CHECK_ERRNO(mmap(p + PAGE, HUGE, RW, POOL | MAP_FIXED, -1, 0), EINVAL);
    CHECK_ERRNO(
        mmap(NULL, HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_GROWSDOWN, -1, 0),
        EINVAL);
    CHECK_OK(munmap(p + 2 * HUGE, HUGE));
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 3);
    CHECK_EQ(BYTE(p + 3 * HUGE), 1);
    CHECK_OK(munmap(p, 4 * HUGE));
    end_pool();
}

TEST(advice_on_the_pool)
{
    with_pool();
    char *p = mmap(NULL, 3 * HUGE, RW, POOL, -1, 0);
    REQUIRE(p != MAP_FAILED);
    memset(p, 1, 3 * HUGE);
    CHECK_ERRNO(madvise(p + PAGE, HUGE, MADV_DONTNEED), EINVAL);
    CHECK_OK(madvise(p, PAGE, MADV_DONTNEED));  // rounded down: nothing
    CHECK_EQ(BYTE(p), 1);
    CHECK_OK(madvise(p, HUGE + PAGE, MADV_DONTNEED));
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 2);
    CHECK_EQ(BYTE(p + HUGE), 1);
    CHECK_BYTES(p, 0, HUGE);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 3);
    CHECK_ERRNO(madvise(p, HUGE, MADV_FREE), EINVAL);
    CHECK_ERRNO(madvise(p, HUGE, 20 /* COLD */), EINVAL);
    CHECK_ERRNO(madvise(p, HUGE, 25 /* COLLAPSE */), EINVAL);
    CHECK_ERRNO(madvise(p, HUGE, 18 /* WIPEONFORK */), EINVAL);
    CHECK_ERRNO(madvise(p, HUGE, 102 /* GUARD_INSTALL */), EINVAL);
    CHECK_OK(madvise(p, 3 * HUGE, 23 /* POPULATE_WRITE */));
    CHECK_OK(madvise(p, HUGE, MADV_DONTFORK));
    CHECK_OK(mlock(p, 3 * HUGE));
    CHECK_EQ(smaps(p, "Locked:"), 0);
    unsigned char in_core[2 * HUGE / PAGE];
    CHECK_OK(mincore(p, 2 * HUGE, in_core));
    CHECK_EQ(in_core[0] & in_core[1000] & 1, 1);
    CHECK_OK(munmap(p, 3 * HUGE));
    end_pool();
}

TEST(pool_memory_moves_whole)
{
    with_pool();
    char *p = mmap(NULL, 3 * HUGE, RW, POOL, -1, 0), *hole = map_hole(6 * HUGE);
    char *to = (char *)(((uintptr_t)hole + HUGE - 1) & ~(HUGE - 1));
    REQUIRE(p != MAP_FAILED);
    memset(p, 6, 2 * HUGE);
    CHECK_ERRNO(remap(p, 3 * HUGE, 4 * HUGE, MREMAP_MAYMOVE, NULL), EINVAL);
    CHECK_ERRNO(remap(p + PAGE, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EINVAL);
    CHECK_ERRNO(remap(p, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE), EINVAL);
    CHECK_EQ(remap(p, 3 * HUGE, 3 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 2);
    CHECK_EQ(meminfo("HugePages_Rsvd"), 1);
    CHECK_BYTES(to, 6, 2 * HUGE);
    CHECK_NO_FAULT(WRITE(to + 2 * HUGE, 1));
    CHECK_EQ(remap(to, 3 * HUGE, HUGE, 0, NULL), to);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 1);
    CHECK_OK(munmap(to, HUGE));
    end_pool();
}

TEST(pool_memory_over_fork)
{
    with_pool();
    char *p = mmap(NULL, 2 * HUGE, RW, POOL, -1, 0), *s = mmap(NULL, HUGE, RW, SHARED_POOL, -1, 0);
    REQUIRE(p != MAP_FAILED && s != MAP_FAILED);
    memset(p, 1, HUGE);
    pid_t child = fork();
    if (child == 0) {
        bool ok = BYTE(p) == 1 && BYTE(s) == 0;
        WRITE(p + 3 * PAGE, 2);
        WRITE(s + 5, 9);
        _exit(ok && BYTE(p + 3 * PAGE) == 2 && BYTE(p + 4 * PAGE) == 1 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_BYTES(p, 1, HUGE);
    CHECK_NO_FAULT(WRITE(p, 4));
    CHECK_EQ(BYTE(s + 5), 9);
    CHECK_EQ(meminfo("HugePages_Free"), PAGES - 2);
    CHECK_EQ(meminfo("HugePages_Rsvd"), 1);
    CHECK_OK(munmap(s, HUGE));
    CHECK_OK(munmap(p, 2 * HUGE));
    end_pool();
}

static void *touch_all(void *p)
{
    for (size_t i = 0; i < 4 * HUGE; i += HUGE)
        __atomic_fetch_add((int *)((char *)p + i), 1, __ATOMIC_RELAXED);
    return NULL;
}

TEST(threads_touch_the_same_pages)
{
    with_pool();
    for (int kind = 0; kind < 2; kind++) {
        char *p = mmap(NULL, 4 * HUGE, RW, kind ? SHARED_POOL : POOL, -1, 0);
        REQUIRE(p != MAP_FAILED);
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            REQUIRE(pthread_create(&threads[i], NULL, touch_all, p) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (size_t i = 0; i < 4 * HUGE; i += HUGE)
            CHECK_EQ(*(int *)(p + i), 4);
        CHECK_EQ(meminfo("HugePages_Free"), PAGES - 4);
        CHECK_EQ(meminfo("HugePages_Rsvd"), 0);
        CHECK_OK(munmap(p, 4 * HUGE));
    }
    end_pool();
}

TEST(the_kernel_reaches_pool_memory)
{
    with_pool();
    char *p = mmap(NULL, HUGE, RW, POOL, -1, 0);
    REQUIRE(p != MAP_FAILED);
    int fd = open("/dev/zero", O_RDONLY);
    memset(p, 1, HUGE);
    CHECK_EQ(read(fd, p + PAGE - 8, 2 * PAGE), 2 * PAGE);
    CHECK_BYTES(p + PAGE - 8, 0, 2 * PAGE);
    CHECK_EQ(BYTE(p + 3 * PAGE), 1);
    close(fd);
    CHECK_OK(munmap(p, HUGE));
    end_pool();
}
