// SPDX-License-Identifier: BSD-2-Clause
// idt.c: the interrupt descriptor table, one for all CPUs (Intel SDM volume 3, 6.11).
#include "entry.h"

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};

static struct gate idt[256] __aligned(16);

#define GATE_KERNEL 0x8e  // present, interrupt gate: clears IF
#define GATE_USER 0xee    // the same, and user mode may use INT n for it

#define FOR_EACH_EXCEPTION(X)                 \
    X(0, divide_error, 0, GATE_KERNEL)        \
    X(1, debug, 1, GATE_KERNEL)               \
    X(2, nmi, 2, GATE_KERNEL)                 \
    X(3, breakpoint, 0, GATE_USER)            \
    X(4, overflow, 0, GATE_USER)              \
    X(5, bound, 0, GATE_KERNEL)               \
    X(6, invalid_opcode, 0, GATE_KERNEL)      \
    X(7, no_device, 0, GATE_KERNEL)           \
    X(8, double_fault, 1, GATE_KERNEL)        \
    X(9, coprocessor_overrun, 0, GATE_KERNEL) \
    X(10, invalid_tss, 0, GATE_KERNEL)        \
    X(11, no_segment, 0, GATE_KERNEL)         \
    X(12, stack_fault, 0, GATE_KERNEL)        \
    X(13, general_protection, 0, GATE_KERNEL) \
    X(14, page_fault, 0, GATE_KERNEL)         \
    X(15, reserved, 0, GATE_KERNEL)           \
    X(16, fpu_error, 0, GATE_KERNEL)          \
    X(17, alignment_check, 0, GATE_KERNEL)    \
    X(18, machine_check, 1, GATE_KERNEL)      \
    X(19, simd_error, 0, GATE_KERNEL)         \
    X(20, virtualization, 0, GATE_KERNEL)     \
    X(21, control_protection, 0, GATE_KERNEL)

#define DECLARE_ENTRY(vector, name, ist, type) void entry_##name(void);
FOR_EACH_EXCEPTION(DECLARE_ENTRY)
extern const char irq_stubs[];  // eight bytes each, from vector VEC_IRQ_BASE on

static void set_gate(unsigned vector, uintptr_t entry, unsigned ist, unsigned type)
{
    idt[vector] = (struct gate){
        .offset_low = (u16)entry,
        .selector = SEL_KERNEL_CS,
        .ist = (u8)ist,
        .type = (u8)type,
        .offset_middle = (u16)(entry >> 16),
        .offset_high = (u32)(entry >> 32),
    };
}

void idt_init(void)
{
#define SET_GATE(vector, name, ist, type) set_gate(vector, (uintptr_t)entry_##name, ist, type);
    FOR_EACH_EXCEPTION(SET_GATE)
    for (unsigned v = VEC_IRQ_BASE; v < 256; v++)
        set_gate(v, (uintptr_t)irq_stubs + 8 * (v - VEC_IRQ_BASE), 0, GATE_KERNEL);
}

void idt_load(void)
{
    struct __packed {
        u16 limit;
        u64 base;
    } pointer = {sizeof(idt) - 1, (u64)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}
