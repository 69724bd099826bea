// SPDX-License-Identifier: BSD-2-Clause
// uaccess_test.c: the kernel's user accessors on the host. The "user memory" is a page with nothing
// behind it; a SIGSEGV handler plays the page-fault handler and goes to the fixup, as trap.c does.
// Every length and distance from the edge: the data, the exact count, and nothing touched besides.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "arch_impl/uaccess.h"

extern u8 uaccess_fast_strings;
int copy_from_user(void *to, uintptr_t from, size_t len);
int copy_to_user(uintptr_t to, const void *from, size_t len);
size_t copy_from_user_partial(void *to, uintptr_t from, size_t len);
size_t copy_to_user_partial(uintptr_t to, const void *from, size_t len);
size_t copy_from_user_nofault(void *to, uintptr_t from, size_t len);
int clear_user(uintptr_t to, size_t len);
ssize_t strncpy_from_user(char *to, uintptr_t from, size_t max);
int user_cmpxchg_u32(uintptr_t at, u32 expected, u32 desired, u32 *old);
int user_futex_op(uintptr_t at, int op, u32 arg, u32 *old);

struct ex_table_entry {
    u64 insn, fixup;
};
extern const struct ex_table_entry __start_ex_table[], __stop_ex_table[];

#define PAGE 4096
#define USER_END 0x7ffffffff000ul
static char *user;  // one page, then nothing

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    u64 pc = (u64)uc->uc_mcontext.gregs[REG_RIP];
    (void)sig, (void)info;
    for (const struct ex_table_entry *e = __start_ex_table; e < __stop_ex_table; e++) {
        if (e->insn == pc) {
            uc->uc_mcontext.gregs[REG_RIP] = (greg_t)e->fixup;
            return;
        }
    }
    signal(SIGSEGV, SIG_DFL);
}

static int failures;
#define CHECK(cond, ...)                                   \
    do {                                                   \
        if (!(cond) && failures++ < 20) {                  \
            printf("uaccess_test.c:%d: " #cond, __LINE__); \
            printf(" " __VA_ARGS__);                       \
            printf("\n");                                  \
        }                                                  \
    } while (0)

static void fill(char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(seed + i * 7);
}

static void test_copy(size_t len, size_t before_edge)
{
    char kernel[2 * PAGE], expect[2 * PAGE];
    char *at = user + PAGE - before_edge;
    size_t fits = len < before_edge ? len : before_edge;

    fill(user, PAGE, 1);
    memset(kernel, 0x55, sizeof(kernel));
    memset(expect, 0x55, sizeof(expect));
    memcpy(expect, at, fits);
    CHECK(copy_from_user_partial(kernel, (uintptr_t)at, len) == len - fits, "%zu %zu", len,
          before_edge);
    CHECK(!memcmp(kernel, expect, sizeof(kernel)), "%zu %zu", len, before_edge);
    CHECK(copy_from_user_nofault(kernel, (uintptr_t)at, len) == len - fits, "%zu %zu", len,
          before_edge);
    CHECK(copy_from_user(kernel, (uintptr_t)at, len) == (fits == len ? 0 : -EFAULT), "%zu", len);

    fill(kernel, sizeof(kernel), 99);
    memcpy(expect, user, PAGE);
    memcpy(expect + PAGE - before_edge, kernel, fits);
    CHECK(copy_to_user_partial((uintptr_t)at, kernel, len) == len - fits, "%zu %zu", len,
          before_edge);
    CHECK(!memcmp(user, expect, PAGE), "%zu %zu", len, before_edge);
    CHECK(copy_to_user((uintptr_t)at, kernel, len) == (fits == len ? 0 : -EFAULT), "%zu", len);

    if (fits == len) {
        memset(expect + PAGE - before_edge, 0, len);
        CHECK(clear_user((uintptr_t)at, len) == 0, "%zu", len);
        CHECK(!memcmp(user, expect, PAGE), "%zu %zu", len, before_edge);
    } else {
        CHECK(clear_user((uintptr_t)at, len) == -EFAULT, "%zu", len);
    }
}

static void test_strncpy(size_t len, size_t before_edge, size_t max)
{
    char kernel[256];
    char *at = user + PAGE - before_edge;
    memset(user, 'x', PAGE);
    if (len < before_edge)
        at[len] = '\0';
    ssize_t expect = len < before_edge && len < max ? (ssize_t)len
                     : max <= before_edge           ? -ENAMETOOLONG
                                                    : -EFAULT;
    ssize_t got = strncpy_from_user(kernel, (uintptr_t)at, max);
    CHECK(got == expect, "%zu %zu %zu: %zd, not %zd", len, before_edge, max, got, expect);
    if (got >= 0)
        CHECK(strlen(kernel) == len, "%zu", len);
}

static void test_scalars(void)
{
    uintptr_t last = (uintptr_t)user + PAGE, over = last - 2;
    u8 a;
    u32 b = 0, old;
    u64 c;
    CHECK(!put_user_u8(last - 1, 0x12) && !get_user_u8(&a, last - 1) && a == 0x12);
    CHECK(!put_user_u32(last - 4, 0x12345678) && !get_user_u32(&b, last - 4) && b == 0x12345678);
    CHECK(!put_user_u64(last - 8, 42) && !get_user_u64(&c, last - 8) && c == 42);
    CHECK(!put_user_two_u64(last - 16, 7, 9) && !get_user_u64(&c, last - 8) && c == 9);
    CHECK(!get_user_u64(&c, last - 16) && c == 7);
    CHECK(put_user_two_u64(last - 8, 5, 5) == -EFAULT &&
          put_user_two_u64(USER_END - 8, 1, 1) == -EFAULT);
    CHECK(put_user_u8(last, 1) == -EFAULT && get_user_u8(&a, last) == -EFAULT);
    CHECK(put_user_u32(over, 1) == -EFAULT && get_user_u32(&b, over) == -EFAULT);
    CHECK(put_user_u64(over, 1) == -EFAULT && get_user_u64(&c, over) == -EFAULT);
    CHECK(get_user_u32(&b, USER_END - 3) == -EFAULT && get_user_u64(&c, ~0ul) == -EFAULT);
    CHECK(put_user_u32(~0ul - 1, 1) == -EFAULT && get_user_u8(&a, USER_END) == -EFAULT);

    uintptr_t at = last - 4;
    put_user_u32(at, 5);
    CHECK(!user_cmpxchg_u32(at, 4, 9, &old) && old == 5 && !get_user_u32(&b, at) && b == 5);
    CHECK(!user_cmpxchg_u32(at, 5, 9, &old) && old == 5 && !get_user_u32(&b, at) && b == 9);
    CHECK(user_cmpxchg_u32(last, 5, 9, &old) == -EFAULT);
    const u32 expect[] = {12, 9 + 12, 9 | 12, 9 & ~12u, 9 ^ 12};
    for (int op = 0; op < 5; op++) {
        put_user_u32(at, 9);
        CHECK(!user_futex_op(at, op, 12, &old) && old == 9, "op %d", op);
        CHECK(!get_user_u32(&b, at) && b == expect[op], "op %d: %u", op, b);
        CHECK(user_futex_op(last, op, 1, &old) == -EFAULT, "op %d", op);
        CHECK(user_futex_op(~0ul - 3, op, 1, &old) == -EFAULT, "op %d", op);
    }
}

static void test_ranges(void)
{
    char k[64];
    CHECK(copy_from_user(k, USER_END, 1) == -EFAULT);
    CHECK(copy_from_user(k, USER_END - 8, 16) == -EFAULT);
    CHECK(copy_from_user(k, ~0ul, 2) == -EFAULT);
    CHECK(copy_from_user(k, 8, ~0ul) == -EFAULT);
    CHECK(copy_from_user_partial(k, 8, ~0ul) == ~0ul);
    CHECK(copy_to_user_partial(0xffff800000000000ul, k, 16) == 16);
    CHECK(copy_to_user(0xffff800000000000ul, k, 0) == -EFAULT);
    CHECK(copy_to_user((uintptr_t)user, k, 0) == 0);
    CHECK(clear_user(USER_END - 4, 5) == -EFAULT && clear_user(0, ~0ul) == -EFAULT);
    CHECK(strncpy_from_user(k, USER_END, 8) == -EFAULT);
    CHECK(strncpy_from_user(k, ~0ul, 8) == -EFAULT);
    CHECK(strncpy_from_user(k, (uintptr_t)user + PAGE, 8) == -EFAULT);
}

int main(void)
{
    user = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(user + PAGE, PAGE);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    for (uaccess_fast_strings = 0; uaccess_fast_strings < 2; uaccess_fast_strings++) {
        for (size_t len = 0; len < 150; len++) {
            for (size_t edge = 0; edge < 150; edge++)
                test_copy(len, edge);
        }
        test_copy(4000, 3999);
        test_copy(4000, 4000);
        test_copy(5000, 4096);
    }
    for (size_t len = 0; len < 40; len++) {
        for (size_t edge = 1; edge < 60; edge++) {
            for (size_t max = 1; max < 60; max++)
                test_strncpy(len, edge, max);
        }
    }
    test_scalars();
    test_ranges();
    return failures != 0;
}
