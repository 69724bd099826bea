// SPDX-License-Identifier: BSD-2-Clause
// trap.c: what the CPU's exceptions mean: a page to be found, a signal to the program, a fixed-up
// user access, or a bug in the kernel. Also the slow way back to user mode.
//
// Signal numbers and codes are those of Linux on arm64 (sigaction(2), "The si_code field").
#include "a64_internal.h"
#include "arch/fixup.h"
#include "arch/mmu.h"
#include "arch/uaccess.h"
#include "core/kallsyms.h"
#include "core/log.h"
#include "mm/mm.h"
#include "syscall/syscall.h"
#include "task/thread.h"

// si_code values that only this file produces
#define ILL_ILLOPC 1
#define ILL_ILLOPN 2
#define FPE_FLTDIV 3
#define FPE_FLTOVF 4
#define FPE_FLTUND 5
#define FPE_FLTRES 6
#define FPE_FLTINV 7
#define FPE_FLTUNK 14
#define TRAP_BRKPT 1
#define TRAP_TRACE 2
#define TRAP_HWBKPT 4
#define BUS_OBJERR 3

enum {  // kinds of fault status: bits 5 to 2
    FSC_TRANSLATION = 0x04,
    FSC_ACCESS_FLAG = 0x08,
    FSC_PERMISSION = 0x0c,
    FSC_ALIGNMENT = 0x21,  // all six bits
};

void a64_user_exception(struct regs *r, u64 esr, vaddr_t addr);
void a64_kernel_exception(struct regs *r, u64 esr, vaddr_t addr);
void a64_bad_vector(struct regs *r, u64 esr, vaddr_t addr);
void syscall_exit_work(struct regs *r, long result);
void trap_exit_work(struct regs *r);

void a64_show_regs(const struct regs *r)
{
    kprintf("pc %016lx  sp %016lx  pstate %08lx  lr %016lx\n", r->pc, r->sp, r->pstate, r->x[30]);
    for (unsigned i = 0; i < 30; i += 3)
        kprintf("x%-2u %016lx  x%-2u %016lx  x%-2u %016lx\n", i, r->x[i], i + 1, r->x[i + 1], i + 2,
                r->x[i + 2]);
}

static void __noreturn __cold kernel_exception(struct regs *r, u64 esr, vaddr_t addr)
{
    char where[80];
    a64_show_regs(r);
    panic("exception %#x in the kernel, syndrome %lx, address %lx, at %lx %s", ESR_EC(esr), esr,
          addr, r->pc, kallsyms_name(r->pc, where, sizeof(where)));
}

// ------------------------------------------------------------------ page faults

// The top byte of a user address is no part of it.
static vaddr_t untag(vaddr_t addr) { return addr & BIT(55) ? addr : addr & (BIT(56) - 1); }

// FAULT_* of an abort. => 0: not one that a page table causes
static unsigned fault_access(u64 esr)
{
    unsigned ec = ESR_EC(esr), kind = esr & ESR_FAULT_MASK & ~3u;
    if (kind != FSC_TRANSLATION && kind != FSC_ACCESS_FLAG && kind != FSC_PERMISSION)
        return 0;
    unsigned access = FAULT_READ;
    if (ec == EC_INSTR_ABORT_EL0 || ec == EC_INSTR_ABORT_EL1)
        access = FAULT_EXEC;
    else if ((esr & (ESR_WNR | ESR_CM)) == ESR_WNR)
        access = FAULT_WRITE;
    return kind == FSC_TRANSLATION ? access : access | FAULT_PROT;
}

// Changes with nearly every instruction, in any loop too.
static inline u64 sum_of(const struct regs *r)
{
    return r->pc + r->x[0] + r->x[1] + r->x[2] + r->x[3] + r->x[4];
}

// The entry of interrupts leaves in orig_x0 where a system call let the program go; a page fault leaves every register
// as it was.
bool arch_regs_fresh(const struct regs *r)
{
    return r->pc == r->orig_x0 || sum_of(r) == current->arch.fault_sum;
}

static void user_abort(struct regs *r, u64 esr, vaddr_t addr)
{
    unsigned access = fault_access(esr);
    if (likely(access))
        trap_page_fault(r, addr, access, true);
    else if ((esr & ESR_FAULT_MASK) == FSC_ALIGNMENT)
        trap_user_exception(r, SIGBUS, BUS_ADRALN, addr, (int)ESR_EC(esr), esr);
    else
        trap_user_exception(r, SIGBUS, BUS_OBJERR, addr, (int)ESR_EC(esr), esr);
}

// An access by uaccess.S is resolved, or goes on at its fixup; everything else is a bug.
void a64_kernel_exception(struct regs *r, u64 esr, vaddr_t addr)
{
    unsigned access = ESR_EC(esr) == EC_DATA_ABORT_EL1 ? fault_access(esr) : 0;
    if (access && addr < USER_END) {
        if (fixup_may_resolve(r->pc) && trap_page_fault(r, addr, access, false))
            return;
        u64 pc = fixup_find(r->pc);
        if (pc) {
            r->pc = pc;
            return;
        }
    }
    kernel_exception(r, esr, addr);
}

void a64_bad_vector(struct regs *r, u64 esr, vaddr_t addr) { kernel_exception(r, esr, addr); }

// ------------------------------------------------------------------ the other exceptions

// ISS of a trapped floating-point exception: bit 23 says that the flags below are right.
static int fpe_code(u64 esr)
{
    if (!(esr & BIT(23)))
        return FPE_FLTUNK;
    if (esr & BIT(0))
        return FPE_FLTINV;
    if (esr & BIT(1))
        return FPE_FLTDIV;
    if (esr & BIT(2))
        return FPE_FLTOVF;
    if (esr & BIT(3))
        return FPE_FLTUND;
    return esr & BIT(4) ? FPE_FLTRES : FPE_FLTUNK;
}

void a64_user_exception(struct regs *r, u64 esr, vaddr_t far)
{
    struct arch_thread *at = &current->arch;
    unsigned ec = ESR_EC(esr);
    int sig = SIGILL, code = ILL_ILLOPC;
    vaddr_t addr = r->pc;

    if (likely(ec == EC_DATA_ABORT_EL0 || ec == EC_INSTR_ABORT_EL0)) {
        at->fault_addr = far = untag(far);
        at->fault_esr = esr;
        at->fault_sum = sum_of(r);
        user_abort(r, esr, far);
        return;
    }
    if ((ec == EC_UNKNOWN || ec == EC_SYSREG) && a64_emulate(r))
        return;
    switch (ec) {
    case EC_PC_ALIGNMENT:
        addr = far;  // fall through
        __attribute__((fallthrough));
    case EC_SP_ALIGNMENT: sig = SIGBUS, code = BUS_ADRALN; break;
    case EC_FP_EXCEPTION: sig = SIGFPE, code = fpe_code(esr); break;
    case EC_BRK: sig = SIGTRAP, code = TRAP_BRKPT; break;
    case EC_STEP_EL0: sig = SIGTRAP, code = TRAP_TRACE; break;
    case EC_BREAKPOINT_EL0:
    case EC_WATCHPOINT_EL0: sig = SIGTRAP, code = TRAP_HWBKPT; break;
    case EC_PAC_FAIL: code = ILL_ILLOPN; break;
    case EC_SERROR: kernel_exception(r, esr, far);
    default: break;  // unknown instructions, and those of features that are hidden (SVE, SME)
    }
    at->fault_addr = 0;
    at->fault_esr = esr;
    trap_user_exception(r, sig, code, addr, (int)ec, esr);
}

// ------------------------------------------------------------------ back to user mode

// After a system call that left work behind; result goes to x0 unless the call replaced all the registers.
void syscall_exit_work(struct regs *r, long result)
{
    struct thread *t = current;
    if (unlikely(t->arch.regs_replaced)) {
        t->arch.regs_replaced = false;
        atomic_fetch_and(&t->work, ~(u32)WORK_USER_REGS);
    } else {
        r->x[0] = (u64)result;
    }
    while (atomic_load_relaxed(&t->work))
        return_to_user_work(r);
}

void trap_exit_work(struct regs *r)
{
    while (atomic_load_relaxed(&current->work))
        return_to_user_work(r);
}

extern char vectors[], vectors_traced[];
static bool trace_syscalls;

void a64_set_vectors(void)
{
    sysreg_write(vbar_el1, trace_syscalls ? vectors_traced : vectors);
    isb();
}

static void reload_vectors(void *arg) { a64_set_vectors(); }

void arch_syscall_trace(bool on)
{
    trace_syscalls = on;
    cross_run(cpus_online(), reload_vectors, NULL);
}
