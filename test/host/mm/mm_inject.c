// SPDX-License-Identifier: BSD-2-Clause
// mm_inject.c: each operation is run with its first, second, third, … allocation failing until it gets through. A
// failure must leave the address space as it was, the verifiers green, and at the end no frame may be lost.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "host.h"
#include "mm/hugetlb.h"
#include "mm/mm_internal.h"
#include "mm/syscalls.h"

#define BASE 0x40000000ul
#define AT(page) (BASE + (page)*PAGE_SIZE)
#define RW (PROT_READ | PROT_WRITE)
#define FIXED (MAP_PRIVATE | MAP_FIXED)

static struct mm *mm;
static struct vm_object *obj;

#define MUST(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "FAIL host/mm %s:%d %s\n", name, __LINE__, #cond); \
            abort();                                                           \
        }                                                                      \
    } while (0)

static u32 word(const char *name, unsigned page)
{
    u32 value = 0;
    MUST(user_read(AT(page), &value) == 0);
    return value;
}

// Pages 0..1023: anonymous, each holding its number plus one, the second 2 MiB on a huge page;
// 1024..1087: private mapping of an object; 1100..1163: shared mapping.
static void build(const char *name)
{
    mm = mm_create();
    MUST(mm);
    host_run(mm);
    obj = vm_object_create_anon(64 * PAGE_SIZE);
    MUST(mm_map(mm, AT(0), 1024 * PAGE_SIZE, RW, FIXED, NULL, NULL, 0) == (long)AT(0));
    MUST(mm_map(mm, AT(1024), 64 * PAGE_SIZE, RW, FIXED, obj, NULL, 0) == (long)AT(1024));
    MUST(mm_map(mm, AT(1100), 64 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, obj, NULL, 0) ==
         (long)AT(1100));
    MUST(mm_map(mm, AT(1200), 16 * PAGE_SIZE, RW, FIXED, NULL, NULL, 0) == (long)AT(1200));
    MUST(madvise_range(mm, AT(0), HUGE_SIZE, MADV_NOHUGEPAGE) == 0);
    for (unsigned i = 0; i < 1024; i += i < 512 ? 37 : 1)
        MUST(user_write(AT(i), i + 1) == 0);
    for (unsigned i = 0; i < 64; i += 9)
        MUST(user_write(AT(1024 + i), 5000 + i) == 0 && user_write(AT(1100 + i), 6000 + i) == 0);
}

static void check_unchanged(const char *name)
{
    for (unsigned i = 0; i < 1024; i += i < 512 ? 37 : 1)
        MUST(word(name, i) == i + 1);
    for (unsigned i = 0; i < 64; i += 9)
        MUST(word(name, 1024 + i) == 5000 + i && word(name, 1100 + i) == 6000 + i);
}

static void destroy(void)
{
    host_run(NULL);
    mm_put(mm);
    vm_object_put(obj);
    mm = NULL;
}

struct op {
    const char *name;
    long (*run)(void);
    bool
        may_progress;  // Linux documents partial progress: contents are not compared after a failure
};

static long do_map(void)
{
    return mm_map(mm, AT(300), 400 * PAGE_SIZE, PROT_READ, FIXED, NULL, NULL, 0);
}
static long do_map_shared(void)
{
    return sys_mmap(AT(600), 9 * PAGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
static long unmap_middle(void) { return mm_unmap(mm, AT(700), 10 * PAGE_SIZE); }
static long unmap_across(void) { return mm_unmap(mm, AT(600), 460 * PAGE_SIZE); }
static long protect(void) { return mm_protect(mm, AT(600), 10 * PAGE_SIZE, PROT_READ); }
static long remap_grow(void)
{
    return sys_mremap(AT(600), 20 * PAGE_SIZE, 2000 * PAGE_SIZE, MREMAP_MAYMOVE, 0);
}
static long remap_move(void)
{
    return sys_mremap(AT(520), 400 * PAGE_SIZE, 400 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                      AT(2000));
}
static long remap_table(void)
{
    return sys_mremap(AT(512), 512 * PAGE_SIZE, 512 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                      AT(2048));
}
// Two areas in one call. What was moved before a failure stays moved, so the rest is tried again.
static long remap_areas(void)
{
    unsigned done = 0;
    for (struct vma *v; !(v = vma_at(mm, AT(1000 + done)));)
        done += 24;
    return sys_mremap(AT(1000 + done), (60 - done) * PAGE_SIZE, (60 - done) * PAGE_SIZE,
                      MREMAP_MAYMOVE | MREMAP_FIXED, AT(3000 + done));
}
// Pages of a pool: mapped, written, shared with a child, given back.
static long pool_pages(void)
{
    hugetlb_resize(4);
    long p = hugetlb_total() < 4
                 ? -ENOMEM
                 : sys_mmap(0, 2 * HUGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    long s =
        p < 0 ? p : sys_mmap(0, HUGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    long err = s < 0 ? s : 0;
    struct mm *child = NULL;
    if (!err && (user_write((vaddr_t)p + 8, 1) || user_write((vaddr_t)s + 8, 2)))
        err = -ENOMEM;
    if (!err && IS_ERR(child = mm_fork(mm)))
        err = PTR_ERR(child);
    if (!err && user_write((vaddr_t)p + 12, 3))
        err = -ENOMEM;
    mm_verify(mm);
    if (child && !IS_ERR(child)) {
        mm_verify(child);
        mm_put(child);
    }
    if (p > 0)
        mm_unmap(mm, (vaddr_t)p, 2 * HUGE_SIZE);
    if (s > 0)
        mm_unmap(mm, (vaddr_t)s, HUGE_SIZE);
    const char *name = "pool pages";
    MUST(hugetlb_free_count() == hugetlb_total() && hugetlb_reserved_count() == 0);
    hugetlb_resize(0);
    MUST(hugetlb_total() == 0);
    return err;
}
static long dontneed(void) { return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_DONTNEED); }
static long guard(void) { return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_GUARD_INSTALL); }
static long lock(void) { return sys_mlock2(AT(600), 10 * PAGE_SIZE, MLOCK_ONFAULT); }
static long name_it(void) { return mm_set_vma_name(mm, AT(600), 10 * PAGE_SIZE, "a name"); }
static long fork_it(void)
{
    struct mm *child = mm_fork(mm);
    if (IS_ERR(child))
        return PTR_ERR(child);
    mm_verify(child);
    mm_put(child);
    return 0;
}
static long write_fault(void)
{
    int sig = user_write(AT(5), 1);
    return sig == 9 ? -ENOMEM : sig;
}
static long object_fault(void)
{
    int sig = user_write(AT(1101), 1);
    return sig == 9 ? -ENOMEM : sig;
}
static long collapse(void) { return madvise_range(mm, AT(0), HUGE_SIZE, MADV_COLLAPSE); }
static long hugepage(void)
{
    return madvise_range(mm, AT(0), HUGE_SIZE, MADV_HUGEPAGE) ?: collapse();
}

static long read_fault(void)
{
    u32 value;
    int sig = user_read(AT(1025), &value);
    return sig == 9 ? -ENOMEM : sig;
}
static long zero_page_fault(void)
{
    u32 value;
    int sig = user_read(AT(1200), &value);
    return sig == 9 ? -ENOMEM : sig;
}
static long copy_of_object(void)
{
    int sig = user_write(AT(1026), 7);
    return sig == 9 ? -ENOMEM : sig;
}
static long copy_after_fork(void)
{
    struct mm *child = mm_fork(mm);
    if (IS_ERR(child))
        return PTR_ERR(child);
    int sig = user_write(AT(600), 601);
    mm_verify(child);
    mm_put(child);
    return sig == 9 ? -ENOMEM : sig;
}
static long populate_read(void)
{
    return madvise_range(mm, AT(1024), 64 * PAGE_SIZE, MADV_POPULATE_READ);
}
static long populate_write(void)
{
    return madvise_range(mm, AT(0), 300 * PAGE_SIZE, MADV_POPULATE_WRITE);
}
static long map_populated(void)
{
    return sys_mmap(AT(3000), 300 * PAGE_SIZE, RW,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
}
static long free_part(void) { return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_FREE); }
static long cold_part(void) { return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_COLD); }
static long reuse(void)
{
    return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_FREE_REUSABLE)
               ?: madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_FREE_REUSE);
}
static long remove_hole(void) { return madvise_range(mm, AT(1100), 10 * PAGE_SIZE, MADV_REMOVE); }
static long area_flags(void) { return madvise_range(mm, AT(600), 10 * PAGE_SIZE, MADV_DONTFORK); }
static long across_areas(void) { return madvise_range(mm, AT(0), 1024 * PAGE_SIZE, MADV_RANDOM); }
static long lock_all(void) { return sys_mlockall(MCL_CURRENT | MCL_FUTURE); }
static long lock_now(void) { return sys_mlock(AT(100), 100 * PAGE_SIZE); }
static long seal(void) { return sys_mseal(AT(600), 10 * PAGE_SIZE, 0); }
static long remap_shared(void)
{
    return sys_mremap(AT(1100), 0, 20 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(3000));
}
static long remap_keep(void)
{
    return sys_mremap(AT(600), 20 * PAGE_SIZE, 20 * PAGE_SIZE,
                      MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, AT(3000));
}
static long rearrange(void) { return sys_remap_file_pages(AT(1110), 5 * PAGE_SIZE, 0, 40, 0); }
static long grow_break(void)
{
    mm->brk_start = AT(5000);
    if (!mm->brk_end)
        mm->brk_end = AT(5000);
    return (vaddr_t)sys_brk(AT(5010)) == AT(5010) ? 0 : -ENOMEM;
}
static long truncate(void) { return vm_object_truncate(obj, 30 * PAGE_SIZE + 100); }
static long insert_page(void)
{
    struct page *p = vm_object_get_page(obj, 63, true);
    if (IS_ERR(p))
        return PTR_ERR(p);
    page_put(p);
    return 0;
}
static long read_outside(void)
{
    u32 value;
    return mm_read(mm, AT(1200), &value, sizeof value) == -ENOMEM ? -ENOMEM : 0;
}
static long write_outside(void)
{
    u32 value = 601;
    return mm_write(mm, AT(600), &value, sizeof value);
}

static const struct op ops[] = {
    {"mmap over", do_map, false},
    {"mmap shared", do_map_shared, false},
    {"munmap middle", unmap_middle, false},
    {"munmap across", unmap_across, false},
    {"mprotect", protect, false},
    {"mremap grow", remap_grow, false},
    {"mremap move", remap_move, false},
    {"mremap of 2 MiB", remap_table, false},
    {"mremap of areas", remap_areas, true},
    {"pool pages", pool_pages, false},
    {"dontneed", dontneed, true},
    {"guard", guard, true},
    {"mlock", lock, false},
    {"name", name_it, false},
    {"fork", fork_it, false},
    {"write fault", write_fault, false},
    {"object fault", object_fault, false},
    {"collapse", hugepage, false},
    {"read fault of an object", read_fault, false},
    {"zero page fault", zero_page_fault, false},
    {"private copy of an object", copy_of_object, true},
    {"copy after fork", copy_after_fork, false},
    {"populate for reading", populate_read, false},
    {"populate for writing", populate_write, false},
    {"mmap populated", map_populated, false},
    {"free of a part of 2 MiB", free_part, true},
    {"cold part of 2 MiB", cold_part, false},
    {"reusable and reuse", reuse, true},
    {"remove", remove_hole, true},
    {"flags of a part", area_flags, false},
    {"flags across areas", across_areas, false},
    {"mlockall", lock_all, false},
    {"mlock at once", lock_now, false},
    {"mseal", seal, false},
    {"mremap of size 0", remap_shared, false},
    {"mremap, keeping", remap_keep, true},
    {"remap_file_pages", rearrange, true},
    {"brk", grow_break, false},
    {"truncate", truncate, true},
    {"page of an object", insert_page, false},
    {"access from outside", read_outside, false},
    {"write from outside", write_outside, false},
};

static unsigned try_op(const struct op *op)
{
    const char *name = op->name;
    for (unsigned n = 1;; n++) {
        build(name);
        page_fail_at = n;
        long result = op->run();
        bool failed = page_fail_at == 0;
        page_fail_at = 0;
        mm_verify(mm);
        if (failed && result < 0 && !op->may_progress)
            check_unchanged(name);
        if (result < 0)
            MUST(op->run() >= 0);
        mm_verify(mm);
        destroy();
        page_allocator_verify();
        kmalloc_verify();
        if (!failed)
            return n;
        MUST(n < 5000);
    }
}

int main(void)
{
    host_boot(96 << 20);
    build("warm up");
    destroy();
    host_settle();
    u64 pages = page_free_count() + kmalloc_page_count();
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        try_op(&ops[i]);
        host_settle();
        if (page_free_count() + kmalloc_page_count() != pages) {
            fprintf(stderr, "FAIL host/mm %s: %llu frames lost\n", ops[i].name,
                    (unsigned long long)(pages - page_free_count() - kmalloc_page_count()));
            return 1;
        }
    }
    return 0;
}
