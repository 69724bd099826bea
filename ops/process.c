// SPDX-License-Identifier: BSD-2-Clause
// Other programs of this host that the tool has work for.
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_EXEC = 127, MESSAGE = 1024 };

static void become(const char *const *argv, int in, int out, int messages)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(in, 0);
    dup2(out, 1);
    dup2(messages, 2);
    execvp(argv[0], (char *const *)argv);
    _exit(STATUS_EXEC);
}

// The last line of what comes from FD, to its end.
static void read_last_line(int fd, char line[MESSAGE])
{
    char c;
    size_t len = 0;
    bool ended = false;

    for (ssize_t n; (n = read(fd, &c, 1)) > 0 || (n < 0 && errno == EINTR);) {
        if (n < 0)
            continue;
        if (ended)
            len = 0;
        ended = c == '\n';
        if (!ended && len < MESSAGE - 1)
            line[len++] = c;
        line[len] = '\0';
    }
}

// Runs ARGV to its end, from and to these descriptors (-1: nothing); PACKAGE is the Debian package that has it.
// => ends the tool, with the program's last line, when it fails
void run_program(const char *const *argv, const char *package, int in, int out)
{
    char message[MESSAGE] = "";
    int ends[2], status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t child;

    if (null < 0 || pipe2(ends, O_CLOEXEC))
        die_status(STATUS_NOBOOT, "cannot start %s: %s", argv[0], strerror(errno));
    child = fork();
    if (child < 0)
        die_status(STATUS_NOBOOT, "cannot start %s: %s", argv[0], strerror(errno));
    if (!child)
        become(argv, in < 0 ? null : in, out < 0 ? null : out, ends[1]);
    close(ends[1]);
    read_last_line(ends[0], message);
    close(ends[0]);
    close(null);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_EXEC)
        die("this needs the program %s; install the Debian package %s", argv[0], package);
    if (status)
        die("%s failed: %s", argv[0], *message ? message : "it says nothing");
}
