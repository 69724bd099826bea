// SPDX-License-Identifier: BSD-2-Clause
// syscall.h: the table of system calls, its counters, and tracing.
#pragma once

#include "core/base.h"

struct seq_buf;

#define SYSCALL_COUNT 468  // one more than the highest number on any architecture

typedef long (*syscall_fn)(long, long, long, long, long, long);

extern const syscall_fn syscall_table[SYSCALL_COUNT + 1];

// Prepares counters and, with `strace` on the command line, tracing. Boot CPU, before other CPUs.
void syscall_init(void);
// The counters of this CPU into cpu->syscall_counts. => on each CPU, before its first user thread
void syscall_init_cpu_counts(void);

const char *syscall_name(long nr);       // NULL: no such call
const char *syscall_arguments(long nr);  // argument letters (calls.def)
bool syscall_implemented(long nr);
u64 syscall_count(long nr);  // over all CPUs
u64 syscall_count_total(void);
void syscall_show_counts(struct seq_buf *out);  // "name count" a line, those that were called

// Implemented by the architecture: sends every call through syscall_traced, or straight again.
void arch_syscall_trace(bool on);

// trace.c
void syscall_trace_init(void);
