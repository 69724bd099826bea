// SPDX-License-Identifier: BSD-2-Clause
// aarch64 half of arch/uaccess.h: the scalars. They call uaccess.S with a convention that spares all
// registers but x0, x1 and the link register, so that a system call of a few lines keeps its values in registers.
#pragma once

#include "core/base.h"

#define USER_GET(bits)                                         \
    static inline int get_user_u##bits(u##bits *out, u64 from) \
    {                                                          \
        register u64 value __asm__("x0") = from;               \
        register int err __asm__("x1");                        \
        __asm__ volatile("bl user_get_u" #bits                 \
                         : "+r"(value), "=r"(err)              \
                         :                                     \
                         : "x30", "cc", "memory");             \
        if (unlikely(err))                                     \
            return err;                                        \
        *out = (u##bits)value;                                 \
        return 0;                                              \
    }
#define USER_PUT(bits)                                                                            \
    static inline int put_user_u##bits(u64 to, u##bits value)                                     \
    {                                                                                             \
        register u64 at __asm__("x0") = to;                                                       \
        register u64 what __asm__("x1") = value;                                                  \
        __asm__ volatile("bl user_put_u" #bits : "+r"(at), "+r"(what) : : "x30", "cc", "memory"); \
        return (int)at;                                                                           \
    }
USER_GET(8)
USER_GET(32)
USER_GET(64)
USER_PUT(8)
USER_PUT(32)
USER_PUT(64)
#undef USER_GET
#undef USER_PUT

static inline int put_user_two_u64(u64 to, u64 first, u64 second)
{
    register u64 at __asm__("x0") = to;
    register u64 one __asm__("x1") = first;
    register u64 two __asm__("x2") = second;
    __asm__ volatile("bl user_put_two_u64"
                     : "+r"(at), "+r"(one)
                     : "r"(two)
                     : "x30", "cc", "memory");
    return (int)at;
}
