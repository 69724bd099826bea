// SPDX-License-Identifier: BSD-2-Clause
// platform.h: what the kernel expects of the machine; platform/ implements it.
#pragma once

#include "core/base.h"

enum mem_kind { MEM_RAM = 1, MEM_RESERVED = 2, MEM_ACPI = 3, MEM_NVS = 4, MEM_BAD = 5 };
struct mem_range {
    phys_t start, end;  // [start, end) in bytes
    enum mem_kind kind;
};

#define MAX_MEM_RANGES 128
struct boot_info {
    struct mem_range mem[MAX_MEM_RANGES];  // sorted, not overlapping
    u32 n_mem;
    const char *cmdline;            // NUL-terminated, in the direct map
    phys_t image_start, image_end;  // root image (initrd), empty if start == end
    phys_t rsdp;                    // ACPI root pointer, 0 if unknown
    phys_t fdt;                     // device tree, 0 if none
};
extern struct boot_info boot_info;

// Bring-up, in this order (see core/kmain.c).
void platform_init_early(void);     // console output works afterwards
void platform_init_clock(void);     // counter rate, wall clock, clock event of the boot CPU
void platform_init_irq(void);       // interrupt controllers, ACPI/MP/device-tree tables
u32 platform_cpu_count(void);       // CPUs found, boot CPU included
u32 platform_cpu_hw_id(u32 index);  // index 0 is the boot CPU
void platform_init_devices(void);   // console input, rng, buses: after the scheduler runs
void platform_init_cpu(void);       // on each CPU: local interrupt controller, clock event
void platform_power_off(void) __noreturn;
void platform_reset(void) __noreturn;

// The console. Output never sleeps and never loses a byte; input calls console_input.
void platform_console_write(const char *text, size_t len);
void console_input(
    char *bytes, size_t len);  // implemented by fs/tty.c, which may change bytes; interrupt context
void console_log(const char *text, size_t len);  // the kernel's messages; fs/tty_host.c has another
// Whoever runs the machine wants it to end (a power button): the program gets SIGTERM, and SIGKILL if it has not ended in time.
void shutdown_asked(
    void);  // implemented by task/shutdown.c in the kernel with devices; interrupt context
// The kernel has said why it cannot go on. Weak: implemented in the kernel with devices.
void platform_panicked(void) __weak;
// Control channel (docs/machine.md); false when the machine has none.
bool platform_control_write(const char *text, size_t len);

// A file that the monitor gives: its first bytes, at most max. => how many; -ENOENT: no such file, or nobody who has any. Weak.
ssize_t platform_config_read(const char *name, void *to, size_t max) __weak;
// Interrupt lines of devices. handler runs in interrupt context.
int platform_irq_request(unsigned line, void (*handler)(void *), void *arg);
// A message-signalled interrupt of a PCI function: what it has to write where. => 0, -ENODEV: none free, or no such thing
int platform_msi_request(u32 function, void (*handler)(void *), void *arg, u64 *address, u32 *data);
// The interrupt line of a PCI function, which others may share. => -ENODEV: not known. Weak: a machine may tell of none.
int platform_intx_line(u32 function) __weak;
// Fills buf with random bytes from a device or the CPU; returns how many it could give.
size_t platform_random(void *buf, size_t len);
bool platform_has_random(void);  // a device is there, though it may have nothing yet

// Calls found(base, size in bytes, interrupt line or -1) for each memory-mapped virtio device that firmware tells of.
void platform_each_virtio_mmio(void (*found)(phys_t base, u64 size, int irq));
// Whether [pa, pa + len) may hold a device's registers: no memory lies there.
bool platform_is_device(phys_t pa, size_t len_bytes);

// Command-line words: value of `name=value`, "" for a bare word, NULL if absent.
const char *cmdline_get(const char *name, char *buf, size_t size);
// The same for a word that may come several times: the first behind `at` (NULL: of all). => Where to go on, NULL if none.
const char *cmdline_next(const char *at, const char *name, char *buf, size_t size);
