// SPDX-License-Identifier: BSD-2-Clause
// uart8250.c: see uart8250.h. The Synopsys one (DesignWare DW_apb_uart databook) differs in two ways: it interrupts when
// its line register was written while it was busy, and its time-out may come with nothing to read. Both end by a read that
// does no harm elsewhere.
#include "platform/uart8250.h"

#include "core/cpu.h"
#include "core/platform.h"

enum {
    DATA = 0,
    IER = 1,
    IIR = 2,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    SCRATCH = 7,
    DW_STATUS = 31
};
#define DIVISOR_HIGH IER  // while DLAB is set; the low half is DATA
#define IER_RX 1
#define IIR_FIFO 0xc0
#define IIR_CAUSE 0x0f
#define CAUSE_DW_BUSY 7
#define CAUSE_TIMEOUT 12
#define LCR_8N1 3
#define LCR_DLAB 0x80
#define FCR_ENABLE_CLEAR 7
#define MCR_DTR_RTS_OUT2 0xb
#define LSR_DATA_READY 1
#define LSR_TX_EMPTY 0x20
#define FIFO_BYTES 16

static const struct uart8250 *uart;
static u32 fifo_bytes;

bool uart8250_present(const struct uart8250 *u)
{
    u->set(SCRATCH, 0x5a);
    return (u->get(SCRATCH) & 0xff) == 0x5a;
}

void uart8250_init(const struct uart8250 *u, u32 divisor)
{
    if (divisor) {
        u->set(LCR, LCR_8N1 | LCR_DLAB);
        u->set(DATA, divisor & 0xff);
        u->set(DIVISOR_HIGH, divisor >> 8);
    }
    u->set(LCR, LCR_8N1);
    u->set(IER, 0);
    u->set(FCR, FCR_ENABLE_CLEAR);
    u->set(MCR, MCR_DTR_RTS_OUT2);
    fifo_bytes = (u->get(IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_BYTES : 1;
    uart = u;
}

void uart8250_write(const char *text, size_t len)
{
    for (size_t room = 0; uart && len; len--, text++, room--) {
        if (room == 0) {
            while (!(uart->get(LSR) & LSR_TX_EMPTY))
                cpu_relax_poll();
            room = fifo_bytes;
        }
        uart->set(DATA, (u8)*text);
    }
}

void uart8250_interrupt(void *unused)
{
    char buf[64];
    size_t n;
    u32 cause = uart->get(IIR) & IIR_CAUSE;
    if (cause == CAUSE_DW_BUSY)
        uart->get(DW_STATUS);
    if (cause == CAUSE_TIMEOUT && !(uart->get(LSR) & LSR_DATA_READY))
        uart->get(DATA);
    do {
        for (n = 0; n < sizeof(buf) && (uart->get(LSR) & LSR_DATA_READY); n++)
            buf[n] = (char)uart->get(DATA);
        if (n)
            console_input(buf, n);
    } while (n == sizeof(buf));
}

void uart8250_start_input(void) { uart->set(IER, IER_RX); }
