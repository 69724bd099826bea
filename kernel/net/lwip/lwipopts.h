// SPDX-License-Identifier: BSD-2-Clause
// lwipopts.h: lwIP's configuration. It runs without threads of its own, under the lock of struct net_stack (net/stack.h),
// which also drives its timers; our socket layer uses its callback interface.
#pragma once

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TIMERS 1
#define LWIP_TIMERS_CUSTOM 1  // net/stack.c
#define LWIP_STATS 1          // those that /proc/net/snmp tells
#define MIB2_STATS 1
#define LINK_STATS 0
#define ETHARP_STATS 0
#define IP_STATS 0
#define IPFRAG_STATS 0
#define ICMP_STATS 0
#define IGMP_STATS 0
#define UDP_STATS 0
#define TCP_STATS 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0
#define IP6_STATS 0
#define ICMP6_STATS 0
#define IP6_FRAG_STATS 0
#define MLD6_STATS 0
#define ND6_STATS 0
#define LWIP_ERRNO_INCLUDE "core/errno.h"

// Memory: the kernel's, counted (net/stack.c).
#define MEM_ALIGNMENT 8
#define MEMP_MEM_MALLOC 1
#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC net_malloc
#define MEM_CUSTOM_CALLOC net_calloc
#define MEM_CUSTOM_FREE net_free
#include <stddef.h>
void *net_malloc(size_t size);
void *net_calloc(size_t n, size_t size);
void net_free(void *p);
typedef size_t mem_size_t;
#define MEM_SIZE_F "zu"

// Interfaces
#define LWIP_HAVE_LOOPIF 0  // net/stack.c has its own
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LINK_CALLBACK 1
#define LWIP_NETIF_EXT_STATUS_CALLBACK 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define ETH_PAD_SIZE 0

// IPv4
#define LWIP_IPV4 1
#define LWIP_ARP 1
#define ARP_QUEUEING 1
#define ARP_TABLE_SIZE 64
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 128
#define MEMP_NUM_REASSDATA 16
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 0
#define LWIP_MULTICAST_PING 0
#define LWIP_RAW 1
#define LWIP_DHCP 1
#define LWIP_DHCP_DOES_ACD_CHECK 0  // the address is there as soon as the server has given it
#define LWIP_ACD 0
#define LWIP_AUTOIP 0
#define LWIP_IGMP 1
#define LWIP_MULTICAST_TX_OPTIONS 1
#define LWIP_DNS 1  // the resolver is the program's; net/device.c takes the servers that DHCP gives
#define LWIP_DHCP_MAX_DNS_SERVERS 3
#define IP_SOF_BROADCAST 1
#define IP_SOF_BROADCAST_RECV 0

// IPv6
#define LWIP_IPV6 1
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER 1  // pointers are wider than the header that they are kept in
#define LWIP_IPV6_DHCP6 0
#define LWIP_ND6_QUEUEING 1
#define LWIP_ND6_NUM_NEIGHBORS 32
#define LWIP_ND6_NUM_DESTINATIONS 32

// UDP
#define LWIP_UDP 1
#define LWIP_UDPLITE 0
#define SO_REUSE 1
#define SO_REUSE_RXTOALL 1

// TCP. The windows here are the most that a connection may have; its socket's buffers set what it has (net/tcp.c).
// A segment of the loopback interface with its buffer's header fits in 16 KiB.
#define LWIP_TCP 1
#define TCP_MSS 16000
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (4 * 1024 * 1024)
#define TCP_SND_BUF (4 * 1024 * 1024)
#define TCP_SND_QUEUELEN 16384
#define TCP_SNDLOWAT 16384
#define TCP_SNDQUEUELOWAT 16
#define TCP_WND_UPDATE_THRESHOLD (2 * TCP_MSS)
#define TCP_OVERSIZE 0  // data is never copied into segments
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (256 * 1024)
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_TIMESTAMPS 1
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1
#define LWIP_TCP_RTO_TIME 1000
#define TCP_SYNMAXRTX 12  // the most that TCP_SYNCNT has; on_poll (net/tcp.c) counts
#define TCP_MSL 30000u    // TIME-WAIT lasts 60 s, as on Linux
#define TCP_LISTEN_BACKLOG 1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

// Checksums: net/checksum.c
#include <stdint.h>
uint16_t net_checksum(const void *bytes, int len);
#define LWIP_CHKSUM net_checksum
#define LWIP_CHECKSUM_ON_COPY 0

#define LWIP_HOOK_FILENAME "net/lwip/hooks.h"
#define LWIP_HOOK_TCP_OUT_TCPOPT_LENGTH(pcb, length) (length)
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options) \
    net_tcp_segment_out(p, header, pcb, options)
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) net_tcp_isn()
#define LWIP_HOOK_IP4_INPUT(p, inp) net_ip4_input(p, inp)
#define LWIP_HOOK_IP6_INPUT(p, inp) net_ip6_input(p, inp)
