// SPDX-License-Identifier: BSD-2-Clause
// platform.c: an Arm machine, described by a device tree or by ACPI tables: bring-up, control channel, and the ends of it.
#include <string.h>

#include "arch/cpu.h"
#include "core/cpu.h"
#include "core/kmain.h"
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/memory_map.h"
#include "platform/pci.h"
#include "platform/virtio/virtio.h"

void platform_init_early(void) { device_tree_parse(boot_argument); }

static void log_machine(void)
{
    if (machine.memory_left_out_bytes)
        log_error("%llu MiB of memory at or above %#llx are not used",
                  (unsigned long long)machine.memory_left_out_bytes >> 20,
                  (unsigned long long)MEMORY_ADDRESS_MAX);
    if (log_level >= LOG_DEBUG)
        a64_log_features();
    for (u32 i = 0; log_level >= LOG_DEBUG && i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        log_debug("memory %#14lx to %#14lx kind %d", (unsigned long)r->start, (unsigned long)r->end,
                  r->kind);
    }
}

void platform_init_irq(void)
{
    log_machine();
    cpus[0]->hw_id = mpidr_id(sysreg_read(mpidr_el1));
    gic_init();
    gic_init_cpu();
}

void platform_init_clock(void) { clock_init(); }

void platform_init_cpu(void)
{
    if (this_cpu()->id != 0)
        gic_init_cpu();
    clock_init_cpu();
}

u32 platform_cpu_count(void) { return machine.n_cpus; }

u32 platform_cpu_hw_id(u32 index) { return machine.cpu_id[index]; }

void platform_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq))
{
    for (u32 i = 0; i < machine.n_virtio; i++)
        found(machine.virtio[i].regs.base, machine.virtio[i].regs.size,
              (int)machine.virtio[i].line);
}

void platform_init_devices(void)
{
    uart_start_input();
    virtio_init();
    if (button_init)
        button_init();
}

void platform_console_write(const char *text, size_t len) { uart_write(text, len); }

bool platform_control_write(const char *text, size_t len)
{
    char buf[16];
    if (!cmdline_get("control", buf, sizeof(buf)) || strcmp(buf, "virtio"))
        return false;
    return virtio_console_write(text, len);
}

static void __noreturn stop(void)
{
    for (;;) {
        arch_irq_disable();
        __asm__ volatile("wfi");
    }
}

void platform_power_off(void)
{
    arch_irq_disable();
    psci_system_off();
    stop();
}

void platform_reset(void)
{
    arch_irq_disable();
    psci_system_reset();
    stop();
}
