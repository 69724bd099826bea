// SPDX-License-Identifier: BSD-2-Clause
// Prints its arguments and a variable of the environment; the exit status is the first argument.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    puts("hello from C");
    for (int i = 1; i < argc; i++)
        printf("argument %d: %s\n", i, argv[i]);
    if (getenv("GREETING"))
        printf("GREETING=%s\n", getenv("GREETING"));
    return argc > 1 ? atoi(argv[1]) : 0;
}
