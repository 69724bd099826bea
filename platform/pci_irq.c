// SPDX-License-Identifier: BSD-2-Clause
// pci_irq.c: interrupts of PCI functions: the first message of MSI-X (PCI Local Bus Specification 3.0, 6.8.2), MSI (6.8.1), a line,
// which functions may share (2.2.6), or a timer where nothing else reaches us. Only in the kernel with devices (mk/kernel.mk).
//
// The word pci=timer of the kernel's command line takes the timer in place of all of them, for machines that tell of interrupts
// and deliver none.
#include <string.h>

#include "arch/mmu.h"
#include "core/atomic.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "mm/page.h"
#include "platform/pci.h"

#define CAP_MSI 0x05
#define CAP_MSIX 0x11
#define MSIX_ENTRY_BYTES 16
#define MSIX_ENABLE BIT(31)  // of the word at the capability
#define MSIX_MASK_ALL BIT(30)
#define MSI_ENABLE BIT(16)  // of the word at the capability
#define MSI_COUNT (7u << 20)
#define MSI_64 BIT(23)
#define MAX_ON_LINES 8
#define TIMER_NS (2 * NSEC_PER_MSEC)

struct handler {
    void (*fn)(void *);
    void *arg;
};

// ---- messages

static int msix_request(u32 function, struct handler h)
{
    u8 cap;
    u64 address;
    u32 data;
    if (!pci_caps(function, CAP_MSIX, &cap, 1))
        return -ENODEV;
    u32 table = pci_read32(function, cap + 4);
    phys_t base = pci_bar(function, table & 7), at = base + (table & ~7u);
    if (!base || !platform_is_device(at, MSIX_ENTRY_BYTES))
        return -ENODEV;
    int err = platform_msi_request(function, h.fn, h.arg, &address, &data);
    if (err)
        return err;
    volatile u32 *entry = arch_map_device(at, MSIX_ENTRY_BYTES);
    entry[0] = (u32)address;
    entry[1] = address >> 32;
    entry[2] = data;
    entry[3] = 0;  // not masked
    pci_write32(function, cap, (pci_read32(function, cap) | MSIX_ENABLE) & ~(u32)MSIX_MASK_ALL);
    return 0;
}

static int msi_request(u32 function, struct handler h)
{
    u8 cap;
    u64 address;
    u32 data;
    if (!pci_caps(function, CAP_MSI, &cap, 1))
        return -ENODEV;
    int err = platform_msi_request(function, h.fn, h.arg, &address, &data);
    if (err)
        return err;
    u32 control = pci_read32(function, cap);
    bool wide = control & MSI_64;
    if (!wide && address >> 32)
        return -ENODEV;
    pci_write32(function, cap + 4, (u32)address);
    if (wide)
        pci_write32(function, cap + 8, address >> 32);
    pci_write32(function, cap + (wide ? 12 : 8), data);
    pci_write32(function, cap, (control & ~MSI_COUNT) | MSI_ENABLE);  // one message
    return 0;
}

// ---- lines

static struct {
    int line;
    struct handler h;
} on_lines[MAX_ON_LINES];
static u32 n_on_lines;  // atomic

static void line_fired(void *arg)
{
    u32 n = atomic_load(&n_on_lines);
    for (u32 i = 0; i < n; i++) {
        if (on_lines[i].line == (int)(uintptr_t)arg)
            on_lines[i].h.fn(on_lines[i].h.arg);
    }
}

static int line_request(u32 function, struct handler h)
{
    int line = platform_intx_line ? platform_intx_line(function) : -ENODEV;
    u32 n = n_on_lines;
    bool first = true;
    if (line < 0 || n == MAX_ON_LINES)
        return -ENODEV;
    for (u32 i = 0; i < n; i++)
        first &= on_lines[i].line != line;
    on_lines[n].line = line;
    on_lines[n].h = h;
    atomic_store(&n_on_lines, n + 1);
    if (first && platform_irq_request((unsigned)line, line_fired, (void *)(uintptr_t)line)) {
        atomic_store(&n_on_lines, n);
        return -ENODEV;
    }
    return 0;
}

// ---- the timer

struct watch {
    struct timer timer;
    struct handler h;
};

static void watch_fired(struct timer *t)
{
    struct watch *w = (struct watch *)t;
    w->h.fn(w->h.arg);
    timer_arm(t, ktime_ns() + TIMER_NS);
}

static int timer_request(u32 function, struct handler h)
{
    struct watch *w = kzalloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->h = h;
    log_warn("PCI %02x:%02x.%x: no interrupt reaches us; it is looked at every 2 ms", function >> 8,
             function >> 3 & 31, function & 7);
    timer_init(&w->timer, watch_fired);
    timer_arm(&w->timer, ktime_ns() + TIMER_NS);
    return 0;
}

int pci_set_interrupt(u32 function, u32 kinds, void (*fn)(void *), void *arg)
{
    static const struct {
        u32 kind;
        int (*request)(u32 function, struct handler h);
    } ways[] = {
        {PCI_MSIX, msix_request},
        {PCI_MSI, msi_request},
        {PCI_LINE, line_request},
        {PCI_TIMER, timer_request},
    };
    char word[8];
    struct handler h = {fn, arg};
    if ((kinds & PCI_TIMER) && cmdline_get("pci", word, sizeof(word)) && !strcmp(word, "timer"))
        kinds = PCI_TIMER;
    for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
        if ((kinds & ways[i].kind) && ways[i].request(function, h) == 0)
            return (int)ways[i].kind;
    }
    return -ENODEV;
}
