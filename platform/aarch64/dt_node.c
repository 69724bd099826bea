// SPDX-License-Identifier: BSD-2-Clause
// dt_node.c: see dt_node.h. A tree has some 60 nodes and 400 properties, and libfdt walks from its start for every question;
// so all of it is read in one pass, and a property's name is compared once for all nodes that have it (trees share
// their names).
//
// Interrupts need the controller's own node, which may come later in the tree. That the one which the root names has cells
// of the usual number is taken for granted; when its node says otherwise, everything is read again.
#include "platform/aarch64/dt_node.h"

#include <string.h>

#define GIC_CELLS_MAX 4
#define IRQ_EDGES 3  // flags: 1 rising, 2 falling, 4 high, 8 low
#define MAX_CONTROLLERS 8

const void *dt_tree;

static struct dt_node path[DT_DEPTH_MAX + 1];

static struct {
    u32 phandle, address_cells, interrupt_cells;
} controllers[MAX_CONTROLLERS];
static u32 n_controllers;
static u32 root_interrupt_cells;  // of the controller that the root names

static const char names[DT_N_NAMES][24] = {
    [DT_ADDRESS_CELLS] = "#address-cells",
    [DT_SIZE_CELLS] = "#size-cells",
    [DT_INTERRUPT_CELLS] = "#interrupt-cells",
    [DT_INTERRUPT_PARENT] = "interrupt-parent",
    [DT_PHANDLE] = "phandle",
    [DT_RANGES] = "ranges",
    [DT_REG] = "reg",
    [DT_INTERRUPTS] = "interrupts",
    [DT_INTERRUPTS_EXTENDED] = "interrupts-extended",
    [DT_COMPATIBLE] = "compatible",
    [DT_DEVICE_TYPE] = "device_type",
};

// ---------------------------------------------------------------- properties

u32 dt_cell(struct dt_prop prop, u32 index) { return fdt32_ld((const fdt32_t *)prop.data + index); }

u64 dt_number(struct dt_prop prop, u32 first, u32 n_cells)
{
    u64 value = 0;
    for (u32 i = 0; i < n_cells; i++)
        value = value << 32 | dt_cell(prop, first + i);
    return value;
}

u32 dt_cell_or(struct dt_prop prop, u32 otherwise)
{
    return prop.bytes == 4 ? dt_cell(prop, 0) : otherwise;
}

struct dt_prop dt_other(const struct dt_node *node, const char *name)
{
    int len;
    const void *data = fdt_getprop(dt_tree, node->offset, name, &len);
    return (struct dt_prop){data, data ? (u32)len : 0};
}

// Which of the names stands at an offset of the block of names. => DT_N_NAMES: none
static u32 name_at(int offset)
{
    enum { SLOTS = 64 };
    static struct {
        int offset;
        u32 name;
    } cache[SLOTS];
    __typeof__(&cache[0]) slot = &cache[(u32)offset % SLOTS];
    if (offset < 0) {
        memset(cache, 0xff, sizeof(cache));
        return DT_N_NAMES;
    }
    if (slot->offset != offset) {
        const char *text = fdt_string(dt_tree, offset);
        slot->offset = offset;
        for (slot->name = 0; slot->name < DT_N_NAMES && text; slot->name++) {
            if (!strcmp(names[slot->name], text))
                break;
        }
    }
    return slot->name;
}

// ---------------------------------------------------------------- the walk

// All properties of the node have been read.
static void complete(struct dt_node *node)
{
    node->address_cells = dt_cell_or(node->props[DT_ADDRESS_CELLS], 2);
    node->size_cells = dt_cell_or(node->props[DT_SIZE_CELLS], 1);
    node->interrupt_parent = dt_cell_or(node->props[DT_INTERRUPT_PARENT],
                                        node->parent ? node->parent->interrupt_parent : 0);
    u32 cells = dt_cell_or(node->props[DT_INTERRUPT_CELLS], 0);
    if (cells && n_controllers < MAX_CONTROLLERS) {
        controllers[n_controllers].phandle = dt_cell_or(node->props[DT_PHANDLE], 0);
        controllers[n_controllers].address_cells = dt_cell_or(node->props[DT_ADDRESS_CELLS], 0);
        controllers[n_controllers++].interrupt_cells = cells;
    }
}

static void note_property(struct dt_node *node, int offset)
{
    const struct fdt_property *p = fdt_offset_ptr(dt_tree, offset, sizeof(*p));
    u32 name = p ? name_at((int)fdt32_ld(&p->nameoff)) : DT_N_NAMES;
    if (name < DT_N_NAMES)
        node->props[name] = (struct dt_prop){p->data, fdt32_ld(&p->len)};
}

static void walk_once(void (*visit)(const struct dt_node *node))
{
    int depth = -1, next;
    bool open = false;  // path[depth] is being read
    u32 tag;
    for (int at = 0; (tag = fdt_next_tag(dt_tree, at, &next)) != FDT_END; at = next) {
        if (tag == FDT_PROP && open)
            note_property(&path[depth], at);
        if (tag == FDT_PROP || tag == FDT_NOP)
            continue;
        if (open) {
            complete(&path[depth]);
            visit(&path[depth]);
        }
        open = tag == FDT_BEGIN_NODE && depth < DT_DEPTH_MAX;
        depth += tag == FDT_BEGIN_NODE ? 1 : -1;
        if (depth < 0)
            return;
        if (open)
            path[depth] = (struct dt_node){.parent = depth ? &path[depth - 1] : NULL,
                                           .offset = at,
                                           .name = fdt_offset_ptr(dt_tree, at + FDT_TAGSIZE, 1)};
    }
}

bool dt_walk(void (*visit)(const struct dt_node *node), u32 *gic_cells)
{
    u32 address_cells, cells;
    root_interrupt_cells = *gic_cells;
    n_controllers = 0;
    name_at(-1);
    path[0] = (struct dt_node){0};
    walk_once(visit);
    if (!path[0].interrupt_parent ||
        !dt_controller(path[0].interrupt_parent, &address_cells, &cells) || cells == *gic_cells)
        return true;
    *gic_cells = cells;
    return false;
}

// ---------------------------------------------------------------- addresses

// One bus: an address below it as one above it. Empty ranges: they are the same; no ranges: the CPU does not see it.
static bool through_bus(const struct dt_node *bus, u64 *address, u64 len)
{
    struct dt_prop ranges = bus->props[DT_RANGES];
    u32 child = bus->address_cells, parent = bus->parent->address_cells;
    u32 width = child + parent + bus->size_cells;
    if (!ranges.data || width == 0 || child > 2 || parent > 2 || bus->size_cells > 2)
        return false;
    if (ranges.bytes == 0)
        return true;
    for (u32 at = 0; at + width <= ranges.bytes / 4; at += width) {
        u64 from = dt_number(ranges, at, child);
        u64 size = dt_number(ranges, at + child + parent, bus->size_cells);
        if (*address >= from && len <= size && *address - from <= size - len) {
            *address = *address - from + dt_number(ranges, at + child, parent);
            return true;
        }
    }
    return false;
}

bool dt_translate(const struct dt_node *node, u64 *address, u64 len)
{
    for (; node->parent; node = node->parent) {
        if (!through_bus(node, address, len))
            return false;
    }
    return true;
}

bool dt_reg(const struct dt_node *node, u32 index, struct region *out)
{
    const struct dt_node *parent = node->parent;
    struct dt_prop prop = node->props[DT_REG];
    if (!prop.data || !parent || parent->address_cells > 2 || parent->size_cells > 2)
        return false;
    u32 width = parent->address_cells + parent->size_cells;
    if (width == 0 || prop.bytes / 4 / width <= index)
        return false;
    u64 base = dt_number(prop, index * width, parent->address_cells);
    u64 size = dt_number(prop, index * width + parent->address_cells, parent->size_cells);
    if (!dt_translate(parent, &base, size))
        return false;
    *out = (struct region){base, size};
    return true;
}

// ---------------------------------------------------------------- interrupts

bool dt_controller(u32 phandle, u32 *address_cells, u32 *interrupt_cells)
{
    for (u32 i = 0; i < n_controllers; i++) {
        if (controllers[i].phandle == phandle) {
            *address_cells = controllers[i].address_cells;
            *interrupt_cells = controllers[i].interrupt_cells;
            return true;
        }
    }
    struct dt_node node = {.offset = fdt_node_offset_by_phandle(dt_tree, phandle)};
    if (node.offset < 0)
        return false;
    *address_cells = dt_cell_or(dt_other(&node, names[DT_ADDRESS_CELLS]), 0);
    *interrupt_cells = dt_cell_or(dt_other(&node, names[DT_INTERRUPT_CELLS]), 0);
    return true;
}

// How many cells an interrupt of a controller has that may be a GIC, else 0.
static u32 gic_cells(u32 phandle)
{
    u32 address_cells, cells = root_interrupt_cells;
    if (phandle && phandle != path[0].interrupt_parent &&
        !dt_controller(phandle, &address_cells, &cells))
        return 0;
    return cells >= DT_GIC_CELLS && cells <= GIC_CELLS_MAX ? cells : 0;
}

u32 dt_gic_interrupt(struct dt_prop prop, u32 first, enum dt_irq_kind kind)
{
    u32 n = dt_cell(prop, first + 1);
    if (dt_cell(prop, first) != kind)
        return NO_LINE;
    if (kind == DT_IRQ_SHARED && n < N_SPI && (dt_cell(prop, first + 2) & IRQ_EDGES))
        machine.edge_lines[n / 32] |= (u32)BIT(n % 32);
    return n;
}

// Each interrupt with its controller in front.
static u32 extended_interrupt(struct dt_prop prop, u32 index, enum dt_irq_kind kind)
{
    u32 n = prop.bytes / 4;
    for (u32 at = 0; at < n; index--) {
        u32 width = gic_cells(dt_cell(prop, at));
        if (!width || at + width >= n)
            return NO_LINE;
        if (index == 0)
            return dt_gic_interrupt(prop, at + 1, kind);
        at += 1 + width;
    }
    return NO_LINE;
}

u32 dt_interrupt(const struct dt_node *node, u32 index, enum dt_irq_kind kind)
{
    struct dt_prop prop = node->props[DT_INTERRUPTS];
    if (node->props[DT_INTERRUPTS_EXTENDED].data)
        return extended_interrupt(node->props[DT_INTERRUPTS_EXTENDED], index, kind);
    u32 width = prop.data ? gic_cells(node->interrupt_parent) : 0;
    return width && index < prop.bytes / 4 / width ? dt_gic_interrupt(prop, index * width, kind)
                                                   : NO_LINE;
}
