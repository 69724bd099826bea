// SPDX-License-Identifier: BSD-2-Clause
// serial.c: the 16550 UART of COM1: the console.
#include "arch_impl/x86.h"
#include "core/cpu.h"
#include "platform/x86_64/platform_x86.h"

#define COM1 0x3f8
#define COM1_IRQ 4
#define FIFO_SIZE 16

enum { DATA = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCRATCH = 7 };
#define IER_RX 1
#define LCR_8N1 3
#define LCR_DLAB 0x80
#define FCR_ENABLE_CLEAR 7
#define MCR_DTR_RTS_OUT2 0xb
#define LSR_DATA_READY 1
#define LSR_TX_EMPTY 0x20

static bool present;

void serial_init(void)
{
    outb(COM1 + SCRATCH, 0x5a);
    present = inb(COM1 + SCRATCH) == 0x5a;
    if (!present)
        return;
    outb(COM1 + LCR, LCR_8N1 | LCR_DLAB);
    outb(COM1 + DATA, 1);  // 115200 baud
    outb(COM1 + IER, 0);
    outb(COM1 + LCR, LCR_8N1);
    outb(COM1 + FCR, FCR_ENABLE_CLEAR);
    outb(COM1 + MCR, MCR_DTR_RTS_OUT2);
}

// Waits as long as the other side does not read: output is never lost.
void serial_write(const char *text, size_t len)
{
    if (!present)
        return;
    for (size_t room = 0; len; len--, text++, room--) {
        if (room == 0) {
            while (!(inb(COM1 + LSR) & LSR_TX_EMPTY))
                cpu_relax_poll();
            room = FIFO_SIZE;
        }
        outb(COM1 + DATA, *text);
    }
}

static void serial_interrupt(void *unused)
{
    char buf[64];
    size_t n;
    do {
        for (n = 0; n < sizeof(buf) && (inb(COM1 + LSR) & LSR_DATA_READY); n++)
            buf[n] = inb(COM1 + DATA);
        if (n)
            console_input(buf, n);
    } while (n == sizeof(buf));
}

void serial_start_input(void)
{
    if (present && platform_irq_request(COM1_IRQ, serial_interrupt, NULL) == 0)
        outb(COM1 + IER, IER_RX);
}
