// SPDX-License-Identifier: BSD-2-Clause
// shutdown.c: whoever runs the machine wants it to end. The program gets SIGTERM, and SIGKILL when it has not ended in time.
// Only in the kernel with devices (mk/kernel.mk).
#include <stdlib.h>

#include "core/log.h"
#include "core/platform.h"
#include "core/time.h"
#include "task/signal.h"
#include "task/thread.h"

#define DEFAULT_SECONDS 10

static struct timer timer;
static bool asked;  // the interrupt that tells comes to one CPU

static void send(int sig)
{
    struct process *p = process_find(PROGRAM_PID);
    if (!p)
        return;
    signal_send_simple(p, sig);
    process_put(p);
}

static void time_is_up(struct timer *t) { send(SIGKILL); }

// => Interrupt context. Asking again changes nothing.
void shutdown_asked(void)
{
    char buf[12];
    u64 seconds = DEFAULT_SECONDS;
    if (asked)
        return;
    asked = true;
    if (cmdline_get("stop", buf, sizeof(buf)))
        seconds = strtoul(buf, NULL, 10);
    log_info("asked to end: SIGTERM, and SIGKILL in %lu s", (unsigned long)seconds);
    timer_init(&timer, time_is_up);
    timer_arm(&timer, ktime_ns() + MIN(seconds, 1000000ul) * NSEC_PER_SEC);
    send(SIGTERM);
}
