// SPDX-License-Identifier: BSD-2-Clause
// fpu.c: vector state (Intel SDM volume 1, chapter 13).
//
// The kernel is compiled without vector instructions, so the registers always hold the state of some
// user thread. It is saved when its thread leaves the CPU, and loaded when a thread arrives whose
// state the registers do not hold already:
//
//   registers valid for t  <=>  percpu(vector_owner) == &t->arch && t->arch.vector_cpu == this CPU
//
// Both halves are needed: the thread may have run elsewhere since (vector_cpu), and another thread
// may have run here (vector_owner). So a thread that sleeps and comes back to the same CPU with only
// kernel threads in between costs one save and no load.
//
// Standard (not compacted) format, because signal frames have it. XSAVEOPT writes only what changed
// since the load. AMX is left out of XCR0: no state of 8 KiB a thread for nothing. On a CPU without
// XSAVE: FXSAVE, the first 512 bytes of the same area.
#include "arch/thread.h"
#include "core/cpu.h"
#include "entry.h"
#include "fpu.h"

#include "mm/page.h"
#include "string.h"
#include "task/thread.h"

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u
#define XCR0_AVX512 0xe0u

#define MXCSR_DEFAULT 0x1f80
#define FCW_DEFAULT 0x37f

struct fpu_info fpu = {.features = XCR0_X87 | XCR0_SSE, .area_size = 512};

static DEFINE_PERCPU(struct arch_thread *, vector_owner);
static struct kcache *area_cache;

void fpu_init(void)
{
    if (!x86_features.xsave)
        return;
    u64 can = cpuid(0xd, 0).eax;
    u64 want = XCR0_X87 | XCR0_SSE;
    if (can & XCR0_AVX)
        want |= XCR0_AVX;
    if ((want & XCR0_AVX) && (can & XCR0_AVX512) == XCR0_AVX512)
        want |= XCR0_AVX512;
    if (x86_features.pku) {
        want |= XCR0_PKRU;
        fpu.pkru_offset = cpuid(0xd, 9).ebx;
    }
    fpu.features = want;
    fpu.xsave = true;
    fpu.xsaveopt = x86_features.xsaveopt;
}

void fpu_init_cpu(void)
{
    write_cr0((read_cr0() & ~(u64)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
    u64 cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (fpu.xsave)
        cr4 |= CR4_OSXSAVE;
    write_cr4(cr4);
    if (fpu.xsave) {
        xsetbv(0, fpu.features);
        fpu.area_size = cpuid(0xd, 0).ebx;  // for what XCR0 has enabled
    }
}

static inline void save(struct xsave_area *area)
{
    u32 low = (u32)fpu.features, high = (u32)(fpu.features >> 32);
    if (likely(fpu.xsaveopt))
        __asm__ volatile("xsaveopt64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
    else if (fpu.xsave)
        __asm__ volatile("xsave64 %0" : "+m"(*area) : "a"(low), "d"(high) : "memory");
    else
        __asm__ volatile("fxsave64 %0" : "+m"(*area) : : "memory");
}

static inline void load(const struct xsave_area *area)
{
    u32 low = (u32)fpu.features, high = (u32)(fpu.features >> 32);
    if (likely(fpu.xsave))
        __asm__ volatile("xrstor64 %0" : : "m"(*area), "a"(low), "d"(high) : "memory");
    else
        __asm__ volatile("fxrstor64 %0" : : "m"(*area) : "memory");
}

// The initial state: everything as after INIT, all exceptions masked, and the rights of PKRU_START.
static void area_reset(struct xsave_area *area)
{
    memset(area, 0, sizeof(*area));
    area->fcw = FCW_DEFAULT;
    area->mxcsr = MXCSR_DEFAULT;
    if (fpu.features & XCR0_PKRU) {
        area->xstate_bv = XCR0_PKRU;
        *(u32 *)((char *)area + fpu.pkru_offset) = PKRU_START;
    }
}

struct xsave_area *fpu_area_alloc(void)
{
    if (!area_cache) {  // the first user thread, before any other
        size_t size = MAX(fpu.area_size, (u32)sizeof(struct xsave_area));
        area_cache = kcache_create("xsave", ALIGN_UP(size, (size_t)64), 64);
        if (!area_cache)
            return NULL;
    }
    struct xsave_area *area = kcache_alloc(area_cache);
    if (area)
        area_reset(area);
    return area;
}

void fpu_area_free(struct xsave_area *area) { kcache_free(area_cache, area); }

void fpu_save_current_to(struct xsave_area *area)
{
    if (!fpu.xsave) {
        save(area);
        return;
    }
    // Plain XSAVE: the optimised form assumes that the area is where the state was loaded from.
    memset(&area->xstate_bv, 0, sizeof(*area) - offsetof(struct xsave_area, xstate_bv));
    __asm__ volatile("xsave64 %0"
                     : "+m"(*area)
                     : "a"((u32)fpu.features), "d"((u32)(fpu.features >> 32))
                     : "memory");
}

void fpu_reset_current(void)
{
    struct arch_thread *at = &current->arch;
    area_reset(at->vector);
    load(at->vector);
    at->vector_cpu = this_cpu()->id;
    percpu(vector_owner) = at;
}

void fpu_switch(struct thread *from, struct thread *to)
{
    struct arch_thread *f = &from->arch, *t = &to->arch;
    if (f->vector)
        save(f->vector);
    if (!t->vector)
        return;
    struct arch_thread **owner = percpu_ptr(vector_owner);
    u32 id = this_cpu()->id;
    if (*owner == t && t->vector_cpu == id)
        return;
    load(t->vector);
    *owner = t;
    t->vector_cpu = id;
}

// ---- protection keys

unsigned arch_n_pkeys(void) { return fpu.features & XCR0_PKRU ? 16 : 0; }

unsigned arch_pkey_rights(unsigned key) { return read_pkru() >> 2 * key & 3; }

void arch_set_pkey_rights(unsigned key, unsigned rights)
{
    write_pkru((read_pkru() & ~(3u << 2 * key)) | rights << 2 * key);
}
