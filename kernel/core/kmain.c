// SPDX-License-Identifier: BSD-2-Clause
// kmain.c: the order of bring-up. Everything runs on the boot CPU, interrupts off, on the boot stack,
// which becomes the stack of the idle thread.
#include <stdlib.h>

#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/cpu.h"
#include "core/kmain.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/smp.h"
#include "core/time.h"
#include "exec/exec.h"
#include "fs/vfs.h"
#include "mm/mm.h"
#include "mm/page.h"
#include "syscall/syscall.h"
#include "task/thread.h"

extern struct cpu boot_cpu;
extern char kernel_start[];

struct boot_info boot_info;
phys_t boot_argument;

static void read_log_level(void)
{
    char buf[8];
    if (cmdline_get("loglevel", buf, sizeof(buf)))
        log_level = atoi(buf);
}

static void init_memory(void)
{
    for (u32 i = 0; i < boot_info.n_mem; i++) {
        if (boot_info.mem[i].kind == MEM_RAM)
            arch_map_ram(boot_info.mem[i].start, boot_info.mem[i].end);
    }
    arch_map_ram(boot_info.image_start, boot_info.image_end);
    page_reserve(virt_to_phys(kernel_start), arch_kernel_phys_end());
    arch_reserve_memory();
    page_alloc_init();
    mm_init();
}

void kernel_main(phys_t argument)
{
    boot_argument = argument;
    cpus[0] = &boot_cpu;
    n_cpus = 1;
    platform_init_early();
    arch_init_early(&boot_cpu);
    read_log_level();
    time_init();
    init_memory();
    platform_init_irq();
    platform_init_clock();
    platform_init_cpu();
    syscall_init();
    task_init();
    vfs_init();
    special_init();
    vfs_init_late();
    smp_init();
    platform_init_devices();
    mm_init_late();
    debug_init();
    init_start();
    sched_idle_loop();
}
