// SPDX-License-Identifier: BSD-2-Clause
// acpi.h: the reader of ACPI tables (ACPI specification 6.4), for every architecture. There is no AML interpreter.
#pragma once

#include "platform/firmware.h"

struct __packed sdt {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem[6], oem_table[8];
    u32 oem_revision, creator, creator_revision;
};

struct __packed gas {  // generic address
    u8 space, bit_width, bit_offset, access;
    u64 address;
};
#define GAS_MEMORY 0
#define GAS_IO 1

struct __packed fadt {
    struct sdt head;
    u32 firmware_ctrl, dsdt;
    u8 model, profile;
    u16 sci_irq;
    u32 smi_command;
    u8 acpi_enable, acpi_disable, s4bios, pstate;
    u32 pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    u8 pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base;
    u8 cst;
    u16 c2_latency, c3_latency, flush_size, flush_stride;
    u8 duty_offset, duty_width, day_alarm, month_alarm, century;
    u16 boot_arch;
    u8 reserved;
    u32 flags;
    struct gas reset_reg;
    u8 reset_value;
    u16 arm_boot;
    u8 minor;
    u64 x_firmware_ctrl, x_dsdt;
    struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
    struct gas x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
};
#define FADT_RESET_SUPPORTED BIT(10)
#define FADT_BUTTON_IS_DEVICE BIT(4)
#define FADT_HW_REDUCED BIT(20)

// Tables are found once, by acpi_init; without an RSDP there are none.
void acpi_init(phys_t rsdp);
bool acpi_present(void);
bool acpi_is_rsdp(const void *at);  // whether 20 bytes are a root pointer
// => The table of that name, of at least min_len bytes, whose sum is right; NULL: there is none
const struct sdt *acpi_find_table(const char *signature, size_t min_len);
const struct sdt *acpi_find_dsdt(void);  // NULL: none
// Calls found(entry, arg) for each entry of the table of interrupt controllers and CPUs: its kind, its length, the rest.
void acpi_each_madt(void (*found)(const u8 *entry, void *arg), void *arg);

// The fixed table, NULL if there is none. Fields behind a short (old) table read as absent.
extern const struct fadt *acpi_fadt;
#define FADT_HAS(field) \
    (acpi_fadt && acpi_fadt->head.length >= offsetof(struct fadt, field) + sizeof(acpi_fadt->field))

// Tables are not aligned.
static inline u16 acpi_get16(const void *p)
{
    u16 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}
static inline u32 acpi_get32(const void *p)
{
    u32 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}
static inline u64 acpi_get64(const void *p)
{
    u64 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

// Memory-mapped virtio devices that the DSDT describes. irq: a global interrupt number, or -1
void acpi_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq));

// acpi_ged.c, in the kernel with devices: the power button as an event of the generic event device.
struct acpi_ged {
    phys_t select;     // register: the events that have come; reading clears it
    u32 select_bytes;  // 1 or 4
    u32 mask;          // the button's bit
    u32 gsi;           // global interrupt number
    bool edge;
};
bool acpi_find_ged(
    struct acpi_ged *ged);  // => false: none, or AML of a form that is not understood
void acpi_ged_start(const struct acpi_ged *ged);  // before the interrupt is asked for
void acpi_ged_interrupt(void *unused);            // its handler
