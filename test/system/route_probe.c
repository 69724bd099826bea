// SPDX-License-Identifier: BSD-2-Clause
// What a machine says at once of addresses that it can or cannot reach: TCP and UDP connect(2), sendto(2). One line an address.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int said(long result) { return result >= 0 || errno == EINPROGRESS ? 0 : errno; }

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct sockaddr_storage to = {.ss_family = strchr(argv[i], ':') ? AF_INET6 : AF_INET};
        struct sockaddr_in *four = (void *)&to;
        struct sockaddr_in6 *six = (void *)&to;
        void *address = to.ss_family == AF_INET6 ? (void *)&six->sin6_addr : &four->sin_addr;
        four->sin_port = htons(9);  // at the same place in both
        if (inet_pton(to.ss_family, argv[i], address) != 1)
            return 2;
        socklen_t len = to.ss_family == AF_INET6 ? sizeof(*six) : sizeof(*four);
        int tcp = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int udp = socket(to.ss_family, SOCK_DGRAM, 0), other = socket(to.ss_family, SOCK_DGRAM, 0);
        printf("%s:", argv[i]);
        printf(" %d", said(connect(tcp, (void *)&to, len)));
        printf(" %d", said(connect(udp, (void *)&to, len)));
        printf(" %d\n", said(sendto(other, "x", 1, 0, (void *)&to, len)));
        close(tcp), close(udp), close(other);
    }
    return 0;
}
