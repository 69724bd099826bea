// SPDX-License-Identifier: BSD-2-Clause
// The first program of the Linux guest: mounts what a program expects, loads /modules/00, /modules/01, ..., gives eth0 the
// address that QEMU's user network expects, runs /bench with the arguments of /args (one a line), and ends the machine: through
// QEMU's debug-exit port on x86-64, whose microvm knows no other way, by reboot(2) elsewhere.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
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
#include <sys/syscall.h>
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

static void load_modules(void)
{
    char path[32];
    int fd;

    for (int i = 0;
         snprintf(path, sizeof(path), "/modules/%02d", i), (fd = open(path, O_RDONLY)) >= 0; i++) {
        if (syscall(SYS_finit_module, fd, "", 0))
            perror(path);
        close(fd);
    }
}

static void address_of(struct sockaddr *to, const char *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)to;

    memset(in, 0, sizeof(*in));
    in->sin_family = AF_INET;
    inet_aton(text, &in->sin_addr);
}

static void device_up(void)
{
    struct ifreq request = {.ifr_name = "eth0"};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    address_of(&request.ifr_addr, "10.0.2.15");
    if (ioctl(fd, SIOCSIFADDR, &request))
        perror("eth0");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ioctl(fd, SIOCSIFFLAGS, &request);
    address_of(&route.rt_dst, "0.0.0.0");
    address_of(&route.rt_genmask, "0.0.0.0");
    address_of(&route.rt_gateway, "10.0.2.2");
    if (ioctl(fd, SIOCADDRT, &route))
        perror("route");
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
    if (access("/modules", F_OK) == 0) {
        load_modules();
        device_up();
    }
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
