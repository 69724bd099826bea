// SPDX-License-Identifier: BSD-2-Clause
// watch.c: the TLBs of an architecture whose flushes reach all CPUs, as bad as the architecture allows: they take in every
// entry of the watched pages that a CPU may use, at once, and forget none that was not flushed while it was invalid. So
//
//     an entry that changes its frame or size without a flush between       ends the test (ARCH_BREAK_BEFORE_MAKE)
//     an entry that went and was not flushed when the operation was over    ends it too
//
// Just before a flush takes effect, another CPU touches pages of the range, where the locks let it.
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/log.h"
#include "host.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

#ifdef FAKE_BROADCAST
#define MAX_WATCHED 8
#define HUGE_PAGES (HUGE_SIZE / PAGE_SIZE)

struct held {
    phys_t frame;  // of the page
    bool valid, huge;
};
static struct {
    const struct arch_mm *am;  // NULL: free
    struct held *pages;
} watched[MAX_WATCHED];
static vaddr_t base;
static unsigned n_pages;
static bool elsewhere;  // another CPU is at it
static u64 random_state = 88172645463325252ull;

void host_watch(vaddr_t start, unsigned n)
{
    base = start;
    n_pages = n;
}

static struct mm *mm_of(const struct arch_mm *am)
{
    return container_of((struct arch_mm *)(uintptr_t)am, struct mm, arch);
}

static struct held *held_of(const struct arch_mm *am)
{
    for (unsigned i = 0; i < MAX_WATCHED; i++)
        if (watched[i].am == am)
            return watched[i].pages;
    for (unsigned i = 0; i < MAX_WATCHED; i++)
        if (!watched[i].am) {
            watched[i].am = am;
            watched[i].pages = calloc(n_pages, sizeof(struct held));
            return watched[i].pages;
        }
    panic("too many address spaces to watch");
}

void host_watch_end(const struct arch_mm *am)
{
    for (unsigned i = 0; i < MAX_WATCHED; i++)
        if (watched[i].am == am) {
            free(watched[i].pages);
            watched[i].am = NULL;
        }
}

// What a CPU may take into its TLB for the page.
static struct held look(struct mm *mm, unsigned i)
{
    int level;
    vaddr_t va = base + i * PAGE_SIZE;
    const pte_t *slot = pt_lookup(mm, va, &level);
    pte_t e = slot ? *slot : PTE_NONE;
    if (!pte_present(e) || !pte_young(e) || !(pte_prot(e) & PTE_READ))
        return (struct held){0};
    return (struct held){pte_phys(e) + (va & (PT_SPAN(level) - 1) & PAGE_MASK), true, level == 1};
}

static void take_in(struct mm *mm, struct held *h, unsigned i)
{
    struct held now = look(mm, i);
    if (h[i].valid && now.valid && (now.frame != h[i].frame || now.huge != h[i].huge))
        panic("page %#lx went from frame %#llx%s to %#llx%s with no flush between",
              (unsigned long)(base + i * PAGE_SIZE), (unsigned long long)h[i].frame,
              h[i].huge ? " (2 MiB)" : "", (unsigned long long)now.frame,
              now.huge ? " (2 MiB)" : "");
    if (now.valid)
        h[i] = now;
}

void host_watch_check(void)
{
    for (unsigned w = 0; w < MAX_WATCHED; w++) {
        if (!watched[w].am)
            continue;
        for (unsigned i = 0; i < n_pages; i++) {
            take_in(mm_of(watched[w].am), watched[w].pages, i);
            if (watched[w].pages[i].valid && !look(mm_of(watched[w].am), i).valid)
                panic("page %#lx is gone and was not flushed",
                      (unsigned long)(base + i * PAGE_SIZE));
        }
    }
}

static void flush_page(struct mm *mm, struct held *h, unsigned i)
{
    bool huge = h[i].valid && h[i].huge;
    unsigned first = huge ? i & ~(unsigned)(HUGE_PAGES - 1) : i;
    for (unsigned k = first; k < (huge ? first + HUGE_PAGES : i + 1) && k < n_pages; k++) {
        take_in(mm, h, k);
        h[k].valid = h[k].valid && look(mm, k).valid;
    }
}

static void touch_elsewhere(struct mm *mm, vaddr_t start, vaddr_t end)
{
    struct cpu *me = fake_cpu;
    u64 fail_at = page_fail_at;
    if (elsewhere || !mm->refcount || (mm->lock.state & RWLOCK_WRITER))
        return;
    elsewhere = true;
    page_fail_at = 0;
    fake_cpu = cpus[(me->id + 1) % n_cpus];
    for (unsigned n = 0; n < 4; n++)
        mm_fault(mm, start + rnd(&random_state) % (end - start), FAULT_READ);
    fake_cpu = me;
    page_fail_at = fail_at;
    elsewhere = false;
}

static void each_cpu(const struct arch_mm *am, vaddr_t start, vaddr_t end)
{
    struct cpu *me = fake_cpu;
    for (unsigned cpu = 0; cpu < n_cpus; cpu++) {
        fake_cpu = cpus[cpu];
        if (!fake_cpu->active_mm || &fake_cpu->active_mm->arch != am)
            continue;
        for (vaddr_t va = start; va < end; va += PAGE_SIZE)
            arch_tlb_flush_page(va);
        if (start == end)
            arch_tlb_flush_all_user();
    }
    fake_cpu = me;
}

// start == end: everything
static void flush(struct arch_mm *am, vaddr_t start, vaddr_t end)
{
    each_cpu(am, start, end);
    if (!n_pages)
        return;
    vaddr_t from = MAX(start, base), to = MIN(end, base + n_pages * PAGE_SIZE);
    if (start == end)
        from = base, to = base + n_pages * PAGE_SIZE;
    if (from >= to)
        return;
    struct mm *mm = mm_of(am);
    struct held *h = held_of(am);
    touch_elsewhere(mm, from, to);
    for (; from < to; from += PAGE_SIZE)
        flush_page(mm, h, (unsigned)((from - base) >> PAGE_SHIFT));
}

void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end) { flush(am, start, end); }
void arch_tlb_flush_mm(struct arch_mm *am) { flush(am, 0, 0); }
#endif
