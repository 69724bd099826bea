// SPDX-License-Identifier: BSD-2-Clause
// Waits to be asked to end: with SIGTERM it says so and ends with status 3; with the argument `stubborn` it goes on for ever.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    sigset_t set;
    siginfo_t info;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    puts("waiting");
    fflush(stdout);
    while (sigwaitinfo(&set, &info) == SIGTERM && argc > 1 && !strcmp(argv[1], "stubborn"))
        ;
    printf("asked to end, code %s\n", info.si_code == SI_KERNEL ? "SI_KERNEL" : "of somebody else");
    return 3;
}
