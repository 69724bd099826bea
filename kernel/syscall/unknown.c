// SPDX-License-Identifier: BSD-2-Clause
// unknown.c: calls that Lethe does not have. ENOSYS, told once by name, counted like any other.
#include "arch/regs.h"
#include "core/atomic.h"
#include "core/log.h"
#include "syscall/syscall.h"
#include "syscall/syscall_internal.h"
#include "task/thread.h"

static u64 told[SYSCALL_COUNT / 64 + 1];  // atomic; a bit for each number
static u32 told_beyond;                   // atomic: numbers outside the table so far

static void tell_once(long nr)
{
    u64 bit = BIT(nr & 63);
    if (atomic_fetch_or(&told[nr / 64], bit) & bit)
        return;
    const char *name = syscall_name(nr);
    if (name)
        log_warn("system call %s (%ld) is not implemented", name, nr);
    else
        log_warn("system call %ld does not exist", nr);
}

long syscall_not_implemented(void)
{
    long nr = (u32)regs_syscall_nr(current_regs());
    if (nr < SYSCALL_COUNT)
        tell_once(nr);
    return -ENOSYS;
}

// A number beyond the table. A program may try them all: only the first few are told.
long syscall_unknown(struct regs *r)
{
    if (atomic_load_relaxed(&told_beyond) < 8 && atomic_add(&told_beyond, 1) <= 8)
        log_warn("system call %ld does not exist", (long)(s32)regs_syscall_nr(r));
    return -ENOSYS;
}
