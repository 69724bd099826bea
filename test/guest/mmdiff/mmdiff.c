// SPDX-License-Identifier: BSD-2-Clause
// The differential memory fuzzer: from a seed, a random sequence of memory calls and touches in a small arena at a
// fixed address, and a transcript of everything a program could notice. The transcript of a seed must be the same
// on Linux and on Lethe, to the byte.
//
//   mmdiff [-n STEPS] [-t THREADS] [-q] [-r TIMES] [-k LIST] FIRST [LAST]
//
//   -n STEPS    steps a seed (default 2000)
//   -t THREADS  that many threads, each in an arena of its own, at once
//   -q          one line a seed with a digest of its transcript, instead of the transcript
//   -r TIMES    each seed so many times. A transcript that is not the first one of its seed and thread
//               is printed with -q too, behind the first, so that a rare difference is seen whole
//   -k LIST     only these steps, as 3,17,40-90; the others are left out. What a step does depends on the
//               seed and its number alone, so that a sequence can be cut down.
//
// What is printed for a step: the call with its arguments in pages of the arena, the result or errno, a signal with
// its code and place, and a digest of some of the memory. Every 50 steps: the arena's areas from /proc/self/maps,
// equal neighbours joined, because Linux does not always join them.
//
// One thread also forks, locks everything to come and moves the break:
// these concern the whole process. With several threads each has its own arena, files and pipe, so that the
// transcripts do not depend on who runs when; what they share is the kernel's.
//
// Which calls and advices are made, and what is left out because Linux itself gives no fixed answer, is told in
// docs/testing.md.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define ARENA_PAGES 1280ul  // 5 MiB: two aligned 2 MiB and a rest
#define ARENA_STRIDE (64ul << 20)
#define ARENA_BASE 0x100000200000ul  // 2 MiB aligned, with room below
#define FILE_PAGES 128ul
#define MAX_THREADS 8
#define N_FILES 3  // the last one with seals
#define SEALED 2
#define N_MARKS \
    20  // digests of the transcript on the way, so that the place of a rare difference is known
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static long n_steps = 2000, n_times = 1;
static bool quiet, alone = true;  // alone: one thread
static const char *chosen;

struct job {
    pthread_t id;
    uint64_t seed;
    int number;
    char *arena;
    int files[N_FILES], pipe[2], self;  // self: a pidfd
    uintptr_t brk;                      // the break at the start, on a page boundary
    uint64_t state;                     // of the random numbers of this step
    uint64_t digest;                    // of the transcript
    char *text;                         // the transcript, when it is wanted
    size_t used, room;
    long step;
    unsigned short marks[N_MARKS];
};

static __thread sigjmp_buf jump;
static __thread volatile sig_atomic_t armed;
static __thread volatile int seen_signal, seen_code;
static __thread uintptr_t volatile seen_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (!armed)
        _exit(99);
    armed = 0;
    seen_signal = signal, seen_code = info->si_code, seen_address = (uintptr_t)info->si_addr;
    siglongjmp(jump, 1);
}

static void say(struct job *job, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (int i = 0; i < n; i++)
        job->digest = (job->digest ^ (unsigned char)line[i]) * 0x100000001b3;
    if (quiet && n_times == 1)
        return;
    if (job->used + (size_t)n > job->room) {
        job->room = (job->room + (size_t)n) * 2;
        char *more =
            mmap(NULL, job->room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(more, job->text, job->used);
        job->text = more;  // the old one stays: this program is short-lived
    }
    memcpy(job->text + job->used, line, (size_t)n);
    job->used += (size_t)n;
}

static uint64_t next_random(struct job *job, uint64_t n)
{
    uint64_t z = (job->state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

static const char *error_name(int error)
{
    switch (error) {
    case EPERM: return "EPERM";
    case EINTR: return "EINTR";
    case EBADF: return "EBADF";
    case EAGAIN: return "EAGAIN";
    case ENOMEM: return "ENOMEM";
    case EACCES: return "EACCES";
    case EFAULT: return "EFAULT";
    case EBUSY: return "EBUSY";
    case EEXIST: return "EEXIST";
    case ENODEV: return "ENODEV";
    case EINVAL: return "EINVAL";
    case ENOSYS: return "ENOSYS";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case ENXIO: return "ENXIO";
    case ESRCH: return "ESRCH";
    case EFBIG: return "EFBIG";
    case ESPIPE: return "ESPIPE";
    case EOVERFLOW: return "EOVERFLOW";
    default: break;
    }
    static __thread char other[16];
    snprintf(other, sizeof other, "errno%d", error);
    return other;
}

static void say_result(struct job *job, long result)
{
    if (result == -1)
        say(job, " = %s\n", error_name(errno));
    else
        say(job, " = %ld\n", result);
}

static void say_address(struct job *job, void *result)
{
    if (result == MAP_FAILED)
        say(job, " = %s\n", error_name(errno));
    else
        say(job, " = %+ld\n", ((char *)result - job->arena) / (long)PAGE);
}

// ---- looking at memory ----

static const unsigned short samples[] = {0, 8, 2048, 4088};

// The samples of one page; a fault is described in *fault.
static uint64_t page_digest(char *page, int *fault)
{
    uint64_t digest = 0;
    *fault = 0;
    if (sigsetjmp(jump, 1) == 0) {
        armed = 1;
        for (size_t i = 0; i < COUNT(samples); i++)
            digest = digest * 31 + *(volatile uint64_t *)(page + samples[i]);
        armed = 0;
        return digest;
    }
    *fault = seen_signal * 100 + (seen_code & 0x3f);
    return (uint64_t)(seen_address - (uintptr_t)page);
}

static uint64_t range_digest(char *start, size_t n)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < n; i++) {
        int fault;
        uint64_t one = page_digest(start + i * PAGE, &fault);
        digest = (digest ^ one ^ ((uint64_t)fault << 48)) * 0x100000001b3 + 1;
    }
    return digest;
}

static void say_digest(struct job *job, size_t at, size_t n)
{
    say(job, "  holds %zu+%zu %016llx\n", at, n,
        (unsigned long long)range_digest(job->arena + at * PAGE, n));
}

// Writes a page's samples, or one of them; false when that faults.
static bool write_page(struct job *job, size_t at, uint64_t value, int only)
{
    char *page = job->arena + at * PAGE;
    if (sigsetjmp(jump, 1) == 0) {
        armed = 1;
        for (size_t i = 0; i < COUNT(samples); i++)
            if (only < 0 || (size_t)only == i)
                *(volatile uint64_t *)(page + samples[i]) = value + i;
        armed = 0;
        return true;
    }
    return false;
}

// ---- the steps ----

struct range {
    size_t at, n;  // in pages; n may reach past the arena's end, into the gap
    uintptr_t start;
    size_t len;  // in bytes, sometimes odd, wild or zero
};

static struct range pick_range(struct job *job)
{
    struct range r;
    uint64_t shape = next_random(job, 64);
    r.n = shape < 40   ? 1 + next_random(job, 16)
          : shape < 56 ? 1 + next_random(job, 100)
                       : 1 + next_random(job, 700);
    r.at = next_random(job, ARENA_PAGES);
    if (next_random(job, 8) == 0)
        r.at &= ~511ul;  // huge-page boundaries
    if (r.at + r.n > ARENA_PAGES)
        r.n = ARENA_PAGES - r.at;
    r.start = (uintptr_t)job->arena + r.at * PAGE;
    r.len = r.n * PAGE;
    switch (next_random(job, 60)) {
    case 0: r.start += 1 + next_random(job, PAGE - 1); break;
    case 1: r.len = 0; break;
    case 2: r.len -= 1 + next_random(job, PAGE - 1); break;
    case 3: r.len = -PAGE * (1 + next_random(job, 3)); break;
    case 4: r.len = ~0ul - next_random(job, 100); break;
    }
    return r;
}

static void say_range(struct job *job, const char *what, const struct range *r)
{
    say(job, "%ld %s %zu%+ld len %ld", job->step, what, r->at,
        (long)(r->start - (uintptr_t)job->arena - r->at * PAGE), (long)r->len);
}

static int pick_protection(struct job *job)
{
    static const int protections[] = {PROT_NONE,
                                      PROT_READ,
                                      PROT_READ | PROT_WRITE,
                                      PROT_READ | PROT_WRITE,
                                      PROT_READ | PROT_WRITE,
                                      PROT_WRITE,
                                      PROT_READ | PROT_EXEC,
                                      PROT_READ | PROT_WRITE | PROT_EXEC};
    return protections[next_random(job, COUNT(protections))];
}

static void step_map(struct job *job)
{
    struct range r = pick_range(job);
    int protection = pick_protection(job);
    uint64_t kind = next_random(job, 10);
    bool shared = next_random(job, 3) == 0;
    int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd = -1, which = -1;
    size_t offset = 0;
    if (kind < 6) {
        flags |= MAP_ANONYMOUS;
    } else {
        which = kind == 9 ? SEALED : (int)(kind % 2);
        fd = job->files[which];
        offset = next_random(job, FILE_PAGES) * PAGE;
        if (shared && next_random(job, 4) == 0)
            flags = (flags & ~MAP_SHARED) | 3;  // SHARED_VALIDATE
    }
    static const int extras[] = {0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 MAP_POPULATE,
                                 MAP_POPULATE | MAP_NONBLOCK,
                                 MAP_NORESERVE,
                                 MAP_LOCKED,
                                 MAP_STACK,
                                 MAP_DENYWRITE,
                                 MAP_GROWSDOWN};
    flags |= extras[next_random(job, COUNT(extras))];
    if (next_random(job, 6) == 0)
        flags = (flags & ~MAP_FIXED) | 0x100000;  // FIXED_NOREPLACE
    say_range(job, "mmap", &r);
    say(job, " prot %d flags %x file %d off %zu", protection, flags, which, offset / PAGE);
    void *result = (void *)syscall(SYS_mmap, r.start, r.len, protection, flags, fd, offset);
    say_address(job, result);
}

static void step_map_hint(struct job *job)
{
    struct range r = pick_range(job);
    say_range(job, "mmap-hint", &r);
    char *result = (char *)syscall(SYS_mmap, r.start & -PAGE, r.len, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED || (uintptr_t)result == (r.start & -PAGE)) {
        say_address(job, result);
    } else {
        say(job, " elsewhere\n");  // where is the kernel's choice
        munmap(result, r.len);
    }
}

static void step_unmap(struct job *job)
{
    struct range r = pick_range(job);
    if (r.n > 64 && next_random(job, 4))
        r.n = 16, r.len = 16 * PAGE;
    say_range(job, "munmap", &r);
    say_result(job, syscall(SYS_munmap, r.start, r.len));
}

static void step_protect(struct job *job)
{
    struct range r = pick_range(job);
    int protection = pick_protection(job);
    // The last is a bit that no architecture knows; 0x10 and 0x20 are Arm's BTI and MTE.
    static const int extras[] = {0, 0, 0, 0, 0, 0, 8 /* SEM */, 0x40};
    protection |= extras[next_random(job, COUNT(extras))];
    uint64_t key = next_random(job, 16);
    say_range(job, key ? "mprotect" : "pkey_mprotect", &r);
    say(job, " prot %d", protection);
    if (key)
        say_result(job, syscall(SYS_mprotect, r.start, r.len, protection));
    else
        say_result(job, syscall(SYS_pkey_mprotect, r.start, r.len, protection, -1));
}

static void step_advise(struct job *job)
{
    static const int advices[] = {0,  1,   2,   3,   4,   4,  4,  4,  4,  4,  8,  9,  10,
                                  11, 14,  15,  16,  17,  18, 19, 20, 21, 22, 22, 23, 23,
                                  24, 102, 102, 103, 103, 5,  6,  7,  26, 99, -1};
    struct range r = pick_range(job);
    int advice = advices[next_random(job, COUNT(advices))];
    say_range(job, "madvise", &r);
    say(job, " advice %d", advice);
    say_result(job, syscall(SYS_madvise, r.start, r.len, advice));
    if (advice == 8)
        syscall(SYS_madvise, r.start, r.len, 4);
}

#define MREMAP_KEEP 4  // MREMAP_DONTUNMAP, which musl does not have

static bool in_arena(const struct job *job, const char *p)
{
    return p >= job->arena && p < job->arena + ARENA_PAGES * PAGE;
}

static void step_remap(struct job *job)
{
    // A fresh source, so that it is one area on Linux too; a third of the time of a file.
    size_t n = 1 + next_random(job, 64), new_n = next_random(job, 3) ? n : 1 + next_random(job, 96);
    size_t at = next_random(job, ARENA_PAGES - 200), to = next_random(job, ARENA_PAGES - 200);
    uint64_t kind = next_random(job, 6);
    char *source = job->arena + at * PAGE;
    int flags = MAP_FIXED | (kind < 3   ? MAP_PRIVATE | MAP_ANONYMOUS
                             : kind < 4 ? MAP_SHARED | MAP_ANONYMOUS
                             : kind < 5 ? MAP_SHARED
                                        : MAP_PRIVATE);
    syscall(SYS_mmap, source, n * PAGE, PROT_READ | PROT_WRITE, flags,
            flags & MAP_ANONYMOUS ? -1 : job->files[0], 0);
    for (size_t i = 0; i < n; i += 1 + next_random(job, 5))
        write_page(job, at + i, (uint64_t)job->step * 1000 + i, -1);
    if (next_random(job, 5) == 0)
        madvise(source + n / 2 * PAGE, PAGE, 102);  // a guard moves along
    if (next_random(job, 8) == 0)
        mlock(source, n * PAGE);
    static const int how[] = {0,
                              0,
                              MREMAP_MAYMOVE | MREMAP_FIXED,
                              MREMAP_MAYMOVE | MREMAP_FIXED,
                              MREMAP_MAYMOVE | MREMAP_FIXED,
                              MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_KEEP,
                              MREMAP_MAYMOVE | MREMAP_KEEP,
                              MREMAP_MAYMOVE,
                              MREMAP_FIXED,
                              16};
    int mode = how[next_random(job, COUNT(how))];
    size_t old_len = next_random(job, 8) ? n * PAGE : 0;  // 0: a second mapping
    if (next_random(job, 6) == 0)
        to = at + next_random(job, 40);  // over itself
    if (mode & MREMAP_KEEP) {  // Linux unlocks the whole area that the source has become part of
        munmap(source - PAGE, at ? PAGE : 0);
        munmap(source + n * PAGE, PAGE);
    }
    say(job, "%ld mremap %zu+%zu kind %d to %zu+%zu mode %d", job->step, at, old_len / PAGE,
        (int)kind, to, new_n, mode);
    char *result =
        (char *)syscall(SYS_mremap, source, old_len, new_n * PAGE, mode, job->arena + to * PAGE);
    if (result == MAP_FAILED || in_arena(job, result)) {
        say_address(job, result);
        if (result != MAP_FAILED)
            say_digest(job, (size_t)(result - job->arena) / PAGE, new_n);
        return;
    }
    say(job, " elsewhere %016llx\n", (unsigned long long)range_digest(result, new_n));
    munmap(result, new_n * PAGE);
}

static void step_write(struct job *job)
{
    size_t at = next_random(job, ARENA_PAGES), n = 1 + next_random(job, 12);
    int only = next_random(job, 3) ? -1 : (int)next_random(job, COUNT(samples));
    if (at + n > ARENA_PAGES)
        n = ARENA_PAGES - at;
    say(job, "%ld write %zu+%zu\n", job->step, at, n);
    for (size_t i = 0; i < n; i++)
        if (!write_page(job, at + i, (uint64_t)job->step << 16 | i, only))
            say(job, "  page %zu: signal %d code %d at %+ld\n", i, seen_signal, seen_code,
                (long)(seen_address - (uintptr_t)job->arena) - (long)((at + i) * PAGE));
}

static void step_read(struct job *job)
{
    size_t at = next_random(job, ARENA_PAGES), n = 1 + next_random(job, 40);
    if (at + n > ARENA_PAGES)
        n = ARENA_PAGES - at;
    say(job, "%ld read\n", job->step);
    say_digest(job, at, n);
}

static void step_touch(struct job *job)
{
    size_t at = next_random(job, ARENA_PAGES), offset = next_random(job, PAGE);
    volatile char *p = job->arena + at * PAGE + offset;
    bool store = next_random(job, 2);
    if (sigsetjmp(jump, 1) == 0) {
        armed = 1;
        if (store)
            *p = *p;
        else
            (void)*p;
        armed = 0;
        say(job, "%ld touch %zu+%zu\n", job->step, at, offset);
    } else {
        say(job, "%ld touch %zu+%zu signal %d code %d at %+ld\n", job->step, at, offset,
            seen_signal, seen_code, (long)(seen_address - (uintptr_t)p));
    }
}

// Writes zeros from the end of a file to the end of its last page.
static void clear_tail(int fd)
{
    static const char zeros[PAGE];
    off_t size = lseek(fd, 0, SEEK_END);
    if (size % (off_t)PAGE)
        pwrite(fd, zeros, PAGE - (size_t)size % PAGE, size);
}

static void step_kernel_access(struct job *job)
{
    // read(2) and write(2) from and to the arena, within one page.
    size_t at = next_random(job, ARENA_PAGES);
    char *p = job->arena + at * PAGE + 64;
    uint64_t word = 0;
    if (next_random(job, 2)) {
        say(job, "%ld copy out %zu", job->step, at);
        long n = write(job->pipe[1], p, 8);
        say_result(job, n);
        if (n > 0 && read(job->pipe[0], &word, 8) == 8)
            say(job, "  %llx\n", (unsigned long long)word);
    } else {
        word = (uint64_t)job->step;
        say(job, "%ld copy in %zu", job->step, at);
        if (write(job->pipe[1], &word, 8) != 8)
            say(job, " (no room)");
        long n = read(job->pipe[0], p, 8);
        say_result(job, n);
        if (n != 8 && read(job->pipe[0], &word, 8) != 8)
            say(job, "  the data is lost\n");
    }
}

static void write_file(struct job *job, int which, size_t page)
{
    uint64_t words[512];
    for (size_t i = 0; i < 512; i++)
        words[i] = (uint64_t)job->step * 7 + i;
    say(job, "%ld pwrite %d %zu", job->step, which, page);
    clear_tail(job->files[which]);
    say_result(job, pwrite(job->files[which], words, PAGE, (off_t)(page * PAGE)));
}

static void read_file(struct job *job, int which, size_t page)
{
    uint64_t words[512] = {0};
    say(job, "%ld pread %d %zu", job->step, which, page);
    say_result(job, pread(job->files[which], words, PAGE, (off_t)(page * PAGE)));
    say(job, "  %llx %llx %llx\n", (unsigned long long)words[0], (unsigned long long)words[256],
        (unsigned long long)words[511]);
}

// Which pages of a file are there: mincore(2) and the two lseek(2). All are brought in and some thrown out before,
// because pages that were only read go when Linux likes.
static void look_at_pages(struct job *job, int which, size_t page, size_t n)
{
    unsigned char resident[FILE_PAGES] = {0};
    int fd = job->files[which];
    clear_tail(fd);
    char *p = mmap(NULL, FILE_PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    say(job, "%ld pages of %d", job->step, which);
    say_result(job, madvise(p, FILE_PAGES * PAGE, 22));
    fallocate(fd, 3, (off_t)(page * PAGE), (off_t)((1 + n % 16) * PAGE));
    say_result(job, mincore(p, FILE_PAGES * PAGE, resident));
    for (size_t i = 0; i < FILE_PAGES; i++)
        say(job, resident[i] & 1 ? "X" : i % 10 ? "." : "0");
    say(job, "\n  lseek %zu", page);
    off_t data = lseek(fd, (off_t)(page * PAGE), SEEK_DATA), end = FILE_PAGES * PAGE;
    off_t hole = lseek(fd, (off_t)(n / 2 * PAGE), SEEK_HOLE);
    // Behind the pages that were brought in nobody knows.
    say(job, " = %ld %ld\n", data < end ? (long)data : -1, hole < end ? (long)hole : -1);
    munmap(p, FILE_PAGES * PAGE);
}

static void step_file(struct job *job)
{
    int which = (int)next_random(job, N_FILES), fd = job->files[which];
    size_t page = next_random(job, FILE_PAGES), n = next_random(job, FILE_PAGES + 40);
    size_t size = n * PAGE - (n && page % 3 == 0 ? 100 : 0);
    static const int modes[] = {0, 1, 3, 2, 8, 16, 0x40};
    switch (next_random(job, 8)) {
    case 0:
        say(job, "%ld ftruncate %d %zu", job->step, which, size);
        say_result(job, ftruncate(fd, (off_t)size));
        break;
    case 1: write_file(job, which, page); break;
    case 2: read_file(job, which, page); break;
    case 3:
        say(job, "%ld punch %d %zu", job->step, which, page);
        say_result(job, fallocate(fd, 3, (off_t)(page * PAGE), (off_t)((1 + n % 8) * PAGE)));
        break;
    case 4:
        say(job, "%ld extend %d", job->step, which);
        clear_tail(fd);
        say_result(job, ftruncate(fd, FILE_PAGES * PAGE));
        break;
    case 5: {
        if (which == SEALED)
            fd = job->files[0];
        int mode = modes[next_random(job, COUNT(modes))];
        say(job, "%ld fallocate %d %zu+%zu mode %d", job->step, which, page, n % 8, mode);
        clear_tail(fd);
        long result = fallocate(fd, mode, (off_t)(page * PAGE), (off_t)(n % 8 * PAGE));
        say_result(job, result);
        // Pages that are there but were never written count as a hole on Linux and as data in Lethe.
        if (result == 0 && mode < 2 && fallocate(fd, 3, (off_t)(page * PAGE), 8 * PAGE) != 0)
            say(job, "  they stay\n");
        break;
    }
    case 6: look_at_pages(job, which, page, n); break;
    case 7: write_file(job, which, page); break;
    }
}

static void open_sealed(struct job *job)
{
    job->files[SEALED] = (int)syscall(SYS_memfd_create, "two", 2u /* MFD_ALLOW_SEALING */);
    if (job->files[SEALED] < 0 || ftruncate(job->files[SEALED], FILE_PAGES * PAGE) != 0)
        perror("memfd"), exit(3);
}

// Seals never go, so the file is a new one when it has many.
static void step_seal(struct job *job)
{
    static const int seals[] = {2,  4, 8,
                                16, 6, 1};  // SHRINK GROW WRITE FUTURE_WRITE, both sizes, SEAL
    int seal = seals[next_random(job, COUNT(seals))], fd = job->files[SEALED];
    int have = fcntl(fd, 1034 /* F_GET_SEALS */);
    if (have & 9 || next_random(job, 4) == 0) {
        say(job, "%ld a new sealed file after %d\n", job->step, have);
        close(fd);
        open_sealed(job);
        return;
    }
    say(job, "%ld seal %d", job->step, seal);
    say_result(job, fcntl(fd, 1033 /* F_ADD_SEALS */, seal));
}

static void step_lock(struct job *job)
{
    struct range r = pick_range(job);
    uint64_t what = next_random(job, 5);
    if (what == 0) {
        say_range(job, "mlock", &r);
        say_result(job, syscall(SYS_mlock, r.start, r.len));
    } else if (what == 1) {
        say_range(job, "mlock2-onfault", &r);
        say_result(job, syscall(SYS_mlock2, r.start, r.len, 1));
    } else {
        say_range(job, "munlock", &r);
        say_result(job, syscall(SYS_munlock, r.start, r.len));
    }
}

static void step_ask(struct job *job)
{
    struct range r = pick_range(job);
    static __thread unsigned char resident[ARENA_PAGES];
    if (next_random(job, 2)) {
        say_range(job, "mincore", &r);
        say_result(job, syscall(SYS_mincore, r.start, r.len, resident));
    } else {
        int flags = (int)next_random(job, 8);
        say_range(job, "msync", &r);
        say(job, " flags %d", flags);
        say_result(job, syscall(SYS_msync, r.start, r.len, flags));
    }
}

// An area that grows downwards, in a place made free for it.
static void step_grow(struct job *job)
{
    size_t room = 2 + next_random(job, 300), n = 1 + next_random(job, 4);
    size_t at = next_random(job, ARENA_PAGES - 310), low = next_random(job, room);
    char *start = job->arena + at * PAGE, *area = start + room * PAGE;
    munmap(start, (room + n) * PAGE);
    say(job, "%ld stack %zu+%zu+%zu down to %zu", job->step, at, room, n, low);
    say_address(job, mmap(area, n * PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
    bool wrote = write_page(job, at + low, (uint64_t)job->step, -1);
    say(job, "  %s\n", wrote ? "grown" : "refused");
    if (!wrote)
        say(job, "  signal %d code %d at %+ld\n", seen_signal, seen_code,
            (long)(seen_address - (uintptr_t)start) / (long)PAGE - (long)low);
    if (next_random(job, 2)) {
        say(job, "  protected down");
        say_result(job, syscall(SYS_mprotect, area + (n - 1) * PAGE, PAGE,
                                PROT_READ | 0x01000000 /* GROWSDOWN */));
    }
    say_digest(job, at, room + n);
}

// How many of the range's entries are present: none after DONTNEED, all after populating.
static void say_present(struct job *job, const struct range *r)
{
    static __thread uint64_t entries[ARENA_PAGES];
    int fd = open("/proc/self/pagemap", O_RDONLY);
    ssize_t n = pread(fd, entries, r->n * 8, (off_t)(r->start / PAGE * 8));
    size_t present = 0;
    for (size_t i = 0; n > 0 && i < (size_t)n / 8; i++)
        present += entries[i] >> 63;
    say(job, "  %zu of %zd entries present\n", present, n / 8);
    close(fd);
}

static void step_present(struct job *job)
{
    struct range r = pick_range(job);
    int write = (int)next_random(job, 2);
    r.start = (uintptr_t)job->arena + r.at * PAGE, r.len = r.n * PAGE;
    say_range(job, "present", &r);
    long result = syscall(SYS_madvise, r.start, r.len, 4);
    say_result(job, result);
    if (result == 0)
        say_present(job, &r);
    result = syscall(SYS_madvise, r.start, r.len, 22 + write);
    say_result(job, result);
    if (result == 0)
        say_present(job, &r);
}

static void step_advise_vector(struct job *job)
{
    static const int advices[] = {3, 4, 4, 4, 20, 21, 99};
    struct iovec parts[3];
    size_t n = 1 + next_random(job, COUNT(parts));
    int advice = advices[next_random(job, COUNT(advices))];
    for (size_t i = 0; i < n; i++) {
        struct range r = pick_range(job);
        say_range(job, "part", &r);
        say(job, "\n");
        parts[i] = (struct iovec){(void *)r.start, r.len};
    }
    int flags = next_random(job, 12) == 0;
    say(job, "%ld process_madvise %zu advice %d flags %d", job->step, n, advice, flags);
    say_result(job, syscall(SYS_process_madvise, job->self, parts, n, advice, flags));
}

// remap_file_pages(2) in a fresh shared mapping, so that it is one area on Linux too.
static void step_rearrange(struct job *job)
{
    size_t n = 4 + next_random(job, 40), at = next_random(job, ARENA_PAGES - 50);
    size_t first = next_random(job, n), count = 1 + next_random(job, n - first);
    size_t page = next_random(job, FILE_PAGES);
    char *start = job->arena + at * PAGE;
    int which = (int)next_random(job, 2);
    mmap(start, n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, job->files[which], 0);
    for (size_t i = 0; i < n; i += 3)
        write_page(job, at + i, (uint64_t)job->step * 77 + i, -1);
    say(job, "%ld remap_file_pages %zu+%zu of %d, %zu+%zu to %zu", job->step, at, n, which, first,
        count, page);
    say_result(job, syscall(SYS_remap_file_pages, start + first * PAGE, count * PAGE, 0, page, 0));
    say_digest(job, at, n);
}

// A System V segment over a part of the arena; it goes with its last mapping.
static void step_segment(struct job *job)
{
    size_t n = 1 + next_random(job, 40), at = next_random(job, ARENA_PAGES - 50);
    int flags = (next_random(job, 4) ? SHM_REMAP : 0) | (next_random(job, 3) ? 0 : SHM_RDONLY);
    int id = shmget(IPC_PRIVATE, n * PAGE - next_random(job, 2) * 100, IPC_CREAT | 0600);
    say(job, "%ld shmat %zu+%zu flags %d", job->step, at, n, flags);
    char *p = shmat(id, job->arena + at * PAGE, flags);
    say_address(job, p);
    shmctl(id, IPC_RMID, NULL);
    if (p == MAP_FAILED)
        return;
    write_page(job, at, (uint64_t)job->step, -1);
    say_digest(job, at, n);
    if (next_random(job, 3) == 0) {
        say(job, "%ld shmdt", job->step);
        say_result(job, shmdt(p));
    }
}

// ---- steps of the whole process: one thread only ----

// What a child sees of a range, and after it wrote to some of it; then what the parent sees.
static void step_fork(struct job *job)
{
    size_t at = next_random(job, ARENA_PAGES - 100), n = 1 + next_random(job, 100);
    size_t write_at = at + next_random(job, n), seals = next_random(job, 3);
    uint64_t seen[3] = {0};
    say(job, "%ld fork %zu+%zu %zu\n", job->step, at, n, write_at);
    pid_t child = fork();
    if (child == 0) {
        char *start = job->arena + at * PAGE;
        seen[0] = range_digest(start, n);
        for (size_t i = write_at; i < write_at + 8 && i < ARENA_PAGES; i++)
            write_page(job, i, (uint64_t)job->step * 99 + i, -1);
        if (seals == 0) {  // a sealed range may be looked at, but not changed
            seen[2] = (uint64_t)syscall(462 /* mseal */, start, n * PAGE, 0) + 1;
            seen[2] = seen[2] * 10 + (uint64_t)munmap(start, PAGE) + 1;
            seen[2] = seen[2] * 10 + (uint64_t)mprotect(start, n * PAGE, PROT_READ) + 1;
            seen[2] = seen[2] * 10 + (uint64_t)madvise(start, PAGE, MADV_DONTNEED) + 1;
            seen[2] = seen[2] * 10 + (mremap(start, PAGE, 2 * PAGE, 1) == MAP_FAILED);
            seen[2] = seen[2] * 10 + (uint64_t)mlock(start, PAGE) + 1;
        }
        seen[1] = range_digest(start, n);
        _exit(write(job->pipe[1], seen, sizeof seen) != sizeof seen);
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (read(job->pipe[0], seen, sizeof seen) != sizeof seen)
        say(job, "  nothing from the child\n");
    say(job, "  status %d, child %016llx, then %016llx, sealed %llu\n", status,
        (unsigned long long)seen[0], (unsigned long long)seen[1], (unsigned long long)seen[2]);
    say_digest(job, at, n);
}

static void step_lock_all(struct job *job)
{
    static const int flags[] = {2 | 4, 2 | 4, 1 | 4, 4, 8, 0};  // CURRENT 1, FUTURE 2, ONFAULT 4
    if (next_random(job, 3)) {
        say(job, "%ld munlockall", job->step);
        say_result(job, syscall(SYS_munlockall));
        return;
    }
    int how = flags[next_random(job, COUNT(flags))];
    say(job, "%ld mlockall %d", job->step, how);
    say_result(job, syscall(SYS_mlockall, how));
}

static void step_break(struct job *job)
{
    uintptr_t to = job->brk + next_random(job, 60) * PAGE - (next_random(job, 4) ? 0 : 100);
    uintptr_t at = (uintptr_t)syscall(SYS_brk, to);
    say(job, "%ld brk %+ld = %+ld\n", job->step, (long)(to - job->brk), (long)(at - job->brk));
    size_t n = at > job->brk ? (at - job->brk) / PAGE : 0;
    say(job, "  %016llx\n", (unsigned long long)range_digest((char *)job->brk, n));
    for (size_t i = next_random(job, 8); i < n; i += 1 + next_random(job, 8))
        *(volatile uint64_t *)(job->brk + i * PAGE) = (uint64_t)job->step;
}

// ---- the arena's areas ----

struct area {
    uintptr_t start, end;
    char perms[8], kind;
    unsigned long offset;
};

static bool joins(const struct area *a, const struct area *b)
{
    if (a->end != b->start || a->kind != b->kind || strcmp(a->perms, b->perms) != 0)
        return false;
    return a->kind > '2' || a->offset + (a->end - a->start) == b->offset;
}

static void say_area(struct job *job, const struct area *a)
{
    if (a->end > a->start)
        say(job, "  area %ld+%ld %s %c %ld\n",
            (long)(a->start - (uintptr_t)job->arena) / (long)PAGE,
            (long)(a->end - a->start) / (long)PAGE, a->perms, a->kind,
            a->kind <= '2' ? (long)(a->offset / PAGE) : 0L);
}

static void say_maps(struct job *job)
{
    static __thread char line[512];
    char chunk[4096];
    int fd = open("/proc/self/maps", O_RDONLY);
    struct area last = {.end = 0};
    uintptr_t end = (uintptr_t)job->arena + ARENA_PAGES * PAGE;
    size_t used = 0;
    ssize_t n;
    say(job, "%ld maps\n", job->step);
    while ((n = read(fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] != '\n') {
                if (used < sizeof line - 1)
                    line[used++] = chunk[i];
                continue;
            }
            line[used] = 0, used = 0;
            struct area a = {.kind = 'a'};
            if (sscanf(line, "%lx-%lx %7s %lx", &a.start, &a.end, a.perms, &a.offset) < 4 ||
                a.end <= (uintptr_t)job->arena || a.start >= end)
                continue;
            a.kind = strstr(line, "memfd:zero")  ? '0'
                     : strstr(line, "memfd:one") ? '1'
                     : a.perms[3] == 's'         ? 's'
                                                 : 'a';
            if (joins(&last, &a)) {
                last.end = a.end;
                continue;
            }
            say_area(job, &last);
            last = a;
        }
    }
    say_area(job, &last);
    close(fd);
}

// ---- a seed ----

static bool is_chosen(long step)
{
    if (!chosen)
        return true;
    const char *at = chosen;
    while (*at) {
        char *end;
        long first = strtol(at, &end, 10), last = first;
        if (*end == '-')
            last = strtol(end + 1, &end, 10);
        if (step >= first && step <= last)
            return true;
        at = *end ? end + 1 : end;
    }
    return false;
}

static void one_step(struct job *job)
{
    static void (*const steps[])(struct job *) = {
        step_map,     step_map,     step_map,           step_map,           step_map,
        step_map,     step_map,     step_map,           step_map_hint,      step_unmap,
        step_unmap,   step_unmap,   step_unmap,         step_protect,       step_protect,
        step_protect, step_protect, step_protect,       step_protect,       step_advise,
        step_advise,  step_advise,  step_advise,        step_advise,        step_advise,
        step_advise,  step_advise,  step_advise,        step_advise,        step_advise_vector,
        step_remap,   step_remap,   step_remap,         step_write,         step_write,
        step_write,   step_write,   step_write,         step_write,         step_write,
        step_write,   step_write,   step_read,          step_read,          step_read,
        step_read,    step_touch,   step_touch,         step_touch,         step_touch,
        step_file,    step_file,    step_kernel_access, step_kernel_access, step_lock,
        step_file,    step_file,    step_file,          step_ask,           step_lock,
        step_seal,    step_grow,    step_present,       step_rearrange,     step_segment};
    static void (*const process_steps[])(struct job *) = {step_fork, step_lock_all, step_break};
    job->state = job->seed * 0x9e3779b97f4a7c15 + (uint64_t)job->step * 0xd1342543de82ef95 +
                 (uint64_t)job->number;
    next_random(job, 2);
    if (alone && next_random(job, 20) == 0)
        process_steps[next_random(job, COUNT(process_steps))](job);
    else
        steps[next_random(job, COUNT(steps))](job);
    if (job->step % 10 == 9) {
        size_t at = next_random(job, ARENA_PAGES - 64);
        say_digest(job, at, 64);
    }
    if (job->step % 50 == 49)
        say_maps(job);
}

static void open_files(struct job *job)
{
    static const char *const names[] = {"zero", "one"};
    for (int i = 0; i < 2; i++) {
        job->files[i] = (int)syscall(SYS_memfd_create, names[i], 1u);
        if (job->files[i] < 0 || ftruncate(job->files[i], FILE_PAGES * PAGE) != 0)
            perror("memfd"), exit(3);
    }
    open_sealed(job);
    if (pipe(job->pipe) != 0)
        perror("pipe"), exit(3);
    job->self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    job->brk = ((uintptr_t)syscall(SYS_brk, 0) + PAGE - 1) & -PAGE;
}

static void close_files(struct job *job)
{
    for (int i = 0; i < N_FILES; i++)
        close(job->files[i]);
    close(job->pipe[0]), close(job->pipe[1]), close(job->self);
    if (alone)
        syscall(SYS_brk, job->brk), syscall(SYS_munlockall);
}

// What the arena holds before the first step depends on the seed: nothing, private memory, or files.
static void start_arena(struct job *job)
{
    size_t half = ARENA_PAGES / 2 * PAGE;
    if (job->seed % 4 == 1 || job->seed % 4 == 2)
        mmap(job->arena, 2 * half, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0);
    if (job->seed % 8 == 2)
        for (size_t i = 0; i < ARENA_PAGES; i++)
            write_page(job, i, job->seed + i, -1);
    if (job->seed % 4 == 3) {
        mmap(job->arena, half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
        mmap(job->arena + half, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
             job->files[0], 0);
    }
}

static void *run_seed(void *argument)
{
    struct job *job = argument;
    job->digest = 0xcbf29ce484222325;
    job->arena = (char *)(ARENA_BASE + (uintptr_t)job->number * ARENA_STRIDE);
    job->used = 0;
    open_files(job);
    start_arena(job);
    for (job->step = 0; job->step < n_steps; job->step++) {
        if (is_chosen(job->step))
            one_step(job);
        job->marks[job->step * N_MARKS / n_steps] = (unsigned short)(job->digest >> 20);
    }
    say_digest(job, 0, ARENA_PAGES);
    say_maps(job);
    munmap(job->arena, ARENA_PAGES * PAGE);
    close_files(job);
    return NULL;
}

static void put(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);
        if (n <= 0)
            exit(3);
        text += n, len -= (size_t)n;
    }
}

// What the first time said. A later one that says something else is told with it.
static void keep_or_compare(struct job *job, long time)
{
    static struct first {
        uint64_t digest;
        char *text;
        size_t used;
    } firsts[MAX_THREADS];
    struct first *first = &firsts[job->number];
    char line[100];
    if (time == 0) {
        free(first->text);
        *first = (struct first){job->digest, malloc(job->used), job->used};
        memcpy(first->text, job->text, job->used);
    } else if (job->digest != first->digest) {
        put(line, (size_t)sprintf(line, "# seed %lu thread %d, the first time:\n",
                                  (unsigned long)job->seed, job->number));
        put(first->text, first->used);
        put(line, (size_t)sprintf(line, "# time %ld:\n", time + 1));
        put(job->text, job->used);
        put(line, (size_t)sprintf(line, "# end\n"));
    }
}

static void tell(struct job *job, long time)
{
    char line[100 + 5 * N_MARKS];
    if (n_times > 1)
        keep_or_compare(job, time);
    if (!quiet)
        put(job->text, job->used);
    int n = snprintf(line, sizeof line, "seed %lu thread %d %016llx", (unsigned long)job->seed,
                     job->number, (unsigned long long)job->digest);
    for (int k = 0; k < N_MARKS; k++)
        n += snprintf(line + n, sizeof line - (size_t)n, ".%04x", job->marks[k]);
    line[n++] = '\n';
    put(line, (size_t)n);
}

// => false: no threads could be made
static bool run_all(struct job *jobs, int threads, unsigned long seed, long time)
{
    for (int i = 0; i < threads; i++) {
        jobs[i].seed = seed, jobs[i].number = i;
        if (threads == 1)
            run_seed(&jobs[0]);
        else if (pthread_create(&jobs[i].id, NULL, run_seed, &jobs[i]) != 0)
            return false;
    }
    for (int i = 0; i < threads; i++) {
        if (threads > 1)
            pthread_join(jobs[i].id, NULL);
        tell(&jobs[i], time);
    }
    return true;
}

int main(int argc, char **argv)
{
    int option, threads = 1;
    while ((option = getopt(argc, argv, "n:t:qr:k:")) != -1) {
        switch (option) {
        case 'n': n_steps = atol(optarg); break;
        case 'r': n_times = atol(optarg); break;
        case 't': threads = atoi(optarg); break;
        case 'q': quiet = true; break;
        case 'k': chosen = optarg; break;
        default: return 2;
        }
    }
    if (optind >= argc || threads < 1 || threads > MAX_THREADS) {
        fputs("usage: mmdiff [-n STEPS] [-t THREADS] [-q] [-r TIMES] [-k LIST] FIRST [LAST]\n",
              stderr);
        return 2;
    }
    alone = threads == 1;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    unsigned long first = strtoul(argv[optind], NULL, 10),
                  last = optind + 1 < argc ? strtoul(argv[optind + 1], NULL, 10) : first;
    static struct job jobs[MAX_THREADS];
    for (unsigned long seed = first; seed <= last; seed++)
        for (long time = 0; time < n_times; time++)
            if (!run_all(jobs, threads, seed, time))
                return 3;
    return 0;
}
