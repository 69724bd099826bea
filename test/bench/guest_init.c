// SPDX-License-Identifier: BSD-2-Clause
// The first program of the Linux guest: mounts what a program expects, runs /bench with the arguments of /args (one a
// line), and ends the machine: through QEMU's debug-exit port on x86-64, whose microvm knows no other way, by reboot(2) elsewhere.
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__
#include <sys/io.h>
#endif
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ARGS_MAX = 64, EXIT_PORT = 0x501 };

static void mount_on(const char *type, const char *directory)
{
    mkdir(directory, 0755);
    if (mount(type, directory, type, 0, NULL))
        perror(directory);
}

static void loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        perror("loopback");
    close(fd);
}

static void run_bench(void)
{
    static char text[4096];
    char *argv[ARGS_MAX + 2] = {"/bench"};
    int argc = 1, fd = open("/args", O_RDONLY);

    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
        for (char *word = strtok(text, "\n"); word && argc <= ARGS_MAX; word = strtok(NULL, "\n"))
            argv[argc++] = word;
    execv(argv[0], argv);
    perror(argv[0]);
    _exit(127);
}

int main(void)
{
    pid_t bench;

    mount_on("proc", "/proc");
    mount_on("sysfs", "/sys");
    mount_on("devtmpfs", "/dev");
    mount_on("tmpfs", "/tmp");
    dup2(open("/dev/console", O_RDWR), 0);
    dup2(0, 1);
    dup2(0, 2);
    loopback_up();
    bench = fork();
    if (bench == 0)
        run_bench();
    waitpid(bench, NULL, 0);
    tcdrain(1);
#if defined __x86_64__
    if (!iopl(3))
        outl(0, EXIT_PORT);
#endif
    reboot(RB_POWER_OFF);
    return 0;
}
