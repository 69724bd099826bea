// SPDX-License-Identifier: BSD-2-Clause
// tcp_cookie.c: connections to a listener that has as many half-open ones as it may have: SYN cookies (RFC 4987, section 3.6).
//
// A flood of SYNs that nobody stands behind fills a listener's half-open places, and each stays taken for 20 seconds. From then on
// a SYN leaves nothing behind here: what would have been noted goes into the sequence number of the answer,
//
//     bits 31..8: keyed hash of addresses, ports, the client's number, slot and size    7..3: slot of 32 s    2..0: size of segments
//
// and comes back in the acknowledgement, if there is somebody. Then the SYN is made up again and given to lwIP, which makes the
// half-open connection of it with just that number, and the acknowledgement behind it completes it. Such a connection knows only
// the segment size of the client: no window scaling, no selective acknowledgement, as on Linux.
//
// Everything here runs with the stack's lock held.
#include <string.h>

#include "core/log.h"
#include "core/random.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/tcp.h"
#include "lwip/sys.h"
#include "net/tcp_internal.h"

#define SLOT_MS 32768u
#define SLOTS_GOOD 2u  // an answer may be this many slots old: 64 to 96 seconds
#define SLOT_BITS 5
#define SYN_BYTES (TCP_HLEN + 4)  // with the option of the segment size
#define WINDOW 65535u             // as lwIP announces in a SYN

struct segment {
    u32 seq, ack;
    u16 from_port, to_port, window;
    u8 flags, header_len;
};

static const u16 sizes[8] = {536, 1024, 1200, 1300, 1400, 1440, 1452, 1460};  // ascending
static u32 last_slot;                                                         // of the last cookie
static bool any_sent;                                                         // since the start
static u64 keys[2];                                                           // [any_sent]
static bool forced;        // the next initial sequence number is
static u32 forced_number;  // this
static struct tcp_cookie_counts counts;

void tcp_cookie_counts(struct tcp_cookie_counts *out) { *out = counts; }

bool tcp_cookie_number(u32 *number)
{
    *number = forced_number;
    return forced;
}

// ---- the hash: SipHash-2-4 (Aumasson and Bernstein, 2012) of whole words

static inline u64 rotate(u64 x, unsigned n) { return x << n | x >> (64 - n); }

static void sip_round(u64 v[4])
{
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static u64 sip_hash(const u64 *words, u32 n)
{
    u64 v[4] = {keys[0] ^ 0x736f6d6570736575ull, keys[1] ^ 0x646f72616e646f6dull,
                keys[0] ^ 0x6c7967656e657261ull, keys[1] ^ 0x7465646279746573ull};
    for (u32 i = 0; i <= n; i++) {
        u64 word = i < n ? words[i] : (u64)(n * 8) << 56;
        v[3] ^= word;
        sip_round(v), sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static u32 slot_now(void) { return sys_now() / SLOT_MS; }

static void add_address(u64 *words, const ip_addr_t *a)
{
    if (IP_IS_V6(a))
        memcpy(words, ip_2_ip6(a)->addr, 16);
    else
        words[0] = ip_2_ip4(a)->addr;
}

// seq: the client's first number
static u32 cookie_of(const struct segment *s, u32 seq, u32 slot, u32 size)
{
    u64 words[6] = {0};
    add_address(words, ip_current_src_addr());
    add_address(words + 2, ip_current_dest_addr());
    words[4] = (u64)s->from_port << 48 | (u64)s->to_port << 32 | seq;
    words[5] = (u64)slot << 8 | size;
    return (u32)sip_hash(words, 6) << 8 | (slot & (BIT(SLOT_BITS) - 1)) << 3 | size;
}

// ---- segments

static bool parse(struct segment *s, const struct pbuf *p)
{
    struct tcp_hdr h;
    if (pbuf_copy_partial(p, &h, TCP_HLEN, ip_current_header_tot_len()) != TCP_HLEN)
        return false;
    s->from_port = lwip_ntohs(h.src);
    s->to_port = lwip_ntohs(h.dest);
    s->seq = lwip_ntohl(h.seqno);
    s->ack = lwip_ntohl(h.ackno);
    s->window = lwip_ntohs(h.wnd);
    s->flags = TCPH_FLAGS(&h);
    s->header_len = TCPH_HDRLEN_BYTES(&h);
    return true;
}

// The largest of our sizes that the client takes.
static u32 size_wanted(const struct segment *s, const struct pbuf *p)
{
    u8 options[40];
    u32 wanted = 536, n = 0;
    if (s->header_len > TCP_HLEN)
        n = pbuf_copy_partial(p, options, s->header_len - TCP_HLEN,
                              (u16)(ip_current_header_tot_len() + TCP_HLEN));
    for (u32 at = 0; at < n && options[at] != LWIP_TCP_OPT_EOL;) {
        if (options[at] == LWIP_TCP_OPT_NOP) {
            at++;
            continue;
        }
        if (at + 1 >= n || options[at + 1] < 2)
            break;
        if (options[at] == LWIP_TCP_OPT_MSS && at + 3 < n)
            wanted = (u32)options[at + 2] << 8 | options[at + 3];
        at += options[at + 1];
    }
    u32 size = 0;
    while (size + 1 < sizeof(sizes) / sizeof(sizes[0]) && sizes[size + 1] <= wanted)
        size++;
    return size;
}

// A segment with nothing but a size in it. => NULL: no memory
static struct pbuf *make(u16 from_port, u16 to_port, u32 seq, u32 ack, u8 flags, u16 window,
                         u16 size, const ip_addr_t *from, const ip_addr_t *to)
{
    struct pbuf *p = pbuf_alloc(PBUF_IP, SYN_BYTES, PBUF_RAM);
    if (!p)
        return NULL;
    struct tcp_hdr *h = p->payload;
    u8 *option = (u8 *)p->payload + TCP_HLEN;
    h->src = lwip_htons(from_port);
    h->dest = lwip_htons(to_port);
    h->seqno = lwip_htonl(seq);
    h->ackno = lwip_htonl(ack);
    TCPH_HDRLEN_FLAGS_SET(h, SYN_BYTES / 4, flags);
    h->wnd = lwip_htons(window);
    h->chksum = 0;
    h->urgp = 0;
    option[0] = LWIP_TCP_OPT_MSS;
    option[1] = LWIP_TCP_OPT_LEN_MSS;
    option[2] = (u8)(size >> 8);
    option[3] = (u8)size;
    h->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, from, to);
    return p;
}

// ---- who it is for

static bool is_of(const struct tcp_pcb *pcb, const struct segment *s)
{
    return pcb->remote_port == s->from_port && pcb->local_port == s->to_port &&
           ip_addr_eq(&pcb->remote_ip, ip_current_src_addr()) &&
           ip_addr_eq(&pcb->local_ip, ip_current_dest_addr());
}

static bool is_known(const struct segment *s)
{
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        if (is_of(pcb, s))
            return true;
    }
    for (const struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) {
        if (is_of(pcb, s))
            return true;
    }
    return false;
}

// As lwIP finds it: one that is bound to the address before one that is bound to any.
static struct tcp_pcb_listen *find_listener(const struct segment *s)
{
    struct tcp_pcb_listen *any = NULL;
    for (struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l; l = l->next) {
        if (l->local_port != s->to_port ||
            (l->netif_idx && l->netif_idx != netif_get_index(ip_current_input_netif())))
            continue;
        if (IP_IS_ANY_TYPE_VAL(l->local_ip))
            any = l;
        else if (IP_ADDR_PCB_VERSION_MATCH_EXACT(l, ip_current_dest_addr())) {
            if (ip_addr_eq(&l->local_ip, ip_current_dest_addr()))
                return l;
            if (ip_addr_isany(&l->local_ip))
                any = l;
        }
    }
    return any;
}

// ---- SYN and acknowledgement

// The queue of complete connections is full: lwIP drops the SYN, and the client tries again.
static void count_overflow(u16 port)
{
    if (counts.overflows++ == 0)
        log_error(
            "network: port %u: as many connections as listen(2) asked for wait to be accepted; more are not answered until "
            "the program accepts",
            port);
}

static bool syn_in(const struct segment *s, struct pbuf *p)
{
    if (is_known(s))
        return false;
    const struct tcp_pcb_listen *l = find_listener(s);
    if (l && !l->backlog)
        count_overflow(s->to_port);
    if (!l || !l->backlog || l->accepts_pending < l->backlog)
        return false;
    if (!any_sent)
        random_bytes(keys, sizeof(keys));
    any_sent = true;
    last_slot = slot_now();
    u32 size = size_wanted(s, p), cookie = cookie_of(s, s->seq, last_slot, size);
    const struct netif *netif = ip_current_input_netif();
    u16 mine = netif->mtu > 60 + 536
                   ? (u16)(netif->mtu - (IP_IS_V6(ip_current_src_addr()) ? 60 : 40))
                   : 536;
    struct pbuf *answer = make(s->to_port, s->from_port, cookie, s->seq + 1, TCP_SYN | TCP_ACK,
                               WINDOW, mine, ip_current_dest_addr(), ip_current_src_addr());
    if (answer) {
        ip_output(answer, ip_current_dest_addr(), ip_current_src_addr(), l->ttl, l->tos,
                  IP_PROTO_TCP);
        pbuf_free(answer);
        if (counts.sent++ == 0)
            log_warn("network: many half-open connections to port %u: answering with SYN cookies",
                     s->to_port);
    }
    pbuf_free(p);
    return true;
}

// => false: the number is no cookie of ours; *size
static bool is_cookie(const struct segment *s, u32 *size)
{
    u32 cookie = s->ack - 1, now = slot_now();
    *size = cookie & 7;
    for (u32 age = 0; age <= SLOTS_GOOD && age <= now; age++) {
        if (cookie_of(s, s->seq - 1, now - age, *size) == cookie)
            return true;
    }
    return false;
}

// Has lwIP make the half-open connection that there would be, had there been room. => false: it could not
static bool make_half_open(struct tcp_pcb_listen *l, const struct segment *s, u32 size)
{
    struct pbuf *syn = make(s->from_port, s->to_port, s->seq - 1, 0, TCP_SYN, s->window,
                            sizes[size], ip_current_src_addr(), ip_current_dest_addr());
    if (!syn)
        return false;
    u8 pending = l->accepts_pending;
    l->accepts_pending = 0;
    forced = true;
    forced_number = s->ack - 1;
    tcp_input(syn, ip_current_input_netif());
    forced = false;
    l->accepts_pending = pending;  // it takes none of the places
    struct tcp_pcb *pcb = tcp_active_pcbs;
    if (!pcb || !is_of(pcb, s) || pcb->state != SYN_RCVD)
        return false;
    tcp_clear_flags(pcb, TF_BACKLOGPEND);
    return true;
}

static bool ack_in(const struct segment *s, struct pbuf *p)
{
    u32 size;
    if (is_known(s))
        return false;
    struct tcp_pcb_listen *l = find_listener(s);
    if (!l)
        return false;
    if (!is_cookie(s, &size)) {
        counts.failed++;
        return false;
    }
    // When the queue of complete connections is full, the client will say more, or the same again.
    if (l->backlog && make_half_open(l, s, size)) {
        counts.received++;
        return false;
    }
    pbuf_free(p);
    return true;
}

bool tcp_cookie_input(struct pbuf *p)
{
    struct segment s;
    if (!parse(&s, p))
        return false;
    u8 kind = s.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN);
    if (kind == TCP_SYN)
        return syn_in(&s, p);
    if (any_sent && (kind & ~TCP_FIN) == TCP_ACK && slot_now() - last_slot <= SLOTS_GOOD)
        return ack_in(&s, p);
    return false;
}
