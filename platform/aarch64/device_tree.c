// SPDX-License-Identifier: BSD-2-Clause
// device_tree.c: what the flattened device tree tells (Devicetree Specification 0.4), by libfdt.
//
// Where the firmware has ACPI tables and no tree, our loader makes a tree of memory and /chosen alone (boot/efi/aarch64/tree.c,
// which tells of the properties "lethe,..."): the rest is up to acpi_arm.c.
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
#define KEY_POWER 116  // the kernel's binding gpio-keys
#define GPIO_LINES 8   // of a PL061
#define GPIO_ACTIVE_LOW 1
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

// Controllers of general-purpose lines, and the key of the power button at one of them.
#define MAX_GPIOS 4
static u32 n_gpios;
static struct {
    u32 phandle, line;
    struct region regs;
} gpios[MAX_GPIOS];
static int keys;                  // offset of the node whose children are keys; 0: none yet
static struct dt_prop power_key;  // controller, line, flags

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
    struct region regs;
    if (dt_reg(node, 0, &regs))
        machine_add_virtio(regs, dt_interrupt(node, 0, DT_IRQ_SHARED));
}

static void found_pl061(const struct dt_node *node)
{
    if (n_gpios == MAX_GPIOS || !dt_reg(node, 0, &gpios[n_gpios].regs))
        return;
    gpios[n_gpios].line = dt_interrupt(node, 0, DT_IRQ_SHARED);
    gpios[n_gpios++].phandle = dt_cell_or(node->props[DT_PHANDLE], 0);
}

static void found_keys(const struct dt_node *node) { keys = node->offset; }

// A key below the node of all keys.
static void look_at_key(const struct dt_node *node)
{
    struct dt_prop where = dt_other(node, "gpios");
    if (dt_cell_or(dt_other(node, "linux,code"), 0) == KEY_POWER && where.bytes == 3 * 4)
        power_key = where;
}

static void choose_button(void)
{
    for (u32 i = 0; power_key.data && i < n_gpios; i++) {
        if (gpios[i].phandle != dt_cell(power_key, 0) || dt_cell(power_key, 1) >= GPIO_LINES)
            continue;
        machine.button.regs = gpios[i].regs;
        machine.button.line = gpios[i].line;
        machine.button.pin = dt_cell(power_key, 1);
        machine.button.active_low = dt_cell(power_key, 2) & GPIO_ACTIVE_LOW;
    }
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
    {"arm,pl061", found_pl061},
    {"gpio-keys", found_keys},
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
    for (u32 i = 0; dt_reg(node, i, &r); i++) {
        memory_map_add(r.base, r.size, kind);
        u64 room = MEMORY_ADDRESS_MAX - MIN(r.base, MEMORY_ADDRESS_MAX);
        if (kind == MEM_RAM && r.size > room)
            machine.memory_left_out_bytes += r.size - room;
    }
}

static void add_cpu(const struct dt_node *node)
{
    struct dt_prop prop = node->props[DT_REG], method = dt_other(node, "enable-method");
    u32 n = prop.bytes / 4;
    if (!prop.data || n < 1 || n > 2 || (method.data && !is_string(method, "psci")))
        return;
    machine_add_cpu(mpidr_id(dt_number(prop, 0, n)));
}

static void read_number(const struct dt_node *node, const char *name, u64 *number)
{
    struct dt_prop prop = dt_other(node, name);
    if (prop.bytes == 4 || prop.bytes == 8)
        *number = dt_number(prop, 0, prop.bytes / 4);
}

static void read_chosen(const struct dt_node *node)
{
    struct dt_prop words = dt_other(node, "bootargs");
    size_t n = words.data ? strnlen(words.data, MIN(words.bytes, (u32)CMDLINE_MAX - 1)) : 0;
    if (n)
        memcpy(cmdline, words.data, n);
    cmdline[n] = '\0';
    read_number(node, "linux,initrd-start", &image_start);
    read_number(node, "linux,initrd-end", &image_end);
    read_number(node, "lethe,acpi-rsdp", &boot_info.rsdp);
    read_number(node, "lethe,time", &machine.boot_time_s);
    read_number(node, "lethe,time-ticks", &machine.boot_time_ticks);
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
    if (keys && parent->offset == keys)
        look_at_key(node);
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
    machine_begin(mpidr_id(sysreg_read(mpidr_el1)));
    image_start = image_end = boot_info.rsdp = 0;
    n_uarts = 0;
    stdout_path = power_key = (struct dt_prop){0};
    n_gpios = 0;
    keys = 0;
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
    choose_button();
    uart_init();
    memory_map_end();
    memory_map_set_image(image_start, image_end);
    if (boot_info.rsdp)
        acpi_machine_read(boot_info.rsdp);
}
