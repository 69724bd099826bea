// SPDX-License-Identifier: BSD-2-Clause
// tree.h: the device tree that the kernel is handed.
#pragma once

#include "boot/efi/efi.h"

// Writes the tree to TO: a copy of the firmware's, with the root image and the command line in /chosen.
// => Ends in fail() where the firmware has none, or one that does not fit
void tree_make(void *to, size_t bytes, const struct loaded *loaded);
