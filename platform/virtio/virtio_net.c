// SPDX-License-Identifier: BSD-2-Clause
// virtio_net.c: the network device (VIRTIO 1.2, 5.1) below net/device.h.
//
//   receiving   device ─> rx buffer, half a page ─┬ long: the buffer itself goes to the stack, and a fresh one to the device
//                                                 └ short: copied, and the buffer goes back, so that small frames keep little
//   sending     stack ─copy─> tx buffer, half a page, or 16 KiB for what the device cuts into frames (TSO)
//
// A frame may come in several buffers (mergeable buffers): with large receive it is up to 64 KiB of a TCP stream in one.
//
// Interrupts. While the stack's thread takes frames in it asks for none, and again for the next one when it has found nothing:
// under load there are none. Buffers that have been sent are taken back by the next sender; an interrupt for them is asked for only
// when all are used, and then when half of them are back. The device is told of what was posted once a batch, if it wants to know
// (virtio_event.c).
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
#define RX_SIZE_LARGE 256  // with large receive: seven frames of 64 KiB
#define BUFFER_BYTES (PAGE_SIZE / 2)
#define LARGE_ORDER 2
#define LARGE_BYTES (PAGE_SIZE << LARGE_ORDER)
#define LARGE_MAX 32      // large buffers to send from
#define LOCKED_FRAMES 32  // taken in before the lock is given up for a moment
#define MERGED_MAX 34     // buffers of one frame: 64 KiB
#define COPY_BYTES 512    // what is shorter is copied

enum {
    F_CSUM = 0,
    F_GUEST_CSUM = 1,
    F_MTU = 3,
    F_MAC = 5,
    F_GUEST_TSO4 = 7,
    F_GUEST_TSO6 = 8,
    F_HOST_TSO4 = 11,
    F_HOST_TSO6 = 12,
    F_MRG_RXBUF = 15,
    F_STATUS = 16
};
#define LARGE_RECEIVE (BIT(F_GUEST_TSO4) | BIT(F_GUEST_TSO6))
#define LARGE_SEND (BIT(F_HOST_TSO4) | BIT(F_HOST_TSO6))
enum { CONFIG_MAC = 0, CONFIG_MAC_STATUS = 4, CONFIG_PAIRS_MTU = 8 };  // words of the configuration
enum { Q_RX, Q_TX };

enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4 };
struct net_header {
    u8 flags, gso_type;
    u16 header_len, gso_size, csum_start, csum_offset;
    u16 n_buffers;  // with mergeable buffers or VIRTIO 1.0
};

struct rx_buffer {
    struct pbuf_custom pbuf;  // first; of the stack, when the buffer has gone there
    u8 bytes[];               // the device's
};
#define RX_BYTES (BUFFER_BYTES - sizeof(struct rx_buffer))

struct virtio_net {
    struct net_device device;  // first
    struct virtio_device *virtio;
    struct virtqueue rx, tx;
    u32 rx_len[RX_SIZE_LARGE], tx_len[QUEUE_SIZE];
    struct rx_buffer *rx_buffers[RX_SIZE_LARGE];
    u8 *tx_buffers[QUEUE_SIZE];  // NULL until first used
    u8 *tx_large[QUEUE_SIZE];    // [stack lock] large buffers on their way
    u8 *large_free[LARGE_MAX];   // [stack lock]
    u32 n_large, n_large_free;   // [stack lock]
    u8 tx_free[QUEUE_SIZE];      // [stack lock] numbers of free descriptors
    u32 n_tx_free;               // [stack lock]
    bool tx_posted;              // [stack lock] the device has not been told yet
    bool tx_full;                // [stack lock] somebody found no room
    bool broken;
    u16 rx_size;
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

// ---- receiving

static void post_rx(struct virtio_net *n, u32 id)
{
    virtqueue_add(&n->rx, id, virt_to_phys(n->rx_buffers[id]->bytes), RX_BYTES, true);
}

// The stack is done with a buffer.
static void buffer_read(struct pbuf *p)
{
    net_memory_give(BUFFER_BYTES);
    kfree(p);
}

// What lies in buffer id from `at` to `filled`; the buffer, or another one in its place, is posted again. => NULL: no memory, or
// nothing in it
static struct pbuf *take_buffer(struct virtio_net *n, u32 id, u32 at, u32 filled)
{
    struct rx_buffer *b = n->rx_buffers[id], *fresh;
    u16 len = (u16)(filled - at);
    struct pbuf *p = NULL;
    if (len <= COPY_BYTES) {
        p = len ? pbuf_alloc(PBUF_RAW, len, PBUF_RAM) : NULL;
        if (p)
            memcpy(p->payload, b->bytes + at, len);
    } else if (net_memory_take(BUFFER_BYTES)) {
        fresh = kmalloc(BUFFER_BYTES);
        if (fresh) {
            n->rx_buffers[id] = fresh;
            b->pbuf.custom_free_function = buffer_read;
            p = pbuf_alloced_custom(PBUF_RAW, len, PBUF_RAM, &b->pbuf, b->bytes + at,
                                    (u16)(RX_BYTES - at));
        } else {
            net_memory_give(BUFFER_BYTES);
        }
    }
    post_rx(n, id);
    return p;
}

// The stack checks what the device has not.
static bool checksum_known(const struct virtio_net *n, const struct net_header *h)
{
    return (n->virtio->features & BIT(F_GUEST_CSUM)) &&
           (h->flags & (HDR_NEEDS_CSUM | HDR_DATA_VALID));
}

// A frame of `count` buffers, the first of which is id. => NULL: dropped
static struct pbuf *take_frame(struct virtio_net *n, u32 id, u32 filled, bool *checked)
{
    struct net_header h = {0};
    memcpy(&h, n->rx_buffers[id]->bytes, MIN((u32)sizeof(h), n->header_bytes));
    u32 count =
        n->header_bytes == sizeof(h) && (n->virtio->features & BIT(F_MRG_RXBUF)) ? h.n_buffers : 1;
    if (filled < n->header_bytes || count == 0 || count > MERGED_MAX) {
        broken(n, "header");
        return NULL;
    }
    *checked = checksum_known(n, &h);
    struct pbuf *frame = take_buffer(n, id, n->header_bytes, filled), *last = frame;
    u32 total = frame ? frame->len : 0;
    while (--count) {
        int next = virtqueue_take(&n->rx, &filled);
        if (next < 0) {
            broken(n, "merged buffers");
            break;
        }
        struct pbuf *more = take_buffer(n, (u32)next, 0, filled);
        total += filled;
        if (frame && more && total < 65536) {
            last->next = more;
            last = more;
        } else if (more) {
            pbuf_free(more);
            total = 65536;
        } else {
            total = 65536;
        }
    }
    if (!frame)
        return NULL;
    if (total > 65535 || n->broken) {
        pbuf_free(frame);
        return NULL;
    }
    for (struct pbuf *p = frame; p; total -= p->len, p = p->next)
        p->tot_len = (u16)total;
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
        net_device_receive(&n->device, frame, checked, virtqueue_has_used(&n->rx));
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
        if (n->tx_large[id])
            n->large_free[n->n_large_free++] = n->tx_large[id];
        n->tx_large[id] = NULL;
        n->tx_free[n->n_tx_free++] = (u8)id;
    }
}

// The part of a frame that offloads need to know. => false: not TCP
struct tcp_frame {
    bool six;
    u32 tcp_at, data_at;
};
static bool look_at_tcp(struct tcp_frame *t, const u8 *frame, size_t len)
{
    const u8 *ip = frame + SIZEOF_ETH_HDR;
    if (len < SIZEOF_ETH_HDR + IP6_HLEN)
        return false;
    u32 type = (u32)frame[12] << 8 | frame[13];
    t->six = type == ETHTYPE_IPV6;
    if (type == ETHTYPE_IP && ip[9] == IP_PROTO_TCP && !((ip[6] & 0x3f) | ip[7]))
        t->tcp_at = SIZEOF_ETH_HDR + (ip[0] & 15u) * 4;
    else if (t->six && ip[6] == IP_PROTO_TCP)
        t->tcp_at = SIZEOF_ETH_HDR + IP6_HLEN;
    else
        return false;
    if (t->tcp_at + TCP_HLEN > len)
        return false;
    t->data_at = t->tcp_at + (frame[t->tcp_at + 12] >> 4) * 4u;
    return t->data_at <= len;
}

// The sum of the pseudo header goes into the field, the device adds the rest (5.1.6.2).
static void ask_for_checksum(struct net_header *h, const struct tcp_frame *t, u8 *frame, size_t len)
{
    u32 tcp_len = (u32)(len - t->tcp_at), sum = lwip_htons(IP_PROTO_TCP) + lwip_htons((u16)tcp_len);
    u8 *ip = frame + SIZEOF_ETH_HDR;
    sum += t->six ? net_checksum(ip + 8, 32) : net_checksum(ip + 12, 8);
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    memcpy(frame + t->tcp_at + 16, &(u16){(u16)sum}, 2);
    h->flags = HDR_NEEDS_CSUM;
    h->csum_start = (u16)t->tcp_at;
    h->csum_offset = 16;
}

// What is longer than a frame is cut by the device (5.1.6.2).
static void ask_for_cutting(struct virtio_net *n, struct net_header *h, const struct tcp_frame *t)
{
    h->gso_type = t->six ? GSO_TCPV6 : GSO_TCPV4;
    h->header_len = (u16)t->data_at;
    h->gso_size = (u16)(n->device.mtu + SIZEOF_ETH_HDR - t->data_at);
}

// A buffer for len bytes, which travels with descriptor id. => NULL
static u8 *tx_buffer(struct virtio_net *n, u32 id, u32 len)
{
    if (len <= BUFFER_BYTES) {
        if (!n->tx_buffers[id])
            n->tx_buffers[id] = kmalloc(BUFFER_BYTES);
        return n->tx_buffers[id];
    }
    if (!n->n_large_free && n->n_large < LARGE_MAX) {
        struct page *page = page_alloc(LARGE_ORDER, 0);
        if (page) {
            n->large_free[n->n_large_free++] = page_address(page);
            n->n_large++;
        }
    }
    if (n->n_large_free)
        n->tx_large[id] = n->large_free[--n->n_large_free];
    return n->tx_large[id];
}

static int send_frame(struct net_device *d, struct pbuf *p)
{
    struct virtio_net *n = net_of(d);
    struct net_header h = {0};
    struct tcp_frame t;
    u32 len = p->tot_len;
    bool large = len > (u32)d->mtu + SIZEOF_ETH_HDR;
    if (n->broken || len > (large ? LARGE_BYTES : BUFFER_BYTES) - sizeof(h))
        return -ENOBUFS;
    if (n->n_tx_free < QUEUE_SIZE / 2)
        reclaim(n);
    u8 *buffer =
        n->n_tx_free ? tx_buffer(n, n->tx_free[n->n_tx_free - 1], (u32)sizeof(h) + len) : NULL;
    if (!buffer) {  // wait for half of what is on its way
        n->tx_full = true;
        virtqueue_ask(&n->tx, (u16)MAX(n->tx.n_posted / 2, 1));
        reclaim(n);
        return -ENOBUFS;
    }
    u32 id = n->tx_free[--n->n_tx_free];
    u8 *frame = buffer + n->header_bytes;
    pbuf_copy_partial(p, frame, (u16)len, 0);
    if ((n->virtio->features & BIT(F_CSUM)) && look_at_tcp(&t, frame, len)) {
        ask_for_checksum(&h, &t, frame, len);
        if (large)
            ask_for_cutting(n, &h, &t);
    }
    memcpy(buffer, &h, n->header_bytes);
    virtqueue_add(&n->tx, id, virt_to_phys(buffer), n->header_bytes + len, false);
    n->tx_posted = true;
    return 0;
}

static void flush(struct net_device *d)
{
    struct virtio_net *n = net_of(d);
    if (n->tx_posted) {
        n->tx_posted = false;
        virtqueue_tell(&n->tx);
    }
}

// ---- the thread's part and the interrupt

// Those who found no room may try again, when there is some.
static void look_for_room(struct virtio_net *n)
{
    net_lock(n->device.stack);
    reclaim(n);
    bool room = n->n_tx_free > QUEUE_SIZE / 4 && (n->n_large < LARGE_MAX || n->n_large_free);
    if (room) {
        n->tx_full = false;
        virtqueue_ask(&n->tx, 0);
        net_device_has_room(&n->device);
    } else if (!n->broken) {
        virtqueue_ask(&n->tx, (u16)MAX(n->tx.n_posted / 2, 1));
    }
    net_unlock(n->device.stack);
}

static bool poll_device(struct net_device *d, u32 budget)
{
    struct virtio_net *n = net_of(d);
    u32 done = 0;
    if (n->broken)
        return false;
    virtqueue_ask(&n->rx, 0);
    while (done < budget && virtqueue_has_used(&n->rx) && !n->broken) {
        net_lock(d->stack);
        for (u32 i = 0; i < LOCKED_FRAMES && receive_one(n); i++)
            done++;
        net_device_received(d);
        net_unlock(d->stack);
        if (!n->broken)
            virtqueue_tell(&n->rx);
    }
    if (n->tx_full && !n->broken)
        look_for_room(n);
    if (done >= budget)
        return true;
    virtqueue_ask(&n->rx, 1);
    return !n->broken && (virtqueue_has_used(&n->rx) || (n->tx_full && virtqueue_has_used(&n->tx)));
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
        n->device.offloads |= NET_CSUM_OUT;
    if (v->features & BIT(F_HOST_TSO4))
        n->device.offloads |= NET_TSO4;
    if (v->features & BIT(F_HOST_TSO6))
        n->device.offloads |= NET_TSO6;
    n->device.send_most = LARGE_BYTES - sizeof(struct net_header) - SIZEOF_ETH_HDR;
}

static int add_queue(struct virtio_net *n, struct virtqueue *q, unsigned index, u16 size, u32 *len)
{
    unsigned order = 0;
    while ((PAGE_SIZE << order) < virtqueue_bytes(size))
        order++;
    struct page *memory = page_alloc(order, PAGE_ZERO);
    int err = memory ? virtqueue_init_large(q, n->virtio, index, page_address(memory), size, len)
                     : -ENOMEM;
    if (!err)
        virtqueue_event_init(q);
    return err;
}

// Agrees on features, without those whose conditions do not hold (5.1.3.1); large receive only into mergeable buffers.
static int agree(struct virtio_device *v)
{
    u64 wanted = BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_MTU) | BIT(F_MAC) | BIT(F_MRG_RXBUF) |
                 BIT(F_STATUS) | LARGE_RECEIVE | LARGE_SEND | VIRTIO_F_EVENT_IDX |
                 (v->legacy ? VIRTIO_F_ANY_LAYOUT : 0);
    int err = virtio_start(v, wanted);
    u64 refused = 0;
    if (!(v->features & BIT(F_CSUM)))
        refused |= LARGE_SEND;
    if (!(v->features & BIT(F_GUEST_CSUM)) || !(v->features & BIT(F_MRG_RXBUF)))
        refused |= LARGE_RECEIVE;
    return !err && (v->features & refused) ? virtio_start(v, wanted & ~refused) : err;
}

static int start(struct virtio_net *n)
{
    struct virtio_device *v = n->virtio;
    int err = agree(v);
    if (err)
        return err;
    if (v->legacy && !(v->features & VIRTIO_F_ANY_LAYOUT))
        return -ENODEV;
    n->header_bytes =
        !v->legacy || (v->features & BIT(F_MRG_RXBUF)) ? sizeof(struct net_header) : 10;
    err = virtio_set_interrupt(v, interrupt, n);
    if (err)
        return err;
    n->rx_size = RX_SIZE_LARGE;
    if (!(v->features & LARGE_RECEIVE) || add_queue(n, &n->rx, Q_RX, n->rx_size, n->rx_len)) {
        n->rx_size = QUEUE_SIZE;
        err = add_queue(n, &n->rx, Q_RX, n->rx_size, n->rx_len);
    }
    if (!err)
        err = add_queue(n, &n->tx, Q_TX, QUEUE_SIZE, n->tx_len);
    for (u32 i = 0; !err && i < n->rx_size; i++) {
        n->rx_buffers[i] = kmalloc(BUFFER_BYTES);
        if (!n->rx_buffers[i])
            return -ENOMEM;
    }
    for (u32 i = 0; i < QUEUE_SIZE; i++)
        n->tx_free[n->n_tx_free++] = (u8)i;
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
    for (u32 i = 0; i < n->rx_size; i++)
        post_rx(n, i);
    virtqueue_ask(&n->rx, 1);
    virtqueue_tell(&n->rx);
    return net_device_add(&n->device);
}
