// SPDX-License-Identifier: BSD-2-Clause
// machine.c: the machine as firmware tells it, by device tree or ACPI.
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/firmware.h"

// Tables lie in listed memory only, and boot.S maps the kernel alone.
const phys_t firmware_low_end = 0, firmware_mapped_end = 0;

struct machine machine;

void machine_begin(u32 boot_cpu_id)
{
    machine = (struct machine){.n_cpus = 1, .timer_intid = TIMER_INTID};
    machine.cpu_id[0] = boot_cpu_id;
}

void machine_add_cpu(u32 id)
{
    for (u32 i = 0; i < machine.n_cpus; i++) {
        if (machine.cpu_id[i] == id)
            return;
    }
    if (machine.n_cpus < ARRAY_SIZE(machine.cpu_id))
        machine.cpu_id[machine.n_cpus++] = id;
    else
        log_warn("more CPUs than the %u that can run are left out", machine.n_cpus);
}

void machine_add_virtio(struct region regs, u32 line)
{
    if (machine.n_virtio == MAX_VIRTIO_MMIO)
        return;
    machine.virtio[machine.n_virtio].regs = regs;
    machine.virtio[machine.n_virtio++].line = line;
}
