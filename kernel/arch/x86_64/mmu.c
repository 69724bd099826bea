// SPDX-License-Identifier: BSD-2-Clause
// mmu.c: the kernel half of the address space on x86-64.
//
// boot.S made one table of each level; this file gives them their final contents:
//
//   boot_root[256]  -> boot_direct -> 1 GiB pages, or tables of 2 MiB pages   (whole branch: NX)
//                      boot_direct[0] -> boot_first_gib, shared with the image map below
//   boot_root[511]  -> boot_high: [0..509] device windows, [510] -> boot_first_gib
//   boot_first_gib[0] -> first_table: 4 KiB pages, so that text is R X, constants R, the rest RW NX
//
// The first 2 MiB is mapped by one table for the image map and the direct map together, so the
// text is not writable through either; through the direct map it is not executable, because the
// root entry says so. The identity map in boot_root[0] lives only while a CPU starts.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch_impl/boot.h"
#include "core/log.h"
#include "core/platform.h"
#include "mm/page.h"

extern pte_t boot_root[PT_ENTRIES], boot_direct[PT_ENTRIES], boot_high[PT_ENTRIES];
extern pte_t boot_first_gib[PT_ENTRIES];
extern char kernel_start[], text_end[], rodata_end[], kernel_end[];

static pte_t first_table[PT_ENTRIES] __attribute__((section(".bss_page_aligned"), aligned(4096)));

#define ROOT_DIRECT 256  // first root entry of the direct map
#define ROOT_HIGH 511
#define KERNEL_PAGE (PTE_READ | PTE_GLOBAL | PTE_YOUNG)
#define KERNEL_DATA (KERNEL_PAGE | PTE_WRITE | PTE_DIRTY)

static unsigned n_direct_roots = 1;  // root entries that the direct map uses
static bool early = true;
static phys_t early_next;  // while early: next free frame for tables before the page allocator runs

phys_t arch_kernel_phys_end(void) { return early_next; }

// From here on the page allocator gives the tables.
void arch_reserve_memory(void)
{
    early = false;
    page_reserve(X86_AP_START_PAGE, X86_AP_START_PAGE + PAGE_SIZE);
}

// Tables of the direct map that are needed before there is an allocator come from the RAM behind
// the kernel, inside the 4 MiB that boot.S mapped or blocks mapped since. kmain reserves them.
static pte_t *new_table(void)
{
    if (!early)
        return page_address(page_alloc(0, PAGE_ZERO | PAGE_NOFAIL));
    if (early_next < boot_info.image_end && boot_info.image_start < early_next + PAGE_SIZE)
        early_next = ALIGN_UP(boot_info.image_end, PAGE_SIZE);
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        struct mem_range *m = &boot_info.mem[i];
        if (m->kind != MEM_RAM || early_next < m->start || early_next + PAGE_SIZE > m->end)
            continue;
        pte_t *table = phys_to_virt(early_next);
        if (!pte_present(boot_first_gib[pt_index((vaddr_t)early_next, 1)]))
            break;
        early_next += PAGE_SIZE;
        arch_clear_page(table);
        return table;
    }
    noboot("no memory for page tables behind the kernel");
}

static void fill_pages(phys_t from, phys_t to, unsigned prot)
{
    pte_t e = pte_make(from, prot);
    for (pte_t *p = &first_table[from >> PAGE_SHIFT]; from < to; from += PAGE_SIZE, e += PAGE_SIZE)
        *p++ = e;
}

void x86_mmu_init(void)
{
    phys_t text = virt_to_phys(kernel_start);
    phys_t rodata = ALIGN_UP(virt_to_phys(text_end), PAGE_SIZE);
    phys_t data = ALIGN_UP(virt_to_phys(rodata_end), PAGE_SIZE);

    KASSERT(data <= HUGE_SIZE);
    fill_pages(0, text, KERNEL_DATA);
    fill_pages(text, rodata, KERNEL_PAGE | PTE_EXEC);
    fill_pages(rodata, data, KERNEL_PAGE);
    fill_pages(data, HUGE_SIZE, KERNEL_DATA);
    boot_first_gib[0] = pte_make_table(virt_to_phys(first_table));
    boot_first_gib[1] = pte_make_huge(HUGE_SIZE, KERNEL_DATA);
    boot_root[0] = PTE_NONE;
    write_cr3(virt_to_phys(boot_root));
    early_next = virt_to_phys(kernel_end);
}

// The table of 2 MiB pages for 1 GiB of the direct map.
static pte_t *direct_gib_table(pte_t *slot)
{
    if (pte_is_none(*slot))
        *slot = pte_make_table(virt_to_phys(new_table()));
    return phys_to_virt(pte_phys(*slot));
}

static pte_t *direct_slot(phys_t pa)
{
    unsigned n = pa >> PT_SHIFT(3);
    KASSERT(n < ROOT_HIGH - ROOT_DIRECT);
    pte_t *root = &boot_root[ROOT_DIRECT + n];
    if (pte_is_none(*root)) {
        *root = pte_make_table(virt_to_phys(new_table())) | X86_PTE_NX;
        n_direct_roots = MAX(n_direct_roots, n + 1);
    }
    pte_t *table = phys_to_virt(pte_phys(*root));
    return &table[pt_index(pa, 2)];
}

// => Rounds outwards to 2 MiB.
void arch_map_ram(phys_t start, phys_t end)
{
    start = ALIGN_DOWN(start, HUGE_SIZE);
    end = ALIGN_UP(end, HUGE_SIZE);
    while (start < end) {
        phys_t gib_end = ALIGN_DOWN(start, PT_SPAN(2)) + PT_SPAN(2);
        pte_t *slot = direct_slot(start);
        if (x86_features.pdpe1gb && IS_ALIGNED(start, PT_SPAN(2)) && end >= gib_end &&
            pte_is_none(*slot)) {
            *slot = pte_make_huge(start, KERNEL_DATA);
            start = gib_end;
            continue;
        }
        if (pte_is_huge(*slot)) {
            start = gib_end;
            continue;
        }
        pte_t *table = direct_gib_table(slot);
        for (phys_t stop = MIN(end, gib_end); start < stop; start += HUGE_SIZE) {
            pte_t *e = &table[pt_index(start, 1)];
            if (pte_is_none(*e))
                *e = pte_make_huge(start, KERNEL_DATA);
        }
    }
}

// Device registers: windows of 1 GiB in boot_high, handed out in the order of demand, each with a
// table of 2 MiB uncached pages.
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
        struct page *table = page_alloc(0, PAGE_ZERO | PAGE_NOFAIL);
        boot_high[n_windows] = pte_make_table(page_to_phys(table));
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
        unsigned k = window + (p >> PT_SHIFT(2)) - gib;
        pte_t *table = phys_to_virt(pte_phys(boot_high[k]));
        table[pt_index(p, 1)] = pte_make_huge(p, KERNEL_DATA | PTE_UNCACHED);
    }
    return (void *)va;
}

// Identity map of the first 2 MiB with one executable page, while other CPUs start there.
void x86_identity_map(phys_t code_page, bool on)
{
    first_table[code_page >> PAGE_SHIFT] =
        pte_make(code_page, on ? KERNEL_PAGE | PTE_EXEC : KERNEL_DATA);
    boot_root[0] = on ? pte_make_table(virt_to_phys(boot_direct)) : PTE_NONE;
    arch_tlb_flush_page((vaddr_t)phys_to_virt(code_page));
    write_cr3(read_cr3());
}

int arch_mm_init(struct arch_mm *am)
{
    struct page *page = page_alloc(0, PAGE_ZERO);
    if (!page)
        return -ENOMEM;
    pte_t *root = page_address(page);
    for (unsigned i = ROOT_DIRECT; i < ROOT_DIRECT + n_direct_roots; i++)
        root[i] = boot_root[i];
    root[ROOT_HIGH] = boot_root[ROOT_HIGH];
    am->root = page_to_phys(page);
    return 0;
}

void arch_mm_destroy(struct arch_mm *am)
{
    page_put(phys_to_page(am->root));
    am->root = 0;
}

// NULL: the kernel half only.
void arch_mm_switch(struct arch_mm *am) { write_cr3(am ? am->root : virt_to_phys(boot_root)); }
