// SPDX-License-Identifier: BSD-2-Clause
// The machine: a QEMU command line for a job, and what has to be known of this host to write it.
#include "lethe.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

// Whether /proc/cpuinfo shows VMX or SVM as a word of its flags.
static bool cpu_has_virtualisation(void)
{
    FILE *cpuinfo = fopen("/proc/cpuinfo", "re");
    char line[8192];
    bool found = false;

    while (cpuinfo && !found && fgets(line, sizeof(line), cpuinfo)) {
        if (strncmp(line, "flags", 5))
            continue;
        for (char *word = strtok(line, " \t\n"); word && !found; word = strtok(NULL, " \t\n"))
            found = !strcmp(word, "vmx") || !strcmp(word, "svm");
    }
    if (cpuinfo)
        fclose(cpuinfo);
    return found;
}

// KVM runs guests of the host's own kind only; on x86 the device alone says little, it opens on hosts whose CPU
// cannot virtualise.
static bool kvm_works(const struct job *job)
{
    struct utsname host;
    int fd;

    if (uname(&host) || strcmp(host.machine, job->arch))
        return false;
    if (!strcmp(job->arch, "x86_64") && !cpu_has_virtualisation())
        return false;
    fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

// The kernel beside the tool: the one with the network only for who asks for it.
static char *find_kernel(const char *arch, bool network)
{
    static const char *const places[] = {"%s/%s/lethe-kernel%s",
                                         "%s/../lib/lethe/%s/lethe-kernel%s"};
    char exe[PATH_MAX] = "";
    char *slash;

    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
        die("cannot find this program's own place: %s", strerror(errno));
    slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof(path), places[i], exe, arch, network ? "-full" : "");
        if (!access(path, R_OK))
            return xstrdup(path);
    }
    die("found no kernel for %s beside %s; build it with 'make kernel ARCH=%s' or name it with --kernel",
        arch, exe, arch);
}

// Chooses what the user left open: machine, kernel, accelerator.
void machine_settle(struct job *job)
{
    struct stat st;
    bool arm = !strcmp(job->arch, "aarch64");
    bool network = network_settle(job);

    if (!job->machine)
        job->machine = arm ? "virt" : "microvm";
    if (arm != !strncmp(job->machine, "virt", 4))
        die("--machine %s is none for %s: choose %s", job->machine, job->arch,
            arm ? "virt" : "microvm, pc or q35");
    if (!job->kernel)
        job->kernel = find_kernel(job->arch, network);
    if (stat(job->kernel, &st) || access(job->kernel, R_OK))
        die("cannot read the kernel %s: %s", job->kernel, strerror(errno));
    if (!S_ISREG(st.st_mode) || !st.st_size)
        die("the kernel %s is not a file with contents", job->kernel);
    if (job->accel == ACCEL_KVM && !kvm_works(job))
        die("KVM cannot run %s here (no /dev/kvm that opens, or a CPU without virtualisation); use "
            "--accel tcg",
            job->arch);
    if (job->accel == ACCEL_AUTO)
        job->accel = kvm_works(job) ? ACCEL_KVM : ACCEL_TCG;
}

// The least memory in which the kernel can look around beside a root image of this size: both as loaded, and a few
// pages for what the loader and the kernel lay down first. => below it a machine may reset without a word
uint64_t machine_least_bytes(const struct job *job, uint64_t image_bytes)
{
    return elf_memory_end(job->kernel) + image_bytes + 64 * 1024;
}

// The words of the kernel command line.
static char *kernel_words(const struct job *job)
{
    bool arm = !strcmp(job->arch, "aarch64");
    char *words = format(arm ? "control=virtio" : "control=e9 exit=isa:0x501");

    if (job->input_is_pipe)
        words = format("%s tty=pipe", words);
    if (job->verbose)
        words = format("%s loglevel=%d", words, job->verbose > 1 ? 7 : 6);
    if (job->strace)
        words = format("%s strace%s%s", words, *job->strace ? "=" : "", job->strace);
    words = network_words(job, words);
    for (size_t i = 0; i < job->append.count; i++)
        words = format("%s %s", words, job->append.items[i]);
    return words;
}

static void add(struct strings *command, const char *option, char *value)
{
    strings_add(command, option);
    if (value)
        strings_take(command, value);
}

// What QEMU calls this machine and its processor.
static void add_processor(struct strings *command, const struct job *job)
{
    enum { GICV2_CPUS = 8 };
    const bool kvm = job->accel == ACCEL_KVM;

    if (!strcmp(job->arch, "aarch64")) {
        bool v3 = (job->cpus > GICV2_CPUS || kvm) && !strstr(job->machine, "gic-version");
        add(command, "qemu-system-aarch64", NULL);
        add(command, "-M",
            format("%s%s", job->machine,
                   !v3   ? ""
                   : kvm ? ",gic-version=host"
                         : ",gic-version=3"));
        add(command, "-accel", xstrdup(kvm ? "kvm" : "tcg"));
        add(command, "-cpu", xstrdup(kvm ? "host" : "max"));
        return;
    }
    add(command, "qemu-system-x86_64", NULL);
    add(command, "-M", xstrdup(job->machine));
    if (!strncmp(job->machine, "microvm", 7))
        add(command, "-bios",
            xstrdup("qboot.rom"));  // some QEMUs take SeaBIOS here, for 6 M instructions
    add(command, "-accel", xstrdup(kvm ? "kvm" : "tcg"));
    add(command, "-cpu", xstrdup(kvm ? "host,migratable=no" : "max"));
}

// The command that boots IMAGE. => CONTROL is the path of the chardev file that hears the control channel
struct strings machine_command(const struct job *job, const char *image, const char *control)
{
    struct strings command = {0};
    const bool arm = !strcmp(job->arch, "aarch64");

    add_processor(&command, job);
    add(&command, "-smp", format("%u", job->cpus));
    add(&command, "-m", format("%lluk", (unsigned long long)(job->memory_bytes >> 10)));
    add(&command, "-nodefaults", NULL);
    add(&command, "-no-user-config", NULL);
    add(&command, "-no-reboot", NULL);
    add(&command, "-display", xstrdup("none"));
    add(&command, "-chardev", xstrdup("stdio,id=console,signal=off"));
    add(&command, "-serial", xstrdup("chardev:console"));
    add(&command, "-chardev", format("file,id=control,path=%s,append=on", control));
    if (arm) {
        add(&command, "-device", xstrdup("virtio-serial-device"));
        add(&command, "-device", xstrdup("virtconsole,chardev=control"));
    } else {
        add(&command, "-device", xstrdup("isa-debugcon,iobase=0xe9,chardev=control"));
        add(&command, "-device", xstrdup("isa-debug-exit,iobase=0x501,iosize=0x04"));
    }
    const char *bus = arm || !strncmp(job->machine, "microvm", 7) ? "device" : "pci";
    add(&command, "-device", format("virtio-rng-%s", bus));
    add(&command, "-device",
        format("virtio-balloon-%s,free-page-reporting=on,deflate-on-oom=on", bus));
    network_command(job, &command, bus);
    for (size_t i = 0; i < job->qemu_args.count; i++)
        add(&command, job->qemu_args.items[i], NULL);
    add(&command, "-kernel", xstrdup(job->kernel));
    add(&command, "-initrd", xstrdup(image));
    add(&command, "-append", kernel_words(job));
    return command;
}
