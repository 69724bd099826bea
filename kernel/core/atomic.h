// SPDX-License-Identifier: BSD-2-Clause
// atomic.h: short names over the compiler's atomic built-ins. Plain integers are used as atomics;
// a field that is accessed this way says so in its comment.
#pragma once

#include "core/base.h"

#define atomic_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define atomic_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
// A store that no later load passes: for those who tell and then look, while somebody else looks after telling. A fence
// does it, not the order of the accesses alone: QEMU on x86 lets the load of an LDAR pass an earlier STLR, and every Arm
// CPU lets a plain load pass the store of an exclusive pair. So who looks after an atomic change looks with atomic_load.
#define atomic_store_seq(p, v)                    \
    do {                                          \
        __atomic_store_n(p, v, __ATOMIC_RELEASE); \
        atomic_fence();                           \
    } while (0)
#define atomic_store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define atomic_add(p, v) __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL)  // returns the new value
#define atomic_sub(p, v) __atomic_sub_fetch(p, v, __ATOMIC_ACQ_REL)
#define atomic_fetch_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL)
#define atomic_fetch_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_ACQ_REL)
#define atomic_xchg(p, v) __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL)
#define atomic_cmpxchg(p, expected_ptr, v) \
    __atomic_compare_exchange_n(p, expected_ptr, v, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define atomic_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
