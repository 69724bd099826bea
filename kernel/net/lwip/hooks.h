// SPDX-License-Identifier: BSD-2-Clause
// hooks.h: what lwIP asks of us at its hooks (lwipopts.h).
#pragma once

#include <stdint.h>

uint32_t net_tcp_isn(void);  // an unpredictable initial sequence number

struct pbuf;
struct tcp_hdr;
struct tcp_pcb;
// A segment is complete and goes out. pcb: NULL for a reset of no connection. => options as it came: none is added
uint32_t *net_tcp_segment_out(const struct pbuf *p, const struct tcp_hdr *header,
                              const struct tcp_pcb *pcb, uint32_t *options);
