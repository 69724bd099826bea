// SPDX-License-Identifier: BSD-2-Clause
// log.h: kernel messages, assertions and the end of the machine.
#pragma once

#include <stdarg.h>

#include "core/base.h"

enum log_level { LOG_PANIC = 0, LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

// Messages above this level are dropped; set from the command line (loglevel=N), 3 by default.
extern int log_level;

// Prints one line on the console (a newline is added), with the time since boot in front.
// => Any context; never sleeps; a line longer than 512 bytes is cut.
void klog_line(int level, const char *fmt, ...) __printf(2, 3);
#define klog(level, ...)                    \
    do {                                    \
        if (unlikely((level) <= log_level)) \
            klog_line(level, __VA_ARGS__);  \
    } while (0)
#define log_error(...) klog(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) klog(LOG_WARN, __VA_ARGS__)
#define log_info(...) klog(LOG_INFO, __VA_ARGS__)
#define log_debug(...) klog(LOG_DEBUG, __VA_ARGS__)

// Prints raw text on the console whatever the level (used by panic and the out-of-memory report).
void kprintf(const char *fmt, ...) __printf(1, 2);

// Stops the machine with a message and a backtrace; the host tool reports a kernel panic.
void panic(const char *fmt, ...) __printf(1, 2) __noreturn __cold;

// A condition that holds whatever the application does. Compiled in always.
#define KASSERT(cond)                                                         \
    do {                                                                      \
        if (unlikely(!(cond)))                                                \
            panic("assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__); \
    } while (0)
// Costly checks (the verifiers): compiled in with `make VERIFY=1`, which the tests use.
#ifdef LETHE_VERIFY
#define KCHECK(cond) KASSERT(cond)
#else
#define KCHECK(cond) ((void)sizeof(cond))
#endif

// Tells the host tool one line on the control channel ("exit 0", "boot-ok", …; docs/machine.md).
bool control_line(const char *fmt, ...) __printf(1, 2);

// Ends the machine: power-off after the control line has been written.
void machine_end(void) __noreturn;
// "noboot TEXT" on the control channel, the text on the console, then the end of the machine.
void noboot(const char *fmt, ...) __printf(1, 2) __noreturn __cold;
