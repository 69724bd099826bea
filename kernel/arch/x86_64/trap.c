// SPDX-License-Identifier: BSD-2-Clause
// trap.c: what the CPU's exceptions mean: a page to be found, a signal to the program, a fixed-up
// user access, or a bug in the kernel. Also SYSCALL's registers and the slow way back to user mode.
//
// Signal numbers and codes are those of Linux (arch/x86/kernel/traps.c shows them in the field;
// sigaction(2), "The si_code field"). Two surprise: INT3 gives SIGTRAP with SI_KERNEL, not
// TRAP_BRKPT, and #GP gives SIGSEGV with SI_KERNEL and no address.
#include "arch/fixup.h"
#include "arch/regs.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "core/kallsyms.h"
#include "core/log.h"
#include "entry.h"
#include "mm/mm.h"
#include "syscall/syscall.h"
#include "task/thread.h"

// clang-format off
enum {
    TRAP_DE, TRAP_DB, TRAP_NMI, TRAP_BP, TRAP_OF, TRAP_BR, TRAP_UD, TRAP_NM, TRAP_DF, TRAP_OLD_MF,
    TRAP_TS, TRAP_NP, TRAP_SS, TRAP_GP, TRAP_PF, TRAP_SPURIOUS, TRAP_MF, TRAP_AC, TRAP_MC, TRAP_XM,
    TRAP_VE, TRAP_CP
};
// clang-format on

#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RESERVED 8u
#define PF_INSTR 16u
#define PF_KEY 32u

// si_code values that only this file produces
#define ILL_ILLOPN 2
#define FPE_INTDIV 1
#define FPE_FLTDIV 3
#define FPE_FLTOVF 4
#define FPE_FLTUND 5
#define FPE_FLTRES 6
#define FPE_FLTINV 7
#define TRAP_BRKPT 1
#define TRAP_TRACE 2
#define TRAP_HWBKPT 4

#define DR6_STEP 0x4000
#define DR6_BREAKPOINTS 0xf

void x86_exception(unsigned vector, struct regs *r, u64 error);
void x86_page_fault(struct regs *r, vaddr_t addr, u64 error);
bool syscall_exit_work(struct regs *r, long result);
void trap_exit_work(struct regs *r);

// ------------------------------------------------------------------ the kernel's own faults

// Sends a faulting user access to its fixup; false if the instruction has none.
static bool extable_fixup(struct regs *r)
{
    u64 pc = fixup_find(r->rip);
    if (pc)
        r->rip = pc;
    return pc;
}

void x86_show_regs(const struct regs *r)
{
    kprintf("rip %016lx  cs %02lx  rflags %06lx  rsp %016lx  ss %02lx\n", r->rip, r->cs, r->rflags,
            r->rsp, r->ss);
    kprintf("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", r->rax, r->rbx, r->rcx, r->rdx);
    kprintf("rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx\n", r->rsi, r->rdi, r->rbp, r->r8);
    kprintf("r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx\n", r->r9, r->r10, r->r11, r->r12);
    kprintf("r13 %016lx  r14 %016lx  r15 %016lx  cr2 %016lx\n", r->r13, r->r14, r->r15, read_cr2());
}

static const char *exception_name(unsigned vector)
{
    // clang-format off
    static const char names[][24] = {
        "divide error", "debug", "NMI", "breakpoint", "overflow", "bound", "invalid opcode",
        "no device", "double fault", "coprocessor overrun", "invalid TSS", "no segment",
        "stack fault", "general protection", "page fault", "spurious", "x87 error",
        "alignment check", "machine check", "SIMD error", "virtualization", "control protection",
    };
    // clang-format on
    return vector < ARRAY_SIZE(names) ? names[vector] : "unknown exception";
}

static void __noreturn __cold kernel_exception(unsigned vector, struct regs *r, u64 error)
{
    x86_show_regs(r);
    char where[80];
    panic("%s in the kernel, error %lx, at %lx %s", exception_name(vector), error, r->rip,
          kallsyms_name(r->rip, where, sizeof(where)));
}

// ------------------------------------------------------------------ page faults

// Changes with nearly every instruction, in any loop too.
static inline u64 sum_of(const struct regs *r)
{
    return r->rip + r->rax + r->rcx + r->rdx + r->rsi + r->rdi;
}

// SYSRET leaves the program's next instruction in RCX; a page fault leaves every register as it was.
bool arch_regs_fresh(const struct regs *r)
{
    return r->rip == r->rcx || sum_of(r) == current->arch.trap_sum;
}

void x86_page_fault(struct regs *r, vaddr_t addr, u64 error)
{
    unsigned access = error & PF_WRITE ? FAULT_WRITE : error & PF_INSTR ? FAULT_EXEC : FAULT_READ;
    if (error & PF_PRESENT)
        access |= FAULT_PROT;
    if (unlikely(error & PF_RESERVED))
        kernel_exception(TRAP_PF, r, error);
    if (likely(regs_from_user(r))) {
        struct arch_thread *at = &current->arch;
        at->trap_nr = TRAP_PF;
        at->trap_error = error;
        at->trap_addr = addr;
        at->trap_sum = sum_of(r);
        if (unlikely(error & PF_KEY))
            trap_key_fault(addr);
        else
            trap_page_fault(r, addr, access, true);
        return;
    }
    if (fixup_may_resolve(r->rip)) {
        if (addr < USER_END && !(error & PF_KEY) && trap_page_fault(r, addr, access, false))
            return;
        if (addr < USER_END && extable_fixup(r))
            return;
    } else if (fixup_is_final(r->rip)) {
        if (addr < USER_END && extable_fixup(r))
            return;
    }
    kernel_exception(TRAP_PF, r, error);
}

// ------------------------------------------------------------------ the other exceptions

// Which floating-point exception it was, from the unmasked flags; 0 for none (spurious).
static int fpe_code(unsigned flags)
{
    if (flags & 0x01)
        return FPE_FLTINV;
    if (flags & 0x04)
        return FPE_FLTDIV;
    if (flags & 0x08)
        return FPE_FLTOVF;
    if (flags & 0x12)  // denormal, underflow
        return FPE_FLTUND;
    if (flags & 0x20)
        return FPE_FLTRES;
    return 0;
}

static int x87_error_code(void)
{
    u16 control, status;
    __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(control), "=m"(status));
    return fpe_code(status & ~control);
}

static int simd_error_code(void)
{
    u32 mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return fpe_code(~(mxcsr >> 7) & mxcsr);
}

// Reads and clears the debug status; gives the si_code for it.
static int debug_code(void)
{
    u64 dr6, clear = 0xffff0ff0;
    __asm__ volatile("movq %%dr6, %0" : "=r"(dr6));
    __asm__ volatile("movq %0, %%dr6" : : "r"(clear));
    if (dr6 & DR6_STEP)
        return TRAP_TRACE;
    return dr6 & DR6_BREAKPOINTS ? TRAP_HWBKPT : TRAP_BRKPT;
}

static void user_exception(unsigned vector, struct regs *r, u64 error)
{
    struct arch_thread *at = &current->arch;
    at->trap_nr = vector;
    at->trap_error = error;

    int sig = SIGSEGV, code = SI_KERNEL;
    vaddr_t addr = 0;
    switch (vector) {
    case TRAP_DE: sig = SIGFPE, code = FPE_INTDIV, addr = r->rip; break;
    case TRAP_DB: sig = SIGTRAP, code = debug_code(), addr = r->rip; break;
    case TRAP_BP: sig = SIGTRAP; break;
    case TRAP_UD:
    case TRAP_NM:
    case TRAP_VE: sig = SIGILL, code = ILL_ILLOPN, addr = r->rip; break;
    case TRAP_NP:
    case TRAP_SS: sig = SIGBUS; break;
    case TRAP_AC: sig = SIGBUS, code = BUS_ADRALN; break;
    case TRAP_MF: sig = SIGFPE, code = x87_error_code(), addr = r->rip; break;
    case TRAP_XM: sig = SIGFPE, code = simd_error_code(), addr = r->rip; break;
    case TRAP_OLD_MF: sig = SIGFPE; break;
    default:  // #OF, #BR, #TS, #GP and what nobody knows
        break;
    }
    if (code == 0)
        return;  // the flags are gone: nothing to report
    trap_user_exception(r, sig, code, addr, (int)vector, error);
}

void x86_exception(unsigned vector, struct regs *r, u64 error)
{
    if (unlikely(vector == TRAP_NMI)) {
        kprintf("NMI on CPU %u\n", this_cpu()->id);
        x86_show_regs(r);
        return;
    }
    if (unlikely(vector == TRAP_MC || vector == TRAP_DF))
        kernel_exception(vector, r, error);
    if (likely(regs_from_user(r))) {
        user_exception(vector, r, error);
        return;
    }
    // XRSTOR of a bad frame: #GP inside the user accessors.
    if (vector == TRAP_GP && fixup_may_resolve(r->rip) && extable_fixup(r))
        return;
    kernel_exception(vector, r, error);
}

// ------------------------------------------------------------------ back to user mode

// After a system call that left work behind; result goes to rax unless the call replaced all the
// registers. => true if SYSRETQ gives the program exactly *r (entry.S, I5).
bool syscall_exit_work(struct regs *r, long result)
{
    struct thread *t = current;
    if (unlikely(t->arch.regs_replaced)) {
        t->arch.regs_replaced = false;
        atomic_fetch_and(&t->work, ~(u32)WORK_USER_REGS);
    } else {
        r->rax = (u64)result;
    }
    while (atomic_load_relaxed(&t->work))
        return_to_user_work(r);
    return r->rcx == r->rip && r->r11 == r->rflags && r->rip < USER_END &&
           !(r->rflags & (EFLAGS_RF | EFLAGS_TF));
}

void trap_exit_work(struct regs *r)
{
    while (atomic_load_relaxed(&current->work))
        return_to_user_work(r);
}

// ------------------------------------------------------------------ SYSCALL's registers

void entry_syscall(void);
void entry_syscall_traced(void);
void entry_syscall32(void);

static bool trace_syscalls;

static void syscall_init_cpu(void)
{
    wrmsr(MSR_STAR, (u64)SEL_USER_CS32 << 48 | (u64)SEL_KERNEL_CS << 32);
    wrmsr(MSR_LSTAR, (u64)(trace_syscalls ? entry_syscall_traced : entry_syscall));
    wrmsr(MSR_CSTAR, (u64)entry_syscall32);
    wrmsr(MSR_SFMASK, EFLAGS_TF | EFLAGS_IF | EFLAGS_DF | EFLAGS_NT | EFLAGS_AC | EFLAGS_RF |
                          EFLAGS_CF | 0x3000 /* IOPL */);
}

static void reload_lstar(void *arg) { syscall_init_cpu(); }

void arch_syscall_trace(bool on)
{
    trace_syscalls = on;
    cross_run(cpus_online(), reload_lstar, NULL);
}

// ------------------------------------------------------------------ start-up

extern u8 *const smap_entry_sites[], *const smap_entry_sites_end[];
extern u8 *const smap_stac_sites[], *const smap_stac_sites_end[];
extern u8 *const smap_clac_sites[], *const smap_clac_sites_end[];

static void patch(u8 *const *site, u8 *const *end, u8 last)
{
    for (; site < end; site++) {
        (*site)[0] = 0x0f;
        (*site)[1] = 0x01;
        (*site)[2] = last;
    }
}

// Turns the three-byte no-ops of entry.S and uaccess.S into STAC (0f 01 cb) and CLAC (0f 01 ca).
static void patch_smap(void)
{
    u64 cr0 = read_cr0();
    write_cr0(cr0 & ~(u64)CR0_WP);
    patch(smap_entry_sites, smap_entry_sites_end, 0xca);
    patch(smap_clac_sites, smap_clac_sites_end, 0xca);
    patch(smap_stac_sites, smap_stac_sites_end, 0xcb);
    write_cr0(cr0);
}

extern u8 uaccess_fast_strings;

void entry_init_early(struct cpu *boot_cpu)
{
    idt_init();
    if (x86_features.smap)
        patch_smap();
    uaccess_fast_strings = x86_features.fast_rep;
    fpu_init();
    entry_init_cpu(boot_cpu);
}

void entry_init_cpu(struct cpu *cpu)
{
    gdt_init_cpu(cpu);
    idt_load();
    syscall_init_cpu();
    if (x86_features.rdtscp)
        wrmsr(MSR_TSC_AUX, cpu->id);
    fpu_init_cpu();
}
