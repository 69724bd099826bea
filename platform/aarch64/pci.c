// SPDX-License-Identifier: BSD-2-Clause
// pci.c: PCI configuration space as memory (PCI Express, "enhanced configuration access mechanism"): 4 KiB a function;
// and where the interrupt lines and messages of the bus lead.
#include "platform/pci.h"

#include "arch/mmu.h"
#include "platform/aarch64/platform_a64.h"

#define FUNCTIONS 256  // of a bus
#define HEADER_TYPE 0x0c
#define HEADER_KIND (0x7fu << 16)
#define HEADER_BRIDGE (1u << 16)
#define BRIDGE_BUSES 0x18   // of the bus above, the bus behind, the last one behind
#define INTERRUPT_PIN 0x3c  // in bits 8 to 15: 1 to 4, 0: none
#define V2M_TYPER 0x08
#define V2M_SETSPI 0x40
#define V2M_BYTES 0x1000
#define FIRST_SPI 32

// => NULL: no such function, or no bus
static volatile char *config(u32 function)
{
    enum { BUSES = 256 };
    static volatile char *buses[BUSES];
    u32 bus = function / FUNCTIONS;
    if (bus >= BUSES || machine.pci.ecam.size < (bus + 1) * FUNCTIONS * PAGE_SIZE)
        return NULL;
    if (!buses[bus])
        buses[bus] = arch_map_device(machine.pci.ecam.base + bus * FUNCTIONS * PAGE_SIZE,
                                     FUNCTIONS * PAGE_SIZE);
    return buses[bus] + function % FUNCTIONS * PAGE_SIZE;
}

u32 pci_read32(u32 function, u32 offset)
{
    volatile char *space = config(function);
    return space ? mmio_read32(space, offset) : UINT32_MAX;
}

void pci_write32(u32 function, u32 offset, u32 value)
{
    volatile char *space = config(function);
    if (space)
        mmio_write32(space, offset, value);
}

void pci_write16(u32 function, u32 offset, u16 value)
{
    volatile char *space = config(function);
    if (space)
        *(volatile u16 *)(space + offset) = value;
}

void pci_write8(u32 function, u32 offset, u8 value)
{
    volatile char *space = config(function);
    if (space)
        *(volatile u8 *)(space + offset) = value;
}

// => the bridge to that bus, which has a lower one; UINT32_MAX: there is none
static u32 bridge_to(u32 bus)
{
    for (u32 f = 0; f < bus * FUNCTIONS; f++) {
        if (pci_read32(f, 0) != UINT32_MAX &&
            (pci_read32(f, HEADER_TYPE) & HEADER_KIND) == HEADER_BRIDGE &&
            (pci_read32(f, BRIDGE_BUSES) >> 8 & 0xff) == bus)
            return f;
    }
    return UINT32_MAX;
}

int platform_intx_line(u32 function)
{
    const struct pci_host *pci = &machine.pci;
    u32 pin = pci_read32(function, INTERRUPT_PIN) >> 8 & 0xff;
    // A bridge turns the pins of what lies behind it by the number of the device there (PCI-to-PCI Bridge Architecture 1.2, 9.1).
    while (pin && function >= FUNCTIONS) {
        pin = (pin - 1 + (function >> 3 & 31)) % 4 + 1;
        function = bridge_to(function / FUNCTIONS);
        if (function == UINT32_MAX)
            return -ENODEV;
    }
    u32 key = (function << 8 | pin) & pci->intx_mask;
    for (u32 i = 0; pin && i < pci->n_intx; i++) {
        if (pci->intx[i].key == key)
            return (int)pci->intx[i].line;
    }
    return -ENODEV;
}

// ---------------------------------------------------------------- messages

// GICv2m (Arm Server Base System Architecture 3.0, appendix E): what is written to a frame's register fires that line. The
// frame tells which lines are its own.
static int v2m_request(void (*handler)(void *), void *arg, u64 *address, u32 *data)
{
    static u32 next, end;
    if (!end) {
        if (machine.v2m.size < V2M_BYTES || !platform_is_device(machine.v2m.base, V2M_BYTES))
            return -ENODEV;
        u32 type = mmio_read32(arch_map_device(machine.v2m.base, V2M_BYTES), V2M_TYPER);
        next = type >> 16 & 0x3ff;
        end = next + (type & 0x3ff);
    }
    if (next < FIRST_SPI || next >= MIN(end, (u32)(FIRST_SPI + N_SPI)))
        return -ENODEV;
    u32 line = next - FIRST_SPI;
    machine.edge_lines[line / 32] |= (u32)BIT(line % 32);
    int err = platform_irq_request(line, handler, arg);
    if (err)
        return -ENODEV;
    *address = machine.v2m.base + V2M_SETSPI;
    *data = next++;
    return 0;
}

int platform_msi_request(u32 function, void (*handler)(void *), void *arg, u64 *address, u32 *data)
{
    if (!machine.pci.has_msi)
        return -ENODEV;
    if (machine.its.size)
        return its_request(machine.pci.msi_base + function, handler, arg, address, data);
    return v2m_request(handler, arg, address, data);
}
