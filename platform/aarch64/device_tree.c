// SPDX-License-Identifier: BSD-2-Clause
// device_tree.c: what the flattened device tree tells (Devicetree Specification 0.4), by libfdt.
//
// One walk over all nodes. A device lies at the root or below buses that show it to the CPU (dt_node.c); others are not
// seen. The tree lies in memory that will be used again, so everything that is wanted is copied.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/log.h"
#include "platform/aarch64/dt_node.h"
#include "platform/memory_map.h"

#define FDT_ALIGNMENT 8
#define FDT_MAX (2 << 20)  // booting.rst
#define CMDLINE_MAX 2048   // as Linux's COMMAND_LINE_SIZE
#define FIRST_PPI 16
#define TIMER_INTID 27   // where the virtual timer usually is
#define TIMER_VIRTUAL 2  // of the timer node's interrupts: secure, physical, virtual, hypervisor

static char cmdline[CMDLINE_MAX];
static phys_t image_start, image_end;

#define MAX_UARTS 4
static u32 n_uarts;
static struct {
    int node;
    struct uart uart;
} uarts[MAX_UARTS];
static struct dt_prop stdout_path;

static bool is_string(struct dt_prop prop, const char *text)
{
    return prop.data && prop.bytes == strlen(text) + 1 && !memcmp(prop.data, text, prop.bytes);
}

// ---------------------------------------------------------------- devices, by what they are compatible with

static void found_gic2(const struct dt_node *node)
{
    if (machine.gic == GIC_NONE && dt_reg(node, 0, &machine.gic_dist) &&
        dt_reg(node, 1, &machine.gic_cpu))
        machine.gic = GIC_V2;
}

static void found_gic3(const struct dt_node *node)
{
    u32 n = dt_cell_or(dt_other(node, "#redistributor-regions"), 1);
    if (machine.gic != GIC_NONE || !dt_reg(node, 0, &machine.gic_dist))
        return;
    for (u32 i = 0; i < MIN(n, (u32)MAX_REDIST); i++)
        dt_reg(node, 1 + i, &machine.gic_redist[i]);
    machine.gic = GIC_V3;
}

static void add_uart(const struct dt_node *node, struct uart uart)
{
    struct dt_prop status = dt_other(node, "status");
    bool used = !status.data || is_string(status, "okay") || is_string(status, "ok");
    if (!used || n_uarts == MAX_UARTS || !dt_reg(node, 0, &uart.regs) || !uart.regs.size)
        return;
    uart.line = dt_interrupt(node, 0, DT_IRQ_SHARED);
    uarts[n_uarts].node = node->offset;
    uarts[n_uarts++].uart = uart;
}

static void found_pl011(const struct dt_node *node)
{
    add_uart(node, (struct uart){.kind = UART_PL011});
}

static void found_8250(const struct dt_node *node)
{
    struct uart uart = {
        .kind = UART_8250,
        .shift = dt_cell_or(dt_other(node, "reg-shift"), 0),
        .width = dt_cell_or(dt_other(node, "reg-io-width"), 1),
    };
    if (uart.shift <= 4 && (uart.width == 1 || uart.width == 2 || uart.width == 4))
        add_uart(node, uart);
}

// The console is the UART that /chosen names, by path or alias, with its settings behind a colon; else the first.
static void choose_uart(void)
{
    const char *path = stdout_path.data, *end = path ? memchr(path, ':', stdout_path.bytes) : NULL;
    u32 chosen = 0;
    if (path && n_uarts > 1) {
        size_t len = end ? (size_t)(end - path) : strnlen(path, stdout_path.bytes);
        int node = fdt_path_offset_namelen(dt_tree, path, (int)len);
        for (u32 i = 0; i < n_uarts; i++)
            chosen = uarts[i].node == node ? i : chosen;
    }
    if (n_uarts)
        machine.uart = uarts[chosen].uart;
}

static void found_timer(const struct dt_node *node)
{
    u32 n = dt_interrupt(node, TIMER_VIRTUAL, DT_IRQ_OF_CPU);
    if (n < 16)
        machine.timer_intid = FIRST_PPI + n;
    machine.timer_hz = dt_cell_or(dt_other(node, "clock-frequency"), 0);
}

static void found_psci(const struct dt_node *node)
{
    struct dt_prop method = dt_other(node, "method");
    machine.psci_smc = is_string(method, "smc");
    machine.psci = machine.psci_smc || is_string(method, "hvc");
}

static void found_rtc(const struct dt_node *node) { dt_reg(node, 0, &machine.rtc); }

static void found_v2m(const struct dt_node *node)
{
    if (!machine.v2m.size)
        dt_reg(node, 0, &machine.v2m);
}

static void found_its(const struct dt_node *node)
{
    if (!machine.its.size)
        dt_reg(node, 0, &machine.its);
}

static void found_virtio(const struct dt_node *node)
{
    if (machine.n_virtio == MAX_VIRTIO_MMIO ||
        !dt_reg(node, 0, &machine.virtio[machine.n_virtio].regs))
        return;
    machine.virtio[machine.n_virtio++].line = dt_interrupt(node, 0, DT_IRQ_SHARED);
}

static const struct {
    char compatible[24];
    void (*found)(const struct dt_node *node);
} devices[] = {
    {"virtio,mmio", found_virtio},
    {"arm,pl011", found_pl011},
    {"ns16550a", found_8250},
    {"ns16550", found_8250},
    {"snps,dw-apb-uart", found_8250},
    {"arm,gic-v3", found_gic3},
    {"arm,gic-400", found_gic2},
    {"arm,cortex-a15-gic", found_gic2},
    {"arm,armv8-timer", found_timer},
    {"arm,psci-0.2", found_psci},
    {"arm,psci-1.0", found_psci},
    {"arm,pl031", found_rtc},
    {"pci-host-ecam-generic", dt_found_pci},
    {"arm,gic-v2m-frame", found_v2m},
    {"arm,gic-v3-its", found_its},
};

static void look_at_device(const struct dt_node *node)
{
    struct dt_prop list = node->props[DT_COMPATIBLE];
    for (u32 i = 0; list.data && i < ARRAY_SIZE(devices); i++) {
        if (fdt_stringlist_contains(list.data, (int)list.bytes, devices[i].compatible)) {
            devices[i].found(node);
            return;
        }
    }
}

// ---------------------------------------------------------------- memory, CPUs, what was chosen

static void add_memory(const struct dt_node *node, enum mem_kind kind)
{
    struct region r;
    for (u32 i = 0; dt_reg(node, i, &r); i++)
        memory_map_add(r.base, r.size, kind);
}

// The CPU that runs this is there, whatever the tree says, and is the first.
static void add_cpu(const struct dt_node *node)
{
    struct dt_prop prop = node->props[DT_REG], method = dt_other(node, "enable-method");
    u32 n = prop.bytes / 4;
    if (!prop.data || n < 1 || n > 2 || (method.data && !is_string(method, "psci")))
        return;
    u32 id = mpidr_id(dt_number(prop, 0, n));
    for (u32 i = 0; i < machine.n_cpus; i++) {
        if (machine.cpu_id[i] == id)
            return;
    }
    if (machine.n_cpus < ARRAY_SIZE(machine.cpu_id))
        machine.cpu_id[machine.n_cpus++] = id;
    else
        log_warn("more CPUs than the %u that can run are left out", machine.n_cpus);
}

static void read_image_address(const struct dt_node *node, const char *name, phys_t *address)
{
    struct dt_prop prop = dt_other(node, name);
    if (prop.bytes == 4 || prop.bytes == 8)
        *address = dt_number(prop, 0, prop.bytes / 4);
}

static void read_chosen(const struct dt_node *node)
{
    struct dt_prop words = dt_other(node, "bootargs");
    size_t n = words.data ? strnlen(words.data, MIN(words.bytes, (u32)CMDLINE_MAX - 1)) : 0;
    if (n)
        memcpy(cmdline, words.data, n);
    cmdline[n] = '\0';
    read_image_address(node, "linux,initrd-start", &image_start);
    read_image_address(node, "linux,initrd-end", &image_end);
    stdout_path = dt_other(node, "stdout-path");
}

static void visit(const struct dt_node *node)
{
    const struct dt_node *parent = node->parent;
    struct dt_prop type = node->props[DT_DEVICE_TYPE];
    if (!parent)
        return;
    if (!parent->parent && !strcmp(node->name, "chosen"))
        read_chosen(node);
    else if (parent->parent && !parent->parent->parent && !strcmp(parent->name, "reserved-memory"))
        add_memory(node, MEM_RESERVED);
    if (is_string(type, "memory"))
        add_memory(node, MEM_RAM);
    else if (is_string(type, "cpu"))
        add_cpu(node);
    look_at_device(node);
}

static void map_tree(phys_t fdt)
{
    if (!fdt || fdt % FDT_ALIGNMENT || fdt >= MEMORY_ADDRESS_MAX - FDT_MAX)
        noboot("the boot loader gives no device tree");
    arch_map_ram(fdt, fdt + sizeof(struct fdt_header));
    dt_tree = phys_to_virt(fdt);
    if (fdt_check_header(dt_tree) || fdt_totalsize(dt_tree) > FDT_MAX)
        noboot("what the boot loader gives as device tree, at %#lx, is none", (unsigned long)fdt);
    arch_map_ram(fdt, fdt + fdt_totalsize(dt_tree));
}

// => false: it has to be read again
static bool read_tree(u32 *gic_cells)
{
    machine = (struct machine){.n_cpus = 1, .timer_intid = TIMER_INTID};
    machine.cpu_id[0] = mpidr_id(sysreg_read(mpidr_el1));
    image_start = image_end = 0;
    n_uarts = 0;
    stdout_path = (struct dt_prop){0};
    memory_map_begin();
    for (int i = 0, n = fdt_num_mem_rsv(dt_tree); i < n; i++) {
        u64 start, size;
        if (fdt_get_mem_rsv(dt_tree, i, &start, &size) == 0)
            memory_map_add(start, size, MEM_RESERVED);
    }
    return dt_walk(visit, gic_cells);
}

void device_tree_parse(phys_t fdt)
{
    u32 gic_cells = DT_GIC_CELLS;
    map_tree(fdt);
    boot_info.cmdline = cmdline;
    if (!read_tree(&gic_cells))
        read_tree(&gic_cells);
    dt_finish_pci();
    choose_uart();
    uart_init();
    memory_map_end();
    memory_map_set_image(image_start, image_end);
}
