// SPDX-License-Identifier: BSD-2-Clause
// kmain.h: where the architecture's start-up code enters the kernel.
#pragma once

#include "core/base.h"

// argument: what the boot protocol hands over (PVH start info, flattened device tree).
void kernel_main(phys_t argument) __noreturn;
extern phys_t boot_argument;

void debug_init(void);  // debug.c: fails on purpose where the boot words ask for it
