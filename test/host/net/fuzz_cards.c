// SPDX-License-Identifier: BSD-2-Clause
// fuzz_cards.c: the drivers of e1000 and vmxnet3 against a card that is played here, with ASan and UBSan. The card is honest, and what it
// brings must go up and what it is given must be the stack's, byte for byte; or it writes the input over its rings and registers, and
// nothing but its own buffers may be read or written for that.
//
// The first byte of the input says which card; then steps, each a byte that says which and what it takes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "platform/net/nic.h"
#include "platform/pci.h"
#include "platform/pci_drivers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#undef current  // a field here
#define RAM_BYTES (1ul << 20)
#define CHECK(what)                                        \
    do {                                                   \
        if (!(what))                                       \
            panic("failed: %s, line %d", #what, __LINE__); \
    } while (0)

// ---- the kernel around it

char *fake_ram;
struct cpu *fake_cpu;
struct page *page_array;
int log_level = 0;
static size_t ram_used;
static u8 registers[2][0x20000];
static struct net_stack stack;
static struct net_device *card;
static void (*handler)(void *);
static void *handler_arg;
static int way;
static u32 link_changes, rooms;

void klog_line(int level, const char *fmt, ...) {}
void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, ": panic\n");
    abort();
}
void spin_lock_slow(struct spinlock *lock) { panic("a lock is taken twice"); }
void net_unlock_slow(struct net_stack *st) { spin_unlock(&st->lock); }
struct net_stack *net_stack_here(void) { return &stack; }
void net_kick(struct net_stack *st) {}

void *kmalloc(size_t size)
{
    CHECK(ram_used + size <= RAM_BYTES);
    void *p = fake_ram + ram_used;
    ram_used += size;
    return p;
}
void *kzalloc(size_t size) { return calloc(1, size); }
struct page *page_alloc(unsigned order, u32 flags)
{
    ram_used = ALIGN_UP(ram_used, PAGE_SIZE);
    memset(fake_ram + ram_used, 0, PAGE_SIZE);
    struct page *p = page_array + (ram_used >> PAGE_SHIFT);
    ram_used += PAGE_SIZE;
    return p;
}
phys_t pci_bar(u32 function, u32 bar) { return 0x1000000 * (bar + 1); }
void pci_enable(u32 function) {}
bool platform_is_device(phys_t pa, size_t len) { return true; }
void *arch_map_device(phys_t pa, size_t len) { return registers[pa / 0x1000000 - 1]; }
int pci_set_interrupt(u32 function, u32 kinds, void (*fn)(void *), void *arg)
{
    handler = fn;
    handler_arg = arg;
    return kinds & way ? way : PCI_TIMER;
}

// ---- the stack above it

static u8 expected[NIC_BUFFER_BYTES];
static u32 expected_len, received;
static bool honest;

struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type)
{
    struct pbuf *p = calloc(1, sizeof(*p) + len);
    p->payload = p + 1;
    p->len = p->tot_len = len;
    return p;
}
u16_t pbuf_copy_partial(const struct pbuf *p, void *to, u16_t len, u16_t offset)
{
    memcpy(to, (u8 *)p->payload + offset, len);
    return len;
}
void net_device_received(struct net_device *d) {}
void net_device_receive(struct net_device *d, struct pbuf *p, bool checked, bool more)
{
    CHECK(d == card && !checked && p->tot_len <= NIC_BUFFER_BYTES);
    if (honest)
        CHECK(p->tot_len == expected_len && !memcmp(p->payload, expected, expected_len));
    received++;
    free(p);
}
void net_device_link_changed(struct net_device *d) { link_changes += d->ops->link_up(d) <= 1; }
void net_device_has_room(struct net_device *d) { rooms++; }
int net_device_add(struct net_device *d)
{
    static const u8 mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    CHECK(!memcmp(d->mac, mac, sizeof(mac)) && d->mtu == 1500);
    card = d;
    return 0;
}

// ---- the input

static const uint8_t *input;
static size_t left;
static u32 take(u32 n_bytes)
{
    u32 v = 0;
    for (; n_bytes; n_bytes--) {
        v = v << 8 | (left ? *input++ : 0);
        left -= left != 0;
    }
    return v;
}

// ---- the two cards: where they put a frame and what they are given

#define AT(page, offset) ((volatile u8 *)fake_ram + (page) + (offset))
static volatile u32 *word(u64 page, u32 offset) { return (volatile u32 *)AT(page, offset); }

static u64 rx_page, tx_page, done_page, shared_page;
static u32 rx_at, rx_done_at, tx_at;
static bool rx_round, tx_round;
static u32 last_command;
static bool is_vmxnet3;

static u8 *ram(u64 address, u32 len)
{
    static u8 nowhere[NIC_BUFFER_BYTES];  // the input may have changed the address
    CHECK(!honest || address + len <= ram_used);
    if (address > ram_used || address + len > ram_used)
        return nowhere;
    return (u8 *)fake_ram + address;
}

u32 reg_read32(volatile u8 *regs, u32 offset)
{
    u32 value = *(volatile u32 *)(regs + offset);
    if (!is_vmxnet3)
        return offset == 0 ? value & ~BIT(26) : value;  // a reset is over at once
    if (regs == registers[1] && offset == 0x20 && honest)
        return last_command == 0xf00d0003   ? 0x12005452
               : last_command == 0xf00d0004 ? 0x5634
               : last_command == 0xf00d0002 ? 1
                                            : 0;
    return value;
}

void reg_write32(volatile u8 *regs, u32 offset, u32 value)
{
    *(volatile u32 *)(regs + offset) = value;
    if (is_vmxnet3 && regs == registers[1] && offset == 0x20)
        last_command = value;
}

static bool put_frame_e1000(u32 len)
{
    u32 at = rx_at * 16;
    if (*(u32 *)(registers[0] + 0x2818) == rx_at)
        return false;  // the driver has given no more
    memcpy(ram(*(volatile u64 *)AT(rx_page, at), NIC_BUFFER_BYTES), expected, len);
    *(volatile u16 *)AT(rx_page, at + 8) = (u16)len;
    *AT(rx_page, at + 13) = 0;
    *AT(rx_page, at + 12) = 3;
    rx_at = (rx_at + 1) % 128;
    return true;
}

static bool put_frame_vmxnet3(u32 len)
{
    u32 at = rx_at * 16, word2 = *word(rx_page, at + 8);
    if (!(word2 >> 31) == rx_round)
        return false;
    CHECK(!honest || (word2 & 0x3fff) == NIC_BUFFER_BYTES);
    memcpy(ram(*(volatile u64 *)AT(rx_page, at), NIC_BUFFER_BYTES), expected, len);
    u32 done = rx_done_at * 16, round = rx_done_at / 160 % 2 ? 0 : 1;
    done = rx_done_at % 160 * 16;
    *word(done_page, done) = rx_at | 3u << 14;
    *word(done_page, done + 8) = len;
    *word(done_page, done + 12) = 3u << 24 | round << 31;
    rx_done_at++;
    rx_at = (rx_at + 1) % 128;
    rx_round ^= rx_at == 0;
    return true;
}

// The card sends all that it has been given; each must be what the stack gave.
static void drain_tx(void)
{
    u32 end = *(u32 *)(is_vmxnet3 ? registers[0] + 0x600 : registers[0] + 0x3818);
    while (tx_at % 128 != end) {
        u32 at = tx_at % 128 * 16;
        u64 address = *(volatile u64 *)AT(tx_page, at);
        u32 len =
            is_vmxnet3 ? *word(tx_page, at + 8) & 0x3fff : *(volatile u16 *)AT(tx_page, at + 8);
        CHECK(len == expected_len && !memcmp(ram(address, len), expected, len));
        if (is_vmxnet3) {
            CHECK(*word(tx_page, at + 12) == 3u << 12 &&
                  (*word(tx_page, at + 8) >> 14 & 1) == tx_round);
            *word(tx_page, 2048 + at) = tx_at % 128;
            *word(tx_page, 2048 + at + 12) = (u32)tx_round << 31;
        } else {
            CHECK(*AT(tx_page, at + 11) == 11);
            *AT(tx_page, at + 12) = 1;
        }
        tx_at++;
        tx_round ^= tx_at % 128 == 0;
    }
}

static void new_frame(void)
{
    expected_len = 1 + take(2) % 1514;
    u8 seed = (u8)take(1);
    for (u32 i = 0; i < expected_len; i++)
        expected[i] = (u8)(seed + i * 7);
}

static void step_receive(void)
{
    u32 before = received;
    new_frame();
    bool put = is_vmxnet3 ? put_frame_vmxnet3(expected_len) : put_frame_e1000(expected_len);
    while (card->ops->poll(card, 1 + take(1) % 64))
        ;
    CHECK(!honest || (put && received == before + 1));
}

static void step_send(void)
{
    new_frame();
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16)expected_len, PBUF_RAM);
    memcpy(p->payload, expected, expected_len);
    net_lock(&stack);
    int err = card->ops->send(card, p);
    card->ops->flush(card);
    net_unlock(&stack);
    free(p);
    if (!honest)
        return;
    CHECK(!err);
    drain_tx();
}

// What no card does: bytes of the input over its rings, the shared page, or its registers. Frames that go by are not compared from then on.
static void step_wild(void)
{
    u64 pages[] = {rx_page, tx_page, done_page, shared_page};
    u32 what = take(1), n = take(1);
    honest = false;
    for (u32 i = 0; i < n && left; i++) {
        u32 at = take(2);
        if (what & 4)
            registers[what & 1][at % (is_vmxnet3 ? 0x1000 : 0x6000)] = (u8)take(1);
        else
            *AT(pages[what & 3], at % PAGE_SIZE) = (u8)take(1);
    }
    if (what & 8) {  // a plausible completion with a wild place and length
        u32 at = (u32)(is_vmxnet3 ? rx_done_at % 160 : rx_at) * 16;
        u64 page = is_vmxnet3 ? done_page : rx_page;
        *word(page, at) = is_vmxnet3 ? take(4) : *word(page, at);
        *word(page, at + 8) = take(4);
        *word(page, at + 12) = is_vmxnet3 ? 0x83000000 : take(1) | 1;
    }
    handler(handler_arg);
    for (u32 i = 0; i < 8 && card->ops->poll(card, 64); i++)
        ;
}

static void start(void)
{
    memset(registers, 0, sizeof(registers));
    memset(&stack, 0, sizeof(stack));
    rx_at = rx_done_at = tx_at = 0;
    honest = rx_round = tx_round = true;
    ram_used = PAGE_SIZE;
    if (is_vmxnet3) {
        *(u32 *)(registers[1] + 0) = *(u32 *)(registers[1] + 8) = 3;
    } else {
        *(u32 *)(registers[0] + 0x5400) = 0x12005452;
        *(u32 *)(registers[0] + 0x5404) = 0x80005634;
    }
    CHECK((is_vmxnet3 ? vmxnet3_start(8) : e1000_start(8)) == 0);
    if (is_vmxnet3) {
        shared_page = *(u32 *)(registers[1] + 0x10);
        u64 queues = *(volatile u64 *)AT(shared_page, 8 + 32);
        CHECK(*word(shared_page, 0) == 0xbabefee1 && queues == shared_page + 1024);
        tx_page = *(volatile u64 *)AT(queues, 16);
        rx_page = *(volatile u64 *)AT(queues, 256 + 16);
        done_page = *(volatile u64 *)AT(queues, 256 + 32);
    } else {
        rx_page = *(u32 *)(registers[0] + 0x2800);
        tx_page = *(u32 *)(registers[0] + 0x3800);
        done_page = shared_page = rx_page;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!fake_ram) {
        fake_ram = aligned_alloc(PAGE_SIZE, RAM_BYTES);
        fake_cpu = calloc(1, sizeof(*fake_cpu));
        fake_cpu->current = calloc(1, 1 << 16);
        page_array = calloc(RAM_BYTES >> PAGE_SHIFT, sizeof(*page_array));
    }
    input = data;
    left = size;
    u32 kind = take(1);
    is_vmxnet3 = kind & 1;
    way = kind & 2 ? PCI_MSI : PCI_LINE;
    start();
    while (left) {
        u32 step = take(1);
        if (step < 100)
            step_receive();
        else if (step < 200)
            step_send();
        else if (step < 225)
            handler(handler_arg);
        else
            step_wild();
    }
    free(card);
    return 0;
}
