// SPDX-License-Identifier: BSD-2-Clause
// The user's terminal while a guest runs. When both our input and output are terminals, the guest's line
// discipline does the editing, echo and signals, so ours is switched off until the end; otherwise nothing changes
// and the guest is told (tty=pipe).
#include "lethe.h"

#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool changed;

bool terminal_interactive(void) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO); }

void terminal_restore(void)
{
    if (changed)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    changed = false;
}

// Hands every key to the guest. => restored at the end of the tool, however it ends but by SIGKILL
void terminal_raw(void)
{
    struct termios raw;

    if (changed || tcgetattr(STDIN_FILENO, &before))
        return;
    raw = before;
    raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);  // c_oflag stays: newlines as ever
    if (!tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)) {
        changed = true;
        atexit(terminal_restore);
    }
}
