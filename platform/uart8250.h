// SPDX-License-Identifier: BSD-2-Clause
// uart8250.h: UARTs of the 8250 family (National Semiconductor PC16550D data sheet), wherever their registers lie. One of them
// is the console.
#pragma once

#include "core/base.h"

struct uart8250 {
    u32 (*get)(u32 reg);
    void (*set)(u32 reg, u32 value);
};

// Sets the line to 8N1, interrupts off. divisor: of the UART's clock for 16 times the rate; 0: the rate stays as it is.
// => uart is kept
void uart8250_init(const struct uart8250 *uart, u32 divisor);
bool uart8250_present(
    const struct uart8250 *uart);  // there is one: its scratch register holds what is written
// Waits as long as the other side does not read: output is never lost. Nothing before uart8250_init.
void uart8250_write(const char *text, size_t len);
void uart8250_interrupt(void *unused);  // takes what has come in; for console_input
void uart8250_start_input(void);        // behind platform_irq_request
