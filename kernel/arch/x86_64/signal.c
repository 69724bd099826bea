// SPDX-License-Identifier: BSD-2-Clause
// signal.c: the x86-64 signal frame, bit for bit as Linux lays it out (rt_sigframe; the user's view
// is ucontext_t of <sys/ucontext.h>, and <asm/sigcontext.h> for the vector part).
//
//   higher    interrupted stack, or the top of the alternate one
//             128 bytes of red zone             (not on the alternate stack)
//             vector state                      64-byte aligned: XSAVE area, then FP_XSTATE_MAGIC2
//             siginfo                           written when SA_SIGINFO is set
//             ucontext                          rdx of the handler
//   rsp ->    restorer                          return address; 16-byte aligned + 8
//
// Vector state goes straight between registers and user memory. A fault on the way may sleep: the
// thread switch then saves and reloads the registers, and the instruction starts again.
#include "arch/signal.h"
#include "arch/mmu.h"
#include "arch/regs.h"
#include "arch/uaccess.h"
#include "core/cpu.h"
#include "entry.h"
#include "fpu.h"
#include "string.h"
#include "task/thread.h"

#define UC_FP_XSTATE 1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_RESTORE_SS 4u

#define FP_XSTATE_MAGIC1 0x46505853u
#define FP_XSTATE_MAGIC2 0x46505845u

#define RED_ZONE 128

struct sigcontext {
    u64 r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
    u64 rflags;
    union {
        struct {
            u16 cs, gs, fs, ss;
        };
        u64 selectors;
    };
    u64 error, trap_nr, old_mask, cr2;
    u64 fpstate;  // user address of the vector state, or 0
    u64 reserved[8];
};
_Static_assert(sizeof(struct sigcontext) == 256, "struct sigcontext");

struct ucontext {
    u64 flags, link;
    struct stack_user stack;
    struct sigcontext mc;
    u64 sigmask;
};
_Static_assert(sizeof(struct ucontext) == 304, "struct ucontext");

struct rt_sigframe {
    u64 restorer;
    struct ucontext uc;
    struct siginfo info;
};
_Static_assert(sizeof(struct rt_sigframe) == 440, "struct rt_sigframe");

// xsave_area.software of a frame: what follows the legacy area.
struct fp_software {
    u32 magic1;
    u32 extended_size;  // bytes up to and with magic2
    u64 features;
    u32 xstate_size;  // bytes of the XSAVE area
    u32 padding[7];
};
_Static_assert(sizeof(struct fp_software) == 48, "struct _fpx_sw_bytes");

// The flags that sigreturn takes from the frame.
#define USER_FLAGS 0x50dd5u  // CF PF AF ZF SF TF DF OF RF AC

static u32 vector_frame_size(void) { return fpu.xsave ? fpu.area_size + 4 : 512; }

u64 arch_signal_min_stack(void)
{
    // The frame, its alignment, and what the kernel promises the handler on top (getauxval(3)).
    return sizeof(struct rt_sigframe) + vector_frame_size() + 64 + 16 + RED_ZONE;
}

// ------------------------------------------------------------------ delivery

// The part of an XSAVE area in a frame that the CPU does not write: what follows, and a header of
// zeros, which XRSTOR insists on (XSAVE fills in xstate_bv alone). One run of bytes.
static struct {
    struct fp_software software;
    u64 header[8];
} frame_header;
_Static_assert(offsetof(struct xsave_area, xstate_bv) - offsetof(struct xsave_area, software) == 48,
               "the header follows the software bytes");

static int save_vector(vaddr_t at)
{
    if (!fpu.xsave)
        return fxsave_user(at);
    if (unlikely(!frame_header.software.magic1)) {
        frame_header.software = (struct fp_software){
            .magic1 = FP_XSTATE_MAGIC1,
            .extended_size = fpu.area_size + 4,
            .features = fpu.features,
            .xstate_size = fpu.area_size,
        };
    }
    const vaddr_t software = at + offsetof(struct xsave_area, software);
    const vaddr_t present_at = at + offsetof(struct xsave_area, xstate_bv);
    if (copy_to_user(software, &frame_header, sizeof(frame_header)) || xsave_user(at, fpu.features))
        return -EFAULT;
    // Components in their initial state are marked absent. A handler that edits x87 or SSE registers
    // in the frame does not know of the mark, so those two always count as present.
    u64 present;
    if (get_user_u64(&present, present_at))
        return -EFAULT;
    if ((present & 3) != 3 && put_user_u64(present_at, present | 3))
        return -EFAULT;
    return put_user_u32(at + fpu.area_size, FP_XSTATE_MAGIC2);
}

static void fill_context(struct ucontext *uc, const struct regs *r, u64 old_mask,
                         const struct stack_user *stack, vaddr_t vector)
{
    const struct arch_thread *at = &current->arch;
    struct sigcontext *mc = &uc->mc;
    uc->flags = (fpu.xsave ? UC_FP_XSTATE : 0) | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    uc->link = 0;
    uc->stack = *stack;
    // clang-format off
    mc->r8 = r->r8, mc->r9 = r->r9, mc->r10 = r->r10, mc->r11 = r->r11;
    mc->r12 = r->r12, mc->r13 = r->r13, mc->r14 = r->r14, mc->r15 = r->r15;
    mc->rdi = r->rdi, mc->rsi = r->rsi, mc->rbp = r->rbp, mc->rbx = r->rbx;
    mc->rdx = r->rdx, mc->rax = r->rax, mc->rcx = r->rcx, mc->rsp = r->rsp;
    mc->rip = r->rip, mc->rflags = r->rflags;
    // clang-format on
    mc->selectors = SEL_USER_CS | (u64)SEL_USER_DS << 48;
    mc->error = at->trap_error;
    mc->trap_nr = at->trap_nr;
    mc->old_mask = old_mask;
    mc->cr2 = at->trap_addr;
    mc->fpstate = vector;
    for (unsigned i = 0; i < ARRAY_SIZE(mc->reserved); i++)
        mc->reserved[i] = 0;
    uc->sigmask = old_mask;
}

// Where the frame goes; 0 if that would be below the alternate stack that it is on.
static vaddr_t place_frame(const struct regs *r, vaddr_t altstack_top,
                           const struct stack_user *stack, vaddr_t *vector)
{
    vaddr_t sp = altstack_top ? altstack_top : r->rsp - RED_ZONE;
    *vector = ALIGN_DOWN(sp - vector_frame_size(), (vaddr_t)64);
    vaddr_t frame = ALIGN_DOWN(*vector - sizeof(struct rt_sigframe), (vaddr_t)16) - 8;
    bool on_altstack = altstack_top || r->rsp - stack->sp - 1 < stack->size;
    if (on_altstack && stack->size && (frame < stack->sp || frame > sp))
        return 0;
    return frame;
}

// => 0, -EFAULT; *vector: where the vector state lies
static __always_inline int write_frame(struct regs *r, const struct siginfo *info,
                                       const struct sigaction *action, u64 old_mask,
                                       vaddr_t altstack_top, const struct stack_user *uc_stack,
                                       vaddr_t *vector_at)
{
    if (!(action->flags & SA_RESTORER))
        return -EFAULT;
    vaddr_t vector, at = place_frame(r, altstack_top, uc_stack, &vector);
    if (at == 0 || at >= USER_END || vector >= USER_END - vector_frame_size())
        return -EFAULT;
    *vector_at = vector;
    if (save_vector(vector))
        return -EFAULT;

    struct {
        u64 restorer;
        struct ucontext uc;
    } head;
    head.restorer = action->restorer;
    fill_context(&head.uc, r, old_mask, uc_stack, vector);
    if (copy_to_user(at, &head, sizeof(head)))
        return -EFAULT;
    const vaddr_t info_at = at + offsetof(struct rt_sigframe, info);
    if ((action->flags & SA_SIGINFO) && copy_to_user(info_at, info, sizeof(*info)))
        return -EFAULT;

    // A handler at a non-canonical address faults on its neighbour: IRETQ must not.
    vaddr_t handler = action->handler;
    if (handler >= USER_END && handler < DIRECT_MAP_BASE)
        handler = USER_END;
    r->rip = handler;
    r->rsp = at;
    r->rax = 0;
    r->rdi = (u64)info->signo;
    r->rsi = info_at;
    r->rdx = at + offsetof(struct rt_sigframe, uc);
    r->rflags &= ~(u64)(EFLAGS_DF | EFLAGS_RF | EFLAGS_TF);
    r->cs = SEL_USER_CS;
    r->ss = SEL_USER_DS;
    r->orig_rax = (u64)-1;
    return 0;
}

// The end of a delivery whose frame was written with all rights: the frame gets those of the interrupted code, the handler
// has those of the start. => err, -EFAULT
static __cold int settle_keys(u32 pkru, vaddr_t vector, int err)
{
    const vaddr_t present_at = vector + offsetof(struct xsave_area, xstate_bv);
    u64 present;
    if (!err &&
        (put_user_u32(vector + fpu.pkru_offset, pkru) || get_user_u64(&present, present_at) ||
         put_user_u64(present_at, present | XCR0_PKRU)))
        err = -EFAULT;
    write_pkru(err ? pkru : PKRU_START);
    return err;
}

int arch_signal_deliver(struct regs *r, const struct siginfo *info, const struct sigaction *action,
                        u64 old_mask, vaddr_t altstack_top, const struct stack_user *uc_stack)
{
    vaddr_t vector = 0;
    u32 pkru = fpu.features & XCR0_PKRU ? read_pkru() : PKRU_START;
    if (unlikely(pkru != PKRU_START))
        write_pkru(
            0);  // the frame's place may have a key that the interrupted code had no right to
    int err = write_frame(r, info, action, old_mask, altstack_top, uc_stack, &vector);
    return likely(pkru == PKRU_START) ? err : settle_keys(pkru, vector, err);
}

// ------------------------------------------------------------------ return

// True if the frame carries an XSAVE area that can be taken as it is.
// *features: the components that it holds, by its own word; the others are to be as after INIT.
static bool extended_frame(vaddr_t at, u64 *features)
{
    struct fp_software software;
    u32 magic2;
    if (!fpu.xsave || copy_from_user(&software, at + offsetof(struct xsave_area, software),
                                     offsetof(struct fp_software, padding)))
        return false;
    *features = fpu.features & software.features;
    return software.magic1 == FP_XSTATE_MAGIC1 && software.xstate_size == fpu.area_size &&
           software.extended_size == fpu.area_size + 4 &&
           !get_user_u32(&magic2, at + fpu.area_size) && magic2 == FP_XSTATE_MAGIC2;
}

// => On failure the registers are in their initial state.
static int restore_vector(vaddr_t at)
{
    if (at == 0) {
        fpu_reset_current();
        return 0;
    }
    int err = -EFAULT;
    if (at < USER_END - vector_frame_size()) {
        u64 features;
        if (extended_frame(at, &features)) {
            if (unlikely(features != fpu.features))
                fpu_reset_current();
            err = xrstor_user(at, features);
        } else {
            fpu_reset_current();
            err = fxrstor_user(at);
        }
    }
    if (err)
        fpu_reset_current();
    return err;
}

int arch_signal_return(struct regs *r, u64 *mask, struct stack_user *stack)
{
    struct ucontext uc;
    // RET has taken the restorer off the stack.
    vaddr_t frame = r->rsp - sizeof(u64);
    if (copy_from_user(&uc, frame + offsetof(struct rt_sigframe, uc), sizeof(uc)))
        return -EFAULT;
    const struct sigcontext *mc = &uc.mc;
    if (mc->rip >= USER_END && mc->rip < DIRECT_MAP_BASE)
        return -EFAULT;
    u16 ss = uc.flags & UC_STRICT_RESTORE_SS ? mc->ss : SEL_USER_DS;
    if ((mc->cs | 3) != SEL_USER_CS || (ss | 3) != SEL_USER_DS)
        return -EFAULT;
    if (restore_vector(mc->fpstate))
        return -EFAULT;

    *r = (struct regs){
        // clang-format off
        .r8 = mc->r8, .r9 = mc->r9, .r10 = mc->r10, .r11 = mc->r11, .r12 = mc->r12,
        .r13 = mc->r13, .r14 = mc->r14, .r15 = mc->r15, .rdi = mc->rdi, .rsi = mc->rsi,
        .rbp = mc->rbp, .rbx = mc->rbx, .rdx = mc->rdx, .rax = mc->rax, .rcx = mc->rcx,
        .rsp = mc->rsp, .rip = mc->rip, .orig_rax = (u64)-1, .cs = SEL_USER_CS,
        .ss = SEL_USER_DS, .rflags = (mc->rflags & USER_FLAGS) | EFLAGS_IF | 2,
        // clang-format on
    };
    *mask = uc.sigmask;
    *stack = uc.stack;
    struct thread *t = current;
    t->arch.regs_replaced = true;
    atomic_fetch_or(&t->work, (u32)WORK_USER_REGS);
    return 0;
}
