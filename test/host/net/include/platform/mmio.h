// SPDX-License-Identifier: BSD-2-Clause
// mmio.h: in place of platform/mmio.h: registers of a device that the test plays.
#pragma once

#include "core/base.h"

u32 reg_read32(volatile u8 *regs, u32 offset);
void reg_write32(volatile u8 *regs, u32 offset, u32 value);
static inline void device_fence(void) {}
