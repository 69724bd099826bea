// SPDX-License-Identifier: BSD-2-Clause
// exec.h: starting programs.
#pragma once

// Reads /.lethe/config from the root image and starts the program as PID 2 (exec/init.c). Never
// fails back: a machine that cannot start its program says why and ends.
void init_start(void);
