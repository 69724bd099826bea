// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/mmu.h: the layout of the address space.
//
//   0000000000001000 .. 00007ffffffff000   user; the last page stays empty (SYSRET with a
//                                          non-canonical return address)
//   ffff800000000000 + pa                  direct map of RAM, not executable; the kernel's text and
//                                          read-only data are not writable here either
//   ffffff8000000000 .. ffffffff7fffffff   device windows of 1 GiB, uncached
//   ffffffff80000000 + pa                  the first GiB again: the kernel image is linked here
#pragma once

#include "arch_impl/x86.h"

#define USER_END 0x00007ffffffff000ul
#define DIRECT_MAP_BASE 0xffff800000000000ul
#define KERNEL_MMIO_BASE 0xffffff8000000000ul
#define KERNEL_IMAGE_BASE 0xffffffff80000000ul

static inline void *phys_to_virt(phys_t pa) { return (void *)(DIRECT_MAP_BASE + pa); }
// Of a direct-map or kernel-image address.
static inline phys_t virt_to_phys(const void *kva)
{
    uintptr_t va = (uintptr_t)kva;
    return va >= KERNEL_IMAGE_BASE ? va - KERNEL_IMAGE_BASE : va - DIRECT_MAP_BASE;
}

// No PCID: the guest runs one address space but for moments around fork and exec, kernel pages are
// global, so a switch loses only the user translations of a process that is about to wait. Tagged
// translations would need a flush per tag in every shootdown and earn nothing here.
struct arch_mm {
    phys_t root;  // of the level 3 table
};

static inline pte_t *arch_mm_root(const struct arch_mm *am) { return phys_to_virt(am->root); }

static inline void arch_tlb_flush_page(vaddr_t va)
{
    __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}
static inline void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end)
{
    for (; start < end; start += PAGE_SIZE)
        arch_tlb_flush_page(start);
}
// Kernel pages are global and stay.
static inline void arch_tlb_flush_mm(struct arch_mm *am) { write_cr3(read_cr3()); }

static inline void arch_sync_code(const void *page) {}
