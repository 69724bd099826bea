// SPDX-License-Identifier: BSD-2-Clause
// its.c: the interrupt translation service of a GICv3 (Arm IHI 0069, chapters 5 and 12): what a device writes to one
// register becomes an interrupt by who the device is and what it writes.
//
//   device number --device table--> its events --table of the device--> interrupt and collection --> redistributor
//
// We fill none of these tables ourselves: they are memory that we give, and the ITS fills it by the commands that we put
// into a ring. Interrupts of this kind have no registers either: one byte each in a table of ours enables them.
//
//   I1. Nothing is set up before the first message is asked for; a machine without PCI devices pays nothing.
//   I2. One collection: the boot CPU's redistributor. One event, numbered from 0, for each message of a device.
//   I3. All memory given to the GIC is its for good.
//
// A controller whose accesses do not see the caches (it says so when it is told the tables) is not used: no virtual
// machine has one.
#include <string.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/irq.h"
#include "core/log.h"
#include "mm/page.h"
#include "platform/aarch64/platform_a64.h"

enum {
    GITS_CTLR = 0x00,
    GITS_TYPER = 0x08,
    GITS_CBASER = 0x80,
    GITS_CWRITER = 0x88,
    GITS_CREADR = 0x90,
    GITS_BASER = 0x100,
    GITS_TRANSLATER = 0x10040,
    GITS_BYTES = 0x20000,
};
enum { GICR_CTLR = 0x00, GICR_TYPER = 0x08, GICR_PROPBASER = 0x70, GICR_PENDBASER = 0x78 };
#define GICD_TYPER_LPIS BIT(17)
#define N_BASERS 8
#define BASER_TYPE(v) ((v) >> 56 & 7)
#define BASER_ENTRY_BYTES(v) (((v) >> 48 & 31) + 1)
#define BASER_PAGE_SHIFT 8
#define BASER_PAGE_SIZE(v) ((v) >> BASER_PAGE_SHIFT & 3)  // 4, 16, 64 KiB
enum { TABLE_DEVICES = 1, TABLE_COLLECTIONS = 4 };
#define VALID BIT(63)
#define CACHED (7ull << 59 | 7ull << 53)
#define CACHED_LPI (7ull << 7 | 7ull << 56)  // the same for a redistributor's tables
#define INNER_SHAREABLE (1ull << 10)
#define PENDING_IS_ZERO BIT(62)
#define TYPER_BY_ADDRESS BIT(19)  // redistributors are named by address, not by number

#define FIRST_LPI 8192
#define LPI_ID_BITS 14   // the fewest there are: 8192 of them
#define LPI_CONFIG 0xa3  // priority of a device, enabled; bit 1 is always 1
#define PENDING_ORDER 4  // 64 KiB, its alignment
#define EVENT_BITS 5
#define MAX_DEVICES 16
#define COMMAND_BYTES 32
enum { MAPD = 0x08, MAPC = 0x09, MAPTI = 0x0a, INV = 0x0c, SYNC = 0x05 };
#define TRIES 1000000

static struct {
    volatile char *regs;  // NULL: not tried yet
    int state;            // 1 works, negative: an error that stays
    u64 *ring;            // one page of commands
    u32 write;            // offset of the next
    u8 *config;           // a byte for each LPI
    u64 redist;           // as commands name it
    u32 device_ids;       // that the table has room for
    u32 n_lpis;
    u32 n_devices;
    struct {
        u32 id, n_events;
    } devices[MAX_DEVICES];
} its;

static int command(u64 first, u64 second, u64 third)
{
    u64 *at = its.ring + its.write / sizeof(u64);
    at[0] = first;
    at[1] = second;
    at[2] = third;
    at[3] = 0;
    its.write = (its.write + COMMAND_BYTES) % PAGE_SIZE;
    dsb(sy);
    mmio_write64(its.regs, GITS_CWRITER, its.write);
    for (u32 i = 0; i < TRIES; i++) {
        u64 read = mmio_read64(its.regs, GITS_CREADR);
        if (read == its.write)
            return 0;
        if (read & 1)  // it stands at a command that it does not like
            break;
        arch_cpu_relax();
    }
    return -EIO;
}

static void *memory(unsigned order, phys_t *pa)
{
    struct page *page = page_alloc(order, PAGE_ZERO);
    if (!page)
        return NULL;
    *pa = page_to_phys(page);
    return page_address(page);
}

// One of the tables that the ITS keeps, in pages of a size that it takes. => entries that it has room for, or a negative error
static long give_table(u32 offset, u32 n_entries)
{
    u64 told = mmio_read64(its.regs, offset), type = told & (7ull << 56), kind = 0;
    u64 entry_bytes = BASER_ENTRY_BYTES(told);
    unsigned order = 0;
    phys_t pa;
    for (; kind < 3; kind++) {
        mmio_write64(its.regs, offset, type | kind << BASER_PAGE_SHIFT);
        if (BASER_PAGE_SIZE(mmio_read64(its.regs, offset)) == kind)
            break;
    }
    u64 page_bytes = PAGE_SIZE << 2 * kind,
        pages = DIV_ROUND_UP(n_entries * entry_bytes, page_bytes);
    if (kind == 3 || pages > 256 || pages * page_bytes > HUGE_SIZE)
        return -ENOSPC;
    while ((PAGE_SIZE << order) < pages * page_bytes)
        order++;
    if (!memory(order, &pa))
        return -ENOMEM;
    mmio_write64(its.regs, offset,
                 VALID | CACHED | type | pa | INNER_SHAREABLE | kind << BASER_PAGE_SHIFT |
                     (pages - 1));
    return mmio_read64(its.regs, offset) & INNER_SHAREABLE
               ? (long)(pages * page_bytes / entry_bytes)
               : -ENODEV;
}

static int give_tables(u32 n_devices)
{
    for (u32 i = 0; i < N_BASERS; i++) {
        u32 offset = GITS_BASER + 8 * i;
        u64 type = BASER_TYPE(mmio_read64(its.regs, offset));
        if (type != TABLE_DEVICES && type != TABLE_COLLECTIONS)
            continue;
        long n = give_table(offset, type == TABLE_DEVICES ? n_devices : 1);
        if (n < 0)
            return (int)n;
        if (type == TABLE_DEVICES)
            its.device_ids = (u32)n;
    }
    return its.device_ids ? 0 : -ENODEV;
}

// The boot CPU's redistributor learns where the bytes of the interrupts lie, and where it may note which of them wait.
static int start_redistributor(void)
{
    phys_t config, pending, pa;
    volatile char *redist = gic_boot_redistributor(&pa);
    if (!redist || !(gic_type() & GICD_TYPER_LPIS) || !(mmio_read64(redist, GICR_TYPER) & 1))
        return -ENODEV;
    if (mmio_read32(redist, GICR_CTLR) & 1)  // by the firmware; its tables cannot be taken away
        return -EBUSY;
    its.config = memory(1, &config);
    if (!its.config || !memory(PENDING_ORDER, &pending))
        return -ENOMEM;
    mmio_write64(redist, GICR_PROPBASER, CACHED_LPI | config | INNER_SHAREABLE | (LPI_ID_BITS - 1));
    mmio_write64(redist, GICR_PENDBASER, PENDING_IS_ZERO | CACHED_LPI | pending | INNER_SHAREABLE);
    if (!(mmio_read64(redist, GICR_PROPBASER) & INNER_SHAREABLE))
        return -ENODEV;
    mmio_write32(redist, GICR_CTLR, mmio_read32(redist, GICR_CTLR) | 1);
    dsb(sy);
    its.redist = mmio_read64(its.regs, GITS_TYPER) & TYPER_BY_ADDRESS
                     ? pa
                     : (mmio_read64(redist, GICR_TYPER) >> 8 & 0xffff) << 16;
    return 0;
}

static int start(u32 n_devices)
{
    phys_t ring;
    if (machine.its.size < GITS_BYTES || !platform_is_device(machine.its.base, GITS_BYTES))
        return -ENODEV;
    its.regs = arch_map_device(machine.its.base, GITS_BYTES);
    mmio_write32(its.regs, GITS_CTLR, 0);
    int err = start_redistributor();
    if (!err)
        err = give_tables(n_devices);
    if (!err && !(its.ring = memory(0, &ring)))
        err = -ENOMEM;
    if (err)
        return err;
    mmio_write64(its.regs, GITS_CBASER, VALID | CACHED | ring | INNER_SHAREABLE);
    mmio_write64(its.regs, GITS_CWRITER, 0);
    mmio_write32(its.regs, GITS_CTLR, 1);
    err = command(MAPC, 0, VALID | its.redist);
    return err ? err : command(SYNC, 0, its.redist);
}

// => Index into its.devices, or a negative error.
static int find_device(u32 id)
{
    for (u32 i = 0; i < its.n_devices; i++) {
        if (its.devices[i].id == id)
            return (int)i;
    }
    phys_t table;  // 16 bytes an event at most
    if (its.n_devices == MAX_DEVICES || id >= its.device_ids || !memory(0, &table))
        return -ENOSPC;
    int err = command(MAPD | (u64)id << 32, EVENT_BITS - 1, VALID | table);
    if (err)
        return err;
    its.devices[its.n_devices] = (typeof(its.devices[0])){.id = id};
    return (int)its.n_devices++;
}

int its_request(u32 device, void (*handler)(void *), void *arg, u64 *address, u32 *data)
{
    enum { FUNCTIONS = 16 * 256 };  // of so many buses from 0 on
    if (!its.state) {
        int err = start(machine.pci.msi_base + FUNCTIONS);
        its.state = err ? err : 1;
        if (err)
            log_warn("the interrupt translation service is not used: error %d", -err);
    }
    int i = its.state < 0 ? its.state : find_device(device);
    if (i < 0 || its.devices[i].n_events == BIT(EVENT_BITS) || its.n_lpis == IRQ_LINES)
        return -ENODEV;
    u32 event = its.devices[i].n_events, lpi = its.n_lpis;
    u64 name = (u64)device << 32;
    its.config[lpi] = LPI_CONFIG;
    if (command(MAPTI | name, event | (u64)(FIRST_LPI + lpi) << 32, 0) ||
        command(INV | name, event, 0) || command(SYNC, 0, its.redist) ||
        gic_add_handler(FIRST_LPI + lpi, handler, arg))
        return -ENODEV;
    its.devices[i].n_events++;
    its.n_lpis++;
    *address = machine.its.base + GITS_TRANSLATER;
    *data = event;
    return 0;
}
