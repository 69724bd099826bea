// SPDX-License-Identifier: BSD-2-Clause
// watchdog.c: Intel's 6300ESB watchdog (Intel 300641, 6300ESB I/O Controller Hub, chapter 15), which QEMU has as i6300esb: it resets the machine
// when it has not been told for a while that the kernel is well. Only in the kernel with devices (mk/kernel.mk).
//
// With the word watchdog=SECONDS a thread tells it four times in that time, each time after all CPUs have answered a cross call: a CPU that
// does not take interrupts any more, a scheduler that does not run threads, and a machine that stands still all end in a reset. A program
// that hangs is no concern of its. watchdog=SECONDS,hang is for tests: a timer interrupt that never ends, after the first telling.
#include <stdlib.h>
#include <string.h>

#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "core/wait.h"
#include "platform/mmio.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

// In configuration space.
#define CONFIG 0x60
#define CONFIG_RESET_ONLY 3  // a tick is 0.993 ms; no interrupt at half time, a reset at the end
#define LOCK 0x68
#define LOCK_ENABLE BIT(1)
// In memory; each write is announced by two numbers at RELOAD.
#define TIMER1 0x00
#define TIMER2 0x04
#define RELOAD 0x0c
#define RELOAD_NOW BIT(8)
#define REGISTER_BYTES 16

#define MIN_SECONDS 2
#define MAX_SECONDS 1000

static struct {
    volatile u8 *regs;
    u64 interval_ns;
    bool hang;
} dog;

static void announce(void)
{
    *(volatile u16 *)(dog.regs + RELOAD) = 0x80;
    *(volatile u16 *)(dog.regs + RELOAD) = 0x86;
}

static void tell(void)
{
    announce();
    *(volatile u16 *)(dog.regs + RELOAD) = RELOAD_NOW;
}

static void answer(void *unused) {}

static void never_ends(struct timer *t)
{
    log_error("watchdog: hanging, as asked for");
    for (;;)
        ;
}

static void dog_main(void *unused)
{
    static struct timer timer;
    for (;;) {
        cross_run(~(cpumask_t)0, answer, NULL);
        tell();
        if (dog.hang) {
            timer_init(&timer, never_ends);
            timer_arm(&timer, ktime_ns());
        }
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        thread_block(WAIT_UNINTERRUPTIBLE, ktime_ns() + dog.interval_ns);
        thread_sleep_cancel();
    }
}

int i6300esb_start(u32 function)
{
    char word[24];
    if (!cmdline_get("watchdog", word, sizeof(word)))
        return 0;
    char *end;
    u64 seconds = strtoul(word, &end, 10);
    dog.hang = !strcmp(end, ",hang");
    if ((*end && !dog.hang) || seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
        log_error("watchdog=%s: %d to %d seconds", word, MIN_SECONDS, MAX_SECONDS);
        return -EINVAL;
    }
    phys_t base = pci_bar(function, 0);
    if (!base || !platform_is_device(base, REGISTER_BYTES))
        return -ENODEV;
    dog.regs = arch_map_device(base, REGISTER_BYTES);
    dog.interval_ns = seconds * NSEC_PER_SEC / 4;
    pci_enable(function);
    pci_write16(function, CONFIG, CONFIG_RESET_ONLY);
    announce();  // the two halves of the time, in ticks
    reg_write32(dog.regs, TIMER1, (u32)seconds * 500);
    announce();
    reg_write32(dog.regs, TIMER2, (u32)seconds * 500);
    struct thread *t = kthread_create("watchdog", dog_main, NULL, -1);
    if (IS_ERR(t))
        return (int)PTR_ERR(t);
    tell();
    pci_write8(function, LOCK, LOCK_ENABLE);
    log_info("watchdog: a reset after %lu s without a sign of life", (unsigned long)seconds);
    return 0;
}
