// SPDX-License-Identifier: BSD-2-Clause
// gdt.c: segments and task state segment of each CPU (Intel SDM volume 3, chapters 3 and 7).
//
// The selectors are those of Linux, because they show in ucontext. There is no 32-bit user code
// segment, so user code can never leave 64-bit mode. Two exceptions stacks for each CPU:
//   IST 1  #DB, #DF, #MC   may find the stack pointer unusable or GS undecided
//   IST 2  NMI             may interrupt any of those
// The word above each holds the CPU-local area's address, for entry.S.
#include "core/cpu.h"
#include "entry.h"

struct __packed tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1;
    u64 ist[7];
    u64 reserved2;
    u16 reserved3;
    u16 io_bitmap;  // beyond the limit: no port is open to user mode
};
_Static_assert(sizeof(struct tss) == 104, "TSS");

struct exception_stack {
    u64 space[510];
    struct cpu *cpu;  // 16-byte aligned: where the stack begins
    u64 pad;
} __aligned(16);

static DEFINE_PERCPU(u64, gdt)[GDT_ENTRIES];
static DEFINE_PERCPU(struct tss, tss);
static DEFINE_PERCPU(struct exception_stack, fault_stack);
static DEFINE_PERCPU(struct exception_stack, nmi_stack);

#define GDT_KERNEL_CODE 0x00af9b000000ffffull
#define GDT_KERNEL_DATA 0x00cf93000000ffffull
#define GDT_USER_DATA 0x00cff3000000ffffull
#define GDT_USER_CODE 0x00affb000000ffffull
#define GDT_LIMIT_ONLY 0x0040f50000000000ull  // expand-up, read-only, ring 3, bytes

static u64 limit_descriptor(u32 limit)
{
    return GDT_LIMIT_ONLY | (limit & 0xffff) | (u64)(limit & 0xf0000) << 32;
}

static void load_segments(u64 *table)
{
    struct __packed {
        u16 limit;
        u64 base;
    } pointer = {GDT_ENTRIES * 8 - 1, (u64)table};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\tmovl %2, %%eax\n\t"
                     "movl %%eax, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"  // not fs and gs: that would clear their bases
                     "movl %%eax, %%ds\n\t"
                     "movl %%eax, %%es\n\t"
                     "movl %3, %%eax\n\t"
                     "ltr %%ax"
                     :
                     : "m"(pointer), "i"(SEL_KERNEL_CS), "i"(SEL_KERNEL_DS), "i"(SEL_TSS)
                     : "rax", "memory");
}

void gdt_init_cpu(struct cpu *cpu)
{
    struct tss *t = percpu_ptr_of(cpu, tss);
    struct exception_stack *fault = percpu_ptr_of(cpu, fault_stack);
    struct exception_stack *nmi = percpu_ptr_of(cpu, nmi_stack);
    fault->cpu = nmi->cpu = cpu;
    t->ist[0] = (u64)&fault->cpu;
    t->ist[1] = (u64)&nmi->cpu;
    t->io_bitmap = sizeof(*t);

    u64 *g = *percpu_ptr_of(cpu, gdt), base = (u64)t;
    g[SEL_KERNEL_CS >> 3] = GDT_KERNEL_CODE;
    g[SEL_KERNEL_DS >> 3] = GDT_KERNEL_DATA;
    g[SEL_USER_DS >> 3] = GDT_USER_DATA;
    g[SEL_USER_CS >> 3] = GDT_USER_CODE;
    g[SEL_TSS >> 3] =
        (sizeof(*t) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    g[(SEL_TSS >> 3) + 1] = base >> 32;
    g[SEL_CPU_NUMBER >> 3] = limit_descriptor(cpu->id);
    load_segments(g);
}

void gdt_set_kernel_stack(u64 top) { percpu(tss).rsp[0] = top; }
