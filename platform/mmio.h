// SPDX-License-Identifier: BSD-2-Clause
// mmio.h: registers of a device that lie in memory (arch_map_device). The accesses are as wide as they say and in their order;
// what lies in ordinary memory is ordered against them by device_fence().
#pragma once

#include "core/base.h"

static inline u32 reg_read32(volatile u8 *regs, u32 offset)
{
    return *(volatile u32 *)(regs + offset);
}
static inline void reg_write32(volatile u8 *regs, u32 offset, u32 value)
{
    *(volatile u32 *)(regs + offset) = value;
}
// What is in memory is seen by the device, and what it has put there by us, before anything that follows.
static inline void device_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
