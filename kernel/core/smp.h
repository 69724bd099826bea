// SPDX-License-Identifier: BSD-2-Clause
// smp.h: starting the other CPUs.
#pragma once

// => After the scheduler of the boot CPU; returns when all that answer are in their idle loops.
void smp_init(void);
