// SPDX-License-Identifier: BSD-2-Clause
// Guarded pages on arm64 (PROT_BTI): where an indirect branch may end, what mmap(2), mprotect(2), mremap(2) and fork(2) do with the
// guard, and the signal frame. Sources: mprotect(2), Arm DDI 0487 (D8.4.7), arch/arm64 uapi headers, proc_pid_smaps(5).
#include "harness.h"

#if defined __aarch64__

#include <sys/auxv.h>
#include <sys/wait.h>
#include <ucontext.h>

#define GUARD 0x10  // PROT_BTI
#define RX (PROT_READ | PROT_EXEC)
#define HAS_BTI (getauxval(AT_HWCAP2) >> 17 & 1)
#define BTYPE 0xc00ul
enum { BTYPE_CALL = 0x800, BTYPE_JUMP = 0xc00 };
enum {
    NOP = 0xd503201f,
    BTI = 0xd503241f,
    BTI_C = 0xd503245f,
    BTI_J = 0xd503249f,
    BTI_JC = 0xd50324df
};
enum { PACIASP = 0xd503233f, AUTIASP = 0xd50323bf, RET = 0xd65f03c0, BR_X1 = 0xd61f0020 };

static sigjmp_buf stopped;
static volatile siginfo_t seen;
static volatile unsigned long seen_btype;
static volatile int clear_at;  // the signal of that number ends the guard and goes on; 0: none does
static volatile int n_signals;

static void on_ill(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    seen.si_code = info->si_code;
    seen.si_addr = info->si_addr;
    seen_btype = uc->uc_mcontext.pstate & BTYPE;
    if (!clear_at)
        siglongjmp(stopped, 1);
    if (++n_signals == clear_at)
        uc->uc_mcontext.pstate &= ~BTYPE;
}

static void catch_ill(void)
{
    struct sigaction action = {.sa_sigaction = on_ill, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
}

// A page of code: a way in for jumps (a call of it goes on to the second argument), then the instruction that is tried.
enum { AT_TRIED = 16 };
static unsigned *code_page(unsigned tried, int guard)
{
    unsigned *code =
        (unsigned *)map_with(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    code[0] = BTI_C;
    code[1] = BR_X1;
    code[AT_TRIED] = tried;
    code[AT_TRIED + 1] = tried == PACIASP ? AUTIASP : NOP;
    code[AT_TRIED + 2] = RET;
    __builtin___clear_cache((char *)code, (char *)code + PAGE);
    CHECK_OK(mprotect(code, PAGE, RX | guard));
    return code;
}

static bool call(void *at, void *second)
{
    seen.si_code = 0;
    if (sigsetjmp(stopped, 1))
        return false;
    ((void (*)(void *, void *))at)(NULL, second);
    return true;
}

static bool call_works(unsigned *code) { return call(code + AT_TRIED, NULL); }

// Other rights for a page of code. It is written to on the way: QEMU keeps what it has translated of a page, with the guard of
// that time, until then.
static void protect_code(void *page, int prot)
{
    volatile unsigned *code = page;
    CHECK_OK(mprotect(page, PAGE, PROT_READ | PROT_WRITE));
    code[AT_TRIED] = code[AT_TRIED];
    CHECK_OK(mprotect(page, PAGE, prot));
}

#define NEED_BTI()                                                        \
    if (!HAS_BTI) {                                                       \
        void *page = map_with(PAGE, RX, MAP_PRIVATE | MAP_ANONYMOUS, -1); \
        CHECK_ERRNO(mprotect(page, PAGE, RX | GUARD), EINVAL);            \
        munmap(page, PAGE);                                               \
        SKIP("the CPU has no branch target identification");              \
    }                                                                     \
    catch_ill()

TEST(indirect_branches_end_at_landing_pads)
{
    static const struct {
        unsigned insn;
        bool by_call, by_jump;
    } pads[] = {{BTI_C, true, false}, {BTI_J, false, true},   {BTI_JC, true, true},
                {BTI, false, false},  {PACIASP, true, false}, {NOP, false, false}};
    NEED_BTI();
    for (unsigned i = 0; i < COUNT(pads); i++) {
        unsigned *guarded = code_page(pads[i].insn, GUARD), *plain = code_page(pads[i].insn, 0);
        CHECK_EQ(call_works(guarded), pads[i].by_call);
        if (!pads[i].by_call) {
            CHECK_EQ(seen.si_code, ILL_ILLOPC);
            CHECK(seen.si_addr == guarded + AT_TRIED);
            CHECK_EQ(seen_btype, BTYPE_CALL);
        }
        CHECK_EQ(call(guarded, guarded + AT_TRIED), pads[i].by_jump);
        if (!pads[i].by_jump)
            CHECK_EQ(seen_btype, BTYPE_JUMP);
        CHECK(call_works(plain));
        CHECK(call(plain, plain + AT_TRIED));
        munmap(guarded, PAGE);
        munmap(plain, PAGE);
    }
}

TEST(the_guard_is_one_of_the_rights_that_mprotect_gives)
{
    NEED_BTI();
    unsigned *code = code_page(NOP, GUARD);
    CHECK(!call_works(code));
    protect_code(code, RX);
    CHECK(call_works(code));
    CHECK_OK(mprotect(code, PAGE, GUARD));
    protect_code(code, RX | GUARD);
    CHECK(!call_works(code));
    CHECK_ERRNO(mprotect(code, PAGE, RX | 0x40), EINVAL);
    unsigned *moved = mremap(code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, code_page(NOP, 0));
    REQUIRE(moved != MAP_FAILED);
    CHECK(!call_works(moved));
    pid_t child = fork();
    if (child == 0)
        _exit(call_works(moved) ? 1 : 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    munmap(moved, PAGE);
}

TEST(mmap_takes_the_guard_too_and_smaps_shows_it)
{
    char line[256], range[64];
    bool inside = false, shown = false;
    NEED_BTI();
    char *area = (char *)map_with(3 * PAGE, RX | GUARD, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    CHECK_OK(mprotect(area + PAGE, 2 * PAGE, RX));
    CHECK(!call(area, NULL));  // zeros: no landing pad either
    CHECK_EQ(seen_btype, BTYPE_CALL);
    CHECK(!call(area + PAGE, NULL));  // zeros: no instruction
    CHECK_EQ(seen_btype, BTYPE_CALL);
    snprintf(range, sizeof(range), "%lx-%lx ", (unsigned long)area, (unsigned long)area + PAGE);
    FILE *smaps = fopen("/proc/self/smaps", "r");
    REQUIRE(smaps);
    while (fgets(line, sizeof(line), smaps)) {
        if (strchr(line, '-') && strstr(line, "-xp "))
            inside = !strncmp(line, range, strlen(range));
        if (inside && !strncmp(line, "VmFlags:", 8))
            shown = strstr(line, " bt") != NULL;
    }
    fclose(smaps);
    CHECK(shown);
    munmap(area, 3 * PAGE);
}

TEST(a_handler_may_end_the_guard_of_the_branch_that_it_interrupted)
{
    NEED_BTI();
    unsigned *code = code_page(NOP, GUARD);
    n_signals = 0;
    clear_at = 3;  // twice the frame goes back as it was, and the branch is stopped again
    CHECK(call_works(code));
    clear_at = 0;
    CHECK_EQ(n_signals, 3);
    munmap(code, PAGE);
}

TEST(a_handler_is_called_and_needs_a_landing_pad)
{
    NEED_BTI();
    unsigned *good = code_page(BTI_C, GUARD), *bad = code_page(BTI_J, GUARD);
    struct sigaction action = {.sa_handler = (void (*)(int))(void *)(good + AT_TRIED)};
    CHECK_OK(sigaction(SIGUSR1, &action, NULL));
    CHECK_OK(raise(SIGUSR1));
    action.sa_handler = (void (*)(int))(void *)(bad + AT_TRIED);
    CHECK_OK(sigaction(SIGUSR1, &action, NULL));
    if (sigsetjmp(stopped, 1) == 0) {
        raise(SIGUSR1);
        FAIL("the handler ran");
    }
    CHECK(seen.si_addr == bad + AT_TRIED);
    signal(SIGUSR1, SIG_DFL);
    munmap(good, PAGE);
    munmap(bad, PAGE);
}

TEST(a_huge_page_is_guarded_like_others)
{
    NEED_BTI();
    char *area =
        (char *)map_with(2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    char *huge = (char *)(((unsigned long)area + HUGE - 1) & ~(HUGE - 1));
    unsigned *code = (unsigned *)(huge + PAGE);
    for (unsigned long at = 0; at < HUGE; at += PAGE)
        huge[at] = 1;
    code[AT_TRIED] = code[AT_TRIED + 1] = NOP;
    code[AT_TRIED + 2] = RET;
    __builtin___clear_cache((char *)code, (char *)code + PAGE);
    CHECK_OK(mprotect(huge, HUGE, RX | GUARD));
    CHECK(!call_works(code));
    CHECK_OK(mprotect(huge, PAGE, PROT_READ));  // the page breaks up
    CHECK(!call_works(code));
    protect_code(code, RX);
    CHECK(call_works(code));
    munmap(area, 2 * HUGE);
}

#endif
