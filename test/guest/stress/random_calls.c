// SPDX-License-Identifier: BSD-2-Clause
// Calls with random arguments: a million memory calls, then a million of every other, from four threads at once. The
// kernel answers each, stays alive, and has all its memory back when the caller is gone. In a kernel built with
// VERIFY=1 its verifiers look on.
//
//   SEED=N    begin with another sequence (default 1)
//   ROUND=N   only that round
//
// A round is a child with four threads and a few thousand calls in an address space of its own. What a thread does in a
// step depends on seed, round, thread and step alone; what Linux and Lethe choose (addresses, descriptors) enters only
// as a choice among the results of earlier calls.
//
//   parent   counts what the machine has, makes a child, waits, cleans up, counts again
//     child  remembers its own areas (code, data, stacks) as protected, then lets its threads loose on the arena
//
// A call that would change or write a protected range is left out, so that a child of memory calls must live: its
// death is a failure. Even rounds have a small RLIMIT_AS and every flag; odd rounds have all of the address space but
// neither lock memory nor populate more than a few MiB of it. Not called: what ends, stops or signals other programs,
// and on a host everything but the memory calls; HWPOISON and SOFT_OFFLINE, which take memory away for good.
#include "counters.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ARENA 0x200000000000ul
#define ARENA_SIZE (32ul << 20)
#define SCRATCH 0x300000000000ul  // per thread: 64 KiB to make structs in, then a hole
#define SCRATCH_STRIDE (1ul << 20)
#define SCRATCH_SIZE (64ul << 10)
#define SMALL (2ul << 20)  // what may be populated in an odd round
enum {
#if defined __aarch64__
    NR_pkey_mprotect = 288,
    NR_pkey_free = 290,
    NR_rseq = 293,
#else
    NR_pkey_mprotect = 329,
    NR_pkey_free = 331,
    NR_rseq = 334,
#endif
    NR_pidfd_self = -10000,  // PIDFD_SELF_THREAD; one less is PIDFD_SELF_PROCESS
    NR_process_madvise = 440,
    NR_mseal = 462,
    NR_memfd_secret = 447,
};
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
enum { NO_THREAD = 95, NO_SCRATCH, NO_FILE, NO_ROOM };  // ends of a child that could not begin
enum { WORKERS = 4, CALLS_A_ROUND = 5000, STACK = 128 << 10, RING = 16, SEGMENTS = 8, WORDS = 64 };

struct range {
    uintptr_t start, end;
};

static struct range protected[128];
static size_t n_protected;
static uint64_t seed = 1;
static int round_number, calls_each, parent;
static bool every_call, small_space;
static int files[6];
static char stacks[WORKERS][STACK] __attribute__((aligned(4096)));

// What the parent learns of a child.
struct report {
    long made, left_out, succeeded, faults;
} * report;

struct caller {
    uint64_t state;           // of the random numbers of this step
    struct range ring[RING];  // mappings that the kernel placed
    unsigned next;
    int segments[SEGMENTS];  // System V segments that this thread made, more than zero
    unsigned next_segment;
    uint64_t *words;  // structs, vectors and names are made here
    char *text;
    long made, left_out, succeeded, faults;
};

static struct caller callers[WORKERS];

// ---- random values ----

static uint64_t next(struct caller *c)
{
    uint64_t z = c->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t below(struct caller *c, uint64_t n) { return next(c) % n; }

static const uint64_t edges[] = {
    0,
    1,
    2,
    7,
    8,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    2 * PAGE,
    65535,
    65536,
    HUGE - PAGE,
    HUGE,
    1ul << 30,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    1ul << 32,
    1ul << 40,
    1ul << 46,
    (1ul << 47) - PAGE,
    (1ul << 47) - 1,
    1ul << 47,
    USER_TOP - PAGE,
    USER_TOP,
    1ul << 48,
    1ul << 62,
    INT64_MAX,
    1ul << 63,
    0xffff800000000000,
    0xffff888000000000,
    0xffffffff80000000,
    0x8000000000000fff,
    0x00ff000000000000,
    -HUGE,
    -2 * PAGE,
    -PAGE,
    -PAGE - 1,
    -8ul,
    -1ul,
    (uint64_t)-100,
};

static uint64_t arena_page(struct caller *c) { return ARENA + below(c, ARENA_SIZE / PAGE) * PAGE; }

static uint64_t wild(struct caller *c)
{
    switch (below(c, 8)) {
    case 0:
    case 1: return edges[below(c, COUNT(edges))];
    case 2: return below(c, 64);
    case 3: return 1ul << below(c, 64);
    case 4: return -(1ul << below(c, 64));
    case 5: return arena_page(c) + below(c, PAGE);
    case 6: return next(c) & (USER_TOP - PAGE) & -PAGE;
    default: return next(c);
    }
}

static uint64_t address(struct caller *c)
{
    uint64_t kind = below(c, 32);
    if (kind < 20)
        return ARENA + (kind < 6 ? below(c, 64) * PAGE : below(c, ARENA_SIZE / PAGE) * PAGE);
    if (kind < 23)
        return ARENA + below(c, ARENA_SIZE / HUGE) * HUGE;
    if (kind < 27)
        return c->ring[below(c, RING)].start;
    return kind < 29 ? arena_page(c) + below(c, PAGE) : wild(c);
}

static uint64_t length(struct caller *c)
{
    uint64_t kind = below(c, 32);
    if (kind < 16)
        return (1 + below(c, 32)) * PAGE;
    if (kind < 21)
        return 1 + below(c, 3 * PAGE);
    if (kind < 26)
        return (1 + below(c, 4)) * HUGE;
    return kind < 28 ? below(c, ARENA_SIZE) : wild(c);
}

static uint64_t map_flags(struct caller *c)
{
    static const unsigned often[] = {MAP_PRIVATE | MAP_ANONYMOUS,
                                     MAP_SHARED | MAP_ANONYMOUS,
                                     MAP_PRIVATE,
                                     MAP_SHARED,
                                     3,
                                     8 | MAP_ANONYMOUS};
    static const unsigned more[] = {MAP_FIXED,    MAP_FIXED,     MAP_FIXED,  MAP_FIXED,
                                    0x100000,     MAP_GROWSDOWN, MAP_LOCKED, MAP_NORESERVE,
                                    MAP_POPULATE, MAP_NONBLOCK,  MAP_STACK,  MAP_HUGETLB,
                                    0x40,         0x80000};
    uint64_t flags = often[below(c, COUNT(often))];
    for (uint64_t n = below(c, 4); n; n--)
        flags |= more[below(c, COUNT(more))];
    return flags;
}

static uint64_t advice(struct caller *c)
{
    static const int known[] = {0,  1,  2,  3,  4,  8,   9,   10,         11,
                                12, 13, 14, 15, 16, 17,  18,  19,         20,
                                21, 22, 23, 24, 25, 102, 103, 0x4c450001, 0x4c450002};
    return below(c, 16) ? (uint64_t)known[below(c, COUNT(known))] : below(c, 128);
}

// A vector of ranges for process_madvise, or anything.
static uint64_t some_struct(struct caller *c)
{
    for (int i = 0; i < WORDS; i += 2) {
        c->words[i] = below(c, 2) ? address(c) : wild(c);
        c->words[i + 1] = below(c, 2) ? length(c) : wild(c);
    }
    return below(c, 8) ? (uint64_t)c->words : edges[below(c, COUNT(edges))];
}

static uint64_t some_text(struct caller *c)
{
    static const char *const names[] = {
        "f0", "f1", "d0", "d0/f", "l0", ".", "", "no such", "/proc/self/maps", "/proc/self/smaps"};
    strcpy(c->text, names[below(c, COUNT(names))]);
    return below(c, 8) ? (uint64_t)c->text : wild(c);
}

// The letters of the table below.
static uint64_t argument(struct caller *c, char letter)
{
    static const uint64_t advised[] = {0, 1, 2, 4, 8, 16, 1ul << 30};
    if (below(c, 10) == 0)
        return wild(c);
    switch (letter) {
    case 'a': return address(c);
    case 'l': return length(c);
    case 'p':
        return below(c, 8) ? below(c, 8)
                           : below(c, 8) | (below(c, 2) ? PROT_GROWSDOWN : PROT_GROWSUP);
    case 'm': return map_flags(c);
    case 'f': return (uint64_t)files[below(c, COUNT(files))];
    case 'o': return below(c, 8) ? below(c, 256) * PAGE : wild(c);
    case 'v': return advice(c);
    case 'r': return below(c, 8);
    case 'b': return advised[below(c, COUNT(advised))];
    case 'k': return some_struct(c);
    case 's': return some_text(c);
    case 'V': return arena_page(c);
    case 'h': return (uint64_t)c->segments[below(c, SEGMENTS)] - 1;
    case 'q': return below(c, 4) ? (uint64_t)NR_pidfd_self - below(c, 2) : wild(c);
    case 'F': return below(c, 8) ? 3 + below(c, 24) : wild(c);
    case 'x': return below(c, 3) ? some_struct(c) : below(c, 2) ? length(c) : address(c);
    default: return below(c, 2) ? below(c, 16) : wild(c);
    }
}

// ---- the calls ----

struct call {
    long number;
    char arguments[7];
    unsigned char weight;
};

static const struct call memory_calls[] = {
    {SYS_mmap, "alpmfo", 24},
    {SYS_munmap, "al", 12},
    {SYS_mprotect, "alp", 14},
    {SYS_mremap, "allra", 12},
    {SYS_madvise, "alv", 24},
    {NR_process_madvise, "qkivi", 6},
    {SYS_mincore, "alV", 4},
    {SYS_mlock, "al", 4},
    {SYS_mlock2, "alr", 4},
    {SYS_munlock, "al", 4},
    {SYS_mlockall, "r", 1},
    {SYS_munlockall, "", 2},
    {SYS_msync, "alr", 4},
    {SYS_brk, "a", 4},
    {SYS_remap_file_pages, "alioi", 4},
    {SYS_memfd_create, "sb", 2},
    {NR_mseal, "ali", 1},
    {SYS_shmget, "ilb", 2},
    {SYS_shmat, "hab", 4},
    {SYS_shmdt, "a", 3},
    {SYS_shmctl, "hik", 3},
    {SYS_membarrier, "bbi", 2},
    {SYS_prctl, "ialls", 3},
    {SYS_personality, "b", 1},
    {NR_pkey_mprotect, "alpi", 4},
    {330, "ii", 1},
    {NR_pkey_free, "i", 1},
    {SYS_userfaultfd, "b", 1},
    {NR_memfd_secret, "i", 1},
    {SYS_fallocate, "fioo", 3},
    {SYS_ftruncate, "fo", 2},
    {SYS_fcntl, "fib", 1},
    {SYS_get_mempolicy, "kllab", 1},
    {SYS_mbind, "alikib", 1},
    {453, "alb", 1},
    {451, "fkki", 1},
};

static bool meets(uint64_t start, uint64_t len)
{
    uint64_t end = start + len;
    start &= -PAGE;
    if (end < start)
        end = -1ul;
    for (size_t i = 0; i < n_protected; i++)
        if (start < protected[i].end && end > protected[i].start)
            return true;
    return false;
}

// May the kernel write behind this pointer?
static bool bad_target(const struct caller *c, uint64_t pointer)
{
    return pointer != (uint64_t)c->words && pointer != (uint64_t)c->text &&
           meets(pointer, 1ul << 16);
}

// A vector elsewhere than in the words could say anything.
static bool bad_vector(const struct caller *c, uint64_t vector)
{
    if (vector != (uint64_t)c->words)
        return meets(vector, 1ul << 16) || vector - ARENA < ARENA_SIZE;
    for (int i = 0; i < WORDS; i += 2)
        if (meets(c->words[i], c->words[i + 1]))
            return true;
    return false;
}

// Would it hold on to memory that is not there?
static bool too_much(const struct call *call, const uint64_t *a)
{
    if (small_space)
        return false;
    switch (call->number) {
    case SYS_mmap:
        return (a[3] & MAP_LOCKED) || (a[1] > SMALL && (a[3] & (MAP_POPULATE | MAP_HUGETLB)));
    case SYS_mlock:
    case SYS_mlock2:
    case SYS_mlockall: return true;
    case SYS_madvise:
        return a[1] > SMALL && (a[2] == 22 || a[2] == 23 || a[2] == 25 || a[2] >= 102);
    case NR_process_madvise: return a[3] == 22 || a[3] == 23 || a[3] == 25 || a[3] >= 102;
    }
    return false;
}

static bool harmful_prctl(uint64_t option)
{
    // Only these: others stop calls, change the clock's rights or the layout that the kernel keeps of the program.
    static const int harmless[] = {PR_SET_VMA,
                                   PR_SET_THP_DISABLE,
                                   PR_GET_THP_DISABLE,
                                   PR_GET_NAME,
                                   PR_SET_NAME,
                                   PR_GET_DUMPABLE,
                                   PR_GET_TIMERSLACK,
                                   66 /* GET_MDWE */,
                                   67,
                                   68,
                                   1000};
    for (size_t i = 0; i < COUNT(harmless); i++)
        if ((int)option == harmless[i])
            return false;
    return true;
}

// Segments of others are not touched: theirs have small numbers too.
static bool bad_segment(const struct caller *c, int id)
{
    for (int i = 0; i < SEGMENTS; i++)
        if (id == c->segments[i] - 1)
            return false;
    return id >= 0;
}

// Would the call change what this program stands on, or take from others?
static bool harms(const struct caller *c, const struct call *call, uint64_t *a)
{
    switch (call->number) {
    case SYS_mmap: return (a[3] & MAP_FIXED) && meets(a[0], a[1]);
    case SYS_mremap: return meets(a[0], a[1]) || ((a[3] & 2) && meets(a[4], a[2]));
    case SYS_madvise: return (int)a[2] == 100 || (int)a[2] == 101 || meets(a[0], a[1]);
    case NR_process_madvise: return (int)a[3] == 100 || (int)a[3] == 101 || bad_vector(c, a[1]);
    case SYS_mincore: return meets(a[2], a[1] / PAGE + 1);
    case NR_pkey_free: return (int)a[0] == 0;  // then all memory could be forbidden
    case SYS_brk: return meets(a[0], PAGE);
    case SYS_shmget: return a[1] - HUGE < 1ul << 62;
    case SYS_fallocate: return a[2] + a[3] - SMALL < 1ul << 60;
    case SYS_shmat: return bad_segment(c, (int)a[0]) || meets(a[1], 1ul << 40);
    case SYS_shmctl: return bad_segment(c, (int)a[0]) || bad_target(c, a[2]);
    case SYS_shmdt: return meets(a[0], 1);
    case SYS_prctl: return harmful_prctl(a[0]) || (a[0] != PR_SET_VMA && bad_target(c, a[1]));
    case SYS_get_mempolicy:
    case 451:  // cachestat
        return bad_target(c, a[0]) || bad_target(c, a[1]) || bad_target(c, a[2]);
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mlock:
    case SYS_mlock2:
    case SYS_munlock:
    case SYS_msync:
    case SYS_remap_file_pages:
    case NR_mseal:
    case NR_pkey_mprotect:
    case SYS_mbind: return meets(a[0], a[1]);
    }
    return false;
}

static void remember(struct caller *c, uint64_t start, uint64_t len)
{
    struct range *r = &c->ring[c->next++ % RING];
    if (r->end > r->start && !meets(r->start, r->end - r->start))
        munmap((void *)r->start, r->end - r->start);
    *r = (struct range){start, start + len};
}

static void after(struct caller *c, const struct call *call, const uint64_t *a, long result)
{
    struct shmid_ds ds;
    if (result == -1)
        return;
    c->succeeded++;
    switch (call->number) {
    case SYS_mmap: remember(c, (uint64_t)result, (a[1] + PAGE - 1) & -PAGE); break;
    case SYS_mremap: remember(c, (uint64_t)result, (a[2] + PAGE - 1) & -PAGE); break;
    case SYS_shmat: remember(c, (uint64_t)result, PAGE); break;
    case SYS_shmget:
        if (shmctl((int)result, IPC_STAT, &ds) != 0 || ds.shm_cpid != getpid())
            break;
        if (c->segments[c->next_segment % SEGMENTS])
            shmctl(c->segments[c->next_segment % SEGMENTS] - 1, IPC_RMID, NULL);
        c->segments[c->next_segment++ % RING] = (int)result + 1;
        break;
    case SYS_memfd_create:
    case SYS_userfaultfd:
    case NR_memfd_secret: close((int)result); break;
    }
}

// In the second mode: what ends, stops or signals a program, waits for a person, or changes the machine for others.
static const short never[] = {
    SYS_exit,
    SYS_exit_group,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    424 /* pidfd_send_signal */,
    SYS_reboot,
    SYS_ptrace,
    SYS_seccomp,
    SYS_clone,
    435 /* clone3 */,
    SYS_execve,
    SYS_execveat,
    SYS_rt_sigreturn,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigsuspend,
    SYS_sigaltstack,
    SYS_set_tid_address,
    SYS_set_robust_list,
    NR_rseq,
    SYS_prlimit64,
    SYS_setrlimit,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    429 /* move_mount */,
    442 /* mount_setattr */,
    SYS_process_vm_writev,
    SYS_setpriority,
    SYS_timer_settime,
    SYS_setitimer,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_unshare,
    SYS_setns,
#if defined __x86_64__
    SYS_fork,
    SYS_vfork,
    SYS_alarm,
    SYS_arch_prctl,
    SYS_modify_ldt,
    SYS_iopl,
    SYS_ioperm,
#endif
};

static bool pick_call(struct caller *c, struct call *call)
{
    static unsigned total;
    unsigned sum = 0;
    for (size_t i = 0; total == 0 && i < COUNT(memory_calls); i++)
        sum += memory_calls[i].weight;
    if (sum)
        total = sum;
    if (!every_call || below(c, 4) == 0) {
        unsigned at = (unsigned)below(c, total);
        const struct call *of = memory_calls;
        for (; at >= of->weight; of++)
            at -= of->weight;
        *call = *of;
        return true;
    }
    *call = (struct call){(long)below(c, 470), "Fxxxxx", 1};
    if (below(c, 3) == 0)
        call->arguments[0] = 's';
    else if (below(c, 3) == 0)
        call->arguments[0] = 'i';
    for (int i = 1; i < 6; i++)
        call->arguments[i] = "xxsiFlob"[below(c, 8)];
    for (size_t i = 0; i < COUNT(never); i++)
        if (call->number == never[i])
            return false;
    for (size_t i = 0; i < COUNT(memory_calls); i++)
        if (call->number == memory_calls[i].number)
            return false;
    return true;
}

// The calls of the second mode may write behind each of their pointers, and name a program by their first argument.
static bool may_hit(const struct caller *c, const struct call *call, const uint64_t *a)
{
    for (size_t i = 0; i < COUNT(memory_calls); i++)
        if (call->number == memory_calls[i].number)
            return false;
    for (int i = 0; i < 6; i++)
        if (bad_target(c, a[i]))
            return true;
    return (int)a[0] <= 2 || (int)a[0] == parent;
}

static void one_call(struct caller *c)
{
    struct call call;
    uint64_t a[6] = {0};
    if (!pick_call(c, &call))
        return;
    for (int i = 0; i < 6 && call.arguments[i]; i++)
        a[i] = argument(c, call.arguments[i]);
    if (harms(c, &call, a) || too_much(&call, a) || may_hit(c, &call, a)) {
        c->left_out++;
        return;
    }
    c->made++;
    after(c, &call, a, syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

// A byte at the end of a word, so that no word of the arena ever becomes an address of this program.
static void touch(struct caller *c)
{
    for (int n = 0; n < 8; n++) {
        char *p = (char *)(below(c, 4) ? ARENA + below(c, 64) * PAGE : arena_page(c)) + 7;
        if (below(c, 2))
            CATCH_FAULT(WRITE(p, 0x80 | n));
        else
            CATCH_FAULT(READ(p));
        c->faults += fault_seen.signal != 0;
    }
}

static void look(struct caller *c)
{
    static const char *const shown[] = {"/proc/self/maps", "/proc/self/smaps_rollup",
                                        "/proc/self/status", "/proc/self/pagemap"};
    char *room = c->text + 4096;
    int fd = open(shown[below(c, COUNT(shown))], O_RDONLY);
    if (fd < 0)
        return;
    for (int n = 0; n < 8 && read(fd, room, 4096) > 0; n++) {
    }
    close(fd);
}

// A part of the arena is readable and writable again.
static void renew(struct caller *c)
{
    uint64_t at = below(c, 2) ? ARENA : ARENA + below(c, ARENA_SIZE / HUGE) * HUGE;
    int flags = below(c, 4) ? MAP_PRIVATE : MAP_SHARED;
    syscall(SYS_mmap, at, HUGE, PROT_READ | PROT_WRITE,
            flags | MAP_ANONYMOUS | MAP_FIXED | (below(c, 8) ? 0 : MAP_POPULATE), -1, 0);
}

static void *call_at_random(void *argument)
{
    uintptr_t me = (uintptr_t)argument;
    struct caller *c = &callers[me];
    c->words = (uint64_t *)(SCRATCH + me * SCRATCH_STRIDE);
    c->text = (char *)c->words + SCRATCH_SIZE / 2;
    for (int step = 0; step < calls_each; step++) {
        c->state = seed << 40 ^ (uint64_t)round_number << 24 ^ me << 20 ^ (uint64_t)step;
        c->state = next(c);
        if (below(c, 16) == 0)
            touch(c);
        else if (below(c, 200) == 0)
            look(c);
        if (below(c, 12) == 0)
            renew(c);
        one_call(c);
    }
    return NULL;
}

// ---- the child ----

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (fault_armed) {
        fault_seen = (struct fault){signal, info->si_code, info->si_addr};
        fault_armed = 0;
        siglongjmp(fault_jump, 1);
    }
    harness_fail(__FILE__, __LINE__, "round %d: signal %d, code %d, at %p", round_number, signal,
                 info->si_code, info->si_addr);
    _exit(99);
}

static void on_wake(int signal) { (void)signal; }

static void set_handlers(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    action = (struct sigaction){.sa_handler = on_wake};
    sigaction(SIGUSR1, &action, NULL);
    if (!every_call)
        return;
    for (int i = 1; i <= SIGRTMAX; i++)
        if (i != SIGSEGV && i != SIGBUS && i != SIGUSR1 && (i < 32 || i > 34))
            sigaction(i, &action, NULL);
}

static void protect(uintptr_t start, uintptr_t end)
{
    if (n_protected == COUNT(protected))
        _exit(NO_ROOM);
    protected[n_protected++] = (struct range){start, end};
}

static void protect_everything(void)
{
    static char text[1 << 16];
    slurp("/proc/self/maps", text, sizeof text);
    n_protected = 0;
    for (char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        uintptr_t start, end;
        if (sscanf(line, "%lx-%lx", &start, &end) != 2)
            break;
        if (start - ARENA >= ARENA_SIZE)
            protect(start, end);
    }
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    protect(here - (16ul << 20), here);  // the stack may grow
    protect(SCRATCH, SCRATCH + WORKERS * SCRATCH_STRIDE);
    protect((uintptr_t)syscall(SYS_brk, 0), (uintptr_t)syscall(SYS_brk, 0) + 1);
}

static void open_files(void)
{
    files[0] = (int)syscall(SYS_memfd_create, "random", 2u);
    files[1] = open("file", O_RDWR | O_CREAT, 0600);
    files[2] = open("file", O_RDONLY);
    files[3] = open("/dev/zero", O_RDWR);
    files[4] = (int)syscall(SYS_memfd_create, "second", 0u);
    files[5] = -1;
    for (int i = 0; i < 5; i++)
        if (files[i] < 0)
            _exit(NO_FILE);
    if (ftruncate(files[0], 4 * HUGE) != 0 || ftruncate(files[1], 64 * PAGE) != 0)
        _exit(NO_FILE);
}

static void limit_child(void)
{
    struct rlimit limit = {64ul << 20, 64ul << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
    limit = (struct rlimit){256, 256};
    setrlimit(RLIMIT_NOFILE, &limit);
    limit = (struct rlimit){0, 0};
    setrlimit(RLIMIT_CORE, &limit);
    limit = (struct rlimit){256ul << 20, 256ul << 20};
    if (small_space)
        setrlimit(RLIMIT_AS, &limit);
}

static void child_main(void)
{
    pthread_t ids[WORKERS];
    pthread_attr_t attributes;
    setsid();
    set_handlers();
    open_files();
    for (size_t i = 0; i < WORKERS; i++)
        if (mmap((void *)(SCRATCH + i * SCRATCH_STRIDE), SCRATCH_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            _exit(NO_SCRATCH);
    protect_everything();
    limit_child();
    signal(SIGXFSZ, SIG_IGN);
    memset(callers, 0, sizeof callers);
    for (uintptr_t i = 0; i < WORKERS; i++) {
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, stacks[i], STACK);
        if (pthread_create(&ids[i], &attributes, call_at_random, (void *)i) != 0)
            _exit(NO_THREAD);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(ids[i], NULL);
        report->made += callers[i].made, report->left_out += callers[i].left_out;
        report->succeeded += callers[i].succeeded, report->faults += callers[i].faults;
    }
    _exit(0);
}

// ---- the parent ----

// Segments outlive their maker.
static void remove_segments(pid_t maker)
{
    struct shmid_ds ds;
    for (int i = 0; i < 4096; i++) {
        int id = shmctl(i, SHM_STAT, &ds);
        if (id >= 0 && ds.shm_cpid == maker)
            shmctl(id, IPC_RMID, NULL);
    }
}

static void remove_files(const char *path, int depth)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[600];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (unlink(name) != 0 && depth < 8) {
            remove_files(name, depth + 1);
            rmdir(name);
        }
    }
    if (dir)
        closedir(dir);
}

// Interrupts what waits, in the threads of the child.
static void wake_threads(pid_t child)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", child);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != child)
            syscall(SYS_tgkill, child, atoi(entry->d_name), SIGUSR1);
    if (dir)
        closedir(dir);
}

static void run_round(int calls)
{
    calls_each = calls / WORKERS;
    small_space = round_number % 2 == 0;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        child_main();
    int status = 0;
    uint64_t limit = now_ns(CLOCK_MONOTONIC) + 300 * SEC;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (now_ns(CLOCK_MONOTONIC) > limit) {
            FAIL("seed %lu round %d: still running after 300 s", seed, round_number);
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            break;
        }
        sleep_ns(5 * MS);
        if (every_call)
            wake_threads(child);
    }
    bool set_up = !WIFEXITED(status) || WEXITSTATUS(status) < NO_THREAD;
    if (status && (!every_call || !set_up))
        FAIL("seed %lu round %d: the child ends with status %#x", seed, round_number, status);
    else if (status)
        harness_note("seed %lu round %d: status %#x", seed, round_number, status);
    remove_segments(child);
    remove_files(".", 0);
    syncfs(STDOUT_FILENO);  // a kernel built with VERIFY=1 looks at its allocators
}

static void run_rounds(int calls)
{
    struct counters before, now;
    const char *value = getenv("SEED"), *only = getenv("ROUND");
    seed = value ? strtoul(value, NULL, 0) : 1;
    parent = getpid();
    report = (void *)map_with(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    memset(report, 0, sizeof *report);
    int rounds = (calls + CALLS_A_ROUND - 1) / CALLS_A_ROUND;
    for (int i = 0; i < rounds && !harness_failed(); i++) {
        round_number = only ? atoi(only) : i;
        run_round(calls < CALLS_A_ROUND ? calls : CALLS_A_ROUND);
        if (i <= 1) {  // one of each kind: what is made once and kept is there
            settle();
            read_counters(&before);
        }
        if (only)
            break;
    }
    settle();
    read_counters(&now);
    harness_note("seed %lu: %ld calls made, %ld succeeded, %ld left out, %ld touches refused", seed,
                 report->made, report->succeeded, report->left_out, report->faults);
    if (rounds > 2 && !only)
        compare_counters(&before, &now, 512);
    check_fragmentation();
    munmap(report, PAGE);
}

TEST_LIMIT(memory_calls, 600)
{
    every_call = false;
    run_rounds(harness_rounds(1000000));
}

TEST_LIMIT(every_call, 600)
{
    if (!in_lethe())
        SKIP("not on a machine with other programs");
    every_call = true;
    run_rounds(harness_rounds(1000000));
}
