// SPDX-License-Identifier: BSD-2-Clause
// coalesce.c: large receive in software: segments of a TCP stream that come one behind the other in a batch of frames are joined to one
// before the stack sees them, so that its work, and its acknowledgements, are a few in a hundred frames.
//
//   net_device_receive ─> joinable? ─yes─> behind its flow's held frame, or held itself
//                            └─no──> all held are delivered, then it
//   net_device_received (end of the batch, under the same lock) ─> all held are delivered
//
// A frame is held only while the lock is, so nothing waits; with none behind it and none held, it is delivered at once.
//
// Invariants
//   C1  Held frames are whole TCP segments with data, ACK and at most PSH, whose checksums (IP and TCP) have been found good here or
//       by the device. Joined are only those of the same addresses, ports, acknowledgement, TTL, TOS and options, in sequence.
//   C2  Nothing overtakes anything of its flow: what cannot be joined sends everything held before it.
//   C3  A joined packet is one that the sender could have sent: its header is the first one's with the length, the last window and
//       PSH; IP's checksum is made again, and TCP's is not looked at any more.
//
// Counters count what came over the wire: frames of the device, and segments in /proc/net/snmp as Linux does.
#include <string.h>

#include "lwip/inet_chksum.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/stats.h"
#include "net/device.h"

#define JOINED_MOST 65000u  // bytes of a joined packet
#define ONLY_FLAGS (TCP_ACK | TCP_PSH)
#define WORTH_BYTES 256u  // shorter ones are delivered as they come

enum { IP_TOS_AT = 1, IP_TTL_AT = 8, IP_SUM_AT = 10, IP_SRC_AT = 12 };
enum { IP6_LEN_AT = 4, IP6_HOPS_AT = 7, IP6_SRC_AT = 8 };
enum { SEQ_AT = 4, ACK_AT = 8, FLAGS_AT = 13, WINDOW_AT = 14, SUM_AT = 16 };

// Of so many bytes; with a number that the compiler knows, no call.
#define same(a, b, n) (__builtin_memcmp(a, b, n) == 0)

static inline u32 get16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static inline u32 get32(const u8 *p) { return get16(p) << 16 | get16(p + 2); }
static inline void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8), p[1] = (u8)v; }

// Where things are in a frame.
struct shape {
    u8 *ip, *tcp;
    u32 headers;  // bytes before the data
    u32 data;     // bytes of it
    bool six;
};

// TCP's checksum of a segment in one piece, over the pseudo header too.
static bool tcp_sum_good(const struct shape *s)
{
    u32 len = s->headers - (u32)(s->tcp - s->ip) - SIZEOF_ETH_HDR + s->data;
    u32 sum = lwip_htons(IP_PROTO_TCP) + lwip_htons((u16)len) + net_checksum(s->tcp, (int)len);
    sum += s->six ? net_checksum(s->ip + IP6_SRC_AT, 32) : net_checksum(s->ip + IP_SRC_AT, 8);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
}

// => false: not one to join
static bool look(const struct pbuf *p, bool checked, struct shape *s)
{
    u8 *frame = p->payload;
    u32 least = SIZEOF_ETH_HDR + IP_HLEN + TCP_HLEN, type, packet;
    if (p->next || p->len < least + WORTH_BYTES)
        return false;
    s->ip = frame + SIZEOF_ETH_HDR;
    type = get16(frame + 12);
    s->six = type == ETHTYPE_IPV6;
    if (type == ETHTYPE_IP) {
        if (s->ip[0] != 0x45 || s->ip[9] != IP_PROTO_TCP || (get16(s->ip + 6) & 0x3fff) ||
            net_checksum(s->ip, IP_HLEN) != 0xffff)
            return false;
        packet = get16(s->ip + 2);
        s->tcp = s->ip + IP_HLEN;
    } else {
        if (!s->six || s->ip[0] >> 4 != 6 || s->ip[6] != IP_PROTO_TCP)
            return false;
        packet = IP6_HLEN + get16(s->ip + IP6_LEN_AT);
        s->tcp = s->ip + IP6_HLEN;
    }
    s->headers = (u32)(s->tcp - frame) + (s->tcp[12] >> 4) * 4u;
    if ((s->tcp[12] >> 4) * 4u < TCP_HLEN || packet + SIZEOF_ETH_HDR > p->len ||
        s->headers + WORTH_BYTES > packet + SIZEOF_ETH_HDR)
        return false;
    s->data = packet + SIZEOF_ETH_HDR - s->headers;
    if ((s->tcp[FLAGS_AT] & ~ONLY_FLAGS) || !(s->tcp[FLAGS_AT] & TCP_ACK) ||
        (s->tcp[12] & 15))  // bits of later extensions
        return false;
    return checked || tcp_sum_good(s);
}

static bool same_flow(const struct shape *a, const struct shape *b)
{
    return a->six == b->six && same(a->tcp, b->tcp, 4) &&
           (a->six ? same(a->ip + IP6_SRC_AT, b->ip + IP6_SRC_AT, 32)
                   : same(a->ip + IP_SRC_AT, b->ip + IP_SRC_AT, 8));
}

static void shape_of(const struct held_frame *h, struct shape *s)
{
    u8 *frame = h->first->payload;
    s->ip = frame + SIZEOF_ETH_HDR;
    s->six = h->six;
    s->tcp = s->ip + (h->six ? IP6_HLEN : IP_HLEN);
    s->headers = h->headers;
}

static bool fits(const struct held_frame *h, const struct shape *a, const struct shape *b)
{
    u32 options = b->headers - SIZEOF_ETH_HDR - TCP_HLEN - (u32)(b->tcp - b->ip);
    if (h->headers != b->headers || h->next_seq != get32(b->tcp + SEQ_AT) ||
        h->data + b->data > JOINED_MOST || !same(a->tcp + ACK_AT, b->tcp + ACK_AT, 4) ||
        (options && memcmp(a->tcp + TCP_HLEN, b->tcp + TCP_HLEN, options)))
        return false;
    return a->six ? same(a->ip, b->ip, IP6_LEN_AT) && a->ip[IP6_HOPS_AT] == b->ip[IP6_HOPS_AT]
                  : a->ip[IP_TOS_AT] == b->ip[IP_TOS_AT] && a->ip[IP_TTL_AT] == b->ip[IP_TTL_AT];
}

static void deliver(struct net_device *d, struct held_frame *h)
{
    struct pbuf *p = h->first;
    if (h->n > 1) {
        struct shape s;
        u32 total = h->headers + h->data;
        shape_of(h, &s);
        if (h->six) {
            put16(s.ip + IP6_LEN_AT, total - SIZEOF_ETH_HDR - IP6_HLEN);
        } else {
            put16(s.ip + 2, total - SIZEOF_ETH_HDR);
            put16(s.ip + IP_SUM_AT, 0);
            u16 sum = (u16)~net_checksum(s.ip, IP_HLEN);
            memcpy(s.ip + IP_SUM_AT, &sum, 2);
        }
        for (struct pbuf *q = p; q; total -= q->len, q = q->next)
            q->tot_len = (u16)total;
        lwip_stats.mib2.tcpinsegs += h->n - 1;
        if (!h->six) {
            lwip_stats.mib2.ipinreceives += h->n - 1;
            lwip_stats.mib2.ipindelivers += h->n - 1;
        }
    }
    h->first = NULL;
    net_device_deliver(d, p, true);
}

// Behind what is held of its flow.
static void join(struct held_frame *h, const struct shape *a, const struct shape *b, struct pbuf *p)
{
    a->tcp[FLAGS_AT] |= b->tcp[FLAGS_AT];
    memcpy(a->tcp + WINDOW_AT, b->tcp + WINDOW_AT, 2);
    if (h->n == 1)  // padding of a short frame is no data
        h->first->len = (u16)(h->headers + h->data);
    p->payload = (u8 *)p->payload + b->headers;
    p->len = (u16)b->data;
    h->last->next = p;
    h->last = p;
    h->data += b->data;
    h->next_seq += b->data;
    h->n++;
}

void net_device_received(struct net_device *d)
{
    for (u32 i = 0; i < d->n_held; i++)
        deliver(d, &d->held[i]);
    d->n_held = 0;
}

void net_device_receive(struct net_device *d, struct pbuf *p, bool checked, bool more)
{
    struct shape s, first;
    d->counters.rx_frames++;
    d->counters.rx_bytes += p->tot_len;
    if (!more && !d->n_held) {
        net_device_deliver(d, p, checked);
        return;
    }
    if (!look(p, checked, &s)) {
        net_device_received(d);
        net_device_deliver(d, p, checked);
        return;
    }
    for (u32 i = 0; i < d->n_held; i++) {
        struct held_frame *h = &d->held[i];
        shape_of(h, &first);
        if (!same_flow(&first, &s))
            continue;
        if (fits(h, &first, &s)) {
            join(h, &first, &s, p);
            return;
        }
        net_device_received(d);
        break;
    }
    if (d->n_held == HELD_FLOWS)
        net_device_received(d);
    d->held[d->n_held++] = (struct held_frame){.first = p,
                                               .last = p,
                                               .six = s.six,
                                               .headers = (u16)s.headers,
                                               .n = 1,
                                               .data = s.data,
                                               .next_seq = get32(s.tcp + SEQ_AT) + s.data};
}
