// SPDX-License-Identifier: BSD-2-Clause
// Every advice on every kind of memory, with something in the way: a hole at the start, inside or at the end, an address
// between pages, a length that wraps, no length. What it does to memory without obstacles is in mm_advise.c; here an
// area with an obstacle is compared, page by page, to one without. Source: madvise(2).
#include "mm_kinds.h"

static const struct {
    int advice;
    const char *name;
} advices[] = {
#define N(advice)       \
    {                   \
        advice, #advice \
    }
    N(NORMAL),         N(RANDOM),          N(SEQUENTIAL),    N(WILLNEED),     N(DONTNEED),
    N(FREE),           N(REMOVE),          N(DONTFORK),      N(DOFORK),       N(MERGEABLE),
    N(UNMERGEABLE),    N(HUGEPAGE),        N(NOHUGEPAGE),    N(DONTDUMP),     N(DODUMP),
    N(WIPEONFORK),     N(KEEPONFORK),      N(COLD),          N(PAGEOUT),      N(POPULATE_READ),
    N(POPULATE_WRITE), N(DONTNEED_LOCKED), N(GUARD_INSTALL), N(GUARD_REMOVE),
#undef N
};

// What a page shows to a reader: a byte if all are equal, -1 if not, or a signal with its code below -1.
static int look_at(const char *page)
{
    if (CATCH_FAULT(READ(page)) != 0)
        return -(fault_seen.signal * 256 + fault_seen.code);
    int first = (unsigned char)page[0];
    return first_byte_that_is_not(page, first, PAGE) ? -1 : first;
}

static void look_at_all(const char *start, int shown[PAGES])
{
    for (int i = 0; i < PAGES; i++)
        shown[i] = look_at(start + (size_t)i * PAGE);
}

static int advise(char *start, size_t len, int advice)
{
    return madvise(start, len, advice) == 0 ? 0 : errno;
}

// Memory that nobody will map again is made whole, so that the program lives on; .data would be no part of the file any
// more, and is left out.
static void close_hole(const struct area *area, int hole)
{
    char *page = area->start + (size_t)hole * PAGE;
    if (!area->unmap)
        REQUIRE(mmap(page, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
}

static void with_a_hole(size_t i, enum kind kind, int hole, char *stack_pages)
{
    int control[PAGES], shown[PAGES], advice = advices[i].advice;
    bool populates = advice == POPULATE_READ || advice == POPULATE_WRITE;
    struct area area = make_area(kind, stack_pages);
    int error = advise(area.start + FROM * PAGE, (TO - FROM) * PAGE, advice);
    look_at_all(area.start, control);
    madvise(area.start + FROM * PAGE, (TO - FROM) * PAGE, GUARD_REMOVE);
    drop_area(&area);

    area = make_area(kind, stack_pages);
    char *gone = area.start + (size_t)hole * PAGE;
    REQUIRE_OK(munmap(gone, PAGE));
    int found = advise(area.start + FROM * PAGE, (TO - FROM) * PAGE, advice);
    int wanted = error && !(populates && hole == FROM) ? error : ENOMEM;
    if (found != wanted)
        FAIL("%s on %s memory, page %d missing: %s, want %s", advices[i].name, kind_names[kind],
             hole, errno_name(found), errno_name(wanted));
    look_at_all(area.start, shown);
    for (int page = 0; page < PAGES; page++) {
        bool grows = page == hole && (kind == STACK || kind == GROWING);
        int want = page == hole ? -(SIGSEGV * 256 + SEGV_MAPERR) : control[page];
        bool lazy = advice == FREE && page >= FROM && page < TO && shown[page] >= 0;
        if (shown[page] != want && !lazy && !populates && !grows)
            FAIL("%s on %s memory, page %d missing: page %d shows %d, want %d", advices[i].name,
                 kind_names[kind], hole, page, shown[page], want);
    }
    close_hole(&area, hole);
    madvise(area.start, PAGES * PAGE, GUARD_REMOVE);
    drop_area(&area);
}

static void each_with_a_hole(int hole)
{
    char frame[(PAGES + 1) * PAGE];
    char *stack_pages = (char *)(((uintptr_t)frame + PAGE - 1) & ~(PAGE - 1));
    for (size_t i = 0; i < COUNT(advices); i++)
        for (enum kind kind = 0; kind < N_KINDS; kind++)
            if (kind != DATA)
                with_a_hole(i, kind, hole, stack_pages);
}

TEST(a_hole_at_the_start) { each_with_a_hole(FROM); }
TEST(a_hole_inside) { each_with_a_hole(FROM + 1); }
TEST(a_hole_at_the_end) { each_with_a_hole(TO - 1); }

// Refused, or accepted, without a look at the memory.
TEST(ranges_that_are_no_ranges)
{
    char frame[(PAGES + 1) * PAGE];
    char *stack_pages = (char *)(((uintptr_t)frame + PAGE - 1) & ~(PAGE - 1));
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct area area = make_area(kind, stack_pages);
        int before[PAGES], after[PAGES];
        look_at_all(area.start, before);
        char *at = area.start + FROM * PAGE;
        for (size_t i = 0; i < COUNT(advices); i++) {
            const struct {
                char *start;
                size_t len;
                int wanted;
            } ranges[] = {
                {at + 1, PAGE, EINVAL},    {at + PAGE - 1, 1, EINVAL},
                {at + 8, 0, EINVAL},       {at, -PAGE, EINVAL},
                {at, (size_t)-1, EINVAL},  {at, 1ul << 63, 0},
                {at, -(size_t)at, EINVAL}, {at, 0, 0},
            };
            bool refused = advise(at, 0, advices[i].advice) != 0;  // not built in
            for (size_t j = 0; j < COUNT(ranges); j++) {
                if (ranges[j].len == 1ul << 63)
                    continue;
                int wanted = refused ? EINVAL : ranges[j].wanted;
                int found = advise(ranges[j].start, ranges[j].len, advices[i].advice);
                if (found != wanted)
                    FAIL("%s on %s memory at page + %zu, length %#zx: %s, want %s", advices[i].name,
                         kind_names[kind], (size_t)(ranges[j].start - at), ranges[j].len,
                         errno_name(found), errno_name(wanted));
            }
        }
        look_at_all(area.start, after);
        if (memcmp(before, after, sizeof before) != 0)
            FAIL("%s memory has changed", kind_names[kind]);
        drop_area(&area);
    }
}

// Same-page merging: all of memory or none, whatever its kind; contents stay.
TEST(merging_on_each_kind)
{
    char frame[(PAGES + 1) * PAGE];
    char *stack_pages = (char *)(((uintptr_t)frame + PAGE - 1) & ~(PAGE - 1));
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct area area = make_area(kind, stack_pages);
        int before[PAGES], after[PAGES];
        look_at_all(area.start, before);
        bool built_in = access("/sys/kernel/mm/ksm/run", F_OK) == 0;
        CHECK_EQ(advise(area.start, PAGES * PAGE, MERGEABLE), built_in ? 0 : EINVAL);
        CHECK_EQ(advise(area.start, PAGES * PAGE, UNMERGEABLE), built_in ? 0 : EINVAL);
        look_at_all(area.start, after);
        CHECK(memcmp(before, after, sizeof before) == 0);
        drop_area(&area);
    }
}

// ---- MADV_COLLAPSE: ranges that hold an aligned 2 MiB

static bool thp_built_in(void)
{
    return access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0;
}

static void fill(char *p, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE)
        *(size_t *)(p + at) = at;
}

static bool is_filled(const char *p, size_t len)
{
    for (size_t at = 0; at < len; at += PAGE)
        if (*(const size_t *)(p + at) != at)
            return false;
    return true;
}

TEST(collapse_needs_an_aligned_2_mib)
{
    if (!thp_built_in())
        SKIP("no transparent huge pages here");
    char *p = map_huge_aligned(2 * HUGE);
    memset(p, 1, PAGE);
    CHECK_EQ(advise(p + PAGE, PAGE, COLLAPSE), EINVAL);    // none inside
    CHECK_EQ(advise(p + PAGE, HUGE - PAGE, COLLAPSE), 0);  // none, but the ends meet
    CHECK_EQ(advise(p + PAGE, HUGE - 2 * PAGE, COLLAPSE), EINVAL);
    CHECK_EQ(advise(p, HUGE - PAGE, COLLAPSE), 0);
    CHECK_EQ(advise(p + HUGE, 0, COLLAPSE), 0);
    CHECK_EQ(advise(p + 1, HUGE, COLLAPSE), EINVAL);
    munmap(p, 2 * HUGE);
}

TEST(collapse_keeps_contents)
{
    if (!thp_built_in())
        SKIP("no transparent huge pages here");
    char *p = map_huge_aligned(2 * HUGE);
    REQUIRE_OK(madvise(p, 2 * HUGE, NOHUGEPAGE));
    CHECK_EQ(advise(p, HUGE, COLLAPSE), EINVAL);  // never here, it was said
    fill(p, 2 * HUGE);
    REQUIRE_OK(madvise(p, 2 * HUGE, HUGEPAGE));
    CHECK_EQ(advise(p, HUGE, COLLAPSE), 0);
    CHECK(is_filled(p, 2 * HUGE));
    CHECK_EQ(advise(p, HUGE, COLLAPSE), 0);  // it is one already
    REQUIRE_OK(mprotect(p + HUGE, HUGE, PROT_READ));
    CHECK_EQ(advise(p + HUGE, HUGE, COLLAPSE), 0);  // read-only memory too
    CHECK_FAULT(WRITE(p + HUGE, 1), SIGSEGV, SEGV_ACCERR, p + HUGE);
    CHECK(is_filled(p, 2 * HUGE));
    munmap(p, 2 * HUGE);
}

TEST(collapse_of_memory_with_holes_in_it)
{
    if (!thp_built_in())
        SKIP("no transparent huge pages here");
    char *p = map_huge_aligned(2 * HUGE);
    REQUIRE_OK(madvise(p, 2 * HUGE, HUGEPAGE));
    fill(p, 2 * HUGE);
    REQUIRE_OK(madvise(p + 5 * PAGE, 9 * PAGE, DONTNEED));  // pages of it are missing
    CHECK_EQ(advise(p, HUGE, COLLAPSE), 0);
    CHECK(is_filled(p, 5 * PAGE));
    CHECK_BYTES(p + 5 * PAGE, 0, 9 * PAGE);
    REQUIRE_OK(munmap(p + HUGE + 7 * PAGE, PAGE));  // not one area any more
    int error = advise(p + HUGE, HUGE, COLLAPSE);
    CHECK(error == ENOMEM || error == EINVAL);
    CHECK_EQ(*(size_t *)(p + HUGE + 6 * PAGE), HUGE + 6 * PAGE);
    munmap(p, 2 * HUGE);
}

// Of the memory that several programs may share, Linux collapses what its policy for shared memory allows.
TEST(collapse_of_shared_memory_keeps_it_too)
{
    int fd = new_memfd(2 * HUGE);
    char *room = map_huge_aligned(2 * HUGE);
    char *p = mmap(room, 2 * HUGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
    REQUIRE(p == room);
    fill(p, 2 * HUGE);
    int error = advise(p, HUGE, COLLAPSE);
    CHECK(error == 0 || error == EINVAL);
    CHECK(is_filled(p, 2 * HUGE));
    size_t word = 0;
    CHECK_EQ(pread(fd, &word, sizeof word, 9 * PAGE), (ssize_t)sizeof word);
    CHECK_EQ(word, 9 * PAGE);
    munmap(p, 2 * HUGE);
    close(fd);
}
