// SPDX-License-Identifier: BSD-2-Clause
// ntp.h: the time of day from a server (ntp.c).
#pragma once

void ntp_start(void);  // if the kernel's command line says so
