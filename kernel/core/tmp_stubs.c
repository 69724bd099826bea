// SPDX-License-Identifier: BSD-2-Clause
// Temporary: names that other folders do not define yet, so that the kernel links meanwhile.
#include "core/base.h"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
__weak void locks_file_closed(void *a, void *b) {}
__weak void locks_file_released(void *a) {}
__weak void locks_inode_gone(void *a) {}
__weak void xattrs_free(void *a) {}
__weak void locks_show(void *a) {}
