// SPDX-License-Identifier: BSD-2-Clause
// futex.h: futex(2) for the kernel's own use (thread exit, robust lists).
#pragma once

#include "core/base.h"

int futex_wake_user(uintptr_t addr, int n, bool shared);
void futex_exit_robust(uintptr_t head, size_t len);
void futex_init(void);
