// SPDX-License-Identifier: BSD-2-Clause
// Asks the host of QEMU's user network for a connection to a port where nobody listens: the refusal says that frames went
// out and came in.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1)};
    inet_pton(AF_INET, "10.0.2.2", &to.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno != ECONNREFUSED) {
        printf("not refused: %s\n", strerror(errno));
        return 1;
    }
    puts("refused, as it should be");
    return 0;
}
