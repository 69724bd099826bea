// SPDX-License-Identifier: BSD-2-Clause
// platform.c: a PC, virtual or real: bring-up, control channel, and the ends of the machine.
#include <stdlib.h>
#include <string.h>

#include "arch/cpu.h"
#include "arch_impl/x86.h"
#include "core/cpu.h"
#include "core/kmain.h"
#include "core/log.h"
#include "platform/x86_64/apic.h"
#include "platform/virtio/virtio.h"
#include "platform/x86_64/platform_x86.h"

struct machine machine;

static u16 control_port;  // 0: no control channel

void platform_init_early(void)
{
    char buf[8];
    serial_init();
    pvh_read_cmdline(boot_argument);
    if (cmdline_get("control", buf, sizeof(buf)) && !strcmp(buf, "e9"))
        control_port = 0xe9;
    pvh_parse(boot_argument);
}

static void find_cpus(struct machine *m)
{
    u32 told = boot_info.rsdp ? 0 : fw_cfg_cpu_count();
    if (!boot_info.rsdp &&
        !told)  // not QEMU: a BIOS may have left tables that the loader did not mention
        acpi_init(acpi_search_rsdp());
    acpi_read_madt(m);
    if (m->n_cpus == 0 && told != 1)
        mptable_read(m);
    if (m->n_cpus_left_out)
        log_warn("%u CPUs more than the %u that can run are left out", m->n_cpus_left_out,
                 m->n_cpus);
}

// The CPU that runs this is there, whatever the tables say, and becomes the first. Ids that only an x2APIC can
// address are left out without one.
static void boot_cpu_first(struct machine *m)
{
    u32 ids[ARRAY_SIZE(m->cpu_apic_id)], n = 1;
    ids[0] = cpus[0]->hw_id;
    for (u32 i = 0; i < m->n_cpus && n < ARRAY_SIZE(ids); i++) {
        u32 id = m->cpu_apic_id[i];
        if (id != ids[0] && (x86_features.x2apic || id < APIC_BROADCAST))
            ids[n++] = id;
    }
    memcpy(m->cpu_apic_id, ids, n * sizeof(ids[0]));
    m->n_cpus = n;
}

static void log_memory(void)
{
    static const char *const kinds[] = {"", "RAM", "reserved", "ACPI", "ACPI NVS", "bad"};
    for (u32 i = 0; log_level >= LOG_DEBUG && i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        log_debug("memory %#14lx to %#14lx %s", (unsigned long)r->start, (unsigned long)r->end,
                  kinds[r->kind]);
    }
}

void platform_init_irq(void)
{
    log_memory();
    apic_init_boot();
    apic_init_cpu();
    cpus[0]->hw_id = apic_id();
    acpi_init(boot_info.rsdp);
    find_cpus(&machine);
    boot_cpu_first(&machine);
    ioapic_init(&machine);
}

u32 platform_cpu_count(void) { return machine.n_cpus; }

u32 platform_cpu_hw_id(u32 index) { return machine.cpu_apic_id[index]; }

void platform_init_clock(void) { tsc_init(); }

void platform_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq))
{
    acpi_each_virtio_mmio(found);
}

void platform_init_devices(void)
{
    serial_start_input();
    virtio_init();
    if (button_init)
        button_init();
}

void platform_console_write(const char *text, size_t len) { serial_write(text, len); }

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
