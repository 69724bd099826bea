// SPDX-License-Identifier: BSD-2-Clause
// The signal frame on arm64, and what else only this architecture has: what the handler sees of the interrupted code, what
// it may change, that every register comes back, ID registers, and the signals of bad instructions. Sources: sigreturn(2),
// arch/arm64 uapi headers, Documentation/arch/arm64/cpu-feature-registers.rst.
#include "harness.h"

#if defined __aarch64__

#include <asm/hwcap.h>
#include <asm/sigcontext.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <ucontext.h>

static volatile int handled;
static volatile unsigned long seen[8];

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    REQUIRE_OK(sigaction(signal, &action, NULL));
    handled = 0;
}

static mcontext_t *mc(void *context) { return &((ucontext_t *)context)->uc_mcontext; }

// The record with this magic number in a frame, or NULL.
static struct _aarch64_ctx *record(void *context, unsigned magic)
{
    char *at = (char *)mc(context)->__reserved, *end = at + sizeof(mc(context)->__reserved);
    while (at + sizeof(struct _aarch64_ctx) <= end) {
        struct _aarch64_ctx *head = (struct _aarch64_ctx *)at;
        if (head->magic == magic)
            return head;
        if (head->magic == 0 || head->size == 0)
            return NULL;
        at += head->size;
    }
    return NULL;
}

// ---- editing the context ----

static void skip_instruction(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    mc(context)->pc += 4;
    mc(context)->regs[0] = 0x1234567890abcdef;
    handled++;
}

TEST(handler_may_move_the_program_counter)
{
    install(SIGILL, skip_instruction, 0);
    register unsigned long value __asm__("x0") = 0;
    __asm__ volatile(".inst 0" : "+r"(value));
    CHECK_EQ(value, 0x1234567890abcdef);
    CHECK_EQ(handled, 1);
}

__attribute__((used)) static void injected_c(void) { handled += 10; }

// As Go's asynchronous preemption: the old address goes to the stack, another function runs and comes back to it.
__asm__(
    ".text\n"
    "injected:\n"
    "    stp x29, x30, [sp, #-176]!\n"
    "    stp x0, x1, [sp, #16]; stp x2, x3, [sp, #32]; stp x4, x5, [sp, #48]; stp x6, x7, [sp, #64]\n"
    "    stp x8, x9, [sp, #80]; stp x10, x11, [sp, #96]; stp x12, x13, [sp, #112]; stp x14, x15, [sp, #128]\n"
    "    stp x16, x17, [sp, #144]; mrs x0, nzcv; stp x0, x18, [sp, #160]\n"
    "    bl injected_c\n"
    "    ldp x0, x18, [sp, #160]; msr nzcv, x0; ldp x16, x17, [sp, #144]\n"
    "    ldp x14, x15, [sp, #128]; ldp x12, x13, [sp, #112]; ldp x10, x11, [sp, #96]; ldp x8, x9, [sp, #80]\n"
    "    ldp x6, x7, [sp, #64]; ldp x4, x5, [sp, #48]; ldp x2, x3, [sp, #32]; ldp x0, x1, [sp, #16]\n"
    "    ldp x29, x30, [sp], #176\n"
    "    ldr x27, [sp]; ldr x30, [sp, #8]; add sp, sp, #16\n"
    "    br x27\n");
extern char injected[];

static void inject_call(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    mcontext_t *m = mc(context);
    unsigned long *sp = (unsigned long *)(m->sp -= 16);
    sp[0] = m->pc;
    sp[1] = m->regs[30];
    m->pc = (unsigned long)injected;
    handled++;
}

TEST(handler_may_inject_a_call)
{
    install(SIGURG, inject_call, SA_RESTART);
    long pid = getpid(), tid = my_tid();
    for (int i = 1; i <= 50; i++) {
        register long x8 __asm__("x8") = SYS_tgkill;
        register long x0 __asm__("x0") = pid;
        register long x1 __asm__("x1") = tid;
        register long x2 __asm__("x2") = SIGURG;
        __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "x27", "x30", "memory");
        CHECK_EQ(x0, 0);
        CHECK_EQ(handled, 11 * i);
    }
}

static void note_context(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    unsigned long sp, *frame_record = (unsigned long *)((char *)context + sizeof(ucontext_t));
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    seen[0] = mc(context)->sp;
    seen[1] = mc(context)->regs[20];
    seen[2] = mc(context)->pstate & 0xf0000000;
    seen[3] = sp % 16;
    seen[4] = (unsigned long)info;
    seen[5] = (unsigned long)context;
    seen[6] = mc(context)->regs[29];
    seen[7] = frame_record[0];  // by which unwinders find the interrupted code
    handled++;
}

TEST(context_shows_the_interrupted_registers)
{
    install(SIGUSR1, note_context, 0);
    unsigned long sp, fp;
    long tid = my_tid();
    register long x8 __asm__("x8") = SYS_tkill;
    register long x0 __asm__("x0") = tid;
    register long x1 __asm__("x1") = SIGUSR1;
    __asm__ volatile("mov %0, sp\n\tmov %1, x29\n\tmov x20, #0x5ca1\n\tcmp x20, x20\n\tsvc #0"
                     : "=&r"(sp), "=&r"(fp), "+r"(x0)
                     : "r"(x8), "r"(x1)
                     : "x20", "cc", "memory");
    CHECK_EQ(x0, 0);
    CHECK_EQ(handled, 1);
    CHECK_EQ(seen[0], sp);
    CHECK_EQ(seen[1], 0x5ca1);
    CHECK_EQ(seen[2], 0x60000000);  // Z and C
    CHECK_EQ(seen[3], 0);
    CHECK_EQ(seen[5] - seen[4], 128);  // the context behind the information
    CHECK_EQ(seen[6], fp);
    CHECK_EQ(seen[7], fp);
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

// ---- all registers ----

static void clobber(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    unsigned long mode = 0xc00000;  // another rounding mode
    __asm__ volatile(
        "msr fpcr, %0\n\tcmn x0, x0\n\tmovi v0.16b, #1\n\tmovi v8.16b, #2\n\tmovi v15.16b, #3\n\tmovi v31.16b, #4"
        :
        : "r"(mode)
        : "cc", "v0", "v8", "v15", "v31");
    handled++;
}

TEST(all_general_registers_survive_a_signal)
{
    install(SIGUSR1, clobber, 0);
    unsigned long in[31], out[31];
    for (unsigned i = 0; i < 31; i++)
        in[i] = 0x1000000001ul * (i + 1);
    in[0] = (unsigned long)my_tid();
    in[1] = SIGUSR1;
    in[8] = SYS_tkill;
    // x29 and the two addresses are kept on the stack meanwhile; x18 belongs to nobody.
    __asm__ volatile(
        "stp x29, x30, [sp, #-32]!\n\tstp %1, x19, [sp, #16]\n\tmov x28, %0\n\t"
        "ldp x0, x1, [x28]; ldp x2, x3, [x28, #16]; ldp x4, x5, [x28, #32]; ldp x6, x7, [x28, #48]\n\t"
        "ldp x8, x9, [x28, #64]; ldp x10, x11, [x28, #80]; ldp x12, x13, [x28, #96]; ldp x14, x15, [x28, #112]\n\t"
        "ldp x16, x17, [x28, #128]; ldp x18, x19, [x28, #144]; ldp x20, x21, [x28, #160]; ldp x22, x23, [x28, #176]\n\t"
        "ldp x24, x25, [x28, #192]; ldp x26, x27, [x28, #208]; ldr x30, [x28, #240]\n\t"
        "svc #0\n\t"
        "ldr x28, [sp, #16]\n\t"
        "stp x0, x1, [x28]; stp x2, x3, [x28, #16]; stp x4, x5, [x28, #32]; stp x6, x7, [x28, #48]\n\t"
        "stp x8, x9, [x28, #64]; stp x10, x11, [x28, #80]; stp x12, x13, [x28, #96]; stp x14, x15, [x28, #112]\n\t"
        "stp x16, x17, [x28, #128]; stp x18, x19, [x28, #144]; stp x20, x21, [x28, #160]; stp x22, x23, [x28, #176]\n\t"
        "stp x24, x25, [x28, #192]; stp x26, x27, [x28, #208]; str x30, [x28, #240]\n\t"
        "ldr x19, [sp, #24]\n\tldp x29, x30, [sp], #32"
        :
        : "r"(in), "r"(out)
        : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
          "x14", "x15", "x16", "x17", "x18", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
          "x28", "memory", "cc");
    CHECK_EQ(out[0], 0);
    for (unsigned i = 1; i < 31; i++)
        if (i != 28 && i != 29 && out[i] != in[i])
            FAIL("x%u is %#lx, was %#lx", i, out[i], in[i]);
    CHECK_EQ(handled, 1);
}

// Loads q0, q8, q15 and q31 from in, makes the system call, and stores them to out.
static long call_with_vectors(long number, long a, long b, const char in[4][16], char out[4][16])
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    __asm__ volatile("ldr q0, [%2]; ldr q8, [%2, #16]; ldr q15, [%2, #32]; ldr q31, [%2, #48]\n\t"
                     "svc #0\n\t"
                     "str q0, [%3]; str q8, [%3, #16]; str q15, [%3, #32]; str q31, [%3, #48]"
                     : "+r"(x0)
                     : "r"(x8), "r"(in), "r"(out), "r"(x1)
                     : "v0", "v8", "v15", "v31", "memory");
    return x0;
}

TEST(vector_registers_and_modes_survive_a_signal)
{
    install(SIGUSR1, clobber, 0);
    char in[4][16], out[4][16];
    for (int i = 0; i < 4; i++)
        memset(in[i], 0x30 + i, 16);
    CHECK_EQ(call_with_vectors(SYS_tkill, my_tid(), SIGUSR1, in, out), 0);
    for (int i = 0; i < 4; i++)
        CHECK_BYTES(out[i], 0x30 + i, 16);
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    CHECK_EQ(mode & 0xc00000, 0);
    CHECK_EQ(handled, 1);
}

TEST(vector_registers_survive_a_page_fault_that_makes_2_mib)
{
    char in[4][16], out[4][16];
    for (int i = 0; i < 4; i++)
        memset(in[i], 0x50 + i, 16);
    char *p = map_huge_aligned(2 * HUGE);
    for (size_t page = 0; page < 2 * HUGE / PAGE; page++) {
        __asm__ volatile(
            "ldr q0, [%0]; ldr q8, [%0, #16]; ldr q15, [%0, #32]; ldr q31, [%0, #48]\n\t"
            "str q0, [%2]\n\t"
            "str q0, [%1]; str q8, [%1, #16]; str q15, [%1, #32]; str q31, [%1, #48]"
            :
            : "r"(in), "r"(out), "r"(p + page * PAGE)
            : "v0", "v8", "v15", "v31", "memory");
        if (memcmp(in, out, sizeof in))
            FAIL("vector registers have changed at page %zu", page);
    }
    munmap(p, 2 * HUGE);
}

static void edit_vector(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    struct fpsimd_context *vector = (struct fpsimd_context *)record(context, FPSIMD_MAGIC);
    if (!vector || vector->head.size != sizeof *vector)
        return;
    seen[0] = (unsigned long)vector->vregs[8];
    memset(&vector->vregs[8], 0x77, 16);
    handled++;
}

TEST(handler_may_edit_vector_registers)
{
    install(SIGUSR1, edit_vector, 0);
    char in[4][16], out[4][16];
    memset(in, 0x44, sizeof in);
    CHECK_EQ(call_with_vectors(SYS_tkill, my_tid(), SIGUSR1, in, out), 0);
    CHECK_EQ(handled, 1);
    CHECK_EQ(seen[0], 0x4444444444444444);
    CHECK_BYTES(out[0], 0x44, 16);
    CHECK_BYTES(out[1], 0x77, 16);
}

static void note_syndrome(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    struct esr_context *esr = (struct esr_context *)record(context, ESR_MAGIC);
    seen[0] = esr ? esr->esr : 0;
    seen[1] = mc(context)->fault_address;
    seen[2] = (unsigned long)info->si_addr;
    mc(context)->pc += 4;
    handled++;
}

TEST(a_fault_shows_its_syndrome_and_address)
{
    install(SIGSEGV, note_syndrome, 0);
    char *hole = map_hole(PAGE);
    __asm__ volatile("strb wzr, [%0]" : : "r"(hole + 9) : "memory");
    CHECK_EQ(handled, 1);
    CHECK_EQ(seen[0] >> 26, 0x24);  // data abort from user mode
    CHECK_EQ(seen[0] >> 6 & 1, 1);  // a write
    CHECK_EQ(seen[1], (unsigned long)hole + 9);
    CHECK_EQ(seen[2], (unsigned long)hole + 9);
}

// ---- frames that the kernel must refuse ----

static int damage;

static void damage_frame(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    struct fpsimd_context *vector = (struct fpsimd_context *)record(context, FPSIMD_MAGIC);
    switch (damage) {
    case 0: mc(context)->pstate = 0x5; break;    // EL1
    case 1: mc(context)->pstate = 0x10; break;   // AArch32
    case 2: mc(context)->pstate |= 0x80; break;  // interrupts masked
    case 3: vector->head.size = 7; break;
    case 4: vector->head.size = 0x7ffffff0; break;
    case 5: vector->head.magic = 0x12345678; break;
    case 6: vector->head.magic = 0; break;
    }
}

TEST(damaged_frames_are_refused)
{
    for (damage = 0; damage < 7; damage++) {
        pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            install(SIGUSR1, damage_frame, 0);
            raise(SIGUSR1);
            _exit(0);
        }
        int status = 0;
        REQUIRE_OK(waitpid(child, &status, 0));
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
            FAIL("damage %d: status %#x", damage, status);
    }
}

// ---- instructions ----

TEST(bad_instructions)
{
    CATCH_FAULT(__asm__ volatile(".inst 0"));
    CHECK_EQ(fault_seen.signal, SIGILL);
    CHECK_EQ(fault_seen.code, ILL_ILLOPC);
    CATCH_FAULT(__asm__ volatile("brk #0"));
    CHECK_EQ(fault_seen.signal, SIGTRAP);
    CHECK_EQ(fault_seen.code, TRAP_BRKPT);
    CATCH_FAULT(__asm__ volatile("mrs x0, sctlr_el1" : : : "x0"));
    CHECK_EQ(fault_seen.signal, SIGILL);
    CATCH_FAULT(__asm__ volatile("msr daifset, #2"));
    CHECK_EQ(fault_seen.signal, SIGILL);
    CATCH_FAULT(__asm__ volatile("hvc #0"));
    CHECK_EQ(fault_seen.signal, SIGILL);
    CATCH_FAULT(__asm__ volatile("smc #0"));
    CHECK_EQ(fault_seen.signal, SIGILL);
}

TEST(unaligned_program_counter_and_stack)
{
    char *odd = (char *)note_context + 1;
    CHECK_FAULT(((void (*)(void))odd)(), SIGBUS, BUS_ADRALN, odd);
    CATCH_FAULT(__asm__ volatile("mov x9, sp; sub sp, sp, #8; ldr x10, [sp]; mov sp, x9"
                                 :
                                 :
                                 : "x9", "x10", "memory"));
    if (fault_seen.signal) {  // an emulator may not look at the stack pointer
        CHECK_EQ(fault_seen.signal, SIGBUS);
        CHECK_EQ(fault_seen.code, BUS_ADRALN);
    }
}

TEST(unaligned_exclusive_access)
{
    // Over the boundary of 16 bytes: within them a CPU with FEAT_LSE2 allows it.
    char *p = map_anon(PAGE) + 8;
    CHECK_FAULT(__asm__ volatile("ldaxr x9, [%0]"
                                 :
                                 : "r"(p + 1)
                                 : "x9", "memory"),
                SIGBUS, BUS_ADRALN, p + 1);
    munmap(p - 8, PAGE);
}

TEST(tagged_addresses_reach_memory)
{
    char *p = map_anon(PAGE), *hole = map_hole(PAGE);
    char *tagged = (char *)((unsigned long)p | 0x5aul << 56);
    CHECK_NO_FAULT(WRITE(tagged, 7));
    CHECK_EQ(*p, 7);
    tagged = (char *)((unsigned long)hole | 0x5aul << 56);
    CHECK_FAULT(READ(tagged), SIGSEGV, SEGV_MAPERR, hole);  // si_addr without the tag
    munmap(p, PAGE);
}

#define READ_ID(name)                                      \
    ({                                                     \
        unsigned long value_;                              \
        __asm__ volatile("mrs %0, " #name : "=r"(value_)); \
        value_;                                            \
    })

TEST(id_registers_tell_what_the_capabilities_tell)
{
    unsigned long caps = getauxval(AT_HWCAP);
    if (!(caps & HWCAP_CPUID))
        SKIP("no reads of ID registers");
    unsigned long isar0 = READ_ID(id_aa64isar0_el1), pfr0 = READ_ID(id_aa64pfr0_el1);
    CHECK_EQ((isar0 >> 20 & 15) >= 2, (caps & HWCAP_ATOMICS) != 0);
    CHECK_EQ((isar0 >> 4 & 15) >= 1, (caps & HWCAP_AES) != 0);
    CHECK_EQ((isar0 >> 16 & 15) >= 1, (caps & HWCAP_CRC32) != 0);
    CHECK_EQ((pfr0 >> 16 & 15) != 15, (caps & HWCAP_FP) != 0);
    CHECK_EQ((pfr0 >> 32 & 15) >= 1, (caps & HWCAP_SVE) != 0);
    CHECK(READ_ID(midr_el1) != 0);
    CHECK_EQ(READ_ID(mpidr_el1), 1ul << 31);
    CHECK_EQ(READ_ID(s3_0_c0_c3_7), 0);  // reserved: reads as zero
    CHECK(READ_ID(ctr_el0) != 0);
    CHECK(READ_ID(dczid_el0) != 0);
    CHECK(READ_ID(cntfrq_el0) != 0);
    unsigned long first = READ_ID(cntvct_el0);
    CHECK(READ_ID(cntvct_el0) >= first);
}

TEST(code_that_was_written_runs_after_cache_maintenance)
{
    unsigned *code = (unsigned *)map_with(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (unsigned value = 1; value < 50; value++) {
        code[0] = 0x52800000 | value << 5;  // mov w0, #value
        code[1] = 0xd65f03c0;               // ret
        __builtin___clear_cache((char *)code, (char *)(code + 2));
        CHECK_EQ(((unsigned (*)(void))code)(), value);
    }
    munmap(code, PAGE);
}

#endif
