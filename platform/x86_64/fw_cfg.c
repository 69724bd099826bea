// SPDX-License-Identifier: BSD-2-Clause
// fw_cfg.c: files of QEMU's configuration device on a PC, through its two ports. Only in the kernel with devices (mk/kernel.mk).
#include "platform/fw_cfg.h"

#include <string.h>

#include "arch_impl/x86.h"
#include "platform/x86_64/platform_x86.h"

#define SELECTOR 0x510
#define DATA 0x511
#define DIRECTORY 0x19
#define MAX_FILES 1024

struct entry {  // numbers are big-endian
    u32 size;
    u16 selector, reserved;
    char name[56];
};

static void read_bytes(void *to, size_t n)
{
    __asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(DATA) : "memory");
}

// => false: no such file
static bool find(const char *name, struct entry *e)
{
    u32 n;
    if (!fw_cfg_cpu_count())  // which asks whether the device is there
        return false;
    outw(SELECTOR, DIRECTORY);
    read_bytes(&n, sizeof(n));
    n = MIN(__builtin_bswap32(n), (u32)MAX_FILES);
    while (n--) {
        read_bytes(e, sizeof(*e));
        if (!strncmp(e->name, name, sizeof(e->name)))
            return true;
    }
    return false;
}

ssize_t platform_config_read(const char *name, void *to, size_t max)
{
    struct entry e;
    if (!find(name, &e))
        return -ENOENT;
    size_t n = MIN((size_t)__builtin_bswap32(e.size), max);
    outw(SELECTOR, __builtin_bswap16(e.selector));
    read_bytes(to, n);
    return (ssize_t)n;
}

void fw_cfg_pvpanic(u8 what)
{
    u16 port;
    if (platform_config_read("etc/pvpanic-port", &port, sizeof(port)) == sizeof(port) && port)
        outb(port, what);
}
