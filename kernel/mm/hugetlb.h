// SPDX-License-Identifier: BSD-2-Clause
// hugetlb.h: the pool of 2 MiB pages behind MAP_HUGETLB (mm/hugetlb.c).
#pragma once

#include "mm/page.h"

// Makes the pool so large, as far as memory and reservations let it (/proc/sys/vm/nr_hugepages). => may sleep
void hugetlb_resize(u64 pages);
u64 hugetlb_total(void);  // pages of 2 MiB
u64 hugetlb_free_count(void);
u64 hugetlb_reserved_count(void);
void hugetlb_init(void);  // the boot word hugepages=N
// Promises pages for len bytes. => false: there are not enough
bool hugetlb_reserve(size_t len);
// An area with these VM_* came (or went): so many 4 KiB pages, whose reservations it holds unless it has none.
void hugetlb_account_area(u64 vm_flags, s64 pages);
// Takes back what hugetlb_reserve promised.
void hugetlb_unreserve(size_t len);
// The last reference to a page of the pool is gone.
void hugetlb_free_last(struct page *p);
// Shared memory of len bytes. => NULL: no pages to promise, or no memory
struct vm_object *hugetlb_create_object(size_t len, bool promised);
