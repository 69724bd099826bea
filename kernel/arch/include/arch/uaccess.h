// SPDX-License-Identifier: BSD-2-Clause
// arch/uaccess.h (contract 6 of 8): reading and writing user memory.
//
// Every function checks that the range lies below USER_END, opens user access (STAC, PAN off), and
// survives a fault through a fixup table. Demand faults are resolved on the way (may sleep on the
// address-space lock). => 0, or -EFAULT with part of the data possibly moved.
#pragma once

#include "core/base.h"

typedef uintptr_t uptr_t;  // a user address

int copy_from_user(void *to, uptr_t from, size_t len);
int copy_to_user(uptr_t to, const void *from, size_t len);
// As above, but give the number of bytes NOT copied (for read, write, and vectors: short counts).
size_t copy_from_user_partial(void *to, uptr_t from, size_t len);
size_t copy_to_user_partial(uptr_t to, const void *from, size_t len);
int clear_user(uptr_t to, size_t len);
// Length without the terminator, or -EFAULT; -ENAMETOOLONG when max bytes hold no terminator.
ssize_t strncpy_from_user(char *to, uptr_t from, size_t max);

// Naturally aligned scalars, atomic as the CPU's plain loads and stores are; inline functions of
// kernel/arch/<arch>/include/arch_impl/uaccess.h:
//     int get_user_u8(u8 *out, uptr_t from), get_user_u32, get_user_u64
//     int put_user_u8(uptr_t to, u8 value), put_user_u32, put_user_u64
//     int put_user_two_u64(uptr_t to, u64 first, u64 second)   one behind the other
#include "arch_impl/uaccess.h"

// Futex words. cmpxchg: *old gets the value that was there. => 0, -EFAULT
int user_cmpxchg_u32(uptr_t at, u32 expected, u32 desired, u32 *old);
// FUTEX_WAKE_OP: op as in futex(2) FUTEX_OP_*: 0 set, 1 add, 2 or, 3 andn, 4 xor. *old as above.
int user_futex_op(uptr_t at, int op, u32 arg, u32 *old);

// The same without resolving faults (never sleeps): -EFAULT when the page is not there.
int get_user_u32_nofault(u32 *out, uptr_t from);

// For code that runs under a lock that a fault would need: copy without resolving faults.
size_t copy_from_user_nofault(void *to, uptr_t from, size_t len);
size_t copy_to_user_nofault(uptr_t to, const void *from, size_t len);
