// SPDX-License-Identifier: BSD-2-Clause
#include "counters.h"

#include <dirent.h>

static char text[1 << 18];

static const struct {
    enum counter counter;
    const char *file, *field;
} fields[] = {
    {FREE_KB, "/proc/meminfo", "MemFree:"},       {SLAB_KB, "/proc/meminfo", "Slab:"},
    {TABLES_KB, "/proc/meminfo", "PageTables:"},  {ANON_KB, "/proc/meminfo", "AnonPages:"},
    {MAPPED_KB, "/proc/meminfo", "Mapped:"},      {SHMEM_KB, "/proc/meminfo", "Shmem:"},
    {CACHED_KB, "/proc/meminfo", "Cached:"},      {LOCKED_KB, "/proc/meminfo", "Mlocked:"},
    {HUGE_KB, "/proc/meminfo", "AnonHugePages:"}, {COMMITTED_KB, "/proc/meminfo", "Committed_AS:"},
    {PROGRAM_KB, "/proc/self/status", "VmSize:"}, {PROGRAM_PTE, "/proc/self/status", "VmPTE:"},
    {PROGRAM_LCK, "/proc/self/status", "VmLck:"}, {THREADS, "/proc/self/status", "Threads:"},
};

static const char *const names[N_COUNTERS] = {
    "MemFree", "Slab",    "PageTables",    "AnonPages",    "Mapped", "Shmem",
    "Cached",  "Mlocked", "AnonHugePages", "Committed_AS", "VmSize", "VmPTE",
    "VmLck",   "areas",   "threads",       "descriptors",
};

// The number behind a field that begins a line of the text.
static long field_of(const char *field)
{
    size_t len = strlen(field);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, field, len) == 0)
            return strtol(line + len, NULL, 10);
    }
    return -1;
}

static long count_lines(const char *path)
{
    long n = 0;
    slurp(path, text, sizeof text);
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n++;
    return n;
}

static long count_entries(const char *path)
{
    long n = 0;
    DIR *dir = opendir(path);
    REQUIRE(dir != NULL);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

void read_counters(struct counters *out)
{
    memset(out, 0, sizeof *out);
    out->value[DESCRIPTORS] = count_entries("/proc/self/fd");
    out->value[AREAS] = count_lines("/proc/self/maps");
    const char *file = "";
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (strcmp(file, fields[i].file) != 0)
            slurp(file = fields[i].file, text, sizeof text);
        out->value[fields[i].counter] = field_of(fields[i].field);
    }
}

void settle(void)
{
    struct counters now, last = {{0}};
    for (int still = 0, tries = 0; still < 3 && tries < 200; tries++) {
        sleep_ns(10 * MS);
        read_counters(&now);
        still = memcmp(&now, &last, sizeof now) == 0 ? still + 1 : 0;
        last = now;
    }
}

void compare_counters(const struct counters *before, const struct counters *after, long slack_kb)
{
    for (enum counter i = in_lethe() ? 0 : FIRST_OF_PROGRAM; i < N_COUNTERS; i++) {
        long lost = (after->value[i] - before->value[i]) * (i == FREE_KB ? -1 : 1);
        // The C library of this program may keep a page and an area more.
        bool cached = i == FREE_KB || i == SLAB_KB || i == ANON_KB || i == CACHED_KB ||
                      i == COMMITTED_KB || i == PROGRAM_KB;
        long allowed = cached ? slack_kb : i == AREAS ? 2 : 0;
#ifdef __GLIBC__  // keeps the stacks of threads that are gone: they may need a table or two more, by where they were touched
        if (i == TABLES_KB || i == PROGRAM_PTE)
            allowed = 8;
#endif
        if (lost > allowed)
            FAIL("%s was %ld and is %ld", names[i], before->value[i], after->value[i]);
        else
            harness_note("%s was %ld and is %ld", names[i], before->value[i], after->value[i]);
    }
}

void check_fragmentation(void)
{
    struct counters now;
    if (!in_lethe())
        return;
    read_counters(&now);
    long blocks = now.value[FREE_KB] / 2048 * 3 / 4;
    char *p = map_huge_aligned((size_t)blocks * HUGE);
    CHECK_OK(madvise(p, (size_t)blocks * HUGE, 14 /* HUGEPAGE */));
    for (long i = 0; i < blocks; i++)
        WRITE(p + (size_t)i * HUGE, 1);
    slurp("/proc/self/smaps_rollup", text, sizeof text);
    harness_note("%ld of %ld blocks of 2 MiB could be had", field_of("AnonHugePages:") / 2048,
                 blocks);
    CHECK_RANGE(field_of("AnonHugePages:"), blocks * 2048 * 9 / 10, blocks * 2048);
    munmap(p, (size_t)blocks * HUGE);
}
