// SPDX-License-Identifier: BSD-2-Clause
// Fake RAM: one anonymous mapping of the test process; its direct map is that mapping.
#pragma once

#define USER_END 0x00007ffffffff000ul

extern char *fake_ram;
static inline void *phys_to_virt(phys_t pa) { return fake_ram + pa; }
static inline phys_t virt_to_phys(const void *kva)
{
    return (phys_t)((const char *)kva - fake_ram);
}

struct arch_mm {
    phys_t root;
};
static inline pte_t *arch_mm_root(const struct arch_mm *am) { return phys_to_virt(am->root); }
void arch_tlb_flush_page(vaddr_t va);
void arch_tlb_flush_all_user(void);
#ifdef FAKE_BROADCAST  // test/host/mm/watch.c
#define ARCH_TLB_BROADCAST 1
#define ARCH_BREAK_BEFORE_MAKE 1
void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end);
void arch_tlb_flush_mm(struct arch_mm *am);
#else
static inline void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end)
{
    for (; start < end; start += PAGE_SIZE)
        arch_tlb_flush_page(start);
}
static inline void arch_tlb_flush_mm(struct arch_mm *am) { arch_tlb_flush_all_user(); }
#endif
static inline void arch_sync_code(const void *page) { (void)page; }
