// SPDX-License-Identifier: BSD-2-Clause
// table.c: from number to function, made out of calls.def.
//
// Every name of calls.def is a weak alias of sys_ni here; a strong sys_NAME anywhere in the kernel
// takes its place at link time. So a call is implemented by writing the function, and nothing else.
#include <string.h>

#include "syscall/syscall.h"

#include "arch/regs.h"
#include "core/cpu.h"
#include "core/seq_buf.h"
#include "syscall/syscall_internal.h"

// What every name without an implementation resolves to.
static long sys_ni(long a0, long a1, long a2, long a3, long a4, long a5)
{
    return syscall_not_implemented();
}

#define CALL(name, x86_64, arm64, arguments) \
    long sys_##name(long, long, long, long, long, long) __weak __attribute__((alias("sys_ni")));
#include "syscall/calls.def"
#undef CALL

// A number that this architecture does not have goes to the slot behind the table.
#define SLOT(x86_64, arm64) \
    (ARCH_SYSCALL_NR(x86_64, arm64) < 0 ? SYSCALL_COUNT : ARCH_SYSCALL_NR(x86_64, arm64))

#pragma GCC diagnostic ignored "-Woverride-init"

const syscall_fn syscall_table[SYSCALL_COUNT + 1] = {
    [0 ... SYSCALL_COUNT] = sys_ni,
#define CALL(name, x86_64, arm64, arguments) [SLOT(x86_64, arm64)] = sys_##name,
#include "syscall/calls.def"
#undef CALL
    [SYSCALL_COUNT] = sys_ni,
};

// Names and argument letters: one text "name\0letters" for each call, and where it begins, or 0.
struct call_texts {
    char none;
#define CALL(name, x86_64, arm64, arguments) char name##_[sizeof(#name) + sizeof(arguments)];
#include "syscall/calls.def"
#undef CALL
};
static const struct call_texts texts = {
#define CALL(name, x86_64, arm64, arguments) .name##_ = #name "\0" arguments,
#include "syscall/calls.def"
#undef CALL
};
static const u16 text_offsets[SYSCALL_COUNT + 1] = {
#define CALL(name, x86_64, arm64, arguments) \
    [SLOT(x86_64, arm64)] = offsetof(struct call_texts, name##_),
#include "syscall/calls.def"
#undef CALL
    [SYSCALL_COUNT] = 0,
};

static DEFINE_PERCPU(u64, syscall_counts)[SYSCALL_COUNT + 1];

void syscall_init_cpu_counts(void) { this_cpu()->syscall_counts = *percpu_ptr(syscall_counts); }

void syscall_init(void)
{
    syscall_init_cpu_counts();
    syscall_trace_init();
}

static bool in_table(long nr) { return (u64)nr < SYSCALL_COUNT; }

const char *syscall_name(long nr)
{
    return in_table(nr) && text_offsets[nr] ? (const char *)&texts + text_offsets[nr] : NULL;
}

const char *syscall_arguments(long nr)
{
    const char *name = syscall_name(nr);
    const char *letters = name ? name + strlen(name) + 1 : "?";
    return *letters == '?' ? "xxxxxx" : letters;
}

bool syscall_implemented(long nr) { return in_table(nr) && syscall_table[nr] != sys_ni; }

u64 syscall_count(long nr)
{
    u64 sum = 0;
    if (!in_table(nr))
        return 0;
    for (u32 i = 0; i < n_cpus; i++)
        sum += atomic_load_relaxed(&(*percpu_ptr_of(cpus[i], syscall_counts))[nr]);
    return sum;
}

u64 syscall_count_total(void)
{
    u64 sum = 0;
    for (long nr = 0; nr < SYSCALL_COUNT; nr++)
        sum += syscall_count(nr);
    return sum;
}

void syscall_show_counts(struct seq_buf *out)
{
    for (long nr = 0; nr < SYSCALL_COUNT; nr++) {
        u64 n = syscall_count(nr);
        if (n)
            seq_printf(out, "%s %lu%s\n", syscall_name(nr) ?: "?", n,
                       syscall_implemented(nr) ? "" : " (not implemented)");
    }
}
