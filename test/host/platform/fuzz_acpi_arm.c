// SPDX-License-Identifier: BSD-2-Clause
// The reader of an Arm machine's ACPI tables under ASan and UBSan: first machines that are described well, then thousands that
// are not (tables.h).
//
//   fuzz_acpi_arm ROUNDS
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"
#include "platform/acpi.h"
#define RAM_BASE 0x40000000ul
#define KERNEL_AT 0x40200000
#include "test/host/platform/tables.h"

struct boot_info boot_info;
static struct acpi_ged ged;
static bool has_ged;

void uart_init(void) {}
void shutdown_asked(void) {}

enum {
    RSDP = 0x40c00000,
    XSDT = RSDP + 0x100,
    FADT = RSDP + 0x200,
    MADT = RSDP + 0x400,
    GTDT = RSDP + 0x800,
    SPCR = RSDP + 0x900,
    DBG2 = RSDP + 0xa00,
    MCFG = RSDP + 0xb00,
    IORT = RSDP + 0xc00,
    DSDT = RSDP + 0xe00,
};
enum { GICC_BYTES = 80, N_TABLES = 7, IORT_BYTES = 48 + 24 + 88 + 56, DSDT_BYTES = 0x200 };
static const struct area areas[] = {
    {RSDP, 36}, {XSDT, 36 + 8 * N_TABLES}, {FADT, 268}, {MADT, 256},        {GTDT, 96},
    {SPCR, 80}, {DBG2, 44 + 22 + 12},      {MCFG, 60},  {IORT, IORT_BYTES}, {DSDT, DSDT_BYTES},
};

static void all_sums(void)
{
    u32 len;
    sum(RSDP, 20, 8);
    sum(RSDP, 36, 32);
    for (unsigned i = 1; i < ARRAY_SIZE(areas); i++) {
        memcpy(&len, at_phys(areas[i].at + 4), 4);
        if (len >= 36 && len < 0x10000)
            sum(areas[i].at, len, 9);
    }
}

static void describe_memory(void)
{
    memory_map_begin();
    memory_map_add(RAM_BASE, RAM_BYTES, MEM_RAM);
    memory_map_add(RSDP, 0x100000, MEM_RESERVED);
    memory_map_end();
}

static void add_cpu(phys_t at, u64 affinity, u32 flags)
{
    put(at, 11, 1);
    put(at + 1, GICC_BYTES, 1);
    put(at + 12, flags, 4);
    put(at + 32, 0x8010000, 8);
    put(at + 68, affinity, 8);
}

// Two CPUs that may run and one that may not; distributor, redistributors, a frame for messages and an ITS.
static void describe_madt(u32 version)
{
    phys_t at = MADT + 44;
    add_cpu(at, 0x80000000, 1);
    add_cpu(at + GICC_BYTES, 0x100000102, 1);
    at += 2 * GICC_BYTES;
    put(at, 0x180c, 2);
    put(at + 8, 0x8000000, 8);
    put(at + 20, version, 1);
    at += 24;
    put(at, 0x100e, 2);
    put(at + 4, 0x80a0000, 8);
    put(at + 12, 0x100000, 4);
    at += 16;
    put(at, 0x180d, 2);
    put(at + 8, 0x8020000, 8);
    at += 24;
    put(at, 0x140f, 2);
    put(at + 8, 0x8080000, 8);
    at += 20;
    table(MADT, "APIC", (u32)(at - MADT));
}

static void describe_consoles(void)
{
    table(SPCR, "SPCR", 80);
    put(SPCR + 36, 3, 1);
    put(SPCR + 44, 0x9000000, 8);
    put(SPCR + 52, 8, 1);
    put(SPCR + 54, 33, 4);
    table(DBG2, "DBG2", 44 + 22 + 12);
    put(DBG2 + 36, 44, 4);
    put(DBG2 + 40, 1, 4);
    put(DBG2 + 44 + 1, 34, 2);
    put(DBG2 + 44 + 3, 1, 1);
    put(DBG2 + 44 + 12, 0x8000, 2);
    put(DBG2 + 44 + 14, 0x12, 2);
    put(DBG2 + 44 + 18, 22, 2);
    put(DBG2 + 66 + 1, 32, 1);
    put(DBG2 + 66 + 4, 0x9040000, 8);
}

// Root complex (16 to 64), memory management unit, ITS group: functions from 0 on are devices from 0x300 on, then from 0x1300 on.
static void describe_pci(void)
{
    phys_t its = IORT + 48, root = its + 24, smmu = root + 88;
    table(MCFG, "MCFG", 60);
    put(MCFG + 44, 0x4010000000, 8);
    put(MCFG + 55, 0xff, 1);
    table(IORT, "IORT", IORT_BYTES);
    put(IORT + 36, 3, 4);
    put(IORT + 40, 48, 4);
    put(its + 1, 24, 2);
    put(root, 2, 1);
    put(root + 1, 88, 2);
    put(root + 8, 1, 4);
    put(root + 12, 60, 4);
    put(root + 60 + 4, 0xffff, 4);
    put(root + 60 + 8, 0x300, 4);
    put(root + 60 + 12, smmu - IORT, 4);
    put(smmu, 4, 1);
    put(smmu + 1, 56, 2);
    put(smmu + 8, 1, 4);
    put(smmu + 12, 36, 4);
    put(smmu + 36 + 4, 0xffff, 4);
    put(smmu + 36 + 8, 0x1000, 4);
    put(smmu + 36 + 12, its - IORT, 4);
}

// What a compiler of AML makes of a memory-mapped device, a power button and the generic event device.
static void describe_dsdt(void)
{
    static const u8 aml[] = {
        0x5b, 0x82, 0x33, 'V',  'R',  '0',  '0',  0x08, '_',  'H',  'I',  'D',  0x0d, 'L',  'N',
        'R',  'O',  '0',  '0',  '0',  '5',  0,    0x08, '_',  'C',  'R',  'S',  0x11, 0x1a, 0x0a,
        0x17, 0x86, 9,    0,    1,    0x00, 0x00, 0x00, 0x0a, 0x00, 0x02, 0,    0,    0x89, 6,
        0,    1,    1,    48,   0,    0,    0,    0x79, 0,    0x5b, 0x82, 0x14, 'P',  'W',  'R',
        'B',  0x08, '_',  'H',  'I',  'D',  0x0c, 0x41, 0xd0, 0x0c, 0x0c, 0x08, '_',  'U',  'I',
        'D',  0,    0x5b, 0x82, 0x40, 0x08, 'G',  'E',  'D',  '_',  0x08, '_',  'H',  'I',  'D',
        0x0d, 'A',  'C',  'P',  'I',  '0',  '0',  '1',  '3',  0,    0x08, '_',  'C',  'R',  'S',
        0x11, 0x0e, 0x0a, 0x0b, 0x89, 6,    0,    3,    1,    41,   0,    0,    0,    0x79, 0,
        0x5b, 0x80, 'E',  'R',  'E',  'G',  0,    0x0c, 0x00, 0x00, 0x08, 0x09, 0x0a, 4,    0x14,
        0x20, '_',  'E',  'V',  'T',  9,    0x70, 'E',  'S',  'E',  'L',  0x60, 0xa0, 0x12, 0x93,
        0x7b, 0x60, 0x0a, 2,    0,    0x0a, 2,    0x86, 'P',  'W',  'R',  'B',  0x0a, 0x80, 0,
    };
    memcpy(at_phys(DSDT + 36), aml, sizeof(aml));
    table(DSDT, "DSDT", DSDT_BYTES);
}

static void describe(u32 gic_version)
{
    static const phys_t tables[N_TABLES] = {FADT, MADT, GTDT, SPCR, DBG2, MCFG, IORT};
    memset(at_phys(RSDP), 0, 0x2000);
    describe_memory();
    memcpy(at_phys(RSDP), "RSD PTR ", 8);
    put(RSDP + 15, 2, 1);
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, XSDT, 8);
    table(XSDT, "XSDT", 36 + 8 * N_TABLES);
    for (unsigned i = 0; i < N_TABLES; i++)
        put(XSDT + 36 + 8 * i, tables[i], 8);
    table(FADT, "FACP", 268);
    put(FADT + 112, 1 << 20, 4);  // hardware-reduced
    put(FADT + 129, 3, 2);        // PSCI by hvc
    put(FADT + 140, DSDT, 8);
    table(GTDT, "GTDT", 96);
    put(GTDT + 64, 26, 4);
    describe_madt(gic_version);
    describe_consoles();
    describe_pci();
    describe_dsdt();
    all_sums();
}

// => false: the machine was refused
static bool boot(void)
{
    bool up = setjmp(stop) == 0;
    machine_begin(0);
    has_ged = false;
    if (up) {
        acpi_machine_read(RSDP);
        has_ged = acpi_find_ged(&ged);
    }
    free_copies();
    return up;
}

#define CHECK(condition)                                 \
    do {                                                 \
        if (!(condition))                                \
            panic("not so: %s: %s", #condition, reason); \
    } while (0)

static void good_machines(void)
{
    describe(3);
    CHECK(boot());
    CHECK(machine.n_cpus == 2 && machine.cpu_id[1] == 0x1000102);
    CHECK(machine.gic == GIC_V3 && machine.gic_dist.base == 0x8000000);
    CHECK(machine.gic_redist[0].base == 0x80a0000 && machine.gic_redist[0].size == 0x100000 &&
          !machine.gic_redist[1].size);
    CHECK(machine.timer_intid == 26 && machine.psci && !machine.psci_smc);
    CHECK(machine.uart.kind == UART_PL011 && machine.uart.regs.base == 0x9000000 &&
          machine.uart.line == 1);
    CHECK(machine.pci.ecam.base == 0x4010000000 && machine.pci.ecam.size == 256 << 20);
    CHECK(machine.its.base == 0x8080000 && machine.v2m.base == 0x8020000);
    CHECK(machine.pci.has_msi && machine.pci.msi_base == 0x1300);
    CHECK(machine.n_virtio == 1 && machine.virtio[0].regs.base == 0xa000000 &&
          machine.virtio[0].line == 16);
    CHECK(has_ged && ged.select == 0x9080000 && ged.select_bytes == 4 && ged.mask == 2 &&
          ged.gsi == 41 && ged.edge);

    describe(2);
    put(SPCR, 0, 4);  // the port for debugging is the console
    put(FADT + 129, 1, 2);
    put(GTDT + 64, 40, 4);  // no interrupt of a CPU's own
    put(IORT + 36, 1, 4);   // no root complex: the ITS is not reached
    put(MADT + 44 + GICC_BYTES + 12, 0, 4);
    all_sums();
    CHECK(boot());
    CHECK(machine.gic == GIC_V2 && machine.gic_cpu.base == 0x8010000 && machine.n_cpus == 1);
    CHECK(machine.uart.kind == UART_8250 && machine.uart.regs.base == 0x9040000 &&
          machine.uart.shift == 2);
    CHECK(machine.uart.line == NO_LINE && machine.timer_intid == TIMER_INTID && machine.psci_smc);
    CHECK(machine.pci.has_msi && !machine.its.size);

    describe(0);  // version not told, redistributors with the CPUs
    put(MADT + 44 + 2 * GICC_BYTES + 24, 0x7f, 1);
    put(MADT + 44 + 60, 0x8200000, 8);
    put(MADT + 44 + GICC_BYTES + 60, 0x8300000, 8);
    all_sums();
    CHECK(boot());
    CHECK(machine.gic == GIC_V3 && machine.gic_redist[1].base == 0x8300000 &&
          !machine.gic_redist[2].size);
}

// Without the first occurrence of a name in the DSDT.
static void expect_no_ged(const char *name)
{
    describe(3);
    u8 *p = at_phys(DSDT);
    while (memcmp(p, name, strlen(name)))
        p++;
    p[-1] ^= 0x7f;
    p[0] = 'x';
    all_sums();
    CHECK(boot() && !has_ged);
}

static void bad_machines(void)
{
    describe(3);
    put(RSDP + 8, 0x12, 1);
    CHECK(!boot() && strstr(reason, "neither a device tree nor ACPI"));
    describe(3);
    put(MADT + 9, 0x12, 1);
    CHECK(boot() && machine.gic == GIC_NONE);
    describe(3);  // the distributor in RAM
    put(MADT + 44 + 2 * GICC_BYTES + 8, RAM_BASE + 0x1000, 8);
    all_sums();
    CHECK(boot() && machine.gic == GIC_NONE);
    describe(3);  // a node that leads to itself
    put(IORT + 48 + 24 + 60 + 12, 48 + 24, 4);
    all_sums();
    CHECK(boot() && !machine.its.size);
    expect_no_ged("ACPI0013");
    expect_no_ged("EREG");
    expect_no_ged("PWRB");
}

static void check_any(void)
{
    CHECK(machine.n_cpus >= 1 && machine.n_cpus <= ARRAY_SIZE(machine.cpu_id));
    CHECK(machine.n_virtio <= MAX_VIRTIO_MMIO && machine.timer_intid >= 16 &&
          machine.timer_intid < 32);
    CHECK(machine.gic == GIC_NONE ||
          platform_is_device(machine.gic_dist.base, machine.gic_dist.size));
    CHECK(machine.uart.kind == UART_NONE ||
          platform_is_device(machine.uart.regs.base, machine.uart.regs.size));
    CHECK(!has_ged || (ged.mask && platform_is_device(ged.select, ged.select_bytes)));
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000, up = 0;
    memset(nothing, 0xff, sizeof(nothing));
    good_machines();
    bad_machines();
    for (unsigned long i = 0; i < rounds; i++) {
        describe(2 + i % 2);
        mutate_areas(areas, ARRAY_SIZE(areas));
        if (random_u64() % 4)
            all_sums();
        up += boot();
        check_any();
    }
    KASSERT(rounds < 100 || (up > rounds / 10 && up < rounds));
    return 0;
}
