// SPDX-License-Identifier: BSD-2-Clause
// apic.h: the local APIC (Intel SDM vol. 3A, chapter 11), x2APIC when the CPU has it.
#pragma once

#include "core/base.h"

#define APIC_BROADCAST 0xff  // the 8-bit id that means all

void apic_init_boot(void);  // finds and maps it; boot CPU
void apic_init_cpu(void);   // on each CPU: accept interrupts
u32 apic_id(void);
void apic_eoi(void);
void apic_send_init(u32 apic_id);
void apic_send_startup(u32 apic_id, unsigned page_number);

// The timer counts down at a fixed rate. Free-running from the largest value, no interrupt:
void apic_timer_start_free(void);
u32 apic_timer_count(void);
// Sets how fast it runs and, when known to be no reference for the TSC, keeps it at that.
// reference: measure the TSC against it for the first half minute (clock.c has the reason).
void apic_timer_set_rate(u64 hz, bool reference);
void apic_timer_use_tsc_deadline(u64 tsc_hz);
void apic_timer_tsc_rate_changed(u64 tsc_hz);
