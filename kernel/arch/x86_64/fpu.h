// SPDX-License-Identifier: BSD-2-Clause
// fpu.h: the save area of vector state, and what fpu.c does with it.
#pragma once

#include "core/base.h"

#define NO_CPU UINT32_MAX
#define XCR0_PKRU 0x200u

// Protection keys (SDM vol. 3A, 4.6.2): two bits a key, no access and no writing. A program, and each signal handler,
// starts with access to key 0 alone, as on Linux; after INIT the register is 0.
#define PKRU_START 0x55555554u
static inline u32 read_pkru(void)
{
    u32 value, high;
    __asm__ volatile("rdpkru" : "=a"(value), "=d"(high) : "c"(0));
    return value;
}
static inline void write_pkru(u32 value)
{
    __asm__ volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}

// Byte offsets are the CPU's (SDM volume 1, 13.4): legacy area, then header, then the components.
struct xsave_area {
    u16 fcw, fsw, ftw, fop;
    u64 fip, fdp;
    u32 mxcsr, mxcsr_mask;
    u8 st[128], xmm[256];
    u8 reserved[48];
    u8 software[48];  // 464: never touched by the CPU; signal frames say here what follows
    u64 xstate_bv;    // 512
    u64 xcomp_bv;
    u64 header_reserved[6];
} __aligned(64);
_Static_assert(sizeof(struct xsave_area) == 576, "XSAVE area");

struct fpu_info {
    u64 features;     // XCR0
    u32 area_size;    // bytes, standard format
    u32 pkru_offset;  // of PKRU in the area, if features has XCR0_PKRU
    bool xsave, xsaveopt;
};
extern struct fpu_info fpu;

struct xsave_area *fpu_area_alloc(void);  // initial state; NULL: no memory
void fpu_area_free(struct xsave_area *area);
void fpu_save_current_to(struct xsave_area *area);
void fpu_reset_current(void);  // initial state for the running thread
