// SPDX-License-Identifier: BSD-2-Clause
// uts.h: the names that uname(2), /proc/version and /proc/sys/kernel give the kernel. Programs parse
// the release as a Linux version: it says which Linux's interface this is (docs/linux.md).
#pragma once

#define UTS_SYSNAME "Linux"
#define UTS_RELEASE "6.18.0-lethe"
#define UTS_VERSION "#1 SMP Lethe " LETHE_VERSION
#define UTS_DOMAINNAME "(none)"
