// SPDX-License-Identifier: BSD-2-Clause
// asid.h: the tags that translations carry (Arm DDI 0487, D8.14): see kernel/arch/aarch64/asid.c.
#pragma once

#include "core/base.h"

struct asid_space {
    u64 tag;   // atomic: generation, and in its low bits the number; 0: none yet
    u64 cpus;  // atomic: those on which it was loaded since it got its number
};

#define ASID_NUMBER_MASK 0xffffull  // of a tag

#define ASID_NUMBERS 256  // every CPU has these

// Once, before the first asid_enter: numbers 1 .. n_numbers - 1 are used. => n_numbers <= ASID_NUMBERS, above the number of CPUs
void asid_init(u32 n_numbers);
// This CPU is about to load the space. => its number, which the CPU has to load in the same instruction as the tables
u32 asid_enter(struct asid_space *space);

// What asid.c needs of the CPU that it runs on.
void asid_flush_this_cpu(void);  // all translations of all numbers
void asid_fence(
    void);  // what was stored is seen by all CPUs, their table walks included, before what follows
