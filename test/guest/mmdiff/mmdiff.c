// SPDX-License-Identifier: BSD-2-Clause
// The differential memory fuzzer: from a seed, a random sequence of memory calls and touches in a small arena at a
// fixed address, and a transcript of everything a program could notice. The transcript of a seed must be the same
// on Linux and on Lethe, to the byte.
//
//   mmdiff [-n STEPS] [-t THREADS] [-q] [-k LIST] FIRST [LAST]
//
//   -n STEPS    steps a seed (default 2000)
//   -t THREADS  that many threads, each in an arena of its own, at once
//   -q          one line a seed with a digest of its transcript, instead of the transcript
//   -k LIST     only these steps, as 3,17,40-90; the others are left out. What a step does depends on the
//               seed and its number alone, so that a sequence can be cut down.
//
// What is printed for a step: the call with its arguments in pages of the arena, the result or errno, a signal with
// its code and place, and a digest of some of the memory. Every 50 steps: the arena's areas from /proc/self/maps,
// equal neighbours joined, because Linux does not always join them.
//
// Not done, because Linux itself gives no fixed answer: addresses that the kernel chooses; what MADV_FREE leaves (each
// one is followed by DONTNEED); residency; MADV_COLLAPSE and MERGEABLE, which depend on the configuration;
// mremap of memory that may be several areas on Linux and one here (its source is mapped afresh each time); what a
// mapping left behind a file's end when a write makes the file longer (tmpfs keeps it, other file systems do not).
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ul
#define ARENA_PAGES 1280ul  // 5 MiB: two aligned 2 MiB and a rest
#define ARENA_STRIDE (64ul << 20)
#define ARENA_BASE 0x100000200000ul  // 2 MiB aligned, with room below
#define FILE_PAGES 128ul
#define MAX_THREADS 8
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static long n_steps = 2000;
static bool quiet;
static const char *chosen;

struct job {
    pthread_t id;
    uint64_t seed;
    int number;
    char *arena;
    int files[2], pipe[2];
    uint64_t state;   // of the random numbers of this step
    uint64_t digest;  // of the transcript
    char *text;       // the transcript, when it is wanted
    size_t used, room;
    long step;
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
    if (quiet)
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

static void say_digest(struct job *job, size_t at, size_t n)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < n; i++) {
        int fault;
        uint64_t one = page_digest(job->arena + (at + i) * PAGE, &fault);
        digest = (digest ^ one ^ ((uint64_t)fault << 48)) * 0x100000001b3 + 1;
    }
    say(job, "  holds %zu+%zu %016llx\n", at, n, (unsigned long long)digest);
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
    int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd = -1;
    size_t offset = 0;
    if (kind < 6) {
        flags |= MAP_ANONYMOUS;
    } else {
        fd = job->files[kind % 2];
        offset = next_random(job, FILE_PAGES) * PAGE;
    }
    static const int extras[] = {0, 0, 0, 0, MAP_POPULATE, MAP_NORESERVE, MAP_LOCKED, MAP_STACK};
    flags |= extras[next_random(job, COUNT(extras))];
    if (next_random(job, 6) == 0)
        flags = (flags & ~MAP_FIXED) | 0x100000;  // FIXED_NOREPLACE
    say_range(job, "mmap", &r);
    say(job, " prot %d flags %x file %d off %zu", protection, flags, fd < 0 ? -1 : (int)(kind % 2),
        offset / PAGE);
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
    say_range(job, "mprotect", &r);
    say(job, " prot %d", protection);
    say_result(job, syscall(SYS_mprotect, r.start, r.len, protection));
}

static void step_advise(struct job *job)
{
    static const int advices[] = {0,  1,  2,  3,   4,   4,   4,   4,  4,  4,  8,  9,
                                  10, 11, 14, 15,  16,  17,  18,  19, 20, 21, 22, 22,
                                  23, 23, 24, 102, 102, 103, 103, 5,  26, 99};
    struct range r = pick_range(job);
    int advice = advices[next_random(job, COUNT(advices))];
    say_range(job, "madvise", &r);
    say(job, " advice %d", advice);
    say_result(job, syscall(SYS_madvise, r.start, r.len, advice));
    if (advice == 8)
        syscall(SYS_madvise, r.start, r.len, 4);
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
                              MREMAP_MAYMOVE | MREMAP_FIXED | 4 /* DONTUNMAP */,
                              MREMAP_FIXED,
                              16};
    int mode = how[next_random(job, COUNT(how))];
    say(job, "%ld mremap %zu+%zu kind %d to %zu+%zu mode %d", job->step, at, n, (int)kind, to,
        new_n, mode);
    void *result =
        (void *)syscall(SYS_mremap, source, n * PAGE, new_n * PAGE, mode, job->arena + to * PAGE);
    say_address(job, result);
    if (result != MAP_FAILED)
        say_digest(job, (size_t)((char *)result - job->arena) / PAGE, new_n);
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

static void step_file(struct job *job)
{
    int which = (int)next_random(job, 2), fd = job->files[which];
    size_t page = next_random(job, FILE_PAGES), n = next_random(job, FILE_PAGES + 40);
    uint64_t words[512];
    switch (next_random(job, 5)) {
    case 0:
        say(job, "%ld ftruncate %d %zu", job->step, which,
            n * PAGE - (n && page % 3 == 0 ? 100 : 0));
        say_result(job, ftruncate(fd, (off_t)(n * PAGE - (n && page % 3 == 0 ? 100 : 0))));
        break;
    case 1:
        for (size_t i = 0; i < 512; i++)
            words[i] = (uint64_t)job->step * 7 + i;
        say(job, "%ld pwrite %d %zu", job->step, which, page);
        clear_tail(fd);
        say_result(job, pwrite(fd, words, PAGE, (off_t)(page * PAGE)));
        break;
    case 2:
        memset(words, 0, sizeof words);
        say(job, "%ld pread %d %zu", job->step, which, page);
        say_result(job, pread(fd, words, PAGE, (off_t)(page * PAGE)));
        say(job, "  %llx %llx %llx\n", (unsigned long long)words[0], (unsigned long long)words[256],
            (unsigned long long)words[511]);
        break;
    case 3:
        say(job, "%ld punch %d %zu", job->step, which, page);
        say_result(job, fallocate(fd, 3, (off_t)(page * PAGE), (off_t)((1 + n % 8) * PAGE)));
        break;
    case 4:
        say(job, "%ld extend %d", job->step, which);
        say_result(job, ftruncate(fd, FILE_PAGES * PAGE));
        break;
    }
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
    return (a->kind != '0' && a->kind != '1') || a->offset + (a->end - a->start) == b->offset;
}

static void say_area(struct job *job, const struct area *a)
{
    if (a->end > a->start)
        say(job, "  area %ld+%ld %s %c %ld\n",
            (long)(a->start - (uintptr_t)job->arena) / (long)PAGE,
            (long)(a->end - a->start) / (long)PAGE, a->perms, a->kind,
            a->kind == '0' || a->kind == '1' ? (long)(a->offset / PAGE) : 0L);
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
        step_map,    step_map,           step_map,     step_map,     step_map_hint, step_unmap,
        step_unmap,  step_protect,       step_protect, step_protect, step_advise,   step_advise,
        step_advise, step_advise,        step_advise,  step_remap,   step_write,    step_write,
        step_write,  step_write,         step_write,   step_read,    step_read,     step_touch,
        step_touch,  step_kernel_access, step_file,    step_file,    step_lock,     step_ask};
    job->state = job->seed * 0x9e3779b97f4a7c15 + (uint64_t)job->step * 0xd1342543de82ef95 +
                 (uint64_t)job->number;
    next_random(job, 2);
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
    if (pipe(job->pipe) != 0)
        perror("pipe"), exit(3);
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
    for (job->step = 0; job->step < n_steps; job->step++)
        if (is_chosen(job->step))
            one_step(job);
    say_digest(job, 0, ARENA_PAGES);
    say_maps(job);
    munmap(job->arena, ARENA_PAGES * PAGE);
    close(job->files[0]), close(job->files[1]), close(job->pipe[0]), close(job->pipe[1]);
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

int main(int argc, char **argv)
{
    int option, threads = 1;
    while ((option = getopt(argc, argv, "n:t:qk:")) != -1) {
        switch (option) {
        case 'n': n_steps = atol(optarg); break;
        case 't': threads = atoi(optarg); break;
        case 'q': quiet = true; break;
        case 'k': chosen = optarg; break;
        default: return 2;
        }
    }
    if (optind >= argc || threads < 1 || threads > MAX_THREADS) {
        fputs("usage: mmdiff [-n STEPS] [-t THREADS] [-q] [-k LIST] FIRST [LAST]\n", stderr);
        return 2;
    }
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    unsigned long first = strtoul(argv[optind], NULL, 10),
                  last = optind + 1 < argc ? strtoul(argv[optind + 1], NULL, 10) : first;
    static struct job jobs[MAX_THREADS];
    for (unsigned long seed = first; seed <= last; seed++) {
        for (int i = 0; i < threads; i++) {
            jobs[i].seed = seed, jobs[i].number = i;
            if (threads == 1)
                run_seed(&jobs[0]);
            else if (pthread_create(&jobs[i].id, NULL, run_seed, &jobs[i]) != 0)
                return 3;
        }
        for (int i = 0; i < threads; i++) {
            if (threads > 1)
                pthread_join(jobs[i].id, NULL);
            char line[100];
            put(jobs[i].text, jobs[i].used);
            put(line, (size_t)snprintf(line, sizeof line, "seed %lu thread %d %016llx\n", seed, i,
                                       (unsigned long long)jobs[i].digest));
        }
    }
    return 0;
}
