// SPDX-License-Identifier: BSD-2-Clause
// mmap, munmap, mprotect: placement, errors, splits and merges as /proc/self/maps shows them.
// Sources: mmap(2), munmap(2), mprotect(2), and what Linux 6.x does where they are silent.
#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

// mmap without the C library's own checks.
static void *raw_mmap(uintptr_t addr, size_t len, long prot, long flags, long fd, unsigned long off)
{
    return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}

TEST(anonymous_memory_is_zero_and_keeps_what_is_written)
{
    char *p = map_anon(16 * PAGE);
    CHECK_BYTES(p, 0, 16 * PAGE);
    memset(p, 0xa5, 16 * PAGE);
    CHECK_BYTES(p, 0xa5, 16 * PAGE);
    CHECK_OK(munmap(p, 16 * PAGE));
    CHECK_FAULT(READ(p), SIGSEGV, SEGV_MAPERR, p);
    CHECK_FAULT(READ(p + 16 * PAGE - 1), SIGSEGV, SEGV_MAPERR, p + 16 * PAGE - 1);
}

TEST(fresh_memory_is_zero_after_reuse)
{
    for (int round = 0; round < 50; round++) {
        size_t len = (size_t)(1 + round % 7) * PAGE;
        char *p = map_anon(len);
        CHECK_BYTES(p, 0, len);
        memset(p, 0xff, len);
        munmap(p, len);
    }
}

TEST(length_is_rounded_up)
{
    char *p = map_anon(PAGE + 1);
    CHECK_NO_FAULT(WRITE(p + 2 * PAGE - 1, 1));
    CHECK_OK(munmap(p, PAGE + 1));
    CHECK_FAULT(READ(p + PAGE), SIGSEGV, SEGV_MAPERR, p + PAGE);
}

TEST(mmap_errors)
{
    CHECK_ERRNO(raw_mmap(0, 0, RW, ANON, -1, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);  // neither kind
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, ANON, -1, 1), EINVAL);           // unaligned offset
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, ANON, -1, PAGE / 2), EINVAL);
    CHECK_ERRNO(raw_mmap(1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, (size_t)-1, RW, ANON, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(0, -PAGE, RW, ANON, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(0, USER_TOP + PAGE, PROT_NONE, ANON, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(USER_TOP, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(USER_TOP - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(1ul << 63, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(-PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_PRIVATE, 9999, 0), EBADF);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_SHARED, 9999, 0), EBADF);
    CHECK_ERRNO(raw_mmap(0, 0, RW, MAP_PRIVATE, 9999, 0), EBADF);      // EBADF before EINVAL
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_PRIVATE, 9999, 1), EINVAL);  // but the offset first
}

TEST(mmap_of_a_file_checks_the_descriptor)
{
    int fd = new_file("f", PAGE, 1);
    int read_only = open("f", O_RDONLY), write_only = open("f", O_WRONLY);
    REQUIRE(read_only >= 0 && write_only >= 0);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, MAP_SHARED, read_only, 0), EACCES);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_SHARED, write_only, 0), EACCES);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, write_only, 0), EACCES);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_WRITE, MAP_SHARED, write_only, 0), EACCES);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, 0, fd, 0), EINVAL);        // no kind
    char *p = raw_mmap(0, PAGE, RW, MAP_PRIVATE, read_only, 0);  // private copies are fine
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    p = raw_mmap(0, PAGE, PROT_READ, MAP_SHARED, read_only, 0);
    REQUIRE(p != MAP_FAILED);
    CHECK_ERRNO(mprotect(p, PAGE, RW), EACCES);  // never writable later
    CHECK_OK(mprotect(p, PAGE, PROT_NONE));
    munmap(p, PAGE);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, -PAGE), EOVERFLOW);
    CHECK_ERRNO(raw_mmap(0, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, -PAGE), EOVERFLOW);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0x7ffffffffffff000),
                EOVERFLOW);  // ends at 2^63
    p = raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0x7fffffffffffe000);
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    // What is looked at first: descriptor, length, end of the file, kind, rights.
    CHECK_ERRNO(raw_mmap(0, 0, PROT_READ, MAP_PRIVATE, -1, 0), EBADF);
    CHECK_ERRNO(raw_mmap(0, 0, PROT_READ, MAP_PRIVATE, write_only, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, 0, write_only, -PAGE), EOVERFLOW);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, 0, write_only, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, write_only, 0), EACCES);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN, fd, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_SHARED | MAP_GROWSDOWN, fd, 0), EINVAL);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, fd, 0), EINVAL);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fds[0], 0), ENODEV);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_SHARED, fds[0], 0), ENODEV);
    int dir = open(".", O_RDONLY);
    CHECK_ERRNO(raw_mmap(0, PAGE, PROT_READ, MAP_PRIVATE, dir, 0), ENODEV);
    close(dir), close(fds[0]), close(fds[1]), close(fd), close(read_only), close(write_only);
    unlink("f");
}

TEST(shared_validate_refuses_unknown_flags)
{
    int fd = new_memfd(PAGE);
    CHECK_ERRNO(raw_mmap(0, PAGE, RW, 3 /* SHARED_VALIDATE */ | (1 << 21), fd, 0), EOPNOTSUPP);
    char *p = raw_mmap(0, PAGE, RW, 3, fd, 0);
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    p = raw_mmap(0, PAGE, RW, MAP_SHARED | (1 << 21), fd,
                 0);  // plain SHARED ignores what it does not know
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    p = raw_mmap(0, PAGE, RW, ANON | (1 << 21), -1, 0);
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
    close(fd);
}

TEST(anonymous_mapping_ignores_the_descriptor)
{
    char *p = raw_mmap(0, PAGE, RW, ANON, 12345, 0);
    CHECK(p != MAP_FAILED);
    munmap(p, PAGE);
}

TEST(hint_is_honoured_when_free)
{
    char *hole = map_hole(16 * PAGE);
    char *p = raw_mmap((uintptr_t)hole + 4 * PAGE, PAGE, RW, ANON, -1, 0);
    CHECK_EQ(p, hole + 4 * PAGE);
    munmap(p, PAGE);
    p = raw_mmap((uintptr_t)hole + 4 * PAGE + 123, PAGE, RW, ANON, -1, 0);  // rounded
    CHECK((uintptr_t)p % PAGE == 0);
    CHECK(p == hole + 4 * PAGE || p == hole + 5 * PAGE);
    munmap(p, PAGE);
}

TEST(hint_that_is_taken_goes_elsewhere)
{
    char *p = map_anon(4 * PAGE);
    memset(p, 7, 4 * PAGE);
    char *q = raw_mmap((uintptr_t)p + PAGE, 2 * PAGE, RW, ANON, -1, 0);
    REQUIRE(q != MAP_FAILED);
    CHECK(q + 2 * PAGE <= p || q >= p + 4 * PAGE);
    CHECK_BYTES(p, 7, 4 * PAGE);
    munmap(q, 2 * PAGE);
    munmap(p, 4 * PAGE);
}

TEST(go_heap_hints_are_free)
{
    static const uintptr_t hints[] = {0xc000000000, 0x1c000000000, 0x7ec000000000, 0x4000000000};
    for (size_t i = 0; i < COUNT(hints); i++) {
        void *p = raw_mmap(hints[i], 64ul << 20, PROT_NONE, ANON, -1, 0);
        CHECK_EQ(p, hints[i]);
        if (p != MAP_FAILED)
            munmap(p, 64ul << 20);
    }
}

TEST(low_addresses_are_refused)
{
    if (geteuid() != 0)
        CHECK_ERRNO(raw_mmap(0, PAGE, RW, ANON | MAP_FIXED, -1, 0), EPERM);
    void *p = raw_mmap(PAGE, PAGE, RW, ANON, -1, 0);  // a hint below mmap_min_addr is moved up
    CHECK(p != MAP_FAILED && (uintptr_t)p >= 0x10000);
    munmap(p, PAGE);
}

TEST(fixed_replaces_what_is_there)
{
    char *p = map_anon(8 * PAGE);
    memset(p, 1, 8 * PAGE);
    char *q = raw_mmap((uintptr_t)p + 2 * PAGE, 3 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    CHECK_EQ(q, p + 2 * PAGE);
    CHECK_BYTES(p, 1, 2 * PAGE);
    CHECK_BYTES(p + 2 * PAGE, 0, 3 * PAGE);
    CHECK_BYTES(p + 5 * PAGE, 1, 3 * PAGE);
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 1);  // equal neighbours merge
    munmap(p, 8 * PAGE);
}

TEST(fixed_over_a_reservation_commits_it)
{
    char *p = map_with(64 * HUGE, PROT_NONE, ANON, -1);  // Go's pattern
    for (size_t at = 0; at < 8 * HUGE; at += 2 * HUGE) {
        char *q = raw_mmap((uintptr_t)p + at, 2 * HUGE, RW, ANON | MAP_FIXED, -1, 0);
        CHECK_EQ(q, p + at);
        WRITE(q + HUGE, 3);
        CHECK_EQ(BYTE(q), 0);
    }
    CHECK_FAULT(READ(p + 8 * HUGE), SIGSEGV, SEGV_ACCERR, p + 8 * HUGE);
    struct vma vma;
    CHECK(vma_at(p, &vma));
    CHECK_EQ(vma.end - (uintptr_t)p, 8 * HUGE);
    munmap(p, 64 * HUGE);
}

TEST(fixed_noreplace)
{
    char *p = map_anon(4 * PAGE);
    CHECK_ERRNO(raw_mmap((uintptr_t)p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK_ERRNO(raw_mmap((uintptr_t)p - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
                EEXIST);
    CHECK_ERRNO(raw_mmap((uintptr_t)p + 3 * PAGE, 4 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
                EEXIST);
    CHECK_ERRNO(raw_mmap((uintptr_t)p + 1, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EINVAL);
    munmap(p, 4 * PAGE);
    char *q = raw_mmap((uintptr_t)p, 4 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK_EQ(q, p);
    munmap(q, 4 * PAGE);
}

TEST(munmap_errors_and_holes)
{
    char *p = map_anon(8 * PAGE);
    CHECK_ERRNO(munmap(p + 1, PAGE), EINVAL);
    CHECK_ERRNO(munmap(p, 0), EINVAL);
    CHECK_ERRNO(munmap(p, (size_t)-1), EINVAL);
    CHECK_ERRNO(munmap(p, -PAGE), EINVAL);
    CHECK_ERRNO(munmap((void *)USER_TOP, PAGE), EINVAL);
    CHECK_ERRNO(munmap((void *)-PAGE, PAGE), EINVAL);
    CHECK_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_OK(munmap(p + 2 * PAGE, PAGE));  // nothing there: no error
    CHECK_OK(munmap(p + 4 * PAGE, 2 * PAGE));
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 3);
    CHECK_OK(munmap(p, 8 * PAGE));  // over the holes
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 0);
}

TEST(munmap_in_the_middle_keeps_both_ends)
{
    char *p = map_anon(5 * PAGE);
    for (int i = 0; i < 5; i++)
        memset(p + (size_t)i * PAGE, i + 1, PAGE);
    CHECK_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_BYTES(p, 1, PAGE);
    CHECK_BYTES(p + PAGE, 2, PAGE);
    CHECK_FAULT(READ(p + 2 * PAGE), SIGSEGV, SEGV_MAPERR, p + 2 * PAGE);
    CHECK_BYTES(p + 3 * PAGE, 4, PAGE);
    CHECK_BYTES(p + 4 * PAGE, 5, PAGE);
    munmap(p, 5 * PAGE);
}

TEST(mprotect_errors)
{
    char *p = map_anon(4 * PAGE);
    CHECK_ERRNO(syscall(SYS_mprotect, p + 1, PAGE, RW), EINVAL);
    CHECK_OK(mprotect(p, 0, RW));
    CHECK_ERRNO(syscall(SYS_mprotect, p, -PAGE, RW), ENOMEM);
    CHECK_ERRNO(syscall(SYS_mprotect, p, PAGE, 0x40), EINVAL);            // unknown bit
    CHECK_ERRNO(syscall(SYS_mprotect, p, PAGE, 1ul << 40 | RW), EINVAL);  // in the upper half too
    CHECK_ERRNO(syscall(SYS_mprotect, p, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP), EINVAL);
    CHECK_ERRNO(syscall(SYS_mprotect, p, PAGE, PROT_READ | PROT_GROWSDOWN), EINVAL);
    munmap(p + 3 * PAGE, PAGE);
    CHECK_ERRNO(mprotect(p + 3 * PAGE, PAGE, RW), ENOMEM);
    CHECK_ERRNO(mprotect((void *)USER_TOP, PAGE, RW), ENOMEM);
    munmap(p, 4 * PAGE);
}

TEST(mprotect_over_a_hole_acts_on_what_comes_before)
{
    char *p = map_anon(5 * PAGE);
    munmap(p + 2 * PAGE, PAGE);
    CHECK_ERRNO(mprotect(p, 5 * PAGE, PROT_READ), ENOMEM);
    CHECK_FAULT(WRITE(p, 1), SIGSEGV, SEGV_ACCERR, p);                 // before the hole: changed
    CHECK_NO_FAULT(WRITE(p + 4 * PAGE, 1));                            // after it: not
    CHECK_ERRNO(mprotect(p + 2 * PAGE, 3 * PAGE, PROT_READ), ENOMEM);  // starts in the hole
    CHECK_NO_FAULT(WRITE(p + 4 * PAGE, 1));
    munmap(p, 5 * PAGE);
}

TEST(mprotect_changes_access_at_once)
{
    char *p = map_anon(3 * PAGE);
    memset(p, 9, 3 * PAGE);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ));
    CHECK_EQ(BYTE(p + PAGE), 9);
    CHECK_FAULT(WRITE(p + PAGE, 1), SIGSEGV, SEGV_ACCERR, p + PAGE);
    CHECK_OK(mprotect(p + PAGE, PAGE, PROT_NONE));
    CHECK_FAULT(READ(p + PAGE + 17), SIGSEGV, SEGV_ACCERR, p + PAGE + 17);
    CHECK_OK(mprotect(p + PAGE, PAGE, RW));
    CHECK_BYTES(p, 9, 3 * PAGE);  // nothing was lost
    CHECK_NO_FAULT(WRITE(p + PAGE, 1));
    munmap(p, 3 * PAGE);
}

TEST(prot_none_is_not_readable)
{
    char *p = map_with(PAGE, PROT_NONE, ANON, -1);
    CHECK_FAULT(READ(p), SIGSEGV, SEGV_ACCERR, p);
    CHECK_FAULT(WRITE(p, 1), SIGSEGV, SEGV_ACCERR, p);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    CHECK_ERRNO(write(fds[1], p, 1), EFAULT);  // nor for the kernel
    close(fds[0]), close(fds[1]);
    munmap(p, PAGE);
}

TEST(write_implies_read)
{
    char *p = map_with(PAGE, PROT_WRITE, ANON, -1);
    CHECK_NO_FAULT(WRITE(p, 5));
    CHECK_NO_FAULT(READ(p));
    munmap(p, PAGE);
}

#if defined __x86_64__
static const unsigned char return_42[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
#elif defined __aarch64__
static const unsigned char return_42[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#endif

TEST(execution_needs_prot_exec)
{
    char *p = map_anon(PAGE);
    memcpy(p, return_42, sizeof return_42);
    int (*code)(void) = (int (*)(void))(uintptr_t)p;
    CHECK_FAULT(code(), SIGSEGV, SEGV_ACCERR, p);
    CHECK_OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
    __builtin___clear_cache(p, p + sizeof return_42);
    CHECK_EQ(code(), 42);
    CHECK_FAULT(WRITE(p, 1), SIGSEGV, SEGV_ACCERR, p);
    CHECK_OK(mprotect(p, PAGE, RW));
    CHECK_FAULT(code(), SIGSEGV, SEGV_ACCERR, p);
    munmap(p, PAGE);
}

TEST(maps_show_splits_and_merges)
{
    char *hole = map_hole(12 * PAGE);
    char *p = raw_mmap((uintptr_t)hole + PAGE, 10 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    REQUIRE(p == hole + PAGE);
    CHECK_EQ(vma_count(p, p + 10 * PAGE), 1);
    CHECK_OK(mprotect(p + 3 * PAGE, 2 * PAGE, PROT_READ));
    CHECK_EQ(vma_count(p, p + 10 * PAGE), 3);
    struct vma vma;
    REQUIRE(vma_at(p + 3 * PAGE, &vma));
    CHECK_EQ(vma.start, (uintptr_t)p + 3 * PAGE);
    CHECK_EQ(vma.end, (uintptr_t)p + 5 * PAGE);
    CHECK_STR(vma.perms, "r--p");
    CHECK_OK(mprotect(p + 5 * PAGE, PAGE, PROT_READ));
    CHECK_EQ(vma_count(p, p + 10 * PAGE), 3);
    CHECK_OK(mprotect(p + 3 * PAGE, 3 * PAGE, RW));
    CHECK_EQ(vma_count(p, p + 10 * PAGE), 1);
    CHECK_OK(mprotect(p, 10 * PAGE, PROT_NONE));
    REQUIRE(vma_at(p, &vma));
    CHECK_STR(vma.perms, "---p");
    CHECK_OK(mprotect(p, 10 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
    REQUIRE(vma_at(p, &vma));
    CHECK_STR(vma.perms, "rwxp");
    CHECK_EQ(vma.inode, 0);
    CHECK_STR(vma.name, "");
    munmap(p, 10 * PAGE);
}

TEST(touched_neighbours_still_merge)
{
    char *hole = map_hole(4 * PAGE);
    char *a = raw_mmap((uintptr_t)hole, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    char *c = raw_mmap((uintptr_t)hole + 2 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    REQUIRE(a == hole && c == hole + 2 * PAGE);
    CHECK_EQ(vma_count(hole, hole + 4 * PAGE), 2);
    char *b = raw_mmap((uintptr_t)hole + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);  // fills the gap
    CHECK_EQ(b, hole + PAGE);
    CHECK_EQ(vma_count(hole, hole + 4 * PAGE), 1);
    munmap(hole, 4 * PAGE);
}

TEST(maps_is_sorted_and_whole)
{
    static char text[1 << 18];
    size_t len = slurp("/proc/self/maps", text, sizeof text);
    CHECK(len > 0 && text[len - 1] == '\n');
    uintptr_t last_end = 0, stack = 0;
    char *line = text;
    while (*line) {
        uintptr_t start, end;
        char perms[8];
        REQUIRE(sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3);
        CHECK(start >= last_end && end > start && start % PAGE == 0 && end % PAGE == 0);
        last_end = end;
        char *next = strchr(line, '\n');
        REQUIRE(next != NULL);
        *next = 0;
        if (strstr(line, "[stack]")) {
            stack = start;
            CHECK((uintptr_t)&line >= start && (uintptr_t)&line < end);
        }
        line = next + 1;
    }
    CHECK(stack != 0);
    struct vma vma;
    CHECK(vma_at((void *)(uintptr_t)raw_mmap, &vma));
    CHECK_STR(vma.perms, "r-xp");
    CHECK(vma.name[0] == '/');
}

TEST(placement_is_top_down_and_close)
{
    char *a = map_anon(PAGE), *b = map_with(PAGE, PROT_READ, ANON, -1);
    CHECK(b < a || (uintptr_t)b > (uintptr_t)a);  // anywhere, but different
    CHECK((uintptr_t)a > 0x10000 && (uintptr_t)a < USER_TOP);
    CHECK((uintptr_t)a > 1ul << 40);  // near the top, not in the low gigabytes
    munmap(a, PAGE), munmap(b, PAGE);
}

TEST(huge_reservations_cost_nothing)
{
    char *p[5];
    for (size_t i = 0; i < COUNT(p); i++) {
        p[i] = mmap(NULL, 512ul << 20, PROT_NONE, ANON, -1, 0);
        CHECK(p[i] != MAP_FAILED);
    }
    for (size_t i = 0; i < COUNT(p); i++)
        CHECK_OK(munmap(p[i], 512ul << 20));
    char *big = mmap(NULL, 1ul << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);  // 1 TiB
    CHECK(big != MAP_FAILED);
    CHECK_FAULT(READ(big + (1ul << 39)), SIGSEGV, SEGV_ACCERR, big + (1ul << 39));
    CHECK_OK(munmap(big, 1ul << 40));
}

TEST(map_32bit)
{
#if defined __x86_64__
    char *p = mmap(NULL, 3 * PAGE, RW, ANON | MAP_32BIT, -1, 0);
    REQUIRE(p != MAP_FAILED);
    CHECK((uintptr_t)p + 3 * PAGE <= 1ul << 31);
    WRITE(p, 1);
    munmap(p, 3 * PAGE);
#endif
}

TEST(populate_fills_and_never_fails)
{
    char *p = map_with(8 * PAGE, RW, ANON | MAP_POPULATE, -1);
    CHECK_EQ(resident_pages(p, 8 * PAGE), 8);
    CHECK_BYTES(p, 0, 8 * PAGE);
    munmap(p, 8 * PAGE);
    p = map_with(8 * PAGE, PROT_NONE, ANON | MAP_POPULATE, -1);
    CHECK_EQ(resident_pages(p, 8 * PAGE), 0);
    munmap(p, 8 * PAGE);
    p = map_with(8 * PAGE, RW, ANON | MAP_POPULATE | MAP_NONBLOCK, -1);
    munmap(p, 8 * PAGE);
}

TEST(hugetlb_without_a_pool_is_enomem)
{
    char pool[64];
    slurp("/proc/sys/vm/nr_hugepages", pool, sizeof pool);
    if (atoi(pool) != 0)
        SKIP("the host keeps a pool of huge pages");
    CHECK_ERRNO(mmap(NULL, HUGE, RW, ANON | MAP_HUGETLB, -1, 0), ENOMEM);
    CHECK_ERRNO(mmap(NULL, HUGE, RW, ANON | MAP_HUGETLB | (13 << MAP_HUGE_SHIFT), -1, 0), EINVAL);
    CHECK_ERRNO(mmap(NULL, HUGE, RW, ANON | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0), ENOMEM);
    CHECK_ERRNO(mmap(NULL, 0, RW, ANON | MAP_HUGETLB, -1, 0), EINVAL);
    CHECK_ERRNO(mmap(NULL, HUGE, RW, MAP_ANONYMOUS | MAP_HUGETLB, -1, 0), EINVAL);
}

TEST(thousands_of_areas)
{
    enum { N = 3000 };
    char *p = map_anon(N * PAGE);
    memset(p, 0, PAGE);  // touched before it is split: Linux merges such pieces again
    for (size_t i = 0; i < N; i += 2)
        REQUIRE_OK(mprotect(p + i * PAGE, PAGE, PROT_READ));
    CHECK_EQ(vma_count(p, p + N * PAGE), N);
    for (size_t i = 1; i < N; i += 2)
        WRITE(p + i * PAGE, (int)i);
    for (size_t i = 0; i < N; i += 2)
        REQUIRE_OK(mprotect(p + i * PAGE, PAGE, RW));
    CHECK_EQ(vma_count(p, p + N * PAGE), 1);
    for (size_t i = 0; i < N; i++)
        CHECK_EQ(BYTE(p + i * PAGE), i % 2 ? (unsigned char)i : 0);
    CHECK_OK(munmap(p, N * PAGE));
}

TEST(map_count_limit_is_enomem)
{
    char text[64];
    slurp("/proc/sys/vm/max_map_count", text, sizeof text);
    size_t limit = (size_t)atol(text);
    CHECK_RANGE(limit, 1000, 1 << 24);
    if (limit > 100000)
        SKIP("max_map_count is %zu here", limit);
    char *p = map_with((limit + 100) * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1);
    size_t made = 0;
    int error = 0;
    for (size_t i = 0; i < limit + 100; i += 2, made += 2) {
        if (mprotect(p + i * PAGE, PAGE, PROT_READ) != 0) {
            error = errno;
            break;
        }
    }
    CHECK_EQ(error, ENOMEM);
    CHECK_RANGE(made, limit - 500, limit + 2);
    CHECK_OK(munmap(p, (limit + 100) * PAGE));  // takes all, splits none
}

TEST(growsdown_grows_on_touch)
{
    char *hole = map_hole(1024 * PAGE);
    char *p = raw_mmap((uintptr_t)hole + 1000 * PAGE, 4 * PAGE, RW,
                       ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    REQUIRE(p == hole + 1000 * PAGE);
    CHECK_NO_FAULT(WRITE(p, 1));
    CHECK_NO_FAULT(WRITE(p - PAGE, 2));
    CHECK_NO_FAULT(WRITE(p - 10 * PAGE, 3));
    struct vma vma;
    REQUIRE(vma_at(p, &vma));
    CHECK_EQ(vma.start, (uintptr_t)p - 10 * PAGE);
    CHECK_OK(mprotect(p, PAGE, RW | PROT_GROWSDOWN));
    munmap(hole, 1024 * PAGE);
}

TEST(growsdown_keeps_its_gap)
{
    char *hole = map_hole(1024 * PAGE);
    char *low = raw_mmap((uintptr_t)hole + 500 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    char *p = raw_mmap((uintptr_t)hole + 800 * PAGE, 4 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN,
                       -1, 0);
    REQUIRE(low == hole + 500 * PAGE && p == hole + 800 * PAGE);
    CHECK_NO_FAULT(WRITE(p - PAGE, 2));
    // The gap of 256 pages (stack_guard_gap) to the mapping below stays free.
    CHECK_FAULT(WRITE(low + 100 * PAGE, 2), SIGSEGV, SEGV_MAPERR, low + 100 * PAGE);
    CHECK_NO_FAULT(WRITE(low + 270 * PAGE, 2));
    munmap(hole, 1024 * PAGE);
}

static uintptr_t lowest_frame;

static void __attribute__((noinline)) use_stack(size_t depth)
{
    volatile char frame[PAGE];
    frame[0] = (char)depth;
    lowest_frame = (uintptr_t)frame;
    if (depth)
        use_stack(depth - 1);
    frame[1] = frame[0];
}

TEST(main_stack_grows)
{
    use_stack(300);  // 1.2 MiB and more, of the 8 MiB limit
    struct vma vma;
    REQUIRE(vma_at((void *)lowest_frame, &vma));
    CHECK_STR(vma.perms, "rw-p");
}

TEST(stack_memory_below_is_zero_until_used)
{
    char here;
    char *below = (char *)((uintptr_t)&here & ~(PAGE - 1)) - 600 * PAGE;
    struct vma vma;
    if (vma_at(below, &vma))
        return;  // a test before this one went that deep
    CHECK_EQ(BYTE(below), 0);
}

TEST(address_space_limit)
{
    struct rlimit old, limit;
    REQUIRE_OK(getrlimit(RLIMIT_AS, &old));
    limit = old;
    limit.rlim_cur = 64ul << 20;
    REQUIRE_OK(setrlimit(RLIMIT_AS, &limit));
    void *p = mmap(NULL, 256ul << 20, PROT_NONE, ANON, -1, 0);
    int error = errno;
    REQUIRE_OK(setrlimit(RLIMIT_AS, &old));
    CHECK(p == MAP_FAILED && error == ENOMEM);
}

TEST(absurd_writable_sizes_are_refused)
{
    // Overcommit mode 0: an obvious overcommit is refused, reservations and NORESERVE are not.
    CHECK_ERRNO(mmap(NULL, 64ul << 40, RW, ANON, -1, 0), ENOMEM);
    void *p = mmap(NULL, 1ul << 40, RW, ANON | MAP_NORESERVE, -1, 0);
    CHECK(p != MAP_FAILED);
    munmap(p, 1ul << 40);
}

TEST(zero_page_reads_then_writes)
{
    char *p = map_anon(64 * PAGE);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(BYTE(p + (size_t)i * PAGE + 100), 0);  // read faults first
    WRITE(p + 5 * PAGE, 1);
    CHECK_EQ(BYTE(p + 6 * PAGE), 0);  // the zero page itself stays zero
    CHECK_EQ(BYTE(p + 5 * PAGE), 1);
    char *q = map_anon(PAGE);
    CHECK_BYTES(q, 0, PAGE);
    munmap(q, PAGE);
    munmap(p, 64 * PAGE);
}

TEST(kernel_writes_into_fresh_memory)
{
    // read(2) into untouched, zero-page-backed and read-only memory.
    int fds[2];
    REQUIRE_OK(pipe(fds));
    char *p = map_anon(3 * PAGE);
    REQUIRE(write(fds[1], "abcdef", 6) == 6);
    CHECK_EQ(read(fds[0], p, 2), 2);
    READ(p + PAGE);
    CHECK_EQ(read(fds[0], p + PAGE, 2), 2);
    CHECK_EQ(BYTE(p + PAGE + 1), 'd');
    CHECK_OK(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    CHECK_ERRNO(read(fds[0], p + 2 * PAGE, 2), EFAULT);
    CHECK_OK(mprotect(p + 2 * PAGE, PAGE, RW));
    munmap(p, 3 * PAGE);
    close(fds[0]), close(fds[1]);
}
