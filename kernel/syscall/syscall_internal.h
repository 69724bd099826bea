// SPDX-License-Identifier: BSD-2-Clause
// syscall_internal.h: shared by the files of kernel/syscall only.
#pragma once

#include "core/base.h"

long syscall_not_implemented(void);  // of the current thread's call: -ENOSYS, told once
