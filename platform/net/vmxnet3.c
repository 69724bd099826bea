// SPDX-License-Identifier: BSD-2-Clause
// vmxnet3.c: VMware's paravirtual network card, revision 1. There is no public manual; the layout is that of the interface which VMware
// publishes with its open-source drivers. One send and one receive queue, no offloads: checksums are the stack's.
//
//   command ring   what the driver gives: a descriptor a frame            one whose generation bit is the ring's current one
//   completion     what the card gives back: the index of a descriptor    is full; the bit flips each time round
//
// Of the receive ring all slots but one are the card's; `rx_next` is the first of them and rx_next - 1 the free one. The card may pass over
// slots, so a completion for slot i ends those before it too. An index outside of what the card has, or a length beyond the buffer's,
// stops the card. The second receive ring (bodies of large frames) is there because it must be, and stays empty.
#include "arch/mmu.h"
#include "core/log.h"
#include "core/platform.h"
#include "platform/net/nic.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

#define N 128u  // slots of the send ring, its completion ring, and the receive ring
#define N_BODIES 32u
#define N_RX_DONE (N + N_BODIES)  // the completion ring holds as many as both rings
#define REGISTER_BYTES 0x1000

enum { IMR = 0x000, TXPROD = 0x600, RXPROD = 0x800 };  // BAR 0
enum {                                                 // BAR 1
    VRRS = 0x00,
    UVRS = 0x08,
    DSAL = 0x10,
    DSAH = 0x18,
    CMD = 0x20,
    MACL = 0x28,
    MACH = 0x30,
    ICR = 0x38,
    ECR = 0x40,
};
enum {
    CMD_ACTIVATE = 0xcafe0000,
    CMD_QUIESCE = 0xcafe0001,
    CMD_RESET = 0xcafe0002,
    CMD_UPDATE_RX_MODE = 0xcafe0003,
    CMD_GET_LINK = 0xf00d0002,
    CMD_GET_MAC_LOW = 0xf00d0003,
    CMD_GET_MAC_HIGH = 0xf00d0004,
};
enum { EVENT_RX_ERROR = 1, EVENT_TX_ERROR = 2, EVENT_LINK = 4 };

struct slot {  // of every ring
    u64 address;
    u32 word2, word3;
};
#define WORD0(s) (*(volatile u32 *)&(s)->address)
#define LENGTH(word) ((word)&0x3fff)
#define INDEX(word) ((word)&0xfff)
#define TX_GENERATION BIT(14)             // word 2
#define TX_ONE_FRAME (BIT(12) | BIT(13))  // word 3: ends a frame, wants a completion
#define RX_GENERATION BIT(31)             // word 2
#define DONE_GENERATION BIT(31)           // word 3
#define DONE_LAST BIT(14)                 // word 0: ends a frame
#define DONE_FIRST BIT(15)
#define DONE_RING(word) ((word) >> 16 & 0x3ff)
#define DONE_ERROR BIT(14)  // word 2

// What the driver tells, at the address in DSAL and DSAH.
struct shared {
    u32 magic, pad0;
    u32 driver_version, guest, revisions, upt_versions;
    u64 features, driver_data, queues;
    u32 driver_data_bytes, queue_bytes, mtu;
    u16 rx_buffers_a_frame;
    u8 n_tx_queues, n_rx_queues;
    u32 reserved0[4];
    u8 auto_mask, n_interrupts, event_interrupt, moderation[25];
    u32 interrupt_control, reserved1[2];
    u32 rx_mode;
    u16 group_bytes, pad1;
    u64 groups;
    u32 vlans[128];
    u64 more[6];  // RSS, power management, plug-in: none
    u32 events, reserved2;
    u64 command[2];
};
_Static_assert(sizeof(struct shared) == 720 && offsetof(struct shared, events) == 696, "");
#define MAGIC 0xbabefee1u
#define GUEST_64_BIT (2 | 1 << 2)  // of a known kind: "Linux"
#define RX_MODE (1 | 4 | 8)        // for this machine, for all, for groups

struct tx_queue {
    u32 deferred, threshold;
    u64 reserved0;
    u64 ring, data_ring, done_ring, driver_data, reserved1;
    u32 ring_size, data_size, done_size, driver_data_bytes;
    u8 interrupt, pad[7];
    u8 stopped, pad1[3];
    u32 error;
    u8 counters[168];
};
struct rx_queue {
    u8 update, pad0[7];
    u64 reserved0;
    u64 ring[2], done_ring, driver_data, reserved1;
    u32 ring_size[2], done_size, driver_data_bytes;
    u8 interrupt, pad1[7];
    u8 stopped, pad2[3];
    u32 error;
    u8 counters[168];
};
_Static_assert(sizeof(struct tx_queue) == 256 && sizeof(struct rx_queue) == 256, "");
#define QUEUES_AT 1024  // in the page of struct shared

struct vmxnet3 {
    struct net_device device;  // first
    volatile u8 *fast, *regs;  // BAR 0 and 1
    volatile struct shared *shared;
    volatile struct slot *tx, *tx_done, *rx, *rx_done;
    u8 *rx_buffers[N], *tx_buffers[N];
    u32 rx_next, rx_done_next;
    bool rx_round, rx_done_round;  // generation of what is given next, and of what comes next
    u32 tx_next, in_flight, tx_done_next;  // [stack lock]
    bool tx_round, tx_done_round;          // [stack lock]
    bool tx_posted, tx_full;  // [stack lock] the card has not been told; somebody found no room
    bool by_message;          // the interrupt is nobody else's
    bool broken;
};

static struct vmxnet3 *vmxnet3_of(struct net_device *d) { return (struct vmxnet3 *)d; }

static void command(struct vmxnet3 *v, u32 code) { reg_write32(v->regs, CMD, code); }
static u32 ask(struct vmxnet3 *v, u32 code)
{
    command(v, code);
    return reg_read32(v->regs, CMD);
}

static void broken(struct vmxnet3 *v, const char *why)
{
    log_error("vmxnet3: the card breaks the rules (%s) and is not used any more", why);
    v->broken = true;
    command(v, CMD_QUIESCE);
}

// ---- receiving

// Gives the card the free slot.
static void post_rx(struct vmxnet3 *v)
{
    u32 i = (v->rx_next - 1) % N;
    v->rx[i].address = virt_to_phys(v->rx_buffers[i]);
    device_fence();
    v->rx[i].word2 = NIC_BUFFER_BYTES | (v->rx_round ? (u32)RX_GENERATION : 0);
    if (i == N - 1)
        v->rx_round = !v->rx_round;
}

// => true: a completion has been dealt with. [stack lock]
static bool receive_one(struct net_device *d)
{
    struct vmxnet3 *v = vmxnet3_of(d);
    volatile struct slot *done = &v->rx_done[v->rx_done_next];
    if (v->broken || !(done->word3 & DONE_GENERATION) == v->rx_done_round)
        return false;
    device_fence();
    u32 word0 = WORD0(done), word2 = done->word2, i = INDEX(word0);
    if (i >= N || DONE_RING(word0) || (i - v->rx_next) % N == N - 1 ||
        LENGTH(word2) > NIC_BUFFER_BYTES) {
        broken(v, "a frame's place or length");
        return false;
    }
    if ((word0 & (DONE_FIRST | DONE_LAST)) == (DONE_FIRST | DONE_LAST) && !(word2 & DONE_ERROR))
        nic_deliver(d, v->rx_buffers[i], LENGTH(word2));
    else
        d->counters.rx_dropped++;
    for (bool last = false; !last;) {
        last = v->rx_next == i;
        post_rx(v);
        v->rx_next = (v->rx_next + 1) % N;
    }
    v->rx_done_next = (v->rx_done_next + 1) % N_RX_DONE;
    v->rx_done_round ^= v->rx_done_next == 0;
    return true;
}

// ---- sending

// Takes back what has been sent. [stack lock]
static void reclaim(struct vmxnet3 *v)
{
    for (;;) {
        volatile struct slot *done = &v->tx_done[v->tx_done_next];
        if (v->broken || !(done->word3 & DONE_GENERATION) == v->tx_done_round)
            return;
        device_fence();
        u32 n = (INDEX(WORD0(done)) - (v->tx_next - v->in_flight)) % N + 1;
        if (INDEX(WORD0(done)) >= N || n > v->in_flight) {
            broken(v, "a sent frame's place");
            return;
        }
        v->in_flight -= n;
        v->tx_done_next = (v->tx_done_next + 1) % N;
        v->tx_done_round ^= v->tx_done_next == 0;
    }
}

static int send_frame(struct net_device *d, struct pbuf *p)
{
    struct vmxnet3 *v = vmxnet3_of(d);
    u32 i = v->tx_next;
    if (v->in_flight >= N / 2)
        reclaim(v);
    if (v->broken || p->tot_len > NIC_BUFFER_BYTES || !p->tot_len)
        return -ENOBUFS;
    if (v->in_flight == N - 1) {
        v->tx_full = true;  // each frame that has been sent interrupts
        return -ENOBUFS;
    }
    if (!nic_buffers(&v->tx_buffers[i], 1))
        return -ENOBUFS;
    pbuf_copy_partial(p, v->tx_buffers[i], p->tot_len, 0);
    v->tx[i].address = virt_to_phys(v->tx_buffers[i]);
    v->tx[i].word3 = TX_ONE_FRAME;
    device_fence();
    v->tx[i].word2 = p->tot_len | (v->tx_round ? (u32)TX_GENERATION : 0);
    v->tx_next = (i + 1) % N;
    v->tx_round ^= v->tx_next == 0;
    v->in_flight++;
    v->tx_posted = true;
    return 0;
}

static void flush(struct net_device *d)
{
    struct vmxnet3 *v = vmxnet3_of(d);
    if (!v->tx_posted)
        return;
    v->tx_posted = false;
    device_fence();
    reg_write32(v->fast, TXPROD, v->tx_next);
}

// ---- the thread's part and the interrupt

static void take_events(struct vmxnet3 *v)
{
    u32 events = v->shared->events;
    if (!events)
        return;
    reg_write32(v->regs, ECR, events);  // clears them
    if (events & (EVENT_RX_ERROR | EVENT_TX_ERROR))
        broken(v, "it has stopped a queue");
    if (events & EVENT_LINK) {
        net_lock(v->device.stack);
        net_device_link_changed(&v->device);
        net_unlock(v->device.stack);
    }
}

static void make_room(struct vmxnet3 *v)
{
    net_lock(v->device.stack);
    reclaim(v);
    if (v->in_flight < N / 2) {
        v->tx_full = false;
        net_device_has_room(&v->device);
    }
    net_unlock(v->device.stack);
}

static bool poll_device(struct net_device *d, u32 budget)
{
    struct vmxnet3 *v = vmxnet3_of(d);
    u32 done = nic_receive(d, budget, receive_one);
    if (done && !v->broken) {
        device_fence();
        reg_write32(v->fast, RXPROD, (v->rx_next - 1) % N);
    }
    if (v->tx_full)
        make_room(v);
    take_events(v);
    if (v->broken || done >= budget)
        return !v->broken;
    reg_write32(v->fast, IMR, 0);
    device_fence();
    return !(v->rx_done[v->rx_done_next].word3 & DONE_GENERATION) != v->rx_done_round;
}

static void interrupt(void *arg)
{
    struct vmxnet3 *v = arg;
    if (!v->by_message && !reg_read32(v->regs, ICR))
        return;  // somebody else's on the same line
    reg_write32(v->fast, IMR, 1);
    net_kick(v->device.stack);
}

static bool link_up(struct net_device *d) { return ask(vmxnet3_of(d), CMD_GET_LINK) & 1; }

static const struct net_device_ops vmxnet3_ops = {
    .poll = poll_device,
    .send = send_frame,
    .flush = flush,
    .link_up = link_up,
};

// ---- bring-up

static int make_rings(struct vmxnet3 *v)
{
    char *tx = nic_page(), *rx = nic_page(), *done = nic_page(), *shared = nic_page();
    if (!tx || !rx || !done || !shared || !nic_buffers(v->rx_buffers, N))
        return -ENOMEM;
    struct tx_queue *t = (struct tx_queue *)(shared + QUEUES_AT);
    struct rx_queue *r = (struct rx_queue *)(t + 1);
    v->shared = (struct shared *)shared;
    v->tx = (struct slot *)tx;
    v->tx_done = (struct slot *)tx + N;
    v->rx = (struct slot *)rx;
    v->rx_done = (struct slot *)done;
    t->ring = virt_to_phys(tx);
    t->done_ring = t->ring + N * sizeof(struct slot);
    t->ring_size = t->done_size = N;
    r->ring[0] = virt_to_phys(rx);
    r->ring[1] = r->ring[0] + N * sizeof(struct slot);
    r->done_ring = virt_to_phys(done);
    r->ring_size[0] = N;
    r->ring_size[1] = N_BODIES;
    r->done_size = N_RX_DONE;
    *(struct shared *)shared = (struct shared){
        .magic = MAGIC,
        .driver_version = 1,
        .guest = GUEST_64_BIT,
        .revisions = 1,
        .upt_versions = 1,
        .queues = virt_to_phys(t),
        .queue_bytes = sizeof(*t) + sizeof(*r),
        .mtu = v->device.mtu,
        .rx_buffers_a_frame = 1,
        .n_tx_queues = 1,
        .n_rx_queues = 1,
        .auto_mask = 1,
        .n_interrupts = 1,
        .rx_mode = RX_MODE,
    };
    v->rx_round = v->rx_done_round = v->tx_round = v->tx_done_round = true;
    for (v->rx_next = 1; v->rx_next < N; v->rx_next++)
        post_rx(v);
    v->rx_next = 0;
    return 0;
}

static int identify(struct vmxnet3 *v)
{
    if (!(reg_read32(v->regs, VRRS) & 1) || !(reg_read32(v->regs, UVRS) & 1))
        return -ENODEV;
    reg_write32(v->regs, VRRS, 1);
    reg_write32(v->regs, UVRS, 1);
    command(v, CMD_RESET);
    u32 low = ask(v, CMD_GET_MAC_LOW), high = ask(v, CMD_GET_MAC_HIGH);
    for (u32 i = 0; i < 6; i++)
        v->device.mac[i] = (u8)(i < 4 ? low >> 8 * i : high >> 8 * (i - 4));
    return nic_mac_is_good(v->device.mac) ? 0 : -ENODEV;
}

static int activate(struct vmxnet3 *v)
{
    phys_t shared = virt_to_phys((const void *)v->shared);
    reg_write32(v->fast, IMR, 1);
    device_fence();
    reg_write32(v->regs, DSAL, (u32)shared);
    reg_write32(v->regs, DSAH, shared >> 32);
    reg_write32(v->regs, MACL, *(u32 *)v->device.mac);
    reg_write32(v->regs, MACH, (u32)v->device.mac[4] | (u32)v->device.mac[5] << 8);
    if (ask(v, CMD_ACTIVATE))
        return -EIO;
    reg_write32(v->fast, RXPROD, N - 1);
    command(v, CMD_UPDATE_RX_MODE);
    return 0;
}

int vmxnet3_start(u32 function)
{
    phys_t fast = pci_bar(function, 0), regs = pci_bar(function, 1);
    if (!fast || !regs || !platform_is_device(fast, REGISTER_BYTES) ||
        !platform_is_device(regs, REGISTER_BYTES))
        return -ENODEV;
    struct vmxnet3 *v = kzalloc(sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->device.ops = &vmxnet3_ops;
    v->device.mtu = 1500;
    v->device.stack = net_stack_here();
    v->fast = arch_map_device(fast, REGISTER_BYTES);
    v->regs = arch_map_device(regs, REGISTER_BYTES);
    pci_enable(function);
    int err = identify(v);
    if (!err)
        err = make_rings(v);
    if (!err)
        err = pci_set_interrupt(function, PCI_MSIX | PCI_MSI | PCI_LINE | PCI_TIMER, interrupt, v);
    v->by_message = err != PCI_LINE;
    if (err >= 0)
        err = activate(v);
    if (err)
        return err;  // the memory may be the card's still: it is lost
    err = net_device_add(&v->device);
    reg_write32(v->fast, IMR, 0);
    return err;
}
