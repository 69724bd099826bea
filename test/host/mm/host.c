// SPDX-License-Identifier: BSD-2-Clause
// host.c: see host.h. Everything above the memory core that it calls is a stub here.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random.h"
#include "core/wait.h"
#include "host.h"
#include "mm/mm_internal.h"
#include "mm/pagetable.h"

char *fake_ram;
struct boot_info boot_info;
struct cpu *fake_cpu;
struct cpu *cpus[MAX_CPUS];
u32 n_cpus = 1;
struct mm *host_mm;
int host_last_code, log_level = 3;
bool host_oom;
u64 host_rlimits[16];

void *mmap(void *addr, size_t len, int prot, int flags, int fd, long off);  // <sys/mman.h> clashes
extern char __start_percpu[], __stop_percpu[];

// ---- TLBs: small, direct mapped, never forgetting by themselves

#define TLB_SLOTS 256
struct tlb_entry {
    vaddr_t page;  // 1: empty
    pte_t e;
    bool huge;
};
static struct tlb_entry tlbs[FAKE_CPUS][TLB_SLOTS];
static bool
    has_huge[FAKE_CPUS];  // some slot was filled from a 2 MiB leaf since the last full flush

static struct tlb_entry *tlb_slot(vaddr_t va)
{
    return &tlbs[fake_cpu->id][(va >> PAGE_SHIFT) % TLB_SLOTS];
}

void arch_tlb_flush_page(vaddr_t va)
{
    struct tlb_entry *t = tlb_slot(va);
    if (t->page == (va & PAGE_MASK))
        t->page = 1;
    for (unsigned i = 0; has_huge[fake_cpu->id] && i < TLB_SLOTS; i++) {
        t = &tlbs[fake_cpu->id][i];
        if (t->huge && t->page >> HUGE_SHIFT == va >> HUGE_SHIFT)
            t->page = 1;
    }
}

void arch_tlb_flush_all_user(void)
{
    has_huge[fake_cpu->id] = false;
    for (unsigned i = 0; i < TLB_SLOTS; i++)
        tlbs[fake_cpu->id][i].page = 1;
}

int arch_mm_init(struct arch_mm *am)
{
    struct page *p = page_alloc(0, PAGE_ZERO);
    if (!p)
        return -ENOMEM;
    am->root = page_to_phys(p);
    return 0;
}

void arch_mm_destroy(struct arch_mm *am)
{
    host_watch_end(am);
    page_put(phys_to_page(am->root));
}
void arch_mm_switch(struct arch_mm *am) { arch_tlb_flush_all_user(); }
void arch_clear_pages(void *start, size_t n) { memset(start, 0, n << PAGE_SHIFT); }

// ---- the hardware's way to memory

// Walks the tables and sets the accessed and dirty flags. => false: fault
static bool walk(struct mm *mm, vaddr_t va, bool write, struct tlb_entry *out, unsigned *access)
{
    int level;
    *access = write ? FAULT_WRITE : FAULT_READ;
    pte_t *slot = pt_lookup(mm, va, &level);
    if (!slot || !pte_present(*slot))
        return false;
    *access |= FAULT_PROT;
    unsigned prot = pte_prot(*slot);
    if (!(prot & PTE_READ) || (write && !(prot & PTE_WRITE)))
        return false;
    *slot = pte_mk_young(*slot);
    if (write)
        *slot = pte_mk_dirty(*slot);
    *out = (struct tlb_entry){va & PAGE_MASK, *slot, level == 1};
    has_huge[fake_cpu->id] |= level == 1;
    return true;
}

static u32 *translate(vaddr_t va, bool write, int *sig)
{
    struct tlb_entry *t = tlb_slot(va);
    for (int tries = 0;; tries++) {
        unsigned access;
        bool hit =
            t->page == (va & PAGE_MASK) && (!write || (pte_writable(t->e) && pte_dirty(t->e)));
        if (hit || walk(host_mm, va, write, t, &access))
            break;
        KASSERT(tries < 20);
        struct fault_result r = mm_fault(host_mm, va, access);
        host_oom = r.oom;
        if (r.sig || r.oom) {
            *sig = r.oom ? 9 : r.sig;
            host_last_code = r.code;
            return NULL;
        }
    }
    *sig = 0;
    size_t mask = t->huge ? HUGE_SIZE - 1 : PAGE_SIZE - 1;
    return (u32 *)((char *)phys_to_virt(pte_phys(t->e)) + (va & mask));
}

int user_write(vaddr_t va, u32 value)
{
    int sig;
    u32 *p = translate(va, true, &sig);
    if (p)
        *p = value;
    return sig;
}

int user_read(vaddr_t va, u32 *value)
{
    int sig;
    u32 *p = translate(va, false, &sig);
    if (p)
        *value = *p;
    return sig;
}

// ---- frames on their way back: no CPU may still hold a translation to one of them

void __real_page_free(struct page *p, unsigned order);
void __real_page_free_last(struct page *p);
void __real_page_free_chain(struct page_chain *chain);
void __real_page_free_clean_chain(struct page_chain *chain);
void __wrap_page_free(struct page *p, unsigned order);
void __wrap_page_free_last(struct page *p);
void __wrap_page_free_chain(struct page_chain *chain);
void __wrap_page_free_clean_chain(struct page_chain *chain);

// A CPU that is lazy flushes before it runs user code again (mm/tlb.c).
static bool cpu_sees(unsigned cpu)
{
    const struct mm *mm = cpus[cpu]->active_mm;
    return mm && (mm->cpus >> cpu & 1);
}

static u8 *leaving;  // of each frame: it is about to be free

static void check_leaving(void)
{
    for (unsigned cpu = 0; cpu < n_cpus; cpu++) {
        if (!cpu_sees(cpu))
            continue;
        for (const struct tlb_entry *t = tlbs[cpu]; t < tlbs[cpu] + TLB_SLOTS; t++)
            if (t->page != 1 && leaving[pte_phys(t->e) >> PAGE_SHIFT])
                panic("CPU %u still reaches a frame that is freed, through page %#lx", cpu,
                      (unsigned long)t->page);
    }
}

static void mark_chain(const struct page_chain *chain, bool mark)
{
    const struct page *p = chain->first;
    for (u64 n = chain->n; n; n--, p = page_chain_next(p))
        leaving[p - page_array] = mark;
}

static void check_chain(const struct page_chain *chain)
{
    mark_chain(chain, true);
    check_leaving();
    mark_chain(chain, false);
}

static void check_block(const struct page *p, unsigned order)
{
    memset(&leaving[p - page_array], 1, 1ul << order);
    check_leaving();
    memset(&leaving[p - page_array], 0, 1ul << order);
}

void __wrap_page_free(struct page *p, unsigned order)
{
    check_block(p, order);
    __real_page_free(p, order);
}

void __wrap_page_free_last(struct page *p)
{
    check_block(p, 0);
    __real_page_free_last(p);
}

void __wrap_page_free_chain(struct page_chain *chain)
{
    check_chain(chain);
    __real_page_free_chain(chain);
}

void __wrap_page_free_clean_chain(struct page_chain *chain)
{
    check_chain(chain);
    __real_page_free_clean_chain(chain);
}

// ---- CPUs

static struct cpu cpu_areas[FAKE_CPUS];

void host_set_cpu(unsigned cpu) { fake_cpu = cpus[cpu]; }

void host_run(struct mm *mm)
{
    mm_switch(mm);
    host_mm = mm;
}

void cross_send(cpumask_t mask, enum cross_call call)
{
    struct cpu *me = fake_cpu;
    KASSERT(call == CROSS_TLB && !(mask & (1ull << me->id)));
    for (unsigned i = 0; i < n_cpus; i++) {
        if (!(mask & (1ull << i)))
            continue;
        fake_cpu = cpus[i];
        tlb_cross_handler();
    }
    fake_cpu = me;
}

void cross_answer(cpumask_t *waiting, struct cpu *initiator)
{
    (void)initiator;
    atomic_fetch_and(waiting, ~(1ull << fake_cpu->id));
}

void cross_wait(cpumask_t *waiting)
{
    if (*waiting)
        panic("a CPU has not answered");
}

static unsigned n_cross_calls;  // under way

void cross_run(cpumask_t mask, void (*fn)(void *), void *arg)
{
    struct cpu *me = fake_cpu;
    n_cross_calls++;
    for (unsigned i = 0; i < n_cpus; i++) {
        if (!(mask & (1ull << i)))
            continue;
        fake_cpu = cpus[i];
        fn(arg);
    }
    fake_cpu = me;
    n_cross_calls--;
}

// ---- what other CPUs do while this one waits for a spinlock

void (*host_before_lock)(void);
u64 host_others_seed = 1;
static bool acting;

enum { N_HELD = 64 };
static struct {
    struct page *page;
    void *piece;
    size_t size;
} held[N_HELD];

static void give_back(unsigned i)
{
    if (held[i].page) {
        const u64 *words = page_address(held[i].page);
        for (unsigned k = 0; k < PAGE_SIZE / 8; k += 73)
            if (words[k] != i + 1)
                panic("a frame of another CPU holds %#llx", (unsigned long long)words[k]);
        page_free(held[i].page, 0);
        held[i].page = NULL;
    } else if (held[i].piece) {
        for (size_t k = 0; k < held[i].size; k++)
            if (((u8 *)held[i].piece)[k] != (u8)i)
                panic("a piece of another CPU was written to");
        kfree(held[i].piece);
        held[i].piece = NULL;
    }
}

static void take(unsigned i, bool frame)
{
    if (frame) {
        bool zero = i % 2;
        held[i].page = page_alloc(0, zero ? PAGE_ZERO | PAGE_USER : PAGE_USER);
        u64 *words = held[i].page ? page_address(held[i].page) : NULL;
        for (unsigned k = 0; words && k < PAGE_SIZE / 8; k++) {
            if (zero && words[k])
                panic("a zeroed frame holds %#llx", (unsigned long long)words[k]);
            words[k] = i + 1;
        }
        return;
    }
    held[i].size = 1 + rnd(&host_others_seed) % 300;
    if ((held[i].piece = kmalloc(held[i].size)))
        memset(held[i].piece, (int)i, held[i].size);
}

// Runs act on another CPU. A cross-call under way keeps others from making one.
static void elsewhere(void (*act)(void))
{
    struct cpu *me = fake_cpu;
    u64 fail_at = page_fail_at;
    if (acting || n_cross_calls)
        return;
    acting = true;
    page_fail_at = 0;
    fake_cpu = cpus[(me->id + 1 + rnd(&host_others_seed) % (n_cpus - 1)) % n_cpus];
    act();
    fake_cpu = me;
    page_fail_at = fail_at;
    acting = false;
}

// A millisecond goes by from one look to the next.
u64 ktime_ns(void)
{
    static u64 now;
    return now += 1000000;
}

static void act_at_random(void)
{
    struct page *blocks[4];
    switch (rnd(&host_others_seed) % 8) {
    case 0: page_drain_all(); break;
    case 1: page_report_end(blocks, page_report_begin(blocks, ARRAY_SIZE(blocks)), false); break;
    case 2:
        for (unsigned n = 0; n < 140 && page_zero_idle(); n++)
            ;
        break;
    case 3: kmalloc_drain_cpu(); break;
    case 4: page_zero_age(); break;
    default:
        for (unsigned n = 0; n < 8; n++) {
            unsigned i = (unsigned)(rnd(&host_others_seed) % N_HELD);
            if (held[i].page || held[i].piece)
                give_back(i);
            else
                take(i, rnd(&host_others_seed) % 2);
        }
    }
}

void host_drain_elsewhere(void) { elsewhere(page_drain_all); }

void host_others_act(void)
{
    if (rnd(&host_others_seed) % 64 == 0)
        elsewhere(act_at_random);
}

void host_others_stop(void)
{
    host_before_lock = NULL;
    for (unsigned i = 0; i < N_HELD; i++)
        give_back(i);
}

void cross_poll(void) {}

static void start_cpus(void)
{
    size_t size = (size_t)(__stop_percpu - __start_percpu);
    char *copies = mmap(NULL, (size + 4096) * FAKE_CPUS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < FAKE_CPUS; i++) {
        cpus[i] = &cpu_areas[i];
        *cpus[i] = (struct cpu){.self = cpus[i], .id = i, .hw_id = i};
        if (i)
            cpus[i]->percpu_offset = (uintptr_t)copies + size * i - (uintptr_t)__start_percpu;
        fake_cpu = cpus[i];
        arch_tlb_flush_all_user();
    }
    fake_cpu = cpus[0];
    n_cpus = FAKE_CPUS;
}

// RAM: [0, 640 KiB), hole, [1 MiB, ram_bytes), the root image at the top; the "kernel" lies at 1 MiB.
void host_boot(size_t ram_bytes)
{
    fake_ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memset(fake_ram, 0xa5, MIN(ram_bytes, 32u << 20));  // what firmware leaves is not zero
    leaving = calloc(ram_bytes / PAGE_SIZE, 1);
    boot_info.n_mem = 2;
    boot_info.mem[0] = (struct mem_range){0, 640 << 10, MEM_RAM};
    boot_info.mem[1] = (struct mem_range){1 << 20, ram_bytes, MEM_RAM};
    boot_info.image_start = ram_bytes - (200 << 10);
    boot_info.image_end = ram_bytes;
    for (unsigned i = 0; i < ARRAY_SIZE(host_rlimits); i++)
        host_rlimits[i] = UINT64_MAX;
    host_rlimits[RLIMIT_STACK] = 8 << 20;
    start_cpus();
    page_reserve(1 << 20, (1 << 20) + (400 << 10));
    page_alloc_init();
    mm_init();
}

void host_settle(void)
{
    unsigned before = fake_cpu->id;
    for (unsigned i = 0; i < n_cpus; i++) {
        host_set_cpu(i);
        kmalloc_drain_cpu();
    }
    host_set_cpu(before);
}

// ---- what the layers above and beside would do

void klog_line(int level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}
void kprintf(const char *fmt, ...) {}
bool control_line(const char *fmt, ...) { return true; }
void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "panic: ");
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}
void noboot(const char *fmt, ...)
{
    fprintf(stderr, "noboot: %s\n", fmt);
    exit(3);
}
__weak const char *cmdline_get(const char *name, char *buf, size_t size) { return NULL; }
void random_bytes(void *out, size_t len)
{
    static u64 state = 88172645463325252ull;
    for (size_t i = 0; i < len; i++)
        ((u8 *)out)[i] = (u8)rnd(&state);
}
struct mm *current_mm(void) { return host_mm; }
u64 rlimit_current(int resource) { return host_rlimits[resource]; }
bool rlimits_allow_pages(u64 mapped, u64 data)
{
    return mapped <= host_rlimits[RLIMIT_AS] >> PAGE_SHIFT &&
           data <= host_rlimits[RLIMIT_DATA] >> PAGE_SHIFT;
}
bool capable_ipc_lock(void) { return false; }
bool capable_sys_admin(void) { return true; }
bool capable_sys_nice(void) { return true; }
struct mm *pidfd_get_mm(int pidfd) { return ERR_PTR(-EBADF); }
void oom_kill_current(void) {}
void sched_point(void) {}
void thread_yield(void) {}
bool thread_kill_pending(void) { return false; }
void spin_lock_slow(struct spinlock *lock) { panic("spinlock held"); }
void mutex_init(struct mutex *m) { memset(m, 0, sizeof *m); }
void mutex_lock(struct mutex *m)
{
    KASSERT(m->state == 0);
    m->state = 1;
}
void mutex_unlock(struct mutex *m)
{
    KASSERT(m->state == 1);
    m->state = 0;
}
void rwlock_init(struct rwlock *l) { memset(l, 0, sizeof *l); }
void rwlock_read_slow(struct rwlock *l) { panic("read lock would wait"); }
void rwlock_write_slow(struct rwlock *l) { panic("write lock would wait"); }
void rwlock_wake(struct rwlock *l) {}
bool rwlock_try_read(struct rwlock *l)
{
    if (l->state & RWLOCK_WRITER)
        return false;
    l->state++;
    return true;
}
void file_get(struct file *f) {}
void file_put(struct file *f) {}
const char *file_path_for_maps(struct file *f, char *buf, size_t size) { return "/file"; }
void file_stat_ids(struct file *f, u64 *dev, u64 *ino) { *dev = *ino = 1; }
__weak long file_mmap_object(int fd, int prot, int flags, struct file **file,
                             struct vm_object **obj, u64 *may_flags)
{
    return -EBADF;
}
// System calls that read or write user memory do it through the page tables, a byte at a time.
int copy_from_user(void *to, uptr_t from, size_t len)
{
    return mm_read(host_mm, from, to, len) ? -EFAULT : 0;
}
int copy_to_user(uptr_t to, const void *from, size_t len)
{
    return mm_write(host_mm, to, from, len) ? -EFAULT : 0;
}
