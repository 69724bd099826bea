// SPDX-License-Identifier: BSD-2-Clause
// e1000.c: Intel's gigabit cards as every hypervisor emulates them: 82540EM, 82544GC and 82545EM ("e1000"; Intel 317453, PCI/PCI-X
// Family of Gigabit Ethernet Controllers Software Developer's Manual), and 82574L ("e1000e"; Intel 317694, data sheet). Both know
// the old descriptors of 16 bytes, which is all that is used; checksums are the stack's.
//
//          oldest                 next                        The card owns [next - in flight, next) of the send ring and
//            v                      v                         all of the receive ring but one. It says "done" by a bit in
//   | free | sent, not taken back  | free ...                 the descriptor; its head registers are not read.
//
// The handler masks all causes and wakes the stack's thread, which takes everything in and opens them again.
#include "arch/cpu.h"
#include "arch/mmu.h"
#include "core/log.h"
#include "core/platform.h"
#include "platform/net/nic.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

#define N_RX 128u
#define N_TX 128u
#define REGISTER_BYTES 0x20000
#define RESET_TRIES 100000

enum {
    CTRL = 0x0000,
    STATUS = 0x0008,
    ICR = 0x00c0,
    IMS = 0x00d0,
    IMC = 0x00d8,
    RCTL = 0x0100,
    TCTL = 0x0400,
    TIPG = 0x0410,
    RDBAL = 0x2800,
    RDBAH = 0x2804,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    TDBAL = 0x3800,
    TDBAH = 0x3804,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    TXDCTL = 0x3828,
    MTA = 0x5200,
    RAL0 = 0x5400,
    RAH0 = 0x5404,
};
#define MTA_ENTRIES 128u

#define CTRL_LINK_RESET BIT(3)
#define CTRL_AUTO_SPEED BIT(5)
#define CTRL_SET_LINK_UP BIT(6)
#define CTRL_INVERT_LOS BIT(7)
#define CTRL_RESET BIT(26)
#define CTRL_VLAN BIT(30)
#define CTRL_PHY_RESET BIT(31)
#define STATUS_LINK_UP BIT(1)
#define RAH_VALID BIT(31)
#define RCTL_ON \
    (BIT(1) | BIT(4) | BIT(15) | BIT(26))  // enabled, all groups, broadcast, no CRC; 2048
#define TCTL_ON \
    (BIT(1) | BIT(3) | 0x0f << 4 | 0x40 << 12)  // enabled, short frames padded; collisions
#define TIPG_COPPER (10 | 8 << 10 | 6 << 20)
#define TXDCTL_COUNT_DESCRIPTORS BIT(22)  // 82574: has to be set

#define CAUSE_SENT BIT(0)
#define CAUSE_LINK BIT(2)
#define CAUSES (CAUSE_LINK | BIT(4) | BIT(6) | BIT(7))  // and: few buffers, none, a frame has come

struct rx_descriptor {
    u64 address;
    u16 length, checksum;
    u8 status, errors;
    u16 special;
};
#define RX_DONE BIT(0)
#define RX_LAST BIT(1)
#define RX_BAD (BIT(0) | BIT(1) | BIT(2) | BIT(7))  // CRC, symbol, sequence, data

struct tx_descriptor {
    u64 address;
    u16 length;
    u8 checksum_offset, command, status, checksum_start;
    u16 special;
};
#define TX_COMMAND (BIT(0) | BIT(1) | BIT(3))  // last of its frame, with CRC, report
#define TX_DONE BIT(0)

struct e1000 {
    struct net_device device;  // first
    volatile u8 *regs;
    volatile struct rx_descriptor *rx;
    volatile struct tx_descriptor *tx;
    u8 *rx_buffers[N_RX], *tx_buffers[N_TX];
    u32 rx_next;              // the next that the card fills
    bool cut;                 // the buffers of a frame that is too long go by
    u32 tx_next;              // [stack lock]
    u32 in_flight;            // [stack lock] sent and not taken back, below tx_next
    bool tx_posted, tx_full;  // [stack lock] the card has not been told; somebody found no room
    bool link_changed;        // atomic: of the handler
    bool broken;
};

static struct e1000 *e1000_of(struct net_device *d) { return (struct e1000 *)d; }

static u32 get(struct e1000 *e, u32 reg) { return reg_read32(e->regs, reg); }
static void set(struct e1000 *e, u32 reg, u32 value) { reg_write32(e->regs, reg, value); }

// ---- receiving

static void post_rx(struct e1000 *e, u32 i)
{
    e->rx[i].address = virt_to_phys(e->rx_buffers[i]);
    e->rx[i].status = 0;
}

// => true: a descriptor has been dealt with. [stack lock]
static bool receive_one(struct net_device *d)
{
    struct e1000 *e = e1000_of(d);
    u32 i = e->rx_next;
    u8 status = e->rx[i].status;
    if (!(status & RX_DONE) || e->broken)
        return false;
    device_fence();
    u32 len = e->rx[i].length;
    bool whole = (status & RX_LAST) && !e->cut && !(e->rx[i].errors & RX_BAD);
    if (len > NIC_BUFFER_BYTES) {
        log_error("e1000: the card says that it has put %u bytes into %u and is not used any more",
                  len, (u32)NIC_BUFFER_BYTES);
        e->broken = true;
        set(e, RCTL, 0);
        set(e, TCTL, 0);
        return false;
    }
    e->cut = !(status & RX_LAST);
    if (whole)
        nic_deliver(d, e->rx_buffers[i], len);
    else if (!e->cut)
        d->counters.rx_dropped++;
    post_rx(e, i);
    e->rx_next = (i + 1) % N_RX;
    return true;
}

// ---- sending

// Takes back what has been sent. [stack lock]
static void reclaim(struct e1000 *e)
{
    while (e->in_flight && (e->tx[(e->tx_next - e->in_flight) % N_TX].status & TX_DONE))
        e->in_flight--;
}

static int send_frame(struct net_device *d, struct pbuf *p)
{
    struct e1000 *e = e1000_of(d);
    u32 i = e->tx_next;
    if (e->broken || p->tot_len > NIC_BUFFER_BYTES)
        return -ENOBUFS;
    if (e->in_flight >= N_TX / 2)
        reclaim(e);
    if (e->in_flight == N_TX - 1) {
        e->tx_full = true;
        set(e, IMS, CAUSE_SENT);
        return -ENOBUFS;
    }
    if (!nic_buffers(&e->tx_buffers[i], 1))
        return -ENOBUFS;
    pbuf_copy_partial(p, e->tx_buffers[i], p->tot_len, 0);
    e->tx[i].address = virt_to_phys(e->tx_buffers[i]);
    e->tx[i].length = p->tot_len;
    e->tx[i].status = 0;
    e->tx[i].command = TX_COMMAND;
    e->tx_next = (i + 1) % N_TX;
    e->in_flight++;
    e->tx_posted = true;
    return 0;
}

static void flush(struct net_device *d)
{
    struct e1000 *e = e1000_of(d);
    if (!e->tx_posted)
        return;
    e->tx_posted = false;
    device_fence();
    set(e, TDT, e->tx_next);
}

// ---- the thread's part and the interrupt

static void look_at_the_rest(struct e1000 *e)
{
    net_lock(e->device.stack);
    reclaim(e);
    if (e->tx_full && e->in_flight < N_TX / 2) {
        e->tx_full = false;
        net_device_has_room(&e->device);
    }
    if (atomic_load(&e->link_changed)) {
        atomic_store(&e->link_changed, false);
        net_device_link_changed(&e->device);
    }
    net_unlock(e->device.stack);
}

static bool poll_device(struct net_device *d, u32 budget)
{
    struct e1000 *e = e1000_of(d);
    u32 done = nic_receive(d, budget, receive_one);
    if (done) {
        device_fence();
        set(e, RDT, (e->rx_next - 1) % N_RX);
    }
    if (e->tx_full || atomic_load(&e->link_changed))
        look_at_the_rest(e);
    if (e->broken || done >= budget)
        return !e->broken;
    set(e, IMS,
        CAUSES | (e->tx_full ? CAUSE_SENT : 0));  // a cause that has come meanwhile interrupts
    return false;
}

static void interrupt(void *arg)
{
    struct e1000 *e = arg;
    u32 causes = get(e, ICR);  // and clears them
    if (!causes)
        return;  // somebody else's on the same line
    set(e, IMC, UINT32_MAX);
    if (causes & CAUSE_LINK)
        atomic_store(&e->link_changed, true);
    net_kick(e->device.stack);
}

static bool link_up(struct net_device *d) { return get(e1000_of(d), STATUS) & STATUS_LINK_UP; }

static const struct net_device_ops e1000_ops = {
    .poll = poll_device,
    .send = send_frame,
    .flush = flush,
    .link_up = link_up,
};

// ---- bring-up

static int reset(struct e1000 *e)
{
    set(e, IMC, UINT32_MAX);
    set(e, RCTL, 0);
    set(e, TCTL, 0);
    set(e, CTRL, get(e, CTRL) | CTRL_RESET);
    for (u32 i = 0; get(e, CTRL) & CTRL_RESET; i++) {
        if (i == RESET_TRIES)
            return -EIO;
        arch_cpu_relax();
    }
    set(e, IMC, UINT32_MAX);
    (void)get(e, ICR);
    u32 off = CTRL_LINK_RESET | CTRL_INVERT_LOS | CTRL_VLAN | CTRL_PHY_RESET;
    set(e, CTRL, (get(e, CTRL) & ~(u32)off) | CTRL_SET_LINK_UP | CTRL_AUTO_SPEED);
    return 0;
}

// The card takes its address from its EEPROM when it is reset.
static int read_mac(struct e1000 *e)
{
    u32 low = get(e, RAL0), high = get(e, RAH0);
    for (u32 i = 0; i < 6; i++)
        e->device.mac[i] = (u8)((i < 4 ? low >> 8 * i : high >> 8 * (i - 4)));
    return (high & RAH_VALID) && nic_mac_is_good(e->device.mac) ? 0 : -ENODEV;
}

static void start_rings(struct e1000 *e)
{
    phys_t rx = virt_to_phys((const void *)e->rx), tx = virt_to_phys((const void *)e->tx);
    for (u32 i = 0; i < MTA_ENTRIES; i++)
        set(e, MTA + 4 * i, 0);
    for (u32 i = 0; i < N_RX; i++)
        post_rx(e, i);
    set(e, RDBAL, (u32)rx);
    set(e, RDBAH, rx >> 32);
    set(e, RDLEN, N_RX * sizeof(*e->rx));
    set(e, RDH, 0);
    set(e, TDBAL, (u32)tx);
    set(e, TDBAH, tx >> 32);
    set(e, TDLEN, N_TX * sizeof(*e->tx));
    set(e, TDH, 0);
    set(e, TDT, 0);
    set(e, TXDCTL, get(e, TXDCTL) | TXDCTL_COUNT_DESCRIPTORS);
    set(e, TIPG, TIPG_COPPER);
    set(e, TCTL, TCTL_ON);
    set(e, RCTL, RCTL_ON);
    device_fence();
    set(e, RDT, N_RX - 1);
}

int e1000_start(u32 function)
{
    phys_t base = pci_bar(function, 0);
    if (!base || !platform_is_device(base, REGISTER_BYTES))
        return -ENODEV;
    struct e1000 *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->device.ops = &e1000_ops;
    e->device.mtu = 1500;
    e->device.stack = net_stack_here();
    e->regs = arch_map_device(base, REGISTER_BYTES);
    pci_enable(function);
    e->rx = nic_page();
    e->tx = nic_page();
    int err = e->rx && e->tx && nic_buffers(e->rx_buffers, N_RX) ? 0 : -ENOMEM;
    if (!err)
        err = reset(e);
    if (!err)
        err = read_mac(e);
    if (!err)
        err = pci_set_interrupt(function, PCI_MSI | PCI_LINE | PCI_TIMER, interrupt, e);
    if (err < 0)
        return err;  // the memory may be the card's still: it is lost
    start_rings(e);
    err = net_device_add(&e->device);
    set(e, IMS, CAUSES);
    return err;
}
