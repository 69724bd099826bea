// SPDX-License-Identifier: BSD-2-Clause
// smp.c: bringing up the CPUs beyond the first.
#include <string.h>

#include "arch/cpu.h"
#include "arch/smp.h"
#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/smp.h"
#include "mm/page.h"
#include "syscall/syscall.h"
#include "task/thread.h"

extern char percpu_start[], percpu_end[];

static u32 online;  // atomic: number of CPUs that have come up

// => On the new CPU, on its idle stack.
void smp_cpu_main(struct cpu *cpu)
{
    arch_init_cpu(cpu);
    platform_init_cpu();
    syscall_init_cpu_counts();
    sched_init_cpu();
    atomic_add(&online, 1);
    sched_start_cpu_main();
}

static unsigned order_of(size_t len)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < len)
        order++;
    return order;
}

// The area begins with struct cpu, as the boot CPU's does.
static struct cpu *make_area(u32 id, u32 hw_id)
{
    size_t len = percpu_end - percpu_start;
    struct page *page = page_alloc(order_of(len), 0);
    if (!page)
        return NULL;
    struct cpu *cpu = page_address(page);
    memset(cpu, 0, len);
    cpu->self = cpu;
    cpu->percpu_offset = (uintptr_t)cpu - (uintptr_t)percpu_start;
    cpu->id = id;
    cpu->hw_id = hw_id;
    return cpu;
}

static void start_one(u32 id, u32 hw_id)
{
    struct cpu *cpu = make_area(id, hw_id);
    struct page *stack = page_alloc(order_of(KERNEL_STACK_SIZE), 0);
    if (!cpu || !stack) {
        log_error("no memory to start CPU %u", id);
        return;
    }
    cpus[id] = cpu;
    n_cpus = id + 1;
    if (arch_cpu_start(cpu, (char *)page_address(stack) + KERNEL_STACK_SIZE)) {
        log_error("CPU %u (hardware id %u) does not start", id, hw_id);
        n_cpus = id;  // its memory stays taken: it might still come
        cpus[id] = NULL;
        return;
    }
    while (atomic_load(&online) < n_cpus)
        cpu_relax_poll();
}

void smp_init(void)
{
    u32 count = MIN(platform_cpu_count(), (u32)MAX_CPUS);
    online = 1;
    if (count < 2 || cmdline_get("nosmp", (char[2]){0}, 2))
        return;
    for (u32 i = 1; i < count; i++)
        start_one(n_cpus, platform_cpu_hw_id(i));
    log_info("%u of %u CPUs run", n_cpus, count);
}
