// SPDX-License-Identifier: BSD-2-Clause
// Takes memory and gives it up, telling when, so that the host can watch.
//
//   give_back rounds N MIB         N times: fill MIB MiB, unmap them, wait for a line of input
//   give_back late MIB MS          wait for MS ms, then fill MIB MiB
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *fill(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(3);
    }
    for (size_t at = 0; at < bytes; at += 4096)
        p[at] = 1;
    return p;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 4 && strcmp(argv[1], "rounds") == 0) {
        size_t bytes = strtoul(argv[3], NULL, 0) << 20;
        for (long i = strtol(argv[2], NULL, 0); i > 0; i--) {
            char *p = fill(bytes);
            puts("full");
            munmap(p, bytes);
            puts("free");
            if (getchar() == EOF)
                return 4;
        }
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "late") == 0) {
        puts("ready");
        usleep(strtoul(argv[3], NULL, 0) * 1000);
        fill(strtoul(argv[2], NULL, 0) << 20);
        puts("full");
        return 0;
    }
    return 2;
}
