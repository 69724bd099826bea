// SPDX-License-Identifier: BSD-2-Clause
// backtrace.c: walks the chain of frame pointers and names the functions.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/kallsyms.h"
#include "core/log.h"

#define MAX_FRAMES 32

// A frame is { caller's frame pointer, return address }, higher than its callee's, in kernel memory.
void arch_backtrace(void)
{
    const uintptr_t *frame = __builtin_frame_address(0);
    for (int i = 0; i < MAX_FRAMES; i++) {
        uintptr_t next = frame[0], pc = frame[1];
        if (pc < KERNEL_IMAGE_BASE)
            break;
        kprintf("  %016lx %s\n", pc, kallsyms_name(pc - 1, (char[80]){0}, 80));
        if (next <= (uintptr_t)frame || next < DIRECT_MAP_BASE || !IS_ALIGNED(next, 8) ||
            next - (uintptr_t)frame > 64 * 1024)
            break;
        frame = (const uintptr_t *)next;
    }
}
