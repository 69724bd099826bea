// SPDX-License-Identifier: BSD-2-Clause
// Runs a command on a terminal of its own and plays the person who sits there.
//
//   pty SCRIPT COMMAND [ARGUMENT...]
//
// SCRIPT has one step a line; \e \r \n \t \xHH and \\ stand for bytes:
//
//   expect TEXT      waits for TEXT in the output behind what was matched before
//   absent TEXT      TEXT has not come so far
//   send TEXT        types TEXT
//   size ROWS COLS   changes the window
//   signal N         sends signal N to the command
//   crash            kills the command's first child
//   sleep MS         waits
//   raw, cooked      the terminal is in this mode now (waits for it)
//   stopped          the command has stopped
//   status N         the command ends with this exit status, or 128 + N by signal N
//
// At the end the terminal's settings must be those of the beginning. => exit status 0, or 1 with a line on the step that failed
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000, KEPT = 1 << 20 };

static int master, slave;
static pid_t child;
static char seen[KEPT];
static size_t n_seen, matched;
static struct termios first;
static const char *step = "";
static int step_number;

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void failed(const char *why)
{
    fprintf(stderr, "step %d, %s: %s; the screen ends with: ", step_number, step, why);
    for (size_t i = n_seen > 300 ? n_seen - 300 : 0; i < n_seen; i++)
        fprintf(stderr, seen[i] >= ' ' && seen[i] < 127 ? "%c" : "\\x%02x", (unsigned char)seen[i]);
    fputc('\n', stderr);
    kill(child, SIGKILL);
    exit(1);
}

// Takes in what comes within ms milliseconds.
static void listen_ms(int ms)
{
    struct pollfd p = {master, POLLIN, 0};

    if (poll(&p, 1, ms) == 1) {
        ssize_t n = read(master, seen + n_seen, KEPT - n_seen);
        n_seen += n > 0 ? n : 0;
        if (n <= 0)
            usleep(1000);
    }
}

static size_t unescape(const char *text, char *bytes)
{
    size_t n = 0;

    for (; *text; text++) {
        if (*text != '\\') {
            bytes[n++] = *text;
            continue;
        }
        switch (*++text) {
        case 'e': bytes[n++] = 27; break;
        case 'r': bytes[n++] = '\r'; break;
        case 'n': bytes[n++] = '\n'; break;
        case 't': bytes[n++] = '\t'; break;
        case 'x': {
            const char digits[] = {text[1], text[2], 0};
            bytes[n++] = (char)strtol(digits, NULL, 16);
            text += 2;
            break;
        }
        default: bytes[n++] = *text;
        }
    }
    return n;
}

static bool found(const char *bytes, size_t n)
{
    const char *at = memmem(seen + matched, n_seen - matched, bytes, n);

    if (at)
        matched = at - seen + n;
    return at;
}

static bool is_raw(void)
{
    struct termios t;

    tcgetattr(slave, &t);
    return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

static bool ended(int flags, int *status)
{
    return waitpid(child, status, WNOHANG | flags) == child;
}

static bool holds(const char *word, const char *text, size_t n)
{
    int status;

    if (!strcmp(word, "expect"))
        return found(text, n);
    if (!strcmp(word, "raw"))
        return is_raw();
    if (!strcmp(word, "cooked"))
        return !is_raw();
    if (!strcmp(word, "stopped"))
        return ended(WUNTRACED, &status) && WIFSTOPPED(status);
    return ended(0, &status) &&  // "status"
           atoi(text) == (WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void wait_for(const char *word, const char *text, size_t n)
{
    long deadline = now_ms() + PATIENCE_MS;

    while (!holds(word, text, n)) {
        if (now_ms() > deadline)
            failed("waited in vain");
        listen_ms(20);
    }
}

static void crash(void)
{
    char path[64];
    int victim = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", child, child);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%d", &victim) != 1)
        failed("the command has no child");
    fclose(f);
    kill(victim, SIGKILL);
}

static void resize(const char *text)
{
    struct winsize size = {.ws_xpixel = 0};

    if (sscanf(text, "%hu %hu", &size.ws_row, &size.ws_col) != 2)
        failed("not ROWS COLS");
    ioctl(slave, TIOCSWINSZ, &size);
}

static void play(char *line)
{
    char bytes[1024];
    char *text = strchr(line, ' ');
    size_t n;

    if (text)
        *text++ = '\0';
    n = unescape(text ? text : "", bytes);
    bytes[n] = '\0';
    if (!strcmp(line, "send")) {
        if (write(master, bytes, n) != (ssize_t)n)
            failed(strerror(errno));
    } else if (!strcmp(line, "absent")) {
        if (memmem(seen, n_seen, bytes, n))
            failed("it came");
    } else if (!strcmp(line, "sleep")) {
        for (long end = now_ms() + atoi(bytes); now_ms() < end;)
            listen_ms(10);
    } else if (!strcmp(line, "size")) {
        resize(bytes);
    } else if (!strcmp(line, "signal")) {
        kill(child, atoi(bytes));
    } else if (!strcmp(line, "crash")) {
        crash();
    } else {
        wait_for(line, bytes, n);
    }
}

static void become(char **command)
{
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; fd++)
        dup2(slave, fd);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

int main(int argc, char **argv)
{
    struct winsize size = {.ws_row = 33, .ws_col = 77};
    char line[1024];
    struct termios last;
    FILE *script = argc > 2 ? fopen(argv[1], "r") : NULL;

    if (!script || openpty(&master, &slave, NULL, NULL, &size)) {
        fprintf(stderr, "pty SCRIPT COMMAND...: %s\n", strerror(errno));
        return 2;
    }
    tcgetattr(slave, &first);
    first.c_iflag |= IUTF8;
    tcsetattr(slave, TCSANOW, &first);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    child = fork();
    if (child == 0)
        become(argv + 2);
    while (fgets(line, sizeof(line), script)) {
        char shown[sizeof(line)];
        line[strcspn(line, "\n")] = '\0';
        step_number++;
        if (!*line || *line == '#')
            continue;
        strcpy(shown, line);
        step = shown;
        play(line);
    }
    step = "end";
    for (long end = now_ms() + 5000;
         tcgetattr(slave, &last) || memcmp(&last, &first, sizeof(last));) {
        if (now_ms() > end)
            failed("the terminal is not as it was");
        usleep(10000);
    }
    return 0;
}
