// SPDX-License-Identifier: BSD-2-Clause
// pkey.c: mprotect(2) and protection keys (pkeys(7)).
//
// An area has a key in its flags and its pages have it in their entries; what a thread may do with pages of a key is in a
// register of its own, which the program writes itself. Which keys are in use is the address space's. Freeing a
// key leaves the pages that have it alone, as on Linux.
#include "core/log.h"
#include "mm/mm_internal.h"
#include "mm/syscalls.h"

// Of an architecture without keys.
__weak unsigned arch_n_pkeys(void) { return 0; }
__weak void arch_set_pkey_rights(unsigned key, unsigned rights) {}

long sys_mprotect(vaddr_t addr, size_t len, u64 prot)
{
    return sys_pkey_mprotect(addr, len, prot, -1);
}

// The upper half of prot counts too: bits that nobody knows, for mm_protect_key to refuse in its turn.
long sys_pkey_mprotect(vaddr_t addr, size_t len, u64 wide_prot, int key)
{
    int prot = (int)wide_prot | (wide_prot >> 32 ? INT32_MIN : 0);
    int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    if (unlikely(grows == (PROT_GROWSDOWN | PROT_GROWSUP)))
        return -EINVAL;
    return mm_protect_key(calling_mm(), addr, len, prot, key);
}

// => the key; -EINVAL, -ENOSPC: all are in use, or the CPU has none
__cold long sys_pkey_alloc(u64 flags, u64 rights)
{
    struct mm *mm = calling_mm();
    if (flags || (rights & ~(u64)(PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE)))
        return -EINVAL;
    rwlock_write(&mm->lock);
    unsigned key = (unsigned)__builtin_ctz(~(u32)mm->pkeys);
    bool found = key < arch_n_pkeys();
    if (found)
        mm->pkeys |= (u16)(1u << key);
    rwlock_write_done(&mm->lock);
    if (!found)
        return -ENOSPC;
    arch_set_pkey_rights(key, (unsigned)rights);
    return key;
}

__cold long sys_pkey_free(int key)
{
    struct mm *mm = calling_mm();
    rwlock_write(&mm->lock);
    bool used = key >= 0 && key < 16 && (mm->pkeys >> key & 1);
    if (used)
        mm->pkeys &= (u16) ~(1u << key);
    rwlock_write_done(&mm->lock);
    return used ? 0 : -EINVAL;
}

__cold unsigned mm_pkey_at(struct mm *mm, vaddr_t addr)
{
    rwlock_read(&mm->lock);
    const struct vma *v = vma_at(mm, addr);
    unsigned key = v ? (unsigned)(v->flags >> VM_PKEY_SHIFT) & 15 : 0;
    rwlock_read_done(&mm->lock);
    return key;
}
