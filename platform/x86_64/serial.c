// SPDX-License-Identifier: BSD-2-Clause
// serial.c: the 16550 UART of COM1: the console.
#include "arch_impl/x86.h"
#include "platform/uart8250.h"
#include "platform/x86_64/platform_x86.h"

#define COM1 0x3f8
#define COM1_IRQ 4
#define DIVISOR_115200 1

static bool present;

static u32 get(u32 reg) { return inb(COM1 + reg); }

static void set(u32 reg, u32 value) { outb(COM1 + reg, (u8)value); }

static const struct uart8250 com1 = {get, set};

void serial_init(void)
{
    present = uart8250_present(&com1);
    if (present)
        uart8250_init(&com1, DIVISOR_115200);
}

void serial_write(const char *text, size_t len) { uart8250_write(text, len); }

void serial_start_input(void)
{
    if (present && platform_irq_request(COM1_IRQ, uart8250_interrupt, NULL) == 0)
        uart8250_start_input();
}
