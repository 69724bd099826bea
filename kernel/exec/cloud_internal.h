// SPDX-License-Identifier: BSD-2-Clause
// cloud_internal.h: between cloud_data.c and cloud_config.c.
#pragma once

#include "exec/cloud.h"

struct cloud_env {
    char *strings;  // NAME=VALUE and a NUL, one behind the other
    size_t len;
    u32 count;
};

size_t cloud_variable(const char *text);  // => length of the variable's name at its begin
// Uses a cloud-config, which is changed; its environment goes to env->strings, which has room for as many bytes as the text has.
void cloud_config_use(char *text, struct cloud_env *env);
