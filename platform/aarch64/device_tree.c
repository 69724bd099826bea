// SPDX-License-Identifier: BSD-2-Clause
// device_tree.c: what the flattened device tree tells (Devicetree Specification 0.4), by libfdt.
//
// One walk over all nodes. A device lies at the root, or below buses that translate nothing; others are not seen. The
// tree lies in memory that will be used again, so everything that is wanted is copied.
#include <libfdt.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/memory_map.h"

#define FDT_ALIGNMENT 8
#define FDT_MAX (2 << 20)  // booting.rst
#define CMDLINE_MAX 2048   // as Linux's COMMAND_LINE_SIZE
#define DEPTH_MAX 8
#define FIRST_PPI 16
#define TIMER_VIRTUAL 2  // of the timer node's interrupts: secure, physical, virtual, hypervisor
enum irq_kind { IRQ_SHARED, IRQ_OF_CPU };
#define IRQ_EDGES 3  // flags: 1 rising, 2 falling, 4 high, 8 low

static char cmdline[CMDLINE_MAX];
static const void *tree;

// How a node's children write addresses; seen: they are the machine's own.
static struct cells {
    u32 address, size;
    bool seen;
} cells[DEPTH_MAX + 1];

static u32 cell(const void *prop, u32 index)
{
    u32 big;
    memcpy(&big, (const u32 *)prop + index, sizeof(big));
    return fdt32_to_cpu(big);
}

static u64 number(const void *prop, u32 first, u32 n_cells)
{
    u64 value = 0;
    for (u32 i = 0; i < n_cells; i++)
        value = value << 32 | cell(prop, first + i);
    return value;
}

// Entry number `index` of a reg property. => false: there are fewer, or nobody knows what they mean
static bool reg(int node, u32 depth, u32 index, struct region *out)
{
    int len;
    const struct cells *c = &cells[depth - 1];
    const void *prop = fdt_getprop(tree, node, "reg", &len);
    u32 width = c->address + c->size;
    if (!prop || !c->seen || c->address > 2 || c->size > 2 || width == 0 ||
        (u32)len / 4 / width <= index)
        return false;
    out->base = number(prop, index * width, c->address);
    out->size = number(prop, index * width + c->address, c->size);
    return true;
}

// Interrupt number `index` of a node, whose controller is a GIC, if it is of that kind. => NO_LINE: it is not
static u32 interrupt(int node, u32 index, enum irq_kind kind)
{
    int len;
    const void *prop = fdt_getprop(tree, node, "interrupts", &len);
    if (!prop || (u32)len / 12 <= index || cell(prop, index * 3) != kind)
        return NO_LINE;
    u32 n = cell(prop, index * 3 + 1);
    if (kind == IRQ_SHARED && n < N_SPI && (cell(prop, index * 3 + 2) & IRQ_EDGES))
        machine.edge_lines[n / 32] |= (u32)BIT(n % 32);
    return n;
}

// ---------------------------------------------------------------- devices, by what they are compatible with

static void found_gic2(int node, u32 depth)
{
    if (machine.gic == GIC_NONE && reg(node, depth, 0, &machine.gic_dist) &&
        reg(node, depth, 1, &machine.gic_cpu))
        machine.gic = GIC_V2;
}

static void found_gic3(int node, u32 depth)
{
    int len;
    const void *prop = fdt_getprop(tree, node, "#redistributor-regions", &len);
    u32 n = prop && len == 4 ? cell(prop, 0) : 1;
    if (machine.gic != GIC_NONE || !reg(node, depth, 0, &machine.gic_dist))
        return;
    for (u32 i = 0; i < MIN(n, (u32)MAX_REDIST); i++)
        reg(node, depth, 1 + i, &machine.gic_redist[i]);
    machine.gic = GIC_V3;
}

static void found_uart(int node, u32 depth)
{
    if (!machine.uart.size && reg(node, depth, 0, &machine.uart))
        machine.uart_line = interrupt(node, 0, IRQ_SHARED);
}

static void found_timer(int node, u32 depth)
{
    int len;
    u32 n = interrupt(node, TIMER_VIRTUAL, IRQ_OF_CPU);
    if (n < 16)
        machine.timer_intid = FIRST_PPI + n;
    const void *prop = fdt_getprop(tree, node, "clock-frequency", &len);
    if (prop && len == 4)
        machine.timer_hz = cell(prop, 0);
}

static void found_psci(int node, u32 depth)
{
    int len;
    const char *method = fdt_getprop(tree, node, "method", &len);
    machine.psci = method && len == 4 && (!memcmp(method, "hvc", 4) || !memcmp(method, "smc", 4));
    machine.psci_smc = machine.psci && method[0] == 's';
}

static void found_rtc(int node, u32 depth) { reg(node, depth, 0, &machine.rtc); }

static void found_ecam(int node, u32 depth)
{
    if (!machine.ecam.size)
        reg(node, depth, 0, &machine.ecam);
}

static void found_virtio(int node, u32 depth)
{
    if (machine.n_virtio == MAX_VIRTIO_MMIO ||
        !reg(node, depth, 0, &machine.virtio[machine.n_virtio].regs))
        return;
    machine.virtio[machine.n_virtio++].line = interrupt(node, 0, IRQ_SHARED);
}

static const struct {
    char compatible[24];
    void (*found)(int node, u32 depth);
} devices[] = {
    {"virtio,mmio", found_virtio},      {"arm,pl011", found_uart},
    {"arm,gic-v3", found_gic3},         {"arm,gic-400", found_gic2},
    {"arm,cortex-a15-gic", found_gic2}, {"arm,armv8-timer", found_timer},
    {"arm,psci-0.2", found_psci},       {"arm,psci-1.0", found_psci},
    {"arm,pl031", found_rtc},           {"pci-host-ecam-generic", found_ecam},
};

static void look_at_device(int node, u32 depth)
{
    int len;
    const char *list = fdt_getprop(tree, node, "compatible", &len);
    if (!list)
        return;
    for (u32 i = 0; i < ARRAY_SIZE(devices); i++) {
        if (fdt_stringlist_contains(list, len, devices[i].compatible)) {
            devices[i].found(node, depth);
            return;
        }
    }
}

// ---------------------------------------------------------------- memory, CPUs, what was chosen

static void add_memory(int node, u32 depth, enum mem_kind kind)
{
    struct region r;
    for (u32 i = 0; reg(node, depth, i, &r); i++)
        memory_map_add(r.base, r.size, kind);
}

// The CPU that runs this is there, whatever the tree says, and is the first.
static void add_cpu(int node)
{
    int len;
    const void *prop = fdt_getprop(tree, node, "reg", &len);
    const void *method = fdt_getprop(tree, node, "enable-method", NULL);
    if (!prop || (len != 4 && len != 8) || (method && strcmp(method, "psci")))
        return;
    u32 id = mpidr_id(number(prop, 0, (u32)len / 4));
    for (u32 i = 0; i < machine.n_cpus; i++) {
        if (machine.cpu_id[i] == id)
            return;
    }
    if (machine.n_cpus < ARRAY_SIZE(machine.cpu_id))
        machine.cpu_id[machine.n_cpus++] = id;
    else
        log_warn("more CPUs than the %u that can run are left out", machine.n_cpus);
}

static void look_at_typed(int node, u32 depth)
{
    int len;
    const char *type = fdt_getprop(tree, node, "device_type", &len);
    if (!type || len < 1 || type[len - 1])
        return;
    if (!strcmp(type, "memory"))
        add_memory(node, depth, MEM_RAM);
    else if (!strcmp(type, "cpu"))
        add_cpu(node);
}

static void read_chosen(phys_t *image_start, phys_t *image_end)
{
    int len, node = fdt_path_offset(tree, "/chosen");
    const void *prop = node < 0 ? NULL : fdt_getprop(tree, node, "bootargs", &len);
    boot_info.cmdline = cmdline;
    if (prop) {
        size_t n = strnlen(prop, MIN(len, CMDLINE_MAX - 1));
        memcpy(cmdline, prop, n);
        cmdline[n] = '\0';
    }
    if (node >= 0 && (prop = fdt_getprop(tree, node, "linux,initrd-start", &len)) && len <= 8)
        *image_start = number(prop, 0, (u32)len / 4);
    if (node >= 0 && (prop = fdt_getprop(tree, node, "linux,initrd-end", &len)) && len <= 8)
        *image_end = number(prop, 0, (u32)len / 4);
}

// ---------------------------------------------------------------- the walk

static void note_cells(int node, u32 depth, const char *name)
{
    int len;
    struct cells *c = &cells[depth];
    *c = (struct cells){.address = 2, .size = 1};
    const void *prop = fdt_getprop(tree, node, "#address-cells", &len);
    if (prop && len == 4)
        c->address = cell(prop, 0);
    prop = fdt_getprop(tree, node, "#size-cells", &len);
    if (prop && len == 4)
        c->size = cell(prop, 0);
    c->seen = depth == 0 ||
              (cells[depth - 1].seen && fdt_getprop(tree, node, "ranges", &len) && len == 0);
}

static void walk(void)
{
    int depth = 0, reserved = -1;
    for (int node = 0; node >= 0 && depth >= 0; node = fdt_next_node(tree, node, &depth)) {
        const char *name = fdt_get_name(tree, node, NULL);
        if (depth > DEPTH_MAX || !name)
            continue;
        note_cells(node, (u32)depth, name);
        if (depth == 0)
            continue;
        if (depth <= reserved)
            reserved = -1;
        if (depth == 1 && !strcmp(name, "reserved-memory"))
            reserved = 1;
        else if (reserved == 1)
            add_memory(node, (u32)depth, MEM_RESERVED);
        look_at_typed(node, (u32)depth);
        look_at_device(node, (u32)depth);
    }
}

static void map_tree(phys_t fdt)
{
    if (!fdt || fdt % FDT_ALIGNMENT || fdt >= MEMORY_ADDRESS_MAX - FDT_MAX)
        noboot("the boot loader gives no device tree");
    arch_map_ram(fdt, fdt + sizeof(struct fdt_header));
    tree = phys_to_virt(fdt);
    if (fdt_check_header(tree) || fdt_totalsize(tree) > FDT_MAX)
        noboot("what the boot loader gives as device tree, at %#lx, is none", (unsigned long)fdt);
    arch_map_ram(fdt, fdt + fdt_totalsize(tree));
}

void device_tree_parse(phys_t fdt)
{
    phys_t image_start = 0, image_end = 0;
    map_tree(fdt);
    read_chosen(&image_start, &image_end);
    machine.n_cpus = 1;
    machine.cpu_id[0] = mpidr_id(sysreg_read(mpidr_el1));
    machine.timer_intid = 27;
    memory_map_begin();
    for (int i = 0, n = fdt_num_mem_rsv(tree); i < n; i++) {
        u64 start, size;
        if (fdt_get_mem_rsv(tree, i, &start, &size) == 0)
            memory_map_add(start, size, MEM_RESERVED);
    }
    walk();
    uart_init();
    memory_map_end();
    memory_map_set_image(image_start, image_end);
}
