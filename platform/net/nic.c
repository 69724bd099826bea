// SPDX-License-Identifier: BSD-2-Clause
// nic.c: see nic.h.
#include "platform/net/nic.h"

#include <string.h>

#include "mm/page.h"

u32 nic_receive(struct net_device *d, u32 budget, bool (*receive_one)(struct net_device *d))
{
    u32 done = 0;
    bool more = true;
    while (more && done < budget) {
        net_lock(d->stack);
        for (u32 i = 0; i < NIC_LOCKED_FRAMES && more; i++) {
            more = receive_one(d);
            done += more;
        }
        net_device_received(d);
        net_unlock(d->stack);
    }
    return done;
}

void nic_deliver(struct net_device *d, const u8 *frame, u32 len)
{
    struct pbuf *p = len ? pbuf_alloc(PBUF_RAW, (u16)len, PBUF_RAM) : NULL;
    if (!p) {
        d->counters.rx_dropped++;
        return;
    }
    memcpy(p->payload, frame, len);
    net_device_receive(d, p, false, true);
}

bool nic_buffers(u8 **buffers, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        if (!buffers[i] && !(buffers[i] = kmalloc(NIC_BUFFER_BYTES)))
            return false;
    }
    return true;
}

void *nic_page(void)
{
    struct page *p = page_alloc(0, PAGE_ZERO);
    return p ? page_address(p) : NULL;
}

bool nic_mac_is_good(const u8 *mac)
{
    static const u8 none[6];
    return !(mac[0] & 1) && memcmp(mac, none, sizeof(none)) != 0;
}
