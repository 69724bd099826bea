// SPDX-License-Identifier: BSD-2-Clause
// checksum.c: the Internet checksum of lwIP's packets (RFC 1071), 64 bytes at a time. Where the device does it, as it does on a tap
// device, this is not called; QEMU's user network leaves it all to the guest.
#include <string.h>

#include "arch/cpu.h"
#include "core/base.h"
#include "net/stack.h"

struct unaligned {
    u64 word;
} __attribute__((packed, may_alias));

static inline u64 load64(const u8 *p) { return ((const struct unaligned *)p)->word; }

// => the sum of the 16-bit words as they lie in memory, folded, not inverted; a last odd byte stands before a zero
u16 net_checksum(const void *bytes, int len)
{
    const u8 *p = bytes;
    u64 sum = 0, carries = 0;
    if (len >= 64) {
        size_t n = (size_t)len / 64;
        sum = arch_sum_blocks(p, n, sum);
        p += n * 64;
        len -= (int)n * 64;
    }
    for (; len >= 8; p += 8, len -= 8)
        carries += __builtin_add_overflow(sum, load64(p), &sum);
    if (len) {
        u64 rest = 0;
        memcpy(&rest, p, (size_t)len);
        carries += __builtin_add_overflow(sum, rest, &sum);
    }
    sum = (sum >> 32) + (sum & 0xffffffff) + carries;
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return (u16)sum;
}
