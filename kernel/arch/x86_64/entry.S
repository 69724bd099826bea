// SPDX-License-Identifier: BSD-2-Clause
// entry.S: every way into the kernel after boot, and every way back out (docs/entry.md).
//
//   SYSCALL ------> entry_syscall -------> syscall_table[nr] ------> SYSRETQ      nothing to do
//                   entry_syscall_traced   syscall_traced(regs)  \-> syscall_exit_work -> SYSRETQ, IRETQ
//   #PF ----------> entry_page_fault ----> x86_page_fault       \
//   exceptions ---> entry_<name> --------> x86_exception         }-> return_from_trap -> IRETQ
//   interrupts ---> irq_stubs + 8 * n ---> x86_interrupt        /
//   #DB #DF NMI #MC on stacks of their own: from user mode they move to the thread's stack and go the
//                   way of exceptions; from the kernel they trust no GS and return straight.
//
// I1. Interrupts are off in all of this; what can still arrive is #DB, NMI and #MC.
// I2. From user mode, struct regs ends at the top of the thread's kernel stack.
// I3. GS base is the kernel's whenever C code runs; the user's lies in MSR_KERNEL_GS_BASE meanwhile.
// I4. DF and AC are clear whenever C code runs. SYSCALL clears them by MSR_SFMASK.
// I5. SYSRETQ is used only when rcx == rip, r11 == rflags and rip < USER_END; so a return to a
//     non-canonical address, which Intel CPUs report on the user's stack pointer, cannot happen.
//
// The fast path restores no callee-saved register (C code has done it) and never touches vector state.

#include "arch_impl/x86.h"
#include "asm_offsets.h"

// CLAC where the CPU has SMAP; three bytes of no-op before x86_patch_smap() has seen that it has.
.macro CLAC_IF_SMAP
.Lclac\@:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .rodata.smap_entry, "a"
    .quad .Lclac\@
    .popsection
.endm

    .section .rodata.smap_entry, "a"
    .globl smap_entry_sites, smap_entry_sites_end
smap_entry_sites:

// rdi is saved already.
.macro PUSH_REGS_BELOW_RDI
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
.endm

.macro POP_REGS
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
.endm

// In: rcx = user rip, r11 = user rflags, rsp = user stack. Out: struct regs on the kernel stack.
.macro SYSCALL_SAVE
    swapgs
    movq %rsp, %gs:CPU_SCRATCH
    movq %gs:CPU_KERNEL_STACK_TOP, %rsp
    pushq $SEL_USER_DS
    pushq %gs:CPU_SCRATCH
    pushq %r11
    pushq $SEL_USER_CS
    pushq %rcx
    pushq %rax                      // orig_rax
    pushq %rdi
    PUSH_REGS_BELOW_RDI
.endm

// ---------------------------------------------------------------------------- system calls
    .section .text.entry, "ax", @progbits
    .balign 64
    .globl entry_syscall
    .type entry_syscall, @function
entry_syscall:
    SYSCALL_SAVE
    cmpq $N_SYSCALLS, %rax
    jae .Lsyscall_odd_number
.Lsyscall_dispatch:
    movq %gs:CPU_SYSCALL_COUNTS, %rcx
    incq (%rcx,%rax,8)
    movq %r10, %rcx
    call *syscall_table(,%rax,8)
.Lsyscall_done:
    movq %gs:CPU_CURRENT, %rcx
    cmpl $0, THREAD_WORK(%rcx)
    jne .Lsyscall_work
    movq REGS_R10(%rsp), %r10
    movq REGS_R9(%rsp), %r9
    movq REGS_R8(%rsp), %r8
    movq REGS_RDX(%rsp), %rdx
    movq REGS_RSI(%rsp), %rsi
    movq REGS_RDI(%rsp), %rdi
    movq REGS_RIP(%rsp), %rcx
    movq REGS_RFLAGS(%rsp), %r11
    movq REGS_RSP(%rsp), %rsp
    swapgs
    sysretq

    // The number is an int: Linux ignores the upper half of rax.
.Lsyscall_odd_number:
    movl %eax, %eax
    cmpq $N_SYSCALLS, %rax
    jb .Lsyscall_dispatch
    movq %rsp, %rdi
    call syscall_unknown
    jmp .Lsyscall_done

.Lsyscall_work:
    movq %rsp, %rdi
    movq %rax, %rsi
    call syscall_exit_work          // false: the registers have changed
    testb %al, %al
    jz restore_user
    POP_REGS
    movq (REGS_RSP - REGS_ORIG_RAX)(%rsp), %rsp
    swapgs
    sysretq

    .balign 16
    .globl entry_syscall_traced
    .type entry_syscall_traced, @function
entry_syscall_traced:
    SYSCALL_SAVE
    movl %eax, %eax
    movq %rsp, %rdi
    cmpq $N_SYSCALLS, %rax
    jae 1f
    movq %gs:CPU_SYSCALL_COUNTS, %rcx
    incq (%rcx,%rax,8)
    call syscall_traced
    jmp .Lsyscall_done
1:  call syscall_unknown
    jmp .Lsyscall_done

// SYSCALL from 32-bit code, which cannot run: there is no such code segment. For completeness.
    .balign 16
    .globl entry_syscall32
    .type entry_syscall32, @function
entry_syscall32:
    movl $-38, %eax
    sysretl

// ---------------------------------------------------------------------------- the way back
// A new thread: switch.S comes here with rsp at its struct regs.
    .balign 16
    .globl return_from_trap
    .type return_from_trap, @function
return_from_trap:
    testb $3, REGS_CS(%rsp)
    jz restore_kernel
    movq %gs:CPU_CURRENT, %rax
    cmpl $0, THREAD_WORK(%rax)
    jne .Ltrap_work
restore_user:
    POP_REGS
    swapgs
    addq $8, %rsp
    iretq
restore_kernel:
    POP_REGS
    addq $8, %rsp
    iretq
.Ltrap_work:
    movq %rsp, %rdi
    call trap_exit_work
    jmp restore_user

// ---------------------------------------------------------------------------- exceptions
// In: the CPU's frame, an error code (or 0), then rdi; edi = vector.
    .balign 16
exception_common:
    cld
    CLAC_IF_SMAP
    testb $3, 24(%rsp)
    jz 1f
    swapgs
1:  PUSH_REGS_BELOW_RDI
    movq REGS_ORIG_RAX(%rsp), %rdx
    movq $-1, REGS_ORIG_RAX(%rsp)
    movq %rsp, %rsi
    call x86_exception
    jmp return_from_trap

.macro EXCEPTION name, vector, has_error=0
    .balign 8
    .globl entry_\name
    .type entry_\name, @function
entry_\name:
    .if \has_error == 0
    pushq $0
    .endif
    pushq %rdi
    movl $\vector, %edi
    jmp exception_common
.endm

    EXCEPTION divide_error, 0
    EXCEPTION breakpoint, 3
    EXCEPTION overflow, 4
    EXCEPTION bound, 5
    EXCEPTION invalid_opcode, 6
    EXCEPTION no_device, 7
    EXCEPTION coprocessor_overrun, 9
    EXCEPTION invalid_tss, 10, 1
    EXCEPTION no_segment, 11, 1
    EXCEPTION stack_fault, 12, 1
    EXCEPTION general_protection, 13, 1
    EXCEPTION fpu_error, 16
    EXCEPTION alignment_check, 17, 1
    EXCEPTION simd_error, 19
    EXCEPTION virtualization, 20
    EXCEPTION control_protection, 21, 1
    EXCEPTION reserved, 31

    .balign 64
    .globl entry_page_fault
    .type entry_page_fault, @function
entry_page_fault:
    cld
    CLAC_IF_SMAP
    testb $3, 16(%rsp)
    jz 1f
    swapgs
1:  pushq %rdi
    PUSH_REGS_BELOW_RDI
    movq REGS_ORIG_RAX(%rsp), %rdx
    movq $-1, REGS_ORIG_RAX(%rsp)
    movq %rsp, %rdi
    movq %cr2, %rsi
    call x86_page_fault
    jmp return_from_trap

// ---------------------------------------------------------------------------- on their own stacks
// The TSS points each such stack at a word that holds the address of the CPU-local area. The stack
// pointer was 16-byte aligned, so after struct regs has been pushed the word lies REGS_SIZE above.
// From user mode: copy the frame to the thread's stack and go on as an ordinary exception (it may
// sleep, and the next one may come on this stack). From the kernel: GS may be the user's or ours.
.macro EXCEPTION_IST name, vector, has_error=0
    .balign 8
    .globl entry_\name
    .type entry_\name, @function
entry_\name:
    .if \has_error == 0
    pushq $0
    .endif
    testb $3, 16(%rsp)
    jnz 1f
    pushq %rdi
    movl $\vector, %edi
    jmp ist_from_kernel
1:  swapgs
    movq %rdi, %gs:CPU_SCRATCH
    movl $\vector, %edi
    jmp ist_from_user
.endm

    EXCEPTION_IST debug, 1
    EXCEPTION_IST nmi, 2
    EXCEPTION_IST double_fault, 8, 1
    EXCEPTION_IST machine_check, 18

ist_from_user:
    movq %rax, %gs:CPU_SCRATCH + 8
    movq %rsp, %rax
    movq %gs:CPU_KERNEL_STACK_TOP, %rsp
    pushq 40(%rax)                  // ss
    pushq 32(%rax)                  // rsp
    pushq 24(%rax)                  // rflags
    pushq 16(%rax)                  // cs
    pushq 8(%rax)                   // rip
    pushq (%rax)                    // error code
    pushq %gs:CPU_SCRATCH           // rdi
    movq %gs:CPU_SCRATCH + 8, %rax
    swapgs                          // exception_common swaps once more
    jmp exception_common

ist_from_kernel:
    cld
    CLAC_IF_SMAP
    PUSH_REGS_BELOW_RDI
    movl $MSR_GS_BASE, %ecx
    rdmsr
    movl %eax, %r12d
    movl %edx, %r13d
    movq REGS_SIZE(%rsp), %rax
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    movq REGS_ORIG_RAX(%rsp), %rdx
    movq $-1, REGS_ORIG_RAX(%rsp)
    movq %rsp, %rsi
    call x86_exception
    movl $MSR_GS_BASE, %ecx
    movl %r12d, %eax
    movl %r13d, %edx
    wrmsr
    jmp restore_kernel

// ---------------------------------------------------------------------------- interrupts
// One stub of eight bytes for each vector from 32 to 255; the vector is pushed as a signed byte.
    .balign 64
    .globl irq_stubs
irq_stubs:
    vector = VEC_IRQ_BASE
    .rept 256 - VEC_IRQ_BASE
    .balign 8
    pushq $((vector ^ 0x80) - 0x80)
    jmp irq_common
    vector = vector + 1
    .endr

    .balign 16
irq_common:
    cld
    CLAC_IF_SMAP
    testb $3, 16(%rsp)
    jz 1f
    swapgs
1:  pushq %rdi
    PUSH_REGS_BELOW_RDI
    movzbl REGS_ORIG_RAX(%rsp), %edi
    movq $-1, REGS_ORIG_RAX(%rsp)
    movq %rsp, %rsi
    call x86_interrupt
    jmp return_from_trap

    .section .rodata.smap_entry, "a"
smap_entry_sites_end:

    .section .note.GNU-stack, "", @progbits
