// SPDX-License-Identifier: BSD-2-Clause
// mm_internal.h: what the files of mm/ share and nobody else sees.
#pragma once

#include "core/log.h"
#include "mm/mm.h"
#include "mm/mman.h"
#include "mm/tlb.h"

#define STACK_GUARD_GAP (256 * PAGE_SIZE)  // as Linux's stack_guard_gap default

// Flags that do not keep two neighbours apart in a merge.
#define VM_MERGE_IGNORED 0ull
#define VM_ACCESS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_LOCK_FLAGS (VM_LOCKED | VM_LOCKONFAULT)

// The caller's address space. => In a system call: this CPU has it loaded.
static inline struct mm *calling_mm(void)
{
    KCHECK(this_cpu()->active_mm == current_mm());
    return this_cpu()->active_mm;
}

struct mm_stats {
    u64 thp_split, thp_collapse, thp_fault, thp_fault_fallback;  // atomic
    u64 lazyfree, lazyfreed, oom_kills;
    u64 dead_minor, dead_major;  // [mm_list_lock] faults in address spaces that are gone
    u64 reusable, reused;        // pages that MADV_FREE_REUSABLE took and MADV_FREE_REUSE gave
};
extern struct mm_stats mm_stats;

// ---- vma.c
struct vma *vma_find(const struct mm *mm, vaddr_t addr);  // first with end > addr
static inline struct vma *vma_at(const struct mm *mm, vaddr_t addr)
{
    struct vma *v = vma_find(mm, addr);
    return v && v->start <= addr ? v : NULL;
}
struct vma *vma_alloc(struct mm *mm);
void vma_free(struct vma *vma);  // drops its references; not in the tree
// Puts a VMA into the tree; prev and next are its neighbours (NULL: none).
void vma_insert_between(struct mm *mm, struct vma *prev, struct vma *vma, struct vma *next);
void vma_remove(struct mm *mm, struct vma *vma);
// Sets the bounds of a linked VMA; order stays. pgoff follows start.
void vma_resize(struct vma *vma, vaddr_t start, vaddr_t end);
// Flags, object, file and name as from has them at address at. => false: no memory
bool vma_copy_attributes(struct vma *to, const struct vma *from, vaddr_t at);
// Cuts a VMA in two at addr. => the upper part; NULL: no memory
struct vma *vma_split(struct mm *mm, struct vma *vma, vaddr_t addr);
// What makes a mapping equal to its neighbour.
struct vma_attr {
    u64 flags;
    struct vm_object *object;
    struct file *file;
    const char *name;
    u64 pgoff;  // of the start
};
// Extends a neighbour over the free range [start, end) if it has these attributes. => it, or NULL
struct vma *vma_merge_range(struct mm *mm, struct vma *prev, struct vma *next, vaddr_t start,
                            vaddr_t end, const struct vma_attr *attr);
// Gives [start, end) of vma new flags and name, splitting and merging as needed. => the VMA that now holds the
// range; NULL: no memory, nothing changed
struct vma *vma_modify(struct mm *mm, struct vma *vma, vaddr_t start, vaddr_t end, u64 flags,
                       const char *name);
// Highest free place in [low, high), and the VMA above it (NULL: none). => 0: no place
vaddr_t vma_find_gap(const struct mm *mm, size_t len, vaddr_t low, vaddr_t high, size_t align,
                     struct vma **above);
void vma_account(struct mm *mm, u64 flags, s64 pages);
void vma_check_gap(struct vma *vma);  // asserts V2 for one node
void vma_init(void);

// ---- mmap.c
// Checks and readies what unmapping [start, end) needs, so that vma_unmap_commit cannot fail.
struct unmap_plan {
    struct vma *first;          // first VMA that meets the range, NULL: none
    struct vma *spare;          // for a split in the middle
    struct vma *below, *above;  // after the commit: the neighbours of the range (only if first)
    vaddr_t touched_start, touched_end;  // the commit's own
};
int unmap_prepare(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan);
void unmap_commit(struct mm *mm, vaddr_t start, vaddr_t end, struct unmap_plan *plan);
void unmap_cancel(struct unmap_plan *plan);
struct map_request {
    vaddr_t addr;
    size_t len;
    u64 flags;                 // VM_*
    struct vm_object *object;  // NULL: private anonymous
    struct file *file;
    u64 pgoff;
    bool fixed;   // replaces what is there
    bool moved;   // its pages are counted elsewhere and go there: no limit applies
    bool placed;  // above is the first VMA that ends behind addr, by find_place
    struct vma *above;
};
// The part of mmap below the system call; caller holds mm->lock for writing. => addr; -ENOMEM, -EPERM (sealed)
long map_locked(struct mm *mm, struct map_request *r);
// A free place for r->len: hint if free, else top-down. => r->addr, set with above; or -ENOMEM
long find_place(struct mm *mm, struct map_request *r, vaddr_t hint, int flags);
static inline u64 prot_to_vm(int prot) { return ((u64)prot & VM_ACCESS) | arch_prot_to_vm(prot); }
bool commit_allowed(u64 pages);  // may so many more pages be promised? (overcommit policy)
extern s64 vm_committed;         // atomic: pages of all VM_ACCOUNT areas
static inline bool can_mlock(void)
{
    return rlimit_current(RLIMIT_MEMLOCK) != 0 || capable_ipc_lock();
}
// Would locking len more bytes pass RLIMIT_MEMLOCK?
static inline bool over_memlock(struct mm *mm, size_t len)
{
    return ((mm->n_locked_pages << PAGE_SHIFT) + len) > rlimit_current(RLIMIT_MEMLOCK) &&
           !capable_ipc_lock();
}
// Protection keys (pkey.c), with mm->lock held for writing. Memory that may be run and nothing else has a key of its own where the CPU
// has keys, so that it cannot be read (pkeys(7)); programs can neither name nor free that key.
bool pkey_is_allocated(const struct mm *mm, int key);  // by the program
int pkey_exec_only(
    struct mm *mm);  // takes it, and closes it to the calling thread. => -1: there is none
// The flags of an area with its new key, or with PKEY_NOT_EXEC_ONLY: without the one of memory that may only be run.
#define PKEY_NOT_EXEC_ONLY (-2)
u64 pkey_change(const struct mm *mm, const struct vma *v, u64 flags, int key);
// pkey_mprotect(2): the pages get a protection key too; -1: they keep theirs. => -EINVAL: it is not allocated
long mm_protect_key(struct mm *mm, vaddr_t addr, size_t len, int prot, int key);
// Lies at inside an area of 2 MiB pages, and inside such a page?
bool cuts_hugetlb(struct mm *mm, vaddr_t at);
bool range_sealed(struct mm *mm, vaddr_t start, vaddr_t end);
bool within_rlimit_as(struct mm *mm, u64 flags, size_t len);
long do_munmap(struct mm *mm, vaddr_t start, size_t len);  // takes the lock
// munmap(2) with the lock held for writing. => -EINVAL, -EPERM (sealed), -ENOMEM
long unmap_locked(struct mm *mm, vaddr_t start, size_t len);
int grow_stack(struct mm *mm, vaddr_t addr);  // takes the lock
// May a 2 MiB page back the aligned 2 MiB around addr?
bool thp_allowed(const struct vma *vma);

// ---- fault.c
enum fault_kind {
    FK_OK,
    FK_RETRY,
    FK_OOM,
    FK_SIGSEGV,
    FK_ACCERR,
    FK_SIGBUS,
    FK_POISON,
    FK_PROMOTE
};
#define FAULT_FORCE 16u     // ignore missing rights, as ptrace does (mm_write)
#define FAULT_POPULATE 32u  // the whole range will be touched: 2 MiB at once
enum fault_kind fault_in(struct mm *mm, vaddr_t addr, unsigned access);
// Backs the aligned 2 MiB at base with one frame. => 0, -EAGAIN, -EBUSY, -ENOMEM, -EINVAL; lock held for writing
int collapse_range(struct mm *mm, struct vma *vma, vaddr_t base, bool force);

// ---- madvise.c
long madvise_range(struct mm *mm, vaddr_t start, size_t len, int advice);
struct advise_part {  // as struct iovec
    u64 start, len;
};
// process_madvise(2): the parts in order under one lock and one flush. => bytes of the parts done, or the first error
long madvise_vector(struct mm *mm, const struct advise_part *parts, size_t n, int advice);
u64 lazyfree_reclaim(u64 wanted);
long mm_populate_error(struct mm *mm, vaddr_t start, vaddr_t end, bool write);
// mlock(2): as mm_populate, but the first area that cannot be touched ends it. => errors of mm_populate_error
long mm_populate_locked_areas(struct mm *mm, vaddr_t start, size_t len);
// Locked private memory that became writable gets its own frames now (mprotect).
void mm_repopulate_locked(struct mm *mm, vaddr_t start, vaddr_t end);

// ---- hugetlb.c
// A touch of a VM_HUGETLB area. => FK_SIGBUS: the pool has no page; mm->lock held for reading
enum fault_kind hugetlb_fault(struct mm *mm, struct vma *v, vaddr_t addr, bool write);

// ---- object.c
void object_link_vma(struct vma *vma);
void object_unlink_vma(struct vma *vma);
// Pages [first, first + n) that are in the tree, with a reference each; NULL where not.
void object_get_range(struct vm_object *obj, u64 first, u32 n, struct page **out);

extern struct spinlock mm_list_lock;
extern struct list mm_list;  // [mm_list_lock] every mm

u64 mm_random(void);

// VERIFY builds: checks all invariants after a change, rarer the more areas there are. => lock held for writing
static inline void mm_check(struct mm *mm)
{
#ifdef LETHE_VERIFY
    static u32 n;
    if (++n % (1 + mm->n_vmas / 16) == 0)
        mm_verify(mm);
#else
    (void)mm;
#endif
}
// Pages in use now; keeps the peak. Called before pages go and by those who look.
static inline u64 mm_peak_rss(struct mm *mm)
{
    s64 rss = mm->rss_anon + mm->rss_file + mm->rss_shmem;
    if (rss > (s64)mm->hiwater_rss)
        mm->hiwater_rss = (u64)rss;
    return rss > 0 ? (u64)rss : 0;
}
