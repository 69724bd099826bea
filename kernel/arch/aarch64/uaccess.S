// SPDX-License-Identifier: BSD-2-Clause
// uaccess.S: the only instructions of the kernel that touch user memory.
//
// Everything lies between uaccess_text_start and uaccess_text_end, where a page fault is first
// resolved like a fault of the program itself, or between uaccess_nofault_start and _end, where it
// is final. A fault that stays goes to the fixup of its instruction (.ex_table), with the registers
// as the instruction had them. Fixups of longer steps go on byte by byte, so that the count of bytes
// not copied is exact.
//
// Loads and stores are the unprivileged ones (LDTR, STTR), which have the program's rights whether the CPU has PAN or
// not, so nothing is opened and closed. Exclusive accesses have no such form: around them PAN is cleared.
// Ranges are checked as: len <= USER_END and from <= USER_END - len; nothing can wrap.

#define USER_END 0x0001000000000000
#define EFAULT 14
#define ENAMETOOLONG 36

.macro EX insn, fixup
    .pushsection .ex_table, "a"
    .balign 8
    .quad \insn, \fixup
    .popsection
.endm
.macro FUNCTION name
    .balign 16
    .globl \name
    .type \name, @function
\name:
.endm
    .section .text.uaccess, "ax", @progbits

// \size is empty, h or b; a fault goes to \fixup.
.macro LOAD from_user, size, reg, offset, fixup
    .if \from_user
9000:
    ldtr\size \reg, [x1, #\offset]
    EX 9000b, \fixup
    .else
    ldr\size \reg, [x1, #\offset]
    .endif
.endm
.macro STORE from_user, size, reg, offset, fixup
    .if \from_user
    str\size \reg, [x0, #\offset]
    .else
9000:
    sttr\size \reg, [x0, #\offset]
    EX 9000b, \fixup
    .endif
.endm

// Copies x2 bytes from x1 to x0. whole = 1: 0 or -EFAULT; 0: the number of bytes not copied.
// x2 is always what is left from x0 and x1 on.
.macro COPY name, from_user, whole
FUNCTION \name
    mov x3, #USER_END
    subs x3, x3, x2
    b.lo 8f
    .if \from_user
    cmp x1, x3
    .else
    cmp x0, x3
    .endif
    b.hi 8f
    cmp x2, #32
    b.lo 2f
1:  LOAD \from_user, , x4, 0, 4f
    LOAD \from_user, , x5, 8, 4f
    LOAD \from_user, , x6, 16, 4f
    LOAD \from_user, , x7, 24, 4f
    STORE \from_user, , x4, 0, 4f
    STORE \from_user, , x5, 8, 4f
    STORE \from_user, , x6, 16, 4f
    STORE \from_user, , x7, 24, 4f
    add x1, x1, #32
    add x0, x0, #32
    sub x2, x2, #32
    cmp x2, #32
    b.hs 1b
2:  cmp x2, #8
    b.lo 4f
3:  LOAD \from_user, , x4, 0, 4f
    STORE \from_user, , x4, 0, 4f
    add x1, x1, #8
    add x0, x0, #8
    sub x2, x2, #8
    cmp x2, #8
    b.hs 3b
4:  cbz x2, 6f
5:  LOAD \from_user, b, w4, 0, 8f
    STORE \from_user, b, w4, 0, 8f
    add x1, x1, #1
    add x0, x0, #1
    subs x2, x2, #1
    b.ne 5b
6:  mov x0, #0
    ret
8:  .if \whole
    mov x0, #-EFAULT
    .else
    mov x0, x2
    .endif
    ret
.endm

FUNCTION uaccess_text_start
    COPY copy_from_user, 1, 1
    COPY copy_to_user, 0, 1
    COPY copy_from_user_partial, 1, 0
    COPY copy_to_user_partial, 0, 0

// int clear_user(uptr_t to, size_t len)
FUNCTION clear_user
    mov x3, #USER_END
    subs x3, x3, x1
    b.lo 8f
    cmp x0, x3
    b.hi 8f
    subs x1, x1, #8
    b.lo 2f
1:  sttr xzr, [x0]
    EX 1b, 8f
    add x0, x0, #8
    subs x1, x1, #8
    b.hs 1b
2:  adds x1, x1, #8
    b.eq 4f
3:  sttrb wzr, [x0]
    EX 3b, 8f
    add x0, x0, #1
    subs x1, x1, #1
    b.ne 3b
4:  mov x0, #0
    ret
8:  mov x0, #-EFAULT
    ret

// ssize_t strncpy_from_user(char *to, uptr_t from, size_t max)
// Eight bytes at a time while they lie in one page; x has a zero byte iff (x - 0x01..) & ~x & 0x80..
FUNCTION strncpy_from_user
    mov x3, #USER_END
    subs x3, x3, x1
    b.ls 8f
    mov x9, #-ENAMETOOLONG          // what running out of max means
    cmp x2, x3
    b.ls 1f
    mov x2, x3
    mov x9, #-EFAULT                // what running into USER_END means
1:  mov x4, #0
    mov x5, #0x0101010101010101
2:  add x6, x4, #8
    cmp x6, x2
    b.hi 4f
    add x7, x1, x4
    and x8, x7, #4095
    cmp x8, #4088
    b.hi 4f
3:  ldtr x8, [x7]
    EX 3b, 8f
    str x8, [x0, x4]
    sub x10, x8, x5
    bic x10, x10, x8
    ands x10, x10, #0x8080808080808080
    b.ne 6f
    mov x4, x6
    b 2b
4:  cmp x4, x2
    b.hs 7f
    add x7, x1, x4
5:  ldtrb w8, [x7]
    EX 5b, 8f
    strb w8, [x0, x4]
    cbz w8, 55f
    add x4, x4, #1
    b 2b
55: mov x0, x4
    ret
6:  rbit x10, x10
    clz x10, x10
    add x0, x4, x10, lsr #3
    ret
7:  mov x0, x9
    ret
8:  mov x0, #-EFAULT
    ret

// The scalars have a convention of their own, for the inline functions of arch_impl/uaccess.h: they
// change x0 and x1 alone. user_get_u32(x0 = from): the value in x0, 0 or -EFAULT in x1.
.macro GET_INLINE name, size, reg, bytes
FUNCTION \name
    mov x1, #USER_END - \bytes
    cmp x0, x1
    b.hi 8f
1:  ldtr\size \reg, [x0]
    EX 1b, 8f
    mov x1, #0
    ret
8:  mov x1, #-EFAULT
    ret
.endm
    GET_INLINE user_get_u8, b, w0, 1
    GET_INLINE user_get_u32, , w0, 4
    GET_INLINE user_get_u64, , x0, 8

// user_put_u32(x0 = to, x1 = value): 0 or -EFAULT in x0. A wrong address is any with the upper 16 bits set: the last
// bytes below USER_END fault by themselves, for nothing is mapped behind them in TTBR0.
.macro PUT name, size, reg
FUNCTION \name
    tst x0, #0xffff000000000000
    b.ne 8f
1:  sttr\size \reg, [x0]
    EX 1b, 8f
    mov x0, #0
    ret
8:  mov x0, #-EFAULT
    ret
.endm
    PUT user_put_u8, b, w1
    PUT user_put_u32, , w1
    PUT user_put_u64, , x1

// user_put_two_u64(x0 = to, x1, x2 = values): 0 or -EFAULT in x0
FUNCTION user_put_two_u64
    tst x0, #0xffff000000000000
    b.ne 8f
1:  sttr x1, [x0]
2:  sttr x2, [x0, #8]
    EX 1b, 8f
    EX 2b, 8f
    mov x0, #0
    ret
8:  mov x0, #-EFAULT
    ret

// PAN as an immediate, for an assembler that does not know it; x9 says whether the CPU has it.
.macro PAN_CLEAR
    adrp x9, a64_has_pan
    ldrb w9, [x9, :lo12:a64_has_pan]
    cbz w9, 9001f
    .inst 0xd500409f
9001:
.endm
.macro PAN_SET
    cbz w9, 9001f
    .inst 0xd500419f
9001:
.endm

// int user_cmpxchg_u32(uptr_t at, u32 expected, u32 desired, u32 *old)
FUNCTION user_cmpxchg_u32
    mov x4, #USER_END - 4
    cmp x0, x4
    b.hi 8f
    PAN_CLEAR
1:  ldaxr w5, [x0]
    cmp w5, w1
    b.ne 3f
2:  stlxr w6, w2, [x0]
    cbnz w6, 1b
3:  PAN_SET
    clrex
    dmb ish
    str w5, [x3]
    mov x0, #0
    ret
7:  PAN_SET
8:  mov x0, #-EFAULT
    ret
    EX 1b, 7b
    EX 2b, 7b

// int user_futex_op(uptr_t at, int op, u32 arg, u32 *old): set, add, or, and-not, xor
FUNCTION user_futex_op
    mov x4, #USER_END - 4
    cmp x0, x4
    b.hi 8f
    PAN_CLEAR
1:  ldaxr w5, [x0]
    cmp w1, #1
    mov w6, w2
    b.lo 2f
    add w6, w5, w2
    b.eq 2f
    cmp w1, #3
    orr w6, w5, w2
    b.lo 2f
    bic w6, w5, w2
    b.eq 2f
    eor w6, w5, w2
2:  stlxr w7, w6, [x0]
    cbnz w7, 1b
    PAN_SET
    dmb ish
    str w5, [x3]
    mov x0, #0
    ret
7:  PAN_SET
8:  mov x0, #-EFAULT
    ret
    EX 1b, 7b
    EX 2b, 7b
FUNCTION uaccess_text_end

FUNCTION uaccess_nofault_start
    COPY copy_from_user_nofault, 1, 0
    COPY copy_to_user_nofault, 0, 0

// int get_user_u32_nofault(u32 *out, uptr_t from)
FUNCTION get_user_u32_nofault
    mov x3, #USER_END - 4
    cmp x1, x3
    b.hi 8f
1:  ldtr w3, [x1]
    EX 1b, 8f
    str w3, [x0]
    mov x0, #0
    ret
8:  mov x0, #-EFAULT
    ret
FUNCTION uaccess_nofault_end

    .section .note.GNU-stack, "", @progbits
