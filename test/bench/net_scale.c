// SPDX-License-Identifier: BSD-2-Clause
// So many flows at once over loopback TCP: a pair of threads each, which send a message back and forth. The plugin counts between the
// marks.
//
//	net_scale FLOWS ROUNDS BYTES
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLOWS_MAX = 16, BYTES_MAX = 65536 };

static int flows, rounds, bytes;
static pthread_barrier_t begin, end;
static int ends[FLOWS_MAX][2];

__attribute__((noinline)) void flows_begin(void) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void flows_end(void) { __asm__ volatile("" ::: "memory"); }

static void whole(int fd, char *at, int n, int out)
{
    while (n > 0) {
        ssize_t m = out ? send(fd, at, (size_t)n, 0) : recv(fd, at, (size_t)n, 0);
        if (m <= 0)
            exit(1);
        at += m;
        n -= (int)m;
    }
}

static void *talk(void *arg)
{
    int fd = *(int *)arg, first = ((int *)arg - ends[0]) % 2 == 0;
    char *block = calloc(1, BYTES_MAX);

    pthread_barrier_wait(&begin);
    for (int i = 0; i < rounds; i++) {
        if (first)
            whole(fd, block, bytes, 1);
        whole(fd, block, bytes, 0);
        if (!first)
            whole(fd, block, bytes, 1);
    }
    pthread_barrier_wait(&end);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    if (argc < 4 || (flows = atoi(argv[1])) > FLOWS_MAX || (bytes = atoi(argv[3])) > BYTES_MAX)
        return 2;
    rounds = atoi(argv[2]);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, FLOWS_MAX) ||
        getsockname(listener, (struct sockaddr *)&here, &len))
        return 1;
    pthread_barrier_init(&begin, NULL, (unsigned)flows * 2 + 1);
    pthread_barrier_init(&end, NULL, (unsigned)flows * 2 + 1);
    for (int i = 0; i < flows; i++) {
        pthread_t t;
        ends[i][0] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(ends[i][0], (struct sockaddr *)&here, sizeof here))
            return 1;
        ends[i][1] = accept(listener, NULL, NULL);
        for (int side = 0; side < 2; side++) {
            setsockopt(ends[i][side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            if (pthread_create(&t, NULL, talk, &ends[i][side]))
                return 1;
        }
    }
    flows_begin();
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    flows_end();
    puts("done");
    return 0;
}
