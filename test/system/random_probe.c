// SPDX-License-Identifier: BSD-2-Clause
// Prints whether the random number generator is seeded when the program starts, waits until it is, and looks at what it
// gives: "seeded" or "waited", then "random".
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

int main(void)
{
    unsigned char a[64], b[64], nothing[64] = {0};
    int fd = open("/dev/urandom", O_RDONLY);
    ssize_t n = getrandom(a, sizeof(a), GRND_NONBLOCK);

    if (n < 0 && errno != EAGAIN)
        return 1;
    printf("%s", n < 0 ? "waited" : "seeded");
    if (read(fd, b, sizeof(b)) != sizeof(b))  // never waits
        return 2;
    if (getrandom(a, sizeof(a), 0) != sizeof(a) ||
        getrandom(a, sizeof(a), GRND_NONBLOCK) != sizeof(a))
        return 3;
    if (!memcmp(a, b, sizeof(a)) || !memcmp(a, nothing, sizeof(a)))
        return 4;
    fd = open("/dev/random", O_RDONLY | O_NONBLOCK);
    if (read(fd, b, sizeof(b)) != sizeof(b) || !memcmp(a, b, sizeof(a)))
        return 5;
    printf(" random\n");
    return 0;
}
