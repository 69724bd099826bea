// SPDX-License-Identifier: BSD-2-Clause
// platform_x86.h: what the files of platform/x86_64 share.
#pragma once

#include "core/platform.h"
#include "platform/acpi.h"

// CPUs and interrupt routing as the firmware tells them (ACPI MADT, MP table, or fw_cfg).
struct machine {
    u32 n_cpus;           // 0 until the tables have been read
    u32 n_cpus_left_out;  // more than the array holds
    u32 cpu_apic_id[64];  // as listed, each once; the boot CPU need not be first
    u32 n_ioapics;
    struct ioapic {
        phys_t address;
        u32 gsi_base;
        u32 n_inputs;        // 0: not used yet
        volatile u32 *regs;  // NULL: not used yet
    } ioapic[8];
    struct {
        u32 gsi;
        u16 flags;  // MPS INTI flags: polarity in bits 0-1, trigger mode in bits 2-3
        bool set;
    } isa[16];  // interrupt source overrides
};
extern struct machine machine;

// machine.c
void machine_add_cpu(struct machine *m, u32 apic_id);
void machine_add_ioapic(struct machine *m, phys_t address, u32 gsi_base);

// pvh.c: the physical address that the boot protocol hands over. The command line comes first, since it says
// where to tell what is wrong with the rest; pvh_parse fills in the rest of boot_info, or ends the machine.
void pvh_read_cmdline(phys_t start_info);
void pvh_parse(phys_t start_info);

void serial_init(void);
void serial_write(const char *text, size_t len);
void serial_start_input(void);

// acpi_x86.c: what only PCs have in their tables (the rest: platform/acpi.h)
phys_t acpi_search_rsdp(void);  // where a BIOS leaves it; 0: not found
void acpi_read_madt(struct machine *m);
u32 acpi_pm_timer_port(void);  // 0: none
// The power button as fixed hardware. => false when there is none; after that ACPI owns its registers
struct acpi_button {
    u16 status_port, enable_port;  // of PM1
    u16 irq;                       // system control interrupt, an ISA line
};
bool acpi_find_button(struct acpi_button *button);
void button_init(void) __weak;  // button.c, in the kernel with devices
void acpi_power_off(void);      // returns if it cannot
void acpi_reset(void);

void mptable_read(struct machine *m);
// Number of CPUs from QEMU's configuration device, 0 without one.
u32 fw_cfg_cpu_count(void);

void ioapic_init(struct machine *m);

void tsc_init(void);  // counter rate and wall clock
void tsc_check_rate(
    void);  // of the boot CPU's timer interrupt: whether the hypervisor tells another rate now
u64 tsc_hz(void);

// a * b / c with a 128-bit product. => The quotient fits in 64 bits.
static inline u64 mul_div(u64 a, u64 b, u64 c)
{
    u64 high, quotient;
    __asm__("mulq %3\n\tdivq %4" : "=&a"(quotient), "=&d"(high) : "0"(a), "rm"(b), "rm"(c));
    return quotient;
}
