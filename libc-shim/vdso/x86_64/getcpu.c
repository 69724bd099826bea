// SPDX-License-Identifier: BSD-2-Clause
// getcpu.c: getcpu(2) without entering the kernel: the limit of one segment is the CPU's number
// (kernel/arch/x86_64/gdt.c). LSL is there on every CPU and reads the table of the CPU it runs on.
#include "arch_impl/x86.h"
#include "vdso_arch.h"

long VDSO_NAME(getcpu)(u32 *cpu, u32 *node, void *unused);
VDSO_ALIAS(getcpu);

long VDSO_NAME(getcpu)(u32 *cpu, u32 *node, void *unused)
{
    u32 limit;
    __asm__ volatile("lsl %1, %0" : "=r"(limit) : "r"(SEL_CPU_NUMBER));
    if (cpu)
        *cpu = limit;
    if (node)
        *node = 0;
    return 0;
}
