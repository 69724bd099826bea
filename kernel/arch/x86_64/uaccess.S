// SPDX-License-Identifier: BSD-2-Clause
// uaccess.S: the only instructions of the kernel that touch user memory.
//
// Everything lies between uaccess_text_start and uaccess_text_end, where a page fault is first
// resolved like a fault of the program itself, or between uaccess_nofault_start and _end, where it
// is final. A fault that stays goes to the fixup of its instruction (.ex_table), with the registers
// as the instruction had them. Fixups of 8-byte steps go on byte by byte, so that the count of bytes
// not copied is exact.
//
// STAC and CLAC are three-byte no-ops until trap.c finds SMAP.
// Ranges are checked as: len <= USER_END and from <= USER_END - len; nothing can wrap.

#define USER_END 0x00007ffffffff000
#define EFAULT 14
#define ENAMETOOLONG 36
// Up to this many bytes are copied by plain loads and stores: a rep costs some 30 cycles to start.
#define REP_MIN 64

.macro STAC
.Lsmap\@:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .rodata.smap_stac, "a"
    .quad .Lsmap\@
    .popsection
.endm
.macro CLAC
.Lsmap\@:
    .byte 0x0f, 0x1f, 0x00
    .pushsection .rodata.smap_clac, "a"
    .quad .Lsmap\@
    .popsection
.endm
.macro EX insn, fixup
    .pushsection .ex_table, "a"
    .quad \insn, \fixup
    .popsection
.endm
.macro FUNCTION name
    .balign 16
    .globl \name
    .type \name, @function
\name:
.endm

    .section .rodata.smap_stac, "a"
    .globl smap_stac_sites, smap_stac_sites_end
smap_stac_sites:
    .section .rodata.smap_clac, "a"
    .globl smap_clac_sites, smap_clac_sites_end
smap_clac_sites:

    .section .data.uaccess, "aw"
    .globl uaccess_fast_strings
uaccess_fast_strings: .byte 0       // rep movsb is the fastest copy of this CPU

    .section .text.uaccess, "ax", @progbits

// Copies rdx bytes from rsi to rdi; user is the register that points into user memory.
// whole = 1: 0 or -EFAULT; 0: the number of bytes not copied.
.macro COPY name, user, whole
FUNCTION \name
    movabsq $USER_END, %rax
    subq %rdx, %rax
    jb 9f
    cmpq %rax, \user
    ja 9f
    STAC
    cmpq $16, %rdx
    jbe 10f
0:  movq %rdx, %rcx
    cmpq $REP_MIN, %rdx
    ja 6f
    shrl $3, %ecx
    jz 3f
1:  movq (%rsi), %rax
2:  movq %rax, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    decl %ecx
    jnz 1b
    EX 1b, 7f
    EX 2b, 7f
3:  testl $4, %edx                  // the tail: rdx & 7 bytes
    jz 4f
31: movl (%rsi), %eax
32: movl %eax, (%rdi)
    addq $4, %rsi
    addq $4, %rdi
    EX 31b, 7f
    EX 32b, 7f
    andl $3, %edx
4:  movl %edx, %ecx
    andl $3, %ecx
    jz 5f
41: movb (%rsi), %al
42: movb %al, (%rdi)
    incq %rsi
    incq %rdi
    decq %rcx
    jnz 41b
    EX 41b, 8f
    EX 42b, 8f
5:  CLAC
    xorl %eax, %eax
    ret
6:  cmpb $0, uaccess_fast_strings
    jne 61f
    shrq $3, %rcx
60: rep movsq
    EX 60b, 7f
    jmp 3b
61: rep movsb
    EX 61b, 8f
    jmp 5b
10: jne 12f                         // 16 and 8 bytes: most calls
109: movq (%rsi), %rax
11: movq 8(%rsi), %rcx
110: movq %rax, (%rdi)
111: movq %rcx, 8(%rdi)
    CLAC
    xorl %eax, %eax
    ret
    EX 109b, 13f
    EX 11b, 13f
    EX 110b, 13f
    EX 111b, 13f
12: cmpl $1, %edx
    je 14f
    cmpl $8, %edx
    jne 0b
120: movq (%rsi), %rax
121: movq %rax, (%rdi)
    CLAC
    xorl %eax, %eax
    ret
    EX 120b, 13f
    EX 121b, 13f
13: movl %edx, %ecx                 // from the start, byte by byte
    jmp 41b
14: movl %edx, %ecx                 // one byte: what wakes somebody through a pipe
140: movb (%rsi), %al
141: movb %al, (%rdi)
    CLAC
    xorl %eax, %eax
    ret
    EX 140b, 8f
    EX 141b, 8f
7:  leaq (,%rcx,8), %rcx            // rcx steps of eight, then rdx & 7 bytes
    andl $7, %edx
    addq %rdx, %rcx
    jmp 41b
8:  CLAC                            // rcx bytes are left
    .if \whole
    movq $-EFAULT, %rax
    .else
    movq %rcx, %rax
    .endif
    ret
9:  .if \whole
    movq $-EFAULT, %rax
    .else
    movq %rdx, %rax
    .endif
    ret
.endm

FUNCTION uaccess_text_start
    COPY copy_from_user, %rsi, 1
    COPY copy_to_user, %rdi, 1
    COPY copy_from_user_partial, %rsi, 0
    COPY copy_to_user_partial, %rdi, 0

// int clear_user(uptr_t to, size_t len)
FUNCTION clear_user
    movabsq $USER_END, %rax
    subq %rsi, %rax
    jb 9f
    cmpq %rax, %rdi
    ja 9f
    STAC
    xorl %eax, %eax
    movq %rsi, %rcx
    shrq $3, %rcx
1:  rep stosq
    movl %esi, %ecx
    andl $7, %ecx
2:  rep stosb
    CLAC
    ret
    EX 1b, 8f
    EX 2b, 8f
8:  CLAC
9:  movl $-EFAULT, %eax
    ret

// ssize_t strncpy_from_user(char *to, uptr_t from, size_t max)
// Eight bytes at a time while they lie in one page; x has a zero byte iff (x - 0x01..) & ~x & 0x80..
FUNCTION strncpy_from_user
    movabsq $USER_END, %rax
    subq %rsi, %rax
    jbe 9f
    movq $-ENAMETOOLONG, %r8        // what running out of max means
    cmpq %rax, %rdx
    jbe 1f
    movq %rax, %rdx
    movq $-EFAULT, %r8              // what running into USER_END means
1:  STAC
    xorl %ecx, %ecx
    movabsq $0x0101010101010101, %r9
    movabsq $0x8080808080808080, %r10
2:  leaq 8(%rcx), %rax
    cmpq %rdx, %rax
    ja 4f
    leaq (%rsi,%rcx), %rax
    andl $4095, %eax
    cmpl $4088, %eax
    ja 4f
3:  movq (%rsi,%rcx), %rax
    movq %rax, (%rdi,%rcx)
    movq %rax, %r11
    subq %r9, %r11
    notq %rax
    andq %r10, %r11
    andq %rax, %r11
    jnz 6f
    addq $8, %rcx
    jmp 2b
4:  cmpq %rdx, %rcx
    jae 7f
5:  movb (%rsi,%rcx), %al
    movb %al, (%rdi,%rcx)
    testb %al, %al
    jz 55f
    incq %rcx
    jmp 2b
55: CLAC
    movq %rcx, %rax
    ret
6:  bsfq %r11, %rax
    shrl $3, %eax
    addq %rcx, %rax
    CLAC
    ret
7:  CLAC
    movq %r8, %rax
    ret
8:  CLAC
9:  movq $-EFAULT, %rax
    ret
    EX 3b, 8b
    EX 5b, 8b

// The scalars have a convention of their own, for the inline functions of arch_impl/uaccess.h: they
// change rax and rdx alone. user_get_u32(rdi = from): the value in rax, 0 or -EFAULT in edx.
.macro GET_INLINE name, load, reg, size
FUNCTION \name
    movabsq $USER_END - \size, %rax
    cmpq %rax, %rdi
    ja 9f
    xorl %edx, %edx
    STAC
1:  \load (%rdi), %\reg
    CLAC
    ret
8:  CLAC
9:  movl $-EFAULT, %edx
    ret
    EX 1b, 8b
.endm
    GET_INLINE user_get_u8, movzbl, eax, 1
    GET_INLINE user_get_u32, movl, eax, 4
    GET_INLINE user_get_u64, movq, rax, 8

// int get_user_u32_nofault(u32 *out, uptr_t from)
.macro GET name, load, reg, size
FUNCTION \name
    movabsq $USER_END - \size, %rax
    cmpq %rax, %rsi
    ja 9f
    STAC
1:  \load (%rsi), %\reg
    CLAC
    \load %\reg, (%rdi)
    xorl %eax, %eax
    ret
8:  CLAC
9:  movl $-EFAULT, %eax
    ret
    EX 1b, 8b
.endm

// user_put_u32(rdi = to, rsi = value): 0 or -EFAULT in eax
.macro PUT name, store, reg, size
FUNCTION \name
    movabsq $USER_END - \size, %rax
    cmpq %rax, %rdi
    ja 9f
    STAC
1:  \store %\reg, (%rdi)
    CLAC
    xorl %eax, %eax
    ret
8:  CLAC
9:  movl $-EFAULT, %eax
    ret
    EX 1b, 8b
.endm
    PUT user_put_u8, movb, sil, 1
    PUT user_put_u32, movl, esi, 4
    PUT user_put_u64, movq, rsi, 8

// user_put_two_u64(rdi = to, rsi, rdx = values): 0 or -EFAULT in eax
FUNCTION user_put_two_u64
    movabsq $USER_END - 16, %rax
    cmpq %rax, %rdi
    ja 9f
    STAC
1:  movq %rsi, (%rdi)
2:  movq %rdx, 8(%rdi)
    CLAC
    xorl %eax, %eax
    ret
8:  CLAC
9:  movl $-EFAULT, %eax
    ret
    EX 1b, 8b
    EX 2b, 8b

// int user_cmpxchg_u32(uptr_t at, u32 expected, u32 desired, u32 *old)
FUNCTION user_cmpxchg_u32
    movabsq $USER_END - 4, %rax
    cmpq %rax, %rdi
    ja 9f
    movl %esi, %eax
    STAC
1:  lock cmpxchgl %edx, (%rdi)
    CLAC
    movl %eax, (%rcx)
    xorl %eax, %eax
    ret
8:  CLAC
9:  movl $-EFAULT, %eax
    ret
    EX 1b, 8b

// int user_futex_op(uptr_t at, int op, u32 arg, u32 *old): set, add, or, and-not, xor
FUNCTION user_futex_op
    movabsq $USER_END - 4, %rax
    cmpq %rax, %rdi
    ja 9f
    movl %edx, %eax
    cmpl $1, %esi
    ja 2f
    je 1f
    STAC
0:  xchgl %eax, (%rdi)
    jmp 7f
1:  STAC
11: lock xaddl %eax, (%rdi)
    jmp 7f
2:  cmpl $3, %esi
    jne 3f
    notl %edx
3:  STAC
31: movl (%rdi), %eax
4:  movl %edx, %r8d
    cmpl $3, %esi
    ja 5f
    je 6f
    orl %eax, %r8d
    jmp 61f
5:  xorl %eax, %r8d
    jmp 61f
6:  andl %eax, %r8d
61: lock cmpxchgl %r8d, (%rdi)
    jne 4b
7:  CLAC
    movl %eax, (%rcx)
    xorl %eax, %eax
    ret
8:  CLAC
9:  movl $-EFAULT, %eax
    ret
    EX 0b, 8b
    EX 11b, 8b
    EX 31b, 8b
    EX 61b, 8b

// Vector state to and from a signal frame: int xsave_user(uptr_t area, u64 mask). The area is
// checked to lie in user memory by the caller. XRSTOR of nonsense raises #GP, which is fixed up too.
.macro VECTOR name, insn
FUNCTION \name
    movl %esi, %eax
    movq %rsi, %rdx
    shrq $32, %rdx
    STAC
1:  \insn (%rdi)
    CLAC
    xorl %eax, %eax
    ret
8:  CLAC
    movl $-EFAULT, %eax
    ret
    EX 1b, 8b
.endm
    VECTOR xsave_user, xsave64
    VECTOR xrstor_user, xrstor64
    VECTOR fxsave_user, fxsave64
    VECTOR fxrstor_user, fxrstor64
FUNCTION uaccess_text_end

FUNCTION uaccess_nofault_start
    COPY copy_from_user_nofault, %rsi, 0
    COPY copy_to_user_nofault, %rdi, 0
    GET get_user_u32_nofault, movl, eax, 4
FUNCTION uaccess_nofault_end

    .section .rodata.smap_stac, "a"
smap_stac_sites_end:
    .section .rodata.smap_clac, "a"
smap_clac_sites_end:

    .section .note.GNU-stack, "", @progbits
