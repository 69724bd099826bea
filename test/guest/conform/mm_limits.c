// SPDX-License-Identifier: BSD-2-Clause
// What bounds memory: RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK (setrlimit(2)) and the overcommit modes
// (proc_sys_vm(5)). Limits are counted from what the program has when a test starts. What changes the whole system
// runs on Linux only when the environment has LETHE_TUNE_HOST.
#include "harness.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define MIB (1ul << 20)

static char text[1 << 19];

static struct rlimit saved;
static void limit_to(int what, unsigned long long bytes)
{
    REQUIRE_OK(getrlimit(what, &saved));
    struct rlimit limit = {bytes, saved.rlim_max};
    REQUIRE_OK(setrlimit(what, &limit));
}
static void unlimit(int what) { setrlimit(what, &saved); }

static unsigned long status_bytes(const char *name)
{
    slurp("/proc/self/status", text, sizeof text);
    const char *line = strstr(text, name);
    return line ? strtoul(line + strlen(name) + 1, NULL, 10) << 10 : 0;
}

// Without CAP_IPC_LOCK until called with true.
static void may_lock_all(bool may)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    REQUIRE_OK(syscall(SYS_capget, &head, data));
    if (may)
        data[0].effective |= data[0].permitted & 1u << CAP_IPC_LOCK;
    else
        data[0].effective &= ~(1u << CAP_IPC_LOCK);
    REQUIRE_OK(syscall(SYS_capset, &head, data));
}

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, to);
}

// Has the area at p this mark among its VmFlags?
static bool has_mark(const void *p, const char *mark)
{
    char head[32], wanted[8];
    text[0] = '\n';
    slurp("/proc/self/smaps", text + 1, sizeof text - 1);
    snprintf(head, sizeof head, "\n%lx-", (unsigned long)p);
    snprintf(wanted, sizeof wanted, " %s", mark);
    char *at = strstr(text, head);
    char *flags = at ? strstr(at, "VmFlags:") : NULL;
    if (!flags) {
        FAIL("smaps has no area at %p", p);
        return false;
    }
    *strchrnul(flags, '\n') = '\0';
    return strstr(flags, wanted) != NULL;
}

// ---- RLIMIT_AS

TEST(address_space_limit_counts_growth_but_no_move)
{
    char *p = map_with(64 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1);
    char *to = map_hole(80 * MIB);
    limit_to(RLIMIT_AS, status_bytes("VmSize:") + 16 * MIB);
    void *whole = remap(p, 64 * MIB, 64 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    void *more = remap(to, 64 * MIB, 96 * MIB, MREMAP_MAYMOVE, NULL);
    int more_error = errno;
    void *bit = remap(to, 64 * MIB, 72 * MIB, MREMAP_MAYMOVE, NULL);
    void *fresh = mmap(NULL, 32 * MIB, PROT_NONE, ANON, -1, 0);
    int fresh_error = errno;
    void *over = mmap(bit, 72 * MIB, PROT_READ, ANON | MAP_FIXED, -1, 0);
    void *kept = remap(bit, 32 * MIB, 32 * MIB, MREMAP_MAYMOVE | 4 /* DONTUNMAP */, NULL);
    int kept_error = errno;
    unlimit(RLIMIT_AS);
    CHECK_EQ(whole, to);
    CHECK(more == MAP_FAILED && more_error == ENOMEM);
    REQUIRE(bit != MAP_FAILED);
    CHECK(fresh == MAP_FAILED && fresh_error == ENOMEM);
    CHECK_EQ(over, bit);
    CHECK(kept == MAP_FAILED && kept_error == ENOMEM);
    munmap(bit, 72 * MIB);
}

// ---- RLIMIT_DATA

TEST(data_limit_counts_private_writable_memory)
{
    char *none = map_with(32 * MIB, PROT_NONE, ANON, -1);
    limit_to(RLIMIT_DATA, status_bytes("VmData:") + 8 * MIB);
    void *refused = mmap(NULL, 16 * MIB, RW, ANON, -1, 0);
    int error = errno;
    void *shared = mmap(NULL, 16 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *readable = mmap(NULL, 16 * MIB, PROT_READ, ANON, -1, 0);
    int write = mprotect(none, 16 * MIB, RW), write_error = errno;
    int read = mprotect(none, 16 * MIB, PROT_READ);
    int some = mprotect(none, 4 * MIB, RW);
    unlimit(RLIMIT_DATA);
    CHECK(refused == MAP_FAILED && error == ENOMEM);
    CHECK(shared != MAP_FAILED);
    CHECK(readable != MAP_FAILED);
    CHECK(write == -1 && write_error == ENOMEM);
    CHECK_EQ(read, 0);
    CHECK_EQ(some, 0);
    munmap(shared, 16 * MIB), munmap(readable, 16 * MIB), munmap(none, 32 * MIB);
}

TEST(data_limit_of_zero_is_for_brk_only)
{
    limit_to(RLIMIT_DATA, 0);
    bool far = saved.rlim_max > 1ull << 40;
    void *p = mmap(NULL, 4 * MIB, RW, ANON, -1, 0);
    uintptr_t now = (uintptr_t)syscall(SYS_brk, 0), then = (uintptr_t)syscall(SYS_brk, now + MIB);
    unlimit(RLIMIT_DATA);
    if (!far)
        SKIP("the hard limit is low");
    CHECK(p != MAP_FAILED);
    CHECK_EQ(then, now);
    munmap(p, 4 * MIB);
}

// ---- RLIMIT_STACK

TEST(stack_limit_ends_growth)
{
    char *hole = map_hole(1024 * PAGE);
    char *p = mmap(hole + 1000 * PAGE, 4 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    REQUIRE(p == hole + 1000 * PAGE);
    limit_to(RLIMIT_STACK, 64 * PAGE);
    int inside = CATCH_FAULT(WRITE(p - 60 * PAGE, 1));
    int outside = CATCH_FAULT(WRITE(p - 61 * PAGE, 1));
    void *at = fault_seen.address;
    unlimit(RLIMIT_STACK);
    CHECK_EQ(inside, 0);
    CHECK_EQ(outside, SIGSEGV);
    CHECK_EQ(at, p - 61 * PAGE);
    CHECK_NO_FAULT(WRITE(p - 61 * PAGE, 1));
    munmap(hole, 1024 * PAGE);
}

// ---- RLIMIT_MEMLOCK

TEST(locked_memory_is_limited)
{
    char *p = map_anon(64 * PAGE);
    unsigned long have = status_bytes("VmLck:");
    may_lock_all(false);
    limit_to(RLIMIT_MEMLOCK, have + 16 * PAGE + 1);
    CHECK_ERRNO(mlock(p, 17 * PAGE), ENOMEM);
    CHECK_OK(mlock(p, 8 * PAGE));
    CHECK_OK(mlock(p, 16 * PAGE));  // what is locked counts once
    CHECK_OK(mlock(p + 1, 16 * PAGE - 1));
    CHECK_ERRNO(mlock(p + 16 * PAGE, PAGE), ENOMEM);
    CHECK_ERRNO(syscall(SYS_mlock2, p + 16 * PAGE, PAGE, 1 /* ONFAULT */), ENOMEM);
    CHECK_ERRNO(mmap(NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
    CHECK_ERRNO(remap(p, 16 * PAGE, 80 * PAGE, MREMAP_MAYMOVE, NULL), EAGAIN);
    CHECK_ERRNO(mlockall(MCL_CURRENT), ENOMEM);
    CHECK_OK(munlock(p, PAGE));
    CHECK_OK(syscall(SYS_mlock2, p + 16 * PAGE, PAGE, 1));
    CHECK_OK(munlock(p, 64 * PAGE));
    void *locked = mmap(NULL, 16 * PAGE, RW, ANON | MAP_LOCKED, -1, 0);
    CHECK(locked != MAP_FAILED);
    CHECK_OK(munmap(locked, 16 * PAGE));
    unlimit(RLIMIT_MEMLOCK);
    may_lock_all(true);
    munmap(p, 64 * PAGE);
}

TEST(no_locked_memory_at_all_is_eperm)
{
    char *p = map_anon(PAGE);
    may_lock_all(false);
    limit_to(RLIMIT_MEMLOCK, 0);
    CHECK_ERRNO(mlock(p, PAGE), EPERM);
    CHECK_ERRNO(syscall(SYS_mlock2, p, PAGE, 1), EPERM);
    CHECK_ERRNO(mlockall(MCL_FUTURE), EPERM);
    CHECK_ERRNO(syscall(SYS_mmap, NULL, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EPERM);
    CHECK_OK(munlock(p, PAGE));
    unlimit(RLIMIT_MEMLOCK);
    CHECK_OK(munlockall());
    may_lock_all(true);
    CHECK_OK(mlock(p, PAGE));
    munmap(p, PAGE);
}

TEST(future_memory_is_locked_and_limited)
{
    unsigned long have = status_bytes("VmLck:");
    char *held = map_hole(16 * PAGE);
    may_lock_all(false);
    limit_to(RLIMIT_MEMLOCK, have + 8 * PAGE);
    int lazy = mlockall(MCL_FUTURE | MCL_ONFAULT);
    void *p = mmap(held, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    unsigned char in_core[8] = {0};
    mincore(p, 8 * PAGE, in_core);
    void *more = mmap(NULL, PAGE, RW, ANON, -1, 0);
    int more_error = errno;
    uintptr_t now = (uintptr_t)syscall(SYS_brk, 0),
              then = (uintptr_t)syscall(SYS_brk, now + 2 * PAGE);
    munmap(p, 8 * PAGE);
    int eager = mlockall(MCL_FUTURE);
    void *q = mmap(held, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    unsigned char in_core_now[8] = {0};
    mincore(q, 8 * PAGE, in_core_now);
    munmap(q, 8 * PAGE);
    munlockall();
    unlimit(RLIMIT_MEMLOCK);
    may_lock_all(true);
    CHECK_EQ(lazy, 0);
    CHECK_EQ(p, held);
    CHECK_EQ(in_core[0] | in_core[7], 0);
    CHECK(more == MAP_FAILED && more_error == EAGAIN);
    CHECK_EQ(then, now);
    CHECK_EQ(eager, 0);
    CHECK_EQ(q, held);
    CHECK_EQ(in_core_now[0] & in_core_now[7] & 1, 1);
}

// ---- promises

TEST(what_counts_as_promised)
{
    char *hole = map_hole(64 * PAGE);
    char *p = mmap(hole, 8 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    CHECK(has_mark(p, "ac"));
    CHECK_OK(mprotect(p, 8 * PAGE, PROT_READ));
    CHECK(!has_mark(p, "ac"));  // never written: taken back
    CHECK_OK(mprotect(p, 8 * PAGE, RW));
    CHECK(has_mark(p, "ac"));
    WRITE(p, 1);
    CHECK_OK(mprotect(p, 8 * PAGE, PROT_NONE));
    CHECK(has_mark(p, "ac"));
    char *s = mmap(hole + 16 * PAGE, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(!has_mark(s, "ac"));  // the object is accounted, not the area
    char *n = mmap(hole + 32 * PAGE, 8 * PAGE, RW, ANON | MAP_FIXED | MAP_NORESERVE, -1, 0);
    CHECK(!has_mark(n, "ac"));
    CHECK(has_mark(n, "nr"));
    char *r = mmap(hole + 48 * PAGE, 8 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
    CHECK(!has_mark(r, "ac"));
    munmap(hole, 64 * PAGE);
}

static long meminfo_kb(const char *name)
{
    slurp("/proc/meminfo", text, sizeof text);
    const char *line = strstr(text, name);
    return line ? strtol(line + strlen(name) + 1, NULL, 10) : -1;
}

// Other programs of the host come and go: one try in three must fit.
TEST(promises_are_summed)
{
    bool private_fits = false, shared_fits = false;
    for (int i = 0; i < 3; i++) {
        long before = meminfo_kb("Committed_AS");
        char *p = map_with(128 * MIB, RW, ANON, -1);
        long with = meminfo_kb("Committed_AS");
        munmap(p, 128 * MIB);
        private_fits |= with - before >= 128 << 10 && with - before < 136 << 10;
        before = meminfo_kb("Committed_AS");
        p = map_with(128 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
        munmap(p, 64 * MIB);  // the object stays whole
        with = meminfo_kb("Committed_AS");
        munmap(p + 64 * MIB, 64 * MIB);
        long after = meminfo_kb("Committed_AS");
        shared_fits |=
            with - before >= 128 << 10 && with - before < 136 << 10 && with - after >= 128 << 10;
    }
    CHECK(private_fits);
    CHECK(shared_fits);
}

static bool tune(const char *name, const char *value)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/vm/%s", name);
    int fd = open(path, O_WRONLY);
    bool done = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    close(fd);
    return done;
}

static void may_tune(void)
{
    if (!in_lethe() && !getenv("LETHE_TUNE_HOST"))
        SKIP("changes the whole system");
    if (!tune("overcommit_memory", "0"))
        SKIP("may not set overcommit_memory");
}

TEST(overcommit_always_and_guess)
{
    may_tune();
    CHECK(!tune("overcommit_memory", "3"));
    CHECK_ERRNO(mmap(NULL, 1ul << 46, RW, ANON, -1, 0), ENOMEM);
    CHECK(tune("overcommit_memory", "1"));
    char *p = mmap(NULL, 1ul << 46, RW, ANON, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK(tune("overcommit_memory", "0"));
    CHECK_NO_FAULT(WRITE(p + (1ul << 45), 1));
    munmap(p, 1ul << 46);
}

TEST(overcommit_never)
{
    may_tune();
    long limit_before = meminfo_kb("CommitLimit");
    long room = meminfo_kb("Committed_AS") + (64 << 10);
    char value[32];
    snprintf(value, sizeof value, "%ld", room);
    CHECK(tune("overcommit_kbytes", value));
    CHECK_EQ(meminfo_kb("CommitLimit"), room);
    CHECK(reads_as("/proc/sys/vm/overcommit_ratio", "0\n"));
    char *moving = map_anon(40 * MIB), *there = map_hole(40 * MIB);
    CHECK(tune("overcommit_memory", "2"));
    void *big = mmap(NULL, 96 * MIB, RW, ANON, -1, 0);
    int big_error = errno;
    void *lazy =
        mmap(NULL, 96 * MIB, RW, ANON | MAP_NORESERVE, -1, 0);  // mode 2 knows no MAP_NORESERVE
    void *shared = mmap(NULL, 96 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    void *none = mmap(NULL, 96 * MIB, PROT_NONE, ANON, -1, 0);
    int write = none == MAP_FAILED ? 0 : mprotect(none, 96 * MIB, RW);
    void *grown = mremap(moving, 40 * MIB, 128 * MIB, MREMAP_MAYMOVE);
    void *moved = mremap(moving, 40 * MIB, 40 * MIB, MREMAP_MAYMOVE | MREMAP_FIXED, there);
    CHECK(tune("overcommit_memory", "0"));
    CHECK(tune("overcommit_ratio", "50"));
    CHECK_EQ(meminfo_kb("CommitLimit"), limit_before);
    CHECK(reads_as("/proc/sys/vm/overcommit_kbytes", "0\n"));
    CHECK(big == MAP_FAILED && big_error == ENOMEM);
    CHECK_EQ(lazy, MAP_FAILED);
    CHECK_EQ(shared, MAP_FAILED);
    CHECK(none != MAP_FAILED);
    CHECK_EQ(write, -1);
    CHECK_EQ(grown, MAP_FAILED);
    CHECK_EQ(moved, there);  // a move promises nothing new
    munmap(none, 96 * MIB);
    munmap(there, 40 * MIB);
}

// ---- memory that may go, and the policy on large pages

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif

TEST(droppable_memory)
{
    char *p = mmap(NULL, 16 * PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        SKIP("a Linux before 6.11");
    memset(p, 1, 16 * PAGE);
    CHECK(BYTE(p) == 1 || BYTE(p) == 0);
    CHECK(has_mark(p, "dp") || !in_lethe());
    CHECK(has_mark(p, "wf") && has_mark(p, "dd") && has_mark(p, "nr") && !has_mark(p, "ac"));
    CHECK_ERRNO(madvise(p, PAGE, 19 /* KEEPONFORK */), EINVAL);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DODUMP), EINVAL);
    CHECK_OK(mlock(p, 16 * PAGE));
    CHECK(!has_mark(p, "lo"));  // it stays what it is
    CHECK_ERRNO(
        syscall(SYS_mmap, NULL, PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0),
        EINVAL);
    CHECK_ERRNO(
        syscall(SYS_mmap, NULL, PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0),
        EINVAL);
    munmap(p, 16 * PAGE);
}

// Twice the machine's memory of it can be written: old pages go instead of the program.
TEST_LIMIT(droppable_memory_goes_under_pressure, 60)
{
    size_t total = (size_t)meminfo_kb("MemTotal") << 10;
    if (!in_lethe() || total > 768 * MIB)
        SKIP("too much memory to fill");
    char *p = mmap(NULL, 2 * total, RW, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED);
    for (size_t at = 0; at < 2 * total; at += PAGE)
        WRITE(p + at, 7);
    size_t kept = 0;
    for (size_t at = 0; at < 2 * total; at += PAGE)
        kept += BYTE(p + at) == 7;
    CHECK_RANGE(kept, 1, total / PAGE);
    munmap(p, 2 * total);
}

TEST(large_pages_are_switched_off_by_process)
{
    enum { SET = 41, GET = 42, EXCEPT_ADVISED = 2 };
    int before = prctl(GET, 0, 0, 0, 0);
    CHECK_ERRNO(prctl(SET, 1, 1, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET, 1, 0, 1, 0), EINVAL);
    CHECK_ERRNO(prctl(GET, 1, 0, 0, 0), EINVAL);
    CHECK_OK(prctl(SET, 1, 0, 0, 0));
    CHECK_EQ(prctl(GET, 0, 0, 0, 0), 1);
    slurp("/proc/self/status", text, sizeof text);
    CHECK(strstr(text, "THP_enabled:\t0") != NULL);
    char *p = map_huge_aligned(HUGE);
    CHECK_OK(madvise(p, HUGE, MADV_HUGEPAGE));
    CHECK_ERRNO(madvise(p, HUGE, 25 /* COLLAPSE */), EINVAL);
    if (prctl(SET, 1, EXCEPT_ADVISED, 0, 0) == 0) {  // Linux 6.18
        CHECK_EQ(prctl(GET, 0, 0, 0, 0), 3);
        CHECK_ERRNO(prctl(SET, 0, EXCEPT_ADVISED, 0, 0), EINVAL);
        memset(p, 1, HUGE);
        CHECK_OK(madvise(p, HUGE, 25));
    }
    CHECK_OK(prctl(SET, (unsigned long)before, 0, 0, 0));
    munmap(p, HUGE);
}
