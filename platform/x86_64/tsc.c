// SPDX-License-Identifier: BSD-2-Clause
// tsc.c: the rate of the time stamp counter, and the time of day.
//
// Whoever knows the rate is asked before anything is measured: KVM (paravirtual clock), the
// hypervisor's timing leaf 0x40000010, Hyper-V, the CPU (leaf 0x15). Else it is measured: against
// the APIC counter, which QEMU's emulator runs at 1 GHz, or against the ACPI or the old timer.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/time.h"
#include "platform/x86_64/apic.h"
#include "platform/x86_64/platform_x86.h"

#define APIC_HZ_VIRTUAL 1000000000ull  // QEMU's and KVM's local APIC
#define KVM_FEATURE_CLOCKSOURCE2 BIT(3)
#define PVCLOCK_TSC_STABLE 1

static u64 hz;
static bool exact;    // told, not measured
static bool user_ok;  // the counter can be read by programs

u64 tsc_hz(void) { return hz; }

// Linux Documentation/virt/kvm/x86/msr.rst; the structures are the hypervisor's ABI.
// The version is odd while the hypervisor writes. The structure is kept registered: a migration may bring the guest to a
// host whose TSC runs at another rate, and then it changes.
static volatile struct pvclock {
    u32 version, pad;
    u64 tsc_timestamp, system_time;
    u32 mul;
    s8 shift;
    u8 flags, pad2[2];
} pvclock __aligned(32);
static u32 pvclock_seen;  // version that the rate was taken from; 0: no such clock
static volatile struct {
    u32 version, sec, nsec;
} wall_clock __aligned(16);

// A consistent copy. => false if the hypervisor has written none.
static bool pvclock_read(struct pvclock *out)
{
    u32 version;
    do {
        version = pvclock.version;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        out->tsc_timestamp = pvclock.tsc_timestamp;
        out->system_time = pvclock.system_time;
        out->mul = pvclock.mul;
        out->shift = pvclock.shift;
        out->flags = pvclock.flags;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while ((version & 1) || version != pvclock.version);
    out->version = version;
    return version && out->mul && out->shift > -32 && out->shift < 32;
}

// ns = (ticks << shift) * mul >> 32
static u64 pvclock_hz(const struct pvclock *p)
{
    u64 unshifted = (NSEC_PER_SEC << 32) / p->mul;
    return p->shift < 0 ? unshifted << -p->shift : unshifted >> p->shift;
}

void tsc_check_rate(void)
{
    struct pvclock now;
    if (likely(pvclock.version == pvclock_seen) || !pvclock_seen || !pvclock_read(&now))
        return;
    pvclock_seen = now.version;
    u64 new_hz = pvclock_hz(&now);
    u64 change = new_hz > hz ? new_hz - hz : hz - new_hz;
    if (change < hz >> 16)  // rounding, not another host
        return;
    log_info("TSC rate %lu Hz, was %lu Hz: the machine has moved", new_hz, hz);
    hz = new_hz;
    clock_set_rate(hz);
    apic_timer_tsc_rate_changed(hz);
}

static bool pvclock_rate(void)
{
    struct pvclock now;
    if (!x86_features.kvm || !(x86_features.kvm_features & KVM_FEATURE_CLOCKSOURCE2))
        return false;
    wrmsr(MSR_KVM_SYSTEM_TIME, virt_to_phys((const void *)&pvclock) | 1);
    if (!pvclock_read(&now)) {
        wrmsr(MSR_KVM_SYSTEM_TIME, 0);
        return false;
    }
    pvclock_seen = now.version;
    hz = pvclock_hz(&now);
    user_ok = now.flags & PVCLOCK_TSC_STABLE;
    wrmsr(MSR_KVM_WALL_CLOCK, virt_to_phys((const void *)&wall_clock));
    // Boot time of the guest, plus what its clock says now.
    u64 since_boot =
        now.system_time + mul_div(arch_counter() - now.tsc_timestamp, NSEC_PER_SEC, hz);
    clock_set_rate(hz);
    clock_set_real(wall_clock.sec * NSEC_PER_SEC + wall_clock.nsec + since_boot);
    return true;
}

#define MSR_HV_TSC_FREQUENCY 0x40000022
#define HV_ACCESS_FREQUENCY_MSRS BIT(11)

static bool told_rate(void)
{
    const struct x86_features *f = &x86_features;
    if (pvclock_rate())
        return true;
    if (f->hypervisor && f->hv_max_leaf >= 0x40000010)
        hz = cpuid(0x40000010, 0).eax * 1000ull;
    if (!hz && f->hypervisor && f->hv_max_leaf >= 0x40000003 &&
        cpuid(0x40000001, 0).eax == 0x31237648 &&  // "Hv#1"
        (cpuid(0x40000003, 0).eax & HV_ACCESS_FREQUENCY_MSRS))
        hz = rdmsr(MSR_HV_TSC_FREQUENCY);
    if (!hz && f->max_leaf >= 0x15) {
        struct cpuid c = cpuid(0x15, 0);
        if (c.eax && c.ebx && c.ecx)
            hz = (u64)c.ecx * c.ebx / c.eax;
    }
    return hz != 0;
}

struct sample {
    u64 tsc;
    u32 count;
    u32 width;  // TSC ticks that the pair took
};

static struct sample apic_sample(void)
{
    u64 before = arch_counter();
    u32 count = apic_timer_count();
    u64 after = arch_counter();
    return (struct sample){before + (after - before) / 2, count, after - before};
}

static struct sample best_sample(void)
{
    struct sample best = apic_sample();
    for (int i = 0; i < 3; i++) {
        struct sample s = apic_sample();
        if (s.width < best.width)
            best = s;
    }
    return best;
}

// As long as it takes for the uncertainty of the two readings to be 1/256 of the interval, but at
// most 60 us. With QEMU's -icount reading takes a few ticks and both counters show the same
// virtual nanoseconds: then the rate is 1 GHz sharp.
static void measure_with_apic(void)
{
    struct sample a = best_sample(), b;
    u32 ns;
    do {
        b = apic_sample();
        ns = a.count - b.count;
    } while (ns < 60000 && (b.tsc - a.tsc < 256ull * (a.width + b.width) || ns < 500));
    hz = mul_div(b.tsc - a.tsc, APIC_HZ_VIRTUAL, ns);
    s64 difference = (s64)(b.tsc - a.tsc) - ns;
    if (a.width + b.width < 64 && difference > -64 && difference < 64) {
        hz = APIC_HZ_VIRTUAL;
        exact = true;
    }
    user_ok = true;
}

#define PM_TIMER_HZ 3579545
#define PIT_HZ 1193182

// 2 ms of a timer that counts by itself.
static bool measure_with_pm_timer(void)
{
    u32 port = acpi_pm_timer_port();
    if (!port)
        return false;
    u32 start = inl(port), ticks;
    u64 tsc = arch_counter();
    u32 limit = 10000000;
    do
        ticks = (inl(port) - start) & 0xffffff;
    while (ticks < PM_TIMER_HZ / 500 && --limit);
    if (!limit)
        return false;
    hz = mul_div(arch_counter() - tsc, PM_TIMER_HZ, ticks);
    return true;
}

// Channel 0 of the 8254, which counts without a gate: port 0x61, which gates channel 2, is not on every machine.
static u16 pit_count(void)
{
    outb(0x43, 0);  // latch channel 0
    u16 low = inb(0x40);
    return low | inb(0x40) << 8;
}

#define PIT_TICKS (PIT_HZ / 200)
#define PIT_STUCK 1000      // reads after which it must have moved
#define PIT_READS 10000000  // and come to the end

static bool measure_with_pit(void)
{
    outb(0x43, 0x34);  // channel 0, rate generator, from 65536 down
    outb(0x40, 0);
    outb(0x40, 0);
    u16 start = pit_count(), ticks = 0;
    u64 tsc = arch_counter();
    for (u32 i = 0; ticks < PIT_TICKS; i++) {
        if (i > PIT_READS || (i > PIT_STUCK && ticks == 0))
            return false;
        ticks = start - pit_count();
    }
    hz = mul_div(arch_counter() - tsc, PIT_HZ, ticks);
    return true;
}

// ---------------------------------------------------------------- time of day

static u8 cmos(u8 reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static u32 from_bcd(u32 v) { return (v >> 4) * 10 + (v & 15); }

// Days from 1970-01-01 in the Gregorian calendar; the year begins in March, so that the day that
// comes and goes is its last one.
static u64 days_of(u32 year, u32 month, u32 day)
{
    if (month <= 2) {
        year--;
        month += 12;
    }
    return 365ull * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day -
           1 - 719468;
}

// Motorola MC146818A. => Seconds since 1970, 0 if there is no clock.
static u64 rtc_read(void)
{
    u32 v[6];
    static const u8 regs[6] = {0, 2, 4, 7, 8, 9};  // second, minute, hour, day, month, year
    u8 mode = cmos(0x0b);
    if (mode == 0xff)
        return 0;
    do {
        for (u32 limit = 1000000; (cmos(0x0a) & 0x80) && --limit;)  // being changed
            ;
        for (int i = 0; i < 6; i++)
            v[i] = cmos(regs[i]);
    } while (v[0] != cmos(0));
    bool pm = !(mode & 2) && (v[2] & 0x80);
    v[2] &= 0x7f;
    for (int i = 0; !(mode & 4) && i < 6; i++)
        v[i] = from_bcd(v[i]);
    if (!(mode & 2))
        v[2] = v[2] % 12 + (pm ? 12 : 0);
    return ((days_of(2000 + v[5], v[4], v[3]) * 24 + v[2]) * 60 + v[1]) * 60 + v[0];
}

__cold void tsc_init(void)
{
    u64 apic_hz = APIC_HZ_VIRTUAL;
    const struct x86_features *f = &x86_features;

    apic_timer_start_free();
    if (told_rate()) {
        exact = true;
        user_ok |= f->invariant_tsc;
    } else if (f->tcg || f->kvm) {
        measure_with_apic();
    } else {
        if (!measure_with_pm_timer() && !measure_with_pit())
            noboot("no timer to measure the time stamp counter with");
        user_ok = f->invariant_tsc;
    }
    clock_set_rate(hz);
    if (!f->tcg && !f->kvm) {  // an APIC of unknown rate: 1 ms by the TSC
        struct sample a = apic_sample(), b;
        do
            b = apic_sample();
        while (b.tsc - a.tsc < hz / 1000);
        apic_hz = mul_div(a.count - b.count, hz, b.tsc - a.tsc);
    }
    if (f->tsc_deadline && exact)
        apic_timer_use_tsc_deadline(hz);
    else
        apic_timer_set_rate(apic_hz, f->tcg && !exact);
    clock_set_user_readable(user_ok);
    if (ktime_real_ns() < NSEC_PER_SEC * 1000000)
        clock_set_real(rtc_read() * NSEC_PER_SEC);
    log_debug("TSC rate %lu Hz%s, APIC timer %lu Hz%s", hz, exact ? "" : " (measured)", apic_hz,
              user_ok ? "" : ", clock only through system calls");
}
