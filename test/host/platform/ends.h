// SPDX-License-Identifier: BSD-2-Clause
// ends.h: how code of the platform ends on the host: noboot() goes back to setjmp(stop) with its text in reason, panic() aborts.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf stop;
static char reason[256];

void noboot(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    longjmp(stop, 1);
}

void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    puts("");
    abort();
}
