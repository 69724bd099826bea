// SPDX-License-Identifier: BSD-2-Clause
// boot_arch.h: what the EFI loader needs of x86-64.
#pragma once

#include "boot/pvh.h"

#define EFIAPI __attribute__((ms_abi))  // UEFI 2.3.4: the firmware's calling convention
#define efi_main efi_main_c             // head.S comes by Microsoft's convention

static inline void arch_halt(void) { __asm__ volatile("hlt"); }

static inline void arch_tell_noboot(const char *why)
{
    if (!debugcon_there())
        return;
    debugcon_write("noboot ");
    debugcon_write(why);
    debugcon_write("\n");
}
