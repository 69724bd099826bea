// SPDX-License-Identifier: BSD-2-Clause
// button.c: the power button, by which hypervisors ask a machine to end: a line of a PL061 (Arm DDI 0190), where the device
// tree has a key for it; an event of ACPI's generic event device otherwise. Only in the kernel with devices (mk/kernel.mk).
#include "arch/mmu.h"
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/acpi.h"

enum {
    GPIO_DIRECTION = 0x400,
    GPIO_SENSE = 0x404,  // 0: by edge
    GPIO_BOTH_EDGES = 0x408,
    GPIO_EVENT = 0x40c,  // 1: by the rising one
    GPIO_ENABLE = 0x410,
    GPIO_STATUS = 0x418,
    GPIO_CLEAR = 0x41c,
    GPIO_BYTES = 0x1000,
};
#define FIRST_SPI 32

static volatile char *gpio;

static void gpio_interrupt(void *unused)
{
    u32 pin = (u32)BIT(machine.button.pin);
    if (!(mmio_read32(gpio, GPIO_STATUS) & pin))
        return;
    mmio_write32(gpio, GPIO_CLEAR, pin);
    shutdown_asked();
}

static void set_bit(u32 reg, u32 bit, bool on)
{
    u32 now = mmio_read32(gpio, reg);
    mmio_write32(gpio, reg, on ? now | bit : now & ~bit);
}

// The other lines of the controller are nobody's, and stay silent.
static void start_gpio(void)
{
    u32 pin = (u32)BIT(machine.button.pin);
    if (machine.button.line == NO_LINE || !platform_is_device(machine.button.regs.base, GPIO_BYTES))
        return;
    gpio = arch_map_device(machine.button.regs.base, GPIO_BYTES);
    mmio_write32(gpio, GPIO_ENABLE, 0);
    set_bit(GPIO_DIRECTION, pin, false);
    set_bit(GPIO_SENSE, pin, false);
    set_bit(GPIO_BOTH_EDGES, pin, false);
    set_bit(GPIO_EVENT, pin, !machine.button.active_low);
    mmio_write32(gpio, GPIO_CLEAR, pin);
    if (platform_irq_request(machine.button.line, gpio_interrupt, NULL) == 0)
        mmio_write32(gpio, GPIO_ENABLE, pin);
}

static void start_ged(void)
{
    struct acpi_ged ged;
    if (!acpi_find_ged(&ged) || ged.gsi < FIRST_SPI || ged.gsi >= FIRST_SPI + N_SPI)
        return;
    u32 line = ged.gsi - FIRST_SPI;
    if (ged.edge)
        machine.edge_lines[line / 32] |= (u32)BIT(line % 32);
    acpi_ged_start(&ged);
    if (platform_irq_request(line, acpi_ged_interrupt, NULL))
        log_warn("the power button has no interrupt");
}

void button_init(void)
{
    if (machine.button.regs.size)
        start_gpio();
    else
        start_ged();
}
