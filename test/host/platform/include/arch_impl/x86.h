// SPDX-License-Identifier: BSD-2-Clause
// Ports that remember nothing and say what keeps the parsers going.
#pragma once

#include "core/base.h"

extern unsigned n_port_writes;
static inline void outb(u16 port, u8 value) { n_port_writes += port + value > 0; }
static inline void outw(u16 port, u16 value) { n_port_writes += port + value > 0; }
static inline void outl(u16 port, u32 value) { n_port_writes += port + value > 0; }
static inline u8 inb(u16 port) { return (u8)port; }
static inline u16 inw(u16 port) { return (u16)(port | 1); }
static inline u32 inl(u16 port) { return port; }
