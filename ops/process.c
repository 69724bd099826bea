// SPDX-License-Identifier: BSD-2-Clause
// Other programs of this host that the tool has work for.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(const char *const *argv, int in, int out, int messages)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    dup2(in, 0);
    dup2(out, 1);
    dup2(messages, 2);
    execvp(argv[0], (char *const *)argv);
    _exit(PROGRAM_MISSING);
}

// The last line of what comes from FD, to its end.
static void read_last_line(int fd, char line[PROGRAM_LINE])
{
    char c;
    size_t len = 0;
    bool ended = false;

    for (ssize_t n; (n = read(fd, &c, 1)) > 0 || (n < 0 && errno == EINTR);) {
        if (n < 0)
            continue;
        if (c == '\n') {
            ended = true;
            continue;
        }
        if (ended)
            len = 0;
        ended = false;
        if (len < PROGRAM_LINE - 1)
            line[len++] = c;
        line[len] = '\0';
    }
}

// Runs ARGV to its end, from and to these descriptors (-1: nothing). => its end: 0 well, PROGRAM_MISSING, else another number, with
// the last line that it said about errors in LINE
int try_program(const char *const *argv, int in, int out, char line[PROGRAM_LINE])
{
    int ends[2], status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t child;

    *line = '\0';
    if (null < 0 || pipe2(ends, O_CLOEXEC))
        die_status(STATUS_NOBOOT, "cannot start %s: %s", argv[0], strerror(errno));
    child = fork();
    if (child < 0)
        die_status(STATUS_NOBOOT, "cannot start %s: %s", argv[0], strerror(errno));
    if (!child)
        become(argv, in < 0 ? null : in, out < 0 ? null : out, ends[1]);
    close(ends[1]);
    read_last_line(ends[0], line);
    close(ends[0]);
    close(null);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == PROGRAM_MISSING && !*line)
        return PROGRAM_MISSING;
    if (status && !*line)
        snprintf(line, PROGRAM_LINE, "it says nothing");
    return status ? 1 : 0;
}

// The same for what cannot do without: PACKAGE is the Debian package that has it. => ends the tool when it fails
void run_program(const char *const *argv, const char *package, int in, int out)
{
    char line[PROGRAM_LINE];
    int end = try_program(argv, in, out, line);

    if (end == PROGRAM_MISSING)
        die("this needs the program %s; install the Debian package %s", argv[0], package);
    if (end)
        die("%s failed: %s", argv[0], line);
}
