// SPDX-License-Identifier: BSD-2-Clause
// fuzz_net.c: frames and descriptors that no honest device would bring, through the driver, lwIP and our port of it, with ASan and
// UBSan. The device is played here: its queue is real, what it puts in comes from the input.
//
// The input is a list of steps: a byte that says which, then what it takes. Frames are raw, or made whole (addresses, lengths,
// checksums) around bytes of the input so that they reach TCP, UDP, ICMP, DHCP and reassembly; then they may be broken. After each
// input all connections are ended and the memory that the stack holds must be what it was.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/random.h"
#include "lwip/dhcp.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip4_frag.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/raw.h"
#include "net/device.h"
#include "net/tcp_internal.h"
#include "platform/virtio/virtio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#undef current  // a field here
#define RAM_BYTES (64ul << 20)
#define HEADER 12
#define FRAME_MOST 4000

// ---- the kernel around it

char *fake_ram;
struct cpu *fake_cpu;
u32 n_cpus = 1;
struct cpu *cpus[MAX_CPUS];
struct page *page_array;
int log_level = 0;
static u64 clock_ns = 1000000000;
static size_t ram_used = PAGE_SIZE;
static u32 kicks;

void klog_line(int level, const char *fmt, ...) {}
void panic(const char *fmt, ...)
{
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}
u64 ktime_real_ns(void) { return clock_ns; }
u64 ktime_ns(void) { return clock_ns; }
void random_bytes(void *to, size_t n) { memset(to, 0x5a, n); }
u64 page_total_count(void) { return 65536; }
void spin_lock_slow(struct spinlock *lock) { panic("a lock is taken twice"); }

// Buffers of the device must have physical addresses: all of those sizes lie in fake_ram, for good. The rest is the host's heap.
void *kmalloc(size_t size)
{
    if (size == PAGE_SIZE / 2 && ram_used + size <= RAM_BYTES) {
        void *p = fake_ram + ram_used;
        ram_used += size;
        return p;
    }
    return malloc(size);
}
void *kzalloc(size_t size) { return calloc(1, size); }
void kfree(void *p)
{
    if ((char *)p < fake_ram || (char *)p >= fake_ram + RAM_BYTES)
        free(p);
}
struct page *page_alloc(unsigned order, u32 flags)
{
    ram_used = ALIGN_UP(ram_used, PAGE_SIZE);
    struct page *p = page_array + (ram_used >> PAGE_SHIFT);
    ram_used += PAGE_SIZE << order;
    return p;
}

// ---- the device

static struct virtio_device device;
static struct virtqueue *queues[2];

struct descriptor {
    u64 address;
    u32 len;
    u16 flags, next;
};
struct ring {
    u16 flags, index;
    u16 ids[];
};
struct used_ring {
    u16 flags, index;
    struct {
        u32 id, len;
    } entries[];
};

static u8 device_status;
static u8 get_status(struct virtio_device *d) { return device_status; }
static void set_status(struct virtio_device *d, u8 status) { device_status = status; }
static u64 get_features(struct virtio_device *d) { return ~0ull; }
static void set_features(struct virtio_device *d, u64 features) {}
static int set_queue(struct virtio_device *d, struct virtqueue *q)
{
    queues[q->index & 1] = q;
    return 0;
}
static void notify(struct virtio_device *d, struct virtqueue *q) { kicks++; }
static u32 get_config(struct virtio_device *d, u32 offset)
{
    return offset == 0 ? 0x12005452 : offset == 4 ? 0x00015634 : 0x05dc0001;
}
static void set_config(struct virtio_device *d, u32 offset, u32 value) {}

static const struct virtio_ops device_ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .set_queue = set_queue,
    .notify = notify,
    .get_config = get_config,
    .set_config = set_config,
};

int virtio_set_interrupt(struct virtio_device *d, void (*handler)(void *), void *arg) { return 0; }
void virtio_ack_interrupt(struct virtio_device *d) {}
int virtio_mmio_probe(struct virtio_device *d, phys_t base, u64 size, int irq) { return -ENODEV; }
int virtio_pci_probe(struct virtio_device *d, u32 function) { return -ENODEV; }
int virtio_rng_start(struct virtio_device *d) { return -ENODEV; }
int virtio_balloon_start(struct virtio_device *d) { return -ENODEV; }
void platform_each_virtio_mmio(void (*found)(phys_t, u64, int)) {}
void pci_each_function(u32 bus, void (*found)(u32, void *), void *arg) {}

// ---- what the stack asks of sockets, files and threads

static void (*worker)(void *);
static void *worker_arg;
static jmp_buf worker_sleeps;

struct thread *kthread_create(const char *name, void (*fn)(void *), void *arg, int cpu)
{
    worker = fn;
    worker_arg = arg;
    return (struct thread *)&worker;
}
bool thread_wake(struct thread *t) { return false; }
void thread_sleep_prepare(enum wait_mode mode) {}
void thread_sleep_cancel(void) {}
void sched_point(void) {}
int thread_block(enum wait_mode mode, u64 deadline_ns) { longjmp(worker_sleeps, 1); }

static bool with_dhcp;
const char *cmdline_get(const char *word, char *value, size_t size)
{
    if (strcmp(word, "ip") || with_dhcp)
        return NULL;
    snprintf(value, size, "10.0.2.15/24");
    return value;
}
const char *cmdline_next(const char *at, const char *word, char *value, size_t size)
{
    return NULL;
}
const char *get_hostname(void) { return "fuzz"; }
int set_hostname(const char *name) { return 0; }
bool capable(int capability) { return true; }
struct file *file_open_kernel(const char *path, int flags) { return ERR_PTR(-ENOENT); }
void file_put(struct file *f) {}
ssize_t file_write_kernel(struct file *f, const void *from, size_t n, loff_t at)
{
    return (ssize_t)n;
}
int vfs_lookup(int dir, const char *path, u32 flags, struct dentry **found) { return -ENOENT; }
int vfs_mknod(int dir, const char *path, u32 mode, u32 dev, struct dentry **found)
{
    return -ENOENT;
}
void dentry_put(struct dentry *d) {}

void wait_queue_init(struct wait_queue *q) { list_init(&q->head); }
void waiter_init(struct waiter *w) {}
void wait_prepare(struct wait_queue *q, struct waiter *w, enum wait_mode mode) {}
int wait_sleep(struct waiter *w, enum wait_mode mode, u64 deadline_ns) { return -ETIMEDOUT; }
void wait_finish(struct wait_queue *q, struct waiter *w) {}
void wait_wake(struct wait_queue *q, int n, u32 events) {}
void async_notify_slow(struct async_queue *q, u32 events) {}
void mutex_init(struct mutex *m) {}
void mutex_lock(struct mutex *m) {}
void mutex_unlock(struct mutex *m) {}

void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int protocol)
{
    memset(s, 0, sizeof(*s));
    s->refcount = 1;
    s->ops = ops;
    s->family = (u16)family;
    s->type = (u8)type;
    s->protocol = (u16)protocol;
    list_init(&s->read_wait.head);
    list_init(&s->write_wait.head);
    list_init(&s->async.files);
    s->receive_timeout_ns = s->send_timeout_ns = NEVER;
    s->receive_buffer = s->send_buffer = 65536;
    s->receive_low = 1;
    s->linger_s = -1;
}
void socket_gone(struct socket *s) { s->ops->destroy(s); }
void socket_wake(struct socket *s, struct wait_queue *q, u32 events) {}
void socket_wake_all(struct socket *s) {}
int socket_wait(struct wait_queue *q, bool (*ready)(void *), void *arg, u64 deadline_ns)
{
    return -EAGAIN;
}
u64 socket_deadline(u64 timeout_ns) { return NEVER; }
void message_put_control(struct message *m, int level, int type, const void *data, size_t len) {}
struct cmsg_header *message_next_control(const struct message *m, size_t *at, bool *bad)
{
    return NULL;
}
int copy_to_user(uptr_t to, const void *from, size_t n) { return memcpy((void *)to, from, n), 0; }
int copy_from_user(void *to, uptr_t from, size_t n) { return memcpy(to, (const void *)from, n), 0; }
int put_user_u32(uptr_t to, u32 value) { return 0; }
void uio_next_piece(struct uio *u) {}
ssize_t uio_copy_to_pieces(struct uio *u, const void *from, size_t n) { return -EFAULT; }
ssize_t uio_copy_from_pieces(struct uio *u, void *to, size_t n) { return -EFAULT; }
void rtnetlink_notify(u32 index) {}
size_t strlcpy(char *to, const char *from, size_t size)
{
    return (size_t)snprintf(to, size, "%s", from);
}
int scnprintf(char *to, size_t size, const char *fmt, ...) { return 0; }

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
static u32 take_bytes(u8 *to, u32 most)
{
    u32 n = MIN(take(2) % (most + 1), (u32)left);
    memcpy(to, input, n);
    input += n;
    left -= n;
    return n;
}

// ---- what the device brings

static u8 frame[FRAME_MOST];
static u32 guest_seq, guest_ack, dhcp_id;  // of the last segment and request that the guest sent
static u16 guest_port, peer_port;
static u16 taken[2];  // available entries that the device has used, by queue

static struct ring *available(const struct virtqueue *q) { return (struct ring *)q->avail; }
static struct used_ring *used(const struct virtqueue *q) { return (struct used_ring *)q->used; }
static struct descriptor *descriptor(const struct virtqueue *q, u32 id)
{
    return (struct descriptor *)q->desc + id;
}

static void put_used(struct virtqueue *q, u32 id, u32 len)
{
    struct used_ring *u = used(q);
    u->entries[u->index % q->size].id = id;
    u->entries[u->index % q->size].len = len;
    u->index++;
}

static void look_at_sent(const u8 *f, u32 len)
{
    if (len >= 14 + 40 && f[12] == 8 && f[13] == 0 && f[23] == IP_PROTO_TCP) {
        const u8 *t = f + 34;
        guest_port = (u16)(t[0] << 8 | t[1]);
        peer_port = (u16)(t[2] << 8 | t[3]);
        guest_seq = (u32)t[4] << 24 | (u32)t[5] << 16 | (u32)t[6] << 8 | t[7];
        guest_seq += (t[13] & 3) != 0;
        guest_ack = (u32)t[8] << 24 | (u32)t[9] << 16 | (u32)t[10] << 8 | t[11];
    }
    if (len >= 14 + 28 + 8 && f[23] == IP_PROTO_UDP && f[37] == 67)
        memcpy(&dhcp_id, f + 14 + 28 + 4, 4);
}

// The device sends what it has been given.
static void drain_tx(void)
{
    struct virtqueue *q = queues[1];
    while (taken[1] != available(q)->index) {
        u32 id = available(q)->ids[taken[1]++ % q->size];
        const struct descriptor *d = descriptor(q, id);
        if (d->address + d->len > RAM_BYTES || (d->flags & 2))
            panic("a buffer to send lies outside of memory");
        look_at_sent((u8 *)fake_ram + d->address + HEADER, d->len - HEADER);
        put_used(q, id, 0);
    }
}

static void turn(void)
{
    if (!setjmp(worker_sleeps))
        worker(worker_arg);
    drain_tx();
}

// Puts a frame into as many buffers as it takes.
static void bring(const u8 *bytes, u32 len, u32 header_flags, u32 wrong_count)
{
    struct virtqueue *q = queues[0];
    u32 done = 0, n = 0, first_id = 0;
    do {
        if (taken[0] == available(q)->index)
            return;
        u32 id = available(q)->ids[taken[0]++ % q->size];
        struct descriptor *d = descriptor(q, id);
        u8 *to = (u8 *)fake_ram + d->address;
        u32 at = n ? 0 : HEADER, room = MIN(d->len - at, len - done);
        if (!n) {
            memset(to, 0, HEADER);
            to[0] = (u8)header_flags;
            first_id = id;
        }
        memcpy(to + at, bytes + done, room);
        done += room;
        n++;
        put_used(q, id, at + room);
    } while (done < len);
    ((u8 *)fake_ram)[descriptor(q, first_id)->address + 10] = (u8)(wrong_count ? wrong_count : n);
}

static u16 sum(const u8 *bytes, u32 len, u32 start)
{
    u32 s = start;
    for (u32 i = 0; i < len; i += 2)
        s += (u32)bytes[i] << 8 | (i + 1 < len ? bytes[i + 1] : 0);
    while (s >> 16)
        s = (s >> 16) + (s & 0xffff);
    return (u16)~s;
}
static void put16(u8 *to, u32 v) { to[0] = (u8)(v >> 8), to[1] = (u8)v; }
static void put32(u8 *to, u32 v) { put16(to, v >> 16), put16(to + 2, v); }

static u32 ethernet(u32 type)
{
    static const u8 head[12] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 2};
    memcpy(frame, head, sizeof(head));
    put16(frame + 12, type);
    return 14;
}

// An IPv4 packet around len bytes that lie behind its header. => bytes of the frame
static u32 ip4(u32 protocol, u32 len, u32 offset_and_flags, u32 id)
{
    u8 *ip = frame + ethernet(0x800);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + len);
    put16(ip + 4, id);
    put16(ip + 6, offset_and_flags);
    ip[8] = 64;
    ip[9] = (u8)protocol;
    put32(ip + 12, 0x0a000202);
    put32(ip + 16, with_dhcp && protocol == IP_PROTO_UDP ? 0xffffffff : 0x0a00020f);
    put16(ip + 10, sum(ip, 20, 0));
    return 34 + len;
}

static u32 pseudo(const u8 *ip, u32 protocol, u32 len)
{
    u32 s = protocol + len;
    for (int i = 12; i < 20; i += 2)
        s += (u32)ip[i] << 8 | ip[i + 1];
    return s;
}

static u32 tcp_frame(void)
{
    u8 *t = frame + 34;
    u32 how = take(1), options = how & 0x80 ? take(1) % 11 * 4 : 0;
    memset(t, 0, 20);
    put16(t, how & 1 ? peer_port : 1000 + take(1) % 4);
    put16(t + 2, how & 1 ? guest_port : 80);
    put32(t + 4, how & 2 ? take(4) : guest_ack + (how & 4 ? take(1) : 0));
    put32(t + 8, guest_seq + (how & 8 ? take(2) : 0));
    t[12] = (u8)((5 + options / 4) << 4);
    t[13] = (u8)take(1);
    put16(t + 14, take(2));
    for (u32 i = 0; i < options; i++)
        t[20 + i] = (u8)take(1);
    u32 len = 20 + options + take_bytes(t + 20 + options, 1400);
    u32 total = ip4(IP_PROTO_TCP, len, 0, 0);
    put16(t + 16, sum(t, len, pseudo(frame + 14, IP_PROTO_TCP, len)));
    return total;
}

static u32 udp_frame(void)
{
    u8 *u = frame + 34;
    bool dhcp = with_dhcp && take(1) % 4;
    u32 len = 8;
    memset(u, 0, 8);
    if (dhcp) {  // an answer with options of the input
        ethernet(0x800);
        memset(u + 8, 0, 240);
        u[8] = 2, u[9] = 1, u[10] = 6;
        memcpy(u + 12, &dhcp_id, 4);
        put32(u + 24, 0x0a00020f);
        memcpy(u + 36, frame, 6);
        put32(u + 8 + 236, 0x63825363);
        len += 240;
        u[len++] = 53, u[len++] = 1, u[len++] = (u8)(take(1) % 8);
    }
    put16(u, dhcp ? 67 : take(1));
    put16(u + 2, dhcp ? 68 : 53);
    len += take_bytes(u + len, 1100);
    put16(u + 4, take(1) % 8 ? len : take(2));
    u32 total = ip4(IP_PROTO_UDP, len, 0, 0);
    u32 check = sum(u, len, pseudo(frame + 14, IP_PROTO_UDP, len));
    put16(u + 6, check ? check : 0xffff);
    return total;
}

static u32 ip6_frame(void)
{
    u8 *ip = frame + ethernet(0x86dd);
    static const u8 router[16] = {0xfe, 0x80, [15] = 2};
    u32 next = take(1);
    memset(ip, 0, 40);
    ip[0] = 0x60;
    ip[6] = (u8)(next & 1 ? next : 58);
    ip[7] = 255;
    memcpy(ip + 8, router, 16);
    ip[24] = 0xff, ip[25] = 2, ip[39] = 1;
    u32 len = take_bytes(ip + 40, 1400);
    put16(ip + 4, take(1) % 8 ? len : take(2));
    if (ip[6] == 58 && len >= 4) {
        static const u8 types[] = {128, 129, 130, 133, 134, 135, 136, 137, 2};
        u32 s = 58 + len;
        ip[40] = types[ip[40] % sizeof(types)];
        ip[41] = 0;
        for (int i = 8; i < 40; i += 2)
            s += (u32)ip[i] << 8 | ip[i + 1];
        ip[42] = ip[43] = 0;
        put16(ip + 42, sum(ip + 40, len, s));
    }
    return 54 + len;
}

static u32 any_frame(void)
{
    u32 kind = take(1) % 8;
    switch (kind) {
    case 0: return take_bytes(frame, FRAME_MOST);
    case 1: return ip4(take(1), take_bytes(frame + 34, 1480), 0, 0);
    case 2: return udp_frame();
    case 3: return ip6_frame();
    case 4: {
        u32 at = ethernet(0x806);
        static const u8 head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
        memcpy(frame + at, head, 8);
        return at + 8 + take_bytes(frame + at + 8, 60);
    }
    case 5: {  // ICMP
        u32 n = take_bytes(frame + 34, 1480);
        if (n >= 4) {
            frame[36] = frame[37] = 0;
            put16(frame + 36, sum(frame + 34, n, 0));
        }
        return ip4(IP_PROTO_ICMP, n, 0, 0);
    }
    case 6: {  // a fragment
        u32 where = take(2), n = take_bytes(frame + 34, 1480);
        return ip4(take(1) % 2 ? IP_PROTO_UDP : IP_PROTO_TCP, n, where & 0x3fff, where >> 14);
    }
    default: return tcp_frame();
    }
}

// ---- sockets of the guest

static struct socket *listener, *datagrams, *accepted[8];

static void talk(void)
{
    static u8 bytes[2048];
    u32 how = take(1);
    if (!(how & 3)) {
        struct socket *s = listener->ops->accept(listener, true);
        struct socket **place = &accepted[how >> 2 & 7];
        if (!IS_ERR(s)) {
            if (*place) {
                (*place)->ops->close(*place);
                socket_put(*place);
            }
            *place = s;
        }
        return;
    }
    struct socket *s = how & 0x40 ? datagrams : accepted[how >> 3 & 7];
    struct sock_addr address;
    struct uio u = {.base = (uptr_t)bytes, .len = 1 + take(2) % sizeof(bytes)};
    u.remaining = u.len;
    struct message m = {.uio = &u, .flags = MSG_DONTWAIT, .addr = how & 0x40 ? &address : NULL};
    if (!s)
        return;
    if ((how & 3) == 1)
        s->ops->receive(s, &m);
    else if ((how & 3) == 2 && s != datagrams)
        s->ops->send(s, &m);
    else if (s != datagrams)
        s->ops->shutdown(s, SHUTDOWN_SND);
}

static struct socket *bound(struct socket *s, u16 port)
{
    struct sock_addr any = {.family = AF_INET};
    any.data[0] = (u8)(port >> 8), any.data[1] = (u8)port;
    if (s->ops->bind(s, &any, 16))
        panic("bind");
    return s;
}

static void end(struct socket **s)
{
    if (*s) {
        (*s)->ops->close(*s);
        socket_put(*s);
    }
    *s = NULL;
}

static void abort_one(struct tcp_pcb *pcb, void *unused) { tcp_abort(pcb); }

static void time_passes(u32 ticks)
{
    for (; ticks; ticks--) {
        clock_ns += 250 * NSEC_PER_MSEC;
        turn();
    }
}

static void wild_device(void)
{
    struct virtqueue *q = queues[take(1) & 1];
    u32 n = take(1) % 5;
    for (u32 i = 0; i < n; i++)
        put_used(q, take(1) % 4 ? take(1) : take(4), take(1) % 4 ? take(2) : take(4));
    if (take(1) % 4 == 0)
        used(q)->index = (u16)take(2);
    turn();
}

// The host asks who the guest is, and so is known.
static void meet(void)
{
    static const u8 request[] = {0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 2,
                                 10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 10, 0, 2, 15};
    u32 at = ethernet(0x806);
    memcpy(frame + at, request, sizeof(request));
    bring(frame, at + sizeof(request), 0, 0);
    turn();
}

static void run_input(void)
{
    while (left) {
        u32 step = take(1);
        if (step < 150) {
            u32 len = any_frame();
            for (u32 breaks = step % 4 ? 0 : take(1) % 4; breaks && len; breaks--)
                frame[take(2) % len] ^= (u8)take(1);
            u32 cut = step % 16 == 1 ? take(2) % (len + 1) : len;
            bring(frame, cut, step % 8 == 2 ? take(1) : 0, step == 149 ? take(1) : 0);
            if (step % 8 != 5)  // else they come in one batch with the next
                turn();
        } else if (step < 210) {
            talk();
            drain_tx();
        } else if (step < 250) {
            time_passes(1 + step % 3);
        } else {
            wild_device();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_stack *st = net_stack_here();
    static size_t ram_base;
    if (!fake_ram) {
        fake_ram = aligned_alloc(PAGE_SIZE, RAM_BYTES);
        cpus[0] = fake_cpu = calloc(1, sizeof(*fake_cpu));
        fake_cpu->current = calloc(1, 1 << 16);
        page_array = calloc(RAM_BYTES >> PAGE_SHIFT, sizeof(*page_array));
        net_stack_start(st);
        ram_base = ram_used;
    }
    input = data;
    left = size;
    with_dhcp = take(1) & 1;
    memset(fake_ram, 0, 4 << 20);
    memset(taken, 0, sizeof(taken));
    device = (struct virtio_device){.ops = &device_ops, .id = VIRTIO_ID_NET};
    u64 before = net_memory_bytes();
    if (virtio_net_start(&device))
        panic("the device does not start");
    listener = bound(tcp_create(AF_INET), 80);
    listener->ops->listen(listener, 8);
    datagrams = bound(udp_create(AF_INET), 53);
    turn();
    meet();
    run_input();
    for (u32 i = 0; i < 8; i++)
        end(&accepted[i]);
    end(&listener);
    end(&datagrams);
    net_lock(st);
    tcp_flows_each(abort_one, NULL);
    net_unlock(st);
    struct net_device *d = st->devices;
    st->devices = NULL;
    dhcp_release_and_stop(&d->netif);
    dhcp_cleanup(&d->netif);
    netif_remove(&d->netif);
    for (u32 i = 0; i < 256; i++) {  // what waits for its other fragments is given up
        ip_reass_tmr();
        ip6_reass_tmr();
    }
    if (net_memory_bytes() != before) {
        fprintf(stderr, "leak: the stack holds %lu bytes more\n",
                (unsigned long)(net_memory_bytes() - before));
        abort();
    }
    ram_used = ram_base;  // the device is gone, and its buffers with it
    return 0;
}
