// SPDX-License-Identifier: BSD-2-Clause
// sha256.h: digests of files.
#ifndef LETHE_OPS_SHA256_H
#define LETHE_OPS_SHA256_H

#include <stdint.h>

enum { SHA256_TEXT = 65 };

// The digest of all that FD holds, as hexadecimal digits. => its size in bytes
uint64_t sha256_file(int fd, char digest[SHA256_TEXT]);

#endif
