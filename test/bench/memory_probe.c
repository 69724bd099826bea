// SPDX-License-Identifier: BSD-2-Clause
// Prints how many KiB of RAM are free, as the guest's own /proc/meminfo says.
#include <stdio.h>

int main(void)
{
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    long kib;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemFree: %ld", &kib) == 1)
            printf("free %ld\n", kib);
    return 0;
}
