// SPDX-License-Identifier: BSD-2-Clause
// tty_internal.h: the terminal, shared by tty.c and tty_host.c.
#pragma once

#include "fs/special_internal.h"

// ioctls that tty_host.c looks at too (asm-generic numbers)
#define TCSETS 0x5402
#define TCSETSF 0x5404
#define TCSETA 0x5406
#define TCSETAF 0x5408
#define TCSBRK 0x5409
#define TCXONC 0x540A
#define TCFLSH 0x540B
#define TIOCSPGRP 0x5410
#define TCSBRKP 0x5425
#define TCSETS2 0x402C542B
#define TCSETSF2 0x402C542D

#define OPOST 1u
#define ONLCR 4u
#define TOSTOP 0x100u

struct termios_user {  // struct termios of the kernel ABI
    u32 iflag, oflag, cflag, lflag;
    u8 line;
    u8 cc[19];
};
_Static_assert(sizeof(struct termios_user) == 36, "struct termios");

struct winsize {
    u16 rows, cols, xpixel, ypixel;
};

struct tty {
    struct spinlock lock;
    struct termios_user termios;  // [lock]
    struct winsize size;          // [lock]
    u8 *input;                    // [lock] ring; NULL until something comes
    u32 capacity;                 // [lock] power of two
    u32 start, line, end;         // [lock] free running
    u32 n_marks;                  // [lock] ends of file among the input
    u32 marks[16];                // [lock] their positions, oldest first
    bool literal;                 // [lock] VLNEXT: the next byte is taken as it is
    bool stopped;                 // [lock] ^S or TCOOFF: writers wait
    bool exclusive;               // [lock] TIOCEXCL
    struct async_queue async;
    s32 session, group;      // [lock] foreground process group; 0: the application's
    struct wait_queue wait;  // readers and pollers
};
extern struct tty console_tty;

// Sets the window size and tells the foreground about a new one (SIGWINCH). => any context
void tty_resize(const struct winsize *size);

// What the host sends, without words of the host tool.
void tty_input(const char *bytes, size_t len);

// The operations of the terminal's file; tty_host.c has another table with them.
int tty_open(struct inode *inode, struct file *f);
ssize_t tty_read(struct file *f, struct uio *to, loff_t *pos);
ssize_t tty_write(struct file *f, struct uio *from, loff_t *pos);
u32 tty_poll(struct file *f, struct poll_table *pt);
long tty_ioctl(struct file *f, unsigned cmd, uptr_t arg);
struct async_queue *tty_async(struct file *f);
