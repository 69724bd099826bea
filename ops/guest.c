// SPDX-License-Identifier: BSD-2-Clause
// A running guest: QEMU as a child, its console relayed, its end understood.
//
//        stdin --> [to_guest]   --> console (QEMU's 0)
//       stdout <-- [from_guest] <-- console (QEMU's 1)
//                  [messages]   <-- QEMU's own words (2): kept, shown when something failed
//                  control      <-- port 0xe9 (3): boot-ok, exit N, signal N, oom, panic, noboot
//
// QEMU sits between pipes and in a session of its own, so that it neither hears our terminal's signals nor changes
// its modes, and O_NONBLOCK never leaks to the caller's descriptors. The kernel kills QEMU when the tool dies
// (PR_SET_PDEATHSIG). Nothing lies on disk: the image is a memory file that QEMU inherits (4).
//
// With a terminal of the guest's own (-t) its size goes along with the keys: the byte FF begins a word of ours, and is
// doubled where it is a key (kernel/fs/tty_host.c has the other side).
#include "lethe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 4096,       // at most PIPE_BUF, so that a write after POLLOUT does not block
    GRACE_MS = 2000,    // QEMU may take this long to end by itself
    LINE = 1024,        // longest line of the control channel that is kept
    STATUS_EXEC = 127,  // the child could not start QEMU
    CONTROL_C = 3,      // ^C
    CONTROL_D = 4,      // ^D: the end of input, as the guest's terminal reads it
    TWICE_MS = 1000,    // a second ^C, or three ^], within this time end the guest
    CONTROL_BRACKET = 29,
    ESCAPE = 0xff,  // begins a word that is not the user's
};

enum ending { END_NONE, END_EXIT, END_SIGNAL, END_PANIC, END_NOBOOT };

// Bytes on their way from one descriptor to another.
struct relay {
    int from, to;  // -1: closed
    size_t chunk;  // how much is read at once
    char bytes[CHUNK];
    size_t begin, end;
};

struct guest {
    pid_t qemu;
    struct relay to_guest, from_guest;
    int messages, control, signals;
    char line[LINE];  // of the control channel, being read
    size_t line_len;
    char last_message[LINE];  // QEMU's last line
    size_t message_len;
    bool running, booted;
    enum ending ending;
    int ending_value;
    char *ending_text, *oom_text;  // or NULL
    bool timed_out;
    int stop_signal;      // the signal that ended the tool, or 0
    int64_t deadline_ms;  // --timeout, or 0
    int64_t term_ms;      // when to send SIGTERM, or 0
    int64_t kill_ms;      // when to send SIGKILL, or 0
    bool verbose, interactive;
    bool forwards;         // -p
    bool terminal;         // -t: the guest's own terminal
    bool resized;          // ... whose size the guest is to be told
    unsigned interrupts;   // ^C, or ^], so far
    int64_t interrupt_ms;  // ... and when the first of them came
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- starting

// Descriptors above those that the child places.
static int high(int fd)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 16);

    if (moved < 0)
        die_status(STATUS_NOBOOT, "cannot start the guest: %s", strerror(errno));
    close(fd);
    return moved;
}

static void make_pipe(int *read_end, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        die_status(STATUS_NOBOOT, "cannot start the guest: %s", strerror(errno));
    *read_end = high(ends[0]);
    *write_end = high(ends[1]);
}

static void watch_signals(struct guest *guest)
{
    static const int caught[] = {SIGCHLD, SIGINT,  SIGTERM,  SIGHUP,
                                 SIGQUIT, SIGTSTP, SIGWINCH, SIGCONT};
    const size_t n = sizeof(caught) / sizeof(caught[0]) - (guest->terminal ? 0 : 3);
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < n; i++)
        sigaddset(&set, caught[i]);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    guest->signals = high(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// In the child: become QEMU. => fds are QEMU's 0 .. 4
static void become_qemu(const struct strings *command, const int fds[5], pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_EXEC);
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 5; i++)
        dup2(fds[i], i);
    execvp(command->items[0], command->items);
    dprintf(2, "%s: %s\n", command->items[0], strerror(errno));
    _exit(STATUS_EXEC);
}

static void start(struct guest *guest, const struct strings *command, int image_fd)
{
    int fds[5] = {[IMAGE_FD] = high(image_fd)};
    pid_t parent = getpid();

    make_pipe(&fds[0], &guest->to_guest.to);
    make_pipe(&guest->from_guest.from, &fds[1]);
    make_pipe(&guest->messages, &fds[2]);
    make_pipe(&guest->control, &fds[CONTROL_FD]);
    fcntl(guest->to_guest.to, F_SETFL, O_NONBLOCK);
    guest->to_guest.from = STDIN_FILENO;
    guest->from_guest.to = STDOUT_FILENO;
    watch_signals(guest);
    guest->qemu = fork();
    if (guest->qemu < 0)
        die_status(STATUS_NOBOOT, "cannot start QEMU: %s", strerror(errno));
    if (guest->qemu == 0)
        become_qemu(command, fds, parent);
    guest->running = true;
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

// ---- the control channel

static void set_ending(struct guest *guest, enum ending ending, const char *rest)
{
    if (guest->ending != END_NONE)
        return;  // the first word counts
    guest->ending = ending;
    guest->ending_value = atoi(rest);
    guest->ending_text = xstrdup(rest);
    guest->term_ms = now_ms() + GRACE_MS;
}

// From here on the program hears our input; what came before its console was ready would be lost.
static void guest_booted(struct guest *guest)
{
    guest->booted = true;
    if (guest->forwards)
        network_lengthen_queues(guest->qemu);
    if (guest->interactive)
        terminal_raw(guest->terminal);
    guest->resized = guest->terminal;
}

static void control_line(struct guest *guest, const char *line)
{
    static const struct {
        const char *word;
        enum ending ending;
    } endings[] = {{"exit ", END_EXIT},
                   {"signal ", END_SIGNAL},
                   {"panic ", END_PANIC},
                   {"noboot ", END_NOBOOT}};

    if (guest->verbose)
        fprintf(stderr, "lethe: guest says: %s\n", line);
    if (!strcmp(line, "boot-ok"))
        guest_booted(guest);
    else if (!strncmp(line, "oom ", 4))
        guest->oom_text = xstrdup(line + 4);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (!strncmp(line, endings[i].word, strlen(endings[i].word)))
            set_ending(guest, endings[i].ending, line + strlen(endings[i].word));
}

// => false at the end of the channel
static bool control_read(struct guest *guest)
{
    char bytes[CHUNK];
    ssize_t n = read(guest->control, bytes, sizeof(bytes));

    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            guest->line[guest->line_len] = '\0';
            guest->line_len = 0;
            control_line(guest, guest->line);
        } else if (guest->line_len < LINE - 1) {
            guest->line[guest->line_len++] = bytes[i];
        }
    }
    return n > 0 || (n < 0 && errno == EINTR);
}

// Keeps QEMU's last line; with -v all of them are shown.
static bool messages_read(struct guest *guest)
{
    char bytes[CHUNK];
    ssize_t n = read(guest->messages, bytes, sizeof(bytes));

    if (n > 0 && guest->verbose)
        fwrite(bytes, 1, n, stderr);
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            guest->message_len = 0;
        } else if (guest->message_len < LINE - 1) {
            guest->last_message[guest->message_len++] = bytes[i];
            guest->last_message[guest->message_len] = '\0';
        }
    }
    return n > 0 || (n < 0 && errno == EINTR);
}

// ---- the console

static void relay_read(struct relay *relay)
{
    ssize_t n = read(relay->from, relay->bytes, relay->chunk);

    relay->begin = 0;
    relay->end = n > 0 ? n : 0;
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        relay->from = -1;
}

// What was read is doubled where it would be taken for a word of ours. => room for it is there
static void relay_escape(struct relay *relay)
{
    size_t n = relay->end - relay->begin, escapes = 0;

    for (size_t i = relay->begin; i < relay->end; i++)
        escapes += (unsigned char)relay->bytes[i] == ESCAPE;
    relay->end += escapes;
    for (size_t to = relay->end, from = relay->begin + n; escapes;) {
        relay->bytes[--to] = relay->bytes[--from];
        if ((unsigned char)relay->bytes[from] == ESCAPE) {
            relay->bytes[--to] = (char)ESCAPE;
            escapes--;
        }
    }
}

// => false when nobody reads any more
static bool relay_write(struct relay *relay)
{
    ssize_t n = write(relay->to, relay->bytes + relay->begin, relay->end - relay->begin);

    if (n > 0)
        relay->begin += n;
    return n >= 0 || errno == EINTR || errno == EAGAIN;
}

static bool relay_empty(const struct relay *relay) { return relay->begin == relay->end; }

// Our input ended: tell the guest's terminal. The first ^D ends a line that has no newline, the next the input.
static void input_ended(struct relay *to_guest)
{
    to_guest->bytes[0] = to_guest->bytes[1] = CONTROL_D;
    to_guest->begin = 0;
    to_guest->end = 2;
}

// The size of the window is told before the next key.
static void tell_size(struct guest *guest)
{
    struct relay *in = &guest->to_guest;
    struct winsize size = terminal_size();
    const uint16_t numbers[] = {size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};

    in->begin = in->end = 0;
    in->bytes[in->end++] = (char)ESCAPE;
    in->bytes[in->end++] = 0;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        in->bytes[in->end++] = (char)(numbers[i] & 0xff);
        in->bytes[in->end++] = (char)(numbers[i] >> 8);
    }
    guest->resized = false;
}

// ---- time and signals

static void stop_qemu(struct guest *guest, int signal_number)
{
    if (guest->running)
        kill(guest->qemu, signal_number);
}

static void begin_end(struct guest *guest)
{
    stop_qemu(guest, SIGTERM);
    guest->term_ms = 0;
    guest->kill_ms = now_ms() + GRACE_MS;
}

static void check_times(struct guest *guest)
{
    int64_t now = now_ms();

    if (guest->deadline_ms && now >= guest->deadline_ms && guest->ending == END_NONE) {
        guest->timed_out = true;
        guest->deadline_ms = 0;
        begin_end(guest);
    }
    if (guest->term_ms && now >= guest->term_ms)
        begin_end(guest);
    if (guest->kill_ms && now >= guest->kill_ms) {
        stop_qemu(guest, SIGKILL);
        guest->kill_ms = 0;
    }
}

static int next_wait_ms(const struct guest *guest)
{
    const int64_t times[] = {guest->ending == END_NONE ? guest->deadline_ms : 0, guest->term_ms,
                             guest->kill_ms};
    int64_t first = 0, now = now_ms();

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (times[i] && (!first || times[i] < first))
            first = times[i];
    if (!first)
        return -1;
    return first > now ? (int)(first - now < 1000000 ? first - now : 1000000) : 0;
}

// The tool is to pause; the guest goes on until its output fills the pipe.
static void pause_tool(void)
{
    terminal_restore();
    raise(SIGSTOP);
}

static void take_signal(struct guest *guest, int number)
{
    int status;

    switch (number) {
    case SIGCHLD:
        if (waitpid(guest->qemu, &status, WNOHANG) == guest->qemu)
            guest->running = false;
        break;
    case SIGTSTP: pause_tool(); break;
    case SIGCONT:
        terminal_raw_again();
        if (guest->booted)
            terminal_raw(guest->terminal);  // after a pause of our own
        guest->resized = guest->booted;
        break;
    case SIGWINCH: guest->resized = guest->booted; break;
    default:
        if (guest->stop_signal)  // asked twice: at once
            stop_qemu(guest, SIGKILL);
        guest->stop_signal = number;
        begin_end(guest);
    }
}

static void take_signals(struct guest *guest)
{
    struct signalfd_siginfo info;

    while (read(guest->signals, &info, sizeof(info)) == sizeof(info))
        take_signal(guest, (int)info.ssi_signo);
}

// ---- the loop

enum { P_SIGNALS, P_CONTROL, P_MESSAGES, P_FROM, P_TO, N_POLLS };

static void fill_polls(const struct guest *guest, struct pollfd *polls)
{
    const struct relay *in = &guest->to_guest, *out = &guest->from_guest;

    polls[P_SIGNALS] = (struct pollfd){guest->signals, POLLIN, 0};
    polls[P_CONTROL] = (struct pollfd){guest->control, POLLIN, 0};
    polls[P_MESSAGES] = (struct pollfd){guest->messages, POLLIN, 0};
    polls[P_FROM] = relay_empty(out) ? (struct pollfd){out->from, POLLIN, 0}
                                     : (struct pollfd){out->to, POLLOUT, 0};
    polls[P_TO] = relay_empty(in) ? (struct pollfd){in->from, POLLIN, 0}
                                  : (struct pollfd){in->to, POLLOUT, 0};
}

// With our terminal raw, ^C goes to the program like any key; twice in a second it ends the guest. A terminal of the
// guest's own has ^] for that, three times in a second.
static void watch_for_interrupts(struct guest *guest)
{
    const struct relay *in = &guest->to_guest;
    const char key = guest->terminal ? CONTROL_BRACKET : CONTROL_C;

    for (size_t i = in->begin; i < in->end; i++) {
        int64_t now = now_ms();
        if (in->bytes[i] != key)
            continue;
        if (!guest->interrupts || now - guest->interrupt_ms >= TWICE_MS) {
            guest->interrupts = 0;
            guest->interrupt_ms = now;
        }
        if (++guest->interrupts == (guest->terminal ? 3 : 2)) {
            guest->stop_signal = SIGINT;
            begin_end(guest);
        }
    }
}

static void serve_input(struct guest *guest)
{
    struct relay *in = &guest->to_guest;

    if (!relay_empty(in)) {
        if (!relay_write(in))
            in->begin = in->end;  // QEMU is gone
        return;
    }
    relay_read(in);
    if (guest->interactive)
        watch_for_interrupts(guest);
    if (guest->terminal)
        relay_escape(in);
    if (in->from < 0)
        input_ended(in);
}

static void serve_output(struct guest *guest)
{
    struct relay *out = &guest->from_guest;

    if (relay_empty(out)) {
        relay_read(out);
    } else if (!relay_write(out)) {
        out->begin =
            out->end;  // nobody reads our output: end as a program that is killed by SIGPIPE
        guest->stop_signal = SIGPIPE;
        begin_end(guest);
    }
}

// Serves until QEMU is gone and everything it wrote is passed on.
static void serve(struct guest *guest)
{
    while (guest->running || guest->from_guest.from >= 0 || !relay_empty(&guest->from_guest) ||
           guest->control >= 0 || guest->messages >= 0) {
        struct pollfd polls[N_POLLS];
        if (guest->resized && relay_empty(&guest->to_guest))
            tell_size(guest);
        fill_polls(guest, polls);
        if (!guest->running || !guest->booted)
            polls[P_TO].fd = -1;
        if (poll(polls, N_POLLS, next_wait_ms(guest)) < 0 && errno != EINTR)
            break;
        if (polls[P_CONTROL].revents && !control_read(guest))
            guest->control = -1;
        if (polls[P_MESSAGES].revents && !messages_read(guest))
            guest->messages = -1;
        if (polls[P_FROM].revents)
            serve_output(guest);
        if (polls[P_TO].revents)
            serve_input(guest);
        take_signals(guest);
        check_times(guest);
    }
}

// ---- the end

static int report_silence(const struct guest *guest)
{
    const char *because = *guest->last_message ? guest->last_message : "the machine reset itself";

    if (guest->booted)
        die_status(STATUS_PANIC, "the guest ended without a word: %s", because);
    die_status(STATUS_NOBOOT, "the guest could not boot: %s", because);
}

// One line for every end but a plain exit. => the tool's exit status
static int report(const struct guest *guest, const struct job *job)
{
    if (guest->stop_signal)
        return STATUS_SIGNAL + guest->stop_signal;
    if (guest->timed_out)
        die_status(STATUS_TIMEOUT, "timeout: the guest ran longer than %g seconds",
                   job->timeout_seconds);
    switch (guest->ending) {
    case END_EXIT: return guest->ending_value & 0xff;
    case END_SIGNAL:
        if (guest->oom_text)
            die_status(STATUS_SIGNAL + guest->ending_value, "the guest is out of memory: %s",
                       guest->oom_text);
        die_status(STATUS_SIGNAL + guest->ending_value, "the program was killed by signal %d (%s)",
                   guest->ending_value, strsignal(guest->ending_value));
    case END_PANIC: die_status(STATUS_PANIC, "kernel panic: %s", guest->ending_text);
    case END_NOBOOT: die_status(STATUS_NOBOOT, "the guest could not boot: %s", guest->ending_text);
    case END_NONE: break;
    }
    return report_silence(guest);
}

// Boots and serves the guest to its end. => the tool's exit status; IMAGE_FD is taken over
int guest_run(const struct job *job, const struct strings *command, int image_fd)
{
    struct guest guest = {.verbose = job->verbose > 0,
                          .interactive = !job->input_is_pipe,
                          .forwards = job->ports.count > 0,
                          .terminal = job->terminal,
                          .from_guest.chunk = CHUNK,
                          .to_guest.chunk = job->terminal ? CHUNK / 2 : CHUNK};

    if (job->timeout_seconds > 0)
        guest.deadline_ms = now_ms() + (int64_t)(job->timeout_seconds * 1000);
    start(&guest, command, image_fd);
    serve(&guest);
    terminal_restore();
    return report(&guest, job);
}
