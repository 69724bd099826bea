// SPDX-License-Identifier: BSD-2-Clause
// brk and mremap. Sources: brk(2), mremap(2).
#include "harness.h"

#include <fcntl.h>
#include <sys/resource.h>

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static uintptr_t brk_to(uintptr_t wanted) { return (uintptr_t)syscall(SYS_brk, wanted); }

static void *remap(void *old, size_t old_len, size_t new_len, int flags, void *to)
{
    return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, to);
}

TEST(brk_grows_and_shrinks)
{
    uintptr_t start = brk_to(0);
    CHECK(start != 0);
    CHECK_EQ(brk_to(start + 10 * PAGE), start + 10 * PAGE);
    char *p = (char *)((start + PAGE - 1) & ~(PAGE - 1));
    CHECK_BYTES(p, 0, 9 * PAGE);
    memset(p, 1, 9 * PAGE);
    CHECK_EQ(brk_to(start + 5 * PAGE), start + 5 * PAGE);
    CHECK_FAULT(READ(p + 8 * PAGE), SIGSEGV, SEGV_MAPERR, p + 8 * PAGE);
    CHECK_EQ(brk_to(start + 10 * PAGE), start + 10 * PAGE);
    CHECK_BYTES(p, 1, 4 * PAGE);
    CHECK_BYTES(p + 5 * PAGE, 0, 4 * PAGE);  // comes back as zeros
    struct vma vma;
    REQUIRE(vma_at(p, &vma));
    CHECK_STR(vma.name, "[heap]");
    CHECK_STR(vma.perms, "rw-p");
    CHECK_EQ(brk_to(start), start);
}

TEST(brk_takes_any_byte)
{
    uintptr_t start = brk_to(0);
    CHECK_EQ(brk_to(start + 1), start + 1);
    CHECK_EQ(brk_to(start + 5), start + 5);
    CHECK_EQ(brk_to(start), start);
}

TEST(brk_refuses_by_answering_the_old_break)
{
    uintptr_t start = brk_to(0);
    CHECK_EQ(brk_to(1), start);
    CHECK_EQ(brk_to(PAGE), start);
    CHECK_EQ(brk_to((uintptr_t)-1), start);
    CHECK_EQ(brk_to(0xffff800000000000), start);
    CHECK_EQ(brk_to(USER_TOP), start);
    CHECK_EQ(brk_to(0), start);
}

TEST(brk_stops_at_another_mapping)
{
    uintptr_t start = brk_to(0);
    uintptr_t wall = ((start + PAGE - 1) & ~(PAGE - 1)) + 16 * PAGE;
    char *p = mmap((void *)wall, PAGE, RW, ANON | 0x100000 /* FIXED_NOREPLACE */, -1, 0);
    REQUIRE((uintptr_t)p == wall);
    CHECK_EQ(brk_to(wall + PAGE), start);
    CHECK_EQ(brk_to(start + PAGE), start + PAGE);
    CHECK_EQ(brk_to(start), start);
    munmap(p, PAGE);
    CHECK_EQ(brk_to(wall + PAGE), wall + PAGE);
    CHECK_EQ(brk_to(start), start);
}

TEST(brk_obeys_rlimit_data)
{
    struct rlimit old, limit;
    REQUIRE_OK(getrlimit(RLIMIT_DATA, &old));
    limit = old;
    limit.rlim_cur = 1ul << 20;
    REQUIRE_OK(setrlimit(RLIMIT_DATA, &limit));
    uintptr_t start = brk_to(0);
    uintptr_t after = brk_to(start + (64ul << 20));
    REQUIRE_OK(setrlimit(RLIMIT_DATA, &old));
    CHECK_EQ(after, start);
}

TEST(mremap_shrinks_in_place)
{
    char *p = map_anon(8 * PAGE);
    memset(p, 1, 8 * PAGE);
    CHECK_EQ(remap(p, 8 * PAGE, 3 * PAGE, 0, NULL), p);
    CHECK_BYTES(p, 1, 3 * PAGE);
    CHECK_FAULT(READ(p + 3 * PAGE), SIGSEGV, SEGV_MAPERR, p + 3 * PAGE);
    munmap(p, 3 * PAGE);
}

TEST(mremap_grows_in_place_when_it_can)
{
    char *hole = map_hole(16 * PAGE);
    char *p = mmap(hole, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0);
    REQUIRE(p == hole);
    memset(p, 1, 4 * PAGE);
    CHECK_EQ(remap(p, 4 * PAGE, 8 * PAGE, 0, NULL), p);
    CHECK_BYTES(p, 1, 4 * PAGE);
    CHECK_BYTES(p + 4 * PAGE, 0, 4 * PAGE);
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 1);
    munmap(p, 8 * PAGE);
}

TEST(mremap_moves_only_when_allowed)
{
    char *p = map_anon(8 * PAGE);
    memset(p, 1, 4 * PAGE);
    REQUIRE_OK(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ));  // in the way
    CHECK_ERRNO(remap(p, 4 * PAGE, 6 * PAGE, 0, NULL), ENOMEM);
    char *q = remap(p, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE, NULL);
    REQUIRE(q != MAP_FAILED && q != p);
    CHECK_BYTES(q, 1, 4 * PAGE);
    CHECK_BYTES(q + 4 * PAGE, 0, 2 * PAGE);
    CHECK_FAULT(READ(p), SIGSEGV, SEGV_MAPERR, p);  // the old place is free
    CHECK_NO_FAULT(READ(p + 4 * PAGE));
    munmap(q, 6 * PAGE), munmap(p, 8 * PAGE);
}

TEST(mremap_fixed)
{
    char *p = map_anon(4 * PAGE), *to = map_anon(6 * PAGE);
    memset(p, 1, 4 * PAGE), memset(to, 2, 6 * PAGE);
    CHECK_EQ(remap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE), to + PAGE);
    CHECK_BYTES(to, 2, PAGE);
    CHECK_BYTES(to + PAGE, 1, 4 * PAGE);
    CHECK_BYTES(to + 5 * PAGE, 2, PAGE);
    CHECK_FAULT(READ(p), SIGSEGV, SEGV_MAPERR, p);
    CHECK_ERRNO(remap(to, PAGE, PAGE, MREMAP_FIXED, p), EINVAL);  // FIXED alone
    CHECK_ERRNO(remap(to, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE),
                EINVAL);  // overlap
    CHECK_ERRNO(remap(to, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 1), EINVAL);
    CHECK_ERRNO(remap(to, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)USER_TOP), EINVAL);
    munmap(to, 6 * PAGE);
}

TEST(mremap_errors)
{
    char *p = map_anon(4 * PAGE);
    CHECK_ERRNO(remap(p + 1, PAGE, PAGE, MREMAP_MAYMOVE, NULL), EINVAL);
    CHECK_ERRNO(remap(p, PAGE, 0, MREMAP_MAYMOVE, NULL), EINVAL);
    CHECK_ERRNO(remap(p, PAGE, PAGE, 8, NULL), EINVAL);
    CHECK_ERRNO(remap(p, PAGE, (size_t)-1, MREMAP_MAYMOVE, NULL), EINVAL);
    CHECK_ERRNO(remap(p, PAGE, USER_TOP + PAGE, MREMAP_MAYMOVE, NULL), EINVAL);
    CHECK_ERRNO(remap(map_hole(PAGE), PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);
    CHECK_ERRNO(remap(p, 0, PAGE, MREMAP_MAYMOVE, NULL), EINVAL);  // duplicates shared memory only
    REQUIRE_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_ERRNO(remap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);  // over a hole
    munmap(p, 4 * PAGE);
}

TEST(mremap_old_size_zero_duplicates_shared_memory)
{
    char *p = map_with(2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    char *q = remap(p, 0, 2 * PAGE, MREMAP_MAYMOVE, NULL);
    REQUIRE(q != MAP_FAILED && q != p);
    p[0] = 7;
    CHECK_EQ(BYTE(q), 7);
    munmap(p, 2 * PAGE), munmap(q, 2 * PAGE);
}

TEST(mremap_dontunmap)
{
    char *p = map_anon(4 * PAGE);
    memset(p, 1, 4 * PAGE);
    char *q = remap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    REQUIRE(q != MAP_FAILED && q != p);
    CHECK_BYTES(q, 1, 4 * PAGE);
    CHECK_BYTES(p, 0, 4 * PAGE);  // mapped still, and empty
    CHECK_ERRNO(remap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
    CHECK_ERRNO(remap(p, 4 * PAGE, 4 * PAGE, MREMAP_DONTUNMAP, NULL), EINVAL);
    munmap(p, 4 * PAGE), munmap(q, 4 * PAGE);
}

TEST(mremap_of_a_part_splits_the_area)
{
    char *p = map_anon(8 * PAGE);
    for (int i = 0; i < 8; i++)
        memset(p + (size_t)i * PAGE, i, PAGE);
    char *q = remap(p + 2 * PAGE, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE, NULL);
    REQUIRE(q != MAP_FAILED);
    for (int i = 0; i < 3; i++)
        CHECK_BYTES(q + (size_t)i * PAGE, i + 2, PAGE);
    CHECK_BYTES(q + 3 * PAGE, 0, 2 * PAGE);
    CHECK_BYTES(p + PAGE, 1, PAGE);
    CHECK_FAULT(READ(p + 2 * PAGE), SIGSEGV, SEGV_MAPERR, p + 2 * PAGE);
    CHECK_BYTES(p + 5 * PAGE, 5, PAGE);
    munmap(p, 8 * PAGE), munmap(q, 5 * PAGE);
}

TEST(mremap_of_a_file_keeps_offset_and_sharing)
{
    int fd = new_file("f", 8 * PAGE, 1);
    char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 2 * PAGE);
    REQUIRE(p != MAP_FAILED);
    p[1] = 99;
    char *q = remap(p, 2 * PAGE, 5 * PAGE, MREMAP_MAYMOVE, NULL);
    REQUIRE(q != MAP_FAILED);
    CHECK_EQ(BYTE(q), 3);
    CHECK_EQ(BYTE(q + 1), 99);
    CHECK_BYTES(q + 4 * PAGE, 7, PAGE);
    char c;
    CHECK_EQ(pread(fd, &c, 1, 2 * PAGE + 1), 1);
    CHECK_EQ(c, 99);
    struct vma vma;
    REQUIRE(vma_at(q, &vma));
    CHECK_EQ(vma.offset, 2 * PAGE);
    munmap(q, 5 * PAGE);
    close(fd);
    unlink("f");
}

TEST(mremap_moves_huge_memory)
{
    char *p = map_huge_aligned(4 * HUGE);
    for (size_t i = 0; i < 4 * HUGE; i += PAGE)
        *(size_t *)(p + i) = i;
    char *to = map_hole(8 * HUGE);
    to = (char *)(((uintptr_t)to + HUGE - 1) & ~(HUGE - 1)) +
         3 * PAGE;  // a place that does not fit 2 MiB
    char *q = remap(p, 4 * HUGE, 4 * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    CHECK_EQ(q, to);
    for (size_t i = 0; i < 4 * HUGE; i += PAGE)
        if (*(size_t *)(to + i) != i) {
            FAIL("page %zu holds %zu", i / PAGE, *(size_t *)(to + i));
            break;
        }
    munmap(to, 4 * HUGE);
    p = map_huge_aligned(2 * HUGE);
    memset(p, 4, 2 * HUGE);
    q = remap(p + 5 * PAGE, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    CHECK_EQ(q, to);
    CHECK_BYTES(to, 4, HUGE);
    CHECK_BYTES(p, 4, 5 * PAGE);
    CHECK_FAULT(READ(p + 5 * PAGE), SIGSEGV, SEGV_MAPERR, p + 5 * PAGE);
    CHECK_BYTES(p + HUGE + 5 * PAGE, 4, HUGE - 5 * PAGE);
    munmap(p, 2 * HUGE), munmap(to, HUGE);
}

TEST(mremap_growing_like_realloc)
{
    size_t len = PAGE;
    char *p = map_anon(len);
    p[0] = 1;
    while (len < 4096 * PAGE) {
        p = remap(p, len, len * 2, MREMAP_MAYMOVE, NULL);
        REQUIRE(p != MAP_FAILED);
        p[len] = (char)(len / PAGE);
        len *= 2;
    }
    CHECK_EQ(p[0], 1);
    for (size_t at = PAGE; at < len; at *= 2)
        CHECK_EQ(p[at], (char)(at / PAGE));
    munmap(p, len);
}

TEST(mseal_forbids_changes)
{
#ifdef SYS_mseal
    long number = SYS_mseal;
#else
    long number = 462;
#endif
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    if (syscall(number, p, PAGE, 0) != 0) {
        CHECK_EQ(errno, ENOSYS);
        SKIP("no mseal here");
    }
    CHECK_ERRNO(munmap(p, PAGE), EPERM);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ), EPERM);
    CHECK_ERRNO(remap(p, PAGE, 4 * PAGE, MREMAP_MAYMOVE, NULL), EPERM);
    CHECK_ERRNO(mmap(p, PAGE, RW, ANON | MAP_FIXED, -1, 0), EPERM);
    CHECK_BYTES(p, 1, 2 * PAGE);
    CHECK_OK(munmap(p + PAGE, PAGE));
    CHECK_ERRNO(syscall(number, p + 1, PAGE, 0), EINVAL);
    CHECK_ERRNO(syscall(number, p, PAGE, 1), EINVAL);
    CHECK_ERRNO(syscall(number, p, 3 * PAGE, 0), ENOMEM);
}

// mlock(2): memory that a locked area gains is faulted in at once, private memory as a copy of its own.
TEST(growth_of_a_locked_area_is_private_at_once)
{
    int fd = new_memfd(20 * PAGE);
    char *shared = map_with(20 * PAGE, RW, MAP_SHARED, fd);
    for (int fixed = 0; fixed < 2; fixed++) {
        char *to = map_anon(20 * PAGE);
        char *p = map_with(3 * PAGE, RW, MAP_PRIVATE, fd);
        REQUIRE_OK(mlock(p, 3 * PAGE));
        p = remap(p, 3 * PAGE, 20 * PAGE, MREMAP_MAYMOVE | (fixed ? MREMAP_FIXED : 0), to);
        REQUIRE(p != MAP_FAILED);
        shared[PAGE] = shared[8 * PAGE] = (char)(fixed + 1);
        CHECK_EQ(p[PAGE], fixed);
        CHECK_EQ(p[8 * PAGE], fixed);
        munmap(p, 20 * PAGE);
        munmap(to, 20 * PAGE);
    }
    munmap(shared, 20 * PAGE);
    close(fd);
}

// The second half of the source goes to where the empty first half is.
TEST(mremap_onto_the_table_of_an_empty_part)
{
    enum { LEAD = 12, REST = 48 };
    char *area = map_huge_aligned(6 * HUGE);
    REQUIRE_OK(munmap(area, 6 * HUGE));
    char *source = area + 2 * HUGE - LEAD * PAGE, *target = source - HUGE;
    size_t len = (LEAD + REST) * PAGE;
    REQUIRE(mmap(source, len, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == source);
    for (size_t i = LEAD; i < LEAD + REST; i++)
        source[i * PAGE] = (char)i;
    REQUIRE(mremap(source, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    for (size_t i = 0; i < LEAD + REST; i++)
        CHECK_EQ(target[i * PAGE], i < LEAD ? 0 : (char)i);
    munmap(target, len);
}

// ---- several areas in one move (Linux 6.17)

// 12 pages at p: 3 readable, a gap of 2, 3 writable, 4 without access; page i holds i + 1.
static char *lay_out_areas(void)
{
    char *p = map_hole(12 * PAGE);
    REQUIRE(mmap(p, 12 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == p);
    for (int i = 0; i < 12; i++)
        WRITE(p + (size_t)i * PAGE, i + 1);
    REQUIRE_OK(mprotect(p, 3 * PAGE, PROT_READ));
    REQUIRE_OK(mprotect(p + 8 * PAGE, 4 * PAGE, PROT_NONE));
    REQUIRE_OK(munmap(p + 3 * PAGE, 2 * PAGE));
    return p;
}

static bool moves_several(void)
{
    char *p = map_anon(2 * PAGE), *to = map_hole(2 * PAGE);
    mprotect(p, PAGE, PROT_READ);
    bool can = remap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
    munmap(can ? to : p, 2 * PAGE);
    return can;
}

TEST(mremap_moves_several_areas)
{
    if (!moves_several())
        SKIP("a Linux before 6.17");
    char *p = lay_out_areas(), *to = map_hole(16 * PAGE);
    REQUIRE(mmap(to, 16 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == to);
    CHECK_EQ(remap(p, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
    for (int i = 0; i < 8; i++)
        if (i < 3 || i > 4)
            CHECK_EQ(BYTE(to + (size_t)i * PAGE), i + 1);
    struct vma vma;
    REQUIRE(vma_at(to + 3 * PAGE, &vma));  // the place of the gap keeps what was there
    CHECK_STR(vma.perms, "rw-s");
    CHECK_EQ(vma.start, (uintptr_t)to + 3 * PAGE);
    CHECK_EQ(vma.end, (uintptr_t)to + 5 * PAGE);
    REQUIRE(vma_at(to + 11 * PAGE, &vma));
    CHECK_STR(vma.perms, "---p");
    CHECK(!vma_at(p, &vma) && !vma_at(p + 5 * PAGE, &vma) && !vma_at(p + 11 * PAGE, &vma));
    CHECK_EQ(vma_count(p, p + 12 * PAGE), 0);
    munmap(to, 16 * PAGE);
}

TEST(mremap_of_several_areas_cuts_the_ends)
{
    if (!moves_several())
        SKIP("a Linux before 6.17");
    char *p = lay_out_areas(), *to = map_hole(12 * PAGE);
    CHECK_EQ(remap(p + PAGE, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
    CHECK_EQ(BYTE(p), 1);
    CHECK_EQ(BYTE(to), 2);
    CHECK_EQ(BYTE(to + 4 * PAGE), 6);
    CHECK_EQ(vma_count(p, p + 12 * PAGE), 2);
    CHECK_EQ(vma_count(to, to + 12 * PAGE), 3);
    // A gap at the end is none of its business, one at the start is.
    CHECK_ERRNO(remap(p + PAGE, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EFAULT);
    CHECK_EQ(remap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + 8 * PAGE),
             to + 8 * PAGE);
    CHECK_EQ(BYTE(to + 8 * PAGE), 1);
    munmap(p, 12 * PAGE);
    munmap(to, 12 * PAGE);
}

TEST(mremap_of_several_areas_with_errors)
{
    if (!moves_several())
        SKIP("a Linux before 6.17");
    char *p = lay_out_areas(), *to = map_hole(32 * PAGE);
    // Only with MREMAP_FIXED and without a change of size.
    CHECK_ERRNO(remap(p, 12 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EFAULT);
    CHECK_ERRNO(remap(p, 12 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EFAULT);
    CHECK_ERRNO(remap(p, 12 * PAGE, 16 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);
    CHECK_ERRNO(remap(p, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, to), EFAULT);
    CHECK_ERRNO(remap(p, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 4 * PAGE),
                EINVAL);
    CHECK_EQ(vma_count(p, p + 12 * PAGE), 3);
    CHECK_EQ(vma_count(to, to + 32 * PAGE), 0);
    CHECK_EQ(remap(p, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to),
             to);
    CHECK_EQ(BYTE(to + 5 * PAGE), 6);
    CHECK_EQ(BYTE(p + 5 * PAGE), 0);
    CHECK_EQ(vma_count(p, p + 12 * PAGE), 3);
    CHECK_EQ(vma_count(to, to + 12 * PAGE), 3);
    munmap(p, 12 * PAGE);
    munmap(to, 32 * PAGE);
}

TEST(mremap_refuses_before_it_clears_the_target)
{
    char *p = map_anon(4 * PAGE), *to = map_anon(8 * PAGE);
    WRITE(to, 7);
    CHECK_ERRNO(remap(p, 0, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EINVAL);
    if (moves_several())  // before 6.17 the target went first
        CHECK_EQ(BYTE(to), 7);
    char *gone = map_hole(4 * PAGE);
    CHECK_ERRNO(remap(gone, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EFAULT);
    CHECK_ERRNO(remap((void *)-PAGE, 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL), EFAULT);
    CHECK_ERRNO(remap(gone, -PAGE, 2 * PAGE, 0, NULL), EFAULT);
    CHECK_ERRNO(remap(p, -(size_t)p, 2 * PAGE, 0, NULL), EINVAL);
    munmap(p, 4 * PAGE), munmap(to, 8 * PAGE);
}

TEST(mseal_forbids_discarding_what_cannot_be_written)
{
    char *p = mmap(NULL, 4 * PAGE, PROT_READ, ANON, -1, 0);
    if (syscall(462, p, 4 * PAGE, 0ul) != 0)
        SKIP("a Linux before 6.10");
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTNEED), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_FREE), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_REMOVE), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, MADV_DONTFORK), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, 18 /* WIPEONFORK */), EPERM);
    CHECK_ERRNO(madvise(p, PAGE, 24 /* DONTNEED_LOCKED */), EPERM);
    CHECK_OK(madvise(p, PAGE, MADV_RANDOM));
    CHECK_ERRNO(mprotect(p, PAGE, RW), EPERM);
    CHECK_ERRNO(mprotect(p, PAGE, PROT_READ | 0x2000000 /* GROWSUP */), EINVAL);
}
