// SPDX-License-Identifier: BSD-2-Clause
// The reader of device trees (platform/aarch64) under ASan and UBSan: first a machine that is described well, then
// thousands with a few bytes changed. The tree is given as a copy of exactly the length that it claims.
//
//   fuzz_device_tree ROUNDS
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "ends.h"
#include "platform/aarch64/platform_a64.h"

enum { TREE = 0x48000000, TREE_MAX = 2 << 20, SEED_BYTES = 4096, GIC = 0x8001, GPIO = 0x8002 };

struct boot_info boot_info;
int log_level = LOG_ERROR;
char kernel_start[1], kernel_end[1];

static unsigned char seed_tree[SEED_BYTES], *tree;
static size_t tree_bytes;

void *phys_to_virt(phys_t pa) { return tree + (pa - TREE); }
phys_t virt_to_phys(const void *kva) { return kva == kernel_start ? 0x40200000 : 0x40300000; }
void arch_map_ram(phys_t start, phys_t end) { KASSERT(start < end && start == TREE); }
void *arch_map_device(phys_t pa, size_t len) { abort(); }
void klog_line(int level, const char *fmt, ...) { (void)level, (void)fmt; }
void uart_init(void) {}
static phys_t acpi_rsdp;
void acpi_machine_read(phys_t rsdp) { acpi_rsdp = rsdp; }

static void cells(void *f, const char *name, unsigned n, const u32 *values)
{
    fdt32_t big[24];
    for (unsigned i = 0; i < n; i++)
        big[i] = cpu_to_fdt32(values[i]);
    fdt_property(f, name, big, (int)(n * 4));
}
#define CELLS(f, name, ...) cells(f, name, sizeof((u32[]){__VA_ARGS__}) / 4, (u32[]){__VA_ARGS__})

static void node(void *f, const char *name, const char *compatible)
{
    fdt_begin_node(f, name);
    if (compatible)
        fdt_property_string(f, "compatible", compatible);
}

// A bus that moves addresses, with a bus in it that does so again; one that shows nothing; a PCI host bridge.
static void add_buses(void *f)
{
    node(f, "soc", "simple-bus");
    CELLS(f, "#address-cells", 1);
    CELLS(f, "#size-cells", 1);
    CELLS(f, "ranges", 0x1000, 0x7, 0x40000000, 0x1000, 0x10000, 0, 0x9000000, 0x2000000);
    node(f, "bus@20000", "simple-bus");
    CELLS(f, "#address-cells", 1);
    CELLS(f, "#size-cells", 1);
    CELLS(f, "ranges", 0, 0x20000, 0x10000);
    node(f, "rtc@400", "arm,pl031");
    CELLS(f, "reg", 0x400, 0x1000);
    fdt_end_node(f);
    fdt_end_node(f);
    node(f, "virtio_mmio@1200", "virtio,mmio");
    CELLS(f, "reg", 0x1200, 0x200);
    CELLS(f, "interrupts-extended", GIC, 0, 41, 4);
    fdt_end_node(f);
    node(f, "virtio_mmio@1f00", "virtio,mmio");  // ends behind the window
    CELLS(f, "reg", 0x1f00, 0x200);
    fdt_end_node(f);
    fdt_end_node(f);
    node(f, "hidden", "simple-bus");
    node(f, "virtio_mmio@a000800", "virtio,mmio");
    CELLS(f, "reg", 0, 0xa000800, 0x200);
    fdt_end_node(f);
    fdt_end_node(f);
    node(f, "pcie@10000000", "pci-host-ecam-generic");
    CELLS(f, "reg", 0x40, 0x10000000, 0, 0x10000000);
    CELLS(f, "#address-cells", 3);
    CELLS(f, "#size-cells", 2);
    CELLS(f, "#interrupt-cells", 1);
    CELLS(f, "bus-range", 0, 255);
    CELLS(f, "ranges", 0x1000000, 0, 0, 0, 0x3eff0000, 0, 0x10000,  //
          0x2000000, 0, 0x10000000, 0, 0x20000000, 0, 0x2eff0000,   //
          0x43000000, 0x80, 0, 0x80, 0, 0x80, 0);
    CELLS(f, "interrupt-map-mask", 0x1800, 0, 0, 7);
    CELLS(f, "interrupt-map", 0, 0, 0, 1, GIC, 0, 0, 0, 3, 4,  //
          0x800, 0, 0, 1, GIC, 0, 0, 0, 4, 1);
    CELLS(f, "msi-map", 0, 9, 0x300, 0x10000);
    fdt_end_node(f);
}

static void make_tree(void *f)
{
    fdt_create(f, SEED_BYTES);
    fdt_add_reservemap_entry(f, 0x41000000, 0x10000);
    fdt_finish_reservemap(f);
    node(f, "", NULL);
    CELLS(f, "#address-cells", 2);
    CELLS(f, "#size-cells", 2);
    node(f, "memory@40000000", NULL);
    fdt_property_string(f, "device_type", "memory");
    CELLS(f, "reg", 0, 0x40000000, 0, 0x20000000);
    fdt_end_node(f);
    node(f, "reserved-memory", NULL);
    CELLS(f, "#address-cells", 2);
    CELLS(f, "#size-cells", 2);
    fdt_property(f, "ranges", "", 0);
    node(f, "secret@50000000", NULL);
    CELLS(f, "reg", 0, 0x50000000, 0, 0x100000);
    fdt_end_node(f);
    fdt_end_node(f);
    node(f, "intc@8000000", "arm,cortex-a15-gic");
    CELLS(f, "phandle", GIC);
    CELLS(f, "#interrupt-cells", 3);
    CELLS(f, "#address-cells", 2);
    CELLS(f, "#size-cells", 2);
    CELLS(f, "reg", 0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000);
    fdt_property(f, "ranges", "", 0);
    node(f, "v2m@8020000", "arm,gic-v2m-frame");
    CELLS(f, "reg", 0, 0x8020000, 0, 0x1000);
    fdt_end_node(f);
    fdt_end_node(f);
    add_buses(f);
    node(f, "gpio@9050000", "arm,pl061");
    CELLS(f, "phandle", GPIO);
    CELLS(f, "reg", 0, 0x9050000, 0, 0x1000);
    CELLS(f, "interrupts", 0, 9, 4);
    fdt_end_node(f);
    node(f, "keys", "gpio-keys");
    node(f, "sleep", NULL);
    CELLS(f, "gpios", GPIO, 2, 0);
    CELLS(f, "linux,code", 142);
    fdt_end_node(f);
    node(f, "poweroff", NULL);
    CELLS(f, "gpios", GPIO, 3, 1);
    CELLS(f, "linux,code", 116);
    fdt_end_node(f);
    fdt_end_node(f);
    node(f, "pl011@9000000", "arm,pl011");
    CELLS(f, "reg", 0, 0x9000000, 0, 0x1000);
    CELLS(f, "interrupts", 0, 1, 4);
    fdt_end_node(f);
    node(f, "serial@9030000", "ns16550a");  // switched off
    CELLS(f, "reg", 0, 0x9030000, 0, 0x1000);
    fdt_property_string(f, "status", "disabled");
    fdt_end_node(f);
    node(f, "serial@9040000", "snps,dw-apb-uart");
    CELLS(f, "reg", 0, 0x9040000, 0, 0x100);
    CELLS(f, "reg-shift", 2);
    CELLS(f, "reg-io-width", 4);
    CELLS(f, "interrupts", 0, 7, 1);
    fdt_end_node(f);
    node(f, "aliases", NULL);
    fdt_property_string(f, "serial0", "/pl011@9000000");
    fdt_property_string(f, "serial2", "/serial@9040000");
    fdt_end_node(f);
    node(f, "virtio_mmio@a000000", "virtio,mmio");
    CELLS(f, "reg", 0, 0xa000000, 0, 0x200);
    CELLS(f, "interrupts", 0, 40, 1);
    fdt_end_node(f);
    node(f, "timer", "arm,armv8-timer");
    CELLS(f, "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
    fdt_end_node(f);
    node(f, "psci", "arm,psci-0.2");
    fdt_property_string(f, "method", "smc");
    fdt_end_node(f);
    node(f, "cpus", NULL);
    CELLS(f, "#address-cells", 1);
    CELLS(f, "#size-cells", 0);
    for (u32 i = 0; i < 3; i++) {
        node(f, i == 0 ? "cpu@0" : i == 1 ? "cpu@1" : "cpu@100", NULL);
        fdt_property_string(f, "device_type", "cpu");
        fdt_property_string(f, "enable-method", "psci");
        CELLS(f, "reg", i < 2 ? i : 0x100);
        fdt_end_node(f);
    }
    fdt_end_node(f);
    node(f, "chosen", NULL);
    fdt_property_string(f, "bootargs", "loglevel=6 control=virtio");
    fdt_property_string(f, "stdout-path", "serial2:115200n8");
    CELLS(f, "lethe,acpi-rsdp", 0, 0x44200000);
    CELLS(f, "linux,initrd-start", 0x44000000);
    CELLS(f, "linux,initrd-end", 0, 0x44100000);
    fdt_end_node(f);
    fdt_end_node(f);
    if (fdt_finish(f)) {
        puts("the tree for the test does not fit");
        exit(1);
    }
}

// A copy of the bytes as long as its header claims, within what the reader takes.
static void place(const unsigned char *bytes, size_t len)
{
    size_t claimed = fdt_totalsize(bytes);
    tree_bytes = claimed >= len && claimed <= TREE_MAX ? claimed : len;
    free(tree);
    tree = malloc(tree_bytes);
    memset(tree, 0xff, tree_bytes);
    memcpy(tree, bytes, MIN(len, tree_bytes));
}

// => false: the machine was refused
static bool parse(void)
{
    memset(&machine, 0, sizeof(machine));
    memset(&boot_info, 0, sizeof(boot_info));
    if (setjmp(stop))
        return false;
    device_tree_parse(TREE);
    return true;
}

#define CHECK(condition)                                    \
    do {                                                    \
        if (!(condition)) {                                 \
            printf("not so: %s: %s\n", #condition, reason); \
            exit(1);                                        \
        }                                                   \
    } while (0)

static void check_good(void)
{
    place(seed_tree, fdt_totalsize(seed_tree));
    CHECK(parse());
    CHECK(machine.n_cpus == 3 && machine.cpu_id[2] == 0x100);
    CHECK(machine.gic == GIC_V2 && machine.gic_cpu.base == 0x8010000);
    CHECK(machine.uart.kind == UART_8250 && machine.uart.regs.base == 0x9040000);
    CHECK(machine.uart.line == 7 && machine.uart.shift == 2 && machine.uart.width == 4);
    CHECK(machine.edge_lines[0] == (BIT(4) | BIT(7)) && machine.edge_lines[1] == BIT(40 - 32));
    CHECK(machine.timer_intid == 27 && machine.psci && machine.psci_smc);
    CHECK(machine.n_virtio == 2 && machine.virtio[1].line == 40 && machine.virtio[0].line == 41);
    CHECK(machine.virtio[0].regs.base == 0x740000200 && machine.rtc.base == 0x9010400);
    CHECK(machine.v2m.base == 0x8020000 && machine.its.size == 0);
    CHECK(machine.pci.ecam.base == 0x4010000000 && machine.pci.n_windows == 2);
    CHECK(machine.pci.windows[0].bus == 0x10000000 && machine.pci.windows[0].cpu == 0x20000000);
    CHECK(machine.pci.windows[1].bus == 0x8000000000 &&
          machine.pci.windows[1].size == 0x8000000000);
    CHECK(machine.pci.intx_mask == 0x1807 && machine.pci.n_intx == 2);
    CHECK(machine.pci.intx[1].key == 0x801 && machine.pci.intx[1].line == 4);
    CHECK(machine.pci.has_msi && machine.pci.msi_base == 0x300);
    CHECK(machine.button.regs.base == 0x9050000 && machine.button.line == 9);
    CHECK(machine.button.pin == 3 && machine.button.active_low && acpi_rsdp == 0x44200000);
    CHECK(boot_info.image_start == 0x44000000 && boot_info.image_end == 0x44100000);
    CHECK(!strcmp(boot_info.cmdline, "loglevel=6 control=virtio"));
    CHECK(boot_info.n_mem == 5 && boot_info.mem[3].kind == MEM_RESERVED &&
          boot_info.mem[3].start == 0x50000000 && boot_info.mem[4].end == 0x60000000);
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000, booted = 0;
    make_tree(seed_tree);
    check_good();
    size_t len = fdt_totalsize(seed_tree);
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned char bytes[SEED_BYTES];
        srand((unsigned)round);
        memcpy(bytes, seed_tree, sizeof(bytes));
        for (int changes = 1 + rand() % 8; changes; changes--) {
            static const unsigned char odd[] = {0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff};
            bytes[(size_t)rand() % len] =
                rand() % 2 ? odd[(size_t)rand() % sizeof(odd)] : (unsigned char)rand();
        }
        place(bytes, len);
        booted += parse();
    }
    free(tree);
    if (rounds >= 1000 && (booted == 0 || booted == rounds)) {
        printf("%lu of %lu changed trees were taken\n", booted, rounds);
        return 1;
    }
    return 0;
}
