// SPDX-License-Identifier: BSD-2-Clause
// The signal frame on x86-64: what the handler sees of the interrupted code, what it may change, and that
// every register comes back. Sources: the System V ABI for x86-64, sigreturn(2), arch/x86 uapi headers.
#include "harness.h"

#if defined __x86_64__

#include <sched.h>
#include <ucontext.h>

static volatile int handled;
static volatile unsigned long seen[4];

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    REQUIRE_OK(sigaction(signal, &action, NULL));
    handled = 0;
}

#define REG(context, name) (((ucontext_t *)(context))->uc_mcontext.gregs[REG_##name])

// ---- editing the context ----

static void skip_instruction(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    REG(context, RIP) += 2;  // ud2 is two bytes
    REG(context, RAX) = 0x1234567890abcdef;
    handled++;
}

TEST(handler_may_move_the_instruction_pointer)
{
    install(SIGILL, skip_instruction, 0);
    unsigned long value = 0;
    __asm__ volatile("ud2" : "=a"(value));
    CHECK_EQ(handled, 1);
    CHECK_EQ(value, 0x1234567890abcdef);
}

static volatile unsigned long resume_ip, resume_sp;

__attribute__((used)) static void injected_c(void) { handled += 10; }

// As Go's asynchronous preemption: push the old address, go to another function, come back from it.
__asm__(".text\n"
        "injected:\n"
        "    pushfq\n"
        "    push %rax; push %rcx; push %rdx; push %rsi; push %rdi\n"
        "    push %r8; push %r9; push %r10; push %r11; push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    and $-16, %rsp\n"
        "    call injected_c\n"
        "    mov %rbp, %rsp\n"
        "    pop %rbp; pop %r11; pop %r10; pop %r9; pop %r8\n"
        "    pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
        "    popfq\n"
        "    ret $128\n");
extern char injected[];

static void inject_call(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    unsigned long *sp = (unsigned long *)(REG(context, RSP) - 128);  // below the red zone
    *--sp = (unsigned long)REG(context, RIP);
    REG(context, RSP) = (long)(uintptr_t)sp;
    REG(context, RIP) = (long)(uintptr_t)injected;
    handled++;
}

TEST(handler_may_inject_a_call)
{
    install(SIGURG, inject_call, SA_RESTART);
    for (int i = 1; i <= 50; i++) {
        syscall(SYS_tgkill, getpid(), my_tid(), SIGURG);
        CHECK_EQ(handled, 11 * i);
    }
}

static void note_context(int signal, siginfo_t *info, void *context)
{
    (void)info;
    seen[0] = (unsigned long)REG(context, RSP);
    seen[1] = (unsigned long)REG(context, RIP);
    seen[2] = (unsigned long)REG(context, RBX);
    seen[3] = (unsigned long)signal;
    handled++;
}

TEST(context_shows_the_interrupted_registers)
{
    install(SIGUSR1, note_context, 0);
    unsigned long sp, result;
    __asm__ volatile("mov %%rsp, %0\n\t"
                     "mov $0x5ca1ab1e, %%rbx\n\t"
                     "syscall\n\t"
                     : "=&r"(sp), "=a"(result)
                     : "a"(SYS_tkill), "D"(my_tid()), "S"(SIGUSR1)
                     : "rbx", "rcx", "r11", "memory");
    CHECK_EQ(result, 0);
    CHECK_EQ(seen[0], sp);
    CHECK_EQ(seen[2], 0x5ca1ab1e);
    CHECK_EQ(handled, 1);
}

static void add_to_mask(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
    handled++;
}

TEST(handler_may_change_the_mask_it_returns_to)
{
    install(SIGUSR1, add_to_mask, 0);
    raise(SIGUSR1);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK_EQ(sigismember(&now, SIGUSR2), 1);
    CHECK_EQ(sigismember(&now, SIGUSR1), 0);
}

static void check_alignment(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    unsigned long frame = (unsigned long)__builtin_frame_address(0);
    seen[0] = frame % 16;  // rbp after push: aligned to 16
    unsigned long flags;
    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    seen[1] = flags & 0x400;  // the direction flag is clear
    handled++;
}

TEST(handler_starts_with_an_aligned_stack_and_clear_direction)
{
    install(SIGUSR1, check_alignment, 0);
    long tid = my_tid();
    for (int shift = 0; shift < 32; shift += 8) {
        long call = SYS_tkill;
        __asm__ volatile("sub %1, %%rsp; std; syscall; cld; add %1, %%rsp"
                         : "+a"(call)
                         : "r"((long)shift), "D"(tid), "S"(SIGUSR1)
                         : "rcx", "r11", "memory");
    }
    CHECK_EQ(handled, 4);
    CHECK_EQ(seen[0], 0);
    CHECK_EQ(seen[1], 0);
}

static void clobber_below(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    volatile char big[2000];
    memset((char *)big, 0xee, sizeof big);
    handled++;
}

TEST(the_red_zone_survives)
{
    long call = SYS_tkill;
    install(SIGUSR1, clobber_below, 0);
    unsigned long low = 0, high = 0;
    __asm__ volatile("movq $0x11, -8(%%rsp); movq $0x22, -128(%%rsp); syscall\n\t"
                     "mov -8(%%rsp), %0; mov -128(%%rsp), %1"
                     : "=&r"(low), "=&r"(high), "+a"(call)
                     : "D"(my_tid()), "S"(SIGUSR1)
                     : "rcx", "r11", "memory");
    CHECK_EQ(low, 0x11);
    CHECK_EQ(high, 0x22);
}

TEST(all_general_registers_survive_a_signal)
{
    install(SIGUSR1, clobber_below, 0);
    unsigned long bad = 0;
    __asm__ volatile(
        "push %%rbp; push %%rbx\n\t"
        "mov $0x101, %%rbx; mov $0x102, %%rbp; mov $0x103, %%r8; mov $0x104, %%r9; mov $0x105, %%r10\n\t"
        "mov $0x106, %%r12; mov $0x107, %%r13; mov $0x108, %%r14; mov $0x109, %%r15; mov $0x10a, %%rdx\n\t"
        "syscall\n\t"
        "xor $0x101, %%rbx; xor $0x102, %%rbp; or %%rbp, %%rbx; xor $0x103, %%r8; or %%r8, %%rbx\n\t"
        "xor $0x104, %%r9; or %%r9, %%rbx; xor $0x105, %%r10; or %%r10, %%rbx; xor $0x106, %%r12\n\t"
        "or %%r12, %%rbx; xor $0x107, %%r13; or %%r13, %%rbx; xor $0x108, %%r14; or %%r14, %%rbx\n\t"
        "xor $0x109, %%r15; or %%r15, %%rbx; xor $0x10a, %%rdx; or %%rdx, %%rbx; or %%rax, %%rbx\n\t"
        "mov %%rbx, %%rax; pop %%rbx; pop %%rbp"
        : "=a"(bad)
        : "a"(SYS_tkill), "D"((long)my_tid()), "S"((long)SIGUSR1)
        : "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    CHECK_EQ(bad, 0);
    CHECK_EQ(handled, 1);
}

// ---- vector state ----

static void clobber_vectors(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm7\n\t"
                     "movdqa %%xmm0, %%xmm15; movdqa %%xmm0, %%xmm8; emms; fldz; fld1"
                     :
                     :
                     : "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile(
            "vxorps %%ymm0, %%ymm0, %%ymm0; vmovaps %%ymm0, %%ymm7; vmovaps %%ymm0, %%ymm15"
            :
            :
            : "xmm0", "xmm7", "xmm15");
    __asm__ volatile("fstp %%st(0); fstp %%st(0)" : :);
    unsigned control = 0x1f80 | 0x6000;  // another rounding mode
    __asm__ volatile("ldmxcsr %0" : : "m"(control));
    handled++;
}

TEST(xmm_registers_survive_a_signal)
{
    long call = SYS_tkill;
    install(SIGUSR1, clobber_vectors, 0);
    char in[16][16], out[16][16];
    for (int i = 0; i < 16; i++)
        memset(in[i], 0x30 + i, 16);
    __asm__ volatile(
        "movdqu (%2), %%xmm0; movdqu 16(%2), %%xmm1; movdqu 112(%2), %%xmm7; movdqu 128(%2), %%xmm8; movdqu 240(%2), %%xmm15\n\t"
        "syscall\n\t"
        "movdqu %%xmm0, (%3); movdqu %%xmm1, 16(%3); movdqu %%xmm7, 112(%3); movdqu %%xmm8, 128(%3); movdqu %%xmm15, 240(%3)"
        : "+a"(call)
        : "D"((long)my_tid()), "r"(in), "r"(out), "S"((long)SIGUSR1)
        : "rcx", "r11", "xmm0", "xmm1", "xmm7", "xmm8", "xmm15", "memory");
    static const int used[] = {0, 1, 7, 8, 15};
    for (size_t i = 0; i < COUNT(used); i++)
        CHECK_BYTES(out[used[i]], 0x30 + used[i], 16);
    unsigned control;
    __asm__ volatile("stmxcsr %0" : "=m"(control));
    CHECK_EQ(control & 0x6000, 0);  // the control register came back too
    CHECK_EQ(handled, 1);
}

TEST(ymm_registers_survive_a_signal)
{
    long call = SYS_tkill;
    if (!__builtin_cpu_supports("avx"))
        SKIP("this CPU has no AVX");
    install(SIGUSR1, clobber_vectors, 0);
    char in[2][32], out[2][32];
    memset(in[0], 0x51, 32), memset(in[1], 0x52, 32);
    __asm__ volatile(
        "vmovups (%2), %%ymm7; vmovups 32(%2), %%ymm15; syscall; vmovups %%ymm7, (%3); vmovups %%ymm15, 32(%3); vzeroupper"
        : "+a"(call)
        : "D"((long)my_tid()), "r"(in), "r"(out), "S"((long)SIGUSR1)
        : "rcx", "r11", "xmm7", "xmm15", "memory");
    CHECK_BYTES(out[0], 0x51, 32);
    CHECK_BYTES(out[1], 0x52, 32);
}

TEST(zmm_registers_survive_a_signal)
{
    long call = SYS_tkill;
    if (!__builtin_cpu_supports("avx512f"))
        SKIP("this CPU has no AVX-512");
    install(SIGUSR1, clobber_vectors, 0);
    char in[2][64], out[2][64];
    memset(in[0], 0x61, 64), memset(in[1], 0x62, 64);
    __asm__ volatile(
        "vmovups (%2), %%zmm7; vmovups 64(%2), %%zmm31; syscall; vmovups %%zmm7, (%3); vmovups %%zmm31, 64(%3); vzeroupper"
        : "+a"(call)
        : "D"((long)my_tid()), "r"(in), "r"(out), "S"((long)SIGUSR1)
        : "rcx", "r11", "xmm7", "memory");
    CHECK_BYTES(out[0], 0x61, 64);
    CHECK_BYTES(out[1], 0x62, 64);
}

static void edit_xmm(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    unsigned char *xmm3 = (unsigned char *)((ucontext_t *)context)->uc_mcontext.fpregs + 160 +
                          3 * 16;  // FXSAVE layout
    seen[0] = *(unsigned *)xmm3;
    memset(xmm3, 0x77, 16);
    handled++;
}

TEST(handler_may_edit_vector_registers)
{
    long call = SYS_tkill;
    install(SIGUSR1, edit_xmm, 0);
    char in[16], out[16];
    memset(in, 0x44, 16);
    __asm__ volatile("movdqu (%2), %%xmm3; syscall; movdqu %%xmm3, (%3)"
                     : "+a"(call)
                     : "D"((long)my_tid()), "r"(in), "r"(out), "S"((long)SIGUSR1)
                     : "rcx", "r11", "xmm3", "memory");
    CHECK_EQ(seen[0], 0x44444444);
    CHECK_BYTES(out, 0x77, 16);
}

TEST(x87_state_survives_a_signal)
{
    long call = SYS_tkill;
    install(SIGUSR1, clobber_vectors, 0);
    long double value = 0;
    __asm__ volatile("fldpi; syscall; fstpt %0"
                     : "=m"(value), "+a"(call)
                     : "D"((long)my_tid()), "S"((long)SIGUSR1)
                     : "rcx", "r11", "memory", "st");
    CHECK(value > 3.14159L && value < 3.1416L);
}

// ---- many threads, many switches ----

struct vector_job {
    pthread_t id;
    int number, wrong, rounds;
};

static void *keep_vectors(void *argument)
{
    struct vector_job *job = argument;
    bool avx = __builtin_cpu_supports("avx");
    char in[32], out[32];
    long call;
    for (int round = 0; round < job->rounds; round++) {
        memset(in, job->number * 7 + round, 32);
        if (avx)
            __asm__ volatile("vmovups (%0), %%ymm5; vmovups (%0), %%ymm14"
                             :
                             : "r"(in)
                             : "xmm5", "xmm14", "memory");
        else
            __asm__ volatile("movups (%0), %%xmm5; movups (%0), %%xmm14"
                             :
                             : "r"(in)
                             : "xmm5", "xmm14", "memory");
        if (round % 3 == 0)
            __asm__ volatile("syscall"
                             : "=a"(call)
                             : "0"(SYS_sched_yield)
                             : "rcx", "r11", "memory");
        else
            for (int i = 0; i < 2000; i++)
                __asm__ volatile("pause");
        if (avx)
            __asm__ volatile("vmovups %%ymm5, (%0); vzeroupper" : : "r"(out) : "memory");
        else
            __asm__ volatile("movups %%xmm5, (%0)" : : "r"(out) : "memory");
        job->wrong += memcmp(in, out, avx ? 32 : 16) != 0;
    }
    return NULL;
}

TEST(vector_state_belongs_to_the_thread)
{
    enum { N = 6 };
    struct vector_job jobs[N];
    install(SIGUSR1, clobber_vectors, SA_RESTART);
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct vector_job){.number = i + 1, .rounds = 300};
        REQUIRE(pthread_create(&jobs[i].id, NULL, keep_vectors, &jobs[i]) == 0);
    }
    for (int i = 0; i < 60; i++) {
        syscall(SYS_tgkill, getpid(), my_tid(), SIGUSR1);
        sleep_ns(MS / 2);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(jobs[i].id, NULL);
        CHECK_EQ(jobs[i].wrong, 0);
    }
}

TEST(vector_state_under_signals_from_another_thread)
{
    enum { N = 3 };
    struct vector_job jobs[N];
    install(SIGUSR1, clobber_vectors, SA_RESTART);
    for (int i = 0; i < N; i++) {
        jobs[i] = (struct vector_job){.number = i + 1, .rounds = 400};
        REQUIRE(pthread_create(&jobs[i].id, NULL, keep_vectors, &jobs[i]) == 0);
    }
    for (int i = 0; i < 300; i++) {
        pthread_kill(jobs[i % N].id, SIGUSR1);
        if (i % 8 == 0)
            sleep_ns(MS / 10);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(jobs[i].id, NULL);
        CHECK_EQ(jobs[i].wrong, 0);
    }
    CHECK(handled > 0);
}

TEST(xcr0_and_cpuid_agree)
{
    unsigned a, b, c, d;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    if (!(c & (1u << 27)))
        SKIP("no OSXSAVE");
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    CHECK_EQ(low & 3, 3);
    if (c & (1u << 28))
        CHECK_EQ(low & 7, 7);  // AVX offered: its state is enabled
}

// ---- nested frames, other stacks, bad frames ----

static volatile int nest_limit;

static void nest_deeper(int signal, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    handled++;
    if (handled < nest_limit)
        syscall(SYS_tkill, my_tid(), signal == SIGUSR1 ? SIGUSR2 : SIGUSR1);
}

TEST(handlers_nest)
{
    nest_limit = 20;
    install(SIGUSR1, nest_deeper, SA_NODEFER);
    install(SIGUSR2, nest_deeper, SA_NODEFER);
    syscall(SYS_tkill, my_tid(), SIGUSR1);
    CHECK_EQ(handled, 20);
}

static sigjmp_buf out_of_overflow;
static volatile unsigned long overflow_address;

static void leave_overflow(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    overflow_address = (unsigned long)info->si_addr;
    siglongjmp(out_of_overflow, 1);
}

static volatile bool keep_going = true;  // hides from the compiler that there is no end

static void __attribute__((noinline)) recurse_for_ever(volatile char *above)
{
    volatile char frame[4000];
    frame[0] = *above;
    if (!keep_going)
        return;
    recurse_for_ever(frame);
    frame[1] = frame[0];
}

static void *overflow_thread(void *argument)
{
    char *alternate = map_anon(65536);
    stack_t stack = {.ss_sp = alternate, .ss_size = 65536};
    CHECK_OK(sigaltstack(&stack, NULL));
    if (sigsetjmp(out_of_overflow, 1) == 0) {
        char top = 0;
        recurse_for_ever(&top);
    }
    *(int *)argument = 1;
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    munmap(alternate, 65536);
    return NULL;
}

TEST(stack_overflow_is_caught_on_the_alternate_stack)
{
    install(SIGSEGV, leave_overflow, SA_ONSTACK);
    int done = 0;
    pthread_t id;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    REQUIRE(pthread_create(&id, &attr, overflow_thread, &done) == 0);
    pthread_join(id, NULL);
    CHECK_EQ(done, 1);
    CHECK(overflow_address != 0);
}

TEST(main_stack_overflow_is_caught_too)
{
    install(SIGSEGV, leave_overflow, SA_ONSTACK);
    if (sigsetjmp(out_of_overflow, 1) == 0) {
        char top = 0;
        recurse_for_ever(&top);
        FAIL("endless recursion came to an end");
    }
    CHECK(overflow_address != 0);
}

static void point_rip_into_kernel(int signal, siginfo_t *info, void *context)
{
    (void)info;
    if (signal == SIGSEGV) {
        REG(context, RIP) = (long)resume_ip;
        REG(context, RSP) = (long)resume_sp;
        handled++;
        return;
    }
    REG(context, RIP) = (long)0xffffffff80000000;
}

TEST(a_frame_that_points_into_the_kernel)
{
    long call = SYS_tkill;
    install(SIGSEGV, point_rip_into_kernel, SA_ONSTACK);
    install(SIGUSR1, point_rip_into_kernel, 0);
    __asm__ volatile("lea 1f(%%rip), %%rbx; mov %%rbx, %0; mov %%rsp, %1; syscall; 1:"
                     : "=m"(resume_ip), "=m"(resume_sp), "+a"(call)
                     : "D"((long)my_tid()), "S"((long)SIGUSR1)
                     : "rbx", "rcx", "r11", "memory", "cc");
    CHECK_EQ(handled, 1);
}

static void raise_privilege(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    REG(context, EFL) |= 0x3000 | 0x20000;  // IOPL 3 and virtual-8086 mode: must not stick
    handled++;
}

TEST(a_frame_cannot_raise_privilege)
{
    install(SIGUSR1, raise_privilege, 0);
    raise(SIGUSR1);
    unsigned long flags;
    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    CHECK_EQ(flags & 0x23000, 0);
    CHECK_EQ(handled, 1);
}

// Byte 464 of the vector state: magic, size, the components it holds; byte 512: the header that XRSTOR checks.
static int header_word;
static uint64_t header_bits;

static void spoil_header(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ucontext_t *uc = context;
    ((uint64_t *)((char *)uc->uc_mcontext.fpregs + 512))[header_word] |= header_bits;
}

TEST(sigreturn_with_bad_vector_headers)
{
    if (!__builtin_cpu_supports("avx"))
        SKIP("this CPU has no XSAVE");
    static const struct {
        int word;
        uint64_t bits;
    } bad[] = {{0, 1ull << 62}, {0, 1ull << 40}, {1, 1}, {1, 1ull << 63}, {2, 1}, {2, ~0ull}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        header_word = bad[i].word, header_bits = bad[i].bits;
        install(SIGUSR1, spoil_header, 0);
        CATCH_FAULT(raise(SIGUSR1));
        CHECK_EQ(fault_seen.signal, SIGSEGV);
    }
}

static void hide_ymm(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ucontext_t *uc = context;
    ((uint64_t *)((char *)uc->uc_mcontext.fpregs + 464))[1] &= ~4ull;
}

TEST(components_that_a_frame_does_not_name_are_reset)
{
    long call = SYS_tkill;
    if (!__builtin_cpu_supports("avx"))
        SKIP("this CPU has no AVX");
    install(SIGUSR1, hide_ymm, 0);
    char in[32], out[32];
    memset(in, 0x51, 32);
    __asm__ volatile("vmovups (%2), %%ymm7; syscall; vmovups %%ymm7, (%3); vzeroupper"
                     : "+a"(call)
                     : "D"((long)my_tid()), "r"(in), "r"(out), "S"((long)SIGUSR1)
                     : "rcx", "r11", "xmm7", "memory");
    CHECK_BYTES(out, 0x51, 16);
    CHECK_BYTES(out + 16, 0, 16);
}

TEST(sigreturn_without_a_frame)
{
    // A stack pointer at nothing: the bad frame is a SIGSEGV, caught on the alternate stack.
    char *hole = map_hole(PAGE);
    CATCH_FAULT(__asm__ volatile("mov %0, %%rsp; mov %1, %%eax; syscall; ud2"
                                 :
                                 : "r"(hole + 64), "i"(SYS_rt_sigreturn)
                                 : "rax", "rcx", "r11", "memory"));
    CHECK_EQ(fault_seen.signal, SIGSEGV);
}

TEST(sigreturn_with_bad_frames)
{
    // The stack pointer is at the ucontext: general registers at 40, the vector state's address at 224,
    // the mask at 296. The mask stays empty: a blocked SIGSEGV would be final, on Linux too.
    static const unsigned long states[] = {
        0,          8, 0xffff888000000000, 0xffffffff80000000, 0x8000000000000000, 0x7ffffffff000,
        0x123456789};
    char *page = map_anon(4 * PAGE);
    for (size_t i = 0; i < COUNT(states); i++) {
        memset(page, 0, 4 * PAGE);
        memset(page + 40, i % 2 ? 0xff : 0, 23 * 8);
        memset(page + 40 + REG_EFL * 8, 0, 8);  // or alignment checks would stay on
        memcpy(page + 224, &states[i], 8);
        CATCH_FAULT(__asm__ volatile("mov %0, %%rsp; mov %1, %%eax; syscall; ud2"
                                     :
                                     : "r"(page), "i"(SYS_rt_sigreturn)
                                     : "rax", "rcx", "r11", "memory"));
        CHECK_EQ(fault_seen.signal, SIGSEGV);
    }
    munmap(page, 4 * PAGE);
}

#endif
