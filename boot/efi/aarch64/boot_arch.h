// SPDX-License-Identifier: BSD-2-Clause
// boot_arch.h: what the EFI loader needs of arm64.
#pragma once

#define EFIAPI  // UEFI 2.3.6: the usual calling convention

static inline void arch_halt(void) { __asm__ volatile("wfi"); }

// The control channel is a virtio console here, for which a loader has no driver: the tool sees that nothing started.
static inline void arch_tell_noboot(const char *why) { (void)why; }
