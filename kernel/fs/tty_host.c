// SPDX-License-Identifier: BSD-2-Clause
// tty_host.c: what the full kernel adds to the terminal: a host terminal at the other end, and job control.
//
// `tty=ROWSxCOLUMNS` on the kernel command line says that a person sits there (`lethe run -it`). The host's terminal then
// passes all bytes on as they are, so the guest adds the carriage returns, to the kernel's own messages too. New window
// sizes come in the input: a byte FF begins a word of the host tool, as in the telnet protocol.
//
//     FF FF                         the byte FF itself
//     FF 00 rows cols xpixel ypixel the window size, four numbers of 16 bits, low byte first
//
// Job control (termios(3)): a process whose group is not the terminal's foreground group gets SIGTTIN when it reads and
// SIGTTOU when it changes the terminal's settings, or writes while TOSTOP is set.
#include <stdlib.h>

#include "core/platform.h"
#include "fs/tty_internal.h"
#include "task/signal.h"

#define ESCAPE 0xff
enum { SIZE_BYTES = 8 };
enum state { PLAIN, ESCAPED, SIZE };

static struct {
    bool present;
    enum state state;
    u32 n;  // bytes of the size that have come
    u8 size[SIZE_BYTES];
} host;  // only the console's interrupt touches it after the start

static u16 number(const u8 *bytes) { return (u16)(bytes[0] | bytes[1] << 8); }

static void take_size_byte(u8 c)
{
    host.size[host.n++] = c;
    if (host.n < SIZE_BYTES)
        return;
    const u8 *b = host.size;
    struct winsize size = {number(b), number(b + 2), number(b + 4), number(b + 6)};
    host.state = PLAIN;
    tty_resize(&size);
}

// Takes what the host tool itself says out of the input. => how many bytes are left
static size_t take_words(char *bytes, size_t len)
{
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        u8 c = (u8)bytes[i];
        switch (host.state) {
        case SIZE: take_size_byte(c); break;
        case ESCAPED:
            host.n = 0;
            host.state = c == 0 ? SIZE : PLAIN;
            if (c == ESCAPE)
                bytes[kept++] = (char)c;
            break;
        case PLAIN:
            if (c == ESCAPE)
                host.state = ESCAPED;
            else
                bytes[kept++] = (char)c;
        }
    }
    return kept;
}

void console_input(char *bytes, size_t len)
{
    if (host.present)
        len = take_words(bytes, len);
    tty_input(bytes, len);
}

// The application is the session's leader and in the foreground, as if a login had started it.
static void host_init(struct tty *t)
{
    char word[16], *end;
    if (!cmdline_get("tty", word, sizeof(word)) || !strcmp(word, "pipe"))
        return;
    unsigned long rows = strtoul(word, &end, 10);
    unsigned long cols = *end == 'x' ? strtoul(end + 1, &end, 10) : 0;
    if (*end || end == word) {
        log_error("tty=%s: not ROWSxCOLUMNS", word);
        return;
    }
    host.present = true;
    t->size = (struct winsize){(u16)rows, (u16)cols, 0, 0};
    t->termios.oflag = OPOST | ONLCR;
    t->session = t->group = 2;
}

void console_log(const char *text, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; host.present && i < len; i++) {
        if (text[i] != '\n')
            continue;
        platform_console_write(text + from, i - from);
        platform_console_write("\r\n", 2);
        from = i + 1;
    }
    platform_console_write(text + from, len - from);
}

// ---- job control

static bool changes_terminal(unsigned cmd)
{
    return (cmd >= TCSETS && cmd <= TCSETSF) || (cmd >= TCSETA && cmd <= TCSETAF) ||
           (cmd >= TCSETS2 && cmd <= TCSETSF2) || cmd == TCSBRK || cmd == TCSBRKP ||
           cmd == TCXONC || cmd == TCFLSH || cmd == TIOCSPGRP;
}

// Is the running process, which has t as its terminal, in the background?
static bool in_background(struct tty *t)
{
    const struct process *p = current->process;
    s32 group = READ_ONCE(t->group);
    return group && p->pgid != group && p->sid == READ_ONCE(t->session);
}

static ssize_t read(struct file *f, struct uio *to, loff_t *pos)
{
    int err = in_background(&console_tty) ? signal_stop_background(SIGTTIN) : 0;
    return err ? err : tty_read(f, to, pos);
}

static ssize_t write(struct file *f, struct uio *from, loff_t *pos)
{
    struct tty *t = &console_tty;
    bool stop = (t->termios.lflag & TOSTOP) && in_background(t);
    int err = stop ? signal_stop_background(SIGTTOU) : 0;
    return err ? err : tty_write(f, from, pos);
}

static long ioctl(struct file *f, unsigned cmd, uptr_t arg)
{
    bool stop = changes_terminal(cmd) && in_background(&console_tty);
    int err = stop ? signal_stop_background(SIGTTOU) : 0;
    return err ? err : tty_ioctl(f, cmd, arg);
}

static int open(struct inode *inode, struct file *f)
{
    static u32 opened;
    if (!atomic_xchg(&opened, 1))  // by the kernel itself, for the application
        host_init(&console_tty);
    return tty_open(inode, f);
}

const struct file_ops tty_file_ops = {
    .name = "tty",
    .open = open,
    .read = read,
    .write = write,
    .poll = tty_poll,
    .ioctl = ioctl,
    .async = tty_async,
};
