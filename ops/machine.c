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
#include <sys/ioctl.h>
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

// A file that was built for ARCH: beside NEAR (or NULL), or beside the tool. => NULL when there is none
static char *find_built(const char *near, const char *arch, const char *name)
{
    char exe[PATH_MAX] = "";
    const char *slash = near ? strrchr(near, '/') : NULL;
    char *tool_slash;

    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
        die("cannot find this program's own place: %s", strerror(errno));
    if ((tool_slash = strrchr(exe, '/')))
        *tool_slash = '\0';
    char *const places[] = {
        slash ? format("%.*s/%s", (int)(slash - near), near, name) : xstrdup(name),
        format("%s/%s/%s", exe, arch, name),
        format("%s/../lib/lethe/%s/%s", exe, arch, name),
    };
    for (size_t i = near ? 0 : 1; i < sizeof(places) / sizeof(places[0]); i++)
        if (!access(places[i], R_OK))
            return places[i];
    return NULL;
}

// A loader of disk images, built beside the kernel.
char *machine_loader(const char *kernel, const char *arch, const char *name)
{
    char *path = find_built(kernel, arch, name);

    if (!path)
        die("found no %s for %s beside the kernel; build it with 'make kernel ARCH=%s'", name, arch,
            arch);
    return path;
}

// The kernel beside the tool: the full one for who asks for a network, a volume or a terminal, and for dynamic programs, whose
// run-times expect sockets on this machine itself.
static char *find_kernel(const char *arch, bool full)
{
    char *path = find_built(NULL, arch, full ? "lethe-kernel-full" : "lethe-kernel");

    if (!path)
        die("found no kernel for %s; build it with 'make kernel ARCH=%s' or name it with --kernel",
            arch, arch);
    return path;
}

static void settle_accel(struct job *job)
{
    if (job->accel == ACCEL_KVM && !kvm_works(job))
        die("KVM cannot run %s here (no /dev/kvm that opens, or a CPU without virtualisation); use "
            "--accel tcg",
            job->arch);
    if (job->accel == ACCEL_AUTO)
        job->accel = kvm_works(job) ? ACCEL_KVM : ACCEL_TCG;
}

// Chooses what the user left open: machine, kernel, accelerator.
void machine_settle(struct job *job)
{
    struct stat st;
    bool arm = !strcmp(job->arch, "aarch64");
    bool network = network_settle(job);

    if (!job->machine)
        job->machine = arm ? "virt" : volume_needs_pci(job) ? "q35" : "microvm";
    if (volume_needs_pci(job) && !strncmp(job->machine, "microvm", 7))
        die("--disk-bus %s needs a PCI bus, which microvm has not: choose --machine pc or q35",
            job->disk_bus);
    if (arm != !strncmp(job->machine, "virt", 4))
        die("--machine %s is none for %s: choose %s", job->machine, job->arch,
            arm ? "virt" : "microvm, pc or q35");
    if (!job->kernel)
        job->kernel =
            find_kernel(job->arch, network || job->n_mounts || job->dynamic || job->full_kernel ||
                                       job->terminal || job->root_on_disk);
    if (stat(job->kernel, &st) || access(job->kernel, R_OK))
        die("cannot read the kernel %s: %s", job->kernel, strerror(errno));
    if (!S_ISREG(st.st_mode) || !st.st_size)
        die("the kernel %s is not a file with contents", job->kernel);
    settle_accel(job);
}
// The least memory in which the kernel can look around beside a root image of this size: both as loaded, and a few
// pages for what the loader and the kernel lay down first. => below it a machine may reset without a word
uint64_t machine_least_bytes(const struct job *job, uint64_t image_bytes)
{
    return elf_memory_end(job->kernel) + image_bytes + 64 * 1024;
}

// The words of the kernel command line behind FIRST.
static char *kernel_words(const struct job *job, const char *first)
{
    char *words = xstrdup(first);

    if (job->terminal)
        words = format("%s tty=%ux%u", words, terminal_size().ws_row, terminal_size().ws_col);
    else if (job->input_is_pipe)
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
        // The architecture's own cipher of pointer authentication costs the emulator microseconds a call.
        add(command, "-cpu", xstrdup(kvm ? "host" : "max,pauth-impdef=on"));
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
    volume_command(job, &command, bus);
    for (size_t i = 0; i < job->qemu_args.count; i++)
        add(&command, job->qemu_args.items[i], NULL);
    add(&command, "-kernel", xstrdup(job->kernel));
    char *words = kernel_words(job, arm ? "control=virtio" : "control=e9 exit=isa:0x501");
    if (job->root_on_disk)
        words = format("%s root=%s", words, volume_command_root(job, &command, image, bus));
    else
        add(&command, "-initrd", xstrdup(image));
    add(&command, "-append", words);
    return command;
}

// What the kernel is told when it starts from a disk, where QEMU has no say: the loader adds control=e9 where that port is.
char *machine_image_words(const struct job *job)
{
    char *words = kernel_words(job, !strcmp(job->arch, "aarch64") ? "control=virtio" : "");

    return *words == ' ' ? words + 1 : words;
}

// ---- machines that start from a disk

static const char *find_firmware(const struct job *job)
{
    static const struct {
        const char *arch, *path;
    } known[] = {
        {"x86_64", "/usr/share/ovmf/OVMF.fd"},
        {"x86_64", "/usr/share/edk2/x64/OVMF.4m.fd"},
        {"aarch64", "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"},
        {"aarch64", "/usr/share/edk2/aarch64/QEMU_EFI.fd"},
    };

    if (job->firmware)
        return job->firmware;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(known[i].arch, job->arch) && !access(known[i].path, R_OK))
            return known[i].path;
    die("found no UEFI firmware for %s; install the Debian package %s, or name a file with --firmware",
        job->arch, !strcmp(job->arch, "aarch64") ? "qemu-efi-aarch64" : "ovmf");
}

const char *const disk_buses[] = {"virtio", "scsi", "nvme", "ahci", "pvscsi", NULL};

static void add_disk(struct strings *command, const struct job *job, const char *disk,
                     const char *disk_format)
{
    static const char *const devices[][2] = {
        {NULL, "virtio-blk-pci,drive=disk,bootindex=0"},
        {"virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=disk,bootindex=0"},
        {NULL, "nvme,serial=lethe,drive=disk,bootindex=0"},
        {"ahci,id=ahci", "ide-hd,bus=ahci.0,drive=disk,bootindex=0"},
        {"pvscsi,id=scsi", "scsi-hd,bus=scsi.0,drive=disk,bootindex=0"},
    };
    size_t bus = 0;

    while (job->disk_bus && disk_buses[bus + 1] && strcmp(disk_buses[bus], job->disk_bus))
        bus++;
    add(command, "-drive",
        format("if=none,id=disk,format=%s,file=%s%s", disk_format, qemu_escape(disk),
               job->snapshot ? ",snapshot=on" : ""));
    for (int i = 0; i < 2; i++)
        if (devices[bus][i])
            add(command, "-device", xstrdup(devices[bus][i]));
}

// The command that starts a machine from DISK, by its firmware alone. => CONTROL as above, or NULL: without control channel
struct strings machine_disk_command(const struct job *job, const char *disk,
                                    const char *disk_format, const char *control)
{
    struct strings command = {0};
    const bool arm = !strcmp(job->arch, "aarch64");

    add_processor(&command, job);
    if (arm || job->uefi || job->firmware)
        add(&command, "-bios", xstrdup(find_firmware(job)));
    add(&command, "-smp", format("%u", job->cpus));
    add(&command, "-m", format("%lluk", (unsigned long long)(job->memory_bytes >> 10)));
    add(&command, "-nodefaults", NULL);
    add(&command, "-no-user-config", NULL);
    add(&command, "-no-reboot", NULL);
    add(&command, "-display", xstrdup("none"));
    add(&command, "-serial",
        job->console_file ? format("file:%s", qemu_escape(job->console_file)) : xstrdup("stdio"));
    if (control) {
        add(&command, "-chardev",
            format("file,id=control,path=%s,append=on", qemu_escape(control)));
        if (arm) {
            add(&command, "-device", xstrdup("virtio-serial-device"));
            add(&command, "-device", xstrdup("virtconsole,chardev=control"));
        } else {
            add(&command, "-device", xstrdup("isa-debugcon,iobase=0xe9,chardev=control"));
        }
    }
    add(&command, "-device", xstrdup("virtio-rng-pci"));
    network_command(job, &command, arm ? "device" : "pci");
    volume_command(job, &command, arm ? "device" : "pci");
    add_disk(&command, job, disk, disk_format);
    for (size_t i = 0; i < job->qemu_args.count; i++)
        add(&command, job->qemu_args.items[i], NULL);
    return command;
}

// Chooses what the user left open for a machine that starts from a disk.
void machine_settle_disk(struct job *job)
{
    const bool arm = !strcmp(job->arch, "aarch64");

    network_settle(job);
    if (!job->machine)
        job->machine = arm ? "virt,acpi=off" : "q35";  // a device tree tells more
    if (arm != !strncmp(job->machine, "virt", 4) || !strncmp(job->machine, "microvm", 7))
        die("--machine %s cannot start from this disk: choose %s", job->machine,
            arm ? "virt" : "pc or q35");
    settle_accel(job);
}
