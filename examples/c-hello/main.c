// SPDX-License-Identifier: BSD-2-Clause
// The smallest program worth running: says hello to whom its arguments name.
#include <stdio.h>
#include <sys/utsname.h>

int main(int argc, char **argv)
{
    struct utsname system;

    if (uname(&system))
        return 1;
    printf("Hello, %s, from %s on %s\n", argc > 1 ? argv[1] : "world", system.sysname,
           system.machine);
    return 0;
}
