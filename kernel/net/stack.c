// SPDX-License-Identifier: BSD-2-Clause
// stack.c: what lwIP needs of its surroundings: memory, time, random numbers, timers, the loopback interface, a thread.
#include "net/stack.h"

#include <string.h>

#include "core/log.h"
#include "core/random.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/igmp.h"
#include "lwip/init.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "net/device.h"
#include "net/inet.h"

#define LOOPBACK_MTU 65535
#define TCP_TICK_NS (TCP_TMR_INTERVAL * NSEC_PER_MSEC)
#define SLOW_TICK_NS (500 * NSEC_PER_MSEC)
#define IGMP_TICKS_A_SLOW_TICK (500 / IGMP_TMR_INTERVAL)

static struct net_stack the_stack = {.configured = WAIT_QUEUE_INIT(the_stack.configured)};

struct net_stack *net_stack_here(void) { return &the_stack; }

// ---- memory: the kernel's heap, counted, and refused beyond a quarter of the machine's memory

struct memory_header {
    u64 size;
    u64 pad;  // what follows is aligned to 16
};
static u64 memory_bytes;  // atomic

u64 net_memory_bytes(void) { return atomic_load_relaxed(&memory_bytes); }

static u64 memory_limit(void) { return page_total_count() * PAGE_SIZE / 4; }

bool net_memory_short(void) { return net_memory_bytes() > memory_limit() / 2; }

bool net_memory_take(u64 bytes)
{
    if (atomic_add(&memory_bytes, bytes) <= memory_limit())
        return true;
    net_memory_give(bytes);
    return false;
}

void net_memory_give(u64 bytes) { atomic_sub(&memory_bytes, bytes); }

void *net_malloc(size_t size)
{
    struct memory_header *h;
    size += sizeof(*h);
    if (!net_memory_take(size))
        return NULL;
    h = kmalloc(size);
    if (!h) {
        net_memory_give(size);
        return NULL;
    }
    h->size = size;
    return h + 1;
}

void *net_calloc(size_t n, size_t size)
{
    void *p = net_malloc(n * size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

void net_free(void *p)
{
    struct memory_header *h = (struct memory_header *)p - 1;
    net_memory_give(h->size);
    kfree(h);
}

// ---- time, chance, failure

u32_t sys_now(void) { return (u32_t)(ktime_ns() / NSEC_PER_MSEC); }

u32_t net_random(void)
{
    u32 value;
    random_bytes(&value, sizeof(value));
    return value;
}

u32_t net_tcp_isn(void)
{
    u32 number;
    return tcp_cookie_number(&number) ? number : net_random();
}

void net_assert_failed(const char *text, const char *file, int line)
{
    panic("lwIP: %s (%s:%d)", text, file, line);
}

// ---- the loopback interface

static err_t loop_output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    return netif_loop_output(netif, p);
}

static err_t loop_output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    return netif_loop_output(netif, p);
}

static err_t loop_init(struct netif *netif)
{
    netif->name[0] = 'l';
    netif->name[1] = 'o';
    netif->mtu = LOOPBACK_MTU;
    netif->output = loop_output4;
    netif->output_ip6 = loop_output6;
    netif->flags = NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_DISABLE_ALL);  // memory does not lose bits
    return ERR_OK;
}

static void add_loopback(struct net_stack *st)
{
    ip4_addr_t address, mask, none;
    ip6_addr_t one;
    IP4_ADDR(&address, 127, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    ip4_addr_set_zero(&none);
    netif_add(&st->loopback, &address, &mask, &none, st, loop_init, ip_input);
    IP6_ADDR(&one, 0, 0, 0, PP_HTONL(1));
    ip6_addr_assign_zone(&one, IP6_UNICAST, &st->loopback);
    netif_ip6_addr_set(&st->loopback, 0, &one);
    netif_ip6_addr_set_state(&st->loopback, 0, IP6_ADDR_PREFERRED);
    netif_set_link_up(&st->loopback);
    netif_set_up(&st->loopback);
}

void net_unlock_slow(struct net_stack *st)
{
    bool again = true;
    while (again) {
        again = false;
        struct netif *netif;
        NETIF_FOREACH(netif)
        {
            if (netif->loop_first) {
                netif_poll(netif);
                again = true;
            }
        }
    }
    net_loopback_restore(st);
    for (struct net_device *d = st->devices; d; d = d->next)
        d->ops->flush(d);
    spin_unlock(&st->lock);
}

// ---- timers

// Called by lwIP when a connection begins to need its timer.
void tcp_timer_needed(void)
{
    struct net_stack *st = net_stack_here();
    if (!st->tcp_timer_runs && (tcp_active_pcbs || tcp_tw_pcbs)) {
        st->tcp_timer_runs = true;
        st->tcp_due_ns = ktime_ns() + TCP_TICK_NS;
        net_kick(st);
    }
}

void sys_timeouts_init(void) {}

static void tcp_tick(struct net_stack *st, u64 now)
{
    st->tcp_timer_runs = tcp_flows_tick();
    st->tcp_due_ns = st->tcp_timer_runs ? now + TCP_TICK_NS : NEVER;
}

// Twice a second, as long as there is a device: the protocols below TCP.
static void slow_tick(struct net_stack *st, u64 now)
{
    st->slow_ticks++;
    dhcp_fine_tmr();
    for (int i = 0; i < IGMP_TICKS_A_SLOW_TICK; i++) {
        igmp_tmr();
        mld6_tmr();
    }
    if (st->slow_ticks % 2 == 0) {
        etharp_tmr();
        nd6_tmr();
        ip_reass_tmr();
        ip6_reass_tmr();
    }
    if (st->slow_ticks % (2 * DHCP_COARSE_TIMER_SECS) == 0)
        dhcp_coarse_tmr();
    st->slow_due_ns = now + SLOW_TICK_NS;
}

static u64 run_timers(struct net_stack *st)
{
    u64 now = ktime_ns();
    if (now >= st->tcp_due_ns)
        tcp_tick(st, now);
    if (st->devices && now >= st->slow_due_ns)
        slow_tick(st, now);
    return MIN(st->tcp_due_ns, st->devices ? st->slow_due_ns : NEVER);
}

// ---- the thread

void net_kick(struct net_stack *st)
{
    atomic_store_seq(&st->work, 1);
    if (st->worker)
        thread_wake(st->worker);
}

static void worker_main(void *arg)
{
    struct net_stack *st = arg;
    st->worker = current;
    for (;;) {
        atomic_store_seq(&st->work, 0);
        bool more = st->devices && net_devices_poll(st);
        net_lock(st);
        u64 due = run_timers(st);
        net_unlock(st);
        if (st->devices)
            net_devices_settle(st);
        if (more) {
            sched_point();
            continue;
        }
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        if (!atomic_load(&st->work))
            thread_block(WAIT_UNINTERRUPTIBLE, due);
        thread_sleep_cancel();
    }
}

int net_stack_start(struct net_stack *st)
{
    static struct mutex starting = MUTEX_INIT(starting);
    int err = 0;
    if (likely(atomic_load(&st->started)))
        return 0;
    mutex_lock(&starting);
    if (!st->started) {
        struct thread *t = kthread_create("net", worker_main, st, -1);
        if (IS_ERR(t)) {
            err = (int)PTR_ERR(t);
        } else {
            net_lock(st);
            st->tcp_due_ns = NEVER;
            st->slow_due_ns = ktime_ns() + SLOW_TICK_NS;
            lwip_init();
            add_loopback(st);
            err = tcp_flows_init();
            atomic_store(&st->started, !err);
            net_unlock(st);
        }
    }
    mutex_unlock(&starting);
    return err;
}
