// SPDX-License-Identifier: BSD-2-Clause
// Memory to the letter: which areas merge, what a fault says, how stacks grow, what fork hands on, and files that change
// under a mapping. Sources: mmap(2), mprotect(2), madvise(2), fork(2), sigaction(2), and Linux 6.x where they are silent.
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#ifndef PROT_GROWSDOWN
#define PROT_GROWSDOWN 0x01000000
#endif
enum { WIPEONFORK = 18, MAX_STATUS = 256 };

// ---- areas

static char *map_at(char *at, size_t len, int prot, int flags)
{
    char *p = mmap(at, len, prot, flags | MAP_FIXED, -1, 0);
    REQUIRE(p == at);
    return p;
}

TEST(areas_merge_to_the_left_to_the_right_and_over_both)
{
    char *p = map_hole(5 * PAGE) + PAGE;
    map_at(p, PAGE, PROT_READ, ANON), map_at(p + 2 * PAGE, PAGE, PROT_READ, ANON);
    CHECK_EQ(vma_count(p, p + 3 * PAGE), 2);
    map_at(p + PAGE, PAGE, RW, ANON);
    CHECK_EQ(vma_count(p, p + 3 * PAGE), 3);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ));  // over both
    CHECK_EQ(vma_count(p, p + 3 * PAGE), 1);
    CHECK_OK(mprotect(p + PAGE, 2 * PAGE, PROT_NONE));
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ));  // to the left: the boundary moves
    struct vma v;
    REQUIRE(vma_at(p, &v));
    CHECK_EQ(v.end, (uintptr_t)p + 2 * PAGE);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_NONE));  // to the right
    REQUIRE(vma_at(p + PAGE, &v));
    CHECK_EQ(v.start, (uintptr_t)p + PAGE);
    CHECK_EQ(v.end, (uintptr_t)p + 3 * PAGE);
    munmap(p, 3 * PAGE);
}

TEST(what_keeps_neighbours_apart)
{
    char *p = map_hole(4 * PAGE) + PAGE;
    map_at(p, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS),
        map_at(p + PAGE, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    CHECK_EQ(vma_count(p, p + 2 * PAGE), 2);  // two objects
    map_at(p, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    CHECK_EQ(vma_count(p, p + 2 * PAGE), 1);
    map_at(p, PAGE, RW, ANON), map_at(p + PAGE, PAGE, RW, ANON | MAP_NORESERVE);
    CHECK_EQ(vma_count(p, p + 2 * PAGE), 2);
    map_at(p, 2 * PAGE, RW, ANON);
    CHECK_OK(mlock(p + PAGE, PAGE));
    CHECK_EQ(vma_count(p, p + 2 * PAGE), 2);
    CHECK_OK(munlock(p + PAGE, PAGE));
    CHECK_EQ(vma_count(p, p + 2 * PAGE), 1);
    if (prctl(0x53564d41 /* PR_SET_VMA */, 0, p, PAGE, "one") == 0) {
        CHECK_EQ(vma_count(p, p + 2 * PAGE), 2);
        CHECK_OK(prctl(0x53564d41, 0, p, 2 * PAGE, "one"));
        CHECK_EQ(vma_count(p, p + 2 * PAGE), 1);
    }
    munmap(p, 2 * PAGE);
}

TEST(a_file_area_cut_in_three)
{
    int fd = new_memfd(9 * PAGE);
    char *p = map_with(9 * PAGE, RW, MAP_SHARED, fd);
    for (int i = 0; i < 9; i++)
        p[i * PAGE] = (char)(i + 1);
    map_at(p + 3 * PAGE, 2 * PAGE, RW, ANON);
    CHECK_EQ(vma_count(p, p + 9 * PAGE), 3);
    struct vma v;
    REQUIRE(vma_at(p + 5 * PAGE, &v));
    CHECK_EQ(v.offset, 5 * PAGE);
    CHECK_EQ(BYTE(p + 2 * PAGE), 3);
    CHECK_EQ(BYTE(p + 3 * PAGE), 0);
    CHECK_EQ(BYTE(p + 5 * PAGE), 6);
    REQUIRE(mmap(p + 3 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 3 * PAGE) == p + 3 * PAGE);
    CHECK_EQ(vma_count(p, p + 9 * PAGE), 1);  // it fits in again
    CHECK_EQ(BYTE(p + 4 * PAGE), 5);
    munmap(p, 9 * PAGE);
    close(fd);
}

// ---- faults

TEST(the_address_of_a_fault_is_exact)
{
    char *p = map_anon(3 * PAGE);
    REQUIRE_OK(munmap(p + PAGE, PAGE));
    REQUIRE_OK(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    static const size_t offsets[] = {0, 1, 7, 100, PAGE - 8, PAGE - 1};
    for (size_t i = 0; i < COUNT(offsets); i++) {
        char *hole = p + PAGE + offsets[i], *read_only = p + 2 * PAGE + offsets[i];
        CHECK_FAULT(READ(hole), SIGSEGV, SEGV_MAPERR, hole);
        CHECK_FAULT(WRITE(hole, 1), SIGSEGV, SEGV_MAPERR, hole);
        CHECK_FAULT(WRITE(read_only, 1), SIGSEGV, SEGV_ACCERR, read_only);
    }
    // A word over the boundary: the first byte that is not there.
    CHECK_FAULT((void)*(volatile uint64_t *)(p + PAGE - 3), SIGSEGV, SEGV_MAPERR, p + PAGE);
    CHECK_FAULT(*(volatile uint64_t *)(p + PAGE - 1) = 1, SIGSEGV, SEGV_MAPERR, p + PAGE);
    CHECK_EQ(BYTE(p + PAGE - 1), 0);  // nothing of it was written
    munmap(p, 3 * PAGE);
}

TEST(faults_outside_of_user_memory)
{
    CHECK_FAULT(READ(8), SIGSEGV, SEGV_MAPERR, 8);
    CHECK_FAULT(WRITE(USER_TOP, 1), SIGSEGV, SEGV_MAPERR, USER_TOP);
#if defined __x86_64__
    CHECK_FAULT(READ(0xffff888000000000), SIGSEGV, SEGV_MAPERR, 0xffff888000000000);
    CHECK_FAULT(READ(0xfffffffffffff000), SIGSEGV, SEGV_MAPERR, 0xfffffffffffff000);
    CHECK_FAULT(READ(0x800000000000), SIGSEGV, SI_KERNEL,
                0);  // no address at all: the CPU tells none
    CHECK_FAULT(WRITE(0x1234567800000000, 1), SIGSEGV, SI_KERNEL, 0);
#endif
}

TEST(fetches_fault_where_they_jump)
{
    char *p = map_anon(2 * PAGE);
    // Where arm64 may jump to; an odd address would be another fault there (sigcontext_arm64.c).
    void (*jump)(void) = (void (*)(void))(uintptr_t)(p + 20);
    CHECK_FAULT(jump(), SIGSEGV, SEGV_ACCERR, p + 20);
    REQUIRE_OK(munmap(p, PAGE));
    CHECK_FAULT(jump(), SIGSEGV, SEGV_MAPERR, p + 20);
    munmap(p, 2 * PAGE);
}

TEST(prot_none_is_for_the_kernel_too)
{
    int fds[2], fd = new_memfd(PAGE);
    REQUIRE_OK(pipe(fds));
    char *p = map_with(2 * PAGE, RW, ANON, -1);
    memset(p, 5, 2 * PAGE);
    REQUIRE_OK(mprotect(p, PAGE, PROT_NONE));
    CHECK_ERRNO(write(fds[1], p, 8), EFAULT);
    CHECK_ERRNO(pwrite(fd, p, 8, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_uname, p), EFAULT);
    CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_REALTIME, p), EFAULT);
    CHECK_ERRNO(open(p, O_RDONLY), EFAULT);
    CHECK_ERRNO(syscall(SYS_openat, AT_FDCWD, p + 100, O_RDONLY), EFAULT);
    CHECK_ERRNO(syscall(SYS_getrandom, p, 8, 0), EFAULT);
    REQUIRE(write(fds[1], "abcd", 4) == 4);
    CHECK_ERRNO(read(fds[0], p, 4), EFAULT);
    unsigned char *vector = (unsigned char *)p;
    CHECK_ERRNO(mincore(p + PAGE, PAGE, vector), EFAULT);
    REQUIRE_OK(mprotect(p, PAGE, PROT_READ));
    CHECK_BYTES(p, 5, 2 * PAGE);
    CHECK_ERRNO(read(fds[0], p, 4), EFAULT);  // may be read, not written
    CHECK_EQ(read(fds[0], p + PAGE, 4), 4);
    munmap(p, 2 * PAGE);
    close(fds[0]), close(fds[1]), close(fd);
}

// ---- areas that grow

TEST(a_stack_grows_for_the_kernel_too)
{
    int fds[2];
    char *p = map_hole(600 * PAGE) + 590 * PAGE;
    map_at(p, PAGE, RW, ANON | MAP_GROWSDOWN);
    REQUIRE_OK(pipe(fds));
    REQUIRE(write(fds[1], "abc", 3) == 3);
    CHECK_EQ(read(fds[0], p - 3 * PAGE, 3), 3);
    struct vma v;
    REQUIRE(vma_at(p, &v));
    CHECK_EQ(v.start, (uintptr_t)p - 3 * PAGE);
    CHECK_EQ(write(fds[1], p - 5 * PAGE, 3), 3);  // reading grows it as well
    close(fds[0]), close(fds[1]);
    munmap(p - 20 * PAGE, 21 * PAGE);
}

TEST(protection_of_a_growing_area)
{
    char *p = map_hole(600 * PAGE) + 590 * PAGE;
    map_at(p, 4 * PAGE, RW, ANON | MAP_GROWSDOWN);
    WRITE(p - 2 * PAGE, 1);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ | PROT_GROWSDOWN));  // down to its start
    CHECK_FAULT(WRITE(p - 2 * PAGE, 2), SIGSEGV, SEGV_ACCERR, p - 2 * PAGE);
    CHECK_FAULT(WRITE(p + PAGE, 2), SIGSEGV, SEGV_ACCERR, p + PAGE);
    CHECK_NO_FAULT(WRITE(p + 2 * PAGE, 2));
    CHECK_EQ(BYTE(p - 2 * PAGE), 1);
    CHECK_FAULT(WRITE(p - 3 * PAGE, 2), SIGSEGV, SEGV_ACCERR, p - 3 * PAGE);  // grown, not writable
    char *q = map_anon(PAGE);
    CHECK_ERRNO(mprotect(q, PAGE, PROT_READ | PROT_GROWSDOWN), EINVAL);
    munmap(q, PAGE);
    munmap(p - 20 * PAGE, 24 * PAGE);
}

TEST(a_stack_stops_at_its_limit)
{
    struct rlimit old, limit;
    REQUIRE_OK(getrlimit(RLIMIT_STACK, &old));
    char *p = map_hole(6000 * PAGE) + 5990 * PAGE;
    map_at(p, PAGE, RW, ANON | MAP_GROWSDOWN);
    limit = old;
    limit.rlim_cur = 100 * PAGE;
    REQUIRE_OK(setrlimit(RLIMIT_STACK, &limit));
    int near = CATCH_FAULT(WRITE(p - 90 * PAGE, 1)), far = CATCH_FAULT(WRITE(p - 120 * PAGE, 1));
    int code = fault_seen.code;
    REQUIRE_OK(setrlimit(RLIMIT_STACK, &old));
    CHECK_EQ(near, 0);
    CHECK_EQ(far, SIGSEGV);
    CHECK_EQ(code, SEGV_MAPERR);
    munmap(p - 200 * PAGE, 201 * PAGE);
}

TEST(new_memory_keeps_away_from_a_stack)
{
    char *stack = map_hole(8000 * PAGE) + 4000 * PAGE;
    map_at(stack, 4 * PAGE, RW, ANON | MAP_GROWSDOWN);
    char *near[50];
    for (size_t i = 0; i < COUNT(near); i++) {
        near[i] = mmap(stack - i * 5 * PAGE, PAGE, PROT_READ, ANON, -1, 0);
        REQUIRE(near[i] != MAP_FAILED);
        CHECK(near[i] >= stack + 4 * PAGE || near[i] + PAGE + 256 * PAGE <= stack);
    }
    for (size_t i = 0; i < COUNT(near); i++)
        munmap(near[i], PAGE);
    char *inside = map_at(stack - 10 * PAGE, PAGE, RW, ANON);  // who says where may do so
    CHECK_FAULT(WRITE(stack - PAGE, 1), SIGSEGV, SEGV_MAPERR, stack - PAGE);  // and stops it
    munmap(inside, PAGE);
    CHECK_NO_FAULT(WRITE(stack - PAGE, 1));
    munmap(stack - PAGE, 5 * PAGE);
}

// ---- files that change

TEST(a_file_without_bytes)
{
    int fd = new_memfd(0);
    char *p = map_with(2 * PAGE, RW, MAP_SHARED, fd);
    CHECK_FAULT(READ(p), SIGBUS, BUS_ADRERR, p);
    CHECK_FAULT(WRITE(p + PAGE + 5, 1), SIGBUS, BUS_ADRERR, p + PAGE + 5);
    CHECK_EQ(pwrite(fd, "x", 1, PAGE), 1);
    CHECK_EQ(BYTE(p), 0);
    CHECK_EQ(BYTE(p + PAGE), 'x');
    munmap(p, 2 * PAGE);
    close(fd);
}

TEST(own_copies_stay_when_the_file_changes)
{
    int fd = new_file("f", 6 * PAGE, 'a');
    char *p = map_with(6 * PAGE, PROT_READ, MAP_PRIVATE, fd);
    READ(p);
    CHECK_OK(mprotect(p, 6 * PAGE, RW));
    WRITE(p + PAGE, 'z');
    CHECK_EQ(pwrite(fd, "12", 2, PAGE), 2);
    CHECK_EQ(pwrite(fd, "34", 2, 2 * PAGE), 2);
    CHECK_EQ(BYTE(p + PAGE), 'z');
    CHECK_EQ(BYTE(p + PAGE + 1), 'b');
    CHECK_EQ(BYTE(p + 2 * PAGE), '3');
    char *moved = mremap(p, 6 * PAGE, 12 * PAGE, MREMAP_MAYMOVE);  // copies move along
    REQUIRE(moved != MAP_FAILED);
    CHECK_EQ(BYTE(moved + PAGE), 'z');
    CHECK_FAULT(READ(moved + 6 * PAGE), SIGBUS, BUS_ADRERR, moved + 6 * PAGE);
    CHECK_OK(ftruncate(fd, 0));
    CHECK_FAULT(READ(moved + PAGE), SIGBUS, BUS_ADRERR, moved + PAGE);  // cut off with the file
    munmap(moved, 12 * PAGE);
    close(fd);
    unlink("f");
}

TEST(shared_pages_through_two_descriptors)
{
    int fd = new_file("f", 2 * PAGE, 1), other = open("f", O_RDWR | O_APPEND);
    REQUIRE(other >= 0);
    char *p = map_with(3 * PAGE, RW, MAP_SHARED, fd);
    CHECK_EQ(write(other, "tail", 4), 4);
    CHECK(memcmp(p + 2 * PAGE, "tail", 4) == 0);
    memcpy(p + 2 * PAGE, "head", 4);
    p[2 * PAGE + 4] = 'x';  // behind the end: not the file's
    char text[8] = "";
    CHECK_EQ(pread(other, text, 8, 2 * PAGE), 4);
    CHECK(memcmp(text, "head", 4) == 0);
    CHECK_EQ(lseek(other, 0, SEEK_END), 2 * PAGE + 4);
    munmap(p, 3 * PAGE);
    close(fd), close(other);
    unlink("f");
}

// ---- fork

// What body gives, from a child.
static int in_child(int (*body)(char *), char *p)
{
    int status = 0;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        _exit(body(p));
    REQUIRE(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : MAX_STATUS + WTERMSIG(status);
}

static int first_byte(char *p) { return (unsigned char)*p; }

static int write_all(char *p)
{
    for (size_t at = 0; at < 2 * HUGE; at += PAGE)
        p[at] = 9;
    return p[HUGE] == 9;
}

TEST(each_side_of_a_fork_has_its_own)
{
    char *p = map_huge_aligned(2 * HUGE);
    madvise(p, 2 * HUGE, MADV_HUGEPAGE);
    memset(p, 3, 2 * HUGE);
    CHECK_EQ(in_child(write_all, p), 1);
    CHECK_BYTES(p, 3, 2 * HUGE);
    int go[2];
    REQUIRE_OK(pipe(go));
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(go[0], &byte, 1) == 1 ? p[5 * PAGE] : 99);
    }
    REQUIRE(child > 0);
    memset(p, 4, 2 * HUGE);  // the parent writes first
    CHECK_EQ(write(go[1], "x", 1), 1);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(WEXITSTATUS(status), 3);
    CHECK_BYTES(p, 4, 2 * HUGE);
    munmap(p, 2 * HUGE);
    close(go[0]), close(go[1]);
}

static int set_nine(char *p) { return *p = 9; }

TEST(shared_memory_is_shared_over_fork)
{
    char *p = map_with(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    CHECK_EQ(in_child(set_nine, p), 9);
    CHECK_EQ(BYTE(p), 9);
    munmap(p, PAGE);
}

TEST(advice_for_fork)
{
    char *p = map_anon(3 * PAGE);
    memset(p, 7, 3 * PAGE);
    CHECK_OK(madvise(p, PAGE, MADV_DONTFORK));
    CHECK_OK(madvise(p + PAGE, PAGE, WIPEONFORK));
    signal(SIGSEGV, SIG_DFL);
    CHECK_EQ(in_child(first_byte, p), MAX_STATUS + SIGSEGV);
    CHECK_EQ(in_child(first_byte, p + PAGE), 0);
    CHECK_EQ(in_child(first_byte, p + 2 * PAGE), 7);
    CHECK_OK(madvise(p, PAGE, MADV_DOFORK));
    CHECK_OK(madvise(p + PAGE, PAGE, 19 /* KEEPONFORK */));
    CHECK_EQ(in_child(first_byte, p), 7);
    CHECK_EQ(in_child(first_byte, p + PAGE), 7);
    CHECK_BYTES(p, 7, 3 * PAGE);
    munmap(p, 3 * PAGE);
}

static int locked_kb(char *p)
{
    char text[4096];
    (void)p;
    slurp("/proc/self/status", text, sizeof text);
    char *line = strstr(text, "VmLck:");
    return line ? (int)strtol(line + 6, NULL, 10) : 255;
}

TEST(locks_are_not_inherited)
{
    char *p = map_anon(4 * PAGE);
    CHECK_OK(mlock(p, 4 * PAGE));
    CHECK_EQ(locked_kb(p), 16);
    CHECK_EQ(in_child(locked_kb, p), 0);
    munmap(p, 4 * PAGE);
}

static int guard_holds(char *p) { return CATCH_FAULT(READ(p)) == SIGSEGV; }

TEST(guards_are_inherited)
{
    char *p = map_anon(PAGE);
    if (madvise(p, PAGE, 102 /* GUARD_INSTALL */) != 0)
        SKIP("before Linux 6.13");
    CHECK_EQ(in_child(guard_holds, p), 1);
    munmap(p, PAGE);
}

// The grandchild sees what its parent wrote, not what its grandparent did.
static int fork_again(char *p)
{
    p[0] = 5;
    int status;
    pid_t child = fork();
    if (child == 0) {
        p[PAGE] = 6;
        _exit(p[0]);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) * 16 + p[PAGE];
}

TEST(three_generations)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    CHECK_EQ(in_child(fork_again, p), 5 * 16 + 1);
    CHECK_BYTES(p, 1, 2 * PAGE);
    munmap(p, 2 * PAGE);
}

// More of them than a CPU has tags for translations (PCID, ASID of eight bits), some always at the same time.
TEST_LIMIT(three_hundred_address_spaces, 60)
{
    enum { SPACES = 300, AT_ONCE = 4 };
    int *p = (int *)map_anon(PAGE), status, torn = 0;
    pid_t running[AT_ONCE] = {0};
    *p = -1;
    for (int i = 0; i < SPACES + AT_ONCE; i++) {
        pid_t *slot = &running[i % AT_ONCE];
        if (*slot) {
            REQUIRE(waitpid(*slot, &status, 0) == *slot);
            torn += status != 0;
        }
        *slot = i < SPACES ? fork() : 0;
        REQUIRE(*slot >= 0);
        if (i < SPACES && *slot == 0) {
            bool whole = *p == -1;
            *p = i;
            for (int n = 0; n < 10; n++) {
                sched_yield();
                whole = whole && *(volatile int *)p == i;
            }
            _exit(!whole);
        }
        torn += *(volatile int *)p != -1;
    }
    CHECK_EQ(torn, 0);
    munmap(p, PAGE);
}
