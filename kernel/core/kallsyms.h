// SPDX-License-Identifier: BSD-2-Clause
// kallsyms.h: names of kernel functions, from the table that mk/kallsyms makes.
#pragma once

#include "core/base.h"

// "function+0x12" for an address in the kernel's text, "?" for any other. => buf
const char *kallsyms_name(uintptr_t addr, char *buf, size_t size);
