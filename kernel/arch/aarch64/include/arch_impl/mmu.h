// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/mmu.h: the layout of the address space. TTBR0 has the user half, TTBR1 the kernel's.
//
//   0000000000000000 .. 0000ffffffffffff   user: all 48 bits
//   ffff000000000000 + pa                  direct map of RAM, not executable; the kernel's text and
//                                          read-only data are not writable here either
//   ffffff8000000000 .. ffffffff7fffffff   device windows of 1 GiB, uncached
//   ffffffff80000000                       the 2 MiB that the kernel was loaded to: it is linked here
#pragma once

#include "arch_impl/asid.h"
#include "arch_impl/cpu.h"

#define USER_END 0x0001000000000000ul
#define DIRECT_MAP_BASE 0xffff000000000000ul
#define KERNEL_MMIO_BASE 0xffffff8000000000ul
#define KERNEL_IMAGE_BASE 0xffffffff80000000ul

// PROT_BTI, and VM_PKEY's lowest bit: the pages are guarded (bti.c).
#define ARCH_VM_PROT (1ull << 32)
#define ARCH_PROT_TO_VM 28
static inline int arch_prot_bits(void) { return a64_features.bti ? 0x10 : 0; }
static inline u64 arch_prot_to_vm(int prot)
{
    return (u64)(prot & arch_prot_bits()) << ARCH_PROT_TO_VM;
}

// Where boot.S found the image: a multiple of 2 MiB.
extern phys_t kernel_image_phys;

static inline void *phys_to_virt(phys_t pa) { return (void *)(DIRECT_MAP_BASE + pa); }
// Of a direct-map or kernel-image address.
static inline phys_t virt_to_phys(const void *kva)
{
    uintptr_t va = (uintptr_t)kva;
    return va >= KERNEL_IMAGE_BASE ? va - KERNEL_IMAGE_BASE + kernel_image_phys
                                   : va - DIRECT_MAP_BASE;
}

// Translations carry the number of their address space (kernel/arch/aarch64/asid.c); kernel pages are global.
#define ARCH_TLB_BROADCAST 1
#define ARCH_BREAK_BEFORE_MAKE 1
struct arch_mm {
    phys_t root;  // of the level 3 table
    struct asid_space asid;
};

static inline pte_t *arch_mm_root(const struct arch_mm *am) { return phys_to_virt(am->root); }

// Of any number: only that of the loaded space can have it wrong.
static inline void arch_tlb_flush_page(vaddr_t va)
{
    u64 operand = va >> PAGE_SHIFT & (BIT(44) - 1);
    __asm__ volatile("dsb nshst\n\ttlbi vaae1, %0\n\tdsb nsh\n\tisb" : : "r"(operand) : "memory");
}
void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end);
void arch_tlb_flush_mm(struct arch_mm *am);

// Before a frame that the kernel has filled becomes executable for a program.
static inline void arch_sync_code(const void *page)
{
    if (a64_features.code_needs_clean || a64_features.code_needs_inval)
        a64_sync_code(page, PAGE_SIZE);
}
