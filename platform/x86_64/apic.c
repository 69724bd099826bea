// SPDX-License-Identifier: BSD-2-Clause
// apic.c: local APIC: interrupts between CPUs, the end of an interrupt, and the clock event.
//
// The clock event is the TSC deadline where the CPU has one and the TSC rate is exact, else the
// APIC's own down counter.
//
// The counter as reference. Under an emulator the rate of the TSC is only known from a measurement
// of some microseconds at boot (tsc.c), good to a tenth of a percent, but the APIC counter runs at an
// exact 1 GHz. So for the first half minute the boot CPU sets its counter to repeat: then the count
// tells not only how long ago it was set, but also how long ago it expired. Each time before it is
// set anew, the time that it has counted and the TSC's for the same interval are added to two sums,
// whose ratio gets better the longer they are, at no cost but one read of the counter for each
// programming of the clock event. Intervals below 1 ms are left out: a repetition of microseconds
// would keep QEMU's timer loop from ever ending.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "arch/regs.h"
#include "arch/smp.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/time.h"
#include "core/wait.h"
#include "platform/x86_64/apic.h"
#include "platform/x86_64/platform_x86.h"

enum {  // register offsets; as MSRs: MSR_X2APIC + offset / 16
    APIC_ID = 0x20,
    APIC_TPR = 0x80,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};
#define APIC_BASE_ENABLE BIT(11)
#define APIC_BASE_X2APIC BIT(10)
#define APIC_SOFT_ENABLE BIT(8)
#define APIC_DIVIDE_BY_1 0xb
#define LVT_MASKED BIT(16)
#define LVT_NMI (4 << 8)
#define LVT_EXTINT (7 << 8)
#define LVT_PERIODIC BIT(17)
#define LVT_TSC_DEADLINE BIT(18)
#define ICR_INIT (5 << 8)
#define ICR_STARTUP (6 << 8)
#define ICR_ASSERT BIT(14)
#define ICR_BUSY BIT(12)

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK 0xa1

static volatile u32 *mmio;  // NULL: x2APIC

static u32 apic_read(u32 reg) { return mmio ? mmio[reg / 4] : (u32)rdmsr(MSR_X2APIC + reg / 16); }

static void apic_write(u32 reg, u32 value)
{
    if (mmio)
        mmio[reg / 4] = value;
    else
        wrmsr(MSR_X2APIC + reg / 16, value);
}

u32 apic_id(void)
{
    u32 id = apic_read(APIC_ID);
    return mmio ? id >> 24 : id;
}

void apic_eoi(void) { apic_write(APIC_EOI, 0); }

static void send(u32 to, u32 command)
{
    if (!mmio) {
        __asm__ volatile("mfence; lfence" ::: "memory");  // x2APIC writes do not order memory
        wrmsr(MSR_X2APIC + APIC_ICR / 16, (u64)to << 32 | command);
        return;
    }
    while (!x86_features.hypervisor && (apic_read(APIC_ICR) & ICR_BUSY))  // a virtual one never is
        arch_cpu_relax();
    apic_write(APIC_ICR_HIGH, to << 24);
    apic_write(APIC_ICR, command);
}

void arch_send_ipi(u32 hw_id) { send(hw_id, VEC_CROSS | ICR_ASSERT); }

void apic_send_init(u32 to) { send(to, ICR_INIT | ICR_ASSERT); }

void apic_send_startup(u32 to, unsigned page_number)
{
    send(to, ICR_STARTUP | ICR_ASSERT | page_number);
}

void apic_init_boot(void)
{
    if (!x86_features.x2apic)
        mmio = arch_map_device(rdmsr(MSR_APIC_BASE) & X86_PTE_FRAME, PAGE_SIZE);
}

// ---------------------------------------------------------------- clock event

static struct {
    bool tsc_deadline;
    u64 mult;  // ticks = ns * mult >> 32
} event;

static struct {
    bool on;
    u64 hz;          // of the APIC counter
    u32 initial;     // what it counts down from now
    bool periodic;   // and starts over
    u64 set_tsc;     // when it was set; 0: not known well enough
    u64 ticks, tsc;  // sums over the intervals that count
    unsigned round;
    struct timer timer;
} ref;

#define REF_MIN_TICKS 1000000u  // shorter ones go without repetition, and do not count

// When the rate is set anew: after so much time in intervals that count.
static const u64 ref_rounds_ns[] = {250 * NSEC_PER_MSEC, 2 * NSEC_PER_SEC, 10 * NSEC_PER_SEC,
                                    30 * NSEC_PER_SEC};

static void ref_look(void)
{
    u64 ns = mul_div(ref.ticks, NSEC_PER_SEC, ref.hz);
    if (ns < ref_rounds_ns[ref.round])
        return;
    u64 hz = mul_div(ref.tsc, NSEC_PER_SEC, ns);
    clock_set_rate(hz);
    log_debug("TSC rate %lu Hz after %lu ms", hz, ns / NSEC_PER_MSEC);
    if (++ref.round == ARRAY_SIZE(ref_rounds_ns))
        ref.on = false;
}

// Adds the interval that ends with the counter at count.
static void ref_add(u64 now_tsc, u32 count)
{
    // How often it has started over: by the rate that was measured at boot, which is good enough for
    // that as long as its error is far less than a turn of the counter.
    u64 tsc = now_tsc - ref.set_tsc;
    u64 since = mul_div(tsc, ref.hz, tsc_hz());
    u64 part = ref.initial - count, turns = 0;
    if (since / 256 > ref.initial / 4)
        return;
    if (since > part)
        turns = (since - part + ref.initial / 2) / ref.initial;
    ref.ticks += turns * ref.initial + part;
    ref.tsc += tsc;
    ref_look();
}

// Ends an interval and sets the counter for the next. Readings during which the host took the CPU
// away are of no use: those that took longer than 1/2^15 s.
static void ref_set_timer(u32 initial)
{
    u64 t[3], limit = tsc_hz() >> 15;
    bool periodic = initial >= REF_MIN_TICKS;

    t[0] = arch_counter();
    u32 count = apic_read(APIC_TIMER_CURRENT);
    t[1] = arch_counter();
    if (ref.periodic && ref.set_tsc && t[1] - t[0] < limit)
        ref_add(t[0] + (t[1] - t[0]) / 2, count);
    periodic &= ref.on;
    // The old count may be a short one and must not repeat for a moment either: it is replaced first.
    if (ref.periodic && !periodic)
        apic_write(APIC_LVT_TIMER, VEC_TIMER);
    t[1] = arch_counter();
    apic_write(APIC_TIMER_INITIAL, initial);
    t[2] = arch_counter();
    if (periodic && !ref.periodic)
        apic_write(APIC_LVT_TIMER, VEC_TIMER | LVT_PERIODIC);
    ref.initial = initial;
    ref.periodic = periodic;
    ref.set_tsc = t[2] - t[1] < limit ? t[1] + (t[2] - t[1]) / 2 : 0;
}

static void ref_timer(struct timer *t)
{
    // The clock event is programmed again behind every timer interrupt, which is all that is needed.
    if (ref.on)
        timer_arm(t, ktime_ns() + ref_rounds_ns[ref.round] + NSEC_PER_MSEC);
}

static void set_timer(u32 ticks)
{
    if (unlikely(ref.on) && this_cpu()->id == 0)
        ref_set_timer(ticks ? ticks : UINT32_MAX);
    else
        apic_write(APIC_TIMER_INITIAL, ticks);
}

void arch_clockevent_set(u64 deadline_ns)
{
    if (deadline_ns == NEVER) {
        if (event.tsc_deadline)
            wrmsr(MSR_TSC_DEADLINE, 0);
        else
            set_timer(0);
        return;
    }
    u64 now = ktime_ns();
    u64 delta = deadline_ns > now ? MIN(deadline_ns - now, 3600 * NSEC_PER_SEC) : 0;
    u64 ticks = ((unsigned __int128)delta * event.mult >> 32) + 1;
    if (event.tsc_deadline)
        wrmsr(MSR_TSC_DEADLINE, arch_counter() + ticks);
    else
        set_timer(MIN(ticks, (u64)UINT32_MAX));
}

void apic_timer_start_free(void)
{
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VEC_TIMER);
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
}

u32 apic_timer_count(void) { return apic_read(APIC_TIMER_CURRENT); }

void apic_timer_set_rate(u64 hz, bool reference)
{
    event.mult = mul_div(hz, BIT(32), NSEC_PER_SEC);
    ref.on = reference;
    ref.hz = hz;
    if (reference) {
        timer_init(&ref.timer, ref_timer);
        ref_timer(&ref.timer);
    }
}

void apic_timer_use_tsc_deadline(u64 hz)
{
    event.tsc_deadline = true;
    event.mult = mul_div(hz, BIT(32), NSEC_PER_SEC);
}

void apic_timer_tsc_rate_changed(u64 hz)
{
    if (event.tsc_deadline)
        apic_timer_use_tsc_deadline(hz);
}

void apic_init_cpu(void)
{
    if (!mmio)
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
    apic_write(APIC_SPURIOUS, APIC_SOFT_ENABLE | VEC_SPURIOUS);
    apic_write(APIC_TPR, 0);
    // The old controllers may have a timer tick from the firmware's time waiting for us. They are
    // silenced while LINT0 still listens to them, or QEMU's APIC would not see the request go.
    outb(PIC_MASTER_MASK, 0xff);
    outb(PIC_SLAVE_MASK, 0xff);
    apic_write(APIC_LVT_LINT0, LVT_MASKED | LVT_EXTINT);
    apic_write(APIC_LVT_LINT1, this_cpu()->id == 0 ? LVT_NMI : LVT_MASKED);
    apic_write(APIC_TIMER_DIVIDE, APIC_DIVIDE_BY_1);
}

// After the rate is known: the kind of clock event, on each CPU.
static void start_clock_event(void)
{
    u32 mode = event.tsc_deadline ? LVT_TSC_DEADLINE : 0;
    apic_write(APIC_LVT_TIMER, mode | VEC_TIMER);
    if (event.tsc_deadline)
        __asm__ volatile("mfence" ::: "memory");  // SDM 11.5.4.1: before the first deadline
}

void platform_init_cpu(void)
{
    if (this_cpu()->id != 0)
        apic_init_cpu();
    start_clock_event();
}

// ---------------------------------------------------------------- interrupts

void x86_interrupt(unsigned vector, struct regs *r)
{
    struct cpu *cpu = this_cpu();
    cpu->in_interrupt++;
    switch (vector) {
    case VEC_TIMER:
        apic_eoi();
        if (cpu->id == 0)
            tsc_check_rate();
        irq_timer(r);
        break;
    case VEC_CROSS:
        apic_eoi();
        irq_cross_call();
        break;
    case VEC_SPURIOUS: break;
    default:
        if (!irq_device(vector - VEC_IRQ_BASE))
            log_debug("interrupt vector %u has no handler", vector);
        apic_eoi();  // behind the handler: a level-triggered line is quiet then
        break;
    }
    cpu->in_interrupt--;
}
