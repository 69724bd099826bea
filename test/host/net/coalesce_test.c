// SPDX-License-Identifier: BSD-2-Clause
// Segments joined by kernel/net/coalesce.c, against a model: whatever comes in, the bytes of each flow arrive in the order in which
// they came, under headers that are right, and nothing is lost, invented or overtaken.
//
//   coalesce_test ROUNDS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/pbuf.h"
#include "lwip/prot/tcp.h"
#include "lwip/stats.h"
#include "net/device.h"

enum { FLOWS = 6, LOG_MAX = 1 << 20, FRAME_MAX = 1600 };

struct stats_ lwip_stats;

static void die(const char *what)
{
    printf("coalesce: %s\n", what);
    exit(1);
}
#define check(x)     \
    do {             \
        if (!(x))    \
            die(#x); \
    } while (0)

static u64 state = 88172645463325252ull;
static u32 chance(u32 n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (u32)(state >> 20) % n;
}

// ---- frames

static u32 fold(const u8 *p, u32 n, u32 sum)
{
    for (u32 i = 0; i < n; i += 2)
        sum += (u32)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return sum;
}
static void put16(u8 *p, u32 v) { p[0] = (u8)(v >> 8), p[1] = (u8)v; }
static u32 get16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }

// What came of a flow, and what was delivered of it: sequence number, flags and bytes of each segment; joined ones are one segment.
struct record {
    u8 bytes[LOG_MAX];
    u32 n;
};
static struct record came[FLOWS], got[FLOWS];
static u32 next_seq[FLOWS], n_frames, n_delivered, n_broken;

static void note(struct record *r, const void *bytes, u32 n)
{
    check(r->n + n <= LOG_MAX);
    memcpy(r->bytes + r->n, bytes, n);
    r->n += n;
}

// A segment's data byte by byte with its number, so that any cut of it is the same; what has none as a mark with its flags.
static void note_segment(struct record *r, u32 seq, u32 ack, u8 flags, const u8 *data, u32 n)
{
    u8 mark[10] = {0xff, (u8)(flags & ~TCP_PSH)};
    memcpy(mark + 2, &seq, 4);
    memcpy(mark + 6, &ack, 4);
    if (!n || (flags & ~(TCP_ACK | TCP_PSH)))
        note(r, mark, sizeof(mark));
    for (u32 i = 0; i < n; i++) {
        u8 one[3] = {data[i], (u8)(seq + i), (u8)ack};
        note(r, one, sizeof(one));
    }
}

static u32 pseudo(const u8 *ip, bool six, u32 len)
{
    return fold(six ? ip + 8 : ip + 12, six ? 32 : 8, 6 + len);
}

static void freed(struct pbuf *p) { free(p); }

static void bring(struct net_device *d, bool more)
{
    static u8 f[FRAME_MAX];
    u32 flow = chance(FLOWS), kind = chance(20),
        n = kind == 0   ? 0
            : chance(4) ? 1000 + chance(400)
                        : chance(600);
    bool six = flow & 1, broken = kind == 1, checked = chance(2) && !broken;
    u32 options = flow & 2 ? 12 : 0, tcp_len = 20 + options + n;
    u8 *ip = f + 14, *t = ip + (six ? 40 : 20);
    u8 flags = TCP_ACK | (chance(3) ? 0 : TCP_PSH) | (kind == 2 ? TCP_FIN : 0);
    u32 seq = next_seq[flow] + (kind == 3 ? chance(5000) : 0), ack = kind == 4 ? chance(100) : 7;
    memset(f, 0, sizeof(f));
    put16(f + 12, six ? 0x86dd : 0x800);
    ip[0] = six ? 0x60 : 0x45;
    if (six) {
        put16(ip + 4, tcp_len);
        ip[6] = 6, ip[7] = 64, ip[23] = 1, ip[39] = 2;
    } else {
        put16(ip + 2, 20 + tcp_len);
        put16(ip + 4, chance(65536));
        ip[8] = 64, ip[9] = 6, ip[12] = 10, ip[15] = 1, ip[16] = 10, ip[19] = 2;
        put16(ip + 10, fold(ip, 20, 0) ^ 0xffff);
    }
    put16(t, 1000 + flow), put16(t + 2, 80);
    put16(t + 4, seq >> 16), put16(t + 6, seq), put16(t + 10, ack);
    t[12] = (u8)((5 + options / 4) << 4), t[13] = flags;
    put16(t + 14, chance(65536));
    if (options)
        t[20] = 1, t[21] = 1, t[22] = 8, t[23] = 10, t[31] = (u8)(kind == 5 ? chance(9) : 0);
    for (u32 i = 0; i < n; i++)
        t[20 + options + i] = (u8)chance(256);
    put16(t + 16, fold(t, tcp_len, pseudo(ip, six, tcp_len)) ^ 0xffff);
    if (checked)
        put16(t + 16, chance(65536));  // as a device leaves it that has looked at it
    if (broken)
        t[20 + options] ^= 1;
    u32 len = (u32)(t - f) + tcp_len, padded = len + (chance(4) ? 0 : chance(30));
    if (broken && !n)
        return;
    if (broken)
        n_broken++;
    else
        note_segment(&came[flow], seq, ack, flags, t + 20 + options, n);
    if (kind != 3)
        next_seq[flow] = seq + n;
    struct pbuf *p = calloc(1, sizeof(*p) + padded);  // exactly: the sanitizer watches its end
    p->payload = p + 1;
    p->len = p->tot_len = (u16)padded;
    memcpy(p->payload, f, padded);
    n_frames++;
    net_device_receive(d, p, checked, more);
}

void net_device_deliver(struct net_device *d, struct pbuf *p, bool checked)
{
    static u8 whole[70000];
    u32 len = 0;
    check(p->tot_len <= 65535);
    for (struct pbuf *q = p, *next; q; q = next) {
        next = q->next;
        check(q->tot_len == p->tot_len - len || q == p);
        memcpy(whole + len, q->payload, q->len);
        len += q->len;
        if (q != p)
            freed(q);
    }
    check(len == p->tot_len);
    freed(p);
    n_delivered++;
    u8 *ip = whole + 14;
    bool six = get16(whole + 12) == 0x86dd;
    u32 packet = six ? 40 + get16(ip + 4) : get16(ip + 2);
    check(packet + 14 <= len && (six || fold(ip, 20, 0) == 0xffff));
    u8 *t = ip + (six ? 40 : 20);
    u32 tcp_len = packet - (u32)(t - ip), head = (t[12] >> 4) * 4u, flow = get16(t) - 1000;
    check(flow < FLOWS);
    if (!checked && fold(t, tcp_len, pseudo(ip, six, tcp_len)) != 0xffff) {
        n_broken--;
        return;
    }
    note_segment(&got[flow], get16(t + 4) << 16 | get16(t + 6), get16(t + 10), t[13], t + head,
                 tcp_len - head);
}

int main(int argc, char **argv)
{
    u32 rounds = argc > 1 ? (u32)atoi(argv[1]) : 1000, joined = 0;
    static struct net_device d;
    for (u32 round = 0; round < rounds; round++) {
        for (u32 i = 0; i < FLOWS; i++)
            came[i].n = got[i].n = 0;
        n_frames = n_delivered = 0;
        for (u32 batch = 0; batch < 4; batch++) {
            u32 n = 1 + chance(48);
            for (u32 i = 0; i < n; i++)
                bring(&d, i + 1 < n);
            net_device_received(&d);
            check(d.n_held == 0);
        }
        for (u32 i = 0; i < FLOWS; i++)
            check(came[i].n == got[i].n && !memcmp(came[i].bytes, got[i].bytes, came[i].n));
        check(n_broken == 0 && d.counters.rx_frames);
        joined += n_frames - n_delivered;
    }
    check(joined > rounds * 4);
    return 0;
}
