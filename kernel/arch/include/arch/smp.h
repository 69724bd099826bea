// SPDX-License-Identifier: BSD-2-Clause
// arch/smp.h (contract 8 of 8): starting CPUs, inter-processor interrupts, the clock event.
#pragma once

#include "core/cpu.h"

// Starts CPU `cpu` (its area is ready); it enters smp_cpu_main(cpu) on `stack_top`. => 0, -EIO
int arch_cpu_start(struct cpu *cpu, void *stack_top);
void arch_send_ipi(u32 hw_id);
// Arms this CPU's clock event for deadline_ns on ktime_ns(); NEVER stops it. One shot.
void arch_clockevent_set(u64 deadline_ns);
// Implemented by core/smp.c:
void smp_cpu_main(struct cpu *cpu) __noreturn;
