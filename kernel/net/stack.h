// SPDX-License-Identifier: BSD-2-Clause
// stack.h: one TCP/IP stack (lwIP) with its lock, its interfaces and its thread.
//
//   sockets ──net_lock──> lwIP ──netif──> loopback: packets queue and are taken in at net_unlock
//                          ^                device:  net/device.h
//                          └── the thread "net": packets that have come, timers
//
// Everything of lwIP is called with the stack's lock held; its callbacks run under it too. The lock is a spinlock: nothing
// that sleeps or touches user memory happens under it, so bytes are copied before and after.
//
// Today there is one stack for all CPUs. Whoever needs one asks net_stack_here() and keeps the pointer, so that there can be
// one a CPU (design.md, section 7).
//
// Lock order: stack lock -> wait queues, epoll, run queues. A driver's own lock comes behind the stack's.
#pragma once

#include "core/lock.h"
#include "core/wait.h"
#include "lwip/netif.h"
#include "net/socket.h"

struct net_device;

struct interface_counters {
    u64 rx_frames, rx_bytes, rx_dropped, rx_multicast, tx_frames, tx_bytes, tx_dropped;
};

struct net_stack {
    struct spinlock lock;
    bool started;                                 // [lock] lwIP is initialised
    struct netif loopback;                        // [lock]
    struct interface_counters loopback_counters;  // [lock]
    struct net_device *devices;                   // [lock] list by next
    struct thread *worker;                        // NULL until there is something for it to do
    u32 work;                                     // atomic: somebody has kicked it
    bool tcp_timer_runs;                          // [lock] connections want the timer
    u64 tcp_due_ns, slow_due_ns;                  // [lock] NEVER: not running
    u32 slow_ticks;
    u64 udp_drops;                 // [lock] datagrams that found their queue full
    struct wait_queue configured;  // those who wait for an address
    u32 n_configuring;             // atomic: devices without an address that still hope for one
};

struct net_stack *net_stack_here(void);
// Starts the stack on the first use. => 0, -ENOMEM
int net_stack_start(struct net_stack *st);
static inline void net_lock(struct net_stack *st) { spin_lock(&st->lock); }
void net_unlock_slow(struct net_stack *st);
// Delivers what was sent to this machine itself, then gives the lock up.
static inline void net_unlock(struct net_stack *st)
{
    if (unlikely(st->loopback.loop_first != NULL || st->devices))
        net_unlock_slow(st);
    else
        spin_unlock(&st->lock);
}
void net_loopback_restore(struct net_stack *st);  // ip_input.c. [lock]
void net_kick(struct net_stack *st);              // the worker has something to do. => any context
u64 net_memory_bytes(void);       // that lwIP has allocated, and what was taken with
bool net_memory_take(u64 bytes);  // => false: there is no more
void net_memory_give(u64 bytes);
bool net_memory_short(void);  // no new connections now
