// SPDX-License-Identifier: BSD-2-Clause
// config.h: the run configuration /.lethe/config inside the root image (docs/machine.md).
#pragma once

#include "core/base.h"

#define CONFIG_PATH "/.lethe/config"
#define MAX_MOUNTS 16
#define CONFIG_MAX (2 * HUGE_SIZE / 4)

// The strings point into the text that was parsed.
struct run_config {
    const char *program, *cwd, *hostname;
    char *args, *env;  // NUL-terminated strings one after the other
    size_t args_len, env_len;
    u32 argc, envc;
    char *mounts[MAX_MOUNTS];  // "rw SOURCE PATH" or "ro SOURCE PATH"
    u32 n_mounts;
};

// Parses text (len bytes, text[len] == 0), which is changed. args and env are built in the buffers
// given, each of at least len + 1 bytes.
// => NULL, or a static message saying what is wrong; *line then tells where.
const char *config_parse(char *text, size_t len, char *args, char *env, struct run_config *out,
                         u32 *line);
