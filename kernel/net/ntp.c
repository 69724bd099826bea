// SPDX-License-Identifier: BSD-2-Clause
// ntp.c: the time of day from a server, by SNTP (RFC 4330), with the word ntp=ADDRESS or ntp=ADDRESS:PORT (IPv4) of the kernel's command line.
//
// A thread asks every eight seconds until there is an answer, then every 1,024. The clock is set by a step: at the first answer, later when
// it is wrong by more than a tenth of a second. An answer counts only if it comes from that server and carries back the random number that the
// question had in place of its own time, so that nobody who cannot see the questions can answer.
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/platform.h"
#include "core/random.h"
#include "net/device.h"
#include "net/inet.h"
#include "net/ntp.h"

#define NTP_PORT 123
#define PACKET_BYTES 48
#define EPOCH_DIFFERENCE 2208988800ul  // seconds from 1900 to 1970
#define ERA_SECONDS (1ul << 32)
#define ANSWER_WAIT_NS (3 * NSEC_PER_SEC)
#define RETRY_NS (8 * NSEC_PER_SEC)
#define AGAIN_NS (1024 * NSEC_PER_SEC)
#define STEP_NS (100 * NSEC_PER_MSEC)

enum { CLIENT_V4 = 4 << 3 | 3, MODE_SERVER = 4, NOT_SYNCHRONISED = 3, STRATUM_MAX = 15 };
enum { STRATUM_AT = 1, ORIGINATE_AT = 24, TRANSMIT_AT = 40, TIMESTAMP_BYTES = 8 };

static struct sock_addr server = {.family = AF_INET};

static ssize_t move(struct socket *s, u8 *bytes, size_t n, bool out)
{
    struct uio u = {.base = (uptr_t)bytes, .len = n, .remaining = n, .kernel = 1};
    struct message m = {.uio = &u, .flags = MSG_NOSIGNAL};
    return out ? s->ops->send(s, &m) : s->ops->receive(s, &m);
}

static u32 get_be32(const u8 *p)
{
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

// Seconds before 1968 are those of the next era, which begins in 2036.
static u64 to_real_ns(const u8 *timestamp)
{
    u64 seconds = get_be32(timestamp);
    if (!(seconds >> 31))
        seconds += ERA_SECONDS;
    return (seconds - EPOCH_DIFFERENCE) * NSEC_PER_SEC +
           ((u64)get_be32(timestamp + 4) * NSEC_PER_SEC >> 32);
}

static bool is_answer(const u8 *p, const u8 *nonce)
{
    return (p[0] & 7) == MODE_SERVER && p[0] >> 6 != NOT_SYNCHRONISED && p[STRATUM_AT] >= 1 &&
           p[STRATUM_AT] <= STRATUM_MAX && !memcmp(p + ORIGINATE_AT, nonce, TIMESTAMP_BYTES) &&
           get_be32(p + TRANSMIT_AT);
}

// => the time of day now, 0: no answer
static u64 ask(struct socket *s)
{
    u8 packet[PACKET_BYTES] = {CLIENT_V4}, nonce[TIMESTAMP_BYTES];
    random_bytes(nonce, sizeof(nonce));
    memcpy(packet + TRANSMIT_AT, nonce, sizeof(nonce));
    u64 sent = ktime_ns();
    if (move(s, packet, sizeof(packet), true) != (ssize_t)sizeof(packet))
        return 0;
    while (ktime_ns() < sent + ANSWER_WAIT_NS) {
        ssize_t n = move(s, packet, sizeof(packet), false);
        if (n == (ssize_t)sizeof(packet) && is_answer(packet, nonce))
            return to_real_ns(packet + TRANSMIT_AT) + (ktime_ns() - sent) / 2;
        if (n < 0)
            return 0;
    }
    return 0;
}

static void set_clock(u64 real_ns, bool first)
{
    u64 now = ktime_real_ns(), off = real_ns > now ? real_ns - now : now - real_ns;
    if (!first && off < STEP_NS)
        return;
    ktime_set_real_ns(real_ns);
    log_info("ntp: the clock was %lu ms %s", (unsigned long)(off / NSEC_PER_MSEC),
             real_ns > now ? "behind" : "ahead");
}

static void ntp_main(void *unused)
{
    bool first = true;
    struct socket *s = udp_create(AF_INET);
    net_wait_configured();
    while (!IS_ERR(s)) {
        s->receive_timeout_ns = ANSWER_WAIT_NS;
        u64 real_ns = s->ops->connect(s, &server, 16, true) ? 0 : ask(s);
        if (real_ns)
            set_clock(real_ns, first);
        first &= real_ns == 0;
        thread_sleep_prepare(WAIT_UNINTERRUPTIBLE);
        thread_block(WAIT_UNINTERRUPTIBLE, ktime_ns() + (real_ns ? AGAIN_NS : RETRY_NS));
        thread_sleep_cancel();
    }
}

void ntp_start(void)
{
    char word[32];
    ip4_addr_t address;
    u64 port = NTP_PORT;
    if (!cmdline_get("ntp", word, sizeof(word)))
        return;
    char *colon = strchr(word, ':');
    if (colon) {
        *colon = '\0';
        port = strtoul(colon + 1, NULL, 10);
    }
    if (!ip4addr_aton(word, &address) || !port || port > UINT16_MAX) {
        log_error("ntp=%s is not ADDRESS or ADDRESS:PORT (IPv4)", word);
        return;
    }
    server.data[0] = (u8)(port >> 8);
    server.data[1] = (u8)port;
    memcpy(server.data + 2, &address.addr, 4);
    if (IS_ERR(kthread_create("ntp", ntp_main, NULL, -1)))
        log_error("ntp: too little memory");
}
