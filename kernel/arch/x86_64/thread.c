// SPDX-License-Identifier: BSD-2-Clause
// thread.c: the CPU's side of a thread: its first stack frames, TLS bases, and the switch.
//
// FS and GS base of user mode. With FSGSBASE the program may change both without telling us, so they
// are read from the registers when it leaves the CPU. Without it they change only through
// arch_prctl(2), which keeps the fields right. While the kernel runs, the user's GS base is the
// inactive one, reached by swapgs; interrupts are off, and the NMI and #MC entries do not mind.
#include "arch/thread.h"
#include "arch/mmu.h"
#include "arch/regs.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "entry.h"
#include "fpu.h"
#include "string.h"
#include "syscall/syscall.h"
#include "task/thread.h"

struct thread *switch_stacks(u64 *save_sp, u64 load_sp, struct thread *from);
void start_kernel_thread(void);
void start_user_thread(void);

// What switch_stacks pops.
struct switch_frame {
    u64 r15, r14, r13, r12, rbx, rbp, rip;
};

static void read_user_bases(struct arch_thread *at)
{
    if (!x86_features.fsgsbase)
        return;
    __asm__ volatile("rdfsbase %0\n\tswapgs\n\trdgsbase %1\n\tswapgs"
                     : "=r"(at->fs_base), "=r"(at->gs_base)
                     :
                     : "memory");
}

static void write_user_bases(const struct arch_thread *at)
{
    if (likely(x86_features.fsgsbase)) {
        __asm__ volatile("wrfsbase %0\n\tswapgs\n\twrgsbase %1\n\tswapgs"
                         :
                         : "r"(at->fs_base), "r"(at->gs_base)
                         : "memory");
        return;
    }
    wrmsr(MSR_FS_BASE, at->fs_base);
    wrmsr(MSR_KERNEL_GS_BASE, at->gs_base);
}

struct thread *arch_switch(struct thread *from, struct thread *to)
{
    struct arch_thread *f = &from->arch, *t = &to->arch;
    if (f->vector)
        read_user_bases(f);
    if (t->vector) {
        this_cpu()->kernel_stack_top = t->stack_top;
        gdt_set_kernel_stack(t->stack_top);
        write_user_bases(t);
    }
    fpu_switch(from, to);
    return switch_stacks(&f->sp, t->sp, from);
}

void arch_thread_init_kernel(struct arch_thread *at, void *stack_top, void (*entry)(void *),
                             void *arg)
{
    // A zero return address below which nothing lies ends backtraces.
    u64 *top = stack_top;
    *--top = 0;
    *--top = 0;
    struct switch_frame *frame = (struct switch_frame *)top - 1;
    *frame =
        (struct switch_frame){.rip = (u64)start_kernel_thread, .rbx = (u64)entry, .r12 = (u64)arg};
    *at = (struct arch_thread){.sp = (u64)frame, .stack_top = (u64)stack_top, .vector_cpu = NO_CPU};
}

int arch_thread_init_user(struct arch_thread *at, void *stack_top, const struct regs *r)
{
    struct xsave_area *vector = fpu_area_alloc();
    if (!vector)
        return -ENOMEM;
    struct regs *user = (struct regs *)stack_top - 1;
    *user = *r;
    user->orig_rax = (u64)-1;
    struct switch_frame *frame = (struct switch_frame *)user - 1;
    *frame = (struct switch_frame){.rip = (u64)start_user_thread};
    *at = (struct arch_thread){
        .sp = (u64)frame, .stack_top = (u64)stack_top, .vector = vector, .vector_cpu = NO_CPU};
    return 0;
}

void arch_thread_copy_state(struct arch_thread *to, struct thread *from_current)
{
    read_user_bases(&from_current->arch);
    to->fs_base = from_current->arch.fs_base;
    to->gs_base = from_current->arch.gs_base;
    fpu_save_current_to(to->vector);
}

void arch_thread_free(struct arch_thread *at)
{
    if (!at->vector)
        return;
    fpu_area_free(at->vector);
    at->vector = NULL;
}

void arch_thread_reset(struct arch_thread *at)
{
    at->fs_base = at->gs_base = 0;
    at->trap_nr = at->trap_error = at->trap_addr = 0;
    if (at == &current->arch) {
        write_user_bases(at);
        fpu_reset_current();
    }
}

// System V ABI, x86-64 supplement, 3.4.1: rdx = 0 (nothing to register with atexit), rsp -> argc.
void arch_regs_exec(struct regs *r, vaddr_t entry, vaddr_t sp)
{
    if (entry >= USER_END && entry < DIRECT_MAP_BASE)
        entry = USER_END;  // not canonical: fault on a neighbour that is
    *r = (struct regs){
        .orig_rax = (u64)-1,
        .rip = entry,
        .cs = SEL_USER_CS,
        .rflags = EFLAGS_IF | 2,
        .rsp = sp,
        .ss = SEL_USER_DS,
    };
    struct thread *t = current;
    if (t && r == t->regs) {
        t->arch.regs_replaced = true;
        atomic_fetch_or(&t->work, (u32)WORK_USER_REGS);
    }
}

static void set_fs_base(struct thread *t, u64 base)
{
    t->arch.fs_base = base;
    if (t == current) {
        if (likely(x86_features.fsgsbase))
            __asm__ volatile("wrfsbase %0" : : "r"(base));
        else
            wrmsr(MSR_FS_BASE, base);
    }
}

int arch_set_tls(struct thread *t, u64 tls)
{
    if (tls >= USER_END)  // beyond 2^47 loading it would fault in the kernel
        return -EPERM;
    set_fs_base(t, tls);
    return 0;
}

u64 arch_get_tls(struct thread *t)
{
    if (t == current)
        read_user_bases(&t->arch);
    return t->arch.fs_base;
}

// ------------------------------------------------------------------ arch_prctl(2)

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
#define ARCH_GET_CPUID 0x1011
#define ARCH_SET_CPUID 0x1012
#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_GET_XCOMP_PERM 0x1022

long sys_arch_prctl(int code, u64 addr);

long sys_arch_prctl(int code, u64 addr)
{
    struct thread *t = current;
    switch (code) {
    case ARCH_SET_FS: return arch_set_tls(t, addr);
    case ARCH_SET_GS:
        if (addr >= USER_END)
            return -EPERM;
        read_user_bases(&t->arch);
        t->arch.gs_base = addr;
        write_user_bases(&t->arch);
        return 0;
    case ARCH_GET_FS: return put_user_u64(addr, arch_get_tls(t));
    case ARCH_GET_GS: read_user_bases(&t->arch); return put_user_u64(addr, t->arch.gs_base);
    case ARCH_GET_CPUID: return 1;  // CPUID does not fault, and cannot be made to
    case ARCH_SET_CPUID: return -ENODEV;
    case ARCH_GET_XCOMP_SUPP:
    case ARCH_GET_XCOMP_PERM: return put_user_u64(addr, fpu.features);
    default:  // shadow stacks, linear address masking, AMX permission: not offered
        return -EINVAL;
    }
}

// Ports stay closed: the console and the control channel are the kernel's.
long sys_ioperm(u64 from, u64 n, int on);
long sys_iopl(unsigned level);

// Refused: EPERM for what would give ports.
long sys_ioperm(u64 from, u64 n, int on)
{
    if (from + n <= from || from + n > 65536)
        return -EINVAL;
    return on ? -EPERM : 0;
}

// Refused: EPERM for what would give ports.
long sys_iopl(unsigned level)
{
    if (level > 3)
        return -EINVAL;
    return level ? -EPERM : 0;
}
