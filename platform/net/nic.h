// SPDX-License-Identifier: BSD-2-Clause
// nic.h: what the drivers of emulated network cards share (e1000.c, vmxnet3.c): rings of descriptors in memory, each with a buffer
// of half a page, which holds the largest frame.
//
// The receive ring belongs to the stack's thread, the send ring to whoever holds the stack's lock. Frames are copied out of and into
// the buffers, so that a slow reader cannot starve the card and nothing of the stack's is ever seen by it. All addresses and indices
// that are used are our own; the card's word is taken only for "done", and for lengths that are checked.
#pragma once

#include "lwip/pbuf.h"
#include "net/device.h"
#include "platform/mmio.h"

#define NIC_BUFFER_BYTES (PAGE_SIZE / 2)
#define NIC_LOCKED_FRAMES 16  // taken in before the lock is given up for a moment

// Calls receive_one(d) with the stack's lock held until it says that nothing is there, or `budget` frames are in. => how many
u32 nic_receive(struct net_device *d, u32 budget, bool (*receive_one)(struct net_device *d));
// A frame of len bytes, copied, goes up; dropped and counted when there is no memory. => the stack's lock is held
void nic_deliver(struct net_device *d, const u8 *frame, u32 len);
// n buffers. => false: no memory; those that there are stay
bool nic_buffers(u8 **buffers, u32 n);
// A page, zero. => NULL: no memory
void *nic_page(void);
// Whether these six bytes can be a card's own address.
bool nic_mac_is_good(const u8 *mac);
