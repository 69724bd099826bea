// SPDX-License-Identifier: BSD-2-Clause
// arch/mmu.h (contract 3 of 8): address-space layout and translation caches.
//
// kernel/arch/<arch>/include/arch_impl/mmu.h supplies the constants
//     USER_END            first address beyond user space (47 bits less a page; 48 bits)
//     DIRECT_MAP_BASE     all RAM, linearly
//     KERNEL_IMAGE_BASE   the kernel's link address
//     KERNEL_MMIO_BASE    device registers, mapped on demand
// and the inline functions
//     void *phys_to_virt(phys_t), phys_t virt_to_phys(const void *)   (direct map and kernel image)
//     void arch_tlb_flush_page(vaddr_t va)      this CPU, the loaded address space
//     ARCH_TLB_BROADCAST  1: translations carry a tag of their address space and outlive a switch, and one CPU flushes those of
//                         all; 0, or not defined: a switch drops them, and a CPU flushes its own
//     void arch_tlb_flush_range(struct arch_mm *am, vaddr_t start, vaddr_t end)    of one address space: on all CPUs with
//     void arch_tlb_flush_mm(struct arch_mm *am)    BROADCAST, else on this one, which has it loaded
//     void arch_sync_code(const void *page)     before a page that was written becomes executable: instruction
//                                               fetches must see it (nothing to do on x86-64)
//     pte_t *arch_mm_root(struct arch_mm *am)   root table of the user half; entries [0, 256) on x86-64, [0, 512) on
//                                               aarch64
#pragma once

#include "arch/pte.h"

#include "arch_impl/mmu.h"

#ifndef ARCH_TLB_BROADCAST
#define ARCH_TLB_BROADCAST 0
#endif

// 1: a used entry becomes one of another frame or size only by way of an invalid one that was flushed everywhere, or a CPU
// may find two translations and stop, or mix them up (aarch64: DDI 0487, D8.16, "Using break-before-make").
#ifndef ARCH_BREAK_BEFORE_MAKE
#define ARCH_BREAK_BEFORE_MAKE 0
#endif

// Bits of mmap(2)'s and mprotect(2)'s prot that only this architecture has, as far as the CPU does, and flags of an area for them,
// which lie where the protection key does: ARCH_VM_PROT, arch_prot_bits() and arch_prot_to_vm(prot) of arch_impl/mmu.h.
#ifndef ARCH_VM_PROT
#define ARCH_VM_PROT 0ull
static inline int arch_prot_bits(void) { return 0; }
static inline u64 arch_prot_to_vm(int prot) { return 0; }
#endif
// Those that the code of an ELF file gets whose PT_GNU_PROPERTY segment is data[0..n). => -ENOEXEC: it is malformed.
// Only where there are such bits.
int arch_elf_prot(const u8 *data, size_t n);

struct mm;

// What an address space carries for the architecture (page-table root, ASID/PCID).
// struct arch_mm is defined by arch_impl/mmu.h.

// Prepares the root table of a new address space (kernel half shared). => 0, -ENOMEM
int arch_mm_init(struct arch_mm *am);
void arch_mm_destroy(struct arch_mm *am);
// Loads the address space on this CPU (cr3, ttbr0) and drops all user translations of the one before, unless they are
// tagged; NULL: the kernel half only. mm/tlb.c keeps the mask of CPUs.
void arch_mm_switch(struct arch_mm *am);
// Protection keys of user memory (pkeys(7)): how many the CPU has, key 0 counted; 0: none. mm/pkey.c has the answer of an
// architecture without them.
unsigned arch_n_pkeys(void);
// The running thread's rights to pages of a key: PKEY_DISABLE_* of mm/mman.h. => key < arch_n_pkeys()
void arch_set_pkey_rights(unsigned key, unsigned rights);
unsigned arch_pkey_rights(unsigned key);
// Maps device registers; uncached, never freed. => kernel address.
void *arch_map_device(phys_t pa, size_t len_bytes);
// Adds [start, end) of RAM to the direct map (largest pages the CPU has).
void arch_map_ram(phys_t start, phys_t end);
// End of the kernel image and of the early page tables behind it; keeps any other memory that the
// architecture needs at a fixed place out of the allocator (page_reserve).
phys_t arch_kernel_phys_end(void);
void arch_reserve_memory(void);
