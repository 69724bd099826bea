// SPDX-License-Identifier: BSD-2-Clause
// cc.h: the compiler and the kernel as lwIP sees them.
#pragma once

#include <stdint.h>

#include "core/base.h"
#include "core/errno.h"

#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_UNISTD_H 1
#define SSIZE_MAX INTPTR_MAX
#define LWIP_NO_CTYPE_H 1
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

#define BYTE_ORDER LITTLE_ENDIAN               // as every architecture here
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS  // one instruction instead of calls
#define lwip_htons(x) __builtin_bswap16((uint16_t)(x))
#define lwip_ntohs(x) __builtin_bswap16((uint16_t)(x))
#define lwip_htonl(x) __builtin_bswap32((uint32_t)(x))
#define lwip_ntohl(x) __builtin_bswap32((uint32_t)(x))
#define LWIP_RAND() net_random()
uint32_t net_random(void);

// For what cannot happen whatever comes over the network.
void net_assert_failed(const char *text, const char *file, int line) __attribute__((noreturn));
#define LWIP_PLATFORM_ASSERT(text) net_assert_failed(text, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(x) \
    do {                      \
    } while (0)
