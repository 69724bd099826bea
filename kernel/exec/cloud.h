// SPDX-License-Identifier: BSD-2-Clause
// cloud.h: what the machine's owner gives from outside: host name, environment, files. Who brings it: net/cloud.c, cloud_disk.c; what becomes of it:
// cloud_data.c. Only in the kernel with devices.
#pragma once

#include "exec/config.h"

// Host name: up to its first dot; what is none is told on the console.
void cloud_use_hostname(char *text);
// User data, a string, which is changed. => memory of the new environment, NULL: it stays as it is
char *cloud_use_data(struct run_config *c, char *text);
// NoCloud's meta-data: its local-hostname.
void cloud_use_metadata(char *text);
// OpenStack's meta_data.json: its host name; each of its files is given to `file` with its path and the path of its contents.
void cloud_use_json(char *text, void (*file)(void *arg, const char *path, const char *contents),
                    void *arg);
// Decodes in place. => bytes, -EINVAL
ssize_t cloud_base64(char *text);

// Looks for the disk of NoCloud, or that of OpenStack's ConfigDrive, and uses what is on it. => as cloud_use_data
char *cloud_use_disk(struct run_config *c, bool config_drive);
