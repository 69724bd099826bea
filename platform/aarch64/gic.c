// SPDX-License-Identifier: BSD-2-Clause
// gic.c: the generic interrupt controller, versions 2 (Arm IHI 0048) and 3 (IHI 0069).
//
// Interrupts: 0..15 between CPUs, of which we use 0; 16..31 of each CPU, the timer among them; from 32 on devices' lines;
// from 8192 on messages of the ITS (its.c). All that comes from devices goes to the boot CPU. Device trees name a line by
// its number above 32; irq.c knows interrupts by the order in which they were asked for.
//
// Cross-calls have a higher priority than the rest, so that a CPU which waits for others can let them alone through.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch/regs.h"
#include "arch/smp.h"
#include "core/atomic.h"
#include "core/cpu.h"
#include "core/irq.h"
#include "core/log.h"
#include "platform/aarch64/platform_a64.h"

enum {  // distributor
    GICD_CTLR = 0x000,
    GICD_TYPER = 0x004,
    GICD_IGROUPR = 0x080,
    GICD_ISENABLER = 0x100,
    GICD_ICENABLER = 0x180,
    GICD_IPRIORITYR = 0x400,
    GICD_ITARGETSR = 0x800,
    GICD_ICFGR = 0xc00,
    GICD_SGIR = 0xf00,
    GICD_IROUTER = 0x6000,
};
enum { GICC_CTLR = 0x00, GICC_PMR = 0x04, GICC_IAR = 0x0c, GICC_EOIR = 0x10 };
enum {  // redistributor: two frames of 64 KiB a CPU, four in version 4
    GICR_TYPER = 0x08,
    GICR_WAKER = 0x14,
    GICR_SGI_FRAME = 0x10000,
    GICR_FRAME_BYTES = 0x20000,
};
#define CTLR_ENABLE_V2 1
#define CTLR_ENABLE_V3 0x12  // affinity routing, group 1
#define CTLR_PENDING BIT(31)
#define TYPER_LAST BIT(4)
#define TYPER_VLPIS BIT(1)
#define WAKER_SLEEP BIT(1)
#define WAKER_ASLEEP BIT(2)

#define SGI_CROSS 0
#define FIRST_SPI 32
#define FIRST_SPECIAL 1020
#define FIRST_MESSAGE 8192
#define ICFGR_EDGE 2  // of two bits an interrupt
#define PRIORITY_CROSS 0x80
#define PRIORITY_MASK_CROSS 0x90  // lets through what is below it
#define PRIORITY_OTHERS 0xa0
#define PRIORITY_MASK_NONE 0xf0

void a64_interrupt(struct regs *r);

static volatile char *dist, *cpu_if;
static u32 n_intids;
static volatile char *boot_redist;
static phys_t boot_redist_pa;
static u32
    handler_id[IRQ_LINES];  // interrupt of each line of irq.c; several lines may have the same
static u32 n_handlers;      // atomic: read by interrupts
static DEFINE_PERCPU(u32, target_mask);  // GICv2: this CPU's bit in target lists

// ---------------------------------------------------------------- the CPU's side

static inline u32 acknowledge(void)
{
    if (cpu_if)
        return mmio_read32(cpu_if, GICC_IAR);
    u32 id = (u32)sysreg_read(s3_0_c12_c12_0);  // ICC_IAR1_EL1
    dsb(sy);
    return id;
}

static inline void end_of_interrupt(u32 id)
{
    if (cpu_if) {
        mmio_write32(cpu_if, GICC_EOIR, id);
    } else {
        sysreg_write(s3_0_c12_c12_1, id);  // ICC_EOIR1_EL1
        isb();
    }
}

static inline void set_priority_mask(u32 mask)
{
    if (cpu_if)
        mmio_write32(cpu_if, GICC_PMR, mask);
    else
        sysreg_write(s3_0_c4_c6_0, mask);  // ICC_PMR_EL1
    dsb(sy);
}

void arch_wait_cross(void)
{
    set_priority_mask(PRIORITY_MASK_CROSS);
    arch_idle_wait();
    set_priority_mask(PRIORITY_MASK_NONE);
}

void arch_send_ipi(u32 hw_id)
{
    dsb(ishst);  // what the call is about must be seen first
    if (cpu_if) {
        for (u32 i = 0; i < n_cpus; i++) {
            if (cpus[i]->hw_id == hw_id)
                mmio_write32(dist, GICD_SGIR,
                             *percpu_ptr_of(cpus[i], target_mask) << 16 | SGI_CROSS);
        }
        return;
    }
    u64 aff0 = hw_id & 0xff;
    sysreg_write(s3_0_c12_c11_5,  // ICC_SGI1R_EL1
                 (u64)(hw_id >> 24) << 48 | (aff0 >> 4) << 44 | (u64)(hw_id >> 16 & 0xff) << 32 |
                     (u64)SGI_CROSS << 24 | (u64)(hw_id >> 8 & 0xff) << 16 | BIT(aff0 & 15));
    isb();
}

static void device_interrupt(u32 id)
{
    bool handled = false;
    for (u32 line = 0, n = atomic_load(&n_handlers); line < n; line++) {
        if (handler_id[line] == id)
            handled |= irq_device(line);
    }
    if (!handled)
        log_debug("interrupt %u has no handler", id);
}

void a64_interrupt(struct regs *r)
{
    struct cpu *cpu = this_cpu();
    u32 ack = acknowledge(), id = ack & (cpu_if ? 0x3ff : 0xffffff);
    if (id >= FIRST_SPECIAL && id < FIRST_MESSAGE)
        return;
    cpu->in_interrupt++;
    if (id == machine.timer_intid) {
        irq_timer(r);  // sets or stops the timer, so the level is low again
        end_of_interrupt(ack);
    } else if (id < FIRST_SPI) {
        end_of_interrupt(ack);
        irq_cross_call();
    } else {
        device_interrupt(id);
        end_of_interrupt(ack);
    }
    cpu->in_interrupt--;
}

// ---------------------------------------------------------------- start

static void wait_for_distributor(void)
{
    while (machine.gic == GIC_V3 && (mmio_read32(dist, GICD_CTLR) & CTLR_PENDING))
        arch_cpu_relax();
}

static void set_priorities(volatile char *frame, u32 from, u32 to, u8 priority)
{
    for (u32 id = from; id < to; id += 4)
        mmio_write32(frame, GICD_IPRIORITYR + id, priority * 0x01010101u);
}

// Device interrupts are set up one by one when somebody asks for them; all that the firmware left on is turned off.
void gic_init(void)
{
    if (machine.gic == GIC_NONE)
        noboot("the firmware tells of no interrupt controller that Lethe knows (GICv2, GICv3)");
    dist = arch_map_device(machine.gic_dist.base, machine.gic_dist.size);
    if (machine.gic == GIC_V2)
        cpu_if = arch_map_device(machine.gic_cpu.base, machine.gic_cpu.size);
    mmio_write32(dist, GICD_CTLR, 0);
    wait_for_distributor();
    log_debug("interrupt controller: GICv%d", machine.gic == GIC_V2 ? 2 : 3);
    n_intids = MIN(((mmio_read32(dist, GICD_TYPER) & 31) + 1) * 32, (u32)FIRST_SPECIAL);
    for (u32 id = FIRST_SPI; id < n_intids; id += 32)
        mmio_write32(dist, GICD_ICENABLER + id / 8, UINT32_MAX);
    mmio_write32(dist, GICD_CTLR, machine.gic == GIC_V2 ? CTLR_ENABLE_V2 : CTLR_ENABLE_V3);
    wait_for_distributor();
}

// This CPU's redistributor. => NULL: the tree lists none
static volatile char *find_redistributor(u32 hw_id, phys_t *pa)
{
    for (u32 i = 0; i < MAX_REDIST; i++) {
        u64 size = machine.gic_redist[i].size;
        if (!size)
            continue;
        volatile char *frame = arch_map_device(machine.gic_redist[i].base, size);
        for (u64 at = 0; at + GICR_FRAME_BYTES <= size;) {
            u32 low = mmio_read32(frame + at, GICR_TYPER);
            if (mmio_read32(frame + at, GICR_TYPER + 4) == hw_id) {
                *pa = machine.gic_redist[i].base + at;
                return frame + at;
            }
            if (low & TYPER_LAST)
                break;
            at += low & TYPER_VLPIS ? 2 * GICR_FRAME_BYTES : GICR_FRAME_BYTES;
        }
    }
    return NULL;
}

// The 32 interrupts of this CPU: the cross-call and the timer on, all others off.
static void init_private(volatile char *frame)
{
    mmio_write32(frame, GICD_ICENABLER, UINT32_MAX);
    set_priorities(frame, 0, 16, PRIORITY_CROSS);
    set_priorities(frame, 16, 32, PRIORITY_OTHERS);
    mmio_write32(frame, GICD_ISENABLER, BIT(SGI_CROSS) | BIT(machine.timer_intid));
}

static void init_cpu_v3(void)
{
    phys_t pa;
    volatile char *redist = find_redistributor(mpidr_id(sysreg_read(mpidr_el1)), &pa);
    if (!redist)
        panic("CPU %u has no GIC redistributor", this_cpu()->id);
    if (this_cpu()->id == 0) {
        boot_redist = redist;
        boot_redist_pa = pa;
    }
    mmio_write32(redist, GICR_WAKER, mmio_read32(redist, GICR_WAKER) & ~(u32)WAKER_SLEEP);
    while (mmio_read32(redist, GICR_WAKER) & WAKER_ASLEEP)
        arch_cpu_relax();
    mmio_write32(redist + GICR_SGI_FRAME, GICD_IGROUPR, UINT32_MAX);
    init_private(redist + GICR_SGI_FRAME);
    sysreg_write(s3_0_c12_c12_5, sysreg_read(s3_0_c12_c12_5) | 1);  // ICC_SRE_EL1: system registers
    isb();
    sysreg_write(s3_0_c12_c12_3, 0);  // ICC_BPR1_EL1
    sysreg_write(s3_0_c12_c12_4, 0);  // ICC_CTLR_EL1: one write ends an interrupt
    set_priority_mask(PRIORITY_MASK_NONE);
    sysreg_write(s3_0_c12_c12_7, 1);  // ICC_IGRPEN1_EL1
    isb();
}

void gic_init_cpu(void)
{
    if (machine.gic == GIC_V3) {
        init_cpu_v3();
        return;
    }
    percpu(target_mask) = mmio_read32(dist, GICD_ITARGETSR) & 0xff;
    init_private(dist);
    set_priority_mask(PRIORITY_MASK_NONE);
    mmio_write32(cpu_if, GICC_CTLR, 1);
}

static void write_byte(u32 offset, u8 value) { mmio_write8(dist, offset, value); }

static void set_trigger(u32 id, bool edge)
{
    u32 at = GICD_ICFGR + id / 16 * 4, bit = ICFGR_EDGE << id % 16 * 2;
    u32 now = mmio_read32(dist, at), wanted = edge ? now | bit : now & ~bit;
    if (wanted != now)
        mmio_write32(dist, at, wanted);
}

volatile char *gic_boot_redistributor(phys_t *pa)
{
    *pa = boot_redist_pa;
    return boot_redist;
}

u32 gic_type(void) { return mmio_read32(dist, GICD_TYPER); }

// Requests come from the boot CPU while it starts its devices, one after the other.
int gic_add_handler(u32 id, void (*handler)(void *), void *arg)
{
    u32 line = n_handlers;
    if (line == IRQ_LINES)
        return -ENOSPC;
    int err = irq_set_handler(line, handler, arg);
    if (err)
        return err;
    log_debug("interrupt %u is line %u", id, line);
    handler_id[line] = id;
    atomic_store(&n_handlers, line + 1);
    return 0;
}

// `line` is what device trees call a shared peripheral interrupt.
int platform_irq_request(unsigned line, void (*handler)(void *), void *arg)
{
    u32 id = line + FIRST_SPI;
    int err = line < N_SPI && id < n_intids ? gic_add_handler(id, handler, arg) : -EINVAL;
    if (err)
        return err;
    set_trigger(id, machine.edge_lines[line / 32] >> line % 32 & 1);
    write_byte(GICD_IPRIORITYR + id, PRIORITY_OTHERS);
    if (machine.gic == GIC_V2) {
        write_byte(GICD_ITARGETSR + id, (u8)*percpu_ptr_of(cpus[0], target_mask));
    } else {
        u32 group = mmio_read32(dist, GICD_IGROUPR + id / 32 * 4);
        u64 route = mpidr_of(cpus[0]->hw_id);
        mmio_write32(dist, GICD_IGROUPR + id / 32 * 4, group | (u32)BIT(id % 32));
        mmio_write32(dist, GICD_IROUTER + id * 8, (u32)route);
        mmio_write32(dist, GICD_IROUTER + id * 8 + 4, (u32)(route >> 32));
    }
    mmio_write32(dist, GICD_ISENABLER + id / 32 * 4, (u32)BIT(id % 32));
    return 0;
}
