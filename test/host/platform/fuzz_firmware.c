// SPDX-License-Identifier: BSD-2-Clause
// The parsers of PVH start information, ACPI and MP tables under ASan and UBSan: first a machine that is described
// well, then thousands that are not (tables.h).
//
//   fuzz_firmware ROUNDS
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"
#define RAM_BASE 0
#define KERNEL_AT 0x100000
#include "test/host/platform/tables.h"

struct boot_info boot_info;
struct machine machine;
unsigned n_port_writes;
// ---------------------------------------------------------------- a machine, described well

enum {
    INFO = 0x6000,
    MODULES = 0x6040,
    MAP = 0x7000,
    CMDLINE = 0x20000,
    RSDP = 0xe0000,
    XSDT = 0xe0100,
    MADT = 0xe0200,
    FADT = 0xe0400,
    DSDT = 0xe0600,
    MP_POINTER = 0x9fc00,
    MP_TABLE = 0x9fc10
};
static const struct area areas[] = {
    {INFO, 56},
    {MODULES, 32},
    {MAP, 24 * 8},
    {CMDLINE, 32},
    {RSDP, 36},
    {XSDT, 52},
    {MADT, 100},
    {FADT, 268},
    {DSDT, 80},
    {MP_POINTER, 16},
    {MP_TABLE, 44 + 20 * 2 + 8 * 3},
};

static void all_sums(void)
{
    u32 len;
    static const phys_t tables[] = {XSDT, MADT, FADT, DSDT};
    sum(RSDP, 20, 8);
    sum(RSDP, 36, 32);
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        memcpy(&len, ram + tables[i] + 4, 4);
        if (len >= 36 && len < 0x10000)
            sum(tables[i], len, 9);
    }
    sum(MP_POINTER, 16, 10);
    memcpy(&len, ram + MP_TABLE + 4, 2);
    if ((u16)len >= 44)
        sum(MP_TABLE, (u16)len, 7);
}

static void describe_memory(void)
{
    static const u64 map[8][3] = {
        {0, 0x9fc00, 1},
        {0x9fc00, 0x400, 2},
        {0xe0000, 0x20000, 2},
        {0x100000, 0xf00000, 1},
        {0xc00000, 0x100000, 4},  // inside the RAM
        {0x800000, 0x200000, 1},  // RAM told twice
        {0x100000000, 0x40000000, 1},
        {0x500000, 0, 2},
    };
    put(INFO, 0x336ec578, 4);
    put(INFO + 4, 1, 4);
    put(INFO + 12, 1, 4);
    put(INFO + 16, MODULES, 8);
    put(INFO + 24, CMDLINE, 8);
    put(INFO + 32, RSDP, 8);
    put(INFO + 40, MAP, 8);
    put(INFO + 48, 8, 4);
    put(MODULES, 0x400000, 8);
    put(MODULES + 8, 0x10000, 8);
    for (unsigned i = 0; i < 8; i++) {
        put(MAP + 24 * i, map[i][0], 8);
        put(MAP + 24 * i + 8, map[i][1], 8);
        put(MAP + 24 * i + 16, map[i][2], 4);
    }
    strcpy((char *)ram + CMDLINE, "control=e9 loglevel=3");
}

static void describe_acpi(void)
{
    static const u8 entries[] = {
        0, 8,  0, 0, 1, 0, 0,    0,    0, 8, 1, 2, 1, 0,  0, 0, 0, 8, 2, 2, 1,  0,
        0, 0,                        // 2 is told twice
        0, 8,  3, 4, 0, 0, 0,    0,  // not enabled
        1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, 2, 10, 0, 9, 9, 0, 0, 0, 13, 0,
    };
    static const u8 s5[] = {0x08, '_',  'S',  '5',  '_',  0x12, 0x06,
                            0x04, 0x0a, 0x05, 0x00, 0x00, 0x00};
    memcpy(ram + RSDP, "RSD PTR ", 8);
    ram[RSDP + 15] = 2;
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, XSDT, 8);
    table(XSDT, "XSDT", 52);
    put(XSDT + 36, FADT, 8);
    put(XSDT + 44, MADT, 8);
    table(MADT, "APIC", 44 + sizeof(entries));
    memcpy(ram + MADT + 44, entries, sizeof(entries));
    table(FADT, "FACP", 268);
    put(FADT + 40, DSDT, 4);
    put(FADT + 64, 0x604, 4);
    put(FADT + 76, 0x608, 4);
    ram[FADT + 91] = 4;
    table(DSDT, "DSDT", 80);
    memcpy(ram + DSDT + 40, s5, sizeof(s5));
}

static void describe_mp(void)
{
    memcpy(ram + MP_POINTER, "_MP_", 4);
    put(MP_POINTER + 4, MP_TABLE, 4);
    ram[MP_POINTER + 8] = 1;
    memcpy(ram + MP_TABLE, "PCMP", 4);
    put(MP_TABLE + 4, 44 + 20 * 2 + 8 * 3, 2);
    ram[MP_TABLE + 44 + 3] = 1;
    ram[MP_TABLE + 64 + 1] = 1;
    ram[MP_TABLE + 64 + 3] = 1;
    ram[MP_TABLE + 84] = 1;
    ram[MP_TABLE + 92] = 2;
    ram[MP_TABLE + 92 + 3] = 1;
    put(MP_TABLE + 96, 0xfec00000, 4);
    ram[MP_TABLE + 100] = 3;
}

static void describe(void)
{
    memset(ram, 0, 2 << 20);
    describe_memory();
    describe_acpi();
    describe_mp();
    all_sums();
}

// ---------------------------------------------------------------- what must hold whatever was told

static u64 raw(u32 i, u32 field)  // 0 start, 1 size, 2 type of the memory map
{
    u64 v = 0;
    memcpy(&v, ram + MAP + 24 * i + 8 * field, field == 2 ? 4 : 8);
    return v;
}

static void check_memory(void)
{
    const struct boot_info *b = &boot_info;
    bool image_ok = b->image_start == b->image_end;
    KASSERT(b->n_mem > 0 && b->n_mem <= MAX_MEM_RANGES);
    for (u32 i = 0; i < b->n_mem; i++) {
        const struct mem_range *r = &b->mem[i];
        KASSERT(r->start < r->end && r->end <= FIRMWARE_ADDRESS_MAX);
        KASSERT(i == 0 || r[-1].end <= r->start);
        KASSERT(i == 0 || r[-1].end < r->start || r[-1].kind != r->kind);
        image_ok |= r->kind == MEM_RAM && r->start <= b->image_start && b->image_end <= r->end;
    }
    KASSERT(image_ok);
    KASSERT(memchr(b->cmdline, 0, 2048));
}

// The map lies where it was put and has no more entries than that: what is RAM was told to be, and not otherwise.
static void check_ram_against_map(void)
{
    u64 at = 0;
    u32 n = 0;
    memcpy(&at, ram + INFO + 40, 8);
    memcpy(&n, ram + INFO + 48, 4);
    if (at != MAP || n > 8)
        return;
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        const struct mem_range *r = &boot_info.mem[i];
        bool told = false;
        for (u32 k = 0; k < n; k++) {
            u64 start = raw(k, 0), size = raw(k, 1),
                end = start + size < start ? UINT64_MAX : start + size;
            bool overlap = size && start < r->end && r->start < end;
            told |= overlap && raw(k, 2) == 1;
            KASSERT(r->kind != MEM_RAM || !overlap || raw(k, 2) == 1);
        }
        KASSERT(r->kind != MEM_RAM || told);
    }
}

static void check_cpus(void)
{
    KASSERT(machine.n_cpus <= ARRAY_SIZE(machine.cpu_apic_id) &&
            machine.n_ioapics <= ARRAY_SIZE(machine.ioapic));
    for (u32 i = 0; i < machine.n_cpus; i++)
        for (u32 k = 0; k < i; k++)
            KASSERT(machine.cpu_apic_id[i] != machine.cpu_apic_id[k]);
}

// => false if the machine was found unbootable, the reason in `reason`
static bool boot(void)
{
    memset(&boot_info, 0, sizeof(boot_info));
    memset(&machine, 0, sizeof(machine));
    reason[0] = '\0';
    bool up = setjmp(stop) == 0;
    if (up) {
        pvh_read_cmdline(INFO);
        pvh_parse(INFO);
        check_memory();
        check_ram_against_map();
        acpi_init(boot_info.rsdp);
        if (!acpi_present())
            acpi_init(acpi_search_rsdp());
        acpi_read_madt(&machine);
        check_cpus();
        acpi_pm_timer_port();
        acpi_power_off();
        acpi_reset();
        memset(&machine, 0, sizeof(machine));
        mptable_read(&machine);
        check_cpus();
    }
    free_copies();
    return up;
}

static void good_machine(void)
{
    const struct boot_info *b = &boot_info;
    describe();
    KASSERT(boot());
    KASSERT(b->n_mem == 7 && b->mem[4].start == 0xc00000 && b->mem[4].kind == MEM_NVS);
    KASSERT(b->mem[3].start == 0x100000 && b->mem[3].end == 0xc00000 && b->mem[5].end == 0x1000000);
    KASSERT(b->image_start == 0x400000 && b->image_end == 0x410000 &&
            !strcmp(b->cmdline, "control=e9 loglevel=3"));
    KASSERT(machine.n_cpus == 2 && machine.cpu_apic_id[1] == 1 &&
            machine.ioapic[0].address == 0xfec00000);
    n_port_writes = 0;
    acpi_init(RSDP);
    KASSERT(acpi_pm_timer_port() == 0x608);
    memset(&machine, 0, sizeof(machine));
    acpi_read_madt(&machine);
    KASSERT(machine.n_cpus == 2 && machine.cpu_apic_id[1] == 2 && machine.isa[9].flags == 13);
    acpi_power_off();
    KASSERT(n_port_writes == 1);
}

static void expect_noboot(phys_t at, u64 value, unsigned n_bytes, const char *text)
{
    describe();
    put(at, value, n_bytes);
    if (boot() || !strstr(reason, text))
        panic("wanted '%s', got '%s'", text, reason);
}

static void expect_no_acpi(phys_t at, u64 value, unsigned n_bytes)
{
    describe();
    put(at, value, n_bytes);
    KASSERT(boot());
    acpi_init(RSDP);
    memset(&machine, 0, sizeof(machine));
    acpi_read_madt(&machine);
    KASSERT(machine.n_cpus == 0);
}

static void bad_machines(void)
{
    expect_noboot(INFO, 0, 4, "no PVH start information");
    expect_noboot(INFO + 48, 0, 4, "no PVH start information");
    expect_noboot(INFO + 40, 1ull << 40, 8, "out of reach");
    expect_noboot(INFO + 16, -16ull, 8, "out of reach");
    expect_noboot(MODULES, 0xc00000, 8, "does not lie in memory");
    expect_noboot(MODULES + 8, -1ull, 8, "does not lie in memory");
    expect_noboot(MODULES, 0x180000, 8, "over the kernel");
    expect_no_acpi(RSDP + 8, 0x12, 1);  // checksums
    expect_no_acpi(XSDT + 9, 0x12, 1);
    expect_no_acpi(MADT + 9, 0x12, 1);
    expect_no_acpi(XSDT + 4, 35, 4);  // lengths
    expect_no_acpi(MADT + 4, 0, 4);
    expect_no_acpi(MADT + 4, UINT32_MAX, 4);
    expect_no_acpi(RSDP + 24, XSDT + 1, 8);
}

// ---------------------------------------------------------------- the rest at random

static void mutate(void)
{
    mutate_areas(areas, ARRAY_SIZE(areas));
    if (random_u64() % 4)
        all_sums();
}

// For test/host/fuzz: changes of a good machine, of 6 bytes each: table, place (2), width, value (2). The first byte
// says whether the checksums are made right afterwards.
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    memset(nothing, 0xff, sizeof(nothing));
    describe();
    for (const u8 *p = data + 1; size > 1 && p + 6 <= data + size; p += 6) {
        unsigned a = p[0] % ARRAY_SIZE(areas), width = 1u << p[3] % 4;
        phys_t at = areas[a].at + (p[1] | p[2] << 8) % areas[a].len;
        put(at & ~(phys_t)(width - 1), (u64)(s64)(s16)(p[4] | p[5] << 8), width);
    }
    if (size && data[0] % 4)
        all_sums();
    boot();
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000, up = 0;
    memset(nothing, 0xff, sizeof(nothing));
    good_machine();
    bad_machines();
    for (unsigned long i = 0; i < rounds; i++) {
        describe();
        mutate();
        up += boot();
    }
    KASSERT(rounds < 100 || (up > rounds / 10 && up < rounds));
    return 0;
}
