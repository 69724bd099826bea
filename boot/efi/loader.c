// SPDX-License-Identifier: BSD-2-Clause
// loader.c: the EFI application lethe-boot.efi. It reads the record and the kernel's file from the system partition that it
// was started from, the root image from the partition of the same disk that the record names, and hands over.
#include "boot/efi/efi.h"

struct efi_system_table *efi_system;
struct efi_boot_services *efi_boot;

efi_status efi_main(efi_handle image, struct efi_system_table *system);

static const struct efi_guid loaded_image_guid = {
    0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct efi_guid file_system_guid = {
    0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct efi_guid block_io_guid = {
    0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct efi_guid device_path_guid = {
    0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};

static const struct efi_guid acpi_guid = {
    0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}};
static const struct efi_guid acpi1_guid = {
    0xeb9d2d30, 0x2d88, 0x11d3, {0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};

static void print(const char *text)
{
    uint16_t wide[2] = {0, 0};
    for (; *text; text++) {
        wide[0] = (uint8_t)*text;
        efi_system->out->output_string(efi_system->out, wide);
    }
}

// There is nowhere to return to that could do better: the message stays on the console, and the machine goes off.
void fail(const char *why)
{
    arch_tell_noboot(why);
    if (efi_boot) {
        print("lethe: cannot start: ");
        print(why);
        print("\r\n");
    }
    efi_system->runtime->reset_system(EFI_RESET_SHUTDOWN, 0, 0, NULL);
    for (;;)
        arch_halt();
}

void *efi_pages(uint64_t bytes, uint64_t below)
{
    uint64_t address = below - 1;
    if (EFI_ERROR(efi_boot->allocate_pages(below ? EFI_BELOW : EFI_ANY_PAGES, EFI_LOADER_DATA,
                                           ROUND_UP(bytes, PAGE) / PAGE, &address)))
        fail("too little memory for kernel and root image");
    return (void *)address;
}

void *efi_find_table(const struct efi_guid *guid)
{
    for (uint64_t i = 0; i < efi_system->n_tables; i++)
        if (!memcmp(&efi_system->tables[i].guid, guid, sizeof(*guid)))
            return efi_system->tables[i].table;
    return NULL;
}

void *efi_find_rsdp(void)
{
    void *rsdp = efi_find_table(&acpi_guid);
    return rsdp ? rsdp : efi_find_table(&acpi1_guid);
}

// ---- the end of boot services

void efi_leave(efi_handle image, void (*range)(const struct efi_memory *))
{
    enum { MAP_BYTES = 256 * 1024 };
    uint8_t *map = efi_pages(MAP_BYTES, 0);
    uint64_t bytes, key, entry;
    uint32_t version;
    efi_status status;
    int tries = 0;

    efi_boot->set_watchdog_timer(0, 0, 0, NULL);
    do {  // the map changes when an event comes in between
        bytes = MAP_BYTES;
        if (EFI_ERROR(efi_boot->get_memory_map(&bytes, map, &key, &entry, &version)))
            fail("the firmware gives no memory map");
        status = efi_boot->exit_boot_services(image, key);
    } while (EFI_ERROR(status) && ++tries < 8);
    if (EFI_ERROR(status))
        fail("the firmware does not let go");
    efi_boot = NULL;
    for (uint64_t at = 0; at + sizeof(struct efi_memory) <= bytes; at += entry)
        range((const struct efi_memory *)(map + at));
}

// ---- files

static void read_file(struct efi_file *volume, const uint16_t *name, uint64_t bytes, void *to)
{
    struct efi_file *file;
    uint64_t n = bytes;
    if (EFI_ERROR(volume->open(volume, &file, name, EFI_FILE_READ, 0)))
        fail("a file of the folder LETHE is not on the system partition");
    if (EFI_ERROR(file->read(file, &n, to)) || n != bytes)
        fail("a file of the folder LETHE cannot be read, or is cut short");
}

// ---- the root partition

static const struct efi_path *next_node(const struct efi_path *node)
{
    return (const void *)((const uint8_t *)node + (node->bytes[0] | node->bytes[1] << 8));
}

// The hard drive node that closes a partition's path. => NULL: it does not end with one
static const struct efi_path *partition_node(const struct efi_path *path)
{
    const struct efi_path *last = NULL;
    for (; path->type != EFI_PATH_END; path = next_node(path))
        last = path;
    bool is = last && last->type == EFI_PATH_MEDIA && last->subtype == EFI_PATH_HARD_DRIVE &&
              last->bytes[0] == EFI_HARD_DRIVE_BYTES;
    return is ? last : NULL;
}

static const struct efi_path *path_of(efi_handle handle)
{
    const struct efi_path *path;
    return EFI_ERROR(efi_boot->handle_protocol(handle, &device_path_guid, &path)) ? NULL : path;
}

// Whether this is the partition with the GUID, on the same disk as SYSTEM.
static bool is_partition(const struct efi_path *path, const struct efi_path *system,
                         const uint8_t guid[16])
{
    const struct efi_path *node = path ? partition_node(path) : NULL;
    const struct efi_path *system_node = partition_node(system);
    if (!node || !system_node)
        return false;
    size_t disk = (const uint8_t *)node - (const uint8_t *)path;
    return disk == (size_t)((const uint8_t *)system_node - (const uint8_t *)system) &&
           !memcmp(path, system, disk) &&
           !memcmp((const uint8_t *)node + EFI_HARD_DRIVE_SIGNATURE, guid, 16);
}

static struct efi_block_io *find_root(efi_handle system_partition, const uint8_t guid[16])
{
    const struct efi_path *system = path_of(system_partition);
    struct efi_block_io *io;
    efi_handle *handles;
    uint64_t n;

    if (!system || EFI_ERROR(efi_boot->locate_handle_buffer(EFI_BY_PROTOCOL, &block_io_guid, NULL,
                                                            &n, &handles)))
        fail("the firmware shows no disk");
    for (uint64_t i = 0; i < n; i++)
        if (is_partition(path_of(handles[i]), system, guid) &&
            !EFI_ERROR(efi_boot->handle_protocol(handles[i], &block_io_guid, &io)))
            return io;
    fail("the root partition is not on this disk");
}

static void read_root(struct efi_block_io *io, uint64_t bytes, uint8_t *to)
{
    enum { PIECE = 8 << 20 };
    const struct efi_block_media *media = io->media;
    uint32_t block = media->block_bytes;

    if (!block || PAGE % block || bytes / block > media->last_block + 1)
        fail("the root partition is cut short");
    for (uint64_t at = 0; at < bytes; at += PIECE) {
        uint64_t n = MIN(bytes - at, (uint64_t)PIECE);
        if (EFI_ERROR(io->read(io, media->id, at / block, n, to + at)))
            fail("the root partition cannot be read");
    }
}

efi_status efi_main(efi_handle image, struct efi_system_table *system)
{
    static const uint16_t record_name[] = u"\\LETHE\\BOOT", kernel_name[] = u"\\LETHE\\KERNEL";
    static struct boot_record record;
    struct efi_loaded_image *self;
    struct efi_file_system *file_system;
    struct efi_file *volume;

    efi_system = system;
    efi_boot = system->boot;
    if (EFI_ERROR(efi_boot->handle_protocol(image, &loaded_image_guid, &self)) ||
        EFI_ERROR(efi_boot->handle_protocol(self->device, &file_system_guid, &file_system)) ||
        EFI_ERROR(file_system->open_volume(file_system, &volume)))
        fail("the firmware does not show the system partition");
    read_file(volume, record_name, sizeof(record), &record);
    if (memcmp(record.magic, RECORD_MAGIC, sizeof(record.magic)) ||
        record.words[RECORD_WORDS - 1] || record.load_bytes % PAGE)
        fail("the file LETHE\\BOOT is damaged");
    struct loaded loaded = {.record = &record,
                            .kernel = efi_pages(record.kernel_bytes, 0),
                            .root = record.load_bytes ? efi_pages(record.load_bytes, 0) : NULL};
    read_file(volume, kernel_name, record.kernel_bytes, loaded.kernel);
    if (record.load_bytes)
        read_root(find_root(self->device, record.root_guid), record.load_bytes, loaded.root);
    efi_enter(image, &loaded);
}
