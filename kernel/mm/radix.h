// SPDX-License-Identifier: BSD-2-Clause
// radix.h: a sparse array of pointers by u64 index: the page tree of a vm_object.
#pragma once

#include "core/base.h"

#define RADIX_BITS 6
#define RADIX_SLOTS (1u << RADIX_BITS)

struct radix_node;
struct radix {
    struct radix_node *root;
    u32 height;  // levels of nodes; 0: empty. Height h holds indexes below 2^(6h)
};

void *radix_get(const struct radix *r, u64 index);
// Copies the entries of [first, first + n) to out (NULL for holes).
void radix_get_range(const struct radix *r, u64 first, u32 n, void **out);
// Stores a non-NULL item where none was. => -EEXIST, -ENOMEM
int radix_insert(struct radix *r, u64 index, void *item);
// Exchanges an item that is there. => the old one
void *radix_replace(struct radix *r, u64 index, void *item);
// => the removed item, or NULL
void *radix_remove(struct radix *r, u64 index);
// First index >= index that holds an item, with the item in *item; UINT64_MAX: none.
u64 radix_next(const struct radix *r, u64 index, void **item);
// First index >= index that holds none.
u64 radix_next_hole(const struct radix *r, u64 index);
u64 radix_node_count(void);
