// SPDX-License-Identifier: BSD-2-Clause
// fw_cfg.h: QEMU's configuration device (docs/specs/fw_cfg of QEMU). x86_64/fw_cfg.c; on PCs only, and only in the kernel with devices.
#pragma once

#include "core/base.h"

// Tells the port that the file etc/pvpanic-port names.
void fw_cfg_pvpanic(u8 what) __weak;
