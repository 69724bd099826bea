// SPDX-License-Identifier: BSD-2-Clause
// virtio_ring.h: the rings of a split queue as they lie in memory (VIRTIO 1.2, 2.7), for virtio.c and drivers whose
// requests are chains of descriptors.
#pragma once

#include "core/base.h"

struct virtq_desc {
    u64 address;
    u32 len;
    u16 flags, next;
};
#define DESC_NEXT 1   // goes on at next
#define DESC_WRITE 2  // the device writes

struct virtq_avail {
    u16 flags, index;
    u16 ring[];
};
#define AVAIL_NO_INTERRUPT 1

struct virtq_used {
    u16 flags, index;
    struct {
        u32 id, len;
    } ring[];
};
#define USED_NO_NOTIFY 1
