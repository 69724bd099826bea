// SPDX-License-Identifier: BSD-2-Clause
// platform.c: a PC, virtual or real: bring-up, control channel, and the ends of the machine.
#include <stdlib.h>
#include <string.h>

#include "arch_impl/x86.h"
#include "core/cpu.h"
#include "core/kmain.h"
#include "core/log.h"
#include "platform/x86_64/apic.h"
#include "platform/x86_64/platform_x86.h"

struct machine machine;

static u16 control_port;  // 0: no control channel

void platform_init_early(void)
{
    char buf[8];
    serial_init();
    pvh_parse(boot_argument);
    if (cmdline_get("control", buf, sizeof(buf)) && !strcmp(buf, "e9"))
        control_port = 0xe9;
}

static void find_cpus(struct machine *m)
{
    acpi_read_madt(m);
    if (m->n_cpus)
        return;
    if (fw_cfg_cpu_count() != 1)
        mptable_read(m);
    if (m->n_cpus == 0) {
        m->n_cpus = 1;
        m->cpu_apic_id[0] = cpus[0]->hw_id;
    }
}

static void boot_cpu_first(struct machine *m)
{
    for (u32 i = 1; i < m->n_cpus; i++) {
        if (m->cpu_apic_id[i] == cpus[0]->hw_id) {
            m->cpu_apic_id[i] = m->cpu_apic_id[0];
            m->cpu_apic_id[0] = cpus[0]->hw_id;
        }
    }
}

void platform_init_irq(void)
{
    apic_init_boot();
    apic_init_cpu();
    cpus[0]->hw_id = apic_id();
    acpi_init(boot_info.rsdp);
    find_cpus(&machine);
    boot_cpu_first(&machine);
    ioapic_init(&machine);
}

u32 platform_cpu_count(void)
{
    return machine.n_cpus;
}

u32 platform_cpu_hw_id(u32 index)
{
    return machine.cpu_apic_id[index];
}

void platform_init_clock(void)
{
    tsc_init();
}

void platform_init_devices(void)
{
    serial_start_input();
}

void platform_console_write(const char *text, size_t len)
{
    serial_write(text, len);
}

bool platform_control_write(const char *text, size_t len)
{
    if (control_port)
        __asm__ volatile("rep outsb" : "+S"(text), "+c"(len) : "d"(control_port) : "memory");
    return control_port;
}

// `exit=isa:PORT`: QEMU's isa-debug-exit, which ends QEMU with status 2 * value + 1.
static void debug_exit(void)
{
    char buf[24];
    if (cmdline_get("exit", buf, sizeof(buf)) && !strncmp(buf, "isa:", 4))
        outl(strtoul(buf + 4, NULL, 16), 0);
}

void platform_power_off(void)
{
    arch_irq_disable();
    debug_exit();
    acpi_power_off();
    platform_reset();
}

void platform_reset(void)
{
    struct __packed {
        u16 limit;
        u64 base;
    } no_idt = {0, 0};
    arch_irq_disable();
    acpi_reset();
    outb(0x64, 0xfe);  // keyboard controller: reset line; Firecracker's way out
    outb(0xcf9, 0x06);
    __asm__ volatile("lidt %0; int3" : : "m"(no_idt));  // no handler for anything: a triple fault
    for (;;)
        __asm__ volatile("cli; hlt");
}
