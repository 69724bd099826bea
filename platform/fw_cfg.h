// SPDX-License-Identifier: BSD-2-Clause
// fw_cfg.h: QEMU's configuration device (docs/specs/fw_cfg of QEMU). x86_64/fw_cfg.c; on PCs only, and only in the kernel with devices.
#pragma once

#include "core/base.h"

// The first bytes of the file of that name, at most max. => how many; -ENOENT: no such file, or no such device
ssize_t fw_cfg_read(const char *name, void *to, size_t max) __weak;
// Tells the port that the file etc/pvpanic-port names.
void fw_cfg_pvpanic(u8 what) __weak;
