// SPDX-License-Identifier: BSD-2-Clause
// The user's terminal while a guest runs. When both our input and output are terminals, the guest's line
// discipline does the editing, echo and signals, so ours is switched off until the end; otherwise nothing changes
// and the guest is told (tty=pipe).
//
// With -t the terminal is all the guest's: output too passes as it is, and the guest knows its size and its TERM.
//
// However the tool ends, the terminal gets its settings back: at exit, or from a process that waits for our end on a pipe and
// so outlives even SIGKILL.
#include "lethe.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct termios before, raw;
static bool changed;
static pid_t guard;
static int guard_pipe = -1;

bool terminal_interactive(void) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO); }

struct winsize terminal_size(void)
{
    struct winsize size = {0};

    ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    return size;
}

// What the guest needs to know of this terminal: its kind, and how that is driven.
void terminal_settle(struct job *job)
{
    static const char *const folders[] = {"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"};
    const char *kind = getenv("TERM");

    if (!terminal_interactive())
        die("-t: standard input and output must be a terminal");
    if (!kind || !*kind)
        return;
    if (!env_get(&job->env, "TERM"))
        env_set(&job->env, format("TERM=%s", kind));
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char *path = format("%s/%c/%s", folders[i], *kind, kind);
        if (job->rootfs || job->sysroot || strchr(kind, '/') || access(path, R_OK))
            continue;
        tree_add_if_there(job->root, path, path);
        break;
    }
}

// Waits for the end of the tool, then restores the terminal unless the tool said that it did.
static void watch_over(int our_end)
{
    sigset_t all;
    char word;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);  // SIGTTOU too: we may be in the background by then
    setpgid(0, 0);
    dup2(our_end, STDOUT_FILENO);
    dup2(STDIN_FILENO, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (read(STDOUT_FILENO, &word, 1) == 0)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    _exit(0);
}

static void start_guard(void)
{
    int ends[2];

    if (pipe(ends))
        return;
    guard = fork();
    if (guard == 0) {
        close(ends[1]);
        watch_over(ends[0]);
    }
    close(ends[0]);
    guard_pipe = ends[1];
}

static void dismiss_guard(void)
{
    if (guard_pipe < 0)
        return;
    if (write(guard_pipe, "", 1) == 1 && guard > 0)
        waitpid(guard, NULL, 0);
    close(guard_pipe);
    guard_pipe = -1;
}

void terminal_restore(void)
{
    if (!changed)
        return;
    signal(SIGTTOU, SIG_IGN);  // in the background too
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    changed = false;
    dismiss_guard();
}

// Hands every key to the guest; all: and every byte of its output to the terminal. => restored at the end of the tool,
// however it ends
void terminal_raw(bool all)
{
    if (changed || tcgetattr(STDIN_FILENO, &before))
        return;
    raw = before;
    raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    if (all)
        raw.c_oflag &= ~OPOST;  // else newlines as ever
    start_guard();
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)) {
        dismiss_guard();
        return;
    }
    changed = true;
    atexit(terminal_restore);
}

// After the tool was stopped and goes on: a shell has set the terminal as it likes it.
void terminal_raw_again(void)
{
    if (changed)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}
