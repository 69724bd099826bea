// SPDX-License-Identifier: BSD-2-Clause
// mm_model.c: random memory operations of a few processes on several CPUs, against the simplest model there is: an
// array that says for each page what it must read as. With odd seeds other CPUs allocate, free, drain and report
// whenever a spinlock is about to be taken. Usage: mm_model SEED OPERATIONS [-v]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/log.h"
#include "host.h"
#include "mm/mm_internal.h"
#include "mm/syscalls.h"

#define BASE 0x40000000ul
#define N_PAGES 2048
#define N_PROCS 3
#define N_OBJECTS 4
#define OBJECT_PAGES 600

enum kind { HOLE, ANON, SHARED, PRIVATE };  // PRIVATE: of an object

struct mpage {
    u8 kind, prot, object;
    bool guard, locked, wipe, dontfork, own, lazy, nohuge;
    u32 index;  // in the object
    u32 value;  // ANON, or PRIVATE with an own copy
};

struct proc {
    struct mm *mm;
    struct mpage pages[N_PAGES];
};

static struct proc procs[N_PROCS];
static struct {
    struct vm_object *obj;
    u32 values[OBJECT_PAGES];
} objects[N_OBJECTS];
static u64 state, op_number, seed;
static bool verbose;
static struct proc *cur;

#define FAIL(...)                                                                         \
    do {                                                                                  \
        fprintf(stderr, "mm_model seed %llu, operation %llu: ", (unsigned long long)seed, \
                (unsigned long long)op_number);                                           \
        fprintf(stderr, __VA_ARGS__);                                                     \
        fputc('\n', stderr);                                                              \
        abort();                                                                          \
    } while (0)
#define LOG(...)                                             \
    do {                                                     \
        if (verbose) {                                       \
            printf("%llu: ", (unsigned long long)op_number); \
            printf(__VA_ARGS__);                             \
            putchar('\n');                                   \
        }                                                    \
    } while (0)

// Where a fuzzer makes the decisions; when it is used up, or there is none, the numbers are random ones.
static const u8 *input, *input_end;

static u64 r(u64 n)
{
    if (input == input_end)
        return rnd(&state) % n;
    u64 value = 0;
    for (u64 range = n - 1; range && input < input_end; range >>= 8)
        value = value << 8 | *input++;
    return value % n;
}

static vaddr_t va_of(unsigned page) { return BASE + page * PAGE_SIZE; }

static void pick(unsigned *first, unsigned *n)
{
    *first = (unsigned)r(N_PAGES);
    switch (r(8)) {
    case 0:
        *first &= ~511u;
        *n = 512 * (1 + (unsigned)r(2));
        break;
    case 1: *n = 1 + (unsigned)r(700); break;
    case 2:
    case 3: *n = 1 + (unsigned)r(64); break;
    default: *n = 1 + (unsigned)r(6);
    }
    if (*first + *n > N_PAGES)
        *n = N_PAGES - *first;
}

// What a read of the page must give; for lazily freed pages zero is right as well.
static u32 expected(const struct mpage *p)
{
    if (p->kind == SHARED || (p->kind == PRIVATE && !p->own))
        return objects[p->object].values[p->index];
    return p->value;
}

static int expected_signal(const struct mpage *p, bool write, int *code)
{
    *code = SEGV_MAPERR;
    if (p->kind == HOLE)
        return SIGSEGV_NR;
    *code = SEGV_ACCERR;
    if (write ? !(p->prot & PROT_WRITE) : !p->prot)
        return SIGSEGV_NR;
    *code = SEGV_MAPERR;
    if (p->guard)
        return SIGSEGV_NR;
    *code = BUS_ADRERR;
    if (p->kind != ANON && p->index >= objects[p->object].obj->size_bytes >> PAGE_SHIFT)
        return SIGBUS_NR;
    return 0;
}

static void check_page(unsigned i)
{
    struct mpage *p = &cur->pages[i];
    u32 value = 0, quiet = 0;
    int code, want = expected_signal(p, false, &code);
    int sig = user_read(va_of(i), &value);
    if (sig != want || (sig && host_last_code != code))
        FAIL("read of page %u: signal %d code %d, want %d code %d", i, sig, host_last_code, want,
             code);
    if (sig)
        return;
    if (p->lazy && value == 0) {
        p->value = 0;
        p->lazy = false;
    }
    if (value != expected(p))
        FAIL("page %u reads %#x, want %#x (kind %d)", i, value, expected(p), p->kind);
    if (user_read(va_of(i) + 2048, &quiet) || quiet)
        FAIL("page %u is not clean: %#x", i, quiet);
}

static void write_page(unsigned i)
{
    struct mpage *p = &cur->pages[i];
    u32 value = (u32)rnd(&state) | 1;
    int code, want = expected_signal(p, true, &code);
    int sig = user_write(va_of(i), value);
    if (sig != want || (sig && host_last_code != code))
        FAIL("write of page %u: signal %d code %d, want %d code %d", i, sig, host_last_code, want,
             code);
    if (sig)
        return;
    p->lazy = false;
    if (p->kind == SHARED) {
        objects[p->object].values[p->index] = value;
    } else {
        p->own = true;
        p->value = value;
    }
}

static void expect(const char *what, long found, long wanted)
{
    if (found != wanted)
        FAIL("%s gives %ld, want %ld", what, found, wanted);
}

static bool has_hole(unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        if (cur->pages[i].kind == HOLE)
            return true;
    return false;
}

// ---- operations

static void op_map(void)
{
    unsigned first, n;
    pick(&first, &n);
    static const int prots[] = {PROT_NONE,
                                PROT_READ,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE};
    int prot = prots[r(6)];
    struct mpage page = {.kind = ANON, .prot = (u8)prot};
    struct vm_object *obj = NULL;
    u32 index = 0;
    int flags = MAP_PRIVATE | MAP_FIXED;
    if (r(3) == 0) {
        page.object = (u8)r(N_OBJECTS);
        page.kind = r(2) ? SHARED : PRIVATE;
        flags = MAP_FIXED | (page.kind == SHARED ? MAP_SHARED : MAP_PRIVATE);
        obj = objects[page.object].obj;
        index = (u32)r(OBJECT_PAGES);
        n = MIN(n, OBJECT_PAGES - index);
    }
    LOG("map %u+%u prot %d kind %d object %d index %u", first, n, prot, page.kind, page.object,
        index);
    expect("mmap", mm_map(cur->mm, va_of(first), n * PAGE_SIZE, prot, flags, obj, NULL, index),
           (long)va_of(first));
    for (unsigned i = 0; i < n; i++) {
        page.index = index + i;
        cur->pages[first + i] = page;
    }
}

static void op_unmap(void)
{
    unsigned first, n;
    pick(&first, &n);
    LOG("unmap %u+%u", first, n);
    expect("munmap", mm_unmap(cur->mm, va_of(first), n * PAGE_SIZE), 0);
    memset(&cur->pages[first], 0, n * sizeof(struct mpage));
}

static void op_protect(void)
{
    unsigned first, n, done = 0;
    pick(&first, &n);
    int prot = (int)r(4) == 0 ? 0 : r(2) ? PROT_READ : PROT_READ | PROT_WRITE;
    LOG("protect %u+%u %d", first, n, prot);
    while (done < n && cur->pages[first + done].kind != HOLE)
        done++;
    expect("mprotect", mm_protect(cur->mm, va_of(first), n * PAGE_SIZE, prot),
           done < n ? -ENOMEM : 0);
    for (unsigned i = 0; i < done; i++)
        cur->pages[first + i].prot = (u8)prot;
}

static long advise(unsigned first, unsigned n, int advice)
{
    return madvise_range(cur->mm, va_of(first), n * PAGE_SIZE, advice);
}

static void discard(struct mpage *p)
{
    p->lazy = false;
    p->own = false;
    if (p->kind == ANON)
        p->value = 0;
}

static void op_dontneed(void)
{
    unsigned first, n;
    pick(&first, &n);
    bool force = r(4) == 0;
    LOG("dontneed %u+%u force %d", first, n, force);
    long want = 0;
    for (unsigned i = first; i < first + n; i++) {
        struct mpage *p = &cur->pages[i];
        if (p->kind == HOLE) {
            want = -ENOMEM;
            continue;
        }
        if (p->locked && !force) {
            want = -EINVAL;
            break;
        }
        discard(p);
    }
    expect("dontneed", advise(first, n, force ? MADV_DONTNEED_LOCKED : MADV_DONTNEED), want);
}

static void op_free(void)
{
    unsigned first, n;
    pick(&first, &n);
    LOG("free %u+%u", first, n);
    long want = 0;
    for (unsigned i = first; i < first + n; i++) {
        struct mpage *p = &cur->pages[i];
        if (p->kind == HOLE) {
            want = -ENOMEM;
            continue;
        }
        if (p->locked || p->kind != ANON) {
            want = -EINVAL;
            break;
        }
        p->lazy = true;
    }
    expect("free", advise(first, n, MADV_FREE), want);
}

static void op_guard(void)
{
    unsigned first, n;
    pick(&first, &n);
    bool install = r(2);
    LOG("guard %u+%u install %d", first, n, install);
    long want = 0;
    for (unsigned i = first; i < first + n; i++) {
        struct mpage *p = &cur->pages[i];
        if (p->kind == HOLE) {
            want = -ENOMEM;
            continue;
        }
        if (install && p->locked) {
            want = -EINVAL;
            break;
        }
        if (install)
            discard(p);
        p->guard = install;
    }
    expect("guard", advise(first, n, install ? MADV_GUARD_INSTALL : MADV_GUARD_REMOVE), want);
}

static void op_huge(void)
{
    unsigned first, n;
    pick(&first, &n);
    static const int advices[] = {MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE, MADV_COLLAPSE};
    int advice = advices[r(4)];
    LOG("advice %d on %u+%u", advice, first, n);
    long err = advise(first, n, advice);
    if (advice != MADV_COLLAPSE)
        expect("hugepage", err, has_hole(first, n) ? -ENOMEM : 0);
    for (unsigned i = first; advice == MADV_COLLAPSE && i < first + n; i++)
        if (cur->pages[i].lazy)
            check_page(i);
}

static void op_fork_flags(void)
{
    unsigned first, n;
    pick(&first, &n);
    static const int advices[] = {MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK};
    int advice = advices[r(4)];
    LOG("advice %d on %u+%u", advice, first, n);
    long want = 0;
    for (unsigned i = first; i < first + n; i++) {
        struct mpage *p = &cur->pages[i];
        if (p->kind == HOLE) {
            want = -ENOMEM;
            continue;
        }
        if (advice == MADV_WIPEONFORK && p->kind != ANON) {
            want = -EINVAL;
            break;
        }
        if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
            p->dontfork = advice == MADV_DONTFORK;
        else
            p->wipe = advice == MADV_WIPEONFORK;
    }
    expect("fork flags", advise(first, n, advice), want);
}

static void op_lock(void)
{
    unsigned first, n;
    pick(&first, &n);
    bool lock = r(3) == 0;
    host_mm = cur->mm;
    LOG("lock %d %u+%u", lock, first, n);
    unsigned done = 0;
    while (done < n && cur->pages[first + done].kind != HOLE)
        done++;
    long err = lock ? sys_mlock2(va_of(first), n * PAGE_SIZE, MLOCK_ONFAULT)
                    : sys_munlock(va_of(first), n * PAGE_SIZE);
    expect("mlock", err, done < n ? -ENOMEM : 0);
    for (unsigned i = 0; i < done; i++)
        cur->pages[first + i].locked = lock;
}

static bool same_area(const struct mpage *a, const struct mpage *b)
{
    return a->kind == b->kind && a->prot == b->prot && a->locked == b->locked &&
           a->wipe == b->wipe && a->dontfork == b->dontfork &&
           (a->kind == ANON || (a->object == b->object && a->index + 1 == b->index));
}

static void op_remap(void)
{
    unsigned first, n, to;
    pick(&first, &n);
    if (cur->pages[first].kind == HOLE)
        return;
    for (unsigned i = 1; i < n; i++)
        if (!same_area(&cur->pages[first + i - 1], &cur->pages[first + i]))
            n = i;
    to = (unsigned)r(N_PAGES);
    if (r(3) == 0)
        to = (to & ~511u) | (first & 511);
    if (to + n > N_PAGES || (to < first + n && first < to + n))
        return;
    bool keep = r(4) == 0 && cur->pages[first].kind == ANON;
    LOG("remap %u+%u to %u keep %d", first, n, to, keep);
    host_mm = cur->mm;
    long at = sys_mremap(va_of(first), n * PAGE_SIZE, n * PAGE_SIZE,
                         MREMAP_MAYMOVE | MREMAP_FIXED | (keep ? MREMAP_DONTUNMAP : 0), va_of(to));
    // The model does not know of NOHUGEPAGE, which may keep neighbours apart.
    if (at == -EFAULT) {
        memset(&cur->pages[to], 0, n * sizeof(struct mpage));
        return;
    }
    expect("mremap", at, (long)va_of(to));
    memcpy(&cur->pages[to], &cur->pages[first], n * sizeof(struct mpage));
    for (unsigned i = first; i < first + n; i++) {
        if (!keep) {
            cur->pages[i] = (struct mpage){0};
            continue;
        }
        discard(&cur->pages[i]);
        cur->pages[i].guard = cur->pages[i].locked = false;
    }
}

static void op_fork(void)
{
    struct proc *child = NULL;
    for (unsigned i = 0; i < N_PROCS; i++)
        if (!procs[i].mm)
            child = &procs[i];
    if (!child)
        return;
    LOG("fork to %ld", (long)(child - procs));
    struct mm *mm = mm_fork(cur->mm);
    if (IS_ERR(mm))
        FAIL("fork gives %ld", PTR_ERR(mm));
    child->mm = mm;
    for (unsigned i = 0; i < N_PAGES; i++) {
        struct mpage *p = &child->pages[i];
        *p = cur->pages[i];
        p->locked = false;
        if (p->dontfork)
            *p = (struct mpage){0};
        else if (p->wipe)
            p->value = 0, p->lazy = p->guard = false;
    }
}

static void op_exit(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_PROCS; i++)
        n += procs[i].mm != NULL;
    if (n < 2)
        return;
    LOG("exit of %ld", (long)(cur - procs));
    struct mm *mm = cur->mm;
    cur->mm = NULL;
    memset(cur->pages, 0, sizeof cur->pages);
    while (!cur->mm)
        cur = &procs[r(N_PROCS)];
    host_run(cur->mm);
    mm_put(mm);
}

static void op_switch(void)
{
    host_set_cpu((unsigned)r(FAKE_CPUS));
    do
        cur = &procs[r(N_PROCS)];
    while (!cur->mm);
    LOG("cpu %u runs %ld", this_cpu()->id, (long)(cur - procs));
    if (r(4) == 0)
        host_run(NULL);
    host_run(cur->mm);
}

static void op_object(void)
{
    unsigned o = (unsigned)r(N_OBJECTS);
    struct vm_object *obj = objects[o].obj;
    u32 first = (u32)r(OBJECT_PAGES), n = 1 + (u32)r(64);
    n = MIN(n, OBJECT_PAGES - first);
    if (r(2)) {
        LOG("punch %u of %u+%u", o, first, n);
        vm_object_punch(obj, first * PAGE_SIZE, (first + n) * PAGE_SIZE);
        u32 limit = (u32)(obj->size_bytes >> PAGE_SHIFT);
        for (u32 i = first; i < first + n && i < limit; i++)
            objects[o].values[i] = 0;
        return;
    }
    u32 size = r(3) ? OBJECT_PAGES : first;
    LOG("truncate %u to %u", o, size);
    expect("truncate", vm_object_truncate(obj, size * PAGE_SIZE), 0);
    for (u32 i = size; i < OBJECT_PAGES; i++)
        objects[o].values[i] = 0;
    // Private copies beyond the new end go too (as Linux does).
    for (unsigned p = 0; p < N_PROCS; p++)
        for (unsigned i = 0; procs[p].mm && i < N_PAGES; i++) {
            struct mpage *m = &procs[p].pages[i];
            if (m->kind == PRIVATE && m->object == o && m->index >= size)
                m->own = false;
        }
}

static void op_remove(void)
{
    unsigned first = (unsigned)r(N_PAGES), n = 1 + (unsigned)r(20);
    n = MIN(n, N_PAGES - first);
    LOG("remove %u+%u", first, n);
    long want = 0;
    for (unsigned i = first; i < first + n; i++) {
        struct mpage *p = &cur->pages[i];
        if (p->kind == HOLE) {
            want = -ENOMEM;
            continue;
        }
        if (p->kind == ANON || p->locked) {
            want = -EINVAL;
            break;
        }
        if (p->kind == PRIVATE) {
            want = -EACCES;
            break;
        }
        if (p->index < objects[p->object].obj->size_bytes >> PAGE_SHIFT)
            objects[p->object].values[p->index] = 0;
    }
    expect("remove", advise(first, n, MADV_REMOVE), want);
}

static void op_touch(void)
{
    unsigned first, n;
    pick(&first, &n);
    bool write = r(3) != 0;
    unsigned step = r(3) ? 1 : 1 + (unsigned)r(7);
    LOG("touch %u+%u write %d step %u", first, n, write, step);
    for (unsigned i = first; i < first + n; i += step)
        write ? write_page(i) : check_page(i);
}

static void op_populate(void)
{
    unsigned first, n;
    pick(&first, &n);
    bool write = r(2);
    LOG("populate %u+%u write %d", first, n, write);
    long want = 0;
    for (unsigned i = first; i < first + n && !want; i++) {
        const struct mpage *p = &cur->pages[i];
        int code;
        if (p->kind == HOLE)
            want = -ENOMEM;
        else if (!(p->prot & (write ? PROT_WRITE : PROT_READ)))
            want = -EINVAL;
        else if (expected_signal(p, write, &code))
            want = -EFAULT;
        else if (write && p->kind == PRIVATE && !p->own) {
            cur->pages[i].value = expected(p);
            cur->pages[i].own = true;
        }
    }
    expect("populate", advise(first, n, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ), want);
}

// The host takes blocks back, after which they hold anything.
static void report_blocks(void)
{
    struct page *blocks[8];
    unsigned n = page_report_begin(blocks, 1 + r(ARRAY_SIZE(blocks)));
    bool told = r(8) != 0;
    for (unsigned i = 0; i < n && told; i++)
        memset(page_address(blocks[i]), 0x5a, HUGE_SIZE);
    page_report_end(blocks, n, told);
    LOG("reported %u", n);
}

static void op_background(void)
{
    if (r(8) == 0) {
        u64 n = lazyfree_reclaim(r(3000));
        LOG("reclaimed %llu", (unsigned long long)n);
    }
    for (u64 n = r(300); n; n--)
        page_zero_idle();
    if (r(4) == 0)
        report_blocks();
    if (r(4) == 0)
        page_zero_age();
}

static void (*const operations[])(void) = {
    op_map,     op_map,     op_map,        op_unmap,    op_unmap,    op_protect,
    op_protect, op_protect, op_dontneed,   op_dontneed, op_free,     op_guard,
    op_huge,    op_huge,    op_fork_flags, op_lock,     op_lock,     op_remap,
    op_remap,   op_fork,    op_exit,       op_switch,   op_switch,   op_switch,
    op_object,  op_remove,  op_touch,      op_touch,    op_touch,    op_touch,
    op_touch,   op_touch,   op_touch,      op_touch,    op_populate, op_background,
};

static void verify(bool full)
{
    for (unsigned i = 0; i < N_PROCS; i++)
        if (procs[i].mm)
            mm_verify(procs[i].mm);
    if (!full)
        return;
    for (unsigned i = 0; i < N_OBJECTS; i++)
        vm_object_verify(objects[i].obj);
    page_allocator_verify();
    kmalloc_verify();
}

static void begin(void)
{
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        objects[i].obj = vm_object_create_anon(OBJECT_PAGES * PAGE_SIZE);
        memset(objects[i].values, 0, sizeof objects[i].values);
    }
    memset(procs, 0, sizeof procs);
    host_watch(BASE, N_PAGES);
    cur = &procs[0];
    cur->mm = mm_create();
    host_run(cur->mm);
}

static void one_operation(void)
{
    operations[r(ARRAY_SIZE(operations))]();
    for (unsigned k = 0; k < 3; k++)
        check_page((unsigned)r(N_PAGES));
    host_watch_check();
}

static void finish(u64 pages)
{
    host_others_stop();
    for (unsigned i = 0; i < N_PROCS; i++) {
        for (unsigned c = 0; c < FAKE_CPUS; c++) {
            host_set_cpu(c);
            host_run(NULL);
        }
        if (procs[i].mm)
            mm_put(procs[i].mm);
    }
    for (unsigned i = 0; i < N_OBJECTS; i++)
        vm_object_put(objects[i].obj);
    host_settle();
    page_allocator_verify();
    kmalloc_verify();
    u64 slabs = kmalloc_page_count();
    if (page_free_count() + slabs < pages || page_free_count() > pages)
        FAIL("%llu frames free at the end, %llu at the start (%llu in slabs)",
             (unsigned long long)page_free_count(), (unsigned long long)pages,
             (unsigned long long)slabs);
}

// For test/host/fuzz: the bytes choose operations and arguments.
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    static u64 pages;
    if (!pages) {
        host_boot(160 << 20);
        pages = page_free_count();
        host_settle();
    }
    input = data;
    input_end = data + size;
    state = host_others_seed = size + 1;
    begin();
    for (op_number = 0; input < input_end; op_number++) {
        host_before_lock = size % 2 ? host_others_act : NULL;
        one_operation();
        host_before_lock = NULL;
        verify(false);
    }
    finish(pages);
    return 0;
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    u64 n = argc > 2 ? strtoull(argv[2], NULL, 0) : 10000;
    verbose = argc > 3;
    state = seed * 0x9e3779b97f4a7c15ull + 1;
    host_boot(160 << 20);
    host_others_seed = seed | 1;
    u64 pages = page_free_count();
    host_settle();
    begin();
    for (op_number = 0; op_number < n; op_number++) {
        host_before_lock = seed % 2 ? host_others_act : NULL;
        one_operation();
        host_before_lock = NULL;
        if (op_number % 64 == 0 || verbose)
            verify(op_number % 4096 == 0);
    }
    finish(pages);
    return 0;
}
