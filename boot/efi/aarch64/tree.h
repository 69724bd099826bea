// SPDX-License-Identifier: BSD-2-Clause
// tree.h: the device tree that the kernel is handed.
#pragma once

#include "boot/efi/efi.h"

// Writes the tree to TO: a copy of the firmware's, with the root image and the command line in /chosen. Where the firmware has
// ACPI tables instead: a tree of these two, of where the tables lie and of the time. => Ends in fail() where it has neither, or
// a tree that does not fit
void tree_make(void *to, size_t bytes, const struct loaded *loaded);
// For efi_leave: notes a range of memory, when the tree is not the firmware's, which tells of it itself.
void tree_add_memory(const struct efi_memory *range);
// Behind the last range: the tree is complete. => false: it has not all of the memory
bool tree_end(void);
