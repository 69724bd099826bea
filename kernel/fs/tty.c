// SPDX-License-Identifier: BSD-2-Clause
// tty.c: the console as a terminal: /dev/console, /dev/tty, /dev/ttyS0.
//
// One terminal, over platform_console_write for output and console_input for what the host sends.
// Output is passed on byte for byte unless the program turns OPOST and ONLCR on: the host's own
// terminal adds its carriage returns, and a host file gets exactly what the program wrote.
// (ONLCR is therefore off at start, the one difference from a Linux console's settings.)
//
// Input runs through the usual line discipline (termios(3)) in the interrupt that brings it: echo,
// erase, kill, end of file, signals. When the host's standard input is no terminal, the host tool says
// so with `tty=pipe`: then lines are kept (so that ^D ends the input) but nothing is echoed, edited or
// turned into a signal.
//
//     input[]   start ......... line ......... end        (free-running positions in a ring)
//               | complete lines |  being edited |
//
// In canonical mode a reader gets what lies before `line`; in raw mode everything.
#include "core/platform.h"
#include "fs/tty_internal.h"

#define TCGETS 0x5401
#define TCSETSW 0x5403
#define TCGETA 0x5405
#define TCSETAW 0x5407
#define TIOCEXCL 0x540C
#define TIOCNXCL 0x540D
#define TIOCSCTTY 0x540E
#define TIOCGPGRP 0x540F
#define TIOCOUTQ 0x5411
#define TIOCSTI 0x5412
#define TIOCGWINSZ 0x5413
#define TIOCSWINSZ 0x5414
#define TIOCNOTTY 0x5422
#define TIOCGSID 0x5429
#define TCGETS2 0x802C542A
#define TCSETSW2 0x402C542C

// c_iflag, c_oflag, c_cflag, c_lflag (the asm-generic numbers)
#define ISTRIP 0x20u
#define INLCR 0x40u
#define IGNCR 0x80u
#define ICRNL 0x100u
#define IXON 0x400u
#define IUTF8 0x4000u
#define CS8 0x30u
#define CREAD 0x80u
#define HUPCL 0x400u
#define CLOCAL 0x800u
#define B115200 0x1002u
#define ISIG 1u
#define ICANON 2u
#define ECHO 8u
#define ECHOE 0x10u
#define ECHOK 0x20u
#define ECHONL 0x40u
#define NOFLSH 0x80u
#define ECHOCTL 0x200u
#define ECHOKE 0x800u
#define IEXTEN 0x8000u

enum {
    VINTR,
    VQUIT,
    VERASE,
    VKILL,
    VEOF,
    VTIME,
    VMIN,
    VSWTC,
    VSTART,
    VSTOP,
    VSUSP,
    VEOL,
    VREPRINT,
    VDISCARD,
    VWERASE,
    VLNEXT,
    VEOL2
};

struct termios2_user {
    struct termios_user t;
    u32 ispeed, ospeed;
};

#define INPUT_FIRST 4096u     // bytes of the input ring at first; it doubles as needed
#define INPUT_MAX (1u << 20)  // what comes faster than it is read is dropped beyond this
#define LINE_MAX 4095u        // longest line in canonical editing, as Linux
#define EOF_MARK 0            // stored for VEOF, with its bit in `marks`

struct tty console_tty = {
    .wait = WAIT_QUEUE_INIT(console_tty.wait),
    .async.files = LIST_INIT(console_tty.async.files),
    .size = {24, 80, 0, 0},
    .termios =
        {
            .iflag = ICRNL | IXON | IUTF8,
            .oflag = 0,
            .cflag = B115200 | CS8 | CREAD | HUPCL | CLOCAL,
            .lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            .cc = {[VINTR] = 3,
                   [VQUIT] = 28,
                   [VERASE] = 127,
                   [VKILL] = 21,
                   [VEOF] = 4,
                   [VTIME] = 0,
                   [VMIN] = 1,
                   [VSTART] = 17,
                   [VSTOP] = 19,
                   [VSUSP] = 26,
                   [VREPRINT] = 18,
                   [VDISCARD] = 15,
                   [VWERASE] = 23,
                   [VLNEXT] = 22},
        },
};

static u8 *at(struct tty *t, u32 position) { return &t->input[position & (t->capacity - 1)]; }

// ---- echo

static void echo_raw(const char *text, size_t len) { platform_console_write(text, len); }

static void echo_byte(struct tty *t, u8 c)
{
    u32 l = t->termios.lflag;
    if (!(l & ECHO) && !(c == '\n' && (l & ECHONL) && (l & ICANON)))
        return;
    if (c == '\n' && (t->termios.oflag & OPOST) && (t->termios.oflag & ONLCR)) {
        echo_raw("\r\n", 2);
    } else if ((l & ECHOCTL) && ((c < 32 && c != '\n' && c != '\t') || c == 127)) {
        char text[2] = {'^', (char)(c ^ 0x40)};
        echo_raw(text, 2);
    } else {
        echo_raw((const char *)&c, 1);
    }
}

// Wipes one character off the screen; a control character took two columns.
static void echo_erase(struct tty *t, u8 c)
{
    if (!(t->termios.lflag & ECHO))
        return;
    bool wide = (t->termios.lflag & ECHOCTL) && (c < 32 || c == 127);
    echo_raw("\b \b\b \b", wide ? 6 : 3);
}

// ---- input

// Room for one more byte. => false: it has to be dropped
static bool reserve(struct tty *t)
{
    u32 used = t->end - t->start;
    if (used < t->capacity)
        return true;
    u32 capacity = t->capacity ? t->capacity * 2 : INPUT_FIRST;
    if (capacity > INPUT_MAX)
        return false;
    unsigned order = 0;
    while ((PAGE_SIZE << order) < capacity)
        order++;
    struct page *page = page_alloc(order, PAGE_NORECLAIM);
    if (!page)
        return false;
    u8 *bigger = page_address(page);
    for (u32 i = t->start; i != t->end; i++)
        bigger[i & (capacity - 1)] = *at(t, i);
    if (t->input)
        page_free(virt_to_page(t->input), order ? order - 1 : 0);
    t->input = bigger;
    t->capacity = capacity;
    return true;
}

static void put(struct tty *t, u8 c)
{
    if (reserve(t)) {
        *at(t, t->end) = c;
        t->end++;
    }
}

static void flush_input(struct tty *t)
{
    t->start = t->line = t->end;
    t->n_marks = 0;
    t->literal = false;
}

// With IUTF8 a character is erased whole: continuation bytes go with their first byte.
static void erase_one(struct tty *t)
{
    u8 c;
    do {
        c = *at(t, --t->end);
    } while ((c & 0xc0) == 0x80 && (t->termios.iflag & IUTF8) && t->end != t->line);
    echo_erase(t, c);
}

static void erase_word(struct tty *t)
{
    while (t->end != t->line && *at(t, t->end - 1) == ' ')
        erase_one(t);
    while (t->end != t->line && *at(t, t->end - 1) != ' ')
        erase_one(t);
}

static bool is_char(const struct tty *t, unsigned which, u8 c)
{
    return t->termios.cc[which] && t->termios.cc[which] == c;
}

static int signal_for(const struct tty *t, u8 c)
{
    if (!(t->termios.lflag & ISIG))
        return 0;
    return is_char(t, VINTR, c)   ? SIGINT
           : is_char(t, VQUIT, c) ? SIGQUIT
           : is_char(t, VSUSP, c) ? SIGTSTP
                                  : 0;
}

// One byte in canonical mode. => true when a line (or end of file) is complete
static bool edit(struct tty *t, u8 c)
{
    u32 len = t->end - t->line;
    if (is_char(t, VERASE, c)) {
        if (len)
            erase_one(t);
        return false;
    }
    if (is_char(t, VKILL, c)) {
        while (t->end != t->line)
            erase_one(t);
        return false;
    }
    if ((t->termios.lflag & IEXTEN) && is_char(t, VWERASE, c)) {
        erase_word(t);
        return false;
    }
    if (is_char(t, VEOF, c)) {
        if (t->n_marks < ARRAY_SIZE(t->marks)) {
            t->marks[t->n_marks++] = t->end;
            put(t, EOF_MARK);
        }
        t->line = t->end;
        return true;
    }
    bool ends = c == '\n' || is_char(t, VEOL, c) || is_char(t, VEOL2, c);
    if (!ends && len >= LINE_MAX && (t->termios.lflag & ECHO)) {
        echo_raw("\a", 1);
        return false;
    }
    echo_byte(t, c);
    put(t, c);
    if (ends)
        t->line = t->end;
    return ends;
}

// One byte from the host. => true when a reader may go on; *sig: to be raised after the lock is left
static bool receive(struct tty *t, u8 c, int *sig)
{
    u32 i = t->termios.iflag;
    if (t->literal) {
        t->literal = false;
        echo_byte(t, c);
        put(t, c);
        return !(t->termios.lflag & ICANON);
    }
    if (i & ISTRIP)
        c &= 0x7f;
    if (c == '\r') {
        if (i & IGNCR)
            return false;
        if (i & ICRNL)
            c = '\n';
    } else if (c == '\n' && (i & INLCR)) {
        c = '\r';
    }
    if ((i & IXON) && (is_char(t, VSTART, c) || is_char(t, VSTOP, c))) {
        t->stopped = is_char(t, VSTOP, c);
        return false;
    }
    *sig = signal_for(t, c);
    if (*sig) {
        if (!(t->termios.lflag & NOFLSH))
            flush_input(t);
        echo_byte(t, c);
        return false;
    }
    if ((t->termios.lflag & (ICANON | IEXTEN)) == (ICANON | IEXTEN) && is_char(t, VLNEXT, c)) {
        t->literal = true;
        return false;
    }
    if (t->termios.lflag & ICANON)
        return edit(t, c);
    echo_byte(t, c);
    put(t, c);
    t->line = t->end;
    return true;
}

static void raise_in_foreground(int sig)
{
    struct siginfo info = {.signo = sig, .code = SI_KERNEL};
    s32 group = console_tty.group;
    if (group == 0) {
        struct process *app = process_find(2);
        if (!app)
            return;
        group = app->pgid;
        process_put(app);
    }
    signal_send_group(group, &info);
}

void tty_input(const char *bytes, size_t len)
{
    struct tty *t = &console_tty;
    bool wake = false, was_stopped = t->stopped;
    for (size_t i = 0; i < len; i++) {
        int sig = 0;
        spin_lock(&t->lock);
        wake |= receive(t, (u8)bytes[i], &sig);
        spin_unlock(&t->lock);
        if (sig)
            raise_in_foreground(sig);
    }
    if (wake && wait_has_waiters(&t->wait))
        wait_wake(&t->wait, INT32_MAX, POLLIN | POLLRDNORM);
    if (wake)
        async_notify(&t->async, POLLIN | POLLRDNORM);
    if (was_stopped && !t->stopped)
        wait_wake(&t->wait, INT32_MAX, POLLOUT | POLLWRNORM);
}

// tty_host.c, in the full kernel, has another.
__weak void console_input(char *bytes, size_t len) { tty_input(bytes, len); }

// ---- read

// Bytes that a reader may have now (an end-of-file mark counts as one).
static u32 available(struct tty *t)
{
    bool canonical = t->termios.lflag & ICANON;
    return atomic_load(canonical ? &t->line : &t->end) - atomic_load(&t->start);
}

static u32 needed(const struct tty *t)
{
    return t->termios.lflag & ICANON ? 1 : MAX(t->termios.cc[VMIN], 1);
}

// Takes up to size bytes: in canonical mode at most one line. => bytes; *eof: the input ended here
static u32 take(struct tty *t, char *buf, u32 size, bool *end_of_line)
{
    u32 n = 0;
    bool canonical = t->termios.lflag & ICANON;
    u32 limit = canonical ? t->line : t->end;
    while (t->start != limit && !*end_of_line) {
        bool is_eof = t->n_marks && t->marks[0] == t->start;
        if (!is_eof && n == size)
            break;
        u8 c = *at(t, t->start++);
        if (is_eof) {
            t->n_marks--;
            memmove(t->marks, t->marks + 1, t->n_marks * sizeof(t->marks[0]));
            *end_of_line = true;
            break;
        }
        buf[n++] = (char)c;
        if (canonical && (c == '\n' || is_char(t, VEOL, c) || is_char(t, VEOL2, c)))
            *end_of_line = true;
    }
    return n;
}

static int tty_wait(struct tty *t, u64 deadline_ns, u32 wanted)
{
    struct waiter w;
    int err = 0;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&t->wait, &w, WAIT_INTERRUPTIBLE);
        if (available(t) >= wanted)
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, deadline_ns);
        if (err)
            break;
    }
    wait_finish(&t->wait, &w);
    return err;
}

// Waits as VMIN and VTIME ask for. => 0 to take what is there (perhaps nothing), -EAGAIN, -ERESTARTSYS
static int wait_for_input(struct tty *t, struct file *f, size_t size)
{
    bool canonical = t->termios.lflag & ICANON;
    u8 min = canonical ? 1 : t->termios.cc[VMIN], time = canonical ? 0 : t->termios.cc[VTIME];
    u64 tenths = (u64)time * 100 * NSEC_PER_MSEC;
    u32 wanted = (u32)MIN((size_t)MAX(min, 1), size);
    if (available(t) >= wanted)
        return 0;
    if (f->flags & O_NONBLOCK)
        return available(t) ? 0 : -EAGAIN;
    if (min == 0 && time == 0)
        return 0;
    if (min == 0)
        wanted = 1;
    else if (time)  // the time runs between bytes: first one byte, for ever
        wanted = 1;
    int err = tty_wait(t, min == 0 ? ktime_ns() + tenths : NEVER, wanted);
    while (!err && min > 1 && time && available(t) < MIN((u32)min, (u32)size))
        err = tty_wait(t, ktime_ns() + tenths, available(t) + 1);
    return err == -ETIMEDOUT ? 0 : err;
}

ssize_t tty_read(struct file *f, struct uio *to, loff_t *pos)
{
    struct tty *t = &console_tty;
    char buf[256];
    ssize_t total = 0;
    bool end_of_line = false;
    if (uio_remaining(to) == 0)
        return 0;
    int err = wait_for_input(t, f, uio_remaining(to));
    if (err)
        return err;
    while (!end_of_line && uio_remaining(to)) {
        spin_lock(&t->lock);
        u32 n = take(t, buf, (u32)MIN(sizeof(buf), uio_remaining(to)), &end_of_line);
        spin_unlock(&t->lock);
        if (n == 0)
            break;
        ssize_t moved = uio_copy_to(to, buf, n);
        if (moved < 0)
            return total ? total : moved;
        total += moved;
    }
    return total;
}

// ---- write

static void write_processed(const char *text, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\n')
            continue;
        platform_console_write(text + from, i - from);
        platform_console_write("\r\n", 2);
        from = i + 1;
    }
    platform_console_write(text + from, len - from);
}

static int wait_while_stopped(struct tty *t, const struct file *f)
{
    struct waiter w;
    int err = 0;
    if (f->flags & O_NONBLOCK)
        return -EAGAIN;
    waiter_init(&w);
    for (;;) {
        wait_prepare(&t->wait, &w, WAIT_INTERRUPTIBLE);
        if (!READ_ONCE(t->stopped))
            break;
        err = wait_sleep(&w, WAIT_INTERRUPTIBLE, NEVER);
        if (err)
            break;
    }
    wait_finish(&t->wait, &w);
    return err;
}

ssize_t tty_write(struct file *f, struct uio *from, loff_t *pos)
{
    struct tty *t = &console_tty;
    char buf[512];
    ssize_t total = 0;
    u32 o = t->termios.oflag;
    while (uio_remaining(from)) {
        int err = unlikely(READ_ONCE(t->stopped)) ? wait_while_stopped(t, f) : 0;
        if (err)
            return total ? total : err;
        ssize_t n = uio_copy_from(from, buf, MIN(sizeof(buf), uio_remaining(from)));
        if (n <= 0)
            return total ? total : n;
        if ((o & OPOST) && (o & ONLCR))
            write_processed(buf, (size_t)n);
        else
            platform_console_write(buf, (size_t)n);
        total += n;
        if (uio_remaining(from)) {
            sched_point();
            if (thread_signal_pending())
                break;
        }
    }
    return total;
}

u32 tty_poll(struct file *f, struct poll_table *pt)
{
    struct tty *t = &console_tty;
    poll_wait(pt, f, &t->wait);
    u32 events = t->stopped ? 0 : POLLOUT | POLLWRNORM;
    if (available(t) >= needed(t))
        events |= POLLIN | POLLRDNORM;
    return events;
}

// ---- ioctl

static long set_termios(struct tty *t, const struct termios_user *new, bool flush)
{
    spin_lock(&t->lock);
    bool was_canonical = t->termios.lflag & ICANON;
    t->termios = *new;
    if (flush)
        flush_input(t);
    // Leaving canonical mode makes a half-typed line readable; entering it keeps what was typed.
    if (was_canonical != !!(new->lflag &ICANON))
        t->line = t->end;
    spin_unlock(&t->lock);
    wait_wake(&t->wait, INT32_MAX, POLLIN | POLLRDNORM);
    return 0;
}

static long termios_ioctl(struct tty *t, unsigned cmd, uptr_t arg)
{
    struct termios2_user two = {.ispeed = 115200, .ospeed = 115200};
    bool v2 = cmd == TCGETS2 || cmd == TCSETS2 || cmd == TCSETSW2 || cmd == TCSETSF2;
    size_t size = v2 ? sizeof(two) : sizeof(two.t);
    if (cmd == TCGETS || cmd == TCGETS2) {
        spin_lock(&t->lock);
        two.t = t->termios;
        spin_unlock(&t->lock);
        return copy_to_user(arg, &two, size);
    }
    if (copy_from_user(&two, arg, size))
        return -EFAULT;
    return set_termios(t, &two.t, cmd == TCSETSF || cmd == TCSETSF2);
}

void tty_resize(const struct winsize *size)
{
    struct tty *t = &console_tty;
    spin_lock(&t->lock);
    bool changed = memcmp(size, &t->size, sizeof(*size)) != 0;
    t->size = *size;
    spin_unlock(&t->lock);
    if (changed)
        raise_in_foreground(SIGWINCH);
}

static long set_winsize(uptr_t arg)
{
    struct winsize size;
    if (copy_from_user(&size, arg, sizeof(size)))
        return -EFAULT;
    tty_resize(&size);
    return 0;
}

static long set_group(struct tty *t, uptr_t arg)
{
    u32 group;
    if (get_user_u32(&group, arg))
        return -EFAULT;
    if ((s32)group < 0)
        return -EINVAL;
    int err = process_group_check((s32)group);
    if (err)
        return err;
    t->group = (s32)group;
    t->session = current->process->sid;
    return 0;
}

static s32 foreground_group(struct tty *t) { return t->group ? t->group : current->process->pgid; }

static long flush_queues(struct tty *t, uptr_t which)
{
    if (which > 2)
        return -EINVAL;
    if (which != 1) {  // TCIFLUSH, TCIOFLUSH
        spin_lock(&t->lock);
        flush_input(t);
        spin_unlock(&t->lock);
    }
    return 0;
}

static long steal_control(struct tty *t)
{
    if (current->process->sid != current->process->pid)
        return -EPERM;
    t->session = current->process->sid;
    t->group = current->process->pgid;
    return 0;
}

static long give_up_control(struct tty *t)
{
    if (t->session && t->session != current->process->sid)
        return -ENOTTY;
    if (current->process->sid == current->process->pid)  // the session's leader takes it from all
        t->session = t->group = 0;
    return 0;
}

// tcflow(3): TCOOFF 0, TCOON 1 for our output; TCIOFF 2, TCION 3 send the stop and start characters.
static long flow_control(struct tty *t, uptr_t action)
{
    if (action > 3)
        return -EINVAL;
    if (action >= 2) {
        char c = (char)t->termios.cc[action == 2 ? VSTOP : VSTART];
        if (c)
            platform_console_write(&c, 1);
        return 0;
    }
    spin_lock(&t->lock);
    t->stopped = action == 0;
    spin_unlock(&t->lock);
    if (action == 1)
        wait_wake(&t->wait, INT32_MAX, POLLOUT | POLLWRNORM);
    return 0;
}

static long simulate_input(uptr_t arg)
{
    u8 c;
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (get_user_u8(&c, arg))
        return -EFAULT;
    tty_input((const char *)&c, 1);
    return 0;
}

static u32 readable_bytes(struct tty *t)
{
    spin_lock(&t->lock);
    u32 n = available(t);
    if (t->n_marks && n)
        n = MIN(n, t->marks[0] - t->start);
    spin_unlock(&t->lock);
    return n;
}

long tty_ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    struct tty *t = &console_tty;
    switch (cmd) {
    case TCGETS:
    case TCGETS2:
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2: return termios_ioctl(t, cmd, arg);
    case TIOCGWINSZ: return copy_to_user(arg, &t->size, sizeof(t->size));
    case TIOCSWINSZ: return set_winsize(arg);
    case TIOCGPGRP: return put_user_u32(arg, (u32)foreground_group(t));
    case TIOCSPGRP: return set_group(t, arg);
    case TIOCGSID: return put_user_u32(arg, (u32)(t->session ? t->session : current->process->sid));
    case TIOCSCTTY: return steal_control(t);
    case TIOCNOTTY: return give_up_control(t);
    case FIONREAD: return put_user_u32(arg, readable_bytes(t));
    case TIOCOUTQ: return put_user_u32(arg, 0);
    case TCFLSH: return flush_queues(t, arg);
    case TCSBRK:
    case TCSBRKP:
        return 0;  // output is never queued, so it is drained; a line without wires has no break
    case TCXONC: return flow_control(t, arg);
    case TIOCEXCL:
    case TIOCNXCL: t->exclusive = cmd == TIOCEXCL; return 0;
    case TIOCSTI: return simulate_input(arg);
    default: return -ENOTTY;
    }
}

int tty_open(struct inode *inode, struct file *f)
{
    if (console_tty.exclusive && !capable(CAP_SYS_ADMIN))
        return -EBUSY;
    f->data = &console_tty;
    file_set_stream(f);
    return 0;
}

struct async_queue *tty_async(struct file *f) { return &console_tty.async; }

__weak const struct file_ops tty_file_ops = {
    .name = "tty",
    .open = tty_open,
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .ioctl = tty_ioctl,
    .async = tty_async,
};

// The host's standard input is a pipe or a file (tty=pipe), or a terminal.
void tty_init(void)
{
    char word[8];
    struct termios_user *t = &console_tty.termios;
    if (cmdline_get("tty", word, sizeof(word)) && strcmp(word, "pipe") == 0) {
        u8 eof = t->cc[VEOF];
        t->iflag = 0;
        t->lflag = ICANON;
        memset(t->cc, 0, sizeof(t->cc));
        t->cc[VEOF] = eof;
        t->cc[VMIN] = 1;
    }
}
