// SPDX-License-Identifier: BSD-2-Clause
// mm_unit.c: the parts of the memory core one by one. Usage: mm_unit small|large|badram|stress
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "host.h"
#include "mm/mm_internal.h"

#define BASE 0x40000000ul
#define MUST(cond)                                                              \
    do {                                                                        \
        if (!(cond)) {                                                          \
            fprintf(stderr, "FAIL host/mm mm_unit.c:%d %s\n", __LINE__, #cond); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

static const char *badram;

const char *cmdline_get(const char *name, char *buf, size_t size)
{
    if (!badram || strcmp(name, "badram"))
        return NULL;
    snprintf(buf, size, "%s", badram);
    return buf;
}

static void test_rbtree(void)
{
    struct item {
        struct rb_node node;
        u64 key;
        bool in;
    } *items = calloc(500, sizeof *items);
    struct rb_root root = {0};
    u64 s = 42, n = 0;
    for (unsigned i = 0; i < 500; i++)
        items[i].key = rnd(&s);
    for (unsigned step = 0; step < 20000; step++) {
        struct item *it = &items[rnd(&s) % 500];
        if (it->in) {
            rb_erase(&root, &it->node, NULL);
            n--;
        } else {
            struct rb_node **link = &root.node, *parent = NULL;
            while (*link) {
                parent = *link;
                link = it->key < container_of(parent, struct item, node)->key ? &parent->left
                                                                              : &parent->right;
            }
            rb_link_node(&it->node, parent, link);
            rb_insert_fixup(&root, &it->node, NULL);
            n++;
        }
        it->in = !it->in;
        if (step % 50)
            continue;
        u64 seen = 0, last = 0;
        MUST(rb_verify(&root) >= 0);
        for (struct rb_node *x = rb_first(&root); x; x = rb_next(x), seen++) {
            MUST(container_of(x, struct item, node)->key >= last);
            last = container_of(x, struct item, node)->key;
        }
        MUST(seen == n);
    }
    free(items);
}

static void test_radix(void)
{
    struct radix r = {0};
    static char present[5000];
    u64 s = 7, nodes = radix_node_count();
    for (unsigned step = 0; step < 60000; step++) {
        u64 i = rnd(&s) % 5000, index = i < 4000 ? i : i * 0x100000001ull;
        void *item = (void *)(index * 16 + 16), *found;
        MUST(radix_get(&r, index) == (present[i] ? item : NULL));
        if (present[i])
            MUST(radix_remove(&r, index) == item);
        else
            MUST(radix_insert(&r, index, item) == 0 && radix_insert(&r, index, item) == -EEXIST);
        present[i] = !present[i];
        u64 from = rnd(&s) % 4000, want = from;
        while (want < 4000 && !present[want])
            want++;
        u64 next = radix_next(&r, from, &found);
        MUST(want < 4000 ? next == want && found == (void *)(want * 16 + 16) : next >= 4000);
    }
    for (u64 i = 0; i < 5000; i++)
        if (present[i])
            radix_remove(&r, i < 4000 ? i : i * 0x100000001ull);
    MUST(!r.root && radix_node_count() == nodes);
}

static void test_kmalloc(void)
{
    enum { N = 600 };
    static char *blocks[N];
    static size_t sizes[N];
    u64 s = 99;
    for (unsigned step = 0; step < 40000; step++) {
        unsigned i = (unsigned)(rnd(&s) % N);
        host_set_cpu((unsigned)(rnd(&s) % FAKE_CPUS));
        if (blocks[i]) {
            for (size_t k = 0; k < sizes[i]; k += 13)
                MUST(blocks[i][k] == (char)i);
            kfree(blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        sizes[i] = 1 + rnd(&s) % (rnd(&s) % 20 ? 2100 : 70000);
        blocks[i] = kmalloc(sizes[i]);
        if (blocks[i])
            memset(blocks[i], (int)i, sizes[i]);
        if (step % 1000 == 0)
            kmalloc_verify();
    }
    for (unsigned i = 0; i < N; i++)
        kfree(blocks[i]);
    for (size_t size = 1; size <= 2048; size++) {
        char *p = kmalloc(size);
        memset(p, 1, size);
        p = krealloc(p, size * 2);
        MUST(p[size - 1] == 1);
        kfree(p);
    }
    host_set_cpu(0);
    kmalloc_verify();
}

// Takes all memory frame by frame and in blocks; no frame twice, none of the reserved ones, all come back.
static void test_frames(void)
{
    host_settle();
    u64 total = page_free_count(), got = 0;
    static struct page *held[70000];
    MUST(page_total_count() >= total);
    for (struct page *p; got < ARRAY_SIZE(held) && (p = page_alloc(0, 0)); got++) {
        phys_t pa = page_to_phys(p);
        MUST(pa >= PAGE_SIZE && (pa < 640 << 10 || pa >= (1 << 20) + (400 << 10)));
        MUST(pa < boot_info.image_start);
        MUST(p->refcount == 1 && p->flags == 0);
        *(u64 *)page_address(p) = pa;
        held[got] = p;
    }
    MUST(got == total && page_free_count() == 0);
    for (u64 i = 0; i < got; i++) {
        MUST(*(u64 *)page_address(held[i]) == page_to_phys(held[i]));
        host_set_cpu((unsigned)(i % FAKE_CPUS));
        page_put(held[i]);
    }
    host_set_cpu(0);
    MUST(page_free_count() == total);
    page_allocator_verify();
    for (unsigned order = 1; order <= PAGE_MAX_ORDER; order++) {
        u64 n = 0;
        struct page *chain = NULL;
        for (struct page *p; (p = page_alloc(order, PAGE_NORECLAIM)); n++) {
            MUST(IS_ALIGNED(page_to_phys(p), PAGE_SIZE << order));
            p->link.next = (struct list *)chain;
            chain = p;
        }
        MUST(page_free_count() == total - (n << order));
        for (struct page *next; chain; chain = next) {
            next = (struct page *)chain->link.next;
            page_free(chain, order);
        }
        MUST(page_free_count() == total);
    }
    page_allocator_verify();
}

// Leaves n free 2 MiB blocks with something in them.
static void use_blocks(unsigned n)
{
    struct page *all = NULL;
    for (unsigned i = 0; i < n; i++) {
        struct page *block = page_alloc(PAGE_MAX_ORDER, 0);
        MUST(block);
        memset(page_address(block), 0x5a, HUGE_SIZE);
        block->link.next = (struct list *)all;
        all = block;
    }
    for (struct page *next; all; all = next) {
        next = (struct page *)all->link.next;
        page_free(all, PAGE_MAX_ORDER);
    }
}

static void test_report(void)
{
    use_blocks(20);
    struct page *blocks[8], *again[8];
    u64 free = page_free_count(), before = page_reported_count();
    unsigned n = page_report_begin(blocks, 8);
    MUST(n > 0 && page_free_count() == free - n * 512);
    page_report_end(blocks, n, true);
    MUST(page_free_count() == free && page_reported_count() == before + n * 512);
    page_allocator_verify();
    for (unsigned rounds = 0; (n = page_report_begin(again, 8)) > 0; rounds++) {
        MUST(rounds < 10000);  // it comes to an end
        page_report_end(again, n, true);
    }
    page_allocator_verify();
    // Reported memory is there for whoever needs all of it.
    u64 total = page_free_count(), got = 0;
    struct page_chain chain = {0};
    for (struct page *p; (p = page_alloc(0, PAGE_NORECLAIM)); got++)
        page_chain_push(&chain, p);
    MUST(got == total && page_reported_count() == 0);
    page_free_chain(&chain);
    MUST(page_free_count() == total);
    page_allocator_verify();
}

// What the kernel keeps lies together: 300 pieces of it, taken while the application fills the memory, break up few blocks of 2 MiB.
static void test_kernel_blocks(void)
{
    enum { PIECES = 300, FRAMES_A_PIECE = 80 };
    void *kept[PIECES];
    struct page *stacks[PIECES / 10];
    struct page_chain frames = {0};
    u64 free = page_free_count(), slabs = kmalloc_page_count();
    page_drain_all();
    u64 whole = page_free_blocks(PAGE_MAX_ORDER);
    for (unsigned i = 0; i < PIECES; i++) {
        kept[i] = kmalloc(2048);
        MUST(kept[i]);
        if (i % 10 == 0)
            MUST((stacks[i / 10] = page_alloc(2, 0)));
        for (unsigned k = 0; k < FRAMES_A_PIECE; k++) {
            struct page *p = page_alloc(0, PAGE_USER);
            MUST(p);
            page_chain_push(&frames, p);
        }
    }
    MUST(kmalloc_page_count() >= slabs + PIECES / 4);
    page_free_chain(&frames);
    page_drain_all();
    page_allocator_verify();
    MUST(page_free_blocks(PAGE_MAX_ORDER) + 6 >= whole);
    for (unsigned i = 0; i < PIECES; i++)
        kfree(kept[i]);
    for (unsigned i = 0; i < PIECES / 10; i++)
        page_free(stacks[i], 2);
    for (unsigned cpu = 0; cpu < FAKE_CPUS; cpu++) {
        host_set_cpu(cpu);
        kmalloc_drain_cpu();
    }
    host_set_cpu(0);
    page_drain_all();
    page_allocator_verify();
    MUST(page_free_blocks(PAGE_MAX_ORDER) + 1 >= whole && page_free_count() + 2 >= free);
    // The application gets the frames of the kernel's blocks, too, when there are no others.
    kept[0] = kmalloc(2048);
    for (struct page *p; (p = page_alloc(0, PAGE_NORECLAIM));)
        page_chain_push(&frames, p);
    MUST(page_free_count() == 0);
    page_free_chain(&frames);
    kfree(kept[0]);
    page_drain_all();
    page_allocator_verify();
}

static void test_zero_stock(void)
{
    u64 free = page_free_count();
    for (unsigned i = 0; i < 2000 && page_zero_idle(); i++)
        ;                     // what the tests before this one used
    MUST(!page_zero_idle());  // memory that was never used stays untouched
    use_blocks(8);
    for (unsigned i = 0; i < 2000 && page_zero_idle(); i++)
        ;
    MUST(page_free_count() == free && page_zeroed_count() > 0);
    page_allocator_verify();
    u64 used = page_stat(PAGE_STAT_ZEROED_USED);
    struct page *p = page_alloc(0, PAGE_ZERO), *h = page_alloc(PAGE_MAX_ORDER, PAGE_ZERO);
    MUST(p && h && page_stat(PAGE_STAT_ZEROED_USED) > used);
    for (unsigned i = 0; i < 512; i++)
        MUST(((u64 *)page_address(p))[i] == 0 && ((u64 *)page_address(h))[i * 500] == 0);
    page_free(p, 0);
    page_free(h, PAGE_MAX_ORDER);
    MUST(page_free_count() == free);
}

static void fill_stock(void)
{
    for (unsigned i = 0; i < 50000 && page_zero_idle(); i++)
        ;
}

// Nobody draws on the stock: after a while it shrinks, and stays small; the first use lets it grow again.
static void test_stock_ages(void)
{
    u64 free = page_free_count();
    use_blocks(24);
    fill_stock();
    struct page *h = page_alloc(PAGE_MAX_ORDER, PAGE_ZERO);
    MUST(h);
    page_free(h, PAGE_MAX_ORDER);
    page_zero_age();
    fill_stock();
    u64 full = page_zeroed_count();
    MUST(full > 12 * 512);
    for (unsigned i = 0; i < 4; i++)
        page_zero_age();
    fill_stock();
    MUST(page_zeroed_count() == full);
    for (unsigned i = 0; i < 8; i++)
        page_zero_age();
    fill_stock();
    u64 rest = page_zeroed_count();
    MUST(rest >= 8 * 512 && rest < 10 * 512 && page_free_count() == free);
    page_allocator_verify();
    h = page_alloc(PAGE_MAX_ORDER, PAGE_ZERO);
    MUST(h);
    page_zero_age();
    fill_stock();
    MUST(page_zeroed_count() > rest);
    page_free(h, PAGE_MAX_ORDER);
    MUST(page_free_count() == free);
}

// A program that takes everything is told so, keeps the kernel's reserve whole, and leaves nothing behind.
static void test_exhaustion(void)
{
    host_settle();
    u64 free = page_free_count() + kmalloc_page_count();
    struct mm *mm = mm_create();
    MUST(mm);
    host_run(mm);
    vm_overcommit_memory = 1;
    MUST(mm_map(mm, BASE, 1ul << 32, 3, MAP_PRIVATE | MAP_FIXED, NULL, NULL, 0) > 0);
    u64 touched = 0;
    while (user_write(BASE + touched * PAGE_SIZE, 1) == 0)
        touched++;
    MUST(host_oom && touched > free / 2);
    MUST(page_alloc(0, 0) != NULL || page_total_count() < 2000);  // the reserve
    mm_verify(mm);
    // MADV_FREE'd memory is taken back instead of dying.
    MUST(madvise_range(mm, BASE, touched / 2 * PAGE_SIZE, MADV_FREE) == 0);
    for (u64 i = 0; i < touched / 4; i++)
        MUST(user_write(BASE + (touched + 1 + i) * PAGE_SIZE, 1) == 0);
    mm_verify(mm);
    host_run(NULL);
    mm_put(mm);
    vm_overcommit_memory = 0;
    page_allocator_verify();
}

static void test_badram(void)
{
    struct page *p;
    while ((p = page_alloc(0, 0))) {
        phys_t pa = page_to_phys(p);
        MUST(pa != 0x1a00000 && (pa & 0xff0ff000) != 0x02008000);
    }
    MUST(page_stat(PAGE_STAT_BAD) > 10);
}

// A 2 MiB area costs one frame for one byte, and gets 2 MiB when it is filled; a partial discard breaks it up.
static void test_huge(void)
{
    struct mm *mm = mm_create();
    host_run(mm);
    vaddr_t at = BASE;
    MUST(mm_map(mm, at, 8 * HUGE_SIZE, 3, MAP_PRIVATE | MAP_FIXED, NULL, NULL, 0) == (long)at);
    MUST(user_write(at, 1) == 0 && mm->rss_anon == 1);
    for (unsigned i = 0; i < 512; i++)
        MUST(user_write(at + i * PAGE_SIZE, i) == 0);
    MUST(mm->rss_anon == 512 && mm->n_table_pages == 2);
    MUST(madvise_range(mm, at + 8 * PAGE_SIZE, 4 * PAGE_SIZE, MADV_DONTNEED) == 0);
    MUST(mm->rss_anon == 508 && mm->n_table_pages == 3);
    u32 value = 1;
    MUST(user_read(at + 9 * PAGE_SIZE, &value) == 0 && value == 0);
    MUST(user_read(at + 12 * PAGE_SIZE, &value) == 0 && value == 12);
    MUST(mm_unmap(mm, at, 8 * HUGE_SIZE) == 0 && mm->n_table_pages == 0 && mm->rss_anon == 0);
    host_run(NULL);
    mm_put(mm);
}

// Another CPU empties this one's cache at the moment when this one waits for the lock: no frame is given away twice.
static void test_contention(void)
{
    enum { N = 3000 };
    static struct page *frames[N];
    host_set_cpu(0);
    page_drain_all();
    host_settle();
    u64 free = page_free_count();
    for (unsigned how = 0; how < 2; how++) {
        for (unsigned i = 0; i < N; i++)
            MUST((frames[i] = page_alloc(0, PAGE_USER)));
        host_before_lock = host_drain_elsewhere;
        struct page_chain chain = {0};
        for (unsigned i = 0; i < N; i++) {
            if (how == 0) {
                page_free(frames[i], 0);
                continue;
            }
            page_chain_push(&chain, frames[i]);
            if (chain.n == 700)
                page_free_chain(&chain);
        }
        page_free_chain(&chain);
        host_before_lock = NULL;
        page_allocator_verify();
        MUST(page_free_count() == free);
    }
    u64 reports = page_report_begin(frames, 1);
    page_report_end(frames, (unsigned)reports, false);
    for (unsigned i = 0; i < 2 * 512 / 4; i++) {
        // the last piece of a block is cleared while everything is drained
        host_before_lock =
            page_free_count() == free && i % 128 == 127 ? host_drain_elsewhere : NULL;
        page_zero_idle();
        host_before_lock = NULL;
        page_allocator_verify();
        MUST(page_free_count() == free);
    }
}

// A hole is punched in an object of which another CPU has used every page: no frame goes before its translation.
static void test_punch_flushes_first(void)
{
    enum { PAGES = 200 };
    struct mm *mm = mm_create();
    struct vm_object *obj = vm_object_create_anon(PAGES * PAGE_SIZE);
    MUST(mm && obj);
    host_run(mm);
    MUST(mm_map(mm, BASE, PAGES * PAGE_SIZE, 3, MAP_SHARED | MAP_FIXED, obj, NULL, 0) == BASE);
    host_set_cpu(1);
    host_run(mm);
    for (unsigned i = 0; i < PAGES; i++)
        MUST(user_write(BASE + i * PAGE_SIZE, i + 1) == 0);
    host_set_cpu(0);
    MUST(vm_object_punch(obj, 0, PAGES * PAGE_SIZE) == 0);
    MUST(obj->n_pages == 0 && mm->rss_shmem == 0);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        host_set_cpu(cpu);
        host_run(NULL);
    }
    host_set_cpu(0);
    mm_put(mm);
    vm_object_put(obj);
}

static void test_million_rounds(void)
{
    struct mm *mm = mm_create();
    host_run(mm);
    host_settle();
    u64 free = 0, s = 5;
    for (unsigned i = 0; i < 200000; i++) {
        vaddr_t at = 0x10000000ul + (rnd(&s) % (1ul << 30)) * PAGE_SIZE;
        MUST(mm_map(mm, at, PAGE_SIZE, 3, MAP_PRIVATE | MAP_FIXED, NULL, NULL, 0) == (long)at);
        MUST(user_write(at, 1) == 0);
        MUST(mm_unmap(mm, at, PAGE_SIZE) == 0);
        MUST(mm->n_table_pages == 0);
        if (i == 1000)
            free = page_free_count();
    }
    MUST(page_free_count() == free);
    host_run(NULL);
    mm_put(mm);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "large";
    if (!strcmp(what, "small")) {
        host_boot(4 << 20);
        MUST(page_free_count() > 580);
        test_frames();
        test_exhaustion();
    } else if (!strcmp(what, "badram")) {
        badram = "0x1a00000,0xfffff000,0x02008000,0xff0ff000";
        host_boot(64 << 20);
        test_badram();
    } else if (!strcmp(what, "stock")) {
        host_boot(512 << 20);
        test_stock_ages();
    } else if (!strcmp(what, "stress")) {
        host_boot(128 << 20);
        test_million_rounds();
    } else {
        host_boot(128 << 20);
        test_rbtree();
        test_radix();
        test_kmalloc();
        test_kernel_blocks();
        test_zero_stock();
        test_contention();
        test_punch_flushes_first();
        test_report();
        test_huge();
        test_frames();
        test_exhaustion();
    }
    return 0;
}
