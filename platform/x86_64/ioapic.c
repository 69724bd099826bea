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

static u32 ioapic_read(struct ioapic *io, u32 reg)
{
    io->regs[0] = reg;
    return io->regs[4];
}

static void ioapic_write(struct ioapic *io, u32 reg, u32 value)
{
    io->regs[0] = reg;
    io->regs[4] = value;
}

// Every input is masked after reset, and firmware leaves none open that we would have to close
// before a handler is there: its interrupts go nowhere while no CPU takes any.
void ioapic_init(struct machine *m) { machine_add_ioapic(m, m->n_ioapics ? 0 : IOAPIC_DEFAULT, 0); }

static void start(struct ioapic *io)
{
    io->regs = arch_map_device(io->address, PAGE_SIZE);
    io->n_inputs = (ioapic_read(io, REG_VERSION) >> 16 & 0xff) + 1;
    for (u32 i = 0; i < io->n_inputs; i++)
        ioapic_write(io, REG_ENTRY(i), ENTRY_MASKED);
}

// => The controller that has the input, NULL if none.
static struct ioapic *find(u32 gsi)
{
    for (u32 i = 0; i < machine.n_ioapics; i++) {
        struct ioapic *io = &machine.ioapic[i];
        if (gsi < io->gsi_base)
            continue;
        if (!io->regs)
            start(io);
        if (gsi - io->gsi_base < io->n_inputs)
            return io;
    }
    return NULL;
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
    struct ioapic *io = find(gsi);
    if (!io)
        return -EINVAL;
    int err = irq_set_handler(line, handler, arg);
    if (err)
        return err;
    ioapic_write(io, REG_ENTRY(gsi - io->gsi_base) + 1, cpus[0]->hw_id << 24);
    ioapic_write(io, REG_ENTRY(gsi - io->gsi_base), entry);
    return 0;
}

// Messages take the lines from the top down: those of the I/O APICs begin at 0. The target is the boot CPU's local APIC
// (Intel SDM volume 3, 11.11).
int platform_msi_request(u32 function, void (*handler)(void *), void *arg, u64 *address, u32 *data)
{
    for (u32 line = VEC_IRQ_COUNT - 1; line >= 24; line--) {
        if (irq_set_handler(line, handler, arg) == 0) {
            *address = 0xfee00000u | (cpus[0]->hw_id & 0xff) << 12;
            *data = VEC_IRQ_BASE + line;
            return 0;
        }
    }
    return -ENODEV;
}
