// SPDX-License-Identifier: BSD-2-Clause
// What an interactive program asks of its terminal, on Linux and in the guest: it says what it sees, and a script
// (terminal.sh) types and compares.
//
//   terminal_probe size | keys | line | jobs
#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t last_signal;
static void note(int sig) { last_signal = sig; }

// Notes the signal from now on, but only while wait_input waits: one that came just before a read would leave it waiting.
static void catch (int sig)
{
    struct sigaction action = {.sa_handler = note};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaction(sig, &action, NULL);
}

// => whether there is input; false after a signal that is caught.
static bool wait_input(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    sigset_t none;

    sigemptyset(&none);
    return ppoll(&input, 1, NULL, &none) >= 0 || errno != EINTR;
}

static void say_size(const char *when)
{
    struct winsize size;

    if (ioctl(0, TIOCGWINSZ, &size))
        perror("TIOCGWINSZ");
    printf("%s %ux%u\n", when, size.ws_row, size.ws_col);
    fflush(stdout);
}

// The window at the start and after each change, until a line is typed.
static void sizes(void)
{
    catch (SIGWINCH);
    printf("term %s\n", getenv("TERM"));
    say_size("start");
    while (!wait_input())
        say_size("now");
}

// Raw mode: every byte is told as it comes, until 'q'; the screen gets bare newlines.
static void keys(void)
{
    struct termios before, raw;
    unsigned char c = 0;

    tcgetattr(0, &before);
    printf("onlcr %d icanon %d echo %d isig %d\n", !!(before.c_oflag & ONLCR),
           !!(before.c_lflag & ICANON), !!(before.c_lflag & ECHO), !!(before.c_lflag & ISIG));
    raw = before;
    cfmakeraw(&raw);
    tcsetattr(0, TCSADRAIN, &raw);
    printf("raw\nmode\n");
    fflush(stdout);
    while (c != 'q' && read(0, &c, 1) == 1) {
        printf("<%02x>", c);
        fflush(stdout);
    }
    tcsetattr(0, TCSADRAIN, &before);
    printf("cooked\n");
}

// Line mode: lines as they come; ^C is told, ^D ends.
static void lines(void)
{
    char line[256];
    ssize_t n;

    catch (SIGINT);
    catch (SIGQUIT);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        if (!wait_input())
            printf("signal %d\n", (int)last_signal);
        else if ((n = read(0, line, sizeof(line))) > 0)
            printf("line of %zd: %.*s", n, (int)n, line);
        else
            break;
        fflush(stdout);
    }
    printf("end of input\n");
}

// ---- job control: a shell's part, and what happens to jobs in the background

static const char *told(int status)
{
    static char text[64];

    if (WIFSTOPPED(status))
        snprintf(text, sizeof(text), "stopped by %s", sigabbrev_np(WSTOPSIG(status)));
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "killed by %s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(text, sizeof(text), "exit %d", WEXITSTATUS(status));
    return text;
}

static pid_t start_job(int (*job)(void))
{
    pid_t pid = fork();

    if (pid == 0) {
        setpgid(0, 0);
        _exit(job());
    }
    setpgid(pid, pid);
    return pid;
}

static void wait_job(const char *name, pid_t pid)
{
    int status = 0;

    if (waitpid(pid, &status, WUNTRACED) < 0)
        perror("waitpid");
    printf("%s: %s\n", name, told(status));
    fflush(stdout);
}

static void foreground(pid_t group)
{
    if (tcsetpgrp(0, group))
        perror("tcsetpgrp");
}

static int reads(void)
{
    char c;

    return read(0, &c, 1) == 1 ? c : errno;
}

static int reads_deaf(void)
{
    signal(SIGTTIN, SIG_IGN);
    return reads();
}

static int sets(void)
{
    struct termios t;

    tcgetattr(0, &t);
    return tcsetattr(0, TCSANOW, &t) ? errno : 0;
}

static int sets_deaf(void)
{
    signal(SIGTTOU, SIG_IGN);
    return sets();
}

static int writes(void) { return write(1, "job writes\n", 11) == 11 ? 0 : errno; }

static int waits(void)
{
    pause();
    return 0;
}

static void tostop(bool on)
{
    struct termios t;

    tcgetattr(0, &t);
    t.c_lflag = on ? t.c_lflag | TOSTOP : t.c_lflag & ~TOSTOP;
    tcsetattr(0, TCSANOW, &t);
}

static void say_errno(const char *what, int result)
{
    printf("%s: %s\n", what, result ? strerrorname_np(errno) : "0");
}

static void refusals(void)
{
    pid_t other = fork();

    if (other == 0) {
        setsid();
        pause();
    }
    usleep(100000);
    say_errno("group of another session", tcsetpgrp(0, other));
    say_errno("group that is not there", tcsetpgrp(0, 99999));
    say_errno("no group", tcsetpgrp(0, -5));
    say_errno("session", tcgetsid(0) == getsid(0) ? 0 : -1);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
}

static void jobs(void)
{
    pid_t self = getpgrp(), pid;

    printf("foreground: %d\n", tcgetpgrp(0) == self);
    pid = start_job(reads);
    wait_job("background read", pid);
    foreground(pid);
    kill(-pid, SIGCONT);
    wait_job("foreground read", pid);
    signal(SIGTTOU, SIG_IGN);
    foreground(self);
    signal(SIGTTOU, SIG_DFL);
    wait_job("deaf read", start_job(reads_deaf));
    pid = start_job(sets);
    wait_job("background set", pid);
    kill(-pid, SIGKILL);
    wait_job("then", pid);
    wait_job("deaf set", start_job(sets_deaf));
    wait_job("background write", start_job(writes));
    tostop(true);
    pid = start_job(writes);
    wait_job("background write, tostop", pid);
    tostop(false);
    kill(-pid, SIGCONT);
    wait_job("then", pid);
    pid = start_job(waits);
    foreground(pid);
    printf("type\n");
    fflush(stdout);
    wait_job("^Z", pid);
    kill(-pid, SIGCONT);
    usleep(100000);
    printf("again\n");
    fflush(stdout);
    wait_job("^C", pid);
    signal(SIGTTOU, SIG_IGN);
    foreground(self);
    refusals();
}

int main(int argc, char **argv)
{
    const char *part = argc > 1 ? argv[1] : "";

    if (!strcmp(part, "size"))
        sizes();
    else if (!strcmp(part, "keys"))
        keys();
    else if (!strcmp(part, "line"))
        lines();
    else if (!strcmp(part, "jobs"))
        jobs();
    printf("bye\n");
    return 3;
}
