// SPDX-License-Identifier: BSD-2-Clause
// Pointer authentication on arm64: every process has keys of its own, which its threads and the children of fork share,
// which stay the same over switches, and which prctl(2) renews and turns off. Sources: prctl(2) (PR_PAC_RESET_KEYS,
// PR_PAC_SET_ENABLED_KEYS), Documentation/arch/arm64/pointer-authentication.rst.
#include "harness.h"

#if defined __aarch64__

#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { RESET_KEYS = 54, SET_ENABLED = 60, GET_ENABLED = 61 };
enum { IA = 1, IB = 2, DA = 4, DB = 8, GA = 16, ADDRESS = 15, N_KEYS = 5, N_SIGNED = 16 };
#define HAS_PACA (getauxval(AT_HWCAP) >> 30 & 1)
#define HAS_PACG (getauxval(AT_HWCAP) >> 31 & 1)

// The instructions as numbers, for assemblers that do not know them: x0 is signed with x1.
#define SIGNED_BY(name, insn)                                                             \
    static __attribute__((noinline)) unsigned long name(unsigned long p, unsigned long m) \
    {                                                                                     \
        register unsigned long x0 __asm__("x0") = p;                                      \
        register unsigned long x1 __asm__("x1") = m;                                      \
        __asm__ volatile(".inst " #insn : "+r"(x0) : "r"(x1));                            \
        return x0;                                                                        \
    }
SIGNED_BY(pac_ia, 0xdac10020)
SIGNED_BY(pac_ib, 0xdac10420)
SIGNED_BY(pac_da, 0xdac10820)
SIGNED_BY(pac_db, 0xdac10c20)
SIGNED_BY(pac_ga, 0x9ac13000)  // x0 = code of x0 with x1
SIGNED_BY(aut_ia, 0xdac11020)
SIGNED_BY(aut_ib, 0xdac11420)
SIGNED_BY(aut_da, 0xdac11820)
SIGNED_BY(aut_db, 0xdac11c20)

typedef unsigned long signer(unsigned long, unsigned long);
static signer *const sign[N_KEYS] = {pac_ia, pac_ib, pac_da, pac_db, pac_ga};
static signer *const authenticate[4] = {aut_ia, aut_ib, aut_da, aut_db};
#define POINTER 0x123456789000ul  // is only signed

struct codes {
    unsigned long by[N_KEYS][N_SIGNED];
};

static unsigned n_keys(void) { return HAS_PACG ? N_KEYS : N_KEYS - 1; }

static void take_codes(struct codes *c)
{
    memset(c, 0, sizeof(*c));
    for (unsigned k = 0; k < n_keys(); k++)
        for (unsigned long i = 0; i < N_SIGNED; i++)
            c->by[k][i] = sign[k](POINTER, i);
}

// Bit k: the codes of key k differ.
static unsigned differ(const struct codes *a, const struct codes *b)
{
    unsigned keys = 0;
    for (unsigned k = 0; k < n_keys(); k++)
        keys |= (unsigned)(memcmp(a->by[k], b->by[k], sizeof(a->by[k])) != 0) << k;
    return keys;
}

static unsigned all_keys(void) { return (1u << n_keys()) - 1; }

#define NEED_KEYS()                                          \
    if (!HAS_PACA) {                                         \
        CHECK_ERRNO(prctl(GET_ENABLED, 0, 0, 0, 0), EINVAL); \
        return;                                              \
    }

TEST(what_is_signed_is_authenticated)
{
    NEED_KEYS();
    unsigned long p = POINTER;
    for (unsigned k = 0; k < 4; k++) {
        unsigned changed = 0;
        for (unsigned long i = 0; i < N_SIGNED; i++) {
            unsigned long code = sign[k](p, i);
            changed += code != p;
            CHECK_EQ(code & 0xffffffffffff, p);
            CHECK_EQ(authenticate[k](code, i), p);
        }
        CHECK(changed > N_SIGNED / 2);  // seven bits of code: one in 128 is all zero
    }
}

TEST(a_forged_pointer_is_of_no_use)
{
    NEED_KEYS();
    static volatile char object = 7;
    unsigned long p = (unsigned long)&object, other = 2;
    int status;
    while (pac_da(p, other) == pac_da(p, 1))
        other++;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL), signal(SIGILL, SIG_DFL);
        if (*(volatile char *)aut_da(pac_da(p, 1), 1) != 7)
            _exit(8);
        _exit(*(volatile char *)aut_da(pac_da(p, 1), other));
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGILL));
}

static void *take_codes_thread(void *arg)
{
    take_codes(arg);
    return NULL;
}

TEST(threads_share_the_keys)
{
    NEED_KEYS();
    struct codes mine, others;
    pthread_t thread;
    take_codes(&mine);
    REQUIRE(pthread_create(&thread, NULL, take_codes_thread, &others) == 0);
    pthread_join(thread, NULL);
    CHECK_EQ(differ(&mine, &others), 0);
}

// A child that may renew keys, and then takes codes again and again while the parent does.
static void with_child(unsigned long renew, unsigned expected)
{
    struct codes before, now,
        *theirs = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    REQUIRE(theirs != MAP_FAILED);
    take_codes(&before);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        bool same = true;
        if (renew && prctl(RESET_KEYS, renew == ~0ul ? 0 : renew, 0, 0, 0))
            _exit(2);
        take_codes(theirs);
        for (int i = 0; i < 50; i++) {
            sched_yield();
            take_codes(&now);
            same = same && !differ(theirs, &now);
        }
        _exit(!same);
    }
    for (int i = 0; i < 50; i++) {
        take_codes(&now);
        CHECK_EQ(differ(&before, &now), 0);
        sched_yield();
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    CHECK_EQ(differ(&before, theirs), expected);
    munmap(theirs, PAGE);
}

TEST(a_child_has_its_parents_keys)
{
    NEED_KEYS();
    with_child(0, 0);
}

TEST(new_keys_are_those_of_one_process)
{
    NEED_KEYS();
    with_child(~0ul, all_keys());
    with_child(IB, IB);
    with_child(IA | DB, IA | DB);
    if (HAS_PACG)
        with_child(GA, GA);
}

// A program knows its own keys only: what one run has signed, the next one does not accept.
TEST(exec_makes_new_keys)
{
    NEED_KEYS();
    struct codes mine, theirs;
    int ends[2], status;
    const char *reader = getenv("PAUTH_CODES");
    take_codes(&mine);
    if (reader) {  // this is the second program
        _exit(write(atoi(reader), &mine, sizeof(mine)) != sizeof(mine));
    }
    REQUIRE_OK(pipe(ends));
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        char number[12], *const arguments[] = {"conform", "pauth_arm64/exec_makes_new_keys", NULL};
        snprintf(number, sizeof(number), "%d", ends[1]);
        setenv("PAUTH_CODES", number, 1);
        execv("/proc/self/exe", arguments);
        _exit(9);
    }
    close(ends[1]);
    CHECK_EQ(read(ends[0], &theirs, sizeof(theirs)), (long)sizeof(theirs));
    close(ends[0]);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    unsigned same = 0;
    for (unsigned i = 0; i < N_SIGNED; i++)
        same += mine.by[0][i] == theirs.by[0][i];
    CHECK(same < N_SIGNED / 2);
}

static void *all_are_off(void *arg)
{
    *(long *)arg = prctl(GET_ENABLED, 0, 0, 0, 0);
    return NULL;
}

TEST(keys_can_be_turned_off)
{
    NEED_KEYS();
    unsigned long p = POINTER;
    long in_thread = -1;
    pthread_t thread;
    CHECK_EQ(prctl(GET_ENABLED, 0, 0, 0, 0), ADDRESS);
    REQUIRE_OK(prctl(SET_ENABLED, IA | DB, 0, 0, 0));
    CHECK_EQ(prctl(GET_ENABLED, 0, 0, 0, 0), IB | DA);
    unsigned changed[4] = {0};
    for (int turn = 0; turn < 4; turn++, sched_yield())
        for (unsigned k = 0; k < 4; k++)
            for (unsigned long i = 0; i < N_SIGNED; i++)
                changed[k] += sign[k](p, i) != p;
    REQUIRE(pthread_create(&thread, NULL, all_are_off, &in_thread) == 0);
    pthread_join(thread, NULL);
    REQUIRE_OK(prctl(SET_ENABLED, ADDRESS, ADDRESS, 0, 0));
    CHECK_EQ(changed[0] + changed[3], 0);
    CHECK(changed[1] > N_SIGNED && changed[2] > N_SIGNED);
    CHECK_EQ(in_thread, IB | DA);
    CHECK_EQ(prctl(GET_ENABLED, 0, 0, 0, 0), ADDRESS);
}

TEST(prctl_refuses_what_it_does_not_know)
{
    CHECK_ERRNO(prctl(RESET_KEYS, 32, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(RESET_KEYS, 0, 1, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_ENABLED, GA, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_ENABLED, IA, IA | IB, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(SET_ENABLED, IA, 0, 1, 0), EINVAL);
    CHECK_ERRNO(prctl(GET_ENABLED, 1, 0, 0, 0), EINVAL);
    if (!HAS_PACA)
        CHECK_ERRNO(prctl(SET_ENABLED, 0, 0, 0, 0), EINVAL);
    if (!HAS_PACA && !HAS_PACG)
        CHECK_ERRNO(prctl(RESET_KEYS, 0, 0, 0, 0), EINVAL);
}

#endif
