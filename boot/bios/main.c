// SPDX-License-Identifier: BSD-2-Clause
// main.c: stage 2 of the BIOS loader. Reads kernel and root image by INT 13h into a buffer below 1 MiB, copies them to where
// they are to lie, and enters the kernel by PVH.
//
//     0x07c00   MBR; below it the stack of BIOS calls
//     0x08000   the record, then this program (entry.S, bios.ld)
//     0x10000   buffer, 32 KiB
//     1 MiB     the kernel
//     ...       the kernel's file, then the root image, at the end of the highest memory below 4 GiB
#include "boot/pvh.h"

struct bios_regs {
    uint32_t eax, ebx, ecx, edx, esi, edi, flags;
};
enum { FLAG_CARRY = 1 };

void bios_call(uint8_t number, struct bios_regs *regs);
void enter_kernel(uint32_t entry, const void *start_info) __attribute__((noreturn));
void bios_main(uint32_t drive);

#define BUFFER ((uint8_t *)0x10000)
enum { BUFFER_SECTORS = 64, RETRIES = 3 };
#define FIRST_MIB 0x100000u

static const struct boot_record *const record = (const void *)0x8000;
static struct pvh pvh;

static void put(char c)
{
    struct bios_regs regs = {.eax = 0x0e00 | (uint8_t)c, .ebx = 7};
    bios_call(0x10, &regs);
    for (int i = 0; i < 10000; i++) {  // and to the first serial port, when it takes it
        uint8_t ready;
        __asm__ volatile("inb %1, %0" : "=a"(ready) : "d"((uint16_t)0x3fd));
        if (ready & 0x20) {
            __asm__ volatile("outb %0, %1" : : "a"(c), "d"((uint16_t)0x3f8));
            break;
        }
    }
}

static void print(const char *text)
{
    for (; *text; text++)
        put(*text);
}

void fail(const char *why)
{
    if (debugcon_there()) {
        debugcon_write("noboot ");
        debugcon_write(why);
        debugcon_write("\n");
    }
    print("lethe: cannot start: ");
    print(why);
    print("\r\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}

// ---- memory

// The BIOS's map of memory (INT 15h, EAX = E820h).
static void read_memory_map(void)
{
    static struct {
        uint64_t start, bytes;
        uint32_t type, extended;
    } range;
    struct bios_regs regs = {0};

    pvh_begin(&pvh);
    do {
        range.extended = 1;
        regs.eax = 0xe820;
        regs.edx = 0x534d4150;  // "SMAP"
        regs.ecx = sizeof(range);
        regs.edi = (uint32_t)&range;
        bios_call(0x15, &regs);
        if ((regs.flags & FLAG_CARRY) || regs.eax != 0x534d4150)
            break;
        if (range.extended & 1)  // else the entry is to be passed over
            pvh_add_range(&pvh, range.start, range.bytes, range.type);
    } while (regs.ebx);
    if (!pvh.info.memmap_entries)
        fail("the BIOS has no memory map");
}

static bool taken(uint32_t start, uint32_t end, uint32_t from, uint32_t to)
{
    return start < to && from < end;
}

// The highest page-aligned place for so many bytes that is RAM above 1 MiB and below 4 GiB, outside [from, to).
static uint32_t find_place(uint64_t bytes, uint32_t from, uint32_t to)
{
    uint32_t best = 0;
    bytes = ROUND_UP(bytes, PAGE);
    for (uint32_t i = 0; i < pvh.info.memmap_entries; i++) {
        const struct hvm_memmap_entry *e = &pvh.map[i];
        uint64_t end = MIN(e->addr + e->size, 0xfffff000u), floor = e->addr;
        if (floor < FIRST_MIB)
            floor = FIRST_MIB;
        if (e->type != E820_RAM || end < floor + bytes)
            continue;
        uint32_t place = (uint32_t)(end - bytes) & ~(PAGE - 1);
        if (taken(place, place + bytes, from, to)) {
            if (from < floor + bytes)
                continue;
            place = (from - (uint32_t)bytes) & ~(PAGE - 1);
        }
        if (place >= floor && place > best)
            best = place;
    }
    if (!best)
        fail("too little memory for kernel and root image");
    return best;
}

// Address line 20: off, the odd megabytes are the even ones.
static bool a20_on(void)
{
    volatile uint32_t *low = (void *)0x7dfc, *high = (void *)(0x7dfc + FIRST_MIB);
    uint32_t kept = *low;
    *low = ~*high;
    bool on = *high != *low;
    *low = kept;
    return on;
}

static void open_a20(void)
{
    struct bios_regs regs = {.eax = 0x2401};
    uint8_t port;
    if (a20_on())
        return;
    bios_call(0x15, &regs);
    if (a20_on())
        return;
    __asm__ volatile("inb $0x92, %0" : "=a"(port));
    __asm__ volatile("outb %0, $0x92" : : "a"((uint8_t)((port | 2) & ~1)));
    if (!a20_on())
        fail("address line 20 cannot be switched on");
}

// ---- disk

static void read_chunk(uint32_t drive, uint64_t sector, uint32_t n)
{
    static struct {
        uint8_t size, reserved;
        uint16_t count, offset, segment;
        uint64_t sector;
    } packet;

    for (int i = 0; i < RETRIES; i++) {
        packet.size = 16;
        packet.count = n;
        packet.offset = 0;
        packet.segment = (uint32_t)BUFFER >> 4;
        packet.sector = sector;
        struct bios_regs regs = {.eax = 0x4200, .edx = drive, .esi = (uint32_t)&packet};
        bios_call(0x13, &regs);
        if (!(regs.flags & FLAG_CARRY))
            return;
        struct bios_regs reset = {.edx = drive};
        bios_call(0x13, &reset);
    }
    fail("the disk cannot be read");
}

static void read_disk(uint32_t drive, uint64_t sector, uint64_t bytes, uint32_t to)
{
    while (bytes) {
        uint32_t n = MIN(bytes, BUFFER_SECTORS * SECTOR);
        read_chunk(drive, sector, ROUND_UP(n, SECTOR) / SECTOR);
        memcpy((void *)to, BUFFER, n);
        to += n;
        sector += BUFFER_SECTORS;
        bytes -= n;
    }
}

// ---- ACPI: the root pointer lies on a paragraph of the first KiB of the extended BIOS data area, or of the BIOS (ACPI 5.2.5.1).

static uint32_t search_rsdp(uint32_t from, uint32_t to)
{
    for (; from < to; from += 16) {
        const uint8_t *p = (const uint8_t *)from;
        uint8_t sum = 0;
        for (int i = 0; i < 20; i++)
            sum += p[i];
        if (!sum && !memcmp(p, "RSD PTR ", 8))
            return from;
    }
    return 0;
}

static uint32_t find_rsdp(void)
{
    uint32_t ebda = (uint32_t) * (volatile uint16_t *)0x40e << 4;
    uint32_t found = ebda >= 0x400 && ebda < 0xa0000 ? search_rsdp(ebda, ebda + 1024) : 0;
    return found ? found : search_rsdp(0xe0000, 0x100000);
}

void bios_main(uint32_t drive)
{
    struct pvh_kernel kernel;
    if (record->load_bytes >> 32 || record->kernel_bytes >> 32)
        fail("the root image is larger than what a BIOS can load");
    open_a20();
    read_memory_map();
    uint32_t root = find_place(record->load_bytes, 0, 0);
    uint32_t file = find_place(record->kernel_bytes, root, root + record->load_bytes);
    read_disk(drive, record->kernel_sector, record->kernel_bytes, file);
    pvh_check_kernel(&kernel, (void *)file, record->kernel_bytes);
    uint32_t low = MIN(root, file);
    if (kernel.start < FIRST_MIB || kernel.end > low || !pvh_is_ram(&pvh, kernel.start, kernel.end))
        fail("too little memory for kernel and root image");
    pvh_place_kernel(&kernel);
    read_disk(drive, record->root_sector, record->load_bytes, root);
    pvh_end(&pvh, record, root, find_rsdp());
    enter_kernel(kernel.entry, &pvh.info);
}
