// SPDX-License-Identifier: BSD-2-Clause
// button.c: the power button of PCs, by which hypervisors ask a machine to end (ACPI 6.4, 4.8.2.2.1.1): a status and an enable
// bit of fixed hardware, and the system control interrupt; on machines without such hardware (microvm) an event of the generic event
// device. Only in the kernel with devices (mk/kernel.mk).
#include "arch_impl/x86.h"
#include "core/log.h"
#include "platform/acpi.h"
#include "platform/x86_64/platform_x86.h"

#define POWER_BUTTON BIT(8)

static struct acpi_button button;

static void sci(void *unused)
{
    if (!(inw(button.status_port) & POWER_BUTTON))
        return;
    outw(button.status_port, POWER_BUTTON);  // writing the bit clears it
    shutdown_asked();
}

static void start_ged(void)
{
    struct acpi_ged ged;
    if (!acpi_find_ged(&ged))
        return;
    acpi_ged_start(&ged);
    if (platform_irq_request(ged.gsi, acpi_ged_interrupt, NULL))
        log_warn("the power button has no interrupt");
}

void button_init(void)
{
    if (!acpi_find_button(&button)) {
        start_ged();
        return;
    }
    if (platform_irq_request(button.irq, sci, NULL))
        return;
    outw(button.status_port, POWER_BUTTON);
    outw(button.enable_port, POWER_BUTTON);
}
