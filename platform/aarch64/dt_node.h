// SPDX-License-Identifier: BSD-2-Clause
// dt_node.h: the nodes of a flattened device tree (Devicetree Specification 0.4, chapters 2 and 5), each once, from the top:
// registers through the buses above them, interrupts of the controller that they go to.
#pragma once

#include <libfdt.h>

#include "platform/aarch64/platform_a64.h"

#define DT_DEPTH_MAX 8
#define DT_GIC_CELLS 3  // of an interrupt: kind, number, flags; and what comes behind
enum dt_irq_kind { DT_IRQ_SHARED, DT_IRQ_OF_CPU };

// Properties that are looked for in every node; others are found with dt_other.
enum dt_name {
    DT_ADDRESS_CELLS,
    DT_SIZE_CELLS,
    DT_INTERRUPT_CELLS,
    DT_INTERRUPT_PARENT,
    DT_PHANDLE,
    DT_RANGES,
    DT_REG,
    DT_INTERRUPTS,
    DT_INTERRUPTS_EXTENDED,
    DT_COMPATIBLE,
    DT_DEVICE_TYPE,
    DT_N_NAMES,
};

struct dt_prop {
    const void *data;  // NULL: not there
    u32 bytes;
};

// A node while it is visited: part of the path from the root to it.
struct dt_node {
    const struct dt_node *parent;  // NULL: this is the root
    int offset;                    // libfdt's
    const char *name;
    struct dt_prop props[DT_N_NAMES];
    u32 address_cells, size_cells;  // of its children's addresses
    u32 interrupt_parent;           // phandle; 0: not told
};

extern const void *dt_tree;

// Calls visit for every node that lies not too deep, *gic_cells being how many cells an interrupt of the controller has that
// the root names. => false: it has another number, now in *gic_cells: what was visited has to be forgotten, and visited again
bool dt_walk(void (*visit)(const struct dt_node *node), u32 *gic_cells);

struct dt_prop dt_other(const struct dt_node *node, const char *name);
u32 dt_cell(struct dt_prop prop, u32 index);  // index < prop.bytes / 4
u64 dt_number(struct dt_prop prop, u32 first, u32 n_cells);
u32 dt_cell_or(struct dt_prop prop, u32 otherwise);  // the only cell that it has

// Entry number `index` of the reg property as an address of the CPU's.
// => false: there are fewer, or a bus above it does not show it to the CPU
bool dt_reg(const struct dt_node *node, u32 index, struct region *out);
// An address of a child of the node, `len` bytes, as an address of the CPU's. => false as above
bool dt_translate(const struct dt_node *node, u64 *address, u64 len);

// Interrupt number `index` of the node, if it goes to a GIC and is of that kind.
// => NO_LINE: it is not. Marks those that are edge-triggered in machine.edge_lines.
u32 dt_interrupt(const struct dt_node *node, u32 index, enum dt_irq_kind kind);
// The same of a specifier of the GIC's in a property: its cells from `first` on.
u32 dt_gic_interrupt(struct dt_prop prop, u32 first, enum dt_irq_kind kind);
// How many cells an address and an interrupt of an interrupt controller have. => false: there is no such phandle
bool dt_controller(u32 phandle, u32 *address_cells, u32 *interrupt_cells);

// dt_pci.c: a host bridge with ECAM, into machine.pci; the second, behind the walk, for what needs other nodes.
void dt_found_pci(const struct dt_node *node);
void dt_finish_pci(void);
