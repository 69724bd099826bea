// SPDX-License-Identifier: BSD-2-Clause
// What /proc says of memory, against what the program did to it: smaps, status, pagemap, clear_refs
// (proc_pid_smaps(5), proc_pid_status(5), proc_pid_pagemap(5), proc_pid_clear_refs(5)).
#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>

#define RW (PROT_READ | PROT_WRITE)
#define MADV_COLD_ 20

static char text[1 << 20];

// The number behind "NAME:" in text from `from` on.
static long field_in(const char *from, const char *name)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\n%s:", name);
    const char *line = strstr(from, wanted);
    return line ? strtol(line + strlen(wanted), NULL, 10) : -1;
}

static long field_of(const char *path, const char *name)
{
    text[0] = '\n';
    slurp(path, text + 1, sizeof text - 1);
    return field_in(text, name);
}

// A field of the area that starts at p, in kB.
static long smaps_kb(const void *p, const char *name)
{
    char head[32];
    snprintf(head, sizeof head, "\n%lx-", (unsigned long)p);
    text[0] = '\n';
    slurp("/proc/self/smaps", text + 1, sizeof text - 1);
    const char *at = strstr(text, head);
    if (!at) {
        FAIL("smaps has no area at %p", p);
        return -1;
    }
    return field_in(at, name);
}

// n pages with holes around, so that nothing merges with them.
static char *alone(size_t n)
{
    char *p = map_anon((n + 2) * PAGE);
    munmap(p, PAGE);
    munmap(p + (n + 1) * PAGE, PAGE);
    return p + PAGE;
}

TEST(smaps_counts_what_is_touched)
{
    char *p = alone(16);
    CHECK_EQ(smaps_kb(p, "Size"), 64);
    CHECK_EQ(smaps_kb(p, "Rss"), 0);
    memset(p, 1, 4 * PAGE);
    READ(p + 8 * PAGE);  // the zero page is nobody's
    CHECK_EQ(smaps_kb(p, "Rss"), 16);
    CHECK_EQ(smaps_kb(p, "Pss"), 16);
    CHECK_EQ(smaps_kb(p, "Private_Dirty"), 16);
    CHECK_EQ(smaps_kb(p, "Anonymous"), 16);
    CHECK_EQ(smaps_kb(p, "Referenced"), 16);
    CHECK_EQ(smaps_kb(p, "Swap"), 0);
    CHECK_OK(madvise(p, 2 * PAGE, MADV_DONTNEED));
    CHECK_EQ(smaps_kb(p, "Rss"), 8);
    CHECK_EQ(smaps_kb(p, "Locked"), 0);
    CHECK_OK(mlock(p, 16 * PAGE));
    CHECK_EQ(smaps_kb(p, "Rss"), 64);
    CHECK_EQ(smaps_kb(p, "Locked"), 64);
    munmap(p, 16 * PAGE);
}

TEST(cold_memory_is_not_referenced)
{
    char *p = alone(8);
    memset(p, 1, 8 * PAGE);
    CHECK_EQ(smaps_kb(p, "Referenced"), 32);
    CHECK_OK(madvise(p, 6 * PAGE, MADV_COLD_));
    CHECK_EQ(smaps_kb(p, "Referenced"), 8);
    CHECK_EQ(smaps_kb(p, "Rss"), 32);
    CHECK_BYTES(p, 1, 8 * PAGE);  // only the order of reclaim changed
    CHECK_EQ(smaps_kb(p, "Referenced"), 32);
    munmap(p, 8 * PAGE);
}

TEST(clear_refs_forgets_accesses)
{
    char *p = alone(8);
    memset(p, 1, 8 * PAGE);
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    REQUIRE(fd >= 0);
    CHECK_ERRNO(write(fd, "0", 1), EINVAL);
    CHECK_ERRNO(write(fd, "6", 1), EINVAL);
    CHECK_EQ(write(fd, "1", 1), 1);
    CHECK_EQ(smaps_kb(p, "Referenced"), 0);
    memset(p + 4 * PAGE, 2, 4 * PAGE);
    CHECK_RANGE(smaps_kb(p, "Referenced"), 0,
                16);  // Linux leaves old translations, which tell nothing
    close(fd);
    munmap(p, 8 * PAGE);
}

TEST(peaks_stay)
{
    enum { N = 4096 };
    long vm = field_of("/proc/self/status", "VmPeak");
    char *p = map_anon(N * PAGE);
    char *big = map_with(1ul << 32, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    memset(p, 1, N * PAGE);
    long size = field_of("/proc/self/status", "VmSize"),
         rss = field_of("/proc/self/status", "VmRSS");
    CHECK(size > (1 << 22) && rss > N * 4);
    munmap(big, 1ul << 32);
    munmap(p, N * PAGE);
    CHECK(field_of("/proc/self/status", "VmSize") < size - (1 << 22) + 1024);
    long peak = field_of("/proc/self/status", "VmPeak");
    CHECK(peak >= size && peak >= vm);
    CHECK(field_of("/proc/self/status", "VmRSS") < rss - N * 4 + 2048);
    CHECK(field_of("/proc/self/status", "VmHWM") >= rss - 512);  // Linux counts in batches a CPU
    struct rusage usage;
    REQUIRE_OK(getrusage(RUSAGE_SELF, &usage));
    CHECK(usage.ru_maxrss >= rss - 512);
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    CHECK_EQ(write(fd, "5", 1), 1);
    CHECK(field_of("/proc/self/status", "VmHWM") < rss - 1024);
    close(fd);
}

TEST(huge_backing_is_shown)
{
    char policy[128];
    slurp("/sys/kernel/mm/transparent_hugepage/enabled", policy, sizeof policy);
    if (strstr(policy, "[never]"))
        SKIP("no transparent huge pages here");
    char *p = map_huge_aligned(2 * HUGE);
    CHECK_OK(madvise(p, 2 * HUGE, MADV_HUGEPAGE));
    memset(p, 1, 2 * HUGE);
    long shown = smaps_kb(p, "AnonHugePages");
    if (shown == 0)
        SKIP("memory is too fragmented");
    CHECK_EQ(smaps_kb(p, "Rss"), 4096);
    CHECK(field_of("/proc/meminfo", "AnonHugePages") >= shown);
    CHECK_OK(madvise(p + PAGE, PAGE, MADV_DONTNEED));  // breaks the first one
    CHECK_EQ(smaps_kb(p, "Rss"), 4092);
    CHECK_EQ(smaps_kb(p, "AnonHugePages"), shown - 2048);
    munmap(p, 2 * HUGE);
}

static uint64_t pagemap(int fd, const char *p)
{
    uint64_t entry = ~0ull;
    if (pread(fd, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)) != 8)
        FAIL("pagemap cannot be read");
    return entry;
}

TEST(pagemap_tells_what_is_present)
{
    enum { PRESENT = 63, SWAPPED = 62, OF_FILE = 61, EXCLUSIVE = 56 };
    int fd = open("/proc/self/pagemap", O_RDONLY);
    REQUIRE(fd >= 0);
    char *p = alone(4);
    WRITE(p, 1);
    uint64_t e = pagemap(fd, p);
    CHECK_EQ(e >> PRESENT & 1, 1);
    CHECK_EQ(e >> SWAPPED & 1, 0);
    CHECK_EQ(e >> OF_FILE & 1, 0);
    CHECK_EQ(e >> EXCLUSIVE & 1, 1);
    CHECK_EQ(pagemap(fd, p + PAGE) >> SWAPPED, 0);
    CHECK_EQ(pagemap(fd, p - PAGE) >> SWAPPED, 0);  // a hole
    int memory = new_memfd(2 * PAGE);
    char *s = map_with(2 * PAGE, RW, MAP_SHARED, memory);
    WRITE(s, 1);
    e = pagemap(fd, s);
    CHECK_EQ(e >> PRESENT & 1, 1);
    CHECK_EQ(e >> OF_FILE & 1, 1);
    close(memory), close(fd);
    munmap(s, 2 * PAGE);
    munmap(p, 4 * PAGE);
}

TEST(statm_and_status_agree)
{
    unsigned long size, rss, shared;
    char line[256];
    slurp("/proc/self/statm", line, sizeof line);
    REQUIRE(sscanf(line, "%lu %lu %lu", &size, &rss, &shared) == 3);
    CHECK_EQ((long)size * 4, field_of("/proc/self/status", "VmSize"));
    CHECK_RANGE(field_of("/proc/self/status", "VmRSS"), (long)rss * 4 - 1024, (long)rss * 4 + 1024);
}

TEST(rollup_is_the_sum)
{
    char *p = alone(64);
    memset(p, 1, 64 * PAGE);
    text[0] = '\n';
    slurp("/proc/self/smaps", text + 1, sizeof text - 1);
    long sum = 0;
    for (const char *at = text; (at = strstr(at, "\nAnonymous:")); at++)
        sum += strtol(at + strlen("\nAnonymous:"), NULL, 10);
    CHECK_RANGE(field_of("/proc/self/smaps_rollup", "Anonymous"), sum - 64, sum + 64);
    munmap(p, 64 * PAGE);
}

TEST(locked_memory_is_counted)
{
    long before = field_of("/proc/self/status", "VmLck");
    char *p = alone(8);
    CHECK_OK(mlock(p, 8 * PAGE));
    CHECK_EQ(field_of("/proc/self/status", "VmLck"), before + 32);
    CHECK(field_of("/proc/meminfo", "Mlocked") >= 0);
    munmap(p, 8 * PAGE);
    CHECK_EQ(field_of("/proc/self/status", "VmLck"), before);
}

TEST(vmstat_counts_faults)
{
    slurp("/proc/vmstat", text, sizeof text);
    const char *line = strstr(text, "\npgfault ");
    REQUIRE(line != NULL);
    unsigned long before = strtoul(line + 9, NULL, 10);
    CHECK(strstr(text, "\npgmajfault ") != NULL);
    char *p = map_anon(64 * PAGE);
    madvise(p, 64 * PAGE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 64; i++)
        WRITE(p + i * PAGE, 1);
    munmap(p, 64 * PAGE);
    slurp("/proc/vmstat", text, sizeof text);
    line = strstr(text, "\npgfault ");
    CHECK(line && strtoul(line + 9, NULL, 10) >= before + 64);
}

// What was written since clear_refs was told 4 (Linux with soft-dirty tracking; without it the bit is never set).
TEST(soft_dirty_pages_are_told)
{
    enum { N = 16 };
    int map = open("/proc/self/pagemap", O_RDONLY), refs = open("/proc/self/clear_refs", O_WRONLY);
    REQUIRE(map >= 0 && refs >= 0);
    char *p = alone(N), *big = map_huge_aligned(HUGE);
    madvise(big, HUGE, MADV_HUGEPAGE);
    memset(big, 1, HUGE);
    memset(p, 1, N * PAGE);
    int memory = new_memfd(2 * PAGE);
    char *s = map_with(2 * PAGE, RW, MAP_SHARED, memory);
    memset(s, 1, 2 * PAGE);
    if (!(pagemap(map, p) >> 55 & 1))
        SKIP("no soft-dirty tracking here");
    CHECK_EQ(write(refs, "4", 1), 1);
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(pagemap(map, p + i * PAGE) >> 55 & 1, 0);
    CHECK_EQ(pagemap(map, big) >> 55 & 1, 0);
    CHECK_EQ(pagemap(map, s) >> 55 & 1, 0);
    CHECK_EQ(pagemap(map, p) >> 63, 1);
    WRITE(p + 3 * PAGE, 2);
    READ(p + 4 * PAGE);
    WRITE(s + PAGE, 3);
    WRITE(big + 5, 2);
    int zero = open("/dev/zero", O_RDONLY);
    CHECK_EQ(read(zero, p + 7 * PAGE, 8), 8);  // the kernel's writes count
    int self = open("/proc/self/mem", O_RDWR);
    CHECK_EQ(pwrite(self, "x", 1, (off_t)(uintptr_t)(p + 9 * PAGE)), 1);
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(pagemap(map, p + i * PAGE) >> 55 & 1, i == 3 || i == 7 || i == 9);
    CHECK_EQ(pagemap(map, s) >> 55 & 1, 0);
    CHECK_EQ(pagemap(map, s + PAGE) >> 55 & 1, 1);
    CHECK_EQ(pagemap(map, big) >> 55 & 1, 1);
    CHECK_EQ(BYTE(p + 3 * PAGE), 2);
    CHECK_EQ(BYTE(p + 9 * PAGE), 'x');
    CHECK_EQ(write(refs, "4", 1), 1);
    CHECK_EQ(pagemap(map, p + 3 * PAGE) >> 55 & 1, 0);
    CHECK_OK(mprotect(p, N * PAGE, PROT_READ));
    CHECK_OK(mprotect(p, N * PAGE, RW));
    WRITE(p + 5 * PAGE, 4);
    CHECK_EQ(pagemap(map, p + 5 * PAGE) >> 55 & 1, 1);
    CHECK_BYTES(p, 1, 3 * PAGE);
    close(map), close(refs), close(memory), close(zero), close(self);
    munmap(p, N * PAGE), munmap(s, 2 * PAGE), munmap(big, HUGE);
}

TEST(memory_is_written_through_proc)
{
    int self = open("/proc/self/mem", O_RDWR), memory = new_memfd(PAGE);
    REQUIRE(self >= 0);
    char *p = map_anon(3 * PAGE), *s = map_with(PAGE, PROT_READ, MAP_SHARED, memory);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ));
    CHECK_EQ(pwrite(self, "abcdefgh", 8, (off_t)(uintptr_t)(p + PAGE - 4)), 8);
    CHECK(memcmp(p + PAGE - 4, "abcdefgh", 8) == 0);  // also where only a debugger may write
    CHECK_FAULT(WRITE(p + PAGE, 1), SIGSEGV, SEGV_ACCERR, p + PAGE);
    CHECK_ERRNO(pwrite(self, "x", 1, (off_t)(uintptr_t)s), EIO);
    munmap(p + 2 * PAGE, PAGE);
    CHECK_EQ(pwrite(self, "x", 1, (off_t)(uintptr_t)(p + PAGE)), 1);
    CHECK_ERRNO(pwrite(self, "x", 1, (off_t)(uintptr_t)(p + 2 * PAGE)), EIO);
    CHECK_EQ(pread(self, text, 1, (off_t)(uintptr_t)(p + PAGE)), 1);
    CHECK_EQ(text[0], 'x');
    close(self), close(memory);
    munmap(p, 2 * PAGE), munmap(s, PAGE);
}
