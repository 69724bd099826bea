// SPDX-License-Identifier: BSD-2-Clause
// disk_queue.h: what the drivers of disks share: the requests that a device has, by tag, and those that wait for a free tag.
//
// A driver embeds a struct disk_queue in each of its queues and says how a request is given to the device (post) and how the
// device is told (kick). A tag is an index that the device hands back; what it says is not believed.
//
// Q1 [lock] A tag is free, or its request is with the device; request[tag] tells.
// Q2 [lock] Nothing waits while a tag is free.
// Q3 A broken queue has no requests, and takes none: each ends with EIO.
#pragma once

#include "block/block.h"

#define DISK_MAX_TAGS 32
#define DISK_MAX_QUEUES 4u

struct disk_queue;
struct disk_queue_ops {
    // Gives the request to the device under that tag; it is told by kick. => [lock]
    void (*post)(struct disk_queue *q, u32 tag, const struct block_request *r);
    void (*kick)(struct disk_queue *q);  // [lock]
};

struct disk_queue {
    struct spinlock lock;  // a leaf
    const struct disk_queue_ops *ops;
    u32 n_tags;
    bool broken;                                   // [lock]
    bool posted;                                   // [lock] and not told of yet
    struct block_request *request[DISK_MAX_TAGS];  // [lock] by tag; NULL: free
    struct list waiting;                           // [lock]
};

void disk_queue_init(struct disk_queue *q, const struct disk_queue_ops *ops, u32 n_tags);
// A driver's part of block_disk_ops: takes a request; the device is told of it by disk_queue_kick.
void disk_queue_submit(struct disk_queue *q, struct block_request *r);
void disk_queue_kick(struct disk_queue *q);
// The device has done the request of a tag, or says so: it goes to the list of the finished. => false: it has none of that tag. [lock]
bool disk_queue_finish(struct disk_queue *q, u32 tag, int result, struct list *finished);
void disk_queue_go_on(struct disk_queue *q);  // starts what waits and tells the device. [lock]
// The device is not used any more: everything that it had, and what waits, is finished with EIO. => takes the lock
void disk_queue_break(struct disk_queue *q, struct list *finished);
void disk_finish(struct list *finished);  // tells whoever asked; without locks
