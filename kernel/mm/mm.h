// SPDX-License-Identifier: BSD-2-Clause
// mm.h: address spaces. Implemented in mm/{vma,mm,mmap,fault,madvise,...}.c.
#pragma once

#include "core/cpu.h"
#include "core/lock.h"
#include "core/rbtree.h"
#include "mm/object.h"

struct file;

enum vma_flags {  // the low four are PROT_* >> nothing: VM_READ == PROT_READ and so on
    VM_READ = 1,
    VM_WRITE = 2,
    VM_EXEC = 4,
    VM_SHARED = 8,
    VM_MAYREAD = 0x10,
    VM_MAYWRITE = 0x20,
    VM_MAYEXEC = 0x40,
    VM_GROWSDOWN = 0x100,
    VM_LOCKED = 0x200,
    VM_LOCKONFAULT = 0x400,
    VM_HUGEPAGE = 0x800,
    VM_NOHUGEPAGE = 0x1000,
    VM_DONTFORK = 0x2000,
    VM_WIPEONFORK = 0x4000,
    VM_DONTDUMP = 0x8000,
    VM_RAND = 0x10000,
    VM_SEQ = 0x20000,
    VM_NORESERVE = 0x40000,
    VM_ACCOUNT = 0x80000,  // counts against the commit limit
    VM_STACK = 0x100000,
    VM_SEALED = 0x200000,
    VM_MERGEABLE = 0x400000,
    VM_DROPPABLE = 0x800000,
    VM_SPECIAL = 0x1000000,  // vDSO, vvar: frames are not counted or freed
    VM_HUGETLB = 0x2000000,
    VM_UFFD_MISSING = 0x4000000,
    VM_UFFD_WP = 0x8000000,
    VM_UFFD_MINOR = 0x10000000,
};
#define VM_PKEY_SHIFT 32  // four bits, the highest in use: the protection key (pkeys(7))
#define VM_PKEY (15ull << VM_PKEY_SHIFT)

// What page tables may hold for a VMA. Never set for memory that nobody touched: it is unmapped and changed for nothing.
enum vma_backed { VMA_TOUCHED = 1, VMA_HUGE = 2, VMA_GUARDED = 4 };

struct vma {
    struct rb_node node;  // [mm->lock] by start
    vaddr_t start, end;   // [mm->lock] [start, end), page aligned
    vaddr_t gap;          // [mm->lock] free space in front of it, as a search sees it (mm/vma.c)
    vaddr_t max_gap;      // [mm->lock] augmented: largest gap in this subtree
    u64 flags;            // [mm->lock] VM_*
    struct vm_object *object;  // NULL: private anonymous
    u64 pgoff;                 // page index of start in the object (anonymous: start >> PAGE_SHIFT)
    struct file *file;         // for /proc/self/maps and fault policy; holds a reference
    char *name;                // PR_SET_VMA_ANON_NAME, or NULL
    struct list object_link;   // [object->map_lock]
    u8 backed;  // enum vma_backed; faults set them, so they may be set while others look
    struct mm *mm;
    struct vma *prev, *next;  // [mm->lock] in address order
};

#define THP_DISABLED 1u
#define THP_EXCEPT_ADVISED 2u  // PR_THP_DISABLE_EXCEPT_ADVISED: what MADV_HUGEPAGE asked for stays

struct mm {
    struct rwlock lock;        // VMA tree: write to change, read to fault and look up
    u32 refcount;              // atomic
    struct rb_root vmas;       // [lock]
    struct vma *first, *last;  // [lock] ends of the list
    u32 n_vmas;                // [lock]
    u32 n_zapping;  // atomic, where ARCH_BREAK_BEFORE_MAKE: whoever empties entries with the lock
                    // held for reading, and has not flushed yet
    struct arch_mm arch;
    cpumask_t cpus;                   // atomic: CPUs that may hold translations of it (mm/tlb.c)
    cpumask_t lazy_cpus;              // atomic: CPUs that have it loaded but run nothing of it
    u64 flushes_begun, flushes_done;  // atomic: mm/tlb.c
    struct vma *hint;                 // last VMA that a fault found; any VMA of the tree, or NULL
    struct list mm_link;              // [mm_list_lock] all address spaces
    u64 unmap_pass;                   // [object's map_lock] mm/object.c
    vaddr_t brk_start, brk_end;       // [lock]
    vaddr_t mmap_top;                 // top-down placement starts here
    vaddr_t stack_top, stack_limit_end;
    vaddr_t vdso_base;
    vaddr_t arg_start, arg_end, env_start, env_end, code_start, code_end, data_start, data_end;
    vaddr_t mmap_low;  // lowest address of a placed mapping (mmap_min_addr)
    u32 membarrier;    // atomic: registered commands
    u16 pkeys;         // [lock] protection keys that are allocated, a bit each
    u8 exec_pkey;      // [lock] the one of memory that may be run only; 0: there is none yet
    u8 thp_disabled;  // prctl(PR_SET_THP_DISABLE): THP_DISABLED, with THP_EXCEPT_ADVISED or without
    bool has_sealed;  // [lock] mseal(2) was used
    bool has_droppable;  // [lock] MAP_DROPPABLE was used
    bool has_hugetlb;    // [lock] MAP_HUGETLB was used
    u64 n_lazyfree;      // atomic, a hint: entries that MADV_FREE made clean
    u64 n_committed;     // [lock] pages that count against the commit limit
    u64 n_mapped_pages;  // [lock] total_vm in pages
    u64 n_locked_pages;  // [lock]
    u64 n_data_pages, n_stack_pages, n_exec_pages;     // [lock]
    s64 rss_anon, rss_file, rss_shmem, n_table_pages;  // atomic
    s64 n_huge;                   // atomic: 2 MiB leaves, those of the pool excepted
    s64 n_hugetlb;                // atomic: 2 MiB leaves of the pool (hugetlb.c)
    u64 hiwater_rss, hiwater_vm;  // peaks in pages, noted before something goes; see mm_peak_rss
    u64 def_flags;                // mlockall(MCL_FUTURE), PR_SET_THP_DISABLE
    u64 n_minor_faults, n_major_faults;  // atomic
    u64 auxv[2 * 32];                    // /proc/self/auxv
    struct file *exe_file;
    char *exe_path;
};

#define FAULT_READ 1u
#define FAULT_WRITE 2u
#define FAULT_EXEC 4u
#define FAULT_PROT 8u  // the entry was present: a protection fault, not a missing page

// What a fault that cannot be resolved becomes.
struct fault_result {
    int sig;   // 0: resolved, retry the instruction
    int code;  // SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR, BUS_MCEERR_AR
    bool oom;  // out of memory: the caller kills the process
};
// => Takes mm->lock for reading; may sleep.
struct fault_result mm_fault(struct mm *mm, vaddr_t addr, unsigned access);

// Touches every page of the range for the caller, areas that cannot be touched are passed by (MAP_POPULATE,
// mlockall: errors are left to the next touch).
void mm_populate(struct mm *mm, vaddr_t start, size_t len);

extern struct page *zero_page;

struct mm *mm_create(void);           // NULL: no memory; refcount 1
struct mm *mm_fork(struct mm *from);  // ERR_PTR(-ENOMEM)
void mm_get(struct mm *mm);
bool mm_try_get(struct mm *mm);  // false: it is being destroyed
void mm_put(struct mm *mm);      // the last one unmaps everything
// Loads mm's tables on this CPU (NULL: kernel only; lazily keeps the old one if harmless).
void mm_switch(struct mm *mm);
struct mm *current_mm(void);  // of the current thread, NULL for kernel threads (task/)

// Kernel-side mapping calls (ELF loader, stack, vDSO). Flags are MAP_*, prot PROT_*.
// object may be NULL (anonymous); takes its own references to object and file.
// => address or negative errno (as long).
long mm_map(struct mm *mm, vaddr_t addr, size_t len, int prot, int flags, struct vm_object *object,
            struct file *file, u64 pgoff);
long mm_unmap(struct mm *mm, vaddr_t addr, size_t len);
// shmat(2): maps an object shared at addr (0: anywhere; else what lies there is replaced, or -EINVAL). writable: it may
// be made so later. => address, -EINVAL, -EPERM, -ENOMEM, -EAGAIN (RLIMIT_MEMLOCK)
long mm_attach_object(struct mm *mm, vaddr_t addr, size_t len, int prot, bool writable,
                      bool replace, struct vm_object *object);
// shmdt(2): unmaps the object that was attached at addr, if is(object). => it, referenced; NULL: there is none
struct vm_object *mm_detach_object(struct mm *mm, vaddr_t addr,
                                   bool (*is)(const struct vm_object *));
// The object that is mapped from its beginning in the area that begins at addr, if is(object). => referenced; NULL: none
struct vm_object *mm_find_object(struct mm *mm, vaddr_t addr, bool (*is)(const struct vm_object *));
// Promises so many more pages of shared memory (or fewer). => false: the overcommit policy refuses
bool mm_commit(s64 pages);
long mm_protect(struct mm *mm, vaddr_t addr, size_t len, int prot);
// Maps frames that the kernel owns (vDSO code, vvar) with VM_SPECIAL.
long mm_map_special(struct mm *mm, vaddr_t addr, struct page **pages, unsigned n, int prot,
                    const char *name);
// The stack VMA of a new program: size now, grows down to the limit.
long mm_map_stack(struct mm *mm, vaddr_t top, size_t size, size_t limit);
// Copies into another (not loaded) address space: argv and auxv at exec. => 0, -EFAULT, -ENOMEM
int mm_write(struct mm *mm, vaddr_t addr, const void *data, size_t len);
int mm_read(struct mm *mm, vaddr_t addr, void *data, size_t len);
void mm_layout_init(struct mm *mm, vaddr_t stack_top, u64 stack_rlimit, bool randomize);
// Physical identity of a user word for shared futexes: object + offset, or mm + address.
struct futex_key_info {
    void *object;  // vm_object for shared mappings, mm for private
    u64 offset;
};
int mm_futex_key(struct mm *mm, vaddr_t addr, bool shared, struct futex_key_info *key);

// Limits of the calling process, implemented by task/ (mm is below it).
u64 rlimit_current(int resource);
// May it map so many pages in all (RLIMIT_AS), so many of them private and writable (RLIMIT_DATA)?
bool rlimits_allow_pages(u64 mapped, u64 data);
bool capable_ipc_lock(void);
bool capable_sys_admin(void);
bool capable_sys_nice(void);

// sysfs and sysctl knobs; files under /sys/kernel/mm/transparent_hugepage and /proc/sys/vm show and set them.
enum thp_policy { THP_ALWAYS, THP_MADVISE, THP_NEVER };
extern enum thp_policy thp_policy;
extern u32 vm_max_map_count, vm_overcommit_memory, vm_overcommit_ratio;
extern u64 vm_overcommit_kbytes;  // not 0: the commit limit, instead of the ratio
extern u64 vm_mmap_min_addr;
u64 mm_commit_limit(void);  // pages

// PR_SET_VMA_ANON_NAME; name NULL: none. => 0, -EINVAL, -ENOMEM, -EBADF (a file mapping)
long mm_set_vma_name(struct mm *mm, vaddr_t addr, size_t len, const char *name);

// The protection key of the page at addr, 0 where nothing is mapped. => Takes mm->lock for reading.
unsigned mm_pkey_at(struct mm *mm, vaddr_t addr);
// The calling thread's rights to the key of the area at addr refuse a load, or a store.
bool mm_pkey_refuses(struct mm *mm, vaddr_t addr, bool write);

void mm_verify(struct mm *mm);
void mm_init(void);       // after page_alloc_init
void mm_init_late(void);  // starts the zeroing and reclaim threads

// What a file descriptor maps; implemented by fs/ (mm is below it).
// => 0 with *file and *obj referenced and *may_flags (VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC) set; -EBADF, -EACCES,
//    -ENODEV, -EPERM (seals), -ETXTBSY.
long file_mmap_object(int fd, int prot, int flags, struct file **file, struct vm_object **obj,
                      u64 *may_flags);
void file_get(struct file *f);
void file_put(struct file *f);
const char *file_path_for_maps(struct file *f, char *buf, size_t size);
void file_stat_ids(struct file *f, u64 *dev, u64 *ino);
// The mm of the process behind a pidfd (PIDFD_SELF included), with a reference; implemented by fs/pidfd.c.
// => ERR_PTR(-EBADF, -ESRCH, -EPERM)
struct mm *pidfd_get_mm(int pidfd);

// Out of memory: prints the report and kills the application (task/ implements the kill).
void mm_oom(struct mm *mm, const char *what, size_t bytes);
void oom_kill_current(void);

// Page-table edits and TLB flushing are private to mm/ (mm/pagetable.h, mm/tlb.h).

// For /proc: fills buf with the file's text from *pos on (see fs/proc.c), one VMA at a time.
struct seq_buf;
void mm_show_maps(struct mm *mm, struct seq_buf *out);
void mm_show_smaps(struct mm *mm, struct seq_buf *out, bool rollup);
void mm_show_meminfo(struct seq_buf *out);
void mm_show_vmstat(struct seq_buf *out);
void mm_show_cgroup_stat(struct seq_buf *out);  // memory.stat of cgroups(7), version 2
void mm_show_statm(struct mm *mm, struct seq_buf *out);
void mm_show_status(struct mm *mm, struct seq_buf *out);  // the Vm* and Rss* lines
// /proc/self/clear_refs: 1 to 5. => -EINVAL: anything else, also 4 where entries have no bit for it (ARCH_PTE_SOFT3)
long mm_clear_refs(struct mm *mm, int how);
void mm_show_buddyinfo(struct seq_buf *out);
size_t mm_read_pagemap(struct mm *mm, u64 pos, u64 *entries, size_t n);
