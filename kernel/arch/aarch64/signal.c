// SPDX-License-Identifier: BSD-2-Clause
// signal.c: the aarch64 signal frame, bit for bit as Linux lays it out (rt_sigframe; the user's view is
// ucontext_t of <sys/ucontext.h>, and <asm/sigcontext.h> for the records).
//
//   higher    interrupted stack, or the top of the alternate one
//             x29, x30 of the interrupted code  frame record: x29 of the handler points at it
//             ucontext                          x2 of the handler; ends in 4096 bytes of records:
//                                               vector state, syndrome of a fault, a terminator
//   sp ->     siginfo                           x1 of the handler
//
// The handler returns to the trampoline in the vDSO, or to the program's own restorer.
#include "arch/signal.h"
#include "a64_internal.h"
#include "arch/mmu.h"
#include "arch/uaccess.h"
#include "mm/mm.h"
#include "task/thread.h"

#define FPSIMD_MAGIC 0x46508001u
#define ESR_MAGIC 0x45535201u
#define EXTRA_MAGIC 0x45585401u
#define RECORDS_SIZE 4096

struct record {
    u32 magic, size;
};
struct fpsimd_record {
    struct record head;
    u32 fpsr, fpcr;
    u64 v[32][2];
};
_Static_assert(sizeof(struct fpsimd_record) == 528, "struct fpsimd_context");
struct esr_record {
    struct record head;
    u64 esr;
};

// The fixed part of ucontext, with the records that delivery writes.
struct sigcontext {
    u64 fault_address, x[31], sp, pc, pstate, pad;
    struct fpsimd_record fpsimd;
    struct esr_record esr;  // or the terminator
    struct record terminator;
};
struct ucontext {
    u64 flags, link;
    struct stack_user stack;
    u64 sigmask;
    u8 unused[128];
    struct sigcontext mc;
};
_Static_assert(offsetof(struct ucontext, mc) == 176, "struct ucontext");
_Static_assert(offsetof(struct sigcontext, fpsimd) == 288, "struct sigcontext");

#define UCONTEXT_SIZE (offsetof(struct ucontext, mc.fpsimd) + RECORDS_SIZE)
#define FRAME_SIZE (sizeof(struct siginfo) + UCONTEXT_SIZE)
#define FRAME_RECORD 16
_Static_assert(sizeof(struct siginfo) == 128 && FRAME_SIZE % 16 == 0, "struct rt_sigframe");

// Set by the build: where the trampoline lies in the vDSO (libc-shim/vdso/vdso_image.S).
extern const u64 vdso_sigreturn_offset;

size_t arch_signal_min_stack(void)
{
    // The frame, the frame record, and what alignment may take.
    return FRAME_SIZE + FRAME_RECORD + 16;
}

// ------------------------------------------------------------------ delivery

static void fill_context(struct ucontext *uc, const struct regs *r, u64 old_mask,
                         const struct stack_user *stack)
{
    const struct arch_thread *at = &current->arch;
    struct sigcontext *mc = &uc->mc;
    struct fpsimd_state vector;

    *uc = (struct ucontext){.stack = *stack, .sigmask = old_mask};
    mc->fault_address = at->fault_addr;
    for (unsigned i = 0; i < 31; i++)
        mc->x[i] = r->x[i];
    mc->sp = r->sp;
    mc->pc = r->pc;
    mc->pstate = r->pstate;
    fpsimd_copy_current(&vector);
    mc->fpsimd.head = (struct record){FPSIMD_MAGIC, sizeof(mc->fpsimd)};
    mc->fpsimd.fpsr = vector.fpsr;
    mc->fpsimd.fpcr = vector.fpcr;
    __builtin_memcpy(mc->fpsimd.v, vector.v, sizeof(vector.v));
    if (at->fault_esr)
        mc->esr = (struct esr_record){{ESR_MAGIC, sizeof(mc->esr)}, at->fault_esr};
}

// Where the frame goes; 0 if that would be below the alternate stack that it is on.
static vaddr_t place_frame(const struct regs *r, vaddr_t altstack_top,
                           const struct stack_user *stack, vaddr_t *record)
{
    vaddr_t sp = altstack_top ? altstack_top : r->sp;
    *record = ALIGN_DOWN(sp, (vaddr_t)16) - FRAME_RECORD;
    vaddr_t frame = *record - FRAME_SIZE;
    bool on_altstack = altstack_top || r->sp - stack->sp - 1 < stack->size;
    if (on_altstack && stack->size && (frame < stack->sp || frame > sp))
        return 0;
    return frame;
}

int arch_signal_deliver(struct regs *r, const struct siginfo *info, const struct sigaction *action,
                        u64 old_mask, vaddr_t altstack_top, const struct stack_user *uc_stack)
{
    vaddr_t record, at = place_frame(r, altstack_top, uc_stack, &record);
    if (at == 0 || at >= USER_END || record >= USER_END - FRAME_RECORD)
        return -EFAULT;
    struct ucontext uc;
    fill_context(&uc, r, old_mask, uc_stack);
    const vaddr_t uc_at = at + sizeof(struct siginfo);
    if (copy_to_user(uc_at, &uc, sizeof(uc)) || put_user_two_u64(record, r->x[29], r->x[30]))
        return -EFAULT;
    if (action->flags & SA_SIGINFO) {
        if (copy_to_user(at, info, sizeof(*info)))
            return -EFAULT;
        r->x[1] = at;
        r->x[2] = uc_at;
    }
    r->x[0] = (u64)info->signo;
    r->x[29] = record;
    r->x[30] = action->flags & SA_RESTORER
                   ? action->restorer
                   : current->process->mm->vdso_base + vdso_sigreturn_offset;
    r->sp = at;
    r->pc = action->handler;
    r->pstate &= ~(u64)(PSTATE_SS | PSTATE_BTYPE);
    if (a64_features.bti)  // as if it were called
        r->pstate |= PSTATE_BTYPE_CALL;
    r->syscall_nr = -1;
    return 0;
}

// ------------------------------------------------------------------ return

// Looks for the vector state among the records; each is checked to lie whole in the frame.
// => 0, -EFAULT: none, two of them, or something that Linux would not have written
static int find_vector(vaddr_t records, struct fpsimd_state *state)
{
    bool found = false;
    for (u32 at = 0; at + sizeof(struct record) <= RECORDS_SIZE;) {
        struct record head;
        if (copy_from_user(&head, records + at, sizeof(head)))
            return -EFAULT;
        if (!head.magic)
            return found && !head.size ? 0 : -EFAULT;
        if (head.size < sizeof(head) || head.size % 16 || head.size > RECORDS_SIZE - at)
            return -EFAULT;
        if (head.magic == FPSIMD_MAGIC) {
            if (found || head.size != sizeof(struct fpsimd_record) ||
                copy_from_user(&state->fpsr, records + at + offsetof(struct fpsimd_record, fpsr),
                               8) ||
                copy_from_user(state->v, records + at + offsetof(struct fpsimd_record, v),
                               sizeof(state->v)))
                return -EFAULT;
            found = true;
        } else if (head.magic != ESR_MAGIC && head.magic != EXTRA_MAGIC) {
            return -EFAULT;
        }
        at += head.size;
    }
    return -EFAULT;
}

int arch_signal_return(struct regs *r, u64 *mask, struct stack_user *stack)
{
    struct ucontext uc;
    struct fpsimd_state vector;
    const vaddr_t uc_at = r->sp + sizeof(struct siginfo);
    if (r->sp % 16 || copy_from_user(&uc, uc_at, offsetof(struct ucontext, mc.fpsimd)))
        return -EFAULT;
    if (uc.mc.pstate & (PSTATE_MODE_MASK | PSTATE_DAIF))
        return -EFAULT;
    if (find_vector(uc_at + offsetof(struct ucontext, mc.fpsimd), &vector))
        return -EFAULT;
    fpsimd_set_current(&vector);
    for (unsigned i = 0; i < 31; i++)
        r->x[i] = uc.mc.x[i];
    r->sp = uc.mc.sp;
    r->pc = uc.mc.pc;
    r->pstate = uc.mc.pstate & (PSTATE_NZCV | (a64_features.bti ? PSTATE_BTYPE : 0));
    r->syscall_nr = -1;
    *mask = uc.sigmask;
    *stack = uc.stack;
    struct thread *t = current;
    t->arch.regs_replaced = true;
    atomic_fetch_or(&t->work, (u32)WORK_USER_REGS);
    return 0;
}
