// SPDX-License-Identifier: BSD-2-Clause
// entry.S: every way into the kernel after boot, and every way back out (docs/entry.md).
//
//   SVC ----------> el0_sync ---> syscall_table[nr] ------> ERET        nothing to do
//                                 syscall_traced(regs)  \-> syscall_exit_work -> ERET
//   exceptions ---> el0_sync ---> a64_user_exception  \
//   interrupts ---> el0_irq ----> a64_interrupt        -> return_from_trap -> ERET
//   kernel -------> el1_sync, el1_irq: the same functions, straight back
//
// I1. Interrupts are masked in all of this; only a fault on user memory (uaccess.S) nests.
// I2. From user mode, struct regs ends at the top of the thread's kernel stack: SP_EL1 is there whenever a program runs.
// I3. TPIDR_EL1 is the CPU-local area, always; no program can write it.
// I4. PAN is set whenever C code runs on a CPU that has it (SCTLR_EL1.SPAN is 0).
//
// The fast path restores no callee-saved register (C code has done it) and never touches vector state.

#include "arch_impl/a64.h"
#include "asm_offsets.h"

// Saves everything below sp; the interrupted stack pointer is SP_EL0 or our own. x9 to x11 are free behind it; with
// old_pc = 1, x9 is where the kernel last let the program go.
.macro SAVE_REGS el, old_pc=0
    stp x0, x1, [sp, #0]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    .if \el == 0
    mrs x9, sp_el0
    .else
    add x9, sp, #REGS_SIZE
    .endif
    stp x30, x9, [sp, #240]
    mrs x10, elr_el1
    mrs x11, spsr_el1
    .if \old_pc
    ldr x9, [sp, #REGS_PC]
    .endif
    stp x10, x11, [sp, #REGS_PC]
.endm

.macro LOAD_X2_TO_X18
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
.endm

.macro LOAD_X19_TO_X29
    ldp x20, x21, [sp, #160]
    ldp x22, x23, [sp, #176]
    ldp x24, x25, [sp, #192]
    ldp x26, x27, [sp, #208]
    ldp x28, x29, [sp, #224]
.endm

// ---------------------------------------------------------------------------- vectors
// Four groups of four: current EL on SP_EL0, current EL on SP_EL1, lower EL AArch64, lower EL AArch32.
.macro VECTOR name
    .balign 128
    sub sp, sp, #REGS_SIZE
    b \name
.endm
.macro VECTORS sync
    .rept 4
    VECTOR bad_vector
    .endr
    VECTOR el1_sync
    VECTOR el1_irq
    VECTOR bad_vector
    VECTOR bad_vector
    VECTOR \sync
    VECTOR el0_irq
    VECTOR bad_vector
    VECTOR bad_vector
    .rept 4
    VECTOR bad_vector
    .endr
.endm

    .section .text.entry, "ax", @progbits
    .balign 2048
    .globl vectors, vectors_traced
vectors:
    VECTORS el0_sync
    .balign 2048
vectors_traced:
    VECTORS el0_sync_traced

// ---------------------------------------------------------------------------- system calls
    .balign 64
el0_sync:
    SAVE_REGS 0
    mrs x12, esr_el1
    lsr x13, x12, #26
    cmp x13, #EC_SVC64
    b.ne el0_exception
    mrs x14, tpidr_el1
    sxtw x15, w8                    // the number is an int: Linux ignores the upper half of x8
    mov w9, w8
    stp x0, x15, [sp, #REGS_ORIG_X0]
    cmp w9, #N_SYSCALLS
    b.hs odd_number
    ldr x13, [x14, #CPU_SYSCALL_COUNTS]
    ldr x15, [x13, x9, lsl #3]
    add x15, x15, #1
    str x15, [x13, x9, lsl #3]
    adrp x13, syscall_table
    add x13, x13, :lo12:syscall_table
    ldr x13, [x13, x9, lsl #3]
    blr x13
syscall_done:
    mrs x9, tpidr_el1
    ldr x9, [x9, #CPU_CURRENT]
    ldr w9, [x9, #THREAD_WORK]
    cbnz w9, syscall_work
    ldp x30, x9, [sp, #240]
    ldp x10, x11, [sp, #REGS_PC]
    msr sp_el0, x9
    msr elr_el1, x10
    msr spsr_el1, x11
    ldr x1, [sp, #8]
    LOAD_X2_TO_X18
    ldr x18, [sp, #144]
    add sp, sp, #REGS_SIZE
    eret

odd_number:
    mov x0, sp
    bl syscall_unknown
    b syscall_done

syscall_work:
    mov x1, x0
    mov x0, sp
    bl syscall_exit_work
    b restore_user

    .balign 16
el0_sync_traced:
    SAVE_REGS 0
    mrs x12, esr_el1
    lsr x13, x12, #26
    cmp x13, #EC_SVC64
    b.ne el0_exception
    mrs x14, tpidr_el1
    sxtw x15, w8
    mov w9, w8
    stp x0, x15, [sp, #REGS_ORIG_X0]
    cmp w9, #N_SYSCALLS
    b.hs odd_number
    ldr x13, [x14, #CPU_SYSCALL_COUNTS]
    ldr x15, [x13, x9, lsl #3]
    add x15, x15, #1
    str x15, [x13, x9, lsl #3]
    mov x0, sp
    bl syscall_traced
    b syscall_done

// ---------------------------------------------------------------------------- exceptions and interrupts
el0_exception:
    mov x9, #-1
    str x9, [sp, #REGS_SYSCALL_NR]
    mov x0, sp
    mov x1, x12
    mrs x2, far_el1
    bl a64_user_exception
    b return_from_trap

    .balign 64
el0_irq:
    SAVE_REGS 0, 1
    ldr x10, [sp, #REGS_SYSCALL_NR] // of the entry before: only a system call is remembered
    cmp x10, #0
    csinv x9, x9, xzr, ge
    mov x10, #-1
    stp x9, x10, [sp, #REGS_ORIG_X0]
    mov x0, sp
    bl a64_interrupt

// A new thread: switch.S comes here with sp at its struct regs.
    .globl return_from_trap
    .type return_from_trap, @function
return_from_trap:
    mrs x9, tpidr_el1
    ldr x9, [x9, #CPU_CURRENT]
    ldr w9, [x9, #THREAD_WORK]
    cbnz w9, trap_work
restore_user:
    ldp x30, x9, [sp, #240]
    ldp x10, x11, [sp, #REGS_PC]
    msr sp_el0, x9
    msr elr_el1, x10
    msr spsr_el1, x11
    ldp x0, x1, [sp, #0]
    LOAD_X2_TO_X18
    ldp x18, x19, [sp, #144]
    LOAD_X19_TO_X29
    add sp, sp, #REGS_SIZE
    eret
trap_work:
    mov x0, sp
    bl trap_exit_work
    b restore_user

    .balign 64
el1_sync:
    SAVE_REGS 1
    mov x0, sp
    mrs x1, esr_el1
    mrs x2, far_el1
    bl a64_kernel_exception
restore_kernel:
    ldr x30, [sp, #240]
    ldp x10, x11, [sp, #REGS_PC]
    msr elr_el1, x10
    msr spsr_el1, x11
    ldp x0, x1, [sp, #0]
    LOAD_X2_TO_X18
    ldp x18, x19, [sp, #144]
    LOAD_X19_TO_X29
    add sp, sp, #REGS_SIZE
    eret

    .balign 64
el1_irq:
    SAVE_REGS 1
    mov x0, sp
    bl a64_interrupt
    b restore_kernel

// FIQ, SError, AArch32, or a stack that no code uses: never returns.
bad_vector:
    SAVE_REGS 1
    mov x0, sp
    mrs x1, esr_el1
    mrs x2, far_el1
    bl a64_bad_vector
    b .

// ---------------------------------------------------------------------------- switching
// struct thread *switch_stacks(u64 *save_sp, u64 load_sp, struct thread *from)
// Returns on the other stack, with the `from` of the caller there: who ran before.
    .section .text.switch, "ax", @progbits
    .balign 16
    .globl switch_stacks
    .type switch_stacks, @function
switch_stacks:
    stp x29, x30, [sp, #-96]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    mov x0, x2
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp x29, x30, [sp], #96
    ret

// The first return of switch_stacks on a new stack comes to one of these two; x0 = who ran before.
// Kernel thread: x19 = function, x20 = its argument.
    .balign 16
    .globl start_kernel_thread
    .type start_kernel_thread, @function
start_kernel_thread:
    bl sched_first_run
    mov x0, x20
    blr x19
    brk #1                          // kernel threads end by thread_exit()

// User thread: sp = its struct regs.
    .balign 16
    .globl start_user_thread
    .type start_user_thread, @function
start_user_thread:
    bl sched_first_run
    b return_from_trap

// void arch_debug_jump(void): calls an address without a landing pad.
    .globl arch_debug_jump
    .type arch_debug_jump, @function
arch_debug_jump:
    stp x29, x30, [sp, #-16]!
    mov x29, sp
    adr x9, 1f
    blr x9
    ldp x29, x30, [sp], #16
    ret
1:  nop
    ret

// ---------------------------------------------------------------------------- vector state
.macro ALL_PAIRS insn
    \insn q0, q1, [x0, #0]
    \insn q2, q3, [x0, #32]
    \insn q4, q5, [x0, #64]
    \insn q6, q7, [x0, #96]
    \insn q8, q9, [x0, #128]
    \insn q10, q11, [x0, #160]
    \insn q12, q13, [x0, #192]
    \insn q14, q15, [x0, #224]
    \insn q16, q17, [x0, #256]
    \insn q18, q19, [x0, #288]
    \insn q20, q21, [x0, #320]
    \insn q22, q23, [x0, #352]
    \insn q24, q25, [x0, #384]
    \insn q26, q27, [x0, #416]
    \insn q28, q29, [x0, #448]
    \insn q30, q31, [x0, #480]
.endm

// void fpsimd_save(struct fpsimd_state *), void fpsimd_load(const struct fpsimd_state *)
    .balign 16
    .globl fpsimd_save, fpsimd_load
    .type fpsimd_save, @function
fpsimd_save:
    ALL_PAIRS stp
    mrs x1, fpsr
    mrs x2, fpcr
    add x0, x0, #512
    stp w1, w2, [x0]
    ret
    .type fpsimd_load, @function
fpsimd_load:
    ALL_PAIRS ldp
    add x0, x0, #512
    ldp w1, w2, [x0]
    msr fpsr, x1
    msr fpcr, x2
    ret

    .section .note.GNU-stack, "", @progbits
