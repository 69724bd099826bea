// SPDX-License-Identifier: BSD-2-Clause
// irq.h: handlers of device interrupt lines. The platform routes a line to a CPU and calls
// irq_device(line) (arch/regs.h) when it fires.
#pragma once

#include "core/cpu.h"

#define IRQ_LINES 64

// => -EINVAL (no such line), -EBUSY (taken: lines are not shared)
int irq_set_handler(unsigned line, void (*handler)(void *), void *arg);
u64 irq_count(unsigned line);  // interrupts of the line since boot

// Of this CPU: the last timer interrupt hit the program, not the kernel.
DECLARE_PERCPU(bool, interrupted_user);
