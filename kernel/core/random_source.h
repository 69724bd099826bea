// SPDX-License-Identifier: BSD-2-Clause
// random_source.h: how a driver offers hardware randomness to the generator.
#pragma once

#include "core/base.h"

// Fills up to len bytes without waiting; gives the number filled.
typedef size_t (*random_source_fn)(void *buf, size_t len);
void random_source_register(random_source_fn fn);
