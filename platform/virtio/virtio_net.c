// SPDX-License-Identifier: BSD-2-Clause
// virtio_net.c: the network device (VIRTIO 1.2, 5.1) below net/device.h.
//
// Every buffer is half a page: the device's header and a frame of up to 1514 bytes. A frame that has come is copied into a
// buffer of the stack and its own goes back to the device at once, so that a slow reader cannot starve the queue; one that is sent
// is copied into a buffer of the queue. A frame may come in several buffers (mergeable buffers), though with the sizes here none
// needs to.
//
// The interrupt is off while the stack's thread takes frames in, and on again when it has found nothing: under load there are
// none. Buffers that have been sent are taken back by the next sender; an interrupt for them is asked for only when all are used.
//
// The receive queue belongs to the stack's thread, the send queue to whoever holds the stack's lock. What the device says is not
// believed: descriptors and lengths are checked by virtqueue_take, everything in the header here. A device that breaks the rules is
// stopped.
#include <string.h>

#include "arch/mmu.h"
#include "core/log.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "mm/page.h"
#include "net/device.h"
#include "platform/virtio/virtio.h"

#define QUEUE_SIZE 128
#define BUFFER_BYTES (PAGE_SIZE / 2)
#define LOCKED_FRAMES 16  // taken in before the lock is given up for a moment
#define MERGED_MAX 34     // buffers of one frame: 64 KiB

enum { F_CSUM = 0, F_GUEST_CSUM = 1, F_MTU = 3, F_MAC = 5, F_MRG_RXBUF = 15, F_STATUS = 16 };
enum { CONFIG_MAC = 0, CONFIG_MAC_STATUS = 4, CONFIG_PAIRS_MTU = 8 };  // words of the configuration
enum { Q_RX, Q_TX };

enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2 };
struct net_header {
    u8 flags, gso_type;
    u16 header_len, gso_size, csum_start, csum_offset;
    u16 n_buffers;  // with mergeable buffers or VIRTIO 1.0
};

struct virtio_net {
    struct net_device device;  // first
    struct virtio_device *virtio;
    struct virtqueue rx, tx;
    u32 rx_len[QUEUE_SIZE], tx_len[QUEUE_SIZE];
    u8 *rx_buffers[QUEUE_SIZE], *tx_buffers[QUEUE_SIZE];  // tx: NULL until first used
    u8 tx_free[QUEUE_SIZE];  // [stack lock] numbers of free descriptors
    u32 n_tx_free;           // [stack lock]
    bool tx_posted;          // [stack lock] the device has not been told yet
    bool tx_full;            // [stack lock] somebody found no room
    bool broken;
    u32 header_bytes;
};

static struct virtio_net *net_of(struct net_device *d) { return (struct virtio_net *)d; }

static void broken(struct virtio_net *n, const char *why)
{
    if (!n->broken)
        log_error("virtio-net: the device breaks the rules (%s) and is not used any more", why);
    n->broken = true;
    virtio_stop(n->virtio);
}

// Half a page; pages are kept for good.
static u8 *buffer_alloc(void) { return kmalloc(BUFFER_BYTES); }

// ---- receiving

static void post_rx(struct virtio_net *n, u32 id)
{
    virtqueue_add(&n->rx, id, virt_to_phys(n->rx_buffers[id]), BUFFER_BYTES, true);
}

// The stack checks what the device has not.
static bool checksum_known(const struct virtio_net *n, const struct net_header *h)
{
    return (n->virtio->features & BIT(F_GUEST_CSUM)) &&
           (h->flags & (HDR_NEEDS_CSUM | HDR_DATA_VALID));
}

// Copies a frame of `count` buffers, the first of which is id, and gives them back. => NULL: dropped
static struct pbuf *take_frame(struct virtio_net *n, u32 id, u32 filled, bool *checked)
{
    struct net_header h = {0};
    u32 at = n->header_bytes;
    memcpy(&h, n->rx_buffers[id], MIN((u32)sizeof(h), n->header_bytes));
    u32 count =
        n->header_bytes == sizeof(h) && (n->virtio->features & BIT(F_MRG_RXBUF)) ? h.n_buffers : 1;
    if (filled < at || count == 0 || count > MERGED_MAX) {
        broken(n, "header");
        return NULL;
    }
    *checked = checksum_known(n, &h);
    struct pbuf *frame = filled > at ? pbuf_alloc(PBUF_RAW, (u16)(filled - at), PBUF_RAM) : NULL;
    if (frame)
        memcpy(frame->payload, n->rx_buffers[id] + at, filled - at);
    post_rx(n, id);
    while (--count) {
        int next = virtqueue_take(&n->rx, &filled);
        if (next < 0) {
            broken(n, "merged buffers");
            break;
        }
        struct pbuf *more = frame && filled && frame->tot_len + filled < 65536
                                ? pbuf_alloc(PBUF_RAW, (u16)filled, PBUF_RAM)
                                : NULL;
        if (more) {
            memcpy(more->payload, n->rx_buffers[next], filled);
            pbuf_cat(frame, more);
        } else if (frame) {
            pbuf_free(frame);
            frame = NULL;
        }
        post_rx(n, (u32)next);
    }
    return frame;
}

// => true: a frame has been dealt with. [stack lock]
static bool receive_one(struct virtio_net *n)
{
    u32 filled;
    bool checked;
    int id = virtqueue_take(&n->rx, &filled);
    if (id == -EAGAIN)
        return false;
    if (id < 0) {
        broken(n, "descriptor");
        return false;
    }
    struct pbuf *frame = take_frame(n, (u32)id, filled, &checked);
    if (frame)
        net_device_receive(&n->device, frame, checked);
    else
        n->device.counters.rx_dropped++;
    return !n->broken;
}

// ---- sending

// Takes back what has been sent. [stack lock]
static void reclaim(struct virtio_net *n)
{
    u32 len;
    for (;;) {
        int id = virtqueue_take(&n->tx, &len);
        if (id < 0) {
            if (id != -EAGAIN)
                broken(n, "sent descriptor");
            return;
        }
        n->tx_free[n->n_tx_free++] = (u8)id;
    }
}

static u32 sum16(u32 sum, const void *bytes, size_t len)
{
    const u8 *p = bytes;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (u32)p[i] << 8 | p[i + 1];
    return sum;
}

// TCP: the sum of the pseudo header goes into the field, the device adds the rest (5.1.6.2).
static void ask_for_checksum(struct net_header *h, u8 *frame, size_t len)
{
    u32 sum = IP_PROTO_TCP;
    u32 start;
    u8 *ip = frame + SIZEOF_ETH_HDR;
    if (len < SIZEOF_ETH_HDR + IP6_HLEN)
        return;
    u32 type = (u32)frame[12] << 8 | frame[13];
    if (type == ETHTYPE_IP && ip[9] == IP_PROTO_TCP) {
        start = SIZEOF_ETH_HDR + (ip[0] & 15u) * 4;
        sum = sum16(sum, ip + 12, 8);
    } else if (type == ETHTYPE_IPV6 && ip[6] == IP_PROTO_TCP) {
        start = SIZEOF_ETH_HDR + IP6_HLEN;
        sum = sum16(sum, ip + 8, 32);
    } else {
        return;
    }
    if (start + TCP_HLEN > len)
        return;
    u32 tcp_len = type == ETHTYPE_IP ? ((u32)ip[2] << 8 | ip[3]) - (start - SIZEOF_ETH_HDR)
                                     : (u32)ip[4] << 8 | ip[5];
    sum += tcp_len;
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    frame[start + 16] = (u8)(sum >> 8);
    frame[start + 17] = (u8)sum;
    h->flags = HDR_NEEDS_CSUM;
    h->csum_start = (u16)start;
    h->csum_offset = 16;
}

static int send_frame(struct net_device *d, struct pbuf *p)
{
    struct virtio_net *n = net_of(d);
    struct net_header h = {0};
    if (n->broken || p->tot_len > BUFFER_BYTES - sizeof(h))
        return -ENOBUFS;
    if (n->n_tx_free < QUEUE_SIZE / 2)
        reclaim(n);
    if (!n->n_tx_free) {
        n->tx_full = true;
        virtqueue_set_interrupts(&n->tx, true);
        reclaim(n);
        if (!n->n_tx_free)
            return -ENOBUFS;
    }
    u32 id = n->tx_free[n->n_tx_free - 1];
    if (!n->tx_buffers[id] && !(n->tx_buffers[id] = buffer_alloc()))
        return -ENOBUFS;
    n->n_tx_free--;
    u8 *frame = n->tx_buffers[id] + n->header_bytes;
    pbuf_copy_partial(p, frame, p->tot_len, 0);
    if (n->virtio->features & BIT(F_CSUM))
        ask_for_checksum(&h, frame, p->tot_len);
    memcpy(n->tx_buffers[id], &h, n->header_bytes);
    virtqueue_add(&n->tx, id, virt_to_phys(n->tx_buffers[id]), n->header_bytes + p->tot_len, false);
    n->tx_posted = true;
    return 0;
}

static void flush(struct net_device *d)
{
    struct virtio_net *n = net_of(d);
    if (n->tx_posted) {
        n->tx_posted = false;
        virtqueue_kick(&n->tx);
    }
}

// ---- the thread's part and the interrupt

static bool poll_device(struct net_device *d, u32 budget)
{
    struct virtio_net *n = net_of(d);
    u32 done = 0;
    if (n->broken)
        return false;
    virtqueue_set_interrupts(&n->rx, false);
    while (done < budget && virtqueue_has_used(&n->rx) && !n->broken) {
        net_lock(d->stack);
        for (u32 i = 0; i < LOCKED_FRAMES && receive_one(n); i++)
            done++;
        net_unlock(d->stack);
    }
    if (done && !n->broken)
        virtqueue_kick(&n->rx);
    if (n->tx_full && !n->broken) {
        net_lock(d->stack);
        reclaim(n);
        if (n->n_tx_free > QUEUE_SIZE / 4) {
            n->tx_full = false;
            virtqueue_set_interrupts(&n->tx, false);
            net_device_has_room(d);
        }
        net_unlock(d->stack);
    }
    if (done >= budget)
        return true;
    virtqueue_set_interrupts(&n->rx, true);
    return !n->broken && virtqueue_has_used(&n->rx);
}

static void interrupt(void *arg)
{
    struct virtio_net *n = arg;
    virtio_ack_interrupt(n->virtio);
    net_kick(n->device.stack);
}

static bool link_up(struct net_device *d)
{
    const struct virtio_device *v = net_of(d)->virtio;
    return !(v->features & BIT(F_STATUS)) ||
           (v->ops->get_config(net_of(d)->virtio, CONFIG_MAC_STATUS) >> 16 & 1);
}

static const struct net_device_ops net_ops = {
    .poll = poll_device,
    .send = send_frame,
    .flush = flush,
    .link_up = link_up,
};

// ---- bring-up

static void read_config(struct virtio_net *n)
{
    struct virtio_device *v = n->virtio;
    u32 low = v->ops->get_config(v, CONFIG_MAC), high = v->ops->get_config(v, CONFIG_MAC_STATUS);
    n->device.mtu = 1500;
    if (v->features & BIT(F_MAC)) {
        memcpy(n->device.mac, &low, 4);
        memcpy(n->device.mac + 4, &high, 2);
    } else {  // one of our own: locally administered
        static const u8 own[6] = {0x52, 0x4c, 0, 0, 0, 1};
        memcpy(n->device.mac, own, sizeof(own));
    }
    if (v->features & BIT(F_MTU)) {
        u32 mtu = v->ops->get_config(v, CONFIG_PAIRS_MTU) >> 16;
        if (mtu >= 576 && mtu < n->device.mtu)
            n->device.mtu = (u16)mtu;
    }
    if (v->features & BIT(F_CSUM))
        n->device.checksums |= NET_CSUM_OUT;
}

static int add_queue(struct virtio_net *n, struct virtqueue *q, unsigned index, u32 *len)
{
    unsigned order = 0;
    while ((PAGE_SIZE << order) < virtqueue_bytes(QUEUE_SIZE))
        order++;
    struct page *memory = page_alloc(order, PAGE_ZERO);
    return memory ? virtqueue_init_large(q, n->virtio, index, page_address(memory), QUEUE_SIZE, len)
                  : -ENOMEM;
}

static int start(struct virtio_net *n)
{
    struct virtio_device *v = n->virtio;
    u64 wanted = BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_MTU) | BIT(F_MAC) | BIT(F_MRG_RXBUF) |
                 BIT(F_STATUS);
    int err = virtio_start(v, wanted | (v->legacy ? VIRTIO_F_ANY_LAYOUT : 0));
    if (err)
        return err;
    if (v->legacy && !(v->features & VIRTIO_F_ANY_LAYOUT))
        return -ENODEV;
    n->header_bytes =
        !v->legacy || (v->features & BIT(F_MRG_RXBUF)) ? sizeof(struct net_header) : 10;
    err = virtio_set_interrupt(v, interrupt, n);
    if (!err)
        err = add_queue(n, &n->rx, Q_RX, n->rx_len);
    if (!err)
        err = add_queue(n, &n->tx, Q_TX, n->tx_len);
    for (u32 i = 0; !err && i < QUEUE_SIZE; i++) {
        n->rx_buffers[i] = buffer_alloc();
        if (!n->rx_buffers[i])
            return -ENOMEM;
        n->tx_free[n->n_tx_free++] = (u8)i;
    }
    return err;
}

int virtio_net_start(struct virtio_device *d)
{
    struct virtio_net *n = kzalloc(sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->virtio = d;
    n->device.ops = &net_ops;
    n->device.stack = net_stack_here();
    int err = start(n);
    if (err) {
        virtio_stop(d);
        return err;  // its memory may be the device's still: it is lost
    }
    read_config(n);
    virtio_ready(d);
    for (u32 i = 0; i < QUEUE_SIZE; i++)
        post_rx(n, i);
    virtqueue_kick(&n->rx);
    virtqueue_set_interrupts(&n->rx, true);
    return net_device_add(&n->device);
}
