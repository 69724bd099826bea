// SPDX-License-Identifier: BSD-2-Clause
// ioapic.c: the I/O APIC (Intel 82093AA data sheet): device lines to vectors of the boot CPU.
#include "arch/mmu.h"
#include "arch_impl/x86.h"
#include "core/cpu.h"
#include "core/irq.h"
#include "core/log.h"
#include "platform/x86_64/platform_x86.h"

#define IOAPIC_DEFAULT 0xfec00000ul
#define REG_VERSION 1
#define REG_ENTRY(n) (0x10 + 2 * (n))
#define ENTRY_ACTIVE_LOW BIT(13)
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASKED BIT(16)

static volatile u32 *regs;
static u32 n_inputs;

static u32 ioapic_read(u32 reg)
{
    regs[0] = reg;
    return regs[4];
}

static void ioapic_write(u32 reg, u32 value)
{
    regs[0] = reg;
    regs[4] = value;
}

// Every input is masked after reset, and firmware leaves none open that we would have to close
// before a handler is there: its interrupts go nowhere while no CPU takes any.
void ioapic_init(struct machine *m)
{
    regs = arch_map_device(m->ioapic ? m->ioapic : IOAPIC_DEFAULT, PAGE_SIZE);
}

int platform_irq_request(unsigned line, void (*handler)(void *), void *arg)
{
    u32 gsi = line, entry = VEC_IRQ_BASE + line;
    if (line >= VEC_IRQ_COUNT)
        return -EINVAL;
    if (line < 16 && machine.isa[line].set) {
        gsi = machine.isa[line].gsi;
        if ((machine.isa[line].flags & 3) == 3)
            entry |= ENTRY_ACTIVE_LOW;
        if ((machine.isa[line].flags >> 2 & 3) == 3)
            entry |= ENTRY_LEVEL;
    }
    gsi -= machine.ioapic_gsi_base;
    if (!n_inputs) {
        n_inputs = (ioapic_read(REG_VERSION) >> 16 & 0xff) + 1;
        for (u32 i = 0; i < n_inputs; i++)
            ioapic_write(REG_ENTRY(i), ENTRY_MASKED);
    }
    if (gsi >= n_inputs)
        return -EINVAL;
    int err = irq_set_handler(line, handler, arg);
    if (err)
        return err;
    ioapic_write(REG_ENTRY(gsi) + 1, cpus[0]->hw_id << 24);
    ioapic_write(REG_ENTRY(gsi), entry);
    return 0;
}
