// SPDX-License-Identifier: BSD-2-Clause
// pci.c: what is the same on every machine that has a PCI bus.
#include "platform/pci.h"

#include "arch/mmu.h"
#include "core/platform.h"

#define COMMAND 0x04
#define COMMAND_MEMORY BIT(1)
#define COMMAND_MASTER BIT(2)
#define STATUS_CAPABILITIES BIT(20)  // of the word at COMMAND
#define HEADER_TYPE 0x0c             // in bits 16 to 23
#define MULTI_FUNCTION BIT(23)
#define BARS 0x10
#define N_BARS 6
#define BAR_IO 1
#define BAR_64 4
#define CAPABILITIES 0x34
#define FIRST_CAP 0x40
#define MAX_CAPS 48  // as many as fit in 256 bytes

void pci_each_function(u32 bus, void (*found)(u32 function, void *arg), void *arg)
{
    if (pci_read32(0, 0) == UINT32_MAX)  // no host bridge: no bus
        return;
    for (u32 device = bus << 5; device < (bus << 5) + 32; device++) {
        u32 n = 8;
        for (u32 f = device << 3; f < (device << 3) + n; f++) {
            bool there = pci_read32(f, 0) != UINT32_MAX;
            if (f == device << 3 && (!there || !(pci_read32(f, HEADER_TYPE) & MULTI_FUNCTION)))
                n = 1;
            if (there)
                found(f, arg);
        }
    }
}

static u64 bar_address(u32 function, u32 bar)
{
    u32 low = bar < N_BARS ? pci_read32(function, BARS + 4 * bar) : BAR_IO;
    u64 address = low & ~15u;
    if (low & BAR_IO)
        return 0;
    if ((low & 6) == BAR_64) {
        if (bar == N_BARS - 1)
            return 0;
        address |= (u64)pci_read32(function, BARS + 4 * bar + 4) << 32;
    }
    return address;
}

phys_t pci_bar(u32 function, u32 bar)
{
    u64 address = bar_address(function, bar);
    if (!address && pci_place) {
        pci_place(function);
        address = bar_address(function, bar);
    }
    return address && pci_cpu_address ? pci_cpu_address(address) : address;
}

static u32 byte_at(u32 function, u32 offset)
{
    return pci_read32(function, offset & ~3u) >> 8 * (offset & 3) & 0xff;
}

u32 pci_caps(u32 function, u32 kind, u8 *caps, u32 max)
{
    u32 n = 0;
    if (!(pci_read32(function, COMMAND) & STATUS_CAPABILITIES))
        return 0;
    u32 at = byte_at(function, CAPABILITIES) & ~3u;
    for (u32 i = 0; i < MAX_CAPS && at >= FIRST_CAP && n < max; i++) {
        if (byte_at(function, at) == kind)
            caps[n++] = at;
        at = byte_at(function, at + 1) & ~3u;
    }
    return n;
}

void pci_enable(u32 function)
{
    u32 command =
        pci_read32(function, COMMAND) & 0xffff;  // writing 0 to the status bits changes nothing
    pci_write32(function, COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
}
