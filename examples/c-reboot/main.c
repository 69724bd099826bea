// SPDX-License-Identifier: BSD-2-Clause
// reboot(2) with each of its magic numbers, by name: the machine ends, or goes on and says so.
#include <errno.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned command;
} commands[] = {
    {"restart", LINUX_REBOOT_CMD_RESTART},
    {"restart2", LINUX_REBOOT_CMD_RESTART2},
    {"halt", LINUX_REBOOT_CMD_HALT},
    {"power-off", LINUX_REBOOT_CMD_POWER_OFF},
    {"cad-on", LINUX_REBOOT_CMD_CAD_ON},
    {"cad-off", LINUX_REBOOT_CMD_CAD_OFF},
    {"suspend", LINUX_REBOOT_CMD_SW_SUSPEND},
    {"kexec", LINUX_REBOOT_CMD_KEXEC},
    {"unknown", 0x12345678},
};

int main(int argc, char **argv)
{
    static const unsigned magic2[] = {LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A,
                                      LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C};
    unsigned n = argc > 2 ? argv[2][0] - '0' : 0;

    for (unsigned i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        printf("%s: ", commands[i].name);
        fflush(stdout);
        long result = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, n < 4 ? magic2[n] : 0,
                              commands[i].command, "again");
        puts(result ? strerror(errno) : "done");
        return 3;
    }
    fputs(
        "usage: reboot restart|restart2|halt|power-off|cad-on|cad-off|suspend|kexec|unknown [0-4]\n",
        stderr);
    return 2;
}
