// SPDX-License-Identifier: BSD-2-Clause
// x86-64 half of arch/uaccess.h: the scalars. They call uaccess.S with a convention that spares all
// registers but rax and rdx, so that a system call of a few lines needs no stack frame.
#pragma once

#include "core/base.h"

#define USER_GET(bits)                                                                             \
    static inline int get_user_u##bits(u##bits *out, u64 from)                                     \
    {                                                                                              \
        u64 value;                                                                                 \
        int err;                                                                                   \
        __asm__ volatile("call user_get_u" #bits : "=a"(value), "=d"(err) : "D"(from) : "memory"); \
        if (unlikely(err))                                                                         \
            return err;                                                                            \
        *out = (u##bits)value;                                                                     \
        return 0;                                                                                  \
    }
#define USER_PUT(bits)                                        \
    static inline int put_user_u##bits(u64 to, u##bits value) \
    {                                                         \
        int err;                                              \
        __asm__ volatile("call user_put_u" #bits              \
                         : "=a"(err)                          \
                         : "D"(to), "S"((u64)value)           \
                         : "memory");                         \
        return err;                                           \
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
    int err;
    __asm__ volatile("call user_put_two_u64"
                     : "=a"(err)
                     : "D"(to), "S"(first), "d"(second)
                     : "memory");
    return err;
}
