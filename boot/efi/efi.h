// SPDX-License-Identifier: BSD-2-Clause
// efi.h: the part of the UEFI specification (2.10) that the loader uses. Members that it does not call are untyped.
#pragma once

#include "boot/boot.h"
#include "boot_arch.h"  // EFIAPI

typedef uint64_t efi_status;
typedef void *efi_handle;
#define EFI_ERROR(status) ((status) >> 63)
#define EFI_LOAD_ERROR (1ull << 63 | 1)

struct efi_guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

enum efi_memory_type {
    EFI_LOADER_CODE = 1,
    EFI_LOADER_DATA = 2,
    EFI_BOOT_CODE = 3,
    EFI_BOOT_DATA = 4,
    EFI_CONVENTIONAL = 7,
    EFI_UNUSABLE = 8,
    EFI_ACPI_RECLAIM = 9,
    EFI_ACPI_NVS = 10,
    EFI_MMIO = 11,
    EFI_MMIO_PORTS = 12,
};
enum efi_allocate { EFI_ANY_PAGES, EFI_BELOW, EFI_AT };

struct efi_memory {
    uint32_t type, pad;
    uint64_t physical, virtual, pages, attributes;
};

struct efi_boot_services {
    uint8_t header[24];
    void *raise_tpl, *restore_tpl;
    efi_status(EFIAPI *allocate_pages)(enum efi_allocate, enum efi_memory_type, uint64_t pages,
                                       uint64_t *address);
    void *free_pages;
    efi_status(EFIAPI *get_memory_map)(uint64_t *bytes, void *map, uint64_t *key,
                                       uint64_t *entry_bytes, uint32_t *version);
    void *allocate_pool;
    efi_status(EFIAPI *free_pool)(void *);
    void *create_event, *set_timer, *wait_for_event, *signal_event, *close_event, *check_event;
    void *install_protocol, *reinstall_protocol, *uninstall_protocol;
    efi_status(EFIAPI *handle_protocol)(efi_handle, const struct efi_guid *, void *interface);
    void *reserved, *register_protocol_notify, *locate_handle, *locate_device_path;
    void *install_configuration_table, *load_image, *start_image, *exit, *unload_image;
    efi_status(EFIAPI *exit_boot_services)(efi_handle, uint64_t key);
    void *get_next_monotonic_count;
    efi_status(EFIAPI *stall)(uint64_t microseconds);
    efi_status(EFIAPI *set_watchdog_timer)(uint64_t seconds, uint64_t code, uint64_t bytes, void *);
    void *connect_controller, *disconnect_controller, *open_protocol, *close_protocol;
    void *open_protocol_information, *protocols_per_handle;
    efi_status(EFIAPI *locate_handle_buffer)(int search, const struct efi_guid *, void *key,
                                             uint64_t *count, efi_handle **handles);
};
enum { EFI_BY_PROTOCOL = 2 };

struct efi_time {
    uint16_t year;
    uint8_t month, day, hour, minute, second, pad;
    uint32_t nanosecond;
    int16_t zone;  // minutes that UTC is ahead, or EFI_TIME_NO_ZONE
    uint8_t daylight, pad2;
};
enum { EFI_TIME_NO_ZONE = 0x7ff };

struct efi_runtime_services {
    uint8_t header[24];
    efi_status(EFIAPI *get_time)(struct efi_time *, void *capabilities);
    void *set_time, *get_wakeup_time, *set_wakeup_time, *set_virtual_address_map;
    void *convert_pointer, *get_variable, *get_next_variable_name, *set_variable;
    void *get_next_high_monotonic_count;
    void(EFIAPI *reset_system)(int type, efi_status status, uint64_t bytes, void *data);
};
enum { EFI_RESET_SHUTDOWN = 2 };

struct efi_text_output {
    void *reset;
    efi_status(EFIAPI *output_string)(struct efi_text_output *, const uint16_t *text);
};

struct efi_table {
    struct efi_guid guid;
    void *table;
};

struct efi_system_table {
    uint8_t header[24];
    uint16_t *vendor;
    uint32_t revision, pad;
    efi_handle in_handle;
    void *in;
    efi_handle out_handle;
    struct efi_text_output *out;
    efi_handle error_handle;
    struct efi_text_output *error;
    struct efi_runtime_services *runtime;
    struct efi_boot_services *boot;
    uint64_t n_tables;
    struct efi_table *tables;
};

struct efi_loaded_image {
    uint32_t revision, pad;
    efi_handle parent;
    struct efi_system_table *system;
    efi_handle device;
    void *file_path, *reserved;
    uint32_t options_bytes, pad2;
    void *options, *base;
    uint64_t bytes;
};

struct efi_file {
    uint64_t revision;
    efi_status(EFIAPI *open)(struct efi_file *, struct efi_file **, const uint16_t *name,
                             uint64_t mode, uint64_t attributes);
    void *close, *delete;
    efi_status(EFIAPI *read)(struct efi_file *, uint64_t *bytes, void *to);
};
enum { EFI_FILE_READ = 1 };

struct efi_file_system {
    uint64_t revision;
    efi_status(EFIAPI *open_volume)(struct efi_file_system *, struct efi_file **);
};

struct efi_block_media {
    uint32_t id;
    bool removable, present, partition, read_only, write_caching;
    uint32_t block_bytes, alignment;
    uint64_t last_block;
};

struct efi_block_io {
    uint64_t revision;
    struct efi_block_media *media;
    void *reset;
    efi_status(EFIAPI *read)(struct efi_block_io *, uint32_t media, uint64_t block, uint64_t bytes,
                             void *to);
};

// A node of a device path; the last one is of type 0x7f.
struct efi_path {
    uint8_t type, subtype;
    uint8_t bytes[2];  // little endian, not aligned
};
enum { EFI_PATH_MEDIA = 4, EFI_PATH_HARD_DRIVE = 1, EFI_PATH_END = 0x7f };
enum { EFI_HARD_DRIVE_BYTES = 42, EFI_HARD_DRIVE_SIGNATURE = 24 };

// ---- loader.c
extern struct efi_system_table *efi_system;
extern struct efi_boot_services *efi_boot;

struct loaded {
    const struct boot_record *record;
    void *kernel;  // the file
    void *root;    // the root image, page aligned
};

// A range of whole pages. BELOW: all of it lies below that address, 0: anywhere. => Ends in fail() when there is none
void *efi_pages(uint64_t bytes, uint64_t below);
// The configuration table of this name, or NULL.
void *efi_find_table(const struct efi_guid *guid);
// The root pointer of the ACPI tables, of the newest revision that there is, or NULL.
void *efi_find_rsdp(void);
// Ends boot services; then calls range for each range of memory, in the firmware's order. => From here on no message can be given
void efi_leave(efi_handle image, void (*range)(const struct efi_memory *));

// ---- <arch>/enter.c: takes what was loaded to the kernel's first instruction.
void efi_enter(efi_handle image, const struct loaded *loaded) __attribute__((noreturn));
