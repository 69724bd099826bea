// SPDX-License-Identifier: BSD-2-Clause
// dt_pci.c: what the device tree says of a PCI host bridge (PCI Bus Binding to IEEE 1275; the kernel's bindings
// host-generic-pci and pci-msi): its configuration space, its windows, where its four interrupt lines and its messages go.
#include "platform/aarch64/dt_node.h"

#define CHILD_CELLS 3  // of an address on the bus: kind and function, then 64 bits
#define SIZE_CELLS 2
#define SPACE(first_cell) ((first_cell) >> 24 & 3)
enum { SPACE_MEMORY_32 = 2, SPACE_MEMORY_64 = 3 };
#define FUNCTION_MASK 0xff00u  // of the first cell: bus 0 only
#define MSI_MAP_CELLS 4

static struct dt_prop interrupt_map, interrupt_mask;

// ranges: bus address, address above, size.
static void read_windows(const struct dt_node *node)
{
    struct dt_prop ranges = node->props[DT_RANGES];
    struct pci_host *pci = &machine.pci;
    u32 parent = node->parent->address_cells, width = CHILD_CELLS + parent + SIZE_CELLS;
    if (parent > 2)
        return;
    for (u32 at = 0; at + width <= ranges.bytes / 4 && pci->n_windows < MAX_PCI_WINDOWS;
         at += width) {
        u32 space = SPACE(dt_cell(ranges, at));
        u64 bus = dt_number(ranges, at + 1, 2), cpu = dt_number(ranges, at + CHILD_CELLS, parent);
        u64 size = dt_number(ranges, at + CHILD_CELLS + parent, SIZE_CELLS);
        if ((space != SPACE_MEMORY_32 && space != SPACE_MEMORY_64) || !size ||
            bus + size - 1 < bus || !dt_translate(node->parent, &cpu, size))
            continue;
        pci->windows[pci->n_windows].bus = bus;
        pci->windows[pci->n_windows].cpu = cpu;
        pci->windows[pci->n_windows++].size = size;
    }
}

// interrupt-map: function and pin, under a mask; controller, its address, its specifier.
void dt_finish_pci(void)
{
    struct pci_host *pci = &machine.pci;
    u32 n = interrupt_map.bytes / 4, at = 0, phandle = 0, address = 0, width = 0;
    if (!pci->ecam.size || !interrupt_map.data || interrupt_mask.bytes != (CHILD_CELLS + 1) * 4)
        return;
    pci->intx_mask =
        (dt_cell(interrupt_mask, 0) & FUNCTION_MASK) | (dt_cell(interrupt_mask, CHILD_CELLS) & 7);
    while (at + CHILD_CELLS + 2 <= n && pci->n_intx < MAX_PCI_INTX) {
        u32 function = dt_cell(interrupt_map, at), pin = dt_cell(interrupt_map, at + CHILD_CELLS);
        u32 controller = dt_cell(interrupt_map, at + CHILD_CELLS + 1);
        if (controller != phandle && !dt_controller(controller, &address, &width))
            return;
        phandle = controller;
        at += CHILD_CELLS + 2;
        if (address > 4 || width < 3 || width > 4 || at + address + width > n)
            return;
        u32 line = dt_gic_interrupt(interrupt_map, at + address, DT_IRQ_SHARED);
        if (line != NO_LINE) {
            pci->intx[pci->n_intx].key = ((function & FUNCTION_MASK) | pin) & pci->intx_mask;
            pci->intx[pci->n_intx++].line = line;
        }
        at += address + width;
    }
}

// msi-map: first function, controller, its number for that function, how many. Without it, msi-parent: any function as it is.
static void read_messages(const struct dt_node *node)
{
    struct pci_host *pci = &machine.pci;
    struct dt_prop map = dt_other(node, "msi-map");
    for (u32 at = 0; at + MSI_MAP_CELLS <= map.bytes / 4 && !pci->has_msi; at += MSI_MAP_CELLS) {
        pci->has_msi = dt_cell(map, at) == 0 && dt_cell(map, at + 3) > 0xff;
        pci->msi_base = dt_cell(map, at + 2);
    }
    if (!map.data)
        pci->has_msi = dt_other(node, "msi-parent").data != NULL;
}

void dt_found_pci(const struct dt_node *node)
{
    struct dt_prop buses = dt_other(node, "bus-range");
    if (machine.pci.ecam.size || (buses.bytes >= 4 && dt_cell(buses, 0) != 0) ||
        !dt_reg(node, 0, &machine.pci.ecam))
        return;
    read_windows(node);
    interrupt_map = dt_other(node, "interrupt-map");
    interrupt_mask = dt_other(node, "interrupt-map-mask");
    read_messages(node);
}
