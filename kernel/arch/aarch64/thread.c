// SPDX-License-Identifier: BSD-2-Clause
// thread.c: the CPU's side of a thread: its first stack frames, TPIDR_EL0, and the switch.
#include "arch/thread.h"
#include "a64_internal.h"
#include "arch/mmu.h"
#include "task/thread.h"

struct thread *switch_stacks(u64 *save_sp, u64 load_sp, struct thread *from);
void start_kernel_thread(void);
void start_user_thread(void);

// What switch_stacks loads.
struct switch_frame {
    u64 x29, x30, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
};

struct thread *arch_switch(struct thread *from, struct thread *to)
{
    struct arch_thread *f = &from->arch, *t = &to->arch;
    if (f->vector)
        f->tls = sysreg_read(tpidr_el0);
    if (t->vector) {
        this_cpu()->kernel_stack_top = t->stack_top;
        sysreg_write(tpidr_el0, t->tls);
        a64_pac_load(&t->pac);
    }
    fpsimd_switch(from, to);
    return switch_stacks(&f->sp, t->sp, from);
}

void arch_thread_init_kernel(struct arch_thread *at, void *stack_top, void (*entry)(void *),
                             void *arg)
{
    // A frame record of zeros ends backtraces.
    struct switch_frame *frame = (struct switch_frame *)stack_top - 1;
    *frame =
        (struct switch_frame){.x30 = (u64)start_kernel_thread, .x19 = (u64)entry, .x20 = (u64)arg};
    *at = (struct arch_thread){.sp = (u64)frame, .stack_top = (u64)stack_top, .vector_cpu = NO_CPU};
}

int arch_thread_init_user(struct arch_thread *at, void *stack_top, const struct regs *r)
{
    struct fpsimd_state *vector = fpsimd_alloc();
    if (!vector)
        return -ENOMEM;
    struct regs *user = (struct regs *)stack_top - 1;
    *user = *r;
    user->syscall_nr = -1;
    struct switch_frame *frame = (struct switch_frame *)user - 1;
    *frame = (struct switch_frame){.x30 = (u64)start_user_thread};
    *at = (struct arch_thread){
        .sp = (u64)frame, .stack_top = (u64)stack_top, .vector = vector, .vector_cpu = NO_CPU};
    if (!current->arch.vector)  // the first program; others get them from who calls clone
        a64_pac_new(&at->pac);
    return 0;
}

void arch_thread_copy_state(struct arch_thread *to, struct thread *from_current)
{
    to->tls = sysreg_read(tpidr_el0);
    to->pac = from_current->arch.pac;
    fpsimd_copy_current(to->vector);
}

void arch_thread_free(struct arch_thread *at)
{
    if (!at->vector)
        return;
    fpsimd_free(at->vector);
    at->vector = NULL;
}

void arch_thread_reset(struct arch_thread *at)
{
    at->tls = at->fault_addr = at->fault_esr = 0;
    a64_pac_new(&at->pac);
    if (at == &current->arch) {
        sysreg_write(tpidr_el0, 0);
        a64_pac_load(&at->pac);
        fpsimd_set_current(NULL);
    }
}

void arch_regs_exec(struct regs *r, vaddr_t entry, vaddr_t sp)
{
    *r = (struct regs){.syscall_nr = -1, .pc = entry, .sp = sp, .pstate = SPSR_EL0T};
    struct thread *t = current;
    if (t && r == t->regs) {
        t->arch.regs_replaced = true;
        atomic_fetch_or(&t->work, (u32)WORK_USER_REGS);
    }
}

int arch_set_tls(struct thread *t, u64 tls)
{
    t->arch.tls = tls;
    if (t == current)
        sysreg_write(tpidr_el0, tls);
    return 0;
}

u64 arch_get_tls(struct thread *t) { return t == current ? sysreg_read(tpidr_el0) : t->arch.tls; }
