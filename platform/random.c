// SPDX-License-Identifier: BSD-2-Clause
// random.c: random bytes from a device (virtio-rng), once its driver has registered itself.
#include "core/random_source.h"
#include "core/platform.h"

static random_source_fn source;

void random_source_register(random_source_fn fn) { source = fn; }

bool platform_has_random(void) { return source; }

size_t platform_random(void *buf, size_t len) { return source ? source(buf, len) : 0; }
