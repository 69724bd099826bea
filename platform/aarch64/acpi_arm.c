// SPDX-License-Identifier: BSD-2-Clause
// acpi_arm.c: the machine as ACPI tables tell it (ACPI 6.4; Arm DEN 0049 for IORT, DEN 0093 for what is there at all), where
// the firmware has no device tree: interrupt controller and CPUs (MADT), timer (GTDT), console (SPCR, else DBG2), PCI (MCFG),
// where its messages go (IORT), how to call the firmware (FADT).
//
// What only AML says stays unknown, as there is no interpreter: where the interrupt lines of PCI lead (_PRT), so that functions
// without messages have no interrupt; windows of the host bridge (_CRS), so that functions which the firmware has not placed
// are not used. Of what the DSDT describes, memory-mapped virtio devices are found by their name (platform/acpi.c).
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/acpi.h"

#define FIRST_PPI 16
#define FIRST_SPI 32

// The line of a global interrupt number, as device trees count. => NO_LINE: it is none of a device's
static u32 line_of(u32 gsi)
{
    return gsi >= FIRST_SPI && gsi - FIRST_SPI < N_SPI ? gsi - FIRST_SPI : NO_LINE;
}

// ---------------------------------------------------------------- MADT: interrupt controller, CPUs

enum { MADT_GICC = 11, MADT_GICD = 12, MADT_MSI_FRAME = 13, MADT_GICR = 14, MADT_ITS = 15 };
enum { GICD_V2_BYTES = 0x1000, GICD_V3_BYTES = 0x10000, GICC_BYTES = 0x2000, GICR_BYTES = 0x20000 };
enum { V2M_BYTES = 0x1000, ITS_BYTES = 0x20000 };
#define GICC_ENABLED BIT(0)

struct madt {
    u32 version;   // of the distributor; 0: not told
    u32 n_redist;  // in machine.gic_redist
    bool by_cpu;   // they come with the CPUs
};

static void add_redistributor(struct madt *madt, phys_t base, u64 size, bool of_cpu)
{
    if (of_cpu != madt->by_cpu && !of_cpu)  // regions that hold those of all CPUs go before
        madt->n_redist = 0;
    else if (of_cpu != madt->by_cpu && madt->n_redist)
        return;
    madt->by_cpu = of_cpu;
    if (base && size && madt->n_redist < MAX_REDIST)
        machine.gic_redist[madt->n_redist++] = (struct region){base, size};
}

// Offsets: flags 12, registers 32, redistributor 60, affinity 68.
static void add_gicc(struct madt *madt, const u8 *p)
{
    if (!(acpi_get32(p + 12) & GICC_ENABLED))
        return;
    machine_add_cpu(mpidr_id(acpi_get64(p + 68)));
    if (acpi_get64(p + 32))
        machine.gic_cpu = (struct region){acpi_get64(p + 32), GICC_BYTES};
    if (acpi_get64(p + 60))
        add_redistributor(madt, acpi_get64(p + 60), GICR_BYTES, true);
}

// One entry, p[1] bytes long: what is shorter than its kind asks for is passed over.
static void madt_entry(const u8 *p, void *arg)
{
    static const u8 least[] = {[MADT_GICC] = 76,
                               [MADT_GICD] = 24,
                               [MADT_MSI_FRAME] = 24,
                               [MADT_GICR] = 16,
                               [MADT_ITS] = 20};
    struct madt *madt = arg;
    if (p[0] >= ARRAY_SIZE(least) || !least[p[0]] || p[1] < least[p[0]])
        return;
    switch (p[0]) {
    case MADT_GICC: add_gicc(madt, p); break;
    case MADT_GICD:
        madt->version = p[20];
        machine.gic_dist.base = acpi_get64(p + 8);
        break;
    case MADT_MSI_FRAME:
        if (!machine.v2m.size)
            machine.v2m = (struct region){acpi_get64(p + 8), V2M_BYTES};
        break;
    case MADT_GICR: add_redistributor(madt, acpi_get64(p + 4), acpi_get32(p + 12), false); break;
    case MADT_ITS:
        if (!machine.its.size)
            machine.its = (struct region){acpi_get64(p + 8), ITS_BYTES};
        break;
    }
}

static bool can_be_registers(struct region r)
{
    return r.base && platform_is_device(r.base, r.size);
}

static void read_madt(void)
{
    struct madt madt = {0};
    acpi_each_madt(madt_entry, &madt);
    bool v3 = madt.version ? madt.version >= 3 : madt.n_redist > 0;
    machine.gic_dist.size = v3 ? GICD_V3_BYTES : GICD_V2_BYTES;
    for (u32 i = 0; i < madt.n_redist; i++) {
        if (!can_be_registers(machine.gic_redist[i]))
            machine.gic_redist[i].size = 0;
    }
    if (can_be_registers(machine.gic_dist) && (v3 || can_be_registers(machine.gic_cpu)))
        machine.gic = v3 ? GIC_V3 : GIC_V2;
}

// ---------------------------------------------------------------- GTDT: timer; FADT: PSCI

static void read_gtdt(void)
{
    enum { VIRTUAL_TIMER = 64 };
    const u8 *t = (const u8 *)acpi_find_table("GTDT", VIRTUAL_TIMER + 4);
    u32 intid = t ? acpi_get32(t + VIRTUAL_TIMER) : 0;
    if (intid >= FIRST_PPI && intid < FIRST_SPI)
        machine.timer_intid = intid;
}

#define ARM_BOOT_PSCI BIT(0)
#define ARM_BOOT_HVC BIT(1)

static void read_fadt(void)
{
    if (!FADT_HAS(arm_boot) || !(acpi_fadt->arm_boot & ARM_BOOT_PSCI))
        return;
    machine.psci = true;
    machine.psci_smc = !(acpi_fadt->arm_boot & ARM_BOOT_HVC);
}

// ---------------------------------------------------------------- SPCR, DBG2: console

enum {
    PORT_16550 = 0x00,
    PORT_16550_SUBSET = 0x01,
    PORT_PL011 = 0x03,
    PORT_SBSA_32 = 0x0d,
    PORT_SBSA = 0x0e,
    PORT_16550_GAS = 0x12
};
enum { UART_BYTES = 0x1000 };

// A port of that kind, its registers at a generic address: space, width, offset, access size, then the address.
static bool set_uart(u32 kind, const u8 *gas, u32 line)
{
    bool pl011 = kind == PORT_PL011 || kind == PORT_SBSA || kind == PORT_SBSA_32;
    bool is_8250 = kind == PORT_16550 || kind == PORT_16550_SUBSET || kind == PORT_16550_GAS;
    struct uart uart = {
        .kind = pl011 ? UART_PL011 : UART_8250,
        .regs = {acpi_get64(gas + 4), UART_BYTES},
        .line = line,
        .shift = gas[1] == 32 || gas[3] == 3 ? 2 : 0,
        .width = gas[3] == 3 ? 4 : 1,
    };
    if ((!pl011 && !is_8250) || gas[0] != GAS_MEMORY || !can_be_registers(uart.regs))
        return false;
    machine.uart = uart;
    return true;
}

static bool read_spcr(void)
{
    enum { KIND = 36, ADDRESS = 40, INTERRUPT_TYPE = 52, GSI = 54, INTERRUPT_GIC = 8 };
    const u8 *t = (const u8 *)acpi_find_table("SPCR", GSI + 4);
    return t &&
           set_uart(t[KIND], t + ADDRESS,
                    t[INTERRUPT_TYPE] & INTERRUPT_GIC ? line_of(acpi_get32(t + GSI)) : NO_LINE);
}

// Ports for debugging; no interrupts. Offsets in the table: of the first port 36, how many 40; in a port: its length 1,
// kind 12 and 14, the offset of its address 18.
static void read_dbg2(void)
{
    enum { PORT_BYTES = 22, KIND_SERIAL = 0x8000, GAS_BYTES = 12 };
    const struct sdt *head = acpi_find_table("DBG2", 44);
    const u8 *t = (const u8 *)head;
    u32 at = t ? acpi_get32(t + 36) : 0, n = t ? acpi_get32(t + 40) : 0;
    for (; n && at <= head->length && head->length - at >= PORT_BYTES; n--) {
        u32 bytes = acpi_get16(t + at + 1), gas = acpi_get16(t + at + 18);
        if (bytes < PORT_BYTES || bytes > head->length - at)
            return;
        if (acpi_get16(t + at + 12) == KIND_SERIAL && t[at + 3] && gas + GAS_BYTES <= bytes &&
            set_uart(acpi_get16(t + at + 14), t + at + gas, NO_LINE))
            return;
        at += bytes;
    }
}

// ---------------------------------------------------------------- MCFG, IORT: PCI

static void read_mcfg(void)
{
    enum { FIRST = 44, ENTRY = 16 };
    const struct sdt *head = acpi_find_table("MCFG", FIRST + ENTRY);
    const u8 *t = (const u8 *)head;
    for (u32 at = FIRST; t && at <= head->length - ENTRY; at += ENTRY) {
        struct region ecam = {acpi_get64(t + at), (t[at + 11] + 1ull) << 20};  // 1 MiB a bus
        if (acpi_get16(t + at + 8) != 0 || t[at + 10] != 0 || !can_be_registers(ecam))
            continue;
        machine.pci.ecam = ecam;
        return;
    }
}

enum { IORT_ITS_GROUP = 0, IORT_ROOT_COMPLEX = 2, IORT_NODE_BYTES = 16, IORT_MAPPING_BYTES = 20 };
#define IORT_SINGLE BIT(0)

// A node at that offset, whole and with its mappings. => NULL: there is none
static const u8 *iort_node(const struct sdt *iort, u32 at)
{
    const u8 *p = (const u8 *)iort + at;
    if (at < sizeof(*iort) || at > iort->length || iort->length - at < IORT_NODE_BYTES)
        return NULL;
    u32 bytes = acpi_get16(p + 1), mappings = acpi_get32(p + 12), n = acpi_get32(p + 8);
    if (bytes < IORT_NODE_BYTES || bytes > iort->length - at)
        return NULL;
    return n == 0 || (mappings <= bytes && n <= (bytes - mappings) / IORT_MAPPING_BYTES) ? p : NULL;
}

// Where a node sends the devices from *id on, and as what. A mapping: first number, how many less one, first number there,
// offset of the node there, flags. => NULL: nowhere
static const u8 *iort_follow(const struct sdt *iort, const u8 *node, u32 *id)
{
    const u8 *m = node + acpi_get32(node + 12);
    for (u32 n = acpi_get32(node + 8); n; n--, m += IORT_MAPPING_BYTES) {
        u32 first = acpi_get32(m), more = acpi_get32(m + 4), to = acpi_get32(m + 8);
        if ((acpi_get32(m + 16) & IORT_SINGLE) || *id < first || *id - first > more)
            continue;
        *id = *id - first + to;
        return iort_node(iort, acpi_get32(m + 12));
    }
    return NULL;
}

// From the root complex of segment 0, past memory management units, to the ITS. => false: its messages do not get there
static bool read_iort(u32 *msi_base)
{
    enum { N_NODES = 36, FIRST_NODE = 40, SEGMENT = 28, STEPS_MAX = 4 };
    const struct sdt *iort = acpi_find_table("IORT", 48);
    u32 at = iort ? acpi_get32((const u8 *)iort + FIRST_NODE) : 0;
    for (u32 n = iort ? acpi_get32((const u8 *)iort + N_NODES) : 0; n; n--) {
        const u8 *node = iort_node(iort, at);
        if (!node)
            return false;
        u32 bytes = acpi_get16(node + 1), id = 0;
        at += bytes;
        if (node[0] != IORT_ROOT_COMPLEX || bytes < SEGMENT + 4 || acpi_get32(node + SEGMENT) != 0)
            continue;
        for (u32 step = 0; node && step < STEPS_MAX && node[0] != IORT_ITS_GROUP; step++)
            node = iort_follow(iort, node, &id);
        *msi_base = id;
        return node && node[0] == IORT_ITS_GROUP;
    }
    return false;
}

static void read_pci(void)
{
    read_mcfg();
    if (machine.its.size && !read_iort(&machine.pci.msi_base))
        machine.its.size = 0;
    machine.pci.has_msi = machine.its.size || machine.v2m.size;
}

// ---------------------------------------------------------------- all of it

static void found_virtio(phys_t base, u64 size, int irq)
{
    machine_add_virtio((struct region){base, size}, irq < 0 ? NO_LINE : line_of((u32)irq));
}

void acpi_machine_read(phys_t rsdp)
{
    acpi_init(rsdp);
    if (!read_spcr())
        read_dbg2();
    uart_init();
    if (!acpi_present())
        noboot("the firmware has neither a device tree nor ACPI tables that are sound");
    read_fadt();
    read_madt();
    read_gtdt();
    read_pci();
    acpi_each_virtio_mmio(found_virtio);
}
