// SPDX-License-Identifier: BSD-2-Clause
// acpi_ged.c: the power button of hardware-reduced machines, an event of the generic event device (ACPI 6.4, 5.6.9). What that
// device's interrupt means is told by a method in AML, for which there is no interpreter. What compilers and monitors make of the
// usual method is looked for in its bytes: one register says which events there are, and a bit of it that the button is told,
//
//   Name (_HID, "ACPI0013")  ...  interrupt descriptor  ...  OperationRegion (..., SystemMemory, register, ...)
//   If (... And (LocalX, bit) ...) { Notify (button, 0x80) }
//
// where button is a Device whose _HID is PNP0C0C. A method of another form is not understood: there is no button then.
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "platform/acpi.h"

enum {  // ACPI 20.3
    AML_ONE = 0x01,
    AML_NAME = 0x08,
    AML_BYTE = 0x0a,
    AML_WORD = 0x0b,
    AML_DWORD = 0x0c,
    AML_STRING = 0x0d,
    AML_QWORD = 0x0e,
    AML_EXTENDED = 0x5b,
    AML_LOCAL0 = 0x60,
    AML_LOCAL7 = 0x67,
    AML_AND = 0x7b,
    AML_NOTIFY = 0x86,
    AML_EXTENDED_REGION = 0x80,
    AML_EXTENDED_DEVICE = 0x82,
};
enum { SYSTEM_MEMORY = 0, BUTTON_PRESSED = 0x80, IF_BYTES_MAX = 24 };

// A constant of the length that its opcode says. => its bytes, 0: none
static u32 constant_at(const u8 *p, const u8 *end, u64 *value)
{
    static const u8 bytes[] = {[AML_BYTE] = 1, [AML_WORD] = 2, [AML_DWORD] = 4, [AML_QWORD] = 8};
    u32 n = end - p >= 1 && p[0] < ARRAY_SIZE(bytes) ? bytes[p[0]] : 0;
    if (end - p >= 1 && p[0] == AML_ONE) {
        *value = 1;
        return 1;
    }
    if (!n || end - p < 1 + (long)n)
        return 0;
    *value = 0;
    memcpy(value, p + 1, n);
    return 1 + n;
}

// Whether a device of that name is a power button: Device (name) { Name (_HID, "PNP0C0C" or EISAID ("PNP0C0C")) ... }
static bool is_button(const u8 *p, const u8 *end, const u8 *name)
{
    static const u8 text[] = {AML_STRING, 'P', 'N', 'P', '0', 'C', '0', 'C', 0};
    static const u8 number[] = {AML_DWORD, 0x41, 0xd0, 0x0c, 0x0c};
    enum { HEAD = 2, LENGTH_MAX = 4, NAMES = 4 + 1 + 4 };
    for (; end - p >= HEAD + LENGTH_MAX + NAMES + (long)sizeof(text); p++) {
        if (p[0] != AML_EXTENDED || p[1] != AML_EXTENDED_DEVICE)
            continue;
        const u8 *q = p + HEAD + 1 + (p[HEAD] >> 6);  // behind the package's length
        if (!memcmp(q, name, 4) && q[4] == AML_NAME && !memcmp(q + 5, "_HID", 4) &&
            (!memcmp(q + 9, text, sizeof(text)) || !memcmp(q + 9, number, sizeof(number))))
            return true;
    }
    return false;
}

// The bit that the condition in front of a notification looks at. => 0: none
static u32 bit_before(const u8 *notify, const u8 *start)
{
    u64 bit;
    for (const u8 *p = notify; p > start && notify - p < IF_BYTES_MAX; p--) {
        if (p[0] == AML_AND && p[1] >= AML_LOCAL0 && p[1] <= AML_LOCAL7 &&
            constant_at(p + 2, notify, &bit))
            return bit <= UINT32_MAX ? (u32)bit : 0;
    }
    return 0;
}

// An extended interrupt descriptor (ACPI 6.4.3.6) with one interrupt.
static bool read_interrupt(const u8 *p, const u8 *end, struct acpi_ged *ged)
{
    if (end - p < 9 || p[0] != 0x89 || p[1] != 6 || p[2] != 0 || p[4] != 1)
        return false;
    ged->gsi = acpi_get32(p + 5);
    ged->edge = p[3] & BIT(1);
    return true;
}

static bool read_region(const u8 *p, const u8 *end, struct acpi_ged *ged)
{
    u64 address;
    if (end - p < 8 || p[0] != AML_EXTENDED || p[1] != AML_EXTENDED_REGION || p[6] != SYSTEM_MEMORY)
        return false;
    u32 n = constant_at(p + 7, end, &address);
    u64 bytes;
    if (!n || !constant_at(p + 7 + n, end, &bytes))
        return false;
    ged->select = address;
    ged->select_bytes = bytes >= 4 ? 4 : 1;
    return true;
}

bool acpi_find_ged(struct acpi_ged *ged)
{
    static const char hid[] = "ACPI0013";
    const struct sdt *dsdt =
        acpi_fadt && (acpi_fadt->flags & FADT_HW_REDUCED) ? acpi_find_dsdt() : NULL;
    if (!dsdt)
        return false;
    const u8 *start = (const u8 *)(dsdt + 1), *end = (const u8 *)dsdt + dsdt->length;
    bool named = false, interrupt = false, region = false;
    *ged = (struct acpi_ged){0};
    for (const u8 *p = start; end - p >= (long)sizeof(hid); p++) {
        named |= !memcmp(p, hid, sizeof(hid));
        if (!named)
            continue;
        interrupt = interrupt || read_interrupt(p, end, ged);
        region = region || read_region(p, end, ged);
        if (interrupt && region && p[0] == AML_NOTIFY && p[5] == AML_BYTE &&
            p[6] == BUTTON_PRESSED && is_button(start, end, p + 1)) {
            ged->mask = bit_before(p, start);
            return ged->mask && platform_is_device(ged->select, ged->select_bytes);
        }
    }
    return false;
}

static struct {
    volatile void *select;
    bool wide;
    u32 mask;
} device;

// Reading the register clears it.
void acpi_ged_interrupt(void *unused)
{
    u32 events = device.wide ? *(volatile u32 *)device.select : *(volatile u8 *)device.select;
    if (events & device.mask)
        shutdown_asked();
}

void acpi_ged_start(const struct acpi_ged *ged)
{
    device.select = arch_map_device(ged->select, ged->select_bytes);
    device.wide = ged->select_bytes == 4;
    device.mask = ged->mask;
}
