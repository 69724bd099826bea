// SPDX-License-Identifier: BSD-2-Clause
// mmu.c: the kernel half of the address space on aarch64.
//
// boot.S mapped the kernel itself, with its final rights; this file adds RAM and device registers:
//
//   boot_root[0..255]  -> tables of level 2 -> 1 GiB blocks, or tables of 2 MiB blocks   (all: no execute)
//   boot_root[511]     -> boot_high_l2: [0..509] device windows, [510] -> the kernel's image
//
// Entries are only ever added, so no translation changes under a CPU that uses it. All tables are reached through the
// direct map; those that lie in the image too, because boot.S has put the image there.
#include "arch/mmu.h"
#include "a64_internal.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "mm/page.h"

extern pte_t boot_root[PT_ENTRIES], boot_high_l2[PT_ENTRIES];
extern char kernel_end[];

phys_t kernel_image_phys;

#define DIRECT_ROOTS 256
#define KERNEL_DATA (PTE_READ | PTE_WRITE | PTE_DIRTY | PTE_GLOBAL | PTE_YOUNG)

// Tables that are needed before there is an allocator: of pieces of RAM that do not fill a GiB, and of the first
// devices. A piece of RAM needs two at most.
#define EARLY_TABLES 24
static pte_t early_tables[EARLY_TABLES][PT_ENTRIES]
    __attribute__((section(".bss_boot"), aligned(4096)));
static unsigned n_early;
static bool early = true;

// The user half when no program is loaded.
static pte_t empty_root[PT_ENTRIES] __attribute__((section(".bss_page_aligned"), aligned(4096)));

phys_t arch_kernel_phys_end(void) { return virt_to_phys(kernel_end); }

// From here on the page allocator gives the tables.
void arch_reserve_memory(void) { early = false; }

static pte_t *new_table(void)
{
    if (!early)
        return page_address(page_alloc(0, PAGE_ZERO | PAGE_NOFAIL));
    if (n_early == EARLY_TABLES)
        noboot("the memory map has too many pieces: no page tables left");
    pte_t *table = early_tables[n_early++];
    arch_clear_page(table);
    return table;
}

// The walker must see the entry before the next access needs it.
static void set_entry(pte_t *slot, pte_t entry)
{
    WRITE_ONCE(*slot, entry);
    dsb(ishst);
    isb();
}

static pte_t *table_below(pte_t *slot)
{
    if (pte_is_none(*slot))
        set_entry(slot, pte_make_table(virt_to_phys(new_table())));
    return phys_to_virt(pte_phys(*slot));
}

// => Rounds outwards to 2 MiB.
void arch_map_ram(phys_t start, phys_t end)
{
    start = ALIGN_DOWN(start, HUGE_SIZE);
    end = ALIGN_UP(end, HUGE_SIZE);
    while (start < end) {
        phys_t gib_end = ALIGN_DOWN(start, PT_SPAN(2)) + PT_SPAN(2);
        KASSERT(start >> PT_SHIFT(3) < DIRECT_ROOTS);
        pte_t *slot = &table_below(&boot_root[start >> PT_SHIFT(3)])[pt_index(start, 2)];
        if (IS_ALIGNED(start, PT_SPAN(2)) && end >= gib_end && pte_is_none(*slot)) {
            set_entry(slot, pte_make_huge(start, KERNEL_DATA));
            start = gib_end;
            continue;
        }
        if (pte_is_huge(*slot)) {
            start = gib_end;
            continue;
        }
        pte_t *table = table_below(slot);
        for (phys_t stop = MIN(end, gib_end); start < stop; start += HUGE_SIZE) {
            pte_t *e = &table[pt_index(start, 1)];
            if (pte_is_none(*e))
                set_entry(e, pte_make_huge(start, KERNEL_DATA));
        }
    }
}

// Device registers: windows of 1 GiB in boot_high_l2, handed out in the order of demand, each with a
// table of 2 MiB uncached blocks.
#define MAX_WINDOWS 64
static u64 window_gib[MAX_WINDOWS];  // physical address >> 30 that the window shows
static unsigned n_windows;

// => First of n consecutive windows that show gib, gib + 1, …
static unsigned find_windows(u64 gib, unsigned n)
{
    for (unsigned i = 0; i + n <= n_windows; i++) {
        unsigned k = 0;
        while (k < n && window_gib[i + k] == gib + k)
            k++;
        if (k == n)
            return i;
    }
    KASSERT(n_windows + n <= MAX_WINDOWS);
    unsigned first = n_windows;
    for (unsigned k = 0; k < n; k++) {
        table_below(&boot_high_l2[n_windows]);
        window_gib[n_windows++] = gib + k;
    }
    return first;
}

void *arch_map_device(phys_t pa, size_t len_bytes)
{
    u64 gib = pa >> PT_SHIFT(2), last_gib = (pa + len_bytes - 1) >> PT_SHIFT(2);
    unsigned window = find_windows(gib, last_gib - gib + 1);
    vaddr_t va = KERNEL_MMIO_BASE + window * PT_SPAN(2) + (pa & (PT_SPAN(2) - 1));

    for (phys_t p = ALIGN_DOWN(pa, HUGE_SIZE); p < pa + len_bytes; p += HUGE_SIZE) {
        unsigned k = window + (unsigned)((p >> PT_SHIFT(2)) - gib);
        pte_t *slot = &table_below(&boot_high_l2[k])[pt_index(p, 1)];
        if (pte_is_none(*slot))
            set_entry(slot, pte_make_huge(p, KERNEL_DATA | PTE_UNCACHED));
    }
    return (void *)va;
}

// The empty half has the number that no address space gets.
void a64_unload_user(void)
{
    sysreg_write(ttbr0_el1, virt_to_phys(empty_root));
    isb();
}

void a64_mmu_init(void)
{
    a64_unload_user();
    asid_flush_this_cpu();
    if (this_cpu()->id == 0)
        asid_init(ASID_NUMBERS);
}

int arch_mm_init(struct arch_mm *am)
{
    struct page *page = page_alloc(0, PAGE_ZERO);
    if (!page)
        return -ENOMEM;
    *am = (struct arch_mm){.root = page_to_phys(page)};
    return 0;
}

void arch_mm_destroy(struct arch_mm *am)
{
    page_put(phys_to_page(am->root));
    am->root = 0;
}
