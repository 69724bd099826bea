// SPDX-License-Identifier: BSD-2-Clause
// object.h: memory objects, the page cache: what a mapping maps and read/write share.
//
// A vm_object is a sparse array of pages: shared anonymous memory, memfd, tmpfs files, files of the
// root image (whose pages lie in the image itself), later files on disks. File read and write and
// mmap go through the same pages, so they are coherent by construction.
#pragma once

#include "core/lock.h"
#include "mm/page.h"
#include "mm/radix.h"

struct vm_object;
struct vma;
struct mm;

struct vm_object_ops {
    // Page `index` when it is not in the cache: brings it in (read from disk, found in the image,
    // new zeroed frame), with a reference for the caller. write: the caller will change it, so a
    // page that lies read-only in the image is copied first. May sleep; no locks held.
    // => ERR_PTR(-ENOMEM, -EIO, -EFAULT beyond the end, -ENOSPC). NULL: a hole, read as zeros
    //    (only when !write).
    struct page *(*get_page)(struct vm_object *obj, u64 index, bool write);
    // Writes the dirty pages of [first, last] to where the object lives and waits for it. NULL: memory is where it
    // lives. May sleep; no locks held. => -EIO, -ENOSPC
    int (*sync)(struct vm_object *obj, u64 first, u64 last);
    // Makes a hole of [start, end) bytes. May sleep; no locks held. NULL: vm_object_punch, of objects in memory
    int (*punch)(struct vm_object *obj, u64 start_bytes, u64 end_bytes);
    // A clean page is about to be written through a shared mapping. Sets PG_DIRTY. => 0; -ENOSPC; -EAGAIN: too much is dirty,
    // sync first. mm->lock is held: does not sleep.
    int (*page_dirtied)(struct vm_object *obj, struct page *page);
    // A page leaves the object for good (truncated, punched, the object's end): its contents are not wanted any more.
    void (*page_dropped)(struct vm_object *obj, struct page *page);
    void (*release)(struct vm_object *obj);  // last reference is gone
    // Name and inode number for /proc/self/maps, for objects that are mapped without a file. NULL: as /dev/zero.
    void (*describe)(struct vm_object *obj, char *buf, size_t size, u64 *ino);
};

struct vm_object {
    u32 refcount;  // atomic
    u32 flags;     // VMO_*
    const struct vm_object_ops *ops;
    struct mutex lock;  // size changes, bringing pages in
    struct spinlock tree_lock;
    struct radix pages;  // [tree_lock] by index (mm/radix.c); holds a reference to each page
    u64 size_bytes;      // [lock] i_size: touches beyond its page give SIGBUS
    u64 n_pages;         // [tree_lock] frames in the tree
    struct spinlock map_lock;
    struct list mappings;  // [map_lock] VMAs that map it
    u32 n_writable;        // [map_lock] shared writable VMAs (sealing, ETXTBSY)
    void *owner;           // inode, shm segment
};
enum vm_object_flags {
    VMO_ANON = 1,  // memory only: holes read as zeros, pages are never clean-dropped
    VMO_READONLY = 2,
    VMO_HUGE_OK = 4,  // may be backed by 2 MiB pages
    VMO_NOBLOCK =
        8,  // get_page(!write) only finds the page (the root image): no waiting, so it may
            // be called with mm->lock held and for the neighbours of a fault
    VMO_COMMITTED = 16,  // its size is promised: vm_object_create_anon, hugetlb_create_object
    VMO_SEALED = 32,     // a seal forbids writing: no hole may be punched through a mapping
    VMO_HUGETLB = 64,    // its pages are of 2 MiB, of the pool (hugetlb.c)
};

void vm_object_init(struct vm_object *obj, const struct vm_object_ops *ops, u32 flags,
                    u64 size_bytes);
struct vm_object *vm_object_create_anon(u64 size_bytes);  // MAP_SHARED|MAP_ANONYMOUS, memfd, tmpfs
static inline void vm_object_get(struct vm_object *obj) { atomic_add(&obj->refcount, 1); }
bool vm_object_try_get(struct vm_object *obj);  // false: its last reference is gone
void vm_object_put(struct vm_object *obj);
// A cached page with a reference, or NULL (holes; not brought in).
struct page *vm_object_find(struct vm_object *obj, u64 index);
// Finds or brings in. Results as get_page.
struct page *vm_object_get_page(struct vm_object *obj, u64 index, bool write);
// Puts a page into the tree (the object takes over the caller's reference). => -EEXIST, -ENOMEM
int vm_object_insert(struct vm_object *obj, u64 index, struct page *page);
// Puts page in place of the one at index (copy-up) and unmaps the old one everywhere; takes over the
// caller's reference. vm_object_get_page does it for ops->get_page(write) by itself. => Holds no locks.
int vm_object_replace(struct vm_object *obj, u64 index, struct page *page);
// Takes one clean page out of the tree, or all of [first, last] (invalidation). => pages freed
u64 vm_object_drop(struct vm_object *obj, u64 first, u64 last);
void vm_object_verify(struct vm_object *obj);
// Takes all pages of [first, last] out of the tree, dirty ones too. => mappings have been cleared
void vm_object_discard(struct vm_object *obj, u64 first, u64 last);
// object_clean.c, in the kernel with disks. Makes the shared mappings of [first, last] read-only, so that the next write
// is told by page_dirtied.
void vm_object_write_protect(struct vm_object *obj, u64 first, u64 last);
// volume.c: frees clean pages of files on disks. => how many; may sleep, holds no lock
u64 object_reclaim(u64 wanted) __weak;
// Calls fn with each address space that maps the object, referenced. => holds no lock
void vm_object_each_mm(struct vm_object *obj, void (*fn)(struct mm *mm, void *arg), void *arg);
// Sets the size; on shrinking frees pages, zeroes the tail of the last one and unmaps beyond it.
int vm_object_truncate(struct vm_object *obj, u64 size_bytes);
// Punches a hole (whole pages freed and unmapped, edges zeroed).
int vm_object_punch(struct vm_object *obj, u64 start_bytes, u64 end_bytes);
// Removes [first, last] page indexes from every page table that maps them.
void vm_object_unmap_range(struct vm_object *obj, u64 first, u64 last);
// The same, but private copies of mapped pages stay (a punched hole, a replaced page).
void vm_object_unmap_cached(struct vm_object *obj, u64 first, u64 last);
u64 vm_cached_pages(bool shmem);  // in all objects: of files, or of memory-only ones
// Next page index >= index that is present (data) or absent (hole), for SEEK_DATA / SEEK_HOLE.
u64 vm_object_next_data(struct vm_object *obj, u64 index);
u64 vm_object_next_hole(struct vm_object *obj, u64 index);

// Byte access for read(2)/write(2) of cached objects; buf is in the kernel or user (see fs/uio.h
// for the user side, which is built on vm_object_get_page).
