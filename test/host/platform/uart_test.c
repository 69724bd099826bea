// SPDX-License-Identifier: BSD-2-Clause
// The driver of 8250 UARTs (platform/uart8250.c) against a model of one: a FIFO that overruns when it is written without
// looking, interrupts of each kind, and one without FIFO.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/platform.h"
#include "platform/uart8250.h"

struct cpu *fake_cpu = &(struct cpu){0};
void cross_poll(void) {}

static struct {
    u8 ier, lcr, mcr, divisor[2];
    bool fifo_on, has_fifo, dw_busy, empty_timeout;
    unsigned waiting, until_empty;  // bytes in the transmitter; looks until it is empty
    char sent[512];
    size_t n_sent;
    const char *input;
    char got[512];
    size_t n_got;
} m;

static void fail(const char *what)
{
    printf("FAIL uart: %s\n", what);
    exit(1);
}
#define CHECK(c) ((c) ? (void)0 : fail(#c))

static u32 get(u32 reg)
{
    switch (reg) {
    case 0: m.empty_timeout = false; return m.input && *m.input ? (u8)*m.input++ : 0xff;
    case 1: return m.ier;
    case 2:
        return (m.fifo_on && m.has_fifo ? 0xc0 : 0) | (m.dw_busy ? 7 : m.empty_timeout ? 12 : 1);
    case 5:
        if (m.until_empty && --m.until_empty == 0)
            m.waiting = 0;
        return (m.input && *m.input ? 1 : 0) | (m.waiting ? 0 : 0x60);
    case 31: m.dw_busy = false; return 0;
    default: return 0;
    }
}

static void set(u32 reg, u32 value)
{
    if ((m.lcr & 0x80) && reg < 2) {
        m.divisor[reg] = (u8)value;
        return;
    }
    switch (reg) {
    case 0:
        CHECK(m.waiting < (m.fifo_on && m.has_fifo ? 16 : 1));  // else it is lost
        m.waiting++;
        m.until_empty = 3;
        m.sent[m.n_sent++] = (char)value;
        break;
    case 1: m.ier = (u8)value; break;
    case 2: m.fifo_on = value & 1; break;
    case 3: m.lcr = (u8)value; break;
    case 4: m.mcr = (u8)value; break;
    default: fail("a register is written that is none of ours");
    }
}

void console_input(char *bytes, size_t len)
{
    memcpy(m.got + m.n_got, bytes, len);
    m.n_got += len;
}

static const struct uart8250 uart = {get, set};

static void try_one(bool has_fifo, u32 divisor)
{
    char text[200];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('!' + i % 90);
    memset(&m, 0, sizeof(m));
    m.has_fifo = has_fifo;
    uart8250_init(&uart, divisor);
    CHECK(m.lcr == 3 && m.ier == 0 && m.divisor[0] + 256 * m.divisor[1] == (int)divisor);
    uart8250_write(text, sizeof(text));
    uart8250_write("", 0);
    CHECK(m.n_sent == sizeof(text) && !memcmp(m.sent, text, sizeof(text)));
    uart8250_start_input();
    CHECK(m.ier == 1);
    text[150] = '\0';
    m.input = text;
    uart8250_interrupt(NULL);
    CHECK(m.n_got == 150 && !memcmp(m.got, text, 150));
    m.dw_busy = true;
    uart8250_interrupt(NULL);
    CHECK(!m.dw_busy && m.n_got == 150);
    m.empty_timeout = true;
    uart8250_interrupt(NULL);
    CHECK(!m.empty_timeout && m.n_got == 150);
}

int main(void)
{
    uart8250_write("before", 6);  // no UART yet: goes nowhere
    CHECK(m.n_sent == 0);
    try_one(true, 0);
    try_one(true, 1);
    try_one(false, 0x1234);
    return 0;
}
