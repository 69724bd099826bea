// SPDX-License-Identifier: BSD-2-Clause
// User memory of the test: functions of the test.
#pragma once

#include "core/base.h"

int get_user_u8(u8 *out, u64 from);
int get_user_u32(u32 *out, u64 from);
int get_user_u64(u64 *out, u64 from);
int put_user_u8(u64 to, u8 value);
int put_user_u32(u64 to, u32 value);
int put_user_u64(u64 to, u64 value);
