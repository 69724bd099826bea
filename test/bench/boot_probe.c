// SPDX-License-Identifier: BSD-2-Clause
// The C hello of the boot figures: prints a line and passes `printed`, an address that the counting plugin watches.
#include <stdio.h>

void printed(void);

__attribute__((noinline)) void printed(void) { __asm__ volatile(""); }

int main(void)
{
    puts("hello, world");
    fflush(stdout);
    printed();
    return 0;
}
