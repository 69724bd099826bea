// SPDX-License-Identifier: BSD-2-Clause
// A small single-process test harness for ordinary static Linux programs. The same binary runs on the
// build host's Linux, which is the referee, and then in the guest.
//
// Tests are silent on success. A failure is one line:
//     FAIL area/test file.c:line: what was found, what was wanted
// and every binary ends with one counting line:  name: N passed, M failed[, K skipped]
//
// CHECK* note a failure and go on; REQUIRE* leave the test. A deadly signal, or a test that overruns its
// time, is a failure of that test only. No fork is needed: the guest may not have one.
#ifndef GUEST_HARNESS_H
#define GUEST_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul

// The first address that no program can map.
#if defined __aarch64__
#define USER_TOP (1ul << 48)
#else
#define USER_TOP 0x7ffffffff000ul
#endif
#define HUGE (2ul << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MS 1000000ull  // nanoseconds
#define SEC 1000000000ull

struct test_case {
    const char *file, *name;
    void (*body)(void);
    unsigned seconds;  // 0: the default limit
    struct test_case *next;
};

#define TEST_LIMIT(id, limit_s)                                                                    \
    static void test_##id(void);                                                                   \
    static struct test_case case_##id = {__FILE__, #id, test_##id, limit_s, 0};                    \
    __attribute__((constructor)) static void register_##id(void) { harness_register(&case_##id); } \
    static void test_##id(void)
#define TEST(id) TEST_LIMIT(id, 0)

void harness_register(struct test_case *test);
void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void harness_leave(void) __attribute__((noreturn));  // leaves the test (or the thread)
void harness_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void harness_note(const char *format, ...) __attribute__((format(printf, 1, 2)));  // with -v only
const char *errno_name(int number);
unsigned next_random(unsigned *seed);  // of a fixed sequence, 24 bits
void run_threads(
    int n, void *(*body)(void *));  // body(0) ... body(n - 1), each on a thread; waits for them
int harness_rounds(
    int full);  // how often a long loop goes round: all of it, or the share that -e names
bool harness_failed(void);  // has the running test failed already?

#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SKIP(...) harness_skip(__VA_ARGS__)

#define CHECK(condition) ((condition) ? (void)0 : FAIL("not so: %s", #condition))
#define REQUIRE(condition) \
    ((condition)           \
         ? (void)0         \
         : (FAIL("not so: %s (errno %s)", #condition, errno_name(errno)), harness_leave()))

#define CHECK_EQ(found, wanted)                                                                 \
    do {                                                                                        \
        long long found_ = (long long)(found), wanted_ = (long long)(wanted);                   \
        if (found_ != wanted_)                                                                  \
            FAIL("%s is %lld (%#llx), want %s = %lld (%#llx)", #found, found_, found_, #wanted, \
                 wanted_, wanted_);                                                             \
    } while (0)

// min <= value <= max
#define CHECK_RANGE(found, min, max)                                                             \
    do {                                                                                         \
        long long found_ = (long long)(found), min_ = (long long)(min), max_ = (long long)(max); \
        if (found_ < min_ || found_ > max_)                                                      \
            FAIL("%s is %lld, want %lld to %lld", #found, found_, min_, max_);                   \
    } while (0)

// A call that must fail with -1 and this errno (mmap's MAP_FAILED is -1 too).
#define CHECK_ERRNO(call, wanted)                                                   \
    do {                                                                            \
        errno = 0;                                                                  \
        long long found_ = (long long)(call);                                       \
        int error_ = errno;                                                         \
        if (found_ != -1 || error_ != (wanted))                                     \
            FAIL("%s gives %lld %s, want -1 %s", #call, found_, errno_name(error_), \
                 errno_name(wanted));                                               \
    } while (0)

// A call that must not give -1.
#define CHECK_OK(call)                                          \
    do {                                                        \
        errno = 0;                                              \
        if ((long long)(call) == -1)                            \
            FAIL("%s fails with %s", #call, errno_name(errno)); \
    } while (0)

#define REQUIRE_OK(call)                                        \
    do {                                                        \
        errno = 0;                                              \
        if ((long long)(call) == -1) {                          \
            FAIL("%s fails with %s", #call, errno_name(errno)); \
            harness_leave();                                    \
        }                                                       \
    } while (0)

#define CHECK_STR(found, wanted)                                        \
    do {                                                                \
        const char *found_ = (found), *wanted_ = (wanted);              \
        if (strcmp(found_, wanted_) != 0)                               \
            FAIL("%s is \"%s\", want \"%s\"", #found, found_, wanted_); \
    } while (0)

// Every byte of [start, start + len) has this value.
#define CHECK_BYTES(start, value, len)                                                        \
    do {                                                                                      \
        const volatile unsigned char *bytes_ = (const volatile unsigned char *)(start);       \
        size_t len_ = (len), i_ = 0;                                                          \
        while (i_ < len_ && bytes_[i_] == (unsigned char)(value))                             \
            i_++;                                                                             \
        if (i_ < len_)                                                                        \
            FAIL("%s[%zu] is %#x, want %#x", #start, i_, bytes_[i_], (unsigned char)(value)); \
    } while (0)

// Runs a statement that must raise this signal with this si_code and si_addr.
// A code of FAULT_ANY is not compared.
#define FAULT_ANY (-1000)
struct fault {
    int signal, code;
    void *address;
};
extern __thread sigjmp_buf fault_jump;
extern __thread volatile sig_atomic_t fault_armed;
extern __thread struct fault fault_seen;

#define CATCH_FAULT(statement)               \
    ({                                       \
        fault_seen = (struct fault){0};      \
        if (sigsetjmp(fault_jump, 1) == 0) { \
            fault_armed = 1;                 \
            statement;                       \
        }                                    \
        fault_armed = 0;                     \
        fault_seen.signal;                   \
    })

#define CHECK_FAULT(statement, wanted_signal, wanted_code, wanted_address)                  \
    do {                                                                                    \
        CATCH_FAULT(statement);                                                             \
        if (fault_seen.signal != (wanted_signal) ||                                         \
            ((wanted_code) != FAULT_ANY && fault_seen.code != (wanted_code)) ||             \
            ((wanted_code) != FAULT_ANY && fault_seen.address != (void *)(wanted_address))) \
            FAIL("%s: signal %d code %d address %p, want %d, %d, %p", #statement,           \
                 fault_seen.signal, fault_seen.code, fault_seen.address, (wanted_signal),   \
                 (wanted_code), (void *)(wanted_address));                                  \
    } while (0)

#define CHECK_NO_FAULT(statement)                                                   \
    do {                                                                            \
        if (CATCH_FAULT(statement) != 0)                                            \
            FAIL("%s: signal %d code %d address %p", #statement, fault_seen.signal, \
                 fault_seen.code, fault_seen.address);                              \
    } while (0)

// One volatile byte access, for use in the macros above.
#define READ(address) ((void)*(volatile unsigned char *)(address))
#define WRITE(address, value) (*(volatile unsigned char *)(address) = (unsigned char)(value))
#define BYTE(address) (*(volatile unsigned char *)(address))

// Helpers that every area wants.
char *map_anon(size_t len);  // private, read and write; leaves the test on failure
char *map_with(size_t len, int prot, int flags, int fd);
char *map_hole(size_t len);          // an address range with nothing in it (just unmapped)
char *map_huge_aligned(size_t len);  // private anonymous, 2 MiB aligned
int new_memfd(size_t len);
int new_file(const char *path, size_t len,
             int fill);  // created, filled page by page with fill + page
uint64_t now_ns(clockid_t clock);
void sleep_ns(uint64_t ns);
bool in_lethe(void);       // only for differences that are by design, said at the place
unsigned cpu_count(void);  // CPUs in the affinity mask
pid_t my_tid(void);
size_t slurp(const char *path, char *buffer,
             size_t size);  // reads a file, terminates it, leaves on failure
bool reads_as(const char *path, const char *wanted);

struct vma {
    uintptr_t start, end;
    char perms[5];
    unsigned long offset;
    unsigned long inode;
    char name[256];
};
bool vma_at(const void *address, struct vma *out);   // from /proc/self/maps
int vma_count(const void *start, const void *end);   // areas that meet [start, end)
long resident_pages(const void *start, size_t len);  // by mincore

#endif
