// SPDX-License-Identifier: BSD-2-Clause
// cpuinfo.c: /proc/cpuinfo as Linux words it on arm64.
#include <stdio.h>

#include "a64_internal.h"
#include "arch/cpu.h"

size_t arch_cpuinfo(char *buf, size_t size, u32 cpu)
{
    u64 midr = sysreg_read(midr_el1), hz = sysreg_read(cntfrq_el0);
    size_t n = scnprintf(buf, size, "processor\t: %u\nBogoMIPS\t: %lu.%02lu\nFeatures\t:", cpu,
                         hz / 500000, hz / 5000 % 100);
    n += a64_hwcap_names(buf + n, size - n);
    n += scnprintf(buf + n, size - n,
                   "\n"
                   "CPU implementer\t: 0x%02lx\n"
                   "CPU architecture: 8\n"
                   "CPU variant\t: 0x%lx\n"
                   "CPU part\t: 0x%03lx\n"
                   "CPU revision\t: %lu\n\n",
                   midr >> 24 & 0xff, midr >> 20 & 15, midr >> 4 & 0xfff, midr & 15);
    return n;
}
