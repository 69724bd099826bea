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
__weak unsigned arch_pkey_rights(unsigned key) { return 0; }

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

bool pkey_is_allocated(const struct mm *mm, int key)
{
    return key >= 0 && key < 16 && (mm->pkeys >> key & 1) && (!key || key != mm->exec_pkey);
}

static int take_key(struct mm *mm)
{
    unsigned key = (unsigned)__builtin_ctz(~(u32)mm->pkeys);
    if (key >= arch_n_pkeys())
        return -1;
    mm->pkeys |= (u16)(1u << key);
    return (int)key;
}

__cold int pkey_exec_only(struct mm *mm)
{
    int key = mm->exec_pkey ? mm->exec_pkey : take_key(mm);
    if (key <= 0)
        return -1;
    mm->exec_pkey = (u8)key;
    arch_set_pkey_rights((unsigned)key, PKEY_DISABLE_ACCESS);
    return key;
}

__cold u64 pkey_change(const struct mm *mm, const struct vma *v, u64 flags, int key)
{
    bool exec_only =
        (v->flags & VM_ACCESS) == VM_EXEC && (v->flags & VM_PKEY) >> VM_PKEY_SHIFT == mm->exec_pkey;
    if (key == PKEY_NOT_EXEC_ONLY && !exec_only)
        return flags;
    return (flags & ~VM_PKEY) | (u64)MAX(key, 0) << VM_PKEY_SHIFT;
}

// => the key; -EINVAL, -ENOSPC: all are in use, or the CPU has none
__cold long sys_pkey_alloc(u64 flags, u64 rights)
{
    struct mm *mm = calling_mm();
    if (flags || (rights & ~(u64)(PKEY_DISABLE_ACCESS | PKEY_DISABLE_WRITE)))
        return -EINVAL;
    rwlock_write(&mm->lock);
    int key = take_key(mm);
    rwlock_write_done(&mm->lock);
    if (key < 0)
        return -ENOSPC;
    arch_set_pkey_rights((unsigned)key, (unsigned)rights);
    return key;
}

__cold long sys_pkey_free(int key)
{
    struct mm *mm = calling_mm();
    rwlock_write(&mm->lock);
    bool used = pkey_is_allocated(mm, key);
    if (used)
        mm->pkeys &= (u16) ~(1u << key);
    rwlock_write_done(&mm->lock);
    return used ? 0 : -EINVAL;
}

__cold bool mm_pkey_refuses(struct mm *mm, vaddr_t addr, bool write)
{
    unsigned key = mm_pkey_at(mm, addr);
    return key &&
           (arch_pkey_rights(key) & (PKEY_DISABLE_ACCESS | (write ? PKEY_DISABLE_WRITE : 0)));
}

__cold unsigned mm_pkey_at(struct mm *mm, vaddr_t addr)
{
    rwlock_read(&mm->lock);
    const struct vma *v = vma_at(mm, addr);
    unsigned key = v ? (unsigned)(v->flags >> VM_PKEY_SHIFT) & 15 : 0;
    rwlock_read_done(&mm->lock);
    return key;
}
