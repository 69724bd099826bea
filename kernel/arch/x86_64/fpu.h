// SPDX-License-Identifier: BSD-2-Clause
// fpu.h: the save area of vector state, and what fpu.c does with it.
#pragma once

#include "core/base.h"

#define NO_CPU UINT32_MAX

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
    u64 features;   // XCR0
    u32 area_size;  // bytes, standard format
    bool xsave, xsaveopt;
};
extern struct fpu_info fpu;

struct xsave_area *fpu_area_alloc(void);  // initial state; NULL: no memory
void fpu_area_free(struct xsave_area *area);
void fpu_save_current_to(struct xsave_area *area);
void fpu_reset_current(void);  // initial state for the running thread
