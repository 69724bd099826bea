// SPDX-License-Identifier: BSD-2-Clause
// pl011.c: the PrimeCell UART (Arm DDI 0183); see uart.c.
#include "core/cpu.h"
#include "platform/aarch64/platform_a64.h"

enum { DATA = 0x00, FLAGS = 0x18, LINE = 0x2c, CONTROL = 0x30, MASK = 0x38, CLEAR = 0x44 };
#define FLAG_RX_EMPTY BIT(4)
#define FLAG_TX_FULL BIT(5)
#define LINE_8N1_FIFO 0x70
#define CONTROL_ON 0x301  // UART, transmitter, receiver
#define INT_RX 0x50       // receive, and receive time-out
#define INT_ALL 0x7ff

static volatile void *regs;  // NULL: none

void pl011_init(volatile void *registers)
{
    regs = registers;
    mmio_write32(regs, MASK, 0);
    mmio_write32(regs, CLEAR, INT_ALL);
    mmio_write32(regs, LINE, LINE_8N1_FIFO);
    mmio_write32(regs, CONTROL, CONTROL_ON);
}

// Waits as long as the other side does not read: output is never lost.
void pl011_write(const char *text, size_t len)
{
    for (; regs && len; len--, text++) {
        while (mmio_read32(regs, FLAGS) & FLAG_TX_FULL)
            cpu_relax_poll();
        mmio_write32(regs, DATA, (u8)*text);
    }
}

void pl011_interrupt(void *unused)
{
    char buf[64];
    size_t n;
    mmio_write32(regs, CLEAR, INT_RX);
    do {
        for (n = 0; n < sizeof(buf) && !(mmio_read32(regs, FLAGS) & FLAG_RX_EMPTY); n++)
            buf[n] = (char)mmio_read32(regs, DATA);
        if (n)
            console_input(buf, n);
    } while (n == sizeof(buf));
}

void pl011_start_input(void) { mmio_write32(regs, MASK, INT_RX); }
