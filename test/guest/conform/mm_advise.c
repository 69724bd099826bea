// SPDX-License-Identifier: BSD-2-Clause
// madvise: every advice against every kind of memory, then the rules common to all, then the details of
// each advice. Source: madvise(2) and mm/madvise.c's documented behaviour as of Linux 6.18.
//
// The table test builds an area of eight pages holding 0x41, advises pages 2 to 4, and looks at what the
// advice did inside and that nothing happened outside.
#include "mm_kinds.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum effect {
    KEPT,     // nothing changes
    DROPPED,  // private copies are gone, shared contents stay
    LAZY,     // each page holds its contents or zeros
    PUNCHED,  // zeros, in the file too
    GUARDED,  // SIGSEGV; removing the guard leaves what DROPPED leaves
};

struct verdict {
    int error;
    enum effect effect;
};

static void check_contents(const struct area *area, const char *advice, enum effect effect)
{
    char *inside = area->start + FROM * PAGE;
    size_t len = (TO - FROM) * PAGE;
    int before = area->kind == FRESH ? 0 : WRITTEN;
    int dropped = is_shared(area->kind) ? WRITTEN : area->dropped;
    if (effect == GUARDED) {
        for (size_t at = 0; at < len; at += PAGE)
            if (CATCH_FAULT(READ(inside + at)) != SIGSEGV ||
                fault_seen.code != SEGV_MAPERR + (area->kind == NO_ACCESS))
                FAIL("%s on %s memory: a guarded page gives signal %d code %d", advice,
                     kind_names[area->kind], fault_seen.signal, fault_seen.code);
        if (madvise(inside, len, GUARD_REMOVE) != 0)
            FAIL("%s on %s memory: GUARD_REMOVE fails with %s", advice, kind_names[area->kind],
                 errno_name(errno));
        effect = DROPPED;
    }
    if (area->kind == NO_ACCESS)
        REQUIRE_OK(mprotect(area->start, PAGES * PAGE, RW));
    int wrong = first_byte_that_is_not(area->start, before, FROM * PAGE);
    if (!wrong)
        wrong = first_byte_that_is_not(area->start + TO * PAGE, before, (PAGES - TO) * PAGE);
    if (wrong)
        FAIL("%s on %s memory: outside of the range is %#x, want %#x", advice,
             kind_names[area->kind], wrong & 0xff, before);
    int wanted = effect == KEPT ? before : effect == PUNCHED ? 0 : dropped;
    if (area->kind == FRESH)
        wanted = 0;
    if (effect == LAZY) {
        for (size_t at = 0; at < len; at += PAGE)
            if (first_byte_that_is_not(inside + at, before, PAGE) &&
                first_byte_that_is_not(inside + at, 0, PAGE))
                FAIL("%s on %s memory: a page is neither kept nor zero", advice,
                     kind_names[area->kind]);
        return;
    }
    wrong = first_byte_that_is_not(inside, wanted, len);
    if (wrong)
        FAIL("%s on %s memory: holds %#x, want %#x", advice, kind_names[area->kind], wrong & 0xff,
             wanted);
    if (effect == PUNCHED && area->fd >= 0) {
        char page[PAGE];
        REQUIRE(pread(area->fd, page, PAGE, FROM * PAGE) == (ssize_t)PAGE);
        if (first_byte_that_is_not(page, 0, PAGE))
            FAIL("%s on %s memory: the file still holds data", advice, kind_names[area->kind]);
    }
}

static void try_advice(int advice, const char *name, struct verdict (*expect)(enum kind))
{
    char frame[(PAGES + 1) * PAGE];
    char *stack_pages = (char *)(((uintptr_t)frame + PAGE - 1) & ~(PAGE - 1));
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct area area = make_area(kind, stack_pages);
        struct verdict want = expect(kind);
        int result = madvise(area.start + FROM * PAGE, (TO - FROM) * PAGE, advice);
        int error = result == 0 ? 0 : errno;
        if (error != want.error)
            FAIL("%s on %s memory: %s, want %s", name, kind_names[kind], errno_name(error),
                 errno_name(want.error));
        check_contents(&area, name, want.error ? KEPT : want.effect);
        // The memory stays usable.
        if (kind != ANON_READ_ONLY) {
            area.start[FROM * PAGE] = 7;
            if (area.start[FROM * PAGE] != 7)
                FAIL("%s on %s memory: not writable afterwards", name, kind_names[kind]);
        }
        drop_area(&area);
    }
}

#define TABLE_TEST(advice, expect) \
    TEST(each_kind_##advice) { try_advice(advice, #advice, expect); }

static struct verdict always_kept(enum kind kind)
{
    (void)kind;
    return (struct verdict){0, KEPT};
}

static struct verdict not_locked(enum kind kind)
{
    return (struct verdict){kind == LOCKED ? EINVAL : 0, KEPT};
}

static struct verdict expect_dontneed(enum kind kind)
{
    return (struct verdict){kind == LOCKED ? EINVAL : 0, DROPPED};
}

static struct verdict expect_dontneed_locked(enum kind kind)
{
    (void)kind;
    return (struct verdict){0, DROPPED};
}

static struct verdict expect_free(enum kind kind)
{
    bool fits = !is_shared(kind) && !is_private_file(kind) && kind != LOCKED;
    return (struct verdict){fits ? 0 : EINVAL, LAZY};
}

static struct verdict expect_remove(enum kind kind)
{
    bool file = is_private_file(kind) || kind == DEV_ZERO;
    int error = is_shared(kind) ? 0 : file ? EACCES : EINVAL;
    return (struct verdict){error, PUNCHED};
}

static struct verdict expect_wipeonfork(enum kind kind)
{
    bool file = is_shared(kind) || is_private_file(kind) || kind == DEV_ZERO;
    return (struct verdict){file ? EINVAL : 0, KEPT};
}

static struct verdict expect_populate_read(enum kind kind)
{
    return (struct verdict){kind == NO_ACCESS ? EINVAL : 0, KEPT};
}

static struct verdict expect_populate_write(enum kind kind)
{
    return (struct verdict){kind == NO_ACCESS || kind == ANON_READ_ONLY ? EINVAL : 0, KEPT};
}

static struct verdict expect_guard(enum kind kind)
{
    return (struct verdict){kind == LOCKED ? EINVAL : 0, GUARDED};
}

TABLE_TEST(NORMAL, always_kept)
TABLE_TEST(RANDOM, always_kept)
TABLE_TEST(SEQUENTIAL, always_kept)
TABLE_TEST(WILLNEED, always_kept)
TABLE_TEST(DONTNEED, expect_dontneed)
TABLE_TEST(FREE, expect_free)
TABLE_TEST(REMOVE, expect_remove)
TABLE_TEST(DONTFORK, always_kept)
TABLE_TEST(DOFORK, always_kept)
TABLE_TEST(HUGEPAGE, always_kept)
TABLE_TEST(NOHUGEPAGE, always_kept)
TABLE_TEST(DONTDUMP, always_kept)
TABLE_TEST(DODUMP, always_kept)
TABLE_TEST(WIPEONFORK, expect_wipeonfork)
TABLE_TEST(KEEPONFORK, always_kept)
TABLE_TEST(COLD, not_locked)
TABLE_TEST(PAGEOUT, not_locked)
TABLE_TEST(POPULATE_READ, expect_populate_read)
TABLE_TEST(POPULATE_WRITE, expect_populate_write)
TABLE_TEST(DONTNEED_LOCKED, expect_dontneed_locked)
TABLE_TEST(GUARD_INSTALL, expect_guard)
TABLE_TEST(GUARD_REMOVE, always_kept)

// Same-page merging may be absent; then both say EINVAL for all memory.
TEST(merging_works_or_is_refused_as_a_whole)
{
    char *p = map_anon(4 * PAGE);
    memset(p, 3, 4 * PAGE);
    int merge = madvise(p, 4 * PAGE, MERGEABLE) == 0 ? 0 : errno;
    int unmerge = madvise(p, 4 * PAGE, UNMERGEABLE) == 0 ? 0 : errno;
    CHECK(merge == 0 || merge == EINVAL);
    CHECK_EQ(unmerge, merge);
    CHECK_BYTES(p, 3, 4 * PAGE);
    munmap(p, 4 * PAGE);
}

// ---- rules common to all advices ----

static const int all_advices[] = {
    NORMAL,         RANDOM,          SEQUENTIAL, WILLNEED,      DONTNEED,     FREE,
    REMOVE,         DONTFORK,        DOFORK,     HUGEPAGE,      NOHUGEPAGE,   DONTDUMP,
    DODUMP,         WIPEONFORK,      KEEPONFORK, COLD,          PAGEOUT,      POPULATE_READ,
    POPULATE_WRITE, DONTNEED_LOCKED, COLLAPSE,   GUARD_INSTALL, GUARD_REMOVE,
};

#define CHECK_ADVICE(start, len, advice, wanted)                                               \
    do {                                                                                       \
        int error_ = madvise((start), (len), (advice)) == 0 ? 0 : errno;                       \
        if (error_ != (wanted))                                                                \
            FAIL("advice %d, %s, %s: %s, want %s", (advice), #start, #len, errno_name(error_), \
                 errno_name(wanted));                                                          \
    } while (0)

TEST(unaligned_address_is_einval)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    for (size_t i = 0; i < COUNT(all_advices); i++) {
        CHECK_ADVICE(p + 1, PAGE, all_advices[i], EINVAL);
        CHECK_ADVICE(p + PAGE / 2, 0, all_advices[i], EINVAL);
    }
    CHECK_BYTES(p, 1, 2 * PAGE);
    munmap(p, 2 * PAGE);
}

TEST(wrapped_length_is_einval)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    for (size_t i = 0; i < COUNT(all_advices); i++) {
        CHECK_ADVICE(p, (size_t)-1, all_advices[i], EINVAL);
        CHECK_ADVICE(p, -PAGE, all_advices[i], EINVAL);
        CHECK_ADVICE((char *)-PAGE, 2 * PAGE, all_advices[i], EINVAL);
    }
    CHECK_BYTES(p, 1, 2 * PAGE);
    munmap(p, 2 * PAGE);
}

TEST(length_zero_succeeds)
{
    char *p = map_anon(PAGE);
    char *hole = map_hole(PAGE);
    memset(p, 1, PAGE);
    for (size_t i = 0; i < COUNT(all_advices); i++) {
        CHECK_ADVICE(p, 0, all_advices[i], 0);
        CHECK_ADVICE(hole, 0, all_advices[i], 0);
    }
    CHECK_BYTES(p, 1, PAGE);
    munmap(p, PAGE);
}

TEST(unknown_advice_is_einval)
{
    static const int unknown[] = {5,  6,   7,    26, 27,         50,
                                  99, 104, 1000, -1, 0x7fffffff, (int)0x80000000};
    char *p = map_anon(PAGE);
    memset(p, 1, PAGE);
    for (size_t i = 0; i < COUNT(unknown); i++) {
        CHECK_ADVICE(p, PAGE, unknown[i], EINVAL);
        CHECK_ADVICE(p, 0, unknown[i], EINVAL);  // even with nothing to do
    }
    CHECK_BYTES(p, 1, PAGE);
    munmap(p, PAGE);
}

TEST(length_is_rounded_up_to_a_page)
{
    char *p = map_anon(3 * PAGE);
    memset(p, 1, 3 * PAGE);
    CHECK_OK(madvise(p, PAGE + 1, DONTNEED));
    CHECK_BYTES(p, 0, 2 * PAGE);
    CHECK_BYTES(p + 2 * PAGE, 1, PAGE);
    munmap(p, 3 * PAGE);
}

TEST(a_hole_gives_enomem_after_acting_on_the_rest)
{
    static const int advices[] = {NORMAL,     RANDOM,   SEQUENTIAL,      DONTFORK,
                                  DOFORK,     DONTDUMP, DODUMP,          HUGEPAGE,
                                  NOHUGEPAGE, COLD,     PAGEOUT,         WILLNEED,
                                  DONTNEED,   FREE,     DONTNEED_LOCKED, GUARD_REMOVE};
    for (size_t i = 0; i < COUNT(advices); i++) {
        char *p = map_anon(5 * PAGE);
        memset(p, 1, 5 * PAGE);
        REQUIRE_OK(munmap(p + 2 * PAGE, PAGE));
        CHECK_ADVICE(p, 5 * PAGE, advices[i], ENOMEM);
        CHECK_ADVICE(p + 2 * PAGE, PAGE, advices[i], ENOMEM);
        int wanted = advices[i] == DONTNEED || advices[i] == DONTNEED_LOCKED ? 0 : 1;
        if (advices[i] != FREE) {
            CHECK_BYTES(p, wanted, 2 * PAGE);
            CHECK_BYTES(p + 3 * PAGE, wanted, 2 * PAGE);  // after the hole too
        }
        munmap(p, 5 * PAGE);
    }
}

TEST(populate_stops_at_a_hole)
{
    char *p = map_anon(5 * PAGE);
    REQUIRE_OK(munmap(p + 2 * PAGE, PAGE));
    CHECK_ERRNO(madvise(p, 5 * PAGE, POPULATE_WRITE), ENOMEM);
    CHECK_EQ(resident_pages(p, 2 * PAGE), 2);  // partial progress
    CHECK_EQ(resident_pages(p + 3 * PAGE, 2 * PAGE), 0);
    munmap(p, 5 * PAGE);
}

TEST(an_error_in_one_area_stops_there)
{
    // anonymous, locked, anonymous: DONTNEED drops the first, refuses the second, leaves the third.
    char *p = map_anon(3 * PAGE);
    memset(p, 1, 3 * PAGE);
    REQUIRE_OK(mlock(p + PAGE, PAGE));
    CHECK_ERRNO(madvise(p, 3 * PAGE, DONTNEED), EINVAL);
    CHECK_BYTES(p, 0, PAGE);
    CHECK_BYTES(p + PAGE, 1, 2 * PAGE);
    munmap(p, 3 * PAGE);
}

TEST(kernel_addresses)
{
    CHECK_ADVICE((char *)USER_TOP, PAGE, DONTNEED, ENOMEM);
    CHECK_ADVICE((char *)0xffff800000000000, PAGE, DONTNEED, ENOMEM);
    CHECK_ADVICE((char *)0xffff800000000000, PAGE, NORMAL, ENOMEM);
}

// ---- one by one ----

TEST(dontneed_bug)
{
    // From a report: a kernel that accepted the advice and did nothing.
    char *p = map_anon(PAGE);
    p[0] = 1;
    CHECK_EQ(madvise(p, PAGE, DONTNEED), 0);
    CHECK_EQ(BYTE(p), 0);
    CHECK_OK(munmap(p, PAGE));
}

TEST(dontneed_frees_memory)
{
    char *p = map_anon(256 * PAGE);
    madvise(p, 256 * PAGE, NOHUGEPAGE);
    memset(p, 1, 256 * PAGE);
    CHECK_EQ(resident_pages(p, 256 * PAGE), 256);
    CHECK_OK(madvise(p + 10 * PAGE, 100 * PAGE, DONTNEED));
    CHECK_EQ(resident_pages(p, 256 * PAGE), 156);
    CHECK_BYTES(p + 10 * PAGE, 0, 100 * PAGE);
    CHECK_BYTES(p, 1, 10 * PAGE);
    CHECK_BYTES(p + 110 * PAGE, 1, 146 * PAGE);
    munmap(p, 256 * PAGE);
}

TEST(dontneed_again_and_again)
{
    char *p = map_anon(16 * PAGE);
    for (int round = 0; round < 500; round++) {
        size_t at = (size_t)(round % 13) * PAGE;
        memset(p + at, round | 1, 3 * PAGE);
        REQUIRE_OK(madvise(p + at + PAGE, PAGE, DONTNEED));
        CHECK_BYTES(p + at + PAGE, 0, PAGE);
        CHECK_EQ(BYTE(p + at + 2 * PAGE), (round | 1) & 0xff);
    }
    munmap(p, 16 * PAGE);
}

TEST(dontneed_of_read_only_pages_zeroes_them)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    REQUIRE_OK(mprotect(p, PAGE, PROT_READ));
    CHECK_OK(madvise(p, PAGE, DONTNEED));
    CHECK_BYTES(p, 0, PAGE);
    CHECK_BYTES(p + PAGE, 1, PAGE);
    munmap(p, 2 * PAGE);
}

TEST(dontneed_splits_huge_memory)
{
    char *p = map_huge_aligned(3 * HUGE);
    madvise(p, 3 * HUGE, HUGEPAGE);
    memset(p, 5, 3 * HUGE);
    CHECK_OK(madvise(p + HUGE + 7 * PAGE, PAGE, DONTNEED));
    CHECK_BYTES(p + HUGE, 5, 7 * PAGE);
    CHECK_BYTES(p + HUGE + 7 * PAGE, 0, PAGE);
    CHECK_BYTES(p + HUGE + 8 * PAGE, 5, HUGE - 8 * PAGE);
    CHECK_OK(madvise(p + PAGE, 2 * HUGE, DONTNEED));  // part, whole, part
    CHECK_BYTES(p, 5, PAGE);
    CHECK_BYTES(p + PAGE, 0, 2 * HUGE);
    CHECK_BYTES(p + 2 * HUGE + PAGE, 5, HUGE - PAGE);
    memset(p, 6, 3 * HUGE);
    CHECK_OK(munmap(p + HUGE + 5 * PAGE, 3 * PAGE));
    CHECK_BYTES(p, 6, HUGE + 5 * PAGE);
    CHECK_FAULT(READ(p + HUGE + 5 * PAGE), SIGSEGV, SEGV_MAPERR, p + HUGE + 5 * PAGE);
    CHECK_BYTES(p + HUGE + 8 * PAGE, 6, 2 * HUGE - 8 * PAGE);
    CHECK_OK(mprotect(p + 2 * HUGE + 9 * PAGE, PAGE, PROT_READ));
    CHECK_FAULT(WRITE(p + 2 * HUGE + 9 * PAGE, 1), SIGSEGV, SEGV_ACCERR, p + 2 * HUGE + 9 * PAGE);
    CHECK_BYTES(p + 2 * HUGE, 6, HUGE);
    munmap(p, 3 * HUGE);
}

TEST(dontneed_across_areas_and_protections)
{
    char *p = map_anon(9 * PAGE);
    memset(p, 1, 9 * PAGE);
    REQUIRE_OK(mprotect(p + 3 * PAGE, 3 * PAGE, PROT_NONE));
    CHECK_OK(madvise(p + PAGE, 7 * PAGE, DONTNEED));
    REQUIRE_OK(mprotect(p, 9 * PAGE, RW));
    CHECK_BYTES(p, 1, PAGE);
    CHECK_BYTES(p + PAGE, 0, 7 * PAGE);
    CHECK_BYTES(p + 8 * PAGE, 1, PAGE);
    munmap(p, 9 * PAGE);
}

TEST(dontneed_of_a_private_file_shows_the_file_again)
{
    int fd = new_file("f", 4 * PAGE, 'a');
    char *p = map_with(4 * PAGE, RW, MAP_PRIVATE, fd);
    memset(p, 'z', 4 * PAGE);
    REQUIRE(pwrite(fd, "N", 1, PAGE) == 1);  // the file moves on meanwhile
    CHECK_OK(madvise(p, 3 * PAGE, DONTNEED));
    CHECK_EQ(BYTE(p), 'a');
    CHECK_EQ(BYTE(p + PAGE), 'N');
    CHECK_EQ(BYTE(p + PAGE + 1), 'b');
    CHECK_EQ(BYTE(p + 3 * PAGE), 'z');
    char c;
    CHECK_EQ(pread(fd, &c, 1, 0), 1);
    CHECK_EQ(c, 'a');  // private writes never reached it
    munmap(p, 4 * PAGE);
    close(fd);
    unlink("f");
}

TEST(free_keeps_what_is_written_afterwards)
{
    char *p = map_anon(8 * PAGE);
    memset(p, 1, 8 * PAGE);
    CHECK_OK(madvise(p, 8 * PAGE, FREE));
    for (size_t i = 0; i < 8; i++)
        p[i * PAGE] = 9;  // cancels the freeing of that page
    for (size_t i = 0; i < 8; i++) {
        CHECK_EQ(BYTE(p + i * PAGE), 9);
        CHECK(BYTE(p + i * PAGE + 1) == 1 || BYTE(p + i * PAGE + 1) == 0);
    }
    munmap(p, 8 * PAGE);
}

TEST(remove_needs_a_shared_writable_mapping)
{
    int fd = new_memfd(4 * PAGE);
    char *p = map_with(4 * PAGE, PROT_READ, MAP_SHARED, fd);
    memset(map_with(4 * PAGE, RW, MAP_SHARED, fd), 1, 4 * PAGE);
    CHECK_OK(madvise(p, PAGE, REMOVE));  // may be made writable: that is enough
    CHECK_BYTES(p, 0, PAGE);
    CHECK_BYTES(p + PAGE, 1, 3 * PAGE);
    char *q = map_with(4 * PAGE, RW, MAP_PRIVATE, fd);
    CHECK_ERRNO(madvise(q, PAGE, REMOVE), EACCES);
    CHECK_ERRNO(madvise(p, (size_t)-1, REMOVE), EINVAL);
    struct stat st;
    REQUIRE_OK(fstat(fd, &st));
    CHECK_EQ(st.st_size, 4 * PAGE);  // a hole, not a shorter file
    munmap(p, 4 * PAGE), munmap(q, 4 * PAGE);
    close(fd);
}

TEST(remove_is_seen_through_other_mappings)
{
    int fd = new_memfd(4 * PAGE);
    char *p = map_with(4 * PAGE, RW, MAP_SHARED, fd), *q = map_with(4 * PAGE, RW, MAP_SHARED, fd);
    char *copy = map_with(4 * PAGE, RW, MAP_PRIVATE, fd);
    memset(p, 1, 4 * PAGE);
    copy[PAGE] = 2;         // a private copy survives
    READ(copy + 2 * PAGE);  // a page only read does not
    CHECK_OK(madvise(p + PAGE, 2 * PAGE, REMOVE));
    CHECK_BYTES(q, 1, PAGE);
    CHECK_BYTES(q + PAGE, 0, 2 * PAGE);
    CHECK_EQ(BYTE(copy + PAGE), 2);
    CHECK_EQ(BYTE(copy + 2 * PAGE), 0);
    munmap(p, 4 * PAGE), munmap(q, 4 * PAGE), munmap(copy, 4 * PAGE);
    close(fd);
}

TEST(populate_read_maps_without_changing)
{
    char *p = map_anon(4 * PAGE);
    CHECK_OK(madvise(p, 4 * PAGE, POPULATE_READ));
    CHECK_EQ(resident_pages(p, 4 * PAGE), 4);
    CHECK_BYTES(p, 0, 4 * PAGE);
    munmap(p, 4 * PAGE);
    p = map_with(4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK_OK(madvise(p, 4 * PAGE, POPULATE_READ));
    CHECK_ERRNO(madvise(p, 4 * PAGE, POPULATE_WRITE), EINVAL);
    munmap(p, 4 * PAGE);
    p = map_with(4 * PAGE, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK_OK(madvise(p, 4 * PAGE, POPULATE_WRITE));
    munmap(p, 4 * PAGE);
}

TEST(populate_past_the_end_of_a_file)
{
    int fd = new_memfd(PAGE);
    char *p = map_with(3 * PAGE, RW, MAP_SHARED, fd);
    CHECK_ERRNO(madvise(p, 3 * PAGE, POPULATE_READ), EFAULT);
    CHECK_ERRNO(madvise(p, 3 * PAGE, POPULATE_WRITE), EFAULT);
    CHECK_OK(madvise(p, PAGE, POPULATE_WRITE));
    munmap(p, 3 * PAGE);
    close(fd);
}

TEST(guards_hold_until_removed)
{
    char *p = map_anon(8 * PAGE);
    memset(p, 1, 8 * PAGE);
    CHECK_OK(madvise(p + 2 * PAGE, 2 * PAGE, GUARD_INSTALL));
    CHECK_FAULT(READ(p + 2 * PAGE), SIGSEGV, SEGV_MAPERR, p + 2 * PAGE);
    CHECK_FAULT(WRITE(p + 4 * PAGE - 1, 1), SIGSEGV, SEGV_MAPERR, p + 4 * PAGE - 1);
    CHECK_BYTES(p, 1, 2 * PAGE);
    CHECK_BYTES(p + 4 * PAGE, 1, 4 * PAGE);
    CHECK_EQ(vma_count(p, p + 8 * PAGE), 1);   // no area of their own
    CHECK_OK(madvise(p, 8 * PAGE, DONTNEED));  // DONTNEED leaves guards alone
    CHECK_FAULT(READ(p + 2 * PAGE), SIGSEGV, SEGV_MAPERR, p + 2 * PAGE);
    CHECK_OK(mprotect(p, 8 * PAGE, PROT_READ));
    CHECK_OK(mprotect(p, 8 * PAGE, RW));
    CHECK_FAULT(READ(p + 3 * PAGE), SIGSEGV, SEGV_MAPERR, p + 3 * PAGE);
    CHECK_ERRNO(madvise(p, 8 * PAGE, POPULATE_READ), EFAULT);
    int fds[2];
    REQUIRE_OK(pipe(fds));
    CHECK_ERRNO(write(fds[1], p + 2 * PAGE, 1), EFAULT);  // for the kernel too
    close(fds[0]), close(fds[1]);
    CHECK_OK(madvise(p, 8 * PAGE, GUARD_INSTALL));  // over what is there already
    CHECK_OK(madvise(p, 8 * PAGE, GUARD_REMOVE));
    CHECK_BYTES(p, 0, 8 * PAGE);
    CHECK_NO_FAULT(WRITE(p + 2 * PAGE, 1));
    munmap(p, 8 * PAGE);
}

TEST(guards_go_with_the_mapping)
{
    char *p = map_anon(4 * PAGE);
    CHECK_OK(madvise(p, 4 * PAGE, GUARD_INSTALL));
    char *q = mmap(p, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK_EQ(q, p);
    CHECK_NO_FAULT(WRITE(p, 1));
    CHECK_OK(madvise(p + PAGE, PAGE, GUARD_INSTALL));
    char *moved = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    REQUIRE(moved != MAP_FAILED);
    CHECK_EQ(BYTE(moved), 1);
    CHECK_FAULT(READ(moved + PAGE), SIGSEGV, SEGV_MAPERR, moved + PAGE);
    munmap(moved, 8 * PAGE);
}

TEST(collapse_makes_one_page_of_many)
{
    char *p = map_huge_aligned(HUGE);
    madvise(p, HUGE, NOHUGEPAGE);
    for (size_t i = 0; i < HUGE; i += PAGE)
        p[i] = (char)(i / PAGE);
    madvise(p, HUGE, HUGEPAGE);
    int error = madvise(p, HUGE, COLLAPSE) == 0 ? 0 : errno;
    CHECK(error == 0 || error == EINVAL || error == EAGAIN || error == ENOMEM || error == EBUSY);
    for (size_t i = 0; i < HUGE; i += PAGE)
        CHECK_EQ((unsigned char)p[i], (unsigned char)(i / PAGE));
    munmap(p, HUGE);
}

TEST(wipe_and_merge_flags_split_areas)
{
    char *p = map_anon(6 * PAGE);
    CHECK_OK(madvise(p + 2 * PAGE, PAGE, WIPEONFORK));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 3);
    CHECK_OK(madvise(p + 2 * PAGE, PAGE, KEEPONFORK));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 1);
    CHECK_OK(madvise(p + 2 * PAGE, PAGE, DONTFORK));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 3);
    CHECK_OK(madvise(p, 6 * PAGE, DOFORK));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 1);
    CHECK_OK(madvise(p + PAGE, PAGE, DONTDUMP));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 3);
    CHECK_OK(madvise(p + PAGE, PAGE, DODUMP));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 1);
    CHECK_OK(madvise(p + PAGE, PAGE, RANDOM));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 3);
    CHECK_OK(madvise(p + PAGE, PAGE, NORMAL));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 1);
    CHECK_OK(madvise(p + PAGE, PAGE, NOHUGEPAGE));
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 3);
    CHECK_OK(madvise(p, 6 * PAGE, NOHUGEPAGE));  // as Go does: neighbours merge again
    CHECK_EQ(vma_count(p, p + 6 * PAGE), 1);
    munmap(p, 6 * PAGE);
}

TEST(one_huge_range_over_many_areas)
{
    enum { N = 400 };
    char *p = map_anon(N * PAGE);
    memset(p, 1, N * PAGE);
    for (size_t i = 0; i < N; i += 2)
        REQUIRE_OK(mprotect(p + i * PAGE, PAGE, PROT_READ));
    CHECK_OK(madvise(p, N * PAGE, DONTNEED));
    CHECK_BYTES(p, 0, N * PAGE);
    munmap(p, N * PAGE);
}

TEST(advice_on_what_was_never_touched)
{
    char *p = map_with(1ul << 32, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);  // 4 GiB
    p[1ul << 31] = 1;
    uint64_t before = now_ns(CLOCK_MONOTONIC);
    CHECK_OK(madvise(p, 1ul << 32, DONTNEED));
    CHECK_OK(madvise(p, 1ul << 32, FREE));
    CHECK(now_ns(CLOCK_MONOTONIC) - before <
          2 * SEC);  // touches nothing, page by page or otherwise
    CHECK_EQ(BYTE(p + (1ul << 31)), 0);
    munmap(p, 1ul << 32);
}

// process_madvise(2) on oneself, by pidfd.
TEST(process_madvise_of_self)
{
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (pidfd < 0 && errno == ENOSYS && in_lethe())
        SKIP("no pidfd_open yet");
    REQUIRE(pidfd >= 0);
    char *p = map_anon(4 * PAGE);
    memset(p, 1, 4 * PAGE);
    struct {
        void *base;
        size_t len;
    } vector[2] = {{p, PAGE}, {p + 2 * PAGE, PAGE}};
    CHECK_EQ(syscall(SYS_process_madvise, pidfd, vector, 2, COLD, 0), 2 * PAGE);
    CHECK_EQ(syscall(SYS_process_madvise, pidfd, vector, 2, DONTNEED, 0),
             2 * PAGE);  // self: any advice
    CHECK_BYTES(p, 0, PAGE);
    CHECK_BYTES(p + PAGE, 1, PAGE);
    CHECK_BYTES(p + 2 * PAGE, 0, PAGE);
    CHECK_ERRNO(syscall(SYS_process_madvise, pidfd, vector, 2, COLD, 1), EINVAL);
    CHECK_ERRNO(syscall(SYS_process_madvise, -1, vector, 2, COLD, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_process_madvise, pidfd, (void *)8, 2, COLD, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_process_madvise, -1, (void *)8, 2, COLD, 0),
                EFAULT);  // the vector first
    CHECK_ERRNO(syscall(SYS_process_madvise, pidfd, vector, 1025, COLD, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_process_madvise, pidfd, vector, 2, 77, 0), EINVAL);
    CHECK_EQ(syscall(SYS_process_madvise, pidfd, vector, 0, 77, 0), 0);
    vector[1].base = p + 1;  // partial progress
    CHECK_EQ(syscall(SYS_process_madvise, pidfd, vector, 2, COLD, 0), PAGE);
    munmap(p, 4 * PAGE);
    close(pidfd);
}

TEST(process_madvise_of_pidfd_self)
{
    char *p = map_anon(2 * PAGE);
    memset(p, 1, 2 * PAGE);
    struct {
        void *base;
        size_t len;
    } vector[2] = {{p, PAGE}, {p + PAGE, PAGE}};
    enum { SELF_THREAD = -10000, SELF_PROCESS = -10001 };
    long n = syscall(SYS_process_madvise, SELF_THREAD, vector, 1, COLD, 0);
    if (n < 0 && errno == EBADF && !in_lethe()) {
        munmap(p, 2 * PAGE);
        SKIP("before Linux 6.17");
    }
    CHECK_EQ(n, PAGE);
    CHECK_EQ(syscall(SYS_process_madvise, SELF_PROCESS, vector, 2, DONTNEED, 0), 2 * PAGE);
    CHECK_BYTES(p, 0, 2 * PAGE);
    CHECK_ERRNO(syscall(SYS_process_madvise, -20000, vector, 2, COLD, 0), EBADF);
    munmap(p, 2 * PAGE);
}

// An extension (docs/memory.md): Linux does not know the numbers.
TEST(reusable_and_reuse)
{
    enum { REUSABLE = 0x4c450001, REUSE = 0x4c450002, N = 64 };
    char *p = map_anon(N * PAGE);
    memset(p, 1, N * PAGE);
    if (!in_lethe()) {
        CHECK_ERRNO(madvise(p, N * PAGE, REUSABLE), EINVAL);
        CHECK_ERRNO(madvise(p, N * PAGE, REUSE), EINVAL);
        munmap(p, N * PAGE);
        return;
    }
    CHECK_OK(madvise(p + PAGE, (N - 2) * PAGE, REUSABLE));
    CHECK_EQ(resident_pages(p, N * PAGE), 2);  // given back
    CHECK_BYTES(p + PAGE, 0, PAGE);            // a touch without REUSE finds zeros
    CHECK_OK(madvise(p, N * PAGE, REUSE));
    CHECK_EQ(resident_pages(p, N * PAGE), N);  // there again, before any touch
    CHECK_BYTES(p, 1, PAGE);
    CHECK_BYTES(p + PAGE, 0, (N - 2) * PAGE);
    CHECK_BYTES(p + (N - 1) * PAGE, 1, PAGE);
    REQUIRE_OK(mprotect(p, PAGE, PROT_READ));
    CHECK_ERRNO(madvise(p, PAGE, REUSE), EINVAL);  // not writable
    munmap(p + PAGE, PAGE);
    CHECK_ERRNO(madvise(p + PAGE, 2 * PAGE, REUSABLE), ENOMEM);
    CHECK_ERRNO(madvise(p + PAGE, 2 * PAGE, REUSE), ENOMEM);
    REQUIRE_OK(mlock(p + 4 * PAGE, PAGE));
    CHECK_ERRNO(madvise(p + 4 * PAGE, PAGE, REUSABLE), EINVAL);
    munmap(p, N * PAGE);
    int fd = new_memfd(PAGE);
    p = map_with(PAGE, RW, MAP_SHARED, fd);
    CHECK_ERRNO(madvise(p, PAGE, REUSABLE), EINVAL);
    CHECK_ERRNO(madvise(p, PAGE, REUSE), EINVAL);
    munmap(p, PAGE);
    close(fd);
}
