// SPDX-License-Identifier: BSD-2-Clause
// platform_a64.h: what the files of platform/aarch64 share.
#pragma once

#include "core/platform.h"

struct region {
    phys_t base;
    u64 size;  // bytes; 0: not there
};

enum gic_kind { GIC_NONE, GIC_V2, GIC_V3 };
#define MAX_REDIST 64  // one a CPU, where ACPI tells of them so
#define MAX_VIRTIO_MMIO 32
#define N_SPI 988  // shared peripheral interrupts of a GIC
#define NO_LINE UINT32_MAX
#define TIMER_INTID 27  // where the virtual timer usually is

enum uart_kind { UART_NONE, UART_PL011, UART_8250 };
struct uart {
    enum uart_kind kind;
    struct region regs;
    u32 line;          // shared peripheral interrupt, or NO_LINE
    u32 shift, width;  // 8250: registers of `width` bytes, 1 << shift bytes apart
};

// A PCI host bridge: bus 0, which is all that is used.
#define MAX_PCI_WINDOWS 4
#define MAX_PCI_INTX 128
struct pci_host {
    struct region ecam;  // 4 KiB a function
    u32 n_windows;
    struct {
        u64 bus;                 // address on the bus
        phys_t cpu;              // the CPU's for it
        u64 size;                // bytes
    } windows[MAX_PCI_WINDOWS];  // where it shows memory of the bus to the CPU
    u32 intx_mask;  // of a function's number << 8 and its pin: what of them intx[].key has
    u32 n_intx;
    struct {
        u32 key, line;
    } intx[MAX_PCI_INTX];
    bool has_msi;
    u32 msi_base;  // what a function's number is raised by to be a device of the ITS
};

// The machine as the device tree (device_tree.c) or ACPI (acpi_arm.c) tells it.
struct machine {
    u32 n_cpus;      // that can be started, the boot CPU included
    u32 cpu_id[64];  // affinity, packed as mpidr_id() does; the boot CPU is the first
    enum gic_kind gic;
    struct region gic_dist;
    struct region gic_cpu;                 // GICv2: CPU interface
    struct region gic_redist[MAX_REDIST];  // GICv3
    struct uart uart;
    u32 timer_intid;  // of the virtual timer
    u64 timer_hz;     // if the tree tells, else 0
    struct region rtc, v2m, its;
    u64 memory_left_out_bytes;         // it lies beyond MEMORY_ADDRESS_MAX
    u64 boot_time_s, boot_time_ticks;  // time of day when the counter stood there; 0: not told
    struct pci_host pci;
    bool psci_smc, psci;
    struct {  // the power button, as a line of a PL061; size 0: none
        struct region regs;
        u32 line, pin;
        bool active_low;
    } button;
    u32 n_virtio;
    struct {
        struct region regs;
        u32 line;
    } virtio[MAX_VIRTIO_MMIO];
    u32 edge_lines[DIV_ROUND_UP(N_SPI, 32)];  // bit map: not level-sensitive
};
extern struct machine machine;

// MPIDR_EL1's affinity fields in 32 bits: Aff3, Aff2, Aff1, Aff0.
static inline u32 mpidr_id(u64 mpidr) { return (mpidr & 0xffffff) | (mpidr >> 32 & 0xff) << 24; }
static inline u64 mpidr_of(u32 id) { return (id & 0xffffff) | (u64)(id >> 24) << 32; }

// machine.c. The CPU that runs this is there, whatever firmware says, and is the first; others are taken once each.
void machine_begin(u32 boot_cpu_id);
void machine_add_cpu(u32 id);
void machine_add_virtio(struct region regs, u32 line);

// acpi_arm.c: fills in machine from the tables, and starts the console; or ends the machine.
void acpi_machine_read(phys_t rsdp);

// device_tree.c: fills in machine and boot_info, or ends the machine.
void device_tree_parse(phys_t fdt);

// uart.c, the console, and pl011.c, one kind of it
void uart_init(void);
void uart_write(const char *text, size_t len);
void uart_start_input(void);
void pl011_init(volatile void *registers);
void pl011_write(const char *text, size_t len);
void pl011_interrupt(void *unused);
void pl011_start_input(void);

// gic.c
void gic_init(void);
void gic_init_cpu(void);
// Calls handler(arg) on interrupt `id`; several may share it. => 0, -ENOSPC: all lines of irq.c are taken
int gic_add_handler(u32 id, void (*handler)(void *), void *arg);
// The boot CPU's redistributor, where messages go. => NULL: GICv2
volatile char *gic_boot_redistributor(phys_t *pa);
u32 gic_type(void);  // GICD_TYPER

void button_init(void) __weak;  // button.c, in the kernel with devices

// its.c. A message of a device, by its number there, that becomes an interrupt. => 0, -ENODEV
int its_request(u32 device, void (*handler)(void *), void *arg, u64 *address, u32 *data);

// clock.c
void clock_init(void);
void clock_init_cpu(void);

// psci.c. => 0, or PSCI's negative error
long psci_cpu_on(u32 id, phys_t entry, u64 context);
void psci_system_off(void);  // returns if there is no PSCI
void psci_system_reset(void);

static inline u32 mmio_read32(const volatile void *base, u32 offset)
{
    u32 value;
    __asm__ volatile("ldr %w0, [%1]"
                     : "=r"(value)
                     : "r"((const volatile char *)base + offset)
                     : "memory");
    return value;
}
static inline void mmio_write32(volatile void *base, u32 offset, u32 value)
{
    __asm__ volatile("str %w0, [%1]"
                     :
                     : "rZ"(value), "r"((volatile char *)base + offset)
                     : "memory");
}
static inline u64 mmio_read64(const volatile void *base, u32 offset)
{
    u64 value;
    __asm__ volatile("ldr %0, [%1]"
                     : "=r"(value)
                     : "r"((const volatile char *)base + offset)
                     : "memory");
    return value;
}
static inline void mmio_write64(volatile void *base, u32 offset, u64 value)
{
    __asm__ volatile("str %x0, [%1]"
                     :
                     : "rZ"(value), "r"((volatile char *)base + offset)
                     : "memory");
}
static inline u32 mmio_read16(const volatile void *base, u32 offset)
{
    u32 value;
    __asm__ volatile("ldrh %w0, [%1]"
                     : "=r"(value)
                     : "r"((const volatile char *)base + offset)
                     : "memory");
    return value;
}
static inline void mmio_write16(volatile void *base, u32 offset, u16 value)
{
    __asm__ volatile("strh %w0, [%1]"
                     :
                     : "rZ"(value), "r"((volatile char *)base + offset)
                     : "memory");
}
static inline u32 mmio_read8(const volatile void *base, u32 offset)
{
    u32 value;
    __asm__ volatile("ldrb %w0, [%1]"
                     : "=r"(value)
                     : "r"((const volatile char *)base + offset)
                     : "memory");
    return value;
}
static inline void mmio_write8(volatile void *base, u32 offset, u8 value)
{
    __asm__ volatile("strb %w0, [%1]"
                     :
                     : "rZ"(value), "r"((volatile char *)base + offset)
                     : "memory");
}
