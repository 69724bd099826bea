// SPDX-License-Identifier: BSD-2-Clause
// random.h: the kernel's cryptographic random number generator.
#pragma once

#include "core/base.h"

// Fills out with unpredictable bytes; never fails and never waits. => Any context but interrupts.
void random_bytes(void *out, size_t len);
