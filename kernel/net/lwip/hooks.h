// SPDX-License-Identifier: BSD-2-Clause
// hooks.h: what lwIP asks of us at its hooks (lwipopts.h).
#pragma once

#include <stdint.h>

uint32_t net_tcp_isn(void);  // an unpredictable initial sequence number

struct pbuf;
struct netif;
struct tcp_hdr;
struct tcp_pcb;
// A segment is complete and goes out. pcb: NULL for a reset of no connection. => options as it came: none is added
uint32_t *net_tcp_segment_out(const struct pbuf *p, const struct tcp_hdr *header,
                              const struct tcp_pcb *pcb, uint32_t *options);
// A packet has come in (net/ip_input.c). => 1: it is eaten
int net_ip4_input(struct pbuf *p, struct netif *inp);
int net_ip6_input(struct pbuf *p, struct netif *inp);
