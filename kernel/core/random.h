// SPDX-License-Identifier: BSD-2-Clause
// random.h: the kernel's cryptographic random number generator.
#pragma once

#include "core/base.h"

// Fills out with unpredictable bytes; never fails and never sleeps. => Any context but interrupts.
void random_bytes(void *out, size_t len);
// Whether enough entropy has come in for secrets: what random_bytes gave before is good for addresses only.
bool random_seeded(void);
// Sleeps until it has, unless nonblock; at once when it has. => 0, -EAGAIN, -ERESTARTSYS
int random_wait_seeded(bool nonblock);
// Mixes bytes in and counts credit_bits for them, of the 256 that are enough.
void random_add(const void *bytes, size_t len, u32 credit_bits);
u32 random_credit_bits(void);  // counted so far
