// SPDX-License-Identifier: BSD-2-Clause
// syscalls.h: the memory calls, called through syscall/calls.def; manual pages in section 2.
#pragma once

#include "core/base.h"

long sys_mmap(vaddr_t addr, size_t len, int prot, int flags, int fd, u64 off);
long sys_remap_file_pages(vaddr_t start, size_t size, int prot, size_t pgoff, int flags);
long sys_munmap(vaddr_t addr, size_t len);
long sys_mprotect(vaddr_t addr, size_t len, u64 prot);
long sys_pkey_mprotect(vaddr_t addr, size_t len, u64 prot, int pkey);
long sys_pkey_alloc(u64 flags, u64 rights);
long sys_pkey_free(int pkey);
long sys_brk(vaddr_t end);
long sys_madvise(vaddr_t addr, size_t len, int advice);
long sys_process_madvise(int pidfd, vaddr_t vector, size_t n, int advice, unsigned flags);
long sys_mremap(vaddr_t old, size_t old_len, size_t new_len, int flags, vaddr_t new);
long sys_mincore(vaddr_t start, size_t len, vaddr_t vector);
long sys_msync(vaddr_t start, size_t len, int flags);
long sys_mlock(vaddr_t start, size_t len);
long sys_mlock2(vaddr_t start, size_t len, int flags);
long sys_munlock(vaddr_t start, size_t len);
long sys_mlockall(int flags);
long sys_munlockall(void);
long sys_mseal(vaddr_t start, size_t len, u64 flags);
long sys_membarrier(int cmd, unsigned flags, int cpu);
