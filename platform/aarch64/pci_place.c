// SPDX-License-Identifier: BSD-2-Clause
// pci_place.c: addresses for the registers of PCI functions where no firmware has given them any (PCI Local Bus Specification
// 3.0, 6.2.5): out of the windows that the device tree tells of, one behind the other, behind what somebody has placed
// already. Only functions that a driver asks about get any.
//
// Bridges that lead nowhere yet get the next numbers of buses and a window (PCI-to-PCI Bridge Architecture 1.2, 3.2.5), depth first: all that lies
// behind one gets its addresses at once, one behind the other, and what they took is the window. It lies below 4 GiB, where registers of either
// width may.
#include "arch/mmu.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/pci.h"

#define COMMAND 0x04
#define COMMAND_MEMORY BIT(1)
#define HEADER_TYPE 0x0c
#define HEADER_BRIDGE BIT(16)
#define BARS 0x10
#define N_BARS 6
#define N_BARS_BRIDGE 2
#define BAR_IO 1
#define BAR_64 4
#define BRIDGE_BUSES 0x18   // of the bus above, the bus behind, the last one behind
#define BRIDGE_MEMORY 0x20  // base and limit of what lies behind a bridge, in MiB
#define BRIDGE_PREFETCHABLE 0x24
#define BRIDGE_LIMIT_HIGH 0x2c
#define BRIDGE_CLOSED 0xfff0u  // a base above the limit
#define MIB (1u << 20)
#define MAX_DEPTH 6

// A memory BAR as it is, with its size when that is wanted. => false: there is none of that number
struct bar {
    u64 address, size;  // on the bus; bytes
    bool wide;          // it and the next register hold 64 bits
};

static u64 read_bar(u32 function, u32 at, bool wide)
{
    u64 low = pci_read32(function, at);
    return wide ? low | (u64)pci_read32(function, at + 4) << 32 : low;
}

static void write_bar(u32 function, u32 at, bool wide, u64 value)
{
    pci_write32(function, at, (u32)value);
    if (wide)
        pci_write32(function, at + 4, value >> 32);
}

static bool get_bar(u32 function, u32 bar, struct bar *out)
{
    u32 at = BARS + 4 * bar, low = bar < N_BARS ? pci_read32(function, at) : BAR_IO;
    out->wide = (low & 6) == BAR_64;
    if ((low & BAR_IO) || (out->wide && bar == N_BARS - 1))
        return false;
    out->address = read_bar(function, at, out->wide) & ~15ull;
    return true;
}

// All ones come back as zeros below the size (PCI 3.0, 6.2.5.1). => the function answers no memory access meanwhile
static void measure_bar(u32 function, u32 bar, struct bar *b)
{
    u32 at = BARS + 4 * bar;
    u64 was = read_bar(function, at, b->wide);
    write_bar(function, at, b->wide, UINT64_MAX);
    u64 mask = read_bar(function, at, b->wide) & ~15ull;
    write_bar(function, at, b->wide, was);
    b->size = mask ? mask & -mask : 0;
}

static u32 stop_memory(u32 function)
{
    u32 command = pci_read32(function, COMMAND) & 0xffff;
    pci_write32(function, COMMAND, command & ~COMMAND_MEMORY);
    return command;
}

static u32 n_bars(u32 function)
{
    return (pci_read32(function, HEADER_TYPE) & HEADER_BRIDGE) ? N_BARS_BRIDGE : N_BARS;
}

static u32 last_bus;                      // that anybody uses
static u64 window_free[MAX_PCI_WINDOWS];  // bus address behind what is taken; 0: not known yet

static void note_taken(u64 start, u64 size)
{
    for (u32 i = 0; i < machine.pci.n_windows; i++) {
        if (start >= machine.pci.windows[i].bus &&
            start - machine.pci.windows[i].bus < machine.pci.windows[i].size)
            window_free[i] = MAX(window_free[i], start + size);
    }
}

// What the firmware has placed, behind bridges too.
static void note_function(u32 function, void *unused)
{
    struct bar b;
    u32 command = stop_memory(function), n = n_bars(function);
    for (u32 bar = 0; bar < n; bar++) {
        if (!get_bar(function, bar, &b))
            continue;
        if (b.address) {
            measure_bar(function, bar, &b);
            note_taken(b.address, b.size);
        }
        bar += b.wide;
    }
    pci_write32(function, COMMAND, command);
    if (n == N_BARS_BRIDGE) {
        last_bus = MAX(last_bus, pci_read32(function, BRIDGE_BUSES) >> 16 & 0xff);
        u32 plain = pci_read32(function, BRIDGE_MEMORY),
            wide = pci_read32(function, BRIDGE_PREFETCHABLE);
        note_taken(plain & 0xfff00000, MIB);
        note_taken((wide & 0xfff00000) | (u64)pci_read32(function, BRIDGE_LIMIT_HIGH) << 32, MIB);
    }
}

// What was taken last, from this address on, is free again.
static void note_free(u64 start)
{
    for (u32 i = 0; i < machine.pci.n_windows; i++) {
        if (start >= machine.pci.windows[i].bus &&
            start - machine.pci.windows[i].bus < machine.pci.windows[i].size)
            window_free[i] = start;
    }
}

// => the first free bus address for a BAR of that size in a window, 0: no room
static u64 free_in(u32 window, u64 size)
{
    u64 bus = machine.pci.windows[window].bus, end = bus + machine.pci.windows[window].size - 1;
    u64 at = ALIGN_UP(MAX(MAX(window_free[window], bus), size), size);
    return at >= bus && at + size - 1 >= at && at + size - 1 <= end ? at : 0;
}

// => a bus address, 0: no window has room. 64-bit BARs go above 4 GiB if they can.
static u64 take(u64 size, bool wide)
{
    u32 best = MAX_PCI_WINDOWS;
    u64 at = 0;
    for (u32 i = 0; i < machine.pci.n_windows; i++) {
        u64 here = free_in(i, size);
        if (here > at && (wide || here + size - 1 <= UINT32_MAX)) {
            at = here;
            best = i;
        }
    }
    if (at)
        window_free[best] = at + size;
    return at;
}

static void look_once(void)
{
    static bool looked;
    if (!looked)
        pci_each_function(0, note_function, NULL);
    looked = true;
}

// low: below 4 GiB, whatever the width
static void place(u32 function, bool low)
{
    struct bar b;
    u32 command = stop_memory(function), n = n_bars(function);
    for (u32 bar = 0; bar < n; bar++) {
        if (!get_bar(function, bar, &b))
            continue;
        measure_bar(function, bar, &b);
        if (b.size && !b.address)
            write_bar(function, BARS + 4 * bar, b.wide, take(b.size, b.wide && !low));
        bar += b.wide;
    }
    pci_write32(function, COMMAND, command);
}

void pci_place(u32 function)
{
    look_once();
    place(function, false);
}

// ---------------------------------------------------------------- bridges

static void open_bridge(u32 bridge, u32 depth);

static void place_behind(u32 function, void *depth)
{
    if (pci_read32(function, HEADER_TYPE) & HEADER_BRIDGE)
        open_bridge(function, (u32)(uintptr_t)depth + 1);
    place(function, true);
}

static void open_bridge(u32 bridge, u32 depth)
{
    if ((pci_read32(bridge, BRIDGE_BUSES) >> 8 & 0xff) || depth == MAX_DEPTH || last_bus == 0xff)
        return;
    u32 bus = ++last_bus;
    pci_write32(bridge, BRIDGE_BUSES, bridge >> 8 | bus << 8 | 0xffu << 16);
    u64 start =
        take(MIB, false);  // a MiB that may stay empty: the first address is a multiple of one
    if (start)
        note_free(start);
    pci_each_function(bus, place_behind, (void *)(uintptr_t)depth);
    u64 last = take(MIB, false);  // the window ends before this one
    pci_write32(bridge, BRIDGE_BUSES, bridge >> 8 | bus << 8 | last_bus << 16);
    pci_write32(bridge, BRIDGE_PREFETCHABLE, BRIDGE_CLOSED);
    pci_write32(bridge, BRIDGE_LIMIT_HIGH, 0);
    bool any = start && last > start;
    if (last)
        note_free(last);
    pci_write32(bridge, BRIDGE_MEMORY,
                any ? (u32)(start >> 16) | ((u32)(last - 1) & 0xfff00000) : BRIDGE_CLOSED);
    pci_enable(bridge);
}

void pci_open_bridge(u32 bridge)
{
    look_once();
    open_bridge(bridge, 0);
}

phys_t pci_cpu_address(u64 bus_address)
{
    for (u32 i = 0; i < machine.pci.n_windows; i++) {
        u64 offset = bus_address - machine.pci.windows[i].bus;
        if (bus_address >= machine.pci.windows[i].bus && offset < machine.pci.windows[i].size)
            return machine.pci.windows[i].cpu + offset;
    }
    return bus_address;
}
