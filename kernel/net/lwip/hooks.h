// SPDX-License-Identifier: BSD-2-Clause
// hooks.h: what lwIP asks of us at its hooks (lwipopts.h).
#pragma once

#include <stdint.h>

uint32_t net_tcp_isn(void);  // an unpredictable initial sequence number
