// SPDX-License-Identifier: BSD-2-Clause
// A machine of 16 MiB for the parsers of firmware tables; beyond it every byte reads 0xff, as on a bus where nobody
// answers.
#pragma once

#include "core/base.h"

struct arch_mm {
    phys_t root;
};
void *phys_to_virt(phys_t pa);
phys_t virt_to_phys(const void *kva);
