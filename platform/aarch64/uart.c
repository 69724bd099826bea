// SPDX-License-Identifier: BSD-2-Clause
// uart.c: the console: the UART that the device tree names as `stdout-path`, else the first.
#include "arch/mmu.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/uart8250.h"

static volatile char *regs;

// Registers of an 8250 are 1, 2 or 4 bytes wide and 1 << shift bytes apart.
static u32 get(u32 reg)
{
    volatile char *at = regs + (reg << machine.uart.shift);
    if (((u64)reg << machine.uart.shift) + machine.uart.width > machine.uart.regs.size)
        return 0;  // only Synopsys' UARTs have more than eight
    return machine.uart.width == 4   ? mmio_read32(at, 0)
           : machine.uart.width == 2 ? mmio_read16(at, 0)
                                     : mmio_read8(at, 0);
}

static void set(u32 reg, u32 value)
{
    volatile char *at = regs + (reg << machine.uart.shift);
    if (machine.uart.width == 4)
        mmio_write32(at, 0, value);
    else if (machine.uart.width == 2)
        mmio_write16(at, 0, (u16)value);
    else
        mmio_write8(at, 0, (u8)value);
}

static const struct uart8250 uart8250 = {get, set};

// The firmware or the host has set the rate.
void uart_init(void)
{
    if (machine.uart.kind == UART_NONE)
        return;
    regs = arch_map_device(machine.uart.regs.base, machine.uart.regs.size);
    if (machine.uart.kind == UART_PL011)
        pl011_init(regs);
    else
        uart8250_init(&uart8250, 0);
}

void uart_write(const char *text, size_t len)
{
    if (machine.uart.kind == UART_PL011)
        pl011_write(text, len);
    else
        uart8250_write(text, len);
}

void uart_start_input(void)
{
    bool pl011 = machine.uart.kind == UART_PL011;
    if (!regs ||
        platform_irq_request(machine.uart.line, pl011 ? pl011_interrupt : uart8250_interrupt, NULL))
        return;
    if (pl011)
        pl011_start_input();
    else
        uart8250_start_input();
}
